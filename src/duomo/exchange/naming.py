"""Weights under another maker's names, and back, by the rules of its family. Missing and unknown weights are named."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.messages import few
from duomo.core.recipe import ModelConfig
from duomo.exchange.families import FAMILIES, Family, Options, Rule

SHOWN = 5
HEADS = ("lm_head.", "cls.", "classifier.")
"""What stands beside the trunk, not in it."""


def to_ours(family: Family, options: Options, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Their weights as ours, float32; ConfigError that names what is missing, unknown or of another shape.

    A head that equals the embedding it is tied to is left out.
    """
    bare = {name.removeprefix(family.prefix) if family.prefix else name: value for name, value in tensors.items()}
    found: dict[str, Tensor] = {}
    missing: list[str] = []
    left = dict.fromkeys(bare)
    for rule in family.rules(options):
        present = [name for name in rule.theirs if name in bare]
        if len(present) == len(rule.theirs):
            found[rule.ours] = _joined(rule, [bare[name] for name in rule.theirs], source)
        elif present or rule.needed:
            missing += [name for name in rule.theirs if name not in bare]
        for name in present:
            left.pop(name, None)
    if options["tied"]:
        for head in ("head.weight", "fill.out.weight"):
            if head in found and torch.equal(found[head], found["embedding.weight"]):
                del found[head]
    extra = [name for name in left if not name.endswith(family.unused or ("\0",))]
    if missing or extra:
        raise ConfigError(
            "The weights of {source} must be those of a {family}; missing: {missing}; unknown: {extra}.",
            source=source, family=family.name, missing=few(missing, SHOWN), extra=few(extra, SHOWN),
        )  # fmt: skip
    check(family, options, found, source, {rule.ours: rule.theirs for rule in family.rules(options)})
    return found


def _joined(rule: Rule, parts: list[Tensor], source: str) -> Tensor:
    turned = [part.t() if rule.turned and part.ndim == 2 else part for part in parts]
    if len({part.shape[1:] for part in turned}) > 1 or any(part.ndim not in (1, 2) for part in turned):
        raise ConfigError(
            "The weights of {source} must have the shapes that its settings say; these have not: {names}.",
            source=source, names=few(rule.theirs, SHOWN),
        )  # fmt: skip
    return torch.cat([part.float() for part in turned]).contiguous()


def apart(rule: Rule, value: Tensor) -> Sequence[Tensor]:
    """A weight of ours as the parts that it has elsewhere."""
    return value.split(rule.parts or value.shape[0] // len(rule.theirs)) if len(rule.theirs) > 1 else (value,)


def to_theirs(family: Family, options: Options, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Our weights as theirs, and the names of ours that they have no place for."""
    found: dict[str, Tensor] = {}
    used = set()
    for rule in family.rules(options):
        if rule.ours not in tensors:
            continue
        used.add(rule.ours)
        value = tensors[rule.ours]
        for name, part in zip(rule.theirs, apart(rule, value), strict=True):
            full = name if name.startswith(HEADS) else family.prefix + name
            found[full] = (part.t() if rule.turned and part.ndim == 2 else part).contiguous()
    return found, [name for name in tensors if name not in used]


REMEDIES: dict[str, dict[str, Any]] = {
    "bert": {"place": "after", "types": 1, "near": 0, "hashed": 0},
    "gpt": {"positions": "rotary", "norm": "rms", "place": "before", "activation": "swiglu", "bias": "none", "norm_keys": False},
    "seq2seq": {
        "positions": "relative",
        "norm": "rms",
        "place": "before",
        "bias": False,
        "scaled": False,
        "shared": True,
        "activation": "relu",
        "copies": False,
    },
}
"""Options with which a model from nothing is built like BERT, Llama, T5."""


def family_of(model: str, options: Options) -> Family:
    """The family that a model of ours can be written as; ConfigError where its options are no family's."""
    for family in FAMILIES.values():
        if family.model == model and family.fits(options):
            return family
    known = sorted({family.model for family in FAMILIES.values()})
    wanted = REMEDIES.get(model, {})
    if any(family.model == model and family.fits({**options, **wanted}) for family in FAMILIES.values()):
        words = " ".join(
            f"--set model.options.{name}={_said(value)}" for name, value in wanted.items() if options.get(name, value) != value
        )
        raise ConfigError("A model can be written for others where it is built like one of {families}; this {model} is not. "
                          "It is if it is trained with {words}", families=", ".join(FAMILIES), model=model, words=words)  # fmt: skip
    raise ConfigError(
        "A model can be written for others where it is built like one of {families}; this {model} is not"
        " (of ours, {known} with the options of a published size can be: `duomo list models`).",
        families=", ".join(FAMILIES), model=model, known=", ".join(known),
    )  # fmt: skip


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def blank(model: str, options: Options, vocabulary: int, longest: int) -> nn.Module:
    """The model without memory for its weights: names and shapes only."""
    names = ("source", "target") if model == "seq2seq" else ("text",)
    fields = {name: Field("tokens", (longest,), (vocabulary,)) for name in names}
    config = find.model_config(ModelConfig(model, "base", options=options))
    with torch.device("meta"):
        made: nn.Module = find.model_module(model).Model(config, fields, Head(vocabulary, "step"))
    return made


def check(family: Family, options: Options, tensors: Mapping[str, Tensor], source: str, theirs: Mapping[str, Sequence[str]]) -> None:
    """ConfigError where a weight has another shape than the settings say, or is no finite number; it is named as the file has it."""
    vocabulary = len(tensors["embedding.weight"])
    expected = blank(family.model, options, vocabulary, 8).state_dict()
    wrong = [name for name, value in tensors.items() if name in expected and expected[name].shape != value.shape]
    if wrong:
        name = wrong[0]
        raise ConfigError(
            "The weights of {source} must have the shapes that its settings say; {name} has {shape}, not {wanted}.",
            source=source, name=few(theirs.get(name, (name,)), SHOWN), shape=tuple(tensors[name].shape), wanted=tuple(expected[name].shape),
        )  # fmt: skip
    odd = [told for name, value in tensors.items() if not bool(value.isfinite().all()) for told in theirs.get(name, (name,))]
    if odd:
        raise ConfigError("The weights of {source} must be finite numbers; these hold NaN or infinity: {names}. Copy or download them "
                          "again.",
                          source=source, names=few(odd, SHOWN))  # fmt: skip
