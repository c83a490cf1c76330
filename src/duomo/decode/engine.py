"""The face of decoding: `Engine` for a server's threads, `write` for a table's rows.

engine = Engine(model, Language.of(tokenizer), context)
stream = engine.submit(tokens, Sampling(temperature=0, stop=("\\n\\n",)))
for piece in stream: print(piece.text, end="")
stream.finish_reason, stream.prompt_tokens, stream.written_tokens
engine.close()
"""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from duomo.core import runtime
from duomo.core.device import PRODUCTS, Execution
from duomo.core.errors import DuomoError, ResourceError
from duomo.core.tensors import Batch
from duomo.decode.loop import SLOTS, Batcher, Grammar, Language, Piece, Request
from duomo.decode.sampling import Sampling

STEP_FAULTS = (RuntimeError, DuomoError, ValueError, LookupError, TypeError, MemoryError)
QUEUE = 64
WAVE = 32
"""Answers that are asked for at once where another engine writes."""


class Stream:
    """The pieces of one answer as they come. Iterate over it once, or wait for `text()`."""

    def __init__(self, prompt_tokens: int) -> None:
        self._pieces: queue.SimpleQueue[Piece | DuomoError] = queue.SimpleQueue()
        self.prompt_tokens, self.written_tokens, self.reused_tokens = prompt_tokens, 0, 0
        self.finish_reason = ""
        self._cancel: Callable[[], None] = lambda: None

    def put(self, piece: Piece | DuomoError) -> None:
        self._pieces.put(piece)

    def on_cancel(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Nobody waits any more: the answer ends at the next token, with the reason `cancelled`."""
        self._cancel()

    def __iter__(self) -> Iterator[Piece]:
        while not self.finish_reason:
            yield self.get()

    def get(self, timeout: float | None = None) -> Piece:
        """The next piece; queue.Empty after `timeout` seconds without one, a DuomoError where the engine failed."""
        piece = self._pieces.get(timeout=timeout)
        if isinstance(piece, DuomoError):
            self.finish_reason = "error"
            raise piece
        self.finish_reason = piece.finish_reason
        return piece

    def text(self) -> str:
        """The whole answer."""
        return "".join(piece.text for piece in self)


@runtime_checkable
class Writer(Protocol):
    """A task that a person can talk to: what an engine and a conversation need to know of it."""

    context: int
    """Tokens that its model reads."""

    @property
    def language(self) -> Language: ...

    @property
    def sampling(self) -> Sampling:
        """How its recipe writes."""

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """What the model reads when these messages ({"role", "content"}) were exchanged and it is its turn."""


class Engines(ABC):
    """What writes answers: torch (`Engine`) or llama.cpp (llama.py)."""

    @abstractmethod
    def submit(self, prompt: Sequence[int], sampling: Sampling, grammar: Grammar | None = None) -> Stream:
        """Queue a prompt. DataError for a prompt that does not fit, ResourceError where the queue is full or the engine closed."""

    @abstractmethod
    def close(self) -> None:
        """Stop; what is unfinished ends with a ResourceError."""


class Engine(Engines):
    """A batch with a thread of its own; safe for threads."""

    def __init__(
        self, model: nn.Module, language: Language, context: int, *, slots: int = SLOTS, roll: bool = False,
        waiting: int = QUEUE, execution: Execution | None = None,
    ):  # fmt: skip
        """`waiting`: requests that may queue for a slot. `execution`: precision and threads (plain float32 without)."""
        self._execution, self._most = execution or Execution(), waiting
        self._wake, self._closed = threading.Condition(), False
        self._streams: dict[int, tuple[Request, Stream]] = {}
        self._new: list[Request] = []
        with running(self._execution), PRODUCTS.at(self._execution.products):
            self._batch = Batcher(model, language, context, slots=slots, roll=roll)
        runtime.release()
        self._thread = threading.Thread(target=self._run, name="duomo-decode", daemon=True)
        self._thread.start()

    @property
    def load(self) -> tuple[int, int]:
        """Requests being answered, and requests that wait."""
        with self._wake:
            active = len(self._batch.rows) + (self._batch.reading is not None)
            return active, len(self._streams) - active

    def submit(self, prompt: Sequence[int], sampling: Sampling, grammar: Grammar | None = None) -> Stream:
        stream = Stream(len(prompt))
        request = self._batch.request(prompt, sampling, lambda piece: self._deliver(request, stream, piece), grammar)
        stream.on_cancel(lambda: setattr(request, "cancelled", True))
        with self._wake:
            if self._closed:
                raise ResourceError("The engine was closed before the answer was complete.")
            if len(self._streams) >= self._most + self._batch.slots:
                raise ResourceError("Too many texts are being written; {most} may wait. Try again later.", most=self._most)
            self._streams[id(request)] = (request, stream)
            self._new.append(request)
            self._wake.notify()
        return stream

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _deliver(self, request: Request, stream: Stream, piece: Piece) -> None:
        stream.written_tokens, stream.reused_tokens = len(request.written), request.reused
        if piece.finish_reason:
            with self._wake:
                self._streams.pop(id(request), None)
        stream.put(piece.error or piece)

    def _run(self) -> None:
        """Until closed. A step that fails ends the answers it was writing; later ones begin anew."""
        with running(self._execution):
            while self._next():
                try:
                    with PRODUCTS.at(self._execution.products):
                        self._batch.step()
                except STEP_FAULTS as error:
                    self._batch.clear()
                    self._fail(
                        error if isinstance(error, DuomoError) else ResourceError("Writing failed: {reason}.", reason=str(error)[:200])
                    )
        self._fail(ResourceError("The engine was closed before the answer was complete."))

    def _next(self) -> bool:
        """Take over what is new; wait where there is nothing to do. False once closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._new or self._batch.busy())
            for request in self._new:
                self._batch.add(request)
            self._new.clear()
            return not self._closed

    def _fail(self, error: DuomoError) -> None:
        with self._wake:
            self._new.clear()
            left, self._streams = list(self._streams.values()), {}
        for _, stream in left:
            stream.put(error)


