"""What watches over a step: signals, numbers that are not finite, spikes of the loss, memory that runs out."""

import math
import signal
import statistics
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
import torch

from duomo.core.contract import Stream
from duomo.core.errors import MEMORY_FAULTS, DataError, Interrupted, ResourceError, lacks_memory
from duomo.core.recipe import TrainConfig
from duomo.core.tensors import Batch

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(BaseException):
    """Leaves a step or an evaluation at once; the state before it stays good. Never leaves the loop."""


class Signals:
    """Ctrl-C and SIGTERM raise a flag, so that what is being written is finished; a second Ctrl-C stops at once.

    While `at_once` is set (a model being compiled or first run, which may take minutes) the first signal already leaves it.
    """

    def __init__(self) -> None:
        self.received, self.at_once = 0, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            raise KeyboardInterrupt
        self.received = number
        if self.at_once:
            raise Stop

    def check(self) -> None:
        if self.received:
            raise Stop


def interrupted(folder: Path, step: int) -> Interrupted:
    return Interrupted(
        "Training was stopped after step {step} and everything is saved. Continue it with `duomo resume {folder}`.",
        step=step,
        folder=folder,
    )


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Around all that follows once a run can be resumed: Ctrl-C or SIGTERM outside of the loop says how to go on."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Stopped; everything that was learned is saved. Continue with `duomo resume {folder}`.", folder=folder) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


# -- numbers
def finite(batch: Batch) -> bool:
    """Whether no float tensor holds NaN or infinity; a sum carries either of them along, and one too large for float32 is formed again."""
    return all(
        math.isfinite(value.sum().item()) or math.isfinite(value.sum(dtype=torch.float64).item())
        for value in batch.values() if value.is_floating_point() and value.numel()
    )  # fmt: skip


def bad_rows(batch: Batch) -> tuple[str, list[int]]:
    """The first column with NaN or infinity, and its places in the batch."""
    for name, value in batch.items():
        if value.is_floating_point() and value.numel():
            bad_B = ~torch.isfinite(value).reshape(value.shape[0], -1).all(1)
            if bool(bad_B.any()):
                return name, bad_B.nonzero().flatten().tolist()
    return "", []


def refuse_data(batch: Batch, step: int, rows: np.ndarray) -> None:
    """DataError naming the step, the rows and the column of training; nothing where all values are finite."""
    column, places = bad_rows(batch)
    if not places:
        return
    raise DataError(
        "Values of training must be finite numbers; step {step} met NaN or infinity in column {column!r}, rows {rows}. "
        "Nothing was learned from it. Fix or remove these rows.",
        step=step, column=column, rows=_some([int(rows[place]) for place in places]),
    )  # fmt: skip


def refuse_validation(batch: Batch, number: int) -> None:
    """The same of validation batch `number`, counted from 1."""
    column, places = bad_rows(batch)
    if not places:
        return
    raise DataError(
        "Values of validation must be finite numbers; batch {batch} met NaN or infinity in column {column!r}, rows {rows} of the batch. "
        "Fix or remove these rows.",
        batch=number, column=column, rows=_some(places),
    )  # fmt: skip


def not_finite(what: str, step: int, stream: Stream, config: TrainConfig) -> DataError:
    """The error for a loss or a gradient that is not finite although the data are."""
    return DataError(
        "Loss and gradient must be finite; at step {step} the {what} was not, on rows {rows}, whose values are all finite. "
        "The weights were left as they were. Lower the learning rate: train.learning_rate={lower:g} (it was {value:g}).",
        step=step, what=what, rows=_some([int(row) for row in stream.rows(step - 1)]),
        lower=config.learning_rate / 3, value=config.learning_rate,
    )  # fmt: skip


def _some(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:8])
    return f"{shown}, … ({len(rows)})" if len(rows) > 8 else shown


# -- spikes
class SpikeDetector:
    """Robust z-score of each loss among the last ones: (loss - median) / (1.4826 * median absolute deviation)."""

    WINDOW, LEAST, LIMIT = 64, 16, 10.0

    def __init__(self, recent: Iterable[float] = (), found: Iterable[Mapping[str, float]] = ()):
        self.recent: deque[float] = deque(recent, maxlen=self.WINDOW)
        self.found: list[dict[str, float]] = [dict(entry) for entry in found]
        self.highest = max(self.recent, default=-np.inf)

    def add(self, step: int, loss: float) -> dict[str, float] | None:
        """The facts of a spike, or None."""
        spike = None
        if loss > self.highest and len(self.recent) >= self.LEAST:
            middle = statistics.median(self.recent)
            deviation = statistics.median(abs(value - middle) for value in self.recent)
            score = (loss - middle) / (1.4826 * deviation + 1e-3 * abs(middle) + 1e-12)
            if score > self.LIMIT:
                spike = {"loss": loss, "median": middle, "score": round(score, 2)}
                self.found.append({"step": step, **spike})
        leaving = self.recent[0] if len(self.recent) == self.WINDOW else None
        self.recent.append(loss)
        if loss >= self.highest:
            self.highest = loss
        elif leaving == self.highest:
            self.highest = max(self.recent)
        return spike

    def state(self) -> dict[str, Any]:
        return {"recent": list(self.recent), "found": self.found}


# -- memory
@contextmanager
def memory_errors(config: TrainConfig, rows: int, folder: Path) -> Iterator[None]:
    """An allocator's failure becomes a ResourceError with the setting that would fit."""
    try:
        yield
    except MEMORY_FAULTS as error:
        if not lacks_memory(error):
            raise
        raise out_of_memory(config, rows, folder) from None


def out_of_memory(config: TrainConfig, rows: int, folder: Path) -> ResourceError:
    part = -(-rows // config.accumulate)
    if part <= 1:
        return ResourceError(
            "Training must fit into memory; not even one row at a time did. Choose a smaller model (model.size=small) or shorter inputs. "
            "The last checkpoint in {folder} is whole.",
            folder=folder,
        )  # fmt: skip
    return ResourceError(
        "Training must fit into memory; {value} rows at a time did not. Set train.accumulate={accumulate}: "
        "the steps stay the same, {half} rows at a time (or halve train.batch_size={batch}). "
        "The last checkpoint in {folder} is whole: `duomo resume {folder}` continues from it.",
        value=part, accumulate=config.accumulate * 2, half=-(-part // 2), batch=config.batch_size, folder=folder,
    )  # fmt: skip
