"""Text as a bag of hashed n-grams with embeddings: each position is the sum of the vectors of the n-grams that begin there; the
greatest and the mean value over the positions go to a linear map.

Legend: B rows, T positions, D width, S head size.
N-grams remember which phrases speak for which answer, as logistic regression on n-grams does; embeddings share what they learn
among phrases, and the greatest value finds the one phrase that settles a long text. Sources: Joulin et al. 2017, "Bag of Tricks",
arXiv:1607.01759, section 2.2 (hashed n-grams, mean); Shen et al. 2018, arXiv:1805.09843, section 3.2 (greatest value beside the mean).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.fields import check_forms, check_per_row, inside, masked_mean

FORMS = ("tokens",)
PRIME = 1_000_003


@dataclass(frozen=True)
class Config:
    orders: int = 3
    """Longest n-gram: 3 takes single tokens, pairs and triples."""
    buckets: int = 2**17
    """Places that the n-grams of each order above one are hashed to."""
    width: int = 32
    """Size of an n-gram's vector."""
    dropout: float = 0.3
    """Part of the pooled features set to zero in training; a third of it for the positions' vectors."""
    forget: float = 0.1
    """Part of the n-grams above one token left out in training, so that no single phrase is leaned on."""


SIZES = {
    "small": Config(buckets=2**15, width=16),
    "base": Config(),
    "large": Config(buckets=2**19, width=64),
}


class Phrases(nn.Module):
    """int64 (B, T) -> (B, T, D): the sum of the vectors of the n-grams that begin at each position."""

    def __init__(self, vocabulary: int, config: Config):
        super().__init__()
        self.buckets, self.forget = config.buckets, config.forget
        sizes = [vocabulary] + [config.buckets + 1] * (config.orders - 1)
        self.vectors = nn.ModuleList(nn.Embedding(places, config.width, padding_idx=0) for places in sizes)
        with torch.no_grad():
            for weight in self.vectors.parameters():
                weight.normal_(std=0.1)
                weight[0] = 0.0  # padding and forgotten n-grams add nothing

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.vectors[0](tokens_BT)
        code_BT = following_BT = tokens_BT
        for vectors in self.vectors[1:]:
            following_BT = torch.cat([following_BT[:, 1:], torch.zeros_like(following_BT[:, :1])], dim=1)
            code_BT = (code_BT * PRIME + following_BT) % (2**31 - 1)
            place_BT = torch.where(following_BT > 0, code_BT % self.buckets + 1, 0)
            if self.training and self.forget:
                place_BT = place_BT.masked_fill(torch.rand(place_BT.shape, device=place_BT.device) < self.forget, 0)
            x_BTD = x_BTD + vectors(place_BT)
        return x_BTD


class Model(nn.Module):
    """One or several token fields -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("widetext", inputs, FORMS)
        check_per_row("widetext", head)
        self.names = list(inputs)
        self.phrases = nn.ModuleList(Phrases(field.vocabulary[0], config) for field in inputs.values())
        self.drop_in, self.drop_out = nn.Dropout(config.dropout / 3), nn.Dropout(config.dropout)
        self.out = nn.Linear(2 * config.width * len(self.names), head.size)

    def forward(self, batch: Batch) -> Tensor:
        pooled = []
        for name, phrases in zip(self.names, self.phrases, strict=True):
            x_BTD, inside_BT = self.drop_in(phrases(batch[name])), inside(batch, name)
            greatest_BD = x_BTD.masked_fill(~inside_BT.unsqueeze(2), -1e4).amax(dim=1)
            pooled += [torch.where(inside_BT.any(dim=1, keepdim=True), greatest_BD, 0.0), masked_mean(x_BTD, inside_BT)]
        return self.out(self.drop_out(torch.cat(pooled, dim=1)))
