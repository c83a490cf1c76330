"""The training's own clock: what steps take, evaluations and checkpoints apart."""

import time

LEAST = 0.02
"""Share of a core that is always counted on."""


def given(seconds: float) -> float:
    """The share of a core that there is while this thread keeps it busy for so many seconds: on a machine that others use too, little."""
    wall, own = time.monotonic(), time.thread_time()
    while time.monotonic() - wall < seconds:
        pass
    return max(LEAST, (time.thread_time() - own) / max(time.monotonic() - wall, 1e-9))


class Clock:
    """Seconds of this session, and of the ones before."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.before = 0.0
        """Seconds of former sessions."""
        self.judging = self.saving = 0.0
        """Seconds of this session spent on evaluations, and on checkpoints."""
        self.steps = 0
        """Steps of this session."""
        self.step_seconds = 0.0
        self._mark = (0, 0.0, 0.0)

    def session(self) -> float:
        return time.monotonic() - self.started

    def elapsed(self) -> float:
        """Seconds of training, former sessions included."""
        return self.before + self.session()

    def pace(self) -> float:
        """Seconds a step, checkpoints counted and evaluations not, since the last time this was asked."""
        step, session, judging = self._mark
        if self.steps > step:
            self.step_seconds = max(1e-9, (self.session() - session - (self.judging - judging)) / (self.steps - step))
        self._mark = (self.steps, self.session(), self.judging)
        return self.step_seconds

    def rate(self, rows: int) -> float:
        """Rows a second in steps of `rows` rows, neither evaluations nor checkpoints counted."""
        return self.steps * rows / max(self.session() - self.judging - self.saving, 1e-9)
