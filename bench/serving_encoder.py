"""A served encoder of BERT's width (6 layers, 768 wide, 12 heads, 128 tokens) beside the `transformers` pipeline, in the same run.

    python bench/serving_encoder.py [--folder RUN_PLACE] [--rounds 3] [--seconds 8]

One run is trained for a step (its speed does not depend on what it has learned) and prepared as `duomo serve --prepare` does. Measured: the
pipeline and `Run.predict` on the same texts at batch 1 and 32, rounds alternating; the share of the bf16 matmul peak at 32, from the
encoder's own products; the server at 32 connections against the bare engine at its best batch. The other way of torch, compiled with
freezing, is timed for one shape: it is no candidate of a run, because it compiles again for each width.
Wants transformers (extra `dev`), OpenVINO and ONNX Runtime (extras `openvino`, `onnx`).
"""

import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer

import duomo
from common import command_line
from duomo import prepared, samples
from duomo.core.device import cores
from duomo.core.reporter import Silent
from duomo.exchange import engines
from duomo.trained import Run
from serving_overhead import Peer

LAYERS, WIDTH, HEADS, TOKENS, ROWS = 6, 768, 12, 128, 32


def trained(place: Path, advised: bool) -> Path:
    """The run, made where it is not there yet: texts of more than 128 characters, a token each."""
    name = "advised" if advised else "encoder"
    if (place / name / "manifest.json").is_file():
        return place / name
    source = samples.write("pinglun", place)
    with source.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    words = "".join(row["text"] for row in rows)
    found = place / "long.csv"
    with found.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([words[200 * n : 200 * n + 180].replace("\n", " "), "yes" if n % 2 else "no"] for n in range(80))
    options = {"width": WIDTH, "depth": LAYERS, "heads": HEADS, "place": "after", "pool": "first", "dropout": 0.0, "advice": advised}
    settings = {
        "data": {"kind": {"text": "text"}},
        "model": {"name": "bert", "size": "base", "options": options},
        "task": {"encode": {"longest_text": TOKENS}},
        "train": {"steps": 1, "batch_size": 4, "exact": True, "evaluate_steps": 10**6},
    }
    return duomo.train(found, settings, target="label", out=place / name).path


def pipeline(run: Run) -> Callable[[list[str], int], Any]:
    """transformers' own way to serve an encoder of this shape, with the run's vocabulary."""
    state = json.loads((run.path / "task.json").read_text(encoding="utf-8"))["encoder"]["columns"][0]["state"]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(state["json"]), pad_token="<pad>", unk_token="<unk>", model_max_length=TOKENS
    )
    config = transformers.BertConfig(
        vocab_size=state["size"], hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=4 * WIDTH
    )
    made = transformers.pipeline(
        "text-classification", model=transformers.BertForSequenceClassification(config).eval(), tokenizer=tokenizer
    )
    return lambda texts, size: made(texts, batch_size=size, truncation=True, max_length=TOKENS)


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def several(answer: Callable[[list[str]], Any], texts: list[str], size: int) -> None:
    """Eight times the first text alone, or all at once."""
    for _ in range(8 if size == 1 else 1):
        answer(texts[:size])


def peak() -> float:
    """FLOP/s of bf16 products of torch, the best of two shapes."""
    best = 0.0
    for M, K, N in ((4096, 768, 3072), (2048, 2048, 2048)):
        a, b = torch.randn(M, K).bfloat16(), torch.randn(K, N).bfloat16()
        seconds = min(timed(partial(torch.matmul, a, b)) for _ in range(12))
        best = max(best, 2 * M * K * N / seconds)
    return best


def work(rows: int) -> float:
    """FLOP of the encoder's products."""
    return rows * LAYERS * (2 * TOKENS * 12 * WIDTH**2 + 4 * TOKENS**2 * WIDTH)


def compiled(run: Run, rows: int) -> float:
    """Milliseconds of torch's compiled bf16 at one shape; NaN where it cannot be."""
    plain = Run.open(run.path, engine=False)
    _, batch = next(plain.predictor.blocks(plain.task.encode(plain.golden()[0], target=False)))
    batch = engines.rows(engines.resized(batch, TOKENS), rows)
    torch._inductor.config.freezing = True
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        model = torch.compile(plain.model)
        model(batch)
        return 1000 * min(timed(lambda: model(batch)) for _ in range(5))


