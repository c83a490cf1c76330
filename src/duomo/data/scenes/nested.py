"""Annotated pictures in JSON of any other shape (BDD100K's, Supervisely's, VoTT's, Datumaro's, SageMaker's): by what it holds.

What names one picture and no other speaks of that; a file that names none, of the one that it is called as. A thing names no picture, has a
class and, in it or below, sides or outlines: {"category": "car", "box2d": {"x1": …}}, {"tags": ["cat"], "boundingBox": …},
{"classTitle": "cat", "points": {"exterior": [[x, y], …]}}.
"""

import base64
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image

from duomo.core.kinds.boxes import Box
from duomo.core.kinds.image import SUFFIXES
from duomo.core.messages import tr
from duomo.data.scenes.shared import FAULTS, Faults, Pictures, Scene, Sides, around
from duomo.data.scenes.tools import places

LARGEST = 1 << 28
CLASS = ("class", "label", "categor", "tag", "title", "name")
"""What is in the name of a key that holds a class, the surest first."""
BOX = re.compile(r"box|rect|roi|bound", re.IGNORECASE)
CORNERS = (("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"))
EXTENTS = (("left", "top", "width", "height"), ("x", "y", "width", "height"), ("x", "y", "w", "h"))
MOST = 0.9
"""Of the things, so many at least have the key that holds the classes."""
SHAPE_FAULTS = (*FAULTS, OSError, zlib.error)
"""Of what should be a shape, or a mask that is packed, and is none."""
Shape = tuple[bool, Sides]
"""Whether it is a box, not one outline of several; and its sides."""


class Found(NamedTuple):
    """What lies in a part of a file: the pictures that it names, its things with their words, and shapes that have no words yet."""

    names: set[str]
    things: list[tuple[dict[str, Any], Sides]]
    shapes: list[Shape]


class Sheets:
    """What a file says of each picture."""

    def __init__(self, file: str, pictures: Pictures, by_stem: bool):
        self.file, self.pictures, self.by_stem = file, pictures, by_stem
        self.found: list[Found] = []

    def read(self, told: Any) -> list[tuple[str | None, list[tuple[dict[str, Any], Sides]]]]:
        """Picture and things; no picture where the one that is named is not there."""
        whole = self._part(told, "")
        if not whole.names:
            name = PurePosixPath(self.file).stem
            picture = self.pictures.find(name, self.file) or self.pictures.beside(self.file) or self.pictures.begun(self.file)
            whole = whole._replace(names={picture} if picture else set())
        sheets = [*self.found, whole] if len(whole.names) == 1 else self.found
        return [(None if (name := min(one.names)).startswith("\0") else name, one.things) for one in sheets]

    def _part(self, node: Any, key: str) -> Found:
        if isinstance(node, str):
            return Found(self._named(node), [], [])
        if (shape := _shape(node, key)) is not None and isinstance(node, list):
            return Found(set(), [], [shape])
        items = list(node.items()) if isinstance(node, dict) else [(key, one) for one in node] if isinstance(node, list) else []
        parts = [self._part(one, str(name)) for name, one in items]
        names = set().union(*(part.names for part in parts))
        if len(names) > 1:
            self.found += [part for part in parts if len(part.names) == 1]
            return Found(names, [], [])
        things = [thing for part in parts for thing in part.things]
        shapes = ([] if shape is None else [shape]) + [one for part in parts for one in part.shapes]
        words = {name: one for name, one in items if _is_word(name, one)} if isinstance(node, dict) and shapes else {}
        words = {name: one for name, one in words.items() if not (isinstance(one, str) and self._named(one))}
        if not words or names:
            return Found(names, things, shapes)
        boxes = [sides for is_box, sides in shapes if is_box]
        side_by_side = {name: one for name, one in words.items() if isinstance(one, list) and len(one) == len(boxes) > 1}
        several = [({name: one[place] for name, one in side_by_side.items()}, sides) for place, sides in enumerate(boxes)]
        return Found(names, [*things, *(several if side_by_side else [(words, _around(shapes))])], [])

    def _named(self, word: str) -> set[str]:
        if word.lower().endswith(SUFFIXES):
            return {next((one for place in (word, *places(word)) if (one := self.pictures.find(place, self.file))), None) or f"\0{word}"}
        return {*self.pictures.by_stem.get(word, [])[:1]} if self.by_stem else set()


