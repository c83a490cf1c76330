"""Pictures as benchmarks hand them out: films with boxes, lists of boxes, masks, lists of the parts, shots of one thing."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from duomo import plan
from duomo.core import kinds
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import boxes, image
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.data import sources

SIDE = 48
Things = dict[str, list[boxes.Box]]


def shot(path: Path, seed: int, size: tuple[int, int] = (SIDE, SIDE), like: int | None = None) -> Path:
    """A picture of many colours; of the same `like` nearly the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed if like is None else like)
    coarse = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).integers(0, 12, (size[1], size[0], 3))
    Image.fromarray(np.clip(np.asarray(picture, np.int64) + noise, 0, 255).astype(np.uint8)).save(path)
    return path


def mask(path: Path, parts: list[tuple[int, int, int, int, int]], size: tuple[int, int] = (SIDE, SIDE)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = np.zeros((size[1], size[0]), np.uint8)
    for value, left, top, right, bottom in parts:
        found[top:bottom, left:right] = value
    Image.fromarray(found).save(path)


def things(root: Path) -> Things:
    table = sources.read(root)
    return dict(zip(table.column("image").to_pylist(), boxes.parse(table.column("boxes")), strict=True))


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_films_with_boxes(tmp_path: Path) -> None:
    """As MOTChallenge has them: a folder of frames, gt.txt beside, det.txt that is no truth, and the same film for several detectors."""
    for film in ("A-DPM", "A-SDP", "B-DPM", "C-DPM"):
        for frame in range(1, 7):
            shot(tmp_path / "train" / film / "img1" / f"{frame:06}.png", frame + ord(film[0]), like=ord(film[0]))
        rows = [f"{frame},{thing},{3 + frame},{5 * thing},10,8,{int(thing == 1)},{thing},1" for frame in range(1, 7) for thing in (1, 2)]
        write(tmp_path / "train" / film / "gt" / "gt.txt", *rows)
        write(tmp_path / "train" / film / "det" / "det.txt", *(f"{frame},-1,3,5,10,8,0.9,-1,-1,-1" for frame in range(1, 7)))
    table, found = sources.read(tmp_path), things(tmp_path)
    assert len(found) == 18 and not any("A-SDP" in file for file in found)
    assert found["train/A-DPM/img1/000002.png"] == [boxes.Box("1", 5, 5, 15, 13), boxes.Box("2", 5, 10, 15, 18, True)]
    assert "several times" in " ".join(table.problems)
    assert {*table.column("source").to_pylist()} == {f"train/{film}/img1/" for film in ("A-DPM", "B-DPM", "C-DPM")}
    made = plan.make(tmp_path, {}, Silent())
    assert made.recipe.data.task == "detect" and made.recipe.data.group == "source"


def test_a_list_of_boxes_of_many_pictures(tmp_path: Path) -> None:
    """As WIDER FACE has it, for each part one; and as OpenCV's cascades and Keras' YOLO have it."""
    for part, numbers in (("train", range(4)), ("val", range(4, 6))):
        for number in numbers:
            shot(tmp_path / f"WIDER_{part}" / "images" / "0--Parade" / f"0_Parade_{number}.jpg", number)
        lines = [[f"0--Parade/0_Parade_{n}.jpg", "2", "4 5 20 10 0 0 0 0 0 0", "1 1 9 40 2 0 0 0 1 0"] for n in numbers]
        lines[0][1:] = ["0", "0 0 0 0 0 0 0 0 0 0"]
        write(tmp_path / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt", *(line for one in lines for line in one))
    found, table = things(tmp_path), sources.read(tmp_path)
    assert found["WIDER_train/images/0--Parade/0_Parade_1.jpg"] == [boxes.Box("object", 4, 5, 24, 15), boxes.Box("object", 1, 1, 10, 41)]
    assert found["WIDER_train/images/0--Parade/0_Parade_0.jpg"] == [] and table.column("split").to_pylist() == ["train"] * 4 + ["val"] * 2


def test_boxes_in_the_line_of_their_picture(tmp_path: Path) -> None:
    for number in range(3):
        shot(tmp_path / "keras" / "images" / f"{number}.jpg", number)
        shot(tmp_path / "cascade" / "img" / f"{number}.jpg", number)
    write(tmp_path / "keras" / "classes.txt", "cat", "dog")
    write(tmp_path / "keras" / "train.txt", *(f"/home/me/images/{n}.jpg 1,2,30,40,0 5,6,20,30,1" for n in range(3)))
    write(tmp_path / "cascade" / "info.dat", *(f"img/{n}.jpg  2  1 2 30 40  5 6 20 30" for n in range(3)))
    assert things(tmp_path / "keras")["images/1.jpg"] == [boxes.Box("cat", 1, 2, 30, 40), boxes.Box("dog", 5, 6, 20, 30)]
    (tmp_path / "keras" / "classes.txt").rename(tmp_path / "keras" / "_classes.txt")  # as Roboflow calls it
    assert things(tmp_path / "keras")["images/1.jpg"][1].label == "dog"
    assert things(tmp_path / "cascade")["img/1.jpg"] == [boxes.Box("object", 1, 2, 31, 42), boxes.Box("object", 5, 6, 25, 36)]


def test_boxes_in_pixels_beside_each_picture(tmp_path: Path) -> None:
    """As VisDrone has them; and with the class first, told by left and top or by the centre."""
    random = np.random.default_rng(0)
    forms = {"visdrone": "{l},{t},{w},{h},{counts},{c},0,1", "corners": "{c} {l} {t} {r} {b}", "centre": "{c} {x} {y} {w} {h}"}
    told: dict[str, boxes.Box] = {}
    for number in range(12):
        w, h = int(random.integers(10, 24)) * 2, int(random.integers(10, 24)) * 2
        left, top, c = int(random.integers(0, 64 - w + 1)), int(random.integers(0, 64 - h + 1)), int(random.integers(1, 4))
        told[f"{number}.png"] = boxes.Box(str(c), left, top, left + w, top + h, number == 3)
        cells = {"l": left, "t": top, "w": w, "h": h, "r": left + w, "b": top + h, "x": left + w // 2, "y": top + h // 2, "c": c}
        for form, line in forms.items():
            shot(tmp_path / form / "images" / f"{number}.png", number, (64, 64))
            write(tmp_path / form / "annotations" / f"{number}.txt", line.format(**cells, counts=int(number != 3)))
    for form in forms:
        found = things(tmp_path / form)
        assert {Path(name).name: one for name, [one] in found.items()} == (
            told if form == "visdrone" else {name: one._replace(crowd=False) for name, one in told.items()}
        )
    for number in range(12):
        write(tmp_path / "centre" / "annotations" / f"{number}.txt", "1 32 32 4 4")
    with pytest.raises(DataError, match="in shares of the picture"):
        sources.read(tmp_path / "centre")


def test_masks_beside_pictures_of_classes(tmp_path: Path) -> None:
    """As BUSI has them: they are no pictures of the class."""
    for kind in ("benign", "malignant"):
        for number in range(1, 9):
            shot(tmp_path / kind / f"{kind} ({number}).png", number)
            mask(tmp_path / kind / f"{kind} ({number})_mask.png", [(255, number, 3, 30, 20)])
    mask(tmp_path / "benign" / "benign (3)_mask_1.png", [(255, 3, 3, 10, 10)])
    mask(tmp_path / "benign" / "benign (4)_mask_1.png", [(255, 3, 3, 10, 10)])
    mask(tmp_path / "benign" / "benign (5)_mask_1.png", [(255, 3, 3, 10, 10)])
    table = sources.read(tmp_path)
    assert len(table) == 16 and not any("mask" in file for file in table.column("file").to_pylist())
    assert {*table.column("label").to_pylist()} == {"benign", "malignant"} and "mark regions" in table.problems[0]


def test_masks_that_say_what_is_in_pictures(tmp_path: Path) -> None:
    """As Penn-Fudan has them, a number for each person; as polyps have them, white on black, packed with losses."""
    for number in range(5):
        shot(tmp_path / "penn" / "PNGImages" / f"Fudan{number}.png", number)
        people = [(1, 2, 3, 12, 40), (2, 20, 5, 30, 44)][: 1 + number % 2]
        mask(tmp_path / "penn" / "PedMasks" / f"Fudan{number}_mask.png", people)
        shot(tmp_path / "polyps" / "images" / f"{number}.jpg", number)
        mask(tmp_path / "polyps" / "masks" / f"{number}.jpg", [(255, 8, 8, 24, 32), (255, 32, 32, 48, 48)])
    write(tmp_path / "penn" / "readme.txt", "people")
    found = things(tmp_path / "penn")
    assert found["PNGImages/Fudan1.png"] == [boxes.Box("object", 2, 3, 12, 40), boxes.Box("object", 20, 5, 30, 44)]
    assert len(found) == 5 and len(found["PNGImages/Fudan2.png"]) == 1
    assert things(tmp_path / "polyps")["images/2.jpg"] == [boxes.Box("object", 8, 8, 24, 32), boxes.Box("object", 32, 32, 48, 48)]


def test_only_good_ones_to_learn_from(tmp_path: Path) -> None:
    """As MVTec AD has it: its parts serve another task, so the pictures are divided anew."""
    for number in range(12):
        shot(tmp_path / "train" / "good" / f"{number:03}.png", number)
        for kind in ("good", "scratch"):
            shot(tmp_path / "test" / kind / f"{number:03}.png", 100 + number + 50 * (kind == "good"))
        mask(tmp_path / "ground_truth" / "scratch" / f"{number:03}_mask.png", [(255, 3, 3, 9, 30)])
    made = plan.make(tmp_path, {}, Silent())
    assert made.recipe.data.split == "stratified" and len(made.train) + len(made.valid) + len(made.test) == 36
    assert {*made.train.column("label").to_pylist()} == {"good", "scratch"}


@pytest.mark.parametrize("form", ["cub", "ucf", "dtd"])
def test_lists_of_parts(tmp_path: Path, form: str) -> None:
    """As CUB-200 (numbers of files, and whether each is to learn from), UCF101 and DTD (several divisions) have them."""
    names = [f"{number % 2:03}.bird/{number}.png" for number in range(20)]
    for number, name in enumerate(names):
        shot(tmp_path / "images" / name, number)
    if form == "cub":
        write(tmp_path / "images.txt", *(f"{number + 1} {name}" for number, name in enumerate(names)))
        write(tmp_path / "train_test_split.txt", *(f"{number + 1} {int(number < 12)}" for number in range(20)))
        write(tmp_path / "image_class_labels.txt", *(f"{number + 1} {number % 2 + 1}" for number in range(20)))
    for turn in (1, 2):
        if form == "ucf":
            write(tmp_path / "lists" / f"trainlist0{turn}.txt", *(f"{name} {int(name[:3]) + 1}" for name in names[: 10 + 2 * turn]))
            write(tmp_path / "lists" / f"testlist0{turn}.txt", *names[10 + 2 * turn :])
        if form == "dtd":
            for part, some in (("train", names[:12]), ("val", names[12:14]), ("test", names[14:18])):
                write(tmp_path / "labels" / f"{part}{turn}.txt", *(some if turn == 1 else reversed(some)))
    table = sources.read(tmp_path)
    parts = dict(zip(table.column("file").to_pylist(), table.column("split").to_pylist(), strict=True))
    expected = ["train"] * 12 + (["test"] * 8 if form != "dtd" else ["valid"] * 2 + ["test"] * 4)
    assert parts == dict(zip([f"images/{name}" for name in names], expected, strict=False))
    assert any("2 files are left out" in problem for problem in table.problems) == (form == "dtd")
    assert any("2 ways" in problem for problem in table.problems) == (form != "cub")


def test_shots_of_one_thing(tmp_path: Path) -> None:
    """As GTSRB has them: 00000_00001.ppm is the second shot of the first sign."""
    for kind in range(2):
        for sign in range(8):
            for number in range(5):
                shot(tmp_path / f"{kind:05}" / f"{sign:05}_{number:05}.ppm", number, like=100 * kind + sign)
    made = plan.make(tmp_path, {}, Silent())
    assert made.recipe.data.group == "source"
    learned, judged = ({*part.column("source").to_pylist()} for part in (made.train, made.test))
    assert learned and judged and not learned & judged
    for file in tmp_path.rglob("*.ppm"):  # the same names, but every shot is of another thing
        shot(file, hash(str(file)) % 2**32)
    assert "source" not in sources.read(tmp_path).names


@pytest.mark.parametrize("things", [False, True])
def test_boxes_in_cells(tmp_path: Path, things: bool) -> None:
    """As the datasets library writes them, with the names of classes in the metadata: an object of lists, or a list of objects."""
    cells = [{"bytes": shot(tmp_path / f"{number}.png", number).read_bytes(), "path": f"{number}.png"} for number in range(6)]
    one = [{"id": 1, "bbox": [4.0, 5.0, 20.0, 30.0], "category": number % 2} for number in range(6)]
    told = (
        [[each] if number else [] for number, each in enumerate(one)]
        if things
        else [{name: [cell] for name, cell in each.items()} for each in one]
    )
    inner = {"id": {"dtype": "int64", "_type": "Value"}, "category": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    features = {"image": {"_type": "Image"}, "objects": [inner] if things else {"_type": "Sequence", "feature": inner}}
    table = pa.table({"image": cells, "objects": told}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    pq.write_table(table, tmp_path / "hub.parquet")
    rows = [{"image": cell["bytes"], "objects": each} for cell, each in zip(cells, told, strict=True)]
    for source in [tmp_path / "hub.parquet", *([] if things else [rows])]:
        found = sources.read(source)
        label = "dog" if isinstance(source, Path) else "1"
        assert found.names == ["image", "boxes"] and boxes.parse(found.column("boxes"))[1] == [boxes.Box(label, 4, 5, 24, 35)]
        assert plan.choose(kinds.infer(found, {}), DataConfig())[0].task == "detect"


def test_many_findings_of_each_picture(tmp_path: Path) -> None:
    """As CheXpert has them (1, 0, -1 for unclear, or nothing), behind sex and view: which is meant is asked for, not guessed."""
    rows = ["Path,Sex,View," + ",".join(f"finding{place}" for place in range(6))]
    for number in range(30):
        shot(tmp_path / f"{number}.png", number)
        cells = [("1.0", "0.0", "-1.0", "")[(number * place + number // 3) % 4] for place in range(1, 7)]
        rows.append(f"{number}.png,{'MF'[number % 2]},{('Frontal', 'Lateral')[number % 3 == 0]}," + ",".join(cells))
    write(tmp_path / "train.csv", *rows)
    table = kinds.infer(sources.read(tmp_path), {})
    with pytest.raises(ConfigError, match="A target must be named"):
        plan.choose(table, DataConfig())
    assert plan.choose(table, DataConfig(target=("finding2",)))[0].task == "classify"


def test_pictures_with_values_below_zero(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.tif" for number in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(np.linspace(-80, -10 - number, 256).reshape(16, 16).astype(np.float32)).save(path)
    table = pa.chunked_array([[path.name for path in paths]])
    state = image.KIND.fit(image.Cells(table, tmp_path), image.EncodeConfig())
    pixels = image.decode(paths[0], state)
    assert pixels.min() < 10 and pixels.max() > 240 and state["black"] < -70


@pytest.mark.parametrize("cell", ["[NAME] wrote this", "['as Python writes it', 'so']", "[unclosed"])
def test_cells_in_brackets_beside_no_boxes(tmp_path: Path, cell: str) -> None:
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *([cell, "ab"[row % 2]] for row in range(10))])
    assert sources.read(tmp_path / "texts.csv").column("text").to_pylist() == [cell] * 10


def test_classes_in_names_of_files(tmp_path: Path) -> None:
    """As Dogs vs. Cats has them, its test without any; what a camera calls its pictures is no class."""
    for number in range(12):
        shot(tmp_path / "pets" / "train" / f"{('cat', 'dog')[number % 2]}.{number}.jpg", number)
        shot(tmp_path / "pets" / "test1" / f"{number}.jpg", number + 100)
        shot(tmp_path / "roll" / f"{('DSC', 'IMG')[number % 2]}_{number:04}.jpg", number)
    for folder in (tmp_path / "pets", tmp_path / "pets" / "train"):
        table = sources.read(folder)
        told = dict(zip(table.column("file").to_pylist(), table.column("label").to_pylist(), strict=True))
        assert {label for file, label in told.items() if "test1" not in file} == {"cat", "dog"} and "cat 6" in " ".join(table.problems)
        assert all((label or "") in file for file, label in told.items()) and sum(label is not None for label in told.values()) == 12
        assert plan.choose(kinds.infer(table, {}), DataConfig())[0].target == ("label",)
    assert "label" not in sources.read(tmp_path / "roll").names


@pytest.mark.parametrize("parts", [("bounding_box_train", "bounding_box_test", "query"), ("trainset", "testset", "valset")])
def test_parts_without_classes_beside_another_folder(tmp_path: Path, parts: tuple[str, ...]) -> None:
    """As Market-1501 has them: that a picture is to be tested on is no class of it."""
    for number in range(24):
        shot(tmp_path / parts[number % 3] / f"{number // 3:04}_c{1 + number % 4}s1_{number:06}_00.jpg", number)
    shot(tmp_path / parts[1] / "-1_c1s1_000401_03.jpg", 99)
    with pytest.raises(DataError, match="are splits without folders of classes"):
        sources.read(tmp_path)


def test_lists_of_parts_beside_a_table(tmp_path: Path) -> None:
    """As ChestX-ray14 has them; a column that tells the part is held above them."""
    rows, names = ["Image Index,Finding Labels,Follow-up #,Patient ID"], [f"{n // 2:08}_{n % 2:03}.png" for n in range(30)]
    for number, name in enumerate(names):
        shot(tmp_path / f"images_00{1 + number % 2}" / "images" / name, number)
        rows.append(f"{name},{('No Finding', 'Effusion', 'Effusion|Mass')[number % 3]},{number % 2},{number // 2}")
    write(tmp_path / "Data_Entry_2017.csv", *rows)
    write(tmp_path / "train_val_list.txt", *names[:20])
    write(tmp_path / "test_list.txt", *names[20:])
    made = plan.make(tmp_path, {}, Silent())
    assert {Path(file).name for file in made.test.column("image").to_pylist()} == {*names[20:]}
    write(tmp_path / "Data_Entry_2017.csv", *(f"{row},{('split' if row == rows[0] else ('train', 'test')[len(row) % 2])}" for row in rows))
    assert "split" in sources.read(tmp_path).names and "Lists beside" not in " ".join(sources.read(tmp_path).problems)


def test_lists_in_a_folder_of_their_own_that_are_not_read_are_told(tmp_path: Path) -> None:
    """As FSD50K has them: the folders are no classes, which only the lists say; one beside the folders is read."""
    for number in range(18):
        shot(tmp_path / ("dev_shots" if number < 12 else "eval_shots") / f"{number}.png", number)
    for part, numbers in (("dev", range(12)), ("eval", range(12, 18))):
        write(tmp_path / "truth" / f"{part}.csv", "fname,labels", *(f"{n},{('cat', 'dog')[n % 2]}" for n in numbers))
    assert "2 lists that name these files are not read: truth/dev.csv" in " ".join(sources.read(tmp_path).problems)
    (tmp_path / "truth" / "dev.csv").rename(tmp_path / "dev.csv")
    assert sources.read(tmp_path).column("labels").to_pylist()[:2] == ["cat", "dog"]


def test_two_lists_of_the_same_files(tmp_path: Path) -> None:
    """As ISIC has them: what is to be told, a column a class, and what is known of each picture beside it."""
    truth, about = ["image,MEL,NV,BCC"], ["image,age_approx,lesion_id,sex"]
    for number in range(30):
        shot(tmp_path / "ISIC_2019_Training_Input" / f"ISIC_{number:07}.jpg", number)
        marks = ",".join(str(float(number // 3 % 3 == place)) for place in range(3))
        truth.append(f"ISIC_{number:07},{marks}")
        about.insert(1, f"ISIC_{number:07},{40 + number % 7},IL_{number // 3},{('male', 'female')[number % 2]}")
    write(tmp_path / "ISIC_2019_Training_GroundTruth.csv", *truth)
    write(tmp_path / "ISIC_2019_Training_Metadata.csv", *about)
    made = plan.make(tmp_path, {}, Silent())
    table = made.train
    assert made.recipe.data.group == "lesion_id" and "sex" in table.names and {*table.column(made.recipe.data.target[0]).to_pylist()} == {
        "MEL", "NV", "BCC"
    }  # fmt: skip
    for file, label, lesion in zip(
        *(table.column(name).to_pylist() for name in ("file", *made.recipe.data.target, "lesion_id")), strict=True
    ):
        number = int(file[-11:-4])
        assert label == ("MEL", "NV", "BCC")[number // 3 % 3] and lesion == f"IL_{number // 3}"


def test_numbered_folders_of_one_set(tmp_path: Path) -> None:
    """As ChestX-ray14 has them, and the list of its few boxes beside that of all pictures: neither parts nor folders are classes."""
    rows, told = ["Image Index,Finding Labels,Patient ID"], ["Image Index,Finding Label,Bbox [x,y,w,h]"]
    for number in range(40):
        shot(tmp_path / f"images_{1 + number // 20:03}" / "images" / f"{number:08}_000.png", number)
        rows.append(f"{number:08}_000.png,{('Mass', 'Mass|Hernia', 'Nothing')[number % 3]},{number}")
    told += [f"{number:08}_000.png,Mass,1.5,2.5,9,9" for number in range(4)]
    with pytest.raises(ConfigError, match="something to be learned"):
        plan.choose(kinds.infer(sources.read(tmp_path), {}), DataConfig())
    write(tmp_path / "Data_Entry_2017.csv", *rows)
    write(tmp_path / "BBox_List_2017.csv", *told)
    table = kinds.infer(sources.read(tmp_path), {})
    assert plan.choose(table, DataConfig())[0].target == ("Finding Labels",) and len(table) == 40
    assert "BBox_List_2017.csv" in " ".join(table.problems)


def test_files_of_one_name_in_two_parts(tmp_path: Path) -> None:
    """As CIFAR-10 has them at Kaggle: the list is called after the part that it tells of."""
    for number in range(1, 16):
        shot(tmp_path / "train" / f"{number}.png", number)
        shot(tmp_path / "test" / f"{number}.png", 50 + number)
    rows = ["id,label", *(f"{number},{('frog', 'deer')[number % 2]}" for number in range(1, 16))]
    write(tmp_path / "trainLabels.csv", *rows)
    for _ in range(2):
        files = sources.read(tmp_path).column("image").to_pylist()
        assert files == [f"train/{number}.png" for number in range(1, 16)]
        write(tmp_path / "sampleSubmission.csv", *(row.replace("deer", "frog") for row in rows))


def test_masks_beside_what_is_said_of_many_pictures(tmp_path: Path) -> None:
    """As Carvana has them: a list of cars, whose numbers the pictures begin with, and the masks of all pictures."""
    rows, cars = ["img,rle_mask"], ["id,year,make"]
    for number in range(12):
        shot(tmp_path / "train" / f"c{number // 2}_{number % 2:02}.jpg", number)
        runs = " ".join(f"{SIDE * column + 5 + number} 20" for column in range(4, 20))
        rows.append(f"c{number // 2}_{number % 2:02}.jpg,{runs}")
    cars += [f"c{number},20{10 + number},{('Audi', 'BMW')[number % 2]}" for number in range(6)]
    write(tmp_path / "train_masks.csv", *rows)
    write(tmp_path / "metadata.csv", *cars)
    found = things(tmp_path)
    assert len(found) == 12 and found["train/c0_00.jpg"] == [boxes.Box("object", 4, 4, 20, 24)]


@pytest.mark.parametrize("ending", ["webp", "png"])
def test_pictures_that_move(tmp_path: Path, ending: str) -> None:
    for number in range(8):
        frames = [Image.open(shot(tmp_path / "still" / "ab"[number % 2] / f"{number}_{part}.png", number + 20 * part)) for part in range(3)]
        (tmp_path / "moving" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        frames[0].save(tmp_path / "moving" / "ab"[number % 2] / f"{number}.{ending}", save_all=True, append_images=frames[1:])
    assert "first frame alone" in " ".join(sources.read(tmp_path / "moving").problems)
    assert "first frame alone" not in " ".join(sources.read(tmp_path / "still").problems)


def test_pictures_in_several_forms(tmp_path: Path) -> None:
    """As PlantVillage has them, in colour, in grey and cut out; other pictures may be called alike."""
    for number in range(20):
        name = f"{'abcd'[number % 4]}/{number:04}-u___leaf {number}"
        for form, ending in (("color", ".png"), ("grayscale", ".png"), ("segmented", "_final_masked.png")):
            picture = Image.open(shot(tmp_path / "same" / form / f"{name}{ending}", number))
            if form == "grayscale":
                picture.convert("L").save(tmp_path / "same" / form / f"{name}{ending}")
            shot(tmp_path / "days" / f"day{len(form)}" / f"{name}.png", 100 * len(form) + number)
    made = plan.make(tmp_path / "same", {}, Silent())
    learned, judged = ({*part.column("group").to_pylist()} for part in (made.train, made.test))
    assert made.recipe.data.group == "group" and len(learned | judged) < 20 and not learned & judged
    assert {*sources.read(tmp_path / "days").column("group").to_pylist()} == {"day5", "day9"}


def test_classes_that_are_called_like_parts(tmp_path: Path) -> None:
    for number in range(16):
        shot(tmp_path / ("bullet_train", "test_tube", "cat", "dog")[number % 4] / f"{number}.jpg", number)
    assert {*sources.read(tmp_path).column("label").to_pylist()} == {"bullet_train", "test_tube", "cat", "dog"}


@pytest.mark.parametrize("places", [("train", "val"), ("images/train", "images/val")])
@pytest.mark.parametrize("lists", [1, 2])
def test_files_of_one_name_in_the_folders_of_two_parts(tmp_path: Path, places: tuple[str, str], lists: int) -> None:
    """Each row is of the file in the folder of its own part: of its list, or its `split`."""
    rows = {name: [f"{number}.png,{'ab'[number % 2]}" for number in range(12)] for name in ("train", "val")}
    for place in places:
        for number in range(12):
            shot(tmp_path / place / f"{number}.png", number)
    for name, own in rows.items() if lists > 1 else ():
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,label", *own]))
    if lists == 1:
        (tmp_path / "list.csv").write_text(
            "\n".join(["image,label,split", *(f"{row},{name}" for name, own in rows.items() for row in own)])
        )
    table = sources.read(tmp_path)
    assert table.column("file").to_pylist() == [f"{place}/{number}.png" for place in places for number in range(12)]
