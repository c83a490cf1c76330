"""Annotated pictures in JSON of shapes that no reader is written for, and boxes that are turned, as tools and data sets have them."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from duomo.core.kinds import boxes
from duomo.core.kinds.boxes import Box
from duomo.data import sources

CAT, DOG = Box("cat", 4, 3, 20, 27), Box("dog", 10, 12, 30, 21)
WANTED = {"a.jpg": [CAT, DOG], "b.jpg": [DOG], "c.jpg": []}
NAMES = ["cat", "dog"]


def extent(box: Box) -> list[float]:
    return [box.left, box.top, box.right - box.left, box.bottom - box.top]


def corners(box: Box) -> list[list[float]]:
    return [[box.left, box.top], [box.right, box.bottom]]


def bdd() -> dict[str, Any]:
    sides = ("x1", "y1", "x2", "y2")
    return {"labels/train.json": [
        {"name": name, "attributes": {"weather": "clear"},
         "labels": [{"id": 3, "category": box.label, "box2d": dict(zip(sides, box[1:5], strict=True))} for box in things]}
        for name, things in WANTED.items()]}  # fmt: skip


def supervisely() -> dict[str, Any]:
    return {"meta.json": {"classes": [{"title": name, "shape": "rectangle"} for name in NAMES]}} | {
        f"ann/{name}.json": {"size": {"height": 30, "width": 40}, "objects": [
            {"classTitle": box.label, "tags": [], "points": {"exterior": corners(box), "interior": []}} for box in things]}
        for name, things in WANTED.items()}  # fmt: skip


def vott() -> dict[str, Any]:
    sides = ("left", "top", "width", "height")
    return {"export.json": {"tags": [{"name": name} for name in NAMES], "assets": {
        name: {"asset": {"name": name, "path": f"file:/x/{name}"}, "regions": [
            {"type": "RECTANGLE", "tags": [box.label], "boundingBox": dict(zip(sides, extent(box), strict=True))} for box in things]}
        for name, things in WANTED.items()}}}  # fmt: skip


def datumaro() -> dict[str, Any]:
    return {"annotations/default.json": {"categories": {"label": {"labels": [{"name": name} for name in NAMES]}}, "items": [
        {"id": name[0], "image": {"path": name}, "annotations": [
            {"type": "bbox", "label_id": NAMES.index(box.label), "bbox": extent(box)} for box in things]}
        for name, things in WANTED.items()]}}  # fmt: skip


def crowdhuman() -> dict[str, Any]:
    return {"train.odgt": "\n".join(json.dumps({"ID": name[0], "gtboxes": [
        {"tag": box.label, "fbox": extent(box), "hbox": [1, 1, 3, 3]} for box in things]}) for name, things in WANTED.items())}  # fmt: skip


def objects() -> dict[str, Any]:
    return {"train.json": [
        {"file_name": name, "objects": {"bbox": [extent(box) for box in things], "categories": [NAMES.index(box.label) for box in things]},
         "info": {"categories": [{"name": "cat"}, {"name": "dog"}]}} for name, things in WANTED.items()]}  # fmt: skip


def dota() -> dict[str, Any]:
    return {f"labelTxt/{name[0]}.txt": "imagesource:GoogleEarth\ngsd:0.15\n" + "".join(
        f"{box.left} {box.top} {box.right} {box.top} {box.right} {box.bottom} {box.left} {box.bottom} {box.label} 0\n" for box in things)
        for name, things in WANTED.items()}  # fmt: skip


def turned() -> dict[str, Any]:
    return {f"{name[0]}.xml": f"<annotation><filename>{name}</filename>" + "".join(
        f"<object><name>{box.label}</name><robndbox><cx>{(box.left + box.right) / 2}</cx><cy>{(box.top + box.bottom) / 2}</cy>"
        f"<w>{box.bottom - box.top}</w><h>{box.right - box.left}</h><angle>1.5707963</angle></robndbox></object>" for box in things)
        + "</annotation>" for name, things in WANTED.items()}  # fmt: skip


@pytest.mark.parametrize("form", [bdd, supervisely, vott, datumaro, crowdhuman, objects, dota, turned])
def test_boxes_of_many_shapes(tmp_path: Path, form: Any) -> None:
    for name in WANTED:
        (tmp_path / "img").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / "img" / name)
    for name, told in form().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(told if isinstance(told, str) else json.dumps(told))
    table = sources.read(tmp_path)
    found = dict(zip([Path(name).name for name in table.column("image").to_pylist()], boxes.parse(table.column("boxes")), strict=True))
    assert {name: [Box(one.label, *map(round, one[1:5])) for one in things] for name, things in found.items()} == WANTED


def test_what_is_told_of_a_whole_picture_is_no_thing_in_it(tmp_path: Path) -> None:
    rows = [{"image": f"{number}.jpg", "name": "ab"[number % 2], "landmarks": [[1, 2], [3, number]]} for number in range(8)]
    for row in rows:
        Image.new("RGB", (40, 30)).save(tmp_path / row["image"])
    (tmp_path / "people.json").write_text(json.dumps(rows))
    assert "boxes" not in sources.read(tmp_path).names


def test_masks_at_their_places(tmp_path: Path) -> None:
    """As Supervisely has them, cut out and packed."""
    for name in WANTED:
        Image.new("RGB", (40, 30)).save(tmp_path / name)
        mask = io.BytesIO()
        Image.new("1", (CAT.right - CAT.left, CAT.bottom - CAT.top), 1).save(mask, "PNG")
        packed = base64.b64encode(zlib.compress(mask.getvalue())).decode()
        thing = {"classTitle": "cat", "geometryType": "bitmap", "bitmap": {"data": packed, "origin": [CAT.left, CAT.top]}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"size": {"height": 30, "width": 40}, "tags": [], "objects": [thing]}))
    assert boxes.parse(sources.read(tmp_path).column("boxes")) == [[CAT]] * 3
