"""Pictures that mark regions of others: told from those by their names, their sizes and their few colours.

img_1_mask.png beside img_1.jpg; masks/1.png beside images/1.png; ground_truth/scratch/000_mask.png beside test/scratch/000.png.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from duomo.core import scans
from duomo.core.kinds import image, media
from duomo.core.kinds.base import Cells
from duomo.core.kinds.boxes import Box
from duomo.core.kinds.cells import is_text
from duomo.core.messages import tr
from duomo.core.table import Table, evenly
from duomo.data.folders.classes import has_classes
from duomo.data.scenes.forms import as_table
from duomo.data.scenes.runs import patches
from duomo.data.scenes.shared import ONLY_CLASS, Faults, Scene

SIGN = re.compile(r"[^0-9A-Za-z]|(?<=\d)(?=\D)|(?<=\D)(?=\d)")
"""Where a longer name may go on behind a shorter one."""
FEWEST, LOOKED_AT, MOST = 3, 12, 0.9
"""Pictures that are called alike, how many of them are looked at, and how many of these at least must be masks."""
MOST_TWINS = 16
"""Pictures of one name, in folders each, among which a mask is sought."""
COLOURS, COVERED, SIDE = 16, 0.97, 128
"""Colours of a mask at most, which cover so much of it; pixels along a side by which they are counted."""
MANY = 64
"""Values of a mask from which on it was packed with losses: they are white or black."""


def masks(root: Path, pictures: Sequence[str]) -> dict[str, str]:
    """Mask -> the picture that it is of."""
    families = defaultdict[str, list[tuple[str, str]]](list)
    for one, whole, family in _twins(pictures):
        families[family].append((one, whole))
    found: dict[str, str] = {}
    for pairs in families.values():
        some = pairs[:: max(1, len(pairs) // LOOKED_AT)][:LOOKED_AT]
        looks = media.decode_all([root / file for pair in some for file in pair], _colours)
        fitting = sum(_marks(looks[place], looks[place + 1]) for place in range(0, len(looks), 2))
        if len(pairs) >= FEWEST and fitting >= MOST * len(some):
            found |= {one: whole for one, whole in pairs if whole not in found}
    return found


def unmasked(table: Table, wanted: Collection[str] = ()) -> Table:
    """The table without columns that name masks of the pictures in another one, but for those that are `wanted`."""
    root = table.root
    texts = [name for name in table.names if is_text(table.column(name).type) and name != "file"] if root is not None else []
    names = [name for name in texts if image.KIND.recognise(name, Cells(table.column(name), root)) is not None]
    if root is None or len(names) < 2:
        return table
    some = table.take(evenly(len(table), LOOKED_AT))
    looks = {name: media.decode_all(media.sources(Cells(some.column(name), root)), _colours) for name in names}
    marks = [name for name in names if name not in wanted and any(
        sum(map(_marks, looks[name], looks[other])) >= max(FEWEST, MOST * len(some)) for other in names if other != name)]  # fmt: skip
    notes = [tr("Column {name!r} names masks; regions are not learned, and it is left out; --kind {name}=image makes it an input.",
                name=name) for name in marks]  # fmt: skip
    return replace(table.without(marks), problems=(*table.problems, *notes)) if marks else table


def _twins(pictures: Sequence[str]) -> list[tuple[str, str, str]]:
    """Two pictures of which one may be the other's mask, and what such pairs share: what the longer name ends in, or the folder."""
    by_stem = defaultdict[str, list[str]](list)
    for file in pictures:
        by_stem[PurePosixPath(file).stem].append(file)
    found = []
    for file in pictures:
        stem, folder = PurePosixPath(file).stem, os.path.dirname(file)
        cuts = [sign.start() for sign in SIGN.finditer(stem) if sign.start() and stem[: sign.start()] in by_stem]
        if cuts and (near := _nearest(file, by_stem[stem[: cuts[0]]])):
            found.append((file, near, re.sub(r"\d+", "0", stem[cuts[0] :])))
        others = [other for other in by_stem[stem] if other != file] if not cuts and len(by_stem[stem]) <= MOST_TWINS else []
        if near := _nearest(file, others):
            found.append((file, near, f"{'/'.join(step for step in folder.split('/') if step not in near.split('/'))}/"))
    return found


def _nearest(file: str, others: Sequence[str]) -> str:
    """The one of the others whose folders are most like the file's; empty where several are."""
    steps = {*file.split("/")[:-1]}
    shared = {other: len(steps.intersection(other.split("/")[:-1])) for other in others}
    best = [other for other in others if shared[other] == max(shared.values())]
    return best[0] if len(best) == 1 else ""


