"""Any mix of columns in one Transformer: every column becomes tokens, one trunk reads them all, one vector answers.

Legend: B rows, N tokens, T positions (of a film: frames), K clips of a film, C channels, H height, W width of a picture, D width.
Numbers and categories give one token per cell (Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data",
arXiv:2106.11959, the FT-Transformer); text, sound and series give up to `sequence_tokens` each, a picture up to
`picture_tokens`, the frames of a film's clip as many together. The trunk is a pre-norm Transformer encoder (Xiong et al. 2020,
arXiv:2002.04745); its first token belongs to no column, and its last state is what the head reads: logits (B, head.size), side by side
where the task has several targets. Where a film has several clips, a row is read once with each, and its logits are their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.attention import DropoutRates, EncoderBlock
from duomo.nn.audio import LogMel
from duomo.nn.council import council_of
from duomo.nn.fields import check_forms, check_per, inside, of_forms, within
from duomo.nn.norm import as_autocast
from duomo.nn.numeric import Categories, embed_numbers
from duomo.nn.tokens import Grouped, Patches

FORMS = ("numbers", "categories", "tokens", "pixels", "waveform", "frames", "clips")
TRAIN = {"learning_rate": 1e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 12, "patience": 5, "ema": 0.99}
FILM_TIMES = 8
"""Most tokens that one place of a film may take."""
Tokens = tuple[Tensor, Tensor]
"""(B, N, D) and bool (B, N): which tokens are there."""


@dataclass(frozen=True)
class Config:
    width: int = 128
    """Size of a token's vector."""
    depth: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads; the width must be a multiple."""
    dropout: float = 0.1
    """Dropout on each branch's output."""
    sequence_tokens: int = 64
    """Most tokens that one text, sound or series may take; longer ones are averaged in groups."""
    picture_tokens: int = 64
    """Most tokens that one picture or a clip of film may take."""
    bands: int = 64
    """Mel bands of a sound."""
    numbers: str = "piecewise"
    """Embedding of numbers: piecewise (bends at quantiles), periodic (sines), or line."""
    advice: bool = True
    """Fit boosted trees and a linear model over cells, sounds, texts and few pictures beside the network and weigh them with it."""


SIZES = {
    "small": Config(width=64, depth=2),
    "base": Config(),
    "large": Config(width=256, depth=6, heads=8, sequence_tokens=128),
}


class Cells(nn.Module):
    """Numbers or categories: one token per cell, marked by its column."""

    def __init__(self, field: Field, config: Config):
        super().__init__()
        numbers = field.form == "numbers"
        self.embed = (
            embed_numbers(field, config.width, config.numbers) if numbers else Categories(field.vocabulary, config.width, scale=0.1)
        )
        self.column_ND = nn.Parameter(torch.randn(field.shape[0], config.width) * 0.1)

    def forward(self, batch: Batch, name: str) -> Tokens:
        x_BND = self.embed(batch[name]) + self.column_ND
        return x_BND, x_BND.new_ones(x_BND.shape[:2], dtype=torch.bool)


class Words(nn.Module):
    """Text: embedded, grouped."""

    def __init__(self, field: Field, config: Config):
        super().__init__()
        self.embed = nn.Embedding(field.vocabulary[0], config.width, padding_idx=0)
        self.grouped = Grouped(field.shape[0], config.sequence_tokens, config.width)

    def forward(self, batch: Batch, name: str) -> Tokens:
        return self.grouped(self.embed(batch[name]), inside(batch, name))


class Series(nn.Module):
    """Frames: a linear map, grouped."""

    def __init__(self, field: Field, config: Config):
        super().__init__()
        self.embed = nn.Linear(field.shape[1], config.width)
        self.grouped = Grouped(field.shape[0], config.sequence_tokens, config.width)

    def forward(self, batch: Batch, name: str) -> Tokens:
        return self.grouped(self.embed(batch[name]), inside(batch, name))


