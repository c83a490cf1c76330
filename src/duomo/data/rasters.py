"""Pictures written as numbers, a column for each pixel (pixel0 to pixel783, 1x1 to 28x28) or all in one cell: they become pictures.

They show by their numbers: whole, from 0 to 255, or fractions of 1, as many as a square has pixels, or three times as many, and like those
above and below them as well as those beside. Legend: N rows, T pixels of a row, S pixels of a side.
"""

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.kinds import KINDS, number, series
from duomo.core.kinds.base import Cells
from duomo.core.kinds.cells import is_text
from duomo.core.messages import tr
from duomo.core.steps import ROWS
from duomo.core.table import Table, evenly
from duomo.data.formats.picture_arrays import png

SIDE, MOST = 8, 512
"""Pixels of a side: what is smaller is a table as well."""
DARK = 31
"""Where nothing is brighter than this, the brightest is white."""
LEAST = 256
"""Pixels in one cell: what is shorter is a series as well."""
CLOSE = 0.75
"""Neighbours differ by less than this share of what pixels half a row apart do."""
NAMED = re.compile(r"(.+) (?:(3)×)?(\d+)×(\d+)(?:×(3))?(?: of (?P<white>\d+))?")
"""What such a column is called: `pixel 28×28`, `pixel 32×32×3` (colours side by side), `pixel 3×32×32` (one after the other); with the
value of white where that is not 255: `pixel 8×8 of 16`."""
WRITTEN = re.compile(r"\d+(?:[ ,;]+\d+){255,}")
"""A cell that holds all pixels."""


def drawn(table: Table, aside: Collection[str] = ()) -> Table:
    """The table with a picture in place of columns, or of cells of a series, that are its pixels; `aside`: columns that somebody named."""
    some = table.take(evenly(len(table), ROWS))
    for group in _alike([name for name in table.names if table.kinds.get(name) == "number"], table.names):
        for names in (group, group[1:], group[:-1]):
            if _shapes(len(names)) and not {*names} & {*aside} and (shape := _shape(pixels_NT := _values(some, names))):
                white = "" if pixels_NT.max() > DARK else f" of {max(1, pixels_NT.max()):.0f}"
                return _columns(table, names, f"{_stem(names)} {'×'.join(map(str, shape))}{white}")
    for name in (name for name in table.names if table.kinds.get(name) == "series" and name not in aside):
        values_NT = _steps(some.column(name))
        steps = 0 if values_NT is None else values_NT.shape[1]
        if values_NT is not None and steps >= LEAST and math.isqrt(steps) ** 2 == steps and values_NT.max() > 1 and _shape(values_NT):
            return _cells(table, name)
    return table


def again(table: Table, kinds: Mapping[str, str]) -> Table:
    """Further rows as those were that a run with these kinds learned from; pictures that are files stay as they are."""
    for name in (name for name, kind in kinds.items() if kind == "image"):
        told = NAMED.fullmatch(name)
        if name in table.names and is_text(table.column(name).type) and KINDS["series"].recognise(name, Cells(table.column(name), None)):
            table = _cells(table, name)
        elif told and name not in table.names:
            size = math.prod(_numbers(told))
            groups = _alike(table.names, table.names)
            found = (
                names for group in groups for names in (group, group[1:], group[:-1]) if len(names) == size and _stem(names) == told[1]
            )
            table = next((_columns(table, names, name) for names in found), table)
    return table


def of_row(row: Mapping[str, Any], kinds: Mapping[str, str]) -> Mapping[str, Any]:
    """The same for one row of cells, as programs send it."""
    for name, kind in kinds.items():
        told = NAMED.fullmatch(name) if kind == "image" else None
        cell = row.get(name)
        if kind == "image" and (isinstance(cell, list) or (isinstance(cell, str) and WRITTEN.fullmatch(cell))):
            row = {**row, name: again(Table(pa.table({name: [str(cell)]})), {name: kind}).column(name)[0].as_py()}
        elif told and name not in row:
            given = pa.table({field: [value] for field, value in row.items() if type(value) in (int, float)})
            made = again(Table(given), {name: kind})
            if name in made.names:
                row = {field: value for field, value in row.items() if field not in given.column_names or field in made.names}
                row |= {name: made.column(name)[0].as_py()}
    return row


def _numbers(told: re.Match[str]) -> list[int]:
    return [int(part) for part in told.groups()[1:5] if part]


