"""Recipe -> stages -> run folder: the only place where the stages meet."""

import dataclasses
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from duomo.core import find
from duomo.core.config import build, merge, read_toml
from duomo.core.contract import Evidence, Task
from duomo.core.device import Execution, is_here
from duomo.core.errors import ConfigError, DuomoError, RunError
from duomo.core.messages import tr
from duomo.core.recipe import DataConfig, Recipe
from duomo.core.reporter import Reporter, Silent
from duomo.core.run import JUDGED, RunFolder, run_name, whole
from duomo.core.table import Table
from duomo.data import audit, crossed, longform, sources, spill
from duomo.data.cleaning import clean
from duomo.data.folders.files import check_names
from duomo.evaluate import compare as comparison
from duomo.evaluate import scorecard
from duomo.evaluate.report import inspect as inspection
from duomo.own_module import own_module
from duomo.plan import Plan, choose, make, read, read_like, task_options
from duomo.train import preflight
from duomo.train.guard import resumable
from duomo.trained import Run
from duomo.work import Work, fingerprint

SHOWN = 200
"""Rows that an example is made from before anything is learned."""


def load(path: Path | str, model: nn.Module | None = None) -> Run:
    """A finished run from its folder; every byte is checked first."""
    return Run.open(path, model)


def inspect(
    source: Any, settings: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None, html: str | None = None
) -> dict[str, Any]:
    """What is in the data, what is wrong with them, what would be trained; as JSON values and, with `html`, as a page."""
    reporter = reporter or Silent()
    said, _ = find.checked(_nested(settings))
    source = source if source is not None else said.data.source
    if isinstance(source, str) and not source:
        raise ConfigError("Looking at data needs data. Example: duomo inspect reviews.csv")
    table, data = longform.settle(read(source, said.data, reporter), said.data, reporter)
    table, cleaned = clean(table, said.clean, (*said.data.target, *said.data.ignore))
    for sentence in cleaned:
        reporter.say(sentence)
    proposal: dict[str, Any] = {}
    example: tuple[str, list[tuple[str, bool]]] | None = None
    try:
        data, notes = choose(table, data)
        table = crossed.settle(table, data)
        task = find.make_task(data.task, task_options(data, said))
        suggestion = task.suggest(table)
        model = find.task_recipes(data.task)[suggestion.recipe]["model"]
        proposal = {"task": data.task, "target": list(data.target), "notes": notes, "recipe": suggestion.recipe}
        proposal |= {"model": model["name"], "reason": suggestion.reason}
        example = _example(task, table, reporter)
    except DuomoError as error:  # the audit must also serve data that nothing can be trained on yet
        proposal = {"problem": str(error)}
    other = read_like(data.test, table, data) if data.test else None
    found = _audited(table, data.target, other, proposal, said.data, task.columns if example else ())
    inspection.show(found, reporter)
    if example:
        reporter.passage(*example)
        found["example"] = {"title": example[0], "parts": example[1]}
    if html is not None:
        path = Path(html or f"{run_name(source)}.inspect.html")
        inspection.write(found, path)
        reporter.say(tr("The page with distributions: {path}", path=path))
    return found


