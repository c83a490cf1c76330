"""The worker processes behind the front: each run has its own, so that a crash, a reload or a slow answer touches no other run.

A request goes to the worker of its run that has the fewest. A worker that dies fails what it had (503, never a hang) and is started anew;
a run folder that was replaced gets new workers, which take over once they have verified and loaded it, and the old ones end their work.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from duomo.core.errors import RunError
from duomo.core.files import sign_of
from duomo.serve.frames import Frame, Parser, packed
from duomo.serve.limits import ANSWER_SECONDS, QUEUE, QUEUE_BYTES, STREAM_BYTES

LOOK_SECONDS = 0.5
AGAIN_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0)
"""How long to wait before a worker that died again and again is started again."""
LOAD_SECONDS = 900.0
HANG_SECONDS = ANSWER_SECONDS + 10
Event = Callable[..., None]


class Busy(Exception):
    """Too many requests wait already."""


class Lost(Exception):
    """The worker died, or did not answer in time, or is not there yet."""


START_FAULTS = (RunError, Lost, OSError)


class _Once:
    """Waits for one frame, like a queue of one."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.frame: asyncio.Future[Frame] = loop.create_future()

    def put_nowait(self, frame: Frame) -> None:
        if not self.frame.done():
            self.frame.set_result(frame)


