"""Training rate of four nets beside Keras 3 + TensorFlow `fit`, batch 32, in turns, medians.

    python bench/against_keras.py [--turns 5] [--nets cnn,series,text,encoder]
The peer lives in .bench/keras, made when missing; never in the project's own environment.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.device import Execution, candidates
from duomo.core.tensors import Batch
from duomo.models import cnn, rnn, transformer

ROOT = Path(__file__).resolve().parent.parent
PINNED = ["tensorflow==2.21.0", "keras==3.15.1", "numpy>=2,<3"]
BATCH = 32
STEPS = {"cnn": 200, "series": 15, "text": 60, "encoder": 8}
BARS = {"cnn": 2.3, "series": 2.0, "text": 4.0, "encoder": 1.6}
CLASSES = {"cnn": 10, "series": 10, "text": 2, "encoder": 2}
INPUTS = {
    "cnn": Field("pixels", (1, 28, 28)),
    "series": Field("frames", (100, 32)),
    "text": Field("tokens", (100,), (1000,)),
    "encoder": Field("tokens", (100,), (1000,)),
}


class Peer:
    """A child process that trains with Keras."""

    def __init__(self) -> None:
        python = ROOT / ".bench" / "keras" / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINNED], check=True)
        script = [str(python), str(ROOT / "bench" / "keras_peer.py")]
        self.child = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def ask(self, **wanted: object) -> dict:
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(json.dumps(wanted) + "\n")
        self.child.stdin.flush()
        for line in self.child.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise SystemExit("the peer stopped")

    def close(self) -> None:
        assert self.child.stdin
        self.child.stdin.close()
        self.child.wait()


def ours(name: str) -> nn.Module:
    inputs, head = {"x": INPUTS[name]}, Head(CLASSES[name])
    if name == "cnn":
        return cnn.Model(cnn.SIZES["base"], inputs, head)
    if name == "encoder":
        return transformer.Model(transformer.Config(norm="after", activation="relu"), inputs, head)
    return rnn.Model(rnn.SIZES["base"], inputs, head)


def batches(name: str, rows: int) -> Batch:
    shape = INPUTS[name].shape
    x = torch.randint(1, 1000, (rows, *shape)) if INPUTS[name].form == "tokens" else torch.randn(rows, *shape)
    length = {} if name == "cnn" else {"x.length": torch.full((rows,), shape[0])}
    return {"x": x, "target": torch.randint(0, CLASSES[name], (rows,)), **length}


def stepper(model: nn.Module, execution: Execution) -> Callable[[Batch, int], float]:
    """One training step as the loop takes it: seeded, clipped, its loss read."""
    runner = execution.apply(model)
    weights = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, 1e-3, weight_decay=0.01, fused=True)

    def step(batch: Batch, number: int) -> float:
        torch.manual_seed(number)
        if execution.channels_last:
            batch = {key: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value for key, value in batch.items()}
        with execution.autocast():
            logits = runner({key: value for key, value in batch.items() if key != "target"})
        loss = F.cross_entropy(logits.float(), batch["target"])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        value, _ = torch.stack((loss.detach(), norm)).tolist()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value

    return step


def fastest(name: str, model: nn.Module) -> Execution:
    """The candidate with the fastest median step."""
    found = candidates(model, {"x": INPUTS[name]}, exact=False, long_run=False)
    batch = batches(name, BATCH)
    times = []
    for execution in found:
        step = stepper(ours(name), execution)
        taken = []
        for number in range(8):
            start = time.perf_counter()
            step(batch, number)
            taken.append(time.perf_counter() - start)
        times.append(statistics.median(taken[2:]))
    return found[times.index(min(times))]


def our_rate(model: nn.Module, name: str, steps: int, execution: Execution) -> float:
    """Rows a second over `steps` steps of rows drawn anew."""
    data = batches(name, steps * BATCH)
    step = stepper(model, execution)
    step({key: value[:BATCH] for key, value in data.items()}, 0)
    start = time.perf_counter()
    order = torch.randperm(steps * BATCH)
    for number in range(steps):
        rows = order[number * BATCH : (number + 1) * BATCH]
        step({key: value.index_select(0, rows) for key, value in data.items()}, number)
    return steps * BATCH / (time.perf_counter() - start)


def compare(peer: Peer, name: str, turns: int) -> tuple[float, str]:
    model = ours(name)
    execution = fastest(name, model)
    theirs, mine, parameters = [], [], 0
    for _ in range(turns):
        answer = peer.ask(net=name, steps=STEPS[name])
        theirs.append(answer["rate"])
        parameters = answer["parameters"]
        mine.append(our_rate(model, name, STEPS[name], execution))
    count = sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert count == parameters, f"{name}: {count} parameters here, {parameters} there"
    ratio = statistics.median(mine) / statistics.median(theirs)
    rates = f"{statistics.median(theirs):>10,.0f} {statistics.median(mine):>10,.0f} {ratio:>6.2f} {BARS[name]:>5}"
    line = f"{name:8} {parameters:>10,} {rates}  {execution}"
    return ratio, line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--nets", default=",".join(BARS))
    options = parser.parse_args()
    peer = Peer()
    print(f"{'net':8} {'parameters':>10} {'Keras/s':>10} {'Duomo/s':>10} {'ratio':>6} {'bar':>5}  execution")
    ratios = []
    for name in options.nets.split(","):
        ratio, line = compare(peer, name, options.turns)
        ratios.append(ratio)
        print(line, flush=True)
    print(f"geometric mean {statistics.geometric_mean(ratios):.2f}")
    peer.close()


if __name__ == "__main__":
    main()
