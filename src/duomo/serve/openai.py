"""OpenAI's routes, in the form that its clients know: models, chat and text completions, embeddings, transcriptions.

What a field may hold stands in openai_fields.py. The names of runs are the names of models.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.serve import openai_fields, tools
from duomo.serve.access import JSON, UPLOAD, Access, Refused, body_of, parts_of, unless_gone
from duomo.serve.errors import error_body
from duomo.serve.frames import Frame
from duomo.serve.json_body import read_json
from duomo.serve.keys import Key
from duomo.serve.limits import LARGEST_ASKED, LARGEST_SCHEMA, LARGEST_SOUND, LONGEST_STOP, MOST_INPUTS, MOST_PROMPTS, MOST_STOPS
from duomo.serve.openai_fields import Unfit
from duomo.serve.pool import Busy, Lost, Place

TOLD_ELSEWHERE = (Busy, Lost, Refused, ClientDisconnect)
VERBS = {"chat": "/v1/chat/completions", "complete": "/v1/completions", "embed": "/v1/embeddings", "hear": "/v1/audio/transcriptions"}


def routes(access: Access) -> list[Route]:
    def card(name: str) -> dict[str, object]:
        place = access.pool.places[name]
        return {"id": name, "object": "model", "created": place.born, "owned_by": "duomo", "task": place.facts.get("task")}

    async def models(request: Request, key: Key | None) -> Response:
        found = [card(name) for name in access.known(key)]
        return JSONResponse({"object": "list", "data": found})

    async def model(request: Request, key: Key | None) -> Response:
        return JSONResponse(card(access.place(request, request.path_params["run"], key).name))

    async def chat(request: Request, key: Key | None) -> Response:
        return await _written(access, request, key, "chat")

    async def complete(request: Request, key: Key | None) -> Response:
        return await _written(access, request, key, "complete")

    async def embed(request: Request, key: Key | None) -> Response:
        place, fields = await _asked(access, request, key, "embed")
        inputs = _fitting(openai_fields.prompts, "input", fields.pop("input"), MOST_INPUTS)
        kind = "rows" if isinstance(inputs[0], str) else "tokens"
        try:
            _, body = await access.ask(request, place, {"verb": "embed", "asked": fields}, json.dumps({kind: inputs}).encode())
        except Refused as error:
            raise Refused(422, error.message, param="input") if error.status == 422 else error from None
        return Response(body, media_type=JSON)

    async def hear(request: Request, key: Key | None) -> Response:
        return await _heard(access, request, key)

    async def speak(request: Request, key: Key | None) -> Response:
        raise Refused(404, tr("No run that speaks is served."), param="model", code="model_not_found")

    asking = {"chat": chat, "complete": complete, "embed": embed, "hear": hear}
    return [
        *(access.route(VERBS[verb], answer, access.asking, method="POST") for verb, answer in asking.items()),
        access.route("/v1/audio/speech", speak, access.asking, method="POST"),
        access.route("/v1/models", models, access.caller),
        access.route("/v1/models/{run}", model, access.caller),
    ]


def _fitting(check: Any, *values: Any) -> Any:
    """What a check of openai_fields.py gives; 400 in OpenAI's form where it raises."""
    try:
        return check(*values)
    except Unfit as error:
        raise Refused(400, error.message, param=error.param) from None


def _able(access: Access, request: Request, name: str, key: Key | None, verb: str) -> Place:
    """The run, if it can do this."""
    place = access.place(request, name, key)
    if place.facts and verb not in place.facts.get("verbs", ()):
        able = ", ".join(VERBS[one] for one in place.facts.get("verbs", ()) if one in VERBS) or f"/v1/predict/{name}"
        sentence = tr("The run {name!r} cannot be asked here; it answers at {routes}.", name=name, routes=able)
        raise Refused(404, sentence, param="model", code="model_not_found")
    return place


def _room(access: Access, verb: str) -> None:
    """Busy or Lost before a body is read, where no run that can do this has room for one more."""
    able = [place for place in access.pool.places.values() if verb in place.facts.get("verbs", ())]
    for place in able[:-1]:
        with suppress(Busy, Lost):
            place.least_busy()
            return
    if able:
        able[-1].least_busy()


async def _asked(access: Access, request: Request, key: Key | None, verb: str) -> tuple[Place, dict[str, Any]]:
    """The run and the checked fields of a JSON request."""
    _room(access, verb)
    body = await body_of(request, LARGEST_ASKED)
    try:
        value = read_json(body)
    except DataError as error:
        raise Refused(400, str(error)) from None
    fields: dict[str, Any] = _fitting(openai_fields.checked, value, openai_fields.ROUTES[VERBS[verb]][3])
    if b"\\u" in body:
        _fitting(_whole, fields)
    return _able(access, request, fields["model"], key, verb), fields


def _whole(fields: Mapping[str, Any]) -> None:
    """Half of a surrogate pair, which JSON can write, is no character."""
    for name, value in fields.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            sentence = tr("The field {name!r} takes whole characters; received half of a surrogate pair.", name=name)
            raise openai_fields.Unfit(name, sentence) from None


