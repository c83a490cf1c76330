"""The training's own clock: what steps take, evaluations and checkpoints apart."""

import time


class Clock:
    """Seconds of this session, and of the ones before."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.before = 0.0
        """Seconds of former sessions."""
        self.aside = 0.0
        """Seconds of this session spent on evaluations and checkpoints."""
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
        """Seconds a step since the last time this was asked."""
        step, session, aside = self._mark
        if self.steps > step:
            self.step_seconds = max(1e-9, (self.session() - session - (self.aside - aside)) / (self.steps - step))
        self._mark = (self.steps, self.session(), self.aside)
        return self.step_seconds

    def rate(self, rows: int) -> float:
        """Rows a second in steps of `rows` rows."""
        return self.steps * rows / max(self.session() - self.aside, 1e-9)
