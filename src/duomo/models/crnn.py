"""CRNN: convolutions over log-mel bands, then recurrent layers that read in both directions; for CTC or for whole recordings.

Legend: B rows, T steps, M mel bands, C convolution channels, D width of a step (twice the hidden size), E emissions of a step.
Sources: Shi et al. 2015, arXiv:1507.05717 (figure 1), and Amodei et al. 2015, "Deep Speech 2", arXiv:1512.02595 (section 3).
Departures: LayerNorm instead of BatchNorm, so that a row never depends on its batch mates; residual recurrent layers; and E
emissions from each step of 40 ms, so that fast speech finds room for its characters at a quarter of the cost.

Answers per step: Steps(logits (B, T·E, size), lengths (B,)). Per row: (B, size), from the mean over steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from duomo.core.contract import Field, Head, Steps
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.audio import LogMel, Shorten, spec_augment
from duomo.nn.dropout import Dropout
from duomo.nn.fields import masked_mean, single, within
from duomo.nn.norm import as_autocast
from duomo.nn.recurrent import CELLS, Recurrent

FORMS = ("waveform",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 16, "weight_decay": 1e-2, "epochs": 100, "ema": 0.99}


@dataclass(frozen=True)
class Config:
    cell: str = "lstm"
    """rnn, lstm or gru."""
    hidden: int = 160
    """Size of a recurrent layer in each direction."""
    depth: int = 3
    """Recurrent layers."""
    channels: int = 24
    """Channels of the two convolutions that shorten the sound to a quarter."""
    bands: int = 64
    """Mel bands of a frame of 10 ms."""
    faint: float = 0.0
    """Share of a recording's mean power below which a band counts as silent, so that loud and quiet recordings sound alike. 0: what is
    below -60 dB of a full-scale sine."""
    emissions: int = 2
    """Outputs of a step of 40 ms; more of them leave room for faster speech. For answers per step only."""
    dropout: float = 0.3
    """Dropout on each layer's output."""


SIZES = {
    "small": Config(hidden=128, depth=2),
    "base": Config(),
    "large": Config(hidden=320, depth=5, channels=32, bands=80),
}


class Model(nn.Module):
    """One waveform -> Steps for CTC (head.per "step"), or logits (B, head.size) (head.per "row")."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        if config.cell not in CELLS:
            raise ConfigError("A recurrent cell must be one of {known}; received {name!r}.", known=", ".join(CELLS), name=config.cell)
        self.name, field = single("crnn", inputs, FORMS)
        self.size, self.emissions = head.size, config.emissions if head.per == "step" else 1
        self.per, width = head.per, 2 * config.hidden
        self.mel = LogMel(int(field.facts["rate"]), config.bands, "bands" if head.per == "step" else "level", False, config.faint)
        self.shorten = Shorten(config.bands, config.channels, width, normed=True)
        self.layers = nn.ModuleList(Recurrent(config.cell, width, (config.hidden,), True, 0.0) for _ in range(config.depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.depth))
        self.dropout, self.head = Dropout(config.dropout), nn.Linear(width, head.size * self.emissions)

    def forward(self, batch: Batch) -> Tensor | Steps:
        x_BTM, length_B = self.mel(batch[self.name], batch[f"{self.name}.length"])
        if self.training and "specaugment" in batch:
            x_BTM = spec_augment(x_BTM, length_B)
        x_BTD, length_B = self.shorten(x_BTM, length_B)
        x_BTD = self.dropout(as_autocast(x_BTD))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x_BTD = x_BTD + self.dropout(as_autocast(norm(layer(x_BTD, length_B))))
        if self.per == "step":
            logits = self.head(x_BTD)
            return Steps(logits.unflatten(2, (self.emissions, self.size)).flatten(1, 2), length_B * self.emissions)
        return self.head(masked_mean(x_BTD.float(), within(length_B, x_BTD.shape[1])))
