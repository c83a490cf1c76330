"""Series beside MiniRocket: python bench/series.py FOLDER [--sets GunPoint,OSULeaf] [--model rnn] [--seeds 1]

FOLDER holds NAME_TRAIN.ts and NAME_TEST.ts (python scripts/fetch_data.py DATA series). `duomo.train` learns each with its defaults
from the archive's training part, 15 % of which chooses and calibrates, and judged on the archive's test. Beside it stand the
scorecard's own simple models and, where aeon is installed, its MiniRocket (10,000 features) with ridge regression over all
training rows. Prints accuracy or RMSE and the seconds of CPU that each took, everything counted but the start of Python.
"""

import importlib.util
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import command_line, trained
from duomo.data.formats.series import read_ts

SETS = ("ACSF1,ArrowHead,BasicMotions,CardanoSentiment,Covid3Month,GunPoint,ItalyPowerDemand,JapaneseVowels,OSULeaf,"
        "PickupGestureWiimoteZ,PLAID,Tecator")  # fmt: skip


def ours(folder: Path, name: str, model: str, seed: int) -> str:
    settings = {"data": {"test": str(folder / f"{name}_TEST.ts")}, "train": {"seed": seed}}
    target = read_ts(folder / f"{name}_TRAIN.ts")[0].column_names[1]
    judged = trained(folder / f"{name}_TRAIN.ts", settings, target=target, model=model or None)
    metric = "rmse" if "rmse" in judged.results[0]["metrics"] else "accuracy"
    found = ", ".join(f"{result['name']} {result['metrics'][metric]['value']:.4g}" for result in judged.results)
    return f"{metric}: {found} ({judged.cpu:.0f} s)"


def arrays(path: Path, longest: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, C, T) padded with zeros, and the targets."""
    table = read_ts(path)[0]
    rows = [np.nan_to_num(np.array(cell, np.float64).reshape(len(cell), -1).T) for cell in table.column("series").to_pylist()]
    longest = max(longest, 9, *(row.shape[1] for row in rows))
    return np.stack([np.pad(row, ((0, 0), (0, longest - row.shape[1]))) for row in rows]), np.array(table.column(1).to_pylist())


def peer(folder: Path, name: str) -> str:
    from aeon.transformations.collection.convolution_based import MiniRocket

    (a, ya), (b, yb) = (arrays(folder / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
    longest = max(a.shape[2], b.shape[2])
    a, b = (np.pad(x, ((0, 0), (0, 0), (0, longest - x.shape[2]))) for x in (a, b))
    start = time.process_time()
    rocket = MiniRocket(random_state=0, n_jobs=1)
    a, b = np.asarray(rocket.fit_transform(a, ya)), np.asarray(rocket.transform(b))
    ridge = (RidgeCV if ya.dtype.kind == "f" else RidgeClassifierCV)(np.logspace(-3, 3, 10))
    model = make_pipeline(StandardScaler(with_mean=False), ridge).fit(a, ya)
    told = np.sqrt(np.mean((model.predict(b) - yb) ** 2)) if ya.dtype.kind == "f" else model.score(b, yb)
    return f"MiniRocket and ridge {told:.4g} ({time.process_time() - start:.0f} s)"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--model", default="")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    beside = importlib.util.find_spec("aeon") is not None
    for name in arguments.sets.split(","):
        told = [ours(arguments.folder, name, arguments.model, seed) for seed in range(arguments.seeds)]
        print(" | ".join([f"{name:22}", *told, *([peer(arguments.folder, name)] if beside else [])]), flush=True)


if __name__ == "__main__":
    main()
