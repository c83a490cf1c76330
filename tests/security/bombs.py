"""Files made to exhaust or to escape, each with what must become of it: python tests/security/bombs.py [NAME …]

Each is read, divided and encoded (as `duomo train` does before its first step) by a process forked from one that has everything
imported, in an empty folder with its own cache. It must end with one sentence, or leave the bomb out by name and use the rest,
within SECONDS, the process growing by at most MEGABYTES, and nothing written outside of the folder.
"""

import bz2
import gzip
import io
import json
import os
import resource
import struct
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from duomo import plan
from duomo.core.errors import DuomoError
from duomo.core.reporter import Silent

SECONDS, MEGABYTES = 5.0, 512
Maker = Callable[[Path], Path]
CORPUS: dict[str, Maker] = {}
ROWS = b"a,b\n" + b"1,2\n" * 40


def bomb(maker: Maker) -> Maker:
    CORPUS[maker.__name__] = maker
    return maker


def zeros(length: int) -> bytes:
    """A zlib stream of that many zeros, made from a piece that repeats."""
    packer, found = zlib.compressobj(9), []
    piece = bytes(1 << 20)
    for _ in range(length >> 20):
        found.append(packer.compress(piece))
    return b"".join([*found, packer.flush()])


# -- zip
def zipped(place: Path, *members: tuple[str, bytes], name: str = "bomb.zip", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(place / name, "w", method) as archive:
        for member, data in members:
            archive.writestr(member, data)
    return place / name


def patched(path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


@bomb
def zip_of_zeros(place: Path) -> Path:
    return zipped(place, ("a.csv", bytes(300 << 20)))


@bomb
def zip_bzip2_of_zeros(place: Path) -> Path:
    return zipped(place, ("a.csv", bytes(300 << 20)), method=zipfile.ZIP_BZIP2)


@bomb
def zip_that_lies_about_size(place: Path) -> Path:
    path = zipped(place, ("a.csv", ROWS * 50000))
    return patched(path, struct.pack("<I", len(ROWS) * 50000), struct.pack("<I", 164))


@bomb
def zip_members_that_overlap(place: Path) -> Path:
    path = zipped(place, ("a.csv", bytes(1 << 20)))
    data = path.read_bytes()
    start = data.index(b"PK\1\2")
    entry = data[start : data.index(b"PK\5\6")]
    entries = b"".join(entry.replace(b"a.csv", f"{number:05}".encode()) for number in range(20000))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 20000, 20000, len(entries), start, 0)
    path.write_bytes(data[:start] + entries + end)
    return path


def climbing(name: str) -> Maker:
    return lambda place: zipped(place, ("ok.csv", ROWS), (name, ROWS))


CORPUS |= {
    "zip_climbs": climbing("../escaped.csv"),
    "zip_climbs_deep": climbing("a/../../../escaped.csv"),
    "zip_absolute": climbing("/tmp/escaped-by-bomb.csv"),
    "zip_backslash": climbing("..\\escaped.csv"),
    "zip_drive": climbing("C:escaped.csv"),
    "zip_control_letters": climbing("a\n\x1b[2Jb.csv"),
    "zip_long_name": climbing("a" * 3000 + ".csv"),
    "zip_deep_path": climbing("a/" * 500 + "b.csv"),
    "zip_same_name": lambda place: zipped(place, ("a.csv", ROWS), ("A.CSV", ROWS)),
    "zip_file_that_is_a_folder": lambda place: zipped(place, ("a", ROWS), ("a/b.csv", ROWS)),
    "zip_name_in_other_letters": lambda place: patched(zipped(place, ("é.csv", ROWS)), "é".encode(), b"\xff\xfe"),
    "zip_bzip2_damaged": lambda place: patched(zipped(place, ("a.csv", ROWS), method=zipfile.ZIP_BZIP2), b"1AY&SY", b"1AY&SX"),
    "zip_in_zip": lambda place: zipped(place, ("inner.zip", zipped(place, ("a.csv", bytes(100 << 20)), name="inner.zip").read_bytes())),
    "zip_claims_a_million_files": lambda place: patched(
        zipped(place, ("a.csv", ROWS)), b"PK\5\6\0\0\0\0\1\0\1\0", b"PK\5\6\0\0\0\0\xff\xff\xff\xff"
    ),
    "zip_encrypted": lambda place: patched(zipped(place, ("a.csv", ROWS)), b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"),
    "zip_unknown_method": lambda place: patched(zipped(place, ("a.csv", ROWS)), b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x63\0"),
    "zip_truncated": lambda place: cut(zipped(place, ("a.csv", ROWS)), 0.7),
    "xlsx_of_zeros": lambda place: zipped(
        place, ("xl/worksheets/sheet1.xml", bytes(300 << 20)), ("[Content_Types].xml", b"<a/>"), name="a.xlsx"
    ),
}


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


@bomb
def zip_with_a_link(place: Path) -> Path:
    info = zipfile.ZipInfo("link.csv")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(place / "bomb.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return place / "bomb.zip"


# -- tar
def tarred(change: Callable[[tarfile.TarInfo], bytes], name: str = "bomb.tar.gz") -> Maker:
    def made(place: Path) -> Path:
        with tarfile.open(place / name, "w:gz") as archive:
            info = tarfile.TarInfo("a.csv")
            data = change(info)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        return place / name

    return made


def named(name: str) -> Callable[[tarfile.TarInfo], bytes]:
    def change(info: tarfile.TarInfo) -> bytes:
        info.name = name
        return ROWS

    return change


def linked(kind: bytes) -> Callable[[tarfile.TarInfo], bytes]:
    def change(info: tarfile.TarInfo) -> bytes:
        info.type, info.linkname = kind, "/etc/passwd"
        return b""

    return change


CORPUS |= {
    "tar_of_zeros": tarred(lambda info: bytes(200 << 20)),
    "tar_climbs": tarred(named("../escaped.csv")),
    "tar_absolute": tarred(named("/tmp/escaped-by-bomb.csv")),
    "tar_link": tarred(linked(tarfile.SYMTYPE)),
    "tar_hard_link": tarred(linked(tarfile.LNKTYPE)),
    "tar_device": tarred(linked(tarfile.CHRTYPE)),
}


# -- streams
def repeated(name: str, member: bytes, times: int) -> Maker:
    """A gzip file of many equal members: it unpacks to as many copies."""

    def made(place: Path) -> Path:
        (place / name).write_bytes(gzip.compress(member, 9) * times)
        return place / name

    return made


CORPUS |= {
    "gzip_of_zeros": repeated("a.csv.gz", bytes(16 << 20), 256),
    "gzip_one_endless_line": repeated("a.csv.gz", b"x" * (16 << 20), 256),
    "gzip_of_rows": repeated("a.csv.gz", ROWS * 100000, 256),
    "gzip_json_line": repeated("a.jsonl.gz", b'{"a": "' + b"x" * (16 << 20), 256),
    "gzip_truncated": lambda place: cut(repeated("a.csv.gz", ROWS * 1000, 3)(place), 0.6),
    "bzip2_of_zeros": lambda place: written(place, "a.csv.bz2", bz2.compress(bytes(16 << 20)) * 64),
    "json_brackets": lambda place: written(place, "a.json", b"[" * 2_000_000),
    "jsonl_brackets": lambda place: written(place, "a.jsonl", (b"[" * 100_000 + b"\n") * 10),
    "csv_of_commas": lambda place: written(place, "a.csv", b"," * 20_000_000),
    "csv_open_quote": lambda place: written(place, "a.csv", b'a,b\n"' + b"x\n" * 20_000_000),
    "voc_entities": lambda place: entities(place),
}


def written(place: Path, name: str, data: bytes) -> Path:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(data)
    return place / name


def entities(place: Path) -> Path:
    lines = ["<!ENTITY a0 'x'>", *(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))]
    text = f"<!DOCTYPE annotation [{''.join(lines)}]><annotation><filename>&a11;</filename></annotation>"
    written(place, "scenes/a.xml", text.encode())
    Image.new("RGB", (9, 9)).save(place / "scenes" / "a.png")
    return place / "scenes"


# -- Parquet
@bomb
def parquet_of_one_long_text(place: Path) -> Path:
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(300, np.int32)), pa.array(["x" * (8 << 20)]))
    pq.write_table(pa.table({"a": column}), place / "a.parquet", compression="zstd")
    return place / "a.parquet"


@bomb
def parquet_of_equal_rows(place: Path) -> Path:
    piece = pa.table({"a": np.zeros(1 << 20, np.int64)})
    with pq.ParquetWriter(place / "a.parquet", piece.schema, compression="zstd") as writer:
        for _ in range(256):
            writer.write_table(piece)
    return place / "a.parquet"


def parquet(place: Path) -> Path:
    pq.write_table(pa.table({"a": np.arange(1000)}), place / "a.parquet")
    return place / "a.parquet"


CORPUS |= {
    "parquet_truncated": lambda place: cut(parquet(place), 0.8),
    "parquet_footer_lies": lambda place: patched(parquet(place), (place / "a.parquet").read_bytes()[-8:-4], b"\xff\xff\xff\x7f"),
    "parquet_garbage": lambda place: written(place, "a.parquet", b"PAR1" + bytes(range(256)) * 40 + struct.pack("<I", 9000) + b"PAR1"),
}


# -- pictures, sounds, films: beside sound ones, in class folders
def beside(name: str, data: Callable[[], bytes], kind: str = "image") -> Maker:
    def made(place: Path) -> Path:
        random = np.random.default_rng(0)
        for label in ("a", "b"):
            (place / "data" / label).mkdir(parents=True)
            for number in range(6):
                if kind == "image":
                    pixels = random.integers(0, 255, (16, 16, 3), np.uint8)
                    Image.fromarray(pixels).save(place / "data" / label / f"{number}.png")
                else:
                    written(place / "data" / label, f"{number}.wav", wav(random.integers(-999, 999, 800).astype("<i2").tobytes(), 1600))
        written(place / "data" / "a", name, data())
        return place / "data"

    return made


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, body: bytes, extra: bytes = b"", depth: int = 1) -> bytes:
    header = struct.pack(">2I5B", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def wav(data: bytes, claimed: int, channels: int = 1, rate: int = 8000) -> bytes:
    form = struct.pack("<4sI2H2I2H", b"fmt ", 16, 1, channels, rate, 2 * channels * rate & 0xFFFFFFFF, 2 * channels & 0xFFFF, 16)
    return b"RIFF" + struct.pack("<I", min(0xFFFFFFFF, claimed + 36)) + b"WAVE" + form + b"data" + struct.pack("<I", claimed) + data


def gif(width: int, height: int, frames: int) -> bytes:
    frame = b"," + struct.pack("<4HB", 0, 0, width, height, 0) + b"\2\2L\1\0"
    return b"GIF89a" + struct.pack("<2H3B", width, height, 0x80, 0, 0) + bytes(6) + frame * frames + b";"


def tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, height),
            (279, 4, 1, 100)]  # fmt: skip
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<2H2I", *tag) for tag in tags) + bytes(4)


