"""Any model of (B, T, V) logits as a decoder: what it cannot remember it reads again, each row alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Texts:
    """The tokens of each row in place of keys and values (core/contract.py::Slots)."""

    rows: list[list[int]]
    first: int = 0
    lengths: tuple[int, ...] = ()

    def part(self, first: int, lengths: Sequence[int], ragged: bool = False) -> "Texts":
        return Texts(self.rows, first, tuple(lengths))

    def swap(self, one: int, other: int) -> None:
        self.rows[one], self.rows[other] = self.rows[other], self.rows[one]

    def copy(self, source: int, target: int, length: int) -> None:
        self.rows[target] = self.rows[source][:length]


class Reread:
    """A Decoder over `forward` of a model with one input of tokens."""

    def __init__(self, model: nn.Module):
        self.model = model

    def start(self, rows: int, positions: int) -> Texts:
        return Texts([[] for _ in range(rows)])

    def forward_cached(self, tokens: Tensor, cache: Texts) -> Tensor:
        found = []
        for number, (new, length) in enumerate(zip(tokens.tolist(), cache.lengths, strict=True), start=cache.first):
            cache.rows[number] = cache.rows[number][:length] + new
            window = torch.tensor([cache.rows[number]], device=tokens.device)
            batch = {"tokens": window, "tokens.length": torch.tensor([window.shape[1]], device=tokens.device)}
            found.append(self.model(batch)[:, -1:])
        return torch.cat(found)
