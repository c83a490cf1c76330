"""CSV and its kin: delimiter and header are found, every cell stays a string, bad rows are numbered."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from csv import Error as CSVError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pyarrow import ArrowInvalid

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.data import spill as caches
from duomo.data.formats.headers import ends_open, has_header, in_two_scripts, lead, quoted_alone, repaired
from duomo.data.formats.space_delimited import Spaced, is_spaced
from duomo.data.formats.text_encoding import DecodedFile, Encoding, cut, detect, numbered

FEWEST, ALIKE = 3, 0.8
"""Rows at least, and the largest share of them that commas cut into as many cells, where a single name stands above sentences."""
HEAD, LINES, WIDEST = 120_000, 4, 1 << 23
"""Bytes that are looked at first; more where they hold fewer lines, for a line of 20,000 columns is longer, but at most the last."""
MOST_COLUMNS, MANY_BAD = 100_000, 100_000
"""Columns that a table may have; rows of another length from which a file is no table, where most rows are such."""
LONGEST_CELL = 1 << 22
"""Bytes that a cell in quotes may have."""
BLOCKS, MANY = (1 << 21, 1 << 25, 1 << 29), 1000
"""Bytes that are read at once, more where a row is longer; not the fewest of so many columns: each would come in pieces of a few rows."""
_FORMATS = {
    b"PAR1": "parquet",
    b"ARROW1": "feather",
    b"\xff\xff\xff\xff": "feather",
    b"ORC": "orc",
    b"PK\x03\x04": "zip",
    b"SQLite format 3\0": "sqlite",
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x93NUMPY": "npy",
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpg",
    b"RIFF": "wav",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"%PDF": "pdf",
    b"\xd0\xcf\x11\xe0": "xls",
}


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are written."""

    delimiter: str
    names: tuple[str, ...]
    header_bytes: int
    """Where the rows start in the file's UTF-8 form."""
    problems: tuple[str, ...]
    lines: int = 0
    """Rows up to these, with the column names."""
    spaced: bool = False
    """Cells stand between spaces; the delimiter is what they are read as."""


@dataclass
class Tally:
    """Rows that did not have as many fields as the first."""

    rows: list[int] = field(default_factory=list)
    count: int = 0
    swallowed: int = 0
    """Rows left out that hold newlines: the mark of a stray quote."""

    def refuse(self, row: pa.csv.InvalidRow) -> str:
        self.count += 1
        self.swallowed += "\n" in row.text
        if len(self.rows) < 1000:
            self.rows.append(row.number or 0)
        return "error" if self.count >= MANY_BAD and 2 * self.count > (row.number or 0) > 0 else "skip"


def real_format(path: Path) -> str:
    """What a file's first bytes say that it is; empty for text."""
    with path.open("rb") as file:
        head = file.read(16)
    return next((name for mark, name in _FORMATS.items() if head.startswith(mark)), "")


