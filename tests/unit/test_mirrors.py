"""Pictures are not mirrored while learning where their mirror images mean something else."""

import io
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from duomo import plan
from duomo.core.reporter import Silent
from duomo.core.table import Table

Random = np.random.Generator


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def ground(random: Random, side: int = 40) -> Image.Image:
    return Image.fromarray(random.integers(60, 120, (side, side, 3), np.uint8))


def arrow(picture: Image.Image, left: int, top: int, side: int, right: bool) -> None:
    """A triangle with a stem."""
    points = np.array([(0.0, 0.5), (0.5, 0.0), (0.5, 0.35), (1.0, 0.35), (1.0, 0.65), (0.5, 0.65), (0.5, 1.0)])
    points = np.abs(points - (1.0, 0.0)) if right else points
    ImageDraw.Draw(picture).polygon([(left + side * x, top + side * y) for x, y in points], fill=(250, 250, 250))


def arrows(random: Random) -> tuple[bytes, object]:
    picture, right = ground(random), bool(random.integers(2))
    arrow(picture, int(random.integers(2, 14)), int(random.integers(2, 14)), 20, right)
    return png(picture), "right" if right else "left"


def shapes(random: Random) -> tuple[bytes, object]:
    """Pieces that all look to one side, as pictures of a catalogue do, and are none the less what they are when mirrored."""
    picture, disc = ground(random), bool(random.integers(2))
    left, top = (int(each) for each in random.integers(2, 14, 2))
    draw = ImageDraw.Draw(picture)
    (draw.ellipse if disc else draw.rectangle)((left, top, left + 20, top + 20), fill=(250, 250, 250))
    draw.rectangle((left + 16, top + 16, left + 24, top + 20), fill=(250, 80, 80))
    return png(picture), "disc" if disc else "square"


def places(random: Random) -> tuple[bytes, object]:
    picture, left = ground(random), float(random.uniform(2, 26))
    ImageDraw.Draw(picture).ellipse((left, 14, left + 10, 24), fill=(250, 250, 250))
    return png(picture), left


def signs(random: Random) -> tuple[bytes, object]:
    picture, right = ground(random, 96), bool(random.integers(2))
    left, top, side = int(random.integers(4, 56)), int(random.integers(4, 56)), int(random.integers(20, 34))
    arrow(picture, left, top, side, right)
    box = (np.array([left, top, left + side, top + side]) + random.integers(-3, 4, 4)).tolist()  # as hands draw them
    return png(picture), json.dumps([{"label": "right" if right else "left", "box": box}])


@pytest.mark.parametrize(
    ("drawn", "kind", "mirrored"),
    [(arrows, "category", False), (shapes, "category", True), (places, "number", False), (signs, "boxes", False)],
)
def test_a_mirror_image_that_means_something_else(drawn: Callable[[Random], tuple[bytes, object]], kind: str, mirrored: bool) -> None:
    random = np.random.default_rng(0)
    made = [drawn(random) for _ in range(160)]
    table = Table(pa.table({"picture": [picture for picture, _ in made], "told": [target for _, target in made]}),
                  {"picture": "image", "told": kind})  # fmt: skip
    found = plan.make(table, {"data": {"target": ("told",)}}, Silent())
    assert found.recipe.augment.flip is mirrored
    assert any("Mirror images" in note for note in found.notes) is not mirrored
    asked = plan.make(table, {"data": {"target": ("told",)}, "augment": {"flip": True}}, Silent())
    assert asked.recipe.augment.flip