def _alike(names: Sequence[str], order: Sequence[str]) -> list[list[str]]:
    """The columns side by side whose names differ in numbers alone."""
    known = {*names}
    runs = itertools.groupby(order, lambda name: re.sub(r"\d+", "#", name) if name in known else "")
    return [found for pattern, run in runs if "#" in pattern and len(found := list(run)) >= SIDE * SIDE]


def _stem(names: Sequence[str]) -> str:
    return re.sub(r"[\d_. -]+$", "", names[0]) or "pixels"


def _shapes(count: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for side, colours in ((math.isqrt(count), 1), (math.isqrt(count // 3), 3)):
        if SIDE <= side <= MOST and side * side * colours == count:
            found += [(side, side)] if colours == 1 else [(side, side, 3), (3, side, side)]
    return found


def _shape(values_NT: np.ndarray) -> tuple[int, ...] | None:
    """The shape in which pixels are most like their neighbours beside and below; None where they are no pixels.

    Those half a row or half a column away are much less so. In a series they are more alike than what would stand below, for they are
    nearer in time; where it repeats itself all that stands below is alike.
    """
    if not np.isfinite(values_NT).all() or values_NT.min() < 0 or not 0 < values_NT.max() <= 255:
        return None
    if bool((values_NT % 1).any()) != (values_NT.max() <= 1):
        return None
    best, found = CLOSE, None
    for shape in _shapes(values_NT.shape[1]):
        picture_N = values_NT.reshape(-1, *shape)
        picture_NYXC = picture_N.transpose(0, 2, 3, 1) if shape[0] == 3 else picture_N.reshape(*picture_N.shape[:3], -1)
        below, beside = (np.abs(np.diff(picture_NYXC, axis=axis)).mean() for axis in (1, 2))
        half = picture_NYXC.shape[2] // 2
        column, row = (np.abs(one[:, half:] - one[:, :-half]).mean() for one in (picture_NYXC, picture_NYXC.swapaxes(1, 2)))
        rough = max(max(below, beside) / max(row, 1e-9), below / max(column, 1e-9))
        if rough < best:
            best, found = rough, shape
    return found


def _values(table: Table, names: Sequence[str]) -> np.ndarray:
    return np.stack([number.parse(table.column(name))[0] for name in names], axis=1)


def _steps(column: pa.ChunkedArray) -> np.ndarray | None:
    """(N, T) where all cells have as many numbers."""
    values_LC, lengths_N = series.parse(column)
    if not len(lengths_N) or values_LC.shape[1] != 1 or len({*lengths_N.tolist()} - {0}) != 1:
        return None
    return values_LC.reshape(-1, int(lengths_N.max()))


def _png(values_T: np.ndarray, shape: Sequence[int], white: float = 255.0) -> bytes:
    picture = (np.nan_to_num(values_T) * (255 / white)).clip(0, 255).round().astype(np.uint8).reshape(shape)
    return png(picture.transpose(1, 2, 0) if len(shape) == 3 and shape[0] == 3 else picture)


def _columns(table: Table, names: Sequence[str], name: str) -> Table:
    told = NAMED.fullmatch(name)
    shape, white = (_numbers(told), float(told["white"] or 255)) if told else ([], 255.0)
    pictures = [_png(row_T, shape, white) for piece in table.slices(ROWS) for row_T in _values(piece, names)]
    why = tr("{count:,} columns from {first!r} to {last!r} are the pixels of pictures; --kind {first}=number leaves them columns",
             count=len(names), first=names[0], last=names[-1])  # fmt: skip
    return _with(table.without(names), name, pictures, why)


def _cells(table: Table, name: str) -> Table:
    pictures: list[bytes | None] = []
    for piece in table.slices(ROWS):
        values_LC, lengths_N = series.parse(piece.column(name))
        sides = [math.isqrt(length) for length in lengths_N.tolist()]
        parts = np.split(values_LC[:, 0], np.cumsum(lengths_N)[:-1])
        pictures += [
            _png(part, (side, side)) if side and side * side == len(part) else None for part, side in zip(parts, sides, strict=True)
        ]
    why = tr("the cells are the pixels of square pictures; --kind {name}=series leaves them series", name=name)
    return _with(table.without([name]), name, pictures, why)


def _with(table: Table, name: str, pictures: Sequence[bytes | None], why: str) -> Table:
    data = table.data.append_column(name, pa.array(pictures, pa.large_binary()))
    return replace(table, data=data, kinds={**table.kinds, name: "image"}, reasons={**table.reasons, name: why})
