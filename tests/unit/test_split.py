"""A row's place depends on its content and the seed; what belongs together stays together."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import infer
from duomo.core.recipe import DataConfig
from duomo.core.table import Table
from duomo.data import audit, dated, partition
from duomo.data.digests import row_digests
from duomo.data.given_parts import given
from duomo.data.sources import read
from duomo.data.split import Split, content_columns, split
from duomo.plan import choose


def cancer() -> pd.DataFrame:
    frame = load_breast_cancer(as_frame=True).frame
    return frame.assign(target=np.where(frame["target"], "benign", "malignant"))


def table_of(frame: pd.DataFrame) -> Table:
    return infer(read(frame), {})


def whole(found: Split, rows: int) -> bool:
    return bool(np.array_equal(np.sort(np.concatenate([found.train, found.valid, found.test])), np.arange(rows)))


def test_new_rows_and_order_move_nothing() -> None:
    frame = cancer()
    before = split(table_of(frame.iloc[:400]), DataConfig(), 0, ["target"])
    after = split(table_of(frame), DataConfig(), 0, ["target"])
    assert whole(after, len(frame))
    assert after.how == "stratified"
    assert np.array_equal(before.test, after.test[after.test < 400])
    order = np.random.default_rng(0).permutation(len(frame))
    turned = split(table_of(frame.iloc[order, ::-1]), DataConfig(), 0, ["target"])
    assert np.array_equal(np.sort(order[turned.test]), after.test)
    assert not np.array_equal(split(table_of(frame), DataConfig(), 1, ["target"]).test, after.test)
    assert 0.10 < len(after.test) / len(frame) < 0.20


def test_duplicates_fall_together_whatever_their_label() -> None:
    frame = cancer()
    twice = pd.concat([frame, frame.assign(target=frame["target"].iloc[::-1].to_numpy())], ignore_index=True)
    found = split(table_of(twice), DataConfig(), 0, ["target"])
    for part in (found.train, found.valid, found.test):
        assert set(part % len(frame)) == set(part[part < len(frame)])


def test_rows_that_repeat_by_nature_are_divided_like_any_others() -> None:
    frame = cancer()
    few = (frame.iloc[:, :4] > frame.iloc[:, :4].median()).astype(str).assign(target=frame["target"])
    found = split(table_of(few), DataConfig(), 0, ["target"])
    assert any("chance makes them" in note for note in found.notes)
    seen = [set(map(tuple, few.iloc[part, :4].to_numpy())) for part in (found.train, found.test)]
    assert seen[1] & seen[0] and 0.10 < len(found.test) / len(few) < 0.20  # judged on what was met in training too, in its proportions
    more = split(table_of(pd.concat([few, few.iloc[:100]], ignore_index=True)), DataConfig(), 0, ["target"])
    assert np.array_equal(found.test, more.test[more.test < len(few)])
    copied = pd.concat([frame] * 6, ignore_index=True)  # copies of rows that could have been unlike
    found = split(table_of(copied), DataConfig(), 0, ["target"])
    assert not set(found.test % len(frame)) & set(found.train % len(frame))


def test_rows_are_equal_by_chance_where_a_column_tells_another() -> None:
    """A shop's name tells how many it has, so all combinations are more than the rows; a row that is there twice is a copy all the same."""
    rng = np.random.default_rng(0)
    shop = np.minimum(rng.geometric(0.02, 3000), 200)
    frame = pd.DataFrame({"shop": [f"shop {one}" for one in shop], "shops": shop % 90 + 3, "year": 2000 + rng.integers(0, 12, 3000)})
    frame["y"] = rng.normal(size=3000)
    found = split(table_of(frame), DataConfig(), 0, ["y"])
    keys = [set(map(tuple, frame.iloc[part, :3].to_numpy())) for part in (found.train, found.test)]
    assert len(keys[1] & keys[0]) > 100
    unlike = frame.assign(sold=rng.integers(0, 10**4, 3000), weather=rng.integers(0, 40, 3000))
    twice = pd.concat([unlike, unlike.iloc[:600]], ignore_index=True)
    found = split(table_of(twice), DataConfig(), 0, ["y"])
    assert not set(found.test % 3000) & set(found.train % 3000)


