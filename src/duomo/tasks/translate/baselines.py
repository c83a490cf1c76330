"""What a translator must beat: the source copied, and a translation memory."""

from collections.abc import Callable
from typing import final

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.data.baselines.memory import Memory

Texts = Callable[[Table], tuple[list[str], list[str]]]
"""Sources and targets of a table."""
Judge = Callable[[list[str], list[str]], Evidence]
"""From what is told and what is true to evidence."""


@final
class Copy(Baseline):
    """The source as it is: names, numbers and marks are right."""

    name = "the source copied"

    def __init__(self, texts: Texts, judge: Judge):
        self._texts, self._judge = texts, judge

    def evidence(self, test: Table) -> Evidence:
        return self._judge(*self._texts(test))


@final
class Nearest(Baseline):
    """The translation of the training text that is most similar by character n-grams."""

    name = "translation memory (nearest by character n-grams)"

    def __init__(self, texts: Texts, judge: Judge):
        self._texts, self._judge = texts, judge
        self._memory, self._targets = Memory([]), list[str]()

    def fit(self, train: Table) -> None:
        sources, self._targets = self._texts(train)
        self._memory = Memory(sources)

    def evidence(self, test: Table) -> Evidence:
        sources, truth = self._texts(test)
        places, _ = self._memory.nearest(sources)
        return self._judge([self._targets[place] if place >= 0 else "" for place in places.tolist()], truth)
