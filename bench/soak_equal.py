"""Whether served answers equal `predict` to the last digit: every task and every model, batched or alone, by every way that answers come.

    python bench/soak_equal.py [--only clinic,novel] [--keep FOLDER]

Each run of bench/equal_runs.py is trained for seconds and asked the same rows: all at once (the measure), one by one, in another order,
among others, as a frame; through `duomo predict` as CSV, JSON lines and one `--row`; from a server alone, all rows in a request, uploaded,
and with eight clients at the same time. Of runs that write OpenAI's routes too: streamed or not, alone or with others, and again with the
same seed. Last, a long `predict` is killed in the middle and started again. Compared is what is printed. Exits with 1 where anything
differs, or where a control (one digit changed) is not caught.
"""

import csv
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.serve.harness import Server
from tests.serve.test_equal import wire

import duomo
from common import command_line
from duomo.core.contract import EncoderDecoder
from duomo.core.errors import DuomoError
from duomo.core.table import MEDIA
from duomo.data.outputs import defused, flat
from duomo.decode.engine import Writer
from equal_runs import CASES, Case, Rows

ASKED, SLOW, CLIENTS = 24, 10, 8
"""Rows that a run is asked, and one that writes; clients at the same time."""
Answers = list[dict[str, Any]]
Differs = Iterator[tuple[str, int, Any, Any]]
"""By which way, at which row, what was expected, what came."""


def told(value: Any) -> str:
    """As it is printed."""
    return json.dumps(value, ensure_ascii=False)


def unlike(way: str, expected: Sequence[Any], found: Sequence[Any]) -> Differs:
    if len(expected) != len(found):
        yield way, -1, len(expected), len(found)
    for row, (one, other) in enumerate(zip(expected, found, strict=False)):
        if told(one) != told(other):
            names = (
                [name for name in one if told(one[name]) != told(other.get(name))]
                if isinstance(other, dict) and isinstance(one, dict)
                else []
            )
            yield way, row, {name: one[name] for name in names} or one, {name: other.get(name) for name in names} or other


