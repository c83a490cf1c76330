"""GGUF files, read within bounds and written: a header of typed metadata, a list of tensors, their packed numbers.

    "GGUF" · version · number of tensors · number of entries · entries (key, type, value) · tensors (name, sizes, type, place) · numbers

Every count, length and place is compared with what is left of the file before memory is asked for: a lying file costs a sentence.
"""

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, final

import numpy as np
import torch
from torch import Tensor

from duomo.core.errors import ConfigError
from duomo.core.files import sync_folder
from duomo.core.messages import tr
from duomo.exchange.quants import BY_NUMBER, OTHERS, Packing

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
PLAIN = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}
STRING, ARRAY = 8, 9
MOST_ENTRIES, MOST_TENSORS, MOST_STRINGS, MOST_TEXT, MOST_NAME = 1 << 16, 1 << 17, 1 << 21, 1 << 25, 1 << 12
"""Far above any model of today; without them a file of short strings would become many times its own size."""
SLICE = 1 << 22
"""Numbers that are unpacked or packed at once."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its shape (rows first), packing and place in bytes."""

    shape: tuple[int, ...]
    packing: Packing
    start: int
    size: int


@final
class Cursor:
    """Reads a header forward, never past its end."""

    def __init__(self, data: mmap.mmap, path: Path):
        self.data, self.path, self.at, self.end = data, path, 0, len(data)
        self.strings = self.text = 0

    def fail(self, reason: str) -> NoReturn:
        raise ConfigError("A GGUF file must be whole and true to its format; {path} is not: {reason}", path=self.path, reason=reason)

    def take(self, size: int) -> bytes:
        if size > self.end - self.at:
            self.fail(tr("{size:,} bytes announced at {place:,}, {left:,} are left", size=size, place=self.at, left=self.end - self.at))
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, kind: str) -> Any:
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def count(self, least: int, most: int, what: str) -> int:
        """A count of things of at least `least` bytes each."""
        found: int = self.number("<Q")
        if found > most or found * least > self.end - self.at:
            self.fail(tr("{count:,} {what} announced, {left:,} bytes are left", count=found, what=what, left=self.end - self.at))
        return found

    def string(self, most: int = MOST_TEXT) -> str:
        size = self.count(1, most, tr("bytes of text"))
        self.strings, self.text = self.strings + 1, self.text + size
        if self.strings > MOST_STRINGS or self.text > MOST_TEXT:
            self.fail(tr("more text than any model needs"))
        return self.take(size).decode("utf-8", "surrogateescape")

    def value(self) -> Any:
        kind = self.number("<I")
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array()
        if kind not in PLAIN:
            self.fail(tr("an entry of type {kind}", kind=kind))
        return np.frombuffer(self.take(np.dtype(PLAIN[kind]).itemsize), PLAIN[kind])[0].item()

    def array(self) -> Any:
        """Strings as a list, numbers as an array; arrays of arrays, which no model has, are refused."""
        kind = self.number("<I")
        if kind == STRING:
            return [self.string() for _ in range(self.count(8, MOST_STRINGS, tr("strings")))]
        if kind not in PLAIN:
            self.fail(tr("an array of type {kind}", kind=kind))
        size = np.dtype(PLAIN[kind]).itemsize
        return np.frombuffer(self.take(size * self.count(size, 1 << 28, tr("numbers"))), PLAIN[kind])


