"""Servers as processes, and what is thrown at them; shared by the tests here and by bench/soak_serving.py."""

import asyncio
import gc
import json
import os
import random
import re
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

LEAK = """
import duomo.serve.guard as guard
kept, count = [], guard.Guard._count
guard.Guard._count = lambda self, scope, status, seconds: (kept.append(bytearray(20_000)), count(self, scope, status, seconds))[1]
"""
"""Run before the server starts: the control of the soak, which must be caught."""
MODULE = "import sys; from duomo import cli; sys.exit(cli.main(sys.argv[1:]))"


class Server:
    """`duomo serve` as a process, on a free port."""

    def __init__(self, folders: Sequence[Path], *words: str, log: Path, prelude: str = "", optimize: bool = False):
        flags = ["-O"] if optimize or sys.flags.optimize else []
        command = [sys.executable, *flags, "-c", prelude + MODULE, "serve", *map(str, folders), "--port", "0", *words]
        self.log = log
        with log.open("wb") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | {"DUOMO_LANG": "en", "COLUMNS": "500"})
        until = time.monotonic() + 90
        while not (found := re.search(r"https?://127.0.0.1:(\d+)", log.read_text())):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(log.read_text())
            time.sleep(0.02)
        self.url, self.port = found.group(0), int(found.group(1))

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=90, **more)

    def children(self) -> list[int]:
        return [int(number) for number in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def memory(self) -> int:
        """Bytes that the server and its workers hold."""
        pages = [int(Path(f"/proc/{number}/statm").read_text().split()[1]) for number in (self.process.pid, *self.children())]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


# -- S1: drawn from the document
TEXTS = [
    "",
    " ",
    "0",
    "-1.5",
    "NaN",
    "1e999",
    "\x00",
    "'; drop table",
    "<script>alert(1)</script>",
    "=1+1",
    "../../etc/passwd",
    "春眠不觉晓",
    "\u202e",
    "😀" * 9,
]


def draw(schema: Mapping[str, Any], chance: random.Random, wild: float = 0.05) -> Any:
    """A value of the schema, most of the time; `wild` of its parts are of any other make."""
    if chance.random() < wild:
        return chance.choice([None, True, 0, -1, 10**30, 1.5, "x", [], {}, [[]], {"a": {}}, float("1e308")])
    if "anyOf" in schema:
        return draw(chance.choice(schema["anyOf"]), chance, wild)
    if "enum" in schema:
        return chance.choice(schema["enum"])
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else chance.choice(kinds)
    if kind == "object":
        names = schema.get("properties", {})
        needed = schema.get("required", ())
        return {
            name: draw(part, chance, wild)
            for name, part in names.items()
            if (name in needed or chance.random() < 0.3) and chance.random() > wild / 4
        }
    if kind == "array":
        return [draw(schema.get("items", {}), chance, wild) for _ in range(chance.choice([1, 1, 2, 3, 8]))]
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", -1e6), min(schema.get("maximum", 1e6), 40)
        value = chance.uniform(low, high)
        return round(value) if kind == "integer" else value
    if kind == "string":
        return chance.choice([*TEXTS, "".join(chance.choices(string.printable, k=chance.randint(0, 30)))])
    return {"boolean": chance.random() < 0.5, "null": None}.get(kind)


def drawn(document: Mapping[str, Any], chance: random.Random) -> tuple[str, str, dict[str, Any]]:
    """Method, path and httpx's arguments of one request drawn from the document."""
    path = chance.choice(list(document["paths"]))
    verb, operation = chance.choice(list(document["paths"][path].items()))
    contents = operation.get("requestBody", {}).get("content", {})
    if not contents:
        return verb.upper(), path, {}
    kind, content = chance.choice(list(contents.items()))
    value = draw(content["schema"], chance)
    if kind == "application/json":
        return verb.upper(), path, {"content": json.dumps(value).encode("utf-8", "replace"), "headers": {"content-type": kind}}
    fields = value if isinstance(value, dict) else {"files": value}
    parts = [(name, (chance.choice([None, "a.png"]), str(one).encode("utf-8", "replace")))
             for name, many in fields.items() for one in (many if isinstance(many, list) else [many])]  # fmt: skip
    return verb.upper(), path, {"files": parts or [("files", ("a", b""))]}


# -- S1: raw bytes
PIECES = [b"\r\n", b"\r\n\r\n", b"\x00", b": ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: evil\r\n", b"9" * 30,
          b"%00", b"/../", b"[" * 50]  # fmt: skip


def mutated(request: bytes, chance: random.Random) -> bytes:
    """A request with some of its bytes changed, doubled, cut or swapped."""
    data = bytearray(request)
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        place = chance.randrange(len(data) + 1)
        how = chance.randrange(6)
        if how == 0 and place < len(data):
            data[place] = chance.randrange(256)
        elif how == 1:
            data[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
        elif how == 2:
            del data[place : place + chance.randint(1, 40)]
        elif how == 3:
            data[place:place] = data[max(0, place - chance.randint(1, 60)) : place]
        elif how == 4:
            data[place:place] = chance.choice(PIECES)
        else:
            del data[place:]
    return bytes(data)


def thrown(port: int, data: bytes, seconds: float = 5.0) -> int:
    """Send raw bytes and close; the status that came back, 0 for a closed connection, -1 for none in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as link:
        try:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            got = b""
            while len(got) < 12 and (piece := link.recv(65536)):
                got += piece
        except TimeoutError:
            return -1
        except OSError:
            return 0
    return int(got[9:12]) if got[9:12].isdigit() else 0


# -- S3 and S6: load
async def post(port: int, request: bytes) -> tuple[int, bytes, float, dict[str, str]]:
    """One request on its own connection: status, body, seconds, headers."""
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(head[9:12]), body, time.perf_counter() - start, headers


def request_of(path: str, value: Any) -> bytes:
    body = json.dumps(value).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def flood(port: int, requests: Sequence[bytes], rate: float, seconds: float, check: Callable[[int, bytes], bool]) -> dict[str, Any]:
    """Open loop: `rate` requests a second whatever comes back. `check(number, body)` tells whether an answer is that request's own."""
    tasks: list[asyncio.Task[Any]] = []
    gc.disable()  # a collection among ten thousand tasks holds this client up for 200 ms, which would be counted as the server's
    start = time.perf_counter()
    count = 0
    while (now := time.perf_counter() - start) < seconds:
        while count < rate * now:
            tasks.append(asyncio.create_task(post(port, requests[count % len(requests)])))
            count += 1
        await asyncio.sleep(0.002)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    gc.enable()
    done = [(number % len(requests), one) for number, one in enumerate(found) if not isinstance(one, BaseException)]
    accepted = [one[2] for _, one in done if one[0] == 200]
    refused = [one[2] for _, one in done if one[0] in (429, 503)]
    return {
        "sent": count, "accepted": accepted, "refused": refused, "broken": len(found) - len(done),
        "other": [one[0] for _, one in done if one[0] not in (200, 429, 503)],
        "swapped": sum(not check(number, one[1]) for number, one in done if one[0] == 200),
        "unsaid": sum("retry-after" not in one[3] for _, one in done if one[0] in (429, 503)),
    }  # fmt: skip


async def saturate(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> list[float]:
    """Closed loop: each client asks again as soon as it is answered."""
    took: list[float] = []

    async def ask(number: int) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            status, _, spent, _ = await post(port, requests[number % len(requests)])
            if status == 200:
                took.append(spent)

    await asyncio.gather(*(ask(number) for number in range(clients)))
    return took
