"""What stands beside an answer: what of the row is new to the model, what led to the answer, and the training rows most like it.

Explanation: occlusion (Zeiler and Fergus 2014, section 4): a word, a cell or a patch of the picture is taken away, and the answer's
probability (or number) asked again, all variants together. Likeness: the cosine of what stands before the model's last layer.
"""

import dataclasses
import io
import re
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor, nn

from duomo import plan, work
from duomo.core.config import read_toml
from duomo.core.device import at_hand
from duomo.core.errors import DuomoError
from duomo.core.kinds import KINDS, image
from duomo.core.kinds.base import Cells
from duomo.core.messages import tr
from duomo.core.reporter import Silent
from duomo.core.table import FLAT, MEDIA, Table, evenly
from duomo.core.word_patterns import COMBINING, SOUTHEAST, WORD, runs_of
from duomo.evaluate import worst_errors
from duomo.trained import Run

LOOK_FAULTS = (DuomoError, OSError, ValueError, RuntimeError, pa.ArrowException)

MOST_PARTS, SHOWN, GRID = 64, 4, 5
"""Variants that are asked at most, parts that are named, and patches along a side of a picture."""
LEAST = 0.005
"""A change smaller than this, in probability or relative to the number, is not worth a word."""
MOST_ROWS, NEAREST, MOST_CELLS = 2000, 5, 6
"""Training rows that are compared, rows that are shown, and cells of a row that are."""
CONTENTS, LOOKED = ("text", "series", *MEDIA), 32
"""Kinds of columns without which rows are not alike, and rows that tell whether the last layer sees such a column."""
OUTSIDE = 0.1
"""How far a number may lie outside of those that were learned from, relative to their span."""
TASKS = ("classify", "regress")
ALONE = rf"\u3400-\u9fff{SOUTHEAST}"
LETTER = rf"[^\W{ALONE}]"
PART = re.compile(rf"[{ALONE}][{COMBINING}]*|{runs_of(LETTER)}(?:['’-]{WORD})*")
"""What is taken from a text: a word, or a character where no spaces divide words; each with its combining marks."""
_INDEXES: "weakref.WeakKeyDictionary[Run, Any]" = weakref.WeakKeyDictionary()


def explanation(run: Run, table: Table) -> dict[str, Any] | None:
    """{"sentence", "parts": [{"part", "change"}], "grid": the change of each field of a picture, by rows}, the strongest part first.

    None where nothing can be said.
    """
    if run.task.name not in TASKS:
        return None
    parts = _parts(run, table)[:MOST_PARTS]
    if not parts:
        return None
    cells = {name: pa.array([table.column(name)[0].as_py(), *(cell if name == own else table.column(name)[0].as_py()
                            for _, own, cell in parts)], table.column(name).type) for name in table.names}  # fmt: skip
    values = _values(run.answers(Table(pa.table(cells), table.kinds, root=table.root, name="request")))
    if values is None:
        return None
    changes = values[0] - values[1:]
    scale = 1.0 if run.task.name == "classify" else max(1e-12, abs(float(values[0])))
    order = [int(one) for one in np.argsort(-np.abs(changes), kind="stable")[:SHOWN] if abs(changes[one]) >= LEAST * scale]
    found: list[dict[str, Any]] = [{"part": parts[one][0], "change": round(float(changes[one]), 4)} for one in order]
    said = ", ".join(f"{one['part']} ({_signed(one['change'])})" for one in found)
    sentence = tr("What it rests on most, by how much the answer falls without it: {parts}.", parts=said) if found else tr(
        "No single part of the row decides: the answer stays when any of them is taken away.")  # fmt: skip
    patches = [place for place, (_, own, _) in enumerate(parts) if run.facts["kinds"][own] == "image"]
    whole = len(patches) == GRID * GRID and len({parts[place][1] for place in patches}) == 1
    grid = [round(float(changes[place]), 5) for place in patches] if whole else None
    return {"sentence": sentence, "parts": found, "grid": grid}


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}"


