"""Series as their collections keep them: .ts (sktime, aeon, timeseriesclassification.com) and .arff (Weka), which also holds plain tables.

Legend: T steps, C channels.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.steps import counted, smooth
from duomo.data.frames import from_columns
from duomo.data.text_encoding import cut, detect, open_text

LARGEST = 1 << 30
"""Bytes of a file that is read whole."""
UNKNOWN = ("", "?", "nan", "na")
ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)\s+(.+)", re.IGNORECASE)

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


def read_arff(path: Path, wanted: str = "") -> Found:
    """A table; relational attributes, and many attributes counted on beside a class, are series."""
    head, rows, problems = _lines(path, wanted)
    names, kinds, depth = [], [], 0
    for line in head:
        if line.lower().startswith("@end"):
            depth -= 1
        elif found := ATTRIBUTE.match(line):
            if not depth:
                names.append(found[1].strip("'\""))
                kinds.append(found[2].strip().lower())
            depth += found[2].strip().lower() == "relational"
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for number, line in rows:
        try:
            cells = list(_cells(line, len(names)))
            if len(cells) != len(names):
                raise ValueError
            for name, kind, cell in zip(names, kinds, cells, strict=True):
                columns[name].append(_cell(cell, kind))
        except ValueError:
            raise _broken(path, number, line) from None
    return from_columns(folded(columns)), problems


def _cells(line: str, count: int) -> Iterator[str]:
    if line.startswith("{") and line.endswith("}"):  # sparse: place and value, all others 0
        given = dict(part.strip().split(None, 1) for part in line[1:-1].split(",") if part.strip())
        yield from (given.get(str(place), "0") for place in range(count))
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


def folded(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Smooth columns of numbers, named alike and counted on, as one `series`, where all but two columns at most are; else as they were."""
    numeric = [name for name, cells in columns.items() if all(cell is None or isinstance(cell, float) for cell in cells)]
    steps = counted(numeric)
    if len(columns) - len(steps) > 2 or not smooth(np.array([columns[name] for name in steps], np.float64).T):
        return columns
    series = [list(row) for row in zip(*(columns[name] for name in steps), strict=True)]
    return {"series": series} | {name: cells for name, cells in columns.items() if name not in steps}
