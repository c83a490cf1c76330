"""Rows that sum up a table are neither learned from nor judged by, and are answered as any other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from duomo import pipeline, plan
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.data.sources import read
from duomo.data.totals import without_totals


def shops(rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(3)
    visits = random.integers(20, 99, rows)
    return pd.DataFrame(
        {"shop": [f"Shop {row}" for row in range(rows)], "town": "Graz", "visits": visits, "sales": (visits * 3.5).round(1)}
    )


def with_last(last: list[dict[str, object]], frame: pd.DataFrame | None = None) -> pd.DataFrame:
    return pd.concat([shops() if frame is None else frame, pd.DataFrame(last)], ignore_index=True)


def sums(word: str, how: str = "sum") -> dict[str, object]:
    return {"shop": word, "visits": getattr(shops().visits, how)(), "sales": round(getattr(shops().sales, how)(), 1)}


LAST = [
    [sums("Total")], [sums("Grand total:"), sums("Average", "mean")], [{}, sums("合计：")], [sums("总 计"), {}], [sums("Gesamtsumme")],
    [sums("TOTALS") | {"town": "everywhere"}], [{"shop": "Sum"}],
    [{}, sums("Mean", "mean"), {"shop": "60 shops, as of May"}], [{"shop": "Subtotal", "sales": shops().sales.sum()}],
]  # fmt: skip


@pytest.mark.parametrize("last", LAST)
@pytest.mark.parametrize("ending", ["csv", "xlsx", "frame"])
def test_left_out_and_told(tmp_path: Path, last: list[dict[str, object]], ending: str) -> None:
    frame, path = with_last(last), tmp_path / f"shops.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "xlsx":
        frame.to_excel(path, index=False)
    whole = read(frame if ending == "frame" else path)
    table = without_totals(whole)
    assert len(table) == 60 and table.column("shop")[-1].as_py() == "Shop 59"
    assert next(word for row in last if (word := str(row.get("shop", "")))) in table.problems[-1] and not whole.problems


def test_genuine_rows_stay() -> None:
    random = np.random.default_rng(5)
    firms = pd.DataFrame({"firm": [f"Firm {row}" for row in range(40)] + ["Total"], "land": "FR", "staff": random.integers(10, 99, 41)})
    grades = pd.DataFrame({"grade": [*["good", "average", "poor"] * 20, "average"], "points": [*range(60), sum(range(60))]})
    parts = with_last([sums("Total")], with_last([sums("Subtotal")], shops()[:30]))  # the word is above too, as every group has it
    parts = with_last([sums("Total")], pd.concat([parts, shops()[30:]], ignore_index=True))
    flags = pd.DataFrame({"word": [f"w{row}" for row in range(30)] + ["sum"], "noun": [1, *[0] * 29, 1]})
    for frame in (firms, grades, parts, flags, pd.DataFrame({"word": ["a", "Total"], "n": [1, 1]}), pd.DataFrame({"word": ["Total"] * 9})):
        table = read(frame)
        assert without_totals(table) is table


def test_one_chance_match_among_many_columns_makes_no_total() -> None:
    random = np.random.default_rng(0)
    ratings = pd.DataFrame(random.uniform(1, 7, (60, 10)).round(2), columns=[f"r{place}" for place in range(10)])
    last = {"word": "mean", "r0": round(ratings.r0.mean(), 2)} | {f"r{place}": 6.9 for place in range(1, 10)}
    words = ratings.assign(word=[f"word{row}" for row in range(60)])
    assert len(without_totals(read(with_last([last], words)))) == 61


def test_words_that_are_missing_tell_too() -> None:
    rows = [{"name": f"n{row}", "town": f"t{row % 7}", "trade": f"b{row % 5}", "age": 30 + row} for row in range(30)]
    assert len(without_totals(read([*rows, {"name": "Total", "town": "", "trade": None, "age": None}]))) == 30
    assert len(without_totals(read([*rows, {"name": "Total", "town": "t1", "trade": None, "age": None}]))) == 31


def test_learned_without_judged_without_answered_with(tmp_path: Path) -> None:
    path = tmp_path / "shops.csv"
    with_last([sums("Total")]).to_csv(path, index=False)
    assert len(plan.read(path, DataConfig(), Silent())) == 60
    run = pipeline.train(path, {"train": {"epochs": 1}}, target="sales", model="linear", out=tmp_path / "run")
    assert run.evaluate(path)["rows"] == 60
    assert len(run.predict(path)) == 61


@pytest.mark.parametrize("called", ["Total {}", "{} total", "Subtotal", "小计"])
def test_sums_of_sections_are_left_out(tmp_path: Path, called: str) -> None:
    rows, whole = list[str](), 0
    for region in ("North", "South", "West"):
        values = [(7 * place + len(region)) % 23 + 1 for place in range(12)]
        rows += [*(f"{region},s{place},{value},{3 * value}" for place, value in enumerate(values))]
        rows.append(f"{called.format(region)},,{sum(values)},{3 * sum(values)}")
        whole += sum(values)
    rows.append(f"Grand total,,{whole},{3 * whole}")
    (tmp_path / "a.csv").write_text("\n".join(["region,shop,units,revenue", *rows]) + "\n")
    table = without_totals(read(tmp_path / "a.csv"))
    assert len(table) == 36 and set(table.column("region").to_pylist()) == {"North", "South", "West"}
    wrong = [row.replace(",,", ",,9") + "7" if ",," in row else row for row in rows]  # no sums: who knows what they are
    (tmp_path / "b.csv").write_text("\n".join(["region,shop,units,revenue", *wrong]) + "\n")
    assert len(without_totals(read(tmp_path / "b.csv"))) == 40
