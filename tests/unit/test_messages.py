"""What is said: one of a thing is one thing, and a wrong name is told the right one."""

import argparse
import io
import json
import re
import sys

import pyarrow as pa
import pytest

from duomo import cli
from duomo.core import messages
from duomo.core.errors import DataError
from duomo.core.retranslated import retell, retold
from duomo.core.table import Table
from duomo.evaluate.scorecard import SENTENCES
from duomo.serve import schema


@pytest.mark.parametrize(
    ("template", "values", "said"),
    [
        ("{count} lines above the names were left out: {lines}.", {"count": 1, "lines": "x"}, "1 line above the names was left out: x."),
        ("{count} of {rows} rows have a class", {"count": 1, "rows": 47}, "1 of 47 rows has a class"),
        ("{name}: {rows:,} rows, {columns} columns", {"name": "a", "rows": 1, "columns": 2}, "a: 1 row, 2 columns"),
        ("{count} different values in {rows} classes", {"count": 1, "rows": 1}, "1 different value in 1 class"),
        ("row {row} holds {count} boxes", {"row": 1, "count": True}, "row 1 holds True boxes"),
        ("{count} rows are left out", {"count": 0}, "0 rows are left out"),
        (
            "{n} general questions were answered in {s:.0f} s; they are asked again.",
            {"n": 1, "s": 2},
            "1 general question was answered in 2 s; it is asked again.",
        ),
        (
            "{n:,} of {all:,} cells hold bytes that are not UTF-8: lines {lines}.",
            {"n": 1, "all": 3, "lines": "9"},
            "1 of 3 cells holds bytes that are not UTF-8: lines 9.",
        ),
        (
            "{n} pieces are left out, for their times lie behind the end of their pictures.",
            {"n": 1},
            "1 piece is left out, for its times lie behind the end of its pictures.",
        ),
        ("{n:,} pictures do not say who it is: they cannot be read.", {"n": 1}, "1 picture does not say who it is: it cannot be read."),
        ("{n} entries are no classes", {"n": 1}, "1 entry is no class"),
        ("{n} cells of {a!r} are no dates and count as missing.", {"n": 1, "a": "on"}, "1 cell of 'on' is no date and counts as missing."),
    ],
)
def test_one_of_a_thing_is_one_thing(template: str, values: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "en")
    assert messages.tr(template, **values) == said


def test_all_that_is_counted_is_told_of_one() -> None:
    """Behind a place that says how many; what is not counted there stands here."""
    other = {"is", "has", "was", "as", "its", "does", "class", "series", "lists", "ones"}
    behind = re.compile(r"\{(?:count|\w+:,)\}(?: of \{\w+(?::,)?\})?(?: [a-z]+)? ([a-z-]+s)\b")
    nouns = {noun for template in messages.chinese() for noun in behind.findall(template)}
    assert {noun for noun in nouns - other if not re.fullmatch(messages.COUNTED, noun)} == set()


@pytest.mark.parametrize("wrong", ["'y'", " y ", "Y", '"y"', "“y”"])
def test_what_shells_and_hands_put_around_a_name_does_not_hide_it(wrong: str) -> None:
    assert "'y'" in messages.nearest(wrong, ["x1", "y", "z"])


@pytest.mark.parametrize(("wrong", "right"), [("分类", "classify"), ("数字", "number"), ("学习率", "learning_rate")])
def test_what_is_shown_in_chinese_is_found_by_its_chinese(wrong: str, right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "zh")
    assert repr(right) in messages.nearest(wrong, ["classify", "number", "text", "learning_rate", "chat"])


def test_what_is_said_of_json_that_is_none_is_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "zh")
    with pytest.raises(json.JSONDecodeError) as fault:
        json.loads("{“年龄”：35}")
    assert "第 1 行第 2 个字符处" in messages.tr("{file}: {why}", file="a", why=fault.value)


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_help_is_chinese_wherever_a_person_reads_it(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "zh")
    parser = cli._parser([verb])
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    shown = verbs.choices.get(verb, parser)
    said = [action.help for action in shown._actions] + [shown.description]
    said += [group.description for group in shown._action_groups] + ([str(shown.epilog)] if not verb else [])
    english = [one for one in said if one and not re.search("[\u4e00-\u9fff]", one)]
    assert not english, english


def test_the_servers_routes_are_told_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "zh")
    facts = {"task": "classify", "columns": {"age": "number"}, "media": [], "verbs": ["chat", "complete", "embed", "hear"]}
    paths = schema.document({"clinic": facts})["paths"]
    told = {route: operation["summary"] for route, verbs in paths.items() for operation in verbs.values()}
    assert "/v1/chat/completions" in told and not [route for route, one in told.items() if not re.search("[\u4e00-\u9fff]", one)]


def test_what_was_said_in_one_language_is_retold_in_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its template: counts of one, quotes and thousands, values that are sentences themselves, several sentences; the rest stays."""
    said = [
        ("{rows:,} of them were answered by a former start.", {"rows": 65536}),
        ("Column {name!r} is read as {known!r}, which the model learned from.", {"name": "foto: a, b.", "known": "image"}),
        ("{count} documents are not read ({names}). Write texts of them with {programs}.", {"count": 1, "names": "a.doc", "programs": "x"}),
        ('A row must be a JSON object such as {{"age": 41}}; received {row!r}.', {"row": "[]"}),
        ("could not be fitted: {error}", {"error": "?"}),
    ]
    told = {}
    for language in ("en", "zh"):
        monkeypatch.setenv("DUOMO_LANG", language)
        inner = messages.tr("Nothing arrived. Drop a file or a folder that is not empty.")
        told[language] = [messages.tr(template, **({"error": inner} if "error" in values else values)) for template, values in said]
        told[language].append(messages.together(told[language][:2]))
    for language, other in (("en", "zh"), ("zh", "en")):
        monkeypatch.setenv("DUOMO_LANG", language)
        assert [retold(text) for text in told[other]] == told[language] == [retold(text) for text in told[language]]
        for text in ("", "She works in Berlin. Nice!", "春眠不觉晓，处处闻啼鸟。", "accuracy of 3 rows", "a " * 5000):
            assert retold(text) == text
    assert retell({"title": "3, taken for 5 (12)"}, SENTENCES) == {"title": "3，被当作 5（12）"}
    assert retell({"note": told["en"][0], "name": told["en"][0]}, ("note",)) == {"note": told["zh"][0], "name": told["en"][0]}


def test_a_terminal_without_a_place_for_a_sign_shows_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="gbk"))
    assert cli.main(["--version"]) == 0
    print("春风 🙂", flush=True)
    assert shown.getvalue().decode("gbk").endswith("春风 \\U0001f642\n")


def test_the_names_of_files_are_no_hint_beside_what_lies_in_them():
    """Nobody who asks for a title of pictures means the names of their files."""
    with pytest.raises(DataError) as refused:
        Table(pa.table({"image": ["a.png"], "file": ["a.png"], "sort": ["x"]})).column("title")
    assert "Did you mean" not in str(refused.value)
    with pytest.raises(DataError, match="'file'"):
        Table(pa.table({"file": ["a"], "sort": ["x"]})).column("title")
