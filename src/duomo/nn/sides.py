"""Counts on both sides of a gap, beside a model that fills it: what followed the tokens before, and what preceded those after.

    tokens before ─── Kneser–Ney ─────────────── L(w) ─┐
    tokens after ──── Kneser–Ney, read backward ─ R(w) ─┼─ P(w) ∝ N(w)^a · L(w)^l · R(w)^r · U(w)^u ─> log ─> (N, V)
    all the text ──── network ────────────────── N(w) ─┤
    nothing ───────── single tokens ──────────── U(w) ─┘
Two independent sides give L · R / U. The powers of a gap (`Powers`) follow from what each side knows and how sure the network is: a
product of experts whose weights are a straight line of features (Hinton 2002; Heskes 1998). Tables and powers are fitted when the network
has learned (train/sides.py); until then they are empty and only the network speaks. All arithmetic is by rows. Legend: B rows,
T positions, N gaps, V vocabulary, K tokens on a side, F features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.nn.counts import AT_ONCE, Late, Tables, sureness

ORDER = 3
"""Tokens of the longest gram, the gap among them: four are no better (docs/experiments.md, "Filling gaps")."""
VOICES = 4
FEATURES = 2 * 4 * (ORDER - 1) + 2


class Powers(Late):
    """(N, F) -> (N, 4): the powers of network, left, right and single tokens; a line. `mask` (1,) is the token that stands in a gap."""

    level_2F: Tensor
    line_4F: Tensor
    base_4: Tensor
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("level_2F", "line_4F", "base_4"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("mask", torch.zeros(0, dtype=torch.int64))

    def forward(self, x_NF: Tensor) -> Tensor:
        x_NF = (x_NF - self.level_2F[0]) / self.level_2F[1]
        return (x_NF.unsqueeze(1) * self.line_4F).sum(2) + self.base_4


class Sides(nn.Module):
    """Tokens of rows and logits at some or all of their positions -> log-probabilities where there is a gap; other logits stay."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary = vocabulary
        self.left, self.right, self.powers = Tables(vocabulary, ORDER), Tables(vocabulary, ORDER), Powers()

    @property
    def fitted(self) -> bool:
        return len(self.powers.base_4) > 0

    def clear(self) -> None:
        self.left.clear()
        self.right.clear()
        self.powers.clear()

    def said(self, beside_2NK: Tensor, network_NV: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (4, N, V) of network, left, right and single tokens, and features (N, F)."""
        sides, told = [], []
        for tables, beside_NK in zip((self.left, self.right), beside_2NK, strict=True):
            found = tables.contexts(beside_NK)
            sides.append(tables.add(torch.zeros_like(network_NV), found, found.weight_NW[:, 1:].exp()).log())
            told.append(found.told_NF)
        alone = self.left.contexts(torch.full_like(beside_2NK[0, :1], -1))
        alone_V = self.left.add(torch.zeros_like(network_NV[:1]), alone, alone.weight_NW[:, 1:].exp()).log()
        return torch.stack([network_NV, *sides, alone_V.expand_as(network_NV)]), torch.cat([*told, sureness(network_NV)], 1)

    def forward(self, tokens_BT: Tensor, inside_BT: Tensor | None, wanted_BT: Tensor | None, logits: Tensor) -> Tensor:
        """`logits` (B, T, V), or (G, V) at the positions where `wanted_BT` is true; the same shape."""
        gap_BT = tokens_BT == self.powers.mask
        beside = around(torch.where(gap_BT, -1, tokens_BT if inside_BT is None else torch.where(inside_BT, tokens_BT, -1)))
        places = torch.ones_like(gap_BT) if wanted_BT is None else wanted_BT
        at, told_NV = gap_BT[places].nonzero().flatten(), logits.reshape(-1, self.vocabulary).float()
        rows = max(1, AT_ONCE // self.vocabulary)
        for some in at.split(rows):
            network_NV = told_NV[some].log_softmax(1)
            said_4NV, x_NF = self.said(beside[:, places][:, some], network_NV)
            told_NV[some] = (self.powers(x_NF).T.unsqueeze(2) * said_4NV).sum(0).log_softmax(1)
        return told_NV.view(logits.shape)


def around(known_BT: Tensor) -> Tensor:
    """(2, B, T, K): the tokens before each position, and those after it, the nearest last; -1 where there is none."""
    reach, steps = ORDER - 1, known_BT.shape[1]
    wide = functional.pad(known_BT, (reach, reach), value=-1)
    sides = [[wide[:, reach + step * away : reach + step * away + steps] for away in range(reach, 0, -1)] for step in (-1, 1)]
    return torch.stack([torch.stack(side, -1) for side in sides])


def sides_of(model: nn.Module) -> Sides | None:
    """The model's own; a trunk's have no say."""
    return next((one for one in model.children() if isinstance(one, Sides)), None)
