"""A part of the soak (bench/soak_serving.py), small enough for every day: drawn and malformed requests, overload, a planted leak."""

import asyncio
import csv
import json
import random
import socket
import time
from contextlib import suppress
from pathlib import Path

import httpx
from tests.serve.harness import LEAK, Server, drawn, flood, mutated, post, quantile, request_of, saturate, thrown

from duomo.serve import limits


def test_requests_drawn_from_the_document(server: Server, client: httpx.Client) -> None:
    chance = random.Random(1)
    document = client.get("/openapi.json").json()
    statuses = []
    for _ in range(160):
        verb, path, more = drawn(document, chance)
        answer = client.request(verb, path, **more)
        statuses.append(answer.status_code)
        assert answer.status_code < 500 or answer.status_code == 503, (verb, path, more, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"id", "message", "type", "param", "code"}
            assert "/tmp" not in answer.text and "Traceback" not in answer.text
    assert statuses.count(200) > 20


def test_malformed_requests(server: Server, client: httpx.Client) -> None:
    chance = random.Random(2)
    models = [request_of("/v1/predict/clinic", {"rows": [{"mean_radius": 1.5}]}), request_of("/v1/chat/completions", {"model": "poems"}),
              b"GET /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"]  # fmt: skip
    statuses = [thrown(server.port, mutated(chance.choice(models), chance)) for _ in range(400)]
    wrong = [status for status in statuses if status == -1 or (status >= 500 and status != 503)]
    assert not wrong
    assert client.get("/readyz").status_code == 200


def rows(path: Path) -> list[dict[str, float]]:
    with path.open(encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if name != "diagnosis"} for row in csv.DictReader(file)][:50]


def test_overload_is_refused_and_nothing_is_swapped(server: Server, runs) -> None:
    asked = rows(runs.source("clinic"))
    expected = [answer["confidence"] for answer in runs("clinic").predict(asked)]
    requests = [request_of("/v1/predict/clinic", {"rows": [row] * limits.MOST_ROWS}) for row in asked[:8]]

    def own(number: int, body: bytes) -> bool:
        return all(answer["confidence"] == expected[number] for answer in json.loads(body)["answers"])

    calm = asyncio.run(saturate(server.port, requests, 4, 0.6))
    found = asyncio.run(flood(server.port, requests, 10 * len(calm) / 0.6, 0.6, own))
    assert not found["swapped"] and not found["other"] and not found["broken"] and not found["unsaid"], found
    assert found["accepted"]


def test_the_door_is_shut_before_the_queue_grows(server: Server) -> None:
    """More than QUEUE at once: the rest is told so, at once."""
    requests = [request_of("/v1/predict/poems", {"rows": ["春"]})]

    heads = [one.partition(b"\r\n\r\n")[0] for one in (*requests, request_of("/v1/chat/completions", {"model": "poems", "messages": []}))]

    async def refused(head: bytes) -> int:
        """The status; 0 where the door was open after all, and the body is waited for."""
        try:
            return (await asyncio.wait_for(post(server.port, head + b"\r\n\r\n"), 5))[0]  # a body that never comes
        except TimeoutError:
            return 0

    async def all_at_once():
        crowd = [asyncio.create_task(post(server.port, requests[0])) for _ in range(3 * limits.QUEUE)]
        while not any(one.done() for one in crowd):
            await asyncio.sleep(0.001)
        return await asyncio.gather(*map(refused, heads)), await asyncio.gather(*crowd)

    for _ in range(4):  # on a busy machine the crowd may be answered before the two are heard
        unread, found = asyncio.run(all_at_once())
        if unread == [503, 503]:
            break
    assert unread == [503, 503], "nor are they waited for, where no run that could answer has room"
    statuses = [one[0] for one in found]
    assert set(statuses) <= {200, 503} and statuses.count(503) >= limits.QUEUE // 2
    assert all("retry-after" in one[3] for one in found if one[0] == 503)
    served = [one[2] for one in found if one[0] == 200]
    assert quantile([one[2] for one in found if one[0] == 503], 0.5) <= quantile(served, 0.99)


def test_a_planted_leak_is_caught(runs, tmp_path: Path) -> None:
    """The control of the soak: memory grows by 20 kB a request."""
    made = Server([runs("clinic").path], "--quiet", log=tmp_path / "log", prelude=LEAK)
    try:
        with made.client() as client:
            for _ in range(50):
                client.get("/livez")
            before = made.memory()
            for _ in range(500):
                client.get("/livez")
            assert made.memory() - before > 500 * 20_000 * 0.8
    finally:
        made.stop()


def test_a_head_that_never_ends_is_closed(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=limits.HEAD_SECONDS + 10) as link:
        link.sendall(b"GET /livez HTT")
        start = time.monotonic()
        assert link.recv(100) == b""
        assert time.monotonic() - start < limits.HEAD_SECONDS + 5


def test_a_slow_or_endless_head_is_closed_the_second_too(server: Server) -> None:
    """A connection that has been answered may not hold the door with half a head, nor fill the memory with one that never ends."""
    ask = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=limits.HEAD_SECONDS + 5) as link:
        link.sendall(ask)
        answer = b""
        while not answer.endswith(b"}"):  # the head and the body may come in two pieces
            piece = link.recv(65536)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        link.sendall(ask[:20])
        assert link.recv(65536) == b""
        assert time.monotonic() - start < limits.HEAD_SECONDS + 3
    endless = (
        b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        b"POST /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0;",
    )
    for beginning in endless:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link, suppress(ConnectionError):
            link.sendall(beginning)
            for _ in range(200):
                link.sendall(b"y" * 65536)
            raise AssertionError("13 MB of a head were taken")
