"""Operations: who may ask, what is bounded, what is told; a worker that dies, a folder that is replaced or deleted, SIGTERM under load."""

import asyncio
import fcntl
import itertools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from starlette.requests import ClientDisconnect, Request
from tests.serve.harness import Server
from tests.serve.test_predict import rows_of

import duomo
from duomo.core.errors import ConfigError
from duomo.core.reporter import Silent
from duomo.serve import limits, pool
from duomo.serve.access import unless_gone
from duomo.serve.frames import Parser, packed
from duomo.serve.guard import Guard
from duomo.serve.keys import Key, Keys
from duomo.serve.metrics import Metrics
from duomo.serve.pool import Lost, Pool
from duomo.serve.server import Options, _taken, bare, serve
from duomo.serve.worker import Worker

TOKEN, SLOW = "a-token-of-many-letters", "b-token-of-many-letters"
OPEN = {"/livez", "/readyz", "/health"}
ROUTES = ["/", "/docs", "/page.js", "/docs.js", "/page.css", "/openapi.json", "/metrics", "/v1/runs", "/v1/models", "/v1/models/clinic",
          "/v1/predict", "/v1/predict/clinic", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/audio/transcriptions",
          "/v1/audio/speech", *sorted(OPEN)]  # fmt: skip
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.fixture(scope="module", params=["", "-O"])
def guarded(runs, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest):
    """A server with tokens over a copy of a run that a test may spoil; once more without assertions."""
    place = tmp_path_factory.mktemp("guarded")
    shutil.copytree(runs("clinic").path, place / "clinic")
    (place / "tokens").write_text(
        f"# who may ask\nme {TOKEN}\nslow {SLOW} 3 clinic\nother c-token-of-many-letters 0 other\n", encoding="utf-8"
    )
    made = Server([place / "clinic"], "--token-file", str(place / "tokens"), log=place / "log", optimize=bool(request.param))
    made.place, made.optimized = place / "clinic", bool(request.param)
    yield made
    made.stop()


def body(runs) -> dict[str, object]:
    return {"rows": rows_of(runs.source("clinic"), "diagnosis", 1)}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# -- S7
def test_every_route_and_verb_from_strangers(guarded: Server) -> None:
    """Nothing is answered without the right host, origin and token; only health is open."""
    hostile = [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}, {"host": f"127.0.0.1.evil:{guarded.port}"},
               {"authorization": "Bearer wrong"}, {"authorization": "Basic !!!"}, {"authorization": ""}, {"sec-fetch-site": "cross-site"},
               {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}, {}]  # fmt: skip
    good = 0
    with guarded.client() as client:
        for route, verb, headers in itertools.product(ROUTES, VERBS, hostile):
            with_token = bearer(TOKEN) | headers if {"host", "origin"} & set(headers) else headers
            status = client.request(
                verb, route, headers=with_token, content=b"{}" if verb in ("POST", "PUT", "PATCH") else None
            ).status_code
            allowed = (route in OPEN and verb == "GET" and not {"host", "origin"} & set(headers)) or status == 405
            good += allowed
            assert allowed or status in (401, 403, 421), (route, verb, headers, status)
    assert good > len(OPEN)


def test_names_of_hosts_have_no_case() -> None:
    guard = Guard(None, ("localhost", "Models.Example.org"), Metrics())
    asked = {"headers": [], "raw_path": b"/livez", "query_string": b"", "method": "GET"}
    refused = {name: guard._refusal(asked | {"headers": [(b"host", name.encode())]}) for name in
               ("LOCALHOST:8000", "models.example.org", "MODELS.example.org:443", "models.example.com")}  # fmt: skip
    assert [name for name, found in refused.items() if found] == ["models.example.com"] and "--name" in str(refused["models.example.com"])


def test_no_verb_but_post_asks(guarded: Server) -> None:
    with guarded.client(headers=bearer(TOKEN)) as client:
        for verb in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert client.request(verb, "/v1/predict/clinic").status_code == 405
        assert "access-control-allow-origin" not in client.options("/v1/predict/clinic", headers={"origin": guarded.url}).headers


