"""Accuracy on drawings, from scratch and from ImageNet weights: python bench/accuracy_vision.py FOLDER [--only emoji] [--sizes 200,1000,0]

FOLDER holds clipart/, emoji/ and mobilenet/ as scripts/fetch_data.py writes them. A fifth of each set, drawn stratified with seed 0, is the
test; from the rest the first 200, 1,000 and all rows of one order are learned from (their own share of validation chooses the checkpoint).
Everything runs through duomo.train with the recipe that it suggests: from scratch, and from MobileNetV2's weights at --side pixels (what
`duomo train FOLDER --from mobilenet_v2.pth --picture-size 96` does). The baselines stand in the scorecard of the net from scratch: logistic
regression on pixels and on histograms of gradients, the nearest neighbour. Each test is judged once. --what leaves one of the two out.
"""

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from sklearn.model_selection import train_test_split

from common import command_line, trained
from duomo.tasks.classify.task import Main

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


def settings(start: Path | None, side: int, test: Path, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"data": {"test": str(test), "kind": {"image": "image", "label": "category"}}, "train": {"seed": seed}}
    return found | ({"adapt": {"start": str(start)}, "encode": {"picture_size": side}} if start else {})


def learned(train: Path, test: Path, start: Path | None, side: int, seed: int) -> Iterator[tuple[str, float, float]]:
    """Name, accuracy and seconds of learning of the model, then of every baseline; beside a net from weights they are not fitted again."""
    withheld = nullcontext() if start is None else patch.object(Main, "baselines", return_value=[])
    with withheld:
        card = trained(train, settings(start, side, test, seed), target="label").card
    for result in card["results"]:
        seconds = card["facts"]["seconds"]["training"] if result["kind"] == "model" else result.get("fit_seconds") or 0.0
        yield result["name"], result["metrics"]["accuracy"]["value"], seconds


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="clipart,emoji")
    parser.add_argument("--sizes", default="200,1000,0")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", default="weights,scratch")
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
                for what in arguments.what.split(","):
                    start, title = (weights, "from MobileNetV2's weights") if what == "weights" else (None, "from scratch")
                    for result, accuracy, seconds in learned(train, test, start, arguments.side, arguments.seed):
                        print(
                            f"| {name} ({len(held)} tested) | {len(rows)} | {title or result} | {accuracy:.1%} | {seconds:.0f} |",
                            flush=True,
                        )
                        title = ""


if __name__ == "__main__":
    main()
