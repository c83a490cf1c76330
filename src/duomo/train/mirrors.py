"""Whether pictures may be mirrored while a model learns: not where a mirror image means something else, as of an arrow, a letter, the angle
of a wheel or the side of a body.

Told by a learner that cannot tell a picture from its mirror image, held against one that can, on rows that are left out one by one: kernel
ridge regression over edges, colours and a thumbnail, whose kernel is k(x, y), or k(x, y) + k(x, y mirrored) (Haasdonk and Burkhardt 2007,
"Invariant Kernel Functions for Pattern Analysis and Machine Learning", section 3).
Legend: N rows or things, C channels, H height, W width, D numbers of a picture, K targets side by side.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from duomo.core.contract import Field, Task
from duomo.core.errors import DataError
from duomo.core.table import Table
from duomo.core.tensors import Batch
from duomo.data.loader import finish
from duomo.nn.picture_features import PictureFeatures
from duomo.train.holdout import spread

ROWS, PICTURES, SIDE, TINY = 1000, 200, 48, 6
"""Rows, or things, and pictures with things that are looked at; the side that each thing is brought to, and the least that it has."""
AT_ONCE, LEAST = 64, 40
PENALTIES, WIDTHS = tuple(10.0**power for power in range(-4, 2)), (0.25, 1.0)
"""Tried for each learner: shares of the mean eigenvalue, of the mean squared distance."""
WORSE, SURE = 0.03, 4.0
"""Share of the targets' variance that is lost to who cannot tell mirror images, at least, and in how many standard errors."""


def tell(pictures: Tensor, field: Field, wanted_NK: np.ndarray) -> tuple[float, float]:
    """Share of the variance that is lost to a learner that cannot tell mirror images, and its standard error; of uint8 (N, C, H, W)."""
    wanted_NK = wanted_NK - wanted_NK.mean(0)
    varies = float(wanted_NK.var(0).sum())
    if not varies:
        return 0.0, 0.0
    told_ND, mirrored_ND = _described(pictures, field)
    plain_NN, across_NN = _apart(told_ND, told_ND), _apart(told_ND, mirrored_ND)
    usual = float(plain_NN.mean()) or 1.0
    plain, blind = [], []
    for width in WIDTHS:
        near_NN, other_NN = (np.exp(-apart_NN / (width * usual)) for apart_NN in (plain_NN, across_NN))
        plain.append(_left_out(near_NN, wanted_NK))
        blind.append(_left_out(near_NN + (other_NN + other_NN.T) / 2, wanted_NK))
    lost_N = (min(blind, key=np.sum) - min(plain, key=np.sum)) / varies
    return float(lost_N.mean()), float(lost_N.std() / len(lost_N) ** 0.5)


def _described(pictures: Tensor, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) of the pictures, and of their mirror images; each part of the numbers counts alike."""
    glimpse, found = PictureFeatures(field, 1), list[Tensor]()
    both = torch.cat([pictures, pictures.flip(3)])
    with torch.inference_mode():
        for start in range(0, len(both), AT_ONCE):
            found.append(torch.cat(glimpse.describe(finish({"x": both[start : start + AT_ONCE]}, {"x": field})["x"]), 1))
    told_ND = torch.cat(found).numpy()
    for part_ND in np.split(told_ND, np.cumsum(glimpse.parts)[:-1], axis=1):
        part_ND -= part_ND.mean(0)
        part_ND /= max(1e-6, float(np.sqrt(np.square(part_ND).sum(1).mean())))
    return told_ND[: len(pictures)], told_ND[len(pictures) :]


def _apart(one_ND: np.ndarray, other_ND: np.ndarray) -> np.ndarray:
    """(N, N) squared distances."""
    square_N, others_N = (np.square(x_ND).sum(1, dtype=np.float64) for x_ND in (one_ND, other_ND))
    return np.maximum(square_N[:, None] + others_N - 2.0 * (one_ND @ other_ND.T), 0.0)


def _left_out(kernel_NN: np.ndarray, wanted_NK: np.ndarray) -> np.ndarray:
    """(N,) squared error of each row where it is left out, by the penalty that leaves the least of them (Golub et al. 1979, eq. 1.2)."""
    value_N, turn_NN = np.linalg.eigh(kernel_NN)
    value_N, seen_NK = np.maximum(value_N, 0.0), turn_NN.T @ wanted_NK
    tried = []
    for penalty in PENALTIES:
        share_N = value_N / (value_N + penalty * value_N.mean())
        own_N = np.minimum(np.square(turn_NN) @ share_N, 1 - 1e-6)
        gap_NK = (wanted_NK - turn_NN @ (share_N[:, None] * seen_NK)) / (1 - own_N)[:, None]
        tried.append(np.square(gap_NK).sum(1))
    return np.asarray(min(tried, key=np.sum))


def told_apart(task: Task, table: Table) -> bool:
    """Whether mirror images of these pictures, or of the things in them, clearly mean something else; `task` has learned nothing yet."""
    scenes = bool(table.of_kind("boxes"))
    if not scenes and type(task).goals is Task.goals:  # whom a task tells apart is no target
        return False
    try:
        task.fit(some := table.take(spread(np.arange(len(table)), PICTURES if scenes else ROWS)))
        examples = task.encode(some, target=True)
    except DataError:
        return False
    (name, field), *others = task.inputs.items()
    if others or field.form != "pixels":
        return False
    batch = examples.batch(np.arange(len(examples)))
    pictures, wanted_NK = _things(batch, name) if "target.boxes" in batch else _rows(task, batch, name)
    if len(pictures) < LEAST:
        return False
    lost, unsure = tell(pictures, replace(field, shape=tuple(pictures.shape[1:])), wanted_NK)
    return lost > max(WORSE, SURE * unsure)


def _rows(task: Task, batch: Batch, name: str) -> tuple[Tensor, np.ndarray]:
    """The pictures whose targets are known, and these side by side, each class a target."""
    goals = task.goals(batch)
    if not goals:
        return batch[name][:0], np.zeros((0, 1))
    known_N = np.all([goal.known for goal in goals], axis=0)
    columns = [np.eye(goal.size)[goal.values[known_N].astype(int)] if goal.size > 1 else goal.values[known_N, None].astype(np.float64)
               for goal in goals]  # fmt: skip
    return batch[name][torch.from_numpy(known_N)], np.concatenate(columns, axis=1)


def _things(batch: Batch, name: str) -> tuple[Tensor, np.ndarray]:
    """What the boxes hold, each brought to one size, and its class."""
    found, kinds = list[Tensor](), list[int]()
    height, width = batch[name].shape[2:]
    places = torch.nonzero(batch["target.classes"] >= 0)
    for row, place in places[torch.from_numpy(spread(np.arange(len(places)), ROWS))].tolist():
        left, top, right, bottom = (batch["target.boxes"][row, place] * torch.tensor([width, height] * 2)).round().int().tolist()
        if right - left >= TINY and bottom - top >= TINY:
            piece = batch[name][row : row + 1, :, top:bottom, left:right].float()
            found.append(functional.interpolate(piece, (SIDE, SIDE), mode="bilinear", antialias=True).round().to(torch.uint8))
            kinds.append(int(batch["target.classes"][row, place]))
    return torch.cat(found or [batch[name][:0]]), np.eye(max(kinds, default=0) + 1)[kinds]
