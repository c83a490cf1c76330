"""Pictures as vectors: what is of one person or thing lies near; beside them the cosines to the classes learned from.

    picture, level ── trunk ── a map ── means of grid × grid places ── less the mean ── [matrix] ── vector of length 1 ── cosines

Legend: B rows, C channels, H height, W width, F features of the map's places, D numbers of a vector, K classes.
Source: Deng et al. 2019, "ArcFace", arXiv:1801.07698, section 2.1 (vectors and class centres of length 1, no bias); the margin is the
task's. A finished model's vector is that of the picture and its mirror image together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core import find
from duomo.core.contract import Field, Head, Vectors
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.fields import check_per, single
from duomo.nn.pyramid import Maps

FORMS = ("pixels",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 32, "weight_decay": 5e-2, "epochs": 30, "ema": 0.98}
TRUNK = "maps.trunk."
"""What the names of the trunk's weights begin with."""
LEAST = 0.02
"""Added to the variance of a feature: one that hardly ever changes must not be blown up."""
MOMENTUM = 0.1


@dataclass(frozen=True)
class Config:
    trunk: str = "resnet"
    """The picture model that the map comes from."""
    size: str = "small"
    """Its named size."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the trunk's own config that override its size."""
    map: int = 8
    """Places along the side of the map that is read: of the trunk's maps at that scale, the narrowest, and of these the last."""
    grid: int = 4
    """The map is averaged to so many places along the side, each with its own part of the vector: faces stand upright and in the middle."""
    width: int = 0
    """Numbers of a vector, by a learned matrix; 0: the places themselves, which serves strangers better where few classes are learned."""
    level: bool = True
    """Each picture is brought to mean 0 and deviation 1, so that light and contrast matter less."""


SIZES = {"small": Config(), "base": Config(size="18"), "large": Config(size="50", width=512)}


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> Vectors."""

    mean_F: Tensor
    variance_F: Tensor

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_per("embedder", head, "vector")
        self.name, pixels = single("embedder", inputs, FORMS)
        self.grid, self.level = config.grid, config.level
        trunk = find.trunk(config, inputs, Head(1))
        self.maps = _maps(trunk, self.name, pixels.shape, config.map)
        features = self.maps.channels[0] * config.grid**2
        self.register_buffer("mean_F", torch.zeros(features))
        self.register_buffer("variance_F", torch.ones(features))
        self.narrow = nn.Linear(features, config.width, bias=False) if config.width else nn.Identity()
        self.centres_KD = nn.Parameter(torch.randn(head.size, config.width or features) * 0.05)

    def forward(self, batch: Batch) -> Vectors:
        x_BCHW = batch[self.name]
        if self.level:
            spread = x_BCHW.float().std((1, 2, 3), keepdim=True, correction=0)
            x_BCHW = ((x_BCHW - x_BCHW.mean((1, 2, 3), keepdim=True)) / (spread + 1e-3)).to(x_BCHW.dtype)
        places_BF = self._places(x_BCHW)
        if not self.training:
            places_BF = (places_BF + self._places(x_BCHW.flip(3))) / 2
        level_BF = F.batch_norm(places_BF, self.mean_F, self.variance_F, training=self.training and len(places_BF) > 1,
                                momentum=MOMENTUM, eps=LEAST)  # fmt: skip
        vectors_BD = F.normalize(self.narrow(level_BF).float(), dim=1)
        return Vectors(vectors_BD, vectors_BD @ F.normalize(self.centres_KD.float(), dim=1).T)

    def _places(self, x_BCHW: Tensor) -> Tensor:
        (map_BCHW,) = self.maps({self.name: x_BCHW})
        return F.adaptive_avg_pool2d(map_BCHW.float(), self.grid).flatten(1)


def _maps(trunk: nn.Module, name: str, shape: tuple[int, ...], side: int) -> Maps:
    """The narrowest map whose side is nearest to `side`; ConfigError for a trunk that makes none."""
    strides = sorted((2**power for power in range(7)), key=lambda stride: abs(-(-max(shape[1:]) // stride) - side))
    error: ConfigError | None = None
    for stride in strides[:3]:
        try:
            return Maps(trunk, name, shape, (stride,), narrow=True)
        except ConfigError as refused:
            error = refused
    assert error is not None
    raise error
