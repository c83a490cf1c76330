"""What a summariser must beat: the first sentence, and the first three (hard to beat in news: Nenkova 2005)."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import final

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.data.supervised import is_unspaced

SENTENCE = re.compile(r".+?(?:[.!?]+(?=\s|$)|[。！？।॥؟۔።။។]+[”’」』]?|\n|$)", re.DOTALL)
"""Also the ends of Chinese sentences, the danda, the Arabic question mark, and the full stops of Urdu, Amharic, Burmese and Khmer."""
SHORTENED = re.compile(r"(?:^|[\s(\"'])(?:[a-z]|[b-df-hj-np-tv-xz]{2,4}|(?:[a-z]\.)+[a-z])\.$", re.IGNORECASE)
"""A stop behind a letter alone, letters with stops between them, or a few without a vowel (J., U.S., Mr.) ends no sentence."""
NARROWEST = 40
"""Characters of the longest line at least, where lines are broken because they are full."""
Texts = Callable[[Table], tuple[list[str], list[str]]]
Judge = Callable[[list[str], list[str]], Evidence]


def lead(text: str, count: int) -> str:
    """The first sentences of a text."""
    text, begun = _unbroken(text.strip()), False
    for match in SENTENCE.finditer(text):  # of each piece alone: the text so far would be looked through again and again
        begun = begun or bool(match[0].strip())
        if begun and not SHORTENED.search(match[0]):
            count, begun = count - 1, False
        if not count:
            return text[: match.end()].strip()
    return text


def _unbroken(text: str) -> str:
    """The text without the ends of lines that were broken where they were full: behind which the next word had no room."""
    lines = text.split("\n")
    most = max(map(len, lines))
    if most < NARROWEST:
        return text
    made = [lines[0]]
    for line, after in pairwise(lines):
        gap = "" if is_unspaced([line, after]) else " "
        first = after.split(" ", 1)[0] if gap else after[:1]
        full = bool(line.strip() and first.strip()) and len(line.rstrip() + gap + first) > most
        made.append((gap if full else "\n") + after)
    return "".join(made)


@final
class Lead(Baseline):
    """The first sentences, `count` of them."""

    def __init__(self, count: int, name: str, texts: Texts, judge: Judge):
        self._count, self.name, self._texts, self._judge = count, name, texts, judge

    def evidence(self, test: Table) -> Evidence:
        sources, truth = self._texts(test)
        return self._judge([lead(text, self._count) for text in sources], truth)
