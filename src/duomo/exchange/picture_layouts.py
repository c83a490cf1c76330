"""Picture nets as others name their tensors: torchvision, timm, Hugging Face, and the papers' own code; told by names and shapes.

Legend: D width of a token, N patches.
"""

import math
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor

from duomo.core import find

Tensors = dict[str, Tensor]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
DEEPEST = 4
"""Parts of a name that may stand before a net's own."""
MOST_HEADS = 16
"""However wide a ViT's tokens are (Zhai et al. 2022, arXiv:2106.04560, table 2); up to there a head has 64 numbers."""


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


# -- ResNet, AlexNet, GoogLeNet: torchvision's and timm's layouts are ours


def _resnet(tensors: Tensors) -> dict[str, Any]:
    stages = _count(tensors, r"layer(\d+)\.") - 1
    blocks = tuple(_count(tensors, rf"layer{stage}\.(\d+)\.") for stage in range(1, stages + 1))
    return {"blocks": blocks, "width": tensors["conv1.weight"].shape[0], "bottleneck": "layer1.0.conv3.weight" in tensors, "stem": "large"}


def _resnet_hugging(tensors: Tensors) -> Tensors:
    kinds, found = {"convolution": "conv", "normalization": "bn"}, {}
    for name, value in tensors.items():
        hit = re.match(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:shortcut|layer\.(\d+))\.(convolution|normalization)\.(.*)", name)
        first = re.match(r"embedder\.embedder\.(convolution|normalization)\.(.*)", name)
        if hit:
            layer = f"{kinds[hit[4]]}{int(hit[3]) + 1}" if hit[3] else f"downsample.{int(hit[4] == 'normalization')}"
            name = f"layer{int(hit[1]) + 1}.{hit[2]}.{layer}.{hit[5]}"
        elif first:
            name = f"{kinds[first[1]]}1.{first[2]}"
        found[re.sub(r"^classifier\.1\.", "fc.", name)] = value
    return found


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


