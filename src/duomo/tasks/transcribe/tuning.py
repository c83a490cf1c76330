"""What validation decides: how much the language model counts, and how sure an answer may be."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from duomo.tasks.transcribe import ctc
from duomo.tasks.transcribe.transcripts import distance

ROWS = 96
"""Validation rows that are searched at most."""
WEIGHTS = (0.0, 0.3, 0.6, 0.9, 1.2)
BONUSES = (0.5, 1.0, 1.5, 2.0)
"""Bonus of a character in units of the language weight: about what a typical character costs in the language model."""
FIRST_BONUS = 1.5
SHARPNESS = tuple(np.exp(np.linspace(np.log(0.1), np.log(10), 61)).tolist())


class Decoding(NamedTuple):
    """What `calibrate` found."""

    weight: float
    bonus: float
    sharpness: float


class Asked(NamedTuple):
    """What the config fixes; negative numbers leave it open."""

    beam: int
    weight: float
    bonus: float


def choose(
    rows: Sequence[ctc.Lattice], truth: Sequence[str], alphabet: Sequence[str], language: ctc.Language | None, asked: Asked
) -> Decoding:
    """First the weight at a middling bonus, then the bonus, each with the fewest edits; the smaller one where two are alike."""
    some = np.unique(np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).round().astype(int))
    rows, truth = [rows[place] for place in some], [truth[place] for place in some]
    if language is None or asked.beam <= 1:
        found = [ctc.best_path(row, alphabet) for row in rows]
        return Decoding(0.0, 0.0, _sharpness(found, truth))

    def heard(weight: float, bonus: float) -> list[ctc.Found]:
        return [ctc.search(row, alphabet, language, ctc.Search(asked.beam, weight, bonus)) for row in rows]

    tried: dict[tuple[float, float], tuple[int, list[ctc.Found]]] = {}

    def best(options: Sequence[tuple[float, float]]) -> tuple[float, float]:
        for option in options:
            if option not in tried:
                found = heard(*option)
                tried[option] = sum(distance(a, " ".join(b.text.split())) for a, b in zip(truth, found, strict=True)), found
        return min(options, key=lambda option: (tried[option][0], option))

    weights = WEIGHTS if asked.weight < 0 else (asked.weight,)
    weight, bonus = best([(weight, FIRST_BONUS * weight if asked.bonus < 0 else asked.bonus) for weight in weights])
    if asked.bonus < 0 and weight > 0:
        weight, bonus = best([(weight, share * weight) for share in BONUSES])
    return Decoding(weight, bonus, _sharpness(tried[weight, bonus][1], truth))


def _sharpness(found: Sequence[ctc.Found], truth: Sequence[str]) -> float:
    """The power of the mean probability of a character that comes nearest (least squares) to the share of characters that is right."""
    right_N = np.array([1 - min(1.0, distance(a, b.text) / max(1, len(a))) for a, b in zip(truth, found, strict=True)])
    logs_N = np.array([one.log_probability / max(1, len(one.text)) for one in found])
    return float(min(SHARPNESS, key=lambda power: float(np.square(np.exp(power * logs_N) - right_N).sum())))
