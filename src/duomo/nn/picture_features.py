"""A picture in some numbers, for a learner that takes no pixels: where edges run which way, which colours there are, a thumbnail, and
which kinds of patches it is made of.

Edges: histograms of oriented gradients (Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human Detection"), each gradient
voting for near orientations by a power of the cosine, of every channel; cells normalised over their neighbours, clipped, normalised again.
Colours: a soft histogram, its roots taken, so that a product of two pictures' is Hellinger's. Edges are told by cells of three sizes and
colours of the whole and of its quarters, for things lie elsewhere in each picture (Lazebnik et al. 2006, "Beyond Bags of Features: Spatial
Pyramid Matching"). Patches: how alike each place is to kinds of patches, contrast and neighbours' likeness aside, pooled over the quarters;
the kinds are found by k-means over directions (Coates and Ng 2012, "Learning Feature Representations with K-means"), for a patch as it is
would know the picture that it was taken from. Places are pooled by products of matrices, which every engine computes.
Legend: B rows, C channels, H height, W width, O orientations, Y and X cells, K levels of a colour, F filters, N patches, P numbers of a
patch, D numbers of a picture, S logits.
"""

import math

import torch
from torch import Tensor, nn

from duomo.core.contract import Field
from duomo.nn.grown import Grown

ORIENTATIONS, SHARP, CLIP = 9, 8.0, 0.2
CELLS, THUMB, LEVELS, SIDE = (8, 4, 2), 8, 4, 64
"""Cells along a side, pixels of the thumbnail, levels of each colour; larger pictures are averaged down to so many pixels first."""

PATCH, FILTERS, SMALL, ENOUGH, ROUNDS = 5, 128, 32, 20_000, 8
"""Side of a patch, kinds of patches, pixels along the side of the picture that they are of, patches that are looked at, and how often."""
PLAIN, FLAT, NOISE = 0.01, 1e-4, 0.1
"""Variances: added to that of a patch; below which one tells nothing; added to each way in which patches differ."""


def averaging(before: int, after: int) -> Tensor:
    """(after, before): each row the mean of its share of the places."""
    edges = torch.linspace(0, before, after + 1)
    low, high = edges[:-1].unsqueeze(1), edges[1:].unsqueeze(1)
    place = torch.arange(before).unsqueeze(0)
    share = (torch.minimum(high, place + 1.0) - torch.maximum(low, place.float())).clamp(min=0)
    return share / share.sum(1, keepdim=True)


