"""Annotated pictures in the three formats of the field, with planted faults; scenes composed from cut-outs."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from duomo import plan
from duomo.core import kinds
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import boxes, image, media
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.scenes import yolo
from duomo.data.scenes.compose import ComposeConfig, _cuts, _mirrored, compose

WIDTH, HEIGHT = 100, 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "scenes"
    (root / "images").mkdir(parents=True)
    for name in ("a", "b", "c"):
        Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 50)).save(root / "images" / f"{name}.png")
    return root


def things(table: Table) -> dict[str, list[boxes.Box]]:
    return dict(zip(table.column("image").to_pylist(), boxes.parse(table.column("boxes")), strict=True))


def test_coco(folder: Path) -> None:
    told = {
        "images": [{"id": n, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for n, name in enumerate("abcx")],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "狗"}],
        "annotations": [
            {"image_id": 0, "category_id": 7, "bbox": [10, 10, 20, 30]},
            {"image_id": 0, "category_id": 9, "bbox": [90, 50, 50, 50]},
            {"image_id": 1, "category_id": 9, "bbox": [10, 10, -5, 5]},
            {"image_id": 1, "category_id": 8, "bbox": [1, 1, 5, 5]},
            {"image_id": 1, "category_id": 7, "bbox": [200, 10, 5, 5]},
            {"image_id": 1, "category_id": 7, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(told))
    table = kinds.infer(sources.read(folder), {})
    assert table.kinds == {"image": "image", "boxes": "boxes", "file": "id"}
    found = things(table)
    assert found["images/a.png"] == [boxes.Box("cat", 10, 10, 30, 40), boxes.Box("狗", 90, 50, 100, 60)]
    assert found["images/b.png"] == [boxes.Box("cat", 0, 0, 50, 50, True)]
    assert found["images/c.png"] == []
    said = " ".join(table.problems)
    for fault in ("inverted or empty", "class is not named", "outside of its picture", "cut at the border", "file is not there"):
        assert fault in said, fault


def test_voc(folder: Path) -> None:
    def thing(name: str, *sides: object) -> str:
        tags = "".join(f"<{tag}>{side}</{tag}>" for tag, side in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True))
        return f"<object><name>{name}</name><bndbox>{tags}</bndbox></object>"

    head = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    body = thing("cat", 11, 11, 30, 40) + thing("", 1, 1, 2, 2) + thing("dog", "x", 1, 2, 3)
    (folder / "a.xml").write_text(f"<annotation><filename>a.png</filename>{head}{body}</annotation>")
    (folder / "b.xml").write_text(f"<annotation>{head}{thing('dog', 1, 1, 50, 60)}</annotation>")
    bomb = "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><annotation><filename>c.png</filename></annotation>"
    (folder / "c.xml").write_text(bomb)
    table = sources.read(folder)
    assert things(table) == {
        "images/a.png": [boxes.Box("cat", 10, 10, 30, 40)],
        "images/b.png": [boxes.Box("dog", 0, 0, 50, 60)],
    }
    said = " ".join(table.problems)
    assert "no annotation" in said and "images/c.png" in said and "no numbers" in said and "not named" in said


@pytest.mark.parametrize("names", ["classes.txt", "data.yaml", "block.yaml", ""])
def test_yolo(folder: Path, names: str) -> None:
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.5\n1 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4\n")
    (folder / "labels" / "b.txt").write_text("")
    text = {
        "classes.txt": "cat\ndog\n",
        "data.yaml": "train: x\nnames: ['cat', \"dog\"]\n",
        "block.yaml": "nc: 2\nnames:\n  0: cat  # a tame one\n  1: dog\n",
    }
    if names:
        (folder / names).write_text(text[names])
    table = sources.read(folder)
    found = things(table)
    labels = ("cat", "dog") if names else ("0", "1")
    assert found["images/a.png"] == [boxes.Box(labels[0], 40, 15, 60, 45), boxes.Box(labels[1], 10, 6, 30, 24)]
    assert found["images/b.png"] == found["images/c.png"] == []


def test_captions_are_no_boxes(folder: Path) -> None:
    for name in "abc":
        (folder / "images" / f"{name}.txt").write_text("a red picture of nothing")
    assert "boxes" not in sources.read(folder).names


def test_cells_that_are_no_boxes() -> None:
    import pyarrow as pa

    with pytest.raises(DataError, match="row 2"):
        boxes.parse(pa.chunked_array([["[]", '[{"label": "a", "box": [1, 2, 3]}]']]))


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    cuts, grounds = tmp_path / "cuts", tmp_path / "grounds"
    for label, colour in (("red", (255, 0, 0, 255)), ("blue", (0, 0, 255, 255))):
        (cuts / label).mkdir(parents=True)
        picture = Image.new("RGBA", (60, 40))
        picture.paste(Image.new("RGBA", (40, 20), colour), (10, 10))
        picture.save(cuts / label / "one.png")
    grounds.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(100, 140, (90, 120, 3), np.uint8)).save(grounds / "g.png")
    return cuts, grounds


def test_composed_boxes_and_masks_are_exact(parts: tuple[Path, Path], tmp_path: Path) -> None:
    config = ComposeConfig(count=12, side=96, most=2, shadow=0.0, turn=0.0, smallest=0.3, overlap=0.0)
    told = compose(*parts, tmp_path / "out", config, Silent())
    assert told["scenes"] == 12 and told["classes"] == ["blue", "red"]
    whole = json.loads((tmp_path / "out/annotations.json").read_text())
    assert whole["annotations"]
    for one in whole["annotations"]:
        scene = np.asarray(Image.open(tmp_path / "out" / whole["images"][one["image_id"] - 1]["file_name"]), np.int64)
        counts = one["segmentation"]["counts"]
        mask = np.repeat(np.arange(len(counts)) % 2, counts).reshape(96, 96).T.astype(bool)
        assert mask.sum() == one["area"]
        left, top, width, height = one["bbox"]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1) == (left, top, width, height)
        channel = 0 if one["category_id"] == 2 else 2
        assert (scene[mask][:, channel] > scene[mask][:, 2 - channel]).mean() > 0.9
    again = compose(*parts, tmp_path / "again", config, Silent())
    assert (tmp_path / "again/annotations.json").read_bytes() == (tmp_path / "out/annotations.json").read_bytes() and again["scenes"] == 12
    table = sources.read(tmp_path / "out")
    assert len(table) == 12 and not table.problems


@pytest.mark.parametrize("named", [("left", "right"), ("arrow", "arrow")])
def test_mirror_images_of_two_classes_are_not_mirrored(parts: tuple[Path, Path], tmp_path: Path, named: tuple[str, str]) -> None:
    for label, way, name in zip(named, (1, -1), "ab", strict=True):
        alpha = np.tril(np.full((60, 60), 255, np.uint8))[:, ::way]
        (tmp_path / "signs" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([alpha] * 4, 2)).save(tmp_path / "signs" / label / f"{name}.png")
    cuts = _cuts(tmp_path / "signs", Silent())
    assert _mirrored(cuts) == (named if named[0] != named[1] else None)
    heard, config = Silent(), ComposeConfig(count=8, side=64, most=1, turn=0.0, hue=0.0)
    compose(tmp_path / "signs", parts[1], tmp_path / "out", config, heard)
    assert ("left and right are mirror images" in heard.said[0]) is (named[0] != named[1])


def test_composing_tells_what_it_lacks(parts: tuple[Path, Path], tmp_path: Path) -> None:
    cuts, grounds = parts
    with pytest.raises(DataError, match="no folder"):
        compose(cuts, tmp_path / "nowhere", tmp_path / "o", ComposeConfig(), Silent())
    with pytest.raises(DataError, match="transparent part"):
        compose(grounds, grounds, tmp_path / "o", ComposeConfig(), Silent())
    with pytest.raises(ConfigError, match="empty folder"):
        compose(cuts, grounds, cuts, ComposeConfig(), Silent())
    heard = Silent()
    (grounds / "torn.jpg").write_bytes(b"none")
    compose(cuts, grounds, tmp_path / "out", ComposeConfig(count=1), heard)
    assert "backgrounds" in heard.said[0] and "torn.jpg" in heard.said[0]


def test_broken_coco_boxes_are_left_out_one_by_one(folder: Path) -> None:
    """No numbers, endless, of no picture: each is counted (but once where two files say it), the rest stays."""
    good = {"image_id": 0, "category_id": 7, "bbox": [10, 10, 20, 30]}
    bad = [{"bbox": None}, {"bbox": ["x", 1, 2, 3]}, {"bbox": [float("nan"), 1, 5, 5]}, {"bbox": [1, 1, float("inf"), 5]}, {"image_id": 77}]
    told = {
        "images": [{"id": n, "file_name": f"{name}.png", "width": "?"} for n, name in enumerate("ab")],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [good, *(good | one for one in bad)],
    }
    for name in ("one", "two"):
        (folder / f"{name}.json").write_text(json.dumps(told))
    table = sources.read(folder)
    assert table.column("image").to_pylist() == ["images/a.png", "images/b.png"]
    assert things(table)["images/a.png"] == [boxes.Box("cat", 10, 10, 30, 40)]
    said = " ".join(table.problems)
    assert "7 × a box was left out because its sides are no numbers" in said
    assert "2 × a box was left out because its picture is not listed" in said


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_boxes_of_a_picture_that_lies_on_its_side_turn_with_it(folder: Path, turn: int) -> None:
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    picture.paste((255, 255, 255), (10, 5, 40, 15))
    exif = Image.Exif()
    exif[0x0112] = turn
    picture.save(folder / "images" / "a.png", exif=exif)
    told = {
        "images": [
            {"id": 0, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 1, "file_name": "b.png", "width": 7, "height": 9},
        ],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [{"image_id": 0, "category_id": 7, "bbox": [10, 5, 30, 10]}],
    }
    (folder / "annotations.json").write_text(json.dumps(told))
    table = sources.read(folder)
    left, top, right, bottom = ImageOps.exif_transpose(Image.open(folder / "images" / "a.png")).convert("L").getbbox() or ()
    assert things(table)["images/a.png"] == [boxes.Box("cat", left, top, right, bottom)]
    assert any("another size" in said and "b.png" in said for said in table.problems)


def test_coco_without_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps({"images": [], "categories": [], "annotations": []}))
    with pytest.raises(DataError, match="but no picture"):
        sources.read(tmp_path)


def test_voc_in_chinese_and_without_a_size(folder: Path) -> None:
    box = "<bndbox><xmin>11</xmin><ymin>11</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    head = '<?xml version="1.0" encoding="gb2312"?><annotation><size><width>?</width></size>'
    text = f"{head}<object><name>猫</name>{box}</object></annotation>"
    (folder / "a.xml").write_bytes(text.encode("gb2312"))
    hidden = '<?xml version="1.0" encoding="utf-7"?>+ADw-!DOCTYPE a [+ADw-!ENTITY b "c"+AD4-]+AD4-<annotation>&amp;</annotation>'
    (folder / "b.xml").write_text(hidden)
    assert things(sources.read(folder)) == {"images/a.png": [boxes.Box("猫", 10, 10, 30, 40)]}


def test_one_broken_yolo_file_costs_one_picture(folder: Path) -> None:
    for number in range(20):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / f"{number:02}.png")
        (folder / "images" / f"{number:02}.txt").write_text("0 0.5 0.5 0.2 0.5\n")
    (folder / "images" / "03.txt").write_text("0 1.2.3 0.5 0.2 0.5\n")
    (folder / "images" / "04.txt").write_text("9" * 400 + " 0.5 0.5 0.2 0.5\n")
    table = sources.read(folder)
    assert len(table) == 21 and "images/03.png" not in things(table)
    assert any("2 × a picture was left out because its annotation is no list of boxes" in said for said in table.problems)
    assert any("images/03.txt:1 ('0 1.2.3 0.5 0.2 0.5')" in said for said in table.problems)


def test_one_broken_yolo_line_costs_one_line(folder: Path) -> None:
    for number in range(6):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / f"{number:02}.png")
        (folder / "images" / f"{number:02}.txt").write_text("0 0.5 0.5 0.2 0.5\n")
    (folder / "images" / "03.txt").write_text("0 0.5 0.5 0.2 0.5\n\n0 0.5\n1 0.2 0.2 0.2 0.2\n")
    table = sources.read(folder)
    assert [box.label for box in things(table)["images/03.png"]] == ["0", "1"] and len(things(table)) >= 6
    said = "1 × a line was left out because it is no box or outline; the first: images/03.txt:3 ('0 0.5')."
    assert said in table.problems


def test_cut_outs_beside_class_folders_and_on_their_side(parts: tuple[Path, Path], tmp_path: Path) -> None:
    """A cut-out beside the class folders is its own class; cut-outs and grounds stand as they are looked at."""
    cuts, grounds = parts
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGBA", (60, 20))
    picture.paste((9, 200, 9, 255), (0, 0, 59, 20))
    picture.save(cuts / "green.png", exif=exif)
    found = {cut.label: cut.picture.size for cut in _cuts(cuts, Silent())}
    assert set(found) == {"red", "blue", "green"} and found["green"] == (20, 59)
    (grounds / "broken.png").write_bytes((grounds / "g.png").read_bytes()[:200] + b"no chunk" * 20)
    told = compose(cuts, grounds, tmp_path / "out", ComposeConfig(count=20, side=48), Silent())
    assert told["scenes"] == 20


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["cat_1", "cat_2", "cat (3)", "dog1", "dog2"], {"cat", "dog"}),
        (["emoji_u2600", "emoji_u2601", "emoji_u1f431", "bolt_m6", "bolt_m8", "7"], None),
        (["data/cat/1", "data/dog/1", "data/dog/2"], {"cat", "dog"}),
        (["train/cat/1", "train/dog/2", "lone_1"], {"cat", "dog", "lone_1"}),
    ],
)
def test_what_cut_outs_are_called(tmp_path: Path, names: list[str], classes: set[str] | None) -> None:
    """Folders above the classes are passed over; of names that count up one beginning this is the class."""
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGBA", (60, 20))
        picture.paste((9, 200, 9, 255), (0, 0, 59, 20))
        picture.save(tmp_path / f"{name}.png")
    assert {cut.label for cut in _cuts(tmp_path, Silent())} == (classes or set(names))


def test_a_background_is_decoded_once(parts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, really = [], image.open_picture

    def opening(source: media.Source) -> Image.Image:
        opened.append(Path(str(source)).name)
        return really(source)

    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # two threads may both begin with it
    monkeypatch.setattr(image, "open_picture", opening)
    compose(*parts, tmp_path / "out", ComposeConfig(count=20, side=48), Silent())
    assert opened.count("g.png") == 2  # its header, and it


@pytest.mark.parametrize("shape", ["roboflow", "yolo", "coco"])
def test_folders_of_parts_are_the_users_own_split(tmp_path: Path, shape: str) -> None:
    """train, valid and test beside one another, or only train and val: their validation is then the test."""
    parts = {"roboflow": ("train", "valid", "test"), "yolo": ("train", "val"), "coco": ("train2017", "val2017")}[shape]
    random = np.random.default_rng(0)
    for part in parts:
        place = tmp_path / (f"images/{part}" if shape == "yolo" else part)
        place.mkdir(parents=True)
        images, boxes = [], []
        for number in range(1, 13):
            Image.fromarray(random.integers(0, 255, (20, 20, 3), np.uint8)).save(place / f"{part}{number}.png")
            if shape == "yolo":
                labels = tmp_path / "labels" / part
                labels.mkdir(parents=True, exist_ok=True)
                (labels / f"{part}{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
            images.append({"id": number, "file_name": f"{part}{number}.png", "width": 20, "height": 20})
            boxes.append({"id": number, "image_id": number, "category_id": 1 + (part == "test"), "bbox": [5, 5, 10, 10], "iscrowd": 0})
        names = [{"id": 1, "name": "known"}, {"id": 2, "name": "new"}]
        if shape != "yolo":
            (place / "_annotations.coco.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": names}))
    made = plan.make(tmp_path, {}, Silent())
    files = {name: set(made_part.column("file").to_pylist()) for name, made_part in (("train", made.train), ("test", made.test))}
    assert made.recipe.data.split == "folders"
    assert (
        all(parts[0] in file for file in files["train"]) and len(files["test"]) == 12 and all(parts[-1] in file for file in files["test"])
    )
    assert len(made.train) + len(made.valid) == (24 if len(parts) == 3 else 12) and len(made.valid) >= 1
    if len(parts) == 3:
        assert all("valid" in file for file in made.valid.column("file").to_pylist())
        made.task.fit(made.train)
        assert made.task._unknown(made.test).sum() == 12, "classes of the test alone are told"
    assert plan.make(tmp_path, {"data": {"split": "random"}}, Silent()).recipe.data.split == "random"


def test_boxes_of_a_picture_called_after_a_class_are_no_list_of_classes() -> None:
    named = ["classes.txt", "class.txt", "coco_classes.txt", "class_names.txt", "coco.names"]
    assert [bool(yolo.NAMES.fullmatch(name)) for name in (*named, "first_class.txt")] == [True] * 5 + [False]
