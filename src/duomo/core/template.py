"""Chat templates: messages -> the text that a model reads, rendered where a template can do no harm.

A template comes with a checkpoint, so it is foreign code in Jinja's language. It runs in jinja2's immutable sandbox (no attribute that
leads to Python's inside, nothing passed in can be changed), in a child process that the kernel holds to half a gigabyte, and that
is killed when a rendering takes longer than `SECONDS`. The child stays for the next rendering, which then takes well below a millisecond.

    render("{% for m in messages %}...", [{"role": "user", "content": "Hello"}], {"eos_token": "</s>"}, add_generation_prompt=True)
"""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from duomo.core.errors import DataError, ResourceError
from duomo.core.messages import tr

PIPE_FAULTS = (BrokenPipeError, BlockingIOError)
SECONDS = 0.7
LONGEST_TEMPLATE = 1 << 17
LONGEST_TEXT = 1 << 23
STARTING = 20.0
PART = 1 << 16


class _Child:
    """One rendering process, started when first needed and after each that had to be killed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """The child's answer; None where it took too long or died."""
        line = json.dumps(question).encode() + b"\n"
        with self.lock:
            process = self._started()
            found = self._exchange(process, line, SECONDS)
            if found is None:
                self.stop()
            return found

    def _started(self) -> "subprocess.Popen[bytes]":
        if self.process is not None and self.owner == os.getpid() and self.process.poll() is None:
            return self.process
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("template_child.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, bufsize=0,
        )  # fmt: skip
        os.set_blocking(self.process.stdin.fileno(), False)  # type: ignore[union-attr]
        if self._exchange(self.process, b"", STARTING) is None:
            self.stop()
            raise ResourceError(
                "The process that renders chat templates does not start. Check that jinja2 is installed and memory is free."
            )
        return self.process

    @staticmethod
    def _exchange(process: "subprocess.Popen[bytes]", line: bytes, seconds: float) -> dict[str, Any] | None:
        """Write `line` and read one, both within `seconds`."""
        end, got = time.monotonic() + seconds, b""
        into, out = process.stdin.fileno(), process.stdout.fileno()  # type: ignore[union-attr]
        left, ready = memoryview(line), select.poll()  # select itself knows no descriptor above 1,023
        ready.register(out, select.POLLIN)
        ready.register(into, select.POLLOUT)
        while not got.endswith(b"\n"):
            if not left:
                ready.modify(into, 0)
            found_ready = [number for number, _ in ready.poll(max(0.0, end - time.monotonic()) * 1000)]
            if not found_ready:
                return None
            try:
                if left and into in found_ready:
                    left = left[os.write(into, left[:PART]) :]
                if out in found_ready:
                    part = os.read(out, PART)
                    if not part:
                        return None
                    got += part
            except PIPE_FAULTS:
                return None
        found: dict[str, Any] = json.loads(got)
        return found

    def stop(self) -> None:
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
        if self.process is not None:
            for pipe in (self.process.stdin, self.process.stdout):
                pipe.close()  # type: ignore[union-attr]
        self.process = None


_CHILD = _Child()
atexit.register(_CHILD.stop)


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    special: Mapping[str, str] | None = None,
    *,
    add_generation_prompt: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """The text of a conversation.

    `messages` are {"role", "content", ...}; `special` holds bos_token, eos_token and the like; `extra` further JSON values (tools).
    DataError where the template refuses the messages, is wrong, takes longer than `SECONDS` or more memory than the child has.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise DataError(
            "A chat template may have at most {most:,} characters; received {size:,}.", most=LONGEST_TEMPLATE, size=len(template)
        )
    values = {"messages": [dict(message) for message in messages], "add_generation_prompt": add_generation_prompt}
    size = sum(len(str(value)) for message in messages for value in message.values())
    if size > LONGEST_TEXT:
        raise DataError(
            "A conversation may have at most {most:,} characters; received {size:,}. Send fewer messages.", most=LONGEST_TEXT, size=size
        )
    found = _CHILD.ask({"template": template, "values": {**(extra or {}), **(special or {}), **values}, "longest": LONGEST_TEXT})
    if found is None:
        raise DataError("A chat template must be rendered within {seconds:g} seconds; this one was stopped.", seconds=SECONDS)
    if "refused" in found:
        raise DataError("The chat template refuses these messages: {why}", why=found["refused"])
    if "text" not in found:
        why = {"MemoryError": tr("too much memory"), "OutputTooLong": tr("too long a text"), "RecursionError": tr("nested too deeply")}
        reason = why.get(found.get("fault", ""), found.get("why") or found.get("fault", "?"))
        raise DataError("The chat template cannot be rendered: {why}.", why=str(reason).rstrip("."))
    return str(found["text"])
