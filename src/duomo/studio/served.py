"""Runs that are served from the page: each a `duomo serve` of its own, which ends with the studio."""

import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection, HTTPException
from subprocess import TimeoutExpired
from typing import Any

from duomo.core.errors import ResourceError
from duomo.studio.place import Place

READY_SECONDS = 90.0


class Served:
    """Servers by the run's name."""

    def __init__(self, place: Place):
        self._place = place
        self._servers: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        self._one_at_a_time = threading.Lock()

    def serve(self, name: str) -> dict[str, Any]:
        """The address of a server for the run, started on a free port where there is none, once it answers."""
        with self._one_at_a_time:  # who asks twice gets the same one
            return self.listed().get(name) or self._started(name)

    def _started(self, name: str) -> dict[str, Any]:
        path = self._place.run(name)
        port = _free_port()
        words = ["serve", f"runs/{path.name}", f"--port={port}"]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen([sys.executable, "-m", "duomo.cli", *words], cwd=self._place.root, stdin=subprocess.DEVNULL,
                                       stdout=said, stderr=said, start_new_session=True)  # fmt: skip
            until = time.monotonic() + READY_SECONDS
            while process.poll() is None and time.monotonic() < until:
                if _ready(port):
                    self._servers[name] = (process, port)
                    return self.listed()[name]
                time.sleep(0.1)
            process.kill()
            process.wait()
            said.seek(0)
            why = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ResourceError("The server of {name!r} did not start: {why}", name=name, why=why or "—")

    def listed(self) -> dict[str, dict[str, Any]]:
        """Name -> address and words after `duomo`, of what is served now."""
        return {
            name: {"address": f"http://127.0.0.1:{port}", "words": ["serve", f"runs/{name}", f"--port={port}"]}
            for name, (process, port) in list(self._servers.items())
            if process.poll() is None
        }

    def stop(self, name: str) -> None:
        process, _ = self._servers.pop(name, (None, 0))
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        for name in list(self._servers):
            self.stop(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(port: int) -> bool:
    link = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", "/readyz")
        return link.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        link.close()
