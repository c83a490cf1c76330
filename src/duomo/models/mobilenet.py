"""MobileNetV2: inverted residuals with cheap depthwise windows.

Legend: B rows, C channels, H height, W width.
Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381, table 2 and figure 3b
(3,504,872 weights at 1,000 classes). Parameter names are torchvision's, so that its weights load. Pictures below 96 pixels keep their
side through the first two halvings; no weight depends on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.pictures import convolution, is_large

FORMS = ("pixels",)
TRAIN = {"learning_rate": 3e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 25, "patience": 8, "ema": 0.998}
# growth, channels, blocks, stride (table 2)
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@dataclass(frozen=True)
class Config:
    width: float = 1.0
    """Share of the published channels, rounded to multiples of eight."""
    last: int = 1280
    """Channels of the last 1×1 window."""
    depth: int = 0
    """Most blocks of a stage. 0: as published."""
    dropout: float = 0.2
    """Dropout on the pooled features."""
    stem: str = "auto"
    """Halvings: large (as published, five), small (the first two are left out), or auto (by the picture's size)."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


SIZES = {
    "small": Config(width=0.5, last=320, depth=2, dropout=0.1),
    "base": Config(),
    "large": Config(width=1.4, last=1792),
    "v2": Config(),
}


def rounded(size: float) -> int:
    """To the nearest multiple of eight, but never below nine tenths of `size` (the rule of the authors' code)."""
    found = max(8, int(size + 4) // 8 * 8)
    return found + 8 if found < 0.9 * size else found


def unit(inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    return nn.Sequential(convolution(inputs, outputs, side, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class Block(nn.Module):
    """Widen, 3×3 on each channel alone, narrow without a nonlinearity; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, growth: int):
        super().__init__()
        inner = inputs * growth
        layers: list[nn.Module] = [unit(inputs, inner, 1)] if growth > 1 else []
        layers += [unit(inner, inner, 3, stride, inner), convolution(inner, outputs, 1), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("mobilenet", inputs, FORMS, head)
        channels, *sides = field.shape
        large, side = is_large("mobilenet", config.stem, sides), min(sides)
        width = rounded(32 * config.width)
        layers: list[nn.Module] = [unit(channels, width, 3, 2 if large else 1)]
        for place, (growth, outputs, count, stride) in enumerate(STAGES):
            # small pictures skip the second halving too, and no map shrinks below two places
            stride = stride if large or (place > 1 and side > 3) else 1
            side = -(-side // stride) if not large else side
            for block in range(min(count, config.depth or count)):
                after = rounded(outputs * config.width)
                layers.append(Block(width, after, stride if block == 0 else 1, growth))
                width = after
        layers.append(unit(width, config.last, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(Dropout(config.dropout), nn.Linear(config.last, head.size))
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        logits_BS = self.classifier(self.features(batch[self.name]).mean((2, 3)))
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
