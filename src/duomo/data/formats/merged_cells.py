"""Merged cells of a sheet: what one says holds for all its rows, and above the column names for all its columns.

      Q1            Q2                          Region  Q1 Plan  Q1 Actual  Q2 Plan  Q2 Actual
Region  Plan  Actual  Plan  Actual     ─>       Nord    38.2     33.0       39.1     40.1
Nord    38.2  33.0    39.1  40.1                Nord    ...
        ...   (Nord is merged downwards)
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from duomo.core.messages import tr

Range = tuple[tuple[int, int], tuple[int, int]]
"""Row and column of the first cell and of the last."""
HIGHEST = 5
"""Rows among which groups of columns may be named."""
LOOKED_AT = 20
"""Rows below them that tell names from data."""


def unmerged(rows: list[list[Any]], ranges: Sequence[Range], start: tuple[int, int]) -> tuple[list[list[Any]], tuple[str, ...]]:
    """Rows with one line of column names and with merged cells filled, and what was done; `start` is where the first of the rows is."""
    width = max(map(len, rows), default=0)
    moved = [(top - start[0], left - start[1], bottom - start[0], right - start[1]) for (top, left), (bottom, right) in ranges]
    inside = [place for place in moved if min(place) >= 0 and place[2] < len(rows) and place[3] < width]
    if sum(bottom - top + 1 for top, _, bottom, _ in inside) > len(rows) * width:  # they overlap, as in no book that a person made
        return rows, ()
    high = Counter[tuple[int, int]]()
    for top, left, bottom, right in inside:
        high[top, bottom] += right + 1 - left
    down = [(top, left, bottom) for top, left, bottom, _ in inside if bottom > top and high[top, bottom] < width]  # else the row is high
    for top, left, bottom in down:
        for row in rows[top + 1 : bottom + 1]:
            row[left] = rows[top][left]
    said, names = list[str](), 0
    for place in reversed(range(min(HIGHEST, len(rows) - 1))):
        spans = [(left, right) for top, left, bottom, right in inside if top <= place <= bottom and right > left]
        if _groups(rows[place : place + 2 + LOOKED_AT], spans):
            rows[place : place + 2] = [_joined(rows[place], rows[place + 1], spans)]
            said = [tr("Two lines of column names were joined: {names}.", names=", ".join(map(str, rows[place][:6])))]
            names = max(names, place + 1)
    if filled := {left for top, left, _ in down if top > names}:
        said.append(tr("What a merged cell says holds for each of its rows, in {count} columns.", count=len(filled)))
    return rows, tuple(said)


def _groups(rows: Sequence[Sequence[Any]], spans: Sequence[tuple[int, int]]) -> bool:
    """Whether the first row names groups of columns: it has a merged cell beside others, and below each stand names.

    These are no row of data: above some there is no group or the name itself, or below some there are numbers; below groups there are
    where columns that are of no group have their names above.
    """
    (above, names), body = rows[:2], rows[2:]
    told = sum(cell not in ("", None) for cell in above)
    if told < 2 or not any(above[left] not in ("", None) for left, _ in spans):
        return False
    spanned = {column for left, right in spans for column in range(left, right + 1)}
    unnamed = [column for column, name in enumerate(names) if not (isinstance(name, str) and name)]
    if unnamed:
        alone = all(column not in spanned and isinstance(above[column], str) and above[column] for column in unnamed)
        return alone and any(isinstance(row[column], int | float) for row in body for column in spanned)
    open_ = any(above[column] in ("", None, names[column]) for column in range(len(names)) if column not in spanned)
    return open_ or any(isinstance(row[column], int | float) for row in body for column in range(len(names)))


def _joined(above: Sequence[Any], names: Sequence[Any], spans: Sequence[tuple[int, int]]) -> list[str]:
    groups = ["" if cell is None else str(cell).strip() for cell in above]
    for left, right in spans:
        groups[left : right + 1] = [groups[left]] * (right + 1 - left)
    pairs = zip(groups, ("" if name is None else str(name).strip() for name in names), strict=True)
    return [name or group if group in ("", name) or not name else f"{group} {name}" for group, name in pairs]
