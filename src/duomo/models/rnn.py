"""Recurrent nets over a text (Embedding, cells, Dense) or a series (stacked cells, Dense).

Legend: B rows, T positions, D width, H hidden size.
Cells: Elman 1990; LSTM, Hochreiter and Schmidhuber 1997 (oneDNN's kernel on a CPU, in bf16 under autocast); GRU, Cho et al.
2014, arXiv:1406.1078. `base` is three stacked LSTM(128) over a series, and Embedding 64 with one LSTM(64) over a text.
Head: (B, head.size), or (B, T, head.size) per step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.dropout import Dropout
from duomo.nn.fields import inside, masked_mean
from duomo.nn.recurrent import CELLS, Recurrent, last
from duomo.nn.single import single

FORMS = ("tokens", "frames")
TRAIN = {"learning_rate": 2e-3, "batch_size": 32, "weight_decay": 1e-2, "epochs": 20, "patience": 8, "ema": 0.99}
POOLS = ("last", "mean", "max")


@dataclass(frozen=True)
class Config:
    cell: str = "lstm"
    """rnn, lstm or gru."""
    hidden: tuple[int, ...] = ()
    """Size of each stacked layer; when empty (128, 128, 128) over a series and (64,) over a text."""
    embedding: int = 64
    """Size of a token's vector; texts only."""
    both: bool = False
    """Read each row in both directions."""
    pool: str = "last"
    """What answers for a row: the last true step, or the mean or max over true steps."""
    dropout: float = 0.0
    """Part of the values set to zero in training, between layers and before the head."""


SIZES = {
    "small": Config(hidden=(64,), embedding=32),
    "base": Config(),
    "large": Config(hidden=(256, 256, 256), embedding=128, both=True, pool="max", dropout=0.3),
}


def check(config: Config) -> None:
    """ConfigError for an unknown cell or pool."""
    if config.cell not in CELLS:
        raise ConfigError("A recurrent cell must be one of {known}; received {name!r}.", known=", ".join(CELLS), name=config.cell)
    if config.pool not in POOLS:
        raise ConfigError("The pooling must be one of {known}; received {name!r}.", known=", ".join(POOLS), name=config.pool)


class Model(nn.Module):
    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check(config)
        self.name, field = single("rnn", inputs, FORMS)
        text = field.form == "tokens"
        self.embedding = nn.Embedding(field.vocabulary[0], config.embedding) if text else None
        hidden = tuple(config.hidden) or ((64,) if text else (128, 128, 128))
        self.recurrent = Recurrent(config.cell, config.embedding if text else field.shape[1], hidden, config.both, config.dropout)
        self.dropout, self.head = Dropout(config.dropout), nn.Linear(self.recurrent.width, head.size)
        self.pool, self.both, self.per_step = config.pool, config.both, head.per == "step"

    def forward(self, batch: Batch) -> Tensor:
        x, length_B = batch[self.name], batch[f"{self.name}.length"]
        x_BTD = x if self.embedding is None else self.embedding(x)
        y_BTH = self.recurrent(x_BTD, length_B)
        return self.head(self.dropout(y_BTH if self.per_step else self._row(y_BTH, batch, length_B)))

    def _row(self, y_BTH: Tensor, batch: Batch, length_B: Tensor) -> Tensor:
        if self.pool == "last":
            if not self.both:
                return last(y_BTH, length_B)
            ahead_BTH, back_BTH = y_BTH.chunk(2, 2)
            # the backward direction ends at the first place
            return torch.cat([last(ahead_BTH, length_B), back_BTH[:, 0]], 1)
        inside_BT = inside(batch, self.name)
        if self.pool == "mean":
            return masked_mean(y_BTH, inside_BT)
        inside_BT = inside_BT | ~inside_BT.any(1, keepdim=True)
        return y_BTH.masked_fill(~inside_BT.unsqueeze(2), -torch.inf).amax(1)
