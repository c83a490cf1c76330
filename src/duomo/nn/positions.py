"""Positions without weights: rotary (Su et al. 2021, "RoFormer", arXiv:2104.09864, eq. 34) and sinusoidal; learned ones for another size.

Legend: B rows, H heads, T positions, K head width, D width.
"""

import math

import torch
from torch import Tensor, nn


def rotary_table(longest: int, width: int, base: float = 10_000.0, stretch: tuple[float, ...] = ()) -> Tensor:
    """(2, T, K/2): cosines and sines of position times base^(-2i/K), the rates stretched by `stretched` where that is given."""
    rate = base ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    if stretch:
        rate = stretched(rate, *stretch)
    angle_TK = torch.arange(longest, dtype=torch.float32).unsqueeze(1) * rate
    return torch.stack([angle_TK.cos(), angle_TK.sin()])


def stretched(rate_K: Tensor, factor: float, low: float = 0.0, high: float = 0.0, context: float = 0.0) -> Tensor:
    """Rates for a longer context than the weights were trained on: all divided by `factor`, or, as in Llama 3.1 (arXiv:2407.21783),
    only those that turn less than `low` times within the old `context`, a mix up to `high` times."""
    if not context:
        return rate_K / factor
    turns_K = context * rate_K / (2 * math.pi)
    share_K = ((turns_K - low) / (high - low)).clamp(0, 1)
    return (1 - share_K) * rate_K / factor + share_K * rate_K


def rotate(x_BHTK: Tensor, table_2TK: Tensor) -> Tensor:
    """Turn the two halves of each vector against one another by the angles of its position."""
    cosine, sine = table_2TK.to(x_BHTK.dtype).unbind(0)
    a, b = x_BHTK.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)


def sinusoids(longest: int, width: int) -> Tensor:
    """(T, D): sines in the even places, cosines in the odd ones (Vaswani et al. 2017, arXiv:1706.03762, section 3.5)."""
    rate = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angle_TK = torch.arange(longest, dtype=torch.float32).unsqueeze(1) * rate
    return torch.stack([angle_TK.sin(), angle_TK.cos()], 2).flatten(1)[:, :width]


def relaid(place_TD: Tensor, count: int) -> Tensor:
    """Learned vectors of places for so many tokens: those of a square of patches are drawn between where pictures have another size
    (Dosovitskiy et al. 2020, arXiv:2010.11929, section 3.2); as they are where the numbers are of no such square."""
    square, wanted = math.isqrt(len(place_TD)), math.isqrt(count)
    first = len(place_TD) - square**2
    if first > 1 or wanted**2 + first != count or square == wanted:
        return place_TD
    grid = place_TD[first:].T.reshape(1, -1, square, square)
    drawn = nn.functional.interpolate(grid, (wanted, wanted), mode="bicubic", antialias=True)
    return torch.cat([place_TD[:first], drawn.flatten(2)[0].T])
