"""Settings of other makers' models, as a config.json or a GGUF file says them: read by type, and within bounds."""

from collections.abc import Mapping
from typing import Any

from duomo.core.errors import ConfigError

Settings = Mapping[str, Any]


def only(settings: Settings, name: str, *fine: Any) -> None:
    """ConfigError where a setting has a value that our architecture does not know; a setting left out is fine."""
    if settings.get(name) not in (None, *fine):
        raise ConfigError("A model can be taken over where {name} is {fine}; its config.json says {value!r}.",
                          name=name, fine=" / ".join(map(str, fine)), value=settings[name])  # fmt: skip


def chosen(settings: Settings, name: str, known: Mapping[str, str]) -> str:
    """Our word for a setting's value, the first where it is left out; ConfigError where there is none."""
    only(settings, name, *known)
    return known[settings.get(name) or next(iter(known))]


def size(settings: Settings, name: str, other: int | None = None, most: int = 10**8) -> int:
    """A whole number from 1 to `most`; ConfigError for anything else."""
    value = settings.get(name)
    value = other if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigError("The setting {name} of a model must be a whole number from 1 to {most:,}; received {value!r}.",
                          name=name, most=most, value=value)  # fmt: skip
    return value


def depth(settings: Settings, name: str, other: int | None = None) -> int:
    """A number of layers: bounded, since each is built."""
    return size(settings, name, other, 1000)


def real(settings: Settings, name: str, other: float | None = None, most: float = 1e12) -> float:
    """A number from 0 to `most`; ConfigError for anything else."""
    value = settings.get(name)
    value = other if value is None else value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        raise ConfigError("The setting {name} of a model must be a number from 0 to {most:,}; received {value!r}.",
                          name=name, most=most, value=value)  # fmt: skip
    return float(value)


def inner(settings: Settings, name: str) -> Settings:
    """Settings within settings, none where they are left out; ConfigError for anything else."""
    found = settings.get(name) or {}
    if not isinstance(found, Mapping):
        raise ConfigError("The setting {name} of a model must be an object; received {value!r}.", name=name, value=found)
    return found
