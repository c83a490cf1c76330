"""How the command line speaks: rich for a person, JSON Lines for a machine. Everything but results goes to stderr."""

import json
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress import Task as Bar
from rich.table import Table as Grid
from rich.text import Text

from duomo.core.messages import tr
from duomo.core.reporter import Progress, Reporter

PLAIN_SECONDS = 10.0
WIDEST = 10_000
"""Columns of a terminal that holds any table."""
CONTROL = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\ufffd")


def harmless(text: str) -> str:
    """The text without the control characters by which a column or a label could command the terminal."""
    return text.translate(CONTROL)


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Bar) -> Text:
        unit = task.fields["unit"]
        return Text(f"{task.speed or 0:.1f} {unit}/s" if unit != "s" else unit)


class _Facts(ProgressColumn):
    """Loss and metrics beside the bar."""

    def render(self, task: Bar) -> Text:
        return Text(task.fields["facts"])


def _facts(facts: dict[str, float | str]) -> str:
    named = {tr(name.replace("_", " ")): value for name, value in facts.items()}
    return "  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in named.items())


class _LiveBar(Progress):
    def __init__(self, console: Console, label: str, total: float, unit: str):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), _Facts())
        self._bars = Bars(*columns, console=console, transient=False, refresh_per_second=5)
        self._bar = self._bars.add_task(label, total=total, unit=unit, facts="")
        self._bars.start()

    def update(self, done: float, **facts: float | str) -> None:
        self._bars.update(self._bar, completed=done, facts=_facts(facts))

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()


class _PlainBar(Progress):
    """Where there is no terminal: a line now and then."""

    def __init__(self, console: Console, label: str, total: float, unit: str):
        self._console, self._label, self._total, self._unit = console, label, total, unit
        self._start = self._last = time.monotonic()

    def update(self, done: float, **facts: float | str) -> None:
        now = time.monotonic()
        if now - self._last < PLAIN_SECONDS:
            return
        self._last = now
        rate = done / (now - self._start)
        left = (self._total - done) / rate if rate else 0.0
        speed = f"  {rate:.1f} {self._unit}/s  {left:.0f} s" if self._unit != "s" else " s"
        line = f"{self._label} {done:.0f}/{self._total:.0f}{speed}  {_facts(facts)}"
        self._console.print(line, markup=False, highlight=False)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return None


class TerminalReporter(Reporter):
    """For a person."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True)

    def say(self, sentence: str) -> None:
        self._console.print(harmless(sentence), markup=False, highlight=False)

    def passage(self, title: str, parts: Sequence[tuple[str, bool]]) -> None:
        if not self._console.is_terminal:
            super().passage(title, parts)
            return
        self.say(title)
        self._console.print(Text.assemble(*((harmless(text), "bold green" if marked else "dim") for text, marked in parts)))

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        grid = Grid(title=Text(harmless(title)), title_justify="left", box=None, pad_edge=False, header_style="bold")
        for index, name in enumerate(head):
            grid.add_column(Text(harmless(name)), justify="left" if index == 0 else "right", overflow="fold")
        for row in rows:
            grid.add_row(*(Text(harmless(str(cell))) for cell in row))
        fits = Measurement.get(self._console, self._console.options.update_width(WIDEST), grid).minimum <= self._console.width
        self._console.print(grid if fits else self._stacked(title, head, rows))

    @staticmethod
    def _stacked(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
        """The same where its words do not stand side by side, as on a phone: each row below its name."""
        grid = Grid(title=Text(harmless(title)), title_justify="left", box=None, pad_edge=False, show_header=False)
        for name, *cells in rows:
            grid.add_row(Text(harmless(str(name)), "bold"))
            for what, cell in zip(head[1:], cells, strict=True):
                grid.add_row(Text(f"  {harmless(what)}"), Text(harmless(str(cell))))
        return grid

    def progress(self, label: str, total: float, unit: str) -> Progress:
        made = _LiveBar if self._console.is_terminal else _PlainBar
        return made(self._console, label, total, unit)


class _JsonBar(Progress):
    def __init__(self, label: str, total: float, unit: str):
        self._label, self._total, self._unit, self._last = label, total, unit, 0.0

    def update(self, done: float, **facts: float | str) -> None:
        now = time.monotonic()
        if now - self._last >= 1:
            self._last = now
            _line({"event": "progress", "label": self._label, "done": done, "total": self._total, "unit": self._unit, **facts})

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return None


def _line(value: dict[str, object]) -> None:
    print(json.dumps(value, ensure_ascii=False), file=sys.stderr, flush=True)


class JsonReporter(Reporter):
    """For a machine: one JSON object a line on stderr."""

    def say(self, sentence: str) -> None:
        _line({"event": "message", "text": sentence})

    def passage(self, title: str, parts: Sequence[tuple[str, bool]]) -> None:
        _line({"event": "passage", "title": title, "parts": [{"text": text, "learned": marked} for text, marked in parts]})

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        _line({"event": "table", "title": title, "head": list(head), "rows": [list(row) for row in rows]})

    def progress(self, label: str, total: float, unit: str) -> Progress:
        return _JsonBar(label, total, unit)
