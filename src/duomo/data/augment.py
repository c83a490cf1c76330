"""Variations of training batches, on the stored tensors before `loader.finish`, drawn from one generator.

A long batch may hold the rows of several steps (`steps`): rows are mixed within their own step only.
Legend: N rows (of all steps), B rows of one step, C channels, H height, W width, T tokens, S samples, F features.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from duomo.core.contract import Field
from duomo.core.recipe import AugmentConfig
from duomo.core.tensors import Batch

HIDDEN = 1
"""The token that a dropped token becomes."""
MIXABLE = ("pixels", "numbers", "categories")


def active(config: AugmentConfig, fields: Mapping[str, Field]) -> bool:
    """Whether anything would be varied for these inputs."""
    forms = {field.form for field in fields.values()}
    pictures = config.crop or config.flip or config.rotate or config.scale or config.colour or config.erase
    return bool(
        ("pixels" in forms and pictures)
        or (forms and forms <= set(MIXABLE) and config.mixup)
        or (forms == {"pixels"} and config.cutmix)
        or ("numbers" in forms and config.noise)
        or ("waveform" in forms and (config.noise or config.speed))
        or ("tokens" in forms and (config.drop_tokens or config.swap_tokens))
    )


def augment(batch: Batch, fields: Mapping[str, Field], config: AugmentConfig, generator: Generator, steps: int = 1) -> Batch:
    """The batch varied as the config says. Mixing (mixup, cutmix) adds `mix.rows` (N,), the partner of each row counted
    within its step, and `mix.share` (N,) float32, the share of the row itself: targets are mixed alike.
    """
    for name, field in fields.items():
        if name not in batch:
            continue
        if field.form == "pixels":
            if "target.boxes" in batch:
                batch[name], batch["target.boxes"], batch["target.classes"] = scenes(batch, name, config, generator)
            else:
                batch[name] = pictures(batch[name], field, config, generator)
        elif field.form == "numbers" and config.noise:
            batch[name] = batch[name] + config.noise * torch.randn(batch[name].shape, generator=generator)
        elif field.form == "waveform":
            batch[name], batch[f"{name}.length"] = sounds(batch[name], batch[f"{name}.length"], config, generator)
        elif field.form == "tokens":
            x_NT = batch[name]
            whole_N = torch.full((len(x_NT),), x_NT.shape[1])
            batch[name] = tokens(x_NT, batch.get(f"{name}.length", whole_N), config, generator)
    return mix(batch, fields, config, generator, steps)


# -- pictures


def pictures(x_NCHW: Tensor, field: Field, config: AugmentConfig, generator: Generator) -> Tensor:
    """Pictures of 0..255 (uint8 or float32) shifted, mirrored, turned, resized, recoloured, erased."""
    if config.rotate or config.scale:
        x_NCHW = turned(x_NCHW, config, generator)
    else:
        if config.crop:
            x_NCHW = shifted(x_NCHW, config.crop, generator)
        if config.flip:
            mirror_N = torch.rand(len(x_NCHW), generator=generator) < 0.5
            x_NCHW = torch.where(mirror_N.view(-1, 1, 1, 1), x_NCHW.flip(3), x_NCHW)
    if config.colour:
        x_NCHW = recoloured(x_NCHW.float(), config.colour, generator)
    if config.erase:
        x_NCHW = erased(x_NCHW, field, config.erase, generator)
    return x_NCHW


def between(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """(N,) uniform in [low, high)."""
    return torch.rand(count, generator=generator) * (high - low) + low


def shifted(x_NCHW: Tensor, share: float, generator: Generator) -> Tensor:
    """A random crop of the zero-padded picture: whole pixels, at most `share` of the side."""
    count, channels, height, width = x_NCHW.shape
    dy, dx = round(share * height), round(share * width)
    top_N = torch.randint(0, 2 * dy + 1, (count,), generator=generator)
    left_N = torch.randint(0, 2 * dx + 1, (count,), generator=generator)
    padded = functional.pad(x_NCHW, (dx, dx, dy, dy))
    inner_h, inner_w = height + 2 * dy, width + 2 * dx
    start_N = torch.arange(count) * (channels * inner_h * inner_w) + top_N * inner_w + left_N
    inside = (torch.arange(channels).view(-1, 1, 1) * inner_h + torch.arange(height).view(-1, 1)) * inner_w + torch.arange(width)
    return padded.reshape(-1)[start_N.view(-1, 1, 1, 1) + inside]


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
    if config.colour:
        x_NCHW = recoloured(x_NCHW.float(), config.colour, generator)
    return x_NCHW, boxes_NG4, class_NG


def followed(boxes_NG4: Tensor, class_NG: Tensor, map_N23: Tensor, least: float = 0.25) -> tuple[Tensor, Tensor]:
    """The smallest upright boxes around the corners that the map moved, cut to 0..1."""
    left, top, right, bottom = (boxes_NG4 * 2 - 1).unbind(-1)
    corners_NG24 = torch.stack([torch.stack([left, right, left, right], -1), torch.stack([top, top, bottom, bottom], -1)], -2)
    matrix_N22, shift_N2 = map_N23[:, :, :2], map_N23[:, :, 2]
    moved = torch.linalg.solve(matrix_N22[:, None], corners_NG24 - shift_N2[:, None, :, None])
    low, high = (moved.amin(-1) + 1) / 2, (moved.amax(-1) + 1) / 2
    cut_low, cut_high = low.clamp(0, 1), high.clamp(0, 1)
    kept = (cut_high - cut_low).prod(-1) >= least * (high - low).prod(-1).clamp(min=1e-9)
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


# -- sound


def sounds(x_NS: Tensor, length_N: Tensor, config: AugmentConfig, generator: Generator) -> tuple[Tensor, Tensor]:
    """Sounds of ±32,768 (int16 or float32, zero padded) at another speed, with noise relative to each one's own level."""
    x_NS = x_NS.float()
    if config.speed:
        x_NS, length_N = sped(x_NS, length_N, config.speed, generator)
    if config.noise:
        level_N = (x_NS.square().sum(dim=1) / length_N.clamp(min=1)).sqrt()
        inside_NS = torch.arange(x_NS.shape[1]) < length_N[:, None]
        x_NS = x_NS + inside_NS * torch.randn(x_NS.shape, generator=generator) * (config.noise * level_N)[:, None]
    return x_NS, length_N


