"""Smaller weights for faster writing: a token costs what it costs to read the weights once, so fewer bytes are the gain.

    f16    w as IEEE half, x and sums in float32
    int8   w_NK ≈ q_NK · s_N    q = round(w / s) in -127..127    s_N = max_k |w_NK| / 127        (one scale for each output)
           x_MK ≈ p_MK · r_M    p = round(x / r)                 r_M = max_k |x_MK| / 127        (one scale for each row, found as it comes)
           y_MN = r_M s_N Σ_k p_MK q_NK, summed exactly as integers

Acts from outside, by exchanging linear layers; the model's file knows nothing of it. The products are FBGEMM's (Khudia et al. 2021,
arXiv:2101.05615) over weights that are laid out once; a row's result does not depend on how many rows there are. Everything else stays
in float32. Legend: M rows, N outputs, K inputs.
"""

import copy
import warnings
from functools import cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from duomo.core.errors import ConfigError

PRECISIONS = ("float32", "bf16", "f16", "int8")
LARGEST = 65504.0
"""Of a half: larger weights become this."""


class HalfLinear(nn.Module):
    """A linear layer with half weights: float32 (..., K) -> float32 (..., N). For inference only."""

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None):
        super().__init__()
        self._packed: Any = torch.ops.quantized.linear_prepack_fp16(
            weight_NK.detach().float().clamp(-LARGEST, LARGEST), None if bias_N is None else bias_N.detach().float()
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self._packed)
        return y


class Int8Linear(nn.Module):
    """A linear layer with int8 weights: float32 (..., K) -> float32 (..., N). For inference only."""

    bias_N: Tensor

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None):
        super().__init__()
        self._packed, self._levels = _packed(weight_NK.detach().float()), _levels()
        self.register_buffer("bias_N", torch.zeros(len(weight_NK)) if bias_N is None else bias_N.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        largest = torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True).clamp_(min=1e-20)
        return torch.addcmul(self.bias_N, _product(x / largest, self._packed, self._levels), largest)


def _packed(weight_NK: Tensor) -> Any:
    scale_N = weight_NK.abs().amax(1).clamp(min=1e-8).double() / 127
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised tensors will leave torch one day; FBGEMM's layout takes no others, and torch is pinned
        whole = torch.quantize_per_channel(weight_NK, scale_N, torch.zeros(len(weight_NK), dtype=torch.int64), 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(whole, None)


def _product(x: Tensor, packed: Any, levels: int) -> Tensor:
    """`x` within [-1, 1], rounded to that many steps on each side of zero."""
    y: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(x, 1 / levels, 128, packed)
    return y


@cache
def _levels() -> int:
    """127 where the processor adds products of bytes without overflow (VNNI), else 63: tried out on the worst case."""
    return 127 if float(_product(torch.ones(1, 64), _packed(torch.ones(16, 64)), 127)[0, 0]) > 63 else 63


@runtime_checkable
class Tied(Protocol):
    """A model whose head shares the embedding's weights where `head` is None, and whose own head comes first otherwise."""

    embedding: nn.Embedding
    head: nn.Module | None


def quantize(model: nn.Module, precision: str) -> nn.Module:
    """A copy of the model for writing: all weights in bf16, or its linear layers and its head in f16 or int8.

    ConfigError for an unknown precision, or one whose kernels this machine lacks. float32 gives the model itself.
    """
    if precision not in PRECISIONS:
        raise ConfigError("A precision must be one of {known}; received {value!r}.", known=", ".join(PRECISIONS), value=precision)
    if precision == "float32":
        return model
    made = copy.deepcopy(model).eval().requires_grad_(False)
    if precision == "bf16":
        return made.to(torch.bfloat16)
    on_cpu = next(made.parameters()).device.type == "cpu"
    if not on_cpu or "fbgemm" not in torch.backends.quantized.supported_engines:
        raise ConfigError("The precision {value} needs an x86 CPU; received {device}. Leave it out, or answer on such a CPU (beside a GPU: "
                          "--device cpu).", value=precision,
                          device=str(next(made.parameters()).device))  # fmt: skip
    torch.backends.quantized.engine = "fbgemm"
    kind = HalfLinear if precision == "f16" else Int8Linear
    if isinstance(made, Tied) and made.head is None:
        made.head = kind(made.embedding.weight, None)
    _exchange(made, kind)
    return made


def _exchange(module: nn.Module, kind: type[HalfLinear] | type[Int8Linear]) -> None:
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, kind(child.weight, child.bias))
        else:
            _exchange(child, kind)