def read_delimited(path: Path, cache: Path | None, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """All columns as large_string, and the problems; a large file is streamed to the cache and mapped."""
    encoding = detect(path, wanted)
    layout = _layout(path, encoding)
    if len(layout.names) > MOST_COLUMNS:
        raise DataError("A table may have at most {most} columns; {file} has {count} or more. Name its delimiter, or turn it around.",
                        most=MOST_COLUMNS, file=path.name, count=len(layout.names))  # fmt: skip
    if path.stat().st_size <= caches.LARGE:
        return _balanced(path, encoding, layout)
    delimiter = " " if layout.spaced else layout.delimiter
    key = caches.file_digest(path, encoding.name, delimiter, layout.names, layout.header_bytes)
    beside = caches.folder(cache) / "tables" / f"{key}.json"
    found = caches.stored(cache, key) if beside.exists() else None
    if found is None:
        found = _streamed(path, encoding, layout, cache, key)
    notes = json.loads(beside.read_text(encoding="utf-8"))
    tally = Tally(notes["rows"], notes["count"])
    return found, _problems(path, encoding, layout, tally, len(found))


def _streamed(path: Path, encoding: Encoding, layout: Layout, cache: Path | None, key: str) -> pa.Table:
    """Rows go from the file to the cache batch by batch; what was left out is written beside it last."""
    for block in _blocks(layout):
        tally = Tally()
        try:
            quote = False if _endless(path) else '"'
            found = caches.store(cache, key, _schema(layout), _batches(path, encoding, layout, tally, block, quote))
            break
        except ArrowInvalid as error:
            if "straddling" not in str(error) or block == BLOCKS[-1]:
                _unreadable(path, error)
    beside = caches.folder(cache) / "tables" / f"{key}.json"
    beside.write_text(json.dumps({"rows": tally.rows, "count": tally.count}), encoding="utf-8")
    return found


def _blocks(layout: Layout) -> tuple[int, ...]:
    return BLOCKS[len(layout.names) >= MANY :]


def _schema(layout: Layout) -> pa.Schema:
    return pa.schema([(name, pa.large_string()) for name in layout.names])


@contextmanager
def _rows_of(path: Path, encoding: Encoding, layout: Layout) -> Iterator[io.RawIOBase]:
    """The file behind its header."""
    with _opened(path, encoding, layout.spaced) as file:
        left = layout.header_bytes
        while left and (skipped := file.read(left)):
            left -= len(skipped)
        yield file


def _options(layout: Layout, tally: Tally, block: int, quote: str | bool) -> dict[str, Any]:
    return {
        "read_options": pyarrow.csv.ReadOptions(column_names=list(layout.names), block_size=block, use_threads=False),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=layout.delimiter, newlines_in_values=quote is not False, quote_char=quote, invalid_row_handler=tally.refuse
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            column_types=_schema(layout), strings_can_be_null=True, quoted_strings_can_be_null=True, null_values=[""]
        ),
    }


def _batches(path: Path, encoding: Encoding, layout: Layout, tally: Tally, block: int, quote: str | bool) -> Iterator[pa.RecordBatch]:
    with _rows_of(path, encoding, layout) as file:
        try:
            reader = pyarrow.csv.open_csv(file, **_options(layout, tally, block, quote))
        except ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise
        yield from reader


def _held(path: Path, encoding: Encoding, layout: Layout, quote: str | bool) -> tuple[pa.Table, Tally]:
    """All at once, from Arrow's own memory: it aborts a process that ends while a thread of `open_csv` lets go of an object of Python's."""
    sink = pa.BufferOutputStream()
    with _rows_of(path, encoding, layout) as file:
        while chunk := file.read(HEAD):
            sink.write(chunk)
    whole = sink.getvalue()
    for block in _blocks(layout):
        tally = Tally()
        try:
            return pyarrow.csv.read_csv(pa.BufferReader(whole), **_options(layout, tally, block, quote)), tally
        except ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return _schema(layout).empty_table(), tally
            if "straddling" not in str(error) or block == BLOCKS[-1]:
                _unreadable(path, error)
    raise RuntimeError


def _balanced(path: Path, encoding: Encoding, layout: Layout) -> tuple[pa.Table, tuple[str, ...]]:
    """Read with quotes; where a stray quote has swallowed whole rows, read again with quotes as ordinary characters."""
    note: tuple[str, ...] = ()
    if _endless(path):
        table, tally = _held(path, encoding, layout, False)
        return table, (
            *_problems(path, encoding, layout, tally, len(table)),
            tr("The quotes do not balance; they were read as ordinary characters."),
        )
    table, tally = _held(path, encoding, layout, '"')
    suspects = tally.swallowed + _swallowing_cells(table, layout)
    if suspects:
        plain, plain_tally = _held(path, encoding, layout, False)
        if plain_tally.count < tally.count + suspects and len(plain) > len(table):
            table, tally = plain, plain_tally
            note = (tr("The quotes do not balance; they were read as ordinary characters."),)
    return table, _problems(path, encoding, layout, tally, len(table)) + note


