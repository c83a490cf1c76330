"""What a run leaves to read: log.jsonl (a function of the recipe alone), timing.jsonl (the clock's), TensorBoard events.

log.jsonl, one JSON object a line:
    {"step", "loss", "lr", "grad_norm"}                  mean over the steps since the line before
    {"step", "valid": {"loss", metric, ...}}             an evaluation
    {"step", "event": "spike" | "plan" | "early stop" | "sample", ...}
"""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from duomo.train.checkpoint import disk_errors

FLUSH_SECONDS = 2.0
BOARD_STEPS = 20
MOST_WEIGHTS, BINS = 10_000, 64
"""A histogram is drawn from at most so many values of a tensor."""
QUEUED = 1_000
"""Events that may wait for the writer's thread; of its own ten most evaluations would stand in line."""


def width(step: int) -> int:
    """Steps that one line sums up: all of them at first, then fewer lines, so that a long run's log stays small."""
    return 1 if step < 1_000 else 10 if step < 20_000 else 100


def plain(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


class Log:
    """Both files and the board. Lines wait in memory and are written every two seconds, and before every checkpoint."""

    def __init__(self, run: Path):
        self.run, self.log, self.timing = run, run / "log.jsonl", run / "timing.jsonl"
        self.lines: list[str] = []
        self.times: list[str] = []
        self.waiting: list[tuple[float, float, float]] = []
        self.last = time.monotonic()
        self.board = TensorBoard(run / "tensorboard")

    # -- what a checkpoint keeps
    def state(self) -> dict[str, Any]:
        """Flushes; lengths in bytes, and the steps that wait for their line."""
        self.flush(sync=True)
        return {"log": _size(self.log), "timing": _size(self.timing), "waiting": [list(entry) for entry in self.waiting]}

    def restore(self, state: Mapping[str, Any] | None, step: int) -> None:
        """Cut the files to where the checkpoint was written (to nothing where there is none)."""
        held = state or {"log": 0, "timing": 0, "waiting": []}
        for path, length in ((self.log, held["log"]), (self.timing, held["timing"])):
            if _size(path) > length:
                os.truncate(path, length)
        self.waiting = [(float(loss), float(rate), float(norm)) for loss, rate, norm in held["waiting"]]
        self.board.purge = step

    # -- lines
    def add(self, step: int, loss: float, rate: float, norm: float) -> None:
        """Step `step` (counted from 1) went so."""
        self.waiting.append((loss, rate, norm))
        if step % width(step) == 0:
            self.sum_up(step)

    def sum_up(self, step: int) -> None:
        """A line for the steps that wait; at the very end of a training after its checkpoint, which keeps them waiting."""
        count = len(self.waiting)
        if not count:
            return
        mean, grad = (sum(entry[place] for entry in self.waiting) / count for place in (0, 2))
        rate = self.waiting[-1][1]
        self.lines.append(f'{{"step": {step}, "loss": {mean!r}, "lr": {rate!r}, "grad_norm": {grad!r}}}\n')
        self.waiting.clear()
        if step % BOARD_STEPS == 0:
            self.board.scalars(step, {"train/loss": mean, "train/learning_rate": rate, "train/grad_norm": grad})

    def event(self, step: int, facts: Mapping[str, Any]) -> None:
        self.lines.append(json.dumps({"step": step, **facts}, ensure_ascii=False, allow_nan=False) + "\n")

    def clock(self, step: int, facts: Mapping[str, float]) -> None:
        self.times.append(json.dumps({"step": step, **facts}) + "\n")

    def stale(self) -> bool:
        return time.monotonic() - self.last > FLUSH_SECONDS

    def flush(self, sync: bool = False) -> None:
        self.last = time.monotonic()
        with disk_errors(self.log):
            for path, lines in ((self.log, self.lines), (self.timing, self.times)):
                if not lines and not sync:
                    continue
                with path.open("ab") as file:
                    file.write("".join(lines).encode())
                    file.flush()
                    if sync:
                        os.fsync(file.fileno())
                lines.clear()

    def close(self) -> None:
        with disk_errors(self.log):
            self.flush()
            self.board.close()


class TensorBoard:
    """TensorBoard events; the writer is opened with the first one, for importing it takes longer than a small run."""

    def __init__(self, folder: Path):
        self.folder, self.purge = folder, 0
        self.waiting: list[tuple[int, dict[str, float]]] = []
        self.writer: Any = None

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.waiting.append((step, values))

    def evaluation(self, step: int, metrics: Mapping[str, float], model: nn.Module, texts: Mapping[str, str]) -> None:
        """Metrics, histograms of the weights and the samples given; writes what waits."""
        self.scalars(step, {f"valid/{name}": value for name, value in metrics.items()})
        writer = self._open()
        if writer is None:
            return
        for at, values in self.waiting:
            for name, value in values.items():
                writer.add_scalar(name, value, at)
        self.waiting.clear()
        for name, weight in model.named_parameters():
            flat = weight.detach().reshape(-1)
            values_N = flat[:: max(1, flat.numel() // MOST_WEIGHTS)].float().cpu()
            if values_N.numel() and bool(torch.isfinite(values_N).all()):
                writer.add_histogram(f"weights/{name}", values_N.numpy(), step, bins=BINS)
        for name, text in texts.items():
            writer.add_text(name, text, step)

    def images(self, name: str, pixels_BCHW: torch.Tensor) -> None:
        """The first pictures as the model sees them, each stretched to [0, 1]."""
        writer = self._open()
        if writer is None or pixels_BCHW.shape[1] not in (1, 3):
            return
        shown = pixels_BCHW[:16].float().cpu()
        low, high = shown.amin((1, 2, 3), keepdim=True), shown.amax((1, 2, 3), keepdim=True)
        writer.add_images(name, ((shown - low) / (high - low).clamp(min=1e-6)).numpy(), 0)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _open(self) -> Any:
        if self.writer is None:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                return None
            self.writer = SummaryWriter(str(self.folder), purge_step=self.purge or None, max_queue=QUEUED)
        return self.writer


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
