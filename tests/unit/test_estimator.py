"""scikit-learn's own examination of the two estimators, and frames with more than numbers."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from duomo import DuomoClassifier, DuomoRegressor

QUICK = {"model": "mlp", "size": "small", "epochs": 40, "batch_size": 32, "learning_rate": 5e-3}
SKIPPED: dict[str, str] = {
    "check_sample_weight_equivalence_on_dense_data": "steps are drawn from rows: a row of weight 2 is not drawn as often as two rows",
}
"""Check -> why it cannot hold; listed here and in the documentation."""


@parametrize_with_checks([DuomoClassifier(**QUICK), DuomoRegressor(**QUICK)], expected_failed_checks=lambda estimator: SKIPPED)
def test_scikit_learn_checks(estimator, check) -> None:
    check(estimator)


def test_a_pipeline_on_real_data() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    scores = cross_val_score(make_pipeline(StandardScaler(), DuomoClassifier(**QUICK)), x, y, cv=3)
    assert scores.mean() > 0.93


def test_regression_on_real_data() -> None:
    x, y = load_diabetes(return_X_y=True)
    assert DuomoRegressor(**QUICK).fit(x[:350], y[:350]).score(x[350:], y[350:]) > 0.3


def test_a_frame_with_words() -> None:
    random = np.random.default_rng(0)
    colours = random.choice(["red", "green", "blue"], 300)
    frame = pd.DataFrame({"colour": colours, "size": random.normal(size=300)})
    y = np.where(colours == "red", "stop", "go")
    model = DuomoClassifier(**QUICK).fit(frame, y)
    assert list(model.classes_) == ["go", "stop"]
    assert model.score(frame, y) > 0.95
    assert model.predict_proba(frame).sum(axis=1) == pytest.approx(1)


@pytest.mark.filterwarnings("error")
def test_the_names_of_a_frame_are_taken_without_a_warning() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    for model, y in ((DuomoClassifier(**QUICK), frame.a > 0), (DuomoRegressor(**QUICK), frame.a)):
        assert model.fit(frame, y).predict(frame).shape == (60,)
        assert list(model.feature_names_in_) == ["a", "b"]


def test_rows_count_by_their_weight() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    told = np.where(np.arange(len(y)) < 250, 1 - y, y)  # the first 250 are told the wrong way round
    weights = np.where(np.arange(len(y)) < 250, 0.02, 1.0)
    assert DuomoClassifier(**QUICK).fit(x[:400], told[:400], sample_weight=weights[:400]).score(x[400:], y[400:]) > 0.9
    assert DuomoClassifier(**QUICK).fit(x[:400], told[:400]).score(x[400:], y[400:]) < 0.6
    x, y = load_diabetes(return_X_y=True)
    wrong = np.where(np.arange(len(y)) < 200, 500 - y, y)
    model = DuomoRegressor(**QUICK).fit(x[:350], wrong[:350], np.where(np.arange(350) < 200, 0.0, 2.0))
    again = DuomoRegressor(**QUICK).fit(x[200:350], wrong[200:350])
    assert model.predict(x[350:]) == pytest.approx(again.predict(x[350:]))
    for weights in (np.zeros(350), -np.ones(350), np.ones(3)):
        with pytest.raises(ValueError):
            DuomoRegressor(**QUICK).fit(x[:350], y[:350], weights)


def test_several_numbers_at_once() -> None:
    x, y = load_diabetes(return_X_y=True)
    both = np.stack([y, np.full(len(y), 3.0), -2 * y + 10 * x[:, 2]], axis=1)
    model = DuomoRegressor(**QUICK).fit(x[:350], both[:350])
    found = model.predict(x[350:])
    assert found.shape == (92, 3) and (found[:, 1] == 3).all()
    assert [np.corrcoef(found[:, place], both[350:, place])[0, 1] > 0.5 for place in (0, 2)] == [True, True]
    with pytest.raises(ValueError, match="1d array"):
        DuomoClassifier(**QUICK).fit(x, (both > 100).astype(int))


@pytest.mark.filterwarnings("error")
def test_frames_and_arrays_of_any_columns() -> None:
    random = np.random.default_rng(0)
    note, age = random.choice(["good stuff", "bad stuff"], 80), random.normal(size=80)
    y = pd.Series(note == "good stuff")
    frame = pd.DataFrame({"note": note, "age": age})
    days = frame.assign(note=pd.to_timedelta(random.integers(0, 9, 80), unit="D"))
    arrow = frame.astype({"note": "large_string[pyarrow]"})
    for x in (frame, frame.to_numpy(), frame.note, list(note), arrow, days, pl.from_pandas(frame).lazy(), pl.from_pandas(frame).to_arrow()):
        model = DuomoClassifier(**QUICK).fit(x, y)
        assert model.classes_.dtype == bool and model.n_features_in_ in (1, 2)
        assert x is days or model.score(x, y) > 0.95
    indexed = DuomoClassifier(**QUICK).fit(frame.set_index(pd.Index(range(80), name="id")), y)
    assert list(indexed.feature_names_in_) == ["note", "age"] and indexed.predict(frame[:3]).shape == (3,)


def test_targets_beside_mixed_columns_are_checked() -> None:
    frame, y = pd.DataFrame({"note": ["a", "b"] * 30}), np.arange(60.0)
    for wrong in (np.where(y > 3, y, np.nan), np.where(y > 3, y, np.inf), y[:-1]):
        with pytest.raises(ValueError):
            DuomoRegressor(**QUICK).fit(frame, wrong)
    with pytest.raises(ValueError, match="inconsistent"):
        DuomoClassifier(**QUICK).fit(frame, y[:-1] > 3)
    with pytest.raises(ValueError, match="1d array"):
        DuomoClassifier(**QUICK).fit(frame, np.eye(2, dtype=int)[[0, 1] * 30])


def test_trees_answer_beside_the_network_as_in_a_run() -> None:
    """A rule that trees write down, after one pass over few rows: a network alone has learned nothing by then."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(700, 6)), columns=[f"x{place}" for place in range(6)]).assign(
        town=rng.choice(list("abcdefgh"), 700)
    )
    y = np.where((frame.x0 > 0.3) ^ frame.town.isin(list("bdf")), 5.0, -5.0)
    model = DuomoRegressor(epochs=1.0).fit(frame[:500], y[:500])
    assert model.score(frame[500:], y[500:]) > 0.7


@pytest.mark.parametrize("form", [pd.DataFrame, np.asarray])
def test_rows_whose_words_are_all_missing_are_read_as_the_others(form: Any) -> None:
    rows = pd.DataFrame({"age": np.arange(60.0), "city": ["Oslo", "Bergen", None] * 20})
    model = DuomoClassifier(epochs=1).fit(form(rows), np.arange(60) % 2)
    known, empty = model.predict_proba(form(rows))[2::3], rows[2::3].assign(city=np.nan)
    assert (model.predict_proba(form(empty)) == known).all()


@pytest.mark.parametrize("words", [["Oslo", "Bergen"], [1.0, 3.0]])
def test_one_that_was_kept_before_it_said_what_it_learned_from_answers(words: list[Any]) -> None:
    rows = pd.DataFrame({"age": np.arange(60.0), "city": words * 30})
    model = DuomoClassifier(epochs=1).fit(rows, np.arange(60) % 2)
    expected = model.predict_proba(rows)
    del model.mixed_
    assert (model.predict_proba(rows) == expected).all()
