"""How long, and how fast to learn: pure functions of the step's number and of the recorded plan."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from duomo.core.contract import Stream
from duomo.core.errors import ConfigError
from duomo.core.messages import nearest
from duomo.core.recipe import TrainConfig

SCHEDULES = ("cosine", "linear", "constant")
GUESS = 1000
"""Steps assumed of a run with a time budget until its first steps were timed."""
EVALUATIONS = 20
"""Evaluations of a run with a time budget."""
JUDGING = 0.25
"""Largest share of a time budget that evaluations may take."""
MOST, FEWEST = 40, 5
"""Evaluations of a run of known length: an epoch is cut or several are joined to stay within."""


def factor(progress: float, warmup: float, schedule: str) -> float:
    """Share of the peak learning rate at `progress` in [0, 1].

    Linear warm-up over the first `warmup`, then half a cosine (arXiv:1608.03983, eq. 5, one cycle), a line, or nothing.
    """
    if warmup > 0 and progress < warmup:
        return progress / warmup
    rest = min(1.0, (progress - warmup) / (1 - warmup)) if warmup < 1 else 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    return 1 - rest if schedule == "linear" else 1.0


def check_schedule(config: TrainConfig) -> None:
    """ConfigError for an unknown schedule or a share outside [0, 1)."""
    if config.schedule not in SCHEDULES:
        raise ConfigError(
            "The schedule must be one of {known}; received {value!r}.{hint}",
            known=", ".join(SCHEDULES), value=config.schedule, hint=nearest(config.schedule, SCHEDULES),
        )  # fmt: skip
    if not 0 <= config.warmup < 1:
        raise ConfigError(
            "The warm-up is a share of the steps, at least 0 and below 1; received {value!r}. Set train.warmup=0.05.", value=config.warmup
        )


@dataclass(frozen=True)
class Leg:
    """From `step` on, where progress was `progress`, the run is to end after `total` steps."""

    step: int
    progress: float
    total: int


class Plan:
    """The steps planned so far; only the last leg lies in the future, so that progress never changes afterwards."""

    def __init__(self, total: int):
        self.legs = [Leg(0, 0.0, max(1, total))]

    @property
    def total(self) -> int:
        return self.legs[-1].total

    def progress(self, step: float) -> float:
        """Share of the run that is done after `step` steps, continuous and rising."""
        leg = self.legs[-1]
        if step < leg.step:
            leg = next(leg for leg in reversed(self.legs) if leg.step <= step)
        if leg.total <= leg.step:
            return 1.0
        return min(1.0, leg.progress + (1 - leg.progress) * (step - leg.step) / (leg.total - leg.step))

    def change(self, step: int, total: int) -> None:
        """From now, after `step` steps, aim at `total`."""
        self.legs.append(Leg(step, self.progress(step), max(step, total)))

    def state(self) -> list[dict[str, Any]]:
        return [asdict(leg) for leg in self.legs]

    @staticmethod
    def restore(state: list[Mapping[str, Any]]) -> "Plan":
        plan = Plan(1)
        plan.legs = [Leg(int(leg["step"]), float(leg["progress"]), int(leg["total"])) for leg in state]
        return plan


def planned_steps(config: TrainConfig, steps_per_epoch: int) -> int:
    """Steps of the run, or a first guess where a time budget decides (which wins only where neither steps nor epochs are set)."""
    if config.steps > 0:
        return config.steps
    if config.minutes > 0:
        return GUESS
    return max(1, round(config.epochs * steps_per_epoch))


def timed(config: TrainConfig) -> bool:
    """Whether the clock decides how many steps there are."""
    return config.minutes > 0 and config.steps <= 0


class Evaluations:
    """After which steps the model is judged: a pure function of the plan."""

    def __init__(self, config: TrainConfig, stream: Stream, plan: Plan, first: bool = False):
        """`first`: before the first step too, where the model knows something already."""
        self.first = first
        self.plan, self.every, self.by_progress, self.count = plan, config.evaluate_steps, False, EVALUATIONS
        if self.every <= 0:
            self.by_progress = timed(config)
            epoch, total = max(1, stream.steps_per_epoch), plan.total
            joined = epoch * max(1, math.ceil(total / epoch / MOST))
            self.every = max(1, min(joined, math.ceil(total / FEWEST)))

    def due(self, step: int) -> bool:
        if step == 0:
            return self.first
        if step >= self.plan.total:
            return True
        if self.by_progress:
            return int(self.count * self.plan.progress(step)) > int(self.count * self.plan.progress(step - 1))
        return step % self.every == 0

    def thin(self, evaluate_seconds: float, seconds: float) -> None:
        """Judge less often where judging would take more than `JUDGING` of the budget; a checkpoint keeps `count`."""
        if self.by_progress and evaluate_seconds * self.count > JUDGING * seconds:
            self.count = max(1, int(JUDGING * seconds / evaluate_seconds))


class Budget:
    """Plans the number of steps so that training, its last evaluation included, ends on time."""

    MOMENTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
    EARLY = (1, 3)

    def __init__(self, seconds: float, elapsed: float):
        self.seconds = seconds
        self.next = sum(elapsed >= share * seconds for share in self.MOMENTS)

    def due(self, session_steps: int, elapsed: float) -> bool:
        """Time to plan anew: after the session's first steps, and at fixed shares of the budget."""
        if session_steps in self.EARLY:
            return True
        if self.next < len(self.MOMENTS) and elapsed >= self.MOMENTS[self.next] * self.seconds:
            self.next += 1
            return True
        return False

    def total(self, step: int, elapsed: float, step_seconds: float, evaluations_seconds: float) -> int:
        """Steps that fit into what is left after the evaluations to come, which get half of it at most."""
        left = self.seconds * 0.995 - elapsed
        return step + max(0, int(max(left - evaluations_seconds, left / 2) / max(step_seconds, 1e-9)))

    def over(self, elapsed: float, step_seconds: float, evaluate_seconds: float) -> bool:
        """No room for another step and the last evaluation."""
        return elapsed + step_seconds + evaluate_seconds > self.seconds
