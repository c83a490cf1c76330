"""Weights of picture nets in the common PyTorch layouts, torchvision's and timm's, from safetensors or `.pth`.

Which net a file holds is read from names and shapes; every tensor of the net must be there with its shape before anything is trained.
Legend: D width of a token, N patches.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from duomo.core import find
from duomo.core.config import build
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.files import JSON_FAULTS
from duomo.core.pretrained import Pretrained
from duomo.exchange import weights

Tensors = dict[str, Tensor]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIDE, LARGEST_SIDE = 224, 2048
ENOUGH = 0.9
"""Share of the net's tensors that a file must have to be taken for it."""


class Layout(NamedTuple):
    """One way of naming the tensors of one architecture."""

    model: str
    title: str
    signs: tuple[str, ...]
    """Names that together tell this layout."""
    renamed: Callable[[Tensors], Tensors]
    options: Callable[[Tensors], dict[str, Any]]
    """From the renamed tensors."""
    head: str
    normal: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET


def _same(tensors: Tensors) -> Tensors:
    return tensors


def _by_rules(*rules: tuple[str, str]) -> Callable[[Tensors], Tensors]:
    def renamed(tensors: Tensors) -> Tensors:
        found = {}
        for name, value in tensors.items():
            for pattern, new in rules:
                if re.match(pattern, name):
                    name = re.sub(pattern, new, name, count=1)
                    break
            found[name] = value
        return found

    return renamed


def _count(tensors: Tensors, pattern: str) -> int:
    """One more than the largest number that `pattern` captures; ValueError where there are not even so many tensors."""
    found = 1 + max((int(hit[1]) for hit in (re.match(pattern, name) for name in tensors) if hit), default=-1)
    if found > len(tensors):  # a name alone would have as many layers built
        raise ValueError
    return found


# -- ResNet, AlexNet, GoogLeNet: both layouts are ours


def _resnet(tensors: Tensors) -> dict[str, Any]:
    stages = _count(tensors, r"layer(\d+)\.") - 1
    blocks = tuple(_count(tensors, rf"layer{stage}\.(\d+)\.") for stage in range(1, stages + 1))
    return {"blocks": blocks, "width": tensors["conv1.weight"].shape[0], "bottleneck": "layer1.0.conv3.weight" in tensors, "stem": "large"}


def _alexnet(tensors: Tensors) -> dict[str, Any]:
    widths = tuple(tensors[f"features.{place}.weight"].shape[0] for place in (0, 3, 6, 8, 10))
    return {"channels": widths, "dense": tensors["classifier.1.weight"].shape[0], "stem": "large"}


# -- VGG


def _vgg_timm(tensors: Tensors) -> Tensors:
    found = {}
    for name, value in tensors.items():
        name = re.sub(r"^pre_logits\.fc1\.", "classifier.0.", name)
        name = re.sub(r"^pre_logits\.fc2\.", "classifier.3.", name)
        name = re.sub(r"^head\.fc\.", "classifier.6.", name)
        # timm's dense layers are convolutions over 7×7 and 1×1 places
        found[name] = value.flatten(1) if name.startswith("classifier.") and value.ndim == 4 else value
    return found


def _vgg(tensors: Tensors) -> dict[str, Any]:
    widths = {int(name.split(".")[1]): value.shape[0] for name, value in tensors.items()
              if name.startswith("features.") and name.endswith(".weight") and value.ndim == 4}  # fmt: skip
    places = sorted(widths)
    norm = any(value.ndim == 1 and name.endswith("running_mean") for name, value in tensors.items())
    step, blocks, count = 3 if norm else 2, [], 0
    for place, following in zip(places, [*places[1:], places[-1] + step + 1], strict=True):
        count += 1
        if following - place > step:  # a pooling lies between
            blocks.append(count)
            count = 0
    dense = tensors["classifier.0.weight"].shape[0]
    return {"blocks": tuple(blocks), "width": widths[0], "batch_norm": norm, "dense": dense, "stem": "large"}


# -- MobileNetV2


