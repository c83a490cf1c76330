"""What the model must beat: the task's baselines, fitted on the training rows and timed, within a stated time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from duomo.core.contract import Baseline, Evidence, Task
from duomo.core.errors import DuomoError
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data import spill

FIT_FAULTS = (DuomoError, ValueError, ArithmeticError, MemoryError)
ASK_FAULTS = (DuomoError, ValueError, ArithmeticError)

PROBED, PART = 1000, 8
"""Rows, and the part of all, the fewer of both, that are tried first to predict the time of all."""
JUDGED = 20_000
"""Test rows that a baseline answers at a time."""
WORTHWHILE = 2_000
"""A baseline that would have to do with fewer rows is left out."""
OVER = 2.0
"""So many times what is allowed a fit may take that was foretold to take less."""


@dataclass(frozen=True)
class Rival:
    """One baseline after fitting; `evidence` is None where it was left out, and the note says why."""

    name: str
    kind: str
    """trivial (the first) or classical."""
    evidence: Evidence | None
    fit_seconds: float
    judge_seconds: float
    fitted_rows: int
    note: str


def run_rivals(task: Task, train: Table, test: Table, seconds: float, seed: int = 0) -> list[Rival]:
    """Fit every baseline of the task on `train` and judge it on `test`; each may take about `seconds` to fit."""
    count = len(task.baselines())
    found = [_run(lambda place=place: task.baselines()[place], place, (train, test), (seconds, seed)) for place in range(count)]  # type: ignore[misc]
    spill.trim()  # what they were fitted to
    return found


def _run(make: Callable[[], Baseline], place: int, tables: tuple[Table, Table], limits: tuple[float, int]) -> Rival:
    (train, test), (seconds, seed) = tables, limits
    spill.trim()
    kind, baseline = "trivial" if place == 0 else "classical", make()
    try:
        rows, note = (len(train), "") if place == 0 else _affordable(make, train, seconds, seed)
        if not rows:
            return Rival(baseline.name, kind, None, 0.0, 0.0, 0, note)
        started = time.perf_counter()
        baseline.ends = started + OVER * seconds
        baseline.fit(train if rows == len(train) else train.take(_some(len(train), rows, seed)))
        fitted = time.perf_counter()
        evidence = _judged(baseline, test)
    except TimeoutError:
        return Rival(baseline.name, kind, None, 0.0, 0.0, 0, _late(seconds))
    except FIT_FAULTS as error:
        return Rival(baseline.name, kind, None, 0.0, 0.0, 0, tr("could not be fitted: {error}", error=error))
    return Rival(baseline.name, kind, evidence, fitted - started, time.perf_counter() - fitted, rows, note)


def _late(seconds: float) -> str:
    return tr("left out: fitting takes longer than the {limit:.0f} s allowed", limit=seconds)


def _judged(baseline: Baseline, test: Table) -> Evidence:
    """In pieces where the test is large: the matrix of all its rows at once would not fit."""
    if len(test) <= JUDGED:
        return baseline.evidence(test)
    parts = [baseline.evidence(piece) for piece in test.slices(JUDGED)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _some(rows: int, wanted: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(rows, wanted, replace=False))


def _affordable(make: Callable[[], Baseline], train: Table, seconds: float, seed: int) -> tuple[int, str]:
    """How many rows can be fitted in time, and what to say if not all; 0: none.

    The first of three trials absorbs imports; the growth from the second to the third, of twice the rows, predicts the rest, unless the
    time of one, so many times over, is short enough already. What cannot be fitted to few rows is fitted to all.
    """
    few, trials = min(PROBED, max(1, len(train) // PART)), list[float]()
    for rows in (few, few, 2 * few):
        started, trial = time.perf_counter(), make()
        trial.ends = started + seconds
        try:
            trial.fit(train.take(_some(len(train), min(rows, len(train)), seed)))
        except TimeoutError:
            return 0, _late(seconds)
        except ASK_FAULTS:
            return len(train), ""
        trials.append(time.perf_counter() - started)
        if trials[-1] * len(train) <= seconds * rows:
            return len(train), ""
        if trials[-1] > seconds:
            return 0, tr(
                "left out: fitting {rows:,} rows alone took {taken:.0f} s, more than the {limit:.0f} s allowed",
                rows=rows, taken=trials[-1], limit=seconds,
            )  # fmt: skip
    growth = max(trials[2] - trials[1], 0.1 * trials[2]) / few
    predicted = trials[2] + growth * (len(train) - 2 * few)
    if predicted <= seconds:
        return len(train), ""
    rows = int(2 * few + max(0.0, seconds - trials[2]) / growth)
    values = {"predicted": predicted, "limit": seconds, "rows": rows, "all": len(train)}
    if rows < WORTHWHILE:
        return 0, tr("left out: fitting would take about {predicted:.0f} s, more than the {limit:.0f} s allowed", **values)
    return rows, tr("fitted on {rows} of {all} rows: all would take about {predicted:.0f} s, more than the {limit:.0f} s allowed", **values)
