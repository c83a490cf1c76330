"""Rows of many requests share one pass of the model; the queue is bounded, the answers go back to who asked."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, Full
from typing import Any, Protocol

import pyarrow as pa

from duomo.core.errors import DuomoError
from duomo.core.table import Table

Answers = dict[str, list[Any]]
QUEUE = 256
ROWS = 512
"""Rows that are answered in one pass at most."""


ANSWER_FAULTS = (DuomoError, pa.ArrowInvalid, ValueError, RuntimeError)
SETTLE_FAULTS = (DuomoError, pa.ArrowInvalid, ValueError, RuntimeError, MemoryError)


class Answering(Protocol):
    """What a server needs of a run."""

    def answers(self, table: Table) -> Answers: ...


@dataclass
class _Asked:
    table: Table
    future: "Future[Answers]" = field(default_factory=Future)


class Busy(RuntimeError):
    """The queue is full."""


class Batcher:
    """One thread that answers; while it works, what arrives gathers for its next pass."""

    def __init__(self, run: Answering):
        self._run = run
        self._queue: queue.Queue[_Asked | None] = queue.Queue(QUEUE)
        self._thread = threading.Thread(target=self._work, name="duomo-batcher", daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, table: Table) -> "Future[Answers]":
        """The answers to come; Busy when too many wait already."""
        asked = _Asked(table)
        try:
            self._queue.put_nowait(asked)
        except Full:
            raise Busy from None
        return asked.future

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._queue.put(None)
        self._thread.join(30)

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group, rows = [first], len(first.table)
            while rows < ROWS:
                try:
                    following = self._queue.get_nowait()
                except Empty:
                    break
                if following is None:
                    self._queue.put(None)
                    break
                group.append(following)
                rows += len(following.table)
            self._answer(group)

    def _answer(self, group: list[_Asked]) -> None:
        """All together; when that fails, one by one, so that a bad row hurts nobody else."""
        waiting = [asked for asked in group if asked.future.set_running_or_notify_cancel()]
        if len(waiting) > 1:
            try:
                joined = Table(pa.concat_tables([asked.table.data for asked in waiting]), waiting[0].table.kinds)
                columns = self._run.answers(joined)
            except ANSWER_FAULTS:
                columns = None
            if columns is not None:
                start = 0
                for asked in waiting:
                    stop = start + len(asked.table)
                    asked.future.set_result({name: values[start:stop] for name, values in columns.items()})
                    start = stop
                return
        for asked in waiting:
            _settle(asked.future, lambda table=asked.table: self._run.answers(table))  # type: ignore[misc]


def _settle(future: "Future[Answers]", work: Callable[[], Answers]) -> None:
    try:
        future.set_result(work())
    except SETTLE_FAULTS as error:
        future.set_exception(error)
