"""Tables whose cells stand between spaces, as R, Fortran and UCI's archive write them: read as if a tab stood between each two."""

import io
import re
from collections.abc import Sequence
from typing import final

from duomo.data.formats.text_encoding import Pieces

FEWEST, LOOKED_AT, ENOUGH, MANY = 5, 200, 0.9, 1 << 16
"""Lines that such a table shows itself by, and at most; share of the cells of one column that must be numbers; bytes read at a time."""
NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|\.\d+)([eE][-+]?\d+)?%?\s*")
_CELL = re.compile(r'"[^"]*"|\S+')
_EDGES = re.compile(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)")
_RUNS = re.compile(rb'("[^"\n]*")|[ \t]+')


def numeric(rows: Sequence[Sequence[str]]) -> int:
    """How many columns of rows that are all as wide hold numbers beneath their names."""
    columns = zip(*rows[1:], strict=True)
    return sum(sum(bool(NUMBER.fullmatch(cell)) for cell in column) >= ENOUGH * (len(rows) - 1) for column in columns)


def width(lines: Sequence[str], share: float = 0.0) -> int:
    """Cells of each line where all have as many, and one column, or this share of them, holds numbers; 0 where that is not so. The first
    line may name the columns, and leave the names of rows unnamed."""
    rows = [_CELL.findall(line) for line in lines if line.strip()]
    if len(rows) < FEWEST or len({len(row) for row in rows[1:]}) > 1:
        return 0
    size, named = len(rows[1]), len(rows[0])
    return size if named in (size, size - 1) and named > 1 and numeric(rows) >= max(1.0, share * size) else 0


def is_spaced(head: str, found: int) -> bool:
    """Whether cells stand between spaces, where another delimiter finds so many in a line: none does, or a tab finds fewer than the spaces
    that align columns."""
    lines = [line for line in head.splitlines() if line.strip()][:LOOKED_AT]
    cells = width(lines)
    return 1 == found < cells or (found < cells and all("\t" in line and "  " in line for line in lines[1:]))


@final
class Spaced(Pieces):
    """A file's lines with one tab in place of each run of spaces and tabs outside quotes, none at the edges."""

    def __init__(self, file: io.RawIOBase):
        self._file, self._rest = file, b""

    def piece(self, size: int) -> bytes:
        while chunk := self._file.read(MANY):
            block = self._rest + chunk
            whole = block.rfind(b"\n") + 1
            self._rest = block[whole:]
            if found := _cut(block[:whole]):
                return found
        found, self._rest = _cut(self._rest), b""
        return found

    def close(self) -> None:
        self._file.close()
        super().close()


def _cut(lines: bytes) -> bytes:
    return _RUNS.sub(lambda run: run[1] or b"\t", _EDGES.sub(b"", lines))
