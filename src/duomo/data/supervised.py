"""What every task with features and targets shares: which columns are features, and which recipe suits them."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from duomo.core.contract import Suggestion
from duomo.core.errors import DataError
from duomo.core.kinds import infer, number
from duomo.core.kinds.cells import CAST_FAULTS, is_number, is_text, sample
from duomo.core.kinds.image import upright
from duomo.core.messages import tr
from duomo.core.steps import steps_of
from duomo.core.table import FLAT, Table
from duomo.core.word_patterns import CJK, SOUTHEAST

UNSPACED = re.compile(f"[{CJK}{SOUTHEAST}]")
MANY_TEXTS = 3000
MANY_PICTURES = 1500
SMALL_PICTURE, LOOKED_AT = 32, 100
MANY_SMALL_PICTURES = 4000
MANY_ROWS, MANY_COLUMNS = 3000, 500
MANY_SERIES = 2000
"""From so many on the head that was fitted to some of them learns on from all."""


def feature_names(table: Table, targets: Sequence[str], ignore: Sequence[str]) -> list[str]:
    """The columns to learn from: all but targets, ignored ones, ids and columns without a single value."""
    for name in (*targets, *ignore):
        table.column(name)
    left_out = {*targets, *ignore, *table.of_kind("id")}
    found = [name for name in table.names if name not in left_out and table.column(name).null_count < max(1, len(table))]
    if not found:
        raise DataError(
            "There must be at least one column to learn from besides the target; the columns are {columns}. "
            "Add a column, or check --ignore and --kind.",
            columns=", ".join(table.names[:30]),
        )
    return found


def numbers(cells: pa.ChunkedArray, style: number.Style | None = None) -> np.ndarray:
    """(N,) float64 of a column of numbers, or of text that reads as numbers; NaN where a cell is neither.

    `style` is how the training column wrote them; found from these cells when None.
    """
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    if is_text(cells.type) or pa.types.is_boolean(cells.type) or is_number(cells.type):
        return number.parse(cells, style)[0]
    try:
        return np.asarray(cells.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    except CAST_FAULTS:
        return np.full(len(cells), np.nan)


def weights(table: Table, name: str) -> np.ndarray:
    """(N,) float64: how much each row counts, at least 0; 1 where no column says so, or a table to be judged lacks it."""
    if not name or name not in table.names:
        return np.ones(len(table))
    found = numbers(table.column(name))
    wrong = np.flatnonzero(~(found >= 0) | np.isinf(found))
    if len(wrong):
        raise DataError(
            "A weight must be a number of at least 0; {name!r} has {value!r} in row {row}. Fix the cell.",
            name=name, value=table.column(name)[int(wrong[0])].as_py(), row=int(wrong[0]) + 1,
        )  # fmt: skip
    return found


def mean_weight(table: Table, name: str) -> float:
    """Of the training rows: what weights are divided by, so that rows count 1 on average."""
    if name:
        table.column(name)
    found = float(weights(table, name).mean()) if len(table) else 1.0
    if not found:
        raise DataError("Some row must count; all weights in {name!r} are 0. Give some of them a weight.", name=name)
    return found


def texts(cells: pa.ChunkedArray) -> list[str]:
    """Cells as text; a missing one is empty."""
    return ["" if cell is None else str(cell) for cell in cells.to_pylist()]


def is_unspaced(sample: Sequence[str]) -> bool:
    """Whether a fifth of the characters are Chinese, Japanese, Korean, Thai, Lao, Burmese or Khmer: spaces then do not divide words."""
    joined = "".join(sample)
    return bool(joined) and len(UNSPACED.findall(joined)) > 0.2 * len(joined)


def _picture_side(table: Table, name: str) -> int:
    """Longest side in pixels, the median of some pictures from all over the table; 0 if none of them opens."""
    sides = list[int]()
    for cell in sample(table.column(name), LOOKED_AT).drop_null().to_pylist():
        with suppress(OSError, ValueError):
            sides.append(max(upright(cell if isinstance(cell, bytes) else (table.root or Path()) / str(cell))))
    return int(np.median(sides)) if sides else 0


def suggest_recipe(table: Table, names: Sequence[str]) -> Suggestion:
    """The recipe for these columns and this many rows; names are those of recipes.toml."""
    rows = len(table)
    known = table.kinds or infer(table, {}).kinds
    names = [name for name in names if known.get(name) != "id"]
    kinds = {known[name] for name in names}
    if kinds <= set(FLAT) and (steps := steps_of(table, names)) and 2 * len(steps) > len(names):
        told = {"rows": rows, "first": steps[0], "last": steps[-1]}
        reason = tr("{rows} rows whose columns {first} … {last} are the steps of a series; --model tabular reads them as columns", **told)
        return Suggestion("steps" if rows < MANY_SERIES else "steps-many", reason)
    if kinds <= set(FLAT):
        size = "table-wide" if len(names) >= MANY_COLUMNS else "table-small" if rows < MANY_ROWS else "table"
        return Suggestion(size, tr("{rows} rows of {columns} table columns", rows=rows, columns=len(names)))
    if "text" in kinds and kinds <= {"text", *FLAT} and kinds != {"text"}:
        reason = tr("{rows} rows that mix {kinds}", rows=rows, kinds=", ".join(map(tr, sorted(kinds))))
        return Suggestion("text" if rows >= MANY_TEXTS else "text-small", reason)
    if "series" in kinds and kinds <= {"series", *FLAT}:
        mixed = tr("{rows} rows that mix {kinds}", rows=rows, kinds=", ".join(map(tr, sorted(kinds))))
        reason = tr("{rows} series", rows=rows) if kinds == {"series"} else mixed
        return Suggestion("series" if rows < MANY_SERIES else "series-many", reason)
    if "video" in kinds and len(names) > 1:
        return Suggestion("video-mixed", tr("{rows} rows that mix {kinds}", rows=rows, kinds=", ".join(map(tr, sorted(kinds)))))
    if (len(names) > 1 and len(kinds) > 1) or kinds & set(FLAT):
        return Suggestion("mixed", tr("{rows} rows that mix {kinds}", rows=rows, kinds=", ".join(map(tr, sorted(kinds)))))
    if kinds == {"text"}:
        return Suggestion("text" if rows >= MANY_TEXTS else "text-small", tr("{rows} texts", rows=rows))
    if kinds == {"image"} and len(names) == 1:
        side = _picture_side(table, names[0])
        reason = tr("{rows} pictures of {side} pixels", rows=rows, side=side)
        if 0 < side <= SMALL_PICTURE:
            return Suggestion("image-small" if rows >= MANY_SMALL_PICTURES else "image-small-few", reason)
        return Suggestion("image" if rows >= MANY_PICTURES else "image-few", reason)
    if kinds == {"audio"} and len(names) == 1:
        return Suggestion("audio", tr("{rows} sounds", rows=rows))
    if kinds == {"video"} and len(names) == 1:
        return Suggestion("video", tr("{rows} films", rows=rows))
    return Suggestion("mixed", tr("{rows} rows that mix {kinds}", rows=rows, kinds=", ".join(map(tr, sorted(kinds)))))
