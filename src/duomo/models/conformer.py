"""Conformer: convolution and attention over sound, for CTC or for whole recordings.

Legend: B rows, T steps, M mel bands, C convolution channels, D width, H heads, K head width.
Source: Gulati et al. 2020, "Conformer: Convolution-augmented Transformer for Speech Recognition", arXiv:2005.08100
(figure 1, eq. 1). Departures: rotary positions (Su et al. 2021, arXiv:2104.09864) instead of relative ones; LayerNorm
instead of BatchNorm in the convolution module, and zeros beyond a row's end before every convolution, so that a row never
depends on its batch mates, in training either.

Answers per step: Steps(logits (B, T, size), lengths (B,)), T about a quarter of the 10 ms frames. Per row: (B, size).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head, Steps
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.attention import SelfAttention
from duomo.nn.audio import LogMel, Shorten
from duomo.nn.dropout import Dropout
from duomo.nn.fields import masked_mean, single, within
from duomo.nn.norm import as_autocast
from duomo.nn.positions import rotary_table

FORMS = ("waveform",)
TRAIN = {"learning_rate": 1e-3, "batch_size": 32, "weight_decay": 5e-2, "epochs": 40, "patience": 12, "ema": 0.99}


@dataclass(frozen=True)
class Config:
    width: int = 144
    """Size of a step's vector."""
    depth: int = 6
    """Conformer blocks."""
    heads: int = 4
    """Attention heads; the width must be a multiple."""
    kernel: int = 15
    """Steps that the depthwise convolution sees (odd)."""
    channels: int = 32
    """Channels of the two convolutions that shorten the sound."""
    bands: int = 80
    """Mel bands of a frame."""
    faint: float = 0.0
    """Share of a recording's mean power below which a band counts as silent, so that loud and quiet recordings sound alike. 0: what is
    below -60 dB of a full-scale sine."""
    dropout: float = 0.1
    """Dropout on each branch's output."""


SIZES = {
    "small": Config(width=96, depth=4),
    "base": Config(),
    "large": Config(width=256, depth=16, channels=64, kernel=31),
}


class FeedForward(nn.Sequential):
    """LayerNorm, four times the width, Swish, back (section 2.3)."""

    def __init__(self, width: int, dropout: float):
        super().__init__(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), Dropout(dropout),
            nn.Linear(4 * width, width), Dropout(dropout),
        )  # fmt: skip


class Convolution(nn.Module):
    """Pointwise with gate, depthwise over time, norm, Swish, pointwise (section 2.2)."""

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.norm, self.gate = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.inner_norm, self.out, self.dropout = nn.LayerNorm(width), nn.Linear(width, width), Dropout(dropout)

    def forward(self, x_BTD: Tensor, inside_BT1: Tensor) -> Tensor:
        x_BTD = F.glu(self.gate(self.norm(x_BTD))) * inside_BT1
        x_BTD = self.depthwise(x_BTD.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.out(F.silu(self.inner_norm(x_BTD))))


class Block(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, norm (eq. 1)."""

    def __init__(self, config: Config):
        super().__init__()
        self.first = FeedForward(config.width, config.dropout)
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config.width, config.heads)
        self.dropout = Dropout(config.dropout)
        self.convolution = Convolution(config.width, config.kernel, config.dropout)
        self.second = FeedForward(config.width, config.dropout)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x_BTD: Tensor, inside_BT: Tensor, table_2TK: Tensor) -> Tensor:
        x_BTD = x_BTD + 0.5 * self.first(x_BTD)
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), inside_BT, table_2TK))
        x_BTD = x_BTD + self.convolution(x_BTD, inside_BT.unsqueeze(2))
        return self.norm(x_BTD + 0.5 * self.second(x_BTD))


class Model(nn.Module):
    """One waveform -> Steps for CTC (head.per "step"), or logits (B, head.size) from the mean over steps (head.per "row")."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("conformer", inputs, FORMS)
        if config.width % (2 * config.heads):
            raise ConfigError(
                "The width must be a multiple of twice the heads; received width {width} and heads {heads}. Change one of them.",
                width=config.width, heads=config.heads,
            )  # fmt: skip
        self.per, self.head_width = head.per, config.width // config.heads
        normalise = "bands" if head.per == "step" else "level"
        self.mel = LogMel(int(field.facts["rate"]), config.bands, normalise, faint=config.faint)
        self.shorten = Shorten(config.bands, config.channels, config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.width, head.size)

    def forward(self, batch: Batch) -> Tensor | Steps:
        x_BTD, length_B = self.shorten(*self.mel(batch[self.name], batch[f"{self.name}.length"]))
        x_BTD, inside_BT = self.dropout(as_autocast(x_BTD)), within(length_B, x_BTD.shape[1])
        table_2TK = rotary_table(x_BTD.shape[1], self.head_width).to(x_BTD.device)
        for block in self.blocks:
            x_BTD = block(x_BTD, inside_BT, table_2TK)
        if self.per == "step":
            return Steps(self.head(x_BTD), length_B)
        return self.head(masked_mean(x_BTD.float(), inside_BT))