def train(
    source: Any = None,
    settings: Mapping[str, Any] | None = None,
    *,
    target: str | int | tuple[str | int, ...] | list[str] | list[int] | None = None,
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
    values = _nested(settings)
    asked = target if isinstance(target, (tuple, list)) else () if target is None or (isinstance(target, str) and not target) else (target,)
    if wrong := [one for one in asked if isinstance(one, Sized) and not isinstance(one, str | tuple)]:
        raise ConfigError("A target is the name of a column; received a {kind}. Put it into the data, and give its name.",
                          kind=type(wrong[0]).__name__)  # fmt: skip
    names = tuple(map(str, asked))  # as frames' columns are called here
    values = merge(values, {"data": {"target": names}} if names else {})
    values = merge(values, {"train": {"minutes": minutes}} if minutes is not None else {})
    values = merge(values, {"model": {"name": model}} if isinstance(model, str) else {})
    if source is None:
        source = values.get("data", {}).get("source") or None
    if source is None:
        raise ConfigError("Training needs data. Example: duomo train reviews.csv --target label")
    own = own_module(model)
    with _claimed(source, out) as folder:
        started = time.monotonic()
        plan = make(source, values, reporter)
        plan = dataclasses.replace(plan, recipe=_with_source(plan.recipe, source))
        plan.task.fit(plan.train)
        spill.trim()  # what tokens were found in
        shown = plan.task.example(plan.train)
        if shown is not None:
            reporter.passage(*shown)
        work = _begun(folder, plan, own, reporter, started)
        del plan  # Work keeps what it still needs of it
        execution = work.choose_execution()
        work.open_folder(execution, source)
        with resumable(folder.path):
            return work.run(execution)


def resume(path: Path | str, model: nn.Module | None = None, reporter: Reporter | None = None) -> Run:
    """Continue an interrupted run from its newest good checkpoint; a finished one is returned as it is."""
    reporter = reporter or Silent()
    folder = RunFolder(path)
    if folder.finished():
        reporter.say(tr("{path} is already finished; there is nothing to resume.", path=folder.path))
        return load(path, model)
    folder.read_text("run.json")
    with folder.lock():
        started, facts, start = time.monotonic(), folder.read_opening(), folder.read_json("start.json")
        recipe = build(Recipe, read_toml(folder.path / "recipe.toml"))
        kept = folder.path / "data.arrow"
        source: Any = recipe.data.source
        if kept.exists():
            source = dataclasses.replace(sources.read(kept), root=Path(start["root"]), name="data")
        plan = make(source, dataclasses.asdict(recipe), reporter, resumed=True)
        if fingerprint(plan) != facts["data"]:
            raise RunError("A run continues on the same data only; {source} has changed since. Train anew.", source=recipe.data.source)
        plan = dataclasses.replace(plan, recipe=recipe)
        with whole(folder.path / "start.json"):
            plan.task.restore(start["task"])
        if facts["own_model"] and model is None:
            raise ConfigError(
                "This run is trained with a module of your own; it must be given again: duomo.resume({path!r}, model=...).", path=str(path)
            )
        execution = Execution.from_dict(facts["execution"])
        if elsewhere := not is_here(execution.device):
            reporter.say(tr("The run began on {device}, which this machine does not have: it goes on without, to other last bits.",
                            device=execution.device))  # fmt: skip
            plan = dataclasses.replace(plan, recipe=dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, device="")))
        work = _begun(folder, plan, model, reporter, started)
        work.enough = int(start.get("enough", work.enough))
        with resumable(folder.path):
            return work.run(work.choose_execution() if elsewhere else execution)


def _begun(folder: RunFolder, plan: Plan, own: nn.Module | None, reporter: Reporter, started: float) -> Work:
    """The work on a fitted task, which knows of what rows only the beginning is read."""
    work = Work(folder, plan, own, reporter, started)
    for sentence in (cut := work.task.half_read(work.plan.train, work.examples)):
        reporter.say(sentence)
    work.plan = dataclasses.replace(work.plan, problems=(*work.plan.problems, *cut))
    return work


def show(path: Path | str, *, reporter: Reporter | None = None, browser: bool = False) -> dict[str, Any]:
    """The scorecard: printed, and where its page lies."""
    run = load(path)
    with whole(run.path / "scorecard.json"):
        scorecard.show(run.scorecard, reporter or Silent())
    page = run.path / "scorecard.html"
    (reporter or Silent()).say(tr("The page: {path}", path=page.absolute().as_uri()))
    if browser:
        webbrowser.open(page.absolute().as_uri())
    return run.scorecard


def compare(a: Path | str, b: Path | str, *, reporter: Reporter | None = None) -> dict[str, Any]:
    """Run b against run a, row by row of the test that both met: the values of `evaluate.compare.compare` and its `sentence`.

    The test is made again from each run's own recipe, unless it was learned from afterwards and its answers were kept. RunError where the
    tests differ or the data have changed since.
    """
    runs = [load(path) for path in (a, b)]
    cards = [{**run.scorecard, "name": run.path.name} for run in runs]
    same = cards[0]["test"]["digest"] == cards[1]["test"]["digest"]
    evidence: list[Evidence] = [judged(run) or run.evidence(_test_of(run)) if same else {} for run in runs]
    found = comparison.compare(cards[0], cards[1], evidence[0], evidence[1], runs[0].task)
    found["sentence"] = comparison.sentence(found)
    if reporter is not None:
        rows = [
            [scorecard.pretty(name), *(scorecard.number(m[side]["value"]) for side in ("a", "b")),
             scorecard.signed(m["difference"]["value"]),
             f"{scorecard.signed(m['difference']['low'])} – {scorecard.signed(m['difference']['high'])}"]
            for name, m in found["metrics"].items()
        ]  # fmt: skip
        reporter.table(tr("{rows:,} rows", rows=found["rows"]),
                       [tr("metric"), cards[0]["name"], cards[1]["name"], tr("difference"), tr("95 % interval")], rows)  # fmt: skip
        reporter.say(found["sentence"])
    return found


