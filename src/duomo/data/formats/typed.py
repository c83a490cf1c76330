"""Files that bring their own types: JSON, JSON Lines, Parquet, Feather, ORC, Excel, SQLite."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from sqlite3 import Error as SQLiteError
from typing import Any, NoReturn
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet
import python_calamine

from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.core.kinds.cells import is_text
from duomo.core.messages import listed, nearest, tr
from duomo.data import spill as caches
from duomo.data.formats.archive import check_packed
from duomo.data.formats.frames import from_columns, from_rows, plain
from duomo.data.formats.headers import lead, repaired
from duomo.data.formats.hugging_face import classes_of, with_names
from duomo.data.formats.label_studio import answered, is_task
from duomo.data.formats.merged_cells import unmerged
from duomo.data.formats.text_encoding import detect, numbered, open_text, read_text
from duomo.data.formats.uie import unfolded

SHEET_FAULTS = (python_calamine.CalamineError, OSError, ValueError, IndexError)

Found = tuple[pa.Table, tuple[str, ...]]
MOST_JSON = 1 << 30
SAID = 4
"""Letters of what is said in turn, on average; words of sentences have fewer."""
ENTRIES = 20
"""From so many on an object of words or numbers is a dictionary, not the settings of something."""
MESSAGE = {"role", "from"}
"""A key of either makes an object a message."""
MOST_EXPANDED = 16 << 30


READ_PARQUET_FAULTS = (pa.ArrowException, OSError)


def read_json_lines(path: Path, cache: Path | None, wanted: str = "") -> Found:
    """One object per line; lines that are none are numbered and left out, more than half of them refused."""
    encoding = detect(path, wanted)
    bad: list[int] = []
    total = 0

    def rows() -> Iterator[Mapping[str, Any]]:
        nonlocal total
        total = 0
        bad.clear()
        with open_text(path, encoding) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                total += 1
                found = _object(line)
                if found is None:
                    bad.append(number)
                else:
                    yield found

    asked = path.stat().st_size <= MOST_JSON and is_task(next(rows(), None))
    held, told = answered([*rows()]) if asked else ([], ())
    table = _rows_table(path, cache, (lambda: held) if asked else rows, "lines", encoding.name)
    if not total:
        total = sum(1 for _ in rows()) + len(bad)
    if not len(table) or len(bad) > total / 2:
        raise DataError(
            "Each line of a JSON Lines file must be an object; in {file} {count} of {total} lines are not: lines {lines}. Fix them.",
            file=path.name, count=len(bad), total=total, lines=numbered(bad),
        )  # fmt: skip
    note = (tr("{count} lines are no JSON objects and were left out: lines {lines}.", count=len(bad), lines=numbered(bad)),) if bad else ()
    return table, encoding.problems + note + told


def _object(line: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(line)
    except JSON_FAULTS:
        return None
    found = {"messages": found} if is_conversation(found) else _annotated(found)
    return found if isinstance(found, dict) else None


def _annotated(found: Any) -> Any:
    """A text with what is said of it, ["James is here", {"entities": [[0, 5, "PER"]]}], as an object; else what was given."""
    pair = (
        isinstance(found, list) and len(found) == 2 and isinstance(found[0], str) and isinstance(found[1], dict) and "text" not in found[1]
    )
    return {"text": found[0], **found[1]} if pair else found


def is_conversation(found: Any) -> bool:
    """Whether it is a list of messages."""
    return isinstance(found, list) and bool(found) and all(isinstance(one, dict) and MESSAGE & one.keys() for one in found)


def read_json(path: Path, cache: Path | None, wanted: str = "", part: str = "") -> Found:
    """A list of objects, an object with one such list beside other things (of several the `part`), or of columns; an object per line is
    JSON Lines."""
    if path.stat().st_size > MOST_JSON:
        raise DataError(
            "A JSON file is read whole and may have at most {most} bytes; {file} is larger. Save it as JSON Lines (.jsonl).",
            most=MOST_JSON,
            file=path.name,
        )
    text, problems = read_text(path, wanted)
    try:
        found = json.loads(text)
    except JSON_FAULTS as error:
        first = text.lstrip().split("\n", 1)
        if len(first) > 1 and _object(first[0]) is not None:
            return read_json_lines(path, cache, wanted)
        raise DataError("A JSON file must be whole; {file} is not: {why}. Fix it.", file=path.name, why=str(error)) from None
    found, said = answered(_turned(_wrapped(found, path, part)))
    problems += said
    if isinstance(found, list) and found and all(is_conversation(row) for row in found):
        found = [{"messages": row} for row in found]
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        schema, batches = from_rows(lambda: found)
        return pa.Table.from_batches(list(batches), schema), problems
    if isinstance(found, dict) and found and all(isinstance(column, list) for column in found.values()):
        return from_columns(found), problems
    if isinstance(found, dict) and found and all(isinstance(column, dict) for column in found.values()):
        return from_columns({name: list(column.values()) for name, column in found.items()}), problems
    raise DataError(
        'A JSON file must hold a list of objects, {{"data": [objects]}} or columns; {file} holds {kind}. Rearrange it.',
        file=path.name,
        kind=tr("an object of {names}", names=listed([*found], 10)) if isinstance(found, dict) and found else type(found).__name__,
    )


def _wrapped(found: Any, path: Path, part: str) -> Any:
    """The one list of objects in an object, or that named `part`, where the others are no columns beside it; else what was given."""
    lists = {name: value for name, value in found.items() if isinstance(value, list)} if isinstance(found, dict) else {}
    tables = {name: value for name, value in lists.items() if value and all(isinstance(row, dict) for row in value)}
    columns = len(lists) > 1 and len(lists) == len(found) and len({len(value) for value in lists.values()}) == 1
    if part in tables:
        return tables[part]
    if part or (len(tables) > 1 and not columns):
        told = {
            "names": ", ".join(f"{name} ({len(rows)})" for name, rows in tables.items()),
            "hint": nearest(part, [*tables]),
            "parts": [*tables],
        }
        raise DataError("One list of objects of a JSON file must be named as {file}::NAME; received {part!r}.{hint} "
                        "Its lists, with their rows, are: {names}.", file=path.name, part=part, **told)  # fmt: skip
    return next(iter(tables.values())) if len(tables) == 1 and not columns else found


def _turned(found: Any) -> Any:
    """Rows that are lists, beneath their names or beside {"columns": names}, rows by their names {"a": {...}, "b": {...}}, texts, and the
    entries of a dictionary of words or numbers, as a list of objects; else what was given."""
    found = unfolded(found)
    if isinstance(found, list):
        found = [_annotated(row) for row in found]
    if isinstance(found, list) and found and all(isinstance(text, str) for text in found):
        return [{"text": text} for text in found]
    if talks(found):
        return [{"conversation": turns} for turns in found]
    if isinstance(found, dict) and len(found) >= ENTRIES and all(isinstance(value, str | int | float) for value in found.values()):
        return [{"key": key, "value": value} for key, value in found.items()]
    if isinstance(found, dict) and _lists(found.get("data")) and isinstance(found.get("columns"), list):
        found = [found["columns"], *found["data"]]
    if _lists(found) and len({len(row) for row in found}) == 1 and not any(isinstance(cell, dict) for row in found for cell in row):
        named = all(isinstance(name, str) for name in found[0]) and len(set(found[0])) == len(found[0]) and len(found) > 1
        names, rows = (found[0], found[1:]) if named else ([f"c{place}" for place in range(len(found[0]))], found)
        return [dict(zip(names, row, strict=True)) for row in rows]
    if isinstance(found, dict) and found and all(isinstance(row, dict) for row in found.values()):
        names = {name for row in found.values() for name in row}
        if len(names) < len(found) and not all(name.isdigit() for name in names):
            return [{"index": name, **row} for name, row in found.items()]
    return found


def talks(found: Any) -> bool:
    """Whether rows are lists of what was said in turn, unlike many and longer than words (LCCC)."""
    if not (_lists(found) and len({len(row) for row in found}) > 1 and all(isinstance(turn, str) for row in found for turn in row)):
        return False
    turns = [turn for row in found for turn in row]
    said = sum(" " in turn or not turn.isascii() for turn in turns)
    return min(map(len, found)) > 1 and 2 * said > len(turns) and sum(map(len, turns)) >= SAID * len(turns)


def _lists(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(row, list) and row for row in found)


def read_parquet(path: Path, cache: Path | None) -> Found:
    """Mapped where small; a large one is unpacked batch by batch to the cache, its expanded size checked on the way."""
    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
            texts = [field.name for field in file.schema_arrow if is_text(field.type) or pa.types.is_binary(field.type)]
            claimed = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
            cells = file.metadata.num_rows * max(1, len(file.schema_arrow.names))
            classes = classes_of(file.schema_arrow.metadata)
        if claimed > MOST_EXPANDED or cells > 1e9 + 1000 * path.stat().st_size:
            _too_much(path)
        key = caches.file_digest(path, "parquet") if max(claimed, cells) > caches.LARGE else ""
        stored = caches.stored(cache, key) if key else None
        if stored is not None:
            return with_names(stored, classes), ()
        batches = _parquet_batches(path, texts)
        first = next(batches, None)
        if first is None:
            raise DataError("A table must have rows; {file} is empty. Give a file with data.", file=path.name)
        whole = caches.store(cache, key, first.schema, chain([first], batches)) if key else pa.Table.from_batches([first, *batches])
        return with_names(whole, classes), ()
    except READ_PARQUET_FAULTS as error:
        _broken(path, "Parquet", error)


def _parquet_batches(path: Path, texts: list[str]) -> Iterator[pa.RecordBatch]:
    total = 0
    with pyarrow.parquet.ParquetFile(path, memory_map=True, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=1 << 14):
            table = pa.Table.from_batches([batch])
            total += sum(_expanded(column) for column in table.columns)
            if total > MOST_EXPANDED or total > (1 << 30) + 200 * path.stat().st_size:
                _too_much(path)
            yield from plain(table).combine_chunks().to_batches()


def _expanded(column: pa.ChunkedArray) -> int:
    """Bytes that the cells will take once a dictionary is written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    total = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary)
        total += int(pc.sum(pc.cast(lengths.take(chunk.indices), pa.int64())).as_py() or 0)
    return total


