"""Variations of pictures as batches of tensors: shifted, mirrored, turned, blurred, recoloured, erased, or by a drawn policy.

Everything is drawn from one generator. Legend: N rows, C channels, H height, W width, G boxes.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from duomo.core.contract import Field
from duomo.core.errors import ConfigError
from duomo.core.recipe import AugmentConfig
from duomo.core.tensors import Batch

ONE_BY_ONE = 4096
"""Numbers of a picture from which rows are copied one by one: gathering all at once leaves the cache."""
LEAST_LEFT = 0.25
"""Share of a box that must be left where a picture is cut; else it is none."""


def pictures(x_NCHW: Tensor, field: Field, config: AugmentConfig, generator: Generator) -> Tensor:
    """Pictures of 0..255 (uint8 or float32) shifted, mirrored, turned, resized, blurred, recoloured, varied by a policy, erased."""
    if config.rotate or config.scale:
        x_NCHW = turned(x_NCHW, config, generator)
    elif config.crop or config.flip:
        x_NCHW = shifted(x_NCHW, config.crop, config.flip, generator)
    if config.policy:
        x_NCHW = by_policy(x_NCHW.float(), config.policy, config.strength, generator)
    if config.blur:
        x_NCHW = blurred(x_NCHW.float(), config.blur, generator)
    if config.colour:
        x_NCHW = recoloured(x_NCHW.float(), config.colour, generator)
    if config.erase:
        x_NCHW = erased(x_NCHW, field, config.erase, generator)
    return x_NCHW


def clips(x_NKTCHW: Tensor, field: Field, config: AugmentConfig, generator: Generator) -> Tensor:
    """Clips varied as pictures are, every frame of a clip alike; colour changes in brightness and contrast only."""
    if config.policy:
        raise ConfigError("A policy changes single pictures, not the frames of a film alike. Set augment.policy to 0.")
    count, turns, frames, channels, height, width = x_NKTCHW.shape
    repeated = Field("pixels", (frames * channels, height, width), facts={"mean": list(field.facts["mean"]) * frames})
    found = pictures(x_NKTCHW.reshape(count * turns, -1, height, width), repeated, config, generator)
    return found.view(x_NKTCHW.shape)


def between(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """(N,) uniform in [low, high)."""
    return torch.rand(count, generator=generator) * (high - low) + low


def shifted(x_NCHW: Tensor, share: float, mirrored: bool, generator: Generator) -> Tensor:
    """A random crop of the zero-padded picture (whole pixels, at most `share` of the side), mirrored half the time where wanted."""
    count, channels, height, width = x_NCHW.shape
    dy, dx = round(share * height), round(share * width)
    top_N, left_N = (torch.randint(0, 2 * most + 1, (count if share else 0,), generator=generator) for most in (dy, dx))
    mirror_N = torch.rand(count, generator=generator) < 0.5 if mirrored else torch.zeros(count, dtype=torch.bool)
    if channels * height * width >= ONE_BY_ONE:
        return _copied(x_NCHW, (top_N - dy).tolist() or [0] * count, (left_N - dx).tolist() or [0] * count, mirror_N.tolist())
    if share:
        padded = functional.pad(x_NCHW, (dx, dx, dy, dy))
        inner_h, inner_w = height + 2 * dy, width + 2 * dx
        start_N = torch.arange(count) * (channels * inner_h * inner_w) + top_N * inner_w + left_N
        inside = (torch.arange(channels).view(-1, 1, 1) * inner_h + torch.arange(height).view(-1, 1)) * inner_w + torch.arange(width)
        x_NCHW = padded.reshape(-1)[start_N.view(-1, 1, 1, 1) + inside]
    return torch.where(mirror_N.view(-1, 1, 1, 1), x_NCHW.flip(3), x_NCHW) if mirrored else x_NCHW


def _copied(x_NCHW: Tensor, down: list[int], right: list[int], mirror: list[bool]) -> Tensor:
    """Row by row: the part of each picture that stays, at its new place, the rest zero. Sixty times as fast as gathering at 224 pixels."""
    height, width = x_NCHW.shape[2:]
    found = torch.zeros_like(x_NCHW)
    for row, (y, x, turned_over) in enumerate(zip(down, right, mirror, strict=True)):
        part = x_NCHW[row, :, max(0, y) : height + min(0, y), max(0, x) : width + min(0, x)]
        left = max(0, -x)
        if turned_over:
            part, left = part.flip(2), width - left - part.shape[2]
        found[row, :, max(0, -y) : max(0, -y) + part.shape[1], left : left + part.shape[2]] = part
    return found


def turned(x_NCHW: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Rotation, change of size, shift and mirroring as one affine map, sampled bilinearly, zero outside."""
    count, _, height, width = x_NCHW.shape
    return sampled(x_NCHW, affine(count, height / width, config, generator))


