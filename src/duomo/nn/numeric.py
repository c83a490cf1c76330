"""Embeddings of table cells: numbers by pieces or by waves, categories by lookup.

Legend: B rows, N number columns, M category columns, P pieces (bins) of a number column, F frequencies or waves, D embedding size.
Source: Gorishniy, Rubachev and Babenko 2022, "On Embeddings for Numerical Features in Tabular Deep Learning", arXiv:2203.05556.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field

FREQUENCIES, SIGMA = 24, 0.1
REACH = 4.0
"""Deviations from the mean at which a number's straight line is cut."""


class Piecewise(nn.Module):
    """float (B, N) -> (B, N, D): a line over the value, one over its rank, and a learned vector at each bin edge.

    The vectors are interpolated between their edges: linear B-splines, the same curves as eq. 1 gives (section 3.2), but
    each vector acts near its edge only, so that one odd value is learned without moving all values above it. They start
    at zero, and `pace` multiplies them: Adam, whose steps do not depend on the gradient's size, learns them that many
    times faster than other weights.

    `bins` are N ascending lists of edges in the units of the input, best at each distinct value of a discrete column,
    else at quantiles. The mean of the pieces is the rank, so that a heavy tail does no harm: the value itself is cut at
    `REACH` deviations, and nothing changes beyond the outer edges. A column with fewer than two edges keeps its line over
    the value only.
    """

    left_NP: Tensor
    slope_NP: Tensor
    rank_NP: Tensor

    def __init__(self, bins: Sequence[Sequence[float]], dim: int, pace: float = 1.0):
        super().__init__()
        self.pace = pace
        count, pieces = len(bins), max([len(edges) - 1 for edges in bins] + [1])
        left, slope, rank = torch.zeros(count, pieces), torch.zeros(count, pieces), torch.zeros(count, pieces)
        for column, edges in enumerate(bins):
            edge = torch.tensor(edges, dtype=torch.float64).unique()
            if (last := len(edge) - 1) < 1:
                continue
            left[column, :last] = edge[:-1].float()
            slope[column, :last] = (1 / (edge[1:] - edge[:-1])).float().clamp(max=1e6)
            rank[column, :last] = 12**0.5 / last  # a uniform rank then deviates by one
        self.register_buffer("left_NP", left)
        self.register_buffer("slope_NP", slope)
        self.register_buffer("rank_NP", rank)
        bound = dim**-0.5
        self.line_ND = nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))
        self.rank_line_ND = nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))
        self.bias_ND = nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))
        self.edge_NPD = nn.Parameter(torch.zeros(count, pieces, dim))

    def pieces(self, x_BN: Tensor) -> Tensor:
        """How far each piece is crossed (B, N, P), 0 before it and 1 after it (eq. 1)."""
        return ((x_BN.unsqueeze(-1) - self.left_NP) * self.slope_NP).clamp(0, 1)

    def rank(self, pieces_BNP: Tensor) -> Tensor:
        """(B, N): the share of the pieces that are crossed, around zero."""
        return (pieces_BNP * self.rank_NP).sum(-1) - self.rank_NP.sum(-1) / 2

    def forward(self, x_BN: Tensor, pieces_BNP: Tensor | None = None) -> Tensor:
        """`pieces_BNP` spares their computation where the caller has them."""
        pieces_BNP = self.pieces(x_BN) if pieces_BNP is None else pieces_BNP
        rank_BN = self.rank(pieces_BNP)
        near_BNP = pieces_BNP - F.pad(pieces_BNP[..., 1:], (0, 1))
        bent_NBD = torch.bmm(near_BNP.transpose(0, 1), self.edge_NPD * self.pace)
        lines_BND = x_BN.clamp(-REACH, REACH).unsqueeze(-1) * self.line_ND + rank_BN.unsqueeze(-1) * self.rank_line_ND
        return lines_BND + self.bias_ND + bent_NBD.transpose(0, 1)


