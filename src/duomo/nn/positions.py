"""Rotary positions (Su et al. 2021, "RoFormer", arXiv:2104.09864, eq. 34).

Legend: B rows, H heads, T positions, K head width.
"""

import torch
from torch import Tensor


def rotary_table(longest: int, width: int, base: float = 10_000.0) -> Tensor:
    """(2, T, K/2): cosines and sines of position times base^(-2i/K)."""
    rate = base ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angle_TK = torch.arange(longest, dtype=torch.float32).unsqueeze(1) * rate
    return torch.stack([angle_TK.cos(), angle_TK.sin()])


def rotate(x_BHTK: Tensor, table_2TK: Tensor) -> Tensor:
    """Turn the two halves of each vector against one another by the angles of its position."""
    cosine, sine = table_2TK.to(x_BHTK.dtype).unbind(0)
    a, b = x_BHTK.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)
