"""Lines that carry their classes as words with a mark before them, as fastText reads them: `__label__good __label__short I like it`.

Or that begin with a code of which there are few: `+1 a fine film`, `DESC:manner How do fish breathe ?` (TREC). Or that begin or end with
a class before or behind a sign that stands in the texts as well: `1,Well, I like it`, so that they are no table.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from duomo.core.messages import listed, tr
from duomo.data import spill as caches
from duomo.data.formats.segmented import WIDE
from duomo.data.formats.text_encoding import Encoding, cut, detect, numbered, open_text

CLASS = re.compile(r"(?:^|(?<=\s))__label__(\S+)(?:\s+|$)")
SCHEMA, BATCH = pa.schema([("text", pa.large_string()), ("label", pa.large_string())]), 10_000
SHARE = 0.9
"""Of the lines so many carry a class, at least."""
CODE = re.compile(r"([+-]?\d{1,2}|[A-Z]{2,}:[A-Za-z_-]+) +(?=[^\t]*[^\W\d_]{2})")
SIGNS, LONGEST, MOMENT = "\t,;|", 40, re.compile(r"\[?\d+[./:-]\d+.*")
"""Signs that divide a text from its class, letters of a class at most, and what is none."""
LOOKED_AT, MOST = 2000, 1000
"""Lines by which it is told how classes are written, and different ones that are counted."""
FEWEST, EACH, WORDS, COUNTING, STARRED = 20, 5, 3, 0.6, 0.8
"""Lines that begin with codes, at least, lines of a code on average, words of a line on average; share of numbers that follow on the one
before, where they count; share of texts that begin as sentences do, behind numbers that may be quantities (`3 cups flour`)."""
DECIMAL = re.compile(r"(^|,)\d+,\d+(,|$)")
"""A number that has a comma before its tenths, as a cell of its own."""


class Edge(NamedTuple):
    """Where a line holds its class: before the first such sign, or behind the last one; and whether the first line names the columns."""

    sign: str
    last: bool = False
    headed: bool = False

    def cut(self, line: str) -> tuple[str, str | None]:
        """The text of a line, and its class; None where it lacks the sign."""
        first, sign, rest = line.rpartition(self.sign) if self.last else line.partition(self.sign)
        text, label = (first, rest) if self.last else (rest, first)
        return (text.strip(), label.strip() or None) if sign else (line, None)


def is_marked(lines: Sequence[str]) -> bool:
    return sum(CLASS.search(line) is not None for line in lines) >= max(1, SHARE * len(lines)) or _is_coded(lines) or bool(edge_of(lines))


def edge_of(lines: Sequence[str]) -> Edge | None:
    """Where all lines hold one of few classes, again and again, beside texts of several words, in which the sign stands as often as it
    likes; None for a table, of whose lines most are cut into as many cells, more than two of them, or all are, or some into the two halves
    of a number; and for anything else."""
    for sign in SIGNS if len(lines) > FEWEST else "":
        (width, count), *others = Counter(len(row) for row in cut(lines, delimiter=sign)).most_common()
        if not all(sign in line for line in lines) or not others or (width > 2 and count >= SHARE * len(lines)):
            continue
        if sum(sign == "," and DECIMAL.search(line) is not None for line in lines) > (1 - SHARE) * len(lines):
            continue
        for last in (False, True):
            pairs = [Edge(sign, last).cut(line) for line in lines]
            known = {label or "" for _, label in pairs[1:]}
            words = sum(len(text.split()) + len(WIDE.findall(text)) for text, _ in pairs)
            short = all(0 < len(label) <= LONGEST and not MOMENT.fullmatch(label) for label in known)
            if short and 1 < len(known) <= len(lines) / EACH and words > WORDS * len(lines):
                return Edge(sign, last, pairs[0][1] not in known)
    return None


def _is_coded(lines: Sequence[str]) -> bool:
    """Whether all lines begin with one of few codes, again and again, and go on in texts of any length: numbers that count the lines, or
    of which some between are never met, are no classes."""
    both = [(line, code) for line in lines if (code := CODE.match(line))]
    codes = [code[1] for _, code in both]
    known = set(codes)
    if len(lines) < FEWEST or len(codes) < len(lines) or not 1 < len(known) <= len(codes) / EACH:
        return False
    numbers = [int(code) for code in codes if ":" not in code]
    scale = {*numbers} in ({-1, 1}, {-1, 0, 1}, {*range(len(known))}, {*range(1, len(known) + 1)})
    counts = sum(two == one + 1 for one, two in pairwise(numbers)) > COUNTING * len(codes)
    begun = [line[code.end()] for line, code in both]
    stars = bool({0, -1} & {*numbers}) or sum(sign.isupper() or not sign.isascii() for sign in begun) > STARRED * len(begun)
    widths = [len(line.split()) + len(WIDE.findall(line)) for line in lines]
    return (not numbers or (scale and stars and not counts)) and len({*widths}) > 2 and sum(widths) > WORDS * len(lines)


def read_marked(path: Path, cache: Path | None, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` and `label`, a row a line; lists where a line has several classes, None where it has none."""
    encoding, bare, codes = detect(path, wanted), list[int](), set[str]()
    with open_text(path, encoding) as file:
        most = max(len(CLASS.findall(line)) for line in file)
    edge = None if most else _edge(path, encoding)
    told = partial(_marked, most=most) if most else edge.cut if edge else _coded
    with open_text(path, encoding) as file:
        for number, line in _body(file, edge):
            label = told(line)[1]
            bare += [] if label else [number]
            codes.update([label] if label and len(codes) < MOST else [])

    def batches() -> Iterator[pa.RecordBatch]:
        with open_text(path, encoding) as file:
            lines = _body(file, edge)
            while held := [told(line) for _, line in islice(lines, BATCH)]:
                yield pa.record_batch([pa.array(column, pa.large_string()) for column in zip(*held, strict=True)], schema=SCHEMA)

    key = partial(caches.file_digest, path, "marked", encoding.name)
    table = caches.as_table(path.stat().st_size, cache, key, SCHEMA, batches())
    said = [tr("{count} lines carry no class: lines {lines}.", count=len(bare), lines=numbered(bare))] if bare else []
    if edge and edge.last:
        said.append(tr("Each line ends with one of {count} classes ({names}).", count=len(codes), names=listed(sorted(codes), 5)))
    elif not most:
        names = listed(sorted(codes), 5)
        said.append(tr("Each line begins with one of {count} codes ({names}): they are its class.", count=len(codes), names=names))
    return table, (*encoding.problems, *said)


