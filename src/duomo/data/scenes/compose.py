"""Scenes made from cut-outs: pictures with alpha pasted on backgrounds, with exact boxes and masks, so that few cut-outs teach a detector.

After "Cut, Paste and Learn" (Dwibedi et al. 2017, arXiv:1708.01642): scale, turn, light, shadow, overlap and blur are drawn at random, so
that the seams say nothing. A scene is a function of the seed and its number. Legend: H height, W width, C colours.
"""

import json
import os
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from duomo.core.config import Within
from duomo.core.errors import ConfigError, DataError
from duomo.core.files import write_atomically
from duomo.core.kinds import image, media
from duomo.core.kinds.image import FAULTS
from duomo.core.messages import listed, tr
from duomo.core.reporter import Reporter
from duomo.data.folders.classes import labels_of

ENDINGS = (".png", ".webp", ".gif", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
LEAST_ALPHA = 128
CUT_SIDE = 512
"""Longest side that a cut-out is kept at."""
SHOWN = 0.4
"""Least visible share of a thing that gets a box."""
COUNTED = re.compile(r"((?:.*[ _.-])?[^\W\d_]+)[ _.(-]*(\d+)\)?")
"""A name that counts: the word or words before the number, and the number (cat_01, my cat (2), cat3)."""
GLANCE, ALIKE, COMPARED = 24, 0.06, 500
"""Side that cut-outs are compared at, how much mirror images differ at most, on average over the pixels (0 to 1), and how many are seen."""
KEPT = 256_000_000
"""Bytes of backgrounds that stay decoded: a wallpaper takes longer to open than a scene to make."""


@dataclass(frozen=True)
class ComposeConfig:
    """How scenes are made."""

    count: Annotated[int, Within(1)] = 1000
    """How many scenes."""
    side: Annotated[int, Within(32, 4096)] = 320
    """Side of a scene in pixels."""
    most: Annotated[int, Within(1, 100)] = 5
    """Largest number of things in a scene; the smallest is one."""
    smallest: Annotated[float, Within(0.01, 1)] = 0.12
    """Smallest size of a thing, as a share of the side."""
    largest: Annotated[float, Within(0.01, 1)] = 0.55
    """Largest size of a thing, as a share of the side."""
    turn: Annotated[float, Within(0, 180)] = 20.0
    """Largest rotation of a thing in degrees, to either side."""
    flip: bool = True
    """Mirror things left and right at random; not where the cut-outs of two classes are mirror images of one another."""
    stretch: Annotated[float, Within(0, 1)] = 0.2
    """Largest stretch of a thing's height against its width."""
    hue: Annotated[float, Within(0, 0.5)] = 0.08
    """Largest shift of a thing's hue; 1 is the whole colour circle."""
    overlap: Annotated[float, Within(0, 1)] = 0.3
    """Largest share of a thing that others may cover."""
    shadow: Annotated[float, Within(0, 1)] = 0.5
    """Probability that a thing casts a shadow."""
    seed: Annotated[int, Within(0)] = 0
    """Seed of everything random."""


AHEAD = 16
Made = tuple[str, list["Thing"]]
Read = Callable[[Path], Image.Image]
"""A background from its file."""


class Cut(NamedTuple):
    """A cut-out: its class, its picture (RGBA, trimmed to what is visible)."""

    label: str
    picture: Image.Image


class Thing(NamedTuple):
    """A pasted cut-out: its class and the pixels that it covers (H, W) bool, before others hide some."""

    label: str
    covers: np.ndarray


def compose(cutouts: Path, backgrounds: Path, out: Path, config: ComposeConfig, reporter: Reporter) -> dict[str, Any]:
    """Write scenes as pictures with one COCO file of boxes and masks; DataError where there is nothing to paste or to paste on."""
    if config.smallest > config.largest:
        raise ConfigError("The smallest thing must not be larger than the largest; received {smallest:g} and {largest:g}.",
                          smallest=config.smallest, largest=config.largest)  # fmt: skip
    cuts, grounds = _cuts(cutouts, reporter), _grounds(backgrounds, reporter)
    if out.exists() and any(out.iterdir()):
        raise ConfigError("Scenes need an empty folder; {folder} holds other files. Choose another with --out.", folder=out)
    if config.flip and (same := _mirrored(cuts[:: -(-len(cuts) // COMPARED)])):
        config = replace(config, flip=False)
        reporter.say(tr("Cut-outs of {one} and {other} are mirror images of one another: none is mirrored.", one=same[0], other=same[1]))
    (out / "images").mkdir(parents=True, exist_ok=True)
    labels = sorted({cut.label for cut in cuts})
    read = lru_cache(KEPT // (3 * 2 * (2 * config.side) ** 2))(partial(_ground, side=2 * config.side))

    def one(number: int) -> tuple[str, list[Thing]]:
        scene, things = make(cuts, grounds, config, number, read)
        name = f"images/{number:06d}.jpg"
        scene.save(out / name, quality=90)
        return name, _visible(things)

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, reporter.progress(tr("composing"), config.count, tr("scenes")) as progress:
        for number, (name, things) in enumerate(_in_order(pool, one, config.count), 1):
            images.append({"id": number, "file_name": name, "width": config.side, "height": config.side})
            annotations += [_annotation(thing, number, len(annotations) + place, labels) for place, thing in enumerate(things, 1)]
            progress.update(number)
    categories = [{"id": number, "name": label} for number, label in enumerate(labels, 1)]
    told = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(out / "annotations.json", json.dumps(told, ensure_ascii=False).encode())
    reporter.say(tr("{scenes:,} scenes with {things:,} things of {classes} classes ({names}): {out}. Next: duomo train {out} --task detect",
                    scenes=len(images), things=len(annotations), classes=len(labels), names=listed(labels, 8), out=out))  # fmt: skip
    return {"scenes": len(images), "things": len(annotations), "classes": labels, "out": str(out)}


def _in_order(pool: ThreadPoolExecutor, one: Callable[[int], Made], count: int) -> Iterator[Made]:
    """one(0), one(1), … a few ahead: an interrupt waits for these only."""
    ahead: deque[Future[Made]] = deque()
    for number in range(count):
        ahead.append(pool.submit(one, number))
        if len(ahead) > AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError("Cut-outs and backgrounds are folders of pictures; there is no folder {folder}.", folder=folder)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and not path.name.startswith("."))


def _grounds(folder: Path, reporter: Reporter) -> list[Path]:
    paths = _pictures(folder)
    looks = media.decode_all(list(paths), image.header)
    found = [path for path, look in zip(paths, looks, strict=True) if not isinstance(look, ValueError)]
    if bad := [path.name for path, look in zip(paths, looks, strict=True) if isinstance(look, ValueError)]:
        reporter.say(tr("{count} of {all} backgrounds are left out: they cannot be read; the first: {name}.",
                        count=len(bad), all=len(paths), name=bad[0]))  # fmt: skip
    if not found:
        raise DataError("Scenes need pictures to paste on; {folder} holds none.", folder=folder)
    return found


def _cuts(folder: Path, reporter: Reporter) -> list[Cut]:
    """Every picture with transparency, and its class."""
    paths = _pictures(folder)
    found, solid = [], []
    for path, label in zip(paths, _labels(folder, paths), strict=True):
        try:
            with image.open_picture(path) as opened:
                opened.draft("RGB", (2 * CUT_SIDE, 2 * CUT_SIDE))
                picture = ImageOps.exif_transpose(opened).convert("RGBA")
        except FAULTS:
            solid.append(path)
            continue
        box = picture.getchannel("A").point(lambda value: 255 * (value >= LEAST_ALPHA)).getbbox()
        if box is None or np.asarray(picture.getchannel("A")).min() >= LEAST_ALPHA:
            solid.append(path)
            continue
        picture = picture.crop(box)
        picture.thumbnail((CUT_SIDE, CUT_SIDE), Image.Resampling.BOX)
        found.append(Cut(label, picture))
    if solid:
        reporter.say(tr("{count} of {all} cut-outs are left out: they cannot be read or have no transparent part; the first: {name}.",
                        count=len(solid), all=len(paths), name=solid[0].name))  # fmt: skip
    if not found:
        raise DataError("Cut-outs must be pictures with a transparent part; {folder} holds none.", folder=folder)
    return found


def _mirrored(cuts: list[Cut]) -> tuple[str, str] | None:
    """Two classes of which a cut-out of one is, mirrored, a cut-out of the other, and is not as it stands."""
    small = [np.asarray(cut.picture.resize((GLANCE, GLANCE), Image.Resampling.BOX), np.float32) / 255 for cut in cuts]
    seen_NHWC = np.stack([np.concatenate([one[..., :3] * one[..., 3:], one[..., 3:]], 2) for one in small])
    for cut, one, own in zip(cuts, seen_NHWC[:, :, ::-1], seen_NHWC, strict=True):
        turned_N, plain_N = (np.abs(seen_NHWC - other).mean((1, 2, 3)) for other in (one, own))
        for place in np.flatnonzero((turned_N < ALIKE) & (turned_N < plain_N / 2)):
            if cuts[place].label != cut.label:
                return cut.label, cuts[place].label
    return None


def _labels(folder: Path, paths: list[Path]) -> list[str]:
    """The classes of cut-outs: the folders that tell them apart, as of other pictures; of those that lie beside the folders their names,
    without the number where one beginning is counted up (cat_1, cat_2)."""
    files = [path.relative_to(folder).as_posix() for path in paths]
    inside = [file for file in files if "/" in file]
    classed = labels_of(folder, inside)
    labels = dict(zip(inside, classed.labels, strict=True)) if classed else {}
    numbers = defaultdict[str, set[int]](set)
    counted = [None if "/" in file else COUNTED.fullmatch(path.stem) for file, path in zip(files, paths, strict=True)]
    for one in counted:
        if one:
            numbers[one[1]].add(int(one[2]))
    starts = {start for start, found in numbers.items() if len(found) > 1 and max(found) <= 2 * len(found)}
    return [labels.get(file) or (one[1] if one and one[1] in starts else path.stem if "/" not in file else path.parent.name)
            for file, path, one in zip(files, paths, counted, strict=True)]  # fmt: skip


def make(cuts: list[Cut], grounds: list[Path], config: ComposeConfig, number: int, read: Read) -> tuple[Image.Image, list[Thing]]:
    """Scene `number`: an RGB picture and what was pasted, in order."""
    random = np.random.default_rng([config.seed, number])
    scene = _square(grounds, config.side, random, read)
    things: list[Thing] = []
    wanted = int(random.integers(1, config.most + 1))
    for _ in range(4 * wanted):
        if len(things) == wanted:
            break
        cut = cuts[int(random.integers(len(cuts)))]
        pasted = _pasted(scene, cut, config, random)
        if pasted is not None and all(_hidden(thing, pasted[1].covers) <= config.overlap for thing in things):
            scene = pasted[0]
            things.append(pasted[1])
    return _lit(scene, random), things


def _ground(path: Path, side: int) -> Image.Image:
    """A background as RGB, its shorter side `side` at most; FAULTS where it cannot be read."""
    with image.open_picture(path) as opened:
        opened.draft("RGB", (side, side))
        picture = image.shown(opened).convert("RGB")
    share = min(1.0, side / min(picture.size))
    return picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _square(grounds: list[Path], side: int, random: np.random.Generator, read: Read) -> Image.Image:
    """A random square of a background; one that cannot be read is passed over."""
    for _ in range(10):
        try:
            picture = read(grounds[int(random.integers(len(grounds)))])
        except FAULTS:
            continue
        cut = min(picture.size) * random.uniform(0.5, 1.0)
        left, top = random.uniform(0, picture.width - cut), random.uniform(0, picture.height - cut)
        box = (left, top, min(left + cut, picture.width), min(top + cut, picture.height))
        square = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
        return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else square
    raise DataError(
        "Backgrounds must be pictures that can be read; ten in a row could not, the last place was {name}.", name=grounds[0].name
    )


def _pasted(scene: Image.Image, cut: Cut, config: ComposeConfig, random: np.random.Generator) -> tuple[Image.Image, Thing] | None:
    """The scene with the cut-out on it, varied at random; None where too little of it would lie inside."""
    length = config.side * random.uniform(config.smallest, config.largest)
    picture = cut.picture
    if random.random() < 0.5 and config.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = _varied(picture, config, random)
    picture = picture.rotate(random.uniform(-config.turn, config.turn), Image.Resampling.BILINEAR, expand=True)
    share = length / max(picture.size)
    picture = picture.resize((max(2, round(picture.width * share)), max(2, round(picture.height * share))), Image.Resampling.BILINEAR)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = change(picture).enhance(random.uniform(0.7, 1.3))
    alpha = picture.getchannel("A").filter(ImageFilter.GaussianBlur(random.uniform(0, 1.2)))
    left = int(random.uniform(-0.2 * picture.width, config.side - 0.8 * picture.width))
    top = int(random.uniform(-0.2 * picture.height, config.side - 0.8 * picture.height))
    whole = np.asarray(alpha) >= LEAST_ALPHA
    placed = Image.new("L", scene.size)
    placed.paste(alpha, (left, top))
    covers = np.asarray(placed) >= LEAST_ALPHA
    if covers.sum() < 0.6 * whole.sum() or not covers.any():
        return None
    scene = scene.copy()
    if random.random() < config.shadow:
        _cast(scene, placed, length, random)
    scene.paste(picture.convert("RGB"), (left, top), alpha)
    return scene, Thing(cut.label, covers)


def _varied(picture: Image.Image, config: ComposeConfig, random: np.random.Generator) -> Image.Image:
    """A thing like the one given (RGBA), of another shape and colour (domain randomisation, Tobin et al. 2017, arXiv:1703.06907)."""
    if config.stretch:
        ratio = (1 + config.stretch) ** random.uniform(-1, 1)
        picture = picture.resize((picture.width, max(2, round(picture.height * ratio))), Image.Resampling.BILINEAR)
    if config.hue:
        hue, saturation, value = picture.convert("RGB").convert("HSV").split()
        turned = np.asarray(hue, np.int16) + round(255 * random.uniform(-config.hue, config.hue))
        alpha = picture.getchannel("A")
        picture = Image.merge("HSV", (Image.fromarray((turned % 256).astype(np.uint8)), saturation, value)).convert("RGB")
        picture.putalpha(alpha)
    return picture


def _cast(scene: Image.Image, alpha: Image.Image, length: float, random: np.random.Generator) -> None:
    """A soft shadow of the thing, moved a little, below it."""
    moved = Image.new("L", scene.size)
    moved.paste(alpha, (int(random.uniform(-0.1, 0.1) * length), int(random.uniform(0.02, 0.12) * length)))
    strength = random.uniform(0.2, 0.6)
    dark = moved.filter(ImageFilter.GaussianBlur(random.uniform(0.02, 0.06) * length)).point(
        [int(value * strength) for value in range(256)]
    )
    scene.paste((0, 0, 0), (0, 0), dark)


def _lit(scene: Image.Image, random: np.random.Generator) -> Image.Image:
    """One light over all: brighter to one side, a little blur or grain, so that things and ground share a camera."""
    pixels = np.asarray(scene, np.float32)
    side = pixels.shape[0]
    angle, strength = random.uniform(0, 2 * np.pi), random.uniform(0, 0.25)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    light = random.uniform(0.85, 1.15) * (1 + strength * (np.cos(angle) * x + np.sin(angle) * y))
    pixels = pixels * light[:, :, None] + random.normal(0, random.uniform(0, 4), pixels.shape)
    lit = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return lit.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8)))


def _hidden(thing: Thing, by: np.ndarray) -> float:
    return float((thing.covers & by).sum() / thing.covers.sum())


def _visible(things: list[Thing]) -> list[Thing]:
    """What of each thing the later ones leave to be seen; those mostly hidden are no things."""
    found = []
    above = np.zeros_like(things[0].covers) if things else np.zeros((0, 0), bool)
    for thing in reversed(things):
        seen = thing.covers & ~above
        above = above | thing.covers
        if seen.sum() >= SHOWN * thing.covers.sum():
            found.append(Thing(thing.label, seen))
    return found[::-1]


def _annotation(thing: Thing, image_id: int, number: int, labels: list[str]) -> dict[str, Any]:
    """COCO: box of the visible pixels, mask as uncompressed run lengths (by columns, beginning with zeros)."""
    rows, columns = np.flatnonzero(thing.covers.any(1)), np.flatnonzero(thing.covers.any(0))
    left, top, right, bottom = (int(value) for value in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return {
        "id": number, "image_id": image_id, "category_id": labels.index(thing.label) + 1, "iscrowd": 0,
        "bbox": [left, top, right - left, bottom - top], "area": int(thing.covers.sum()),
        "segmentation": {"size": list(thing.covers.shape), "counts": list(_runs(thing.covers))},
    }  # fmt: skip


def _runs(mask_HW: np.ndarray) -> Iterator[int]:
    flat = np.concatenate([[False], mask_HW.T.reshape(-1), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1]).tolist()
    bounds = [0, *edges, *([] if edges and edges[-1] == mask_HW.size else [mask_HW.size])]
    yield from np.diff(bounds).tolist()
