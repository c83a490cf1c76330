"""Runs as a service: JSON rows or files in, answers out; OpenAI's routes for runs that write, hear or embed; a page to try them.

GET  /  /docs  /openapi.json     the page, and how to call it      GET  /livez /readyz /health   open to all
GET  /v1/runs                    what each run reads               GET  /metrics                 for Prometheus
POST /v1/predict/{run}           rows or files -> answers          POST /v1/predict              where one run is served
OpenAI's routes: openai.py
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from duomo.core.messages import tr
from duomo.serve import openai, schema
from duomo.serve.access import FAILURES, JSON, UPLOAD, Access, Handler, Refused, body_of, parts_of
from duomo.serve.guard import Guard
from duomo.serve.keys import Key, Keys
from duomo.serve.limits import LARGEST_ROWS
from duomo.serve.metrics import Metrics
from duomo.serve.pool import Place, Pool

PAGE = Path(__file__).with_name("page")
FILES = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css", "/docs": "docs.html", "/docs.js": "docs.js"}
LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Application:
    """The ASGI application, and what starts and stops with it."""

    def __init__(self, pool: Pool, keys: Keys | None = None, hosts: tuple[str, ...] = LOCAL, *, quiet: bool = True):
        self.pool, self.metrics = pool, Metrics()
        self.access = Access(pool, keys or Keys([]), self.metrics)
        self.app = Starlette(routes=self._routes(), exception_handlers=FAILURES, lifespan=self._lifespan)
        self.guard = Guard(self.app, hosts, self.metrics, quiet)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.guard(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self.pool.start()
        yield
        await self.pool.stop()

    def ready(self) -> bool:
        return self.pool.ready and not self.guard.draining

    def _routes(self) -> list[Route]:
        """All of them, the busiest first."""
        route, access = self.access.route, self.access
        asked = [
            route("/v1/predict/{run}", self._named, access.asking, method="POST"),
            route("/v1/predict", self._only, access.asking, method="POST"),
        ]
        told = [route(path, self._page(PAGE / name), access.caller) for path, name in FILES.items()]
        told += [
            route("/openapi.json", self._document, access.caller),
            route("/metrics", self._metrics, access.operator),
            route("/v1/runs", self._runs, access.caller),
        ]
        health = [route("/livez", self._alive, access.anyone)]
        health += [route(path, self._health, access.anyone) for path in ("/readyz", "/health")]
        return [*asked, *openai.routes(access), *told, *health]

    async def _alive(self, request: Request, key: Key | None) -> Response:
        return JSONResponse({"status": "ok"})

    async def _health(self, request: Request, key: Key | None) -> Response:
        runs = {name: "ok" if place.ready else "starting" for name, place in self.pool.places.items()}
        told = {} if self.access.keys else {"runs": runs}  # whoever asks without a token learns no names
        if self.ready():
            return JSONResponse({"status": "ok", **told})
        return JSONResponse({"status": "draining" if self.guard.draining else "starting", **told}, 503, {"Retry-After": "1"})

    @staticmethod
    def _page(path: Path) -> Handler:
        async def page(request: Request, key: Key | None) -> Response:
            return FileResponse(path)

        return page

    async def _document(self, request: Request, key: Key | None) -> Response:
        return JSONResponse(schema.document({name: self.pool.places[name].facts for name in self.access.known(key)}))

    async def _metrics(self, request: Request, key: Key | None) -> Response:
        places = self.pool.places
        gauges = {"ready": {name: float(place.ready) for name, place in places.items()}}
        gauges["waiting"] = {name: float(sum(one.load for one in place.replicas)) for name, place in places.items()}
        return PlainTextResponse(self.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def _runs(self, request: Request, key: Key | None) -> Response:
        """What each run reads and does."""
        told = {name: self.pool.places[name].facts for name in self.access.known(key)}
        found = [{"run": name, "task": facts.get("task"), "columns": facts.get("columns", {})} for name, facts in told.items()]
        return JSONResponse({"runs": found})

    async def _only(self, request: Request, key: Key | None) -> Response:
        names = self.access.known(key)
        if not names:
            raise Refused(403, tr("This token is for none of the runs that are served here."), code="model_not_allowed")
        if len(names) > 1:
            known = ", ".join(names)
            raise Refused(404, tr("Several runs are served: POST /v1/predict/RUN, with one of {known}.", known=known), param="run")
        return await self._rows(request, self.access.place(request, names[0], key))

    async def _named(self, request: Request, key: Key | None) -> Response:
        return await self._rows(request, self.access.place(request, request.path_params["run"], key))

    async def _rows(self, request: Request, place: Place) -> Response:
        """Answer the rows of a JSON body, or the files and fields of an upload."""
        place.least_busy()
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == UPLOAD:
            parts, body = await parts_of(request)
            if not parts:
                raise Refused(422, tr("An upload must have files or fields; received none."))
            head: dict[str, Any] = {"verb": "predict", "parts": parts}
        else:
            head, body = {"verb": "predict"}, await body_of(request, LARGEST_ROWS)
        _, answers = await self.access.ask(request, place, head, body)
        return Response(answers, media_type=JSON)