def read_feather(path: Path) -> Found:
    """Memory-mapped Arrow, in the file format or as a stream."""
    try:
        stream = path.open("rb").read(4) == b"\xff\xff\xff\xff"
        table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all() if stream else pyarrow.feather.read_table(path, memory_map=True)
        table.validate()
        return with_names(plain(table), classes_of(table.schema.metadata)), ()
    except READ_PARQUET_FAULTS as error:
        _broken(path, "Feather", error)


def read_orc(path: Path) -> Found:
    """Hive's columns, stripe by stripe, their expanded size checked on the way."""
    try:
        with pa.OSFile(str(path)) as source:
            file = pyarrow.orc.ORCFile(source)
            if file.nrows * max(1, len(file.schema)) > 1e9 + 1000 * path.stat().st_size:
                _too_much(path)
            stripes, total = [], 0
            for place in range(file.nstripes):
                stripes.append(file.read_stripe(place))
                total += stripes[-1].nbytes
                if total > MOST_EXPANDED or total > (1 << 30) + 200 * path.stat().st_size:
                    _too_much(path)
            return plain(pa.Table.from_batches(stripes, file.schema)), ()
    except READ_PARQUET_FAULTS as error:
        _broken(path, "ORC", error)


def read_excel(path: Path, sheet: str) -> Found:
    """One sheet, its first filled row the column names, or the first beneath a title."""
    if path.suffix.lower() != ".xls":
        check_packed(path)
    try:
        with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
            names, rows, told, chosen = book.sheet_names, list[list[Any]](), tuple[str, ...](), sheet
            if sheet and sheet not in names:
                raise DataError(
                    "A sheet must exist in the book; {file} has no sheet {sheet!r}.{hint} Its sheets are: {names}.",
                    file=path.name, sheet=sheet, hint=nearest(sheet, names), names=", ".join(names), parts=names,
                )  # fmt: skip
            for chosen in [sheet] if sheet else names:
                found = book.get_sheet_by_name(chosen)
                rows, told = unmerged(found.to_python(skip_empty_area=True), found.merged_cell_ranges or [], found.start or (0, 0))
                rows = [row for row in rows if any(cell not in ("", None) for cell in row)]
                if len(rows) > 1:
                    break
    except SHEET_FAULTS as error:
        _broken(path, "Excel", error)
    if len(rows) < 2:
        raise DataError("A table must have rows; {file} has none below its header. Give a file with data.", file=path.name)
    above, notes = lead([["" if cell is None else str(cell) for cell in row] for row in rows[:200]])
    columns, problems = repaired([str(cell) for cell in rows[above]])
    body = [dict(zip(columns, map(_excel_cell, row), strict=True)) for row in rows[above + 1 :]]
    schema, batches = from_rows(lambda: body)
    problems = told + notes + problems
    if len(names) > 1 and not sheet:
        other = next(name for name in (names[1:] if chosen == names[0] else names) if name != chosen)
        problems += (tr("The book has several sheets and {sheet!r} was read; another is named {example}.", sheet=chosen,
                        example=f"{path.name}::{other}"),)  # fmt: skip
    return pa.Table.from_batches(list(batches), schema), problems


