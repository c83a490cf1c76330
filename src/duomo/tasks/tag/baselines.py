"""What a tagger must beat: the most frequent tag of each token, and logistic regression on the tokens around it.

Legend: M tokens of all rows, F features, C classes.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.core.tensors import Ragged
from duomo.tasks.tag.features import FIRST, Features

WINDOW = (-2, -1, 0, 1, 2)
PASSES = 5


class Truth(NamedTuple):
    """Rows of tokens, and the class of each token (M,), row after row; -1 where training never saw it."""

    rows: Sequence[Sequence[str]]
    classes_M: np.ndarray


Read = Callable[[Table], Truth]
Judge = Callable[[Table, np.ndarray], Evidence]
"""From log-probabilities (M, C) to evidence, through the task's own decoding."""


@final
class Frequent(Baseline):
    """Each token's most frequent tag; the most frequent of all for an unknown one."""

    name = "most frequent tag of each token"

    def __init__(self, size: int, read: Read, judge: Judge):
        self._size, self._read, self._judge = size, read, judge
        self._counts: dict[str, np.ndarray] = {}
        self._all_C = np.zeros(size)

    def fit(self, train: Table) -> None:
        truth = self._read(train)
        tokens = [token for row in truth.rows for token in row]
        for token, number in zip(tokens, truth.classes_M.tolist(), strict=True):
            if number >= 0:
                self._counts.setdefault(token, np.zeros(self._size))[number] += 1
                self._all_C[number] += 1

    def evidence(self, test: Table) -> Evidence:
        tokens = [token for row in self._read(test).rows for token in row]
        counts_MC = np.array([self._counts.get(token, self._all_C) for token in tokens]).reshape(-1, self._size)
        return self._judge(test, np.log(np.maximum(counts_MC / np.maximum(counts_MC.sum(1, keepdims=True), 1), 1e-6)))


@final
class Linear(Baseline):
    """Logistic regression (by stochastic gradient) on the features of the two tokens before and after; the same decoding as the model."""

    name = "logistic regression on token windows"

    def __init__(self, size: int, features: Features, read: Read, judge: Judge):
        self._size, self._features, self._read, self._judge = size, features, read, judge
        self._model: Any = None

    def fit(self, train: Table) -> None:
        from sklearn.linear_model import SGDClassifier

        truth = self._read(train)
        known_M = truth.classes_M >= 0
        self._model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=PASSES, tol=None, random_state=0)
        self._model.fit(self._matrix(truth.rows)[known_M], truth.classes_M[known_M])

    def _matrix(self, rows: Sequence[Sequence[str]]) -> Any:
        from scipy import sparse

        columns = self._features.encode(rows)
        sizes = {name: field.vocabulary[0] for name, field in self._features.fields(1).items()}
        blocks, start = [], 0
        for name, column in columns.items():
            assert isinstance(column, Ragged)
            numbers_M, offsets = column.values.numpy(), column.offsets.numpy()
            row_M = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
            for shift in WINDOW:
                place_M = np.clip(np.arange(len(numbers_M)) + shift, 0, len(numbers_M) - 1)
                same_M = (row_M[place_M] == row_M) & (np.arange(len(numbers_M)) + shift == place_M)
                blocks.append(np.where(same_M, numbers_M[place_M], 0) + start)
                start += sizes[name]
        index_MF = np.stack(blocks, axis=1)
        full = np.ones(index_MF.size, np.float32)
        pointers = np.arange(0, index_MF.size + 1, index_MF.shape[1])
        found = sparse.csr_matrix((full, index_MF.reshape(-1), pointers), shape=(len(index_MF), start + FIRST))
        empty = np.concatenate([np.zeros(0, bool), *(np.full(max(1, len(row)), not row) for row in rows)])
        return found[~empty]

    def evidence(self, test: Table) -> Evidence:
        p_MK = self._model.predict_proba(self._matrix(self._read(test).rows))
        p_MC = np.full((len(p_MK), self._size), 1e-6)
        p_MC[:, self._model.classes_] = np.maximum(p_MK, 1e-6)
        return self._judge(test, np.log(p_MC))
