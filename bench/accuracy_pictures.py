"""Accuracy on small pictures: python bench/accuracy_pictures.py FOLDER [--seeds 3] [--only digits:cnn,fashion:cnn,fashion:resnet]

FOLDER holds digits/ and fashion/ as scripts/fetch_data.py writes them. Everything runs through duomo.train; the test files are judged
once, after the checkpoint was chosen on a share of the training file. One row for each seed, and the mean; logistic regression on the
pixels of the same rows beside it.
"""

import io
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

from common import command_line, trained

BARS = {"digits:cnn": 0.985, "fashion:cnn": 0.92, "fashion:resnet": 0.935}
CNN = {"name": "cnn", "size": "base"}
# clothes may be mirrored and hang straight, digits the other way round: the recipe for small pictures assumes neither
CLOTHES = {"flip": True, "rotate": 0.0, "scale": 0.0}
LONG = {"batch_size": 128, "ema": 0.998, "patience": 0}
SETTINGS: dict[str, dict[str, Any]] = {
    "digits:cnn": {"model": CNN},
    "fashion:cnn": {"model": CNN, "train": LONG | {"epochs": 20.0}, "augment": CLOTHES | {"crop": 0.04}},
    "fashion:resnet": {
        "model": {"name": "resnet", "size": "small", "options": {"places": True}},
        "train": LONG | {"epochs": 20.0},
        "augment": CLOTHES | {"crop": 0.04},
        "task": {"label_smoothing": 0.05},
    },
}
VALID_SHARE = 0.05


def as_parquet(source: Path, target: Path) -> Path:
    """Pictures x (N, H, W) uint8 and labels y (N,) of an .npz file as PNG cells and a column `label`."""
    with np.load(source) as data:
        cells = [png(picture) for picture in data["x"]]
        labels = [str(label) for label in data["y"]]
    parquet.write_table(pa.table({"image": pa.array(cells, pa.large_binary()), "label": labels}), target)
    return target


def png(picture: np.ndarray) -> bytes:
    body = io.BytesIO()
    Image.fromarray(picture).save(body, "PNG", compress_level=1)
    return body.getvalue()


def learn(name: str, train: Path, test: Path, seed: int) -> tuple[dict[str, Any], float]:
    """The scorecard, and the seconds of the whole call."""
    data = {"test": str(test), "valid_share": VALID_SHARE, "kind": {"image": "image", "label": "category"}}
    settings = SETTINGS[name] | {"data": data}
    settings["train"] = settings.get("train", {}) | {"seed": seed}
    card, seconds, _ = trained(train, settings, target="label")
    return card, seconds


def compare(name: str, folder: Path, seeds: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        source = folder / name.partition(":")[0]
        parts = [as_parquet(source / f"{part}.npz", Path(made) / f"{part}.parquet") for part in ("train", "test")]
        found, classical = [], ""
        for seed in range(seeds):
            card, seconds = learn(name, parts[0], parts[1], seed)
            for result in card["results"]:
                value = result["metrics"]["accuracy"]["value"]
                if result["kind"] == "model":
                    found.append(value)
                    took = card["facts"]["seconds"]["training"]
                    print(f"| {name}, seed {seed} | {value:.2%} | {took:.0f} | {seconds:.0f} |", flush=True)
                elif result["kind"] == "classical":
                    classical = f"| {result['name']} | {value:.2%} | {result['fit_seconds']:.0f} | |"
        print(classical)
        print(f"| **{name}, mean of {seeds}** | **{statistics.mean(found):.2%}** (bar {BARS[name]:.1%}) | | |", flush=True)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(BARS))
    arguments = parser.parse_args()
    print("| what | accuracy | seconds of training | of everything |\n|---|---|---|---|")
    for name in arguments.only.split(","):
        compare(name, arguments.folder, arguments.seeds)


if __name__ == "__main__":
    main()
