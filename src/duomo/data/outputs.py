"""Answers written to CSV, JSON lines or Parquet: whole or not at all, and where they are many, in parts that outlive a kill.

Parts of PART rows lie in `.NAME.parts` beside the output until all are there; a second start with the same rows, run and format goes on
behind the last whole part. Then they become one file.
"""

import csv
import fcntl
import importlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from duomo.core.errors import ConfigError, DataError
from duomo.core.files import sync_folder, write_atomically
from duomo.core.kinds.cells import is_bytes
from duomo.core.messages import listed, nearest
from duomo.core.table import Table
from duomo.data.folders.timed import are_pieces

HELD = (BlockingIOError, FileNotFoundError)
OUTPUTS = (".csv", ".jsonl", ".parquet")
FORMULA = re.compile(r"\s*=|\s*[+\-@].*[(|]", re.DOTALL)
"""Text that a spreadsheet would compute: numbers, dashes and handles are none, a call or a command is one."""
PART = 65_536
"""Rows of a part."""
Piece = Mapping[str, Sequence[Any]]
Answering = Callable[[Table, int], Iterator[Piece]]
"""Columns to write for the rows of a table, which begin at that row of the whole."""


def as_frame(answers: dict[str, Any], source: Any, joined: dict[str, pa.ChunkedArray]) -> Any:
    """A frame of the library that the rows came in, with the rows' index or the column that they were joined by."""
    if type(source).__module__.startswith("pandas"):
        frame = pa.table(joined | answers).to_pandas()
        return frame.set_index(next(iter(joined)) if joined else source.index)
    kind = importlib.import_module("polars").DataFrame if type(source).__name__ == "Series" else type(source)
    return kind({name: cells.to_pylist() for name, cells in joined.items()} | answers)


def flat(values: Iterable[Any]) -> list[Any]:
    return [json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value for value in values]


def defused(cell: Any) -> Any:
    """A cell that a spreadsheet would run as a formula becomes text there, by the apostrophe that spreadsheets know."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def shown(table: Table, joined: bool) -> list[str]:
    """The columns that stand beside the answers: all but those of bytes and of pieces that were cut out of recordings; of rows that were
    `joined` all but the series, which were not written so."""
    hidden = pa.types.is_large_list if joined else is_bytes
    found = [name for name, column in zip(table.names, table.data.columns, strict=True) if not hidden(column.type)]
    return [name for name in found if not (name == "audio" and are_pieces(table.column(name)))]


def picked(piece: Piece, wanted: Sequence[str], target: Sequence[str], answers: Sequence[Any]) -> dict[str, list[Any]]:
    """The wanted columns of a piece; a target's name stands for its `answers`: of several targets for its own, or for 0 or 1."""
    found: dict[str, list[Any]] = {}
    for name in wanted:
        if name in target:
            found[name] = [_of(name, answer) if len(target) > 1 else answer for answer in answers]
        elif name in piece:
            found[name] = list(piece[name])
        else:
            known = list(dict.fromkeys([*target, *piece]))  # rows of a test bring the target too
            raise DataError("Columns of the answers must be there; there is no {name!r}.{hint} The columns are: {columns}.",
                            name=name, hint=nearest(name, known), columns=listed(known))  # fmt: skip
    return found


def _of(name: str, answer: Any) -> Any:
    """What an answer to several targets says of one: its value, or whether it is among those that are true."""
    return answer.get(name) if isinstance(answer, dict) else None if answer is None else int(name in answer)


def write_text(file: Any, suffix: str, piece: Piece, first: bool) -> None:
    rows = zip(*(flat(values) if suffix == ".csv" else values for values in piece.values()), strict=True)
    if suffix == ".jsonl":
        file.writelines(json.dumps(dict(zip(piece, row, strict=True)), ensure_ascii=False, default=str) + "\n" for row in rows)
        return
    writer = csv.writer(file, lineterminator="\n")
    if first:
        writer.writerow(map(defused, piece))
    writer.writerows(map(defused, row) for row in rows)


def write(path: Path, table: Table, answering: Answering, key: Callable[[], str], replaced: Sequence[str] = ()) -> tuple[int, int]:
    """The table's rows with their answers into `path`; returns the rows, and how many of them a former start had answered.

    `key` tells apart what is answered: another one begins anew. `replaced`: columns of the table in whose place answers stand.
    """
    try:
        with _alone(path):
            schema = pa.schema([column for column in table.data.schema if column.name not in replaced])
            return _written(path, table, schema, answering, key)
    except OSError as error:
        named = str(error.filename or "")
        if error.errno and (not named or f".{path.name}." in named):  # a write that fails does not tell where, or tells what stands in
            error.filename = str(path)
        raise


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two starts that write their parts into one another's would make one wrong file of them: the second gets ConfigError."""
    name = path.with_name(f".{path.name}.lock")
    with name.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(file.fileno()), name.stat())  # not one that another start has just given up
        except HELD:
            held = False
        except OSError:
            held = True  # a file system without locks
        if not held:
            raise ConfigError(
                "Only one process may write an output; another one writes {path} now. Wait for it, or name another.", path=path
            )
        try:
            yield
        finally:
            name.unlink(missing_ok=True)


