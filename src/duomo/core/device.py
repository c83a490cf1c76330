"""Where and how a model runs: everything about execution that leaves the mathematics alone.

`candidates` lists what is worth timing for a model on this machine; `train.probe` times them. What was measured, and what
lost, is in docs/experiments.md.
"""

import os
import platform
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from torch import Tensor, nn

from duomo.core.errors import ConfigError
from duomo.core.kernels import has_attention, set_attention_kernel
from duomo.core.messages import tr
from duomo.core.runtime import keep

RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)
MOST_THREADS = 1024
"""Whatever a run's file says."""
MOST_PARTS = 4
"""Parts of a batch side by side: more of them leave each too few rows."""


class Shared:
    """A setting of the process while several compute at once: the first finds it as it was, the last leaves it so."""

    def __init__(self, read: Callable[[], Any], put: Callable[[Any], object], *, own: bool = False):
        """`own`: a new thread takes over what another has set and then has it for itself: each gives back what was there before the first.
        Else whoever wants it otherwise waits until the others are done, and those that come later wait behind: nothing goes on and on."""
        self._read, self._put, self._own, self._free = read, put, own, threading.Condition()
        self._inside, self._value, self._before = 0, None, None
        self._queue: list[object] = []

    @contextmanager
    def at(self, value: Any) -> Iterator[None]:
        """0: as it is."""
        if not value:
            yield
            return
        with self._free:
            self._queue.append(turn := object())
            try:
                self._free.wait_for(lambda: self._own or (self._queue[0] is turn and (not self._inside or self._value == value)))
            finally:
                self._queue.remove(turn)
                self._free.notify_all()
            self._before = before = self._before if self._inside else self._read()
            self._inside, self._value = self._inside + 1, value
            self._put(value)
        try:
            yield
        finally:
            with self._free:
                self._inside -= 1
                if self._own or not self._inside:
                    self._put(before)
                self._free.notify_all()


