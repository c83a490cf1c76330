"""Parameter counts at 224 pixels and 1,000 classes beside the published ones: python bench/parameter_counts.py

Nothing is allocated: the nets are built on torch's meta device. Published: torchvision's tables (the papers give rounded figures), for
GoogLeNet's own form the authors' released model. Exit code 1 where one differs.
"""

import sys
from typing import Any

import torch

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.recipe import ModelConfig

AUXILIARY = {"auxiliary": True, "blocks": ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"), "width": 1.0}
PUBLISHED: list[tuple[str, str, dict[str, Any], int]] = [
    ("AlexNet", "alexnet", {}, 61_100_840),
    ("VGG-11", "vgg11", {}, 132_863_336),
    ("VGG-13", "vgg13", {}, 133_047_848),
    ("VGG-16", "vgg16", {}, 138_357_544),
    ("VGG-19", "vgg19", {}, 143_667_240),
    ("VGG-11 with batch norm", "vgg11_bn", {}, 132_868_840),
    ("VGG-16 with batch norm", "vgg16_bn", {}, 138_365_992),
    ("GoogLeNet, torchvision's form", "inception-v1", {}, 6_624_904),
    ("the same with auxiliary heads", "inception-v1", AUXILIARY, 13_004_888),
    ("GoogLeNet, the paper's form with auxiliary heads", "inception-paper", {}, 13_378_280),
    ("the same without them", "inception-paper", {"auxiliary": False}, 6_998_552),
    ("ResNet-18", "resnet18", {}, 11_689_512),
    ("ResNet-34", "resnet34", {}, 21_797_672),
    ("ResNet-50", "resnet50", {}, 25_557_032),
    ("ResNet-101", "resnet101", {}, 44_549_160),
    ("ResNet-152", "resnet152", {}, 60_192_808),
    ("ViT-B/16", "vit-b16", {}, 86_567_656),
    ("ViT-B/16 with four registers", "vit-b16r4", {}, 86_567_656 + 4 * 768),
    ("MobileNetV2", "mobilenet-v2", {}, 3_504_872),
    ("ConvNeXt-T", "convnext-tiny", {}, 28_589_128),
]


def count(name: str, options: dict) -> int:
    choice = find.resolve(ModelConfig(name, options=options))
    with torch.device("meta"):
        model = find.model_module(choice.name).Model(find.model_config(choice), {"x": Field("pixels", (3, 224, 224))}, Head(1000))
    return sum(weight.numel() for weight in model.parameters())


def main() -> int:
    print("| net | --model | weights | published |\n|---|---|---|---|")
    found = [(title, name, count(name, options), published) for title, name, options, published in PUBLISHED]
    for title, name, own, published in found:
        print(f"| {title} | {name} | {own:,} | {published:,}{'' if own == published else ' **differs**'} |")
    return int(any(own != published for _, _, own, published in found))


if __name__ == "__main__":
    sys.exit(main())
