"""What a worker does with requests: rows of many of them share a pass of the model, and a bad row hurts nobody else."""

import base64
import json
import math
import struct
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from duomo.core.errors import DataError, DuomoError, ResourceError, RunError
from duomo.core.kinds import audio
from duomo.core.kinds import text as text_kind
from duomo.core.messages import tr
from duomo.core.table import MEDIA, Table
from duomo.data.formats.cues import CAPTIONS, heard, subtitled
from duomo.serve.json_body import read_json
from duomo.serve.limits import MOST_INPUTS
from duomo.serve.rows import Rows, built, checked, rows_of, rows_of_parts

Answers = dict[str, list[Any]]
FAULTS = (pa.ArrowException, ValueError, RuntimeError, MemoryError, ArithmeticError, LookupError, TypeError, OSError)
"""What a model or a decoder may still raise; the request gets 500 and the worker goes on."""
READ_FAULTS = (DataError, *FAULTS)
ANSWER_FAULTS = (DuomoError, *FAULTS)


@runtime_checkable
class Tokenized(Protocol):
    """A task that reads texts by one tokenizer."""

    tokenizer: dict[str, Any]


class Served(Protocol):
    """What a server needs of a finished run."""

    facts: Mapping[str, Any]

    @property
    def path(self) -> Path: ...

    @property
    def task(self) -> Any: ...

    @property
    def model(self) -> Any: ...

    @property
    def execution(self) -> Any: ...

    @property
    def predictor(self) -> Any: ...

    def told(self, table: Table) -> Table: ...

    def answers(self, table: Table) -> Answers: ...


@dataclass(frozen=True)
class Question:
    """One request as the front passes it on."""

    id: int
    verb: str
    body: bytes = b""
    parts: Sequence[tuple[str, bool, int]] = ()
    """Of an upload: the field, whether it is a file, and the bytes of it in the body, one after the other."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What the front has read of the body already."""
    until: float = math.inf
    """On the machine's monotonic clock: later nobody waits for it any more."""


@dataclass(frozen=True)
class Reply:
    """One answer, or a piece of it where `more` follow; failures carry a message, and the field that is to blame."""

    status: int
    body: bytes = b""
    facts: Mapping[str, Any] = field(default_factory=dict)
    more: bool = False

    @classmethod
    def failure(cls, status: int, message: str, param: str | None = None, code: str | None = None) -> "Reply":
        return cls(status, facts={"message": message, "param": param, "code": code})


ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encoded(value: Any) -> bytes:
    """JSON; what is not finite becomes null, which JSON can say."""
    try:
        return ENCODER.encode(value).encode("utf-8", "replace")
    except ValueError:
        return ENCODER.encode(_finite(value)).encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def failed(error: BaseException) -> Reply:
    """The reply to a request that raised; anything unforeseen is told to the operator, never to the client."""
    if isinstance(error, ResourceError | MemoryError):
        return Reply.failure(503, tr("The memory does not suffice for this request. Send fewer or smaller rows."))
    if isinstance(error, DuomoError) and not isinstance(error, RunError):  # which names a folder of this machine
        return Reply.failure(422, str(error))
    traceback.print_exception(error)
    return Reply.failure(500, tr("The request could not be answered."))


def _heard(columns: Answers, asked: Mapping[str, Any], sound: bytes) -> dict[str, Any]:
    """A transcription in OpenAI's form (subtitles as its text); the language is what was asked, as no run tells languages apart."""
    (text,), (confidence,), (words,) = (columns[name] for name in ("prediction", "confidence", "words"))
    form, cues = asked["response_format"], heard(words)
    if form != "verbose_json":
        return {"text": subtitled(cues, f".{form}") if f".{form}" in CAPTIONS else text}
    frames, rate, _ = audio.look(sound)
    told = {"task": "transcribe", "language": asked["language"] or "", "duration": round(frames / rate, 3), "text": text}
    wanted = asked["timestamp_granularities"].split(",")
    sure = round(math.log(max(confidence, 1e-9)), 4)
    said = {"seek": 0, "tokens": [], "temperature": 0.0, "avg_logprob": sure, "compression_ratio": 1.0, "no_speech_prob": 0.0}
    segments = [{"id": number, "start": cue.begin, "end": cue.end, "text": cue.text} | said for number, cue in enumerate(cues)]
    told |= {"words": words} if "word" in wanted else {}
    return told | ({"segments": segments} if "segment" in wanted else {}) | {"confidence": confidence}


def _embedded(columns: Answers, asked: Mapping[str, Any], read: int) -> dict[str, Any]:
    """Embeddings in OpenAI's form: lists of numbers, or float32, the lowest byte first, in base64."""
    data = []
    for number, vector in enumerate(columns["prediction"]):
        told = vector[: asked["dimensions"] or len(vector)]
        if asked["encoding_format"] == "base64":
            told = base64.b64encode(struct.pack(f"<{len(told)}f", *told)).decode()
        data.append({"object": "embedding", "index": number, "embedding": told})
    return {"object": "list", "data": data, "model": asked["model"], "usage": {"prompt_tokens": read, "total_tokens": read}}


