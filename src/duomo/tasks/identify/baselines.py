"""What vectors must beat: chance, the nearest picture, and eigenfaces (Turk and Pentland 1991)."""

from collections.abc import Callable
from typing import final

import numpy as np

from duomo.core.contract import CLUSTER, Baseline, Evidence
from duomo.core.table import Table

Pixels = Callable[[Table], np.ndarray]
"""Small grey pictures (N, F) of a table."""
Names = Callable[[Table], np.ndarray]
"""Whose they are, as numbers (N,)."""
KEPT = 0.95
"""Share of the variance that the eigenfaces kept explain."""


def by_distance(vectors_ND: np.ndarray, person_N: np.ndarray) -> Evidence:
    """The nearer, the more alike: minus the squared distance."""
    size_N = (vectors_ND**2).sum(1)
    near_NN = 2 * vectors_ND @ vectors_ND.T - size_N[:, None] - size_N[None]
    return {"near": near_NN.astype(np.float32), CLUSTER: person_N, "row": np.arange(len(person_N))}


@final
class Chance(Baseline):
    """Similarities drawn at random."""

    name = "chance"

    def __init__(self, names: Names):
        self._names = names

    def evidence(self, test: Table) -> Evidence:
        drawn = np.random.default_rng(0).random((len(test), len(test)), np.float32)
        return {"near": (drawn + drawn.T) / 2, CLUSTER: self._names(test), "row": np.arange(len(test))}


@final
class NearestPixels(Baseline):
    """The distance of the pixels themselves."""

    name = "nearest picture by pixels"

    def __init__(self, pixels: Pixels, names: Names):
        self._pixels, self._names = pixels, names

    def evidence(self, test: Table) -> Evidence:
        return by_distance(self._pixels(test), self._names(test))


@final
class Eigenfaces(Baseline):
    """The distance among the main ways in which the training pictures vary."""

    name = "eigenfaces"

    def __init__(self, pixels: Pixels, names: Names):
        self._pixels, self._names = pixels, names

    def fit(self, train: Table) -> None:
        pixels_NF = self._pixels(train)
        self._mean_F = pixels_NF.mean(0)
        _, size, ways_KF = np.linalg.svd(pixels_NF - self._mean_F, full_matrices=False)
        share = np.cumsum(size**2) / max(float((size**2).sum()), 1e-12)
        self._ways_KF = ways_KF[: int(np.searchsorted(share, KEPT)) + 1]

    def evidence(self, test: Table) -> Evidence:
        return by_distance((self._pixels(test) - self._mean_F) @ self._ways_KF.T, self._names(test))
