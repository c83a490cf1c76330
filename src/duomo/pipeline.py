"""Recipe -> stages -> run folder: the only place where the stages meet."""

import base64
import dataclasses
import hashlib
import platform
import time
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.feather as feather
import torch
from torch import nn

from duomo.core import find
from duomo.core.config import build, merge, read_toml, to_toml
from duomo.core.contract import Task
from duomo.core.device import Execution, candidates, machine_facts
from duomo.core.errors import ConfigError, DuomoError, RunError
from duomo.core.kinds import media
from duomo.core.kinds.base import Cells
from duomo.core.messages import tr
from duomo.core.recipe import Recipe
from duomo.core.reporter import Reporter, Silent
from duomo.core.run import RunFolder
from duomo.core.table import MEDIA, Table
from duomo.core.tensors import Batch
from duomo.data import audit, sources
from duomo.data.digests import row_digests
from duomo.data.loader import TableStream, batches
from duomo.data.predictor import BLOCK, Predictor
from duomo.evaluate import card, scorecard
from duomo.evaluate.report import html
from duomo.evaluate.report import inspect as inspection
from duomo.nn.init import initialise
from duomo.plan import Plan, choose, make, read, run_name, task_options
from duomo.serve import app
from duomo.train import loop, preflight, probe
from duomo.train.job import Job, Outcome
from duomo.trained import Run, without_target

GOLDEN_ROWS = 8
PROBE_SECONDS = 1.5
LONG_MINUTES = 10.0
GOLDEN_BYTES = 200_000


def load(path: Path | str, model: nn.Module | None = None) -> Run:
    """A finished run from its folder; every byte is checked first."""
    return Run.open(path, model)


def inspect(
    source: Any, settings: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None, html: str | None = None
) -> dict[str, Any]:
    """What is in the data, what is wrong with them, what would be trained; as JSON values and, with `html`, as a page."""
    reporter = reporter or Silent()
    said = build(Recipe, dict(settings or {}))
    source = source if source is not None else said.data.source
    table = read(source, said.data, reporter)
    proposal: dict[str, Any] = {}
    data = said.data
    try:
        data, notes = choose(table, said.data)
        task = find.make_task(data.task, task_options(data, said))
        suggestion = task.suggest(table)
        model = find.task_recipes(data.task)[suggestion.recipe]["model"]
        proposal = {"task": data.task, "target": list(data.target), "notes": notes, "recipe": suggestion.recipe}
        proposal |= {"model": model["name"], "reason": suggestion.reason}
    except DuomoError as error:  # the audit must also serve data that nothing can be trained on yet
        proposal = {"problem": str(error)}
    found = _audited(table, data.target, proposal)
    inspection.show(found, reporter)
    if html is not None:
        path = Path(html or f"{run_name(source)}.inspect.html")
        inspection.write(found, path)
        reporter.say(tr("The page with distributions: {path}", path=path))
    return found


