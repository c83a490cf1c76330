"""A few test rows with the answers that a run must give wherever it is loaded."""

import base64
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from duomo.core.errors import RunError
from duomo.core.kinds import media
from duomo.core.kinds.base import Cells
from duomo.core.run import STATE_FAULTS, RunFolder, computable
from duomo.core.table import MEDIA, Table
from duomo.data.predictor import Predictor
from duomo.exchange import runs

if TYPE_CHECKING:
    from duomo.trained import Run

ROWS, BYTES = 8, 200_000
"""Golden rows; most bytes of a file in one of them."""


def keep(folder: RunFolder, test: Table, targets: tuple[str, ...], predictor: Predictor, own: bool) -> None:
    """`own`: the model is a module of the user's own."""
    table = test.take(np.arange(min(ROWS, len(test)))).without(targets)
    files = set(table.of_kind(*MEDIA))
    columns = {name: _portable(table, name) if name in files else table.column(name).to_pylist() for name in table.names}
    rows = [row for row in range(len(table)) if all(columns[name][row] is not None for name in files)]
    answers = predictor.answers(table.take(np.asarray(rows, np.int64))) if rows else {}
    plain = {name: [_json(columns[name][row]) for row in rows] for name in columns}
    told = {} if own else runs.golden(predictor.model, predictor.task.inputs)
    folder.write_json("golden.json", {"inputs": plain, "media": sorted(files), "answers": answers, **told})


@contextmanager
def sound(run: "Run") -> Iterator[None]:
    """RunError in place of a failure that the run's own golden rows meet too: then its files are not what training wrote; ResourceError
    where memory or the device do not suffice."""
    try:
        with computable(run.path):
            yield
    except STATE_FAULTS as error:
        try:
            rows = run.golden()[0]
            if len(rows):
                run.predictor.answers(rows)
        except STATE_FAULTS:
            raise RunError("The files of a run must be whole; {path} is damaged ({error}). Restore it from a copy, or train again.",
                           path=run.path, error=repr(error)[:100]) from None  # fmt: skip
        raise


def _portable(table: Table, name: str) -> list[str | None]:
    """Media cells as base64 of their bytes; None where too large to keep in a golden file."""
    found = media.sources(Cells(table.column(name), table.root))
    contents = [source if isinstance(source, bytes) or source is None else source.read_bytes() for source in found]
    return [base64.b64encode(data).decode() if data is not None and len(data) <= BYTES else None for data in contents]


def _json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, list, dict)) or value is None else str(value)
