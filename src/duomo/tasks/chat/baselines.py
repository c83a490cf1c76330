"""What a model that answers must beat: the frequency of each token of the answers, and the Kneser–Ney n-gram model of the conversations."""

from collections.abc import Callable
from typing import ClassVar, final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.data.ngram import KneserNey

Stream = Callable[[Table], tuple[np.ndarray, np.ndarray]]
"""All conversations end to end: tokens (M,), and which of them are learned (M,) bool."""
Facts = Callable[[Table, np.ndarray], Evidence]
"""From the nats (M,) of all tokens."""


@final
class Frequency(Baseline):
    """Every token as often as answers have it."""

    name: ClassVar[str] = "token frequency"

    def __init__(self, vocabulary: int, stream: Stream, facts: Facts):
        self._model, self._stream, self._facts = KneserNey(1, vocabulary), stream, facts

    def fit(self, train: Table) -> None:
        tokens, learned = self._stream(train)
        self._model.fit(tokens[learned])

    def evidence(self, test: Table) -> Evidence:
        return self._facts(test, -self._model.log_probability(self._stream(test)[0]))


@final
class Ngram(Baseline):
    """Interpolated Kneser–Ney of order 5 over whole conversations."""

    name: ClassVar[str] = "5-gram Kneser–Ney"

    def __init__(self, vocabulary: int, stream: Stream, facts: Facts):
        self._model, self._stream, self._facts = KneserNey(5, vocabulary), stream, facts

    def fit(self, train: Table) -> None:
        self._model.fit(self._stream(train)[0])

    def evidence(self, test: Table) -> Evidence:
        return self._facts(test, -self._model.log_probability(self._stream(test)[0]))
