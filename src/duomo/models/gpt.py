"""A decoder language model: every position guesses the next token.

    tokens (B, T) -> embedding (+ places) -> depth x [norm, attention to what is before, +, norm, feed-forward, +] -> norm -> head

Legend: B rows, T positions, D width, H heads, G key-value heads, K head width, V vocabulary.
GPT-1 (Radford et al. 2018: norm after each branch), GPT-2 (Radford et al. 2019: before it), GPT-3 (Brown et al. 2020,
arXiv:2005.14165, table 2.1; its alternating sparse layers are dense here): learned positions, LayerNorm, GELU, biases.
Llama, SmolLM2, Qwen2, Qwen3: RMSNorm (arXiv:1910.07467), rotary positions (arXiv:2104.09864), SwiGLU (Shazeer 2020,
arXiv:2002.05202), grouped key-value heads (Ainslie et al. 2023, arXiv:2305.13245), biases of queries, keys and values (Qwen2), normalised
queries and keys (Henry et al. 2020, arXiv:2010.04245; Qwen3). Output: (B, T, head.size); for a task with one answer per row the last true
position answers, (B, head.size). `forward_cached` reads on from a key-value cache. Where the batch holds `<input>.document` (B, T),
the number of the document that a position belongs to, no position reads another document. Where the next token is what is asked for, counts
may speak beside the network (nn/counts.py): in training it answers alone, afterwards both give log-probabilities.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.attention import ScaledDotProduct, check_heads
from duomo.nn.cache import Cache
from duomo.nn.council import council_of
from duomo.nn.counts import ORDER, Counts, before
from duomo.nn.dropout import Dropout
from duomo.nn.feed import GATED, activate, check_activation, check_choice
from duomo.nn.fields import single, wanted
from duomo.nn.norm import RMSNorm, as_autocast, norm
from duomo.nn.positions import rotary_table, rotate
from duomo.nn.recurrent import last

FORMS = ("tokens",)
TRAIN = {"learning_rate": 1.5e-3, "batch_size": 16, "weight_decay": 0.1, "epochs": 6, "patience": 4}


@dataclass(frozen=True)
class Config:
    width: int = 384
    """Size of a position's vector."""
    depth: int = 6
    """Blocks."""
    heads: int = 6
    """Query heads; the width must be a multiple."""
    key_heads: int = 0
    """Key and value heads; the query heads must be a multiple. 0: as many as query heads."""
    activation: str = "swiglu"
    """swiglu, geglu, gelu, gelu_tanh or relu."""
    norm_keys: bool = False
    """Normalise queries and keys before their product."""
    dropout: float = 0.1
    """Dropout on the attention and on each branch's output."""
    tied: bool = True
    """The head shares the weights of the embedding."""
    head_width: int = 0
    """Size of a head. 0: the width divided by the heads."""
    hidden: int = 0
    """Size of the feed-forward layer. 0: four times the width, with a gate two thirds of that."""
    positions: str = "rotary"
    """rotary, or learned (a vector for each place)."""
    theta: float = 10000.0
    """Base of the rotary angles."""
    stretch: tuple[float, ...] = ()
    """Rotary angles for a longer context: the factor, or factor, low, high and old context as in Llama 3.1."""
    longest: int = 0
    """Number of learned positions. 0: the context of the data."""
    norm: str = "rms"
    """rms or layer."""
    place: str = "before"
    """Norm before or after each branch."""
    eps: float = 1e-6
    """Epsilon of the norms."""
    bias: str = "none"
    """Which linear layers have biases: none, qkv (of queries, keys and values) or all."""
    advice: bool = True
    """Let simpler voices answer beside the network where that helps on validation: counts of what followed what, or a line over letters
    where a row is answered for."""


