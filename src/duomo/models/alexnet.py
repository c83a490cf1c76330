"""AlexNet: five convolutions and three dense layers.

Legend: B rows, C channels, H height, W width.
Sources: Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks"; the widths are those of
its one-tower form, Krizhevsky 2014, arXiv:1404.5997, section 5 (61,100,840 weights at 224 pixels and 1,000 classes; without local
response normalisation, which later work found to do nothing). Parameter names are torchvision's, so that its weights load.
Pooling comes before ReLU: the result is the same, with a quarter of the work. Pictures below 96 pixels begin with a 5×5 window at full
side, and their dense layers are as wide as `dense_small`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.pictures import Resample, convolution, is_large

FORMS = ("pixels",)
TRAIN = {"learning_rate": 1e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 25, "patience": 8, "ema": 0.998}
WINDOWS = (5, 3, 3, 3)
POOLED = (0, 1, 4)
"""Convolutions that are followed by pooling."""


@dataclass(frozen=True)
class Config:
    channels: tuple[int, ...] = (64, 192, 384, 256, 256)
    """Channels of the five convolutions."""
    dense: int = 4096
    """Size of the two hidden layers before the head."""
    dense_small: int = 512
    """The same for pictures below 96 pixels."""
    dropout: float = 0.5
    """Dropout on the inputs of both hidden layers."""
    stem: str = "auto"
    """First layer: large (11×11, a quarter of the side), small (5×5, full side), or auto (by the picture's size)."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


SIZES = {
    "small": Config(channels=(32, 64, 128, 96, 96), dense_small=256, dropout=0.3),
    "base": Config(),
    "large": Config(dense_small=4096),
}


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("alexnet", inputs, FORMS, head)
        channels, *sides = field.shape
        large = is_large("alexnet", config.stem, sides)
        side, widths = min(sides), config.channels
        first = nn.Conv2d(channels, widths[0], 11, 4, padding=2) if large else convolution(channels, widths[0], 5, bias=True)
        nn.init.kaiming_normal_(first.weight, mode="fan_in", nonlinearity="relu")
        side = (side - 7) // 4 + 1 if large else side
        layers: list[nn.Module] = []
        for place, width in enumerate(widths):
            layers.append(first if place == 0 else convolution(widths[place - 1], width, WINDOWS[place - 1], bias=True))
            if place in POOLED:
                # a map of less than three places is left as it is
                layers.append(nn.MaxPool2d(3, 2) if side >= 3 else nn.Identity())
                side = (side - 3) // 2 + 1 if side >= 3 else side
            layers.append(nn.ReLU())
        self.features = nn.Sequential(*layers)
        kept = 6 if large else min(6, side)
        self.avgpool = Resample(kept)
        dense = config.dense if large else config.dense_small
        self.classifier = nn.Sequential(
            Dropout(config.dropout), nn.Linear(widths[-1] * kept * kept, dense), nn.ReLU(),
            Dropout(config.dropout), nn.Linear(dense, dense), nn.ReLU(), nn.Linear(dense, head.size),
        )  # fmt: skip
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        logits_BS = self.classifier(self.avgpool(self.features(batch[self.name])).flatten(1))
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
