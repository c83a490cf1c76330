"""Cells that list texts: several that say the same, of which any will do, or the parts of one; or the places of texts in another."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.files import JSON_FAULTS
from duomo.core.table import Table

LOOKED_AT, GRAM = 1000, 3
OR = "\ufdd0"
"""Between texts of which any will do; Unicode keeps it out of every text."""
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
    """Each cell as one text: where cells list several, those that say the same with `OR` between, or all parts, a line each."""
    if not several(cells):
        return cells
    between = OR if say_the_same(cells) else "\n"
    return [between.join(texts_in(cell)) for cell in cells]


def any_of(text: str) -> list[str]:
    """The texts of which any will do."""
    return text.split(OR)


def first_of(text: str) -> str:
    return text.partition(OR)[0]


def apart(table: Table, name: str) -> Table:
    """The table with a row for each text of a column whose cells list several that are as good as one another; else as it is."""
    cells = table.column(name).to_pylist()
    if not several(cells):
        return table
    texts = [list(dict.fromkeys(text for text in texts_in(cell) if text.strip())) or [""] for cell in cells]
    spread = table.take(np.repeat(np.arange(len(table)), [len(found) for found in texts]))
    column = pa.array([text for found in texts for text in found], pa.large_string())
    return replace(spread, data=spread.data.set_column(table.names.index(name), name, column))


def are_places(cell: Mapping[str, Any]) -> bool:
    """Whether an object holds places by label and text, {"name": {"Lee": [[0, 2]]}}: its names are what the rows say, not columns."""
    places = [place for texts in cell.values() for place in (texts.values() if isinstance(texts, Mapping) else [None])]
    pairs = [pair for place in places for pair in (place if isinstance(place, list) else [None])]
    return bool(pairs) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)


def _shared(one: str, other: str) -> float:
    grams = [{text[place : place + GRAM] for place in range(max(1, len(text) - GRAM + 1))} for text in (one, other)]
    return 2 * len(grams[0] & grams[1]) / (len(grams[0]) + len(grams[1]))
