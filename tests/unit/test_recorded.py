"""Folders of JSON objects, a file each, and what lies beside texts; columns that only tell where a row stands; dashes for classes."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.find import make_task
from duomo.core.recipe import DataConfig
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.audit import propose
from duomo.data.split import split
from duomo.plan import choose


def put(path: Path, found: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False), "utf-8")


def passage(number: int) -> dict:
    return {"article": f"They walked {number} miles.", "questions": ["Who?", "Where?"], "options": [["a", "b"], ["c", "d"]],
            "answers": ["A", "B"], "id": f"{number}.txt"}  # fmt: skip


def test_a_file_for_each_object_is_a_row(tmp_path: Path) -> None:
    """As RACE keeps passages: JSON in .txt, in folders of parts and of classes."""
    for part, count in {"train": 12, "dev": 4, "test": 4}.items():
        for place in range(count):
            put(tmp_path / part / ("high", "middle")[place % 2] / f"{place}.txt", passage(place))
    put(tmp_path / "README.md", "# About\n")
    put(tmp_path / "train" / "high" / "notes.txt", "No object.")
    table = sources.read(tmp_path)
    assert len(table) == 20 and {"article", "questions", "label", "file"} <= {*table.names}
    assert table.column("file")[0].as_py() == "dev/high/0.txt" and table.kinds["label"] == "category"
    assert any("no records as the others" in said and "notes.txt" in said for said in table.problems)
    found = split(kinds.infer(table, {}), DataConfig(split="folders"), 0)
    assert list(map(len, (found.train, found.valid, found.test))) == [12, 4, 4]


def test_objects_without_classes_and_conversations(tmp_path: Path) -> None:
    for place in range(6):
        put(tmp_path / "news" / f"{place}.json", {"title": f"Cup {place}", "text": "They won.", "meta": {"year": 2000 + place}})
        talk = [{"role": "user", "content": f"Hi {place}"}, {"role": "assistant", "content": "Hello."}]
        put(tmp_path / "talks" / f"{place}.json", {"id": place, "messages": talk})
        put(tmp_path / "tables" / f"{place}.json", {"a": [1, 2], "b": [3, 4]})
    news = sources.read(tmp_path / "news")
    assert news.names == ["title", "text", "meta.year", "file"] and news.column("meta.year").to_pylist()[5] == 2005
    assert choose(kinds.infer(sources.read(tmp_path / "talks"), {}), DataConfig(task="chat"))[0].task == "chat"
    with pytest.raises(DataError, match="several tables"):
        sources.read(tmp_path / "tables")


def test_what_lies_beside_texts_is_said(tmp_path: Path) -> None:
    words = "One sentence stands here. " * 40
    texts = ("a.txt", "b.txt", "e.txt", "f.txt", "c.md", "d.html")
    for name in texts:
        put(tmp_path / name, words)
    put(tmp_path / "run.py", "import os\n" * 40)
    put(tmp_path / "more.jsonl", "\n".join(json.dumps({"text": words}) for _ in range(5)))
    table = sources.read(tmp_path)
    assert {*table.column("file").to_pylist()} == {*texts}
    assert any("of other endings" in said and "run.py" in said for said in table.problems)
    assert any("beside the texts" in said and "more.jsonl" in said for said in table.problems)
    rows = "\n".join(json.dumps({"text": f"{words} {place}"}) for place in range(5))
    for name in ("train.jsonl", "test.jsonl"):
        put(tmp_path / "parts" / name, rows)
    put(tmp_path / "parts" / "notes.txt", words * 90)
    table = sources.read(tmp_path / "parts")
    assert len(table) == 10 and any("beside" in said and "notes.txt" in said for said in table.problems)


def pairs(**beside: list) -> Table:
    rows = len(next(iter(beside.values())))
    said = [f"The {'large ' * (row % 7)}house number {row} stands by the river" for row in range(rows)]
    meant = [f"第{row}号{'大' * (row % 7)}房子在河边" for row in range(rows)]
    return kinds.infer(Table(pa.table({**beside, "src": said, "tgt": meant})), {})


@pytest.mark.parametrize(
    "beside",
    [
        {"doc_id": [f"doc{row // 6:03d}" for row in range(60)], "seg": [row % 6 + 1 for row in range(60)]},
        {"document": [f"news-{row // 6}" for row in range(60)]},
        {"corpus": ["opus"] * 60, "lang": ["en-zh"] * 60},
    ],
)
def test_where_a_row_stands_is_no_target(beside: dict) -> None:
    found, _ = choose(pairs(**beside), DataConfig())
    assert (found.task, found.target) == ("translate", ("tgt",))
    task = make_task("translate", {"target": ("tgt",)})
    task.usable(table := pairs(**beside))
    task.fit(table)
    assert task.pairs.names.source == "src"


def test_sentences_of_a_document_stay_together() -> None:
    table = pairs(doc_id=[f"doc{row // 6:03d}" for row in range(60)])
    assert propose(table, "tgt")[0].group == "doc_id"


def test_a_class_beside_two_texts_is_the_target() -> None:
    table = pairs(label=["good" if row * row % 7 > 2 else "bad" for row in range(60)])
    assert choose(table, DataConfig())[0].target == ("label",)


def test_a_dash_among_words_is_no_class() -> None:
    said = ["-" if row % 30 == 7 else ("yes", "no", "maybe")[row % 3] for row in range(90)]
    table = Table(pa.table({"text": ["word"] * 90, "label": said}), {"text": "text", "label": "category"})
    task = make_task("classify", {"target": ("label",)})
    mask, words = task.usable(table)
    assert mask.sum() == 87 and "3 of 90 rows have no 'label'" in words[0] and "a dash" in words[1]
    task.fit(table.take(mask.nonzero()[0]))
    assert task.labels.classes == [["maybe", "no", "yes"]] and task.usable(table)[0].sum() == 87
    signs = Table(pa.table({"text": ["word"] * 90, "label": ["-" if row % 30 == 7 else "+" for row in range(90)]}), table.kinds)
    assert make_task("classify", {"target": ("label",)}).usable(signs)[0].all()
