"""What all forms of annotated pictures share: a scene, what was left out and why, how a picture is found, how names are listed."""

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.data.partition import PARTS, meant

FAULTS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError)
"""What JSON or XML of another shape than expected raises where it is looked into: a list for a name, no number, nested endlessly."""
WORDS = {word: ("train", "val", "test")[part] for word, part in PARTS.items()}
"""Words that tell the parts of data, and the part."""
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
        self.taken, self.lost = set[str](), Counter[str]()
        for file in pictures:
            self.by_name.setdefault(PurePosixPath(file).name, []).append(file)
            self.by_stem.setdefault(PurePosixPath(file).stem, []).append(file)

    def expect(self, names: Iterable[str], beside: str) -> None:
        """What an annotation is going to name: of two names the one that is there keeps its picture, and of two that are not, neither
        gets one of which it says but the last part."""
        told = {name.replace("\\", "/") for name in names}
        exact = {name: self._exact(name, beside) for name in told}
        self.taken = {file for file in exact.values() if file is not None}
        self.lost = Counter(PurePosixPath(name).name for name, file in exact.items() if file is None)

    def find(self, name: str, beside: str) -> str | None:
        name = name.replace("\\", "/")
        if (exact := self._exact(name, beside)) is not None:
            return exact
        last, words = PurePosixPath(name).name, re.split(r"[/._-]", beside)
        same = [file for file in self.by_name.get(last, []) if file not in self.taken and _part_of(words, file)]
        if (
            len(self.by_name.get(last, [])) > 1 or self.lost[last] > 1
        ):  # instances_val2017.json speaks of val2017/1.jpg, not of train2017/1.jpg
            steps = {file: _alike(file, name, words) for file in same}
            best = max(steps.values(), default=0)
            same = [file for file in same if steps[file] == best > 0]
        return same[0] if len(same) == 1 else None

    def _exact(self, name: str, beside: str) -> str | None:
        base = str(PurePosixPath(beside).parent)
        places = (os.path.normpath(place) for place in (f"{base}/{name}", name, f"images/{name}"))
        return next((place for place in places if place in self.whole), None)

    def of_sheet(self, name: str, sheet: str, faults: "Faults") -> str | None:
        """The picture of a sheet for one: that is called as the sheet is, else the one that it names, be that one called otherwise."""
        named, near = self.find(name, sheet), self.beside(sheet)
        if named is None or near is None or PurePosixPath(named).stem == PurePosixPath(near).stem:
            return named or near
        faults.add(tr("a sheet names another picture than the one that is called as the sheet is, which was taken"), sheet)
        return near

    def beside(self, file: str) -> str | None:
        """The picture that is called as the annotation is: in its folder, or the only one elsewhere."""
        same = self.by_stem.get(PurePosixPath(file).stem, [])
        near = [one for one in same if PurePosixPath(one).parent == PurePosixPath(file).parent] or same
        return near[0] if len(near) == 1 else None

    def begun(self, file: str) -> str | None:
        """The only picture in another folder whose name begins as the annotation's does, up to the last sign where any does
        (a_1_left.png of a_1_polygons.json)."""
        folder, stem = PurePosixPath(file).parent, PurePosixPath(file).stem
        for start in reversed(_beginnings(stem)):
            if found := [one for one in self.by_beginning.get(start, []) if PurePosixPath(one).parent != folder]:
                return found[0] if len(found) == 1 else None
        return None

    @cached_property
    def by_beginning(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for stem, files in self.by_stem.items():
            for start in _beginnings(stem):
                found.setdefault(start, []).extend(files)
        return found


def _beginnings(stem: str) -> list[str]:
    return [stem[: sign.start()] for sign in re.finditer(r"[-_. ]", stem) if sign.start()]


def _part_of(words: list[str], file: str) -> bool:
    """Whether a picture may be one of an annotation called by these words: train's does not speak of what lies in val."""
    own, other = _parts(words), _parts(file.split("/")[:-1])
    return not own or not other or bool(own & other)


def _parts(names: Iterable[str]) -> set[int]:
    """The parts of the data that names speak of."""
    return {part for one in names if (part := meant(one)) is not None}


def _alike(file: str, name: str, words: list[str]) -> int:
    """How many folders of a picture an annotation speaks of: in the picture's name, or in its own."""
    folders, spoken = PurePosixPath(file).parts[:-1], {*PurePosixPath(name).parts[:-1], *words}
    return len(spoken.intersection(folders)) + len(_parts(folders) & _parts(spoken))


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
    sheets_told = list[Told]()
    for sheet in sheets:
        try:
            sheets_told.append(picture_of(sheet))
        except FAULTS:
            faults.add(tr("a picture was left out because its annotation is no list of boxes"), f"{file}, {str(sheet)[:60]}")
    names.expect((told.name for told in sheets_told), file)
    for told in sheets_told:
        picture = names.find(told.name, file) if len(sheets) > 1 else names.of_sheet(told.name, file, faults)
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
