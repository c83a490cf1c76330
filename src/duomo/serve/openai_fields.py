"""What the OpenAI routes may be asked: each field's type and bounds, once, for the checks and for the OpenAPI document alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duomo.core.messages import nearest, tr
from duomo.serve import limits


class Unfit(Exception):
    """A field that is not as it must be."""

    def __init__(self, param: str, message: str):
        super().__init__(message)
        self.param, self.message = param, message


@dataclass(frozen=True)
class Rule:
    """A field: its JSON types, and bounds of the number, or of the length of a text or list."""

    types: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    default: Any = None
    one_of: tuple[str, ...] = ()
    required: bool = False


JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,),
}  # fmt: skip
TOKEN = {"type": "integer", "minimum": 0}
MOST_LISTED = {"prompt": limits.MOST_PROMPTS, "input": limits.MOST_INPUTS, "stop": limits.MOST_STOPS}
"""Texts (or lists of tokens) of a field that takes one of them, too, whose rule bounds that."""
ROLES = ("system", "developer", "user", "assistant", "tool")
MODEL = Rule(("string",), 1, 256, required=True)
SAMPLING: dict[str, Rule] = {
    "model": MODEL,
    "max_tokens": Rule(("integer",), 1, 1_000_000),
    "temperature": Rule(("number",), 0, 2),
    "top_p": Rule(("number",), 0, 1),
    "top_k": Rule(("integer",), 0, 1_000_000),
    "min_p": Rule(("number",), 0, 1),
    "frequency_penalty": Rule(("number",), -2, 2),
    "presence_penalty": Rule(("number",), -2, 2),
    "repetition_penalty": Rule(("number",), 0.01, 100),
    "logit_bias": Rule(("object",), 0, limits.MOST_BIASES),
    "seed": Rule(("integer",), -(2**63), 2**63 - 1),
    "stop": Rule(("string", "array"), 0, limits.LONGEST_STOP),
    "n": Rule(("integer",), 1, limits.MOST_CHOICES, 1),
    "stream": Rule(("boolean",), default=False),
    "stream_options": Rule(("object",), 0, 8),
    "response_format": Rule(("object",), 0, 8),
    "user": Rule(("string",), 0, 512),
    # what clients say of bookkeeping elsewhere, which changes no answer
    "store": Rule(("boolean",)),
    "metadata": Rule(("object",), 0, 64),
    "service_tier": Rule(("string",), 0, 64),
    "safety_identifier": Rule(("string",), 0, 512),
    "prompt_cache_key": Rule(("string",), 0, 512),
}
CHAT = SAMPLING | {
    "messages": Rule(("array",), 1, limits.MOST_MESSAGES, required=True),
    "tools": Rule(("array",), 1, limits.MOST_TOOLS),
    "tool_choice": Rule(("string", "object"), 0, 64),
    "parallel_tool_calls": Rule(("boolean",)),
    "max_completion_tokens": Rule(("integer",), 1, 1_000_000),
    "logprobs": Rule(("boolean",), default=False),
    "top_logprobs": Rule(("integer",), 0, limits.MOST_LOGPROBS),
}
COMPLETE = SAMPLING | {
    "prompt": Rule(("string", "array"), 0, limits.LONGEST_TEXT, required=True),
    "max_tokens": Rule(("integer",), 0, 1_000_000),
    "logprobs": Rule(("integer",), 0, limits.MOST_LOGPROBS),
    "echo": Rule(("boolean",), default=False),
}
EMBED = {
    "model": MODEL,
    "input": Rule(("string", "array"), 1, limits.LONGEST_TEXT, required=True),
    "encoding_format": Rule(("string",), one_of=("float", "base64"), default="float"),
    "dimensions": Rule(("integer",), 1, 65_536),
    "user": Rule(("string",), 0, 512),
}
HEAR = {
    "model": MODEL,
    "file": Rule(("string",), 0, limits.LARGEST_SOUND, required=True),
    "response_format": Rule(("string",), one_of=("json", "text", "srt", "vtt", "verbose_json"), default="json"),
    "timestamp_granularities": Rule(("string",), one_of=("segment", "word", "segment,word", "word,segment"), default="segment"),
    "language": Rule(("string",), 0, 64),
    "prompt": Rule(("string",), 0, 10_000),
    "temperature": Rule(("string",), 0, 32),
    "stream": Rule(("string",), one_of=("false",)),
}
ROUTES: dict[str, tuple[str, str, str, Mapping[str, Rule]]] = {
    "/v1/chat/completions": ("chat", "Answer a conversation.", "application/json", CHAT),
    "/v1/completions": ("complete", "Write on from a text.", "application/json", COMPLETE),
    "/v1/embeddings": ("embed", "Vectors of texts.", "application/json", EMBED),
    "/v1/audio/transcriptions": ("hear", "Write down what is said.", "multipart/form-data", HEAR),
}
"""Route -> what a run must be able to do, its summary, the type of its body, and the fields of that."""


def checked(value: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The fields with their defaults; Unfit for the first that is unknown, missing or out of bounds. null counts as not given."""
    if not isinstance(value, dict):
        raise Unfit("body", tr("The body must be a JSON object."))
    for name, given in value.items():
        if given is None:
            continue
        if name not in rules:
            sentence = tr("The field {name!r} is unknown here.{hint}", name=name[:80], hint=nearest(name[:80], rules, 0.7))
            raise Unfit(name[:80], sentence)
        _check(name, given, rules[name])
    missing = [name for name, rule in rules.items() if rule.required and value.get(name) is None]
    if missing:
        raise Unfit(missing[0], tr("The field {name!r} is missing.", name=missing[0]))
    return {name: rule.default if value.get(name) is None else value[name] for name, rule in rules.items()}


