"""What is in a source, for the page: the audit, what of it a click can do, and a few rows with their pictures and players."""

import re
import threading
from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from duomo import listing, pipeline, plan
from duomo.core.config import build
from duomo.core.errors import DuomoError
from duomo.core.kinds.image import upright
from duomo.core.messages import flagged, tr
from duomo.core.recipe import Recipe
from duomo.core.reporter import Silent
from duomo.core.table import KINDS, MEDIA, Table, evenly
from duomo.data.formats.text_encoding import OTHERS
from duomo.evaluate.worst_errors import ALL_SOUNDS, DRAWN, cell, marks_of, strip, thumbnail

ASK_FAULTS = (DuomoError, ValueError)

ROWS, EXHIBITS, COLUMNS = 8, 24, 200
FLAG = re.compile(r"--(kind|ignore|group|time|target|task|split|join) ")
"""Flags that a sentence may name and a click can set."""
USELESS = ("all_missing", "constant")
"""Findings whose remedy is to leave the column out."""
_one_at_a_time = threading.Lock()


def look(source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The audit of `pipeline.inspect`, `rows` (cells as `worst_errors.cell` gives them), what the reader noticed, the kinds there are."""
    heard = Silent()
    with _one_at_a_time:
        table = plan.read(source, build(Recipe, settings).data, heard)
        found = pipeline.inspect(table, settings)
    columns, tasks = found["columns"], listing.listing("tasks")
    names = {column["name"]: column["kind"] for column in columns}
    for finding in found["findings"]:
        finding["acts"] = acts(finding["remedy"], names, tasks)
        if finding["code"] in USELESS:
            finding["acts"] = [{"setting": "ignore", "value": finding["columns"][0], "more": "", "now": ""}]
    proposal = found["proposal"]
    return found | {
        "proposal_acts": acts(" ".join([*proposal.get("notes", ()), proposal.get("problem", "")]), names, tasks),
        "encodings": ["utf-8", "gb18030", *OTHERS] if any("--encoding" in sentence for sentence in heard.said) else [],
        "columns": columns[:COLUMNS],
        "more_columns": max(0, len(columns) - COLUMNS),
        "noticed": [{"sentence": one, "acts": acts(one, names, tasks) + _other_part(one, source)} for one in heard.said],
        "rows_shown": _rows(table),
        "kinds": list(KINDS),
        "kind_names": {kind: tr(kind) for kind in KINDS},
        "tasks": tasks,
    }


def acts(sentence: str, columns: Mapping[str, str], tasks: Iterable[str]) -> list[dict[str, str]]:
    """What the flags in a sentence stand for, as settings of the data: the page has no command line to put them on.
    `columns`: name -> kind."""
    found = []
    for flag in FLAG.finditer(sentence):
        name, rest = flag[1], sentence[flag.end() :]
        value, rest = _first(rest, {"task": tasks, "split": ("random",)}.get(name, columns))
        pair = name in ("kind", "join")
        more = _first(rest[1:], KINDS if name == "kind" else columns)[0] if pair else ""
        if value and bool(more) == pair:
            found.append({"setting": name, "value": value, "more": more, "now": columns.get(value, "")})
    return found


def _other_part(sentence: str, source: str) -> list[dict[str, str]]:
    """Another sheet of the book, where the sentence names one."""
    found = re.search(rf"{re.escape(PurePath(source).name)}::(.+)[.。]$", sentence)
    return [{"setting": "part", "value": found[1], "more": "", "now": ""}] if found else []


def _first(text: str, names: Iterable[str]) -> tuple[str, str]:
    """The longest of the names that the text begins with, and what follows it."""
    name = max((name for name in names if name and text.startswith(flagged(name))), key=len, default="")
    return name, text[len(flagged(name)) :]


def drawn(base64: str, kind: str) -> dict[str, Any]:
    """A picture or film as a small picture that every browser shows: {"source", "width", "height"}; no source where it cannot be read."""
    try:
        body = b64decode(base64, validate=True)
        wide, high = upright(body) if kind == "image" else (0, 0)
        return {"source": thumbnail(body, side=DRAWN) if kind == "image" else strip(body, None), "width": wide, "height": high}
    except ASK_FAULTS:
        return {"source": "", "width": 0, "height": 0}


def _rows(table: Table) -> list[list[dict[str, Any]]]:
    """A few rows from all over the table."""
    count = EXHIBITS if table.of_kind(*MEDIA) else ROWS
    rows = evenly(len(table), count)
    some, room = table.take(rows), [ALL_SOUNDS]
    marks, names = [marks_of(some, place, table.of_kind("boxes"), {}) for place in range(len(rows))], some.names[:COLUMNS]
    return [[cell(some, name, place, room, marks[place]) for name in names] for place in range(len(rows))]
