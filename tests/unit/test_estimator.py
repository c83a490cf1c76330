"""scikit-learn's own examination of the two estimators, and frames with more than numbers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from duomo import DuomoClassifier, DuomoRegressor

QUICK = {"model": "mlp", "size": "small", "epochs": 40, "batch_size": 32, "learning_rate": 5e-3}
SKIPPED: dict[str, str] = {}
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
