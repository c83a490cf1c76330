"""Damaged and lying model files against their readers: python tests/security/fuzz_models.py COUNT [SEED] [--control]

Whatever the bytes, `open_pretrained` returns a model or raises a DuomoError, and the process never grows by more than the file and
256 MB. Prints one line of JSON; the tests run a few thousand, `COUNT` of 100,000 is the soak. `--control` leaves out the reader's checks
of counts: the harness must then find something.
"""

import json
import os
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from duomo.core.contract import Field, Head
from duomo.core.errors import DuomoError
from duomo.core.find import model_config, model_module
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import ModelConfig
from duomo.exchange import gguf, gguf_models, hf
from duomo.exchange.opening import open_pretrained

LIMIT = 256 * 1024 * 1024
LIES = (0, 1, 2, 3, 7, 8, 9, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def seeds(folder: Path) -> list[Path]:
    """A small model as GGUF with its tokenizer, and as a Hugging Face folder; both open."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())[:60]
    made = Tokenizer(models.BPE({sign: number for number, sign in enumerate(["<s>", "</s>", *signs])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = text_kind.given(made.to_str(), {"begin": "<s>", "end": "</s>"}, 0, 64) | {"chat_template": "{{ messages[0].content }}"}
    options = {"width": 32, "depth": 1, "heads": 2, "key_heads": 1, "hidden": 32, "dropout": 0.0}
    config, size = model_config(ModelConfig("gpt", "base", options=options)), int(text["size"])
    torch.manual_seed(0)
    model = model_module("gpt").Model(config, {"text": Field("tokens", (8,), (size,))}, Head(size, "step"))
    found = Pretrained("gpt", dict(vars(config)), model.state_dict(), {"text": text})
    for kind in ("f32", "q4_0"):
        gguf_models.write(folder / f"{kind}.gguf", found, kind)
    hf.write(folder / "hf", found)
    return [folder / "f32.gguf", folder / "q4_0.gguf", folder / "hf" / "model.safetensors", folder / "hf" / "config.json",
            folder / "hf" / "tokenizer.json", folder / "hf" / "tokenizer_config.json"]  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to four changes, most of them in the header: bits, numbers that lie, pieces cut out, doubled or exchanged, an early end."""
    raw = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        head = len(raw) if draw.random() < 0.2 else min(len(raw), 4000)
        at, kind = draw.randrange(max(1, head)), draw.randrange(7)
        if kind == 0:
            raw[at : at + 1] = bytes([draw.randrange(256)])
        elif kind in (1, 2):
            lie = draw.choice(LIES) if kind == 1 else max(0, len(raw) + draw.randrange(-64, 64))
            wide = draw.choice(("<Q", "<I"))
            raw[at : at + struct.calcsize(wide)] = struct.pack(wide, lie & (2 ** (8 * struct.calcsize(wide)) - 1))
        elif kind == 3:
            del raw[draw.randrange(len(raw) + 1) :]
        elif kind == 4:
            del raw[at : at + draw.choice((1, 4, 8, 40))]
        elif kind == 5:
            raw[at:at] = raw[at : at + draw.choice((4, 8, 64))]
        else:
            number = str(draw.choice(LIES)).encode()
            raw[at : at + draw.choice((1, 2))] = b"-" + number if draw.random() < 0.3 else number
        if not raw:
            break
    return bytes(raw)


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


def crafted() -> Iterator[tuple[str, bytes]]:
    """Lies by design: each must cost a sentence and no memory."""
    head = b"GGUF" + struct.pack("<I", 3)
    yield "counts", head + struct.pack("<QQ", 2**63, 2**63) + bytes(64)
    yield "entries", head + struct.pack("<QQ", 0, 2**40) + bytes(64)
    yield "a giant string", head + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**62) + bytes(64)
    yield "a giant array", head + struct.pack("<QQ", 0, 1) + entry(b"k", 9, struct.pack("<IQ", 10, 2**61)) + bytes(64)
    yield "many strings", head + struct.pack("<QQ", 0, 1) + entry(b"k", 9, struct.pack("<IQ", 8, 2**21)) + bytes(8 * 2**21)
    nested = b"".join(struct.pack("<IQ", 9, 1) for _ in range(100_000))
    yield "arrays of arrays", head + struct.pack("<QQ", 0, 1) + entry(b"k", 9, nested)
    for sizes in ((2**32, 2**32), (2**63, 2), (0, 4), (2**64 - 1,), (1,) * 5):
        named = struct.pack("<Q", 1) + b"t" + struct.pack("<I", len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
        yield f"sizes {sizes}", head + struct.pack("<QQ", 1, 0) + named + struct.pack("<IQ", 0, 0) + bytes(64)
    many = b"".join(
        struct.pack("<Q", 8) + f"t{n:07}".encode() + struct.pack("<IQ", 1, 2**18) + struct.pack("<IQ", 0, 0) for n in range(1000)
    )
    yield "a thousand tensors in one place", head + struct.pack("<QQ", 1000, 0) + many + bytes(2**20 + 64)
    yield "an alignment of zero", head + struct.pack("<QQ", 0, 1) + entry(b"general.alignment", 4, struct.pack("<I", 0))


def tried(path: Path) -> str:
    """What a reader said: nothing, the first words of a refusal, or a crash by its name."""
    try:
        open_pretrained(path)
    except DuomoError:
        return ""
    except BaseException as error:  # noqa: BLE001  the harness looks for exactly this; a panic in Rust is no Exception
        return f"{type(error).__name__}: {str(error)[:100]}"
    return "opened"


def unchecked(cursor: gguf.Cursor, least: int, most: int, what: str) -> int:
    """The control: counts are believed, and memory is asked for before the file is looked at."""
    found: int = cursor.number("<Q")
    bytearray(min(found * least, 2**30))
    return found


def run(count: int, seed: int) -> dict:
    process, draw, crashes, opened = psutil.Process(), random.Random(seed), [], 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = seeds(folder)
        assert [tried(path if path.suffix == ".gguf" else path.parent) for path in files] == ["opened"] * len(files)
        base, peak = process.memory_info().rss, 0
        for name, data in crafted():
            (folder / "x.gguf").write_bytes(data)
            said = tried(folder / "x.gguf")
            crashes += [f"{name}: {said}"] if said else []
            peak = max(peak, process.memory_info().rss - base - len(data))
        for number in range(count):
            path = files[number % len(files)]
            whole = path.read_bytes()
            if path.suffix == ".gguf":
                target = opens = folder / "x.gguf"
            else:
                target, opens = path, path.parent
            target.write_bytes(mutated(whole, draw))
            said = tried(opens)
            if path == target:
                path.write_bytes(whole)
            opened += said == "opened"
            crashes += [f"{number} {path.name}: {said}"] if said not in ("", "opened") else []
            peak = max(peak, process.memory_info().rss - base - len(whole))
    top = peak_of() - base
    return {"count": count, "opened": opened, "crashes": crashes[:20], "crashed": len(crashes), "grew_mb": round(max(peak, top) / 2**20)}


def peak_of() -> int:
    """The most memory that this process ever held, as the kernel counted it."""
    for line in Path(f"/proc/{os.getpid()}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    if "--control" in sys.argv:
        gguf.Cursor.count = unchecked  # type: ignore[method-assign]
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    print(json.dumps(run(numbers[0], numbers[1] if len(numbers) > 1 else 0)))