def loose(path: Path, wanted: str = "") -> dict[str, str]:
    """What the columns of a table are called, `text` and `label`, where its texts hold its sign without quotes, as the classes at the edge
    of its lines show (`Well, I like it,good`), each met again; empty for any other table."""
    encoding = detect(path, wanted)
    with open_text(path, encoding) as file:
        lines = [line.strip() for line in islice(file, LOOKED_AT) if line.strip()]
    edge = None if any('"' in line for line in lines) else _edge(path, encoding)
    if edge is None or not edge.headed or lines[0].count(edge.sign) != 1:
        return {}
    if min(Counter(edge.cut(line)[1] for line in lines[1:]).values()) < 2:
        return {}
    text, label = edge.cut(lines[0])
    return {"text": text, "label": label or "label"}


def _body(file: Iterable[str], edge: Edge | None) -> Iterator[tuple[int, str]]:
    """The lines that are rows, with their numbers."""
    lines = ((number, line.strip()) for number, line in enumerate(file, 1) if line.strip())
    return islice(lines, int(edge is not None and edge.headed), None)


def _edge(path: Path, encoding: Encoding) -> Edge | None:
    with open_text(path, encoding) as file:
        lines = [line.strip() for line in islice(file, LOOKED_AT)]
    lines = [line for line in lines if line]
    return None if _is_coded(lines) else edge_of(lines)


def _marked(line: str, most: int) -> tuple[str, str | None]:
    found = CLASS.findall(line)
    label = json.dumps(found, ensure_ascii=False) if most > 1 else "".join(found)
    return CLASS.sub("", line).strip(), label if found else None


def _coded(line: str) -> tuple[str, str | None]:
    found = CODE.match(line)
    return (line[found.end() :], found[1]) if found else (line, None)
