"""Optimizers by name, the gradient's norm, and the moving average of the weights."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adafactor, Adam, AdamW, Optimizer, RMSprop

from duomo.core.errors import ConfigError
from duomo.core.messages import nearest
from duomo.core.recipe import TrainConfig


class Lion(Optimizer):
    """Sign of the interpolated momentum, decoupled decay (arXiv:2302.06675, algorithm 2)."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float]):
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            grads: list[Tensor] = [weight.grad for weight in weights if weight.grad is not None]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["exp_avg"] = torch.zeros_like(weight)
            moments = [self.state[weight]["exp_avg"] for weight in weights]
            beta1, beta2 = group["betas"]
            updates = torch._foreach_lerp(moments, grads, 1 - beta1)
            torch._foreach_sign_(updates)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, updates, alpha=-group["lr"])
            torch._foreach_lerp_(moments, grads, 1 - beta2)


Groups = list[dict[str, Any]]
OPTIMIZERS: Mapping[str, Callable[[Groups, TrainConfig], Optimizer]] = {
    "adamw": lambda groups, config: AdamW(groups, config.learning_rate, (config.momentum, 0.999), fused=True),
    "adam": lambda groups, config: Adam(groups, config.learning_rate, (config.momentum, 0.999), fused=True),
    "sgd": lambda groups, config: SGD(groups, config.learning_rate, config.momentum, nesterov=config.momentum > 0, fused=True),
    "rmsprop": lambda groups, config: RMSprop(groups, config.learning_rate, momentum=config.momentum, foreach=True),
    "adafactor": lambda groups, config: Adafactor(groups, config.learning_rate, foreach=True),
    "lion": lambda groups, config: Lion(groups, config.learning_rate, (config.momentum, 0.99)),
}
COPIES = {"adamw": 2.0, "adam": 2.0, "sgd": 1.0, "rmsprop": 2.0, "adafactor": 0.1, "lion": 1.0}
"""State that an optimizer keeps, in copies of the weights."""


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def build(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer named in the recipe over the trainable weights; only matrices (two or more axes) decay."""
    if config.optimizer not in OPTIMIZERS:
        raise ConfigError(
            "The optimizer must be one of {known}; received {value!r}.{hint}",
            known=", ".join(OPTIMIZERS), value=config.optimizer, hint=nearest(config.optimizer, OPTIMIZERS),
        )  # fmt: skip
    weights = trainable(model)
    if not weights:
        raise ConfigError("A model must have weights to learn; this one has none that require gradients. Unfreeze some of them.")
    decay = max(0.0, config.weight_decay)
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[config.optimizer]([group for group in groups if group["params"]], config)


def gradients(weights: list[nn.Parameter]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def norm(grads: list[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together, a scalar."""
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))


def state_tensors(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's state as tensors `index.name` and as plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{name}"] = value
    return tensors, numbers


def restore_state(optimizer: Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Put back what `state_tensors` gave. Each tensor takes its weight's memory layout: fused kernels walk both side by side."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *numbers.items()]:
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for weight, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                entries[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


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
