"""A picture in some numbers, for a learner that takes no pixels: where edges run which way, which colours there are, and a thumbnail.

Edges: histograms of oriented gradients (Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human Detection"), each gradient
voting for near orientations by a power of the cosine, of every channel; cells normalised over their neighbours, clipped, normalised again.
Colours: a soft histogram, its roots taken, so that a product of two pictures' is Hellinger's. Places are pooled by products of matrices,
which every engine computes.
Legend: B rows, C channels, H height, W width, O orientations, Y and X cells, K levels of a colour, D numbers of a picture, S logits.
"""

import math

import torch
from torch import Tensor, nn

from duomo.core.contract import Field
from duomo.nn.grown import Grown

ORIENTATIONS, SHARP, CLIP = 9, 8.0, 0.2
CELLS, THUMB, LEVELS, SIDE = 8, 8, 4, 64
"""Cells along a side, pixels of the thumbnail, levels of each colour; larger pictures are averaged down to so many pixels first."""


def averaging(before: int, after: int) -> Tensor:
    """(after, before): each row the mean of its share of the places."""
    edges = torch.linspace(0, before, after + 1)
    low, high = edges[:-1].unsqueeze(1), edges[1:].unsqueeze(1)
    place = torch.arange(before).unsqueeze(0)
    share = (torch.minimum(high, place + 1.0) - torch.maximum(low, place.float())).clamp(min=0)
    return share / share.sum(1, keepdim=True)


class Glimpse(Grown):
    """float (B, C, H, W) as a model takes it -> float32 (B, S), once it is fitted (train/council.py), from what `describe` tells, or from
    (B, D) that was told before.

    Nothing of a row depends on its batch mates.
    """

    weight_DS: Tensor
    mean: Tensor
    std: Tensor
    rows: Tensor
    columns: Tensor
    cell_rows: Tensor
    cell_columns: Tensor
    thumb_rows: Tensor
    thumb_columns: Tensor
    cosine: Tensor
    sine: Tensor
    level: Tensor

    def __init__(self, field: Field, size: int):
        super().__init__()
        self.register_buffer("weight_DS", torch.zeros(0, size))
        channels, *sides = field.shape
        inner = [min(side, SIDE) for side in sides]
        mean, std = (field.facts.get(name, [usual] * channels) for name, usual in (("mean", 0.0), ("std", 1.0)))
        buffers = {
            "mean": torch.tensor(mean).view(-1, 1, 1), "std": torch.tensor(std).view(-1, 1, 1),
            "rows": averaging(sides[0], inner[0]), "columns": averaging(sides[1], inner[1]),
            "cell_rows": averaging(inner[0], min(CELLS, inner[0])), "cell_columns": averaging(inner[1], min(CELLS, inner[1])),
            "thumb_rows": averaging(inner[0], min(THUMB, inner[0])), "thumb_columns": averaging(inner[1], min(THUMB, inner[1])),
        }  # fmt: skip
        turn = torch.arange(ORIENTATIONS) * (2 * math.pi / ORIENTATIONS)
        buffers |= {"cosine": turn.cos().view(-1, 1, 1), "sine": turn.sin().view(-1, 1, 1), "level": torch.linspace(0, 1, LEVELS)}
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
        y, x = (min(CELLS, side) for side in inner)
        edges = 4 * (y - 1) * (x - 1) if y > 1 and x > 1 else y * x
        self.parts = (ORIENTATIONS * edges, LEVELS**channels, channels * min(THUMB, inner[0]) * min(THUMB, inner[1]))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        with torch.autocast(x_BCHW.device.type, enabled=False):
            return (x_BCHW if x_BCHW.dim() == 2 else torch.cat(self.describe(x_BCHW), 1)) @ self.weight_DS

    def describe(self, x_BCHW: Tensor) -> list[Tensor]:
        """Edges, colours and thumbnail, float32 (B, D) each."""
        with torch.autocast(x_BCHW.device.type, enabled=False):
            x_BCHW = (x_BCHW.float() * self.std + self.mean).clamp(0, 1)
            x_BCHW = self.rows @ x_BCHW @ self.columns.T
            return [self._edges(x_BCHW), self._colours(x_BCHW), (self.thumb_rows @ x_BCHW @ self.thumb_columns.T).flatten(1)]

    def _edges(self, x_BCHW: Tensor) -> Tensor:
        around = nn.functional.pad(x_BCHW, (1, 1, 1, 1), mode="replicate")
        across = around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]
        down = around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]
        strength = across.square() + down.square() + 1e-8
        twice_cosine, twice_sine = (across.square() - down.square()) / strength, 2 * across * down / strength
        strength = strength.sqrt()
        votes = x_BCHW.new_zeros(())
        for channel in range(x_BCHW.shape[1]):
            one = slice(channel, channel + 1)
            near_BOHW = (twice_cosine[:, one] * self.cosine + twice_sine[:, one] * self.sine).clamp(min=0)
            votes = votes + strength[:, one] * near_BOHW.pow(SHARP)
        cell_BOYX = self.cell_rows @ votes @ self.cell_columns.T
        y, x = cell_BOYX.shape[2] - 1, cell_BOYX.shape[3] - 1
        if y and x:  # every 2×2 neighbours normalised together
            cell_BOYX = torch.cat([cell_BOYX[:, :, a : y + a, b : x + b] for a in (0, 1) for b in (0, 1)], 1)
        for _ in range(2):
            cell_BOYX = (cell_BOYX / (cell_BOYX.square().sum(1, keepdim=True).sqrt() + 1e-2)).clamp(max=CLIP)
        return cell_BOYX.flatten(1)

    def _colours(self, x_BCHW: Tensor) -> Tensor:
        near = (1 - (x_BCHW.unsqueeze(2) - self.level.view(1, 1, -1, 1, 1)).abs() * (LEVELS - 1)).clamp(min=0).flatten(3)  # (B, C, K, HW)
        joint = near[:, 0]
        for channel in range(1, x_BCHW.shape[1]):
            joint = (joint.unsqueeze(2) * near[:, channel].unsqueeze(1)).flatten(1, 2)
        return (joint.mean(2) + 1e-8).sqrt()
