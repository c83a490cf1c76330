"""Recurrent layers over padded rows.

Legend: B rows, T positions, D width in, H hidden size.
Rows are never packed: one direction reads a row before its padding, so the states at true places are right as they are;
the other reads each row reversed within its own length.
"""

from typing import Any

import torch
from torch import Tensor, nn

from duomo.nn.dropout import Dropout

CELLS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def layer(cell: str, width: int, hidden: int) -> nn.RNNBase:
    """One layer with Xavier input and orthogonal recurrent weights, forget gates open (Jozefowicz et al. 2015).

    RNN and LSTM add two biases at the same place: the second one is no weight here but a constant zero.
    """
    made = CELLS[cell](width, hidden, batch_first=True)
    weights = dict(made.named_parameters())
    for gate in weights["weight_ih_l0"].data.split(hidden):
        nn.init.xavier_uniform_(gate)
    for gate in weights["weight_hh_l0"].data.split(hidden):
        nn.init.orthogonal_(gate)
    first, second = weights["bias_ih_l0"], weights["bias_hh_l0"]
    nn.init.zeros_(first)
    nn.init.zeros_(second)
    if cell == "lstm":
        first.data[hidden : 2 * hidden] = 1.0
    if cell != "gru":
        second.requires_grad_(False)
    return made


def reverse(x_BTD: Tensor, length_B: Tensor) -> Tensor:
    """Each row's true places in reverse order, padding where it was; twice is the identity."""
    place_BT = torch.arange(x_BTD.shape[1], device=x_BTD.device).expand(x_BTD.shape[:2])
    turned_BT = length_B.unsqueeze(1) - 1 - place_BT
    index_BT = torch.where(turned_BT >= 0, turned_BT, place_BT)
    return x_BTD.gather(1, index_BT.unsqueeze(2).expand_as(x_BTD))


def last(x_BTD: Tensor, length_B: Tensor) -> Tensor:
    """(B, D): the state at the last true place (the first place of an empty row)."""
    return x_BTD[torch.arange(x_BTD.shape[0], device=x_BTD.device), (length_B - 1).clamp(min=0)]


class Recurrent(nn.Module):
    """(B, T, D), lengths (B,) -> (B, T, H), or (B, T, 2 H) with both directions; stacked, dropout between the layers."""

    def __init__(self, cell: str, width: int, hidden: tuple[int, ...], both: bool, dropout: float):
        super().__init__()
        self.onward, self.backward_ = nn.ModuleList(), nn.ModuleList()
        for size in hidden:
            self.onward.append(layer(cell, width, size))
            if both:
                self.backward_.append(layer(cell, width, size))
            width = size * (2 if both else 1)
        self.dropout, self.width = Dropout(dropout), width

    def forward(self, x_BTD: Tensor, length_B: Tensor) -> Tensor:
        for number, onward in enumerate(self.onward):
            x_BTD = self.dropout(x_BTD) if number else x_BTD
            y_BTH = onward(x_BTD)[0]
            if len(self.backward_):
                other_BTH = self.backward_[number](reverse(x_BTD, length_B))[0]
                y_BTH = torch.cat([y_BTH, reverse(other_BTH, length_B)], 2)
            x_BTD = y_BTH
        return x_BTD

    def onwards(self, x_BTD: Tensor, states: list[Any]) -> Tensor:
        """(B, T, H) of the steps that follow on what `states` (one for each layer, None at the start; brought up to date) has read."""
        for number, onward in enumerate(self.onward):
            x_BTD, states[number] = onward(x_BTD, states[number])
        return x_BTD
