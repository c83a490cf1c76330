"""Speech to text: characters learned with connectionist temporal classification (Graves et al. 2006).

Legend: B rows of a batch, N rows, S samples, T steps of the model, V characters and the blank (0), L characters of a transcript.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, final

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.contract import Baseline, Evidence, Field, Head, Metric, Steps, Suggestion, Task, View
from duomo.core.errors import DataError
from duomo.core.kinds import audio, infer, media
from duomo.core.kinds.base import Cells
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Aside, Batch, Column, Examples, Ragged, texts_of
from duomo.core.word_patterns import CJK
from duomo.data.encode import InputEncoder
from duomo.data.profile import words
from duomo.data.supervised import texts
from duomo.data.targets import TRANSCRIPTS, guess_target
from duomo.tasks.transcribe import ctc, tuning
from duomo.tasks.transcribe.baselines import Frequent, Nearest
from duomo.tasks.transcribe.transcripts import Normalise, as_objects, facts, normalise
from duomo.tasks.transcribe.views import draw

FASTEST = 40
"""Characters a second that no voice and no model gets through."""
MOST_CHARACTERS = 1_000_000
"""Characters of training transcripts that the language model learns from; the first ones."""
MANY_ROWS = 4000
TOGETHER = 32
"""Pieces of a long recording that are held at once."""
LISTS = ("file", "part")
BEGIN = "begin in seconds"
"""The column of pieces that says where in the recording each begins."""
WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
NEAR = 0.1
"""Seconds before the first and behind the last step of a word that are taken to be part of it, where no other word is."""


@dataclass(frozen=True)
class Config:
    """What is heard, and how it is written down."""

    target: tuple[str, ...] = ()
    """The column with the transcripts."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not hear; leave one sound column."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Sample rate and longest sound."""
    normalise: Normalise = "spoken"
    """spoken: NFC, lower case, no punctuation except apostrophes and hyphens inside words, single spaces; exact: NFC and single spaces."""
    beam: int = 16
    """Beam width; 1 takes the most likely character at each step, without the language model."""
    language_order: int = 8
    """Order of the character language model, learned from the training transcripts."""
    language_weight: float = -1.0
    """Weight of the language model beside the sound. Negative: chosen on validation."""
    insertion_bonus: float = -1.0
    """What each character adds to a transcript's score. Negative: chosen on validation."""


