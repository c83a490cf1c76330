"""Optimizers by name, the gradient's norm, and the moving average of the weights.

Written on torch's fused and multi-tensor kernels, the same that torch.optim calls: its classes import the compiler when the first one
is built (1.5 to 3 s, as long as a small run), and their wrappers cost more per step than the kernels of a small model.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from duomo.core.device import bf16_on_cpu
from duomo.core.errors import ConfigError
from duomo.core.messages import nearest
from duomo.core.recipe import TrainConfig

MUON_MOMENTUM = 0.95
NUMBERED = re.compile(r"(^|\.)\d+(\.|$)")


class Optimizer(ABC):
    """Updates weights from their gradients at a given learning rate; only matrices (two or more axes) decay."""

    slots: tuple[str, ...] = ()
    """Names of the tensors kept for each weight, shaped like it."""

    def __init__(self, weights: list[nn.Parameter], config: TrainConfig, rates: list[float], inner: Sequence[int] = ()):
        """`inner`: places of the matrices of numbered layers, which neither read nor give the tokens."""
        self.inner = frozenset(inner)
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

    def create(self, slot: str, weight: Tensor, place: int) -> Tensor:
        """A slot before the first step of the weight at `place`."""
        return torch.zeros_like(weight)

    def _created(self) -> dict[str, list[Tensor]]:
        return {slot: [self.create(slot, weight.detach(), place) for place, weight in enumerate(self.weights)] for slot in self.slots}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        if not self.kept:
            self.kept = self._created()
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
        self.kept = self._created() if tensors else {}
        for slot, values in self.kept.items():
            for place, value in enumerate(values):
                value.copy_(tensors[f"{slot}.{place}"])

    def _of(self, slot: str, places: list[int]) -> list[Tensor]:
        values = self.kept[slot]
        return [values[place] for place in places]

    def _weights(self, places: list[int], rate: float, decay: float) -> list[Tensor]:
        """The weights at `places`, decayed by rate * decay (decoupled decay, arXiv:1711.05101)."""
        weights = [self.weights[place].detach() for place in places]
        if decay and weights:
            torch._foreach_mul_(weights, 1 - rate * decay)
        return weights


class AdamW(Optimizer):
    """Adam with decoupled decay (arXiv:1711.05101, algorithm 2), fused."""

    slots = ("exp_avg", "exp_avg_sq")
    beta2 = 0.999

    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        weights = [self.weights[place].detach() for place in places]
        self._fused()(
            weights, grads, self._of("exp_avg", places), self._of("exp_avg_sq", places), [], self._counts(weights),
            lr=rate, beta1=self.momentum, beta2=self.beta2, weight_decay=decay, eps=1e-8, amsgrad=False, maximize=False,
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

    def create(self, slot: str, weight: Tensor, place: int) -> Tensor:
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


class Muon(AdamW):
    """Momentum of the inner matrices made orthogonal (Jordan et al. 2024, "Muon"), scaled so that a step is as long as one of AdamW
    (Liu et al. 2025, arXiv:2502.16982, eq. 4: one learning rate and one decay for both); every other weight by AdamW."""

    beta2 = 0.99

    def __init__(self, weights: list[nn.Parameter], config: TrainConfig, rates: list[float], inner: Sequence[int] = ()):
        super().__init__(weights, config, rates, inner)
        fast = weights[0].device.type != "cpu" or bf16_on_cpu()
        self.type = torch.bfloat16 if fast and not config.exact else torch.float32
        """The iteration forgives the rounding of bf16, and is taken in it where the chip computes in it."""

    def create(self, slot: str, weight: Tensor, place: int) -> Tensor:
        return weight.new_zeros(()) if place in self.inner and slot == "exp_avg_sq" else torch.zeros_like(weight)

    def update(self, places: list[int], grads: list[Tensor], rate: float, decay: float) -> None:
        given = dict(zip(places, grads, strict=True))
        outer = [place for place in places if place not in self.inner]
        if outer:
            super().update(outer, [given[place] for place in outer], rate, decay)
        inner = [place for place in places if place in self.inner]
        for place, weight, moment in zip(inner, self._weights(inner, rate, decay), self._of("exp_avg", inner), strict=True):
            moment.lerp_(given[place], 1 - MUON_MOMENTUM)
            matrix_MN = given[place].lerp(moment, MUON_MOMENTUM).flatten(1)  # a filter is a row
            change = orthogonal(matrix_MN, self.type).view(weight.shape)
            weight.sub_(change, alpha=rate * 0.2 * math.sqrt(max(matrix_MN.shape)))


def orthogonal(x_MN: Tensor, dtype: torch.dtype) -> Tensor:
    """(M, N) -> (M, N) float32: about U Vᵀ of the singular value decomposition U S Vᵀ, by five steps of a Newton–Schulz iteration.

    Its odd polynomial of degree 5 (Jordan et al. 2024) brings singular values from above 1e-3 to between 0.7 and 1.2.
    """
    x = (x_MN.mT if x_MN.shape[0] > x_MN.shape[1] else x_MN).to(dtype)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x.mT if x_MN.shape[0] > x_MN.shape[1] else x).float()


def inner_matrices(model: nn.Module) -> list[int]:
    """Places among the trainable weights of the matrices and filters of numbered layers (`blocks.0.…`), but for embeddings and filters that
    each read one channel."""
    tables = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return [
        place
        for place, (name, weight) in enumerate(named)
        if (weight.ndim == 2 or (weight.ndim > 2 and weight.shape[1] > 1)) and id(weight) not in tables and NUMBERED.search(name)
    ]


OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    "adamw": AdamW, "adam": Adam, "sgd": SGD, "rmsprop": RMSprop, "adafactor": Adafactor, "lion": Lion, "muon": Muon,
}  # fmt: skip
COPIES = {"adamw": 2.0, "adam": 2.0, "sgd": 1.0, "rmsprop": 2.0, "adafactor": 0.1, "lion": 1.0, "muon": 2.0}
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
    return OPTIMIZERS[config.optimizer](weights, config, [(rates or {}).get(name, 1.0) for name in named], inner_matrices(model))


def gradients(weights: list[nn.Parameter]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def norm(grads: list[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together, a scalar."""
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))


class WeightAverage:
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
        named = dict(self._named())
        for key, value in tensors.items():
            named[key].copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._named())

    def _named(self) -> list[tuple[str, Tensor]]:
        """Under each of its names where several layers share a weight: what is loaded last must not be the weight itself."""
        found = {id(weight): average for weight, average in zip(self.weights, self.averages, strict=True)}
        named = self.model.named_parameters(remove_duplicate=False)
        return [(name, found[id(weight)]) for name, weight in named if weight.requires_grad]
