"""Trees and a line beside a network: what is written of them answers like scikit-learn, and is kept and weighed as it should be."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import duomo
from duomo.core import find
from duomo.core.contract import Field, Goal
from duomo.core.device import Execution
from duomo.core.errors import Interrupted
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.run import RunFolder
from duomo.core.table import Table
from duomo.core.tensors import Batch
from duomo.data import split
from duomo.exchange import engines
from duomo.exchange.opening import open_pretrained
from duomo.nn.council import KNOWN, Council, Forest
from duomo.pipeline import compare, judged
from duomo.train import adapt, boosted_trees, clock, council, linear
from duomo.train.gradient import Gradient
from duomo.train.holdout import loss
from duomo.train.learners import Line, Trees, at_most, joined

ROWS = 400


def table(seed: int = 0) -> np.ndarray:
    """(N, 4): two ranks, the second with gaps and one value that is never met, and two numbers."""
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, [5, 40], (ROWS, 2)).astype(np.float64)
    x_NF = np.concatenate([ranks, rng.normal(size=(ROWS, 2)).astype(np.float32)], 1)
    x_NF[(rng.random(ROWS) < 0.1) | (x_NF[:, 1] == 8), 1] = KNOWN
    return x_NF


def goals(x_NF: np.ndarray) -> list[Goal]:
    known, even = np.ones(len(x_NF), bool), np.ones(len(x_NF))
    score = (x_NF[:, 0] == 2) + (x_NF[:, 1] % 3 == 1) + x_NF[:, 2]
    return [
        Goal("class", (score > 0.5).astype(np.int64), known, 0, 2, even),
        Goal("class", np.digitize(score, [0, 1]).astype(np.int64), known, 2, 4, even),  # the fourth class is never seen
        Goal("class", (score < 0).astype(np.int64), known, 6, 1, even),
        Goal("mean", score, known, 7, 1, even),
        Goal("median", score**3, known, 8, 1, np.linspace(1, 2, len(x_NF))),
    ]


def grown(x_NF: np.ndarray) -> tuple[Forest, np.ndarray]:
    """A forest for five goals side by side, and scikit-learn's own logits (N, 9)."""
    written, said = [], []
    for goal in goals(x_NF):
        trees = Trees(goal, ROWS, 2)
        trees.grow(30, x_NF, np.arange(ROWS))
        trees.cut(25)
        written.append(trees.written())
        said.append(trees.logits(x_NF))
    forest = Forest(9)
    forest.put(**{name: torch.from_numpy(value) for name, value in joined(written, goals(x_NF), 9).items()})
    return forest, np.concatenate(said, 1)


def test_trees_answer_like_scikit_learn() -> None:
    x_NF = table()
    forest, said = grown(x_NF)
    assert np.ptp(said, 0).min() == 0 and np.ptp(said, 0).max() > 1  # the unseen class is flat, others are not
    assert len(forest.mask_CK) > 10  # ranks are divided too
    np.testing.assert_allclose(forest(torch.from_numpy(x_NF).float()).numpy(), said, atol=1e-4)


def test_trees_grown_bit_by_bit_are_the_trees_grown_at_once() -> None:
    x_NF, rows = table(), np.arange(ROWS)
    for goal in goals(x_NF):
        slowly, at_once = Trees(goal, ROWS, 2), Trees(goal, ROWS, 2)
        said = list[np.ndarray]()
        for count in (1, 4, 9):
            slowly.grow(count, x_NF, rows)
            said += [stage.copy() for stage in slowly.staged(x_NF[:50])]
        at_once.grow(9, x_NF, rows)
        assert len(said) == 9 and np.array_equal(said[-1], at_once.logits(x_NF[:50]))
        slowly.cut(4)
        assert np.array_equal(said[3], slowly.logits(x_NF[:50]))


