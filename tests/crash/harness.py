"""Trains small runs in forked processes, kills, stops and damages them, and compares what they end with, bit by bit.

    python harness.py kills --count 200 [--variant in-place]     python harness.py signals --count 100
    python harness.py mutations --count 1000                     python harness.py disk --count 20
    python harness.py memory

Prints one JSON object. A fork from a process that has everything imported starts in a few milliseconds.
"""

import argparse
import hashlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorboardX  # noqa: F401  imported before the forks
import torch

sys.path.insert(0, str(Path(__file__).parent))
import broken
import toy

from duomo.core.errors import DuomoError
from duomo.core.reporter import Silent
from duomo.train import loop
from duomo.train.checkpoint import Checkpoints

PHASES = ("start", "step", "save", "rotation", "resume", "log", "evaluation", "end")
SETTING = {"steps": 10, "evaluate_steps": 5, "checkpoint_steps": 1, "ema": 0.9}
CAUGHT_ENDS = "--until-caught" in sys.argv
"""For controls: end with the first broken run."""
SHARED = mmap.mmap(-1, 16)
"""Byte 0: the phase that the child is in. Byte 1: steps that it has done."""


class Phase:
    """Marks what the child is doing while a function runs."""

    def __init__(self, name: str):
        self.name = name

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            before, SHARED[0] = SHARED[0], PHASES.index(self.name)
            try:
                return function(*arguments, **named)
            finally:
                SHARED[0] = before

        return call


