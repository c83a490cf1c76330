"""Chats as messengers export them to a text."""

import json
import re
from pathlib import Path

import pytest

from duomo.core import kinds
from duomo.core.recipe import DataConfig
from duomo.data import sources
from duomo.data.formats import messengers
from duomo.plan import choose

TALK = [("Anna", "Where are you?"), ("Ben", "At home: it rains\nvery much"), ("Anna", "Come over"), ("Ben", "In an hour"),
        ("Anna", "Bring bread"), ("Ben", "And milk?")]  # fmt: skip
FORMS = {
    "iphone": ("[{d}/{m}/21, {h}:15:22] {who}: {text}", "[12/03/21, 9:00:00] Anna: \u200eMessages are end-to-end encrypted."),
    "iphone12": ("[{m}/{d}/21, {h}:15:22\u202fAM] ~ {who}: {text}", ""),
    "android": ("{d}/{m}/2021, {h}:15 - {who}: {text}", "12/03/2021, 09:00 - Messages to this chat are secured."),
    "german": ("{d}.{m}.21, {h}:15 - {who}: {text}", ""),
    "chinese": ("2021年{m}月{d}日 上午{h}:15 - {who}: {text}", ""),
    "discord": ("[{m:02}/{d}/2021 {h}:15 AM] {who}\n{text}\n", "=======\nGuild: Home\nChannel: Kitchen\n=======\n"),
    "qq": ("2021-{m:02}-{d} {h}:15:22 {who}(12345)\n{text}\n", "消息记录\n================\n消息对象:Ben\n"),
}


def written(form: str, days: int = 5) -> str:
    line, head = FORMS[form]
    lines = [line.format(d=12 + day, m=3, h=10, who=who, text=text) for day in range(days) for who, text in TALK]
    gone = line.format(d=12 + days, m=3, h=10, who="Anna", text="[图片]" if form in ("qq", "discord") else "<Media omitted>")
    return "\n".join([*([head] if head else []), *lines, gone]) + "\n"


@pytest.mark.parametrize("form", FORMS)
def test_a_chat_of_two(tmp_path: Path, form: str) -> None:
    """Of two the one who did not begin answers, and that is said; a day is a conversation."""
    (tmp_path / "chat.txt").write_text(written(form))
    table = sources.read(tmp_path / "chat.txt")
    talks = [json.loads(cell) for cell in table.column("messages").to_pylist()]
    assert len(talks) == 5 and [(one["role"], one["content"]) for one in talks[0]] == [
        ("user" if who == "Anna" else "assistant", text) for who, text in TALK
    ]
    said = " ".join(table.problems)
    assert "'Ben' is who answers" in said and "call that one «me»" in said
    assert choose(kinds.infer(table, {}), DataConfig())[0].task == "chat"
    (tmp_path / "chat.txt").write_text(written(form).replace("Anna", "me"))
    assert "'me' is who answers" in " ".join(sources.read(tmp_path / "chat.txt").problems)


def test_a_chat_of_many_and_a_log(tmp_path: Path) -> None:
    lines = [f"[12/03/21, 10:{n:02}:22] {('Anna', 'Ben', 'Cleo')[n % 3]}: message {n}" for n in range(40)]
    (tmp_path / "chat.txt").write_text("\n".join(lines))
    table = sources.read(tmp_path / "chat.txt")
    assert table.names == ["time", "sender", "text"] and table.column("text").to_pylist()[1] == "message 1"
    for line in ("2021-03-12 10:{n:02}:22 - {level}: started {n}", "2021-03-12 10:{n:02}:22 {who}: started {n}"):
        lines = [line.format(n=n, level=("INFO", "ERROR")[n % 2], who=("cron", "kernel", "sshd")[n % 3]) for n in range(40)]
        (tmp_path / "log.txt").write_text("\n".join(lines))
        assert "sender" not in sources.read(tmp_path / "log.txt").names
    lines = [f"[2021-03-12 10:{n:02}:22] Query {n}\n  SELECT {n} FROM table" for n in range(40)]
    (tmp_path / "log.txt").write_text("\n".join(lines))
    assert "sender" not in sources.read(tmp_path / "log.txt").names


def test_lists_of_what_was_said_in_turn(tmp_path: Path) -> None:
    """As UltraChat has them; lists of sentences are none."""
    rows = [{"id": str(n), "data": [f"What is {n}?", "It is a number.", "Tell me more.", "It comes next."][: 2 + 2 * (n % 2)]}
            for n in range(20)]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = kinds.infer(sources.read(tmp_path / "a.jsonl"), {})
    assert choose(table, DataConfig())[0].task == "chat" and "'data' lists what was said in turn" in " ".join(table.problems)
    for changed in ({"data": ["One thing is so.", "It is.", "And so it was."]}, {"label": "a"}):
        (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(row | changed) for row in rows))
        assert "conversation" not in sources.read(tmp_path / "b.jsonl").names


