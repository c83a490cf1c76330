"""Folders two deep: which of them are the classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from duomo import plan
from duomo.core import kinds
from duomo.core.errors import DuomoError
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data.folders.classes import labels_of
from duomo.data.sources import read


def crossed(outer: list[str], inner: list[str], each: int = 1) -> list[str]:
    return [f"{one}/{other}/{number}.png" for one in outer for other in inner for number in range(each)]


@pytest.mark.parametrize(("outer", "inner"), [
    (["siteA", "siteB"], ["circle", "square", "tri"]), (["writer1", "writer2"], list("0123456789")),
    (["2023-04", "2023-05"], ["cat", "dog"]),
    (["art", "sketch"], ["dog", "horse", "house"]), (["Hospital 1", "Hospital 2", "Hospital 3"], ["ill", "well"]),
])  # fmt: skip
def test_inner_classes(outer: list[str], inner: list[str]) -> None:
    files = crossed(outer, inner)
    found = labels_of(Path("shapes"), files)
    assert found is not None and found.groups is not None
    assert [f"{group}/{label}" for label, group in zip(found.labels, found.groups, strict=True)] == [
        file.rpartition("/")[0] for file in files
    ]
    assert outer[0] in found.said[0] and inner[0] in found.said[0]


@pytest.mark.parametrize(("outer", "inner"), [
    (["cat", "dog"], ["front", "back"]), (["apple", "pear", "fig"], ["fresh", "rotten"]),
    (["person1", "person2"], ["session1", "session2", "session3"]),
    (["cat", "dog"], ["1", "2", "3"]), (["cat", "dog"], ["left", "right", "top"]),
])  # fmt: skip
def test_outer_classes(outer: list[str], inner: list[str]) -> None:
    found = labels_of(Path("shapes"), crossed(outer, inner))
    assert found is not None and found.groups is None and set(found.labels) == set(outer) and inner[0] in found.said[0]


def test_as_before() -> None:
    apart = ["cat/a/1.png", "dog/b/1.png", "dog/c/1.png"]
    mixed = [*crossed(["siteA", "siteB"], ["x", "y"]), "siteA/1.png"]
    for files in (crossed(["cat", "dog"], ["train", "test"]), crossed(["cat", "dog"], ["images"]), apart, mixed):
        found = labels_of(Path("a"), files)
        assert found is not None and found.labels == [file.split("/")[0] for file in files] and found.said == ()
    found = labels_of(Path("a"), crossed(["train", "val"], ["cat", "dog"]))
    assert found is not None and set(found.labels) == {"cat", "dog"} and found.groups is None and found.said == ()
    assert labels_of(Path("a"), ["1.png", "siteA/x/1.png"]) is None


def test_groups_divide(tmp_path: Path) -> None:
    """Six sites: the test is of sites that were not learned from."""
    for number, file in enumerate(crossed([f"site{place}" for place in range(6)], ["circle", "square"], 4)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)).save(tmp_path / file)
    made = plan.make(tmp_path, {}, Silent())
    assert (made.recipe.data.task, made.recipe.data.target, made.recipe.data.group) == ("classify", ("label",), "group")
    assert not set(made.train.column("group").to_pylist()) & set(made.test.column("group").to_pylist())
    assert "group" in made.recipe.data.ignore


def test_texts_and_series(tmp_path: Path) -> None:
    for place, file in enumerate(crossed(["siteA", "siteB"], ["down", "up"], 5)):
        for kind, content in (("txt", f"words of {file}"), ("csv", f"a,b\n{place},1\n2,3\n")):
            (tmp_path / kind / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / kind / file).with_suffix(f".{kind}").write_text(content)
    for kind in ("txt", "csv"):
        table = kinds.infer(read(tmp_path / kind), {})
        assert [
            f"{group}/{label}" for group, label in zip(table.column("group").to_pylist(), table.column("label").to_pylist(), strict=True)
        ] == [name.rpartition("/")[0] for name in table.column("file").to_pylist()]
        assert table.kinds["group"] == "id" and any("inner folders" in problem for problem in table.problems)


def voices(files: list[str], root: Path) -> Table:
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / file, np.random.default_rng(number).normal(0, 0.1, 800), 8000)
    return kinds.infer(read(root), {})


def test_names_of_equal_fields(tmp_path: Path) -> None:
    """RAVDESS: what is said how by whom stands in the names, and the folders are the speakers."""
    files = [f"Actor_{who:02}/03-01-{mood:02}-{loud:02}-{again:02}-{who:02}.wav" for who in range(1, 13) for mood in range(1, 4)
             for loud in (1, 2) for again in (1, 2)]  # fmt: skip
    table = voices(files, tmp_path / "speech")
    assert "label" not in table.names and table.kinds["group"] == "id" and [*table.names[1:5]] == [f"field_{one}" for one in (3, 4, 5, 6)]
    assert "field_3: 01, 02, 03" in table.problems[0] and "they are groups, not classes" in table.problems[1]
    with pytest.raises(DuomoError, match="something to be learned"):
        plan.make(tmp_path / "speech", {}, Silent())
    made = plan.make(tmp_path / "speech", {"data": {"target": ("field_3",)}}, Silent())
    assert made.recipe.data.task == "classify" and made.split.startswith("Split by group") and made.task.config.target == ("field_3",)


def test_folders_that_are_a_later_field_of_the_names(tmp_path: Path) -> None:
    """AudioMNIST: digits in folders of speakers; a folder alone around CREMA-D's recordings."""
    files = [f"{who:02}/{digit}_{who:02}_{again}.wav" for who in range(1, 6) for digit in range(5) for again in range(2)]
    table = voices(files, tmp_path / "digits")
    assert {"label", "field_1", "field_2"} < {*table.names} and table.problems[0].endswith("--target field_1")
    made = plan.make(tmp_path / "digits", {"data": {"target": ("field_1",)}}, Silent())
    assert "label" not in made.task.columns and made.recipe.data.target == ("field_1",)
    files = [f"AudioWAV/10{who:02}_{said}_{mood}_XX.wav" for who in range(6) for said in ("DFA", "IEO") for mood in ("ANG", "SAD", "HAP")]
    assert {"field_2", "field_3"} < {*voices(files, tmp_path / "moods").names}
    with pytest.raises(DuomoError, match="--target field_1"):
        plan.make(tmp_path / "moods" / "AudioWAV", {}, Silent())


