"""Conversations in the shapes that people keep them in, told apart by their columns: `shape_of(names)`, `messages_of(cells, shape, row)`.

messages    OpenAI         {"messages": [{"role": "user", "content": "…"}, …]}
sharegpt    ShareGPT       {"conversations": [{"from": "human", "value": "…"}, …]}, with or without a column `system`
alpaca      Alpaca         {"instruction": "…", "input": "…", "output": "…"}, with or without `system`
pairs       plain          {"prompt": "…", "response": "…"} and the like, with or without `system`; either may be a list of messages
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from duomo.core.errors import DataError
from duomo.core.messages import nearest, tr

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip
LISTS = {"messages": ("role", "content"), "conversations": ("from", "value"), "conversation": ("from", "value")}
PAIRS = (
    ("prompt", "response"), ("prompt", "completion"), ("prompt", "answer"), ("question", "answer"), ("question", "response"),
    ("user", "assistant"), ("input", "output"), ("query", "response"), ("instruction", "response"), ("问题", "回答"), ("问", "答"),
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Which shape the conversations have, and the columns that are read."""

    name: str
    columns: tuple[str, ...]
    system: str = ""
    """The column with the instructions to the assistant, where there is one."""


def shape_of(names: Sequence[str]) -> Shape:
    """The shape that a table's columns show; DataError where they show none."""
    known = {name.lower(): name for name in names}
    system = known.get("system", known.get("system_prompt", ""))
    for column in LISTS:
        if column in known:
            return Shape("messages" if column == "messages" else "sharegpt", (known[column],), system)
    if {"instruction", "output"} <= set(known):
        return Shape("alpaca", tuple(known[name] for name in ("instruction", "input", "output") if name in known), system)
    for ask, answer in PAIRS:
        if {ask, answer} <= set(known):
            return Shape("pairs", (known[ask], known[answer]), system)
    raise DataError(
        "Conversations are columns messages, conversations, instruction with output, or prompt with response; the columns are {names}.",
        names=", ".join(list(names)[:20]),
    )


def told(shape: Shape) -> str:
    """The shape in words."""
    name = {"messages": "OpenAI messages", "sharegpt": "ShareGPT", "alpaca": "Alpaca", "pairs": tr("question and answer")}[shape.name]
    columns = ", ".join((*shape.columns, *((shape.system,) if shape.system else ())))
    return tr("Conversations found as {name} (columns {columns}). The first one as the model reads it; learned is what stands in colour:",
              name=name, columns=columns)  # fmt: skip


def messages_of(cells: Mapping[str, Any], shape: Shape, row: int) -> list[dict[str, str]]:
    """Messages {role, content} of one row (counted from 1), none where it is empty; DataError naming row and message for what is none."""
    if shape.name in ("messages", "sharegpt") or _is_list(cells[shape.columns[0]]):
        found = _listed(cells[shape.columns[0]], row)
        answer = cells[shape.columns[-1]] if len(shape.columns) > 1 else None
        found += _listed(answer, row) if _is_list(answer) else [{"role": "assistant", "content": str(answer)}] if answer else []
    else:
        *asked, answer = (str(cells[name]) if cells[name] is not None else "" for name in shape.columns)
        ask = "\n\n".join(part for part in asked if part.strip())
        found = [{"role": "user", "content": ask}] if ask else []
        found += [{"role": "assistant", "content": answer}] if answer.strip() and ask else []
    system = cells.get(shape.system) if shape.system else None
    if system and found and found[0]["role"] != "system":
        found = [{"role": "system", "content": str(system)}, *found]
    return found


def _is_list(cell: Any) -> bool:
    """Whether the cell of a question holds a whole conversation: asked in several turns, whatever shape was learned from."""
    with suppress(ValueError):
        found = json.loads(cell) if isinstance(cell, str) and cell.lstrip().startswith("[{") else cell
        return isinstance(found, list) and all(isinstance(one, dict) for one in found)
    return False


def _listed(cell: Any, row: int) -> list[dict[str, str]]:
    if cell is None or cell == "":
        return []
    if isinstance(cell, str):
        with suppress(ValueError):  # a text may begin with a bracket
            cell = json.loads(cell) if cell.lstrip().startswith("[") else cell
    if isinstance(cell, str):
        return [{"role": "user", "content": cell}]
    if not isinstance(cell, list):
        raise DataError("A conversation is a list of messages; row {row} holds {value!r}.", row=row, value=str(cell)[:80])
    return [_message(one, row, number) for number, one in enumerate(cell, start=1)]


def _message(one: Any, row: int, number: int) -> dict[str, str]:
    where = {"row": row, "number": number}
    if not isinstance(one, dict):
        raise DataError("A message has a role and a content; message {number} of row {row} is {value!r}.", value=str(one)[:80], **where)
    role = one.get("role", one.get("from"))
    if not isinstance(role, str) or not role.strip():
        raise DataError('A message needs a role; message {number} of row {row} has none. Add "role": "user" or "assistant".', **where)
    if role.lower() not in ROLES:
        raise DataError(
            "The role of a message must be one of {known}; message {number} of row {row} has {role!r}.{hint}",
            known=", ".join(dict.fromkeys(ROLES.values())), role=role, hint=nearest(role.lower(), ROLES), **where,
        )  # fmt: skip
    content = one.get("content", one.get("value"))
    if isinstance(content, list):  # parts, of which only the texts can be read
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise DataError(
            "The content of a message must be text; message {number} of row {row} has {value!r}.", value=str(content)[:80], **where
        )
    return {"role": ROLES[role.lower()], "content": content}
