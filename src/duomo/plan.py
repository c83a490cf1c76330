"""From settings and a table to a plan: what is predicted, how rows are divided, which recipe, which model."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core import find, kinds
from duomo.core.config import build, merge
from duomo.core.contract import Decoder, EncoderDecoder, Task
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds.cells import values_of
from duomo.core.messages import listed, tr
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import AdaptConfig, DataConfig, Recipe, TrainConfig
from duomo.core.reporter import Reporter
from duomo.core.table import MEDIA, Table
from duomo.data import ahead, audit, dated, documents, leaks, longform, objects, partition, rasters, spill, split, targets, totals
from duomo.data.cleaning import clean
from duomo.data.digests import row_digests
from duomo.data.readable import readable, unheard, without_void
from duomo.exchange.opening import go_on_from
from duomo.exchange.trunks import carries, within
from duomo.train import adapt

EACH_PART, OF_FEW_PEOPLE = 2, 0.3
"""People of a part of the split, at least, where people are told apart; of fewer the share of pictures to validate by, and to test on."""
FEWEST_STEPS, OF_FEW = 170, ("classify", "regress")
"""Where rows are few, a recipe's epochs are too few steps to learn anything: these tasks get as many epochs as make so many steps."""
PASSES = 10**6
"""Rows that may be read where a task asks for more epochs than its recipe has, all epochs counted."""
MOST_VALID, MOST_TEST = 50_000, 200_000
"""Rows of a split that Duomo draws itself: the 95 % interval of an accuracy is then below 0.5 and 0.25 points wide on either side."""
MOST_CHOOSING = 300
"""Rows of validation that a task which judges what it writes chooses its last settings by."""


@dataclass(frozen=True)
class Plan:
    """Everything decided before a tensor is made."""

    recipe: Recipe
    task: Task
    train: Table
    valid: Table
    test: Table
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    split: str
    pretrained: Pretrained | None = None
    past: ahead.Past | None = None
    """What rows are told of earlier values of the target."""


def read(source: Any, data: DataConfig, reporter: Reporter) -> Table:
    """The source as a table of known kinds; what the source noticed is said."""
    running = data.task != "" and bool(find.task_module(data.task).Main.judged_bytes)
    table = documents.cut(totals.read(source, encoding=data.encoding), running)
    if not isinstance(source, (str, Path)) and table.root is None:
        table = dataclasses.replace(table, root=Path.cwd())
    table = objects.settle(table, data, lambda told: _plainly(told)[0]) if data.task in ("", *OF_FEW) else table
    table = rasters.drawn(kinds.infer(table, data.kind), (*data.kind, *data.target))
    known = table.kinds
    table = kinds.set_row_numbers_aside(table, (*data.kind, *data.target, data.group, *dated.named(table, data.time)))
    for name in (name for name in table.names if table.kinds[name] != known[name]):
        reporter.say(tr("Column {name!r} counts the rows one by one and is not learned from; --kind {name}=number makes it an input.",
                        name=name))  # fmt: skip
    spill.release()
    if len(table) == 1 and set(table.names) <= {*MEDIA, "file"}:
        raise DataError("One picture, sound or film alone is too little; received {name} and no other. "
                        "Give a folder of several.", name=table.column(table.names[-1])[0].as_py())  # fmt: skip
    for problem in table.problems:
        reporter.say(problem)
    if not len(table):
        raise DataError("There must be rows to learn from; {name} has none.", name=table.name)
    return table


def choose(table: Table, data: DataConfig) -> tuple[DataConfig, list[str]]:
    """Target and task, found where they were not given, and in words why."""
    data = targets.called(table, data)
    notes, task, target = list[str](), data.task or ("regress" if data.ahead else ""), data.target
    aside = (*data.ignore, partition.told(table, target))  # what nobody is to look at is no target either, nor is what tells the parts
    table = table.without([name for name in table.names if name in aside and name not in target])
    if not target and task in ("", *OF_FEW) and (target := tuple(name for name in table.asked if name in table.names)):
        notes.append(tr("Target: {name}, which the rows to be answered lack.", name=listed(target)))
    if task and not target:
        target = find.task_module(task).Main.find_target(table)
        notes += [tr("Target: {name}, which is what {task} learns.", name=name, task=task) for name in target]
    if not task and not target and (plain := _plainly(table))[0]:
        task, target, notes = plain[0], plain[1], [*notes, plain[2]]
    if task in ("", *OF_FEW) and not target:
        target, why = _guess_target(table)
        notes.append(why)
    if not task and data.target:
        name, found, why = _plainly(table)
        task, notes = (name, [*notes, why]) if name and found == target else ("", notes)
    if not task:
        task, why = _task_of(table, target)
        notes.append(why)
    again, said = leaks.twins(table, target, data.kind)
    return dataclasses.replace(data, task=task, target=target, ignore=(*data.ignore, *again)), [*notes, *said]