GPT2 = Config(768, 12, 12, activation="gelu_tanh", positions="learned", longest=1024, norm="layer", eps=1e-5, bias="all")
GPT3 = replace(GPT2, longest=2048, dropout=0.0)
LLAMA = Config(dropout=0.0, eps=1e-5, tied=False)
QWEN2 = Config(dropout=0.0, theta=1e6, bias="qkv")
QWEN3 = Config(dropout=0.0, theta=1e6, norm_keys=True, head_width=128)
SIZES = {
    "nano": Config(width=128, depth=4, heads=4),
    "small": Config(width=256, depth=4, heads=4),
    "base": Config(),
    "large": Config(width=768, depth=12, heads=12),
    "gpt1": replace(GPT2, longest=512, place="after"),
    "gpt2": GPT2,
    "gpt2-medium": replace(GPT2, width=1024, depth=24, heads=16),
    "gpt2-large": replace(GPT2, width=1280, depth=36, heads=20),
    "gpt2-xl": replace(GPT2, width=1600, depth=48, heads=25),
    "gpt3-125m": GPT3,
    "gpt3-350m": replace(GPT3, width=1024, depth=24, heads=16),
    "gpt3-760m": replace(GPT3, width=1536, depth=24, heads=16),
    "gpt3-1.3b": replace(GPT3, width=2048, depth=24, heads=16),  # the table's 24 heads of 128 do not make 2,048
    "gpt3-2.7b": replace(GPT3, width=2560, depth=32, heads=32),
    "gpt3-6.7b": replace(GPT3, width=4096, depth=32, heads=32),
    "gpt3-13b": replace(GPT3, width=5120, depth=40, heads=40),  # 5,140 in the table, which 40 heads of 128 do not make
    "gpt3-175b": replace(GPT3, width=12288, depth=96, heads=96),
    "smollm2-135m": replace(LLAMA, width=576, depth=30, heads=9, key_heads=3, hidden=1536, theta=1e5, tied=True),
    "smollm2-360m": replace(LLAMA, width=960, depth=32, heads=15, key_heads=5, hidden=2560, theta=1e5, tied=True),
    "smollm2-1.7b": replace(LLAMA, width=2048, depth=24, heads=32, hidden=8192, theta=1.3e5, tied=True),
    "llama2-7b": replace(LLAMA, width=4096, depth=32, heads=32, hidden=11008),
    "llama3-8b": replace(LLAMA, width=4096, depth=32, heads=32, key_heads=8, hidden=14336, theta=5e5),
    "qwen2-0.5b": replace(QWEN2, width=896, depth=24, heads=14, key_heads=2, hidden=4864),
    "qwen2-7b": replace(QWEN2, width=3584, depth=28, heads=28, key_heads=4, hidden=18944, tied=False),
    "qwen3-0.6b": replace(QWEN3, width=1024, depth=28, heads=16, key_heads=8, hidden=3072),
    "qwen3-8b": replace(QWEN3, width=4096, depth=36, heads=32, key_heads=8, hidden=12288, tied=False),
}
CHOICES = {"positions": ("rotary", "learned"), "norm": ("rms", "layer"), "place": ("before", "after"), "bias": ("none", "qkv", "all")}


def check(config: Config) -> int:
    """The head width; ConfigError for an unknown choice or for heads that do not fit."""
    check_activation(config.activation)
    for name, known in CHOICES.items():
        check_choice(name, getattr(config, name), known)
    if not config.head_width:
        check_heads(config.width, config.heads)
    check_heads(config.heads, config.key_heads or config.heads)
    size = config.head_width or config.width // config.heads
    if config.positions == "rotary" and size % 2:
        raise ConfigError("Rotary positions need an even head width; received {size}. Change width or heads.", size=size)
    return size


