"""A one-stage detector without anchors: a pyramid of maps on any picture model, at each place a class and a box.

    picture ─ trunk ─┬─ 1/8  ─┐                     ┌─ class tower ─ logits (B, A, S)
                     ├─ 1/16 ─┤ pyramid ─ shared ───┤
                     └─ 1/32 ─┘            heads    └─ box tower ── distances to the four sides ─ boxes (B, A, 4)

Legend: B rows, C channels, H height, W width, A places of all levels, S classes, P channels of the pyramid.
Source: Tian et al. 2019, "FCOS", arXiv:1904.01355, section 3.1 and figure 2; the class logit stands for class and fit of the box at
once (Li et al. 2020, arXiv:2006.04388), which replaces the centre-ness branch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core import find
from duomo.core.contract import Field, Head, Places
from duomo.core.tensors import Batch
from duomo.nn.fields import check_per, single
from duomo.nn.pyramid import Maps, Pyramid

FORMS = ("pixels",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 16, "weight_decay": 5e-2, "epochs": 30, "patience": 10, "ema": 0.998}
TRUNK = "maps.trunk."
"""What the names of the trunk's weights begin with."""
RARE = 0.01
"""Share of the places that a class is expected at before anything is learned (arXiv:1708.02002, section 4.1)."""


@dataclass(frozen=True)
class Config:
    trunk: str = "resnet"
    """The picture model that the maps come from."""
    size: str = "18"
    """Its named size."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the trunk's own config that override its size."""
    strides: tuple[int, ...] = (8, 16, 32)
    """Scales of the pyramid: pixels between neighbouring places."""
    width: int = 96
    """Channels of the pyramid and the towers."""
    depth: int = 2
    """Convolutions of each tower."""


SMALL = Config(size="base", options={"blocks": (1, 1, 1, 1), "width": 32, "stem": "large"}, width=64)
SIZES = {"small": SMALL, "base": Config(), "large": replace(Config(), size="50", width=192, depth=4)}


def tower(width: int, depth: int) -> nn.Sequential:
    """Convolutions with group norm, shared by all levels."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(math.gcd(16, width), width), nn.ReLU()]
    return nn.Sequential(*layers)


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> Places."""

    places_A3: Tensor

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_per("detector", head, "place")
        self.name, pixels = single("detector", inputs, FORMS)
        trunk = find.trunk(config, inputs, Head(1))
        self.maps = Maps(trunk, self.name, pixels.shape, tuple(config.strides))
        self.pyramid = Pyramid(self.maps.channels, config.width)
        self.classes, self.sides = tower(config.width, config.depth), tower(config.width, config.depth)
        self.logits, self.distances = nn.Conv2d(config.width, head.size, 3, padding=1), nn.Conv2d(config.width, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(config.strides)))
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.normal_(self.distances.weight, std=0.01)
        with torch.no_grad():
            self.logits.bias.fill_(-math.log((1 - RARE) / RARE))  # type: ignore[union-attr]
            self.distances.bias.fill_(1.0)  # type: ignore[union-attr]
        _, height, width = pixels.shape
        levels = [_places(height, width, stride) for stride in config.strides]
        self.register_buffer("places_A3", torch.cat(levels), persistent=False)
        self.ratio = width / height
        self.counts = [len(level) for level in levels]

    def forward(self, batch: Batch) -> Places:
        maps = self.pyramid(self.maps(batch))
        logits, reach = [], []
        for level, x in enumerate(maps):
            logits.append(self.logits(self.classes(x)).flatten(2).transpose(1, 2))
            sides = F.softplus(self.distances(self.sides(x)) * self.scales[level])
            reach.append(sides.flatten(2).transpose(1, 2))
        x_A1, y_A1, step_A1 = self.places_A3.split(1, 1)
        step_A4 = torch.cat([step_A1, step_A1 * self.ratio] * 2, 1)
        reach_BA4 = torch.cat(reach, 1).float() * step_A4
        centre_A4 = torch.cat([x_A1, y_A1, x_A1, y_A1], 1)
        sign = reach_BA4.new_tensor([-1.0, -1.0, 1.0, 1.0])
        return Places(torch.cat(logits, 1), centre_A4 + sign * reach_BA4, self.places_A3)


def _places(height: int, width: int, stride: int) -> Tensor:
    """(A, 3) of one level: x and y of each cell's middle and the step between them, in shares of the width (x, step) and height (y)."""
    rows, columns = -(-height // stride), -(-width // stride)
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) * stride / height, (torch.arange(columns) + 0.5) * stride / width, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.full((rows * columns,), stride / width)], 1)
