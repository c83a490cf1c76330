"""Hugging Face folders, read and written without any of their code: config.json, safetensors, tokenizer, chat template.

config.json              which family, which sizes             model.safetensors           weights (or several files and an index)
tokenizer.json           or vocab.json with merges.txt, or vocab.txt            tokenizer_config.json    special tokens, chat template
generation_config.json   how its makers let it write           1_Pooling/config.json       how sentence embeddings are pooled
adapter_config.json      changes to another folder's weights (adapters.py)
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from duomo.core.errors import ConfigError
from duomo.core.files import JSON_FAULTS, is_pointer, write_atomically, write_json
from duomo.core.messages import listed, nearest
from duomo.core.pretrained import Pretrained
from duomo.exchange import adapters, vocabularies
from duomo.exchange.families import FAMILIES, Family
from duomo.exchange.naming import family_of, to_ours, to_theirs
from duomo.exchange.settings import inner, only

CONFIG_FAULTS = (OSError, *JSON_FAULTS)
WEIGHT_FAULTS = (SafetensorError, OSError, ValueError)
LARGEST_JSON = 64 * 1024 * 1024
UNBOUNDED = 1 << 40
ALIKE = {"xlm-roberta": "roberta", "camembert": "roberta", "mistral": "llama", "mt5": "t5"}
"""Families whose models are built like others'."""
TOKENS = "ForTokenClassification"
UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2", ".tmp")
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
SHARD = 4 * 1024**3
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def knows(path: Path) -> bool:
    return path.is_dir() and ((path / "config.json").is_file() or adapters.knows(path))


def read(path: Path) -> Pretrained:
    """The model of a folder, or one that an adapter changes; ConfigError where its make is unknown, or weights are missing, unknown or of
    another shape."""
    told = _json(path / adapters.CONFIG) if adapters.knows(path) else {}
    adapter, path = path, adapters.base(path, told) if told else path
    settings = _json(path / "config.json")
    family = _family(settings, path)
    settings = {"scale_decoder_outputs": False, **settings} if settings["model_type"] == "mt5" else settings
    options = family.options(settings)
    weights = adapters.merged(_weights(path), tensors_of(adapter / adapters.WEIGHTS), told) if told else _weights(path)
    made = settings.get("architectures")
    tokens = isinstance(made, list) and any(str(name).endswith(TOKENS) for name in made)
    if tokens and family.name == "roberta":
        weights = {re.sub(r"^classifier\.(?!out_proj)", "classifier.out_proj.", name): value for name, value in weights.items()}
    # a T5 says by this setting only whether its head is scaled
    options["tied"] = (options["tied"] or family.name == "t5") and not _apart(weights)
    tensors = to_ours(family, options, weights, str(path))
    pooling = _json(path / "1_Pooling" / "config.json", {})
    if family.model == "bert" and (
        pooling.get("pooling_mode_mean_tokens") or ("head.weight" in tensors and "pooler.weight" not in tensors)
    ):
        options["pool"] = "mean"
    facts = {"family": family.name, "generation": _json(path / "generation_config.json", {}), "labels": settings.get("id2label") or {}}
    facts |= {"task": "tag"} if tokens else {"task": "embed"} if pooling and family.model == "bert" else {}
    vocabulary, longest = len(tensors["embedding.weight"]), _longest(settings, options)
    settings |= {name: facts["generation"][name] for name in ("eos_token_id",) if name in facts["generation"]}  # as transformers writes
    text = vocabularies.read(adapter, vocabulary, longest, settings) or vocabularies.read(path, vocabulary, longest, settings)
    return Pretrained(family.model, options, tensors, {"text": text} if text else {}, facts, str(path))


