"""The OpenAPI document: a route for each run, with the fields and types of its own columns. Written anew whenever it is asked for,
because a run may be reloaded with other columns.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from duomo.core.messages import tr
from duomo.serve import openai_fields
from duomo.serve.limits import LONGEST_TEXT, MOST_PARTS, MOST_ROWS
from duomo.serve.rows import FILES

Schema = dict[str, Any]
TEXT: Schema = {"type": ["string", "number", "boolean", "null", "array", "object"], "maxLength": LONGEST_TEXT}
"""A list or an object is read as the JSON that it is, as where files are read."""
MEDIA: Schema = {
    "type": ["object", "null"], "required": ["base64"], "additionalProperties": False,
    "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
}  # fmt: skip
SERIES: Schema = {
    "type": ["array", "string", "null"], "maxLength": LONGEST_TEXT,
    "items": {"anyOf": [{"type": ["number", "null"]}, {"type": "array", "minItems": 1, "items": {"type": ["number", "null"]}}]},
}  # fmt: skip
CELLS: dict[str, Schema] = {
    "number": {"type": ["number", "string", "boolean", "null"], "maxLength": LONGEST_TEXT}, "image": MEDIA, "audio": MEDIA, "video": MEDIA,
    "series": SERIES,
}  # fmt: skip
FAILURE: Schema = {
    "type": "object", "required": ["error"],
    "properties": {
        "error": {
            "type": "object", "required": ["id", "message", "type"],
            "properties": {"id": {"type": "string"}, "message": {"type": "string"}, "type": {"type": "string"},
                           "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}},
        }
    },
}  # fmt: skip
ANSWERS: Schema = {
    "type": "object", "required": ["answers"], "properties": {"answers": {"type": "array", "items": {"type": "object"}}},
}  # fmt: skip


def document(runs: Mapping[str, Mapping[str, Any]]) -> Schema:
    """The whole document for run name -> what its worker says of it."""
    paths: dict[str, Any] = {
        route: {"get": _operation(tr(summary), {"type": "object"})}
        for route, summary in {
            "/livez": "Whether the process is up.", "/readyz": "Whether every run can answer.", "/health": "The same.",
            "/v1/runs": "What each run reads and does.", "/v1/models": "The runs, as OpenAI's clients list them.",
        }.items()
    }  # fmt: skip
    predicting = {name: _predict(facts) for name, facts in runs.items() if facts}
    if len(predicting) == 1:
        paths["/v1/predict"] = {"post": next(iter(predicting.values()))}
    paths |= {f"/v1/predict/{quote(name, safe='')}": {"post": operation} for name, operation in predicting.items()}
    for route, (verb, summary, kind, body) in openai_fields.ROUTES.items():
        names = [name for name, facts in runs.items() if verb in facts.get("verbs", ())]
        if names:
            paths[route] = {"post": _operation(tr(summary), {"type": "object"}, {kind: openai_fields.schema(body, names)})}
    security = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": {"Failure": FAILURE}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "duomo", "version": "1"},
        "paths": paths,
        "components": security,
        "security": [{"token": []}],
    }


def _operation(summary: str, answer: Schema, bodies: Mapping[str, Schema] | None = None) -> Schema:
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    found: Schema = {
        "summary": summary,
        "responses": {
            "200": {"description": tr("The answer."), "content": {"application/json": {"schema": answer}}},
            "default": {"description": tr("One sentence, with an id."), "content": failure},
        },
    }
    if bodies:
        found["requestBody"] = {"required": True, "content": {kind: {"schema": body} for kind, body in bodies.items()}}
    return found


def _row(cells: Mapping[str, Schema], ignored: Iterable[str], free: Collection[str]) -> Schema:
    """An object of these fields, all there but for those of `free`; what training saw and did not learn from may be anything."""
    required = [name for name in cells if name not in free]
    return {"type": "object", "properties": {**cells, **{name: {} for name in ignored}}, "required": required,
            "additionalProperties": False}  # fmt: skip


def _unfolded(cells: Mapping[str, Schema], ignored: Iterable[str], free: Collection[str]) -> Schema:
    """The same row with an object for each name before a dot."""
    inside: dict[str, tuple[dict[str, Schema], list[str]]] = {}
    plain: dict[str, Schema] = {}
    for name in (*cells, *ignored):
        first, dot, rest = name.partition(".")
        if dot and name in cells:
            inside.setdefault(first, ({}, []))[0][rest] = cells[name]
        elif dot:
            inside.setdefault(first, ({}, []))[1].append(rest)
        elif name in cells:
            plain[name] = cells[name]
    below = {first: [name.partition(".")[2] for name in free if name.startswith(f"{first}.")] for first in inside}
    objects = {first: _unfolded(*parts, below[first]) for first, parts in inside.items()}
    return _row(plain | objects, [name for name in ignored if "." not in name], free)


def _predict(facts: Mapping[str, Any]) -> Schema:
    columns: Mapping[str, str] = facts["columns"]
    cells = {name: CELLS.get(kind, TEXT) for name, kind in columns.items()}
    told = cells, facts.get("ignored", ()), facts.get("free", ())
    forms = [_row(*told)]
    if any("." in name for name in columns):  # {"user": {"age": 3}} is user.age
        forms.append(_unfolded(*told))
    if len(columns) == 1 and set(columns.values()) <= {"text", "category"}:
        forms.append({"type": "string", "maxLength": LONGEST_TEXT})
    item: Schema = {"anyOf": forms} if len(forms) > 1 else forms[0]
    rows: Schema = {"type": "array", "minItems": 1, "maxItems": MOST_ROWS, "items": item}
    body: Schema = {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}
    binary: Schema = {"type": "string", "format": "binary"}
    if facts["media"] and len(columns) == 1:
        form: Schema = {FILES: {"type": "array", "minItems": 1, "maxItems": MOST_PARTS, "items": binary}}
    else:
        form = {name: binary if name in facts["media"] else {"type": "string"} for name in columns}
    upload: Schema = {"type": "object", "properties": form}
    return _operation(tr("Answer rows ({task}).", task=facts["task"]), ANSWERS, {"application/json": body, "multipart/form-data": upload})
