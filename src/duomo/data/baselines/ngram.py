"""The statistical language model: interpolated Kneser–Ney with three discounts an order (Chen and Goodman, 1998, eq. 4.21–4.26).

    P_n(w | h) = max(c(hw) - D(c(hw)), 0) / c(h·)  +  γ(h) · P_{n-1}(w | h')      h' = h without its oldest token
    γ(h) = (D1·N1(h·) + D2·N2(h·) + D3·N3+(h·)) / c(h·)

The highest order counts occurrences, the lower ones in how many different contexts a gram continues. Tables are sorted
arrays, looked up by binary search: no gram is a Python object. Legend: M positions, G grams of one order, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table

MOST = 6_000_000
"""Tokens that are counted at most; the first ones."""


@dataclass(frozen=True)
class Order:
    """Grams of one order: keys (G,) = context number * V + token, sorted; what a context passes on, by context number."""

    keys: np.ndarray
    counts: np.ndarray
    """(G,)"""
    discounted: np.ndarray
    """(G,) max(c - D, 0) / c(h·)"""
    passed: np.ndarray
    """(contexts,) γ(h)"""
    totals: np.ndarray
    """(contexts,) c(h·)"""


class KneserNey:
    """Fitted on one stream of token numbers (M,); `order` tokens a gram."""

    def __init__(self, order: int, vocabulary: int):
        self.order, self.vocabulary = order, vocabulary
        self.orders: list[Order] = []
        self._keys: list[np.ndarray] = []

    def fit(self, tokens: np.ndarray) -> None:
        tokens = tokens[:MOST].astype(np.int64)
        self._keys, numbers = [], [np.zeros(len(tokens) + 1, np.int32)]
        for length in range(1, self.order + 1):
            context = numbers[-1][: len(tokens) - length + 1].astype(np.int64)
            keys, inverse = np.unique(context * self.vocabulary + tokens[length - 1 :], return_inverse=True)
            self._keys.append(keys)
            numbers.append(inverse.astype(np.int32))
        self.orders = [self._count(length, numbers) for length in range(1, self.order + 1)]

    def _count(self, length: int, numbers: list[np.ndarray]) -> Order:
        keys = self._keys[length - 1]
        if length == self.order:
            counts = np.bincount(numbers[length], minlength=len(keys))
        else:  # in how many contexts: the distinct grams one longer, reduced to their last `length` tokens
            longer = numbers[length + 1]
            first = np.unique(longer, return_index=True)[1]
            counts = np.bincount(numbers[length][1:][first], minlength=len(keys))
        counts = np.maximum(counts, 1)
        context = keys // self.vocabulary
        size = int(context.max()) + 1
        totals = np.bincount(context, counts, minlength=size)
        discounts = _discounts(counts)
        taken = discounts[np.minimum(counts, 3)]
        passed = np.where(totals > 0, np.bincount(context, taken, minlength=size) / np.maximum(totals, 1), 1.0)
        shares = ((counts - taken) / totals[context]).astype(np.float32)
        return Order(keys, counts.astype(np.int32), shares, passed.astype(np.float32), totals.astype(np.float32))

    def thin(self, most: int) -> bool:
        """Leave out grams met once, of the longest orders first and those that say least, until there are `most`; whether that was enough.

        What they stood for is passed on. A gram stays where a longer one begins with it.
        """
        for length in range(self.order, 1, -1):
            spare = sum(len(order.keys) for order in self.orders) - most
            if spare <= 0:
                break
            order = self.orders[length - 1]
            kept = order.counts > 1
            if length < self.order:
                kept[np.unique(self.orders[length].keys // self.vocabulary)] = True
            once = np.flatnonzero(~kept)
            kept[once[np.argsort(order.discounted[once], kind="stable")[spare:]]] = True
            self._leave(length, kept)
        return sum(len(order.keys) for order in self.orders) <= most

    def _leave(self, length: int, kept: np.ndarray) -> None:
        """Only these grams (G,) of one order stay, renumbered as contexts of the next."""
        order = self.orders[length - 1]
        keys, discounted = order.keys[kept], order.discounted[kept]
        passed = (1 - np.bincount(keys // self.vocabulary, discounted, minlength=len(order.passed))).astype(np.float32)
        self.orders[length - 1] = Order(keys, order.counts[kept], discounted, passed, order.totals)
        self._keys[length - 1] = keys
        if length < self.order:
            longer, number = self.orders[length], np.cumsum(kept) - 1
            renumbered = number[longer.keys // self.vocabulary] * self.vocabulary + longer.keys % self.vocabulary
            contexts = np.flatnonzero(kept[: len(longer.passed)])
            self.orders[length] = Order(renumbered, longer.counts, longer.discounted, longer.passed[contexts], longer.totals[contexts])
            self._keys[length] = renumbered

    def log_probability(self, tokens: np.ndarray) -> np.ndarray:
        """(M,) natural logarithms: each token given the `order` - 1 before it."""
        tokens = tokens.astype(np.int64)
        result = np.zeros(len(tokens))
        for start in range(0, len(tokens), 1 << 20):
            before = max(0, start - self.order + 1)
            piece = tokens[before : start + (1 << 20)]
            result[start : start + (1 << 20)] = self._piece(piece)[start - before :]
        return result

    def _piece(self, tokens: np.ndarray) -> np.ndarray:
        probability = np.full(len(tokens), 1.0 / self.vocabulary)
        for length in range(1, self.order + 1):
            context = self._context(tokens, length)
            known = context >= 0
            order = self.orders[length - 1]
            keys = context * self.vocabulary + tokens
            place = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            found = known & (order.keys[place] == keys)
            inside = np.minimum(np.maximum(context, 0), len(order.passed) - 1)
            known &= context < len(order.passed)
            mixed = np.where(found, order.discounted[place], 0.0) + order.passed[inside] * probability
            probability = np.where(known, mixed, probability)
        return np.log(probability)

    def _context(self, tokens: np.ndarray, length: int) -> np.ndarray:
        """(M,) number of the `length` - 1 tokens before each position; -1 where they were never seen."""
        number = np.zeros(len(tokens), np.int64)
        for step in range(1, length):
            back = np.full(len(tokens), -1, np.int64)
            back[length - step :] = tokens[: len(tokens) - (length - step)]
            keys = self._keys[step - 1]
            wanted = number * self.vocabulary + back
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            number = np.where((number >= 0) & (back >= 0) & (keys[place] == wanted), place, -1)
        return number


def _discounts(counts: np.ndarray) -> np.ndarray:
    """(4,) D(0) = 0, D1, D2, D3+ from the counts of counts."""
    n1, n2, n3, n4 = (max(1, int((counts == k).sum())) for k in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return np.clip(found, [0, 0.05, 0.05, 0.05], [0, 0.95, 1.9, 2.9])


Stream = Callable[[Table], np.ndarray]
"""A table's texts end to end as numbers of tokens (M,)."""


@final
class Ngrams(Baseline):
    """What a language model must beat: how frequent each token is (order 1), and the n-gram model, on the same tokens and windows."""

    def __init__(self, order: int, vocabulary: int, lessons: Stream, stream: Stream, facts: Callable[[Table, np.ndarray], Evidence]):
        """`lessons` are learned from; `facts` makes evidence of the nats (M,) of `stream`."""
        self.name = "token frequency" if order == 1 else f"{order}-gram Kneser–Ney"
        self._model, self._lessons, self._stream, self._facts = KneserNey(order, vocabulary), lessons, stream, facts

    def fit(self, train: Table) -> None:
        self._model.fit(self._lessons(train))

    def evidence(self, test: Table) -> Evidence:
        return self._facts(test, -self._model.log_probability(self._stream(test)))
