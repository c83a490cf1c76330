"""The fastest engine for a finished run, found by measurement on this machine and noted in its engine.json.

python -m duomo.prepared RUN...        or: duomo serve RUN --prepare

Every candidate must first give the golden answers within `TOLERANCE`: the same words, numbers at most so far off, relative to
max(1, |number|). From then on `predict`, `evaluate` and `serve` answer by the one that is noted; on another machine, with other weights or
another version of the library, by torch in float32 as before. A block has only heights among which each row's bits are the same.
"""

import math
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duomo.core.device import bf16_on_cpu, cores
from duomo.core.errors import DuomoError, RunError
from duomo.core.messages import tr
from duomo.core.parser import unusable
from duomo.core.reporter import Reporter
from duomo.core.table import Table
from duomo.data.predictor import Predictor
from duomo.exchange import engines
from duomo.exchange.engines import Engine
from duomo.serve.generation import writes
from duomo.terminal import TerminalReporter
from duomo.trained import Run
from duomo.writing import COMPANY, Choice

WATCH_FAULTS = (DuomoError, OSError)
TOLERANCE = 0.02
HEIGHTS = (1, 2, 4, 8, 16, 32)
MANY = 32
"""Rows that are asked together for a candidate's rate."""
SECONDS = 3.0
"""Spent on timing a candidate, at most; the first pass is not counted."""
WIDTHS = (16, 40, 128)
"""Positions, and the most that the run reads, at which a module must give a row the same bits in blocks of each height."""
RAGGED = ("tokens", "waveform", "frames")


def candidates(device: str = "cpu") -> list[Engine]:
    """What is installed here, torch in float32 on the run's device first: the run as it was judged."""
    fast = ("bf16",) if bf16_on_cpu() else ()
    found = [Engine(), *(Engine("torch", precision, HEIGHTS) for precision in (fast if device == "cpu" else ("bf16",)))]
    if engines.installed("onnxruntime"):
        found += [Engine("onnxruntime", precision, HEIGHTS) for precision in ("float32", "int8")]
    if engines.installed("openvino"):
        found.append(Engine("openvino", "float32", HEIGHTS))
        found += [Engine("openvino", precision, HEIGHTS, streams) for precision in (*fast, "int8") for streams in sorted({1, cores()})]
    return found


def prepare(path: Path | str, reporter: Reporter) -> dict[str, Any]:
    """Measure, note the fastest, and say so: in the run folder, or beside it for one that writes token by token (writing.py)."""
    run = Run.open(path, engine=False)
    if not os.access(run.path.parent if writes(run) else run.path, os.W_OK):
        raise RunError("Which engine is fastest is noted beside the run's files; {path} cannot be written. Prepare it where it can.",
                       path=run.path)  # fmt: skip
    if writes(run):
        name = Choice(run, COMPANY, reporter).name()
        reporter.say(tr("{run}: answered by {engine} from now on", run=run.path.name, engine=name))
        return {"run": str(run.path), "engine": name}
    if run.task.writes or not len(run.golden()[0]):
        raise RunError("An engine is found for runs that answer rows at once; {task} writes token by token.", task=run.task.name)
    measured: list[dict[str, Any]] = []
    unable = set[str]()  # a library that cannot compute the model in float32 is not asked for more
    for engine in candidates(run.execution.device):
        if engine.name not in unable:
            measured.append(_measured(run, engine))
            unable |= {engine.name} if engine.precision == "float32" and "reason" in measured[-1] else set()
    able = [one for one in measured if not one["note"]]
    if not able:
        raise RunError("An engine must give the answers that the run gave when its training ended; here none does: {reasons}. "
                       "The run stays as it is.", reasons=", ".join(f"{one['engine']}: {one['note']}" for one in measured))  # fmt: skip
    best = min(able, key=lambda one: one["alone_ms"] * one["together_ms"])
    engine = Engine(best["name"], best["precision"], tuple(best["heights"]), best["streams"])
    engines.write(run.folder, engine, measured)
    times = ("alone_ms", "together_ms", "distance")
    lines = [[one["engine"], *(_shown(one.get(name)) for name in times), one["note"]] for one in measured]
    title = tr("{run}: answered by {engine} from now on", run=run.path.name, engine=engine)
    reporter.table(title, [tr("engine"), tr("a row, ms"), tr("32 rows, ms"), tr("off golden"), tr("note")], lines)
    return {"run": str(run.path), "engine": str(engine), "measured": measured}


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _measured(run: Run, engine: Engine) -> dict[str, Any]:
    """One candidate: its times, or why it is out of the race."""
    table, golden = run.golden()
    told: dict[str, Any] = asdict(engine) | {"engine": str(engine), "note": ""}
    later = engines.faults(engine.name) if engine.name != "torch" else ()  # a graph may fail only when it is first computed
    expected: tuple[type[Exception], ...] = (DuomoError, *later)
    try:
        predictor = run.predictor if engine == Engine() else run.predicting(engine)
        off = engines.distance(predictor.answers(table), golden)
        if off > TOLERANCE:
            return told | {"note": tr("answers differ")} | ({"distance": off} if math.isfinite(off) else {})
        told["distance"] = off
        heights = _proved(run, predictor, engine) if len(engine.heights) > 1 else engine.heights
        predictor = (
            predictor if heights == engine.heights else Predictor(run.task, predictor.model, predictor.execution, predictor.block, heights)
        )
        many = table.take(np.resize(np.arange(len(table)), MANY))
        times = {"alone_ms": _milliseconds(predictor, table.take(np.arange(1))), "together_ms": _milliseconds(predictor, many)}
        return told | {"heights": list(heights)} | times
    except expected as error:
        return told | {"note": tr("cannot compute this model"), "reason": engines.said(error)}


def _proved(run: Run, predictor: Predictor, engine: Engine) -> tuple[int, ...]:
    """The heights at which rows may share a block, whatever their width."""
    _, batch = next(run.predictor.blocks(run.task.encode(run.golden()[0], target=False)))
    found = engine.heights
    ragged = [field for field in run.task.inputs.values() if field.form in RAGGED]
    longest = min((field.shape[0] for field in ragged), default=0)
    widths = WIDTHS if all(field.form == "tokens" for field in ragged) else (longest // 2,)
    expected = engines.faults(engine.name)
    try:
        with torch.inference_mode(), predictor.execution.autocast():
            for width in sorted({min(width, longest) for width in (*widths, longest)}):
                found = engines.independent(predictor.model, run.model, engines.resized(batch, width), found)
    except expected as error:
        raise RunError("This model cannot be computed by {engine}: {reason}.", engine=engine, reason=engines.said(error)) from None
    return found


def _milliseconds(predictor: Predictor, table: Table) -> float:
    """The best of several passes, within `SECONDS`."""
    predictor.answers(table)
    until, found = time.perf_counter() + SECONDS / 2, float("inf")
    for _ in range(30):
        start = time.perf_counter()
        predictor.answers(table)
        found = min(found, time.perf_counter() - start)
        if time.perf_counter() > until:
            break
    return 1000 * found


def main() -> int:
    reporter = TerminalReporter()
    try:
        for path in sys.argv[1:] or [""]:
            prepare(path, reporter)
    except WATCH_FAULTS as error:
        sys.stderr.write(f"{unusable(error) if isinstance(error, OSError) else error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
