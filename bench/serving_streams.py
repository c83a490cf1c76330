"""Streams of a model of 135 million parameters (SmolLM2-Instruct): eight at once beside one alone, and llama.cpp's server beside ours.

    python scripts/fetch_data.py .bench/data smollm2
    python bench/serving_streams.py [--data .bench/data] [--tokens 48] [--rounds 2] [--skip-llama]

Every request is a chat of its own, streamed over HTTP from the same client, greedy, and may not end early. Stated: tokens a second of one
stream and of eight together; the seconds until the first token comes: of one that joins seven that are being written, and as the median
of eight that arrive at once, against "prefill", the time to the first token of one request on an idle server. llama.cpp's server is that of
llama-cpp-python with the same GGUF file (Q4_1; ours computes with the same weights, dequantised); it wants
`pip install sse-starlette starlette-context pydantic-settings` beside llama-cpp-python.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from common import command_line
from duomo.core.device import cores
from duomo.exchange.convert import convert
from serving_overhead import Peer

STREAMS = 8
WORDS = ("river", "mountain", "harbour", "market", "winter", "orchard", "library", "railway", "island", "garden", "engine", "letter")


def prompt(number: int) -> str:
    """About a hundred tokens; none begins like another, so that nothing is read once for two."""
    words = " ".join(WORDS[(number * 5 + place * (number + 1)) % len(WORDS)] for place in range(70))
    return f"{WORDS[number % len(WORDS)]} {number}. Tell a long story with these words: {words}."


async def stream(port: int, model: str, number: int, tokens: int, begun: asyncio.Event | None = None) -> tuple[float, float, int]:
    """When the first piece of text and the last came, in seconds since the request, and how many tokens were written."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": prompt(number)}],
        "stream": True,
        "temperature": 0,
        "max_tokens": tokens,
    }
    body = json.dumps(asked).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json", "Connection: close"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + body)
    first, pieces = 0.0, 0
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if "choices" not in event:
            raise SystemExit(line.decode())
        if any(choice.get("delta", {}).get("content") for choice in event["choices"]):
            first, pieces = first or time.perf_counter() - start, pieces + 1
            if begun is not None:
                begun.set()
    writer.close()
    return first, time.perf_counter() - start, pieces


async def together(port: int, model: str, count: int, tokens: int, shift: int) -> tuple[float, float]:
    """Pieces a second of all streams, and the median time to a first one."""
    start = time.perf_counter()
    found = await asyncio.gather(*(stream(port, model, shift + number, tokens) for number in range(count)))
    seconds = time.perf_counter() - start
    return sum(pieces for _, _, pieces in found) / seconds, statistics.median(first for first, _, _ in found)


async def joining(port: int, model: str, tokens: int, shift: int) -> float:
    """Seconds to the first token of a stream that comes when seven others have begun."""
    events = [asyncio.Event() for _ in range(STREAMS - 1)]
    others = [asyncio.create_task(stream(port, model, shift + number, 4 * tokens, event)) for number, event in enumerate(events)]
    await asyncio.gather(*(event.wait() for event in events))
    first, _, _ = await stream(port, model, shift + STREAMS, 4)
    await asyncio.gather(*others)
    return first


def measure(peer: Peer, model: str, tokens: int, rounds: int) -> dict[str, float]:
    asyncio.run(together(peer.port, model, 1, 4, 900))
    found: dict[str, list[float]] = {"one": [], "first": [], "eight": [], "first of eight": [], "first of a newcomer": []}
    for number in range(rounds):
        for name, count in (("one", 1), ("eight", STREAMS)):
            rate, first = asyncio.run(together(peer.port, model, count, tokens, 100 * number + 10 * count))
            found[name].append(rate)
            found["first" if count == 1 else "first of eight"].append(first)
        found["first of a newcomer"].append(asyncio.run(joining(peer.port, model, tokens, 100 * number + 50)))
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, default=Path(".bench/data"))
    parser.add_argument("--run", type=Path, help="The run folder of that model, where it is made already.")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=cores(), help="Of each server.")
    parser.add_argument("--skip-llama", action="store_true")
    options = parser.parse_args()
    file = options.data / "smollm2" / "smollm2.gguf"
    with tempfile.TemporaryDirectory() as place:
        run = options.run or Path(place) / "smol"
        if not run.is_dir():
            convert(file, "duomo", run)
        body = json.dumps({"model": run.name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}).encode()
        serve = [sys.executable, "-m", "duomo.cli", "serve", str(run), "--quiet", "--port", "8951"]
        llama = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--port", "8952", "--n_threads", str(options.threads),
                 "--n_ctx", "2048", "--model_alias", "smol", "--interrupt_requests", "false"]  # fmt: skip
        peers = {"duomo": (serve, 8951, run.name)} | ({} if options.skip_llama else {"llama.cpp's server": (llama, 8952, "smol")})
        found = {}
        for name, (command, port, model) in peers.items():
            peer = Peer(command, port, "/v1/chat/completions", body, threads=options.threads, sign=b"choices")
            found[name] = measure(peer, model, options.tokens, options.rounds)
            peer.stop()
    return report(found)


def report(found: dict[str, dict[str, float]]) -> int:
    for name, told in found.items():
        print(f"{name:20} one stream {told['one']:6.1f} tokens/s, first after {told['first']:.2f} s")
        print(f"{'':20} {STREAMS} streams {told['eight']:5.1f} tokens/s, first after {told['first of eight']:.2f} s", end="")
        print(f"; one that joins seven: first after {told['first of a newcomer']:.2f} s")
    own = found["duomo"]
    gain, wait, joined = (
        own[one] / own[other] for one, other in (("eight", "one"), ("first of eight", "first"), ("first of a newcomer", "first"))
    )
    print(f"{STREAMS} streams: {gain:.2f} times the tokens/s of one (bar 3) {'holds' if gain >= 3 else 'FAILS'}")
    print(f"first token of one that joins {STREAMS - 1}: {joined:.2f} prefill times (bar 2) {'holds' if joined <= 2 else 'FAILS'}")
    print(f"median first token of {STREAMS} at once: {wait:.2f} prefill times ({STREAMS} prompts read one after the other: 4.5 at best)")
    return 0 if gain >= 3 and joined <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
