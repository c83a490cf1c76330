"""What pictures, sounds and films share: cells that are paths or bytes, recognised by suffix or first bytes, decoded in threads."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.kinds.base import Cells
from duomo.core.kinds.cells import is_bytes, is_text, sample, text_of
from duomo.core.messages import tr

Source = bytes | Path
T = TypeVar("T")
Broken = list[tuple[int, str]]
"""Rows that cannot be read, each with the reason."""
THREADS = min(16, os.cpu_count() or 1)
JOB = 32
ENDING = r"\.\w*[A-Za-z]\w*$"
"""What names of files end in: a dot, and letters behind it."""
LARGEST_FILE = 512 * 2**20
"""Bytes of one picture or sound; larger ones are refused unread."""


def head(source: Source, count: int) -> bytes:
    """The first so many bytes of a file or of bytes at hand."""
    if isinstance(source, bytes):
        return source[:count]
    with source.open("rb") as file:
        return file.read(count)


def sources(cells: Cells) -> list[Source | None]:
    """What each cell names: a path beneath or beside the root, bytes, or None where missing.

    Without a root only bytes are taken: a request from outside may not name files of this machine.
    """
    if is_bytes(cells.data.type):
        return list(cells.data.to_pylist())
    root = cells.root
    names = text_of(cells.data).to_pylist()
    if root is None:
        if any(names):
            raise DataError("A picture, sound or film must come as the file's bytes here; a path is not read. Send the file itself.")
        return [None] * len(names)
    return [root / name if name else None for name in names]


def label(cells: Cells, row: int) -> str:
    """What to call a cell's file in a sentence."""
    name = None if is_bytes(cells.data.type) else text_of(cells.data.slice(row, 1))[0].as_py()
    if name is None:
        return tr("the uploaded file") if cells.data.slice(row, 1).null_count == 0 else tr("no file named")
    return str(name)


def recognise(cells: Cells, suffixes: Sequence[str], magic: Callable[[bytes], bool]) -> str | None:
    """Whether sampled cells are files of a kind: bytes that begin as it does, or paths with its suffixes that exist."""
    some = pc.drop_null(sample(cells.data, 200))
    if not len(some):
        return None
    if is_bytes(some.type):
        heads = [magic(cell.as_py()[:512]) for chunk in some.chunks for cell in chunk]
        return tr("the cells are files of this kind") if sum(heads) > 0.5 * len(heads) else None
    if not is_text(some.type) or cells.root is None:
        return None
    if not pc.any(pc.match_substring_regex(text := text_of(some), ENDING)).as_py():
        return None
    names = [name for name in text.to_pylist() if name]
    fitting = [name for name in names if name.lower().endswith(tuple(suffixes))]
    if not fitting or len(fitting) < 0.5 * len(names):
        return None
    there = sum(exists(cells.root / name) for name in fitting)
    return tr("the cells are paths of files ending in {suffix}", suffix=Path(fitting[0]).suffix) if there else None


def exists(path: Path) -> bool:
    """Whether there is such a file; a name that cannot be one (too long, with a zero byte) is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def guard(source: Source | None, largest: int = LARGEST_FILE) -> Source:
    """The source itself when it can be opened; ValueError with the reason otherwise."""
    if source is None:
        raise ValueError(tr("the cell is empty"))
    if isinstance(source, Path) and not exists(source):
        raise ValueError(tr("there is no such file"))
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size == 0:
        raise ValueError(tr("the file is empty"))
    if size > largest:
        raise ValueError(tr("the file has {size} bytes, more than the {limit} that are read", size=size, limit=largest))
    return source


def decode_all(
    found: Sequence[Source | None], decode: Callable[[Source], T], together: int = JOB, largest: int = LARGEST_FILE
) -> list[T | ValueError]:
    """Every source decoded in threads (decoders release the interpreter lock), `together` as one job; a broken one leaves its error."""

    def one(source: Source | None) -> T | ValueError:
        try:
            return decode(guard(source, largest))
        except ValueError as error:
            return error

    def job(start: int) -> list[T | ValueError]:
        return [one(source) for source in found[start : start + together]]

    starts = range(0, len(found), together)
    if len(starts) < 2 or THREADS == 1:
        return [item for start in starts for item in job(start)]
    with ThreadPoolExecutor(min(THREADS, len(starts))) as pool:
        return [item for items in pool.map(job, starts) for item in items]


def broken(cells: Cells, decode: Callable[[Source], object], together: int = JOB, largest: int = LARGEST_FILE) -> Broken:
    """Every cell that cannot be read, with its name and the reason, decoding at most a few thousand at a time."""
    found: Broken = []
    for start in range(0, len(cells.data), 2048):
        part = Cells(cells.data.slice(start, 2048), cells.root)
        for row, item in enumerate(decode_all(sources(part), decode, together, largest)):
            if isinstance(item, ValueError):
                found.append((start + row, f"{label(part, row)}: {item}"))
    return found


def whole(cells: Cells, found: list[T | ValueError]) -> list[T]:
    """The decoded items; the first broken one raises DataError naming row and file. Rows of a request, which brings bytes, count from 0 as
    in what else is said of it, those of a file from 1.
    """
    good: list[T] = []
    for row, item in enumerate(found):
        if isinstance(item, ValueError):
            raise DataError(
                "A picture, sound or film must be readable; row {row} ({file}) is not: {reason}. Fix, replace or remove the file.",
                row=row if is_bytes(cells.data.type) else row + 1, file=label(cells, row), reason=str(item),
            )  # fmt: skip
        good.append(item)
    return good
