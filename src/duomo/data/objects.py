"""Cells that hold objects, as JSON or Python writes them, become a column for each field: the cell {"age": 3} of `meta` is `meta.age`.

That is how records within JSON files are read, too. A column that somebody names, or that a task is known by, stays what it is.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core import kinds
from duomo.core.kinds.cells import is_text, sample, values_of, written
from duomo.core.recipe import DataConfig
from duomo.core.table import Table
from duomo.data import dated
from duomo.data.formats.frames import from_rows
from duomo.data.formats.headers import repaired
from duomo.data.spill import LARGE

KINDS = ("text", "category", "id")
"""What cells with objects are taken for, where they are nothing more particular."""
LOOKED_AT = 200


def holding(table: Table) -> list[str]:
    """The columns that hold nothing but objects, by a sample of their cells; of those with a kind it is settled what they are."""
    found = [(name, table.column(name)) for name in table.names if name not in table.kinds]
    return [name for name, column in found if is_text(column.type) and column.nbytes <= LARGE and _are_objects(column)]


def spread(table: Table, wanted: Collection[str]) -> Table:
    """The table with a column for each field of those of the `wanted` columns whose cells are objects."""
    data = table.data
    for name in wanted:
        cells = values_of(data.column(name)).to_pylist()
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
    return replace(table, data=data)


def _are_objects(column: pa.ChunkedArray) -> bool:
    text = pc.drop_null(values_of(sample(column, LOOKED_AT)))
    return len(text) > 0 and bool(pc.all(pc.match_substring_regex(text, r"(?s)^\{.*\}$")).as_py())


def of(cell: str) -> Mapping[str, Any] | None:
    """The object that a cell holds; None where it holds none."""
    found = written(cell)
    return found if isinstance(found, dict) and all(isinstance(name, str) for name in found) else None


def settle(table: Table, data: DataConfig, task_of: Callable[[Table], str]) -> Table:
    """The table with columns for the fields of objects, but for columns that `data` names or that tell the task, unless it names a field:
    a model is taught to write the JSON of an answer."""
    named = (*data.kind, *data.target, *data.ignore, *data.join, data.group, *dated.named(table, data.time))
    found = [name for name in holding(table) if name not in named]
    known = kinds.infer(table, {}) if found else table
    task = task_of(known) if found else ""
    found = [name for name in found if known.kinds[name] in KINDS]
    return spread(table, [name for name in found if name in _above(named) or task_of(known.without([name])) == task])


def again(table: Table, known: Collection[str]) -> Table:
    """Further rows with columns for the fields of those objects that were spread where these columns were `known`."""
    above = _above(known) - {*known}
    return spread(table, [name for name in holding(table) if name in above]) if above else table


def _above(names: Collection[str]) -> set[str]:
    """The objects whose fields these names may be."""
    return {name[:place] for name in names for place, sign in enumerate(name) if sign == "."}


def filled(table: Table, wanted: Sequence[str]) -> Table:
    """The table with an empty column for each of the `wanted` fields that no object of it has."""
    for name in wanted:
        if name not in table.names and lacked(name, table.names):
            table = replace(table, data=table.data.append_column(name, pa.nulls(len(table), pa.large_string())))
    return table


def lacked(name: str, names: Collection[str]) -> bool:
    """Whether `name` is a field of an object of which other fields are there."""
    return any(other.startswith(f"{one}.") for one in _above([name]) for other in names)