def _plainly(table: Table) -> tuple[str, tuple[str, ...], str]:
    for name in find.task_names():
        main = find.task_module(name).Main
        why = main.suits(table)
        if why:
            return name, main.find_target(table), tr("Task: {name}, because {why}.", name=name, why=why)
    return "", (), ""


def _guess_target(table: Table) -> tuple[tuple[str, ...], str]:
    if marks := targets.marks(table):
        return marks, tr("Target: {names}, because they are all that is told of the files: zeros and ones.", names=listed(marks, 8))
    name, why = audit.guess_target(table)
    if not name:
        raise targets.unnamed(table)
    return (name,), tr("Target: {name}, because {why}.", name=name, why=why)


def _task_of(table: Table, target: tuple[str, ...]) -> tuple[str, str]:
    """The task whose data these plainly are, where it has the same target; else what the target's cells say."""
    name, own, why = _plainly(table)
    if name and own == target:
        return name, why
    return targets.task_of(table, target)


def task_options(data: DataConfig, recipe: Recipe) -> dict[str, Any]:
    """What a task's config is built from."""
    return {"target": data.target, "ignore": data.ignore, "encode": recipe.encode} | dict(recipe.task)


def divide(
    table: Table, data: DataConfig, seed: int, reporter: Reporter, judged_bytes: int = 0, least: int = 1, past: ahead.Past | None = None
) -> tuple[Table, Table, Table, str]:
    """Training, validation and test tables, and how they were divided, in words; `judged_bytes` as in `Task`, `least` as in `split`."""
    if data.valid and not data.test:
        raise ConfigError(
            "A validation file of your own needs a test file too; received valid = {valid!r} alone. Add --test.", valid=data.valid
        )
    if data.test:
        valid = _given(data.valid, table, data, reporter, past) if data.valid else None
        table, found = split.given(table, valid, _given(data.test, table, data, reporter, past), data, seed, data.target, least)
    else:
        found = split.split(table, data, seed, data.target, least=least)
    if not len(found.test):
        raise ConfigError(
            "A model is judged on rows that it never saw; received test_share = {share:g}. Raise it, or give a file with --test.",
            share=data.test_share,
        )
    for sentence in (*found.notes, *_shared(table, found, data)):
        reporter.say(sentence)
    fitting = _fitting(table, judged_bytes)
    own = found.how == "folders"
    valid_rows = found.valid if data.valid or own else _some(found.valid, min(MOST_VALID, fitting), seed)
    test_rows = found.test if data.test or own else _some(found.test, min(MOST_TEST, 4 * fitting), seed)
    parts = [spill.part(table, rows) for rows in (found.train, valid_rows, test_rows)]
    spared = len(found.valid) + len(found.test) - len(valid_rows) - len(test_rows)
    if spared:
        reporter.say(tr("{count:,} rows set aside are not judged on: {valid:,} and {test:,} tell enough, and in less time.",
                        count=spared, valid=len(valid_rows), test=len(test_rows)))  # fmt: skip
    column = {"group": data.group, "time": data.time, "folders": partition.told(table, data.target)}.get(found.how)
    how = tr("by {column}", column=column) if column else tr(found.how)
    words = tr("Split {how}: {train:,} rows to learn, {valid:,} to validate, {test:,} to test.", how=how,
               train=len(parts[0]), valid=len(parts[1]), test=len(parts[2]))  # fmt: skip
    spill.trim()
    return parts[0], parts[1], parts[2], words


def _fitting(table: Table, judged_bytes: int) -> int:
    """How many rows of the table have so many bytes."""
    return max(1, int(judged_bytes * len(table) / max(1, table.data.nbytes))) if judged_bytes else MOST_TEST


