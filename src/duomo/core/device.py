"""How the mathematics is run: device, precision, memory format, threads; which ways are worth timing; facts of the machine."""

import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import psutil
import torch
from torch import nn


@runtime_checkable
class SelectsKernel(Protocol):
    """An attention whose kernel can be chosen at run time: «bmm» (explicit products) or «sdpa» (fused)."""

    kernel: str


@dataclass(frozen=True)
class Execution:
    """One way of running a model that keeps its mathematics."""

    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    precision: str = "float32"
    """float32, or bf16: products in bfloat16 by autocast, weights and loss in float32."""
    matmul: str = "highest"
    """Precision of float32 products as torch names it: highest, or medium (oneDNN float32 on most CPUs, TF32 on CUDA)."""
    channels_last: bool = False
    """Memory format of pictures and convolutions."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes by itself."""
    compile: bool = False
    """Whether the model goes through torch.compile."""
    attention: str = ""
    """bmm or sdpa; empty: the model's own."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Execution":
        return cls(**values)

    def apply(self, model: nn.Module) -> nn.Module:
        """Set threads and precision of the process, place and shape the model; returns what to call (a compiled view or itself)."""
        if self.threads:
            torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision(self.matmul)
        model.to(self.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.attention:
            for module in model.modules():
                if isinstance(module, SelectsKernel):
                    module.kernel = self.attention
        return torch.compile(model) if self.compile else model  # type: ignore[return-value]

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the forward pass runs."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.partition(":")[0], torch.bfloat16)

    def __str__(self) -> str:
        words = [self.precision if self.precision == "bf16" or self.matmul == "highest" else f"{self.precision} {self.matmul}"]
        words += ["channels_last"] * self.channels_last + [f"{self.threads} threads"] * bool(self.threads)
        words += ["compiled"] * self.compile + [self.attention] * bool(self.attention)
        return ", ".join(words)


def candidates(model: nn.Module, device: str, *, exact: bool, long_run: bool) -> list[Execution]:
    """Ways worth timing for this model on this device, the plainest first; one only where `exact`."""
    plain = Execution(device=device, threads=torch.get_num_threads() if device == "cpu" else 0)
    if exact:
        return [plain]
    pictures = any(isinstance(module, (nn.Conv2d, nn.Conv3d)) for module in model.modules())
    kernels = any(isinstance(module, SelectsKernel) for module in model.modules())
    found = [plain]
    for precision in ("bf16", "float32"):
        for last in (True, False) if pictures else (False,):
            base = asdict(plain) | {"precision": precision, "matmul": "medium", "channels_last": last}
            found += [Execution(**base | {"attention": name}) for name in (("bmm", "sdpa") if kernels else ("",))]
    if device == "cpu" and plain.threads > 1:
        found[2:2] = [Execution(**asdict(one) | {"threads": 1}) for one in (found[1], plain)]
    if long_run and (device != "cpu" or shutil.which("g++") or shutil.which("c++")):
        found.append(Execution(**asdict(found[1]) | {"compile": True}))
    return found


def machine_facts() -> dict[str, Any]:
    """What results may depend on: processor, cores, threads, versions, memory."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(terse=True),
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
