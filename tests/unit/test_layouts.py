"""Folders as the field lays them out: classes below the parts, lists without names of columns, lists in every part, lists of a folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from sklearn.datasets import load_digits

from duomo import pipeline, plan
from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.kinds import boxes
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.data import partition, sources, targets
from duomo.data.folders import files
from duomo.evaluate import bootstrap


def picture(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((load_digits().images[number] * 15).astype(np.uint8)).save(path)
    return path


def sounds(root: Path, names: list[str]) -> None:
    for place, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.sin(np.arange(4000) / (3 + place)) / 2, 8000)


def test_classes_below_the_folders_of_parts(tmp_path: Path) -> None:
    """As torchvision and timm read them: train/cat/1.png, val/cat/2.png."""
    for number in range(60):
        picture(tmp_path / ("val" if number % 3 == 0 else "train") / str(number % 2) / f"{number}.png", number)
    made = plan.make(tmp_path, {}, Silent())
    assert made.recipe.data.split == "folders" and made.recipe.data.task == "classify"
    assert len(made.test) == 20 and all(name.startswith("val/") for name in made.test.column("file").to_pylist())
    assert set(made.train.column("label").to_pylist()) == {"0", "1"}
    assert pipeline.inspect(tmp_path)["proposal"]["how"] == "folders"


def test_a_list_without_names_of_columns(tmp_path: Path) -> None:
    """As LJSpeech has it: id|text|text as spoken, in metadata.csv beside wavs/."""
    names = [f"LJ001-{number:04}" for number in range(12)]
    sounds(tmp_path / "wavs", [f"{name}.wav" for name in names])
    said = [f"sentence {number} of this book" for number in range(12)]
    (tmp_path / "metadata.csv").write_text("".join(f"{name}|{text.upper()}|{text}\n" for name, text in zip(names, said, strict=True)))
    table = kinds.infer(sources.read(tmp_path), {})
    assert len(table) == 12 and table.kinds["audio"] == "audio" and "no line of column names" in " ".join(table.problems)
    data, _ = plan.choose(table, DataConfig())
    assert (data.task, data.target) == ("transcribe", ("c2",)) and table.column("c2").to_pylist() == said


def test_a_list_names_files_by_the_end_of_their_paths(tmp_path: Path) -> None:
    """cat/1.png of images/cat/1.png, where dog/1.png is called so too; a whole path is nobody else's end."""
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(5)]
    for place, name in enumerate(names):
        picture(tmp_path / "images" / name, place)
    (tmp_path / "metadata.csv").write_text("file,label\n" + "".join(f"{name},{name[:3]}\n" for name in names))
    assert sources.read(tmp_path).column("image").to_pylist() == [f"images/{name}" for name in names]
    assert files.by_ends(["a.png", "x/a.png"]) == dict.fromkeys(("a", "a.png"), "a.png") | dict.fromkeys(("x/a", "x/a.png"), "x/a.png")


@pytest.mark.parametrize(("more", "task"), [({}, "transcribe"), ({"emotion": "label"}, "classify")])
def test_transcripts_beside_other_columns(tmp_path: Path, more: dict[str, str], task: str) -> None:
    """As Common Voice has it; where something is named a label beside, that is learned and the text read."""
    sounds(tmp_path / "clips", [f"{number}.wav" for number in range(30)])
    rows = ["\t".join(["client_id", "path", "sentence", "up_votes", *more.values()])]
    for number in range(30):
        felt = [["glad", "sad"][number % 2] for _ in more]
        rows.append("\t".join([f"c{number % 7}", f"{number}.wav", f"they said {number * number} words", "2", *felt]))
    (tmp_path / "validated.tsv").write_text("\n".join(rows) + "\n")
    for source in (tmp_path, tmp_path / "validated.tsv"):  # the list alone, too: its files lie in a folder beside
        table = kinds.infer(sources.read(source), {})
        assert table.kinds["audio"] == "audio" and table.column("audio")[0].as_py() == "clips/0.wav"
        data, _ = plan.choose(table, DataConfig())
        assert data.task == task and data.target == (("label",) if more else ("sentence",))


