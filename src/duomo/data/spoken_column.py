"""Which column of a table is what its recordings say, whatever it is called: the longer the text, the longer the sound."""

import numpy as np

from duomo.core.kinds import audio, media
from duomo.core.kinds.base import Cells
from duomo.core.kinds.cells import sample, text_of
from duomo.core.table import Table
from duomo.data.leaks import of_whom

LOOKED_AT, FEWEST, FOLLOWS = 200, 10, 0.6
"""Rows that are looked at, and are needed at least; how closely lengths follow (Pearson's correlation of their logarithms)."""


def uttered(table: Table) -> str:
    """The text whose length follows the seconds of the recordings the closest; empty where none does, or where classes stand beside the
    recordings that are not of who speaks: those may be meant."""
    (name, *more), texts = table.of_kind("audio"), table.of_kind("text")
    if more or not texts or not all(map(of_whom, table.of_kind("category"))):
        return ""
    looks = media.decode_all(media.sources(Cells(sample(table.column(name), LOOKED_AT), table.root)), audio.look)
    seconds_N = np.array([look.frames / look.rate if isinstance(look, audio.Look) else 0.0 for look in looks])
    found = {text: _follows(text_of(sample(table.column(text), LOOKED_AT)).to_pylist(), seconds_N) for text in texts}
    best = max(found, key=lambda text: found[text])
    return best if found[best] >= FOLLOWS else ""


def _follows(cells: list[str | None], seconds_N: np.ndarray) -> float:
    lengths_N = np.array([len(cell or "") for cell in cells])
    known = (lengths_N > 0) & (seconds_N > 0)
    pair_2N = np.log([lengths_N[known], seconds_N[known]]) if known.sum() >= FEWEST else np.zeros((2, 1))
    return float(np.corrcoef(pair_2N)[0, 1]) if pair_2N.std(axis=1).all() else 0.0
