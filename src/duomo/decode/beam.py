"""Beam search: the text that is likeliest as a whole, for decoders and for encoder-decoders.

    score(y) = log P(y | x) / lp(y)      lp(y) = ((5 + |y|) / 6)^α        (Wu et al. 2016, arXiv:1609.08144, eq. 14, without coverage)

Each text is searched alone, its beams as the rows of one product: always `beams` rows, so that an answer does not depend on its
neighbours. Legend: W beams, V vocabulary, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from duomo.core.contract import Decoder, EncoderDecoder
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch


@dataclass(frozen=True)
class Beam:
    """How a search is done."""

    beams: int = 4
    """Texts that are kept in mind; 1 takes the likeliest token each time."""
    new_tokens: int = 128
    """Tokens written at most."""
    least: int = 0
    """Tokens written at least."""

    def __post_init__(self) -> None:
        if not (1 <= self.beams <= 64 and self.new_tokens >= 1):
            raise ConfigError("A beam search has 1 to 64 beams and writes at least one token; received {beam}.", beam=self)


@dataclass(frozen=True)
class Found:
    """The best text: its tokens without the end, and its score."""

    tokens: list[int]
    score: float

    def by(self, length: int, penalty: float) -> "Found":
        """Of a text whose score is its log-probability: the score by a length penalty."""
        return Found(self.tokens, self.score / ((5 + length) / 6) ** penalty)


class _Rows:
    """The state of the model for W beams, whose rows are exchanged by reading the tokens anew or by picking rows of the cache."""

    def __init__(self, model: Any, prompt: list[int], beams: int, longest: int, device: torch.device, memory: Any = None):
        self.model = model
        memory = None if memory is None else memory.select(torch.zeros(beams, dtype=torch.int64, device=device))
        self.cache = model.start(beams, longest) if memory is None else model.start(beams, longest, memory)
        self.logits_WV = self._step(torch.tensor([prompt] * beams, device=device))

    def _step(self, tokens_WT: Tensor) -> Tensor:
        logits: Tensor = self.model.forward_cached(tokens_WT, self.cache)
        return logits[:, -1].float().cpu()

    def go_on(self, parents_W: Tensor, tokens_W: Tensor) -> None:
        device = next(self.model.parameters()).device
        self.cache.select(parents_W.to(device))
        self.logits_WV = self._step(tokens_W.unsqueeze(1).to(device))


@torch.inference_mode()
def search(
    model: nn.Module, prompt: Sequence[int], ends: Sequence[int], beam: Beam, context: int, penalties: Sequence[float], *,
    batch: Batch | None = None, banned: Sequence[int] = (),
) -> list[Found]:  # fmt: skip
    """The best continuation of `prompt` under each of the length penalties (α: 0 prefers short texts, 1 compares by the mean of a token).

    For an encoder-decoder `batch` is the source (one row) and `prompt` the start token. It is one search: which texts are followed does
    not depend on the penalty, only which of those that ended is best, and when no better one can come.
    ConfigError where the model keeps no cache that rows can be picked from.
    """
    device = next(model.parameters()).device
    memory = model.encode(batch) if isinstance(model, EncoderDecoder) and batch is not None else None
    if not isinstance(model, Decoder):
        raise ConfigError("Beam search needs a model that remembers what it read; {model} does not.", model=type(model).__name__)
    longest = min(context, len(prompt) + beam.new_tokens)
    rows = _Rows(model, list(prompt), beam.beams, longest, device, memory)
    texts: list[list[int]] = [[] for _ in range(beam.beams)]
    total_W = torch.full((beam.beams,), -torch.inf, dtype=torch.float64)
    total_W[0] = 0.0  # all beams begin alike: one of them is enough
    open_, best, done = Found([], 0.0), [Found([], -torch.inf)] * len(penalties), [False] * len(penalties)
    for step in range(1, longest - len(prompt) + 1):
        share_WV = torch.log_softmax(rows.logits_WV, -1).double()
        share_WV[:, list(banned)] = -torch.inf
        score_WV = total_W.unsqueeze(1) + share_WV
        for end in ends:
            parent = int(score_WV[:, end].argmax())
            ended = Found(texts[parent], float(score_WV[parent, end]) if step > beam.least else -torch.inf)
            best = [old if over else max(old, ended.by(step, penalty), key=lambda found: found.score)
                    for old, over, penalty in zip(best, done, penalties, strict=True)]  # fmt: skip
            score_WV[:, end] = -torch.inf
        total_W, place_W = torch.topk(score_WV.flatten(), beam.beams)
        parents_W, tokens_W = place_W // score_WV.shape[1], place_W % score_WV.shape[1]
        texts = [[*texts[parent], token] for parent, token in zip(parents_W.tolist(), tokens_W.tolist(), strict=True)]
        # sums only fall: the longest length could raise the best open text to this, and no further
        open_ = Found(texts[0], float(total_W[0]))
        done = [found.score >= open_.by(longest - len(prompt), penalty).score for found, penalty in zip(best, penalties, strict=True)]
        if all(done):
            return best
        if step < longest - len(prompt):
            rows.go_on(parents_W, tokens_W)
    last = [open_.by(len(texts[0]), penalty) for penalty in penalties]
    return [found if found.tokens or found.score > other.score else other for found, other in zip(best, last, strict=True)]
