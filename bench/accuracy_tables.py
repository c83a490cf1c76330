"""Tables against tuned gradient boosting: python bench/accuracy_tables.py FOLDER [--sets adult,california,clinic] [--seeds 3] [--minutes 0]

FOLDER holds adult/ and california/ as scripts/fetch_data.py writes them; clinic comes with the package. For each seed the rows are
divided anew (70 % to learn, 15 % to choose, 15 % test). The model is `duomo.train` with its default recipe; boosting is scikit-learn's
HistGradientBoosting, chosen on the same validation rows from a grid of 12. Prints one row for each seed and the mean gap in per cent of
boosting's figure; above zero the model is better.
"""

import tempfile
import time
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score, root_mean_squared_error
from sklearn.model_selection import train_test_split

from common import command_line, judged_on
from duomo import samples

GRID = tuple(product((0.05, 0.1), (15, 31, 63), (0.0, 1.0)))
"""Learning rate, leaves of a tree, L2; the number of trees is found by early stopping on the validation rows."""
TREES = 1000


class Problem(NamedTuple):
    target: str
    metric: str


PROBLEMS = {
    "adult": Problem("income", "accuracy"),
    "california": Problem("price", "rmse"),
    "clinic": Problem("diagnosis", "auc"),
}


def rows_of(name: str, folder: Path) -> pd.DataFrame:
    if name == "clinic":
        with tempfile.TemporaryDirectory() as out:
            return pd.read_csv(samples.write("clinic", Path(out)))
    return pd.concat([pd.read_csv(folder / name / f"{part}.csv") for part in ("train", "test")], ignore_index=True)


def divide(frame: pd.DataFrame, problem: Problem, seed: int) -> dict[str, pd.DataFrame]:
    classes = None if problem.metric == "rmse" else frame[problem.target]
    rest, test = train_test_split(frame, test_size=0.15, random_state=seed, stratify=classes)
    classes = None if classes is None else rest[problem.target]
    train, valid = train_test_split(rest, test_size=0.15 / 0.85, random_state=seed, stratify=classes)
    return {"train": train, "valid": valid, "test": test}


def score(problem: Problem, model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, x: pd.DataFrame, y: np.ndarray) -> float:
    if problem.metric == "rmse":
        return float(root_mean_squared_error(y, model.predict(x)))
    if problem.metric == "auc":
        return float(roc_auc_score(y == model.classes_[1], model.predict_proba(x)[:, 1]))
    return float((model.predict(x) == y).mean())


def boosting(parts: dict[str, pd.DataFrame], problem: Problem) -> float:
    """The test figure of the grid's best on validation."""
    whole = pd.concat(list(parts.values()))
    texts = [name for name in whole if name != problem.target and not pd.api.types.is_numeric_dtype(whole[name])]
    cells = {name: part.drop(columns=problem.target) for name, part in parts.items()}
    for name in texts:
        kind = pd.CategoricalDtype(sorted(cells["train"][name].dropna().unique()))
        cells = {part: frame.assign(**{name: frame[name].astype(kind)}) for part, frame in cells.items()}
    target = {name: part[problem.target].to_numpy() for name, part in parts.items()}
    family = HistGradientBoostingRegressor if problem.metric == "rmse" else HistGradientBoostingClassifier
    found: list[tuple[float, float]] = []
    for rate, leaves, l2 in GRID:
        model = family(learning_rate=rate, max_leaf_nodes=leaves, l2_regularization=l2, max_iter=TREES, early_stopping=True,
                       n_iter_no_change=20, categorical_features=texts or None, random_state=0)  # fmt: skip
        model.fit(cells["train"], target["train"], X_val=cells["valid"], y_val=target["valid"])
        found.append((score(problem, model, cells["valid"], target["valid"]), score(problem, model, cells["test"], target["test"])))
    return (min if problem.metric == "rmse" else max)(found)[1]


def duomo_figure(parts: dict[str, pd.DataFrame], problem: Problem, seed: int, minutes: float) -> float:
    found = judged_on(parts, {"train": {"seed": seed}}, target=problem.target, minutes=minutes or None)
    return float(found.results[0]["metrics"][problem.metric]["value"])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default=",".join(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0.0)
    arguments = parser.parse_args()
    print("| table | metric | seed | Duomo | tuned boosting | gap, % | whole run, s | boosting, s |\n|---|---|---|---|---|---|---|---|")
    for name in arguments.sets.split(","):
        problem, gaps = PROBLEMS[name], []
        frame = rows_of(name, arguments.folder)
        for seed in range(arguments.seeds):
            parts = divide(frame, problem, seed)
            start = time.perf_counter()
            ours = duomo_figure(parts, problem, seed, arguments.minutes)
            middle = time.perf_counter()
            theirs = boosting(parts, problem)
            took = f"{middle - start:.0f} | {time.perf_counter() - middle:.0f}"
            gaps.append(100 * (ours / theirs - 1) * (-1 if problem.metric == "rmse" else 1))
            print(f"| {name} | {problem.metric} | {seed} | {ours:.5g} | {theirs:.5g} | {gaps[-1]:+.2f} | {took} |", flush=True)
        print(f"| {name} | {problem.metric} | mean | | | {np.mean(gaps):+.2f} | | |", flush=True)


if __name__ == "__main__":
    main()
