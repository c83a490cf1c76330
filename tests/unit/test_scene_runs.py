"""Masks as run lengths in a list of pictures, as contests hand them out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from duomo import plan
from duomo.core import kinds
from duomo.core.kinds import boxes
from duomo.core.recipe import DataConfig
from duomo.data import sources

WIDE, HIGH = 60, 24
Sides = tuple[int, int, int, int]


def packed(*things: Sides, rows: bool = False, first: int = 1) -> str:
    """Ellipses within these boxes as runs, down the columns or along the rows."""
    mask_HW = np.zeros((HIGH, WIDE), bool)
    y, x = np.mgrid[:HIGH, :WIDE] + 0.5
    for left, top, right, bottom in things:
        mask_HW |= ((2 * x - left - right) / (right - left)) ** 2 + ((2 * y - top - bottom) / (bottom - top)) ** 2 < 1
    flat = np.concatenate([[0], (mask_HW if rows else mask_HW.T).reshape(-1).astype(np.int8), [0]])
    begins, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return " ".join(f"{begin + first} {end - begin}" for begin, end in zip(begins, ends, strict=True))


def made(root: Path, count: int, *lines: str) -> Path:
    (root / "train").mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (HIGH, WIDE, 3))
        Image.fromarray(noise.astype(np.uint8)).save(root / "train" / f"{number}.png")
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    return root


def things(source: Path) -> dict[str, list[tuple[str, float, float, float, float]]]:
    table = sources.read(source)
    found = zip(table.column("image").to_pylist(), boxes.parse(table.column("boxes")), strict=True)
    return {Path(file).name: [box[:5] for box in own] for file, own in found}


ONE, TWO = (4, 3, 20, 15), (30, 6, 55, 22)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_a_thing_a_row(tmp_path: Path, rows: bool, first: int) -> None:
    """As Airbus has them: pictures without ships have a row without a mask."""
    how = {"rows": rows, "first": first}
    corner = "0 3 24 3" if not first else "1 3 25 3"
    lines = [f"0.png,{packed(ONE, **how)}", f"0.png,{packed(TWO, **how)}", "1.png,", f"2.png,{packed(TWO, **how)}", f"3.png,{corner}"]
    root = made(tmp_path, 5, "ImageId,EncodedPixels", *lines)
    for source in (root, root / "train.csv"):
        found = things(source)
        assert {len(own) for own in found.values()} == {0, 1, 2} and len(found) == 4
        assert found["0.png"] == [("object", *ONE), ("object", *TWO)] and found["2.png"] == [("object", *TWO)]
    assert "'EncodedPixels' mark is read as boxes" in " ".join(sources.read(root).problems)
    assert plan.choose(kinds.infer(sources.read(root), {}), DataConfig())[0].task == "detect"


@pytest.mark.parametrize("form", ["apart", "together", "numbers"])
def test_a_mask_a_class(tmp_path: Path, form: str) -> None:
    """As Severstal and the clouds have them: one mask marks all things of its class in a picture, and may be told in the picture's name."""
    head, name = {"apart": ("ImageId,ClassId", "{},{}"), "together": ("Image_Label", "{}_{}"), "numbers": ("img_cls", "{}_{}")}[form]
    words = ("3", "1") if form == "numbers" else ("Fish", "Sugar")
    rows = [("0.png", words[0], packed(ONE, TWO)), ("0.png", words[1], packed((8, 8, 40, 20))), ("1.png", words[0], ""),
            ("1.png", words[1], packed(ONE)), ("2.png", words[0], "5 3 999999 4")]  # fmt: skip
    root = made(tmp_path, 3, f"{head},EncodedPixels", *(f"{name.format(file, word)},{mask}" for file, word, mask in rows))
    found = things(root)
    assert found["0.png"] == [(words[0], *ONE), (words[0], *TWO), (words[1], 8, 8, 40, 20)]
    assert found["1.png"] == [(words[1], *ONE)] and found["2.png"] == []
    assert "outline or mask is broken" in " ".join(sources.read(root).problems)


def test_pictures_without_a_mask_are_of_nothing(tmp_path: Path) -> None:
    """As Severstal has them: where no row is empty, those that no list names; beside empty rows they were not looked at, which is said."""
    lines = [f"{n}.png,{packed(ONE, TWO)}" for n in range(3)]
    root = made(tmp_path / "some", 5, "ImageId,EncodedPixels", *lines)
    (root / "sample_submission.csv").write_text("ImageId,EncodedPixels\n4.png,1 1\n")
    found = things(root)
    assert len(found) == 4 and found["3.png"] == [] and "there is nothing on them" in " ".join(sources.read(root).problems)
    root = made(tmp_path / "told", 5, "ImageId,EncodedPixels", *lines, "3.png,")
    assert len(things(root)) == 4 and "1 file beside those listed" in " ".join(sources.read(root).problems)


def test_numbers_that_are_no_masks(tmp_path: Path) -> None:
    """Points, and values of an hour each, are rows of numbers as well."""
    points = [f"{n}.png,{n} 5 {n + 9} 7 {n + 30} 9,{'ab'[n % 2]}" for n in range(20)]
    values = [f"{n}.png,{' '.join(str(one) for one in range(n, 3 * n + 4))},{'ab'[n % 2]}" for n in range(20)]
    for place, lines in enumerate((points, values)):
        table = sources.read(made(tmp_path / str(place), 20, "file,told,label", *lines))
        assert "boxes" not in table.names and "told" in table.names


@pytest.mark.parametrize("broken", ["1 2 3", "99999999999999999999999 2 3 4"])
def test_a_broken_mask_a_row_told_twice_and_spaces_hide_no_masks(tmp_path: Path, broken: str) -> None:
    """A mask that is told twice is no thing of its own: each mask marks all of a picture as before."""
    lines = [f"{n}.png, {packed(ONE, TWO)}" for n in range(2, 30)]
    found = things(made(tmp_path, 30, "ImageId, EncodedPixels", "0.png, -1", f"1.png, {broken}", *lines, lines[0]))
    assert found["0.png"] == found["1.png"] == [] and found["2.png"] == found["9.png"] == [("object", *ONE), ("object", *TWO)]
