"""Regression beyond the conformance suite: units, intervals, several targets, odd targets."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn import metrics
from sklearn.datasets import load_diabetes

from duomo.core.errors import DataError
from duomo.core.table import Table
from duomo.tasks.regress.task import Config, Main


def diabetes(**targets) -> Table:
    found = load_diabetes()
    columns = {name: found.data[:, c] for c, name in enumerate(found.feature_names)}
    table = pa.table({**columns, **(targets or {"progress": found.target})})
    return Table(table, dict.fromkeys(table.column_names, "number"))


def made(table: Table, *target: str, **options) -> Main:
    task = Main(Config(target=target, **options))
    task.fit(table)
    return task


def perfect(task: Main, table: Table) -> tuple[torch.Tensor, dict]:
    batch = task.encode(table, target=True).batch(np.arange(len(table)))
    return batch["target.value"].clone(), batch


def test_every_residual_is_drawn():
    gaps = np.random.default_rng(0).exponential(size=400)
    task = made(diabetes(), "progress")
    (_, residuals) = task.views({"prediction": gaps[:, None], "target": np.zeros((400, 1))})
    assert residuals.kind == "histogram" and len(residuals.data["edges"]) == len(residuals.data["values"]) + 1
    assert sum(residuals.data["values"]) == 400


@pytest.mark.parametrize("log", [False, True])
def test_units(log):
    table = diabetes()
    task = made(table, "progress", log=log)
    output, batch = perfect(task, table)
    assert task.measure(task.evidence(output, batch))["rmse"] == pytest.approx(0, abs=1e-3)
    assert float(task.loss(output, batch)[0]) == 0.0
    noisy = task.evidence(output + 0.3 * torch.randn_like(output), batch)
    predicted, target = noisy["prediction"][:, 0], noisy["target"][:, 0]
    measured = task.measure(noisy)
    assert measured["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, predicted))
    assert measured["r2"] == pytest.approx(metrics.r2_score(target, predicted))


@pytest.mark.parametrize("log", [False, True])
def test_interval_holds_nine_in_ten(log):
    table = diabetes()
    task = made(table, "progress", log=log)
    output, batch = perfect(task, table)
    torch.manual_seed(0)
    noisy = output + 0.5 * torch.randn_like(output)
    half = len(table) // 2
    task.calibrate({name: value[:half] for name, value in task.evidence(noisy, batch).items()})
    answers = task.answer(lambda _: noisy, batch)
    target = batch["target.raw"][:, 0].numpy()
    inside = (np.array(answers["low"]) <= target) & (target <= np.array(answers["high"]))
    assert 0.85 < inside[half:].mean() < 0.96


def test_losses_by_name():
    table = diabetes()
    for name, expected in (("mse", 4.0), ("mae", 2.0), ("huber", 1.5)):
        task = made(table, "progress", loss=name)
        output, batch = perfect(task, table)
        total, count = task.loss(output + 2, batch)
        assert float(total / count) == pytest.approx(expected, rel=1e-4)
        ensemble, _ = task.loss((output + 2).unsqueeze(1).expand(-1, 3, -1), batch)
        assert float(ensemble) == pytest.approx(float(total), rel=1e-5)


def test_several_targets_and_gaps():
    found = load_diabetes().target
    second = np.where(np.arange(len(found)) % 5 == 0, np.nan, found * 2)
    table = diabetes(progress=found, double=second)
    task = made(table, "progress", "double")
    assert task.head.parts == (1, 1)
    output, batch = perfect(task, table)
    assert all(bool(value.isfinite().all()) for value in batch.values())
    measured = task.measure(task.evidence(output, batch))
    assert measured["double.r2"] == pytest.approx(1, abs=1e-6) and int(task.loss(output, batch)[1]) == int(np.isfinite(second).sum()) + len(
        found
    )
    gone = diabetes(progress=np.where(np.arange(len(found)) < 3, np.nan, found))
    mask, sentences = made(gone, "progress").usable(gone)
    assert mask.sum() == len(found) - 3 and "3 of 442" in sentences[0]


def test_a_target_that_cannot_be_learned():
    rows = len(load_diabetes().target)
    with pytest.raises(DataError, match="must vary"):
        made(diabetes(progress=[1.0] * rows), "progress")
    with pytest.raises(DataError, match="must be a number"):
        made(diabetes(progress=["low", "high"] * (rows // 2)), "progress")
    with pytest.raises(DataError, match="above -1"):
        made(diabetes(progress=np.linspace(-5, 5, rows)), "progress", log=True)


def test_baselines_beat_the_mean():
    table = diabetes()
    order = np.random.default_rng(0).permutation(len(table))
    train, test = table.take(order[:340]), table.take(order[340:])
    task = made(train, "progress")
    scores = {}
    for baseline in task.baselines():
        baseline.fit(train)
        scores[baseline.name] = task.measure(baseline.evidence(test))["r2"]
    assert scores["mean"] <= 0.0 and scores["gradient-boosted trees"] > 0.25 and scores["ridge regression"] > 0.35


def test_multiples_of_a_level():
    """Small and large alike: what is told beside the level is learned, and the interval is as wide as the level is high."""
    level = np.where(np.random.default_rng(0).permutation(100) % 2, 10.0, 1000.0)
    beside = level * np.random.default_rng(1).uniform(0.5, 1.5, 100)
    small = level == 10
    columns = {"beside": beside, "level": level, "sold": 2 * beside}
    table = Table(pa.table(columns), dict.fromkeys(columns, "number"))
    task = made(table, "sold", level="level", alike=("beside", "level"))
    output, batch = perfect(task, table)
    told = batch["numbers"][:, 0]
    assert 0.5 < told[small].std() / told[~small].std() < 2 and 0.5 < output[small].std() / output[~small].std() < 2
    evidence = task.evidence(output + 0.1 * torch.randn_like(output), batch)
    task.calibrate(evidence)
    again = Main(task.config)
    again.restore(task.state())
    asked = again.encode(table.without(["sold"]), target=False).batch(np.arange(100))
    answers = again.answer(lambda _: output, asked)
    assert answers["prediction"] == pytest.approx((2 * beside).tolist(), rel=1e-4)
    widths = np.array(answers["high"]) - np.array(answers["low"])
    assert np.median(widths[~small]) == pytest.approx(100 * np.median(widths[small]), rel=0.2)
    wild = Table(pa.table({**columns, "sold": np.where(np.arange(100) == 7, 1e6, 2 * beside)}), table.kinds)
    values = task.encode(wild, target=True).batch(np.arange(100))
    assert values["target.value"].max() == 5 and values["target.raw"][7] == 1e6  # learned as a large one, judged as it is
    late = pa.array(np.where(np.arange(100) < 70, np.nan, level), from_pandas=True)  # noted in later rows alone
    made(Table(pa.table({**columns, "late": late}), {**table.kinds, "late": "number"}), "sold", level="level", alike=("beside",))
    below = Table(pa.table({**columns, "sold": 2 * beside - 900}), table.kinds)
    task = made(below, "sold", level="level", alike=("beside",))  # values below zero have no multiples
    output, batch = perfect(task, below)
    assert task.measure(task.evidence(output, batch))["rmse"] == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("multiples", [True, False])
def test_later_rows_choose_multiples_or_differences(multiples: bool):
    """A season that grows with the level, or one that does not; never numbers as they stand, whatever the trend did so far."""
    step = np.arange(240)
    level, season = 20 * 1.02**step, np.where(step % 2, 1.0, -1.0)
    sold = level * (1 + 0.4 * season) if multiples else level + 10 * season
    table = Table(pa.table({"level": level, "odd": season, "sold": sold}), dict.fromkeys(("level", "odd", "sold"), "number"))
    task = made(table, "sold", level="level")
    assert task.level is not None and bool(task.level.least) is multiples


def test_no_answer_is_below_nothing():
    """Where none of the rows to learn from is below 0 and some are at it; never where 0 is merely met, or less is."""
    visits = np.random.default_rng(0).poisson(1.0, 442).astype(float)
    for target, least in ((visits, 0.0), (visits + 1, -9.0), (visits - 1, -9.0)):
        task = made(diabetes(visits=target), "visits")
        _, batch = perfect(task, diabetes(visits=target))
        task.halfwidth_K = [2.0]
        low = torch.full((442, 1), -20.0)
        again = Main(task.config)
        again.restore(task.state())
        for one in (task, again):
            answers = one.answer(lambda _, low=low: low, batch)
            assert (min(answers["prediction"]) == least) == (least == 0) and (min(answers["low"]) == least) == (least == 0)
            assert (one.evidence(low, batch)["prediction"].min() >= 0) == (least == 0)
