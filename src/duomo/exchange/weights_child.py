"""The process in which a `.pth` is looked at: prints one JSON line that says where in the file each tensor lies.

It is started by `weights.py` with this file's path alone (`python -I`), so that it holds nothing of the project. The stream of pickle
opcodes is walked by the machine below, which knows the few that tensors are written with; names of functions and classes are strings
that are looked up in a fixed list, and nothing is ever imported or called. The numbers themselves are not read here.

Formats: the zip of torch ≥ 1.6 (entries stored, not compressed), and the stream before it (magic number, protocol, system, object,
keys, then every storage).
"""

import io
import json
import os
import resource
import struct
import sys
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

MEMORY, SECONDS = 768 << 20, 20
LARGEST_STREAM, MOST_STEPS, MOST_VALUES, LONGEST_NAME, DEEPEST = 64 << 20, 4_000_000, 400_000, 400, 8
MAGIC = 0x1950A86A20F9469CFC6C
SIZES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1}
INNER = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params", "ema")
"""Where training scripts put the weights."""


class Refusal(ValueError):
    """Why this file is not read, in a few words."""


class Named(NamedTuple):
    module: str
    name: str


class Storage(NamedTuple):
    key: str
    kind: str
    numbers: int


class Tensor(NamedTuple):
    storage: Storage
    offset: int
    shape: list[int]
    stride: list[int]


class Mark: ...


def natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise Refusal("a size that is no natural number")
    return value


def sizes(value: Any) -> list[int]:
    if not isinstance(value, (tuple, list)) or len(value) > DEEPEST:
        raise Refusal("a shape that is none")
    return [natural(size) for size in value]


def storage_of(parts: Any) -> Storage:
    """What a persistent id stands for: ('storage', class, key, place, count[, view])."""
    if not isinstance(parts, tuple) or len(parts) not in (5, 6) or parts[0] != "storage" or (len(parts) == 6 and parts[5] is not None):
        raise Refusal("a persistent id that is no storage")
    kind, key = parts[1], parts[2]
    if not isinstance(kind, Named) or kind.module != "torch" or kind.name.removesuffix("Storage") not in SIZES or not isinstance(key, str):
        raise Refusal("a storage of an unknown type")
    return Storage(key[:LONGEST_NAME], kind.name.removesuffix("Storage"), natural(parts[4]))


def _tensor(given: tuple) -> Tensor:
    if len(given) < 4 or not isinstance(given[0], Storage):
        raise Refusal("a tensor without a storage")
    found = Tensor(given[0], natural(given[1]), sizes(given[2]), sizes(given[3]))
    if len(found.shape) != len(found.stride):
        raise Refusal("a tensor whose shape and strides differ in length")
    return found


def _parameter(given: tuple) -> Tensor:
    if not given or not isinstance(given[0], Tensor):
        raise Refusal("a parameter without a tensor")
    return given[0]


def _ordered(given: tuple) -> dict:
    if given:
        raise Refusal("a dictionary made from something")
    return {}


