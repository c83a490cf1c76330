"""Controls: checkpoints done as they often are. A harness that does not catch them proves nothing."""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from duomo.train import loop
from duomo.train.checkpoint import Saved, Tensors


def write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_all(folder: Path, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ema", "best"):
        if name not in tensors:
            (folder / f"{name}.safetensors").unlink(missing_ok=True)
    for name, held in tensors.items():
        write(folder / f"{name}.safetensors", save({key: value.detach().contiguous().clone() for key, value in held.items()}))
    write(folder / "state.json", json.dumps({"step": step, **state}).encode())


def read_all(folder: Path) -> Saved:
    state = json.loads((folder / "state.json").read_bytes())
    return Saved(state["step"], {path.stem: load(path.read_bytes()) for path in folder.glob("*.safetensors")}, state)


class InPlace:
    """One folder, written over in place."""

    def __init__(self, run: Path, say: Callable[[str], None]):
        self.folder = run / "checkpoints"

    def save(self, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
        write_all(self.folder / "latest", step, tensors, state)

    def load(self) -> Saved | None:
        return read_all(self.folder / "latest") if (self.folder / "latest").exists() else None

    def bytes(self) -> int:
        return 0


class NewestWins:
    """A folder for each step, made visible before it is written; the newest is taken as it is."""

    def __init__(self, run: Path, say: Callable[[str], None]):
        self.folder = run / "checkpoints"

    def save(self, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
        write_all(self.folder / f"step-{step:08d}", step, tensors, state)
        for path in self._paths()[:-2]:
            shutil.rmtree(path)

    def load(self) -> Saved | None:
        paths = self._paths()
        return read_all(paths[-1]) if paths else None

    def bytes(self) -> int:
        return 0

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8}", path.name))


def in_place() -> None:
    loop.Checkpoints = InPlace  # type: ignore[misc, assignment]


def newest_wins() -> None:
    loop.Checkpoints = NewestWins  # type: ignore[misc, assignment]


def rng_not_restored() -> None:
    """Seeded once, when the process starts."""
    torch.manual_seed(0)
    loop.seed_step = lambda seed, step, device: None


VARIANTS = {"": lambda: None, "in-place": in_place, "newest-wins": newest_wins, "rng-not-restored": rng_not_restored}
