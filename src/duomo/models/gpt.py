"""A decoder language model: every position guesses the next token.

Legend: B rows, T positions, D width, H heads, G key-value heads, K head width, V vocabulary.
Radford et al. 2019 (GPT-2), with RMSNorm (arXiv:1910.07467), rotary positions (arXiv:2104.09864), SwiGLU (Shazeer 2020,
arXiv:2002.05202), grouped key-value heads (Ainslie et al. 2023, arXiv:2305.13245) and normalised queries and keys (Henry et al.
2020, arXiv:2010.04245). Output: (B, T, head.size). `forward_cached` reads on from a key-value cache.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.attention import Attend, check_heads
from duomo.nn.cache import Cache
from duomo.nn.dropout import Dropout
from duomo.nn.norm import RMSNorm, as_autocast
from duomo.nn.positions import rotary_table, rotate
from duomo.nn.single import single

FORMS = ("tokens",)
TRAIN = {"learning_rate": 1.5e-3, "batch_size": 16, "weight_decay": 0.1, "epochs": 6, "patience": 4}


@dataclass(frozen=True)
class Config:
    width: int = 384
    """Size of a position's vector."""
    depth: int = 6
    """Blocks."""
    heads: int = 6
    """Query heads; they divide the width."""
    key_heads: int = 0
    """Key and value heads; they divide the query heads. As many as query heads when 0."""
    activation: str = "swiglu"
    """swiglu or gelu."""
    norm_keys: bool = False
    """Normalise queries and keys before their product."""
    dropout: float = 0.1
    """Part of the attention and of each branch's output set to zero in training."""
    tied: bool = True
    """The head shares the weights of the embedding."""


SIZES = {
    "nano": Config(width=128, depth=4, heads=4),
    "small": Config(width=256, depth=4, heads=4),
    "base": Config(),
    "large": Config(width=768, depth=12, heads=12),
}


class Attention(nn.Module):
    """(B, T, D) -> (B, T, D): each position reads itself and what is before it."""

    def __init__(self, config: Config):
        super().__init__()
        check_heads(config.width, config.heads)
        self.heads, self.groups = config.heads, config.key_heads or config.heads
        check_heads(self.heads, self.groups)
        self.size = config.width // config.heads
        if self.size % 2:
            raise ConfigError("Rotary positions need an even head width; received {size}. Change width or heads.", size=self.size)
        self.qkv = nn.Linear(config.width, (self.heads + 2 * self.groups) * self.size, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.q_norm, self.k_norm = (RMSNorm(self.size) if config.norm_keys else nn.Identity() for _ in range(2))
        self.attend = Attend(config.dropout)

    def forward(self, x_BTD: Tensor, table_2TK: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        B, T, D = x_BTD.shape
        x_BHTK = self.qkv(x_BTD).view(B, T, -1, self.size).transpose(1, 2)
        q, k, v = x_BHTK.split([self.heads, self.groups, self.groups], 1)
        q, k = rotate(self.q_norm(q), table_2TK), rotate(self.k_norm(k), table_2TK)
        if cache is None:
            y_BHTK = self.attend(q, k, v, causal=True)
        else:
            k, v = cache.store(layer, k, v)
            allowed_TS = torch.ones(T, k.shape[2], dtype=torch.bool, device=q.device).tril(cache.used) if T > 1 else None
            y_BHTK = self.attend(q, k, v, allowed_TS)
        return self.out(y_BHTK.transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    """Attention and feed-forward, each behind an RMSNorm and around an identity."""

    def __init__(self, config: Config):
        super().__init__()
        self.gated = config.activation == "swiglu"
        # two thirds of four times the width, to the next 32: as many weights as without a gate
        hidden = math.ceil(8 * config.width / 96) * 32 if self.gated else 4 * config.width
        self.first, self.attention = RMSNorm(config.width), Attention(config)
        self.second = RMSNorm(config.width)
        self.rise = nn.Linear(config.width, (2 if self.gated else 1) * hidden, bias=False)
        self.fall = nn.Linear(hidden, config.width, bias=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, table_2TK: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        x_BTD = x_BTD + self.dropout(self.attention(self.first(x_BTD), table_2TK, cache, layer))
        inner = self.rise(self.second(x_BTD))
        if self.gated:
            gate, value = inner.chunk(2, -1)
            inner = F.silu(gate) * value
        else:
            inner = F.gelu(inner)
        return x_BTD + self.dropout(self.fall(inner))


class Model(nn.Module):
    table_2TK: Tensor

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        if config.activation not in ("swiglu", "gelu"):
            raise ConfigError(
                "The setting {name} must be one of {known}; received {value!r}.",
                name="activation",
                known="swiglu, gelu",
                value=config.activation,
            )
        if head.per != "step":
            raise ConfigError(
                "The model {model!r} gives one answer per step; the task asks for one per row. Choose another model.", model="gpt"
            )
        self.name, field = single("gpt", inputs, FORMS)
        self.config = config
        self.embedding = nn.Embedding(field.vocabulary[0], config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width)
        tied = config.tied and head.size == field.vocabulary[0]
        self.head = None if tied else nn.Linear(config.width, head.size, bias=False)
        self.register_buffer("table_2TK", rotary_table(field.shape[0], config.width // config.heads), persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """N(0, 0.02²); what ends a branch is divided by sqrt(2 depth) (GPT-2, section 2.3)."""
        for name, value in self.named_parameters():
            if value.ndim == 2:
                ends = name.endswith(("attention.out.weight", "fall.weight"))
                nn.init.normal_(value, std=0.02 / (math.sqrt(2 * self.config.depth) if ends else 1))

    def _angles(self, start: int, steps: int) -> Tensor:
        if start + steps > self.table_2TK.shape[1]:
            longer = rotary_table(start + steps, self.config.width // self.config.heads)
            return longer[:, start:].to(self.table_2TK.device)
        return self.table_2TK[:, start : start + steps]

    def _logits(self, x_BTD: Tensor) -> Tensor:
        x_BTD = self.norm(x_BTD)
        return F.linear(x_BTD, self.embedding.weight) if self.head is None else self.head(x_BTD)

    def forward(self, batch: Batch) -> Tensor:
        tokens_BT = batch[self.name]
        x_BTD = self.dropout(as_autocast(self.embedding(tokens_BT)))
        table_2TK = self._angles(0, tokens_BT.shape[1])
        for block in self.blocks:
            x_BTD = block(x_BTD, table_2TK)
        return self._logits(x_BTD)

    def start(self, rows: int, positions: int) -> Cache:
        """An empty cache for `rows` rows of up to `positions` tokens."""
        config = self.config
        groups, size = config.key_heads or config.heads, config.width // config.heads
        return Cache(config.depth, rows, groups, positions, size, self.embedding.weight)

    def forward_cached(self, tokens_BT: Tensor, cache: Cache) -> Tensor:
        """Logits (B, T, V) of the next T tokens after those in the cache, which then holds them too; equal to the full forward pass."""
        steps = tokens_BT.shape[1]
        cache.check(steps)
        x_BTD = as_autocast(self.embedding(tokens_BT))
        table_2TK = self._angles(cache.used, steps)
        for number, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, table_2TK, cache, number)
        cache.advance(steps)
        return self._logits(x_BTD)