def test_tokens(guarded: Server, runs) -> None:
    with guarded.client() as client:
        asked = body(runs)
        assert client.post("/v1/predict", json=asked, headers=bearer(TOKEN)).status_code == 200
        assert client.post("/v1/predict", json=asked, auth=("anyone", TOKEN)).status_code == 200
        found = client.post("/v1/predict", json=asked, headers=bearer(TOKEN[:-1]))
        assert (
            found.status_code == 401
            and found.json()["error"]["code"] == "invalid_api_key"
            and "basic" in found.headers["www-authenticate"].lower()
        )
        assert "none that the server knows" in found.json()["error"]["message"]
        assert "wants a token" in client.post("/v1/predict", json=asked).json()["error"]["message"]
        elsewhere = client.post("/v1/predict", json=asked, headers=bearer("c-token-of-many-letters"))
        assert elsewhere.status_code == 403 and "clinic" not in elsewhere.text, "whom a run is not for does not learn its name"
        assert "clinic" not in client.get("/readyz").text
        assert [client.get("/metrics", headers=bearer(token)).status_code for token in (TOKEN, SLOW)] == [200, 403]
        statuses = [client.post("/v1/predict", json=asked, headers=bearer(SLOW)) for _ in range(5)]
        assert [answer.status_code for answer in statuses] == [200, 200, 200, 429, 429]
        assert int(statuses[-1].headers["retry-after"]) > 0 and statuses[-1].json()["error"]["type"] == "rate_limit_error"


def test_a_bucket_fills_again() -> None:
    key = Key("k", b"", per_minute=60, left=1, seen=0.0)
    assert key.wait(0.0) == 0 and key.wait(0.0) == pytest.approx(1.0)
    assert key.wait(1.0) == 0 and key.wait(1.5) == pytest.approx(0.5)


@pytest.mark.parametrize("text", ["", "short", "name short", f"me {TOKEN} fast", f"me {TOKEN} a 1", f"me {TOKEN} 600\nyou {TOKEN} 6"])
def test_bad_token_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        Keys.read(str(tmp_path / "t"))
    with pytest.raises(ConfigError):
        Keys.read(str(tmp_path / "none"))


def test_names_of_runs_in_a_token_file_may_hold_spaces(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f"me {TOKEN} 60 my reviews, 春 诗  # both\n", encoding="utf-8")
    assert Keys.read(str(tmp_path / "t")).strange(["x"]) == ["my reviews", "春 诗"]


def test_a_token_file_of_notepad(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f"{TOKEN}\r\n", encoding="utf-8-sig")
    assert Keys.read(str(tmp_path / "t")).find(bearer(TOKEN)) is not None


# -- S2
def test_heads_and_addresses_at_their_edge(server: Server, client: httpx.Client) -> None:
    usual = sum(len(name) + len(value) for name, value in client.build_request("GET", "/livez").headers.raw)
    room = limits.LARGEST_HEAD - usual - len("x-fill")
    assert client.get("/livez", headers={"x-fill": "y" * room}).status_code == 200
    assert client.get("/livez", headers={"x-fill": "y" * (room + 1)}).status_code == 431
    left = limits.LONGEST_ADDRESS - len("/livez")
    assert client.get("/livez?" + "q" * left).status_code == 200
    assert client.get("/livez?" + "q" * (left + 1)).status_code == 414