def write(path: Path, model: Pretrained, kind: str = "f32") -> list[str]:
    """A folder that `transformers` opens; returns the names of weights that the family has no place for.

    ConfigError where the model is built like no family, or `kind` (f32, f16, bf16) is unknown.
    """
    if kind not in TYPES:
        raise ConfigError("The weights of a Hugging Face folder are one of {known}; received {name!r}.{hint}",
                          known=", ".join(TYPES), name=kind, hint=nearest(kind, TYPES))  # fmt: skip
    family = family_of(model.model, model.options)
    options = completed(model)
    tensors, left = to_theirs(family, options, model.tensors)
    if family.name == "t5" and options["tied"] and not options["shrunk"]:
        tensors["lm_head.weight"] = model.tensors["embedding.weight"]
    text = model.learned.get("text", {})
    longest = int(options.get("longest") or min(int(text.get("longest", 512)), 1 << 20))
    settings = family.settings(options, len(model.tensors["embedding.weight"]), longest)
    names = set(model.tensors)
    settings |= {"model_type": family.name, "architectures": [family.architecture(names)], "torch_dtype": str(TYPES[kind])[6:]}
    if "head.weight" in names and family.model == "bert":
        settings |= _answers(model, str(settings["architectures"][0]))
    if settings["architectures"][0].endswith(TOKENS):  # of tokens the head is one layer, whatever it is of rows
        tensors = {name.replace("classifier.out_proj.", "classifier."): value for name, value in tensors.items()}
    path.mkdir(parents=True, exist_ok=True)
    settings |= vocabularies.write(path, text)
    _save(path, {name: value.to(TYPES[kind]).clone() for name, value in tensors.items()})
    write_json(path / "config.json", settings)
    if model.facts.get("task") == "embed":
        _pooling(path, str(options["pool"]), int(options["width"]), int(text.get("longest", 512)))
    return left


