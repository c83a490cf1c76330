"""Sentence embeddings from pairs: each text is brought near its partner and away from the partners of the others.

    batch[name] (2 B, T): source and target of each pair in turn -> model -> vectors (2 B, D), length 1

InfoNCE with in-batch negatives: van den Oord et al. 2018, arXiv:1807.03748, eq. 4; for sentences Henderson et al. 2017, arXiv:1705.00652;
the model of two equal towers: Reimers and Gurevych 2019, arXiv:1908.10084.
Legend: B pairs of a batch, N rows, T tokens, D width of a vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.config import Within
from duomo.core.contract import Baseline, Evidence, Field, Head, Metric, Suggestion, Task, View
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import text as text_kind
from duomo.core.kinds.cells import text_of
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Dense, Examples, Ragged, Turns
from duomo.data.digests import number_of
from duomo.data.pairs import Asked, Names, Pairs, cells_of, choose_columns, find_target, suggested
from duomo.data.readable import USUAL, half_read
from duomo.data.supervised import numbers
from duomo.data.targets import listed
from duomo.tasks.embed.ranking import Chance, Tfidf, figures, ranks

SOURCES = ("source", "question", "query", "anchor", "text", "sentence1", "title", "问题")
TARGETS = ("target", "answer", "positive", "pos", "passage", "sentence2", "response", "答案")
JUDGED = ("label", "score", "similarity", "similarity_score", "relatedness", "relevance", "is_duplicate", "duplicate",
          "标签", "分数", "得分", "相似度")  # fmt: skip
"""Usual names of a column that says how alike the texts of a pair are."""
SCALES = (1.0, 5.0, 10.0, 100.0)
"""What such a column usually goes up to."""
ANCHORS, PARTNERS, OTHERS = {"anchor", "query"}, {"positive", "pos"}, "neg"
"""What texts and their partners are called where nothing else is meant; how the names of columns begin that hold texts of others."""


@dataclass(frozen=True)
class Config:
    """Which texts belong together."""

    target: tuple[str, ...] = ()
    """The column with the partner of each text (answer, translation, paraphrase); found by name, or the second of two columns."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Tokenizer, vocabulary, longest text."""
    source: str = ""
    """The column with the texts. Empty: found by name."""
    temperature: Annotated[float, Within(0.001)] = 0.05
    """What similarities are divided by in the loss; smaller values separate near texts more."""


