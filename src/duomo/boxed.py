"""What a detector finds, drawn on a picture or a film; the things of a film keep numbers; beside it a CSV of all boxes.

A film is read, answered, drawn and written a few frames at a time. Legend: H height, W width.
"""

import colorsys
import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from duomo.core import films
from duomo.core.errors import ConfigError, DataError, Interrupted, ResourceError
from duomo.core.kinds import image
from duomo.core.kinds.video import moves
from duomo.core.messages import together, tr
from duomo.core.reporter import Reporter
from duomo.core.stderr import hushed
from duomo.core.table import Table
from duomo.data.folders.files import kind_of, listing
from duomo.data.folders.misnamed import misnamed
from duomo.data.outputs import write_text
from duomo.data.predictor import Predictor
from duomo.data.tracking import LOW, Detection, Sighting, Tracker
from duomo.train.guard import Signals, Stop

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
"""What OpenCV's own FFmpeg can write without a codec that must be licensed."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SIDES = ("left", "top", "right", "bottom")
LONGEST_LABEL = 32
FONTS = (
    "msyh.ttc", "PingFang.ttc", "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "wqy-zenhei.ttc", "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf", "simhei.ttf",
)  # fmt: skip
"""Fonts of the systems that hold the letters which OpenCV's own lacks: Chinese ones among them."""
FASTEST = 120.0
"""Frames a second of a film that is written; some headers promise a thousand, whatever there is."""
MOST_NAMED = 20
MOST_AHEAD = 16
"""Frames in memory at a time."""
Answer = Callable[[Sequence[bytes]], list[list[Detection]]]
"""The boxes of picture files."""


def draws(predictor: Predictor, source: Any, out: str | None) -> bool:
    """Whether answers are drawn rather than listed: onto a picture or a film, or the pictures of a folder into another one.

    ConfigError for a film whose boxes are to go elsewhere.
    """
    ending = Path(out).suffix.lower() if out else ""
    if ending in (*CODECS, *PICTURES):
        return True
    paths = [Path(one).expanduser() for one in (source if isinstance(source, list) else [source]) if isinstance(one, str | Path)]
    if not finds_boxes(predictor) or not paths:
        return False
    if any(path.is_file() and path.suffix.lower() in CODECS for path in paths):
        raise ConfigError("The boxes of a film are drawn into another, and listed beside it; received {out!r}. "
                          "Name a film with -o, such as boxed.mp4.", out=out or "")  # fmt: skip
    return bool(out) and not ending and (len(paths) > 1 or paths[0].is_dir())


def finds_boxes(predictor: Predictor) -> bool:
    return "sure" in predictor.task.state()


def draw(predictor: Predictor, source: Any, out: str, reporter: Reporter) -> dict[str, Any]:
    """A picture or film with its boxes into `out`, or several pictures, or all of a folder, into the folder `out`, and the boxes as CSV
    beside.

    Returns counts and places.

    ConfigError for a model that finds no boxes or an output that does not suit; DataError for what cannot be read; Interrupted where a
    film was stopped: what was done until then can be played.
    """
    several, target = [Path(one).expanduser() for one in (source if isinstance(source, list) else [source])], Path(out).expanduser()
    path = several[0]
    if not finds_boxes(predictor):
        raise ConfigError("Boxes are drawn by a run of the task detect; this one is of the task {task}. Write answers to a .csv.",
                          task=predictor.task.name)  # fmt: skip
    if len(several) > 1 and target.suffix:
        raise ConfigError("The boxes of several files are drawn into a folder; received {out!r}. Name a folder with -o.", out=out)
    lost = next((one for one in several if not (one.is_file() or (one.is_dir() and not target.suffix))), None)
    if lost is not None:
        raise DataError("There must be a picture or a film to draw on; there is no file {path}.", path=lost)
    if len(several) > 1 or path.is_dir():
        return _folder(predictor, several, target, reporter)
    if not target.absolute().parent.is_dir():
        raise ConfigError(
            "The folder of the output must exist; there is no {folder}. Make it, or name another.", folder=target.absolute().parent
        )
    beside = target.with_suffix(".csv")
    if path.resolve() in (target.resolve(), beside.resolve()):
        raise ConfigError("The output must be another file than the input; both are {path}. Name another with -o.", path=path)
    if not kind_of(path.name) and (said := misnamed(path.parent, [path.name])):
        raise DataError("{problems}", problems=together(said))
    film = path.suffix.lower() in films.SUFFIXES and not _still(path)
    if film != (target.suffix.lower() in CODECS):
        raise ConfigError("Boxes of a {kind} are drawn into {known}; received {out!r}. Name such a file with -o.", out=out,
                          kind=tr("film") if film else tr("picture"), known=", ".join(CODECS if film else PICTURES))  # fmt: skip
    facts = _film(predictor, path, target, reporter) if film else _picture(predictor, path, target)
    reporter.say(tr("Wrote {out}, and its {boxes:,} boxes to {csv}.", out=target, boxes=facts["boxes"], csv=beside))
    return facts | {"out": str(target), "csv": str(beside)}


