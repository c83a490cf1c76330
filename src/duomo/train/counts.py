"""Counts beside a language model (nn/counts.py): taken from the training text when the network has learned, weighed on validation.

    training text ── Kneser–Ney ── tables ──┐
    validation ───── network ── log P(w) ───┴─ gate: weights of the voices by place, two halves judging one another first
A task takes part by giving windows of one long stream (core/tensors.py::Windows). Legend: N places, F features, W voices, H hidden.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.contract import Task
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.core.tensors import Examples, Windows
from duomo.data.baselines.ngram import MOST, KneserNey
from duomo.data.loader import finish
from duomo.nn.counts import FEATURES, HIDDEN, LEAST, VOICES, Counts, Tables, before, counts_of
from duomo.train.council import Fitted
from duomo.train.holdout import slope, spread

SHARE, SOON, LARGER = 0.05, 10.0, 0.2
"""Of a limited time; so many seconds at least, but no larger share than that."""
UNLIMITED = 60.0
"""Seconds that it may take where no time was set."""
TOKENS_A_SECOND = 200_000
"""What is counted at least: a longer text does not fit into a limited time."""
GRAMS = 5_000_000
"""Most grams that are kept, some 100 MB; those met once are left out first."""
PLACES, AT_ONCE = 40_000, 1 << 22
"""Places of validation to weigh by, and logits at a time."""
GAIN = 0.01
"""Share of the network's bits that the counts must save."""
FIRM = 6.0
"""Weight of the squares of the gate's numbers, in places."""
ROUNDS = 120


class Places(NamedTuple):
    """Places of validation: what each voice says of the true token (N, W), features (N, F), Kneser–Ney's own weights (N, W)."""

    said_NW: Tensor
    told_NF: Tensor
    weight_NW: Tensor

    def part(self, start: int, end: int) -> "Places":
        return Places(*(one[start:end] for one in self))


def wanted(model: nn.Module, task: Task, learned: Examples) -> bool:
    """Whether the model has room for counts and the task a stream to take them from."""
    return counts_of(model) is not None and isinstance(learned.columns.get(next(iter(task.inputs))), Windows)


def seconds_of(minutes: float) -> float:
    """What it may take of a limited time for all, 0 of one without a limit."""
    return max(SHARE * 60 * minutes, min(SOON, LARGER * 60 * minutes))


def fit(model: nn.Module, task: Task, both: tuple[Examples, Examples], limit: float, reporter: Reporter) -> Fitted:
    """Count the training text and weigh all voices on validation within `limit` seconds (0: as long as `UNLIMITED`); nothing where the task
    has no stream, or the counts save little.
    """
    counts, alone, ends = counts_of(model), Fitted(), time.monotonic() + (limit or UNLIMITED)
    learned, valid = (one.columns.get(next(iter(task.inputs))) for one in both)
    if counts is None or not isinstance(learned, Windows) or not isinstance(valid, Windows) or len(valid.values) < 2:
        return alone
    tokens = affordable(learned.values, ends - time.monotonic())
    if not count(counts, tokens):
        return alone
    places = _places(model, counts, task, both[1], valid.width, time.monotonic() + (ends - time.monotonic()) / 3)
    half, size = len(places.said_NW) // 2, len(places.said_NW)
    network = float(places.said_NW[:, 0].log().sum())
    parts = [places.part(0, half), places.part(half, size)]
    held = sum(_nats(_gate(one, (ends - time.monotonic()) / 4), other) for one, other in (parts, parts[::-1])) if half else 0.0
    if not half or held > (1 - GAIN) * -network:
        counts.clear()
        return alone
    gate = _gate(places, ends - time.monotonic())
    counts.gate.put(**gate)
    share = float(_weights(gate, places)[:, 0].mean())
    reporter.say(
        tr("Counts of what followed what were fitted beside the network: on validation they save {gain:.1%} of its bits "
           "(network {share:.0%} of the weight, counts {rest:.0%}; {size:.1f} MB).", gain=1 + held / network, share=share, rest=1 - share,
           size=sum(value.nbytes for value in counts.buffers()) / 1e6)
    )  # fmt: skip
    return Fitted({"network": round(share, 4), "counts": round(1 - share, 4)}, partial(_again, counts, tokens, valid.values))


def _again(counts: Counts, learned: Tensor, valid: Tensor) -> None:
    """Count validation too, when it has done its work."""
    if len(learned) + len(valid) <= MOST:
        count(counts, torch.cat([learned, valid]))


