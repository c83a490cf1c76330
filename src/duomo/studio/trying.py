"""A finished run to try: what it reads, an example, an answer; and the places for what explains an answer."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from duomo import pipeline
from duomo.core.run import whole
from duomo.core.table import Table
from duomo.serve.rows import table_of
from duomo.studio import beside
from duomo.trained import Run

KEPT = 3
"""Runs that stay loaded."""
MOST_CHOICES = 200
BESIDE: dict[str, Callable[[Run, Table], Any]] = {
    "strange": beside.strange, "neighbours": beside.neighbours, "explanation": beside.explanation,
}  # fmt: skip
"""What stands beside an answer, by name; each is asked with the run and the table of the one row, and gives JSON values, or None where it
has nothing to say."""


class Trying:
    """Loaded runs, the last few of them."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[Path, int], Run] = OrderedDict()
        self._lock = threading.Lock()

    def _open(self, path: Path) -> Run:
        with self._lock:
            key = (path, (path / "manifest.json").stat().st_mtime_ns if (path / "manifest.json").exists() else 0)
            if key not in self._runs:
                self._runs[key] = pipeline.load(path)
                while len(self._runs) > KEPT:
                    self._runs.popitem(last=False)
            self._runs.move_to_end(key)
            return self._runs[key]

    def described(self, path: Path) -> dict[str, Any]:
        """What the run reads: columns with kinds, choices of the categories, examples from its test."""
        run = self._open(path)
        columns = _columns(run)
        golden = run.folder.read_json("golden.json")
        with whole(path / "golden.json"):
            inputs, media = golden["inputs"], set(golden["media"])
            count = min(map(len, inputs.values()), default=0)
            cells = {name: [{"base64": value} if name in media else value for value in inputs[name]] for name in columns if name in inputs}
        return {
            "task": run.facts["task"],
            "target": list(run.recipe.data.target),
            "columns": columns,
            "choices": _choices(run.folder.read_json("task.json")),
            "examples": [{name: values[row] for name, values in cells.items()} for row in range(count)],
        }

    def answer(self, path: Path, row: Mapping[str, Any]) -> dict[str, Any]:
        """The answer for one row, how long it took, and what stands beside it."""
        run = self._open(path)
        started = time.perf_counter()
        table = run.told(table_of([row], _columns(run)))
        run.predictor.refuse_unreadable(table)
        run.task.refuse(table)
        answer = {name: values[0] for name, values in run.answers(table).items()}
        found: dict[str, Any] = {"answer": answer, "seconds": time.perf_counter() - started}
        return found | {name: ask(run, table) for name, ask in BESIDE.items()}


def _columns(run: Run) -> dict[str, str]:
    return {name: run.facts["kinds"][name] for name in run.facts.get("asks", run.facts["features"])}


def _choices(state: Any) -> dict[str, list[str]]:
    """Values that a category column was learned with, where the task keeps them as the encoder does."""
    columns = state.get("encoder", {}).get("columns", []) if isinstance(state, dict) and isinstance(state.get("encoder"), dict) else []
    known = [entry for entry in columns if isinstance(entry, dict) and entry.get("kind") == "category"]
    return {entry["column"]: [str(value) for value in entry["state"].get("values", [])[:MOST_CHOICES]] for entry in known}
