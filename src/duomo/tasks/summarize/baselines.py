"""What a summariser must beat: the first sentence, and the first three (hard to beat in news: Nenkova 2005)."""

import re
from collections.abc import Callable
from typing import final

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table

SENTENCE = re.compile(r".+?(?:[.!?]+(?=\s|$)|[。！？।॥؟۔።။។]+[”’」』]?|\n|$)", re.DOTALL)
"""Also the ends of Chinese sentences, the danda, the Arabic question mark, and the full stops of Urdu, Amharic, Burmese and Khmer."""
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


@final
class Lead(Baseline):
    """The first sentences, `count` of them."""

    def __init__(self, count: int, name: str, texts: Texts, judge: Judge):
        self._count, self.name, self._texts, self._judge = count, name, texts, judge

    def evidence(self, test: Table) -> Evidence:
        sources, truth = self._texts(test)
        return self._judge([lead(text, self._count) for text in sources], truth)
