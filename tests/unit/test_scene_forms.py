"""Forms of annotated pictures as tools write them: LabelMe, imagefolder's metadata, COCO's masks, Pascal VOC's lists, YOLO's data.yaml."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as masks

from duomo import plan
from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.kinds import boxes
from duomo.core.kinds.boxes import Box
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.scenes.coco import around_runs
from duomo.data.scenes.yolo import class_names

WIDTH, HEIGHT = 40, 30


def picture(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
    return path


def things(table: Table) -> dict[str, list[Box]]:
    assert plan.choose(kinds.infer(table, {}), DataConfig())[0].task == "detect"
    return dict(zip(table.column("image").to_pylist(), boxes.parse(table.column("boxes")), strict=True))


def test_labelme(tmp_path: Path) -> None:
    for name in "abcd":
        picture(tmp_path / f"{name}.jpg")

    def shape(label: str, kind: str, *points: list[object]) -> dict[str, object]:
        return {"label": label, "points": list(points), "group_id": None, "shape_type": kind, "flags": {}}

    shapes = {
        "a": [shape("cat", "polygon", [3, 4], [20, 5.5], [9, 25]), shape("dog", "rectangle", [30, 20], [10, 2])],
        "b": [
            shape("cat", "circle", [10, 10], [13, 14]),
            shape("cat", "line", [1, 1], [5, 5]),
            shape("", "polygon", [1, 1], [5, 1], [5, 5]),
        ],
        "c": [shape("cat", "polygon", ["x", 1]), shape("cat", "polygon"), shape("cat", "rectangle", [30, 20], [90, 28])],
        "x": [],
    }
    for name, told in shapes.items():
        about = {"imagePath": f"..\\{name}.jpg", "imageData": "iVBORw0KGgo=" * 9, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (tmp_path / f"{name}.json").write_text(json.dumps({"version": "5.4.1", "flags": {}, "shapes": told, **about}))
    table = sources.read(tmp_path)
    assert things(table) == {
        "a.jpg": [Box("cat", 3, 4, 20, 25), Box("dog", 10, 2, 30, 20)],
        "b.jpg": [Box("cat", 5, 5, 15, 15)],
        "c.jpg": [Box("cat", 30, 20, 40, 28)],
    }
    said = " ".join(table.problems)
    for part in ("1 × a shape was left out because a line", "class is not named", "2 × a box was left out because its outline", "x.json",
                 "no annotation; the first: d.jpg", "cut at the border"):  # fmt: skip
        assert part in said, (part, said)


def test_labelme_without_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [], "imagePath": "a.jpg", "imageHeight": 1, "imageWidth": 1}))
    with pytest.raises(DataError, match="beside their pictures"):
        sources.read(tmp_path)


@pytest.mark.parametrize("shape", ["lists", "things", "numbers"])
def test_imagefolder_with_objects(tmp_path: Path, shape: str) -> None:
    for part in ("train", "test"):
        rows = []
        for number in range(4):
            picture(tmp_path / part / f"{number}.png", number)
            found = [([2, 3, 10, 20], "cat"), ([10, 10, 5, 5.5], "dog")][: number % 3]
            names = [["cat", "dog"].index(name) if shape == "numbers" else name for _, name in found]
            told: object = {"bbox": [box for box, _ in found], "category" if shape == "lists" else "categories": names}
            if shape == "things":
                told = [{"id": 1, "bbox": box, "area": 3, "category": name} for box, name in found]
            rows.append({"file_name": f"{number}.png", "width": WIDTH, "objects": told})
        if part == "test":
            rows += [{"file_name": "no.png", "objects": rows[0]["objects"]}]
            bad = [[1, 2, 3]] if shape == "things" else [[1, 2, 3], [1, 2, 3, 4]]
            rows[3]["objects"] = [{"bbox": bad[0], "category": "cat"}] if shape == "things" else {"bbox": bad, "categories": [0]}
        (tmp_path / part / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if shape == "numbers":
        for part in ("train", "test"):
            (tmp_path / part / "classes.txt").write_text("cat\ndog\n")
    table = sources.read(tmp_path)
    found = things(table)
    cat, dog = Box("cat", 2, 3, 12, 23), Box("dog", 10, 10, 15, 15.5)
    assert {name: found[f"train/{name}.png"] for name in "0123"} == {"0": [], "1": [cat], "2": [cat, dog], "3": []}
    assert found.get("test/3.png") == ([] if shape == "things" else None) and found["test/2.png"] == [cat, dog]
    said = " ".join(table.problems)
    assert ("no numbers" if shape == "things" else "do not fit together") in said and "no.png" in said
    assert plan.safe(kinds.infer(table, {}), DataConfig(task="detect", target=("boxes",)), Silent()).split == "folders"


def test_masks_of_coco_are_boxes(tmp_path: Path) -> None:
    """Runs, plain and packed, without a box; pycocotools is the reference."""
    random = np.random.default_rng(0)
    told: dict[str, list[object]] = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "cell"}]}
    expected = []
    for number in range(12):
        name = picture(tmp_path / f"{number}.png", number).name
        bits = np.zeros((HEIGHT, WIDTH), np.uint8)
        left, top = random.integers(0, 20, 2)
        bits[top : top + random.integers(3, 11), left : left + random.integers(3, 20)] = 1
        bits[random.random((HEIGHT, WIDTH)) < (0.3 if number % 2 else 0)] = 0
        packed = masks.encode(np.asfortranarray(bits))
        flat = np.flatnonzero(np.diff(np.r_[0, bits.T.ravel(), 1 - bits[-1, -1]])) + 0
        plain = np.diff(np.r_[0, flat]).tolist()
        segmentation = {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode() if number % 3 else plain}
        told["images"].append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        told["annotations"].append({"id": number, "image_id": number, "category_id": 3, "segmentation": segmentation, "iscrowd": 0})
        x, y, width, height = masks.toBbox(packed)
        expected.append([Box("cell", x, y, x + width, y + height)])
    for broken in (
        {"size": [HEIGHT, WIDTH], "counts": [1, 2, 3]},
        {"size": [HEIGHT, WIDTH], "counts": "\u4e00"},
        {"size": 3, "counts": "PP"},
    ):
        told["annotations"].append({"id": 99, "image_id": 0, "category_id": 3, "segmentation": broken})
    (tmp_path / "instances.json").write_text(json.dumps(told))
    table = sources.read(tmp_path)
    assert [things(table)[f"{number}.png"] for number in range(12)] == expected
    assert "3 × a box was left out because its outline or mask is broken" in " ".join(table.problems)


def test_a_mask_of_whole_columns() -> None:
    assert around_runs([5, 10, 5], 5, 4) == (1, 0, 3, 5) and around_runs([20], 5, 4) == (0, 0, 0, 0)
    assert around_runs([4, 2, 14], 5, 4) == (0, 0, 2, 5)  # the lower end of one column and the upper end of the next


def voc(root: Path, lists: dict[str, list[int]], count: int = 12) -> None:
    for number in range(count):
        picture(root / "JPEGImages" / f"2007_{number:06}.jpg", number)
        body = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>"
        sheet = root / "Annotations" / f"2007_{number:06}.xml"
        sheet.parent.mkdir(exist_ok=True)
        sheet.write_text(f"<annotation><filename>2007_{number:06}.jpg</filename>{body}</annotation>")
    picture(root / "SegmentationClass" / "2007_000001.png")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, numbers in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"2007_{number:06}\n" for number in numbers))
    (root / "ImageSets" / "Main" / "cat_train.txt").write_text("2007_000000  1\n2007_000011 -1\n")


def stems(table: Table) -> list[int]:
    return sorted(int(name[-10:-4]) for name in table.column("file").to_pylist())


def test_lists_of_pascal_voc_are_the_users_own_split(tmp_path: Path) -> None:
    voc(tmp_path, {"train": [0, 1, 2, 3, 4, 5], "val": [6, 7], "trainval": [0, 1, 2, 3, 4, 5, 6, 7], "test": [8, 9, 10]})
    made = plan.make(tmp_path, {}, Silent())
    assert [stems(part) for part in (made.train, made.valid, made.test)] == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9, 10]]
    assert made.recipe.data.split == "folders" and "Split by split: 6 rows" in made.split
    assert [said for said in made.problems if "2007_000011" in said] == [
        "1 × a picture was left out because no list of the parts names it; the first: JPEGImages/2007_000011.jpg."]  # fmt: skip
    assert len(plan.make(tmp_path, {"data": {"split": "random"}}, Silent()).train) > 6


def test_difficult_things_of_voc_are_neither_learned_nor_judged(tmp_path: Path) -> None:
    voc(tmp_path, {})
    sheet = tmp_path / "Annotations" / "2007_000003.xml"
    sheet.write_text(sheet.read_text().replace("</name>", "</name><difficult>1</difficult>"))
    table = sources.read(tmp_path)
    found = things(table)
    assert found["JPEGImages/2007_000003.jpg"] == [Box("cat", 0, 0, 20, 20, True)] and found["JPEGImages/2007_000004.jpg"] == [
        Box("cat", 0, 0, 20, 20)
    ]
    assert any("1 × a box is marked as difficult" in said for said in table.problems)


def test_voc_with_trainval_and_test_alone(tmp_path: Path) -> None:
    voc(tmp_path, {"trainval": [0, 1, 2, 3, 4, 5, 6, 7], "test": [7, 8, 9, 10, 11]})
    made = plan.make(tmp_path, {}, Silent())
    assert stems(made.test) == [8, 9, 10, 11] and sorted(stems(made.train) + stems(made.valid)) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert any("in several parts" in said and "000007" in said for said in made.problems)


YAML = {
    "roboflow": "train: ../batch1/images\nval: ../batch2/images\n\nnc: 2\nnames: ['cat', \"sea, dog\"]\nroboflow:\n  license: CC BY 4.0\n",
    "absolute": "path: /home/me/data\ntrain: /home/me/data/batch1/images  # 6\nval: batch2/images\nnames:\n  1: sea, dog\n  0: cat\n",
    "several": "path: ..\ntrain:\n  - batch1/images\ntest: [batch2/images, nowhere]\nnames: {1: 'sea, dog', 0: cat}\n",
    "listed": "train: first.txt\nval: second.txt\nnames:\n- cat\n- sea, dog\n",
}


@pytest.mark.parametrize("form", YAML)
def test_data_yaml_names_parts_and_classes(tmp_path: Path, form: str) -> None:
    lists: dict[str, list[str]] = {"batch1": [], "batch2": []}
    for number in range(9):
        batch = "batch1" if number < 6 else "batch2"
        lists[batch].append(f"./{picture(tmp_path / batch / 'images' / f'{number}.png', number).relative_to(tmp_path)}")
        label = tmp_path / batch / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("1 0.5 0.5 0.5 0.4\n0 0.1 0.1 0.5 0.1 0.5 0.9\n")
    (tmp_path / "data.yaml").write_text(YAML[form])
    if form == "listed":
        (tmp_path / "first.txt").write_text("\n".join(lists["batch1"]))
        (tmp_path / "second.txt").write_text("\n".join(lists["batch2"]))
    made = plan.make(tmp_path, {}, Silent())
    assert {name.split("/")[0] for name in made.train.column("file").to_pylist() + made.valid.column("file").to_pylist()} == {"batch1"}
    assert sorted(made.test.column("file").to_pylist()) == [f"batch2/images/{number}.png" for number in (6, 7, 8)]
    assert boxes.parse(made.test.column("boxes"))[0] == [Box("sea, dog", 10, 9, 30, 21), Box("cat", 4, 3, 20, 27)]


def test_train_and_val_may_be_the_same_folder(tmp_path: Path) -> None:
    """As in the small samples that come with YOLO: then nothing is divided, and the rows are drawn."""
    for number in range(9):
        picture(tmp_path / "images" / f"{number}.png", number)
        (tmp_path / "images" / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.4\n")
    (tmp_path / "coco8.yaml").write_text("path: coco8\ntrain: images\nval: images\ntest:  # none\nnames:\n  0: person\n")
    table = sources.read(tmp_path)
    assert "split" not in table.names and not table.problems
    assert all(cell == [Box("person", 10, 9, 30, 21)] for cell in things(table).values())


def test_key_points_and_confidences_are_no_outlines(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.4 0.1 0.1 2 0.9 0.9 1\n")
    (tmp_path / "data.yaml").write_text("kpt_shape: [2, 3]\nnames:\n  0: person\n")
    assert things(sources.read(tmp_path))["a.png"] == [Box("person", 10, 9, 30, 21)]
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.4 0.87\n")
    (tmp_path / "data.yaml").write_text("names: [person]\n")
    assert things(sources.read(tmp_path))["a.png"] == [Box("person", 10, 9, 30, 21)]


def test_names_of_yaml(tmp_path: Path) -> None:
    for text, names in (
        ("names: [ 'a', \"b, c\" ,d e]", ["a", "b, c", "d e"]),
        ("names: [\n  a,\n  b\n]\nnc: 2", ["a", "b"]),
        ("nc: 2\nnames:\n- a\n-  'b # c'  # d\n", ["a", "b"]),
        ("names: []\n", []),
        ("names: {0: a, 1: 'b: c'}", ["a", "b: c"]),
        ("train: x\n", []),
    ):
        (tmp_path / "data.yaml").write_text(text)
        assert list(class_names(tmp_path, ["data.yaml"]).values()) == names, text
    (tmp_path / "data.yaml").write_text("names: [" + "a " * 50_000 + "'" * 49_999)
    assert len(class_names(tmp_path, ["data.yaml"])) == 1, "what does not end takes no longer than its length"


def test_a_column_that_says_the_part(tmp_path: Path) -> None:
    """Any table's: it divides the rows, is no input, and equal rows on both sides are told."""
    rows = [f"{number % 7},{number},{'yes' if number % 2 else 'no'},{'Train' if number < 40 else 'val' if number < 50 else 'TEST'}"
            for number in range(60)]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(["a,b,target,Split", *rows, *[row.replace("Train", "test") for row in rows[:5]]]) + "\n")
    made = plan.make(tmp_path / "t.csv", {"data": {"target": ("target",)}}, Silent())
    assert [len(part) for part in (made.train, made.valid, made.test)] == [40, 10, 15]
    assert "Split" in made.recipe.data.ignore and made.recipe.data.split == "folders"
    heard = Silent()
    plan.make(tmp_path / "t.csv", {"data": {"target": ("target",)}}, heard)
    assert any("5 of the 15 test rows are also among" in text for text in heard.said), heard.said
    assert "Split" in plan.make(tmp_path / "t.csv", {"data": {"target": ("target",), "split": "random"}}, Silent()).recipe.data.ignore
    (tmp_path / "t.csv").write_text("\n".join(["a,b,target,split", *[row.replace("TEST", "other") for row in rows]]) + "\n")
    assert plan.make(tmp_path / "t.csv", {"data": {"target": ("target",)}}, Silent()).recipe.data.split != "folders"
