"""Cells that list texts: several that say the same, of which any will do, or the parts of one; or the places of texts in another."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from duomo.core.files import JSON_FAULTS

LOOKED_AT, GRAM = 1000, 3
ALIKE = 0.2
"""Share of their letters, three in a row, that two texts have in common on average where they say the same; two parts of one have less."""


def texts_in(cell: Any) -> list[str]:
    """The texts that a cell lists; none of anything else."""
    with suppress(*JSON_FAULTS):
        cell = json.loads(cell) if isinstance(cell, str) and cell.lstrip().startswith("[") else cell
    return cell if isinstance(cell, list) and cell and all(isinstance(one, str) for one in cell) else []


def several(cells: Sequence[Any]) -> bool:
    """Whether every cell that is not empty lists texts."""
    found = [cell for cell in cells if cell not in (None, "")]
    return bool(found) and all(texts_in(cell) for cell in found)


def say_the_same(cells: Sequence[Any]) -> bool:
    """Whether the texts of a cell are like one another: several translations, not the sentences of one."""
    pairs = [found[:2] for cell in cells[:LOOKED_AT] if len(found := texts_in(cell)) > 1]
    return not pairs or float(np.mean([_shared(one, other) for one, other in pairs])) >= ALIKE


def as_one(cells: list[str]) -> list[str]:
    """Each cell as one text: where cells list several, the first of those that say the same, or all parts, a line each."""
    if not several(cells):
        return cells
    first = say_the_same(cells)
    return ["" if not (found := texts_in(cell)) else found[0] if first else "\n".join(found) for cell in cells]


def are_places(cell: Mapping[str, Any]) -> bool:
    """Whether an object holds places by label and text, {"name": {"Lee": [[0, 2]]}}: its names are what the rows say, not columns."""
    places = [place for texts in cell.values() for place in (texts.values() if isinstance(texts, Mapping) else [None])]
    pairs = [pair for place in places for pair in (place if isinstance(place, list) else [None])]
    return bool(pairs) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)


def _shared(one: str, other: str) -> float:
    grams = [{text[place : place + GRAM] for place in range(max(1, len(text) - GRAM + 1))} for text in (one, other)]
    return 2 * len(grams[0] & grams[1]) / (len(grams[0]) + len(grams[1]))
