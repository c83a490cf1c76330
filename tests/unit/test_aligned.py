"""Translations that lie side by side, line by line."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from duomo.core.errors import DataError
from duomo.data import sources, split
from duomo.data import spill as caches


def written(folder: Path, texts: Mapping[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_texts_side_by_side_are_pairs_and_their_names_tell_the_parts(tmp_path: Path) -> None:
    texts = {
        f"{part}.{language}": f"{language} {part} one\n\n{language} two\n"
        for part in ("train", "newstest2014")
        for language in ("en", "zh")
    }
    table = sources.read(written(tmp_path, texts))
    assert table.names == ["en", "zh", "split"] and len(table) == 4  # what is empty on both sides is no pair
    assert table.data.slice(2, 1).to_pylist() == [{"en": "en train one", "zh": "zh train one", "split": "train"}]
    assert split.told(table) == "split" and table.kinds["en"] == table.kinds["zh"] == "text"


def test_a_corpus_of_opus_with_what_accompanies_it(tmp_path: Path) -> None:
    texts = {"GNOME.de-pt_BR.de": "Ja\nNein\n", "GNOME.de-pt_BR.pt_BR": "Sim\n\n", "README": "From OPUS.", "LICENSE": "Free."}
    table = sources.read(written(tmp_path, texts))
    assert table.data.to_pylist() == [{"de": "Ja", "pt_BR": "Sim"}, {"de": "Nein", "pt_BR": None}]


def test_several_texts_of_no_known_part_keep_their_names(tmp_path: Path) -> None:
    table = sources.read(written(tmp_path, {"a.en.txt": "x\n", "a.fr.txt": "y\n", "b.en.txt": "z\n", "b.fr.txt": "w\n", "b.de.txt": "v\n"}))
    assert table.data.to_pylist() == [{"en": "x", "fr": "y", "file": "a"}, {"en": "z", "fr": "w", "file": "b"}]


def test_a_line_that_has_no_other_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.fr ends before line 2, a\.en goes on"):
        sources.read(written(tmp_path, {"a.en": "one\ntwo\n", "a.fr": "un\n"}))


def test_texts_in_one_language_are_texts(tmp_path: Path) -> None:
    table = sources.read(written(tmp_path, {"a.en.txt": "One text.\n" * 9, "b.en.txt": "Another.\n" * 9}))
    assert table.names == ["text", "file"]


def test_a_large_corpus_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "LARGE", 100)
    texts = {f"train.{language}": "".join(f"{language} {number}\n" for number in range(500)) for language in ("en", "fr")}
    table = sources.read(written(tmp_path / "data", texts), cache=tmp_path / "cache")
    assert len(table) == 500 and list((tmp_path / "cache").rglob("*aligned*")) and table.data.column("fr")[499].as_py() == "fr 499"


def test_bars_between_source_and_target(tmp_path: Path) -> None:
    written(
        tmp_path,
        {"pairs.txt": "the house ||| das Haus\n\na | b ||| c\n", "table.txt": "a ||| b ||| 0.5\n", "plain.txt": "a ||| b\nno bar\n"},
    )
    assert sources.read(tmp_path / "pairs.txt").data.to_pylist() == [
        {"source": "the house", "target": "das Haus"}, {"source": "a | b", "target": "c"},
    ]  # fmt: skip
    assert sources.read(tmp_path / "table.txt").names == ["source", "target", "part 3"]
    assert "text" in sources.read(tmp_path / "plain.txt").names
    written(tmp_path, {"late.txt": "a ||| b\n" * 200 + "alone\n"})
    with pytest.raises(DataError, match=r"line 201 of late\.txt has 1, the first has 2"):
        sources.read(tmp_path / "late.txt")
