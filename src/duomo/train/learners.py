"""Trees and lines for one goal, by scikit-learn, as what nn/council.py computes: fitted on arrays, answering with logits.

scikit-learn is imported when it is first needed.
Legend: N rows, F features, P logits of the goal, T trees, L nodes, C splits by categories, K values that they tell apart.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from duomo.core.contract import Goal
from duomo.data.baselines.classical import in_subsets
from duomo.nn.council import DEPTH, KNOWN
from duomo.train.holdout import FEW

NEVER = -12.0
"""Logit of a class that the learner never saw."""
SLOW, SLOW_FEW, FAST = 0.06, 0.1, 0.15
"""Rates of many rows and of few, and the one by which few rounds go further."""
LEAVES = (31, 8)
"""Leaves of a tree; the size is chosen that leaves the least loss on what is held out, of many rows while there is time."""
SOME, SOME_ROWS = 0.5, 5000
"""Share of the columns that each division of at most so many rows chooses from: trees that differ more (Breiman 2001, "Random Forests")."""
WIDE, COARSE = 500, 32
"""With more columns than so many each is divided into so few bins: a tree of 240 rows and 5,000 columns looks at nothing but empty ones."""


def wide(scores: np.ndarray, classes: np.ndarray, goal: Goal) -> np.ndarray:
    """scikit-learn's scores (N, 1) of two classes or (N, C) of the classes that were seen, as logits (N, P)."""
    if goal.kind != "class":
        return scores
    if goal.size == 1:  # a label that is there or not
        return scores if len(classes) == 2 else np.full_like(scores, NEVER if classes[0] == 0 else -NEVER)
    found = np.full((len(scores), goal.size), NEVER)
    if len(classes) == 1:  # scikit-learn takes an only class for the first of two
        found[:, classes] = 0.0
        return found
    found[:, classes] = np.concatenate([-scores / 2, scores / 2], 1) if len(classes) == 2 else scores
    return found


