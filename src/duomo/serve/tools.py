"""Tools in a chat: what a request may say of them, what a template is given, and the calls in what a model wrote.

A model that was taught to call tools writes `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` (the form of Hermes and Qwen);
whether one was, its chat template tells by showing the tools.
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from duomo.core.files import JSON_FAULTS
from duomo.core.messages import nearest, tr
from duomo.serve.limits import LARGEST_TOOLS, MOST_TOOLS
from duomo.serve.openai_fields import Unfit

NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
OPEN, CLOSE = "<tool_call>", "</tool_call>"
DECODER = json.JSONDecoder()


# -- what a request says
def checked(tools: Any, choice: Any) -> dict[str, Any]:
    """{"tools": as a template takes them, none with the choice `none`; "call": JSON schema of the call that is demanded, or empty}.

    Unfit where they are not as they must be.
    """
    if tools is None:
        if choice not in (None, "none"):
            raise Unfit("tool_choice", tr("The field {name!r} needs tools to choose from; there are none.", name="tool_choice"))
        return {"tools": [], "call": ""}
    if len(tools) > MOST_TOOLS or len(json.dumps(tools)) > LARGEST_TOOLS:
        sentence = tr("At most {most} tools of {longest:,} characters together may be named.", most=MOST_TOOLS, longest=LARGEST_TOOLS)
        raise Unfit("tools", sentence)
    functions = {name: function for number, tool in enumerate(tools) for name, function in [_function(number, tool)]}
    wanted = _wanted(choice, functions)
    made = [{"type": "function", "function": function} for function in functions.values()] if choice != "none" else []
    return {"tools": made, "call": json.dumps(_schema(wanted)) if wanted else ""}


def _function(number: int, tool: Any) -> tuple[str, dict[str, Any]]:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    said = function.get("description") if isinstance(function, dict) else None
    takes = function.get("parameters") if isinstance(function, dict) else None
    plain = isinstance(said, str | None) and isinstance(takes, dict | None)
    if not isinstance(name, str) or not NAME.fullmatch(name) or not plain:
        sentence = tr("A tool is of type function, with a name of 1 to 64 letters, a description in words and parameters as a JSON schema.")
        raise Unfit(f"tools.{number}", sentence)
    return name, {"name": name, "description": said or "", "parameters": takes or {"type": "object", "properties": {}}}


def _wanted(choice: Any, functions: Mapping[str, Any]) -> list[Any]:
    """The functions of which one must be called."""
    if choice in (None, "auto", "none"):
        return []
    if choice == "required":
        return list(functions.values())
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or name not in functions:
        hint = nearest(str(name or "")[:80], functions)
        sentence = tr(
            "The field {name!r} is none, auto, required, or the function of one of the tools.{hint}", name="tool_choice", hint=hint
        )
        raise Unfit("tool_choice", sentence)
    return [functions[name]]


def _schema(functions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    one_of = [
        {"type": "object", "properties": {"name": {"const": function["name"]}, "arguments": function["parameters"]},
         "required": ["name", "arguments"], "additionalProperties": False}
        for function in functions
    ]  # fmt: skip
    return one_of[0] if len(one_of) == 1 else {"anyOf": one_of}


def turn(place: str, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of an assistant's message as a template takes them, their arguments as objects."""
    calls = message.get("tool_calls") or []
    made = []
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function") if isinstance(call, dict) else None
        name, told = (function.get("name"), function.get("arguments")) if isinstance(function, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(told, str):
            raise Unfit(f"{place}.tool_calls", tr("A call has an id and a function with its name and its arguments as a text of JSON."))
        try:
            arguments = json.loads(told or "{}")
        except JSON_FAULTS:
            arguments = told
        made.append({"id": str(call.get("id", "")), "type": "function", "function": {"name": name, "arguments": arguments}})
    return made


# -- what a model wrote
def found(text: str) -> tuple[str, list[dict[str, Any]]]:
    """What was said beside the calls, and the calls in OpenAI's form; all of it said, and no call, where one cannot be read."""
    said, *parts = text.split(OPEN)
    calls = []
    for part in parts:
        try:
            value, end = DECODER.raw_decode(part.lstrip())
        except JSON_FAULTS:
            return text, []
        made = _call(value)
        if made is None:
            return text, []
        calls.append(made)
        said += part.lstrip()[end:].strip().removeprefix(CLOSE)
    return (said.strip() if calls else said), calls


def demanded(text: str) -> list[dict[str, Any]]:
    """The call where nothing but one could be written; none where its text was cut off."""
    try:
        made = _call(json.loads(text))
    except JSON_FAULTS:
        return []
    return [made] if made else []


def _call(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    told = value.get("arguments", value.get("parameters", {}))
    arguments = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
    return {"id": "call_" + secrets.token_hex(12), "type": "function", "function": {"name": value["name"], "arguments": arguments}}


def plain(text: str) -> int:
    """How many letters of what was written so far can be shown: those before a call, or before what may be the beginning of one."""
    place = text.find(OPEN)
    if place >= 0:
        return place
    return next((len(text) - size for size in range(min(len(OPEN) - 1, len(text)), 0, -1) if OPEN.startswith(text[-size:])), len(text))
