"""Low-rank adaptation by module swap (Hu et al. 2021, arXiv:2106.09685): the weights stay, a change of low rank is learned beside them.

    y = W x + b + (alpha / rank) · B (A x)      A (R, I) random, B (O, R) zero: before the first step nothing has changed

`swap` puts a LowRank in the place of a layer under the same names, `merge` puts plain layers back. Works on any model, from outside.
Legend: I inputs, O outputs, R rank.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.nn.dropout import Dropout

ROWS = 64
"""Outputs that are merged at once, so that the sum stays in a core's own cache."""


class LowRank(nn.Module):
    """A linear layer or a 1×1 convolution with its weights fixed and a change of rank R beside them."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float, dropout: float = 0.0):
        super().__init__()
        outputs, inputs = layer.weight.shape[:2]
        scale, rank = alpha / rank, min(rank, inputs, outputs)  # a layer smaller than the rank is scaled as all others are
        self.weight, self.bias = layer.weight, layer.bias
        self.lora_a = nn.Parameter(torch.empty(rank, inputs, device=layer.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank, device=layer.weight.device))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale, self.dropout = scale, Dropout(dropout)
        self.stride = layer.stride if isinstance(layer, nn.Conv2d) else None
        self._quick: tuple[tuple[int, torch.dtype, torch.device], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        apply: Callable[..., Tensor] = F.linear if self.stride is None else self._convolve
        change = apply(apply(self.dropout(x), self.lora_a), self.lora_b)
        return apply(x, self._fixed(x.device.type), self.bias) + self.scale * change

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """A 1×1 convolution; the stride belongs to the first of two in a row."""
        stride = (1, 1) if weight is self.lora_b or self.stride is None else self.stride
        return F.conv2d(x, weight if weight.ndim == 4 else weight[:, :, None, None], bias, stride)

    def _fixed(self, device: str) -> Tensor:
        """The fixed weights; under autocast in its type, converted once and not in every step as autocast would."""
        if not torch.is_autocast_enabled(device):
            return self.weight
        key = (self.weight._version, torch.get_autocast_dtype(device), self.weight.device)
        if self._quick is None or self._quick[0] != key:
            self._quick = (key, self.weight.detach().to(key[1]))
        return self._quick[1]

    def plain(self) -> nn.Linear | nn.Conv2d:
        """The layer with the change added: the same bits every time, whatever the number of threads."""
        outputs, inputs = self.weight.shape[:2]
        merged = _added(self.weight.detach(), self.lora_b.detach(), self.lora_a.detach(), self.scale)
        made = (
            nn.Linear(inputs, outputs, self.bias is not None, device="meta")
            if self.stride is None
            else nn.Conv2d(inputs, outputs, 1, self.stride, bias=self.bias is not None, device="meta")  # type: ignore[arg-type]
        )
        made.weight, made.bias = nn.Parameter(merged), self.bias
        return made.train(self.training)


def _added(weight: Tensor, b_OR: Tensor, a_RI: Tensor, scale: float) -> Tensor:
    """weight + scale · B A in float64, term by term in the order of the rank, rounded once: a matrix product would choose its own order."""
    merged, a_RI = torch.empty_like(weight), a_RI.double()
    for start in range(0, len(weight), ROWS):
        change = torch.zeros(len(weight[start : start + ROWS]), a_RI.shape[1], dtype=torch.float64, device=weight.device)
        for b_O, a_I in zip(b_OR[start : start + ROWS].double().T, a_RI, strict=True):
            change += torch.outer(b_O, a_I)
        merged[start : start + ROWS] = weight[start : start + ROWS].double() + (change * scale).view(-1, *weight.shape[1:])
    return merged


def layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Name -> layer, for all that can be swapped."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d)) and _swappable(module)}


def _swappable(layer: nn.Linear | nn.Conv2d) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding == (0, 0)
    return type(layer) is nn.Linear  # another class of it may compute something else


def swap(model: nn.Module, names: list[str], rank: int, alpha: float, dropout: float = 0.0) -> None:
    """Put a LowRank in the place of each named layer; draws A from torch's generator, in the order of `names`."""
    for name in names:
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, LowRank(model.get_submodule(name), rank, alpha, dropout))  # type: ignore[arg-type]


def merge(model: nn.Module) -> int:
    """Plain layers again, with what was learned added to their weights; how many there were."""
    found = [name for name, module in model.named_modules() if isinstance(module, LowRank)]
    for name in found:
        parent, _, own = name.rpartition(".")
        module = model.get_submodule(name)
        assert isinstance(module, LowRank)
        setattr(model.get_submodule(parent), own, module.plain())
    return len(found)
