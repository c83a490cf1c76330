"""How the next token is chosen: settings of one request, and the choice for many rows at once.

Legend: N rows, V vocabulary, C candidates. A row's choice depends on its own logits, settings and generator alone: neither on its
neighbours nor on how many there are.

    logits -> penalties and biases -> banned and grammar masks -> / temperature -> top-k -> top-p -> min-p -> drawn by inverting the sum
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duomo.core.errors import ConfigError, DataError

CANDIDATES = 1024
"""Likeliest tokens that are looked at first where no top-k says how many; all of them where these do not suffice."""

COLDEST = 1e-6
"""Of a temperature that is hardly above 0, what logits are still divided by without passing all bounds."""


@dataclass(frozen=True)
class Sampling:
    """What one request asks for."""

    temperature: float = 0.8
    """0 takes the most likely token; below 1 is safer, above 1 more varied."""
    top_k: int = 50
    """Only the k likeliest tokens are drawn from; 0: all."""
    top_p: float = 0.95
    """Only the likeliest tokens that together reach this probability are drawn from (arXiv:1904.09751)."""
    min_p: float = 0.0
    """Only tokens at least this share as likely as the likeliest are drawn from (arXiv:2407.01082)."""
    repetition_penalty: float = 1.0
    """Logits of tokens that stand in the prompt or were written are divided by it, negative ones multiplied (arXiv:1909.05858)."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit for every time that it was written."""
    presence_penalty: float = 0.0
    """Taken from a token's logit once it was written."""
    biases: tuple[tuple[int, float], ...] = ()
    """Tokens, and what is added to their logits: -100 keeps one out, 100 leaves no other."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    seed: int = 0
    """What is drawn follows from it."""
    new_tokens: int = 160
    """Tokens written at most."""
    logprobs: int = 0
    """For each token its log-probability and those of this many likeliest; -1: of the token alone."""
    schema: str = ""
    """A JSON schema that the answer must follow."""

    def __post_init__(self) -> None:
        bounds = {"temperature": (0.0, 100.0), "top_k": (0, 1 << 20), "top_p": (0.0, 1.0), "min_p": (0.0, 1.0),
                  "repetition_penalty": (0.01, 100.0),
                  "frequency_penalty": (-2.0, 2.0), "presence_penalty": (-2.0, 2.0),
                  "new_tokens": (1, 1 << 24), "logprobs": (-1, 20)}  # fmt: skip
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError("{name} must lie between {low} and {high}; received {value}.", name=name, low=low, high=high, value=value)
        if len(self.stop) > 16 or any(not text or len(text) > 500 for text in self.stop):
            raise ConfigError("Stop texts are at most 16, of 1 to 500 characters each; received {stop!r}.", stop=self.stop)


@dataclass
class Sampler:
    """A request's settings with what they have led to so far."""

    sampling: Sampling
    generator: torch.Generator
    seen: Tensor | None = None
    """(V,) bool: tokens that the repetition penalty acts on."""
    written: Tensor | None = None
    """(V,) how often each token was written, where that is penalised."""
    mask: Tensor | None = None
    """(V,) bool: tokens that the grammar allows now."""

    @staticmethod
    def of(sampling: Sampling, prompt: Sequence[int], vocabulary: int) -> "Sampler":
        if any(not 0 <= token < vocabulary for token, _ in sampling.biases):
            most = max(token for token, _ in sampling.biases)
            raise DataError("Tokens must lie between 0 and {last}; received {value}.", last=vocabulary - 1, value=most)
        seen = None
        if sampling.repetition_penalty != 1:
            seen = torch.zeros(vocabulary, dtype=torch.bool)
            seen[torch.tensor(list(prompt), dtype=torch.int64)] = True
        written = torch.zeros(vocabulary) if sampling.frequency_penalty or sampling.presence_penalty else None
        return Sampler(sampling, torch.Generator().manual_seed(sampling.seed & (2**63 - 1)), seen, written)


@dataclass(frozen=True)
class Chosen:
    """One row's next token, with log-probabilities where they were asked for."""

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