def test_a_list_in_every_part_and_lists_of_parts(tmp_path: Path) -> None:
    for part, numbers in (("train", range(20)), ("test", range(20, 30))):
        for number in numbers:
            picture(tmp_path / "hub" / part / f"{number % 20}.png", number)
        listed = "file_name,kind\n" + "".join(f"{number % 20}.png,{'ab'[number % 2]}\n" for number in numbers)
        (tmp_path / "hub" / part / "metadata.csv").write_text(listed)
    made = plan.make(tmp_path / "hub", {}, Silent())
    assert made.recipe.data.split == "folders" and made.recipe.data.target == ("kind",)
    assert len(made.test) == 10 and all(name.startswith("test/") for name in made.test.column("image").to_pylist())
    for part in ("train", "test"):
        lines = (tmp_path / "hub" / part / "metadata.csv").read_text().splitlines()
        (tmp_path / "hub" / part / "metadata.csv").unlink()
        (tmp_path / "hub" / f"{part}.csv").write_text("\n".join([lines[0], *(f"{part}/{line}" for line in lines[1:])]) + "\n")
    made = plan.make(tmp_path / "hub", {}, Silent())
    assert made.recipe.data.split == "folders" and made.recipe.data.target == ("kind",)
    assert len(made.test) == 10 and all(name.startswith("test/") for name in made.test.column("image").to_pylist())
    shutil.copy(tmp_path / "hub" / "test.csv", tmp_path / "hub" / "test_b.csv")
    with pytest.raises(DataError, match=r"Train on hub/train.csv, and give --test hub/test.csv"):
        sources.read(tmp_path / "hub")


def test_polygons_and_names_that_two_parts_share(tmp_path: Path) -> None:
    """COCO files without boxes; train/1.png and val/1.png, told apart by what the file of annotations is called."""
    (tmp_path / "annotations").mkdir()
    for part in ("train", "val"):
        for number in range(6):
            picture(tmp_path / part / f"{number}.png", number)
        told = {
            "images": [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} for n in range(6)],
            "categories": [{"id": 7, "name": part}],
            "annotations": [{"image_id": n, "category_id": 7, "segmentation": [[1, 2, 6, 2, 6, 7], [0, 3, 1, 3, 1, 4]]} for n in range(6)],
        }
        (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(told))
    table = sources.read(tmp_path)
    found = dict(zip(table.column("image").to_pylist(), boxes.parse(table.column("boxes")), strict=True))
    assert len(found) == 12 and not table.problems
    assert all(cell == [boxes.Box(name.split("/")[0], 0, 2, 6, 7)] for name, cell in found.items())


