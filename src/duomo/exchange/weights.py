"""Tensors of a file by name: safetensors, and `.pth` through a child process that reads no code and runs none.

A `.pth` is pickle, which is a program. `weights_child.py` walks it in a process of its own with capped memory and time, and says where in
the file each tensor lies; the numbers are then read from there. Every size is checked against the file before anything is allocated.
"""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from duomo.core.errors import DataError, ResourceError
from duomo.exchange import weights_child

SECONDS = 30.0
LARGEST_HEADER = 100 << 20
TYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16, "Long": torch.int64,
    "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip
PTH = (".pth", ".pt", ".bin", ".ckpt")


def is_safetensors(path: Path) -> bool:
    """Whether the file begins with a header of safetensors that lies within it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    size = int.from_bytes(head[:8], "little")
    return len(head) == 9 and head[8:] == b"{" and 2 <= size <= min(LARGEST_HEADER, path.stat().st_size - 8)


def is_pth(path: Path) -> bool:
    """Whether the file is one that torch.save may have written: a zip, or a pickle of protocol 2 and more."""
    if not path.is_file() or path.suffix not in PTH:
        return False
    with path.open("rb") as file:
        head = file.read(4)
    return head == b"PK\x03\x04" or head[:1] == b"\x80"


def names(path: Path) -> list[str]:
    """The names in a safetensors file, from its header alone; empty where it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except SafetensorError:
        return []


def read(path: Path) -> dict[str, Tensor]:
    """Every tensor by name; DataError for a damaged or hostile file."""
    if is_safetensors(path):
        return _safetensors(path)
    told = look(path)
    if "tensors" not in told:
        raise DataError(
            "A .pth is read only as far as it holds tensors and nothing else; {file} is refused: {why}. Ask for safetensors, or save its "
            "state_dict alone.",
            file=path.name, why=told.get("refused", "?"),
        )  # fmt: skip
    return _placed(path, told["tensors"])


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DataError("A safetensors file must be whole; {file} is not: {why}.", file=path.name, why=str(error)[:200]) from None


def look(path: Path) -> dict[str, Any]:
    """{"tensors": name -> [type, shape, strides, first byte, bytes]} or {"refused": why}, from the child process."""
    command = [sys.executable, "-I", weights_child.__file__, str(path.absolute())]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, env={}, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
    except TimeoutExpired:
        return {"refused": "it takes too long"}
    except ValueError:
        return {"refused": "it takes too much memory or time"}
    except OSError as error:
        raise ResourceError("A .pth is looked at in a process of its own, which does not start: {why}.", why=error.strerror) from None
    return found


def _placed(path: Path, told: Mapping[str, list[Any]]) -> dict[str, Tensor]:
    """The tensors from their places; together never more than twice the file."""
    length, whole = path.stat().st_size, 0
    found: dict[str, Tensor] = {}
    data = np.memmap(path, np.uint8, "r")
    for name, (kind, shape, stride, start, size) in told.items():
        type_ = TYPES[kind]
        whole += math.prod(shape) * type_.itemsize
        if start + size > length or whole > 2 * length:
            raise DataError("The tensors of a .pth must fit into it; those of {file} do not.", file=path.name)
        flat = torch.from_numpy(np.array(data[start : start + size])).view(type_) if size else torch.empty(0, dtype=type_)
        found[name] = flat.as_strided(shape, stride).clone() if size else flat.reshape(shape)
    return found
