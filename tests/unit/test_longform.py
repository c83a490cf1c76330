"""Tables with one row for each observation: they are recognised, joined, learned from and answered as series."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import duomo
from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.data import audit, longform, sources


def readings(count: int = 60, seed: int = 0) -> pd.DataFrame:
    """Slow and fast waves of 12 to 20 hours, the rows in disorder."""
    rng, found = np.random.default_rng(seed), list[pd.DataFrame]()
    for place in range(count):
        steps, fast = int(rng.integers(12, 20)), place % 2
        wave = np.sin(np.arange(steps) * (0.4 + 0.9 * fast) + rng.normal()) + 0.1 * rng.normal(size=steps)
        times = pd.date_range("2026-01-05", periods=steps, freq="h").strftime("%Y-%m-%d %H:%M")
        found.append(pd.DataFrame({"id": f"p{place}", "time": times, "pulse": wave.round(3), "age": 30 + place % 9,
                                   "note": rng.choice(["a", "b"], steps), "label": "fast" if fast else "slow"}))  # fmt: skip
    return pd.concat(found).sample(frac=1, random_state=seed).reset_index(drop=True)


def test_rows_are_joined_in_order_of_time() -> None:
    frame = pd.DataFrame(
        {"id": ["b", "a", "b", "a", None], "t": [2, 1, 1, 0, 5], "x": ["3", "1,5", "", "2", "9"], "y": ["u", "", "u", "v", "w"]}
    )
    table, data = longform.settle(kinds.infer(sources.read(frame), {"x": "number"}), DataConfig(join=("id", "t")), Silent())
    assert table.data.to_pydict() == {"id": ["b", "a"], "x": [[None, 3.0], [2.0, 1.5]], "y": ["u", "v"]}
    assert table.kinds == {"id": "id", "x": "series", "y": "category"} and data.join == ("id", "t")
    more = sources.read({"id": ["c", "c"], "t": ["2", "1"], "x": ["7", "8"]})
    assert longform.again(more, ("id", "t"), table.kinds).data.to_pydict() == {"id": ["c"], "x": [[8.0, 7.0]]}
    assert longform.again(table, ("id", "t"), table.kinds) is table


def test_the_shape_is_recognised_and_said() -> None:
    table = kinds.infer(sources.read(readings()), {})
    _, findings = audit.propose(table, "label")
    (found,) = [finding for finding in findings if finding.code == "long"]
    assert "--join id,time" in found.remedy
    assert longform.recognised(table, "pulse", ["id"], ["time"]) is None


def test_windows_of_a_sensor_stay_together() -> None:
    """Rows of one window on both sides of the split would be the same swing of an arm, learned and asked for."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"window_id": np.repeat(np.arange(40), 25), "t": np.tile(np.arange(25), 40), "acc_x": rng.normal(size=1000)})
    frame["activity"] = np.repeat(rng.choice(["walk", "sit", "run"], 40), 25)
    table = kinds.infer(sources.read(frame), {})
    proposal, findings = audit.propose(table, "activity")
    assert (proposal.how, proposal.group) == ("group", "window_id")
    assert "--join window_id,t" in next(finding for finding in findings if finding.code == "long").remedy
    aged = kinds.infer(sources.read(frame.assign(activity=np.repeat(rng.normal(size=40), 25))), {})
    assert audit.propose(aged, "activity")[0].group == "window_id"
    people = kinds.infer(sources.read(frame.assign(subject=np.repeat(np.arange(8), 125))), {})
    assert audit.propose(people, "activity")[0].group == "subject"  # who moved is kept apart before what was cut from it
    mixed = kinds.infer(sources.read(frame.assign(activity=rng.choice(["walk", "sit"], 1000))), {})
    assert audit.propose(mixed, "activity")[0].how == "stratified"  # a number whose rows differ ties nothing together


def test_what_cannot_be_joined_is_refused() -> None:
    table = kinds.infer(sources.read(readings(10)), {})
    for join, target, words in ((("id",), "note", "'note' changes within 'id'"), (("id", "note"), "", "holds neither"),
                                (("time", "id"), "", "holds neither"), (("id", "tine"), "", "no column 'tine'")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            longform.settle(table, DataConfig(join=join, target=(target,) if target else ()), Silent())


def test_from_readings_to_answers(tmp_path: Path) -> None:
    readings().to_csv(tmp_path / "readings.csv", index=False)
    settings = {"data": {"join": ("id",), "target": ("label",)}}
    run = duomo.train(tmp_path / "readings.csv", settings, out=tmp_path / "run", reporter=Silent())
    assert run.recipe.data.join == ("id", "time") and run.facts["kinds"]["pulse"] == "series" and run.facts["kinds"]["age"] == "number"
    assert sum(run.facts["data"]["rows"].values()) == 60 and run.facts["features"] == ["pulse", "age"]
    new = readings(12, 1).drop(columns="label")
    answers = duomo.load(tmp_path / "run").predict_file(_written(new, tmp_path), str(tmp_path / "answers.csv"))
    assert answers is not None and answers["rows"] == 12
    found = pd.read_csv(tmp_path / "answers.csv")
    assert list(found.columns[:2]) == ["id", "age"] and set(found.id) == {f"p{place}" for place in range(12)}
    right = found.prediction == np.where(found.id.str[1:].astype(int) % 2, "fast", "slow")
    assert right.mean() > 0.9
    one = new[new.id == "p3"].sort_values("time")
    asked = json.dumps({"pulse": one.pulse.tolist(), "age": 33})
    assert run.predict_one(row=asked)["prediction"] == found.prediction[found.id == "p3"].item()
    assert run.evaluate(readings(20, 2))["metrics"]["accuracy"]["value"] > 0.9


def _written(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "new.csv", index=False)
    return folder / "new.csv"
