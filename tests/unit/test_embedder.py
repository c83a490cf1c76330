"""Vectors of pictures: of length 1, the same for the mirror image, one picture alone."""

import torch

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.recipe import ModelConfig


def made(**options):
    torch.manual_seed(0)
    return find.model_module("embedder").Model(find.model_config(ModelConfig("embedder", "small", options=options)),
                                               {"x": Field("pixels", (1, 32, 32))}, Head(3, "vector"))  # fmt: skip


def test_vectors():
    model = made().eval()
    x = torch.randn(4, 1, 32, 32)
    with torch.inference_mode():
        found, mirrored, brighter = model({"x": x}), model({"x": x.flip(3)}), model({"x": 3 * x + 5})
    assert found.vectors.norm(dim=1).allclose(torch.ones(4)) and found.cosines.abs().max() <= 1
    assert found.vectors.allclose(mirrored.vectors, atol=1e-5) and found.vectors.allclose(brighter.vectors, atol=1e-2)
    assert made(width=24).eval()({"x": x}).vectors.shape == (4, 24)


def test_one_picture_learns():
    model = made().train()
    model({"x": torch.randn(1, 1, 32, 32)}).cosines.sum().backward()
    assert model.centres_KD.grad is not None and model.mean_F.abs().sum() == 0  # one picture says nothing about the mean
