"""The full figures of serving (bars S1 to S6), each with the number that bounds the failure rate, and controls that must fail.

    python bench/soak_serving.py [--share 0.1] [--only S1,S3]

A table, pictures and a small writer are trained and served together by real processes on 127.0.0.1. No failure in n trials bounds the
failure rate at 3/n (95 %). Exits with 1 where a bar is missed or a control is not caught. S7 stands in tests/serve/test_operations.py.
"""

import asyncio
import csv
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.serve.harness import LEAK, Server, drawn, flood, mutated, quantile, request_of, saturate, thrown

import duomo
from common import command_line
from duomo import samples
from duomo.serve import limits

BRIEF = {"train": {"steps": 30, "exact": True, "evaluate_steps": 10**6}}
LOOK = b"GET /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
Verdict = Callable[[str, bool, str], None]


class Ground:
    """Trained runs, and rows to ask about."""

    def __init__(self, folder: Path):
        self.folder, self.runs = folder, []
        for name, settings in (
            ("clinic", {"model": {"name": "mlp", "size": "small"}}),
            ("digits", {}),
            ("poems", {"model": {"name": "gpt", "size": "nano"}}),
        ):
            source = samples.write(name, folder)
            self.runs.append(duomo.train(source, BRIEF | settings, target=samples.SAMPLES[name].target or (), out=folder / "runs" / name))
        with (folder / "clinic.csv").open(encoding="utf-8") as file:
            table = [{name: float(value) for name, value in row.items() if name != "diagnosis"} for row in csv.DictReader(file)]
        self.rows = table[:64]
        self.expected = [answer["confidence"] for answer in self.runs[0].predict(self.rows)]

    def server(self, *words: str, prelude: str = "") -> Server:
        return Server([run.path for run in self.runs], "--quiet", *words, log=self.folder / "log", prelude=prelude)


def bound(failures: int, trials: int) -> str:
    return f"{failures}/{trials} failed" + (f", rate below {3 / trials:.3%} (95 %)" if not failures else "")


def s1(ground: Ground, share: float, say: Verdict) -> None:
    server, chance = ground.server(), random.Random(11)
    count, statuses = round(10_000 * share), Counter[int]()
    with server.client() as client:
        document = client.get("/openapi.json").json()
        for _ in range(count):
            verb, path, more = drawn(document, chance)
            statuses[client.request(verb, path, **more).status_code] += 1
        wrong = sum(number for status, number in statuses.items() if status >= 500 and status != 503)
        say("S1 drawn from the document", not wrong, f"{bound(wrong, count)}; {dict(sorted(statuses.items()))}")
        count, statuses = round(100_000 * share), Counter()
        models = [request_of("/v1/predict/clinic", {"rows": ground.rows[:1]}), request_of("/v1/predict/poems", {"rows": [3]}),
                  request_of("/v1/chat/completions", {"model": "poems", "messages": []}), LOOK]  # fmt: skip
        for _ in range(count):
            statuses[thrown(server.port, mutated(chance.choice(models), chance))] += 1
        wrong = sum(number for status, number in statuses.items() if status == -1 or (status >= 500 and status != 503))
        alive = client.get("/readyz").status_code == 200 and server.process.poll() is None
        say("S1 malformed bytes", not wrong and alive, f"{bound(wrong, count)}; {dict(sorted(statuses.items()))}")
    server.stop()


