"""One run on its way: from a fitted task to a sealed folder."""

import dataclasses
import hashlib
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.feather as feather
import torch
from torch import nn

from duomo import golden, learned
from duomo.aloud import Aloud
from duomo.core import find
from duomo.core.config import to_toml
from duomo.core.contract import Task, View
from duomo.core.device import Execution, answering, candidates, machine_facts, offered
from duomo.core.errors import ConfigError
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.core.run import HEAD, JUDGED, OPENING, RunFolder
from duomo.core.table import MEDIA
from duomo.core.tensors import Batch
from duomo.data import sources, spill, split
from duomo.data.digests import row_digests
from duomo.data.loader import TableStream, batches
from duomo.data.predictor import Block, Predictor, block_of
from duomo.evaluate import card, progress, scorecard
from duomo.evaluate.report import html
from duomo.exchange.trunks import reopened
from duomo.nn.init import initialise
from duomo.own_module import check
from duomo.plan import Plan, telling
from duomo.train import adapt, council, counts, hashed, head, loop, lora, preflight, probe, sides
from duomo.train.holdout import nothing
from duomo.train.job import Job, Outcome
from duomo.train.schedule import planned_steps
from duomo.trained import Run

PROBE_SECONDS = 1.5
HEAD_SHARE = 0.25
"""Of a limited time, for fitting a new last layer."""
LONG_MINUTES = 10.0
WORSE = 0.2
"""Nats a token above those of chance from which weights that were given are said to know another vocabulary."""
GLANCED = 3
"""Steps of a model that knows its work already, for which it is not worth looking for a faster way."""


def fingerprint(plan: Plan) -> dict[str, Any]:
    """What the data were: rows of each part and one SHA-256 over the digests of their contents."""
    parts = {"train": plan.train, "valid": plan.valid, "test": plan.test}
    sums = dict[str, str]()
    for name, table in parts.items():  # cells count as they are written, which is quicker to tell; files by what is in them
        media = {column: kind for column, kind in table.kinds.items() if kind in MEDIA}
        sums[name] = hashlib.sha256(row_digests(table.with_kinds(media, {}), table.names).tobytes()).hexdigest()
    return {"rows": {name: len(table) for name, table in parts.items()}, "sha256": sums}


