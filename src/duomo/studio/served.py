"""Runs that are served from the page: each a `duomo serve` of its own, which ends with the studio.

.studio/served/NAME.json   {pid, born, port, studio: [pid, born]}: written before the server answers, so that whoever closes finds it.
A studio that was killed leaves its servers; the next one in the folder takes them over.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

import psutil

from duomo.core.errors import ResourceError
from duomo.core.files import write_atomically
from duomo.studio.jobs import living
from duomo.studio.place import Place

READY_SECONDS = 90.0
STOP_SECONDS = 10.0


class Served:
    """Servers by the run's name."""

    def __init__(self, place: Place):
        self._place = place
        self._servers: dict[str, dict[str, Any]] = {}
        self._ready: set[str] = set()
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._one_at_a_time, self._lock, self._closed = threading.Lock(), threading.Lock(), False
        self._us = [os.getpid(), psutil.Process().create_time()]
        self._adopt()

    def _adopt(self) -> None:
        """What a studio that is no more has left running is ours; records of servers that have ended go."""
        for path in self._place.served.glob("*.json"):
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                if living(*found["studio"]):
                    continue
                if living(found["pid"], found["born"]):
                    self._keep(path.stem, found)
                    self._ready.add(path.stem)
                    continue
            except (OSError, ValueError, LookupError, TypeError):
                pass
            path.unlink(missing_ok=True)

    def _keep(self, name: str, server: dict[str, Any]) -> None:
        self._servers[name] = server | {"studio": self._us}
        write_atomically(self._place.served / f"{name}.json", json.dumps(self._servers[name]).encode())

    def serve(self, name: str) -> dict[str, Any]:
        """The address of a server for the run, started on a free port where there is none, once it answers."""
        with self._one_at_a_time:  # who asks twice gets the same one
            return self.listed().get(name) or self._started(name)

    def _started(self, name: str) -> dict[str, Any]:
        path = self._place.run(name)
        port = _free_port()
        words = ["serve", f"runs/{path.name}", f"--port={port}"]
        with tempfile.TemporaryFile() as said:
            with self._lock:
                if self._closed:
                    raise ResourceError("The studio is being closed; nothing more is served.")
                process = subprocess.Popen([sys.executable, "-m", "duomo.cli", *words], cwd=self._place.root, stdin=subprocess.DEVNULL,
                                           stdout=said, stderr=said, start_new_session=True)  # fmt: skip
                self._children[process.pid] = process
                self._ready.discard(name)  # one that has died may have been
                self._keep(name, {"pid": process.pid, "born": psutil.Process(process.pid).create_time(), "port": port})
            until = time.monotonic() + READY_SECONDS
            while process.poll() is None and time.monotonic() < until:
                if _ready(port):
                    self._ready.add(name)
                    return self.listed()[name]
                time.sleep(0.1)
            self.stop(name)
            said.seek(0)
            why = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ResourceError("The server of {name!r} did not start: {why}", name=name, why=why or "—")

    def listed(self) -> dict[str, dict[str, Any]]:
        """Name -> address and words after `duomo`, of what is served now."""
        return {
            name: {"address": f"http://127.0.0.1:{one['port']}", "words": ["serve", f"runs/{name}", f"--port={one['port']}"]}
            for name, one in list(self._servers.items())
            if name in self._ready and living(one["pid"], one["born"])
        }

    def at_work(self, name: str) -> bool:
        """Whether a server of the run answers or is on its way."""
        one = self._servers.get(name)
        return one is not None and living(one["pid"], one["born"]) is not None

    def stop(self, name: str) -> None:
        one = self._servers.pop(name, None)
        self._ready.discard(name)
        if one is None:
            return
        process, child = living(one["pid"], one["born"]), self._children.pop(one["pid"], None)
        if process is not None:
            with suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except psutil.TimeoutExpired:
                    process.kill()
                    process.wait()
        if child is not None:
            child.poll()
        (self._place.served / f"{name}.json").unlink(missing_ok=True)

    def close(self) -> None:
        """End them all, those too that have not answered yet."""
        with self._lock:
            self._closed = True
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