def _check(name: str, given: Any, rule: Rule) -> None:
    kinds: tuple[Any, ...] = tuple(kind for word in rule.types for kind in JSON_TYPES[word])
    if not isinstance(given, kinds) or (isinstance(given, bool) and bool not in kinds):
        known, got = tr(" or ").join(rule.types), type(given).__name__
        raise Unfit(name, tr("The field {name!r} must be of type {known}; received {value}.", name=name, known=known, value=got))
    if rule.one_of and given not in rule.one_of:
        known = ", ".join(rule.one_of)
        raise Unfit(name, tr("The field {name!r} must be one of {known}; received {value!r}.", name=name, known=known, value=given[:40]))
    if isinstance(given, bool) or rule.low is None or rule.high is None:
        return
    size = given if isinstance(given, (int, float)) else len(given)
    if not rule.low <= size <= rule.high:
        template = (
            "The field {name!r} must be from {low} to {high}; received {value}."
            if isinstance(given, (int, float))
            else "The field {name!r} must have from {low} to {high} elements or characters; received {value}."
        )
        raise Unfit(name, tr(template, name=name, low=_plain(rule.low), high=_plain(rule.high), value=_plain(size)))


def _plain(value: float) -> str:
    """As a person writes it: 1,000,000 and 0.5; what is endless or has more digits than one reads, in short."""
    return f"{value:,.0f}" if abs(value) < 2**63 + 1 and value == int(value) else f"{value:.6g}"


def texts(name: str, value: Any, most: int, longest: int = limits.LONGEST_TEXT) -> list[str]:
    """A text or a list of texts as a list; Unfit for anything else."""
    found = [value] if isinstance(value, str) else value
    if not 1 <= len(found) <= most or not all(isinstance(one, str) and len(one) <= longest for one in found):
        sentence = tr("The field {name!r} takes a text, or 1 to {most} texts of at most {longest:,} characters.",
                      name=name, most=most, longest=longest)  # fmt: skip
        raise Unfit(name, sentence)
    return list(found)


def prompts(name: str, value: Any, most: int) -> list[str] | list[list[int]]:
    """A text, some texts, a list of tokens or some of those, as a list; Unfit for anything else."""
    found = value if isinstance(value, list) else [value]
    if found and all(isinstance(one, int) for one in found):
        found = [found]
    if not found or not all(isinstance(one, list) for one in found):
        return texts(name, value, most)
    whole = all(one and len(one) <= limits.LONGEST_TEXT and all(type(token) is int and token >= 0 for token in one) for one in found)
    if not whole or len(found) > most:
        raise Unfit(name, tr("The field {name!r} takes 1 to {most} lists of tokens, each a whole number from 0 on.", name=name, most=most))
    return found


def schema(rules: Mapping[str, Rule], models: Sequence[str]) -> dict[str, Any]:
    """The rules as a JSON schema."""
    properties = {name: _property(name, rule) for name, rule in rules.items()}
    properties["model"] = {"type": "string", "enum": list(models)}
    required = [name for name, rule in rules.items() if rule.required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _property(name: str, rule: Rule) -> dict[str, Any]:
    if name == "file":
        return {"type": "string", "format": "binary"}
    if name in ("prompt", "input"):
        text, tokens = {"type": "string", "maxLength": limits.LONGEST_TEXT}, {"type": "array", "minItems": 1, "items": TOKEN}
        lists = [{"type": "array", "minItems": 1, "maxItems": MOST_LISTED[name], "items": one} for one in (text, tokens)]
        return {"anyOf": [text, tokens, *lists]}
    found: dict[str, Any] = {"type": list(rule.types) if rule.required else [*rule.types, "null"]}
    if rule.one_of:
        found["enum"] = [*rule.one_of, *([] if rule.required else [None])]
    if rule.low is not None and rule.high is not None:
        if {"number", "integer"} & set(rule.types):
            found |= {"minimum": rule.low, "maximum": rule.high}
        if "string" in rule.types:
            found |= {"minLength": int(rule.low), "maxLength": int(rule.high)}
        if "array" in rule.types:
            found |= {"minItems": 1, "maxItems": MOST_LISTED.get(name, int(rule.high))}
    if name == "messages":
        part = {"role": {"enum": list(ROLES)}, "content": {"type": "string"}}
        found["items"] = {"type": "object", "properties": part, "required": ["role", "content"], "additionalProperties": False}
    elif name == "tools":
        function = {
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": r"^[\w.-]{1,64}$"}, "parameters": {"type": "object"}},
            "required": ["name"],
        }
        found["items"] = {
            "type": "object",
            "properties": {"type": {"enum": ["function"]}, "function": function},
            "required": ["type", "function"],
        }
    elif "array" in rule.types:
        found["items"] = {"type": "string"}
    return found
