"""What a language model must beat: the frequency of each token, and the Kneser–Ney n-gram model on the same tokens."""

from collections.abc import Callable
from typing import ClassVar, final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.data.ngram import KneserNey

Stream = Callable[[Table], np.ndarray]
Facts = Callable[[Table, np.ndarray], Evidence]


class _Counted:
    """An n-gram model behind the task's own tokens and windows."""

    def __init__(self, order: int, vocabulary: int, stream: Stream, facts: Facts):
        self._model, self._stream, self._facts = KneserNey(order, vocabulary), stream, facts

    def fit(self, train: Table) -> None:
        self._model.fit(self._stream(train))

    def evidence(self, test: Table) -> Evidence:
        return self._facts(test, -self._model.log_probability(self._stream(test)))


@final
class Frequency(Baseline):
    """Every token as often as it is, whatever stood before."""

    name: ClassVar[str] = "token frequency"

    def __init__(self, vocabulary: int, stream: Stream, facts: Facts):
        self._counted = _Counted(1, vocabulary, stream, facts)

    def fit(self, train: Table) -> None:
        self._counted.fit(train)

    def evidence(self, test: Table) -> Evidence:
        return self._counted.evidence(test)


@final
class Ngram(Baseline):
    """Interpolated Kneser–Ney of order 5."""

    name: ClassVar[str] = "5-gram Kneser–Ney"

    def __init__(self, vocabulary: int, stream: Stream, facts: Facts):
        self._counted = _Counted(5, vocabulary, stream, facts)

    def fit(self, train: Table) -> None:
        self._counted.fit(train)

    def evidence(self, test: Table) -> Evidence:
        return self._counted.evidence(test)
