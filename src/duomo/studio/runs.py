"""The runs of a folder, for the page: what each is, its curves, its scorecard as JSON, its product as an archive."""

import json
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from duomo.core.errors import RunError
from duomo.core.files import JSON_FAULTS, sign_of
from duomo.core.messages import tr
from duomo.core.run import PRODUCT
from duomo.evaluate.report import html
from duomo.evaluate.scorecard import told
from duomo.evaluate.slices import label, noted
from duomo.studio.jobs import Jobs
from duomo.studio.place import Place, shows

READ_FAULTS = (OSError, *JSON_FAULTS, LookupError, TypeError, AttributeError)
EXPORTED = (*PRODUCT, "manifest.json", "log.jsonl", "timing.jsonl")
LONGEST_CURVE = 4_000_000
"""Bytes of a log that one answer carries."""


def listed(place: Place, jobs: Jobs) -> list[dict[str, Any]]:
    """Every run, the newest first: name, state, task, source, when, metric with its figure and interval."""
    folders = {path.name for path in place.runs.iterdir() if path.is_dir() and not path.name.startswith(".") and shows(path.name)}
    found = [_line(place.runs / name, name, jobs) for name in folders | set(jobs.names())]
    return sorted(found, key=lambda run: -run["at"])


def _line(path: Path, name: str, jobs: Jobs) -> dict[str, Any]:
    state, job = jobs.state(name), jobs.job(name)
    at = path.joinpath("run.json").stat().st_mtime if (path / "run.json").exists() else float(job.get("at", 0.0))
    said = _said(path, *(sign_of(path / one) for one in ("run.json", "recipe.toml", "scorecard.json")))
    words = job.get("words") or [""]
    source = str(words[1]) if words[0] == "train" else said["source"]
    found = {"name": name, "state": state, "at": at, "task": said["task"], "source": source, "begun": path.is_dir()}
    if state == "failed":
        found["problem"] = jobs.told(name)["problem"] or tr("It ended before it had begun to train.")
    elif state == "paused" and (lapse := jobs.lapse(name)):
        found["problem"] = lapse
    return found | (said["judged"] if state == "finished" else {})


@lru_cache(maxsize=4096)
def _said(path: Path, *signs: Any) -> dict[str, Any]:
    """What the files of a run say of task, source and figures, empty where they do not; read anew when their `signs` change."""
    found: dict[str, Any] = {"task": "", "source": "", "judged": {}}
    with suppress(*READ_FAULTS):
        found["task"] = json.loads((path / "run.json").read_text(encoding="utf-8"))["task"]
    with suppress(*READ_FAULTS):
        source = str(tomllib.loads((path / "recipe.toml").read_text(encoding="utf-8"))["data"]["source"])
        found["source"] = source.removeprefix(f"{path.parents[1]}/")
    with suppress(*READ_FAULTS):
        found["judged"] = _judged(json.loads((path / "scorecard.json").read_text(encoding="utf-8")))
    return found


def _judged(card: Mapping[str, Any]) -> dict[str, Any]:
    metric, facts = card["metric"]["name"], card["facts"]
    return {
        "metric": metric,
        "higher_is_better": card["metric"]["higher_is_better"],
        "figure": card["results"][0]["metrics"][metric],
        "outcome": card["verdict"]["outcome"],
        "model": f"{facts.get('model', '')} {facts.get('size', '')}".strip(),
        "digest": card["test"]["digest"],
        "seconds": facts["seconds"]["everything"],
    }


def curves(path: Path, offset: int) -> dict[str, Any]:
    """Lines of log.jsonl from a byte on, and where to ask next; `anew` where the log has been cut (a resume)."""
    log = path / "log.jsonl"
    size = log.stat().st_size if log.is_file() else 0
    anew = offset > size
    if not size:
        return {"lines": [], "offset": 0, "anew": anew}
    with log.open("rb") as file:
        file.seek(0 if anew else offset)
        data = file.read(LONGEST_CURVE)
    whole = data[: data.rfind(b"\n") + 1]
    lines = []
    for line in whole.splitlines():
        with suppress(*JSON_FAULTS):  # one that a full disk or a careless hand has spoiled
            lines.append(json.loads(line))
    return {"lines": lines, "offset": (0 if anew else offset) + len(whole), "anew": anew}


def card(path: Path) -> Any:
    """The scorecard's JSON values, each slice with its `label` in words."""
    try:
        found = json.loads((path / "scorecard.json").read_text(encoding="utf-8"))
        for item in found["slices"].get("worst", []):
            item["label"] = label(item)
        if found["slices"].get("worst"):
            found["slices"]["note"] = noted(found["slices"])
        return told(found)
    except READ_FAULTS:
        raise RunError("The run {name!r} has no scorecard yet: it is written when training has finished.", name=path.name) from None


def page(path: Path) -> str:
    """The scorecard's page: as the run holds it, or drawn anew where its reader speaks another language than who trained."""
    text = (path / "scorecard.html").read_text(encoding="utf-8", errors="replace")
    if f'<html lang="{html.lang()}"' not in text[:200]:
        with suppress(*READ_FAULTS, TemplateError):
            return html.render(json.loads((path / "scorecard.json").read_text(encoding="utf-8")))
    return text


def export(path: Path) -> Path:
    """A zip of the run's product in a temporary file; whoever asked removes it."""
    if not (path / "manifest.json").is_file():
        raise RunError("A run can be used once its training has finished; {path} is unfinished. Continue it with `duomo resume {path}`.",
                       path=f"runs/{path.name}")  # fmt: skip
    with (
        tempfile.NamedTemporaryFile(prefix="duomo-export-", suffix=".zip", delete=False) as sink,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name in EXPORTED:
            if (path / name).is_file():
                archive.write(path / name, f"{path.name}/{name}")
    return Path(sink.name)
