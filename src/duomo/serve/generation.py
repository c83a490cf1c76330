"""Runs that write: chat and text completions over the decoding engine, whose batch requests join and leave between tokens.

One thread for each request fetches its pieces and sends them on; what is computed is computed in the engine's own thread.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from tokenizers.decoders import DecodeStream

from duomo.core import dialogue
from duomo.core.contract import Decoder, EncoderDecoder
from duomo.core.errors import DuomoError, ResourceError
from duomo.core.kinds import text as text_kind
from duomo.core.messages import tr
from duomo.decode.engine import Engine, Engines, Stream
from duomo.decode.grammar import JsonSchema, speller
from duomo.decode.loop import BLOCK, Language, Piece
from duomo.decode.sampling import Sampling
from duomo.serve import tools
from duomo.serve.batching import ANSWER_FAULTS, Question, Reply, Served, encoded, failed
from duomo.serve.errors import error_body

Send = Callable[[int, Reply], None]
PENALTIES = ("repetition_penalty", "frequency_penalty", "presence_penalty")
DONE = b"data: [DONE]\n\n"
BEGUN = f"{tools.OPEN}\n"
"""What an answer that must be a call of a tool begins with."""


@runtime_checkable
class Writing(Protocol):
    """A task whose model writes texts."""

    config: Any
    tokenizer: dict[str, Any]
    context: int


def writes(run: Served) -> bool:
    return (
        run.task.writes and isinstance(run.task, Writing) and isinstance(run.model, Decoder) and not isinstance(run.model, EncoderDecoder)
    )


@dataclass
class Choice:
    """One answer as it grows."""

    index: int
    stream: Stream
    text: str = ""
    finish_reason: str | None = None
    pieces: list[Piece] = field(default_factory=list)
    prompt: str = ""
    """What is said back before the answer (echo)."""
    known: tuple[Piece, ...] = ()
    """The tokens of that, with their probabilities."""


class GenerationHandler:
    """Answers the questions `chat` and `complete` of one run."""

    def __init__(self, run: Served, send: Send, engine: Engines | None = None):
        """`engine`: what writes; the model's own loop when none is given."""
        self._task, self._send, self._name, self._model = run.task, send, run.path.name, run.model
        self._state = dialogue.speaking(run.task.tokenizer)
        self._system = run.task.config.system if run.task.name == "chat" else ""
        self._engine = engine or Engine(run.model, Language.of(self._state), run.task.context, execution=run.execution)
        self._streams: dict[int, list[Stream]] = {}
        """Of each question from its beginning; empty as long as its prompt is prepared."""
        self._left: set[int] = set()
        self._lock = threading.Lock()

    def begin(self, question: Question) -> None:
        with self._lock:
            self._streams[question.id] = []
        threading.Thread(target=self._until_answered, args=(question,), daemon=True).start()

    def cancel(self, number: int) -> bool:
        """Stop writing what nobody waits for; False where it is not written here."""
        with self._lock:
            found = self._streams.get(number)
            if found is not None:
                self._left.add(number)
        for stream in found or ():
            stream.cancel()
        return found is not None

    def _until_answered(self, question: Question) -> None:
        try:
            self._answer(question)
        finally:
            with self._lock:
                del self._streams[question.id]
                self._left.discard(question.id)

    def _answer(self, question: Question) -> None:
        asked, chat = question.asked, question.verb == "chat"
        writer = _Form(self._name, chat, asked, self._state)
        if chat and (asked["tools"] or any("tool_calls" in one for one in asked["messages"])) and not dialogue.shows_tools(self._state):
            sentence = tr("This run was not taught to call tools: its chat template has no place for them. Leave out tools.")
            self._send(question.id, Reply.failure(400, sentence, "tools", "unsupported_parameter"))
            return
        try:
            prompts = self._prompts(asked, chat)
            longest, most = max(map(len, prompts)), self._task.context - 1
            if longest > most:
                sentence = tr("A prompt must have 1 to {most} tokens; received {size}. Shorten it.", most=most, size=longest)
                self._send(question.id, Reply.failure(400, sentence, "messages" if chat else "prompt", "context_length_exceeded"))
                return
            streams = self._submit(prompts, asked, chat)
        except ResourceError as error:
            self._send(question.id, Reply.failure(503, str(error)))
            return
        except ANSWER_FAULTS as error:
            found = failed(error)
            self._send(question.id, Reply(400 if found.status == 422 else found.status, facts=found.facts))
            return
        with self._lock:
            self._streams[question.id] = streams
            left = question.id in self._left
        for stream in streams if left else ():
            stream.cancel()
        self._write(question, writer, [Choice(number, stream) for number, stream in enumerate(streams)], prompts)

    def _prompts(self, asked: Mapping[str, Any], chat: bool) -> list[list[int]]:
        if chat:
            messages = asked["messages"]
            if self._system and messages[0]["role"] != "system":
                messages = [{"role": "system", "content": self._system}, *messages]
            return [[int(token) for token in dialogue.prompt(self._state, messages, asked["tools"], BEGUN if asked["call"] else "")]]
        if not isinstance(asked["prompt"][0], str):
            return [list(tokens) for tokens in asked["prompt"]]
        found = [[int(token) for token in tokens] for tokens in text_kind.encode_text(self._state, asked["prompt"])]
        return [tokens or [max(0, text_kind.special(self._state, "end"))] for tokens in found]

    def _submit(self, prompts: Sequence[Sequence[int]], asked: Mapping[str, Any], chat: bool) -> list[Stream]:
        schema = asked.get("call") or asked["schema"]
        seed = asked["seed"] if asked["seed"] is not None else secrets.randbits(62)
        streams: list[Stream] = []
        try:
            for prompt in prompts:
                for number in range(asked["n"]):
                    if asked["max_tokens"] == 0:  # only what the prompt itself is worth (echo)
                        streams.append(Stream(len(prompt)))
                        streams[-1].put(Piece("", finish_reason="length"))
                        continue
                    grammar = JsonSchema(schema, self._state) if schema else None
                    streams.append(self._engine.submit(prompt, self._sampling(asked, seed + number, chat), grammar))
        except DuomoError:
            for stream in streams:
                stream.cancel()
            raise
        return streams

    def _sampling(self, asked: Mapping[str, Any], seed: int, chat: bool) -> Sampling:
        """What was asked; the run's own settings where nothing was."""
        own: Sampling = self._task.config.sampling
        longest = asked.get("max_completion_tokens") or asked["max_tokens"]
        if chat:
            logprobs = (asked["top_logprobs"] or -1) if asked["logprobs"] else 0
        else:
            logprobs = 0 if asked["logprobs"] is None else asked["logprobs"] or -1
        given = {"temperature": asked["temperature"], "top_k": asked["top_k"], "top_p": asked["top_p"], "min_p": asked["min_p"],
                 "new_tokens": longest, "stop": tuple(asked["stop"]) if asked["stop"] else None,
                 **{name: asked.get(name) for name in PENALTIES}, "biases": tuple(map(tuple, asked.get("biases", ()))) or None}  # fmt: skip
        found = replace(
            own, seed=seed & (2**62 - 1), logprobs=logprobs, **{name: value for name, value in given.items() if value is not None}
        )
        schema = asked.get("call") or asked["schema"]
        return replace(found, schema=schema) if schema else found

    def _known(self, prompt: Sequence[int], top: int) -> tuple[Piece, ...]:
        """The tokens of a prompt, each with its probability behind those before it; the first has none."""
        found, device = [Piece("", prompt[0])], next(self._model.parameters()).device
        with torch.inference_mode():
            cache = self._model.start(1, len(prompt))
            for start in range(0, len(prompt) - 1, BLOCK):
                block = prompt[start : start + BLOCK]
                logs_TV = self._model.forward_cached(torch.tensor([block], device=device), cache)[0].float().log_softmax(-1)
                for row, token in enumerate(prompt[start + 1 : start + 1 + len(block)]):
                    values, tokens = logs_TV[row].topk(top)
                    tops = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
                    found.append(Piece("", token, float(logs_TV[row, token]), tops))
        return tuple(found)

    def _echo(self, asked: Mapping[str, Any], choices: Sequence[Choice], prompts: Sequence[Sequence[int]]) -> None:
        """Put before each answer what it was begun with."""
        for number, prompt in enumerate(prompts):
            told = asked["prompt"][number]
            known = self._known(prompt, asked["logprobs"]) if asked["logprobs"] is not None else ()
            for choice in choices[number * asked["n"] : (number + 1) * asked["n"]]:
                choice.prompt, choice.known = told if isinstance(told, str) else text_kind.decode_text(self._state, told), known

    def _write(self, question: Question, writer: "_Form", choices: Sequence[Choice], prompts: Sequence[Sequence[int]]) -> None:
        try:
            if question.asked.get("echo"):
                self._echo(question.asked, choices, prompts)
            if question.asked["stream"]:
                for body in writer.events(choices):
                    self._send(question.id, Reply(200, body, {"stream": True}, more=True))
                self._send(question.id, Reply(200, DONE, {"stream": True, **writer.counts(choices)}))
            else:
                for choice in choices:
                    _fill(choice)
                self._send(question.id, Reply(200, encoded(writer.whole(choices)), writer.counts(choices)))
        except DuomoError as error:
            status = 503 if isinstance(error, ResourceError) else 400
            if question.asked["stream"]:
                event = b"data: " + encoded(error_body(status, str(error), "stream")) + b"\n\n"
                self._send(question.id, Reply(200, event, {"stream": True}))
            else:
                self._send(question.id, Reply.failure(status, str(error)))


