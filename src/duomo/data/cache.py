"""Where encoded columns live: small ones in memory, large ones in a memory-mapped file that a second run finds again.

A cached column is three files of one key: KEY.values, KEY.lengths (ragged columns) and, written last, KEY.json. Beside pictures and films
lies KEY.FAMILY.rows, what each row's file holds: where few of many files have changed, the others' rows are taken over from there.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
import torch

from duomo.core.errors import ResourceError
from duomo.core.files import write_atomically
from duomo.core.kinds.base import Block
from duomo.core.kinds.cells import is_bytes
from duomo.core.table import MEDIA, Table
from duomo.core.tensors import Column, Dense, Ragged
from duomo.data import spill
from duomo.data.digests import cell_digests

INDEX_FAULTS = (OSError, ValueError, KeyError, TypeError)
IN_MEMORY = 256 * 2**20
"""Bytes of one encoded column that stay in memory; larger ones go to a file."""
DEAR = 16 * 2**20
"""Bytes of decoded pictures or films from which they go to a file all the same: what was decoded once need not be again."""
KEPT = 30 * 2**30
"""Bytes that the cache folder may hold; the columns that were unused for longest are removed first."""
SPARE = 2**30
"""Bytes of the disk that are left free."""
LOOKED_AT = 20
"""Columns encoded alike that are looked through for rows that need not be encoded again."""


def folder() -> Path:
    """Where encoded columns lie in the cache folder."""
    return spill.base() / "columns"


def key_of(table: Table, columns: list[str], state: object, *, named: bool = False) -> str:
    """SHA-256 of the cells (of media files what they hold, with `named` what they are called, too), and of what encodes them."""
    found = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for name in columns:
        column = table.column(name)
        if files := table.kinds.get(name) in MEDIA and table.root is not None and not is_bytes(column.type):
            found.update(cell_digests(table, name).tobytes())
        spill.release()
        for start in range(0, len(column), 65536) if named or not files else ():
            part = column.slice(start, 65536)
            cells = pa.concat_arrays(part.chunks) if part.num_chunks else pa.array([], part.type)
            batch = pa.RecordBatch.from_arrays([cells], names=["cells"])
            found.update(memoryview(batch.serialize()))
    return found.hexdigest()[:40]


def collect(blocks: Iterable[Block], rows: int, key: Callable[[], str]) -> Column:
    """Blocks of consecutive rows as one column of `rows` rows: in memory, or in a file once they are seen to outgrow IN_MEMORY.

    At least one block is needed (of no rows, if there are none): it gives shape and type.
    """
    held: list[Block] = []
    size = seen = 0
    source = iter(blocks)
    for block in source:
        held.append(block)
        size += block.values.nbytes
        seen += len(block.values) if block.lengths is None else len(block.lengths)
        if seen and size / seen * rows > IN_MEMORY and size > min(IN_MEMORY, 2**24):
            return _in_file(_chain(held, source), key(), int(size / seen * rows))
    return _in_memory(held)


@final
class Reused:
    """Rows of equal cells in columns of the same family, which were encoded alike: (N,) `digests` tell what each row's cell holds."""

    def __init__(self, family: str, digests: Callable[[], np.ndarray]):
        self.family, self._digests = family, digests
        self._own_N = np.zeros(0, np.uint64)
        self._found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        """Of each column that has some of the rows: sorted digests, where each stands, and values."""

    def _look(self) -> None:
        self._own_N, place, ages = self._digests(), folder(), dict[Path, float]()
        for path in place.glob(f"*.{self.family}.rows"):
            with suppress(FileNotFoundError):  # another process has pruned it
                ages[path] = path.stat().st_mtime
        for path in sorted(ages, key=lambda path: -ages[path])[:LOOKED_AT]:
            column = _open(place, path.name.partition(".")[0])
            told = np.fromfile(path, np.uint64) if path.exists() else np.zeros(0, np.uint64)
            if isinstance(column, Dense) and len(column.values) == len(told) and np.isin(told, self._own_N).any():
                order = np.argsort(told, kind="stable")
                self._found.append((told[order], order, column.values.numpy()))

    def blocks(self, make: Callable[[int, np.ndarray | None], np.ndarray], chunk: int) -> Iterator[Block]:
        """`make(start, rows)` encodes these of the rows that begin at `start`, all of the chunk where None."""
        self._look()
        for start in range(0, max(1, len(self._own_N)), chunk):
            spill.release()
            wanted = self._own_N[start : start + chunk]
            values, known = np.zeros(0), np.zeros(len(wanted), bool)
            for told, order, theirs in self._found:
                place = np.minimum(np.searchsorted(told, wanted), len(told) - 1)
                more = (told[place] == wanted) & ~known
                values = values if known.any() else np.empty((len(wanted), *theirs.shape[1:]), theirs.dtype)
                values[more] = theirs[order[place[more]]]
                known |= more
            if not known.any():
                yield Block(make(start, None))
                continue
            if not known.all():
                values[~known] = make(start, np.flatnonzero(~known))
            yield Block(values)

    def remember(self, key: str) -> None:
        path = folder() / f"{key}.{self.family}.rows"
        if path.exists():
            os.utime(path)
        elif path.with_name(f"{key}.json").exists():
            write_atomically(path, (self._own_N if len(self._own_N) else self._digests()).tobytes())


