"""The trees of a council (train/council.py): of what size, at what rate, on what, and how many rounds, by rows held out.

Of numbers they may also learn what a straight line left over: trees need many divisions for what a line says at once, and never answer
beyond what they saw. The line's weights then stand beside the forest (`Council.lean_FS`). Of few rows several forests of the kind that
was chosen speak as one, each of which chose from other columns (Breiman 1996, "Bagging Predictors").
Legend: N rows, F features, X spelled features, P logits of one goal.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from duomo.core.contract import Goal
from duomo.core.reporter import Progress
from duomo.core.table import evenly
from duomo.data.baselines.classical import LOOKED
from duomo.nn.council import Council
from duomo.train.holdout import AT_ONCE, CELLS, FEW, Parts, Rows, Voice, beside, loss, spread
from duomo.train.learners import LEAVES, WIDE, Line, Trees, joined
from duomo.train.linear import spelled

TREE_ROWS = 100_000
"""Most rows to fit trees to."""
TREES, FIRST, SPAN, PATIENCE, MOST_PLACES = 600, 50, 100, 50, 200
"""Trees, all classes counted; rounds before the first look, doubled where the last `PATIENCE` still helped, but no more than `SPAN` at a
time; more logits than these are not worth their trees."""
ROUNDS, MOST_TREES, LATE = 80, 4000, 0.9
"""Of many classes more trees: so many rounds, while these suffice; too few for the rate where the best is beyond this share of them."""
SHORT = 2.0
"""Seconds that the first looks of all goals may always take."""
HURRIED, TRIED, ENOUGH, THRIFT, GLANCE = 4, 5000, 100, 1.5, 4.0
"""Rounds before the first look, and rows tried, to tell on how many rows so many rounds are grown in time, were many rows no thriftier than
few; seconds between two looks."""
SPLITS = 2 * 10**5
"""Rounds times columns at most: with thousands of columns each tree takes long."""
BAGS = 5
"""Forests of few rows that speak as one, as long as they have no more rounds together than one may have."""
SAME, PROVED = 1e-3, 2000


class TreeSettings(NamedTuple):
    """How trees grow: leaves of each, whether at the faster rate, and whether on what a line left over."""

    leaves: int
    fast: bool = False
    lean: bool = False


@dataclass
class TreeData:
    """What the trees of one goal grow on."""

    rows: Rows
    goal: Goal
    x_NF: np.ndarray
    spelled_NX: np.ndarray
    """X is 0 where trees may not lean on a line."""
    categories: int
    penalty: float
    """The line's."""
    size: int = 0
    """As for so many rows trees grow; 0: as for those that they are fitted to."""

    def grow(self, way: TreeSettings, learn: np.ndarray, rounds: int = 0, seed: int = 0, line: Line | None = None) -> "Grown":
        """Trees for these rows, of so many rounds, and the line that they lean on, if any."""
        goal = self.goal
        if way.lean and line is None:
            line = Line(goal)
            line.fit(self.spelled_NX[learn], learn, self.penalty)
        if line:
            goal = goal._replace(values=goal.values - line.logits(self.spelled_NX)[:, 0])
        trees = Trees(goal, self.size or len(learn), self.categories, way.leaves, way.fast, seed)
        if rounds:
            trees.grow(rounds, self.x_NF, learn)
        return Grown([trees], line)

    def bag(self, way: TreeSettings, learn: np.ndarray, rounds: int, bags: int, ends: float) -> "Grown":
        """Several as one, as long as there is time."""
        found = self.grow(way, learn, rounds)
        for seed in range(1, bags):
            if time.monotonic() < ends:
                found.bag.append(self.grow(way, learn, rounds, seed, found.line).bag[0])
        return found

    def said(self, grown: "Grown", rows: np.ndarray) -> np.ndarray:
        """(N, P) of these rows."""
        said_NP = np.mean([trees.logits(self.x_NF[rows]) for trees in grown.bag], 0)
        return said_NP + grown.line.logits(self.spelled_NX[rows]) if grown.line else said_NP


class Grown(NamedTuple):
    """Trees of one goal that speak as one, and the line that they lean on."""

    bag: list[Trees]
    line: Line | None


class Trial(NamedTuple):
    """What a way left on what is held out: the loss, by how many rounds, and what grew."""

    loss: float
    rounds: int
    way: TreeSettings
    grown: list[Grown]


class Chosen(NamedTuple):
    """What the judged rows said of trees: how many rounds, on how many rows at most, in what way, how many as one, by what penalty, and as
    for how many rows, for few have another rate."""

    rounds: int
    most: int
    way: TreeSettings
    bags: int
    penalty: float
    size: int


