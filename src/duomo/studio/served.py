"""Runs that are served from the page: each a `duomo serve` of its own, which ends with the studio.

.studio/served/PID.json   {run, pid, born, port, studio: [pid, born]}: written before the server answers, so that whoever closes finds it.
A studio that was killed leaves its servers; the next one in the folder takes them over. Two studios at a time have each their own.
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
from pathlib import Path
from typing import IO, Any

import psutil
from psutil import TimeoutExpired

from duomo.core.errors import ResourceError
from duomo.core.files import write_atomically
from duomo.studio.jobs import living
from duomo.studio.place import Place

ASK_FAULTS = (OSError, HTTPException)
RECORD_FAULTS = (OSError, ValueError, LookupError, TypeError)
READY_SECONDS = 90.0
STOP_SECONDS = 10.0


class Served:
    """Servers of runs, by their process."""

    def __init__(self, place: Place):
        self._place = place
        self._servers: dict[int, dict[str, Any]] = {}
        self._ready: set[int] = set()
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
                    self._keep({"run": found.get("run", path.stem)} | {name: found[name] for name in ("pid", "born", "port")})
                    if path.stem == str(found["pid"]):  # older studios named a record after its run
                        continue
            except RECORD_FAULTS:
                pass
            path.unlink(missing_ok=True)

    def _keep(self, server: dict[str, Any]) -> None:
        self._servers[server["pid"]] = server | {"studio": self._us}
        write_atomically(self._record(server), json.dumps(self._servers[server["pid"]]).encode())

    def _record(self, server: dict[str, Any]) -> Path:
        return self._place.served / f"{server['pid']}.json"

    def serve(self, name: str) -> dict[str, Any]:
        """The address of a server for the run, started on a free port where there is none, once it answers."""
        with self._one_at_a_time, tempfile.TemporaryFile() as said:  # who asks twice gets the same one
            if not self.at_work(name):
                self._start(name, said)
            until = time.monotonic() + READY_SECONDS
            while self.at_work(name) and time.monotonic() < until:
                if found := self.listed().get(name):
                    return found
                time.sleep(0.1)
            self.stop(name)
            said.seek(0)
            why = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ResourceError("The server of {name!r} did not start: {why}", name=name, why=why or "—")

    def _start(self, name: str, said: IO[bytes]) -> None:
        path, port = self._place.run(name), _free_port()
        with self._lock:
            if self._closed:
                raise ResourceError("The studio is being closed; nothing more is served.")
            process = subprocess.Popen([sys.executable, "-m", "duomo.cli", *_words(name, port)], cwd=self._place.root,
                                       stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)  # fmt: skip
            self._children[process.pid] = process
            self._ready.discard(process.pid)  # numbers are given anew
            self._keep({"run": path.name, "pid": process.pid, "born": psutil.Process(process.pid).create_time(), "port": port})

    def listed(self) -> dict[str, dict[str, Any]]:
        """Name -> address and words after `duomo`, of what is served now."""
        return {
            one["run"]: {"address": f"http://127.0.0.1:{one['port']}", "words": _words(one["run"], one["port"])}
            for one in list(self._servers.values())
            if living(one["pid"], one["born"]) and self._answers(one)
        }

    def _answers(self, server: dict[str, Any]) -> bool:
        """Whether it has begun to, which it then does until it ends."""
        if server["pid"] not in self._ready and _ready(server["port"]):
            self._ready.add(server["pid"])
        return server["pid"] in self._ready

    def _of(self, name: str) -> list[dict[str, Any]]:
        return [one for one in list(self._servers.values()) if one["run"] == name]

    def at_work(self, name: str) -> bool:
        """Whether a server of the run answers or is on its way."""
        return any(living(one["pid"], one["born"]) for one in self._of(name))

    def stop(self, name: str) -> None:
        for one in self._of(name):
            self._servers.pop(one["pid"], None)
            self._ready.discard(one["pid"])
            process, child = living(one["pid"], one["born"]), self._children.pop(one["pid"], None)
            if process is not None:
                with suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile
                    process.terminate()
                    try:
                        process.wait(STOP_SECONDS)
                    except TimeoutExpired:
                        process.kill()
                        process.wait()
            if child is not None:
                child.poll()
            self._record(one).unlink(missing_ok=True)

    def close(self) -> None:
        """End them all, those too that have not answered yet."""
        with self._lock:
            self._closed = True
        for one in list(self._servers.values()):
            self.stop(one["run"])


def _words(name: str, port: int) -> list[str]:
    return ["serve", f"runs/{name}", f"--port={port}"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(port: int) -> bool:
    link = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", "/readyz")
        return link.getresponse().status == 200
    except ASK_FAULTS:
        return False
    finally:
        link.close()
