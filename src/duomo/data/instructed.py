"""Pairs of texts for a model that only writes on: the text to read stands in a request, the text to write is the answer to it.

    batch["tokens"] (B, T)   request and answer as the chat template shows them; batch["target"] what follows each token
    batch["asked"] (B, A)    the request alone, to be answered
As in instruction tuning (Wei et al. 2022, arXiv:2109.01652). What data/pairs.py is for a model that reads one text and writes another.
Legend: B rows, T tokens of request and answer, A of the request, G tokens of the answers, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from torch import Tensor

from duomo.core import dialogue
from duomo.core.contract import Field
from duomo.core.kinds import text as text_kind
from duomo.core.table import Table
from duomo.core.tensors import Aside, Batch, Column, Examples, Ragged, texts_of
from duomo.data import corpus
from duomo.data.pairs import MORE, Asked, Names, Pairs, choose_columns, texts_in, truths_in
from duomo.data.readable import half_read

LEAST_READ = 16
"""Tokens of a text that are read however short the model's context is."""


@final
class Instructed:
    """Requests and answers as tensors; the tokenizer and its chat template belong to the model's weights."""

    def __init__(self, asked: Asked, request: str, given: Mapping[str, Any]):
        """`request`: what is asked for, before the text; it may name the columns, {source} and {target}."""
        self.asked, self.request, self.given = asked, request, given
        self.names = Names(asked.source, asked.target[0] if asked.target else "")
        self.tokenizer: dict[str, Any] = {}
        self.read, self.longest = 0, (0, 0)
        """Tokens that are read of a text; of request and answer together, and of an answer."""

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.names = choose_columns(self.asked, table)
        source, target = (name.rpartition(".")[2] for name in self.names)
        self.request = self.request.format(source=source, target=target)
        self.tokenizer = dialogue.speaking(self.given)
        most = text_kind.within(self.asked.encode.longest_text, self.given)
        said = bool(self.asked.encode.longest_text)
        sources, targets = (self._lengths(texts_in(table, name)[: None if said else 4000]) for name in self.names)
        frame = len(dialogue.prompt(self.tokenizer, self._messages("")))
        written = int(min(np.ceil(np.percentile(targets, 100 if said else 99.5)) + 4, most // 2))
        wanted = int(min(sources.max(), self.asked.encode.longest_text or self.asked.longest))
        self.read = max(LEAST_READ, min(wanted, most - frame - written))
        self.longest = (self.read + frame + written, written)

    def _lengths(self, texts: list[str]) -> np.ndarray:
        return np.array([len(ids) for ids in text_kind.encode_text(self.tokenizer, texts)] or [1])

    def state(self) -> dict[str, Any]:
        return {
            "columns": list(self.names), "tokenizer": self.tokenizer, "longest": list(self.longest), "read": self.read,
            "request": self.request,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self.names, self.tokenizer = Names(*state["columns"]), dict(state["tokenizer"])
        self.longest, self.read, self.request = tuple(state["longest"]), int(state["read"]), state["request"]

    @property
    def inputs(self) -> dict[str, Field]:
        return {"tokens": Field("tokens", (self.longest[0],), (int(self.tokenizer["size"]),))}

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        return Pairs(self.asked).usable(table)

    def taught(self, table: Table) -> Table:
        return Pairs(self.asked).taught(table)

    # -- tensors
    def texts(self, table: Table) -> tuple[list[str], list[str]]:
        """Sources, and all targets of each (`several.any_of`), empty where missing."""
        return self.sources(table), truths_in(table, self.names.target)

    def sources(self, table: Table) -> list[str]:
        return texts_in(table, self.names.source)

    def _messages(self, text: str, answer: str | None = None) -> list[dict[str, str]]:
        asked = {"role": "user", "content": f"{self.request}\n\n{text}"}
        return [asked] if answer is None else [asked, {"role": "assistant", "content": answer}]

    def _cut(self, texts: list[str], most: int) -> list[str]:
        """The beginnings of the texts, `most` tokens of each."""
        found = text_kind.encode_text(self.tokenizer, texts)
        return [
            text if len(ids) <= most else text_kind.decode_text(self.tokenizer, ids[:most].tolist()).rstrip("\ufffd")
            for text, ids in zip(texts, found, strict=True)
        ]

    def shares(self, table: Table) -> np.ndarray:
        """(N,) how much is read of each source, from 0 to 1."""
        return np.minimum(1.0, self.read / np.maximum(1, self._lengths(self.sources(table))))

    def half_read(self, table: Table) -> list[str]:
        """In words, of how many sources and targets only the beginning is learned."""
        sizes = [self._lengths(texts_in(table, name)) for name in self.names]
        return half_read(self.names.source, sizes[0], self.read) + half_read(self.names.target, sizes[1], self.longest[1] - 4)

    def encode(self, table: Table, *, target: bool) -> Examples:
        kind, empty = text_kind.type_of(self.tokenizer), np.zeros(0, np.int64)
        sources = self._cut(self.sources(table), self.read)
        asked = [dialogue.prompt(self.tokenizer, self._messages(text))[: self.longest[0] - 1].astype(kind) for text in sources]
        if not target:
            return Examples({"tokens": Ragged.of(asked, empty.astype(kind))})
        targets = texts_in(table, self.names.target)
        rows = [self._lesson(source, answer) for source, answer in zip(sources, self._cut(targets, self.longest[1] - 4), strict=True)]
        columns: dict[str, Column] = {
            "tokens": Ragged.of([tokens[:-1].astype(kind) for tokens, _ in rows], empty.astype(kind)),
            "tokens.wanted": Ragged.of([learned[1:] for _, learned in rows], empty.astype(bool)),
            "target": Ragged.of([tokens[1:].astype(kind) for tokens, _ in rows], empty.astype(kind)),
            "asked": Aside(Ragged.of(asked, empty.astype(kind))),
            "truth.points": Aside.of_texts(self.texts(table)[1]),
        }
        return Examples(columns)

    def _lesson(self, text: str, answer: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (T,) and which of them are learned (T,)."""
        tokens, learned = dialogue.encode(self.tokenizer, dialogue.lesson(self.tokenizer, self._messages(text, answer)))
        most = self.longest[0] + 1
        return tokens[:most], learned[:most].astype(bool)

    # -- learning
    def loss(self, output: Tensor, batch: Batch, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats, summed over the answers' tokens; what weights know already is not smoothed."""
        return corpus.loss(output, batch)

    # -- texts
    def foretold(self, output: Tensor, batch: Batch) -> list[str]:
        """The likeliest token behind each true beginning, as texts: cheap to have while training."""
        best_G = corpus.at_wanted(output, batch).argmax(-1).tolist()
        ends = np.cumsum(batch["tokens.wanted"].sum(1).cpu().numpy()).tolist()
        return [self._text(best_G[start:stop]) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]

    def _text(self, tokens: list[int]) -> str:
        ends = text_kind.ends(self.tokenizer)
        stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        return text_kind.decode_text(self.tokenizer, tokens[:stop]).strip("\ufffd \n") + (MORE if stop == len(tokens) else "")

    def truths(self, batch: Batch) -> list[str]:
        return texts_of(batch["truth.points"], batch["truth.points.length"])

    @staticmethod
    def requests(batch: Batch) -> list[list[int]]:
        """The requests of a batch, whether it carries answers or not."""
        name = "asked" if "asked" in batch else "tokens"
        return [row[:size] for row, size in zip(batch[name].tolist(), batch[f"{name}.length"].tolist(), strict=True)]
