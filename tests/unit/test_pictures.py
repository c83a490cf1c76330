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


def test_small_resnet_fits_a_cpu() -> None:
    """About 10 million products a picture: a tenth of what the full-side stem of the same width costs."""
    model = resnet.Model(resnet.SIZES["small"], {"picture": Field("pixels", (1, 28, 28))}, Head(10))
    assert sum(weight.numel() for weight in model.parameters()) < 400_000


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_every_recipe_for_pictures_can_be_built(task: str) -> None:
    for name, recipe in find.task_recipes(task).items():
        if name.startswith("image"):
            module = find.model_module(recipe["model"]["name"])
            assert recipe["model"]["size"] in module.SIZES and "pixels" in module.FORMS
