"""From settings and a table to a plan: what is predicted, how rows are divided, by which settings it is learned (settings.py)."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core import find, kinds
from duomo.core.contract import Task
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds.cells import text_of, values_of
from duomo.core.messages import folded, listed, tr
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import DataConfig, Recipe
from duomo.core.reporter import Reporter
from duomo.core.table import MEDIA, Table
from duomo.data import (
    ahead,
    audit,
    crossed,
    dated,
    given_parts,
    leaks,
    longform,
    objects,
    partition,
    rasters,
    spill,
    split,
    targets,
    totals,
)
from duomo.data.cleaning import clean
from duomo.data.digests import row_digests
from duomo.data.folders import whose
from duomo.data.formats import documents
from duomo.data.readable import opening, unheard, without_void
from duomo.exchange.opening import go_on_from
from duomo.settings import SUPERVISED, carried, enough, learned, resolve, started, tuning
from duomo.train import mirrors

EACH_PART, OF_FEW_PEOPLE = 2, 0.3
"""People of a part of the split, at least, where people are told apart; of fewer the share of pictures to validate by, and to test on."""
MOST_VALID, MOST_TEST = 50_000, 200_000
"""Rows of a split that Duomo draws itself: the 95 % interval of an accuracy is then below 0.5 and 0.25 points wide on either side."""
SPOKEN = {"blocks": "by blocks of neighbouring rows", "folders": "by folders", "given": "as the files are given"}
FEW_MET = 0.1
"""Rows of a given test, at most, whose person or thing the training rows have, where it is meant to be of new ones."""
MOST_CHOOSING = 300
"""Rows of validation that a task which judges what it writes chooses its last settings by."""
GLANCED, SCENES = 48, 160
"""Side in pixels that pictures, and pictures with things in them, are looked at before anything is learned."""


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
    table = documents.cut(totals.read(source, data.encoding, (*data.target, *data.kind)), running)
    if not isinstance(source, (str, Path)) and table.root is None:
        table = dataclasses.replace(table, root=Path.cwd())
    table = objects.settle(table, data, lambda told: _plainly(told)[0]) if data.task in ("", *SUPERVISED) else table
    table = whose.named(table) if data.task and find.task_module(data.task).Main.apart and not data.target else table
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
    for problem in folded(table.problems):
        reporter.say(problem)
    if not len(table):
        raise DataError("There must be rows to learn from; {name} has none.", name=table.name)
    return table


def choose(table: Table, data: DataConfig) -> tuple[DataConfig, list[str]]:
    """Target and task, found where they were not given, and in words why; what tells the parts of the data is no input."""
    data = targets.called(table, data)
    notes, task, target = list[str](), data.task or ("regress" if data.ahead else ""), data.target
    parts = (partition.told(table, target), partition.folds(table, (*target, *data.kind)))
    if parts[1] and parts[1] not in (*data.ignore, data.group):
        notes.append(tr("Column {name!r} tells the folds of a cross-validation and is not learned from; --kind {name}={kind} makes it an "
                        "input.", name=parts[1], kind=table.kinds.get(parts[1], "number")))  # fmt: skip
    aside = [*data.ignore, *(name for name in parts if name and name not in data.ignore)]  # what nobody is to look at is no target either
    table = table.without([name for name in table.names if name in aside and name not in target])
    if not target and task in ("", *SUPERVISED) and (target := tuple(name for name in table.asked if name in table.names)):
        notes.append(tr("Target: {name}, which the rows to be answered lack.", name=listed(target)))
    if task and not target:
        target = find.task_module(task).Main.find_target(table)
        notes += [tr("Target: {name}, which is what {task} learns.", name=name, task=task) for name in target]
    if not task and not target and (plain := _plainly(table))[0]:
        task, target, notes = plain[0], plain[1], [*notes, plain[2]]
    if task in ("", *SUPERVISED) and not target:
        target, why = _guess_target(table.without(table.of_kind("category", "text")) if data.ahead else table)
        notes.append(why)
    if not task and data.target:
        name, found, why = _plainly(table)
        task, notes = (name, [*notes, why]) if name and found == target else ("", notes)
    if not task:
        task, why = _task_of(table, target)
        notes.append(why)
    again, said = leaks.twins(table, target, data.kind)
    return dataclasses.replace(data, task=task, target=target, ignore=(*aside, *again)), [*notes, *said]


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
    name, why = targets.guess_target(table)
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
        table, found = given_parts.given(table, valid, _given(data.test, table, data, reporter, past), data, seed, data.target, least)
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
    how = tr("by {column}", column=column) if column else tr(SPOKEN.get(found.how, found.how))
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
            if finding.code in ("few_groups", "gathered", "pairs", "long"):
                reporter.say(finding.sentence if finding.code == "few_groups" else f"{finding.sentence} {finding.remedy}")
        if proposal.how == "folders" and not named:
            reporter.say(tr("Split by the folders that the files lie in; --split random divides them anew."))
        elif proposal.how == "folders":
            reporter.say(tr("Split as the column {name!r} says; --split random divides anew.", name=named))
        if proposal.how in ("group", "time"):
            reporter.say(tr("Split by {column}, because {reason}.", column=proposal.group or proposal.time, reason=proposal.reason))
        if proposal.how == "blocks":
            reporter.say(tr("Split by blocks of neighbouring rows, because {reason}; --split random draws them one by one.",
                            reason=proposal.reason))  # fmt: skip
        how = "stratified" if proposal.how == "random" and split.has_classes(table, data, data.target) else proposal.how
        data = dataclasses.replace(data, split=how, group=proposal.group, time=proposal.time)  # type: ignore[arg-type]
    elif data.test and not (data.split or data.group or data.time or data.valid):
        data = _validated(table, data, reporter)
    grouped = data.group and data.group not in (*data.ignore, *data.target)
    return dataclasses.replace(data, ignore=(*data.ignore, data.group)) if grouped else data


def _validated(table: Table, data: DataConfig, reporter: Reporter) -> DataConfig:
    """Beside a test that was given, validation is drawn as blocks where rows follow one another, and has persons or things of its own where
    the test has."""
    proposal, _ = audit.propose(table, data.target[0] if data.target else "")
    if proposal.how == "blocks":
        reporter.say(tr("The rows to validate by are blocks of neighbouring rows, because {reason}; --split random draws them one by one.",
                        reason=proposal.reason))  # fmt: skip
        return dataclasses.replace(data, split="blocks")
    if proposal.how != "group" or proposal.group not in (other := read_like(data.test, table, data)).names:
        return data
    known, asked = (text_of(one.column(proposal.group)) for one in (table, other))
    if float(pc.mean(pc.cast(pc.is_in(asked, value_set=pc.unique(known)), pa.float64())).as_py() or 0.0) > FEW_MET:
        return data
    reporter.say(tr("The rows to validate by have {column} of their own, as the test has; --split random draws them one by one.",
                    column=proposal.group))  # fmt: skip
    return dataclasses.replace(data, split="group", group=proposal.group)


def read_like(path: str, table: Table, data: DataConfig, past: ahead.Past | None = None) -> Table:
    """Another file's rows, as those of the table are."""
    other = whose.completed(totals.read(path, data.encoding, table.names), data.target)
    needed = [name for name in table.names if name not in data.target]
    return longform.again(other, data.join, table.kinds, needed, past).with_kinds(table.kinds, table.reasons)


