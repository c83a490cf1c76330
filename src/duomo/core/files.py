"""Writing that survives a crash: a file appears whole or not at all."""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

JSON_FAULTS = (ValueError, RecursionError)
"""What json raises for a text that is none, or that nests deeper than Python goes."""
UNREADABLE = (OSError, ValueError)
"""What opening and reading a file raises; ValueError: a name with a zero byte, or bytes that are no text."""
POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS leaves in place of a large one until that is fetched."""


def is_pointer(path: Path) -> bool:
    """Whether the file only stands for one that Git LFS has not fetched."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable (fsync of a folder)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes) -> None:
    """Temporary file beside it, fsync, rename, fsync of the folder."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:  # not mkstemp: who may read it is for the umask to say
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # what was asked for, not what stood in for it
        raise
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """A JSON value as a person reads it, atomically."""
    write_atomically(path, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


def sign_of(path: Path | None) -> tuple[int, int, int] | None:
    """Changes when another file lies at the path; None where there is none."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


def digest(path: Path) -> str:
    """SHA-256 of the file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
