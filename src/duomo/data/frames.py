"""Data already in memory (pandas, polars, NumPy, datasets, Arrow, plain Python) as Arrow tables of a few plain types.

Libraries are recognised by the module of their types, so that none needs to be installed or imported.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from functools import partial
from itertools import chain, count, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.kinds.cells import CAST_FAULTS, whole
from duomo.data.headers import repaired
from duomo.data.hugging import classes_of, with_names
from duomo.data.pictured import pictures

BATCH = 10_000
DEEPEST, MOST_FIELDS, LOOKED_AT = 4, 64, 1000
"""Objects within objects are unfolded so deep, where they have so few fields in so many rows."""
_LIST = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view, pa.types.is_large_list_view


def from_memory(source: Any) -> pa.Table | None:
    """A table of what the object holds, or None if it is no known kind of data."""
    library = type(source).__module__.split(".")[0]
    if isinstance(source, pa.Table):
        return plain(source)
    if isinstance(source, pa.RecordBatch):
        return plain(pa.Table.from_batches([source]))
    if library == "pandas":
        return _pandas(source)
    if library == "polars":
        return plain(_lazy_polars(source).to_arrow())
    if library == "datasets":
        return _hugging_face(source)
    if isinstance(source, np.ndarray):
        return from_columns(_array_columns(source))
    for part in source if isinstance(source, tuple) else (source,):
        if type(part).__module__.startswith("scipy.sparse"):
            raise DataError("An array must be dense; received a sparse one of shape {shape}. Give X.toarray(), or fewer columns where that "
                            "does not fit in memory.", shape=part.shape)  # fmt: skip
    if isinstance(source, tuple) and len(source) == 2 and _are_rows_and_target(*source):
        return _with_target(*source)
    if isinstance(source, Mapping):
        return from_columns(source)
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        return _sequence(source)
    return None


def _are_rows_and_target(x: Any, y: Any) -> bool:
    """(X, y) as scikit-learn and Keras take them: an array or a frame, and one value for each of its rows."""
    known = [type(part).__module__.split(".")[0] in ("numpy", "pandas", "polars") for part in (x, y)]
    if not all(known) or len(np.shape(x)) < 2 or np.shape(y)[1:] not in ((), (1,)) or not np.shape(y):
        return False
    if len(x) != len(y):
        raise DataError("Of (X, y), y must have a value for each row of X; received {rows:,} rows and {values:,} values. Make them equal.",
                        rows=len(x), values=len(y))  # fmt: skip
    return True


def _with_target(x: Any, y: Any) -> pa.Table | None:
    """The table of X with y behind it, in a column of that name or the nearest free one."""
    table = from_memory(x)
    if table is None:
        return None
    names = chain(("y", "target", "label", "outcome"), (f"y{number}" for number in count(1)))
    free = next(name for name in names if name not in table.column_names)
    return plain(table.append_column(free, pa.chunked_array([_cells(np.asarray(y).ravel())])))


def from_columns(columns: Mapping[str, Any]) -> pa.Table:
    """Columns of equal length, each made of cells that Arrow or JSON can hold."""
    arrays = {str(name): _cells(cells) for name, cells in columns.items()}
    lengths = {name: len(cells) for name, cells in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("The columns of a table must be equally long; received {lengths}. Make them equal.", lengths=lengths)
    return plain(pa.table(arrays))


def from_rows(rows: Callable[[], Iterable[Mapping[str, Any]]]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Two passes over rows of unlike keys and types: the first finds each column's type, the second yields batches.

    A column of objects becomes a column for each of their fields: {"user": {"age": 3}} is user.age.
    """
    for _ in range(DEEPEST):
        objects = _objects(rows)
        if not objects:
            break
        rows = partial(_unfolded, rows, objects)
    return _from_plain_rows(rows)


def _objects(rows: Callable[[], Iterable[Mapping[str, Any]]]) -> set[str]:
    """Columns that hold objects of few fields and nothing else, as far as the first rows tell."""
    fields: dict[str, set[str]] = {}
    other = set()
    for row in islice(rows(), LOOKED_AT):
        for name, cell in row.items():
            if isinstance(cell, Mapping) and cell and not {"bytes", "path"} >= cell.keys():
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