class PictureFeatures(Grown):
    """float (B, C, H, W) as a model takes it -> float32 (B, S), once it is fitted (train/council.py), from what `describe` tells, or from
    (B, D) that was told before.

    Nothing of a row depends on its batch mates.
    """

    weight_DS: Tensor
    filter_FCHW: Tensor
    offset_F: Tensor
    mean: Tensor
    std: Tensor
    rows: Tensor
    columns: Tensor
    half_rows: Tensor
    half_columns: Tensor
    small_rows: Tensor
    small_columns: Tensor
    patch_rows: Tensor
    patch_columns: Tensor
    thumb_rows: Tensor
    thumb_columns: Tensor
    cosine: Tensor
    sine: Tensor
    level: Tensor

    def __init__(self, field: Field, size: int):
        super().__init__()
        channels, *sides = field.shape
        inner, small = ([min(side, most) for side in sides] for most in (SIDE, SMALL))
        left = [max(1, side + 1 - PATCH) for side in small]
        self.register_buffer("weight_DS", torch.zeros(0, size))
        self.register_buffer("filter_FCHW", torch.zeros(0, channels, PATCH, PATCH))
        self.register_buffer("offset_F", torch.zeros(0))
        mean, std = (field.facts.get(name, [usual] * channels) for name, usual in (("mean", 0.0), ("std", 1.0)))
        buffers = {
            "mean": torch.tensor(mean).view(-1, 1, 1), "std": torch.tensor(std).view(-1, 1, 1),
            "rows": averaging(sides[0], inner[0]), "columns": averaging(sides[1], inner[1]),
            "half_rows": averaging(inner[0], min(2, inner[0])), "half_columns": averaging(inner[1], min(2, inner[1])),
            "small_rows": averaging(sides[0], small[0]), "small_columns": averaging(sides[1], small[1]),
            "patch_rows": averaging(left[0], min(2, left[0])), "patch_columns": averaging(left[1], min(2, left[1])),
            "thumb_rows": averaging(inner[0], min(THUMB, inner[0])), "thumb_columns": averaging(inner[1], min(THUMB, inner[1])),
        }  # fmt: skip
        turn = torch.arange(ORIENTATIONS) * (2 * math.pi / ORIENTATIONS)
        buffers |= {"cosine": turn.cos().view(-1, 1, 1), "sine": turn.sin().view(-1, 1, 1), "level": torch.linspace(0, 1, LEVELS)}
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
        for cells in CELLS:
            for name, side in zip(("rows", "columns"), inner, strict=True):
                self.register_buffer(f"cell_{name}_{cells}", averaging(side, min(cells, side)), persistent=False)
        edges, *coarse = (ORIENTATIONS * _blocks(*(min(cells, side) for side in inner)) for cells in CELLS)
        places, pixels = (min(most, inner[0]) * min(most, inner[1]) for most in (2, THUMB))
        self._parts = (edges, LEVELS**channels, channels * pixels, *coarse, places * LEVELS**channels)

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of each part that `describe` tells."""
        places = len(self.patch_rows) * len(self.patch_columns)
        return (*self._parts, 2 * len(self.filter_FCHW) * places) if len(self.filter_FCHW) else self._parts

    def learn(self, x_BCHW: Tensor) -> None:
        """Find kinds of patches in these pictures, unless they are smaller than one."""
        x_BCHW = self._small(self._seen(x_BCHW))
        if min(x_BCHW.shape[2:]) < PATCH:
            return
        generator = torch.Generator().manual_seed(0)
        patch_NP = nn.functional.unfold(x_BCHW, PATCH).transpose(1, 2).flatten(0, 1)
        patch_NP = patch_NP[torch.randperm(len(patch_NP), generator=generator)[:ENOUGH]]
        patch_NP = patch_NP[patch_NP.var(1, correction=0) > FLAT]
        if len(patch_NP) < FILTERS:
            return
        alike_NP = (patch_NP - patch_NP.mean(1, keepdim=True)) / (patch_NP.var(1, keepdim=True, correction=0) + PLAIN).sqrt()
        mean_P = alike_NP.mean(0)
        value_P, turn_PP = torch.linalg.eigh((alike_NP - mean_P).T @ (alike_NP - mean_P) / len(alike_NP))
        white_PP = turn_PP * (value_P.clamp(min=0) + NOISE).rsqrt() @ turn_PP.T
        white_NP = (alike_NP - mean_P) @ white_PP
        filter_FP = nn.functional.normalize(white_NP[:FILTERS])
        for _ in range(ROUNDS):
            near_NF = white_NP @ filter_FP.T
            best_N1 = near_NF.abs().argmax(1, keepdim=True)
            share_NF = torch.zeros_like(near_NF).scatter(1, best_N1, near_NF.gather(1, best_N1))
            filter_FP = nn.functional.normalize(share_NF.T @ white_NP + filter_FP)
        filter_FP = filter_FP @ white_PP
        self.put(
            filter_FCHW=(filter_FP - filter_FP.mean(1, keepdim=True)).view(-1, *self.filter_FCHW.shape[1:]), offset_F=filter_FP @ mean_P
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        with torch.autocast(x_BCHW.device.type, enabled=False):
            told_BD = x_BCHW if x_BCHW.dim() == 2 else torch.cat(self.describe(x_BCHW), 1)
            return told_BD[:, : len(self.weight_DS)] @ self.weight_DS  # a run of before knows the first parts only

    def describe(self, x_BCHW: Tensor) -> list[Tensor]:
        """Edges, colours, thumbnail, edges of larger cells, colours of the quarters and patches, if kinds were found, (B, D) each."""
        with torch.autocast(x_BCHW.device.type, enabled=False):
            whole = self._seen(x_BCHW)
            patches = [self._patches(self._small(whole))] if len(self.filter_FCHW) else []
            x_BCHW = self.rows @ whole @ self.columns.T
            (edges, *coarse), colours = self._edges(x_BCHW), self._colours(x_BCHW)
            return [edges, colours[0], (self.thumb_rows @ x_BCHW @ self.thumb_columns.T).flatten(1), *coarse, colours[1], *patches]

    def _seen(self, x_BCHW: Tensor) -> Tensor:
        """Values from 0 to 1."""
        return (x_BCHW.float() * self.std + self.mean).clamp(0, 1)

    def _small(self, x_BCHW: Tensor) -> Tensor:
        return self.small_rows @ x_BCHW @ self.small_columns.T

    def _patches(self, x_BCHW: Tensor) -> Tensor:
        mean, square = (nn.functional.avg_pool2d(x.mean(1, keepdim=True), PATCH, 1) for x in (x_BCHW, x_BCHW.square()))
        deviation = ((square - mean.square()).clamp(min=0) + PLAIN).sqrt()
        said_BFHW = nn.functional.conv2d(x_BCHW, self.filter_FCHW) / deviation - self.offset_F.view(-1, 1, 1)
        least = self.filter_FCHW[0].numel() ** 0.5 / 8
        said_BFHW = torch.cat([(said_BFHW - least).clamp(min=0), (-said_BFHW - least).clamp(min=0)], 1)
        return (self.patch_rows @ said_BFHW @ self.patch_columns.T + 1e-8).sqrt().flatten(1)

    def _edges(self, x_BCHW: Tensor) -> list[Tensor]:
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
        return [self._cells(self.get_buffer(f"cell_rows_{n}") @ votes @ self.get_buffer(f"cell_columns_{n}").T) for n in CELLS]

    def _cells(self, cell_BOYX: Tensor) -> Tensor:
        y, x = cell_BOYX.shape[2] - 1, cell_BOYX.shape[3] - 1
        if y and x:  # every 2×2 neighbours normalised together
            cell_BOYX = torch.cat([cell_BOYX[:, :, a : y + a, b : x + b] for a in (0, 1) for b in (0, 1)], 1)
        for _ in range(2):
            cell_BOYX = (cell_BOYX / (cell_BOYX.square().sum(1, keepdim=True).sqrt() + 1e-2)).clamp(max=CLIP)
        return cell_BOYX.flatten(1)

    def _colours(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        near = (1 - (x_BCHW.unsqueeze(2) - self.level.view(1, 1, -1, 1, 1)).abs() * (LEVELS - 1)).clamp(min=0)  # (B, C, K, H, W)
        joint = near[:, 0]
        for channel in range(1, x_BCHW.shape[1]):
            joint = (joint.unsqueeze(2) * near[:, channel].unsqueeze(1)).flatten(1, 2)
        quarters = self.half_rows @ joint @ self.half_columns.T
        return (joint.flatten(2).mean(2) + 1e-8).sqrt(), (quarters + 1e-8).sqrt().flatten(1)


def _blocks(y: int, x: int) -> int:
    """Cells that are told of, each of every 2×2 neighbours."""
    return 4 * (y - 1) * (x - 1) if y > 1 and x > 1 else y * x
