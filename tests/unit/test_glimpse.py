"""Few pictures are told by their edges and colours: a line over them answers beside a network, in every engine alike."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import Ridge
from torch import nn

import duomo
from duomo.core import find
from duomo.core.config import build
from duomo.core.contract import Field, Goal, Head
from duomo.core.device import Execution
from duomo.core.recipe import ModelConfig
from duomo.core.reporter import Silent
from duomo.data.loader import finish
from duomo.exchange import engines
from duomo.exchange.opening import open_pretrained
from duomo.exchange.trunks import within
from duomo.models.resnet import SIZES, Model
from duomo.nn.council import Council
from duomo.nn.picture_features import FILTERS
from duomo.train import adapt, council
from duomo.train.learners import Line
from duomo.train.linear import GAIN, Seen


def pictures(channels: int, side: int, count: int = 9) -> tuple[dict[str, Field], torch.Tensor]:
    torch.manual_seed(channels)
    mean, std = [0.4] * channels, [0.2] * channels
    return {"p": Field("pixels", (channels, side, side + 3), facts={"mean": mean, "std": std})}, torch.randn(
        count, channels, side, side + 3
    )


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 64), (3, 96), (3, 5), (1, 1)])
def test_a_glimpse_is_what_it_promises_alone_and_in_company(channels: int, side: int) -> None:
    inputs, x_BCHW = pictures(channels, side)
    (_, glimpse), *_ = Council(inputs, 2).pictures()
    told = glimpse.describe(x_BCHW)
    assert tuple(part.shape[1] for part in told) == glimpse.parts and all(part.isfinite().all() for part in told)
    for part, alone in zip(told, glimpse.describe(x_BCHW[4:5]), strict=True):
        torch.testing.assert_close(part[4:5], alone)
    brighter = glimpse.describe(x_BCHW * 0.5)
    assert side < 2 or not torch.allclose(brighter[1], told[1])


def test_an_edge_is_told_by_its_way_and_place() -> None:
    inputs, _ = pictures(1, 64)
    (_, glimpse), *_ = Council(inputs, 2).pictures()
    place = torch.arange(67.0) / 67
    across, down = place.expand(1, 1, 64, 67), (torch.arange(64.0) / 64).view(1, 1, 64, 1).expand(1, 1, 64, 67)
    one, same, other = (glimpse.describe((x - 0.4) / 0.2)[0] for x in (across, 0.7 * across, down))
    assert torch.allclose(one, same, atol=0.02) and (one - other).abs().max() > 0.15


def test_patches_tell_by_which_of_those_learned_from_a_picture_is_made_and_a_run_of_before_needs_none() -> None:
    inputs, x_BCHW = pictures(3, 40, 12)
    (_, glimpse), *_ = Council(inputs, 2).pictures()
    before = glimpse.parts
    glimpse.put(weight_DS=torch.randn(sum(before[:3]), 2))
    said = glimpse(x_BCHW)
    glimpse.learn(x_BCHW)
    assert glimpse.parts[:-1] == before and glimpse.parts[-1] == 2 * FILTERS * 4
    torch.testing.assert_close(glimpse(x_BCHW), said)
    *_, told = glimpse.describe(x_BCHW)
    assert told.shape == (12, glimpse.parts[-1]) and told.std(0).median() > 0.01
    torch.testing.assert_close(glimpse.describe(x_BCHW[5:6])[-1], told[5:6])
    (_, again), *_ = Council(inputs, 2).pictures()
    again.load_state_dict(glimpse.state_dict())
    torch.testing.assert_close(again(x_BCHW), said)
    (_, tiny), *_ = Council(pictures(1, 3)[0], 2).pictures()
    tiny.learn(pictures(1, 3)[1])
    assert tiny.parts == tiny._parts


def test_few_numbers_of_many_pictures_are_learned_from_as_they_are() -> None:
    inputs, x_BCHW = pictures(1, 3, 700)
    made, values = Council(inputs, 1), np.random.default_rng(0).normal(size=700)
    told, line = made.glimpsed({"p": x_BCHW}), Line(Goal("mean", values, np.ones(700, bool), 0, 1, np.ones(700)))
    whole = Seen(made, told, np.arange(690), 690, True)
    line.fit(whole.of(np.arange(690)), np.arange(690), 0.5)
    assert line.weight_FP.shape[0] == sum(made.pictures()[0][1].parts) < 690
    judged = whole.logits(line, np.arange(690, 700))
    whole.write([whole.weights(line)])
    made.put(share_3=torch.tensor([0.0, 0.0, 1.0]))
    assert np.allclose(made({"p": x_BCHW[690:]}, torch.zeros(10, 1)).numpy(), judged, atol=1e-3)


def test_what_is_learned_of_coordinates_is_ridge_regression_on_glimpses() -> None:
    inputs, x_BCHW = pictures(3, 20)
    made, values = Council(inputs, 1), np.arange(9.0) ** 2
    told = made.glimpsed({"p": x_BCHW})
    seen = Seen(made, told, np.arange(6), 6, True)
    line = Line(Goal("mean", values, np.ones(9, bool), 0, 1, np.ones(9)))
    line.fit(seen.of(np.arange(6)), np.arange(6), 0.5)
    seen.write([seen.weights(line)])
    made.put(share_3=torch.tensor([0.0, 0.0, 1.0]))
    parts = [part.numpy() - part[:6].numpy().mean(0) for part in made.pictures()[0][1].describe(x_BCHW)]
    x_NG = np.concatenate([part * GAIN / len(parts) ** 0.5 / np.sqrt(np.square(part[:6]).sum(1).mean()) for part in parts], 1)
    theirs = Ridge(alpha=0.5).fit(x_NG[:6], values[:6]).predict(x_NG)
    assert np.allclose(seen.logits(line, np.arange(6, 9))[:, 0], theirs[6:], atol=1e-3)
    assert np.allclose(made({"p": x_BCHW}, torch.zeros(9, 1))[:, 0].numpy(), theirs, atol=1e-2)


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety pictures of three colours of stripes that run one way or the other, of unlike sizes."""
    root, rng = tmp_path_factory.mktemp("arrows"), np.random.default_rng(0)
    for number in range(90):
        kind, side = number % 3, int(rng.integers(30, 60))
        stripes = (np.arange(side) // 4 % 2 * 255).astype(np.uint8)
        plain = np.broadcast_to(stripes, (side, side)) if kind else np.broadcast_to(stripes[:, None], (side, side))
        pixels = np.stack([plain, plain // (1 + (kind == 2)), plain], 2).astype(np.int64) + rng.integers(-60, 60, (side, side, 3))
        (root / "abc"[kind]).mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "abc"[kind] / f"{number}.png")
    return root


SETTINGS = {"train": {"epochs": 0.5, "exact": True}}


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_engines_take_a_glimpse(name: str) -> None:
    if not engines.installed(name):
        pytest.skip(f"{name} is not installed")
    inputs, x_BCHW = pictures(3, 64)
    net = Model(SIZES["tiny"], inputs, Head(3)).eval()
    assert net.council is not None
    (_, glimpse), *_ = net.council.pictures()
    glimpse.learn(x_BCHW)
    net.council.put(share_3=torch.tensor([0.4, 0.0, 0.6]), bias_S=torch.randn(3))
    glimpse.put(weight_DS=torch.randn(sum(glimpse.parts), 3))
    with torch.no_grad():
        said = net({"p": x_BCHW})
    made, _ = engines.built(engines.Engine(name), net, [{"p": x_BCHW}], Execution())
    for rows in (1, 9):
        torch.testing.assert_close(made({"p": x_BCHW[:rows]}), said[:rows], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["alexnet", "cnn", "convnext", "inception", "mobilenet", "resnet", "vgg", "vit"])
def test_a_line_speaks_beside_every_net_for_pictures(name: str) -> None:
    inputs, x_BCHW = pictures(3, 32)
    net = find.model_module(name).Model(find.model_config(ModelConfig(name, "small")), inputs, Head(3)).eval()
    net.council.put(share_3=torch.tensor([0.0, 0.0, 1.0]), bias_S=torch.randn(3))
    (_, glimpse), *_ = net.council.pictures()
    glimpse.put(weight_DS=torch.randn(sum(glimpse.parts), 3))
    torch.testing.assert_close(net({"p": x_BCHW}), glimpse(x_BCHW) + net.council.bias_S)


def test_few_pictures_are_told_by_the_line(arrows: Path, tmp_path: Path) -> None:
    run = duomo.train(arrows, SETTINGS, out=tmp_path / "run", reporter=Silent())
    assert run.scorecard["facts"]["voices"]["line"] > 0.3
    result = run.scorecard["results"][0]
    assert result["kind"] == "model" and result["metrics"]["accuracy"]["value"] == 1.0
    again = duomo.load(tmp_path / "run").predict(arrows / "b")
    assert {row["prediction"] for row in again} == {"b"}


def test_a_number_is_told_by_the_line_and_a_trunk_leaves_it_behind(arrows: Path, tmp_path: Path) -> None:
    files = sorted(str(path) for path in arrows.rglob("*.png"))
    rows = pd.DataFrame({"image": files, "height": [float(np.asarray(Image.open(file))[..., 1].mean()) for file in files]})
    run = duomo.train(rows, SETTINGS, target="height", out=tmp_path / "run", reporter=Silent())
    model, first, *_ = run.scorecard["results"]
    assert run.scorecard["facts"]["voices"]["line"] > 0.3 and model["metrics"]["r2"]["value"] > first["metrics"]["r2"]["value"] + 0.3
    start = within(open_pretrained(str(tmp_path / "run")), "detector", "small")
    inputs = {"image:image": Field("pixels", (3, 64, 64))}
    detector = find.trunk(build(find.model_module("detector").Config, start.options, "model.options"), inputs, Head(1))
    assert council.council_of(detector) is None
    words, _ = adapt.load(nn.ModuleDict({"maps": nn.ModuleDict({"trunk": detector})}), start)
    assert "stay behind" in words and "council" not in words


def test_the_size_of_all_pictures_chooses_the_recipe_not_that_of_the_first(tmp_path: Path) -> None:
    for number in range(30):
        side = 12 if number == 0 else 70
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.new("RGB", (side, side), (number * 8, 100, 9 * (number % 2))).save(tmp_path / "ab"[number % 2] / f"{number:02}.png")
    assert duomo.inspect(tmp_path)["proposal"]["recipe"] == "image-few"


def test_many_pictures_need_no_line(arrows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(council, "PICTURES", 40)
    run = duomo.train(arrows, SETTINGS, out=tmp_path / "run", reporter=Silent())
    assert run.scorecard["facts"]["voices"] == {}


def beside(arrows: Path, seed: int = 0) -> pd.DataFrame:
    """The pictures' kinds as a price that age takes a share of."""
    files, rng = sorted(str(path) for path in arrows.rglob("*.png")), np.random.default_rng(seed)
    age = rng.integers(0, 10, len(files))
    worth = np.array([{"a": 10.0, "b": 40.0, "c": 90.0}[Path(file).parent.name] for file in files])
    return pd.DataFrame({"image": files, "age": age, "price": worth * (1 - age / 12)})


def test_pictures_beside_other_columns_are_told_by_the_line_and_trees_hear_of_it(arrows: Path, tmp_path: Path) -> None:
    rows = beside(arrows)
    run = duomo.train(rows, {"train": {"epochs": 1, "exact": True}}, target="price", out=tmp_path / "run", reporter=Silent())
    assert run.facts["features"] == ["image", "age"] and run.recipe.model.name == "fusion"
    assert run.scorecard["results"][0]["metrics"]["r2"]["value"] > 0.8 and sum(list(run.scorecard["facts"]["voices"].values())[1:]) > 0.3
    batch = finish(run.task.encode(run.table(rows[:4]), target=False).batch(torch.arange(4)), run.task.inputs)
    voices = run.model.council
    (said_BS,) = voices.said(batch)
    assert said_BS.std() > 0 and voices.features(batch, [said_BS]).shape[1] == 2
    torch.testing.assert_close(voices.said(voices.glimpsed(batch))[0], said_BS)


def test_many_pictures_beside_other_columns_leave_trees_and_line_these(
    arrows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(council, "PICTURES", 40)
    run = duomo.train(beside(arrows), SETTINGS, target="price", out=tmp_path / "run", reporter=Silent())
    again = duomo.load(tmp_path / "run")
    assert len(run.scorecard["facts"]["voices"]) > 1 and not again.model.council.said({"image:image": torch.zeros(1, 3, 45, 45)})
    asked = beside(arrows)[:3].drop(columns="price").to_dict("records")
    assert again.predict(asked) == run.predict(asked)
