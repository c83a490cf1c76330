"""Rows in, answers out: the one path that evaluate, predict and serve share.

A row's answer must not depend on who asked beside it. Matrix kernels differ with the number of rows and of
positions, so rows are computed in blocks whose height and width follow from the row alone:
the same bits come out whether a row is asked alone, in a file or in a busy server's batch.
"""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.contract import EncoderDecoder, Evidence, Field, Task
from duomo.core.device import PRODUCTS, THREADS, Execution, at_hand
from duomo.core.errors import DataError
from duomo.core.flops import Counter
from duomo.core.kinds import category, date, number, numbers
from duomo.core.kinds.base import Cells
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.core.tensors import Batch, Examples
from duomo.data.loader import finish

BLOCK = 16
FLAT_BLOCK = 256
"""Rows of a block where a row is a handful of numbers and categories."""
OPERATIONS = {"ragged": 6e9, "fixed": 3e8}
"""Of a block at most (a multiplication and an addition are two; 6e9 are 30 ms of float32 on two cores). A row alone costs as much as its
block, and more rows gain nothing where a block keeps the cores busy: a picture does so by itself, a short text does not."""
SLICE = 4096
SHOWN = 60
"""Letters of a cell that a sentence quotes."""
WRITTEN = 64
"""Rows given at once to a task that writes."""
STYLED: Mapping[str, Any] = {"number": number, "numbers": numbers, "date": date}
"""Kinds whose cells are written in one way or another, each with what reads it."""
DECODED = 32
"""Of a block that is filled up, so many rows or a multiple of it are decoded: whole vector registers, so that what is computed element by
element (a sigmoid) comes out with the same bits as in the whole block."""


@dataclass(frozen=True)
class Block:
    """What is computed at once: so many rows, but of ragged inputs no more than so many positions (0: any number), one row at least."""

    rows: int
    positions: int = 0

    @classmethod
    def of(cls, value: int | Sequence[int]) -> "Block":
        """As run.json has it, a block of one row at least and no higher than blocks are; older runs name the rows alone."""
        found = cls(value) if isinstance(value, int) else cls(*value)
        return cls(max(1, min(found.rows, FLAT_BLOCK)), max(0, found.positions))

    def suited(self, execution: Execution, device: str) -> Execution:
        """Rows of a handful of numbers are answered by the CPU, which is there sooner; all others by the device that is offered."""
        return execution if self.rows == FLAT_BLOCK else execution.on(device)

    def height(self, positions: int) -> int:
        """Rows of a block whose rows have so many positions: a power of two where there is a choice."""
        return min(self.rows, _power_of_two(self.positions / max(1, positions))) if self.positions else self.rows


def _power_of_two(most: float) -> int:
    return 2 ** int(math.log2(most)) if most > 1 else 1


def block_for(inputs: Mapping[str, Field]) -> Block:
    """The most rows that suit the inputs."""
    return Block(FLAT_BLOCK if all(field.form in ("numbers", "categories") for field in inputs.values()) else BLOCK)


def block_of(task: Task, model: nn.Module, row: Table) -> Block:
    """The block that suits a model, by the operations that `row` takes: counted, not timed, so that it is the same on every machine."""
    block = block_for(task.inputs)
    if task.writes or isinstance(model, EncoderDecoder) or block.rows == FLAT_BLOCK:
        return block
    examples = task.encode(row, target=False)
    _, batch = next(Predictor(task, model, Execution(), Block(1)).blocks(examples))
    ragged = [name for name, column in examples.columns.items() if column.lengths() is not None]
    for name in ragged:  # a task may read what is longer than its model in windows
        longest = task.inputs[name].shape[0] if name in task.inputs else batch[name].shape[1]
        batch |= {name: batch[name][:, :longest], f"{name}.length": batch[f"{name}.length"].clamp(max=longest)}
    mode = model.training
    with torch.inference_mode(), Counter() as counter:
        model.eval()(at_hand(model, batch))
    model.train(mode)
    rows = OPERATIONS["ragged" if ragged else "fixed"] / max(1, counter.total)
    if not ragged:
        return Block(min(block.rows, _power_of_two(rows)))
    return Block(block.rows, max(1, round(rows * sum(batch[name].shape[1] for name in ragged))))


