"""Masks as run lengths in the cells of a list of pictures: `1 3 10 5` marks three pixels from the first on and five from the tenth on.

Pixels are counted from 1 or 0, down the columns or along the rows of the picture: where its sides are unlike, the masks tell which.
Of several masks of one class and picture each is a thing; a lone one marks all things of its class, patch by patch.

ImageId,EncodedPixels        or        Image_Label,EncodedPixels
a.jpg,1 3 10 5                         a.jpg_Fish,1 3 10 5
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core import films
from duomo.core.kinds import image, media
from duomo.core.kinds.boxes import Box
from duomo.core.kinds.cells import is_text
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.scenes.shared import Faults, Scene, Sides

BEGINNING = re.compile(r"\s*\d+ \d+( \d+)*( \d*)?")
NAMED = re.compile(rf"(.+(?:{'|'.join(map(re.escape, image.SUFFIXES))}))_(.+)", re.IGNORECASE)
"""A picture's name and the class of its mask in one cell."""
EMPTY = ("", "-1")
"""What stands for a mask that marks nothing."""
LOOKED_AT, FILLED, SHOWN, FEWEST, MANY, WHOLE, LONGEST = 20_000, 200, 100, 3, 6, 0.95, 15
"""Rows that are looked at, masks among them that are read, characters of them that are glanced at; runs of the longest at least, and where
all have as many; the share of the masks that are whole at least; digits of a number."""
NEAR = 0.25
"""Of a picture's side, how far the step from one run to the next may be off."""
SMALLEST = 9
"""Pixels of a patch."""
Mask = tuple[str, np.ndarray]
"""The class of a mask and its runs (R, 2): where each begins and how long it is."""


def runs_of(listed: Table) -> str:
    """The column whose cells are masks as run lengths; empty where none is. Rows of as many numbers each, and few (boxes), are none."""
    for name in (name for name in listed.names if is_text(listed.column(name).type)):
        told = pc.utf8_trim_whitespace(listed.column(name).slice(0, LOOKED_AT).drop_null())
        cells = told.filter(pc.invert(pc.is_in(told, value_set=pa.array(EMPTY, told.type)))).slice(0, FILLED).to_pylist()
        if not cells or sum(BEGINNING.fullmatch(cell[:SHOWN]) is not None for cell in cells) < WHOLE * len(cells):
            continue
        masks = [runs for cell in cells if (runs := _runs(cell)) is not None]
        sizes = {*map(len, masks)}
        if len(masks) >= WHOLE * len(cells) and max(sizes) >= (FEWEST if len(sizes) > 1 or len(cells) == 1 else MANY):
            return name
    return ""


def _runs(cell: str) -> np.ndarray | None:
    """(R, 2) beginnings and lengths of rising runs that do not overlap; None where the cell holds anything else."""
    words = cell.split()
    if len(words) % 2 or not all(word.isdecimal() and len(word) <= LONGEST for word in words):
        return None
    run_R2 = np.array(words, np.int64).reshape(-1, 2)
    return run_R2[run_R2[:, 1] > 0] if (run_R2[1:, 0] >= run_R2[:-1].sum(axis=1)).all() else None


def named_apart(data: pa.Table) -> pa.Table:
    """A column of pictures' names that end in a class (`a.jpg_Fish`) as two; any other table as it is."""
    for place, name in enumerate(data.column_names):
        column = data.column(place)
        if not is_text(column.type) or not all(cell and NAMED.fullmatch(cell) for cell in column.slice(0, FILLED).to_pylist()):
            continue
        cells = [NAMED.fullmatch(cell or "") for cell in column.to_pylist()]
        names = [one if one not in data.column_names else f"{name} {one}" for one in ("file", "label")]
        for after, one in enumerate(names):
            told = pa.array([found and found[1 + after] for found in cells], pa.large_string())
            data = data.set_column(place, one, told) if not after else data.add_column(place + 1, one, told)
        return data
    return data


