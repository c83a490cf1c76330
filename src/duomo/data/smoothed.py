"""What simple forecasts say of dated numbers, by values that were known so many steps before, and how near each of them came until then.

The last value, that of a season before, and levels, trends and seasons that are smoothed exponentially (Holt 1957; Winters 1960; damped:
Gardner and McKenzie 1985; half a drift: Assimakopoulos and Nikolopoulos 2000, "The theta model"), of the values or of their logarithms.
All are linear filters of what was known, so that a new value needs no search, and those that came near lately count most.
Legend: G series, T steps of time.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.polynomial import Polynomial

LONGEST, MOST = 10_000, 2_000_000
"""Steps of a series, and of all together, from which on nothing is smoothed: there is much to learn from then."""
SEASON = 60
"""Seasons are smoothed up to so many steps; of longer ones two are too few to tell each step."""
PLAIN = ((1.0, 0, 0), (0.6, 0, 0), (0.3, 0, 0), (0.1, 0, 0), (0.03, 0, 0), (0.9, 0.3, 0.9), (0.9, 0.1, 0.95), (0.5, 0.2, 0.9),
         (0.5, 0.1, 0.98), (0.2, 0.1, 0.98), (0.9, 0.1, 1.0), (0.5, 0.1, 1.0))  # fmt: skip
"""How firmly a level follows each value, how firmly its trend does, and what is left of the trend after a step."""
SEASONAL = ((0.03, 0, 0), (0.1, 0, 0), (0.3, 0, 0), (0.6, 0, 0), (0.9, 0, 0), (0.6, 0.1, 0.95), (0.3, 0.1, 0.98),
            (0.1, 0.03, 1.0), (0.5, 0.1, 1.0))  # fmt: skip
FOLLOWS = (0.1, 0.4)
"""The same where there is a season, and how firmly that follows what is left."""
DRIFTS = (1.0, 0.5, 0.2)
"""Levels to which half of the trend of all values so far is added."""
FIRM, SHARP, MEMORY, CAPPED = 3.0, 8.0, 60, 6.0
"""Errors as large as those of the last value that stand for those not seen yet; how much more the nearer ones count; steps for which an
error is remembered, or cycles of a season (a fifth of them); so many times the usual ones a single error counts at most."""


def foretold(value_TG: np.ndarray, known_TG: np.ndarray, ahead: int, cycles: Sequence[int]) -> np.ndarray:
    """(T, G) what was foretold of each step, nan before the first values. `value_TG`: gaps are filled, nan before the first value;
    `known_TG`: which values are no fillings."""
    season = max((cycle for cycle in cycles if cycle <= SEASON), default=1)
    last_TG = _shifted(value_TG, ahead)
    known_TG = known_TG & np.isfinite(last_TG)
    usual_TG = np.where(known_TG, (value_TG - last_TG) ** 2, 0.0)
    forgets = 1 - 1 / max(MEMORY, 5 * season)
    mean_TG = _summed(usual_TG, forgets) / np.maximum(_summed(known_TG * 1.0, forgets), 1e-9)
    tiny_TG = 1e-18 * np.nan_to_num(value_TG) ** 2 + 1e-200
    usual_TG = np.maximum(np.maximum(mean_TG, usual_TG / CAPPED), tiny_TG)
    low_TG, high_TG = _bounds(value_TG)
    total_TG, weight_TG = np.zeros(value_TG.shape), np.zeros(value_TG.shape)
    for said_TG in _each(value_TG, ahead, [1, *(cycle for cycle in cycles if cycle <= SEASON)]):
        said_TG = _shifted(np.clip(said_TG, low_TG, high_TG), ahead)
        both_TG = known_TG & np.isfinite(said_TG)
        missed_TG, other_TG = (
            _summed(np.where(both_TG, (one_TG - value_TG) ** 2 / usual_TG, 0.0), forgets) for one_TG in (said_TG, last_TG)
        )
        counts_TG = np.where(np.isfinite(said_TG), _shifted((other_TG + FIRM) / (missed_TG + FIRM), ahead, 1.0) ** SHARP, 0.0)
        total_TG += counts_TG * np.nan_to_num(said_TG)
        weight_TG += counts_TG
    return np.divide(total_TG, weight_TG, out=np.full(value_TG.shape, np.nan), where=weight_TG > 0)


def _shifted(some_TG: np.ndarray, steps: int, before: float = np.nan) -> np.ndarray:
    """What was so many steps earlier."""
    return np.concatenate([np.full((min(steps, len(some_TG)), some_TG.shape[1]), before), some_TG[: max(0, len(some_TG) - steps)]])


def _summed(some_TG: np.ndarray, forgets: float) -> np.ndarray:
    from scipy.signal import lfilter

    found: np.ndarray = lfilter([1.0], [1.0, -forgets], some_TG, axis=0)
    return found


def _bounds(value_TG: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As far beyond what was there so far as that reached; not below 0 where nothing was."""
    least_TG = np.minimum.accumulate(np.where(np.isfinite(value_TG), value_TG, np.inf))
    most_TG = np.maximum.accumulate(np.where(np.isfinite(value_TG), value_TG, -np.inf))
    with np.errstate(invalid="ignore"):
        low_TG, high_TG = 2 * least_TG - most_TG, 2 * most_TG - least_TG
    return np.where(least_TG >= 0, np.maximum(low_TG, 0.0), low_TG), high_TG


