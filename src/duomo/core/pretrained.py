"""Weights that exist already, with what is needed to go on from them: what `--from` opens, whatever it was written by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

BESIDE = frozenset(("council", "counts", "sides"))
"""Parts of the names of what is fitted beside a network when it has learned (nn/council.py, nn/counts.py, nn/sides.py)."""


@dataclass(frozen=True)
class Pretrained:
    """A model that was trained before, by Duomo or by others."""

    model: str
    """The architecture: a file of duomo/models."""
    options: Mapping[str, Any]
    """Every field of the architecture's Config."""
    tensors: Mapping[str, Tensor]
    """Weights under the names of the architecture's state_dict; those of a head that no longer fits are left out when loaded."""
    learned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind -> what that kind of column must be encoded with: text -> its tokenizer, image -> size, mean and deviation."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is known: task, labels, licence."""
    source: str = ""
    """Where it came from, in words."""
    part: str = ""
    """What the names of its weights begin with, where they are a part of the model: the trunk of a detector."""
