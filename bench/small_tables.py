"""Small tables beside boosting and linear models: python bench/small_tables.py FOLDER [--sets crabs:sp,swiss:Fertility] [--seeds 4]

FOLDER holds R's tables as CSV files, anywhere below it (those of the Python package pydataset 0.2.0, unpacked). For each seed 40 % of
the rows are the test, divided anew; `duomo.train` does the rest with its defaults. The peers are the scorecard's own, fitted on the
same rows. Prints log-loss and accuracy, or RMSE, as means over the seeds, and how often the scorecard's verdict was won, a tie or lost.
"""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import command_line, r_table, trained, written

SETS = ("crabs:sp,Pima.tr:type,kyphosis:Kyphosis,Participation:lfp,Rubber:loss,petrol:Y,longley:Employed,InsectSprays:spray,"
        "chickwts:weight,Salaries:salary")  # fmt: skip
"""None of them was looked at while settings were chosen."""


def judged(frame: pd.DataFrame, target: str, seed: int) -> dict[str, Any]:
    frame = frame.dropna(subset=[target]).sample(frac=1, random_state=seed)
    with tempfile.TemporaryDirectory() as folder:
        cut = int(0.6 * len(frame))
        paths = written({"train": frame[:cut], "test": frame[cut:]}, folder)
        return trained(paths["train"], {"data": {"target": (target,), "test": str(paths["test"])}, "train": {"seed": seed}}).card


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    for name, target in (pair.split(":") for pair in arguments.sets.split(",")):
        frame = r_table(arguments.folder, name)
        cards = [judged(frame, target, seed) for seed in range(arguments.seeds)]
        told = [f"{name:14} {len(frame):5}"]
        for place, result in enumerate(cards[0]["results"]):
            for metric in ("log_loss", "accuracy", "rmse"):
                values = [card["results"][place]["metrics"][metric]["value"] for card in cards if metric in result["metrics"]]
                told += [f"{result['name']} {metric} {np.mean(values):.3f}"] if values else []
        print(" | ".join(told), dict(Counter(card["verdict"]["outcome"] for card in cards)), flush=True)


if __name__ == "__main__":
    main()
