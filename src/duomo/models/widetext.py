"""Wide and deep text: a linear model on hashed n-grams beside a convolutional reader of the order of tokens; logits are summed.

Legend: B rows, T positions, D width, S head size, G n-grams of one order.
The wide side remembers which phrases speak for which answer, as logistic regression on n-grams does; the deep side generalises
over neighbours in an embedding space. Sources: Cheng et al. 2016, "Wide & Deep Learning", arXiv:1606.07792; the hashed bag is that of
Joulin et al. 2017 (arXiv:1607.01759, section 2.2); the reader is Kim 2014 (arXiv:1408.5882) over tokens in context.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.fields import check_forms, check_per_row, inside

FORMS = ("tokens",)
TRAIN = {"learning_rate": 2e-3, "batch_size": 64, "weight_decay": 5e-2, "epochs": 8, "patience": 3, "ema": 0.995}
PRIME = 1_000_003


@dataclass(frozen=True)
class Config:
    orders: int = 3
    """Longest n-gram of the wide side: 3 takes single tokens, pairs and triples."""
    buckets: int = 2**18
    """Places that the n-grams of each order above one are hashed to."""
    width: int = 128
    """Size of a token's embedding and of each kernel's output in the deep side; 0 leaves the deep side out."""
    kernels: tuple[int, ...] = (2, 3, 4, 5)
    """Widths of the deep side's convolutions."""
    dropout: float = 0.5
    """Part of the deep side's features set to zero in training."""
    forget: float = 0.3
    """Part of the n-grams left out of the wide side in training."""


SIZES = {
    "small": Config(buckets=2**16, width=64, kernels=(2, 3, 4)),
    "base": Config(),
    "large": Config(buckets=2**20, width=256),
}


class Wide(nn.Module):
    """int64 (B, T) -> (B, S): the mean-like sum of the n-grams' weight vectors, over the root of their number."""

    def __init__(self, vocabulary: int, config: Config, size: int):
        super().__init__()
        self.buckets, self.forget = config.buckets, config.forget
        sizes = [vocabulary] + [config.buckets + 1] * (config.orders - 1)
        self.bags = nn.ModuleList(nn.EmbeddingBag(places, size, mode="sum", padding_idx=0) for places in sizes)
        for weight in self.bags.parameters():
            nn.init.zeros_(weight)

    def forward(self, tokens_BT: Tensor, length_B: Tensor) -> Tensor:
        total_BS = self.bags[0](self._some(tokens_BT))
        code_BG = tokens_BT
        for order, bag in enumerate(self.bags[1:], start=2):
            if tokens_BT.shape[1] < order:
                break
            following_BG = tokens_BT[:, order - 1 :]
            code_BG = code_BG[:, :-1] * PRIME + following_BG
            place_BG = torch.where(following_BG > 0, code_BG % self.buckets + 1, 0)
            total_BS = total_BS + bag(self._some(place_BG))
        return total_BS / (length_B.clamp(min=1) * len(self.bags)).sqrt().unsqueeze(1).to(total_BS.dtype)

    def _some(self, place_BG: Tensor) -> Tensor:
        """In training some n-grams are hidden, so that no single phrase is leaned on."""
        if not self.training or not self.forget:
            return place_BG
        return torch.where(torch.rand(place_BG.shape, device=place_BG.device) < self.forget, 0, place_BG)


class Deep(nn.Module):
    """int64 (B, T) -> (B, S): convolutions over embeddings, the greatest value of each over the positions, a linear map."""

    def __init__(self, vocabulary: int, config: Config, size: int):
        super().__init__()
        width = config.width
        self.embed = nn.Embedding(vocabulary, width, padding_idx=0)
        nn.init.normal_(self.embed.weight, std=0.1)
        with torch.no_grad():
            self.embed.weight[0] = 0.0
        self.convolve = nn.ModuleList(nn.Conv1d(width, width, kernel, padding=kernel // 2) for kernel in config.kernels)
        self.drop_in, self.drop_out = nn.Dropout(config.dropout / 2), nn.Dropout(config.dropout)
        self.out = nn.Linear(2 * width * len(config.kernels), size)

    def forward(self, tokens_BT: Tensor, inside_BT: Tensor) -> Tensor:
        x_BDT = self.drop_in(self.embed(tokens_BT)).transpose(1, 2)
        outside_B1T = ~inside_BT.unsqueeze(1)
        found = []
        for convolve in self.convolve:
            y_BDT = F.relu(convolve(x_BDT))[:, :, : tokens_BT.shape[1]].masked_fill(outside_B1T, 0.0)
            count_B1 = inside_BT.sum(1, keepdim=True).clamp(min=1)
            found += [y_BDT.amax(dim=2), y_BDT.sum(dim=2) / count_B1]
        return self.out(self.drop_out(torch.cat(found, dim=1)))


class Model(nn.Module):
    """One or several token fields -> logits (B, head.size)."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("widetext", inputs, FORMS)
        check_per_row("widetext", head)
        self.names = list(inputs)
        sizes = [field.vocabulary[0] for field in inputs.values()]
        self.wide = nn.ModuleList(Wide(vocabulary, config, head.size) for vocabulary in sizes)
        self.deep = nn.ModuleList(Deep(vocabulary, config, head.size) for vocabulary in sizes if config.width)
        self.bias_S = nn.Parameter(torch.zeros(head.size))

    def forward(self, batch: Batch) -> Tensor:
        logits_BS = self.bias_S
        for place, name in enumerate(self.names):
            logits_BS = logits_BS + self.wide[place](batch[name], batch[f"{name}.length"])
            if self.deep:
                logits_BS = logits_BS + self.deep[place](batch[name], inside(batch, name))
        return logits_BS
