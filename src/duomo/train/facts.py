"""What equality to the last bit depends on: machine, threads, versions, settings."""

import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from duomo.core.device import Execution, machine_facts
from duomo.core.recipe import TrainConfig


def run_facts(config: TrainConfig, execution: Execution) -> dict[str, Any]:
    """JSON values; any difference withdraws the promise of bitwise equality."""
    facts = {name: value for name, value in machine_facts().items() if name != "memory_bytes"}
    facts |= {f"execution.{name}": value for name, value in asdict(execution).items()}
    skipped = ("checkpoint_steps", "device")
    return facts | {f"train.{name}": value for name, value in asdict(config).items() if name not in skipped}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`name: before -> now` for everything that changed."""
    names = sorted({*before, *now})
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)]


def peak_memory(device: str) -> int:
    """Bytes: peak of the process, or of CUDA's allocator."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
