"""Keys and values of the tokens read so far, in memory laid out once.

Legend: L layers, B rows, G key-value heads, P places, T new tokens, S places read (P or fewer), K head width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from duomo.core.errors import ResourceError

STEP = 128
"""Rows of unlike lengths are read up to the longest, rounded up to this many places: below that the order of summation changes with it."""


class Cache:
    """Static key-value cache, for inference only: `store` writes the places from `used` on, `advance` moves `used` after all layers did.

    All rows are equally long, unless `part` cut out rows that each have a length of their own (`lengths_B`) and get one token each.
    """

    def __init__(self, layers: int, rows: int, heads: int, places: int, width: int, like: Tensor):
        laid = -(-places // STEP) * STEP
        self.values_L2BGPK = torch.zeros(layers, 2, rows, heads, laid, width, dtype=like.dtype, device=like.device)
        self.tokens_BP = torch.full((rows, laid), -1, device=like.device)
        """What was read, where the model asks for it (`read`)."""
        self.places, self.used = places, 0
        self.lengths_B: Tensor | None = None
        self.last = False
        """Only the logits of the last new token are wanted."""
        self._mask_B11S: Tensor | None = None
        self._rows_B: Tensor | None = None
        self._reach = [0]
        """Places that rows have used so far, for all parts alike: beyond them nothing needs to be moved."""
        self._only = False
        """One row alone: writing needs no list of rows."""

    # -- slots: rows that come and go (core/contract.py::Slots)
    def part(self, first: int, lengths: Sequence[int], ragged: bool = False) -> "Cache":
        """Rows `first` and following as a cache of their own over the same memory, `lengths` tokens of each in use.

        With `ragged` one token is added to each row whatever its length; without, all lengths are the same.
        """
        made = Cache.__new__(Cache)
        made.values_L2BGPK = self.values_L2BGPK[:, :, first : first + len(lengths)]
        made.tokens_BP = self.tokens_BP[first : first + len(lengths)]
        made.places, made.used, made.last = self.places, max(lengths), True
        made.lengths_B, made._mask_B11S, made._rows_B, made._only = None, None, None, False
        made._reach = self._reach
        if ragged:
            device = self.values_L2BGPK.device
            made.lengths_B = torch.tensor(lengths, device=device)
            read = -(-(made.used + 1) // STEP) * STEP
            inside_BS = torch.arange(read, device=device) <= made.lengths_B.unsqueeze(1)
            made._mask_B11S = inside_BS[:, None, None, :]
            made._rows_B = torch.arange(len(lengths), device=device)
            made._only = len(lengths) == 1
        return made

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        end = self._reach[0]
        self.values_L2BGPK[:, :, [one, other], :, :end] = self.values_L2BGPK[:, :, [other, one], :, :end]
        self.tokens_BP[[one, other]] = self.tokens_BP[[other, one]]

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of one row also in another."""
        self.values_L2BGPK[:, :, target, :, :length] = self.values_L2BGPK[:, :, source, :, :length]
        self.tokens_BP[target, :length] = self.tokens_BP[source, :length]

    def select(self, rows_B: Tensor) -> None:
        """Rows become copies of these rows: beams that go on from one another."""
        self.values_L2BGPK[:, :, :, :, : self.used] = self.values_L2BGPK[:, :, rows_B, :, : self.used]
        self.tokens_BP[:, : self.used] = self.tokens_BP[rows_B, : self.used]

    # -- what a model does with it
    def start(self) -> int | Tensor:
        """Place of the first new token: the same for all rows, or (B,)."""
        return self.used if self.lengths_B is None else self.lengths_B

    def check(self, steps: int) -> None:
        """Raises ResourceError where `steps` more tokens would not fit."""
        if self.used + steps > self.places:
            raise ResourceError(
                "The cache holds {places} tokens; received {wanted}. Start a new one with the last tokens.",
                places=self.places, wanted=self.used + steps,
            )  # fmt: skip

    def allowed(self, steps: int) -> Tensor | None:
        """Which places the new tokens may read: (T, used + T) or (B, 1, 1, S), None where all."""
        if self._mask_B11S is not None:
            return self._mask_B11S
        if steps == 1:
            return None
        return torch.ones(steps, self.used + steps, dtype=torch.bool, device=self.values_L2BGPK.device).tril(self.used)

    def store(self, layer: int, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, G, S, K) of everything up to and with these."""
        keys, values = self.values_L2BGPK[layer, 0], self.values_L2BGPK[layer, 1]
        if self.lengths_B is not None and self._mask_B11S is not None:
            end = self._mask_B11S.shape[-1]
            if self._only:
                keys[0, :, self.used], values[0, :, self.used] = k_BGTK[0, :, 0], v_BGTK[0, :, 0]
            else:
                keys[self._rows_B, :, self.lengths_B], values[self._rows_B, :, self.lengths_B] = k_BGTK[:, :, 0], v_BGTK[:, :, 0]
        else:
            end = self.used + k_BGTK.shape[2]
            keys[:, :, self.used : end], values[:, :, self.used : end] = k_BGTK.detach(), v_BGTK.detach()
        self._reach[0] = max(self._reach[0], end)
        return keys[:, :, :end].to(k_BGTK.dtype), values[:, :, :end].to(v_BGTK.dtype)

    def read(self, tokens_BT: Tensor, back: int) -> Tensor:
        """int64 (B, T, back): the new tokens, which are kept, each behind those before it; the last one last, -1 where there is none."""
        rows_B1 = torch.arange(len(tokens_BT), device=tokens_BT.device).unsqueeze(1)
        start = self.start()
        first_B1 = start.unsqueeze(1) if isinstance(start, Tensor) else torch.full_like(rows_B1, start)
        place_BT = first_B1 + torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        self.tokens_BP[rows_B1, place_BT] = tokens_BT
        place_BTK = place_BT.unsqueeze(2) + torch.arange(1 - back, 1, device=tokens_BT.device)
        return torch.where(place_BTK >= 0, self.tokens_BP[rows_B1.unsqueeze(2), place_BTK.clamp(min=0)], -1)

    def advance(self, steps: int) -> None:
        self.used += steps
        if self.lengths_B is not None:
            self.lengths_B = self._mask_B11S = None  # a ragged part serves one step
