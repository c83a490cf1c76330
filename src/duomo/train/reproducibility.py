"""What equality to the last bit depends on: machine, threads, versions, settings."""

import hashlib
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from duomo.core.device import Execution, machine_facts
from duomo.core.recipe import TrainConfig

ASIDE = ("serve", "studio")
"""Parts of Duomo that no training comes by."""


@cache
def code() -> str:
    """Duomo's own sources, shortened: a later version may count, learn and judge otherwise."""
    root, total = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in ASIDE:
            total.update(path.read_bytes())
    return total.hexdigest()[:12]


def run_facts(config: TrainConfig, execution: Execution) -> dict[str, Any]:
    """JSON values; any difference withdraws the promise of bitwise equality."""
    facts = {name: value for name, value in machine_facts().items() if name != "memory_bytes"}
    facts |= {f"execution.{name}": value for name, value in asdict(execution).items()}
    skipped = ("checkpoint_steps", "device")
    return facts | {"duomo": code()} | {f"train.{name}": value for name, value in asdict(config).items() if name not in skipped}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`name: before -> now` for everything that changed."""
    names = sorted({*before, *now})
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)]


def peak_memory(device: str) -> int:
    """Bytes: peak of the process, or of CUDA's allocator."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
