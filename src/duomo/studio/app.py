"""The studio: one local page for the whole journey, and the few calls that it makes.

GET  /                  the page; its modules under page/, the renderers of the tasks under tasks/
GET  api/start          samples, tasks, what is served        GET    api/files            what lies in a folder
PUT  api/upload/{id}    a file of what was dropped            POST   api/upload/{id}      it is whole
POST api/sample         write a sample                        POST   api/look             the audit and some rows
GET  api/form           the recipe, models to begin from      POST   api/{command,train}  what the form stands for; queue a run
GET  api/runs           every run with its state              GET    api/runs/{name}      what it said, its curves from an offset on
POST api/runs/{name}/{pause,resume,stop,rename,serve,unserve,predict}   DELETE api/runs/{name}   POST api/undo
GET  api/runs/{name}/{card,try,export,scorecard.html}                   POST   api/{compare,thumbnail}
"""

import asyncio
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

import duomo.tasks
from duomo import pipeline, samples
from duomo.core import find
from duomo.core.errors import ConfigError, DuomoError
from duomo.core.messages import chinese, tr
from duomo.core.run import run_name
from duomo.serve.access import HUNG_UP
from duomo.studio import form, look, runs
from duomo.studio.guard import refused
from duomo.studio.jobs import Jobs
from duomo.studio.place import Place, free_name, is_weights, plain_name
from duomo.studio.served import Served
from duomo.studio.trying import Trying

PAGE = Path(__file__).with_name("page")
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
LONGEST_NAME = 240
CARD_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
Given = Annotated[dict[str, Any], Body()]


class Studio:
    """Everything that the calls share."""

    def __init__(self, root: Path):
        self.place = Place(root)
        self.jobs, self.served, self.trying = Jobs(self.place), Served(self.place), Trying()

    def close(self) -> None:
        self.jobs.close()
        self.served.close()

    def idle(self, name: str) -> None:
        """ConfigError while the run trains or is served: its folder must stay where it is."""
        if self.jobs.state(name) in ("running", "queued") or self.served.at_work(name):
            raise ConfigError("The run {name!r} is at work. Stop it first.", name=name)


def shown(words: Iterable[str]) -> str:
    """What a person would type."""
    return shlex.join(["duomo", *words])


def create(studio: Studio) -> FastAPI:
    """The application, without its guard."""
    app = FastAPI(title="duomo studio", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(studio.place.prepare)])
    _failures(app)
    _pages(app)
    _data(app, studio)
    _training(app, studio)
    _stopping(app, studio)
    _results(app, studio)
    _shelf(app, studio)
    return app


def _pages(app: FastAPI) -> None:
    files = {f"/page/{path.name}": path for path in PAGE.iterdir() if path.suffix in TYPES}
    files |= {f"/tasks/{path.parent.name}.js": path for root in duomo.tasks.__path__ for path in Path(root).glob("*/page.js")}
    files["/"] = PAGE / "index.html"
    for route, path in files.items():

        def page(path: Path = path) -> FileResponse:
            return FileResponse(path, media_type=TYPES[path.suffix])

        app.add_api_route(route, page)


def _data(app: FastAPI, studio: Studio) -> None:
    place = studio.place

    @app.get("/api/words")
    def words() -> dict[str, str]:
        """Chinese of what runs hold in English: metrics, simple models, titles and notes of their pictures."""
        return {name: told for name, told in chinese().items() if "{" not in name and len(name) < LONGEST_NAME}

    @app.get("/api/start")
    def start() -> dict[str, Any]:
        found = [
            {"name": sample.name, "title": sample.heading(), "licence": sample.licence, "file": sample.file}
            for sample in samples.SAMPLES.values()
        ]
        pages = [name for name in find.task_names() if any((Path(root) / name / "page.js").is_file() for root in duomo.tasks.__path__)]
        return {"root": str(place.root), "samples": found, "tasks": find.task_names(), "pages": pages,
                "dropped": bool(place.listed("data")["entries"]), "served": studio.served.listed()}  # fmt: skip

    @app.get("/api/files")
    def files(path: str = "") -> dict[str, Any]:
        return place.listed(path)

    @app.put("/api/upload/{upload}")
    async def receive(upload: str, path: str, request: Request) -> dict[str, bool]:
        await place.receive(upload, path, request.stream())
        return {"received": True}

    @app.post("/api/upload/{upload}")
    def settle(upload: str) -> dict[str, Any]:
        path = place.settle(upload)
        return {"source": str(path.relative_to(place.root)), "weights": is_weights(path)}

    @app.post("/api/sample")
    def sample(given: Given) -> dict[str, Any]:
        path = samples.write(str(given.get("name", "")), place.data)
        words = ["sample", str(given["name"]), "--out=data"]
        return {"source": str(path.relative_to(place.root)), "command": shown(words)}

    @app.post("/api/look")
    def looked(given: Given) -> dict[str, Any]:
        source, settings = str(given.get("source", "")), given.get("settings") or {}
        place.source(source)
        words = ["inspect", source, *form.command("", "", settings)[3:]]
        part = f"::{source.split('::', 1)[1]}" if "::" in source else ""
        return look.look(f"{place.source(source)}{part}", settings) | {"source": source, "command": shown(words)}


