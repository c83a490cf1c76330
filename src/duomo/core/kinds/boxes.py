"""Boxes: the things in a picture, each a label and a rectangle in pixels of that picture; what a detector learns to find.

A cell is JSON text: [{"label": "cat", "box": [left, top, right, bottom]}, …]; an empty list is a picture of nothing.
`"crowd": true` marks a region of many that is neither learned nor judged.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.contract import Field
from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import is_text, text_of
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

SHAPE_FAULTS = (*JSON_FAULTS, LookupError, TypeError, AttributeError, OverflowError)
SHAPE = r'^\s*\[\s*(\]|\{\s*"(label|box|crowd)")'


class Box(NamedTuple):
    """One thing: pixels from the picture's upper left corner."""

    label: str
    left: float
    top: float
    right: float
    bottom: float
    crowd: bool = False


@final
class Boxes(Kind):
    """Things in a picture."""

    name: ClassVar[str] = "boxes"
    form: ClassVar[str | None] = None

    def recognise(self, name: str, cells: Cells) -> str | None:
        if not is_text(cells.data.type):
            return None
        known = pc.drop_null(text_of(cells.data))
        if (
            not len(known)
            or not pc.all(pc.match_substring_regex(known, SHAPE)).as_py()
            or not pc.any(pc.match_substring(known, '"box"')).as_py()
        ):
            return None
        some = [len(found) for found in parse(known)]
        return tr("lists of labelled boxes, {count:.1f} a cell on average", count=sum(some) / len(some)) if sum(some) else None

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        raise DataError("Boxes are what a detector learns to find; they are no input. Use --task detect, or --ignore the column.")

    def field(self, state: Mapping[str, Any]) -> Field:
        raise DataError("Boxes are what a detector learns to find; they are no input. Use --task detect, or --ignore the column.")

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        return Block(np.zeros((len(cells.data), 0), np.float32))


def parse(cells: pa.ChunkedArray) -> list[list[Box]]:
    """The boxes of each cell, none for an empty cell; DataError names the first cell that is none."""
    found = []
    for row, cell in enumerate(cells.to_pylist()):
        try:
            found.append([_box(one) for one in json.loads(cell)] if cell else [])
        except SHAPE_FAULTS:
            raise DataError(
                'A cell of boxes must be JSON such as [{{"label": "cat", "box": [10, 20, 110, 90]}}]; row {row} is {value!r}. Fix it.',
                row=row + 1, value=str(cell)[:60],
            ) from None  # fmt: skip
    return found


def _box(one: Mapping[str, Any]) -> Box:
    left, top, right, bottom = (float(value) for value in one["box"])
    if not np.isfinite((left, top, right, bottom)).all():
        raise ValueError
    return Box(str(one["label"]), left, top, right, bottom, bool(one.get("crowd", False)))


def write(boxes: list[Box]) -> str:
    """The cell for these boxes."""
    rows: list[dict[str, Any]] = [{"label": box.label, "box": [round(value, 2) for value in box[1:5]]} for box in boxes]
    return json.dumps([row | ({"crowd": True} if box.crowd else {}) for row, box in zip(rows, boxes, strict=True)], ensure_ascii=False)


KIND = Boxes()
