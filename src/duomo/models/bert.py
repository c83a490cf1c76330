"""An encoder that reads both ways: BERT, RoBERTa, MiniLM; fills gaps, tags each token, or answers for a whole text.

    tokens (B, T) -> embedding + places + types [+ neighbours] -> norm -> depth x [attention, +, norm, feed-forward, +, norm]
      per step, as many answers as tokens: dense, GELU, norm, embedding transposed -> (B, T, V) [x counts of both sides]      (fill)
      per step: linear -> (B, T, size)      (tag)         per row: first position, dense, tanh; or mean -> linear -> (B, size)

Legend: B rows, T positions, D width, V vocabulary.
Devlin et al. 2019, arXiv:1810.04805; Liu et al. 2019, arXiv:1907.11692 (RoBERTa: no types, places counted from 2); the norm before each
branch: Xiong et al. 2020, arXiv:2002.04745. A row's head of size 0 leaves the pooled vector itself, (B, D), as sentence embeddings need
(Reimers and Gurevych 2019, arXiv:1908.10084), and behind it what is hashed of the text (nn/hashed.py). Neighbours weighed dimension by
dimension (Mnih and Kavukcuoglu 2013, eq. 3) say at once what attention must first learn to look for. What fills gaps may have counts
beside it (nn/sides.py): in training it answers alone, afterwards both give log-probabilities. `<input>.types` (B, T), the segment
of each token, is zero where the batch has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.config import Within
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.attention import DropoutRates, EncoderBlock
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.feed import GATED, activate, check_activation, check_choice
from duomo.nn.fields import inside, masked_mean, single, wanted
from duomo.nn.hashed import Hashed
from duomo.nn.norm import as_autocast, norm
from duomo.nn.sides import Sides

FORMS = ("tokens",)
TRAIN = {"learning_rate": 5e-4, "batch_size": 32, "weight_decay": 0.01, "epochs": 8, "patience": 4}


@dataclass(frozen=True)
class Config:
    width: int = 256
    """Size of a position's vector."""
    depth: int = 4
    """Blocks."""
    heads: int = 4
    """Attention heads; the width must be a multiple."""
    hidden: int = 0
    """Size of the feed-forward layer. 0: four times the width."""
    activation: str = "gelu"
    """gelu, gelu_tanh, relu, swiglu or geglu."""
    place: str = "before"
    """Norm before or after each branch."""
    eps: float = 1e-12
    """Epsilon of the norms."""
    types: int = 0
    """Kinds of segments that are told apart (2 in BERT)."""
    longest: int = 0
    """Number of learned positions. 0: the longest text of the data."""
    offset: int = 0
    """Number of the first place (2 in RoBERTa)."""
    pool: str = "mean"
    """What answers for a row: the mean over true positions, or the first position through a dense layer."""
    near: int = 0
    """Neighbours on either side whose vectors are added to a token's, each dimension with a weight for each place; none in BERT."""
    dropout: float = 0.1
    """Dropout on the attention and on each branch's output."""
    tied: bool = True
    """What fills gaps shares the weights of the embedding."""
    hashed: Annotated[int, Within(0)] = 0
    """Numbers of a sentence's vector that tell its words and n-grams of letters (TF-IDF by feature hashing), behind the network's own; for
    embeddings only, none in BERT."""
    advice: bool = True
    """Let simpler voices answer with the network where that helps on validation: counts of what stands beside where gaps are filled, a
    line over letters where a row is answered for."""


BERT = Config(768, 12, 12, place="after", types=2, longest=512, pool="first")
ROBERTA = replace(BERT, eps=1e-5, types=1, longest=514, offset=2)
SIZES = {
    "small": Config(width=128, depth=2),
    "base": Config(),
    "large": Config(width=512, depth=8, heads=8),
    "bert-base": BERT,
    "bert-large": replace(BERT, width=1024, depth=24, heads=16),
    "roberta-base": ROBERTA,
    "roberta-large": replace(ROBERTA, width=1024, depth=24, heads=16),
    "minilm-l6": replace(BERT, width=384, depth=6, pool="mean"),
}


class Near(nn.Module):
    """(B, T, D) -> (B, T, D): each position with those up to `near` places away, as a depthwise convolution; padding counts as nothing."""

    def __init__(self, width: int, near: int):
        super().__init__()
        self.weight_KD = nn.Parameter(torch.empty(2 * near + 1, width))

    def forward(self, x_BTD: Tensor, inside_BT: Tensor | None) -> Tensor:
        near, steps = len(self.weight_KD) // 2, x_BTD.shape[1]
        read_BTD = x_BTD if inside_BT is None else x_BTD * inside_BT.unsqueeze(-1).to(x_BTD.dtype)
        wide_BTD = F.pad(read_BTD, (0, 0, near, near))
        for place, weight_D in enumerate(self.weight_KD.to(x_BTD.dtype)):
            x_BTD = x_BTD + weight_D * wide_BTD[:, place : place + steps]
        return x_BTD