def telling(table: Table, judged_bytes: int, seed: int) -> Table:
    """Of the validation rows those that are enough to choose by, where judging takes long (`Task.judged_bytes`)."""
    most = min(MOST_CHOOSING, _fitting(table, judged_bytes))
    return table if len(table) <= most or not judged_bytes else table.take(_some(np.arange(len(table)), most, seed))


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` of the rows, in order, always the same ones."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _shared(table: Table, found: split.Split, data: DataConfig) -> list[str]:
    """A warning where rows of a test that was given, as a file or a folder, were learned from too."""
    if not data.test and found.how != "folders":
        return []
    digests = row_digests(table, split.content_columns(table, data.target))
    learned = np.concatenate([found.train, found.valid])
    count = int(np.isin(digests[found.test], digests[learned]).sum())
    met = _met(table.column(data.group), found.test, learned) if data.group in table.names else []
    if met:
        return [tr("Warning: {count:,} values of {column} in the test are also among the rows to learn from ({examples}); the scorecard "
                   "flatters.", count=len(met), column=data.group, examples=", ".join(map(str, met[:3])))]  # fmt: skip
    if not count or split.repeats_by_nature(table, split.content_columns(table, data.target), digests):
        return []
    return [tr("Warning: {count:,} of the {test:,} test rows are also among the rows to learn from; the scorecard flatters.",
               count=count, test=len(found.test))]  # fmt: skip


def _met(cells: pa.ChunkedArray, test: np.ndarray, learned: np.ndarray) -> list[Any]:
    """Values that rows of the test share with rows that are learned from."""
    values = [set(values_of(cells).take(pa.array(rows)).drop_null().to_pylist()) for rows in (test, learned)]
    return sorted(values[0] & values[1], key=str)


def safe(table: Table, data: DataConfig, reporter: Reporter) -> DataConfig:
    """The split as it was asked for, or else the one that the audit holds safe; a column that groups rows is no input."""
    if find.task_module(data.task).Main.apart and data.target and not data.group:
        people = pc.sum(pc.greater(pc.value_counts(values_of(table.column(data.target[0]))).field("counts"), 1)).as_py()
        if 0 < people < 3 * EACH_PART and not (data.split or data.test):
            reporter.say(tr("{count} people are too few for a test of strangers, which needs {needed}: pictures are divided at random, and "
                            "the test tells only how well these people are known again.", count=people, needed=3 * EACH_PART))  # fmt: skip
            usual = [name for name in ("valid_share", "test_share") if getattr(data, name) == getattr(DataConfig, name)]
            data = dataclasses.replace(data, split="random", **dict.fromkeys(usual, OF_FEW_PEOPLE))  # type: ignore[arg-type]
        data = dataclasses.replace(data, split=data.split or "group", group=data.target[0])
    named = partition.told(table, data.target)
    if not (data.split or data.group or data.time or data.test):
        proposal, found = audit.propose(table, data.target[0] if data.target else "")
        for finding in found:
            if finding.code in ("few_groups", "long"):
                reporter.say(finding.sentence if finding.code == "few_groups" else f"{finding.sentence} {finding.remedy}")
        if proposal.how == "folders" and not named:
            reporter.say(tr("Split by the folders that the files lie in; --split random divides them anew."))
        elif proposal.how == "folders":
            reporter.say(tr("Split as the column {name!r} says; --split random divides anew.", name=named))
        if proposal.how in ("group", "time"):
            reporter.say(tr("Split by {column}, because {reason}.", column=proposal.group or proposal.time, reason=proposal.reason))
        how = "stratified" if proposal.how == "random" and split.has_classes(table, data, data.target) else proposal.how
        data = dataclasses.replace(data, split=how, group=proposal.group, time=proposal.time)  # type: ignore[arg-type]
    besides = [name for name in (data.group, named) if name and name not in (*data.ignore, *data.target)]
    return dataclasses.replace(data, ignore=(*data.ignore, *besides)) if besides else data


def _given(path: str, table: Table, data: DataConfig, reporter: Reporter, past: ahead.Past | None) -> Table:
    other = rasters.again(totals.read(path, encoding=data.encoding), table.kinds)
    other = ahead.again(longform.again(other, data.join, table.kinds), past).with_kinds(table.kinds, table.reasons)
    opens, why = readable(other, data.ignore)
    for problem in (*other.problems, *why):
        reporter.say(problem)
    return other if opens.all() else spill.part(other, np.flatnonzero(opens))


def make(source: Any, settings: Mapping[str, Any], reporter: Reporter, *, resumed: bool = False) -> Plan:
    """The whole plan; every mistake in the settings is reported before the data are read. A resumed run has its weights already."""
    said, settings = find.checked(settings)
    if said.adapt.lora and not said.adapt.start:
        raise ConfigError("Low-rank changes are learned beside weights that exist; none were given. Name them with --from.")
    pretrained = go_on_from(said.adapt.start) if said.adapt.start and not resumed else None
    if pretrained:
        settings = _started(settings, said, pretrained)
    table, joined = longform.settle(read(source, said.data, reporter), said.data, reporter)
    data, notes = choose(table, joined)
    for sentence in notes:
        reporter.say(sentence)
    table, data, past = ahead.settle(table, data, reporter)
    table, left_out = _sound(table, data)
    table, cleaned = clean(table, said.clean, (*data.target, *data.ignore))
    data = safe(table, data, reporter)
    ahead.offer(table, data, reporter)
    task = find.make_task(data.task, task_options(data, said))
    mask, unlearnable = task.usable(table)
    table = table if mask.all() else spill.part(table, np.flatnonzero(mask))
    for sentence in (sentences := [*left_out, *cleaned, *unlearnable]):
        reporter.say(sentence)
    train, valid, test, words = divide(table, data, said.train.seed, reporter, task.judged_bytes, EACH_PART if task.apart else 1, past)
    reporter.say(words)
    suggestion = task.suggest(train)
    if pretrained:
        settings, pretrained = _carried(settings, said, data, suggestion.recipe, pretrained)
    resolved = _resolve(settings, data, suggestion.recipe, bool(pretrained and pretrained.part))
    recipe = enough(resolved, said.train, len(train), suggestion.longer)
    if recipe.adapt.start and not resumed:
        reporter.say(_tuning(recipe))
    for sentence in (cut := unheard(train, data.ignore, recipe.encode.longest_sound)):
        reporter.say(sentence)
    notes += [*sentences, *cut, words, suggestion.reason]
    reporter.say(tr("Model: {model} {size}; {reason}", model=recipe.model.name, size=recipe.model.size, reason=suggestion.reason))
    task = find.make_task(data.task, task_options(data, recipe))
    find.check_sides(recipe.model.name, task)
    if pretrained:
        task.adopt(_learned(pretrained))
    return Plan(recipe, task, train, valid, test, tuple(notes), (*table.problems, *sentences, *cut), words, pretrained, past)


def _started(settings: Mapping[str, Any], said: Recipe, pretrained: Pretrained) -> dict[str, Any]:
    """The settings with the architecture that the weights belong to; only what leaves their shapes alone may be set beside."""
    if carries(said.model.name) and said.model.name != pretrained.model:
        return dict(settings)
    if said.model.name not in ("", pretrained.model):
        raise ConfigError("The weights of {source} belong to the model {own}; received model {name}. Leave it out.",
                          source=pretrained.source, own=pretrained.model, name=said.model.name)  # fmt: skip
    if pretrained.learned.get("text") and (said.encode.tokenizer or said.encode.vocabulary):
        raise ConfigError("The tokenizer belongs to the weights of {source}; received {name!r}. Leave --tokenizer and --vocabulary out.",
                          source=pretrained.source, name=said.encode.tokenizer or said.encode.vocabulary)  # fmt: skip
    options = {**pretrained.options, **said.model.options}
    return merge(dict(settings), {"model": {"name": pretrained.model, "size": "base", "options": options}})


def _learned(pretrained: Pretrained) -> Mapping[str, Mapping[str, Any]]:
    """What the task takes over, and whether its model only writes on."""
    model = find.model_module(pretrained.model).Model
    writes = issubclass(model, Decoder) and not issubclass(model, EncoderDecoder)
    return {**pretrained.learned, "decoder": {}} if writes and "text" in pretrained.learned else pretrained.learned


def _carried(
    settings: Mapping[str, Any], said: Recipe, data: DataConfig, named: str, pretrained: Pretrained
) -> tuple[Mapping[str, Any], Pretrained]:
    """Where the task's model is built on a net such as these weights': that model, with the weights in its trunk."""
    suggested = find.task_recipes(data.task)[named].get("model", {})
    name, size = said.model.name or suggested.get("name", ""), said.model.size or suggested.get("size", "")
    if name == pretrained.model or not carries(name):
        return settings, pretrained
    found = within(pretrained, name, size)
    options = {**found.options, **said.model.options}
    rest = {key: value for key, value in settings.items() if key != "model"}
    kept = {key: value for key, value in settings.get("model", {}).items() if key != "options"}
    return merge(rest, {"model": {**kept, "name": name, "size": size, "options": options}}), found


def _tuning(recipe: Recipe) -> str:
    """How fine-tuning will go, in words: the settings that matter most, each to be overridden by its flag."""
    train, adapt_ = recipe.train, recipe.adapt
    length = tr("{epochs:g} epochs", epochs=train.epochs) if train.epochs and not train.steps else tr("{steps:,} steps", steps=train.steps)
    how = tr("low-rank changes of rank {rank}", rank=adapt_.lora_rank) if adapt_.lora else tr("all weights")
    return tr("Fine-tuning {how}: learning rate {rate:g}, {length} of {rows} rows a step, warm-up {warmup:.0%}, decay {decay:g}.", how=how,
              rate=train.learning_rate, length=length, rows=train.batch_size, warmup=train.warmup, decay=train.weight_decay)  # fmt: skip


def _sound(table: Table, data: DataConfig) -> tuple[Table, list[str]]:
    """The table without void columns and without rows whose files do not open, and in words what was left out."""
    table, sentences = without_void(table, (*data.target, *data.ignore, data.group, *dated.named(table, data.time)))
    opens, why = readable(table, data.ignore)
    return table if opens.all() else spill.part(table, np.flatnonzero(opens)), [*sentences, *why]


SMALL_NETS = {"optimizer": "muon", "learning_rate": 8e-3, "weight_decay": 0.1}
"""What the small forms of networks for pictures learn by from nothing; the large dense layers of published ones take too long by it."""


def _resolve(settings: Mapping[str, Any], data: DataConfig, named: str, part: bool = False) -> Recipe:
    """Defaults, below the task's named recipe, below what the user said; `part`: weights are given for the trunk alone."""
    suggested = dict(find.task_recipes(data.task)[named])
    chosen, started = settings.get("model", {}).get("name"), settings.get("adapt", {}).get("start")
    if chosen and chosen != suggested.get("model", {}).get("name"):
        suggested = {name: part for name, part in suggested.items() if name != "encode"} | {"model": {"size": "small"}}
        module = find.model_module(chosen)
        small = module.FORMS == ("pixels",) and not settings["model"].get("size") and not started
        suggested = merge(suggested, {"train": {"optimizer": TrainConfig.optimizer, **module.TRAIN, **(SMALL_NETS if small else {})}})
    elif settings.get("model", {}).get("size"):  # a size that was asked for is that size: what the recipe says of its own is left out
        suggested["model"] = {"name": suggested["model"]["name"], "options": {} if started else _of_any_size(suggested["model"])}
    said = build(AdaptConfig, settings.get("adapt", {}), "adapt")
    if said.start and chosen:
        own = adapt.lessons(find.model_module(chosen).TRAIN, suggested.get("train", {}))
        going_on = {"optimizer": TrainConfig.optimizer, **adapt.defaults(chosen, own, said, part)}
        suggested = merge(suggested, {"train": going_on, "adapt": adapt.PART if part else {}})
        if not said.lora:  # what this task found to suit weights that exist
            suggested = merge(suggested, find.task_recipes(data.task).get(f"{named}-from", {}))
    wanted = settings.get("train", {}).get("optimizer")
    if not said.start and wanted and wanted != suggested.get("train", {}).get("optimizer", wanted):  # a recipe's rate is for its optimizer
        name = chosen or suggested["model"]["name"]
        suggested = merge(suggested, {"train": {"learning_rate": find.model_module(name).TRAIN["learning_rate"]}})
    recipe = build(Recipe, merge(suggested, settings))
    model = recipe.model if recipe.model.size else dataclasses.replace(recipe.model, size="base")
    return dataclasses.replace(recipe, data=data, model=model)


def _of_any_size(model: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's options of the model in which its named sizes do not differ: how it is built, not how large."""
    first, *others = find.model_module(model["name"]).SIZES.values()
    options = model.get("options", {}).items()
    return {name: value for name, value in options if all(getattr(size, name) == getattr(first, name) for size in others)}


def enough(recipe: Recipe, said: TrainConfig, rows: int, longer: float) -> Recipe:
    """The recipe with epochs for `FEWEST_STEPS`, and `longer` while that is within `PASSES`, where it learns from nothing and nobody said
    how long."""
    train = recipe.train
    if said.epochs or said.steps or said.minutes or recipe.adapt.start or recipe.data.task not in OF_FEW or not train.batch_size:
        return recipe
    least = math.ceil(FEWEST_STEPS / math.ceil(rows / train.batch_size))
    more = max(1.0, min(longer, PASSES / max(1.0, rows * train.epochs)))
    return dataclasses.replace(recipe, train=dataclasses.replace(train, epochs=max(float(round(more * train.epochs)), float(least))))
