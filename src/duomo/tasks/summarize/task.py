"""Summaries: a long text read, a short one written.

Legend: B rows of a batch, N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, final

import numpy as np
import pyarrow.compute as pc
import torch
from torch import nn

from duomo.core.config import Within
from duomo.core.contract import Baseline, Evidence, Metric, View
from duomo.core.kinds.cells import text_of
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Aside, Batch, Column, Dense, Examples, texts_of
from duomo.data.instructed import Instructed
from duomo.data.pairs import Asked
from duomo.data.supervised import is_unspaced
from duomo.data.text_metrics import rouge_rows, shown
from duomo.decode.rewriting import Rewriting
from duomo.tasks.summarize.baselines import Lead, lead
from duomo.tasks.summarize.fallback import COUNTS, Fallback

SOURCES = ("text", "document", "article", "source", "body", "content", "dialogue", "dialog", "transcript", "report", "news",
           "正文", "内容", "文本", "对话", "新闻")  # fmt: skip
TARGETS = ("summary", "abstract", "highlights", "headline", "title", "摘要", "标题")
"""Usual names; where a text and one of these are all there is, and the text is the longer by far, it is what they are written from."""
LONGEST, LOOKED_AT = 512, 1000
REQUEST = "Summarize the following text in one line."
"""What a model that only writes on is asked before each text; it is taught the answers."""


@dataclass(frozen=True)
class Config:
    """What is summarised, and how."""

    target: tuple[str, ...] = ()
    """The column with the summaries. Empty: found by name."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Tokenizer and vocabulary; longest_text is the number of tokens read of a text. 0: 512."""
    source: str = ""
    """The column with the texts. Empty: found by name."""
    smoothing: Annotated[float, Within(0, 1)] = 0.1
    """Label smoothing: share of a token's probability that is spread over all others (arXiv:1512.00567)."""
    beam: Annotated[int, Within(1)] = 4
    """Beam width of the search."""
    length_penalty: Annotated[float, Within(-1, 5)] = -1.0
    """0: short summaries, 1: best mean probability per token, above 1: long ones (arXiv:1609.08144). Negative: chosen on validation."""