def scenes_of(root: Path, rows: Iterable[tuple[str | None, str, str | None]], faults: Faults) -> list[Scene]:
    """A scene for each picture of the rows: picture, class, mask."""
    masks = defaultdict[str, list[Mask]](list)
    for picture, label, cell in dict.fromkeys((picture, label, (cell or "").strip()) for picture, label, cell in rows):
        if picture is None:
            continue
        own, runs = masks[picture], None if cell in EMPTY else _runs(cell)
        if runs is not None:
            own += [(label, runs)] if len(runs) else []
        elif cell not in EMPTY:
            faults.add(tr("a box was left out because its outline or mask is broken"), picture)
    looks = media.decode_all([root / file for file in masks], image.upright)
    sizes = {file: size for file, size in zip(masks, looks, strict=True) if isinstance(size, tuple)}
    across, first = _counted(masks, sizes)
    lone = max((count for own in masks.values() for count in Counter(label for label, _ in own).values()), default=1) == 1
    scenes = []
    for file, size in sizes.items():
        things = list[Box]()
        for label, run_R2 in masks[file]:
            if run_R2[-1].sum() - first > size[0] * size[1]:
                faults.add(tr("a box was left out because its outline or mask is broken"), file)
                continue
            told = run_R2 - [first, 0]
            things += [Box(label, *sides) for sides in (patches(_drawn(told, size, across)) if lone else [_around(told, size, across)])]
        scenes.append(Scene(file, *size, things))
    return scenes


def _counted(masks: Mapping[str, list[Mask]], sizes: Mapping[str, tuple[int, int]]) -> tuple[bool, int]:
    """Whether pixels are counted along the rows: most steps from one run of a mask to the next are then a width, not a height; and the
    number of the first pixel."""
    wide, high, least = 0, 0, 1
    for file, (width, height) in sizes.items():
        for _, run_R2 in masks[file]:
            off_R2 = np.abs(np.diff(run_R2[:, 0])[:, None] - [width, height])
            off_R2 = off_R2[off_R2.min(axis=1) < NEAR * min(width, height)]
            wide += int((off_R2[:, 0] < off_R2[:, 1]).sum())
            high += int((off_R2[:, 1] < off_R2[:, 0]).sum())
            least = min(least, int(run_R2[0, 0]))
    return wide > high, least


def _drawn(run_R2: np.ndarray, size: tuple[int, int], across: bool) -> np.ndarray:
    """(H, W) of ones where the runs lie."""
    width, height = size
    edge_P = np.zeros(width * height + 1, np.int8)
    np.add.at(edge_P, run_R2[:, 0], 1)
    np.add.at(edge_P, run_R2.sum(axis=1), -1)
    mask_P = np.cumsum(edge_P[:-1], dtype=np.int8).astype(np.uint8)
    return mask_P.reshape(height, width) if across else mask_P.reshape(width, height).T


def _around(run_R2: np.ndarray, size: tuple[int, int], across: bool) -> Sides:
    """Around all pixels of the runs."""
    line = size[0 if across else 1]
    (first_R, begin_R), (last_R, end_R) = np.divmod(run_R2[:, 0], line), np.divmod(run_R2.sum(axis=1) - 1, line)
    inner = (0, line) if (first_R != last_R).any() else (begin_R.min(), end_R.max() + 1)
    outer = (first_R.min(), last_R.max() + 1)
    (left, right), (top, bottom) = (inner, outer) if across else (outer, inner)
    return float(left), float(top), float(right), float(bottom)


def patches(mask_HW: np.ndarray) -> list[Sides]:
    """Around each patch of a mask that is larger than a speck."""
    _, _, stats, _ = films.library().connectedComponentsWithStats(np.ascontiguousarray(mask_HW), connectivity=8)
    return [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h, size in stats[1:].tolist() if size >= SMALLEST]
