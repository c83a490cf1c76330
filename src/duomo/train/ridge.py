"""A last layer by ridge regression in closed form, for many features of few rows.

What is regressed on is the slope of the task's loss where every output is zero: with squares the targets themselves, with classes one less
their share. The penalty, and the scale that makes outputs logits, are those of least loss over answers for which each row was left out
(Allen 1974, "PRESS"; Dempster et al. 2021, arXiv:2012.08791, section 3.3).
Legend: N rows, D features, S outputs.
"""

import torch
from torch import Tensor, nn

from duomo.core.contract import Task
from duomo.core.tensors import Batch

MOST = 2000
"""Rows that are solved for: the time goes with their cube."""
PENALTIES = torch.logspace(-2, 6, 17, dtype=torch.float64).tolist()
SCALES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
LEAST_SPREAD = 1e-3


def solve(task: Task, layer: nn.Linear, x_ND: Tensor, targets: list[Batch]) -> None:
    """Write the weights and the bias for the features as they are; `targets` are in the order of the rows, batch by batch."""
    sizes = [len(next(iter(batch.values()))) for batch in targets]
    kept = max(1, sum(1 for end in torch.tensor(sizes).cumsum(0).tolist() if end <= MOST))
    targets, x_ND = targets[:kept], x_ND[: sum(sizes[:kept])].double()
    mean_D, std_D = x_ND.mean(0), x_ND.std(0, correction=0).clamp(min=LEAST_SPREAD)
    x_ND = (x_ND - mean_D) / std_D

    def loss(out_NS: Tensor) -> Tensor:
        parts = out_NS.split(sizes[:kept])
        return torch.stack([task.loss(part, batch)[0] for part, batch in zip(parts, targets, strict=True)]).sum()

    zero_NS = torch.zeros(len(x_ND), layer.out_features, requires_grad=True)
    (slope_NS,) = torch.autograd.grad(loss(zero_NS), zero_NS)
    y_NS = -slope_NS.double()
    centre_S = y_NS.mean(0)
    values_N, vectors_NN = torch.linalg.eigh(x_ND @ x_ND.T)
    values_N = values_N.clamp(min=0)
    turned_NS = vectors_NN.T @ (y_NS - centre_S)
    best = (float("inf"), PENALTIES[-1], SCALES[0])
    for penalty in PENALTIES:
        share_N = values_N / (values_N + penalty)
        own_N = (vectors_NN.square() @ share_N + 1 / len(x_ND)).clamp(max=1 - 1e-6)
        fitted_NS = vectors_NN @ (share_N.unsqueeze(1) * turned_NS) + centre_S
        out_NS = (y_NS - (y_NS - fitted_NS) / (1 - own_N).unsqueeze(1)).float()
        with torch.no_grad():
            best = min(best, *((float(loss(scale * out_NS)), penalty, scale) for scale in SCALES))
    _, penalty, scale = best
    weight_DS = scale * (x_ND.T @ (vectors_NN @ (turned_NS / (values_N + penalty).unsqueeze(1)))) / std_D.unsqueeze(1)
    with torch.no_grad():
        layer.weight.copy_(weight_DS.T)
        if layer.bias is not None:
            layer.bias.copy_(scale * centre_S - mean_D @ weight_DS)
