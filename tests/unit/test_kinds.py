"""Kinds: recognised, parsed, learned and encoded, on real and on awkward cells."""

import base64
import io
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image
from sklearn.datasets import load_sample_image
from tokenizers import Tokenizer, models, pre_tokenizers

from duomo import samples
from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import KINDS, audio, category, date, image, infer, number, numbers, series, set_row_numbers_aside, text
from duomo.core.kinds.base import Cells
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.evaluate.worst_errors import thumbnail

CONFIG = EncodeConfig()


def column(cells: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells, pa.large_string())])


def files(cells: list[bytes | None]) -> Cells:
    return Cells(pa.chunked_array([pa.array(cells, pa.large_binary())]))


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("cells", "values", "bad"),
    [
        (["1", "2.5", "", " 3 ", "?", None, "-", "NA"], [1, 2.5, None, 3, None, None, None, None], 0),
        (["1,234", "5", "$1,000.5", "(3)", "−4"], [1234, 5, 1000.5, -3, -4], 0),
        (["3,5", "1.234,5", "7"], [3.5, 1234.5, 7], 0),
        (["12%", "5 %", ""], [0.12, 0.05, None], 0),
        (["1,234", "3,5", "2.5"], [1234, None, 2.5], 1),
        (["1", "12%", "2", "3"], [1, None, 2, 3], 1),
        (["inf", "1e400", "x", "1e3"], [None, None, None, 1000], 3),
        (["1 234 567", "￥１２", "2 元"], [1234567, 12, 2], 0),
        (["1.2万", "8000", "１，２００", "3万元", "2亿", "10万+", "不详", "——"], [12000, 8000, 1200, 30000, 2e8, 1e5, None, None], 0),
        (["1.2万", "3万"], [12000, 30000], 0),
        (["12%", "8％", "３％"], [0.12, 0.08, 0.03], 0),
        (["３５岁", "42岁", "18"], [35, 42, 18], 0),
        (["36.5℃", "３７℃"], [36.5, 37], 0),
        (["1.5千克", "0.8千克"], [1.5, 0.8], 0),
        (["1.2k", "800", "3k"], [1200, 800, 3000], 0),
        (["19M", "8.7M", "201k"], [19e6, 8.7e6, 201e3], 0),
        (["1.80M", "1.75", "2M"], [1.8, 1.75, 2], 0),
        (["1+", "12", "3"], [None, 12, 3], 1),
        (["1小时30分", "45分钟", "2小时", "1h 15m", "12"], [1.5, 0.75, 2, 1.25, 12], 0),
        (["45分", "90分"], [45, 90], 0),
        (["0.3", "1.2", "<0.01", "0.5", "未检出", ">5"] + ["2"] * 4, [0.3, 1.2, 0.01, 0.5, None, 5] + [2] * 4, 0),
        (["<=50K", ">50K", "<=50K"], [None] * 3, 3),
        (["3", "n.a.", "#DIV/0!", "*", "\\N", "4"], [3, None, None, None, None, 4], 0),
        (["9.54↑", "3.2", "12*", "~5", "约48", "ca. 7", "553.69-", "1,250.00-"], [9.54, 3.2, 12, 5, 48, 7, -553.69, -1250], 0),
        (["4,7 von 5", "3 von 5"], [4.7, 3], 0),
        (["4.7 out of 5 stars", "3 out of 5 stars"], [4.7, 3], 0),
        (["Rs. 1,200", "Rs. 90", "CHF 12.50", "rs7"], [1200, 90, 12.5, None], 1),
        (["5:30 PM", "12:15 a.m.", "12:00 pm", "9:45 AM", "14:30"], [17.5, 0.25, 12, 9.75, 14.5], 0),
        (["41°30'0\"N", "8° 15' S", "87.5° W", "0°E"], [41.5, -8.25, -87.5, 0], 0),
        (["3 days ago", "2 weeks ago", "1 day ago", "4 days ago"], [3, 14, 1, 4], 0),
        (["8/10", "10/10", "7.5/10"], [8, 10, 7.5], 0),
        (["4.1×10^9/L", "11×10^9/L"], [4.1, 11], 0),
        (["812.5ms", "2.5s", "90ms", "12ms"], [812.5, 2500, 90, 12], 0),
        (["4:06.30", "12:30.00"], [4 / 60 + 6.3 / 3600, 12.5 / 60], 0),
        ([], [], 0),
    ],
)
def test_numbers_are_read_as_written(cells: list[str | None], values: list[float | None], bad: int) -> None:
    found, wrong = number.parse(column(cells))
    assert found.dtype == np.float64 and wrong.sum() == bad
    np.testing.assert_allclose(found, np.array(values, np.float64))


def test_typed_numbers_and_infinity() -> None:
    found, wrong = number.parse(pa.chunked_array([pa.array([1.0, float("inf"), None, float("nan")])]))
    assert wrong.tolist() == [False, True, False, False] and np.isnan(found[1:]).all()
    assert number.parse(pa.chunked_array([pa.array([True, False, None])]))[0][:2].tolist() == [1, 0]


def test_a_decimal_comma_learned_is_kept_for_a_single_row() -> None:
    state = number.KIND.fit(Cells(column(["3,5", "4,25", "1,125"])), CONFIG)
    alone = number.KIND.encode(Cells(column(["1,125"])), state).values
    np.testing.assert_array_equal(alone, number.KIND.encode(Cells(column(["3,5", "4,25", "1,125"])), state).values[2:])


def test_without_a_percent_sign_where_all_have_one_a_cell_is_no_number() -> None:
    style = number.style_of(pa.chunked_array([["12%", "5 %", ""]]))
    assert number.Style(*style.to_list()) == style and style.always
    assert number.parse(pa.chunked_array([["0", "50%", "3"]]), style)[1].tolist() == [False, False, True]
    for cells in (["50", "50%", "0.5", None], [50.0, 0.5, None, 50.0]):
        values, bad = number.parse(pa.chunked_array([cells]), style)
        assert bad.tolist() == [isinstance(cell, float) or cell in ("50", "0.5") for cell in cells]
        assert np.isnan(values).tolist() == [cell != "50%" for cell in cells]
    mixed = number.style_of(pa.chunked_array([["12%", "5%", "0"]]))
    assert mixed.percent and not mixed.always and len(mixed.to_list()) == 3
    assert number.parse(pa.chunked_array([["50"]]), mixed)[0].tolist() == [50]


def test_numbers_are_standardised_flagged_and_binned() -> None:
    values = [str(value) for value in np.random.default_rng(0).normal(50, 3, 1000)] + [""]
    state = json.loads(json.dumps(number.KIND.fit(Cells(column(values)), CONFIG)))
    block = number.KIND.encode(Cells(column(values)), state).values
    assert block.shape == (1001, 2) and block.dtype == np.float32
    assert abs(block[:-1, 0].mean()) < 1e-3 and abs(block[:-1, 0].std() - 1) < 1e-3
    assert block[-1].tolist() == [0, 1]
    bins = number.KIND.field(state).facts["bins"]
    assert len(bins) == 2 and CONFIG.bins < len(bins[0]) <= 2 * CONFIG.bins + 2 and bins[0] == sorted(bins[0])