def choose(logits_NV: Tensor, rows: Sequence[Sampler], banned: Sequence[int] = ()) -> list[Chosen]:
    """The next token of each row from float32 logits on the CPU, which are changed in place."""
    raw_NV = torch.log_softmax(logits_NV, -1) if any(row.sampling.logprobs for row in rows) else None
    _restrict(logits_NV, rows, banned)
    tokens = logits_NV.argmax(-1).tolist()
    drawn: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        if row.sampling.temperature > 0:
            drawn.setdefault(row.sampling.top_k, []).append(number)
    for top_k, numbers in drawn.items():
        for number, token in zip(numbers, _draw(logits_NV[numbers], [rows[n] for n in numbers], top_k), strict=True):
            tokens[number] = token
    found = []
    for number, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        if row.seen is not None:
            row.seen[token] = True
        if row.written is not None:
            row.written[token] += 1
        found.append(Chosen(token) if raw_NV is None or not row.sampling.logprobs else _with_logprobs(raw_NV[number], token, row))
    return found


def _restrict(logits_NV: Tensor, rows: Sequence[Sampler], banned: Sequence[int]) -> None:
    for number, row in enumerate(rows):
        if row.seen is not None:
            seen = logits_NV[number, row.seen]
            logits_NV[number, row.seen] = torch.where(
                seen > 0, seen / row.sampling.repetition_penalty, seen * row.sampling.repetition_penalty
            )
        asked = row.sampling
        if row.written is not None:
            logits_NV[number] -= asked.frequency_penalty * row.written + asked.presence_penalty * (row.written > 0)
        for token, bias in asked.biases:
            logits_NV[number, token] += bias
        if row.mask is not None:
            logits_NV[number].masked_fill_(~row.mask, -torch.inf)
    if banned:
        logits_NV[:, list(banned)] = -torch.inf


def _draw(logits_NV: Tensor, rows: Sequence[Sampler], top_k: int) -> list[int]:
    heat_N1 = torch.tensor([[max(row.sampling.temperature, COLDEST)] for row in rows])
    share_NV = torch.softmax(logits_NV / heat_N1, -1)
    u_N1 = torch.tensor([[torch.rand((), generator=row.generator, dtype=torch.float64).item()] for row in rows], dtype=torch.float64)
    size = min(top_k or CANDIDATES, share_NV.shape[1])
    found: list[int] = []
    for share_V, u, row in zip(share_NV, u_N1, rows, strict=True):
        if not top_k and row.sampling.top_p >= 1 and row.sampling.min_p <= 0:  # from all: there is no need to sort them
            found.append(int(_invert(share_V.unsqueeze(0), u.unsqueeze(0))))
            continue
        value_C, token_C = _likeliest(share_V, size)
        if not top_k and float(value_C.sum()) < row.sampling.top_p:
            value_C, token_C = torch.sort(share_V, descending=True, stable=True)
        if top_k:
            value_C = value_C / value_C.sum()
        value_C = value_C.clone()
        value_C[(value_C.cumsum(0) - value_C > row.sampling.top_p) | (value_C < row.sampling.min_p * value_C[0])] = 0
        found.append(int(token_C[int(_invert(value_C.unsqueeze(0), u.unsqueeze(0)))]))
    return found


def _likeliest(share_V: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The `size` likeliest, likeliest first; among equals the lower number, which torch.topk leaves open."""
    least = torch.topk(share_V, size).values[-1]
    token_C = torch.nonzero(share_V >= least).squeeze(1)
    value_C, order_C = torch.sort(share_V[token_C], descending=True, stable=True)
    return value_C[:size], token_C[order_C][:size]


def _invert(share_NC: Tensor, u_N1: Tensor) -> Tensor:
    """(N, 1) the first place whose running sum passes u times the whole."""
    sums_NC = share_NC.double().cumsum(-1)
    place_N1 = torch.searchsorted(sums_NC, u_N1 * sums_NC[:, -1:], right=True)
    last_N1 = (share_NC > 0).long().mul(torch.arange(share_NC.shape[-1])).amax(-1, keepdim=True)
    return torch.minimum(place_N1, last_N1)


def _with_logprobs(raw_V: Tensor, token: int, row: Sampler) -> Chosen:
    top: tuple[tuple[int, float], ...] = ()
    if row.sampling.logprobs > 0:
        values, tokens = torch.topk(raw_V, min(row.sampling.logprobs, len(raw_V)))
        top = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
    return Chosen(token, float(raw_V[token]), top)
