"""Tar archives, unpacked by our own hand: links, devices, sparse files and paths that lead outside are refused before
anything is written, and no size is believed that the file's length does not bear out.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from duomo.core.errors import DataError, ResourceError
from duomo.core.messages import tr
from duomo.data import spill as caches
from duomo.data.formats.archive import JUNK, MOST_FILES, ROOM, unsafe

IN_THE_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)
BLOCK = 512
MOST_NAME = 1 << 16
"""Bytes of a member that only tells the next one's name."""
PLAIN, FOLDER, NAMES = b"0\07", b"5", b"LxgK"


def unpack_tar(path: Path, cache: Path | None) -> Path:
    """The folder in the cache that holds the archive's files; DataError for anything hostile or broken."""
    into = caches.folder(cache) / "archives" / caches.file_digest(path, "untarred")
    if into.is_dir():
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    if path.stat().st_size > shutil.disk_usage(into.parent).free:
        raise ResourceError(ROOM, file=path.name)
    partly = Path(tempfile.mkdtemp(prefix=caches.UNFINISHED, dir=into.parent))
    try:
        with path.open("rb") as file:
            for name, size in _members(file, path):
                _write(file, partly / name, size)
        caches.settle(partly, into)
    except IN_THE_WAY:
        raise _broken(path, tr("two members of one name")) from None
    except OSError as error:
        caches.refuse_full(error, into.parent)
        raise
    finally:
        shutil.rmtree(partly, ignore_errors=True)
    return into


def _members(file: BinaryIO, path: Path) -> Iterator[tuple[str, int]]:
    """Name and size of each plain file, the file's place at the first of its bytes."""
    length, told, count, place = path.stat().st_size, "", 0, 0
    while len(header := file.read(BLOCK)) == BLOCK and any(header):
        kind, size = header[156:157], _number(header[124:136])
        start = place + BLOCK
        place = start + -(-size // BLOCK) * BLOCK
        count += 1
        if not _summed(header) or size < 0 or start + size > length:
            raise _broken(path, tr("it is cut off") if _summed(header) else tr("a header of it is damaged"))
        if kind in NAMES:
            if size > MOST_NAME or count > 3 * MOST_FILES:
                raise _broken(path, tr("a name that no file may have"))
            told = (_told(kind, file.read(size)) or told) if kind != b"g" else told
        else:
            name, told = told or _name(header), ""
            if kind != FOLDER and not any(junk in name for junk in JUNK):
                why = unsafe(name) if kind in PLAIN and kind else tr("a link or a device")
                if why or count > MOST_FILES:
                    raise DataError("An archive may hold plain files only; {file} holds {name!r}: {why}. "
                                    "Unpack it yourself if you trust it.",
                                    file=path.name, name=name[:100], why=why or tr("too many files"))  # fmt: skip
                yield name, size
        file.seek(place)


def _write(file: BinaryIO, target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as sink:
        while size and (piece := file.read(min(size, 1 << 20))):
            size -= len(piece)
            sink.write(piece)


def _number(cell: bytes) -> int:
    """Octal digits, or a number in base 256 where they do not suffice; -1 for neither."""
    if cell[0] == 0x80:
        return int.from_bytes(cell[1:])
    digits = cell.strip(b" \0")
    return int(digits or b"0", 8) if all(0x30 <= digit < 0x38 for digit in digits) else -1


def _summed(header: bytes) -> bool:
    """Whether the header's bytes sum up to what it says, its own sum counted as blanks."""
    return sum(header[:148]) + 8 * 32 + sum(header[156:]) == _number(header[148:156])


def _name(header: bytes) -> str:
    name, first = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    return _decoded(first + b"/" + name if first and header[257:262] == b"ustar" and header[262:264] != b" \0" else name)


def _told(kind: bytes, body: bytes) -> str:
    """The next member's name by GNU's or POSIX's manner; empty where it tells something else."""
    if kind == b"L":
        return _decoded(body.rstrip(b"\0"))
    place = 0
    while kind == b"x" and (blank := body.find(b" ", place)) > 0 and body[place:blank].isdigit():
        end = place + int(body[place:blank])
        key, _, value = body[blank + 1 : end - 1].partition(b"=")
        if key == b"path":
            return _decoded(value)
        place = max(end, blank + 1)
    return ""


def _decoded(name: bytes) -> str:
    """Names are UTF-8 nowadays and were GB18030 on Chinese Windows; `./` in front says nothing."""
    try:
        found = name.decode("utf-8")
    except UnicodeDecodeError:
        found = name.decode("gb18030", "replace")
    return found.removeprefix("./")


def _broken(path: Path, why: str) -> DataError:
    return DataError("A tar archive must be whole; {file} is not: {why}. Make or download it again.", file=path.name, why=why)
