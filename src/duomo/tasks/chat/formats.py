"""Conversations in the shapes that people keep them in, told apart by their columns: `shape_of(names)`, `messages_of(cells, shape, row)`.

messages    OpenAI         {"messages": [{"role": "user", "content": "…"}, …]}
sharegpt    ShareGPT       {"conversations": [{"from": "human", "value": "…"}, …]}, with or without a column `system`
alpaca      Alpaca         {"instruction": "…", "input": "…", "output": "…"}, with or without `system` and `history`
pairs       plain          {"prompt": "…", "response": "…"} and the like, with or without `system` and `history`; either may be a list
                           of messages
Of preferences (`chosen` and `rejected`) the better answer is read, of a list of answers the first. A turn may be one object:
{"human": "…", "assistant": "…"}, {"input": "…", "output": "…"}. A question may be a script of turns: "Human: …\nAssistant: …\nHuman: …".
`history` is what was said before, [["question", "answer"], …]. A conversation may also be a list of texts, in turns: ["Hi", "Hello"].
What the assistant thought (`reasoning_content` beside an answer, in its message or in a column) stands before it: <think>…</think>.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from duomo.core.dialogue import THOUGHT
from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.core.messages import listed, nearest, tr

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
    "ai": "assistant", "系统": "system", "用户": "user", "客户": "user", "顾客": "user",
    "助手": "assistant", "客服": "assistant", "机器人": "assistant",
}  # fmt: skip
TOOLS = ("tool", "tools", "function", "function_call", "observation")
LISTS = {"messages": ("role", "content"), "conversations": ("from", "value"), "conversation": ("from", "value"),
         "dialogue": ("from", "value"), "dialog": ("from", "value")}  # fmt: skip
CHOSEN = ("chosen", "chosen.content", "chosen.value", "preferred_output")
REJECTED = ("rejected", "rejected.content", "rejected.value", "non_preferred_output")
"""Names of the better and the worse answer where preferences are kept."""
CONTEXT = ("context", "上下文")
"""What a question is about, in a column of its own; where no other holds a question, what is answered."""
ASKED = ("prompt", "question", "user", "input", "query", "instruction", "ask", "request", "human", "customer",
         "问题", "问", "提问", "问句", "标准问", "标准问题", "用户", "客户", "顾客", "指令", "输入",
         "input.messages", *CONTEXT)  # fmt: skip
ANSWERED = ("response", "completion", "answer", "assistant", "output", "reply", "bot", "agent",
            "回答", "答", "答案", "答句", "标准答案", "回复", "客服", "助手", "输出", "target", *CHOSEN)  # fmt: skip
"""Usual names of the columns with what is asked and what is answered; one of each makes a pair."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "complex_cot", "思考过程", "推理过程", "思维链")
"""What the thoughts before an answer are called, in a message or a column."""
INSTRUCTED = {
    "instruction": ("instruction", "指令"),
    "input": ("input", "输入", *CONTEXT),
    "output": ("output", "输出", "response", "回答"),
}
SYSTEM = ("system", "system_prompt", "系统", "系统提示", "系统提示词", "系统指令")
HISTORY = ("history", "历史", "历史对话", "对话历史")
IN_TURN = {**dict.fromkeys(ASKED, "user"), **dict.fromkeys(ANSWERED, "assistant"), **ROLES}
"""What the parts of a turn are called that is one object."""
_SPEAKER = re.compile(rf"(?:^|\n)[ \t]*({'|'.join(ROLES)})[ \t]*[:：][ \t]*", re.IGNORECASE)
"""What stands before each turn of a script."""


class UnlearnedError(DataError):
    """A conversation that is left out of training, and why."""


class ToolsError(UnlearnedError):
    """Tools are called in it."""


class PartsError(UnlearnedError):
    """It holds pictures, sound or the like."""


