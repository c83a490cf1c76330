"""Pictures: decoded upright onto white, grey or RGB, brought to one size, uint8.

Legend: N rows, C channels (1 or 3), H height, W width.
"""

import io
import re
import struct
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from duomo.core import scans
from duomo.core.contract import Field
from duomo.core.errors import DataError
from duomo.core.kinds import depths, media
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import sample
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".jpe",
    ".gif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".pgm",
    ".ppm",
    ".pbm",
    ".pnm",
    *scans.ENDINGS,
)
UNREAD = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd")
"""Pictures all the same, so that none is passed over in silence; nothing here decodes them."""
FORMS = {
    "HEIF": re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL),
    "AVIF": re.compile(rb"....ftypavi", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  "),
    "PSD": re.compile(rb"8BPS"),
    "OpenEXR": re.compile(rb"v/1\x01"),
    "Radiance HDR": re.compile(rb"#\?R(ADIANCE|GBE)"),
    "DDS": re.compile(rb"DDS "),
    "SVG": re.compile(rb"[^\0]{0,1000}?<svg[\s>]", re.IGNORECASE),
}
"""How files begin that hold a picture in another form."""
PLUGINS = (
    PngImagePlugin.PngImageFile,
    JpegImagePlugin.JpegImageFile,
    GifImagePlugin.GifImageFile,
    BmpImagePlugin.BmpImageFile,
    WebPImagePlugin.WebPImageFile,
    TiffImagePlugin.TiffImageFile,
    PpmImagePlugin.PpmImageFile,
)
FORMATS = tuple(plugin.format for plugin in PLUGINS)
"""What is opened at all: no format that starts another program or reads other files."""
LARGEST = 64_000_000
"""Pixels; a header that promises more is refused before anything is decoded."""
STACKED, CHANNELS, MOST_PAGES = ("L", "I;16", "I;16B", "I", "F"), 3, 1000
"""Kinds of pages of a TIFF that are put together; as many are channels; no more are looked at."""
SMALL, USUAL = 64, 64
"""Pictures of one size up to SMALL keep it; others become USUAL pixels square."""
FAULTS = (OSError, SyntaxError, ValueError, TypeError, struct.error)
"""What Pillow raises for damaged files of the formats above: SyntaxError for a broken PNG or EXIF, ValueError for a number that is none,
TypeError and struct.error for EXIF or TIFF tags of another type. (450,000 mutated files of all of them raised nothing else.)"""

# Pillow's own limit is a warning; ours is an error. (Filters cannot be set around each call: decoding runs in threads.)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


ORIENTATION, PLANES, PHOTOMETRIC = 0x0112, 0x011C, 0x0106
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Look(NamedTuple):
    """What the header of a picture says."""

    width: int
    height: int
    alpha: bool
    deep: float
    """Largest value of a picture of more than 8 bits; 0 for the usual ones."""
    low: float = 0.0
    """Least value of one that has values below 0."""