def _still(path: Path) -> bool:
    """Whether a GIF holds one picture, or opens as none: what is wrong with a film is told better by what reads films."""
    try:
        return not moves(path)
    except ValueError:
        return False


def _answering(predictor: Predictor, share: float) -> tuple[Answer, float]:
    """What finds the boxes down to `share` of the confidence from which they are answers; and that confidence."""
    task = copy.deepcopy(predictor.task)
    state = task.state()
    task.restore(state | {"sure": share * state["sure"]})
    lower = Predictor(task, predictor.model, predictor.execution, predictor.block, predictor.heights)
    (column,) = task.columns

    def answer(files: Sequence[bytes]) -> list[list[Detection]]:
        found = lower.answers(Table(pa.table({column: list(files)}), {column: "image"}))["prediction"]
        return [[Detection(one["label"], one["confidence"], tuple(one["box"])) for one in things] for things in found]

    return answer, state["sure"]


def _picture(predictor: Predictor, path: Path, target: Path) -> dict[str, Any]:
    answer, _ = _answering(predictor, 1.0)
    try:
        found = _drawn(answer, path, target)
    except ValueError as error:
        raise DataError("The picture {name} cannot be read: {reason}.", name=path.name, reason=error) from None
    with _arriving(target.with_suffix(".csv")) as lines, lines.open("w", encoding="utf-8", newline="") as file:
        write_text(file, ".csv", _columns(found), True)
    return {"boxes": len(found)}


def _drawn(answer: Answer, path: Path, target: Path) -> list[Detection]:
    """Draw one picture; its boxes. ValueError where it cannot be read."""
    with image.open_picture(path) as opened:
        rgb_HW3 = np.array(image.shown(opened).convert("RGB"))
    (found,) = answer([path.read_bytes()])
    for number, one in enumerate(found, 1):
        mark(rgb_HW3, Sighting(number, *one), f"{one.score:.2f}")
    with _arriving(target) as partial:
        if not films.library().imwrite(str(partial), rgb_HW3[:, :, ::-1]):
            raise ResourceError("The output could not be written to {path}. Check rights and free space.", path=target)
    return found


def _pictures(several: Sequence[Path]) -> dict[str, Path]:
    """Pictures by the names that they are drawn under: those in a folder by their places in it, of one name in several by the path."""
    found: dict[str, Path] = {}
    for path in several:
        names = [file for file in listing(path)[0] if kind_of(file) == "image"] if path.is_dir() else [path.name]
        places = [path / name if path.is_dir() else path for name in names]
        for name, place in zip(names, places, strict=True):
            found[name if name not in found else "/".join(step for step in place.parts if step not in ("..", place.anchor))] = place
    return found


