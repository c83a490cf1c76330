"""GoogLeNet: nine inception blocks, each four windows side by side.

Legend: B rows, C channels, H height, W width, k heads (the main one and two auxiliary ones), S head size.
Source: Szegedy et al. 2014, "Going Deeper with Convolutions", arXiv:1409.4842, table 1 and figures 2 and 3. Two forms:
    paper   biases, no norm, 5×5 windows, auxiliary heads: 13,378,280 weights (6,998,552 without them), as the authors released it
    else    batch norm, and 3×3 where the paper has 5×5, as in torchvision: 6,624,904 weights, 13,004,888 with auxiliary heads
Parameter names are torchvision's, so that its weights load. Auxiliary heads take part in training only, at 0.3 of the main one's gradient
(section 5). Pictures below 96 pixels begin with one 3×3 window (and one pooling from 48 pixels on).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.pictures import is_large

FORMS = ("pixels",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 25, "patience": 8, "ema": 0.998}
AUXILIARY = 0.3
HALVED_FROM = 48
"""Small pictures of this side or more are halved once before the first block."""
# 1×1; 1×1 then 3×3; 1×1 then 5×5; pooling then 1×1 (table 1). A pooling precedes 4a and 5a; the auxiliary heads leave from 4a and 4d.
BLOCKS = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True)
class Config:
    width: float = 1.0
    """Share of the published channels."""
    paper: bool = False
    """The published form (biases, no norm, 5×5 windows) in place of torchvision's (batch norm, 3×3)."""
    auxiliary: bool = False
    """Two further heads, of earlier blocks, that take part in training only."""
    blocks: tuple[str, ...] = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    """Which of the nine blocks there are."""
    dropout: float = 0.2
    """Dropout on the pooled features."""
    stem: str = "auto"
    """First layers: large (as published, an eighth of the side), small (3×3), or auto (by the picture's size)."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


SIZES = {
    "small": Config(width=0.25, blocks=("3a", "3b", "4a", "4e", "5b")),
    "base": Config(),
    "large": Config(auxiliary=True),
    "v1": Config(),
    "paper": Config(paper=True, auxiliary=True, dropout=0.4),
}


class Convolution(nn.Module):
    """Convolution, batch norm (or a bias), ReLU."""

    def __init__(self, inputs: int, outputs: int, side: int, config: Config, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=config.paper)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="relu")
        self.bn = nn.Identity() if config.paper else nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Figure 2b: four branches over the same map, their channels joined."""

    def __init__(self, inputs: int, sizes: tuple[int, ...], config: Config):
        super().__init__()
        one, three_before, three, five_before, five, pooled = sizes
        side = 5 if config.paper else 3
        self.branch1 = Convolution(inputs, one, 1, config)
        self.branch2 = nn.Sequential(Convolution(inputs, three_before, 1, config), Convolution(three_before, three, 3, config))
        self.branch3 = nn.Sequential(Convolution(inputs, five_before, 1, config), Convolution(five_before, five, side, config))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), Convolution(inputs, pooled, 1, config))
        self.outputs = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    """A head on an earlier map (section 5): 4×4 averages, 1×1 convolution, two dense layers."""

    def __init__(self, inputs: int, outputs: int, config: Config):
        super().__init__()
        self.conv = Convolution(inputs, max(8, round(128 * config.width)), 1, config)
        self.fc1 = nn.Linear(16 * self.conv.conv.out_channels, max(64, round(1024 * config.width)))
        self.fc2, self.dropout = nn.Linear(self.fc1.out_features, outputs), Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        logits = self.fc2(self.dropout(F.relu(self.fc1(x))))
        # the value of the logits with a share of their gradient
        return AUXILIARY * logits + (1 - AUXILIARY) * logits.detach()


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> logits (B, S); in training with auxiliary heads (B, k, S)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("inception", inputs, FORMS, head)
        channels, *sides = field.shape
        self.large, self.side = is_large("inception", config.stem, sides), min(sides)
        self.halved = self.large or self.side >= HALVED_FROM

        def scaled(size: int) -> int:
            return max(4, round(size * config.width))

        if self.large:
            self.conv1 = Convolution(channels, scaled(64), 7, config, stride=2)
            self.conv2 = Convolution(scaled(64), scaled(64), 1, config)
            self.conv3 = Convolution(scaled(64), scaled(192), 3, config)
        else:
            self.conv1 = Convolution(channels, scaled(192), 3, config)
        width, self.blocks = scaled(192), [f"inception{name}" for name in config.blocks]
        for name in self.blocks:
            if config.auxiliary and name in ("inception4b", "inception4e"):
                self.add_module("aux1" if name == "inception4b" else "aux2", Auxiliary(width, head.size, config))
            block = Inception(width, tuple(scaled(size) for size in BLOCKS[name]), config)
            self.add_module(name, block)
            width = block.outputs
        self.auxiliary = config.auxiliary
        self.dropout = Dropout(config.dropout)
        self.fc = nn.Linear(width, head.size)
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        x = self.conv1(batch[self.name])
        if self.halved:
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        if self.large:
            x = F.max_pool2d(self.conv3(self.conv2(x)), 3, 2, ceil_mode=True)
        logits: list[Tensor] = []
        stage = "3"
        for name in self.blocks:
            if name[9] != stage and min(x.shape[2:]) >= 4:
                x = F.max_pool2d(x, 3 if stage == "3" else 2, 2, ceil_mode=True)
            stage = name[9]
            if self.auxiliary and self.training and name in ("inception4b", "inception4e"):
                logits.append(self.get_submodule("aux1" if name == "inception4b" else "aux2")(x))
            x = self.get_submodule(name)(x)
        found = self.fc(self.dropout(x.mean((2, 3))))
        if self.training:
            return torch.stack([found, *logits], 1) if logits else found
        return self.council(batch, found) if self.council else found
