"""What architectures for pictures share: which form of the first layers a picture's size asks for.

The published nets throw away fifteen sixteenths of the places before the first block, which suits 224 pixels. A picture of 28 to
64 would be left with nothing, so below SMALL_SIDE the first layers keep (most of) their places; all other layers are the same.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.errors import ConfigError
from duomo.core.messages import nearest

SMALL_SIDE = 96
STEMS = ("auto", "large", "small")


def is_large(model: str, stem: str, sides: Sequence[int], known: Sequence[str] = STEMS) -> bool:
    """Whether the first layers are those of the paper: asked for, or the shorter side has SMALL_SIDE pixels."""
    if stem not in known:
        raise ConfigError(
            "The stem of {model} must be one of {known}; received {stem!r}.{hint}",
            model=model, known=", ".join(known), stem=stem, hint=nearest(stem, known),
        )  # fmt: skip
    return stem == "large" or (stem == "auto" and min(sides) >= SMALL_SIDE)


def convolution(inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the side (or divides it by `stride`), initialised by He et al. 2015 (arXiv:1502.01852, eq. 10)."""
    layer = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, groups=groups, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if bias and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Resample(nn.Module):
    """(B, C, H, W) -> (B, C, side, side): averaged where it shrinks (as AdaptiveAvgPool2d), the same where it fits already."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW if x_BCHW.shape[2:] == (self.side, self.side) else F.adaptive_avg_pool2d(x_BCHW, self.side)
