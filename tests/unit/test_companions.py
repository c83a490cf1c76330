"""Texts that come with data do not take its place."""

import zipfile
from pathlib import Path

import pytest

from duomo.core import kinds
from duomo.data.folders.companions import is_named
from duomo.data.sources import read

TABLE = "x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(30))


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("texts", [
    {"readme.txt": "About these data."}, {"LICENSE.txt": "MIT " * 9000, "说明.txt": "数据说明。"},
    {"data_description.txt": "x: a\n" * 9000},
    {"columns.txt": "x is a number", "todo.txt": "none"}, {f"README-{number}.txt": "words" for number in range(9)},
])  # fmt: skip
@pytest.mark.parametrize("place", ["data.csv", "inside/data.csv"])
def test_a_table_among_texts_about_it(tmp_path: Path, texts: dict[str, str], place: str) -> None:
    root = put(tmp_path / "folder", texts | {place: TABLE})
    with zipfile.ZipFile(tmp_path / "folder.zip", "w") as archive:
        for name in (*texts, place):
            archive.write(root / name, name)
    for source in (root, tmp_path / "folder.zip"):
        table = read(source, cache=tmp_path / "cache")
        assert table.names == ["x", "y"] and len(table) == 30
        assert "about the data" in table.problems[0] and min(texts) in table.problems[0]


def test_texts_stay_texts(tmp_path: Path) -> None:
    novels = {f"novel {number}.txt": f"Chapter {number}. " + "It was a dark night. " * 1500 for number in range(3)}
    for more in ({}, {"index.csv": TABLE}, {"readme.txt": "From the web."}):
        table = read(put(tmp_path / f"novels{len(more)}{''.join(more)}", novels | more))
        assert "text" in table.names and "x" not in table.names
    poems = {f"{number}.txt": f"a short poem, number {number}" for number in range(6)}
    assert len(read(put(tmp_path / "poems", poems | {"index.csv": TABLE}))) == 6
    alone = read(put(tmp_path / "alone", {"readme.txt": "only this is here"}))
    assert alone.column("file").to_pylist() == ["readme.txt"]
    code = read(
        put(tmp_path / "code", {"package.json": '{"name": "a"}', "requirements.txt": "numpy", "a.py": "x = 1\n", "b.py": "y = 2\n"})
    )
    assert code.column("file").to_pylist() == ["a.py", "b.py"]


def test_class_folders_below_a_readme(tmp_path: Path) -> None:
    texts = {f"{label}/{number}.txt": f"{label} words {number}" for label in ("bad", "good") for number in range(5)}
    plain = read(put(tmp_path / "plain", texts))
    table = kinds.infer(read(put(tmp_path / "told", texts | {"readme.txt": "Two classes."})), {})
    assert table.data.equals(plain.data) and table.kinds["label"] == "category"
    assert plain.problems == () and "readme.txt" in table.problems[0]


def test_names() -> None:
    for name in (
        "README.txt",
        "read_me.txt",
        "a/License.txt",
        "licence-MIT.txt",
        "data description.txt",
        "CHANGELOG.txt",
        "数据说明.txt",
        "自述文件.txt",
    ):
        assert is_named(name), name
    for name in ("reading.txt", "about love.txt", "noticed.txt", "terms of endearment.txt", "红楼梦.txt", "说明书的历史.txt"):
        assert not is_named(name), name