class BatchHandler:
    """One run's requests."""

    def __init__(self, run: Served):
        self.run = run
        self.columns = {name: run.facts["kinds"][name] for name in run.facts.get("asks", run.facts["features"])}
        self.told = {name: run.facts["kinds"][name] for name in filter(None, [run.facts.get("told")])}
        """The column of earlier values that rows may tell, where the run foretells."""
        self.free = {*self.told, *run.facts.get("optional", ())}
        """Columns that rows need not have."""
        self.ignored = run.facts["kinds"].keys() - self.columns.keys()
        """Columns that training saw and does not learn from: a client may send its rows as they are."""
        self.writing = False
        """Whether a GenerationHandler answers too (worker.py)."""
        self.slow = bool(run.task.writes)

    def facts(self) -> dict[str, Any]:
        """What the front tells of this run."""
        media = [name for name, kind in self.columns.items() if kind in MEDIA]
        verbs = ["chat", "complete"] if self.writing else []
        verbs += [verb for task, verb in (("transcribe", "hear"), ("embed", "embed")) if self.run.facts["task"] == task]
        fields = {"columns": self.columns, "ignored": sorted(self.ignored), "free": sorted(self.free)}
        return {"task": self.run.facts["task"], **fields, "media": media, "verbs": verbs}

    def rows(self, question: Question) -> Rows:
        """The rows that are asked; DataError where they cannot be."""
        if question.verb == "embed":
            return checked(self._texts(question), self.columns, MOST_INPUTS)
        if not question.parts:
            return checked(rows_of(question.body), self.columns | self.told, ignored=self.ignored, free=self.free)
        parts, start = [], 0
        for name, is_file, size in question.parts:
            parts.append((name, is_file, question.body[start : start + size]))
            start += size
        return checked(rows_of_parts(parts, self.columns), self.columns | self.told, ignored=self.ignored, free=self.free)

    def _texts(self, question: Question) -> list[Any]:
        """Texts to embed; those that came as tokens of the run's own tokenizer are spelled out."""
        value = read_json(question.body)
        if "tokens" not in value:
            return rows_of(question.body)
        if not isinstance(self.run.task, Tokenized):
            raise DataError("This run reads texts, not tokens. Send the texts themselves.")
        state, lists = self.run.task.tokenizer, value["tokens"]
        most = max(map(max, lists))
        if most >= int(state["size"]):
            raise DataError("Tokens must lie between 0 and {last}; received {value}.", last=int(state["size"]) - 1, value=most)
        return [text_kind.decode_text(state, tokens) for tokens in lists]

    def _read(self, rows: Rows) -> int:
        """Tokens of the texts, where they are read by a tokenizer."""
        if not isinstance(self.run.task, Tokenized):
            return 0
        texts = [str(cell) for row in rows.made for cell in row.values() if cell is not None]
        state = self.run.task.tokenizer
        return sum(len(text_kind.framed(state, tokens)) for tokens in text_kind.encode_text(state, texts))

    def _table(self, made: Sequence[Mapping[str, Any]]) -> Table:
        """DataError for a cell of the wrong make, and where a number or a date is not written as the run can read it."""
        table = self.run.told(built(made, self.columns | self.told))
        styles = self.run.predictor.styles
        written = [name for name, style in styles.items() if not pa.types.is_floating(table.column(name).type) or style.always]
        if written:
            self.run.predictor.refuse_unreadable(replace(table, data=table.data.select(written)))
        self.run.task.refuse(table)
        self.run.predictor.refuse_cut(table)
        return table

    def answer(self, group: Sequence[tuple[Question, Rows]]) -> Iterator[tuple[int, Reply]]:
        """All together where their columns have one form, and none tells what others are to be answered by; when that fails, one by one."""
        kinds: dict[Any, list[tuple[Question, Rows]]] = {}
        for question, rows in group:
            kinds.setdefault(rows.forms, []).append((question, rows))
        for alike in kinds.values():
            together = len(alike) > 1 and not self.slow and not self.told
            columns = self._together([row for _, rows in alike for row in rows.made]) if together else None
            start = 0
            for question, rows in alike:
                if columns is None:
                    yield question.id, self._alone(question, rows)
                else:
                    stop = start + len(rows)
                    yield question.id, self._reply(question, rows, {name: values[start:stop] for name, values in columns.items()})
                    start = stop

    def _together(self, made: Sequence[Mapping[str, Any]]) -> Answers | None:
        try:
            return self.run.answers(self._table(made))
        except ANSWER_FAULTS:
            return None

    def _alone(self, question: Question, rows: Rows) -> Reply:
        try:
            return self._reply(question, rows, self.run.answers(self._table(rows.made)))
        except ANSWER_FAULTS as error:
            return failed(error)

    def _reply(self, question: Question, rows: Rows, columns: Answers) -> Reply:
        count = len(next(iter(columns.values()), []))
        if question.verb == "hear":
            return Reply(200, encoded(_heard(columns, question.asked, question.body)), {"rows": count})
        if question.verb == "embed":
            if (most := len(columns["prediction"][0])) < (question.asked["dimensions"] or 0):
                sentence = tr(
                    "The run embeds in {most} dimensions; received {value}. Ask for fewer.", most=most, value=question.asked["dimensions"]
                )
                return Reply.failure(400, sentence, "dimensions")
            return Reply(200, encoded(_embedded(columns, question.asked, self._read(rows))), {"rows": count})
        answers = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return Reply(200, encoded({"answers": answers}), {"rows": count})


def asked_of(handler: BatchHandler, question: Question) -> Rows | Reply:
    """The question's rows, or why there are none."""
    try:
        return handler.rows(question)
    except READ_FAULTS as error:
        return failed(error)