def kept(blocks: Callable[[], Iterable[Block]], rows: int, key: Callable[[], str], size: int, reused: Reused | None = None) -> Column:
    """What is dear to make and will be `size` bytes: found in its file, or made and written there; small ones are made anew each time.

    Where the cache folder has no room, what fits into memory is held there.
    """
    if size > DEAR:
        try:
            name = key()
            found = _in_file(iter(blocks()), name, size)
            if reused:
                reused.remember(name)
            return found
        except ResourceError:
            if size > IN_MEMORY:
                raise
    return collect(blocks(), rows, key)


def _chain(held: list[Block], rest: Iterator[Block]) -> Iterator[Block]:
    while held:
        yield held.pop(0)
    yield from rest


def _in_memory(blocks: list[Block]) -> Column:
    values = blocks[0].values if len(blocks) == 1 else np.concatenate([block.values for block in blocks])
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if blocks[0].lengths is None:
        return Dense(tensor)
    return Ragged(tensor, _offsets(np.concatenate([block.lengths for block in blocks if block.lengths is not None])))


def _offsets(lengths: np.ndarray) -> torch.Tensor:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return torch.from_numpy(offsets)


def _in_file(blocks: Iterator[Block], key: str, expected: int) -> Column:
    """The cached column of this key, written first if it is not there yet."""
    place = folder()
    found = _open(place, key)
    if found is not None:
        return found
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(place, error) from error
    prune(place, KEPT - expected)
    free = shutil.disk_usage(place).free
    if expected + SPARE > free:
        raise ResourceError(
            "Encoding these data needs {needed} MB in {folder}; {free} MB are free. Free some space, or set DUOMO_CACHE to another folder.",
            needed=(expected + SPARE) // 2**20, folder=str(place), free=free // 2**20,
        )  # fmt: skip
    values, lengths = (place / f"{spill.UNFINISHED}{key}-{what}-{os.getpid()}" for what in ("values", "lengths"))
    try:
        _write(blocks, place, key, (values, lengths))
    except OSError as error:
        raise _unwritten(place, error) from error
    finally:
        values.unlink(missing_ok=True)
        lengths.unlink(missing_ok=True)
    opened = _open(place, key)
    if opened is None:
        raise ResourceError("The encoded data in {folder} changed while they were written. Start again.", folder=str(place))
    return opened


def _unwritten(place: Path, error: OSError) -> ResourceError:
    return ResourceError(
        "The encoded data could not be written to {folder}: {reason}. Free some space, or set DUOMO_CACHE to another folder.",
        folder=str(place), reason=error.strerror or str(error),
    )  # fmt: skip


def _write(blocks: Iterator[Block], place: Path, key: str, temporary: tuple[Path, Path]) -> None:
    """Stream the blocks out under temporary names, make them durable, rename, then write what describes them."""
    parts: list[np.ndarray] = []
    count, shape, kind = 0, [], ""
    with temporary[0].open("wb") as file:
        for block in blocks:
            values = np.ascontiguousarray(block.values)
            values.tofile(file)
            count, shape, kind = count + len(values), list(values.shape[1:]), values.dtype.str
            if block.lengths is not None:
                parts.append(block.lengths.astype(np.int64))
        file.flush()
        os.fsync(file.fileno())
    with temporary[1].open("wb") as file:
        file.write(np.concatenate(parts).tobytes() if parts else b"")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary[0], place / f"{key}.values")
    os.replace(temporary[1], place / f"{key}.lengths")
    about = {"shape": [count, *shape], "type": kind, "ragged": bool(parts), "rows": sum(map(len, parts))}
    write_atomically(place / f"{key}.json", json.dumps(about).encode())


def _open(place: Path, key: str) -> Column | None:
    """The column of this key when its files are whole, marked as used now."""
    about = place / f"{key}.json"
    try:
        told = json.loads(about.read_text(encoding="utf-8"))
        kind, shape = np.dtype(told["type"]), tuple(told["shape"])
        sizes = ((place / f"{key}.values").stat().st_size, (place / f"{key}.lengths").stat().st_size)
        if sizes != (int(np.prod(shape)) * kind.itemsize, 8 * told["rows"]):
            return None
        os.utime(about)
        # Copy-on-write, because torch wants writable memory; nothing writes, so nothing is copied.
        values = torch.from_numpy(np.memmap(place / f"{key}.values", kind, mode="c", shape=shape))
        if not told["ragged"]:
            return Dense(values)
        return Ragged(values, _offsets(np.fromfile(place / f"{key}.lengths", np.int64)))
    except INDEX_FAULTS:
        return None


def prune(place: Path, kept: int) -> None:
    """Remove the columns that were unused for longest until the folder holds at most `kept` bytes."""
    spill.sweep(place.parent)
    found = []
    for about in place.glob("*.json"):
        files = list(place.glob(f"{about.stem}.*"))
        with suppress(FileNotFoundError):  # another process is pruning too
            found.append((about.stat().st_mtime, sum(file.stat().st_size for file in files), files))
    total = sum(size for _, size, _ in found)
    for _, size, files in sorted(found, key=lambda item: item[0]):
        if total <= kept:
            return
        total -= size
        for file in files:
            file.unlink(missing_ok=True)
