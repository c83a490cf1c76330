"""Steps of training and batches of evaluation: index selection on tensors, no worker processes.

Legend: N rows, B rows of a batch, K steps of a block.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from duomo.core.contract import Field, Stream
from duomo.core.recipe import AugmentConfig
from duomo.core.tensors import Batch, Choices, Dense, Examples, Windows
from duomo.data.augment import active, augment
from duomo.data.picture_variations import ONE_BY_ONE

BLOCK_BYTES = 2**19
"""Several steps of small rows are made at once, about this many bytes: as much as stays in a core's own cache."""
MOST_STEPS = 64
WINDOW, STRETCH = 2**26, 2**18
"""Bytes of rows that are shuffled at a time, and of neighbours that are brought into a window together, where the data are larger."""
LARGE = 2**28
"""Bytes of encoded data above which an epoch is shuffled window by window (they lie in files then: data/cache.py)."""
BUCKET = 64
"""Ragged rows are sorted by length within stretches of this many batches."""


def mixed(*numbers: int) -> int:
    """A seed of 63 bits from whole numbers (the finaliser of splitmix64, chained): near numbers give unrelated seeds."""
    found = 0x9E3779B97F4A7C15
    for number in numbers:
        found = (found ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        found = (found ^ (found >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        found ^= found >> 31
    return found >> 1


def finish(batch: Batch, fields: Mapping[str, Field]) -> Batch:
    """Stored tensors as the model takes them (`Field`): to be called once on a batch, which it changes.

    Pictures of 0..255 (uint8 or float) are normalised by mean and std, sounds of ±32,768 brought to [-1, 1],
    tokens and categories become int64.
    """
    for name, field in fields.items():
        if name not in batch:
            continue
        values = batch[name]
        if field.form in ("pixels", "clips"):
            mean, std = field.facts["mean"], field.facts["std"]
            scale = torch.tensor([1 / (255 * each) for each in std]).view(-1, 1, 1)
            shift = torch.tensor([-a / b for a, b in zip(mean, std, strict=True)]).view(-1, 1, 1)
            batch[name] = _normalised(values, scale, shift)
            if field.facts.get("differences"):
                batch[name] = torch.cat([batch[name], _changes(batch[name])], dim=3)
        elif field.form == "waveform":
            batch[name] = values.float().mul_(1 / 32768)
        elif field.form in ("tokens", "categories"):
            batch[name] = values.long()
    return batch


def _normalised(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """values * scale + shift as float32; of large pictures one at a time, so that the second pass finds it in the cache."""
    if values[:1].numel() < ONE_BY_ONE:
        return values.to(torch.float32, copy=True).mul_(scale).add_(shift)
    found = torch.empty(values.shape, dtype=torch.float32)
    for row in range(len(values)):
        torch.mul(values[row], scale, out=found[row]).add_(shift)
    return found


def _changes(x_BKTCHW: Tensor) -> Tensor:
    """What each frame adds to the one before; nothing for the first of a clip."""
    return torch.cat([torch.zeros_like(x_BKTCHW[:, :, :1]), x_BKTCHW.diff(dim=2)], dim=2)


def batches(
    examples: Examples, fields: Mapping[str, Field], batch_size: int, chosen: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Every row, or every chosen one, once, in order, unvaried: (row numbers (B,), batch); the last batch may be smaller."""
    order = np.arange(len(examples)) if chosen is None else chosen
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, finish(examples.batch(torch.from_numpy(rows)), fields)


def shuffled(rows: int, row_bytes: float, generator: torch.Generator) -> np.ndarray:
    """A permutation (rows,): any at all where the data are small, else of stretches, and of the rows within a window of stretches."""
    if rows * row_bytes <= LARGE:
        return torch.randperm(rows, generator=generator).numpy()
    stretch = max(1, int(STRETCH / row_bytes))
    starts = torch.randperm(-(-rows // stretch), generator=generator).numpy() * stretch
    found = (starts[:, None] + np.arange(stretch)).reshape(-1)
    found = found[found < rows]
    window = stretch * (WINDOW // STRETCH)
    for start in range(0, rows, window):
        part = found[start : start + window]
        found[start : start + window] = part[torch.randperm(len(part), generator=generator).numpy()]
    return found


class TableStream(Stream):
    """Shuffled steps over encoded rows; every step has the same number of rows, min(batch_size, N).

    Each epoch is a permutation drawn from (seed, epoch); of large data it keeps to windows of stretches from all over the file, so that
    what lies on the disk is read in long pieces. When the batch does not divide N, the last step is filled up
    with the rows that began the epoch: no row is lost, and fewer than B are seen twice.
    Varied pictures are drawn from (seed, block), where a block is a fixed number of steps: step t is the same whatever was asked before.
    """

    def __init__(self, examples: Examples, fields: Mapping[str, Field], batch_size: int, seed: int, augment: AugmentConfig):
        self.examples, self.fields, self.seed, self.augment = examples, dict(fields), seed, augment
        self.count = len(examples)
        self.batch_size = max(1, min(batch_size, self.count))
        self.steps_per_epoch = max(1, -(-self.count // self.batch_size))
        self._lengths = examples.lengths()
        self._block_steps = self._steps_of_block()
        self._row_bytes = sum(column.row_bytes() for column in examples.columns.values())
        self._varied = active(self.augment, self.fields)
        self._generator = torch.Generator()
        self._orders: dict[int, np.ndarray] = {}
        self._block: tuple[int, Batch] = (-1, {})

    def _steps_of_block(self) -> int:
        """How many steps are made at once: it depends on the data's shapes only, never on the machine."""
        if self._lengths is not None:
            return 1
        size = 0
        for column in self.examples.columns.values():
            if isinstance(column, Dense):
                size += 4 * max(1, column.values[:1].numel())
            elif isinstance(column, Windows):
                size += 8 * (column.width + 1)
            elif isinstance(column, Choices):
                size += 4 * max(1, column.values[:1, :1].numel())
        fitting = BLOCK_BYTES // max(1, size * self.batch_size)
        return int(max(1, min(MOST_STEPS, 2 ** int(np.log2(max(1, fitting))))))

    def _order(self, epoch: int) -> np.ndarray:
        """Rows of one epoch, (steps_per_epoch * B,)."""
        found = self._orders.get(epoch)
        if found is None:
            self._generator.manual_seed(mixed(self.seed, 1, epoch))
            total = self.steps_per_epoch * self.batch_size
            found = shuffled(self.count, self._row_bytes, self._generator)
            found = np.concatenate([found, found[: total - self.count]])
            if self._lengths is not None:
                found = self._bucketed(found)
            self._orders = {key: value for key, value in self._orders.items() if abs(key - epoch) <= 1} | {epoch: found}
        return found

    def _bucketed(self, order: np.ndarray) -> np.ndarray:
        """Rows of like length brought together within stretches of BUCKET batches; the batches shuffled anew."""
        assert self._lengths is not None
        stretch = np.arange(len(order)) // (BUCKET * self.batch_size)
        order = order[np.lexsort((self._lengths[order], stretch))]
        places = torch.randperm(self.steps_per_epoch, generator=self._generator).numpy()
        return order.reshape(self.steps_per_epoch, self.batch_size)[places].reshape(-1)

    def rows(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, step: int) -> Batch:
        number, place = divmod(step, self._block_steps)
        if self._block[0] != number:
            self._block = (number, self._make(number))
        if self._block_steps == 1:
            return dict(self._block[1])
        start = place * self.batch_size
        return {name: values.narrow(0, start, self.batch_size) for name, values in self._block[1].items()}

    def _make(self, number: int) -> Batch:
        """All the steps of a block as one long batch."""
        steps = self._block_steps
        rows = np.concatenate([self.rows(number * steps + place) for place in range(steps)]) if steps > 1 else self.rows(number)
        generator = self._generator.manual_seed(mixed(self.seed, 2, number))
        batch = self.examples.batch(torch.from_numpy(rows), generator)
        if self._varied:
            batch = augment(batch, self.fields, self.augment, generator, steps)
        if self.augment.specaugment:
            batch["specaugment"] = torch.ones(len(rows), dtype=torch.bool)
        return finish(batch, self.fields)
