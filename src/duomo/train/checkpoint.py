"""Checkpoints that are whole or refused.

    checkpoints/step-00000120/   model.safetensors  optimizer.safetensors  [ema.safetensors]  [best.safetensors]  state.json  manifest.json
    checkpoints/base.safetensors weights that no step changes, written once: a checkpoint holds the sum of it

A checkpoint is written into a hidden folder, every file is synced, the manifest of SHA-256 sums comes last, the folder is synced,
and one rename makes it visible. Loading compares every byte with the manifest and falls back, aloud, to the newest one that is whole.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from duomo.core.errors import ResourceError
from duomo.core.files import JSON_FAULTS, sync_folder
from duomo.core.messages import tr

KEEP = 2
FORMAT = 1
BASE = "base.safetensors"
DTYPES = {
    torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64",
}  # fmt: skip
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Saved:
    """One checkpoint in memory: tensors by file stem, and the JSON state."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full disk, a quota or a limit on file size becomes a ResourceError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ResourceError(
            "Training must be able to write to {path}; the disk is full ({error}). "
            "The checkpoints written before are whole: free some space, then continue with `duomo resume {run}`.",
            path=path, error=error.strerror, run=path.parent,
        ) from None  # fmt: skip


class Checkpoints:
    """Writes, rotates and reads the checkpoints of one run folder."""

    def __init__(self, run: Path, say: Callable[[str], None]):
        self.folder, self.say = run / "checkpoints", say
        self.base = ""
        """Sum of base.safetensors, once it was written or read."""

    def keep(self, tensors: Tensors) -> str:
        """Write what no step changes, once in this process; its SHA-256, or "" where there is nothing."""
        if tensors and not self.base:
            hidden = self.folder / f".saving-base-{os.getpid()}"
            with disk_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    _remove(hidden)
                    hidden.mkdir()
                    self.base = _write_tensors(hidden / BASE, tensors)
                    os.replace(hidden / BASE, self.folder / BASE)
                    sync_folder(self.folder)
                finally:
                    _remove(hidden)
        return self.base

    def save(self, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
        """Write step `step`; ResourceError when the disk is full, and the older ones stay."""
        hidden = self.folder / f".saving-{os.getpid()}"
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _remove(hidden)
            try:
                hidden.mkdir()
                sums = {f"{name}.safetensors": _write_tensors(hidden / f"{name}.safetensors", held) for name, held in tensors.items()}
                sums["state.json"] = _write(hidden / "state.json", _json({"step": step, **state}))
                _write(hidden / "manifest.json", _json({"format": FORMAT, "step": step, "sha256": sums}))
                sync_folder(hidden)
                self._show(hidden, self.folder / f"step-{step:08d}")
            finally:
                _remove(hidden)
        self._rotate()

    def load(self) -> Saved | None:
        """The newest whole checkpoint, or None where there is none; damaged ones are named and set aside."""
        self._tidy()
        damaged = False
        for path in reversed(self.paths()):
            try:
                found = _read(path)
                self.base = found.state.get("base", "")
            except DAMAGE as error:
                damaged = True
                self.say(tr("Checkpoint {name} is damaged ({error}): it is set aside, and the one before it is tried.",
                            name=path.name, error=error))  # fmt: skip
                self._set_aside(path)
                continue
            if damaged:
                self.say(tr("Continuing from {name}, the newest checkpoint that is whole.", name=path.name))
            return found
        if damaged:
            self.say(tr("No checkpoint is whole: training starts again from the first step."))
        return None

    def paths(self) -> list[Path]:
        """Visible checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def bytes(self) -> int:
        return sum(path.stat().st_size for path in [*self.folder.glob("*/*"), *self.folder.glob(BASE)])

    def _show(self, hidden: Path, path: Path) -> None:
        if path.exists():
            os.rename(path, self.folder / f".old-{path.name}-{os.getpid()}")
        os.rename(hidden, path)
        sync_folder(self.folder)

    def _rotate(self) -> None:
        """Drop all but the newest. Renaming first: a half-removed folder must not look like a checkpoint."""
        for path in self.paths()[:-KEEP]:
            os.rename(path, self.folder / f".old-{path.name}-{os.getpid()}")
        self._tidy()

    def _tidy(self) -> None:
        for path in [*self.folder.glob(".saving-*"), *self.folder.glob(".old-*")]:
            _remove(path)

    def _set_aside(self, path: Path) -> None:
        aside = self.folder / f"damaged-{path.name}"
        _remove(aside)
        os.rename(path, aside)


class _DamagedError(Exception):
    """Why a checkpoint cannot be trusted."""


DAMAGE = (_DamagedError, OSError)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _json(value: Any) -> bytes:
    """One spelling per value, so that any changed byte shows."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _write(path: Path, *parts: bytes | memoryview) -> str:
    """Write and sync; SHA-256 of what was meant, not of what the disk gives back."""
    total = hashlib.sha256()
    with path.open("xb") as file:
        for part in parts:
            total.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return total.hexdigest()


def _write_tensors(path: Path, tensors: Tensors) -> str:
    """The safetensors format (length of the header, header as JSON, bytes), streamed without a second copy in memory."""
    header: dict[str, Any] = {}
    parts: list[memoryview] = []
    place = 0
    for name, tensor in sorted(tensors.items()):
        value = tensor.detach().cpu().contiguous()
        part = value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else memoryview(b"")
        header[name] = {"dtype": DTYPES[value.dtype], "shape": list(value.shape), "data_offsets": [place, place + part.nbytes]}
        parts.append(part)
        place += part.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return _write(path, len(text).to_bytes(8, "little"), text, *parts)


def _read(path: Path) -> Saved:
    """Every file compared with the manifest before any of it is used."""
    manifest = _parse(_bytes(path, "manifest.json"), "manifest.json")
    sums = manifest.get("sha256")
    if manifest.get("format") != FORMAT or not isinstance(sums, dict) or f"step-{manifest.get('step')!s:0>8}" != path.name:
        raise _DamagedError(tr("its manifest does not fit"))
    if {"model.safetensors", "optimizer.safetensors", "state.json"} - set(sums) or any("/" in name for name in sums):
        raise _DamagedError(tr("its manifest does not fit"))
    content: dict[str, bytes] = {}
    for name, expected in sums.items():
        content[name] = _bytes(path, name)
        if hashlib.sha256(content[name]).hexdigest() != expected:
            raise _DamagedError(tr("{name} has changed", name=name))
    try:
        tensors = {name.removesuffix(".safetensors"): load(data) for name, data in content.items() if name.endswith(".safetensors")}
    except SafetensorError as error:
        raise _DamagedError(str(error)) from None
    state = _parse(content["state.json"], "state.json")
    if state.get("base"):
        tensors["base"] = _read_base(path.parent, state["base"])
    return Saved(int(manifest["step"]), tensors, state)


def _read_base(folder: Path, expected: str) -> dict[str, Tensor]:
    data = _bytes(folder, BASE)
    if hashlib.sha256(data).hexdigest() != expected:
        raise _DamagedError(tr("{name} has changed", name=BASE))
    return load(data)


def _bytes(path: Path, name: str) -> bytes:
    if not (path / name).is_file():
        raise _DamagedError(tr("{name} is missing", name=name))
    return (path / name).read_bytes()


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except JSON_FAULTS:
        raise _DamagedError(tr("{name} has changed", name=name)) from None
    if not isinstance(value, dict) or _json(value) != data:
        raise _DamagedError(tr("{name} has changed", name=name))
    return value