def width(length: int) -> int:
    """The padded width of a row of `length` positions: eight steps between powers of two, at most an eighth wasted."""
    if length <= 16:
        return 16
    step = 2 ** max(0, math.ceil(math.log2(length)) - 4)
    return -(-length // step) * step


def _widths(lengths: np.ndarray, field: Field | None) -> np.ndarray:
    """(N,) padded widths; texts are padded to no more than a model of learned places can read."""
    most = field.shape[0] if field is not None and field.form == "tokens" else 1 << 40
    return np.array([max(int(n), min(width(int(n)), most)) for n in lengths])


def _field(name: str, lengths: np.ndarray, ragged: Mapping[str, np.ndarray | None], fields: Mapping[str, Field]) -> Field | None:
    """The input that a column is, or that it stands beside token by token (`tokens.wanted`, `target`): both are padded alike."""
    beside = (other for other, found in ragged.items() if other in fields and found is not None and np.array_equal(found, lengths))
    return fields.get(name) or fields.get(next(beside, ""))


def _pad(value: Tensor, positions: int) -> Tensor:
    """(B, T, ...) -> (B, positions, ...) with zeros behind."""
    if value.shape[1] >= positions:
        return value
    return torch.cat([value, value.new_zeros(value.shape[0], positions - value.shape[1], *value.shape[2:])], dim=1)


class Predictor:
    """A fitted task and its model, ready to answer; safe to call from several threads."""

    def __init__(self, task: Task, model: nn.Module, execution: Execution, block: Block | None = None, heights: Sequence[int] = ()):
        """`heights`: other heights of a block at which a row was proved to have the same bits; without them all blocks are filled up."""
        self.task, self.model, self.execution = task, model, execution
        self.fields = dict(task.inputs)
        self.block, self.heights = block or block_for(self.fields), tuple(sorted(heights))
        found = [one for field in self.fields.values() for one in field.facts.get("styles", {}).items()]
        self.styles = {name: STYLED[kind].Style(*style) for name, (kind, style) in found}
        """How training wrote the numbers and dates of each column."""
        self.known = {name: state for field in self.fields.values() for name, state in field.facts.get("known", {}).items()}
        """What training learned of each column of categories."""
        self._lock = threading.Lock()

    @property
    def enough(self) -> int:
        """Rows of one pass, however many more wait: a block, two where rows differ in width, half the highest that an engine takes."""
        return max(1, self.heights[-1] // 2) if self.heights else self.block.rows * (2 if self.block.positions else 1)

    def blocks(self, examples: Examples) -> Iterator[tuple[np.ndarray, Batch]]:
        """Row numbers and a finished batch of one of the heights: the largest that they fill, else the smallest, the last row repeated."""
        fields = self.fields
        ragged = {name: column.lengths() for name, column in examples.columns.items()}
        widths = {name: _widths(lengths, _field(name, lengths, ragged, fields)) for name, lengths in ragged.items() if lengths is not None}
        signature = np.stack([*widths.values()], axis=1) if widths else np.zeros((len(examples), 0), np.int64)
        order = np.lexsort(signature.T[::-1]) if widths else np.arange(len(examples))
        start = 0
        while start < len(order):
            heights = self.heights or (self.block.height(int(signature[order[start]].sum())),)
            stop = start + 1
            while stop < len(order) and stop - start < heights[-1] and (signature[order[stop]] == signature[order[start]]).all():
                stop += 1
            height = max((one for one in heights if one <= stop - start), default=heights[0])
            stop = min(stop, start + height)
            rows = order[start:stop]
            filled = np.concatenate([rows, np.repeat(rows[-1:], height - len(rows))])
            batch = examples.batch(filled)
            for name, found in widths.items():
                batch[name] = _pad(batch[name], int(found[rows[0]]))
            yield rows, finish(batch, fields)
            start = stop

    def _on_device(self, batch: Batch) -> Batch:
        return self.execution.laid({name: value.to(self.execution.device) for name, value in batch.items()})

    def answers(self, table: Table) -> dict[str, list[Any]]:
        """Columns of answers, one value for each row of the table, in its order."""
        with THREADS.at(self.execution.threads):
            return self._whole(table)

    def _whole(self, table: Table) -> dict[str, list[Any]]:
        found = self._answers(table)
        for row, parts in self.task.windows(table):
            pieces: dict[str, list[Any]] = {name: [] for name in found}
            for part in parts:
                told = {name: part.column(name).to_pylist() for name in part.names if name not in self.task.columns}
                for name, values in (told | self._answers(part)).items():
                    pieces.setdefault(name, []).extend(values)
            for name, value in self.task.join(pieces).items():
                found[name][row] = value
        return found

    def _answers(self, table: Table) -> dict[str, list[Any]]:
        """The same, of each row no more than the model reads at once."""
        collected: list[tuple[np.ndarray, dict[str, list[Any]]]] = []
        offset = 0
        for piece in table.slices(SLICE):
            examples = self.task.encode(piece, target=False)
            for rows, batch in self._written(examples) if self.task.writes else self.blocks(examples):
                with self._lock, torch.inference_mode(), PRODUCTS.at(self.execution.products), self.execution.autocast():
                    columns = self.task.answer(*self._needed(self._on_device(batch), len(rows)))
                collected.append((rows + offset, columns))
            offset += len(piece)
        found: dict[str, list[Any]] = {}
        for rows, columns in collected:
            for name, values in columns.items():
                place = found.setdefault(name, [None] * offset)
                for row, value in zip(rows, values, strict=False):
                    place[row] = value
        return found

    def _needed(self, batch: Batch, rows: int) -> tuple[Any, Batch]:
        """The model and the batch as a task's `answer` takes them; of a block that `rows` rows only begin to fill, no more is decoded."""
        kept, height = -(-rows // DECODED) * DECODED, len(next(iter(batch.values())))
        if self.task.writes or kept >= height or any(len(value) != height for value in batch.values()):
            return self.model, batch
        first = {name: value[:kept] for name, value in batch.items()}

        def model(given: Batch) -> Any:
            output = self.model(batch if given is first else given)
            return output[:kept] if given is first and isinstance(output, Tensor) else output

        return model, first

    def _written(self, examples: Examples) -> Iterator[tuple[np.ndarray, Batch]]:
        """Rows as they come, for a task that writes: decoding keeps them apart itself (decode/loop.py)."""
        for start in range(0, len(examples), WRITTEN):
            rows = np.arange(start, min(start + WRITTEN, len(examples)))
            yield rows, finish(examples.batch(rows), self.fields)

    def unreadable(self, table: Table) -> Iterator[tuple[str, str, np.ndarray, str]]:
        """Columns of numbers or dates with cells that are none in the column's writing: kind, name, rows, how it is written."""
        for column, style in self.styles.items():
            if column not in table.names:
                continue  # encoding says which are missing
            cells = table.column(column)
            kind = next(kind for kind, module in STYLED.items() if isinstance(style, module.Style))
            bad = STYLED[kind].parse(cells, style)[1]
            if bad.any():
                yield kind, column, np.flatnonzero(bad), style.told()

    def refuse_unreadable(self, table: Table) -> None:
        """DataError for the first cell that is no number or date of its column: whoever asks for single rows must learn of it."""
        for kind, column, rows, like in self.unreadable(table):
            value = table.column(column)[int(rows[0])].as_py()
            told = {"value": value[:SHOWN] if isinstance(value, str) else value, "column": column, "row": int(rows[0]), "like": like}
            if kind == "date":
                raise DataError(
                    "A date must be written as the training data wrote it; {value!r} of {column!r} in row {row} is not a date "
                    "written like that{like}. Write it that way, or leave the cell empty.", **told,
                )  # fmt: skip
            raise DataError(
                "A number must be written as the training data wrote it; {value!r} of {column!r} in row {row} is not a number "
                "written like that{like}. Write it that way, or leave the cell empty.", **told,
            )  # fmt: skip

    def counted(self, table: Table) -> list[str]:
        """The same in words for a file: there such a cell counts as missing, as it did in training."""
        found = []
        for kind, column, rows, like in self.unreadable(table):
            value = str(table.column(column)[int(rows[0])].as_py())[:SHOWN]
            told = {"count": len(rows), "column": column, "like": like, "value": value, "row": int(rows[0]) + 1}
            if kind == "date":
                found.append(tr("{count:,} cells of {column!r} are no dates as written in training{like} and count as missing: {value!r} "
                                "in row {row}.", **told))  # fmt: skip
            else:
                found.append(tr("{count:,} cells of {column!r} are no numbers as written in training{like} and count as missing: {value!r} "
                                "in row {row}.", **told))  # fmt: skip
        return found + [*self._strange(table)]

    def _strange(self, table: Table) -> Iterator[str]:
        """Columns of categories that hold values, none of which was learned: of a file that is mostly another way to write them."""
        for column, state in self.known.items():
            if column not in table.names or not state["values"]:
                continue
            cells = Cells(table.column(column), table.root)
            rows = np.flatnonzero(category.KIND.filled(cells))
            if len(rows) and not category.KIND.met(cells, state).any():
                value = str(cells.data[int(rows[0])].as_py())[:SHOWN]
                yield tr("No cell of {column!r} has a value that was learned, such as {known!r}; all {count:,} count as unknown: {value!r} "
                         "in row {row}.", column=column, known=state["values"][0][:SHOWN], count=len(rows), value=value,
                         row=int(rows[0]) + 1)  # fmt: skip

    def hearing(self) -> dict[str, float]:
        """Seconds that the model hears at once of each column of sounds."""
        heard = {name.partition(":")[2]: field for name, field in self.fields.items() if field.form == "waveform"}
        return {name: field.shape[0] / float(field.facts["rate"]) for name, field in heard.items()}

    def refuse_cut(self, table: Table) -> None:
        """DataError for the first row that the task would read only a part of: in a file it is answered and counted."""
        longest = max((field.shape[0] for field in self.fields.values() if field.form == "tokens"), default=0)
        for row in [] if self.task.cuts else np.flatnonzero(self.task.too_long(table))[:1].tolist():
            raise DataError(
                "A text must fit into what the model reads, {longest} tokens; that of row {row} is longer. Shorten it.",
                longest=longest,
                row=row,
            )

    def evidence(self, table: Table) -> Evidence:
        """The facts that metrics are computed from, for each row of a table that has the target."""
        facts = self.facts(table)
        return self.task.together(facts) if facts else {}

    def facts(self, table: Table) -> Evidence:
        """The same before rows are told anything of one another."""
        examples = self.task.encode(table, target=True)
        order: list[np.ndarray] = []
        parts: list[Evidence] = []
        for rows, batch in self.blocks(examples):
            with self._lock, torch.inference_mode(), PRODUCTS.at(self.execution.products), self.execution.autocast():
                batch = self._on_device(batch)
                found = self.task.judge(self.model, batch)
            order.append(rows)
            parts.append({name: value[: len(rows)] for name, value in found.items()})
        if not parts:
            return {}
        back = np.argsort(np.concatenate(order), kind="stable")
        return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}