def train(
    source: Any = None,
    settings: Mapping[str, Any] | None = None,
    *,
    target: str | tuple[str, ...] | list[str] = (),
    out: Path | str | None = None,
    model: str | nn.Module | None = None,
    minutes: float | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Learn from a path, a frame, rows or arrays; returns the finished run.

    `settings` are the recipe's, nested: {"train": {"epochs": 3}}; `model` is an architecture's name or an nn.Module of
    your own (forward(batch) -> logits (B, size)).
    """
    reporter = reporter or Silent()
    values: dict[str, Any] = dict(settings or {})
    names = (target,) if isinstance(target, str) else tuple(target)
    values = merge(values, {"data": {"target": names}} if names else {})
    values = merge(values, {"train": {"minutes": minutes}} if minutes is not None else {})
    values = merge(values, {"model": {"name": model}} if isinstance(model, str) else {})
    if source is None:
        source = values.get("data", {}).get("source") or None
    if source is None:
        raise ConfigError("Training needs data. Example: duomo train reviews.csv --target label")
    folder = _folder(source, out)
    with folder.lock():
        started = time.monotonic()
        plan = make(source, values, reporter)
        plan = dataclasses.replace(plan, recipe=_with_source(plan.recipe, source))
        plan.task.fit(plan.train)
        own = model if isinstance(model, nn.Module) else None
        work = _Work(folder, plan, own, reporter, started)
        execution = work.choose_execution()
        work.open_folder(execution, source)
        return work.run(execution)


def resume(path: Path | str, model: nn.Module | None = None, reporter: Reporter | None = None) -> Run:
    """Continue an interrupted run from its newest good checkpoint; a finished one is returned as it is."""
    reporter = reporter or Silent()
    folder = RunFolder(path)
    facts = folder.read_json("run.json")
    if folder.finished():
        reporter.say(tr("{path} is finished already; nothing is left to do.", path=folder.path))
        return load(path, model)
    with folder.lock():
        started = time.monotonic()
        recipe = build(Recipe, read_toml(folder.path / "recipe.toml"))
        kept = folder.path / "data.arrow"
        source: Any = kept if kept.exists() else recipe.data.source
        plan = make(source, dataclasses.asdict(recipe), reporter)
        if fingerprint(plan) != facts["data"]:
            raise RunError("A run continues on the same data only; {source} has changed since. Train anew.", source=recipe.data.source)
        plan = dataclasses.replace(plan, recipe=recipe)
        plan.task.restore(folder.read_json("task.json"))
        if facts["own_model"] and model is None:
            raise ConfigError(
                "This run was trained with a module of your own; it must be given again: duomo.load({path!r}, model=...).", path=str(path)
            )
        return _Work(folder, plan, model, reporter, started).run(Execution.from_dict(facts["execution"]))


def show(path: Path | str, *, reporter: Reporter | None = None, browser: bool = False) -> dict[str, Any]:
    """The scorecard: printed, and where its page lies."""
    run = load(path)
    scorecard.show(run.scorecard, reporter or Silent())
    page = run.path / "scorecard.html"
    (reporter or Silent()).say(tr("The page: {path}", path=page.absolute().as_uri()))
    if browser:
        webbrowser.open(page.absolute().as_uri())
    return run.scorecard


def serve(path: Path | str, *, host: str = "127.0.0.1", port: int = 8000, reporter: Reporter | None = None) -> None:
    """Serve a finished run until it is stopped."""
    app.serve(load(path), host, port, reporter or Silent())


def _audited(table: Table, target: tuple[str, ...], proposal: Mapping[str, Any]) -> dict[str, Any]:
    found = audit.audit(table, target[0] if target else "").to_dict()
    return found | {"proposal": dict(found.get("proposal") or {}) | dict(proposal)}


def fingerprint(plan: Plan) -> dict[str, Any]:
    """What the data were: rows of each part and one SHA-256 over the digests of their contents."""
    parts = {"train": plan.train, "valid": plan.valid, "test": plan.test}
    sums = {name: hashlib.sha256(row_digests(table, table.names).tobytes()).hexdigest() for name, table in parts.items()}
    return {"rows": {name: len(table) for name, table in parts.items()}, "sha256": sums}


def _folder(source: Any, out: Path | str | None) -> RunFolder:
    if out is not None:
        folder = RunFolder(out)
        if folder.exists():
            raise ConfigError(
                "A new run needs a folder of its own; {path} holds one already. Choose another with --out, or: duomo resume {path}",
                path=out,
            )
        if folder.foreign():
            raise ConfigError(
                "A new run needs a folder of its own; {path} holds other files ({names}). Choose another with --out.",
                path=out, names=", ".join(folder.foreign()[:3]),
            )  # fmt: skip
        return folder
    name = run_name(source)
    path, number = Path("runs") / name, 2
    while RunFolder(path).exists() or RunFolder(path).foreign():
        path, number = Path("runs") / f"{name}-{number}", number + 1
    return RunFolder(path)


def _with_source(recipe: Recipe, source: Any) -> Recipe:
    words = str(Path(source).absolute()) if isinstance(source, (str, Path)) else tr("(given in memory)")
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=words))


@dataclass
class _Work:
    """One run on its way: from a fitted task to a sealed folder."""

    folder: RunFolder
    plan: Plan
    own: nn.Module | None
    reporter: Reporter
    started: float

    def __post_init__(self) -> None:
        task, recipe = self.plan.task, self.plan.recipe
        self.task: Task = task
        self.config = recipe.train
        self.examples = task.encode(self.plan.train, target=True)
        self.valid = task.encode(self.plan.valid, target=True)
        torch.manual_seed(self.config.seed)
        self.model = self.own if self.own is not None else find.make_model(recipe.model, task)
        if self.own is None:
            initialise(self.model, recipe.model.init)
        self.preflight: preflight.Preflight | None = None
        self.timings: list[dict[str, Any]] = []
        self.stream = TableStream(self.examples, task.inputs, self.config.batch_size, self.config.seed, recipe.augment)

    def choose_execution(self) -> Execution:
        """The fastest way to run the same mathematics, found by timing a few steps; says what the whole will take."""
        minutes = self.config.minutes
        self.model.to(self._device())
        ways = candidates(self.model, self.task.inputs, exact=self.config.exact, long_run=minutes > LONG_MINUTES)
        trial = probe.Trial(self.task, self.model, self.stream, self.config)
        execution, timings = probe.choose(trial, ways, self.reporter, min(PROBE_SECONDS, 0.05 * 60 * minutes) if minutes else PROBE_SECONDS)
        self.timings = [timing.as_json() for timing in timings]
        chosen = next(timing for timing in timings if timing.execution == execution)
        seconds = chosen.seconds if chosen.times else 0.0
        self.preflight = preflight.predict(self.model, self.config, self.stream.steps_per_epoch, len(self.valid), seconds, self._device())
        self.preflight.say(self.reporter)
        return execution

    def _device(self) -> str:
        name = self.config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if name != "cpu" and name not in ("cuda", *(f"cuda:{place}" for place in range(torch.cuda.device_count()))):
            raise ConfigError("train.device must be cpu or cuda; received {name!r}.", name=name)
        if name != "cpu" and not torch.cuda.is_available():
            raise ConfigError("train.device is {name!r}, but this machine offers no CUDA device. Leave it out, or set cpu.", name=name)
        return name

    def _valid_batches(self) -> Iterator[Batch]:
        for _, batch in batches(self.valid, self.task.inputs, self.config.batch_size):
            yield batch

    def _job(self, execution: Execution) -> Job:
        model = self.model.to(execution.device)
        planned = {"planned_seconds": self.preflight.seconds} if self.preflight else {}
        return Job(
            self.task,
            model,
            self.stream,
            self._valid_batches if len(self.valid) else None,
            self.config,
            execution,
            self.folder.path,
            planned,
        )

    def open_folder(self, execution: Execution, source: Any) -> None:
        """Everything that a resume needs, before the first step."""
        if not isinstance(source, (str, Path)):
            feather.write_feather(sources.read(source).data, str(self.folder.path / "data.arrow"), compression="uncompressed")
        self.folder.write_text("recipe.toml", to_toml(self.plan.recipe))
        self.folder.write_json("task.json", self.task.state())
        self.folder.write_json("run.json", self._facts(execution))

    def _facts(self, execution: Execution) -> dict[str, Any]:
        table = self.plan.train
        features = [name for name in table.names if name not in self.plan.recipe.data.target]
        return {
            "format": 1,
            "task": self.task.name,
            "own_model": self.own is not None,
            "kinds": dict(table.kinds),
            "features": [name for name in features if table.kinds.get(name) != "id" and name not in self.plan.recipe.data.ignore],
            "execution": execution.to_dict(),
            "inference": Execution(device="cpu").to_dict(),
            "block": BLOCK,
            "data": fingerprint(self.plan),
            "split": self.plan.split,
            "machine": machine_facts(),
            "versions": {name: version(name) for name in ("duomo", "torch", "numpy", "pyarrow", "tokenizers")}
            | {"python": platform.python_version()},
        }

    def run(self, execution: Execution) -> Run:
        """Train, calibrate, judge, seal."""
        job = self._job(execution)
        outcome = loop.train(job, self.reporter)
        model = self.model
        predictor = Predictor(self.task, model.to("cpu").eval(), Execution(device="cpu"))
        if len(self.plan.valid):
            self.task.calibrate(predictor.evidence(self.plan.valid))
        facts = self.folder.read_json("run.json")
        self.folder.write_json("task.json", self.task.state())
        self.folder.write_tensors("model.safetensors", model.state_dict())
        self._golden(predictor)
        self._scorecard(predictor, outcome, facts)
        self.folder.seal()
        (self.folder.path / "data.arrow").unlink(missing_ok=True)
        self.reporter.say(tr("Done in {seconds:.1f} s: {path}", seconds=time.monotonic() - self.started, path=self.folder.path))
        return Run(self.folder, facts, self.plan.recipe, predictor)

    def _golden(self, predictor: Predictor) -> None:
        """A few test rows with the answers that this model must give wherever it is loaded."""
        table = without_target(self.plan.test.take(np.arange(min(GOLDEN_ROWS, len(self.plan.test)))), self.plan.recipe.data.target)
        files = set(table.of_kind(*MEDIA))
        columns = {name: _portable(table, name) if name in files else table.column(name).to_pylist() for name in table.names}
        rows = [row for row in range(len(table)) if all(columns[name][row] is not None for name in files)]
        answers = predictor.answers(table.take(np.asarray(rows, np.int64))) if rows else {}
        plain = {name: [_json(columns[name][row]) for row in rows] for name in columns}
        self.folder.write_json("golden.json", {"inputs": plain, "media": sorted(files), "answers": answers})

    def _scorecard(self, predictor: Predictor, outcome: Outcome, facts: Mapping[str, Any]) -> None:
        self.reporter.say(tr("Judging on {rows:,} rows that neither training nor model choice has seen …", rows=len(self.plan.test)))
        best = next((entry for entry in outcome.history if entry["step"] == outcome.best_step), {})
        inputs = scorecard.ScorecardInputs(
            task=self.task,
            evidence=predictor.evidence(self.plan.test),
            test=self.plan.test,
            train=self.plan.train,
            targets=self.plan.recipe.data.target,
            answer=predictor.answers,
            valid={name: value for name, value in best.items() if isinstance(value, float)},
            history=[_entry(entry) for entry in outcome.history],
            facts=self._provenance(outcome, facts),
        )
        judged = scorecard.build(inputs)
        self.folder.write_json("scorecard.json", judged)
        self.folder.write_text("scorecard.html", html.render(judged))
        self.folder.write_text("MODEL_CARD.md", card.model_card(judged, str(self.folder.path)))
        scorecard.show(judged, self.reporter)

    def _provenance(self, outcome: Outcome, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What the scorecard tells about how the run came to be."""
        recipe = self.plan.recipe
        seconds = {"training": outcome.seconds, "everything": time.monotonic() - self.started}
        costs = self.preflight.against(outcome.seconds, outcome.memory_bytes, outcome.disk_bytes) if self.preflight else {}
        return {
            "name": self.folder.path.name,
            "model": "own module" if self.own is not None else recipe.model.name,
            "size": recipe.model.size,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "recipe": dataclasses.asdict(recipe),
            "reason": self.plan.notes[-1] if self.plan.notes else "",
            "split": self.plan.split,
            "rows": facts["data"]["rows"],
            "seconds": seconds,
            "memory_mb": outcome.memory_bytes / 1e6,
            "preflight": costs,
            "steps": outcome.steps,
            "best_step": outcome.best_step,
            "rows_a_second": outcome.rate,
            "spikes": outcome.spikes,
            "data_hash": facts["data"]["sha256"],
            "execution": self.timings,
            "execution_chosen": facts["execution"],
            "versions": facts["versions"],
            "machine": facts["machine"],
            "seed": self.config.seed,
            "problems": list(self.plan.problems),
        }


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    valid = {name: value for name, value in entry.items() if name not in ("step", "loss")}
    return {"step": entry["step"], "loss": entry.get("loss"), "valid": valid}


def _portable(table: Table, name: str) -> list[str | None]:
    """Media cells as base64 of their bytes; None where too large to keep in a golden file."""
    found = media.sources(Cells(table.column(name), table.root))
    contents = [source if isinstance(source, bytes) or source is None else source.read_bytes() for source in found]
    return [base64.b64encode(data).decode() if data is not None and len(data) <= GOLDEN_BYTES else None for data in contents]


def _json(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, list, dict)) or value is None else str(value)