@final
class Main(Task):
    """See the README beside this file."""

    name = "transcribe"
    metric = Metric("cer", False)

    def __init__(self, config: Config):
        if len(config.target) != 1:
            raise DataError(
                "Transcription needs one target column, the transcripts; received {count}. Name it with --target.", count=len(config.target)
            )
        self.config = config
        self.encoder = InputEncoder(config.encode)
        self.alphabet: list[str] = []
        self.corpus: list[str] = []
        self.decoding: tuning.Decoding | None = None
        """Chosen by `calibrate`; the best path until then."""
        self._language: ctc.Language | None = None

    @classmethod
    def suits(cls, table: Table) -> str:
        target = guess_target(table)[0] if table.of_kind("audio") else ""
        spoken = table.kinds.get(target) == "text" or words(target) in TRANSCRIPTS
        return tr("the data are sounds and their transcripts") if spoken else ""

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        guess = guess_target(table)[0]
        found = [guess] if table.kinds.get(guess) == "text" or words(guess) in TRANSCRIPTS else table.of_kind("text")
        if not found or not table.of_kind("audio"):
            raise DataError(
                "Transcribe needs recordings and a column with their text; the columns are {columns}. Name the text with --target.",
                columns=", ".join(table.names[:30]),
            )
        return (found[0],)

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.encoder.fit(table, [self._sound(table)])
        rows = self.transcripts(table)
        self.alphabet = sorted(set("".join(rows)))
        if not self.alphabet:
            raise DataError("Transcripts must hold characters; {name!r} is empty in all rows.", name=self.config.target[0])
        room = np.cumsum([len(row) for row in rows]) <= MOST_CHARACTERS
        self.corpus = [row for row, fits in zip(rows, room, strict=True) if row and fits]
        self.decoding, self._language = None, None

    def _sound(self, table: Table) -> str:
        kinds = table.kinds or infer(table, {}).kinds
        found = [name for name in table.names if kinds.get(name) == "audio" and name not in (*self.config.ignore, *self.config.target)]
        if len(found) > 1:  # a folder's own list of files names them a second time
            found = [name for name in found if name not in LISTS]
        if len(found) != 1:
            raise DataError(
                "Transcription needs exactly one column of sounds; received {count} ({names}). Leave the others out with --ignore.",
                count=len(found), names=", ".join(found) or "-",
            )  # fmt: skip
        return found[0]

    def transcripts(self, table: Table) -> list[str]:
        """The target normalised; empty where it is missing."""
        return [normalise(text, self.config.normalise) for text in texts(table.column(self.config.target[0]))]

    def state(self) -> dict[str, Any]:
        decoding = None if self.decoding is None else self.decoding._asdict()
        return {"encoder": self.encoder.state(), "alphabet": "".join(self.alphabet), "corpus": self.corpus, "decoding": decoding}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.encoder.restore(state["encoder"])
        self.alphabet, self.corpus = list(state["alphabet"]), list(state["corpus"])
        self.decoding = None if state["decoding"] is None else tuning.Decoding(**state["decoding"])
        self._language = None

    @property
    def inputs(self) -> Mapping[str, Field]:
        return self.encoder.fields()

    @property
    def columns(self) -> list[str]:
        return list(self.encoder.columns)

    @property
    def head(self) -> Head:
        return Head(len(self.alphabet) + 1, "step")

    def suggest(self, table: Table) -> Suggestion:
        return Suggestion("speech" if len(table) < MANY_ROWS else "speech-many", tr("{rows} recordings with transcripts", rows=len(table)))

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        rows, name = self.transcripts(table), self.config.target[0]
        seconds_N = self._seconds(table)
        written_N = np.array([len(row) for row in rows], np.int64)
        longest = self.config.encode.longest_sound or audio.LONGEST
        missing_N = written_N == 0
        cut_N = ~missing_N & (seconds_N > longest)
        crowded_N = ~missing_N & ~cut_N & (written_N > FASTEST * seconds_N)
        if missing_N.all():
            raise DataError("Learning needs rows whose target is known; {name!r} is empty in all rows. Choose another target.", name=name)
        values = {"rows": len(table), "name": name, "longest": longest}
        reasons = (
            (missing_N, "{missing} of {rows} rows have no {name!r} and are left out."),
            (cut_N, "{missing} of {rows} sounds are longer than {longest:g} s and are left out."),
            (crowded_N, "{missing} of {rows} sounds are too short for their transcripts and are left out."),
        )
        sentences = [tr(template, missing=int(mask_N.sum()), **values) for mask_N, template in reasons if mask_N.any()]
        return ~(missing_N | cut_N | crowded_N), sentences

    def _seconds(self, table: Table) -> np.ndarray:
        """(N,) seconds by the header; 0 for a missing sound, and just short of the limit for one that cannot be read (reading says why)."""
        cells = Cells(table.column(self._sound(table)), table.root)
        sources = media.sources(cells)
        looks = media.decode_all(sources, audio.look)
        broken = min(1.0, self.config.encode.longest_sound or 1.0)
        return np.array(
            [
                look.frames / look.rate if isinstance(look, audio.Look) else 0.0 if source is None else broken
                for source, look in zip(sources, looks, strict=True)
            ]
        )

    # -- tensors
    def encode(self, table: Table, *, target: bool) -> Examples:
        columns: dict[str, Column] = dict(self.encoder.encode(table))
        if target:
            columns["target.points"] = Aside.of_texts(self.transcripts(table))
        return Examples(columns)

    # -- learning
    def loss(self, output: Steps, batch: Batch) -> tuple[Tensor, Tensor]:
        """CTC in nats, summed over rows, and the characters; a row that does not fit its steps counts nothing.

        A character that training never saw is left out of the target here (it still counts as an error in `evidence`).
        """
        points_BL, length_B = batch["target.points"].long(), batch["target.points.length"]
        codes_V = torch.tensor([ord(c) for c in self.alphabet], device=points_BL.device)
        place_BL = torch.searchsorted(codes_V, points_BL).clamp(max=len(codes_V) - 1)
        known_BL = (codes_V[place_BL] == points_BL) & (torch.arange(points_BL.shape[1], device=points_BL.device) < length_B.unsqueeze(1))
        logs_TBV = output.logits.float().log_softmax(-1).transpose(0, 1)
        total = functional.ctc_loss(
            logs_TBV, place_BL[known_BL] + 1, output.lengths.long(), known_BL.sum(1), reduction="sum", zero_infinity=True
        )  # fmt: skip
        return total, known_BL.sum()

    # -- judging
    def evidence(self, output: Steps, batch: Batch) -> Evidence:
        """Edits, characters, word edits, words, confidence; `prediction` and `truth` as text; `lattice` until calibrated."""
        truth = texts_of(batch["target.points"].cpu(), batch["target.points.length"].cpu())
        rows = ctc.lattices(output.logits, output.lengths)
        found = self._write(rows)
        prediction = [one.text for one in found]
        result = facts(truth, prediction)
        result |= {"confidence": self._confidence(found), "prediction": as_objects(prediction), "truth": as_objects(truth)}
        return result if self.decoding is not None else result | {"lattice": as_objects(rows)}

    def _write(self, rows: Sequence[ctc.Lattice]) -> list[ctc.Found]:
        """The transcript of each row; rows that repeat the one before (a block's filling) are not searched again."""
        found: list[ctc.Found] = []
        for place, row in enumerate(rows):
            if place and all(np.array_equal(a, b) for a, b in zip(row, rows[place - 1], strict=True)):
                found.append(found[-1])
            elif self.decoding is None or self.config.beam <= 1:
                found.append(ctc.best_path(row, self.alphabet))
            else:
                how = ctc.Search(self.config.beam, self.decoding.weight, self.decoding.bonus)
                found.append(ctc.search(row, self.alphabet, self.language(), how))
        return [one._replace(text=" ".join(one.text.split())) for one in found]

    def language(self) -> ctc.Language:
        if self._language is None:
            self._language = ctc.Language(self.alphabet, self.config.language_order, self.corpus)
        return self._language

    def _confidence(self, found: Sequence[ctc.Found]) -> np.ndarray:
        """(N,) the geometric mean probability of a character given the sound, to the power that validation asked for."""
        sharpness = 1.0 if self.decoding is None else self.decoding.sharpness
        return np.array([np.exp(sharpness * one.log_probability / max(1, len(one.text))) for one in found])

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """Edits over characters (or words) of all references together."""
        edits, size = float(evidence["edits"].sum()), max(1.0, float(evidence["characters"].sum()))
        return {"cer": edits / size, "wer": float(evidence["word_edits"].sum()) / max(1.0, float(evidence["words"].sum()))}

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) character error rate of each row."""
        found: np.ndarray = evidence["edits"] / np.maximum(1, evidence["characters"])
        return found

    def calibrate(self, evidence: Evidence) -> None:
        """Language weight and insertion bonus with the fewest edits on validation, and what makes confidences honest."""
        if "lattice" in evidence and len(evidence["lattice"]):
            asked = tuning.Asked(self.config.beam, self.config.language_weight, self.config.insertion_bonus)
            language = self.language() if self.config.beam > 1 else None
            self.decoding = tuning.choose(list(evidence["lattice"]), list(evidence["truth"]), self.alphabet, language, asked)

    def views(self, evidence: Evidence) -> Sequence[View]:
        return draw(evidence)

    def baselines(self) -> Sequence[Baseline]:
        return Frequent(self.transcripts), Nearest(self.transcripts, self._clips)

    def _clips(self, table: Table) -> tuple[Ragged, int]:
        ((name, column),) = self.encoder.encode(table).items()
        assert isinstance(column, Ragged)
        return column, int(self.inputs[name].facts["rate"])

    # -- answering
    def windows(self, table: Table) -> Iterator[tuple[int, Iterator[Table]]]:
        """Recordings longer than what the model hears, in pieces cut at pauses."""
        (name,), (heard,) = self.columns, self.inputs.values()
        longest, rate = heard.shape[0], int(heard.facts["rate"])
        sources = media.sources(Cells(table.column(name), table.root))
        for row, (source, look) in enumerate(zip(sources, media.decode_all(sources, audio.look), strict=True)):
            if source is not None and isinstance(look, audio.Look) and look.frames * rate > (longest + 1) * look.rate:
                yield row, self._pieces(table, name, audio.pieces(source, rate, longest), rate)

    def _pieces(self, table: Table, name: str, waves: Iterator[tuple[float, np.ndarray]], rate: int) -> Iterator[Table]:
        while some := list(islice(waves, TOGETHER)):
            cells = pa.array([audio.wav(wave, rate) for _, wave in some], pa.large_binary())
            data = pa.table({name: cells, BEGIN: pa.array([begin for begin, _ in some], pa.float64())})
            yield replace(table, data=data, kinds={name: "audio", BEGIN: "number"}, reasons={})

    def join(self, answers: Mapping[str, list[Any]]) -> dict[str, Any]:
        """The pieces' texts and words one after another, and their confidence, each character counting alike."""
        sizes = [max(1, len(text)) for text in answers["prediction"]]
        space = " " if " " in self.alphabet else ""
        confidence = float(np.average(answers["confidence"], weights=sizes)) if sizes else 0.0
        words = [
            {"word": one["word"], **{end: round(one[end] + begin, 3) for end in ("start", "end")}}
            for begin, found in zip(answers.get(BEGIN, ()), answers["words"], strict=False)
            for one in found
        ]
        text = space.join(text for text in answers["prediction"] if text)
        return {"prediction": text, "confidence": round(confidence, 4), "words": words}

    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`, the transcript; `confidence`, about the share of its characters that is right; `words`, each with the seconds at
        which it begins and ends."""
        output: Steps = model(batch)
        ((name, heard),) = self.inputs.items()
        silent_B = batch[name].abs().amax(1) <= audio.SILENT / 32767  # nothing is said there, whatever the language model expects
        rows = ctc.lattices(output.logits, output.lengths.masked_fill(silent_B, 0))
        found = self._write(rows)
        seconds_B = (batch[f"{name}.length"].cpu().numpy() / float(heard.facts["rate"])).tolist()
        words = [self._words(row, one.text, seconds) for row, one, seconds in zip(rows, found, seconds_B, strict=True)]
        return {"prediction": [one.text for one in found], "confidence": np.round(self._confidence(found), 4).tolist(), "words": words}

    def _words(self, row: ctc.Lattice, text: str, seconds: float) -> list[dict[str, Any]]:
        """The words of an answer (of Chinese and the like its characters), and when each is said."""
        spans = [found.span() for found in WORD.finditer(text)]
        if not spans:
            return []
        second_L2 = ctc.aligned(row, text, self.alphabet) * (seconds / max(1, len(row.blank_T)))
        times_W2 = np.array([[second_L2[first, 0], second_L2[last - 1, 1]] for first, last in spans])
        middle = (times_W2[1:, 0] + times_W2[:-1, 1]) / 2
        times_W2[:, 0] = np.maximum(times_W2[:, 0] - NEAR, [0.0, *middle])
        times_W2[:, 1] = np.minimum(times_W2[:, 1] + NEAR, [*middle, seconds])
        return [{"word": text[first:last], "start": round(begin, 3), "end": round(end, 3)}
                for (first, last), (begin, end) in zip(spans, times_W2.tolist(), strict=True)]  # fmt: skip
