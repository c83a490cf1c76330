"""Optimizers by name, the gradient's norm, and the moving average of the weights.

Written on torch's fused and multi-tensor kernels, the same that torch.optim calls: its classes import the compiler when the first one
is built (1.5 to 3 s, as long as a small run), and their wrappers cost more per step than the kernels of a small model.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from duomo.core.errors import ConfigError
from duomo.core.messages import nearest
from duomo.core.recipe import TrainConfig


class Optimizer(ABC):
    """Updates weights from their gradients at a given learning rate; only matrices (two or more axes) decay."""

    slots: tuple[str, ...] = ()
    """Names of the tensors kept for each weight, shaped like it."""

    def __init__(self, weights: list[nn.Parameter], config: TrainConfig, rates: list[float]):
        decay = max(0.0, config.weight_decay)
        self.weights, self.momentum = weights, config.momentum
        kinds = [(decay if weight.ndim >= 2 else 0.0, rate) for weight, rate in zip(weights, rates, strict=True)]
        self.groups = [(*kind, [i for i, other in enumerate(kinds) if other == kind]) for kind in dict.fromkeys(kinds)]
        """Decay, share of the rate, and the places of the weights that have both."""
        self.steps = 0
        self.kept: dict[str, list[Tensor]] = {}

    @abstractmethod
    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        """Update the weights at `places` in place."""

    def create(self, slot: str, weight: Tensor) -> Tensor:
        """A slot before the first step."""
        return torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        if not self.kept:
            self.kept = {slot: [self.create(slot, weight.detach()) for weight in self.weights] for slot in self.slots}
        self.steps += 1
        for decay, share, group in self.groups:
            places = [place for place in group if self.weights[place].grad is not None]
            if places:
                self.update(places, [self.weights[place].grad for place in places], rate * share, decay)  # type: ignore[misc]

    def clear(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    def tensors(self) -> dict[str, Tensor]:
        return {f"{slot}.{place}": value for slot, values in self.kept.items() for place, value in enumerate(values)}

    @torch.no_grad()
    def restore(self, steps: int, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave. A slot keeps its weight's memory layout: the kernels walk both side by side."""
        self.steps = steps
        self.kept = {slot: [self.create(slot, weight.detach()) for weight in self.weights] for slot in self.slots} if tensors else {}
        for slot, values in self.kept.items():
            for place, value in enumerate(values):
                value.copy_(tensors[f"{slot}.{place}"])

    def _of(self, slot: str, places: list[int]) -> list[Tensor]:
        values = self.kept[slot]
        return [values[place] for place in places]

    def _weights(self, places: list[int], rate: float, decay: float) -> list[Tensor]:
        """The weights at `places`, decayed by rate * decay (decoupled decay, arXiv:1711.05101)."""
        weights = [self.weights[place].detach() for place in places]
        if decay:
            torch._foreach_mul_(weights, 1 - rate * decay)
        return weights


