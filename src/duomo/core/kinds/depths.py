"""Pictures of more than 8 bits a value: how deep they are, what is black and white in them, and colours of 16 bits, of which Pillow would
keep the upper 8 alone.

Legend: H height, W width, C channels.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from duomo.core import films
from duomo.core.kinds import media

BITS, TURN = 0x0102, 0x0112
COLOURS = ("RGB", "RGBA")
DEEP = "deepest"
"""Where the largest value of a picture that was brought to 8 bits is noted."""
NOTHING, TINY = 1e30, 1e-9
"""Values of that size stand where nothing was measured; the least distance of black and white."""


def depth(picture: Image.Image, load: Callable[[Image.Image], None]) -> tuple[float, float]:
    """Largest and least value of a picture of more than 8 bits, zeros for others."""
    if not picture.mode.startswith(("I", "F")):
        return float(picture.info.get(DEEP, 0.0)), 0.0
    load(picture)
    values = np.asarray(picture, np.float64)
    values = values[np.abs(values) < NOTHING]
    deep, low = float(values.max(initial=0.0)), float(values.min(initial=0.0))
    deep, low = np.percentile(values, [99.5, 0.5]).tolist() if low < 0 else (deep, low)
    return deep, low


def white(deepest: float) -> float:
    """The value of white for the deepest pixel seen: 1 for fractions, else the next 2^k - 1 (at least 255)."""
    if deepest <= 0:
        return 65535.0
    return 1.0 if deepest <= 1.0 else float(max(255, 2 ** int(np.ceil(np.log2(deepest + 1))) - 1))


def levels(deepest: float, least: float) -> tuple[float, float]:
    """White and black for the deepest and the least value seen."""
    return (max(deepest, least + TINY), least) if least < 0 else (white(deepest), 0.0)


def is_coloured(picture: Image.Image) -> bool:
    """Whether a picture that is opened, and lies upright, has colours of 16 bits each."""
    if picture.mode not in COLOURS:
        return False
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return picture.tag_v2.get(BITS) == (16,) * len(picture.getbands()) and picture.tag_v2.get(TURN, 1) == 1
    return isinstance(picture, PngImagePlugin.PngImageFile) and any(";16" in str(tile.args) for tile in picture.tile)


def coloured(source: media.Source, picture: Image.Image, most: float) -> Image.Image:
    """Such a picture, which decodes to its end, in 8 bits; `most` is white, where 0 what suits its own deepest value. What OpenCV does
    not read stays as Pillow has it."""
    cv2 = films.library()
    undecoded: type[Exception] = cv2.error
    packed = np.frombuffer(source, np.uint8) if isinstance(source, bytes) else np.fromfile(source, np.uint8)
    try:
        values_HWC = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED)
    except undecoded:
        values_HWC = None
    if values_HWC is None or values_HWC.dtype != np.uint16 or values_HWC.shape[2:] != (len(picture.getbands()),):
        return picture
    deepest = float(values_HWC[..., :3].max())
    scale_C = np.array([255 / (most or white(deepest))] * 3 + [255 / 65535])[: values_HWC.shape[2]]
    values_HWC = values_HWC[..., [2, 1, 0, 3][: values_HWC.shape[2]]] * scale_C
    found = Image.fromarray(np.clip(values_HWC + 0.5, 0, 255).astype(np.uint8))
    found.info.update({name: value for name, value in picture.info.items() if name == "exif"}, **{DEEP: deepest})
    return found
