"""What a classifier must beat: the class frequencies, and a classical model on the same rows. Deterministic.

scikit-learn is imported when a baseline is fitted. Caps on rows and settings are stated in the README.
Legend: N rows, C classes of one head, K heads.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.data.classical import LinearMatrix, TreeMatrix, is_flat, sample_rows
from duomo.tasks.classify.labels import Labels

TREE_ROWS, TEXT_ROWS, DENSE_ROWS = 100_000, 50_000, 20_000
STRENGTHS = (0.03, 0.3, 1.0, 3.0, 10.0, 30.0)
INNER_ROWS = 4000
FLOOR = 1e-7


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


class _Learner(ABC):
    """One classical model of one head: fit on (N, F) and class numbers, then probabilities of the classes that it saw."""

    @abstractmethod
    def fit(self, features: Any, target: np.ndarray) -> None: ...

    @abstractmethod
    def probabilities(self, features: Any) -> np.ndarray: ...

    @property
    @abstractmethod
    def seen(self) -> np.ndarray: ...


@final
class _Trees(_Learner):
    """Histogram gradient boosting, stopped early on a sixth of the rows; few classes get more trees."""

    def __init__(self, categorical: np.ndarray):
        self._categorical = categorical
        self._model: Any = None

    def fit(self, features: np.ndarray, target: np.ndarray) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        classes = len(np.unique(target))
        stop = len(target) >= 60 and np.bincount(target).max(initial=0) > 1 and _twice(target)
        self._model = HistGradientBoostingClassifier(
            learning_rate=0.1 if len(target) < 2000 else 0.06, max_iter=max(40, 600 // max(1, classes - 1)) if stop else 60,
            early_stopping=stop, validation_fraction=0.15, n_iter_no_change=20, max_leaf_nodes=31, l2_regularization=1.0,
            min_samples_leaf=min(20, max(2, len(target) // 20)),
            categorical_features=self._categorical if self._categorical.any() else None, random_state=0,
        ).fit(features, target)  # fmt: skip

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.predict_proba(features))

    @property
    def seen(self) -> np.ndarray:
        return np.asarray(self._model.classes_)


@final
class _Logistic(_Learner):
    """Logistic regression, its C chosen among six on a fifth of the rows by log-loss, then fitted on all."""

    def __init__(self) -> None:
        self._model: Any = None

    def _make(self, strength: float, classes: int, sparse: bool) -> Any:
        from sklearn.linear_model import LogisticRegression

        solver = "liblinear" if classes == 2 and sparse else "lbfgs"
        return LogisticRegression(C=strength, solver=solver, max_iter=300, tol=1e-3, warm_start=True, random_state=0)

    def fit(self, features: Any, target: np.ndarray) -> None:
        from scipy.sparse import issparse
        from threadpoolctl import threadpool_limits

        classes, sparse = len(np.unique(target)), bool(issparse(features))
        scale = 1.0 if sparse else 0.01
        # one thread: the products are small, and threads that wait for them cost more than they save
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model = self._make(scale, classes, sparse)
            best = self._choose(features, target, classes, scale) if len(target) >= 50 and _twice(target) else scale
            self._model.set_params(C=best).fit(features, target)

    def _choose(self, features: Any, target: np.ndarray, classes: int, scale: float) -> float:
        """From strong to weak regularisation, each fit starting from the last, until the held-out loss has risen twice."""
        from scipy.sparse import issparse
        from sklearn.model_selection import train_test_split

        sparse = bool(issparse(features))
        rows = sample_rows(len(target), len(target) if sparse and classes == 2 else INNER_ROWS)
        if not _twice(target[rows]):
            return scale
        within, held = train_test_split(rows, test_size=max(0.2, (classes + 1) / len(rows)), random_state=0, stratify=target[rows])
        losses: list[float] = []
        for strength in STRENGTHS:
            model = self._model.set_params(C=strength * scale).fit(features[within], target[within])
            believed = model.predict_proba(features[held])[np.arange(len(held)), np.searchsorted(model.classes_, target[held])]
            losses.append(float(-np.log(np.clip(believed, FLOOR, 1)).mean()))
            if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
                break
        return STRENGTHS[int(np.argmin(losses))] * scale

    def probabilities(self, features: Any) -> np.ndarray:
        return np.asarray(self._model.predict_proba(features))

    @property
    def seen(self) -> np.ndarray:
        return np.asarray(self._model.classes_)


@final
class _Neighbours(_Learner):
    """The five nearest rows vote by nearness, beside one vote spread over all classes, so that no class is ruled out."""

    def __init__(self) -> None:
        self._model: Any = None

    def fit(self, features: Any, target: np.ndarray) -> None:
        from sklearn.neighbors import KNeighborsClassifier

        self._model = KNeighborsClassifier(min(5, len(target)), weights="distance", algorithm="brute").fit(features, target)

    def probabilities(self, features: Any) -> np.ndarray:
        votes = 5 * np.asarray(self._model.predict_proba(features))
        return (votes + 1 / votes.shape[1]) / 6

    @property
    def seen(self) -> np.ndarray:
        return np.asarray(self._model.classes_)


def _twice(target: np.ndarray) -> bool:
    """Whether every class occurs at least twice, so that a stratified part can be held out."""
    return bool(np.unique(target, return_counts=True)[1].min() >= 2)


@final
class _Heads:
    """One learner for each column of targets."""

    def __init__(self, labels: Labels):
        self.labels = labels
        self._learners: list[_Learner | float] = []

    def fit(self, features: Any, target: np.ndarray, make: Any) -> None:
        columns = target.reshape(len(target), -1).T
        for column in columns:
            known = np.flatnonzero(column >= 0)
            wanted = column[known].astype(np.int64)
            if len(np.unique(wanted)) < 2:
                self._learners.append(float(wanted[0]) if len(wanted) else 0.0)
                continue
            learner = make()
            learner.fit(features[known], wanted)
            self._learners.append(learner)

    def probabilities(self, features: Any) -> np.ndarray:
        """(N, S): the heads side by side, or the chance of each class of a list."""
        rows = features.shape[0]
        sizes = [2] * len(self._learners) if self.labels.lists else list(self.labels.parts)
        found = []
        for learner, size in zip(self._learners, sizes, strict=True):
            part = np.zeros((rows, size))
            if isinstance(learner, float):
                part[:, int(learner)] = 1.0
            elif rows:
                part[:, learner.seen] = learner.probabilities(features)
            found.append(part[:, 1:] if self.labels.lists else part)
        return np.concatenate(found, axis=1)


@final
class GradientBoosting(Baseline):
    """Gradient-boosted trees on number, category and date columns."""

    name: ClassVar[str] = "gradient-boosted trees"

    def __init__(self, labels: Labels, features: Sequence[str], kinds: Mapping[str, str], config: EncodeConfig):
        self._labels, self._heads, self._matrix = labels, _Heads(labels), TreeMatrix(features, kinds, config)

    def fit(self, train: Table) -> None:
        train = train.take(sample_rows(len(train), TREE_ROWS))
        self._matrix.fit(train)
        self._heads.fit(self._matrix.transform(train), self._labels.encode(train)[0], lambda: _Trees(self._matrix.categorical))

    def evidence(self, test: Table) -> Evidence:
        return _evidence(self._labels, self._heads.probabilities(self._matrix.transform(test)), test)


@final
class LinearModel(Baseline):
    """Logistic regression on TF-IDF, pixels, log-mel statistics, series statistics, and standardised table columns.

    Pictures (of a film: its mean frame, or with gradients one frame) may be described by histograms of their gradients instead of
    pixels, and rows compared with their nearest neighbours.
    """

    def __init__(self, labels: Labels, matrix: LinearMatrix, name: str = "logistic regression", learner: type[_Learner] = _Logistic):
        self._labels, self._heads, self._matrix, self._learner = labels, _Heads(labels), matrix, learner
        self.name = name  # type: ignore[misc]
        is_text = any(matrix.kinds.get(column, "text") == "text" for column in matrix.names)
        self._most = TEXT_ROWS if is_text else DENSE_ROWS

    def fit(self, train: Table) -> None:
        train = train.take(sample_rows(len(train), self._most))
        self._matrix.fit(train)
        self._heads.fit(self._matrix.transform(train), self._labels.encode(train)[0], self._learner)

    def evidence(self, test: Table) -> Evidence:
        return _evidence(self._labels, self._heads.probabilities(self._matrix.transform(test)), test)


def classical(labels: Labels, features: Sequence[str], kinds: Mapping[str, str], config: EncodeConfig) -> tuple[Baseline, ...]:
    """Logistic regression; with trees before it where all columns are flat; pictures also by their gradients."""
    linear = LinearModel(labels, LinearMatrix(features, kinds, config))
    if is_flat(features, kinds):
        return GradientBoosting(labels, features, kinds, config), linear
    if all(kinds.get(name) == "video" for name in features):
        linear = LinearModel(labels, LinearMatrix(features, kinds, config), "logistic regression on the mean frame")
        return linear, LinearModel(labels, LinearMatrix(features, kinds, config, True), "logistic regression on one frame's gradients")
    if any(kinds.get(name) != "image" for name in features):
        return (linear,)
    return (
        linear,
        LinearModel(labels, LinearMatrix(features, kinds, config, True), "logistic regression on gradients"),
        LinearModel(labels, LinearMatrix(features, kinds, config, True), "nearest neighbours by gradients", _Neighbours),
    )
