"""A Transformer over the patches of a picture, with or without registers.

Legend: B rows, C channels, H height, W width, N patches, R registers, T tokens: the class token, N patches, R registers, D width.
Sources: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words", arXiv:2010.11929, eqs. 1 to 4; registers: Darcet et al. 2023,
arXiv:2309.16588, section 2.2: learned tokens without a place, whose outputs are thrown away. ViT-B/16 has 86,567,656 weights at
224 pixels and 1,000 classes (without the pre-logits layer, as released for fine-tuning); four registers add 3,072.
Pictures below 96 pixels are cut into an eighth of their side, whatever the size's patch: 28 into 7×7 patches, 64 into 8×8.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.attention import DropoutRates, EncoderBlock
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.norm import as_autocast
from duomo.nn.pictures import SMALL_SIDE

FORMS = ("pixels",)
POOLS = ("class", "mean")
TRAIN = {"learning_rate": 1e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 40, "patience": 12, "ema": 0.998, "warmup": 0.1}


@dataclass(frozen=True)
class Config:
    patch: int = 0
    """Side of a patch in pixels. 0: 16, or about an eighth of the shorter side of pictures below 96 pixels."""
    layers: int = 12
    """Layers of attention and feed-forward."""
    width: int = 768
    """Size of a token."""
    heads: int = 12
    """Attention heads of each layer."""
    growth: float = 4.0
    """How much wider the feed-forward layer is than a token."""
    registers: int = 0
    """Learned tokens that attention may use as memory; their outputs are thrown away."""
    pool: str = "class"
    """What the head reads: class (a token of its own, as published) or mean (of all patches: Beyer et al. 2022, arXiv:2205.01580)."""
    dropout: float = 0.0
    """Dropout on the outputs of attention and feed-forward."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


_B16, _S16, _L16 = Config(), Config(width=384, heads=6), Config(layers=24, width=1024, heads=16)
SIZES = {
    "small": Config(layers=4, width=96, heads=3, growth=2.0, pool="mean"),
    "base": Config(layers=9, width=192, heads=3, growth=3.0, registers=4, pool="mean", dropout=0.1),
    "large": _S16,
    "s16": _S16,
    "b16": _B16,
    "l16": _L16,
    "b16r4": replace(_B16, registers=4),
}


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("vit", inputs, FORMS, head)
        channels, *sides = field.shape
        patch = config.patch or (16 if min(sides) >= SMALL_SIDE else max(1, round(min(sides) / 8)))
        patches = math.prod(-(-side // patch) for side in sides)
        # what is missing to whole patches is filled with the mean colour at the right and below
        self.missing = (0, -sides[1] % patch, 0, -sides[0] % patch)
        self.patches = nn.Conv2d(channels, config.width, patch, patch)
        if config.pool not in POOLS:
            raise ConfigError("The pooling of vit must be one of {known}; received {pool!r}.", known=", ".join(POOLS), pool=config.pool)
        self.class_1D = nn.Parameter(torch.zeros(1, config.width)) if config.pool == "class" else None
        self.registers_RD = nn.Parameter(torch.randn(config.registers, config.width) * 0.02) if config.registers else None
        self.place_TD = nn.Parameter(torch.randn((config.pool == "class") + patches, config.width) * 0.02)
        hidden, rates = round(config.growth * config.width), DropoutRates(0.0, config.dropout)
        layers = (EncoderBlock(config.width, config.heads, hidden, rates, eps=1e-6) for _ in range(config.layers))
        self.layers = nn.ModuleList(layer.start_as_identity() for layer in layers)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.width, head.size)
        # three times the usual: what a patch shows must outweigh where it stands, else small data are learned several times slower
        nn.init.trunc_normal_(self.patches.weight, std=3 / math.sqrt(channels * patch * patch))
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        x_BCHW = batch[self.name]
        if any(self.missing):
            x_BCHW = F.pad(x_BCHW, self.missing)
        x_BTD = self.patches(x_BCHW).flatten(2).transpose(1, 2)
        if self.class_1D is not None:
            x_BTD = torch.cat([self.class_1D.to(x_BTD.dtype).expand(len(x_BTD), 1, -1), x_BTD], 1)
        x_BTD = x_BTD + self.place_TD.to(x_BTD.dtype)
        if self.registers_RD is not None:
            x_BTD = torch.cat([x_BTD, self.registers_RD.to(x_BTD.dtype).expand(len(x_BTD), -1, -1)], 1)
        x_BTD = self.dropout(as_autocast(x_BTD))
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        x_BD = self.norm(x_BTD[:, : len(self.place_TD)]).mean(1) if self.class_1D is None else self.norm(x_BTD[:, 0])
        logits_BS = self.head(x_BD)
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
