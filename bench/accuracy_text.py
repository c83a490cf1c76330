"""Text against TF-IDF with logistic regression: python bench/accuracy_text.py FOLDER [--sets pinglun,reviews] [--seeds 3]

FOLDER holds pinglun/{train,test}.csv as scripts/fetch_data.py writes them (Chinese reviews, one test file for all seeds); the sample
`reviews` (English, with an age and a department) comes with the package and is divided anew for each seed. The model is `duomo.train`
with its default recipe; logistic regression is its own classical baseline, fitted on the training rows without the validation rows that
the model is chosen on, as the scorecard has it. Prints one row for each seed and the mean gap in points; above zero the model is better.
"""

import tempfile
from pathlib import Path

import numpy as np

from common import Judged, command_line, ranged, trained
from duomo import samples


def judged(name: str, folder: Path, seed: int) -> Judged:
    if name != "reviews":
        settings = {"data": {"test": str(folder / name / "test.csv")}, "train": {"seed": seed}}
        return trained(folder / name / "train.csv", settings, target="label")
    with tempfile.TemporaryDirectory() as place:
        return trained(samples.write("reviews", Path(place)), {"train": {"seed": seed}}, target="label")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default="pinglun,reviews")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| reviews | seed | Duomo, accuracy (95 %) | logistic regression on TF-IDF | gap, points | run, s |\n|---|---|---|---|---|---|")
    for name in arguments.sets.split(","):
        gaps = []
        for seed in range(arguments.seeds):
            found = judged(name, arguments.folder, seed)
            accuracy = {result["name"]: result["metrics"]["accuracy"] for result in found.results}
            pair = accuracy[found.results[0]["name"]], accuracy["logistic regression"]
            gaps.append(100 * (pair[0]["value"] - pair[1]["value"]))
            shown = " | ".join(ranged(one, 2, 100) for one in pair)
            print(f"| {name} | {seed} | {shown} | {gaps[-1]:+.2f} | {found.wall:.0f} |", flush=True)
        print(f"| {name} | mean | | | {np.mean(gaps):+.2f} | |", flush=True)


if __name__ == "__main__":
    main()
