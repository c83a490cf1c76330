"""The simpler voices beside a network (nn/council.py): fitted when it has learned, weighed by rows that were not learned from.

    training rows ── folds ── trees, line of each fold ── answers for rows held out ─┐
    training rows ── trees, line of all ─┐                                           ├─ shares
    validation rows ── network, trees, line ─────────────────────────────────────────┘
Few rows are held out fold by fold (Breiman 1996, "Stacked Regressions"), since a dozen validation rows can choose nothing; of many rows,
or where rows of one group or time belong together, the validation is held out.
Legend: N rows, M category columns, F features, P logits of one goal, S logits side by side.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from duomo.core.contract import Field, Goal, Task
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.core.tensors import Batch, Examples
from duomo.data.loader import finish
from duomo.nn.council import HEARD, KNOWN, Council
from duomo.nn.sound_features import BANDS
from duomo.train import boosted_trees, clock, linear
from duomo.train.boosted_trees import TREE_ROWS
from duomo.train.holdout import AT_ONCE, CELLS, Rows, Voice, nothing, slope, spread, whole

JUDGED, JUDGED_TEXTS = 20_000, 5000
"""Most rows to judge by, the fewer where there are texts."""
PRIOR = (1 / 3, 1 / 3, 1 / 3)
"""Shares that nothing speaks against, held as firmly as `FIRM` rows or so."""
TEXTS, LOOSE = (0.4, 0.1, 0.5), 1.0
"""The same where texts or pictures are among what network and line see, held as loosely as one row: of few one may be far better."""
BLIND = (0.6, 0.2, 0.2)
"""The same, half as firm, where the network also sees what trees and line do not: many pictures, a film."""
FIRM, HEARD_ROWS, FLAT = 8.0, 16, 1e-3
PICTURES = 1500
"""From so many on a network needs no line that glimpses at pictures."""
ALONE = 0.9
"""Where the network counts more than this, the others are not worth their while."""
SHARE, SOON = 0.2, 10.0
"""Of a limited time, for trees and line; of a short one up to twice as much, until they have so many seconds of a core."""
LOOK, GLIMPSE = 0.2, 0.01
"""Seconds, and of a limited time at most the share, in which it is seen how much of a core there is: others may use it too."""
AT_LEAST, BESIDE = 60.0, 0.5
"""Seconds that they may take where no time was set; more where the network took long: so much of its own."""
LINE_SHARES, TEXT_SHARES = (0.3, 0.3), (0.4, 0.7)
"""By when the line must be fitted, and trees told of it, beside trees; later where it reads texts or pictures, which they do not."""


def council_of(model: nn.Module) -> Council | None:
    """The model's own; a trunk's has no say."""
    return next((one for one in model.children() if isinstance(one, Council)), None)


def seconds_of(minutes: float, given: float = 1.0) -> float:
    """What trees and line have of a limited time, where a core gives so large a share of itself."""
    share = 60 * minutes * SHARE
    return max(share, min(SOON / given, 2 * share))


def minutes_left(model: nn.Module, minutes: float) -> float:
    """What a limited time leaves for the network itself; a line over pictures takes a second or two."""
    council = council_of(model)
    if council is None or not minutes or not (council.has_cells or council.has_sparse):
        return minutes
    council.seconds = seconds_of(minutes, clock.given(min(LOOK, GLIMPSE * 60 * minutes)))
    return minutes - council.seconds / 60


def allowed(model: nn.Module, minutes: float, took: float) -> float:
    """Seconds for trees and line where the network took so many."""
    council = council_of(model)
    return (council and council.seconds) or seconds_of(minutes) if minutes else max(AT_LEAST, BESIDE * took)


@dataclass(frozen=True)
class Fitted:
    """The share of each voice; none where the network answers alone."""

    shares: Mapping[str, float] = field(default_factory=dict)
    again: Callable[[], None] = nothing
    """To be called when the validation has done its work: its rows are learned from too, as what was chosen by them says; of many only
    while there is time."""
    onward: Callable[[Examples | None], None] | None = None
    """The same however long it takes, and of rows behind them, if any: those of the test, when it has judged."""


def fit(
    model: nn.Module,
    task: Task,
    both: tuple[Examples, Examples],
    apart: bool,
    seconds: float,
    reporter: Reporter,
    groups: np.ndarray | None = None,
) -> Fitted:
    """Fit trees and line and weigh all voices; none where the model has no council or the task no goals for one.

    `both`: training and validation; `apart`: rows of one group or time belong together; `seconds`: about what it may take; `groups`: the
    number of each training row's group or block of neighbours, where there are such.
    """
    council, alone = council_of(model), Fitted()
    if council is None or not len(both[1]) or not council.looks(len(both[0]) < PICTURES):
        return alone
    device = next(model.parameters()).device
    council.cpu()
    rows = _rows(model, council, task, both, apart, time.monotonic() + seconds, groups)
    if not rows.goals or not all(map(rows.taught, rows.goals)):
        return alone
    parts, now = (1.0, 1.0) if not council.has_cells else TEXT_SHARES if council.has_wide else LINE_SHARES, time.monotonic()
    soon, told_by = (now + share * max(0.0, rows.ends - now) for share in parts)
    with threadpool_limits(1):  # sums of several threads differ in their last bits from run to run
        with reporter.progress(tr("trees"), boosted_trees.TREES * len(rows.goals), tr("rounds")) as bar:
            said = linear.fit(council, task.inputs, rows, soon, told_by)
            trees = boosted_trees.fit(council, rows, said, bar) if council.has_cells else None
        voices = [trees, said]
        shares = weigh(task, rows, voices)
    if shares[0] > ALONE:
        for fitted in (council, council.forest, *council.sparse(), *(one for _, one in council.pictures())):
            fitted.clear()
        council.to(device)
        return alone
    council.put(share_3=torch.from_numpy(shares).float())
    council.to(device)
    found = {name: round(float(share), 4) for name, share in zip(council.voices, shares, strict=True) if share}
    say(found, reporter)
    onward = partial(_onward, council, task, rows, seconds, voices)
    return Fitted(found, partial(_again, council, rows, voices), onward)


def say(shares: Mapping[str, float], reporter: Reporter) -> None:
    """What each voice counts, in words."""
    told = ", ".join(f"{tr(name)} {share:.0%}" for name, share in shares.items())
    reporter.say(tr("Simpler models answer beside the network. Weights, chosen on held-out rows: {shares}.", shares=told))


def _again(council: Council, rows: Rows, voices: Sequence[Voice | None]) -> None:
    """Learn from the rows of validation too, and whatever is behind them."""
    device = council.share_3.device
    council.cpu()
    with threadpool_limits(1):
        for voice, share in zip(voices, council.share_3[1:], strict=True):
            if voice is not None and share > 0:
                voice.onward(rows)
    council.to(device)


def _onward(council: Council, task: Task, rows: Rows, seconds: float, voices: Sequence[Voice | None], more: Examples | None) -> None:
    """Learn from all, and from `more`."""
    ends, device = time.monotonic() + seconds, council.share_3.device
    if more is not None:
        council.cpu()
        pieces = _seen(council, task, more, np.arange(len(more)))
        council.to(device)
        batch = whole([rows.batch, *pieces])
        rows = rows.more(batch, _goals(task, batch), ends)
    else:
        rows = rows.more(rows.batch, rows.goals, ends)
    _again(council, rows, voices)


def _rows(
    model: nn.Module,
    council: Council,
    task: Task,
    both: tuple[Examples, Examples],
    apart: bool,
    ends: float,
    groups: np.ndarray | None,
) -> Rows:
    linear.look(council, flat := _looked_at(council, task), both[0])
    width = sum(3 * BANDS if field.form == "waveform" else field.shape[0] for field in flat.values())
    width += sum(sum(glimpse.parts) for _, glimpse in council.pictures())
    most = TREE_ROWS, JUDGED_TEXTS if council.token_names else JUDGED
    device = next(model.parameters()).device
    taken = [spread(np.arange(len(one)), min(limit, CELLS // width)) for one, limit in zip(both, most, strict=True)]
    count, asked, said = -(-len(taken[1]) // _at_once(council)), list[np.ndarray](), list[Tensor]()
    quarter = time.monotonic() + (ends - time.monotonic()) / 4
    with torch.no_grad():
        while len(said) < count and (not said or time.monotonic() < quarter):
            asked.append(taken[1][len(said) :: count])  # from all over them, should the time not suffice for all
            batch = finish(both[1].batch(torch.from_numpy(asked[-1])), task.inputs)
            said.append(model.eval()({name: value.to(device) for name, value in batch.items()}).float().cpu())
    taken[1] = np.concatenate(asked)
    batch = whole([piece for one, some in zip(both, taken, strict=True) for piece in _seen(council, task, one, some)])
    _rank(council, batch, len(taken[0]))
    if council.sound_names:
        heard_ND = batch[HEARD][: len(taken[0])]
        council.put(level_2D=torch.stack([heard_ND.mean(0), heard_ND.std(0, correction=0).clamp(min=FLAT)]))
    loose = council.token_names or council.picture_names
    prior, firm = ((TEXTS, LOOSE) if loose else (PRIOR, FIRM)) if len(flat) == len(task.inputs) else (BLIND, FIRM / 2)
    groups = None if groups is None else groups[taken[0]]
    return Rows(len(taken[0]), batch, torch.cat(said), _goals(task, batch), apart, ends, prior, firm, groups)


def _looked_at(council: Council, task: Task) -> dict[str, Field]:
    return {name: field for name, field in task.inputs.items() if name in council.names}


def _at_once(council: Council) -> int:
    return HEARD_ROWS if council.sound_names else AT_ONCE


def _goals(task: Task, batch: Batch) -> list[Goal]:
    """The task's; a row without weight teaches nothing."""
    return [goal._replace(known=goal.known & (goal.weight > 0)) for goal in task.goals(batch)]


