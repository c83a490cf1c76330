"""One column at a time: what is missing, how many values there are, how they are spread.

Counts of missing, bad and infinite cells are exact, found slice by slice; spreads come from a sample of large tables.
Legend: N rows.
"""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.kinds import boxes, date, number, numbers, series, units
from duomo.core.kinds.cells import is_bytes, is_text, text_of, values_of
from duomo.core.messages import flagged, tr
from duomo.core.table import MEDIA, Table
from duomo.data.findings import ColumnAudit, Finding

ROWS = 500_000
BARS = 12
BINS = 24
YES = frozenset(["yes", "y", "true", "t", "on", "1", "ja", "oui", "si", "sí", "是", "真", "有"])
NO = frozenset(["no", "n", "false", "f", "off", "0", "nein", "non", "否", "假", "无"])
DAY = 86_400
FIRST = 5
MOST_VALUES = 10_000
"""Different values of a category that are compared with one another."""
MOST_COUNTED = 256 << 20
"""Bytes of a column up to which its different values are counted exactly."""
_INFINITE = ("inf", "-inf", "+inf", "infinity", "-infinity", "+infinity", "∞", "-∞")
NINES, OFTEN, FAR = (99, 999, 9999, 99_999, 999_999, 9_999_999), 0.005, 2.0
"""Numbers that people write where nothing is known; in which share of the cells; how many times the spread of the others away from them."""
NEARLY, NEARLY_VALUES = 0.5, 20
"""From such a share of numbers, and so many different values, it is said that a column of words is nearly one of numbers."""


@dataclass
class Flaws:
    """Numbers of cells and the first rows of each."""

    missing: int = 0
    bad: int = 0
    infinite: int = 0
    missing_rows: tuple[int, ...] = ()
    bad_rows: tuple[int, ...] = ()
    infinite_rows: tuple[int, ...] = ()


def profile(table: Table, name: str, sample: np.ndarray) -> tuple[ColumnAudit, list[Finding]]:
    """The column's audit and the findings about it alone; `sample` (n,) are the rows that spreads come from."""
    kind, column = table.kinds.get(name, "text"), table.column(name)
    flaws = _flaws(table, name, kind)
    some = column if len(sample) == len(column) else column.take(pa.array(sample))
    facts: dict[str, Any] = {}
    chart: dict[str, Any] = {}
    top: tuple[tuple[str, int], ...] = ()
    values = number.parse(some)[0] if kind == "number" else np.zeros(0)
    distinct, sampled = _distinct(column, some, kind, values)
    match kind:
        case "number":
            facts, chart = _spread(values[np.isfinite(values)], name)
            facts |= _stand_in(values[np.isfinite(values)])
            facts |= {"units": units.currencies(text_of(some))} if is_text(some.type) else {}
        case "date":
            moments, _ = date.parse(some)
            facts, chart = _dates(moments[~np.isnat(moments)], name)
        case "numbers":
            values_NC = numbers.parse(some)[0]
            facts, chart = _spread(values_NC[np.isfinite(values_NC[:, 0]), 0], name)
        case "series":
            _, lengths = series.parse(pc.drop_null(some))
            facts, chart = _spread(lengths.astype(np.float64), tr("steps"))
        case "category":
            top = _top(values_of(some))
            chart = {"kind": "bars", "labels": [value for value, _ in top], "values": [count for _, count in top]}
            facts = {"alike": _alike(values_of(some)), "unlike": units.unlike(text_of(some))} | _nearly(some, distinct)
        case "boxes":
            top = _top(pa.chunked_array([[box.label for things in boxes.parse(some) for box in things]], pa.large_string()))
            chart = {"kind": "bars", "labels": [value for value, _ in top], "values": [count for _, count in top]}
        case "text":
            cells = values_of(some)
            lengths = pc.utf8_length(cells).drop_null().to_numpy().astype(np.float64)
            facts, chart = _spread(lengths, tr("characters"))
            top = tuple((value[:80], count) for value, count in _top(pc.utf8_slice_codeunits(cells, 0, 80))[:5] if count > 1)
            facts |= {"unlike": units.unlike(text_of(some))} | _nearly(some, distinct)
    facts |= {"bad": flaws.bad, "infinite": flaws.infinite} if kind in ("number", "numbers", "date") else {}
    known = len(table) - flaws.missing
    audit = ColumnAudit(
        name,
        kind,
        table.reasons.get(name, ""),
        flaws.missing,
        distinct,
        sampled,
        constant=distinct == 1 and kind not in ("series", *MEDIA) and known > 1,
        id_like=kind == "id" or _counts_rows(values, known, distinct), facts=facts, top=top, chart=chart,
    )  # fmt: skip
    return audit, _about(audit, flaws, len(table))


