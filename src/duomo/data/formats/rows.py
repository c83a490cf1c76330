"""Rows of unlike keys and types (dicts of Python's own values) as Arrow batches, each column of the one type that holds all its cells."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.kinds.cells import whole
from duomo.data.formats.picture_arrays import is_picture, png
from duomo.data.several import are_places

BATCH = 10_000
DEEPEST, MOST_FIELDS, LOOKED_AT = 4, 64, 1000
"""Objects within objects are unfolded so deep, where they have so few fields in so many rows."""


def from_rows(rows: Callable[[], Iterable[Mapping[str, Any]]]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Two passes over rows of unlike keys and types: the first finds each column's type, the second yields batches.

    A column of objects becomes a column for each of their fields: {"user": {"age": 3}} is user.age.
    """
    for _ in range(DEEPEST):
        objects = _objects(rows)
        if not objects:
            break
        rows = partial(_unfolded, rows, objects)
    return from_plain_rows(rows)


def _objects(rows: Callable[[], Iterable[Mapping[str, Any]]]) -> set[str]:
    """Columns that hold objects of few fields and nothing else, as far as the first rows tell."""
    fields: dict[str, set[str]] = {}
    other = set()
    for row in islice(rows(), LOOKED_AT):
        for name, cell in row.items():
            if isinstance(cell, Mapping) and cell and not {"bytes", "path"} >= cell.keys() and not are_places(cell):
                fields.setdefault(name, set()).update(map(str, cell))
            elif cell is not None:
                other.add(name)
    return {name for name, found in fields.items() if name not in other and len(found) <= MOST_FIELDS}


def _unfolded(rows: Callable[[], Iterable[Mapping[str, Any]]], objects: set[str]) -> Iterator[Mapping[str, Any]]:
    for row in rows():
        found: dict[str, Any] = {}
        for name, cell in row.items():
            if name in objects and isinstance(cell, Mapping):
                found |= {f"{name}.{field}": value for field, value in cell.items()}
            elif name not in objects or cell is not None:
                found[name] = cell
        yield found


def from_plain_rows(rows: Callable[[], Iterable[Mapping[str, Any]]]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    found: dict[str, str] = {}
    for row in rows():
        for name, value in row.items():
            found[name] = _wider(found.get(name, ""), _type_of(value))
    types = {name: _ARROW.get(kind, pa.large_string()) for name, kind in found.items()}
    schema = pa.schema(list(types.items()))
    return schema, _row_batches(rows, found, schema)


_ARROW = {
    "": pa.large_string(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bytes": pa.large_binary(),
    "picture": pa.large_binary(),
    "whole": pa.large_list(pa.int64()),
    "numbers": pa.large_list(pa.float64()),
    "frames": pa.large_list(pa.large_list(pa.float64())),
    "numbers32": pa.large_list(pa.float32()),
    "frames32": pa.large_list(pa.large_list(pa.float32())),
    "time": pa.timestamp("us"),
}
LISTS = "whole", "numbers"


def is_missing(value: Any) -> bool:
    """None, NaN, and what pandas has in their place."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def _type_of(value: Any) -> str:
    if is_missing(value) and not isinstance(value, float):
        return ""
    if is_picture(value):
        return "picture"
    match value:
        case bool() | np.bool_():
            return "bool"
        case int() | np.integer():
            return "int" if -(2**63) <= value < 2**63 else "text"
        case float() | np.floating():
            return "float"
        case bytes() | bytearray():
            return "bytes"
        case list() | tuple() | np.ndarray():
            return _list_type(value)
    return "time" if type(value).__module__ == "datetime" and type(value).__name__ in ("datetime", "date") else "text"


def _listed(array: np.ndarray) -> Any:
    """An array as lists; pandas has lists of lists as arrays of objects, each an array."""
    found = array.tolist()
    return [_listed(one) if isinstance(one, np.ndarray) else one for one in found] if array.dtype == object and array.ndim else found


def _list_type(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype != object:
        found = {1: "numbers", 2: "frames"}.get(value.ndim, "text") if value.dtype.kind in "biuf" else "text"
        if found == "numbers" and value.dtype.kind in "iu" and np.can_cast(value.dtype, np.int64):
            return "whole"
        return f"{found}32" if value.dtype == np.float32 and found != "text" else found
    if all(cell is None or _type_of(cell) == "int" for cell in value):
        return "whole"
    if all(cell is None or isinstance(cell, float) or (isinstance(cell, int | np.number) and _type_of(cell) != "text") for cell in value):
        return "numbers"
    inner = all(isinstance(cell, list | tuple | np.ndarray) and _list_type(cell).startswith(LISTS) for cell in value)
    return "frames" if inner else "text"


def _wider(one: str, other: str) -> str:
    if one == other or not other:
        return one
    if not one:
        return other
    if {one, other} == {"int", "float"}:
        return "float"
    alike = {kind.removesuffix("32") for kind in (one, other)}
    if alike == {"whole", "numbers"}:
        return "numbers"
    return alike.pop() if len(alike) == 1 else "text"


def _row_batches(rows: Callable[[], Iterable[Mapping[str, Any]]], found: dict[str, str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    held: list[Mapping[str, Any]] = []
    for row in rows():
        held.append(row)
        if len(held) == BATCH:
            yield _batch(held, found, schema)
            held = []
    if held:
        yield _batch(held, found, schema)


def _batch(rows: list[Mapping[str, Any]], found: dict[str, str], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for name, kind in found.items():
        cells = [None if is_missing(cell) and not isinstance(cell, float) else cell for cell in (row.get(name) for row in rows)]
        if kind == "picture":
            cells = [None if cell is None else png(cell) for cell in cells]
        elif kind == "text":
            cells = [None if cell is None else cell if isinstance(cell, str) else _text(cell) for cell in cells]
        elif kind.startswith((*LISTS, "frames")):
            cells = [
                cell if not isinstance(cell, np.ndarray)
                else _listed(cell) if cell.dtype == object
                else cell.astype(np.int64 if kind == "whole" else float).tolist()
                for cell in cells
            ]  # fmt: skip
        elif kind == "time":  # Arrow takes no plain dates among moments
            cells = [datetime.combine(cell, time()) if type(cell) is date else cell for cell in cells]
        columns.append(column_of(cells, schema.field(name).type))
    return pa.record_batch(columns, schema=schema)


def column_of(cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(cells, kind)
    except UnicodeEncodeError:
        return pa.array([whole(cell) if isinstance(cell, str) else cell for cell in cells], kind)


def _text(cell: Any) -> str:
    if isinstance(cell, np.ndarray):
        cell = _listed(cell)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return as_json(cell) if isinstance(cell, list | tuple | dict) else str(cell)


def of_texts(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> pa.Table:
    """Rows of texts as a table of these columns."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pa.table({name: pa.array(column, pa.large_string()) for name, column in zip(names, columns, strict=True)})


def as_json(cell: Any) -> str:
    return json.dumps(cell, ensure_ascii=False, default=str)
