"""Boxes that rows of numbers tell in pixels: how their four numbers are meant, by whether they lie in their pictures so.

As rows beside a picture: class and box, box and class, or box, whether it counts, class (VisDrone).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from duomo.core.kinds import image, media
from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.data.scenes.shared import ONLY_CLASS, Faults, Scene

BOX = 4
FITS, SURELY = 0.9, 0.02
"""Of the boxes that lie in their pictures if they are meant so, the share at least; and how much larger it is than that of another form."""
Meaning = Callable[[np.ndarray], np.ndarray]
FORMS: Mapping[str, Meaning] = {
    "extents": lambda box_N4: np.concatenate([box_N4[:, :2], box_N4[:, :2] + box_N4[:, 2:]], axis=1),
    "corners": lambda box_N4: box_N4,
    "centre": lambda box_N4: np.concatenate([box_N4[:, :2] - box_N4[:, 2:] / 2, box_N4[:, :2] + box_N4[:, 2:] / 2], axis=1),
}
"""What four numbers may be, as left, top, right, bottom."""


class Row(NamedTuple):
    """Class, four numbers of a box, and whether it is neither learned nor judged."""

    label: str
    box: tuple[float, float, float, float]
    crowd: bool = False


Told = dict[str, list[Row]]
"""Picture -> rows."""
Sizes = Mapping[str, tuple[int, int] | ValueError]
"""Picture -> width and height, or why it does not open."""


def beside(root: Path, rows: Mapping[str, Sequence[Sequence[float]]], words: Mapping[int, str], faults: Faults) -> list[Scene]:
    """What the text beside each picture says in pixels; none where that does not tell how its boxes are meant."""
    flat = [row for told in rows.values() for row in told]
    if len({len(row) for row in flat}) != 1:
        return []
    flat_NC = np.array(flat, np.float64)
    first = len({*flat_NC[:, 0].tolist()}) <= len({*flat_NC[:, BOX].tolist()})  # a class has fewer values than the side of a box
    made = [Row(called(row[0], words), (row[1], row[2], row[3], row[4])) for row in flat] if first else tailed(flat_NC, words)
    ends = np.cumsum([len(told) for told in rows.values()]).tolist()
    told = {picture: made[end - len(own) : end] for (picture, own), end in zip(rows.items(), ends, strict=True)}
    return placed(sizes_of(root, told), told, "", faults)


def sizes_of(root: Path, files: Collection[str]) -> Sizes:
    return dict(zip(files, media.decode_all([root / file for file in files], image.upright), strict=True))


def placed(sizes: Sizes, told: Told, usual: str, faults: Faults) -> list[Scene]:
    """The rows as scenes, their numbers meant in the form by which most of them lie in their pictures, the `usual` one where others do so
    as well; none where no form is usual and several, or none, are true."""
    rows = [(row.box, size) for file, own in told.items() for row in own if isinstance(size := sizes[file], tuple) and any(row.box[2:])]
    box_N4, edge_N2 = (np.array([row[place] for row in rows], np.float64).reshape(len(rows), -1) for place in (0, 1))
    shares = {name: _fitting(meaning(box_N4), edge_N2) if rows else 0.0 for name, meaning in FORMS.items()}
    form = max(shares, key=lambda name: shares[name])
    if usual and shares[form] <= shares[usual] + SURELY:
        form = usual
    if not usual and (shares[form] < FITS or sorted(shares.values())[-2] > shares[form] - SURELY):
        return []
    scenes = []
    for file, own in told.items():
        if not isinstance(size := sizes[file], tuple):
            faults.add(tr("a picture was left out because it cannot be read"), f"{file} ({size})")
            continue
        for _ in (row for row in own if row.crowd):
            faults.add(tr("a box is marked as difficult: it is neither learned nor judged"), file)
        sides = FORMS[form](np.array([row.box for row in own], np.float64).reshape(-1, BOX)).tolist()
        things = [Box(row.label, a, b, c, d, row.crowd) for row, (a, b, c, d) in zip(own, sides, strict=True) if any(row.box)]
        scenes.append(Scene(file, *size, things))
    return scenes


def _fitting(side_N4: np.ndarray, edge_N2: np.ndarray) -> float:
    """The share of boxes that have an inside and lie in their pictures, but for a pixel."""
    inside = (side_N4[:, :2] >= -1) & (side_N4[:, 2:] <= edge_N2 + 1) & (side_N4[:, :2] < side_N4[:, 2:])
    return float(inside.all(axis=1).mean())


def tailed(row_NC: np.ndarray, words: Mapping[int, str]) -> list[Row]:
    """Rows that begin with the box: one number behind it is the class, of three or four the first tells whether it counts, the second the
    class; of others none is."""
    behind, found = row_NC.shape[1] - BOX, list[Row]()
    for row in row_NC.tolist():
        number = row[BOX] if behind == 1 else row[BOX + 1] if behind in (3, 4) else -1.0
        found.append(Row(called(number, words), (row[0], row[1], row[2], row[3]), behind in (3, 4) and row[BOX] == 0))
    return found


def called(number: float, words: Mapping[int, str]) -> str:
    return ONLY_CLASS if number < 0 else words.get(int(number), f"{number:g}")
