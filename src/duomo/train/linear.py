"""The straight line of a council (train/council.py): over cells as they are spelled out, and the letters of texts or glimpses of pictures.

Logistic and ridge regression with a penalty on squared weights lose nothing when the weights of n-grams are sought among the sums of the
training rows (Schölkopf et al. 2001, "A Generalized Representer Theorem"). So texts are learned from as coordinates, as many as there are
rows, found from the products of all pairs of rows, and what is learned is turned into weights of n-grams; and so of pictures. Of more texts
than that suits some choose the penalty, and the weights that they give are where the descent over all begins (train/lbfgs.py).
Legend: N rows, R rows learned from, F features of the cells, D coordinates of the texts or pictures, G places of n-grams or numbers of
glimpses, P logits of one goal.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from duomo.core.contract import Field, Goal
from duomo.core.kinds import text
from duomo.core.tensors import Batch, Examples
from duomo.data.loader import finish
from duomo.nn.council import TOLD, Council
from duomo.nn.letter_features import IDEOGRAPHS, SPACE, Letters, spell
from duomo.train.holdout import AT_ONCE, CELLS, FEW, FOLDS, Rows, Voice, beside, loss, spread
from duomo.train.lbfgs import Weights, descend
from duomo.train.learners import Line

PENALTIES, FINER = tuple(10.0**-power for power in range(-3, 5)), tuple(10.0 ** (-power / 2) for power in range(-2, 9))
MOST, MOST_TEXTS, SOME_TEXTS = 20_000, 3000, 2000
"""Rows to learn from; fewer where there are texts or pictures, for the time goes with their cube: all of so many, or some of more."""
PACE, CUBES = 10**7, 10**9
"""Rows times columns times logits that are learned in a second, all penalties tried; products of pairs of rows, rows times pairs."""
GAIN = 5.0
"""How much longer a text or picture is than a cell's deviation: the penalty is the same on both."""
SAMPLE, FITS, AROUND, FEWER = 200, 2 * 10**7, (3.0, 1.0), 3
"""Texts that tell how long all are; words and n-grams that fit into memory; penalties for all rows, in parts of what some of them chose;
parts of many rows that are told of by a line that learned from the others."""
ENOUGH, FLAT = 400, 1e-7
"""Rows held out that choose a penalty for texts, which takes long; the smallest part of the largest root that is a coordinate."""
BLINK = 0.1
"""Seconds that there always are, and that a try may take for another to follow though time is up: few rows are not to lack a line nor be
judged by the first penalty alone."""
LONELY = 0.5
"""Where more of the words than this stand in one row only, words count nothing: like names they tell a row from all others, no more."""