async def _written(access: Access, request: Request, key: Key | None, verb: str) -> Response:
    """A text, whole or as it is written."""
    place, fields = await _asked(access, request, key, verb)
    if verb == "chat":
        fields["messages"] = [_fitting(_message, number, one) for number, one in enumerate(fields["messages"])]
        fields |= _fitting(tools.checked, fields.pop("tools"), fields.pop("tool_choice"))
    else:
        fields["prompt"] = _fitting(openai_fields.prompts, "prompt", fields["prompt"], MOST_PROMPTS)
    if fields["stop"]:
        fields["stop"] = [one for one in _fitting(openai_fields.texts, "stop", fields["stop"], MOST_STOPS, LONGEST_STOP) if one]
    fields["schema"] = _fitting(_schema, fields.pop("response_format"))
    fields["biases"] = _fitting(_biases, fields.pop("logit_bias") or {})
    frames = place.ask({"verb": verb, "asked": fields})
    try:
        first = await unless_gone(request, anext(frames))
        access.check(first)
    except TOLD_ELSEWHERE:
        await frames.aclose()
        raise
    if fields["stream"]:
        return StreamingResponse(
            _events(access, place, first, frames), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
    await frames.aclose()
    _count(access, place, first)
    return Response(first[1], media_type=JSON)


async def _events(access: Access, place: Place, first: Frame, frames: AsyncGenerator[Frame]) -> AsyncIterator[bytes]:
    """The stream's pieces. One that breaks off says so as an event: its status has been sent long ago."""
    async with aclosing(frames):
        try:
            yield first[1]
            async for found in frames:
                _count(access, place, found)
                yield found[1]
        except Lost:
            message = tr("The model does not answer at present. Try again in a few seconds.")
            yield b"data: " + json.dumps(error_body(503, message, "stream"), ensure_ascii=False).encode() + b"\n\n"


def _count(access: Access, place: Place, found: Frame) -> None:
    for kind in ("read", "written"):
        if kind in found[0]:
            access.metrics.add("tokens_total", found[0][kind], run=place.name, kind=kind)


def _message(number: int, message: Any) -> dict[str, Any]:
    """Role and content, and the calls of tools; content may be a list of text parts."""
    place = f"messages.{number}"
    role = message.get("role") if isinstance(message, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if role not in openai_fields.ROLES:
        raise openai_fields.Unfit(f"{place}.role", tr("A message needs a role, one of {known}.", known=", ".join(openai_fields.ROLES)))
    if isinstance(content, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content):
            raise openai_fields.Unfit(f"{place}.content", tr("The content of a message is a text, or parts of type text."))
        content = "".join(part["text"] for part in content)
    calls = tools.turn(place, message) if role == "assistant" else []
    content = "" if content is None and calls else content
    if not isinstance(content, str):
        raise openai_fields.Unfit(f"{place}.content", tr("The content of a message is a text, or parts of type text."))
    answered = {"tool_call_id": str(message["tool_call_id"])[:256]} if role == "tool" and "tool_call_id" in message else {}
    return {"role": "system" if role == "developer" else role, "content": content, **({"tool_calls": calls} if calls else {}), **answered}


def _biases(given: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Tokens and what is added to their logits."""
    for token, bias in given.items():
        fits = isinstance(bias, (int, float)) and not isinstance(bias, bool) and -100 <= bias <= 100
        if not fits or not token.isdecimal() or len(token) > 9:
            sentence = tr("The field {name!r} takes numbers of tokens, each with a bias from -100 to 100; received {value!r}.",
                          name="logit_bias", value=f"{token[:20]}: {str(bias)[:20]}")  # fmt: skip
            raise openai_fields.Unfit("logit_bias", sentence)
    return [(int(token), float(bias)) for token, bias in given.items()]


def _schema(given: Any) -> str:
    """The JSON schema that an answer must follow; empty: any text."""
    kind = (given or {"type": "text"}).get("type")
    if kind == "text":
        return ""
    if kind == "json_object":
        return '{"type": "object"}'
    wanted = given.get("json_schema")
    schema = wanted.get("schema") if kind == "json_schema" and isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise openai_fields.Unfit("response_format", tr("The response format is text, json_object, or json_schema with a schema."))
    text = json.dumps(schema)
    if len(text) > LARGEST_SCHEMA:
        raise openai_fields.Unfit("response_format", tr("A schema may have at most {most:,} characters.", most=LARGEST_SCHEMA))
    return text


async def _heard(access: Access, request: Request, key: Key | None) -> Response:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != UPLOAD:
        raise Refused(415, tr("This route takes an upload (multipart/form-data) with the fields file and model."))
    _room(access, "hear")
    parts, body = await parts_of(request)
    fields: dict[str, Any] = {}
    start, sound = 0, b""
    for name, is_file, size in parts:
        content = body[start : start + size]
        start += size
        if is_file and name == "file":
            sound, fields["file"] = content, "file"
        else:
            text, several = content.decode("utf-8", "replace"), name.removesuffix("[]")
            fields[several] = f"{fields[several]},{text}" if name.endswith("[]") and several in fields else text
    if len(sound) > LARGEST_SOUND:
        raise Refused(413, tr("A sound may have at most {most:,} bytes; received {size:,}.", most=LARGEST_SOUND, size=len(sound)))
    fields = _fitting(openai_fields.checked, fields, openai_fields.HEAR)
    place = _able(access, request, fields["model"], key, "hear")
    try:
        _, answer = await access.ask(request, place, {"verb": "hear", "parts": [("files", True, len(sound))], "asked": fields}, sound)
    except Refused as error:
        raise Refused(422, error.message, param="file") if error.status == 422 else error from None
    if fields["response_format"] not in ("json", "verbose_json"):
        return PlainTextResponse(json.loads(answer)["text"] + "\n")
    return Response(answer, media_type=JSON)