def _written(path: Path, table: Table, schema: pa.Schema, answering: Answering, key: Callable[[], str]) -> tuple[int, int]:
    suffix = path.suffix.lower()
    if len(table) <= PART:
        partial = path.with_name(f".{path.name}.part")
        try:
            _write_part(partial, suffix, answering(table, 0), schema, True)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.absolute().parent)
        return len(table), 0
    folder = path.with_name(f".{path.name}.parts")
    done = _open(folder, key())
    parts = range(0, len(table), PART)
    for start in parts:
        name = folder / f"{start:012}{suffix}"
        if not name.is_file():
            unfinished = folder / "unfinished"
            rows = replace(table, data=table.data.slice(start, PART))
            try:
                _write_part(unfinished, suffix, answering(rows, start), schema, start == 0)
                os.replace(unfinished, name)
            finally:
                unfinished.unlink(missing_ok=True)  # where the disk is full it would take up the room that another start needs
            sync_folder(folder)
    _join([folder / f"{start:012}{suffix}" for start in parts], path, suffix)
    shutil.rmtree(folder)
    return len(table), min(done * PART, len(table))


def _open(folder: Path, key: str) -> int:
    """The folder of parts, emptied unless it was begun under the same key; how many whole parts it holds."""
    mark = folder / "key"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_atomically(mark, key.encode())
    return sum(one.suffix in OUTPUTS for one in folder.iterdir())


def _write_part(path: Path, suffix: str, pieces: Iterator[Piece], schema: pa.Schema, first: bool) -> None:
    if suffix == ".parquet":
        writer: pq.ParquetWriter | None = None
        waiting: list[Piece] = []
        for piece in pieces:
            waiting.append(piece)
            if writer is None and any(map(_unknown, _made(waiting, schema).schema.types)):
                continue  # what an answer looks like is not told by empty ones
            made = _made(waiting, schema) if writer is None else pa.table(dict(piece), schema=writer.schema)
            writer, waiting = writer or pq.ParquetWriter(path, made.schema), []
            writer.write_table(made)
        if waiting:
            made = _typed(_made(waiting, schema))
            writer = pq.ParquetWriter(path, made.schema)
            writer.write_table(made)
        if writer is not None:
            writer.close()
    else:
        with path.open("w", encoding="utf-8", newline="") as text:
            for index, piece in enumerate(pieces):
                write_text(text, suffix, piece, first and index == 0)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _unknown(kind: pa.DataType) -> bool:
    """Whether the type is that of nothing, or a list of it."""
    return pa.types.is_null(kind) or (pa.types.is_list(kind) and _unknown(kind.value_type))


def _made(pieces: Sequence[Piece], schema: pa.Schema) -> pa.Table:
    """Rows as a table; input columns have the type of the whole file's."""
    columns = {name: [value for piece in pieces for value in piece[name]] for name in pieces[0]} if len(pieces) > 1 else dict(pieces[0])
    return pa.table(
        {name: pa.array(values, schema.field(name).type) if name in schema.names else values for name, values in columns.items()}
    )


def _typed(made: pa.Table) -> pa.Table:
    """An answer without any value is taken for text."""
    return made.cast(pa.schema([pa.field(field.name, pa.string()) if pa.types.is_null(field.type) else field for field in made.schema]))


def _unified(parts: Sequence[Path]) -> pa.Schema:
    """The schema of the first part, whose empty lists are what those of a later one are."""
    schemas = [pq.read_schema(part) for part in parts]
    known = [next((field for schema in schemas if not _unknown((field := schema.field(name)).type)), schemas[0].field(name))
             for name in schemas[0].names]  # fmt: skip
    return pa.schema([known[place] if _unknown(field.type) else field for place, field in enumerate(schemas[0])])


def _join(parts: Sequence[Path], path: Path, suffix: str) -> None:
    """Parts as one file that appears whole."""
    partial = path.with_name(f".{path.name}.part")
    try:
        if suffix == ".parquet":
            with pq.ParquetWriter(partial, _unified(parts)) as writer:
                for part in parts:
                    writer.write_table(pq.read_table(part).cast(writer.schema))
        else:
            with partial.open("wb") as whole:
                for part in parts:
                    with part.open("rb") as file:
                        shutil.copyfileobj(file, whole)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.absolute().parent)


def free(name: str, taken: Collection[str]) -> str:
    """The name, with the first number behind it that makes it another one than those taken."""
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found
