"""Counts on both sides of a gap (nn/sides.py): taken from the training text when the network has learned, weighed on validation.

    training text ── Kneser–Ney, forward and backward ── tables ──┐
    validation ───── network ── log P(w) of all tokens at gaps ───┴─ powers of the voices by gap, two halves judging one another first
A task takes part by hiding tokens of one long stream (core/tensors.py::Running). Legend: N gaps, V vocabulary, F features.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.contract import Task
from duomo.core.kinds import text
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.core.tensors import Examples, Running, Windows
from duomo.data.baselines.ngram import MOST
from duomo.data.loader import finish
from duomo.nn.fields import inside
from duomo.nn.sides import FEATURES, VOICES, Sides, around, sides_of
from duomo.train.council import Fitted
from duomo.train.counts import FIRM, GAIN, UNLIMITED, affordable, count

CELLS, AT_ONCE = 1 << 23, 1 << 22
"""Log-probabilities of a voice that powers are fitted to, and logits at a time."""
ROUNDS, FEWER = 40, 15
"""Of the search for powers, and where it is only to be seen what they are worth."""
START = (0.5, 0.5, 0.5, -0.5)


class Gaps(NamedTuple):
    """Gaps of validation: what each voice says of every token (4, N, V), features (N, F), the true tokens (N,)."""

    said_4NV: Tensor
    told_NF: Tensor
    token_N: Tensor

    def part(self, start: int, end: int) -> "Gaps":
        return Gaps(self.said_4NV[:, start:end], self.told_NF[start:end], self.token_N[start:end])


def wanted(model: nn.Module, task: Task, learned: Examples) -> bool:
    """Whether the model has room for counts and the task a stream to take them from."""
    column = learned.columns.get(next(iter(task.inputs)))
    return sides_of(model) is not None and isinstance(column, Running) and not isinstance(column, Windows)


def fit(model: nn.Module, task: Task, both: tuple[Examples, Examples], limit: float, reporter: Reporter) -> Fitted:
    """Count the training text both ways and weigh all voices on validation within `limit` seconds (0: as long as `UNLIMITED`); nothing
    where the counts save little.
    """
    sides, alone, ends = sides_of(model), Fitted(), time.monotonic() + (limit or UNLIMITED)
    learned, valid = (one.columns.get(next(iter(task.inputs))) for one in both)
    if sides is None or not isinstance(learned, Running) or not isinstance(valid, Running) or len(valid.values) < 2:
        return alone
    tokens = affordable(learned.values, ends - time.monotonic(), 2)
    if not _count(sides, tokens):
        sides.clear()
        return alone
    sides.powers.put(mask=torch.tensor([text.special(task.state()["tokenizer"], "mask")]))
    gaps = _gaps(model, sides, task, both[1], time.monotonic() + (ends - time.monotonic()) / 3)
    half, size = len(gaps.token_N) // 2, len(gaps.token_N)
    parts, network = [gaps.part(0, half), gaps.part(half, size)], _network(gaps)
    held = sum(_nats(_powers(one, FEWER, (ends - time.monotonic()) / 4), other)[0] for one, other in (parts, parts[::-1])) if half else 0.0
    if not half or held > (1 - GAIN) * network:
        sides.clear()
        return alone
    powers = _powers(gaps, ROUNDS, ends - time.monotonic())
    sides.powers.put(**powers)
    reporter.say(
        tr("Counts of what stands on both sides of a gap were fitted beside the network: on validation they save {gain:.1%} of its bits "
           "({size:.1f} MB).",
           gain=1 - held / network, size=sum(value.nbytes for value in sides.buffers()) / 1e6)
    )  # fmt: skip
    share = np.abs(_at(powers, gaps).mean(0).numpy()[:3])
    share = float(share[0] / share.sum())
    return Fitted({"network": round(share, 4), "counts": round(1 - share, 4)}, partial(_again, sides, tokens, valid.values))


def _count(sides: Sides, tokens: Tensor) -> bool:
    return count(sides.left, tokens) and count(sides.right, tokens.flip(0))


def _again(sides: Sides, learned: Tensor, valid: Tensor) -> None:
    """Count validation too, when it has done its work."""
    if len(learned) + len(valid) <= MOST:
        _count(sides, torch.cat([learned, valid]))


@torch.no_grad()
def _gaps(model: nn.Module, sides: Sides, task: Task, valid: Examples, ends: float) -> Gaps:
    """What all say of gaps from all over validation, as many as memory and time allow."""
    (name,), device, parts, taken = task.inputs, next(model.parameters()).device, list[Gaps](), 0
    most = max(2, CELLS // sides.vocabulary)
    order = np.random.default_rng(0).permutation(len(valid))
    groups = len(order) * valid.batch(np.arange(1))[name].shape[1] * sides.vocabulary // AT_ONCE
    for group in np.array_split(order, min(len(order), max(1, groups))):
        if taken >= most or (parts and time.monotonic() > ends):
            break
        batch = {key: value.to(device) for key, value in finish(valid.batch(group), task.inputs).items()}
        tokens_BT, wanted_BT = batch[name], batch[f"{name}.wanted"]
        inside_BT = inside(batch, name) if f"{name}.length" in batch else torch.ones_like(wanted_BT)
        beside_2NK = around(torch.where(inside_BT & (tokens_BT != sides.powers.mask), tokens_BT, -1))[:, wanted_BT]
        said_4NV, told_NF = sides.said(beside_2NK, model.eval()(batch).float().log_softmax(-1))
        parts.append(Gaps(said_4NV.cpu(), told_NF.cpu(), batch["target"][wanted_BT].cpu()))
        taken += len(told_NF)
    whole = Gaps(torch.cat([one.said_4NV for one in parts], 1), *(torch.cat(one) for one in list(zip(*parts, strict=True))[1:]))
    return whole.part(0, most)


def _network(gaps: Gaps) -> float:
    """Nats of the network alone."""
    return -float(gaps.said_4NV[0].gather(1, gaps.token_N.unsqueeze(1)).double().sum())


def _at(powers: Mapping[str, Tensor], gaps: Gaps) -> Tensor:
    """(N, 4), as nn/sides.py::Powers has them, by matrices."""
    return (gaps.told_NF - powers["level_2F"][0]) / powers["level_2F"][1] @ powers["line_4F"].T + powers["base_4"]


def _nats(powers: Mapping[str, Tensor], gaps: Gaps) -> tuple[float, Tensor]:
    """Nats of all gaps, and their slope by each gap's powers (N, 4): what a voice says on average less what it says of the truth."""
    powers_N4, said_4N = _at(powers, gaps), gaps.said_4NV.gather(2, gaps.token_N.expand(VOICES, -1).unsqueeze(2)).squeeze(2)
    mixed_NV = torch.einsum("nw,wnv->nv", powers_N4, gaps.said_4NV)
    whole_N = mixed_NV.logsumexp(1)
    share_NV = mixed_NV.sub_(whole_N.unsqueeze(1)).exp_()
    slope_N4 = torch.einsum("nv,wnv->nw", share_NV, gaps.said_4NV) - said_4N.T
    return float((whole_N - (powers_N4 * said_4N.T).sum(1)).double().sum()), slope_N4


