"""Going on from weights that exist already, from outside the model: taken over by name, changed a little or in part, fixed elsewhere.

`load` takes over what fits; `prepare` fixes weights, swaps in low-rank changes (train/lora.py) and says how fast each weight learns;
`defaults` are the settings that fine-tuning starts from, by architecture; `lora.merge` ends it.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from duomo.core import find
from duomo.core.contract import Head
from duomo.core.errors import ConfigError
from duomo.core.messages import few, nearest, tr
from duomo.core.pretrained import BESIDE, Pretrained
from duomo.core.recipe import AdaptConfig
from duomo.core.reporter import Reporter
from duomo.core.run import renamed
from duomo.nn.positions import relaid
from duomo.train import lora

NAMED = 4
NUMBERED = re.compile(r"^(.*?\.\d+(?:\.\d+)*)\.")
SMALL_HEAD = 0.01
"""A head with at most this share of all weights learns beside low-rank changes; a larger one (of a language model) is fixed."""
FULL: Mapping[str, Mapping[str, Any]] = {
    "bert": {"learning_rate": 5e-5, "batch_size": 16, "epochs": 4, "warmup": 0.1, "weight_decay": 0.01},
    "seq2seq": {"learning_rate": 1e-4, "batch_size": 16, "epochs": 4, "warmup": 0.1, "weight_decay": 0.01},
    "gpt": {"learning_rate": 5e-5, "batch_size": 8, "epochs": 3, "warmup": 0.1, "weight_decay": 0.0},
}
"""Settings for learning all weights on; other architectures learn at `SLOWER` times their own rate."""
LORA: Mapping[str, Any] = {"learning_rate": 5e-4, "warmup": 0.1, "weight_decay": 0.0}
GENTLE: Mapping[str, float] = {"gpt": 2e-4}
"""Rates of low-rank changes to models that know more than is taught: at 5e-4 a chat model answered everything as it was taught."""
PART: Mapping[str, Any] = {"still": 0.35}
"""How weights for a part of the model, a detector's trunk, are gone on from."""
ADVICE = BESIDE | {"hashed"}
"""Parts of names of what is fitted beside a network (of a trunk too), and of what an embedder hashes of a text: fitted anew, not taken."""
SLOWER, NEW = 0.3, 10.0
"""A model of its own learns on at this share of its rate; weights that are new and unfitted at this multiple of the others'."""


def defaults(model: str, own: Mapping[str, Any], config: AdaptConfig, part: bool = False) -> dict[str, Any]:
    """Training settings for going on from `model`, or from a part of it, whose settings from nothing are `own`."""
    if part:  # what is new learns as it would from nothing, the rest at a tenth of that
        return {**own, "learning_rate": own["learning_rate"] / NEW}
    found = dict(FULL.get(model) or {**own, "learning_rate": SLOWER * own["learning_rate"]})
    return {**found, **LORA, "learning_rate": GENTLE.get(model, LORA["learning_rate"])} if config.lora else found


