"""An encoder-decoder Transformer: reads a source text, writes a target text.

    source (B, S) -> embedding -> encoder blocks -> memory (B, S, D) ---------+
    target (B, T) -> embedding -> decoder blocks: self, across memory, feed --+-> logits (B, T, V)

Legend: B rows, S source positions, T target positions, D width, H heads, K head width, V vocabulary.
Vaswani et al. 2017, arXiv:1706.03762 (norm after each branch, sinusoids, one matrix for both embeddings and the head); the norm
before each branch: Xiong et al. 2020, arXiv:2002.04745. T5 (Raffel et al. 2020, arXiv:1910.10683): RMSNorm, no biases,
unscaled products with a learned bias for each distance, gated feed-forward in its version 1.1.
Copying (See et al. 2017, arXiv:1704.04368): p = (1 - g) softmax(logits) + g · attention over the source's tokens, where what followed
the same one or two tokens in the source is favoured, as an induction head finds it (Olsson et al. 2022, arXiv:2209.11895).
The batch holds `source`, `source.length`, and as decoder input `target`, the wanted text shifted right behind its start token.
To write: `memory = encode(batch)`, `start(rows, positions, memory)`, then `forward_cached` on the new tokens only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.attention import ScaledDotProduct, check_heads
from duomo.nn.cache import Cache
from duomo.nn.dropout import Dropout
from duomo.nn.feed import GATED, activate, check_activation, check_choice
from duomo.nn.fields import check_forms, inside
from duomo.nn.norm import as_autocast, norm
from duomo.nn.positions import sinusoids

FORMS = ("tokens",)
TRAIN = {"learning_rate": 1e-3, "batch_size": 32, "weight_decay": 0.05, "epochs": 10, "patience": 4}


@dataclass(frozen=True)
class Config:
    width: int = 512
    """Size of a position's vector."""
    depth: int = 6
    """Blocks of the encoder."""
    decoder_depth: int = 0
    """Blocks of the decoder. 0: as many as the encoder's."""
    heads: int = 8
    """Attention heads."""
    head_width: int = 0
    """Size of a head. 0: the width divided by the heads."""
    hidden: int = 0
    """Size of the feed-forward layer. 0: four times the width."""
    activation: str = "relu"
    """relu, gelu, gelu_tanh, swiglu or geglu."""
    positions: str = "sinusoid"
    """sinusoid (added to the embeddings) or relative (a bias for each distance, as in T5)."""
    buckets: int = 32
    """Distances that the relative bias tells apart."""
    reach: int = 128
    """Longest distance that the relative bias tells from longer ones."""
    norm: str = "layer"
    """layer or rms."""
    place: str = "before"
    """Norm before or after each branch."""
    eps: float = 1e-6
    """Epsilon of the norms."""
    bias: bool = True
    """Linear layers have biases."""
    scaled: bool = True
    """Divide the products of queries and keys by the root of the head width."""
    dropout: float = 0.1
    """Dropout on the attention and on each branch's output."""
    shared: bool = True
    """One embedding for source and target, where they have one vocabulary."""
    tied: bool = True
    """The head shares the weights of the target's embedding."""
    shrunk: bool = True
    """With relative positions: a tied head divides its input by the root of the width (T5 1.0)."""
    copies: bool = False
    """Tokens can also be copied from the source; for one vocabulary on both sides."""


T5 = Config(512, 6, 0, 8, 64, 2048, "relu", "relative", norm="rms", bias=False, scaled=False)
SIZES = {
    "small": Config(width=256, depth=3, heads=4),
    "base": Config(),
    "large": Config(width=1024, heads=16),
    "transformer": Config(place="after"),
    "transformer-big": Config(width=1024, heads=16, place="after", dropout=0.3),
    "t5-small": T5,
    "t5-base": Config(768, 12, 0, 12, 64, 3072, "relu", "relative", norm="rms", bias=False, scaled=False),
    "t5-large": Config(1024, 24, 0, 16, 64, 4096, "relu", "relative", norm="rms", bias=False, scaled=False),
}


