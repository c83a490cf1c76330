"""Whole texts for the rows of a batch that were read: what translate and summarize answer with, and share.

Legend: B rows, N rows of a table, S source tokens.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from duomo.core.contract import EncoderDecoder, Evidence, Field, Head, Metric, Suggestion, Task
from duomo.core.errors import ConfigError
from duomo.core.table import Table
from duomo.core.tensors import Batch, Examples
from duomo.data.instructed import Instructed
from duomo.data.pairs import Asked, Pairs, suggested
from duomo.data.text_metrics import to_show
from duomo.decode.beam import Beam, search
from duomo.decode.engine import write
from duomo.decode.length_penalty import USUAL, Penalty
from duomo.decode.loop import Language
from duomo.decode.sampling import Sampling

ROOM = 3
"""A text may be this many times as long as its source, and SPARE tokens."""
SPARE = 16
Written = tuple[list[int], float]
"""Tokens and their mean log-probability."""


def _likeliest(model: nn.Module, batch: Batch, pairs: Instructed) -> list[tuple[str, float]]:
    """Rows that are asked the same are answered once."""
    requests = [tuple(row) for row in pairs.requests(batch)]
    several = list(dict.fromkeys(requests))
    sampling = Sampling(temperature=0.0, new_tokens=pairs.longest[1], logprobs=-1)
    told = write(model, Language.of(pairs.tokenizer), several, [sampling] * len(several), pairs.longest[0])
    known = {row: (answer.text.strip(), answer.mean) for row, answer in zip(several, told, strict=True)}
    return [known[row] for row in requests]


def written(
    model: nn.Module, batch: Batch, beam: Beam, penalties: Sequence[float], start: int, end: int, banned: Sequence[int] = ()
) -> list[list[Written]]:  # fmt: skip
    """For each length penalty what is written for each row, searched one by one; a row that repeats the one
    before is not searched again.

    ConfigError for a model that does not read and write.
    """
    if not isinstance(model, EncoderDecoder):
        raise ConfigError("This task needs a model that reads one text and writes another; received {name}. Choose seq2seq.",
                          name=type(model).__name__)  # fmt: skip
    found: list[list[Written]] = [[] for _ in penalties]
    for row, size in enumerate(batch["source.length"].tolist()):
        if row and bool((batch["source"][row] == batch["source"][row - 1]).all()):
            for texts in found:
                texts.append(texts[-1])
            continue
        one = {name: batch[name][row : row + 1] for name in ("source", "source.length")}
        context = min(beam.new_tokens, ROOM * size + SPARE) + 1
        searched = search(model, [start], [end], beam, context, penalties, batch=one, banned=banned)
        for texts, best, penalty in zip(found, searched, penalties, strict=True):
            length = len(best.tokens) + 1
            mean = best.score * ((5 + length) / 6) ** penalty / length
            texts.append((best.tokens, mean if math.isfinite(mean) else -20.0))
    return found


class Rewriting(Task):
    """What translate and summarize share: a text is read and another written, by pairs or by a model that only writes on."""

    reads = "before"
    judged_bytes = 60_000
    chosen_by = Metric("loss", False)

    def __init__(self, config: Any, asked: Asked, request: str):
        """`request`: what a model that only writes on is asked before each text."""
        self.config, self.asked, self.request = config, asked, request
        self.pairs: Pairs | Instructed = Pairs(asked)
        self.penalty = Penalty(config.length_penalty)

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        if "decoder" in learned:
            self._instruct(learned["text"])
        else:
            self.pairs.given = learned.get("text")

    def _instruct(self, given: Mapping[str, Any]) -> None:
        """The model only writes on: it is asked, and no beams are searched."""
        self.pairs, self.penalty = Instructed(self.asked, self.request, given), Penalty(USUAL)

    def fit(self, table: Table) -> None:
        self.pairs.fit(table)

    def state(self) -> dict[str, Any]:
        return self.pairs.state() | {"penalty": self.penalty.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        if "request" in state:
            self._instruct(state["tokenizer"])
        self.pairs.restore(state)
        self.penalty.restore(state.get("penalty", {}))

    @property
    def inputs(self) -> Mapping[str, Field]:
        return self.pairs.inputs

    @property
    def columns(self) -> list[str]:
        return [self.pairs.names.source]

    @property
    def head(self) -> Head:
        return Head(int(self.pairs.tokenizer["size"]), "step")

    def suggest(self, table: Table) -> Suggestion:
        return suggested(table)

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        return self.pairs.usable(table)

    def taught(self, table: Table) -> Table:
        return self.pairs.taught(table)

    def encode(self, table: Table, *, target: bool) -> Examples:
        return self.pairs.encode(table, target=target)

    def half_read(self, table: Table, examples: Examples) -> list[str]:
        return self.pairs.half_read(table)

    def too_long(self, table: Table) -> np.ndarray:
        return self.pairs.shares(table) < 1

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.pairs.loss(output, batch, self.config.smoothing)

    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        """What is foretold behind each true beginning: flatters, but tells checkpoints apart. `judge` tells what is written."""
        return self._shown_facts(self.pairs.foretold(output, batch), self.pairs.truths(batch))

    @abstractmethod
    def _facts(self, told: list[str], truth: list[str]) -> Evidence:
        """What metrics count of each text beside the true one."""

    def _shown_facts(self, told: list[str], truth: list[str]) -> Evidence:
        return self._facts(told, truth) | to_show(told, truth)

    def _written(self, model: nn.Module, batch: Batch, penalties: Sequence[float]) -> list[list[tuple[str, float]]]:
        """For each length penalty each row's text and mean log-probability of a token; a model that only writes on takes the likeliest
        token each time."""
        pairs = self.pairs
        if isinstance(pairs, Instructed):
            return [_likeliest(model, batch, pairs)] * len(penalties)
        beam = Beam(self.config.beam, new_tokens=pairs.longest[1], least=1)  # no text of a pair is empty
        found = written(model, batch, beam, penalties, pairs.start, pairs.end, (pairs.padding,))
        return [pairs.spoken(texts, batch) for texts in found]
