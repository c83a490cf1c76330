"""Small real tables of every form of input, and a toy for every task. A task without a toy fails the suite: add one here."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image
from sklearn import datasets

from duomo.core.find import make_task, task_names
from duomo.core.table import Table

ROWS = 48


def _wine() -> tuple[np.ndarray, np.ndarray, list[str]]:
    found = datasets.load_wine()
    order = np.random.default_rng(0).permutation(len(found.target))[:ROWS]
    return found.data[order], found.target[order], [name.replace("/", "_") for name in found.feature_names]


def _table(columns: dict[str, Any], kinds: dict[str, str]) -> Table:
    return Table(pa.table(columns), {**kinds, "target": "category", "amount": "number"})


def _with_targets(columns: dict[str, Any], labels: np.ndarray, kinds: dict[str, str]) -> Table:
    names = np.array(["red", "white", "rosé"])[labels]
    return _table({**columns, "target": names, "amount": labels * 2.5 + 1.0}, kinds)


def numbers() -> Table:
    values, labels, names = _wine()
    return _with_targets({name: values[:, c] for c, name in enumerate(names)}, labels, dict.fromkeys(names, "number"))


def categories() -> Table:
    values, labels, names = _wine()
    thirds = (values > np.quantile(values, 1 / 3, axis=0)).astype(int) + (values > np.quantile(values, 2 / 3, axis=0))
    words = np.array(["low", "middle", "high"])[thirds]
    return _with_targets({name: words[:, c] for c, name in enumerate(names[:6])}, labels, dict.fromkeys(names[:6], "category"))


def tokens() -> Table:
    sources = [datasets.load_wine().DESCR, datasets.load_breast_cancer().DESCR, datasets.load_digits().DESCR]
    lines = [[line.strip() for line in text.splitlines() if len(line.strip()) > 12][: ROWS // 3] for text in sources]
    rows = [(line, label) for label, some in enumerate(lines) for line in some]
    return _with_targets({"line": [line for line, _ in rows]}, np.array([label for _, label in rows]), {"line": "text"})


def _digits() -> tuple[np.ndarray, np.ndarray]:
    found = datasets.load_digits(n_class=3)
    return found.images[:ROWS], found.target[:ROWS]


def _png(image_HW: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray((image_HW * 15).astype(np.uint8)).resize((16, 16)).save(file, "PNG")
    return file.getvalue()


def pixels() -> Table:
    images, labels = _digits()
    return _with_targets({"picture": [_png(image) for image in images]}, labels, {"picture": "image"})


def frames() -> Table:
    images, labels = _digits()
    series = [image[: 5 + row % 4].tolist() for row, image in enumerate(images)]
    return _with_targets({"strokes": series}, labels, {"strokes": "series"})


def _wav(pitch: float, seconds: float) -> bytes:
    file = io.BytesIO()
    wave = 0.4 * np.sin(2 * math.pi * pitch * np.arange(int(16000 * seconds)) / 16000)
    soundfile.write(file, wave, 16000, format="WAV")
    return file.getvalue()


def waveform() -> Table:
    labels = np.arange(ROWS) % 3
    clips = [_wav((300, 900, 2700)[label] * (1 + 0.01 * (row % 7)), 0.3 + 0.02 * (row % 5)) for row, label in enumerate(labels)]
    return _with_targets({"clip": clips}, labels, {"clip": "audio"})


def clips() -> Table:
    """A light bar that goes right, goes left or stays, as films of eight frames."""
    labels = np.arange(ROWS) % 3
    films = [[np.full((16, 16), 40, np.uint8) for _ in range(8)] for _ in labels]
    for row, label in enumerate(labels):
        for time, frame in enumerate(films[row]):
            left = (row + 2 * (0, time, -time)[label]) % 13
            frame[:, left : left + 3] = 220
    return _with_targets({"film": [_gif(film) for film in films]}, labels, {"film": "video"})


def _gif(film: list[np.ndarray]) -> bytes:
    file = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in film]
    first.save(file, "GIF", save_all=True, append_images=others, duration=100, loop=0)
    return file.getvalue()


def mixed() -> Table:
    values, labels, names = _wine()
    images, digits = _digits()
    places = {label: np.flatnonzero(digits == label) for label in range(3)}
    pictures = [_png(images[places[label][row % len(places[label])]]) for row, label in enumerate(labels)]
    columns = {names[0]: values[:, 0], "taste": np.array(["dry", "sweet"])[(values[:, 1] > 2).astype(int)], "picture": pictures}
    return _with_targets(columns, labels, {names[0]: "number", "taste": "category", "picture": "image"})


def mixed_films() -> Table:
    """A film's way, a number and a category: each tells a part."""
    table, labels = clips(), np.arange(ROWS) % 3
    columns = {"film": table.column("film"), "hour": labels * 1.5 + np.arange(ROWS) % 5, "place": np.array(["in", "out"])[labels // 2]}
    return _with_targets(columns, labels, {"film": "video", "hour": "number", "place": "category"})


def stories() -> Table:
    text = datasets.load_breast_cancer().DESCR + datasets.load_wine().DESCR
    return Table(pa.table({"text": [text[:6000]]}), {"text": "text"})


def talks() -> Table:
    asked = [f"What is {a} plus {b}?" for a in range(4) for b in range(4)]
    said = [f"It is {a + b}." for a in range(4) for b in range(4)]
    return Table(pa.table({"prompt": asked, "response": said}), {"prompt": "text", "response": "text"})


def speech() -> Table:
    words = ["aab", "bba", "ab", "ba"]
    said = [words[row % 4] for row in range(16)]
    pitch = {"a": 400, "b": 1600}
    clips = [np.concatenate([0.4 * np.sin(2 * math.pi * pitch[c] * np.arange(4000) / 16000) for c in word]) for word in said]
    cells = []
    for clip in clips:
        file = io.BytesIO()
        soundfile.write(file, clip, 16000, format="WAV")
        cells.append(file.getvalue())
    return Table(pa.table({"clip": cells, "transcript": said}), {"clip": "audio", "transcript": "text"})


def tagged() -> Table:
    """Words of a description, capitalised ones and figures marked as spans."""
    lines = [line.split() for line in datasets.load_wine().DESCR.splitlines() if len(line.split()) > 3][:ROWS]
    tags = [["B-FIGURE" if word[0].isdigit() else "B-NAME" if word[0].isupper() else "O" for word in line] for line in lines]
    columns = {"text": [json.dumps(line) for line in lines], "tags": [json.dumps(row) for row in tags]}
    return Table(pa.table(columns), {"text": "text", "tags": "text"})


def scenes() -> Table:
    """A digit somewhere on a grey ground, with its box."""
    images, labels = _digits()
    random = np.random.default_rng(0)
    cells, boxes = [], []
    for image, label in zip(images[:24], labels[:24], strict=True):
        ground = np.full((64, 64), 60, np.uint8)
        left, top = (int(value) for value in random.integers(0, 39, 2))
        ground[top : top + 24, left : left + 24] = np.kron(image, np.ones((3, 3))) * 12 + 60
        file = io.BytesIO()
        Image.fromarray(ground).save(file, "PNG")
        cells.append(file.getvalue())
        boxes.append(json.dumps([{"label": f"digit {label}", "box": [left, top, left + 24, top + 24]}]))
    return Table(pa.table({"picture": cells, "boxes": boxes}), {"picture": "image", "boxes": "boxes"})


def pairs() -> Table:
    """Lines of a description and their capitals."""
    lines = [line.strip() for line in datasets.load_wine().DESCR.splitlines() if len(line.split()) > 3][:ROWS]
    columns = {"text": lines, "summary": ["".join(word[0].upper() for word in line.split()) for line in lines]}
    return Table(pa.table(columns), {"text": "text", "summary": "text"})


@dataclass(frozen=True)
class Toy:
    """A task's options and a table that it can learn."""

    task: str
    table: Callable[[], Table]
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        return make_task(self.task, self.options)

    def __str__(self) -> str:
        return f"{self.task}-{self.table.__name__}"


FORMS = {"numbers": numbers, "categories": categories, "tokens": tokens, "pixels": pixels, "frames": frames, "waveform": waveform,
         "clips": clips}  # fmt: skip
CLASSIFY, REGRESS = {"target": ["target"], "ignore": ["amount"]}, {"target": ["amount"], "ignore": ["target"]}
TOYS = [
    *(Toy("classify", table, CLASSIFY) for table in (*FORMS.values(), mixed, mixed_films)),
    *(Toy("regress", table, REGRESS) for table in (numbers, tokens, mixed, clips, mixed_films)),
    Toy("generate", stories, {"encode": {"longest_text": 16}, "sampling": {"new_tokens": 4}}),
    Toy("fill", stories, {"encode": {"longest_text": 16}}),
    Toy("translate", pairs, {"target": ["summary"], "source": "text", "beam": 2}),
    Toy("summarize", pairs, {"target": ["summary"], "beam": 2}),
    Toy("embed", pairs, {"target": ["summary"], "source": "text"}),
    Toy("tag", tagged, {"target": ["tags"]}),
    Toy("chat", talks, {"encode": {"longest_text": 64}, "sampling": {"new_tokens": 4}}),
    Toy("transcribe", speech, {"target": ["transcript"]}),
    Toy("identify", pixels, {"target": ["target"], "ignore": ["amount"], "encode": {"picture_size": 16}}),
    Toy("detect", scenes, {"target": ["boxes"], "encode": {"picture_size": 64}}),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "toy" in metafunc.fixturenames:
        present = [toy for toy in TOYS if toy.task in task_names()]
        metafunc.parametrize("toy", present, ids=str)
    if "task_name" in metafunc.fixturenames:
        metafunc.parametrize("task_name", task_names())


@pytest.fixture
def toys() -> list[Toy]:
    return TOYS


@pytest.fixture
def forms() -> dict[str, Callable[[], Table]]:
    return FORMS
