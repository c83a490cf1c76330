"""The training loop. A step is a pure function of its number: its rows, its augmentation, its dropout follow from (seed, step).

    while there are steps:  batch(step) -> model -> task.loss -> gradients -> [finite? clip] -> optimizer at lr(progress(step))
                            evaluation where due, checkpoint where due
Steps are counted from 1 where a person reads them: step 1 is `stream.batch(0)`.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from duomo.core.contract import Metric
from duomo.core.messages import tr
from duomo.core.reporter import Progress, Reporter
from duomo.train import guard, optim
from duomo.train.checkpoint import Checkpoints, Saved
from duomo.train.clock import Clock
from duomo.train.gradient import Gradient
from duomo.train.guard import Stop
from duomo.train.job import Job, Outcome
from duomo.train.log import Log, plain
from duomo.train.prefetch import Feed, in_float32
from duomo.train.reproducibility import differences, peak_memory, run_facts
from duomo.train.schedule import Budget, Evaluations, Plan, check_schedule, factor, planned_steps, timed
from duomo.train.seed import seed_step

CHECKPOINT_SECONDS = 30.0
PROGRESS_SECONDS = 0.25
EARLIEST = 300
"""No training stops early before so many steps, or half of its own: of few rows many an epoch passes before a net begins to learn."""
LOSS = Metric("loss", False)
SMALL_BUFFER = 1_000_000
"""Buffers up to this size are put back when a step is abandoned; larger ones are tables that no step changes."""


def train(job: Job, reporter: Reporter) -> Outcome:
    """Train, or continue from the newest whole checkpoint in job.folder.

    Interrupted after a signal; DataError for NaN or infinity; ResourceError for memory or disk. Each leaves a good checkpoint.
    """
    check_schedule(job.config)
    with guard.Signals() as signals:
        return _Training(job, reporter, signals).run()


class _Training:
    """State and steps of one training."""

    def __init__(self, job: Job, reporter: Reporter, signals: guard.Signals):
        self.job, self.reporter, self.signals = job, reporter, signals
        self.config, self.task, self.model = job.config, job.task, job.model
        self.metric = self.chooser = job.task.chosen_by or job.task.metric
        runner = job.execution.apply(job.model)
        self.weights = optim.trainable(self.model)
        self.gradient = Gradient(self.task, runner, self.weights, job.execution, self.config.accumulate)
        self.buffers = [value for value in self.model.buffers() if value.numel() <= SMALL_BUFFER]
        self.buffers_before = [value.clone() for value in self.buffers]
        self.optimizer = optim.build(self.model, self.config, job.rates)
        self.fixed = [name for name, weight in self.model.named_parameters() if not weight.requires_grad]
        """Weights that no step changes: written once, not with every checkpoint."""
        self.average = optim.WeightAverage(self.model, self.config.ema) if self.config.ema > 0 else None
        self.feed = Feed(job.stream, job.execution)
        self.checkpoints = Checkpoints(job.folder, reporter.say)
        self.log = Log(job.folder)
        self.plan = Plan(planned_steps(self.config, job.stream.steps_per_epoch))
        self.evaluations = Evaluations(self.config, job.stream, self.plan, bool(job.facts.get("knows")))
        self.spikes = guard.SpikeDetector()
        self.step, self.sessions = 0, 0
        self.saved: tuple[int, int] | None = None
        self.history: list[dict[str, Any]] = []
        self.best_step, self.waits = 0, 0
        self.best: float | None = None
        self.best_tensors: dict[str, Tensor] | None = None
        self.clock = Clock()
        self.last_save = self.last_shown = time.monotonic()
        self.evaluate_seconds = self.save_seconds = 0.0
        self.loss = math.nan

    # -- the course
    def run(self) -> Outcome:
        try:
            with guard.memory_errors(self.config, self.config.batch_size, self.job.folder):
                self._resume()
                self._show_pictures()
                self.budget = Budget(self.config.minutes * 60, self.clock.elapsed()) if timed(self.config) else None
                self._loop()
            self._save()
            self.log.sum_up(self.step)
        except Stop:
            self._save()
            raise guard.interrupted(self.job.folder, self.step) from None
        finally:
            self.feed.close()
            self.gradient.close()
            self.log.close()
        return self._finish()

    def _show_pictures(self) -> None:
        """The first pictures of a new training, as the model sees them, for TensorBoard."""
        if self.step == 0:
            for name, field in self.task.inputs.items():
                if field.form == "pixels":
                    self.log.board.images(name, self.job.stream.batch(0)[name])

    def _loop(self) -> None:
        self.model.train()
        with self._progress() as progress:
            while True:
                if self.evaluations.due(self.step) and not (self.history and self.history[-1]["step"] == self.step):
                    self._evaluate()
                if self.step >= self.plan.total:
                    return
                if self._checkpoint_due():
                    self._save()
                self.signals.check()
                self._one()
                self._replan()
                self._show(progress)

    def _one(self) -> None:
        """One step: nothing changes unless data, loss and gradient are finite."""
        step = self.step
        batch, good = self.feed.batch(step)
        if not good:
            self._save()
            guard.refuse_data(batch, step + 1, self.job.stream.rows(step))
        if self.buffers:
            torch._foreach_copy_(self.buffers_before, self.buffers)
        seed_step(self.config.seed, step, self.job.execution.device)
        try:
            self.signals.at_once = self.clock.steps == 0
            loss = self.gradient(self.feed.place(batch), self.signals.check)
            self.signals.at_once = False
        except Stop:
            self._abandon()
            raise
        grads = optim.gradients(self.weights)
        loss_value, norm = torch.stack((loss, optim.norm(grads).to(loss.device))).tolist()
        if not (math.isfinite(loss_value) and math.isfinite(norm)):
            self._abandon()
            self._save()
            raise guard.not_finite(tr("gradient") if math.isfinite(loss_value) else tr("loss"), step + 1, self.job.stream, self.config)
        if 0 < self.config.clip < norm:
            torch._foreach_mul_(grads, self.config.clip / (norm + 1e-6))
        rate = self.config.learning_rate * factor(self.plan.progress(step + 0.5), self.config.warmup, self.config.schedule)
        self._update(rate)
        self.log.add(self.step, loss_value, rate, norm)
        self.loss = loss_value
        spike = self.spikes.add(self.step, loss_value)
        if spike:
            self.log.event(self.step, {"event": "spike", **spike})

    def _update(self, rate: float) -> None:
        self.optimizer.step(rate)
        self.optimizer.clear()
        if self.average:
            self.average.update(self.step)
        self.step += 1
        self.clock.steps += 1

    def _abandon(self) -> None:
        """Leave the state as it was before the step."""
        self.signals.at_once = False
        self.optimizer.clear()
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.buffers_before)

    # -- judging
    def _evaluate(self) -> None:
        start = time.monotonic()
        facts: dict[str, Any] = {}
        if self.job.valid is not None:
            facts = self._judge()
        self.history.append({"step": self.step, **facts})
        if facts:
            self.log.event(self.step, {"valid": facts})
            if not self.step and "first" in self.job.facts:
                self.job.facts["first"](facts)
            self._choose(facts)
            self._board(facts)
        seconds = time.monotonic() - start
        self.evaluate_seconds = min(seconds, self.evaluate_seconds or seconds) if len(self.history) == 2 else seconds
        self.clock.judging += seconds

    @torch.no_grad()
    def _judge(self) -> dict[str, float | None]:
        """Loss and the task's metrics on all of validation."""
        loss, count, pieces = 0.0, 0.0, []
        with self._judged():
            for number, batch in enumerate(self.job.valid() if self.job.valid else (), start=1):
                self.signals.check()
                if not guard.finite(batch):
                    guard.refuse_validation(batch, number)
                placed = self.feed.place(batch)
                with self.job.execution.autocast():
                    output = self.model(placed)
                output = in_float32(output)
                total, counted = self.task.loss(output, placed)
                loss, count = loss + float(total), count + float(counted)
                pieces.append(self.task.evidence(output, placed))
        evidence = {name: np.concatenate([piece[name] for piece in pieces]) for name in (pieces[0] if pieces else ())}
        metrics = self.task.measure(evidence) if evidence else {}
        return {"loss": plain(loss / max(count, 1e-8)), **{name: plain(value) for name, value in metrics.items()}}

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """The model as it is judged: not learning, with the averaged weights where there are any."""
        self.model.eval()
        if self.average:
            self.average.swap()
        try:
            yield
        finally:
            if self.average:
                self.average.swap()
            self.model.train()

    def _choosing(self) -> Metric:
        """What chooses: the loss as long as validation could not tell the metric (the AUC of rows of one class)."""
        told = not self.history or any(point.get(self.metric.name) is not None for point in self.history)
        return self.metric if told else LOSS

    def _choose(self, facts: dict[str, Any]) -> None:
        """Keep the best weights, of equals the latest: on few rows the first is but luck. Stop early when patience is at its end."""
        chooser = self._choosing()
        if chooser != self.chooser:
            self.chooser, self.best, self.waits = chooser, None, 0
            if chooser is LOSS:
                said = tr("The rows to validate by cannot tell {metric} (are they of one class alone?): the loss chooses the weights "
                          "instead. More rows to validate by tell more (--valid-share).", metric=self.metric.name)  # fmt: skip
                self.reporter.say(said)
        value, higher = facts.get(chooser.name), chooser.higher_is_better
        better = value is not None and (self.best is None or (value > self.best if higher else value < self.best))
        if better or (value is not None and value == self.best):
            self.best, self.best_step = value, self.step
            self.best_tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self._changing(self._kept()).items()}
        if better:
            self.waits = 0
            return
        self.waits += 1
        if 0 < self.config.patience <= self.waits and min(EARLIEST, self.plan.total // 2) <= self.step < self.plan.total:
            self.plan.change(self.step, self.step)
            self.log.event(self.step, {"event": "early stop", "best_step": self.best_step})

    def _changing(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        fixed = set(self.fixed)
        return {name: tensor for name, tensor in tensors.items() if name not in fixed}

    def _take(self, tensors: dict[str, Tensor]) -> None:
        """The model takes all weights but the fixed ones, which it has."""
        own = {name: tensor for name, tensor in self.model.state_dict().items() if name in self.fixed}
        self.model.load_state_dict({**own, **tensors})

    def _kept(self) -> dict[str, Tensor]:
        """The weights that are judged: averaged ones where there are any."""
        return {**self.model.state_dict(), **(self.average.tensors() if self.average else {})}

    def _board(self, facts: dict[str, Any]) -> None:
        with self._judged():
            texts = self.job.facts["samples"]() if "samples" in self.job.facts else {}
        for text in texts.values():
            self.log.event(self.step, {"event": "sample", "text": text})
        self.log.board.evaluation(self.step, {name: value for name, value in facts.items() if value is not None}, self.model, texts)

    # -- keeping
    def _checkpoint_due(self) -> bool:
        if self.saved is None:
            return True
        if self.step == self.saved[0]:
            return False
        if self.config.checkpoint_steps > 0:
            return self.step % self.config.checkpoint_steps == 0
        return time.monotonic() - self.last_save > max(CHECKPOINT_SECONDS, 20 * self.save_seconds)

    def _save(self) -> None:
        """Write a checkpoint unless this very state is on the disk already."""
        key = (self.step, len(self.history))
        if key == self.saved:
            return
        start = time.monotonic()
        states = self.model.state_dict()
        tensors = {"model": self._changing(states), "optimizer": self.optimizer.tensors()}
        if self.average:
            tensors["ema"] = self.average.tensors()
        if self.best_tensors is not None and self.best_step != self.step:
            tensors["best"] = self.best_tensors
        base = self.checkpoints.keep({name: states[name] for name in self.fixed}) if self.fixed else ""
        self.checkpoints.save(self.step, tensors, self._state() | {"base": base})
        self.saved, self.last_save = key, time.monotonic()
        self.save_seconds = self.last_save - start
        self.clock.saving += self.save_seconds

    def _state(self) -> dict[str, Any]:
        return {
            "plan": self.plan.state(), "history": self.history,
            "best": {"step": self.best_step, "value": self.best, "waits": self.waits, "kept": self.best_tensors is not None},
            "evaluations": self.evaluations.count, "spikes": self.spikes.state(), "optimizer_steps": self.optimizer.steps,
            "log": self.log.state(), "clock": {"elapsed": self.clock.elapsed(), "sessions": self.sessions},
            "facts": run_facts(self.config, self.job.execution),
        }  # fmt: skip

    def _resume(self) -> None:
        """Take up the newest whole checkpoint, or start with clean logs."""
        found = self.checkpoints.load()
        if found is None:
            self.log.restore(None, 0)
            if self.job.fresh is not None:
                self.job.fresh()
                self.average = optim.WeightAverage(self.model, self.config.ema) if self.average else None
            return
        changed = differences(found.state["facts"], run_facts(self.config, self.job.execution))
        if changed:
            self.reporter.say(
                tr(
                    "Since the checkpoint was written this changed: {changes}. Equality to the last bit is no longer promised.",
                    changes="; ".join(changed),
                )
            )
        self._restore(found)
        self.reporter.say(tr("Training continues after step {step}.", step=self.step))

    def _restore(self, found: Saved) -> None:
        state, tensors = found.state, found.tensors
        self.model.load_state_dict({**tensors["model"], **tensors.get("base", {})})
        self.optimizer.restore(state["optimizer_steps"], tensors["optimizer"])
        if self.average and "ema" in tensors:
            self.average.restore(tensors["ema"])
        self.step, self.history, self.plan = found.step, state["history"], Plan.restore(state["plan"])
        self.chooser = self._choosing()
        self.evaluations = Evaluations(self.config, self.job.stream, self.plan, self.evaluations.first)
        self.evaluations.count = state["evaluations"]
        self.saved = (self.step, len(self.history))
        self.best_step, self.best, self.waits = state["best"]["step"], state["best"]["value"], state["best"]["waits"]
        if state["best"]["kept"]:
            self.best_tensors = tensors.get("best") or {**tensors["model"], **tensors.get("ema", {})}
        self.spikes = guard.SpikeDetector(state["spikes"]["recent"], state["spikes"]["found"])
        self.log.restore(state["log"], self.step)
        self.clock.before, self.sessions = state["clock"]["elapsed"], state["clock"]["sessions"] + 1

    def _finish(self) -> Outcome:
        """The model takes the kept weights: the best on validation, or the last (averaged where there is an average)."""
        self._take(self.best_tensors if self.best_tensors is not None else self._changing(self._kept()))
        self.model.eval()
        best_step = self.best_step if self.best_tensors is not None else self.step
        if not best_step:
            self.reporter.say(tr("No step made the weights better on validation: they are kept as they were before the first one."))
        clock, device = self.clock, self.job.execution.device
        return Outcome(
            self.step, best_step, self.best, self.history, clock.elapsed(), clock.rate(self.config.batch_size), self.sessions,
            self.spikes.found, self.job.facts.get("planned_seconds"), peak_memory(device), self.checkpoints.bytes(),
        )  # fmt: skip

    # -- the clock
    def _replan(self) -> None:
        """With a time budget: how many steps fit, at recorded points, and a hard stop."""
        if self.budget is None:
            return
        elapsed, warm = self.clock.elapsed(), self.clock.steps > Budget.EARLY[-1]
        # The first steps may have been compiled: what they took says nothing about the next ones.
        if self.step < self.plan.total and self.budget.over(elapsed, self.clock.step_seconds if warm else 0.0, self.evaluate_seconds):
            self._change(self.step)
        elif self.budget.due(self.clock.steps, elapsed):
            self.evaluations.thin(self.evaluate_seconds, self.budget.seconds)
            coming = max(1, math.ceil(self.evaluations.count * (1 - self.plan.progress(self.step))))
            total = self.budget.total(self.step, elapsed, self.clock.pace(), coming * self.evaluate_seconds)
            self._change(total if warm else max(total, self.step + Budget.EARLY[-1]))

    def _change(self, total: int) -> None:
        self.plan.change(self.step, total)
        self.log.event(self.step, {"event": "plan", "total": total})

    def _progress(self) -> Progress:
        if self.budget is not None:
            return self.reporter.progress(tr("training"), self.budget.seconds, "s")
        return self.reporter.progress(tr("training"), self.plan.total, tr("steps"))

    def _show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.last_shown < PROGRESS_SECONDS:
            return
        self.last_shown = now
        facts: dict[str, float | str] = {"loss": self.loss, "rate": self.clock.rate(self.config.batch_size)}
        if self.best is not None:
            facts[self.chooser.name if self.task.chosen_by is None else f"valid {self.chooser.name}"] = self.best
        progress.update(self.step if self.budget is None else self.clock.elapsed(), **facts)
        if self.log.stale():
            self.log.clock(
                self.step, {"seconds": round(self.clock.elapsed(), 3), "rate": round(self.clock.rate(self.config.batch_size), 3)}
            )
            self.log.flush()