class Fill(nn.Module):
    """(B, T, D) -> (B, T, V): a token for each position; without a matrix of its own it takes the embedding's."""

    def __init__(self, config: Config, size: int):
        super().__init__()
        self.dense, self.norm = nn.Linear(config.width, config.width), norm("layer", config.width, config.eps)
        self.out = None if config.tied else nn.Linear(config.width, size, bias=False)
        self.bias = nn.Parameter(torch.zeros(size))
        self.activation = config.activation if config.activation not in GATED else "gelu"

    def forward(self, x_BTD: Tensor, embedding_VD: Tensor) -> Tensor:
        x_BTD = self.norm(activate(self.activation, self.dense(x_BTD)))
        return F.linear(x_BTD, embedding_VD if self.out is None else self.out.weight, self.bias)


class Model(nn.Module):
    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("bert", inputs, FORMS)
        check(config)
        self.config, self.per_row = config, head.per == "row"
        self.room = (config.longest or field.shape[0] + config.offset) - config.offset
        if field.shape[0] > self.room:
            raise ConfigError(
                "The model {model!r} has learned {longest} places; the context is {context}. Set longest_text to at most {longest}.",
                model="bert", longest=self.room, context=field.shape[0],
            )  # fmt: skip
        self.embedding = nn.Embedding(field.vocabulary[0], config.width)
        self.places = nn.Embedding(self.room + config.offset, config.width)
        self.types = nn.Embedding(config.types, config.width) if config.types else None
        self.near = Near(config.width, config.near) if config.near else None
        after = config.place == "after"
        self.enter = norm("layer", config.width, config.eps) if after else nn.Identity()
        self.dropout = Dropout(config.dropout)
        rates = DropoutRates(config.dropout, config.dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(config.width, config.heads, config.hidden, rates, config.activation, not after, config.eps)
            for _ in range(config.depth)
        )
        self.norm = nn.Identity() if after else norm("layer", config.width, config.eps)
        self.pooler = nn.Linear(config.width, config.width) if self.per_row and config.pool == "first" and head.size else None
        fills = not self.per_row and head.size == field.vocabulary[0]
        self.fill = Fill(config, head.size) if fills else None
        self.head = nn.Linear(config.width, head.size) if head.size and not fills else None
        self.sides = Sides(head.size) if fills and config.advice else None
        self.hashed = Hashed(config.hashed) if config.hashed and self.per_row and not head.size else None
        self.council = council_of(inputs, head.size, config.advice and self.per_row and bool(head.size))
        self._initialise()

    def _initialise(self) -> None:
        """N(0, 0.02²), biases zero (the code that Devlin et al. published)."""
        for name, value in self.named_parameters():
            if value.ndim == 2:
                nn.init.normal_(value, std=0.02)
            elif name.endswith(".bias"):
                nn.init.zeros_(value)
        if self.near is not None:
            nn.init.normal_(self.near.weight_KD, std=len(self.near.weight_KD) ** -0.5)

    def _embed(self, batch: Batch, inside_BT: Tensor | None) -> Tensor:
        tokens_BT = batch[self.name]
        steps = tokens_BT.shape[1]
        if steps > self.room:
            raise ConfigError(
                "The model {model!r} reads at most {longest} tokens; received {tokens}. Shorten the text.",
                model="bert", longest=self.room, tokens=steps,
            )  # fmt: skip
        x_BTD = self.embedding(tokens_BT) + self.places.weight[self.config.offset : self.config.offset + steps]
        if self.types is not None:
            types_BT = batch.get(f"{self.name}.types")
            x_BTD = x_BTD + (self.types.weight[0] if types_BT is None else self.types(types_BT))
        if self.near is not None:
            x_BTD = self.near(x_BTD, inside_BT)
        return self.dropout(as_autocast(self.enter(x_BTD)))

    def forward(self, batch: Batch) -> Tensor:
        answer = self._answer(batch)
        if self.council is not None and not self.training:
            return self.council(batch, answer)
        return answer if self.hashed is None else self.hashed.beside(batch[self.name], answer)

    def _answer(self, batch: Batch) -> Tensor:
        inside_BT = inside(batch, self.name) if f"{self.name}.length" in batch else None
        x_BTD = self._embed(batch, inside_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, inside_BT)
        x_BTD = self.norm(x_BTD)
        if not self.per_row:
            x_BTD = wanted(x_BTD, batch, self.name)
            if self.fill is None:
                return self._head(x_BTD)
            logits: Tensor = self.fill(x_BTD, self.embedding.weight)
            if self.sides is None or self.training or not self.sides.fitted:
                return logits
            return self.sides(batch[self.name], inside_BT, batch.get(f"{self.name}.wanted"), logits)
        if self.config.pool == "mean":
            return self._head(x_BTD.mean(1) if inside_BT is None else masked_mean(x_BTD, inside_BT))
        x_BD = x_BTD[:, 0]
        return self._head(x_BD if self.pooler is None else torch.tanh(self.pooler(x_BD)))

    def _head(self, x: Tensor) -> Tensor:
        return x if self.head is None else self.head(self.dropout(x))


def check(config: Config) -> None:
    """ConfigError for an unknown choice."""
    check_activation(config.activation)
    check_choice("place", config.place, ("before", "after"))
    check_choice("pool", config.pool, ("mean", "first"))
    if config.near < 0:
        raise ConfigError("The number of neighbours must be 0 or more; received {near}.", near=config.near)
