"""The process in which chat templates are rendered: reads one JSON line a question, writes one JSON line an answer.

It is started by `core/template.py` with this file's path alone (`python -I`), so that it holds nothing of the project and none of
its data. Memory, file sizes and processes are capped by the kernel; time is capped by the parent, which kills it.
"""

import json
import resource
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, TextIO

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 512 << 20
LIMIT_FAULTS = (OSError, ValueError)
KEPT = 16
"""Compiled templates that are kept."""
FAULTS = (jinja2.TemplateError, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NameError, RuntimeError,
          SyntaxError, TypeError, ValueError)  # fmt: skip


class Refused(jinja2.TemplateError):
    """The template itself objects to its messages."""


class _Generation(Extension):
    """`{% generation %}` marks what the model wrote (a transformers tag); here it is only its content."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: object) -> None:
    raise Refused(str(message)[:500])


def _json(value: Any, indent: int | None = None, ensure_ascii: bool = False, separators: Any = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> ImmutableSandboxedEnvironment:
    """Blocks trimmed and no HTML escaping, as the templates of checkpoints expect."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation])
    made.filters["tojson"] = _json
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def answer(question: dict[str, Any], compiled: dict[str, jinja2.Template]) -> dict[str, Any]:
    """{"text"} or {"refused"} or {"fault"}."""
    try:
        source = question["template"]
        if source not in compiled:
            if len(compiled) >= KEPT:
                compiled.clear()
            compiled[source] = environment().from_string(source)
        pieces, size = [], 0
        for piece in compiled[source].generate(question["values"]):
            size += len(piece)
            if size > question["longest"]:
                return {"fault": "OutputTooLong"}
            pieces.append(piece)
        return {"text": "".join(pieces)}
    except Refused as error:
        return {"refused": str(error)}
    except FAULTS as error:
        return {"fault": type(error).__name__, "why": str(error)[:300]}


def serve(questions: TextIO, write: Callable[[str], Any]) -> None:
    compiled: dict[str, jinja2.Template] = {}
    for line in questions:
        write(json.dumps(answer(json.loads(line), compiled)) + "\n")


def _limit() -> None:
    sys.setrecursionlimit(600)
    for name, value in (("RLIMIT_AS", MEMORY), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0), ("RLIMIT_NPROC", 0)):
        kind = getattr(resource, name, None)
        if kind is not None:
            try:
                resource.setrlimit(kind, (value, value))
            except LIMIT_FAULTS:  # a limit that this system does not know, or that is lower already
                continue


def main() -> None:
    answer({"template": "{{ 1 }}", "values": {}, "longest": 10}, {})  # what is imported late must be there before the limits
    _limit()

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    write("{}\n")
    serve(sys.stdin, write)


if __name__ == "__main__":
    main()