class SlowFile:
    """A file on a slow disk: what is written arrives in pieces."""

    def __init__(self, file: Any, seconds: float):
        self.file, self.seconds = file, seconds

    def write(self, data: Any) -> None:
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        piece = max(1, -(-len(view) // 3))
        for start in range(0, len(view), piece):
            self.file.write(view[start : start + piece])
            self.file.flush()
            time.sleep(self.seconds)

    def flush(self) -> None:
        self.file.flush()

    def fileno(self) -> int:
        return self.file.fileno()

    def __enter__(self) -> "SlowFile":
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()


def slow_disk(seconds: float) -> None:
    """Makes writes, syncs, renames, removals and reads of the child slow, so that random moments lie inside them."""
    real_open, real_read = Path.open, Path.read_bytes

    def opened(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = real_open(self, mode, *rest, **named)
        return SlowFile(file, seconds) if mode in ("wb", "xb", "ab") else file

    def late(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            time.sleep(seconds)
            return function(*arguments, **named)

        return call

    Path.open = opened  # type: ignore[method-assign, assignment]
    Path.read_bytes = late(real_read)  # type: ignore[method-assign]
    for name in ("fsync", "rename", "replace", "unlink", "rmdir", "truncate"):
        setattr(os, name, late(getattr(os, name)))


def instrument() -> None:
    kind = loop.Checkpoints
    kind.save, kind.load = Phase("save").around(kind.save), Phase("resume").around(kind.load)  # type: ignore[method-assign]
    if kind is Checkpoints:
        kind._rotate = Phase("rotation").around(kind._rotate)  # type: ignore[method-assign]
    loop.Log.flush = Phase("log").around(loop.Log.flush)  # type: ignore[method-assign]
    training = loop._Training
    training._evaluate = Phase("evaluation").around(training._evaluate)  # type: ignore[method-assign]
    real = training._update

    def counted(self: Any, rate: float) -> None:
        real(self, rate)
        SHARED[1] = self.step

    training._update = counted  # type: ignore[method-assign]


def boundless() -> None:
    """What the harness itself has to say is no file of the run."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def child(folder: Path, variant: str, slow: float, limit: Callable[[], None] | None, changed: dict[str, Any]) -> int:
    os.dup2(os.open(folder.with_suffix(".out"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    os.dup2(1, 2)
    torch.set_num_threads(1)
    told = Silent()
    try:
        broken.VARIANTS[variant]()
        instrument()
        width = changed.pop("width", 32)
        made = toy.job(folder, toy.config(**(SETTING | changed)), width=width)
        if slow:
            slow_disk(slow)
        if limit:
            limit()
        SHARED[0] = PHASES.index("step")
        outcome = loop.train(made, told)
        SHARED[0] = PHASES.index("end")
        weights = {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in made.model.state_dict().items()}
        result = {"weights": weights, "history": outcome.history, "best": outcome.best, "best_step": outcome.best_step}
        (folder / "result.json").write_text(json.dumps(result))
    except DuomoError as error:
        boundless()
        print(type(error).__name__, error, flush=True)
        return error.exit_code
    finally:
        boundless()
        print("\n".join(told.said), flush=True)
    return 0


def fork(folder: Path, variant: str = "", slow: float = 0.0, limit: Callable[[], None] | None = None, **changed: Any) -> int:
    """Process id of a child that trains (or continues) in `folder`."""
    SHARED[0] = SHARED[1] = 0
    number = os.fork()
    if number:
        return number
    code = 99
    try:
        code = child(folder, variant, slow, limit, changed)
    except BaseException:  # noqa: BLE001  the child ends here whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(number: int, seconds: float = 120.0) -> int:
    """Exit code; 137 when killed; -1 when it hung."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        time.sleep(0.001)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return -1


def fingerprint(folder: Path) -> dict[str, str]:
    """Sums of all that must be equal: log, result (kept weights, metrics), and weights, optimizer and average of the last checkpoint."""
    files = [folder / "log.jsonl", folder / "result.json"]
    last = sorted((folder / "checkpoints").glob("[sl]*"))[-1:]
    files += sorted(last[0].glob("*.safetensors")) if last else []
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def reference(base: Path, variant: str, slow: float) -> tuple[dict[str, str], float]:
    folder = base / "whole"
    start = time.monotonic()
    assert wait(fork(folder, variant, slow)) == 0, folder.with_suffix(".out").read_text()
    return fingerprint(folder), time.monotonic() - start


def kills(base: Path, count: int, variant: str, seed: int) -> dict[str, Any]:
    """kill -9 at random moments, one or two in each run, then to the end; every run must end as the uninterrupted one."""
    draw, slow = random.Random(seed), 0.0005
    expected, seconds = reference(base, variant, slow)
    where: Counter[str] = Counter()
    runs = crashed = different = done = 0
    while done < count and not (CAUGHT_ENDS and crashed + different):
        folder = base / f"run{runs}"
        runs += 1
        for session in range(draw.choice((1, 2))):
            number = fork(folder, variant, slow)
            moment = seconds * draw.random() if session == 0 else 0.05 * seconds * draw.random()
            while SHARED[0] == 0:
                time.sleep(0.0005)
            time.sleep(moment)
            phase = PHASES[SHARED[0]]
            os.kill(number, signal.SIGKILL)
            wait(number)
            if phase != "end":
                done += 1
                where[phase] += 1
        code = wait(fork(folder, variant, slow))
        crashed += code != 0
        different += code == 0 and fingerprint(folder) != expected
        shutil.rmtree(folder, ignore_errors=True)
    inside = sum(where[name] for name in ("save", "rotation", "resume", "log"))
    return {"kills": done, "runs": runs, "crashed": crashed, "different": different, "where": dict(where), "inside": inside}


def mutate(path: Path, draw: random.Random) -> str:
    """Damage one file of a checkpoint; what was done."""
    files = sorted(file for file in path.iterdir())
    file = draw.choice(files)
    data = bytearray(file.read_bytes())
    kind = draw.choice(("truncated", "flipped", "zeroed", "zeroed block", "missing", "torn", "longer", "older"))
    if kind == "missing":
        file.unlink()
        return f"{file.name} {kind}"
    place = draw.randrange(len(data))
    if kind == "truncated":
        data = data[:place]
    elif kind == "flipped":
        data[place] ^= 1 << draw.randrange(8)
    elif kind == "zeroed":
        data = bytearray(len(data))
    elif kind == "zeroed block":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif kind == "torn":
        data[place:] = draw.randbytes(len(data) - place)
    elif kind == "longer":
        data += draw.randbytes(draw.randrange(1, 99))
    else:
        older = sorted(path.parent.glob("step-*"))[0] / file.name
        data = bytearray(older.read_bytes()) if older.is_file() else data[:-1]
    if bytes(data) == file.read_bytes():
        data[place] ^= 0xFF
        kind = "flipped"
    file.write_bytes(bytes(data))
    return f"{file.name} {kind}"


def mutations(base: Path, count: int, variant: str, seed: int) -> dict[str, Any]:
    """Each damaged newest checkpoint must be named and the one before taken; every 25th run is also trained to its end."""
    draw = random.Random(seed)
    expected, _ = reference(base, "", 0.0)
    silent = wrong = different = trained = 0
    kinds: Counter[str] = Counter()
    for number in range(count):
        folder = base / "mutated"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base / "whole", folder)
        newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
        kinds[mutate(newest, draw).partition(" ")[2]] += 1
        said: list[str] = []
        if number % 25 == 0:
            trained += 1
            different += wait(fork(folder)) != 0 or fingerprint(folder) != expected
            said = [(folder.with_suffix(".out")).read_text()]
            folder.with_suffix(".out").unlink()
            wrong += "step-00000009" not in said[0]
        else:
            found = Checkpoints(folder, said.append).load()
            wrong += found is None or found.step != 9
        silent += "damaged" not in " ".join(said)
    return {"mutations": count, "silent": silent, "wrong": wrong, "trained": trained, "different": different, "kinds": dict(kinds)}


def disk(base: Path, count: int, variant: str, seed: int) -> dict[str, Any]:
    """A disk that takes no more (a limit on file size) while saving: exit code 5, a whole checkpoint stays, the run can be finished."""
    draw = random.Random(seed)
    expected, _ = reference(base, "", 0.0)
    bad = different = refused = 0
    for number in range(count):
        folder = base / f"full{number}"
        size = draw.randrange(100, 800 if number % 2 else 40_000)  # the small ones also stop the logs
        code = wait(fork(folder, limit=lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))))
        bad += code not in (0, 5)
        refused += code == 5
        different += wait(fork(folder)) != 0 or fingerprint(folder) != expected
        shutil.rmtree(folder)
    return {"disks": count, "bad": bad, "refused": refused, "different": different}


def signals(base: Path, count: int, variant: str, seed: int) -> dict[str, Any]:
    """SIGINT or SIGTERM at random moments: exit code 130 soon, a good checkpoint at most one step old, the same end after resuming."""
    draw, slow = random.Random(seed), 0.0005
    expected, seconds = reference(base, "", slow)
    where: Counter[str] = Counter()
    bad = lost = different = done = 0
    slowest = 0.0
    while done < count:
        folder = base / "stopped"
        shutil.rmtree(folder, ignore_errors=True)
        every = draw.choice((1, 4, 100))
        number = fork(folder, "", slow, checkpoint_steps=every)
        while SHARED[0] in (0, PHASES.index("resume")):
            time.sleep(0.0005)
        time.sleep(draw.random() * seconds * (0.8 if every == 1 else 0.15))
        phase, steps = PHASES[SHARED[0]], SHARED[1]
        if phase == "end":
            wait(number)
            continue
        os.kill(number, draw.choice((signal.SIGINT, signal.SIGTERM)))
        start = time.monotonic()
        code = wait(number)
        slowest = max(slowest, time.monotonic() - start)
        done += 1
        where[phase] += 1
        bad += code not in (0, 130)
        found = Checkpoints(folder, lambda sentence: None).load()
        lost += found is None or found.step < max(steps, SHARED[1]) - 1
        different += wait(fork(folder, checkpoint_steps=every)) != 0 or fingerprint(folder) != expected
    return {"signals": done, "bad": bad, "lost": lost, "different": different, "slowest": round(slowest, 2), "where": dict(where)}


def memory(base: Path, count: int, variant: str, seed: int) -> dict[str, Any]:
    """A limit on the address space: a step of 1,200 rows fails with exit code 5 and the setting that fits; with it the run ends."""

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        room = pages * os.sysconf("SC_PAGE_SIZE") + 800_000_000
        resource.setrlimit(resource.RLIMIT_AS, (room, room))

    folder, large = base / "large", {"width": 100_000, "batch_size": 1200, "steps": 2, "ema": 0.0, "evaluate_steps": 2}
    first = wait(fork(folder, limit=limit, **large))
    said = folder.with_suffix(".out").read_text()
    found = Checkpoints(folder, lambda sentence: None).load()
    second = wait(fork(folder, limit=limit, **large, accumulate=16))
    named = "train.accumulate=2" in said
    said = folder.with_suffix(".out").read_text()
    return {"first": first, "named": named, "kept": found is not None, "second": second, "said": said}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("kills", "mutations", "disk", "signals", "memory"))
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--variant", default="", choices=tuple(broken.VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until-caught", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    toy._data()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        function = {"kills": kills, "mutations": mutations, "disk": disk, "signals": signals, "memory": memory}[given.what]
        print(json.dumps(function(Path(folder), given.count, given.variant, given.seed)))


if __name__ == "__main__":
    main()
