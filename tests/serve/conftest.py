"""One server over several runs, with real worker processes and a real socket, for all tests of this folder."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

SERVED = ("clinic", "digits", "poems")


class Server:
    """`duomo serve` as a process."""

    def __init__(self, folders: list[Path], *words: str, log: Path):
        command = [
            sys.executable,
            *(["-O"] if sys.flags.optimize else []),
            "-m",
            "duomo.cli",
            "serve",
            *map(str, folders),
            "--port",
            "0",
            *words,
        ]
        self.log = log
        with log.open("wb") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | {"DUOMO_LANG": "en", "COLUMNS": "500"})
        until = time.monotonic() + 60
        while not (found := re.search(r"(https?)://127.0.0.1:(\d+)", log.read_text())):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        self.url, self.port = found.group(0), int(found.group(2))

    def client(self, **more: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **more)  # type: ignore[arg-type]

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(number) for number in found]

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def server(runs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folders = [runs(name).path for name in SERVED]
    made = Server(folders, log=tmp_path_factory.mktemp("server") / "log")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made