def _parts(run: Run, table: Table) -> list[tuple[str, str, Any]]:
    """What can be taken away: its name, its column, and the cell without it."""
    found: list[tuple[str, str, Any]] = []
    for name in table.names:
        kind, cell = run.facts["kinds"][name], table.column(name)[0].as_py()
        if cell is None:
            continue
        if kind == "text":
            words = list(PART.finditer(cell))
            step = -(-len(words) // MOST_PARTS) or 1
            for first in range(0, len(words), step):
                start, stop = words[first].start(), words[min(first + step, len(words)) - 1].end()
                found.append((f"“{cell[start:stop][:40]}”", name, cell[:start] + cell[stop:]))
        elif kind == "image" and isinstance(cell, bytes):
            found += [(where, name, patched) for where, patched in _patches(cell)]
        elif kind in FLAT and len(table.names) > 1:
            found.append((name, name, None))
    return found


def _patches(cell: bytes) -> list[tuple[str, bytes]]:
    """The picture with one field of a grid after the other painted over with its mean colour; a field is told by row and column."""
    with image.open_picture(cell) as opened:
        picture = image.shown(opened).convert("RGB")
    picture.thumbnail((512, 512))
    pixels, found = np.asarray(picture), []
    mean, rows, columns = pixels.mean((0, 1)).astype(np.uint8), *(np.linspace(0, side, GRID + 1).astype(int) for side in pixels.shape[:2])
    for row in range(GRID):
        for column in range(GRID):
            painted = pixels.copy()
            painted[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = mean
            file = io.BytesIO()
            Image.fromarray(painted).save(file, "PNG")
            found.append((tr("field {row}/{column} of {grid} × {grid}", row=row + 1, column=column + 1, grid=GRID), file.getvalue()))
    return found


def _values(answers: Mapping[str, Sequence[Any]]) -> np.ndarray | None:
    """(N,) the probability of the first row's answer in every row, or the number that is answered; None where it is neither."""
    first = answers["prediction"][0]
    if "probabilities" in answers:
        rows = [row.get(str(first)) if isinstance(first, str | int | float | bool) else None for row in answers["probabilities"]]
    else:
        rows = [one if isinstance(one, float | int) and not isinstance(one, bool) else None for one in answers["prediction"]]
    return None if None in rows else np.asarray(rows, np.float64)


def strange(run: Run, table: Table) -> list[str] | None:
    """A sentence for each cell unlike any that was learned from: a category that is new, a number far outside, a text too long."""
    state = run.folder.read_json("task.json")
    encoder = state.get("encoder") if isinstance(state, dict) else None
    found = [tr("The text is longer than what the model reads: only a part of it counts.")] if run.task.too_long(table).any() else []
    given = {*table.names} & {*run.facts.get("asks", run.facts["features"])}  # what a row was told of before is not its own
    for one in encoder.get("columns", []) if isinstance(encoder, dict) else []:
        name, kind, learned = one["column"], one["kind"], one["state"]
        cell = table.column(name)[0].as_py() if kind in ("number", "numbers", "category") and name in given else None
        if cell is None or str(cell).strip() == "":
            continue
        values = np.ravel(KINDS[kind].encode(Cells(table.column(name)), learned).values)
        if kind == "category" and learned["values"] and values[0] == 0 and not learned.get("parts"):  # of a list, some may be known
            found.append(tr("{value!r} of {name!r} is new to the model, or was too rare to learn from: it counts as unknown.",
                            value=str(cell)[:60], name=name))  # fmt: skip
        for value, part in zip(values, learned.get("parts", [learned]), strict=False) if kind != "category" else ():
            low, high = part["bins"][0], part["bins"][-1]
            if not low - OUTSIDE * (high - low) <= value <= high + OUTSIDE * (high - low):
                digits = 4 - int(np.floor(np.log10((high - low) * part["scale"])))  # the bins are 32-bit numbers
                first, last = (f"{round(end * part['scale'] + part['centre'], digits) + 0.0:.10g}" for end in (low, high))
                found.append(tr("{value} of {name!r} lies far outside of what was learned from ({low} to {high}): the answer is a guess.",
                                value=str(cell)[:60], name=name, low=first, high=last))  # fmt: skip
    return found or None


class _Index:
    """Training rows and what the model sees in each: features (N, D), of length one."""

    def __init__(self, run: Run):
        made = plan.make(run.recipe.data.source, read_toml(run.path / "recipe.toml"), Silent(), resumed=True)
        if work.fingerprint(made) != run.facts["data"]:
            raise ValueError("the data have changed")
        table = made.train
        rows = evenly(len(table), MOST_ROWS)
        self.table, self._run = table.take(rows), Run.open(run.path, engine=False)  # an engine shows no layers
        self.features_ND = self.of(self.table)
        if blind := [name for name in run.facts["features"] if run.facts["kinds"][name] in CONTENTS and not self._sees(name)]:
            raise ValueError(f"the last layer sees nothing of {blind}")

    def _sees(self, name: str) -> bool:
        """Whether what stands before the last layer depends on the column; one member of several may read some columns only."""
        some = self.table.take(np.arange(min(len(self.table), LOOKED)))
        cells = some.column(name)
        moved = cells.take(pa.array(np.roll(np.arange(len(some)), 1)))
        other = dataclasses.replace(some, data=some.data.set_column(some.names.index(name), name, moved))
        return bool(moved.equals(cells)) or not torch.allclose(self.features_ND[: len(some)], self.of(other), atol=1e-5)

    def of(self, table: Table) -> Tensor:
        """(N, D) float32; ValueError where the model has no last layer over rows."""
        predictor, taken = self._run.predictor, []
        layers = [one for one in self._run.model.modules() if isinstance(one, nn.Linear) and one.out_features == self._run.task.head.size]
        if not layers or layers[-1].in_features <= 1:
            raise ValueError("no last layer")
        hook = layers[-1].register_forward_pre_hook(lambda module, given: taken.append(given[0].detach().float().cpu()))
        examples = self._run.task.encode(table, target=False)
        found: Tensor | None = None
        try:
            for rows, batch in predictor.blocks(examples):
                taken.clear()
                with torch.inference_mode():
                    self._run.model(at_hand(self._run.model, batch))
                if len(taken) != 1 or taken[0].dim() != 2 or len(taken[0]) < len(rows):
                    raise ValueError("no last layer over rows")
                found = taken[0].new_zeros(len(table), taken[0].shape[1]) if found is None else found
                found[torch.from_numpy(rows)] = taken[0][: len(rows)]
        finally:
            hook.remove()
        if found is None:
            raise ValueError("no rows")
        return nn.functional.normalize(found, dim=1)


def neighbours(run: Run, table: Table) -> list[dict[str, Any]] | None:
    """The nearest training rows: {"row", "distance", "cells"}; None where the data are gone or changed, or no such layer is there."""
    if run.task.name not in TASKS:
        return None
    try:
        if run not in _INDEXES:
            _INDEXES[run] = None
            _INDEXES[run] = _Index(run)
        index = _INDEXES[run]
        if index is None:
            return None
        near_N = index.features_ND @ index.of(table)[0]
    except LOOK_FAULTS:
        return None
    values, order = near_N.topk(min(NEAREST, len(near_N)))
    names = [name for name in [*run.facts["features"][:MOST_CELLS], *run.recipe.data.target] if name in index.table.names]
    room = [0]  # sounds are named, not played
    return [{"row": int(row), "distance": round(1 - float(value), 4),
             "cells": [worst_errors.cell(index.table, name, int(row), room) for name in names]}
            for row, value in zip(order, values, strict=True)]  # fmt: skip
