"""Pictures written as numbers in tables."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

import duomo
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import rasters, sources
from duomo.plan import choose, read
from duomo.serve.rows import built, checked

PHOTO = np.asarray(load_sample_images().images[0])


def cut(count: int, side: int) -> np.ndarray:
    """(count, side, side, 3) bytes of a photo, by turns its light and its dark half."""
    random = np.random.default_rng(0)
    places = [(random.integers(0, 300), random.integers(0, 500)) for _ in range(count)]
    return np.stack([PHOTO[y : y + side, x : x + side] // (1 + n % 2) for n, (y, x) in enumerate(places)])


def table_of(values_NT: np.ndarray, names: list[str]) -> Table:
    frame = pd.DataFrame(values_NT, columns=names)
    frame.insert(0, "label", ["light", "dark"] * (len(frame) // 2))
    return read(frame, DataConfig(), Silent())


def decoded(cell: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(cell)))


@pytest.mark.parametrize("style", ["pixel{0}", "{1}x{2}", "p_{1}_{2}", "px0{0}"])
def test_columns_of_pixels_are_pictures(style: str) -> None:
    grey = cut(40, 20)[..., 1]
    table = table_of(grey.reshape(40, -1), [style.format(n, n // 20 + 1, n % 20 + 1) for n in range(400)])
    (name,) = table.of_kind("image")
    assert table.names == ["label", name] and name.endswith(" 20×20") and "400" in table.reasons[name]
    assert (decoded(table.column(name)[7].as_py()) == grey[7]).all() and choose(table, DataConfig())[0].target == ("label",)


def test_the_order_of_colours_is_seen() -> None:
    colour = cut(40, 20)
    names = [f"pixel{n:04}" for n in range(1200)]
    for values, ending in ((colour, "20×20×3"), (colour.transpose(0, 3, 1, 2), "3×20×20")):
        table = table_of(values.reshape(40, -1), names)
        (name,) = table.of_kind("image")
        assert name == f"pixel {ending}" and (decoded(table.column(name)[3].as_py()) == colour[3]).all()


def test_what_is_no_picture_stays_columns() -> None:
    random, names = np.random.default_rng(0), [f"x{n}" for n in range(400)]
    for values in (random.integers(0, 256, (40, 400)), random.integers(0, 2, (40, 400)), cut(40, 20)[..., 1].reshape(40, -1) / 255 - 0.5):
        assert not table_of(values, names).of_kind("image")
    walk = np.cumsum(random.integers(-3, 4, (40, 400)), axis=1).clip(-120, 130) + 120  # steps of a series: alike beside, not above
    assert not table_of(walk, names).of_kind("image")
    level, month = random.integers(20, 80, (40, 1)), np.arange(144)
    yearly = level + (20 * np.sin(month * np.pi / 6)).round() + random.integers(-3, 4, (40, 144))  # alike below, however far below
    assert not table_of(yearly, [f"m{n}" for n in month]).of_kind("image")
    grey = cut(40, 20)[..., 1].reshape(40, -1)
    named = pd.DataFrame(grey, columns=names)
    assert not read(named, DataConfig(kind={"x0": "number"}), Silent()).of_kind("image")


def test_the_value_of_white_is_seen_and_kept() -> None:
    digits = load_digits()
    names = [f"pixel_{n // 8}_{n % 8}" for n in range(64)]
    table = table_of(digits.data[:400], names)
    assert table.names == ["label", "pixel 8×8 of 16"]
    assert (decoded(table.column("pixel 8×8 of 16")[3].as_py()) == (digits.images[3] * 255 / 16).round()).all()
    grey, share = cut(40, 20)[..., 1], [f"px{n}" for n in range(400)]
    table = table_of(grey.reshape(40, -1) / 255, share)
    assert table.names == ["label", "px 20×20 of 1"] and (decoded(table.column("px 20×20 of 1")[7].as_py()) == grey[7]).all()
    dim = pd.DataFrame(grey[:3].reshape(3, -1) / 510, columns=share)
    again = rasters.again(Table(pa.Table.from_pandas(dim)), table.kinds)
    assert np.allclose(decoded(again.column("px 20×20 of 1")[2].as_py()), grey[2] / 2, atol=0.6)
    row = rasters.of_row(dict(zip(share, dim.iloc[2].tolist(), strict=True)), {"px 20×20 of 1": "image"})
    assert row == {"px 20×20 of 1": again.column("px 20×20 of 1")[2].as_py()}
    assert rasters.of_row({"image": [[]]}, {"image": "image"}) == {"image": "[[]]"}  # refused where cells are read


def test_a_run_of_columns_answers_columns_and_files(tmp_path: Path) -> None:
    grey = cut(60, 20)[..., 1]
    names = [f"pixel{n}" for n in range(400)]
    frame = pd.DataFrame(grey.reshape(60, -1), columns=names).assign(label=["light", "dark"] * 30)
    frame.to_csv(tmp_path / "a.csv", index=False)
    run = duomo.train(tmp_path / "a.csv", {"train": {"steps": 4}}, target="label", out=tmp_path / "run")
    asked = frame[names].head(3)
    asked.to_csv(tmp_path / "new.csv", index=False)
    found = [row["confidence"] for row in run.predict(tmp_path / "new.csv")]
    Image.fromarray(grey[1]).save(tmp_path / "b.png")
    assert found[1] == run.predict([str(tmp_path / "b.png")])[0]["confidence"]
    rows, kinds = asked.to_dict("records"), {name: run.facts["kinds"][name] for name in run.facts["features"]}
    request = built(checked(rows, kinds, ignored=names).made, kinds)
    assert [row["confidence"] for row in run.predict(rows)] == found == run.answers(request)["confidence"]
    assert run.evaluate(tmp_path / "a.csv")["rows"] == 60


def test_a_cell_of_pixels_is_a_picture(tmp_path: Path) -> None:
    grey = cut(40, 20)[..., 1]
    frame = pd.DataFrame({"emotion": [0, 1] * 20, "pixels": [" ".join(map(str, one.ravel())) for one in grey]})
    frame.to_csv(tmp_path / "fer.csv", index=False)
    table = read(tmp_path / "fer.csv", DataConfig(), Silent())
    assert table.of_kind("image") == ["pixels"] and (decoded(table.column("pixels")[5].as_py()) == grey[5]).all()
    frame.assign(Usage=["Training"] * 30 + ["PublicTest"] * 10).to_csv(tmp_path / "fer.csv", index=False)
    seen = duomo.inspect(tmp_path / "fer.csv", {"data": {"test": str(tmp_path / "fer.csv")}})["proposal"]
    assert seen["how"] == "folders" and seen["recipe"].startswith("image")  # the column that tells the parts is no input
    one = rasters.again(sources.read(frame[["pixels"]].head(1)), {"pixels": "image"})
    assert one.column("pixels")[0].as_py() == table.column("pixels")[0].as_py()
    assert checked([{"pixels": frame["pixels"][0]}], {"pixels": "image"}).made[0]["pixels"] == one.column("pixels")[0].as_py()
