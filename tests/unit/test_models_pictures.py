"""The published picture architectures: parameter counts, forms for small pictures, names on the command line."""

import pytest
import torch

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.recipe import ModelConfig

# weights at 224 pixels and 1,000 classes, as published with the papers' (or torchvision's) weights
COUNTS = {
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "inception-v1": 6_624_904,
    "inception-paper": 13_378_280,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vit-b16": 86_567_656,
    "vit-b16r4": 86_567_656 + 4 * 768,
    "vit-s16": 22_050_664,
    "vit-l16": 304_326_632,
    "mobilenet-v2": 3_504_872,
    "convnext-tiny": 28_589_128,
    "convnext-s": 50_223_688,
}
PICTURE_MODELS = ("alexnet", "vgg", "inception", "resnet", "vit", "mobilenet", "convnext")


def built(name: str, shape: tuple[int, int, int] = (3, 224, 224), classes: int = 1000, **options) -> torch.nn.Module:
    choice = find.resolve(ModelConfig(name, options=options))
    return find.model_module(choice.name).Model(find.model_config(choice), {"x": Field("pixels", shape)}, Head(classes))


def weights(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    with torch.device("meta"):
        assert weights(built(name)) == COUNTS[name]


def test_auxiliary_heads():
    with torch.device("meta"):
        assert (
            weights(built("inception", auxiliary=True, width=1.0, blocks=tuple(find.model_module("inception").Config().blocks)))
            == 13_004_888
        )
        assert weights(built("inception-paper", auxiliary=False)) == 6_998_552
    model = built("inception", (3, 32, 32), 5, auxiliary=True, width=0.1)
    batch = {"x": torch.randn(2, 3, 32, 32)}
    assert model(batch).shape == (2, 3, 5) and model.eval()(batch).shape == (2, 5)


@pytest.mark.parametrize("name", PICTURE_MODELS)
@pytest.mark.parametrize("side", [(1, 1), (5, 9), (28, 28), (64, 48), (96, 96)], ids=str)
def test_every_size_of_picture(name, side):
    model = built(name, (3, *side), 4) if name != "alexnet" else built(name, (3, *side), 4, dense=64)
    if name == "vgg":
        model = built(name, (3, *side), 4, dense=64, width=8)
    output = model.eval()({"x": torch.randn(2, 3, *side)})
    assert output.shape == (2, 4) and bool(output.isfinite().all())


def test_names_with_a_size():
    assert find.resolve(ModelConfig("resnet18")) == ModelConfig("resnet", "18")
    assert find.resolve(ModelConfig("vgg16-bn")) == find.resolve(ModelConfig("VGG16_BN")) == ModelConfig("vgg", "16_bn")
    assert find.resolve(ModelConfig("vit_b_16")) == ModelConfig("vit", "b16")
    assert find.resolve(ModelConfig("mobilenet_v2")) == ModelConfig("mobilenet", "v2")
    assert find.resolve(ModelConfig("googlenet")) == ModelConfig("inception", "v1")
    assert find.resolve(ModelConfig("alexnet", "large")) == ModelConfig("alexnet", "large")
    with pytest.raises(ConfigError, match="resnet18"):
        find.resolve(ModelConfig("resnet81"))
    with pytest.raises(ConfigError, match="'small'"):
        find.resolve(ModelConfig("resnet18", "small"))
