"""Pictures with boxes: COCO JSON, Pascal VOC XML or YOLO text beside the pictures, told apart by their shape.

Broken boxes are left out one by one, counted and named; what crosses the picture's border is cut there.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import ParseError

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.kinds import boxes, image
from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.core.table import Table

LARGEST_JSON, LARGEST_XML, LARGEST_TEXT = 1 << 30, 1 << 20, 1 << 20
COCO = {"images", "annotations", "categories"}
NAMES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
YOLO_LINE = re.compile(r"\s*\d+(\s+-?[\d.]+([eE][-+]?\d+)?){4,}\s*")
SMALLEST = 1.0
"""Pixels a box must have on each side."""
FAULTS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


class Scene(NamedTuple):
    """One picture: its file relative to the folder, width and height in pixels (0: not known), its boxes."""

    file: str
    width: float
    height: float
    boxes: list[Box]


def read_scenes(root: Path, files: list[str], pictures: list[str], problems: tuple[str, ...]) -> Table | None:
    """The folder as pictures with boxes; None where nothing beside the pictures has the shape of any known format."""
    faults = _Faults()
    for reader in (_coco, _voc, _yolo):
        found = reader(root, files, pictures, faults)
        if found is not None:
            scenes = [_sound(scene, faults) for scene in found]
            if not scenes:
                raise DataError("Boxes must belong to pictures; none of those in {folder} names a picture that is there.", folder=root.name)
            names = pa.array([scene.file for scene in scenes], pa.large_string())
            cells = pa.array([boxes.write(scene.boxes) for scene in scenes], pa.large_string())
            kinds = {"image": "image", "boxes": "boxes", "file": "id"}
            data = pa.table({"image": names, "boxes": cells, "file": names})
            return Table(data, kinds, root=root, name=root.name, problems=(*problems, *faults.sentences()))
    return None


class _Faults:
    """What was left out, by reason: how often, and where first."""

    def __init__(self) -> None:
        self.found: dict[str, list[Any]] = {}

    def add(self, reason: str, where: str) -> None:
        self.found.setdefault(reason, [0, where])[0] += 1

    def sentences(self) -> list[str]:
        return [tr("{count:,} × {reason}; the first: {where}.", count=count, reason=reason, where=where)
                for reason, (count, where) in self.found.items()]  # fmt: skip


def _sound(scene: Scene, faults: _Faults) -> Scene:
    """The scene with its boxes cut at the picture's border, without those that are inverted, empty or outside."""
    kept = []
    for box in scene.boxes:
        if box.right <= box.left or box.bottom <= box.top:
            faults.add(tr("a box was left out because it is inverted or empty"), scene.file)
            continue
        right, bottom = (scene.width or box.right, scene.height or box.bottom)
        cut = box._replace(left=max(0.0, box.left), top=max(0.0, box.top), right=min(right, box.right), bottom=min(bottom, box.bottom))
        if cut.right - cut.left < SMALLEST or cut.bottom - cut.top < SMALLEST:
            faults.add(tr("a box was left out because it lies outside of its picture or is smaller than a pixel"), scene.file)
            continue
        if cut != box and max(abs(a - b) for a, b in zip(cut[1:5], box[1:5], strict=True)) > SMALLEST:
            faults.add(tr("a box was cut at the border of its picture"), scene.file)
        kept.append(cut)
    return scene._replace(boxes=kept)


class _Pictures:
    """Finds a picture by the name that an annotation gives it: from the annotation's folder, from the root, or by its last part."""

    def __init__(self, pictures: list[str]):
        self.whole = set(pictures)
        self.by_name: dict[str, list[str]] = {}
        for file in pictures:
            self.by_name.setdefault(PurePosixPath(file).name, []).append(file)

    def find(self, name: str, beside: str) -> str | None:
        name = name.replace("\\", "/")
        base = str(PurePosixPath(beside).parent)
        for place in (name, f"{base}/{name}", f"images/{name}"):
            if os.path.normpath(place) in self.whole:
                return os.path.normpath(place)
        same = self.by_name.get(PurePosixPath(name).name, [])
        return same[0] if len(same) == 1 else None


# -- COCO
def _coco(root: Path, files: list[str], pictures: list[str], faults: _Faults) -> list[Scene] | None:
    found: list[Scene] = []
    several = [file for file in files if file.lower().endswith(".json")]
    whole = [(file, told) for file in several if (told := _coco_json(root / file)) is not None]
    for file, told in whole:
        try:
            found += _coco_scenes(file, told, _Pictures(pictures), faults)
        except FAULTS as error:
            raise DataError("A COCO file must list images, annotations and categories; {file} does not: {reason}.",
                            file=file, reason=repr(error)[:100]) from None  # fmt: skip
    return found if whole else None


def _coco_json(path: Path) -> dict[str, Any] | None:
    if path.stat().st_size > LARGEST_JSON:
        return None
    try:
        told = json.loads(path.read_bytes())
    except FAULTS:
        return None
    return told if isinstance(told, dict) and set(told) >= COCO else None


def _coco_scenes(file: str, told: Mapping[str, Any], pictures: _Pictures, faults: _Faults) -> Iterator[Scene]:
    names = {one["id"]: str(one["name"]) for one in told["categories"]}
    by_image: dict[Any, list[Box]] = {}
    for one in told["annotations"]:
        if one["category_id"] not in names:
            faults.add(tr("a box was left out because its class is not named"), f"{file}, {one['category_id']}")
            continue
        left, top, width, height = (float(value) for value in one["bbox"])
        box = Box(names[one["category_id"]], left, top, left + width, top + height, bool(one.get("iscrowd", 0)))
        by_image.setdefault(one["image_id"], []).append(box)
    for one in told["images"]:
        picture = pictures.find(str(one["file_name"]), file)
        if picture is None:
            faults.add(tr("a picture was left out because its file is not there"), str(one["file_name"]))
            continue
        yield Scene(picture, float(one.get("width") or 0), float(one.get("height") or 0), by_image.get(one["id"], []))


