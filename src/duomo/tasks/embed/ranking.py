"""How well each text finds its partner among all partners, and what a model must beat at it.

Legend: N pairs, D width of a vector.
"""

from collections.abc import Callable
from typing import Any, final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.data.baselines.classical import tfidf, tfidf_letters

Texts = Callable[[Table], tuple[list[str], list[str]]]
BLOCK, EQUAL = 1024, 1e-6


def ranks(source: Any, target: Any) -> np.ndarray:
    """(N,) place of row i's own target among all targets by the product of vectors (N, D), from 1; of equal ones the middle of their
    places, so that vectors that tell nothing win nothing."""
    found = np.ones(source.shape[0])
    for start in range(0, source.shape[0], BLOCK):
        near = source[start : start + BLOCK] @ target.T
        near_BN = np.asarray(near.todense()) if not isinstance(near, np.ndarray) else near
        own_B = near_BN[np.arange(len(near_BN)), start + np.arange(len(near_BN))]
        more_BN = near_BN - own_B[:, None]
        found[start : start + BLOCK] = ((more_BN > -EQUAL).sum(1) + (more_BN > EQUAL).sum(1) + 1) / 2
    return found


def figures(rank_N: np.ndarray) -> dict[str, float]:
    """Recall at 1 and 10, and the mean of 1 / rank."""
    rank_N = rank_N.astype(np.float64)
    if not len(rank_N):
        return {"mrr": 0.0, "recall_1": 0.0, "recall_10": 0.0}
    return {"mrr": float((1 / rank_N).mean()), "recall_1": float((rank_N <= 1).mean()), "recall_10": float((rank_N <= 10).mean())}


@final
class Chance(Baseline):
    """Partners in an order drawn at random."""

    name = "a random order"

    def evidence(self, test: Table) -> Evidence:
        return {"rank": np.random.default_rng(0).integers(1, len(test) + 1, len(test))}


@final
class Tfidf(Baseline):
    """Cosine of TF-IDF: words and pairs of words (of Chinese characters 1 to 3), or two to five letters within words, which share them
    with their other forms."""

    def __init__(self, texts: Texts, letters: bool = False):
        self.name = "TF-IDF cosine, letters" if letters else "TF-IDF cosine"
        self._texts, self._letters = texts, letters
        self._vectors: Any = None

    def fit(self, train: Table) -> None:
        source, target = self._texts(train)
        self._vectors = (tfidf_letters if self._letters else tfidf)([*source, *target])

    def evidence(self, test: Table) -> Evidence:
        source, target = (self._vectors.transform(some) for some in self._texts(test))
        return {"rank": ranks(source, target)}
