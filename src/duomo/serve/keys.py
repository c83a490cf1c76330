"""Who may ask: tokens from a file, compared in constant time, each with its own rate and its own runs.

A line of the file is `TOKEN`, or `NAME TOKEN [REQUESTS_PER_MINUTE] [RUN,RUN...]`; `#` begins a comment. The name of a run may hold spaces.
Without a file everyone on this machine may ask.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from duomo.core.errors import ConfigError
from duomo.core.files import UNREADABLE, sign_of
from duomo.core.messages import tr
from duomo.serve.metrics import log

SHORTEST = 16
LOOK_SECONDS = 1.0
"""How often is looked whether the file has changed."""


@dataclass
class Key:
    """One token: only its sum is kept. The bucket holds what may be asked at once; it fills with the rate."""

    name: str
    sum: bytes
    per_minute: float = 0.0
    runs: frozenset[str] = frozenset()
    left: float = 0.0
    seen: float = 0.0

    def wait(self, now: float) -> float:
        """0 where one more request may be made, which is then counted; else the seconds until it may."""
        if not self.per_minute:
            return 0.0
        self.left = min(self.per_minute, self.left + (now - self.seen) * self.per_minute / 60)
        self.seen = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) * 60 / self.per_minute


class Keys:
    """All tokens; none: open."""

    def __init__(self, keys: list[Key], path: Path | None = None):
        """`path`: the file that they are from, in which others may stand later."""
        self._keys, self._path = keys, path
        self._sign, self._looked = sign_of(path), time.monotonic()

    @classmethod
    def read(cls, path: str | None) -> "Keys":
        """From a file; ConfigError where it cannot be read or a line is no token."""
        if path is None:
            return cls([])
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except UNREADABLE as error:
            raise ConfigError("The file of tokens must be readable; {path} is not ({reason}).", path=path,
                              reason=getattr(error, "strerror", None) or error) from None  # fmt: skip
        told = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
        keys = [_key(number, line.split(maxsplit=3)) for number, line in told if line]
        if not keys:
            raise ConfigError("The file of tokens must hold one on a line; {path} holds none.", path=path)
        first: dict[bytes, str] = {}
        for key in keys:
            if key.sum in first:
                raise ConfigError("Each token stands on one line, so that it has one rate; that of {name!r} stands in {path} twice, first "
                                  "for {first!r}. Give each its own.", name=key.name, first=first[key.sum], path=path)  # fmt: skip
            first[key.sum] = key.name
        return cls(keys, Path(path))

    def strange(self, runs: Iterable[str]) -> list[str]:
        """Names of runs that tokens are for and that are not among these."""
        return sorted({name for key in self._keys for name in key.runs} - set(runs))

    def __len__(self) -> int:
        return len(self._keys)

    def _look(self) -> None:
        """Take what stands in the file by now, so that a token can be added or withdrawn; one that cannot be read changes nothing."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked, sign = time.monotonic(), sign_of(self._path)
        if sign == self._sign:
            return
        self._sign = sign
        try:
            found = Keys.read(str(self._path))._keys
        except ConfigError as error:
            log("tokens", ok=False, reason=tr(error.template, **{**error.values, "path": "-"}))
            return
        known = {key.sum: key for key in self._keys}
        for key in found:
            if (before := known.get(key.sum)) is not None:
                key.left, key.seen = min(before.left, key.left), before.seen
        self._keys = found
        log("tokens", ok=True, count=len(found))

    def find(self, headers: Mapping[str, str]) -> Key | None:
        """The key of a request's Authorization (Bearer, or Basic with the token as password, which browsers ask for)."""
        self._look()
        scheme, _, value = headers.get("authorization", "").partition(" ")
        token = value.strip()
        if scheme.lower() == "basic":
            try:
                token = base64.b64decode(token, validate=True).decode("utf-8").partition(":")[2]
            except ValueError:
                token = ""
        elif scheme.lower() != "bearer":
            token = ""
        asked, found = _sum(token), None
        for key in self._keys:  # all of them, however early one fits
            if hmac.compare_digest(key.sum, asked):
                found = key
        return found


def _sum(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _key(number: int, words: list[str]) -> Key:
    name, token, *rest = words if len(words) > 1 else [f"token-{number}", *words]
    if len(token) < SHORTEST:
        raise ConfigError("A token has at least {least} characters; that of line {number} has {size}. For a good one: openssl rand -hex 24",
                          least=SHORTEST, number=number, size=len(token))  # fmt: skip
    rate = rest[0] if rest else "0"
    if not rate.isdecimal():
        raise ConfigError(
            "A line of tokens is TOKEN, or NAME TOKEN [REQUESTS_PER_MINUTE] [RUN,RUN...]; line {number} is not.", number=number
        )
    runs = frozenset(map(str.strip, rest[1].split(","))) if len(rest) > 1 else frozenset()
    return Key(name, _sum(token), float(rate), runs, float(rate), time.monotonic())