def test_a_list_of_boxes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name, 3)
    rows = ["a.png,8,8,cat,1,1,5,6", "a.png,8,8,dog,2,2,7,7.5", "b.png,8,8,cat,x,1,5,6", "c.png,8,8,,,,,"]
    (tmp_path / "_annotations.csv").write_text("\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *rows]) + "\n")
    table = kinds.infer(sources.read(tmp_path), {})
    found = dict(zip(table.column("image").to_pylist(), boxes.parse(table.column("boxes")), strict=True))
    assert found == {"a.png": [boxes.Box("cat", 1, 1, 5, 6), boxes.Box("dog", 2, 2, 7, 7.5)], "b.png": [], "c.png": []}
    assert "1 × a box was left out because its sides are no numbers" in table.problems[0]
    assert plan.choose(table, DataConfig())[0].task == "detect"


def test_rounding_tells_no_one_apart() -> None:
    """Figures that are equal but for rounding have a difference whose interval touches zero."""
    random = np.random.default_rng(0)
    draws = random.integers(0, 3, 500) / 47
    figures = bootstrap.Resampled({"accuracy": 0.957}, {"accuracy": 0.957 + draws}, 47, 47)
    other = bootstrap.Resampled({"accuracy": 0.957 + 1e-16}, {"accuracy": 0.957 + 2 / 47 - (2 / 47 - draws) * (1 - 1e-15)}, 47, 47)
    assert not bootstrap.difference(figures, other, "accuracy").excludes_zero()


def test_inspect_names_files_that_do_not_open(tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / str(number % 2) / f"{number}.png", number)
    (tmp_path / "0" / "torn.png").write_bytes((tmp_path / "0" / "0.png").read_bytes()[:60])
    (tmp_path / "1" / "empty.png").write_bytes(b"")
    found = {one["code"]: one["sentence"] for one in pipeline.inspect(tmp_path)["findings"]}
    assert "1 file" in found["missing_files"] and "1/empty.png" in found["missing_files"]
    assert "0/torn.png" in found["broken_files"] and "1 of 21" in found["broken_files"]


def test_sounds_that_go_on_unheard_are_told(tmp_path: Path) -> None:
    sounds(tmp_path, [f"{label}/{number}.wav" for label in "ab" for number in range(6)])
    settings = {"encode": {"longest_sound": 0.4}}
    assert "12 of 12" not in " ".join(plan.make(tmp_path, {}, Silent()).problems)
    assert "go on after 0.4 s" in " ".join(plan.make(tmp_path, settings, Silent()).problems)


SPACED = {
    "aligned.csv": "".join(f'{18 + n % 7}.0   {n % 3}   {3504 + n}.   {n % 5}\t"chevrolet {n}"\n' for n in range(20)),
    "named.csv": "a b y\n" + "".join(f"{n} {n / 7:.3f}  {'xyz'[n % 3]}\r\n" for n in range(20)),
    "uci.data": "".join(f"  {n}.5 {n % 4}   {n}e-3  ?\n" for n in range(20)),
    "r.txt": '"mpg" "cyl"\n' + "".join(f'"Mazda RX{n}" {20 + n} {n % 3}\n' for n in range(20)),
    "commas.txt": "a,b,y\n" + "".join(f"{n},{n % 3},{'xyz'[n % 3]}\n" for n in range(20)),
}
FOUND = {
    "aligned.csv": (["c0", "c1", "c2", "c3", "c4"], ["23.0", "1", "3523.", "4", "chevrolet 19"]),
    "named.csv": (["a", "b", "y"], ["19", "2.714", "y"]),
    "uci.data": (["c0", "c1", "c2", "c3"], ["19.5", "3", "19e-3", "?"]),
    "r.txt": (["index", "mpg", "cyl"], ["Mazda RX19", "39", "1"]),
    "commas.txt": (["a", "b", "y"], ["19", "1", "y"]),
}


@pytest.mark.parametrize("name", SPACED)
def test_cells_between_spaces_and_tables_in_text_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file is streamed, and where blocks end within a line."""
    (tmp_path / name).write_bytes(SPACED[name].encode())
    for large, block in ((1 << 40, 1 << 16), (0, 7)):
        monkeypatch.setattr("duomo.data.spill.LARGE", large)
        monkeypatch.setattr("duomo.data.formats.space_delimited.MANY", block)
        table = sources.read(tmp_path / name, cache=tmp_path / f"cache{large}")
        assert (table.names, [column[-1].as_py() for column in table.data.columns]) == FOUND[name]
        assert len(table) == 20


@pytest.mark.parametrize(
    "lines",
    [
        "2020-01-01 10:00:00 UTC,{n}\n",
        "Jan {n} 2020\t{n}\n",
        "{n} 1 2,{n}\n",
        "one two three {n}\n" + "four five\n",
        "it came, saw, went\n",
    ],
)
def test_what_holds_spaces_is_not_cut_by_them(lines: str, tmp_path: Path) -> None:
    for name in ("rows.csv", "rows.txt"):
        (tmp_path / name).write_text("".join(lines.format(n=n) for n in range(10, 30)), encoding="utf-8")
        assert len(sources.read(tmp_path / name).names) <= 3


def test_a_list_of_folders_holds_for_the_files_in_them(tmp_path: Path) -> None:
    """A patient's or a specimen's folder in place of a file's name; what lies elsewhere is counted."""
    for number in range(6):
        place = tmp_path / "owls" / f"{number:03d}" / "left wing"
        place.mkdir(parents=True)
        for side in "ab":
            Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(place / f"{side}.png")
    rows = [f"{number:03d},{'ill' if number % 2 else 'well'},{number}" for number in (0, 1, 2, 3, 4, 9, 4)]
    (tmp_path / "owls" / "findings.csv").write_text("\n".join(["specimen,finding,age", *rows]), encoding="utf-8")
    table = kinds.infer(sources.read(tmp_path / "owls"), {})
    assert table.names == ["image", "specimen", "finding", "age", "file"] and table.kinds["specimen"] == "id"
    assert table.column("file").to_pylist() == [f"{n:03d}/left wing/{side}.png" for n in range(5) for side in "ab"]
    assert table.column("finding").to_pylist() == ["well", "well", "ill", "ill"] * 2 + ["well", "well"]
    said = " ".join(table.problems)
    assert "all of them (10 files)" in said and "'009'" in said and "tell of the same files again" in said and "005/left wing/a.png" in said


@pytest.mark.parametrize(
    ("written", "names", "first"),
    [
        ({"a": {"x": 1, "y": "u"}, "b": {"x": 2, "y": "v"}, "c": {"x": 3}}, ["index", "x", "y"], ["a", 1, "u"]),
        ({"x": {"0": 1, "1": 2}, "y": {"0": "u", "1": "v"}}, ["x", "y"], [1, "u"]),
        ({"columns": ["x", "y"], "index": [5, 6], "data": [[1, "u"], [2, "v"]]}, ["x", "y"], [1, "u"]),
        ([["x", "y"], [1, "u"], [2, "v"]], ["x", "y"], [1, "u"]),
        ([[1, "u"], [2, "v"]], ["c0", "c1"], [1, "u"]),
    ],
)
def test_json_as_pandas_and_others_turn_it(written: object, names: list[str], first: list[object], tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(written), encoding="utf-8")
    table = sources.read(tmp_path / "rows.json")
    assert table.names == names
    assert [column[0].as_py() for column in table.data.columns] == first


def test_parts_of_a_table_whose_columns_are_of_other_types_or_lack_what_is_no_answer(tmp_path: Path) -> None:
    for name, cells in (("lists", ([[0, 3, "X"]], [])), ("words", ("good", 0))):
        (tmp_path / name).mkdir()
        for part, cell in zip(("train", "test"), cells, strict=True):
            (tmp_path / name / f"{part}.jsonl").write_text(json.dumps({"text": "one text", "told": cell}) + "\n")
        table = sources.read(tmp_path / name)
        assert table.column("told").to_pylist() == (['[[0, 3, "X"]]', "[]"] if name == "lists" else ["good", "0"])
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "train.csv").write_text("id,text,label\n1,one,a\n2,two,b\n")
    (tmp_path / "ids" / "test.csv").write_text("text,label\none,a\ntwo,b\n")
    with pytest.raises(DataError, match="needs a choice"):
        sources.read(tmp_path / "ids")


