"""Whom pictures show, as their names tell: Aaron_Eckhart_0001 (LFW), 0002_c1s1_000451_03 (Market-1501), subject01.happy (Yale)."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa

from duomo.core.messages import listed, tr
from duomo.core.table import Table

PERSON = "person"
"""The column of whom the pictures show."""
NUMBERED = re.compile(r"(?P<word>\D*[^\W\d_])[\W_]*\d+([\W_]+\d+)*[\W_]*")
"""Names of files that are a word and a number: cat.0, Abyssinian_12, dog (3)."""
CROSSED = 0.8
"""Of the pairs of two fields' values so many are there where they are crossed."""
FEWEST, MOST_EACH, SHARE = 5, 0.25, 0.5
"""People at least, the share of the pictures that one may have, and how many of the pictures must name someone."""
STEP = re.compile(r"(?<![^\W_])-\d+|[^\W_]+")
"""A field of a name; a sign before a number stays with it."""
NOBODY = re.compile(r"-\d+|0+")
"""What stands first where nobody is meant: pictures of others, and of nothing."""


def named(table: Table) -> Table:
    """The table with the column `person`, where nothing else is told of the files and their names tell it; else as it is."""
    if "file" not in table.names or {*table.kinds.values()} & {"category"} or {"label", "group"} & {*table.names}:
        return table
    people = whose([str(file) for file in table.column("file").to_pylist()])
    if not people:
        return table
    said = tr("The names of the files tell whom they show ({names}). Another column: --target",
              names=listed(sorted({name for name in people if name}), 5))  # fmt: skip
    data = table.data.append_column(PERSON, pa.array(people, pa.large_string()))
    return replace(table, data=data, kinds={**table.kinds, PERSON: "category"}, problems=(*table.problems, said))


def completed(table: Table, wanted: Collection[str]) -> Table:
    """Another table of pictures, with whom they show where that is wanted and no column says so."""
    return named(table) if PERSON in wanted and PERSON not in table.names else table


def whose(files: Sequence[str]) -> list[str | None]:
    """Of each file whom it shows, None for nobody: the words before a number, or the first fields by which many are told apart, of whom
    some have several pictures; empty where names tell of no people. Of words whose first is crossed with the others (a face each of all
    people) the first is the person."""
    stems = [PurePosixPath(file).stem for file in files]
    numbered = [NUMBERED.fullmatch(stem) for stem in stems]
    words = [one["word"] if one else None for one in numbered]
    steps = [[*STEP.finditer(stem)] for stem in stems]
    pairs = {(one[0][0], word[one[0].end() :]) for one, word in zip(steps, words, strict=True) if one and word}
    firsts, others = {first for first, _ in pairs}, {other for _, other in pairs}
    crossed = len(others) > 1 and len(pairs) >= CROSSED * len(firsts) * len(others)
    if not crossed and _are_people(words):
        return words
    for count in range(1, max(map(len, steps), default=0)):
        told = [stem[: one[:count][-1].end()] if one and not NOBODY.fullmatch(one[0][0]) else None
                for stem, one in zip(stems, steps, strict=True)]  # fmt: skip
        if len({*told} - {None}) >= FEWEST:
            return told if _are_people(told) else []
    return []


def _are_people(told: Sequence[str | None]) -> bool:
    counts = Counter(name for name in told if name)
    return FEWEST <= len(counts) < counts.total() and counts.total() >= SHARE * len(told) and max(counts.values()) <= MOST_EACH * len(told)