def _excel_cell(cell: Any) -> Any:
    """Excel keeps whole numbers as floats and empty cells as empty text."""
    if cell == "":
        return None
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15 else cell


def read_sqlite(path: Path, wanted: str, cache: Path | None) -> Found:
    """One table of a database that is opened for reading only."""
    broken = 0

    def text(raw: bytes) -> str:
        nonlocal broken
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            broken += 1
            return raw.decode("utf-8", "replace")

    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as base:
            base.text_factory = text
            names = [
                row[0]
                for row in base.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'")
            ]
            if (wanted and wanted not in names) or (not wanted and len(names) != 1):
                raise DataError(
                    "A table of the database must be named as {file}::TABLE; received {wanted!r}.{hint} Its tables are: {names}.",
                    file=path.name, wanted=wanted, hint=nearest(wanted, names), names=", ".join(names), parts=names,
                )  # fmt: skip
            command = 'SELECT * FROM "{}"'.format((wanted or names[0]).replace('"', '""'))

            def rows() -> Iterator[Mapping[str, Any]]:
                nonlocal broken
                broken = 0  # rows are read several times
                yield from _sqlite_rows(base, command)

            table = _rows_table(path, cache, rows, "table", wanted)
    except SQLiteError as error:
        _broken(path, "SQLite", error)
    if not len(table):
        raise DataError("A table must have rows; {file} is empty. Give a file with data.", file=path.name)
    note = (tr("{count} cells hold bytes that are not UTF-8; each such byte became \ufffd.", count=broken),) if broken else ()
    return table, note