@final
class Main(Rewriting):
    """See the README beside this file."""

    name = "summarize"
    cuts = True
    metric = Metric("rouge_l", True)

    def __init__(self, config: Config):
        asked = Asked(config.source, config.target, config.ignore, config.encode, SOURCES, longest=LONGEST)
        super().__init__(config, asked, REQUEST)
        self.characters = False
        """ROUGE counts characters (Chinese) instead of words."""
        self.fallback = Fallback()

    @classmethod
    def suits(cls, table: Table) -> str:
        """Two columns of text by the names of a text and its summary, which is shorter; beside others a summary may be an input."""
        names = {name for name in table.inputs() if table.kinds[name] in ("text", "category")}
        found = [(read, written) for read in SOURCES for written in TARGETS if {read, written} == names == set(table.inputs())]
        if not found:
            return ""
        sizes = [_length(table, name) for name in found[0]]
        return tr("{written} is the short form of {read}", written=found[0][1], read=found[0][0]) if sizes[0] > 2 * sizes[1] else ""

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        """The column with a usual name, else of two columns with text the one that is plainly the shorter."""
        texts = sorted((_length(table, name), name) for name in table.names if table.kinds.get(name) in ("text", "category"))
        shorter = [texts[0][1]] if len(texts) == 2 and 2 * texts[0][0] < texts[1][0] else []
        return tuple([name for name in TARGETS if name in table.names] or shorter)[:1]

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        super().fit(table)
        self.characters = is_unspaced(self.pairs.texts(table)[1][:2000])

    def state(self) -> dict[str, Any]:
        return super().state() | {"characters": self.characters, "fallback": self.fallback.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.characters = state["characters"]
        self.fallback.restore(state.get("fallback", {}))

    def encode(self, table: Table, *, target: bool) -> Examples:
        """The pairs, and beside them how each text begins, which may be the answer; of texts to answer how much is read."""
        beginnings = [lead(text, max(COUNTS)) for text in self.pairs.sources(table)]
        share: dict[str, Column] = {} if target else {"share": Dense(torch.from_numpy(self.pairs.shares(table)))}
        return Examples({**super().encode(table, target=target).columns, "lead.points": Aside.of_texts(beginnings), **share})

    # -- learning and judging
    def judge(self, model: nn.Module, batch: Batch) -> Evidence:
        """What is answered; before `calibrate` also by other length penalties, and by the beginnings of the texts."""
        written = self._written(model, batch, self.penalty.tried)
        truth, doubts = self.pairs.truths(batch), [_doubts(texts) for texts in written]
        told, leads = self._answered(written[0], batch)
        found = [self._shown_facts(told, truth) | {"doubt": doubts[0], "lead": np.array(leads, bool)}]
        others = zip(written[1:], doubts[1:], strict=True)
        found += [self._facts([text for text, _ in texts], truth) | {"doubt": doubt_B} for texts, doubt_B in others]
        evidence = self.penalty.beside(found)
        if self.fallback.doubt is None:
            beginnings = _beginnings(batch)
            for count in COUNTS:
                evidence[f"lead.{count}"] = self._facts([lead(text, count) for text in beginnings], truth)["rouge"]
        return evidence

    def calibrate(self, evidence: Evidence) -> None:
        """The length penalty; then whether and where the text's own beginning is the better answer: both by ROUGE-L."""
        evidence = self.penalty.choose(evidence, ("rouge", "doubt"), lambda found: self.measure(found)["rouge_l"])
        if f"lead.{COUNTS[0]}" in evidence:
            leads = {count: evidence[f"lead.{count}"][:, 2] for count in COUNTS}
            self.fallback.choose(evidence["rouge"][:, 2], leads, evidence["doubt"])

    def _answered(self, written: list[tuple[str, float]], batch: Batch) -> tuple[list[str], list[bool]]:
        """Each row's answer, and whether it is how its text begins."""
        rows = zip(written, _doubts(written).tolist(), _beginnings(batch), strict=True)
        found = [self.fallback.answered(text, doubt, beginning) for (text, _), doubt, beginning in rows]
        return [text for text, _ in found], [taken for _, taken in found]

    def _facts(self, told: list[str], truth: list[str]) -> Evidence:
        return {"rouge": rouge_rows(told, truth, self.characters)}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Mean F1 of ROUGE-L, -1 and -2, from 0 to 1."""
        one, two, longest = evidence["rouge"].mean(0).tolist() if len(evidence["rouge"]) else (0.0, 0.0, 0.0)
        return {"rouge_l": longest, "rouge_1": one, "rouge_2": two}

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) 1 - ROUGE-L of each row."""
        found: np.ndarray = 1 - evidence["rouge"][:, 2]
        return found

    def views(self, evidence: Evidence) -> Sequence[View]:
        unit = tr("characters") if self.characters else tr("words in lower case")
        note = tr("Above each: the reference. ROUGE counts {unit}.", unit=unit)
        note += "" if isinstance(self.pairs, Instructed) else " " + self.penalty.words("ROUGE-L")
        note = f"{note} {self.fallback.words(evidence)}".rstrip()
        return [shown(self.errors(evidence), evidence, tr("Summaries, from the best to the worst"), note)]

    def baselines(self) -> Sequence[Baseline]:
        names = {1: "first sentence", 3: "lead-3 (first three sentences)"}
        return [Lead(count, name, self.pairs.texts, self._facts) for count, name in names.items()]

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`; `confidence`, the geometric mean probability of the tokens that the model wrote; `lead`: whether the prediction is
        the beginning of the text in their place; `read`: how much of the text was read, from its beginning, 1 being all."""
        (written,) = self._written(model, batch, self.penalty.tried[:1])
        told, leads = self._answered(written, batch)
        sure = [round(float(np.exp(mean)), 4) for _, mean in written]
        return {"prediction": told, "confidence": sure, "lead": leads, "read": [round(share, 4) for share in batch["share"].tolist()]}


def _doubts(written: list[tuple[str, float]]) -> np.ndarray:
    """(B,) 1 less each summary's confidence."""
    return 1 - np.exp(np.array([mean for _, mean in written]))


def _beginnings(batch: Batch) -> list[str]:
    return texts_of(batch["lead.points"], batch["lead.points.length"])


def _length(table: Table, name: str) -> float:
    """Characters of a cell on average."""
    return float(pc.mean(pc.utf8_length(text_of(table.column(name).slice(0, LOOKED_AT)))).as_py() or 0)