def test_several_lists_of_files(tmp_path: Path) -> None:
    """Those that name each file once are one list; another, of moments within the files, is not read."""
    files = [f"set_{part}/{number}.wav" for part in "ab" for number in range(10)]
    voices([*files, "set_b/90.wav", "set_b/91.wav"], tmp_path / "hearts")
    for part in "ab":
        rows = "".join(f"{file},{('murmur', 'normal')[place % 2]}\n" for place, file in enumerate(files) if f"_{part}/" in file)
        (tmp_path / "hearts" / f"set_{part}.csv").write_text(f"fname,label\n{rows}")
    (tmp_path / "hearts" / "set_a_timing.csv").write_text("fname,location\n" + "".join(f"{file},{n}\n" for file in files for n in "12"))
    (tmp_path / "hearts" / "sample_submission.csv").write_text("fname,label\n" + "".join(f"set_b/9{n}.wav,normal\n" for n in (0, 1)))
    table = read(tmp_path / "hearts")
    assert table.column("audio").to_pylist() == files and {*table.column("label").to_pylist()} == {"murmur", "normal"}
    assert "2 files that no list names are not read; the first: set_b/90.wav" in table.problems[0]
    assert "set_a_timing.csv" in table.problems[1]


def test_lists_that_say_otherwise_of_the_same_files_or_in_other_types(tmp_path: Path) -> None:
    """What two annotators say of the same files is not one list; classes that are numbers in one file are text beside words in another."""
    voices(files := [f"sounds/{number}.wav" for number in range(20)], tmp_path)
    for who, labels in (("ann", ("cat", "dog")), ("bob", ("dog", "dog"))):
        rows = "".join(f"{file},{labels[place % 2]}\n" for place, file in enumerate(files))
        (tmp_path / f"{who}.csv").write_text(f"file,label\n{rows}")
    assert read(tmp_path).names == ["audio", "file"]
    for who, part, labels in (("ann", files[:10], (0, 1)), ("bob", files[10:], ("no", "yes"))):
        (tmp_path / f"{who}.csv").unlink()
        told = [{"file": file, "label": labels[place % 2]} for place, file in enumerate(part)]
        (tmp_path / f"{who}.json").write_text(json.dumps(told))
    table = read(tmp_path)
    assert len(table) == 20 and {*table.column("label").to_pylist()} == {"0", "1", "no", "yes"}


