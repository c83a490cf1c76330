"""Pictures with boxes: JSON of COCO and other tools, XML of Pascal VOC, CVAT and dlib, texts of YOLO, KITTI and
benchmarks, told apart by their shape.

Broken boxes are left out one by one, counted and named; what crosses the picture's border is cut there.
"""

import math
from pathlib import Path

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.kinds import boxes, image, media
from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.partition import SPLIT
from duomo.data.scenes.coco import is_json_annotation, read_json_scenes
from duomo.data.scenes.cvat import LARGEST, READINGS, read_cvat
from duomo.data.scenes.kitti import read_kitti
from duomo.data.scenes.shared import Faults, Scene
from duomo.data.scenes.texts import read_films, read_lists
from duomo.data.scenes.voc import read_tree, read_voc
from duomo.data.scenes.yolo import read_yolo

LYING = 5
"""EXIF orientations from which a stored picture lies on its side."""
FEWEST, LEAVE, SOME_LEAVE, ROUNDING = 5, 0.2, 0.05, 0.001
"""Boxes by which one tells how they were meant; the share of them that leave their pictures if they were meant as said, and where only a
centre would place all of them inside; what a share of a picture may be above 1."""
SMALLEST = 1.0
"""Pixels a box must have on each side."""


def read_scenes(root: Path, files: list[str], pictures: list[str], problems: tuple[str, ...]) -> Table | None:
    """The folder as pictures with boxes; None where nothing beside the pictures has the shape of any known format."""
    faults = Faults()
    for reader in (read_json_scenes, read_voc, read_cvat, read_yolo, read_kitti, read_lists, read_films):
        found = reader(root, files, pictures, faults)
        if found is not None:
            if not found:
                raise DataError("Boxes must belong to pictures; none of those in {folder} names a picture that is there.", folder=root.name)
            return as_table(root, found, faults, problems, extents=reader is read_json_scenes)
    return None


def as_table(root: Path, scenes: list[Scene], faults: Faults, problems: tuple[str, ...], *, extents: bool = False) -> Table:
    """A row for each picture with the boxes that are sound; `split` beside it where the scenes have parts.

    `extents`: the boxes were told as left, top, width, height, or so it was said.
    """
    scenes = _true_sizes(root, _joined(scenes), faults)
    scenes = [sound(scene, faults) for scene in (_meant(scenes, faults) if extents else scenes)]
    names = pa.array([scene.file for scene in scenes], pa.large_string())
    columns = {"image": names, "boxes": pa.array([boxes.write(scene.boxes) for scene in scenes], pa.large_string())}
    if any(scene.part for scene in scenes):
        columns[SPLIT] = pa.array([scene.part for scene in scenes], pa.large_string())
    columns["file"] = names
    kinds = {"image": "image", "boxes": "boxes", SPLIT: "id", "file": "id"}
    kinds = {name: kind for name, kind in kinds.items() if name in columns}
    return Table(pa.table(columns), kinds, root=root, name=root.name, problems=(*problems, *faults.sentences()))


def is_annotation(path: Path) -> bool:
    """Whether a JSON or XML file says what is in pictures."""
    ending = path.suffix.lower()
    return (
        is_json_annotation(path)
        if ending == ".json"
        else ending == ".xml" and read_tree(path, (*READINGS, "annotation"), LARGEST) is not None
    )


def refuse_without_pictures(root: Path, files: list[str]) -> None:
    """DataError where one of the files says what is in pictures: they are elsewhere."""
    for file in files:
        if is_annotation(root / file):
            raise DataError(
                "Boxes must lie beside their pictures; {folder} holds {file}, but no picture. Put the pictures into the folder.",
                folder=root.name, file=file,
            )  # fmt: skip


