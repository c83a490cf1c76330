"""Arrays of pictures: each as the bytes of a PNG file, so that it is a picture to all that follows."""

import io

import numpy as np
from PIL import Image

SMALLEST = 8
"""Pixels of a side from which on bytes (N, H, W) are pictures: fewer are a few measurements over time."""
CHANNELS = (1, 3, 4)


def pictures(array: np.ndarray) -> list[bytes] | None:
    """(N, H, W) bytes, or (N, H, W, C) or (N, C, H, W) of bytes or of what fits them (whole numbers to 255, parts of 1), as PNG files; None
    for other arrays."""
    if array.ndim not in (3, 4) or not array.size or (array.ndim == 3 and array.dtype != np.uint8) or array.dtype.kind not in "uif":
        return None
    if array.ndim == 4 and array.shape[3] not in CHANNELS and array.shape[1] in CHANNELS:
        array = array.transpose(0, 2, 3, 1)
    if min(array.shape[1:3]) < SMALLEST or (array.ndim == 4 and array.shape[3] not in CHANNELS):
        return None
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 255) or (high > 1 and array.dtype.kind == "f" and (array[:100] % 1).any()):
            return None
        array = (array * 255 if high <= 1 and array.dtype.kind == "f" else array).round().astype(np.uint8)
    return [_png(one) for one in array]


def _png(pixels: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else np.ascontiguousarray(pixels)).save(held, "PNG", compress_level=1)
    return held.getvalue()