def bare(run: Run) -> tuple[float, int]:
    """Rows a second of the engine itself at its best batch, and that batch."""
    _, batch = next(run.predictor.blocks(run.task.encode(run.golden()[0], target=False)))
    batch, best = engines.resized(batch, TOKENS), (0.0, 0)
    for height in run.predictor.heights:
        rows = engines.rows(batch, height)
        with torch.inference_mode():
            seconds = min(timed(partial(run.model, rows)) for _ in range(max(3, 24 // height)))
        best = max(best, (height / seconds, height))
    return best


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--advised", action="store_true", help="With the line over letters beside the network, as a run has it by default.")
    parser.add_argument("--compile", action="store_true", help="Also time torch.compile (half a minute).")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as spare:
        place = options.folder or Path(spare)
        place.mkdir(parents=True, exist_ok=True)
        path = trained(place, options.advised)
        if options.rounds == 0:
            return 0
        torch.set_num_threads(cores())
        told = prepared.prepare(path, Silent())
        for one in told["measured"]:
            alone, together, off = (one.get(name, float("nan")) for name in ("alone_ms", "together_ms", "distance"))
            print(f"{one['engine']:20} a row {alone:7.1f} ms   32 rows {together:7.1f} ms   off {off:.4f}  {one['note']}")
        run = Run.open(path)
        if options.compile:
            print(f"torch compiled bf16, one shape: a row {compiled(run, 1):.1f} ms, 32 rows {compiled(run, ROWS):.1f} ms")
        return 0 if beside(run, options.rounds) & served(run, options.seconds) else 1


def beside(run: Run, rounds: int) -> bool:
    with (run.path.parent / "long.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:ROWS]
    peer = pipeline(run)
    took: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds + 1):
        for size in (1, ROWS):
            mine = timed(partial(several, run.predict, texts, size))
            theirs = timed(partial(several, lambda some: peer(some, len(some)), texts, size))
            if number:  # the first warms up
                took.setdefault(("duomo", size), []).append(mine / (8 if size == 1 else 1))
                took.setdefault(("pipeline", size), []).append(theirs / (8 if size == 1 else 1))
    middle = {key: statistics.median(values) for key, values in took.items()}
    held = True
    for size in (1, ROWS):
        ratio = middle["pipeline", size] / middle["duomo", size]
        held &= ratio >= 4.5
        print(f"batch {size:2}: duomo {1000 * middle['duomo', size]:.1f} ms, pipeline {1000 * middle['pipeline', size]:.1f} ms: "
              f"{ratio:.2f} times (bar 4.5) {'holds' if ratio >= 4.5 else 'FAILS'}")  # fmt: skip
    best, most = work(ROWS) / middle["duomo", ROWS], peak()
    print(f"batch {ROWS}: {best / 1e9:.0f} of {most / 1e9:.0f} GFLOP/s: {best / most:.0%} of the bf16 peak (bar 85 %) "
          f"{'holds' if best >= 0.85 * most else 'FAILS'}")  # fmt: skip
    return held and best >= 0.85 * most


def served(run: Run, seconds: float) -> bool:
    rate, height = bare(run)
    text = run.golden()[0].column("text")[0].as_py()
    body = json.dumps({"rows": [{"text": text}]}).encode()
    peer = Peer([sys.executable, "-m", "duomo.cli", "serve", str(run.path), "--quiet", "--port", "8941"], 8941,
                f"/v1/predict/{run.path.name}", body, threads=cores())  # fmt: skip
    found, _, last = peer.measure(ROWS, seconds)
    peer.stop()
    step = 1000 * ROWS / rate
    held = found >= 0.9 * rate and last <= 3 * step
    print(f"bare engine: {rate:.1f} rows/s in blocks of {height}")
    print(f"served to {ROWS} clients: {found:.1f} requests/s, {found / rate:.0%} (bar 90 %); p99 {last:.0f} ms, "
          f"{last / step:.2f} times the {step:.0f} ms of {ROWS} rows (bar 3) {'holds' if held else 'FAILS'}")  # fmt: skip
    return held


if __name__ == "__main__":
    sys.exit(main())
