"""Several columns of tokens that run side by side (a token, its pair, its shape ...): one answer for each place.

    each column -> embedding --(concatenated)--> recurrent layers, both directions -> linear --+
                -> its own logits, also one place before and after (as a linear-chain model's features) --+-> logits (B, T, size)

Legend: B rows, T places, D width, H hidden size, S size of the head.
Bidirectional LSTM over characters and words: Huang et al. 2015, arXiv:1508.01991; Lample et al. 2016, arXiv:1603.01360; a linear
part beside the deep one: Cheng et al. 2016, arXiv:1606.07792. What may follow what is for the task to say when it decodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.dropout import Dropout
from duomo.nn.fields import check_forms, check_per, inside
from duomo.nn.recurrent import Recurrent

FORMS = ("tokens",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 32, "weight_decay": 1e-2, "epochs": 12, "patience": 4, "ema": 0.99}


@dataclass(frozen=True)
class Config:
    cell: str = "lstm"
    """rnn, lstm or gru."""
    hidden: tuple[int, ...] = (128,)
    """Size of each stacked layer, in each direction."""
    embedding: int = 64
    """Size of the first column's vectors; the others have half of it."""
    wide: bool = True
    """Each value also votes by itself, where it stands and one place to either side."""
    vote: float = 8.0
    """What a vote counts: as many times faster than other weights are votes learned (most values are seen a few times only)."""
    dropout: float = 0.3
    """Dropout on the embeddings and the recurrent output."""


SIZES = {
    "small": Config(hidden=(96,), embedding=48),
    "base": Config(),
    "large": Config(hidden=(256, 256), embedding=128, dropout=0.4),
}


class Model(nn.Module):
    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("tagger", inputs, FORMS)
        check_per("tagger", head, "step")
        self.names, self.vote = list(inputs), config.vote
        widths = [config.embedding if not place else config.embedding // 2 for place in range(len(inputs))]
        self.embeddings = nn.ModuleList(
            nn.Embedding(field.vocabulary[0], width) for field, width in zip(inputs.values(), widths, strict=True)
        )
        self.votes = nn.ModuleList(nn.Embedding(field.vocabulary[0], 3 * head.size) for field in inputs.values() if config.wide)
        for table in self.embeddings:
            nn.init.normal_(table.weight, std=0.1)  # type: ignore[arg-type]
        for table in self.votes:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]
        self.recurrent = Recurrent(config.cell, sum(widths), config.hidden, True, config.dropout)
        self.dropout, self.head = Dropout(config.dropout), nn.Linear(self.recurrent.width, head.size)

    def forward(self, batch: Batch) -> Tensor:
        first = self.names[0]
        inside_BT1 = inside(batch, first).unsqueeze(2)
        x_BTD = torch.cat([table(batch[name]) for name, table in zip(self.names, self.embeddings, strict=True)], 2)
        y_BTH = self.recurrent(self.dropout(x_BTD), batch[f"{first}.length"])
        logits_BTS = self.head(self.dropout(y_BTH))
        if len(self.votes):
            parts = [table(batch[name]) for name, table in zip(self.names, self.votes, strict=True)]
            before, here, after = (torch.stack(parts).sum(0) * (self.vote * inside_BT1)).chunk(3, 2)
            logits_BTS = logits_BTS + here + F.pad(before, (0, 0, 1, 0))[:, :-1] + F.pad(after, (0, 0, 0, 1))[:, 1:]
        return logits_BTS
