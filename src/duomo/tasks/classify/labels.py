"""Target cells to class numbers and back.

Legend: N rows, K targets (heads), C classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.kinds.cells import MISSING as NO_VALUE
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.targets import LISTED, SEPARATORS, listed, separator_of

UNSEEN, MISSING = -1, -2
MOST_CLASSES = 0.6
"""Of so many classes a row, most have but one: names and numbers of things, not classes."""
DASHES, DASHED = frozenset(("-", "--", "–", "—", "－")), 0.05
"""What stands for a class where nobody could tell it (`gold_label` of SNLI), and of how many rows at most."""
Label = str | int | float | bool


def plain(cell: Any) -> Label | None:
    """The label that a cell stands for: 1.0, "1" and 1 are one class; an empty cell is none."""
    if cell is None or isinstance(cell, bool):
        return cell
    if isinstance(cell, float):
        return None if cell != cell else int(cell) if cell.is_integer() else cell
    if isinstance(cell, int):
        return cell
    text = str(cell).strip()
    return None if text.lower() in NO_VALUE else text


def key(label: Label) -> str:
    """What two spellings of one label have in common."""
    text = str(label)
    if isinstance(label, str) and text.endswith(".0") and text[:-2].lstrip("-").isdigit():
        return text[:-2]
    return text


def codes(cells: pa.ChunkedArray) -> tuple[np.ndarray, list[Label | None]]:
    """Row (N,) -> place in the list of distinct labels; the last place of the list is None, for missing cells."""
    array = cells.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    values = [plain(cell) for cell in array.dictionary.to_pylist()] + [None]
    index = array.indices.cast(pa.int64()).fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
    return index, values


def _is_list(cells: pa.ChunkedArray) -> bool:
    return pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type)


def _remedy(table: Table, name: str) -> str:
    if table.kinds.get(name) == "number":
        return tr("Predict the number with --task regress, or choose another target.")
    if table.kinds.get(name) == "date":
        return tr("Write what is asked for into a column of its own (the month, the days until then), or choose another target.")
    return tr("Join like ones to classes in a column of their own, or choose another target.")


def _ordered(counts: Mapping[str, Label]) -> list[Label]:
    labels = list(counts.values())
    if all(isinstance(label, (int, float)) for label in labels):
        return sorted(labels)
    return [counts[name] for name in sorted(counts)]


class Labels:
    """The classes of each target, learned from the training rows."""

    def __init__(self, targets: Sequence[str], multilabel: str, separator: str):
        self.targets, self.multilabel, self.separator = tuple(targets), multilabel, separator
        self.classes: list[list[Label]] = []
        self.counts: list[list[int]] = []
        self.lists = False
        """Each row has any number of the classes."""
        self.columns = False
        """The classes of a list are 0/1 columns."""

    # -- learned
    def fit(self, table: Table) -> None:
        """Find the classes; DataError where there are fewer than two, or nearly as many as rows."""
        self.classes, single = [], len(self.targets) == 1
        as_cells, found = self._in_cells(table)
        self.separator = found or SEPARATORS[0]
        if as_cells:
            self.lists, self.columns = True, False
            self._fit_lists(table)
            return
        self.counts = []
        for name in self.targets:
            self._fit_one(name, table)
        zero_one = all({key(label) for label in labels} <= {"0", "1", "True", "False"} for labels in self.classes)
        self.columns = self.lists = not single and zero_one and self.multilabel != "no"
        if self.columns:
            self.counts = [[counts[-1] for counts in self.counts]]
            self.classes = [list(self.targets)]

    def _in_cells(self, table: Table) -> tuple[bool, str]:
        """Whether a cell of the target holds any number of labels, and the sign between them: learned, or to be found."""
        if self.classes:
            return self.lists and not self.columns, self.separator
        cells, single = table.column(self.targets[0]), len(self.targets) == 1
        found = self.separator or (separator_of(cells) if single and self.multilabel != "no" else "")
        return single and (_is_list(cells) or (bool(found) and self.multilabel != "no") or self.multilabel == "yes"), found

    def bare(self, table: Table) -> np.ndarray:
        """(N,) bool: rows with an empty cell where others write several labels into one: they have none of the labels."""
        cells = table.column(self.targets[0])
        as_cells, sign = self._in_cells(table)
        if not as_cells or sign == LISTED or _is_list(cells):
            return np.zeros(len(table), bool)
        return np.array([cell is None or not str(cell).strip() for cell in cells.to_pylist()], bool)

    def undecided(self, table: Table) -> np.ndarray:
        """(N,) bool: rows with a dash in place of the class, where few have it and all others have words."""
        cells = table.column(self.targets[0])
        if len(self.targets) > 1 or _is_list(cells) or self._in_cells(table)[0]:
            return np.zeros(len(table), bool)
        index, values = codes(cells)
        dash_V, counts_V = np.array([label in DASHES for label in values]), np.bincount(index, minlength=len(values))
        words = [any(map(str.isalnum, str(label))) for label in values if label is not None and label not in DASHES]
        few = len(words) > 1 and all(words) and counts_V[dash_V].sum() <= DASHED * len(table)
        learned = [label for labels in self.classes for label in labels]
        return dash_V[index] & (DASHES.isdisjoint(learned) if learned else few)

    def _fit_one(self, name: str, table: Table) -> None:
        index, values = codes(table.column(name))
        rows = np.bincount(index, minlength=len(values))
        named: dict[str, Label] = {}
        counted: Counter[str] = Counter()
        for label, count in zip(values, rows, strict=True):
            if label is not None and count:
                named.setdefault(key(label), label)
                counted[key(label)] += int(count)
        if len(named) < 2:
            raise DataError(
                "A target must have at least two classes among the training rows; {name!r} has {classes}. "
                "Choose another target, or add rows of another class.",
                name=name, classes=", ".join(map(repr, named.values())) or tr("none"),
            )  # fmt: skip
        total = sum(counted.values())
        if len(named) > max(10, MOST_CLASSES * total):
            raise DataError(
                "Each class needs several rows to learn from; the target {name!r} has {classes} different values in {rows} rows. {remedy}",
                name=name, classes=len(named), rows=total, remedy=_remedy(table, name),
            )  # fmt: skip
        labels = _ordered(named)
        self.classes.append(labels)
        self.counts.append([counted[key(label)] for label in labels])

    def _fit_lists(self, table: Table) -> None:
        counted: Counter[str] = Counter()
        named: dict[str, Label] = {}
        for row in self._lists(table):
            for label in row or ():
                named.setdefault(key(label), label)
                counted[key(label)] += 1
        if len(named) < 2:
            raise DataError(
                "A target must have at least two classes among the training rows; {name!r} has {classes}. "
                "Choose another target, or add rows of another class.",
                name=self.targets[0], classes=", ".join(map(repr, named.values())) or tr("none"),
            )  # fmt: skip
        labels = _ordered(named)
        self.classes, self.counts = [labels], [[counted[key(label)] for label in labels]]

    def state(self) -> dict[str, Any]:
        return {
            "classes": self.classes, "counts": self.counts, "lists": self.lists, "columns": self.columns, "separator": self.separator,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self.classes, self.counts = [list(labels) for labels in state["classes"]], [list(counts) for counts in state["counts"]]
        self.lists, self.columns, self.separator = bool(state["lists"]), bool(state["columns"]), str(state["separator"])

    # -- used
    @property
    def parts(self) -> tuple[int, ...]:
        return tuple(len(labels) for labels in self.classes)

    def present(self, table: Table) -> np.ndarray:
        """(N,) bool: rows with at least one target that is known."""
        found = self.bare(table)
        for name in self.targets:
            cells = table.column(name)
            if _is_list(cells):
                found |= cells.is_valid().to_numpy()
            else:
                index, values = codes(cells)
                found |= np.array([label is not None for label in values])[index]
        return found & ~self.undecided(table)

    def encode(self, table: Table) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets, and how many unseen labels a row has.

        One target: int64 (N,); several: (N, K); UNSEEN or MISSING where there is no class number. Lists: int64 (N, C) of 0 and 1,
        MISSING where unknown, and int64 (N,) unseen labels.
        """
        if self.lists and not self.columns:
            return self._encode_lists(table)
        names: list[list[Label]] = [[False, True]] * len(self.targets) if self.columns else self.classes
        places = np.stack([self._places(name, labels, table) for name, labels in zip(self.targets, names, strict=True)], axis=1)
        if self.columns:
            return np.where(places < 0, MISSING, places), np.zeros(len(table), np.int64)
        return (places[:, 0] if len(self.targets) == 1 else places), None

    def _places(self, name: str, labels: Sequence[Label], table: Table) -> np.ndarray:
        index, values = codes(table.column(name))
        known = {key(label): place for place, label in enumerate(labels)}
        if self.columns:
            known |= {"0": 0, "1": 1}
        return np.array([MISSING if label is None else known.get(key(label), UNSEEN) for label in values], np.int64)[index]

    def _lists(self, table: Table) -> list[list[Label] | None]:
        """Each row's labels, None where they are not known; an empty cell has none, unless the column holds lists: these can say so."""
        found: list[list[Label] | None] = []
        cells = table.column(self.targets[0])
        empty: list[Label] | None = None if _is_list(cells) or self.separator == LISTED else []
        for cell in cells.to_pylist():
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                found.append(empty)
                continue
            parts = cell if isinstance(cell, list) else None if plain(cell) is None else self._parts(str(cell))
            found.append(None if parts is None else [label for part in parts if (label := plain(part)) is not None])
        return found

    def _parts(self, cell: str) -> list[Any]:
        if self.separator == LISTED:
            found = listed(cell)
            return [cell] if found is None else found
        return cell.split(self.separator)

    def _encode_lists(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        known = {key(label): place for place, label in enumerate(self.classes[0])}
        target = np.zeros((len(table), len(known)), np.int64)
        unseen = np.zeros(len(table), np.int64)
        for row, labels in enumerate(self._lists(table)):
            if labels is None:
                target[row] = MISSING
                continue
            places = [known.get(key(label), UNSEEN) for label in labels]
            target[row, [place for place in places if place >= 0]] = 1
            unseen[row] = places.count(UNSEEN)
        return target, unseen
