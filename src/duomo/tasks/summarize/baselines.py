"""What a summariser must beat: the first sentence, and the first three (hard to beat in news: Nenkova 2005)."""

import re
from collections.abc import Callable
from typing import ClassVar, final

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table

SENTENCE = re.compile(r".+?(?:[.!?]+(?=\s|$)|[。！？]+[”’」』]?|\n|$)", re.DOTALL)
Texts = Callable[[Table], tuple[list[str], list[str]]]
Judge = Callable[[list[str], list[str]], Evidence]


def lead(text: str, count: int) -> str:
    """The first sentences of a text."""
    found = []
    for match in SENTENCE.finditer(text.strip()):
        if match[0].strip():
            found.append(match[0])
        if len(found) == count:
            break
    return "".join(found).strip()


class _Lead:
    def __init__(self, count: int, texts: Texts, judge: Judge):
        self._count, self._texts, self._judge = count, texts, judge

    def evidence(self, test: Table) -> Evidence:
        sources, truth = self._texts(test)
        return self._judge([lead(text, self._count) for text in sources], truth)


@final
class First(Baseline):
    """The first sentence."""

    name: ClassVar[str] = "first sentence"

    def __init__(self, texts: Texts, judge: Judge):
        self._lead = _Lead(1, texts, judge)

    def fit(self, train: Table) -> None:
        return

    def evidence(self, test: Table) -> Evidence:
        return self._lead.evidence(test)


@final
class LeadThree(Baseline):
    """The first three sentences."""

    name: ClassVar[str] = "lead-3 (first three sentences)"

    def __init__(self, texts: Texts, judge: Judge):
        self._lead = _Lead(3, texts, judge)

    def fit(self, train: Table) -> None:
        return

    def evidence(self, test: Table) -> Evidence:
        return self._lead.evidence(test)