def _joined(scenes: list[Scene]) -> list[Scene]:
    """Each picture once, with the boxes that all annotations of it name: two files that say the same, but for rounding, say it once."""
    found: dict[str, Scene] = {}
    for scene in scenes:
        before = found.get(scene.file)
        more = [] if before is None else [box for box in scene.boxes if not any(_same(box, other) for other in before.boxes)]
        found[scene.file] = scene if before is None else before._replace(boxes=[*before.boxes, *more])
    return list(found.values())


def _same(box: Box, other: Box) -> bool:
    near = all(abs(a - b) <= SMALLEST for a, b in zip(box[1:5], other[1:5], strict=True))
    return box == other or (near and box.label == other.label)


def _true_sizes(root: Path, scenes: list[Scene], faults: Faults) -> list[Scene]:
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


def _meant(scenes: list[Scene], faults: Faults) -> list[Scene]:
    """Boxes told as shares of their pictures in pixels; boxes whose width and height are the right and the lower side as that, and those
    whose left and top are their centre: where all fit their pictures so, and many leave them otherwise."""
    told = [(scene, box) for scene in scenes for box in scene.boxes if scene.width and scene.height]
    if told and all(max(map(abs, box[1:5])) <= 1 + ROUNDING for _, box in told) and max(max(box[3:5]) for _, box in told) > 0:
        faults.add(tr("the boxes are told in shares of their pictures"), told[0][0].file)
        scenes = [scene._replace(boxes=[_scaled(box, scene.width, scene.height) for box in scene.boxes]) for scene in scenes]
        told = [(scene, box) for scene in scenes for box in scene.boxes if scene.width and scene.height]
    leave = sum(box.right > scene.width + SMALLEST or box.bottom > scene.height + SMALLEST for scene, box in told)
    if len(told) < FEWEST or leave < max(2, SOME_LEAVE * len(told)):
        return scenes
    if leave >= LEAVE * len(told) and all(_fits(_cornered(box), scene) for scene, box in told):
        faults.add(tr("the boxes are told by left, top, right and bottom, not by width and height"), told[0][0].file)
        return [scene._replace(boxes=[_cornered(box) for box in scene.boxes]) for scene in scenes]
    if all(_fits(box, scene) and min(box.left, box.top) >= -SMALLEST for scene, box in ((scene, centred(box)) for scene, box in told)):
        faults.add(tr("the boxes are told by their centre, not by left and top"), told[0][0].file)
        return [scene._replace(boxes=[centred(box) for box in scene.boxes]) for scene in scenes]
    return scenes


def _cornered(box: Box) -> Box:
    """What was taken for width and height as the right and the lower side."""
    return box._replace(right=box.right - box.left, bottom=box.bottom - box.top)


def centred(box: Box) -> Box:
    """The box whose left upper corner was told where its centre was meant."""
    across, down = (box.right - box.left) / 2, (box.bottom - box.top) / 2
    return box._replace(left=box.left - across, top=box.top - down, right=box.right - across, bottom=box.bottom - down)


def _fits(box: Box, scene: Scene) -> bool:
    return box.left < box.right <= scene.width + SMALLEST and box.top < box.bottom <= scene.height + SMALLEST


def _scaled(box: Box, width: float, height: float) -> Box:
    return box._replace(left=box.left * width, top=box.top * height, right=box.right * width, bottom=box.bottom * height)


def _turned(box: Box, width: int, height: int, turn: int) -> Box:
    """A box of the stored picture (width, height) in the one that EXIF orientation `turn`, 5 to 8, shows."""
    left, right = (height - box.bottom, height - box.top) if turn in (6, 7) else (box.top, box.bottom)
    top, bottom = (width - box.right, width - box.left) if turn in (7, 8) else (box.left, box.right)
    return box._replace(left=left, top=top, right=right, bottom=bottom)


def sound(scene: Scene, faults: Faults) -> Scene:
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
        if cut in kept:
            faults.add(tr("a box is told twice and counts once"), scene.file)
            continue
        kept.append(cut)
    return scene._replace(boxes=kept)
