"""The loop of a worker process: one run, one socket. While a pass is computed, what arrives gathers for the next one.

A pass takes the rows of one block and no more, so that while some rows are computed the answers to others are on their way.
"""

import select
import signal
import socket
import threading
import time
from collections import deque
from typing import Any

from duomo.decode.engine import Engines
from duomo.serve.batching import BatchHandler, Question, Reply, Served, asked_of
from duomo.serve.frames import Frame, Parser, packed
from duomo.serve.generation import GenerationHandler, writes
from duomo.serve.rows import Rows

PIECE = 1 << 20
GIVEN_UP = Reply(503, facts={"lost": True})
"""For a request that nobody waits for any more: the front learns that this worker does not hang."""


def question_of(frame: Frame) -> Question:
    head, body = frame
    parts = [(name, is_file, size) for name, is_file, size in head.get("parts", ())]
    return Question(head["id"], head["verb"], body, parts, head.get("asked", {}), head.get("until", float("inf")))


def framed(number: int, reply: Reply) -> tuple[dict[str, Any], bytes]:
    return {"id": number, "status": reply.status, "more": reply.more, **reply.facts}, reply.body


class Worker:
    """Reads questions, answers them in groups, says farewell when the front is gone."""

    def __init__(self, run: Served, link: socket.socket, engine: Engines | None = None):
        self._handler, self._link = BatchHandler(run), link
        self._arrivals = select.poll()  # `select` knows no descriptors from 1024 on, which a front with many connections gives
        self._arrivals.register(link, select.POLLIN)
        self._parser = Parser()
        self._waiting: deque[Question] = deque()
        self._lock = threading.Lock()
        self._generation = GenerationHandler(run, self.reply, engine) if writes(run) else None
        self._handler.writing = self._generation is not None
        self._most = 1 if self._handler.slow else run.predictor.enough

    def work(self) -> None:
        """Until the front closes its end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the front decides when it is over
        self._send(packed({"ready": True, **self._handler.facts()}))
        while self._gather():
            self._group()

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._link.sendall(data)

    def reply(self, number: int, reply: Reply) -> None:
        self._send(packed(*framed(number, reply)))

    def _gather(self) -> bool:
        """Take what has come, waiting only where nothing is there; False at the end."""
        while True:
            if not self._arrivals.poll(0 if self._waiting else None):
                return True
            data = self._link.recv(PIECE)
            if not data:
                return False
            for frame in self._parser.feed(data):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if "cancel" in frame[0]:
            number = frame[0]["cancel"]
            if self._generation is None or not self._generation.cancel(number):
                self._drop([question for question in self._waiting if question.id == number])
        elif self._generation is not None and frame[0]["verb"] in ("chat", "complete"):
            self._generation.begin(question_of(frame))
        else:
            self._waiting.append(question_of(frame))

    def _drop(self, questions: list[Question]) -> None:
        for question in questions:
            self._waiting.remove(question)
            self.reply(question.id, GIVEN_UP)

    def _alike(self) -> list[Question]:
        """Those that wait, the oldest first, then the likest to it in size: rows of one width fill a block."""
        first = len(self._waiting[0].body) if self._waiting else 0
        return sorted(self._waiting, key=lambda question: abs(len(question.body) - first))

    def _group(self) -> None:
        group: list[tuple[Question, Rows]] = []
        count = 0
        self._drop([question for question in self._waiting if question.until < time.monotonic()])
        for question in self._alike():
            if count >= self._most:
                break
            self._waiting.remove(question)
            rows = asked_of(self._handler, question)
            if isinstance(rows, Reply):
                self.reply(question.id, rows)
                continue
            group.append((question, rows))
            count += len(rows)
        self._send(b"".join(packed(*framed(number, reply)) for number, reply in self._handler.answer(group)))
