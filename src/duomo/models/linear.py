"""Linear models over any columns: logistic regression where the task classifies, linear regression where it predicts numbers.

Legend: B rows, T positions, C channels, S head size.
Every form of input becomes features, and the logits are a weighted sum of all features plus a bias: numbers as they are;
a weight vector per category; a weight vector per token (and per hashed pair of neighbours) summed and divided by the root
of the text's length; pixels one by one; frames and log-mel bands by their mean and deviation over time.
All weights start at zero: the fit is convex and needs no seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.audio import LogMel
from duomo.nn.fields import check_forms, check_per, inside, masked_mean, within
from duomo.nn.numeric import Categories

FORMS = ("numbers", "categories", "tokens", "pixels", "waveform", "frames")
TRAIN = {"learning_rate": 1e-2, "batch_size": 128, "weight_decay": 1e-3, "epochs": 30, "patience": 10, "ema": 0.0}
PRIME = 1_000_003


@dataclass(frozen=True)
class Config:
    bigrams: int = 0
    """Buckets for hashed pairs of neighbouring tokens; 0 leaves pairs out."""
    bands: int = 40
    """Mel bands of a sound."""


SIZES = {"small": Config(), "base": Config(bigrams=2**16), "large": Config(bigrams=2**18)}


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear map without bias that starts at zero."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def moments(x_BTC: Tensor, inside_BT: Tensor) -> Tensor:
    """(B, 2C): mean and deviation of each channel over the positions that are not padding."""
    mean_BC = masked_mean(x_BTC, inside_BT)
    variance_BC = masked_mean((x_BTC - mean_BC.unsqueeze(1)).square(), inside_BT)
    return torch.cat([mean_BC, (variance_BC + 1e-6).sqrt()], 1)


class BagOfTokens(nn.Module):
    """int64 (B, T) -> (B, S): the sum of the tokens' (and pairs') weight vectors over the root of their number."""

    def __init__(self, vocabulary: int, bigrams: int, size: int):
        super().__init__()
        self.bigrams = bigrams
        self.words = nn.EmbeddingBag(vocabulary, size, mode="sum", padding_idx=0)
        self.pairs = nn.EmbeddingBag(bigrams + 1, size, mode="sum", padding_idx=0) if bigrams else None
        for bag in (self.words, self.pairs):
            if bag is not None:
                nn.init.zeros_(bag.weight)

    def forward(self, tokens_BT: Tensor, length_B: Tensor) -> Tensor:
        out_BS = self.words(tokens_BT)
        if self.pairs is not None and tokens_BT.shape[1] > 1:
            left, right = tokens_BT[:, :-1], tokens_BT[:, 1:]
            pair_BT = (left * PRIME + right) % self.bigrams + 1
            out_BS = out_BS + self.pairs(torch.where((left > 0) & (right > 0), pair_BT, 0))
        return out_BS / length_B.clamp(min=1).sqrt().unsqueeze(1)


class Flat(nn.Module):
    """(B, C, H, W) -> (B, S): one weight per pixel, scaled so that one learning rate suits every picture size."""

    def __init__(self, shape: tuple[int, ...], size: int):
        super().__init__()
        count = shape[0] * shape[1] * shape[2]
        self.scale, self.weigh = count**-0.5, zero_linear(count, size)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.weigh(x_BCHW.flatten(1) * self.scale)


class Heard(nn.Module):
    """A waveform (B, S') -> (B, S) by mean and deviation of its log-mel bands."""

    def __init__(self, rate: int, bands: int, size: int):
        super().__init__()
        self.mel, self.weigh = LogMel(rate, bands, "level", augment=False), zero_linear(2 * bands, size)

    def forward(self, wave: Tensor, length_B: Tensor) -> Tensor:
        x_BTC, frames_B = self.mel(wave, length_B)
        return self.weigh(moments(x_BTC, within(frames_B, x_BTC.shape[1])))


def weigher(field: Field, config: Config, size: int) -> nn.Module:
    """The features of one field and their weights."""
    match field.form:
        case "numbers":
            return zero_linear(field.shape[0], size)
        case "categories":
            return Categories(field.vocabulary, size, scale=0.0)
        case "tokens":
            return BagOfTokens(field.vocabulary[0], config.bigrams, size)
        case "pixels":
            return Flat(field.shape, size)
        case "waveform":
            return Heard(int(field.facts["rate"]), config.bands, size)
        case _:
            return zero_linear(2 * field.shape[1], size)


class Model(nn.Module):
    """Any fields -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("linear", inputs, FORMS)
        check_per("linear", head)
        self.fields = [(name, field.form) for name, field in inputs.items()]
        self.weighers = nn.ModuleList(weigher(field, config, head.size) for field in inputs.values())
        self.bias_S = nn.Parameter(torch.zeros(head.size))

    def forward(self, batch: Batch) -> Tensor:
        logits_BS = self.bias_S
        for (name, form), weigh in zip(self.fields, self.weighers, strict=True):
            x = batch[name]
            if form == "categories":
                part_BS = weigh(x).sum(1)
            elif form in ("tokens", "waveform"):
                part_BS = weigh(x, batch[f"{name}.length"])
            else:
                part_BS = weigh(moments(x, inside(batch, name)) if form == "frames" else x)
            logits_BS = logits_BS + part_BS
        return logits_BS
