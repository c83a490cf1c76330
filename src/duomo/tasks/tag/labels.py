"""Tags as spans, whatever they were written in; spans as classes of tokens; the best sequence of classes that makes sense.

Spans are read as seqeval and conlleval read them (Tjong Kim Sang and De Meulder 2003): also from tags that break their own rules.
Legend: B rows, T tokens, C classes.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, final

import numpy as np

PREFIXES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
"""What each letter means: beginning, inside, end, single (BIOES, BILOU, BMES)."""
TYPED = re.compile(r"([BIMELSUW])[-_](.+)", re.DOTALL)
NEVER = -1e4


class Span(NamedTuple):
    """Tokens from `start` up to, not including, `stop`."""

    start: int
    stop: int
    type: str


@lru_cache(maxsize=4096)
def cut(tag: str) -> tuple[str, str]:
    """(B, I, E, S or O, type) of a tag; a bare letter has the empty type."""
    found = TYPED.fullmatch(tag)
    if found:
        return PREFIXES[found[1]], found[2]
    return PREFIXES.get(tag, "O"), ""


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans that tags of any scheme mean, in order."""
    found: list[Span] = []
    if not any(tag != "O" for tag in tags):
        return found
    start, before, type_before = 0, "O", ""
    for place, tag in enumerate([*tags, "O"]):
        letter, kind = cut(tag)
        breaks = letter in "BSO" or before in "ES" or kind != type_before
        if before != "O" and breaks:
            found.append(Span(start, place, type_before))
        if letter != "O" and (before == "O" or breaks):
            start = place
        before, type_before = letter, kind
    return found


@final
class Scheme:
    """The classes of tokens: for spans O and B, I, E, S of each type; for other tags the tags themselves.

    `written` is how tags were written in training and are answered: "" for tags without spans, else the letters in use.
    """

    def __init__(self, types: Sequence[str], written: str):
        self.types, self.written = list(types), written
        letters = [f"{letter}-{kind}" for kind in types for letter in "BIES"]
        self.classes = ["O", *letters] if written else list(types)
        self._number = {name: place for place, name in enumerate(self.classes)}

    @staticmethod
    def find(rows: Sequence[Sequence[str]]) -> "Scheme":
        """The scheme of training tags."""
        tags = sorted({tag for row in rows for tag in row})
        bare = set(tags) <= {*PREFIXES, "O"} and len(tags) > 1
        if not tags or not (bare or all(tag == "O" or TYPED.fullmatch(tag) for tag in tags)):
            return Scheme(tags, "")
        letters = "".join(sorted({tag[0] for tag in tags}))
        first = any(cut(tag)[0] == "I" and (not place or row[place - 1] == "O") for row in rows for place, tag in enumerate(row))
        return Scheme(sorted({cut(tag)[1] for tag in tags if tag != "O"}), "IOB1" if set(letters) <= set("BIO") and first else letters)

    def state(self) -> dict[str, Any]:
        return {"types": self.types, "written": self.written}

    @property
    def starts(self) -> np.ndarray:
        """bool (C,): classes that a text may begin with."""
        return np.array([not self.written or name[0] in "OBS" for name in self.classes])

    @property
    def stops(self) -> np.ndarray:
        """bool (C,): classes that a text may end with."""
        return np.array([not self.written or name[0] in "OES" for name in self.classes])

    @property
    def follows(self) -> np.ndarray:
        """bool (C, C): whether the second class may come after the first."""
        if not self.written:
            return np.ones((len(self.classes), len(self.classes)), bool)
        return np.array([[_follows(one, two) for two in self.classes] for one in self.classes])

    def encode(self, tags: Sequence[str]) -> np.ndarray:
        """(T,) int16 classes; len(classes) for what training never saw. Runs of before know the number 1 as "1.0"."""
        unseen = len(self.classes)
        if not self.written:
            return np.array([self._number.get(tag, self._number.get(f"{tag}.0", unseen)) for tag in tags], np.int16)
        found = np.zeros(len(tags), np.int16)
        for start, stop, kind in spans_of(tags):
            names = [f"S-{kind}"] if stop == start + 1 else [f"B-{kind}", *[f"I-{kind}"] * (stop - start - 2), f"E-{kind}"]
            found[start:stop] = [self._number.get(name, unseen) for name in names]
        return found

    def spans(self, classes_T: np.ndarray) -> list[Span]:
        """Spans of classes as `encode` and `viterbi` give them; unseen ones have the type "?"."""
        found: list[Span] = []
        start = 0
        for place in np.flatnonzero(classes_T).tolist():
            number = int(classes_T[place])
            if number == len(self.classes):
                goes_on = found and found[-1].stop == place and found[-1].type == "?"
                found.append(Span(found.pop().start if goes_on else place, place + 1, "?"))
                continue
            letter, kind = self.classes[number][0], self.classes[number][2:]
            start = place if letter in "BS" else start
            if letter in "ES":
                found.append(Span(start, place + 1, kind))
        return found

    def tags(self, classes_T: np.ndarray) -> list[str]:
        """Classes as tags in the scheme of the training data."""
        if not self.written:
            return [self.classes[number] for number in classes_T.tolist()]
        found = ["O"] * len(classes_T)
        last = Span(-1, -1, "")
        inside, end, single = self._letters()
        for span in self.spans(classes_T):
            beside = last.stop == span.start and last.type == span.type
            begin = "B" if self.written != "IOB1" or beside else "I"
            letters = [begin, *[inside] * (span.stop - span.start - 1)]
            if end and len(letters) > 1:
                letters[-1] = end
            if single and len(letters) == 1:
                letters[0] = single
            found[span.start : span.stop] = [f"{letter}-{span.type}" if span.type else letter for letter in letters]
            last = span
        return found

    def _letters(self) -> tuple[str, str, str]:
        """How this scheme writes the inside, the end and the single token; empty where it has no letter for it."""
        written = "" if self.written == "IOB1" else self.written
        return (
            "M" if "M" in written else "I",
            next((letter for letter in "EL" if letter in written), ""),
            next((letter for letter in "SUW" if letter in written), ""),
        )