@final
class Picture(Kind):
    """A picture file."""

    name: ClassVar[str] = "image"
    form: ClassVar[str | None] = "pixels"

    def recognise(self, name: str, cells: Cells) -> str | None:
        return media.recognise(cells, (*SUFFIXES, *UNREAD), magic)

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """State: `size` (C, H, W), how it is reached (`fit`: exact, crop or letterbox), `fill` of the margins, `white` (the
        value of white in pictures of more than 8 bits) and `black` (where some have values below 0), `mean` and
        `std` of each channel in 0..1.
        """
        some = Cells(sample(cells.data, 2000), cells.root)
        looks = [item for item in media.decode_all(media.sources(some), look) if isinstance(item, Look)]
        if not looks:
            raise DataError("At least one picture must be readable; none of {rows} is. Look at the files.", rows=len(cells.data))
        white, black = depths.levels(max(item.deep for item in looks), min(item.low for item in looks))
        how, height, width = shape_for(looks, config.picture_size)
        fill = 255 if sum(item.alpha for item in looks) > 0.5 * len(looks) else 0
        draft = {"size": [3, height, width], "fit": how, "fill": fill, "white": white} | ({"black": black} if black else {})
        few = Cells(sample(cells.data, 512), cells.root)
        found = media.decode_all(media.sources(few), lambda source: decode(source, draft))
        pixels = np.stack([item for item in found if isinstance(item, np.ndarray)] or [np.zeros((3, height, width), np.uint8)])
        grey = bool((pixels[:, 0] == pixels[:, 1]).all() and (pixels[:, 1] == pixels[:, 2]).all())
        pixels = pixels[:, :1] if grey else pixels
        return draft | {"size": [1 if grey else 3, height, width]} | moments(pixels)

    def adopt(self, given: Mapping[str, Any], cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """Channels, mean and deviation are the weights'; so is the size, unless another was asked for."""
        channels, height, width = given["size"]
        wanted = config.picture_size
        own = self.fit(cells, replace(config, picture_size=wanted or width))
        kept = {"size": [channels, wanted or height, wanted or width], "mean": list(given["mean"]), "std": list(given["std"])}
        return own | kept | {"fit": given.get("fit", own["fit"])}

    def field(self, state: Mapping[str, Any]) -> Field:
        channels, height, width = state["size"]
        return Field("pixels", (channels, height, width), facts={"mean": list(state["mean"]), "std": list(state["std"])})

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        found = media.whole(cells, media.decode_all(media.sources(cells), lambda source: decode(source, state)))
        return Block(np.stack(found) if found else np.zeros((0, *state["size"]), np.uint8))

    def check(self, cells: Cells) -> media.Broken:
        """Pictures that cannot be decoded to their end, with name and reason (JPEG at an eighth of its size)."""
        return media.broken(cells, trial)


def moments(pixels_NCHW: np.ndarray) -> dict[str, list[float]]:
    """Mean and deviation of each channel of uint8 pictures, in 0..1."""
    mean = pixels_NCHW.mean(axis=(0, 2, 3), dtype=np.float64) / 255
    std = np.maximum(pixels_NCHW.std(axis=(0, 2, 3), dtype=np.float64) / 255, 1e-2)
    return {"mean": mean.tolist(), "std": std.tolist()}


def magic(head: bytes) -> bool:
    """Whether a file begins as a picture does."""
    starts = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", *TIFF, b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
    return head.startswith(starts) or scans.is_scan(head) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def open_picture(source: media.Source, white: float = 0.0) -> Image.Image:
    """The picture with only its header read; ValueError with the reason when it cannot be, or is too large. Of a scan the middle slice; of
    colours of 16 bits all in 8, `white` being the value of white (0: what suits the picture)."""
    if scans.is_scan(source):
        slices = scans.read(source).slices
        return Image.fromarray(slices[len(slices) // 2])
    try:
        picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    except BOMBS as error:
        raise ValueError(tr("the picture has more than {limit} pixels", limit=LARGEST)) from error
    except FAULTS as error:
        raise ValueError(_unread(source)) from error
    if picture.width * picture.height > LARGEST:
        picture.close()
        raise ValueError(tr("the picture has more than {limit} pixels", limit=LARGEST))
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        if picture.tag_v2.get(ORIENTATION) in (5, 6, 7, 8):
            picture.filename = ""  # of a file that Pillow maps into memory it takes the lines as long as they are when turned
        if picture.mode in STACKED:
            return _stacked(picture)
        if picture.tag_v2.get(PLANES) == 2 and picture.tag_v2.get(depths.BITS) == (16,) * len(picture.getbands()):
            picture.close()  # Pillow reads halves of the values
            raise ValueError(_odd_tiff())
    if not depths.is_coloured(picture):
        return picture
    load(picture)
    return depths.coloured(source, picture, white)


def _odd_tiff() -> str:
    return tr("it is damaged, or a TIFF of channels that are not read; make it PNG, for example: magick IN -depth 8 OUT.png")


def _stacked(picture: TiffImagePlugin.TiffImageFile) -> Image.Image:
    """Grey pages of one size, as microscopes write them, as one picture: two or three are its channels, of more the brightest value of each
    place is shown. One page, or pages that differ, as documents and pyramids have them: the first."""
    found, brightest = list[np.ndarray](), np.zeros(0)
    try:
        pages = min(picture.n_frames, MOST_PAGES, LARGEST // max(1, picture.width * picture.height))
        shape = (picture.height, picture.width)
        for page in range(pages if pages > 1 else 0):
            picture.seek(page)
            if picture.mode not in STACKED or (picture.height, picture.width) != shape:
                pages = 1
                break
            values = _grey(picture)
            found = [*found, values][:CHANNELS]
            brightest = np.maximum(brightest, values) if page else values
        picture.seek(0)
    except FRAME_FAULTS as error:
        raise ValueError(tr("the picture is truncated or damaged")) from error
    if pages < 2:
        return Image.fromarray(_grey(picture)) if _inverted(picture) else picture
    if pages > CHANNELS:
        return Image.fromarray(brightest)
    deep = 255 if found[0].dtype == np.uint8 else depths.white(max(float(np.nanmax(page, initial=0.0)) for page in found))
    channels = [np.clip(np.nan_to_num(page) / deep * 255 + 0.5, 0, 255).astype(np.uint8) for page in found]
    return Image.fromarray(np.stack([*channels, *[np.zeros_like(channels[0])] * (CHANNELS - len(channels))], axis=2))


def _inverted(picture: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether 0 is white in more than 8 bits, which Pillow leaves as it is stored."""
    return picture.tag_v2.get(PHOTOMETRIC) == 0 and picture.mode.startswith("I;16")


def _grey(picture: TiffImagePlugin.TiffImageFile) -> np.ndarray:
    """The values of a grey page, white the largest; ValueError for a damaged one."""
    load(picture)
    values = np.asarray(picture)
    return np.iinfo(values.dtype).max - values if _inverted(picture) else values


def form_of(head: bytes) -> str:
    """Which of the forms that are not read a file begins as; empty for others."""
    return next((name for name, start in FORMS.items() if start.match(head)), "")


def _unread(source: media.Source) -> str:
    """Why no picture was opened, and what to do where its form is known."""
    head = media.head(source, 1024)
    form = form_of(head)
    if not form:
        return _odd_tiff() if head.startswith(TIFF) else tr("it is no picture that can be read")
    return tr("pictures in {form} are not decoded here; make it PNG or JPEG, for example: magick IN OUT.png", form=form)


def load(picture: Image.Image) -> None:
    """Decode; ValueError for a damaged or truncated file."""
    try:
        picture.load()
    except FAULTS as error:
        raise ValueError(tr("the picture is truncated or damaged")) from error


def look(source: media.Source) -> Look:
    """Size, transparency and depth of a picture."""
    with open_picture(source) as picture:
        width, height = picture.size
        alpha = "A" in picture.getbands() or "transparency" in picture.info
        return Look(width, height, alpha, *depths.depth(picture, load))


def upright(source: media.Source) -> tuple[int, int]:
    """Width and height as the picture is looked at: after the turn that its EXIF asks for."""
    (width, height), turn = header(source)
    return (height, width) if turn >= 5 else (width, height)


def header(source: media.Source) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and the orientation that EXIF asks for: 1 where none, from 5 on the picture lies on its side."""
    with open_picture(source) as picture:
        try:
            turn = picture.getexif().get(ORIENTATION, 1)
        except FAULTS:  # damaged EXIF turns nothing
            turn = 1
        turn = turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
        turned = turn >= 5 and isinstance(picture, TiffImagePlugin.TiffImageFile)  # which tells its size as it is looked at
        return picture.size[::-1] if turned else picture.size, turn


def trial(source: media.Source) -> bool:
    """Decode as cheaply as finds damage."""
    with open_picture(source) as picture:
        picture.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
        load(picture)
    return True


def shape_for(looks: list[Look], wanted: int) -> tuple[str, int, int]:
    """How pictures become one shape: (exact, crop or letterbox; height; width).

    One small size is kept. Otherwise the middle square is cut, unless many pictures are so long that it would lose a third.
    """
    sizes = Counter((item.height, item.width) for item in looks)
    (height, width), most = sizes.most_common(1)[0]
    if not wanted and most == len(looks) and max(height, width) <= SMALL:
        return "exact", height, width
    side = wanted or int(np.clip(np.median([min(item.height, item.width) for item in looks]), 8, USUAL))
    long = np.mean([max(item.height, item.width) > 1.5 * min(item.height, item.width) for item in looks])
    return ("letterbox" if long > 0.25 else "crop"), side, side


def decode(source: media.Source, state: Mapping[str, Any]) -> np.ndarray:
    """One picture as uint8 (C, H, W) of the state's size; ValueError with the reason when it cannot be read."""
    channels, height, width = state["size"]
    with open_picture(source, state["white"]) as opened:
        if max(opened.size) > 2 * max(height, width):
            opened.draft(None, (2 * width, 2 * height))
        load(opened)
        try:
            picture = plain(ImageOps.exif_transpose(opened), state["white"], state.get("black", 0.0)).convert(
                "L" if channels == 1 else "RGB"
            )
            picture = resize(picture, (width, height), state["fit"], state["fill"])
        except FAULTS as error:
            raise ValueError(tr("the picture is truncated or damaged")) from error
    pixels = np.asarray(picture, np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def plain(picture: Image.Image, white: float, black: float = 0.0) -> Image.Image:
    """Deep pictures to 8 bits, transparent ones onto white."""
    if picture.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(picture, np.float64), nan=black, posinf=white, neginf=black)
        return Image.fromarray((np.clip((values - black) / (white - black), 0, 1) * 255 + 0.5).astype(np.uint8))
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        grey = picture.mode in ("LA", "La")
        over = picture.convert("LA" if grey else "RGBA")
        under = Image.new("L" if grey else "RGB", picture.size, 255 if grey else (255, 255, 255))
        under.paste(over.convert("L" if grey else "RGB"), mask=over.getchannel("A"))
        return under
    return picture


def shown(picture: Image.Image) -> Image.Image:
    """An opened picture by itself, as it is looked at: upright, 8 bits, onto white; ValueError for a damaged one."""
    load(picture)
    try:
        return plain(ImageOps.exif_transpose(picture), *depths.levels(*depths.depth(picture, load)))
    except FAULTS as error:
        raise ValueError(tr("the picture is truncated or damaged")) from error


def resize(picture: Image.Image, size: tuple[int, int], how: str, fill: int) -> Image.Image:
    """To (width, height) with antialiasing: the middle cut out, or the whole with margins (letterbox)."""
    if picture.size == size:
        return picture
    width, height = size
    if how == "letterbox":
        share = min(width / picture.width, height / picture.height)
        inner = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
        small = picture.resize(inner, Image.Resampling.BILINEAR, reducing_gap=2.0)
        under = Image.new(picture.mode, size, fill if picture.mode == "L" else (fill, fill, fill))
        under.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return under
    share = min(picture.width / width, picture.height / height)
    cut_w, cut_h = width * share, height * share
    left, top = (picture.width - cut_w) / 2, (picture.height - cut_h) / 2
    box = (max(0.0, left), max(0.0, top), min(left + cut_w, picture.width), min(top + cut_h, picture.height))  # 253 / 224 * 224 > 253
    return picture.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


KIND = Picture()
FRAME_FAULTS = (*FAULTS, EOFError)