def _training(app: FastAPI, studio: Studio) -> None:
    place, jobs = studio.place, studio.jobs

    @app.get("/api/form")
    def fields(task: str = "") -> dict[str, Any]:
        runs_ready = [run["name"] for run in runs.listed(place, jobs) if run["state"] == "finished"]
        return {"sections": form.sections(task), "starts": [f"runs/{name}" for name in runs_ready] + place.weights()}

    @app.post("/api/command")
    def command(given: Given) -> dict[str, str]:
        source = str(given.get("source", ""))
        place.source(source)
        wanted = str(given.get("name") or run_name(source)).strip()
        name = free_name(place.runs, plain_name(wanted), jobs.names()).name
        return {"command": shown(form.command(source, f"runs/{name}", given.get("settings") or {}))}

    @app.post("/api/train")
    def train(given: Given) -> dict[str, Any]:
        source, settings = str(given.get("source", "")), given.get("settings") or {}
        place.source(source)
        wanted = plain_name(str(given.get("name") or run_name(source)).strip())
        with jobs.naming():
            path = free_name(place.runs, wanted, jobs.names())
            words = form.command(source, f"runs/{path.name}", settings)
            jobs.queue(path.name, words)
        return {"name": path.name, "command": shown(words)}

    @app.get("/api/runs/{name}")
    def progress(name: str, offset: int = 0) -> dict[str, Any]:
        path = place.runs / plain_name(name)
        job = jobs.job(name)
        if not job and not path.is_dir():
            place.run(name)
        state, told = jobs.state(name), jobs.told(name)
        told["problem"] = jobs.lapse(name) if state == "paused" else told["problem"]
        return {
            "name": name, "state": state, **told, **runs.curves(path, offset), "begun": path.is_dir(),
            "command": shown(job["words"]) if job else "", "waits_for": jobs.ahead(name),
        }  # fmt: skip


def _stopping(app: FastAPI, studio: Studio) -> None:
    place, jobs = studio.place, studio.jobs

    @app.post("/api/runs/{name}/pause")
    def pause(name: str) -> dict[str, Any]:
        jobs.pause(name)
        return {"command": tr("Ctrl-C in the terminal where it trains")}

    @app.post("/api/runs/{name}/resume")
    def resume(name: str) -> dict[str, Any]:
        job, begun = jobs.job(name), (place.runs / plain_name(name)).is_dir()
        words = job["words"] if job and not begun else ["resume", f"runs/{place.run(name).name}"]  # where nothing is saved yet: anew
        if jobs.state(name) in ("running", "queued", "finished"):
            raise ConfigError("The run {name!r} is not paused.", name=name)
        jobs.queue(name, words)
        return {"command": shown(words)}

    @app.post("/api/runs/{name}/stop")
    async def stop(name: str) -> dict[str, Any]:
        """End it, and put what there is of it into the trash."""
        await asyncio.to_thread(jobs.stop, name)
        kept = place.discard(name) if (place.runs / plain_name(name)).is_dir() else ""
        jobs.forget(name, kept)
        return {"kept": kept, "command": tr("Ctrl-C in the terminal where it trains")}


