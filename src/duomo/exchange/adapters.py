"""Adapters of PEFT: low-rank changes to a model that lies elsewhere, merged into its weights (Hu et al. 2021, arXiv:2106.09685).

adapter_config.json         which model, which rank            adapter_model.safetensors   …lora_A.weight (r, in), …lora_B.weight (out, r)
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from duomo.core.errors import ConfigError
from duomo.core.messages import few
from duomo.exchange.settings import inner, only, real, size

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CHANGE = re.compile(r"(.+)\.lora_(?:embedding_)?([AB])(?:\.default)?(?:\.weight)?")
SAVED = re.compile(r"\.(?:modules_to_save|base_layer|original_module)(?:\.default)?(?=\.)")
SHOWN = 5


def knows(path: Path) -> bool:
    return (path / CONFIG).is_file() and not (path / "config.json").is_file()


def base(path: Path, settings: Mapping[str, Any]) -> Path:
    """The folder of the model that an adapter changes, by its path or as a neighbour; ConfigError where it is not there."""
    name = str(settings.get("base_model_name_or_path") or "")
    places = (Path(name).expanduser(), path / name, path.parent / name, path.parent / name.rstrip("/").rpartition("/")[2])
    found = next((place for place in places if name and (place / "config.json").is_file()), None)
    if not found:
        raise ConfigError("An adapter changes another model; that of {path} changes {name!r}, which is not there. Download it, and write "
                          "its folder into {config} as base_model_name_or_path.", path=path, name=name, config=CONFIG)  # fmt: skip
    return found


def merged(weights: Mapping[str, Tensor], changes: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights with the changes in them; ConfigError for another kind of adapter, or one that belongs to another model."""
    only({"peft_type": str(settings.get("peft_type", "LORA")).upper()}, "peft_type", "LORA")
    for setting in ("use_dora", "layer_replication", "target_parameters"):
        only(settings, setting, False, [], {})
    found, pairs, strange = dict(weights), dict[str, dict[str, Tensor]](), []
    for name, value in changes.items():
        bare = SAVED.sub("", name.removeprefix("base_model.model."))
        if parts := CHANGE.fullmatch(bare):
            pairs.setdefault(parts[1], {})[parts[2]] = value.float()
        else:  # learned as a whole: a head, an embedding with new tokens
            found[bare] = value
    for name, pair in pairs.items():
        weight = found.get(f"{name}.weight")
        fits = len(pair) == 2 and all(one.ndim == 2 for one in pair.values()) and pair["A"].shape[0] == pair["B"].shape[1]
        change = _change(name, pair, settings) if fits else None
        if weight is None or change is None or sorted(change.shape) != sorted(weight.shape):
            strange.append(name)
            continue
        turned = change.shape != weight.shape or (change.shape[0] == change.shape[1] and bool(settings.get("fan_in_fan_out")))
        found[f"{name}.weight"] = weight.float() + (change.t() if turned else change)
    if strange or not changes:
        raise ConfigError("An adapter must belong to its model; that one lacks or has in another shape what is changed: {names}.",
                          names=few(strange, SHOWN))  # fmt: skip
    return found


def _change(name: str, pair: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Tensor:
    """(out, in): scaled B A."""
    rank = pair["A"].shape[0]
    alphas = inner(settings, "alpha_pattern")
    own = next((key for key in alphas if f".{name}".endswith(f".{key}")), "")
    alpha = real(alphas, own) if own else real(settings, "lora_alpha", float(size(settings, "r", 8)))
    scale = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
    change: Tensor = torch.matmul(pair["B"].double(), pair["A"].double()).float() * scale
    return change
