"""Accuracy on drawings, from scratch and from ImageNet weights: python bench/accuracy_vision.py FOLDER [--sizes 200,1000,0]

FOLDER holds clipart/, emoji/ and mobilenet/ as scripts/fetch_data.py writes them. A fifth of each set, drawn stratified with seed 0, is the
test; from the rest the first 200, 1,000 and all rows of one order are learned from (their own share of validation chooses the checkpoint).
Everything runs through duomo.train: from scratch with the recipe that duomo suggests, and from MobileNetV2's weights at --side pixels.
The baselines stand in the same scorecards: logistic regression on pixels and on histograms of gradients, the nearest neighbour. Each test
is judged once.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from sklearn.model_selection import train_test_split

import duomo

FINE = {"batch_size": 32, "learning_rate": 1e-3, "weight_decay": 5e-2, "ema": 0.98, "patience": 0, "warmup": 0.1}
EPOCHS = {200: 12.0, 1000: 5.0, 0: 3.0}
AUGMENT = {"flip": True, "crop": 0.08, "colour": 0.2, "erase": 0.1}
FEWEST = 10


def rows_of(folder: Path) -> tuple[list[Path], list[str]]:
    """Files and class names; classes of fewer than ten pictures are left out, since a test of one says nothing."""
    found = [(path, path.parent.name) for path in sorted(folder.glob("*/*.png")) if path.stat().st_size < 2**22]
    counts = {name: sum(label == name for _, label in found) for name in {label for _, label in found}}
    kept = [(path, label) for path, label in found if counts[label] >= FEWEST]
    return [path for path, _ in kept], [label for _, label in kept]


def written(paths: list[Path], labels: list[str], rows: np.ndarray, target: Path) -> Path:
    cells = pa.array([paths[row].read_bytes() for row in rows], pa.large_binary())
    parquet.write_table(pa.table({"image": cells, "label": [labels[row] for row in rows]}), target)
    return target


def settings(start: Path | None, side: int, size: int, test: Path, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"data": {"test": str(test), "kind": {"image": "image", "label": "category"}}, "train": {"seed": seed}}
    if start is None:
        return found
    return found | {"adapt": {"start": str(start)}, "encode": {"picture_size": side}, "augment": AUGMENT,
                    "train": FINE | {"epochs": EPOCHS.get(size, 6.0), "seed": seed}}  # fmt: skip


def learned(train: Path, test: Path, start: Path | None, side: int, size: int, seed: int) -> Iterator[tuple[str, float, float]]:
    """Name, accuracy and seconds of the model, then of every baseline."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        run = duomo.train(str(train), settings(start, side, size, test, seed), target="label", out=str(Path(out) / "run"))
        results = run.scorecard["results"]
    for result in results:
        seconds = time.perf_counter() - begun if result["kind"] == "model" else result.get("fit_seconds") or 0.0
        yield result["name"], result["metrics"]["accuracy"]["value"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="clipart,emoji")
    parser.add_argument("--sizes", default="200,1000,0")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    weights = arguments.folder / "mobilenet" / "mobilenet_v2.pth"
    print("| set | rows learned from | what | accuracy | seconds |\n|---|---|---|---|---|")
    for name in arguments.only.split(","):
        paths, labels = rows_of(arguments.folder / name)
        kept, held = train_test_split(np.arange(len(paths)), test_size=0.2, random_state=0, stratify=labels)
        with tempfile.TemporaryDirectory() as made:
            test = written(paths, labels, held, Path(made) / "test.parquet")
            for size in map(int, arguments.sizes.split(",")):
                rows = kept[:size] if size else kept
                train = written(paths, labels, rows, Path(made) / f"train{size}.parquet")
                for what, start in (("from MobileNetV2's weights", weights), ("from scratch", None)):
                    for place, (result, accuracy, seconds) in enumerate(learned(train, test, start, arguments.side, size, arguments.seed)):
                        title = what if place == 0 else result
                        if place == 0 or start is None:
                            print(f"| {name} ({len(held)} tested) | {len(rows)} | {title} | {accuracy:.1%} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
