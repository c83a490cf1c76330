"""The head first: a new last layer is fitted to what weights that exist make of the rows, before all of them learn.

A head drawn at random pulls good weights out of shape while it learns itself (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution", arXiv:2202.10054, section 3.4: linear probing, then fine-tuning).
Legend: N rows, B rows of a batch, D features, S outputs.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.contract import Settles, Task
from duomo.core.tensors import Batch, Examples
from duomo.data.loader import finish
from duomo.train import ridge
from duomo.train.holdout import nothing, slope

Rows = list[tuple[Tensor, Batch]]
Solve = Callable[[Task, nn.Linear, Tensor, list[Batch]], None]
ROWS = 5000
"""Rows that a last layer is fitted to, spread over all of them."""
PRODUCTS = 10**9
"""Fewer rows where N × D × S would exceed this."""
PENALTIES = (30.0, 100.0, 300.0)
"""Weights of half the squared norm of the matrix, of standardised features, beside the sum of the losses: the one is taken that leaves the
least loss on every fifth row, fitted to the others."""
FIFTH, STEPS, AT_ONCE = 5, 100, 64
SETTLED = 64
"""Rows that a model is settled by."""


def last(model: nn.Module, new: list[str]) -> nn.Linear | None:
    """The linear layer that the new weights are, all of them and nothing else; None where they are not one layer."""
    wanted = sorted(name for name, _ in model.named_parameters() if name in new)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and wanted == sorted(f"{name}.{part}" for part, _ in layer.named_parameters()):
            return layer
    return None


def settle(model: nn.Module, task: Task, examples: Examples, seconds: float = 0.0) -> list[str]:
    """A model that settles does so, and its last layer is fitted; names of what was set, none for other models. `seconds` as in `fit`."""
    if not isinstance(model, Settles):
        return []
    rows = torch.linspace(0, len(examples) - 1, min(SETTLED, len(examples))).round().long()
    model.settle(finish(examples.batch(rows), task.inputs))
    layer = last(model, [name for name, _ in model.named_parameters()])
    assert layer is not None
    fit(model, task, examples, layer, seconds, ridge.solve)
    return list(model.state_dict())


def onward(model: nn.Module, task: Task, both: tuple[Examples, Examples], seconds: float = 0.0) -> Callable[..., None]:
    """How a model that settles learns from training and validation rows, when they are few and the latter have done their work, and from
    others that it is given; not at all where the time, so many seconds of each (0: any), does not suffice to look at all."""
    layer = last(model, [name for name, _ in model.named_parameters()])
    if not isinstance(model, Settles) or layer is None or sum(map(len, both)) > ridge.MOST:
        return nothing
    seen = [_looked(model, task, one, layer, torch.arange(len(one)), seconds) for one in both]
    if sum(len(x_BD) for part in seen for x_BD, _ in part) < sum(map(len, both)):
        return nothing

    def again(*more: Examples) -> None:
        parts = [*seen, *(_looked(model, task, one, layer, torch.arange(len(one)), seconds, alone=False) for one in more)]
        ridge.solve(task, layer, torch.cat([x_BD for part in parts for x_BD, _ in part]), [batch for part in parts for _, batch in part])

    return again


def fit(model: nn.Module, task: Task, examples: Examples, layer: nn.Linear, seconds: float = 0.0, solve: Solve | None = None) -> int:
    """Fit `layer` by `solve`, else by the task's own loss with a penalty (L-BFGS), all else as it is; rows used, 0 if it is not the last.

    `seconds`: after which no more rows are looked at (0: all are).
    """
    count = max(1, min(len(examples), ROWS, PRODUCTS // (layer.in_features * layer.out_features)))
    spread = torch.linspace(0, len(examples) - 1, count).round().long()
    seen = _looked(model, task, examples, layer, spread[torch.randperm(count, generator=torch.Generator().manual_seed(0))], seconds)
    if seen:
        (solve or _solve)(task, layer, torch.cat([x_BD for x_BD, _ in seen]), [batch for _, batch in seen])
    return sum(len(x_BD) for x_BD, _ in seen)


def _looked(model: nn.Module, task: Task, examples: Examples, layer: nn.Linear, rows: Tensor, seconds: float, alone: bool = True) -> Rows:
    """What reaches the layer of these rows, with their targets, batch by batch; nothing where it is not the last layer. `alone`: nobody
    speaks beside it yet."""
    start, seen, device = time.monotonic(), Rows(), layer.weight.device
    for some in rows.split(AT_ONCE):
        if seen and seconds and time.monotonic() - start > seconds:
            break
        batch = finish(examples.batch(some), task.inputs)
        x_BD, output = _seen(model, {name: value.to(device) for name, value in batch.items()}, layer)
        if x_BD.ndim != 2 or output.shape != (len(some), layer.out_features):
            return []
        if alone and not torch.allclose(output, layer(x_BD), atol=1e-5):
            return []
        seen.append((x_BD.cpu(), {name: value for name, value in batch.items() if name.partition(".")[0] not in task.inputs}))
    return seen


def _seen(model: nn.Module, batch: Batch, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """What reaches the layer, and what the model answers."""
    kept: list[Tensor] = []
    training = model.training
    hook = layer.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    try:
        with torch.no_grad():
            output = model.eval()(batch)
    finally:
        hook.remove()
        model.train(training)
    return kept[0], output


def _solve(task: Task, layer: nn.Linear, x_ND: Tensor, targets: list[Batch]) -> None:
    """Least loss over (weights, bias) of standardised features, then written into the layer for the features as they are."""
    from scipy.optimize import minimize

    mean_D, std_D = x_ND.mean(0), x_ND.std(0, correction=0).clamp(min=1e-3)
    size, inner = layer.weight.shape
    whole = list(zip(((x_ND - mean_D) / std_D).split(AT_ONCE), targets, strict=True))

    def loss(flat: np.ndarray, rows: Rows, penalty: float) -> tuple[float, np.ndarray]:
        values = torch.from_numpy(flat).float().requires_grad_()
        weight_SD, bias_S = values[: size * inner].view(size, inner), values[size * inner :]
        sums = [task.loss(part @ weight_SD.T + bias_S, batch)[0] for part, batch in rows]
        total = torch.stack(sums).sum() + penalty / 2 * weight_SD.square().sum()
        return slope(total, values)

    def fitted(rows: Rows, penalty: float) -> np.ndarray:
        start = np.zeros(size * inner + size)
        found: np.ndarray = minimize(loss, start, (rows, penalty), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
        return found

    others, held = _part(whole, 0, False), _part(whole, 0, True)
    penalty = min(PENALTIES, key=lambda one: loss(fitted(others, one), held, 0.0)[0]) if len(x_ND) > FIFTH else PENALTIES[1]
    flat = torch.from_numpy(fitted(whole, penalty)).float()
    with torch.no_grad():
        weight_SD = flat[: size * inner].view(size, inner) / std_D
        layer.weight.copy_(weight_SD)
        if layer.bias is not None:
            layer.bias.copy_(flat[size * inner :] - weight_SD @ mean_D)


def _part(rows: Rows, turn: int, held: bool) -> Rows:
    """Every fifth row of each batch, from the `turn`th on, or the others."""
    kept = [(part, batch, (torch.arange(len(part)) % FIFTH == turn) == held) for part, batch in rows]
    return [(part[mask], {name: value[mask] for name, value in batch.items()}) for part, batch, mask in kept if mask.any()]