@final
class Main(Task):
    """See the README beside this file."""

    name = "embed"
    cuts = True
    metric = Metric("mrr", True)

    def __init__(self, config: Config):
        self.config = config
        self.names = Names(config.source, config.target[0] if config.target else "")
        self.given: Mapping[str, Any] | None = None
        self.tokenizer: dict[str, Any] = {}

    @classmethod
    def suits(cls, table: Table) -> str:
        named = {name for name in table.names if name != "pos" or table.kinds.get(name) == "text"}  # else a part of speech
        return tr("the columns are anchors and what belongs to them") if ANCHORS & named and PARTNERS & named else ""

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        return find_target(table, TARGETS)

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        self.given = learned.get("text")

    @property
    def asked(self) -> Asked:
        return Asked(self.config.source, self.config.target, self.config.ignore, self.config.encode, SOURCES)

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.names = choose_columns(self.asked, table)
        table = _single(table, self.names)
        cells = [pc.drop_null(text_of(table.column(name))) for name in self.names]
        both = pa.chunked_array([chunk for some in cells for chunk in some.chunks], pa.large_string())
        if self.given is None:
            self.tokenizer = text_kind.learn(both, self.config.encode)
        else:
            within = text_kind.within(self.config.encode.longest_text, self.given)
            self.tokenizer = text_kind.kept(dict(self.given), both, within, self.config.encode.most_text)

    def state(self) -> dict[str, Any]:
        return {"columns": list(self.names), "tokenizer": self.tokenizer}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.names, self.tokenizer = Names(*state["columns"]), dict(state["tokenizer"])

    @property
    def inputs(self) -> Mapping[str, Field]:
        return {"text": text_kind.KIND.field(self.tokenizer)}

    @property
    def columns(self) -> list[str]:
        return [self.names.source]

    @property
    def head(self) -> Head:
        """None: the vector that the model pools is the answer."""
        return Head(0)

    def suggest(self, table: Table) -> Suggestion:
        return suggested(table)

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        mask, told = Pairs(self.asked).usable(_single(table, choose_columns(self.asked, table)))
        taken = (*self.config.target, self.config.source, *self.config.ignore)
        for name in [name for name in table.names if name.lower() in JUDGED and name not in taken]:
            far = _unlike(_judgement(table.column(name)), name) & mask
            mask = mask & ~far
            if not mask.any():
                raise DataError("Pairs are texts that belong together; by column {name!r} none of the {rows} rows do. Leave it out with "
                                "--ignore {name} where it says something else.", name=name, rows=len(table))  # fmt: skip
            told += [tr("{count} of {rows} pairs do not belong together by column {name!r} and are left out; --ignore {name} keeps them.",
                        count=int(far.sum()), rows=len(table), name=name)] if far.any() else []  # fmt: skip
        told += [tr("{count} of {rows} cells of {name!r} hold several texts: the first of each is the partner.",
                    count=count, rows=len(table), name=name)
                 for name in choose_columns(self.asked, table)
                 if (count := sum(len(_listed(cell)) > 1 for cell in cells_of(table, name)))]  # fmt: skip
        unread = [name for name in table.names if name.lower().startswith(OTHERS)]
        told += [tr("Column {name!r} is not read: a text is kept away from the partners of the others in its step.", name=name)
                 for name in unread]  # fmt: skip
        return mask, told

    # -- tensors
    def texts(self, table: Table) -> tuple[list[str], list[str]]:
        table = _single(table, self.names)
        return cells_of(table, self.names.source), cells_of(table, self.names.target)

    def encode(self, table: Table, *, target: bool) -> Examples:
        if not target:
            return Examples({"text": self._ragged(cells_of(_single(table, self.names[:1]), self.names.source))})
        source, targets = self.texts(table)
        both = self._ragged([text for pair in zip(source, targets, strict=True) for text in pair])
        same = torch.tensor([number_of(text) for text in targets], dtype=torch.int64)
        return Examples({"text": Turns(both, 2), "same": Dense(same)})

    def _ragged(self, texts: list[str]) -> Ragged:
        rows = [text_kind.framed(self.tokenizer, ids) for ids in text_kind.encode_text(self.tokenizer, texts)]
        return Ragged.of(rows, np.zeros(0, np.int32))

    def half_read(self, table: Table, examples: Examples) -> list[str]:
        sides = zip(self.names, self.texts(table), strict=True)
        found = [half_read(name, text_kind.sizes(self.tokenizer, side), int(self.tokenizer["longest"]), USUAL) for name, side in sides]
        return [sentence for said in found for sentence in said]

    def too_long(self, table: Table) -> np.ndarray:
        asked = cells_of(_single(table, self.names[:1]), self.names.source)
        return np.asarray(text_kind.sizes(self.tokenizer, asked) > int(self.tokenizer["longest"]))

    # -- learning and judging
    def _sides(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (B, D) of length 1 of sources and of targets."""
        vectors = functional.normalize(_vectors(output).float(), dim=1)
        return vectors[0::2], vectors[1::2]

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """-log of the own partner's share among all of the batch, from either side, summed over pairs; equal partners do not compete."""
        source_BD, target_BD = self._sides(output)
        near_BB = source_BD @ target_BD.T / self.config.temperature
        same_BB = (batch["same"].unsqueeze(0) == batch["same"].unsqueeze(1)).fill_diagonal_(False)
        near_BB = near_BB.masked_fill(same_BB, -torch.inf)
        own_B = torch.arange(len(near_BB), device=near_BB.device)
        total = sum(functional.cross_entropy(side, own_B, reduction="sum") for side in (near_BB, near_BB.T)) / 2
        return torch.as_tensor(total), torch.tensor(float(len(own_B)))

    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        """Vectors of both sides (N, D); `together` makes ranks of them."""
        source_BD, target_BD = self._sides(output)
        return {"source": source_BD.cpu().numpy(), "target": target_BD.cpu().numpy()}

    def together(self, evidence: Evidence) -> Evidence:
        return {"rank": self._ranks(evidence)}

    @staticmethod
    def _ranks(evidence: Evidence) -> np.ndarray:
        return evidence["rank"] if "rank" in evidence else ranks(evidence["source"], evidence["target"])

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Recall at 1 and 10 and mean reciprocal rank among the targets of all rows judged."""
        return figures(self._ranks(evidence))

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) 1 - 1 / rank."""
        return 1 - 1 / self._ranks(evidence)

    def views(self, evidence: Evidence) -> Sequence[View]:
        rank_N = self._ranks(evidence)
        places = [1, 2, 3, 5, 10, 20, 50, 100]
        shares = [float((rank_N <= place).mean()) if len(rank_N) else 0.0 for place in places]
        data = {"labels": [str(place) for place in places], "values": shares}
        note = tr("Share of the texts whose own partner is among the first so many of {count:,}.", count=len(rank_N))
        return [View("bars", tr("Recall at each place"), data, note)]

    def baselines(self) -> Sequence[Baseline]:
        return Chance(), Tfidf(self.texts), Tfidf(self.texts, letters=True)

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`: the vector (length 1)."""
        vectors = functional.normalize(_vectors(model(batch)).float(), dim=1)
        return {"prediction": [[round(value, 6) for value in row] for row in vectors.tolist()]}


def _listed(cell: str) -> list[Any]:
    """The texts of a cell that is a list of them; none of another."""
    found = listed(cell) or []
    return found if all(isinstance(text, str) for text in found) else []


def _single(table: Table, names: Sequence[str]) -> Table:
    """The table with the first text of each cell of these columns that holds a list of them: what one text belongs to."""
    for name in names:
        cells = cells_of(table, name)
        if any(map(_listed, cells)):
            column = pa.array([(_listed(cell) or [cell if cell != "[]" else None])[0] for cell in cells], pa.large_string())
            table = replace(table, data=table.data.set_column(table.names.index(name), name, column))
    return table


def _judgement(cells: pa.ChunkedArray) -> np.ndarray:
    """(N,) numbers of a column, of true and false too; NaN where a cell says nothing."""
    said = [{"true": 1.0, "false": 0.0}.get((cell or "").lower(), np.nan) for cell in text_of(cells).to_pylist()]
    return np.where(np.isnan(said), numbers(cells), said)


def _unlike(values: np.ndarray, name: str) -> np.ndarray:
    """bool (N,): below the middle of a scale. Classes that are no yes and no (a label 0, 1, 2) are not on one."""
    known = values[np.isfinite(values)]
    if not len(known) or (name.lower() in ("label", "标签") and not set(known.tolist()) <= {0.0, 1.0, -1.0}):
        return np.zeros(len(values), bool)
    middle = 0.0 if known.min() < 0 else next((top for top in SCALES if top >= known.max()), known.max()) / 2
    return np.asarray(values < middle)


def _vectors(output: Tensor) -> Tensor:
    if output.ndim != 2 or not output.shape[1]:
        raise ConfigError("Embeddings need a model that gives the vector of a text; this one gives none. Choose bert.")
    return output