@dataclass(frozen=True)
class Shape:
    """Which shape the conversations have, and the columns that are read."""

    name: str
    columns: tuple[str, ...]
    system: str = ""
    """The column with the instructions to the assistant, where there is one."""
    history: str = ""
    """The column with what was said before, where there is one."""
    thought: str = ""
    """The column with what was thought before the answer, where there is one."""

    @property
    def aside(self) -> tuple[str, ...]:
        """The columns that are read beside the questions and answers."""
        return tuple(name for name in (self.system, self.history, self.thought) if name)


def shape_of(names: Sequence[str], source: str = "", target: str = "") -> Shape:
    """The shape that a table's columns show, or that of the columns which were named; DataError where they show none."""
    known = {name.lower(): name for name in names}
    system, history = _first(known, SYSTEM), _first(known, HISTORY)
    answered = ("content", *ANSWERED) if THOUGHTS[0] in known else ANSWERED  # as the answers of an API are kept
    answer = target or next((known[name] for name in answered if name in known and known[name] != source), "")
    if source and not answer:
        return Shape("messages", (source,), system)
    for column in LISTS if not (source or target) else ():
        if column in known:
            better = next((known[name] for name in CHOSEN if name in known), "")
            return Shape("messages" if column == "messages" else "sharegpt", (known[column], *([better] if better else [])), system)
    if not (source or target) and is_instructed(names):
        return _alpaca(known, system)
    ask = source or next((known[name] for name in ASKED if name in known and known[name] != answer), "")
    if ask and answer:
        about = _first(known, CONTEXT)
        asked = (ask, about) if about and about not in (ask, answer) else (ask,)
        if answer.lower() in CHOSEN and {"instruction", "input"} <= set(known):
            asked = (known["instruction"], known["input"])
        return Shape("pairs", (*asked, answer), system, history, _thought(known, (*asked, answer)))
    if answer.lower() in CHOSEN and not source:  # the question stands before each answer
        return Shape("messages", (answer,), system)
    raise DataError(
        "Conversations are columns messages, conversations, instruction with output, or prompt with response; the columns are {names}. "
        "Name the question's and the answer's: --source COLUMN --target COLUMN.", names=", ".join(list(names)[:20]),
    )  # fmt: skip


def is_instructed(names: Sequence[str]) -> bool:
    """Whether there are instructions and answers, as Alpaca calls them, or in Chinese."""
    known = {name.lower(): name for name in names}
    return all(_first(known, INSTRUCTED[name]) for name in ("instruction", "output"))


def _first(known: Mapping[str, str], names: Sequence[str]) -> str:
    return next((known[name] for name in names if name in known), "")


def _alpaca(known: Mapping[str, str], system: str) -> Shape:
    found = {name: _first(known, called) for name, called in INSTRUCTED.items()}
    columns = tuple(column or name for name, column in found.items() if column or name == "output")
    return Shape("alpaca", columns, system, _first(known, HISTORY), _thought(known, columns))


def _thought(known: Mapping[str, str], columns: Sequence[str]) -> str:
    return next((known[name] for name in THOUGHTS if name in known and known[name] not in columns), "")


def asked_shape(names: Sequence[str], learned: Shape) -> Shape:
    """The shape of a table that is answered or judged by a run whose own columns, those of `learned`, it lacks; answers may be missing.

    DataError where there is none.
    """
    known = {name.lower(): name for name in names}
    system = _first(known, SYSTEM)
    with suppress(DataError):
        return shape_of(names)
    if _first(known, INSTRUCTED["instruction"]):
        return _alpaca(known, system)
    ask = next((known[name] for name in ASKED if name in known), "")
    if not ask:
        raise DataError(
            "Questions are columns messages, conversations, instruction or prompt, or {learned} as this run learned from; the columns are "
            "{names}. Rename them.", learned=listed([*learned.columns, *learned.aside]), names=", ".join(list(names)[:20]),
        )  # fmt: skip
    return Shape("messages", (ask,), system)


