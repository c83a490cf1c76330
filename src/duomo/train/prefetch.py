"""From a stream's finished batch on the CPU to the device; on CUDA the next batch is prepared while a step runs."""

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from duomo.core.contract import Places, Steps, Stream, Vectors
from duomo.core.device import Execution
from duomo.core.tensors import Batch
from duomo.train.guard import finite


def size(batch: Batch) -> int:
    """Rows of a batch; a column may hold several for each (core/tensors.py::Turns)."""
    return min(value.shape[0] for value in batch.values())


def place(batch: Batch, execution: Execution) -> Batch:
    """On the device, pictures in the memory format of the weights."""
    if execution.device != "cpu":
        batch = {name: value.pin_memory().to(execution.device, non_blocking=True) for name, value in batch.items()}
    return execution.laid(batch)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into at most `parts` micro-batches of nearly the same size, in order."""
    rows = size(batch)
    edges = np.linspace(0, rows, min(parts, rows) + 1).astype(int)
    each = {name: len(value) // rows for name, value in batch.items()}
    pieces = [
        {name: value[start * each[name] : end * each[name]] for name, value in batch.items()} for start, end in pairwise(edges.tolist())
    ]
    if "mix.rows" in batch:  # partners are numbered within the whole step
        pieces = [piece | {"mix.target": batch["target.value"]} for piece in pieces]
    return pieces


def in_float32(output: Any) -> Any:
    """Losses are computed in float32 whatever the model ran in."""
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, Steps):
        return Steps(output.logits.float(), output.lengths)
    if isinstance(output, (Places, Vectors)):
        return type(output)(*(value.float() for value in output))
    if isinstance(output, dict):
        return {name: in_float32(value) for name, value in output.items()}
    if isinstance(output, (tuple, list)):
        return type(output)(in_float32(value) for value in output)
    return output


class Feed:
    """batch(step) of a stream: on the CPU (to be examined) and on the device."""

    def __init__(self, stream: Stream, execution: Execution):
        self.stream, self.execution = stream, execution
        self.ahead: tuple[int, Future[tuple[Batch, bool]]] | None = None
        self.pool = ThreadPoolExecutor(1) if execution.device != "cpu" else None

    def batch(self, step: int) -> tuple[Batch, bool]:
        """The batch on the CPU, and whether all of its values are finite."""
        if self.pool is None:
            return self._make(step)
        future = self.ahead[1] if self.ahead and self.ahead[0] == step else self.pool.submit(self._make, step)
        self.ahead = (step + 1, self.pool.submit(self._make, step + 1))
        return future.result()

    def place(self, batch: Batch) -> Batch:
        return place(batch, self.execution)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def _make(self, step: int) -> tuple[Batch, bool]:
        batch = self.stream.batch(step)
        return batch, finite(batch)
