"""Execution chosen by measurement: a few real steps of each candidate that keeps the mathematics, and the fastest is taken."""

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from duomo.core.contract import Stream, Task
from duomo.core.device import Execution
from duomo.core.messages import tr
from duomo.core.recipe import TrainConfig
from duomo.core.reporter import Reporter
from duomo.core.tensors import Batch
from duomo.train import optim
from duomo.train.clock import given
from duomo.train.gradient import Gradient
from duomo.train.prefetch import in_float32, place, split
from duomo.train.schedule import planned_steps, timed
from duomo.train.seed import seed_step

ROUNDS = 12
LEAST_ROUNDS = 3
VISIT, VISIT_SECONDS = 5, 0.05
"""Steps in a row of one candidate, and seconds after which it has had its turn. Where a turn has several, its first is not counted: what
the candidate before it left behind (threads that still spin, caches full of other weights) would be charged to it."""
SLOW, FAR = 1.3, 2.0
"""A candidate this many times slower than the fastest is not timed any further; FAR after a single round."""
COMPILE_SECONDS = 15.0
"""Compiling is tried only where probing may take this long."""
SHARE, LONGEST = 0.1, 60.0
"""Probing a large model may take this share of its training, and this many seconds at most."""
HOPELESS, FORWARD, PARTS = 0.1, 0.4, 8
"""A loss that takes this share of limited time leaves none to measure by; what a forward pass takes of a step, about; parts of a batch of
which one is enough to compare the losses of a large model."""
GLANCE, BUSY = 0.1, 0.5
"""Seconds by which it is told whether others use the machine, and the share of a core below which they do."""
TOLERANCE = {"float32": 2e-3, "bf16": 4e-2}
"""How far the loss may lie from the plain float32 one, relative to max(1, |loss|)."""
APART = 1e-3
"""How far the loss of a batch computed in parts may lie from the whole one's, relative to max(1, |loss|)."""
TOGETHER = 30_000_000
"""Weights, over all candidates, up to which their copies are held at once and timed in turns."""


@dataclass(frozen=True)
class Trial:
    """What is timed: the parts of a Job."""

    task: Task
    model: nn.Module
    """Stays untouched: every candidate works on a copy."""
    stream: Stream
    config: TrainConfig


@dataclass
class Timing:
    """One line of the table."""

    execution: Execution
    loss: float = float("nan")
    """Of the untrained model on step 1, without dropout."""
    times: list[float] = field(default_factory=list)
    first: float = 0.0
    """Seconds of the first step, compiling included."""
    note: str = ""
    """Why it is out of the race; empty while it is in."""
    guess: float = 0.0
    """Seconds of a step, judged by the loss alone, where there was no time to measure any."""

    @property
    def seconds(self) -> float:
        """Median seconds of a step; infinite where none was timed."""
        return statistics.median(self.times) if self.times else float("inf")

    def as_json(self) -> dict[str, Any]:
        measured = {"seconds": self.seconds if self.times else None, "loss": self.loss if self.loss == self.loss else None}
        return {"execution": asdict(self.execution), **measured, "first": self.first, "note": self.note}