def told(shape: Shape) -> str:
    """The shape in words."""
    name = {"messages": "OpenAI messages", "sharegpt": "ShareGPT", "alpaca": "Alpaca", "pairs": tr("question and answer")}[shape.name]
    columns = ", ".join((*shape.columns, *shape.aside))
    return tr("Conversations found as {name} (columns {columns}). The first one as the model reads it; learned is what stands in colour:",
              name=name, columns=columns)  # fmt: skip


def messages_of(cells: Mapping[str, Any], shape: Shape, row: int) -> list[dict[str, Any]]:
    """Messages {role, content} of one row (counted from 1), none where it is empty; `weight` is 0 where one is not learned.

    DataError naming row and message for what is none.
    """
    if shape.name in ("messages", "sharegpt") or _is_list(cells[shape.columns[0]]):
        found = _listed(cells[shape.columns[0]], row)
        found = _with_answer(found, cells[shape.columns[-1]], row) if len(shape.columns) > 1 else found
    else:
        if _is_list(cells[shape.columns[-1]]):
            return _answered(cells, shape, row)
        *asked, answer = (str(cells[name]) if cells[name] is not None else "" for name in shape.columns)
        ask = "\n\n".join(part for part in asked if part.strip())
        found = _script(ask) or ([{"role": "user", "content": ask}] if ask else [])
        answer = _thoughtful(cells.get(shape.thought), answer)
        found += [{"role": "assistant", "content": answer}] if answer.strip() and ask else []
        found = [*_turns(cells.get(shape.history), shape.history, row), *found] if shape.history else found
    system = cells.get(shape.system) if shape.system else None
    if system and found and found[0]["role"] != "system":
        found = [{"role": "system", "content": str(system)}, *found]
    return found


