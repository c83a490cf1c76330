"""A strong model for tables: embedded cells, waves over pairs of numbers, and an ensemble of MLPs in one pass.

Legend: B rows, N number columns, P pieces of a number column, M category columns, K members, D width, S head size.
Sources: Gorishniy, Kotelnikov and Babenko 2024, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
Ensembling", arXiv:2410.24210 (the variant with all adapters, section 3.3); the adapters are BatchEnsemble's
(Wen, Tran and Ba 2020, arXiv:2002.06715, eq. 1).

Output in training: (B, K, S), one answer per member: the loss is averaged over K, so that members learn apart.
Output in evaluation: (B, S), the mean of the members' logits, weighed with what trees and a line say (nn/council.py).
The mean of the members' probabilities would need to know which logits compete, and measured no better: on Adult both
name the same share of rows rightly (0.867).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.dropout import Dropout
from duomo.nn.fields import check_forms, check_per, of_forms
from duomo.nn.numeric import REACH, Categories, FourierFeatures, Piecewise, embed_numbers

FORMS = ("numbers", "categories")
FAR = 5.0
"""Deviations from the middle at which the straight line ends: one odd cell must not carry an answer away."""
TRAIN = {"learning_rate": 3e-3, "batch_size": 128, "weight_decay": 1e-1, "epochs": 16, "patience": 5, "ema": 0.99}


@dataclass(frozen=True)
class Config:
    members: int = 16
    """How many MLPs are trained at once; each shares the weights and has its own scales, biases and head."""
    width: int = 128
    """Units of each hidden layer."""
    depth: int = 2
    """Hidden layers."""
    dropout: float = 0.1
    """Dropout on the hidden units."""
    numbers: str = "piecewise"
    """Embedding of numbers: piecewise (bends at quantiles), periodic (sines), or line."""
    number_dim: int = 16
    """Size of one number's embedding."""
    category_dim: int = 8
    """Size of one category's embedding."""
    pace: float = 48.0
    """How many times faster the vectors at the bins' edges are learned than other weights (piecewise only)."""
    line: float = 0.0
    """How many times faster than other weights a straight line over the numbers, beside the ensemble, is learned; 0 leaves it out."""
    waves: int = 512
    """Waves over pairs of number columns (a place on a map); 0 leaves them out."""
    sigma: float = 0.4
    """Turns of such a wave for one deviation of a number, at the start."""

    advice: bool = True
    """Fit boosted trees and a linear model beside the trained network and weigh them with it."""


SIZES = {
    "small": Config(members=8, pace=1.0, waves=0),
    "base": Config(),
    "large": Config(members=32, width=256, number_dim=24, category_dim=16, waves=1024),
}


class EnsembleLinear(nn.Module):
    """(B, K, in) or (B, 1, in) -> (B, K, out): y_k = ((x ∘ r_k) W) ∘ s_k + b_k (BatchEnsemble, eq. 1)."""

    def __init__(self, members: int, inputs: int, outputs: int):
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.scale_in_KI = nn.Parameter(torch.ones(members, inputs))
        self.scale_out_KO = nn.Parameter(torch.ones(members, outputs))
        # all members start from one bias: what sets them apart is the first scale alone
        self.bias_KO = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound).repeat(members, 1))

    def forward(self, x_BKI: Tensor) -> Tensor:
        y_BKO = F.linear(x_BKI * self.scale_in_KI.to(x_BKI.dtype), self.weight)
        return torch.addcmul(self.bias_KO.to(y_BKO.dtype), y_BKO, self.scale_out_KO.to(y_BKO.dtype))


class Model(nn.Module):
    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("tabular", inputs, FORMS)
        check_per("tabular", head)
        self.number_names, self.category_names = of_forms(inputs, "numbers"), of_forms(inputs, "categories")
        self.numbers = nn.ModuleList(
            embed_numbers(inputs[name], config.number_dim, config.numbers, config.pace) for name in self.number_names
        )
        self.categories = nn.ModuleList(Categories(inputs[name].vocabulary, config.category_dim) for name in self.category_names)
        count = sum(inputs[name].shape[0] for name in self.number_names)
        self.waves = FourierFeatures(count, config.waves, config.sigma) if config.waves and count > 1 else None
        cells = [config.number_dim] * count + [config.category_dim] * sum(inputs[name].shape[0] for name in self.category_names)
        cells += [2] * (config.waves if self.waves else 0)
        widths = [sum(cells)] + [config.width] * config.depth
        self.line_NS = nn.Parameter(torch.zeros(count, head.size)) if config.line and count else None
        self.slope = config.line
        self.layers = nn.ModuleList(EnsembleLinear(config.members, a, b) for a, b in pairwise(widths))
        self.dropout = Dropout(config.dropout)
        self._set_apart(cells)
        bound = widths[-1] ** -0.5
        self.head_KDS = nn.Parameter(torch.empty(config.members, widths[-1], head.size).uniform_(-bound, bound))
        self.bias_KS = nn.Parameter(torch.empty(config.members, head.size).uniform_(-bound, bound))
        self.council = council_of(inputs, head.size, config.advice)

    def _set_apart(self, cells: list[int]) -> None:
        """Members start unlike by one random scale per cell: they see the columns in different strengths and signs (section 3.3)."""
        first = self.layers[0].scale_in_KI if len(self.layers) else None
        if isinstance(first, nn.Parameter):
            chosen = torch.randn(first.shape[0], len(cells)).repeat_interleave(torch.tensor(cells), 1)
            first.data.copy_(chosen)

    def _cells(self, batch: Batch) -> Tensor:
        """(B, 1, D): every embedded cell, and the waves over the numbers' ranks (over their values without bins)."""
        cells, places = [], []
        for name, embed in zip(self.number_names, self.numbers, strict=True):
            x_BN = batch[name]
            if isinstance(embed, Piecewise):
                pieces_BNP = embed.pieces(x_BN)
                cells.append(embed(x_BN, pieces_BNP).flatten(1))
                places.append(embed.rank(pieces_BNP))
            else:
                cells.append(embed(x_BN).flatten(1))
                places.append(x_BN.clamp(-REACH, REACH))
        cells += [embed(batch[name]).flatten(1) for name, embed in zip(self.category_names, self.categories, strict=True)]
        if self.waves is not None:
            cells.append(self.waves(torch.cat(places, 1)))
        return torch.cat([cell.to(cells[0].dtype) for cell in cells], 1).unsqueeze(1)

    def forward(self, batch: Batch) -> Tensor:
        x_BKD = self._cells(batch)
        for layer in self.layers:
            x_BKD = self.dropout(torch.relu(layer(x_BKD)))
        # float32 from here on: bfloat16 would round a regression's answer to three digits
        with torch.autocast(x_BKD.device.type, enabled=False):
            x_KBD = x_BKD.float().expand(-1, self.head_KDS.shape[0], -1).transpose(0, 1)
            out_BKS = torch.baddbmm(self.bias_KS.unsqueeze(1), x_KBD, self.head_KDS).transpose(0, 1)
            if self.line_NS is not None:  # bends at quantiles would have to be learned into one straight line, and end at the outermost
                x_BN = torch.cat([batch[name] for name in self.number_names], 1).float().clamp(-FAR, FAR)
                out_BKS = out_BKS + (self.slope * (x_BN @ self.line_NS)).unsqueeze(1)
        if self.training:
            return out_BKS
        return self.council(batch, out_BKS.mean(1)) if self.council else out_BKS.mean(1)
