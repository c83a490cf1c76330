"""Continuous batching: requests join and leave between tokens, over one key-value cache with a slot for each.

    waiting --prompt read in blocks, alone--> row of the batch --one token a step, together--> finished, its slot kept for reuse

Equal whether alone or in company. A prompt is read by itself in blocks whose borders follow from the prompt; what is reused of a former
prompt are whole blocks, computed the same way. A step computes all rows in one product, whose kernel sums a row in another order at
some heights (docs/decisions/0002): `heights` finds by trial on the model itself which heights give the same bits, and a step is filled up
to the next of them. So the answer is the same to the last bit as long as the machine, its threads and the precision are.

Legend: N rows, T tokens, V vocabulary.
"""

import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from duomo.core.contract import Decoder, Slots
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import text as text_kind
from duomo.decode.detokenize import Pieces
from duomo.decode.sampling import Chosen, Sampler, Sampling, choose
from duomo.decode.uncached import Reread
from duomo.decode.whole_characters import WholeCharacters

BLOCK = 64
"""Tokens of a prompt that are read at once."""
SLOTS = 8
PROBED, LONGEST = 100, 140
"""Tokens before the step that heights are tried out on, for in sums of a few terms their order seldom shows; and of a longer row beside."""
_HEIGHTS: "weakref.WeakKeyDictionary[nn.Module, dict[Any, list[int]]]" = weakref.WeakKeyDictionary()


class Grammar(Protocol):
    """What may be written next (decode/grammar.py)."""

    def mask(self) -> Tensor:
        """(V,) bool; all False where nothing but the end may follow."""

    def accept(self, token: int) -> None: ...


@dataclass(frozen=True)
class Piece:
    """A part of an answer. `text` may be empty; the last piece has a finish reason: stop, length, cancelled, error."""

    text: str
    token: int = -1
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()
    finish_reason: str = ""
    error: DataError | None = None
    """Why this answer could not go on; its neighbours do."""


@dataclass
class Request:
    """One answer in the making."""

    prompt: list[int]
    sampling: Sampling
    sink: Callable[[Piece], None]
    sampler: Sampler
    pieces: Pieces
    grammar: Grammar | None = None
    whole: WholeCharacters | None = None
    """What keeps its characters whole, where no grammar does."""
    cancelled: bool = False
    written: list[int] = field(default_factory=list)
    reused: int = 0
    """Tokens of the prompt that were in the cache already."""
    text: list[int] = field(default_factory=list)
    """Everything that must be in the cache before the next token can be chosen."""
    fed: int = 0
    """How much of it is."""


@dataclass(frozen=True)
class Language:
    """What a batch needs to know of the tokens: how they spell, which end an answer, which are never written."""

    tokenizer: Mapping[str, Any]
    ends: frozenset[int]
    banned: tuple[int, ...] = ()

    @staticmethod
    def of(tokenizer: Mapping[str, Any], ends: Sequence[int] = ()) -> "Language":
        """From the state of core/kinds/text.py; `ends` besides its own end tokens."""
        found = frozenset(ends) | text_kind.ends(tokenizer)
        padding = text_kind.special(tokenizer, "padding")
        return Language(tokenizer, found, (padding,) if padding >= 0 and padding not in found else ())


