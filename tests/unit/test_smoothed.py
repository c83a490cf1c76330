"""Simple forecasts beside each row: what they know, and what they foretell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from duomo.core import kinds
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import ahead, smoothed
from duomo.data.formats import frames

STEPS, NOISE = np.arange(160), np.random.default_rng(0).normal(size=160)


def foretold(values: np.ndarray, steps: int, *cycles: int) -> np.ndarray:
    return smoothed.foretold(values[:, None], np.isfinite(values)[:, None], steps, cycles)[:, 0]


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_what_comes_later_changes_nothing(steps: int) -> None:
    values = 50 + STEPS + 10 * np.sin(STEPS * np.pi / 6) + NOISE
    other = values.copy()
    other[100:] = -1000 * NOISE[100:]
    both = [foretold(one, steps, 12) for one in (values, other)]
    assert np.array_equal(both[0][: 100 + steps], both[1][: 100 + steps], equal_nan=True) and np.isfinite(both[0][steps:]).all()
    assert not np.allclose(both[0][100 + steps :], both[1][100 + steps :])


def test_series_do_not_hear_of_one_another() -> None:
    values = np.stack([100 + NOISE.cumsum(), np.where(STEPS < 90, np.nan, 3 + NOISE)], axis=1)  # the other begins later
    both = smoothed.foretold(values, np.isfinite(values), 2, (7,))
    assert np.allclose(both[:, 0], foretold(values[:, 0], 2, 7), equal_nan=True)
    assert np.isnan(both[:92, 1]).all() and np.allclose(both[90:, 1], foretold(values[90:, 1], 2, 7), equal_nan=True)


@pytest.mark.parametrize(("values", "cycle", "missed"), [
    (20 * 1.02**STEPS * (1 + 0.4 * np.sin(STEPS * np.pi / 2) + 0.05 * NOISE), 4, 0.6),  # a season that grows with the level
    (100 + 10 * (STEPS % 7 < 5) + NOISE, 7, 0.3), (5 + 0.5 * STEPS + NOISE, 0, 0.7), (50 + 5 * NOISE, 0, 0.9),
    (100 + NOISE.cumsum(), 0, 1.1), (100 + NOISE.cumsum(), 12, 1.1), (np.full(160, 7.0), 12, 1.0),
])  # fmt: skip
def test_near_to_what_follows(values: np.ndarray, cycle: int, missed: float) -> None:
    """Beside the last value; a walk is not to be beaten, and is not lost to."""
    said, cycles = foretold(values, 3, *([cycle] if cycle else [])), slice(100, None)
    last = np.abs(values[97:-3] - values[cycles]).mean()
    assert np.abs(said[cycles] - values[cycles]).mean() <= missed * last + 1e-9


def test_a_run_goes_on_as_it_learned(tmp_path: Path) -> None:
    """What a row is told is the same in training, by the run that kept what was known, and when later values are told."""
    days = pd.date_range("2024-01-01", periods=160)
    rows = pd.concat([pd.DataFrame({"date": days, "shop": shop, "sales": size + 10 * (days.dayofweek < 5) + NOISE.cumsum()})
                      for shop, size in (("a", 100.0), ("b", 900.0))]).drop(index=[20, 21])  # fmt: skip
    config = DataConfig(target=("sales",), task="regress", ahead=3)
    whole, known = (kinds.infer(Table(frames.from_memory(some)), {}) for some in (rows, rows[rows["date"] < days[150]]))
    found = ahead.settle(whole, config, Silent())[0].data.to_pandas()
    ahead.settle(known, config, Silent())[2].keep(tmp_path)  # type: ignore[union-attr]
    past = ahead.Past.open(tmp_path)
    assert past.smooth == (1, 7) and past.level == "sales[smoothed:-3]"
    late = rows[(rows["date"] >= days[150]) & (rows["shop"] == "b")].assign(date=lambda some: some["date"].astype(str))
    wanted = found[(found["date"] >= days[150]) & (found["shop"] == "b")]["sales[smoothed:-3]"].to_numpy()
    told = ahead.again(Table(frames.from_memory(late)), past).data.to_pandas()["sales[smoothed:-3]"].to_numpy()
    alone = ahead.again(Table(frames.from_memory(late.drop(columns="sales"))), past).data.to_pandas()["sales[smoothed:-3]"].to_numpy()
    assert told == pytest.approx(wanted, rel=1e-9) and alone[:3] == pytest.approx(wanted[:3], rel=1e-9)


def test_long_series_are_not_smoothed() -> None:
    rows = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=smoothed.LONGEST + 1, freq="h"), "load": 1.0})
    rows["load"] += rows.index % 24
    _, _, past = ahead.settle(
        kinds.infer(Table(frames.from_memory(rows)), {}), DataConfig(target=("load",), task="regress", ahead=24), Silent()
    )
    assert past is not None and not past.smooth and "load[smoothed:-24]" not in past.names


@pytest.mark.parametrize("steps", [1, 5])
def test_filters_are_the_textbooks_recursion(steps: int) -> None:
    """Level, trend and season, each corrected by a part of every error, step by step: Hyndman et al. 2008, table 2.2."""
    values = 50 + np.arange(3000) / 20 + 9 * np.sin(np.arange(3000) * np.pi / 6) + np.random.default_rng(1).normal(size=3000)
    begun, usual, apart = smoothed._begun(values[:, None], steps, 12)
    for alpha, beta, phi, gamma in ((0.5, 0.05, 1.0, 0.05), (0.3, 0.03, 0.98, 0.3)):
        level, trend, season, said = 0.0, 0.0, np.zeros(12), list[float]()
        for step, value in enumerate(apart[:, 0]):
            error = value - level - phi * trend - season[step % 12]
            level, trend = level + phi * trend + alpha * error, phi * trend + beta * error
            season[step % 12] += gamma * error
            said.append(level + trend * sum(phi**one for one in range(1, steps + 1)) + season[(step + steps) % 12])
        found = lfilter(*smoothed._filter(steps, 12, alpha, beta, phi, gamma), apart[:, 0])
        assert np.allclose(found, said, atol=1e-6) and begun[23:].all() and not begun[:23].any()
        assert np.abs((usual[:-steps, 0] + found[:-steps] - values[steps:])[1000:]).mean() < 1.5
