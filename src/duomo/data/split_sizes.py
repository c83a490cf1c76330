"""How many of few units each part of a split gets: none is left short, none takes far too many rows.

Legend: U units (rows of equal content, or groups), each with a place in [0, 1) that follows from content and seed; P the three parts.
"""

from collections.abc import Mapping

import numpy as np

from duomo.core.recipe import DataConfig

TRAIN, VALID, TEST = 0, 1, 2
SHORT = 0.75
"""No part gets fewer units than this share of what it was to get: of 24 rows chance gives a test of one or of eight."""
NEAR, FEW_GROUPS = 1 / 3, 50
"""Of so few groups each part gets the rows that were asked for to within this share: one of ten may hold a third of all rows."""


def parts(place_U: np.ndarray, config: DataConfig) -> np.ndarray:
    """(U,) the part whose stretch of [0, 1) each place lies in."""
    part_U = np.full(len(place_U), TRAIN, np.int64)
    part_U[place_U < config.test_share + config.valid_share] = VALID
    part_U[place_U < config.test_share] = TEST
    return part_U


def _distance(place_U: np.ndarray, part: int, config: DataConfig) -> np.ndarray:
    """How far each place lies outside the stretch of [0, 1) that belongs to the part."""
    both = config.test_share + config.valid_share
    low, high = {TEST: (0.0, config.test_share), VALID: (config.test_share, both), TRAIN: (both, 1.0)}[part]
    return np.maximum(np.maximum(low - place_U, place_U - high), 0.0)


def fill(part_U: np.ndarray, place_U: np.ndarray, config: DataConfig, least: Mapping[int, int]) -> list[int]:
    """Give every part in `least` so many units: the nearest to its stretch, from a part that keeps as many. Returns the parts."""
    least_P, filled = np.array([least.get(part, min(least.values())) for part in (TRAIN, VALID, TEST)]), list[int]()
    while True:
        counts_P = np.bincount(part_U, minlength=3)
        candidates = np.flatnonzero((counts_P > least_P)[part_U])
        lacking = [part for part in least if counts_P[part] < least[part]]
        if not (lacking and len(candidates)):
            return filled
        part = min(lacking, key=lambda one: counts_P[one] / least[one])
        part_U[candidates[np.argmin(_distance(place_U[candidates], part, config))]] = part
        filled.append(part)


def even(part_U: np.ndarray, rows_U: np.ndarray, wanted_P: np.ndarray, least: Mapping[int, int]) -> None:
    """Move one unit, or exchange two, whatever brings the parts nearest to the rows that they should have, until all are near."""

    def off(parts_U: np.ndarray) -> float:
        if any((parts_U == part).sum() < count for part, count in least.items()):
            return float("inf")
        return float(np.abs(np.bincount(parts_U, rows_U, 3) - wanted_P).sum())

    units = range(len(part_U))
    while (np.abs(np.bincount(part_U, rows_U, 3) - wanted_P) > NEAR * wanted_P).any():
        tried = [_with(part_U, {unit: part}) for unit in units for part in least if part != part_U[unit]]
        tried += [_with(part_U, {one: part_U[other], other: part_U[one]}) for one in units for other in range(one)
                  if part_U[one] != part_U[other]]  # fmt: skip
        best = min(tried, key=off)
        if off(best) >= off(part_U):
            return
        part_U[:] = best


def _with(part_U: np.ndarray, moved: Mapping[int, int]) -> np.ndarray:
    found = part_U.copy()
    found[list(moved)] = list(moved.values())
    return found
