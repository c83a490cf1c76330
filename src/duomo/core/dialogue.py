"""Conversations as tokens: rendered by the chat template that belongs to a tokenizer, with what a model has to learn of them marked.

Special tokens count only where the template put them: the same signs within a message are read as plain text, so that no message can
end itself or speak for another role. Legend: T tokens.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from duomo.core.errors import DataError
from duomo.core.kinds import text as text_kind
from duomo.core.template import render

START, END = "<|im_start|>", "<|im_end|>"
THOUGHT = ("<think>", "</think>")
"""Signs around what was thought before an answer; templates know them too."""
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""Templates for tokenizers that bring none (`speaking`): with special tokens of its own, and without."""
SHIELD, FIRST = "\ufdd0", 0xF0000
"""Before the first sign of what only looks like a special token stands a code that is no character, and the sign itself goes by a private
number: a text may hold private signs of its own (icons, the emoji of old telephones)."""
SHIELDED = re.compile(SHIELD + "([\U000f0000-\U0010ffff])")
Message = Mapping[str, Any]
ANSWER = "probe of an answer"
PROBE = {"type": "function", "function": {"name": "probe_of_tools", "description": "", "parameters": {"type": "object", "properties": {}}}}


@dataclass(frozen=True)
class Rendered:
    """A conversation as the model reads it: parts of its text, and of each whether it is to be learned."""

    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        return unshielded("".join(text for text, _ in self.parts))


def speaking(state: Mapping[str, Any], *, grow: bool = False) -> dict[str, Any]:
    """The state of a tokenizer (core/kinds/text.py) with a chat template: its own, and what `ends` an answer in it; ChatML where it has the
    two special tokens that this needs, or may `grow` by them; else plain names before each message."""
    if state.get("chat_template"):
        return {**state, "ends": list(dict.fromkeys([*_ends(state), *state.get("ends", ())]))}
    tokenizer = text_kind.Tokenizer.from_str(state["json"])
    known = all(tokenizer.token_to_id(token) is not None for token in (START, END))
    if not known and not grow:
        end = tokenizer.id_to_token(text_kind.special(state, "end")) if text_kind.special(state, "end") >= 0 else ""
        return {**state, "chat_template": PLAIN, "names": {"eos_token": end}}
    tokenizer.add_special_tokens([START, END])
    special = {**state.get("special", text_kind.OWN), "end": tokenizer.token_to_id(END)}
    size = max(int(state["size"]), tokenizer.get_vocab_size())
    return {**state, "json": tokenizer.to_str(), "size": size, "special": special, "chat_template": CHATML, "names": {"eos_token": END}}


def _ends(state: Mapping[str, Any]) -> list[int]:
    """The special token that a template puts behind an answer: not always the one that ends a text."""
    try:
        shown = _text(state, [{"role": "user", "content": "?"}, {"role": "assistant", "content": ANSWER}], False)
    except DataError:
        return []
    named, pattern = _special(state["json"])
    found = pattern.match(shown.rpartition(ANSWER)[2].lstrip()) if named and ANSWER in shown else None
    return [named[found.group()]] if found else []


def encode(state: Mapping[str, Any], rendered: Rendered) -> tuple[np.ndarray, np.ndarray]:
    """Token numbers (T,) int64, and bool (T,) which of them are to be learned."""
    tokens: list[np.ndarray] = []
    learned: list[np.ndarray] = []
    named = _special(state["json"])
    for text, learn in rendered.parts:
        pieces = [piece for piece in named[1].split(text) if piece] if named[0] else [text]
        plain = iter(text_kind.encode_text(state, [unshielded(piece) for piece in pieces if piece not in named[0]]))
        for piece in pieces:
            found = np.array([named[0][piece]], np.int64) if piece in named[0] else next(plain).astype(np.int64)
            tokens.append(found)
            learned.append(np.full(len(found), learn))
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *tokens]), np.concatenate([empty.astype(bool), *learned])


def prompt(state: Mapping[str, Any], messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), begun: str = "") -> np.ndarray:
    """Token numbers (T,) of a conversation up to where the assistant has to speak, or to go on from what it has `begun`."""
    return encode(state, Rendered(((_text(state, messages, True, tools) + begun, False),)))[0]


def shows_tools(state: Mapping[str, Any]) -> bool:
    """Whether the template has a place for tools."""
    try:
        return PROBE["function"]["name"] in _text(state, [{"role": "user", "content": "?"}], True, [PROBE])  # type: ignore[index]
    except DataError:
        return False


