"""A memory of texts: which one is most like a new one, by n-grams of characters.

Cosine of log counts weighted by rarity (TF-IDF; Salton and Buckley 1988) over character 4-grams and whole short texts, in a sparse
product with exact answers. Legend: N texts of the memory, Q texts that are looked up, F n-grams.
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

ORDER = 4
BUCKETS = 1 << 20
COMMON = 0.03
"""n-grams in more than this share of the texts (and in more than 50) tell little and cost most."""
BLOCK = 256
LONGEST = 2000
"""Characters of a text that count."""


@final
class Memory:
    """Texts, and the weights of their n-grams; built when first asked."""

    def __init__(self, texts: Sequence[str]):
        self.texts = list(texts)
        self._rarity_F = np.zeros(0)
        self._matrix: Any = None

    def _build(self) -> None:
        counts = _counts(self.texts)
        seen_F = np.bincount(counts.indices, minlength=BUCKETS)
        most = max(50, COMMON * len(self.texts))
        self._rarity_F = np.where((seen_F > 0) & (seen_F <= most), np.log((1 + len(self.texts)) / (1 + seen_F)) + 1, 0.0)
        self._matrix = self._weighted(counts).T.tocsr()

    def _weighted(self, counts: Any) -> Any:
        """Rows of length 1."""
        counts = counts.copy()
        counts.data = (1 + np.log(counts.data)) * self._rarity_F[counts.indices]
        norms = np.sqrt(np.asarray(counts.multiply(counts).sum(1))).reshape(-1)
        counts.data /= np.maximum(np.repeat(norms, np.diff(counts.indptr)), 1e-9)
        counts.eliminate_zeros()
        return counts

    def nearest(self, texts: Sequence[str], without: Sequence[np.ndarray | None] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(Q,) place in the memory and cosine of the most similar text, -1 and 0 where none shares an n-gram.

        `without`: for each text, places of the memory that do not count (a text must not find itself while it is learned from).
        """
        places, scores = np.full(len(texts), -1), np.zeros(len(texts))
        if not self.texts:
            return places, scores
        if self._matrix is None:
            self._build()
        for start in range(0, len(texts), BLOCK):
            found = (self._weighted(_counts(texts[start : start + BLOCK])) @ self._matrix).tocsr()
            for row in range(found.shape[0]):
                begin, end = found.indptr[row], found.indptr[row + 1]
                hits, values = found.indices[begin:end], found.data[begin:end]
                barred = without[start + row] if without is not None else None
                if barred is not None:
                    values = np.where(np.isin(hits, barred), 0.0, values)
                if len(values) and values.max() > 0:
                    # equal scores: the first text of the memory
                    best = values.max()
                    places[start + row], scores[start + row] = hits[values >= best - 1e-9].min(), best
        return places, scores


def _counts(texts: Sequence[str]) -> Any:
    """(Q, F) how often each n-gram occurs; a space stands at both ends of a text."""
    from scipy import sparse

    codes = [np.frombuffer(f" {text[:LONGEST].lower()}  ".encode("utf-32-le", "replace"), np.uint32).astype(np.uint64) for text in texts]
    rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for row, code in enumerate(codes):
        grams = np.zeros(max(1, len(code) - ORDER + 1), np.uint64)
        for shift in range(min(ORDER, len(code))):
            part = code[shift : shift + len(grams)]
            grams[: len(part)] = grams[: len(part)] * np.uint64(0x9E3779B97F4A7C15) + part
        grams ^= grams >> np.uint64(29)
        columns.append((grams % np.uint64(BUCKETS)).astype(np.int64))
        rows.append(np.full(len(grams), row))
    place, column = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.ones(len(place)), (place, column)), shape=(len(texts), BUCKETS))
