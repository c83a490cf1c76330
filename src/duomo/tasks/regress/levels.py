"""Numbers told by how large they were lately: the target, and columns like it, as multiples of a column, or as differences from it.

What is learned of a small shop then holds for a large one, and trees follow a trend beyond all that they have seen.
Legend: N rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from duomo.core.recipe import EncodeConfig
from duomo.core.table import FLAT, Table
from duomo.data.baselines.classical import TreeMatrix
from duomo.data.supervised import numbers

LEAST = 0.01
"""So many of the target's values above zero are smaller than the smallest measure."""
OFTEN, MOST_ROWS, ROUNDS = (0.5, 0.6, 0.7, 0.8, 0.9), 10_000, 100
"""Where rows are cut to see what simple models tell of later ones, each time up to the next cut; rows looked at; rounds of trees."""


class Level:
    """How large the target is about to be, by a column; `alike` are columns of the same measure."""

    def __init__(self, column: str, alike: Sequence[str]):
        self.column, self.alike = column, [name for name in alike if name != column]
        self.usual, self.least = 0.0, 0.0
        """What stands for a missing level; the smallest measure; 0 where differences are told, as values below zero have no
        multiples."""

    def fit(self, table: Table, target_N: np.ndarray | None = None) -> None:
        """Differences are told where no targets are given."""
        self.usual = float(np.nanmean(found)) if np.isfinite(found := numbers(table.column(self.column))).any() else 0.0
        above = np.zeros(0) if target_N is None or np.nanmin(target_N) < 0 else target_N[target_N > 0]
        self.least = float(np.quantile(above, LEAST)) if len(above) else 0.0

    def of(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """(N,) what is taken away, and what the rest is divided by."""
        found_N = numbers(table.column(self.column))
        level_N = np.where(np.isfinite(found_N), found_N, self.usual)
        return level_N, np.maximum(np.abs(level_N), self.least) if self.least else np.ones(len(level_N))

    def laid(self, table: Table) -> Table:
        """The table with the columns that are alike told so."""
        level_N, measure_N = self.of(table)
        data = table.data
        for name in (name for name in self.alike if name in table.names):
            told_N = (numbers(table.column(name)) - level_N) / measure_N
            cells = pa.chunked_array([pa.array(told_N, pa.float64(), mask=~np.isfinite(told_N))])
            data = data.set_column(data.column_names.index(name), name, cells)
        return replace(table, data=data)

    def state(self) -> dict[str, float]:
        return {"usual": self.usual, "least": self.least}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.usual, self.least = float(state["usual"]), float(state["least"])

    def choose(self, table: Table, target_N: np.ndarray, features: Sequence[str], config: EncodeConfig) -> None:
        """Multiples or differences: those by which simple models tell later rows better, as `table` has them behind the earlier ones. As
        they stand none are told: what follows no trend, by chance no worse so far, is then far off when the trend goes on."""
        table, target_N = _latest(table, target_N)

        def missed(least: float) -> float:
            self.least = least
            return _misses(_matrix(self.laid(table), features, config), target_N, *self.of(table))

        self.least = min({self.least, 0.0}, key=missed)

    def holds(self, table: Table, target_N: np.ndarray, features: Sequence[str], config: EncodeConfig) -> float:
        """Which part of the difference from the column is to be answered, from 0 (the column as it stands) to 1, by which part would have
        told later rows best (Bates and Granger 1969, "The Combination of Forecasts"); every cut counts the same, however wild."""
        table, target_N = _latest(table, target_N)
        apart_N, found = target_N - self.of(table)[0], list[np.ndarray]()
        for part, said in _later(_matrix(self.laid(table), features, config), apart_N):
            told_3N, whole = np.stack([*said, np.mean(said, axis=0)]), (apart_N[part] ** 2).mean()
            if whole:
                found.append(np.stack([((told_3N - apart_N[part]) ** 2), told_3N * apart_N[part], told_3N**2]).mean(axis=2) / whole)
        missed_3, both_3, size_3 = np.sum(found, axis=0) if found else np.zeros((3, 3))
        best = int(np.argmin(missed_3))
        return float(np.clip(both_3[best] / size_3[best], 0, 1)) if size_3[best] else 1.0


def _latest(table: Table, target_N: np.ndarray) -> tuple[Table, np.ndarray]:
    rows = np.flatnonzero(np.isfinite(target_N))[-MOST_ROWS:]
    return table.take(rows), target_N[rows]


def _matrix(table: Table, features: Sequence[str], config: EncodeConfig) -> np.ndarray:
    made = TreeMatrix([name for name in features if table.kinds.get(name) in FLAT], table.kinds, config)
    made.fit(table)
    return made.transform(table)


def _misses(features_NF: np.ndarray, target_N: np.ndarray, level_N: np.ndarray, measure_N: np.ndarray) -> float:
    """Squared error on what lies behind each cut, of trees or of a line, whichever is less."""
    missed = np.zeros(2)
    for part, said in _later(features_NF, (target_N - level_N) / measure_N):
        missed += [float(((one * measure_N[part] + level_N[part] - target_N[part]) ** 2).sum()) for one in said]
    return float(missed.min())


def _later(features_NF: np.ndarray, told_N: np.ndarray) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """What trees and a line that saw the rows before each cut say of those up to the next."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV

    filled_NF = np.nan_to_num(features_NF, nan=0.0)
    filled_NF = (filled_NF - filled_NF.mean(axis=0)) / np.maximum(filled_NF.std(axis=0), 1e-9)
    ends = [round(cut * len(told_N)) for cut in (*OFTEN, 1.0)]
    for first, last in ((first, last) for first, last in pairwise(ends) if last > first > 1):
        trees = HistGradientBoostingRegressor(max_iter=ROUNDS, min_samples_leaf=min(20, max(2, first // 20)), random_state=0)
        seen_F = ~np.isnan(features_NF[:first]).all(axis=0)  # scikit-learn cannot divide a column without a value
        models = ((trees, features_NF[:, seen_F]), (RidgeCV(np.logspace(-2, 4, 7)), filled_NF))
        with threadpool_limits(1):  # so little work is done before several threads have met
            yield slice(first, last), [model.fit(x_NF[:first], told_N[:first]).predict(x_NF[first:last]) for model, x_NF in models]