class Attention(nn.Module):
    """(B, T, D) -> (B, T, D): each position reads itself and what is before it."""

    def __init__(self, config: Config):
        super().__init__()
        self.size = check(config)
        self.heads, self.groups = config.heads, config.key_heads or config.heads
        self.qkv = nn.Linear(config.width, (self.heads + 2 * self.groups) * self.size, bias=config.bias != "none")
        self.out = nn.Linear(self.heads * self.size, config.width, bias=config.bias == "all")
        self.q_norm, self.k_norm = (RMSNorm(self.size, config.eps) if config.norm_keys else nn.Identity() for _ in range(2))
        self.attend = ScaledDotProduct(config.dropout)

    def forward(
        self, x_BTD: Tensor, table_2TK: Tensor | None, allowed: Tensor | None = None, cache: Cache | None = None, layer: int = 0
    ) -> Tensor:
        B, T, _ = x_BTD.shape
        x_BHTK = self.qkv(x_BTD).view(B, T, -1, self.size).transpose(1, 2)
        q, k, v = x_BHTK.split([self.heads, self.groups, self.groups], 1)
        q, k = self.q_norm(q), self.k_norm(k)
        if table_2TK is not None:
            q, k = rotate(q, table_2TK), rotate(k, table_2TK)
        if cache is None:
            y_BHTK = self.attend(q, k, v, allowed, causal=True)
        else:
            k, v = cache.store(layer, k, v)
            y_BHTK = self.attend(q, k, v, allowed)
        return self.out(y_BHTK.transpose(1, 2).reshape(B, T, -1))


class Block(nn.Module):
    """Attention and feed-forward, each around an identity with a norm before or after."""

    def __init__(self, config: Config):
        super().__init__()
        gated = config.activation in GATED
        # two thirds of four times the width, to the next 32: as many weights as without a gate
        hidden = config.hidden or (math.ceil(8 * config.width / 96) * 32 if gated else 4 * config.width)
        self.activation, self.before, bias = config.activation, config.place == "before", config.bias == "all"
        self.first, self.attention = norm(config.norm, config.width, config.eps), Attention(config)
        self.second = norm(config.norm, config.width, config.eps)
        self.rise = nn.Linear(config.width, (2 if gated else 1) * hidden, bias=bias)
        self.fall = nn.Linear(hidden, config.width, bias=bias)
        self.dropout = Dropout(config.dropout)

    def _feed(self, x_BTD: Tensor) -> Tensor:
        return self.dropout(self.fall(activate(self.activation, self.rise(x_BTD))))

    def forward(
        self, x_BTD: Tensor, table_2TK: Tensor | None, allowed: Tensor | None = None, cache: Cache | None = None, layer: int = 0
    ) -> Tensor:
        if self.before:
            x_BTD = x_BTD + self.dropout(self.attention(self.first(x_BTD), table_2TK, allowed, cache, layer))
            return x_BTD + self._feed(self.second(x_BTD))
        x_BTD = self.first(x_BTD + self.dropout(self.attention(x_BTD, table_2TK, allowed, cache, layer)))
        return self.second(x_BTD + self._feed(x_BTD))


