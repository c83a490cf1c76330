"""Which picture an annotation, a list or a folder speaks of, where names repeat, are stale or are missing."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from duomo import plan
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import boxes
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.folders.classes import labels_of


def pictures(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)).save(root / name)


def lefts(table: Table) -> dict[str, list[tuple[str, float]]]:
    """Each picture's boxes: class and left side."""
    told = boxes.parse(table.column("boxes"))
    return {file: [(box.label, box.left) for box in found] for file, found in zip(table.column("file").to_pylist(), told, strict=True)}


def coco(path: Path, names: Sequence[str], ids: type = int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "images": [{"id": number, "file_name": name, "width": 40, "height": 30} for number, name in enumerate(names)],
        "annotations": [{"image_id": ids(number), "category_id": ids(1), "bbox": [number, 2, 9, 9]} for number in range(len(names))],
        "categories": [{"id": 1, "name": "cat"}],
    }))  # fmt: skip


def test_boxes_of_missing_pictures_land_on_no_other(tmp_path: Path) -> None:
    pictures(tmp_path, "day/0.png", "day/1.png", "dusk/0.png")
    coco(tmp_path / "all.json", ["night/0.png", "day/0.png", "day/1.png", "night/1.png"])
    table = sources.read(tmp_path)
    assert lefts(table) == {"day/0.png": [("cat", 1)], "day/1.png": [("cat", 2)]}
    assert any("2 × " in said and "night/0.png" in said for said in table.problems)
    assert any("no annotation" in said and "dusk/0.png" in said for said in table.problems)


def test_parts_with_the_same_names_below_one_folder(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"data/{part}/images/{number}.png" for part in ("train", "val") for number in range(2)))
    coco(tmp_path / "data/train/labels.json", ["0.png", "1.png"])
    coco(tmp_path / "data/val/labels.json", ["1.png", "0.png"], ids=str)  # numbers here, words there
    assert lefts(sources.read(tmp_path)) == {
        "data/train/images/0.png": [("cat", 0)], "data/train/images/1.png": [("cat", 1)],
        "data/val/images/1.png": [("cat", 0)], "data/val/images/0.png": [("cat", 1)],
    }  # fmt: skip


def test_parts_that_lists_and_folders_call_by_other_words(tmp_path: Path) -> None:
    pictures(tmp_path, "training/0.png", "valid/0.png")
    coco(tmp_path / "train.json", ["0.png"])
    coco(tmp_path / "val.json", ["1.png", "0.png"])
    assert lefts(sources.read(tmp_path)) == {"training/0.png": [("cat", 0)], "valid/0.png": [("cat", 1)]}


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_stale_name_in_a_sheet(tmp_path: Path, form: str) -> None:
    pictures(tmp_path, "a.png", "b.png")
    for left, name in enumerate("ab"):
        told = (f"<annotation><filename>a.png</filename><object><name>cat</name><bndbox><xmin>{left + 1}</xmin><ymin>1</ymin><xmax>20"
                "</xmax><ymax>20</ymax></bndbox></object></annotation>") if form == "xml" else json.dumps({
                    "imagePath": "a.png", "shapes": [{"label": "cat", "shape_type": "rectangle", "points": [[left, 0], [20, 20]]}]
                })  # fmt: skip
        (tmp_path / f"{name}.{form}").write_text(told)
    table = sources.read(tmp_path)
    assert lefts(table) == {"a.png": [("cat", 0)], "b.png": [("cat", 1)]} and any(f"b.{form}" in said for said in table.problems)


def test_films_of_cvat_keep_their_own_frames(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"film{film}/frame_{number:06d}.png" for film in (1, 2) for number in range(2)))
    for film in (1, 2):
        track = f'<track label="car"><box frame="0" outside="0" xtl="{film}" ytl="1" xbr="20" ybr="20"/></track>'
        (tmp_path / f"film{film}/annotations.xml").write_text(f"<annotations>{track}</annotations>")
    found = lefts(sources.read(tmp_path))
    assert found == {f"film{film}/frame_00000{number}.png": [("car", film)] * (number == 0) for film in (1, 2) for number in range(2)}
    (tmp_path / "film1/annotations.xml").rename(tmp_path / "all.xml")
    table = sources.read(tmp_path)
    assert set(lefts(table)) == {"film2/frame_000000.png", "film2/frame_000001.png"} and any("all.xml" in said for said in table.problems)


