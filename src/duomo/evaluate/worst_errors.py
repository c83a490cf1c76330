"""The worst errors, to look at: rows with their cells, pictures as thumbnails, films as strips, sounds as players, all in the page."""

import base64
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from duomo.core import films
from duomo.core.contract import View
from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS, UNREADABLE
from duomo.core.kinds import boxes, image
from duomo.core.messages import tr
from duomo.core.table import MEDIA, Table
from duomo.data.several import texts_in

PICTURE_FAULTS = (DataError, *image.FAULTS)
SHOWN = 12
THUMBNAIL, SMALL = 128, 64
STRIP, FRAME, IN_LINE = 6, 96, 3
"""Frames of a film that are shown, their largest side, and how many stand side by side."""
COMPARED, PAIRS, IN_A_ROW = 96, 10, 8
"""Worst rows that confusions are looked for among, pairs of classes shown, pictures of each pair."""
LONGEST_TEXT = 400
LONGEST_LIST, MOST_THINGS = 16, 12
"""Numbers that are written out, and labelled things that are."""
LARGEST_SOUND = 200_000
ALL_SOUNDS = 1_200_000
"""Bytes of all sounds in one page together."""
LARGEST_FILE = 50_000_000
"""Bytes; of a larger file no thumbnail is made."""
MOST_COLUMNS = 12

TRUE, TOLD = (20, 200, 80), (255, 90, 30)
"""Colours of boxes that are true and of those that were answered."""
DRAWN = 320
LONGEST_LABEL = 40


class Mark(NamedTuple):
    """One box to be drawn: pixels of the picture as it is looked at, words beside it, colour."""

    box: tuple[float, ...]
    label: str
    colour: tuple[int, int, int]


Answer = Callable[[Table], Mapping[str, Sequence[Any]]]


def _most_wrong(errors: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows (N,) that have an error, the largest first."""
    errors = np.nan_to_num(np.asarray(errors, np.float64), nan=-np.inf)
    rows = np.argsort(-errors, kind="stable")[:most]
    return np.asarray(rows[errors[rows] > 0])


def worst_errors(test: Table, errors: np.ndarray, targets: Sequence[str], answer: Answer | None) -> dict[str, Any]:
    """The rows with the largest errors (N,), as JSON values: cells, truth, and what the model answers for them."""
    rows = _most_wrong(errors, SHOWN)
    if not len(rows):
        return {"items": [], "note": tr("No row of the test has an error.")}
    chosen = test.take(rows)
    answers = answer(chosen) if answer else {}
    inputs = [name for name in test.names if name not in targets][:MOST_COLUMNS]
    room = [ALL_SOUNDS]
    items = []
    for place, row in enumerate(rows):
        marks = marks_of(chosen, place, targets, answers)
        items.append(
            {
                "row": int(row),
                "error": float(errors[row]),
                "truth": {name: text_of(_true(chosen, name, place)) for name in targets if name in chosen.names},
                "answer": {name: text_of(values[place]) for name, values in answers.items()},
                "cells": [cell(chosen, name, place, room, marks) for name in inputs],
            }
        )
    return {"items": items, "note": ""}


def marks_of(table: Table, place: int, targets: Sequence[str], answers: Mapping[str, Sequence[Any]]) -> list[Mark]:
    """Boxes to be drawn on a row's picture: those that are true, and over them those that were answered."""
    marks: list[Mark] = []
    for name in targets:
        if table.kinds.get(name) == "boxes":
            true = boxes.parse(table.column(name).slice(place, 1))[0]
            marks += [Mark(box[1:5], _drawable(box.label, number), TRUE) for number, box in enumerate(true, 1)]
            told = answers["prediction"][place] if "prediction" in answers else []
            marks += [Mark(tuple(one["box"]), f"{_drawable(one['label'], number)} {one['confidence']:.2f}", TOLD)
                      for number, one in enumerate(told, 1)]  # fmt: skip
    return marks


def _drawable(label: str, number: int) -> str:
    """The label, short; its number in the list beside the picture where the drawing font has no such letters."""
    short = " ".join(label[:LONGEST_LABEL].split())
    return short if short.isascii() else f"#{number}"


def confused(test: Table, errors: np.ndarray, targets: Sequence[str], answer: Answer | None) -> View | None:
    """Pictures that are taken for another class, side by side for each pair of classes; None without pictures or errors."""
    names = test.of_kind("image")
    if not names or answer is None or len(targets) != 1 or targets[0] not in test.names or test.kinds[targets[0]] == "boxes":
        return None
    rows = _most_wrong(errors, COMPARED)
    chosen = test.take(rows)
    answers = answer(chosen).get("prediction", []) if len(rows) else []
    pairs: dict[tuple[str, str], list[int]] = {}
    for place, (true, said) in enumerate(zip(chosen.column(targets[0]).to_pylist(), answers, strict=True) if len(answers) else []):
        if text_of(true) != text_of(said):
            pairs.setdefault((text_of(true), text_of(said)), []).append(place)
    shown = []
    for (true, said), places in sorted(pairs.items(), key=lambda item: -len(item[1]))[:PAIRS]:
        bodies = [bytes_of(chosen.column(names[0])[place].as_py(), test.root) for place in places[:IN_A_ROW]]
        sources = [uri for uri in (thumbnail(body, side=SMALL) for body in bodies if body is not None) if uri]
        if sources:
            shown.append({"title": tr("{true}, taken for {said} ({count})", true=true, said=said, count=len(places)), "sources": sources})
    note = tr("Among the {count} test rows that the model gets most wrong.", count=len(rows))
    return View("pictures", tr("What is taken for what"), {"rows": shown}, note) if shown else None


def beside(test: Table, groups: Sequence[tuple[str, Sequence[int]]]) -> View | None:
    """Pictures of test rows next to one another, as the task groups them; None where nothing can be shown."""
    names = test.of_kind("image")
    shown = []
    for title, rows in groups if names else ():
        bodies = [bytes_of(test.column(names[0])[row].as_py(), test.root) for row in rows]
        sources = [uri for uri in (thumbnail(body, side=SMALL) for body in bodies if body is not None) if uri]
        shown += [{"title": title, "sources": sources}] if sources else []
    return View("pictures", tr("Pictures and their nearest"), {"rows": shown}) if shown else None


def text_of(value: Any) -> str:
    """A cell as a person reads it, cut where it is long."""
    if value is None:
        return "—"
    if isinstance(value, dict):
        return " · ".join(f"{name} {text_of(part)}" for name, part in list(value.items())[:6])
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return tr("{count} bytes", count=len(value))
    if isinstance(value, list):
        if len(value) > LONGEST_LIST and all(isinstance(part, float) for part in value):
            return tr("{count} numbers", count=len(value))
        things = _things(value)
        if things:
            return things
        shown = ", ".join(text_of(part) for part in value[:8])
        return f"[{shown}{', …' if len(value) > 8 else ''}]"
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _plainly(value: Any) -> Any:
    """What is written as a JSON list, in words: turns of a conversation, tokens, labels of boxes each with how many there are."""
    if not isinstance(value, str) or value[:1] != "[" or value[-1:] != "]":
        return value
    try:
        parts = json.loads(value)
    except JSON_FAULTS:
        return value
    if parts and all(isinstance(part, str) for part in parts):
        letters = all(len(part) == 1 for part in parts) and not all(part.isascii() for part in parts)
        return ("" if letters else " ").join(parts)
    if not parts or not all(isinstance(part, dict) for part in parts):
        return value
    if all({"role", "content"} <= set(part) for part in parts):
        return "\n".join(f"{part['role']}: {part['content']}" for part in parts)
    return _things(parts) or value


def _true(table: Table, name: str, place: int) -> Any:
    """A target's cell in words; tags with their tokens, those alone that say something."""
    value = table.column(name)[place].as_py()
    tags, tokens = texts_in(value), texts_in(table.column("tokens")[place].as_py() if "tokens" in table.names else None)
    if name == "tokens" or not tags or len(tags) != len(tokens):
        return _plainly(value)
    said = [f"{token} {tag}" for token, tag in zip(tokens, tags, strict=True) if tag != "O"]
    return ", ".join(said[:MOST_THINGS]) + (", …" if len(said) > MOST_THINGS else "") or "O"


def _things(parts: Sequence[Any]) -> str:
    """Labelled boxes as labels with how many there are, labelled spans as their texts; empty where the parts are neither."""
    labelled = [part for part in parts if isinstance(part, dict) and "label" in part]
    if not labelled or len(labelled) < len(parts):
        return ""
    if all("text" in part for part in labelled):
        shown = [f"{part['text']} ({part['label']})" for part in labelled[:MOST_THINGS]]
        return ", ".join(shown) + (", …" if len(labelled) > MOST_THINGS else "")
    counts = Counter(str(part["label"]) for part in labelled if "box" in part)
    return ", ".join(f"{label} ×{count}" if count > 1 else label for label, count in counts.most_common(MOST_THINGS))


def cell(table: Table, name: str, place: int, room: list[int], marks: Sequence[Mark] = ()) -> dict[str, Any]:
    """One cell to look at: name, kind, text; `source` of a picture, sound or film (a strip of frames), `line` of a series.

    `room`: [bytes left for sounds].
    """
    kind, value = table.kinds.get(name, "text"), table.column(name)[place].as_py()
    found = {
        "name": name, "kind": kind, "text": text_of(Path(value).name if kind in MEDIA and isinstance(value, str) else _plainly(value)),
    }  # fmt: skip
    if kind == "series" and isinstance(value, list):
        return found | {"line": _line(value)}
    if kind not in MEDIA or value is None:
        return found
    if kind == "video":
        shown = strip(value, table.root)
        return found | ({"source": shown} if shown else {})
    data = bytes_of(value, table.root)
    source = "" if data is None else (thumbnail(data, marks) if kind == "image" else _player(data, room))
    return found | ({"source": source} if source else {})


def _line(values: list[Any]) -> list[float]:
    """At most 120 points of the first channel of a series."""
    first = np.asarray([part[0] if isinstance(part, list) and part else part for part in values if part not in (None, [])], np.float64)
    finite = first[np.isfinite(first)]
    return [float(value) for value in finite[np.linspace(0, len(finite) - 1, min(120, len(finite))).astype(int)]] if len(finite) else []


def bytes_of(value: Any, root: Path | None) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or root is None:
        return None
    path = root / value
    try:
        return path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST_FILE else None
    except OSError:
        return None


def thumbnail(data: bytes, marks: Sequence[Mark] = (), side: int = THUMBNAIL) -> str:
    """A data: URI of the picture, at most `side` pixels wide and high (320 with boxes drawn on it); empty when it cannot be read."""
    side = DRAWN if marks else side
    try:
        picture = image.open_picture(data)
        wide, _ = image.upright(data)
        picture.draft("RGB", (side * 2, side * 2))
        turned = image.shown(picture) if picture.mode.startswith(("I", "F")) else ImageOps.exif_transpose(picture)
        small = turned.convert("L" if turned.mode in ("1", "L") else "RGBA" if "A" in turned.mode or turned.mode == "P" else "RGB")
        small.thumbnail((side, side))
        if marks:
            small = small.convert("RGB")
            _draw(small, marks, small.width / wide)
    except PICTURE_FAULTS:  # DataError: a scan, and no reader of scans is installed
        return ""
    sink = io.BytesIO()
    kind = "JPEG" if small.mode == "RGB" and small.width * small.height > 64 * 64 else "PNG"
    small.save(sink, kind, quality=82) if kind == "JPEG" else small.save(sink, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(sink.getvalue()).decode()}"


def strip(value: Any, root: Path | None, count: int = STRIP, side: int = FRAME) -> str:
    """A data: URI of frames from all over a film, in lines, in the order of time; empty when it cannot be read."""
    source = value if isinstance(value, bytes) else root / value if isinstance(value, str) and root is not None else None
    if source is None:
        return ""
    frames: list[Image.Image] = []
    try:
        film = films.look(source)
        every = max(film.seconds / count, 1 / film.rate)
        for _, picture_HW3 in films.frames(source, every, stop=max(film.seconds, every * count)):
            frames.append(Image.fromarray(picture_HW3))
            frames[-1].thumbnail((side, side))
            if len(frames) == count:
                break
    except UNREADABLE:
        return ""
    width, height = frames[0].width + 1, frames[0].height + 1
    rows = -(-len(frames) // IN_LINE)
    whole = Image.new("RGB", (min(IN_LINE, len(frames)) * width - 1, rows * height - 1), (255, 255, 255))
    for place, frame in enumerate(frames):
        whole.paste(frame, (place % IN_LINE * width, place // IN_LINE * height))
    sink = io.BytesIO()
    whole.save(sink, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}"


def _draw(picture: Image.Image, marks: Sequence[Mark], scale: float) -> None:
    pen = ImageDraw.Draw(picture)
    for mark in marks:
        left, top, right, bottom = (value * scale for value in mark.box)
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=mark.colour, width=2)
        pen.text((left + 3, top + 2 if mark.colour == TRUE else max(top, bottom - 14)), mark.label, fill=mark.colour)


SOUNDS = ((b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mpeg"), (b"\xff\xfb", "mpeg"), (b"\xff\xf3", "mpeg"))


def _player(data: bytes, room: list[int]) -> str:
    """A data: URI of a short sound; empty when it is long, of no known format, or the page has no room left."""
    form = next((form for magic, form in SOUNDS if data.startswith(magic)), "")
    if not form or len(data) > min(LARGEST_SOUND, room[0]):
        return ""
    room[0] -= len(data)
    return f"data:audio/{form};base64,{base64.b64encode(data).decode()}"
