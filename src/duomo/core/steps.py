"""Tables whose columns are the steps of one series: t0, t1, ... t149. Legend: N rows, T steps."""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from duomo.core.kinds import number
from duomo.core.table import Table, evenly

COUNTED = re.compile(r"^(.*?)[ _.-]?(\d+)$")
FEWEST = 16
"""Columns of numbers with one name and counted on, from which they may be steps."""
ROWS = 500
SMOOTH = 0.5
"""Neighbours differ by less than this share of what two steps of a row, drawn at random, do: 1 where columns are in no order."""


def counted(names: Sequence[str]) -> list[str]:
    """The longest run of names that differ in a number alone and are counted on by one, in that order; none where it is short.

    Squares of numbers from 8 × 8 on are rasters of pictures.
    """
    found: dict[str, dict[int, str]] = {}
    for name in names:
        if match := COUNTED.match(name):
            found.setdefault(match[1], {})[int(match[2])] = name
    runs = []
    for places in found.values():
        order = sorted(places)
        cuts = [0, *(np.flatnonzero(np.diff(order) != 1) + 1), len(order)]
        runs += [[places[place] for place in order[start:end]] for start, end in itertools.pairwise(cuts)]
    best = max(runs, key=len, default=[])
    raster = len(best) >= 64 and int(len(best) ** 0.5) ** 2 == len(best)
    return best if len(best) >= FEWEST and not raster else []


def smooth(values_NT: np.ndarray) -> bool:
    """Whether neighbours are much more alike than steps far apart, row by row: in genes or answers to a survey they are not.

    Zeros and ones are marks of a thing (bits of a molecule, what was ticked), and like ones stand together without being steps.
    """
    values_NT = values_NT[:: max(1, len(values_NT) // ROWS)]
    if values_NT.ndim != 2 or values_NT.shape[1] < FEWEST or not len(values_NT) or np.isin(values_NT[np.isfinite(values_NT)], (0, 1)).all():
        return False
    other_NT = values_NT[:, np.random.default_rng(0).permutation(values_NT.shape[1])]
    near, far = np.nanmean(np.abs(np.diff(values_NT, axis=1))), np.nanmean(np.abs(values_NT - other_NT))
    return bool(near < SMOOTH * far)


def steps_of(table: Table, names: Sequence[str]) -> list[str]:
    """Those of the columns that are the steps of one series, in order; none where they are no series."""
    found = counted([name for name in names if table.kinds.get(name) == "number"])
    if not found:
        return []
    some = table.take(evenly(len(table), ROWS))
    return found if smooth(np.stack([number.parse(some.column(name))[0] for name in found], axis=1)) else []
