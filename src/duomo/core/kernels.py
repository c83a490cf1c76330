"""Modules whose inner computation can be chosen at run time without changing what they compute."""

from torch import nn

from duomo.core.errors import ConfigError

ATTENTION = ("bmm", "sdpa")


class Kernelled(nn.Module):
    """Abstract: an attention that reads `kernel` (a name of ATTENTION) in every forward pass."""

    kernel: str


def set_attention_kernel(model: nn.Module, name: str) -> None:
    """Make every attention of the model use this kernel; ConfigError for an unknown name."""
    if name not in ATTENTION:
        raise ConfigError("An attention kernel must be one of {known}; received {name!r}.", known=", ".join(ATTENTION), name=name)
    for module in model.modules():
        if isinstance(module, Kernelled):
            module.kernel = name


def has_attention(model: nn.Module) -> bool:
    """Whether a choice of kernel makes a difference."""
    return any(isinstance(module, Kernelled) for module in model.modules())
