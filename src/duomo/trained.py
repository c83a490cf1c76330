"""A finished run at work: load, predict, evaluate. Reads the run folder and nothing else."""

import base64
import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import nn

from duomo import boxed, golden, learned
from duomo.asked import Reading, is_conversation
from duomo.core import find
from duomo.core.config import build, read_toml
from duomo.core.contract import Evidence, Task
from duomo.core.device import Execution, offered
from duomo.core.errors import ConfigError, DataError, RunError
from duomo.core.files import JSON_FAULTS, write_atomically
from duomo.core.kinds import KINDS
from duomo.core.messages import folded, tr
from duomo.core.recipe import Recipe
from duomo.core.reporter import Reporter, Silent
from duomo.core.run import RunFolder, computable, renamed, whole
from duomo.core.size_limits import Bounded
from duomo.core.table import Table
from duomo.data import ahead, cache, outputs
from duomo.data.formats.cues import CAPTIONS, heard, subtitled
from duomo.data.formats.documents import of_lines
from duomo.data.predictor import Block, Predictor
from duomo.data.readable import opening, overlong, readable
from duomo.data.totals import without_totals
from duomo.evaluate.bootstrap import interval, resample, witnessed
from duomo.evaluate.notebook import Shown
from duomo.evaluate.scorecard import pretty
from duomo.exchange import engines
from duomo.plan import task_options

SLICE = 4096
UNWRITTEN = ("probabilities", "words")
"""Answers that are told to who asks for rows, and that files do without."""


