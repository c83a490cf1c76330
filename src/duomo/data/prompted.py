"""Tables that ask of a text one thing a row, as PaddleNLP trains its extraction (UIE): gathered into a text a row, with all its spans.

content        prompt   result_list                                      text           entities
李红在北京     人名     [{"text": "李红", "start": 0, "end": 2}]   ->   李红在北京     [[0, 2, "人名"], [3, 5, "地名"]]
李红在北京     地名     [{"text": "北京", "start": 3, "end": 5}]
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from duomo.core.files import JSON_FAULTS
from duomo.core.messages import tr

COLUMNS = ("content", "prompt", "result_list")
Asked = list[tuple[str, list[dict[str, Any]]]]
"""What is asked of a text, with what is found."""


def prompted(data: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """The table with a text a row and what was done, or as it was where it is no such table."""
    if not {*COLUMNS} <= {*data.column_names}:
        return data, ()
    texts: dict[str, Asked] = {}
    for content, prompt, cell in zip(*(data.column(name).to_pylist() for name in COLUMNS), strict=True):
        if content and prompt:
            texts.setdefault(str(content), []).append((str(prompt), _results(cell)))
    spans, others = list[list[list[Any]]](), 0
    for text, asked in texts.items():
        said = {str(one.get("text")) for _, found in asked for one in found if _fits(one, text)} - {"None", ""}
        plain = [(prompt, found) for prompt, found in asked if not _relates(prompt, said) and all(_fits(one, text) for one in found)]
        others += len(asked) - len(plain)
        spans.append([list(span) for span in sorted({(one["start"], one["end"], prompt) for prompt, found in plain for one in found})])
    if not any(spans):
        return data, ()
    told = [tr("{rows:,} rows that ask for one thing each were read as {count:,} texts with their spans, in columns text and entities.",
               rows=len(data), count=len(texts))]  # fmt: skip
    told += [tr("{count:,} rows ask for relations or for one of several options and are not read: spans alone are learned.",
                count=others)] if others else []  # fmt: skip
    columns = {"text": list(texts), "entities": [json.dumps(cell, ensure_ascii=False) for cell in spans]}
    return pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()}), tuple(told)


def _results(cell: Any) -> list[dict[str, Any]]:
    try:
        found = json.loads(cell) if isinstance(cell, str) else cell
    except JSON_FAULTS:
        found = None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _fits(one: dict[str, Any], text: str) -> bool:
    """Whether it lies in the text; of options the places are counted backwards."""
    start, stop = one.get("start"), one.get("end")
    return isinstance(start, int) and isinstance(stop, int) and 0 <= start < stop <= len(text)


def _relates(prompt: str, said: Sequence[str] | set[str]) -> bool:
    """Whether what is asked for belongs to something that was found: 李红的生日, birthday of Li Hong."""
    return any(prompt.startswith(f"{one}的") or prompt.endswith(f" of {one}") for one in said)
