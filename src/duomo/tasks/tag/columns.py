"""What columns hold that may be tagged or are tags, whatever they are called."""

import re
from collections.abc import Mapping

import numpy as np

from duomo.core.table import Table
from duomo.tasks.tag import tokens as cells
from duomo.tasks.tag.labels import TYPED

MOST = 20
"""Columns of words that are looked into, whether one holds a tag for each word of another."""


def lists(table: Table, name: str) -> bool:
    """Texts, or lists of which there are few different ones."""
    if table.kinds[name] != "category":
        return table.kinds[name] in ("text", "series")
    found = table.column(name).drop_null().slice(0, 100).to_pylist()
    return bool(found) and all(cells.tokens_of(cell) for cell in found)


def worded(table: Table) -> str:
    """The column with tags of spans between spaces or commas, one for each word of a column of texts; empty where there is none."""
    names = [name for name in table.inputs() if table.kinds[name] in ("text", "category")]
    if not (1 < len(names) <= MOST and table.of_kind("text")):
        return ""
    cells_of = {name: table.column(name).slice(0, 200).to_pylist() for name in names}
    for name, tags in cells_of.items():
        words = {tag for cell in tags if isinstance(cell, str) for tag in re.split(r"[\s,]+", cell.strip()) if tag}
        tagged = {"O"} < words and all(tag == "O" or TYPED.fullmatch(tag) for tag in words)
        if tagged and any(
            cells.as_spaced(texts, tags) for other, texts in cells_of.items() if table.kinds[other] == "text" and other != name
        ):
            return name
    return ""


def spanned(table: Table, name: str) -> bool:
    return name in table.inputs() and cells.hold_spans(table.column(name).slice(0, 200).to_pylist())


def hold_words(table: Table, name: str) -> bool:
    """Whether cells are texts or lists of words, not objects that tell where words lie in the text beside, as spaCy and Prodigy write."""
    found = [cells.parsed(cell) for cell in table.column(name).slice(0, 20).to_pylist()]
    inner = [one for cell in found for one in (cell if isinstance(cell, list) else [cell])]
    return not any(isinstance(one, Mapping) for one in inner)


def declined(table: Table) -> np.ndarray:
    """(N,) rows whose annotation was rejected or passed over, as Prodigy tells in column `answer`."""
    told = table.column("answer").to_pylist() if "answer" in table.names else []
    mine = {*told} <= {"accept", "reject", "ignore"}
    return np.array([cell != "accept" for cell in told], bool) if mine and told else np.zeros(len(table), bool)
