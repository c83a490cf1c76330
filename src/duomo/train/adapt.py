"""Going on from weights that exist already, from outside the model: what fits by name and shape is taken over."""

import torch
from torch import nn

from duomo.core.errors import ConfigError
from duomo.core.messages import tr
from duomo.core.pretrained import Pretrained

NAMED = 4


def load(model: nn.Module, pretrained: Pretrained) -> str:
    """Take over every weight that fits by name and shape; in words what was taken and what is new.

    ConfigError where less than half of the model's numbers are found: this is another architecture or size.
    """
    own = model.state_dict()
    fitting = {name: value for name, value in pretrained.tensors.items() if name in own and own[name].shape == value.shape}
    taken, whole = (sum(values[name].numel() for name in values) for values in (fitting, own))
    new = [name for name in own if name not in fitting]
    if 2 * taken < whole:
        raise ConfigError(
            "The weights of {source} must fit the model; only {taken:,} of {whole:,} numbers do. New would be: {new}.",
            source=pretrained.source, taken=taken, whole=whole, new=_some(new),
        )  # fmt: skip
    with torch.no_grad():
        for name, value in fitting.items():
            own[name].copy_(value)
    left = [name for name in pretrained.tensors if name not in fitting]
    return tr("Weights taken from {source}: {taken:,} of {whole:,} numbers; new: {new}; left out: {left}.",
              source=pretrained.source, taken=taken, whole=whole, new=_some(new), left=_some(left))  # fmt: skip


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" (+{len(names) - NAMED})" if len(names) > NAMED else "") if names else "-"