@final
class Trees:
    """Gradient boosting (Friedman 2001) on histograms; the first `categories` features are ranks, KNOWN where one is missing."""

    def __init__(self, goal: Goal, rows: int, categories: int, leaves: int = LEAVES[0], fast: bool = False, seed: int = 0):
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        self.goal, self.categories = goal, categories
        self._judged, self._raw = 0, np.zeros(0)
        rate = FAST if fast else SLOW_FEW if rows < FEW else SLOW
        settings: dict[str, Any] = {
            "learning_rate": rate, "max_leaf_nodes": leaves, "max_depth": DEPTH, "l2_regularization": 1.0,
            "max_features": SOME if rows <= SOME_ROWS else 1.0,
            "min_samples_leaf": min(20, max(2, rows // 20)), "early_stopping": False, "warm_start": True, "random_state": seed,
        }  # fmt: skip
        loss = "absolute_error" if goal.kind == "median" else "squared_error"
        self._model: Any = (
            HistGradientBoostingClassifier(**settings) if goal.kind == "class" else HistGradientBoostingRegressor(loss=loss, **settings)
        )

    def grow(self, count: int, x_NF: np.ndarray, rows: np.ndarray) -> None:
        """As many rounds of trees in all, fitted to these rows."""
        self._seen = [np.unique(column[column < KNOWN]).astype(np.int64) for column in x_NF[rows, : self.categories].T]
        weight_N = self.goal.weight[rows]
        weight = weight_N if np.ptp(weight_N) else None  # weighted quantiles cost more than all trees
        self._apart = [place for place, seen in enumerate(self._seen) if in_subsets(len(seen), len(rows))]
        bins = KNOWN if x_NF.shape[1] < WIDE else max(COARSE, *(len(seen) for seen in self._seen), 2)
        self._model.set_params(max_iter=count, max_bins=bins, categorical_features=self._apart or None)
        self._model.fit(self._filled(x_NF[rows]), self.goal.values[rows], weight)

    def _filled(self, x_NF: np.ndarray) -> np.ndarray:
        """With the ranks that were seen numbered densely, as scikit-learn would number them itself, and NaN for those that were not."""
        found = x_NF.copy() if self._apart else x_NF
        for place in self._apart:
            seen = self._seen[place]
            number = np.full(KNOWN + 1, np.nan if len(seen) else 0.0)  # a column without a value cannot be binned
            number[seen] = np.arange(len(seen))
            found[:, place] = number[x_NF[:, place].astype(np.int64)]
        return found

    def cut(self, count: int) -> None:
        """Only the first so many rounds."""
        del self._model._predictors[count:]

    def staged(self, x_NF: np.ndarray) -> Iterator[np.ndarray]:
        """Logits (N, P) after each round since the last call, which was given the same rows."""
        model = self._model
        ready_NF = model._preprocess_X(self._filled(x_NF), reset=False)
        if not self._judged:
            self._raw = np.repeat(model._baseline_prediction.reshape(1, -1), len(x_NF), 0)
        for grown in model._predictors[self._judged :]:
            model._predict_iterations(ready_NF, [grown], self._raw, False, 1)
            yield wide(self._raw, self._classes(), self.goal)
        self._judged = len(model._predictors)

    def logits(self, x_NF: np.ndarray) -> np.ndarray:
        return wide(self._model._raw_predict(self._filled(x_NF)).reshape(len(x_NF), -1), self._classes(), self.goal)

    def _classes(self) -> np.ndarray:
        return np.asarray(self._model.classes_ if self.goal.kind == "class" else [], np.int64)

    def written(self, of: int = 1) -> "Written":
        """The trees as arrays, one of so many that speak as one."""
        trees = [tree for round_ in self._model._predictors for tree in round_]
        columns = len(self._model._predictors[0])
        first = np.cumsum([0] + [len(tree.nodes) for tree in trees])
        orders = [beside(tree.nodes) for tree in trees]
        nodes = np.concatenate([tree.nodes[order] for tree, order in zip(trees, orders, strict=True)])
        order_F = np.array([*self._apart, *(place for place in range(self._model.n_features_in_) if place not in self._apart)])
        feature_L = order_F[nodes["feature_idx"]]  # scikit-learn puts its categories first
        leaf_L, sorted_L = nodes["is_leaf"].astype(bool), nodes["is_categorical"].astype(bool)
        place_L = np.concatenate([np.argsort(order) + start for order, start in zip(orders, first[:-1], strict=True)])
        offset_L = np.repeat(first[:-1], np.diff(first))
        child_L = np.where(leaf_L, np.arange(len(nodes)), place_L[nodes["left"] + offset_L])
        splits = np.cumsum([0] + [len(tree.raw_left_cat_bitsets) for tree in trees])
        split_L = np.where(sorted_L & ~leaf_L, nodes["bitset_idx"] + np.repeat(splits[:-1], np.diff(first)), -1)
        bits_CW = np.concatenate([tree.raw_left_cat_bitsets for tree in trees])
        mask_CK = np.zeros((len(bits_CW), KNOWN + 1), bool)
        for node in np.flatnonzero(split_L >= 0):  # a rank that was not seen goes where what is missing goes
            seen, split = self._seen[feature_L[node]], split_L[node]
            number = np.arange(len(seen))
            mask_CK[split] = nodes["missing_go_to_left"][node]
            mask_CK[split, seen] = (bits_CW[split, number // 32] >> (number % 32).astype(np.uint32)) & 1
        classes = self._classes()
        base = self._model._baseline_prediction.reshape(1, -1)
        nothing = wide(np.zeros((1, columns)), classes, self.goal)
        place_TP = (wide(np.eye(columns), classes, self.goal) - nothing)[np.arange(len(trees)) % columns]
        return Written(
            feature_L,
            np.where(leaf_L, np.inf, at_most(nodes["num_threshold"])),
            child_L,
            np.where(leaf_L, nodes["value"] / of, 0.0),
            split_L,
            mask_CK,
            first[:-1],
            place_TP,
            wide(base, classes, self.goal)[0] / of,
        )


class Written(NamedTuple):
    """Trees as `nn.council.Forest` walks them, for the logits (P) of one goal; `base_P` stands before the first tree."""

    feature_L: np.ndarray
    threshold_L: np.ndarray
    child_L: np.ndarray
    value_L: np.ndarray
    split_L: np.ndarray
    mask_CK: np.ndarray
    root_T: np.ndarray
    place_TP: np.ndarray
    base_P: np.ndarray


def beside(nodes: np.ndarray) -> np.ndarray:
    """The nodes of a tree (L,) in an order in which the root comes first and the two children of a node follow one another."""
    order = [0]
    for node in order:
        if not nodes["is_leaf"][node]:
            order += [int(nodes["left"][node]), int(nodes["right"][node])]
    return np.array(order)


def at_most(threshold_L: np.ndarray) -> np.ndarray:
    """float32 thresholds that divide float32 values as the float64 ones do: the largest that are not above them."""
    found = threshold_L.astype(np.float32)
    return np.where(found > threshold_L, np.nextafter(found, np.float32(-np.inf)), found)


@final
class Line:
    """Logistic regression, or ridge regression of a number, with a penalty on half the squared weights."""

    def __init__(self, goal: Goal):
        from sklearn.linear_model import LogisticRegression

        self.goal = goal
        self.weight_FP, self.bias_P = np.zeros((0, goal.size)), np.zeros(goal.size)
        self._model: Any = LogisticRegression(max_iter=500, warm_start=True)  # a weaker penalty begins where the stronger one ended

    def fit(self, x_NF: np.ndarray, rows: np.ndarray, penalty: float) -> None:
        """`x_NF` are the features of these rows alone, of the same ones each time."""
        from sklearn.linear_model import Ridge

        values, weight = self.goal.values[rows], self.goal.weight[rows]
        if self.goal.kind != "class":
            model = Ridge(alpha=penalty).fit(x_NF.astype(np.float64), values, weight)
            self.weight_FP, self.bias_P = model.coef_.reshape(-1, 1), np.asarray(model.intercept_).reshape(1)
            return
        classes = np.unique(values)
        weight_CF, bias_C = np.zeros((1, x_NF.shape[1])), np.zeros(1)
        if len(classes) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # not converged is good enough: the penalty is chosen by what the answers are worth
                model = self._model.set_params(C=1 / penalty).fit(x_NF, values, weight)
            weight_CF, bias_C = model.coef_, model.intercept_
        nothing = wide(np.zeros((1, len(bias_C))), classes, self.goal)
        self.weight_FP = wide(weight_CF.T, classes, self.goal) - nothing
        self.bias_P = wide(bias_C[None], classes, self.goal)[0]

    def logits(self, x_NF: np.ndarray) -> np.ndarray:
        return x_NF @ self.weight_FP + self.bias_P


def joined(written: Sequence[Written], goals: Sequence[Goal], size: int) -> dict[str, np.ndarray]:
    """The trees of several goals, and those that speak as one of a goal, as the tensors of one forest with `size` logits."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in Written._fields}
    nodes = splits = 0
    base_S = np.zeros(size)
    for one, goal in zip(written, goals, strict=True):
        place_TS = np.zeros((len(one.root_T), size))
        place_TS[:, goal.first : goal.first + goal.size] = one.place_TP
        base_S[goal.first : goal.first + goal.size] += one.base_P
        moved = one._replace(child_L=one.child_L + nodes, split_L=np.where(one.split_L >= 0, one.split_L + splits, -1),
                             root_T=one.root_T + nodes, place_TP=place_TS)  # fmt: skip
        for name, value in moved._asdict().items():
            found[name].append(value)
        nodes, splits = nodes + len(one.feature_L), splits + len(one.mask_CK)
    whole = {name: np.concatenate(values) for name, values in found.items() if name not in ("place_TP", "base_P")}
    return whole | {"place_TS": np.concatenate(found["place_TP"]), "base_S": base_S}
