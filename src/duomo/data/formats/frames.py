"""Data already in memory (pandas, polars, NumPy, datasets, Arrow, plain Python) as Arrow tables of a few plain types.

Libraries are recognised by the module of their types, so that none needs to be installed or imported.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import chain, count
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.kinds.cells import CAST_FAULTS
from duomo.data.formats.headers import repaired
from duomo.data.formats.hugging_face import classes_of, with_names
from duomo.data.formats.picture_arrays import pictures
from duomo.data.formats.rows import DEEPEST, MOST_FIELDS, as_json, column_of, from_plain_rows, from_rows, is_missing

COLUMN_FAULTS = (*CAST_FAULTS, OverflowError, ValueError)

_LIST = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view, pa.types.is_large_list_view


def from_memory(source: Any) -> pa.Table | None:
    """A table of what the object holds, or None if it is no known kind of data."""
    source = _tensor(source)
    library = type(source).__module__.split(".")[0]
    if isinstance(source, pa.Table):
        return plain(source)
    if isinstance(source, pa.RecordBatch):
        return plain(pa.Table.from_batches([source]))
    if library == "pandas":
        return _pandas(source)
    if library == "polars":
        return _polars(source)
    if library == "datasets":
        return _hugging_face(source)
    if isinstance(source, np.ndarray):
        return from_columns(_array_columns(source))
    for part in source if isinstance(source, tuple) else (source,):
        if type(part).__module__.startswith("scipy.sparse"):
            raise DataError("An array must be dense; received a sparse one of shape {shape}. Give X.toarray(), or fewer columns where that "
                            "does not fit in memory.", shape=part.shape)  # fmt: skip
    if isinstance(source, tuple | list) and len(source) == 2 and _are_rows_and_target(*map(_tensor, source)):
        return _with_target(*map(_tensor, source))
    if isinstance(source, Mapping):
        return from_columns(source)
    if not isinstance(source, Sequence) and getattr(source, "__arrow_c_stream__", None):
        return plain(pa.table(source))
    if isinstance(source, Iterator | ValuesView):
        source = list(source)
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        return _sequence(source)
    return None


def _tensor(source: Any) -> Any:
    """Tensors of torch and arrays of other libraries that give theirs to NumPy, as NumPy's; anything else as it is."""
    library = type(source).__module__.split(".")[0]
    if library == "torch" and getattr(source, "detach", None):
        return source.detach().cpu().numpy()
    if isinstance(source, np.matrix):
        return np.asarray(source)
    return np.asarray(source) if library in ("jax", "jaxlib", "tensorflow", "xarray") else source


def _are_rows_and_target(x: Any, y: Any) -> bool:
    """(X, y) as scikit-learn and Keras take them: an array, a frame or rows, and one value for each of its rows."""
    known = [type(part).__module__.split(".")[0] in ("numpy", "pandas", "polars") for part in (x, y)]
    told = known[1] and np.shape(y)[1:] in ((), (1,)) and np.shape(y) != ()
    if isinstance(y, list):
        told = bool(y) and not any(isinstance(one, list | tuple | np.ndarray | Mapping) for one in y)
    rows = isinstance(x, list) and bool(x) and all(isinstance(one, list | tuple | np.ndarray | Mapping) for one in x)
    if not told or not (rows or (known[0] and len(np.shape(x)) > 1)):
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
    cells = _cells(y if isinstance(y, list) else np.asarray(y).ravel())
    return plain(table.append_column(free, pa.chunked_array([cells])))


