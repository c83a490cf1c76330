"""The loop of a worker process: one run, one socket. While a pass is computed, what arrives gathers for the next one."""

import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from duomo.core.table import Table
from duomo.serve.desk import Desk, Question, Reply, Served, asked_table
from duomo.serve.frames import Frame, Parser, packed
from duomo.serve.limits import ROWS
from duomo.serve.scribe import Scribe, writes

PIECE = 1 << 20


def question_of(frame: Frame) -> Question:
    head, body = frame
    parts = [(name, is_file, size) for name, is_file, size in head.get("parts", ())]
    return Question(head["id"], head["verb"], body, parts, head.get("asked", {}), head.get("until", float("inf")))


class Worker:
    """Reads questions, answers them in groups, says farewell when the front is gone."""

    def __init__(self, run: Served, link: socket.socket):
        self._desk, self._link = Desk(run), link
        self._parser = Parser()
        self._waiting: deque[Question] = deque()
        self._cancelled: set[int] = set()
        self._lock = threading.Lock()
        self._scribe = Scribe(run, self.reply) if writes(run) else None
        self._desk.writing = self._scribe is not None

    def work(self) -> None:
        """Until the front closes its end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the front decides when it is over
        self.send({"ready": True, **self._desk.facts()})
        while self._gather():
            self._group()

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        with self._lock:
            self._link.sendall(packed(head, body))

    def reply(self, number: int, reply: Reply) -> None:
        self.send({"id": number, "status": reply.status, "more": reply.more, **reply.facts}, reply.body)

    def _gather(self) -> bool:
        """Take what has come, waiting only where nothing is there; False at the end."""
        while True:
            wait = None if not self._waiting else 0
            if not select.select([self._link], [], [], wait)[0]:
                return True
            data = self._link.recv(PIECE)
            if not data:
                return False
            for frame in self._parser.feed(data):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if "cancel" in frame[0]:
            number = frame[0]["cancel"]
            if self._scribe is None or not self._scribe.cancel(number):
                self._cancelled.add(number)
        elif self._scribe is not None and frame[0]["verb"] in ("chat", "complete"):
            self._scribe.begin(question_of(frame))
        else:
            self._waiting.append(question_of(frame))

    def _group(self) -> None:
        group: list[tuple[Question, Table]] = []
        rows = 0
        while self._waiting and rows < ROWS:
            question = self._waiting.popleft()
            if question.id in self._cancelled or question.until < time.monotonic():
                self._cancelled.discard(question.id)
                continue
            table = asked_table(self._desk, question)
            if isinstance(table, Reply):
                self.reply(question.id, table)
                continue
            group.append((question, table))
            rows += ROWS if self._desk.slow else len(table)
        self._answer(group)

    def _answer(self, group: Sequence[tuple[Question, Table]]) -> None:
        for number, reply in self._desk.answer(group):
            self.reply(number, reply)