@final
class File:
    """An opened GGUF file: `metadata` and `entries`; `tensor` unpacks one as float32."""

    def __init__(self, path: Path, data: mmap.mmap):
        self.path, self.data = path, data
        cursor = Cursor(data, path)
        if cursor.take(4) != MAGIC:
            cursor.fail(tr("it does not begin with GGUF"))
        version = cursor.number("<I")
        if version not in (2, 3):
            cursor.fail(tr("version {version}; 2 and 3 are known", version=version))
        tensors = cursor.count(32, MOST_TENSORS, tr("tensors"))
        self.metadata = self._metadata(cursor)
        self.entries = self._entries(cursor, tensors)

    def _metadata(self, cursor: Cursor) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(cursor.count(13, MOST_ENTRIES, tr("entries"))):
            key = cursor.string(MOST_NAME)
            if key in found:
                cursor.fail(tr("the key {key!r} twice", key=key[:80]))
            found[key] = cursor.value()
        return found

    def _entries(self, cursor: Cursor, count: int) -> dict[str, Entry]:
        listed: list[tuple[str, tuple[int, ...], Packing, int]] = []
        for _ in range(count):
            name, dimensions = cursor.string(MOST_NAME), cursor.number("<I")
            if not 1 <= dimensions <= 4:
                cursor.fail(tr("{count} dimensions of {name!r}", count=dimensions, name=name[:80]))
            sizes = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions))
            kind, place = cursor.number("<I"), cursor.number("<Q")
            if kind not in BY_NUMBER:
                raise ConfigError(
                    "The tensors of a GGUF file can be read as {known}; {name} of {path} is {kind}.",
                    known=", ".join(one.name.upper() for one in BY_NUMBER.values()), name=name[:80], path=self.path,
                    kind=OTHERS.get(kind, kind),
                )  # fmt: skip
            listed.append((name, sizes[::-1], BY_NUMBER[kind], place))
        alignment = self.metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment not in (1 << power for power in range(3, 17)):
            cursor.fail(tr("an alignment of {alignment!r}", alignment=alignment))
        base = -(-cursor.at // alignment) * alignment
        return _placed(listed, base, alignment, cursor)

    def tensor(self, name: str) -> Tensor:
        """One tensor, float32."""
        entry = self.entries[name]
        found = np.empty(math.prod(entry.shape), np.float32)
        step, at = SLICE // entry.packing.numbers, 0
        blocks = entry.size // entry.packing.size
        raw = np.frombuffer(self.data, np.uint8, entry.size, entry.start).reshape(blocks, entry.packing.size)
        with np.errstate(invalid="ignore", over="ignore"):  # scales that are no numbers give weights that are none
            for start in range(0, blocks, step):
                part = entry.packing.unpack(raw[start : start + step]).reshape(-1)
                found[at : at + len(part)] = part
                at += len(part)
        return torch.from_numpy(found.reshape(entry.shape))


def _placed(listed: list[tuple[str, tuple[int, ...], Packing, int]], base: int, alignment: int, cursor: Cursor) -> dict[str, Entry]:
    """The tensors with their places, each inside the file and no two over one another."""
    found: dict[str, Entry] = {}
    for name, shape, packing, place in listed:
        numbers = math.prod(shape)
        if name in found or numbers < 1 or shape[-1] % packing.numbers:
            cursor.fail(
                tr(
                    "the tensor {name!r} twice, empty, or with rows of {width:,} that its blocks do not fill",
                    name=name[:80],
                    width=shape[-1],
                )
            )
        size = numbers // packing.numbers * packing.size
        if place % alignment or base + place + size > cursor.end:
            cursor.fail(
                tr("the tensor {name!r} of {size:,} bytes at {place:,} does not lie in the file", name=name[:80], size=size, place=place)
            )
        found[name] = Entry(shape, packing, base + place, size)
    end = 0
    for entry in sorted(found.values(), key=lambda one: one.start):
        if entry.start < end:
            cursor.fail(tr("two tensors in one place"))
        end = entry.start + entry.size
    return found


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """The file, its header checked; ConfigError where it is none or lies."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < 24:
            raise ConfigError("A GGUF file must be whole and true to its format; {path} is not: {reason}", path=path, reason="too short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            made = File(path, data)
            try:
                yield made
            finally:
                del made


# -- writing
def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    """A metadata value in the type that readers expect: whole numbers u32, reals f32, lists by their first item."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, np.ndarray):
        kind = next(number for number, name in PLAIN.items() if np.dtype(name) == value.dtype)
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + value.tobytes()
    return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_string, value))


def write(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Tensor], packings: Mapping[str, Packing]) -> None:
    """A file with these tensors, each packed as said; it appears whole or not at all."""
    head = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    head += [_string(key) + _value(value) for key, value in metadata.items()]
    place = 0
    for name, value in tensors.items():
        packing = packings[name]
        size = value.numel() // packing.numbers * packing.size
        head.append(_string(name) + struct.pack("<I", value.ndim) + struct.pack(f"<{value.ndim}Q", *value.shape[::-1]))
        head.append(struct.pack("<IQ", packing.number, place))
        place += -(-size // ALIGNMENT) * ALIGNMENT
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(b"".join(head))
            for name, value in tensors.items():
                file.write(bytes(-file.tell() % ALIGNMENT))
                _write_tensor(file, value, packings[name])
            file.write(bytes(-file.tell() % ALIGNMENT))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write_tensor(file: Any, value: Tensor, packing: Packing) -> None:
    assert packing.pack is not None
    flat = value.detach().float().contiguous().view(-1).numpy()
    for start in range(0, len(flat), SLICE):
        file.write(packing.pack(flat[start : start + SLICE].reshape(-1, packing.numbers)).tobytes())
