"""Language models in GGUF files: Llama (SmolLM2), Qwen2, Qwen3 and GPT-2 as llama.cpp names and orders their weights.

A Llama's rows of queries and keys lie there in pairs (2 i, 2 i + 1) that turn against one another; ours turn the halves of a head.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from duomo.core.errors import ConfigError
from duomo.core.messages import few, nearest
from duomo.core.pretrained import Pretrained
from duomo.exchange import gguf, gguf_text
from duomo.exchange.families import FAMILIES, Options, Rule, head_width, layers, linear, qkv_widths
from duomo.exchange.hf import completed
from duomo.exchange.naming import SHOWN, apart, check, family_of
from duomo.exchange.quants import BY_NAME, Packing
from duomo.exchange.settings import depth, real, size
from duomo.nn.positions import stretched

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gpt2")
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}
STRETCHES = tuple((factor, 1.0, 4.0, 8192.0) for factor in (8.0, 32.0))
"""What Llama 3.1 and 3.2 were stretched by: a file holds only the outcome."""


def knows(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == gguf.MAGIC


def read(path: Path) -> Pretrained:
    """The model of a GGUF file, its weights unpacked to float32; ConfigError where its make is unknown or weights are missing."""
    with gguf.opened(path) as file:
        name = str(file.metadata.get("general.architecture", ""))
        if name not in ARCHITECTURES:
            raise ConfigError("A GGUF file must hold one of {known}; {path} holds {name!r}.{hint}", known=", ".join(ARCHITECTURES),
                              path=path, name=name[:80], hint=nearest(name, ARCHITECTURES))  # fmt: skip
        options = _options(file, name)
        tensors = _ours(file, name, options)
        text = gguf_text.read(file.metadata, len(tensors["embedding.weight"]), _longest(file.metadata, name), path)
        facts = {
            "family": name, "licence": str(file.metadata.get("general.license", "")), "name": str(file.metadata.get("general.name", "")),
        }  # fmt: skip
    check(FAMILIES[name], options, tensors, str(path), {rule.ours: rule.theirs for rule in _rules(name, options)})
    return Pretrained("gpt", options, tensors, {"text": text} if text else {}, facts, str(path))


def write(path: Path, model: Pretrained, kind: str = "f16", name: str = "duomo") -> None:
    """A file that llama.cpp opens. ConfigError where the model or its tokenizer is of no make that it knows, or `kind` is unknown."""
    if kind not in FILE_TYPES:
        raise ConfigError("The weights of a GGUF file are written as one of {known}; received {name!r}.{hint}",
                          known=", ".join(FILE_TYPES), name=kind, hint=nearest(kind, FILE_TYPES))  # fmt: skip
    options = completed(model) if model.model == "gpt" else dict(model.options)
    family = family_of(model.model, options).name
    if family not in ARCHITECTURES or (family == "gpt2" and options["activation"] != "gelu_tanh"):
        raise ConfigError("A GGUF file can hold one of {known}; this model is a {name}.", known=", ".join(ARCHITECTURES), name=family)
    text = model.learned.get("text")
    if not text:
        raise ConfigError("A GGUF file holds a model with its tokenizer; {source} has none.", source=model.source)
    tensors = _theirs(family, options, model.tensors)
    packings = {name: _packing(name, value, BY_NAME[kind], options) for name, value in tensors.items()}
    metadata = _metadata(family, options, text, name) | {"general.file_type": FILE_TYPES[kind]}
    metadata |= gguf_text.write(text, len(model.tensors["embedding.weight"]))
    gguf.write(path, metadata, tensors, packings)


# -- settings
def _longest(metadata: Mapping[str, Any], arch: str) -> int:
    return size(metadata, f"{arch}.context_length", 2048)


def _real(metadata: Mapping[str, Any], name: str, other: float) -> float:
    """A real number as it was before it became 32 bits."""
    return float(str(np.float32(real(metadata, name, other))))


def _options(file: gguf.File, arch: str) -> dict[str, Any]:
    metadata = file.metadata
    width, heads = size(metadata, f"{arch}.embedding_length"), size(metadata, f"{arch}.attention.head_count")
    one, key_heads = size(metadata, f"{arch}.attention.key_length", max(1, width // heads)), f"{arch}.attention.head_count_kv"
    eps = "layer_norm_epsilon" if arch == "gpt2" else "layer_norm_rms_epsilon"
    learned = arch == "gpt2"
    return {
        "width": width, "depth": depth(metadata, f"{arch}.block_count"), "heads": heads,
        "key_heads": 0 if learned else size(metadata, key_heads, heads), "activation": "gelu_tanh" if learned else "swiglu",
        "norm_keys": arch == "qwen3", "dropout": 0.0, "tied": "output.weight" not in file.entries,
        "head_width": 0 if one * heads == width else one, "hidden": size(metadata, f"{arch}.feed_forward_length"),
        "positions": "learned" if learned else "rotary", "theta": _real(metadata, f"{arch}.rope.freq_base", 10000.0),
        "stretch": () if learned else _stretch(file, arch, one),
        "longest": _longest(metadata, arch) if learned else 0, "norm": "layer" if learned else "rms", "place": "before",
        "eps": _real(metadata, f"{arch}.attention.{eps}", 1e-5),
        "bias": "all" if learned else "qkv" if "blk.0.attn_q.bias" in file.entries else "none",
    }  # fmt: skip


def _stretch(file: gguf.File, arch: str, one: int) -> tuple[float, ...]:
    kind = str(file.metadata.get(f"{arch}.rope.scaling.type", "none"))
    factor = _real(file.metadata, f"{arch}.rope.scaling.factor", 1.0)
    if kind == "linear":
        return (factor,)
    if kind != "none":
        raise ConfigError("A model can be taken over where {name} is {fine}; its config.json says {value!r}.",
                          name="rope.scaling.type", fine="none / linear", value=kind)  # fmt: skip
    if "rope_freqs.weight" not in file.entries:
        return ()
    told = file.tensor("rope_freqs.weight").reshape(-1)
    for known in STRETCHES:
        factors = _factors(one, _real(file.metadata, f"{arch}.rope.freq_base", 10000.0), known)
        if factors.shape == told.shape and torch.allclose(told, factors, rtol=1e-3):
            return known
    raise ConfigError("A model can be taken over where {name} is {fine}; its config.json says {value!r}.",
                      name="rope_freqs", fine="Llama 3.1 / 3.2", value=told[:4].tolist())  # fmt: skip


def _factors(one: int, theta: float, stretch: tuple[float, ...]) -> Tensor:
    """(K/2,) what each rotary rate is divided by."""
    rate = theta ** (-torch.arange(0, one, 2, dtype=torch.float32) / one)
    return rate / stretched(rate, *stretch)


def _metadata(arch: str, options: Options, text: Mapping[str, Any], name: str) -> dict[str, Any]:
    longest = int(options["longest"] or min(int(text["longest"]), 1 << 20))
    found: dict[str, Any] = {
        "general.architecture": arch, "general.name": name, "general.quantization_version": 2, f"{arch}.block_count": options["depth"],
        f"{arch}.context_length": longest, f"{arch}.embedding_length": options["width"], f"{arch}.feed_forward_length": options["hidden"],
        f"{arch}.attention.head_count": options["heads"],
    }  # fmt: skip
    if arch == "gpt2":
        return found | {f"{arch}.attention.layer_norm_epsilon": float(options["eps"])}
    one, stretch = head_width(options), tuple(options["stretch"])
    found |= {
        f"{arch}.attention.head_count_kv": options["key_heads"] or options["heads"], f"{arch}.rope.dimension_count": one,
        f"{arch}.attention.layer_norm_rms_epsilon": float(options["eps"]), f"{arch}.rope.freq_base": float(options["theta"]),
        f"{arch}.attention.key_length": one, f"{arch}.attention.value_length": one,
    }  # fmt: skip
    if len(stretch) == 1:
        found |= {f"{arch}.rope.scaling.type": "linear", f"{arch}.rope.scaling.factor": float(stretch[0])}
    return found


# -- weights
def _rules(arch: str, options: Options) -> list[Rule]:
    biased = arch == "gpt2"
    parts = qkv_widths(options)
    qkv = ["blk.{n}.attn_qkv"] if biased else [f"blk.{{n}}.attn_{kind}" for kind in "qkv"]
    rise = ["blk.{n}.ffn_up"] if biased else ["blk.{n}.ffn_gate", "blk.{n}.ffn_up"]
    block = [
        *linear("blocks.{n}.first", "blk.{n}.attn_norm", bias=biased),
        *linear("blocks.{n}.attention.qkv", *qkv, bias=options["bias"] != "none", parts=() if biased else parts),
        *linear("blocks.{n}.attention.out", "blk.{n}.attn_output", bias=biased),
        *linear("blocks.{n}.second", "blk.{n}.ffn_norm", bias=biased),
        *linear("blocks.{n}.rise", *rise, bias=biased),
        *linear("blocks.{n}.fall", "blk.{n}.ffn_down", bias=biased),
    ]
    if options["norm_keys"]:
        block += [Rule(f"blocks.{{n}}.attention.{x}_norm.weight", (f"blk.{{n}}.attn_{x}_norm.weight",)) for x in "qk"]
    ends = [Rule("embedding.weight", ("token_embd.weight",)), *linear("norm", "output_norm", bias=biased)]
    ends += [Rule("places.weight", ("position_embd.weight",))] if biased else []
    return [*ends, *layers(block, options["depth"]), Rule("head.weight", ("output.weight",), needed=not options["tied"])]


def _ours(file: gguf.File, arch: str, options: Options) -> dict[str, Tensor]:
    rules = _rules(arch, options)
    wanted = [name for rule in rules if rule.needed or rule.theirs[0] in file.entries for name in rule.theirs]
    missing = [name for name in wanted if name not in file.entries]
    extra = [name for name in file.entries if name not in wanted and name != "rope_freqs.weight"]
    if missing or extra:
        raise ConfigError(
            "The weights of {source} must be those of a {family}; missing: {missing}; unknown: {extra}.",
            source=file.path, family=arch, missing=few(missing, SHOWN), extra=few(extra, SHOWN),
        )  # fmt: skip
    found = {}
    for rule in rules:
        if rule.theirs[0] in file.entries:
            halves = (head_width(options) // 2, 2)
            parts = [_turned(file.tensor(name), name, arch, options, halves) for name in rule.theirs]
            if len({part.shape[1:] for part in parts}) > 1:
                raise ConfigError(
                    "The weights of {source} must have the shapes that its settings say; these have not: {names}.",
                    source=file.path, names=few(rule.theirs, SHOWN),
                )  # fmt: skip
            found[rule.ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return found


def _theirs(arch: str, options: Options, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for rule in _rules(arch, options):
        if rule.ours in tensors:
            parts = zip(rule.theirs, apart(rule, tensors[rule.ours]), strict=True)
            found |= {name: _paired(part, name, arch, options) for name, part in parts}
    if len(options["stretch"]) == 4:
        found["rope_freqs.weight"] = _factors(head_width(options), options["theta"], tuple(options["stretch"]))
    return found


def _turned(value: Tensor, name: str, arch: str, options: Options, sizes: tuple[int, int]) -> Tensor:
    """Rows of a Llama's queries and keys, head by head, read as a `sizes` table by rows and written by columns."""
    kind = name.split(".")[-2]
    if arch != "llama" or kind not in ("attn_q", "attn_k"):
        return value
    heads = options["heads"] if kind == "attn_q" else options["key_heads"] or options["heads"]
    if value.shape[0] != heads * sizes[0] * sizes[1]:
        return value  # another shape than the settings say: refused by its name later
    return value.reshape(heads, *sizes, *value.shape[1:]).transpose(1, 2).reshape(value.shape).contiguous()


def _paired(value: Tensor, name: str, arch: str, options: Options) -> Tensor:
    return _turned(value, name, arch, options, (2, head_width(options) // 2))


def _packing(name: str, value: Tensor, wanted: Packing, options: Options) -> Packing:
    """Vectors stay whole, as llama.cpp wants them; the head, where errors show most, keeps eight bits; rows that blocks do not fill, 16."""
    if value.ndim == 1 or name == "position_embd.weight":
        return BY_NAME["f32"]
    if wanted.name == "q4_0" and (name == "output.weight" or (name == "token_embd.weight" and options["tied"])):
        wanted = BY_NAME["q8_0"]
    return wanted if value.shape[-1] % wanted.numbers == 0 else BY_NAME["f16"]