def jpeg(width: int, height: int) -> bytes:
    sink = io.BytesIO()
    Image.new("L", (16, 16)).save(sink, "JPEG")
    data = sink.getvalue()
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">2H", height, width) + data[place + 4 :]


def avi(width: int, height: int) -> bytes:
    head = struct.pack("<14I", 40000, 0, 0, 0, 2**31, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = b"vidsMJPG" + struct.pack("<10I", 0, 0, 0, 1, 25, 0, 2**31, 0, 0, 0) + bytes(8)
    form = struct.pack("<3I2H", 40, width, height, 1, 24) + b"MJPG" + bytes(20)
    parts = b"strh" + struct.pack("<I", len(stream)) + stream + b"strf" + struct.pack("<I", len(form)) + form
    strl = b"LIST" + struct.pack("<I", len(parts) + 4) + b"strl" + parts
    hdrl = b"avih" + struct.pack("<I", len(head)) + head + strl
    body = b"LIST" + struct.pack("<I", len(hdrl) + 4) + b"hdrl" + hdrl + b"LIST" + struct.pack("<I", 4) + b"movi"
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"AVI " + body


CORPUS |= {
    "png_20000": beside("x.png", lambda: png(20000, 20000, zeros(51 << 20))),
    "png_1": beside("x.png", lambda: png(1, 1, zlib.compress(bytes(2)))),
    "png_claims_everything": beside("x.png", lambda: png(2**31 - 1, 2**31 - 1, zlib.compress(bytes(99)))),
    "png_7900_true": beside("x.png", lambda: png(7900, 7900, zeros(8 << 20))),
    "png_text_of_zeros": beside("x.png", lambda: png(8, 8, zlib.compress(bytes(16)), chunk(b"zTXt", b"a\0\0" + zeros(400 << 20)))),
    "png_profile_of_zeros": beside("x.png", lambda: png(8, 8, zlib.compress(bytes(16)), chunk(b"iCCP", b"a\0\0" + zeros(400 << 20)))),
    "png_short_data": beside("x.png", lambda: png(4000, 4000, zlib.compress(bytes(9)))),
    "png_long_data": beside("x.png", lambda: png(8, 8, zeros(800 << 20))),
    "gif_65535": beside("x.gif", lambda: gif(65535, 65535, 1)),
    "gif_of_many_frames": beside("x.gif", lambda: gif(5000, 5000, 100_000)),
    "tiff_claims_everything": beside("x.tif", lambda: tiff(2**31, 2**31)),
    "tiff_8000": beside("x.tif", lambda: tiff(8000, 8000)),
    "bmp_claims_everything": beside("x.bmp", lambda: b"BM" + struct.pack("<4I2i2H6I", 99, 0, 54, 40, 2**30, 2**30, 1, 24, *[0] * 6)),
    "jpeg_65500": beside("x.jpg", lambda: jpeg(65500, 65500)),
    "webp_16383": beside("x.webp", lambda: b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<I", 10) + b"\x2f" + b"\xff" * 9),
    "pnm_claims_everything": beside("x.ppm", lambda: b"P6 99999999 99999999 255\n" + bytes(99)),
    "svg_entities": beside("x.svg", lambda: b"<!DOCTYPE a [<!ENTITY a 'x'>]><svg>&a;</svg>"),
    "wav_claims_4_gb": beside("x.wav", lambda: wav(bytes(100), 2**32 - 40), "audio"),
    "wav_65535_channels": beside("x.wav", lambda: wav(bytes(65535 * 8), 65535 * 8, channels=65535), "audio"),
    "wav_rate_0": beside("x.wav", lambda: wav(bytes(100), 100, rate=0), "audio"),
    "wav_rate_2_ghz": beside("x.wav", lambda: wav(bytes(1 << 20), 1 << 20, rate=2**31 - 1), "audio"),
    "wav_rate_1": beside("x.wav", lambda: wav(bytes(8 << 20), 8 << 20, rate=1), "audio"),
    "flac_claims_everything": beside("x.flac", lambda: b"fLaC\x80\0\0\x22" + b"\x10\0" * 2 + bytes(6) + b"\xff" * 8 + bytes(16), "audio"),
    "ogg_garbage": beside("x.ogg", lambda: b"OggS" + bytes(range(256)) * 400, "audio"),
    "avi_claims_everything": lambda place: films(place, "x.avi", avi(100000, 100000)),
    "avi_4096_empty": lambda place: films(place, "x.avi", avi(4096, 2048)),
    "mp4_garbage": lambda place: films(place, "x.mp4", b"\0\0\0\x18ftypisom" + bytes(range(256)) * 400),
    "mp4_box_lies": lambda place: films(place, "x.mp4", b"\0\0\0\x18ftypisom" + bytes(12) + b"\xff\xff\xff\xffmoov" + bytes(99)),
    "mkv_garbage": lambda place: films(place, "x.mkv", b"\x1aE\xdf\xa3" + b"\xff" * 4000),
    "gif_film_of_many_frames": lambda place: films(place, "x.gif", gif(3000, 3000, 200_000)),
}  # fmt: skip


def films(place: Path, name: str, data: bytes) -> Path:
    for label in ("a", "b"):
        written(place / "data" / label, name, data)
    return place / "data"


# -- the judge
def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _looked_at(source: Path, sink: int) -> None:
    """In the forked process: what became of it, as JSON into the pipe."""
    before, start = _peak(), time.monotonic()
    end = "TRACEBACK"
    try:
        made = plan.make(str(source), {"data": {"split": "random"}}, Silent())
        made.task.fit(made.train)
        for part in (made.train, made.valid, made.test):
            made.task.encode(part, target=True)
        left_out = [sentence for sentence in made.problems if "x." in sentence]
        end = f"left out: {left_out[0]}"[:200] if left_out else "used"
    except DuomoError as error:
        end = f"{type(error).__name__}: {error}"[:200]
    finally:
        end = end if end != "TRACEBACK" else f"TRACEBACK {sys.exc_info()[1]!r}"[:200]
        told = {"end": end, "seconds": time.monotonic() - start, "megabytes": _peak() - before, "whole": _peak()}
        os.write(sink, json.dumps(told).encode())
        os._exit(0)


def judge(name: str, patience: float = 30.0) -> dict[str, Any]:
    """Make the bomb, look at it in a process of its own; what became of it, and what lies outside of its folder."""
    with tempfile.TemporaryDirectory() as around:
        place, cache = Path(around, "in", "side"), Path(around, "cache")
        place.mkdir(parents=True)
        source = CORPUS[name](place)
        os.environ["DUOMO_CACHE"] = str(cache)
        out, sink = os.pipe()
        child = os.fork()
        if not child:
            os.chdir(place)
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
            _looked_at(source, sink)
        os.close(sink)
        end = time.monotonic() + patience
        while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
            time.sleep(0.01)
        if not done[0]:
            os.kill(child, 9)
            os.waitpid(child, 0)
        told = json.loads(os.read(out, 1 << 16) or b'{"end": "KILLED", "seconds": 99, "megabytes": 0, "whole": 0}')
        os.close(out)
        escaped = [
            str(path) for path in [*Path(around).glob("*"), *Path(around, "in").glob("*")] if path.name not in ("in", "side", "cache")
        ]
        escaped += [str(path) for path in [Path("/tmp/escaped-by-bomb.csv")] if path.exists()]
    return {"name": name, **told, "escaped": escaped}


def faults(told: dict[str, Any]) -> list[str]:
    found = [told["end"]] if told["end"].startswith(("TRACEBACK", "KILLED")) else []
    found += [f"{told['seconds']:.1f} s"] if told["seconds"] > SECONDS else []
    found += [f"{told['megabytes']:.0f} MB"] if told["megabytes"] > MEGABYTES else []
    return found + told["escaped"]


def judged(names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield judge(name)


if __name__ == "__main__":
    broken = 0
    for one in judged(sys.argv[1:] or list(CORPUS)):
        wrong = faults(one)
        broken += bool(wrong)
        print(
            f"{'FAULT' if wrong else 'ok   '} {one['name']:28} {one['seconds']:5.2f} s {one['megabytes']:5.0f} MB  {one['end'][:110]}",
            flush=True,
        )
    print(f"{broken} of {len(sys.argv[1:] or CORPUS)} not as wanted")
    sys.exit(broken > 0)
