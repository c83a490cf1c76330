"""What front and worker say to each other over a socket: a head in JSON and a body of bytes, each with its length before it."""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

LENGTHS = struct.Struct("!IQ")
Frame = tuple[dict[str, Any], bytes]


def packed(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    return b"".join((LENGTHS.pack(len(text), len(body)), text, body))


class Parser:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._held += data
        start = 0
        while len(self._held) - start >= LENGTHS.size:
            head_size, body_size = LENGTHS.unpack_from(self._held, start)
            middle = start + LENGTHS.size + head_size
            if len(self._held) < middle + body_size:
                break
            head = json.loads(self._held[start + LENGTHS.size : middle])
            body = bytes(self._held[middle : middle + body_size])
            start = middle + body_size
            yield head, body
        if start:
            del self._held[:start]