THREADS = Shared(torch.get_num_threads, torch.set_num_threads, own=True)
"""What torch does beside another engine must leave none of its own spinning."""
PRODUCTS = Shared(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
"""The precision of float32 products, which a training nearby may have changed."""


@dataclass(frozen=True)
class Execution:
    """One way to run a model."""

    device: str = "cpu"
    """cpu or cuda."""
    precision: Literal["float32", "bf16"] = "float32"
    """Type of products and convolutions; weights and optimizer stay float32."""
    matmul: Literal["highest", "medium"] = "highest"
    """medium: oneDNN's float32 products on a CPU (never where the chip has AMX: there it would compute in bf16), TF32 on CUDA."""
    channels_last: bool = False
    """Pictures and convolution weights with the channels innermost."""
    threads: int = 0
    """Threads of one operation on the CPU; 0: as they are."""
    parts: int = 1
    """Parts of a batch that are computed side by side in training, each by a thread of its own."""
    compile: bool = False
    """torch.compile, with its C++ or Triton kernels."""
    attention: Literal["bmm", "sdpa", ""] = ""
    """Attention kernel; empty: as the model has it."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Execution":
        """ConfigError for a name that is none of the fields."""
        unknown = sorted(set(values) - {one.name for one in fields(cls)})
        if unknown:
            raise ConfigError("An execution has no setting {names}. Remove it.", names=", ".join(unknown))
        return cls(**values)

    def settle(self) -> None:
        """Set threads and precision of the process, and let it keep what was freed."""
        keep()
        if self.threads:
            torch.set_num_threads(min(self.threads, MOST_THREADS))
        torch.set_float32_matmul_precision(self.products)
        if self.device != "cpu":
            torch.backends.cudnn.allow_tf32 = self.matmul == "medium"

    def apply(self, model: nn.Module) -> nn.Module:
        """What to call in place of `model`; its weights are the model's own, on the device. Sets threads and precision of the process."""
        self.settle()
        shape = torch.channels_last if self.channels_last else torch.contiguous_format
        model = model.to(self.device)
        if any(value.ndim == 4 for value in model.parameters()):
            model = model.to(memory_format=shape)  # type: ignore[call-overload]
        if self.attention:
            set_attention_kernel(model, self.attention)
        return torch.compile(model) if self.compile else model  # type: ignore[return-value]

    def laid(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The batch with its pictures (B, C, H, W) in the memory order of the weights."""
        if not self.channels_last:
            return dict(batch)
        return {name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value for name, value in batch.items()}

    @property
    def products(self) -> str:
        """torch's name for the precision of float32 products on this machine."""
        return "highest" if self.device == "cpu" and has_amx() else self.matmul

    def autocast(self) -> torch.autocast:
        """The context that forward passes run in; recurrent layers follow it too (oneDNN's LSTM runs in bf16)."""
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def on(self, device: str) -> "Execution":
        """As it answers there: on CUDA in true float32 too."""
        return self if device == self.device else replace(self, device=device, matmul="highest", threads=0)

    def __str__(self) -> str:
        parts = [self.device, self.precision] + ([tr("fast matmul")] if self.matmul == "medium" else [])
        parts += [tr("channels last")] if self.channels_last else []
        parts += [tr("{count} threads", count=self.threads) if self.threads > 1 else tr("1 thread")] if self.threads else []
        parts += [tr("{count} parts side by side", count=self.parts)] if self.parts > 1 else []
        return " · ".join(parts + ([tr("compiled")] if self.compile else []) + ([self.attention] if self.attention else []))


def candidates(model: nn.Module, *, exact: bool, long_run: bool) -> list[Execution]:
    """Executions worth timing, the plain float32 one first; with `exact` nothing but float32 in the plainest form."""
    device = next((str(value.device) for value in model.parameters()), "cpu")
    pictures = _sees(model)
    compiled = long_run and not exact and can_compile(device) and not any(isinstance(module, RECURRENT) for module in model.modules())
    kernels: tuple[Any, ...] = ("bmm", "sdpa") if has_attention(model) else ("",)
    if device != "cpu":
        found = _on_cuda(device, kernels, pictures, exact)
    else:
        found = _on_cpu(kernels, pictures, exact)
    if compiled:
        found += [replace(one, compile=True) for one in found if one.precision == found[-1].precision and one.threads != 1][-len(kernels) :]
    return list(dict.fromkeys(found))


def _sees(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def _on_cpu(kernels: tuple[Any, ...], pictures: bool, exact: bool) -> list[Execution]:
    """Reference; then float32 through oneDNN, bf16 where the chip computes in it, once with one thread (small models)."""
    threads = cores()
    plain = Execution(threads=threads, attention=kernels[0])
    if exact:
        return [plain, replace(plain, threads=1)]
    found = [plain]
    best = replace(plain, matmul="highest" if has_amx() else "medium", channels_last=pictures)
    found.append(best)
    if bf16_on_cpu():
        best = replace(best, precision="bf16")
        found += [replace(best, attention=kernel) for kernel in kernels]
    else:
        found += [replace(best, attention=kernel) for kernel in kernels[1:]]
    if threads > 1:
        found += [replace(best, threads=1, parts=min(threads, MOST_PARTS)), replace(best, threads=1)]
    return found


def _on_cuda(device: str, kernels: tuple[Any, ...], pictures: bool, exact: bool) -> list[Execution]:
    plain = Execution(device=device, attention=kernels[-1])
    if exact:
        return [plain]
    fast = replace(plain, matmul="medium", channels_last=pictures)
    found = [plain, fast]
    return found + ([replace(fast, precision="bf16")] if torch.cuda.is_bf16_supported() else [])


def answering(model: nn.Module, *, exact: bool = False) -> Execution:
    """How a finished model answers: float32 on the CPU, pictures channels last, products by oneDNN where MKL, made for Intel, is slower."""
    amd = any("AuthenticAMD" in line for line in _cpu_lines() if line.startswith("vendor_id"))
    plain = Execution(attention="bmm" if has_attention(model) else "")
    return plain if exact else replace(plain, matmul="medium" if amd else "highest", channels_last=_sees(model))


def is_here(device: str) -> bool:
    """Whether this machine has it: cpu, cuda or cuda:N."""
    places = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return device == "cpu" or (places > 0 and device == "cuda") or device in [f"cuda:{place}" for place in range(places)]


def offered(wish: str = "") -> str:
    """The device to compute on: the wished one, else what DUOMO_DEVICE in the environment names, else CUDA's where there is one.
    ConfigError for one that is not there."""
    name = wish or os.environ.get("DUOMO_DEVICE", "") or ("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError("A device must be cpu, cuda or cuda:N; received {name!r}.", name=name)
    if not is_here(name):
        raise ConfigError("The device {name} is asked for, and this machine has none of that name. Leave it out, or say cpu.", name=name)
    return name


def at_hand(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch on the device of the model's weights; as it is where there are none."""
    device = next((value.device for value in model.parameters()), None)
    return {name: value.to(device) for name, value in batch.items()}


def cores() -> int:
    """Cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _cpu_has(*wanted: str) -> bool:
    """Whether the chip names one of these among what it can do."""
    flags = next((line for line in _cpu_lines() if line.startswith(("flags", "Features"))), "").split()
    return not set(wanted).isdisjoint(flags)


def bf16_on_cpu() -> bool:
    """Whether the chip multiplies bf16 itself: elsewhere bf16 is emulated, up to hundreds of times slower."""
    return _cpu_has("avx512_bf16", "amx_bf16", "bf16")


@cache
def has_amx() -> bool:
    """Whether the chip has Intel's units for products in bf16, which oneDNN also takes for float32 ones that need not be exact."""
    return _cpu_has("amx_tile")


def can_compile(device: str) -> bool:
    """torch.compile writes C++ on a CPU and Triton on CUDA."""
    return device != "cpu" or any(shutil.which(name) for name in ("g++", "clang++"))


def machine_facts() -> dict[str, Any]:
    """JSON values: what equality to the last bit depends on, and the memory that is free now (`memory_bytes`)."""
    name = next((line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.processor())
    return {
        "system": f"{platform.system()} {platform.machine()}", "cpu": name, "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": cores(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu", "memory_bytes": psutil.virtual_memory().available,
    }  # fmt: skip