class Model(nn.Module):
    table_2TK: Tensor | None

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.size = check(config)
        self.name, field = single("gpt", inputs, FORMS)
        self.config, self.per_row = config, head.per == "row"
        self.embedding = nn.Embedding(field.vocabulary[0], config.width)
        longest = config.longest or field.shape[0]
        if config.positions == "learned" and field.shape[0] > longest:
            raise ConfigError(
                "The model {model!r} has learned {longest} places; the context is {context}. Set longest_text to at most {longest}.",
                model="gpt", longest=longest, context=field.shape[0],
            )  # fmt: skip
        self.places = nn.Embedding(longest, config.width) if config.positions == "learned" else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = norm(config.norm, config.width, config.eps) if config.place == "before" else nn.Identity()
        tied = config.tied and head.size == field.vocabulary[0] and not self.per_row
        self.head = None if tied else nn.Linear(config.width, head.size, bias=False) if head.size else nn.Identity()
        foretells = not self.per_row and head.size == field.vocabulary[0]
        self.counts = Counts(head.size) if config.advice and foretells else None
        self.council = council_of(inputs, head.size, config.advice and self.per_row and bool(head.size))
        rotary = config.positions == "rotary"
        self.register_buffer("table_2TK", self._rotary(field.shape[0]) if rotary else None, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """N(0, 0.02²), biases zero; what ends a branch is divided by sqrt(2 depth) (GPT-2, section 2.3)."""
        for name, value in self.named_parameters():
            if value.ndim == 2:
                ends = name.endswith(("attention.out.weight", "fall.weight"))
                nn.init.normal_(value, std=0.02 / (math.sqrt(2 * self.config.depth) if ends else 1))
            elif name.endswith(".bias"):
                nn.init.zeros_(value)

    def _rotary(self, longest: int) -> Tensor:
        return rotary_table(longest, self.size, self.config.theta, tuple(self.config.stretch))

    def _angles(self, start: int | Tensor, end: int) -> Tensor | None:
        """(2, T, K/2) for the places `start` to `end`; (2, B, 1, 1, K/2) where each row stands at a place of its own (B,)."""
        if self.table_2TK is None:
            return None
        table_2TK = self.table_2TK if end <= self.table_2TK.shape[1] else self._rotary(end).to(self.table_2TK.device)
        return table_2TK[:, start:end] if isinstance(start, int) else table_2TK[:, start, None, None]

    def _embed(self, tokens_BT: Tensor, start: int | Tensor, end: int) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        if self.places is None:
            return x_BTD
        if end > self.places.num_embeddings:
            raise ConfigError(
                "The model {model!r} reads at most {longest} tokens; received {tokens}. Shorten the text.",
                model="gpt", longest=self.places.num_embeddings, tokens=end,
            )  # fmt: skip
        return x_BTD + (self.places.weight[start:end] if isinstance(start, int) else self.places(start).unsqueeze(1))

    def _logits(self, x_BTD: Tensor) -> Tensor:
        x_BTD = self.norm(x_BTD)
        return F.linear(x_BTD, self.embedding.weight) if self.head is None else self.head(x_BTD)

    def _allowed(self, batch: Batch) -> Tensor | None:
        """(B, 1, T, T): what is of the same document; None where the batch knows no documents."""
        document_BT = batch.get(f"{self.name}.document")
        if document_BT is None:
            return None
        return (document_BT.unsqueeze(2) == document_BT.unsqueeze(1)).unsqueeze(1)

    def forward(self, batch: Batch) -> Tensor:
        tokens_BT = batch[self.name]
        x_BTD = self.dropout(as_autocast(self._embed(tokens_BT, 0, tokens_BT.shape[1])))
        table_2TK, allowed = self._angles(0, tokens_BT.shape[1]), self._allowed(batch)
        for block in self.blocks:
            x_BTD = block(x_BTD, table_2TK, allowed)
        if self.per_row:
            answer = self._logits(last(x_BTD, batch[f"{self.name}.length"]))
            return answer if self.council is None or self.training else self.council(batch, answer)
        logits = self._logits(wanted(x_BTD, batch, self.name))
        if self.counts is None or self.training or not self.counts.fitted:
            return logits
        return self.counts(wanted(before(tokens_BT, batch.get(f"{self.name}.document")), batch, self.name), logits)

    def start(self, rows: int, positions: int) -> Cache:
        """An empty cache for `rows` rows of up to `positions` tokens."""
        kind = as_autocast(self.embedding.weight[:0])
        return Cache(self.config.depth, rows, self.config.key_heads or self.config.heads, positions, self.size, kind)

    def forward_cached(self, tokens_BT: Tensor, cache: Cache) -> Tensor:
        """Logits (B, T, V) of the next T tokens after those in the cache, which then holds them too; equal to the full forward pass."""
        steps = tokens_BT.shape[1]
        cache.check(steps)
        start, end, allowed = cache.start(), cache.used + steps, cache.allowed(steps)
        x_BTD = as_autocast(self._embed(tokens_BT, start, end))
        table_2TK = self._angles(start, end)
        before_BTK = cache.read(tokens_BT, ORDER - 1) if self.counts is not None and self.counts.fitted else None
        for number, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, table_2TK, allowed, cache, number)
        cache.advance(steps)
        told = slice(-1, None) if cache.last else slice(None)
        logits = self._logits(x_BTD[:, told])
        return logits if self.counts is None or before_BTK is None else self.counts(before_BTK[:, told], logits)