def _seen(council: Council, task: Task, examples: Examples, rows: np.ndarray) -> list[Batch]:
    """These rows as trees and line see them, piece by piece."""
    flat = _looked_at(council, task)
    kept = Examples({name: column for name, column in examples.columns.items() if name in flat or name.startswith("target.")})
    pieces = np.array_split(rows, -(-len(rows) // _at_once(council))) if council.sound_names or council.picture_names else [rows]
    return [_told(council, finish(kept.batch(torch.from_numpy(piece)), flat)) for piece in pieces]


def _told(council: Council, batch: Batch) -> Batch:
    """The batch with what describes its sounds and pictures in their place."""
    batch = council.glimpsed(batch)
    if not council.sound_names:
        return batch
    sounds = {f"{name}{end}" for name in council.sound_names for end in ("", ".length")}
    return {name: value for name, value in batch.items() if name not in sounds} | {HEARD: council.describe(batch)}


def _rank(council: Council, batch: Batch, learned: int) -> None:
    """The values of each category that trees tell apart: the most frequent of the training rows, densely numbered."""
    ranks = []
    for code_N, size in zip(council.codes(batch)[:learned].unbind(1), council.vocabulary, strict=True) if council.vocabulary else ():
        counts = torch.bincount(code_N, minlength=size)
        counts[0] = 0  # unseen is missing
        order = counts.argsort(descending=True, stable=True)[: min(KNOWN, int((counts > 0).sum()))]
        rank = torch.full((size,), KNOWN, dtype=torch.int16)
        rank[order] = torch.arange(len(order), dtype=torch.int16)
        ranks.append(rank)
    council.put(rank_V=torch.cat(ranks) if ranks else torch.zeros(0))


def weigh(task: Task, rows: Rows, voices: Sequence[Voice | None]) -> np.ndarray:
    """(3,) shares: the task's own loss on validation, and of the two learners among themselves on the folds, with the prior.

    Of numbers the loss counts by its logarithm, as a Gaussian's whose variance is not known: what matters is by how much it falls. Of
    classes all logits are scaled as well, for a voice that says nothing must not be heard because it tempers the others.
    """
    from scipy.optimize import minimize

    numbers = rows.goals[0].kind != "class"
    prior = torch.tensor(rows.prior) * torch.tensor([True, *(voice is not None for voice in voices)])
    known, fixed = prior > 0, (prior / prior.sum()).clamp(min=1e-9)
    valid = torch.stack([rows.network] + [voice.valid if voice else torch.zeros_like(rows.network) for voice in voices])
    folds = [voice.held for voice in voices if voice and voice.held is not None]
    targets = [{name: value[part] for name, value in rows.batch.items()} for part in (slice(rows.learned, None), slice(rows.learned))]

    def term(said: Tensor, batch: Batch) -> Tensor:
        total, count = task.loss(said, batch)
        return count / 2 * torch.log(total / count.clamp(min=1) + 1e-6) if numbers else total

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.from_numpy(flat).float().requires_grad_()
        share, scale_2 = torch.softmax(free[:3].masked_fill(~known, -torch.inf), 0), free[3:].exp()
        total = term(scale_2[0] * (share.view(-1, 1, 1) * valid).sum(0), targets[0]) - rows.firm * (fixed * (share + 1e-9).log()).sum()
        if len(folds) == 2:
            trees = share[1] / (share[1] + share[2])
            total = total + term(scale_2[1] * (trees * folds[0] + (1 - trees) * folds[1]), targets[1])
        return slope(total, free)

    start, bounds = np.append(fixed.log().double().numpy(), [0.0, 0.0]), [(-12, 12)] * 3 + [(0, 0) if numbers else (-3, 3)] * 2
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x[:3]
    shares = torch.softmax(torch.from_numpy(found).masked_fill(~known, -torch.inf), 0)
    return np.asarray(shares.numpy())
