"""Rows that follow one another without a date: what a machine measured moment after moment, what one thing was measured several times.

Drawn one by one, such rows lie beside near copies of themselves on the other side of the split, and the test is too kind; drawn as
blocks of neighbours they do not. Whether they follow is seen from their columns: in a file whose order means nothing, the next row is no
more like a row than the twentieth after it.
Legend: N rows, B blocks.
"""

import numpy as np

from duomo.core.kinds import number
from duomo.core.kinds.cells import codes_of, values_of
from duomo.core.table import MEDIA, Table

FEWEST, LOOKED_AT, LEAST = 200, 20_000, 3
"""Rows without which nothing is told; rows that are looked at; columns that have to vary."""
FAR, NEARER, SHARE = 20, 0.7, 0.8
"""How many rows on another is far; a column follows where the next row differs by less than this part of what a far one and what any
other differs by; the share of the columns that have to."""
BLOCKS, SHORTEST = 64, 10
"""Blocks that a file is cut into, at least half as many, and the rows that each needs."""


def blocks(rows: int) -> np.ndarray:
    """(N,) the block of each row. Their size is a power of two: rows that are appended join new blocks and move none, until they are
    as many again."""
    size = 2 ** int(np.ceil(np.log2(max(SHORTEST, rows / BLOCKS))))
    return np.arange(rows) // size


def following(table: Table, target: str) -> tuple[int, int]:
    """In how many columns the next row is more like a row than far ones are, and how many were looked at; nothing for few rows, media and
    texts, and rows in order of the target. Where the target is a class only rows of one are compared, for files are sorted by it."""
    names = [name for name in table.of_kind("number", "category") if name != target]
    if len(table) < FEWEST or table.of_kind(*MEDIA, "text") or len(names) < LEAST:
        return 0, 0
    table = table.take(np.arange(min(len(table), LOOKED_AT)))
    answer_N = _order(table, target) if target in table.names else np.zeros(len(table))
    if table.kinds.get(target) != "category":
        if _sorted(answer_N) and answer_N[0] != answer_N[-1]:
            return 0, 0
        answer_N = np.zeros(len(table))
    pairs = [np.flatnonzero(answer_N[apart:] == answer_N[:-apart]) for apart in (1, FAR)]
    if min(map(len, pairs)) < FEWEST / 2:
        return 0, 0
    any_N = np.random.default_rng(0).permutation(len(table))
    alike = looked = 0
    for name in names:
        order_N = _order(table, name)
        if order_N.max() > 1 and not _sorted(order_N):
            unlike = np.not_equal if table.kinds[name] == "category" else _apart
            next_one, far_one = (
                unlike(order_N[rows_M + apart], order_N[rows_M]).mean() for rows_M, apart in zip(pairs, (1, FAR), strict=True)
            )
            looked, alike = looked + 1, alike + bool(next_one < NEARER * min(far_one, unlike(order_N, order_N[any_N]).mean()))
    return (alike, looked) if looked >= LEAST and alike >= SHARE * looked else (0, looked)


def _order(table: Table, name: str) -> np.ndarray:
    """(N,) numbers by size, classes as they are met, both counted from 0; what is missing stands apart."""
    if table.kinds.get(name) == "number":
        return np.unique(np.nan_to_num(number.parse(table.column(name))[0], nan=np.inf), return_inverse=True)[1]
    return codes_of(values_of(table.column(name)))


def _apart(one_M: np.ndarray, other_M: np.ndarray) -> np.ndarray:
    return np.abs(one_M - other_M)


def _sorted(order_N: np.ndarray) -> bool:
    step_N = np.diff(order_N)
    return bool((step_N >= 0).all() or (step_N <= 0).all())
