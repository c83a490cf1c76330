"""Recipes and nets for small pictures."""

import pytest
import torch

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.models import resnet


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 28, 33])
def test_pooled_stem_halves_the_map_where_there_is_room(side: int) -> None:
    inputs = {"picture": Field("pixels", (1, side, side + 1))}
    model = resnet.Model(resnet.SIZES["tiny"], inputs, Head(3))
    x = torch.randn(2, 1, side, side + 1)
    halved = model.pool_first(model.conv1(x)).shape[2]
    assert halved == (side // 2 if side >= 4 else side)
    model({"picture": x}).sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("stem", ["large", "small", "pooled"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 50), (1, 2, 7), (3, 1, 1)])
def test_a_head_that_keeps_places_fits_the_last_map(stem: str, shape: tuple[int, int, int]) -> None:
    model = resnet.Model(resnet.Config((1, 1, 1), 4, stem=stem, places=True), {"picture": Field("pixels", shape)}, Head(3))
    assert model.eval()({"picture": torch.randn(2, *shape)}).shape == (2, 3)


def test_small_resnet_fits_a_cpu() -> None:
    model = resnet.Model(resnet.SIZES["small"], {"picture": Field("pixels", (1, 28, 28))}, Head(10))
    assert sum(weight.numel() for weight in model.parameters()) < 400_000


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_every_recipe_for_pictures_can_be_built(task: str) -> None:
    for name, recipe in find.task_recipes(task).items():
        if name.startswith("image") and not name.endswith("-from"):
            module = find.model_module(recipe["model"]["name"])
            assert recipe["model"]["size"] in module.SIZES and "pixels" in module.FORMS
