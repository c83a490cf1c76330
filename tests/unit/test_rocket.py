"""Series by fixed kernels: what they are, what they read off the rows, that padding tells nothing, that shapes are told apart and kept."""

import shutil
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from torch import Tensor

import duomo
from duomo.core.contract import Field, Head
from duomo.core.find import make_model, make_task
from duomo.core.recipe import ModelConfig
from duomo.core.table import Table
from duomo.data.loader import finish
from duomo.models.rocket import Config, Kernels, Model
from duomo.train import head, ridge


def shapes(rows: int, seed: int = 0) -> list[dict[str, object]]:
    """Two kinds of bump, anywhere in noise, in series of unlike length: levels, deviations and places tell nothing."""
    random = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        length, wide = int(random.integers(60, 120)), np.arange(-8, 9)
        bump = np.exp(-np.square(wide / 3)) if row % 2 else np.maximum(0, 1 - np.abs(wide) / 5.3)
        bump = np.gradient(np.gradient(bump)) if row % 4 < 2 else -np.gradient(np.gradient(bump))
        series, start = random.normal(0, 0.05, length), int(random.integers(0, length - 17))
        series[start : start + 17] += 3 * bump
        found.append({"series": series.round(4).tolist(), "age": float(random.normal()), "kind": ("round", "sharp")[row % 2 == 0]})
    return found


def test_kernels_sum_to_zero_and_reach_over_the_series() -> None:
    kernels = Kernels(Config(), 100, 3, 0)
    assert kernels.weights.shape == (84, 1, 9) and torch.equal(kernels.weights.sum(2), torch.zeros(84, 1))
    assert kernels.spacings[0] == 1 and 8 * kernels.spacings[-1] <= 99 < 16 * kernels.spacings[-1]
    assert kernels.mixes.sum(2).min() == 1 and kernels.mixes.sum(2).max() <= 3
    assert Kernels(Config(), 5, 1, 0).spacings == [1]


def test_shares_are_those_of_the_steps() -> None:
    kernels = Kernels(Config(2, 1), 40, 1, 0)
    x_BTC = torch.randn(5, 40, 1)
    kernels.settle(x_BTC, torch.full((5,), 40))
    found = kernels(x_BTC, torch.ones(5, 40, dtype=torch.bool))
    answers_BKT = kernels.answers(x_BTC.transpose(1, 2), 0)
    above = answers_BKT > kernels.thresholds[0, :, 0].unsqueeze(1)
    assert torch.allclose(found[:, :42], above[:, :42].float().mean(2))
    assert torch.allclose(found[:, 42:84], above[:, 42:, 4:36].float().mean(2))
    own = answers_BKT[torch.arange(84) % 5, torch.arange(84)]
    shares = (own > kernels.thresholds[0, :, 0].unsqueeze(1)).float().mean(1)
    assert torch.allclose(1 - shares, kernels.levels[0, :, 0], atol=0.05)


@pytest.mark.parametrize("unlike", [False, True])
def test_padding_tells_nothing(unlike: bool) -> None:
    torch.manual_seed(0)
    model = Model(Config(3, 2), {"s": Field("frames", (90, 2), facts={"unlike": unlike})}, Head(2))
    torch.nn.init.normal_(model.head.weight)
    x, length = torch.randn(4, 90, 2), torch.tensor([90, 41, 9, 1])
    x[torch.arange(90) >= length.unsqueeze(1)] = 0
    model.settle({"s": x, "s.length": length})
    together: Tensor = model({"s": x, "s.length": length})
    for row, steps in enumerate(length.tolist()):
        alone = model({"s": x[row : row + 1, :steps], "s.length": length[row : row + 1]})
        assert torch.allclose(alone[0], together[row], atol=1e-4)


def test_of_series_of_unlike_length_shares_of_the_longest_are_told_too() -> None:
    x_BTC, inside_BT = torch.randn(3, 40, 1), torch.arange(40) < torch.tensor([[40], [20], [9]])
    x_BTC[~inside_BT] = 0
    alike, unlike = (Kernels(Config(2, 1), 40, 1, 0, one) for one in (False, True))
    assert unlike.size - alike.size == 2 * 84
    found = unlike(x_BTC, inside_BT)
    answers_BKT = unlike.answers(x_BTC.transpose(1, 2), 0)
    assert torch.equal(found[:, :84], alike(x_BTC, inside_BT)[:, :84])
    assert torch.allclose(found[:, 84:168], (answers_BKT > unlike.thresholds[0, :, 0].unsqueeze(1)).float().mean(2))


def test_the_head_learns_from_validation_rows_in_the_end(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "onward", lambda *_: head.nothing)
    before = duomo.train(shapes(60), target="kind", out=tmp_path / "before").folder.read_tensors("model.safetensors")
    monkeypatch.undo()
    run = duomo.train(shapes(60), target="kind", out=tmp_path / "run")
    after = run.folder.read_tensors("model.safetensors")
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert all(torch.equal(value, after[name]) for name, value in before.items() if not name.startswith("head."))
    assert run.recipe.train.steps == 1
    monkeypatch.setattr(head, "onward", None)  # rows of one group stay on their sides: it is not called
    grouped = [{**row, "who": f"p{place % 12}"} for place, row in enumerate(shapes(60))]
    assert duomo.train(grouped, {"data": {"group": "who"}}, target="kind", out=tmp_path / "grouped").recipe.model.name == "rocket"


