"""Typed settings from mappings, files and `--set a.b=c`; every mistake is found before any is reported."""

import ast
import dataclasses
import inspect
import itertools
import json
import math
import tomllib
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from duomo.core.errors import ConfigError
from duomo.core.files import UNREADABLE
from duomo.core.messages import nearest, tr

Settings = TypeVar("Settings")


CONVERT_FAULTS = (TypeError, ValueError, OverflowError)


@dataclasses.dataclass(frozen=True)
class Within:
    """The range of a number: Annotated[float, Within(0, 1)]; both ends belong to it, but no number is endless."""

    low: float
    high: float = math.inf


@cache
def documentation(cls: type) -> dict[str, str]:
    """Field name -> the sentence that stands beneath it in the source."""
    (definition,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in itertools.pairwise(definition.body):
        match before, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                found[name] = inspect.cleandoc(sentence)
    return found


@cache
def hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def build(cls: type[Settings], values: Mapping[str, Any], place: str = "") -> Settings:
    """A `cls` from a mapping; ConfigError lists every unknown name and every value of a wrong type at once."""
    problems: list[str] = []
    made = _build(cls, values, place, problems)
    if problems:
        raise ConfigError("{problems}", problems="\n".join(problems))
    return made  # type: ignore[no-any-return]


def _build(cls: Any, values: Mapping[str, Any], place: str, problems: list[str], base: Any = None) -> Any:
    """`base`: what the settings that are not given are taken from, where it is not the defaults of `cls`."""
    known = {field.name: field for field in dataclasses.fields(cls)}
    taken: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{place}.{name}" if place else name
        if name not in known:
            problems.append(tr("There is no setting {path!r}.{hint}", path=path, hint=_inner(cls, name) or nearest(name, known, 0.6)))
            continue
        expected = hints(cls)[name]
        if dataclasses.is_dataclass(expected):
            if isinstance(value, expected):  # type: ignore[arg-type]
                taken[name] = value
            elif isinstance(value, Mapping):
                own = known[name].default_factory
                taken[name] = _build(expected, value, path, problems, None if own is dataclasses.MISSING else own())
            else:
                problems.append(tr("{path} must be a table of settings; received {value!r}.", path=path, value=value))
        else:
            taken[name] = _convert(value, expected, path, problems)
    if problems:
        return None
    return cls(**taken) if base is None else dataclasses.replace(base, **taken)


def _inner(cls: type, name: str) -> str:
    """The setting of that name in one of the tables, where its table was left out."""
    tables = [section for section, expected in hints(cls).items() if dataclasses.is_dataclass(expected)]
    inside = next((section for section in tables if any(field.name == name for field in dataclasses.fields(hints(cls)[section]))), "")
    return tr(" Did you mean {name!r}?", name=f"{inside}.{name}") if inside else ""


def _convert(value: Any, expected: Any, path: str, problems: list[str]) -> Any:
    try:
        return _as(value, expected)
    except CONVERT_FAULTS:
        problems.append(
            tr("{path} must be {expected}; received {value!r}.", path=path, expected=_shown(expected), value=value) + _near(value, expected)
        )
        return value


def _shown(expected: Any) -> str:
    """What a setting takes, in words."""
    if get_origin(expected) is Annotated:
        kind, within = get_args(expected)
        ends = {"kind": _shown(kind), "low": f"{within.low:g}", "high": f"{within.high:g}"}
        return (
            tr("{kind} from {low} to {high}", **ends)
            if within.high < math.inf
            else tr("{kind} of at least {low}", kind=ends["kind"], low=ends["low"])
        )
    if get_origin(expected) is Literal:
        return tr("one of {known}", known=", ".join(str(choice) or '""' for choice in get_args(expected)))
    if get_origin(expected) is tuple:
        return tr("a list")
    plain = {int: tr("a whole number"), float: tr("a number"), str: tr("a text"), bool: tr("true or false")}
    return plain.get(expected) or (expected.__name__ if isinstance(expected, type) else str(expected).replace("typing.", ""))


def _near(value: Any, expected: Any) -> str:
    """The nearest choice, where the setting has choices."""
    return nearest(value, (choice for choice in get_args(expected) if choice)) if get_origin(expected) is Literal else ""


def _as(value: Any, expected: Any) -> Any:
    origin = get_origin(expected)
    if expected is Any:
        return value
    if origin is Annotated:
        kind, within = get_args(expected)
        made = _as(value, kind)
        if not within.low <= made <= within.high or made == math.inf:
            raise ValueError
        return made
    if origin is Literal:
        if value not in get_args(expected):
            raise ValueError
        return value
    if origin in (Union, types.UnionType):
        for choice in get_args(expected):
            try:
                return _as(value, choice)
            except CONVERT_FAULTS:
                continue
        raise ValueError
    if origin is tuple:
        parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise TypeError
        return tuple(_as(part, get_args(expected)[0]) for part in parts)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError
        return dict(value)
    return _as_plain(value, expected)


def _as_plain(value: Any, expected: Any) -> Any:
    if expected is type(None):
        if value is not None:
            raise TypeError
        return None
    if expected is bool:
        if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no", "1", "0"):
            return value.lower() in ("true", "yes", "1")
        if not isinstance(value, bool):
            raise TypeError
        return value
    if expected in (int, float):
        if isinstance(value, bool):
            raise TypeError
        if expected is int and isinstance(value, float) and value != int(value):
            raise ValueError
        return expected(value)
    if expected is str and not isinstance(value, str):
        raise TypeError
    return value


def parse_assignment(text: str, example: str = "train.epochs=3") -> tuple[list[str], Any]:
    """`a.b.c=value` -> (["a", "b", "c"], value); the value is read as TOML where it is TOML, else as text."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError("A setting is written name=value; received {text!r}. Example: {example}", text=text, example=example)
    try:
        read = tomllib.loads(f"value = {value}")["value"]
    except TOMLDecodeError:
        read = value
    return path.strip().split("."), read


def assign(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Put a value at a path of nested dicts."""
    for name in path[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError("{name!r} is a value, not a table of settings; received {path!r}.", name=name, path=".".join(path))
        values = inner
    values[path[-1]] = value


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over one another; `above` wins."""
    found = dict(below)
    for name, value in above.items():
        found[name] = merge(found[name], value) if isinstance(value, Mapping) and isinstance(found.get(name), Mapping) else value
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables; a missing or malformed file raises ConfigError with the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("A recipe must be a file; there is none at {path}.", path=path) from None
    except UNREADABLE as error:
        raise ConfigError("A recipe must be TOML; {path} is not: {error}.", path=path, error=error) from None


def to_toml(settings: Any) -> str:
    """A dataclass as TOML: one [table] for each nested one, each field under its documentation."""
    lines: list[str] = []
    for section in dataclasses.fields(settings):
        value = getattr(settings, section.name)
        lines.append(f"[{section.name}]")
        items = (
            {field.name: getattr(value, field.name) for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else value
        )
        docs = documentation(type(value)) if dataclasses.is_dataclass(value) and not isinstance(value, type) else {}
        for name, item in items.items():
            lines += [f"# {line}" for line in docs.get(name, "").splitlines()]
            lines.append(f"{_key(name)} = {literal(item)}")
        lines.append("")
    return "\n".join(lines)


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else json.dumps(name, ensure_ascii=False)


def literal(value: Any) -> str:
    """The value as TOML writes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {literal(item)}" for name, item in value.items()) + "}"
    return json.dumps(str(value), ensure_ascii=False)