def test_names_that_say_nothing_do_not_lead_trees_astray() -> None:
    """Of hundreds of values with few rows each some subset holds whatever is rare."""
    rng, rows = np.random.default_rng(0), 3000
    x_NF = np.concatenate([rng.integers(0, 250, (2 * rows, 2)), rng.normal(size=(2 * rows, 1))], 1).astype(np.float64)
    score, every_N = x_NF[:, 2] + rng.normal(size=2 * rows), np.ones(2 * rows)
    goal, losses = Goal("class", (score > np.quantile(score, 0.97)).astype(np.int64), every_N > 0, 0, 2, every_N), []
    for told_NF, categories in ((x_NF, 2), (x_NF[:, 2:], 0)):
        trees = Trees(goal, rows, categories)
        trees.grow(40, told_NF, np.arange(rows))
        losses.append(loss(goal, trees.logits(told_NF[rows:]), np.arange(rows, 2 * rows)))
    assert losses[0] < 1.1 * losses[1]


def test_a_forest_is_kept_in_the_size_it_grew_to(tmp_path: Path) -> None:
    x_BF = torch.from_numpy(table()).float()
    forest, _ = grown(table())
    save_file(forest.state_dict(), tmp_path / "forest.safetensors")
    other = Forest(9)
    other.load_state_dict(load_file(tmp_path / "forest.safetensors"))
    assert torch.equal(other(x_BF), forest(x_BF))
    with pytest.raises(RuntimeError, match="root_T"):
        other.load_state_dict({name: value for name, value in forest.state_dict().items() if name != "root_T"})


class Alone(nn.Module):
    def __init__(self, forest: Forest):
        super().__init__()
        self.forest = forest

    def forward(self, batch: Batch) -> torch.Tensor:
        found: torch.Tensor = self.forest(batch["x"])
        return found


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_engines_take_a_forest_and_any_number_of_rows(name: str) -> None:
    if not engines.installed(name):
        pytest.skip(f"{name} is not installed")
    x_BF, alone = torch.from_numpy(table()).float(), Alone(grown(table())[0]).eval()
    made, _ = engines.built(engines.Engine(name), alone, [{"x": x_BF[:8]}], Execution())
    for rows in (1, 8, 50):
        torch.testing.assert_close(made({"x": x_BF[:rows]}), alone({"x": x_BF[:rows]}), atol=1e-5, rtol=1e-5)


def test_thresholds_divide_single_precision_alike() -> None:
    x = np.sort(np.random.default_rng(0).normal(size=1000).astype(np.float32))
    between = (x[1:].astype(np.float64) + x[:-1]) / 2
    assert ((x[:-1] <= at_most(between)) & (x[1:] > at_most(between))).all()


def test_a_line_answers_like_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    x_NF, rows = table() / [5, 255, 1, 1], np.arange(ROWS)
    for goal in goals(x_NF)[:2]:
        line = Line(goal)
        line.fit(x_NF, rows, 100.0)
        line.fit(x_NF, rows, 1.0)  # from where the stronger penalty ended
        theirs = LogisticRegression(max_iter=500).fit(x_NF, goal.values).predict_proba(x_NF)
        ours = torch.softmax(torch.from_numpy(line.logits(x_NF)), 1).numpy()
        np.testing.assert_allclose(ours[:, : theirs.shape[1]], theirs, atol=5e-3)


@pytest.mark.parametrize("size", [2, 4])
def test_an_only_class_is_the_answer(size: int) -> None:
    """A fold without the one row of the other class."""
    x_NF, known = table(), np.ones(ROWS, bool)
    trees = Trees(Goal("class", np.ones(ROWS, np.int64), known, 0, size, known.astype(float)), ROWS, 2)
    trees.grow(3, x_NF, np.arange(ROWS))
    assert (trees.logits(x_NF[:5]).argmax(1) == 1).all()


def test_what_was_never_seen_is_missing() -> None:
    advice = Council({"categories": Field("categories", (2,), (3, 4))}, 2)
    advice.put(rank_V=torch.tensor([KNOWN, 1, 0, KNOWN, 2, KNOWN, 0]))
    found = advice.features({"categories": torch.tensor([[1, 3], [0, 9], [-4, 2]])})
    assert found.tolist() == [[1, 0], [KNOWN, KNOWN], [KNOWN, KNOWN]]


