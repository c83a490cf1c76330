"""Zip archives, unpacked by our own hand: nothing outside the folder, no links, bounded in size, number and ratio."""

import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from duomo.core.errors import DataError, ResourceError
from duomo.core.messages import tr
from duomo.data import spill as caches

MOST_FILES = 500_000
MOST_BYTES = 64 << 30
MOST_RATIO = 200
FREE_BYTES = 256 << 20
"""Below this many unpacked bytes the ratio does not matter."""
ROOM = "Unpacking needs room in the cache folder; {file} holds more than is free. Set DUOMO_CACHE to another disk."
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
JUNK = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


FAULTS = (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OverflowError, zlib.error, EOFError)
"""What zipfile raises for a damaged archive: also for a version or method that it lacks, for names that are not the UTF-8 that they are
said to be, for places beyond 63 bits; the last two while a member is read, where `_chunks` turns what bz2 raises into the first."""


def unpack(path: Path, cache: Path | None) -> Path:
    """The folder in the cache that holds the archive's files; raises DataError for anything hostile or broken."""
    into = caches.folder(cache) / "archives" / caches.file_digest(path, "unpacked")
    if into.is_dir():
        return into
    into.parent.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_count(path)
            infos = [info for info in checked(archive, path) if not info.is_dir()]
            if sum(info.file_size for info in infos) > shutil.disk_usage(into.parent).free:
                raise ResourceError(ROOM, file=path.name)
            partly = Path(tempfile.mkdtemp(prefix=caches.UNFINISHED, dir=into.parent))
            try:
                for info, name in zip(infos, map(_name, infos), strict=True):
                    _write(archive, info, partly / name, path)
                caches.settle(partly, into)
            except OSError as error:
                caches.refuse_full(error, into.parent)
                raise
            finally:
                shutil.rmtree(partly, ignore_errors=True)
    except FAULTS as error:
        raise DataError(
            "A zip archive must be whole; {file} is not: {why}. Make or download it again.", file=path.name, why=str(error)
        ) from None
    return into


def check_packed(path: Path) -> None:
    """Refuse a bomb in a file that is a zip inside (Excel) before anything reads it."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_count(path)
            checked(archive, path)
    except FAULTS as error:
        raise DataError("An Excel file must be whole; {file} is not: {why}. Save it again.", file=path.name, why=str(error)) from None


def checked(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The members, once names, kinds, sizes and places have been found harmless."""
    infos = [info for info in archive.infolist() if not any(junk in info.filename for junk in JUNK)]
    total = sum(info.file_size for info in infos)
    packed = max(1, path.stat().st_size)
    if len(infos) > MOST_FILES or total > MOST_BYTES or (total > FREE_BYTES and total > MOST_RATIO * packed):
        raise DataError(
            "An archive may unpack to at most {most} times its size; {file} ({packed} bytes) claims {count} files and {total} bytes. "
            "Unpack it yourself if you trust it.",
            most=MOST_RATIO, file=path.name, packed=packed, count=len(infos), total=total,
        )  # fmt: skip
    end, names = 0, set()
    files = {_name(info).casefold() for info in infos if not info.is_dir()}
    for info in sorted(infos, key=lambda info: info.header_offset):
        why = _hostile(info)
        name = _name(info)
        if info.header_offset < end:
            why = tr("overlapping members")
        if name.casefold() in names or files & {str(folder).casefold() for folder in PurePosixPath(name).parents}:
            why = tr("two members of one name")
        if why:
            raise DataError(
                "An archive may hold plain files only; {file} holds {name!r}: {why}. Unpack it yourself if you trust it.",
                file=path.name, name=info.filename[:100], why=why,
            )  # fmt: skip
        end = info.header_offset + info.compress_size
        names.add(name.casefold())
    return infos


def _hostile(info: zipfile.ZipInfo) -> str:
    kind = (info.external_attr >> 16) & 0o170000
    if kind not in (0, 0o100000, 0o040000):
        return tr("a link or a device")
    if why := unsafe(_name(info)):
        return why
    if info.flag_bits & 1:
        return tr("encrypted")
    return "" if info.compress_type in _METHODS else tr("an unknown compression")


def unsafe(name: str) -> str:
    """Why a member of this name may not be written, if it may not."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return tr("a path that leads outside")
    if any(ord(letter) < 32 for letter in name) or len(parts) > 20 or any(len(part.encode()) > 255 for part in parts):
        return tr("a name that no file may have")
    return ""


def _name(info: zipfile.ZipInfo) -> str:
    """The member's name; names without the UTF-8 flag were often written in GB18030 on Chinese Windows."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _check_count(path: Path) -> None:
    """The central directory may not be so large that listing it is itself an attack."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_557))
        tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place >= 0 and len(tail) >= place + 22:
        (length,) = struct.unpack_from("<I", tail, place + 12)
        if length != 0xFFFFFFFF and length > MOST_FILES * 300:
            raise DataError(
                "An archive may hold at most {most} files; {file} holds more. Unpack it yourself if you trust it.",
                most=MOST_FILES,
                file=path.name,
            )


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, path: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("xb") as sink:
        for chunk in _chunks(archive, info):
            written += len(chunk)
            if written > info.file_size:
                raise DataError(
                    "A zip archive must be whole; {file} is not: {why}. Make or download it again.",
                    file=path.name,
                    why=f"{info.filename[:100]} is longer than it says",
                )
            sink.write(chunk)


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The member a piece at a time. For bz2 damage is an OSError, which a full disk is too."""
    try:
        with archive.open(info) as source:
            while chunk := source.read(1 << 20):
                yield chunk
    except OSError as error:
        raise zipfile.BadZipFile(str(error)) from error