def _folder(predictor: Predictor, several: Sequence[Path], target: Path, reporter: Reporter) -> dict[str, Any]:
    """Every picture into a folder under its own name, the boxes of all in boxes.csv there; what does not open is named."""
    files, broken, boxes = _pictures(several), list[str](), 0
    if not files:
        raise DataError("There must be pictures to draw on; {path} has none.", path=several[0])
    if target.is_dir() and any(target.iterdir()):
        raise ConfigError("Drawn pictures need a folder of their own; {path} holds something. Name another with -o.", path=target)
    answer, _ = _answering(predictor, 1.0)
    target.mkdir(parents=True, exist_ok=True)
    with (
        _arriving(target / "boxes.csv") as lines,
        lines.open("w", encoding="utf-8", newline="") as sheet,
        reporter.progress(tr("drawing"), len(files), tr("pictures")) as bar,
    ):
        for number, (file, source) in enumerate(files.items(), 1):
            place = target / (file if file.lower().endswith(PICTURES) else f"{file}.png")
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                found = _drawn(answer, source, place)
            except ValueError as error:
                broken, found = [*broken, f"{file}: {error}"], []
            write_text(sheet, ".csv", {"file": [file] * len(found)} | _columns(found), number == 1)
            boxes += len(found)
            bar.update(number)
    if broken:
        reporter.say(tr("{count} of {rows} pictures cannot be read and are left out: {names}.", count=len(broken), rows=len(files),
                        names="; ".join(broken[:MOST_NAMED])))  # fmt: skip
    reporter.say(tr("Wrote {out}, and its {boxes:,} boxes to {csv}.", out=target, boxes=boxes, csv=target / "boxes.csv"))
    return {"pictures": len(files) - len(broken), "boxes": boxes, "out": str(target), "csv": str(target / "boxes.csv")}


def _columns(found: list[Any]) -> dict[str, list[Any]]:
    sides = {side: [round(one.box[place], 1) for one in found] for place, side in enumerate(SIDES)}
    return {"label": [one.label for one in found], "score": [round(one.score, 4) for one in found], **sides}


def _film(predictor: Predictor, path: Path, target: Path, reporter: Reporter) -> dict[str, Any]:
    answer, sure = _answering(predictor, LOW)
    try:
        facts = films.look(path)
        tracker = Tracker(sure, facts.rate)
        told = films.frames(path)
        with _arriving(target) as partial, _arriving(target.with_suffix(".csv")) as lines, lines.open("w", encoding="utf-8") as file:
            followed = _followed(told, answer, tracker, min(MOST_AHEAD, predictor.block.height(1)))
            return _frames(followed, facts, (partial, file), reporter)
    except ValueError as error:
        raise DataError("The film {name} cannot be read: {reason}.", name=path.name, reason=error) from None


def _followed(
    told: Iterator[tuple[float, np.ndarray]], answer: Answer, tracker: Tracker, ahead: int
) -> Iterator[tuple[float, np.ndarray, list[Sighting]]]:
    """Time, frame and things of each frame; as many are answered together as the model takes at once."""
    cv2 = films.library()
    while some := list(islice(told, ahead)):
        # uncompressed files: the same way in as every other picture has
        files = [cv2.imencode(".bmp", rgb_HW3[:, :, ::-1])[1].tobytes() for _, rgb_HW3 in some]
        for (time, rgb_HW3), found in zip(some, answer(files), strict=True):
            height, width = rgb_HW3.shape[:2]  # a track may be expected a little outside
            most = (width, height, width, height)
            yield time, rgb_HW3, [one._replace(box=tuple(np.clip(one.box, 0, most).tolist())) for one in tracker.update(found, time)]


def _frames(
    told: Iterator[tuple[float, np.ndarray, list[Sighting]]], facts: films.Film, places: tuple[Path, TextIO], reporter: Reporter
) -> dict[str, Any]:
    """Every frame with its boxes; stopped by a signal, the film so far is closed and kept."""
    number, boxes, tracks, time = 0, 0, 0, 0.0
    total, (partial, file) = facts.frames or 1, places
    with Signals() as signals, _writer(partial, facts) as write, reporter.progress(tr("drawing"), total, tr("frames")) as bar:
        try:
            for number, (time, rgb_HW3, seen) in enumerate(told, 1):
                signals.check()
                for one in seen:
                    mark(rgb_HW3, one, f"#{one.track}")
                write(rgb_HW3, time)
                rows: dict[str, list[Any]] = {
                    "time": [round(time, 3)] * len(seen), "frame": [number - 1] * len(seen), "track": [one.track for one in seen],
                }  # fmt: skip
                write_text(file, ".csv", rows | _columns(seen), number == 1)
                boxes, tracks = boxes + len(seen), max([tracks, *(one.track for one in seen)])
                bar.update(min(number, total), tracks=tracks)
        except Stop:
            raise Interrupted("Stopped at {time:.1f} s of the film; the part until then is in {out}.", time=time,
                              out=_arrived(partial)) from None  # fmt: skip
    seconds = time + 1 / facts.rate
    if seconds < films.LATE * facts.seconds:
        reporter.say(tr("the film is truncated: it ends after {last:.1f} of {seconds:.1f} s", last=seconds, seconds=facts.seconds))
    return {"frames": number, "seconds": round(seconds, 2), "boxes": boxes, "tracks": tracks}


