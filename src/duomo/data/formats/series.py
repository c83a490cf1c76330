"""Series as their collections keep them: .ts (sktime, aeon, timeseriesclassification.com) and .arff (Weka), which also holds plain tables;
.tsf (Monash) as tables to foretell by; and the sparse tables of libsvm.

Legend: T steps, C channels.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.steps import counted, smooth
from duomo.core.table import Table
from duomo.data.formats.frames import from_columns
from duomo.data.formats.text_encoding import cut, detect, open_text

LARGEST = 1 << 30
"""Bytes of a file that is read whole."""
MOST_PLACES, MOST_CELLS = 20_000, 200_000_000
"""Columns and cells of a sparse file."""
UNSAID, PLACE = {b"unsaid": b"0"}, re.compile(r"x\d+")
"""What a table read from one carries, and what its columns are called."""
FEWEST = 5
"""Lines by which such a file is told."""
_VALUE = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
TIME = re.compile(r"\d{1,2}:[0-5]\d")
SPARSE = re.compile(rf"{_VALUE}(?:,{_VALUE})*(?:\s+qid:\d+)?(?:\s+\d+:{_VALUE})*")
UNKNOWN = ("", "?", "nan", "na")
ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)\s+(.+)", re.IGNORECASE)

_FREQUENCY = re.compile(r"(\d+_|half_)?([a-z]+)")
_UNITS = {"second": ("s", 1), "minute": ("m", 1), "hour": ("h", 1), "da": ("D", 1), "week": ("D", 7), "month": ("M", 1),
          "quarter": ("M", 3), "year": ("M", 12)}  # fmt: skip
"""How `@frequency` begins, and what that is."""
_BEGUN = np.datetime64("2000-01-01")

Found = tuple[pa.Table, tuple[str, ...]]


def is_ts(path: Path) -> bool:
    """Whether a file begins as a .ts of series does: films and programs have that ending, too."""
    with path.open("rb") as file:
        return file.read(4096).lstrip(b"\xef\xbb\xbf \r\n")[:1] in (b"@", b"#")


def _lines(path: Path, wanted: str) -> tuple[list[str], list[tuple[int, str]], tuple[str, ...]]:
    """Lines of the header, of the data with their numbers, and problems."""
    if path.stat().st_size > LARGEST:
        raise DataError("A file of series is read whole and may have at most {most} bytes; {file} is larger. Divide it.",
                        most=LARGEST, file=path.name)  # fmt: skip
    encoding = detect(path, wanted)
    head: list[str] = []
    rows: list[tuple[int, str]] = []
    data = False
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith(("%", "#")):
                continue
            if data:
                rows.append((number, line))
            elif line.lower() == "@data":
                data = True
            else:
                head.append(line)
    if not rows:
        raise DataError("A file of series must have rows behind its line @data; {file} has none. Look into it.", file=path.name)
    return head, rows, encoding.problems


def _broken(path: Path, number: int, line: str) -> DataError:
    return DataError("A row must be written as the file's header says; line {number} of {file} is not: {line!r}. Fix it.",
                     number=number, file=path.name, line=line[:60])  # fmt: skip


def _number(text: str) -> float | None:
    text = text.strip()
    return None if text.lower() in UNKNOWN else float(text)


def read_ts(path: Path, wanted: str = "") -> Found:
    """`series` (T numbers, or T steps of C channels) and `label` or `target`; channels of unlike length end with the longest."""
    head, rows, problems = _lines(path, wanted)
    told = {line.split()[0].lower(): line.split()[1:] for line in head}
    name = "label" if told.get("@classlabel", ["false"])[0].lower() == "true" else "target" if "@targetlabel" in told else ""
    if told.get("@timestamps", ["false"])[0].lower() == "true":
        raise DataError(
            "Series in a .ts file must be plain numbers; {file} has time stamps. Where they are evenly spaced write the numbers alone, "
            "with @timestamps false; else a table with columns id, time and value: duomo train FILE --join id,time",
            file=path.name,
        )
    series, labels = [], []
    for number, line in rows:
        parts = line.split(":")
        try:
            channels = [[_number(cell) for cell in part.split(",")] for part in (parts[:-1] if name else parts)]
            labels.append(_number(parts[-1]) if name == "target" else parts[-1].strip())
        except ValueError:
            raise _broken(path, number, line) from None
        if not channels:
            raise _broken(path, number, line)
        longest = max(map(len, channels))
        steps = [list(step) for step in zip(*([*channel, *[None] * (longest - len(channel))] for channel in channels), strict=True)]
        series.append([step[0] for step in steps] if len(channels) == 1 else steps)
    if len({len(steps[0]) if isinstance(steps[0], list) else 1 for steps in series}) > 1:
        raise DataError("Every series of a .ts file must have the same channels; those of {file} have not. Fix it.", file=path.name)
    return from_columns({"series": series} | ({name: labels} if name else {})), problems


def read_tsf(path: Path, wanted: str = "") -> Found:
    """A row for each moment of each series: what is told of the series, `time` and `value` (Godahewa et al. 2021, "Monash Time Series
    Forecasting Archive", arXiv:2105.06643, appendix A)."""
    head, rows, problems = _lines(path, wanted)
    told = {line.split()[0].lower(): line.split()[1:] for line in head}
    kinds = {line.split()[1]: line.split()[-1].lower() for line in head if line.lower().startswith("@attribute ")}
    columns: dict[str, list[str]] = {name: [] for name, kind in kinds.items() if kind != "date"}
    dateless = len(columns) == len(kinds)
    unit, every = _pace(path, "".join(told.get("@frequency", ["daily"] if dateless else [])))
    fine = unit if unit in "MD" else "s"  # an hour need not begin at 0 minutes
    values, moments, lengths = list[np.ndarray](), list[np.ndarray](), list[int]()
    for number, line in rows:
        try:
            *cells, last = line.split(":")
            parts = dict(zip(kinds, map(str.strip, cells), strict=True))
            values.append(np.array([np.nan if value is None else value for value in map(_number, last.split(","))]))
            day, _, hour = next((parts[name] for name in kinds if name not in columns), str(_BEGUN)).partition(" ")
            start = np.datetime64(f"{day}T{hour.replace('-', ':') or '00'}").astype(f"datetime64[{fine}]")
        except ValueError:
            raise _broken(path, number, line) from None
        lengths.append(len(values[-1]))
        after_T = (every * np.arange(lengths[-1])).astype(f"timedelta64[{unit}]")
        moments.append((start + after_T).astype(f"datetime64[{'D' if unit in 'MD' else 's'}]"))
        for name, told_of in columns.items():
            told_of.append(parts[name])
    series_N = pa.array(np.repeat(np.arange(len(rows)), lengths))
    found = {name: pa.array(cells, pa.large_string()).take(series_N) for name, cells in columns.items()}
    found |= {"time": pa.array(np.datetime_as_string(np.concatenate(moments))), "value": pa.array(np.concatenate(values), from_pandas=True)}
    said = [tr("{file} holds {count:,} series to be continued; they were read as a table with a row for each moment. To foretell them: "
               "--target value --ahead {steps}", file=path.name, count=len(rows),
               steps="".join(told.get("@horizon", ["STEPS"])))]  # fmt: skip
    if dateless:
        said.append(tr("It does not say when they begin; they are taken to begin on {day}.", day=str(_BEGUN)))
    return from_columns(found), (*problems, *said)


def _pace(path: Path, spoken: str) -> tuple[str, int]:
    """The unit of time, as NumPy calls it, and how many of it lie between two values: `half_hourly`, `10_minutes`."""
    found = _FREQUENCY.fullmatch(spoken.lower())
    unit = next((made for begin, made in _UNITS.items() if found and found[2].startswith(begin)), None)
    if found is None or unit is None or (found[1] == "half_" and unit[0] != "h"):
        raise DataError("The values of a file of series lie seconds, minutes, hours, days, weeks, months, quarters or years apart; {file} "
                        "says {spoken!r}. Change its line @frequency.", file=path.name, spoken=spoken)  # fmt: skip
    return ("m", 30) if found[1] == "half_" else (unit[0], unit[1] * int((found[1] or "1_")[:-1]))


def read_arff(path: Path, wanted: str = "") -> Found:
    """A table; relational attributes, and many attributes counted on beside a class, are series."""
    head, rows, problems = _lines(path, wanted)
    names, spelled, depth = list[str](), list[str](), 0
    for line in head:
        if line.lower().startswith("@end"):
            depth -= 1
        elif found := ATTRIBUTE.match(line):
            if not depth:
                names.append(found[1].strip("'\""))
                spelled.append(found[2].strip().rstrip("}"))
            depth += found[2].strip().lower() == "relational"
    columns: dict[str, list[Any]] = {name: [] for name in names}
    kinds = [kind.lower() for kind in spelled]
    unsaid = [next(cut([kind[1:]], quotechar="'", skipinitialspace=True))[0] if kind.startswith("{") else "0" for kind in spelled]
    for number, line in rows:
        try:
            cells = list(_cells(line, unsaid))
            if len(cells) != len(names):
                raise ValueError
            for name, kind, cell in zip(names, kinds, cells, strict=True):
                columns[name].append(_cell(cell, kind))
        except ValueError:
            raise _broken(path, number, line) from None
    return from_columns(folded(columns)), problems


def _cells(line: str, unsaid: Sequence[str]) -> Iterator[str]:
    """The cells of a row; `unsaid`: what a sparse one, of places and values, does not say: 0, or the first of the values that may stand
    there."""
    if line.startswith("{") and line.endswith("}"):
        given = dict(part.strip().split(None, 1) for part in next(cut([line[1:-1]], quotechar="'", skipinitialspace=True)) if part.strip())
        yield from (given.get(str(place), cell) for place, cell in enumerate(unsaid))
        return
    line = line.replace("\\n", "\n")  # relational cells divide their channels so
    quote = "'" if line.count("'") > line.count('"') else '"'
    yield from next(cut([line], quotechar=quote, escapechar="\\", skipinitialspace=True))


def _cell(cell: str, kind: str) -> Any:
    if kind == "relational":
        channels = [[_number(value) for value in part.split(",")] for part in cell.strip().split("\n")]
        return [list(step) for step in zip(*channels, strict=True)]
    if kind.split()[0] in ("numeric", "real", "integer"):
        return _number(cell)
    text = cell.strip().strip("'\"")
    return None if text == "?" else text


def is_sparse(lines: Sequence[str]) -> bool:
    """Whether lines are `+1 3:0.5 7:1`, as libsvm's are: a number or several, then places with their values, not times of day."""
    rows = [line.partition("#")[0].strip() for line in lines if line and not line.startswith("#")]
    if len(rows) < FEWEST or not all(map(SPARSE.fullmatch, rows)) or sum(":" in row for row in rows) <= 0.5 * len(rows):
        return False
    return not all(TIME.fullmatch(cell) for row in rows for cell in row.split()[1:])


def read_sparse(path: Path, wanted: str = "") -> Found:
    """`label` and a column for each place, x1 and so on, 0 where a row does not say it; `group` where rows name their query."""
    encoding, rows = detect(path, wanted), list[tuple[str, dict[str, str]]]()
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, 1):
            line = line.partition("#")[0].strip()
            if line and not SPARSE.fullmatch(line):
                raise _broken(path, number, line)
            rows += [(line.split()[0], dict(cell.split(":") for cell in line.split()[1:]))] if line else []
    queries = [cells.pop("qid", "") for _, cells in rows]
    named = [int(place) for _, cells in rows for place in cells] or [1]
    places = range(min(1, *named), max(named) + 1)
    if len(places) > MOST_PLACES or len(places) * len(rows) > MOST_CELLS:
        raise DataError(
            "A sparse file is read as a table of at most {most:,} columns and {cells:,} cells; {file} has {count:,} columns and {rows:,} "
            "rows. Choose columns, or bring them to fewer (sklearn.decomposition.TruncatedSVD).",
            most=MOST_PLACES, cells=MOST_CELLS, file=path.name, count=len(places), rows=len(rows),
        )  # fmt: skip
    dense = np.zeros((len(rows), len(places)))
    for row, (_, cells) in enumerate(rows):
        for place, value in cells.items():
            dense[row, int(place) - places.start] = float(value)
    columns: dict[str, Any] = {f"x{place}": dense[:, place - places.start] for place in places}
    labels = [label.removeprefix("+") for label, _ in rows]
    said = tr("{file} holds sparse rows (place:value); they were read as a table of {count:,} columns, 0 where nothing is said.",
              file=path.name, count=len(places))  # fmt: skip
    data = from_columns(columns | ({"group": queries} if any(queries) else {}) | {"label": labels})
    return data.replace_schema_metadata(UNSAID), (*encoding.problems, said)


def completed(table: Table, known: Collection[str]) -> Table:
    """Rows of a sparse file with zeros in the columns `known` that none of them says; any other table as it is."""
    unsaid = [name for name in known if PLACE.fullmatch(name) and name not in table.names]
    if not unsaid or (table.data.schema.metadata or {}).items().isdisjoint(UNSAID.items()):
        return table
    zeros, columns = pa.array(np.zeros(len(table))), dict(zip(table.names, table.data.columns, strict=True))
    return replace(table, data=pa.table(columns | dict.fromkeys(unsaid, zeros)))


def folded(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Smooth columns of numbers, named alike and counted on, as one `series`, where all but two columns at most are; else as they were."""
    numeric = [name for name, cells in columns.items() if all(cell is None or isinstance(cell, float) for cell in cells)]
    steps = counted(numeric)
    if len(columns) - len(steps) > 2 or not smooth(np.array([columns[name] for name in steps], np.float64).T):
        return columns
    series = [list(row) for row in zip(*(columns[name] for name in steps), strict=True)]
    return {"series": series} | {name: cells for name, cells in columns.items() if name not in steps}
