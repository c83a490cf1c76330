"""Words as the pieces that weights were taught to read: the first piece of a word answers for it (Devlin et al. 2019, section 5.3).

Legend: B rows, T words, P pieces, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from duomo.core.contract import Field
from duomo.core.kinds import text as text_kind
from duomo.core.tensors import Batch, Column, Ragged
from duomo.tasks.tag.tokens import Row

PLACES = "text.places"
"""In a batch: (B, T) at which piece each word begins; beyond the last one where the row was cut before it."""
BEYOND = 1 << 30


def fields(tokenizer: Mapping[str, Any], longest: int) -> dict[str, Field]:
    """The one input: pieces, at most `longest` or as many as the weights know places for."""
    return {"pieces": text_kind.KIND.field({**tokenizer, "longest": min(longest, int(tokenizer["longest"]))})}


def encode(rows: Sequence[Row], tokenizer: Mapping[str, Any], longest: int) -> dict[str, Column]:
    """The pieces of every row, framed and cut to `longest` as the weights are used to (uncut where 0), and `PLACES`."""
    state, kind = {**tokenizer, "longest": longest or BEYOND}, text_kind.type_of(tokenizer)
    found = text_kind.tokenizer_of(tokenizer).encode_batch([row.text for row in rows], add_special_tokens=False)
    before, after = (len(part) for part in tokenizer.get("frame", ((), ())))
    pieces, places = [], []
    for row, one in zip(rows, found, strict=True):
        ends = np.array([stop for _, stop in one.offsets], np.int64)
        first = np.minimum(np.searchsorted(ends, np.array(row.starts, np.int64), side="right"), max(0, len(ends) - 1)) + before
        pieces.append(text_kind.framed(state, np.array(one.ids, kind)))
        places.append(np.where(first < max(before + 1, len(pieces[-1]) - after), first, BEYOND) if len(first) else np.zeros(1, np.int64))
    return {"pieces": Ragged.of(pieces, np.zeros(0, kind)), PLACES: Ragged.of(places, np.zeros(0, np.int64))}


def of_words(output: Tensor, batch: Batch) -> Tensor:
    """(B, P, C) -> (B, T, C): what is said at the first piece of each word; unchanged where the model reads words."""
    if PLACES not in batch:
        return output
    places_BT1 = batch[PLACES].clamp(max=output.shape[1] - 1).unsqueeze(2)
    return output.gather(1, places_BT1.expand(-1, -1, output.shape[2]))


def seen(batch: Batch, like: Tensor) -> Tensor:
    """(B, T) bool: words that the model was shown; `like` (B, T)."""
    return batch[PLACES] < BEYOND if PLACES in batch else torch.ones_like(like, dtype=torch.bool)