def _from_plain_rows(rows: Callable[[], Iterable[Mapping[str, Any]]]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    found: dict[str, str] = {}
    for row in rows():
        for name, value in row.items():
            found[name] = _wider(found.get(name, ""), _type_of(value))
    types = {name: _ARROW.get(kind, pa.large_string()) for name, kind in found.items()}
    schema = pa.schema(list(types.items()))
    return schema, _row_batches(rows, found, schema)


def plain(table: pa.Table) -> pa.Table:
    """The same cells in the few types that every later step knows; names fixed, nothing dropped."""
    for _ in range(DEEPEST):
        if not any(_is_object(field.type) for field in table.schema):
            break
        table = _unfolded_columns(table)
    names, _ = repaired(table.column_names)
    columns = [_plain(table.column(place)) for place in range(table.num_columns)]
    if names == table.column_names and all(column.type == kind for column, kind in zip(columns, table.schema.types, strict=True)):
        return table  # to put a table together anew, Arrow looks at both ends of every piece, on the disk too
    return pa.table(columns, names=names)


def _is_object(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and 0 < kind.num_fields <= MOST_FIELDS and not {"bytes", "path"} >= {field.name for field in kind}


def _unfolded_columns(table: pa.Table) -> pa.Table:
    names: list[str] = []
    columns: list[pa.ChunkedArray] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        parts = column.flatten() if _is_object(column.type) else [column]
        names += [f"{name}.{field.name}" for field in column.type] if _is_object(column.type) else [name]
        columns += parts
    return pa.table(columns, names=names)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    wanted = _wanted(kind)
    if wanted is not None:
        return column if wanted == kind else column.cast(wanted)
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_struct(kind) and {"bytes", "path"} >= {field.name for field in kind} and column.type.get_field_index("bytes") >= 0:
        return _media(column)
    if any(test(kind) for test in _LIST) and _is_numeric(kind):
        return column
    if pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_nested(kind):
        cells = [None if cell is None else _json(cell) for cell in column.to_pylist()]
        return pa.chunked_array([pa.array(cells, pa.large_string())])
    return column


def _wanted(kind: pa.DataType) -> pa.DataType | None:
    tests = pa.types
    if tests.is_string(kind) or tests.is_string_view(kind) or tests.is_null(kind) or tests.is_large_string(kind):
        return pa.large_string()
    if tests.is_binary(kind) or tests.is_binary_view(kind) or tests.is_fixed_size_binary(kind) or tests.is_large_binary(kind):
        return pa.large_binary()
    if tests.is_decimal(kind):
        return pa.float64()
    if tests.is_float16(kind):
        return pa.float32()
    if tests.is_duration(kind):
        return pa.int64()
    if tests.is_time(kind):
        return pa.large_string()
    return None


def _is_numeric(kind: pa.DataType) -> bool:
    while any(test(kind) for test in _LIST):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _media(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells {bytes, path} of the datasets library: the bytes where they are held, else the paths."""
    flat = column.combine_chunks()
    flat = flat if isinstance(flat, pa.Array) else pa.concat_arrays(flat.chunks)
    held = pc.struct_field(flat, "bytes")
    if held.null_count < len(held) or flat.type.get_field_index("path") < 0:
        return pa.chunked_array([held.cast(pa.large_binary())])
    return pa.chunked_array([pc.struct_field(flat, "path").cast(pa.large_string())])


def _json(cell: Any) -> str:
    return json.dumps(cell, ensure_ascii=False, default=str)


def _pandas(source: Any) -> pa.Table:
    if type(source).__name__ != "DataFrame":
        source = source.to_frame()
    columns = [_cells(source.iloc[:, place]) for place in range(source.shape[1])]
    return plain(pa.table(columns, names=[str(name) for name in source.columns]))


def _lazy_polars(source: Any) -> Any:
    if type(source).__name__ == "LazyFrame":
        return source.collect()
    return source.to_frame() if type(source).__name__ == "Series" else source


def _hugging_face(source: Any) -> pa.Table:
    if type(source).__name__ != "Dataset":
        raise DataError(
            "Data must be one table; received a {kind}. Choose one of its splits, such as data['train'].", kind=type(source).__name__
        )
    table: pa.Table = source.with_format("arrow")[:]
    return plain(with_names(table, classes_of(source.features.arrow_schema.metadata)))


def _array_columns(source: np.ndarray) -> dict[str, Any]:
    """(N, D) becomes x0 … x(D-1); (N,) becomes x0; pictures an image each, other (N, T, C) one series column; a record array its fields."""
    if source.dtype.names:
        return {name: source[name] for name in source.dtype.names}
    if source.ndim == 0:
        raise DataError("An array must have rows; received a single number. Give an array (rows, columns).")
    if source.ndim <= 2:
        columns = source.reshape(len(source), -1) if source.size else source.reshape(len(source), source.shape[1] if source.ndim > 1 else 1)
        return {f"x{place}": columns[:, place] for place in range(columns.shape[1])}
    if (shown := pictures(source)) is not None:
        return {"image": shown}
    return {"x0": list(source.reshape(len(source), source.shape[1], -1).astype(np.float32))}


def _sequence(source: Sequence[Any]) -> pa.Table | None:
    if not source:
        raise DataError("A table must have rows; received an empty list. Give at least one row.")
    if all(isinstance(row, Mapping) for row in source):
        schema, batches = from_rows(lambda: source)
        return plain(pa.Table.from_batches(list(batches), schema))
    if all(isinstance(row, str) for row in source):
        return pa.table({"text": _column(source, pa.large_string())})
    if all(isinstance(row, bytes) for row in source):
        return pa.table({"file": pa.array(source, pa.large_binary())})
    if all(isinstance(row, Sequence | np.ndarray) for row in source) and len({len(row) for row in source}) == 1:
        return from_columns({f"x{place}": [row[place] for row in source] for place in range(len(source[0]))})
    return None


def _cells(cells: Any) -> pa.Array | pa.ChunkedArray:
    """One column of anything: by Arrow where it agrees, else cell by cell."""
    if isinstance(cells, pa.Array | pa.ChunkedArray):
        return cells
    library = type(cells).__module__.split(".")[0]
    if library == "polars":
        return cells.to_arrow()
    if isinstance(cells, np.ndarray) and cells.ndim > 1:
        cells = list(cells)
    if isinstance(cells, np.ndarray) and cells.dtype.kind not in "OSUV":
        try:
            return pa.array(np.ascontiguousarray(cells, cells.dtype.newbyteorder("=")))
        except CAST_FAULTS:  # longer than 64 bits, or complex
            cells = cells.tolist()
    if library == "pandas":
        try:
            return pa.Array.from_pandas(cells)
        except CAST_FAULTS:
            cells = [None if cell is None or cell != cell else cell for cell in cells.tolist()]
    if isinstance(cells, str | bytes) or not isinstance(cells, Iterable):
        raise DataError("A column must be a list of cells; received {value!r}. Put the cells in a list.", value=cells)
    schema, batches = _from_plain_rows(lambda: ({"x": cell} for cell in cells))
    table = pa.Table.from_batches(list(batches), schema)
    return table.column(0) if table.num_columns else pa.array([], pa.large_string())


_ARROW = {
    "": pa.large_string(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bytes": pa.large_binary(),
    "whole": pa.large_list(pa.int64()),
    "numbers": pa.large_list(pa.float64()),
    "frames": pa.large_list(pa.large_list(pa.float64())),
    "numbers32": pa.large_list(pa.float32()),
    "frames32": pa.large_list(pa.large_list(pa.float32())),
    "time": pa.timestamp("us"),
}
LISTS = "whole", "numbers"


def _type_of(value: Any) -> str:
    match value:
        case None:
            return ""
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


def _list_type(value: Any) -> str:
    if isinstance(value, np.ndarray):
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
        cells = [row.get(name) for row in rows]
        if kind == "text":
            cells = [None if cell is None else cell if isinstance(cell, str) else _text(cell) for cell in cells]
        elif kind.startswith((*LISTS, "frames")):
            cells = [
                cell.astype(np.int64 if kind == "whole" else float).tolist() if isinstance(cell, np.ndarray) else cell for cell in cells
            ]
        elif kind == "time":  # Arrow takes no plain dates among moments
            cells = [datetime.combine(cell, time()) if type(cell) is date else cell for cell in cells]
        columns.append(_column(cells, schema.field(name).type))
    return pa.record_batch(columns, schema=schema)


def _column(cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(cells, kind)
    except UnicodeEncodeError:
        return pa.array([whole(cell) if isinstance(cell, str) else cell for cell in cells], kind)


def _text(cell: Any) -> str:
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return _json(cell) if isinstance(cell, list | tuple | dict) else str(cell)
