"""A small real task for the crash harness: scikit-learn's 8×8 digits; batch norm and dropout make buffers and RNG count."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from duomo.core.contract import Baseline, Evidence, Field, Head, Metric, Stream, Suggestion, Task, View
from duomo.core.device import Execution
from duomo.core.recipe import TrainConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Dense, Examples
from duomo.train.job import Job

TRAIN = 1200
EXECUTION = Execution(device="cpu", precision="float32", threads=1)


class Digits(Task):
    """Ten classes, cross-entropy, accuracy."""

    name = "digits"
    metric = Metric("accuracy", True)

    def __init__(self, config: Any = None):
        self.config = config

    def fit(self, table: Table) -> None:
        return None

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        return None

    @property
    def inputs(self) -> Mapping[str, Field]:
        return {"pixels": Field("pixels", (1, 8, 8))}

    @property
    def head(self) -> Head:
        return Head(10)

    def suggest(self, table: Table) -> Suggestion:
        return Suggestion("toy", "")

    def encode(self, table: Table, *, target: bool) -> Examples:
        raise NotImplementedError

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        summed = nn.functional.cross_entropy(output, batch["label"], reduction="sum")
        return summed, torch.tensor(len(output))

    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        return {"right": (output.argmax(1) == batch["label"]).numpy()}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        return {"accuracy": float(evidence["right"].mean())}

    def errors(self, evidence: Evidence) -> np.ndarray:
        return 1.0 - evidence["right"]

    def views(self, evidence: Evidence) -> Sequence[View]:
        return []

    def baselines(self) -> Sequence[Baseline]:
        return []

    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        return {"prediction": model(batch).argmax(1).tolist()}


class Net(nn.Module):
    """Conv, batch norm, dropout, two dense layers."""

    def __init__(self, width: int = 32, norm: bool = True):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(128, width), nn.ReLU(), nn.Linear(width, 10),
        )  # fmt: skip

    def forward(self, batch: Batch) -> Tensor:
        return self.layers(batch["pixels"])


@cache
def _data() -> Any:
    return load_digits()


def digits(part: slice) -> Examples:
    data = _data()
    pixels = torch.from_numpy(data.images[part].astype(np.float32) / 8 - 1).unsqueeze(1)
    return Examples({"pixels": Dense(pixels), "label": Dense(torch.from_numpy(data.target[part].astype(np.int64)))})


class Shuffled(Stream):
    """Epochs in an order drawn from (seed, epoch); `trap` plants what a test looks for at step `at`."""

    def __init__(self, examples: Examples, size: int, seed: int = 0, trap: str = "", at: int = 17):
        self.examples, self.size, self.seed, self.trap, self.at = examples, size, seed, trap, at
        self.steps_per_epoch = len(examples) // size
        self.seen: list[list[int]] = []

    def rows(self, step: int) -> np.ndarray:
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.examples))
        return order[place * self.size : (place + 1) * self.size]

    def batch(self, step: int) -> Batch:
        rows = self.rows(step)
        self.seen.append(rows.tolist())
        batch = self.examples.batch(rows)
        if step == self.at and self.trap == "nan":
            batch["pixels"][3, 0, 2, 2] = float("nan")
        if step == self.at and self.trap == "inf":
            batch["pixels"][5] = float("inf")
        if step == self.at and self.trap == "spike":
            batch["pixels"] = batch["pixels"] * -300
        if step == self.at and self.trap == "loss":
            batch["pixels"] = batch["pixels"] * 1e37
        return batch


def config(**changed: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "steps": 60,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "evaluate_steps": 20,
        "checkpoint_steps": 5,
    }
    return TrainConfig(**(base | changed))


def job(folder: Path, setting: TrainConfig, trap: str = "", width: int = 32) -> Job:
    torch.manual_seed(1)
    valid = digits(slice(TRAIN, None))

    def batches() -> Iterator[Batch]:
        for start in range(0, len(valid), 128):
            yield valid.batch(np.arange(start, min(start + 128, len(valid))))

    stream = Shuffled(digits(slice(0, TRAIN)), setting.batch_size, setting.seed, trap)
    folder.mkdir(parents=True, exist_ok=True)
    return Job(Digits(), Net(width, norm=trap not in ("loss", "spike")), stream, batches, setting, EXECUTION, folder)
