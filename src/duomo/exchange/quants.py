"""Weights in few bits, as GGUF files hold them: blocks of numbers that share a scale.

    type   numbers  bytes  a number is
    Q8_0      32      34   d q                    q: -127..127
    Q4_0      32      18   d (q - 8)              q: 0..15, the first half of the block in the low half of each byte
    Q4_1      32      20   d q + m
    Q4_K     256     144   d s q - e m            s, m: 0..63 for each 32 numbers
    Q6_K     256     210   d s (q - 32)           q: 0..63, s: -128..127 for each 16 numbers

Legend: N blocks. The layout is that of the GGUF specification; this code is our own, one numpy expression for all blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Packing:
    """How one type of tensor lies in a file."""

    name: str
    number: int
    """As GGUF numbers it."""
    numbers: int
    """Numbers of one block."""
    size: int
    """Bytes of one block."""
    unpack: Callable[[Bytes], Floats]
    """(N, size) -> (N, numbers)."""
    pack: Callable[[Floats], Bytes] | None = None


def _as(blocks: Bytes, kind: str) -> NDArray[Any]:
    return np.ascontiguousarray(blocks).view(kind)


def _halves(blocks: Bytes, place: int) -> Floats:
    """The 16-bit float at `place` of each block, (N, 1)."""
    return _as(blocks[:, place : place + 2], "<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """(N, n) -> (N, 2 n): the low halves of all bytes, then the high ones."""
    return np.concatenate([packed & 15, packed >> 4], -1)


def _unpack_q4_k(blocks: Bytes) -> Floats:
    packed, groups = blocks[:, 4:16], len(blocks)
    low, middle, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scale = np.concatenate([low & 63, (high & 15) | (low >> 6) << 4], 1).astype(np.float32)
    least = np.concatenate([middle & 63, (high >> 4) | (middle >> 6) << 4], 1).astype(np.float32)
    q = _nibbles(blocks[:, 16:].reshape(groups, 4, 32)).reshape(groups, 8, 32)
    found = (_halves(blocks, 0) * scale)[..., None] * q - (_halves(blocks, 2) * least)[..., None]
    return found.reshape(groups, 256)


def _unpack_q6_k(blocks: Bytes) -> Floats:
    groups = len(blocks)
    low = blocks[:, :128].reshape(groups, 2, 64)
    high = blocks[:, 128:192].reshape(groups, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    q = _nibbles(low).reshape(groups, 2, 4, 32) | high << 4
    scale = _as(blocks[:, 192:208], "i1").astype(np.float32) * _halves(blocks, 208)
    return ((q.reshape(groups, 16, 16).astype(np.float32) - 32) * scale[..., None]).reshape(groups, 256)


def _pack_bf16(values: Floats) -> Bytes:
    """Rounded to the nearest, to even where two are."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype("<u2").view(np.uint8)


def _scaled(values: Floats, scale: Floats) -> Floats:
    return np.divide(values, scale, out=np.zeros_like(values), where=scale != 0)


def _pack_q8_0(values: Floats) -> Bytes:
    scale = (np.abs(values).max(1, keepdims=True) / 127).astype("<f2")
    q = np.clip(np.rint(_scaled(values, scale.astype(np.float32))), -127, 127).astype(np.int8)
    return np.concatenate([scale.view(np.uint8), q.view(np.uint8)], 1)


def _pack_q4_0(values: Floats) -> Bytes:
    """The number farthest from zero becomes exactly -8 d."""
    far = np.take_along_axis(values, np.abs(values).argmax(1)[:, None], 1)
    scale = (far / -8).astype("<f2")
    q = np.clip(np.floor(_scaled(values, scale.astype(np.float32)) + 8.5), 0, 15).astype(np.uint8)
    return np.concatenate([scale.view(np.uint8), q[:, :16] | q[:, 16:] << 4], 1)


PACKINGS = (
    Packing("f32", 0, 1, 4, lambda blocks: _as(blocks, "<f4").astype(np.float32),
            lambda values: np.ascontiguousarray(values, "<f4").view(np.uint8)),
    Packing("f16", 1, 1, 2, lambda blocks: _as(blocks, "<f2").astype(np.float32),
            lambda values: np.clip(values, -65504, 65504).astype("<f2").view(np.uint8)),
    Packing("q4_0", 2, 32, 18, lambda blocks: _halves(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8), _pack_q4_0),
    Packing("q4_1", 3, 32, 20, lambda blocks: _halves(blocks, 0) * _nibbles(blocks[:, 4:]) + _halves(blocks, 2)),
    Packing("q8_0", 8, 32, 34, lambda blocks: _halves(blocks, 0) * _as(blocks[:, 2:], "i1"), _pack_q8_0),
    Packing("q4_k", 12, 256, 144, _unpack_q4_k),
    Packing("q6_k", 14, 256, 210, _unpack_q6_k),
    Packing("bf16", 30, 1, 2, lambda blocks: (_as(blocks, "<u2").astype(np.uint32) << 16).view(np.float32), _pack_bf16),
)  # fmt: skip
BY_NUMBER = {packing.number: packing for packing in PACKINGS}
BY_NAME = {packing.name: packing for packing in PACKINGS}
OTHERS = {6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K"}
"""Types that are known by name only, so that a refusal can say which one it met."""
