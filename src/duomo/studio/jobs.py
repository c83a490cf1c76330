"""Runs as child processes, one at a time, the others wait: each a `duomo train` of its own that outlives page and studio.

A run's state is read from what lies on the disk (job file, log, run folder) and from whether its process lives, never from memory,
so that a studio started anew finds everything as it is.

.studio/jobs/NAME.json    {name, words, language, at, pid, born, done}   `born` tells a process from a later one with the same number;
                          `done`: it was stopped on purpose and waits for nothing
.studio/jobs/NAME.jsonl   what the process said (core of `--json`): messages, progress, its error
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from psutil import NoSuchProcess

from duomo.core.errors import RunError
from duomo.core.files import UNREADABLE, write_atomically
from duomo.core.messages import chinese, language, tr
from duomo.core.retranslated import retold
from duomo.core.run import RunFolder
from duomo.studio.place import Place, plain_name

POLL_SECONDS = 0.3
LONGEST_LOG = 2_000_000
"""Bytes of a log's end that are read."""
STOP_SECONDS = 10.0
PREFLIGHT = "Preflight: training will take about {time}, {memory} of memory and {disk} on the disk."


class Jobs:
    """The queue; one thread starts what is next."""

    def __init__(self, place: Place):
        self.place = place
        self._lock = threading.RLock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="duomo-studio-jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Start nothing more; what runs goes on without us."""
        self._closed.set()
        self._thread.join(5)

    # -- job files
    def job(self, name: str) -> dict[str, Any]:
        """The job file's facts; empty where the run was not started here."""
        try:
            found = json.loads((self.place.jobs / f"{plain_name(name)}.json").read_text(encoding="utf-8"))
        except UNREADABLE:
            return {}
        return found if isinstance(found, dict) else {}

    def _keep(self, job: Mapping[str, Any]) -> None:
        write_atomically(self.place.jobs / f"{job['name']}.json", json.dumps(job, ensure_ascii=False).encode())

    def names(self) -> list[str]:
        return [path.stem for path in self.place.jobs.glob("*.json")]

    def forget(self, name: str, kept: str = "") -> None:
        """What is known of a run beside its folder goes to the trash with it; away where nothing of the run is kept."""
        for ending in ("json", "jsonl"):
            path = self.place.jobs / f"{plain_name(name)}.{ending}"
            if kept and path.is_file():
                path.rename(self.place.trash / f"{kept}.{ending}")
            path.unlink(missing_ok=True)

    def recall(self, kept: str, name: str) -> None:
        """The run is back from the trash, under this name."""
        for ending in ("json", "jsonl"):
            with suppress(FileNotFoundError):
                (self.place.trash / f"{plain_name(kept)}.{ending}").rename(self.place.jobs / f"{name}.{ending}")
        if job := self.job(name):
            self._keep(job | {"name": name})

    def moved(self, name: str, new: str) -> None:
        """The run has another name."""
        with self._lock:
            job = self.job(name)
            if not job:
                return
            with suppress(FileNotFoundError):
                (self.place.jobs / f"{name}.jsonl").rename(self.place.jobs / f"{new}.jsonl")
            self._keep(job | {"name": new})
            (self.place.jobs / f"{name}.json").unlink(missing_ok=True)

    def elsewhere(self, name: str) -> bool:
        """Whether a process that the studio has not started trains the run."""
        path = self.place.runs / name
        return self._process(self.job(name)) is None and not (path / "manifest.json").is_file() and RunFolder(path).busy()

    # -- what a person does
    @contextmanager
    def naming(self) -> Iterator[None]:
        """While a name is being found for a run, no other one is."""
        with self._lock:
            yield

    def queue(self, name: str, words: list[str]) -> None:
        """`duomo WORDS` for this run, as soon as no other one trains."""
        with self._lock:
            self._keep({"name": name, "words": words, "language": language(), "at": time.time(), "pid": 0, "born": 0.0, "done": False})

    def pause(self, name: str) -> None:
        """Ctrl-C for it: what is under way is saved, and it can go on later. A waiting one is taken off the queue."""
        with self._lock:
            job = self.job(name)
            process = self._process(job)
            self._ours(name)
            if process is None and self.state(name) != "queued":
                raise RunError("The run {name!r} is not training, so there is nothing to pause.", name=name)
            self._keep(job | {"done": True})
            if process is not None:
                process.send_signal(signal.SIGINT)

    def stop(self, name: str) -> None:
        """End it for good: politely at first."""
        with self._lock:
            self._ours(name)
            job = self.job(name)
            process = self._process(job)
            if job:
                self._keep(job | {"done": True})
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            with suppress(psutil.TimeoutExpired):
                self._wait(name, process)
                return
            process.kill()
            self._wait(name, process)

    def _ours(self, name: str) -> None:
        if self.elsewhere(name):
            raise RunError("The run {name!r} was started in a terminal. Press Ctrl-C there: it saves its progress and pauses.", name=name)

    def _wait(self, name: str, process: psutil.Process) -> None:
        child = self._children.get(name)
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until:
            if (child.poll() is not None) if child else not process.is_running():
                return
            time.sleep(0.05)
        raise psutil.TimeoutExpired(STOP_SECONDS)

    # -- what is
    def state(self, name: str) -> str:
        """queued, running, paused (also before anything was begun), failed (the log says why), finished."""
        job, path = self.job(name), self.place.runs / name
        if (path / "manifest.json").is_file():
            return "finished"
        if self._process(job) is not None:
            return "running"
        if job and not job["pid"] and not job["done"]:
            return "queued"
        if self.elsewhere(name):
            return "running"
        problem = self.told(name)["problem"] if job else ""
        return "failed" if problem or not (job.get("done") or (path / "run.json").is_file()) else "paused"

    def lapse(self, name: str) -> str:
        """Why a run stands still that nobody has paused here; empty where somebody has."""
        job = self.job(name)
        if not job:
            return tr("It stopped before it had finished. It can go on from what it saved last.")
        if job["done"] or self.told(name)["interrupted"]:
            return ""
        return tr("It was ended from outside, for example because memory ran out or the machine was switched off. "
                  "It can go on from what it saved last.")  # fmt: skip

    def ahead(self, name: str) -> int:
        """How many runs come before this one; 0 where it does not wait."""
        if self.state(name) != "queued":
            return 0
        at = float(self.job(name)["at"])
        jobs = [job for job in map(self.job, self.names()) if job]
        return sum(self._process(job) is not None or (not job["pid"] and not job["done"] and float(job["at"]) < at) for job in jobs)

    def told(self, name: str) -> dict[str, Any]:
        """What its process said: messages, the newest progress, the preflight's sentence, and its error if it ended with one."""
        messages: list[str] = []
        progress: dict[str, Any] | None = None
        problem, preflight, interrupted = "", "", False
        begins = tuple(one.partition("{")[0] for one in (PREFLIGHT, chinese()[PREFLIGHT]))  # in whichever language it was started
        for line in _lines(self.place.jobs / f"{plain_name(name)}.jsonl"):
            if line.get("event") == "progress":
                progress = line
            elif line.get("event") == "message":
                messages.append(retold(str(line["text"])))
                preflight = messages[-1] if str(line["text"]).startswith(begins) else preflight
            elif line.get("event") == "start":
                problem, progress, interrupted = "", None, False
            elif "error" in line:
                interrupted = line["error"] == "Interrupted"
                messages.append(retold(str(line.get("message", ""))))
                problem = "" if interrupted else messages[-1]
        return {"messages": messages[-200:], "progress": progress, "preflight": preflight, "problem": problem, "interrupted": interrupted}

    def _process(self, job: Mapping[str, Any]) -> psutil.Process | None:
        """Its process, if it lives."""
        if not job or not job["pid"]:
            return None
        child = self._children.get(job["name"])
        if child is not None and child.pid == job["pid"] and child.poll() is not None:
            return None
        return living(job["pid"], job["born"])

    # -- the queue
    def _watch(self) -> None:
        """Of several studios in one folder, the first starts what waits; when it closes, another does."""
        with (self.place.jobs / ".lock").open("w") as file:
            while not self._closed.wait(POLL_SECONDS):
                with suppress(OSError):  # another has it; or the disk is full, and what waits is tried again
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._next()

    def _next(self) -> None:
        with self._lock:
            jobs = [job for job in map(self.job, self.names()) if job]
            if any(self._process(job) is not None for job in jobs):
                return
            waiting = [job for job in jobs if not job["pid"] and not job["done"]]
            if waiting:
                self._start(min(waiting, key=lambda job: float(job["at"])))

    def _start(self, job: dict[str, Any]) -> None:
        environment = {**os.environ, "DUOMO_LANG": job["language"], "PYTHONUNBUFFERED": "1"}
        with (self.place.jobs / f"{job['name']}.jsonl").open("ab") as log:
            log.write(b'{"event": "start"}\n')
            log.flush()
            child = subprocess.Popen(
                [sys.executable, "-m", "duomo.cli", *job["words"], "--json"], cwd=self.place.root, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._children[job["name"]] = child
        with suppress(psutil.NoSuchProcess):
            self._keep(job | {"pid": child.pid, "born": psutil.Process(child.pid).create_time()})


def living(pid: int, born: float) -> psutil.Process | None:
    """The process of that number, where it lives and began then: numbers are given anew."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - born) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except NoSuchProcess:
        return None
    return process if same else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a log's last megabytes; what is no JSON (a traceback) comes as an error."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LONGEST_LOG))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
