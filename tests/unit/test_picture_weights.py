"""Weights in torchvision's and timm's layouts: recognised, renamed, complete; a picture set is taken up with what they expect."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from duomo.core import find
from duomo.core.config import build
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.kinds.base import Cells
from duomo.core.kinds.image import KIND
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import EncodeConfig, ModelConfig
from duomo.core.run import RunFolder
from duomo.exchange import pictures
from duomo.exchange.opening import open_pretrained
from duomo.exchange.picture_layouts import LAYOUTS
from duomo.train import adapt
from duomo.trained import restore


def net(name: str, side: int = 224, classes: int = 7, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    choice = find.resolve(ModelConfig(name, options=options))
    made = find.model_module(choice.name).Model(find.model_config(choice), {"x": Field("pixels", (3, side, side))}, Head(classes))
    return made.eval()


def opened(folder: Path, tensors: dict[str, torch.Tensor]):
    path = folder / "weights.safetensors"
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path)
    found = open_pretrained(path)
    side = found.learned["image"]["size"][1]
    module = find.model_module(found.model)
    model = module.Model(build(module.Config, found.options, "o"), {"x": Field("pixels", (3, side, side))}, Head(found.facts["classes"]))
    assert not model.load_state_dict(dict(found.tensors), strict=False).unexpected_keys
    return found, model.eval()


def same(one: torch.nn.Module, two: torch.nn.Module, side: int) -> bool:
    batch = {"x": torch.randn(1, 3, side, side)}
    with torch.inference_mode():
        return torch.allclose(one(batch), two(batch), atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet-v2", "inception-v1"])
def test_layouts_of_our_own_names(name, tmp_path):
    own = net(name)
    found, model = opened(tmp_path, own.state_dict())
    assert found.model == find.resolve(ModelConfig(name)).name and same(own, model, 224)
    assert found.learned["image"]["mean"][0] == (0.5 if name.startswith("inception") else 0.485)


LIES = {
    "resnet": ({"conv1.weight": (8, 3, 7, 7), "layer1.0.conv1.weight": (8, 8, 3, 3), "layer2.0.downsample.0.weight": (16, 8, 1, 1)},
               "layer1.3000000.bn1.bias"),
    "vit": ({"patch_embed.proj.weight": (64, 3, 16, 16), "pos_embed": (1, 5, 64), "cls_token": (1, 1, 64), "norm.weight": (64,),
             "blocks.0.mlp.fc1.weight": (128, 64)}, "blocks.3000000.norm1.bias"),
    "convnext": ({"stem.0.weight": (8, 3, 4, 4), "stages.0.blocks.0.conv_dw.weight": (8, 1, 7, 7)}, "stages.3000000.blocks.0.gamma"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_name_alone_builds_no_layers(name, tmp_path):
    shapes, lie = LIES[name]
    save_file({one: torch.zeros(shape) for one, shape in shapes.items()} | {lie: torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match="as published"):
        open_pretrained(tmp_path / "weights.safetensors")
    many = {"layers": 10**9} if name == "vit" else {"blocks": (10**9,)}
    with pytest.raises(ConfigError, match="at most 1,000 layers"):
        find.model_config(find.resolve(ModelConfig(name, options=many)))


def test_vgg_and_alexnet(tmp_path):
    own = net("vgg13_bn", dense=64, width=8)
    found, model = opened(tmp_path, own.state_dict())
    assert found.options["blocks"] == (2, 2, 2, 2, 2) and found.options["batch_norm"] and same(own, model, 224)
    dense = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    theirs = {}
    for name, value in own.state_dict().items():
        stem, _, part = name.rpartition(".")
        value = (
            value.view(64, 64, 7, 7)
            if name == "classifier.0.weight"
            else value[:, :, None, None]
            if name == "classifier.3.weight"
            else value
        )
        theirs[f"{dense.get(stem, stem)}.{part}"] = value
    assert same(own, opened(tmp_path, theirs)[1], 224)
    own = net("alexnet", dense=32)
    assert same(own, opened(tmp_path, own.state_dict())[1], 224)


def test_vit_in_both_layouts(tmp_path):
    own = net("vit-b16", 64, layers=2, width=128, heads=2, patch=16)
    timm, vision = {}, {}
    for name, value in own.state_dict().items():
        batched = value[None] if name in ("class_1D", "place_TD") else value
        new = name.replace("layers.", "blocks.").replace("attention.qkv", "attn.qkv").replace("attention.out", "attn.proj")
        new = new.replace(".rise.", ".mlp.fc1.").replace(".fall.", ".mlp.fc2.").replace("patches.", "patch_embed.proj.")
        new = new.replace(".first.", ".norm1.").replace(".second.", ".norm2.")
        timm[{"class_1D": "cls_token", "place_TD": "pos_embed"}.get(new, new)] = batched
        new = name.replace("layers.", "encoder.layers.encoder_layer_").replace(".first.", ".ln_1.").replace(".second.", ".ln_2.")
        new = new.replace("attention.qkv.", "self_attention.in_proj_").replace("attention.out", "self_attention.out_proj")
        new = new.replace(".rise.", ".mlp.0.").replace(".fall.", ".mlp.3.")
        new = new.replace("patches.", "conv_proj.").replace("head.", "heads.head.")
        new = new.replace("norm.", "encoder.ln.") if new.startswith("norm.") else new
        vision[{"class_1D": "class_token", "place_TD": "encoder.pos_embedding"}.get(new, new)] = batched
    for tensors, mean in ((timm, 0.5), (vision, 0.485)):
        found, model = opened(tmp_path, tensors)
        assert found.learned["image"]["size"] == [3, 64, 64] and found.learned["image"]["mean"][0] == mean and same(own, model, 64)
    # registers, positions of the patches alone, and scales of branches, as later nets have them
    timm["reg_token"], timm["pos_embed"] = torch.randn(1, 4, 128), timm["pos_embed"][:, 1:]
    timm |= {f"blocks.{layer}.ls{branch}.gamma": torch.full((128,), 2.0) for layer in (0, 1) for branch in (1, 2)}
    found, _ = opened(tmp_path, timm)
    assert found.options["registers"] == 4 and torch.equal(found.tensors["layers.1.fall.weight"], 2 * own.layers[1].fall.weight)


@pytest.mark.parametrize("model", ["vit", "fusion"])
def test_runs_from_before_the_shared_block_load(model, tmp_path):
    calls = {"vit": ("norm1", "norm2", "up", "down"), "fusion": ("attention_norm", "forward_norm", "forward_in", "forward_out")}[model]
    earlier = {f".{now}.": f".{then}." for now, then in zip(("first", "second", "rise", "fall"), calls, strict=True)}
    options = {"vit": {"layers": 1, "width": 48, "heads": 3}, "fusion": {"advice": False}}[model]
    own, again = net(model, 32, **options), {}
    for name, value in own.state_dict().items():
        for now, then in earlier.items():
            name = name.replace(now, then)
        again[name] = value
    assert any(then in name for name in again for then in earlier.values())
    folder, fresh = RunFolder(tmp_path), net(model, 32, **options)
    folder.write_tensors("model.safetensors", again)
    nn.init.ones_(next(fresh.parameters()))
    restore(fresh, folder)
    assert same(own, fresh, 32)


def test_what_does_not_fit_is_told(tmp_path):
    tensors = dict(net("resnet18").state_dict())
    del tensors["layer3.0.conv2.weight"]
    with pytest.raises(ConfigError, match=r"layer3\.0\.conv2"):
        opened(tmp_path, tensors)
    torch.save({"something": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match="something"):
        open_pretrained(tmp_path / "x.pth")


def test_a_config_beside_says_the_preprocessing(tmp_path):
    save_file({name: value.contiguous() for name, value in net("resnet18").state_dict().items()}, tmp_path / "model.safetensors")
    said = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 160, 160]}}
    (tmp_path / "config.json").write_text(json.dumps(said))
    found = pictures.read(tmp_path)
    assert found.learned["image"] == {"size": [3, 160, 160], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    lies = ({"input_size": [3, 10**9, 10**9]}, {"input_size": [3, float("inf")]}, {"mean": [float("nan")] * 3}, {"input_size": {}})
    for text in ("[" * 200_000, *(json.dumps({"pretrained_cfg": lie}) for lie in lies)):
        (tmp_path / "config.json").write_text(text)
        image = pictures.read(tmp_path).learned["image"]
        assert image["size"] == [3, 224, 224] and image["mean"][0] == 0.485


def test_pictures_follow_the_weights(forms_pictures):
    given = {"size": [3, 224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    state = KIND.adopt(given, forms_pictures, EncodeConfig())
    assert state["size"] == [3, 224, 224] and state["mean"] == given["mean"] and state["fit"] in ("crop", "letterbox")
    assert KIND.adopt(given, forms_pictures, EncodeConfig(picture_size=64))["size"] == [3, 64, 64]
    assert KIND.encode(forms_pictures, state).values.shape == (2, 3, 224, 224)


@pytest.fixture
def forms_pictures() -> Cells:
    import io

    import pyarrow as pa
    from PIL import Image

    cells = []
    for grey in (0, 200):
        body = io.BytesIO()
        Image.fromarray(np.full((20, 24), grey, np.uint8)).save(body, "PNG")
        cells.append(body.getvalue())
    return Cells(pa.chunked_array([cells]))


CONVNEXT = {
    "torchvision": (["features.0.0", "features.0.1", "features.1.0", "features.2.0", "features.2.1", "features.3.0", "features.3.1"],
                    ["block.0", "block.2", "block.3", "block.5", "layer_scale"], ("classifier.0", "classifier.2")),
    "timm": (["stem.0", "stem.1", "stages.0.blocks.0", "stages.1.downsample.0", "stages.1.downsample.1", "stages.1.blocks.0",
              "stages.1.blocks.1"], ["conv_dw", "norm", "mlp.fc1", "mlp.fc2", "gamma"], ("head.norm", "head.fc")),
    "authors": (["downsample_layers.0.0", "downsample_layers.0.1", "stages.0.0", "downsample_layers.1.0", "downsample_layers.1.1",
                 "stages.1.0", "stages.1.1"], ["dwconv", "norm", "pwconv1", "pwconv2", "gamma"], ("norm", "head")),
    "hugging face": (["convnext.embeddings.patch_embeddings", "convnext.embeddings.layernorm", "convnext.encoder.stages.0.layers.0",
                      "convnext.encoder.stages.1.downsampling_layer.0", "convnext.encoder.stages.1.downsampling_layer.1",
                      "convnext.encoder.stages.1.layers.0", "convnext.encoder.stages.1.layers.1"],
                     ["dwconv", "layernorm", "pwconv1", "pwconv2", "layer_scale_parameter"], ("convnext.layernorm", "classifier")),
}  # fmt: skip


@pytest.mark.parametrize("maker", CONVNEXT)
def test_convnext_of_four_makers(maker, tmp_path):
    own = net("convnext", blocks=(1, 2), width=8, window=7, stem="large", advice=False)
    places, parts, ends = CONVNEXT[maker]
    layers = dict(zip(("window", "norm", "up", "down", "scale_C"), parts, strict=True))
    theirs = {}
    for name, value in own.state_dict().items():
        steps = name.split(".")
        if steps[0] == "features":
            rest = [layers.get(step, step) for step in steps[2:]]
            name = ".".join([places[int(steps[1])], *rest])
        else:
            name = ".".join([ends[steps[0] == "head"], steps[1]])
        theirs[name] = value[:, None, None] if name.endswith("layer_scale") else value
    found, model = opened(tmp_path, theirs)
    assert found.model == "convnext" and found.options["blocks"] == (1, 2) and same(own, model, 224)


def test_vit_and_resnet_of_hugging_face(tmp_path):
    own, theirs = net("vit-b16", 64, layers=2, width=128, heads=4, patch=16, registers=2, advice=False), {}
    renamed = {"first": "layernorm_before", "second": "layernorm_after", "attention.out": "attention.output.dense",
               "rise": "intermediate.dense", "fall": "output.dense"}  # fmt: skip
    ends = {"class_1D": "embeddings.cls_token", "place_TD": "embeddings.position_embeddings", "registers_RD": "embeddings.register_tokens",
            "patches": "embeddings.patch_embeddings.projection", "norm": "layernorm"}  # fmt: skip
    for name, value in own.state_dict().items():
        stem, _, part = name.rpartition(".")
        layer, inside = stem.split(".")[1:2], ".".join(stem.split(".")[2:])
        if inside == "attention.qkv":
            for third, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                theirs[f"vit.encoder.layer.{layer[0]}.attention.attention.{third}.{part}"] = piece
        elif inside:
            theirs[f"vit.encoder.layer.{layer[0]}.{renamed[inside]}.{part}"] = value
        elif stem == "head":
            theirs[f"classifier.{part}"] = value
        else:
            theirs["vit." + (f"{ends[stem]}.{part}" if stem else ends[part])] = value if stem else value[None]
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {"height": 64, "width": 64}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "num_attention_heads": 4}))
    found, model = opened(tmp_path, theirs)
    assert found.learned["image"] == {"size": [3, 64, 64], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]} and same(own, model, 64)
    own, theirs = net("resnet18", advice=False), {}
    for name, value in own.state_dict().items():
        steps = name.split(".")
        kind = "normalization" if "bn" in steps[-2] or steps[-2:-1] == ["1"] else "convolution"
        if steps[0].startswith("layer"):
            layer = "shortcut" if steps[2] == "downsample" else f"layer.{int(steps[2][-1]) - 1}"
            name = f"resnet.encoder.stages.{int(steps[0][-1]) - 1}.layers.{steps[1]}.{layer}.{kind}.{steps[-1]}"
        else:
            name = f"classifier.1.{steps[1]}" if steps[0] == "fc" else f"resnet.embedder.embedder.{kind}.{steps[1]}"
        theirs[name] = value
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", "num_channels": 3}))
    found, model = opened(tmp_path, theirs)
    assert found.model == "resnet" and found.facts["classes"] == 7 and same(own, model, 224)
    (tmp_path / "weights.safetensors").rename(tmp_path / "model.safetensors")
    assert open_pretrained(tmp_path).model == "resnet"


@pytest.mark.parametrize("before", ["net.", "student.encoder.", "state_dict.model.module."])
def test_what_stands_before_all_names_is_passed_over(before, tmp_path):
    own = net("mobilenet-v2")
    found, model = opened(tmp_path, {before + name: value for name, value in own.state_dict().items()} | {"epoch": torch.zeros(1)})
    assert found.model == "mobilenet" and same(own, model, 224)


def test_places_are_drawn_between_for_pictures_of_another_size(tmp_path):
    own = net("vit-b16", 128, layers=2, width=64, heads=1, patch=16, advice=False)
    with torch.no_grad():
        own.place_TD[1:] = torch.linspace(0, 1, 8).repeat(8)[:, None]
    other = net("vit-b16", 64, layers=2, width=64, heads=1, patch=16, advice=False)
    given = Pretrained("vit", {}, own.state_dict())
    _, new = adapt.load(other, given)
    assert new == [] and torch.equal(other.place_TD[0], own.place_TD[0])
    assert torch.allclose(other.place_TD[1:].view(4, 4, 64)[0, :, 0], torch.linspace(0.07, 0.93, 4), atol=0.03)


@pytest.mark.parametrize(("width", "heads"), [(192, 3), (768, 12), (1024, 16), (1280, 16), (1664, 16)])
def test_heads_of_a_vit_are_as_published(width, heads):
    """No shape tells them: heads of 64 numbers, and no more than 16 of them in the largest nets."""
    tensors = {"norm.weight": torch.zeros(width), "layers.0.rise.weight": torch.zeros(4 * width, 1)}
    tensors["patches.weight"] = torch.zeros(1, 3, 14, 14)
    assert {layout.options(tensors)["heads"] for layout in LAYOUTS if layout.model == "vit"} == {heads}