class Sound(nn.Module):
    """A waveform: log-mel bands, a linear map, grouped."""

    def __init__(self, field: Field, config: Config):
        super().__init__()
        self.mel = LogMel(int(field.facts["rate"]), config.bands, "level")
        self.embed = nn.Linear(config.bands, config.width)
        self.grouped = Grouped(1 + field.shape[0] // self.mel.hop, config.sequence_tokens, config.width)

    def forward(self, batch: Batch, name: str) -> Tokens:
        x_BTC, length_B = self.mel(batch[name], batch[f"{name}.length"])
        return self.grouped(self.embed(x_BTC), within(length_B, x_BTC.shape[1]))


class Picture(nn.Module):
    """Pixels: convolutions down to a small grid."""

    def __init__(self, field: Field, config: Config):
        super().__init__()
        self.patches = Patches(field.shape, config.picture_tokens, config.width)

    def forward(self, batch: Batch, name: str) -> Tokens:
        x_BND = self.patches(batch[name])
        return x_BND, x_BND.new_ones(x_BND.shape[:2], dtype=torch.bool)


class Film(nn.Module):
    """One clip (B, 1, T, C, H, W): each frame between its neighbours as a picture is (motion is seen by the first layer: Karpathy et al.
    2014, "Large-scale Video Classification with Convolutional Neural Networks", early fusion), then each place grouped over time.
    """

    def __init__(self, field: Field, config: Config):
        super().__init__()
        frames, channels, *sides = field.shape
        times = min(frames, FILM_TIMES)
        self.patches = Patches((3 * channels, *sides), max(1, config.picture_tokens // times), config.width)
        self.grouped = Grouped(frames, times, config.width)

    def forward(self, batch: Batch, name: str) -> Tokens:
        x_BTCHW = batch[name][:, 0]
        around = torch.cat([x_BTCHW[:, :1], x_BTCHW, x_BTCHW[:, -1:]], 1)
        near_BTCHW = torch.cat([around[:, :-2], x_BTCHW, around[:, 2:]], 2)
        x_BTND = self.patches(near_BTCHW.flatten(0, 1)).unflatten(0, x_BTCHW.shape[:2])
        x_BNTD = x_BTND.transpose(1, 2)
        x_MTD = x_BNTD.flatten(0, 1)  # M: the places of all rows
        x_MTD, inside_MT = self.grouped(x_MTD, x_MTD.new_ones(x_MTD.shape[:2], dtype=torch.bool))
        return x_MTD.unflatten(0, x_BNTD.shape[:2]).flatten(1, 2), inside_MT.unflatten(0, x_BNTD.shape[:2]).flatten(1)


READERS = {"numbers": Cells, "categories": Cells, "tokens": Words, "frames": Series, "waveform": Sound, "pixels": Picture, "clips": Film}


class Model(nn.Module):
    """Any fields -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("fusion", inputs, FORMS)
        check_per("fusion", head)
        self.names, self.films = list(inputs), of_forms(inputs, "clips")
        self.readers = nn.ModuleList(READERS[field.form](field, config) for field in inputs.values())
        # where a cell is missing or a text empty, nothing of the column is left: this vector still says which columns are read
        self.first_D = nn.Parameter(torch.randn(config.width) * 0.02)
        self.field_FD = nn.Parameter(torch.randn(len(inputs), config.width) * 0.02)
        rates = DropoutRates(0.0, config.dropout, config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, 0, rates) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, head.size)
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        logits_BS = self._films(batch)
        return self.council(batch, logits_BS) if self.council and not self.training else logits_BS

    def _films(self, batch: Batch) -> Tensor:
        clips = max((batch[name].shape[1] for name in self.films), default=1)
        if clips == 1:
            return self._logits(batch)
        each = {name: value if name in self.films else value.repeat_interleave(clips, 0) for name, value in batch.items()}
        for name in self.films:  # of two films with unlike numbers of clips, the shorter one begins again
            each[name] = batch[name][:, torch.arange(clips) % batch[name].shape[1]].flatten(0, 1).unsqueeze(1)
        return self._logits(each).unflatten(0, (-1, clips)).mean(1)

    def _logits(self, batch: Batch) -> Tensor:
        rows = batch[self.names[0]].shape[0]
        parts = [self.first_D.expand(rows, 1, -1)]
        masks = [torch.ones(rows, 1, dtype=torch.bool, device=self.first_D.device)]
        for i, (name, reader) in enumerate(zip(self.names, self.readers, strict=True)):
            x_BND, inside_BN = reader(batch, name)
            parts.append((x_BND + self.field_FD[i]).to(parts[0].dtype))
            masks.append(inside_BN)
        x_BND, inside_BN = as_autocast(torch.cat(parts, 1)), torch.cat(masks, 1)
        for block in self.blocks:
            x_BND = block(x_BND, inside_BN)
        return self.head(self.norm(x_BND[:, 0]))
