"""Talking to a run in the terminal: answers stream as they are written.

/reset forgets the conversation, /system TEXT sets what the model is told first, /quit (or end of input) leaves. Ctrl-C stops the answer
that is being written; pressed again, it leaves.
"""

import contextlib
import dataclasses
import importlib
import sys
from pathlib import Path

from duomo.core.errors import DuomoError
from duomo.core.kinds.cells import whole
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.decode.engine import Engines, Stream, Writer
from duomo.decode.sampling import Sampling
from duomo.terminal import harmless
from duomo.trained import Run
from duomo.writing import Choice


def chat(path: Path | str, temperature: float | None = None, engine: str = "", reporter: Reporter | None = None) -> None:
    """A conversation with the run in this folder, by this engine (writing.py) or the fastest; ConfigError where its task does not write."""
    choice = Choice(Run.open(path), 1, reporter)
    task = choice.task
    sampling = task.sampling if temperature is None else dataclasses.replace(task.sampling, temperature=temperature)
    writing = choice.make(choice.name(engine), roll=True)
    edit_lines()
    try:
        Conversation(writing, task, sampling).run()
    finally:
        writing.close()


def edit_lines() -> None:
    """Arrow keys and history where Python has them; text of several lines that is pasted is one message, which Python switches off."""
    with contextlib.suppress(ImportError):
        importlib.import_module("readline").parse_and_bind("set enable-bracketed-paste on")


class Conversation:
    """What was said, and the loop that goes on with it."""

    def __init__(self, engine: Engines, task: Writer, sampling: Sampling, system: str = ""):
        self.engine, self.task, self.sampling, self.system = engine, task, sampling, system
        self.messages: list[dict[str, str]] = []

    def run(self) -> None:
        if sys.stdin.isatty():
            print(tr("/reset forgets, /system TEXT instructs, /quit leaves; Ctrl-C stops an answer."), file=sys.stderr)
        while True:
            try:
                line = whole(input("> " if sys.stdin.isatty() else ""))
            except EOFError:
                return
            except KeyboardInterrupt:
                print()
                return
            if not self.take(line):
                return

    def take(self, line: str) -> bool:
        """One line of the person; False where the conversation is over."""
        line = "/" + line[1:] if line.startswith("／") else line  # as Chinese keyboards write it
        command, _, rest = line.strip().partition(" ")
        if command == "/quit":
            return False
        if command == "/reset":
            self.messages.clear()
        elif command == "/system":
            self.system = rest.strip()
            self.messages.clear()
        elif line.startswith("/"):
            print(tr("There is no command {name}; there are /reset, /system and /quit.", name=command), file=sys.stderr)
        elif line.strip():
            try:
                return self._answer(line)
            except DuomoError as error:
                print(tr("duomo: {message}", message=error), file=sys.stderr)
                self.messages = self.messages[:-1]
        return True

    def _answer(self, line: str) -> bool:
        self.messages.append({"role": "user", "content": line})
        first = [{"role": "system", "content": self.system}] if self.system else []
        stream = self.engine.submit(self.task.conversation([*first, *self.messages]), self.sampling)
        parts: list[str] = []
        try:
            self._print(stream, parts)
        except KeyboardInterrupt:
            stream.cancel()
            try:
                self._print(stream, parts)
            except KeyboardInterrupt:
                print()
                return False
        print(flush=True)
        self.messages.append({"role": "assistant", "content": "".join(parts)})
        return True

    @staticmethod
    def _print(stream: Stream, parts: list[str]) -> None:
        for piece in stream:
            parts.append(piece.text)
            sys.stdout.write(harmless(piece.text))
            sys.stdout.flush()
