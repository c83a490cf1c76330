"""Folders with the tables of parts: splits that somebody made are followed, tests without answers answered, forms not learned from."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from sklearn.datasets import load_digits

import duomo
from duomo import cli, plan
from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.kinds import date
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.data import sources


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((load_digits().images[number] * 15).astype(np.uint8)).save(path)


def houses(count: int, first: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(first)
    area = random.integers(40, 300, count)
    frame = pd.DataFrame({"Id": range(first, first + count), "LotArea": area, "Street": random.choice(["Pave", "Grvl"], count)})
    return frame.assign(
        SaleCondition=random.choice(["Normal", "Abnorml", "Family"], count), SalePrice=area * 1000 + random.integers(0, 500, count)
    )


def competition(root: Path) -> Path:
    root.mkdir()
    houses(120).to_csv(root / "train.csv", index=False)
    test = houses(20, 120)
    test.drop(columns="SalePrice").to_csv(root / "test.csv", index=False)
    test.assign(SalePrice=1.0)[["Id", "SalePrice"]].to_csv(root / "sample_submission.csv", index=False)
    (root / "data_description.txt").write_text("LotArea: the area of the lot in square feet\n")
    return root


def test_a_competition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = competition(tmp_path / "houses")
    made = plan.make(root, {}, Silent())
    assert made.recipe.data.task == "regress" and made.recipe.data.target == ("SalePrice",)
    assert len(made.train) + len(made.valid) + len(made.test) == 120
    said = " ".join(made.problems)
    assert "test.csv lacks SalePrice" in said and "sample_submission.csv shows how answers are handed in" in said
    assert 'duomo predict RUN houses/test.csv --columns "Id,SalePrice" -o answers.csv' in said
    duomo.train(root, {"model": {"name": "linear"}, "train": {"steps": 5}}, out=tmp_path / "run")
    out = tmp_path / "answers.csv"
    assert cli.main(["predict", str(tmp_path / "run"), str(root / "test.csv"), "--columns", "Id,SalePrice", "-o", str(out)]) == 0
    answers = pd.read_csv(out)
    assert list(answers) == ["Id", "SalePrice"] and list(answers["Id"]) == list(range(120, 140)) and answers["SalePrice"].notna().all()
    assert cli.main(["predict", str(tmp_path / "run"), str(root / "test.csv"), "--columns", "Id,SalesPrice"]) == 3
    assert "there is no 'SalesPrice'. Did you mean 'SalePrice'?" in capsys.readouterr().err


def test_what_a_test_lacks_beside_the_target_is_no_input(tmp_path: Path) -> None:
    """As where bicycles are counted: the test lacks the count and what it is the sum of; the form names the count alone."""
    root = competition(tmp_path / "bikes")
    frame = houses(120)
    frame.assign(casual=frame["SalePrice"] // 3).to_csv(root / "train.csv", index=False)
    made = plan.make(root, {}, Silent())
    assert made.recipe.data.target == ("SalePrice",) and "casual" not in made.task.columns
    (root / "sample_submission.csv").unlink()
    assert "test.csv lacks SalePrice, casual" in " ".join(sources.read(root).problems)


def test_of_several_columns_that_a_test_lacks_the_last_is_asked_for(tmp_path: Path) -> None:
    """The hires of bicycles: casual and registered ones add up to the count, and a test has none of the three."""
    train = houses(120).rename(columns={"SalePrice": "count"})
    train.insert(3, "casual", train["count"] // 3)
    train.to_csv(tmp_path / "train.csv", index=False)
    houses(20, 120).drop(columns="SalePrice").to_csv(tmp_path / "test.csv", index=False)
    made = plan.make(tmp_path, {}, Silent())
    assert made.recipe.data.target == ("count",) and "casual" not in made.train.names
    assert "casual are no inputs" in " ".join(made.problems)


@pytest.mark.parametrize(("names", "ending"), [
    (("train", "valid", "test"), ".csv"), (("train", "dev", "test"), ".tsv"),
    (("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001"), ".parquet"),
])  # fmt: skip
def test_parts_as_they_are_called(tmp_path: Path, names: tuple[str, ...], ending: str) -> None:
    for place, name in enumerate(names):
        frame = houses(60 if "train" in name else 20, 1000 * place)
        if ending == ".parquet":
            frame.to_parquet(tmp_path / f"{name}{ending}")
        else:
            frame.to_csv(tmp_path / f"{name}{ending}", index=False, sep="\t" if ending == ".tsv" else ",")
    made = plan.make(tmp_path, {"data": {"target": ("SalePrice",)}}, Silent())
    assert (len(made.train), len(made.valid), len(made.test)) == (60 * (len(names) - 2), 20, 20)
    assert made.recipe.data.split == "folders" and "split" not in made.task.columns
    houses(9).to_csv(tmp_path / "train_old.csv", index=False)
    with pytest.raises(DataError, match="needs a choice"):
        sources.read(tmp_path)


def test_common_voice(tmp_path: Path) -> None:
    """Its own split is followed, and the lists of what was validated hold the same clips again."""
    names = [f"common_voice_eo_{number}.mp3" for number in range(24)]
    (tmp_path / "clips").mkdir()
    for place, name in enumerate(names):
        soundfile.write(tmp_path / "clips" / name, np.sin(np.arange(48000) / (3 + place)) / 2, 16000)
    columns = ["client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender", "accents",
               "variant", "locale", "segment"]  # fmt: skip

    def rows(numbers: range) -> str:
        cells = [[hashlib.sha512(bytes([number // 2])).hexdigest(), names[number], hashlib.sha256(bytes([number])).hexdigest(),
                  f"la vorto {number} {'tre ' * (number % 3)}estas {number * 7}", "", "2", "0",
                  "twenties", "male_masculine", "", "", "eo", ""] for number in numbers]  # fmt: skip
        return "".join("\t".join(row) + "\n" for row in [columns, *cells])

    parts = {
        "train": range(12),
        "dev": range(12, 16),
        "test": range(16, 20),
        "validated": range(20),
        "other": range(20, 22),
        "invalidated": range(22, 24),
    }
    for name, numbers in parts.items():
        (tmp_path / f"{name}.tsv").write_text(rows(numbers))
    (tmp_path / "clip_durations.tsv").write_text("clip\tduration[ms]\n" + "".join(f"{name}\t500\n" for name in names))
    (tmp_path / "reported.tsv").write_text("sentence_id\tsentence\tlocale\treason\n1\tx\teo\tdifficult\n")
    made = plan.make(tmp_path, {}, Silent())
    assert made.recipe.data.task == "transcribe" and made.recipe.data.target == ("sentence",)
    assert [len(part) for part in (made.train, made.valid, made.test)] == [12, 4, 4]
    assert made.test.column("audio").to_pylist() == [f"clips/{name}" for name in names[16:20]]
    assert "other tables of the folder are not read" in " ".join(made.problems) and "validated.tsv" in " ".join(made.problems)


CLASSES = ("bus", "car", "tree")


@pytest.mark.parametrize("alone", [False, True])
def test_classes_as_columns_of_marks(tmp_path: Path, alone: bool) -> None:
    """As Roboflow exports classes of pictures: a list in each part, a column for each class, with a blank before its name."""
    for part, numbers in (("train", range(30)), ("valid", range(30, 36)), ("test", range(36, 42))):
        lines = ["filename, " + ", ".join(CLASSES)]
        for number in numbers:
            picture(tmp_path / part / f"{number}_jpg.rf.0a1b.jpg", number)
            marks = [int(number % 3 == place) for place in range(3)] if alone else [number % 2, number // 2 % 2, int(number % 3 == 0)]
            lines.append(f"{number}_jpg.rf.0a1b.jpg, " + ", ".join(map(str, marks)))
        (tmp_path / part / "_classes.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "README.roboflow.txt").write_text("traffic - v1\nProvided by a Roboflow user\n")
    made = plan.make(tmp_path, {}, Silent())
    assert made.recipe.data.task == "classify" and made.recipe.data.target == (("label",) if alone else CLASSES)
    assert [len(part) for part in (made.train, made.valid, made.test)] == [30, 6, 6]
    made.task.fit(made.train)
    assert made.task.columns == ["image"] and made.task.state()["labels"]["classes"] == [list(CLASSES)]
    assert made.task.state()["labels"]["lists"] is not alone


def test_a_file_of_utf_16_without_its_mark(tmp_path: Path) -> None:
    told = "text,label\n" + "".join(f"这家店的东西很好吃{number},{'好' if number % 2 else '坏'}\n" for number in range(40))
    for encoding in ("utf-16-le", "utf-16-be"):
        for name, text in (("a.csv", told), ("a.txt", told.replace(",", "\t")), ("b.csv", told.encode("ascii", "ignore").decode())):
            (tmp_path / name).write_bytes(text.encode(encoding))
            assert len(sources.read(tmp_path / name)) in (40, 41), (encoding, name)
    (tmp_path / "prose.txt").write_bytes(("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。" * 40).encode("utf-16-le"))
    assert "春眠不觉晓" in sources.read(tmp_path / "prose.txt").column("text")[0].as_py()


def test_months_with_their_year_are_dates() -> None:
    told = "month,sold\n" + "".join(f"{name.capitalize()}-{year},{year * 7 % 11}\n" for year in range(15, 18) for name in date.MONTHS)
    table = kinds.infer(sources.read(pd.read_csv(io.StringIO(told))), {})
    assert table.kinds["month"] == "date"
    assert plan.choose(table, DataConfig())[0].target == ("sold",)


def test_parts_told_by_endings(tmp_path: Path) -> None:
    """As CoNLL 2003 has them: eng.train, eng.testa to validate, eng.testb to test."""
    for part, rows in (("train", 30), ("testa", 12), ("testb", 11)):
        (tmp_path / f"eng.{part}").write_text("".join(f"London B-LOC\nwaits O\nword{row} O\n\n" for row in range(rows)))
    table = sources.read(tmp_path)
    assert {part: table.column("split").to_pylist().count(part) for part in ("train", "valid", "test")} == {
        "train": 30,
        "valid": 12,
        "test": 11,
    }


def test_names_alone_are_a_test_of_pictures_but_not_of_tables(tmp_path: Path) -> None:
    """What is to be answered lies elsewhere: without it nothing would be left to learn from."""
    root = competition(tmp_path / "houses")
    pd.DataFrame({"Id": range(120, 140)}).to_csv(root / "test.csv", index=False)
    with pytest.raises(DataError, match="needs a choice"):
        sources.read(root)
