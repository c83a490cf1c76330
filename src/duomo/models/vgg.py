"""VGG: stacks of 3×3 convolutions, halved between stages, with or without batch norm.

Legend: B rows, C channels, H height, W width.
Source: Simonyan and Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556, table 1,
columns A (11), B (13), D (16) and E (19); batch norm (`_bn`) as in torchvision, whose parameter names these are.
Pooling comes before ReLU: the result is the same, with a quarter of the work. Pictures below 96 pixels are averaged over the last map,
and their dense layers are as wide as `dense_small`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import single
from duomo.nn.pictures import Resample, convolution, is_large

FORMS = ("pixels",)
TRAIN = {"learning_rate": 1e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 20, "patience": 8, "ema": 0.998}


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...] = (1, 1, 2, 2, 2)
    """Convolutions of each stage; every stage ends by halving the picture."""
    width: int = 64
    """Channels of the first stage; they double with every stage, up to eight times as many."""
    batch_norm: bool = False
    """Normalise each channel over the batch after every convolution (arXiv:1502.03167)."""
    dense: int = 4096
    """Size of the two hidden layers before the head."""
    dense_small: int = 512
    """The same for pictures below 96 pixels."""
    dropout: float = 0.5
    """Dropout on the hidden layers."""
    stem: str = "auto"
    """Form: large (as published, 7×7 places before the dense layers), small (one place), or auto (by the picture's size)."""
    advice: bool = True
    """With few pictures, fit a linear model over edges and colours beside the network and weigh it with it."""


_11, _13 = Config(), Config(blocks=(2, 2, 2, 2, 2))
_16, _19 = Config(blocks=(2, 2, 3, 3, 3)), Config(blocks=(2, 2, 4, 4, 4))
SIZES = {
    "small": Config(blocks=(1, 1, 1, 1), width=24, batch_norm=True, dense_small=128, dropout=0.2),
    "base": replace(_11, batch_norm=True),
    "large": replace(_16, batch_norm=True),
    "11": _11,
    "13": _13,
    "16": _16,
    "19": _19,
    "11_bn": replace(_11, batch_norm=True),
    "13_bn": replace(_13, batch_norm=True),
    "16_bn": replace(_16, batch_norm=True),
    "19_bn": replace(_19, batch_norm=True),
}


class Model(nn.Module):
    """One field of pixels (B, C, H, W) -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        self.name, field = single("vgg", inputs, FORMS, head)
        channels, *sides = field.shape
        large, side = is_large("vgg", config.stem, sides), min(sides)
        layers: list[nn.Module] = []
        for stage, count in enumerate(config.blocks):
            width = config.width * min(2**stage, 8)
            for place in range(count):
                layers.append(convolution(channels, width, 3, bias=True))
                layers += [nn.BatchNorm2d(width)] if config.batch_norm else []
                if place == count - 1:
                    # two places are kept, so that a batch of one has something to normalise over
                    pools = large or side >= 4
                    layers.append(nn.MaxPool2d(2) if pools else nn.Identity())
                    side = side // 2 if pools else side
                layers.append(nn.ReLU())
                channels = width
        self.features = nn.Sequential(*layers)
        kept, dense = (7, config.dense) if large else (1, config.dense_small)
        self.avgpool = Resample(kept)
        self.classifier = nn.Sequential(
            nn.Linear(channels * kept * kept, dense), nn.ReLU(), Dropout(config.dropout),
            nn.Linear(dense, dense), nn.ReLU(), Dropout(config.dropout), nn.Linear(dense, head.size),
        )  # fmt: skip
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        logits_BS = self.classifier(self.avgpool(self.features(batch[self.name])).flatten(1))
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS
