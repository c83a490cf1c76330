"""The worst errors, to look at: rows with their cells, pictures as thumbnails, sounds as small players, all inside the page."""

import base64
import binascii
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from duomo.core.messages import tr
from duomo.core.table import Table

SHOWN = 12
THUMBNAIL = 128
LONGEST_TEXT = 400
LARGEST_SOUND = 200_000
ALL_SOUNDS = 1_200_000
"""Bytes of all sounds in one page together."""
LARGEST_PICTURE = 50_000_000
"""Pixels; a larger picture is not opened (decompression bombs)."""
MOST_COLUMNS = 12

Answer = Callable[[Table], Mapping[str, Sequence[Any]]]


THUMBNAIL_FAULTS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, binascii.Error)


def worst_errors(test: Table, errors: np.ndarray, targets: Sequence[str], answer: Answer | None) -> dict[str, Any]:
    """The rows with the largest errors (N,), as JSON values: cells, truth, and what the model answers for them."""
    errors = np.nan_to_num(np.asarray(errors, np.float64), nan=-np.inf)
    rows = np.argsort(-errors, kind="stable")[:SHOWN]
    rows = rows[errors[rows] > 0]
    if not len(rows):
        return {"items": [], "note": tr("No row of the test has an error.")}
    chosen = test.take(rows)
    answers = answer(chosen) if answer else {}
    inputs = [name for name in test.names if name not in targets][:MOST_COLUMNS]
    room = [ALL_SOUNDS]
    items = []
    for place, row in enumerate(rows):
        items.append(
            {
                "row": int(row),
                "error": float(errors[row]),
                "truth": {name: text_of(chosen.column(name)[place].as_py()) for name in targets if name in chosen.names},
                "answer": {name: text_of(values[place]) for name, values in answers.items()},
                "cells": [_cell(chosen, name, place, room) for name in inputs],
            }
        )
    return {"items": items, "note": ""}


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
        shown = ", ".join(text_of(part) for part in value[:8])
        return f"[{shown}{', …' if len(value) > 8 else ''}]"
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _cell(table: Table, name: str, place: int, room: list[int]) -> dict[str, Any]:
    kind, value = table.kinds.get(name, "text"), table.column(name)[place].as_py()
    found = {
        "name": name,
        "kind": kind,
        "text": text_of(Path(value).name if kind in ("image", "audio") and isinstance(value, str) else value),
    }
    if kind == "series" and isinstance(value, list):
        return found | {"line": _line(value)}
    if kind not in ("image", "audio") or value is None:
        return found
    data = _bytes_of(value, table.root)
    source = "" if data is None else (_thumbnail(data) if kind == "image" else _player(data, room))
    return found | ({"source": source} if source else {})


def _line(values: list[Any]) -> list[float]:
    """At most 120 points of the first channel of a series."""
    first = np.asarray([part[0] if isinstance(part, list) and part else part for part in values if part not in (None, [])], np.float64)
    finite = first[np.isfinite(first)]
    return [float(value) for value in finite[np.linspace(0, len(finite) - 1, min(120, len(finite))).astype(int)]] if len(finite) else []


def _bytes_of(value: Any, root: Path | None) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or root is None:
        return None
    path = root / value
    try:
        return path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST_PICTURE else None
    except OSError:
        return None


def _thumbnail(data: bytes) -> str:
    """A data: URI of the picture, at most 128 pixels wide and high; empty when it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data))
            if picture.width * picture.height > LARGEST_PICTURE:
                return ""
            picture.draft("RGB", (THUMBNAIL * 2, THUMBNAIL * 2))
            small = picture.convert(
                "L" if picture.mode in ("1", "L", "I;16") else "RGBA" if "A" in picture.mode or picture.mode == "P" else "RGB"
            )
            small.thumbnail((THUMBNAIL, THUMBNAIL))
    except THUMBNAIL_FAULTS:
        return ""
    sink = io.BytesIO()
    kind = "JPEG" if small.mode == "RGB" and small.width * small.height > 64 * 64 else "PNG"
    small.save(sink, kind, quality=82) if kind == "JPEG" else small.save(sink, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(sink.getvalue()).decode()}"


SOUNDS = ((b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mpeg"), (b"\xff\xfb", "mpeg"), (b"\xff\xf3", "mpeg"))


def _player(data: bytes, room: list[int]) -> str:
    """A data: URI of a short sound; empty when it is long, of no known format, or the page has no room left."""
    form = next((form for magic, form in SOUNDS if data.startswith(magic)), "")
    if not form or len(data) > min(LARGEST_SOUND, room[0]):
        return ""
    room[0] -= len(data)
    return f"data:audio/{form};base64,{base64.b64encode(data).decode()}"