def _script(text: str) -> list[dict[str, Any]]:
    """The turns of a question that ends where the assistant speaks; none where it is no script of user and assistant in turns."""
    first, *rest = _SPEAKER.split(text)
    roles, said = [ROLES[name.lower()] for name in rest[::2]], [part.strip() for part in rest[1::2]]
    wanted = ["user", "assistant"] * (len(roles) // 2)
    if first.strip() or not roles or roles != wanted or said[-1] or not all(said[:-1]):
        return []
    return [{"role": role, "content": part} for role, part in zip(roles[:-1], said, strict=False)]


def _with_answer(asked: list[dict[str, Any]], answer: Any, row: int) -> list[dict[str, Any]]:
    """What was asked with the answer of a column beside it, or the conversation that the column repeats as a whole."""
    said = _listed(answer, row) if _is_list(answer) else [{"role": "assistant", "content": str(answer)}] if answer else []
    if any(message["role"] == "user" for message in said):
        return said
    return asked if asked and asked[-1]["role"] == "assistant" else asked + said


def _answered(cells: Mapping[str, Any], shape: Shape, row: int) -> list[dict[str, Any]]:
    """A question that is a text, with an answer that is a list of messages, the question among them or not."""
    found = _listed(cells[shape.columns[-1]], row)
    if any(message["role"] == "user" for message in found):
        return found
    return messages_of({**cells, shape.columns[-1]: None}, shape, row) + found


def _turns(cell: Any, name: str, row: int) -> list[dict[str, Any]]:
    """What was said before, from a list of pairs."""
    with suppress(*JSON_FAULTS):
        cell = json.loads(cell) if isinstance(cell, str) else cell
    if cell is None or cell == "":
        return []
    if not isinstance(cell, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in cell):
        raise DataError(
            'What was said before is a list of questions with their answers, [["…", "…"], …]; {name!r} of row {row} is {value!r}. Write '
            "it so, or leave it out with --ignore {name}.", name=name, row=row, value=str(cell)[:80],
        )  # fmt: skip
    return [{"role": role, "content": str(text)} for pair in cell for role, text in zip(("user", "assistant"), pair, strict=True)]


def _is_list(cell: Any) -> bool:
    """Whether the cell of a question holds a whole conversation: asked in several turns, whatever shape was learned from."""
    with suppress(*JSON_FAULTS):
        found = json.loads(cell) if isinstance(cell, str) and cell.lstrip().startswith("[{") else cell
        told = isinstance(found, list) and all(isinstance(one, dict) for one in found)
        return told and (not found or any({"role", "from"} & {*one} or _both(one) != [one] for one in found))  # else what was extracted
    return False


def _listed(cell: Any, row: int) -> list[dict[str, Any]]:
    if cell is None or cell == "":
        return []
    if isinstance(cell, str):
        with suppress(*JSON_FAULTS):  # a text may begin with a bracket
            cell = json.loads(cell) if cell.lstrip().startswith("[") else cell
    if isinstance(cell, str):
        return [{"role": "user", "content": cell}]
    if not isinstance(cell, list):
        raise DataError("A conversation is a list of messages; row {row} holds {value!r}.", row=row, value=str(cell)[:80])
    if cell and all(isinstance(one, str) for one in cell):
        return [{"role": ("user", "assistant")[place % 2], "content": one} for place, one in enumerate(cell)]
    turns = [turn for one in cell for turn in _both(one)]
    return [_message(one, row, number) for number, one in enumerate(turns, start=1)]


def _both(turn: Any) -> list[Any]:
    """A turn {"human": "…", "assistant": "…"} as its two messages, with what it tells the assistant; any other as it is."""
    if not isinstance(turn, dict) or not turn or "role" in turn or not all(name.lower() in IN_TURN for name in turn):
        return [turn]
    order = ("system", "user", "assistant").index
    inside = sorted(((IN_TURN[name.lower()], text) for name, text in turn.items()), key=lambda pair: order(pair[0]))
    return [{"role": name, "content": text} for name, text in inside if name != "system" or text]


def _message(one: Any, row: int, number: int) -> dict[str, Any]:
    where = {"row": row, "number": number}
    if not isinstance(one, dict):
        raise DataError("A message has a role and a content; message {number} of row {row} is {value!r}.", value=str(one)[:80], **where)
    role = one.get("role", one.get("from"))
    if not isinstance(role, str) or not role.strip():
        raise DataError('A message needs a role; message {number} of row {row} has none. Add "role": "user" or "assistant".', **where)
    if role.lower() in TOOLS or one.get("tool_calls") or one.get("function_call"):
        raise ToolsError("Calls of tools and their results are not learned; message {number} of row {row} is one.", **where)
    if role.lower() not in ROLES:
        raise DataError(
            "The role of a message must be one of {known}; message {number} of row {row} has {role!r}.{hint}",
            known=", ".join(dict.fromkeys(ROLES.values())), role=role, hint=nearest(role.lower(), ROLES), **where,
        )  # fmt: skip
    content = one.get("content", one.get("value", ""))
    content = "" if content is None else content  # as an empty cell
    if isinstance(content, list):
        content = "".join(_part(part, where) for part in content)
    if not isinstance(content, str):
        raise DataError(
            "The content of a message must be text; message {number} of row {row} has {value!r}.", value=str(content)[:80], **where
        )
    if ROLES[role.lower()] == "assistant":
        content = _thoughtful(next((one[name] for name in THOUGHTS if one.get(name)), None), content)
    unlearned = {"weight": 0} if one.get("weight") in (0, "0") else {}  # so OpenAI marks answers that are only read
    return {"role": ROLES[role.lower()], "content": content, **unlearned}


def _thoughtful(thought: Any, answer: str) -> str:
    """An answer behind what was thought before it, where that is told and does not stand there yet."""
    if not isinstance(thought, str) or not thought.strip() or not answer.strip() or THOUGHT[1] in answer:
        return answer
    return f"{THOUGHT[0]}\n{thought.strip()}\n{THOUGHT[1]}\n\n{answer.lstrip()}"


def _part(part: Any, where: Mapping[str, int]) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    if not isinstance(text, str):
        raise PartsError("Only text is read of a conversation; message {number} of row {row} holds a part without: {value!r}.",
                         value=str(part)[:80], **where)  # fmt: skip
    return text
