"""Cells that hold objects, as JSON or Python writes them, become a column for each field: the cell {"age": 3} of `meta` is `meta.age`.

That is how records within JSON files are read, too.
"""

import ast
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.files import JSON_FAULTS
from duomo.core.kinds.cells import is_text, sample, values_of
from duomo.core.table import Table
from duomo.data.frames import from_rows
from duomo.data.headers import repaired
from duomo.data.spill import LARGE

LOOKED_AT = 200
LONGEST = 10_000
"""Letters of an object that Python wrote."""


def spread(data: pa.Table, known: Collection[str] = ()) -> pa.Table:
    """The table with a column for each field of columns that hold nothing but objects; of those in `known` the kind is settled."""
    for name in data.column_names:
        column = data.column(name)
        if name in known or not is_text(column.type) or column.nbytes > LARGE or not _are_objects(column):
            continue
        cells = values_of(column).to_pylist()
        read = [None if cell is None else of(cell) for cell in cells]
        if any(found is None for found, cell in zip(read, cells, strict=True) if cell is not None):
            continue
        schema, batches = from_rows(lambda name=name, read=read: ({name: found} for found in read))  # type: ignore[misc]
        if name in schema.names or not schema.names:  # too many fields, or none
            continue
        place, fields = data.column_names.index(name), pa.Table.from_batches(list(batches), schema)
        names, columns = data.column_names, data.columns
        names[place : place + 1], columns[place : place + 1] = fields.column_names, fields.columns
        data = pa.table(columns, names=repaired(names)[0])
    return data


def _are_objects(column: pa.ChunkedArray) -> bool:
    text = pc.drop_null(values_of(sample(column, LOOKED_AT)))
    return len(text) > 0 and bool(pc.all(pc.match_substring_regex(text, r"(?s)^\{.*\}$")).as_py())


def of(cell: str) -> Mapping[str, Any] | None:
    """The object that a cell holds; None where it holds none."""
    found: Any = None
    try:
        found = json.loads(cell)
    except JSON_FAULTS:
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            found = ast.literal_eval(cell) if len(cell) <= LONGEST else None
    return found if isinstance(found, dict) and all(isinstance(name, str) for name in found) else None


def filled(table: Table, wanted: Sequence[str]) -> Table:
    """The table with an empty column for each of the `wanted` fields that no object of it has."""
    data = table.data
    for name in wanted:
        if name not in table.names and lacked(name, table.names):
            data = data.append_column(name, pa.nulls(len(data), pa.large_string()))
    return replace(table, data=data)


def lacked(name: str, names: Collection[str]) -> bool:
    """Whether `name` is a field of an object of which other fields are there."""
    above = [name[:place] for place, sign in enumerate(name) if sign == "."]
    return any(other.startswith(f"{one}.") for one in above for other in names)