def sped(x_NS: Tensor, length_N: Tensor, most: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Each row played at 1 - most to 1 + most of its speed, by linear interpolation; lengths follow (at least 1)."""
    speed_N = between(len(x_NS), 1 - min(most, 0.9), 1 + most, generator).double()
    new_N = (length_N / speed_N).floor().long().clamp(min=1)
    place_NT = torch.arange(int(new_N.max())) * speed_N[:, None]
    low_NT = place_NT.floor().long()
    last_N = (length_N - 1).clamp(min=0)[:, None]
    share_NT = (place_NT - low_NT).float()
    before, after = x_NS.gather(1, torch.minimum(low_NT, last_N)), x_NS.gather(1, torch.minimum(low_NT + 1, last_N))
    inside_NT = torch.arange(place_NT.shape[1]) < new_N[:, None]
    return torch.lerp(before, after, share_NT) * inside_NT, new_N


# -- text


def tokens(x_NT: Tensor, length_N: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Tokens hidden, or changing places with their right neighbour, within each row's length."""
    if config.swap_tokens:
        x_NT = swapped(x_NT, length_N, config.swap_tokens, generator)
    if config.drop_tokens:
        inside_NT = torch.arange(x_NT.shape[1]) < length_N[:, None]
        hide_NT = (torch.rand(x_NT.shape, generator=generator) < config.drop_tokens) & inside_NT
        x_NT = x_NT.masked_fill(hide_NT, HIDDEN)
    return x_NT


def swapped(x_NT: Tensor, length_N: Tensor, chance: float, generator: Generator) -> Tensor:
    """Pairs of neighbours change places; pairs never overlap, so every token stays in its row exactly once."""
    start_NT = torch.rand(x_NT.shape, generator=generator) < chance
    place_T = torch.arange(x_NT.shape[1])
    start_NT &= place_T + 1 < length_N[:, None]
    odd = int(torch.randint(0, 2, (1,), generator=generator))
    start_NT &= (place_T % 2) == odd
    follows_NT = torch.zeros_like(start_NT)
    follows_NT[:, 1:] = start_NT[:, :-1]
    return x_NT.gather(1, place_T + start_NT.long() - follows_NT.long())


# -- mixing


def mix(batch: Batch, fields: Mapping[str, Field], config: AugmentConfig, generator: Generator, steps: int) -> Batch:
    """mixup (arXiv:1710.09412) or CutMix (arXiv:1905.04899); where both are set each step takes one of them at random."""
    names = [name for name in fields if name in batch]
    forms = {fields[name].form for name in names}
    cut = config.cutmix > 0 and forms == {"pixels"}
    blend = config.mixup > 0 and forms <= set(MIXABLE)
    if not names or not (cut or blend):
        return batch
    count = len(batch[names[0]])
    size = count // steps
    within = torch.rand(steps, size, generator=generator).argsort(dim=1)
    partner_N = (within + torch.arange(steps).unsqueeze(1) * size).reshape(-1)
    cutting_N = torch.full((count,), cut)
    if cut and blend:
        cutting_N = (torch.rand(steps, generator=generator) < 0.5).repeat_interleave(size)
    share_N = torch.where(cutting_N, beta(config.cutmix, count, generator), beta(config.mixup, count, generator))
    if cut:
        height, width = batch[names[0]].shape[2:]
        inside = boxes(1 - share_N, height, width, generator) & cutting_N.view(-1, 1, 1, 1)
        share_N = torch.where(cutting_N, 1 - inside.float().mean(dim=(1, 2, 3)), share_N)
        for name in names:
            batch[name] = torch.where(inside, batch[name][partner_N], batch[name])
    blend_N = torch.where(cutting_N, torch.ones(()), share_N)
    if blend and not bool(cutting_N.all()):
        for name in names:
            batch[name] = blended(batch[name], batch[name][partner_N], blend_N, generator)
    batch["mix.rows"], batch["mix.share"] = within.reshape(-1), share_N
    return batch


def beta(alpha: float, count: int, generator: Generator) -> Tensor:
    """(N,) float32 from Beta(alpha, alpha); ones when alpha is 0."""
    if alpha <= 0:
        return torch.ones(count)
    seed = int(torch.randint(0, 2**62, (1,), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32))


def blended(own: Tensor, other: Tensor, share_N: Tensor, generator: Generator) -> Tensor:
    """share of the own row, the rest of the other; categories are taken whole from one of them with that probability."""
    share = share_N.view(-1, *[1] * (own.dim() - 1))
    if own.dtype == torch.int64:
        return torch.where(torch.rand(own.shape, generator=generator) < share, own, other)
    return torch.lerp(other.float(), own.float(), share)