def _powers(gaps: Gaps, rounds: int, seconds: float) -> dict[str, Tensor]:
    """The powers that leave the fewest nats, their slopes held back."""
    from scipy.optimize import minimize

    level_2F = torch.stack([gaps.told_NF.mean(0), gaps.told_NF.std(0, correction=0).clamp(min=1e-3)])
    x_NF, ends, size = (gaps.told_NF - level_2F[0]) / level_2F[1], time.monotonic() + seconds, len(gaps.token_N)

    def powers(flat: np.ndarray) -> dict[str, Tensor]:
        line_4F = torch.from_numpy(flat[VOICES:]).float().view(VOICES, FEATURES)
        return {"level_2F": level_2F, "line_4F": line_4F, "base_4": torch.from_numpy(flat[:VOICES]).float()}

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nats, slope_N4 = _nats(powers(flat), gaps)
        slope = np.concatenate([slope_N4.sum(0).double().numpy(), (slope_N4.T @ x_NF).double().numpy().ravel()])
        slope[VOICES:] += 2 * FIRM * flat[VOICES:]
        return (nats + FIRM * float(np.square(flat[VOICES:]).sum())) / size, slope / size

    def watch(_: np.ndarray) -> None:
        if time.monotonic() > ends:
            raise StopIteration

    start = np.concatenate([START, np.zeros(VOICES * FEATURES)])
    return powers(minimize(objective, start, jac=True, method="L-BFGS-B", callback=watch, options={"maxiter": rounds}).x)
