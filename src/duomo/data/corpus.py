"""Texts as one long stream of tokens, for tasks that learn from running text; of any size, because a large stream lies in a mapped file.

Legend: N documents, M tokens of all of them end to end.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.nn import functional

from duomo.core.contract import Field, Head, Suggestion, Task, View
from duomo.core.errors import DataError
from duomo.core.kinds import text as text_kind
from duomo.core.kinds.base import Block
from duomo.core.messages import flagged, listed, tr
from duomo.core.table import Table
from duomo.core.tensors import Batch, Ragged
from duomo.data import cache

SLICE = 2000
FEWEST_TOKENS = 64
"""Tokens without which no part of a split is sure of one."""


def suggest(size: int, tiny: int = 200_000) -> Suggestion:
    """The recipe for so many bytes of text."""
    return Suggestion("tiny" if size < tiny else "small" if size < 20_000_000 else "base", told(size))


def told(size: float) -> str:
    """So many bytes of text, in words."""
    if size < 1e5:
        return tr("{size:,.0f} kB of text to learn from.", size=max(1, size / 1e3))
    return tr("{size:,.1f} MB of text to learn from.", size=size / 1e6)


def check_length(tokens: int) -> None:
    """DataError where there are too few to learn from."""
    if tokens < FEWEST_TOKENS:
        raise DataError("A language model needs text of at least {least} tokens; there are {length}.", least=FEWEST_TOKENS, length=tokens)


def spread(errors_N: np.ndarray, title: str) -> View:
    """How many passages are how hard."""
    counts, edges = np.histogram(errors_N[np.isfinite(errors_N)], bins=min(24, max(2, len(errors_N) // 2)))
    data = {"labels": [f"{low:.2f}" for low in edges[:-1]], "values": counts.tolist()}
    return View("bars", title, data, tr("Above: easy passages; below: hard ones."))


def at_wanted(output: Tensor, batch: Batch) -> Tensor:
    """(G, V): a model that knows of `tokens.wanted` gives no other logits."""
    return output if output.dim() == 2 else output[batch["tokens.wanted"]]


def loss(output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats of the `target` where it is wanted, summed, and how many tokens that are."""
    target_G = batch["target"][batch["tokens.wanted"]].long()
    total = functional.cross_entropy(at_wanted(output, batch).float(), target_G, reduction="sum")
    return total, torch.tensor(float(len(target_G)))


class Running(Task):
    """What generate and fill share: one column of text is learned from, as one stream of tokens."""

    judged_bytes = 1_000_000

    def __init__(self, config: Any):
        self.config, self.column = config, config.column
        self.tokenizer: dict[str, Any] = {}
        self.given: Mapping[str, Any] | None = None
        self.context = 0

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        self.given = learned.get("text")

    def state(self) -> dict[str, Any]:
        return {"column": self.column, "tokenizer": self.tokenizer, "context": self.context}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.column, self.tokenizer, self.context = state["column"], dict(state["tokenizer"]), int(state["context"])

    @property
    def end(self) -> int:
        """What stands between documents (in a learned byte-level vocabulary the unknown, which nothing else needs)."""
        return max(text_kind.special(self.tokenizer, "end"), 0)

    @property
    def inputs(self) -> Mapping[str, Field]:
        return {"tokens": Field("tokens", (self.context,), (int(self.tokenizer["size"]),))}

    @property
    def columns(self) -> list[str]:
        return [self.column]

    @property
    def head(self) -> Head:
        return Head(int(self.tokenizer["size"]), "step")

    def suggest(self, table: Table) -> Suggestion:
        return suggest(table.column(self._text(table)).nbytes)

    def _text(self, table: Table) -> str:
        """The wanted column, else of the texts that are not ignored the one that holds most."""
        found = [name for name in table.of_kind("text") if name not in self.config.ignore]
        return self.column or max(found, key=lambda name: table.column(name).nbytes, default=table.names[0])

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        """(N,) which documents have words, and what is not learned from; DataError where none has."""
        column = self._text(table)
        cells = pc.fill_null(pc.utf8_length(pc.utf8_trim_whitespace(table.column(column).cast(pa.large_string()))), 0)
        mask = np.asarray(cells.to_numpy()) > 0
        if not mask.any():
            raise DataError("A language model needs text; {name!r} is empty in all rows. Give a text.", name=column)
        others = [name for name in table.of_kind("text") if name != column and name not in self.config.ignore]
        told = [tr("Text is read from column {column!r}; not from {names}: --set task.column={first} reads that in its place.",
                   column=column, names=listed(others, 5), first=flagged(others[0]))] if others else []  # fmt: skip
        if others and not mask.all():
            told.append(
                tr("{missing} of {rows} rows have no {name!r} and are left out.", missing=int((~mask).sum()), rows=len(mask), name=column)
            )
        return mask, told

    def _blocks(self, table: Table) -> Iterator[Block]:
        """Token numbers of all documents end to end, `end` after each, a slice of the table at a time; nothing for an empty cell."""
        for part in table.slices(SLICE) if len(table) else (table,):
            cells = part.column(self.column).to_pylist()
            found = iter(text_kind.encode_text(self.tokenizer, [str(cell) for cell in cells if cell is not None]))
            rows = [np.append(next(found), [self.end]) if cell is not None else np.zeros(0, np.int64) for cell in cells]
            lengths = np.array([len(row) for row in rows], np.int64)
            yield Block(np.concatenate([np.zeros(0, np.int64), *rows]).astype(text_kind.type_of(self.tokenizer)), lengths)

    def _length(self, table: Table, enough: int) -> int:
        """M, counted no further than to `enough`; DataError where that is too little to learn from."""
        count = 0
        for block in self._blocks(table):
            count += len(block.values)
            if count >= enough:
                break
        check_length(count)
        return count

    def documents(self, table: Table) -> Ragged:
        """All documents as a column of tokens (M,): in memory, or in a mapped file where they are many."""
        key = [dict(self.tokenizer), self.end]
        found = cache.collect(self._blocks(table), len(table), lambda: cache.key_of(table, [self.column], key))
        assert isinstance(found, Ragged)
        return found

    def stream(self, table: Table) -> Tensor:
        """The same without their borders."""
        return self.documents(table).values
