"""scikit-learn estimators on Duomo's engine: fit, predict, predict_proba, score, in any Pipeline or GridSearchCV.

Arrays and sparse-free frames of numbers go through scikit-learn's own checks; frames and arrays may also hold categories, texts and
dates, which are then encoded as `duomo train` does, and X may be texts alone.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    check_random_state,
    column_or_1d,
    validate_data,
)
from torch import nn

from duomo.core import find, kinds
from duomo.core.config import build, merge
from duomo.core.contract import Task
from duomo.core.device import Execution
from duomo.core.kinds.cells import is_number
from duomo.core.recipe import Recipe, TrainConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.core.tensors import Batch
from duomo.data import sources
from duomo.data.loader import TableStream, batches
from duomo.data.predictor import Predictor
from duomo.settings import enough
from duomo.train import council, head, loop
from duomo.train.job import Job

TARGET, WEIGHT = "target of the estimator", "weight of the estimator"
HELD_OUT = 0.15
FEWEST = 50
"""Rows from which a part is held out to choose the best epoch."""
THREADED = 20_000
"""Cells from which more than one thread pays."""


class _Duomo(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share."""

    def __init__(
        self,
        model: str = "",
        size: str = "",
        epochs: float = 0.0,
        minutes: float = 0.0,
        batch_size: int = 0,
        learning_rate: float = 0.0,
        random_state: Any = 0,
    ):
        self.model = model
        self.size = size
        self.epochs = epochs
        self.minutes = minutes
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.non_deterministic = False
        return tags

    def _settings(self) -> dict[str, Any]:
        """Only what was set: the rest follows from the data."""
        train = {"epochs": float(self.epochs), "minutes": float(self.minutes), "batch_size": int(self.batch_size)}
        train["learning_rate"] = float(self.learning_rate)
        model = {name: value for name, value in (("name", self.model), ("size", self.size)) if value}
        return {"model": model, "train": {name: value for name, value in train.items() if value}}

    def _learn(self, table: Table, task_name: str, targets: Sequence[str], weights: np.ndarray | None) -> None:
        """`table` has the targets as columns; rows without weight are left out."""
        if weights is not None:
            table = Table(table.data.append_column(WEIGHT, pa.array(weights)), {**table.kinds, WEIGHT: "number"}).take(
                np.flatnonzero(weights)
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1)) if self.random_state is not None else 0
        options = {"target": tuple(targets), "ignore": (), "weight": WEIGHT if weights is not None else ""}
        suggestion, said = find.make_task(task_name, options).suggest(table), self._settings()
        suggested = find.task_recipes(task_name)[suggestion.recipe]
        if self.model and self.model != suggested["model"]["name"]:
            suggested = merge({**suggested, "model": {"size": "small"}}, {"train": find.model_module(self.model).TRAIN})
        recipe = build(Recipe, merge(merge(suggested, said), {"data": {"task": task_name}, "train": {"seed": seed}}))
        recipe = enough(recipe, build(TrainConfig, said["train"], "train"), len(table), suggestion.longer)
        rows = np.arange(len(table))
        kept, held = train_test_split(rows, test_size=HELD_OUT, random_state=seed) if len(table) >= FEWEST else (rows, rows[:0])
        task = find.make_task(task_name, options | {"encode": recipe.encode})
        task.fit(table.take(np.sort(kept)))
        self.task_ = task
        self.model_ = _fitted(task, recipe, table.take(np.sort(kept)), table.take(np.sort(held)))

    def _evidence(self, table: Table, targets: Sequence[str]) -> dict[str, np.ndarray]:
        """The model's evidence; the target columns that the task asks for are filled with a valid value."""
        data = table.data
        for name in targets:
            data = data.append_column(name, pa.array(["0"] * len(table), pa.large_string()))
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(_threads(table))
            return Predictor(self.task_, self.model_, Execution()).evidence(Table(data, self.kinds_))
        finally:
            torch.set_num_threads(threads)

    def _table(self, x: Any, reset: bool) -> Table:
        """X as a table; numbers are validated as scikit-learn wants, frames with other columns are taken as they are."""
        if vars(self).get("mixed_", _is_mixed(x)):  # as it was learned from (one of before does not say): a column of words may be empty
            table = sources.read(x.reset_index(drop=True) if type(x).__module__.startswith("pandas") else x)
            if reset:
                self.n_features_in_ = len(table.names)
                self.feature_names_in_ = np.asarray(table.names, dtype=object)
            return kinds.infer(table, {}) if reset else table.with_kinds(self.kinds_, {})
        return _of_numbers(validate_data(self, x, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"))


def _of_numbers(values: np.ndarray) -> Table:
    """(N, F) as scikit-learn validated it, which asks for the names of columns no second time."""
    names = [f"x{place}" for place in range(values.shape[1])]
    data = pa.table({name: values[:, place] for place, name in enumerate(names)})
    return Table(data, dict.fromkeys(names, "number"))


def _weights(given: Any, table: Table) -> np.ndarray | None:
    """(N,) float64 as scikit-learn checks them; None where all rows count alike."""
    if given is None:
        return None
    found: np.ndarray = _check_sample_weight(given, np.empty((len(table), 1)), dtype=np.float64, ensure_non_negative=True)
    if not found.any():
        raise ValueError("Some row must count; all of sample_weight is 0.")
    return None if np.ptp(found) == 0 else found


def _is_mixed(x: Any) -> bool:
    """A frame or an array with a column that is not a number, or texts alone."""
    library = type(x).__module__.partition(".")[0]
    if isinstance(x, list | tuple):
        return bool(x) and all(isinstance(cell, str) for cell in x)
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "OUT" and 0 < x.ndim < 3 and any(isinstance(cell, str) for cell in x.ravel())
    if library == "polars":
        schema = x.collect_schema() if type(x).__name__ == "LazyFrame" else {x.name: x.dtype} if type(x).__name__ == "Series" else x.schema
        return any(not kind.is_numeric() and str(kind) != "Boolean" for kind in schema.values())
    if library == "pandas":
        return any(kind.kind not in "biuf" for kind in ([x.dtype] if x.ndim == 1 else x.dtypes))
    return isinstance(x, pa.Table) and any(not is_number(kind) and not pa.types.is_boolean(kind) for kind in x.schema.types)


def _wanted(y: Any, table: Table) -> np.ndarray:
    """The targets of a mixed table as scikit-learn checks them: one for each row, finite."""
    found: np.ndarray = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
    check_consistent_length(table.data.columns[0], found)
    return found


def _threads(table: Table) -> int:
    return torch.get_num_threads() if len(table) * len(table.names) >= THREADED else 1


def _fitted(task: Task, recipe: Recipe, train: Table, valid: Table) -> nn.Module:
    """Train in a folder that is thrown away, and fit what answers beside the network; the state of torch's generator and threads is left as
    it was."""
    execution = Execution(threads=_threads(train))
    generator, threads = torch.get_rng_state(), torch.get_num_threads()
    held = task.encode(valid, target=True) if len(valid) else None

    def validation() -> Iterator[Batch]:
        assert held is not None
        for _, batch in batches(held, task.inputs, recipe.train.batch_size):
            yield batch

    try:
        torch.manual_seed(recipe.train.seed)
        model = find.make_model(recipe.model, task)
        examples = task.encode(train, target=True)
        head.settle(model, task, examples)
        stream = TableStream(examples, task.inputs, recipe.train.batch_size, recipe.train.seed, recipe.augment)
        with tempfile.TemporaryDirectory(prefix="duomo-") as folder:
            config = replace(recipe.train, minutes=council.minutes_left(model, recipe.train.minutes))
            outcome = loop.train(Job(task, model, stream, validation if held else None, config, execution, Path(folder)), Silent())
        if held:
            limit = council.allowed(model, recipe.train.minutes, outcome.seconds)
            advised = council.fit(model, task, (examples, held), False, limit, Silent())
            task.calibrate(Predictor(task, model.eval(), Execution()).evidence(valid))
            (advised.onward or head.nothing)(None)
    finally:
        torch.set_rng_state(generator)
        torch.set_num_threads(threads)
    return model.eval()


@final
class DuomoClassifier(ClassifierMixin, _Duomo):  # type: ignore[misc]
    """A classifier for any table.

    Parameters: `model` an architecture's name ("" = chosen from the data), `size` small, base or large, `epochs`, `minutes`,
    `batch_size`, `learning_rate` (0 = from the data), `random_state`. After fit: `classes_` (C,), `n_features_in_`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DuomoClassifier":
        """X (N, F) numbers (NaN allowed) or a frame; y (N,) labels of at least two classes; sample_weight (N,) how much each row counts."""
        self.mixed_ = _is_mixed(X)
        if self.mixed_:
            table, labels = self._table(X, reset=True), column_or_1d(np.asarray(y), warn=True)
            check_consistent_length(table.data.columns[0], labels)
        else:
            X, labels = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
            table = _of_numbers(X)
        check_classification_targets(labels)
        weights = _weights(sample_weight, table)
        self.classes_ = unique_labels(labels if weights is None else labels[weights > 0])
        if len(self.classes_) < 2:
            raise ValueError(f"A classifier needs samples of at least 2 classes; y holds only one class: {self.classes_[0]!r}.")
        codes = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        data = table.data.append_column(TARGET, pa.array([str(code) for code in codes], pa.large_string()))
        self.kinds_ = dict(table.kinds) | {TARGET: "category"}
        self._learn(Table(data, self.kinds_), "classify", (TARGET,), weights)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """(N, C) probabilities in the order of `classes_`."""
        check_is_fitted(self)
        found = self._evidence(self._table(X, reset=False), (TARGET,))["probabilities"]
        order = [int(name) for name in self.task_.state()["labels"]["classes"][0]]
        probabilities = np.zeros((len(found), len(self.classes_)))
        probabilities[:, order] = found
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """(N,) the likeliest class of each row."""
        chosen = self.predict_proba(X).argmax(axis=1)
        found: np.ndarray = self.classes_[chosen]
        return found


@final
class DuomoRegressor(RegressorMixin, _Duomo):  # type: ignore[misc]
    """A regressor for any table; parameters as those of DuomoClassifier."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DuomoRegressor":
        """X (N, F) numbers (NaN allowed) or a frame; y (N,) or (N, K) finite numbers; sample_weight (N,) how much each row counts."""
        self.mixed_ = _is_mixed(X)
        if self.mixed_:
            table = self._table(X, reset=True)
            wanted = _wanted(y, table)
        else:
            X, wanted = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", multi_output=True, y_numeric=True)
            table = _of_numbers(X)
        weights = _weights(sample_weight, table)
        self.flat_, wanted_NK = wanted.ndim == 1, np.asarray(wanted, np.float64).reshape(len(wanted), -1)
        counted_NK = wanted_NK if weights is None else wanted_NK[weights > 0]
        self.constant_K_ = [float(column[0]) if not np.ptp(column) else None for column in counted_NK.T]
        self.targets_ = [f"{TARGET} {place}" for place, constant in enumerate(self.constant_K_) if constant is None]
        self.kinds_ = dict(table.kinds) | dict.fromkeys(self.targets_, "number")
        data = table.data
        for name in self.targets_:
            data = data.append_column(name, pa.array(wanted_NK[:, int(name.removeprefix(TARGET))]))
        if self.targets_:
            self._learn(Table(data, self.kinds_), "regress", self.targets_, weights)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(N,) the expected number of each row, or (N, K) where y had K columns."""
        check_is_fitted(self)
        table = self._table(X, reset=False)
        learned = iter(self._evidence(table, self.targets_)["prediction"].T) if self.targets_ else iter(())
        columns = [next(learned) if constant is None else np.full(len(table), constant) for constant in self.constant_K_]
        return columns[0] if self.flat_ else np.stack(columns, axis=1)