def yolo(root: Path, texts: dict[str, str]) -> None:
    pictures(root, *(f"{name}.png" for name in texts))
    for name, text in texts.items():
        (root / f"{name}.txt").write_text(text)


def test_each_folder_has_its_own_list_of_classes(tmp_path: Path) -> None:
    yolo(tmp_path, {"day/a": "0 0.5 0.5 0.5 0.5", "night/b": "\ufeff0.0,0.5,0.5,0.5,0.5"})
    (tmp_path / "day/classes.txt").write_text("\ufeffcat\ndog")
    (tmp_path / "night/_darknet.labels").write_text("dog\ncat")
    assert lefts(sources.read(tmp_path)) == {"day/a.png": [("cat", 10)], "night/b.png": [("dog", 10)]}


@pytest.mark.parametrize(("file", "text"), [("obj.names", "cat\ndog"), ("data.yaml", "names: [cat, dog]")])
def test_lists_of_what_a_model_learned_before_are_not_those_of_the_data(tmp_path: Path, file: str, text: str) -> None:
    yolo(tmp_path, {"a": "1 0.5 0.5 0.5 0.5", "b": "0 0.5 0.5 0.5 0.5"})
    (tmp_path / "coco.names").write_text("person\nbicycle\ncar")
    assert lefts(sources.read(tmp_path)) == {"a.png": [("bicycle", 10)], "b.png": [("person", 10)]}
    (tmp_path / file).write_text(text)
    assert lefts(sources.read(tmp_path)) == {"a.png": [("dog", 10)], "b.png": [("cat", 10)]}