def _given(path: str, table: Table, data: DataConfig, reporter: Reporter, past: ahead.Past | None) -> Table:
    other = read_like(path, table, data, past)
    opened, why = opening(other, data.ignore)
    for problem in folded((*other.problems, *why)):
        reporter.say(problem)
    return opened


def make(source: Any, settings: Mapping[str, Any], reporter: Reporter, *, resumed: bool = False) -> Plan:
    """The whole plan; every mistake in the settings is reported before the data are read. A resumed run has its weights already."""
    said, settings = find.checked(settings)
    if said.adapt.lora and not said.adapt.start:
        raise ConfigError("Low-rank changes are learned beside weights that exist; none were given. Name them with --from.")
    pretrained = go_on_from(said.adapt.start) if said.adapt.start and not resumed else None
    if pretrained:
        settings = started(settings, said, pretrained)
    table, joined = longform.settle(read(source, said.data, reporter), said.data, reporter)
    data, notes = choose(table, joined)
    for sentence in folded(notes):
        reporter.say(sentence)
    table, data, past = ahead.settle(crossed.settle(table, data), data, reporter)
    settings = crossed.laid(ahead.laid(settings, table, past), table, data)
    table, left_out = _sound(table, data)
    table, cleaned = clean(table, said.clean, (*data.target, *data.ignore))
    data = safe(table, data, reporter)
    ahead.offer(table, data, reporter)
    task = find.make_task(data.task, task_options(data, said))
    mask, unlearnable = task.usable(table)
    table = table if mask.all() else spill.part(table, np.flatnonzero(mask))
    sentences = [*left_out, *cleaned, *unlearnable, *audit.leaking(table, data)]
    for sentence in folded(sentences):
        reporter.say(sentence)
    train, valid, test, words = divide(table, data, said.train.seed, reporter, task.judged_bytes, EACH_PART if task.apart else 1, past)
    reporter.say(words)
    train, valid, test = map(task.divided, (train, valid, test))
    train = task.taught(train)
    suggestion = task.suggest(train)
    if pretrained:
        settings, pretrained = carried(settings, said, data, suggestion.recipe, pretrained)
    resolved = resolve(settings, data, suggestion.recipe, bool(pretrained and pretrained.part))
    recipe = enough(resolved, said.train, len(train), suggestion.longer)
    if recipe.adapt.start and not resumed:
        reporter.say(tuning(recipe))
    for sentence in (cut := unheard(train, data.ignore, recipe.encode.longest_sound)):
        reporter.say(sentence)
    notes += [*sentences, *cut, words, suggestion.reason]
    reporter.say(tr("Model: {model} {size}; {reason}", model=recipe.model.name, size=recipe.model.size, reason=suggestion.reason))
    recipe, kept = _unmirrored(recipe, settings, train)
    for sentence in kept:
        reporter.say(sentence)
    task = find.make_task(data.task, task_options(data, recipe))
    find.check_sides(recipe.model.name, task)
    if pretrained:
        task.adopt(learned(pretrained))
    return Plan(recipe, task, train, valid, test, (*notes, *kept), (*table.problems, *sentences, *cut), words, pretrained, past)


def _unmirrored(recipe: Recipe, settings: Mapping[str, Any], train: Table) -> tuple[Recipe, list[str]]:
    """The recipe without mirrored pictures, unless somebody asked for them, where mirror images mean something else; and that in words."""
    if not recipe.augment.flip or "flip" in settings.get("augment", {}):
        return recipe, []
    most = SCENES if train.of_kind("boxes") else GLANCED
    side = min(recipe.encode.picture_size or most, most)
    small = dataclasses.replace(recipe, encode=dataclasses.replace(recipe.encode, picture_size=side))
    if not mirrors.told_apart(find.make_task(recipe.data.task, task_options(recipe.data, small)), train):
        return recipe, []
    said = tr("Mirror images are told apart here: no picture is mirrored while learning (--flip does it all the same).")
    return dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, flip=False)), [said]


def _sound(table: Table, data: DataConfig) -> tuple[Table, list[str]]:
    """The table without void columns and without rows whose files do not open, and in words what was left out."""
    table, sentences = without_void(table, (*data.target, *data.ignore, data.group, *dated.named(table, data.time)))
    table, why = opening(table, data.ignore)
    return table, [*sentences, *why]