CALLS: dict[tuple[str, str], Callable[[tuple], Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("collections", "OrderedDict"): _ordered,
    ("torch", "Size"): lambda given: tuple(sizes(given[0])) if given else (),
}
NAMES = {*CALLS, *(("torch", f"{kind}Storage") for kind in SIZES)}


class Machine:
    """Pickle's stack machine, without its hands: whatever is not a plain value or a tensor is refused."""

    def __init__(self, file: BinaryIO):
        self.file, self.steps = file, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.kinds: dict[str, str] = {}

    def take(self, count: int) -> bytes:
        if count < 0 or count > LARGEST_STREAM:
            raise Refusal("a value that is too long")
        found = self.file.read(count)
        if len(found) < count:
            raise Refusal("the stream ends too early")
        return found

    def drop(self, count: int) -> None:
        """Pass over `count` bytes, or with 0 over the last value."""
        self.take(count) if count else self.pop()

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def line(self) -> str:
        found = self.file.readline(LONGEST_NAME)
        if not found.endswith(b"\n"):
            raise Refusal("a name that is too long")
        return found[:-1].decode("utf-8", "replace")

    def pop(self) -> Any:
        if not self.stack or isinstance(self.stack[-1], Mark):
            raise Refusal("the stack is empty")
        return self.stack.pop()

    def popped(self) -> list:
        """Everything above the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[place], Mark):
                found = self.stack[place + 1 :]
                del self.stack[place:]
                return found
        raise Refusal("there is no mark")

    def pairs(self, values: list) -> None:
        if len(values) % 2 or not self.stack or not isinstance(self.stack[-1], dict):
            raise Refusal("items that belong to no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (str, int, type(None), bool, float)):
                raise Refusal("a key that is no name")
            self.stack[-1][key] = value

    def extend(self, values: list) -> None:
        if not self.stack or not isinstance(self.stack[-1], list):
            raise Refusal("items that belong to no list")
        self.stack[-1].extend(values)

    def named(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refusal("a name that is none")
        if (module, name) not in NAMES:
            raise Refusal(f"{module[:80]}.{name[:80]}, which is no tensor")
        self.stack.append(Named(module, name))

    def reduce(self) -> None:
        given, function = self.pop(), self.pop()
        if not isinstance(function, Named) or function not in CALLS or not isinstance(given, tuple):
            raise Refusal("a call of something that makes no tensor")
        self.stack.append(CALLS[function](given))

    def build(self) -> None:
        """What torch keeps beside a state dict (its version numbers) is passed over."""
        self.pop()
        if not self.stack or not isinstance(self.stack[-1], dict):
            raise Refusal("a state that belongs to no dictionary")

    def remember(self, key: int) -> None:
        if len(self.memo) > MOST_STEPS or not self.stack:
            raise Refusal("too many values")
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise Refusal("a value that was never there")
        self.stack.append(self.memo[key])

    def storage(self) -> Storage:
        found = storage_of(self.pop())
        self.kinds[found.key] = found.kind
        return found

    def run(self) -> Any:
        while True:
            code = self.take(1)
            self.steps += 1
            if self.steps > MOST_STEPS or len(self.stack) > MOST_VALUES:
                raise Refusal("too many values")
            if code == b".":
                return self.pop()
            step = STEPS.get(code)
            if step is None:
                raise Refusal(f"the opcode {code!r}, which tensors do not need")
            step(self)


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        machine.stack.append(make(machine))

    return step


def _text(form: str) -> Callable[[Machine], None]:
    return _push(lambda machine: machine.take(machine.number(form)).decode("utf-8", "replace"))


def _long(form: str) -> Callable[[Machine], None]:
    def make(machine: Machine) -> int:
        size = machine.number(form)
        if not 0 <= size <= 64:
            raise Refusal("a number that is too long")
        return int.from_bytes(machine.take(size), "little", signed=True)

    return _push(make)


def _item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.pairs([key, value])


def _stack_name(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.named(module, name)


def _tuple_of(count: int) -> Callable[[Machine], None]:
    return _push(lambda machine: tuple([machine.pop() for _ in range(count)][::-1]))


STEPS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": lambda machine: machine.drop(1),
    b"\x95": lambda machine: machine.drop(8),
    b"(": _push(lambda machine: Mark()),
    b"0": lambda machine: machine.drop(0),
    b"N": _push(lambda machine: None),
    b"\x88": _push(lambda machine: True),
    b"\x89": _push(lambda machine: False),
    b"J": _push(lambda machine: machine.number("<i")),
    b"K": _push(lambda machine: machine.number("<B")),
    b"M": _push(lambda machine: machine.number("<H")),
    b"\x8a": _long("<B"),
    b"\x8b": _long("<i"),
    b"G": _push(lambda machine: struct.unpack(">d", machine.take(8))[0]),
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"\x8d": _text("<Q"),
    b"U": _text("<B"),
    b"T": _text("<i"),
    b"}": _push(lambda machine: {}),
    b"]": _push(lambda machine: []),
    b")": _push(lambda machine: ()),
    b"t": _push(lambda machine: tuple(machine.popped())),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"a": lambda machine: machine.extend([machine.pop()]),
    b"e": lambda machine: machine.extend(machine.popped()),
    b"s": _item,
    b"u": lambda machine: machine.pairs(machine.popped()),
    b"c": lambda machine: machine.named(machine.line(), machine.line()),
    b"\x93": _stack_name,
    b"R": lambda machine: machine.reduce(),
    b"b": lambda machine: machine.build(),
    b"q": lambda machine: machine.remember(machine.number("<B")),
    b"r": lambda machine: machine.remember(machine.number("<I")),
    b"\x94": lambda machine: machine.remember(len(machine.memo)),
    b"h": lambda machine: machine.recall(machine.number("<B")),
    b"j": lambda machine: machine.recall(machine.number("<I")),
    b"Q": _push(lambda machine: machine.storage()),
}


def state_of(root: Any) -> dict[str, Tensor]:
    """The dictionary of tensors: the object itself, or what lies under one of the usual names."""
    for _ in range(DEEPEST):
        if not isinstance(root, dict):
            break
        found = {name: value for name, value in root.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if found:
            return found
        root = next((root[name] for name in INNER if isinstance(root.get(name), dict)), None)
    raise Refusal("no dictionary of tensors")


def in_zip(path: str, length: int) -> tuple[dict[str, Tensor], dict[str, tuple[int, int]]]:
    """Tensors by name, and where each storage lies: (offset, bytes)."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        entries = archive.infolist()
        stems = [entry.filename.removesuffix("data.pkl") for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(stems) != 1 or len(entries) > MOST_VALUES:
            raise Refusal("no data.pkl")
        places: dict[str, tuple[int, int]] = {}
        stream = b""
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
                raise Refusal("compressed or encrypted entries")
            file.seek(entry.header_offset)
            head = file.read(30)
            if len(head) < 30 or head[:4] != b"PK\x03\x04":
                raise Refusal("a damaged entry")
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
            if start + entry.file_size > length:
                raise Refusal("an entry beyond the end of the file")
            name = entry.filename.removeprefix(stems[0])
            if name == "data.pkl":
                if entry.file_size > LARGEST_STREAM:
                    raise Refusal("a data.pkl that is too long")
                file.seek(start)
                stream = file.read(entry.file_size)
            elif name == "byteorder":
                file.seek(start)
                if file.read(min(entry.file_size, 16)) != b"little":
                    raise Refusal("numbers in another order of bytes")
            elif name.startswith("data/"):
                places[name[5:]] = (start, entry.file_size)
        return state_of(Machine(io.BytesIO(stream)).run()), places


def in_stream(path: str, length: int) -> tuple[dict[str, Tensor], dict[str, tuple[int, int]]]:
    """The same for the older form."""
    with open(path, "rb") as file:
        if Machine(file).run() != MAGIC:
            raise Refusal("no file that torch.save wrote")
        Machine(file).run()
        system = Machine(file).run()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise Refusal("numbers in another order of bytes")
        machine = Machine(file)
        tensors = state_of(machine.run())
        keys = Machine(file).run()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise Refusal("no list of storages")
        places = {}
        for key in keys:
            head = file.read(8)
            if len(head) < 8 or key not in machine.kinds:
                raise Refusal("storages that belong to no tensor")
            size = natural(struct.unpack("<q", head)[0]) * SIZES[machine.kinds[key]]
            if file.tell() + size > length:
                raise Refusal("a storage beyond the end of the file")
            places[key] = (file.tell(), size)
            file.seek(size, os.SEEK_CUR)
        return tensors, places


def described(tensors: dict[str, Tensor], places: dict[str, tuple[int, int]]) -> dict[str, list]:
    """Name -> type, shape, strides, first byte, bytes spanned; every tensor lies within its storage and is no larger."""
    found = {}
    for name, (storage, offset, shape, stride) in tensors.items():
        if storage.key not in places or len(name) > LONGEST_NAME:
            raise Refusal("a tensor whose numbers are missing")
        size, (start, held) = SIZES[storage.kind], places[storage.key]
        count = 1
        for each in shape:
            count *= each
        last = offset + sum((each - 1) * step for each, step in zip(shape, stride, strict=True)) if count else offset
        if (last + 1 if count else last) * size > held or count * size > held:
            raise Refusal("a tensor beyond its storage")
        found[name] = [storage.kind, shape, stride, start + offset * size, (last + 1 - offset) * size if count else 0]
    return found


FAULTS = (zipfile.BadZipFile, NotImplementedError, OverflowError, ValueError, OSError, MemoryError)
"""What zipfile, a place outside the file and this process's limit raise; the machine itself refuses whatever it does not know."""


def main(path: str) -> dict[str, Any]:
    length = os.path.getsize(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        return {"tensors": described(*(in_zip if zipped else in_stream)(path, length))}
    except Refusal as refusal:
        return {"refused": str(refusal)}
    except FAULTS as fault:
        return {"refused": f"damage ({type(fault).__name__})"}


if __name__ == "__main__":
    limits = {resource.RLIMIT_AS: MEMORY, resource.RLIMIT_CPU: SECONDS, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    print(json.dumps(main(sys.argv[1])))
