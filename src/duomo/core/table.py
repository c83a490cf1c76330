"""Everything enters as a table: named columns of one kind each, held by Arrow, read from disk where they are large."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import listed, nearest

KINDS = ("number", "numbers", "category", "text", "image", "audio", "video", "series", "date", "boxes", "id")
FLAT = ("number", "numbers", "category", "date")
"""Kinds of cells that are a handful of numbers or one of some values."""
MEDIA = ("image", "audio", "video")


def evenly(rows: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of so many rows, evenly apart."""
    return np.arange(rows) if rows <= most else np.linspace(0, rows - 1, most).astype(np.int64)


@dataclass(frozen=True)
class Table:
    """N rows of named columns.

    Media cells are paths (text), relative to `root` or absolute, or the file's bytes (binary).
    Series cells are lists of numbers, or lists of lists (T, C).
    """

    data: pa.Table
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Column name -> kind."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Column name -> why that kind."""
    root: Path | None = None
    """The folder that relative media paths start from; None where cells may not name files (a server's requests)."""
    name: str = "data"
    problems: tuple[str, ...] = ()
    """What the source noticed and counted: bad lines, broken files."""
    asked: tuple[str, ...] = ()
    """The columns that rows beside these lack, which are to be answered."""
    headers: tuple[str, ...] = ()
    """The columns that files tell of themselves: predicted only where somebody asks for one."""

    def __len__(self) -> int:
        return self.data.num_rows

    @cached_property
    def names(self) -> list[str]:
        """Arrow writes the list anew each time that it is asked."""
        return self.data.column_names

    def column(self, name: str) -> pa.ChunkedArray:
        """The column's cells; an unknown name raises DataError with the nearest known one."""
        place = self._places.get(name)
        if place is None:
            raise DataError(
                "A column must exist in the data; there is no column {name!r}.{hint} The columns are: {columns}.",
                name=name, hint=nearest(name, [own for own in self.names if own != "file" or not {*MEDIA} & {*self.names}]),
                columns=listed(self.names),
            )  # fmt: skip
        return self.data.column(place)

    def called(self, name: str) -> str:
        """The column of that name, else the only one whose dotted name ends in it (th: translation.th); DataError where there is none."""
        ends = [own for own in self.names if own.endswith(f".{name}")]
        if name not in self._places and len(ends) == 1:
            return ends[0]
        self.column(name)
        return name

    @cached_property
    def _places(self) -> dict[str, int]:
        """Column name -> its place: Arrow looks a name up among all of them, each time."""
        return {name: place for place, name in enumerate(self.names)}

    def without(self, names: Iterable[str]) -> "Table":
        """The table without these columns, as far as it has them."""
        gone = {*names} & self._places.keys()
        kinds = {name: kind for name, kind in self.kinds.items() if name not in gone}
        return replace(self, data=self.data.drop_columns(list(gone)), kinds=kinds)

    def take(self, rows: np.ndarray) -> "Table":
        """The rows (n,) in that order, as a table of the same kinds."""
        return replace(self, data=_taken(self.data, np.asarray(rows, np.int64)))

    def gathered(self, rows: np.ndarray) -> Iterator[pa.RecordBatch]:
        """The rows (n,), rising, in batches as they lie. Arrow's own take would first join the whole of a column in memory."""
        end = 0
        for batch in self.data.to_batches():
            start, end = end, end + len(batch)
            first, last = np.searchsorted(rows, (start, end))
            if last > first:
                yield batch if last - first == len(batch) else batch.take(pa.array(rows[first:last] - start))

    def slices(self, rows: int) -> Iterator["Table"]:
        """The table in pieces of at most `rows` rows, without copying."""
        if 0 < len(self) <= rows:
            yield self
            return
        for start in range(0, len(self), rows):
            yield replace(self, data=self.data.slice(start, rows))

    def with_kinds(self, kinds: Mapping[str, str], reasons: Mapping[str, str]) -> "Table":
        return replace(self, kinds=dict(kinds), reasons=dict(reasons))

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of the columns of these kinds, in the table's order."""
        return [name for name in self.names if self.kinds.get(name) in kinds]

    def inputs(self) -> list[str]:
        """Names of the columns that say something: neither ids nor the place of a row in its file."""
        return [name for name in self.names if self.kinds.get(name) != "id" and name not in ("part", "file")]


def _taken(data: pa.Table, rows: np.ndarray) -> pa.Table:
    """Batch by batch where there are several: see `Table.gathered`."""
    inside = len(rows) > 0 and rows.min() >= 0 and rows.max() < data.num_rows
    if not inside or all(column.num_chunks < 2 for column in data.columns):
        return data.take(pa.array(rows))
    rising = bool((rows[1:] >= rows[:-1]).all())
    order = np.arange(len(rows)) if rising else np.argsort(rows, kind="stable")
    found = pa.Table.from_batches(Table(data).gathered(rows[order]), schema=data.schema)
    return found if rising else found.take(pa.array(np.argsort(order)))
