"""Requests as tables: every cell checked, media as bytes only, nothing read from this machine's files."""

import base64
import json
import math
import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import nearest
from duomo.core.table import MEDIA, Table
from duomo.data.objects import lacked
from duomo.data.rasters import of_row
from duomo.serve.json_body import read_json
from duomo.serve.limits import LONGEST_TEXT, MOST_ROWS, MOST_VALUES

NUMERIC = (float, int, type(None))
FILES = "files"
"""The field of an upload whose files are a row each."""


def rows_of(body: bytes) -> list[Any]:
    """The rows of {"rows": [...]}."""
    value = read_json(body)
    if not isinstance(value, dict) or not isinstance(value.get("rows"), list):
        found = value if not isinstance(value, dict) else ", ".join(value) or "{}"
        hint = nearest(next(iter(value)), ["rows"]) if isinstance(value, dict) and value and "rows" not in value else ""
        raise DataError('The body must be {{"rows": [...]}}; received {value!r}.{hint}', value=_short(found), hint=hint)
    extra = [name for name in value if name != "rows"]
    if extra:
        raise DataError('The body must be {{"rows": [...]}}; received {value!r}.{hint}', value=_short(extra[0]), hint="")
    rows: list[Any] = value["rows"]
    return rows


def rows_of_parts(parts: Iterable[tuple[str, bool, bytes]], columns: Mapping[str, str]) -> list[Any]:
    """An upload's parts (field, whether it is a file, content) as rows.

    For a run that reads pictures or sounds and nothing else a file is a row, whatever its field; otherwise the fields are the columns of
    one row, and an empty one is unknown.
    """
    row: dict[str, Any] = {}
    files: list[Any] = []
    media = [name for name, kind in columns.items() if kind in MEDIA]
    for name, is_file, content in parts:
        if is_file and ((name == FILES and FILES not in columns) or len(media) == len(columns) == 1):
            files.append(content)
        elif name in row:
            raise DataError("An upload is one row unless its files are named `files`; {name!r} comes twice.", name=_short(name))
        else:
            row[name] = content if is_file and columns.get(name) in (None, *MEDIA) else _spelled(name, content, is_file) or None
    if not files:
        return [row]
    if len(media) != 1 or len(columns) != 1 or row:
        raise DataError("Files named `files` are for runs that read one picture or sound and nothing else; this one reads {columns}. "
                        "Name each field after its column. Rows of a table are sent as JSON; a whole file is answered by `duomo predict`.",
                        columns=", ".join(columns))  # fmt: skip
    return [{media[0]: content} for content in files]


def _spelled(name: str, content: bytes, is_file: bool) -> str:
    """The text of a field, or of a file that stands for one."""
    try:
        return content.decode("utf-8", "strict" if is_file else "replace")
    except UnicodeDecodeError:
        raise DataError("The field {name!r} takes a text in UTF-8; the file is none.", name=_short(name)) from None


@dataclass(frozen=True)
class Rows:
    """The rows of a request, their fields checked. Their cells are checked when they become a table."""

    made: Sequence[Mapping[str, Any]]
    forms: tuple[bool, ...]
    """Of each number column, whether all cells are JSON numbers: rows of the same forms share a table with those of other requests."""

    def __len__(self) -> int:
        return len(self.made)


def checked(
    rows: Sequence[Any], columns: Mapping[str, str], most: int = MOST_ROWS, ignored: Collection[str] = (), free: Collection[str] = ()
) -> Rows:  # fmt: skip
    """Rows of a request: dicts, or texts for a run that reads one text. DataError for no or too many rows, an unknown or missing field.

    As where files are read, {"user": {"age": 3}} is user.age; `ignored` are columns that training saw and does not learn from; those of
    `free` need not be there.
    """
    if not 1 <= len(rows) <= most:
        raise DataError("A request carries 1 to {most:,} rows; received {count:,}. Send several requests.", most=most, count=len(rows))
    texts = [name for name, kind in columns.items() if kind in ("text", "category")]
    made = [{texts[0]: row} if isinstance(row, str) and texts else row for row in rows]
    objects, drawn = set[str](), "image" in columns.values()
    for number, row in enumerate(made):
        if not isinstance(row, Mapping):
            raise DataError("A row must be a JSON object; row {number} is {value!r}.", number=number, value=_short(row))
        if drawn:
            row = made[number] = of_row(row, columns)
        if not row.keys() <= columns.keys():
            objects = objects or {name[:end] for name in (*columns, *ignored) for end, sign in enumerate(name) if sign == "."}
            made[number] = found = {}
            for name, cell in _fields(row, columns, objects):
                if name in columns:
                    found[name] = cell
                elif name not in ignored:  # at the first, so that no request makes more fields than the run has columns
                    raise DataError("Row {number} has an unknown field {name!r}.{hint} The fields are: {known}.",
                                    number=number, name=_short(name), hint=nearest(name, columns), known=", ".join(columns))  # fmt: skip
    missing = [name for name in columns.keys() - made[0].keys() - {*(free if any(made) else ())} if not any(name in row for row in made)]
    given = set().union(*made) if missing else set()  # objects need not have all their fields, as where files are read
    missing = [name for name in missing if not lacked(name, given)]
    if missing:
        raise DataError(
            "Every row needs the fields {known}; missing: {missing}.", known=", ".join(columns), missing=", ".join(sorted(missing))
        )
    forms = tuple(all(type(row.get(name)) in NUMERIC for row in made) for name, kind in columns.items() if kind == "number")
    return Rows(made, forms)