def _follows(one: str, two: str) -> bool:
    if one[0] in "BI":
        return two[0] in "IE" and one[1:] == two[1:]
    return two[0] in "OBS"


def transitions(rows: Sequence[np.ndarray], scheme: Scheme) -> np.ndarray:
    """(C, C) log-probabilities of the next class, from counts smoothed by one; what may not follow is NEVER."""
    size = len(scheme.classes)
    counts = np.ones((size, size))
    for row in rows:
        known = (row[:-1] < size) & (row[1:] < size)
        np.add.at(counts, (row[:-1][known], row[1:][known]), 1)
    counts *= scheme.follows
    return np.where(scheme.follows, np.log(np.maximum(counts, 1e-9) / counts.sum(1, keepdims=True)), NEVER)


def viterbi(scores_BTC: np.ndarray, length_B: np.ndarray, moves_CC: np.ndarray, ends: Mapping[str, np.ndarray]) -> np.ndarray:
    """(B, T) the classes with the highest sum of scores and moves, with what `ends` says of the first and the last."""
    B, T, C = scores_BTC.shape
    rows, last_B = np.arange(B), np.maximum(length_B, 1) - 1
    back_TBC = np.zeros((T, B, C), np.int16)
    best_BC = scores_BTC[:, 0] + ends["starts"]
    final_BC = best_BC.copy()
    for step in range(1, T):
        candidates_BCC = best_BC[:, :, None] + moves_CC
        back_TBC[step] = candidates_BCC.argmax(1)
        best_BC = np.take_along_axis(candidates_BCC, back_TBC[step][:, None].astype(np.int64), 1)[:, 0] + scores_BTC[:, step]
        final_BC[last_B == step] = best_BC[last_B == step]
    found_BT = np.zeros((B, T), np.int64)
    now_B = (final_BC + ends["stops"]).argmax(1)
    for step in range(T - 1, -1, -1):
        inside_B = step <= last_B
        found_BT[inside_B, step] = now_B[inside_B]
        if step:
            now_B = np.where(inside_B, back_TBC[step][rows, now_B], now_B)
    return found_BT