class Replica(asyncio.Protocol):
    """One worker process and the requests that it has."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop):
        self._parser, self._loop = Parser(), loop
        self._asked: dict[int, asyncio.Queue[Frame] | _Once] = {}
        self._held: dict[int, int] = {}
        self._owed: set[int] = set()
        """Requests whose last frame has not come, also those that nobody waits for any more: a worker that hangs answers neither."""
        self._transport: Any = None
        self.hello: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.ended = asyncio.Event()
        self.heard = time.monotonic()
        ours, theirs = socket.socketpair()
        self._socket = ours
        command = [sys.executable, *(["-O"] if sys.flags.optimize else []), "-m", "duomo.served", str(theirs.fileno()), str(path)]
        # in a group of its own: Ctrl-C is for the front, which lets its workers end what they have
        self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, process_group=0)
        theirs.close()

    async def connect(self) -> dict[str, Any]:
        """What the worker says of its run once that is loaded; RunError where it cannot be, Lost where it died."""
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                facts = await self.hello
        except TimeoutError:
            raise Lost from None
        if "fault" in facts:
            raise RunError("{message}", message=facts["fault"])
        return facts

    # -- asyncio.Protocol
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        for head, body in self._parser.feed(data):
            if "id" not in head:
                if not self.hello.done():
                    self.hello.set_result(head)
                continue
            if not head["more"]:
                self._owed.discard(head["id"])
            waiting = self._asked.get(head["id"])
            if waiting is not None:
                self._held[head["id"]] = held = self._held[head["id"]] + len(body)
                waiting.put_nowait((head, body) if held <= STREAM_BYTES or not head["more"] else ({"lost": True}, b""))

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()
        if not self.hello.done():
            self.hello.set_exception(Lost("a worker ended while it started"))
        for waiting in self._asked.values():
            waiting.put_nowait(({"lost": True}, b""))

    # -- asking
    @property
    def load(self) -> int:
        return len(self._asked)

    @property
    def owed(self) -> int:
        return len(self._owed)

    def _send(self, number: int, head: Mapping[str, Any], body: bytes, waiting: "asyncio.Queue[Frame] | _Once") -> None:
        now = time.monotonic()
        if not self._owed:
            self.heard = now  # it was not silent, nobody asked
        self._owed.add(number)
        self._asked[number], self._held[number] = waiting, 0
        self._transport.write(packed({"id": number, "until": now + ANSWER_SECONDS, **head}, body))

    async def one(self, number: int, head: Mapping[str, Any], body: bytes) -> Frame:
        """The whole answer of a request that is answered in one frame; as `ask`."""
        waiting = _Once(self._loop)
        late = self._loop.call_later(ANSWER_SECONDS, waiting.put_nowait, ({"lost": True}, b""))
        try:
            self._send(number, head, body, waiting)
            found, content = await waiting.frame
            if "lost" in found:
                raise Lost
            return found, content
        finally:
            late.cancel()
            answered = waiting.frame.done() and not waiting.frame.cancelled() and "lost" not in waiting.frame.result()[0]
            self._forget(number, answered)

    def _forget(self, number: int, answered: bool) -> None:
        self._asked.pop(number, None)
        self._held.pop(number, None)
        if not answered and not self.ended.is_set():
            self._transport.write(packed({"cancel": number}))

    async def ask(self, number: int, head: Mapping[str, Any], body: bytes) -> AsyncGenerator[Frame]:
        """The frames of an answer; Lost where they end too early. Leaving early tells the worker to stop."""
        waiting: asyncio.Queue[Frame] = asyncio.Queue()
        more = True
        try:
            self._send(number, head, body, waiting)
            while more:
                async with asyncio.timeout(ANSWER_SECONDS):
                    found, content = await waiting.get()
                self._held[number] -= len(content)
                if "lost" in found:
                    raise Lost
                more = bool(found["more"])
                yield found, content
        except TimeoutError:
            raise Lost from None
        finally:
            self._forget(number, not more)

    def hangs(self) -> bool:
        return bool(self._owed) and time.monotonic() - self.heard > HANG_SECONDS

    async def end(self, grace: float) -> None:
        """Let it finish what it has, then close; the process goes when its socket does."""
        until = time.monotonic() + grace
        while self._asked and not self.ended.is_set() and time.monotonic() < until:
            await asyncio.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._transport is not None:
            self._transport.close()
        else:
            self._socket.close()


class Place:
    """One run and its replicas."""

    def __init__(self, path: Path, copies: int, event: Event):
        self.path, self.name, self._copies, self._event = path, path.name, copies, event
        self.replicas: list[Replica] = []
        self.facts: dict[str, Any] = {}
        self.waiting_bytes = 0
        self.born = int(time.time())
        self._number = 0
        self._sign: Any = None
        self._deaths = 0
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        return any(not one.ended.is_set() for one in self.replicas)

    def sign(self) -> Any:
        """Changes when the folder is replaced; None where it is gone."""
        return sign_of(self.path / "manifest.json")

    async def start(self, kept: Sequence[Replica] = ()) -> None:
        """Fresh workers for the folder as it is now, beside those that are kept; they take over once they answer.

        RunError or Lost where they do not.
        """
        sign = self.sign()
        fresh = [Replica(self.path, asyncio.get_running_loop()) for _ in range(self._copies - len(kept))]
        facts: list[dict[str, Any]] = []
        try:
            facts = [await one.connect() for one in fresh]
        finally:
            for one in fresh if not facts else ():
                one.kill()
        old, self.replicas, self.facts, self._sign = self.replicas, [*kept, *fresh], facts[0], sign
        for one in old:
            if one not in kept:
                task = asyncio.create_task(one.end(ANSWER_SECONDS))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def watch(self) -> None:
        """Replace what died or hangs, and everything when the folder changed; runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS if self._deaths < 2 else AGAIN_SECONDS[min(self._deaths, len(AGAIN_SECONDS)) - 1])
            for one in self.replicas:
                if one.hangs():
                    one.kill()
            lost = any(one.ended.is_set() for one in self.replicas) or not self.replicas
            sign = self.sign()
            changed = sign is not None and sign != self._sign
            if not lost and not changed:
                self._deaths = 0
                continue
            why = "restart" if lost else "reload"
            self._deaths += 1
            try:
                await self.start([] if changed else [one for one in self.replicas if not one.ended.is_set()])
            except START_FAULTS as error:
                self._event(why, run=self.name, ok=False, reason=str(error).replace(str(self.path), self.name)[:500])
            else:
                self._event(why, run=self.name, ok=True)

    def least_busy(self, size: int = 0) -> Replica:
        """The worker for one more request of so many bytes; Busy or Lost. Asked before a body is read too: most refusals need none."""
        able = [one for one in self.replicas if not one.ended.is_set()]
        if not able:
            raise Lost
        chosen = min(able, key=lambda one: one.owed)
        if chosen.load >= QUEUE or (self.waiting_bytes + size > QUEUE_BYTES and self.waiting_bytes):
            raise Busy
        return chosen

    @contextmanager
    def _chosen(self, body: bytes) -> Iterator[Replica]:
        chosen = self.least_busy(len(body))
        self._number += 1
        self.waiting_bytes += len(body)
        try:
            yield chosen
        finally:
            self.waiting_bytes -= len(body)

    async def ask(self, head: Mapping[str, Any], body: bytes = b"") -> AsyncGenerator[Frame]:
        """The frames of an answer from the least busy worker; Busy or Lost."""
        with self._chosen(body) as chosen:
            async with aclosing(chosen.ask(self._number, head, body)) as frames:
                async for found in frames:
                    yield found

    async def one(self, head: Mapping[str, Any], body: bytes = b"") -> Frame:
        """The whole answer of a request that is answered in one frame."""
        with self._chosen(body) as chosen:
            return await chosen.one(self._number, head, body)

    async def stop(self) -> None:
        for one in self.replicas:
            one.kill()
        for task in [*self._ending]:
            task.cancel()


class Pool:
    """All runs that are served."""

    def __init__(self, paths: Mapping[str, Path], copies: int, event: Event = lambda what, **facts: None):
        self.places = {name: Place(path, copies, event) for name, path in paths.items()}
        self._watching: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        return all(place.ready for place in self.places.values())

    async def start(self) -> None:
        """Load every run; RunError for the first that cannot be."""
        if self._watching:
            return
        await asyncio.gather(*(place.start() for place in self.places.values()))
        self._watching = [asyncio.create_task(place.watch()) for place in self.places.values()]

    async def stop(self) -> None:
        for task in self._watching:
            task.cancel()
        for place in self.places.values():
            await place.stop()