def _flaws(table: Table, name: str, kind: str) -> Flaws:
    """Exact, slice by slice."""
    column, flaws = table.column(name), Flaws()
    pieces = len(column) > ROWS  # of a single one the writing is found as it is read
    style = number.style_of(column.slice(0, ROWS)) if kind == "number" and pieces else None
    day = date.style_of(column.slice(0, ROWS)) if kind == "date" and pieces else None
    several = numbers.style_of(column) if kind == "numbers" else None
    for start in range(0, len(column), ROWS):
        piece = column.slice(start, ROWS)
        empty, bad = np.asarray(pc.is_null(piece).to_numpy(), dtype=bool), np.zeros(len(piece), bool)
        infinite = bad
        if kind == "number":
            values, bad = number.parse(piece, style)
            empty = np.isnan(values) & ~bad
            infinite = _infinite(piece, bad)
            bad = bad & ~infinite
        elif kind == "numbers":
            values_NC, bad = numbers.parse(piece, several)
            empty = np.isnan(values_NC[:, 0]) & ~bad
        elif kind == "date":
            moments, bad = date.parse(piece, day)
            empty = np.isnat(moments) & ~bad
        elif is_text(piece.type) and kind not in MEDIA:
            empty = np.asarray(pc.is_null(values_of(piece)).to_numpy(), dtype=bool)
        elif pa.types.is_floating(piece.type):
            empty = np.asarray(pc.is_null(piece, nan_is_null=True).to_numpy(), dtype=bool)
        flaws.missing, flaws.missing_rows = flaws.missing + int(empty.sum()), _first(flaws.missing_rows, empty, start)
        flaws.bad, flaws.bad_rows = flaws.bad + int(bad.sum()), _first(flaws.bad_rows, bad, start)
        flaws.infinite, flaws.infinite_rows = flaws.infinite + int(infinite.sum()), _first(flaws.infinite_rows, infinite, start)
    return flaws


def _infinite(piece: pa.ChunkedArray, bad: np.ndarray) -> np.ndarray:
    if not bad.any():
        return bad
    if not is_text(piece.type):
        return bad
    found = bad.copy()
    cells = pc.utf8_lower(text_of(pc.filter(piece, pa.array(bad))))
    found[bad] = np.asarray(pc.fill_null(pc.is_in(cells, pa.array(_INFINITE, pa.large_string())), False).to_numpy(), dtype=bool)
    return found


def _first(rows: tuple[int, ...], flags: np.ndarray, start: int) -> tuple[int, ...]:
    if len(rows) >= FIRST or not flags.any():
        return rows
    return rows + tuple(int(row) + start for row in np.flatnonzero(flags)[: FIRST - len(rows)])


def _distinct(column: pa.ChunkedArray, some: pa.ChunkedArray, kind: str, values: np.ndarray) -> tuple[int, bool]:
    """How many different values there are, and whether only those of the sample (`some`, as numbers `values`) were counted."""
    if kind in ("series", *MEDIA) or is_bytes(column.type) or pa.types.is_nested(column.type):
        return len(column) - column.null_count, False
    exact = column.nbytes <= MOST_COUNTED
    cells = column if exact else some
    if kind == "number":
        values = values if len(cells) == len(some) else number.parse(cells)[0]
        return len(np.unique(values[~np.isnan(values)])), not exact
    return int(pc.count_distinct(values_of(cells) if is_text(cells.type) else cells, mode="only_valid").as_py()), not exact


