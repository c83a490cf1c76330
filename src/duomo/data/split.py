"""How rows are divided into training, validation and test.

A row's place is a pure function of (its content, the seed): new rows do not move old ones, and equal rows fall
together, unless they repeat by nature: there the how-manieth of its kind counts as content. Only where chance left a part of few rows
short are the nearest moved into it, and of few groups some change places where it gave a part far too many rows (split_sizes.py).
Legend: N rows, U units (rows of equal content, or groups).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc

from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds.cells import codes_of, values_of
from duomo.core.messages import nearest, tr
from duomo.core.recipe import DataConfig
from duomo.core.table import FLAT, MEDIA, Table, evenly
from duomo.data import dated, neighbours
from duomo.data.digests import MISSING, cell_digests, mix, row_digests, word_digest
from duomo.data.partition import NAMES, folders, told
from duomo.data.split_sizes import FEW_GROUPS, SHORT, TEST, TRAIN, VALID, even, fill, parts

HOW = ("random", "stratified", "group", "time", "blocks", "folders")
MOST_NOTES = 5
FEW, BY_CHANCE = 5, 3.0
"""Where rows outnumber the combinations of their columns' values so many times, or are equal at most so many times as often as they would
be if no column knew of another, they repeat by nature, not by mistake."""
SELDOM, LOOKED_AT, KNOWN = 0.98, 20_000, 1.02
"""Fewer repeats than that are not looked into; rows that tell the values of columns; combinations of two columns, as a multiple of the
values of one, with which it still determines the other."""
REPEATING = "Rows are equal as often as chance makes them: they are divided like any others."


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts, each sorted."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    how: str = "random"
    notes: tuple[str, ...] = ()
    """What was moved or left out, and the cut dates."""


def content_columns(table: Table, targets: Sequence[str] = ()) -> list[str]:
    """The columns whose content places a row: all inputs but ids; where there is none, everything."""
    part = told(table, targets)
    inputs = [name for name in table.names if name not in (*targets, part) and table.kinds.get(name) != "id"]
    media = {name for name in inputs if table.kinds.get(name) in MEDIA}
    inputs = [name for name in inputs if not (media and name == "file")]
    return inputs or list(table.names)


def repeats_by_nature(table: Table, columns: Sequence[str], digests: np.ndarray) -> bool:
    """Whether rows are equal as often as chance makes them, because their columns have few values (a survey with three answers to each of
    four questions; a shop's name beside a year).

    Equal rows that could have been unlike are copies, and must not lie on both sides of a cut; these are observations of their own.
    """
    _, counts = np.unique(digests, return_counts=True)
    if len(counts) > SELDOM * len(table) or not {table.kinds.get(name) for name in columns} <= {*FLAT}:
        return False
    rows = evenly(len(table), LOOKED_AT)
    kept = (cell_digests(table, name) for name in columns)  # one column at a time: the codes of all would be a table of int64
    cells = [(float(len(np.unique(code_N))), np.unique(code_N[rows], return_inverse=True)[1]) for code_N in kept]
    cells.sort(key=lambda cell: -cell[0])
    if sum(np.log(values) for values, _ in cells) <= np.log(len(table) / FEW):
        return True
    if FEW * cells[0][0] > len(counts):  # copies make the values of every column repeat: they must do so among unlike rows
        return False
    chance, told = 1.0, list[np.ndarray]()
    for _, code in cells:
        if _alike(counts) > BY_CHANCE * chance:
            return False
        if not any(_determines(other, code) for other in told):
            told.append(code)
            chance *= _alike(np.bincount(code))
    return _alike(counts) <= BY_CHANCE * chance


def _alike(counts: np.ndarray) -> float:
    """The chance that two rows have the same value, of which there are so many."""
    rows = float(counts.sum())
    return float((counts * (counts - 1.0)).sum()) / max(1.0, rows * (rows - 1))


def _determines(code: np.ndarray, other: np.ndarray) -> bool:
    """Whether who knows the one value knows the other, but for a few rows."""
    return len(np.unique(code * (other.max() + 1) + other)) <= KNOWN * (code.max() + 1)


def _occurrences(digests: np.ndarray) -> np.ndarray:
    """(N,) uint64: how many equal rows stand before each."""
    order = np.argsort(digests, kind="stable")
    ranked = digests[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    counts = np.empty(len(digests), np.uint64)
    counts[order] = np.arange(len(digests)) - np.repeat(first, np.diff(np.r_[first, len(digests)]))
    return counts


def split(table: Table, config: DataConfig, seed: int, targets: Sequence[str] = (), least: int = 1) -> Split:
    """The rows divided as `config` says (split, group, time, valid_share, test_share).

    No part gets fewer than `least` units. A share of 0 leaves that part empty.
    Raises DataError when a part cannot get a row, ConfigError for an unknown way of splitting.
    """
    drawn = "stratified" if has_classes(table, config, targets) else "random"
    how = config.split or ("group" if config.group else "time" if config.time else drawn)
    if how not in HOW:
        raise ConfigError(
            "data.split must be one of {known}; received {how!r}.{hint}", known=", ".join(HOW), how=how, hint=nearest(how, HOW)
        )
    shares = np.array([config.valid_share, config.test_share])
    if (shares < 0).any() or shares.sum() >= 1:
        raise ConfigError(
            "data.valid_share and data.test_share must be at least 0 and together below 1; received {valid} and {test}. Lower them.",
            valid=config.valid_share,
            test=config.test_share,
        )
    if len(table) < 5:
        raise DataError(
            "Data need at least 5 rows to be learned from and tested; received {rows}. Give more rows, or a longer text.", rows=len(table)
        )
    if how == "time":
        return _by_time(table, config)
    if how == "folders":
        return _by_folders(table, config, seed, targets)
    digests, repeating = _digests(table, config, how, targets)
    keys, unit_N = np.unique(digests, return_inverse=True)
    place_U = mix(keys ^ word_digest(f"seed {seed}")) / 2.0**64
    part_U = parts(place_U, config)
    wanted = [TRAIN] + [part for part, share in ((VALID, config.valid_share), (TEST, config.test_share)) if share > 0]
    if len(keys) < least * len(wanted):
        _too_few(how, len(keys), config, max(3, least * len(wanted)))
    shares_P = [1 - shares.sum(), *shares]
    least_of = {part: max(least, round(SHORT * shares_P[part] * len(keys))) for part in wanted}
    least_of[TRAIN] = max(least, min(least_of[TRAIN], len(keys) - sum(least_of[part] for part in wanted[1:])))
    fill(part_U, place_U, config, least_of)
    if how in ("group", "blocks") and len(keys) <= FEW_GROUPS:
        even(part_U, np.bincount(unit_N), len(table) * np.array(shares_P), least_of)
    notes: tuple[str, ...] = (tr(REPEATING),) if repeating else ()
    if how == "stratified":
        notes += _every_class(table, targets, part_U, place_U, unit_N, config)
    if how == "blocks" and has_classes(table, config, targets):
        _every_class(table, targets, part_U, place_U, unit_N, config)
        _learned(table, targets[0], part_U, unit_N)
    return _split(part_U[unit_N], how, notes)


def _digests(table: Table, config: DataConfig, how: str, targets: Sequence[str]) -> tuple[np.ndarray, bool]:
    """(N,) what places each row, equal for those that stay together; whether rows are equal because they repeat by nature."""
    if how == "blocks":
        return mix(neighbours.blocks(len(table)).astype(np.uint64)), False
    columns = content_columns(table, targets)
    digests = row_digests(table, columns)
    if how == "group":
        return _group_digests(table, config.group, digests), False
    repeating = repeats_by_nature(table, columns, digests)
    return mix(digests ^ mix(_occurrences(digests))) if repeating else digests, repeating


def _split(part_N: np.ndarray, how: str, notes: tuple[str, ...]) -> Split:
    train, valid, test = (np.flatnonzero(part_N == part) for part in (TRAIN, VALID, TEST))
    return Split(train, valid, test, how, notes)


def together(table: Table, config: DataConfig) -> np.ndarray | None:
    """(N,) numbers that are equal where rows of one part belong together: those of a group, or neighbours; none where nothing told so."""
    if config.group:
        return codes_of(values_of(table.column(config.group)))
    return neighbours.blocks(len(table)) if config.split == "blocks" else None


def has_classes(table: Table, config: DataConfig, targets: Sequence[str]) -> bool:
    """Whether the one target is classes, by its kind or, where they are numbers, because it is to be classified."""
    kinds = ("category", "number") if config.task == "classify" else ("category",)
    return len(targets) == 1 and table.kinds.get(targets[0]) in kinds


def _every_class(
    table: Table, targets: Sequence[str], part_U: np.ndarray, place_U: np.ndarray, unit_N: np.ndarray, config: DataConfig
) -> tuple[str, ...]:
    """Move the nearest row where a class is missing from a part; of two distinct rows, training needs one, and of a class so rare that
    its share of the part is nothing, training needs all where such classes are many.

    The class plays no role in a row's place otherwise: a salt per class would let equal rows with conflicting labels
    fall on both sides of the cut.
    """
    if len(targets) != 1:
        return ()
    codes = pc.dictionary_encode(values_of(table.column(targets[0])).combine_chunks())
    class_N = np.asarray(pc.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    names = codes.dictionary.to_pylist()
    shares = {part: share for part, share in ((VALID, config.valid_share), (TEST, config.test_share)) if share > 0}
    few = [part for part, share in shares.items() if share * len(part_U) >= 2 * len(names)]
    order = np.argsort(class_N, kind="stable")
    bounds = np.searchsorted(class_N[order], np.arange(len(names) + 1))
    notes = []
    for number in np.argsort(np.array(names)):
        units = np.unique(unit_N[order[bounds[number] : bounds[number + 1]]])
        wanted = [TRAIN, *(part for part, share in shares.items() if part in few or round(share * len(units)) > 0)][: len(units)]
        inside = part_U[units]
        spare = {} if TRAIN in inside or len(units) == 1 else {VALID: 0, TEST: 0}
        for part in fill(inside, place_U[units], config, spare | dict.fromkeys(wanted, 1)):
            notes.append(
                tr("One row of class {name!r} was moved to {part}, which would have had none.", name=names[number], part=tr(NAMES[part]))
            )
        part_U[units] = inside
    if len(notes) > MOST_NOTES:
        return (tr("{count} rows were moved to parts where their classes would have been missing.", count=len(notes)),)
    return tuple(notes)


def _learned(table: Table, target: str, part_U: np.ndarray, unit_N: np.ndarray) -> None:
    """Training gets a block of each class that it has none of: files are sorted by class. No part is left empty for it."""
    class_N = codes_of(values_of(table.column(target)))
    for number in np.setdiff1d(class_N[class_N >= 0], class_N[part_U[unit_N] == TRAIN]):
        unit = np.bincount(unit_N[class_N == number]).argmax()
        if (part_U == part_U[unit]).sum() > 1:
            part_U[unit] = TRAIN


def _group_digests(table: Table, group: str, digests: np.ndarray) -> np.ndarray:
    """Digests of the group's value; a row without one stands alone."""
    if not group:
        raise ConfigError("A split by group needs the column of the groups; data.group is empty. Set --group COLUMN.")
    found = cell_digests(table, group)
    alone = (found == MISSING) | np.asarray(pc.is_null(table.column(group)).to_numpy(), dtype=bool)
    return np.where(alone, digests, mix(found))


def _too_few(how: str, units: int, config: DataConfig, least: int) -> None:
    if how == "group":
        raise DataError(
            "A split by group needs at least {least} groups; column {group!r} has {units}. Split in another way (--split random).",
            group=config.group, units=units, least=least,
        )  # fmt: skip
    if how == "blocks":
        raise DataError("A split by blocks of neighbouring rows needs at least {least} blocks; the rows make {units}. Give more rows, or "
                        "split in another way (--split random).", least=least, units=units)  # fmt: skip
    raise DataError("A table needs at least 3 different rows to be learned from and tested; received {units}. Give more rows.", units=units)


def _by_folders(table: Table, config: DataConfig, seed: int, targets: Sequence[str]) -> Split:
    """As the folders say; what they lack is drawn: validation from the training rows; without a test, their validation is it."""
    part_N = folders(table, targets)
    if part_N is None:
        raise ConfigError("A split by folders needs files in folders such as train, valid and test; these are not. "
                          "Split in another way (--split random).")  # fmt: skip
    train, valid, test = (np.flatnonzero(part_N == part) for part in (TRAIN, VALID, TEST))
    if len(valid) and len(test):
        return Split(train, valid, test, "folders")
    notes = () if len(test) else (tr("Nothing is set apart for the test: what is there to validate is judged on, and nothing else."),)
    inner = split(table.take(train), replace(config, split="", test_share=0.0), seed, targets)
    return Split(train[inner.train], train[inner.valid], test if len(test) else valid, "folders", notes + inner.notes)


def _by_time(table: Table, config: DataConfig) -> Split:
    """The latest moments are the test, those before them validation; rows of one moment stay together."""
    if not config.time:
        raise ConfigError("A split by time needs the column of the dates; data.time is empty. Set --time COLUMN.")
    moments, bad = dated.moments(table, config.time)
    unknown_N = np.isnat(moments)
    values, counts = np.unique(moments[~unknown_N], return_counts=True)
    wanted = 1 + (config.valid_share > 0) + (config.test_share > 0)
    if len(values) < wanted:
        raise DataError(
            "A split by time needs at least 3 different dates; column {time!r} has {count} (and {bad} cells that are no dates). "
            "Split in another way (--split random).",
            time=config.time, count=len(values), bad=int(bad.sum()),
        )  # fmt: skip
    after = np.cumsum(counts[::-1])[::-1] / counts.sum()
    cut_test = _cut(after, config.test_share, len(values))
    cut_valid = _cut(after, config.test_share + config.valid_share, cut_test) if config.valid_share > 0 else cut_test
    cut_valid = max(1, cut_valid)
    if config.valid_share > 0 and config.test_share > 0:
        cut_test = max(cut_test, cut_valid + 1)
    part_N = np.full(len(table), TRAIN, np.int64)
    notes = []
    for part, cut in ((VALID, cut_valid), (TEST, cut_test)):
        if cut < len(values):
            part_N[~unknown_N & (moments >= values[cut])] = part
            notes.append(tr("{part} starts at {moment}.", part=tr(NAMES[part]), moment=str(values[cut]).replace("T00:00:00", "")))
    if unknown_N.any():
        notes.append(tr("{count} rows without a date are in train.", count=int(unknown_N.sum())))
    return _split(part_N, "time", tuple(notes))


def _cut(after: np.ndarray, share: float, below: int) -> int:
    """The first of the sorted moments that lies in the latest `share` of the rows; at least one where share > 0."""
    if share <= 0:
        return len(after)
    nearest_one = int(np.argmin(np.abs(after - share)))
    return max(1, min(nearest_one, below - 1))
