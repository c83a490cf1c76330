"""Any column as a short row of tokens.

Legend: B rows, T positions, N tokens, C channels, H height, W width of a picture, D size of a token.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
