"""Texts of questions and answers, each behind who speaks: "问：…" and "答：…", "Q: …" and "A: …", "User: …" and "Assistant: …"; and columns
whose cells list what was said in turn.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.kinds.cells import is_number, is_text, written
from duomo.core.messages import tr
from duomo.core.table import MEDIA
from duomo.data.folders.files import kind_of
from duomo.data.formats.logged import WORDY
from duomo.data.formats.text_encoding import detect, open_text
from duomo.data.formats.typed import talks

TURN = re.compile(
    r"\s*(?:(?P<user>问|提问|问题|用户|客户|顾客|q|question|user|human|customer)|答|回答|答案|助手|客服|机器人|a|answer|assistant|ai|bot|agent)"
    r"\s*\d{0,5}\s*[:：]\s*(?P<said>.*)", re.IGNORECASE,
)  # fmt: skip
FEWEST, SHARE, LINES = 10, 0.9, 0.4
"""Turns at least, share of them that alternate, and share of the lines that begin one."""
LOOKED_AT, EVEN = 1000, 0.98
"""Cells that are looked at; the share of them that end with an answer, as lists of sentences do not."""
CALLED = ("conversation", "conversations", "messages", "dialog", "dialogue")
"""What columns of conversations are called."""


def has_turns(lines: Sequence[str]) -> bool:
    """Whether question and answer alternate from the first line on; of several answers to choose from none does."""
    lines = [line for line in lines if line]
    asks = [found["user"] is not None for line in lines if (found := TURN.match(line))]
    if len(asks) < max(FEWEST, LINES * len(lines)) or not TURN.match(lines[0]) or not asks[0]:
        return False
    return sum(one != two for one, two in pairwise(asks)) >= SHARE * (len(asks) - 1)


def read_turns(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Column `messages`, a conversation a row: where blank lines stand between answers and questions alone they divide them, else each
    question begins one."""
    encoding = detect(path, wanted)
    with open_text(path, encoding) as file:
        turns = list(_turns(file))
    blank = {role: sum(after for own, _, after in turns if own == role) for role in ("user", "assistant")}
    divided = blank["user"] > 0 and not blank["assistant"]
    rows = list[list[dict[str, str]]]()
    for role, said, after in turns:
        if not rows or (role == "user" and (after or not divided)):
            rows.append([])
        rows[-1].append({"role": role, "content": said})
    cells = [json.dumps(row, ensure_ascii=False) for row in rows]
    note = tr("{file} holds questions and answers; they were read as {count:,} conversations.", file=path.name, count=len(rows))
    return pa.table({"messages": pa.array(cells, pa.large_string())}), (*encoding.problems, note)


def in_turns(data: pa.Table, said: tuple[str, ...] = ()) -> tuple[pa.Table, tuple[str, ...]]:
    """The table with its only column of lists of what was said in turn called `conversation` (`data` of UltraChat), and what is said of
    it; as it was where it has none, or another column that could be learned."""
    lists = [name for name in data.column_names if _are_lists(data.column(name))]
    if (
        len(lists) != 1
        or lists[0].lower() in CALLED
        or any(_says_more(data.column(name)) for name in data.column_names if name not in lists)
    ):
        return data, said
    cells = data.column(lists[0]).slice(0, LOOKED_AT).to_pylist()
    turns = [written(cell) if isinstance(cell, str) else cell for cell in cells]
    if len(turns) < FEWEST or not talks(turns) or sum(len(one) % 2 == 0 for one in turns) < EVEN * len(turns):
        return data, said
    told = tr("Column {name!r} lists what was said in turn: each cell is read as a conversation. To learn another column: --target NAME",
              name=lists[0])  # fmt: skip
    return data.rename_columns([CALLED[0] if name in lists else name for name in data.column_names]), (*said, told)


def _are_lists(column: pa.ChunkedArray) -> bool:
    """Whether cells are lists of texts, or the first one is written as such."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return is_text(column.type.value_type)
    first = column.slice(0, 1).to_pylist() if is_text(column.type) else []
    return bool(first and first[0]) and first[0].startswith('["')


def _says_more(column: pa.ChunkedArray) -> bool:
    """Whether a column says the same of several rows, or holds words or what is no plain value: it may be what is to be learned, or what
    the lists are of (a picture, a text)."""
    plain = is_text(column.type) or is_number(column.type)
    some = column.slice(0, LOOKED_AT).to_pylist() if is_text(column.type) else []
    words = sum(isinstance(cell, str) and (kind_of(cell) in MEDIA or WORDY.search(cell) is not None) for cell in some)
    return not plain or words > 0.5 * len(some) or len(pc.unique(column)) < len(column)


def _turns(lines: Iterator[str]) -> Iterator[tuple[str, str, bool]]:
    """Who speaks, what is said, on lines that follow too, and whether a blank line stands before it."""
    role, said, blank, before = "", list[str](), False, False
    for line in lines:
        found = TURN.match(line)
        if found:
            if role:
                yield role, "\n".join(said).strip(), before
            role, said, before = "user" if found["user"] else "assistant", [found["said"]], blank
        elif role:
            said.append(line.rstrip())
        blank = not line.strip()
    if role:
        yield role, "\n".join(said).strip(), before
