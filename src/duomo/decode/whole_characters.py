"""Whole characters: where tokens are made of bytes, one that breaks a character off, or begins amidst one, is never written.

Models that learned little text, above all Chinese, choose such tokens now and then. Legend: V vocabulary.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from duomo.core.kinds import text as text_kind
from duomo.decode.grammar import speller

FIRST = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}
"""What may follow these bytes, where it is not everything from 80 to BF (Unicode 15, table 3-7)."""
LONGEST = 4


class State(NamedTuple):
    """How many bytes the last character lacks, and between which the next one must lie."""

    lacking: int = 0
    low: int = 0x80
    high: int = 0xBF


def behind(written: bytes) -> State:
    """Where a text stands after these bytes, of which the last few tell."""
    for size in range(1, min(LONGEST, len(written) + 1)):
        lead = written[-size]
        if 0xC2 <= lead <= 0xF4:
            whole = 2 + (lead >= 0xE0) + (lead >= 0xF0)
            return State(whole - size, *FIRST.get(lead, (0x80, 0xBF))) if size == 1 and whole > 1 else State(max(0, whole - size))
        if not 0x80 <= lead <= 0xBF:
            break
    return State()


class TokenBytes:
    """The bytes of a vocabulary's tokens, and which tokens may follow in each state."""

    def __init__(self, tokenizer: Mapping[str, Any]):
        made, spelled = text_kind.tokenizer_of(tokenizer), speller(tokenizer)
        special = set(made.get_added_tokens_decoder())
        names = [made.id_to_token(number) or "" for number in range(int(tokenizer["size"]))]
        self.bytes = [name.encode() if number in special else spelled(name) for number, name in enumerate(names)]
        begun = [_begun(one) for one in self.bytes]
        self._begun_V = np.array(begun)
        self._size_V, self._first_V = np.array([len(one) for one in self.bytes]), np.array([one[0] if one else 0 for one in self.bytes])
        self._sound_V = np.array([_sound(one[count:]) for one, count in zip(self.bytes, begun, strict=True)])
        self._masks: dict[State, Tensor | None] = {}

    def mask(self, state: State) -> Tensor | None:
        """bool (V,) what may follow; None where that is everything, or nothing."""
        if state not in self._masks:
            if state.lacking:
                inside_V = (self._begun_V == self._size_V) & (self._size_V <= state.lacking)
                fits_V = (state.low <= self._first_V) & (self._first_V <= state.high)
                found_V = fits_V & (self._begun_V > 0) & (inside_V | (self._sound_V & (self._begun_V == state.lacking)))
            else:
                found_V = self._sound_V & (self._begun_V == 0)
            self._masks[state] = torch.from_numpy(found_V) if found_V.any() and not found_V.all() else None
        return self._masks[state]


class WholeCharacters:
    """One answer's way."""

    def __init__(self, tokenizer: Mapping[str, Any], prompt: Sequence[int]):
        self._spelled = _spelled(str(tokenizer["json"]), str(tokenizer["tokenizer"]), int(tokenizer["size"]))
        self._tail = b"".join(self._spelled.bytes[token] for token in prompt[-LONGEST:])[-LONGEST:]

    def mask(self) -> Tensor | None:
        """bool (V,) what may come next; None for everything."""
        return self._spelled.mask(behind(self._tail))

    def add(self, token: int) -> None:
        self._tail = (self._tail + self._spelled.bytes[token])[-LONGEST:]


@lru_cache(maxsize=4)
def _spelled(text: str, name: str, size: int) -> TokenBytes:
    return TokenBytes({"json": text, "tokenizer": name, "size": size})


def _begun(token: bytes) -> int:
    """Bytes at the beginning that go on with a character."""
    return next((place for place, byte in enumerate(token) if not 0x80 <= byte <= 0xBF), len(token))


def _sound(token: bytes) -> bool:
    """Whether bytes are whole characters, or such and the beginning of one."""
    try:
        token.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True
