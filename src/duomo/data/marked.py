"""Lines that carry their classes as words with a mark before them, as fastText reads them: `__label__good __label__short I like it`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from duomo.core.messages import tr
from duomo.data.text_encoding import detect, numbered, open_text

CLASS = re.compile(r"(?:^|(?<=\s))__label__(\S+)(?:\s+|$)")
SHARE = 0.9
"""Of the lines so many carry a class, at least."""


def is_marked(lines: Sequence[str]) -> bool:
    return sum(CLASS.search(line) is not None for line in lines) >= max(1, SHARE * len(lines))


def read_marked(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` and `label`, a row a line; lists where a line has several classes, None where it has none."""
    encoding, texts, labels, bare = detect(path, wanted), list[str](), list[list[str]](), list[int]()
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                labels.append(CLASS.findall(line))
                texts.append(CLASS.sub("", line).strip())
                bare += [] if labels[-1] else [number]
    several = any(len(row) > 1 for row in labels)
    cells = [(json.dumps(row, ensure_ascii=False) if several else row[0]) if row else None for row in labels]
    note = (tr("{count} lines carry no class: lines {lines}.", count=len(bare), lines=numbered(bare)),) if bare else ()
    return pa.table({"text": pa.array(texts, pa.large_string()), "label": pa.array(cells, pa.large_string())}), encoding.problems + note
