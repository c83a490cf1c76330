"""A run written by llama.cpp, from the GGUF file that was exported from it; one answer after another. The extra `llamacpp`.

Same face as `Engine`, same sampling (duomo/decode/sampling.py over llama.cpp's logits), so only the arithmetic differs. `agreement` is
the gate: how much of greedy answers is the same as the model's own. `fastest` measures engines here and takes the quickest that agrees.
"""

import importlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Full
from typing import Any

import numpy as np
import torch

from duomo.core.errors import ConfigError, DataError, ResourceError
from duomo.core.messages import tr
from duomo.decode.engine import QUEUE, Engines, Stream
from duomo.decode.loop import Grammar, Language, Piece
from duomo.decode.pieces import Pieces
from duomo.decode.sampling import Chosen, Drawer, Sampling, choose

RUN_FAULTS = (RuntimeError, ValueError)

TRIAL = Sampling(temperature=0, new_tokens=32)


class LlamaEngine(Engines):
    """A GGUF file in llama.cpp, with a thread of its own; safe for threads."""

    def __init__(self, path: Path, language: Language, context: int, *, threads: int = 0, waiting: int = QUEUE):
        """ConfigError where llama-cpp-python is missing or cannot open the file."""
        try:
            self._library: Any = importlib.import_module("llama_cpp")
        except ImportError:
            raise ConfigError("llama.cpp is not installed. Install it with: pip install 'duomo[llamacpp]'") from None
        try:
            self._model: Any = self._library.Llama(
                model_path=str(path), n_ctx=context, n_threads=threads or torch.get_num_threads(), n_threads_batch=threads or None,
                verbose=False,
            )  # fmt: skip
        except ValueError as error:
            raise ConfigError("llama.cpp must be able to open {path}; it says: {reason}", path=path, reason=str(error)[:200]) from None
        self._language, self._context = language, context
        self._size = int(language.tokenizer["size"])
        self._queue: queue.Queue[tuple[list[int], Sampling, Grammar | None, Stream] | None] = queue.Queue(waiting)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="duomo-llama", daemon=True)
        self._thread.start()

    def submit(self, prompt: Sequence[int], sampling: Sampling, grammar: Grammar | None = None) -> Stream:
        if not 0 < len(prompt) < self._context:
            raise DataError("A prompt must have 1 to {most} tokens; received {size}. Shorten it.", most=self._context - 1, size=len(prompt))
        stream = Stream(len(prompt))
        try:
            if self._closed:
                raise queue.Full
            self._queue.put_nowait((list(prompt), sampling, grammar, stream))
        except Full:
            raise ResourceError("Too many texts are being written; {most} may wait. Try again later.", most=self._queue.maxsize) from None
        return stream

    def close(self) -> None:
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._model.close()

    def _run(self) -> None:
        while (found := self._queue.get()) is not None:
            if self._closed:
                found[3].put(ResourceError("The engine was closed before the answer was complete."))
                continue
            try:
                self._answer(*found)
            except RUN_FAULTS as error:
                found[3].put(ResourceError("Writing failed: {reason}.", reason=str(error)[:200]))

    def _answer(self, prompt: list[int], sampling: Sampling, grammar: Grammar | None, stream: Stream) -> None:
        cancelled = threading.Event()
        stream.on_cancel(cancelled.set)
        drawer, pieces = Drawer.of(sampling, prompt, self._size), Pieces(self._language.tokenizer, sampling.stop)
        self._model.reset()
        new, reason = prompt, ""
        while not reason:
            self._model.eval(new)
            chosen = self._choose(drawer, grammar)
            text, reason = "", ""
            if chosen.token in self._language.ends:
                reason = "stop"
            else:
                stream.written_tokens += 1
                if grammar is not None:
                    grammar.accept(chosen.token)
                text, new = pieces.add(chosen.token), [chosen.token]
                full = stream.written_tokens >= sampling.new_tokens or len(prompt) + stream.written_tokens > self._context - 1
                reason = "stop" if pieces.stopped else "length" if full else "cancelled" if cancelled.is_set() else ""
            if reason and not pieces.stopped:
                text += pieces.end()
            if text or reason or sampling.logprobs:
                stream.put(Piece(text, chosen.token, chosen.logprob, chosen.top, reason))

    def _choose(self, drawer: Drawer, grammar: Grammar | None) -> Chosen:
        pointer = self._library.llama_get_logits_ith(self._model.ctx, -1)
        logits = torch.from_numpy(np.ctypeslib.as_array(pointer, shape=(self._size,)).copy()).unsqueeze(0)
        if grammar is not None:
            drawer.mask = grammar.mask().clone()
            if not drawer.mask.any():
                drawer.mask[list(self._language.ends)] = True
        return choose(logits, [drawer], self._language.banned)[0]


def tokens_of(engine: Engines, prompt: Sequence[int], sampling: Sampling = TRIAL) -> list[int]:
    """The tokens of an answer."""
    asked = Sampling(**(sampling.__dict__ | {"logprobs": -1}))
    return [piece.token for piece in engine.submit(prompt, asked) if piece.token >= 0]


def agreement(one: Engines, other: Engines, prompts: Sequence[Sequence[int]]) -> float:
    """Share of the greedy tokens that are the same up to the first that differs: 1 where all answers are equal."""
    same = whole = 0
    for prompt in prompts:
        a, b = tokens_of(one, prompt), tokens_of(other, prompt)
        same += next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        whole += max(len(a), len(b))
    return same / max(1, whole)


def fastest(
    makers: Mapping[str, Callable[[], Engines]], prompts: Sequence[Sequence[int]], least: float = 0.9
) -> tuple[str, dict[str, dict[str, float | str]]]:
    """The engine that writes most tokens a second among those that agree with the first on `least` of the greedy tokens, and all figures.

    An engine that cannot be made here is left out, with the reason beside its name.
    """
    figures: dict[str, dict[str, float | str]] = {}
    reference: Engines | None = None
    for name, make in makers.items():
        try:
            engine = make()
        except ConfigError as error:
            figures[name] = {"rate": 0.0, "agreement": 0.0, "note": str(error)}
            continue
        tokens_of(engine, prompts[0])
        start = time.perf_counter()
        count = sum(len(tokens_of(engine, prompt)) for prompt in prompts)
        rate = count / (time.perf_counter() - start)
        agreed = 1.0 if reference is None else agreement(reference, engine, prompts)
        figures[name] = {"rate": rate, "agreement": agreed, "note": "" if agreed >= least else tr("other answers than the model's own")}
        if reference is None:
            reference = engine
        else:
            engine.close()
    if reference is not None:
        reference.close()
    return max(figures, key=lambda name: (not figures[name]["note"], figures[name]["rate"])), figures