def _spread(values: np.ndarray, label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts and histogram of numbers (n,): bins between the 0.5 and 99.5 % points, the tails in the outer ones."""
    if not len(values):
        return {}, {}
    points = np.quantile(values, [0, 0.005, 0.25, 0.5, 0.75, 0.995, 1])
    with np.errstate(over="ignore", invalid="ignore"):
        facts = dict(zip(("min", "low", "q25", "median", "q75", "high", "max"), map(float, points), strict=True))
        facts |= {"mean": float(values.mean()), "std": float(values.std())}
    low, high = (points[1], points[5]) if points[5] > points[1] else (points[0], points[6])
    if not np.isfinite(high - low) or high <= low:
        low, high = low - 0.5, low + 0.5
    few = np.unique(values[:5000])
    bins = min(BINS, int(high - low) + 1) if len(few) <= BINS and np.all(few == np.round(few)) and high - low < BINS else BINS
    counts, edges = np.histogram(np.clip(values, low, high), bins=max(1, bins), range=(low, high))
    return facts, {
        "kind": "histogram", "edges": [float(edge) for edge in edges], "values": [int(count) for count in counts], "x_label": label,
    }  # fmt: skip


def _dates(moments: np.ndarray, label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if not len(moments):
        return {}, {}
    _, chart = _spread(moments.astype(np.int64).astype(np.float64), label)
    shown = 10 if chart["edges"][1] - chart["edges"][0] >= DAY else 16  # the hour says nothing where a bin holds days
    chart["labels"] = [str(np.datetime64(int(edge), "s"))[:shown].replace("T", " ") for edge in chart["edges"]]
    return {"min": str(moments.min()), "median": str(np.sort(moments)[len(moments) // 2]), "max": str(moments.max())}, chart


def _top(cells: pa.ChunkedArray) -> tuple[tuple[str, int], ...]:
    counted = pc.value_counts(pc.drop_null(cells))
    values, counts = counted.field("values"), counted.field("counts").to_numpy()
    order = np.argsort(-counts, kind="stable")[:BARS]
    return tuple((str(value), int(count)) for value, count in zip(values.take(pa.array(order)).to_pylist(), counts[order], strict=True))


def _alike(cells: pa.ChunkedArray) -> list[list[str]]:
    """Values that differ only in case, width or spaces, or of a column of nothing else are words for yes or no, together; the first few
    such groups.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for value in pc.unique(pc.drop_null(cells)).to_pylist()[:MOST_VALUES]:
        groups[" ".join(unicodedata.normalize("NFKC", str(value)).casefold().split())].append(str(value))
    if groups.keys() <= YES | NO:
        groups = {str(words): [value for key, values in groups.items() if key in words for value in values] for words in (YES, NO)}
    return [group for group in groups.values() if len(group) > 1][:FIRST]


def _stand_in(values: np.ndarray) -> dict[str, Any]:
    """A number of nines that is met often and far from all others: it stands for «no value» (-9999)."""
    for one in np.unique(values[np.isin(np.abs(values), NINES)]):
        others = values[values != one]
        if len(others) > 1 and len(values) - len(others) >= OFTEN * len(values):
            gap = others.min() - one if one < others.min() else one - others.max()
            if gap > FAR * max(np.ptp(others), 1e-9):
                return {"stand_in": float(one), "stands": 1 - len(others) / len(values)}
    return {}


def _nearly(cells: pa.ChunkedArray, distinct: int) -> dict[str, Any]:
    """What share of cells that are read as words are numbers, and a few that are none; nothing where most are none, or values are few."""
    values, bad = number.parse(cells)
    count, odd = int(np.isfinite(values).sum()), int(bad.sum())
    if distinct < NEARLY_VALUES or not odd or count < NEARLY * (count + odd):
        return {}
    return {"numbers": count / (count + odd), "odd": [value for value, _ in _top(values_of(cells.filter(pa.array(bad))))[:3]]}


def _counts_rows(values: np.ndarray, known: int, distinct: int) -> bool:
    """Whether a column's numbers (none of another kind) go up by one from row to row."""
    if not len(values) or known < 10 or distinct < known:
        return False
    return bool(np.all(np.abs(np.diff(values)) == np.abs(values[1] - values[0])) and values[0] == np.round(values[0]))


def _about(audit: ColumnAudit, flaws: Flaws, rows: int) -> list[Finding]:
    name, one = audit.name, (audit.name,)
    if flaws.missing == rows:
        said = tr("Column {name!r} is empty: it has no value in any row.", name=name)
        return [Finding("warning", "all_missing", said, one, (), tr("Leave it out, or fill it."))]
    found = _about_cells(audit, flaws, rows)
    if audit.constant and flaws.missing:
        said = tr("Column {name!r} has one value in all rows that have any: whether its cell is empty is all that it says.", name=name)
        found.append(Finding("warning", "constant", said, one, (), tr("Leave it out if that is only known afterwards.")))
    elif audit.constant:
        said = tr("Column {name!r} has one value in all rows and says nothing.", name=name)
        found.append(Finding("warning", "constant", said, one, (), tr("Leave it out.")))
    elif audit.id_like:
        said = tr("Column {name!r} names rows.", name=name)
        apart = tr("It is not learned from; --kind {name}=category makes it an input.", name=flagged(name))
        remedy = apart if audit.kind == "id" else tr("It should not be learned from; --ignore {name} leaves it out.", name=flagged(name))
        found.append(Finding("note", "id", said, one, (), remedy))
    return found


def _about_cells(audit: ColumnAudit, flaws: Flaws, rows: int) -> list[Finding]:
    name, one, found = audit.name, (audit.name,), []
    if flaws.missing and audit.kind != "id":
        share = flaws.missing / rows
        said = tr("Column {name!r} lacks {count} of {rows} values ({share:.1%}).", name=name, count=flaws.missing, rows=rows, share=share)
        remedy = tr("Rows without their file are left out.") if audit.kind in MEDIA else tr("Missing cells are learned as such.")
        found.append(Finding("warning" if share > 0.5 else "note", "missing", said, one, flaws.missing_rows, remedy))
    if alike := audit.facts.get("alike"):
        told = "; ".join(" = ".join(repr(value[:40]) for value in group) for group in alike)
        said = tr("Values of {name!r} seem to mean the same and count as different ones: {told}.", name=name, told=told)
        found.append(Finding("warning", "alike", said, one, (), tr("Write them alike where they mean the same.")))
    if (stand_in := audit.facts.get("stand_in")) is not None:
        share = audit.facts["stands"]
        said = tr("{share:.1%} of the cells of {name!r} are {number:g}, far from all others: it seems to stand for a missing value.",
                  share=share, name=name, number=stand_in)  # fmt: skip
        found.append(Finding("warning", "stand_in", said, one, (), tr("Empty these cells where they mean that nothing is known.")))
    if odd := audit.facts.get("odd"):
        facts = {"name": name, "share": audit.facts["numbers"], "odd": ", ".join(repr(value[:20]) for value in odd), "kind": tr(audit.kind)}
        said = tr(
            "Of the cells of {name!r} that have a value {share:.0%} are numbers, others are none ({odd}): it is read as {kind}.", **facts
        )
        remedy = tr("--kind {name}=number reads the others as missing.", name=flagged(name))
        found.append(Finding("warning", "nearly_numbers", said, one, (), remedy))
    if met := audit.facts.get("units"):
        said = tr("Amounts of {name!r} are in several currencies ({units}), and a number counts the same in each.", name=name,
                  units=", ".join(met))  # fmt: skip
        found.append(Finding("warning", "units", said, one, (), tr("Convert them, or put the unit into a column of its own.")))
    if met := audit.facts.get("unlike"):
        said = tr("The cells of {name!r} are numbers in several units ({units}) that are no one scale: it is read as {kind}.",
                  name=name, units=", ".join(met), kind=tr(audit.kind))  # fmt: skip
        found.append(Finding("warning", "units", said, one, (), tr("Convert them, or put the unit into a column of its own.")))
    if flaws.infinite:
        said = tr("Column {name!r} holds {count} infinite values.", name=name, count=flaws.infinite)
        remedy = tr("They are read as missing; fix them if they mean something.")
        found.append(Finding("warning", "infinite", said, one, flaws.infinite_rows, remedy))
    if flaws.bad:
        what = tr("dates") if audit.kind == "date" else tr("numbers")
        said = tr("Column {name!r} holds {count} cells that are no {what}.", name=name, count=flaws.bad, what=what)
        remedy = tr("They are read as missing; fix them, or set --kind {name}=category.", name=flagged(name))
        found.append(Finding("warning", "bad_cells", said, one, flaws.bad_rows, remedy))
    return found


def words(name: str) -> str:
    """A column name as lower-case words: userId, user_id and «User ID» alike."""
    return re.sub(r"[\W_]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", name)).strip().lower()
