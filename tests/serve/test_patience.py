"""Connections that are kept, and those that are not: a small application behind the server's own protocol, its seconds made short."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from uvicorn import Config
from uvicorn.server import ServerState

from duomo.serve import protocol
from duomo.serve.access import parts_of
from duomo.serve.guard import Guard
from duomo.serve.metrics import Metrics

HEAD = 0.15
ASK = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A client on a connection to an application that answers after some seconds."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", HEAD)

    monkeypatch.setattr(protocol, "ANSWER_SECONDS", HEAD)

    def run(seconds: float, client: Talk, body: bytes = b"ok") -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(seconds)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

        async def both() -> None:
            config = Config(app, log_config=None)
            config.load()
            made = lambda: protocol.TimedProtocol(config=config, server_state=ServerState(), app_state={})  # noqa: E731
            async with await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0) as server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                await client(reader, writer)
                writer.close()

        asyncio.run(both())

    return run


async def answered(reader: asyncio.StreamReader) -> bool:
    """Whether an answer comes; not where the connection is closed before."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        return head.startswith(b"HTTP/1.1 200") and await reader.readexactly(2) == b"ok"
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


@pytest.mark.parametrize("seconds", [0.0, 1.5 * HEAD])
def test_a_client_that_comes_back_later_finds_its_connection(talk: Callable[..., None], seconds: float) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for parts in ((ASK,), (ASK[:20], ASK[20:]), (ASK[:-2], ASK[-2:])):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.01)
            assert await answered(reader)
            await asyncio.sleep(2 * HEAD)

    talk(seconds, client)


@pytest.mark.parametrize("begun", [b"GET /livez HTT", b"\r\n", ASK + b"GET /livez HTT"])
def test_a_head_that_has_begun_must_end(talk: Callable[..., None], begun: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ASK)
        assert await answered(reader)
        writer.write(begun)
        while await asyncio.wait_for(reader.read(1000), 10 * HEAD):
            pass

    talk(0.0, client)


@pytest.mark.parametrize("slow", [True, False])
def test_an_answer_that_nobody_fetches_is_given_up(talk: Callable[..., None], slow: bool) -> None:
    """Slowly fetched it is whole."""
    size = 50_000_000

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ASK)
        got = 0
        while True:
            await asyncio.sleep(0.02 if slow and got < size // 2 else 0.0)
            try:
                piece = await reader.read(2**20)
            except ConnectionError:
                break
            got += len(piece)
            if not piece or got > size:
                break
            if not slow:
                await asyncio.sleep(4 * HEAD)
        assert (got > size) == slow

    talk(0.0, client, bytes(size))


ASKED = {"type": "http", "method": "POST", "headers": [(b"host", b"a"), (b"content-length", b"80")], "raw_path": b"/", "query_string": b""}


def test_bodies_that_come_slowly_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients hold a piece of theirs back: beyond the bound 503, and room again when one has ended."""
    monkeypatch.setattr("duomo.serve.guard.HELD_BYTES", 100)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def run() -> None:
        guard, sent = Guard(app, ("a",), Metrics(), quiet=True), list[int]()

        async def ask(*pieces: bytes, last: asyncio.Event) -> None:
            left = [*pieces]

            async def receive() -> dict[str, Any]:
                if len(left) == 1:
                    await last.wait()
                return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

            async def send(message: dict[str, Any]) -> None:
                sent.extend([message["status"]] if "status" in message else [])

            await guard(dict(ASKED), receive, send)

        go, now = asyncio.Event(), asyncio.Event()
        now.set()
        slow = asyncio.create_task(ask(b"x" * 79, b"x", last=go))
        await asyncio.sleep(0.01)
        with pytest.raises(HTTPException) as refused:
            await ask(b"x" * 30, b"x", last=now)
        assert refused.value.status_code == 503 and refused.value.headers == {"Retry-After": "1"} and guard.held == 79
        go.set()
        await slow
        await ask(b"x" * 80, last=now)
        assert sent == [200, 200] and guard.held == 0

    asyncio.run(run())


def test_an_upload_that_comes_too_late_is_told_so() -> None:
    """The bounds of a body keep their own status while an upload is read."""

    async def receive() -> Any:
        raise HTTPException(408, "late")

    upload = {"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data; boundary=x")]}
    with pytest.raises(HTTPException) as late:
        asyncio.run(parts_of(Request(upload, receive)))
    assert late.value.status_code == 408


def test_what_does_not_end_in_time_is_told_so() -> None:
    """A body that has not come when the server ends: 503, and no fault of the server's in the log."""
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: dict[str, Any]) -> None:
        sent.extend([message["status"]] if "status" in message else [])

    async def run() -> None:
        task = asyncio.create_task(Guard(app, ("a",), Metrics(), quiet=True)(dict(ASKED), receive, send))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    asyncio.run(run())
    assert sent == [503]
