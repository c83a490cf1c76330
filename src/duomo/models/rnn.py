"""Recurrent nets over a text (Embedding, cells, Dense) or a series (stacked cells, Dense).

Legend: B rows, T positions, D width, H hidden size.
Cells: Elman 1990; LSTM, Hochreiter and Schmidhuber 1997 (oneDNN's kernel on a CPU, in bf16 under autocast); GRU, Cho et al.
2014, arXiv:1406.1078. `base` is three stacked LSTM(128) over a series, and Embedding 64 with one LSTM(64) over a text.
Head: (B, head.size), or (B, T, head.size) per step. With as many answers per step as the vocabulary has tokens it is a language
model: it reads onward only, may share its head's weights with the embedding (Press and Wolf 2017, arXiv:1608.05859), and
`forward_cached` writes on from a state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.dropout import Dropout
from duomo.nn.fields import inside, masked_mean, single
from duomo.nn.recurrent import CELLS, Recurrent, last

FORMS = ("tokens", "frames")
TRAIN = {"learning_rate": 2e-3, "batch_size": 32, "weight_decay": 1e-2, "epochs": 20, "patience": 8, "ema": 0.99}
POOLS = ("last", "mean", "max")
SPREAD = 0.05
"""Standard deviation of the vectors of a text's tokens at the start: at 1 they hardly turn in a short training (docs/experiments.md)."""


@dataclass(frozen=True)
class Config:
    cell: str = "lstm"
    """rnn, lstm or gru."""
    hidden: tuple[int, ...] = ()
    """Size of each stacked layer. Empty: (128, 128, 128) over a series, (64,) over a text."""
    embedding: int = 64
    """Size of a token's vector; texts only."""
    both: bool = False
    """Read each row in both directions."""
    pool: str = "last"
    """What answers for a row: the last true step, or the mean or max over true steps."""
    dropout: float = 0.0
    """Dropout between layers and before the head."""
    tied: bool = True
    """A language model's head shares the weights of the embedding, where the last layer is as wide."""


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


@final
class Progress:
    """What the layers remember of the tokens read so far."""

    def __init__(self, layers: int):
        self.states: list[Any] = [None] * layers
        self.used = 0

    def select(self, rows_B: Tensor) -> None:
        """Take these rows, in place: several times where several continuations are tried."""
        self.states = [tuple(part[:, rows_B] for part in state) if isinstance(state, tuple) else state[:, rows_B] for state in self.states]


class Model(nn.Module):
    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check(config)
        self.name, field = single("rnn", inputs, FORMS)
        text = field.form == "tokens"
        writes = text and head.per == "step" and head.size == field.vocabulary[0]
        self.embedding = nn.Embedding(field.vocabulary[0], config.embedding) if text else None
        hidden, self.both = tuple(config.hidden) or ((64,) if text else (128, 128, 128)), config.both and not writes
        self.recurrent = Recurrent(config.cell, config.embedding if text else field.shape[1], hidden, self.both, config.dropout)
        self.dropout, self.head = Dropout(config.dropout), nn.Linear(self.recurrent.width, head.size)
        self.pool, self.per_step = config.pool, head.per == "step"
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=config.embedding**-0.5 if writes else SPREAD)
        if writes and self.embedding is not None and config.tied and hidden[-1] == config.embedding:
            self.head.weight = self.embedding.weight

    def forward(self, batch: Batch) -> Tensor:
        x = batch[self.name]
        full_B = torch.full((len(x),), x.shape[1], device=x.device)
        length_B = batch.get(f"{self.name}.length", full_B)
        x_BTD = x if self.embedding is None else self.embedding(x)
        y_BTH = self.recurrent(x_BTD, length_B)
        return self.head(self.dropout(y_BTH if self.per_step else self._row(y_BTH, batch, length_B)))

    def start(self, rows: int, positions: int) -> Progress:
        """Nothing read yet; the state's size does not depend on how many tokens follow."""
        if self.both or self.embedding is None or not self.per_step:
            raise ConfigError("The model {model!r} writes only where it was trained to guess the next token.", model="rnn")
        return Progress(len(self.recurrent.onward))

    def forward_cached(self, tokens_BT: Tensor, cache: Progress) -> Tensor:
        """Logits (B, T, V) of the next T tokens after those read so far; equal to the full forward pass."""
        assert self.embedding is not None
        cache.used += tokens_BT.shape[1]
        return self.head(self.recurrent.onwards(self.embedding(tokens_BT), cache.states))

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
