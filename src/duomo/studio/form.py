"""The recipe as a form: every field, its sentence, what it takes; and back from what was filled in to a command line."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from duomo.core import find
from duomo.core.config import build, documentation, hints, literal
from duomo.core.errors import ConfigError
from duomo.core.messages import tr
from duomo.core.recipe import Recipe

SECTIONS = ("train", "model", "data", "encode", "augment", "clean", "adapt")
HIDDEN = ("data.source", "data.target", "data.kind", "data.task", "data.ignore", "data.encoding", "adapt.start")
"""Chosen in the data room, or above the others."""
COLUMNS = ("data.group", "data.time", "task.source", "task.column", "task.weight")
"""Fields that name a column of the data."""
OTHERS = ("task.target", "task.ignore", "task.encode")
"""Fields of a task's config that are settled elsewhere."""
FLAGS = {
    "data.target": "target", "data.task": "task", "data.encoding": "encoding", "data.group": "group", "data.time": "time",
    "data.test": "test", "data.valid": "valid", "train.epochs": "epochs", "train.steps": "steps", "train.batch_size": "batch-size",
    "train.learning_rate": "learning-rate", "train.seed": "seed", "train.minutes": "minutes",
    "model.size": "size", "model.name": "model", "adapt.start": "from",
}  # fmt: skip
"""Settings that have a short flag in a command that a person reads; the others are said with --set."""
DERIVED = re.compile(r"\b(Empty|Negative|0): (?!no\b|off|never)")
"""How the documentation of a field begins to tell what its default stands for."""
PLAIN = {int: "integer", float: "number", str: "text", bool: "bool"}


def sections(task: str) -> list[dict[str, Any]]:
    """The recipe's sections with their fields, then the task's own: [{name, title, fields [{path, title, help, kind, default, …}]}]."""
    found = []
    for name in SECTIONS:
        cls = hints(Recipe)[name]
        found.append({"name": name, "title": tr(str(cls.__doc__)), "fields": _fields(cls, name)})
    if task:
        cls = find.task_module(task).Config
        own = [field for field in _fields(cls, "task") if not field["path"].startswith(OTHERS)]
        found.insert(2, {"name": "task", "title": tr(str(cls.__doc__)), "fields": own})
    return [section for section in found if section["fields"]]


def _fields(cls: type, section: str) -> list[dict[str, Any]]:
    found = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        path, expected = f"{section}.{field.name}", hints(cls)[field.name]
        if dataclasses.is_dataclass(expected) and isinstance(expected, type):
            found += _fields(expected, path)
            continue
        kind = _kind(expected)
        if path in HIDDEN or not kind:
            continue
        default = field.default if field.default is not dataclasses.MISSING else ()
        shown = list(default) if isinstance(default, tuple) else default
        said = documentation(cls).get(field.name, "")
        kind = {"kind": "column"} if path in COLUMNS else kind
        facts = {"path": path, "title": _title(field.name), "help": tr(said), "default": shown}
        found.append({**facts, "derived": bool(DERIVED.search(said)), **kind})
    models = next((field for field in found if field["path"] == "model.name"), None)
    if models:
        models |= {"kind": "choice", "choices": ["", *find.model_names()]}
    return found


def _title(name: str) -> str:
    """What a field is called: in Chinese by its flag in core/zh, in English by its own name."""
    flag = f"--{name.replace('_', '-')}"
    told = tr(flag)
    return name.replace("_", " ") if told == flag else told


def _kind(expected: Any) -> dict[str, Any]:
    """What a field takes: kind, and low, high or choices; nothing where a form has no place for it."""
    if get_origin(expected) is Annotated:
        inner, within = get_args(expected)
        high = {"high": within.high} if within.high != float("inf") else {}
        return {"kind": PLAIN[inner], "low": within.low, **high}
    if get_origin(expected) is Literal:
        return {"kind": "choice", "choices": list(get_args(expected))}
    if get_origin(expected) is tuple:
        return {"kind": "list"}
    return {"kind": PLAIN[expected]} if expected in PLAIN else {}


def command(source: str, out: str, settings: Mapping[str, Any]) -> list[str]:
    """The words after `duomo` that train with these nested settings; ConfigError lists every wrong one at once."""
    build(Recipe, settings)
    words = ["train", source, f"--out={out}"]
    for section, values in settings.items():
        if not isinstance(values, Mapping):
            raise ConfigError("{path} must be a table of settings; received {value!r}.", path=section, value=values)
        for name, value in values.items():
            words.append(_word(f"{section}.{name}", value))
    return words


def _word(path: str, value: Any) -> str:
    flag = FLAGS.get(path)
    plain = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    short = not isinstance(plain, (list, tuple, Mapping)) and "," not in str(plain) and str(plain).strip() == str(plain)
    return f"--{flag}={plain}" if flag and short else f"--set={path}={literal(value)}"
