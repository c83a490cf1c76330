"""Rows that follow one another without a date are told from rows in no order, and divided as blocks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from duomo.core.errors import DataError
from duomo.core.kinds import infer, number
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import neighbours, split
from duomo.data.audit import audit
from duomo.data.sources import read
from duomo.plan import make, safe


def table(frame: pd.DataFrame) -> Table:
    return infer(read(frame), {})


def walks(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """Four sensors that change slowly, and what one of them will be."""
    steps = np.random.default_rng(seed).normal(size=(rows, 4)).cumsum(0).round(3)
    return pd.DataFrame(steps, columns=["heat", "flow", "load", "wind"]).assign(target=np.roll(steps[:, 0], -5))


def test_sensors_read_moment_after_moment_are_split_by_blocks() -> None:
    found = audit(table(walks()), "target")
    assert found.proposal.how == "blocks" and "4 of 4 columns" in found.proposal.reason


@pytest.mark.parametrize(
    "frame", [load_iris(as_frame=True).frame, load_breast_cancer(as_frame=True).frame, load_diabetes(as_frame=True).frame]
)
def test_rows_in_no_order_or_sorted_by_class_are_not(frame: pd.DataFrame) -> None:
    kinds = table(frame)
    assert neighbours.following(kinds, "target")[0] == 0
    by_target = table(frame.sort_values("target", ignore_index=True))
    assert neighbours.following(by_target, "target")[0] == 0


def test_shuffled_or_few_rows_tell_nothing() -> None:
    frame = walks()
    assert neighbours.following(table(frame.sample(frac=1, random_state=0)), "target") == (0, 4)
    assert neighbours.following(table(frame[:150]), "target") == (0, 0)


def test_visits_of_one_person_after_another_follow() -> None:
    """A panel: what does not change of a person stands in neighbouring rows, and no column says whose they are."""
    rng = np.random.default_rng(1)
    people = pd.DataFrame(
        {"age": rng.integers(20, 80, 80), "income": rng.normal(3e4, 9e3, 80).round(), "town": rng.choice(list("abcdefgh"), 80)}
    )
    frame = people.loc[np.repeat(np.arange(80), 5)].reset_index(drop=True).assign(ill=rng.choice(["yes", "no"], 400))
    assert neighbours.following(table(frame), "ill") == (3, 3)


def test_blocks_stay_together_and_appended_rows_change_none() -> None:
    parts = split.split(table(walks(700)), DataConfig(split="blocks"), 0, ("target",))
    block_N = neighbours.blocks(700)
    assert parts.how == "blocks" and np.array_equal(block_N, neighbours.blocks(900)[:700]) and (block_N == 0).sum() == 16
    found = [set(block_N[rows].tolist()) for rows in (parts.train, parts.valid, parts.test)]
    assert min(len(parts.valid), len(parts.test)) > 60 and len(set.union(*found)) == sum(map(len, found)) == 44


def test_training_says_so_and_random_overrides() -> None:
    data, told, frame = DataConfig(task="regress", target=("target",)), Silent(), table(walks())
    assert safe(frame, data, told).split == "blocks" and "--split random draws them one by one" in told.said[-1]
    assert safe(frame, replace(data, split="random"), told).split == "random"


def test_beside_a_given_test_validation_is_drawn_as_blocks(tmp_path: Path) -> None:
    frame, told = walks(700), Silent()
    frame[:600].to_csv(tmp_path / "learn.csv", index=False)
    frame[600:].to_csv(tmp_path / "test.csv", index=False)
    asked = {"data": {"target": ["target"], "test": str(tmp_path / "test.csv")}}
    plan = make(str(tmp_path / "learn.csv"), asked, told)
    size = len(neighbours.blocks(600)) // (neighbours.blocks(600)[-1] + 1)
    rows_V = frame.index[frame["heat"].isin(number.parse(plan.valid.column("heat"))[0])]
    assert (np.diff(rows_V) == 1).mean() > 1 - 2 / size and any("blocks of neighbouring rows, because" in line for line in told.said)
    assert plan.split.startswith("Split as the files are given:")
    plain = make(str(tmp_path / "learn.csv"), {"data": asked["data"] | {"split": "random"}}, Silent())
    rows_V = frame.index[frame["heat"].isin(number.parse(plain.valid.column("heat"))[0])]
    assert (np.diff(rows_V) == 1).mean() < 0.5
    whole = make(str(tmp_path / "learn.csv"), {"data": {"target": ["target"]}}, Silent())
    assert whole.split.startswith("Split by blocks of neighbouring rows:")


def by_class(classes: int, rows: int, seed: int = 0) -> pd.DataFrame:
    """A file sorted by class, within which rows follow one another."""
    rng = np.random.default_rng(seed)
    steps = np.concatenate([5 * rng.normal(size=4) + rng.normal(size=(rows, 4)).cumsum(0) for _ in range(classes)]).round(3)
    frame = pd.DataFrame(steps, columns=["heat", "flow", "load", "wind"])
    return frame.assign(target=np.repeat([f"c{place:02d}" for place in range(classes)], rows))


@pytest.mark.parametrize(("classes", "rows"), [(20, 40), (30, 30)])
def test_every_class_of_a_sorted_file_is_learned(classes: int, rows: int) -> None:
    frame = by_class(classes, rows)
    config = DataConfig(task="classify", split="blocks")
    for seed in range(5):
        parts = split.split(table(frame), config, seed, ("target",))
        assert frame["target"].iloc[parts.train].nunique() == classes and len(parts.test) > 50 and len(parts.valid) > 50


def test_a_rare_class_of_neighbours_is_judged() -> None:
    """A fault that lasted for a while lies in few blocks: some of it is learned, some is validated and tested."""
    frame = walks().assign(target=np.where(np.arange(600) // 64 == 4, "fault", "fine"))
    for seed in range(5):
        parts = split.split(table(frame), DataConfig(task="classify", split="blocks"), seed, ("target",))
        assert all("fault" in set(frame["target"].iloc[rows]) for rows in (parts.train, parts.test, parts.valid))


def test_rows_too_few_for_blocks_are_refused_as_such() -> None:
    with pytest.raises(DataError, match="needs at least 3 blocks; the rows make 2"):
        split.split(table(walks(20)), DataConfig(split="blocks"), 0, ("target",))