def _vit_hugging(tensors: Tensors) -> Tensors:
    layer = r"encoder\.layer\.(\d+)\."
    renamed = _by_rules(
        (r"embeddings\.patch_embeddings\.projection\.", "patches."),
        (r"embeddings\.cls_token$", "class_1D"),
        (r"embeddings\.register_tokens$", "registers_RD"),
        (r"embeddings\.position_embeddings$", "place_TD"),
        (layer + r"(?:layernorm_before|norm1)\.", r"layers.\1.first."),
        (layer + r"(?:layernorm_after|norm2)\.", r"layers.\1.second."),
        (layer + r"attention\.output\.dense\.", r"layers.\1.attention.out."),
        (layer + r"(?:intermediate\.dense|mlp\.fc1)\.", r"layers.\1.rise."),
        (layer + r"(?:output\.dense|mlp\.fc2)\.", r"layers.\1.fall."),
        (layer + r"layer_scale(\d)\.lambda1$", r"layers.\1.ls\2.gamma"),
        (layer, r"layers.\1."),
        (r"layernorm\.", "norm."),
        (r"classifier\.", "head."),
    )(tensors)
    found = {name: value for name, value in renamed.items() if ".attention.attention." not in name}
    for name in (name for name in renamed if ".attention.attention.query." in name):
        parts = [renamed[name.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
        found[name.replace(".attention.attention.query.", ".attention.qkv.")] = torch.cat(parts)
    return _scaled(_flat_tokens(found))


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
            "heads": min(MOST_HEADS, max(1, width // 64)), "growth": hidden / width, "registers": registers, "pool": "class"}  # fmt: skip


# -- ConvNeXt

_convnext_places = _by_rules(
    (r"features\.(\d+)\.(\d+)\.", r"\1 0 \2 "),  # torchvision
    (r"stem\.(\d+)\.", r"0 0 \1 "),  # timm
    (r"stages\.(\d+)\.downsample\.(\d+)\.", r"\1 0 \2 "),
    (r"stages\.(\d+)\.blocks\.(\d+)\.", r"\1 1 \2 "),
    (r"downsample_layers\.(\d+)\.(\d+)\.", r"\1 0 \2 "),  # the authors
    (r"stages\.(\d+)\.(\d+)\.", r"\1 1 \2 "),
    (r"embeddings\.patch_embeddings\.", "0 0 0 "),  # Hugging Face
    (r"embeddings\.layernorm\.", "0 0 1 "),
    (r"encoder\.stages\.(\d+)\.downsampling_layer\.(\d+)\.", r"\1 0 \2 "),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.", r"\1 1 \2 "),
    (r"(?:head\.norm|classifier\.0|layernorm)\.", "norm."),
    (r"(?:head\.fc|classifier\.2|classifier)\.", "head."),
)
"""Names that begin with stage, whether it is a block, and number; those of the ends as ours."""
_convnext_layers = _by_rules(
    (r"(\d+ \d+ \d+ )(?:conv_dw|block\.0|dwconv)\.", r"\1window."),
    (r"(\d+ \d+ \d+ )(?:block\.2|layernorm)\.", r"\1norm."),
    (r"(\d+ \d+ \d+ )(?:mlp\.fc1|block\.3|pwconv1)\.", r"\1up."),
    (r"(\d+ \d+ \d+ )(?:mlp\.fc2|block\.5|pwconv2)\.", r"\1down."),
    (r"(\d+ \d+ \d+ )(?:gamma|layer_scale|layer_scale_parameter)$", r"\1scale_C"),
)


def _convnext_anyone(tensors: Tensors) -> Tensors:
    """The layers in a row, as they are computed, whoever divided them into stages."""
    placed = _convnext_layers(_convnext_places(tensors))
    places = {name: name.split(" ") for name in placed if " " in name}
    order = sorted({(int(stage), int(block), int(number)) for stage, block, number, _ in places.values()})
    row = {place: number for number, place in enumerate(order)}
    found = {}
    for name, value in placed.items():
        if name in places:
            *place, rest = places[name]
            name = f"features.{row[(int(place[0]), int(place[1]), int(place[2]))]}.{rest}"
        found[name] = value.flatten() if name.endswith(".scale_C") else value
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
    Layout("resnet", "ResNet", ("embedder.embedder.convolution.weight", "encoder.stages.0.layers.0.layer.0.convolution.weight"),
           _resnet_hugging, _resnet, "fc"),
    Layout("inception", "GoogLeNet", ("inception3a.branch1.conv.weight",), _same, lambda tensors: {
        "paper": "conv1.bn.weight" not in tensors, "auxiliary": "aux1.fc1.weight" in tensors, "stem": "large"}, "fc", HALVES),
    Layout("mobilenet", "MobileNetV2", ("features.0.0.weight", "features.1.conv.0.0.weight"), _same, _mobilenet, "classifier.1"),
    Layout("mobilenet", "MobileNetV2", ("conv_stem.weight", "blocks.1.0.conv_pwl.weight", "conv_head.weight"), _mobilenet_timm, _mobilenet,
           "classifier.1"),
    Layout("vit", "ViT", ("conv_proj.weight", "encoder.pos_embedding"), _vit_torchvision, _vit, "head"),
    Layout("vit", "ViT", ("patch_embed.proj.weight", "pos_embed", "cls_token", "blocks.0.ls1.gamma"), _vit_timm, _vit, "head"),
    Layout("vit", "ViT", ("patch_embed.proj.weight", "pos_embed", "cls_token"), _vit_timm, _vit, "head", HALVES),
    Layout("vit", "ViT", ("embeddings.patch_embeddings.projection.weight", "encoder.layer.0.layer_scale1.lambda1"),
           _vit_hugging, _vit, "head"),
    Layout("vit", "ViT", ("embeddings.patch_embeddings.projection.weight", "encoder.layer.0.layernorm_before.weight"),
           _vit_hugging, _vit, "head", HALVES),
    *(Layout("convnext", "ConvNeXt", signs, _convnext_anyone, _convnext, "head") for signs in (
        ("stem.0.weight", "stages.0.blocks.0.conv_dw.weight"), ("features.0.0.weight", "features.1.0.layer_scale"),
        ("downsample_layers.0.0.weight", "stages.0.0.dwconv.weight"),
        ("embeddings.patch_embeddings.weight", "encoder.stages.0.layers.0.dwconv.weight"))),
    Layout("vgg", "VGG", ("features.0.weight", "pre_logits.fc1.weight"), _vgg_timm, _vgg, "classifier.6"),
    Layout("alexnet", "AlexNet", ("features.0.weight", "features.10.weight", "classifier.1.weight"), _same, _alexnet, "classifier.6"),
    Layout("vgg", "VGG", ("features.0.weight", "classifier.0.weight", "classifier.6.weight"), _same, _vgg, "classifier.6"),
)  # fmt: skip


def layout_of(names: Collection[str]) -> tuple[Layout, str] | None:
    """The layout of these names, and what stands before each of the net's own: a wrapper, or the part of a larger model that it was."""
    known = {*names}
    steps = (name.split(".")[:-1] for name in known)
    before = {"".join(f"{step}." for step in parts[:deep]) for parts in steps for deep in range(min(DEEPEST, len(parts)) + 1)}
    for prefix in sorted(before, key=lambda prefix: (prefix.count("."), prefix)):
        for layout in LAYOUTS:
            if all(prefix + sign in known for sign in layout.signs):
                return layout, prefix
    return None
