"""Runs as a service: JSON rows or files in, answers out; OpenAI's routes for runs that write, hear or embed; a page to try them.

GET  /  /docs  /openapi.json     the page, and how to call it      GET  /livez /readyz /health   open to all
GET  /v1/runs                    what each run reads               GET  /metrics                 for Prometheus
POST /v1/predict/{run}           rows or files -> answers          POST /v1/predict              where one run is served
OpenAI's routes: openai.py
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse

from duomo.core.messages import tr
from duomo.serve import openai, schema
from duomo.serve.doors import JSON, UPLOAD, Doors, Refused, body_of, failures, parts_of
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
        self.doors = Doors(pool, keys or Keys([]), self.metrics)
        self.app = FastAPI(title="duomo", docs_url=None, redoc_url=None, openapi_url=None, lifespan=self._lifespan)
        failures(self.app)
        for router in (self._open(), self._pages(), self._predicting(), openai.routes(self.doors)):
            self.app.include_router(router)
        self.guard = Guard(self.app, hosts, self.metrics, quiet)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.guard(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        await self.pool.start()
        yield
        await self.pool.stop()

    def ready(self) -> bool:
        return self.pool.ready and not self.guard.draining

    def _open(self) -> APIRouter:
        router = APIRouter()

        @router.get("/livez")
        async def livez() -> Response:
            return JSONResponse({"status": "ok"})

        @router.get("/readyz")
        async def readyz() -> Response:
            return self._health()

        @router.get("/health")
        async def health() -> Response:
            return self._health()

        return router

    def _health(self) -> Response:
        runs = {name: "ok" if place.ready else "starting" for name, place in self.pool.places.items()}
        if self.ready():
            return JSONResponse({"status": "ok", "runs": runs})
        return JSONResponse({"status": "draining" if self.guard.draining else "starting", "runs": runs}, 503, {"Retry-After": "1"})

    def _pages(self) -> APIRouter:
        router = APIRouter(dependencies=[Depends(self.doors.caller)])
        for route, name in FILES.items():

            def page(path: Path = PAGE / name) -> FileResponse:
                return FileResponse(path)

            router.add_api_route(route, page, include_in_schema=False)

        @router.get("/openapi.json")
        async def document() -> Response:
            return JSONResponse(schema.document({name: place.facts for name, place in self.pool.places.items()}))

        @router.get("/metrics")
        async def metrics() -> Response:
            places = self.pool.places
            gauges = {"ready": {name: float(place.ready) for name, place in places.items()}}
            gauges["waiting"] = {name: float(sum(one.load for one in place.replicas)) for name, place in places.items()}
            return PlainTextResponse(self.metrics.text(gauges), media_type="text/plain; version=0.0.4")

        @router.get("/v1/runs")
        async def runs(key: Annotated[Key | None, Depends(self.doors.caller)]) -> Response:
            """What each run reads and does."""
            found = [{"run": name, "task": place.facts.get("task"), "columns": place.facts.get("columns", {})}
                     for name, place in self.pool.places.items() if not key or not key.runs or name in key.runs]  # fmt: skip
            return JSONResponse({"runs": found})

        return router

    def _predicting(self) -> APIRouter:
        router = APIRouter()
        Asking = Annotated[Key | None, Depends(self.doors.asking)]

        @router.post("/v1/predict")
        async def only(request: Request, key: Asking) -> Response:
            names = list(self.pool.places)
            if len(names) > 1:
                known = ", ".join(names)
                raise Refused(404, tr("Several runs are served: POST /v1/predict/RUN, with one of {known}.", known=known), param="run")
            return await self._rows(request, self.doors.place(request, names[0], key))

        @router.post("/v1/predict/{run}")
        async def predict(request: Request, run: str, key: Asking) -> Response:
            return await self._rows(request, self.doors.place(request, run, key))

        return router

    async def _rows(self, request: Request, place: Place) -> Response:
        """Answer the rows of a JSON body, or the files and fields of an upload."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == UPLOAD:
            parts, body = await parts_of(request)
            if not parts:
                raise Refused(422, tr("An upload must have files or fields; received none."))
            head: dict[str, Any] = {"verb": "predict", "parts": parts}
        else:
            head, body = {"verb": "predict"}, await body_of(request, LARGEST_ROWS)
        _, answers = await self.doors.ask(place, head, body)
        return Response(answers, media_type=JSON)