def _each(value_TG: np.ndarray, ahead: int, cycles: Sequence[int]) -> Iterator[np.ndarray]:
    """(T, G) what each forecast says at each step of the value so many steps ahead."""
    positive_TG = np.minimum.accumulate(np.where(np.isfinite(value_TG), value_TG, np.inf)) > 0
    for cycle in cycles:
        if cycle > 1:
            yield _shifted(value_TG, -(-ahead // cycle) * cycle - ahead)
        for told_TG, back in ((value_TG, None), (np.log(np.where(positive_TG, value_TG, 1.0)), np.exp)):
            for said_TG in _smoothed(told_TG, ahead, cycle):
                yield said_TG if back is None else np.where(positive_TG, back(np.clip(said_TG, -700, 700)), np.nan)


def _smoothed(value_TG: np.ndarray, ahead: int, cycle: int) -> Iterator[np.ndarray]:
    from scipy.signal import lfilter

    begun_TG, usual_TG, apart_TG = _begun(value_TG, ahead, cycle)
    grid = [(*one, follows) for one in SEASONAL for follows in FOLLOWS] if cycle > 1 else [(*one, 0.0) for one in PLAIN]
    for level, trend, damped, follows in grid:
        said_TG = usual_TG + lfilter(*_filter(ahead, cycle, level, level * trend, damped, follows * (1 - level)), apart_TG, axis=0)
        yield np.where(begun_TG, said_TG, np.nan)
    drift_TG = _drift(value_TG) / 2
    for level in DRIFTS:
        said_TG = usual_TG + lfilter(*_filter(ahead, cycle, level, 0.0, 0.0, FOLLOWS[0] * (1 - level)), apart_TG, axis=0)
        yield np.where(begun_TG, said_TG + drift_TG * (ahead - 1 + 1 / level), np.nan)


def _begun(value_TG: np.ndarray, ahead: int, cycle: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a series has two cycles behind it (or a value), their level and season so many steps ahead, and what values differ by."""
    steps, series = value_TG.shape
    first_G = np.isfinite(value_TG).argmax(axis=0)
    age_TG = np.arange(steps)[:, None] - first_G
    if cycle == 1:
        usual_TG = np.broadcast_to(value_TG[first_G, np.arange(series)], value_TG.shape)
        return age_TG >= 0, usual_TG, np.where(age_TG >= 0, value_TG - usual_TG, 0.0)
    rows = np.minimum(first_G + np.arange(2 * cycle)[:, None], steps - 1)
    first_2CG = np.take_along_axis(value_TG, rows, axis=0).reshape(2, cycle, series)
    mean_2G = first_2CG.mean(axis=1)
    slope_G, middle_C = (mean_2G[1] - mean_2G[0]) / cycle, np.arange(cycle) - (cycle - 1) / 2
    season_CG = (first_2CG - mean_2G[:, None] - slope_G * middle_C[:, None]).mean(axis=0)
    level_G = mean_2G[1] + slope_G * middle_C[-1]
    usual_TG, later_TG = (level_G + np.take_along_axis(season_CG, (age_TG + step) % cycle, axis=0) for step in (0, ahead))
    return age_TG >= 2 * cycle - 1, later_TG, np.where(age_TG >= 2 * cycle, value_TG - usual_TG, 0.0)


def _drift(value_TG: np.ndarray) -> np.ndarray:
    """The slope of a straight line through all values so far; 0 through the first few."""
    there_TG = np.isfinite(value_TG)
    count_TG = there_TG.cumsum(axis=0)
    place_TG = np.maximum(count_TG - 1, 0)
    sum_TG, both_TG = (np.where(there_TG, one_TG * np.nan_to_num(value_TG), 0.0).cumsum(axis=0) for one_TG in (1.0, place_TG))
    spread_TG = np.maximum(count_TG * (count_TG**2.0 - 1), 1.0)
    return np.where(count_TG >= 8, 12 * (both_TG - place_TG / 2 * sum_TG) / spread_TG, 0.0)


@cache
def _filter(ahead: int, cycle: int, level: float, trend: float, damped: float, follows: float) -> tuple[np.ndarray, np.ndarray]:
    """By which a level, a trend and a season, each corrected by a part of every error, tell what lies so many steps ahead."""
    lag, turn = Polynomial.basis(1), Polynomial.basis(cycle)
    once, fades, turns = 1 - lag, 1 - damped * lag, 1 - turn if cycle > 1 else Polynomial([1.0])
    levels, trends, seasons = (level * fades + damped * trend * lag) * turns, trend * once * turns, follows * fades * once
    grown = sum(damped**step for step in range(1, ahead + 1))
    said = levels + grown * trends + seasons * Polynomial.basis(-(-ahead // cycle) * cycle - ahead)
    heard = fades * once * turns + lag * levels + damped * lag * trends + turn * seasons
    return said.coef, heard.coef
