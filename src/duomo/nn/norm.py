"""Norms by name, and the type that activations travel in.

Legend: `...` any leading sizes, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    """(..., D) -> (..., D): x / sqrt(mean(x²) + eps) * weight (Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4)."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # squares of bf16 numbers need float32; the result returns to the type that came in
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


def norm(kind: str, width: int, eps: float) -> nn.Module:
    """`layer` (Ba et al. 2016, arXiv:1607.06450) or `rms`."""
    return nn.LayerNorm(width, eps) if kind == "layer" else RMSNorm(width, eps)


def as_autocast(x: Tensor) -> Tensor:
    """`x` in the type that autocast computes in, or as it is: keeps the stream between layers from falling back to float32."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x