def test_what_lists_and_folders_say_of_pictures(tmp_path: Path) -> None:
    """A number beside pictures, pairs of pictures, what scans of one subject begin with, a legend, parts without classes, a competition."""
    for number in range(24):
        side, subject = "ab"[number % 2], f"s{number // 2}_{number}"
        for place in ("eyes/{}_left", "pairs/before/{}", "pairs/after/{}", f"subjects/{subject}", f"legend/{side}/{{}}",
                      f"tiny/train/{side}/images/{{}}", "tiny/val/images/{}", "leaves/images/{}"):  # fmt: skip
            picture(tmp_path / (place.format(number) + ".png"), number)
    half = range(12)
    lists = {
        "eyes/labels.csv": "image,level\n" + "".join(f"{n}_left,{n % 3}\n" for n in range(24)),
        "pairs/list.csv": "before,after,changed\n" + "".join(f"before/{n}.png,after/{n}.png,{'ny'[n % 2]}\n" for n in range(24)),
        "subjects/list.csv": "subject,finding\n" + "".join(f"s{n},{'ny'[n % 2]}\n" for n in half),
        "legend/classes.csv": "class,meaning\na,an apple\nb,a banana\n",
        "leaves/train.csv": "id,rust,scab\n" + "".join(f"{n},{n % 2},{1 - n % 2}\n" for n in half),
        "leaves/test.csv": "id\n" + "".join(f"{n}\n" for n in range(12, 24)),
        "leaves/sample_submission.csv": "id,rust,scab\n" + "".join(f"{n},0.5,0.5\n" for n in range(12, 24)),
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    wanted = {"eyes": "level", "pairs": "changed", "subjects": "finding", "legend": "label", "leaves": "label", "tiny": "label"}
    read = {name: kinds.infer(sources.read(tmp_path / name), {}) for name in wanted}
    assert {name: targets.guess_target(table)[0] for name, table in read.items()} == wanted
    assert read["pairs"].of_kind("image") == ["image", "after"] and read["subjects"].kinds["subject"] == "id" and len(read["leaves"]) == 12
    assert partition.folders(read["tiny"], ("label",)) is None and {*read["tiny"].column("label").to_pylist()} == {"a", "b"}
    shutil.move(tmp_path / "eyes", tmp_path / "outer" / "eyes")
    assert "level" in sources.read(tmp_path / "outer").names


@pytest.mark.parametrize(
    ("name", "mark"), [("labels.lst", " "), ("labels", "\t"), ("labels.txt", ": "), ("list.txt", "|"), ("a.data", ",")]
)
def test_a_list_of_pictures_with_their_classes_in_a_text_of_any_ending(tmp_path: Path, name: str, mark: str) -> None:
    shown = [picture(tmp_path / f"p{number:02}.png", number) for number in range(20)]
    (tmp_path / name).write_text("".join(f"{path.name}{mark}{('dog', 'cat')[place % 2]}\n" for place, path in enumerate(shown)))
    table = sources.read(tmp_path)
    assert table.column("label").to_pylist() == ["dog", "cat"] * 10 and table.column("image").to_pylist() == [path.name for path in shown]
