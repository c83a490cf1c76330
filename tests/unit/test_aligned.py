"""Translations that lie side by side, line by line."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.recipe import DataConfig
from duomo.data import partition, sources
from duomo.data import spill as caches
from duomo.data.formats import aligned
from duomo.plan import choose


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
    assert partition.told(table) == "split" and table.kinds["en"] == table.kinds["zh"] == "text"


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


def test_a_return_within_a_line_shifts_nothing_and_blank_ends_pass(tmp_path: Path) -> None:
    written(tmp_path, {"t.en": "one\rA\r\ntwo\r\nthree\n\n", "t.fr": "un\ndeux\rB\ntrois\n"})
    found = sources.read(tmp_path).data.to_pydict()
    assert [cell.split()[0] for cell in found["en"]] == ["one", "two", "three"]
    assert [cell.split()[0] for cell in found["fr"]] == ["un", "deux", "trois"]


@pytest.mark.parametrize(("names", "columns"), [
    (("en.txt", "zh.txt"), ["en", "zh"]), (("zh-CN.txt", "en.txt"), ["en", "zh-CN"]), (("train_en.txt", "train_zh.txt"), ["en", "zh"]),
    (("src-train.txt", "tgt-train.txt"), ["source", "target"]), (("train.source", "train.target"), ["source", "target"]),
    (("source.txt", "target.txt"), ["source", "target"]), (("english.txt", "french.txt"), ["english", "french"]),
    (("中文.txt", "英文.txt"), ["中文", "英文"]), (("en/train.txt", "zh/train.txt"), ["en", "zh"]),
])  # fmt: skip
def test_names_that_tell_the_sides(tmp_path: Path, names: tuple[str, str], columns: list[str]) -> None:
    texts = {name: "".join(f"{name} has the line {number}.\n" for number in range(40)) for name in names}
    table = sources.read(written(tmp_path, texts | {"readme.txt": "About."}))
    assert table.names == columns and len(table) == 40
    assert choose(kinds.infer(table, {}), DataConfig())[0].task == "translate"


def test_parts_of_a_corpus_are_no_column_to_translate(tmp_path: Path) -> None:
    texts = {f"{side}-{part}.txt": "".join(f"{side} {part} {number} says so.\n" for number in range(30))
             for side in ("src", "tgt") for part in ("train", "val")}  # fmt: skip
    table = sources.read(written(tmp_path, texts))
    found = choose(kinds.infer(table, {}), DataConfig())[0]
    assert table.names == ["source", "target", "split"] and (found.task, found.target) == ("translate", ("target",))


TEXTS = {
    "class folders": {f"{language}/{number}.txt": f"{language} {number}\n" * 3 for language in ("en", "fr") for number in range(9)},
    "words that are no sides": {f"{word}_cat.txt": f"{word}\n" * number for number, word in enumerate(("no", "my", "his", "her"), 3)},
    "few among many": {f"{number}.txt": "A text.\n" * 9 for number in range(5)} | {"x.en.txt": "x\n", "x.fr.txt": "y\n"},
    "what is about the others": {"a.txt": "One.\n" * 9, "README.en.txt": "x\n", "README.zh.txt": "y\n"},
    "programs": {"main.pl": "print 1;\n" * 9, "main.cs": "class A {}\n"},
    "no regions": {"run.no_dropout.txt": "a\n" * 9, "run.no_norm.txt": "b\n" * 9},
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_only_looks_like_languages_stays_texts(case: str, tmp_path: Path) -> None:
    table = sources.read(written(tmp_path, TEXTS[case]))
    assert "text" in table.names and len(set(table.column("file").to_pylist())) == len(TEXTS[case])


def test_documents_of_unlike_lines_stay_texts_and_it_is_said(tmp_path: Path) -> None:
    table = sources.read(written(tmp_path, {"1.en.txt": "One.\nTwo.\n", "1.de.txt": "Eins und zwei.\n"}))
    assert "text" in table.names and any("unlike numbers of lines" in problem for problem in table.problems)


def test_lines_of_unlike_lengths_are_no_translations(tmp_path: Path) -> None:
    """hr.txt and it.txt of a company are its departments, not Croatian and Italian, though they have as many lines."""
    for seed, name in enumerate(("hr", "it")):
        times = np.random.default_rng(seed).integers(1, 13, 200)
        (tmp_path / f"{name}.txt").write_text("".join(f"{'ask again ' * many}\n" for many in times))
    table = sources.read(tmp_path)
    assert "text" in table.names and any("long lines beside short ones" in problem for problem in table.problems)


def test_only_whole_words_name_a_part(tmp_path: Path) -> None:
    texts = {f"{stem}.{language}": f"{language}\n" for stem in ("train", "latest", "contest") for language in ("en", "fr")}
    assert sources.read(written(tmp_path, texts)).names == ["en", "fr", "file"]


def test_texts_in_one_language_are_texts(tmp_path: Path) -> None:
    table = sources.read(written(tmp_path, {"a.en.txt": "One text.\n" * 9, "b.en.txt": "Another.\n" * 9}))
    assert table.names == ["text", "file"]


def test_a_large_corpus_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "LARGE", 100)
    texts = {f"train.{language}": "".join(f"{language} {number}\n" for number in range(500)) for language in ("en", "fr")}
    table = sources.read(written(tmp_path / "data", texts), cache=tmp_path / "cache")
    monkeypatch.setattr(aligned, "_together", None)  # from now on it lies there
    again = sources.read(tmp_path / "data", cache=tmp_path / "cache")
    assert again.data.equals(table.data)
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
    written(tmp_path, {"one.txt": "if (a ||| b) {}\n"})
    assert "text" in sources.read(tmp_path / "one.txt").names
    (tmp_path / "wide.txt").write_text("a ||| b\nc ||| d\n", encoding="utf-16")
    assert sources.read(tmp_path / "wide.txt").names == ["source", "target"]
    written(tmp_path, {"late.txt": "a ||| b\n" * 200 + "alone\n"})
    with pytest.raises(DataError, match=r"line 201 of late\.txt has 1, the first has 2"):
        sources.read(tmp_path / "late.txt")
