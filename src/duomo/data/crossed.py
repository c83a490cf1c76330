"""Rows that are pairs of things of two sorts: who rated which film, who answered which question, which shop sold which article.

Each pair is met once, though chance would have some met often, and most pairs are not met at all: the model will be asked for these. So
both columns are names to learn of (categories, however many), and no split keeps one side's names apart; `--group` does, for a test of new
ones. Dated rows are split by time where later ones are mostly of names that were met before.
Legend: N rows, P names of one column.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from duomo.core.kinds import number, tells_when
from duomo.core.kinds.cells import THINGS, codes_of, text_of
from duomo.core.messages import tr
from duomo.core.recipe import DataConfig, EncodeConfig
from duomo.core.table import MEDIA, Table
from duomo.data import dated
from duomo.data.leaks import group_columns

FEWEST, OFTEN, MOST = 30, 3, 50_000
"""Names of each sort, at least; rows of each name, on average; names that are told apart."""
CHANCE, AGAIN = 20, 0.1
"""Rows that would repeat an earlier pair if names met by chance, at least, and the part of them that do, at most."""
FULL = 0.5
"""Share of all pairs from which they are a plan that was carried out: new ones would be of new names."""
STEADY = 0.5
"""Share of one name's rows, or of the names, from which what stays is no chance: steps of a count, a target that tells of the name."""
GROWS = 0.9
"""Share of the steps from one row of a name to its next."""
KNOWN = 0.5
"""Share of the last rows whose names both were met before."""
LAST = 0.15


def pair(table: Table, target: str) -> tuple[str, str] | None:
    """The columns of the two sorts, the one that is called after persons or what is like them first."""
    groups = [name for name, _ in group_columns(table, target, FEWEST) if name in table.names]
    if not groups or target not in table.names or table.of_kind(*MEDIA):
        return None
    answer_N = codes_of(text_of(table.column(target)))
    for who in groups:
        who_N = codes_of(text_of(table.column(who)))
        if _few(who_N) or _steady(who_N, answer_N):
            continue
        for name in table.of_kind("category", "number", "id", "text"):
            what_N = codes_of(text_of(table.column(name)))
            if name in (who, target) or tells_when(name) or _few(what_N) or not _once(who_N, what_N):
                continue
            if table.kinds[name] != "number" or _names(who_N, table, name):
                return who, name
    return None


def _few(code_N: np.ndarray) -> bool:
    names = code_N.max(initial=-1) + 1
    return bool(not FEWEST <= names <= len(code_N) / OFTEN or (code_N < 0).any())


def _once(who_N: np.ndarray, what_N: np.ndarray) -> bool:
    """Whether pairs are met once, and few of all."""
    rows, (who_P, what_P) = len(who_N), map(np.bincount, (who_N, what_N))
    chance = 0.5 * float((who_P / rows) @ (who_P / rows)) * float(what_P.astype(float) @ what_P)
    met = len(np.unique(who_N * len(what_P) + what_N))
    return chance >= CHANCE and rows - met <= AGAIN * chance and met < FULL * len(who_P) * len(what_P)


def _steady(who_N: np.ndarray, answer_N: np.ndarray) -> bool:
    """Whether most names have one answer: it tells of them, not of the pair."""
    most = int(answer_N.max(initial=-1)) + 2  # with a place for none
    answers = np.bincount(np.unique(who_N * most + answer_N + 1) // most)
    several = np.bincount(who_N) > 1
    return bool((answers[several] == 1).mean() > STEADY) if several.any() else True


def _names(who_N: np.ndarray, table: Table, name: str) -> bool:
    """Whether numbers are names: whole, and they neither count the rows of each `who` (visits, days) nor, unless called so, only grow."""
    value_N, order = number.parse(table.column(name))[0], np.argsort(who_N, kind="stable")
    step_N = np.diff(value_N[order])[np.diff(who_N[order]) == 0]
    if (value_N != np.floor(value_N)).any() or not len(step_N):
        return False
    grows = max((step_N > 0).mean(), (step_N < 0).mean()) > GROWS and not THINGS.search(name)
    return not grows and float(np.unique(step_N, return_counts=True)[1].max()) <= STEADY * len(step_N)


def _found(table: Table, data: DataConfig) -> tuple[str, str] | None:
    if len(data.target) != 1 or data.group or data.ahead or data.task not in ("classify", "regress"):
        return None
    return pair(table.without([name for name in data.ignore if name in table.names]), data.target[0])


def settle(table: Table, data: DataConfig) -> Table:
    """The table with both columns as categories, where nobody said otherwise."""
    found = _found(table, data)
    names = [name for name in found or () if name not in data.kind]
    reason = tr("rows are pairs of {who} and {what}, each met once", who=found[0], what=found[1]) if found else ""
    return table.with_kinds({**table.kinds, **dict.fromkeys(names, "category")}, {**table.reasons, **dict.fromkeys(names, reason)})


def laid(settings: Mapping[str, Any], table: Table, data: DataConfig) -> Mapping[str, Any]:
    """The settings with a place for each name, where nobody said how many categories have one."""
    found = _found(table, data)
    if found is None or "categories" in settings.get("encode", {}):
        return settings
    most = max(int(codes_of(text_of(table.column(name))).max()) + 1 for name in found)
    return {**settings, "encode": {**settings.get("encode", {}), "categories": max(EncodeConfig.categories, min(MOST, most))}}


def known_later(table: Table, found: tuple[str, str], time: str) -> bool:
    """Whether the last rows are mostly of names that earlier ones have."""
    moment_N, _ = dated.moments(table, time)
    order = np.argsort(moment_N, kind="stable")
    cut = int(len(order) * (1 - LAST))
    codes = [codes_of(text_of(table.column(name))) for name in found]
    met = np.logical_and.reduce([np.isin(code_N[order[cut:]], code_N[order[:cut]]) for code_N in codes])
    return bool(met.mean() >= KNOWN)