def judged(run: Run) -> Evidence:
    """The evidence that the scorecard was made from, where the test's rows were learned from afterwards; else nothing."""
    there = (run.path / JUDGED).is_file()
    return {name: value.numpy() for name, value in run.folder.read_tensors(JUDGED).items()} if there else {}


def _test_of(run: Run) -> Table:
    """The rows that the run was judged on."""
    plan = make(run.recipe.data.source, dataclasses.asdict(run.recipe), Silent(), resumed=True)
    if fingerprint(plan)["sha256"]["test"] != run.facts["data"]["sha256"]["test"]:
        raise RunError("Runs are compared on the rows that they were tested on; {source} has changed since {run} was trained. Train anew.",
                       source=run.recipe.data.source, run=run.path.name)  # fmt: skip
    with whole(run.path / "scorecard.json"):
        return preflight.drawn(plan.test, run.scorecard["test"]["rows"], run.recipe.train.seed)


def _example(task: Task, table: Table, reporter: Reporter) -> tuple[str, list[tuple[str, bool]]] | None:
    """A training example as a model would read it, of a task that shows some; DataError for rows that it cannot learn from."""
    if type(task).example is Task.example:
        return None
    mask, sentences = task.usable(table)
    for sentence in sentences:
        reporter.say(sentence)
    part = table.take(np.flatnonzero(mask)[:SHOWN])
    task.fit(part)
    return task.example(part)


def _audited(
    table: Table, target: tuple[str, ...], test: Table | None, proposal: Mapping[str, Any], said: DataConfig, rendered: Sequence[str] = ()
) -> dict[str, Any]:
    """The audit with the proposal; a column of what is `rendered` says something where it is alike in all rows, or empty."""
    how, asked = said.split or (said.group and "group") or (said.time and "time"), None
    if how:
        asked = audit.Proposal(how, said.group, said.time, tr("set by you"))  # type: ignore[arg-type]
    guess = "task" not in proposal
    found = audit.audit(table, target[0] if target else "", test=test, guess=guess, ignore=said.ignore, asked=asked).to_dict()
    found["findings"] = [
        one for one in found["findings"] if one["code"] not in ("constant", "all_missing") or not {*one["columns"]} <= {*rendered}
    ]
    return found | {"proposal": dict(found.get("proposal") or {}) | dict(proposal)}


def _nested(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(
            'Settings are nested as in a recipe: {{"train": {{"epochs": 3}}}}; received {value!r}. Give a dict.', value=settings
        )
    return dict(settings or {})


@contextmanager
def _claimed(source: Any, out: Path | str | None) -> Iterator[RunFolder]:
    """The folder to write, locked; where nobody named one, another than those that others took at the same moment."""
    while True:
        folder = _folder(source, out)
        with ExitStack() as held:
            try:
                held.enter_context(folder.lock())
            except RunError:
                if out is not None:
                    raise
                continue
            if out is not None or not folder.exists():
                yield folder
                return


def _folder(source: Any, out: Path | str | None) -> RunFolder:
    if out is not None:
        folder = RunFolder(out)
        if folder.exists():
            raise ConfigError(
                "A new run needs a folder of its own; {path} holds one already. Choose another with --out, or: duomo resume {path}",
                path=folder.path,
            )
        if folder.foreign():
            raise ConfigError(
                "A new run needs a folder of its own; {path} holds other files ({names}). Choose another with --out.",
                path=folder.path, names=", ".join(folder.foreign()[:3]),
            )  # fmt: skip
        return folder
    name = run_name(source)
    folder, number = RunFolder(Path("runs") / name), 2
    while folder.exists() or folder.foreign() or folder.busy():
        folder, number = RunFolder(Path("runs") / f"{name}-{number}"), number + 1
    return folder


def _with_source(recipe: Recipe, source: Any) -> Recipe:
    words = _whole(source) if isinstance(source, (str, Path)) else tr("(given in memory)")
    data = dataclasses.replace(recipe.data, source=words, test=_whole(recipe.data.test), valid=_whole(recipe.data.valid))
    adapt = dataclasses.replace(recipe.adapt, start=_whole(recipe.adapt.start))
    return dataclasses.replace(recipe, data=data, adapt=adapt)


def _whole(path: str | Path) -> str:
    """The path as it is found from any folder; empty stays empty. DataError where a recipe cannot hold it."""
    found = str(Path(path).expanduser().absolute()) if path else ""
    check_names([found])
    return found