class Memory(NamedTuple):
    """What the encoder read: states (B, S, D), which of them are true (B, S), the tokens (B, S); `select` takes rows for a beam."""

    states_BSD: Tensor
    inside_BS: Tensor
    tokens_BS: Tensor

    def select(self, rows: Tensor) -> "Memory":
        return Memory(*(part[rows] for part in self))


@final
class Progress:
    """Where the decoder stands: its own keys and values, and those of the memory, computed once per block."""

    def __init__(self, own: Cache, across: list[tuple[Tensor, Tensor]], allowed_B11S: Tensor, memory: Memory):
        self.own, self.across, self.allowed_B11S, self.memory = own, across, allowed_B11S, memory
        self.before_B1 = torch.full_like(memory.tokens_BS[:, :1], -1)
        """The last token read."""

    def select(self, rows_B: Tensor) -> None:
        """Rows become copies of these rows of the same source: beams that go on from one another."""
        self.own.select(rows_B)
        self.before_B1 = self.before_B1[rows_B]

    @property
    def used(self) -> int:
        return self.own.used

    @property
    def places(self) -> int:
        return self.own.places


class RelativeBias(nn.Module):
    """(1, H, T, S): a learned number for each head and distance, near ones one by one, far ones in buckets of growing size (T5)."""

    def __init__(self, config: Config, both: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.buckets, config.heads))
        self.both, self.reach = both, config.reach

    def forward(self, start: int, steps: int, others: int) -> Tensor:
        """Bias of `steps` queries from place `start` on against `others` keys from the first place on."""
        device = self.weight.device
        query_T1 = torch.arange(start, start + steps, device=device).unsqueeze(1)
        return self.weight[self._bucket(torch.arange(others, device=device) - query_T1)].permute(2, 0, 1).unsqueeze(0)

    def _bucket(self, distance: Tensor) -> Tensor:
        buckets = self.weight.shape[0]
        base = torch.zeros_like(distance)
        if self.both:
            buckets //= 2
            base, distance = (distance > 0).long() * buckets, distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = buckets // 2
        far = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.reach / exact) * (buckets - exact)
        return base + torch.where(distance < exact, distance, (exact + far.long()).clamp(max=buckets - 1))


class Attention(nn.Module):
    """Queries from (B, T, D) over keys and values made by `keys` from (B, S, D); -> (B, T, D)."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads, self.size = config.heads, config.head_width or config.width // config.heads
        inner = self.heads * self.size
        self.q, self.kv = nn.Linear(config.width, inner, config.bias), nn.Linear(config.width, 2 * inner, config.bias)
        self.out = nn.Linear(inner, config.width, config.bias)
        # `ScaledDotProduct` divides by the root of the head width; T5 does not
        self.scale, self.attend = 1.0 if config.scaled else self.size**0.5, ScaledDotProduct(config.dropout)

    def keys(self, x_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, S, K)."""
        k, v = self.kv(x_BSD).view(*x_BSD.shape[:2], 2, self.heads, self.size).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x_BTD: Tensor, keys: tuple[Tensor, Tensor], allowed: Tensor | None, bias: Tensor | None = None) -> Tensor:
        B, T, _ = x_BTD.shape
        q = self.q(x_BTD).view(B, T, self.heads, self.size).transpose(1, 2) * self.scale
        return self.out(self.attend(q, *keys, allowed, bias=bias).transpose(1, 2).reshape(B, T, -1))


