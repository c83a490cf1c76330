"""Further files beside the one that is learned from, for validation or test: their rows with its columns, types and paths."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.kinds.cells import CAST_FAULTS, is_text
from duomo.core.messages import listed, nearest, tr
from duomo.core.recipe import DataConfig
from duomo.core.table import MEDIA, Table
from duomo.data import dated
from duomo.data.split import Split, split


def given(
    train: Table, valid: Table | None, test: Table, config: DataConfig, seed: int, targets: Sequence[str] = (), least: int = 1
) -> tuple[Table, Split]:
    """One table of all rows and the split that the files were given in; without `valid`, that is drawn from `train`.

    Columns are matched by name; what `train` lacks is left out. Raises DataError when a file lacks a column.
    """
    others = [part for part in (valid, test) if part is not None]
    steering = {config.group, *dated.named(train, config.time)}
    matched = [_like(train, other, {*config.ignore} - steering, {*targets} | steering) for other in others]
    rooted = [_rooted(train, [train, *others]), *(_rooted(part, [train, *others], train) for part in matched)]
    data = pa.concat_tables([part.data for part in rooted], promote_options="none")
    roots = {part.root for part in (train, *others)}
    extra = sorted({name for other in others for name in other.names} - set(train.names))
    notes = (tr("Columns that the training file lacks were left out: {names}.", names=", ".join(extra[:20])),) if extra else ()
    problems = tuple(dict.fromkeys(problem for part in (train, *matched) for problem in part.problems))
    root = train.root if len(roots) == 1 else next((part.root for part in (train, *others) if part.root is not None), None)
    joined = replace(train, data=data, problems=problems, root=root)
    bounds = np.cumsum([0, *(len(part) for part in rooted)])
    test_rows = np.arange(bounds[-2], bounds[-1])
    if valid is not None:
        return joined, Split(np.arange(bounds[1]), np.arange(bounds[1], bounds[2]), test_rows, "given", notes)
    inner = split(train, replace(config, test_share=0.0), seed, targets, least=least)
    return joined, Split(inner.train, inner.valid, test_rows, "given", notes + inner.notes)


def named_alike(other: Table, names: Sequence[str]) -> Table:
    """The other table with these names of columns where its own differ from them by small letters and capitals, or blanks around, alone."""
    plain = {name.strip().lower(): name for name in names if name not in other.names}
    free = [name for name in other.names if name not in names and name.strip().lower() in plain]
    found = {name: plain[name.strip().lower()] for name in free}
    if not found or len({*found.values()}) < len(free):
        return other
    kinds = {found.get(name, name): kind for name, kind in other.kinds.items()}
    return replace(other, data=other.data.rename_columns([found.get(name, name) for name in other.names]), kinds=kinds)


def _like(train: Table, other: Table, ignored: set[str], needed: set[str]) -> Table:
    """The other file's rows with the training file's columns and types. It may lack what some training rows lack, unless it is `needed`."""
    other = named_alike(other, train.names)
    there = {*other.names, *ignored}
    lacking = [name for name in train.names if name not in there and train.kinds.get(name) != "id"]
    extra = [name for name in other.names if name not in train.names]
    may_lack = [name for name in lacking if name not in needed and train.kinds.get(name) not in MEDIA and train.column(name).null_count]
    empty = [name for name in may_lack if not nearest(name, extra)]
    lacking = [name for name in lacking if name not in empty]
    if lacking:
        raise DataError(
            "A file given for validation or test needs the training file's columns; {file} lacks {names}.{hint} Add them; rows without "
            "the answers are no test: leave --test out, and answer them afterwards with duomo predict.",
            file=other.name, names=", ".join(lacking[:10]), hint=nearest(lacking[0], other.names),
        )  # fmt: skip
    columns = []
    for name in train.names:
        kind = train.data.schema.field(name).type
        column = other.data.column(name) if name in other.names else pa.chunked_array([pa.nulls(len(other), kind)])
        columns.append(as_type(column, kind, other.name, name))
    said = [tr("{file} lacks {names}: missing, as in some of the training rows.", file=other.name, names=listed(empty, 5))] if empty else []
    return replace(other, data=pa.table(columns, names=train.names), kinds=train.kinds, problems=(*other.problems, *said))


def as_type(column: pa.ChunkedArray, kind: pa.DataType, file: str, name: str) -> pa.ChunkedArray:
    """The column as another file has it; lists become text where they are text there. DataError where it cannot be."""
    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    if is_text(kind) and pa.types.is_nested(column.type):
        cells = [None if cell is None else json.dumps(cell, ensure_ascii=False, default=str) for cell in column.to_pylist()]
        return pa.chunked_array([cells], kind)
    if is_text(kind):
        return pc.cast(column, pa.large_string()).cast(kind)
    try:
        return column.cast(kind)
    except CAST_FAULTS as error:
        raise DataError(
            "A column must hold the same type in every file; {name!r} of {file} cannot become {kind}: {why}. Fix the file.",
            name=name, file=file, kind=str(kind), why=str(error).splitlines()[0],
        ) from None  # fmt: skip


def _rooted(part: Table, parts: Sequence[Table], like: Table | None = None) -> Table:
    """Media paths made absolute where the files lie in different folders."""
    if len({other.root for other in parts}) == 1 or part.root is None:
        return part
    data = part.data
    known = like or part
    for name in (name for name in known.names if known.kinds.get(name) in MEDIA or name in MEDIA):
        column = data.column(name)
        if is_text(column.type):
            root = str(part.root.resolve())
            paths = [None if cell is None else f"{root}/{cell}" if not cell.startswith("/") else cell for cell in column.to_pylist()]
            data = data.set_column(data.column_names.index(name), name, pa.array(paths, column.type))
    return replace(part, data=data)
