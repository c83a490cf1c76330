"""A plain convolutional net; `base` on 28×28 grey pictures is exactly Conv32, pool, Conv64, pool, Dense128, Dense10.

Legend: B rows, C channels, H height, W width, D size of a vector.
After LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", with ReLU and max pooling. Pooling comes
before ReLU: both are monotone, so the result is the same and ReLU has a quarter of the work. Head: (B, head.size).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.pooled import convolve_and_pool, pool_and_relu

FEW_CHANNELS = 4
"""Pictures of up to so many channels take the matrix form of the first layer when trained on a CPU."""
FORMS = ("pixels",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 64, "weight_decay": 1e-2, "epochs": 12, "patience": 6, "ema": 0.998}


@dataclass(frozen=True)
class Config:
    channels: tuple[int, ...] = (32, 64)
    """Channels of each block; larger pictures get more blocks, each twice as wide up to 256."""
    kernel: int = 3
    """Side of the convolution windows."""
    same: bool = False
    """Pad so that a convolution keeps the size of its input."""
    batch_norm: bool = False
    """Normalise each channel over the batch after every convolution (arXiv:1502.03167)."""
    dense: int = 128
    """Size of the hidden layer before the head; 0: none."""
    dropout: float = 0.0
    """Dropout on the hidden layer."""
    global_pool: bool = False
    """Average each channel over the picture instead of keeping its places."""
    side: int = 8
    """Blocks are added until the shorter side of the map is at most this."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


SIZES = {
    "small": Config(channels=(16, 32), dense=64),
    "base": Config(),
    "large": Config(channels=(64, 128, 256), same=True, batch_norm=True, dense=256, dropout=0.3),
}


class Block(nn.Module):
    """(B, C, H, W) -> (B, C', H', W'): convolution, optional norm, 2×2 max pooling where there is room, ReLU."""

    def __init__(self, before: int, after: int, config: Config, size: tuple[int, int]):
        super().__init__()
        # a picture smaller than the window is padded rather than refused
        self.padding = config.kernel // 2 if config.same or min(size) < config.kernel else 0
        self.convolution = nn.Conv2d(before, after, config.kernel, padding=self.padding, bias=not config.batch_norm)
        self.norm = nn.BatchNorm2d(after) if config.batch_norm else nn.Identity()
        height, width = (side + 2 * self.padding - config.kernel + 1 for side in size)
        self.pools = min(height, width) >= 2
        self.size = (height // 2, width // 2) if self.pools else (height, width)
        self.first = before <= FEW_CHANNELS and self.pools and not self.padding and not config.batch_norm

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.training and self.first and not x_BCHW.requires_grad and x_BCHW.device.type == "cpu":
            assert self.convolution.bias is not None
            return convolve_and_pool(x_BCHW, self.convolution.weight, self.convolution.bias)
        x_BCHW = self.norm(self.convolution(x_BCHW))
        return pool_and_relu(x_BCHW) if self.pools else F.relu(x_BCHW)


def _used(blocks: list[Block], size: tuple[int, int], kernel: int) -> tuple[int, int]:
    """How much of the picture reaches the last map: pooling drops an odd row or column, which then need not be computed."""
    if any(block.padding for block in blocks):
        return size
    height, width = blocks[-1].size
    for block in reversed(blocks):
        height, width = ((2 * side if block.pools else side) + kernel - 1 for side in (height, width))
    return height, width


class Model(nn.Module):
    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("cnn", inputs, FORMS, head)
        channels, height, width = field.shape
        size, blocks, planned = (height, width), [], list(config.channels)
        while planned or min(size) > config.side:
            after = planned.pop(0) if planned else min(256, 2 * channels)
            blocks.append(Block(channels, after, config, size))
            channels, size = after, blocks[-1].size
        self.blocks, self.global_pool = nn.Sequential(*blocks), config.global_pool
        self.used = _used(blocks, (height, width), config.kernel)
        flat = channels * (1 if config.global_pool else size[0] * size[1])
        self.dense = nn.Linear(flat, config.dense) if config.dense else None
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.dense or flat, head.size)
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        x_BCHW = self.blocks(batch[self.name][:, :, : self.used[0], : self.used[1]])
        # in the memory order of channels_last, so that nothing is copied
        x_BD = x_BCHW.mean((2, 3)) if self.global_pool else x_BCHW.permute(0, 2, 3, 1).flatten(1)
        if self.dense is not None:
            x_BD = F.relu(self.dense(x_BD))
        logits_BS = self.head(self.dropout(x_BD))
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
