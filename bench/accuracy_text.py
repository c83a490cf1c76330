"""Text against TF-IDF with logistic regression: python bench/accuracy_text.py FOLDER [--sets pinglun,reviews] [--seeds 3]

FOLDER holds pinglun/{train,test}.csv as scripts/fetch_data.py writes them (Chinese reviews, one test file for all seeds); the sample
`reviews` (English, with an age and a department) comes with the package and is divided anew for each seed. The model is `duomo.train`
with its default recipe; logistic regression is its own classical baseline, fitted on the training rows without the validation rows that
the model is chosen on, as the scorecard has it. Prints one row for each seed and the mean gap in points; above zero the model is better.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import duomo
from duomo import samples


def scorecard(name: str, folder: Path, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:
        settings: dict[str, Any] = {"train": {"seed": seed}}
        source = folder / name / "train.csv"
        if name == "reviews":
            source = samples.write("reviews", Path(out))
        else:
            settings["data"] = {"test": str(folder / name / "test.csv")}
        return dict(duomo.train(str(source), settings, target="label", out=str(Path(out) / "run")).scorecard)


def shown(metrics: dict[str, Any]) -> str:
    found = metrics["accuracy"]
    return f"{100 * found['value']:.2f} ({100 * found['low']:.2f}–{100 * found['high']:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default="pinglun,reviews")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| reviews | seed | Duomo, accuracy (95 %) | logistic regression on TF-IDF | gap, points | run, s |\n|---|---|---|---|---|---|")
    for name in arguments.sets.split(","):
        gaps = []
        for seed in range(arguments.seeds):
            start = time.perf_counter()
            results = scorecard(name, arguments.folder, seed)["results"]
            model = next(found["metrics"] for found in results if found["kind"] == "model")
            classical = next(found["metrics"] for found in results if found["name"] == "logistic regression")
            gaps.append(100 * (model["accuracy"]["value"] - classical["accuracy"]["value"]))
            took = time.perf_counter() - start
            print(f"| {name} | {seed} | {shown(model)} | {shown(classical)} | {gaps[-1]:+.2f} | {took:.0f} |", flush=True)
        print(f"| {name} | mean | | | {np.mean(gaps):+.2f} | |", flush=True)


if __name__ == "__main__":
    main()
