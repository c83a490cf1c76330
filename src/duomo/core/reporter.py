"""How long work speaks to whoever watches: a terminal, a machine, nobody."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class Progress(ABC):
    """One bar: use as a context manager."""

    @abstractmethod
    def update(self, done: float, **facts: float | str) -> None:
        """How much is done, and facts to show beside the bar (loss, metric, rate)."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


class Reporter(ABC):
    """Where sentences, tables and progress go; sentences come translated (`tr`)."""

    @abstractmethod
    def say(self, sentence: str) -> None: ...

    def passage(self, title: str, parts: Sequence[tuple[str, bool]]) -> None:
        """A text in parts, those that are True set apart."""
        self.say(title + "\n" + "".join(f"⟦{text}⟧" if marked else text for text, marked in parts))

    @abstractmethod
    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None: ...

    @abstractmethod
    def progress(self, label: str, total: float, unit: str) -> Progress: ...


class _NoProgress(Progress):
    def update(self, done: float, **facts: float | str) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return None


class Silent(Reporter):
    """Shows nothing, and keeps what was said: for tests and for use as a library."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        return None

    def progress(self, label: str, total: float, unit: str) -> Progress:
        return _NoProgress()
