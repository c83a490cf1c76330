"""Any column as a short row of tokens, and what attends over them.

Legend: B rows, T positions, N tokens, C channels, D width, H heads, K head width, G positions of a group.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPLICIT = 256
"""Up to so many positions plain matrix products beat the fused attention, whose backward pass is slow on a CPU."""


def rotary_angles(steps: int, width: int, device: torch.device) -> Tensor:
    """(T, K/2) angles of rotary positions (Su et al. 2021, arXiv:2104.09864, eq. 15 with base 10,000)."""
    frequency = 10_000 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    return torch.arange(steps, device=device, dtype=torch.float32).unsqueeze(1) * frequency


def rotate(x_BHTK: Tensor, angles_TK: Tensor) -> Tensor:
    """Turn the two halves of each vector against one another by its position's angles."""
    cosine, sine = angles_TK.cos().to(x_BHTK.dtype), angles_TK.sin().to(x_BHTK.dtype)
    a, b = x_BHTK.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)


class SelfAttention(nn.Module):
    """(B, T, D) -> (B, T, D): softmax(q k / √K) v over the positions inside (Vaswani et al. 2017, arXiv:1706.03762, eq. 1)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, inside_BT: Tensor, angles_TK: Tensor | None = None) -> Tensor:
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        if angles_TK is not None:
            q, k = rotate(q, angles_TK), rotate(k, angles_TK)
        # a row of padding only attends to its first position: a softmax over nothing would be NaN
        allowed_BT = inside_BT | (torch.arange(T, device=x_BTD.device) == 0)
        if T <= EXPLICIT:
            scores_BHTT = (q @ k.transpose(2, 3)) * q.shape[3] ** -0.5
            scores_BHTT = scores_BHTT.masked_fill(~allowed_BT[:, None, None, :], torch.finfo(scores_BHTT.dtype).min)
            y_BHTK = scores_BHTT.softmax(-1).to(v.dtype) @ v
        else:
            y_BHTK = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed_BT[:, None, None, :])
        return self.out(y_BHTK.transpose(1, 2).reshape(B, T, D))


class Grouped(nn.Module):
    """(B, T, D), inside (B, T) -> (B, N, D), inside (B, N): neighbours mixed by a convolution, then averaged in groups.

    N is at most `cap` whatever the length: groups of ceil(longest / cap) positions, so that no part of a long row is
    lost; positions beyond `longest` are. Each token gets its place's learned vector.
    """

    def __init__(self, longest: int, cap: int, width: int):
        super().__init__()
        self.group = max(1, math.ceil(longest / cap))
        self.places = max(1, math.ceil(longest / self.group))
        self.near = nn.Conv1d(width, width, 3, padding=1)
        self.norm = nn.LayerNorm(width)
        self.place_ND = nn.Parameter(torch.randn(self.places, width) * 0.02)

    def forward(self, x_BTD: Tensor, inside_BT: Tensor) -> tuple[Tensor, Tensor]:
        room = self.group * self.places
        x_BTD, inside_BT = x_BTD[:, :room] * inside_BT[:, :room].unsqueeze(2), inside_BT[:, :room]
        x_BTD = x_BTD + F.gelu(self.near(x_BTD.transpose(1, 2)).transpose(1, 2))
        B, T, D = x_BTD.shape
        tokens = math.ceil(T / self.group)
        short = tokens * self.group - T
        weight_BT1 = F.pad(inside_BT, (0, short)).unsqueeze(2).to(x_BTD.dtype)
        weight_BNG1 = weight_BT1.view(B, tokens, self.group, 1)
        x_BND = (F.pad(x_BTD, (0, 0, 0, short)).view(B, tokens, self.group, D) * weight_BNG1).sum(2)
        count_BN1 = weight_BNG1.sum(2)
        x_BND = self.norm(x_BND / count_BN1.clamp(min=1)) + self.place_ND[:tokens]
        return x_BND, count_BN1.squeeze(2) > 0


class Patches(nn.Module):
    """(B, C, H, W) -> (B, N, D): 3×3 convolutions of stride 2 until at most `cap` places are left, plus learned places.

    Sources: Xiao et al. 2021, "Early Convolutions Help Transformers See Better", arXiv:2106.14881.
    """

    def __init__(self, shape: tuple[int, ...], cap: int, width: int):
        super().__init__()
        channels, height, breadth = shape
        layers: list[nn.Module] = []
        after = 16
        while not layers or height * breadth > cap:
            after = min(width, 2 * after)
            layers += [nn.Conv2d(channels, after, 3, 2, padding=1, bias=False), nn.GroupNorm(1, after), nn.ReLU()]
            channels, height, breadth = after, (height + 1) // 2, (breadth + 1) // 2
        self.stem = nn.Sequential(*layers, nn.Conv2d(channels, width, 1))
        self.place_ND = nn.Parameter(torch.randn(height * breadth, width) * 0.02)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.stem(x_BCHW).flatten(2).transpose(1, 2) + self.place_ND