def lesson(state: Mapping[str, Any], messages: Sequence[Message]) -> Rendered:
    """A whole conversation; of each answer that is `taught` is learned what stands from where it begins to speak to the end of its turn.

    DataError where the template does not show an answer as it was given.
    """
    messages = _thinking(state, messages)
    whole = _text(state, messages, False)
    parts: list[tuple[str, bool]] = []
    place = 0
    for number, message in enumerate(messages):
        if not taught(message):
            continue
        before, behind = _text(state, messages[:number], True), _text(state, messages[: number + 1], False)
        answer, asked = _shielded(state, message["content"]), before.rstrip()
        opened = len(before) - len(asked.removesuffix(THOUGHT[0])) if asked.endswith(THOUGHT[0]) else 0  # a template may begin the thoughts
        for shown in (answer, answer.rpartition(THOUGHT[1])[2]):  # of earlier answers a template may leave out what was thought
            said = shown.strip()
            start = len(before) if whole.startswith(before) else whole.find(said, place)
            closed = whole.startswith(behind) and len(behind) > start
            stop = len(behind) if closed else start + len(shown)
            if start >= place and said in whole[max(place, start - opened) : stop]:
                break
        else:
            raise DataError("The chat template must show each answer as it was given; it does not show {text!r}.",
                            text=message["content"][:80])  # fmt: skip
        stop = stop if closed else _closed(state, whole, whole.find(said, max(place, start - opened)) + len(said))
        parts += [(whole[place:start], False), (_turn(state, whole[start:stop]), True)]
        place = start + len(parts[-1][0])
    return Rendered((*parts, (whole[place:], False)))


def _closed(state: Mapping[str, Any], whole: str, stop: int) -> int:
    """Where a turn ends whose answer goes up to `stop`: behind the special token that ends turns, where it stands there."""
    named, pattern = _special(state["json"])
    found = pattern.match(whole, stop) if named else None
    return found.end() if found and named[found.group()] in text_kind.ends(state) else stop


def _thinking(state: Mapping[str, Any], messages: Sequence[Message]) -> Sequence[Message]:
    """Messages whose last answer the template shows with what was thought before it, though it would leave that out: some show a model
    its answers of before, for which its thoughts are of no use, and have no other way for the one that it is to learn."""
    last = messages[-1] if messages else {"role": "", "content": ""}
    thought, sign, answer = last["content"].partition(THOUGHT[1])
    before = messages[:-1]
    if not sign or not taught(last) or _text(state, messages, False) != _text(state, [*before, {**last, "content": answer}], False):
        return messages
    return [*before, {**last, "content": thought + _hidden(sign) + answer}]


def taught(message: Message) -> bool:
    """Whether a message is learned: an answer of the assistant, not silence, nor one that is marked by a weight of 0."""
    return message["role"] == "assistant" and bool(message["content"].strip()) and message.get("weight") != 0


def _turn(state: Mapping[str, Any], text: str) -> str:
    """An answer with the special token that ends its turn, without what a template puts between turns."""
    ends = [found.end() for found in _special(state["json"])[1].finditer(text)] if _special(state["json"])[0] else []
    return text[: ends[-1]] if ends else text


def _text(state: Mapping[str, Any], messages: Sequence[Message], speak: bool, tools: Sequence[Mapping[str, Any]] = ()) -> str:
    shielded = [{name: _all_shielded(state, value) for name, value in message.items()} for message in messages]
    extra = {"tools": _all_shielded(state, list(tools))} if tools else {}
    return render(state["chat_template"], shielded, dict(state.get("names", {})), add_generation_prompt=speak, extra=extra)


def _all_shielded(state: Mapping[str, Any], value: Any) -> Any:
    """JSON values, every text in them shielded."""
    if isinstance(value, Mapping):
        return {_shielded(state, name): _all_shielded(state, one) for name, one in value.items()}
    if isinstance(value, list):
        return [_all_shielded(state, one) for one in value]
    return _shielded(state, value) if isinstance(value, str) else value


def _shielded(state: Mapping[str, Any], text: str) -> str:
    """Text in which nothing looks like a special token."""
    named, pattern = _special(state["json"])
    return pattern.sub(lambda found: _hidden(found.group()), text) if named else text


def _hidden(sign: str) -> str:
    return SHIELD + chr(FIRST + (ord(sign[0]) & 0x1FFFF)) + sign[1:]


def unshielded(text: str) -> str:
    """The text as it was given, for people to read."""
    return SHIELDED.sub(lambda found: chr(ord(found.group(1)) - FIRST), text)


@lru_cache(maxsize=8)
def _special(json: str) -> tuple[dict[str, int], re.Pattern[str]]:
    """Special tokens by name, and what finds them."""
    added = text_kind.tokenizer_of({"json": json}).get_added_tokens_decoder()
    named = {str(token.content): number for number, token in added.items() if token.special}
    longest_first = sorted(named, key=len, reverse=True)
    return named, re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