def fit(council: Council, inputs: Mapping[str, Field], rows: Rows, ends: float, told_by: float) -> Voice | None:
    """With the penalty that leaves the least loss on what is held out, tried from the strongest until it has risen twice; None where it
    has too many columns for so many rows, or for the time until `ends`. Large categories and pictures are left out where they take too
    long; until `told_by` trees are told what it says."""
    least, wide = min(rows.learned, FEW), council.has_wide
    most = _affordable(council, rows, ends, wide)
    if most < least and wide and council.has_cells and not council.token_names:
        most, wide = _affordable(council, rows, ends, False), False
    if most < least:
        return None
    read(council, inputs, rows.batch, rows.learned)
    taught = np.flatnonzero(np.any([goal.known[: rows.learned] for goal in rows.goals], axis=0))
    judged_rows = np.arange(rows.learned, len(rows.goals[0].values))
    seen = Seen(council, rows.batch, spread(taught, most), rows.learned, wide)
    seen.all = seen.beyond(taught)
    penalties = FINER if seen.wide and council.picture_names else PENALTIES[2 if seen.wide and not council.large else 0 :]
    held, valid, found, chosen, ways = list[np.ndarray](), list[np.ndarray](), list[Weights](), list[float](), list[float]()
    for goal in rows.goals:
        parts = [(learn[np.isin(learn, seen.basis)], judge) for learn, judge in rows.parts(goal, rows.learned)]
        looks = max(1, -(-ENOUGH * len(parts) // rows.learned)) if seen.wide else len(parts)
        lines, tried = [Line(goal) for _ in parts], list[tuple[float, float, np.ndarray]]()
        for penalty in penalties:
            said, started = np.zeros((len(goal.values), goal.size)), time.monotonic()
            for one, (learn, judge) in zip(lines, parts[:looks], strict=False):
                said[judge] = seen.taught(one, learn, penalty, judge)
            judged = np.concatenate([judge for _, judge in parts[:looks]])
            tried.append((loss(goal, said[judged], judged), penalty, said[: rows.learned]))
            now = time.monotonic()
            late = now - started > BLINK / len(rows.goals) and now + 2 * (now - started) > ends
            if late or (len(tried) > 2 and tried[-1][0] > tried[-2][0] > tried[-3][0]):
                break
        _, penalty, kept = min(tried, key=lambda one: one[0])
        for one, (learn, judge) in zip(lines[looks:], parts[looks:] if council.has_cells else [], strict=False):
            kept[judge] = seen.taught(one, learn, penalty, judge)
        weights, led = _learned(seen, rows, goal, goal.known[: rows.learned], penalty, ends)
        found.append(weights)
        valid.append(seen.said(weights, judged_rows))
        held.append(kept)
        chosen.append(penalty)
        ways.append(led)
    seen.write(found)
    some = council.has_cells and wide and sum(goal.size for goal in rows.goals) <= TOLD
    told = _told(seen, rows, chosen, told_by) if some else ()
    seen.all = None  # whoever goes on reads more rows
    again = partial(_again, council, chosen, most)
    onward = again if rows.learned < FEW or not seen.wide or council.picture_names else partial(_onward, seen, found, ways)
    return Voice(
        beside(held) if len(parts) > 1 and council.has_cells else None, beside(valid), onward, told, () if council.has_wide else chosen
    )


def _learned(seen: "Seen", rows: Rows, goal: Goal, known: np.ndarray, penalty: float, ends: float) -> tuple[Weights, float]:
    """What these rows (truths, of all to learn from) teach, and the penalty that led there: those of the basis at once, then by descent all
    that fit."""
    line, some = Line(goal), seen.basis[known[seen.basis]]
    line.fit(seen.of(some), some, penalty)
    start = seen.weights(line)
    if seen.all is None:
        return start, penalty
    fits, x_NX = seen.all
    learned = known[fits]
    judged = rows.learned + np.flatnonzero(goal.known[rows.learned :])
    penalties = [factor * penalty for factor in AROUND]
    return descend(goal, _of(x_NX, learned), fits[learned], start, penalties, lambda now: loss(goal, seen.said(now, judged), judged), ends)


def _told(seen: "Seen", rows: Rows, penalties: Sequence[float], ends: float) -> Sequence[Tensor]:
    """float32 (N, S) for each text, large category and picture: what the line says of it in rows to be judged, and of each row to learn
    from what a line says that learned from the others, part by part. Nothing where the time does not suffice."""
    parts, told_TNS = _apart(rows), seen.told()
    for count, part in enumerate(parts):
        others = np.ones(rows.learned, bool)
        others[part] = False
        for place, (goal, penalty) in enumerate(zip(rows.goals, penalties, strict=True)):
            known, now = others & goal.known[: rows.learned], time.monotonic()
            if not known[seen.basis].any() or now > ends:
                return ()
            soon = now + (ends - now) / ((len(parts) - count) * len(rows.goals) - place)
            weights, _ = _learned(seen, rows, goal, known, penalty, soon)
            told_TNS[:, part, goal.first : goal.first + goal.size] = seen.each(weights, part)
    return told_TNS.unbind(0)


def _apart(rows: Rows) -> list[np.ndarray]:
    """The training rows in parts; a group, or neighbours in time, belong together."""
    count, rng = FOLDS if rows.learned < FEW else FEWER, np.random.default_rng(0)
    if rows.groups is not None:
        part_N = rng.permutation(rows.groups.max() + 2)[rows.groups] % count
        return [part for one in range(count) if len(part := np.flatnonzero(part_N == one))]
    return np.array_split(np.arange(rows.learned) if rows.apart else rng.permutation(rows.learned), count)


def _onward(seen: "Seen", found: Sequence[Weights], penalties: Sequence[float], rows: Rows) -> None:
    """By descent over all of these rows, where there are texts or large categories."""
    seen.turn(rows.batch)
    every = seen.beyond(np.arange(rows.count)) if time.monotonic() < rows.ends else None
    if every is None or len(every[0]) <= rows.learned:
        return
    (fits, x_NX), more = every, list[Weights]()
    for goal, start, penalty in zip(rows.goals, found, penalties, strict=True):
        known = goal.known[fits]
        more.append(descend(goal, _of(x_NX, known), fits[known], start, [penalty], None, rows.ends)[0])
    seen.write(more)


def _again(council: Council, penalties: Sequence[float], most: int, rows: Rows) -> None:
    """From these rows at once; `most`: of so many."""
    wide = any(len(glimpse.weight_DS) for _, glimpse in council.pictures()) or any(len(one.weight_PS) for one in council.sparse())
    basis = np.arange(rows.count)
    seen = Seen(council, rows.batch, basis if rows.learned < FEW else spread(basis, most), rows.learned, wide)
    found = [Line(goal) for goal in rows.goals]
    for one, penalty in zip(found, penalties, strict=True):
        known = seen.basis[one.goal.known[seen.basis]]
        one.fit(seen.of(known), known, penalty)
    seen.write([seen.weights(line) for line in found])


def _features(council: Council, batch: Batch, rows: np.ndarray) -> Any:
    """CSR (N, F + G) float32."""
    from scipy import sparse

    return sparse.hstack([sparse.csr_matrix(spelled(council, batch, rows)), grams(council, batch, rows)], "csr").astype(np.float32)


def _of(x_NX: Any, some: np.ndarray) -> Any:
    """These rows; all of them without a copy, which would take as much again."""
    return x_NX if some.all() else x_NX[some]


def _affordable(council: Council, rows: Rows, ends: float, wide: bool) -> int:
    """On how many rows it is learned in time."""
    columns, left = spelled(council, rows.batch, np.arange(1)).shape[1], max(BLINK, ends - time.monotonic())
    most = MOST
    if columns:
        most = int(min(most, CELLS // columns, PACE * left / (columns * sum(goal.size for goal in rows.goals))))
    if not wide:
        return most
    few = MOST_TEXTS if rows.learned <= MOST_TEXTS or council.picture_names else SOME_TEXTS
    return int(min(most, few, (CUBES * left) ** (1 / 3)))


@final
class Seen:
    """Rows as the line sees them: those of `basis` to learn from, in order, and from the row `learned` on those to be judged."""

    def __init__(self, council: Council, batch: Batch, basis: np.ndarray, learned: int, wide: bool):
        """`wide`: whether texts, large categories or pictures are seen beside the cells."""
        self.basis, self._council, self._batch, self._learned = basis, council, batch, learned
        columns_RX = [spelled(council, batch, basis)]
        self._cells = columns_RX[0].shape[1]
        self.all: tuple[np.ndarray, Any] | None = None
        self._level = Level(council, batch, learned) if wide and council.picture_names else None
        self.wide = self._wide(basis) if wide else []
        if wide:
            self._judged = self._wide(np.arange(learned, len(next(iter(batch.values())))))
            columns_RX += self._coordinates(len(council.sparse()))
        self._rows_RX = np.concatenate(columns_RX, 1).astype(np.float32 if wide else np.float64)

    def _coordinates(self, sparse: int) -> list[np.ndarray]:
        """(R, D) of the texts or pictures; the numbers of glimpses themselves where they are fewer than the rows."""
        self._turn_RD = None
        if not sparse and sum(x.shape[1] for x in self.wide) <= len(self.basis):
            return self.wide
        products = [x @ x.T for x in self.wide]
        values_R, vectors_RR = np.linalg.eigh(sum(x.toarray() if i < sparse else x for i, x in enumerate(products)))
        kept = values_R > FLAT * max(values_R[-1], FLAT)
        root_D = np.sqrt(values_R[kept])
        self._turn_RD = vectors_RR[:, kept] / root_D
        return [vectors_RR[:, kept] * root_D]

    def _wide(self, rows: np.ndarray) -> list[Any]:
        """float64 (N, G) of each text and large category (CSR), and of each picture."""
        return [*_grams(self._council, self._batch, rows), *(self._level.of(self._batch, rows) if self._level else ())]

    def beyond(self, rows: np.ndarray) -> tuple[np.ndarray, Any] | None:
        """Of these rows, if they are more than the basis, as many as fit, and CSR (N, F + G) their features."""
        from scipy import sparse

        if not self.wide or self._level or len(rows) <= len(self.basis):
            return None
        some = spread(rows, SAMPLE)
        each = grams(self._council, self._batch, some).nnz / len(some) + self._cells
        fits = spread(rows, int(FITS / max(1.0, each)))
        if len(fits) <= len(self.basis):
            return None
        pieces = [_features(self._council, self._batch, piece) for piece in np.array_split(fits, 1 + len(fits) // AT_ONCE)]
        return fits, sparse.vstack(pieces, "csr")

    def turn(self, batch: Batch) -> None:
        """To a batch with other rows behind those of before."""
        self._batch, self.all = batch, None

    def taught(self, line: Line, learn: np.ndarray, penalty: float, judge: np.ndarray) -> np.ndarray:
        """Fit the line to rows of the basis; its logits (N, P) of the rows to be judged by."""
        line.fit(self.of(learn), learn, penalty)
        return self.logits(line, judge)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """(N, F + D) of rows of the basis."""
        return np.asarray(self._rows_RX[np.searchsorted(self.basis, rows)])

    def logits(self, line: Line, rows: np.ndarray) -> np.ndarray:
        """(N, P) of rows that are all of the basis, or all to be judged."""
        return self.of(rows) @ line.weight_FP + line.bias_P if rows[0] < self._learned else self.said(self.weights(line), rows)

    def said(self, weights: Weights, rows: np.ndarray) -> np.ndarray:
        """(N, P) of rows to be judged."""
        pieces = np.array_split(rows, 1 + len(rows) // AT_ONCE)  # all at once they may not fit into memory
        said = np.concatenate([spelled(self._council, self._batch, piece) @ weights.cells_FP for piece in pieces])
        if self.wide:
            each = np.split(weights.wide_GP, self._firsts())
            said += sum(x_NG[rows - self._learned] @ weight_GP for x_NG, weight_GP in zip(self._judged, each, strict=True))
        return said + weights.bias_P

    def weights(self, line: Line) -> Weights:
        """The line's, of n-grams or numbers of glimpses in place of coordinates."""
        wide = line.weight_FP[self._cells :] if self.wide else line.weight_FP[:0]
        if self.wide and self._turn_RD is not None:
            pairs_RP = self._turn_RD @ wide
            wide = np.concatenate([x_RG.T @ pairs_RP for x_RG in self.wide])
        return Weights(line.weight_FP[: self._cells], wide, line.bias_P)

    def each(self, weights: Weights, rows: np.ndarray) -> Tensor:
        """float32 (T, N, P): what the weights say of each text, large category and picture of these rows."""
        each, pieces = np.split(weights.wide_GP, self._firsts()), np.array_split(rows, 1 + len(rows) // AT_ONCE)
        found = [[x_NG @ weight_GP for x_NG, weight_GP in zip(self._wide(piece), each, strict=True)] for piece in pieces]
        return torch.from_numpy(np.concatenate(found, 1)).float()

    def told(self) -> Tensor:
        """float32 (T, N, S): the same of all rows by the weights that were written; 0 of those to learn from."""
        count = len(next(iter(self._batch.values())))
        pieces = torch.arange(self._learned, count).split(AT_ONCE)
        batches = [{name: self._batch[name][piece] for name in self._council.wide_names} for piece in pieces]
        said_TNS = torch.cat([torch.stack(self._council.said(batch)) for batch in batches], 1)
        return torch.cat([said_TNS.new_zeros(len(said_TNS), self._learned, said_TNS.shape[2]), said_TNS], 1)

    def _firsts(self) -> np.ndarray:
        """Where the places of each text, category or picture but the first one begin."""
        return np.cumsum([*_widths(self._council), *(sum(glimpse.parts) for _, glimpse in self._council.pictures())])[:-1]

    def write(self, found: Sequence[Weights]) -> None:
        """Into the council: the weights of all goals side by side."""
        cells_FS, wide_GS, bias_S = (np.concatenate(parts, -1) for parts in zip(*found, strict=True))
        if self.wide:
            each, sparse = np.split(wide_GS, self._firsts()), self._council.sparse()
            for one, weight_GS in zip(sparse, each, strict=False):
                one.put(weight_PS=torch.from_numpy(GAIN * weight_GS))
            if self._level:
                bias_S = bias_S - self._level.write(self._council, each[len(sparse) :])
        self._council.put(weight_FS=torch.from_numpy(cells_FS), bias_S=torch.from_numpy(bias_S))


@final
class Level:
    """What is told of pictures, less its mean over the rows learned from; each part of it (edges, colours, thumbnail) as long."""

    def __init__(self, council: Council, batch: Batch, learned: int):
        self._names = [name for name, _ in council.pictures()]
        self._means, self._scales = list[np.ndarray](), list[np.ndarray]()
        for (_, glimpse), x_ND in zip(council.pictures(), self._told(batch, np.arange(learned)), strict=True):
            self._means.append(x_ND.mean(0))
            each_D = np.square(x_ND - self._means[-1]).mean(0)
            lengths = [max(FLAT, float(one.sum())) ** 0.5 for one in np.split(each_D, np.cumsum(glimpse.parts)[:-1])]
            self._scales.append(np.repeat([GAIN / (len(self._names) * len(lengths)) ** 0.5 / length for length in lengths], glimpse.parts))

    def _told(self, batch: Batch, rows: np.ndarray) -> list[np.ndarray]:
        return [batch[name][rows].double().numpy() for name in self._names]

    def of(self, batch: Batch, rows: np.ndarray) -> list[np.ndarray]:
        """float64 (N, D) of each picture."""
        return [(x_ND - mean_D) * scale_D for x_ND, mean_D, scale_D in zip(self._told(batch, rows), self._means, self._scales, strict=True)]

    def write(self, council: Council, each: Sequence[np.ndarray]) -> np.ndarray:
        """Weights for the numbers as they are into the council; (S,) what is to be taken from the bias."""
        weights = [weight_DS * scale_D[:, None] for weight_DS, scale_D in zip(each, self._scales, strict=True)]
        for (_, glimpse), weight_DS in zip(council.pictures(), weights, strict=True):
            glimpse.put(weight_DS=torch.from_numpy(weight_DS))
        return np.asarray(sum(mean_D @ weight_DS for mean_D, weight_DS in zip(self._means, weights, strict=True)))


def spelled(council: Council, batch: Batch, rows: np.ndarray) -> np.ndarray:
    """float64 (N, F) of the cells."""
    return np.asarray(council.spelled({name: value[rows] for name, value in batch.items()}).double().numpy())


def look(council: Council, inputs: Mapping[str, Field], learned: Examples) -> None:
    """Let glimpses find kinds of patches in the pictures learned from; where trees are told of these, they would hear too much."""
    for name, glimpse in () if council.has_cells else council.pictures():
        some = Examples({name: learned.columns[name]}).batch(torch.from_numpy(spread(np.arange(len(learned)), AT_ONCE)))
        glimpse.learn(finish(some, {name: inputs[name]})[name])


def read(council: Council, inputs: Mapping[str, Field], batch: Batch, learned: int) -> None:
    """Tell the council's letters how tokens are spelled, and how rare each n-gram is among the training rows."""
    for name, letters in council.texts():
        letters.put(spelled_VL=torch.from_numpy(text.spelling(inputs[name].facts["json"], inputs[name].vocabulary[0])))
        all_P, grams_P, words_P = torch.zeros(3, letters.places + 1)
        for tokens_BT in batch[name][:learned].split(AT_ONCE):
            several_BG, grams_BG = letters.where(tokens_BT)
            all_P += _rows(torch.cat([several_BG, grams_BG], 1), len(all_P))
            grams_P += _rows(grams_BG, len(all_P))
            words_P += _rows(several_BG[:, : -(-several_BG.shape[1] // 2)], len(all_P))  # behind them pairs of words
        names = words_P[1:][words_P[1:] == 1].sum() > LONELY * words_P[1:].sum() and not _is_cjk(letters, batch[name][:AT_ONCE])
        rows_P = grams_P if names else all_P
        idf_P = ((1 + learned) / (1 + rows_P)).log() + 1
        letters.put(idf_P=torch.where(rows_P > 0, idf_P, 0.0).index_fill(0, torch.tensor(0), 0.0), wordless_1=torch.ones(int(names)))


def _is_cjk(letters: Letters, tokens_BT: Tensor) -> bool:
    """Whether half of the letters are words by themselves."""
    letter_BW = spell(letters.spelled_VL, tokens_BT)
    return bool(2 * (letter_BW >= IDEOGRAPHS).sum() > (letter_BW > SPACE).sum())


def _rows(place_BG: Tensor, places: int) -> Tensor:
    """(P,) how many of these rows hold each place."""
    place_BG = place_BG.sort(1).values
    again_BG = torch.cat([torch.zeros_like(place_BG[:, :1], dtype=torch.bool), place_BG[:, 1:] == place_BG[:, :-1]], 1)
    return torch.bincount(place_BG[~again_BG], minlength=places)


def _widths(council: Council) -> list[int]:
    """Places of each text and large category."""
    return [one.places + isinstance(one, Letters) for one in council.sparse()]


def grams(council: Council, batch: Batch, rows: np.ndarray) -> Any:
    """CSR (N, G) float64: what the n-grams of all texts count, and the values of large categories."""
    from scipy import sparse

    return sparse.hstack(_grams(council, batch, rows), format="csr")


def _grams(council: Council, batch: Batch, rows: np.ndarray) -> list[Any]:
    """The same of each text and category by itself."""
    from scipy import sparse

    found = []
    some = {name: batch[name][torch.from_numpy(rows)] for name in (*council.token_names, *council.category_names)}
    for one, width, x in zip(council.sparse(), _widths(council), council.read(some), strict=True):
        parts = []
        for piece in x.split(AT_ONCE):
            place_BG, value_BG = (each.numpy() for each in one.weighed(piece))
            row, column = np.nonzero(value_BG)
            parts.append(
                sparse.csr_matrix((GAIN * value_BG[row, column].astype(np.float64), (row, place_BG[row, column])), (len(piece), width))
            )
        found.append(sparse.vstack(parts, format="csr"))
    return found
