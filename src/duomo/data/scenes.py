"""Pictures with boxes: COCO JSON, Pascal VOC XML or YOLO text beside the pictures, told apart by their shape.

Broken boxes are left out one by one, counted and named; what crosses the picture's border is cut there.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import ParseError

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.kinds import boxes, image, media
from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.core.table import Table

LARGEST_JSON, LARGEST_XML, LARGEST_TEXT = 1 << 30, 1 << 20, 1 << 20
COCO = {"images", "annotations", "categories"}
NAMES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
XML_FAULTS = (ParseError, LookupError, ValueError)
YOLO_LINE = re.compile(r"\s*\d+(\s+-?[\d.]+([eE][-+]?\d+)?){4,}\s*")
DECLARED = re.compile(rb"^(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
LYING = 5
"""EXIF orientations from which a stored picture lies on its side."""
MOST_CLASSES = 1_000_000
SMALLEST = 1.0
"""Pixels a box must have on each side."""
FAULTS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError)


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
            scenes = [_sound(scene, faults) for scene in _true_sizes(root, _joined(found), faults)]
            if not scenes:
                raise DataError("Boxes must belong to pictures; none of those in {folder} names a picture that is there.", folder=root.name)
            names = pa.array([scene.file for scene in scenes], pa.large_string())
            cells = pa.array([boxes.write(scene.boxes) for scene in scenes], pa.large_string())
            kinds = {"image": "image", "boxes": "boxes", "file": "id"}
            data = pa.table({"image": names, "boxes": cells, "file": names})
            return Table(data, kinds, root=root, name=root.name, problems=(*problems, *faults.sentences()))
    return None


def refuse_without_pictures(root: Path, files: list[str]) -> None:
    """DataError where one of the files is a COCO file: its pictures are elsewhere."""
    for file in files:
        if file.lower().endswith(".json") and _coco_json(root / file) is not None:
            raise DataError(
                "Boxes must lie beside their pictures; {folder} holds {file}, but no picture. Put the pictures into the folder.",
                folder=root.name, file=file,
            )  # fmt: skip


class _Faults:
    """What was left out, by reason: how often, and where first."""

    def __init__(self) -> None:
        self.found: dict[str, list[Any]] = {}

    def add(self, reason: str, where: str) -> None:
        self.found.setdefault(reason, [0, where])[0] += 1

    def sentences(self) -> list[str]:
        return [tr("{count:,} × {reason}; the first: {where}.", count=count, reason=reason, where=where)
                for reason, (count, where) in self.found.items()]  # fmt: skip


def _joined(scenes: list[Scene]) -> list[Scene]:
    """Each picture once, with the boxes that all annotations of it name: two files that say the same say it once."""
    found: dict[str, Scene] = {}
    for scene in scenes:
        before = found.get(scene.file)
        more = [] if before is None else [box for box in scene.boxes if box not in before.boxes]
        found[scene.file] = scene if before is None else before._replace(boxes=[*before.boxes, *more])
    return list(found.values())


def _true_sizes(root: Path, scenes: list[Scene], faults: _Faults) -> list[Scene]:
    """Scenes in the pixels of their pictures as they are looked at; boxes told in those of a picture that lies on its side are turned."""
    headers = media.decode_all([root / scene.file for scene in scenes], image.header)
    found = []
    for scene, header in zip(scenes, headers, strict=True):
        if not isinstance(header, tuple):  # broken pictures are named where all are looked at
            found.append(scene)
            continue
        (width, height), turn = header
        told = (round(scene.width), round(scene.height))
        upright = (height, width) if turn >= LYING else (width, height)
        if turn >= LYING and told == (width, height) != upright:
            scene = scene._replace(boxes=[_turned(box, width, height, turn) for box in scene.boxes])
        elif all(told) and told != upright:
            faults.add(tr("a picture has another size than its annotation says"), scene.file)
        found.append(scene._replace(width=upright[0], height=upright[1]))
    return found


def _turned(box: Box, width: int, height: int, turn: int) -> Box:
    """A box of the stored picture (width, height) in the one that EXIF orientation `turn`, 5 to 8, shows."""
    left, right = (height - box.bottom, height - box.top) if turn in (6, 7) else (box.top, box.bottom)
    top, bottom = (width - box.right, width - box.left) if turn in (7, 8) else (box.left, box.right)
    return box._replace(left=left, top=top, right=right, bottom=bottom)


def _sound(scene: Scene, faults: _Faults) -> Scene:
    """The scene with its boxes cut at the picture's border, without those that are inverted, empty or outside."""
    kept = []
    for box in scene.boxes:
        if not all(map(math.isfinite, box[1:5])):
            faults.add(tr("a box was left out because its sides are no numbers"), scene.file)
            continue
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
        if len(same) > 1:  # instances_val2017.json speaks of val2017/1.jpg, not of train2017/1.jpg
            same = [file for file in same if set(PurePosixPath(file).parts[:-1]) & set(re.split(r"[/._-]", beside))]
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


