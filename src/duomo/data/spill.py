"""Tables too large for memory: streamed once to Arrow files in the cache folder, then read through memory maps.

Each column (each group of columns, where there are many) has a file of its own: reading one column from end to end then touches
nothing else. With all of them in one file the system reads ahead through its neighbours, and where memory is short it drops them again:
under a limit of 2 GB every pass over one column of a 4 GB file read the whole of it (docs/decisions/0006).
"""

import ctypes
import errno
import hashlib
import mmap
import os
import shutil
import sys
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache as once
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa

from duomo.core.errors import ResourceError
from duomo.core.files import UNREADABLE, digest, sync_folder
from duomo.core.table import Table

UNFINISHED, STALE_SECONDS = ".unfinished-", 6 * 3600
"""How what is being written in the cache folder is called, and when nobody writes it any more."""
LARGE = 64 * 2**20
"""Bytes of a file that is still read into memory."""
MOST_FILES = 64
"""Files of one table: more columns than this share them, neighbours with neighbours."""
PAUSE = 0.02
"""Seconds between two times that pages are let go of: in them no more than a hundred megabytes are read."""
_NUMBERS, _LAST = count(), [0.0]
_MAPS: "weakref.WeakSet[mmap.mmap]" = weakref.WeakSet()


def base() -> Path:
    """The cache folder, be it there yet or not: DUOMO_CACHE, or the user's own."""
    own = os.environ.get("DUOMO_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duomo"


def folder(cache: Path | None) -> Path:
    """The one given, else the cache folder; made where it is not there."""
    found = cache or base()
    found.mkdir(parents=True, exist_ok=True)
    sweep(found)
    return found


@once
def sweep(folder: Path) -> None:
    """Remove what killed processes have left unfinished in a cache folder: files and folders that were not written to for long."""
    for path in folder.glob(f"*/{UNFINISHED}*"):
        with suppress(OSError):  # another process removes it too, or it is somebody else's
            if max(one.stat().st_mtime for one in (path, *path.rglob("*"))) < time.time() - STALE_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def refuse_full(error: OSError, folder: Path) -> None:
    """ResourceError where the disk, or this user's share of it, is full; nothing for another error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise ResourceError(
            "Large data need room on the disk for a working copy; {folder} is full. Free space, or set DUOMO_CACHE elsewhere.",
            folder=folder,
        ) from None


def settle(partly: Path, into: Path) -> None:
    """Name the finished folder; another process may have finished first, with the same content."""
    try:
        partly.rename(into)
    except OSError:
        if not into.is_dir():
            raise


def text_digest(*words: object) -> str:
    """SHA-256 of words, each kept apart from the next."""
    return hashlib.sha256(b"".join(len(word).to_bytes(8, "little") + word for word in (str(one).encode() for one in words))).hexdigest()


def file_digest(path: Path, *about: object) -> str:
    """SHA-256 of a file's content and of what else the result depends on."""
    return text_digest(digest(path), *about)


def _place(cache: Path | None, key: str) -> Path:
    tables = folder(cache) / "tables"
    tables.mkdir(exist_ok=True)
    return tables / f"{key}.columns"


def stored(cache: Path | None, key: str) -> pa.Table | None:
    """The table of an earlier call, memory-mapped; None where there is none or it is damaged."""
    path = _place(cache, key)
    if not path.is_dir():
        return None
    try:
        return _mapped(path)
    except UNREADABLE:
        shutil.rmtree(path, ignore_errors=True)
        return None


def store(cache: Path | None, key: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Write record batches as they come; the file appears whole or not at all. ResourceError when the disk is full."""
    path = _place(cache, key)
    _write(path, schema, batches)
    sync_folder(path.parent)
    found = stored(cache, key)
    assert found is not None
    return found


def as_table(size: int, cache: Path | None, key: Callable[[], str], schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Batches made of a source of so many bytes: held in memory, or of a large one in the cache, where the next start finds them."""
    if size <= LARGE:
        return pa.Table.from_batches(list(batches), schema)
    name = key()
    return stored(cache, name) or store(cache, name, schema, batches)


def _mapped(path: Path) -> pa.Table:
    """The columns of all files beside one another, added one by one: to join them at once Arrow looks at both ends of every piece."""
    tables = []
    for number in range(len(list(path.iterdir()))):
        with (path / f"{number}.arrow").open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        _MAPS.add(pages)
        tables.append(pa.ipc.open_file(pa.BufferReader(pa.py_buffer(pages))).read_all())
    found = tables[0]
    for table in tables[1:]:
        for field, column in zip(table.schema, table.columns, strict=True):
            found = found.append_column(field, column)
    return found


def release(pause: float = PAUSE) -> None:
    """Let go of the mapped files' pages that were read; the system reads them again where they are needed. Not so soon again: there may be
    thousands of columns, of which each would be read anew with its neighbours.

    It would take them back by itself once memory is short, but until then the process looks as large as its data.
    """
    now = time.monotonic()
    if sys.platform == "linux" and now - _LAST[0] >= pause:
        _LAST[0] = now
        for pages in list(_MAPS):
            pages.madvise(mmap.MADV_DONTNEED)


def trim() -> None:
    """Give freed memory back to the system: what the C library and Arrow keep for later, a hundred megabytes after large data."""
    release(0.0)
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)


def part(table: Table, rows: np.ndarray) -> Table:
    """The rows (n,), rising: in memory where they are few, else in a file of the cache folder that ends with the process."""
    size = table.data.get_total_buffer_size() * (len(rows) / max(1, len(table)))
    if size <= LARGE or not (rows[1:] > rows[:-1]).all():
        return table.take(rows)
    table = replace(table, data=table.data.unify_dictionaries())
    path = _place(None, f"{UNFINISHED}{os.getpid()}-{next(_NUMBERS)}")
    _write(path, table.data.schema, table.gathered(rows))
    release()
    found = replace(table, data=_mapped(path))
    shutil.rmtree(path, ignore_errors=True)  # where an open file cannot be removed, it stays in the cache
    return found


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    partial = path.with_name(f"{UNFINISHED}{path.stem.removeprefix(UNFINISHED)}-{os.getpid()}")
    try:
        _write_columns(partial, schema, batches)
        shutil.rmtree(path, ignore_errors=True)
        settle(partial, path)
    except OSError as error:
        refuse_full(error, path.parent)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_columns(folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Files 0.arrow, 1.arrow, … of one column or of some neighbours each, all cut into the same batches."""
    folder.mkdir()
    width = max(1, -(-len(schema) // MOST_FILES))
    groups = [list(range(start, min(start + width, len(schema)))) for start in range(0, len(schema), width)] or [[]]
    with ExitStack() as stack:
        writers = []
        for number, group in enumerate(groups):
            sink = stack.enter_context(pa.OSFile(str(folder / f"{number}.arrow"), "wb"))
            writers.append(stack.enter_context(pa.ipc.new_file(sink, pa.schema([schema.field(place) for place in group]))))
        for number, batch in enumerate(batches):
            for writer, group in zip(writers, groups, strict=True):
                writer.write_batch(batch.select(group))
            if number % 64 == 63:
                release()
