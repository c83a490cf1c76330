"""Rows at a table's end that sum up those above (Total, Average, 合计): they are no examples, and one can spoil all that is learned.

They are left out of what is learned from and judged by; who asks for answers gets a row for each that came. Legend: N rows.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.kinds import number
from duomo.core.kinds.cells import is_number, is_text, text_of
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.formats.space_delimited import NUMBER

MOST, FEWEST = 6, 3
"""Such rows, with empty ones and remarks among them, and rows above them, at least."""
NEAR = 0.005
"""A sum or mean of rounded numbers is met to within this share."""
EMPTY = 2
"""Cells of other columns of words that are empty in such a row and in few above."""
WORDS = (
    r"(?i)^\W*((grand|sub|overall|sum)?[- ]?totals?|sums?|averages?|avg\.?|mean|(zwischen|gesamt)?summe|gesamt|insgesamt|durchschnitt"
    r"|mittelwert|total (general|général|generale)|somme|moyenne|suma|promedio|media"
    r"|合\s*计|总\s*计|共\s*计|小\s*计|平\s*均值?|均\s*值|总\s*和|总\s*数|汇\s*总)\W*$"
)
SECTION, LONGEST = (
    r"(?i)^\W*((sub|grand)?[- ]?totals?|(zwischen|gesamt)?summe|sum|(小|合|总)\s*计)(\W|$)|(^|\W)(sub-?)?totals?\W*$|(小|合|总)\s*计$",
    100_000,
)
"""What such a row of a section is called, and rows of a table that is looked through for them."""


def read(source: Any, encoding: str = "", wanted: Collection[str] = ()) -> Table:
    """A source as a table to learn from or to judge by; `wanted`: columns that are asked for as they stand."""
    return without_totals(sources.read(source, encoding=encoding, wanted=wanted))


def without_totals(table: Table) -> Table:
    """The table up to such rows, with a sentence on them; as it was where there are none, or where one may be an example.

    No row above may be called so, and each must have the sum or the mean of a column, or be empty where others have words.
    """
    table = _without_sections(table)
    found, body = _called_so(table.data)
    if not found or body < FEWEST or any(_occurs(table.data.column(name), body) for name in {name for _, name in found}):
        return table
    if not all(_sums_up(table.data, body, row, name) for row, name in found):
        return table
    shown = [" ".join(map(_shown, _filled(row).values()))[:40] for row in table.data.slice(body).to_pylist()]
    said = tr("Left out at the end, for the rows above are summed up there: {rows}.", rows="; ".join(filter(None, shown)))
    return replace(table, data=table.data.slice(0, body), problems=(*table.problems, said))


def _without_sections(table: Table) -> Table:
    """The table without rows that sum up the section above each (Total North, 小计), or all so far: called so, and the sums are right."""
    called_N = np.zeros(len(table), bool)
    for column in table.data.columns if len(table) <= LONGEST else ():
        if is_text(column.type):
            called_N |= np.asarray(pc.fill_null(pc.match_substring_regex(text_of(column), SECTION), False), bool)
    rows = np.flatnonzero(called_N)
    if len(rows) < 2 or FEWEST * len(rows) > len(table):
        return table
    told_R = met_R = np.zeros(len(rows))
    for column in table.data.columns:
        values_N = number.parse(column)[0] if is_number(column.type) or is_text(column.type) else np.zeros(0)
        if np.isfinite(values_N[~called_N] if len(values_N) else values_N).sum() * 2 <= (~called_N).sum() or len(np.unique(values_N)) < 4:
            continue
        whole_R = np.cumsum(np.where(called_N, 0.0, np.nan_to_num(values_N)))[rows]
        found_R = values_N[rows]
        near = [np.abs(found_R - sums_R) <= NEAR * np.abs(sums_R) for sums_R in (whole_R, np.diff(whole_R, prepend=0.0))]
        told_R, met_R = told_R + np.isfinite(found_R), met_R + (near[0] | near[1])
    if not (told_R > 0).all() or not (2 * met_R >= told_R).all():
        return table
    shown = [" ".join(map(_shown, _filled(row).values()))[:40] for row in table.data.take(pa.array(rows[:3])).to_pylist()]
    said = tr("{count:,} rows are left out, for they sum up the rows above them: {rows}.", count=len(rows), rows="; ".join(shown))
    return replace(table.take(np.flatnonzero(~called_N)), problems=(*table.problems, said))


def _called_so(data: pa.Table) -> tuple[list[tuple[int, str]], int]:
    """The last rows that are called so, with the column that says it; and how many rows are above them, empty ones not counted.

    Below them a remark may stand alone in its row.
    """
    found = list[tuple[int, str]]()
    for row in range(len(data) - 1, max(len(data) - MOST, 0) - 1, -1):
        cells = _filled(data.slice(row, 1).to_pylist()[0])
        name = next((name for name, cell in cells.items() if isinstance(cell, str) and not NUMBER.fullmatch(cell.strip())), "")
        called = bool(name) and re.match(WORDS, cells[name]) is not None
        remark = len(cells) == 1 and data.num_columns > 2 and not found
        if cells and not called and not remark:
            return found[::-1], row + 1
        found += [(row, name)] if called else []
    return [], len(data)


def _filled(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in row.items() if cell is not None and cell != "" and str(cell).strip()}


def _shown(cell: Any) -> str:
    return f"{cell:g}" if isinstance(cell, float) else str(cell)


def _occurs(column: pa.ChunkedArray, body: int) -> bool:
    """Whether a row above is called so."""
    return bool(pc.any(pc.match_substring_regex(text_of(column.slice(0, body)), WORDS)).as_py())


def _sums_up(data: pa.Table, body: int, row: int, name: str) -> bool:
    """Whether half of the row's numbers are sums or means of those above; where there are none, whether it is empty where most rows have
    words, or everywhere."""
    if data.num_columns > 2 and len(_filled(data.slice(row, 1).to_pylist()[0])) == 1:
        return True
    empty = told = met = 0
    for other in (other for other in data.column_names if other != name):
        column = data.column(other)
        if not (is_number(column.type) or is_text(column.type)):
            continue
        values_N, bad_N = number.parse(column)
        above = values_N[:body][np.isfinite(values_N[:body])]
        if 2 * len(above) > body and len(np.unique(above)) > 2 and np.isfinite(values_N[row]):  # zeros and ones sum up to any cell
            told += 1
            met += any(abs(values_N[row] - one) <= NEAR * abs(one) for one in (above.sum(), above.mean()))
        empty += bool(2 * bad_N[:body].sum() > body and not bad_N[row] and not np.isfinite(values_N[row]))
    return 2 * met >= told > 0 or (empty >= EMPTY and not told)