def _number(told: Any) -> float:
    """A side of a picture; 0 where it is none."""
    try:
        value = float(told or 0)
    except FAULTS:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _coco_scenes(file: str, told: Mapping[str, Any], pictures: _Pictures, faults: _Faults) -> Iterator[Scene]:
    names = {one["id"]: str(one["name"]) for one in told["categories"]}
    by_image: dict[Any, list[Box]] = {}
    for one in told["annotations"]:
        if one["category_id"] not in names:
            faults.add(tr("a box was left out because its class is not named"), f"{file}, {one['category_id']}")
            continue
        try:
            sides = _coco_sides(one)
        except FAULTS:
            faults.add(tr("a box was left out because its sides are no numbers"), f"{file}, {str(one.get('bbox'))[:60]}")
            continue
        by_image.setdefault(one["image_id"], []).append(Box(names[one["category_id"]], *sides, bool(one.get("iscrowd", 0))))
    for one in told["images"]:
        picture = pictures.find(str(one["file_name"]), file)
        if picture is None:
            faults.add(tr("a picture was left out because its file is not there"), str(one["file_name"]))
            by_image.pop(one["id"], None)
            continue
        yield Scene(picture, _number(one.get("width")), _number(one.get("height")), by_image.pop(one["id"], []))
    for number, lost in by_image.items():
        for _ in lost:
            faults.add(tr("a box was left out because its picture is not listed"), f"{file}, {number}")


def _coco_sides(one: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of an annotation; of its polygons where it has no box."""
    if one.get("bbox") or not isinstance(one.get("segmentation"), list):
        left, top, width, height = (float(value) for value in one["bbox"])
        return left, top, left + width, top + height
    corners = [float(value) for polygon in one["segmentation"] for value in polygon]
    across, down = corners[0::2], corners[1::2]
    return min(across), min(down), max(across), max(down)


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
        width, height = (_number(tree.findtext(f"size/{side}")) for side in ("width", "height"))
        things = [box for thing in tree.iter("object") if (box := _voc_box(thing, file, faults)) is not None]
        found.append(Scene(picture, width, height, things))
    for picture in sorted(set(pictures) - used):
        faults.add(tr("a picture was left out because it has no annotation"), picture)
    return found


def _voc_tree(path: Path) -> ElementTree.Element | None:
    if path.stat().st_size > LARGEST_XML:
        return None
    written = path.read_bytes()
    if b"<annotation" not in written:
        return None
    # The parser knows few encodings: the text is decoded before, and what it says of its own encoding left out.
    declared = DECLARED.match(written)
    try:
        text = written.decode(declared[1].decode() if declared else "utf-8-sig")
        if "<!ENTITY" in text:  # entities may unfold without end; annotations need none
            return None
        tree = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text.removeprefix("\ufeff")))
    except XML_FAULTS:
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
    if not any(lines.values()) or sum(found is None for found in lines.values()) > 0.1 * len(lines):
        return None
    for label in (label for label, found in lines.items() if found is None):
        faults.add(tr("a picture was left out because its annotation is no list of boxes"), label)
    names = _yolo_names(root, files)
    found = []
    for picture in pictures:
        rows = lines[beside[picture]] if picture in beside else []
        if rows is None:
            continue
        try:
            shape = image.upright(root / picture)
        except ValueError as error:
            faults.add(tr("a picture was left out because it cannot be read"), f"{picture} ({error})")
            continue
        things = [box for row in rows if (box := _yolo_box(row, *shape, names, (picture, faults))) is not None]
        found.append(Scene(picture, *shape, things))
    return found


def _yolo_file(picture: str, texts: set[str]) -> str | None:
    stem = os.path.splitext(picture)[0]
    parts = stem.split("/")
    apart = ["/".join([*parts[:place], "labels", *parts[place + 1 :]]) for place, part in enumerate(parts[:-1]) if part == "images"]
    return next((name for name in (f"{one}.txt" for one in (stem, *reversed(apart))) if name in texts), None)


def _yolo_lines(path: Path) -> list[list[float]] | None:
    """Each line's numbers; None where the file is no list of boxes."""
    if path.stat().st_size > LARGEST_TEXT:
        return None
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    try:
        rows = [[float(word) for word in line.split()] for line in lines] if all(map(YOLO_LINE.fullmatch, lines)) else None
    except ValueError:
        return None
    return rows if rows is not None and all(row[0] < MOST_CLASSES for row in rows) else None


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
            return [word.strip().strip("'\"") for word in (re.sub(r"\s#.*", "", word) for word in words) if word.strip()]
    return []
