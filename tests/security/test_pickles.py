"""Weights of strangers: a `.pth` gives its tensors or one sentence, runs nothing, and no file takes more memory than it is long."""

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from duomo.core.errors import DataError, DuomoError
from duomo.exchange import pictures, weights, weights_child

MARK = "ran-the-payload"


class Runs:
    """Pickles as a call of `function`."""

    def __init__(self, function, *given):
        self.call = (function, given)

    def __reduce__(self):
        return self.call


def zipped(stream: bytes, *, data: bytes = b"\0" * 16, method: int = zipfile.ZIP_STORED, again: bytes | None = None) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        archive.writestr("archive/data.pkl", stream)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", data)
        if again is not None:
            archive.writestr("other/data.pkl", again)
    return body.getvalue()


def tensor(shape: tuple, stride: tuple, count: int, offset: int = 0, kind: str = "FloatStorage") -> bytes:
    """A stream with one tensor, written by hand."""

    def number(value: int) -> bytes:
        body = value.to_bytes(9, "little", signed=True)
        return b"\x8a" + bytes([len(body)]) + body

    def numbers(values: tuple) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu") + number(count) + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(shape) + numbers(stride) + b"\x89}tR"
    return b"\x80\x02}" + text("x") + call + b"s."


def tricks(command: str) -> dict[str, bytes]:
    payload = f"(S'{command}'\n"
    text = command.encode()
    module, name = b"\x8c\x05posix", b"\x8c\x06system"
    good = pickle.dumps({"a": 1}, 2)
    plain = {
        "reduce": pickle.dumps(Runs(os.system, command), 2),
        "reduce, protocol 4": pickle.dumps(Runs(os.system, command), 4),
        "reduce, protocol 5": pickle.dumps({"x": Runs(os.system, command)}, 5),
        "reduce, protocol 0": pickle.dumps(Runs(os.system, command), 0),
        "inst": f"(S'{command}'\niposix\nsystem\n.".encode(),
        "obj": b"(cposix\nsystem\nX" + struct.pack("<I", len(text)) + text + b"o.",
        "newobj": b"\x80\x02cposix\nsystem\n(X" + struct.pack("<I", len(text)) + text + b"t\x81.",
        "newobj_ex": b"\x80\x04cposix\nsystem\n)}\x92.",
        "stack_global": b"\x80\x04" + module + name + b"\x93(\x8c" + bytes([min(255, len(text))]) + text[:255] + b"tR.",
        "split name": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent text": b"\x80\x02Pposix\n.",
        "eval": pickle.dumps(Runs(eval, f"__import__('os').system({command!r})"), 2),
        "exec": pickle.dumps(Runs(exec, f"import os; os.system({command!r})"), 4),
        "import": pickle.dumps(Runs(__import__, "antigravity"), 2),
        "getattr": pickle.dumps(Runs(getattr, os, "system") if False else Runs(getattr, "x", "upper"), 2),
        "subprocess": pickle.dumps(Runs(subprocess.check_output, ["sh", "-c", command]), 2),
        "second stream after a good one": good + pickle.dumps(Runs(os.system, command), 2),
        "build": b"\x80\x02ccollections\nOrderedDict\n)Rcposix\nsystem\nb" + payload.encode() + b"tR.",
        "load_from_bytes": b"\x80\x02ctorch.storage\n_load_from_bytes\n(X\x01\0\0\0atR.",
        "numpy reconstruct": pickle.dumps(np.arange(3), 2),
        "object array": pickle.dumps(np.array([Runs(os.system, command)], object), 2),
        "set": pickle.dumps({1, 2}, 4),
        "doubling": b"\x80\x02]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40)) + b".",
        "endless memo": b"\x80\x02N" + b"\x94" * 2_000 + b"2" * 5 + b".",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",
        "huge number": b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFF0) + b"x.",
        "deep": b"\x80\x02" + b"(" * 50_000 + b"t" * 50_000 + b".",
        "nothing": b"\x80\x02.",
        "text mark": b"\x80\x02(t(.",
    }
    found = {f"{name}, bare": stream for name, stream in plain.items()} | {f"{name}, zip": zipped(stream) for name, stream in plain.items()}
    legacy = [pickle.dumps(weights_child.MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    found |= {f"{name}, old form": b"".join(legacy) + stream for name, stream in plain.items()}
    return found | {
        "deflated data.pkl": zipped(tensor((4,), (1,), 4), method=zipfile.ZIP_DEFLATED),
        "deflated bomb": zipped(b"\x80\x02" + b"0" * 50_000_000, method=zipfile.ZIP_DEFLATED),
        "two data.pkl": zipped(tensor((4,), (1,), 4), again=plain["reduce"]),
        "shape beyond the storage": zipped(tensor((1 << 40,), (1,), 1 << 40)),
        "no stride": zipped(tensor((1 << 40,), (0,), 4)),
        "negative offset": zipped(tensor((4,), (1,), 4, -8)),
        "negative shape": zipped(tensor((-4, -4), (1, 1), 4)),
        "deep shape": zipped(tensor((1,) * 500, (1,) * 500, 4)),
        "stride beyond": zipped(tensor((2,), (1 << 40,), 4)),
        "unknown storage": zipped(tensor((4,), (1,), 4, kind="UntypedStorage")),
        "a zip of something else": zipped(b"").replace(b"data.pkl", b"data.txt"),
        "npy": b"\x80NUMPY\x01\0" + b"x" * 100,
        "empty zip": b"PK\x03\x04" + b"\0" * 40,
    }


def test_nothing_runs_and_one_sentence_comes(tmp_path):
    command = f"touch {tmp_path / MARK}"
    path = tmp_path / "model.pth"
    for name, body in tricks(command).items():
        path.write_bytes(body)
        told = weights_child.main(str(path))
        assert set(told) == {"refused"} and "\n" not in told["refused"], (name, told)
        assert not (tmp_path / MARK).exists(), name


@pytest.mark.parametrize("name", ["reduce, zip", "stack_global, old form", "shape beyond the storage", "deep, bare", "deflated bomb"])
def test_the_child_process_refuses_too(name, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(tricks(f"touch {tmp_path / MARK}")[name])
    with pytest.raises(DataError, match="refused") as caught:
        pictures.read(path)
    assert "\n" not in str(caught.value) and not (tmp_path / MARK).exists()


def saved(folder: Path) -> list[Path]:
    values = {
        "state_dict": {"a.weight": torch.randn(6, 5).t(), "b": torch.nn.Parameter(torch.randn(7).half()), "c": torch.arange(3)},
        "n": 3,
    }
    for name, new in (("new.pth", True), ("old.pth", False)):
        torch.save(values, folder / name, _use_new_zipfile_serialization=new)
    return [folder / "new.pth", folder / "old.pth"]


def test_what_torch_saved_is_read(tmp_path):
    for path in saved(tmp_path):
        found, wanted = weights.read(path), torch.load(path, weights_only=True)["state_dict"]
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted)


def test_mutations_are_read_or_refused(tmp_path):
    """Bytes flipped, cut out, doubled and zeroed: an answer always, and never one that points outside the file."""
    drawn = random.Random(0)
    path = tmp_path / "mutated.pth"
    for good in (one.read_bytes() for one in saved(tmp_path)):
        for _ in range(700):
            body = bytearray(good)
            for _ in range(drawn.randint(1, 6)):
                place = drawn.randrange(len(body))
                kind = drawn.randrange(4)
                if kind == 0:
                    body[place] = drawn.randrange(256)
                elif kind == 1:
                    del body[place : place + drawn.randint(1, 40)]
                elif kind == 2:
                    body[place:place] = body[place : place + 30]
                else:
                    body[place : place + 8] = struct.pack("<q", drawn.choice([-1, 1 << 62, 0, 1 << 31]))[: len(body[place : place + 8])]
                body = body or bytearray(b"x")
            path.write_bytes(body)
            told = weights_child.main(str(path))
            assert told.keys() in ({"refused"}, {"tensors"})
            for _, _, _, start, size in told.get("tensors", {}).values():
                assert start >= 0 and start + size <= len(body)


def test_limits_hold_in_the_child(tmp_path):
    """Four million pushes of one opcode: refused within seconds, in a process that cannot take more than its memory."""
    path = tmp_path / "long.pth"
    path.write_bytes(b"\x80\x02" + b"]" * 5_000_000 + b".")
    told = weights.look(path)
    assert set(told) == {"refused"}


def test_safetensors_that_lie(tmp_path):
    path = tmp_path / "model.safetensors"
    header = b'{"conv1.weight":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    assert weights.is_safetensors(path)
    assert not pictures.knows(path)
    with pytest.raises(DuomoError, match="whole"):
        weights.read(path)


def test_the_same_without_assertions():
    """`python -O` changes nothing: the child rests on no assertion."""
    code = "import sys; sys.argv=['x']; from duomo.exchange import weights_child as c; print(c.main('/dev/null'))"
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=True)
    assert "refused" in done.stdout
