"""Counts that speak beside a language model: how often a token followed the few before it, by Kneser–Ney (data/baselines/ngram.py).

    tokens before ─┬─ network ─────────────── P(w) ──── × weight ─┐
                   ├─ grams of 5 tokens ───── P(w | 4) × weight ──┤
                   ├─ …                                           ├─ + ─> log ─> (N, V)
                   ├─ single tokens ───────── P(w) ──── × weight ─┤
                   └─ every token alike ───── 1 / V ─── × weight ─┘
The weights of a place (`Gate`) are a softmax. It starts from those that interpolated Kneser–Ney gives its orders, and is moved by what the
contexts and the network say of themselves: how often a context was met, what followed it, how sure the network is. Weights by context:
Jelinek and Mercer 1980; networks with n-grams: Bengio et al. 2003, section 3; learned probabilities of escape: Bloom 1996 (PPMZ).
Tables and gate are fitted when the network has learned (train/counts.py); until then they are empty and only the network speaks. All
arithmetic is by rows: a row gets the same bits alone and in company. Legend: N places, V vocabulary, G grams of one order, C contexts of
one order, K tokens before, W voices, F features, H hidden, P pairs of place and follower.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from duomo.nn.grown import Grown

ORDER = 5
"""Tokens of the longest gram."""
VOICES = ORDER + 2
"""The network, grams from the shortest to the longest, and every token alike."""
FEATURES, HIDDEN = 4 * (ORDER - 1) + 2, 16
LEAST = 1e-9
"""Of a context's probability, below which its grams say nothing."""
AT_ONCE = 1 << 23
"""Most probabilities that are worked on at once."""


class Late(Grown):
    """Grown, and not there at all until it is fitted: files from before, and models from elsewhere, know nothing of it."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if any(value.numel() for value in self.buffers(recurse=False)):
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if any(prefix + name in state_dict for name, _ in self.named_buffers(recurse=False)):
            super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Late":
        def moved(value: Tensor) -> Tensor:
            found = fn(value)
            return found if found.dtype == value.dtype else value.to(found.device)  # probabilities stay as exact as they were

        return super()._apply(moved, recurse)


class Grams(Late):
    """Grams of one order: keys (G,) = number of the context * V + token, sorted. A gram's place is its number as a context."""

    key_G: Tensor
    share_G: Tensor
    passed_C: Tensor
    total_C: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("key_G", torch.zeros(0, dtype=torch.int64))
        for name in ("share_G", "passed_C", "total_C"):
            self.register_buffer(name, torch.zeros(0))

    def find(self, key: Tensor) -> Tensor:
        """The place of each key; -1 where it is not there."""
        if not len(self.key_G):
            return torch.full_like(key, -1)
        place = torch.searchsorted(self.key_G, key).clamp(max=len(self.key_G) - 1)
        return torch.where(self.key_G[place] == key, place, -1)


class Gate(Late):
    """(N, F) -> (N, W): what is added to the logarithms of the weights; one hidden layer."""

    level_2F: Tensor
    rise_HF: Tensor
    rise_H: Tensor
    fall_WH: Tensor
    fall_W: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("level_2F", "rise_HF", "rise_H", "fall_WH", "fall_W"):
            self.register_buffer(name, torch.zeros(0))

    def forward(self, x_NF: Tensor) -> Tensor:
        x_NF = (x_NF - self.level_2F[0]) / self.level_2F[1]
        # products row by row, not as matrices: those are summed in another order at another height
        h_NH = torch.tanh((x_NF.unsqueeze(1) * self.rise_HF).sum(2) + self.rise_H)
        return (h_NH.unsqueeze(1) * self.fall_WH).sum(2) + self.fall_W


class Contexts(NamedTuple):
    """What the tables know of the tokens before each place."""

    number_NK: Tensor
    """int64, of the last 1 to K tokens; -1 where they were never met."""
    weight_NW: Tensor
    """Logarithms of the weights that Kneser–Ney gives, the network's 0 among them; -inf for an order that says nothing here."""
    told_NF: Tensor
    """Features of the gate, without those of the network."""
    followers_NK: tuple[Tensor, ...]
    """Of each context the first gram and how many there are (2, N)."""