def fit(council: Council, rows: Rows, said: Voice | None, bar: Progress) -> Voice | None:
    """Grown for as many rounds as help what is held out; None where there are too many classes, or where what is written answers
    otherwise. `said`: what the line says."""
    if sum(goal.size for goal in rows.goals) > MOST_PLACES:
        return None
    told, penalties = (said.told, said.penalties) if said else ((), ())
    x_NF, spelled_NX = _seen(council, rows, told, bool(penalties) and any(goal.kind != "class" for goal in rows.goals))
    held, valid, grown, chosen = list[np.ndarray](), list[np.ndarray](), list[Grown](), list[Chosen]()
    judged = np.arange(rows.learned, rows.count)
    for place, goal in enumerate(rows.goals):
        now = time.monotonic()
        ends = now + (rows.ends - now) / (len(rows.goals) - place)  # as much for each
        lean_NX = spelled_NX[:, :0] if goal.kind == "class" else spelled_NX
        ground = TreeData(rows, goal, x_NF, lean_NX, len(council.vocabulary), penalties[place] if penalties else 0.0)
        if not (most := _affordable(rows, goal, x_NF, ground.categories, ends - now)):
            return None
        parts, whole, rounds = rows.parts(goal, most), rows.whole(goal, most), _most(goal, x_NF.shape[1])
        best = _tried(ground, parts, ends, partial(_shown, bar, TREES * place))
        bags, one, kept = 1, best.grown[0], np.zeros((rows.learned, goal.size))
        if len(parts) > 1:
            for fold, (_, judge) in zip(best.grown, parts, strict=True):
                kept[judge] = ground.said(fold, judge)
            bags = max(1, min(BAGS, rounds // best.rounds))
            one = ground.bag(best.way, whole, best.rounds, bags, ends)
        held.append(kept)
        valid.append(ground.said(one, judged))
        grown.append(one)
        chosen.append(Chosen(best.rounds, most, best.way, len(one.bag), ground.penalty, len(whole)))
    _write(council, rows, grown)
    told_NS, few = beside(valid), slice(rows.learned, rows.learned + PROVED)
    if not torch.allclose(_answered(council, x_NF[few], spelled_NX[few]), told_NS[:PROVED], atol=SAME, rtol=SAME):
        council.forest.clear()
        council.put(lean_FS=council.lean_FS[:0], lean_S=council.lean_S[:0])
        return None
    return Voice(beside(held) if len(parts) > 1 else None, told_NS, partial(_regrow, council, told, chosen))


def _answered(council: Council, x_NF: np.ndarray, spelled_NX: np.ndarray) -> Tensor:
    """What is written says of these rows."""
    said_NS = council.forest(torch.from_numpy(x_NF).float())
    found: Tensor = said_NS + torch.from_numpy(spelled_NX).float() @ council.lean_FS + council.lean_S if len(council.lean_S) else said_NS
    return found


def _seen(council: Council, rows: Rows, told: Sequence[Tensor], lean: bool) -> tuple[np.ndarray, np.ndarray]:
    """float64 (N, F) as trees see the rows, and (N, X) as a line does that they may lean on; nothing of it where that does not fit into
    memory."""
    width = spelled(council, rows.batch, np.arange(1)).shape[1] if lean else 0
    fits = width and rows.count * width <= CELLS
    spelled_NX = spelled(council, rows.batch, np.arange(rows.count)) if fits else np.zeros((rows.count, 0))
    return council.features(rows.batch, told).double().numpy(), spelled_NX


def _tried(ground: TreeData, parts: Parts, ends: float, show: Callable[[int], None]) -> Trial:
    """The best of several ways; others are tried only where there is time left, of many rows for as much again."""
    ways, tried, few = [TreeSettings(leaves) for leaves in LEAVES], list[Trial](), len(parts) > 1
    most = _most(ground.goal, ground.x_NF.shape[1])
    while ways:
        way, now = ways.pop(0), time.monotonic()
        soon = now + (ends - now) / (1 + len(ways)) if few else ends
        grown = [ground.grow(way, learn) for learn, _ in parts]
        tried.append(Trial(*_rounds(most, grown, parts, ground.x_NF, soon, show), way, grown))
        best, took = min(tried, key=lambda one: one.loss), time.monotonic() - now
        if now + took + (0 if few else took) > ends:
            break
        if not ways and best.rounds > LATE * most and not any(one.way.fast for one in tried):
            ways.append(best.way._replace(fast=True))
        elif not ways and ground.spelled_NX.shape[1] and not any(one.way.lean for one in tried):
            ways.append(best.way._replace(lean=True))
    return best


def _regrow(council: Council, told: Sequence[Tensor], chosen: Sequence[Chosen], rows: Rows) -> None:
    """As many rounds of such trees on all of these rows, of many while there is time; of those behind others the line's weights tell."""
    if rows.learned >= FEW and time.monotonic() > rows.ends:
        return
    if told:
        places = torch.arange(len(told[0]), rows.count).split(AT_ONCE)
        said = [council.said({name: rows.batch[name][some] for name in council.wide_names}) for some in places if len(some)]
        told = [torch.cat([one, *(piece[place] for piece in said)]) for place, one in enumerate(told)]
    lean = any(one.way.lean for one in chosen)
    (x_NF, spelled_NX), grown = _seen(council, rows, told, lean), list[Grown]()
    if lean and not spelled_NX.shape[1]:  # with the others they do not fit into memory
        return
    for goal, one in zip(rows.goals, chosen, strict=True):
        ground = TreeData(rows, goal, x_NF, spelled_NX, len(council.vocabulary), one.penalty, one.size)
        grown.append(ground.bag(one.way, rows.every(goal, one.most), one.rounds, one.bags, np.inf))
    _write(council, rows, grown)


def _write(council: Council, rows: Rows, grown: Sequence[Grown]) -> None:
    size = sum(goal.size for goal in rows.goals)
    written = [(trees.written(len(one.bag)), goal) for one, goal in zip(grown, rows.goals, strict=True) for trees in one.bag]
    tensors = joined([one for one, _ in written], [goal for _, goal in written], size)
    council.forest.put(**{name: torch.from_numpy(value) for name, value in tensors.items()})
    lines = [(one.line, goal.first) for one, goal in zip(grown, rows.goals, strict=True) if one.line]
    if lines:
        lean_FS, lean_S = np.zeros((len(lines[0][0].weight_FP), size), np.float32), np.zeros(size, np.float32)
        for one, place in lines:
            lean_FS[:, place], lean_S[place] = one.weight_FP[:, 0], one.bias_P[0]
        council.put(lean_FS=torch.from_numpy(lean_FS), lean_S=torch.from_numpy(lean_S))


def _shown(bar: Progress, before: int, now: int) -> None:
    bar.update(before + now)


def _most(goal: Goal, columns: int) -> int:
    """Rounds of trees at most."""
    most = TREES if goal.size < 3 else max(TREES // goal.size, min(ROUNDS, MOST_TREES // goal.size))
    return max(1, min(most, SPLITS // columns))


def _affordable(rows: Rows, goal: Goal, x_NF: np.ndarray, categories: int, seconds: float) -> int:
    """On how many rows `ENOUGH` rounds are grown in time, by what `HURRIED` of them take on `TRIED` rows; where there are fewer, all; none
    where what is looked at first would take all of the time. Of many columns and classes a round takes long: some columns tell."""
    some, columns = rows.whole(goal, TRIED), evenly(x_NF.shape[1], max(WIDE, LOOKED // goal.size))
    looked_NF = x_NF if len(columns) == x_NF.shape[1] else x_NF[:, columns]
    codes = int(np.searchsorted(columns, categories))
    Trees(goal, TRIED, codes).grow(1, looked_NF, spread(some, 100))  # what is imported for the first ones
    rounds = HURRIED if len(some) == TRIED else 1
    trees, started = Trees(goal, TRIED, codes), time.monotonic()
    trees.grow(rounds, looked_NF, some)
    each = (time.monotonic() - started) / rounds * x_NF.shape[1] / len(columns)
    if HURRIED * len(rows.parts(goal, TREE_ROWS)) * each > max(SHORT / len(rows.goals), seconds):
        return 0
    fit = int(THRIFT * seconds * TRIED / (each * min(ENOUGH, _most(goal, x_NF.shape[1]))))
    return min(TREE_ROWS, max(TRIED, fit)) if len(some) == TRIED else TREE_ROWS


def _rounds(
    most: int, grown: Sequence[Grown], parts: Parts, x_NF: np.ndarray, ends: float, show: Callable[[int], None]
) -> tuple[float, int]:
    """The least loss on what is held out, and the number of rounds that leaves it, all cut to it.

    None follows where the last `PATIENCE` did not help, however many are grown between two looks, nor where time is up.
    """
    growing, judged = [one.bag[0] for one in grown], [judge for _, judge in parts]
    losses, best, more = list[float](), 0, min(HURRIED, most)
    after = 1.25 / len(parts) if len(parts) > 1 else 0.0  # what it costs to grow as many on all rows
    while more > 0 and len(losses) - best < PATIENCE:
        start, now = time.monotonic(), len(losses) + more
        for trees, (learn, _) in zip(growing, parts, strict=True):
            trees.grow(now, x_NF, learn)
        for said in zip(*(trees.staged(x_NF[judge]) for trees, judge in zip(growing, judged, strict=True)), strict=True):
            each = [loss(trees.goal, one, judge) for trees, one, judge in zip(growing, said, judged, strict=True)]
            losses.append(float(np.average(each, weights=[len(judge) for judge in judged])))
            if not best or (losses[-1] < losses[best - 1] and len(losses) - best <= PATIENCE):
                best = len(losses)
        show(now)
        took = (time.monotonic() - start) / more
        fits = ((ends - time.monotonic()) / took - after * now) / (1 + after)
        wait = best + PATIENCE - now  # so many decide whether it was the best
        more = int(min(most - now, max(FIRST, now), SPAN if wait > PATIENCE / 2 else wait, HURRIED + GLANCE / took, fits))
    for trees in growing:
        trees.cut(best)
    return losses[best - 1], best
