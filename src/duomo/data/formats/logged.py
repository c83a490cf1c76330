"""Chats kept a message a row, as programs log and messengers export them: gathered into a conversation a row.

sender  content   time                      messages
客户    到了吗    2023-05-01 10:00    ->    [{"role": "user", "content": "到了吗"}, {"role": "assistant", "content": "在路上"}]
客服    在路上    2023-05-01 10:01
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.files import JSON_FAULTS
from duomo.core.kinds import date
from duomo.core.messages import tr
from duomo.core.table import MEDIA
from duomo.core.word_patterns import CJK
from duomo.data.folders.files import kind_of
from duomo.data.formats.rows import as_json, of_texts
from duomo.data.formats.space_delimited import NUMBER

WHO = (
    "role",
    "issender",
    "is_sender",
    "sender",
    "speaker",
    "from",
    "talker",
    "author.name",
    "发送者",
    "发送人",
    "发言人",
    "说话人",
    "角色",
)
SAID = ("strcontent", "content", "text", "message", "msg", "utterance", "value", "消息内容", "内容", "消息", "发言")
WHEN = ("time", "timestamp", "datetime", "date", "createtime", "create_time", "created_at", "strtime", "时间", "发送时间")
WHOSE = re.compile(r"(conversation|conv|dialog(ue)?|session|chat|thread|talker|room|会话|对话|聊天)[ _]?(id|编号)?|群|群名", re.IGNORECASE)
"""What columns are called that tell who speaks, what is said, when, and in which conversation."""
ANSWERING = re.compile(
    r"我|本人|(助手|客服|机器人).*|(me|myself|assistant|bot|gpt|chatgpt|agent|ai|model|support)([\W_\d].*)?", re.IGNORECASE
)
"""Who speaks where a model is to: who exported the chat, or is called so."""
SIDES = {"1": "assistant", "true": "assistant", "0": "user", "false": "user"}
"""What a messenger says of each message: whether its owner sent it."""
OWN, OF_KIND = (re.compile(rf"(.*[._ ])?{word}", re.IGNORECASE) for word in ("id", "type"))
"""What columns of numbers are called, and of the kind of messages."""
DECIMAL, WORDY = re.compile(r"-?\d*\.\d+"), re.compile(rf"[^\W\d_]+\s+[^\W\d_]|[{CJK}]{{4}}")
FEWEST, CHANGES, FEW, PAUSE, LONGEST = 10, 0.3, 0.2, 3600, 20
"""Messages, at least; share of them, at least, behind which the other side speaks; share of different cells below which a column sorts
the messages; seconds of silence, and messages, after which another conversation begins."""
Turn = dict[str, str]


def logged(data: pa.Table, answers: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """The table with a conversation a row, in column `messages`, and what was done; as it was where it is no such log, or where another
    column sorts or measures the messages of one speaker, says them in other words, or names recordings: that may be what is asked.
    `answers`: the speaker who answers, where no name says it."""
    known = {str(name).lower(): str(name) for name in data.column_names}
    who, said, when = (next((known[name] for name in names if name in known), "") for names in (WHO, SAID, WHEN))
    if not who or not said or len(data) < FEWEST or any("parent" in name for name in known):
        return data, ()
    given = data
    data, other = _of_two(given, who, said, when) if when and not answers else (given, "")
    answers = answers or other
    whose = next((name for name in data.column_names if name not in (who, said, when) and WHOSE.fullmatch(name)), "")
    order = pc.index_in(data.column(whose), pc.unique(data.column(whose))).to_numpy() if whose else np.zeros(len(data))
    log = data.take(np.argsort(order, kind="stable"))  # chats that go on at the same time, one behind the other
    speakers = [str(cell).strip() for cell in log.column(who).to_pylist()]
    roles = ["assistant" if name == answers else _role(name, who.lower()) for name in speakers]
    if not {"user", "assistant"} <= {*roles} or sum(one != two for one, two in pairwise(roles)) < CHANGES * len(roles):
        return given, ()
    exported = said.lower() == "strcontent"  # its other columns are the messenger's own
    rest = [name for name in log.column_names if name not in (who, said, when, whose)]
    texts = ["" if cell is None else str(cell).strip() for cell in log.column(said).to_pylist()]
    for name in rest if not exported else ():
        cells = log.column(name).to_pylist()
        if other and (OF_KIND.fullmatch(name) or not all(map(_is_plain, cells))):
            continue  # messengers tell the kind of a message, and of few more; who marks messages marks all of them
        if _sorts(cells, speakers) or _measures(cells) or _words(cells, texts) or (not other and _lists(cells)):
            return given, ()
    if sum(NUMBER.fullmatch(text) is not None for text in texts) > 0.5 * len(texts):
        return given, ()
    if exported and "type" in known:  # 1 is text, all else pictures and the like
        texts = [text if str(kind) == "1" else "" for text, kind in zip(texts, log.column(known["type"]).to_pylist(), strict=True)]
    begins = _begins(log, whose, when, roles)
    rows = list(_conversations(zip(roles, texts, begins, strict=True)))
    answering = Counter(name for name, role in zip(speakers, roles, strict=True) if role == "assistant").most_common(1)[0][0]
    told = tr("{rows:,} messages, one a row, were read as {count:,} conversations: {said!r} holds what is said and {who!r} who says it; "
              "{answering!r} is who answers. To learn one of the columns instead: --target NAME",
              rows=len(data), count=len(rows), said=said, who=who, answering=answering)  # fmt: skip
    first = [
        tr("To have the other one answer, call that one «me» in the file: {name}", name=name) for name in {*speakers} - {other} if other
    ]
    return of_texts(("messages",), [(as_json(row),) for row in rows]), (told, *first)


def _of_two(data: pa.Table, who: str, said: str, when: str) -> tuple[pa.Table, str]:
    """Of a chat of two, as messengers export it, the messages with words, and who did not begin: each has its time, none before the last,
    and behind the name of who wrote it stands the same number. Else the table, and no name."""
    lines = zip(data.column(who).to_pylist(), map(_joined, data.column(said).to_pylist()), strict=True)
    log = [(place, str(name).strip(), text) for place, (name, text) in enumerate(lines) if name and text]
    names, kept = list(dict.fromkeys(name for _, name, _ in log)), data.take(pa.array([place for place, *_ in log], pa.int64()))
    if len(names) != 2 or any(ANSWERING.fullmatch(name) or name.lower() in SIDES for name in names):
        return data, ""
    told = [
        {*zip((name for _, name, _ in log), kept.column(own).to_pylist(), strict=True)} for own in kept.column_names if OWN.fullmatch(own)
    ]
    moments, _ = date.parse(kept.column(when))
    if not any(len(pairs) == 2 == len({number for _, number in pairs}) for pairs in told) or np.isnat(moments).any():
        return data, ""
    texts = pa.array([text for *_, text in log], pa.large_string())
    whole = kept.set_column(kept.column_names.index(said), said, texts)
    return (whole, names[1]) if (np.diff(moments) >= np.timedelta64(0, "s")).all() else (data, "")


def _joined(cell: object) -> str:
    """What a message says whose links and the like are pieces of their own: ["see ", {"type": "link", "text": "x.org"}]."""
    text = "" if cell is None else str(cell).strip()
    with suppress(*JSON_FAULTS, KeyError, TypeError):
        pieces = json.loads(text) if text.startswith("[") else []
        return "".join(one if isinstance(one, str) else str(one["text"]) for one in pieces).strip() or text
    return text


def _role(name: str, column: str) -> str:
    if column.endswith("sender") and name.lower() in SIDES:
        return SIDES[name.lower()]
    if name.lower() in ("system", "系统", "tool", "function"):
        return name.lower()
    return "assistant" if ANSWERING.fullmatch(name) else "user"


def _sorts(cells: Sequence[object], speakers: Sequence[str]) -> bool:
    """Whether a column says one of few things of each message, and not the same of all that one speaker says."""
    told = defaultdict[str, set[str]](set)
    for cell, name in zip(cells, speakers, strict=True):
        told[name].add(str(cell))
    return any(len(found) > 1 for found in told.values()) and len(set.union(*told.values())) < FEW * len(cells)


def _is_plain(cell: object) -> bool:
    """Whether a cell is a number or words, as people mark messages."""
    return isinstance(cell, int | float | str) and not isinstance(cell, bool) and str(cell)[:1] not in ("", "[", "{")


def _lists(cells: Sequence[object]) -> bool:
    """Whether a column names a picture, sound or film in most rows."""
    return sum(isinstance(cell, str) and kind_of(cell) in MEDIA for cell in cells) > 0.5 * len(cells)


def _measures(cells: Sequence[object]) -> bool:
    """Whether a column holds decimals that go up and down: those of clocks rise."""
    found = [float(cell) for cell in map(str, cells) if DECIMAL.fullmatch(cell)]
    return len(found) > 0.5 * len(cells) and any(one > two for one, two in pairwise(found))


def _words(cells: Sequence[object], texts: Sequence[str]) -> bool:
    """Whether a column says something else in words beside most messages, each time anew."""
    said = [cell for cell, text in zip(cells, texts, strict=True) if isinstance(cell, str) and WORDY.search(cell) and text not in cell]
    if len(said) <= 0.5 * len(cells) or len({*said}) <= FEW * len(cells):
        return False
    return bool(np.isnat(date.parse(pa.chunked_array([pa.array(said, pa.large_string())]))[0]).mean() > 0.5)


def _begins(data: pa.Table, whose: str, when: str, roles: Sequence[str]) -> list[bool]:
    """Where a conversation begins: where another one is named, else behind a silence, else with each question."""
    if whose and len({*(cells := data.column(whose).to_pylist())}) > 1:
        return [True, *(one != two for one, two in pairwise(cells))]
    if when:
        moments, _ = date.parse(data.column(when))
        if not np.isnat(moments).any():
            return [True, *(np.abs(np.diff(moments)) > np.timedelta64(PAUSE, "s")).tolist()]
    return [role == "user" and (not place or roles[place - 1] != "user") for place, role in enumerate(roles)]


def _conversations(turns: "zip[tuple[str, str, bool]]") -> Iterator[list[Turn]]:
    """What one side says without a break is one message; a long exchange is divided before a question."""
    held = list[Turn]()
    for role, text, begins in turns:
        if held and (begins or (len(held) >= LONGEST and role == "user" and held[-1]["role"] != "user")):
            yield held
            held = []
        if text and held and held[-1]["role"] == role:
            held[-1]["content"] += f"\n{text}"
        elif text:
            held.append({"role": role, "content": text})
    if held:
        yield held