class _Copy:
    """A copy of the model with an optimizer of its own, under one execution."""

    def __init__(self, trial: Trial, execution: Execution):
        self.trial, self.execution = trial, execution
        self.model = copy.deepcopy(trial.model)
        runner = execution.apply(self.model)
        self.weights = optim.trainable(self.model)
        self.gradient = Gradient(trial.task, runner, self.weights, execution, trial.config.accumulate)
        self.optimizer = optim.build(self.model, trial.config)

    @torch.no_grad()
    def loss(self, batch: Batch) -> float:
        """Mean loss in evaluation mode."""
        self.model.eval()
        loss = self.mean_loss([batch])
        self.model.train()
        return loss

    @torch.no_grad()
    def divisible(self, batch: Batch) -> bool:
        """Whether parts of a batch can be computed apart: while training nothing is drawn at random, no buffer changes, no hook keeps
        what passes by, and rows do not depend on one another."""
        if any(module._forward_hooks or module._forward_pre_hooks for module in self.model.modules()):
            return False
        before, drawn = [value.clone() for value in self.model.buffers()], torch.default_generator.get_state()
        try:
            whole, apart = self.mean_loss([batch]), self.mean_loss(split(batch, self.execution.parts))
        except RuntimeError:  # the whole was computed a moment ago
            return False
        same = all(torch.equal(one, other) for one, other in zip(before, self.model.buffers(), strict=True))
        return same and torch.equal(drawn, torch.default_generator.get_state()) and abs(whole - apart) <= APART * max(1.0, abs(whole))

    def mean_loss(self, parts: list[Batch]) -> float:
        """Over the parts of one batch."""
        sums = []
        for part in (place(part, self.execution) for part in parts):
            with self.execution.autocast():
                output = self.model(part)
            sums.append(self.trial.task.loss(in_float32(output), part))
        return sum(float(total) for total, _ in sums) / max(sum(float(count) for _, count in sums), 1e-8)

    def step(self, batch: Batch, number: int) -> float:
        """Seconds of one whole step."""
        seed_step(self.trial.config.seed, number, self.execution.device)
        start = time.perf_counter()
        self.gradient(place(batch, self.execution))
        float(optim.norm(optim.gradients(self.weights)))
        self.optimizer.step(self.trial.config.learning_rate * 0.01)
        self.optimizer.clear()
        if self.execution.device != "cpu":
            torch.cuda.synchronize(self.execution.device)
        return time.perf_counter() - start


def choose(trial: Trial, candidates: Sequence[Execution], reporter: Reporter, seconds: float) -> tuple[Execution, list[Timing]]:
    """The fastest of `candidates` (the first is the plain float32 reference), and what was measured; takes about `seconds` seconds.

    Candidates are timed in turns, so that a busy moment of the machine hits all of them; medians are compared; the slow leave early.
    """
    timings = [Timing(execution) for execution in candidates]
    if len(candidates) > 1:
        _measure(trial, timings, time.monotonic() + seconds, seconds)
        _print(timings, reporter)
    best = min(timings, key=lambda timing: (bool(timing.note), timing.seconds))
    best.execution.settle()
    return best.execution, timings


def _measure(trial: Trial, timings: list[Timing], end: float, seconds: float) -> None:
    batches = [trial.stream.batch(step) for step in range(LEAST_ROUNDS)]
    weights = sum(weight.numel() for weight in trial.model.parameters())
    together = weights * len(timings) <= TOGETHER
    copies: dict[int, _Copy] = {}
    # The plain one first, being the reference; then from the end, where the one with a single thread stands: under load it is the safest.
    order = sorted(range(len(timings)), key=lambda index: (index > 0, timings[index].execution.compile, -index))
    for index in order:
        timing = timings[index]
        if timing.execution.compile and seconds < COMPILE_SECONDS:
            timing.note = tr("not tried: compiling would take too long")
        elif any(one.first and not one.note for one in timings) and time.monotonic() > end + 0.5 * seconds:
            timing.note = tr("not tried: no time left")
        else:
            made = _first(trial, timing, timings[0], batches, seconds)
            if timed(trial.config) and FORWARD * timing.guess > HOPELESS * 60 * trial.config.minutes:
                _unmeasured(timings)
                return
            if made is None or timing.note:
                continue
            if together:
                copies[index] = made
            else:
                for number in range(1, LEAST_ROUNDS):
                    timing.times.append(made.step(batches[number], number))
                    if timed(trial.config) and time.monotonic() > end:
                        break
            if not index:  # where even a few steps take long, so does the training
                end = max(end, time.monotonic() + _room(trial, timing.first / 2 if together else timing.seconds))
    for number in range(ROUNDS):
        if number >= LEAST_ROUNDS and time.monotonic() > end:
            return
        for index in list(copies):
            copies[index].execution.apply(copies[index].model)
            timings[index].times += _visit(copies[index], batches, number + 1)
        fastest = min((timings[index].seconds for index in copies), default=0.0)
        copies = {index: held for index, held in copies.items() if timings[index].seconds <= (SLOW if number else FAR) * fastest}
        if len(copies) <= 1 and number >= LEAST_ROUNDS:
            return


