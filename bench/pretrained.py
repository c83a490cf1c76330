"""Does learning to fill gaps help a classifier: python bench/pretrained.py REVIEWS [--fill RUN] [--minutes 5] [--labels ...] [--seeds 3]

REVIEWS is the folder reviews/ as scripts/fetch_data.py writes it: the department (six) is told from the text of a review. A model
learns for so many minutes to fill gaps in the texts of all training rows (or RUN has done so), none of the labels. Then at each number of
labels: a classifier that goes on from it, the same architecture from nothing, and scikit-learn's TF-IDF (words and pairs of words) with
logistic regression, on the same rows and the same 2,000 untouched ones. Accuracy for each seed, which also draws the rows.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import duomo
from common import command_line, judged_on
from finetune import TARGET, TEXT, classical

ARCHITECTURE = {"name": "bert", "size": "small", "options": {"near": 2}}
ENCODE = {"longest_text": 64}


def filled(reviews: Path, run: Path, minutes: float) -> None:
    settings = {"data": {"task": "fill", "kind": {TEXT: "text"}}, "task": {"column": TEXT}, "train": {"minutes": minutes}}
    duomo.train(str(reviews / "train.csv"), settings, out=str(run))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("reviews", type=Path)
    parser.add_argument("--fill", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--labels", default="100,1000")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    test = pd.read_csv(given.reviews / "test.csv")[[TEXT, TARGET]].dropna().sample(2000, random_state=0)
    with tempfile.TemporaryDirectory() as out:
        run = given.fill or Path(out) / "fill"
        if given.fill is None:
            filled(given.reviews, run, given.minutes)
        ways: dict[str, dict[str, Any]] = {
            "from the filler": {"adapt": {"start": str(run)}, "encode": ENCODE},
            "from nothing": {"model": ARCHITECTURE, "encode": ENCODE},
        }
        print("| labels | what | accuracy | mean |\n|---|---|---|---|", flush=True)
        for count in map(int, given.labels.split(",")):
            found: dict[str, list[float]] = {name: [] for name in (*ways, "TF-IDF, logistic regression")}
            for seed in range(given.seeds):
                rows = pd.read_csv(given.reviews / "train.csv")[[TEXT, TARGET]].dropna().sample(count, random_state=seed)
                parts = {"train": rows[: count * 4 // 5], "valid": rows[count * 4 // 5 :], "test": test}
                data = {"kind": {TEXT: "text", TARGET: "category"}}
                for name, way in ways.items():
                    settings = {"data": data, "task": {"metric": "accuracy"}, "train": {"seed": seed}} | way
                    judged = judged_on(parts, settings, target=TARGET)
                    found[name].append(judged.results[0]["metrics"]["accuracy"]["value"])
                found["TF-IDF, logistic regression"].append(classical(*parts.values()))
            for name, values in found.items():
                print(f"| {count:,} | {name} | {', '.join(f'{value:.3f}' for value in values)} | {np.mean(values):.3f} |", flush=True)


if __name__ == "__main__":
    main()
