"""What the routes share: who asks (dependencies that check rights), what is asked of which run, and failures in one form."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from duomo.core.errors import DuomoError
from duomo.core.messages import nearest, tr
from duomo.serve.errors import error_body
from duomo.serve.frames import Frame
from duomo.serve.keys import Key, Keys
from duomo.serve.limits import LARGEST_BODY, MOST_PARTS
from duomo.serve.metrics import Metrics
from duomo.serve.openai_fields import ROUTES
from duomo.serve.pool import Busy, Lost, Place, Pool

FORM_FAULTS = (MultiPartException, FormParserError, ValueError)
JSON = "application/json"
UPLOAD = "multipart/form-data"
Right = Callable[[Request], Key | None]
Handler = Callable[[Request, Key | None], Awaitable[Response]]
SOON_SECONDS = 0.2
"""Most answers are there by then, and nobody needs to listen whether the client is."""
HUNG_UP = 499
"""As nginx has it: no fault of the server."""
OPENAI = frozenset(ROUTES)
"""Routes that say 400 where the others say 422, as OpenAI's clients expect."""


class Refused(Exception):
    """A request that is answered with a failure."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str):
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.headers = status, message, param, code, headers


class Access:
    """The runs, the keys to them, and the counters."""

    def __init__(self, pool: Pool, keys: Keys, metrics: Metrics):
        self.pool, self.keys, self.metrics = pool, keys, metrics

    # -- rights
    def route(self, path: str, answer: Handler, right: Right, *, method: str = "GET") -> Route:
        """A route and the right that it takes; `answer` runs once that is proved, with the key that proved it."""

        async def endpoint(request: Request) -> Response:
            request.state.route = path
            return await answer(request, right(request))

        made = Route(path, endpoint, methods=[method])
        made.methods = {method}  # Starlette would add HEAD
        return made

    def anyone(self, request: Request) -> None:
        """Open to all."""

    def caller(self, request: Request) -> Key | None:
        """The key of the request where tokens are set; 401 without one."""
        if not self.keys:
            return None
        key = self.keys.find(request.headers)
        if key is None:
            sentence = tr("This server wants a token: Authorization: Bearer TOKEN.")
            if "authorization" in request.headers:
                sentence = tr("The token of this request is none that the server knows; it is sent as Authorization: Bearer TOKEN.")
            raise Refused(401, sentence, code="invalid_api_key",
                          **{"WWW-Authenticate": 'Bearer, Basic realm="duomo"'})  # fmt: skip
        request.state.caller = key.name
        return key

    def asking(self, request: Request) -> Key | None:
        """As `caller`, and counted against the key's rate; 429 beyond it."""
        key = self.caller(request)
        wait = key.wait(time.monotonic()) if key else 0.0
        if wait:
            rate, wait = key.per_minute if key else 0.0, math.ceil(wait)
            sentence = tr("This token may ask {rate:g} times a minute. Try again in {wait:.0f} s.", rate=rate, wait=wait)
            raise Refused(429, sentence, code="rate_limit_exceeded", **{"Retry-After": str(wait)})
        return key

    def operator(self, request: Request) -> Key | None:
        """As `caller`; 403 for a token that is for some runs only, where all of them are told of."""
        key = self.caller(request)
        if key and key.runs:
            raise Refused(403, tr("This route tells of all runs; it takes a token that is for all of them."))
        return key

    def known(self, key: Key | None) -> list[str]:
        """The runs that are open to this key."""
        return [name for name in self.pool.places if not key or not key.runs or name in key.runs]

    def place(self, request: Request, name: str, key: Key | None) -> Place:
        """The run of that name, if it is served and open to this key."""
        if key and key.runs and name not in key.runs:
            raise Refused(403, tr("This token is not for the run {name!r}.", name=name[:80]), code="model_not_allowed")
        found = self.pool.places.get(name)
        if found is None:
            known = self.known(key)
            hint = nearest(name[:200], known)
            sentence = tr("No run {name!r} is served.{hint} Served: {known}.",
                          name=name[:80], hint=hint, known=", ".join(known) or tr("none"))  # fmt: skip
            raise Refused(404, sentence, param="model", code="model_not_found")
        request.state.run = name
        return found

    # -- asking a worker
    async def ask(self, request: Request, place: Place, head: dict[str, Any], body: bytes = b"") -> Frame:
        """The answer of one frame; a failure of the worker's own becomes Refused."""
        found = await unless_gone(request, place.one(head, body))
        self.check(found)
        self.metrics.add("rows_total", found[0].get("rows", 0), run=place.name)
        return found

    @staticmethod
    def check(found: Frame) -> None:
        head = found[0]
        if head["status"] != 200:
            raise Refused(head["status"], head["message"], param=head.get("param"), code=head.get("code"))


