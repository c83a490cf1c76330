"""Lines that carry their classes as words with a mark before them, as fastText reads them: `__label__good __label__short I like it`.

Or that begin with a code of which there are few: `+1 a fine film`, `DESC:manner How do fish breathe ?` (TREC).
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import pyarrow as pa

from duomo.core.messages import listed, tr
from duomo.data import spill as caches
from duomo.data.formats.segmented import WIDE
from duomo.data.formats.text_encoding import detect, numbered, open_text

CLASS = re.compile(r"(?:^|(?<=\s))__label__(\S+)(?:\s+|$)")
SCHEMA, BATCH = pa.schema([("text", pa.large_string()), ("label", pa.large_string())]), 10_000
SHARE = 0.9
"""Of the lines so many carry a class, at least."""
CODE = re.compile(r"([+-]?\d{1,2}|[A-Z]{2,}:[A-Za-z_-]+) +(?=[^\t]*[^\W\d_]{2})")
FEWEST, EACH, WORDS, COUNTING, STARRED = 20, 5, 3, 0.6, 0.8
"""Lines that begin with codes, at least, lines of a code on average, words of a line on average; share of numbers that follow on the one
before, where they count; share of texts that begin as sentences do, behind numbers that may be quantities (`3 cups flour`)."""


def is_marked(lines: Sequence[str]) -> bool:
    return sum(CLASS.search(line) is not None for line in lines) >= max(1, SHARE * len(lines)) or _is_coded(lines)


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
    encoding, most, bare, codes = detect(path, wanted), 0, list[int](), set[str]()
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, 1):
            found = CLASS.findall(line)
            most = max(most, len(found))
            bare += [number] if line.strip() and not found else []
            codes.update(code[1] for code in [CODE.match(line)] if code and not most)

    def batches() -> Iterator[pa.RecordBatch]:
        with open_text(path, encoding) as file:
            lines = (line.strip() for line in file if line.strip())
            while held := list(islice(lines, BATCH)):
                rows = [_marked(line, most) if most else _coded(line) for line in held]
                yield pa.record_batch([pa.array(column, pa.large_string()) for column in zip(*rows, strict=True)], schema=SCHEMA)

    key = partial(caches.file_digest, path, "marked", encoding.name)
    table = caches.as_table(path.stat().st_size, cache, key, SCHEMA, batches())
    said = (tr("{count} lines carry no class: lines {lines}.", count=len(bare), lines=numbered(bare)),) if bare else ()
    if not most:
        names = listed(sorted(codes), 5)
        said = (tr("Each line begins with one of {count} codes ({names}): they are its class.", count=len(codes), names=names),)
    return table, encoding.problems + said


def _marked(line: str, most: int) -> tuple[str, str | None]:
    found = CLASS.findall(line)
    label = json.dumps(found, ensure_ascii=False) if most > 1 else "".join(found)
    return CLASS.sub("", line).strip(), label if found else None


def _coded(line: str) -> tuple[str, str | None]:
    found = CODE.match(line)
    return (line[found.end() :], found[1]) if found else (line, None)
