"""Rebuild the samples inside the package: python scripts/make_samples.py PACKAGES (the folder of unpacked packages, see fetch_data.py).

Deterministic: fixed seed, fixed dates in the archives, fixed stream numbers in the sounds. The same versions of NumPy, pandas,
Pillow, zlib and libsndfile give the same bytes; others may compress differently and still give the same content.
"""

import argparse
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from PIL import Image
from sklearn.datasets import load_breast_cancer

import fetch_readers as read

OUT = Path(__file__).resolve().parents[1] / "src" / "duomo" / "samples" / "data"
SEED = 7
LIMIT = 10_000_000
Files = Iterable[tuple[str, bytes]]


def _csv(name: str, frame: pd.DataFrame) -> Files:
    return [(name, frame.to_csv(index=False, lineterminator="\n").encode("utf-8"))]


def _draw(count: int, wanted: int) -> np.ndarray:
    """`wanted` of `count` rows (n,), in a shuffled order that the seed fixes."""
    return np.random.default_rng(SEED).permutation(count)[:wanted]


def clinic(_: Path) -> Files:
    data = load_breast_cancer()
    frame = pd.DataFrame(data.data, columns=[name.replace(" ", "_") for name in data.feature_names])
    frame["diagnosis"] = np.array(["malignant", "benign"])[data.target]
    return _csv("clinic.csv", frame)


def digits(packages: Path) -> Files:
    pictures, labels = read.digits(packages)
    for label in range(10):
        rows = np.flatnonzero(labels == label)
        for number, row in enumerate(np.sort(rows[_draw(len(rows), 250)])):
            body = io.BytesIO()
            Image.fromarray(pictures[row]).save(body, "PNG", optimize=True)
            yield f"digits/{label}/{number:03d}.png", body.getvalue()


def _balanced(frame: pd.DataFrame, each: int) -> pd.DataFrame:
    parts = [part.iloc[_draw(len(part), each)] for _, part in frame.groupby("label", sort=True)]
    both = pd.concat(parts)
    return both.iloc[_draw(len(both), len(both))]


def reviews(packages: Path) -> Files:
    frame = read.clothing_reviews(packages)
    frame = frame[(frame["rating"] != 3) & (frame["department"] != "")]
    frame = frame.assign(label=np.where(frame["rating"] > 3, "positive", "negative"))
    return _csv("reviews.csv", _balanced(frame, 2000)[["text", "age", "department", "label"]])


def pinglun(packages: Path) -> Files:
    frame = read.chinese_reviews(packages)
    return _csv("reviews_zh.csv", _balanced(frame[frame["text"].str.len().between(6, 300)], 2000)[["text", "label"]])


def novel(packages: Path) -> Files:
    return [("novel.txt", read.novels(packages)["Pride and Prejudice"].encode("utf-8"))]


def poems(packages: Path) -> Files:
    found = read.tang_poems(packages)
    chosen = [found[row] for row in np.sort(_draw(len(found), 6500))]
    return [("poems.txt", "\n".join(f"{title}\n{text}\n" for title, _, text in chosen).encode("utf-8"))]


def _checksum_step(value: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


CHECKSUM_STEPS = [_checksum_step(byte << 24) for byte in range(256)]


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of an Ogg page (RFC 3533, section 6): polynomial 0x04c11db7, not reflected, start 0."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ CHECKSUM_STEPS[value >> 24 ^ byte]
    return value


def _steady(ogg: bytes, serial: int) -> bytes:
    """The Ogg file with a fixed stream number: the encoder draws a random one, which would change the archive at every build."""
    out, place = bytearray(), 0
    while place < len(ogg):
        segments = ogg[place + 26]
        size = 27 + segments + sum(ogg[place + 27 : place + 27 + segments])
        page = bytearray(ogg[place : place + size])
        page[14:18] = serial.to_bytes(4, "little")
        page[22:26] = bytes(4)
        page[22:26] = _ogg_checksum(bytes(page)).to_bytes(4, "little")
        out += page
        place += size
    return bytes(out)


def words(packages: Path) -> Files:
    rows = []
    for number, (name, text, sound) in enumerate(read.french_clips(packages)):
        signal, rate = soundfile.read(sound, dtype="float32", always_2d=True)
        slow = soxr.resample(signal.mean(axis=1), rate, 16_000)
        if not 0.4 <= len(slow) / 16_000 <= 6 or len(text) / (len(slow) / 16_000) > 30:
            continue
        body = io.BytesIO()
        soundfile.write(body, slow, 16_000, format="OGG", subtype="OPUS", compression_level=0.93)
        yield f"words/{name}.ogg", _steady(body.getvalue(), number + 1)
        rows.append((f"{name}.ogg", text))
    yield from _csv("words/metadata.csv", pd.DataFrame(rows, columns=["file", "text"]))


def watch(packages: Path) -> Files:
    plain = {"PEN": "pendulum", "ABD": "abduction", "FEL": "forward elevation", "IR": "internal rotation", "ER": "external rotation",
             "TRAP": "trapezius extension", "ROW": "upright row"}  # fmt: skip
    lines = [
        json.dumps({"signal": signal.round(3).tolist(), "exercise": plain[exercise], "subject": subject}, separators=(",", ":"))
        for signal, exercise, subject in read.watch_windows(packages)
    ]
    return [("watch.jsonl", ("\n".join(lines) + "\n").encode("utf-8"))]


def houses(packages: Path) -> Files:
    frame = read.houses(packages)
    return _csv("houses.csv", frame.iloc[_draw(len(frame), 5000)])


MAKERS: dict[str, Callable[[Path], Files]] = {
    "clinic": clinic, "digits": digits, "reviews": reviews, "pinglun": pinglun, "novel": novel, "poems": poems, "words": words,
    "watch": watch, "houses": houses,
}  # fmt: skip


def _pack(path: Path, files: Files) -> None:
    made = list(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in made:
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith((".png", ".ogg")) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, body, compresslevel=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("names", nargs="*", help=f"which samples (default all): {', '.join(MAKERS)}")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or MAKERS:
        _pack(OUT / f"{name}.zip", MAKERS[name](arguments.packages.resolve()))
        print(f"{name:8} {(OUT / f'{name}.zip').stat().st_size:>10,} bytes")
    total = sum(path.stat().st_size for path in OUT.glob("*.zip"))
    print(f"{'in all':8} {total:>10,} bytes (limit {LIMIT:,})")
    if total > LIMIT:
        raise SystemExit("The samples are larger than the limit: draw fewer rows.")


if __name__ == "__main__":
    main()
