"""Rows that a council learns from and is judged by (train/council.py).

Legend: N rows, P logits of one goal, S logits side by side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.contract import Goal
from duomo.core.tensors import Batch

FEW, FOLDS, LEAST = 2000, 5, 10
"""Below so many training rows, so many folds; where fewer than `LEAST` know a target, the network is left alone."""
CELLS, AT_ONCE = 2 * 10**7, 256
"""Most cells that are looked at, and rows at a time."""

Parts = list[tuple[np.ndarray, np.ndarray]]
"""Row numbers to learn from, and row numbers to be judged by."""


@dataclass(frozen=True)
class Rows:
    """Training rows, then validation rows, then, in the end, those of the test."""

    learned: int
    batch: Batch
    network: Tensor
    """(N - learned, S) what the network says of validation."""
    goals: Sequence[Goal]
    apart: bool
    ends: float
    prior: tuple[float, float, float]
    """Shares of network, trees and line that nothing speaks against."""
    firm: float
    """As many rows or so hold it."""
    groups: np.ndarray | None = None
    """(learned,) the number of each training row's group (-1: none) or block of neighbours, where the split holds them together."""

    def taught(self, goal: Goal) -> bool:
        """Whether there is enough to learn it from, and to judge it by."""
        rows = np.flatnonzero(goal.known[: self.learned])
        return len(rows) >= LEAST and len(np.unique(goal.values[rows])) > 1 and bool(goal.known[self.learned :].any())

    def parts(self, goal: Goal, most: int) -> Parts:
        """Folds of few rows; else the training rows against the validation."""
        rows = np.flatnonzero(goal.known[: self.learned])
        if self.learned >= FEW or (self.apart and self.groups is None):
            fold = None
        else:
            fold = _dealt(goal, rows) if self.groups is None else _grouped(goal, rows, self.groups[rows])
        if fold is None:
            return [(spread(rows, most), self.learned + np.flatnonzero(goal.known[self.learned :]))]
        return [(rows[fold != one], rows[fold == one]) for one in range(FOLDS)]

    def whole(self, goal: Goal, most: int) -> np.ndarray:
        return spread(np.flatnonzero(goal.known[: self.learned]), most)

    @property
    def count(self) -> int:
        return len(self.goals[0].values)

    def every(self, goal: Goal, most: int) -> np.ndarray:
        """The rows to learn from in the end: all, or as large a part of them as `most` is of the training rows."""
        return spread(np.flatnonzero(goal.known), most * self.count // self.learned)

    def more(self, batch: Batch, goals: Sequence[Goal], ends: float) -> "Rows":
        """The same rows and others behind them; `goals` are of all."""
        return replace(self, batch=batch, goals=goals, ends=ends)


def _dealt(goal: Goal, rows: np.ndarray) -> np.ndarray:
    """(N,) the fold of each of these rows, drawn by chance, every class dealt out evenly."""
    order = np.random.default_rng(0).permutation(len(rows))
    order = order[np.argsort(goal.values[rows[order]], kind="stable")] if goal.kind == "class" else order
    fold = np.empty(len(rows), np.int64)
    fold[order] = np.arange(len(rows)) % FOLDS
    return fold


def _grouped(goal: Goal, rows: np.ndarray, group_N: np.ndarray) -> np.ndarray | None:
    """The same, rows of one group in one fold, about as many in each; none where too few groups, or all of a class in one, forbid it."""
    alone_N = group_N.max() + 1 + np.arange(len(group_N))
    _, place_N, size_G = np.unique(np.where(group_N < 0, alone_N, group_N), return_inverse=True, return_counts=True)
    fold_G, taken = np.zeros(len(size_G), np.int64), np.zeros(FOLDS, np.int64)
    for group in np.argsort(-size_G, kind="stable"):
        fold_G[group] = taken.argmin()
        taken[fold_G[group]] += size_G[group]
    fold = fold_G[place_N]
    least = len(np.unique(goal.values[rows])) if goal.kind == "class" else 2
    fits = all(len(np.unique(goal.values[rows[fold != one]])) >= least for one in range(FOLDS))
    return fold if fits and len(size_G) >= FOLDS else None


def even(parts: Sequence[Tensor]) -> list[Tensor]:
    """Tokens padded to the same length."""
    longest = max(part.shape[1] for part in parts) if parts[0].dim() > 1 else 0
    return [nn.functional.pad(part, (0, longest - part.shape[1])) if part.dim() > 1 else part for part in parts]


def whole(parts: Sequence[Batch]) -> Batch:
    """Batches as one."""
    return {name: torch.cat(even([part[name] for part in parts])) for name in parts[0]}


def nothing(*_: object) -> None:
    """What is done where there is nothing to do."""


@dataclass(frozen=True)
class Voice:
    """What a learner says: of rows held out of folds (None where there were none), and of validation."""

    held: Tensor | None
    valid: Tensor
    onward: Callable[[Rows], None]
    """Learns from all of these rows, as was chosen: those of before and others."""
    told: Sequence[Tensor] = ()
    """(N, S) for each text what trees may see of it."""
    penalties: Sequence[float] = ()
    """Of a line over cells alone: what was chosen for each goal."""


def slope(total: Tensor, free: Tensor) -> tuple[float, np.ndarray]:
    """A loss and its gradient by the leaf `free`, as SciPy's searches ask for them."""
    total.backward()
    assert free.grad is not None
    return float(total.detach()), free.grad.double().numpy()


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, from all over them."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def beside(answers: Sequence[np.ndarray]) -> Tensor:
    """(N, S) logits of all goals side by side from (N, P) of each."""
    return torch.from_numpy(np.concatenate(answers, 1)).float()


def loss(goal: Goal, said_NP: np.ndarray, rows: np.ndarray) -> float:
    """The goal's own loss of what is said of these rows, its mean: cross-entropy, squared or absolute error."""
    said, wanted = torch.from_numpy(said_NP), torch.from_numpy(goal.values[rows])
    weight = torch.from_numpy(goal.weight[rows])
    if goal.kind != "class":
        gaps = (said[:, 0] - wanted).abs()
        each = gaps if goal.kind == "median" else gaps.square()
    elif goal.size == 1:
        each = nn.functional.binary_cross_entropy_with_logits(said[:, 0], wanted.double(), reduction="none")
    else:
        each = nn.functional.cross_entropy(said, wanted, reduction="none")
    return float((each * weight).sum() / weight.sum().clamp(min=1e-9))