@contextmanager
def _arriving(path: Path) -> Iterator[Path]:
    """A hidden file beside that takes its name at the end, or where it was stopped on the way; not where it failed."""
    partial = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except Interrupted:
        os.replace(partial, path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _arrived(partial: Path) -> str:
    """What such a file is called at the end."""
    return partial.stem.removeprefix(".").removesuffix(".part") + partial.suffix


@contextmanager
def _writer(path: Path, facts: films.Film) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Takes RGB frames (H, W, 3) with their times; sides are made even, which codecs ask for.

    What is written has one rate: a frame stays until the next one is due, so a film whose frames come unevenly plays as long as before.
    """
    cv2 = films.library()
    width, height = facts.width + facts.width % 2, facts.height + facts.height % 2
    rate = min(facts.rate, FASTEST)
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
    with hushed():
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, (width, height))
    if not writer.isOpened():
        raise ResourceError("The output could not be written to {path}. Check rights and free space.", path=path)
    written, last = 0, np.zeros((height, width, 3), np.uint8)

    def write(rgb_HW3: np.ndarray, time: float) -> None:
        nonlocal written, last
        for _ in range(round(time * rate) - written):
            writer.write(last)
            written += 1
        down, right = height - rgb_HW3.shape[0], width - rgb_HW3.shape[1]
        if down or right:
            rgb_HW3 = cv2.copyMakeBorder(rgb_HW3, 0, max(0, down), 0, max(0, right), cv2.BORDER_REPLICATE)[:height, :width]
        last = rgb_HW3[:, :, ::-1]
        if round(time * rate) >= written:
            writer.write(last)
            written += 1

    try:
        yield write
    finally:
        writer.release()


def mark(rgb_HW3: np.ndarray, one: Sighting, words: str) -> None:
    """Draw a box in the colour of its number, with its label and `words`; a label that no font here can write is left out."""
    cv2 = films.library()
    side = min(rgb_HW3.shape[:2])
    thick, scale = max(1, round(side / 240)), max(0.35, side / 900)
    red, green, blue = colorsys.hsv_to_rgb(one.track * 0.618034 % 1, 0.85, 1.0)
    colour = (round(255 * red), round(255 * green), round(255 * blue))
    left, top, right, bottom = (round(value) for value in one.box)
    cv2.rectangle(rgb_HW3, (left, top), (max(left, right - 1), max(top, bottom - 1)), colour, thick)
    label = " ".join(one.label[:LONGEST_LABEL].split())
    written = None if label.isascii() else _written(f"{label} {words}", max(10, round(26 * scale)))
    if written is not None:
        foot = top if top >= len(written) else top + len(written)
        place = rgb_HW3[foot - len(written) : foot, left : left + written.shape[1]]
        ink_HW1 = written[: place.shape[0], : place.shape[1], None]
        place[:] = np.round(np.array(colour) * (1 - ink_HW1)).astype(rgb_HW3.dtype)
        return
    text = f"{label} {words}" if label.isascii() else words
    (wide, tall), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    foot = top if top - tall - below >= 0 else top + tall + below
    cv2.rectangle(rgb_HW3, (left, foot - tall - below), (left + wide, foot), colour, -1)
    cv2.putText(rgb_HW3, text, (left, foot - below + thick), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thick, cv2.LINE_AA)


@lru_cache(maxsize=1024)
def _written(text: str, size: int) -> np.ndarray | None:
    """(H, W) float32 between 0 and 1: how much ink of the text each pixel has; None where the machine has none of the fonts."""
    font = _font(size)
    if font is None:
        return None
    _, _, right, bottom = font.getbbox(text)
    page = Image.new("L", (round(right) + 4, round(bottom) + 4))
    ImageDraw.Draw(page).text((2, 1), text, fill=255, font=font)
    return np.asarray(page, np.float32) / 255


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | None:
    for name in FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return None
