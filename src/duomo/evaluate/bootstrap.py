"""Intervals by resampling rows (Efron, 1979): the same resamples for every competitor, so that differences are paired.

Legend: N rows, R resamples, m rows of one resample (m < N only where a full resample would take too long).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from duomo.core.contract import CLUSTER, Evidence
from duomo.core.kinds.cells import codes_of, text_of
from duomo.core.table import Table

Measure = Callable[[Evidence], dict[str, float]]
DRAWS = 500
FEWEST_DRAWS = 120
LEVEL = 0.95
ROUNDING = 1e-12
"""A bound of a difference below this share of the figures is zero: 0.957 - 0.957 may come out as -6e-17."""
ENOUGH, FEWEST_UNITS = 0.75, 5
"""An interval is told where so many of the resamples give a figure, of at least so many rows (or clusters)."""


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; NaN where it cannot be told."""

    value: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Resampled:
    """What resampling one competitor left: figures on all rows, and (R,) figures per metric on the resamples."""

    figures: Mapping[str, float]
    draws: Mapping[str, np.ndarray]
    rows: int
    rows_per_draw: int


def row_count(evidence: Evidence) -> int:
    """N, the length that all arrays of the evidence share."""
    return min((len(values) for values in evidence.values()), default=0)


def witnessed(evidence: Evidence, table: Table, group: str) -> Evidence:
    """The evidence with the rows of one group as one witness, where the table has that column and several rows of some: slices of a patient
    are alike, and none of them says anything new of other patients."""
    if group not in table.names or row_count(evidence) != len(table) or CLUSTER in evidence:
        return evidence
    codes = codes_of(text_of(table.column(group)))
    codes = np.where(codes < 0, codes.max(initial=0) + 1 + np.arange(len(codes)), codes)  # whoever is not named stands alone
    return {**evidence, CLUSTER: codes} if len(np.unique(codes)) < len(codes) else evidence


def take(evidence: Evidence, rows: np.ndarray) -> Evidence:
    return {name: values[rows] for name, values in evidence.items()}


def resample(measure: Measure, competitors: Mapping[str, Evidence], seed: int = 0, seconds: float = 1.5) -> dict[str, Resampled]:
    """Judge every competitor on the same resamples, within about `seconds` for all of them together.

    Competitors of the same N meet the same rows in resample r; those of another N are drawn on their own.
    Where N is large, first R shrinks to 120, then m below N (Politis and Romano, 1994: deviations scale with sqrt(m / N)).
    """
    figures, cost = {}, 0.0
    for name, evidence in competitors.items():
        started = time.perf_counter()
        figures[name] = measure(evidence)
        take(evidence, np.arange(row_count(evidence)))
        cost += time.perf_counter() - started
    draws = int(np.clip(seconds / max(cost, 1e-6), FEWEST_DRAWS, DRAWS))
    share = min(1.0, seconds / max(cost * draws, 1e-6))
    return {name: _draw(measure, evidence, figures[name], (seed, draws, share)) for name, evidence in competitors.items()}


def _draw(measure: Measure, evidence: Evidence, figures: Mapping[str, float], plan: tuple[int, int, float]) -> Resampled:
    seed, draws, share = plan
    rows = row_count(evidence)
    if CLUSTER in evidence:
        return _draw_clusters(measure, evidence, figures, plan)
    rows_per_draw = rows if share >= 1 else min(rows, max(1000, int(rows * share)))
    random = np.random.default_rng([seed, rows])
    found: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(draws if rows else 0):
        measured = measure(take(evidence, random.integers(0, rows, rows_per_draw)))
        for name, values in found.items():
            values.append(float(measured.get(name, np.nan)))
    return Resampled(figures, {name: np.asarray(values, np.float64) for name, values in found.items()}, rows, rows_per_draw)


def _draw_clusters(measure: Measure, evidence: Evidence, figures: Mapping[str, float], plan: tuple[int, int, float]) -> Resampled:
    """Whole clusters (all pictures of a person) are drawn: `rows` then counts clusters. Draws are fewer where measuring takes long."""
    seed, draws, share = plan
    _, place_N = np.unique(evidence[CLUSTER], return_inverse=True)
    members = [np.flatnonzero(place_N == place) for place in range(int(place_N.max(initial=-1)) + 1)]
    random = np.random.default_rng([seed, len(members)])
    found: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(max(FEWEST_DRAWS, int(draws * share)) if members else 0):
        drawn = random.integers(0, len(members), len(members))
        measured = measure(take(evidence, np.concatenate([members[place] for place in drawn])))
        for name, values in found.items():
            values.append(float(measured.get(name, np.nan)))
    return Resampled(figures, {name: np.asarray(values, np.float64) for name, values in found.items()}, len(members), len(members))


def interval(found: Resampled, metric: str) -> Interval:
    """The 95 % interval of one metric.

    A figure of exactly 0 or 1 that no resample moves (no error at all among N rows) would get an interval of no width;
    there the exact binomial bound stands instead: 0.025 ** (1 / N) (Clopper and Pearson, 1934).
    """
    value = _figure(found, metric)
    low, high = _percentiles(value, _draws(found, metric), found)
    if value in (0.0, 1.0) and low == high == value and found.rows:
        bound = ((1 - LEVEL) / 2) ** (1 / found.rows)
        return Interval(value, bound, 1.0) if value == 1.0 else Interval(value, 0.0, 1 - bound)
    return Interval(value, low, high)


def difference(model: Resampled, other: Resampled, metric: str) -> Interval:
    """model - other with its interval: resample by resample where the rows are the same, else from independent draws.

    Where neither figure moves, being both at 0 or 1, the difference is bounded by the two exact bounds. Of the same answers it is 0.
    """
    value = _figure(model, metric) - _figure(other, metric)
    low, high = _percentiles(value, _draws(model, metric) - _draws(other, metric), model)
    if low == high == value and all(_figure(one, metric) in (0.0, 1.0) for one in (model, other)):
        mine, theirs = interval(model, metric), interval(other, metric)
        return Interval(value, mine.low - theirs.high, mine.high - theirs.low)
    nothing = ROUNDING * max(abs(_figure(model, metric)), abs(_figure(other, metric)))
    return Interval(*(0.0 if abs(told) <= nothing else told for told in (value, low, high)))


def _figure(found: Resampled, metric: str) -> float:
    """NaN where the metric says nothing about these rows (AUC of one class)."""
    return float(found.figures.get(metric, np.nan))


def _draws(found: Resampled, metric: str) -> np.ndarray:
    return found.draws.get(metric, np.full(1, np.nan))


def paired(model: Resampled, other: Resampled) -> bool:
    return model.rows == other.rows


def _percentiles(value: float, draws: np.ndarray, found: Resampled) -> tuple[float, float]:
    """Percentiles of the resamples moved so that their median meets the figure, and scaled from m rows to N.

    Resampling pushes some figures to one side (a calibration error grows with every repeated row); moved back, the
    interval holds the figure. It never leaves [0, 1], or the numbers from 0 up, where no resample does.
    """
    known = draws[np.isfinite(draws)]
    if not len(known) or len(known) < ENOUGH * len(draws) or found.rows < FEWEST_UNITS or not np.isfinite(value):
        return float("nan"), float("nan")
    draws = known
    scale = np.sqrt(found.rows_per_draw / found.rows)
    low, high = value + scale * (np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - np.median(draws))
    if draws.min() >= 0 <= value:
        low, high = max(low, 0.0), min(high, 1.0) if draws.max() <= 1 and value <= 1 else high
    return float(low), float(high)
