"""What a classifier must beat: the class frequencies, and a classical model on the same rows. Deterministic.

scikit-learn is imported when a baseline is fitted. Caps on rows and settings are stated in the README.
Legend: N rows, C classes of one head, K heads.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.data.baselines.classical import LinearMatrix, TreeMatrix, at_rows, grown, in_time, is_flat, sample_rows
from duomo.tasks.classify.labels import Labels

TREE_ROWS, TEXT_ROWS, DENSE_ROWS = 100_000, 50_000, 20_000
STRENGTHS = (0.03, 0.3, 1.0, 3.0, 10.0, 30.0)
INNER_ROWS = 4000
FLOOR = 1e-7

Fit = Callable[[Any, np.ndarray, float], Any]
"""Features, classes, and when it may end with TimeoutError."""


def _evidence(labels: Labels, p_NS: np.ndarray, table: Table) -> Evidence:
    target, unseen = labels.encode(table)
    found = {"probabilities": p_NS.astype(np.float32), "target": target}
    return found if unseen is None else found | {"unseen": unseen}


@final
class Prior(Baseline):
    """Every row gets the class frequencies of the training rows."""

    name = "most frequent class"

    def __init__(self, labels: Labels):
        self.labels = labels
        self._p_S = np.zeros(0)

    def fit(self, train: Table) -> None:
        target, _ = self.labels.encode(train)
        if self.labels.lists:
            self._p_S = (target == 1).sum(axis=0) / np.maximum((target >= 0).sum(axis=0), 1)
            return
        heads = target.reshape(len(target), -1).T
        counts = [np.bincount(head[head >= 0], minlength=size) for head, size in zip(heads, self.labels.parts, strict=True)]
        self._p_S = np.concatenate([count / max(1, count.sum()) for count in counts])

    def evidence(self, test: Table) -> Evidence:
        return _evidence(self.labels, np.tile(self._p_S, (len(test), 1)), test)


def _trees(features: np.ndarray, target: np.ndarray, categorical: np.ndarray, ends: float) -> Any:
    """Histogram gradient boosting, stopped early on a sixth of the rows; few classes get more trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    classes = len(np.unique(target))
    stop = len(target) >= 60 and np.bincount(target).max(initial=0) > 1 and _twice(target)
    trees = HistGradientBoostingClassifier(
        learning_rate=0.1 if len(target) < 2000 else 0.06, max_iter=max(40, 600 // max(1, classes - 1)) if stop else 60,
        early_stopping=stop, validation_fraction=0.15, n_iter_no_change=20, max_leaf_nodes=31, l2_regularization=1.0,
        min_samples_leaf=min(20, max(2, len(target) // 20)),
        categorical_features=categorical if categorical.any() else None, random_state=0,
    )  # fmt: skip
    return grown(trees, features, target, 1 if classes == 2 else classes, ends)


def _logistic(features: Any, target: np.ndarray, ends: float = np.inf) -> Any:
    """Logistic regression, its C chosen among six on a fifth of the rows by log-loss, then fitted on all."""
    from scipy.sparse import issparse
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    classes, sparse = len(np.unique(target)), bool(issparse(features))
    scale, solver = 1.0 if sparse else 0.01, "liblinear" if classes == 2 and sparse else "lbfgs"
    # one thread: the products are small, and threads that wait for them cost more than they save
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=scale, solver=solver, max_iter=300, tol=1e-3, warm_start=True, random_state=0)
        rows = sample_rows(len(target), len(target) if sparse and classes == 2 else INNER_ROWS)
        rows = rows[np.bincount(target[rows])[target[rows]] > 1]  # of a class that is met once no row can be held out
        chosen = len(np.unique(target[rows]))
        if len(target) >= 50 and chosen > 1:
            scale *= _strength(model, features, target, rows, ends)
            model = model if chosen == classes else clone(model)  # which goes on from weights of as many classes only
        return model.set_params(C=scale).fit(features, target)


def _strength(model: Any, features: Any, target: np.ndarray, rows: np.ndarray, ends: float) -> float:
    """From strong to weak regularisation, each fit starting from the last, until the held-out loss has risen twice."""
    from sklearn.model_selection import train_test_split

    scale, classes = model.C, len(np.unique(target[rows]))
    some = 0.2 if classes + 1 <= 0.2 * len(rows) else min(classes + 1, len(rows) - classes)
    within, held = train_test_split(rows, test_size=some, random_state=0, stratify=target[rows])
    counts_N = np.isin(np.arange(len(target)), within).astype(np.float64)
    whole = (
        model.solver == "liblinear"
    )  # then those held out count nothing: a copy of the others would be as large as what it was made from
    learned = (features, target, counts_N) if whole else (features[within], target[within])
    losses: list[float] = []
    for strength in STRENGTHS:
        model.set_params(C=strength * scale).fit(*learned)
        in_time(ends)
        believed_NC = model.predict_proba(features)[held] if whole else model.predict_proba(features[held])
        believed = believed_NC[np.arange(len(held)), np.searchsorted(model.classes_, target[held])]
        losses.append(float(-np.log(np.clip(believed, FLOOR, 1)).mean()))
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    return STRENGTHS[int(np.argmin(losses))]


@final
class _Neighbours:
    """The five nearest rows vote by nearness, beside one vote spread over all classes, so that no class is ruled out."""

    def __init__(self, features: Any, target: np.ndarray, _: float):
        from sklearn.neighbors import KNeighborsClassifier

        self._model: Any = KNeighborsClassifier(min(5, len(target)), weights="distance", algorithm="brute").fit(features, target)
        self.classes_ = self._model.classes_

    def predict_proba(self, features: Any) -> np.ndarray:
        votes = 5 * np.asarray(self._model.predict_proba(features))
        return (votes + 1 / votes.shape[1]) / 6


def _twice(target: np.ndarray) -> bool:
    """Whether every class occurs at least twice, so that a stratified part can be held out."""
    return bool(np.unique(target, return_counts=True)[1].min() >= 2)


@final
class Classical(Baseline):
    """A model for each head, fitted to at most `most` rows of a matrix: `fit(features, classes, ends)` gives it as scikit-learn has it."""

    def __init__(self, labels: Labels, matrix: LinearMatrix | TreeMatrix, name: str, most: int, fit: Fit):
        self.labels, self.name, self._matrix, self._most, self._fit = labels, name, matrix, most, fit
        self._heads: list[Any] = []

    def fit(self, train: Table) -> None:
        train = train.take(sample_rows(len(train), self._most))
        self._matrix.fit(train)
        features, target = self._matrix.transform(train), self.labels.encode(train)[0]
        self._heads = [self._head(features, column) for column in target.reshape(len(target), -1).T]

    def _head(self, features: Any, column: np.ndarray) -> Any:
        """A fitted model, or the number of the only class that occurs."""
        in_time(self.ends)
        known = np.flatnonzero(column >= 0)
        wanted = column[known].astype(np.int64)
        return (
            self._fit(at_rows(features, known), wanted, self.ends) if len(np.unique(wanted)) > 1 else int(wanted[0]) if len(wanted) else 0
        )

    def evidence(self, test: Table) -> Evidence:
        return _evidence(self.labels, self._probabilities(self._matrix.transform(test)), test)

    def _probabilities(self, features: Any) -> np.ndarray:
        """(N, S): the heads side by side, or the chance of each class of a list."""
        rows = features.shape[0]
        sizes = [2] * len(self._heads) if self.labels.lists else list(self.labels.parts)
        found = []
        for head, size in zip(self._heads, sizes, strict=True):
            part = np.zeros((rows, size))
            if isinstance(head, int):
                part[:, head] = 1.0
            elif rows:
                part[:, head.classes_] = head.predict_proba(features)
            found.append(part[:, 1:] if self.labels.lists else part)
        return np.concatenate(found, axis=1)


def classical(labels: Labels, features: Sequence[str], kinds: Mapping[str, str], config: EncodeConfig) -> tuple[Baseline, ...]:
    """Logistic regression on TF-IDF, pixels, log-mel statistics, series statistics, and standardised table columns.

    With trees before it where all columns are flat; pictures (of films: the mean frame, or one frame) also by histograms of gradients.
    """
    most = TEXT_ROWS if any(kinds.get(name, "text") == "text" for name in features) else DENSE_ROWS

    def linear(name: str, gradients: bool = False, fit: Fit = _logistic) -> Baseline:
        return Classical(labels, LinearMatrix(features, kinds, config, gradients), name, most, fit)

    if is_flat(features, kinds):
        flat = TreeMatrix(features, kinds, config)
        trees = Classical(labels, flat, "gradient-boosted trees", TREE_ROWS, lambda x, y, ends: _trees(x, y, flat.categorical, ends))
        return trees, linear("logistic regression")
    if all(kinds.get(name) == "video" for name in features):
        return linear("logistic regression on the mean frame"), linear("logistic regression on one frame's gradients", True)
    if any(kinds.get(name) != "image" for name in features):
        return (linear("logistic regression"),)
    return (
        linear("logistic regression"),
        linear("logistic regression on gradients", True),
        linear("nearest neighbours by gradients", True, _Neighbours),
    )
