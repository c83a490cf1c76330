"""Annotated pictures in JSON: COCO, and what other tools write (tools.py).

COCO: Lin et al. 2014 (arXiv:1405.0312) and cocodataset.org/#format-data; its masks are runs down the columns, plain or packed into letters.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from duomo.core.errors import DataError
from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.data.scenes.nested import read_nested
from duomo.data.scenes.shared import FAULTS, Faults, Pictures, Scene, Sides, around, number
from duomo.data.scenes.tools import FORMS, Form, form_of

LARGEST = 1 << 30
COCO = {"images", "annotations", "categories"}
MARKS = tuple(f'"{name}"'.encode() for name in ("annotations", "annotation", "imagePath", "regions", "original_width", "fid_list"))
"""What stands in every file that says what is in pictures; one without is not parsed."""


def read_json_scenes(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What the JSON files say of the pictures: COCO's, else those of the first tool in `FORMS`; None where there is none."""
    names, coco, others = Pictures(pictures), list[tuple[str, Any]](), list[tuple[Form, str, Any]]()
    for file in (file for file in files if file.lower().endswith(".json")):
        told = _read(root / file)
        if _is_coco(told):
            coco.append((file, told))
        elif (form := form_of(told)) is not None:
            if isinstance(told, dict):
                told.pop("imageData", None)  # LabelMe's: the picture once more
            others.append((form, file, told))
    found: list[Scene] = []
    for file, told in coco:
        try:
            found += _coco(file, told, names, faults)
        except FAULTS as error:
            raise DataError("A COCO file must list images, annotations and categories; {file} does not: {reason}.",
                            file=file, reason=repr(error)[:100]) from None  # fmt: skip
    if not coco and not others:
        loose = [file for file in files if file.lower().endswith((".json", ".manifest", ".odgt"))]
        found = list(read_nested(root, loose, names, faults))
        if not any(scene.boxes for scene in found):
            return None
    first = None if coco or not others else min((form for form, _, _ in others), key=FORMS.index)
    found += [scene for form, file, told in others if form is first for scene in form.scenes(file, told, names, faults)]
    for picture in sorted(set(pictures) - {scene.file for scene in found}):
        faults.add(tr("a picture was left out because it has no annotation"), picture)
    return found


def is_json_annotation(path: Path) -> bool:
    """Whether a JSON file says what is in pictures."""
    told = _read(path)
    return _is_coco(told) or form_of(told) is not None


def _is_coco(told: Any) -> bool:
    return isinstance(told, dict) and set(told) >= COCO


def _read(path: Path) -> Any:
    """What the file holds; None where that is not about pictures, or it is broken or too large."""
    if path.stat().st_size > LARGEST:
        return None
    written = path.read_bytes()
    try:
        return json.loads(written) if any(mark in written for mark in MARKS) else None
    except FAULTS:
        return None


# -- COCO
def _coco(file: str, told: Mapping[str, Any], pictures: Pictures, faults: Faults) -> Iterator[Scene]:
    names = {str(one["id"]): str(one["name"]) for one in told["categories"]}
    by_image: dict[str, list[Box]] = {}
    for one in told["annotations"]:
        kind = str(one["category_id"])
        if kind not in names:
            faults.add(tr("a box was left out because its class is not named"), f"{file}, {kind}")
            continue
        try:
            sides = _sides(one)
        except FAULTS:
            reason = tr("a box was left out because its sides are no numbers") if one.get("bbox") or not one.get("segmentation") else tr(
                "a box was left out because its outline or mask is broken")  # fmt: skip
            faults.add(reason, f"{file}, {str(one.get('bbox') or one.get('segmentation'))[:60]}")
            continue
        by_image.setdefault(str(one["image_id"]), []).append(Box(names[kind], *sides, bool(one.get("iscrowd", 0))))
    called = [str(one["file_name"] if "file_name" in one else one["coco_url"].rpartition("/")[2]) for one in told["images"]]  # LVIS
    pictures.expect(called, file)
    for one, name in zip(told["images"], called, strict=True):
        picture = pictures.find(name, file)
        if picture is None:
            faults.add(tr("a picture was left out because its file is not there"), name)
            by_image.pop(str(one["id"]), None)
            continue
        yield Scene(picture, number(one.get("width")), number(one.get("height")), by_image.pop(str(one["id"]), []))
    for image, lost in by_image.items():
        for _ in lost:
            faults.add(tr("a box was left out because its picture is not listed"), f"{file}, {image}")


def _sides(one: Mapping[str, Any]) -> Sides:
    """Left, top, right, bottom of an annotation; of its outline or mask where it has no box."""
    mask = one.get("segmentation")
    if one.get("bbox") or not isinstance(mask, (list, dict)):
        left, top, width, height = (float(value) for value in one["bbox"])
        return left, top, left + width, top + height
    if isinstance(mask, dict):
        return around_runs(mask["counts"], *mask["size"])
    return around([value for polygon in mask for value in polygon])


def around_runs(counts: Any, height: int, width: int) -> Sides:
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