class AdamW(Optimizer):
    """Adam with decoupled decay (arXiv:1711.05101, algorithm 2), fused."""

    slots = ("exp_avg", "exp_avg_sq")

    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        weights = [self.weights[place].detach() for place in places]
        self._fused()(
            weights, grads, self._of("exp_avg", places), self._of("exp_avg_sq", places), [], self._counts(weights),
            lr=rate, beta1=self.momentum, beta2=0.999, weight_decay=decay, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    def _counts(self, weights: list[Tensor]) -> list[Tensor]:
        """The kernel wants a count for each weight: all of them the same."""
        return [torch.full((), float(self.steps), device=weights[0].device)] * len(weights)

    def _fused(self) -> Callable[..., Any]:
        return torch._fused_adamw_


class Adam(AdamW):
    """Adam with the decay as part of the gradient (arXiv:1412.6980, algorithm 1), fused."""

    def _fused(self) -> Callable[..., Any]:
        return torch._fused_adam_


class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov momentum (as torch.optim.SGD) and decoupled decay."""

    slots = ("momentum",)

    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        weights = self._weights(places, rate, decay)
        if self.momentum:
            moments = self._of("momentum", places)
            torch._foreach_mul_(moments, self.momentum)
            torch._foreach_add_(moments, grads)
            torch._foreach_add_(grads, moments, alpha=self.momentum)
        torch._foreach_add_(weights, grads, alpha=-rate)


class RMSprop(Optimizer):
    """Gradients over the root of their mean square, then momentum (as torch.optim.RMSprop), and decoupled decay."""

    slots = ("square", "momentum")

    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        weights, squares, moments = self._weights(places, rate, decay), self._of("square", places), self._of("momentum", places)
        torch._foreach_mul_(squares, 0.99)
        torch._foreach_addcmul_(squares, grads, grads, value=0.01)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, 1e-8)
        torch._foreach_mul_(moments, self.momentum)
        torch._foreach_addcdiv_(moments, grads, roots)
        torch._foreach_add_(weights, moments, alpha=-rate)


class Lion(Optimizer):
    """Sign of the interpolated momentum, decoupled decay (arXiv:2302.06675, algorithm 2)."""

    slots = ("momentum",)

    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        weights, moments = self._weights(places, rate, decay), self._of("momentum", places)
        updates = torch._foreach_lerp(moments, grads, 1 - self.momentum)
        torch._foreach_sign_(updates)
        torch._foreach_add_(weights, updates, alpha=-rate)
        torch._foreach_lerp_(moments, grads, 0.01)


class Adafactor(Optimizer):
    """Second moments of matrices as an outer product of rows and columns (arXiv:1804.04235, algorithms 4 and 5), update clipping at 1,
    steps relative to the weight's own size, decoupled decay."""

    slots = ("rows", "columns")

    def create(self, slot: str, weight: Tensor) -> Tensor:
        if weight.ndim < 2:
            return torch.zeros_like(weight) if slot == "rows" else weight.new_zeros(())
        return torch.zeros_like(weight.mean(-1 if slot == "rows" else -2, keepdim=True))

    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        forget = self.steps**-0.8
        rho = min(rate, 1 / math.sqrt(self.steps))
        rows, columns = self._of("rows", places), self._of("columns", places)
        sizes = [max(1e-3, self.weights[place].norm().item() / math.sqrt(self.weights[place].numel())) for place in places]
        for weight, grad, row, column, size in zip(self._weights(places, rate, decay), grads, rows, columns, sizes, strict=True):
            row.lerp_(grad.square().mean(-1, keepdim=True) if weight.ndim >= 2 else grad.square(), forget)
            second = row
            if weight.ndim >= 2:
                column.lerp_(grad.square().mean(-2, keepdim=True), forget)
                second = row @ column / row.mean(-2, keepdim=True).clamp(min=torch.finfo(row.dtype).eps)
            change = grad * second.clamp(min=torch.finfo(grad.dtype).eps ** 2).rsqrt()
            weight.sub_(change, alpha=rho * size / max(1.0, change.norm().item() / math.sqrt(change.numel())))


OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    "adamw": AdamW, "adam": Adam, "sgd": SGD, "rmsprop": RMSprop, "adafactor": Adafactor, "lion": Lion,
}  # fmt: skip
COPIES = {"adamw": 2.0, "adam": 2.0, "sgd": 1.0, "rmsprop": 2.0, "adafactor": 0.1, "lion": 1.0}
"""State that an optimizer keeps, in copies of the weights."""


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def build(model: nn.Module, config: TrainConfig, rates: Mapping[str, float] | None = None) -> Optimizer:
    """The optimizer named in the recipe over the trainable weights; `rates` holds a share of the learning rate for some of them by name."""
    if config.optimizer not in OPTIMIZERS:
        raise ConfigError(
            "The optimizer must be one of {known}; received {value!r}.{hint}",
            known=", ".join(OPTIMIZERS), value=config.optimizer, hint=nearest(config.optimizer, OPTIMIZERS),
        )  # fmt: skip
    weights = trainable(model)
    if not weights:
        raise ConfigError("A model must have weights to learn; this one has none that require gradients. Unfreeze some of them.")
    named = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return OPTIMIZERS[config.optimizer](weights, config, [(rates or {}).get(name, 1.0) for name in named])


def gradients(weights: list[nn.Parameter]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def norm(grads: list[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together, a scalar."""
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))


class Average:
    """Exponential moving average of the weights: average <- decay * average + (1 - decay) * weight.

    The decay starts low, min(decay, (1 + step) / (10 + step)), so that the first, random weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay = model, decay
        self.weights = trainable(model)
        self.averages = [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.averages, [weight.detach() for weight in self.weights], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averages and the model's weights; twice is nothing."""
        for weight, average in zip(self.weights, self.averages, strict=True):
            held = weight.detach().clone()
            weight.copy_(average)
            average.copy_(held)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for key, average in self._named():
            average.copy_(tensors[key])

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._named())

    def _named(self) -> list[tuple[str, Tensor]]:
        names = [name for name, weight in self.model.named_parameters() if weight.requires_grad]
        return list(zip(names, self.averages, strict=True))
