"""ConvNeXt: a convolutional net in the proportions of a Transformer.

Legend: B rows, C channels, H height, W width.
Source: Liu et al. 2022, "A ConvNet for the 2020s", arXiv:2201.03545, figure 4 and section 3.4 (ConvNeXt-T: 28,589,128 weights at 224
pixels and 1,000 classes); the scale of each branch: Touvron et al. 2021, arXiv:2103.17239. Pictures below 96 pixels are cut into patches
of 2 (of 1 up to 32 pixels) in place of 4.
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
TRAIN = {"learning_rate": 2e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 25, "patience": 8, "ema": 0.998, "warmup": 0.1}
TINY_SIDE = 32


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...] = (3, 3, 9, 3)
    """Blocks of each stage; every stage after the first halves the picture."""
    width: int = 96
    """Channels of the first stage; they double with every stage."""
    window: int = 7
    """Side of the depthwise windows."""
    scale: float = 1e-6
    """What each branch is multiplied by at the start."""
    dropout: float = 0.0
    """Dropout on the pooled features."""
    stem: str = "auto"
    """Patches: large (4 pixels), small (2, or 1 up to 32 pixels), or auto (by the picture's size)."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


SIZES = {
    "small": Config(blocks=(2, 2, 2), width=40, window=5, scale=0.1),
    "base": Config(blocks=(2, 2, 6, 2), width=64, window=5, scale=0.1),
    "large": Config(),
    "tiny": Config(),
    "s": Config(blocks=(3, 3, 27, 3)),
}


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Window on each channel alone, norm, a feed-forward layer four times as wide, scaled, added."""

    def __init__(self, width: int, config: Config):
        super().__init__()
        self.window = nn.Conv2d(width, width, config.window, padding=config.window // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale_C = nn.Parameter(torch.full((width,), config.scale))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = self.norm(self.window(x_BCHW).permute(0, 2, 3, 1))
        return x_BCHW + (self.down(F.gelu(self.up(x_BHWC))) * self.scale_C).permute(0, 3, 1, 2)


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("convnext", inputs, FORMS, head)
        channels, *sides = field.shape
        side = min(sides)
        patch = 4 if is_large("convnext", config.stem, sides) else 2 if side > TINY_SIDE else 1
        layers: list[nn.Module] = [nn.Conv2d(channels, config.width, patch, patch), ChannelNorm(config.width, eps=1e-6)]
        side, width = side // patch, config.width
        for stage, count in enumerate(config.blocks):
            if stage:
                halves = 2 if side >= 2 else 1
                layers += [ChannelNorm(width, eps=1e-6), nn.Conv2d(width, 2 * width, halves, halves)]
                side, width = side // halves, 2 * width
            layers += [Block(width, config) for _ in range(count)]
        self.features = nn.Sequential(*layers)
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-6), Dropout(config.dropout)
        self.head = nn.Linear(width, head.size)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(layer.weight, std=0.02 if not config.scale > 1e-3 else min(0.1, layer.weight[0].numel() ** -0.5))
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        logits_BS = self.head(self.dropout(self.norm(self.features(batch[self.name]).mean((2, 3)))))
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
