"""Translation: a text in one language read, a text in another written.

Legend: B rows of a batch, N rows.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, final

import numpy as np
from torch import nn

from duomo.core.config import Within
from duomo.core.contract import Baseline, Evidence, Metric, View
from duomo.core.kinds.cells import text_of
from duomo.core.messages import listed, tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch
from duomo.data.formats.aligned import as_long, side_of
from duomo.data.formats.headers import script_of
from duomo.data.instructed import Instructed
from duomo.data.pairs import Asked, beside_place, find_target
from duomo.data.text_metrics import bleu, chrf, chrf_rows, shown, tokenisation, translation_facts
from duomo.decode.rewriting import Rewriting
from duomo.decode.threshold import NEVER, best
from duomo.tasks.translate.baselines import Copy, Nearest

SOURCES = ("source", "src", "en", "english", "原文", "英文")
TARGETS = ("target", "tgt", "trg", "translation", "译文", "中文")
SIDES = ["source", "target"]
READ_IN = ("source_lang", "source_language", "src_lang", "src_language")
WRITTEN_IN = ("target_lang", "target_language", "tgt_lang", "tgt_language")
"""Columns that say in which language a side is written."""
LOOKED_AT, NEARLY, ALIKE = 1000, 0.9, 8
"""Rows that tell the script of a column; the share of them that must be in it; letters by which cells begin alike."""
REQUEST = "Translate the following text from {source} to {target}."
"""What a model that only writes on is asked before each text, by the names of the columns."""


@dataclass(frozen=True)
class Config:
    """What is translated, and how."""

    target: tuple[str, ...] = ()
    """The column with the translations; found by name, or the second of two columns."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Tokenizer (one for both sides) and its vocabulary; longest_text: tokens kept of a text."""
    source: str = ""
    """The column with the texts to translate. Empty: found by name."""
    similarity: Annotated[float, Within(0)] = 0.3
    """From this similarity on, the translation of the most similar training text is read too (arXiv:1705.07267). Above 1: never."""
    smoothing: Annotated[float, Within(0, 1)] = 0.1
    """Label smoothing: share of a token's probability that is spread over all others (arXiv:1512.00567)."""
    beam: Annotated[int, Within(1)] = 4
    """Beam width of the search."""
    length_penalty: Annotated[float, Within(-1, 5)] = -1.0
    """0: short translations, 1: best mean probability per token, above 1: long ones (arXiv:1609.08144). Negative: chosen on validation."""


@final
class Main(Rewriting):
    """See the README beside this file."""

    name = "translate"
    metric = Metric("chrf", True)

    def __init__(self, config: Config):
        asked = Asked(config.source, config.target, config.ignore, config.encode, SOURCES, config.similarity)
        super().__init__(config, asked, REQUEST)
        self.tokenisation = "13a"
        """Of BLEU, by the script of the training translations (data/text_metrics.py)."""
        self.trust: float | None = None
        """Similarity from which on the memory's translation is the answer; chosen by `calibrate`, above 1: never."""

    @classmethod
    def suits(cls, table: Table) -> str:
        table = beside_place(table.without((*READ_IN, *WRITTEN_IN)))
        if (sides := _in_two_scripts(table)) and _as_long(table, sides):
            return tr("the columns are in two languages, {names}", names=" → ".join(sides))
        named = table.inputs()
        if len(named) != 2 or any(table.kinds.get(name) not in ("text", "category") for name in named):
            return ""
        last = _unlike(*named)
        if last and all(side_of(name) not in ("", *SIDES) for name in last):
            return tr("the columns are named after two languages, {names}", names=" → ".join(last))
        alone = [*map(side_of, last)] == SIDES and {*table.names} <= {*named}
        return tr("the columns are source and target") if alone else ""

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        return find_target(table, TARGETS) or tuple(_in_two_scripts(beside_place(table))[1:])

    def _instruct(self, given: Mapping[str, Any]) -> None:
        """The model only writes on: it is asked for translations, without a memory and without beams."""
        super()._instruct(given)
        self.trust = NEVER

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        super().fit(table)
        self.tokenisation = tokenisation(self.pairs.texts(table)[1])

    def state(self) -> dict[str, Any]:
        return super().state() | {"tokenisation": self.tokenisation, "trust": self.trust}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.tokenisation, self.trust = state["tokenisation"], state.get("trust", NEVER)

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        mask, told = super().usable(table)
        return mask, [*told, *_mixed(table)]

    # -- learning and judging
    def judge(self, model: nn.Module, batch: Batch) -> Evidence:
        """What is answered; before `calibrate` also what other length penalties and the memory alone would have answered, and how
        similar its source is."""
        written, truth = self._written(model, batch, self.penalty.tried), self.pairs.truths(batch)
        told = [[self._trusted(text, row) for (text, _), row in zip(texts, _places(batch), strict=True)] for texts in written]
        found = self.penalty.beside([self._shown_facts(told[0], truth), *(self._facts(texts, truth) for texts in told[1:])])
        if self.trust is not None or isinstance(self.pairs, Instructed):
            return found
        places_N, scores_N = batch["retrieved"].cpu().numpy().T
        kept = self._facts([self.pairs.kept[1][place] if place >= 0 else "" for place in places_N.tolist()], truth)
        return found | {"memory.chrf": kept["chrf"], "memory.bleu": kept["bleu"], "similarity": scores_N / 1e4}

    def _trusted(self, text: str, row: Sequence[int]) -> str:
        """The memory's translation where its source is similar enough, else the text."""
        place, score = row
        if isinstance(self.pairs, Instructed):
            return text
        return self.pairs.kept[1][place] if place >= 0 and self.trust is not None and score >= self.trust * 1e4 else text

    def calibrate(self, evidence: Evidence) -> None:
        """The length penalty; then from which similarity on the memory's own translation is better than what the model makes of it: the
        best on validation, by the geometric mean of chrF and BLEU, since long equal stretches are what a memory is good for and chrF hardly
        sees them."""
        evidence = self.penalty.choose(evidence, ("chrf", "bleu"), self._mean)
        if "similarity" not in evidence:
            return

        def figure(kept_N: np.ndarray) -> tuple[float, float]:
            chosen = {name: np.where(kept_N[:, None], evidence[f"memory.{name}"], evidence[name]) for name in ("chrf", "bleu")}
            return self._mean(chosen), chrf(chosen["chrf"])

        self.trust = best(evidence["similarity"], figure)

    def _mean(self, evidence: Evidence) -> float:
        """The geometric mean of chrF and BLEU."""
        return math.sqrt(chrf(evidence["chrf"]) * bleu(evidence["bleu"]))

    def _facts(self, told: list[str], truth: list[str]) -> Evidence:
        return translation_facts(told, truth, self.tokenisation)

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """chrF2 and BLEU of all rows together, 0 to 100."""
        return {"chrf": chrf(evidence["chrf"]), "bleu": bleu(evidence["bleu"])}

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) 1 - chrF of each row."""
        return 1 - chrf_rows(evidence["chrf"]) / 100

    def views(self, evidence: Evidence) -> Sequence[View]:
        note = tr("Above each: the reference. BLEU is cut into words by the tokenisation {name} of sacreBLEU.", name=self.tokenisation)
        words = self.penalty.words(tr("the geometric mean of chrF and BLEU"))
        return [shown(self.errors(evidence), evidence, tr("Translations, from the best to the worst"), f"{note} {words}")]

    def baselines(self) -> Sequence[Baseline]:
        return Copy(self.pairs.texts, self._facts), Nearest(self.pairs.texts, self._facts)

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`; `confidence`, the geometric mean probability of its tokens (of what the memory says: how similar its source is);
        `memory`, what was read beside the text."""
        (written,) = self._written(model, batch, self.penalty.tried[:1])
        places = _places(batch)
        said = [self._trusted(text, row) for (text, _), row in zip(written, places, strict=True)]
        own = [text == other for text, (other, _) in zip(said, written, strict=True)]
        return {
            "prediction": said,
            "confidence": [round(math.exp(mean) if same else score / 1e4, 4)
                           for same, (_, mean), (_, score) in zip(own, written, places, strict=True)],
            "memory": [self._shown(*row) for row in places],
        }  # fmt: skip

    def _shown(self, place: int, score: int) -> dict[str, Any] | None:
        if place < 0 or isinstance(self.pairs, Instructed):
            return None
        sources, targets = self.pairs.kept
        return {"source": sources[place], "target": targets[place], "similarity": score / 1e4}