class Block(nn.Module):
    """(B, T, D) -> (B, T, D): attention to itself, in the decoder across the memory, and feed-forward, each around an identity."""

    def __init__(self, config: Config, decoder: bool):
        super().__init__()
        hidden, gated = config.hidden or 4 * config.width, config.activation in GATED
        self.attention, self.across = Attention(config), Attention(config) if decoder else None
        self.rise = nn.Linear(config.width, (2 if gated else 1) * hidden, config.bias)
        self.fall = nn.Linear(hidden, config.width, config.bias)
        self.norms = nn.ModuleList(norm(config.norm, config.width, config.eps) for _ in range(3 if decoder else 2))
        self.dropout, self.inner_dropout = Dropout(config.dropout), Dropout(config.dropout if config.positions == "relative" else 0.0)
        self.before, self.activation = config.place == "before", config.activation

    def _enter(self, number: int, x_BTD: Tensor) -> Tensor:
        return self.norms[number](x_BTD) if self.before else x_BTD

    def _leave(self, number: int, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.dropout(y_BTD)
        return x_BTD if self.before else self.norms[number](x_BTD)

    def attend(self, x_BTD: Tensor, allowed: Tensor, bias: Tensor | None, store: tuple[Cache, int] | None = None) -> Tensor:
        y_BTD = self._enter(0, x_BTD)
        keys = self.attention.keys(y_BTD)
        if store is not None:
            keys = store[0].store(store[1], *keys)
        return self._leave(0, x_BTD, self.attention(y_BTD, keys, allowed, bias))

    def look(self, x_BTD: Tensor, keys: tuple[Tensor, Tensor], allowed_B11S: Tensor) -> Tensor:
        assert self.across is not None
        return self._leave(1, x_BTD, self.across(self._enter(1, x_BTD), keys, allowed_B11S))

    def feed(self, x_BTD: Tensor) -> Tensor:
        last = len(self.norms) - 1
        inner = activate(self.activation, self.rise(self._enter(last, x_BTD)))
        return self._leave(last, x_BTD, self.fall(self.inner_dropout(inner)))


class Copier(nn.Module):
    """Logits (B, T, V) of the vocabulary and the decoder's states (B, T, D) -> log-probabilities with what is copied from the source."""

    def __init__(self, width: int):
        super().__init__()
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        self.gate = nn.Linear(width, 1)
        self.following = nn.Parameter(torch.tensor([2.0, 2.0]))
        """What a place gains whose predecessor is the last token, and again where both predecessors are the last two."""

    def forward(self, logits_BTV: Tensor, x_BTD: Tensor, memory: Memory, target_BT: Tensor, before_B1: Tensor) -> Tensor:
        """`target_BT`: the tokens read; `before_B1`: the one before them, -1 where there is none."""
        tokens_BS = memory.tokens_BS
        score_BTS = torch.matmul(self.q(x_BTD), self.k(memory.states_BSD).transpose(1, 2)).float() * x_BTD.shape[-1] ** -0.5
        # places of the source are compared by the tokens before them; -2 and -3 match nothing
        last_BS, second_BS = F.pad(tokens_BS[:, :-1], (1, 0), value=-2), F.pad(tokens_BS[:, :-2], (2, 0), value=-3)[:, : tokens_BS.shape[1]]
        previous_BT = torch.cat([before_B1, target_BT[:, :-1]], 1)
        one_BTS = target_BT.unsqueeze(2) == last_BS.unsqueeze(1)
        both_BTS = one_BTS & (previous_BT.unsqueeze(2) == second_BS.unsqueeze(1))
        score_BTS = score_BTS + self.following[0] * one_BTS + self.following[1] * both_BTS
        share_BTS = torch.softmax(score_BTS.masked_fill(~_mask(memory.inside_BS)[:, 0], -torch.inf), -1)
        gate_BT1 = torch.sigmoid(self.gate(x_BTD).float())
        share_BTV = torch.softmax(logits_BTV.float(), -1) * (1 - gate_BT1)
        copied_BTS = tokens_BS.unsqueeze(1).expand_as(share_BTS)
        return share_BTV.scatter_add(2, copied_BTS, share_BTS * gate_BT1).clamp(min=1e-9).log()


def _mask(inside_BS: Tensor) -> Tensor:
    """(B, 1, 1, S); a source of padding alone is read at its first place: a softmax over nothing would be NaN."""
    first_S = torch.arange(inside_BS.shape[1], device=inside_BS.device) == 0
    return (inside_BS | first_S & ~inside_BS.any(1, keepdim=True))[:, None, None, :]


class Model(nn.Module):
    table_TD: Tensor

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check(config, inputs, head)
        source, target = inputs["source"].vocabulary[0], inputs["target"].vocabulary[0]
        self.config, self.relative = config, config.positions == "relative"
        self.embedding = nn.Embedding(source, config.width)
        self.target_embedding = None if config.shared and source == target else nn.Embedding(target, config.width)
        self.encoder = nn.ModuleList(Block(config, False) for _ in range(config.depth))
        self.decoder = nn.ModuleList(Block(config, True) for _ in range(config.decoder_depth or config.depth))
        before = config.place == "before"
        self.encoder_norm, self.decoder_norm = (norm(config.norm, config.width, config.eps) if before else nn.Identity() for _ in range(2))
        self.encoder_bias = RelativeBias(config, True) if self.relative else None
        self.decoder_bias = RelativeBias(config, False) if self.relative else None
        self.head = None if config.tied and head.size == target else nn.Linear(config.width, head.size, bias=False)
        self.copier = Copier(config.width) if config.copies else None
        self.dropout = Dropout(config.dropout)
        longest = max(field.shape[0] for field in inputs.values())
        self.register_buffer("table_TD", sinusoids(0 if self.relative else longest + 1, config.width), persistent=False)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Xavier's uniform and embeddings of N(0, 1/D), as first published; T5: N(0, 1/fan_in), queries also divided by the root of K."""
        D = self.config.width
        for name, value in self.named_parameters():
            if name.endswith(".bias"):
                value.zero_()
            elif "embedding" in name:
                nn.init.normal_(value, std=1.0 if self.relative else D**-0.5)
            elif name.endswith("_bias.weight"):
                nn.init.normal_(value, std=D**-0.5)
            elif value.ndim == 2 and not self.relative:
                nn.init.xavier_uniform_(value)
            elif value.ndim == 2:
                size = self.config.head_width or D // self.config.heads
                nn.init.normal_(value, std=value.shape[1] ** -0.5 * (size**-0.5 if name.endswith(".q.weight") else 1))

    # -- reading
    def _embed(self, tokens_BT: Tensor, start: int, target: bool) -> Tensor:
        embedding = self.target_embedding if target and self.target_embedding is not None else self.embedding
        x_BTD = embedding(tokens_BT)
        if self.relative:
            return self.dropout(as_autocast(x_BTD))
        end, table_TD = start + tokens_BT.shape[1], self.table_TD
        if end > table_TD.shape[0]:
            table_TD = sinusoids(end, self.config.width).to(x_BTD.device)
        return self.dropout(as_autocast(x_BTD * self.config.width**0.5 + table_TD[start:end].to(x_BTD.dtype)))

    def encode(self, batch: Batch) -> Memory:
        """The source read: everything that the decoder needs to know of it."""
        inside_BS = inside(batch, "source")
        x_BSD = self._embed(batch["source"], 0, False)
        longest, allowed = x_BSD.shape[1], _mask(inside_BS)
        bias = None if self.encoder_bias is None else self.encoder_bias(0, longest, longest)
        for block in self.encoder:
            x_BSD = block.feed(block.attend(x_BSD, allowed, bias))  # type: ignore[operator]
        return Memory(self.dropout(self.encoder_norm(x_BSD)), inside_BS, batch["source"])

    def _logits(self, x_BTD: Tensor, memory: Memory, target_BT: Tensor, before_B1: Tensor | None = None) -> Tensor:
        x_BTD = self.dropout(self.decoder_norm(x_BTD))
        if self.head is not None:
            logits = self.head(x_BTD)
        else:
            weight = (self.target_embedding or self.embedding).weight
            # T5's embeddings are drawn from N(0, 1): without this the logits would be as large as the root of the width
            logits = F.linear(x_BTD * self.config.width**-0.5 if self.relative and self.config.shrunk else x_BTD, weight)
        if self.copier is None:
            return logits
        before_B1 = torch.full_like(target_BT[:, :1], -1) if before_B1 is None else before_B1
        return self.copier(logits, x_BTD, memory, target_BT, before_B1)

    # -- writing
    def forward(self, batch: Batch) -> Tensor:
        memory = self.encode(batch)
        allowed_B11S = _mask(memory.inside_BS)
        x_BTD = self._embed(batch["target"], 0, True)
        steps = x_BTD.shape[1]
        bias = None if self.decoder_bias is None else self.decoder_bias(0, steps, steps)
        before_TT = torch.ones(steps, steps, dtype=torch.bool, device=x_BTD.device).tril()
        for block in self.decoder:
            x_BTD = block.attend(x_BTD, before_TT, bias)  # type: ignore[operator]
            keys = block.across.keys(memory.states_BSD)  # type: ignore[union-attr, operator]
            x_BTD = block.feed(block.look(x_BTD, keys, allowed_B11S))  # type: ignore[operator]
        return self._logits(x_BTD, memory, batch["target"])

    def start(self, rows: int, positions: int, memory: Memory) -> Progress:
        """Nothing written yet: room for `rows` texts of up to `positions` tokens over `memory` (the same rows)."""
        config = self.config
        size = config.head_width or config.width // config.heads
        own = Cache(len(self.decoder), rows, config.heads, positions, size, self.embedding.weight)
        across = [block.across.keys(memory.states_BSD) for block in self.decoder]  # type: ignore[union-attr, operator]
        return Progress(own, across, _mask(memory.inside_BS), memory)

    def forward_cached(self, tokens_BT: Tensor, cache: Progress) -> Tensor:
        """Logits (B, T, V) of the next T tokens after those in the cache, which then holds them too; equal to the full forward pass."""
        steps, start = tokens_BT.shape[1], cache.used
        cache.own.check(steps)
        x_BTD = self._embed(tokens_BT, start, True)
        bias = None if self.decoder_bias is None else self.decoder_bias(start, steps, start + steps)
        before_TS = torch.ones(steps, start + steps, dtype=torch.bool, device=x_BTD.device).tril(start)
        for number, block in enumerate(self.decoder):
            x_BTD = block.attend(x_BTD, before_TS, bias, (cache.own, number))  # type: ignore[operator]
            x_BTD = block.feed(block.look(x_BTD, cache.across[number], cache.allowed_B11S))  # type: ignore[operator]
        cache.own.advance(steps)
        logits = self._logits(x_BTD, cache.memory, tokens_BT, cache.before_B1)
        cache.before_B1 = tokens_BT[:, -1:]
        return logits


def check(config: Config, inputs: Mapping[str, Field], head: Head) -> None:
    """ConfigError for an unknown choice, or for a task that has no source and target."""
    check_forms("seq2seq", inputs, FORMS)
    if set(inputs) != {"source", "target"} or head.per != "step":
        raise ConfigError(
            "The model {model!r} reads one text and writes another; the task gives {names}. It suits translate and summarize.",
            model="seq2seq", names=", ".join(inputs),
        )  # fmt: skip
    if config.copies and inputs["source"].vocabulary != inputs["target"].vocabulary:
        raise ConfigError("Copying needs one vocabulary on both sides; received {source} and {target} tokens. Set copies=false.",
                          source=inputs["source"].vocabulary[0], target=inputs["target"].vocabulary[0])  # fmt: skip
    check_activation(config.activation)
    check_choice("positions", config.positions, ("sinusoid", "relative"))
    check_choice("norm", config.norm, ("layer", "rms"))
    check_choice("place", config.place, ("before", "after"))
    if not config.head_width:
        check_heads(config.width, config.heads)
