"""Tagging: entities, parts of speech, words of a text without spaces.

Legend: B rows of a batch, N rows, T tokens, M tokens of all rows, C classes, K types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.contract import Baseline, Evidence, Field, Head, Metric, Suggestion, Task, View
from duomo.core.errors import DataError
from duomo.core.messages import together, tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Aside, Batch, Column, Examples, Ragged, texts_of
from duomo.data.supervised import is_unspaced, texts
from duomo.tasks.tag import pieces
from duomo.tasks.tag import tokens as cells
from duomo.tasks.tag.baselines import Frequent, Linear, Truth
from duomo.tasks.tag.checks import check_encode, check_tags
from duomo.tasks.tag.columns import declined, hold_words, lists, spanned, worded
from duomo.tasks.tag.division import AT_ONCE, divided
from duomo.tasks.tag.features import Features
from duomo.tasks.tag.labels import NEVER, Scheme, Span, transitions, viterbi
from duomo.tasks.tag.measures import counted, figures

LISTED = ("tags", "ner_tags", "pos_tags", "upos")
SPANS = ("labels", "label", "spans", "entities", "ents", "entity_list", "annotations", "ner")
TARGETS = ("tags", "ner_tags", "ner", *SPANS, "upos", "pos_tags", "pos", "tag")
SOURCES = ("tokens", "words", "characters", "text", "sentence", "文本", "句子")
LONGEST = 512
"""Tokens that are read at once: of a row that no span lets be divided, and in windows over the longer texts of answers."""
OVERLAP = 64
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
MANY_TOKENS = 100_000


@dataclass(frozen=True)
class Config:
    """What is tagged."""

    target: tuple[str, ...] = ()
    """The column with the tags (a list for each row, or spans of the text). Empty: found by name."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Without use: tokens are as the data have them."""
    source: str = ""
    """The column with tokens or text. Empty: found by name."""
    transition_weight: float = -1.0
    """Weight of which tag follows which, beside the tokens. Negative: chosen on validation."""


class Tagged:
    """Rows with their tags, to the place up to which they are learned; None where a row has none that fit its tokens."""

    def __init__(self, rows: list[cells.Row], tags: list[list[str] | None]):
        self.lengths = [len(row.starts) for row in rows]
        self.rows = [row._replace(starts=row.starts[:LONGEST], stops=row.stops[:LONGEST]) for row in rows]
        self.tags = [one and one[:LONGEST] for one in tags]


