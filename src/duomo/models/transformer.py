"""A Transformer encoder over a text, a series, or the cells of a table.

Legend: B rows, T positions, D width, C channels of a frame.
Vaswani et al. 2017, arXiv:1706.03762, sections 3.1 to 3.3; the norm before each branch as in Xiong et al. 2020,
arXiv:2002.04745, or after it as first published. Cells as tokens: Gorishniy et al. 2021, arXiv:2106.11959.
Head: (B, head.size), or (B, T, head.size) per step of a text or a series.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.attention import DropoutRates, EncoderBlock
from duomo.nn.dropout import Dropout
from duomo.nn.feed import check_choice
from duomo.nn.fields import check_forms, check_per, inside, masked_mean, single
from duomo.nn.norm import as_autocast
from duomo.nn.numeric import Categories, embed_numbers

FORMS = ("tokens", "frames", "numbers", "categories")
TRAIN = {"learning_rate": 1e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 12, "patience": 5, "ema": 0.99}
CELLS = ("numbers", "categories")


@dataclass(frozen=True)
class Config:
    width: int = 256
    """Size of a position's vector."""
    depth: int = 2
    """Blocks."""
    heads: int = 4
    """Attention heads; the width must be a multiple."""
    hidden: int = 0
    """Size of the feed-forward layer. 0: four times the width."""
    dropout: float = 0.1
    """Dropout on the attention and on each branch's output."""
    pool: str = "mean"
    """What answers for a row: the mean over true positions, or a first position of its own."""
    norm: str = "before"
    """LayerNorm before or after each branch."""
    activation: str = "gelu"
    """gelu or relu."""


SIZES = {
    "small": Config(width=128),
    "base": Config(),
    "large": Config(width=512, depth=6, heads=8),
}
CHOICES = {"pool": ("mean", "first"), "norm": ("before", "after"), "activation": ("gelu", "relu")}


def check(config: Config) -> None:
    """ConfigError for an unknown choice."""
    for name, known in CHOICES.items():
        check_choice(name, getattr(config, name), known)


class Sequence(nn.Module):
    """A text or a series as (B, T, D) with learned positions; what is beyond `longest` is cut off."""

    def __init__(self, name: str, field: Field, width: int):
        super().__init__()
        self.name, self.text = name, field.form == "tokens"
        self.embed = nn.Embedding(field.vocabulary[0], width) if self.text else nn.Linear(field.shape[1], width)
        self.place_TD = nn.Parameter(torch.randn(field.shape[0], width) * 0.02)
        if self.text:
            nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        inside_BT = inside(batch, self.name)[:, : self.place_TD.shape[0]]
        x_BTD = self.embed(batch[self.name][:, : self.place_TD.shape[0]])
        return x_BTD + self.place_TD[: x_BTD.shape[1]], inside_BT


class Cells(nn.Module):
    """Numbers and categories: one position per cell, marked by its column."""

    def __init__(self, inputs: Mapping[str, Field], width: int):
        super().__init__()
        self.names = list(inputs)
        self.embeds, self.columns = nn.ModuleList(), nn.ParameterList()
        for field in inputs.values():
            self.embeds.append(embed_numbers(field, width) if field.form == "numbers" else Categories(field.vocabulary, width, scale=0.1))
            self.columns.append(nn.Parameter(torch.randn(field.shape[0], width) * 0.1))

    def forward(self, batch: Batch) -> tuple[Tensor, None]:
        parts = [embed(batch[name]) + column for name, embed, column in zip(self.names, self.embeds, self.columns, strict=True)]
        return torch.cat(parts, 1), None


class Model(nn.Module):
    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check(config)
        check_forms("transformer", inputs, FORMS)
        self.per_step = head.per == "step"
        self.read: nn.Module
        if all(field.form in CELLS for field in inputs.values()):
            check_per("transformer", head)
            self.read = Cells(inputs, config.width)
        else:
            name, field = single("transformer", inputs, FORMS)
            self.read = Sequence(name, field, config.width)
        self.first_D = nn.Parameter(torch.randn(config.width) * 0.02) if config.pool == "first" and not self.per_step else None
        self.dropout = Dropout(config.dropout)
        rates = DropoutRates(config.dropout, config.dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(config.width, config.heads, config.hidden, rates, config.activation, config.norm == "before")
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width) if config.norm == "before" else nn.Identity()
        self.head = nn.Linear(config.width, head.size)

    def forward(self, batch: Batch) -> Tensor:
        x_BTD, inside_BT = self.read(batch)
        if self.first_D is not None:
            x_BTD = torch.cat([self.first_D.expand(x_BTD.shape[0], 1, -1), x_BTD], 1)
            inside_BT = None if inside_BT is None else F.pad(inside_BT, (1, 0), value=True)
        x_BTD = as_autocast(x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, inside_BT)
        x_BTD = self.norm(x_BTD)
        if self.per_step:
            return self.head(x_BTD)
        if self.first_D is not None:
            return self.head(x_BTD[:, 0])
        return self.head(x_BTD.mean(1) if inside_BT is None else masked_mean(x_BTD, inside_BT))
