"""Weights of one model as a part of a larger one: a picture net as the trunk of a detector.

A model that is built on another names, in its file, where that one's weights lie (`TRUNK`), and its Config says which it is: `trunk`,
`size`, `options`.
"""

from dataclasses import asdict, replace

from duomo.core import find
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import ModelConfig
from duomo.exchange.opening import open_pretrained


def carries(model: str) -> bool:
    """Whether a model of this name is built on another one."""
    return bool(model) and "TRUNK" in vars(find.model_module(model))


def within(pretrained: Pretrained, model: str, size: str = "base") -> Pretrained:
    """The weights under the names that they have in `model` of this size, which takes them for its trunk."""
    module = find.model_module(model)
    own = {"trunk": pretrained.model, "size": "base", "options": dict(pretrained.options)}
    tensors = {module.TRUNK + name: value for name, value in pretrained.tensors.items()}
    options = asdict(module.SIZES[size or "base"]) | own
    return replace(pretrained, model=model, options=options, tensors=tensors, part=module.TRUNK)


def alone(pretrained: Pretrained) -> Pretrained:
    """The trunk of a model that is built on another one; other models as they are."""
    if not carries(pretrained.model):
        return pretrained
    module, told = find.model_module(pretrained.model), pretrained.options
    choice = ModelConfig(told["trunk"], told["size"], options=told["options"])
    tensors = {name.removeprefix(module.TRUNK): value for name, value in pretrained.tensors.items() if name.startswith(module.TRUNK)}
    options = asdict(find.model_config(choice))
    options |= {"advice": False} if "advice" in options else {}  # a trunk has none (find.trunk)
    return replace(pretrained, model=choice.name, options=options, tensors=tensors)


def reopened(start: str, choice: ModelConfig) -> Pretrained:
    """What a run of this model began with."""
    found = open_pretrained(start)
    return within(found, choice.name, choice.size) if found.model != choice.name and carries(choice.name) else found
