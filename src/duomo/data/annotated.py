"""What all forms of annotated pictures share: a scene, what was left out and why, how a picture is found, how names are listed."""

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr

FAULTS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError)
"""What JSON or XML of another shape than expected raises where it is looked into: a list for a name, no number, nested endlessly."""
ONLY_CLASS = "object"
"""What things are called where no class is named for any of them."""
Sides = tuple[float, float, float, float]


class Scene(NamedTuple):
    """One picture: its file relative to the folder, width and height in pixels (0: not known), its boxes, and the part of the data that
    it was put into (train, val, test; empty where nothing says)."""

    file: str
    width: float
    height: float
    boxes: list[Box]
    part: str = ""


class Faults:
    """What was left out, by reason: how often, and where first."""

    def __init__(self) -> None:
        self.found: dict[str, list[Any]] = {}

    def add(self, reason: str, where: str) -> None:
        self.found.setdefault(reason, [0, where])[0] += 1

    def sentences(self) -> list[str]:
        return [tr("{count:,} × {reason}; the first: {where}.", count=count, reason=reason, where=where)
                for reason, (count, where) in self.found.items()]  # fmt: skip


class Pictures:
    """Finds a picture by the name that an annotation gives it: from the annotation's folder, from the root, or by its last part."""

    def __init__(self, pictures: list[str]):
        self.whole = set(pictures)
        self.by_name: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        for file in pictures:
            self.by_name.setdefault(PurePosixPath(file).name, []).append(file)
            self.by_stem.setdefault(PurePosixPath(file).stem, []).append(file)

    def find(self, name: str, beside: str) -> str | None:
        name = name.replace("\\", "/")
        base = str(PurePosixPath(beside).parent)
        for place in (name, f"{base}/{name}", f"images/{name}"):
            if os.path.normpath(place) in self.whole:
                return os.path.normpath(place)
        same = self.by_name.get(PurePosixPath(name).name, [])
        if len(same) > 1:  # instances_val2017.json speaks of val2017/1.jpg, not of train2017/1.jpg
            same = [file for file in same if set(PurePosixPath(file).parts[:-1]) & set(re.split(r"[/._-]", beside))]
        return same[0] if len(same) == 1 else None

    def beside(self, file: str) -> str | None:
        """The picture that is called as the annotation is: in its folder, or the only one elsewhere."""
        same = self.by_stem.get(PurePosixPath(file).stem, [])
        near = [one for one in same if PurePosixPath(one).parent == PurePosixPath(file).parent] or same
        return near[0] if len(near) == 1 else None


class Told(NamedTuple):
    """What an annotation says of one picture, as its file has it: name, width and height (0: not told), things, and the part it is in."""

    name: str
    width: float
    height: float
    things: Sequence[Any]
    part: str = ""


Thing = tuple[str, str, Sides | None]
"""Class and shape of a thing, and the box around it; none where such a shape surrounds nothing."""


def boxed(thing: Callable[[], Thing], where: str, said: Any, faults: Faults) -> Box | None:
    """The box of a thing, whose reading may raise one of FAULTS; None, counted, where it is broken, surrounds nothing or has no class."""
    try:
        label, shape, sides = thing()
    except FAULTS:
        faults.add(tr("a box was left out because its outline or mask is broken"), f"{where}, {str(said)[:60]}")
        return None
    if sides is None:
        faults.add(tr("a shape was left out because a {kind} surrounds nothing", kind=shape[:30]), where)
    elif not label:
        faults.add(tr("a box was left out because its class is not named"), where)
    else:
        return Box(label, *sides)
    return None


def gather(
    file: str, sheets: Sequence[Any], reading: tuple[Callable[[Any], Told], Callable[[Any, Told], Thing]], names: Pictures, faults: Faults
) -> Iterator[Scene]:
    """A scene for each picture that the sheets of an annotation file name; what is broken in it is counted, thing by thing.

    `reading` tells of a sheet what it says, and of a thing of it what it is; either may raise one of FAULTS.
    """
    picture_of, thing_of = reading
    for sheet in sheets:
        try:
            told = picture_of(sheet)
        except FAULTS:
            faults.add(tr("a picture was left out because its annotation is no list of boxes"), f"{file}, {str(sheet)[:60]}")
            continue
        picture = names.find(told.name, file) or (names.beside(file) if len(sheets) == 1 else None)
        if picture is None:
            faults.add(tr("a picture was left out because its file is not there"), told.name if len(sheets) > 1 else file)
            continue
        things = [boxed(partial(thing_of, thing, told), file, thing, faults) for thing in told.things]
        found = [box for box in things if box is not None]
        yield Scene(picture, told.width, told.height, found, told.part)


def number(told: Any) -> float:
    """A side of a picture; 0 where it is none."""
    try:
        value = float(told or 0)
    except FAULTS:
        return 0.0
    return value if math.isfinite(value) else 0.0


def around(points: Any) -> Sides:
    """Left, top, right, bottom of points [[x, y], ...] or [x, y, x, y, ...]; one of FAULTS where they are none."""
    flat = [float(value) for point in points for value in (point if isinstance(point, (list, tuple)) else (point,))]
    across, down = flat[0::2], flat[1::2]
    return min(across), min(down), max(across), max(down)


def parted(scenes: list[Scene], lists: list[tuple[str, set[str]]], faults: Faults) -> list[Scene]:
    """Scenes with the part that the first list names them in; those that none names are left out. Without two parts, one of them to learn
    from, nothing was divided, and the scenes are as they were.
    """
    part_of: dict[str, str] = {}
    for part, pictures in lists:
        for picture in pictures:
            part_of.setdefault(picture, part)
    told = {part_of[scene.file] for scene in scenes if scene.file in part_of}
    if "train" not in told or len(told) < 2:
        return scenes
    for scene in scenes:
        if scene.file not in part_of:
            faults.add(tr("a picture was left out because no list of the parts names it"), scene.file)
        elif sum(scene.file in pictures for part, pictures in lists if part != part_of[scene.file]):
            faults.add(tr("a picture is listed in several parts and stays in the first"), scene.file)
    return [scene._replace(part=part_of[scene.file]) for scene in scenes if scene.file in part_of]