def test_columns_of_numbers_together_as_each_alone() -> None:
    chance = np.random.default_rng(0)
    cells = [[None if chance.random() < 0.1 * (c % 2) else float(v) for v in chance.normal(size=99) * 10.0 ** (c - 3)] for c in range(7)]
    cells[2][5] = float("inf")
    table = pa.table({str(c): pa.array(column, pa.float64()) for c, column in enumerate(cells)})
    states = [number.KIND.fit(Cells(table.column(c)), EncodeConfig()) for c in range(7)]
    alone = np.concatenate([number.KIND.encode(Cells(table.column(c)), states[c]).values for c in range(7)], axis=1)
    together = number.matrix(table.to_batches(), states)
    assert alone.shape == together.shape == (99, 11) and (alone.view(np.int32) == np.ascontiguousarray(together).view(np.int32)).all()


def test_each_value_of_a_discrete_column_is_an_edge() -> None:
    few = np.repeat([0.0, 3.0, 5013.0, 5178.0], 20)
    assert number.edges(few, 2) == [0.0, 3.0, 5013.0, 5178.0]
    mostly_zero = np.concatenate([np.zeros(10_000), np.linspace(1, 9, 3_000)])
    assert len(number.edges(mostly_zero, 8)) >= 9
    assert number.edges(np.full(5, 2.0), 8) == [2.0, 3.0]


def test_a_value_met_often_has_its_neighbours_as_edges() -> None:
    values = np.concatenate([np.full(400, 11504.0), np.random.default_rng(0).permutation(11000)[:600].astype(np.float64)])
    state = number.learn(values, 16)
    edges = np.array(state["bins"]) * state["scale"] + state["centre"]
    below = values[values < 11504].max()
    assert np.isclose(edges, 11504, atol=0.01).any() and np.isclose(edges, below, atol=0.01).any()
    assert len(edges) <= 2 * 16 + 2 + 3 * 4


def test_one_typing_error_does_not_flatten_a_column() -> None:
    cells = [str(value) for value in range(100)] + ["1e12"]
    state = number.KIND.fit(Cells(column(cells)), CONFIG)
    assert number.KIND.encode(Cells(column(cells[:100])), state).values.std() > 0.5


def test_the_largest_values_of_a_heavy_tail_are_told_apart() -> None:
    """The people of counties: the largest have a thousand times as many as the middle one."""
    cells = pa.chunked_array([np.exp(np.random.default_rng(0).normal(0, 3, 1000))])
    state = json.loads(json.dumps(number.KIND.fit(Cells(cells), CONFIG)))
    told = number.KIND.encode(Cells(cells), state).values[:, 0]
    assert len(np.unique(told)) == 1000 and (np.argsort(told) == np.argsort(cells.to_numpy())).all() and told.max() < 12
    centre, scale, heavy = number.KIND.field(state).facts["spread"][0]
    assert heavy and np.allclose(np.sinh(told.astype(np.float64)) * scale + centre, cells.to_numpy(), rtol=1e-3, atol=1e-3)
    before = {name: value for name, value in state.items() if name != "heavy"}
    assert number.KIND.encode(Cells(cells), before).values.max() == 20  # a run of before answers as it did


def test_columns_that_count_the_rows_are_ids_unless_they_tell_of_time() -> None:
    rows = 60
    noise = np.random.default_rng(0).normal(size=rows).round(3)
    counted = infer(Table(pa.table({
        "c0": np.arange(1, rows + 1), "day": np.arange(rows), "year2": 1990 + np.arange(rows), "level": np.arange(rows) // 2, "size": noise,
        "obs": np.arange(rows), "target": np.arange(rows),
    })), {})  # fmt: skip
    found = set_row_numbers_aside(counted, ("target",))
    assert [name for name in found.names if found.kinds[name] == "id"] == ["c0", "obs"]
    assert "counts the rows" in found.reasons["c0"]
    alone = infer(Table(pa.table({"x": np.arange(rows), "y": noise})), {})
    assert set_row_numbers_aside(alone, ("y",)).kinds["x"] == "number"  # nothing else to learn from
    shuffled = infer(Table(pa.table({"c0": np.random.default_rng(0).permutation(rows), "a": noise, "b": noise})), {})
    assert set_row_numbers_aside(shuffled, ()).kinds["c0"] == "number"


def test_names_of_rows_are_ids_though_they_are_words() -> None:
    machines = [f"ADVISOR model {'ABCDEFGH'[place % 8]}{'xyz' * (place // 8)}" for place in range(30)]
    table = infer(Table(pa.table({"index": machines, "note": machines, "row_names": machines[:29] + machines[:1]})), {})
    assert dict(table.kinds) == {"index": "id", "note": "text", "row_names": "text"}
    assert infer(Table(pa.table({"index": [f"{place / 7:.3f}" for place in range(30)]})), {}).kinds["index"] == "number"


def test_numbers_of_people_are_ids() -> None:
    cards = [f"11010519{number:09d}{'X' if number % 11 == 0 else number % 10}" for number in range(40)]
    phones = np.arange(40) * 7919 + 13_800_000_000
    names = ("身份证", "身份证号码", "手机", "手机号码", "phone", "Mobile Number", "ssn", "uid")
    table = infer(
        Table(pa.table({name: cards if name.startswith("身") else phones for name in names} | {"twoyear.id": phones.astype(float)})), {}
    )
    assert set(table.kinds.values()) == {"id"}, table.kinds
    assert infer(Table(pa.table({"phone_minutes": phones, "zoom": [f"{one}x" for one in range(40)]})), {}).kinds == {
        "phone_minutes": "number", "zoom": "number",
    }  # fmt: skip


def test_numbers_of_things_that_come_again_are_categories() -> None:
    place = np.arange(400)
    cells = {"userId": place % 40, "store_id": place % 7, "店铺编号": place % 9 + 1000, "glycemic index": place % 50, "paid": place % 30}
    table = infer(Table(pa.table(cells | {"film_id": place * 3 % 1200, "id": place})), {})
    assert table.kinds == dict.fromkeys(("userId", "store_id", "店铺编号"), "category") | dict.fromkeys(
        ("glycemic index", "paid"), "number"
    ) | {"film_id": "id", "id": "id"}
    state = category.KIND.fit(Cells(table.column("store_id")), CONFIG)
    assert category.KIND.encode(Cells(pa.chunked_array([["3", "9"]])), state).values.ravel()[1] == 0


def test_what_is_measured_is_no_id() -> None:
    cells = {
        "paid": [f"({place + 1},{place + 100}.50)" for place in range(40)],
        "pressure": [f"{100 + place}/{60 + place}" for place in range(40)],
        "clock": [f"{place % 24}:{place + 10}" for place in range(40)],
        "part": [f"A{place}-{place * 7}" for place in range(40)],
    }
    assert dict(infer(Table(pa.table(cells)), {}).kinds) == {"paid": "number", "pressure": "numbers", "clock": "number", "part": "id"}
    hours = number.parse(column(["7:30", "107:06:36", "", "7:3"]))
    assert hours[0].tolist() == pytest.approx([7.5, 107.11, float("nan"), float("nan")], nan_ok=True) and hours[1].tolist() == [
        False
    ] * 3 + [True]


def test_ten_letters_in_nineteen_rows_are_categories() -> None:
    letters = "AABBCDDEEFGHHIIJJAB"
    table = infer(Table(pa.table({"lot": list(letters), "note": [f"lot {letter}" for letter in letters]})), {})
    assert dict(table.kinds) == {"lot": "category", "note": "text"}


