"""Pictures a second into a training step: python bench/picture_pipeline.py [FOLDER] [--sides 64,224] [--seconds 4]

Ours: pictures decoded once into the memory-mapped uint8 cache, then gathered, cropped, mirrored and normalised as batches of tensors. The
peer, in turns with it: a torch DataLoader (two workers, persistent) whose Dataset opens each file with Pillow, brings it to size, crops the
padded picture at random, mirrors it and normalises it: what a training script usually does. Same files, same transforms, batches of 64.

FOLDER holds pictures (of any size); without it, 1,024 JPEG files of 500 × 375 pixels are cut from the photos in scikit-learn. The peer is
measured twice: on the files as they are, and on copies that were brought to the size before (its best case).
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from common import command_line
from duomo.core.recipe import AugmentConfig, EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Dense, Examples
from duomo.data import cache
from duomo.data.encode import InputEncoder
from duomo.data.loader import TableStream

BATCH, SHIFT = 64, 0.1
TURNS = 3


def written(folder: Path, count: int = 1024) -> list[Path]:
    """JPEG files of 500 × 375 pixels, cut at random from two photos."""
    photos = [Image.fromarray(np.asarray(photo)) for photo in load_sample_images().images]
    random = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % 2]
        left, top = int(random.integers(0, photo.width - 400)), int(random.integers(0, photo.height - 300))
        photo.crop((left, top, left + 400, top + 300)).resize((500, 375)).save(folder / f"{number:05d}.jpg", quality=88)
    return sorted(folder.glob("*.jpg"))


class Files(torch.utils.data.Dataset):
    """A picture as a training script reads it."""

    def __init__(self, paths: list[Path], side: int):
        self.paths, self.side, self.shift = paths, side, round(SHIFT * side)
        self.mean, self.std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        side, shift = self.side, self.shift
        picture: Image.Image = Image.open(self.paths[row])
        picture.draft("RGB", (side, side))
        picture = picture.convert("RGB")
        if picture.size != (side, side):
            picture = ImageOps.fit(picture, (side, side), Image.Resampling.BILINEAR)
        left, top = torch.randint(0, 2 * shift + 1, (2,)).tolist()
        picture = ImageOps.expand(picture, shift).crop((left, top, left + side, top + side))
        if torch.rand(()) < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
        return pixels.float().div(255).sub(self.mean).div(self.std)


def peer(paths: list[Path], side: int) -> Iterator[torch.Tensor]:
    loader = torch.utils.data.DataLoader(Files(paths, side), BATCH, shuffle=True, num_workers=2, persistent_workers=True, drop_last=True)
    while True:
        yield from loader


def ours(paths: list[Path], side: int) -> Iterator[torch.Tensor]:
    table = Table(pa.table({"picture": [str(path) for path in paths]}), {"picture": "image"}, root=Path("/"))
    encoder = InputEncoder(EncodeConfig(picture_size=side))
    encoder.fit(table, ["picture"])
    ((name, column),) = encoder.encode(table).items()
    assert isinstance(column, Dense)
    print(f"  cache: {column.values.nbytes / 1e6:.0f} MB, in a file: {column.values.nbytes > cache.IN_MEMORY}")
    stream = TableStream(Examples({name: column}), encoder.fields(), BATCH, 0, AugmentConfig(crop=SHIFT, flip=True))
    step = 0
    while True:
        yield stream.batch(step)[name]
        step += 1


def rate(batches: Iterator[torch.Tensor], seconds: float) -> float:
    """Pictures a second; each batch is read through once, as a model would."""
    for _ in range(3):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += len(next(batches))
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--sides", default="64,224")
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # ours works in one thread; the peer's two workers have a core each
    cache.IN_MEMORY = 1  # every column goes to the memory-mapped file, as large ones do
    with tempfile.TemporaryDirectory() as made:
        os.environ["DUOMO_CACHE"] = f"{made}/cache"
        (Path(made) / "files").mkdir()
        found = (
            [path for path in sorted(arguments.folder.rglob("*")) if path.suffix in (".png", ".jpg", ".jpeg")] if arguments.folder else []
        )
        paths = found[:2048] or written(Path(made) / "files")
        print(f"{len(paths)} files; load average {os.getloadavg()[0]:.1f}")
        print("| side | what | pictures a second | ours is faster by |\n|---|---|---|---|")
        for side in map(int, arguments.sides.split(",")):
            small = Path(made) / str(side)
            small.mkdir()
            for path in paths:
                ImageOps.fit(Image.open(path).convert("RGB"), (side, side)).save(small / f"{path.stem}.jpg", quality=88)
            sources = {
                "ours": ours(paths, side),
                "files as they are": peer(paths, side),
                "files of that size": peer(sorted(small.iterdir()), side),
            }
            rates: dict[str, list[float]] = {name: [] for name in sources}
            for _ in range(TURNS):
                for name, batches in sources.items():
                    rates[name].append(rate(batches, arguments.seconds))
            best = {name: float(np.median(values)) for name, values in rates.items()}
            for name, values in rates.items():
                ratio = "" if name == "ours" else f"{best['ours'] / best[name]:.1f}×"
                print(f"| {side} | {name} | {best[name]:,.0f} ({', '.join(f'{value:,.0f}' for value in values)}) | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