def test_shapes_are_told_apart_by_the_recipe_that_is_suggested(tmp_path) -> None:
    run = duomo.train(shapes(240), target="kind", out=tmp_path / "run")
    card = run.scorecard
    assert card["results"][0]["name"] == "rocket" and card["results"][0]["metrics"]["accuracy"]["value"] >= 0.9
    new = shapes(40, seed=9)
    told = [answer["prediction"] for answer in run.predict(new)]
    assert np.mean([answer == row["kind"] for answer, row in zip(told, new, strict=True)]) >= 0.85
    assert [answer["prediction"] for answer in duomo.load(tmp_path / "run").predict(new)] == told


def test_a_run_cut_off_in_its_first_step_ends_as_another(tmp_path, monkeypatch: pytest.MonkeyPatch, stopped: Any) -> None:
    monkeypatch.setattr("duomo.core.device.cores", lambda: 1)
    settings = {"train": {"steps": 2, "exact": True}, "model": {"name": "rocket", "size": "small"}}
    whole = duomo.train(shapes(60), settings, target="kind", out=tmp_path / "whole").folder.read_tensors("model.safetensors")

    with stopped(1):
        duomo.train(shapes(60), settings, target="kind", out=tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints")
    assert (tmp_path / "cut" / "head.safetensors").exists()
    monkeypatch.setattr(head, "fit", None)  # what was fitted is read, not fitted again
    again = duomo.resume(tmp_path / "cut").folder.read_tensors("model.safetensors")
    assert set(again) == set(whole) and all(torch.equal(value, again[name]) for name, value in whole.items())


def test_a_number_is_read_off_series_and_columns_beside_them() -> None:
    random = np.random.default_rng(0)
    pace = random.uniform(0.1, 0.5, 200)
    series = [np.sin(one * np.arange(80) + random.uniform(0, 6)).round(4).tolist() for one in pace]
    place = np.where(np.arange(200) % 3 == 0, "north", "south")
    wanted = 10 * pace + np.where(place == "north", 2.0, 0.0)
    kinds = {"wave": "series", "place": "category", "y": "number"}
    table = Table(pa.table({"wave": series, "place": place, "y": wanted}), kinds)
    task = make_task("regress", {"target": ["y"]})
    assert task.suggest(table).recipe == "series"
    train, test = table.take(np.arange(150)), table.take(np.arange(150, 200))
    task.fit(train)
    model = make_model(ModelConfig("rocket", "small"), task)
    assert "head.weight" in head.settle(model, task, task.encode(train, target=True))
    with torch.inference_mode():
        batch = task.encode(test, target=True)
        found = task.evidence(model(finish(batch.batch(np.arange(50)), task.inputs)), finish(batch.batch(np.arange(50)), task.inputs))
    assert task.measure(found)["rmse"] < 0.35 * float(np.std(wanted)), task.measure(found)


def test_cells_beside_series_that_tell_nothing_are_heard(tmp_path) -> None:
    random = np.random.default_rng(0)
    rows = [{"visits": random.integers(0, 50, 24).tolist(), "score": float(random.normal()), "plan": "abc"[row % 3]} for row in range(240)]
    rows = [row | {"left": "yes" if row["score"] + (row["plan"] == "a") > 0.3 else "no"} for row in rows]
    run = duomo.train(rows, target="left", out=tmp_path / "run")
    card = run.scorecard["results"][0]
    assert run.recipe.model.name == "rocket" and card["metrics"]["accuracy"]["value"] >= 0.85, card["metrics"]["accuracy"]
    assert run.predict(rows[:3]) == duomo.load(tmp_path / "run").predict(rows[:3])


def test_models_that_learn_all_over_do_not_settle() -> None:
    table = Table(pa.table({"a": np.arange(20.0), "y": np.arange(20.0)}), {"a": "number", "y": "number"})
    task = make_task("regress", {"target": ["y"]})
    task.fit(table)
    assert head.settle(make_model(ModelConfig("mlp", "small"), task), task, task.encode(table, target=True)) == []
    with pytest.raises(duomo.ConfigError, match="rocket"):
        Model(Config(), {"t": Field("tokens", (9,), (5,))}, Head(2))


@pytest.mark.parametrize("target", ["y", "kind"])
def test_the_head_is_the_ridge_that_answers_rows_left_out_best(target: str) -> None:
    x, y = load_diabetes(return_X_y=True)
    names = [f"x{place}" for place in range(10)]
    columns = dict(zip(names, x[:150].T, strict=True)) | {"y": y[:150], "kind": np.where(y[:150] > 140, "high", "low")}
    table = Table(pa.table(columns), dict.fromkeys([*names, "y"], "number") | {"kind": "category"})
    other = "kind" if target == "y" else "y"
    task = make_task("regress" if target == "y" else "classify", {"target": [target], "ignore": [other]})
    task.fit(table)
    model, examples = make_model(ModelConfig("rocket", "small"), task), task.encode(table, target=True)
    head.settle(model, task, examples)
    batch = finish(examples.batch(np.arange(150)), task.inputs)
    with torch.inference_mode():
        features, output = model._features(batch).numpy(), model(batch).numpy()
    wanted = (y[:150] - y[:150].mean()) / y[:150].std() if target == "y" else np.where(y[:150] > 140, 1.0, -1.0)
    features = (features - features.mean(0)) / features.std(0)
    peer = RidgeCV(ridge.PENALTIES).fit(features, wanted)
    found = output[:, 0] if target == "y" else output[:, 0] - output[:, 1]
    assert np.corrcoef(found, peer.predict(features))[0, 1] > 0.999
    assert target == "kind" or found == pytest.approx(peer.predict(features), abs=0.02)
