"""Every kind of source through train, inspect and predict; the same from Python."""

import json
import random
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.feather
import pytest
import torch
from torch import nn

import duomo
from duomo.core.errors import ConfigError, DataError, RunError

TINY = ("--set", "train.steps=4", "--model", "mlp", "--size", "small", "--exact")
QUICK = {"train": {"steps": 4, "exact": True}, "model": {"name": "mlp", "size": "small"}}
Command = Callable[..., Any]


@pytest.fixture
def frame(runs: Any) -> pd.DataFrame:
    """100 rows of the medical sample and their first columns."""
    whole = pd.read_csv(runs.source("clinic"))
    return pd.concat([whole.iloc[:100, :6], whole.iloc[:100][["diagnosis"]]], axis=1)


def book(frame: pd.DataFrame, path: Path) -> None:
    """A minimal Excel book, written by hand."""

    def cell(value: Any) -> str:
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>' if isinstance(value, str) else f"<c><v>{value}</v></c>"

    rows = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in [list(frame.columns), *frame.to_numpy().tolist()])
    main = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    sheets = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    links = f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{main}/'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": links + 'officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{sheets}" xmlns:r="{main}">'
        '<sheets><sheet name="First" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": links + 'worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{sheets}"><sheetData>{rows}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


def saved(frame: pd.DataFrame) -> list[str]:
    """The frame in every format of a table, in the current folder."""
    frame.to_csv("a.csv", index=False)
    frame.to_csv("b.tsv", index=False, sep="\t")
    frame.to_csv("c.csv", index=False, sep=";")
    frame.to_json("d.jsonl", orient="records", lines=True)
    frame.to_json("e.json", orient="records")
    frame.to_parquet("f.parquet")
    pyarrow.feather.write_feather(pyarrow.Table.from_pandas(frame), "g.feather")
    book(frame, Path("h.xlsx"))
    with sqlite3.connect("shop.db") as base:
        frame.to_sql("orders", base, index=False)
        frame.to_sql("users", base, index=False)
    with zipfile.ZipFile("i.zip", "w") as archive:
        archive.write("a.csv", "inner/a.csv")
    return ["a.csv", "b.tsv", "c.csv", "d.jsonl", "e.json", "f.parquet", "g.feather", "h.xlsx", "shop.db::orders", "i.zip"]


def test_every_format_of_a_table(command: Command, frame: pd.DataFrame) -> None:
    """Each is inspected and answered alike by one run; a database, a book and an archive are also learned from."""
    sources = saved(frame)
    assert command("train", "a.csv", "--target", "diagnosis", "--out", "run", *TINY).code == 0
    answers = set()
    for source in sources:
        proposal = json.loads(command("inspect", source, "--json").out)["proposal"]
        assert (proposal["task"], proposal["target"]) == ("classify", ["diagnosis"]), source
        assert command("predict", "run", source, "-o", "out.parquet").code == 0
        found = pd.read_parquet("out.parquet")
        answers.add((*found["prediction"], *found["confidence"]))
    assert len(answers) == 1
    for source in ("shop.db::orders", "h.xlsx", "i.zip"):
        assert command("train", source, "--target", "diagnosis", *TINY).code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["h", "i", "orders"]
    said = command("train", "shop.db::order")
    assert (said.code, "Did you mean 'orders'" in said.err) == (3, True)


def test_texts(command: Command) -> None:
    Path("letters").mkdir()
    for number in range(10):
        Path(f"letters/{number}.txt").write_text(f"Letter {number}. " + "The quick brown fox jumps over the lazy dog. " * 15)
    quick = ("--set", "train.steps=2", "--set", "task.sampling.new_tokens=4", "--exact")
    said = command("train", "letters", *quick, "--size", "nano")
    assert said.code == 0, said.err
    assert command("predict", "runs/letters", "--text", "The quick").code == 0
    for label in ("spam", "ham"):
        Path("mails", label).mkdir(parents=True)
        for number in range(12):
            Path(f"mails/{label}/{number}.txt").write_text(f"{label} {number} " + ("buy now" if label == "spam" else "see you at noon"))
    assert command("train", "mails", "--set", "train.steps=2", "--exact").code == 0
    assert "prediction: " in command("predict", "runs/mails", "--text", "buy").out
    assert len(command("predict", "runs/mails", "mails").out.splitlines()) == 25


def test_a_zip_of_pictures(command: Command, runs: Any) -> None:
    source = runs.source("digits")
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for label in "01":
            for file in sorted((source / label).iterdir())[:12]:
                archive.write(file, f"photos/{label}/{file.name}")
    assert command("train", "photos.zip", "--set", "train.steps=2", "--exact").code == 0
    assert len(command("predict", "runs/photos", "photos.zip").out.splitlines()) == 25


