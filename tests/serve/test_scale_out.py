"""nginx before two servers, by the very configuration of docs/serving.md: one may die, and nobody notices."""

import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.serve.harness import Server
from tests.serve.test_predict import rows_of

import duomo

DOC = Path(__file__).parents[2] / "docs" / "serving.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_two_servers_behind_nginx(runs, tmp_path: Path) -> None:
    servers = [Server([runs("clinic").path], "--quiet", log=tmp_path / f"log{number}") for number in (1, 2)]
    block = re.search(r"```nginx\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    port = free_port()
    written = block.group(1).replace(":8000", f":{port}").replace(":8001", f":{servers[0].port}").replace(":8002", f":{servers[1].port}")
    own = f"daemon off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/error;\n"
    paths = "".join(f"  {name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "nginx.conf").write_text(own + written.replace("http {\n", "http {\n  access_log off;\n" + paths), encoding="utf-8")
    balancer = subprocess.Popen([str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        body = {"rows": rows_of(runs.source("clinic"), "diagnosis", 3)}
        expected = runs("clinic").predict(runs.source("clinic"))[:3]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(100):
                try:
                    client.get("/readyz")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            assert [client.post("/v1/predict", json=body).json()["answers"] for _ in range(20)] == [expected] * 20
            servers[0].process.send_signal(signal.SIGKILL)
            assert [client.post("/v1/predict", json=body).status_code for _ in range(20)] == [200] * 20
            assert client.get("/readyz", headers={"host": "evil.example"}).status_code == 421
            servers[0].process.wait()
            with ThreadPoolExecutor(1) as beside:
                back = beside.submit(Server, [runs("clinic").path], "--quiet", "--port", str(servers[0].port), log=tmp_path / "log3")
                while not back.done():
                    assert client.post("/v1/predict", json=body).status_code == 200
            servers.append(back.result())
            servers[1].process.send_signal(signal.SIGKILL)  # as soon as the first is back: nginx must not leave that out still
            assert [client.post("/v1/predict", json=body).status_code for _ in range(20)] == [200] * 20
    finally:
        balancer.terminate()
        balancer.wait(10)
        for server in servers:
            server.stop()


def test_a_deployment_that_names_duomo_can_be_sent_away() -> None:
    """Ray pickles the class of docs/serving.md together with the modules that it uses; ours is no plain module."""
    assert pickle.loads(pickle.dumps(duomo)) is duomo  # noqa: S301 - our own bytes


def test_two_workers_of_one_run(runs, tmp_path: Path) -> None:
    """One that dies is replaced alone; all count into one /metrics; a replaced folder is taken by both; SIGTERM ends them all."""
    place = tmp_path / "run"
    shutil.copytree(runs("clinic").path, place)
    made = Server([place], "--workers", "2", "--quiet", log=tmp_path / "log")
    asked = {"rows": rows_of(runs.source("clinic"), "diagnosis", 1)}

    def replaced(gone: list[int]) -> list[int]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            now = made.children()
            if len(now) == 2 and not set(gone) & set(now) and client.get("/readyz").status_code == 200:
                return now
            assert client.post("/v1/predict", json=asked).status_code in (200, 503)
            time.sleep(0.05)
        raise AssertionError(made.children())

    try:
        with made.client() as client:
            first, second = made.children()
            os.kill(first, signal.SIGKILL)
            assert second in replaced([first])
            for _ in range(3):
                assert client.post("/v1/predict", json=asked).status_code == 200
            event = 'duomo_worker_events_total{event="restart",ok="True",run="run"} 1'
            said = client.get("/metrics").text
            served = next(line for line in said.splitlines() if line.startswith('duomo_rows_total{run="run"}'))
            assert event in said and int(served.split()[-1]) >= 3
            before = made.children()
            shutil.copytree(place, tmp_path / "next")
            place.rename(tmp_path / "old")
            (tmp_path / "next").rename(place)
            last = replaced(before)
        assert made.stop() == 0
        assert not [number for number in last if Path(f"/proc/{number}").exists()]
    finally:
        made.stop(signal.SIGKILL)