@final
class Main(Task):
    """See the README beside this file."""

    name = "tag"

    def __init__(self, config: Config):
        self.config = config
        self.column = config.source
        self.cut: dict[str, Any] = {}
        self.features = Features()
        self.tokenizer: dict[str, Any] = {}
        """Of weights that read pieces of words; empty: the model reads words and their features."""
        self.scheme = Scheme([], "")
        self.moves_CC = np.zeros((0, 0))
        self.weight: float | None = None
        """Chosen by `calibrate`; without transitions until then."""

    @classmethod
    def suits(cls, table: Table) -> str:
        tags = [name for name in LISTED if name in table.inputs() and lists(table, name)]
        if tags and "tokens" in table.inputs() and lists(table, "tokens"):
            return tr("the data are tokens and their tags")
        if name := worded(table):
            return tr("column {name} holds a tag for each word of the texts beside it", name=name)
        spans = [name for name in SPANS if name in table.inputs() and spanned(table, name)]
        return (
            tr("column {name} holds spans of the texts beside it", name=spans[0])
            if spans and set(table.of_kind("text")) - set(spans)
            else ""
        )

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        named = [name for name in TARGETS if name in table.names]
        found = worded(table)
        return tuple([*(name for name in named if name in SPANS and spanned(table, name)), *([found] if found else named)][:1])

    @property
    def metric(self) -> Metric:  # type: ignore[override]
        return Metric("f1" if self.scheme.written else "accuracy", True)

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        self.tokenizer = dict(learned.get("text", {}))

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.column = self._source(table)
        self.cut = self._cut(table)
        read = self.read(table)
        known = [(row.tokens, tags) for row, tags in zip(read.rows, read.tags, strict=True) if tags]
        if not known:
            raise DataError(
                "Learning needs rows whose target is known; {name!r} is empty in all rows. Choose another target.", name=self._target()
            )
        check_tags(known, self._target())
        if not self.tokenizer:
            check_encode(self.config.encode)
        self.features.fit([row for row, _ in known], self.cut["how"] in ("characters", "signs"))
        self.scheme = Scheme.find([tags for _, tags in known])
        self.moves_CC = transitions([self.scheme.encode(tags) for _, tags in known], self.scheme)
        self.weight = None

    def _target(self) -> str:
        if len(self.config.target) != 1:
            raise DataError("Tagging needs one target column; received {count}. Name it with --target.", count=len(self.config.target))
        return self.config.target[0]

    def _source(self, table: Table) -> str:
        if self.config.source:
            table.column(self.config.source)
            return self.config.source
        free = [name for name in table.names if name not in (*self.config.target, *self.config.ignore)]
        found = [name for name in SOURCES if name in free and hold_words(table, name)]
        found = found or [name for name in free if table.kinds.get(name) == "text"]
        if not found:
            raise DataError("Tagging needs a column of tokens or text; the columns are {columns}. Name it with --source.",
                            columns=", ".join(table.names[:30]))  # fmt: skip
        return found[0]

    def _cut(self, table: Table) -> dict[str, Any]:
        """How texts are cut: as the lists of tokens were, or by their script."""
        texts_N, tags_N = (table.column(name).slice(0, 2000).to_pylist() for name in (self._source(table), self._target()))
        rows = [cells.tokens_of(cell) for cell in texts_N]
        if lists := [row for row in rows if row is not None]:
            if (more := cells.counted(rows, tags_N)) is not None:
                found = [cells.of_counted(len(row or ()), cell, more) for row, cell in zip(rows, tags_N, strict=True)]
                return {**cells.how_cut(lists, [tags for tags in found if tags]), "counted": more}
            return cells.how_cut(lists, [tags for cell in tags_N if (tags := cells.tokens_of(cell))])
        if cells.as_spaced(texts_N, tags_N):
            return {"how": "spaces"}
        return {"how": "characters" if is_unspaced(texts(table.column(self._source(table)).slice(0, 2000))) else "words"}

    def read(self, table: Table) -> Tagged:
        """Every row cut into tokens, and its tags."""
        column, known = self._source(table), self.features.words.get("token", {})
        cut = self.cut or self._cut(table)
        both = zip(table.column(column).to_pylist(), table.column(self._target()).to_pylist(), strict=True)
        read = [cells.lesson(cell, target, cut, known) for cell, target in both]
        return Tagged([row for row, _ in read], [tags for _, tags in read])

    def state(self) -> dict[str, Any]:
        found = {"column": self.column, "cut": self.cut, "features": self.features.state(), "scheme": self.scheme.state()}
        found |= {"tokenizer": self.tokenizer, "labels": {"classes": [self.scheme.classes]}} if self.tokenizer else {}
        if self.tokenizer:  # what others need who read the weights alone (exchange/said.py)
            found["search"] = {"moves": self._moves().tolist(), **{name: ends.tolist() for name, ends in self._ends().items()}}
        return found | {"moves": self.moves_CC.tolist(), "weight": self.weight}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.column, self.cut, self.weight = state["column"], dict(state["cut"]), state["weight"]
        self.features.restore(state["features"])
        self.tokenizer = dict(state.get("tokenizer", {}))
        self.scheme, self.moves_CC = Scheme(**state["scheme"]), np.array(state["moves"])

    @property
    def inputs(self) -> Mapping[str, Field]:
        return pieces.fields(self.tokenizer, LONGEST) if self.tokenizer else self.features.fields(LONGEST)

    @property
    def columns(self) -> list[str]:
        return [self.column]

    @property
    def head(self) -> Head:
        return Head(len(self.scheme.classes), "step")

    def suggest(self, table: Table) -> Suggestion:
        count = sum(len(row.tokens) for row in self.read(table.take(np.arange(min(200, len(table))))).rows)
        tokens = int(count * len(table) / max(1, min(200, len(table))))
        return Suggestion("few" if tokens < MANY_TOKENS else "many", tr("about {tokens:,} tokens with their tags", tokens=tokens))

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        read, target = self.read(table), table.column(self._target()).to_pylist()
        length_N = np.array(read.lengths)
        missing_N = np.array([cell is None or cell == "" for cell in target], bool) | (length_N == 0)
        wrong_N = ~missing_N & np.array([tags is None for tags in read.tags], bool)
        long_N = length_N > AT_ONCE
        declined_N = declined(table) & ~missing_N & ~wrong_N
        kept_N = ~(missing_N | wrong_N | declined_N)
        values = {"rows": len(table), "name": self._target(), "longest": AT_ONCE}
        reasons = (
            (missing_N, "{missing} of {rows} rows have no {name!r} and are left out."),
            (wrong_N, "{missing} of {rows} rows have not one tag for each token and are left out."),
            (declined_N, "{missing} of {rows} rows were rejected or passed over by who annotated them and are left out."),
            (long_N & kept_N, "{missing} of {rows} rows have more than {longest} tokens: they are learned and judged in pieces."),
        )  # fmt: skip
        sentences = [tr(template, missing=int(mask_N.sum()), **values) for mask_N, template in reasons if mask_N.any()]
        rows = () if "counted" in (self.cut or self._cut(table)) else zip(target, read.rows, kept_N, strict=True)  # those count tokens
        if shared := sum(cells.sharing(cell, row) for cell, row, kept in rows if kept):
            sentences.append(tr("{missing:,} spans share tokens with a longer one and are left out: a token has one tag.", missing=shared))
        if not kept_N.any():
            raise DataError("Learning needs rows with as many tags as tokens; there are none. {problems}", problems=together(sentences))
        return kept_N, sentences

    def divided(self, table: Table) -> Table:
        return divided(table, self._source(table), self._target(), self.cut or self._cut(table)) if len(table) else table

    # -- tensors
    def encode(self, table: Table, *, target: bool) -> Examples:
        if target:
            read = self.read(table)
            columns, classes = self._columns(read.rows, self._longest), self._classes(read)
            return Examples(
                {
                    **columns,
                    "target.class": Ragged.of([row if len(row) else np.zeros(1, np.int16) for row in classes], np.zeros(0, np.int16)),
                }
            )
        rows = [cells.row_of(cell, self.cut, self.features.words["token"]) for cell in table.column(self.column).to_pylist()]
        columns = self._columns(rows)
        columns["text.points"] = Aside.of_texts([row.text for row in rows])
        for name, places in (("text.starts", [row.starts for row in rows]), ("text.stops", [row.stops for row in rows])):
            columns[name] = Aside(Ragged.of([np.array(row, np.int32) for row in places], np.zeros(0, np.int32)))
        return Examples(columns)

    @property
    def _longest(self) -> int:
        """Places that the model reads at once."""
        return next(iter(self.inputs.values())).shape[0]

    def _columns(self, rows: Sequence[cells.Row], longest: int = 0) -> dict[str, Column]:
        """What the model reads of the rows, cut to `longest` where it is not 0."""
        if self.tokenizer:
            return pieces.encode(rows, self.tokenizer, longest)
        return self.features.encode([row.tokens for row in rows])

    # -- learning
    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats, summed over tokens whose class training knows."""
        output, target_BT = pieces.of_words(output, batch), batch["target.class"].long()
        steps_T = torch.arange(target_BT.shape[1], device=target_BT.device)
        known_BT = (steps_T < batch["target.class.length"].unsqueeze(1)) & (target_BT < output.shape[2]) & pieces.seen(batch, target_BT)
        target_BT = target_BT.masked_fill(~known_BT, -100)
        total = functional.cross_entropy(output.flatten(0, 1).float(), target_BT.flatten(), ignore_index=-100, reduction="sum")
        return total, known_BT.sum()

    # -- judging
    def decode(self, scores_BTC: np.ndarray, length_B: np.ndarray, weight: float | None = None) -> np.ndarray:
        """(B, T) the best classes that make sense together; scores are logits or log-probabilities."""
        return viterbi(scores_BTC, length_B, self._moves(weight), self._ends())

    def _moves(self, weight: float | None = None) -> np.ndarray:
        """(C, C) what it counts that the second class comes after the first."""
        weight = (self.weight or 0.0) if weight is None else weight
        return np.where(self.scheme.follows, weight * self.moves_CC, self.moves_CC)

    def _ends(self) -> dict[str, np.ndarray]:
        """(C,) what it counts that a text begins or ends with a class."""
        return {"starts": np.where(self.scheme.starts, 0.0, NEVER), "stops": np.where(self.scheme.stops, 0.0, NEVER)}

    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        """Spans (or tags) found, predicted and true of each type (N, K + 1), tokens right and all; `scores` until calibrated."""
        scores_BTC = pieces.of_words(output, batch).float().log_softmax(-1).cpu().numpy()
        length_B, truth_BT = batch["target.class.length"].cpu().numpy(), batch["target.class"].cpu().numpy()
        best_BT = self.decode(scores_BTC, length_B)
        rows = [(truth_BT[row, :size], best_BT[row, :size]) for row, size in enumerate(length_B.tolist())]
        found = counted(self.scheme, [truth for truth, _ in rows], [best for _, best in rows])
        if self.weight is not None:
            return found
        kept = np.empty(len(rows), object)
        for row, size in enumerate(length_B.tolist()):
            kept[row] = (scores_BTC[row, :size].astype(np.float16), truth_BT[row, :size])
        return found | {"scores": kept}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        return figures(evidence, bool(self.scheme.written))

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) wrong and missing spans of each row, or the share of its tokens that is wrong."""
        if not self.scheme.written:
            return 1 - evidence["right"] / np.maximum(1, evidence["tokens"])
        return (evidence["predicted"] + evidence["true"] - 2 * evidence["found"]).sum(1).astype(np.float64)

    def calibrate(self, evidence: Evidence) -> None:
        """The weight of transitions with the best metric on validation."""
        if "scores" not in evidence or not len(evidence["scores"]):
            return
        if self.config.transition_weight >= 0:
            self.weight = self.config.transition_weight
            return
        scores = [pair[0].astype(np.float32) for pair in evidence["scores"]]
        truth = [pair[1] for pair in evidence["scores"]]
        judged = {weight: self.measure(counted(self.scheme, truth, self._decoded(scores, weight))) for weight in WEIGHTS}
        self.weight = max(WEIGHTS, key=lambda weight: (judged[weight][self.metric.name], -weight))

    def _decoded(self, scores: Sequence[np.ndarray], weight: float | None = None) -> list[np.ndarray]:
        """Rows of scores (T, C) decoded, rows of like length together."""
        found: list[np.ndarray] = [np.zeros(0, np.int64)] * len(scores)
        order = np.argsort([len(row) for row in scores], kind="stable").tolist()
        for start in range(0, len(order), 64):
            some = order[start : start + 64]
            length_B = np.array([len(scores[row]) for row in some])
            block_BTC = np.zeros((len(some), max(1, int(length_B.max(initial=1))), len(self.scheme.classes)), np.float32)
            for place, row in enumerate(some):
                block_BTC[place, : len(scores[row])] = scores[row]
            for row, size, best_T in zip(some, length_B.tolist(), self.decode(block_BTC, length_B, weight), strict=True):
                found[row] = best_T[:size]
        return found

    def views(self, evidence: Evidence) -> Sequence[View]:
        """F1 of each type."""
        found, predicted, true = (evidence[name].sum(0).astype(np.float64) for name in ("found", "predicted", "true"))
        score = 2 * found / np.maximum(1, predicted + true)
        order = [int(place) for place in np.argsort(-true, kind="stable") if true[place] or predicted[place]][:30]
        names = [*self.scheme.types, "?"]
        labels = [f"{names[place] or tr('words')} ({int(true[place]):,})" for place in order]
        note = tr("Behind each type: how many there are in the test. A span counts as found where its ends and its type are right.")
        return [View("bars", tr("F1 of each type"), {"labels": labels, "values": [float(score[place]) for place in order]}, note)]

    def baselines(self) -> Sequence[Baseline]:
        size = len(self.scheme.classes)
        return Frequent(size, self._truth, self._judged), Linear(size, self.features, self._truth, self._judged)

    def _truth(self, table: Table) -> Truth:
        read = self.read(table)
        flat_M = np.concatenate([np.zeros(0, np.int64), *self._classes(read)])
        return Truth([row.tokens for row in read.rows], np.where(flat_M < len(self.scheme.classes), flat_M, -1))

    def _classes(self, read: Tagged) -> list[np.ndarray]:
        """Of each row the classes of its tokens (T,); of one without tags what is outside of all spans."""
        return [self.scheme.encode(tags or ["O"] * len(row.starts)) for row, tags in zip(read.rows, read.tags, strict=True)]

    def _judged(self, table: Table, scores_MC: np.ndarray) -> Evidence:
        read = self.read(table)
        truth = self._classes(read)
        edges = np.cumsum([0, *map(len, truth)])
        return counted(self.scheme, truth, self._decoded([scores_MC[a:b] for a, b in pairwise(edges.tolist())]))

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`: spans with text, label, start and end (words where words are all that is asked); `tokens`, `tags`, `confidence`."""
        p_BTC = pieces.of_words(self._logits(model, batch), batch).float().softmax(-1).cpu().numpy()
        length_B = batch["text.starts.length"].cpu().numpy()
        best_BT = self.decode(np.log(np.maximum(p_BTC, 1e-8)), np.minimum(length_B, p_BTC.shape[1]))
        found: dict[str, list[Any]] = {"prediction": [], "tokens": [], "tags": [], "confidence": []}
        points = texts_of(batch["text.points"], batch["text.points.length"])
        for row, (text, size) in enumerate(zip(points, length_B.tolist(), strict=True)):
            places = batch["text.starts"][row, :size].tolist(), batch["text.stops"][row, :size].tolist()
            best_T = best_BT[row, :size]
            found["prediction"].append(self._told(text, places, best_T))
            found["tokens"].append([text[a:b] for a, b in zip(*places, strict=True)])
            found["tags"].append(self.scheme.tags(best_T))
            sure = p_BTC[row, np.arange(size), best_T]
            found["confidence"].append(round(float(sure.mean()), 4) if size else 0.0)
        return found

    def _told(self, text: str, places: tuple[list[int], list[int]], best_T: np.ndarray) -> list[Any]:
        spans = self.scheme.spans(best_T) if self.scheme.written else [
            Span(place, place + 1, tag) for place, tag in enumerate(self.scheme.tags(best_T))
        ]  # fmt: skip
        told = [(text[places[0][span.start] : places[1][span.stop - 1]], span) for span in spans]
        if self.scheme.written and self.scheme.types == [""]:
            return [word for word, _ in told]
        return [{"text": word, "label": s.type, "start": places[0][s.start], "end": places[1][s.stop - 1]} for word, s in told]

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, T, C), long rows in windows that overlap."""
        names = list(self.inputs)
        length_B, total = batch[f"{names[0]}.length"], batch[names[0]].shape[1]
        longest = self._longest
        if total <= longest:
            found: Tensor = model(batch)
            return found
        parts = []
        overlap = min(OVERLAP, longest // 8)
        step = longest - 2 * overlap
        for start in range(0, total, step):
            low, high = max(0, start - overlap), min(total, start + step + overlap)
            window = {name: batch[name][:, low:high] for name in names}
            window |= {f"{name}.length": (length_B - low).clamp(0, high - low) for name in names}
            parts.append(model(window)[:, start - low : start - low + step])
        return torch.cat(parts, 1)
