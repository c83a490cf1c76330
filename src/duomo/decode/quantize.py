"""Smaller weights for faster writing: a token costs what it costs to read the weights once, so fewer bytes are the gain.

    w_NK ≈ q_NK · s_N     q = round(w / s) in -127..127     s_N = max_k |w_NK| / 127        (one scale for each output)

Acts from outside, by exchanging linear layers; the model's file knows nothing of it. Products run through torch's own int8 kernel, which
reads int8 weights and sums in float32; the sum of a row does not depend on the number of rows. Legend: N outputs, K inputs.
"""

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.errors import ConfigError

PRECISIONS = ("float32", "bf16", "int8")
MANY = 16
"""Rows from which weights are widened and multiplied as bf16: reading a prompt is bound by arithmetic, not by memory."""


class Int8Linear(nn.Module):
    """A linear layer with int8 weights: bf16 (..., K) -> bf16 (..., N). For inference only."""

    weight_NK: Tensor
    scale_N: Tensor
    bias_N: Tensor | None

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None):
        super().__init__()
        scale_N = weight_NK.detach().float().abs().amax(1).clamp(min=1e-8) / 127
        self.register_buffer("weight_NK", (weight_NK.detach().float() / scale_N[:, None]).round().to(torch.int8))
        self.register_buffer("scale_N", scale_N.to(torch.bfloat16))
        self.register_buffer("bias_N", None if bias_N is None else bias_N.detach().to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        x_MK = x.reshape(-1, x.shape[-1])
        if x_MK.shape[0] >= MANY:
            y_MN = F.linear(x_MK, self.weight_NK.to(x.dtype)) * self.scale_N
        else:
            y_MN = torch._weight_int8pack_mm(x_MK, self.weight_NK, self.scale_N)
        if self.bias_N is not None:
            y_MN = y_MN + self.bias_N
        return y_MN.view(*x.shape[:-1], -1)


@runtime_checkable
class Tied(Protocol):
    """A model whose head shares the embedding's weights where `head` is None, and whose own head comes first otherwise."""

    embedding: nn.Embedding
    head: nn.Module | None


def quantize(model: nn.Module, precision: str) -> nn.Module:
    """A copy of the model for writing: weights in bf16, and with int8 its linear layers and its head in int8.

    ConfigError for an unknown precision. float32 gives the model itself.
    """
    if precision not in PRECISIONS:
        raise ConfigError("A precision must be one of {known}; received {value!r}.", known=", ".join(PRECISIONS), value=precision)
    if precision == "float32":
        return model
    made = copy.deepcopy(model).to(torch.bfloat16).eval().requires_grad_(False)
    if precision == "int8":
        _exchange(made)
        if isinstance(made, Tied) and made.head is None:
            made.head = Int8Linear(made.embedding.weight, None)
    return made


def _exchange(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, Int8Linear(child.weight, child.bias))
        else:
            _exchange(child)
