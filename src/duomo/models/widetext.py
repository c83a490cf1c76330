"""Text, with or without table cells beside it: one wide member weighs hashed n-grams, a few deep members pool their vectors.

The wide member is logistic regression on TF-IDF of n-grams, learned with the rest; a deep member sums the vectors of the n-grams that
begin at each position and reads the greatest and the mean value over the positions. Each learns by itself; the answer is half the
wide one's logits and half the mean of the deep ones', for the two kinds err differently. Cells (numbers, dates, categories) are
embedded once and read by every member.

Legend: B rows, T positions, P places of n-grams in a row, D width of a deep member, K deep members, C size of all cells,
H hidden units over them, S head size.
Sources: Joulin et al. 2017, "Bag of Tricks", arXiv:1607.01759, section 2.2 (hashed n-grams, mean); Shen et al. 2018, arXiv:1805.09843,
section 3.2 (greatest value beside the mean); Cheng et al. 2016, "Wide & Deep", arXiv:1606.07792 (there the logits are learned jointly).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.tensors import Batch
from duomo.nn.council import council_of
from duomo.nn.fields import check_forms, check_per, inside, masked_mean, of_forms
from duomo.nn.numeric import Categories, embed_numbers

FORMS = ("tokens", "numbers", "categories")
TRAIN = {"learning_rate": 5e-3, "batch_size": 64, "weight_decay": 2e-1, "epochs": 3, "ema": 0.98}
PRIME, SPREAD, MODULUS = 1_000_003, 2_654_435_761, 2**31 - 1
MOST_WIDE = 2**22
"""Weights of the wide member's table: with many classes it gets fewer places."""


@dataclass(frozen=True)
class Config:
    orders: int = 4
    """Longest n-gram of the wide member: 4 takes single tokens, pairs, triples and fours."""
    places: int = 2**18
    """Places that the wide member's n-grams are hashed to (fewer where there are many classes)."""
    gain: float = 12.0
    """How fast the wide member learns beside the deep ones."""
    wide_forget: float = 0.3
    """Part of the wide member's n-grams left out in training."""
    members: int = 2
    """Deep members; 0 leaves the wide one alone."""
    deep_orders: int = 3
    """Longest n-gram of the deep members."""
    buckets: int = 2**17
    """Places that the deep members' n-grams of each order above one are hashed to."""
    width: int = 16
    """Size of an n-gram's vector in one deep member."""
    dropout: float = 0.3
    """Part of the pooled features set to zero in training; a third of it for the positions' vectors."""
    forget: float = 0.1
    """Part of the deep members' n-grams above one token left out in training, so that no single phrase is leaned on."""
    cell_dim: int = 8
    """Size of one cell's embedding."""
    cell_width: int = 32
    """Units of the hidden layer over all cells."""
    advice: bool = True
    """Fit a linear model over letters and cells, and boosted trees over the cells, beside the network and weigh them with it."""


SIZES = {
    "small": Config(buckets=2**16),
    "base": Config(),
    "large": Config(places=2**19, members=4, buckets=2**19),
}


def n_grams(tokens_BT: Tensor, orders: int) -> list[Tensor]:
    """For each order a number (B, T) for the n-gram that begins at each position; -1 where it would reach into the padding."""
    found, code_BT, following_BT = [torch.where(tokens_BT > 0, tokens_BT, -1)], tokens_BT, tokens_BT
    for _ in range(orders - 1):
        following_BT = F.pad(following_BT[:, 1:], (0, 1))
        code_BT = (code_BT * PRIME + following_BT) % MODULUS
        found.append(torch.where(following_BT > 0, code_BT, -1))
    return found


def forgotten(place: Tensor, share: float) -> Tensor:
    """`place` with that share of it set to 0, which is nowhere."""
    return place.masked_fill(torch.rand(place.shape, device=place.device) < share, 0)