def affordable(tokens: Tensor, seconds: float, ways: int = 1) -> Tensor:
    """As much of a text, from its beginning on, as can be counted in so many ways within the time."""
    return tokens[: max(0, int(TOKENS_A_SECOND * seconds / ways))]


def count(tables: Tables, tokens: Tensor) -> bool:
    """The tables of a text; False where they are too large, or the text is too short."""
    if len(tokens) < 2:
        return False
    model = KneserNey(len(tables.orders), tables.vocabulary)
    model.fit(tokens.numpy())
    if not model.thin(GRAMS):
        return False
    for grams, order in zip(tables.tables(), model.orders, strict=True):
        said = np.maximum(1 - order.passed, LEAST)[order.keys // tables.vocabulary]
        grams.put(
            key_G=torch.from_numpy(order.keys), share_G=torch.from_numpy(order.discounted / said),
            passed_C=torch.from_numpy(order.passed), total_C=torch.from_numpy(order.totals),
        )  # fmt: skip
    return True


@torch.no_grad()
def _places(model: nn.Module, counts: Counts, task: Task, valid: Examples, width: int, ends: float) -> Places:
    """What all say of places of validation from all over it, as many as the time allows."""
    rows, at_once = spread(np.arange(len(valid)), max(1, PLACES // width)), max(1, AT_ONCE // (width * counts.vocabulary))
    (name,), device, parts = task.inputs, next(model.parameters()).device, list[Places]()
    for group in np.array_split(np.random.default_rng(0).permutation(rows), -(-len(rows) // at_once)):
        if parts and time.monotonic() > ends:
            break
        batch = {key: value.to(device) for key, value in finish(valid.batch(torch.from_numpy(group)), task.inputs).items()}
        network_NV = model.eval()(batch).float().flatten(0, 1).log_softmax(1)
        found = counts.contexts(before(batch[name], batch.get(f"{name}.document")).flatten(0, 1))
        token_N = batch[f"{name}.next"].flatten()
        said_NW = torch.cat([network_NV.gather(1, token_N.unsqueeze(1)).exp().clamp(min=1e-30), counts.at(found, token_N)], 1)
        parts.append(Places(said_NW.cpu(), counts.features(found, network_NV).cpu(), found.weight_NW.cpu()))
    return Places(*(torch.cat(one) for one in zip(*parts, strict=True)))


def _weights(gate: Mapping[str, Tensor], places: Places) -> Tensor:
    """(N, W), as nn/counts.py::Counts.weights has them, by matrices."""
    x_NF = (places.told_NF - gate["level_2F"][0]) / gate["level_2F"][1]
    moved_NW = torch.tanh(x_NF @ gate["rise_HF"].T + gate["rise_H"]) @ gate["fall_WH"].T + gate["fall_W"]
    return torch.softmax(places.weight_NW + moved_NW, 1)


def _nats(gate: Mapping[str, Tensor], places: Places) -> Tensor:
    return -(_weights(gate, places) * places.said_NW).sum(1).log().sum()


def _gate(places: Places, seconds: float) -> dict[str, Tensor]:
    """The gate that leaves the fewest nats, its numbers held back."""
    from scipy.optimize import minimize

    level_2F = torch.stack([places.told_NF.mean(0), places.told_NF.std(0, correction=0).clamp(min=1e-3)])
    shapes = {"rise_HF": (HIDDEN, FEATURES), "rise_H": (HIDDEN,), "fall_WH": (VOICES, HIDDEN), "fall_W": (VOICES,)}
    sizes, ends = [int(np.prod(shape)) for shape in shapes.values()], time.monotonic() + seconds
    start = np.zeros(sum(sizes))
    start[: sizes[0]] = np.random.default_rng(0).normal(0, 0.2, sizes[0])

    def gate(flat: Tensor) -> dict[str, Tensor]:
        parts = zip(shapes.items(), flat.split(sizes), strict=True)
        return {"level_2F": level_2F} | {name: one.view(shape) for (name, shape), one in parts}

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.from_numpy(flat).float().requires_grad_()
        loss = (_nats(gate(free), places) + FIRM * free.square().sum()) / len(places.said_NW)
        return slope(loss, free)

    def watch(_: np.ndarray) -> None:
        if time.monotonic() > ends:
            raise StopIteration

    found = minimize(objective, start, jac=True, method="L-BFGS-B", callback=watch, options={"maxiter": ROUNDS}).x
    return gate(torch.from_numpy(found).float())
