"""Tables too large for memory: streamed once to an Arrow file in the cache folder, then read through a memory map."""

import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from duomo.core.errors import ResourceError
from duomo.core.files import digest, sync_folder

LARGE = 64 * 2**20
"""Bytes of a file that is still read into memory."""


def folder(cache: Path | None) -> Path:
    """The cache folder: the one given, DUOMO_CACHE, or the user's own."""
    own = os.environ.get("DUOMO_CACHE")
    found = cache or (Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "duomo")
    found.mkdir(parents=True, exist_ok=True)
    return found


def text_digest(*words: object) -> str:
    """SHA-256 of words, each kept apart from the next."""
    return hashlib.sha256(b"".join(len(word).to_bytes(8, "little") + word for word in (str(one).encode() for one in words))).hexdigest()


def file_digest(path: Path, *about: object) -> str:
    """SHA-256 of a file's content and of what else the result depends on."""
    return text_digest(digest(path), *about)


def _place(cache: Path | None, key: str) -> Path:
    tables = folder(cache) / "tables"
    tables.mkdir(exist_ok=True)
    return tables / f"{key}.arrow"


def stored(cache: Path | None, key: str) -> pa.Table | None:
    """The table of an earlier call, memory-mapped; None where there is none or it is damaged."""
    path = _place(cache, key)
    if not path.is_file():
        return None
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowInvalid, OSError):
        path.unlink(missing_ok=True)
        return None


def store(cache: Path | None, key: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Write record batches as they come; the file appears whole or not at all. ResourceError when the disk is full."""
    path = _place(cache, key)
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        os.replace(partial, path)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ResourceError(
            "Large data need room on the disk for a working copy; {folder} is full. Free space, or set DUOMO_CACHE elsewhere.",
            folder=path.parent,
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
    found = stored(cache, key)
    assert found is not None
    return found