def from_columns(columns: Mapping[str, Any]) -> pa.Table:
    """Columns of equal length, each made of cells that Arrow or JSON can hold."""
    arrays = {str(name): _cells(cells) for name, cells in columns.items()}
    lengths = {name: len(cells) for name, cells in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("The columns of a table must be equally long; received {lengths}. Make them equal.", lengths=lengths)
    return plain(pa.table(arrays))


def plain(table: pa.Table) -> pa.Table:
    """The same cells in the few types that every later step knows; names fixed, nothing dropped."""
    for _ in range(DEEPEST):
        if not any(_is_object(kind) or _lists_boxes(kind) for kind in table.schema.types):
            break
        table = _unfolded_columns(table)
    names, _ = repaired(table.column_names)
    columns = [_plain(table.column(place)) for place in range(table.num_columns)]
    if names == table.column_names and all(column.type == kind for column, kind in zip(columns, table.schema.types, strict=True)):
        return table  # to put a table together anew, Arrow looks at both ends of every piece, on the disk too
    return pa.table(columns, names=names)


def _is_object(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and 0 < kind.num_fields <= MOST_FIELDS and not {"bytes", "path"} >= {field.name for field in kind}


def _lists_boxes(kind: pa.DataType) -> bool:
    """Whether cells are lists of objects that a picture shows, as the datasets library has them: a column for each field, of lists."""
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return inner is not kind and pa.types.is_struct(inner) and inner.get_field_index("bbox") >= 0


def _unfolded_columns(table: pa.Table) -> pa.Table:
    found: list[tuple[str, Any]] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if _is_object(column.type):
            found += zip((f"{name}.{field.name}" for field in column.type), column.flatten(), strict=True)
        elif _lists_boxes(column.type):
            cells = column.to_pylist()
            for field in column.type.value_type:
                own = [None if cell is None else [one[field.name] for one in cell if one] for cell in cells]
                found.append((f"{name}.{field.name}", pa.array(own, pa.list_(field.type))))
        else:
            found.append((name, column))
    return pa.table([column for _, column in found], names=[name for name, _ in found])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    wanted = _wanted(kind)
    if wanted == pa.large_binary() and (text := _as_text(column)) is not None:
        return text
    if wanted is not None:
        return column if wanted == kind else column.cast(wanted)
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_struct(kind) and {"bytes", "path"} >= {field.name for field in kind} and column.type.get_field_index("bytes") >= 0:
        return _media(column)
    if any(test(kind) for test in _LIST) and _is_numeric(kind):
        return column
    if pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_nested(kind):
        cells = [None if cell is None else as_json(cell) for cell in column.to_pylist()]
        return pa.chunked_array([pa.array(cells, pa.large_string())])
    return column


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Bytes that are text, as some libraries hold it; None where a cell is a file or the like."""
    try:
        text = (
            column.cast(pa.binary()).cast(pa.large_string())
            if pa.types.is_fixed_size_binary(column.type)
            else column.cast(pa.large_string())
        )
    except CAST_FAULTS:
        return None
    return None if not len(text) or text.null_count == len(text) or pc.any(pc.match_substring(text, "\0")).as_py() else text


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


def _pandas(source: Any) -> pa.Table:
    """The frame's columns, behind those of its index that have a name or are moments: to them belongs what stands in a row."""
    if type(source).__name__ not in ("DataFrame", "Series"):
        source = source.to_frame(index=False)
    source = source.to_frame() if type(source).__name__ == "Series" else source
    names, columns = [], []
    for place, name in enumerate(source.index.names):
        level = source.index.get_level_values(place)
        if name not in source.columns and (name is not None or type(level).__name__ in ("DatetimeIndex", "PeriodIndex")):
            names.append("index" if name is None else _name(name))
            columns.append(_series(level.to_series(index=source.index)))
    names += map(_name, source.columns)
    columns += [_series(source.iloc[:, place]) for place in range(source.shape[1])]
    return plain(pa.table(columns, names=names))


def _name(name: Any) -> str:
    """A column's name; of several levels, joined as those of objects are (age.mean)."""
    return ".".join(str(part) for part in name if str(part)) if isinstance(name, tuple) else str(name)


def _series(cells: Any) -> pa.Array | pa.ChunkedArray:
    """A pandas column; periods and intervals, also where they are categories, as they are written."""
    kinds = cells.dtype, getattr(getattr(cells.dtype, "categories", None), "dtype", None)
    if any(str(kind).startswith(("period", "interval")) for kind in kinds):
        return pa.array([None if is_missing(cell) else str(cell) for cell in cells.tolist()], pa.large_string())
    return _cells(cells)


def _polars(source: Any) -> pa.Table:
    if type(source).__name__ == "LazyFrame":
        source = source.collect()
    source = source.to_frame() if type(source).__name__ == "Series" else source
    odd = [name for name, kind in source.schema.items() if str(kind) in ("Object", "Int128", "UInt128")]  # Arrow has none of them
    if not odd:
        return plain(source.to_arrow())
    return from_columns({name: source[name].to_list() if name in odd else source[name] for name in source.columns})


def _hugging_face(source: Any) -> pa.Table:
    if type(source).__name__ != "Dataset":
        if type(source).__name__ == "IterableDataset":
            raise DataError("Data must be at hand; received an IterableDataset, which is read as it is asked for. Give as much of it as is "
                            "to be learned from, such as list(data.take(10_000)).")  # fmt: skip
        raise DataError(
            "Data must be one table; received a {kind}. Choose one of its splits, such as data['train'].", kind=type(source).__name__
        )
    table: pa.Table = source.with_format("arrow")[:]
    return with_names(plain(table), classes_of(source.features.arrow_schema.metadata))


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
    if all(isinstance(row, tuple) and getattr(row, "_fields", ()) for row in source):
        source = [row._asdict() for row in source]
    if all(isinstance(row, Mapping) for row in source):
        if not all(isinstance(name, str) for row in source for name in row):
            source = [{str(name): cell for name, cell in row.items()} for row in source]
        schema, batches = from_rows(lambda: source)
        return plain(pa.Table.from_batches(list(batches), schema))
    if all(isinstance(row, str) for row in source):
        return pa.table({"text": column_of(source, pa.large_string())})
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
    if isinstance(cells, np.ma.MaskedArray) and cells.ndim == 1:
        return pa.array(np.asarray(cells.data), mask=np.ma.getmaskarray(cells))
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
        except COLUMN_FAULTS:
            cells = [None if is_missing(cell) else cell for cell in cells.tolist()]
    if is_cell(cells):
        raise DataError("A column must be a list of cells; received {value!r}. Put the cells in a list.", value=cells)
    schema, batches = from_plain_rows(lambda: ({"x": cell} for cell in cells))
    table = pa.Table.from_batches(list(batches), schema)
    return table.column(0) if table.num_columns else pa.array([], pa.large_string())


def is_cell(value: Any) -> bool:
    """Whether this stands in one row, where a column would be many values."""
    return isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
