"""Windows of a text with some tokens hidden (Devlin et al. 2019, arXiv:1810.04805, section 3.1, task 1).

Of every window a share of the tokens is to be guessed: 80 % of these become the mask, 10 % a random token, 10 % stay. In training both
the window's place and what is hidden are drawn from the step's generator; judging hides what follows from the window's number, always
behind the mask, so that every model is asked the same. Legend: B rows, T positions of a framed window, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from duomo.core.tensors import Batch, Running

MASKED, RANDOM = 0.8, 0.9
SEED = 0x5DEECE66D


@dataclass(frozen=True)
class Hiding:
    """What may be hidden, and behind what."""

    share: float
    mask: int
    random_V: Tensor
    """Numbers of the tokens that a random one is drawn from."""
    fixed_V: Tensor
    """bool (V,): tokens that are never to be guessed (padding, mask, what divides documents)."""
    begins_V: Tensor | None = None
    """bool (V,): tokens that begin a word, where whole words are hidden."""
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Masked(Running):
    """Row i holds tokens i * width … of the stream between `before` and `after`.

    A batch holds `x` (B, T) as the model reads it, `x.wanted` (B, T) bool where a token is to be guessed, and `target` (B, T).
    """

    hiding: Hiding

    def __len__(self) -> int:
        return max(1, -(-self.values.shape[0] // self.width))

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        last = max(0, self.values.shape[0] - self.width)
        index = self.starts(rows, generator).clamp(0, last).unsqueeze(1) + torch.arange(min(self.width, self.values.shape[0]))
        hiding, true_BT = self.hiding, self.values[index].long()
        sides = [torch.tensor(side, dtype=torch.int64).expand(len(rows), -1) for side in (hiding.before, hiding.after)]
        if generator is not None:
            drawn = torch.rand((3, *true_BT.shape), generator=generator)
        else:
            drawn = torch.stack([torch.rand(true_BT.shape[1], generator=torch.Generator().manual_seed(SEED ^ int(row))) for row in rows])
            drawn = torch.stack([drawn, torch.zeros_like(drawn), torch.zeros_like(drawn)])
        wanted_BT = self._wanted(true_BT, drawn[0])
        kind_BT = drawn[1]
        other_BT = hiding.random_V[(drawn[2] * len(hiding.random_V)).long().clamp_(max=len(hiding.random_V) - 1)]
        shown_BT = torch.where(wanted_BT & (kind_BT < MASKED), hiding.mask, true_BT)
        shown_BT = torch.where(wanted_BT & (kind_BT >= MASKED) & (kind_BT < RANDOM), other_BT, shown_BT)
        never = [torch.zeros_like(side, dtype=torch.bool) for side in sides]
        return {
            name: torch.cat([sides[0], shown_BT, sides[1]], 1),
            f"{name}.wanted": torch.cat([never[0], wanted_BT, never[1]], 1),
            "target": torch.cat([sides[0], true_BT, sides[1]], 1),
        }

    def _wanted(self, true_BT: Tensor, drawn_BT: Tensor) -> Tensor:
        """A share of the tokens, or of the words with all their tokens; never none of a window that has any."""
        hiding = self.hiding
        if hiding.begins_V is not None:
            word_BT = hiding.begins_V[true_BT].long().cumsum(1).clamp_(max=drawn_BT.shape[1] - 1)
            drawn_BT = drawn_BT.gather(1, word_BT)
        drawn_BT = drawn_BT.masked_fill(hiding.fixed_V[true_BT], 2.0)
        least_B1 = drawn_BT.min(1, keepdim=True).values
        return (drawn_BT < hiding.share) | ((drawn_BT == least_B1) & (least_B1 < 1))

    def lengths(self) -> np.ndarray | None:
        return None