def lessons(model: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's settings over the model's, but for rate and decay where it names an optimizer: those are for learning from nothing."""
    rated = ("optimizer", "learning_rate", "weight_decay") if "optimizer" in recipe else ()
    return {**model, **{name: value for name, value in recipe.items() if name not in rated}}


def load(model: nn.Module, pretrained: Pretrained) -> tuple[str, list[str]]:
    """Take over every weight that fits by name and shape; in words what was taken and what is new, and the new names.

    ConfigError where less than half of the model's numbers are found: this is another architecture or size.
    """
    own = {name: value for name, value in model.state_dict().items() if value.numel()}  # what is empty is fitted later (train/council.py)
    given = _relaid(renamed(pretrained.tensors, own), own, pretrained.model)
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    needed = {name: value for name, value in own.items() if name.startswith(pretrained.part)}
    taken, whole = (sum(values[name].numel() for name in values) for values in (fitting, needed))
    new = [name for name in own if name not in fitting]
    if 2 * taken < whole:
        raise ConfigError(
            "The weights of {source} must fit the model; only {taken:,} of {whole:,} numbers do. New would be: {new}.{odd}",
            source=pretrained.source, taken=taken, whole=whole, new=few(new, NAMED), odd=_odd(own, given),
        )  # fmt: skip
    with torch.no_grad():
        for name, value in fitting.items():
            own[name].copy_(value)
    advice = [name for name in given if not ADVICE.isdisjoint(name.split("."))]
    left = [name for name in given if name not in fitting and name not in advice]
    told = [name for name in new if not name.endswith("num_batches_tracked")]  # counts of batches, which say nothing
    words = tr("Weights taken from {source}: {taken:,} of {whole:,} numbers; new: {new}; left out: {left}.",
               source=pretrained.source, taken=taken, whole=whole, new=few(told, NAMED), left=few(left, NAMED))  # fmt: skip
    if advice:
        words += " " + tr("The simpler learners beside it stay behind; they are fitted anew when the network has learned.")
    return words, new


def _relaid(given: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], model: str) -> dict[str, torch.Tensor]:
    """The weights; where pictures have another size than those that were learned from, the vectors of their places drawn between."""
    places = [name for name in given if name.endswith("place_TD") and name in own and "tokens" not in find.model_module(model).FORMS]
    return {**given, **{name: relaid(given[name], len(own[name])) for name in places}}


def _odd(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """The weight that most is lost with because its shape is another one, and what it may follow from; empty where there is none."""
    odd = [name for name, value in own.items() if name in given and given[name].shape != value.shape]
    if not odd:
        return ""
    name = max(odd, key=lambda one: own[one].numel())
    return tr(" {name} is {given} there and {own} here: a size must be the one that the weights were learned at, so leave --picture-size, "
              "--longest-text and model settings out.", name=name, given=_shape(given[name]), own=_shape(own[name]))  # fmt: skip


def _shape(value: torch.Tensor) -> str:
    return " × ".join(map(str, value.shape))


def prepare(model: nn.Module, config: AdaptConfig, new: list[str], head: Head, fitted: bool = False) -> dict[str, float]:
    """Fix and swap as the recipe says; weight -> share of the learning rate, where it is not 1.

    `new` names the weights that were not taken over; `fitted`: they know their work already (train/head.py).
    ConfigError for a pattern that fits nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in config.freeze:
        _fitting("adapt.freeze", pattern, names)
    rates = _rates(model, config, new, config.new_rate or (1.0 if config.lora or fitted or not config.start else NEW))
    if config.lora:
        _low_rank(model, config, new, head)
    if config.still:
        _hold(model, config.still, set(new))
    for name, weight in model.named_parameters():
        if any(pattern in name for pattern in config.freeze):
            weight.requires_grad_(False)
    return {name: rate for name, rate in rates.items() if rate != 1.0}


class FrozenBatchNorm(nn.BatchNorm2d):
    """Normalises by the statistics that it came with, in training too: those of a few pictures a step are worse."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        return super().train(False)


def _hold(model: nn.Module, share: float, new: set[str]) -> None:
    """The first layers that were taken over fixed, and every batch norm that was taken over held."""
    taken = [name for name, _ in model.named_parameters() if name not in new]
    layers = list(dict.fromkeys(_layer(name) for name in taken))
    first = set(layers[: round(share * len(layers))])
    for name, weight in model.named_parameters():
        if name not in new and _layer(name) in first:
            weight.requires_grad_(False)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.BatchNorm2d) and f"{name}.weight" not in new:
            held = FrozenBatchNorm(layer.num_features, layer.eps, layer.momentum)
            held.weight, held.bias = layer.weight, layer.bias
            held.running_mean, held.running_var, held.num_batches_tracked = layer.running_mean, layer.running_var, layer.num_batches_tracked
            held._forward_hooks.update(layer._forward_hooks)  # a detector's maps are read off by hooks
            model.set_submodule(name, held.eval())


def _layer(name: str) -> str:
    """Layers are told apart by the numbers in the names of weights."""
    found = NUMBERED.match(name)
    return found.group(1) if found else ""


def _low_rank(model: nn.Module, config: AdaptConfig, new: list[str], head: Head) -> None:
    """Everything fixed but the changes, what is new, and a small head."""
    found = lora.layers(model)
    last = [name for name, layer in found.items() if layer.weight.shape[0] == head.size][-1:]
    targets = [name for name in found if name not in last and f"{name}.weight" not in new]
    if config.lora_targets:
        targets = sorted(
            {name for pattern in config.lora_targets for name in _fitting("adapt.lora_targets", pattern, list(found))},
            key=list(found).index,
        )
    whole = sum(weight.numel() for weight in model.parameters())
    small = [f"{name}." for name in last if found[name].weight.numel() <= SMALL_HEAD * whole]
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in new or any(name.startswith(part) for part in small))
    if not targets and (not found or not any(weight.requires_grad for weight in model.parameters())):
        raise ConfigError("Low-rank changes need linear layers beside the head; this model has none. Leave --lora out.")
    lora.swap(model, targets, config.lora_rank, config.lora_alpha, config.lora_dropout)


def _rates(model: nn.Module, config: AdaptConfig, new: list[str], faster: float) -> dict[str, float]:
    """Weight -> its share of the learning rate; layers in the order of the model."""
    layers: list[str] = []
    places: dict[str, int] = {}
    for name, _ in model.named_parameters():
        layer = _layer(name)
        if not layers or layers[-1] != layer:
            layers.append(layer)
        places[name] = len(layers)
    fresh = set(new)
    return {name: faster if name in fresh else config.layer_decay ** (len(layers) - place) for name, place in places.items()}


def counts(model: nn.Module) -> tuple[int, int]:
    """Weights that learn, and all of the model without what LoRA has put beside them."""
    named = list(model.named_parameters())
    learning = sum(weight.numel() for _, weight in named if weight.requires_grad)
    return learning, sum(weight.numel() for name, weight in named if not name.endswith((".lora_a", ".lora_b")))


def say_counts(model: nn.Module, reporter: Reporter) -> None:
    learning, whole = counts(model)
    reporter.say(tr("{learning:,} weights learn, {share:.2%} of {whole:,}.", learning=learning, share=learning / whole, whole=whole))


def _fitting(setting: str, pattern: str, names: list[str]) -> list[str]:
    found = [name for name in names if pattern in name]
    if not found:
        parts = sorted({part for name in names for part in name.split(".")})
        raise ConfigError("Each pattern of {setting} must be a part of a name; none holds {pattern!r}.{hint} Names: {names}.",
                          setting=setting, pattern=pattern, hint=nearest(pattern, parts), names=few(names, NAMED))  # fmt: skip
    return found
