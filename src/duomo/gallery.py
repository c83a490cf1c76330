"""People who are known: enrolled into a run without training anew, searched for, compared in pairs.

Legend: N pictures, D numbers of a vector.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duomo.core.device import at_hand
from duomo.core.errors import ConfigError, DataError
from duomo.core.messages import tr
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Reporter
from duomo.core.run import PRODUCT, RunFolder
from duomo.core.table import Table
from duomo.data.readable import opening
from duomo.data.supervised import texts
from duomo.plan import read
from duomo.tasks.identify.task import Main
from duomo.trained import Run

MOST = 100_000


def of(run: Run) -> Main:
    """The run's task; ConfigError where it is another one."""
    if not isinstance(run.task, Main):
        raise ConfigError(
            "Only a run of the task identify knows people; {run} is one of {task}.", run=str(run.path), task=run.facts["task"]
        )
    return run.task


def vectors(run: Run, table: Table) -> np.ndarray:
    """(N, D) of length 1, in the order of the rows."""
    predictor = run.predictor
    found: dict[int, np.ndarray] = {}
    for rows, batch in predictor.blocks(of(run).encode(table, target=False)):
        with torch.inference_mode(), run.execution.autocast():
            output = run.model(at_hand(run.model, batch))
        found.update(zip(rows.tolist(), output.vectors.float().cpu().numpy(), strict=False))
    return np.stack([found[row] for row in range(len(table))])


def pictures(run: Run, source: Path | str, reporter: Reporter) -> Table:
    """The pictures of a folder or a file that open, as the run reads them; those that do not are named."""
    table = run.table(source)
    opened, why = opening(table, run.reading.unread(table))
    for sentence in (*table.problems, *why):
        reporter.say(sentence)
    if not len(opened):
        raise DataError("There must be pictures that open; {source} has none.", source=source)
    if len(table) > MOST:
        raise DataError("At most {most:,} pictures are compared; {source} has {count:,}.", most=MOST, source=source, count=len(table))
    return opened


def enrol(run: Run, source: Path | str, out: Path | str, reporter: Reporter) -> dict[str, Any]:
    """A new run folder with the same weights that names the people of `source`, a folder for each person."""
    task, target = of(run), RunFolder(out)
    if target.exists() or target.foreign():
        raise ConfigError("A run with other people needs a folder of its own; {path} holds something. Choose another with --out.", path=out)
    known = read(source, DataConfig(), reporter)
    column = next((name for name in (task.target, "label") if name in known.names), "") or Main.find_target(known)[0]
    table = pictures(run, source, reporter)
    names = texts(table.column(column))
    task.enrol(names, vectors(run, table))
    target.create()
    for name in PRODUCT:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, target.path / name)
    target.write_json("task.json", task.state())
    golden = run.folder.read_json("golden.json")
    target.write_json("golden.json", golden | {"inputs": {name: [] for name in golden["inputs"]}, "answers": {}})
    target.seal()
    people = len(set(names))
    reporter.say(tr("{people:,} people by {count:,} pictures are known to {path}.", people=people, count=len(names), path=target.path))
    return {"run": str(target.path), "people": people, "pictures": len(names)}


def search(run: Run, source: Path | str, picture: str, count: int, reporter: Reporter) -> list[dict[str, Any]]:
    """The pictures of `source` (a folder, or one file) nearest to a picture: {"file", "person", "score", "same"}, best first."""
    task = of(run)
    path = Path(picture).expanduser()
    if not path.is_file():
        raise DataError("What is looked for must be a picture; there is no file {picture!r}.", picture=picture)
    table = pictures(run, source, reporter)
    (asked_D,) = vectors(run, pictures(run, path, reporter))[:1]
    score_N = vectors(run, table) @ asked_D
    files = texts(table.column("file")) if "file" in table.names else [str(row) for row in range(len(table))]
    people = texts(table.column(task.target)) if task.target in table.names else [""] * len(table)
    best = np.argsort(-score_N, kind="stable")[:count].tolist()
    return [{"file": files[row], "person": people[row], "score": round(float(score_N[row]), 4), "same": bool(score_N[row] > task.least)}
            for row in best]  # fmt: skip


def line(found: dict[str, Any]) -> str:
    """One picture for a terminal."""
    return f"{found['score']:.3f}  {tr('the same') if found['same'] else tr('another')}  {found['person'] or '—'}  {found['file']}"
