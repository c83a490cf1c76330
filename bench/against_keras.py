"""Training rate of four nets beside Keras 3 + TensorFlow `fit`, batch 32, in turns, medians.

    python bench/against_keras.py [--turns 5] [--nets cnn,series,text,encoder]
The peer lives in .bench/keras, made when missing; never in the project's own environment.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Baseline, Evidence, Field, Head, Metric, Suggestion, Task, View
from duomo.core.device import Execution, candidates
from duomo.core.recipe import AugmentConfig, TrainConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.core.tensors import Batch, Column, Examples
from duomo.data.loader import TableStream
from duomo.models import cnn, resnet, rnn, transformer
from duomo.train import loop, probe
from duomo.train.job import Job

ROOT = Path(__file__).resolve().parent.parent
PINNED = ["tensorflow==2.21.0", "keras==3.15.1", "numpy>=2,<3"]
BATCH = 32
STEPS = {"cnn": 200, "series": 15, "text": 60, "encoder": 8, "resnet": 60}
BARS = {"cnn": 2.3, "series": 2.0, "text": 4.0, "encoder": 1.6}
CLASSES = {"cnn": 10, "series": 10, "text": 2, "encoder": 2, "resnet": 10}
INPUTS = {
    "cnn": Field("pixels", (1, 28, 28), facts={"mean": [0.5], "std": [0.25]}),
    "series": Field("frames", (100, 32)),
    "text": Field("tokens", (100,), (1000,)),
    "encoder": Field("tokens", (100,), (1000,)),
    "resnet": Field("pixels", (1, 28, 28), facts={"mean": [0.5], "std": [0.25]}),
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
    if name == "resnet":
        return resnet.Model(resnet.SIZES["small"], inputs, head)
    if name == "encoder":
        return transformer.Model(transformer.Config(norm="after", activation="relu"), inputs, head)
    return rnn.Model(rnn.SIZES["base"], inputs, head)


class Drawn(Column):
    """Rows of noise: (N, ...) values, and their length where they are sequences."""

    def __init__(self, values: Tensor, length: int):
        self.values, self.length = values, length

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        lengths = {f"{name}.length": torch.full((len(rows),), self.length)} if self.length else {}
        return {name: self.values.index_select(0, rows), **lengths}

    def lengths(self) -> None:
        return None


class Noise(Task):
    """Just enough of a classifier to run through the training loop."""

    name = "noise"
    metric = Metric("loss", False)

    def __init__(self, config: str):
        self.net = config

    def fit(self, table: Table) -> None:
        raise SystemExit("nothing to fit")

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.net = str(state)

    @property
    def inputs(self) -> Mapping[str, Field]:
        return {"x": INPUTS[self.net]}

    @property
    def head(self) -> Head:
        return Head(CLASSES[self.net])

    def suggest(self, table: Table) -> Suggestion:
        return Suggestion("", "")

    def encode(self, table: Table, *, target: bool) -> Examples:
        return examples(self.net, 4096)

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return F.cross_entropy(output.float(), batch["target"], reduction="sum"), torch.tensor(float(len(output)))

    def evidence(self, output: Any, batch: Batch) -> Evidence:
        return {}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        return {}

    def errors(self, evidence: Evidence) -> np.ndarray:
        return np.zeros(0)

    def views(self, evidence: Evidence) -> Sequence[View]:
        return []

    def baselines(self) -> Sequence[Baseline]:
        return []

    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        return {}


def examples(name: str, rows: int) -> Examples:
    field = INPUTS[name]
    x = torch.randint(1, 1000, (rows, *field.shape)) if field.form == "tokens" else torch.randn(rows, *field.shape)
    if field.form == "pixels":
        x = (x.clamp(-2, 2) * 60 + 128).to(torch.uint8)
    target = torch.randint(0, CLASSES[name], (rows,))
    return Examples({"x": Drawn(x, 0 if field.form == "pixels" else field.shape[0]), "target": Drawn(target, 0)})


def parts(name: str, steps: int) -> tuple[Noise, nn.Module, TableStream, TrainConfig]:
    task = Noise(name)
    config = TrainConfig(steps=steps, batch_size=BATCH, learning_rate=1e-3, weight_decay=0.01, evaluate_steps=10**9, checkpoint_steps=10**9)
    stream = TableStream(examples(name, 4096), task.inputs, BATCH, 0, AugmentConfig())
    return task, ours(name), stream, config


def fastest(name: str) -> Execution:
    """What `duomo train` would choose: its own probe."""
    task, model, stream, config = parts(name, 100)
    ways = candidates(model, exact=False, long_run=False)
    return probe.choose(probe.Trial(task, model, stream, config), ways, Silent(), 6.0)[0]


def our_rate(name: str, steps: int, execution: Execution) -> float:
    """Rows a second of `duomo train`'s own loop, its checks, log and clipping included."""
    task, model, stream, config = parts(name, steps)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(task, model, stream, None, config, execution, Path(folder))
        return loop.train(job, Silent()).rate


def compare(name: str, turns: int) -> tuple[float, str]:
    """The peer is another process in each turn: one of Keras keeps, from its first step to its last, one of two rates for the CNN."""
    model = ours(name)
    execution = fastest(name)
    theirs, mine, parameters = [], [], 0
    for _ in range(turns):
        peer = Peer()
        peer.ask(net=name, steps=2)  # loaded and warm before it is timed
        answer = peer.ask(net=name, steps=STEPS[name])
        peer.close()
        theirs.append(answer["rate"])
        parameters = answer["parameters"]
        mine.append(our_rate(name, 2 * STEPS[name], execution))
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
    print(f"{'net':8} {'parameters':>10} {'Keras/s':>10} {'Duomo/s':>10} {'ratio':>6} {'bar':>5}  execution")
    ratios = []
    for name in options.nets.split(","):
        ratio, line = compare(name, options.turns)
        ratios.append(ratio)
        print(line, flush=True)
    print(f"geometric mean {statistics.geometric_mean(ratios):.2f}")


if __name__ == "__main__":
    main()