def test_numbers_of_recordings_and_pictures_of_sounds(tmp_path: Path) -> None:
    """ESC-50's src_file stands in the names; GTZAN's pictures are drawn from its sounds, however many there are."""
    files = [f"{1 + place % 2}-{5000 + place // 2}-A-{place % 4}.wav" for place in range(20)]
    voices([f"audio/{file}" for file in files], tmp_path / "esc")
    rows = "".join(f"{file},{file[0]},{('dog', 'cat', 'cow', 'hen')[place % 4]},{file[2:6]}\n" for place, file in enumerate(files))
    (tmp_path / "esc" / "esc.csv").write_text(f"filename,fold,category,src_file\n{rows}")
    table = read(tmp_path / "esc")
    assert table.kinds["src_file"] == "id" and "fold" not in table.kinds
    (tmp_path / "esc" / "esc.csv").write_text("filename,src_file\n" + "".join(f"{file},{file[2:6]}\n" for file in files))
    assert "src_file" not in read(tmp_path / "esc").kinds  # all that is told may be what is to be learned
    assert "--kind src_file=number" in table.problems[-1]
    ages = {f"sounds/{20 + place % 8}_{place % 2}_{place}.wav": 20 + place % 8 for place in range(20)}
    voices([*ages], tmp_path / "ages")
    (tmp_path / "ages/list.csv").write_text("file,age,sex\n" + "".join(f"{file},{age},{'mf'[age % 2]}\n" for file, age in ages.items()))
    assert "age" not in read(tmp_path / "ages").kinds
    voices([f"sounds/{number}.wav" for number in range(4000, 4020)], tmp_path / "said")
    rows = "".join(f"{number}.wav,{number},{'ab'[number % 2]}\n" for number in range(4000, 4020))
    (tmp_path / "said/list.csv").write_text(f"file,text,who\n{rows}")
    assert "text" not in read(tmp_path / "said").kinds  # what is to be heard is the whole name
    for name in ("blues", "rock"):
        voices([f"sounds/{name}/{name}.{number}.wav" for number in range(5)], tmp_path / "music")
        (tmp_path / "music/drawn" / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "music/drawn" / name / f"{name}{number}.png")
    table = read(tmp_path / "music")
    assert len(table) == 10 and {*table.column("label").to_pylist()} == {"blues", "rock"}
    assert "12 files of another kind are not learned from" in table.problems[0]


def test_names_in_folders_of_classes(tmp_path: Path) -> None:
    files = [f"{digit}/{digit}_{who}_{again}.wav" for digit in range(3) for who in ("ann", "bob") for again in range(5)]
    table = voices(files, tmp_path / "digits")
    assert [*table.names] == ["audio", "label", "file"] and not table.problems
    table = voices([file.partition("/")[2] for file in files], tmp_path / "flat")
    assert [*table.names] == ["audio", "field_1", "field_2", "field_3", "file"]


@pytest.mark.parametrize(("files", "labels"), [
    ([f"{side}/{side}_{who}_{again}.wav" for side in ("left", "right") for who in "abc" for again in range(4)], {"left", "right"}),
    ([f"Cam1/cam1-{who}-{again}.wav".replace("1", cam) for cam in "12" for who in "abc" for again in range(4)], {"Cam1", "Cam2"}),
    ([f"{what}/subject{who}/{what}_{who}_{again}.wav" for what in ("walk", "sit") for who in range(3) for again in range(4)],
     {"walk", "sit"}),
])  # fmt: skip
def test_files_that_are_named_after_their_class(tmp_path: Path, files: list[str], labels: set[str]) -> None:
    table = voices(files, tmp_path / "named")
    assert "label" in table.names and {*table.column("label").to_pylist()} == labels


def test_one_folder_around_the_classes(tmp_path: Path) -> None:
    """GTZAN: genres/blues, genres/rock …; a class alone with a few folders inside stays one."""
    table = voices([f"genres/{name}/{name}.{number}.wav" for name in ("blues", "jazz", "rock") for number in range(5)], tmp_path / "music")
    assert {*table.column("label").to_pylist()} == {"blues", "jazz", "rock"} and not table.problems
    for file in [f"shown/{name}/{number}.png" for name in ("blues", "jazz", "rock") for number in range(5)]:
        (tmp_path / "music" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "music" / file)
    assert "15 files of another kind are not learned from: genres/blues/blues.0.wav" in read(tmp_path / "music").problems[0]


