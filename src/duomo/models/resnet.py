"""Residual networks for pictures.

Legend: B rows, C channels, H height, W width.
Source: He, Zhang, Ren and Sun 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385 (table 1; the
bottleneck's stride sits on its 3×3 convolution, as in torchvision). Parameter names are torchvision's, so that its
weights load; 18, 34, 50, 101 and 152 have its exact parameter counts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.pictures import convolution, is_large

FORMS = ("pixels",)
TRAIN = {"learning_rate": 3e-3, "batch_size": 128, "weight_decay": 5e-2, "epochs": 20, "patience": 8, "ema": 0.998}
STEMS = ("auto", "large", "small", "pooled")


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage; every stage after the first halves the picture."""
    width: int = 64
    """Channels of the first stage; they double with every stage."""
    bottleneck: bool = False
    """Blocks of 1×1, 3×3, 1×1 convolutions (ResNet-50 and deeper) in place of two 3×3."""
    stem: str = "auto"
    """First layer: large (7×7 and pooling: a quarter of the side), small (3×3, full side), pooled (3×3, then half the side), or auto
    (large or small, by the picture's size)."""
    places: bool = False
    """Keep the places of the last map instead of averaging over them: for pictures in which things stand where they always stand."""
    dropout: float = 0.0
    """Dropout on the pooled features."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


SIZES = {
    "tiny": Config(blocks=(1, 1, 1), width=16, stem="pooled"),
    "small": Config(blocks=(1, 1, 1), width=32, stem="pooled"),
    "base": Config(),
    "large": Config(blocks=(3, 4, 6, 3), bottleneck=True),
    "18": Config(),
    "34": Config(blocks=(3, 4, 6, 3)),
    "50": Config(blocks=(3, 4, 6, 3), bottleneck=True),
    "101": Config(blocks=(3, 4, 23, 3), bottleneck=True),
    "152": Config(blocks=(3, 8, 36, 3), bottleneck=True),
}


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """A projection where the sum's two sides differ in shape (option B of the paper), else None: the identity."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """Two 3×3 convolutions around an identity (figure 5, left)."""

    growth = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride)
        # the block starts as the identity (Goyal et al. 2017, arXiv:1706.02677, section 5.1)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + kept)


class Bottleneck(nn.Module):
    """1×1 to `width`, 3×3, 1×1 to four times `width`, around an identity (figure 5, right)."""

    growth = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = width * self.growth
        self.conv1, self.bn1 = convolution(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = convolution(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)
        nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + kept)


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("resnet", inputs, FORMS, head)
        channels, *sides = field.shape
        width, side = config.width, min(sides)
        large = is_large("resnet", config.stem, sides, STEMS)
        halved = config.stem == "pooled" and side >= 4
        self.conv1 = convolution(channels, width, 7, stride=2) if large else convolution(channels, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        # normalising after this pooling has a quarter of the work; the large stem keeps the paper's order, which its weights need
        self.pool_first = nn.MaxPool2d(2) if halved else nn.Identity()
        self.pool = nn.MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        block = Bottleneck if config.bottleneck else Basic
        self.stages = [f"layer{stage}" for stage in range(1, len(config.blocks) + 1)]
        side = side // 4 if large else side // 2 if halved else side
        sides = [(each + 3) // 4 if large else each // 2 if halved else each for each in sides]
        for stage, (name, count) in enumerate(zip(self.stages, config.blocks, strict=True)):
            # a 1×1 picture would leave a batch of one nothing to normalise over
            inner, stride = config.width * 2**stage, 2 if stage and side > 2 else 1
            side, sides = (side + stride - 1) // stride, [(each + stride - 1) // stride for each in sides]
            layers: list[nn.Module] = [block(width, inner, stride)]
            width = inner * block.growth
            layers += [block(width, inner, 1) for _ in range(count - 1)]
            self.add_module(name, nn.Sequential(*layers))
        self.dropout = Dropout(config.dropout)
        self.places = config.places
        self.fc = nn.Linear(width * (math.prod(sides) if config.places else 1), head.size)
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        x = self.pool(torch.relu(self.bn1(self.pool_first(self.conv1(batch[self.name])))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        logits_BS = self.fc(self.dropout(x.flatten(1) if self.places else x.mean((2, 3))))
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