# -- Pascal VOC
def _voc(root: Path, files: list[str], pictures: list[str], faults: _Faults) -> list[Scene] | None:
    sheets = [file for file in files if file.lower().endswith(".xml")]
    trees = [(file, tree) for file in sheets if (tree := _voc_tree(root / file)) is not None]
    if not trees:
        return None
    names = _Pictures(pictures)
    by_stem = {PurePosixPath(file).stem: file for file in pictures}
    found, used = [], set()
    for file, tree in trees:
        picture = names.find(tree.findtext("filename") or "", file) or by_stem.get(PurePosixPath(file).stem)
        if picture is None:
            faults.add(tr("a picture was left out because its file is not there"), file)
            continue
        used.add(picture)
        width, height = (float(tree.findtext(f"size/{side}") or 0) for side in ("width", "height"))
        things = [box for thing in tree.iter("object") if (box := _voc_box(thing, file, faults)) is not None]
        found.append(Scene(picture, width, height, things))
    for picture in sorted(set(pictures) - used):
        faults.add(tr("a picture was left out because it has no annotation"), picture)
    return found


def _voc_tree(path: Path) -> ElementTree.Element | None:
    if path.stat().st_size > LARGEST_XML:
        return None
    text = path.read_bytes()
    if b"<!ENTITY" in text or b"<annotation" not in text:  # entities may unfold without end; annotations need none
        return None
    try:
        tree = ElementTree.fromstring(text)
    except ParseError:
        return None
    return tree if tree.tag == "annotation" else None


def _voc_box(thing: ElementTree.Element, file: str, faults: _Faults) -> Box | None:
    label = (thing.findtext("name") or "").strip()
    if not label:
        faults.add(tr("a box was left out because its class is not named"), file)
        return None
    try:
        sides = [float(thing.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError:
        faults.add(tr("a box was left out because its sides are no numbers"), file)
        return None
    return Box(label, sides[0] - 1, sides[1] - 1, sides[2], sides[3])  # VOC counts pixels from 1, both ends included


# -- YOLO
def _yolo(root: Path, files: list[str], pictures: list[str], faults: _Faults) -> list[Scene] | None:
    texts = {file for file in files if file.lower().endswith(".txt") and PurePosixPath(file).name not in NAMES}
    beside = {picture: label for picture in pictures if (label := _yolo_file(picture, texts)) is not None}
    lines = {label: _yolo_lines(root / label) for label in beside.values()}
    if not any(lines.values()) or any(found is None for found in lines.values()):
        return None
    names = _yolo_names(root, files)
    found = []
    for picture in pictures:
        try:
            shape = image.upright(root / picture)
        except ValueError as error:
            faults.add(tr("a picture was left out because it cannot be read"), f"{picture} ({error})")
            continue
        rows = lines[beside[picture]] if picture in beside else []
        things = [box for row in rows or [] if (box := _yolo_box(row, *shape, names, (picture, faults))) is not None]
        found.append(Scene(picture, *shape, things))
    return found


def _yolo_file(picture: str, texts: set[str]) -> str | None:
    stem = os.path.splitext(picture)[0]
    return next((name for name in (f"{stem}.txt", f"{stem.replace('images', 'labels', 1)}.txt") if name in texts), None)


def _yolo_lines(path: Path) -> list[list[float]] | None:
    """Each line's numbers; None where the file is no list of boxes."""
    if path.stat().st_size > LARGEST_TEXT:
        return None
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return [[float(word) for word in line.split()] for line in lines] if all(map(YOLO_LINE.fullmatch, lines)) else None


def _yolo_box(row: list[float], width: int, height: int, names: list[str], place: tuple[str, _Faults]) -> Box | None:
    """Class and centre, width, height in shares of the picture; more than four numbers are the corners of a polygon."""
    number, shares = int(row[0]), row[1:]
    if names and number >= len(names):
        place[1].add(tr("a box was left out because its class is not named"), f"{place[0]}, {number}")
        return None
    label = names[number] if names else str(number)
    if len(shares) > 5:
        across, down = shares[0::2], shares[1::2]
        return Box(label, min(across) * width, min(down) * height, max(across) * width, max(down) * height)
    x, y, w, h = shares[:4]
    return Box(label, (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)


def _yolo_names(root: Path, files: list[str]) -> list[str]:
    """Class names from classes.txt and the like, or from the `names` of a YAML file; none where there are neither."""
    for file in files:
        if PurePosixPath(file).name in NAMES:
            return [line.strip() for line in (root / file).read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    for file in files:
        if file.lower().endswith((".yaml", ".yml")) and (root / file).stat().st_size <= LARGEST_TEXT:
            text = (root / file).read_text(encoding="utf-8", errors="replace")
            inline = re.search(r"^names:\s*\[(.*?)\]", text, re.MULTILINE | re.DOTALL)
            block = re.search(r"^names:[ \t]*\n((?:[ \t]*(?:-|\d+:)[ \t]*.+\n?)+)", text, re.MULTILINE)
            words = inline[1].split(",") if inline else re.sub(r"(?m)^[ \t]*(-|\d+:)", "", block[1]).splitlines() if block else []
            return [word.strip().strip("'\"") for word in words if word.strip()]
    return []