def test_channels_of_series_in_texts(tmp_path: Path) -> None:
    """UCI's HAR without its table of features: nine files of signals, a line each, and of each line the activity and the person."""
    draw = np.random.default_rng(0)
    for part, rows in (("train", 60), ("test", 20)):
        (tmp_path / "HAR" / part / "Inertial Signals").mkdir(parents=True)
        for axis in "xyz":
            np.savetxt(tmp_path / "HAR" / part / "Inertial Signals" / f"acc_{axis}_{part}.txt", draw.normal(size=(rows, 16)), fmt="%.4e")
        np.savetxt(tmp_path / "HAR" / part / f"y_{part}.txt", np.arange(rows) % 3 + 1, fmt="%d")
        np.savetxt(tmp_path / "HAR" / part / f"subject_{part}.txt", np.arange(rows) // 5, fmt="%d")
    (tmp_path / "HAR" / "activity_labels.txt").write_text("1 WALKING\n2 SITTING\n3 LAYING\n")
    for folder in (tmp_path, tmp_path / "HAR"):
        made = plan.make(folder, {}, Silent())
        assert (
            made.recipe.data.task == "classify"
            and made.recipe.data.target == ("y",)
            and (len(made.train) > 30, len(made.test)) == (True, 20)
        )
        assert np.array(made.test.column("series")[0].as_py()).shape == (16, 3) and {*made.test.column("y").to_pylist()} == {
            "WALKING",
            "SITTING",
            "LAYING",
        }


def test_numbered_folders_within_classes_are_no_classes(tmp_path):
    """Frames of clips: run/clip0/0001.jpg; the clips are called alike in every class, and there are more of them than classes."""
    for place in ("jump/clip{}", "run/clip{}", "swim/clip{}"):
        for clip in range(5):
            folder = tmp_path / place.format(clip)
            folder.mkdir(parents=True)
            (folder / "0001.jpg").touch()
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    found = labels_of(tmp_path, files)
    assert found is not None and {*found.labels} == {"jump", "run", "swim"}


def test_numbered_machines_around_classes_are_groups(tmp_path):
    """MIMII: fan/id_00/normal, fan/id_02/abnormal."""
    files = [f"fan/id_{machine:02d}/{kind}/{number}.wav" for machine in (0, 2, 4) for kind in ("normal", "abnormal") for number in range(6)]
    found = labels_of(tmp_path, files)
    assert found is not None and {*found.labels} == {"normal", "abnormal"} and {*found.groups} == {"id_00", "id_02", "id_04"}


def test_parts_whose_files_are_called_after_their_class(tmp_path):
    """DCASE: train/normal_id_00_00000001.wav, test/anomaly_id_00_00000001.wav; folders of classes are not asked for."""
    for part, kinds_ in (("train", ("normal",)), ("test", ("normal", "anomaly"))):
        (tmp_path / part).mkdir()
        for kind in kinds_:
            for number in range(24):
                soundfile.write(tmp_path / part / f"{kind}_id_{number % 2:02d}_{number // 2:08d}.wav", np.zeros(800), 8000)
    table = read(tmp_path)
    assert {*table.column("field_1").to_pylist()} == {"normal", "anomaly"} and "--target field_1" in " ".join(table.problems)


def test_classes_that_are_numbered_and_called_so(tmp_path):
    """left_eye/grade0, right_eye/grade0: numbers behind such a word do not make clips of them."""
    for word in ("grade", "Class_", "等级"):
        files = [f"{side}/{word}{grade}/{number}.png" for side in ("left_eye", "right_eye") for grade in range(5) for number in range(3)]
        found = labels_of(tmp_path, files)
        assert found is not None and {*found.labels} == {f"{word}{grade}" for grade in range(5)}
        assert {*(found.groups or [])} == {"left_eye", "right_eye"}


def test_fields_of_names_beside_a_folder_that_is_no_class(tmp_path):
    """train/unsup has no counterpart in the test and is left out, the fields of its files' names with it."""
    for place in ("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg"):
        (tmp_path / place).mkdir(parents=True)
        for first in range(2):
            for second in range(2):
                for number in range(3):
                    Image.new("L", (4, 4), 90 * first + 40 * second + number).save(tmp_path / place / f"{first}_{second}_{number}.png")
    table = read(tmp_path)
    assert len(table) == 48 and {*table.column("label").to_pylist()} == {"pos", "neg"}
