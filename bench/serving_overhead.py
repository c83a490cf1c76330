"""JSON predict of a linear model: our server beside LitServe with the same model, in the same run.

    python bench/serving_overhead.py [--seconds 4] [--rounds 3]

Both answer one row of the breast-cancer sample with the same `Run.answers`; both are asked by the same plain socket client over one
connection, then over sixteen. The model's own time is measured in this process. LitServe runs as its documentation starts it, and once
with its batching; the faster of the two counts. Rounds alternate; medians are shown. Needs `pip install litserve` (extra `bench`).
"""

import asyncio
import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duomo
from common import command_line
from duomo import samples
from duomo.serve.rows import table_of

PEER = """
import sys
import litserve as ls
import duomo
from duomo.serve.rows import table_of

class API(ls.LitAPI):
    def setup(self, device):
        self.run = duomo.load(sys.argv[1])
        self.columns = {name: self.run.facts["kinds"][name] for name in self.run.facts["features"]}
    def decode_request(self, request):
        return request["rows"]
    def predict(self, rows):
        batched = rows and isinstance(rows[0], list)
        flat = [row for one in rows for row in one] if batched else rows
        columns = self.run.answers(table_of(flat, self.columns))
        answers = [dict(zip(columns, row)) for row in zip(*columns.values())]
        return [[answer] for answer in answers] if batched else answers
    def encode_response(self, answers):
        return {"answers": answers}

if __name__ == "__main__":
    size = int(sys.argv[3])
    api = API(max_batch_size=size, batch_timeout=0.002) if size > 1 else API()
    ls.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
"""


async def client(port: int, request: bytes, seconds: float, took: list[float], sign: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    until = time.perf_counter() + seconds
    while (start := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        body = await reader.readexactly(size)
        if not head.startswith(b"HTTP/1.1 200") or sign not in body:
            raise SystemExit((head + body).decode())
        took.append(time.perf_counter() - start)
    writer.close()


def asked(port: int, route: str, body: bytes, connections: int, seconds: float, sign: bytes = b"answers") -> tuple[float, float, float]:
    """Requests a second, median and 99th percentile in milliseconds."""
    head = f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    took: list[float] = []

    async def all_of_them() -> None:
        await asyncio.gather(*(client(port, head.encode() + body, seconds, took, sign) for _ in range(connections)))

    asyncio.run(all_of_them())
    took.sort()
    return len(took) / seconds, 1000 * statistics.median(took), 1000 * took[int(0.99 * len(took))]


class Peer:
    """A server as a process, up once it answers."""

    def __init__(self, command: list[str], port: int, route: str, body: bytes, threads: int = 1, sign: bytes = b"answers"):
        self.port, self.route, self.body = port, route, body
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        for _ in range(1200):
            try:
                start = time.perf_counter()
                asked(port, route, body, 1, 0.05, sign)
                self.spent = time.perf_counter() - start
                """Seconds of the requests that proved it up: they go on for a moment after the first."""
                return
            except (OSError, SystemExit, asyncio.IncompleteReadError) as error:
                why = error
                time.sleep(0.05)
        raise SystemExit(f"{command} did not come up: {why!r}")

    def measure(self, connections: int, seconds: float) -> tuple[float, float, float]:
        asked(self.port, self.route, self.body, connections, 0.5)
        return asked(self.port, self.route, self.body, connections, seconds)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)


def own_time(run: duomo.Run, rows: list[dict[str, float]]) -> float:
    """Median milliseconds of the model alone: its table is made already."""
    table = table_of(rows, {name: run.facts["kinds"][name] for name in run.facts["features"]})
    took = []
    for _ in range(500):
        start = time.perf_counter()
        run.answers(table)
        took.append(time.perf_counter() - start)
    return 1000 * statistics.median(took)


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = samples.write("clinic", Path(folder))
        settings = {"model": {"name": "linear"}, "train": {"epochs": 5.0, "exact": True}}
        run = duomo.train(source, settings, target="diagnosis", out=Path(folder) / "clinic")
        with source.open(encoding="utf-8") as file:
            row = {name: float(value) for name, value in next(csv.DictReader(file)).items() if name != "diagnosis"}
        body = json.dumps({"rows": [row]}).encode()
        script = Path(folder) / "peer.py"
        script.write_text(PEER, encoding="utf-8")
        serve = [sys.executable, "-m", "duomo.cli", "serve", str(run.path), "--quiet", "--port"]
        peers = {
            "duomo": lambda: Peer([*serve, "8931"], 8931, "/v1/predict/clinic", body),
            "LitServe": lambda: Peer([sys.executable, str(script), str(run.path), "8932", "1"], 8932, "/predict", body),
            "LitServe, batches of 16": lambda: Peer([sys.executable, str(script), str(run.path), "8933", "16"], 8933, "/predict", body),
        }
        found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        alone = []
        for _ in range(options.rounds):
            alone.append(own_time(run, [row]))
            for name, start in peers.items():
                peer = start()
                for connections in (1, 16):
                    found.setdefault((name, connections), []).append(peer.measure(connections, options.seconds))
                peer.stop()
    return report(found, statistics.median(alone))


def report(found: dict[tuple[str, int], list[tuple[float, float, float]]], alone: float) -> int:
    middle = {key: tuple(statistics.median(column) for column in zip(*values, strict=True)) for key, values in found.items()}
    print(f"the model alone: {alone:.3f} ms")
    print(f"{'server':26} {'clients':>7} {'requests/s':>11} {'median ms':>10} {'p99 ms':>8}")
    for (name, connections), (rate, median, last) in middle.items():
        print(f"{name:26} {connections:7} {rate:11.0f} {median:10.3f} {last:8.2f}")
    overhead = middle["duomo", 1][1] - alone
    held = overhead <= 1
    print(f"overhead at one client: {overhead:.3f} ms (bar 1) {'holds' if held else 'FAILS'}")
    for connections in (1, 16):
        best = max(rate for (name, clients), (rate, _, _) in middle.items() if clients == connections and name != "duomo")
        ratio = middle["duomo", connections][0] / best
        held &= ratio >= 1.5
        print(f"{connections} clients: {ratio:.2f} times LitServe (bar 1.5) {'holds' if ratio >= 1.5 else 'FAILS'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
