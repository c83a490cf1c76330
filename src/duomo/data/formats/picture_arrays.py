"""Arrays of pictures: each as the bytes of a PNG file, so that it is a picture to all that follows."""

import io
from typing import Any

import numpy as np
from PIL import Image

SMALLEST = 8
"""Pixels of a side from which on bytes (N, H, W) are pictures: fewer are a few measurements over time."""
CHANNELS = (1, 3, 4)
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Kinds of pictures that a PNG file holds as they are."""


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
    return [png(one) for one in array]


def is_picture(value: Any) -> bool:
    """Whether a cell is a picture of PIL, or the bytes (H, W) or (H, W, C) of one."""
    shape = value.shape if isinstance(value, np.ndarray) and value.dtype == np.uint8 else ()
    return isinstance(value, Image.Image) or (len(shape) in (2, 3) and min(shape[:2]) >= SMALLEST and shape[2:] in ((), *zip(CHANNELS)))


def png(picture: Any) -> bytes:
    """A picture of PIL, or the bytes of one, as a PNG file."""
    held = io.BytesIO()
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else np.ascontiguousarray(picture))
    drawn = picture if picture.mode in MODES else picture.convert("RGB")
    drawn.save(held, "PNG", compress_level=1)
    return held.getvalue()