class Run(Shown):
    """A trained model with everything that belongs to it."""

    def __init__(self, folder: RunFolder, facts: Mapping[str, Any], recipe: Recipe, predictor: Predictor):
        self.folder, self.facts, self.recipe, self.predictor = folder, facts, recipe, predictor

    @classmethod
    def open(cls, path: Path | str, model: nn.Module | None = None, *, engine: bool = True) -> "Run":
        """The run in this folder, every byte checked; `model` only where the run was trained with a module of your own. It answers by the
        engine that was found for this machine (prepared.py), if one was and `engine` does not say no."""
        folder = RunFolder(path)
        folder.verify()
        facts, state = folder.read_json("run.json"), folder.read_json("task.json")
        recipe = build(Recipe, read_toml(folder.path / "recipe.toml"))
        with whole(folder.path):
            own, execution, block = facts["own_model"], build(Execution, facts["inference"], "inference"), Block.of(facts["block"])
            if {facts["kinds"][name] for name in facts["features"]} - KINDS.keys() or execution.device != "cpu":
                raise ValueError("kinds, inference")
            task = find.make_task(facts["task"], task_options(recipe.data, recipe))
            task.restore(state)
        if own and model is None:
            raise ConfigError(
                "This run was trained with a module of your own; it must be given again: duomo.load({path!r}, model=...).", path=str(path)
            )
        with Bounded(folder.path / "model.safetensors"), whole(folder.path):
            made = model if model is not None else find.make_model(recipe.model, task)
        restore(made, folder)
        with whole(folder.path), computable(folder.path):
            execution = block.suited(execution, offered())
            run = cls(folder, facts, recipe, Predictor(task, execution.apply(made).eval(), execution, block))
        found = engines.read(folder) if engine else None
        if found is not None:
            run.predictor = run.predicting(found)
        return run

    def __reduce__(self) -> tuple[Any, ...]:
        """By its folder: other processes open it anew."""
        return Run.open, (self.path.absolute(), self.model if self.facts["own_model"] else None)

    def golden(self) -> tuple[Table, dict[str, list[Any]]]:
        """Rows that this run answered when its training ended, and the answers."""
        told = self.folder.read_json("golden.json")
        with whole(self.path / "golden.json"):
            media, inputs = told["media"], told["inputs"].items()
            columns = {name: [base64.b64decode(cell) for cell in cells] if name in media else cells for name, cells in inputs}
            if not any(columns.values()):  # there was no time for any
                return self.table({name: [""] for name in columns}).take(np.arange(0)), told["answers"]
            return self.table(columns), told["answers"]

    def predicting(self, engine: engines.Engine) -> Predictor:
        """The predictor of this run by another engine; RunError where the engine cannot compute it."""
        model, execution = self.predictor.model, self.predictor.execution
        table = self.golden()[0]
        half = table.take(np.arange(0, len(table), 2))  # the others prove that what is learned of these holds for rows not looked at
        examples = [batch for _, batch in self.predictor.blocks(self.task.encode(half, target=False))]
        made, how = engines.built(engine, model, examples, execution)
        return Predictor(self.task, made, how, self.predictor.block, engine.heights)

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def task(self) -> Task:
        return self.predictor.task

    @property
    def model(self) -> nn.Module:
        return self.predictor.model

    @property
    def execution(self) -> Execution:
        return self.predictor.execution

    @property
    def scorecard(self) -> dict[str, Any]:
        """The scorecard as JSON values."""
        found: dict[str, Any] = self.folder.read_json("scorecard.json")
        return found

    def summary(self) -> dict[str, Any]:
        """What a machine wants to know of a finished run."""
        card = self.scorecard
        with whole(self.path / "scorecard.json"):
            return {"run": str(self.path), "task": card["task"], "metric": card["metric"]["name"], "metrics": card["results"][0]["metrics"]}

    # -- answering
    @cached_property
    def reading(self) -> Reading:
        """How this run reads what it is asked."""
        past = ahead.Past.open(self.path) if self.recipe.data.ahead else None
        return Reading(self.facts["kinds"], self.facts["features"], self.recipe.data, past, self.facts.get("optional", ()))

    def table(self, source: Any, encoding: str = "") -> Table:
        """Any source as a table of this run's kinds (asked.py)."""
        return self.reading.table(source, encoding)

    def told(self, table: Table) -> Table:
        """The rows that a server made, with the earlier values that they need."""
        return self.reading.told(table)

    def answers(self, table: Table) -> dict[str, list[Any]]:
        """Columns of answers for a table; rows keep their order."""
        with golden.sound(self):
            return self.predictor.answers(table)

    def predict(self, source: Any, encoding: str = "") -> Any:
        """Answers for a path, a list of rows, texts or files, an array: a list of dicts; for a frame: a frame of the same library."""
        table = self.table(source, encoding)
        if isinstance(source, (list, tuple, dict)):
            self.predictor.refuse_unreadable(table)
            self.predictor.refuse_cut(table)
            self.task.refuse(table)
        for sentence in self.predictor.counted(table):
            warnings.warn(sentence, stacklevel=2)
        columns = self.answers(table)
        library = type(source).__module__.partition(".")[0]
        if library in ("pandas", "polars"):
            return outputs.as_frame({name: outputs.flat(values) for name, values in columns.items()}, source, self._joined(table, source))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _joined(self, table: Table, source: Any) -> dict[str, pa.ChunkedArray]:
        """The column by which several rows of a frame were joined to one answer, that who asked may know them by it; none otherwise."""
        name = next(iter(self.recipe.data.join), "")
        joined = name in table.names and type(source).__name__ != "LazyFrame" and len(table) != len(source)
        return {name: table.column(name)} if joined else {}

    def predict_one(self, text: str | None = None, row: str | None = None) -> dict[str, Any]:
        """One answer for one text or one row written as a JSON object."""
        if text is not None:
            return dict(self.predict(self.reading.of_texts([text]))[0])
        try:
            cells = json.loads(row or "")
        except JSON_FAULTS as error:
            raise DataError("A row must be a JSON object; received {row!r} ({error}).", row=row, error=error) from None
        if not isinstance(cells, dict) and not is_conversation(cells):
            raise DataError('A row must be a JSON object such as {{"age": 41}}; received {row!r}.', row=row)
        return dict(self.predict([cells])[0])

    def predict_file(
        self, source: Any, out: str | None, *, encoding: str = "", columns: Sequence[str] = (), reporter: Reporter | None = None,
        printed: str = ".csv",
    ) -> dict[str, Any] | None:  # fmt: skip
        """The rows as they came with their answers beside them, to `out` or in the form `printed` to the screen; returns counts.
        `columns`: only these, where the target's name stands for the answer. A detector's answers are drawn where `out` is a picture, a
        film or, of a folder, a folder (boxed.py).
        """
        reporter = reporter or Silent()
        if boxed.draws(self.predictor, source, out):
            return boxed.draw(self.predictor, source, str(out), reporter)
        table = self.table(source, encoding)
        pieces = type(self.task).windows is not Task.windows
        long = overlong(table, {} if pieces else self.predictor.hearing())
        for problem in folded((*table.problems, *of_lines(table), *self.predictor.counted(table), *long)):
            reporter.say(problem)
        suffix = Path(out).suffix.lower() if out else printed
        if out is not None and suffix in CAPTIONS:
            return self._subtitled(table, Path(out), reporter)
        if suffix not in outputs.OUTPUTS:
            raise ConfigError("Answers are written as {known}; received {out!r}.", known=", ".join(outputs.OUTPUTS), out=out)
        if out is None:
            for index, piece in enumerate(self._answered(table, 0, columns, reporter)):
                outputs.write_text(sys.stdout, suffix, piece, index == 0)
            return None
        path = Path(out)
        read = [str(one).split("::")[0] for one in (source if isinstance(source, list) else [source]) if isinstance(one, (str, Path))]
        if path.is_file() and any(path.resolve() == Path(one).resolve() for one in read):
            raise ConfigError("Answers need a file of their own; {out!r} is the one that is read. Name another.", out=out)
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise ConfigError("Answers are written to a file; {out!r} is a folder. Name a file in it.", out=out)
        seal = (self.folder.path / "manifest.json").read_text(encoding="utf-8")
        rows, before = outputs.write(
            path, table, lambda part, start: self._answered(part, start, columns, reporter),
            lambda: cache.key_of(table, table.names, [seal, suffix, *columns], named=True), self.recipe.data.target if columns else (),
        )  # fmt: skip
        if before:
            reporter.say(tr("{rows:,} of them were answered by a former start.", rows=before))
        reporter.say(tr("Wrote {rows:,} answers to {path}.", rows=rows, path=path))
        return {"rows": rows, "out": str(path)}

    def _subtitled(self, table: Table, path: Path, reporter: Reporter) -> dict[str, Any]:
        """What is said in a recording, and when, as a file of subtitles."""
        answers = self.answers(table) if len(table) == 1 else {}
        if "words" not in answers:
            raise ConfigError("Subtitles ({suffix}) tell what is said in one recording, by a run of transcribe; received {rows} rows for a "
                              "run of {task}. Give one recording, or name a .csv.",
                              suffix=path.suffix, rows=len(table), task=self.task.name)  # fmt: skip
        cues = heard(answers["words"][0])
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, subtitled(cues, path.suffix.lower()).encode())
        reporter.say(tr("Wrote {count:,} subtitles to {path}.", count=len(cues), path=path))
        return {"rows": len(cues), "out": str(path)}

    def _answered(self, table: Table, start: int, wanted: Sequence[str], reporter: Reporter) -> Iterator[dict[str, list[Any]]]:
        """The cells of a table with the answers beside them, a slice at a time; it begins at row `start` of the whole."""
        shown = outputs.shown(table.without(self.reading.past.names if self.reading.past else ()), bool(self.recipe.data.join))
        opens, why = readable(table, self.reading.unread(table))
        for sentence in why:
            reporter.say(sentence)
        if cut := int(self.task.too_long(table).sum()):
            told = {"count": cut, "rows": len(table)}
            reporter.say(tr("{count:,} of {rows:,} texts are longer than what the model reads; of these only a part is.", **told))

        def beside(piece: Table, answers: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
            found = {name: piece.column(name).to_pylist() for name in shown}
            found |= {outputs.free(name, found): values for name, values in answers.items() if name not in UNWRITTEN}
            return outputs.picked(found, wanted, self.recipe.data.target, answers.get("prediction", [])) if wanted else found

        example = table.take(np.flatnonzero(opens)[:1])
        if set(wanted) - {*self.recipe.data.target, *shown}:  # one row tells which columns there are, before all are answered
            beside(example, self.answers(example))
        with reporter.progress(tr("predict"), len(table), tr("rows") if not start else tr("rows from {start:,}", start=start)) as bar:
            done = 0
            for piece in table.slices(SLICE):
                answers = self._answers_where(opens[done : done + len(piece)], piece, example)
                bar.update(done := done + len(piece))
                yield beside(piece, answers)

    def _answers_where(self, opens: np.ndarray, piece: Table, example: Table) -> dict[str, list[Any]]:
        """Answers for the rows that open (N,), None for the others; `example` is a row that opens, to know the columns by."""
        if opens.all():
            return self.answers(piece)
        rows = np.flatnonzero(opens)
        answered = self.answers(piece.take(rows) if len(rows) else example)
        found: dict[str, list[Any]] = {name: [None] * len(piece) for name in answered}
        for name, values in answered.items() if len(rows) else ():
            for row, value in zip(rows.tolist(), values, strict=True):
                found[name][row] = value
        return found

    # -- judging
    def evidence(self, table: Table) -> Evidence:
        with golden.sound(self):
            return self.predictor.evidence(table)

    def evaluate(self, source: Any, *, encoding: str = "", reporter: Reporter | None = None) -> dict[str, Any]:
        """Metrics with 95 % intervals on other data that have the target: {metric: {"value", "low", "high"}} and the row count; None
        for what so few rows do not tell."""
        table = without_totals(self.table(source, encoding))
        for name in self.recipe.data.target:
            table.column(name)
        table, broken = opening(table, self.reading.unread(table))
        mask, sentences = self.task.usable(table)
        cut = overlong(table, self.predictor.hearing())
        for sentence in folded((*table.problems, *broken, *self.predictor.counted(table), *cut, *sentences)):
            (reporter or Silent()).say(sentence)
        if not mask.any():
            raise DataError("There must be rows with a known target to judge by; {name} has none.", name=table.name)
        if not mask.all():
            table = table.take(mask.nonzero()[0])
        table = self.task.divided(table)
        judged = resample(self.task.measure, {"model": witnessed(self.evidence(table), table, self.recipe.data.group)})["model"]
        told = {name: dataclasses.asdict(interval(judged, name)) for name in judged.figures}
        found = {name: {key: value if np.isfinite(value) else None for key, value in one.items()} for name, one in told.items()}
        known = learned.count(self.folder, table, self.facts["features"])
        if known:
            (reporter or Silent()).say(
                tr(
                    "Warning: the model has learned from {count:,} of these {rows:,} rows, or was chosen by them; the figures flatter.",
                    count=known, rows=len(table),
                )
            )  # fmt: skip
        result = {"run": str(self.path), "rows": len(table), "learned": known, "metrics": found}
        if reporter is not None:
            words = {
                name: ["–" if one[key] is None else f"{one[key]:.4f}" for key in ("value", "low", "high")] for name, one in found.items()
            }
            rows = [[pretty(name), value, f"{low} – {high}" if low != "–" else "–"] for name, (value, low, high) in words.items()]
            reporter.table(tr("{rows:,} rows", rows=len(table)), [tr("metric"), tr("value"), tr("95 % interval")], rows)
        return result


def restore(model: nn.Module, folder: RunFolder) -> None:
    """Weights of the run into the model; RunError when they do not fit."""
    empty = {name: value for name, value in model.named_buffers() if not value.numel()}  # what is fitted late is in no state yet
    expected = empty | model.state_dict()
    tensors = renamed(folder.read_tensors("model.safetensors"), expected)
    # what is empty waits to be filled: it takes any size, and older runs do without it
    tensors |= {name: own for name, own in expected.items() if not own.numel() and name not in tensors}
    wrong = sorted(set(expected) ^ set(tensors)) or [
        name for name, own in expected.items() if name not in empty and own.shape != tensors[name].shape
    ]
    if wrong:
        raise RunError(
            "The weights must fit the model of the recipe; in {path} these do not: {names}.", path=folder.path, names=", ".join(wrong[:5])
        )
    model.load_state_dict(tensors)