def _mobilenet_timm(tensors: Tensors) -> Tensors:
    """timm numbers blocks within stages and names layers; torchvision numbers all of them."""
    places = sorted({(int(hit[1]), int(hit[2])) for hit in (re.match(r"blocks\.(\d+)\.(\d+)\.", name) for name in tensors) if hit})
    number = {place: 1 + order for order, place in enumerate(places)}
    last = len(places) + 1
    first = {"conv_dw": "conv.0.0", "bn1": "conv.0.1", "conv_pw": "conv.1", "bn2": "conv.2"}
    usual = {"conv_pw": "conv.0.0", "bn1": "conv.0.1", "conv_dw": "conv.1.0", "bn2": "conv.1.1", "conv_pwl": "conv.2", "bn3": "conv.3"}
    ends = {"conv_stem": "features.0.0", "bn1": "features.0.1", "conv_head": f"features.{last}.0", "bn2": f"features.{last}.1",
            "classifier": "classifier.1"}  # fmt: skip
    found = {}
    for name, value in tensors.items():
        parts = name.split(".")
        if parts[0] == "blocks" and len(parts) == 5:
            place = (int(parts[1]), int(parts[2]))
            layers = usual if f"blocks.{parts[1]}.{parts[2]}.conv_pwl.weight" in tensors else first
            name = f"features.{number[place]}.{layers.get(parts[3], parts[3])}.{parts[4]}"
        elif parts[0] in ends:
            name = ".".join([ends[parts[0]], *parts[1:]])
        found[name] = value
    return found


def _mobilenet(tensors: Tensors) -> dict[str, Any]:
    stages = find.model_module("mobilenet").STAGES
    last = sum(count for _, _, count, _ in stages) + 1
    return {"width": tensors[f"features.{last - 1}.conv.2.weight"].shape[0] / 320, "last": tensors[f"features.{last}.0.weight"].shape[0],
            "stem": "large"}  # fmt: skip


# -- ViT


def _vit_torchvision(tensors: Tensors) -> Tensors:
    layer = r"encoder\.layers\.encoder_layer_(\d+)\."
    renamed = _by_rules(
        (r"conv_proj\.", "patches."),
        (layer + r"ln_1\.", r"layers.\1.first."),
        (layer + r"ln_2\.", r"layers.\1.second."),
        (layer + r"self_attention\.in_proj_", r"layers.\1.attention.qkv."),
        (layer + r"self_attention\.out_proj\.", r"layers.\1.attention.out."),
        (layer + r"mlp\.(?:0|linear_1)\.", r"layers.\1.rise."),
        (layer + r"mlp\.(?:3|linear_2)\.", r"layers.\1.fall."),
        (r"encoder\.ln\.", "norm."),
        (r"heads\.(?:head|0)\.", "head."),
        (r"class_token$", "class_1D"),
        (r"encoder\.pos_embedding$", "place_TD"),
    )(tensors)
    return _flat_tokens(renamed)


def _vit_timm(tensors: Tensors) -> Tensors:
    layer = r"blocks\.(\d+)\."
    renamed = _by_rules(
        (r"patch_embed\.proj\.", "patches."),
        (layer + r"attn\.qkv\.", r"layers.\1.attention.qkv."),
        (layer + r"attn\.proj\.", r"layers.\1.attention.out."),
        (layer + r"mlp\.fc1\.", r"layers.\1.rise."),
        (layer + r"mlp\.fc2\.", r"layers.\1.fall."),
        (layer + r"norm1\.", r"layers.\1.first."),
        (layer + r"norm2\.", r"layers.\1.second."),
        (layer, r"layers.\1."),
        (r"cls_token$", "class_1D"),
        (r"(?:reg_token|register_tokens)$", "registers_RD"),
        (r"pos_embed$", "place_TD"),
    )(tensors)
    found = _scaled(_flat_tokens(renamed))
    places = found.get("place_TD")
    if places is not None and math.isqrt(len(places)) ** 2 == len(places):  # positions of the patches alone: the class token has none
        found["place_TD"] = torch.cat([places.new_zeros(1, places.shape[1]), places])
    return found


