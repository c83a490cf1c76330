"""Lines that carry their classes as words with a mark before them, as fastText reads them: `__label__good __label__short I like it`.

Or that begin with a code of which there are few: `+1 a fine film`, `DESC:manner How do fish breathe ?` (TREC).
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from duomo.core.messages import listed, tr
from duomo.data.text_encoding import detect, numbered, open_text

CLASS = re.compile(r"(?:^|(?<=\s))__label__(\S+)(?:\s+|$)")
SHARE = 0.9
"""Of the lines so many carry a class, at least."""
CODE = re.compile(r"([+-]?\d{1,2}|[A-Z]{2,}:[A-Za-z_-]+) +(?=[^\t]*[^\W\d_]{2})")
FEWEST, EACH, WORDS, COUNTING = 20, 5, 3, 0.6
"""Lines that begin with codes, at least, lines of a code on average, words of a line on average; share of numbers that follow on the one
before, where they count."""


def is_marked(lines: Sequence[str]) -> bool:
    return sum(CLASS.search(line) is not None for line in lines) >= max(1, SHARE * len(lines)) or _is_coded(lines)


def _is_coded(lines: Sequence[str]) -> bool:
    """Whether all lines begin with one of few codes, again and again, and go on in texts of any length: numbers that count the lines, or
    of which some between are never met, are no classes."""
    found = [CODE.match(line) for line in lines]
    codes = [code[1] for code in found if code]
    known = set(codes)
    if len(lines) < FEWEST or len(codes) < len(lines) or not 1 < len(known) <= len(codes) / EACH:
        return False
    numbers = [int(code) for code in codes if ":" not in code]
    scale = {*numbers} in ({-1, 1}, {-1, 0, 1}, {*range(len(known))}, {*range(1, len(known) + 1)})
    counts = sum(two == one + 1 for one, two in pairwise(numbers)) > COUNTING * len(codes)
    widths = [len(line.split()) for line in lines]
    return (not numbers or (scale and not counts)) and len({*widths}) > 2 and sum(widths) > WORDS * len(lines)


def read_marked(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` and `label`, a row a line; lists where a line has several classes, None where it has none."""
    encoding, texts, labels, bare = detect(path, wanted), list[str](), list[list[str]](), list[int]()
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                labels.append(CLASS.findall(line))
                texts.append(CLASS.sub("", line).strip())
                bare += [] if labels[-1] else [number]
    said = list(encoding.problems)
    if not any(labels):
        codes = [CODE.match(text) for text in texts]
        labels = [[code[1]] if code else [] for code in codes]
        texts, bare = [text[code.end() :] if code else text for text, code in zip(texts, codes, strict=True)], []
        known = sorted({row[0] for row in labels if row})
        said.append(
            tr("Each line begins with one of {count} codes ({names}): they are its class.", count=len(known), names=listed(known, 5))
        )
    several = any(len(row) > 1 for row in labels)
    cells = [(json.dumps(row, ensure_ascii=False) if several else row[0]) if row else None for row in labels]
    said += [tr("{count} lines carry no class: lines {lines}.", count=len(bare), lines=numbered(bare))] if bare else []
    return pa.table({"text": pa.array(texts, pa.large_string()), "label": pa.array(cells, pa.large_string())}), tuple(said)
