"""Duomo turns the data you have into a tested model that is ready to serve.

    import duomo
    run = duomo.train("reviews.csv", target="label")
    run.predict([{"text": "..."}])

Nothing heavy is imported before a name is used.
"""

import importlib
import os
import signal
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duomo.core.errors import ConfigError, DataError, DuomoError, Interrupted, ResourceError, RunError
    from duomo.estimator import DuomoClassifier, DuomoRegressor
    from duomo.pipeline import inspect, load, resume, train
    from duomo.trained import Run

    __version__: str

_HOME = {
    "ConfigError": "duomo.core.errors",
    "DataError": "duomo.core.errors",
    "DuomoClassifier": "duomo.estimator",
    "DuomoError": "duomo.core.errors",
    "DuomoRegressor": "duomo.estimator",
    "Interrupted": "duomo.core.errors",
    "ResourceError": "duomo.core.errors",
    "Run": "duomo.trained",
    "RunError": "duomo.core.errors",
    "inspect": "duomo.pipeline",
    "load": "duomo.pipeline",
    "resume": "duomo.pipeline",
    "train": "duomo.pipeline",
}

__all__ = [
    "ConfigError",
    "DataError",
    "DuomoClassifier",
    "DuomoError",
    "DuomoRegressor",
    "Interrupted",
    "ResourceError",
    "Run",
    "RunError",
    "inspect",
    "load",
    "resume",
    "train",
]


class _Package(types.ModuleType):
    """`duomo.train` is the function: the subpackage of that name, once imported, must not take its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOME or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """By name, as every module: Ray, Dask and joblib send functions to other processes with the modules that they use."""
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("duomo")
    if name not in _HOME:
        raise AttributeError(f"module 'duomo' has no attribute {name!r}")
    from duomo.core.runtime import settle

    settle()
    value = getattr(_loaded(_HOME[name]), name)
    globals()[name] = value
    return value


def _loaded(name: str) -> types.ModuleType:
    """The module. Ctrl-C waits until it is whole: torch that is loaded by half ends the process as soon as it is asked for again."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        return importlib.import_module(name)
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        module = importlib.import_module(name)
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(signal.SIGINT, None)
    return module


def __dir__() -> list[str]:
    return sorted(__all__)


def _command() -> int:
    """The program `duomo`. As long as it loads, Ctrl-C ends it at once and quietly, with the exit code of an interrupted one."""
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from duomo import cli

    signal.signal(signal.SIGINT, before)
    return cli.main()
