"""Attention with a kernel chosen at run time: `bmm` (two batched products) or `sdpa` (torch's fused one).

Legend: B rows, H heads, G key-value heads, T queries, S keys, K head width, D width.
Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.errors import ConfigError
from duomo.core.kernels import Kernelled
from duomo.nn.causal import causal_attention
from duomo.nn.dropout import Dropout
from duomo.nn.feed import GATED, activate
from duomo.nn.norm import as_autocast
from duomo.nn.positions import rotate


class ScaledDotProduct(Kernelled):
    """q (B, H, T, K), k and v (B, G, S, K), allowed (..., T, S) bool or None, bias (..., T, S) or None -> (B, H, T, K); G divides H.
    `causal`: S is T, and no query reads what is behind it, whatever else is allowed.

    The product costs less than the fused kernel at the short lengths of a CPU, whose backward pass is slow; the fused
    one needs no (T, S) memory, which long inputs and accelerators want.
    """

    def __init__(self, dropout: float = 0.0, kernel: str = "bmm"):
        super().__init__()
        self.dropout, self.kernel = Dropout(dropout), kernel

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None = None, causal: bool = False, bias: Tensor | None = None
    ) -> Tensor:
        if k.shape[1] != q.shape[1]:
            if (
                q.shape[2] == 1 and bias is None and (allowed is None or allowed.shape[-3:-1] == (1, 1))
            ):  # the heads of a group as its queries
                return self.forward(q.view(*k.shape[:2], -1, q.shape[-1]), k, v, allowed).reshape(q.shape)
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        if self.kernel == "sdpa":
            rate = self.dropout.rate if self.training else 0.0
            if causal and (allowed is not None or bias is not None):
                before = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
                allowed, causal = before if allowed is None else allowed & before, False
            if bias is not None:
                allowed = biased(q, allowed, bias)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=rate, is_causal=causal)
        if causal and bias is None and q.device.type == "cpu" and torch.is_grad_enabled() and q.requires_grad:
            q, k, v = as_autocast(q), as_autocast(k), as_autocast(v)
            return causal_attention(q, k, v, allowed, self.dropout.dropped if self.training else 0)
        score = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
        if bias is not None:
            score = score + bias
        if causal:
            before = torch.ones(score.shape[-2:], dtype=torch.bool, device=q.device).tril()
            allowed = before if allowed is None else allowed & before
        if allowed is not None:
            score = score.masked_fill(~allowed, torch.finfo(score.dtype).min)
        share = torch.softmax(score, -1).to(v.dtype)
        return torch.matmul(self.dropout(share), v)


class SelfAttention(nn.Module):
    """(B, T, D) -> (B, T, D), queries, keys and values from one product; `inside` (B, T) bool marks what may be read, `table` (2, T, K/2)
    turns queries and keys by their positions (nn/positions.py)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        check_heads(width, heads)
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attend = ScaledDotProduct(dropout)

    def forward(self, x_BTD: Tensor, inside_BT: Tensor | None = None, table_2TK: Tensor | None = None) -> Tensor:
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        if table_2TK is not None:
            q, k = rotate(q, table_2TK), rotate(k, table_2TK)
        allowed = None
        if inside_BT is not None:
            # a row of padding alone reads its first place: a softmax over nothing would be NaN
            first_BT = torch.arange(T, device=x_BTD.device).expand(B, T) == 0
            allowed = (inside_BT | first_BT & ~inside_BT.any(1, keepdim=True))[:, None, None, :]
        return self.out(self.attend(q, k, v, allowed).transpose(1, 2).reshape(B, T, D))


class DropoutRates(NamedTuple):
    """Dropout of an encoder's block: of attention's shares, of what comes out of a branch, of the feed-forward's inner vector."""

    attention: float
    branch: float
    inner: float = 0.0


class EncoderBlock(nn.Module):
    """(B, T, D) -> (B, T, D): attention and feed-forward (any of nn/feed.py), each around an identity, their norms `before` or behind."""

    def __init__(
        self, width: int, heads: int, hidden: int, rates: DropoutRates, activation: str = "gelu", before: bool = True, eps: float = 1e-5
    ):
        super().__init__()
        hidden, gated = hidden or 4 * width, activation in GATED
        self.attention = SelfAttention(width, heads, rates.attention)
        self.rise, self.fall = nn.Linear(width, (2 if gated else 1) * hidden), nn.Linear(hidden, width)
        self.first, self.second = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.dropout, self.inner_dropout = Dropout(rates.branch), Dropout(rates.inner)
        self.before, self.activation = before, activation

    def start_as_identity(self) -> "EncoderBlock":
        """Zero what ends each branch (Goyal et al. 2017, section 5.1, there for residual nets): learns in half the steps."""
        for part in (self.fall, self.attention.out):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        return self

    def _feed(self, x_BTD: Tensor) -> Tensor:
        return self.dropout(self.fall(self.inner_dropout(activate(self.activation, self.rise(x_BTD)))))

    def forward(self, x_BTD: Tensor, inside_BT: Tensor | None = None) -> Tensor:
        if self.before:
            x_BTD = x_BTD + self.dropout(self.attention(as_autocast(self.first(x_BTD)), inside_BT))
            return x_BTD + self._feed(as_autocast(self.second(x_BTD)))
        x_BTD = self.first(x_BTD + self.dropout(self.attention(x_BTD, inside_BT)))
        return self.second(x_BTD + self._feed(x_BTD))


def biased(q: Tensor, allowed: Tensor | None, bias: Tensor) -> Tensor:
    """Bias and mask as one additive mask in the type of `q`."""
    return (bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)).to(q.dtype)


def check_heads(width: int, heads: int) -> None:
    if heads < 1 or width % heads:
        raise ConfigError("The number of heads must divide the width {width}; received {heads}.", width=width, heads=heads)
