"""Requests as tables: every cell checked, media as bytes only, nothing read from this machine's files."""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import nearest
from duomo.core.table import MEDIA, Table

MOST_ROWS = 1000
LONGEST_TEXT = 1_000_000


MEDIA_FAULTS = (binascii.Error, ValueError)


def table_of(rows: Sequence[Any], columns: Mapping[str, str]) -> Table:
    """Rows of a request (dicts, or texts for a run that reads one text) as a table of the columns name -> kind.

    DataError for no or too many rows, an unknown or missing field, a cell of the wrong make.
    """
    if not 1 <= len(rows) <= MOST_ROWS:
        raise DataError("A request carries 1 to {most:,} rows; received {count:,}. Send several requests.", most=MOST_ROWS, count=len(rows))
    texts = [name for name, kind in columns.items() if kind in ("text", "category")]
    made = [{texts[0]: row} if isinstance(row, str) and texts else row for row in rows]
    for number, row in enumerate(made):
        if not isinstance(row, Mapping):
            raise DataError("A row must be a JSON object; row {number} is {value!r}.", number=number, value=_short(row))
        for name in row:
            if name not in columns:
                known = ", ".join(columns)
                raise DataError("Row {number} has an unknown field {name!r}.{hint} The fields are: {known}.",
                                number=number, name=_short(name), hint=nearest(name, columns), known=known)  # fmt: skip
    arrays = {name: _column(name, kind, [row.get(name) for row in made]) for name, kind in columns.items()}
    missing = [name for name in columns if not any(name in row for row in made)]
    if missing:
        raise DataError("Every row needs the fields {known}; missing: {missing}.", known=", ".join(columns), missing=", ".join(missing))
    return Table(pa.table(arrays), dict(columns), name="request")


def _column(name: str, kind: str, cells: list[Any]) -> pa.Array:
    if kind in MEDIA:
        return pa.array([_media(name, cell) for cell in cells], pa.large_binary())
    if kind == "series":
        return pa.array([_series(name, cell) for cell in cells], pa.large_list(pa.large_list(pa.float64())))
    if kind == "number" and all(cell is None or (isinstance(cell, (int, float)) and not isinstance(cell, bool)) for cell in cells):
        return pa.array([None if cell is None or not math.isfinite(cell) else float(cell) for cell in cells], pa.float64())
    return pa.array([_text(name, cell) for cell in cells], pa.large_string())


def _text(name: str, cell: Any) -> str | None:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, (int, float)):
        return repr(cell)
    if not isinstance(cell, str):
        raise DataError("The field {name!r} takes a text or a number; received {value!r}.", name=name, value=_short(cell))
    if len(cell) > LONGEST_TEXT:
        raise DataError("The field {name!r} takes at most {most:,} characters; received {count:,}.",
                        name=name, most=LONGEST_TEXT, count=len(cell))  # fmt: skip
    return cell


def _media(name: str, cell: Any) -> bytes | None:
    if cell is None or isinstance(cell, bytes):
        return cell
    data = cell.get("base64") if isinstance(cell, Mapping) else cell
    if not isinstance(data, str):
        raise DataError('The field {name!r} takes a file as {{"base64": "..."}} or an upload; received {value!r}.',
                        name=name, value=_short(cell))  # fmt: skip
    try:
        return base64.b64decode(data, validate=True)
    except MEDIA_FAULTS:
        raise DataError("The field {name!r} takes a file in base64; received {value!r}.", name=name, value=_short(data)) from None


def _series(name: str, cell: Any) -> list[list[float]] | None:
    if cell is None:
        return None
    rows = (
        cell
        if isinstance(cell, list) and cell and isinstance(cell[0], list)
        else [[value] for value in cell]
        if isinstance(cell, list)
        else None
    )
    if not rows or not all(
        isinstance(row, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in row) for row in rows
    ):
        raise DataError("The field {name!r} takes a list of numbers, or of lists of numbers; received {value!r}.",
                        name=name, value=_short(cell))  # fmt: skip
    return [[float(value) for value in row] for row in rows]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