async def unless_gone(request: Request, asked: Awaitable[Frame]) -> Frame:
    """What is asked; the worker is told to stop where it takes its time and the client hangs up before."""
    answer = asyncio.ensure_future(asked)
    try:
        if not (await asyncio.wait((answer,), timeout=SOON_SECONDS))[0]:
            gone = asyncio.ensure_future(_gone(request))
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
        if answer.done():
            return answer.result()
        raise ClientDisconnect
    finally:
        if not answer.done():
            answer.cancel()
            await asyncio.wait((answer,))


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refuse_packed(request: Request) -> None:
    """415 for a compressed body: its size would not be known before it is unpacked."""
    packing = request.headers.get("content-encoding", "").strip().lower()
    if packing not in ("", "identity"):
        sentence = tr(
            "Requests are taken as they are; received one with Content-Encoding {kind!r}. Send it uncompressed.", kind=packing[:80]
        )
        raise Refused(415, sentence, **{"Accept-Encoding": "identity"})


async def body_of(request: Request, most: int = LARGEST_BODY) -> bytes:
    """The body of a JSON request; 415 where it says to be something else, 413 beyond `most` bytes."""
    _refuse_packed(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        also = "" if request.state.route in OPENAI else tr(" or files as multipart/form-data (curl -F files=@FILE)")
        sentence = tr("This route takes JSON (Content-Type: application/json){also}; received {kind!r}.", also=also, kind=kind[:80] or "-")
        raise Refused(415, sentence)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise Refused(413, tr("A request may hold {most:,} bytes at most.", most=most))
        pieces.append(piece)
    return b"".join(pieces)


async def parts_of(request: Request) -> tuple[list[tuple[str, bool, int]], bytes]:
    """An upload as parts (field, whether it is a file, bytes) and their contents one after the other."""
    _refuse_packed(request)
    try:
        form = await request.form(max_files=MOST_PARTS, max_fields=MOST_PARTS, max_part_size=LARGEST_BODY)
    except HTTPException as error:
        if error.status_code != 400:  # the bounds of any body
            raise
        raise Refused(413 if "Too many" in str(error.detail) else 422, str(error.detail)) from None
    except FORM_FAULTS as error:
        raise Refused(422, tr("The upload is not understood: {reason}", reason=str(error)[:80])) from None
    parts, contents = [], []
    for name, value in form.multi_items():
        content = await value.read() if isinstance(value, UploadFile) else value.encode("utf-8", "replace")
        parts.append((name, isinstance(value, UploadFile), len(content)))
        contents.append(content)
    await form.close()
    return parts, b"".join(contents)


def _answer(
    request: Request, status: int, message: str, headers: Mapping[str, str] | None = None, error: Refused | None = None
) -> Response:
    param, code = (error.param, error.code) if error else (None, None)
    if status == 422 and request.state.route in OPENAI:
        status = 400
    return JSONResponse(error_body(status, message, request.state.id, param, code), status, headers=headers)


async def _refused(request: Request, error: Any) -> Response:
    return _answer(request, error.status, error.message, error.headers, error)


async def _known(request: Request, error: Any) -> Response:
    return _answer(request, 422, str(error))


async def _by_status(request: Request, error: Any) -> Response:
    message, allowed = str(error.detail), (error.headers or {}).get("Allow", "")
    if error.status_code == 404:
        message = tr("There is no such route. Chats go to POST /v1/chat/completions, rows to POST /v1/predict/RUN; GET /docs shows all.")
    if error.status_code == 405:
        message = tr("This route takes {methods} only; received {method}.", methods=allowed, method=request.method[:20])
    return _answer(request, error.status_code, message, error.headers)


async def _busy(request: Request, error: Any) -> Response:
    return _answer(request, 503, tr("Too many requests wait already. Try again in a second."), {"Retry-After": "1"})


async def _lost(request: Request, error: Any) -> Response:
    return _answer(request, 503, tr("The model does not answer at present. Try again in a few seconds."), {"Retry-After": "2"})


async def _gone_away(request: Request, error: Any) -> Response:
    return _answer(request, HUNG_UP, tr("The client hung up."))  # which nobody reads but in the log and the metrics


async def _unknown(request: Request, error: Any) -> Response:
    return _answer(request, 500, tr("The request could not be answered."))


FAILURES: dict[Any, Any] = {
    Refused: _refused, DuomoError: _known, HTTPException: _by_status, Busy: _busy, Lost: _lost, ClientDisconnect: _gone_away,
    Exception: _unknown,
}  # fmt: skip
"""Every failure is one sentence with an id; a path of this machine never leaves it."""
