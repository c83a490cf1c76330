"""Films: clips of a fixed number of frames, sampled by time and spread over the film, brought to one size, uint8.

Legend: N rows (films), K clips of a film, T frames of a clip, C channels (1 or 3), H height, W width.
"""

import io
import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
from PIL import Image

from duomo.core import films
from duomo.core.contract import Field
from duomo.core.errors import DataError
from duomo.core.kinds import image, media
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import sample
from duomo.core.kinds.image import BOMBS, FAULTS
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

STEP = 0.25
"""Most seconds between the frames of a clip when nobody says otherwise; a short film fills its clip."""
STILL = re.compile(rb"GIF8|RIFF....WEBP|\x89PNG|\xff\xd8\xff", re.DOTALL)
"""How files begin that hold a picture, or several."""
ROUNDING = 3
CLIPS = 4
"""Most clips of a film when nobody says otherwise."""


@final
class Video(Kind):
    """A film file."""

    name: ClassVar[str] = "video"
    form: ClassVar[str | None] = "clips"

    def recognise(self, name: str, cells: Cells) -> str | None:
        reason = media.recognise(cells, films.SUFFIXES, films.magic)
        if reason is None:
            return None
        some = Cells(sample(cells.data.drop_null(), 20), cells.root)
        moving = [item for item in media.decode_all(media.sources(some), moves, 1, films.LARGEST_FILE) if not isinstance(item, ValueError)]
        return reason if not moving or sum(moving) > 0.5 * len(moving) else None

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """State: `size` (C, H, W), `fit` and `fill` as of pictures, `frames` T, `step` in seconds, `clips` K, `differences`,
        `mean` and `std` of each channel in 0..1.
        """
        some = Cells(sample(cells.data, 500), cells.root)
        looks = [item for item in media.decode_all(media.sources(some), films.look, 1, films.LARGEST_FILE) if isinstance(item, films.Film)]
        if not looks:
            raise DataError("At least one film must be readable; none of {rows} is. Look at the files.", rows=len(cells.data))
        how, height, width = image.shape_for([image.Look(one.width, one.height, False, 0.0) for one in looks], config.picture_size)
        frames = config.clip_frames
        usual = float(np.median([one.seconds for one in looks if one.frames] or [0.0]))
        step = config.clip_step or (min(STEP, usual / frames) if usual else STEP)
        clips = config.clips or int(np.clip(usual / (frames * step) + 1e-6, 1, CLIPS))
        draft = {"size": [3, height, width], "fit": how, "fill": 0, "frames": frames, "step": step, "clips": clips}
        few = Cells(sample(cells.data, 64), cells.root)
        found = media.decode_all(media.sources(few), lambda source: decode(source, draft | {"clips": 1}), 1, films.LARGEST_FILE)
        pixels = np.concatenate([item[0] for item in found if isinstance(item, np.ndarray)] or [np.zeros((1, 3, height, width), np.uint8)])
        # colours of a grey film are off by the rounding of its codec
        grey = all(int(np.abs(pixels[:, k].astype(np.int16) - pixels[:, 0]).max()) <= ROUNDING for k in (1, 2))
        pixels = pixels[:, :1] if grey else pixels
        size = {"size": [1 if grey else 3, height, width]}
        return draft | size | image.moments(pixels) | {"differences": config.frame_differences}

    def field(self, state: Mapping[str, Any]) -> Field:
        channels, height, width = state["size"]
        facts = {"mean": list(state["mean"]), "std": list(state["std"]), "step": state["step"], "differences": state["differences"]}
        return Field("clips", (state["frames"], channels * (2 if state["differences"] else 1), height, width), facts=facts)

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        found = media.whole(cells, media.decode_all(media.sources(cells), lambda source: decode(source, state), 1, films.LARGEST_FILE))
        return Block(np.stack(found) if found else np.zeros((0, state["clips"], state["frames"], *state["size"]), np.uint8))

    def check(self, cells: Cells) -> media.Broken:
        """Films whose beginning or end cannot be decoded, with name and reason."""
        return media.broken(cells, films.trial, 1, films.LARGEST_FILE)


def moves(source: media.Source) -> bool:
    """Whether it is a film; a picture is one where it has several frames."""
    if not STILL.match(media.head(source, 12)):
        return True
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=image.FORMATS) as picture:
            return bool(getattr(picture, "is_animated", False))
    except BOMBS as error:
        raise ValueError(tr("the picture has more than {limit} pixels", limit=image.LARGEST)) from error
    except FAULTS as error:
        raise ValueError(tr("it is no picture that can be read")) from error


def starts(seconds: float, span: float, clips: int) -> list[float]:
    """Where the clips of a film begin: spread evenly, the first at its beginning, the last at its end; one in the middle."""
    room = max(0.0, seconds - span)
    return [room / 2] if clips == 1 else np.linspace(0, room, clips).tolist()


def decode(source: media.Source, state: Mapping[str, Any]) -> np.ndarray:
    """One film as uint8 (K, T, C, H, W); ValueError with the reason when it cannot be read.

    The frames are the first at or after their times; past the end the last one is repeated. Only these are kept.
    """
    channels, height, width = state["size"]
    frames, step, clips = int(state["frames"]), float(state["step"]), int(state["clips"])
    with films.opened(source) as reader:
        begin = starts(reader.film.seconds, frames * step, clips) if reader.film.frames else [frames * step * k for k in range(clips)]
        wanted = np.array([start + step * number for start in begin for number in range(frames)])
        found = np.zeros((len(wanted), channels, height, width), np.uint8)
        kept: np.ndarray | None = None
        time, over = 0.0, False
        for place in np.argsort(wanted, kind="stable"):
            # half a frame early counts: a film of 25 frames a second has none at 0.25 s, but at 0.24
            due = wanted[place] - 0.5 / reader.film.rate
            if not over and (kept is None or time < due):
                told = reader.next(max(0.0, due))
                over = told is None
                if told is not None:
                    time, kept = told, _small(reader.picture(), state)
            if kept is None:
                kept = _first(source, state)
            found[place] = kept
    return found.reshape(clips, frames, channels, height, width)


def _first(source: media.Source, state: Mapping[str, Any]) -> np.ndarray:
    """The first frame, for a film that ends before the first time that was asked for."""
    for _, picture_HW3 in films.frames(source):
        return _small(picture_HW3, state)
    raise ValueError(tr("the film has no frame that can be read"))


def _small(picture_HW3: np.ndarray, state: Mapping[str, Any]) -> np.ndarray:
    """uint8 (C, H, W) of the state's size."""
    channels, height, width = state["size"]
    picture = Image.fromarray(picture_HW3).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(image.resize(picture, (width, height), state["fit"], state["fill"]), np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


KIND = Video()
