"""What equality to the last bit depends on: machine, threads, versions, settings."""

import platform
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from duomo.core.device import Execution
from duomo.core.recipe import TrainConfig


def processor() -> str:
    """The processor's own name, or the architecture where the system does not tell."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_facts(config: TrainConfig, execution: Execution) -> dict[str, Any]:
    """JSON values; any difference withdraws the promise of bitwise equality."""
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": processor(),
        "system": platform.system(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if execution.device != "cpu":
        facts["cuda"] = f"{torch.cuda.get_device_name()} {torch.version.cuda}"
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
