"""What a row holds, as one number: equal content, equal digest, whatever the order of rows and columns.

Cells of text are hashed by multilinear hashing (Lemire and Kaser, arXiv:1202.4961) with weights from splitmix64, so
that no Python loop runs over rows; files and very long cells by BLAKE2b. Legend: N rows.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.kinds import number
from duomo.core.kinds.cells import is_bytes, is_number, is_text, text_of
from duomo.core.table import MEDIA, Table
from duomo.data import spill
from duomo.data.file_index import Files

ROWS = 200_000
HELD = 1 << 26
"""Bytes of cells that are worked on at a time."""
BYTES = 1 << 21
LONG = 1 << 16
"""Bytes from which a cell is hashed by BLAKE2b."""
MISSING = np.uint64(0x9E3779B97F4A7C15)


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: uint64 (N,) -> uint64 (N,), every bit depending on all."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _stream(count: int, start: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        return mix((np.arange(count, dtype=np.uint64) + np.uint64(start)) * MISSING)


_WEIGHTS = _stream(LONG + 1, 1)
_LETTERS = _stream(256, 1 << 32)


def word_digest(word: str) -> np.uint64:
    """The digest of one text."""
    return np.frombuffer(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), np.uint64)[0]


def number_of(content: str | bytes, size: int = 7) -> int:
    """The same number for the same content everywhere, of so many bytes: 7 fit an int64 of either sign."""
    raw = content.encode("utf-8", "replace") if isinstance(content, str) else content
    return int.from_bytes(hashlib.blake2b(raw, digest_size=size).digest())


def row_digests(table: Table, columns: Sequence[str]) -> np.ndarray:
    """(N,) uint64: what the columns' cells hold. Text counts by value (trimmed), numbers by value once the column's
    kind is number, pictures and sounds by the bytes of their files.
    """
    total = np.zeros(len(table), np.uint64)
    with np.errstate(over="ignore"):
        for name in sorted(set(columns)):
            total += mix(cell_digests(table, name) ^ word_digest(name))
    return mix(total)


def cell_digests(table: Table, name: str) -> np.ndarray:
    """(N,) uint64 of one column's cells."""
    column, kind = table.column(name), table.kinds.get(name, "")
    if kind in MEDIA and not is_bytes(column.type):
        return _files(column, table.root)
    parts = []
    held = column.get_total_buffer_size()  # `nbytes` would look at both ends of every piece, on the disk too
    rows = int(np.clip(HELD * len(column) // max(1, held), 1, ROWS))
    style = number.style_of(column.slice(0, ROWS)) if kind == "number" and rows < len(column) else None
    for start in range(0, len(column), rows):
        spill.release()
        piece = column.slice(start, rows)
        if kind == "number":
            parts.append(_numbers(number.parse(piece, style)[0]))
        elif is_bytes(piece.type):
            parts.append(_texts(piece.cast(pa.large_binary())))
        elif any((pa.types.is_list(piece.type), pa.types.is_large_list(piece.type), pa.types.is_fixed_size_list(piece.type))):
            parts.append(_series(piece))
        elif is_number(piece.type) and not pa.types.is_decimal(piece.type):
            parts.append(_numbers(pc.cast(piece, pa.float64(), safe=False).to_numpy()))
        else:
            parts.append(_texts(text_of(piece) if is_text(piece.type) else pc.cast(piece, pa.large_string())))
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _numbers(values: np.ndarray) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    values[values == 0] = 0.0
    found = mix(values.view(np.uint64) + MISSING)
    found[np.isnan(values)] = MISSING
    return found


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """Σ letter·weight over the bytes of each cell, then mixed with its length; a missing or empty cell is MISSING."""
    found = [_chunk(chunk) for chunk in column.chunks if len(chunk)]
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def _chunk(chunk: pa.Array) -> np.ndarray:
    count = len(chunk)
    _, offsets_buffer, data_buffer = chunk.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[chunk.offset : chunk.offset + count + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None and data_buffer.size else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    found = np.full(count, MISSING, np.uint64)
    long_ones = np.flatnonzero(lengths > LONG)
    short = lengths.copy()
    short[long_ones] = 0
    start = 0
    ends = np.cumsum(short)
    while start < count:
        base = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, base + BYTES, side="right")))
        found[start:stop] = _span(data, offsets[start:stop], short[start:stop])
        start = stop
    for place in long_ones:
        raw = data[offsets[place] : offsets[place + 1]].tobytes()
        found[place] = np.frombuffer(hashlib.blake2b(raw, digest_size=8).digest(), np.uint64)[0]
    if chunk.null_count:
        found[np.asarray(pc.is_null(chunk).to_numpy(zero_copy_only=False), dtype=bool)] = MISSING
    return found


def _span(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Digests of cells (n,) that begin at `starts` of data and are short."""
    found = np.full(len(starts), MISSING, np.uint64)
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return found
    lengths = lengths[filled]
    first = np.cumsum(lengths) - lengths
    place = np.arange(int(lengths.sum())) - np.repeat(first, lengths)
    letters = data[np.repeat(starts[filled], lengths) + place]
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(_LETTERS[letters] * _WEIGHTS[place + 1], first)
        found[filled] = mix(sums + lengths.astype(np.uint64) * _WEIGHTS[0])
    return found


def _series(column: pa.ChunkedArray) -> np.ndarray:
    """Lists of numbers, or lists of lists, by their values and lengths."""
    found = []
    for chunk in column.chunks:
        rows = chunk.to_numpy(zero_copy_only=False)
        for row in rows:
            if row is None:
                found.append(MISSING)
                continue
            nested = len(row) and isinstance(row[0], np.ndarray)
            flat = np.concatenate([np.asarray(cell, np.float64).ravel() for cell in row]) if nested else row
            values = np.ascontiguousarray(np.asarray(flat, np.float64))
            raw = len(row).to_bytes(8, "little") + values.tobytes()
            found.append(np.frombuffer(hashlib.blake2b(raw, digest_size=8).digest(), np.uint64)[0])
    return np.array(found, np.uint64)


def files(column: pa.ChunkedArray, root: Path) -> tuple[Files, np.ndarray]:
    """The files that the cells name, each once, and (N,) which of them each cell names: their number where it names none."""
    codes = pc.dictionary_encode(text_of(column).combine_chunks())
    keys = _texts(pa.chunked_array([codes.dictionary.cast(pa.large_binary())]))
    places = np.asarray(pc.fill_null(codes.indices, len(codes.dictionary)).to_numpy(zero_copy_only=False), np.int64)
    return Files(codes.dictionary.to_pylist(), keys, root), places


def _files(column: pa.ChunkedArray, root: Path | None) -> np.ndarray:
    """The bytes of the files that the cells name; a file that cannot be read counts by its name."""
    if root is None:
        return np.array([MISSING if name is None else word_digest(name) for name in text_of(column).to_pylist()], np.uint64)
    named, places = files(column, root)
    return np.append(named.digests(), MISSING)[places]
