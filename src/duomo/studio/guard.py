"""Who may speak to the studio: only who has the address with its token, from this machine, from the page itself."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from duomo.core.messages import speak, tr

HOSTS = ("127.0.0.1", "localhost")
LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a request; uploads of files are bounded by the disk instead."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


def refused(status: int, message: str, **beside: object) -> JSONResponse:
    return JSONResponse({"error": {"message": message, **beside}}, status)


class Guard:
    """ASGI middleware. The first part of the path is the token; what stands behind it is what the application sees."""

    def __init__(self, app: Any, token: str):
        self._app, self._token = app, token

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        speak("zh" if headers.get("accept-language", "").lower().startswith("zh") else "en")
        token, _, rest = scope["path"].removeprefix("/").partition("/")
        seen = 0

        async def dressed(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = {name.decode("latin-1").lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in HEADERS.items() if name not in own),
                ]
            await send(message)

        async def bounded() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST_BODY and not rest.startswith("api/upload/"):
                raise ConnectionAbortedError
            return message

        refusal = self._refusal(headers, token, rest)
        if refusal is not None:
            await refusal(scope, receive, dressed)
            return
        await self._app({**scope, "path": "/" + rest, "raw_path": None}, bounded, dressed)

    def _refusal(self, headers: Mapping[str, str], token: str, rest: str) -> Response | None:
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            return refused(421, tr("The studio answers to its own address only."))
        origin = headers.get("origin")
        if (origin is not None and origin != f"http://{host}") or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return refused(403, tr("Other pages may not call the studio."))
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return refused(404, tr("This address lacks the studio's token. Take the whole address that `duomo studio` printed."))
        length = headers.get("content-length", "0")
        if not length.isdigit() or (int(length) > LARGEST_BODY and not rest.startswith("api/upload/")):
            return refused(413, tr("A request may hold {most:,} bytes at most.", most=LARGEST_BODY))
        return None
