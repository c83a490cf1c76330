"""What a model that fills gaps must beat: the most frequent token, and what the neighbours on both sides say.

    P(w | l, r) ∝ P(w | l) · P(w | r) / P(w)      each factor a bigram with absolute discounting (Ney et al. 1994), 0.75 passed on
A neighbour that is hidden too says nothing. Legend: V vocabulary, M tokens of the training stream, G gaps of a chunk, N windows.
"""

from collections.abc import Callable
from typing import final

import numpy as np
from scipy.sparse import csr_matrix

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.data.baselines.ngram import MOST

DISCOUNT = 0.75
CHUNK = 512
Stream = Callable[[Table], np.ndarray]
Gaps = Callable[[Table], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Shown tokens (N, T), bool where a gap is (N, T), true tokens (N, T)."""
Facts = Callable[[np.ndarray, np.ndarray, np.ndarray], Evidence]
"""From bool (N, T), nats of each gap and whether it was guessed, in the order of the gaps."""


def _unigram(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    counts = np.bincount(tokens, minlength=vocabulary) + 0.1
    return np.asarray(counts / counts.sum())


@final
class Frequency(Baseline):
    """Every token as often as it is."""

    name = "most frequent token"

    def __init__(self, vocabulary: int, stream: Stream, gaps: Gaps, facts: Facts):
        self.vocabulary, self._stream, self._gaps, self._facts = vocabulary, stream, gaps, facts

    def fit(self, train: Table) -> None:
        self._share_V = _unigram(self._stream(train)[:MOST], self.vocabulary)

    def evidence(self, test: Table) -> Evidence:
        _, gap, true = self._gaps(test)
        wanted = true[gap]
        return self._facts(gap, -np.log(self._share_V[wanted]), wanted == self._share_V.argmax())


@final
class Neighbours(Baseline):
    """The token on either side, through two bigram models."""

    name = "bigrams of both sides"

    def __init__(self, vocabulary: int, stream: Stream, gaps: Gaps, facts: Facts):
        self.vocabulary, self._stream, self._gaps, self._facts = vocabulary, stream, gaps, facts

    def fit(self, train: Table) -> None:
        tokens = self._stream(train)[:MOST].astype(np.int64)
        self._share_V = _unigram(tokens, self.vocabulary)
        shape = (self.vocabulary, self.vocabulary)
        pairs = csr_matrix((np.ones(max(0, len(tokens) - 1)), (tokens[:-1], tokens[1:])), shape=shape)
        self._sides = [_discounted(pairs), _discounted(pairs.T.tocsr())]

    def _given(self, side: int, neighbour_G: np.ndarray, known_G: np.ndarray) -> np.ndarray:
        """(G, V) P(w | neighbour) / P(w); one where the neighbour is unknown."""
        kept, passed = self._sides[side]
        found = np.asarray(kept[neighbour_G].toarray()) / self._share_V + passed[neighbour_G][:, None]
        return np.where(known_G[:, None], found, 1.0)

    def evidence(self, test: Table) -> Evidence:
        shown, gap, true = self._gaps(test)
        rows, places = np.nonzero(gap)
        nats, right = np.zeros(len(rows)), np.zeros(len(rows), bool)
        last = shown.shape[1] - 1
        for start in range(0, len(rows), CHUNK):
            row, place = rows[start : start + CHUNK], places[start : start + CHUNK]
            share_GV = np.broadcast_to(self._share_V, (len(row), self.vocabulary)).copy()
            for side, step in enumerate((-1, 1)):
                at = np.clip(place + step, 0, last)
                known = (at != place) & ~gap[row, at]
                share_GV *= self._given(side, shown[row, at], known)
            share_GV /= share_GV.sum(1, keepdims=True)
            wanted = true[row, place]
            nats[start : start + CHUNK] = -np.log(np.maximum(share_GV[np.arange(len(row)), wanted], 1e-300))
            right[start : start + CHUNK] = share_GV.argmax(1) == wanted
        return self._facts(gap, nats, right)


def _discounted(counts: csr_matrix) -> tuple[csr_matrix, np.ndarray]:
    """max(c - D, 0) / c(h) as a sparse matrix, and what each history passes on to P(w); all of it where it was never seen."""
    counts = counts.tocsr()
    counts.sum_duplicates()
    total = np.asarray(counts.sum(1)).ravel()
    kinds = np.diff(counts.indptr)
    kept = counts.copy()
    kept.data = (kept.data - DISCOUNT) / np.repeat(total, kinds)
    return kept, np.where(total > 0, DISCOUNT * kinds / np.maximum(total, 1), 1.0)
