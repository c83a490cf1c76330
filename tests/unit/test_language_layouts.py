"""Language data under other endings and in other layouts than the plainest: what they hold is seen, and which task they are for."""

import gettext
import json
import struct

import numpy as np
import pytest

from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.recipe import DataConfig
from duomo.data import sources
from duomo.data.audit import audit
from duomo.plan import choose

CATALOGUE = {"": "Content-Type: text/plain; charset=UTF-8\n", "Open": "打开", "menu\4Save": "保存", "%d file\0%d files": "%d 个文件"}


def catalogue(order: str = "<", **changed: int) -> bytes:
    keys = sorted(CATALOGUE)
    texts = [[key.encode() for key in keys], [CATALOGUE[key].encode() for key in keys]]
    place, tables, body = 28 + 16 * len(keys), [], b""
    for column in texts:
        for text in column:
            tables += [len(text), place + len(body)]
            body += text + b"\0"
    head = {"magic": 0x950412DE, "revision": 0, "count": len(keys), "one": 28, "two": 28 + 8 * len(keys), "size": 0, "hash": 0} | changed
    return struct.pack(f"{order}7I", *head.values()) + struct.pack(f"{order}{len(tables)}I", *tables) + body


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_compiled_catalogue(tmp_path, order) -> None:
    (tmp_path / "zh.mo").write_bytes(catalogue(order))
    with (tmp_path / "zh.mo").open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("Open") == "打开"
    table = sources.read(tmp_path / "zh.mo")
    pairs = list(zip(table.column("source").to_pylist(), table.column("target").to_pylist(), strict=True))
    assert pairs == [("%d file", "%d 个文件"), ("%d files", "%d 个文件"), ("Open", "打开"), ("Save", "保存")]
    assert plan(table).task == "translate"


@pytest.mark.parametrize("changed", [{"count": 1 << 31}, {"one": 1 << 31}, {"two": 30}, {"magic": 1}])
def test_a_lying_catalogue(tmp_path, changed) -> None:
    (tmp_path / "zh.mo").write_bytes(catalogue(**changed))
    with pytest.raises(DataError, match="gettext"):
        sources.read(tmp_path / "zh.mo")


def plan(table) -> DataConfig:
    return choose(kinds.infer(table, {}), DataConfig())[0]


SENTENCES = [(["王", "明", "在", "北", "京"], ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]), (["他", "说"], ["O", "O"])] * 8
WORDS = "[中央/n 电台/n]nt 在/p 北京/ns 报道/v\n他/r 说/v 好/a\n"


def test_tags_in_plain_text(tmp_path) -> None:
    rows = "\n\n".join("\n".join(" ".join(pair) for pair in zip(*sentence, strict=True)) for sentence in SENTENCES)
    (tmp_path / "train.txt").write_text(f"-DOCSTART- O\n\n{rows}\n", encoding="utf-8")
    table = sources.read(tmp_path / "train.txt")
    assert [json.loads(cell) for cell in table.column("tags").to_pylist()] == [tags for _, tags in SENTENCES] and plan(table).task == "tag"
    (tmp_path / "people.txt").write_text(WORDS * 5, encoding="utf-8")
    table = sources.read(tmp_path / "people.txt")
    assert json.loads(table.column("tokens")[0].as_py()) == ["中央", "电台", "在", "北京", "报道"] and plan(table).task == "tag"
    prose = "I/O and and/or are words. Nothing else is here, BIO or O.\n\nO\n" * 40
    (tmp_path / "prose.txt").write_text(prose, encoding="utf-8")
    assert sources.read(tmp_path / "prose.txt").kinds["text"] == "text"


def test_tasks_told_by_their_columns() -> None:
    text = [f"words of text number {number}" for number in range(30)]
    for names, task, target in [
        (("de", "en"), "translate", ("en",)), (("zh-CN", "ja"), "translate", ("ja",)),
        (("anchor", "positive", "negative"), "embed", ("positive",)),
        (("instruction", "input", "output"), "chat", ()),
    ]:  # fmt: skip
        found = plan(sources.read({name: [f"{cell} {name}" for cell in text] for name in names}))
        assert (found.task, found.target) == (task, target)
    table = kinds.infer(sources.read({"de": text, "en": [cell[::-1] for cell in text]}), {})
    assert [choose(table, DataConfig(target=(name,)))[0].task for name in ("en", "de")] == ["translate", "classify"]
    spans = [json.dumps([{"start": 0, "end": 5, "label": "X"}] if number % 2 else []) for number in range(30)]
    found = plan(sources.read({"text": text, "entities": spans}))
    assert (found.task, found.target) == ("tag", ("entities",))


def test_source_texts_of_a_folder(tmp_path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("one.py", "two.c", "inner/three.rs"):
        (tmp_path / name).write_text(f"# {name}\n\n    kept as it is\n")
    (tmp_path / "data.bin").write_bytes(b"\0\1")
    table = sources.read(tmp_path)
    assert table.names == ["text", "file"] and len(table) == 3 and "\n\n    kept" in table.column("text")[0].as_py()
    assert sources.read(tmp_path / "one.py").column("text")[0].as_py().startswith("# one.py")


def test_rows_are_alike_by_their_tokens() -> None:
    rng = np.random.default_rng(0)
    tokens = [[f"w{number}" for number in rng.integers(0, 5000, 12)] for _ in range(60)]
    cells = {"tokens": [json.dumps(row) for row in tokens], "features": [json.dumps(["Gender=Masc|Number=Sing"] * 12)] * 60,
             "tags": [json.dumps(["N", "V"] * 6)] * 60}  # fmt: skip
    table = kinds.infer(sources.read(cells), dict.fromkeys(cells, "text"))
    assert not [finding for finding in audit(table, "tags").findings if finding.code == "near_duplicates"]