def _scaled(tensors: Tensors) -> Tensors:
    """The scales of branches (LayerScale) multiplied into the matrix before them: the same function with fewer weights."""
    found = {name: value for name, value in tensors.items() if not re.search(r"\.ls[12]\.gamma$", name)}
    for name in tensors.keys() - found.keys():
        layer = name.rsplit(".", 2)[0]
        for part in ("weight", "bias"):
            scaled = f"{layer}.{'attention.out' if '.ls1.' in name else 'fall'}.{part}"
            found[scaled] = (found[scaled].mT * tensors[name]).mT if part == "weight" else found[scaled] * tensors[name]
    return found


def _flat_tokens(tensors: Tensors) -> Tensors:
    """Tokens without the leading 1 of a batch."""
    return {name: value[0] if name in ("class_1D", "place_TD", "registers_RD") and value.ndim == 3 else value
            for name, value in tensors.items()}  # fmt: skip


def _vit(tensors: Tensors) -> dict[str, Any]:
    width, hidden = tensors["norm.weight"].shape[0], tensors["layers.0.rise.weight"].shape[0]
    registers = tensors["registers_RD"].shape[0] if "registers_RD" in tensors else 0
    return {"patch": tensors["patches.weight"].shape[-1], "layers": _count(tensors, r"layers\.(\d+)\."), "width": width,
            "heads": max(1, width // 64), "growth": hidden / width, "registers": registers, "pool": "class"}  # fmt: skip


# -- ConvNeXt


def _convnext_timm(tensors: Tensors) -> Tensors:
    counts = [_count(tensors, rf"stages\.{stage}\.blocks\.(\d+)\.") for stage in range(_count(tensors, r"stages\.(\d+)\."))]
    found = {}
    for name, value in tensors.items():
        hit = re.match(r"stages\.(\d+)\.(downsample|blocks)\.(\d+)\.?(.*)", name)
        if hit:
            stage, place = int(hit[1]), int(hit[3])
            # before stage s lie the two layers of the stem, all earlier blocks, and two layers for each halving
            start = 2 + sum(counts[:stage]) + 2 * stage
            number = start - 2 + place if hit[2] == "downsample" else start + place
            layers = {"conv_dw": "window", "mlp.fc1": "up", "mlp.fc2": "down", "gamma": "scale_C"}
            rest = re.sub(r"^(conv_dw|mlp\.fc1|mlp\.fc2|gamma)", lambda found_: layers[found_[1]], hit[4])
            name = f"features.{number}.{rest}"
        else:
            name = re.sub(r"^stem\.", "features.", re.sub(r"^head\.norm\.", "norm.", re.sub(r"^head\.fc\.", "head.", name)))
        found[name] = value
    return found


def _convnext(tensors: Tensors) -> dict[str, Any]:
    width = tensors["features.0.weight"].shape[0]
    blocks: dict[int, int] = {}
    for name, value in tensors.items():
        if name.endswith(".scale_C"):
            stage = int(math.log2(value.shape[0] / width))
            blocks[stage] = blocks.get(stage, 0) + 1
    window = next(value.shape[-1] for name, value in tensors.items() if name.endswith(".window.weight"))
    return {"blocks": tuple(blocks[stage] for stage in sorted(blocks)), "width": width, "window": window, "scale": 1e-6, "stem": "large"}


LAYOUTS = (
    Layout("resnet", "ResNet", ("conv1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight"), _same, _resnet, "fc"),
    Layout("inception", "GoogLeNet", ("inception3a.branch1.conv.weight",), _same, lambda tensors: {
        "paper": "conv1.bn.weight" not in tensors, "auxiliary": "aux1.fc1.weight" in tensors, "stem": "large"}, "fc", HALVES),
    Layout("mobilenet", "MobileNetV2", ("features.0.0.weight", "features.1.conv.0.0.weight"), _same, _mobilenet, "classifier.1"),
    Layout("mobilenet", "MobileNetV2", ("conv_stem.weight", "blocks.1.0.conv_pwl.weight", "conv_head.weight"), _mobilenet_timm, _mobilenet,
           "classifier.1"),
    Layout("vit", "ViT", ("conv_proj.weight", "encoder.pos_embedding"), _vit_torchvision, _vit, "head"),
    Layout("vit", "ViT", ("patch_embed.proj.weight", "pos_embed", "cls_token"), _vit_timm, _vit, "head", HALVES),
    Layout("convnext", "ConvNeXt", ("stem.0.weight", "stages.0.blocks.0.conv_dw.weight"), _convnext_timm, _convnext, "head"),
    Layout("vgg", "VGG", ("features.0.weight", "pre_logits.fc1.weight"), _vgg_timm, _vgg, "classifier.6"),
    Layout("alexnet", "AlexNet", ("features.0.weight", "features.10.weight", "classifier.1.weight"), _same, _alexnet, "classifier.6"),
    Layout("vgg", "VGG", ("features.0.weight", "classifier.0.weight", "classifier.6.weight"), _same, _vgg, "classifier.6"),
)  # fmt: skip


def _layout(names: Mapping[str, Any] | set[str]) -> Layout | None:
    return next((layout for layout in LAYOUTS if all(sign in names for sign in layout.signs)), None)


def _plain(name: str) -> str:
    """Without what wrappers put before every name."""
    return re.sub(r"^(?:module\.|model\.|_orig_mod\.|backbone\.)+", "", name)


def _file(path: Path) -> Path:
    """The file itself, or the weights in a folder (as timm's models are handed out)."""
    inside = [path / name for name in ("model.safetensors", "pytorch_model.bin")] if path.is_dir() else [path]
    return next((place for place in inside if place.is_file()), path)


def knows(path: Path) -> bool:
    """Whether these are weights of a picture net: any `.pth`, or safetensors with the names of one."""
    place = _file(path)
    return weights.is_pth(place) or (weights.is_safetensors(place) and _layout({_plain(name) for name in weights.names(place)}) is not None)


def read(path: Path) -> Pretrained:
    """The net in the file; ConfigError where names or shapes are of no net that is known, DataError for a damaged or hostile file."""
    place = _file(path)
    given = {_plain(name): value for name, value in weights.read(place).items()}
    layout = _layout(given)
    if layout is None:
        raise ConfigError(
            "Weights must be those of a net that is known ({known}), with torchvision's or timm's names; {file} begins with {names}.",
            known=", ".join(dict.fromkeys(layout.title for layout in LAYOUTS)), file=place.name, names=", ".join(list(given)[:3]),
        )  # fmt: skip
    tensors, config = _fitted(layout, given, place)
    module = find.model_module(layout.model)
    mean, std, side = _expected(layout, place, tensors)
    head = tensors.get(f"{layout.head}.weight")
    facts = {"classes": 0 if head is None else head.shape[0], "layout": layout.title}
    options = asdict(build(module.Config, config, "model.options"))
    learned = {"image": {"size": [3, side, side], "mean": list(mean), "std": list(std)}}
    return Pretrained(layout.model, options, tensors, learned, facts, str(path))


def _fitted(layout: Layout, given: Tensors, place: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of the net that their names tell under our names, and its options; ConfigError where they are of another one."""
    module, tensors = find.model_module(layout.model), given
    try:
        tensors = layout.renamed(given)
        options = layout.options(tensors)
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


FIT_FAULTS = (KeyError, IndexError, ValueError, ZeroDivisionError, StopIteration, RuntimeError, TypeError)


def _expected(layout: Layout, place: Path, tensors: Tensors) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Mean, deviation and side of the pictures that the weights were learned from: as a config.json beside them says, else as usual."""
    mean, std = layout.normal
    side = SIDE
    if layout.model == "vit":
        side = math.isqrt(len(tensors["place_TD"]) - 1) * tensors["patches.weight"].shape[-1]
    beside, usual = place.with_name("config.json"), (*layout.normal, side)
    if beside.is_file() and beside.stat().st_size < 1 << 20:
        try:
            said = json.loads(beside.read_text(encoding="utf-8")).get("pretrained_cfg") or {}
            mean, std = (tuple(float(value) for value in said.get(name, known)) for name, known in (("mean", mean), ("std", std)))
            side = int(said.get("input_size", [3, side, side])[1]) if layout.model != "vit" else side
        except BESIDE_FAULTS:
            return usual
        if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0 or not 1 <= side <= LARGEST_SIDE:
            return usual
    return mean, std, side


BESIDE_FAULTS = (*JSON_FAULTS, TypeError, AttributeError, LookupError, OverflowError)
"""A file that is no JSON, or holds other things than an object with three numbers, three numbers and a size."""
