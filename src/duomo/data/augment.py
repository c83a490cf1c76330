"""Variations of training batches, on the stored tensors before `loader.finish`, drawn from one generator.

A long batch may hold the rows of several steps (`steps`): rows are mixed within their own step only.
Legend: N rows (of all steps), B rows of one step, T tokens, S samples, F features.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Generator, Tensor

from duomo.core.contract import Field
from duomo.core.errors import ConfigError
from duomo.core.recipe import AugmentConfig
from duomo.core.tensors import Batch
from duomo.data.picture_variations import between, boxes, clips, pictures, scenes

HIDDEN = 1
"""The token that a dropped token becomes."""
MIXABLE = ("pixels", "clips", "numbers", "categories")


def active(config: AugmentConfig, fields: Mapping[str, Field]) -> bool:
    """Whether anything would be varied for these inputs."""
    forms = {field.form for field in fields.values()}
    varied = (config.crop, config.flip, config.rotate, config.scale, config.colour, config.erase, config.blur, config.policy)
    return bool(
        (forms & {"pixels", "clips"} and any(varied))
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
                _refuse_for_boxes(config)
                batch[name], batch["target.boxes"], batch["target.classes"] = scenes(batch, name, config, generator)
            else:
                batch[name] = pictures(batch[name], field, config, generator)
        elif field.form == "clips":
            batch[name] = clips(batch[name], field, config, generator)
        elif field.form == "numbers" and config.noise:
            batch[name] = batch[name] + config.noise * torch.randn(batch[name].shape, generator=generator)
        elif field.form == "waveform":
            batch[name], batch[f"{name}.length"] = sounds(batch[name], batch[f"{name}.length"], config, generator)
        elif field.form == "tokens":
            x_NT = batch[name]
            whole_N = torch.full((len(x_NT),), x_NT.shape[1])
            batch[name] = tokens(x_NT, batch.get(f"{name}.length", whole_N), config, generator)
    return mix(batch, fields, config, generator, steps)


def _refuse_for_boxes(config: AugmentConfig) -> None:
    """ConfigError for variations that boxes cannot follow."""
    wrong = [name for name in ("mixup", "cutmix", "erase", "policy") if getattr(config, name)]
    if wrong:
        raise ConfigError("Boxes follow shifts, turns, changes of size, colour and blur; {names} would not keep them true. "
                          "Set it to nothing.", names=", ".join(wrong))  # fmt: skip


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