def _sqlite_rows(base: sqlite3.Connection, command: str) -> Iterator[Mapping[str, Any]]:
    found = base.execute(command)
    names, _ = repaired([item[0] for item in found.description])
    for row in found:
        yield dict(zip(names, row, strict=True))


def _rows_table(path: Path, cache: Path | None, rows: Callable[[], Iterable[Mapping[str, Any]]], *about: str) -> pa.Table:
    """Rows as a table: held when the file is small, else written to the cache batch by batch."""
    if path.stat().st_size <= caches.LARGE:
        held = list(rows())
        schema, batches = from_rows(lambda: held)
        return pa.Table.from_batches(list(batches), schema)
    key = caches.file_digest(path, *about)
    stored = caches.stored(cache, key)
    if stored is not None:
        return stored
    schema, batches = from_rows(rows)
    return caches.store(cache, key, schema, batches)


def _too_much(path: Path) -> NoReturn:
    raise DataError(
        "A file may not unpack to far more than its own size; {file} would. Unpack it yourself if you trust it.", file=path.name
    )


def _broken(path: Path, kind: str, error: Exception) -> NoReturn:
    why = str(error).strip().splitlines() or [type(error).__name__]
    raise DataError(
        "Files of {kind} must be whole; {file} cannot be read: {why}. Save or download it again.",
        kind=kind,
        file=path.name,
        why=why[0][:200],
    ) from None
