"""Chats as messengers write them to a text: WhatsApp and the like a message behind its time and who wrote it, QQ and Discord time and name
on a line of their own above it.

[12/03/21, 10:15:22] Anna: Where are you?        12/03/2021, 10:15 - Anna: Where are you?        2021-03-12 10:15:22 张三(12345)
                                                                                                 到了吗
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from duomo.core.messages import tr
from duomo.data.formats.logged import ANSWERING, logged
from duomo.data.formats.rows import of_texts
from duomo.data.formats.text_encoding import detect, open_text

DATE = r"(?P<date>\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4} ?年 ?\d{1,2} ?月 ?\d{1,2} ?日)"
TIME = r"(?P<time>(?:[上下]午 ?)?\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\s?[ap]\.?\s?m\.?)?)"
STAMP = rf"{DATE}\s*,?\s+{TIME}"
LINE = re.compile(rf"[\u200e\u200f\ufeff]*(?:\[{STAMP.replace('?P<date>', '?P<day>').replace('?P<time>', '?P<hour>')}(?=\])|{STAMP})"
                  r"(?P<rest>.*)", re.IGNORECASE)  # fmt: skip
SPOKEN = re.compile(r"(?:\]|\s+[-–—])\s+[\u200e~]*\s?(?P<who>[^:：]{1,60})[:：](?:\s+(?P<said>.*)|$)")
ALONE = re.compile(r"\]?\s+(?P<who>[^:：]{1,60}?)\s*(?:[(（<]\S*?[)）>])?\s*")
LEVEL = re.compile(
    r"(.*\W)?(trace|debug|info|notice|warn(ing)?|err(or)?|crit(ical)?|fatal|severe)(?!(?-i:(?<=[a-z]) [A-Z]))(\W.*)?", re.IGNORECASE
)
"""How severe a line of a program's log is, behind its channel (local.ERROR) or before more of it (root - INFO - loss): no speaker. Info
Desk is one."""
PROGRAM, NUMBER = re.compile(r"(?P<numbered>[\w./@ -]+\[\d+\])|[a-z][a-z\d./@_-]*"), re.compile(r"\d+")
"""What may be called a program: surely one whose process has its number behind it (sshd[123]), else in small letters."""
OBJECT = re.compile(r"\u200e.*|<[^<>]*>|\[[^\[\]]*\](\s*\[[^\[\]]*\])*")
"""What stands for a picture, a recording or the like, or was said by the messenger."""
FEWEST, SHARE, SAYING, EACH = 10, 0.2, 0.5, 2.0
"""Times at least, their share of the lines, messages behind each and messages of one who writes, on average."""
Message = tuple[str, str, str]
"""When it was written, by whom, and what it says."""


def is_chat(lines: Sequence[str]) -> bool:
    """Whether lines are messages of a few people, each with its time."""
    lines = [line for line in lines if line.strip()]
    begun = sum(LINE.match(line) is not None for line in lines)
    if begun < max(FEWEST, SHARE * len(lines)):
        return False
    told = list(_messages(lines))
    who, said = Counter(name for _, name, _ in told), Counter(NUMBER.sub("0", text) for *_, text in told)
    several = len(who) > 1 and len(told) >= max(FEWEST, SAYING * begun, EACH * len(who))
    return several and sum(_is_log(name, said[NUMBER.sub("0", text)], text) for _, name, text in told) < SAYING * len(told)


def _is_log(name: str, count: int, text: str) -> bool:
    """Whether a program tells this: by what it is called, or as it is called in small letters and says this again and again with other
    numbers."""
    program = PROGRAM.fullmatch(name)
    again = count > 1 and NUMBER.search(text) and not ANSWERING.fullmatch(name)
    return LEVEL.fullmatch(name) is not None or bool(program and (program["numbered"] or again))


def _messages(lines: Iterable[str]) -> Iterator[Message]:
    """The messages in order; what is no text is left out. Further lines of one belong to it, up to the next time."""
    held: tuple[str, str, list[str]] | None = None
    for line in [*lines, None]:
        found = None if line is None else LINE.match(line)
        if (found or line is None) and held:
            said = "\n".join(held[2]).strip()
            if said and not OBJECT.fullmatch(said):
                yield held[0], held[1], said
            held = None
        if found:
            spoken = SPOKEN.fullmatch(found["rest"]) or ALONE.fullmatch(found["rest"])
            when = " ".join(f"{found['date'] or found['day']} {found['time'] or found['hour']}".split())
            held = (when, spoken["who"].strip(), [spoken.groupdict().get("said") or ""]) if spoken else None
        elif held and line is not None:
            held[2].append(line.strip())


def read_chat(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Conversations, in column `messages`, where it is plain who answers: one who is called so, or of two the one who did not begin; else
    columns `time`, `sender` and `text`."""
    encoding = detect(path, wanted)
    with open_text(path, encoding) as file:
        rows = list(_messages(line.rstrip("\n") for line in file))
    names = list(dict.fromkeys(name for _, name, _ in rows))
    told = any(ANSWERING.fullmatch(name) for name in names)
    table, said = logged(of_texts(("time", "sender", "text"), rows), names[1] if len(names) == 2 and not told else "")
    if said and not told:
        said = (*said, tr("To have the other one answer, call that one «me» in the file: {name}", name=names[0]))
    return table, (*encoding.problems, *said)