@dataclass
class Work:
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
        self.model = self.own if self.own is not None else self._made()
        if self.own is None:
            initialise(self.model, recipe.model.init)
        else:
            check(self.model, task, self.examples)
        self.later = list[str]()  # who will learn from all rows when the test has judged
        self.before, self.tokens = list[str](), 0  # what was answered before it learned, in so many tokens at most
        self.enough = len(self.valid)  # validation rows that checkpoints are chosen by
        self.loaded = False
        self.new = self._start()
        self.head: list[str] = self._head_first() if self.loaded and recipe.adapt.head_first else self._settled()
        self.fitted = bool(self.head) or (self.folder.path / HEAD).exists()
        self.rates = adapt.prepare(self.model, recipe.adapt, self.new, task.head, self.fitted)
        self.preflight: preflight.Preflight | None = None
        self.spare = self.config.learn_all and not recipe.data.test and recipe.data.split != "folders"  # nobody else needs the test
        self.timings: list[dict[str, Any]] = []
        self.stream = TableStream(self.examples, task.inputs, self.config.batch_size, self.config.seed, recipe.augment)

    def _made(self) -> nn.Module:
        """The model that the recipe names. ConfigError where the architecture of weights that were given does not suit the task."""
        recipe, given = self.plan.recipe, self.plan.pretrained
        try:
            return find.make_model(recipe.model, self.task)
        except ConfigError as error:
            if given is None:
                raise
            raise ConfigError(
                "Weights must suit the task and its columns; those of {source} are of the model {model}. Leave out with --ignore what it "
                "does not read, leave --from out, or give other weights. (Task {task}: {reason})",
                source=given.source, model=recipe.model.name, task=self.task.name, reason=error,
            ) from None  # fmt: skip

    def _start(self) -> list[str]:
        """Weights that exist already are taken over; the names of those that are new. A resumed run remembers them."""
        if self.plan.pretrained:
            words, new = adapt.load(self.model, self.plan.pretrained)
            self.reporter.say(words)
            # The weights are in the model now: what a second copy of them takes, training needs.
            self.plan, self.loaded = dataclasses.replace(self.plan, pretrained=None), True
            return new
        start = self.folder.read_json("start.json") if self.plan.recipe.adapt.start else {}
        self.before, self.tokens = list(start.get("before", [])), int(start.get("tokens", 0))
        return list(start.get("new", []))

    def _head_first(self) -> list[str]:
        """A new last layer fitted to what the weights make of the rows; the names of its weights, none where there is no such layer."""
        layer = head.last(self.model, self.new)
        rows = head.fit(self.model, self.task, self.examples, layer, HEAD_SHARE * 60 * self.config.minutes) if layer else 0
        if rows:
            self.reporter.say(tr("The new last layer was fitted to what the weights make of {rows:,} rows; now all learn.", rows=rows))
        return [name for name, _ in self.model.named_parameters() if name in self.new] if rows else []

    def _settled(self) -> list[str]:
        """What is read off the rows before anything is learned; a resumed run remembers it."""
        if (self.folder.path / HEAD).exists():
            self.model.load_state_dict(self.folder.read_tensors(HEAD), strict=False)
            return []
        return head.settle(self.model, self.task, self.examples, HEAD_SHARE * 60 * self.config.minutes)

    def _fresh(self) -> None:
        """Again what training starts from: a resumed run without a checkpoint was not yet given it."""
        if self.plan.recipe.adapt.start and not self.loaded:
            adapt.load(self.model, reopened(self.plan.recipe.adapt.start, self.plan.recipe.model))
            if (self.folder.path / HEAD).exists():
                self.model.load_state_dict(self.folder.read_tensors(HEAD), strict=False)

    def choose_execution(self) -> Execution:
        """The fastest way to run the same mathematics, found by timing a few steps; says what the whole will take."""
        minutes = self.config.minutes
        self.model.to(self._device())
        ways = candidates(self.model, exact=self.config.exact, long_run=minutes > LONG_MINUTES)
        if self.own is not None:  # nobody knows what a module of the user's own remembers from call to call
            ways = [way for way in ways if way.parts == 1]
        if self.fitted and planned_steps(self.config, self.stream.steps_per_epoch) <= GLANCED:
            ways = ways[:1]  # what looking for a faster way takes would be most of it
        trial = probe.Trial(self.task, self.model, self.stream, self.config)
        execution, timings = probe.choose(trial, ways, self.reporter, min(PROBE_SECONDS, 0.05 * 60 * minutes) if minutes else PROBE_SECONDS)
        self.timings = [timing.as_json() for timing in timings]
        chosen = next(timing for timing in timings if timing.execution == execution)
        seconds = chosen.seconds if chosen.times else chosen.guess
        self.preflight = preflight.predict(self.model, self.config, self.stream.steps_per_epoch, len(self.valid), seconds, self._device())
        self.preflight.say(self.reporter, self.folder.path)
        self.enough = preflight.enough(self.config, len(self.valid), seconds)
        if self.loaded:  # from nothing everything learns but what is there for form's sake, or never read
            adapt.say_counts(self.model, self.reporter)
        return execution

    @cached_property
    def aloud(self) -> Aloud:
        """What the model says along the way."""
        found = Aloud(self.task, self.model, self.config.minutes)
        found.tokens = self.tokens
        return found

    def _device(self) -> str:
        return offered(self.config.device)

    def _valid_batches(self) -> Iterator[Batch]:
        rows = preflight.some(len(self.valid), self.enough, self.config.seed)
        for _, batch in batches(self.valid, self.task.inputs, max(32, self.config.batch_size), rows):
            yield batch

    def _job(self, execution: Execution) -> Job:
        model = self.model.to(execution.device)
        # What knows its work already is judged before the first step too: learning may make it worse.
        knows = self.fitted or (bool(self.plan.recipe.adapt.start) and not self.new)
        told: dict[str, Any] = {"knows": knows} | ({"planned_seconds": self.preflight.seconds} if self.preflight else {})
        if self.task.writes and len(self.valid):
            told["samples"] = self._samples
        if self.loaded and not self.new and any(field.vocabulary == (self.task.head.size,) for field in self.task.inputs.values()):
            told["first"] = self._judged_first
        valid = self._valid_batches if len(self.valid) else None
        config = dataclasses.replace(self.config, minutes=self._minutes_left())
        return Job(self.task, model, self.stream, valid, config, execution, self.folder.path, self.rates, self._fresh, told)

    def _judged_first(self, facts: Mapping[str, Any]) -> None:
        """A warning where weights that were given foretell the text worse than chance would."""
        size = self.task.head.size
        if (facts.get("loss") or 0.0) > math.log(size) + WORSE:
            self.reporter.say(
                tr("Warning: before the first step the weights foretell these texts worse than chance: perplexity {value:,.0f} with "
                   "{size:,} tokens. Their tokenizer is probably not the one that they were trained with; give that one.",
                   value=math.exp(min(80.0, facts["loss"])), size=size)
            )  # fmt: skip

    def _minutes_left(self) -> float:
        """What a limited time leaves for the network itself."""
        if self._counting():
            return self.config.minutes - counts.seconds_of(self.config.minutes) / 60
        if self.config.minutes and hashed.hashed_of(self.model):
            return self.config.minutes - hashed.seconds_of(self.config.minutes) / 60
        return council.minutes_left(self.model, self.config.minutes)

    def _counting(self) -> Any:
        """The way in which the training text is counted beside the network, if it is."""
        return next((way for way in (counts, sides) if way.wanted(self.model, self.task, self.examples)), None)

    def _advised(self, seconds: float) -> council.Fitted:
        """What speaks beside the network, fitted when that took so many seconds to learn."""
        minutes, both = self.config.minutes, (self.examples, self.valid)
        if counting := self._counting():
            return counting.fit(self.model, self.task, both, counts.seconds_of(minutes), self.reporter)
        if letters := hashed.hashed_of(self.model):
            return hashed.fit(letters, self.model, self.task, both, hashed.seconds_of(minutes), self.reporter)
        apart = bool(self.plan.recipe.data.group or self.plan.recipe.data.time)
        limit = council.allowed(self.model, minutes, seconds)
        groups = split.together(self.plan.train, self.plan.recipe.data) if len(self.plan.train) == len(self.examples) else None
        return council.fit(self.model, self.task, both, apart, limit, self.reporter, groups)

    def _samples(self) -> dict[str, str]:
        return self.aloud.sample(self.plan.valid.take(np.arange(1)))

    def _again(self) -> Callable[..., None]:
        """How a last layer that was fitted is fitted to the validation rows too, unless rows of one group or time belong together."""
        apart = bool(self.plan.recipe.data.group or self.plan.recipe.data.time)
        seconds = HEAD_SHARE * 60 * self.config.minutes
        return nothing if apart or not len(self.valid) else head.onward(self.model, self.task, (self.examples, self.valid), seconds)

    def open_folder(self, execution: Execution, source: Any) -> None:
        """Everything that a resume needs, before the first step."""
        if not isinstance(source, (str, Path)):
            feather.write_feather(sources.read(source).data, str(self.folder.path / "data.arrow"), compression="uncompressed")
        self.folder.write_text("recipe.toml", to_toml(self.plan.recipe))
        probes = self.task.probes() if self.plan.recipe.adapt.start else None
        self.before = self.aloud.before(probes, self.reporter) if probes is not None else []
        told = {"before": self.before, "tokens": self.aloud.tokens, "enough": self.enough}
        self.folder.write_json("start.json", {**told, "task": self.task.state(), "root": str(Path.cwd()), "new": self.new})
        if self.head:
            self.folder.write_tensors(HEAD, {name: self.model.state_dict()[name] for name in self.head})
        self.folder.write_opening(self._facts(execution))

    def _facts(self, execution: Execution) -> dict[str, Any]:
        table = self.plan.train
        return {
            "format": 1, "task": self.task.name, "own_model": self.own is not None, "kinds": dict(table.kinds),
            "features": self.task.columns, "execution": execution.to_dict(),
            "optional": [name for name in self.task.columns if table.kinds[name] not in MEDIA and table.column(name).null_count],
            "inference": answering(self.model, exact=self.config.exact).to_dict(),
            "block": dataclasses.astuple(block_of(self.task, self.model, table.take(np.arange(1)))), "data": fingerprint(self.plan),
            "split": self.plan.split, "machine": machine_facts(),
            "versions": {name: version(name) for name in ("duomo", "torch", "numpy", "pyarrow", "tokenizers")}
            | {"python": platform.python_version()},
        } | (self.plan.past.asks(self.task.columns) if self.plan.past else {})  # fmt: skip

    def _compared(self) -> list[View]:
        """Probes with their answers before and after."""
        if not self.before or (probes := self.task.probes()) is None:
            return []
        after = self.aloud.answers(probes.take(np.arange(len(self.before))), self.aloud.tokens)
        asked = probes.column(probes.names[0]).to_pylist()[: len(after)]
        items = [{"title": str(ask), "text": tr("before: {before}\nafter: {after}", before=old, after=new)}
                 for ask, old, new in zip(asked, self.before, after, strict=True)]  # fmt: skip
        same = sum(old == new for old, new in zip(self.before, after, strict=True))
        note = tr("None of them is from the data: what was known should stay. {same} of {count} answers are the same to the letter.",
                  same=same, count=len(after))  # fmt: skip
        if 2 * same < len(after):
            self.reporter.say(tr("{changed} of {count} general questions are now answered otherwise; whether what was known is lost, the "
                                 "page shows. Fewer epochs or a lower learning rate keep more of it.", changed=len(after) - same,
                                 count=len(after)))  # fmt: skip
        return [View("texts", tr("General questions, before and after"), {"items": items}, note)]

    def run(self, execution: Execution) -> Run:
        """Train, calibrate, judge, seal."""
        job = self._job(execution)
        outcome = loop.train(job, self.reporter)
        self.learned, _ = adapt.counts(self.model)
        lora.merge(self.model)  # what is judged, kept and served has plain weights
        again = self._again()  # what reaches the last layer is read before others speak too
        advised = self._advised(outcome.seconds)
        self.voices = advised.shares
        self.later = [name for name in self.voices if name != "network"] if advised.onward else []
        self.later = [*self.later, *(["last layer"] if again is not nothing else [])] if self.spare else []
        # The encoded rows have done their work: judging starts from the table again, and needs the room.
        del job, self.stream, self.examples
        spill.trim()
        facts = self.folder.read_json("run.json")
        block, model = Block.of(facts["block"]), self.model
        inference = block.suited(Execution.from_dict(facts["inference"]), self._device())
        inference.apply(model)  # as a loaded run will have it: the same kernels, the same bits
        predictor = Predictor(self.task, model.eval(), inference, block)
        if len(self.plan.valid) and type(self.task).calibrate is not Task.calibrate:
            some = telling(self.plan.valid, self.task.judged_bytes, self.config.seed)
            some, _ = preflight.judgeable(self.task, some, predictor.evidence, self.config, preflight.CHOSEN_BY)
            self.task.calibrate(predictor.evidence(some))
        if advised.onward and not self.spare:
            advised.onward(None)
        else:
            advised.again()
        again()
        self.task.remember(self.plan.train, predictor.facts)
        self.folder.write_json("task.json", self.task.state())
        self.folder.write_tensors("model.safetensors", model.state_dict())
        self._golden(predictor)
        self._scorecard(predictor, outcome, facts)
        if type(self.task).remember is not Task.remember:  # whom the test knew must not be known before it is judged
            for part in (self.plan.valid, self.plan.test):
                self.task.remember(part, predictor.facts)
            self.folder.write_json("task.json", self.task.state())
            self._golden(predictor)
        if self.later:
            self._learn_all(advised, again)
            self.folder.write_tensors("model.safetensors", model.state_dict())
            self._golden(predictor)
        learned.keep(self.folder, [self.plan.train, self.plan.valid, *([self.plan.test] if self.later else [])], facts["features"])
        if past := self.plan.past:
            past.keep(self.folder.path)
        self.folder.seal()
        for name in OPENING[1:]:
            (self.folder.path / name).unlink(missing_ok=True)
        self.reporter.say(tr("Done in {seconds:.1f} s: {path}", seconds=time.monotonic() - self.started, path=self.folder.path))
        return Run(self.folder, facts, self.plan.recipe, predictor)

    def _learn_all(self, advised: council.Fitted, again: Callable[..., None]) -> None:
        """The test has judged: who learns quickly learns from its rows too."""
        test = self.task.encode(self.plan.test, target=True)
        if advised.onward:
            advised.onward(test)
        again(test)

    def _golden(self, predictor: Predictor) -> None:
        rows = self.aloud.affordable(golden.ROWS)
        golden.keep(
            self.folder,
            self.plan.test.take(np.arange(min(rows, len(self.plan.test)))),
            self.plan.recipe.data.target,
            predictor,
            self.own is not None,
        )

    def _scorecard(self, predictor: Predictor, outcome: Outcome, facts: Mapping[str, Any]) -> None:
        test, cut = preflight.judgeable(self.task, self.plan.test, predictor.evidence, self.config)
        self.plan = dataclasses.replace(self.plan, test=test, problems=(*self.plan.problems, *cut))
        for sentence in (*cut, tr("Testing on {rows:,} rows that neither training nor model choice has seen …", rows=len(test))):
            self.reporter.say(sentence)
        best = next((entry for entry in outcome.history if entry["step"] == outcome.best_step), {})
        evidence = predictor.evidence(self.plan.test)
        if self.later:
            self.folder.write_tensors(JUDGED, {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in evidence.items()})
        inputs = scorecard.ScorecardInputs(
            task=self.task, evidence=evidence, test=self.plan.test, train=self.plan.train,
            targets=self.plan.recipe.data.target, group=self.plan.recipe.data.group, answer=partial(self.aloud.shown, predictor),
            valid={name: value for name, value in best.items() if isinstance(value, float)}, baseline_seconds=preflight.beside(self.config),
            history=[_entry(entry) for entry in outcome.history], facts=self._provenance(outcome, facts), views=self._compared(),
        )  # fmt: skip
        judged = scorecard.build(inputs)
        self.folder.write_json("scorecard.json", judged)
        self.folder.write_text("scorecard.html", html.render(judged))
        self.folder.write_text("MODEL_CARD.md", card.model_card(judged, str(self.folder.path)))
        scorecard.show(judged, self.reporter)
        for sentence in progress.sentences(judged):
            self.reporter.say(sentence)

    def _provenance(self, outcome: Outcome, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What the scorecard tells about how the run came to be."""
        recipe = self.plan.recipe
        seconds = {"training": outcome.seconds, "everything": time.monotonic() - self.started}
        costs = self.preflight.against(outcome.seconds, outcome.memory_bytes, outcome.disk_bytes) if self.preflight else {}
        whole = sum(p.numel() for p in self.model.parameters())
        return {
            "name": self.folder.path.name, "model": "own module" if self.own is not None else recipe.model.name, "size": recipe.model.size,
            "parameters": whole, "trained": self.learned if self.loaded else whole, "voices": self.voices,
            "learned_all": self.later, "recipe": dataclasses.asdict(recipe), "reason": self.plan.notes[-1] if self.plan.notes else "",
            "split": self.plan.split, "rows": facts["data"]["rows"] | {"test": len(self.plan.test)}, "seconds": seconds,
            "memory_mb": outcome.memory_bytes / 1e6, "preflight": costs,
            "steps": outcome.steps, "best_step": outcome.best_step, "rows_a_second": outcome.rate, "spikes": outcome.spikes,
            "data_hash": facts["data"]["sha256"], "execution": self.timings, "execution_chosen": facts["execution"],
            "versions": facts["versions"], "machine": facts["machine"], "seed": self.config.seed, "problems": list(self.plan.problems),
        }  # fmt: skip


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": entry["step"], "loss": entry.get("loss"), "valid": {k: v for k, v in entry.items() if k not in ("step", "loss")}}