def affine(count: int, ratio: float, config: AugmentConfig, generator: Generator) -> Tensor:
    """(N, 2, 3): from a place of the new picture to the one of the old that it shows, both in -1..1; `ratio` is height over width."""
    angle_N = between(count, -config.rotate, config.rotate, generator) * (np.pi / 180)
    size_N = 1 / between(count, 1 - min(config.scale, 0.9), 1 + config.scale, generator)
    across_N = between(count, -2 * config.crop, 2 * config.crop, generator)
    down_N = between(count, -2 * config.crop, 2 * config.crop, generator)
    side_N = (torch.randint(0, 2, (count,), generator=generator) * 2 - 1).float() if config.flip else torch.ones(count)
    cos_N, sin_N = size_N * angle_N.cos(), size_N * angle_N.sin()
    top = torch.stack([side_N * cos_N, -sin_N * ratio, across_N], dim=1)
    low = torch.stack([side_N * sin_N / ratio, cos_N, down_N], dim=1)
    return torch.stack([top, low], dim=1)


def sampled(x_NCHW: Tensor, map_N23: Tensor) -> Tensor:
    """The pictures seen through an affine map, float32."""
    count, _, height, width = x_NCHW.shape
    # One matrix product, x and y apart: four times as fast as affine_grid, and the sampler reads it as well.
    flat = map_N23.view(-1, 3) @ _corners(height, width)
    grid = flat.view(count, 2, height, width).permute(0, 2, 3, 1)
    return functional.grid_sample(x_NCHW.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def scenes(batch: Batch, name: str, config: AugmentConfig, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures moved and recoloured with their boxes (N, G, 4) in shares and classes (N, G): boxes follow the map, are cut at the border,
    and lose their class (-1) where less than a quarter of them is left.
    """
    x_NCHW, boxes_NG4, class_NG = batch[name], batch["target.boxes"], batch["target.classes"]
    if config.rotate or config.scale or config.crop or config.flip:
        map_N23 = affine(len(x_NCHW), x_NCHW.shape[2] / x_NCHW.shape[3], config, generator)
        x_NCHW = sampled(x_NCHW, map_N23)
        boxes_NG4, class_NG = followed(boxes_NG4, class_NG, map_N23)
    if config.blur:
        x_NCHW = blurred(x_NCHW.float(), config.blur, generator)
    if config.colour:
        x_NCHW = recoloured(x_NCHW.float(), config.colour, generator)
    return x_NCHW, boxes_NG4, class_NG


def followed(boxes_NG4: Tensor, class_NG: Tensor, map_N23: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest upright boxes around the corners that the map moved, cut to 0..1; LEAST_LEFT of them must be left."""
    left, top, right, bottom = (boxes_NG4 * 2 - 1).unbind(-1)
    corners_NG24 = torch.stack([torch.stack([left, right, left, right], -1), torch.stack([top, top, bottom, bottom], -1)], -2)
    matrix_N22, shift_N2 = map_N23[:, :, :2], map_N23[:, :, 2]
    moved = torch.linalg.solve(matrix_N22[:, None], corners_NG24 - shift_N2[:, None, :, None])
    low, high = (moved.amin(-1) + 1) / 2, (moved.amax(-1) + 1) / 2
    cut_low, cut_high = low.clamp(0, 1), high.clamp(0, 1)
    kept = (cut_high - cut_low).prod(-1) >= LEAST_LEFT * (high - low).prod(-1).clamp(min=1e-9)
    return torch.cat([cut_low, cut_high], -1), torch.where(kept, class_NG, torch.full_like(class_NG, -1))


@cache
def _corners(height: int, width: int) -> Tensor:
    """(3, H * W): x, y and 1 of every pixel's centre in -1..1."""
    y_H = (torch.arange(height) * 2 + 1) / height - 1
    x_W = (torch.arange(width) * 2 + 1) / width - 1
    return torch.stack([x_W.repeat(height), y_H.repeat_interleave(width), torch.ones(height * width)])


def recoloured(x_NCHW: Tensor, strength: float, generator: Generator) -> Tensor:
    """Brightness, contrast and (in colour) saturation, each changed by at most `strength`; stays in 0..255."""
    count, channels = x_NCHW.shape[:2]
    bright, contrast, colour = (between(count, 1 - strength, 1 + strength, generator).clamp_(min=0).view(-1, 1, 1, 1) for _ in range(3))
    x_NCHW = x_NCHW * bright
    centre = x_NCHW.mean(dim=(1, 2, 3), keepdim=True)
    x_NCHW = centre + (x_NCHW - centre) * contrast
    if channels == 3:
        grey = (x_NCHW * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        x_NCHW = grey + (x_NCHW - grey) * colour
    return x_NCHW.clamp_(0, 255)


def boxes(share_N: Tensor, height: int, width: int, generator: Generator) -> Tensor:
    """(N, 1, H, W) bool: a rectangle of this share of the area, of the picture's proportions, wholly inside."""
    count = len(share_N)
    tall_N, wide_N = (share_N.sqrt() * height).round(), (share_N.sqrt() * width).round()
    top_N = (torch.rand(count, generator=generator) * (height - tall_N + 1)).floor()
    left_N = (torch.rand(count, generator=generator) * (width - wide_N + 1)).floor()
    y_H, x_W = torch.arange(height), torch.arange(width)
    rows_NH = (y_H >= top_N[:, None]) & (y_H < (top_N + tall_N)[:, None])
    columns_NW = (x_W >= left_N[:, None]) & (x_W < (left_N + wide_N)[:, None])
    return (rows_NH[:, :, None] & columns_NW[:, None, :]).unsqueeze(1)


def erased(x_NCHW: Tensor, field: Field, chance: float, generator: Generator) -> Tensor:
    """With probability `chance` a rectangle of 2 to 33 % becomes the mean colour (random erasing, arXiv:1708.04896)."""
    count, channels, height, width = x_NCHW.shape
    hit_N = torch.rand(count, generator=generator) < chance
    inside = boxes(between(count, 0.02, 0.33, generator), height, width, generator) & hit_N.view(-1, 1, 1, 1)
    mean = torch.tensor(field.facts["mean"]).view(1, channels, 1, 1) * 255
    return torch.where(inside, mean.to(x_NCHW.dtype), x_NCHW)


def blurred(x_NCHW: Tensor, chance: float, generator: Generator) -> Tensor:
    """With probability `chance` mixed with its blurred self, in any share (two means over a 28th of the side)."""
    hit_N = torch.rand(len(x_NCHW), generator=generator) < chance
    share_N = torch.rand(len(x_NCHW), generator=generator)[hit_N]
    if not len(share_N):
        return x_NCHW
    found = x_NCHW.clone()
    found[hit_N] = torch.lerp(x_NCHW[hit_N], _smooth(x_NCHW[hit_N]), share_N.view(-1, 1, 1, 1))
    return found


def _smooth(x_NCHW: Tensor) -> Tensor:
    window = max(3, round(min(x_NCHW.shape[2:]) / 28) * 2 + 1)
    for _ in range(2):
        x_NCHW = functional.avg_pool2d(x_NCHW, window, 1, window // 2, count_include_pad=False)
    return x_NCHW


# -- a policy: each picture gets some changes drawn from a list, as in RandAugment (Cubuk et al. 2019, arXiv:1909.13719), table 6


def _signed(amount_N: Tensor, generator: Generator) -> Tensor:
    """(N, 1, 1, 1): the amount, up or down."""
    return (amount_N * (torch.randint(0, 2, amount_N.shape, generator=generator) * 2 - 1)).view(-1, 1, 1, 1)


def _toward(x: Tensor, other: Tensor, amount_N: Tensor, generator: Generator) -> Tensor:
    """Away from or toward another picture, by up to 0.9 of the way."""
    return other + (x - other) * (1 + 0.9 * _signed(amount_N, generator))


def _grey(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True).expand_as(x)


def _contrasted(x: Tensor, amount_N: Tensor, generator: Generator) -> Tensor:
    return _toward(x, x.mean((1, 2, 3), keepdim=True), amount_N, generator)


def _stretched(x: Tensor, amount_N: Tensor, generator: Generator) -> Tensor:
    """Each channel to the whole range of 0 to 255."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) * (255 / (high - low).clamp(min=1)), x)


def _posterised(x: Tensor, amount_N: Tensor, generator: Generator) -> Tensor:
    """Fewer levels: 8 bits down to 4."""
    step = 2 ** (4 * amount_N).round().view(-1, 1, 1, 1)
    return (x / step).floor() * step


def _solarised(x: Tensor, amount_N: Tensor, generator: Generator) -> Tensor:
    """Light pixels turned to their negative."""
    return torch.where(x >= 256 - 200 * amount_N.view(-1, 1, 1, 1), 255 - x, x)


def _mapped(matrix: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[[Tensor, Tensor, Generator], Tensor]:
    """An affine map given by what it adds to the rows (x, y, 1) of the identity."""

    def change(x: Tensor, amount_N: Tensor, generator: Generator) -> Tensor:
        count, _, height, width = x.shape
        top, low = matrix(_signed(amount_N, generator).view(-1))
        theta = torch.stack([top + torch.tensor([1.0, 0, 0]), low + torch.tensor([0, 1.0, 0])], 1)
        grid = (theta.view(-1, 3) @ _corners(height, width)).view(count, 2, height, width).permute(0, 2, 3, 1)
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)

    return change


def _row(place: int, value_N: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(place), 3) * value_N[:, None]


CHANGES: tuple[Callable[[Tensor, Tensor, Generator], Tensor], ...] = (
    lambda x, amount, generator: x,
    _stretched,
    lambda x, amount, generator: x * (1 + 0.9 * _signed(amount, generator)),
    _contrasted,
    lambda x, amount, generator: _toward(x, _grey(x), amount, generator),
    lambda x, amount, generator: _toward(x, _smooth(x), amount, generator),
    _posterised,
    _solarised,
    _mapped(lambda a: (_row(1, 0.3 * a), _row(0, 0 * a))),
    _mapped(lambda a: (_row(1, 0 * a), _row(0, 0.3 * a))),
    _mapped(lambda a: (_row(2, 0.6 * a), _row(2, 0 * a))),
    _mapped(lambda a: (_row(2, 0 * a), _row(2, 0.6 * a))),
    _mapped(lambda a: (_row(0, (a / 2).cos() - 1) - _row(1, (a / 2).sin()), _row(0, (a / 2).sin()) + _row(1, (a / 2).cos() - 1))),
)
"""Nothing, range, brightness, contrast, saturation, sharpness, levels, negative of the light, two shears, two shifts, rotation (to 29°)."""


def by_policy(x_NCHW: Tensor, rounds: int, strength: float, generator: Generator) -> Tensor:
    """Each picture changed `rounds` times, by changes and amounts (up to `strength`) of its own; float32 in 0..255."""
    found = x_NCHW.clone()
    for _ in range(rounds):
        which_N = torch.randint(0, len(CHANGES), (len(found),), generator=generator)
        amount_N = strength * torch.rand(len(found), generator=generator)
        for number, change in enumerate(CHANGES):
            rows = torch.nonzero(which_N == number).view(-1)
            if number and len(rows):
                found[rows] = change(found[rows], amount_N[rows], generator).clamp_(0, 255)
    return found