def _fill(choice: Choice) -> None:
    for piece in choice.stream:
        choice.pieces.append(piece)
        choice.text += piece.text
    choice.finish_reason = choice.stream.finish_reason


def _reason(choice: Choice, calls: Sequence[Any]) -> str | None:
    return "tool_calls" if calls and choice.finish_reason == "stop" else choice.finish_reason


class Starts:
    """Where tokens begin in a text: behind the characters that are whole before them, of which a token may be a part."""

    def __init__(self, state: Mapping[str, Any], start: int):
        self._tokenizer, self._stream, self._next = text_kind.tokenizer_of(state), DecodeStream(skip_special_tokens=True), start

    def of(self, pieces: Sequence[Piece]) -> list[int]:
        found = []
        for piece in pieces:
            found.append(self._next)
            self._next += len(self._stream.step(self._tokenizer, piece.token) or "")
        return found


class _Form:
    """How OpenAI's clients want answers written."""

    def __init__(self, model: str, chat: bool, asked: Mapping[str, Any], state: Mapping[str, Any]):
        self._chat, self._asked, self._state = chat, asked, state
        self._wants = bool(asked["logprobs"]) if chat else asked["logprobs"] is not None
        self._ends = text_kind.ends(state)
        self._head = {"id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12), "created": int(time.time()), "model": model}

    def counts(self, choices: Sequence[Choice]) -> dict[str, int]:
        """Tokens read and written, for usage and metrics; a prompt counts once, however many answers it gets."""
        prompts = sum(choice.stream.prompt_tokens for choice in choices[:: self._asked["n"]])
        return {"read": prompts, "written": sum(choice.stream.written_tokens for choice in choices)}

    def usage(self, choices: Sequence[Choice]) -> dict[str, Any]:
        found = self.counts(choices)
        cached = sum(choice.stream.reused_tokens for choice in choices[:: self._asked["n"]])
        return {"prompt_tokens": found["read"], "completion_tokens": found["written"], "total_tokens": sum(found.values()),
                "prompt_tokens_details": {"cached_tokens": cached}}  # fmt: skip

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """A response."""
        found = []
        for choice in choices:
            said, calls = self._calls(choice.text)
            message: dict[str, Any] = {"role": "assistant", "content": said or None if calls else said, "refusal": None}
            message |= {"tool_calls": calls} if calls else {}
            told = {"message": message} if self._chat else {"text": choice.prompt + choice.text}
            logprobs = None
            if self._wants:
                written = self._written(choice.pieces)
                starts = Starts(self._state, 0).of(choice.known) + Starts(self._state, len(choice.prompt)).of(written)
                logprobs = self._logprobs([*choice.known, *written], starts, begins=bool(choice.known))
            found.append({"index": choice.index, **told, "logprobs": logprobs, "finish_reason": _reason(choice, calls)})
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": found, "usage": self.usage(choices)}

    def events(self, choices: Sequence[Choice]) -> Iterator[bytes]:
        """Server-sent events."""
        for choice in choices:
            if self._chat:
                yield self._event(choice.index, {"delta": {"role": "assistant", "content": ""}}, None, None)
            elif choice.prompt or choice.known:
                starts = Starts(self._state, 0).of(choice.known)
                logprobs = self._logprobs(choice.known, starts, begins=True) if choice.known else None
                yield self._event(choice.index, {"text": choice.prompt}, logprobs, None)
            shown, places = 0, Starts(self._state, len(choice.prompt))
            for piece in choice.stream:
                written = self._written([piece]) if self._wants else []
                logprobs = self._logprobs(written, places.of(written)) if written else None
                choice.text += piece.text
                text, shown = choice.text[shown : self._safe(choice.text)], max(shown, self._safe(choice.text))
                if text or logprobs:
                    yield self._event(choice.index, {"delta": {"content": text}} if self._chat else {"text": text}, logprobs, None)
                choice.finish_reason = piece.finish_reason
            calls = self._calls(choice.text)[1]
            left: dict[str, Any] = {"content": choice.text[shown:]} if choice.text[shown:] else {}
            if calls:
                left = {"tool_calls": [{"index": number, **call} for number, call in enumerate(calls)]}
            ended: dict[str, Any] = {"delta": left} if self._chat else {"text": ""}
            yield self._event(choice.index, ended, None, _reason(choice, calls))
        if (self._asked["stream_options"] or {}).get("include_usage"):
            yield b"data: " + encoded({**self._chunk(), "choices": [], "usage": self.usage(choices)}) + b"\n\n"

    def _safe(self, text: str) -> int:
        """How much of a text can be sent while it grows."""
        return len(text) if not self._asked.get("tools") else 0 if self._asked["call"] else tools.plain(text)

    def _calls(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """What is said and what is called."""
        if not self._asked.get("tools"):
            return text, []
        calls = tools.demanded(text) if self._asked["call"] else []
        said, calls = ("" if calls else text, calls) if self._asked["call"] else tools.found(text)
        return said, calls[:1] if self._asked["parallel_tool_calls"] is False else calls

    def _chunk(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk" if self._chat else "text_completion"}

    def _event(self, index: int, told: Mapping[str, Any], logprobs: Any, reason: str | None) -> bytes:
        choice = {"index": index, **told, "logprobs": logprobs, "finish_reason": reason}
        return b"data: " + encoded({**self._chunk(), "choices": [choice]}) + b"\n\n"

    def _written(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those with a token of the answer. The one that ends it is none, and `usage` does not count it either."""
        return [piece for piece in pieces if piece.token >= 0 and not (piece.finish_reason and piece.token in self._ends)]

    def _logprobs(self, pieces: Sequence[Piece], starts: Sequence[int], *, begins: bool = False) -> dict[str, Any]:
        """`begins`: the first token has nothing before it to be likely behind."""
        if self._chat:
            return {"content": [self._spelled(piece.token, piece.logprob) | {"top_logprobs": [self._spelled(*one) for one in piece.top]}
                                for piece in pieces], "refusal": None}  # fmt: skip
        texts = [self._text(piece.token) for piece in pieces]
        tops: list[dict[str, float] | None] = [self._likeliest(piece.top) for piece in pieces]
        values: list[float | None] = [piece.logprob for piece in pieces]
        values, tops = ([None, *values[1:]], [None, *tops[1:]]) if begins else (values, tops)
        return {"tokens": texts, "token_logprobs": values, "top_logprobs": tops, "text_offset": list(starts)}

    def _likeliest(self, top: Sequence[tuple[int, float]]) -> dict[str, float]:
        """By spelling: of tokens that are spelled alike, such as two parts of characters, the likeliest."""
        found: dict[str, float] = {}
        for token, value in top:
            text = self._text(token)
            found[text] = max(value, found.get(text, value))
        return found

    def _text(self, token: int) -> str:
        return text_kind.decode_text(self._state, [token])

    def _spelled(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._text(token)
        told = text.encode("utf-8", "replace")
        if "\ufffd" in text:  # a part of a character: who joins the bytes of several tokens has it whole
            told = speller(self._state)(text_kind.tokenizer_of(self._state).id_to_token(token) or "")
        return {"token": text, "logprob": logprob, "bytes": list(told)}
