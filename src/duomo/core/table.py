"""Everything enters as a table: named columns of one kind each, held by Arrow, read from disk where they are large."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import nearest

KINDS = ("number", "category", "text", "image", "audio", "series", "date", "id")
MEDIA = ("image", "audio")


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

    def __len__(self) -> int:
        return self.data.num_rows

    @property
    def names(self) -> list[str]:
        return self.data.column_names

    def column(self, name: str) -> pa.ChunkedArray:
        """The column's cells; an unknown name raises DataError with the nearest known one."""
        if name not in self.data.column_names:
            raise DataError(
                "A column must exist in the data; there is no column {name!r}.{hint} The columns are: {columns}.",
                name=name, hint=nearest(name, self.names), columns=", ".join(self.names[:30]),
            )  # fmt: skip
        return self.data.column(name)

    def take(self, rows: np.ndarray) -> "Table":
        """The rows (n,) in that order, as a table of the same kinds."""
        return replace(self, data=self.data.take(pa.array(rows, pa.int64())))

    def slices(self, rows: int) -> Iterator["Table"]:
        """The table in pieces of at most `rows` rows, without copying."""
        for start in range(0, len(self), rows):
            yield replace(self, data=self.data.slice(start, rows))

    def with_kinds(self, kinds: Mapping[str, str], reasons: Mapping[str, str]) -> "Table":
        return replace(self, kinds=dict(kinds), reasons=dict(reasons))

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of the columns of these kinds, in the table's order."""
        return [name for name in self.names if self.kinds.get(name) in kinds]
