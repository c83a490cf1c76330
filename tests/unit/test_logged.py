"""Chats kept a message a row are read as conversations; tables that only look so are not."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from duomo import plan
from duomo.asked import Reading
from duomo.core import kinds
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.formats.logged import logged
from duomo.plan import choose


def written(path: Path, rows: list[dict[str, Any]]) -> Table:
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return sources.read(path)


def talks(table: Table) -> list[list[tuple[str, str]]]:
    return [[(one["role"], one["content"]) for one in json.loads(cell)] for cell in table.column("messages").to_pylist()]


PAIR = [("user", "到了吗"), ("assistant", "在路上\n明天到")]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
@pytest.mark.parametrize("names", [
    ("sender", "content", "time", "小明", "我"), ("角色", "内容", "时间", "顾客", "客服小王"),
    ("speaker", "text", "timestamp", "Ann", "Agent 7"),
])  # fmt: skip
def test_messages_are_gathered_up_to_a_silence(tmp_path: Path, ending: str, names: tuple[str, ...]) -> None:
    who, said, when, asks, answers = names
    rows = [{when: f"2023-05-{day:02d} 10:{minute:02d}:00", who: name, said: text} for day in range(1, 9)
            for minute, (name, text) in enumerate(((asks, "到了吗"), (answers, "在路上"), (answers, "明天到")))]  # fmt: skip
    table = written(tmp_path / f"chat{ending}", rows)
    assert talks(table) == [PAIR] * 8 and choose(kinds.infer(table, {}), DataConfig())[0].task == "chat"
    assert "24 messages" in table.problems[0] and repr(answers) in table.problems[0]


def test_chats_that_go_on_at_the_same_time_and_long_ones(tmp_path: Path) -> None:
    rows = [{"session_id": chat, "role": role, "content": f"{role}{turn}{chat}"} for turn in range(15) for role in ("user", "assistant")
            for chat in "ab"]  # fmt: skip
    found = talks(written(tmp_path / "log.jsonl", rows))
    assert [len(talk) for talk in found] == [20, 10, 20, 10]
    assert found[0][:2] == [("user", "user0a"), ("assistant", "assistant0a")] and found[2][0] == ("user", "user0b")


def test_an_export_of_wechat(tmp_path: Path) -> None:
    rows = []
    for n in range(40):
        told = {"IsSender": n % 2, "CreateTime": 1683000000 + 90 * n + 9000 * (n // 4), "Sender": "wxid"}
        rows.append(
            {
                "localId": n,
                "TalkerId": 3,
                **told,
                **({"Type": 3, "StrContent": "<xml/>"} if n % 9 == 2 else {"Type": 1, "StrContent": f"text {n}"}),
            }
        )
    found = talks(written(tmp_path / "chat.csv", rows))
    assert len(found) == 10 and found[0] == [("user", "text 0"), ("assistant", "text 1\ntext 3")]
    assert not any("<xml/>" in text for talk in found for _, text in talk)


@pytest.mark.parametrize("changed", [
    {"intent": ("ask", "tell", "thank")}, {"sender": ("Ann", "Bob")}, {"parent_id": ("1", "2")}, {"content": (1.5, 2, 7)},
    {"path": tuple(f"call/{n}.wav" for n in range(30))}, {"score": tuple(n * 7 % 30 / 8 for n in range(30))},
    {"english": tuple(f"word of {n * 'm'} another" for n in range(30))}, {"改写": tuple(f"换一种说法{n}" for n in range(30))},
])  # fmt: skip
def test_what_is_no_log_stays_a_table(tmp_path: Path, changed: dict[str, tuple[object, ...]]) -> None:
    """Messages that a column sorts, measures or says otherwise, two people of whom none is who answers, trees of answers, numbers,
    recordings."""
    rows = [{"sender": ("Ann", "bot")[n % 2], "content": f"word {n}"} | {name: told[n // 2 % len(told)] for name, told in changed.items()}
            for n in range(60)]  # fmt: skip
    assert written(tmp_path / "table.csv", rows).names == list(rows[0])


def test_what_a_messenger_keeps_beside_a_message_says_nothing_of_it(tmp_path: Path) -> None:
    """Clocks, numbers and names of messages, days in words, the same text with marks, what few of them answer to."""
    rows = [{"sender": ("Ann", "bot")[n % 2], "content": f"word {n}", "ts": 1.7e9 + n + 0.25, "id": n * 7919 % 60,
             "name": ("Ann Lee", "A Bot")[n % 2], "day": f"Mon, 05 Jan 2024 10:{n:02d}:00", "html": f"<p>word {n}</p> or so",
             "to": f"as I said {n}" if n % 3 == 0 else ""} for n in range(60)]  # fmt: skip
    assert written(tmp_path / "table.csv", rows).names == ["messages"]


def test_columns_that_are_asked_for_stay(tmp_path: Path) -> None:
    """A run that learned what sorts the messages answers those that nothing sorts yet."""
    rows = [{"speaker": ("Ann", "agent")[n % 2], "text": f"word {n}", "score": n / 7} for n in range(60)]
    path = tmp_path / "said.csv"
    assert written(path, rows).names == ["messages"]
    assert plan.read(path, DataConfig(target=("score",)), Silent()).names == list(rows[0])
    asked = Reading({"speaker": "category", "text": "text", "score": "number"}, ["speaker", "text"], DataConfig(), None)
    assert written(path, [{name: row[name] for name in ("speaker", "text")} for row in rows]).names == ["messages"]
    assert asked.table(path).names == ["speaker", "text"] and len(asked.table(path)) == 60


def test_what_is_marked_of_each_message_of_two_is_to_be_learned(tmp_path: Path) -> None:
    """Beside a number for each of two speakers a column that sorts all messages is no messenger's own; the kind of a message is."""
    rows = [{"speaker": "FM"[n % 2], "text": f"word {n}", "time": f"2024-01-05 10:{n:02d}:00", "speaker_id": n % 2 + 7} for n in range(60)]
    kinds_of_messages = [row | {"type": ("text", "answer")[n % 7 < 3]} for n, row in enumerate(rows)]
    assert written(tmp_path / "plain.csv", kinds_of_messages).names == ["messages"]
    marked = written(tmp_path / "marked.csv", [row | {"emotion": ("joy", "anger", "none")[n * 7 % 3]} for n, row in enumerate(rows)])
    assert marked.names == [*rows[0], "emotion"]
    told = written(tmp_path / "numbers.csv", [row | {"sarcasm": n * 7 % 5 // 3} for n, row in enumerate(rows)])
    assert told.names == [*rows[0], "sarcasm"]


def test_messages_that_nobody_wrote_are_rows() -> None:
    data = pa.table({"from": pa.array([None] * 12, pa.large_string()), "text": ["a b"] * 12, "date": ["2024-01-05"] * 12})
    assert logged(data) == (data, ())