def test_the_log_of_a_program_is_no_chat() -> None:
    lines = [f"[2021-03-12 10:15:{n:02}] local.{'ERROR' if n % 3 else 'INFO'}: Request {n} failed at home" for n in range(40)]
    assert not messengers.is_chat(lines) and messengers.is_chat(
        [line.replace("local.ERROR", "Anna").replace("local.INFO", "Ben") for line in lines]
    )
    for one, two in (("sshd[12]", "cron[7]"), ("sshd", "cron")):  # daemons tell no levels, but have numbers or repeat themselves
        daemons = [line.replace("local.ERROR", one).replace("local.INFO", two) for line in lines]
        assert not messengers.is_chat(daemons)
        assert messengers.is_chat([re.sub(r"Request .*", f"{'so ' * n}it goes", line) for n, line in enumerate(daemons)]) == (one == "sshd")


@pytest.mark.parametrize("line", ["[2024-01-05 10:15:{n:02}] {level}: started {n}", "2024-01-05 10:15:{n:02} - root - {level} - loss: {n}"])
def test_levels_of_a_log_are_no_speakers(tmp_path: Path, line: str) -> None:
    """Though some lines have none."""
    lines = [line.format(n=n, level=("INFO", "WARN")[n % 2] if n % 20 else "Caused by") for n in range(60)]
    (tmp_path / "log.txt").write_text("\n".join(lines))
    assert {"sender", "messages"}.isdisjoint(sources.read(tmp_path / "log.txt").names)


@pytest.mark.parametrize("beside", ["image", "summary", ""])
def test_lists_that_are_of_something_beside_are_no_conversations(tmp_path: Path, beside: str) -> None:
    told = {"image": "{}.jpg", "summary": "what {} is about"}.get(beside, "{}")
    rows = [{"id": told.format(n), "data": [f"sentence {n} is the {k}th one" for k in range(2 + 2 * (n % 3))]} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert ("conversation" in sources.read(tmp_path / "rows.jsonl").names) == (not beside)


@pytest.mark.parametrize("form", ["telegram", "discord"])
def test_a_chat_of_two_as_objects(tmp_path: Path, form: str) -> None:
    """Each message has its time, and a number behind the name of who wrote it; what was not said is left out."""
    rows = list[dict[str, object]]()
    for n in range(40):
        name, text, when = ("Anna", "Ben")[n % 2], f"Where is mill {n}?", f"2023-01-01T10:{n:02}:00"
        pieces = ["Where is ", {"type": "bold", "text": f"mill {n}"}, "?"] if n % 9 == 4 else text
        author = {"from": name, "from_id": f"user{n % 2}", "date": when, "text": pieces, "type": "message"}
        other = {"author": {"id": str(n % 2), "name": name}, "timestamp": when, "content": text, "reactions": "ab"[n % 3 : n % 3 + 1]}
        rows.append({"id": n} | (author if form == "telegram" else other))
    calls = [{"id": 99, "type": "service", "date": "2023-01-01T09:00:00", "actor": "Anna", "text": ""}] if form == "telegram" else []
    (tmp_path / "chat.json").write_text(json.dumps({"name": "Ben", "id": 1, "messages": calls + rows}))
    table = kinds.infer(sources.read(tmp_path / "chat.json"), {})
    assert table.names == ["messages"] and choose(table, DataConfig())[0].task == "chat" and "40 messages" in " ".join(table.problems)
    said = [turn for cell in table.column("messages").to_pylist() for turn in json.loads(cell)]
    assert said[4] == {"role": "user", "content": "Where is mill 4?"} and said[5]["role"] == "assistant"
    for row in rows:  # by unlike times, or without numbers of people, who wrote it may be what is asked
        row.pop("from_id", row.pop("author", None))
    (tmp_path / "chat.json").write_text(json.dumps(rows))
    assert "messages" not in sources.read(tmp_path / "chat.json").names


def test_a_desk_for_information_is_no_log(tmp_path: Path) -> None:
    lines = [f"12/03/2021, 10:{n:02d} - {('Info Desk', 'Li Wei')[n % 2]}: message {n} about it" for n in range(30)]
    (tmp_path / "chat.txt").write_text("\n".join(lines))
    assert sources.read(tmp_path / "chat.txt").names == ["messages"]
    (tmp_path / "log.txt").write_text("\n".join(lines).replace("Info Desk", "app - INFO - loss"))
    assert "messages" not in sources.read(tmp_path / "log.txt").names
