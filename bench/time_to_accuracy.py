"""Seconds of training to 98 % on digits: python bench/time_to_accuracy.py FOLDER [--runs 5] [--no-peer]

FOLDER holds digits/{train,test}.npz and .parquet as scripts/fetch_data.py writes them (8,000 and 2,000 pictures). The same net on both
sides: Conv32, pool, Conv64, pool, Dense128, Dense10. Both are asked the same: the shortest whole training, in epochs, whose final
weights reach 98 % of the test. Its seconds count, from the first step to the last (Keras: `fit` with Adam, batch 32, as commonly
written, in a virtual environment of its own, see against_keras.py). Longer trainings follow only where a shorter one fell short, and
the median is over seeds.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from against_keras import Peer
from common import command_line
from duomo.core import find, kinds
from duomo.core.device import Execution, candidates
from duomo.core.recipe import AugmentConfig, ModelConfig, TrainConfig
from duomo.core.reporter import Silent
from duomo.data import sources
from duomo.data.loader import TableStream
from duomo.data.predictor import Predictor
from duomo.train import loop, probe
from duomo.train.job import Job

GOAL = 0.98
EPOCHS = range(2, 25)
MODEL = ModelConfig(name="cnn", size="base")
AUGMENT = AugmentConfig(crop=0.05)
Fit = Callable[[int, int], tuple[float, float]]
"""(epochs, seed) -> (test accuracy, seconds)."""


def ours(folder: Path) -> Fit:
    """Decoding and the choice of execution are not on the clock; gathering, varying, logs and checkpoints are."""
    train, test = (kinds.infer(sources.read(folder / f"{part}.parquet"), {}) for part in ("train", "test"))
    task = find.make_task("classify", {"target": ("label",)})
    task.fit(train)
    examples = task.encode(train, target=True)

    def job(epochs: int, seed: int, execution: Execution, out: str) -> Job:
        config = TrainConfig(epochs=epochs, batch_size=64, learning_rate=4e-3, weight_decay=1e-2, ema=0.98, seed=seed)
        torch.manual_seed(seed)
        model = find.make_model(MODEL, task)
        return Job(task, model, TableStream(examples, task.inputs, config.batch_size, seed, AUGMENT), None, config, execution, Path(out))

    trial = job(1, 0, Execution(), "")
    ways = candidates(trial.model, exact=False, long_run=False)
    execution, _ = probe.choose(probe.Trial(task, trial.model, trial.stream, trial.config), ways, Silent(), 1.5)
    print(f"Duomo runs as {execution}")

    def fit(epochs: int, seed: int) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as out:
            work = job(epochs, seed, execution, out)
            outcome = loop.train(work, Silent())
        return task.measure(Predictor(task, work.model, Execution()).evidence(test))["accuracy"], outcome.seconds

    return fit


def theirs(folder: Path, peer: Peer, made: Path) -> Fit:
    parts = {part: np.load(folder / f"{part}.npz") for part in ("train", "test")}
    x, x_test = (parts[part]["x"].astype(np.float32) / 255 for part in ("train", "test"))
    np.savez(made, x=x, y=parts["train"]["y"], x_test=x_test, y_test=parts["test"]["y"])

    def fit(epochs: int, seed: int) -> tuple[float, float]:
        answer = peer.ask(net="cnn", data=str(made), epochs=epochs)
        return answer["accuracy"], answer["seconds"]

    return fit


def shortest(fit: Fit, seed: int) -> tuple[int, float, float]:
    """Epochs, accuracy and seconds of the shortest training that reaches the goal (the longest tried where none does)."""
    for epochs in EPOCHS:
        accuracy, seconds = fit(epochs, seed)
        if accuracy >= GOAL:
            break
    return epochs, accuracy, seconds


def report(name: str, fit: Fit, runs: int) -> None:
    found = []
    for seed in range(runs):
        epochs, accuracy, seconds = shortest(fit, seed)
        found.append(seconds if accuracy >= GOAL else float("inf"))
        print(f"| {name}, run {seed} | {epochs} | {accuracy:.2%} | {seconds:.1f} |", flush=True)
    print(f"| **{name}, median of {runs}** | | | **{statistics.median(found):.1f}** |", flush=True)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.folder / "digits"
    fit = ours(folder)
    print("| who | epochs | accuracy | seconds |\n|---|---|---|---|")
    report("Duomo", fit, arguments.runs)
    if not arguments.no_peer:
        peer = Peer()
        with tempfile.TemporaryDirectory() as made:
            report("Keras + TensorFlow", theirs(folder, peer, Path(made) / "digits.npz"), arguments.runs)
        peer.close()


if __name__ == "__main__":
    main()
