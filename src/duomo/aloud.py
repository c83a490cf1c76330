"""What a model that writes token by token says along the way: for the log, and to general questions before and after it learned. Where
time is limited each of these takes a small share of it, on a busy machine too: fewer answers, and then shorter ones."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from duomo.core.contract import Task
from duomo.core.device import answering
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.core.table import Table
from duomo.data.predictor import Predictor
from duomo.decode.engine import Writer

ASKED, TRIED, SHORTEST = 4, 4, 8
"""Answers that are written at once; tokens of the one by which it is told how long they take; tokens that none is cut below."""
TOGETHER = 1.5
"""Times that so many take as long as one."""
SHARE, SAMPLING = 0.1, 0.02
"""Of limited time: the share for general questions before training and again behind it, for answers that the page shows, and for those by
which a loaded run is told; the share for an answer in the log."""


class Aloud:
    """The answers of a model that is still being worked on."""

    def __init__(self, task: Task, model: nn.Module, minutes: float):
        self.task, self.model, self.limit = task, model, 60 * minutes
        self.tokens = 0
        """Most tokens of an answer to a general question; 0: as many as the recipe says."""
        self.token_seconds = 0.0

    def answers(self, rows: Table, tokens: int = 0) -> list[str]:
        """What it answers to these rows, each in so many tokens at most; computed where its weights are."""
        execution = answering(self.model).on(next((str(weight.device) for weight in self.model.parameters()), "cpu"))
        with limited(self.task, tokens):
            told = list(map(str, Predictor(self.task, self.model.eval(), execution).answers(rows)["prediction"]))
        self.model.train()
        return told

    def timed(self, rows: Table) -> float:
        """Seconds that an answer takes, at most."""
        for tokens in (1, TRIED):  # the first one chooses kernels
            start = time.monotonic()
            self.answers(rows, tokens)
            self.token_seconds = (time.monotonic() - start) / (tokens + 1)  # the prompt is read as well
            if self.token_seconds > 0.5 * SHARE * self.limit:
                break
        return self.token_seconds * self.most

    @property
    def most(self) -> int:
        """Tokens of an answer, at most."""
        return self.task.sampling.new_tokens if isinstance(self.task, Writer) else 1

    def room(self, answers: int, share: float = SHARE) -> int:
        """Tokens for which there is time where so many are written; 0: as many as the recipe says."""
        if not self.limit or not self.token_seconds:
            return 0
        found = int(share * self.limit / (self.token_seconds * TOGETHER * max(1.0, answers / ASKED)))
        return 0 if found >= self.most else max(SHORTEST, found)

    def affordable(self, most: int) -> int:
        """How many whole answers there is time for, at most so many; one at least, unless it alone takes longer than the training."""
        whole = self.token_seconds * self.most if self.limit else 0.0
        return max(int(whole <= self.limit), min(most, int(SHARE * self.limit / whole))) if whole else most

    def shown(self, predictor: Predictor, rows: Table) -> dict[str, list[Any]]:
        """What it answers to rows that a page shows."""
        with limited(self.task, self.room(len(rows))):
            return predictor.answers(rows)

    def sample(self, rows: Table) -> dict[str, str]:
        """Its answer to a row, for the log; none where that takes too much of limited time."""
        if self.limit and (self.token_seconds * self.most or self.timed(rows)) > SAMPLING * self.limit:
            return {}
        return {"sample": self.answers(rows)[0]}

    def before(self, probes: Table, reporter: Reporter) -> list[str]:
        """Its answers to general questions, to as many as there is time for."""
        start, count = time.monotonic(), len(probes)
        if self.limit:
            self.timed(probes.take(np.arange(1)))
            waves = SHARE * self.limit / max(1e-9, self.token_seconds * TOGETHER * self.most)
            self.tokens = self.room(ASKED)
            hurried = self.token_seconds * TOGETHER * SHORTEST > SHARE * self.limit
            count = 1 if hurried else min(count, ASKED * max(1, int(waves)))
        told = self.answers(probes.take(np.arange(count)), self.tokens)
        reporter.say(tr("{count} general questions were answered in {seconds:.0f} s; they are asked again when it has learned.",
                        count=len(told), seconds=time.monotonic() - start))  # fmt: skip
        return told


@contextmanager
def limited(task: Task, tokens: int) -> Iterator[None]:
    """Within, an answer of a task that writes has no more tokens; 0: as many as its recipe says."""
    if not tokens or not isinstance(task, Writer):
        yield
        return
    config = task.config  # type: ignore[attr-defined]
    short = dataclasses.replace(config.sampling, new_tokens=min(tokens, config.sampling.new_tokens))
    task.config = dataclasses.replace(config, sampling=short)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        task.config = config  # type: ignore[attr-defined]
