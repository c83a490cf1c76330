"""Numbers told by how large they were lately: the target, and columns like it, as multiples of a column, or as differences from it.

What is learned of a small shop then holds for a large one, and trees follow a trend beyond all that they have seen.
Legend: N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.recipe import EncodeConfig
from duomo.core.table import FLAT, Table
from duomo.data.classical import TreeMatrix
from duomo.data.supervised import numbers

LEAST = 0.01
"""So many of the target's values above zero are smaller than the smallest measure."""
CUTS, MOST_ROWS, ROUNDS, CLEARLY = (0.6, 0.8), 10_000, 100, 1.2
"""Where rows are cut to try whether multiples are easier to tell, each time up to the next cut; rows looked at; rounds of trees;
how many times the squared error of numbers as they stand shows that multiples are harder."""


class Level:
    """How large the target is about to be, by a column; `alike` are columns of the same measure."""

    def __init__(self, column: str, alike: Sequence[str]):
        self.column, self.alike = column, [name for name in alike if name != column]
        self.usual, self.least = 0.0, 0.0
        """What stands for a missing level; the smallest measure; 0 where differences are told, as values below zero have no
        multiples."""

    def fit(self, table: Table, target_N: np.ndarray) -> None:
        self.usual = float(np.nanmean(found)) if np.isfinite(found := numbers(table.column(self.column))).any() else 0.0
        above = target_N[target_N > 0]
        self.least = float(np.quantile(above, LEAST)) if len(above) and np.nanmin(target_N) >= 0 else 0.0

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

    def helps(self, table: Table, target_N: np.ndarray, features: Sequence[str], config: EncodeConfig) -> bool:
        """Whether simple models tell later rows, as `table` has them behind the earlier ones, by what is told so not clearly worse
        than as it stands."""
        rows = np.flatnonzero(np.isfinite(target_N))[-MOST_ROWS:]
        table, target_N = table.take(rows), target_N[rows]
        names = [name for name in features if table.kinds.get(name) in FLAT]
        level_N, measure_N = self.of(table)
        plain = _misses(_matrix(table, names, config), target_N, np.zeros(len(rows)), np.ones(len(rows)))
        return _misses(_matrix(self.laid(table), names, config), target_N, level_N, measure_N) < CLEARLY * plain


def _matrix(table: Table, names: Sequence[str], config: EncodeConfig) -> np.ndarray:
    made = TreeMatrix(names, table.kinds, config)
    made.fit(table)
    return made.transform(table)


def _misses(features_NF: np.ndarray, target_N: np.ndarray, level_N: np.ndarray, measure_N: np.ndarray) -> float:
    """Squared error on what lies behind each cut, of trees or of a line, whichever is less."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV

    told_N, filled_NF = (target_N - level_N) / measure_N, np.nan_to_num(features_NF, nan=0.0)
    filled_NF = (filled_NF - filled_NF.mean(axis=0)) / np.maximum(filled_NF.std(axis=0), 1e-9)
    missed = np.zeros(2)
    for cut, end in zip(CUTS, (*CUTS[1:], 1.0), strict=True):
        first, last = round(cut * len(told_N)), round(end * len(told_N))
        trees = HistGradientBoostingRegressor(max_iter=ROUNDS, min_samples_leaf=min(20, max(2, first // 20)), random_state=0)
        for place, (model, told_NF) in enumerate(((trees, features_NF), (RidgeCV(np.logspace(-2, 4, 7)), filled_NF))):
            found = model.fit(told_NF[:first], told_N[:first]).predict(told_NF[first:last]) * measure_N[first:last] + level_N[first:last]
            missed[place] += float(((found - target_N[first:last]) ** 2).sum())
    return float(missed.min())
