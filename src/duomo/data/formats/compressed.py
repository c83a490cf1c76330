"""One compressed file, `sales.csv.gz`: unpacked to the cache, bounded in size, and read as what it is."""

import bz2
import gzip
import lzma
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from duomo.core.errors import DataError, ResourceError
from duomo.data import spill as caches
from duomo.data.formats.archive import FREE_BYTES, MOST_BYTES, MOST_RATIO, ROOM

UNPACK_FAULTS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
PACKED = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst", ".tgz": "gz", ".tbz2": "bz2", ".tbz": "bz2", ".txz": "xz", ".tzst": "zst"}
"""By ending: how the file is packed."""
MOST_MEMORY = 256 << 20
"""Bytes that an .xz file may ask its reader to remember."""


def inside(path: Path) -> str:
    """The name of the file within, where the ending says that there is one."""
    ending = path.suffix.lower()
    return "" if ending not in PACKED else f"{path.stem}.tar" if ending.startswith(".t") else path.stem


def unpacked(path: Path, cache: Path | None) -> Path:
    """The file within, in the cache. DataError for one that is damaged, or too large for its size."""
    into = caches.folder(cache) / "archives" / caches.file_digest(path, "unpacked") / inside(path)
    if into.is_file():
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    most, free = min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * path.stat().st_size)), shutil.disk_usage(into.parent).free
    with tempfile.NamedTemporaryFile(prefix=caches.UNFINISHED, dir=into.parents[1], delete=False) as sink:
        partly = Path(sink.name)
        try:
            with _opened(path) as source:
                while piece := source.read(1 << 20):
                    if sink.tell() + len(piece) > free:
                        raise ResourceError(ROOM, file=path.name)
                    if sink.tell() + len(piece) > most:
                        raise DataError("A compressed file may unpack to at most {most} bytes; {file} is larger. "
                                        "Unpack it yourself if you trust it.", most=most, file=path.name)  # fmt: skip
                    sink.write(piece)
            sink.flush()
            partly.rename(into)
        except UNPACK_FAULTS as error:
            if isinstance(error, OSError):
                caches.refuse_full(error, into.parent)
            raise DataError("A compressed file must be whole; {file} is not: {why}. Make or download it again.",
                            file=path.name, why=str(error)[:200]) from None  # fmt: skip
        finally:
            partly.unlink(missing_ok=True)
    return into


def _opened(path: Path) -> BinaryIO | pa.NativeFile:
    match PACKED[path.suffix.lower()]:
        case "gz":
            return gzip.open(path)  # type: ignore[return-value]
        case "bz2":
            return bz2.open(path)
        case "xz":
            with path.open("rb") as file:  # what its header asks for is refused before it is given
                lzma.LZMADecompressor(memlimit=MOST_MEMORY).decompress(file.read(1 << 16), 1)
            return lzma.open(path)
        case _:
            return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
