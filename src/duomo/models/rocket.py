"""Series by 84 fixed kernels at several spacings: how much of the time each one answers above a threshold, and a linear head over that.

Legend: B rows, T steps, C channels, K = 84 kernels, J thresholds of a kernel at one spacing, F features, S head size.
Source: Dempster, Schmidt and Webb 2021, "MiniRocket", arXiv:2012.08791, sections 3.1 and 3.2: nine weights of −1 and 2 whose sum is 0,
spacings in powers of two, thresholds at quantiles of what the kernels answer to training rows, the shares of steps above them. Also
here: level, deviation, extremes and length of each series, which the kernels do not see; numbers and categories; where rows are of unlike
length, shares of their own steps beside shares of the longest one's, in which those that are missing count as zeros.
Nothing but the head is learned; `settle` reads the rest off the rows, and train/head.py fits the head (section 3.3).
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.config import Within
from duomo.core.contract import Field, Head
from duomo.core.steps import counted
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.fields import check_forms, check_per, inside, masked_mean, of_forms

FORMS = ("frames", "numbers", "categories")
TRAIN = {"learning_rate": 1e-3, "batch_size": 64, "weight_decay": 1e-2, "steps": 30}
TAPS, KERNELS, HALF = 9, 84, 42
"""Weights of a kernel; how three of nine can be 2 and the others −1."""
GOLDEN = (math.sqrt(5) - 1) / 2
MOST_MIXED = 9
"""Channels that a kernel reads the sum of, at most."""
LEAST_SCALE = 0.02


@dataclass(frozen=True)
class Config:
    spacings: Annotated[int, Within(1, 64)] = 8
    """Distances between the steps that a kernel reads, in powers from 1 to a ninth of the longest series; fewer where series are short."""
    thresholds: Annotated[int, Within(1, 64)] = 3
    """Thresholds of each kernel at each spacing."""
    steps: bool = False
    """Read columns of numbers that are named alike and counted on (t0, t1, ...) as the steps of one series."""
    advice: bool = False
    """Fit boosted trees and a linear model over the cells beside the series and weigh them with it."""


SIZES = {"small": Config(6, 2), "base": Config(), "large": Config(16, 7)}


def _above(answer_BKT: Tensor, threshold_K: Tensor, room_BKT: Tensor) -> Tensor:
    """(B, K): steps above the thresholds; floats compared into floats take a third of the time of booleans that are then turned."""
    return torch.gt(answer_BKT, threshold_K.unsqueeze(1), out=room_BKT).sum(2, dtype=torch.float32)


class Kernels(nn.Module):
    """float32 (B, T, C) -> (B, F): shares of steps above thresholds, and plain statistics."""

    weights: Tensor
    levels: Tensor
    thresholds: Tensor
    mixes: Tensor

    def __init__(self, config: Config, longest: int, channels: int, seed: int, unlike: bool = False):
        super().__init__()
        self.longest = longest if unlike else 0
        most = math.log2(max(1.0, (longest - 1) / (TAPS - 1)))
        powers = torch.linspace(0, most, config.spacings).tolist() if most > 0 else [0.0]
        self.spacings = sorted({int(2**power) for power in powers})
        self.size = len(self.spacings) * KERNELS * config.thresholds * (2 if unlike else 1) + 5 * channels + 1
        weights_K1T = torch.full((KERNELS, 1, TAPS), -1.0)
        kinds = list(itertools.combinations(range(TAPS), 3))
        for kernel, places in enumerate([*kinds[0::2], *kinds[1::2]]):
            weights_K1T[kernel, 0, list(places)] = 2.0
        self.register_buffer("weights", weights_K1T, persistent=False)
        generator = torch.Generator().manual_seed(seed)
        shape = (len(self.spacings), KERNELS, config.thresholds)
        levels = (torch.arange(1, math.prod(shape) + 1, dtype=torch.float64) * GOLDEN % 1).clamp(0.001, 0.999)
        self.register_buffer("levels", levels.view(shape).float(), persistent=False)
        # until rows are seen: the answers of a kernel to noise have a variance of 6 × 1 + 3 × 4
        self.register_buffer("thresholds", math.sqrt(18) * torch.special.ndtri(levels).view(shape).float())
        self.register_buffer("mixes", self._mixes(len(self.spacings), channels, generator), persistent=False)

    @staticmethod
    def _mixes(spacings: int, channels: int, generator: torch.Generator) -> Tensor:
        """(spacings, K, C) of 0 and 1: which channels each kernel reads the sum of; few more often than many (section 3.1)."""
        most = min(channels, MOST_MIXED)
        counts = (2 ** (torch.rand(spacings, KERNELS, 1, generator=generator) * math.log2(most + 1))).floor()
        ranks = torch.rand(spacings, KERNELS, channels, generator=generator).argsort(2).argsort(2)
        return (ranks < counts).float()

    def answers(self, x_BCT: Tensor, place: int) -> Tensor:
        """(B, K, T): what the kernels answer at one spacing; steps beyond the ends count as zero."""
        spacing = self.spacings[place]
        many = x_BCT.shape[1] > 1
        read = self.mixes[place] @ x_BCT if many else x_BCT
        padding = (TAPS // 2) * spacing
        return functional.conv1d(read, self.weights, padding=padding, dilation=spacing, groups=KERNELS if many else 1)

    @torch.no_grad()
    def settle(self, x_BTC: Tensor, length_B: Tensor) -> None:
        """Thresholds at quantiles of what each kernel answers to one of the rows."""
        for place in range(len(self.spacings)):
            row_K = (torch.arange(KERNELS) + place * KERNELS) % len(x_BTC)
            for row in row_K.unique().tolist():
                own = torch.nonzero(row_K == row).squeeze(1)
                steps = self.answers(x_BTC[row : row + 1, : int(length_B[row])].transpose(1, 2), place)[0, own].sort(1).values
                ranks = (self.levels[place, own] * (steps.shape[1] - 1)).round().long()
                self.thresholds[place, own] = steps.gather(1, ranks)

    def forward(self, x_BTC: Tensor, inside_BT: Tensor) -> Tensor:
        missing = max(0, self.longest - x_BTC.shape[1])
        x_BCT, length_B1 = functional.pad(x_BTC.transpose(1, 2).float(), (0, missing)), inside_BT.sum(1, keepdim=True)
        inside_BT = functional.pad(inside_BT, (0, missing))
        step_T, features = torch.arange(x_BCT.shape[2], device=x_BTC.device), list[Tensor]()
        for place, spacing in enumerate(self.spacings):
            edge = TAPS // 2 * spacing
            inner_BT = (step_T >= edge) & (step_T < length_B1 - edge)
            # half of the kernels look only at the steps where they lie inside the series, if there are any (section 3.2)
            looked_B2T = torch.stack([inside_BT, torch.where(length_B1 > 2 * edge, inner_BT, inside_BT)], 1)
            looked_BKT = looked_B2T.repeat_interleave(HALF, 1)
            whole_BKT = self.answers(x_BCT, place)
            answer_BKT = whole_BKT.masked_fill(~looked_BKT, -math.inf)
            share_B2, room_BKT = 1 / looked_B2T.sum(2), torch.empty_like(whole_BKT)
            for threshold_K in self.thresholds[place].unbind(1):
                features.append(_above(answer_BKT, threshold_K, room_BKT) * share_B2.repeat_interleave(HALF, 1))
                if self.longest:
                    features.append(_above(whole_BKT, threshold_K, room_BKT) / whole_BKT.shape[2])
        return torch.cat([*features, *self._plain(x_BTC.float(), inside_BT[:, : x_BTC.shape[1]])], 1)

    @staticmethod
    def _plain(x_BTC: Tensor, inside_BT: Tensor) -> list[Tensor]:
        """What of a series a level, a size or a length alone tells."""
        out_BT1 = ~inside_BT.unsqueeze(2)
        mean_BC = masked_mean(x_BTC, inside_BT)
        deviation_BC = masked_mean((x_BTC - mean_BC.unsqueeze(1)).square(), inside_BT).sqrt()
        change_BC = masked_mean((x_BTC[:, 1:] - x_BTC[:, :-1]).abs(), inside_BT[:, 1:]) if x_BTC.shape[1] > 1 else torch.zeros_like(mean_BC)
        extremes = [x_BTC.masked_fill(out_BT1, -math.inf).amax(1), x_BTC.masked_fill(out_BT1, math.inf).amin(1)]
        return [mean_BC, deviation_BC, change_BC, *extremes, inside_BT.sum(1, keepdim=True).float().log()]


class Model(nn.Module):
    """Series, numbers and categories -> logits (B, S)."""

    centre: Tensor
    scale: Tensor
    spread: Tensor

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("rocket", inputs, FORMS)
        check_per("rocket", head)
        self.series, self.numbers, self.categories = (of_forms(inputs, form) for form in FORMS)
        shapes = [(*inputs[name].shape, inputs[name].facts.get("unlike", False)) for name in self.series]
        self.sizes = [inputs[name].vocabulary for name in self.categories]
        self.places, self.others = self._columns(inputs) if config.steps and self.numbers else ([], [])
        if self.places:
            spread = torch.tensor([inputs[self.numbers[0]].facts["spread"][place] for place in self.places])
            self.register_buffer("spread", spread, persistent=False)
            shapes.append((len(self.places), 1, False))
        self.kernels = nn.ModuleList(
            Kernels(config, steps, channels, seed, unlike) for seed, (steps, channels, unlike) in enumerate(shapes)
        )
        plain = len(self.others) if self.places else sum(inputs[name].shape[0] for name in self.numbers)
        size = sum(one.size for one in self._each()) + plain + sum(map(sum, self.sizes))
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.head = nn.Linear(size, head.size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.council = council_of(inputs, head.size, config.advice and not self.places)

    def _columns(self, inputs: Mapping[str, Field]) -> tuple[list[int], list[int]]:
        """Places of the features that are the steps of a series, in order, and of all others."""
        names = list(inputs[self.numbers[0]].facts.get("columns", ()))
        places = [names.index(name) for name in counted(list(dict.fromkeys(names)))]
        return places, [place for place in range(len(names)) if place not in set(places)]

    def _each(self) -> list[Kernels]:
        return [part for part in self.kernels if isinstance(part, Kernels)]

    @torch.no_grad()
    def settle(self, batch: Batch) -> None:
        """Read thresholds, and centre and scale of the features, off some rows."""
        for kernels, (x_BTC, inside_BT) in zip(self._each(), self._read(batch), strict=True):
            kernels.settle(x_BTC, inside_BT.sum(1))
        self.centre.zero_()
        self.scale.fill_(1.0)
        features_BF = self._features(batch)
        self.centre.copy_(features_BF.mean(0))
        self.scale.copy_(features_BF.std(0, correction=0).clamp(min=LEAST_SCALE))

    def _read(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """Each series (B, T, C), and which of its steps are there (B, T)."""
        for name in self.series:
            yield batch[name].float(), inside(batch, name)
        if self.places:
            told_BT = batch[self.numbers[0]][:, self.places].float()
            x_BT = torch.where(self.spread[:, 2] > 0, told_BT.sinh(), told_BT) * self.spread[:, 1] + self.spread[:, 0]
            yield x_BT.unsqueeze(2), torch.ones_like(x_BT, dtype=torch.bool)

    def _features(self, batch: Batch) -> Tensor:
        parts = [kernels(x_BTC, inside_BT) for kernels, (x_BTC, inside_BT) in zip(self._each(), self._read(batch), strict=True)]
        if self.places:
            parts.append(batch[self.numbers[0]][:, self.others].float())
        else:
            parts += [batch[name].float() for name in self.numbers]
        for name, sizes in zip(self.categories, self.sizes, strict=True):
            parts += [functional.one_hot(batch[name][:, place], size).float() for place, size in enumerate(sizes)]
        return (torch.cat(parts, 1) - self.centre) / self.scale

    def forward(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            features_BF = self._features(batch)
        logits_BS: Tensor = self.head(features_BF)
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
