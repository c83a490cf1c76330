"""Detection on composed scenes: python bench/detection.py FOLDER [--minutes 30 | --epochs N] [--scratch] [--rate RUN]

FOLDER holds cutouts/, grounds/ and mobilenet/ (the trunk's weights; unused with --scratch) as scripts/fetch_data.py writes them: no
cut-out and no background of the test is in training. Scenes are made by `duomo compose`, the detector is trained by `duomo.train` within
the time given, and judged once on the test scenes; the baselines of the scorecard stand beside it. Then the rate of answers at 320
pixels, files to boxes, one picture at a time and in batches: of the run as it is, and prepared (python -m duomo.prepared). --rate RUN: only
the rate, of a copy of a run that exists.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duomo
from common import command_line
from duomo.core.reporter import Silent
from duomo.data.scenes.compose import ComposeConfig, compose
from duomo.terminal import TerminalReporter

BARS = {"map50": 0.70, "map": 0.45}
FRAMES = 10.0
TEST, PICTURES = 400, 64


def rate(path: Path, scenes: Path) -> None:
    """Pictures a second, files to boxes, by torch and by the engine that suits this machine."""
    files = sorted((scenes / "images").iterdir())[:PICTURES]
    for how in ("as it is", "prepared"):
        if how == "prepared":
            subprocess.run([sys.executable, "-m", "duomo.prepared", str(path)], check=True)
        run = duomo.load(path)
        for rows in (1, 16):
            run.predict([{"image": str(file)} for file in files[:rows]])
            started = time.perf_counter()
            for first in range(0, len(files), rows):
                run.predict([{"image": str(file)} for file in files[first : first + rows]])
            print(f"answers {how:8}, {rows:2} at a time: {len(files) / (time.perf_counter() - started):6.1f} pictures/s   bar {FRAMES:g}")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--epochs", type=float, default=0.0, help="instead of minutes: the length does not depend on what else runs")
    parser.add_argument("--scratch", action="store_true", help="a small trunk from nothing in place of ImageNet's MobileNetV2")
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--side", type=int, default=320, help="pixels that the detector sees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=Path, help="only the rate of this run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if arguments.rate:
            config = ComposeConfig(count=PICTURES, side=arguments.side, seed=arguments.seed + 1000)
            compose(arguments.folder / "cutouts" / "test", arguments.folder / "grounds" / "test", Path(place, "test"), config, Silent())
            rate(Path(shutil.copytree(arguments.rate, Path(place, "run"))), Path(place, "test"))
            return
        for part, count in (("train", arguments.scenes), ("test", TEST)):
            plain: dict[str, Any] = {"stretch": 0.0, "hue": 0.0} if part == "test" else {}  # the test's cut-outs are shown as they are
            config = ComposeConfig(count=count, seed=arguments.seed + (part == "test") * 1000, **plain)
            compose(arguments.folder / "cutouts" / part, arguments.folder / "grounds" / part, Path(place, part), config, Silent())
        settings = {
            "data": {"task": "detect", "test": str(Path(place, "test")), "valid_share": 0.05},
            "train": {"minutes": 0.0 if arguments.epochs else arguments.minutes, "seed": arguments.seed, "patience": 0},
            "encode": {"picture_size": arguments.side},
        }
        if arguments.epochs:
            settings["train"]["epochs"] = arguments.epochs
        if not arguments.scratch:
            settings["adapt"] = {"start": str(arguments.folder / "mobilenet" / "mobilenet_v2.pth")}
        started, spent = time.perf_counter(), time.process_time()
        run = duomo.train(Path(place, "train"), settings, out=Path(place, "run"), reporter=TerminalReporter())
        minutes, busy = (time.perf_counter() - started) / 60, (time.process_time() - spent) / 60
        print(f"\ntrained and judged in {minutes:.1f} min, {busy:.1f} CPU min, {os.cpu_count()} cores")
        print(f"{'metric':14}" + "".join(f"{result['name']:>28}" for result in run.scorecard["results"]))
        for metric in run.scorecard["results"][0]["metrics"]:
            cells = [result["metrics"][metric] for result in run.scorecard["results"]]
            figures = [f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for cell in cells]
            print(f"{metric:14}" + "".join(f"{figure:>28}" for figure in figures) + f"   bar {BARS.get(metric, '')}")
        rate(run.path, Path(place, "test"))


if __name__ == "__main__":
    main()
