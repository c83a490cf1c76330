"""Transcripts as they are learned and judged: normalised, taken apart into characters, compared.

Legend: N rows.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from duomo.core.contract import Evidence

Normalise = Literal["spoken", "exact"]
APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2018": "'", "\u2010": "-", "\u2011": "-"})
LOOSE = re.compile(r"(?<!\w)['-]+|['-]+(?!\w)")


def normalise(text: str, how: Normalise) -> str:
    """NFC with single spaces; `spoken` also lower case, and no punctuation but apostrophes and hyphens inside words."""
    text = unicodedata.normalize("NFC", text)
    if how == "spoken":
        text = unicodedata.normalize("NFC", text.lower()).translate(APOSTROPHES)
        text = "".join(" " if unicodedata.category(c).startswith(("P", "C")) and c not in "'-" else c for c in text)
        text = LOOSE.sub(" ", text)
    return " ".join(text.split())


def distance(one: Sequence[Any], two: Sequence[Any]) -> int:
    """Levenshtein (1966): the least insertions, deletions and substitutions that turn one sequence into the other.

    A row of the table is two vector operations: an insertion costs one for each step to the right, so that subtracting the
    place turns the running sum into a running minimum.
    """
    if not len(one) or not len(two):
        return max(len(one), len(two))
    numbers = {item: place for place, item in enumerate({**dict.fromkeys(one), **dict.fromkeys(two)})}
    b = np.array([numbers[item] for item in two])
    place = np.arange(len(b) + 1)
    row = place.copy()
    for count, item in enumerate(one, 1):
        best = np.minimum(row[:-1] + (b != numbers[item]), row[1:] + 1)
        row = np.minimum.accumulate(np.concatenate([[count], best]) - place) + place
    return int(row[-1])


def facts(truth: Sequence[str], prediction: Sequence[str]) -> Evidence:
    """For each row: edits and characters, word edits and words of the reference (N,) int64."""
    rows = [
        (distance(a, b), len(a), distance(a.split(), b.split()), len(a.split())) for a, b in zip(truth, prediction, strict=True)
    ]  # fmt: skip
    table = np.array(rows, np.int64).reshape(-1, 4)
    return dict(zip(("edits", "characters", "word_edits", "words"), table.T.copy(), strict=True))


def as_objects(items: Sequence[Any]) -> np.ndarray:
    """(N,) objects, however much they look like arrays."""
    found = np.empty(len(items), object)
    for place, item in enumerate(items):
        found[place] = item
    return found