@pytest.mark.parametrize("unit", [" kg", "kg", " km/h", "°C", "m²", " 元/斤", " years"])
def test_one_unit_behind_all_numbers_is_no_word(unit: str) -> None:
    cells = column([f"{place * 1.5:.1f}{unit}" for place in range(20)] + ["", f"1,250{unit}"])
    table = infer(Table(pa.table({"weight": cells})), {})
    assert table.kinds["weight"] == "number"
    state = json.loads(json.dumps(number.KIND.fit(Cells(cells), CONFIG)))
    style = number.Style(*state["style"])
    assert number.parse(cells, style)[0][[1, 20, 21]].tolist() == pytest.approx([1.5, float("nan"), 1250], nan_ok=True)
    assert number.parse(column(["3.5"]), style)[0][0] == 3.5 and number.parse(column(["3.5 pieces"]), style)[1][0]
    mixed = column([f"{place} {'kg' if place % 2 else 'ml'}" for place in range(30)])
    assert infer(Table(pa.table({"x": mixed, "code": [f"{place}{'abcd'[place % 4]}" for place in range(30)]})), {}).kinds["x"] == "text"


@pytest.mark.parametrize("sign", [" ", ";", ", ", "|"])
def test_a_cell_of_many_numbers_is_a_series(sign: str) -> None:
    rows = [[place + step / 4 for step in range(8 + place % 3)] for place in range(6)]
    cells = column([sign.join(map(str, row)) for row in rows])
    assert infer(Table(pa.table({"x": cells})), {}).kinds["x"] == "series"
    assert series.parse(cells)[0][:, 0].tolist() == [value for row in rows for value in row]
    assert infer(Table(pa.table({"x": [sign.join(map(str, row[:3])) for row in rows]})), {}).kinds["x"] != "series"


@pytest.mark.parametrize("cells", [["5"] * 4, [None] * 4, [""]])
def test_constant_and_empty_numbers(cells: list[str | None]) -> None:
    state = number.KIND.fit(Cells(column(cells)), CONFIG)
    assert np.isfinite(number.KIND.encode(Cells(column([*cells, "1e300"])), state).values).all()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2020-01-02", "2020-01-02T00:00:00"),
        ("2020-1-2 03:04", "2020-01-02T03:04:00"),
        ("2020-01-02T03:04:05.123Z", "2020-01-02T03:04:05"),
        ("2020-01-02T03:04:05+08:00", "2020-01-01T19:04:05"),
        ("13/4/2020", "2020-04-13T00:00:00"),
        ("4/13/2020", "2020-04-13T00:00:00"),
        ("3.4.2020", "2020-04-03T00:00:00"),
        ("2020年3月4日", "2020-03-04T00:00:00"),
        ("２０２０年３月４日 １４：０５", "2020-03-04T14:05:00"),
        ("2020年3月4号14点", "2020-03-04T14:00:00"),
        ("2020年3月4日（星期三）下午 2时5分30秒", "2020-03-04T14:05:30"),
        ("20年3月4日", "2020-03-04T00:00:00"),
        ("2020年3月", "2020-03-01T00:00:00"),
        ("2020/3/4 周三 14:05", "2020-03-04T14:05:00"),
        ("2020-03-04 上午9:05", "2020-03-04T09:05:00"),
        ("2020年3月40日", None),
        ("20200304", "2020-03-04T00:00:00"),
        ("1583280000", "2020-03-04T00:00:00"),
        ("1583280000123", "2020-03-04T00:00:00"),
        ("13800000000", None),
        ("Jan 3, 2020", "2020-01-03T00:00:00"),
        ("3 January 2020 5:06 pm", "2020-01-03T17:06:00"),
        ("23. März 2021", "2021-03-23T00:00:00"),
        ("1er août 2021", "2021-08-01T00:00:00"),
        ("14 juillet 2021", "2021-07-14T00:00:00"),
        ("14 de julio de 2021", "2021-07-14T00:00:00"),
        ("Mo., 4. Okt. 2021", "2021-10-04T00:00:00"),
        ("2020 Jan", "2020-01-01T00:00:00"),
        ("Feb-2020", "2020-02-01T00:00:00"),
        ("Dec-11", "2011-12-01T00:00:00"),
        ("März 2021", "2021-03-01T00:00:00"),
        ("1998 Q4", "1998-10-01T00:00:00"),
        ("2020q2", "2020-04-01T00:00:00"),
        ("Q3/2020", "2020-07-01T00:00:00"),
        ("2024年第2季度", "2024-04-01T00:00:00"),
        ("2024年一季度", "2024-01-01T00:00:00"),
        ("2020-W53", "2020-12-28T00:00:00"),
        ("1991 W06", "1991-02-04T00:00:00"),
        ("2024-W01-3", "2024-01-03T00:00:00"),
        ("2020 Q5", None),
        ("2020-W54", None),
        ("Marketing 2020", None),
        ("20201", None),
        ("Mayer-12", None),
        ("3 Juiuary 2020", None),
        ("Jan-15", "2015-01-01T00:00:00"),
        ("December 2020", "2020-12-01T00:00:00"),
        ("2020-Mar", "2020-03-01T00:00:00"),
        ("Jan 15", None),
        ("Market-15", None),
        ("Marathon 2015", None),
        ("set-12", None),
        ("3 out 10", None),
        ("5 set 20", None),
        ("2024-05-16 12:30:00 CEST", "2024-05-16T10:30:00"),
        ("2024-05-16 12:30 PST", "2024-05-16T20:30:00"),
        ("1960-02-29", "1960-02-29T00:00:00"),
        ("2021-02-29", None),
        ("2020-13-01", None),
        ("soon", None),
    ],
)
def test_dates_are_read(cell: str, expected: str | None) -> None:
    found, wrong = date.parse(column([cell]))
    assert wrong.tolist() == [expected is None]
    assert np.isnat(found[0]) if expected is None else found[0] == np.datetime64(expected)


def test_counts_since_1970_are_moments_where_the_name_says_so() -> None:
    hours = 1_600_000_000 + 3600 * np.arange(30) + np.arange(30) ** 2
    cells = {"timestamp": hours, "ts": hours * 1000.0, "created_at": hours.astype(str), "time": hours * 10**9, "event_time": hours + 0.25}
    others = {
        "population": hours,
        "time_spent_ns": hours * 1000,
        "年收入": hours,
        "seconds": hours + 0.5,
        "runtime": np.arange(30) / 7,
        "daytime": np.arange(30) ** 5,
    }
    table = infer(Table(pa.table({**cells, **others, "late_date": np.where(hours % 2, np.nan, hours)})), {})
    assert {name for name, kind in table.kinds.items() if kind == "date"} == {*cells, "late_date"}
    for name in cells:
        found, wrong = date.parse(table.column(name))
        assert not wrong.any() and (found == hours.astype("datetime64[s]")).all(), name
    late, wrong = date.parse(pa.chunked_array([[float(hours[0]), None, 7.0, 20240305.0]]))
    assert late[0] == np.datetime64(int(hours[0]), "s") and np.isnat(late[1:3]).all() and wrong.tolist() == [False, False, True, False]
    assert late[3] == np.datetime64("2024-03-05")  # whole numbers beside a missing one come as floats


def test_amounts_of_two_lands_in_one_column_are_each_read_by_what_they_show() -> None:
    cells = ["42.036,05", "95,588.62", "5.781,38", "812,40", "1.234.567,8", "99.5", "1,234", "4.5,6"]
    found, bad = number.parse(pa.chunked_array([cells]))
    assert found[:-1].tolist() == [42036.05, 95588.62, 5781.38, 812.4, 1234567.8, 99.5, 1234.0] and bad.tolist() == [False] * 7 + [True]
    table = infer(Table(pa.table({"price": cells[:3] * 20})), {})
    assert table.kinds["price"] == "number"