def _results(app: FastAPI, studio: Studio) -> None:
    place = studio.place

    @app.get("/api/runs/{name}/card")
    def card(name: str) -> Any:
        return runs.card(place.run(name)) | {"name": name, "command": shown(["show", f"runs/{name}"])}

    @app.get("/api/runs/{name}/scorecard.html")
    def page(name: str) -> Response:
        path = place.run(name) / "scorecard.html"
        if not path.is_file():
            raise HTTPException(404, tr("This run has no scorecard yet."))
        return HTMLResponse(runs.page(path.parent), headers={"content-security-policy": CARD_POLICY})

    @app.post("/api/compare")
    def compare(given: Given) -> Any:
        a, b = place.run(str(given.get("a", ""))), place.run(str(given.get("b", "")))
        found = pipeline.compare(a, b)
        return found | {"command": shown(["compare", f"runs/{a.name}", f"runs/{b.name}"])}

    @app.post("/api/thumbnail")
    def thumbnail(given: Given) -> dict[str, Any]:
        return look.drawn(str(given.get("base64", "")), str(given.get("kind", "")))

    @app.get("/api/runs/{name}/try")
    def described(name: str) -> dict[str, Any]:
        return studio.trying.described(place.run(name))

    @app.post("/api/runs/{name}/predict")
    def predict(name: str, given: Given) -> dict[str, Any]:
        return studio.trying.answer(place.run(name), given.get("row") or {})


def _shelf(app: FastAPI, studio: Studio) -> None:
    place, jobs = studio.place, studio.jobs

    @app.get("/api/runs")
    def listed() -> dict[str, Any]:
        return {"runs": runs.listed(place, jobs), "served": studio.served.listed()}

    @app.post("/api/runs/{name}/rename")
    def rename(name: str, given: Given) -> dict[str, Any]:
        studio.idle(name)
        with jobs.naming():
            new = place.rename(name, str(given.get("name", "")), jobs.names()).name
            jobs.moved(name, new)
        return {"name": new, "command": shlex.join(["mv", f"runs/{name}", f"runs/{new}"])}

    @app.delete("/api/runs/{name}")
    def delete(name: str) -> dict[str, Any]:
        studio.idle(name)
        kept = place.discard(name) if (place.runs / plain_name(name)).is_dir() else ""
        jobs.forget(name, kept)
        return {"kept": kept, "command": shlex.join(["mv", f"runs/{name}", f".studio/trash/{kept}"]) if kept else ""}

    @app.post("/api/undo")
    def undo(given: Given) -> dict[str, Any]:
        kept = str(given.get("kept", ""))
        with jobs.naming():
            name = place.restore(kept, jobs.names()).name
            jobs.recall(kept, name)
        return {"name": name, "command": shlex.join(["mv", f".studio/trash/{kept}", f"runs/{name}"])}

    @app.get("/api/runs/{name}/export")
    def export(name: str) -> FileResponse:
        path = runs.export(place.run(name))
        return FileResponse(path, filename=f"{name}.zip", media_type="application/zip", background=BackgroundTask(path.unlink))

    @app.post("/api/runs/{name}/serve")
    def serve(name: str) -> dict[str, Any]:
        found = studio.served.serve(name)
        return found | {"command": shown(found["words"])}

    @app.post("/api/runs/{name}/unserve")
    def unserve(name: str) -> dict[str, Any]:
        studio.served.stop(name)
        return {"command": tr("Ctrl-C in the terminal where it serves")}


def _failures(app: FastAPI) -> None:
    """Every failure is a sentence."""

    @app.exception_handler(DuomoError)
    async def known(_: Request, error: DuomoError) -> JSONResponse:
        return refused(422, str(error), **{name: error.values[name] for name in ("encodings", "choices", "parts") if name in error.values})

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return refused(422, tr("The request is not understood at {place}: {reason}.", place=place[:80], reason=first["msg"]))

    @app.exception_handler(HTTPException)
    async def missing(_: Request, error: HTTPException) -> JSONResponse:
        return refused(error.status_code, str(error.detail))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=HUNG_UP)  # which nobody reads

    @app.exception_handler(OSError)
    async def disk(_: Request, error: OSError) -> JSONResponse:
        return refused(507, tr("A file could not be read or written: {reason}. Check rights and free space.", reason=error.strerror or "—"))
