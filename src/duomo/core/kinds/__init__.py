"""Kinds of columns by name, and which kind each column of a table is.

cells    number (units), numbers, category, date, id, text, series
files    image (depths), audio, video (media: what these share), boxes
shared   base (the contract of a kind), cells
"""

import re
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import ConfigError
from duomo.core.kinds import audio, boxes, category, date, id, image, number, numbers, series, text, video
from duomo.core.kinds.base import Cells, Kind
from duomo.core.kinds.cells import SAMPLE, is_text, sample
from duomo.core.messages import nearest, tr
from duomo.core.table import KINDS as NAMES
from duomo.core.table import Table, evenly

KINDS: dict[str, Kind] = {
    "number": number.KIND,
    "numbers": numbers.KIND,
    "category": category.KIND,
    "text": text.KIND,
    "image": image.KIND,
    "audio": audio.KIND,
    "video": video.KIND,
    "series": series.KIND,
    "date": date.KIND,
    "boxes": boxes.KIND,
    "id": id.KIND,
}
ORDER = ("video", "image", "audio", "series", "boxes", "date", "numbers", "id", "number", "category", "text")
"""The first kind that recognises a column wins: the most particular one is asked first."""
OF_NUMBERS = ("date", "id", "number", "category")
"""Those that are asked where each cell is a number plainly written: of thousands of columns all others would take long."""


MOMENT = re.compile(r"(?i)(^|[\W_])(week|hour|minute|second|step|tick|period|epoch|frame|age|t)s?([\W_]|$)|[天时周期岁]")
"""Beside the names of dates: names of columns in which a count says when, and may be learned from."""
FEWEST_COUNTED = 20


def infer(table: Table, overrides: Mapping[str, str]) -> Table:
    """The table with the kind of every column and the reason why, found from a sample of its cells.

    `overrides` maps columns to kinds; an unknown column or kind raises ConfigError with the nearest known one.
    """
    for column, kind in overrides.items():
        if column not in table.names:
            raise ConfigError(
                "A kind can be set for the columns of the data only; there is no column {column!r}.{hint} The columns are: {columns}.",
                column=column, hint=nearest(column, table.names), columns=", ".join(table.names[:30]),
            )  # fmt: skip
        if kind not in KINDS:
            raise ConfigError(
                "The kind of column {column!r} must be one of {known}; received {kind!r}.{hint}",
                column=column, known=", ".join(NAMES), kind=kind, hint=nearest(kind, NAMES),
            )  # fmt: skip
    kinds: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for column in table.names:
        if column in overrides:
            kinds[column], reasons[column] = overrides[column], tr("set by you")
        elif column in table.kinds:
            kinds[column], reasons[column] = table.kinds[column], table.reasons.get(column, tr("it follows from the layout of the files"))
        else:
            kinds[column], reasons[column] = _recognise(column, Cells(sample(table.column(column)), table.root))
    return table.with_kinds(kinds, reasons)


def _recognise(name: str, cells: Cells) -> tuple[str, str]:
    """Kind and reason of one column; what nothing recognises is text."""
    if pa.types.is_dictionary(cells.data.type):
        cells = Cells(cells.data.cast(cells.data.type.value_type), cells.root)
    plain = is_text(cells.data.type) and pc.all(pc.match_substring_regex(cells.data, number.PLAIN)).as_py()
    for kind in OF_NUMBERS if plain else ORDER:
        reason = KINDS[kind].recognise(name, cells)
        if reason is not None:
            return kind, reason
    return "text", tr("many different values that are neither numbers, dates nor codes")


def set_row_numbers_aside(table: Table, spared: Collection[str]) -> Table:
    """The table with columns that merely count its rows, from 0 or 1 by one, as ids: files written with their row numbers have one.

    A sorted file gives its target away through them. Columns in `spared`, and those whose name tells of time, stay as they are.
    """
    found = [
        name
        for name in table.names
        if table.kinds[name] == "number" and name not in spared and not tells_when(name) and _counts(table.column(name))
    ]
    if not found or len(table.names) < len(found) + 2:
        return table
    reason = tr("it counts the rows of the file one by one")
    return table.with_kinds({**table.kinds, **dict.fromkeys(found, "id")}, {**table.reasons, **dict.fromkeys(found, reason)})


def tells_when(name: str) -> bool:
    """Whether a column is called as dates and counts of time are."""
    return bool(date.NAMED.search(name) or MOMENT.search(name))


def _counts(column: pa.ChunkedArray) -> bool:
    if len(column) < FEWEST_COUNTED:
        return False
    values, _ = number.parse(sample(column))
    places = evenly(len(column), SAMPLE)
    return bool(values[0] in (0, 1) and np.array_equal(values - values[0], places))