class Wide(nn.Module):
    """n-grams -> logits (B, S): each row's TF-IDF, of length one, times a weight for every n-gram and class.

    How frequent an n-gram is, p, is counted while training. Adam moves the weight of an n-gram by about 1/sqrt(p) as much as plain
    gradient descent would, so rare n-grams would be learned by heart where logistic regression leaves them small. Therefore the
    input of weight w is idf² sqrt(p) instead of idf: in sum the logits move as they do under gradient descent on idf.
    """

    seen_P: Tensor
    rows: Tensor

    def __init__(self, size: int, config: Config):
        super().__init__()
        self.places = max(1, min(config.places, MOST_WIDE // max(1, size)))
        self.gain, self.forget = config.gain, config.wide_forget
        self.weight_PS = nn.Parameter(torch.zeros(self.places + 1, size))
        self.register_buffer("seen_P", torch.zeros(self.places + 1))
        self.register_buffer("rows", torch.zeros(()))

    def forward(self, grams: list[Tensor]) -> Tensor:
        hashed = [torch.where(code >= 0, (code + order) * SPREAD % MODULUS % self.places + 1, 0) for order, code in enumerate(grams)]
        place_BP = torch.cat(hashed, 1)
        if self.training:
            self._count(place_BP)
        share_BP = (self.seen_P[place_BP] + 0.5).div(self.rows + 1).clamp(max=1)
        if self.training and self.forget:
            place_BP = forgotten(place_BP, self.forget)
        idf_BP = (1 - share_BP.log()) * (place_BP > 0)
        length_B1 = idf_BP.square().sum(1, keepdim=True).clamp(min=1e-6).sqrt()
        input_BP = idf_BP.square() * share_BP.sqrt() * (self.gain / length_B1)
        return F.embedding_bag(place_BP, self.weight_PS, mode="sum", per_sample_weights=input_BP.to(self.weight_PS.dtype))

    @torch.no_grad()
    def _count(self, place_BP: Tensor) -> None:
        flat = place_BP.flatten()
        self.seen_P.index_add_(0, flat, torch.ones_like(flat, dtype=self.seen_P.dtype))
        self.rows.add_(place_BP.shape[0])


class Phrases(nn.Module):
    """n-grams (B, T) -> (B, T, K D): the sum of the vectors of the n-grams that begin at each position."""

    def __init__(self, vocabulary: int, config: Config):
        super().__init__()
        self.buckets, self.forget = config.buckets, config.forget
        sizes = [vocabulary] + [config.buckets + 1] * (config.deep_orders - 1)
        self.vectors = nn.ModuleList(nn.Embedding(places, config.members * config.width, padding_idx=0) for places in sizes)
        with torch.no_grad():
            for weight in self.vectors.parameters():
                weight.normal_(std=0.1)
                weight[0] = 0.0  # padding and forgotten n-grams add nothing

    def forward(self, tokens_BT: Tensor, grams: list[Tensor]) -> Tensor:
        x_BTW = self.vectors[0](tokens_BT)
        for vectors, code_BT in zip(list(self.vectors)[1:], grams[1:], strict=False):
            place_BT = torch.where(code_BT >= 0, code_BT % self.buckets + 1, 0)
            x_BTW = x_BTW + vectors(forgotten(place_BT, self.forget) if self.training and self.forget else place_BT)
        return x_BTW


class Cells(nn.Module):
    """Numbers and categories -> their embeddings (B, C) and a hidden layer over them (B, H); nothing where there are none."""

    def __init__(self, inputs: Mapping[str, Field], config: Config):
        super().__init__()
        dim = config.cell_dim
        self.numbers, self.categories = of_forms(inputs, "numbers"), of_forms(inputs, "categories")
        self.embed = nn.ModuleList(
            [embed_numbers(inputs[name], dim) for name in self.numbers]
            + [Categories(inputs[name].vocabulary, dim, scale=0.1) for name in self.categories]
        )
        self.size = dim * sum(inputs[name].shape[0] for name in self.numbers + self.categories)
        self.hidden = nn.Linear(self.size, config.cell_width) if self.size else None

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        if self.hidden is None:
            return None
        found = [embed(batch[name]).flatten(1) for name, embed in zip(self.numbers + self.categories, self.embed, strict=True)]
        cells_BC = torch.cat([cell.float() for cell in found], 1)
        return cells_BC, torch.relu(self.hidden(cells_BC))


class Model(nn.Module):
    """Any fields of tokens, numbers and categories -> logits (B, S); in training (B, 1 + K, S), the wide member first."""

    def __init__(self, config: Config, inputs: Mapping[str, Field], head: Head):
        super().__init__()
        check_forms("widetext", inputs, FORMS)
        check_per("widetext", head)
        self.names, self.config = of_forms(inputs, "tokens"), config
        self.cells = Cells(inputs, config)
        self.wide = nn.ModuleList(Wide(head.size, config) for _ in self.names)
        self.wide_cells = nn.Linear(self.cells.size, head.size) if self.cells.size else None
        self.wide_bias_S = nn.Parameter(torch.zeros(head.size))
        self.deep = nn.ModuleList(Phrases(inputs[name].vocabulary[0], config) for name in self.names if config.members)
        self.drop_in, self.drop_out = nn.Dropout(config.dropout / 3), nn.Dropout(config.dropout)
        features = 2 * config.width * len(self.names) + (self.cells.size + config.cell_width if self.cells.size else 0)
        bound = features**-0.5
        self.out_KFS = nn.Parameter(torch.empty(config.members, features, head.size).uniform_(-bound, bound))
        self.bias_KS = nn.Parameter(torch.zeros(config.members, head.size))
        self.council = council_of(inputs, head.size, config.advice)

    def forward(self, batch: Batch) -> Tensor:
        orders = max(self.config.orders, self.config.deep_orders)
        grams = {name: n_grams(batch[name], orders) for name in self.names}
        # float32: bfloat16 would round what the many small weights of the wide member add up to
        with torch.autocast(self.wide_bias_S.device.type, enabled=False):
            cells = self.cells(batch)
            wide_BS = self._wide(grams, cells)
            deep_BKS = self._deep(batch, grams, cells) if self.config.members else None
        if self.training:
            return wide_BS if deep_BKS is None else torch.cat([wide_BS.unsqueeze(1), deep_BKS], 1)
        logits_BS = wide_BS if deep_BKS is None else (wide_BS + deep_BKS.mean(1)) / 2
        return self.council(batch, logits_BS) if self.council else logits_BS

    def _wide(self, grams: Mapping[str, list[Tensor]], cells: tuple[Tensor, Tensor] | None) -> Tensor:
        logits_BS = self.wide_bias_S
        for name, wide in zip(self.names, self.wide, strict=True):
            logits_BS = logits_BS + wide(grams[name][: self.config.orders])
        return logits_BS + self.wide_cells(cells[0]) if self.wide_cells is not None and cells is not None else logits_BS

    def _deep(self, batch: Batch, grams: Mapping[str, list[Tensor]], cells: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, K, S)."""
        members, found = self.config.members, []
        for name, phrases in zip(self.names, self.deep, strict=True):
            x_BTW, inside_BT = self.drop_in(phrases(batch[name], grams[name])), inside(batch, name)
            greatest_BW = x_BTW.masked_fill(~inside_BT.unsqueeze(2), -1e4).amax(dim=1)
            greatest_BW = torch.where(inside_BT.any(dim=1, keepdim=True), greatest_BW, 0.0)
            found += [pooled_BW.unflatten(1, (members, -1)) for pooled_BW in (greatest_BW, masked_mean(x_BTW, inside_BT))]
        found += [cell_BC.unsqueeze(1).expand(-1, members, -1) for cell_BC in cells or ()]
        x_KBF = self.drop_out(torch.cat(found, 2)).transpose(0, 1)
        return torch.baddbmm(self.bias_KS.unsqueeze(1), x_KBF, self.out_KFS).transpose(0, 1)
