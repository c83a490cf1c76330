"""What a regression must beat: the mean, and a classical model on the same rows. Deterministic.

scikit-learn is imported when a baseline is fitted. Caps on rows and settings are stated in the README.
Legend: N rows, F features, K targets.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.data.baselines.classical import LinearMatrix, TreeMatrix, at_rows, grown, in_time, is_flat, sample_rows
from duomo.data.supervised import numbers

TREE_ROWS, LINEAR_ROWS, NEAR_ROWS = 100_000, 20_000, 20_000
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)

Targets = Callable[[Table], np.ndarray]
"""Table -> (N, K) float64, NaN where missing."""
Fit = Callable[[Any, np.ndarray, float], Any]
"""Features, values, and when it may end with TimeoutError."""


@final
class Mean(Baseline):
    """Every row gets the mean of the training rows."""

    name = "mean"

    def __init__(self, targets: Targets):
        self._targets = targets
        self._mean_K = np.zeros(0)

    def fit(self, train: Table) -> None:
        self._mean_K = np.nanmean(self._targets(train), axis=0)

    def evidence(self, test: Table) -> Evidence:
        return {"prediction": np.tile(self._mean_K, (len(test), 1)), "target": self._targets(test)}


@final
class AsItIs(Baseline):
    """A column of numbers as it stands: last week's sales, somebody's estimate."""

    def __init__(self, targets: Targets, column: str):
        self.name, self._targets, self._column, self._mean = tr("{column} as it is", column=column), targets, column, 0.0

    def fit(self, train: Table) -> None:
        self._mean = float(np.nanmean(self._targets(train)))

    def evidence(self, test: Table) -> Evidence:
        values = numbers(test.column(self._column))
        return {"prediction": np.where(np.isfinite(values), values, self._mean)[:, None], "target": self._targets(test)}


def nearest(table: Table, target_N: np.ndarray, features: Sequence[str]) -> str:
    """The column of numbers that is nearest to the target as it stands; empty where the mean is nearer than each."""
    rows = sample_rows(len(table), NEAR_ROWS)
    part, target_N = table.take(rows), target_N[rows]
    found = [(float(np.nanvar(target_N)), "")]
    for name in (name for name in features if table.kinds.get(name) == "number"):
        gap = np.where(np.isfinite(gap := numbers(part.column(name)) - target_N), gap, np.nanmean(target_N) - target_N)
        found.append((float(np.nanmean(gap**2)), name))
    return min(found)[1]


class Classical(Baseline):
    """A model for each target, fitted to at most `most` rows of a matrix: `fit(features, values, ends)` gives it as scikit-learn has it."""

    def __init__(self, targets: Targets, matrix: LinearMatrix | TreeMatrix, name: str, most: int, fit: Fit):
        self.name, self._targets, self._matrix, self._most, self._fit = name, targets, matrix, most, fit
        self._models: list[Any] = []

    def fit(self, train: Table) -> None:
        train = train.take(sample_rows(len(train), self._most))
        self._matrix.fit(train)
        features, columns = self._matrix.transform(train), self._targets(train).T
        rows = [np.flatnonzero(np.isfinite(column)) for column in columns]
        self._models = [self._fit(at_rows(features, known), column[known], self.ends) for known, column in zip(rows, columns, strict=True)]

    def evidence(self, test: Table) -> Evidence:
        features = self._matrix.transform(test)
        found = [np.asarray(model.predict(features), np.float64) if len(test) else np.zeros(0) for model in self._models]
        return {"prediction": np.stack(found, axis=1), "target": self._targets(test)}


def _trees(features: np.ndarray, target: np.ndarray, categorical: np.ndarray, ends: float) -> Any:
    """Histogram gradient boosting on number, category and date columns, stopped early on a sixth of the rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    in_time(ends)
    stop = len(target) >= 60
    trees = HistGradientBoostingRegressor(
        learning_rate=0.08, max_iter=1000 if stop else 60, early_stopping=stop, validation_fraction=0.15, n_iter_no_change=20,
        max_leaf_nodes=31, l2_regularization=1.0, min_samples_leaf=min(20, max(2, len(target) // 20)),
        categorical_features=categorical if categorical.any() else None, random_state=0,
    )  # fmt: skip
    return grown(trees, features, target, 1, ends)


def _ridge(features: Any, target: np.ndarray, ends: float) -> Any:
    """Ridge regression; the strength by an inner fifth."""
    from scipy.sparse import issparse
    from sklearn.linear_model import Ridge as Model

    sparse = bool(issparse(features))
    scale = 0.1 if sparse else 1.0
    solver = "sparse_cg" if sparse else "auto"
    order = np.random.default_rng(0).permutation(len(target))
    held, within = order[: len(order) // 5], order[len(order) // 5 :]
    best = STRENGTHS[1]
    if len(held) >= 5:
        losses = []
        for strength in STRENGTHS:
            in_time(ends)
            model = Model(alpha=strength * scale, solver=solver, random_state=0).fit(features[within], target[within])
            losses.append(float(np.mean((model.predict(features[held]) - target[held]) ** 2)))
        best = STRENGTHS[int(np.argmin(losses))]
    return Model(alpha=best * scale, solver=solver, random_state=0).fit(features, target)


def classical(targets: Targets, features: Sequence[str], kinds: Mapping[str, str], config: EncodeConfig) -> tuple[Baseline, ...]:
    """Ridge regression on TF-IDF, pixels, log-mel statistics, series statistics and table columns; with trees before it where all columns
    are flat."""
    linear = Classical(targets, LinearMatrix(features, kinds, config), "ridge regression", LINEAR_ROWS, _ridge)
    if not is_flat(features, kinds):
        return (linear,)
    flat = TreeMatrix(features, kinds, config)
    return Classical(targets, flat, "gradient-boosted trees", TREE_ROWS, lambda x, y, ends: _trees(x, y, flat.categorical, ends)), linear
