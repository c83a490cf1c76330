"""A plain multilayer perceptron over cells, pictures and series of a bounded length.

Legend: B rows, D features, T positions, C channels.
Numbers enter as they are, categories through an embedding, pixels and frames flattened (frames cut or filled to the
longest row seen in training). Layers are Linear, ReLU, dropout, initialised after He et al. 2015 (arXiv:1502.01852).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.dropout import Dropout
from duomo.nn.fields import check_forms, check_per
from duomo.nn.numeric import Categories

FORMS = ("numbers", "categories", "pixels", "frames")
TRAIN = {"learning_rate": 2e-3, "batch_size": 128, "weight_decay": 1e-2, "epochs": 40, "patience": 10, "ema": 0.99}


@dataclass(frozen=True)
class Config:
    width: int = 256
    """Units of each hidden layer."""
    depth: int = 2
    """Hidden layers."""
    dropout: float = 0.1
    """Dropout on the hidden units."""
    category_dim: int = 16
    """Size of one category's embedding."""


SIZES = {"small": Config(width=64), "base": Config(), "large": Config(width=1024, depth=3, dropout=0.2)}


class Model(nn.Module):
    """Fields of numbers, categories, pixels and frames -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("mlp", inputs, FORMS)
        check_per("mlp", head)
        self.fields = [(name, field.form, field.shape) for name, field in inputs.items()]
        self.categories = nn.ModuleList(
            Categories(field.vocabulary, config.category_dim) for field in inputs.values() if field.form == "categories"
        )
        features = sum(prod(shape) * (config.category_dim if form == "categories" else 1) for _, form, shape in self.fields)
        widths = [features] + [config.width] * config.depth
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            linear = nn.Linear(before, after)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU(), Dropout(config.dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], head.size)

    def forward(self, batch: Batch) -> Tensor:
        embeddings = iter(self.categories)
        parts: list[Tensor] = []
        for name, form, shape in self.fields:
            x = batch[name]
            if form == "categories":
                x = next(embeddings)(x)
            elif form == "frames":
                x = F.pad(x[:, : shape[0]], (0, 0, 0, max(0, shape[0] - x.shape[1])))
            parts.append(x.flatten(1).float())
        return self.head(self.body(torch.cat(parts, 1)))
