"""Films: any picture model on each frame, a Transformer over the frames' features.

Legend: B rows (films), K clips of a film, T frames of a clip, C channels, H height, W width, D width, S size of the head.
Source: Neimark et al. 2021, "Video Transformer Network", arXiv:2102.00719, section 3, with plain attention (clips are short) and the
mean of the frames in place of a class token. A film's logits are the mean of its clips'.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.attention import DropoutRates, EncoderBlock
from duomo.nn.fields import single
from duomo.nn.norm import as_autocast

FORMS = ("clips",)
TRAIN = {"learning_rate": 1e-3, "batch_size": 16, "weight_decay": 5e-2, "epochs": 30, "patience": 10, "ema": 0.99}


@dataclass(frozen=True)
class Config:
    trunk: str = "resnet"
    """The picture model that looks at each frame."""
    size: str = "18"
    """Its named size."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the trunk's own config that override its size."""
    width: int = 256
    """Size of a frame's vector."""
    layers: int = 3
    """Transformer layers over the frames."""
    heads: int = 4
    """Attention heads; the width must be a multiple."""
    dropout: float = 0.1
    """Dropout on each branch's output."""


SMALL = Config(size="tiny", width=128, layers=2)
SIZES = {"small": SMALL, "base": replace(SMALL, size="small", width=192), "large": Config()}


class Model(nn.Module):
    """One field of clips (B, K, T, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, clips = single("vtn", inputs, FORMS, head)
        frames, *shape = clips.shape
        # the trunk's own head becomes the map to the Transformer's width
        picture = {self.name: Field("pixels", tuple(shape), facts=clips.facts)}
        self.trunk = find.trunk(config, picture, Head(config.width))
        self.time_TD = nn.Parameter(torch.randn(frames, config.width) * 0.02)
        rates = DropoutRates(0.0, config.dropout)
        self.layers = nn.ModuleList(EncoderBlock(config.width, config.heads, 0, rates, eps=1e-6) for _ in range(config.layers))
        self.norm, self.head = nn.LayerNorm(config.width), nn.Linear(config.width, head.size)

    def forward(self, batch: Batch) -> Tensor:
        rows, clips, frames = batch[self.name].shape[:3]
        x_BTD = self.trunk({self.name: batch[self.name].flatten(0, 2)}).view(rows * clips, frames, -1)
        x_BTD = as_autocast(x_BTD + self.time_TD.to(x_BTD.dtype))
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        return self.head(self.norm(x_BTD).mean(1)).view(rows, clips, -1).mean(1)
