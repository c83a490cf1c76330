"""A run written by llama.cpp, from the GGUF file that was exported from it: several answers side by side. The extra `llamacpp`.

Same face as `Engine`, same sampling (duomo/decode/sampling.py over llama.cpp's logits), so only the arithmetic differs: a row's sums may
depend on its company here. What was read stays in a slot, and an answer that begins like a former one goes on from there.
"""

import ctypes
import importlib
import queue
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Full
from typing import Any

import numpy as np
import torch

from duomo.core import runtime
from duomo.core.device import has_amx
from duomo.core.errors import ConfigError, DataError, DuomoError, ResourceError
from duomo.decode.detokenize import Pieces
from duomo.decode.engine import QUEUE, Engines, Stream
from duomo.decode.loop import Grammar, Language, Piece, common
from duomo.decode.sampling import Chosen, Sampler, Sampling, choose
from duomo.decode.whole_characters import WholeCharacters

WRITE_FAULTS = (DuomoError, RuntimeError, ValueError)
SLOTS = 4
STEP = 256
"""Tokens of one step: those of the answers, and of prompts that are read."""


@dataclass
class Row:
    """One answer in the making."""

    prompt: list[int]
    sampling: Sampling
    grammar: Grammar | None
    stream: Stream
    sampler: Sampler
    pieces: Pieces
    whole: WholeCharacters | None
    left: deque[int] = field(default_factory=deque)
    """Tokens that llama.cpp has not read yet."""
    cancelled: threading.Event = field(default_factory=threading.Event)


class LlamaEngine(Engines):
    """A GGUF file in llama.cpp, with a thread of its own; safe for threads."""

    def __init__(
        self, path: Path, language: Language, context: int, *, slots: int = SLOTS, threads: int = 0
    ):  # fmt: skip
        """`slots`: answers written side by side. ConfigError where llama-cpp-python is missing or cannot open the file."""
        self._core = Core(path, context, slots, threads or torch.get_num_threads())
        self._language, self._context = language, context
        self._size = int(language.tokenizer["size"])
        self._queue: queue.Queue[Row | None] = queue.Queue(QUEUE)
        self._rows: dict[int, Row] = {}
        """By slot."""
        self._held: list[list[int]] = [[] for _ in range(slots)]
        """What each slot has read."""
        self._door, self._closed = threading.Lock(), False
        runtime.release()
        self._thread = threading.Thread(target=self._run, name="duomo-llama", daemon=True)
        self._thread.start()

    def submit(self, prompt: Sequence[int], sampling: Sampling, grammar: Grammar | None = None) -> Stream:
        if not 0 < len(prompt) < self._context:
            raise DataError("A prompt must have 1 to {most} tokens; received {size}. Shorten it.", most=self._context - 1, size=len(prompt))
        stream = Stream(len(prompt))
        row = Row(
            list(prompt),
            sampling,
            grammar,
            stream,
            Sampler.of(sampling, prompt, self._size),
            Pieces(self._language.tokenizer, sampling.stop),
            None if grammar else WholeCharacters(self._language.tokenizer, prompt),
        )
        stream.on_cancel(row.cancelled.set)
        with self._door:  # what comes after the last look into the queue would wait for ever
            if self._closed:
                raise ResourceError("The engine was closed before the answer was complete.")
            try:
                self._queue.put_nowait(row)
            except Full:
                sentence = "Too many texts are being written; {most} may wait. Try again later."
                raise ResourceError(sentence, most=self._queue.maxsize) from None
        return stream

    def close(self) -> None:
        with self._door:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._core.close()

    # -- the thread
    def _run(self) -> None:
        while not self._closed:
            self._take_over()
            try:
                if self._rows:
                    self._step()
            except WRITE_FAULTS as error:
                self._fail(error if isinstance(error, DuomoError) else ResourceError("Writing failed: {reason}.", reason=str(error)[:200]))
        while not self._queue.empty():
            if (row := self._queue.get()) is not None:
                self._rows[len(self._rows) + len(self._held)] = row
        self._fail(ResourceError("The engine was closed before the answer was complete."))

    def _fail(self, error: DuomoError) -> None:
        for row in self._rows.values():
            row.stream.put(error)
        self._rows.clear()
        for slot in range(len(self._held)):
            self._forget(slot, 0)

    def _take_over(self) -> None:
        """Give free slots to what waits: the one that has read most of the same beginning. Waits where there is nothing to do."""
        while len(self._rows) < len(self._held) and (not self._rows or not self._queue.empty()):
            row = self._queue.get()
            if row is None:
                return
            free = [slot for slot in range(len(self._held)) if slot not in self._rows]
            slot = max(free, key=lambda slot: common(self._held[slot], row.prompt))
            kept = min(common(self._held[slot], row.prompt), len(row.prompt) - 1)
            self._forget(slot, kept)
            row.stream.reused_tokens = kept
            row.left.extend(row.prompt[kept:])
            self._rows[slot] = row

    def _forget(self, slot: int, kept: int) -> None:
        self._held[slot] = self._held[slot][:kept]
        self._core.forget(slot, kept)

    def _step(self) -> None:
        """One token more for each answer that is waited for, and as much of the prompts as a step holds."""
        for slot, row in list(self._rows.items()):
            if row.cancelled.is_set():
                del self._rows[slot]
                row.stream.put(Piece("", finish_reason="cancelled"))
        if not self._rows:
            return
        room, asked, wanted = STEP, list[tuple[int, int, int, bool]](), dict[int, int]()
        for slot, row in sorted(self._rows.items(), key=lambda item: len(item[1].left)):
            for _ in range(min(len(row.left), room)):
                token = row.left.popleft()
                asked.append((token, len(self._held[slot]), slot, not row.left))
                self._held[slot].append(token)
                room -= 1
            if not row.left:
                wanted[slot] = len(asked) - 1
        self._core.read(asked)
        for slot, place in wanted.items():
            row = self._rows[slot]
            try:
                self._go_on(slot, row, self._choose(row, place))
            except DataError as error:  # its grammar cannot be followed on; its neighbours are written as before
                del self._rows[slot]
                row.stream.put(error)

    def _go_on(self, slot: int, row: Row, chosen: Chosen) -> None:
        text, reason = "", ""
        if chosen.token < 0 or chosen.token in self._language.ends:
            reason = "stop"
        else:
            row.stream.written_tokens += 1
            if row.grammar is not None:
                row.grammar.accept(chosen.token)
            if row.whole is not None:
                row.whole.add(chosen.token)
            text = row.pieces.add(chosen.token)
            row.left.append(chosen.token)
            full = row.stream.written_tokens >= row.sampling.new_tokens or len(self._held[slot]) >= self._context - 1
            reason = "stop" if row.pieces.stopped else "length" if full else ""
        if reason:
            del self._rows[slot]
            text += "" if row.pieces.stopped else row.pieces.end()
        if text or reason or row.sampling.logprobs:
            row.stream.put(Piece(text, chosen.token, chosen.logprob, chosen.top, reason))

    def _choose(self, row: Row, place: int) -> Chosen:
        """The next token; -1 where the grammar allows none and none ends an answer."""
        logits_V = self._core.logits(place, self._size)
        asked, sampler = row.sampling, row.sampler
        plain = row.grammar is None and sampler.seen is None and sampler.written is None
        sampler.mask = row.whole.mask() if row.whole else None
        if plain and not (asked.temperature or asked.biases or asked.logprobs or self._language.banned):
            token = int(logits_V.argmax())
            if sampler.mask is None or sampler.mask[token]:
                return Chosen(token)  # torch's threads would wait beside those of llama.cpp
        if row.grammar is not None:
            sampler.mask = row.grammar.mask().clone()
            if not sampler.mask.any() and not self._language.ends:
                return Chosen(-1)
            if not sampler.mask.any():
                sampler.mask[list(self._language.ends)] = True
        return choose(torch.from_numpy(logits_V.copy()).unsqueeze(0), [sampler], self._language.banned)[0]


