"""What a start costs before the first step, on many pictures: python bench/picture_start.py [--count 10000] [--side 64]

JPEG files of 500 × 375 pixels in ten class folders, cut from the photos in scikit-learn. Timed, each in a process of its own: everything
from `duomo train` to the first step but the model (reading, checking, splitting, learning the encoding, decoding, the fingerprint): the
first time, again, after every file was touched, from a copy of the folder, and after one picture was replaced by another of the same size
in bytes under its old time of change. Wall and CPU seconds; the cache folder is a new one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from duomo.core.reporter import Silent
from duomo.plan import make
from duomo.work import fingerprint

CLASSES = 10


def written(folder: Path, count: int) -> None:
    """JPEG files of 500 × 375 pixels, cut at random from two photos, in folders 0 to 9."""
    photos = [Image.fromarray(np.asarray(photo)) for photo in load_sample_images().images]
    random = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % 2]
        left, top = int(random.integers(0, photo.width - 400)), int(random.integers(0, photo.height - 300))
        place = folder / str(number % CLASSES)
        place.mkdir(parents=True, exist_ok=True)
        photo.crop((left, top, left + 400, top + 300)).resize((500, 375)).save(place / f"{number:05d}.jpg", quality=88)


def touched(folder: Path) -> None:
    for file in folder.glob("*/*"):
        os.utime(file)


def start(folder: Path, side: int) -> dict[str, float]:
    """One start, stage by stage: wall seconds of each, and wall, CPU and a checksum of the pixels for the whole."""
    found: dict[str, float] = {}
    began, cpu = time.perf_counter(), time.process_time()

    def timed(name: str, call: Callable[[], Any]) -> Any:
        at = time.perf_counter()
        result = call()
        found[name] = time.perf_counter() - at
        return result

    plan = timed("read, check, split", lambda: make(str(folder), {"encode": {"picture_size": side}}, Silent()))
    timed("learn the encoding", lambda: plan.task.fit(plan.train))
    columns = timed("pixels", lambda: [plan.task.encode(part, target=True) for part in (plan.train, plan.valid, plan.test)])
    timed("fingerprint", lambda: fingerprint(plan))
    found |= {"all": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    found["sum"] = float(sum(int(one.columns["image:image"].values.sum(dtype=None)) for one in columns))
    return found


def replaced(folder: Path) -> None:
    """The first picture, its pixels others, its size and time of change as before."""
    file = min(folder.glob("*/*.jpg"))
    before, size = file.stat(), len(file.read_bytes())
    for quality in range(80, 1, -1):
        Image.new("RGB", (500, 375), (255, 0, 255)).save(file, quality=quality)
        if file.stat().st_size <= size:
            break
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(start(Path(options.one), options.side)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder, copy = Path(place) / "photos", Path(place) / "copy" / "photos"
        written(folder, options.count)
        print(f"{options.count:,} pictures, {sum(file.stat().st_size for file in folder.glob('*/*')) / 1e6:,.0f} MB, {options.side} pixels")
        time.sleep(3)
        for name, before in (("first", None), ("again", None), ("touched", lambda: touched(folder)),
                             ("copied", lambda: shutil.copytree(folder, copy)), ("one replaced", lambda: replaced(folder))):  # fmt: skip
            if before is not None:
                before()
            command = [sys.executable, __file__, "--side", str(options.side), "--one", str(copy if name == "copied" else folder)]
            told = subprocess.run(command, env={**os.environ, "DUOMO_CACHE": f"{place}/cache"}, check=True, capture_output=True, text=True)
            found = json.loads(told.stdout)
            parts = ", ".join(f"{stage} {found[stage]:.1f}" for stage in list(found)[:4])
            print(f"{name:13} {found['all']:6.1f} s, CPU {found['cpu']:6.1f} s ({parts}); pixels {found['sum']:.0f}")


if __name__ == "__main__":
    main()
