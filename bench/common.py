"""What the comparisons share: reading the command line, one training in a folder that goes again, a figure with its interval."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duomo

if TYPE_CHECKING:
    import pandas as pd


class Judged(NamedTuple):
    """A scorecard, and what it took from reading the data on: seconds by the clock, seconds of CPU over all threads."""

    card: dict[str, Any]
    wall: float
    cpu: float

    @property
    def results(self) -> list[dict[str, Any]]:
        """The model's, then those of its baselines."""
        return list(self.card["results"])


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's own docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def trained(source: Path, settings: dict[str, Any], **how: Any) -> Judged:
    """`duomo.train` with these settings; `how` goes to it as it is."""
    wall, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as out:
        card = duomo.train(str(source), settings, out=str(Path(out) / "run"), **how).scorecard
    return Judged(card, time.perf_counter() - wall, time.process_time() - cpu)


def ranged(figure: dict[str, float], digits: int = 3, times: float = 1.0) -> str:
    """A figure with its 95 % interval."""
    value, low, high = (f"{times * figure[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low}–{high})"


def r_table(folder: Path, name: str) -> "pd.DataFrame":
    """One of R's tables, a CSV file anywhere below the folder, without its column of row numbers."""
    import pandas as pd

    path = next(path for path in sorted(folder.rglob(f"{name}.csv")) if not path.name.startswith("._"))
    frame = pd.read_csv(path)
    return frame[[column for column in frame if not column.startswith("Unnamed")]]


def written(parts: "dict[str, pd.DataFrame]", folder: str | Path) -> dict[str, Path]:
    """The parts as CSV files of their names."""
    paths = {name: Path(folder) / f"{name}.csv" for name in parts}
    for name, part in parts.items():
        part.to_csv(paths[name], index=False)
    return paths


def judged_on(parts: "dict[str, pd.DataFrame]", settings: dict[str, Any], **how: Any) -> Judged:
    """`trained` on the part `train`, judged on `test` and, where there is one, chosen by `valid`."""
    with tempfile.TemporaryDirectory() as folder:
        paths = written(parts, folder)
        given = {name: str(path) for name, path in paths.items() if name != "train"}
        return trained(paths["train"], settings | {"data": settings.get("data", {}) | given}, **how)
