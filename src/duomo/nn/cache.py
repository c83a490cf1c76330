"""Keys and values of the tokens read so far, in memory laid out once.

Legend: L layers, B rows, G key-value heads, T places, K head width.
"""

import torch
from torch import Tensor

from duomo.core.errors import ResourceError


class Cache:
    """Static key-value cache, for inference only: `store` writes the places from `used` on, `advance` moves `used` after all layers did."""

    def __init__(self, layers: int, rows: int, heads: int, places: int, width: int, like: Tensor):
        self.values_L2BGTK = torch.zeros(layers, 2, rows, heads, places, width, dtype=like.dtype, device=like.device)
        self.places, self.used = places, 0

    def check(self, steps: int) -> None:
        """Raises ResourceError where `steps` more tokens would not fit."""
        if self.used + steps > self.places:
            raise ResourceError(
                "The cache holds {places} tokens; received {wanted}. Start a new one with the last tokens.",
                places=self.places, wanted=self.used + steps,
            )  # fmt: skip

    def store(self, layer: int, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, G, used + T, K) of everything up to and with these."""
        end = self.used + k_BGTK.shape[2]
        keys, values = self.values_L2BGTK[layer, 0], self.values_L2BGTK[layer, 1]
        keys[:, :, self.used : end], values[:, :, self.used : end] = k_BGTK.detach(), v_BGTK.detach()
        return keys[:, :, :end].to(k_BGTK.dtype), values[:, :, :end].to(v_BGTK.dtype)

    def advance(self, steps: int) -> None:
        self.used += steps