def test_copies_are_no_chance() -> None:
    """A copy repeats every cell, so each column by itself seems to have few values."""
    rng = np.random.default_rng(0)
    number, code = rng.normal(size=(1000, 3)), rng.integers(0, 40, (1000, 3))
    for columns in (number, np.concatenate([number[:, :1].round(2), code[:, :2] % 5], 1), code):
        frame = pd.DataFrame(columns).add_prefix("c").assign(y=rng.integers(0, 2, 1000).astype(str))
        for copied in (pd.concat([frame] * 2), pd.concat([frame, frame[:100]]), pd.concat([frame] * 6)):
            table = table_of(copied.reset_index(drop=True))
            found = split(table, DataConfig(), 0, ["y"])
            digests = row_digests(table, content_columns(table, ["y"]))
            assert not set(digests[found.test]) & set(digests[found.train]), (columns[0], len(copied))


def test_groups_stay_together() -> None:
    frame = cancer()
    frame["patient"] = [f"P{number // 4}" for number in range(len(frame))]
    found = split(table_of(frame), DataConfig(split="group", group="patient"), 0, ["target"])
    sides = [set(frame["patient"].iloc[part]) for part in (found.train, found.valid, found.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    with pytest.raises(DataError, match="at least 3 groups"):
        split(table_of(frame.assign(patient="a")), DataConfig(group="patient"), 0, ["target"])


def test_few_groups_of_unlike_size_leave_no_part_far_too_large() -> None:
    frame = cancer().iloc[:74]
    frame["patient"] = [f"P{number}" for number, rows in enumerate((19, 12, 10, 9, 7, 6, 4, 3, 2, 2)) for _ in range(rows)]
    table, config = table_of(frame), DataConfig(split="group", group="patient")
    before = 0
    for seed in range(20):
        found = split(table, config, seed, ["target"])
        assert whole(found, 74)
        assert 0.1 * 74 - 0.5 <= len(found.valid) <= 0.2 * 74 and 0.1 * 74 - 0.5 <= len(found.test) <= 0.2 * 74
        sides = [set(frame["patient"].iloc[part]) for part in (found.train, found.valid, found.test)]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        order = np.random.default_rng(seed).permutation(74)
        again = split(table_of(frame.iloc[order]), config, seed, ["target"])
        assert np.array_equal(np.sort(order[again.test]), found.test)
        before += len(found.test)
    assert before / 20 / 74 == pytest.approx(0.15, abs=0.03)
    many = pd.concat([frame] * 6, ignore_index=True).assign(patient=[f"P{row // 8}" for row in range(444)])  # above FEW_GROUPS: as hashed
    extra = pd.concat([many, many.iloc[:40].assign(patient="P0")], ignore_index=True)
    kept = split(table_of(extra), config, 0, ["target"]).test
    assert np.array_equal(split(table_of(many), config, 0, ["target"]).test, kept[kept < 444])


def test_the_latest_rows_are_the_test() -> None:
    days = pd.date_range("2020-01-01", periods=50).repeat(10).to_series().sample(frac=1, random_state=0)
    table = table_of(pd.DataFrame({"day": days.dt.strftime("%Y-%m-%d").to_numpy(), "x": np.arange(500.0)}))
    found = split(table, DataConfig(time="day"), 0)
    values = days.to_numpy()
    assert values[found.train].max() < values[found.valid].min()
    assert values[found.valid].max() < values[found.test].min()
    assert 0.1 < len(found.test) / 500 < 0.2
    assert any("2020" in note for note in found.notes)


@pytest.mark.parametrize("seed", range(20))
def test_ten_rows_are_enough(seed: int) -> None:
    frame = cancer().iloc[::60]
    found = split(table_of(frame), DataConfig(), seed, ["target"])
    assert whole(found, len(frame))
    assert min(len(found.train), len(found.valid), len(found.test)) >= 1


@pytest.mark.parametrize("rows", [24, 53, 100, 168])
def test_chance_leaves_no_part_of_few_rows_short(rows: int) -> None:
    table = table_of(cancer().iloc[:rows])
    for seed in range(8):
        found = split(table, DataConfig(split="random"), seed, ["target"])
        assert whole(found, rows)
        assert min(len(found.valid), len(found.test)) >= round(0.75 * 0.15 * rows) and len(found.train) >= round(0.75 * 0.7 * rows)


def test_numbers_that_are_to_be_classified_are_classes() -> None:
    frame = load_iris(as_frame=True).frame
    rare = pd.concat([frame.iloc[:100], frame.iloc[100:103]], ignore_index=True)  # the third kind has three flowers
    found = split(table_of(rare), DataConfig(task="classify"), 0, ["target"])
    assert found.how == "stratified" and all(set(rare["target"].iloc[part]) == {0, 1, 2} for part in (found.train, found.valid, found.test))
    assert split(table_of(rare), DataConfig(task="regress"), 0, ["target"]).how == "random"


@pytest.mark.parametrize(("classes", "each"), [(20, 3), (150, 3), (150, 12)])
def test_many_classes_of_few_rows_are_all_learned(classes: int, each: int) -> None:
    frame = pd.DataFrame({"a": np.arange(classes * each) * 1.5, "kind": [f"k{row % classes}" for row in range(classes * each)]})
    found = split(table_of(frame), DataConfig(), 0, ["kind"])
    assert whole(found, len(frame)) and found.how == "stratified"
    assert set(frame["kind"].iloc[found.train]) == set(frame["kind"])
    assert 0.6 < len(found.train) / len(frame) < 0.8, "of three rows training must not lose two"
    assert each == 3 or set(frame["kind"].iloc[found.test]) == set(frame["kind"])
    assert len(found.notes) <= 5


def test_too_little_is_refused() -> None:
    with pytest.raises(DataError, match="at least 5 rows"):
        split(table_of(cancer().iloc[:4]), DataConfig(), 0)
    with pytest.raises(DataError, match="different rows"):
        split(read({"a": [1.0] * 9}), DataConfig(), 0)
    with pytest.raises(ConfigError, match="Did you mean 'random'"):
        split(table_of(cancer()), DataConfig(split="rando"), 0)


def test_every_class_is_in_every_part() -> None:
    frame = load_iris(as_frame=True).frame.assign(target=lambda frame: frame["target"].map(str))
    frame = pd.concat([frame[frame["target"] != "2"], frame[frame["target"] == "2"].drop_duplicates().iloc[:3]])
    for seed in range(10):
        found = split(infer(read(frame), {"target": "category"}), DataConfig(), seed, ["target"])
        for part in (found.train, found.valid, found.test):
            assert set(frame["target"].iloc[part]) == {"0", "1", "2"}


def test_given_files(tmp_path: Path) -> None:
    frame = cancer()
    frame.iloc[:450].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[450:, ::-1].to_parquet(tmp_path / "test.parquet")
    train = infer(read(tmp_path / "train.csv"), {})
    table, found = given(train, None, read(tmp_path / "test.parquet"), DataConfig(), 0, ["target"])
    assert len(table) == 569
    assert np.array_equal(found.test, np.arange(450, 569))
    assert whole(found, 569)
    assert table.data.column("target")[500].as_py() == frame["target"].iloc[500]
    with pytest.raises(DataError, match="lacks target"):
        given(train, None, read(frame.drop(columns="target")), DataConfig(), 0, ["target"])


def test_a_given_file_may_lack_what_some_rows_lack() -> None:
    train = infer(read(pd.DataFrame({"x": range(20), "floor": [None, *range(19)], "y": range(20)})), {})
    test = pd.DataFrame({"x": [1, 2], "y": [3, 4]})
    table, found = given(train, None, read(test), DataConfig(), 0, ["y"])
    assert list(found.test) == [20, 21] and table.column("floor").slice(20).null_count == 2 and "lacks floor" in table.problems[0]
    for wrong in (test.drop(columns="x"), test.assign(flor=1)):
        with pytest.raises(DataError, match="lacks"):
            given(train, None, read(wrong), DataConfig(), 0, ["y"])


def test_digests_see_values_not_their_writing(tmp_path: Path) -> None:
    as_text, as_number = Table(pa.table({"x": pa.array(["1.0", "2", " 3e0"], pa.large_string())})), Table(pa.table({"x": [1.0, 2.0, 3.0]}))
    kinds = {"x": "number"}
    assert np.array_equal(row_digests(as_text.with_kinds(kinds, {}), ["x"]), row_digests(as_number.with_kinds(kinds, {}), ["x"]))
    words = pa.array([f"{a}{b}" for a in "abcdefgh" * 40 for b in range(500)], pa.large_string()).unique()
    assert len(np.unique(row_digests(Table(pa.table({"x": words})), ["x"]))) == len(words)
    (tmp_path / "a.bin").write_bytes(b"same")
    (tmp_path / "b.bin").write_bytes(b"same")
    media = Table(pa.table({"image": ["a.bin", "b.bin", "c.bin"]}), {"image": "image"}, root=tmp_path)
    found = row_digests(media, ["image"])
    assert found[0] == found[1] != found[2]
    assert content_columns(media) == ["image"]


def test_a_date_in_columns_of_its_parts_steers_the_split() -> None:
    """UCI's air of Beijing has year, month, day and hour; another hour of the same day would tell the test."""
    hours = pd.date_range("2010-01-01", periods=900, freq="h")
    frame = pd.DataFrame(
        {"year": hours.year, "month": hours.month, "day": hours.day, "Hour": hours.hour, "pm2.5": np.arange(900) % 41 + 0.5}
    )
    table = table_of(frame.sample(frac=1, random_state=0).reset_index(drop=True))
    proposal, _ = audit.propose(table, "pm2.5")
    assert (proposal.how, proposal.time) == ("time", "year,month,day,Hour")
    found = split(table, DataConfig(time=proposal.time, split="time"), 1, ("pm2.5",))
    moment_N = dated.moments(table, proposal.time)[0]
    assert moment_N[found.train].max() < moment_N[found.valid].min() and moment_N[found.valid].max() < moment_N[found.test].min()
    assert sorted(moment_N.astype("datetime64[s]").tolist()) == hours.to_pydatetime().tolist()
    assert dated.moments(table, "day,month,year")[1].all(), "in this order they are no dates"
    births = table_of(frame.rename(columns={"year": "year of birth"}))
    assert audit.propose(births, "pm2.5")[0].how == "random"


FER = ("Training", "PublicTest", "PrivateTest")


@pytest.mark.parametrize("words", [FER, ("train", "dev", "test"), ("Training set", "Test set", "Test set")])
def test_a_column_tells_the_parts_by_its_cells(words: tuple[str, str, str], tmp_path: Path) -> None:
    """FER-2013 says Usage, after 28,709 rows of Training."""
    rows = [[n % 3, n / 7000, part] for part, count in zip(words, (5000, 60, 60), strict=True) for n in range(count)]
    pd.DataFrame(rows, columns=["emotion", "value", "Usage"]).to_csv(tmp_path / "fer.csv", index=False)
    table = infer(read(tmp_path / "fer.csv"), {})
    part_N = partition.folders(table)
    assert partition.told(table) == "Usage" and part_N is not None and np.bincount(part_N)[0] == 5000
    assert choose(table, DataConfig())[0].target == ("value",)
    assert not partition.told(table_of(pd.DataFrame({"by": ["train", "bus", "test"] * 9, "n": range(27)})))


def test_a_class_of_two_rows_is_learned_wherever_they_fall():
    """One place in validation and one in the test would leave training without it."""
    for seed in range(40):
        frame = pa.table({"x": np.random.default_rng(seed).normal(size=200), "y": ["rare"] * 2 + ["a", "b"] * 99})
        found = split(Table(frame, {"x": "number", "y": "category"}), DataConfig(split="stratified"), seed, ("y",))
        assert min(found.train) < 2
