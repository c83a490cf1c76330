"""Tables that ask of a text one thing a row, as PaddleNLP trains its extraction (UIE): gathered into a text a row, with all its spans.

content        prompt   result_list                                      text           entities
李红在北京     人名     [{"text": "李红", "start": 0, "end": 2}]   ->   李红在北京     [[0, 2, "人名"], [3, 5, "地名"]]
李红在北京     地名     [{"text": "北京", "start": 3, "end": 5}]

So do rows of BERT-MRC, which count the words of a `context` (`start_position`, `end_position` for an `entity_label`). Those of SQuAD ask
each in words of its own: they become instructions with their answers.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from duomo.core.files import JSON_FAULTS
from duomo.core.messages import tr
from duomo.data.formats.rows import as_json, of_texts

SHAPE_FAULTS = (KeyError, TypeError)
COLUMNS = ("content", "prompt", "result_list")
COUNTED = ("context", "entity_label", "start_position", "end_position")
ANSWERED = ("context", "question", "answers.text")
Asked = list[tuple[str, list[dict[str, Any]]]]
"""What is asked of a text, with what is found."""


def prompted(data: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """The table with a text a row and what was done, or as it was where it is no such table."""
    if {*ANSWERED} <= {*data.column_names}:
        return _instructed(data)
    data = _counted(data) if {*COUNTED} <= {*data.column_names} else data
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
    return of_texts(("text", "entities"), [*zip(texts, map(as_json, spans), strict=True)]), tuple(told)


def _counted(data: pa.Table) -> pa.Table:
    """The rows of BERT-MRC with their spans as places in the text."""
    rows = list[dict[str, Any]]()
    for context, label, starts, stops in zip(*(data.column(name).to_pylist() for name in COUNTED), strict=True):
        edges = [(found.start(), found.end()) for found in re.finditer(r"\S+", str(context))]
        places = zip(_listed(starts), _listed(stops), strict=False)
        inside = [(edges[start][0], edges[stop][1]) for start, stop in places if 0 <= start <= stop < len(edges)]
        spans = [{"text": context[start:stop], "start": start, "end": stop} for start, stop in inside]
        rows.append(dict(zip(COLUMNS, (context, label, json.dumps(spans, ensure_ascii=False)), strict=True)))
    return pa.table({name: pa.array([row[name] for row in rows], pa.large_string()) for name in COLUMNS})


def _instructed(data: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Questions on a text as instructions with the text as input and the first answer as output; those without an answer are left out."""
    rows = [(question, context, _listed(answers)) for context, question, answers in
            zip(*(data.column(name).to_pylist() for name in ANSWERED), strict=True)]  # fmt: skip
    kept = [(question, context, str(answers[0])) for question, context, answers in rows if answers]
    if not kept:
        return data, ()
    told = [
        tr("{rows:,} questions on texts were read as instructions: the question in column instruction, its text in input, the answer in "
           "output. From nothing little is learned of them; go on from a model: --task chat --from FOLDER", rows=len(kept))
    ]  # fmt: skip
    told += [tr("{count:,} questions have no answer and were left out.", count=len(rows) - len(kept))] if len(kept) < len(rows) else []
    return of_texts(("instruction", "input", "output"), kept), tuple(told)


def unfolded(found: Any) -> Any:
    """SQuAD's file, questions within paragraphs within articles, as a row for each question; spaCy's of old, tokens within sentences within
    paragraphs, as a row for each sentence; anything else as it was."""
    held = isinstance(found, list) and all(isinstance(one, dict) and isinstance(one.get("paragraphs"), list) for one in found)
    parts = [(str(place), part) for place, one in enumerate(found) for part in one["paragraphs"]] if held else []
    inner = {name for _, part in parts for name in ("qas", "sentences") if isinstance(part, dict) and isinstance(part.get(name), list)}
    try:
        if inner == {"qas"}:
            return [_asked(part["context"], one) for _, part in parts for one in part["qas"]]
        if inner == {"sentences"}:
            sentences = [(place, one["tokens"]) for place, part in parts for one in part["sentences"]]
            key = "ner" if all("ner" in token for _, tokens in sentences for token in tokens) else "tag"
            return [{"tokens": [token["orth"] for token in tokens], "tags": [token[key] for token in tokens], "document": place}
                    for place, tokens in sentences]  # fmt: skip
    except SHAPE_FAULTS:
        return found
    return found


def _asked(context: str, one: dict[str, Any]) -> dict[str, Any]:
    return {"context": context, "question": one["question"], "answers": {"text": [said["text"] for said in one.get("answers") or ()]}}


def _listed(cell: Any) -> list[Any]:
    try:
        found = json.loads(cell) if isinstance(cell, str) else cell
    except JSON_FAULTS:
        found = None
    return found if isinstance(found, list) else []


def _results(cell: Any) -> list[dict[str, Any]]:
    return [one for one in _listed(cell) if isinstance(one, dict)]


def _fits(one: dict[str, Any], text: str) -> bool:
    """Whether it lies in the text; of options the places are counted backwards."""
    start, stop = one.get("start"), one.get("end")
    return isinstance(start, int) and isinstance(stop, int) and 0 <= start < stop <= len(text)


def _relates(prompt: str, said: Sequence[str] | set[str]) -> bool:
    """Whether what is asked for belongs to something that was found: 李红的生日, birthday of Li Hong."""
    return any(prompt.startswith(f"{one}的") or prompt.endswith(f" of {one}") for one in said)