def steps(seed: int, rows: int = 600) -> pd.DataFrame:
    """A rule that trees write down in two splits, among columns of noise."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 8)), columns=[f"x{place}" for place in range(8)])
    frame["town"] = rng.choice(list("abcdefgh"), rows)
    frame["y"] = np.where((frame.x0 > 0.3) ^ frame.town.isin(list("bdf")), 5.0, -5.0) + rng.normal(size=rows) * 0.1
    return frame


def slope(seed: int, rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 12)), columns=[f"x{place}" for place in range(12)])
    return frame.assign(y=frame.to_numpy() @ np.linspace(-1, 1, 12))


@pytest.mark.parametrize(("make", "voice"), [(steps, "trees"), (slope, "line")])
def test_who_knows_best_is_heard_most(make: object, voice: str, tmp_path: Path) -> None:
    assert callable(make)
    settings = {"data": {"target": ("y",)}, "train": {"epochs": 2.0}, "augment": {"noise": 0.0}}
    run = duomo.train(make(0), settings, out=tmp_path / "run", reporter=Silent())
    shares = run.scorecard["facts"]["voices"]
    assert shares[voice] > max(shares.values()) - 0.01, shares  # trees that lean on a line know what it knows
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    again = duomo.load(tmp_path / "run").predict(make(1))
    assert again.equals(run.predict(make(1)))
    gap = float(np.sqrt(np.mean((again["prediction"].to_numpy() - make(1)["y"].to_numpy()) ** 2)))
    assert gap < 0.5 * float(make(1)["y"].std()), gap


def leaning(first: int, rows: int) -> pd.DataFrame:
    """A trend that goes on beyond what was learned from, and steps on it."""
    rng = np.random.default_rng(first)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["a", "b", "c"])
    frame["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(first + np.arange(rows), "D")
    return frame.assign(y=(first + np.arange(rows)) / 10 + np.where((frame.a > 0) ^ (frame.b > 0.3), 4.0, -4.0))


def test_trees_learn_what_a_line_left_over(tmp_path: Path) -> None:
    """They never answer beyond what they saw; what is kept, and learned from all rows in the end, is the sum of both."""
    settings = {"data": {"target": ("y",), "time": "day"}, "train": {"epochs": 1.0}}
    run = duomo.train(leaning(0, 400), settings, out=tmp_path / "run", reporter=Silent())
    advice = next(one for one in run.model.modules() if isinstance(one, Council))
    assert len(advice.lean_FS) and run.scorecard["facts"]["voices"]["trees"] > 0.5
    late = leaning(400, 100)
    found = duomo.load(tmp_path / "run").predict(late)
    assert found.equals(run.predict(late))
    assert np.sqrt(np.mean((found["prediction"] - late.y) ** 2)) < 0.5 * late.y.std()
    plain = duomo.train(steps(0, 400), {"train": {"epochs": 1.0}}, target="y", out=tmp_path / "plain", reporter=Silent())
    assert not any(len(one.lean_FS) for one in plain.model.modules() if isinstance(one, Council))


def test_forests_of_few_rows_speak_as_one(tmp_path: Path) -> None:
    """As long as they have no more rounds together than one may have."""
    run = duomo.train(
        slope(0, 200).assign(y=lambda rows: rows.y > 0), {"train": {"epochs": 1.0}}, target="y", out=tmp_path / "run", reporter=Silent()
    )
    forest = next(one for one in run.model.modules() if isinstance(one, Council)).forest
    first = forest.root_T.numpy()
    assert len(first) % boosted_trees.BAGS == 0 and boosted_trees.BAGS < len(first) <= boosted_trees.TREES
    assert len({tuple(forest.feature_L[place : place + 3].tolist()) for place in first[:: len(first) // boosted_trees.BAGS]}) > 1


def test_divisions_of_some_thousand_rows_choose_from_some_columns() -> None:
    """Of many rows the best of all columns is best; of fewer trees that differ err less together."""
    rng = np.random.default_rng(0)
    x_NF = rng.normal(size=(300, 6))
    goal = Goal("mean", x_NF.sum(1), np.ones(300, bool), 0, 1, np.ones(300))
    for count, alike in ((4000, False), (20_000, True)):
        said = []
        for seed in range(2):
            trees = Trees(goal, count, 0, seed=seed)
            trees.grow(3, x_NF, np.arange(300))
            said.append(trees.logits(x_NF))
        assert np.array_equal(*said) is alike


def test_few_rows_that_become_many_have_trees_of_the_kind_that_was_chosen() -> None:
    """The rounds suit the rate of few rows; and by that of many, which choose from all columns, forests that speak as one are all alike."""
    rng = np.random.default_rng(0)
    x_NF, even = rng.normal(size=(2600, 3)).astype(np.float32), np.ones(2600)
    goal = Goal("mean", np.sign(x_NF[:, 0] * x_NF[:, 1]) + 1.5 * rng.normal(size=2600), np.ones(2600, bool), 0, 1, even)
    one, batch = Council({"x": Field("numbers", (3,))}, 1), {"x": torch.from_numpy(x_NF)}
    rows = council.Rows(1700, batch, torch.zeros(900, 1), [goal], False, time.monotonic() + 60, council.PRIOR, council.FIRM)
    voice = boosted_trees.fit(one, rows, None, Silent().progress("", 1, ""))
    before, count = float(one.forest(batch["x"]).std()), len(one.forest.root_T)
    assert voice is not None and count % boosted_trees.BAGS == 0
    voice.onward(rows)
    first = one.forest.root_T[:: count // boosted_trees.BAGS].tolist()
    assert len(one.forest.root_T) == count and len({tuple(one.forest.feature_L[place : place + 9].tolist()) for place in first}) > 1
    assert float(one.forest(batch["x"]).std()) > 0.96 * before


def test_folds_keep_together_what_the_split_kept_together() -> None:
    """Patients, or blocks of neighbours: a fold that held a row's near copy would choose what knows them by heart."""
    rng = np.random.default_rng(0)
    group_N = np.append(rng.integers(0, 40, 290), np.full(10, -1))  # ten belong to nobody
    goal = Goal("class", rng.integers(0, 2, 400), np.ones(400, bool), 0, 2, np.ones(400))
    rows = council.Rows(300, {}, torch.zeros(100, 2), [goal], True, 0.0, council.PRIOR, council.FIRM, group_N)
    parts = rows.parts(goal, 300)
    assert len(parts) == 5 and sorted(np.concatenate([judge for _, judge in parts])) == list(range(300))
    assert all(not {*group_N[learn]} & {*group_N[judge]} - {-1} and len(judge) == 60 for learn, judge in parts)
    assert len([judge for _, judge in parts if -1 in group_N[judge]]) > 1
    for held in (replace(rows, groups=None), replace(rows, groups=np.arange(300) // 100)):  # by time, or of three patients
        ((learn, judge),) = held.parts(goal, 300)
        assert len(learn) == 300 and list(judge) == list(range(300, 400))
    rare = goal._replace(values=np.where(np.append(group_N, np.zeros(100)) == 7, 2, goal.values), size=3)  # one patient has all of a class
    assert len(replace(rows, goals=[rare]).parts(rare, 300)) == 1
    table = Table(pa.table({"x": np.arange(300.0), "who": ["a", "b", "b"] * 100}))
    assert split.together(table, DataConfig(group="who"))[:4].tolist() == [0, 1, 1, 0] and split.together(table, DataConfig()) is None
    block_N = split.together(table, DataConfig(split="blocks"))
    assert block_N is not None and (np.diff(block_N) >= 0).all() and len(np.unique(block_N)) > 5


def test_each_of_a_thousand_values_counts(tmp_path: Path) -> None:
    """More shops than trees tell apart, each with a level of its own, which a number turns round."""
    rng = np.random.default_rng(0)
    level, shop = rng.normal(size=400), rng.integers(0, 400, 4000)
    frame = pd.DataFrame({"shop": [f"shop {one}" for one in shop], "season": rng.normal(size=4000)})
    frame["y"] = level[shop] * np.where(frame.season > 1, -1.0, 1.0) + rng.normal(size=4000) * 0.1
    settings = {"data": {"target": ("y",)}, "train": {"epochs": 1.0}}
    run = duomo.train(frame[:3000], settings, out=tmp_path / "run", reporter=Silent())
    found = duomo.load(tmp_path / "run").predict(frame[3000:])
    assert np.sqrt(np.mean((found["prediction"] - frame.y[3000:]) ** 2)) < 0.6 * frame.y[3000:].std()
    assert found.equals(run.predict(frame[3000:])) and run.scorecard["facts"]["voices"]["trees"] > 0.5
    new = run.predict(frame[3000:3010].assign(shop="never seen"))["prediction"]
    assert new.notna().all() and new.abs().max() < 1.5


def test_a_large_category_does_not_silence_the_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where its thousand values would take too long, the line does without them, also when it learns from the validation."""
    monkeypatch.setattr(linear, "_affordable", lambda council, rows, ends, wide: 0 if wide else 20_000)
    frame = slope(0, 1200).assign(shop=[f"shop {row % 300}" for row in range(1200)])
    settings = {"data": {"target": ("y",), "kind": {"shop": "category"}}, "train": {"epochs": 1.0}}
    run = duomo.train(frame, settings, out=tmp_path / "run", reporter=Silent())
    council = next(one for one in run.model.modules() if isinstance(one, Council))
    assert council.large and not len(council.values[0].weight_PS) and len(council.bias_S)
    assert run.scorecard["facts"]["voices"]["line"] > 0.5
    assert duomo.load(tmp_path / "run").predict(frame).equals(run.predict(frame))


def test_many_classes_have_their_trees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fields of a chessboard."""
    monkeypatch.setattr(boosted_trees, "MOST_TREES", 8 * 64)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((800, 2)), columns=["east", "north"])
    frame["field"] = [f"{'abcdefgh'[int(8 * east)]}{int(8 * north)}" for east, north in zip(frame.east, frame.north, strict=True)]
    run = duomo.train(frame, {"train": {"steps": 5}}, target="field", out=tmp_path / "map", reporter=Silent())
    assert run.scorecard["facts"]["voices"]["trees"] > 0.02
    assert run.scorecard["results"][0]["metrics"]["accuracy"]["value"] > 0.6


def test_labels_and_several_targets_take_advice_too(tmp_path: Path) -> None:
    frame = steps(0, 120)
    frame["tags"] = [";".join(filter(None, ("high" * (y > 0), "east" * (town < "d")))) for y, town in zip(frame.y, frame.town, strict=True)]
    frame["z"] = -frame.y
    quick = {"train": {"epochs": 2.0}}
    lists = duomo.train(frame.drop(columns=["y", "z"]), quick, target="tags", out=tmp_path / "tags", reporter=Silent())
    both = duomo.train(frame.drop(columns="tags"), quick, target=("y", "z"), out=tmp_path / "both", reporter=Silent())
    for run in (lists, both):
        assert run.scorecard["facts"]["voices"]["network"] < 1


def test_a_run_from_before_is_answered_by_its_network(tmp_path: Path) -> None:
    frame, settings = steps(0, 200), {"data": {"target": ("y",)}, "train": {"epochs": 1.0}, "model": {"options": {"advice": False}}}
    run = duomo.train(frame, settings, out=tmp_path / "run", reporter=Silent())
    assert run.scorecard["facts"]["voices"] == {} and not any("council" in name for name in run.model.state_dict())
    recipe = (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")
    folder = RunFolder(tmp_path / "run")
    folder.write_text("recipe.toml", recipe.replace("advice = false", "advice = true"))  # what the recipe of an older run amounts to
    folder.seal()
    assert duomo.load(tmp_path / "run").predict(frame).equals(run.predict(frame))


def test_rows_without_weight_and_targets_hardly_known_are_no_lesson(tmp_path: Path) -> None:
    frame = steps(0, 120).assign(w=lambda rows: (rows.index >= 100) * 1.0)
    heavy = {"train": {"epochs": 1.0}, "task": {"weight": "w"}, "data": {"target": ("y",)}}
    run = duomo.train(frame, heavy, out=tmp_path / "heavy", reporter=Silent())
    assert run.scorecard["facts"]["voices"]["network"] < 1
    frame["z"] = frame.y.where(frame.index % 20 == 0)  # five rows to learn from, or fewer
    run = duomo.train(frame, {"train": {"epochs": 1.0}}, target=("y", "z"), out=tmp_path / "gaps", reporter=Silent())
    assert run.scorecard["facts"]["voices"] == {}


def test_few_rows_are_all_learned_from_in_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the validation rows, after these have done their work; the shares stay."""
    settings = {"data": {"target": ("y",), "valid_share": 0.4}, "train": {"epochs": 1.0}}
    whole = duomo.train(steps(0, 200), settings, out=tmp_path / "whole", reporter=Silent())
    monkeypatch.setattr(council, "_again", lambda *_: None)
    part = duomo.train(steps(0, 200), settings, out=tmp_path / "part", reporter=Silent())
    gaps = [float(((run.predict(steps(1))["prediction"] - steps(1).y) ** 2).mean()) for run in (whole, part)]
    assert gaps[0] < gaps[1], gaps
    assert whole.scorecard["facts"]["voices"].keys() == part.scorecard["facts"]["voices"].keys()


def test_how_often_one_looks_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forests = []
    for glance in (4.0, 0.0):
        monkeypatch.setattr(boosted_trees, "GLANCE", glance)
        run = duomo.train(steps(0, 200), {"train": {"epochs": 1.0}}, target="y", out=tmp_path / str(glance), reporter=Silent())
        forests.append({name: value for name, value in run.model.state_dict().items() if "forest" in name})
    assert forests[0].keys() == forests[1].keys() and all(torch.equal(forests[0][name], forests[1][name]) for name in forests[0])


def test_many_rows_give_way_to_little_time() -> None:
    x_NF = np.random.default_rng(0).normal(size=(30_000, 9)).astype(np.float32).astype(np.float64)
    known, even = np.ones(len(x_NF), bool), np.ones(len(x_NF))
    goal = Goal("class", (x_NF[:, 0] > 0).astype(np.int64), known, 0, 2, even)
    rows = council.Rows(25_000, {}, torch.zeros(5000, 2), [goal], False, 0.0, council.PRIOR, council.FIRM)
    assert boosted_trees._affordable(rows, goal, x_NF, 0, 0.0) == boosted_trees.TRIED
    assert boosted_trees.TRIED < boosted_trees._affordable(rows, goal, x_NF, 0, 20.0) <= boosted_trees.TREE_ROWS
    late = goal._replace(values=np.arange(len(x_NF)) * 12 // len(x_NF), size=12)  # classes one after the other
    assert boosted_trees.TRIED <= boosted_trees._affordable(replace(rows, goals=[late]), late, x_NF, 0, 20.0) <= boosted_trees.TREE_ROWS


def test_a_hurried_line_tries_all_penalties_on_few_rows(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [{"a": float(a), "b": float(b), "y": 3 * a - 2 * b + 0.01 * float(noise)} for a, b, noise in random.normal(size=(90, 3))]
    run = duomo.train(rows, {"train": {"minutes": 0.001}}, target="y", out=tmp_path / "run", reporter=Silent())
    assert run.scorecard["results"][0]["metrics"]["r2"]["value"] > 0.99, run.scorecard["results"][0]["metrics"]


def test_a_hurried_council_and_what_goes_on_from_it(tmp_path: Path) -> None:
    run = duomo.train(steps(0), {"train": {"minutes": 0.001}}, target="y", out=tmp_path / "run", reporter=Silent())
    advice = next(one for one in run.model.modules() if isinstance(one, Council))
    assert 0 < len(advice.forest.root_T) <= boosted_trees.HURRIED
    fresh = find.make_model(run.recipe.model, run.task)
    words, new = adapt.load(fresh, open_pretrained(str(run.path)))
    assert "are fitted anew" in words and "council." not in words
    assert new == []  # what is empty is not new: it is fitted when all has learned
    assert not any(value.numel() for name, value in fresh.named_buffers() if "council" in name)


def test_on_a_busy_machine_trees_have_more_of_a_short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that a core gives to others are no seconds; the network has what is left, and no more than all is given away."""
    model = nn.Module()
    model.council = Council({"numbers": Field("numbers", (2,))}, 1)
    for share, minutes, seconds in ((1.0, 1.0, 12.0), (0.5, 1.0, 20.0), (0.1, 1.0, 24.0), (0.1, 10.0, 120.0), (1.0, 0.3, 7.2)):
        monkeypatch.setattr(council.clock, "given", lambda _, share=share: share)
        assert council.minutes_left(model, minutes) == pytest.approx(minutes - seconds / 60)
        assert council.allowed(model, minutes, 99.0) == pytest.approx(seconds)
    assert council.minutes_left(model, 0.0) == 0.0 and council.allowed(model, 0.0, 200.0) == 100.0


def test_a_core_of_ones_own_gives_itself() -> None:
    assert 0.02 <= clock.given(0.05) <= 1.01


def test_a_stop_while_trees_grow_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grow = Trees.grow
    monkeypatch.setattr(Trees, "grow", lambda *given: os.kill(os.getpid(), signal.SIGTERM))
    settings = {"train": {"epochs": 2.0, "checkpoint_steps": 1000}}
    with pytest.raises(Interrupted, match="duomo resume"):
        duomo.train(write(steps(0, 120), tmp_path), settings, target="y", out=tmp_path / "run", reporter=Silent())
    monkeypatch.setattr(Trees, "grow", grow)
    monkeypatch.setattr(Gradient, "__call__", lambda *_: pytest.fail("the network had learned"))
    run = duomo.resume(tmp_path / "run")
    assert run.scorecard["facts"]["voices"]["trees"] > 0


def write(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


def test_many_columns_take_fewer_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(boosted_trees, "SPLITS", 27)
    run = duomo.train(steps(0, 120), {"train": {"epochs": 1.0}}, target="y", out=tmp_path / "run", reporter=Silent())
    advice = next(one for one in run.model.modules() if isinstance(one, Council))
    assert 0 < len(advice.forest.root_T) <= 3  # nine columns


def test_where_rounds_are_too_few_trees_go_faster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of classes there are few rounds; where those suffice the slower rate stays."""
    forests = []
    for most in (600, 18):
        monkeypatch.setattr(boosted_trees, "TREES", most)
        monkeypatch.setattr(boosted_trees, "BAGS", 1)
        run = duomo.train(steps(0, 200), {"train": {"epochs": 1.0}}, target="y", out=tmp_path / str(most), reporter=Silent())
        forests.append(next(one for one in run.model.modules() if isinstance(one, Council)).forest)
    first = [float(one.value_L[one.child_L == torch.arange(len(one.child_L))][:2].abs().max()) for one in forests]
    assert len(forests[1].root_T) <= 18 < len(forests[0].root_T) and first[1] == pytest.approx(1.5 * first[0], rel=0.3), first


def test_beside_texts_the_cells_are_heard_where_they_tell_something(tmp_path: Path) -> None:
    """Titles that say nothing, and numbers whose line says all; then a word that says all, and numbers that say nothing."""
    words = np.random.default_rng(0).choice(["plain", "new", "good", "large", "blue", "old"], (200, 9))
    frame = slope(0, 200).assign(title=[" ".join(row) + f" {place} sold" for place, row in enumerate(words)])
    quick = {"data": {"kind": {"title": "text"}}, "train": {"epochs": 3.0}}
    run = duomo.train(frame, quick, target="y", out=tmp_path / "numbers", reporter=Silent())
    assert run.facts["kinds"]["title"] == "text" and run.scorecard["facts"]["voices"]["network"] < 0.5
    assert run.scorecard["results"][0]["metrics"]["r2"]["value"] > 0.5
    frame["kind"] = np.where((words == "blue").any(1), "blue", "other")
    run = duomo.train(
        frame.drop(columns="y"), {**quick, "train": {"epochs": 12.0}}, target="kind", out=tmp_path / "word", reporter=Silent()
    )
    assert run.scorecard["results"][0]["metrics"]["accuracy"]["value"] > 0.95
    assert duomo.load(tmp_path / "word").predict(frame).equals(run.predict(frame))


def test_sounds_are_heard_alike_alone_and_in_company() -> None:
    """What describes a sound does not depend on the longer ones beside it, is kept with the weights, and is learned from."""
    torch.manual_seed(0)
    field = {"audio:audio": Field("waveform", (8000,), facts={"rate": 8000})}
    made, wave_BS = Council(field, 2), torch.randn(3, 8000) * torch.tensor([[0.1], [0.2], [0.01]])
    length_B = torch.tensor([8000, 3000, 1])
    wave_BS *= torch.arange(8000) < length_B[:, None]
    batch = {"audio:audio": wave_BS, "audio:audio.length": length_B}
    together_BD = made.describe(batch)
    for row, length in enumerate(length_B.tolist()):
        alone = made.describe({"audio:audio": wave_BS[row : row + 1, :length], "audio:audio.length": length_B[row : row + 1]})
        assert torch.allclose(alone[0], together_BD[row], atol=1e-4) and torch.isfinite(alone).all()
    made.put(level_2D=torch.stack([together_BD.mean(0), together_BD.std(0) + 1]), share_3=torch.tensor([0.5, 0.0, 0.5]))
    made.put(weight_FS=torch.randn(together_BD.shape[1], 2), bias_S=torch.zeros(2))
    fresh = Council(field, 2)
    fresh.load_state_dict(made.state_dict())
    said_BS = fresh(batch, torch.zeros(3, 2))
    assert said_BS.abs().max() > 0 and torch.equal(said_BS, made(batch, torch.zeros(3, 2)))


def test_the_test_is_learned_from_when_it_has_judged(tmp_path: Path) -> None:
    """Its figures are of before, and what is served knows more; a test that was given stays unseen."""
    frame, quick = steps(0, 400), {"data": {"target": ("y",), "test_share": 0.5}, "train": {"epochs": 1.0, "exact": True}}
    run = duomo.train(write(frame, tmp_path), quick, out=tmp_path / "all", reporter=Silent())
    part = duomo.train(
        tmp_path / "rows.csv", {**quick, "train": {**quick["train"], "learn_all": False}}, out=tmp_path / "part", reporter=Silent()
    )
    was, kept = judged(run), judged(part)
    assert was and not kept
    told = [[one["metrics"] for one in each.scorecard["results"][:1]] for each in (run, part)]
    assert told[0] == told[1] and run.task.measure(was)["r2"] == told[0][0]["r2"]["value"]
    assert compare(run.path, part.path)["metrics"]["rmse"]["difference"]["value"] == 0
    gaps = [float(((each.predict(steps(1))["prediction"] - steps(1).y) ** 2).mean()) for each in (run, part)]
    assert gaps[0] < 0.95 * gaps[1], gaps
    assert [each.evaluate(tmp_path / "rows.csv")["learned"] == len(frame) for each in (run, part)] == [True, False]
    assert "from all 400 rows" in (run.path / "MODEL_CARD.md").read_text() and "all 400" not in (part.path / "MODEL_CARD.md").read_text()
    steps(1, 60).to_csv(tmp_path / "test.csv", index=False)
    given = duomo.train(tmp_path / "rows.csv", {"data": {"target": ("y",), "test": str(tmp_path / "test.csv")}, "train": {"epochs": 1.0}},
                        out=tmp_path / "given", reporter=Silent())  # fmt: skip
    assert not judged(given) and given.evaluate(tmp_path / "test.csv")["learned"] == 0


def test_the_latest_rows_are_learned_from_in_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prices that rose when the test began: what is served knows of it. Many rows, of which trees learn once more as well."""
    monkeypatch.setattr(boosted_trees, "FEW", 200)
    monkeypatch.setattr(council, "AT_LEAST", 1e6)  # no clock ends the trees early, and none chooses the kernels
    frame = steps(0, 400).assign(date=pd.date_range("2024-01-01", periods=400).strftime("%Y-%m-%d"))
    frame["y"] += 20.0 * (frame.index >= 330)
    later = steps(1, 50).assign(date=pd.date_range("2025-03-01", periods=50).strftime("%Y-%m-%d"))
    gaps = []
    for name, wanted in (("all", True), ("part", False)):
        settings = {"data": {"target": ("y",)}, "train": {"epochs": 1.0, "exact": True, "learn_all": wanted}}
        run = duomo.train(frame, settings, out=tmp_path / name, reporter=Silent())
        assert run.recipe.data.time == "date" and run.scorecard["facts"]["voices"]["trees"] > 0.1
        gaps.append(float((run.predict(later)["prediction"] - later.y - 20).abs().mean()))
    assert gaps[0] < 0.9 * gaps[1], gaps
