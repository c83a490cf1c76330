"""Earlier values of dated numbers: which rows are told of which, in training and by a finished run."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import duomo
from duomo import plan
from duomo.core import kinds
from duomo.core.errors import DuomoError
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import ahead, sources
from duomo.data.formats import frames
from duomo.serve.batching import BatchHandler, Question
from duomo.serve.rows import table_of
from duomo.studio import beside
from duomo.tasks.regress.task import Main


class Said(Silent):
    def __init__(self) -> None:
        self.sentences = list[str]()

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def told(data: pd.DataFrame, steps: int, target: str = "sales", **settings: object) -> tuple[pd.DataFrame, ahead.Past]:
    table = kinds.infer(Table(frames.from_memory(data)), {})
    config = DataConfig(target=(target,), task="regress", ahead=steps, **settings)  # type: ignore[arg-type]
    found, _, past = ahead.settle(table, config, Silent())
    assert past is not None
    return found.data.to_pandas(), past


def daily(days: int = 120, shops: str = "") -> pd.DataFrame:
    dates = pd.date_range("2024-01-01", periods=days)
    rows = [{"date": day, "sales": float(100 * place + number)} | ({"shop": shop} if shop else {})
            for place, shop in enumerate(shops or [""]) for number, day in enumerate(dates)]  # fmt: skip
    return pd.DataFrame(rows)


def test_no_value_is_younger() -> None:
    found, past = told(daily(), 10)
    assert past.unit == "seconds" and past.every == 86_400 and past.season == 7 and past.by == ()
    for (first, last, apart), name in zip(past.spans, past.names, strict=False):
        assert first >= 10 and name.startswith("sales[-")
        known = found[found["sales"] >= last]  # before it, the mean is of what is there
        gap = known["sales"] - known[name]
        assert np.allclose(gap, np.mean(range(first, last + 1, apart))), name
    assert {"sales[-10]", "sales[-14]", "sales[-16:-10]"} <= {*found.columns} and found["sales"].min() == 10.0


def test_series_are_told_apart() -> None:
    rows = daily(shops="ab").sample(frac=1, random_state=0)  # in any order
    rows["noise"] = np.random.default_rng(0).normal(size=len(rows))
    found, past = told(rows, 7)
    assert past.by == ("shop",) and np.allclose(found["sales"] - found["sales[-7]"], 7)
    with pytest.raises(DuomoError, match="Sum them up"):
        told(rows.drop(columns="shop"), 7)


@pytest.mark.parametrize(("freq", "unit", "every", "season", "periods"), [
    ("MS", "months", 1, 12, 120), ("ME", "months", 1, 12, 120), ("QS", "months", 3, 4, 60), ("W", "seconds", 604_800, 52, 300),
    ("h", "seconds", 3600, 24, 400), ("B", "rows", 1, 5, 200), ("YS", "months", 12, 0, 60),
])  # fmt: skip
def test_steps(freq: str, unit: str, every: int, season: int, periods: int) -> None:
    dates = pd.date_range("2010-01-01", periods=periods, freq=freq)
    found, past = told(pd.DataFrame({"when": dates, "sales": np.arange(periods, dtype=float)}), 2)
    assert (past.unit, past.every, past.season) == (unit, every, season)
    assert np.allclose(found["sales"] - found["sales[-2]"], 2)


def test_gaps_are_filled_from_the_season_before() -> None:
    rows = daily()
    rows["sales"] = rows["date"].dt.dayofweek.astype(float)
    found, _ = told(rows.drop(index=[50, 51]), 7)
    assert np.allclose(found["sales"], found["sales[-7]"])


def test_rows_to_come(tmp_path: Path) -> None:
    _, past = told(daily(shops="ab"), 7)
    past.keep(tmp_path)
    past = ahead.Past.open(tmp_path)
    days = [str(date(2024, 1, 1) + timedelta(120 + number)) for number in range(20)]
    rows = pd.DataFrame({"shop": ["b"] * 20, "date": days})
    found = ahead.again(Table(frames.from_memory(rows)), past)
    told_of = found.data.to_pandas()
    assert told_of["sales[-7]"].tolist()[:8] == [213, 214, 215, 216, 217, 218, 219, 213]  # not known yet: the week before
    assert "13 rows lie more than 7 steps" in found.problems[0]
    rows["sales"] = [220.0 + number for number in range(13)] + [None] * 7  # what is known meanwhile
    found = ahead.again(Table(frames.from_memory(rows)), past)
    assert found.data.to_pandas()["sales[-7]"].tolist()[13:] == [226, 227, 228, 229, 230, 231, 232] and not found.problems
    assert ahead.again(found, past) is found


def to_come(past: ahead.Past, **columns: list[object]) -> tuple[pd.DataFrame, str]:
    found = ahead.again(Table(frames.from_memory(pd.DataFrame(columns))), past)
    return found.data.to_pandas(), " ".join(found.problems)


def test_each_series_keeps_its_last_values() -> None:
    rows = daily(shops="ab")
    rows.loc[(rows["shop"] == "b") & (rows["date"] >= "2024-03-01"), "sales"] = None  # it tells later
    rows = pd.concat([rows, daily(200, "ab")[["date", "shop"]].query("date > '2024-05-01'")])  # to be answered
    _, past = told(rows, 7)
    found, said = to_come(past, shop=["a", "b", "c"], date=["2024-05-01", "2024-03-02", "2024-05-01"])
    assert found["sales[-7]"].tolist()[:2] == [114, 154] and np.isnan(found["sales[-7]"][2])
    assert "Of 1 row no earlier sales is known" in said
    assert "Of 1 row no earlier" in to_come(past, shop=["a"], date=["2024-01-05"])[1]  # before the first


def test_rows_that_lie_unevenly_are_counted_in_far_gaps() -> None:
    days = pd.bdate_range("2024-01-01", periods=200)
    _, past = told(pd.DataFrame({"date": days, "sales": np.arange(200.0)}), 5)
    assert past.unit == "rows"
    next_day, month = days[-1] + pd.offsets.BDay(1), days[-1] + pd.offsets.BDay(20)
    found, said = to_come(past, date=[str(next_day.date())])
    assert found["sales[-5]"].tolist() == [195] and not said
    found, said = to_come(past, date=[str(month.date())])
    assert found["sales[-5]"].tolist() == [199] and "lies more than 5 steps" in said


def test_a_run_foretells(tmp_path: Path) -> None:
    days = pd.date_range("2022-01-01", periods=500)
    wave = 50 + 10 * np.sin(days.dayofweek * 2 * np.pi / 7) + np.random.default_rng(0).normal(size=500).cumsum()
    rows = pd.DataFrame({"date": days.strftime("%Y-%m-%d"), "sales": wave.round(3)})
    rows[:480].to_csv(tmp_path / "sales.csv", index=False)
    run = duomo.train(tmp_path / "sales.csv", {"data": {"ahead": 7}, "train": {"steps": 5}}, target="sales", out=tmp_path / "run")
    assert any(result["name"] == "sales[smoothed:-7] as it is" for result in run.scorecard["results"])
    again = duomo.load(run.path)
    answers = again.predict(rows[480:487][["date"]])
    assert len(answers) == 7 and np.abs(answers["prediction"] - wave[480:487]).mean() < 10
    rows[480:487][["date"]].to_csv(tmp_path / "next.csv", index=False)
    again.predict_file(tmp_path / "next.csv", str(tmp_path / "answers.csv"))
    assert [*pd.read_csv(tmp_path / "answers.csv")] == ["date", "prediction", "low", "high"]
    assert run.facts["asks"] == ["date"]
    handler, question = BatchHandler(again), Question(1, "predict", b'{"rows": [{"date": "2023-04-26"}]}')
    (_, reply), *_ = handler.answer([(question, handler.rows(question))])
    assert reply.status == 200 and json.loads(reply.body)["answers"][0]["prediction"] == pytest.approx(
        answers["prediction"].iloc[0], rel=1e-4
    )
    later = [{"date": f"2023-04-{day}", "sales": 500.0 if day < 27 else None} for day in (26, 27)] + [{"date": "2023-05-03"}]
    asked = [Question(2, "predict", json.dumps({"rows": later}).encode()), question]  # of two requests at once neither hears of the other
    (_, told_of), (_, alone) = handler.answer([(one, handler.rows(one)) for one in asked])
    assert json.loads(told_of.body)["answers"][2] == again.predict(later)[2] and alone.body == reply.body
    assert again.predict(later)[2] != again.predict(later[2:])[0]
    high = again.told(table_of([row | {"sales": 9999.0} for row in later], {"date": "date", "sales": "number"}))
    assert beside.strange(again, high.take(np.arange(2, 3))) is None, "earlier values are no cells of the row"


def test_a_walk_is_foretold_by_its_last_value() -> None:
    days, rng = pd.date_range("2022-01-01", periods=400), np.random.default_rng(0)
    walk, cheap = 100 + rng.normal(size=400).cumsum(), rng.random(400) < 0.3
    for values, holds in ((walk, False), (50 + 10 * cheap + rng.normal(size=400), True)):
        made = plan.make(
            pd.DataFrame({"date": days, "cheap": cheap.astype(int), "sales": values}),
            {"data": {"target": ("sales",), "ahead": 3}},
            Silent(),
        )
        made.task.fit(made.train)
        assert isinstance(made.task, Main) and made.task.near and (made.task.share > 0.8 if holds else made.task.share < 0.5)
        again = Main(made.task.config)
        again.restore(json.loads(json.dumps(made.task.state())))
        examples = again.encode(made.test, target=True)
        batch = examples.batch(np.arange(len(examples)))
        near, said = made.test.data.to_pandas()["sales[smoothed:-3]"].to_numpy(), torch.zeros(len(examples), 1)
        answered, again.near = again.evidence(said, batch)["prediction"][:, 0], None
        alone = again.evidence(said, batch)["prediction"][:, 0]
        assert np.allclose(answered, again.share * alone + (1 - again.share) * near)


def test_years_are_moments() -> None:
    rows = pd.DataFrame([{"country": one, "year": year, "co2": float(year)} for one in "ab" for year in range(1950, 2000)])
    found, past = told(rows, 2, "co2")
    assert (past.time, past.by, past.unit, past.every) == ("year", ("country",), "months", 12) and {*(found["co2"] - found["co2[-2]"])} == {
        2.0
    }


def test_settings_of_an_earlier_run_for_other_steps() -> None:
    made = plan.make(daily(), {"data": {"target": ("sales",), "ahead": 7}}, Silent())
    task = {name: made.recipe.task[name] for name in ("level", "alike", "near")}
    for steps, level in ((14, "sales[smoothed:-14]"), (0, "")):
        other = plan.make(daily(), {"data": {"target": ("sales",), "ahead": steps}, "task": task}, Silent())
        assert other.recipe.task.get("level", "") == other.recipe.task.get(
            "near", ""
        ) == level and "sales[-7]" not in other.recipe.task.get("alike", ())


def test_what_cannot_be_foretold() -> None:
    rows = daily()
    for data, settings in ((rows, {"ahead": 200}), (rows.drop(columns="date").assign(x=1.5), {"ahead": 7})):
        with pytest.raises(DuomoError, match=r"Lower --ahead|--time COLUMN"):
            plan.make(data, {"data": {"target": ("sales",), **settings}}, Silent())


def test_values_told_anew_replace_those_that_the_run_kept() -> None:
    _, past = told(daily(), 7)
    days = [str(date(2024, 1, 1) + timedelta(number)) for number in range(118, 127)]
    rows = pd.DataFrame({"date": days, "sales": [118.0, 500.0] + [None] * 7})
    found = ahead.again(Table(frames.from_memory(rows)), past)
    assert found.data.to_pandas()["sales[-7]"].tolist()[7:] == [118, 500]
    assert [problem for problem in found.problems if "1 value of sales is not" in problem] and len(found.problems) == 1


def test_values_told_anew_are_read_as_the_runs_own_are_written() -> None:
    """What a request says in numbers is no text with commas; what it leaves blank is not known; and the kept ones stay what they were."""
    commas = daily(60).assign(sales=[f"1.{number:03},5" for number in range(60)])
    for rows, kept in ((commas, 1059.5), (daily(60).astype({"sales": int}), 59.0)):
        _, past = told(rows, 1)
        for cell, value in ((1.234, 1.234), (12.5, 12.5), ("", None)):
            asked = [{"date": "2024-03-01", "sales": cell}, {"date": "2024-03-02", "sales": None}]
            found = ahead.again(table_of(asked, {"date": "date", "sales": "number"}), past).data.to_pandas()["sales[-1]"].tolist()
            assert found == [kept, kept - 6 if value is None else value]
        with pytest.raises(DuomoError, match="'many' of 'sales' in row 0"):
            ahead.again(table_of([{"date": "2024-03-01", "sales": "many"}], {"date": "date", "sales": "number"}), past)


def test_rows_of_one_moment_are_told_of() -> None:
    rows = pd.concat([daily(), daily().iloc[50:51]])
    said = Said()
    ahead.settle(kinds.infer(Table(frames.from_memory(rows)), {}), DataConfig(target=("sales",), task="regress", ahead=7), said)
    assert any("1 row is of the moment" in sentence for sentence in said.sentences)
    with pytest.raises(DuomoError, match="no other column tells series apart"):
        told(pd.concat([daily(), daily()]), 7)


def test_series_of_the_monash_archive(tmp_path: Path) -> None:
    head = "# About\n@relation some\n@attribute series_name string\n@attribute start_timestamp date\n@frequency {}\n@horizon 3\n@data\n"
    rows = [f"T{one}:{1870 + one // 2 * 30}-01-01 00-30-00:{','.join(map(str, range(one, one + 60)))},?,1.5\n" for one in range(5)]
    (tmp_path / "a.tsf").write_text(head.format("monthly") + "".join(rows))
    table = kinds.infer(sources.read(tmp_path / "a.tsf"), {})
    assert table.names == ["series_name", "time", "value"] and len(table) == 5 * 62 and "--target value --ahead 3" in table.problems[-1]
    assert table.data.slice(62, 2).to_pylist() == [{"series_name": "T1", "time": f"1870-0{n}-01", "value": float(n)} for n in (1, 2)]
    made = plan.make(str(tmp_path / "a.tsf"), {"data": {"ahead": 3}}, Silent())
    assert (
        made.recipe.data.target == ("value",) and made.past is not None and made.past.by == ("series_name",) and made.past.unit == "months"
    )
    for spoken, second in (("half_hourly", "1870-01-01T01:00:00"), ("10_minutes", "1870-01-01T00:40:00"), ("weekly", "1870-01-08"),
                           ("hourly", "1870-01-01T01:30:00")):  # fmt: skip
        (tmp_path / "a.tsf").write_text(head.format(spoken) + rows[0])
        assert sources.read(tmp_path / "a.tsf").column("time")[1].as_py() == second
    (tmp_path / "a.tsf").write_text("@relation m4\n@attribute series_name string\n@data\nT1:1,2,3\n")
    assert sources.read(tmp_path / "a.tsf").column("time").to_pylist() == ["2000-01-01", "2000-01-02", "2000-01-03"]
    for wrong in (*(head.format(spoken) + rows[0] for spoken in ("now and then", "half_yearly")),
                  *(head.format("daily") + row for row in ("T1:1,2\n", "T1:soon:1,2\n"))):  # fmt: skip
        (tmp_path / "a.tsf").write_text(wrong)
        with pytest.raises(DuomoError, match=r"@frequency|line 8 of"):
            sources.read(tmp_path / "a.tsf")
