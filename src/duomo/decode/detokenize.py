"""Tokens to text as they come: nothing is shown that a later token could still change or that belongs to a stop text."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers.decoders import DecodeStream

from duomo.core.kinds import text as text_kind


class Pieces:
    """The text of one answer, token by token.

    `add` gives what is certain to be part of the answer: a character whose bytes are not complete waits, and so does an end of the text
    that may be the beginning of a stop text, wherever the borders of tokens lie.
    """

    def __init__(self, tokenizer: Mapping[str, Any], stop: Sequence[str] = ()):
        self._tokenizer, self._stop = text_kind.tokenizer_of(tokenizer), tuple(stop)
        self._stream = DecodeStream(skip_special_tokens=True)
        self._held = ""
        self.text = ""
        """Everything given so far."""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that became certain; `stopped` is true once a stop text has come."""
        self._held += self._stream.step(self._tokenizer, token) or ""
        for place, stop in sorted((self._held.find(stop), -len(stop)) for stop in self._stop if stop in self._held)[:1]:
            self._held, self.stopped = self._held[:place], stop < 0
            return self._give(len(self._held))
        return self._give(len(self._held) - self._waiting())

    def end(self) -> str:
        """What was held back; bytes that never became a character are dropped."""
        return self._give(len(self._held))

    def _waiting(self) -> int:
        """Characters at the end that may begin a stop text."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stop):
                return size
        return 0

    def _give(self, size: int) -> str:
        piece, self._held = self._held[:size], self._held[size:]
        self.text += piece
        return piece
