"""Before the long part: what it will take, from what was just measured."""

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from duomo.core.contract import Task
from duomo.core.messages import tr
from duomo.core.recipe import TrainConfig
from duomo.core.reporter import Reporter
from duomo.core.table import Table
from duomo.train.checkpoint import KEEP
from duomo.train.optim import COPIES
from duomo.train.reproducibility import peak_memory
from duomo.train.schedule import FEWEST, MOST, planned_steps, timed

JUDGING, EVALUATION, TRYING, FEWEST_ROWS, CHOSEN_BY = 0.5, 0.1, 0.05, 8, 32
"""Of limited time, the part that judging may take again, on validation and on the test, the part of one evaluation while it learns, and the
part of judging that a trial may take before more rows are tried; rows that are judged, and evaluated,
in any case; rows of validation by which something is chosen: fewer would tell nothing."""
MOST_TRIED = 64
"""Rows by which it is told at most how long all take."""
BESIDE, AT_LEAST, AT_MOST = 0.15, 5.0, 60.0
"""Of limited time, the part that fitting one simple model to compare with may take, from so many seconds to so many."""
EVALUATE_SHARE = 0.4
"""A forward pass without gradients takes about this share of a training step."""


@dataclass(frozen=True)
class Preflight:
    """Predictions of the training alone: seconds, peak memory of the process in bytes, bytes of checkpoints on the disk."""

    seconds: float
    memory_bytes: int
    disk_bytes: int

    def say(self, reporter: Reporter, folder: Path) -> None:
        reporter.say(
            tr(
                "Preflight: training will take about {time}, {memory} of memory and {disk} on the disk.",
                time=duration(self.seconds), memory=amount(self.memory_bytes), disk=amount(self.disk_bytes),
            )
        )  # fmt: skip

        free = shutil.disk_usage(folder).free
        if free < self.disk_bytes:
            reporter.say(tr("Warning: the disk of {path} has {free} left: training would stop when that is full. Free some space, or "
                            "choose another folder with --out.", path=folder, free=amount(free)))  # fmt: skip

    def against(self, seconds: float, memory_bytes: int, disk_bytes: int) -> dict[str, Any]:
        """How wrong it was: predicted, actual and their ratio, for the scorecard."""
        actual: Mapping[str, float] = {"seconds": seconds, "memory_bytes": memory_bytes, "disk_bytes": disk_bytes}
        said = asdict(self)
        return {
            name: {"predicted": said[name], "actual": value, "ratio": value / said[name] if said[name] else None}
            for name, value in actual.items()
        }


def enough(config: TrainConfig, rows: int, step_seconds: float) -> int:
    """Of so many validation rows those that one evaluation has time for, where time is limited."""
    if not timed(config) or not step_seconds:
        return rows
    return min(rows, max(FEWEST_ROWS, int(EVALUATION * 60 * config.minutes * config.batch_size / (EVALUATE_SHARE * step_seconds))))


def some(rows: int, wanted: int, seed: int) -> np.ndarray:
    """So many of them, always the same ones, in order."""
    return np.arange(rows) if wanted >= rows else np.sort(np.random.default_rng(seed).choice(rows, wanted, replace=False))


def drawn(table: Table, rows: int, seed: int) -> Table:
    """So many of its rows, always the same ones."""
    return table if rows >= len(table) else table.take(some(len(table), rows, seed))


def judgeable(
    task: Task, table: Table, judge: Callable[[Table], object], config: TrainConfig, fewest: int = FEWEST_ROWS
) -> tuple[Table, tuple[str, ...]]:
    """The table; where time is limited and what is judged must be written first, as many of its rows, drawn by chance, as can be judged
    then, and that in words. They are a power of two, so that another run of about this speed is judged on the same ones."""
    if len(table) <= fewest or not config.minutes or not (task.writes or task.judged_bytes):
        return table, ()
    limit, tried, took = JUDGING * 60 * config.minutes, 0, 0.0
    while took <= TRYING * limit and 16 * tried <= len(table) and 4 * tried <= MOST_TRIED:
        tried, started = max(1, 4 * tried), time.monotonic()
        judge(drawn(table, tried, config.seed))
        took = time.monotonic() - started
    most = tried * limit / max(1e-9, took)
    if most >= len(table):
        return table, ()
    rows = max(fewest, 2 ** int(math.log2(max(1, most))))
    told = tr("Of {all:,} rows {rows:,} are judged, drawn by chance: all would take longer than --minutes allows. `duomo evaluate` judges "
              "all rows of a file.", all=len(table), rows=rows)  # fmt: skip
    return drawn(table, rows, config.seed), (told,)


def beside(config: TrainConfig) -> float:
    """Seconds in which a simple model is fitted that the trained one is compared with."""
    return min(AT_MOST, max(AT_LEAST, BESIDE * 60 * config.minutes)) if config.minutes else AT_MOST


def predict(
    model: nn.Module, config: TrainConfig, steps_per_epoch: int, valid_rows: int, step_seconds: float, device: str = "cpu"
) -> Preflight:
    """From the measured `step_seconds` of the chosen execution; call it after probing, which already ran whole steps of a copy."""
    steps = planned_steps(config, steps_per_epoch)
    evaluations = steps / config.evaluate_steps if config.evaluate_steps > 0 else min(MOST, max(FEWEST, steps / max(1, steps_per_epoch)))
    evaluate = EVALUATE_SHARE * step_seconds * valid_rows / max(1, config.batch_size)
    seconds = config.minutes * 60 if timed(config) else steps * step_seconds + evaluations * evaluate
    fixed = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    sizes = {name: value.numel() * value.element_size() for name, value in model.state_dict().items()}
    base = sum(size for name, size in sizes.items() if name in fixed)
    weights = sum(sizes.values()) - base
    copies = COPIES.get(config.optimizer, 2.0)
    averages = 1 if config.ema > 0 else 0
    one = weights * (1 + copies + averages + (1 if valid_rows else 0))
    kept = weights * (averages * 2 + (1 if valid_rows else 0))
    return Preflight(seconds, int(peak_memory(device) + kept), int(KEEP * one + base))


def duration(seconds: float) -> str:
    """90 s as 1.5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def amount(count: float) -> str:
    """Bytes in the unit that suits."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