def read_nested(root: Path, files: Sequence[str], pictures: Pictures, faults: Faults) -> Iterator[Scene]:
    """A scene for each picture that the files tell things of; none where they hold no things."""
    for file in files:
        told = _read(root / file)
        try:
            sheets = Sheets(file, pictures, False).read(told) or Sheets(file, pictures, True).read(told)
            numbered = _numbered(told) if any(things for _, things in sheets) else {}
        except FAULTS:  # nested endlessly
            continue
        key = _class_key([words for _, things in sheets for words, _ in things])
        for picture, things in sheets:
            if picture is None:
                faults.add(tr("a picture was left out because its file is not there"), file)
                continue
            boxes = list[Box]()
            for words, sides in things:
                if label := _label(words.get(key), numbered):
                    boxes.append(Box(label, *sides))
                else:
                    faults.add(tr("a box was left out because its class is not named"), picture)
            yield Scene(picture, 0, 0, boxes)


def _read(path: Path) -> Any:
    """What a file holds: one value, or a list of those in its lines."""
    with path.open("rb") as opened:
        if path.stat().st_size > LARGEST or opened.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")[:1] not in (b"{", b"["):
            return None
    written = path.read_text(encoding="utf-8-sig", errors="replace")
    try:
        return json.loads(written)
    except FAULTS:
        try:
            return [json.loads(line) for line in written.splitlines() if line.strip()]
        except FAULTS:
            return None


def _is_word(name: str, value: Any) -> bool:
    """Whether a key may hold the class: a word, a number, or a list of words."""
    words = value if isinstance(value, list) else [value]
    return any(part in name.lower() for part in CLASS) and bool(words) and all(isinstance(word, str | int) for word in words)


def _shape(node: Any, key: str) -> Shape | None:
    """Sides that are told by name, four numbers called a box, or corners; those of a mask that lies at its `origin`."""
    try:
        if isinstance(node, dict) and isinstance(node.get("data"), str) and "origin" in node:
            return True, _stamped(node["data"], *node["origin"])
        if isinstance(node, dict):
            lower = {str(name).lower(): value for name, value in node.items()}
            for names in (*CORNERS, *EXTENTS):
                if {*names} <= {*lower}:
                    left, top, right, bottom = (float(lower[name]) for name in names)
                    return True, (left, top, right, bottom) if names in CORNERS else (left, top, left + right, top + bottom)
        elif isinstance(node, list) and len(node) == 4 and BOX.search(key) and all(isinstance(one, int | float) for one in node):
            left, top, width, height = map(float, node)
            return True, (left, top, left + width, top + height)
        elif isinstance(node, list) and len(node) > 1:
            points = [[one["x"], one["y"]] if isinstance(one, dict) else one for one in node]
            if all(isinstance(one, list) and len(one) == 2 and all(isinstance(side, int | float) for side in one) for one in points):
                return False, around(points)
    except SHAPE_FAULTS:
        return None
    return None


def _stamped(packed: str, left: float, top: float) -> Sides:
    """Around what a mask shows that is packed as a picture within compressed bytes, as Supervisely cuts it out."""
    with Image.open(io.BytesIO(zlib.decompressobj().decompress(base64.b64decode(packed), LARGEST)), formats=("PNG",)) as picture:
        return left, top, left + picture.width, top + picture.height


def _around(shapes: list[Shape]) -> Sides:
    """The first box; around all outlines where there is none."""
    boxes = [sides for is_box, sides in shapes if is_box]
    lefts, tops, rights, bottoms = zip(*(boxes[:1] or [sides for _, sides in shapes]), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _class_key(told: list[dict[str, Any]]) -> str:
    """The key that most things have and whose name says best that it holds a class."""
    keys = dict.fromkeys(name for words in told for name in words)
    often = [name for name in keys if sum(name in words for words in told) >= MOST * len(told)]
    return min(often, key=lambda name: next(place for place, part in enumerate(CLASS) if part in name.lower()), default="")


def _numbered(told: Any) -> dict[str, str]:
    """Names of classes that things tell by number: {"0": "cat"}, [{"name": "cat"}, …] or [{"id": 1, "name": "cat"}, …]."""
    if isinstance(told, dict):
        if told and all(str(key).isdecimal() and isinstance(word, str) for key, word in told.items()):
            return {str(key): word for key, word in told.items()}
        return {number: word for one in told.values() for number, word in _numbered(one).items()}
    if not isinstance(told, list):
        return {}
    inner = {number: word for one in told for number, word in _numbered(one).items()}
    if inner or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in told):
        return inner
    return {str(one.get("id", place)): one["name"] for place, one in enumerate(told)}


def _label(word: Any, numbered: dict[str, str]) -> str:
    word = word[0] if isinstance(word, list) and word else word
    return numbered.get(str(word), str(word)) if isinstance(word, int) else str(word or "").strip()