@contextmanager
def running(execution: Execution) -> Iterator[None]:
    """No gradients, and the type and threads of `execution`; autocast keeps what it has cast until the end of this."""
    if execution.threads:
        torch.set_num_threads(execution.threads)
    with torch.inference_mode(), execution.autocast():
        yield


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    text: str
    tokens: list[int]
    finish_reason: str
    mean: float = 0.0
    """Mean log-probability of its tokens, where these were asked for."""


class EngineProxy(nn.Module):
    """Stands in a model's place where another engine writes."""

    def __init__(self, engine: Engines):
        super().__init__()
        self._engine = engine

    def answers(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> list[Answer]:
        found: list[Answer] = []
        for start in range(0, len(prompts), WAVE):
            asked = zip(prompts[start : start + WAVE], samplings[start : start + WAVE], strict=True)
            for stream in [self._engine.submit(prompt, replace(sampling, logprobs=-1)) for prompt, sampling in asked]:
                pieces = list(stream)
                tokens = [piece.token for piece in pieces if piece.token >= 0]
                found.append(Answer("".join(piece.text for piece in pieces), tokens, stream.finish_reason, _mean(pieces)))
        return found


def write(
    model: nn.Module, language: Language, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling], context: int, *,
    slots: int = SLOTS, roll: bool = False,
) -> list[Answer]:  # fmt: skip
    """Answers to many prompts, decoded together in the caller's thread, precision and autocast; equal to each alone."""
    if isinstance(model, EngineProxy):
        return model.answers(prompts, samplings)
    with torch.inference_mode():
        batch = Batcher(model, language, context, slots=slots, roll=roll)
        parts: list[list[Piece]] = [[] for _ in prompts]
        requests = [batch.request(prompt, sampling, part.append) for prompt, sampling, part in zip(prompts, samplings, parts, strict=True)]
        for request in requests:
            batch.add(request)
        while batch.busy():
            batch.step()
    return [
        Answer("".join(piece.text for piece in part), request.written, part[-1].finish_reason, _mean(part))
        for request, part in zip(requests, parts, strict=True)
    ]


def _mean(pieces: Sequence[Piece]) -> float:
    found = [piece.logprob for piece in pieces if piece.token >= 0]
    return sum(found) / max(1, len(found))


def write_batch(model: nn.Module, language: Language, batch: Batch, sampling: Sampling, context: int, *, roll: bool = False) -> list[str]:
    """What is written behind each row of `tokens`, drawn with the sampling's seed and the row's own (`prompt.seed`)."""
    lengths = batch["tokens.length"].clamp(min=1).tolist()
    prompts = [row[:length] for row, length in zip(batch["tokens"].tolist(), lengths, strict=True)]
    samplings = [replace(sampling, seed=(seed ^ sampling.seed) & (2**63 - 1)) for seed in batch["prompt.seed"].tolist()]
    return [answer.text for answer in write(model, language, prompts, samplings, context, roll=roll)]
