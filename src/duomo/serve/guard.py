"""ASGI middleware around everything: foreign hosts and origins are refused, sizes and times are bounded, every answer is counted.

Rights are not decided here but by the routes (`access.py`).
"""

import asyncio
import json
import secrets
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.exceptions import HTTPException

from duomo.core.messages import tr
from duomo.serve.errors import error_body
from duomo.serve.limits import BODY_SECONDS, HELD_BYTES, LARGEST_BODY, LARGEST_HEAD, LONGEST_ADDRESS, LONGEST_MUTE, REST_SECONDS
from duomo.serve.metrics import Metrics, log

HEADERS = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
SAFE = ("GET", "HEAD")
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class _Bounded:
    """One request's body and answer: bounded as they come, dressed as they go."""

    def __init__(self, guard: "Guard", receive: Receive, send: Send, identity: str, length: int | None):
        self._guard, self._receive, self._send, self._identity, self._draining = guard, receive, send, identity, guard.draining
        self._until = time.perf_counter() + BODY_SECONDS
        self.size, self._whole, self._length = 0, length == 0, length
        self.status = 0

    async def receive(self) -> Any:
        if self._whole:  # what follows is the end of the connection, whenever that comes
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - time.perf_counter())):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, tr("A request must arrive within {seconds:g} seconds.", seconds=BODY_SECONDS)) from None
        self.size += (size := len(message.get("body", b"")))
        self._guard.held += size
        self._whole = not message.get("more_body")
        if self.size > LARGEST_BODY:
            raise HTTPException(413, tr("A request may hold {most:,} bytes at most.", most=LARGEST_BODY))
        if self._guard.held > HELD_BYTES:
            raise HTTPException(503, tr("Too many requests wait already. Try again in a second."), {"Retry-After": "1"})
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *HEADERS, (b"x-request-id", self._identity.encode())]
            long = not self._whole and (self._length is None or self._length > LONGEST_MUTE)
            if self._draining or long:
                message["headers"].append((b"connection", b"close"))
        elif not self._whole and not message.get("more_body"):
            await self._send(message | {"more_body": True})
            await self._rest()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _rest(self) -> None:
        """Take what still comes of a body whose answer does not need it, for a while: closing on it would reset the answer as well."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                while (await self._receive()).get("more_body"):
                    pass


class Guard:
    """See the head of this file. `draining` is set once the server is about to stop."""

    def __init__(self, app: Any, hosts: tuple[str, ...], metrics: Metrics, quiet: bool = False):
        self._app, self._metrics, self._quiet = app, metrics, quiet
        self._hosts = frozenset(map(str.lower, hosts))
        self.draining, self.held = False, 0
        """`held`: bytes of the bodies of all requests that are being read or answered."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no web sockets here
        start, identity = time.perf_counter(), secrets.token_hex(6)
        scope["state"] = {**scope.get("state", {}), "id": identity, "route": "-", "run": "", "caller": ""}
        bounded = _Bounded(self, receive, send, identity, _length(scope))
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, bounded.receive, bounded.send)
            else:
                await _send_error(bounded.send, *refusal, identity)
        except CancelledError:  # the server ends, and what was accepted has had its time
            if not bounded.status:
                bounded.status = 503
                await _send_error(send, 503, tr("The server is being stopped. Ask again in a moment."), identity)
        finally:
            self.held -= bounded.size
            self._count(scope, bounded.status, time.perf_counter() - start)

    def _count(self, scope: Any, status: int, seconds: float) -> None:
        state = scope["state"]
        route = state["route"]
        self._metrics.add("requests_total", route=route, run=state["run"], status=status)
        self._metrics.took(route, seconds)
        if not self._quiet:
            facts = {"id": state["id"], "method": scope["method"][:10], "route": route, "run": state["run"], "token": state["caller"]}
            log("request", **facts, status=status, ms=round(seconds * 1000, 2))

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEAD:
            return 431, tr("The headers of a request may hold {most:,} bytes at most.", most=LARGEST_HEAD)
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return 414, tr("An address may hold {most:,} bytes at most.", most=LONGEST_ADDRESS)
        host = headers.get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in self._hosts:
            return 421, tr("This server answers to its own address only; it is started with --name for another one.")
        origins = [value.decode("latin-1") for header, value in scope["headers"] if header == b"origin"]
        foreign = any(origin.partition("://")[2] != host for origin in origins)
        sent_by_page = headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none")
        if foreign or (sent_by_page and scope["method"] not in SAFE):
            return 403, tr("Pages of other origins may not call this server.")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > LARGEST_BODY:
            return 413, tr("A request may hold {most:,} bytes at most.", most=LARGEST_BODY)
        return None


def _length(scope: Any) -> int | None:
    """Bytes of the request's body; None where that is not said."""
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    said = headers.get(b"content-length", b"" if b"transfer-encoding" in headers else b"0")
    return int(said[:20]) if said.isdigit() else None


async def _send_error(send: Send, status: int, message: str, identity: str) -> None:
    body = json.dumps(error_body(status, message, identity), ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
