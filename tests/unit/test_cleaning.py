"""What cleaning leaves out, on real texts with planted faults."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from duomo import samples
from duomo.core.errors import ConfigError, DataError
from duomo.core.recipe import CleanConfig
from duomo.core.table import Table
from duomo.data import cleaning
from duomo.data.near_duplicates import near_texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("samples")
    found = {}
    for name, language in (("pinglun", "zh"), ("reviews", "en")):
        with Path(samples.write(name, folder)).open(newline="", encoding="utf-8") as file:
            found[language] = [row["text"] for row in csv.DictReader(file)]
    return found


def table(rows: list[str]) -> Table:
    return Table(pa.table({"text": pa.array(rows, pa.large_string())}), {"text": "text"})


def kept(rows: list[str], **settings: object) -> tuple[list[str], list[str]]:
    left, said = cleaning.clean(table(rows), CleanConfig(**settings))  # type: ignore[arg-type]
    return left.column("text").to_pylist(), said


def test_nothing_is_left_out_unasked(texts: dict[str, list[str]]) -> None:
    rows = texts["zh"][:50] * 2 + [""]
    assert kept(rows) == (rows, [])


@pytest.mark.parametrize(("wanted", "other"), [("zh", "en"), ("en", "zh")])
def test_languages(texts: dict[str, list[str]], wanted: str, other: str) -> None:
    long = {language: [text for text in rows if len(text) > 40][:150] for language, rows in texts.items()}
    left, (said,) = kept(long[wanted] + long[other], languages=(wanted,))
    assert set(left).isdisjoint(long[other])
    assert len(left) >= 0.98 * len(long[wanted])
    assert f"{other} " in said
    assert long[other][0][:20] in said


def test_a_classical_poem_is_chinese_and_a_number_is_nothing() -> None:
    assert cleaning.language_of("床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。") == "zh"
    assert cleaning.language_of("今日は天気がいいですね。散歩に行きましょう。") == "ja"
    assert cleaning.language_of("12345 ---") == ""
    assert cleaning.language_of(None) == ""


def test_duplicates_exact_and_near(texts: dict[str, list[str]]) -> None:
    """Planted copies all go, planted near-copies nearly all, and hardly anything else."""
    for language, rows in texts.items():
        rows = list(dict.fromkeys(text for text in rows if len(text) > 60))[:400]
        near = [text[: len(text) // 2] + ("。" if language == "zh" else ", ") + text[len(text) // 2 :] + "!" for text in rows[:100]]
        whole = rows + near + rows[100:150]
        exact, _ = kept(whole, duplicates="exact")
        assert len(exact) == len(rows) + len(near)
        left, said = kept(whole, duplicates="near")
        assert sum(text in set(near) for text in left) <= 5
        assert len(set(rows) & set(left)) >= 0.99 * len(rows)
        assert said
        assert "50 of" in said[0]


def test_near_texts_looks_at_all_when_asked(texts: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are looked at one after the other find the pairs that one look finds."""
    rows = [text for text in texts["zh"] if len(text) > 60][:300]
    cells = pa.chunked_array([pa.array([*rows, *(text + "。" for text in rows[:40])], pa.large_string())])
    at_once = near_texts(cells)
    monkeypatch.setattr("duomo.data.near_duplicates.MOST_LETTERS", 2000)
    assert np.array_equal(np.unique(near_texts(cells, most=None), axis=0), np.unique(at_once, axis=0))
    assert len(near_texts(cells, most=2000)) < len(at_once)


def test_lengths_and_circles() -> None:
    rows = ["short", "a text of a sensible length that says one thing after another", "over and over again and " * 40, "x" * 500]
    left, said = kept(rows, fewest_characters=10, repetition=0.5)
    assert left == [rows[1]]
    assert len(said) == 2
    assert kept(rows, most_characters=100)[0] == rows[:2]


def test_mistakes_are_told() -> None:
    with pytest.raises(ConfigError, match="zh or en; received 'zhh'"):
        kept(["ein Text"], languages=("zhh",))
    with pytest.raises(DataError, match="left nothing"):
        kept(["a", "b"], fewest_characters=5)
    with pytest.raises(ConfigError, match="none of the columns"):
        cleaning.clean(Table(pa.table({"n": [1, 2]}), {"n": "number"}), CleanConfig(duplicates="exact"))
