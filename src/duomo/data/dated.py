"""When each row was made: a column of dates, or a year, a month, a day and an hour in columns of their own (`year,month,day,hour`)."""

import re

import numpy as np

from duomo.core.kinds import date, number
from duomo.core.table import Table
from duomo.data.profile import words

PARTS = {
    "year": (re.compile(r"year|yr|yyyy|年份?"), 1000, 2999),
    "month": (re.compile(r"month|mon|mm|mo|月份?"), 1, 12),
    "day": (re.compile(r"day|dd|dom|day of month|mday|日"), 1, 31),
    "hour": (re.compile(r"hour|hr|hh|小?时"), 0, 24),
}
"""What columns of parts of a date are called, and between which numbers these are; the largest unit first."""


def named(table: Table, time: str) -> tuple[str, ...]:
    """The columns that `time` names: one, or parts of a date between commas."""
    return (time,) if time in table.names or "," not in time else tuple(name.strip() for name in time.split(","))


def moments(table: Table, time: str) -> tuple[np.ndarray, np.ndarray]:
    """When each row was made: (N,) datetime64[s], NaT where it is not known; and bool (N,) where a cell is there and yet no date."""
    columns = named(table, time)
    found = date.parse(table.column(columns[0])) if len(columns) == 1 else None
    if found is not None and not (found[1].any() and np.isnat(found[0]).all()):  # years alone are no dates, but tell the time
        return found
    values = [number.parse(table.column(name))[0] for name in columns]
    filled_N = np.isfinite(values).all(axis=0)
    known_N = filled_N & np.all(
        [(low <= some) & (some <= high) for some, (_, low, high) in zip(values, PARTS.values(), strict=False)], axis=0
    )
    if found is not None and not known_N.any():
        return found
    year, month, day, hour = (
        np.where(known_N, values[place], 1).astype(np.int64) if place < len(values) else np.full(len(table), least, np.int64)
        for place, least in enumerate((1970, 1, 1, 0))
    )
    months: np.ndarray = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    days: np.ndarray = months.astype("datetime64[D]") + (day - 1)
    return np.where(known_N, days.astype("datetime64[s]") + 3600 * hour, np.datetime64("NaT")), filled_N & ~known_N


def in_parts(table: Table, target: str, least: int = 2) -> str:
    """The columns of a year, a month, and a day and an hour where there are any, between commas; empty where fewer of them are there."""
    found: list[str] = []
    for called, low, high in PARTS.values():
        fits = (name for name in table.names if name != target and called.fullmatch(words(name)) and _within(table, name, low, high))
        if not (name := next(fits, "")):
            break
        found.append(name)
    return ",".join(found) if len(found) >= least else ""


def _within(table: Table, name: str, low: int, high: int) -> bool:
    if table.kinds.get(name) not in ("number", "category"):
        return False
    values = number.parse(table.column(name))[0]
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool((values == np.round(values)).all() and values.min() >= low and values.max() <= high)