class Tables(nn.Module):
    """Grams of one to `order` tokens, read in one direction: tokens before (N, K), the nearest last, -1 where there is none."""

    def __init__(self, vocabulary: int, order: int):
        super().__init__()
        self.vocabulary = vocabulary
        self.orders = nn.ModuleList(Grams() for _ in range(order))

    def tables(self) -> list[Grams]:
        return [one for one in self.orders if isinstance(one, Grams)]

    def clear(self) -> None:
        for one in self.modules():
            if isinstance(one, Late):
                one.clear()

    def _numbers(self, before_NK: Tensor) -> Tensor:
        number_NK = torch.zeros_like(before_NK)
        for step, grams in enumerate(self.tables()[:-1]):
            token_NL = before_NK[:, step:].flip(1)  # a context is read from its oldest token on, the shortest first
            found_NL = grams.find(number_NK[:, step:] * self.vocabulary + token_NL)
            number_NK[:, step:] = torch.where((number_NK[:, step:] >= 0) & (token_NL >= 0), found_NL, -1)
        return number_NK

    def contexts(self, before_NK: Tensor) -> Contexts:
        """Look up what was before each place."""
        number_NK = self._numbers(before_NK)
        first, told, followers = self.tables()[0], [], []
        passed = [first.passed_C[:1].expand(len(before_NK))]
        for number_N, grams in zip(number_NK.unbind(1), self.tables()[1:], strict=True):
            known_N = (number_N >= 0) & (number_N < len(grams.passed_C))
            number_N = torch.where(known_N, number_N, 0)
            ends_2N = torch.searchsorted(grams.key_G, torch.stack([number_N, number_N + 1]) * self.vocabulary)
            count_N = torch.where(known_N, ends_2N[1] - ends_2N[0], 0)
            passed.append(torch.where(known_N, grams.passed_C[number_N], 1.0))
            total_N = torch.where(known_N, grams.total_C[number_N], 0.0)
            told += [known_N.float(), passed[-1].clamp(min=LEAST).log(), count_N.float().log1p(), total_N.log1p()]
            followers.append(torch.stack([ends_2N[0], count_N]))
        reach_N, weights = torch.ones_like(passed[0]), list[Tensor]()
        for passed_N in reversed(passed):
            weights.insert(0, torch.where(passed_N < 1 - LEAST, reach_N * (1 - passed_N), 0.0))
            reach_N = reach_N * passed_N
        weight_NW = torch.stack([torch.ones_like(reach_N), *weights, reach_N], 1).log()
        return Contexts(number_NK, weight_NW, torch.stack(told, 1), tuple(followers))

    def at(self, found: Contexts, token_N: Tensor) -> Tensor:
        """(N, W - 1) what each voice but the network says of one token at each place; 0 where its weight is."""
        shares = []
        numbers = torch.cat([torch.zeros_like(found.number_NK[:, :1]), found.number_NK], 1)
        for number_N, grams in zip(numbers.unbind(1), self.tables(), strict=True):
            place_N = grams.find(torch.where(number_N >= 0, number_N * self.vocabulary + token_N, -1))
            shares.append(torch.where(place_N >= 0, grams.share_G[place_N.clamp(min=0)], 0.0))
        return torch.stack([*shares, torch.full_like(shares[0], 1 / self.vocabulary)], 1)

    def add(self, mixed_NV: Tensor, found: Contexts, weight_NW: Tensor) -> Tensor:
        """`mixed_NV` and what each voice but the network says, times its weight (N, W - 1); in place."""
        first, *longer = self.tables()
        one_V = torch.zeros(self.vocabulary, device=first.key_G.device).index_put((first.key_G,), first.share_G)
        mixed_NV += weight_NW[:, :1] * one_V + weight_NW[:, -1:] / self.vocabulary
        row_N, flat = torch.arange(len(mixed_NV), device=mixed_NV.device), mixed_NV.view(-1)
        for grams, (first_N, count_N), weight_N in zip(longer, found.followers_NK, weight_NW[:, 1:-1].unbind(1), strict=True):
            row_P = row_N.repeat_interleave(count_N)
            place_P = torch.arange(len(row_P), device=row_P.device) + (first_N - count_N.cumsum(0) + count_N)[row_P]
            token_P = grams.key_G[place_P] % self.vocabulary  # no token follows a context twice: the sum has no order
            flat.index_add_(0, row_P * self.vocabulary + token_P, grams.share_G[place_P] * weight_N[row_P])
        return mixed_NV


class Counts(Tables):
    """Tokens before (N, K), the last one last, -1 where there is none, and logits (N, V) -> log-probabilities (N, V)."""

    def __init__(self, vocabulary: int):
        super().__init__(vocabulary, ORDER)
        self.gate = Gate()

    @property
    def fitted(self) -> bool:
        return len(self.gate.fall_W) > 0

    def features(self, found: Contexts, network_NV: Tensor) -> Tensor:
        """(N, F) of contexts and of the network's log-probabilities: how sure it is."""
        return torch.cat([found.told_NF, sureness(network_NV)], 1)

    def weights(self, found: Contexts, features_NF: Tensor) -> Tensor:
        """(N, W), their sum is 1."""
        return torch.softmax(found.weight_NW + self.gate(features_NF), 1)

    def forward(self, before: Tensor, logits: Tensor) -> Tensor:
        """(..., K) and (..., V) -> (..., V), whatever stands before."""
        shape, rows = logits.shape, max(1, AT_ONCE // self.vocabulary)
        pairs = zip(before.flatten(0, -2).split(rows), logits.flatten(0, -2).split(rows), strict=True)
        return torch.cat([self._mixed(before_NK, logits_NV) for before_NK, logits_NV in pairs]).view(shape)

    def _mixed(self, before_NK: Tensor, logits_NV: Tensor) -> Tensor:
        network_NV = logits_NV.float().log_softmax(1)
        found = self.contexts(before_NK)
        weight_NW = self.weights(found, self.features(found, network_NV))
        return self.add(network_NV.exp_().mul_(weight_NW[:, :1]), found, weight_NW[:, 1:]).log()


def sureness(network_NV: Tensor) -> Tensor:
    """(N, 2) of log-probabilities: their entropy in nats, and the largest."""
    return torch.stack([-(network_NV.exp() * network_NV).sum(1), network_NV.amax(1)], 1)


def before(tokens_BT: Tensor, document_BT: Tensor | None = None) -> Tensor:
    """int64 (B, T, K): each token with those before it in its row and its document, the last one last; -1 where there is none."""
    found = []
    for back in range(ORDER - 2, -1, -1):
        shifted_BT, kept = torch.full_like(tokens_BT, -1), max(0, tokens_BT.shape[1] - back)
        shifted_BT[:, back:] = tokens_BT[:, :kept]
        if document_BT is not None:
            same_BT = document_BT[:, back:] == document_BT[:, :kept]
            shifted_BT[:, back:] = torch.where(same_BT, shifted_BT[:, back:], -1)
        found.append(shifted_BT)
    return torch.stack(found, -1)


def counts_of(model: nn.Module) -> Counts | None:
    """The model's own; a trunk's have no say."""
    return next((one for one in model.children() if isinstance(one, Counts)), None)
