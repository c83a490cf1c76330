"""Dropout with a mask that costs little on a CPU (Srivastava et al. 2014, "Dropout", JMLR 15, section 10: inverted scaling).

torch's own mask draws one Bernoulli number per element with one thread, a third of a small Transformer's step; here one
64-bit random integer decides four elements, 16 bits each. The rate is therefore rounded to a multiple of 1/65,536, and the
scale belongs to the rounded rate, so that the mean is kept exactly.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 65_536


class Dropout(nn.Module):
    """Same shape and type; the identity in evaluation. Follows torch.manual_seed."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        self.dropped = min(STEPS - 1, round(rate * STEPS))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        keep = mask(x.numel(), self.dropped).view(x.shape).to(x.dtype)
        # two products: the scale itself would lose its digits in a bf16 mask
        return (x * keep) * (STEPS / (STEPS - self.dropped))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def mask(count: int, dropped: int) -> Tensor:
    """bool (count,): False with probability dropped / 65,536."""
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return drawn.view(torch.int16)[:count] >= dropped - STEPS // 2
