"""A picture net's weights as a detector's trunk: where they lie, what stays as it is, and what the recipe becomes."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from duomo import plan
from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import AdaptConfig, ModelConfig
from duomo.core.reporter import Silent
from duomo.exchange.runs import _labels
from duomo.exchange.trunks import alone, carries, reopened, within
from duomo.models import detector, mobilenet
from duomo.train import adapt

INPUTS = {"image:image": Field("pixels", (3, 96, 96), facts={"mean": [0.5] * 3, "std": [0.25] * 3})}


def net(size: str = "small") -> nn.Module:
    torch.manual_seed(3)
    return mobilenet.Model(mobilenet.SIZES[size], INPUTS, Head(5))


@pytest.fixture
def given() -> Pretrained:
    options = asdict(mobilenet.SIZES["small"]) | {"stem": "large"}
    torch.manual_seed(3)
    made = mobilenet.Model(mobilenet.Config(**options), INPUTS, Head(5))
    return Pretrained("mobilenet", options, made.state_dict(), {}, {}, "a net")


def carried(given: Pretrained, still: float) -> tuple[nn.Module, list[str], dict[str, float]]:
    found = within(given, "detector", "small")
    torch.manual_seed(5)
    choice = ModelConfig("detector", "small", options=found.options)
    model = find.model_module("detector").Model(find.model_config(choice), INPUTS, Head(2, "place"))
    _, new = adapt.load(model, found)
    return model, new, adapt.prepare(model, AdaptConfig(start="net", still=still), new, Head(2, "place"))


def test_only_models_built_on_another_carry_weights() -> None:
    assert carries("detector") and not carries("resnet") and not carries("")


def test_the_trunk_is_the_net_and_the_rest_is_new_and_faster(given: Pretrained) -> None:
    model, new, rates = carried(given, 0.0)
    own = model.state_dict()
    assert torch.equal(own[detector.TRUNK + "features.0.0.weight"], given.tensors["features.0.0.weight"])
    assert not any(name.startswith(detector.TRUNK + "features") for name in new) and "pyramid.lateral.0.weight" in new
    assert rates["pyramid.lateral.0.weight"] == adapt.NEW and detector.TRUNK + "features.0.0.weight" not in rates


def test_what_is_held_stays_as_it_came(given: Pretrained) -> None:
    model, _, _ = carried(given, 0.35)
    plain, _, _ = carried(given, 0.0)
    batch = {"image:image": torch.randn(2, 3, 96, 96)}
    with torch.no_grad():
        assert torch.equal(model.eval()(batch).logits, plain.eval()(batch).logits), "another way of training, the same function"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], 0.1)
    out = model.train()(batch)
    (out.logits.square().mean() + out.boxes.square().mean()).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if "running" in name or "features.0." in name or "features.1." in name}
    assert any("features.10." in name for name in changed) and "logits.weight" in changed
    assert set(model.state_dict()) == set(plain.state_dict())


def test_the_trunk_of_a_detector_is_the_net_again(given: Pretrained) -> None:
    """What `explore --from` a detector looks with; and the labels of such a run, a list, open with it."""
    found = alone(within(given, "detector", "small"))
    assert (
        found.model == "mobilenet" and found.options == {**given.options, "advice": False} and found.tensors.keys() == given.tensors.keys()
    )
    assert alone(given) is given and _labels({"labels": ["cat", "dog"]}) == {"0": "cat", "1": "dog"}


def test_the_recipe_of_a_detector_from_a_net(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    (scenes / "images").mkdir(parents=True)
    random, images, boxes = np.random.default_rng(0), [], []
    for number in range(1, 21):
        Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8)).save(scenes / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"images/{number}.png", "width": 40, "height": 40})
        boxes.append({"id": number, "image_id": number, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0})
    told = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    (scenes / "annotations.json").write_text(json.dumps(told))
    weights = tmp_path / "mobilenet.safetensors"
    save_file(net("base").state_dict(), weights)
    made = plan.make(scenes, {"adapt": {"start": str(weights)}}, Silent())
    recipe = made.recipe
    assert (recipe.model.name, recipe.model.size, recipe.model.options["trunk"]) == ("detector", "small", "mobilenet")
    assert recipe.model.options["width"] == detector.SMALL.width
    assert recipe.train.learning_rate * adapt.NEW == pytest.approx(2e-3) and recipe.adapt.still == adapt.PART["still"]
    made.task.fit(made.train)
    assert made.task.encoder.learned[0].state["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert made.pretrained is not None and made.pretrained.part == detector.TRUNK
    again = reopened(str(weights), recipe.model)
    assert again.part == detector.TRUNK and set(again.tensors) == set(made.pretrained.tensors)
    same = plan.make(scenes, {"adapt": {"start": str(weights), "still": 0.0}, "model": {"name": "detector"}}, Silent()).recipe
    assert same.model.options["trunk"] == "mobilenet" and same.adapt.still == 0.0