def _colours(source: media.Source) -> tuple[tuple[int, int], int]:
    """Size, and how many colours, but for nuances, cover nearly all of a picture."""
    with image.open_picture(source) as picture:
        image.load(picture)
        size = picture.size
        small = picture.resize((min(SIDE, size[0]), min(SIDE, size[1])), 0)
        small_HWC = np.asarray(small.convert("RGBA" if "transparency" in small.info else "RGB").convert("RGB"), np.int64) >> 2
    counts = np.sort(np.unique(small_HWC @ np.array([1 << 12, 1 << 6, 1]), return_counts=True)[1])[::-1]
    return size, int(np.searchsorted(np.cumsum(counts), COVERED * counts.sum())) + 1


def _marks(one: object, whole: object) -> bool:
    """Whether looks are of a mask and its picture: of one size, few colours and many."""
    if not isinstance(one, tuple) or not isinstance(whole, tuple):
        return False
    return bool(one[0] == whole[0] and one[1] <= COLOURS < whole[1] and 2 * one[1] <= whole[1])


def scenes_of(root: Path, found: Mapping[str, str], pictures: Sequence[str], faults: Faults) -> list[Scene]:
    """The regions of masks as boxes: a value each where they are counted from 1 in every mask, else a patch of pixels each, whose values
    are classes where there are several."""
    told = dict(zip(found, media.decode_all([root / file for file in found], _values), strict=True))
    values = {file: _present(mask_HW) for file, mask_HW in told.items() if isinstance(mask_HW, np.ndarray)}
    counted = all(own == [*range(1, len(own) + 1)] for own in values.values()) and len({len(own) for own in values.values() if own}) > 1
    several = len({value for own in values.values() for value in own}) > 1
    boxes = defaultdict[str, list[Box]](list)
    for file, own in values.items():
        mask_HW = told[file]
        for value in own:
            part_HW = np.asarray(mask_HW == value, np.uint8)
            label = str(value) if several and not counted else ONLY_CLASS
            boxes[found[file]] += [Box(label, *sides) for sides in ([_around(part_HW)] if counted else patches(part_HW))]
    for file in sorted({*pictures} - {*found.values()}):
        faults.add(tr("a picture was left out because it has no annotation"), file)
    sizes = media.decode_all([root / file for file in found.values()], image.upright)
    return [Scene(file, *size, boxes[file]) for file, size in zip(found.values(), sizes, strict=True) if isinstance(size, tuple)]


def _values(source: media.Source) -> np.ndarray:
    """(H, W) numbers of a mask's regions as they are stored; colours as one number; of one packed with losses 1 where it is light."""
    with image.open_picture(source) as picture:
        image.load(picture)
        raw = np.asarray(picture if picture.mode in ("1", "L", "P", "I", "I;16") else picture.convert("RGB")).astype(np.int64)
    mask_HW = raw @ np.array([1 << 16, 1 << 8, 1]) if raw.ndim == 3 else raw
    light_HW = raw.mean(axis=2) if raw.ndim == 3 else raw
    return np.asarray(light_HW > light_HW.max() / 2, np.int64) if len(np.unique(mask_HW)) > MANY else mask_HW


def _present(mask_HW: np.ndarray) -> list[int]:
    """The values of regions: all but 0, or but the most frequent one where there is no 0."""
    values, counts = np.unique(mask_HW, return_counts=True)
    ground = 0 if 0 in values else values[np.argmax(counts)]
    return [int(value) for value in values if value != ground]


def _around(part_HW: np.ndarray) -> tuple[float, float, float, float]:
    """Around all pixels of a part."""
    down, across = np.nonzero(part_HW)
    return float(across.min()), float(down.min()), float(across.max() + 1), float(down.max() + 1)


def apart(root: Path, files: list[str], problems: tuple[str, ...]) -> tuple[list[str], tuple[str, ...], dict[str, str]]:
    """The files without masks of others, what is to be said of these, and of each the picture that it is of."""
    found = masks(root, [file for file in files if file.lower().endswith(image.SUFFIXES) and not file.lower().endswith(scans.ENDINGS)])
    if not found:
        return files, problems, found
    said = tr("{count:,} pictures mark regions of others and are not learned from as pictures; the first: {first}.",
              count=len(found), first=min(found))  # fmt: skip
    return [file for file in files if file not in found], (*problems, said), found


def of_regions(
    root: Path, pictures: Sequence[str], tables: Sequence[str], found: Mapping[str, str], problems: tuple[str, ...]
) -> Table | None:
    """Pictures with the regions of their masks as boxes, where nothing else is told of them: no list, and no classes by folders."""
    if not found or tables or has_classes(root, [*pictures], "image"):
        return None
    faults = Faults()
    said = tr("What the masks mark is read as boxes.")
    return as_table(root, scenes_of(root, found, pictures, faults), faults, (*problems, said))
