"""What a model is told of each token: the token, its neighbours, its beginning, its end, its shape; each a number of a vocabulary.

0 is padding, 1 what training never saw, or not often enough. Legend: M tokens of all rows end to end.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, final

import numpy as np
import torch

from duomo.core.contract import Field
from duomo.core.tensors import Column, Ragged

FEWEST = {"token": 2, "pair": 2, "triple": 3, "start": 3, "end": 3, "shape": 3}
"""Times that a value must occur in training to get a number of its own."""
MOST = {"token": 30_000, "pair": 60_000, "triple": 60_000, "start": 8_000, "end": 8_000, "shape": 200}
FIRST = 2
WIDTH = 20
"""Bits of a token's number inside the number of a pair or triple."""
DIGITS = re.compile(r"\d")
SHAPES = ((re.compile(r"[A-Z\u00c0-\u00de]+"), "X"), (re.compile(r"[^\WX\d_]+"), "x"), (re.compile(r"\d+"), "0"))
PARTS: dict[str, Callable[[str], str]] = {
    "start": lambda token: token[:3].lower(),
    "end": lambda token: token[-3:].lower(),
    "shape": lambda token: shape(token),
}
"""Of words, not of characters."""


def shape(token: str) -> str:
    """Runs of capitals, other letters and digits as X, x and 0, at most eight signs: `U.S.` is `X.X.`."""
    for pattern, sign in SHAPES:
        token = pattern.sub(sign, token)
    return token[:8]


def plain(token: str) -> str:
    """Lower case, every digit a 0."""
    return DIGITS.sub("0", token.lower())


@final
class Features:
    """Vocabularies of single characters (token, pair, triple) or of words (token, pair, start, end, shape)."""

    def __init__(self) -> None:
        self.words: dict[str, dict[str, int]] = {}
        self.grams: dict[str, np.ndarray] = {}

    def fit(self, rows: Sequence[Sequence[str]], characters: bool) -> None:
        flat = list(chain.from_iterable(rows))
        self.words = {"token": _frequent(Counter(map(plain, flat)), "token")}
        for name, part in {} if characters else PARTS.items():
            self.words[name] = _frequent(Counter(map(part, flat)), name)
        self.grams = {}
        for name, keys_M in self._keys(rows, ("pair", "triple") if characters else ("pair",)).items():
            found, counts = np.unique(keys_M, return_counts=True)
            often = np.flatnonzero(counts >= FEWEST[name])
            self.grams[name] = np.sort(found[often[np.argsort(-counts[often], kind="stable")[: MOST[name]]]])

    def state(self) -> dict[str, Any]:
        words = {name: list(known) for name, known in self.words.items()}
        return {"words": words, "grams": {name: keys.tolist() for name, keys in self.grams.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.words = {name: {word: place for place, word in enumerate(known, FIRST)} for name, known in state["words"].items()}
        self.grams = {name: np.array(keys, np.int64) for name, keys in state["grams"].items()}

    def fields(self, longest: int) -> dict[str, Field]:
        sizes = {name: len(known) for name, known in self.words.items()} | {name: len(known) for name, known in self.grams.items()}
        return {name: Field("tokens", (longest,), (size + FIRST,)) for name, size in sizes.items()}

    def encode(self, rows: Sequence[Sequence[str]]) -> dict[str, Column]:
        """Every feature of every token; a row without tokens has one unknown."""
        filled = [row or ["\0"] for row in rows]
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum([len(row) for row in filled], dtype=np.int64)]))
        flat = list(chain.from_iterable(filled))
        found = {name: _numbers(flat, PARTS.get(name, plain), known) for name, known in self.words.items()}
        for name, keys_M in self._keys(filled, tuple(self.grams)).items():
            known_K = self.grams[name]
            place_M = np.searchsorted(known_K, keys_M)
            hit_M = known_K[np.minimum(place_M, len(known_K) - 1)] == keys_M if len(known_K) else np.zeros(len(keys_M), bool)
            found[name] = np.where(hit_M, place_M + FIRST, 1).astype(np.int32)
        return {name: Ragged(torch.from_numpy(numbers), offsets) for name, numbers in found.items()}

    def _keys(self, rows: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, np.ndarray]:
        """(M,) a token with the next one, and with the one before; 0 stands beyond the ends of a row."""
        number_M = _numbers(list(chain.from_iterable(rows)), plain, self.words["token"]).astype(np.int64)
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
        after_M, before_M = np.append(number_M[1:], 0), np.append(0, number_M)[: len(number_M)]
        after_M[ends[ends > 0] - 1] = 0
        before_M[ends[ends < len(number_M)]] = 0
        pair_M = number_M << WIDTH | after_M
        return {name: pair_M if name == "pair" else before_M << 2 * WIDTH | pair_M for name in names}


def _frequent(counts: Counter[str], name: str) -> dict[str, int]:
    words = sorted((word for word, count in counts.items() if count >= FEWEST[name]), key=lambda word: (-counts[word], word))
    return {word: place for place, word in enumerate(words[: MOST[name]], FIRST)}


def _numbers(flat: Sequence[str], part: Callable[[str], str], known: Mapping[str, int]) -> np.ndarray:
    """(M,) int32, looked up once for each different token."""
    numbers = {token: known.get(part(token), 1) for token in set(flat)}
    return np.fromiter((numbers[token] for token in flat), np.int32, len(flat))
