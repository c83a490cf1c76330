"""Films: a residual net whose 3-D convolutions are taken apart into one over each frame and one over time.

Legend: B clips, T frames, C channels, H height, W width.
Source: Tran et al. 2018, "A Closer Look at Spatiotemporal Convolutions for Action Recognition", arXiv:1711.11248, section 3.5 and table 1:
the inner width is chosen so that both parts together have the weights of the whole (equation in 3.5). Parameter names are torchvision's;
18 has its exact count, 31,505,325 with 400 classes. A film's logits are the mean of its clips'.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.pictures import is_large

FORMS = ("clips",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 16, "weight_decay": 5e-2, "epochs": 30, "patience": 10, "ema": 0.99}
STEMS = ("auto", "large", "small", "pooled")


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage; every stage after the first halves height, width and time."""
    width: int = 64
    """Channels of the first stage; they double with every stage."""
    stem: str = "auto"
    """First layer: large (7×7, half the side), small (3×3, full side), pooled (3×3, a quarter of the side), or auto (large or small, by
    the picture's size)."""
    dropout: float = 0.0
    """Dropout on the pooled features."""


SIZES = {
    "small": Config(blocks=(1, 1, 1), width=16, stem="pooled"),
    "base": Config(blocks=(1, 1, 1, 1), width=32, stem="pooled"),
    "large": Config(),
    "18": Config(),
    "34": Config(blocks=(3, 4, 6, 3)),
}


def inner(before: int, after: int) -> int:
    """Channels between the two parts of a convolution (the paper's M)."""
    return before * after * 27 // (before * 9 + after * 3)


class Convolution(nn.Module):
    """(B, C, T, H, W) -> (B, C', T', H', W'): within each frame (kernel 1×S×S) or over three frames (3×1×1).

    Computed as a 2-D convolution over (B·T, C, H, W) or over (B, C, T, H·W), which are views of a channels-last film. oneDNN's 3-D ones
    are slower, and their bf16 gradient reads unset memory where the channels are no multiple of 16 (seen with torch 2.13).
    """

    def __init__(self, before: int, after: int, kernel: tuple[int, int, int], stride: tuple[int, int] = (1, 1)):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(after, before, *kernel))
        self.slower, self.stride = stride
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        time, _, side = self.weight.shape[2:]
        if self.slower > 1 and time == 1:
            x_BCTHW = x_BCTHW[:, :, :: self.slower]
        rows, _, frames, height, width = x_BCTHW.shape
        if time == 1:
            weight = self.weight[:, :, 0]
            found = F.conv2d(x_BCTHW.transpose(1, 2).flatten(0, 1), weight, stride=self.stride, padding=side // 2)
            return found.unflatten(0, (rows, frames)).transpose(1, 2)
        found = F.conv2d(x_BCTHW.flatten(3), self.weight[..., 0], stride=(self.slower, 1), padding=(1, 0))
        return found.unflatten(3, (height, width))


def over_frame(before: int, after: int, side: int = 3, stride: int = 1) -> Convolution:
    """Within each frame."""
    return Convolution(before, after, (1, side, side), (1, stride))


def over_time(before: int, after: int, slower: int = 1) -> Convolution:
    """Over three frames."""
    return Convolution(before, after, (3, 1, 1), (slower, 1))


def apart(before: int, after: int, between: int, stride: int, slower: int) -> nn.Sequential:
    """(B, C, T, H, W) -> (B, C', T', H', W'): over each frame, then over time."""
    return nn.Sequential(over_frame(before, between, stride=stride), nn.BatchNorm3d(between), nn.ReLU(),
                         over_time(between, after, slower))  # fmt: skip


class Block(nn.Module):
    """Two convolutions, each in two parts, around an identity."""

    def __init__(self, before: int, after: int, stride: int, slower: int):
        super().__init__()
        between = inner(before, after)
        self.conv1 = nn.Sequential(apart(before, after, between, stride, slower), nn.BatchNorm3d(after), nn.ReLU())
        last = nn.BatchNorm3d(after)
        self.conv2 = nn.Sequential(apart(after, after, between, 1, 1), last)
        # the block starts as the identity (Goyal et al. 2017, arXiv:1706.02677, section 5.1)
        nn.init.zeros_(last.weight)
        self.downsample = None
        if before != after or stride > 1 or slower > 1:
            self.downsample = nn.Sequential(Convolution(before, after, (1, 1, 1), (slower, stride)), nn.BatchNorm3d(after))

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.conv2(self.conv1(x)) + kept)


class Model(nn.Module):
    """One field of clips (B, K, T, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, clips = single("r2plus1d", inputs, FORMS, head)
        frames, channels, *sides = clips.shape
        large = is_large("r2plus1d", config.stem, sides, STEMS)
        pooled = config.stem == "pooled" and min(sides) >= 8
        width, between = config.width, config.width * 45 // 64
        first = over_frame(channels, between, 7 if large else 3, 2 if large or pooled else 1)
        self.stem = nn.Sequential(first, nn.BatchNorm3d(between), nn.ReLU(), over_time(between, width), nn.BatchNorm3d(width), nn.ReLU())
        self.pool = nn.MaxPool3d((1, 2, 2)) if pooled else nn.Identity()
        side, time = min(sides) // (4 if pooled else 2 if large else 1), frames
        self.stages = [f"layer{stage}" for stage in range(1, len(config.blocks) + 1)]
        for stage, (name, count) in enumerate(zip(self.stages, config.blocks, strict=True)):
            # a map of one place or one frame would leave a batch of one nothing to normalise over
            after, stride, slower = config.width * 2**stage, 2 if stage and side > 2 else 1, 2 if stage and time > 1 else 1
            side, time = (side + stride - 1) // stride, (time + slower - 1) // slower
            layers = [Block(width if not place else after, after, *((stride, slower) if not place else (1, 1))) for place in range(count)]
            self.add_module(name, nn.Sequential(*layers))
            width = after
        self.dropout, self.fc = Dropout(config.dropout), nn.Linear(width, head.size)

    def forward(self, batch: Batch) -> Tensor:
        rows, clips = batch[self.name].shape[:2]
        x_BCTHW = batch[self.name].flatten(0, 1).transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
        x_BCTHW = self.pool(self.stem(x_BCTHW))
        for stage in self.stages:
            x_BCTHW = self.get_submodule(stage)(x_BCTHW)
        return self.fc(self.dropout(x_BCTHW.mean((2, 3, 4)))).view(rows, clips, -1).mean(1)
