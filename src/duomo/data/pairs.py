"""Pairs of texts, one read and one written: what translate and summarize share.

    batch["source"] (B, S)   the text read; behind a divider, the target of the most similar pair of the training memory
    batch["target"] (B, T)   what the decoder reads: the start token, then the wanted text
Retrieved translations as a second source: Gu et al. 2018, arXiv:1705.07267; appended to the first: Bulte and Tezcan 2019 (ACL).
Legend: B rows, N rows, S source tokens, T target tokens, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.nn import functional

from duomo.core.contract import Field, Suggestion
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import number
from duomo.core.kinds import text as text_kind
from duomo.core.kinds.cells import codes_of, text_of, values_of
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Aside, Batch, Column, Dense, Examples, Ragged, texts_of
from duomo.data.baselines.memory import Memory
from duomo.data.digests import number_of
from duomo.data.readable import half_read
from duomo.data.several import apart, as_one, first_of, say_the_same, several

LONGEST = 256
LOOKED_AT = 10_000
"""Rows by which it is told what a column is."""
MANY, FEWEST_RUNS = 5000, 5
MORE = " more"
"""What is added to a text that is foretold without its end, so that the figures see it: written, it would go on."""
WITHOUT = 5
"""One in so many training pairs is learned without what the memory holds, so that the model can do without."""


class Names(NamedTuple):
    """The columns of a table that are read and written."""

    source: str
    target: str


@dataclass(frozen=True)
class Asked:
    """What a task asks of its pairs."""

    source: str
    target: tuple[str, ...]
    ignore: tuple[str, ...]
    encode: EncodeConfig
    sources: Sequence[str]
    """Usual names of the column that is read."""
    similarity: float = 2.0
    """Cosine from which on the memory is asked; above 1: never."""
    longest: int = LONGEST


def choose_columns(asked: Asked, table: Table) -> Names:
    """The named columns, else the ones with usual names, else the only other column with text; an error where it cannot be told."""
    if len(asked.target) != 1:
        raise DataError(
            "The one column with the texts to write must be named; received {count} of {columns}. Name it with --target.",
            count=len(asked.target), columns=", ".join(table.names[:30]),
        )  # fmt: skip
    target = table.called(asked.target[0])
    source = table.called(asked.source) if asked.source else ""
    if source == target:
        raise ConfigError(
            "What is read and what is written must be two columns; received {name!r} for both. Name another one with --source or --target.",
            name=target,
        )  # fmt: skip
    if source:
        return Names(source, target)
    free = [name for name in table.names if name not in (target, *asked.ignore)]
    found = [name for name in asked.sources if name in free]
    found = found or [name for kind in ("text", "category") for name in free if table.kinds.get(name) == kind]
    if not found:
        raise DataError("The column with the texts to read must be named; the columns are {columns}. Name it with --source.",
                        columns=", ".join(table.names[:30]))  # fmt: skip
    return Names(found[0], target)


def find_target(table: Table, usual: Sequence[str]) -> tuple[str, ...]:
    """The column with a usual name, else the second of two columns with text."""
    named = [name for name in usual if name in table.names]
    table = beside_place(table)
    texts = [name for name in table.names if table.kinds.get(name) in ("text", "category")]
    return tuple(named[:1] or (texts[1:] if len(texts) == 2 else ()))


def beside_place(table: Table) -> Table:
    """The table without columns that only tell where a row stands, if two inputs are left: alike in all rows, the same in rows that
    follow one another and in no others (a document's name), or counting within such rows."""
    first = table.take(np.arange(min(len(table), LOOKED_AT)))
    placed = [name for name in table.inputs() if table.kinds.get(name) in ("category", "number") and _is_place(first, name)]
    return table.without(placed) if len(table.inputs()) - len(placed) == 2 else table


def _is_place(table: Table, name: str) -> bool:
    if table.kinds[name] == "number":
        values, _ = number.parse(table.column(name))
        steps = np.diff(values) == 1
        return len(values) > 1 and steps.mean() >= 0.5 and bool((steps | (values[1:] == values[0])).all()) and values[0] in (0, 1)
    codes = codes_of(values_of(table.column(name)))
    runs, distinct = 1 + int((codes[1:] != codes[:-1]).sum()), len(np.unique(codes))
    return distinct == 1 or (distinct == runs >= FEWEST_RUNS and 2 * distinct <= len(codes))


def suggested(table: Table) -> Suggestion:
    """The recipe `few` or `many`, by the number of pairs."""
    return Suggestion("few" if len(table) < MANY else "many", tr("{rows:,} pairs of texts", rows=len(table)))


@final
class Pairs:
    """Tokenizers and the memory, learned from training pairs; pairs as tensors; tensors as texts."""

    def __init__(self, asked: Asked):
        self.asked = asked
        self.names = Names(asked.source, asked.target[0] if asked.target else "")
        self.given: Mapping[str, Any] | None = None
        self.tokenizer: dict[str, Any] = {}
        self.longest = (0, 0)
        """Tokens kept of a source (with what was retrieved) and of a target."""
        self.kept: tuple[list[str], list[str]] = ([], [])
        self.memory = Memory([])
        self._places: dict[str, list[int]] = {}
        self._pairs: set[tuple[str, str]] = set()

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.names = choose_columns(self.asked, table)
        source, target = (_known(table, name) for name in self.names)
        both = pa.chunked_array([*source.chunks, *target.chunks], pa.large_string())
        encode = self.asked.encode
        if self.given is not None:
            self.tokenizer = dict(self.given)
        else:
            name = encode.tokenizer or "bpe"
            settled = EncodeConfig(tokenizer=name, vocabulary=encode.vocabulary, longest_text=encode.longest_text)
            self.tokenizer = text_kind.learn(both, settled)
        most = min(encode.longest_text or self.asked.longest, text_kind.within(encode.longest_text, self.given) if self.given else 1 << 40)
        read, written = (self._longest(cells, most) for cells in (source, target))
        using = self.asked.similarity <= 1
        self.kept = (self.sources(table), texts_in(table, self.names.target)) if using else ([], [])
        self._remember()
        self.longest = (read + written + 1 if using else read, written + 1)

    def _longest(self, cells: pa.ChunkedArray, most: int) -> int:
        """Room for all but one in two hundred; for all where it was said how much is read."""
        said = bool(self.asked.encode.longest_text)
        some = cells if said else cells.slice(0, 4000)
        lengths = [len(ids) for ids in text_kind.encode_text(self.tokenizer, some.to_pylist())] or [1]
        return int(np.clip(np.ceil(np.percentile(lengths, 100 if said else 99.5)) + 1, 4, most))

    def _remember(self) -> None:
        self.memory, self._places, self._pairs = Memory(self.kept[0]), {}, {*zip(*self.kept, strict=True)}
        for place, source in enumerate(self.kept[0]):
            self._places.setdefault(source, []).append(place)

    def state(self) -> dict[str, Any]:
        return {"columns": list(self.names), "tokenizer": self.tokenizer, "longest": list(self.longest), "memory": list(self.kept)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.names, self.tokenizer = Names(*state["columns"]), dict(state["tokenizer"])
        self.longest, self.kept = tuple(state["longest"]), tuple(state["memory"])
        self._remember()

    @property
    def start(self) -> int:
        """The decoder's first token: the tokenizer's own, else its padding (as T5 has it)."""
        begin = text_kind.special(self.tokenizer, "begin")
        return begin if begin >= 0 else max(0, text_kind.special(self.tokenizer, "padding"))

    @property
    def end(self) -> int:
        """What ends a text, and divides a source from what was retrieved."""
        return max(0, text_kind.special(self.tokenizer, "end"))

    @property
    def padding(self) -> int:
        return max(0, text_kind.special(self.tokenizer, "padding"))

    @property
    def inputs(self) -> dict[str, Field]:
        size = int(self.tokenizer["size"])
        return {name: Field("tokens", (longest,), (size,)) for name, longest in zip(("source", "target"), self.longest, strict=True)}

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        names = choose_columns(self.asked, table)
        empty = [_empty(table, name) for name in names]
        mask = ~(empty[0] | empty[1])
        if not mask.any():
            raise DataError(
                "Pairs need a text on both sides; not one row has both {source!r} and {target!r}.", source=names.source, target=names.target
            )
        told = [
            tr("{missing} of {rows} pairs have an empty {name!r} and are left out.", missing=int(lacking.sum()), rows=len(table), name=name)
            for name, lacking in zip(names, empty, strict=True)
            if lacking.any()
        ]
        told += [
            tr("Each cell of {column} lists the parts of a text; they are read as one, a line each.", column=name)
            if not say_the_same(cells)
            else tr("Each cell of {column} lists several answers; each of them is learned.", column=name) if name == names.target
            else tr("Each cell of {column} lists several texts that say the same; the first is read.", column=name)
            for name in names if several(cells := cells_of(table, name))
        ]  # fmt: skip
        return mask, told

    def taught(self, table: Table) -> Table:
        """Each of several targets as a pair of its own."""
        name = choose_columns(self.asked, table).target
        return apart(table, name) if say_the_same(cells_of(table, name)) else table

    # -- tensors
    def texts(self, table: Table) -> tuple[list[str], list[str]]:
        """Sources, and all targets of each (`several.any_of`), empty where missing."""
        return self.sources(table), truths_in(table, self.names.target)

    def sources(self, table: Table) -> list[str]:
        return texts_in(table, self.names.source)

    def encode(self, table: Table, *, target: bool) -> Examples:
        sources = self.sources(table)
        targets = texts_in(table, self.names.target) if target else []
        places, scores = self.retrieved(sources, targets)
        read = [self._read(ids, place) for ids, place in zip(text_kind.encode_text(self.tokenizer, sources), places.tolist(), strict=True)]
        found = torch.from_numpy(np.stack([places, np.round(scores * 1e4).astype(np.int64)], axis=1))
        columns: dict[str, Column] = {"source": Ragged.of(read, np.zeros(0, np.int32)), "retrieved": Dense(found)}
        if not target:
            return Examples(columns)
        written = [self._written(ids) for ids in text_kind.encode_text(self.tokenizer, targets)]
        columns["target"] = Aside(Ragged.of(written, np.zeros(0, np.int32)))
        columns["truth.points"] = Aside.of_texts(self.texts(table)[1])
        return Examples(columns)

    def retrieved(self, sources: list[str], targets: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(N,) place of the pair whose source is most similar, and the cosine; -1 where none is similar enough.

        A pair of the memory finds none of its source, as a new text does; one in WITHOUT of them is shown nothing.
        """
        if not self.kept[0]:
            return np.full(len(sources), -1), np.zeros(len(sources))
        pairs = zip(sources, targets, strict=True) if targets else ()
        own = [self._places[pair[0]] if pair in self._pairs else None for pair in pairs] or [None] * len(sources)
        places, scores = self.memory.nearest(sources, [None if one is None else np.array(one) for one in own])
        alone = [one is not None and number_of(source, 4) % WITHOUT == 0 for one, source in zip(own, sources, strict=True)]
        far = (scores < self.asked.similarity) | np.array(alone, bool)
        return np.where(far, -1, places), np.where(far, 0.0, scores)

    def shares(self, table: Table) -> np.ndarray:
        """(N,) how much is read of each source, from 0 to 1."""
        return np.minimum(1.0, self.longest[0] / text_kind.sizes(self.tokenizer, self.sources(table)))

    def half_read(self, table: Table) -> list[str]:
        """In words, of how many sources and targets only the beginning is learned."""
        said = half_read(self.names.source, text_kind.sizes(self.tokenizer, self.sources(table)), self.longest[0])
        ids = text_kind.encode_text(self.tokenizer, texts_in(table, self.names.target))
        return said + half_read(self.names.target, np.array([len(row) for row in ids]), self.longest[1] - 1)

    def _read(self, ids: np.ndarray, place: int) -> np.ndarray:
        """A source as long as the model reads at all, and behind it as much of the memory as there is room for."""
        found = text_kind.framed(self.tokenizer | {"longest": self.longest[0]}, ids).astype(np.int32)
        room = min(self.longest[0] - len(found), self.longest[1]) - 1
        if place < 0 or room <= 0:
            return found
        other = text_kind.encode_text(self.tokenizer, [self.kept[1][place]])[0][:room]
        return np.concatenate([found, [self.end], other]).astype(np.int32)

    def _written(self, ids: np.ndarray) -> np.ndarray:
        ids = ids[ids != self.end][: self.longest[1] - 1]
        return np.concatenate([[self.start], ids]).astype(np.int32)

    # -- learning
    def labels(self, batch: Batch) -> Tensor:
        """(B, T) the token that follows each token of the target: at last the end; -100 beyond."""
        target_BT, length_B1 = batch["target"].long(), batch["target.length"].unsqueeze(1)
        after_BT = functional.pad(target_BT[:, 1:], (0, 1))
        place_T = torch.arange(target_BT.shape[1], device=target_BT.device)
        after_BT = after_BT.masked_fill(place_T == length_B1 - 1, self.end)
        return after_BT.masked_fill(place_T >= length_B1, -100)

    def loss(self, output: Tensor, batch: Batch, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats with smoothed labels (Szegedy et al. 2016, arXiv:1512.00567), summed over tokens."""
        labels_BT = self.labels(batch)
        total = functional.cross_entropy(
            output.flatten(0, 1).float(), labels_BT.flatten(), ignore_index=-100, reduction="sum", label_smoothing=smoothing
        )
        return total, (labels_BT != -100).sum()

    # -- texts
    def foretold(self, output: Tensor, batch: Batch) -> list[str]:
        """The likeliest token behind each true beginning, as texts: cheap to have while training."""
        best_BT = output.argmax(-1)
        sizes = batch["target.length"].tolist()
        found = [row[:size] for row, size in zip(best_BT.tolist(), sizes, strict=True)]
        return [self._text(row) + ("" if self.end in row else MORE) for row in found]

    def _text(self, tokens: Sequence[int]) -> str:
        kept = tokens[: tokens.index(self.end)] if self.end in tokens else tokens
        return text_kind.decode_text(self.tokenizer, kept).strip("\ufffd ")

    def truths(self, batch: Batch) -> list[str]:
        return texts_of(batch["truth.points"], batch["truth.points.length"])

    def spoken(self, written: Sequence[tuple[Sequence[int], float]], batch: Batch) -> list[tuple[str, float]]:
        """Each text that was written, and its mean log-probability of a token; where there was nothing to read, nothing is said."""
        nothing = text_kind.framed(self.tokenizer, np.zeros(0, np.int32)).tolist()
        rows = zip(batch["source"].tolist(), batch["source.length"].tolist(), strict=True)
        empty = [row[:length] in ([], nothing) for row, length in rows]
        return [("", 0.0) if bare else (self._text(list(tokens)), mean) for bare, (tokens, mean) in zip(empty, written, strict=True)]


def cells_of(table: Table, name: str) -> list[str]:
    """A column's texts, empty where missing."""
    return ["" if cell is None else cell for cell in text_of(table.column(name)).to_pylist()]


def truths_in(table: Table, name: str) -> list[str]:
    """The same; of cells that list several all (`several.as_one`)."""
    return as_one(cells_of(table, name))


def texts_in(table: Table, name: str) -> list[str]:
    """The same, but the first of several that say the same."""
    return [*map(first_of, truths_in(table, name))]


def _known(table: Table, name: str) -> pa.ChunkedArray:
    return pa.chunked_array([[cell for cell in texts_in(table, name) if cell]], pa.large_string())


def _empty(table: Table, name: str) -> np.ndarray:
    """bool (N,): cells without a visible character."""
    return np.asarray(pc.fill_null(pc.equal(pc.utf8_length(text_of(table.column(name))), 0), True).to_numpy(), bool)
