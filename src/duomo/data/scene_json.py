"""Annotated pictures in JSON: COCO, one file for many pictures, and LabelMe, one beside each picture.

COCO: Lin et al. 2014 (arXiv:1405.0312) and cocodataset.org/#format-data; its masks are runs down the columns, plain or packed into letters.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from duomo.core.errors import DataError
from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.data.annotated import FAULTS, Faults, Pictures, Scene, around, number

LARGEST = 1 << 30
COCO = {"images", "annotations", "categories"}
LABELME = {"shapes", "imagePath"}
AREAS = ("polygon", "rectangle", "circle", "mask")
"""Shapes of LabelMe that surround something; lines and points do not."""


def read_json_scenes(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What the JSON files say of the pictures; None where none of them is COCO's or LabelMe's."""
    whole, sheets, names = [], [], Pictures(pictures)
    for file in (file for file in files if file.lower().endswith(".json")):
        told = _read(root / file)
        if set(told) >= COCO:
            whole.append((file, told))
        elif set(told) >= LABELME and isinstance(told["shapes"], list):
            told.pop("imageData", None)  # the picture once more
            sheets.append((file, told))
    found: list[Scene] = []
    for file, told in whole:
        try:
            found += _coco(file, told, names, faults)
        except FAULTS as error:
            raise DataError("A COCO file must list images, annotations and categories; {file} does not: {reason}.",
                            file=file, reason=repr(error)[:100]) from None  # fmt: skip
    if sheets and not whole:
        found = [scene for file, told in sheets if (scene := _labelme(file, told, names, faults)) is not None]
        for picture in sorted(set(pictures) - {scene.file for scene in found}):
            faults.add(tr("a picture was left out because it has no annotation"), picture)
    return found if whole or sheets else None


def is_annotation(path: Path) -> bool:
    """Whether a JSON file says what is in pictures."""
    told = _read(path)
    return set(told) >= COCO or set(told) >= LABELME


def _read(path: Path) -> dict[str, Any]:
    """The object that the file holds; an empty one where it holds something else."""
    if path.stat().st_size > LARGEST:
        return {}
    try:
        told = json.loads(path.read_bytes())
    except FAULTS:
        return {}
    return told if isinstance(told, dict) else {}


# -- COCO
def _coco(file: str, told: Mapping[str, Any], pictures: Pictures, faults: Faults) -> Iterator[Scene]:
    names = {one["id"]: str(one["name"]) for one in told["categories"]}
    by_image: dict[Any, list[Box]] = {}
    for one in told["annotations"]:
        if one["category_id"] not in names:
            faults.add(tr("a box was left out because its class is not named"), f"{file}, {one['category_id']}")
            continue
        try:
            sides = _sides(one)
        except FAULTS:
            reason = tr("a box was left out because its sides are no numbers") if one.get("bbox") or not one.get("segmentation") else tr(
                "a box was left out because its outline or mask is broken")  # fmt: skip
            faults.add(reason, f"{file}, {str(one.get('bbox') or one.get('segmentation'))[:60]}")
            continue
        by_image.setdefault(one["image_id"], []).append(Box(names[one["category_id"]], *sides, bool(one.get("iscrowd", 0))))
    for one in told["images"]:
        picture = pictures.find(str(one["file_name"]), file)
        if picture is None:
            faults.add(tr("a picture was left out because its file is not there"), str(one["file_name"]))
            by_image.pop(one["id"], None)
            continue
        yield Scene(picture, number(one.get("width")), number(one.get("height")), by_image.pop(one["id"], []))
    for image, lost in by_image.items():
        for _ in lost:
            faults.add(tr("a box was left out because its picture is not listed"), f"{file}, {image}")


def _sides(one: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of an annotation; of its outline or mask where it has no box."""
    mask = one.get("segmentation")
    if one.get("bbox") or not isinstance(mask, (list, dict)):
        left, top, width, height = (float(value) for value in one["bbox"])
        return left, top, left + width, top + height
    if isinstance(mask, dict):
        return around_runs(mask["counts"], *mask["size"])
    return around([value for polygon in mask for value in polygon])


def around_runs(counts: Any, height: int, width: int) -> tuple[float, float, float, float]:
    """The box of a mask (height, width) that is given as lengths of its runs down the columns, outside first; ValueError if broken."""
    runs = np.array(unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != int(height) * int(width):
        raise ValueError
    ends = np.cumsum(runs)
    first, last = ends[0::2][: len(runs) // 2], ends[1::2] - 1
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return 0.0, 0.0, 0.0, 0.0
    across = first // height != last // height  # such a run goes over the lower end of one column and the upper end of the next
    top = np.where(across, 0, first % height).min()
    bottom = np.where(across, height - 1, last % height).max()
    return float(first.min() // height), float(top), float(last.max() // height + 1), float(bottom + 1)


def unpacked(letters: str) -> list[int]:
    """Lengths of runs from COCO's letters: five bits each, the sixth says whether more follow; from the third on, the difference to the
    one before last."""
    found: list[int] = []
    value = shift = 0
    for letter in letters.encode("ascii"):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError
    return found


# -- LabelMe
def _labelme(file: str, told: Mapping[str, Any], pictures: Pictures, faults: Faults) -> Scene | None:
    picture = pictures.find(str(told["imagePath"]), file) or pictures.beside(file)
    if picture is None:
        faults.add(tr("a picture was left out because its file is not there"), file)
        return None
    found = []
    for shape in told["shapes"]:
        try:
            label, kind = str(shape.get("label") or "").strip(), str(shape.get("shape_type") or "polygon")
            sides = _circle(shape["points"]) if kind == "circle" else around(shape["points"])
        except FAULTS:
            faults.add(tr("a box was left out because its outline or mask is broken"), f"{file}, {str(shape)[:60]}")
            continue
        if kind not in AREAS:
            faults.add(tr("a shape was left out because a {kind} surrounds nothing", kind=kind[:30]), file)
        elif not label:
            faults.add(tr("a box was left out because its class is not named"), file)
        else:
            found.append(Box(label, *sides))
    return Scene(picture, number(told.get("imageWidth")), number(told.get("imageHeight")), found)


def _circle(points: Any) -> tuple[float, float, float, float]:
    """Around a circle that is given by its centre and a point on it."""
    (x, y), (other_x, other_y) = points
    radius = math.hypot(other_x - x, other_y - y)
    return x - radius, y - radius, x + radius, y + radius
