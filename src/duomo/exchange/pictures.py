"""Weights of picture nets in the common PyTorch layouts (picture_layouts.py), from safetensors or `.pth`.

Which net a file holds is read from names and shapes; every tensor of the net must be there with its shape before anything is trained.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from duomo.core import find
from duomo.core.config import build
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.files import JSON_FAULTS
from duomo.core.pretrained import Pretrained
from duomo.exchange import weights
from duomo.exchange.picture_layouts import LAYOUTS, Layout, Tensors, layout_of

SIDE, LARGEST_SIDE, LARGEST_JSON = 224, 2048, 1 << 20
ENOUGH = 0.9
"""Share of the net's tensors that a file must have to be taken for it."""


def _file(path: Path) -> Path:
    """The file itself, or the weights in a folder (as models are handed out)."""
    inside = [path / name for name in ("model.safetensors", "pytorch_model.bin")] if path.is_dir() else [path]
    return next((place for place in inside if place.is_file()), path)


def knows(path: Path) -> bool:
    """Whether these are weights of a picture net: any `.pth` (of a folder with settings one whose settings speak of pictures), or
    safetensors with the names of one."""
    place = _file(path)
    if not weights.is_pth(place):
        return weights.is_safetensors(place) and layout_of(weights.names(place)) is not None
    return not path.is_dir() or not (path / "config.json").is_file() or not {"pretrained_cfg", "num_channels"}.isdisjoint(
        _said(path / "config.json"))  # fmt: skip


def read(path: Path) -> Pretrained:
    """The net in the file; ConfigError where names or shapes are of no net that is known, DataError for a damaged or hostile file."""
    place = _file(path)
    told = weights.read(place)
    found = layout_of(told)
    if found is None:
        raise ConfigError(
            "Weights must be those of a net that is known ({known}), with torchvision's, timm's or Hugging Face's names; {file} begins "
            "with {names}.",
            known=", ".join(dict.fromkeys(layout.title for layout in LAYOUTS)), file=place.name, names=", ".join(list(told)[:3]),
        )  # fmt: skip
    layout, before = found
    tensors, config = _fitted(layout, {name.removeprefix(before): value for name, value in told.items() if name.startswith(before)}
                              | {name: value for name, value in told.items() if _is_head(name, before)}, place)  # fmt: skip
    module = find.model_module(layout.model)
    mean, std, side = _expected(layout, place, tensors)
    head = tensors.get(f"{layout.head}.weight")
    facts = {"classes": 0 if head is None else head.shape[0], "layout": layout.title}
    options = asdict(build(module.Config, config, "model.options"))
    learned = {"image": {"size": [3, side, side], "mean": list(mean), "std": list(std)}}
    return Pretrained(layout.model, options, tensors, learned, facts, str(path))


def _is_head(name: str, before: str) -> bool:
    """Whether a tensor is of a classifier that stands beside the net (`vit.…` and `classifier.weight`)."""
    return bool(before) and name.split(".")[0] in ("classifier", "head", "fc")


def _fitted(layout: Layout, given: Tensors, place: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of the net that their names tell under our names, and its options; ConfigError where they are of another one."""
    module, tensors = find.model_module(layout.model), given
    try:
        tensors = layout.renamed(given)
        options = layout.options(tensors) | _heads(layout, place, tensors)
        head = tensors.get(f"{layout.head}.weight")
        with torch.device("meta"):
            side = math.isqrt(len(tensors["place_TD"]) - 1) * options["patch"] if layout.model == "vit" else SIDE
            inputs = {"x": Field("pixels", (3, side, side))}
            own = module.Model(
                build(module.Config, options, "model.options"), inputs, Head(1 if head is None else head.shape[0])
            ).state_dict()
    except FIT_FAULTS:
        own = {}
    own = {name: value for name, value in own.items() if value.numel() and not name.endswith("num_batches_tracked")}
    missing = [name for name, value in own.items() if name not in tensors or tensors[name].shape != value.shape]
    missing = [name for name in missing if not name.startswith(f"{layout.head}.")]
    extra = [name for name in tensors if name not in own and tensors[name].numel() and not name.endswith("num_batches_tracked")]
    if not own or missing or len(extra) > (1 - ENOUGH) * len(own):
        raise ConfigError(
            "The weights must be those of {title} as published; {file} differs: missing or of another shape {missing}, unknown {extra}.",
            title=layout.title, file=place.name, missing=", ".join(missing[:3]) or "-", extra=", ".join(extra[:3]) or "-",
        )  # fmt: skip
    return {name: value.float() for name, value in tensors.items() if name in own}, options


def _heads(layout: Layout, place: Path, tensors: Tensors) -> dict[str, int]:
    """As many as settings beside the weights say; no shape tells them."""
    heads = _said(place.with_name("config.json")).get("num_attention_heads") if layout.model == "vit" else None
    return {"heads": heads} if type(heads) is int and heads > 0 and not len(tensors["norm.weight"]) % heads else {}


FIT_FAULTS = (KeyError, IndexError, ValueError, ZeroDivisionError, StopIteration, RuntimeError, TypeError)


def _expected(layout: Layout, place: Path, tensors: Tensors) -> tuple[Sequence[float], Sequence[float], int]:
    """Mean, deviation and side of the pictures that the weights were learned from: as files beside them say (timm's config.json, Hugging
    Face's preprocessor_config.json), else as usual."""
    side = SIDE
    if layout.model == "vit":
        side = math.isqrt(len(tensors["place_TD"]) - 1) * tensors["patches.weight"].shape[-1]
    usual = (*layout.normal, side)
    try:
        said = _said(place.with_name("config.json")).get("pretrained_cfg") or {}
        more = _said(place.with_name("preprocessor_config.json"))
        mean, std = ([float(value) for value in said.get(name) or more.get(f"image_{name}") or known]
                     for name, known in zip(("mean", "std"), layout.normal, strict=True))  # fmt: skip
        size = more.get("crop_size") or more.get("size") or side
        size = size if isinstance(size, int) else size.get("height") or size["shortest_edge"]
        side = int(said.get("input_size", [3, size, size])[1]) if layout.model != "vit" else side
    except BESIDE_FAULTS:
        return usual
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0 or not 1 <= side <= LARGEST_SIDE:
        return usual
    return mean, std, side


def _said(path: Path) -> dict[str, Any]:
    """A small JSON object; empty where there is none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and path.stat().st_size < LARGEST_JSON else {}
    except JSON_FAULTS:
        return {}
    return told if isinstance(told, dict) else {}


BESIDE_FAULTS = (TypeError, AttributeError, LookupError, OverflowError, ValueError)
"""A file that holds other things than an object with three numbers, three numbers and a size."""
