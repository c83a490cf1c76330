"""What is in a source, for the page: the audit as it is, and a few rows with their pictures and players."""

import threading
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from duomo import listing, pipeline, plan
from duomo.core.config import build
from duomo.core.errors import DuomoError
from duomo.core.kinds.image import upright
from duomo.core.messages import tr
from duomo.core.recipe import Recipe
from duomo.core.reporter import Progress, Reporter, Silent
from duomo.core.table import KINDS, MEDIA, Table
from duomo.evaluate.exhibits import ALL_SOUNDS, DRAWN, cell, marks_of, strip, thumbnail

ROWS, EXHIBITS, COLUMNS = 8, 24, 200
_one_at_a_time = threading.Lock()


class Heard(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        return None

    def progress(self, label: str, total: float, unit: str) -> Progress:
        return Silent().progress(label, total, unit)


def look(source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The audit of `pipeline.inspect`, `rows` (cells as `exhibits.cell` gives them), what the reader noticed, the kinds there are."""
    heard = Heard()
    with _one_at_a_time:
        table = plan.read(source, build(Recipe, settings).data, heard)
        found = pipeline.inspect(table, settings)
    columns = found["columns"]
    return found | {
        "columns": columns[:COLUMNS],
        "more_columns": max(0, len(columns) - COLUMNS),
        "noticed": heard.sentences,
        "rows_shown": _rows(table),
        "kinds": list(KINDS),
        "kind_names": {kind: tr(kind) for kind in KINDS},
        "tasks": listing.listing("tasks"),
    }


def drawn(base64: str, kind: str) -> dict[str, Any]:
    """A picture or film as a small picture that every browser shows: {"source", "width", "height"}; no source where it cannot be read."""
    try:
        body = b64decode(base64, validate=True)
        wide, high = upright(body) if kind == "image" else (0, 0)
        return {"source": thumbnail(body, side=DRAWN) if kind == "image" else strip(body, None), "width": wide, "height": high}
    except (DuomoError, ValueError):
        return {"source": "", "width": 0, "height": 0}


def _rows(table: Table) -> list[list[dict[str, Any]]]:
    """A few rows from all over the table."""
    count = EXHIBITS if table.of_kind(*MEDIA) else ROWS
    rows = np.unique(np.linspace(0, len(table) - 1, min(count, len(table))).astype(np.int64))
    some, room = table.take(rows), [ALL_SOUNDS]
    marks, names = [marks_of(some, place, table.of_kind("boxes"), {}) for place in range(len(rows))], some.names[:COLUMNS]
    return [[cell(some, name, place, room, marks[place]) for name in names] for place in range(len(rows))]