def _fields(row: Mapping[str, Any], columns: Collection[str], objects: Collection[str], above: str = "") -> Iterator[tuple[str, Any]]:
    """The cells of a row by their columns' names; `objects` are the names under which others lie."""
    for field, cell in row.items():
        name = above + field
        if isinstance(cell, str) and cell.startswith("{") and name in objects and name not in columns:
            with suppress(DataError):
                cell = read_json(cell.encode("utf-8", "replace"))
        if name in columns or name not in objects or not (cell is None or isinstance(cell, Mapping)):
            yield name, cell
        elif cell is not None:
            yield from _fields(cell, columns, objects, f"{name}.")


def built(made: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Table:
    """Checked rows as a table of the columns name -> kind; DataError for a cell of the wrong make."""
    cells: dict[str, list[Any]] = {name: [row.get(name) for row in made] for name in columns}
    numbers = [name for name, kind in columns.items() if kind == "number" and set(map(type, cells[name])) == {float}]
    plain = [name for name in numbers if math.isfinite(sum(cells[name]))]
    # all of them as one array and cut: an array for each would be most of what a row of numbers costs
    flat = pa.array(list(chain.from_iterable(cells[name] for name in plain)), pa.float64())
    cut = {name: flat.slice(place * len(made), len(made)) for place, name in enumerate(plain)}
    arrays = {name: cut[name] if name in cut else _column(name, kind, cells[name]) for name, kind in columns.items()}
    return Table(pa.table(arrays), dict(columns), name="request")


def table_of(rows: Sequence[Any], columns: Mapping[str, str]) -> Table:
    """The rows of one request as a table; DataError as `checked` and `built`."""
    return built(checked(rows, columns).made, columns)


def _column(name: str, kind: str, cells: list[Any]) -> pa.Array:
    if kind in MEDIA:
        return pa.array([_media(name, cell) for cell in cells], pa.large_binary())
    if kind == "series":
        return pa.array([_series(name, cell) for cell in cells], pa.large_list(pa.large_list(pa.float64())))
    if kind == "number" and all(type(cell) in NUMERIC for cell in cells):
        return pa.array([None if cell is None else _number(name, cell) for cell in cells], pa.float64())
    return pa.array([_text(name, kind, cell) for cell in cells], pa.large_string())


def _number(name: str, cell: float) -> float | None:
    try:
        value = float(cell)
    except OverflowError:
        raise DataError("The field {name!r} takes numbers below 1.8e308; received one of {count:,} digits.",
                        name=name, count=len(str(cell)))  from None  # fmt: skip
    if math.isinf(value):  # `predict` refuses it as well, and 1e999 is no other number than one of a thousand digits
        raise DataError("The field {name!r} takes numbers below 1.8e308; received {value}.", name=name, value=value)
    return None if math.isnan(value) else value


def _text(name: str, kind: str, cell: Any) -> str | None:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    if isinstance(cell, bool):
        return ("1" if cell else "0") if kind == "number" else "true" if cell else "false"
    if isinstance(cell, (int, float)):
        return repr(cell)
    if isinstance(cell, (list, dict)) and kind != "number":
        cell = json.dumps(cell, ensure_ascii=False)  # as where files are read
    if not isinstance(cell, str):
        raise DataError("The field {name!r} takes a text or a number; received {value!r}.", name=name, value=_short(cell))
    if len(cell) > LONGEST_TEXT:
        raise DataError("The field {name!r} takes at most {most:,} characters; received {count:,}.",
                        name=name, most=LONGEST_TEXT, count=len(cell))  # fmt: skip
    try:
        cell.encode()
    except UnicodeEncodeError:
        raise DataError("The field {name!r} takes whole characters; received half of a surrogate pair.", name=name) from None
    return cell


def _media(name: str, cell: Any) -> bytes | None:
    if cell is None or isinstance(cell, bytes):
        return cell
    data = cell.get("base64") if isinstance(cell, Mapping) else cell
    if not isinstance(data, str):
        raise DataError('The field {name!r} takes a file as {{"base64": "..."}} or an upload; received {value!r}.',
                        name=name, value=_short(cell))  # fmt: skip
    if data.startswith("data:"):  # as a browser reads files
        data = data.partition(";base64,")[2] or data
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        raise DataError("The field {name!r} takes a file in base64; received {value!r}.", name=name, value=_short(data)) from None


def _series(name: str, cell: Any) -> list[list[float | None]] | None:
    if isinstance(cell, str):  # as in the cell of a table, or the field of a form
        with suppress(DataError):  # told of as a text where a list is expected
            cell = read_json(cell.encode("utf-8", "replace"))
    if cell is None or cell == []:
        return None
    rows = [step if isinstance(step, list) else [step] for step in cell] if isinstance(cell, list) else []
    numbers = [value for row in rows for value in row]
    if not numbers or not all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in numbers):
        raise DataError("The field {name!r} takes a list of numbers, or of lists of numbers; received {value!r}.",
                        name=name, value=_short(cell))  # fmt: skip
    if len(numbers) > MOST_VALUES:
        raise DataError("The field {name!r} takes at most {most:,} numbers; received {count:,}.",
                        name=name, most=MOST_VALUES, count=len(numbers))  # fmt: skip
    return [[None if value is None else _number(name, value) for value in row] for row in rows]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
