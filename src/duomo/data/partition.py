"""Which part of the data a row, a file or a folder says it is of: to learn from, to validate or to test, by words for the parts."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.kinds.cells import is_text, values_of
from duomo.core.table import Table
from duomo.data import profile
from duomo.data.split_sizes import TRAIN

NAMES = ("train", "valid", "test")
"""The parts, in the order of their numbers."""
_WORDS = ("train training", "valid val validation dev testa", "test testing devtest testb")
PARTS = {word: part for part, words in enumerate(_WORDS) for word in words.split()}
"""Words that name the parts (eng.testa is to validate); a year behind them (train2017) is passed over, as `set` is (trainset)."""
SPLIT = "split"
"""The column that says which part a row is of, where files were put together."""
FOLDS = re.compile(r"((k|cv|cross validation|test|valid|validation) ?)*folds?( (id|no|nr|number|index|idx))?|折号?")
"""What the column is called that numbers the folds of a cross-validation."""
FOLD, MOST_FOLDS = re.compile(r"(fold)?[-_ ]?\d+(\.0)?", re.IGNORECASE), 20
"""A fold in its cell, and how many there are at most."""
GLANCED, MOST_PARTS = 4096, 6
"""Rows that are looked at first for such a column, and words that it has at most."""


def told(table: Table, targets: Sequence[str] = ()) -> str:
    """The column that says of each row whether it is there to learn from, to validate or to test, by its cells; empty where none does."""
    for name in (name for name in table.names if name not in targets and is_text(table.column(name).type)):
        column = table.column(name)
        found = _named(column) if None not in _named(column.slice(0, GLANCED)) else []
        if None not in found and {TRAIN} < {*found}:
            return name
    return ""


def folds(table: Table, targets: Sequence[str] = ()) -> str:
    """The column that says which fold of a cross-validation each row is in; empty where none does."""
    for name in table.names:
        if name not in targets and FOLDS.fullmatch(profile.words(name)):
            cells = pc.unique(values_of(table.column(name))).drop_null().to_pylist()
            if 2 < len(cells) <= MOST_FOLDS and all(FOLD.fullmatch(str(cell)) for cell in cells):
                return name
    return ""


def _named(column: pa.ChunkedArray) -> list[int | None]:
    """The part that each of its different cells names; None alone for one with many."""
    cells = pc.unique(column).to_pylist()
    return [part_of([str(cell)]) for cell in cells] if len(cells) <= MOST_PARTS else [None]


def folders(table: Table, targets: Sequence[str] = ()) -> np.ndarray | None:
    """(N,) the part that a column (`told`) or each file's folder names; None where some lie in none, only one part is named of the rows
    that have a target, or those to learn from are of a single class."""
    if column := told(table, targets):
        cells = table.column(column)
        return np.array(_named(cells), np.int64)[pc.index_in(cells, value_set=pc.unique(cells)).to_numpy()]
    place = next((name for name in ("file", "document") if name in table.names), None)
    if place is None:
        return None
    parents = [str(name).rpartition("/")[0] for name in table.column(place).to_pylist()]
    parts = {parent: part_of(parent.split("/")) for parent in {*parents}}
    if None in parts.values():
        return None
    part_N = np.array([parts[parent] for parent in parents], np.int64)
    targets = [name for name in targets if name in table.names]  # none where nothing says what is to be learned
    known_N = np.all([np.ones(len(table), bool), *(pc.is_valid(values_of(table.column(name))) for name in targets)], axis=0)
    for classes in (values_of(table.column(name)) for name in targets if table.kinds.get(name) in ("category", "id")):
        if len(pc.unique(classes.filter(pa.array(known_N & (part_N == TRAIN))))) == 1 < len(pc.unique(classes.drop_null())):
            return None  # good ones alone to learn from, as those have it who look for what is odd (MVTec AD)
    return part_N if TRAIN in part_N[known_N] and len(np.unique(part_N[known_N])) > 1 else None


def part_of(folders: Sequence[str]) -> int | None:
    """The part that the first of them is called which is called so, or which has such a word in its name and none of another part
    (`train-clean-100`, `test_set`, `PublicTest`)."""
    for words in (*([name] for name in folders), *map(_words, folders)):
        if len(found := {part for word in words if (part := meant(word)) is not None}) == 1:
            return found.pop()
    return None


def beside_part(folder: str) -> tuple[str, ...]:
    """The words of a folder's name that name no part."""
    return tuple(word.lower() for word in _words(folder) if meant(word) is None)


def _words(name: str) -> list[str]:
    return re.split("[-_. ]", re.sub("(?<=[a-z])(?=[A-Z])", "-", name))


def first_part(name: str) -> str:
    """The part that the first such word of a path names: train of `opus.train`, valid of `dev/news`, test of `newstest2014`; else empty."""
    words = (word.lower().removeprefix("news") for word in re.split(r"[-_./]", name))
    return next((NAMES[part] for word in words if (part := meant(word)) is not None), "")


def meant(word: str) -> int | None:
    """The part that a word names."""
    return PARTS.get(word.rstrip("0123456789").lower().removesuffix("set"))