def _unmeasured(timings: list[Timing]) -> None:
    """Where a single loss takes too much of limited time, nothing is timed: the last of the ways is taken, with one thread where others
    keep the machine busy."""
    whole = [timing for timing in timings if timing.execution.parts == 1 and not timing.execution.compile]
    alone = given(GLANCE) < BUSY
    chosen = next((timing for timing in reversed(whole) if (timing.execution.threads == 1) == alone), whole[-1])
    chosen.guess = timings[0].guess
    for timing in timings:
        timing.note = "" if timing is chosen else timing.note or tr("not tried: no time left")


def _room(trial: Trial, step_seconds: float) -> float:
    """Seconds that probing may take in all: a share of the training."""
    if timed(trial.config):
        return min(LONGEST, 0.5 * SHARE * 60 * trial.config.minutes)
    return min(LONGEST, SHARE * planned_steps(trial.config, trial.stream.steps_per_epoch) * step_seconds)


def _visit(made: _Copy, batches: list[Batch], number: int) -> list[float]:
    """Seconds of the steps of one turn."""
    times: list[float] = []
    while len(times) <= VISIT and sum(times) < VISIT_SECONDS:
        times.append(made.step(batches[(number + len(times)) % LEAST_ROUNDS], number))
    return times[1:] or times


def _first(trial: Trial, timing: Timing, reference: Timing, batches: list[Batch], seconds: float) -> _Copy | None:
    """Build the candidate, compare its loss with the reference, and run its first step, which is not counted.

    Where time is limited and the loss of the plain reference alone takes too much of it, it is not timed: it is the slowest by far. Of a
    large model a part of a batch tells.
    """
    start = time.monotonic()
    parts = PARTS if timed(trial.config) and sum(weight.numel() for weight in trial.model.parameters()) > TOGETHER else 1
    some = split(batches[0], parts)
    try:
        made = _Copy(trial, timing.execution)
        begun = time.monotonic()
        timing.loss = made.loss(some[0])
        took = (time.monotonic() - begun) * len(some)
        if timing.execution.parts > 1 and not made.divisible(batches[0]):
            timing.note = tr("not for this model: its parts of a batch depend on one another")
            return None
        if reference is timing and timed(trial.config) and took > seconds:
            timing.note, timing.guess = tr("not timed: its loss alone took long"), took / FORWARD
            return None
        made.step(batches[0], 0)
    except RuntimeError as error:
        timing.note = tr("fails here: {error}", error=str(error).splitlines()[0][:60])
        return None
    timing.first = time.monotonic() - start
    if reference is not timing and reference.loss == reference.loss:
        limit = TOLERANCE["bf16" if timing.execution.precision == "bf16" else "float32"] * max(1.0, abs(reference.loss))
        if not abs(timing.loss - reference.loss) <= limit:
            timing.note = tr("loss differs: {loss:.4f}, not {expected:.4f}", loss=timing.loss, expected=reference.loss)
    return made


def _print(timings: list[Timing], reporter: Reporter) -> None:
    fastest = min(timing.seconds for timing in timings if not timing.note) if any(not timing.note for timing in timings) else 0.0
    rows = []
    for timing in sorted(timings, key=lambda timing: (bool(timing.note), timing.seconds)):
        milliseconds = f"{timing.seconds * 1e3:.2f}" if timing.times else "–"
        share = f"{timing.seconds / fastest:.2f}×" if timing.times and fastest else "–"
        rows.append([str(timing.execution), milliseconds, share, timing.note])
    reporter.table(tr("Execution, measured on this machine"), [tr("candidate"), tr("ms a step"), tr("of the fastest"), tr("note")], rows)