def _places(batch: Batch) -> list[list[int]]:
    """Of each row the place in the memory that was read beside it, and how similar; -1 where none was."""
    return batch["retrieved"].tolist() if "retrieved" in batch else [[-1, 0]] * len(batch["tokens"])


def _unlike(one: str, other: str) -> list[str]:
    """The word of each of two names in which they are unlike (en and fr of text_en and text_fr); nothing where there are more."""
    if side_of(one) and side_of(other):
        return [one, other]
    words = [re.split(r"[._ ]", name) for name in (one, other)]
    found = [pair for pair in zip(*words, strict=False) if pair[0] != pair[1]]
    return [*found[0]] if len(found) == 1 and len(words[0]) == len(words[1]) else []


def _in_two_scripts(table: Table) -> list[str]:
    """The only two columns of texts, where the rows of one are in another script than those of the other; what begins alike in all rows,
    as notes on a licence do, does not count."""
    if len(table.inputs()) > 3 or any(table.kinds.get(name) not in ("text", "category") for name in table.inputs()):
        return []
    texts = {name: text_of(table.column(name).slice(0, LOOKED_AT)).drop_null().to_pylist() for name in table.inputs()}
    alike = {name for name, cells in texts.items() if _most(cell[:ALIKE] for cell in cells)[1] >= NEARLY * len(cells)}
    named = [name for name in texts if name not in alike or len(texts) == 2]
    if len(named) != 2 or any(table.kinds.get(name) != "text" for name in named):
        return []
    (first, count), (second, other) = (_most(map(script_of, texts[name])) for name in named)
    sure = min(count / max(1, len(texts[named[0]])), other / max(1, len(texts[named[1]]))) >= NEARLY
    return named if first and second and first != second and sure else []


def _as_long(table: Table, sides: Sequence[str]) -> bool:
    """Whether longer texts stand beside longer ones, as of one meaning they do: a comment and its author's name are none."""
    cells = zip(*(text_of(table.column(name).slice(0, LOOKED_AT)).to_pylist() for name in sides), strict=True)
    return as_long([(len(one or ""), len(other or "")) for one, other in cells])


def _most(values: Iterable[str]) -> tuple[str, int]:
    """The most frequent value and its count."""
    return next(iter(Counter(values).most_common(1)), ("", 0))


def _mixed(table: Table) -> list[str]:
    """A sentence where the translations are in several languages: nothing tells the model which one to write."""
    told = []
    for name in (name for name in table.names if name in WRITTEN_IN):
        languages = sorted(set(map(str, table.column(name).drop_null().to_pylist())))
        if len(languages) > 1:
            told.append(tr("Column {name!r} names {count} languages to write ({languages}), and the model is not told which of them is "
                           "wanted: train on the rows of one.", name=name, count=len(languages), languages=listed(languages)))  # fmt: skip
    return told