class Core:
    """A model and its memory in llama.cpp, by its C interface; not safe for threads."""

    def __init__(self, path: Path, context: int, slots: int, threads: int):
        try:
            self._c: Any = importlib.import_module("llama_cpp")
        except ImportError:
            raise ConfigError("llama.cpp is not installed. Install it with: pip install 'duomo[llamacpp]'") from None
        self._quiet = self._c.llama_log_callback(lambda *_: None)
        self._c.llama_log_set(self._quiet, ctypes.c_void_p(0))
        self._c.llama_backend_init()
        how = self._c.llama_model_default_params()
        if has_amx():
            how.use_extra_bufts = False  # of weights in 4 and 8 bits, its kernels for AMX end the process on virtual machines (0.3.36)
        self._model = self._c.llama_model_load_from_file(str(path).encode(), how)
        if not self._model:
            raise ConfigError("llama.cpp must be able to open {path}; it could not.", path=path)
        wished = self._c.llama_context_default_params()
        wished.n_ctx, wished.n_seq_max, wished.n_batch, wished.n_ubatch = context * slots, slots, STEP, STEP
        wished.n_threads = wished.n_threads_batch = threads
        self._context = self._c.llama_init_from_model(self._model, wished)
        if not self._context:
            self._c.llama_model_free(self._model)
            raise ConfigError("llama.cpp must be able to open {path}; it could not.", path=path)
        self._memory = self._c.llama_get_memory(self._context)
        self._batch = self._c.llama_batch_init(STEP, 0, 1)

    def read(self, asked: Sequence[tuple[int, int, int, bool]]) -> None:
        """Tokens with place, slot and whether the logits behind them are wanted."""
        batch = self._batch
        batch.n_tokens = len(asked)
        for number, (token, place, slot, wanted) in enumerate(asked):
            batch.token[number], batch.pos[number], batch.n_seq_id[number], batch.logits[number] = token, place, 1, wanted
            batch.seq_id[number][0] = slot
        if code := self._c.llama_decode(self._context, batch):
            raise ResourceError("Writing failed: {reason}.", reason=f"llama_decode {code}")

    def logits(self, number: int, size: int) -> np.ndarray:
        """(V,) float32 behind a token of the last step; a view that the next step overwrites."""
        return np.ctypeslib.as_array(self._c.llama_get_logits_ith(self._context, number), shape=(size,))

    def forget(self, slot: int, kept: int) -> None:
        """All but the first `kept` tokens of a slot."""
        self._c.llama_memory_seq_rm(self._memory, slot, kept, -1)

    def close(self) -> None:
        self._c.llama_batch_free(self._batch)
        self._c.llama_free(self._context)
        self._c.llama_model_free(self._model)
