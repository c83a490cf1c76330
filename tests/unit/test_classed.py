"""Folders two deep: which of them are the classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from duomo import plan
from duomo.core import kinds
from duomo.core.reporter import Silent
from duomo.data.classed import labels_of
from duomo.data.sources import read


def crossed(outer: list[str], inner: list[str], each: int = 1) -> list[str]:
    return [f"{one}/{other}/{number}.png" for one in outer for other in inner for number in range(each)]


@pytest.mark.parametrize(("outer", "inner"), [
    (["siteA", "siteB"], ["circle", "square", "tri"]), (["writer1", "writer2"], list("0123456789")),
    (["2023-04", "2023-05"], ["cat", "dog"]),
    (["art", "sketch"], ["dog", "horse", "house"]), (["Hospital 1", "Hospital 2", "Hospital 3"], ["ill", "well"]),
])  # fmt: skip
def test_inner_classes(outer: list[str], inner: list[str]) -> None:
    files = crossed(outer, inner)
    found = labels_of(Path("shapes"), files)
    assert found is not None and found.groups is not None
    assert [f"{group}/{label}" for label, group in zip(found.labels, found.groups, strict=True)] == [
        file.rpartition("/")[0] for file in files
    ]
    assert outer[0] in found.said[0] and inner[0] in found.said[0]


@pytest.mark.parametrize(("outer", "inner"), [
    (["cat", "dog"], ["front", "back"]), (["apple", "pear", "fig"], ["fresh", "rotten"]),
    (["person1", "person2"], ["session1", "session2", "session3"]),
    (["cat", "dog"], ["1", "2", "3"]), (["cat", "dog"], ["left", "right", "top"]),
])  # fmt: skip
def test_outer_classes(outer: list[str], inner: list[str]) -> None:
    found = labels_of(Path("shapes"), crossed(outer, inner))
    assert found is not None and found.groups is None and set(found.labels) == set(outer) and inner[0] in found.said[0]


def test_as_before() -> None:
    apart = ["cat/a/1.png", "dog/b/1.png", "dog/c/1.png"]
    mixed = [*crossed(["siteA", "siteB"], ["x", "y"]), "siteA/1.png"]
    for files in (crossed(["cat", "dog"], ["train", "test"]), crossed(["cat", "dog"], ["images"]), apart, mixed):
        found = labels_of(Path("a"), files)
        assert found is not None and found.labels == [file.split("/")[0] for file in files] and found.said == ()
    found = labels_of(Path("a"), crossed(["train", "val"], ["cat", "dog"]))
    assert found is not None and set(found.labels) == {"cat", "dog"} and found.groups is None and found.said == ()
    assert labels_of(Path("a"), ["1.png", "siteA/x/1.png"]) is None


def test_groups_divide(tmp_path: Path) -> None:
    """Six sites: the test is of sites that were not learned from."""
    for number, file in enumerate(crossed([f"site{place}" for place in range(6)], ["circle", "square"], 4)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)).save(tmp_path / file)
    made = plan.make(tmp_path, {}, Silent())
    assert (made.recipe.data.task, made.recipe.data.target, made.recipe.data.group) == ("classify", ("label",), "group")
    assert not set(made.train.column("group").to_pylist()) & set(made.test.column("group").to_pylist())
    assert "group" in made.recipe.data.ignore


def test_texts_and_series(tmp_path: Path) -> None:
    for place, file in enumerate(crossed(["siteA", "siteB"], ["down", "up"], 5)):
        for kind, content in (("txt", f"words of {file}"), ("csv", f"a,b\n{place},1\n2,3\n")):
            (tmp_path / kind / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / kind / file).with_suffix(f".{kind}").write_text(content)
    for kind in ("txt", "csv"):
        table = kinds.infer(read(tmp_path / kind), {})
        assert [
            f"{group}/{label}" for group, label in zip(table.column("group").to_pylist(), table.column("label").to_pylist(), strict=True)
        ] == [name.rpartition("/")[0] for name in table.column("file").to_pylist()]
        assert table.kinds["group"] == "id" and any("inner folders" in problem for problem in table.problems)
