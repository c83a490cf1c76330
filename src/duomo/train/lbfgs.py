"""A straight line over more texts than pairs of them can be looked at (train/linear.py): descent by L-BFGS over all rows.

It begins where some of the rows have led, so few steps suffice; whatever comes later, the weights of least loss on validation are kept.
Source: Liu & Nocedal 1989, "On the Limited Memory BFGS Method".
Legend: N rows, F features of the cells, G places of n-grams, X = F + G, P logits of one goal.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from duomo.core.contract import Goal

STEPS, LOOK, HISTORY, TRIALS = 60, 5, 5, 20
"""Steps at most for a penalty, steps between two looks at validation, steps whose slopes are remembered, and lengths tried for a step."""
STILL = 5e-4
"""By so little of itself the loss falls between two looks where it is at its end."""


class Weights(NamedTuple):
    """What a line counts for a goal: of cells as they are spelled out, of words and n-grams (or numbers of pictures), and without any."""

    cells_FP: np.ndarray
    wide_GP: np.ndarray
    bias_P: np.ndarray


def descend(
    goal: Goal,
    x_NX: Any,
    rows: np.ndarray,
    start: Weights,
    penalties: Sequence[float],
    judge: Callable[[Weights], float] | None,
    ends: float,
) -> tuple[Weights, float]:
    """The weights of least `judge` on the way from `start` to where each penalty on half the squared weights leads, one after the other,
    and the penalty that led to them (to the start the last one); without a judge the last weights.

    `x_NX` are the features (CSR) of these rows of the goal; after `ends` no step begins.
    """
    cells, wide = len(start.cells_FP), [_bags(x_NX), _bags(x_NX.T.tocsr())]
    weight_XP = torch.from_numpy(np.concatenate([start.cells_FP, start.wide_GP])).float()
    bias_P = torch.from_numpy(start.bias_P).float()
    value_N, rate_N = torch.from_numpy(goal.values[rows]), torch.from_numpy(goal.weight[rows]).float().unsqueeze(1)
    best, found, led = judge(start) if judge else 0.0, start, penalties[-1]
    for penalty in penalties:
        solver = torch.optim.LBFGS([weight_XP, bias_P], max_iter=1, max_eval=TRIALS, history_size=HISTORY, line_search_fn="strong_wolfe")

        def slope(penalty: float = penalty) -> Tensor:
            loss, off_NP = _off(goal, _times(wide[0], weight_XP) + bias_P, value_N)
            off_NP = off_NP * rate_N
            weight_XP.grad, bias_P.grad = _times(wide[1], off_NP).add_(weight_XP, alpha=penalty), off_NP.sum(0)
            return (loss * rate_N).sum() + penalty / 2 * weight_XP.square().sum()

        losses = list[float]()
        for step in range(STEPS):
            if time.monotonic() > ends:
                return found, led
            loss = float(solver.step(slope))  # type: ignore[arg-type, no-untyped-call]
            if step % LOOK == 0:
                now = Weights(weight_XP[:cells].double().numpy(), weight_XP[cells:].double().numpy(), bias_P.double().numpy())
                judged = judge(now) if judge else best
                if judged < best or judge is None:
                    best, found, led = judged, now, penalty
                losses.append(loss)
                if len(losses) > 1 and losses[-2] - losses[-1] < STILL * losses[-2]:
                    break
    return found, led


def _bags(x: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Its own numbers, not copied: they are a hundred megabytes and more."""
    index, first = (torch.from_numpy(one.astype(np.int32, copy=False)) for one in (x.indices, x.indptr))
    return index, first, torch.from_numpy(x.data)


def _times(bags: tuple[Tensor, Tensor, Tensor], table: Tensor) -> Tensor:
    """The product of a sparse matrix and a dense one, three times as fast as by its own kernel."""
    index, first, value = bags
    return F.embedding_bag(index, table, first, mode="sum", per_sample_weights=value, include_last_offset=True)


def _off(goal: Goal, said_NP: Tensor, value_N: Tensor) -> tuple[Tensor, Tensor]:
    """The loss (N, 1) of each row, and its slope (N, P)."""
    if goal.kind != "class":
        gap_N1 = said_NP - value_N.float().unsqueeze(1)
        return gap_N1.square() / 2, gap_N1
    if goal.size == 1:
        wanted_N1 = value_N.float().unsqueeze(1)
        return F.binary_cross_entropy_with_logits(said_NP, wanted_N1, reduction="none"), said_NP.sigmoid() - wanted_N1
    off_NP = said_NP.softmax(1)
    off_NP[torch.arange(len(off_NP)), value_N] -= 1
    return F.cross_entropy(said_NP, value_N, reduction="none").unsqueeze(1), off_NP