def s2(ground: Ground, share: float, say: Verdict) -> None:
    """Health while the worst accepted input is read, and the time of a refusal."""
    server = ground.server()
    worst = b'{"rows": [' + b"[]," * (limits.MOST_LISTS - 3) + b"1," * ((limits.LARGEST_ROWS - 3 * limits.MOST_LISTS) // 2 - 20) + b"[]]}"
    took: list[float] = []
    done = threading.Event()

    def ask() -> None:
        with server.client() as client:
            for _ in range(max(1, round(10 * share))):
                client.post("/v1/predict/clinic", content=worst, headers={"content-type": "application/json"})
        done.set()

    threading.Thread(target=ask).start()
    with server.client() as client:
        while not done.is_set():
            start = time.perf_counter()
            client.get("/livez")
            took.append(time.perf_counter() - start)
            time.sleep(0.01)
        say("S2 health under the worst input", max(took) <= 0.1, f"slowest of {len(took)}: {1000 * max(took):.0f} ms (bar 100)")
        start = time.perf_counter()
        status = client.post(
            "/v1/predict/clinic", content=b" " * (limits.LARGEST_ROWS + 1), headers={"content-type": "application/json"}
        ).status_code
        spent = time.perf_counter() - start
        say("S2 a body over the limit", status == 413 and spent < 1, f"{status} after {1000 * spent:.0f} ms (bar 1,000)")
    server.stop()


def s3(ground: Ground, share: float, say: Verdict) -> None:
    server, repeat = ground.server(), 400
    requests = [request_of("/v1/predict/clinic", {"rows": [row] * repeat}) for row in ground.rows]
    seconds = max(2.0, 20 * share)

    def own(number: int, body: bytes) -> bool:
        return all(answer["confidence"] == ground.expected[number] for answer in json.loads(body)["answers"])

    calm = asyncio.run(saturate(server.port, requests, limits.QUEUE, seconds))
    found = asyncio.run(flood(server.port, requests, 10 * len(calm) / seconds, seconds, own))
    p99, crowded = quantile(calm, 0.99), quantile(found["accepted"], 0.99)
    refused = quantile(found["refused"], 0.99) if found["refused"] else 0.0
    facts = f"{found['sent']} sent, {len(found['accepted'])} answered, {len(found['refused'])} refused"
    say("S3 excess is refused within 100 ms", refused <= 0.1 and not found["unsaid"], f"p99 {1000 * refused:.0f} ms; {facts}")
    say("S3 p99 of accepted", crowded <= 2 * p99, f"{crowded:.3f} s against {p99:.3f} s saturated ({crowded / p99:.2f} times, bar 2)")
    say(
        "S3 no answer swapped, none broken",
        not found["swapped"] + found["broken"] + len(found["other"]),
        bound(found["swapped"], len(found["accepted"])),
    )
    server.stop()


def s4(ground: Ground, share: float, say: Verdict) -> None:
    lost, late, answered, codes = 0, 0, 0, []
    times = max(2, round(20 * share))
    for _ in range(times):
        server = ground.server()
        stop, results = threading.Event(), list[str]()
        body = {"rows": ground.rows[:1]}

        def ask(server: Server = server, stop: threading.Event = stop, results: list[str] = results, body: object = body) -> None:
            with server.client() as client:
                while not stop.is_set():
                    try:
                        results.append("ok" if client.post("/v1/predict/clinic", json=body).status_code == 200 else "refused")
                    except httpx.ConnectError:
                        return
                    except httpx.HTTPError:
                        results.append("lost")

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        sent, said = time.monotonic(), 99.0
        server.process.send_signal(signal.SIGTERM)
        with server.client() as client:
            while time.monotonic() - sent < 1:
                try:
                    if client.get("/readyz").status_code == 503:
                        said = time.monotonic() - sent
                        break
                except httpx.HTTPError:
                    break
        codes.append(server.process.wait(60))
        stop.set()
        for thread in threads:
            thread.join()
        lost, answered, late = lost + results.count("lost"), answered + results.count("ok"), late + (said > 1)
    say(
        "S4 SIGTERM under load",
        not lost and not late and set(codes) == {0},
        f"{times} times: {bound(lost, answered)}; readiness late {late} times",
    )


def s5(ground: Ground, share: float, say: Verdict) -> None:
    server, slowest, statuses = ground.server(), 0.0, Counter[int]()
    times = max(2, round(20 * share))
    with server.client() as client:
        for number in range(times):
            victims = server.children()
            os.kill(victims[number % len(victims)], signal.SIGKILL)
            start = time.monotonic()
            time.sleep(0.02)
            while time.monotonic() - start < 30:
                for name, rows in (("clinic", ground.rows[:1]), ("poems", ["春"])):
                    statuses[client.post(f"/v1/predict/{name}", json={"rows": rows}).status_code] += 1
                if client.get("/readyz").status_code == 200 and len(server.children()) == len(victims):
                    break
            slowest = max(slowest, time.monotonic() - start)
    say(
        "S5 a dead worker",
        slowest <= 10 and set(statuses) <= {200, 503},
        f"{times} kills, slowest return {slowest:.1f} s (bar 10); {dict(statuses)}",
    )
    server.stop()


def s6(ground: Ground, share: float, say: Verdict) -> None:
    def growth(prelude: str, count: int) -> float:
        server = ground.server(prelude=prelude)
        try:
            with server.client() as client:
                document = client.get("/openapi.json").json()
            with ThreadPoolExecutor(8) as clients:
                list(clients.map(lambda part: ask(server, document, part, 250), range(8)))
                before = server.memory()
                list(clients.map(lambda part: ask(server, document, part, count // 8), range(8, 16)))
                return (server.memory() - before) / 2**20
        finally:
            server.stop()

    def ask(server: Server, document: dict[str, Any], part: int, count: int) -> None:
        chance = random.Random(part)
        with server.client() as client:
            for number in range(count):
                if number % 4:
                    asked = ("POST", "/v1/predict/clinic", {"json": {"rows": ground.rows[: 1 + number % 8]}})
                else:
                    asked = drawn(document, chance)
                try:
                    client.request(asked[0], asked[1], **asked[2])
                except httpx.RemoteProtocolError:  # a connection that was idle for too long: this machine was too busy to ask
                    closed.append(number)

    closed = list[int]()
    count = max(4000, round(40_000 * share))
    grown = growth("", count)
    say("S6 memory after a soak", grown <= 100, f"{count} requests: {grown:+.0f} MB (bar 100); {len(closed)} idle connections were closed")
    planted = growth(LEAK, max(8000, count // 4))
    say("S6 a planted leak is caught", planted > 100, f"{planted:+.0f} MB")


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the full numbers")
    parser.add_argument("--only", default="S1,S2,S3,S4,S5,S6")
    options, held = parser.parse_args(), True

    def say(what: str, good: bool, facts: str) -> None:
        nonlocal held
        held &= good
        print(f"{'holds' if good else 'FAILS':5}  {what}: {facts}", flush=True)

    checks = {"S1": s1, "S2": s2, "S3": s3, "S4": s4, "S5": s5, "S6": s6}
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        for name in options.only.split(","):
            checks[name](ground, options.share, say)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