def _endless(path: Path) -> bool:
    """Whether some quote stays open for more bytes than any cell has: Arrow would look at all that follows again and again."""
    open_, since = False, 0
    with path.open("rb") as file:
        while chunk := file.read(LONGEST_CELL):
            pieces = chunk.split(b'"') if b'"' in chunk else [chunk]
            for place, piece in enumerate(pieces):
                since += len(piece)
                if open_ and since > LONGEST_CELL:
                    return True
                if place < len(pieces) - 1:
                    open_, since = not open_, 0
    return False


def _swallowing_cells(table: pa.Table, layout: Layout) -> int:
    """Cells holding a line that is itself a whole row; between tabs, one that is a part of a row."""
    found, fields = 0, len(layout.names)
    for column in table.columns:
        cells = column.filter(pc.match_substring(column, "\n")).slice(0, 200).to_pylist()
        if fields > 1 and layout.delimiter == "\t":
            found += sum("\t" in cell for cell in cells)
        elif fields > 1:
            found += sum(any(line.count(layout.delimiter) == fields - 1 for line in cell.split("\n")[1:]) for cell in cells)
    return found


def _problems(path: Path, encoding: Encoding, layout: Layout, tally: Tally, kept: int) -> tuple[str, ...]:
    problems = encoding.problems + layout.problems
    if tally.count > kept:
        raise DataError(
            "The rows of a table must have the same number of fields; in {file} {count} of {total} rows do not have {fields} "
            "(delimiter {delimiter!r}): rows {rows}. Fix the file.",
            file=path.name, count=tally.count, total=tally.count + kept, fields=len(layout.names), delimiter=layout.delimiter,
            rows=numbered(tally.rows, tally.count),
        )  # fmt: skip
    if not kept:
        raise DataError("A table must have rows; {file} has none below its header. Give a file with data.", file=path.name)
    if tally.count:
        numbers = [number + layout.lines for number in tally.rows]
        problems += (
            tr(
                "{count} rows have too few or too many fields (not {fields}) and were left out: rows {rows}.",
                count=tally.count, fields=len(layout.names), rows=numbered(numbers, tally.count),
            ),
        )  # fmt: skip
    return problems


def _unreadable(path: Path, error: Exception) -> NoReturn:
    raise DataError(
        "A table must be readable as rows; {file} is not: {why}. Save it again as CSV in UTF-8.",
        file=path.name,
        why=str(error).splitlines()[0],
    ) from None


def _opened(path: Path, encoding: Encoding, spaced: bool) -> io.RawIOBase:
    file = DecodedFile(path, encoding)
    return Spaced(file) if spaced else file


def _head(path: Path, encoding: Encoding, spaced: bool) -> str:
    """The first lines, all whole."""
    with _opened(path, encoding, spaced) as file:
        raw = b""
        while (wanted := (HEAD if _lines(raw) >= LINES or _too_wide(raw) else WIDEST) - len(raw)) > 0 and (
            chunk := file.read(min(wanted, HEAD))
        ):
            raw += chunk
    head = raw.decode("utf-8", "ignore")
    if not head.strip("\r\n\0 "):
        raise DataError("A table must have rows; {file} is empty. Give a file with data.", file=path.name)
    return head[: head.rindex("\n") + 1] if len(raw) >= HEAD and "\n" in head else head


