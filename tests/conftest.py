"""Runs that many tests share: real samples, trained briefly, once a session."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import duomo
from duomo import samples
from duomo.core.errors import Interrupted
from duomo.train import loop

Stopped = Callable[[int], AbstractContextManager[None]]

QUICK = {
    "clinic": {
        "model": {"name": "mlp", "size": "small"},
        "train": {"epochs": 8.0, "batch_size": 32, "exact": True, "evaluate_steps": 10**6},
    },
    "digits": {"train": {"steps": 60, "batch_size": 32, "exact": True, "evaluate_steps": 10**6}},
    "poems": {
        "model": {"name": "gpt", "size": "nano"},
        "train": {"steps": 20, "batch_size": 4, "exact": True, "evaluate_steps": 10**6},
        "task": {"sampling": {"new_tokens": 12}},
    },
    "watch": {"train": {"steps": 10, "exact": True, "evaluate_steps": 10**6}},
    "words": {"train": {"steps": 3, "batch_size": 4, "exact": True, "evaluate_steps": 10**6}, "task": {"beam": 1}},
    "houses": {"model": {"name": "mlp", "size": "small"}, "train": {"epochs": 2.0, "exact": True, "evaluate_steps": 10**6}},
}


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Stopped:
    """`with stopped(3): train(...)`: a signal after the third step ends the training."""
    real = loop._Training._update

    @contextmanager
    def after(step: int) -> Iterator[None]:
        def update(self: Any, rate: float) -> None:
            real(self, rate)
            if self.step == step:
                self.signals.received = 2

        with monkeypatch.context() as patch, pytest.raises(Interrupted, match="duomo resume"):
            patch.setattr(loop._Training, "_update", update)
            yield

    return after


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder."""
    return tmp_path_factory.mktemp("user")


class Runs:
    """Trained runs by sample name, made when first asked for."""

    def __init__(self, place: Path):
        self.place = place
        self._made: dict[str, duomo.Run] = {}
        self._sources: dict[str, Path] = {}

    def source(self, name: str) -> Path:
        if name not in self._sources:
            self._sources[name] = samples.write(name, self.place)
            if name == "poems":  # a tenth of them is enough to see that the parts fit together
                poems = self._sources[name].read_text(encoding="utf-8")
                self._sources[name] = self.place / "some_poems.txt"
                self._sources[name].write_text(poems[:40_000], encoding="utf-8")
            if name == "words":  # and so is a quarter of the clips
                _first_clips(self._sources[name], 180)
        return self._sources[name]

    def __call__(self, name: str) -> duomo.Run:
        if name not in self._made:
            target = samples.SAMPLES[name].target
            task = {"data": {"task": "transcribe"}} if name == "words" else {}
            out = self.place / "runs" / name
            self._made[name] = duomo.train(self.source(name), QUICK[name] | task, target=target or (), out=out)
        return self._made[name]


def _first_clips(folder: Path, count: int) -> None:
    listing = folder / "metadata.csv"
    lines = listing.read_text(encoding="utf-8").splitlines(keepends=True)
    listing.write_text("".join(lines[: count + 1]), encoding="utf-8")
    for line in lines[count + 1 :]:
        (folder / line.partition(",")[0]).unlink()


@pytest.fixture(scope="session")
def runs(place: Path) -> Runs:
    return Runs(place)
