"""Plain text as documents: cut at paragraphs, from the start, so that appended text changes only the last block."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data import spill as caches
from duomo.data.formats.text_encoding import detect, open_text

BLOCKS = (8000, 2000, 500, 100)
"""Characters of a block: the largest that gives a file at least 20 of them."""
FEWEST = 20
"""Documents that a folder of texts needs so that each part of the split has some."""
MOST_CUT = 1 << 30
"""Bytes of a folder's texts up to which they are cut in memory."""
_CLASSED = ("label", "group")
SCHEMA = pa.schema([("text", pa.large_string()), ("part", pa.int64())])


def read_text_file(path: Path, cache: Path | None, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` and `part` (from 0); the parts joined are the file."""
    encoding = detect(path, wanted)
    size = path.stat().st_size

    def batches() -> Iterator[pa.RecordBatch]:
        with open_text(path, encoding) as file:
            pieces, first = blocks(file, block_size(size)), 0
            while held := list(islice(pieces, 256)):
                parts = pa.array(range(first, first + len(held)), pa.int64())
                yield pa.record_batch([pa.array(held, pa.large_string()), parts], schema=SCHEMA)
                first += len(held)

    table = caches.as_table(size, cache, lambda: caches.file_digest(path, "documents", encoding.name), SCHEMA, batches())
    if not any(cell.strip() for cell in table.column("text").slice(0, 10).to_pylist()):
        raise DataError("A text must have words; {file} is empty. Give a file with text.", file=path.name)
    return table, encoding.problems


def cut(table: Table, running: bool = False) -> Table:
    """A folder of texts in documents as a single file is cut: fewer than can be divided, or with one so long that it alone would fill a
    part of the split. Of texts in folders of classes only where the `running` text is learned; any other table as it is."""
    read = table.kinds.get("file") == "id"  # as folders are; in a list the column names something else
    if not read or not {"text", "file"} <= set(table.names) <= {"text", "file", *(_CLASSED if running else ())}:
        return table
    lengths = pc.fill_null(pc.utf8_length(table.column("text")), 0)
    total, longest = pc.sum(lengths).as_py() or 0, pc.max(lengths).as_py() or 0
    size = block_size(total)
    if len(table) >= FEWEST and (longest <= max(total / FEWEST, 2 * size) or table.data.nbytes > MOST_CUT):
        return table
    beside = [name for name in table.names if name != "text"]
    schema = pa.schema([*SCHEMA, *(table.data.schema.field(name) for name in beside)])
    data = pa.Table.from_batches(_cut(table, size, beside, schema), schema)
    kinds = {"text": "text", "part": "id", "file": "id"}
    return replace(table, data=data, kinds={**table.kinds, **kinds}) if len(data) else table


def _cut(table: Table, size: int, beside: list[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for slice_ in table.slices(1000):
        rows = [
            {**row, "text": piece, "part": part}
            for row in slice_.data.select(["text", *beside]).to_pylist()
            for part, piece in enumerate(blocks(str(row["text"] or "").splitlines(True), size))
        ]
        yield pa.RecordBatch.from_pylist(rows, schema)


def of_lines(table: Table) -> list[str]:
    """A sentence where a plain text has several lines a row: whoever asks about each of them has to say so."""
    if table.names != ["text", "part"]:
        return []
    lines = sum(len((cell or "").strip().splitlines()) for cell in table.column("text").to_pylist())
    return [tr("{lines:,} lines of plain text were read as {count:,} running texts. Where each line is a text of its own, put the word "
               "text above them and call the file .csv.",
               lines=lines, count=len(table))] if lines > len(table) else []  # fmt: skip


def block_size(characters: int) -> int:
    """Characters per block for a text of about this length."""
    return next((block for block in BLOCKS if characters >= 20 * block), BLOCKS[-1])


def blocks(lines: Iterable[str], size: int) -> Iterator[str]:
    """Lines (with their ends) grouped into blocks of about `size` characters.

    A block ends after a blank line once it is full, after any line once it is half as long again, and within a line
    (after a sentence or a space) only where the line alone is longer than that.
    """
    held: list[str] = []
    length, blank, most = 0, False, size + size // 2
    for line in lines:
        for piece in _pieces(line, most):
            full = (length >= size and blank and piece.strip()) or (length and length + len(piece) > most)
            if full:
                yield "".join(held)
                held, length = [], 0
            held.append(piece)
            length += len(piece)
        blank = not line.strip()
    if held:
        yield "".join(held)


def _pieces(line: str, most: int) -> Iterator[str]:
    while len(line) > most:
        cut = max((line.rfind(mark, most // 2, most) for mark in "。！？.!?；;"), default=-1)
        cut = cut if cut > 0 else line.rfind(" ", most // 2, most)
        cut = cut + 1 if cut > 0 else most
        yield line[:cut]
        line = line[cut:]
    yield line