class Batcher:
    """The batch itself; not safe for threads (engine.py is)."""

    def __init__(self, model: nn.Module, language: Language, context: int, *, slots: int = SLOTS, roll: bool = False):
        """`context`: tokens that a row can hold. With `roll` a full row goes on from its last half; without, its answer ends there."""
        if context < 2 or slots < 1:
            raise ConfigError(
                "A batch needs a context of 2 tokens and 1 slot at least; received {context} and {slots}.", context=context, slots=slots
            )
        self.model: Any = model if isinstance(model, Decoder) and isinstance(model.start(1, 2), Slots) else Reread(model)
        self.language, self.context, self.slots, self.roll = language, context, slots, roll
        self.device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        self.heights = heights(self.model, model, slots, context)
        self.cache: Any = self.model.start(max(slots, self.heights[-1]), context)
        self.waiting: deque[Request] = deque()
        self.rows: list[Request] = []
        """Row i has slot i."""
        self.reading: Request | None = None
        """The request whose prompt is being read; its slot is len(rows)."""
        self.held: list[list[int]] = [[] for _ in range(max(slots, self.heights[-1]))]
        """Tokens of each slot that were read in whole blocks, for reuse."""

    def request(self, prompt: Sequence[int], sampling: Sampling, sink: Callable[[Piece], None], grammar: Grammar | None = None) -> Request:
        """A request for `add`; DataError where the prompt is empty or leaves no room in the context."""
        tokens = [int(token) for token in prompt]
        if not tokens or len(tokens) >= self.context:
            raise DataError("A prompt must have 1 to {most} tokens; received {size}. Shorten it.", most=self.context - 1, size=len(tokens))
        size = int(self.language.tokenizer["size"])
        if not 0 <= min(tokens) <= max(tokens) < size:
            raise DataError("Tokens must lie between 0 and {last}; received {value}.", last=size - 1, value=max(tokens))
        pieces = Pieces(self.language.tokenizer, sampling.stop)
        whole = None if grammar else WholeCharacters(self.language.tokenizer, tokens)
        return Request(tokens, sampling, sink, Sampler.of(sampling, tokens, size), pieces, grammar, whole, text=list(tokens))

    def clear(self) -> None:
        """Forget every request and what was read: a step has failed, and what the cache holds is not known."""
        self.waiting.clear()
        self.rows, self.reading, self.held = [], None, [[] for _ in self.held]

    def add(self, request: Request) -> None:
        self.waiting.append(request)

    def busy(self) -> bool:
        return bool(self.waiting or self.rows or self.reading)

    def step(self) -> None:
        """A block of one waiting prompt, and one token for every row."""
        for request in [one for one in self.rows if one.cancelled]:
            self._finish(request, "cancelled")
        left = [one for one in self.waiting if one.cancelled]
        self.waiting = deque(one for one in self.waiting if not one.cancelled) if left else self.waiting
        for request in left:
            request.sink(Piece("", finish_reason="cancelled"))
        if self.waiting and self.reading is None and len(self.rows) < self.slots:
            self._admit(self.waiting.popleft())
        if self.reading is not None:
            self._read(self.reading)
        if self.rows:
            self._write()

    # -- prompts
    def _admit(self, request: Request) -> None:
        slot, last = len(self.rows), (len(request.text) - 1) // BLOCK * BLOCK
        shared = [min(common(held, request.text) // BLOCK * BLOCK, last) for held in self.held]
        best = max(range(len(shared)), key=lambda place: (shared[place], place == slot))
        if best != slot and shared[best]:
            if best > slot:
                self._swap(best, slot)
            else:
                self.cache.copy(best, slot, shared[best])
                self.held[slot] = self.held[best][: shared[best]]
        request.fed = shared[best]
        request.reused = request.reused or request.fed
        self.held[slot] = self.held[slot][: request.fed]
        self.reading = request

    def _read(self, request: Request) -> None:
        slot = len(self.rows)
        if request.cancelled:
            self.reading = None
            request.sink(Piece("", finish_reason="cancelled"))
            return
        block = request.text[request.fed : request.fed + BLOCK]
        logits = self.model.forward_cached(torch.tensor([block], device=self.device), self.cache.part(slot, [request.fed]))
        request.fed += len(block)
        if len(block) == BLOCK:
            self.held[slot] += block
        if request.fed == len(request.text):
            self.reading = None
            self.rows.append(request)
            self._choose([request], logits)

    # -- tokens
    def _write(self) -> None:
        """One token more for every row that has one to feed."""
        rows = list(self.rows)
        for request in [one for one in rows if one.fed >= self.context]:
            self._overflow(request)
        rows = list(self.rows)
        if not rows:
            return
        height = next(height for height in self.heights if height >= len(rows))
        spare = height - len(rows)
        tokens = torch.tensor([[request.text[-1]] for request in rows] + [[0]] * spare, device=self.device)
        unused = [min(len(self.held[slot]), self.context - 1) for slot in range(len(rows), height)]
        if spare and self.reading is not None:
            unused[0] = min(self.reading.fed, self.context - 1)  # what is written beyond that is overwritten before it is read
        part = self.cache.part(0, [request.fed for request in rows] + unused, ragged=True)
        logits = self.model.forward_cached(tokens, part)
        for request in rows:
            request.fed += 1
        self._choose(rows, logits[: len(rows)])

    def _choose(self, rows: list[Request], logits_NTV: Tensor) -> None:
        places = [place for place, request in enumerate(rows) if self._allowed(request)]
        if not places:
            return
        going = [rows[place] for place in places]
        found = choose(logits_NTV[places, -1].float().cpu(), [request.sampler for request in going], self.language.banned)
        for request, chosen in zip(going, found, strict=True):
            self._take(request, chosen)

    def _allowed(self, request: Request) -> bool:
        """Set what the grammar allows; False where the answer ends with that."""
        if request.grammar is None:
            request.sampler.mask = request.whole.mask() if request.whole else None
            return True
        try:
            mask_V = request.grammar.mask()
        except DataError as error:
            self._finish(request, "error", error=error)
            return False
        if not mask_V.any():
            if not self.language.ends:
                self._finish(request, "stop")
                return False
            mask_V = mask_V.clone()
            mask_V[list(self.language.ends)] = True
        request.sampler.mask = mask_V
        return True

    def _take(self, request: Request, chosen: Chosen) -> None:
        if chosen.token in self.language.ends:
            self._finish(request, "stop", chosen)
            return
        try:
            if request.grammar is not None:
                request.grammar.accept(chosen.token)
        except DataError as error:
            self._finish(request, "error", error=error)
            return
        if request.whole is not None:
            request.whole.add(chosen.token)
        request.written.append(chosen.token)
        request.text.append(chosen.token)
        piece = request.pieces.add(chosen.token)
        if request.pieces.stopped or len(request.written) >= request.sampling.new_tokens:
            self._finish(request, "stop" if request.pieces.stopped else "length", chosen, piece)
        elif piece or request.sampling.logprobs:
            request.sink(Piece(piece, chosen.token, chosen.logprob, chosen.top))

    def _overflow(self, request: Request) -> None:
        """The context is full: read the last half anew, or end."""
        if not self.roll:
            self._finish(request, "length")
            return
        self._leave(request)
        request.text = request.text[-max(1, self.context // 2) :]
        self.waiting.appendleft(request)

    def _finish(
        self, request: Request, reason: str, chosen: Chosen | None = None, text: str = "", error: DataError | None = None
    ) -> None:  # fmt: skip
        self._leave(request)
        if not request.pieces.stopped:
            text += request.pieces.end()
        token, logprob, top = (chosen.token, chosen.logprob, chosen.top) if chosen else (-1, 0.0, ())
        request.sink(Piece(text, token, logprob, top, reason, error))

    def _leave(self, request: Request) -> None:
        """Close the gap: the last row takes the slot, and what is being read follows."""
        slot, last = self.rows.index(request), len(self.rows) - 1
        if slot != last:
            self._swap(slot, last)
            self.rows[slot] = self.rows[last]
        self.rows.pop()
        if self.reading is not None:
            self._swap(last, last + 1)

    def _swap(self, one: int, other: int) -> None:
        self.cache.swap(one, other)
        self.held[one], self.held[other] = self.held[other], self.held[one]


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@torch.inference_mode()
def heights(decoder: Any, model: nn.Module, slots: int, context: int) -> list[int]:
    """Numbers of rows, ascending, at which a step gives every row the same bits; the last is `slots` or a little more. No row is tried that
    has more tokens than `context`: a model may have learned so many places only."""
    if isinstance(decoder, Reread):
        return list(range(1, slots + 1))
    weight = next(model.parameters())
    device, kind = weight.device, weight.device.type
    amp = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    probed, longest = max(1, min(PROBED, context - 2)), max(1, min(LONGEST, context - 1))
    key = (slots, probed, longest, amp, torch.get_float32_matmul_precision(), torch.get_num_threads(), weight.dtype, kind)
    known = _HEIGHTS.setdefault(model, {})
    if key not in known:
        most = max(2, slots if slots <= 4 else -(-slots // 4) * 4)
        generator = torch.Generator().manual_seed(0)
        size = decoder.forward_cached(torch.zeros(1, 1, dtype=torch.int64, device=device), decoder.start(1, 2)).shape[-1]
        first_NT, next_N1 = (torch.randint(0, size, (most, steps), generator=generator).to(device) for steps in (probed, 1))
        cache = decoder.start(most + 1, max(2, min(256, context)))
        for row in range(most):
            decoder.forward_cached(first_NT[row : row + 1], cache.part(row, [0]))
        lengths = [probed] * most
        longer = torch.cat([next_N1, next_N1[:1]])  # a long row beside them must not matter either
        whole = decoder.forward_cached(longer, cache.part(0, [*lengths, longest], ragged=True))[:most]
        whole = whole if torch.equal(whole, decoder.forward_cached(next_N1, cache.part(0, lengths, ragged=True))) else whole * torch.nan
        found = []
        # one row alone may take another kernel, whose difference bf16 hides most of the time
        for height in range(1 if whole.dtype == torch.float32 else 2, most):
            starts = range(0, most - height + 1, height)
            parts = [
                (at, decoder.forward_cached(next_N1[at : at + height], cache.part(at, lengths[:height], ragged=True))) for at in starts
            ]
            if all(torch.equal(part, whole[at : at + height]) for at, part in parts):
                found.append(height)
        known[key] = [*found, most]
    return known[key]