def test_words_without_a_digit_are_tried_by_no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pattern is made anew for each column, and that takes longer than to look at a thousand cells."""
    seen, fields = list[int](), date._fields
    monkeypatch.setattr(date, "_fields", lambda text, pattern: seen.append(len(text)) or fields(text, pattern))
    column = pa.chunked_array([pa.array(["yes", "no", None, "May"] * 50)])
    assert np.isnat(date.parse(column, date.Style())[0]).all() and date.parse(column, date.Style())[1].sum() == 150 and not seen
    found, bad = date.parse(pa.chunked_array([pa.array(["yes", "3 May 2020", None, "2020-05-04"])]), date.Style())
    assert [str(one) for one in found[[1, 3]]] == ["2020-05-03T00:00:00", "2020-05-04T00:00:00"] and bad.tolist() == [
        True,
        False,
        False,
        False,
    ]
    assert set(seen) == {2, 1}


def test_dates_become_trend_and_season() -> None:
    cells = column(["2020-01-06", "2020-07-06", "2021-01-04", ""])
    state = date.KIND.fit(Cells(cells), CONFIG)
    block = date.KIND.encode(Cells(cells), state).values
    assert block.shape == (4, 7) == (4, *date.KIND.field(state).shape) and len(date.KIND.field(state).facts["bins"]) == 7
    assert block[0, 0] < block[1, 0] < block[2, 0] and block[:, -1].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(block[0, 4:6], [0, 1], atol=1e-6)  # a Monday
    np.testing.assert_allclose(block[:, 1], [5 / 372, 6 / 12 + 5 / 372, 3 / 372, 0], atol=1e-6)  # days of a month are told apart
    before = {name: value for name, value in state.items() if name != "year"}  # what a run of earlier versions keeps
    old = date.KIND.encode(Cells(cells), before).values
    assert old.shape == (4, 6) == (4, *date.KIND.field(before).shape) and np.array_equal(old[0, 1:3], [0, 1])
    typed = pa.chunked_array([pa.array(np.array(["2020-01-06"], "datetime64[ns]"))])
    np.testing.assert_allclose(date.KIND.encode(Cells(typed), state).values[0], block[0])


def test_kinds_are_inferred(tmp_path: Path) -> None:
    rows = 60
    Image.fromarray(load_sample_image("china.jpg")).save(tmp_path / "a.jpg")
    data = {
        "id": [str(row) for row in range(rows)],
        "when": [f"2020-01-{row % 28 + 1:02d}" for row in range(rows)],
        "birth_date": [f"202001{row % 28 + 1:02d}" for row in range(rows)],
        "amount": [str(20200100 + row) for row in range(rows)],
        "price": [f"${row},000" for row in range(rows)],
        "colour": ["red", "green", "blue"] * 20,
        "review": [f"a good meal number {row}" for row in range(rows)],
        "点评": [f"这家店真的很不错{row}" for row in range(rows)],
        "signal": ["[1, 2.5, null]"] * rows,
        "listed": [[1.0, 2.0]] * rows,
        "member": [True, False] * 30,
        "nothing": [None] * rows,
        "ticket": [f"AB{row:04d}" for row in range(rows)],
        "手机号": [str(13800000000 + row) for row in range(rows)],
        "photo": ["a.jpg"] * rows,
        "gone": ["missing.jpg"] * rows,
    }
    table = infer(Table(pa.table(data), root=tmp_path), {})
    expected = [
        "id",
        "date",
        "date",
        "number",
        "number",
        "category",
        "text",
        "text",
        "series",
        "series",
        "category",
        "category",
        "id",
        "id",
        "image",
        "category",
    ]
    assert [table.kinds[name] for name in table.names] == expected
    assert all(table.reasons[name] for name in table.names)
    assert infer(table, {"amount": "category"}).kinds["amount"] == "category"


def test_wrong_overrides_name_the_nearest() -> None:
    table = Table(pa.table({"colour": ["a"]}))
    with pytest.raises(ConfigError, match="'colour'"):
        infer(table, {"color": "text"})
    with pytest.raises(ConfigError, match="'image'"):
        infer(table, {"colour": "imaje"})


@pytest.mark.parametrize("cells", [[], ["x"], [None]])
def test_every_kind_of_cell_survives_tiny_tables(cells: list[str | None]) -> None:
    table = infer(Table(pa.table({"a": pa.array(cells, pa.large_string())})), {})
    kind = KINDS[table.kinds["a"]]
    state = kind.fit(Cells(table.column("a")), CONFIG)
    assert len(kind.encode(Cells(table.column("a")), state).values) == len(cells)


@pytest.mark.parametrize("separator", [", ", "|", ";", " / ", "、", " "])
def test_parts_of_lists_are_categories_too(separator: str) -> None:
    rng, genres = np.random.default_rng(0), ["drama", "comedy", "crime", "war", "western"]
    lists = [separator.join(rng.permutation(genres)[: rng.integers(1, 4)]) for _ in range(300)]
    cells = Cells(pa.chunked_array([pa.array([*lists, None, separator.join(["war", "opera"])])]), None)
    state = KINDS["category"].fit(cells, EncodeConfig())
    assert set(state["parts"]) == set(genres) and state["separator"] == (separator.strip() or "words")
    assert KINDS["category"].field(state).shape == (6,) and KINDS["category"].field(state).vocabulary[1:] == (3,) * 5
    found = KINDS["category"].encode(cells, json.loads(json.dumps(state))).values
    for row in (0, 7, 299):
        assert {part for part, there in zip(state["parts"], found[row, 1:], strict=True) if there == 2} == set(lists[row].split(separator))
    assert (found[300] == 0).all() and found[301, 0] == 0 and found[301, 1 + state["parts"].index("war")] == 2
    assert (found[301] == 2).sum() == 1  # an opera was not learned
    assert "lists of 5 parts such as " in (KINDS["category"].recognise("genre", cells) or "")
    written = Cells(pa.chunked_array([pa.array([json.dumps(one.split(separator)) for one in lists])]), None)
    assert set(KINDS["category"].fit(written, EncodeConfig())["parts"]) == set(genres)


@pytest.mark.parametrize(
    "values", [[f"{place}, Main Street" for place in range(60)], list("abcdefghijklmnopqrstuvwxyz"), ["red, blue", "green"] * 20]
)
def test_no_parts_where_cells_hold_no_lists(values: list[str]) -> None:
    assert "parts" not in KINDS["category"].fit(Cells(pa.chunked_array([pa.array(values * 5)]), None), EncodeConfig())


def test_categories_by_frequency_unseen_is_zero() -> None:
    kind = KINDS["category"]
    state = kind.fit(Cells(column(["b", "a", "b", "", None])), CONFIG)
    assert kind.encode(Cells(column(["a", "b", "new", "", None])), state).values.tolist() == [2, 1, 0, 0, 0]
    assert kind.field(state).vocabulary == (3,)
    coded = kind.fit(Cells(column(["1", "2", "1"])), CONFIG)
    floats = pa.chunked_array([pa.array([1.0, 2.0, None, 7.0])])
    assert kind.encode(Cells(floats), coded).values.tolist() == [1, 2, 0, 0]
    assert kind.encode(Cells(column(["1.0", "2.00", "x"])), coded).values.tolist() == [1, 2, 0]
    rare = kind.fit(Cells(column(["a"] * 60 + ["b"] * 60 + ["once"])), CONFIG)
    assert rare["values"] == ["a", "b"]


def test_a_category_is_known_however_its_letters_are_written() -> None:
    kind = KINDS["category"]
    state = kind.fit(Cells(column(["yes", "no", "yes", "Ålesund"])), CONFIG)
    asked = Cells(column(["Yes", "NO", "Ａ", "A\u030aLESUND", "ｙｅｓ", "yess", None]))
    assert kind.encode(asked, state).values.tolist() == [1, 2, 0, 3, 1, 0, 0]
    apart = kind.fit(Cells(column(["a", "A", "a", "B"])), CONFIG)
    assert kind.encode(Cells(column(["A", "b", "B", "a"])), apart).values.tolist() == [2, 0, 3, 1], "here the letters' size tells"


ENGLISH = [f"The quick brown fox number {row} jumps over the lazy dog's back, again & again." for row in range(400)]


@pytest.mark.parametrize("name", text.TOKENIZERS)
def test_tokenizers_learn_and_come_back(name: str) -> None:
    state = text.KIND.fit(Cells(column(ENGLISH)), EncodeConfig(tokenizer=name, vocabulary=400))
    state = json.loads(json.dumps(state))
    tokens = text.encode_text(state, [ENGLISH[7]])[0]
    assert tokens.min() >= 1 and tokens.max() < state["size"] == text.KIND.field(state).vocabulary[0] <= 400
    back = text.decode_text(state, [0, *tokens.tolist()])
    assert back == (ENGLISH[7] if name != "wordpiece" else back) and "quick brown fox" in back
    block = text.KIND.encode(Cells(column([ENGLISH[0], "", None, "<pad>☃"])), state)
    assert block.lengths is not None and block.lengths[1:3].tolist() == [1, 1] and (block.values > 0).all()


def test_chinese_is_read_by_characters() -> None:
    cells = column([f"这家酒店的服务真的很好，房间也干净，第{row}次来。" for row in range(2000)])
    state = text.KIND.fit(Cells(cells), CONFIG)
    assert state["tokenizer"] == "characters" and state["longest"] >= 20
    assert text.decode_text(state, text.encode_text(state, ["服务很好"])[0].tolist()) == "服务很好"
    assert text.KIND.fit(Cells(column(ENGLISH)), CONFIG)["tokenizer"] == "bpe"
    with pytest.raises(ConfigError, match="bpe"):
        text.KIND.fit(Cells(cells), EncodeConfig(tokenizer="bpee"))


def test_of_long_series_neighbours_are_averaged() -> None:
    draw = np.random.default_rng(0)
    rows = [draw.normal(size=length) for length in (5_000, 7, 4_501)]
    rows[0][:3] = np.nan
    cells = Cells(pa.chunked_array([pa.array([row.tolist() for row in rows])]))
    state = series.KIND.fit(cells, CONFIG)
    assert (state["every"], state["longest"], state["unlike"]) == (3, 1667, True)
    block = series.KIND.encode(cells, state)
    assert block.lengths is not None and block.lengths.tolist() == [1667, 3, 1501]
    raw = block.values[:, 0] * state["scale"][0] + state["centre"][0]
    assert raw[1] == pytest.approx(rows[0][3:6].mean(), abs=1e-5) and block.values[0, 0] == 0
    assert raw[1667] == pytest.approx(rows[1][:3].mean(), abs=1e-5) and raw[1669] == pytest.approx(rows[1][6], abs=1e-5)
    assert raw[-1] == pytest.approx(rows[2][4500], abs=1e-5)
    given = series.KIND.fit(cells, replace(CONFIG, longest_series=50))
    assert (given["every"], given["longest"]) == (1, 50)
    assert series.KIND.encode(cells, given).values[4, 0] * given["scale"][0] + given["centre"][0] == pytest.approx(rows[0][4], abs=1e-5)


def test_series_from_lists_and_json_alike() -> None:
    lists = pa.chunked_array([pa.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, None]], None, []])])
    written = column(["[[1, 2], [3, 4]]", "[[5, null]]", None, "[]"])
    state = series.KIND.fit(Cells(lists), CONFIG)
    one, two = series.KIND.encode(Cells(lists), state), series.KIND.encode(Cells(written), state)
    assert one.lengths is not None and one.lengths.tolist() == [2, 1, 1, 1] and one.values.shape == (5, 2)
    np.testing.assert_array_equal(one.values, two.values)
    assert one.values[2, 1] == 0 and (one.values[3:] == 0).all()
    flat = series.KIND.fit(Cells(column(["[1,2,3,4]", "[5]"])), EncodeConfig(longest_series=2))
    assert series.KIND.encode(Cells(column(["[1,2,3,4]", "[5]"])), flat).lengths.tolist() == [2, 1]
    for wrong in ("[1, 2", "[[1,2],[3]]", '["a"]', "7"):
        with pytest.raises(DataError, match="row 2"):
            series.KIND.encode(Cells(column(["[[1, 2]]", wrong])), state)


def test_pictures_of_every_mode() -> None:
    photo = Image.fromarray(load_sample_image("flower.jpg")).resize((96, 64))
    clear = photo.convert("RGBA")
    clear.putalpha(0)
    deep = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    turned = photo.getexif()
    turned[0x0112] = 6
    cells = [
        saved(photo, "PNG"), saved(photo, "JPEG", exif=turned), saved(photo.convert("L"), "PNG"), saved(photo.convert("P"), "GIF"),
        saved(clear, "PNG"), saved(photo.convert("CMYK"), "JPEG"), saved(deep, "PNG"),
        saved(photo.convert("1"), "BMP"), saved(photo, "WEBP"),
    ]  # fmt: skip
    state = json.loads(json.dumps(image.KIND.fit(files(cells), CONFIG)))
    pixels = image.KIND.encode(files(cells), state).values
    assert pixels.shape == (9, 3, 64, 64) and pixels.dtype == np.uint8
    assert (pixels[4] == 255).all()
    middle = np.asarray(photo.convert("L"), float)[:, 16:80]
    assert np.abs(pixels[6, 0] - middle).mean() < 1 and np.abs(pixels[2, 0] - middle).mean() < 1
    upright = np.asarray(photo.transpose(Image.Transpose.ROTATE_270))[16:80]
    assert np.abs(pixels[1].transpose(1, 2, 0).astype(float) - upright).mean() < 12
    field = image.KIND.field(state)
    assert field.shape == (3, 64, 64) and len(field.facts["mean"]) == 3


def test_small_grey_pictures_keep_their_size() -> None:
    grey = Image.fromarray(np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8))
    cells = files([saved(grey, "PNG"), saved(grey.convert("RGB"), "PNG")])
    state = image.KIND.fit(cells, CONFIG)
    assert state["size"] == [1, 28, 28] and state["fit"] == "exact"
    np.testing.assert_array_equal(image.KIND.encode(cells, state).values[1, 0], np.asarray(grey))
    wide = files([saved(Image.new("RGB", (400, 100), "red"), "PNG")])
    assert image.KIND.fit(wide, CONFIG)["fit"] == "letterbox"
    assert image.KIND.fit(wide, EncodeConfig(picture_size=32))["size"] == [3, 32, 32]


def test_pages_of_a_stack_are_one_picture() -> None:
    """A microscope's TIFF: a thing that only the third of five pages shows, three channels; pages of several sizes are a document."""
    pages = [Image.fromarray(np.full((16, 16), 900 * (page == 2), np.uint16)) for page in range(5)]

    def shown(*pages: Image.Image) -> np.ndarray:
        cells = files([saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])])
        return image.KIND.encode(cells, image.KIND.fit(cells, CONFIG)).values[0].reshape(-1, 256).mean(axis=1).round()

    assert shown(*pages).tolist() == [224] and shown(*pages[:3]).tolist() == [0, 0, 224]
    assert shown(pages[2], pages[2].resize((8, 8))).tolist() == [224] and shown(pages[1], pages[2]).tolist() == [0, 224, 0]