def _layout(path: Path, encoding: Encoding) -> Layout:
    head = _head(path, encoding, False)
    widths = sorted(len(row) for row in _parsed(head, _delimiter(head)))
    if spaced := is_spaced(head, widths[len(widths) // 2]):
        head = _head(path, encoding, True)
    delimiter = "\t" if (spaced or path.suffix.lower() in (".tsv", ".tab")) and "\t" in head else _delimiter(head)
    rows = _parsed(head, delimiter)
    skipped, notes = lead(rows)
    if not skipped and _is_one_column(rows) and "\t" not in head:
        delimiter, rows = "\t", _parsed(head, "\t")
        notes = (tr("{name!r} is the only column: the commas below it stand inside of texts.", name=rows[0][0]),)
    first, body = rows[skipped], rows[skipped + 1 : skipped + 200]
    if len(first) == 1 and body and all(len(row) > 1 for row in body):
        raise DataError(
            "The first line of a table must name its columns; in {file} it is {line!r}. Remove the lines above the header.",
            file=path.name,
            line=first[0][:60],
        )
    if ends_open(first, body):
        first = first[:-1]
    if body and all(len(row) == len(first) + 1 for row in body):  # R leaves the names of rows unnamed; others end rows with a delimiter
        first = ["", *first] if any(row[-1].strip() for row in body) else [*first, ""]
    if not (quoted_alone(head, delimiter, skipped) or has_header(first, body)):
        note = tr("The file has no line of column names; the columns are called {first} … {last}.", first="c0", last=f"c{len(first) - 1}")
        return Layout(delimiter, tuple(f"c{place}" for place in range(len(first))), 0, (note,), spaced=spaced)
    if len(first) == 1 and (signs := first[0].count("，")) and sum(row[0].count("，") == signs for row in body if row) > 0.9 * len(body):
        notes += (tr("Cells seem to be parted by the full-width comma ，; put , in its place to have {count} columns.", count=signs + 1),)
    if in_two_scripts(first, body):
        notes += (tr("The first line was taken as column names: {names}. Where it is a row, put a line of names above it.",
                     names=", ".join(first)[:80]),)  # fmt: skip
    names, problems = repaired(first)
    return Layout(delimiter, tuple(names), _header_bytes(head, skipped + 1), notes + problems, skipped + 1, spaced)


def _is_one_column(rows: Sequence[Sequence[str]]) -> bool:
    """Whether commas cut what stands below one name into unlike numbers of cells, as they cut sentences; numbers alone are none."""
    widths = Counter(map(len, rows[1:]))
    worded = sum(any(map(str.isalpha, "".join(row))) for row in rows[1:]) > len(rows) / 2
    return worded and len(rows[0]) == 1 and len(rows) > FEWEST and widths.most_common(1)[0][1] <= ALIKE * (len(rows) - 1)


def _lines(raw: bytes) -> int:
    return max(raw.count(b"\n"), raw.count(b"\r"))


def _too_wide(raw: bytes) -> bool:
    """Whether what has been read of a line makes more columns than a table may have."""
    return max(map(raw.count, (b",", b";", b"\t", b"|"))) > LINES * MOST_COLUMNS


def _delimiter(head: str) -> str:
    """The delimiter that cuts most rows into as many fields as the first row."""
    best, found = 0.0, ","
    for delimiter in ",\t;|":
        rows = _parsed(head, delimiter)[:500]
        if not rows:
            continue
        rows = rows[lead(rows)[0] :]
        fields = Counter(len(row) for row in rows).most_common(1)[0][0]
        if fields < 2 and len(rows[0]) < 2:
            continue
        same = sum(len(row) == len(rows[0]) for row in rows)
        score = same / len(rows) + (0.5 if len(rows[0]) == fields else 0) + min(len(rows[0]), 50) * 1e-3
        if len(rows[0]) > 1 and score > best:
            best, found = score, delimiter
    return found


def _parsed(head: str, delimiter: str) -> list[list[str]]:
    plain = [line.split(delimiter) for line in head.splitlines() if line]
    try:
        rows = [row for row in cut(head.replace("\0", " ").splitlines(keepends=True), delimiter=delimiter) if row]
    except CSVError:
        return plain
    # between tabs a quote may be a letter like any other, which then swallows all up to the next one
    swallowed = delimiter == "\t" and any("\t" in cell and "\n" in cell for row in rows for cell in row)
    return plain if swallowed and len({len(row) for row in plain}) == 1 else rows


def _header_bytes(head: str, records: int) -> int:
    """UTF-8 bytes up to the end of the first records, blank lines between them included."""
    place, quoted, seen = 0, False, False
    for place, letter in enumerate(head):
        quoted ^= letter == '"'
        seen |= letter not in "\r\n"
        ends = letter == "\n" or (letter == "\r" and head[place + 1 : place + 2] != "\n")
        if ends and not quoted and seen:
            records, seen = records - 1, False
            if not records:
                break
    return len(head[: place + 1].encode())
