"""Connections that are kept, and those that are not: a small application behind the server's own protocol, its seconds made short."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from duomo.serve import patience

HEAD = 0.15
ASK = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A client on a connection to an application that answers after some seconds."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", HEAD)

    monkeypatch.setattr(patience, "ANSWER_SECONDS", HEAD)

    def run(seconds: float, client: Talk, body: bytes = b"ok") -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(seconds)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

        async def both() -> None:
            config = Config(app, log_config=None)
            config.load()
            made = lambda: patience.Patient(config=config, server_state=ServerState(), app_state={})  # noqa: E731
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