def test_several_answers_to_a_row(command: Command, frame: pd.DataFrame) -> None:
    draw = random.Random(0)
    tags = [[tag for tag in "abc" if draw.random() < 0.6] or ["a"] for _ in range(80)]
    pd.DataFrame({"text": [f"about {' '.join(row)} {n}" for n, row in enumerate(tags)], "tags": map(";".join, tags)}).to_csv(
        "tags.csv", index=False
    )
    assert command("train", "tags.csv", "--target", "tags", "--set", "train.steps=3", "--exact").code == 0
    assert isinstance(json.loads(command("predict", "runs/tags", "--text", "about a", "--json").out)["prediction"], list)
    frame.assign(size=np.where(frame.mean_radius > 14, "big", "small")).to_csv("two.csv", index=False)
    assert command("train", "two.csv", "--target", "diagnosis,size", "--set", "task.class_weights=balanced", *TINY).code == 0
    row = json.dumps(dict(frame.iloc[0, :6]))
    assert set(json.loads(command("predict", "runs/two", "--row", row, "--json").out)["prediction"]) == {"diagnosis", "size"}
    said = command("train", "two.csv", "--target", "mean_radius", "--kind", "size=text", "--ignore", "mean_area", "--set", "train.steps=2")
    assert (said.code, "Task: regress" in said.err) == (0, True)


def test_groups_and_times(command: Command, frame: pd.DataFrame) -> None:
    days = pd.date_range("2020-01-01", periods=len(frame)).astype(str)
    who = [f"patient {number % 9}" for number in range(len(frame))]
    frame.assign(day=days, who=who).to_csv("visits.csv", index=False)
    said = command("train", "visits.csv", "--target", "diagnosis", "--time", "day", *TINY)
    assert (said.code, "Split by day" in said.err) == (0, True), said.err
    said = command("predict", "runs/visits", "--text", "patient 3")
    assert (said.code, "this one reads" in said.err) == (2, True), said
    said = command("train", "visits.csv", "--target", "diagnosis", "--group", "who", "--ignore", "day", *TINY)
    assert (said.code, "Split by who" in said.err) == (0, True), said.err


def test_data_in_memory(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Frames, rows and data sets give the same run and are answered in kind."""
    sources = {
        "pandas": frame, "polars": pl.DataFrame(frame.to_dict("list")), "rows": frame.to_dict("records"),
        "datasets": datasets.Dataset.from_pandas(frame),
    }  # fmt: skip
    made = {name: duomo.train(source, QUICK, target="diagnosis", out=tmp_path / name) for name, source in sources.items()}
    weights = {(tmp_path / name / "model.safetensors").read_bytes() for name in sources}
    assert len(weights) == 1
    answered = made["pandas"].predict(frame.iloc[5:8])
    assert list(answered.index) == [5, 6, 7]
    assert isinstance(made["polars"].predict(sources["polars"]), pl.DataFrame)
    assert made["rows"].predict(sources["rows"][:2])[0]["prediction"] in ("benign", "malignant")
    assert made["rows"].evaluate(frame)["rows"] == 100
    array = np.column_stack([frame.iloc[:, :6].to_numpy(), (frame.diagnosis == "benign").to_numpy()]).astype(float)
    run = duomo.train(array, QUICK, target="x6", out=tmp_path / "array")
    assert len(run.predict(array[:3, :6])) == 3
    for nothing in (frame.iloc[:0], [], object(), {"a": []}):
        with pytest.raises(DataError):
            duomo.train(nothing, QUICK, out=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_media_named_in_memory(runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a local user may name files, from the current folder or absolute; bytes serve as well."""
    source = runs.source("digits")
    for label in "01":
        shutil.copytree(source / label, tmp_path / "photos" / label)
    monkeypatch.chdir(tmp_path)
    files = [file for label in "01" for file in sorted((tmp_path / "photos" / label).iterdir())[:15]]
    rows = [{"photo": str(file.relative_to(tmp_path)), "label": file.parent.name} for file in files]
    settings = {"train": {"steps": 2, "exact": True}}
    run = duomo.train(rows, settings, target="label", out="run")
    answer = run.predict([{"photo": str(files[0])}])[0]
    assert answer == run.predict(pd.DataFrame({"photo": [files[0].read_bytes()]})).to_dict("records")[0] | {
        "probabilities": answer["probabilities"]
    }
    assert len(run.predict("photos/0")) == len(list((tmp_path / "photos/0").iterdir()))
    with pytest.raises(DataError, match="no such file"):
        run.predict([{"photo": "nothing.png"}])


class Mine(nn.Module):
    """A module of the user's own."""

    def __init__(self, size: int = 2, name: str = "numbers"):
        super().__init__()
        self.layer, self.name = nn.Linear(6, size), name

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(batch[self.name])


class Pooled(Mine):
    """Its loss alone."""

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return super().forward(batch).mean()


class Pair(Mine):
    def forward(self, batch: dict[str, torch.Tensor]) -> Any:
        return super().forward(batch), None


def test_a_module_of_the_users_own(frame: pd.DataFrame, tmp_path: Path) -> None:
    settings = {"train": {"steps": 4, "exact": True}}
    run = duomo.train(frame, settings, target=None, model=Mine(), out=tmp_path / "own")  # found by its values, as where it is left out
    with pytest.raises(ConfigError, match="module of your own"):
        duomo.load(tmp_path / "own")
    again = duomo.load(tmp_path / "own", model=Mine())
    assert again.predict(frame)["confidence"].tolist() == run.predict(frame)["confidence"].tolist()
    with pytest.raises(RunError, match="must fit"):
        duomo.load(tmp_path / "own", model=Mine(3))
    for wrong, words in ((Mine(3), "put out 2 logits"), (Mine(2, "number"), "The inputs are"), (Mine, "Give an instance"),
                         (Pooled(), r"received Tensor \(\)"), (Pair(), "received tuple")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            duomo.train(frame, settings, target="diagnosis", model=wrong, out=tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