class FourierFeatures(nn.Module):
    """float (B, N) -> (B, 2 F): cosines and sines of learned directions, each of which starts as two columns mixed at random.

    Random Fourier features (Rahimi and Recht 2007) whose directions are trained: with them a network sees a place on a map,
    or any other pair of numbers that matter together, where an embedding of single numbers sees each axis alone.
    """

    def __init__(self, count: int, waves: int, sigma: float):
        super().__init__()
        left, right = torch.tril_indices(count, count, -1)
        order = torch.randperm(len(left)).repeat(math.ceil(waves / max(1, len(left))))[:waves]
        start_FN = torch.zeros(waves, count)
        rows = torch.arange(len(order))
        start_FN[rows, left[order]] = torch.randn(len(order)) * sigma
        start_FN[rows, right[order]] = torch.randn(len(order)) * sigma
        self.direction_FN = nn.Parameter(start_FN)

    def forward(self, x_BN: Tensor) -> Tensor:
        # float32: an angle of many turns keeps too few digits in bfloat16
        with torch.autocast(x_BN.device.type, enabled=False):
            angle_BF = 2 * math.pi * F.linear(x_BN.float(), self.direction_FN)
            return torch.stack([angle_BF.cos(), angle_BF.sin()], -1).flatten(1)


class Periodic(nn.Module):
    """float (B, N) -> (B, N, D): ReLU of a linear map of sines and cosines with learned frequencies (eq. 2 and 3)."""

    def __init__(self, count: int, dim: int):
        super().__init__()
        self.frequency_NF = nn.Parameter((torch.randn(count, FREQUENCIES) * SIGMA).clamp(-3 * SIGMA, 3 * SIGMA))
        bound = (2 * FREQUENCIES) ** -0.5
        self.weight_NPD = nn.Parameter(torch.empty(count, 2 * FREQUENCIES, dim).uniform_(-bound, bound))
        self.bias_ND = nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))

    def forward(self, x_BN: Tensor) -> Tensor:
        angle_BNF = 2 * math.pi * x_BN.unsqueeze(-1) * self.frequency_NF
        wave_BNP = torch.cat([angle_BNF.cos(), angle_BNF.sin()], -1)
        mapped_NBD = torch.bmm(wave_BNP.transpose(0, 1), self.weight_NPD)
        return torch.relu(mapped_NBD.transpose(0, 1) + self.bias_ND)


class Line(nn.Module):
    """float (B, N) -> (B, N, D): one weight and one bias vector per column."""

    def __init__(self, count: int, dim: int):
        super().__init__()
        bound = dim**-0.5
        self.weight_ND = nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))
        self.bias_ND = nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))

    def forward(self, x_BN: Tensor) -> Tensor:
        return x_BN.unsqueeze(-1) * self.weight_ND + self.bias_ND


def embed_numbers(field: Field, dim: int, kind: str = "piecewise", pace: float = 1.0) -> nn.Module:
    """The embedding named `kind` (piecewise, periodic, line) for a field of numbers; piecewise needs facts["bins"], else line."""
    bins = field.facts.get("bins")
    if kind == "piecewise" and bins:
        return Piecewise(bins, dim, pace)
    return Periodic(field.shape[0], dim) if kind == "periodic" else Line(field.shape[0], dim)


class Categories(nn.Module):
    """int64 (B, M) -> (B, M, D): one table for all columns; a value outside its vocabulary counts as unseen (0), which starts at zero."""

    start_M: Tensor
    last_M: Tensor

    def __init__(self, vocabulary: Sequence[int], dim: int, scale: float = 1.0):
        super().__init__()
        sizes = torch.tensor(vocabulary, dtype=torch.int64)
        self.register_buffer("start_M", sizes.cumsum(0) - sizes, persistent=False)
        self.register_buffer("last_M", sizes - 1, persistent=False)
        self.table = nn.Embedding(int(sizes.sum()), dim)
        with torch.no_grad():
            self.table.weight.mul_(scale)
            self.table.weight[self.start_M] = 0

    def forward(self, x_BM: Tensor) -> Tensor:
        known_BM = torch.where((x_BM >= 0) & (x_BM <= self.last_M), x_BM, 0)
        return self.table(known_BM + self.start_M)
