"""Tables of one row for each observation (id, time, value), joined into one row for each id.

    id  time   pulse  label          id  pulse             label
    a   09:00  61     well           a   [61, 64, ...]     well
    a   10:00  64     well    ─>     b   [90, 88, 93, ...] sick
    b   09:00  90     sick
Numbers that change within an id become series, in order of time; what stays the same is kept as it is.
Legend: N rows, G ids.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.kinds import KINDS, number, tells_when
from duomo.core.kinds.base import Cells
from duomo.core.kinds.cells import codes_of, text_of, values_of
from duomo.core.messages import tr
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Reporter
from duomo.core.table import Table
from duomo.data import ahead, dated, objects, rasters
from duomo.data.folders import scans
from duomo.data.formats import series

LEAST = 4
"""Rows of an id, on average, from which they may be a series."""


def settle(table: Table, data: DataConfig, reporter: Reporter) -> tuple[Table, DataConfig]:
    """The table with the rows of each id joined, where `data.join` asks for it, and the settings with the column that orders them."""
    if not data.join:
        return table, data
    by, order = data.join[0], data.join[1] if len(data.join) > 1 else data.time or _only_date(table)
    codes_N = codes_of(text_of(table.column(by)))
    order_N = _sorted(table, codes_N, order)
    others = [name for name in table.names if name not in (by, order if order != data.time else "")]
    changing = [name for name in others if name != order and _changes(table, name, codes_N)]
    for name in changing:
        if name in data.target:
            raise DataError("Rows that are joined to one series must agree in what is to be predicted; {target!r} changes within "
                            "{by!r}. Join by another column, or name another target.", target=name, by=by)  # fmt: skip
    series = [name for name in changing if table.kinds[name] == "number"]
    if not series:
        raise DataError("A series needs a column of numbers that changes within {by!r}; there is none. Leave --join out.", by=by)
    dropped = [name for name in changing if name not in series]
    found = _joined(table, by, order_N, codes_N, series, [name for name in others if name not in changing])
    told = {"rows": len(table), "count": len(found), "by": by, "columns": ", ".join(series), "order": order or tr("the file")}
    reporter.say(tr("{rows:,} rows were joined to {count:,} series, one for each {by!r}, in order of {order}: {columns}.", **told))
    if dropped:
        reporter.say(tr("Left out, because they change within {by!r} and are no numbers: {names}.", by=by, names=", ".join(dropped)))
    return found, dataclasses.replace(data, join=(by, order) if order else (by,))


def again(table: Table, join: Sequence[str], kinds: Mapping[str, str], wanted: Sequence[str] = (), past: ahead.Past | None = None) -> Table:
    """Further rows, drawn, spread, joined and told of the past as those that a run with these kinds learned from, with empty columns for
    those of `wanted` that no row happens to have; what is so already stays."""
    table = ahead.again(_series_again(objects.again(rasters.again(table, kinds), kinds), join, kinds), past)
    return scans.completed(objects.filled(series.completed(table, kinds), wanted), wanted)


def _series_again(table: Table, join: Sequence[str], kinds: Mapping[str, str]) -> Table:
    series = [name for name, kind in kinds.items() if kind == "series" and name in table.names]
    if not join or join[0] not in table.names or not series:
        return table
    if all(KINDS["series"].recognise(name, Cells(table.column(name), None)) for name in series):
        return table
    codes_N = codes_of(text_of(table.column(join[0])))
    order_N = _sorted(table, codes_N, join[1] if len(join) > 1 else "")
    return _joined(table, join[0], order_N, codes_N, series, [name for name in table.names if name in kinds and name not in series])


def recognised(table: Table, target: str, groups: Collection[str], times: Collection[str]) -> tuple[str, str] | None:
    """The columns that name and order the rows of a series, where each has several rows and one value of the target."""
    order = next(iter(times), next((name for name in table.of_kind("number") if name != target and tells_when(name)), ""))
    for by in groups if order and target in table.names else ():
        codes_N = codes_of(text_of(table.column(by)))
        if len(table) < LEAST * (codes_N.max() + 1) or _changes(table, target, codes_N):
            continue
        if any(_changes(table, name, codes_N) for name in table.of_kind("number") if name not in (by, order, target)):
            return by, order
    return None


def _only_date(table: Table) -> str:
    found = table.of_kind("date")
    if len(found) > 1:
        raise DataError("What orders the rows of a series must be known; there are several columns of dates: {names}. Name one after the "
                        "column that joins, with a comma between them.", names=", ".join(found))  # fmt: skip
    return found[0] if found else ""


def _sorted(table: Table, codes_N: np.ndarray, order: str) -> np.ndarray:
    """(N,) row numbers: id by id, each in order of time, else as they stand; rows without an id are left out."""
    key_N = np.arange(len(codes_N), dtype=np.float64)
    if order:
        moments, odd = dated.moments(table, order)
        read = order not in table.names or (not odd.any() and not np.isnat(moments).all())
        key_N = np.where(np.isnat(moments), np.inf, moments.astype(np.int64)) if read else number.parse(table.column(order))[0]
        if np.isnan(key_N).all():
            raise DataError("Rows are ordered by dates or numbers; {order!r} holds neither. Name another column.", order=order)
    rows = np.lexsort((key_N, codes_N))
    return rows[codes_N[rows] >= 0]


def _changes(table: Table, name: str, codes_N: np.ndarray) -> bool:
    """Whether some id has two values in the column."""
    value_N = codes_of(values_of(table.column(name)))
    known = (codes_N >= 0) & (value_N >= 0)
    pairs = np.unique(codes_N[known] * (value_N.max(initial=0) + 1) + value_N[known])
    return len(pairs) > len(np.unique(codes_N[known]))


def _joined(table: Table, by: str, order_N: np.ndarray, codes_N: np.ndarray, series: Sequence[str], kept: Sequence[str]) -> Table:
    """One row for each id: `series` as lists, of `kept` the first cell that is not empty."""
    if not len(order_N):
        raise DataError("Rows are joined by what names them; {by!r} is empty in every row. Name another column.", by=by)
    start_G = np.flatnonzero(np.diff(codes_N[order_N], prepend=-1))
    offsets = pa.array(np.append(start_G, len(order_N)), pa.int64())
    cells: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name in table.names:
        if name in series:
            values = number.parse(table.column(name))[0][order_N]
            cells[name] = pa.LargeListArray.from_arrays(offsets, pa.array(values, pa.float64(), mask=~np.isfinite(values)))
        elif name == by or name in kept:
            there = np.asarray(pc.is_valid(values_of(table.column(name))).to_numpy(), bool)[order_N]
            place_G = np.minimum.reduceat(np.where(there, np.arange(len(order_N)), len(order_N)), start_G)
            cells[name] = table.column(name).take(pa.array(order_N[np.where(place_G < len(order_N), place_G, start_G)]))
    reason = tr("numbers of several rows, in order of time")
    kinds = {name: "series" if name in series else table.kinds.get(name, "category") for name in cells}
    reasons = {name: reason if name in series else table.reasons.get(name, "") for name in cells}
    return dataclasses.replace(table, data=pa.table(cells), kinds=kinds | {by: "id"}, reasons=reasons)