def _pooling(path: Path, pool: str, width: int, longest: int) -> None:
    """How vectors are made of tokens, as sentence-transformers reads it: the mean or the first, and length 1."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"idx": place, "name": str(place), "path": folder, "type": f"sentence_transformers.models.{kind}"}
               for place, (folder, kind) in enumerate(kinds.items())]  # fmt: skip
    for folder in [folder for folder in kinds if folder]:
        (path / folder).mkdir()
    modes = {"pooling_mode_cls_token": pool == "first", "pooling_mode_mean_tokens": pool == "mean"}
    write_json(path / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})
    write_atomically(path / "modules.json", (json.dumps(modules, indent=2) + "\n").encode())
    write_json(path / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})


def _answers(model: Pretrained, name: str) -> dict[str, Any]:
    """What a head answers, and of a head over tokens the class that has it."""
    count, labels = len(model.tensors["head.weight"]), dict(model.facts.get("labels", {}))
    found: dict[str, Any] = {"num_labels": count}
    if len(labels) == count:
        found |= {"id2label": labels, "label2id": {label: int(place) for place, label in labels.items()}}
    return found | ({"architectures": [name.removesuffix("Model") + TOKENS]} if model.facts.get("task") == "tag" else {})


def _apart(weights: Mapping[str, Tensor]) -> bool:
    """Whether there is a head with weights of its own, whatever the settings say: only they know nothing of it."""
    head = weights.get("lm_head.weight")
    names = ("shared.weight", "model.embed_tokens.weight", "transformer.wte.weight")
    embedding = next((weights[name] for name in names if name in weights), None)
    return head is not None and embedding is not None and not torch.equal(head, embedding)


def completed(model: Pretrained) -> dict[str, Any]:
    """The options with what is derived where they say 0, as others have to be told: hidden size, places."""
    options = dict(model.options)
    falls = [value for name, value in model.tensors.items() if name.endswith(".fall.weight")]
    options["hidden"] = falls[0].shape[1] if falls else options["hidden"] or 4 * options["width"]  # without a block nothing has that size
    if "places.weight" in model.tensors:
        options["longest"] = len(model.tensors["places.weight"])
    return options


def _family(settings: Mapping[str, Any], path: Path) -> Family:
    name = str(settings.get("model_type", ""))
    if name == "mistral":
        only(settings, "sliding_window")
    name = ALIKE.get(name, name)
    if name not in FAMILIES:
        raise ConfigError(
            "A Hugging Face model must be one of {known}; {path} is {name!r}.{hint}",
            known=", ".join((*FAMILIES, *ALIKE)), path=path, name=name, hint=nearest(name, (*FAMILIES, *ALIKE)),
        )  # fmt: skip
    return FAMILIES[name]


def _longest(settings: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    if options.get("longest"):
        return int(options["longest"]) - int(options.get("offset", 0))
    found = settings.get("max_position_embeddings", settings.get("n_positions", 512))
    return found if isinstance(found, int) and 0 < found < UNBOUNDED else 512


def _json(path: Path, other: Any = None) -> Any:
    """A JSON object; `other` where there is no file, ConfigError where it is none."""
    if other is not None and not path.is_file():
        return other
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"more than {LARGEST_JSON >> 20} MB")
        found = json.loads(path.read_text(encoding="utf-8"))
    except CONFIG_FAULTS as error:
        raise ConfigError("A model's settings must be readable; {path} is not: {reason}", path=path, reason=str(error)[:120]) from None
    if not isinstance(found, dict):
        raise ConfigError("A model's settings must be readable; {path} is not: {reason}", path=path, reason=type(found).__name__)
    return found


# -- weights
def _weights(path: Path) -> dict[str, Tensor]:
    """All tensors of the folder's safetensors; their headers are checked against the files' lengths before anything is read."""
    index = path / "model.safetensors.index.json"
    places: dict[str, Any] = {}
    if (path / "model.safetensors").is_file():
        files = ["model.safetensors"]
    elif index.is_file():
        places = dict(inner(_json(index), "weight_map"))
        files = sorted({str(name) for name in places.values()})
    else:
        _refuse_weights(path)
    found: dict[str, Tensor] = {}
    for name in files:
        if "/" in name or "\\" in name or not (path / name).is_file():
            raise ConfigError("Every file that the index of the weights names must lie beside it; {name!r} does not.", name=name)
        found |= {key: value for key, value in tensors_of(path / name).items() if key not in found or places.get(key) == name}
    return found


def _refuse_weights(path: Path) -> NoReturn:
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    for endings, said in (
        (UNFINISHED, "The weights of a model must lie in model.safetensors; {path} has none, and a download that is not finished: {names}. "
                     "Finish it first."),
        (PICKLES, "The weights of a model must lie in model.safetensors; {path} has none. {names} are pickles, which are never opened: "
                  "convert them where they were made."),
    ):  # fmt: skip
        if found := [file for file in files if file.endswith(endings)]:
            raise ConfigError(said, path=path, names=listed(found, 3))
    raise ConfigError("The weights of a model must lie in model.safetensors; {path} has none. Copy or download them too.", path=path)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file; ConfigError where it is damaged."""
    refuse_pointer(path)
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except WEIGHT_FAULTS as error:
        raise ConfigError("The weights must be a whole safetensors file; {path} cannot be read ({error}). Copy or download it again.",
                          path=path, error=str(error)[:120]) from None  # fmt: skip


def refuse_pointer(path: Path) -> None:
    """ConfigError where Git LFS has not fetched the file."""
    if is_pointer(path):
        raise ConfigError("A model's file must be there itself; {path} only stands for one that Git LFS has not fetched. In its folder: "
                          "git lfs pull", path=path)  # fmt: skip


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """One file, or several of at most `SHARD` bytes with an index."""
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, value in tensors.items():
        size = value.numel() * value.element_size()
        if shards[-1] and filled + size > SHARD:
            shards.append({})
            filled = 0
        shards[-1][name] = value
        filled += size
    names = [f"model-{n + 1:05}-of-{len(shards):05}.safetensors" for n in range(len(shards))] if len(shards) > 1 else ["model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, path / name, {"format": "pt"})
    if len(shards) > 1:
        places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        total = sum(value.numel() * value.element_size() for value in tensors.values())
        write_json(path / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})
