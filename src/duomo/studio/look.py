"""What is in a source, for the page: the audit as it is, and a few rows with their pictures and players."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from duomo import pipeline, plan
from duomo.core.config import build
from duomo.core.messages import tr
from duomo.core.recipe import Recipe
from duomo.core.reporter import Progress, Reporter, Silent
from duomo.core.table import KINDS, MEDIA, Table
from duomo.evaluate.exhibits import ALL_SOUNDS, cell

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
    }


def _rows(table: Table) -> list[list[dict[str, Any]]]:
    """A few rows from all over the table."""
    count = EXHIBITS if table.of_kind(*MEDIA) else ROWS
    rows = np.unique(np.linspace(0, len(table) - 1, min(count, len(table))).astype(np.int64))
    some, room = table.take(rows), [ALL_SOUNDS]
    return [[cell(some, name, place, room) for name in some.names[:COLUMNS]] for place in range(len(rows))]
