"""What of a table cannot be learned from or answered: pictures, sounds and films that do not open, columns without a value."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.kinds import audio, media, text
from duomo.core.kinds.base import Cells
from duomo.core.kinds.cells import is_text, text_of, values_of
from duomo.core.messages import tr
from duomo.core.table import MEDIA, Table, evenly
from duomo.core.tensors import Examples
from duomo.data import spill
from duomo.data.encode import Learned, broken, named

LOOKED_AT = 2000
USUAL = 0.05
"""Share of texts of which only the beginning is read that is not worth a sentence: what 98 % of them need is read."""
NAMED = 20
"""Broken files that a sentence names; the others are counted."""


def readable(table: Table, ignore: Sequence[str] = ()) -> tuple[np.ndarray, list[str]]:
    """Which rows (N,) have only pictures, sounds and films that open, and a sentence that counts and names the others.

    DataError where no row of a table that has rows is left.
    """
    found = broken(table, [name for name in table.of_kind(*MEDIA) if name not in ignore])
    mask = np.ones(len(table), bool)
    mask[[one.row for one in found]] = False
    if not found:
        return mask, []
    names = named(found, NAMED)
    more = tr(" and {count} more", count=len(found) - NAMED) if len(found) > NAMED else ""
    if not mask.any():
        raise DataError(
            "At least one picture, sound or film must open; of {rows} none does: {names}{more}.", rows=len(table), names=names, more=more
        )
    left_out = tr("{count} of {rows} rows have a picture, sound or film that cannot be read and are left out: {names}{more}.",
                  count=int((~mask).sum()), rows=len(table), names=names, more=more)  # fmt: skip
    return mask, [left_out]


def opening(table: Table, ignore: Sequence[str] = ()) -> tuple[Table, list[str]]:
    """The rows of which all files open, and the same sentence."""
    opens, why = readable(table, ignore)
    return table if opens.all() else spill.part(table, np.flatnonzero(opens)), why


def unheard(table: Table, ignore: Sequence[str], seconds: float) -> list[str]:
    """A sentence for each column with sounds that go on where reading ends (after `seconds`, or the usual ones where 0)."""
    said, most = [], seconds or audio.LONGEST
    for name in (name for name in table.of_kind("audio") if name not in ignore):
        count, rows = _longer(table, name, most)
        if count:
            said.append(tr("{count:,} of {rows:,} sounds looked at go on after {longest:g} s, of which the model hears nothing: "
                           "--longest-sound 60 reads a minute.", count=count, rows=rows, longest=most))  # fmt: skip
    return said


def overlong(table: Table, heard: Mapping[str, float]) -> list[str]:
    """The same of rows to answer or to judge by; `heard`: the seconds that a finished model hears of each column."""
    said = []
    for name, most in heard.items():
        count, rows = _longer(table, name, most)
        if count:
            said.append(tr("{count:,} of {rows:,} sounds looked at are longer than those that the model learned from: of each it hears "
                           "the first {longest:.1f} s only.", count=count, rows=rows, longest=most))  # fmt: skip
    return said


def half_read(column: str, size_N: np.ndarray, longest: int, usual: float = 0.0) -> list[str]:
    """A sentence where texts of a column have more tokens than are read of one; `usual`: the share of which nothing is said."""
    if (count := int((size_N > longest).sum())) <= usual * len(size_N):
        return []
    return [tr("{count:,} of {rows:,} texts have more than {longest:,} tokens in column {column!r}: of these only the beginning is read. "
               "--longest-text sets how many are.", count=count, rows=len(size_N), column=column, longest=longest)]  # fmt: skip


def half_read_columns(table: Table, examples: Examples, learned: Sequence[Learned]) -> list[str]:
    """The same of columns among others, where it is more than the few of which that is usual (`text.kept`)."""
    said = []
    for one in (one for one in learned if one.kind == "text"):
        size_N, longest = np.array(examples.columns[f"text:{one.column}"].lengths()), int(one.state["longest"])
        full = np.flatnonzero(size_N >= longest)
        size_N[full] = text.sizes(one.state, text_of(table.column(one.column).take(pa.array(full))).to_pylist())
        said += half_read(one.column, size_N, longest, USUAL)
    return said


def _longer(table: Table, name: str, seconds: float) -> tuple[int, int]:
    """Of some sounds of a column, those that are longer, and all that open."""
    rows = evenly(len(table), LOOKED_AT)
    looks = media.decode_all(media.sources(Cells(table.column(name).take(rows), table.root)), audio.look)
    found = [look for look in looks if isinstance(look, audio.Look)]
    return sum(look.frames > (seconds + 0.01) * look.rate for look in found), len(found)


def without_void(table: Table, keep: Sequence[str] = ()) -> tuple[Table, list[str]]:
    """The table without the columns that have no value in any row, and a sentence that names them; `keep` stays."""
    void = [name for name in table.names if name not in keep and _void(table, name)]
    if not void:
        return table, []
    return table.without(void), [tr("Columns without a single value are left out: {names}.", names=", ".join(void))]


def _void(table: Table, name: str) -> bool:
    column = table.column(name)
    if column.null_count == len(column):
        return True
    if not is_text(column.type):
        return False
    return bool(values_of(column.slice(0, 1000)).null_count == min(1000, len(column)) and values_of(column).null_count == len(column))