class Asked:
    """A trained run and the rows that it is asked."""

    def __init__(self, case: Case, run: duomo.Run, source: Path):
        self.run, table = duomo.load(run.path), run.table(source)
        features, kinds = [name for name in run.facts["features"] if name in table.names], table.kinds
        rows = table.data.select(features).to_pylist()
        count = SLOW if self.run.task.writes or isinstance(self.run.model, EncoderDecoder) else ASKED
        rows = case.asked(rows[:: max(1, len(rows) // count)][:count])
        keep = ~self.run.task.too_long(self.run.table(self._opened(rows, kinds, table.root)))
        self.rows = [row for row, kept in zip(rows, keep, strict=True) if kept]
        self.slow = count == SLOW
        self.media = [name for name in features if kinds[name] in MEDIA]
        self.root, self.opened = table.root, self._opened(self.rows, kinds, table.root)
        self.expected: Answers = json.loads(told(self.run.predict(self.opened)))

    @staticmethod
    def _opened(rows: Rows, kinds: Mapping[str, str], root: Path | None) -> Rows:
        """Files as their bytes."""
        return [{name: (Path(root or ".") / cell).read_bytes() if kinds.get(name) in MEDIA and isinstance(cell, str) else cell
                 for name, cell in row.items()} for row in rows]  # fmt: skip

    @property
    def wired(self) -> Rows:
        return [{name: wire(cell) for name, cell in row.items()} for row in self.opened]


# -- in this process
def in_process(asked: Asked) -> Differs:
    def answers(rows: Rows) -> Answers:
        found: Answers = json.loads(told(asked.run.predict(rows)))
        return found

    rows, expected = asked.opened, asked.expected
    yield from unlike("one by one", expected, [answers([row])[0] for row in rows])
    order = random.Random(0).sample(range(len(rows)), len(rows))
    yield from unlike("in another order", [expected[place] for place in order], answers([rows[place] for place in order]))
    yield from unlike("twice", expected * 2, answers(rows * 2))
    frame = asked.run.predict(pd.DataFrame(rows))
    yield from unlike("as a frame", [dict(zip(one, flat(one.values()), strict=True)) for one in expected],
                      [{name: plain(cell) for name, cell in row.items()} for row in frame.to_dict("records")])  # fmt: skip


def plain(cell: Any) -> Any:
    return None if isinstance(cell, float) and math.isnan(cell) else cell


# -- by the command line
def duomo_command(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "duomo", *words], capture_output=True, encoding="utf-8", env=os.environ | {"DUOMO_LANG": "en"}
    )
    if done.returncode:
        raise RuntimeError(f"duomo {' '.join(words)[:200]}: {done.stderr[-500:]}")
    return done.stdout


def by_command(asked: Asked, folder: Path) -> Differs:
    root = Path(asked.root) if asked.root and asked.media else folder
    shown = [{name: value for name, value in answer.items() if name != "probabilities"} for answer in asked.expected]
    names = {name: f"{name}_2" if name in asked.rows[0] else name for name in shown[0]}
    lines, out = root / "asked.jsonl", folder / "told.jsonl"
    lines.write_text("".join(told(row) + "\n" for row in asked.rows), encoding="utf-8")
    duomo_command("predict", str(asked.run.path), str(lines), "--out", str(out))
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    yield from unlike("JSON lines", shown, [{name: row[written] for name, written in names.items()} for row in found])
    if not any(isinstance(cell, list) for row in asked.rows for cell in row.values()):
        table, out = root / "asked.csv", folder / "told.csv"
        pd.DataFrame(asked.rows).to_csv(table, index=False)
        duomo_command("predict", str(asked.run.path), str(table), "--out", str(out))
        cells = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"), newline="")))
        expected = [
            {name: "" if value is None else str(defused(value)) for name, value in zip(row, flat(row.values()), strict=True)}
            for row in shown
        ]
        yield from unlike("CSV", expected, [{name: row[written] for name, written in names.items()} for row in cells])
    if not asked.media:
        printed = duomo_command("predict", str(asked.run.path), "--row", told(asked.rows[0]), "--json")
        yield from unlike("--row", asked.expected[:1], [json.loads(printed)])


# -- from a server
def served(asked: Asked, server: Server) -> Differs:
    path, rows, expected = f"/v1/predict/{asked.run.path.name}", asked.wired, asked.expected

    def ask(client: httpx.Client, some: Rows) -> list[Any]:
        got = client.post(path, json={"rows": some})
        return got.json()["answers"] if got.status_code == 200 else [got.text] * len(some)

    def one_of_many(number: int) -> list[tuple[str, int, Any, Any]]:
        chance, found = random.Random(number), list[tuple[str, int, Any, Any]]()
        with server.client() as client:
            for place in chance.sample(range(len(rows)), len(rows) // 2 if asked.slow else len(rows)):
                size = chance.choice((1, 1, 1, 2, 5))
                found += unlike(f"{CLIENTS} clients", expected[place : place + size], ask(client, rows[place : place + size]))
        return found

    with server.client() as client:
        yield from unlike("a request for each row", expected, [ask(client, [row])[0] for row in rows])
        yield from unlike("one request", expected, ask(client, rows))
        if asked.media:
            got = [client.post(path, **uploaded(row, asked.media)).json() for row in asked.opened]
            yield from unlike("uploaded", expected, [one["answers"][0] if "answers" in one else one for one in got])
        yield from of_a_long_text(asked, client)
        yield from others(asked, client)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for found in clients.map(one_of_many, range(CLIENTS)):
            yield from found


def uploaded(row: Mapping[str, Any], media: Sequence[str]) -> dict[str, Any]:
    data = {name: cell if isinstance(cell, str) else told(cell) for name, cell in row.items() if name not in media}
    return {"data": data, "files": {name: (name, row[name]) for name in media}}


def of_a_long_text(asked: Asked, client: httpx.Client) -> Differs:
    """Answered or refused in the same words."""
    row = asked.rows[0]
    if any(not isinstance(cell, str) for cell in row.values()) or asked.media:
        return
    row = {name: cell * (1 + 4000 // max(1, len(cell))) for name, cell in row.items()}
    try:
        expected = asked.run.predict([row])[0]
    except DuomoError as error:
        expected = str(error)
    got = client.post(f"/v1/predict/{asked.run.path.name}", json={"rows": [row]}).json()
    yield from unlike("a long text", [expected], [got["answers"][0] if "answers" in got else got["error"]["message"]])


def others(asked: Asked, client: httpx.Client) -> Differs:
    """OpenAI's routes for runs that do not write."""
    model, task = asked.run.path.name, asked.run.facts["task"]
    if task == "embed":
        texts = [next(iter(row.values())) for row in asked.rows]
        got = client.post("/v1/embeddings", json={"model": model, "input": texts[:16]}).json()["data"]
        yield from unlike("embeddings", [one["prediction"] for one in asked.expected[:16]], [one["embedding"] for one in got])
    if task == "transcribe":
        got = [client.post("/v1/audio/transcriptions", data={"model": model}, files={"file": ("a.ogg", row[asked.media[0]])}).json()["text"]
               for row in asked.opened]  # fmt: skip
        yield from unlike("transcriptions", [one["prediction"] for one in asked.expected], got)


# -- OpenAI's routes of runs that write
WAYS: tuple[dict[str, Any], ...] = (
    {"temperature": 0}, {"seed": 7}, {"seed": 8, "temperature": 1.3, "top_p": 0.8}, {"seed": 9, "frequency_penalty": 0.7, "n": 2},
    {"seed": 10, "stop": ["e", "，"]},
)  # fmt: skip


def heard(client: httpx.Client, path: str, body: Mapping[str, Any]) -> list[Any]:
    """Of each choice its text, why it ended, and the log-probabilities of its tokens, streamed or not."""
    found: list[Any] = [["", None, []] for _ in range(body.get("n", 1))]
    got = client.post(path, json=dict(body))
    if got.status_code != 200:
        return [got.text]
    parts = [json.loads(line[6:]) for line in got.text.splitlines() if line.startswith("data: {")] if body.get("stream") else [got.json()]
    for choice in (choice for part in parts for choice in part["choices"]):
        held = found[choice["index"]]
        held[0] += (choice.get("text") or (choice.get("delta") or choice.get("message") or {}).get("content")) or ""
        held[1] = choice["finish_reason"] or held[1]
        logprobs = choice.get("logprobs") or {}
        held[2] += logprobs.get("content") or list(
            zip(*(logprobs.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")), strict=True)
        )
    return found


def written(asked: Asked, server: Server) -> Differs:
    name, chat = asked.run.path.name, asked.run.facts["task"] == "chat"
    path, bodies = "/v1/chat/completions" if chat else "/v1/completions", list[dict[str, Any]]()
    texts = [next(iter(row.values())) for row in asked.rows]
    for text in texts[:6]:
        told_so = {"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text}
        logprobs = {"logprobs": True, "top_logprobs": 3} if chat else {"logprobs": 3}
        bodies += [{"model": name, "max_tokens": 12, **told_so, **logprobs, **way} for way in WAYS]
    with server.client() as client:
        alone = [heard(client, path, body) for body in bodies]
        yield from unlike("OpenAI, again", alone, [heard(client, path, body) for body in reversed(bodies)][::-1])
        yield from unlike("OpenAI, streamed", alone, [heard(client, path, body | {"stream": True}) for body in bodies])
        silent = [heard(client, path, {name: value for name, value in body.items() if "logprobs" not in name}) for body in bodies]
        yield from unlike(
            "OpenAI, without log-probabilities",
            [[one[:2] for one in found] for found in alone],
            [[one[:2] for one in found] for found in silent],
        )
        if isinstance(asked.run.task, Writer) and asked.run.task.sampling.temperature == 0:
            yield from unlike("OpenAI and predict", [one["prediction"] for one in asked.expected[:6]],
                              [found[0][0].strip() if chat else found[0][0] for found in alone[:: len(WAYS)]])  # fmt: skip

    def one_of_many(number: int) -> list[tuple[str, int, Any, Any]]:
        order = random.Random(number).sample(range(len(bodies)), len(bodies))
        with server.client() as client:
            got = [heard(client, path, bodies[place] | {"stream": number % 2 == 1}) for place in order]
        return list(unlike(f"OpenAI, {CLIENTS} clients", [alone[place] for place in order], got))

    with ThreadPoolExecutor(CLIENTS) as clients:
        for found in clients.map(one_of_many, range(CLIENTS)):
            yield from found


# -- a long predict that is killed
def killed(asked: Asked, folder: Path, suffix: str) -> Differs:
    """Three parts of rows; killed when the first is there, and again in the second."""
    long, whole, broken = folder / "long.jsonl", folder / f"whole{suffix}", folder / f"broken{suffix}"
    lines = [told(row) + "\n" for row in asked.rows]
    long.write_text("".join(lines[number % len(lines)] for number in range(150_000)), encoding="utf-8")
    duomo_command("predict", str(asked.run.path), str(long), "--out", str(whole))
    parts, kills = broken.with_name(f".{broken.name}.parts"), 0
    while kills < 2:
        process = subprocess.Popen([sys.executable, "-m", "duomo", "predict", str(asked.run.path), str(long), "--out", str(broken)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        while process.poll() is None and not (len(list(parts.glob(f"0*{suffix}"))) > kills and (parts / "unfinished").exists()):
            time.sleep(0.01)
        if process.poll() is not None:
            yield f"killed, {suffix}", -1, "a kill in the middle", "the whole file at once"
            return
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    duomo_command("predict", str(asked.run.path), str(long), "--out", str(broken))
    yield from unlike(f"killed, {suffix}", [whole.read_bytes().hex()], [broken.read_bytes().hex()])


class Book:
    """What was found."""

    def __init__(self) -> None:
        self.cases = self.ways = self.wrong = 0

    def note(self, name: str, spent: float, found: Sequence[tuple[str, int, Any, Any]]) -> None:
        self.cases, self.wrong = self.cases + 1, self.wrong + bool(found)
        ways = ", ".join(dict.fromkeys(way for way, *_ in found))
        print(f"{'DIFFERS' if found else 'equal':7}  {name} ({spent:.0f} s){': ' + ways if found else ''}", flush=True)
        for way, row, expected, came in found[:4]:
            print(f"         {way}, row {row}: {told(expected)[:300]}\n{'':9}came {told(came)[:300]}", flush=True)


def check(name: str, case: Case, place: Path) -> list[tuple[str, int, Any, Any]]:
    folder = place / "data" / name.replace(" ", "_")
    folder.mkdir(parents=True)
    source, out = case.source(folder), place / "runs" / name.replace(" ", "_")
    run = duomo.train(source, case.settings(place / "runs"), target=case.target, out=out)
    asked = Asked(case, run, source)
    found = [*in_process(asked), *by_command(asked, folder)]
    server = Server([run.path], "--quiet", log=folder / "log")
    try:
        found += served(asked, server)
        if run.facts["task"] in ("generate", "chat"):
            found += written(asked, server)
    finally:
        server.stop()
    if name == "clinic":
        for suffix in (".csv", ".jsonl", ".parquet"):
            found += killed(asked, folder, suffix)
        changed = [{**one, "confidence": round(one["confidence"] + 1e-9, 12)} for one in asked.expected]
        if not list(unlike("control", changed, asked.expected)):
            found.append(("control", 0, "a changed digit is caught", "it was not"))
    return found


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--only", default="", help="names of runs, with commas; what they go on from comes with them")
    parser.add_argument("--keep", default="", help="a folder for what is trained")
    options, book = parser.parse_args(), Book()
    asked = set(options.only.split(",")) if options.only else set(CASES)
    if strange := asked - set(CASES):
        parser.error(f"--only takes {', '.join(CASES)}; received {', '.join(sorted(strange))}")
    asked |= {CASES[name].start for name in asked} - {""}
    wanted = [name for name in CASES if name in asked]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(options.keep or folder).absolute()
        for name in wanted:
            start = time.monotonic()
            try:
                found = check(name, CASES[name], place)
            except (DuomoError, RuntimeError) as error:
                found = [("stopped", -1, "answers", str(error))]
            book.note(name, time.monotonic() - start, found)
    print(f"{book.cases - book.wrong} of {book.cases} runs equal")
    return 1 if book.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
