"""Figures against their definitions, the margin against eq. 3. What a run makes of it is in tests/unit/test_identify.py."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from duomo.core.contract import CLUSTER, Vectors
from duomo.core.find import make_task
from duomo.core.table import Table
from duomo.tasks.identify.measures import measure


def evidence(people=6, each=4, spread=1.4, seed=0):
    random = np.random.default_rng(seed)
    middle = np.repeat(random.normal(size=(people, 8)), each, 0)
    vectors = middle + spread * random.normal(size=middle.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return {"vector": vectors.astype(np.float32), CLUSTER: np.repeat(np.arange(people), each)}


def test_figures_are_those_of_their_definitions():
    given = evidence()
    near, who = given["vector"] @ given["vector"].T, given[CLUSTER]
    one, two = np.triu_indices(len(who), 1)
    same, score = who[one] == who[two], near[one, two]
    found = measure(given)
    assert found["auc"] == pytest.approx(roc_auc_score(same, score))
    true_, false_ = score[same], score[~same]
    assert found["d_prime"] == pytest.approx((true_.mean() - false_.mean()) / np.sqrt((true_.var() + false_.var()) / 2), rel=1e-4)
    false, true, _ = roc_curve(same, score, drop_intermediate=False)
    assert found["tpr_1"] == pytest.approx(true[false <= 0.01].max())
    random, right = np.random.default_rng(1), []
    for _ in range(3000):  # one picture of each, drawn; everyone else looks for its person
        gallery = np.array([random.choice(np.flatnonzero(who == person)) for person in range(6)])
        right.append(np.mean([who[gallery][near[row, gallery].argmax()] == who[row] for row in range(len(who)) if row not in gallery]))
    assert found["rank_1"] == pytest.approx(np.mean(right), abs=0.01)


def test_the_margin_is_that_of_equation_3():
    task = make_task("identify", {"target": ["label"], "margin": 0.4, "scale": 10})
    cosines = torch.tensor([[0.5, 0.1], [0.2, -0.3], [0.9, 0.9]])
    total, count = task.loss(Vectors(torch.zeros(3, 2), cosines), {"target.person": torch.tensor([0, 1, -1])})
    expected = 0.0
    for own, other in ((0.5, 0.1), (-0.3, 0.2)):
        wide = 10 * math.cos(math.acos(own) + 0.4)
        expected -= wide - math.log(math.exp(wide) + math.exp(10 * other))
    assert float(total) == pytest.approx(expected, rel=1e-5) and float(count) == 2


def test_few_people_of_a_validation_do_not_make_an_answer_too_sure():
    """Three who look unlike each other; among those learned from many are more alike than that."""
    task, random = make_task("identify", {"target": ["label"]}), np.random.default_rng(0)
    axes = np.repeat(np.eye(40, dtype=np.float32)[:3], 5, 0)
    task.calibrate({"vector": axes, CLUSTER: np.repeat(np.arange(3), 5)})
    assert task.least < 0.05
    vectors = random.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = [f"p{row // 3}" for row in range(60)]
    task.remember(Table(pa.table({"label": people}), {"label": "category"}), lambda table: {"vector": vectors})
    one, two = np.triu_indices(60, 1)
    alike = (vectors @ vectors.T)[one, two][(one // 3) != (two // 3)]
    assert (alike > task.least).mean() == pytest.approx(0.01, abs=0.003) and len(task.known) == 60