def test_classes_of_yolo_counted_from_one(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": "1 0.5 0.5 0.5 0.5", "b": "2 0.5 0.5 0.5 0.5"})
    (tmp_path / "classes.txt").write_text("cat\ndog")
    table = sources.read(tmp_path)
    assert lefts(table) == {"a.png": [("cat", 10)], "b.png": [("dog", 10)]} and any("from 1" in said for said in table.problems)


def test_commas_in_lines_of_yolo(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": "0 0,5 0,5 0,5 0,5", "b": "0, 0.5, 0.5, 0.5, 0.5", "c": "0,0.5,0.5,0.5,0.5"})
    assert {*map(tuple, lefts(sources.read(tmp_path)).values())} == {(("0", 10),)}


def test_boxes_of_yolo_in_pixels(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": "0 20 15 10 10", "b": "0 10 15 10 10"})
    with pytest.raises(DataError, match=r"a\.txt"):
        sources.read(tmp_path)


@pytest.mark.parametrize("before", ["", "C:\\pets\\", "/home/pets/"])
def test_a_list_that_names_missing_files(tmp_path: Path, before: str) -> None:
    pictures(tmp_path, "cat/0.png", "cat/1.png", "dog/0.png", "owl/2.png")
    rows = [f"{before}{kind}/{number}.png,{kind}" for kind in ("cat", "dog") for number in range(2)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file,label", *rows, "2.png,owl"]))
    table = sources.read(tmp_path)
    assert table.column("image").to_pylist() == ["cat/0.png", "cat/1.png", "dog/0.png", None, "owl/2.png"]
    assert any("dog" in said for said in table.problems)


@pytest.mark.parametrize(("files", "labels"), [
    (["set/cat/1.png", "set/dog/1.png"], ["cat", "dog"]), (["test/cat/1.png"], ["cat"]), (["cat/1.png"], ["cat"]),
    (["data/train/cat/1.png", "data/test/dog/1.png"], ["cat", "dog"]), (["cat/images/1.png"], ["cat"]),
    (["cat/in/1.png", "cat/out/1.png"], ["cat", "cat"]), (["a/cat/1.png", "a/dog/1.png"], ["cat", "dog"]),
    (["flower_photos/rose/1.png", "flower_photos/tulip/1.png"], ["rose", "tulip"]),
    (["cat/train/1.png", "cat/test/1.png"], ["cat", "cat"]), (["cat/front/1.png", "cat/back/1.png"], ["cat", "cat"]),
])  # fmt: skip
def test_folders_around_the_classes(files: list[str], labels: list[str]) -> None:
    found = labels_of(Path("a"), files)
    assert found is not None and found.labels == labels


def test_a_stray_picture_takes_no_class_from_the_others(tmp_path: Path) -> None:
    pictures(tmp_path, "all.jfif", *(f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)))
    assert sources.read(tmp_path).column("label").to_pylist() == [None, *["cat"] * 3, *["dog"] * 3]


@pytest.mark.parametrize("form", ["corners", "shares", "list"])
def test_boxes_that_are_meant_otherwise_than_said(tmp_path: Path, form: str) -> None:
    """COCO's and a list's `bbox` with right and lower side, or in shares of the picture."""
    pictures(tmp_path, *(f"{number}.png" for number in range(5)))
    told = [[number, 3, 35 + number, 29] for number in range(5)]
    if form == "list":
        lines = [f'{number}.png,cat,"{box}"' for number, box in enumerate(told)]
        (tmp_path / "metadata.csv").write_text("\n".join(["file,label,bbox", *lines]))
    else:
        coco(tmp_path / "all.json", [f"{number}.png" for number in range(5)])
        whole = json.loads((tmp_path / "all.json").read_text())
        for one, (left, top, right, bottom) in zip(whole["annotations"], told, strict=True):
            shares = [left / 40, top / 30, (right - left) / 40, (bottom - top) / 30]
            one["bbox"] = shares if form == "shares" else [left, top, right, bottom]
        (tmp_path / "all.json").write_text(json.dumps(whole))
    table = sources.read(tmp_path)
    found = [one for cell in boxes.parse(table.column("boxes")) for one in cell]
    assert [[round(side) for side in box[1:5]] for box in found] == told and len(table.problems) == 1


def test_boxes_of_a_list_by_their_centre(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "boxes.csv").write_text(
        "filename,class,x_center,y_center,width,height\na.png,cat,0.5,0.5,0.5,0.5\nb.png,dog,0.25,0.5,0.5,1"
    )
    found = boxes.parse(sources.read(tmp_path).column("boxes"))
    assert [[(box.label, *box[1:5]) for box in one] for one in found] == [[("cat", 10, 7.5, 30, 22.5)], [("dog", 0, 0, 20, 30)]]
    with (tmp_path / "boxes.csv").open("a") as lines:
        lines.write("\na.png,owl,0.9,0.5,0.4,0.5")
    table = sources.read(tmp_path)  # it crosses the edge, and is cut there
    assert boxes.parse(table.column("boxes"))[0][1][1:5] == (28, 7.5, 40, 22.5) and len(table.problems) == 1


@pytest.mark.parametrize(("picture", "text"), [
    ("pictures/{}.png", "boxes/{}.txt"), ("imgs/train/{}.png", "anns/train/{}.txt"), ("{}.png", "labels/{}.txt"),
    ("Images/{}.png", "Labels/{}.txt"),
])  # fmt: skip
def test_texts_of_yolo_in_folders_of_other_names(tmp_path: Path, picture: str, text: str) -> None:
    pictures(tmp_path, picture.format(1), picture.format(2))
    for number in (1, 2):
        (tmp_path / text.format(number)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / text.format(number)).write_text(f"{number} 0.5 0.5 0.5 0.5")
    assert list(lefts(sources.read(tmp_path)).values()) == [[("1", 10)], [("2", 10)]]


def test_pictures_of_which_nothing_is_told(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{number}.png" for number in range(6)))
    with pytest.raises(ConfigError, match=r"6 that lie in no folders.*metadata\.csv"):
        plan.make(tmp_path, {}, Silent())
