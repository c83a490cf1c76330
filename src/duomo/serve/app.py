"""A run as a service on this machine: JSON rows or files in, answers out, and a page to try it.

GET  /                  the page            GET  /docs  /openapi.json   how to call it
GET  /health            whether it is up    GET  /v1/run                what it reads and answers
POST /v1/predict        {"rows": [{...}]} -> {"answers": [{...}]}
POST /v1/predict/files  multipart files, one row each
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import uvicorn
from fastapi import FastAPI, File, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from duomo.core.errors import ConfigError, DataError, DuomoError
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.core.table import MEDIA
from duomo.serve.batcher import Answering, Answers, Batcher, Busy
from duomo.serve.rows import MOST_ROWS, table_of

PAGE = Path(__file__).with_name("page")
FILES = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css", "/docs": "docs.html", "/docs.js": "docs.js"}
LARGEST_BODY = 64 * 1024 * 1024
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Served(Answering, Protocol):
    """What a finished run offers to a server."""

    facts: Mapping[str, Any]

    @property
    def path(self) -> Path: ...


class Rows(BaseModel):
    """Rows to answer: objects of field -> value; plain texts where the run reads one text."""

    rows: Annotated[list[dict[str, Any] | str], Field(max_length=MOST_ROWS)]


class Answered(BaseModel):
    """One answer for each row, in order."""

    answers: list[dict[str, Any]]


def _error(status: int, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": {"id": secrets.token_hex(6), "message": message}}, status, headers=headers)


def _rows(columns: Answers) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class _Guard:
    """ASGI middleware: foreign hosts and origins are refused, bodies are bounded while they arrive, headers are set."""

    def __init__(self, app: Any, hosts: tuple[str, ...]):
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        seen = 0

        async def bounded() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST_BODY:
                raise HTTPException(413, tr("A request may hold {most:,} bytes at most.", most=LARGEST_BODY))
            return message

        async def dressed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((name.encode(), value.encode()) for name, value in HEADERS.items())]
            await send(message)

        await self._app(scope, bounded, dressed)

    def _refusal(self, headers: Mapping[str, str]) -> Response | None:
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in self._hosts:
            return _error(421, tr("This server answers to its own address only."))
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return _error(403, tr("Pages of other origins may not call this server."))
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return _error(413, tr("A request may hold {most:,} bytes at most.", most=LARGEST_BODY))
        return None


def create(run: Served, hosts: tuple[str, ...] = LOCAL) -> FastAPI:
    """The application for one run."""
    columns = {name: run.facts["kinds"][name] for name in run.facts["features"]}
    batcher = Batcher(run)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.close)

    app = FastAPI(title=f"duomo {run.path.name}", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(_Guard, hosts=hosts)
    _pages(app)
    _failures(app)

    async def answer(rows: list[Any]) -> list[dict[str, Any]]:
        table = await asyncio.to_thread(table_of, rows, columns)
        return _rows(await asyncio.wrap_future(batcher.submit(table)))

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server can answer."""
        if not batcher.alive():
            raise HTTPException(503, tr("The model does not answer."))
        return {"status": "ok", "run": run.path.name}

    @app.get("/v1/run")
    async def described() -> dict[str, Any]:
        """What this run reads and does."""
        return {"run": run.path.name, "task": run.facts["task"], "columns": columns}

    @app.post("/v1/predict")
    async def predict(body: Rows) -> Answered:
        """Answer rows."""
        return Answered(answers=await answer(body.rows))

    @app.post("/v1/predict/files")
    async def predict_files(files: Annotated[list[UploadFile], File()]) -> Answered:
        """Answer pictures or sounds, one row each; for runs that read a single file column."""
        media = [name for name, kind in columns.items() if kind in MEDIA]
        if len(media) != 1 or len(columns) != 1:
            raise DataError("Uploads are for runs that read one picture or sound; this one reads {columns}. Send JSON rows.",
                            columns=", ".join(columns))  # fmt: skip
        return Answered(answers=await answer([{media[0]: await file.read()} for file in files]))

    return app


def _pages(app: FastAPI) -> None:
    for route, name in FILES.items():

        def page(path: Path = PAGE / name) -> FileResponse:
            return FileResponse(path)

        app.add_api_route(route, page, include_in_schema=False)


def _failures(app: FastAPI) -> None:
    """Every failure is one sentence with an id; a path of this machine never leaves it."""

    @app.exception_handler(DuomoError)
    async def known(_: Request, error: DuomoError) -> JSONResponse:
        return _error(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _error(422, tr("The request is not understood at {place}: {reason}.", place=place[:80], reason=first["msg"]))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return _error(503, tr("Too many requests wait already. Try again in a second."), **{"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> JSONResponse:
        return _error(500, tr("The request could not be answered."))


def serve(run: Served, host: str, port: int, reporter: Reporter) -> None:
    """Listen until stopped; ConfigError when the address is taken."""
    hosts = (*LOCAL, host) if host not in LOCAL else LOCAL
    config = uvicorn.Config(create(run, hosts), host=host, port=port, log_level="warning", server_header=False)
    server = uvicorn.Server(config)
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise ConfigError("The address {host}:{port} is taken or not allowed. Choose another with --port.", host=host, port=port) from None
    reporter.say(tr("Serving {run} on http://{host}:{port}  (stop with Ctrl-C)", run=run.path, host=host, port=port))
    server.run(sockets=[socket])