def test_too_large_a_body_is_refused_unread(server: Server, client: httpx.Client) -> None:
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port)) as link:
        link.sendall(f"POST /v1/predict/clinic HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {limits.LARGEST_BODY + 1}\r\n\r\n".encode())
        assert link.recv(4096).startswith(b"HTTP/1.1 413")
    assert time.perf_counter() - start < 1

    def endless():
        for _ in range(limits.LARGEST_ASKED // 65536 + 1):
            yield b" " * 65536

    found = client.post("/v1/chat/completions", content=endless(), headers={"content-type": "application/json"})
    assert found.status_code == 413
    edge = client.post(
        "/v1/chat/completions", content=b"{" + b" " * (limits.LARGEST_ASKED - 2) + b"}", headers={"content-type": "application/json"}
    )
    assert edge.status_code == 400 and "model" in edge.json()["error"]["message"]


def test_a_refusal_reaches_who_still_sends(server: Server) -> None:
    """Closing on what is still coming would reset the connection, and the answer with it."""
    head = "POST /v1/predict/nobody HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
    for size in (1000, 8 * limits.MEBI):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
            link.sendall(head.format(size).encode())
            for _ in range(size // 1000):
                link.sendall(b" " * 1000)
            answer = b"".join(iter(lambda: link.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 404") and answer.endswith(b"}")


def test_health_answers_while_a_large_body_is_read(server: Server) -> None:
    """The worst that is read at all: as many lists as may be, in as many bytes as may be."""
    worst = b'{"rows": [' + b"[]," * (limits.MOST_LISTS - 3) + b"1," * ((limits.LARGEST_ROWS - 3 * limits.MOST_LISTS) // 2 - 20) + b"[]]}"
    took: list[float] = []
    done = threading.Event()

    def ask() -> None:
        with server.client() as client:
            assert client.post("/v1/predict/clinic", content=worst, headers={"content-type": "application/json"}).status_code == 422
        done.set()

    thread = threading.Thread(target=ask)
    with server.client() as client:
        client.get("/livez")
        thread.start()
        while not done.is_set() and len(took) < 400:
            start = time.perf_counter()
            assert client.get("/livez").status_code == 200
            took.append(time.perf_counter() - start)
            time.sleep(0.01)
    thread.join()
    assert sorted(took)[int(len(took) * 0.98)] < 0.3, max(took)  # 0.1 on a machine of its own (bench/soak_serving.py)


# -- what is told
def test_metrics_and_log(server: Server, client: httpx.Client, runs) -> None:
    answer = client.post("/v1/predict/clinic", json=body(runs))
    text = client.get("/metrics").text
    assert 'duomo_requests_total{route="/v1/predict/{run}",run="clinic",status="200"}' in text
    assert 'duomo_request_seconds_bucket{route="/v1/predict/{run}",le="+Inf"}' in text
    lines = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    mine = next(line for line in lines if line.get("id") == answer.headers["x-request-id"])
    assert mine["run"] == "clinic" and mine["status"] == 200
    assert not any("/tmp" in json.dumps(line) or str(server.log.parent) in json.dumps(line) for line in lines)


def test_hostile_names_stay_text_in_metrics() -> None:
    metrics = Metrics()
    metrics.add("requests_total", run='a"} 1\nevil{b="\\')
    assert 'run="a\\"} 1\\nevil{b=\\"\\\\"' in metrics.text({})


# -- S5, reload, deletion
def test_a_dead_worker_is_replaced(server: Server, client: httpx.Client, runs) -> None:
    victims = server.children()
    os.kill(victims[0], signal.SIGKILL)
    start, statuses = time.monotonic(), []
    while time.monotonic() - start < 30:
        statuses.append(client.post("/v1/predict/clinic", json=body(runs)).status_code)
        if (
            statuses[-1] == 200
            and len(statuses) > 1
            and client.get("/readyz").status_code == 200
            and len(server.children()) == len(victims)
        ):
            break
        time.sleep(0.1)
    assert set(statuses) <= {200, 503} and statuses[-1] == 200
    assert 503 in statuses or victims[0] not in server.children()


def test_a_worker_that_hangs_is_replaced_though_nobody_waits_any_more(runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks again and again gives up each time before the worker has been silent for long enough."""
    rows = json.dumps(body(runs)).encode()
    made = Pool({"clinic": runs("clinic").path}, 1)
    place = made.places["clinic"]

    async def asked() -> bytes:
        return (await place.one({"verb": "predict"}, rows))[1]

    async def scenario() -> None:
        await made.start()
        told, hung = await asked(), place.replicas[0].process
        gone = asyncio.create_task(asked())
        await asyncio.sleep(0)
        gone.cancel()  # a client that hangs up: the worker says that it does not hang
        async with asyncio.timeout(20):
            while place.replicas[0].owed:
                await asyncio.sleep(0.05)
        with pytest.raises(Lost):  # what the worker found too late comes before the front's own clock has told
            await place.replicas[0].one(2**40, {"verb": "predict", "until": 0.0}, rows)
        os.kill(hung.pid, signal.SIGSTOP)
        with monkeypatch.context() as within:
            within.setattr(pool, "ANSWER_SECONDS", 0.3)
            within.setattr(pool, "HANG_SECONDS", 0.6)
            with pytest.raises(Lost):
                await asked()
            async with asyncio.timeout(10):
                while hung.poll() is None:
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            while place.replicas[0].ended.is_set():
                await asyncio.sleep(0.05)
        assert await asked() == told and b"prediction" in told
        await made.stop()

    asyncio.run(scenario())


def test_a_replaced_folder_is_served_and_a_damaged_one_is_not(guarded: Server, runs, tmp_path: Path) -> None:
    place: Path = guarded.place  # type: ignore[attr-defined]
    if guarded.optimized:  # type: ignore[attr-defined]
        pytest.skip("assertions play no part here")
    with guarded.client(headers=bearer(TOKEN)) as client:
        task = client.get("/v1/runs").json()["runs"][0]["task"]
        shutil.rmtree(place)
        time.sleep(0.7)
        assert client.post("/v1/predict", json=body(runs)).status_code == 200, "what is loaded goes on answering"
        shutil.copytree(runs("houses").path, tmp_path / "next")
        with (tmp_path / "next" / "model.safetensors").open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x01")
        shutil.copytree(tmp_path / "next", place)
        until = time.monotonic() + 40
        while not (said := [line for line in guarded.log.read_text(encoding="utf-8").splitlines() if '"ok": false' in line]):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert client.get("/v1/runs").json()["runs"][0]["task"] == task, "a folder that does not verify is not taken"
        refused = json.loads(said[0])
        assert "model.safetensors" in refused["reason"] and str(place) not in refused["reason"]
        shutil.rmtree(place)
        shutil.copytree(runs("houses").path, place)
        until = time.monotonic() + 40
        while client.get("/v1/runs").json()["runs"][0]["task"] == task and time.monotonic() < until:
            assert client.post("/v1/predict", json=body(runs)).status_code in (200, 422)
            time.sleep(0.1)
        assert client.get("/v1/runs").json()["runs"][0]["task"] == "regress"


def test_what_a_person_forgets_is_said(runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's name in a token file that is none; a certificate without its key."""
    measured: list[Any] = []
    monkeypatch.setattr("duomo.serve.server._prepare", measured.append)
    (tmp_path / "tokens").write_text(f"alice {'a' * 20} 60 clinic,clinik\nbob {'b' * 20}\n")
    assert Keys.read(str(tmp_path / "tokens")).strange(["clinic"]) == ["clinik"]
    flags = tls(tmp_path)
    if flags:
        with pytest.raises(ConfigError, match="needs its key"):
            serve([str(runs("clinic").path)], Options(port=0, tls_cert=flags[1]), Silent())
        subprocess.run(["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", flags[3], "-out", f"{flags[3]}.locked"], check=True)
        with pytest.raises(ConfigError, match=r"no terminal .* openssl pkey -in"):  # whose password OpenSSL would wait for
            serve([str(runs("clinic").path)], Options(port=0, tls_cert=flags[1], tls_key=f"{flags[3]}.locked"), Silent())
        with pytest.raises(ConfigError, match="readable PEM"):  # told before the engines are measured, which takes minutes
            serve([str(runs("clinic").path)], Options(port=0, tls_cert=flags[1], tls_key=flags[1], prepare=True), Silent())
    with pytest.raises(ConfigError, match="needs its certificate"):
        serve([str(runs("clinic").path)], Options(port=0, tls_key="key.pem"), Silent())
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="cannot be listened on"):
        serve([str(runs("clinic").path)], Options(port=taken.getsockname()[1], prepare=True), Silent())
    assert not measured


def test_a_log_that_nobody_reads_any_more(runs) -> None:
    """`duomo serve … 2>&1 | head -1`: requests are answered still, and the server ends when it is told to."""
    words = [sys.executable, "-m", "duomo", "serve", str(runs("clinic").path), "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = next(found.group() for line in process.stderr if (found := re.search(r"http://\S+", line)))
    process.stderr.close()
    with httpx.Client(base_url=address) as client:
        assert [client.get("/livez").status_code for _ in range(3)] == [200, 200, 200]
    process.terminate()
    try:
        assert process.wait(timeout=30) is not None
    finally:
        process.kill()


# -- S4
def tls(folder: Path) -> list[str]:
    """Flags with a certificate of our own; none where openssl is not there to make one."""
    if shutil.which("openssl") is None:
        return []
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*words, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return ["--tls-cert", cert, "--tls-key", key]


def test_sigterm_under_load_loses_nothing(runs, tmp_path: Path) -> None:
    """Over TLS where openssl is there."""
    made = Server([runs("clinic").path], "--quiet", *tls(tmp_path), log=tmp_path / "log")
    statuses: list[int] = []
    lost: list[str] = []
    ready: list[tuple[float, int]] = []
    asked, stop = body(runs), threading.Event()

    def ask() -> None:
        with made.client(verify=False) as client:
            while not stop.is_set():
                try:
                    statuses.append(client.post("/v1/predict", json=asked).status_code)
                except httpx.ConnectError:
                    return
                except httpx.HTTPError as error:
                    lost.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    sent = time.monotonic()
    made.process.send_signal(signal.SIGTERM)
    with made.client(verify=False) as client:
        for _ in range(20):
            try:
                ready.append((time.monotonic() - sent, client.get("/readyz").status_code))
            except httpx.HTTPError:
                break
            time.sleep(0.05)
    assert made.process.wait(30) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200} and len(statuses) > 2
    assert len(lost) == 0, lost
    assert any(status == 503 and when < 1 for when, status in ready), ready


def test_a_half_sent_request_does_not_hold_the_door(server: Server, client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as link:
        link.sendall(
            b"POST /v1/predict/clinic HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        assert client.get("/livez").status_code == 200


def test_who_waits_at_a_door_that_closes_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        clients = [socket.create_connection(door.getsockname()) for _ in range(3)]
        clients[2].sendall(b"hello")
        found = _taken(door)
        assert len(found) == 3 and found[2].recv(5) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(door.getsockname(), timeout=5)
        for one in (*clients, *found):
            one.close()


def test_sigterm_before_it_listens_ends_its_workers(runs) -> None:
    words = [sys.executable, "-m", "duomo", "serve", str(runs("clinic").path), "--workers", "2", "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    workers: list[psutil.Process] = []
    until = time.monotonic() + 30
    while len(workers) < 2 and time.monotonic() < until:
        time.sleep(0.01)
        workers = [
            one
            for one in psutil.Process(process.pid).children()
            if one.status() != psutil.STATUS_ZOMBIE and "duomo.served" in one.cmdline()
        ]
    process.terminate()
    assert process.wait(5) == 128 + signal.SIGTERM
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in workers)


def test_a_worker_whose_front_is_gone_loads_nothing_more() -> None:
    """SIGKILL of a front that starts: what its workers would load is for nobody."""
    ours, theirs = socket.socketpair()
    slow = "sys.modules['duomo.trained'] = types.SimpleNamespace(Run=types.SimpleNamespace(open=lambda path: time.sleep(60)))"
    loading = f"import sys, time, types; {slow}; from duomo import served; sys.exit(served.main())"
    process = subprocess.Popen([sys.executable, "-c", loading, str(theirs.fileno()), "run"], pass_fds=(theirs.fileno(),))
    theirs.close()
    time.sleep(0.5)
    assert process.poll() is None
    ours.close()
    assert process.wait(10) == 0


def test_a_pass_takes_the_oldest_and_the_likest_to_it(runs) -> None:
    """The others are answered by the next one."""
    ours, theirs = socket.socketpair()
    worker, rows = Worker(duomo.load(runs("clinic").path), theirs), body(runs)["rows"]
    worker._most, parser = 2, Parser()
    for number, count in ((1, 1), (2, 8), (3, 8), (4, 1)):
        ours.sendall(packed({"id": number, "verb": "predict"}, json.dumps({"rows": rows * count}).encode()))
    assert worker._gather()
    for expected in ([1, 4], [2], [3]):
        worker._group()
        assert [head["id"] for head, _ in parser.feed(ours.recv(1 << 20))] == expected


def test_who_hangs_up_leaves_his_place(runs) -> None:
    """A question that waits still is dropped, and its place is free at once; one that is answered already is nothing to remember."""
    ours, theirs = socket.socketpair()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most[1], most[1]))
    low = theirs.detach()
    theirs = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD, 1500))  # as a front with many connections gives it
    os.close(low)
    worker, rows = Worker(duomo.load(runs("clinic").path), theirs), json.dumps(body(runs)).encode()
    for number in (1, 2, 3):
        ours.sendall(packed({"id": number, "verb": "predict", **({"until": 0.0} if number == 3 else {})}, rows))
    ours.sendall(packed({"cancel": 2}) + packed({"cancel": 9}))
    assert worker._gather()
    worker._group()
    found = {head["id"]: head for head, _ in Parser().feed(ours.recv(1 << 20))}
    assert found[1]["status"] == 200 and all(found[number]["lost"] for number in (2, 3)) and len(found) == 3

    async def scenario() -> None:
        ended: list[str] = []

        async def asked() -> tuple[dict[str, object], bytes]:
            try:
                await asyncio.sleep(30)
            finally:
                ended.append("given up")
            return {}, b""

        async def receive() -> dict[str, str]:
            await asyncio.sleep(0.3)
            return {"type": "http.disconnect"}

        start = time.monotonic()
        with pytest.raises(ClientDisconnect):
            await unless_gone(Request({"type": "http"}, receive), asked())
        assert ended and time.monotonic() - start < 5

    asyncio.run(scenario())


def test_a_client_that_hangs_up_while_it_sends_is_no_fault(server: Server, client: httpx.Client) -> None:
    before = server.log.read_text()
    head = f"POST /v1/predict/clinic HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 90\r\nContent-Type: "
    for kind in ("application/json", "multipart/form-data; boundary=b"):
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall(f"{head}{kind}\r\n\r\n--b".encode())
            time.sleep(0.05)
    until = time.monotonic() + 20
    while (said := server.log.read_text().removeprefix(before)).count('"status": 499') < 2:
        assert time.monotonic() < until, said
        time.sleep(0.05)
    assert "Traceback" not in said and '"status": 500' not in said


def test_tokens_can_be_added_and_withdrawn_while_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is used up of a rate stays so; a file that is none changes nothing."""
    monkeypatch.setattr("duomo.serve.keys.LOOK_SECONDS", 0.0)
    path, other = tmp_path / "t", TOKEN[::-1]
    path.write_text(f"me {TOKEN} 2\n")
    keys = Keys.read(str(path))
    key = keys.find(bearer(TOKEN))
    assert key and key.wait(key.seen) == 0 == key.wait(key.seen) and keys.find(bearer(other)) is None
    path.write_text(f"me {TOKEN} 2\nyou {other}\n")
    again = keys.find(bearer(TOKEN))
    assert again and again.wait(again.seen) > 0 and keys.find(bearer(other)) is not None
    for text in ("", "short"):
        path.write_text(text)
        assert keys.find(bearer(TOKEN)) and keys.find(bearer(other))
    path.unlink()
    assert keys.find(bearer(TOKEN))
    path.write_text(f"you {other}\n")
    assert keys.find(bearer(TOKEN)) is None and keys.find(bearer(other))


@pytest.mark.parametrize(
    ("said", "name"),
    [("Example.com", "Example.com"), ("https://example.com:8443/x", "example.com"), ("example.com:80", "example.com"), ("::1", "[::1]"),
     ("[::1]:8000", "[::1]"), ("2001:db8::5", "[2001:db8::5]"), ("10.0.0.1", "10.0.0.1"), ("", "")],
)  # fmt: skip
def test_hosts_are_named_as_people_name_them(said: str, name: str) -> None:
    assert bare(said) == name
