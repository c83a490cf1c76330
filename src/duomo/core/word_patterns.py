"""Words of any script as a regular expression: letters and digits with the marks that combine with them.

Python's `\\w` leaves out combining marks, so that it cuts Hindi and Tamil at vowel signs, vocalised Arabic at every vowel, and a letter
from an accent that is written behind it (NFD).
"""

import unicodedata
from itertools import chain, groupby

_JOINERS = (0x200C, 0x200D)
"""Zero width: they stand inside of Persian, Sinhala and Hindi words (Unicode Standard Annex 29)."""


def _combining() -> str:
    """Combining marks (the categories Mn, Mc, Me) and joiners, as ranges between the brackets of a class."""
    points = (p for p in chain(range(0x300, 0x20000), range(0xE0100, 0xE01F0)) if p in _JOINERS or unicodedata.category(chr(p))[0] == "M")
    runs = (list(run) for _, run in groupby(enumerate(points), lambda pair: pair[1] - pair[0]))
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in runs)


COMBINING = _combining()
CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
SOUTHEAST = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese, Khmer: as in Chinese no space divides words."""


def runs_of(letter: str) -> str:
    """Runs of what a class such as `[^\\W_]` holds, with the marks that stand behind."""
    return rf"{letter}+(?:[{COMBINING}]{letter}*)*"


WORD = runs_of(r"\w")