def tiff(values: np.ndarray, photometric: int, form: int = 1, planes: int = 1) -> bytes:
    """A TIFF as Pillow writes none: (H, W), (H, W, C), or (C, H, W) in planes; `form` 1 for whole numbers, 3 for fractions."""
    shape = values.shape if values.ndim == 3 else (*values.shape, 1)
    channels, height, width = shape if planes == 2 else (shape[2], *shape[:2])
    strips, body = channels if planes == 2 else 1, values.tobytes()
    starts, sizes = [1000 + place * len(body) // strips for place in range(strips)], [len(body) // strips] * strips
    tags = {256: [width], 257: [height], 258: [8 * values.itemsize] * channels, 259: [1], 262: [photometric], 273: starts, 277: [channels],
            278: [height], 279: sizes, 284: [planes], 339: [form] * channels}  # fmt: skip
    entries, beside = b"", b""
    for tag, told in tags.items():
        packed = struct.pack(f"<{len(told)}H", *told)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", 500 + len(beside))
        beside += packed if len(packed) > 4 else b""
        entries += struct.pack("<HHI", tag, 3, len(told)) + place
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return (head.ljust(500, b"\0") + beside).ljust(1000, b"\0") + body


def test_tiffs_are_read_as_they_look_or_refused(tmp_path: Path) -> None:
    """White as 0 in 16 bits; one that lies on its side, whose header tells the size of what is looked at; halves of values in planes."""
    dark = np.zeros((8, 16), np.uint16)
    dark[:, :8] = 60000
    cells = files([tiff(65535 - dark, 0)])
    row_W = image.KIND.encode(cells, image.KIND.fit(cells, EncodeConfig(picture_size=8))).values[0, 0, 4]
    assert row_W[0] > 200 and row_W[-1] == 0
    Image.fromarray(dark.astype(np.uint8)).save(tmp_path / "side.tif", tiffinfo={image.ORIENTATION: 6})
    assert image.header(tmp_path / "side.tif") == ((16, 8), 6) and image.upright(tmp_path / "side.tif") == (8, 16)
    turned = np.asarray(image.shown(image.open_picture(tmp_path / "side.tif")))
    assert (turned == np.rot90(dark.astype(np.uint8), -1)).all()  # of a file that Pillow would map, too
    with image.open_picture(tiff(np.stack([dark, dark, dark], 2), 2)) as opened:
        assert np.asarray(opened)[0, 0].tolist() == [233, 233, 233]
    for body in (tiff(np.stack([dark, dark, dark]), 2, planes=2), tiff(np.zeros((8, 8, 3), np.float32), 2, form=3)):
        with pytest.raises(ValueError, match="TIFF of channels that are not read; make it PNG"):
            image.open_picture(body)


def test_deep_pictures_by_themselves_are_shown_in_their_own_light(tmp_path: Path) -> None:
    """12 bits, fractions, values below 0: in pages, drawn boxes and composed scenes neither black nor white."""
    slope = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for place, values in enumerate(((slope * 4095).astype(np.uint16), slope, slope * 2000 - 1000)):
        Image.fromarray(values).save(tmp_path / f"{place}.tif")
        with image.open_picture(tmp_path / f"{place}.tif") as opened:
            assert 120 < np.asarray(image.shown(opened)).mean() < 136
        source = thumbnail((tmp_path / f"{place}.tif").read_bytes())
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as small:
            assert 120 < np.asarray(small).mean() < 136


def bomb() -> bytes:
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    data = bytearray(saved(Image.new("L", (8, 8)), "PNG"))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = __import__("zlib").crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_broken_pictures_are_listed_and_refused() -> None:
    good = saved(Image.fromarray(load_sample_image("china.jpg")), "JPEG")
    cells = files([good, good[: len(good) // 2], b"", b"no picture", bomb(), None])
    assert [row for row, _ in image.KIND.check(cells)] == [1, 2, 3, 4, 5]
    state = image.KIND.fit(cells, CONFIG)
    for row in range(1, 6):
        with pytest.raises(DataError, match="row 1"):
            image.KIND.encode(Cells(pa.chunked_array([cells.data.take([0, row]).combine_chunks()])), state)
    with pytest.raises(DataError, match="none of 1"):
        image.KIND.fit(files([b"no picture"]), CONFIG)


def sound(seconds: float, rate: int, channels: int = 1, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    time = np.arange(int(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(file, np.stack([wave] * channels, axis=1), rate, format=form)
    return file.getvalue()


def test_sounds_of_many_rates() -> None:
    cells = files([sound(1, 8000), sound(0.5, 44100, 2, "FLAC"), sound(1.5, 16000, 1, "OGG")])
    state = json.loads(json.dumps(audio.KIND.fit(cells, CONFIG)))
    block = audio.KIND.encode(cells, state)
    assert state == {"rate": 16000, "longest": 24000} and block.values.dtype == np.int16
    assert block.lengths is not None and np.abs(block.lengths - [16000, 8000, 24000]).max() <= 2
    first = block.values[: block.lengths[0]].astype(float)
    assert abs(np.argmax(np.abs(np.fft.rfft(first))) - 440) <= 1 and 15000 < np.abs(first).max() < 18000
    short = audio.KIND.fit(cells, EncodeConfig(longest_sound=0.25))
    assert audio.KIND.encode(cells, short).lengths.tolist() == [4000] * 3


def test_channels_that_cancel_one_another_out_are_heard() -> None:
    """One of two wired the wrong way round: their mean is silence. One that is silent halves the other, as any mean does."""
    wave = 0.5 * np.sin(np.arange(24000) / 7)
    for other, peak in ((-wave, 0.5), (0 * wave, 0.25), (wave, 0.5)):
        file = io.BytesIO()
        soundfile.write(file, np.stack([wave, other], 1), 8000, format="WAV")
        found = [audio.decode(file.getvalue(), 8000, 24000), *(piece for _, piece in audio.pieces(file.getvalue(), 8000, 9000))]
        assert len(found) > 2 and all(np.abs(one.astype(int)).max() == pytest.approx(32767 * peak, rel=0.01) for one in found)


def test_broken_sounds_are_listed_and_refused(tmp_path: Path) -> None:
    good = sound(1, 8000)
    (tmp_path / "good.wav").write_bytes(good)
    (tmp_path / "bad.wav").write_bytes(b"RIFF nothing")
    cells = Cells(column(["good.wav", "bad.wav", "gone.wav"]), tmp_path)
    found = audio.KIND.check(cells)
    assert [row for row, _ in found] == [1, 2] and "bad.wav" in found[0][1]
    with pytest.raises(DataError, match=r"row 2 \(bad.wav\)"):
        audio.KIND.encode(cells, audio.KIND.fit(cells, CONFIG))
    with pytest.raises(DataError, match="bytes"):
        audio.KIND.encode(Cells(column(["good.wav"])), {"rate": 16000, "longest": 100})


@pytest.mark.parametrize("size", [(224, 224), (96, 96), (100, 75), (75, 100)])
def test_pictures_of_every_size_are_brought_to_one(size: tuple[int, int]) -> None:
    """253 / 224 * 224 is more than 253 in floating point: the cut must not reach beyond the picture."""
    for side in range(1, 500, 3):
        for shape in ((side, 469), (469, side), (side, side)):
            for how in ("crop", "letterbox"):
                assert image.resize(Image.new("L", shape), size, how, 0).size == size


def test_words_are_counted_where_spaces_part_them() -> None:
    """Chinese has none between words: nothing is said of 1.3 words a cell."""
    texts = {"zh": ["配置还行了，最满意的是京东的工作效率前一天买的第二天就到了！"] * 3, "en": ["I like this top a lot, it fits"] * 3}
    said = {name: KINDS["text"].recognise("text", Cells(pa.chunked_array([cells]))) for name, cells in texts.items()}
    assert "words" not in str(said["zh"]).replace("between words", "") and "8.0 words" in str(said["en"])


def test_byte_level_pieces_of_chinese_are_whole_characters(tmp_path: Path) -> None:
    """However short the text: with one token for every 500 characters most would be cut into bytes."""
    poems, novel = (samples.write(name, tmp_path).read_text(encoding="utf-8")[:50_000] for name in ("poems", "novel"))
    chinese, english = (text.learn(pa.chunked_array([[one]]), EncodeConfig(tokenizer="bpe")) for one in (poems, novel))
    assert 1536 <= chinese["size"] <= 3072 and english["size"] == 512
    assert len(text.encode_text(chinese, [poems])[0]) < 1.15 * len(poems)


def test_a_tokenizer_without_its_unknown_token_is_refused() -> None:
    """It would end at the first word that is new to it, after hours of training."""
    with pytest.raises(ConfigError, match=r"'\[UNK\]' .* is not in its vocabulary"):
        text.given(Tokenizer(models.WordLevel({"a": 0}, "[UNK]")).to_str())
    with pytest.raises(ConfigError, match="'unk_id'"):
        text.given(Tokenizer(models.Unigram([("a", 0.0)], None, False)).to_str())


def test_bytes_are_told_from_letters_however_a_tokenizer_is_written() -> None:
    made = Tokenizer(models.BPE({"Ġ": 0, "é": 1}, []))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()])  # as Llama 3 and Qwen have it
    for indented in (False, True):
        assert list(text.bytes_of(text.given(made.to_str(pretty=indented)))) == [1, 1]


@pytest.mark.parametrize(
    ("cells", "form", "first", "odd"),
    [
        ([f"{100 + place}/{60 + place % 30}" for place in range(60)], "…/…", [100, 60], "100-60"),
        ([f"({41 + place / 100:.2f}, -{87 + place / 50:.2f})" for place in range(60)], "(…,…)", [41, -87], "(41)"),
        ([f"{place + 1} x {2 * place + 3} cm" for place in range(60)], "…x…cm", [1, 3], "1 x 3 in"),
        ([f"{place},5 x {2 * place} cm" for place in range(60)], "…x…cm", [0.5, 0], "x"),
        ([f"{place}–{place + 9}" for place in range(60)], "…–…", [0, 9], "0"),
        ([f"{place % 7}-{place % 5}" for place in range(60)], "…-…", [0, 0], "0:0"),
        ([f"${place + 10}K-${place + 20}K (Glassdoor est.)" for place in range(60)], "$…K-$…K(Glassdoorest.)", [10, 20], "$10K"),
        ([f"{place % 5 + 4}'{place % 12}\"" for place in range(60)], "…'…\"", [4, 0], "180"),
        ([f"1:{place + 50}" for place in range(60)], "…:…", [1, 50], "2"),
        ([f"{place}.5*{place}.2cm" for place in range(60)], "…*…cm", [0.5, 0.2], "2"),
        ([f"1,{place:03} - 2,{place:03}" for place in range(60)], "…-…", [1000, 2000], "1"),
    ],
)
def test_several_numbers_in_a_cell(cells: list[str], form: str, first: list[float], odd: str) -> None:
    given = Cells(column([*cells, None, odd]))
    assert form in (numbers.KIND.recognise("a", given) or "")
    values, bad = numbers.parse(given.data)
    assert values[0].tolist() == first and np.isnan(values[-2:]).all() and bad.nonzero()[0].tolist() == [len(cells) + 1]
    state = json.loads(json.dumps(numbers.KIND.fit(given, CONFIG)))
    block = numbers.KIND.encode(given, state).values
    assert block.shape == (62, 3) and block[-2:].tolist() == [[0, 0, 1]] * 2 and numbers.KIND.field(state).shape == (3,)
    alone = numbers.KIND.encode(Cells(column([f" {cells[7]} "])), state).values  # as it is served: the rule is the run's
    np.testing.assert_array_equal(alone[0], block[7])
    assert form in numbers.Style(*state["style"]).told()


@pytest.mark.parametrize(
    "cells",
    [
        [f"{200 + place * 7 % 700}-{900 - place}-{1000 + place * 37}" for place in range(60)],  # a telephone
        [f"{50 + place * 17}-{10 + place % 80}-{place % 10}" for place in range(60)],  # of a substance
        [f"2023-{1000 + place * 13}" for place in range(60)],
        [f"{10000 + place * 177}-{9000 - place * 13}" for place in range(60)],
        [f"192.168.{place}.{place * 3}" for place in range(60)],
        [f"1.{place}.{place % 4}" for place in range(60)],
        [f"A{place}-{place * 7}" for place in range(60)],
        [f"0{place}/{place * 7}" for place in range(60)],
        [f"{place} + {place * 7}" for place in range(60)],
        [f"{place % 4}-{place % 3}" for place in range(60)],  # few values
        [f"{place} red, {place + 2} blue" if place % 2 else f"{place} of them" for place in range(60)],
        [f"1 {place:03}" for place in range(60)],
        [f"+49 {30 + place * 7} {10000 + place * 977}" for place in range(60)],
    ],
)
def test_codes_and_sentences_are_no_numbers(cells: list[str]) -> None:
    assert numbers.KIND.recognise("a", Cells(column(cells))) is None


def test_units_of_one_dimension_are_one_scale() -> None:
    for cells, values in (
        (["5 kg", "300 g", "1.2 kg", "2 lb"], [5, 0.3, 1.2, 0.90718474]),
        (["10 km", "6 mi", "3 km"], [10, 9.656064, 3]),
        (["3 weeks", "1 week", "2 days", "1 year", "5 weeks"], [3, 1, 2 / 7, 365.25 / 7, 5]),
        (["2天", "1周", "3天"], [2, 7, 3]),
        (["1.5 GB", "512 MB", "2 GB"], [1.5, 0.5, 2]),
    ):
        found, bad = number.parse(column(cells))
        assert not bad.any()
        np.testing.assert_allclose(found, values)
    assert "in several units (kg, g), read as kg" in (number.KIND.recognise("weight", Cells(column(["5 kg", "300 g", "7 kg"]))) or "")
    assert number.KIND.recognise("weight", Cells(column(["5 kg", "300 ml", "7 kg", "2 ml"]))) is None
    style = number.style_of(column(["5 kg", "300 g", "7 kg"]))
    assert number.parse(column(["700 g"]), style)[0][0] == pytest.approx(0.7)  # one row that is served


def test_zeros_before_numbers_make_codes() -> None:
    assert infer(Table(pa.table({"zip": ["02134", "10001", "94110", "01002"] * 9})), {}).kinds == {"zip": "category"}
    assert infer(Table(pa.table({"area": ["010", "021", "0571", "0755"] * 9})), {}).kinds == {"area": "category"}
    for cells in (["05", "11", "12", "01"] * 9, ["0005", "0011", "0712", "0001"] * 9, [f"{place * 331:05}" for place in range(90)]):
        assert infer(Table(pa.table({"a": cells})), {}).kinds == {"a": "number"}


def test_phrases_are_told_by_their_words() -> None:
    rng = np.random.default_rng(0)
    stuffs, grounds = ["oil", "gouache", "pencil", "ink", "chalk"], ["canvas", "paper", "board"]

    def phrase(words: list[str]) -> str:
        first, *rest = rng.permutation(words)[: rng.integers(1, 5)]
        return f"{', '.join([first, *rest[:-1]])}{f' and {rest[-1]}' if rest else ''} on {rng.choice(grounds)}".capitalize()

    cells = Cells(column([phrase(stuffs) for _ in range(900)]))
    assert infer(Table(pa.table({"medium": cells.data})), {}).kinds == {"medium": "category"}
    state = KINDS["category"].fit(cells, CONFIG)
    assert {*stuffs, *grounds, "and"} <= {*state["parts"]} and state["separator"] == "words"
    of = np.ravel(KINDS["category"].encode(Cells(column(["Pencil, oil, chalk and ink on board"])), state).values)
    assert {part for part, there in zip(state["parts"], of[1:], strict=True) if there == 2} == {*stuffs, "board", "and"} - {"gouache"}
    many = column([phrase([f"{stuff}{place}" for stuff in stuffs for place in range(20)]) for _ in range(900)] + ["Oil1 on canvas"] * 900)
    assert infer(Table(pa.table({"medium": many})), {}).kinds == {"medium": "text"}  # more words than parts are made of
    names = column([f"{rng.choice(['Ann', 'Bo', 'Cy'])} {chr(65 + place % 26)}. Li{place // 3}" for place in range(300)] * 3)
    assert infer(Table(pa.table({"name": names})), {}).kinds == {"name": "category"}


def test_eight_digits_are_days_whatever_they_are_called() -> None:
    days = [f"2024{1 + place % 12:02}{1 + place * 7 % 28:02}" for place in range(60)]
    assert infer(Table(pa.table({"posting": days, "due": list(map(int, days))})), {}).kinds == {"posting": "date", "due": "date"}
    amounts = [str(20_000_000 + place * 7919) for place in range(60)]
    assert infer(Table(pa.table({"a": amounts, "b": list(map(int, amounts))})), {}).kinds == {"a": "number", "b": "number"}


def test_sentences_telephones_powers_and_times_of_day() -> None:
    random = np.random.default_rng(0)
    drawn = [tuple(int(value) for value in random.integers(200, 999, 3)) for _ in range(300)]
    told = {
        "text": ([f"Ann, {a} years of age, moved to town {b}" for a, b, _ in drawn], [f"What is {a} plus {b}?" for a, b, _ in drawn],
                 [f"({a}) {b}-{c}0" for a, b, c in drawn], [f"({a} and {b} are friends of mine)" for a, b, _ in drawn]),
        "numbers": ([f"{a} x {b} cm" for a, b, _ in drawn], [f"{a} bed {b} bath {c} sqft" for a, b, c in drawn],
                    [f"{a / 7:.3e} {b / 9e4:.3e}" for a, b, _ in drawn], [f"{a}岁{b}个月" for a, b, _ in drawn],
                    [f"T: {a / 9:.1f} °C, H: {b} %" for a, b, _ in drawn]),
        "number": ([f"{a % 24:02d}{b % 60:02d}" for a, b, _ in drawn] * 4,),
    }  # fmt: skip
    for kind, columns in told.items():
        for cells in columns:
            assert infer(Table(pa.table({"x": pa.array(cells, pa.large_string())})), {}).kinds["x"] == kind, cells[0]
    powers = numbers.parse(pa.chunked_array([pa.array(told["numbers"][2], pa.large_string())]))[0]
    assert np.allclose(powers[:, 1], [b / 9e4 for _, b, _ in drawn], rtol=1e-3)


@pytest.mark.parametrize("written", [True, False])
def test_lists_of_two_numbers_are_a_place(written: bool) -> None:
    places = np.round(np.random.default_rng(0).normal((41.8, -87.6), 0.1, (60, 2)), 3).tolist()
    cells = pa.array([json.dumps(place) for place in places]) if written else pa.array(places)
    unlike = pa.array([place[: 1 + row % 2] for row, place in enumerate(places)])
    longer = pa.array(np.random.default_rng(0).normal(size=(60, 8)).tolist())
    table = infer(Table(pa.table({"place": cells, "unlike": unlike, "longer": longer})), {})
    assert dict(table.kinds) == {"place": "numbers", "unlike": "series", "longer": "series"}
    given = Cells(table.column("place"), None)
    block = numbers.KIND.encode(given, json.loads(json.dumps(numbers.KIND.fit(given, CONFIG)))).values
    assert block.shape == (60, 2) and np.abs(block.mean(axis=0)).max() < 1e-4
    values, bad = numbers.parse(column(["[]", "[41.7, -87.5]"]), numbers.style_of(given.data))
    assert np.isnan(values[0]).all() and values[1].tolist() == [41.7, -87.5] and not bad.any()  # an empty list is an empty cell


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["12 1/2", "13", "7/8", "1-3/4", "12½", "-2 1/4"], [12.5, 13, 0.875, 1.75, 12.5, -2.25]),
        (["$10,100 a year", "$9,000 a year", "$120 a year"], [10100, 9000, 120]),
        (["$20 an hour", "$41,600 a year", "$19.50 an hour"], [20, 20, 19.5]),
        (["€3.50/kg", "€ 12/kg", "€0.80/kg"], [3.5, 12, 0.8]),
        (["$5M", "$1.2M", "$30M"], [5e6, 1.2e6, 3e7]),
    ],
)
def test_fractions_and_prices_for_something_are_numbers(cells: list[str], values: list[float]) -> None:
    assert infer(Table(pa.table({"x": column(cells * 9)})), {}).kinds == {"x": "number"}
    found, bad = number.parse(column(cells))
    assert not bad.any() and found.tolist() == pytest.approx(values)


def test_months_before_years_are_dates_where_zeros_tell() -> None:
    months = [f"{1 + n % 12:02}" for n in range(60)]
    cells = {"a": [f"0{m}.2024" for m in months], "b": [f"{m}/2023" for m in months], "month": [f"{int(m)}/2023" for m in months]}
    others = {"c": [f"{int(m)}.2024" for m in months], "d": [f"1/{1900 + n}" for n in range(60)], "e": [f"1{m}.2024" for m in months]}
    table = infer(Table(pa.table({name: column(one) for name, one in {**cells, **others}.items()})), {})
    assert {name for name, kind in table.kinds.items() if kind == "date"} == {*cells}
    for name in cells:
        found, bad = date.parse(table.column(name))
        assert not bad.any() and found[2].astype(str)[5:10] == "03-01", name
