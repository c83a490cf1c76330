"""What stands beside an answer in "Try it": what it rests on, and the training rows that are most like it."""

from pathlib import Path

import numpy as np
import pytest

import duomo
from duomo.core.errors import DataError
from duomo.core.table import Table
from duomo.studio import beside
from duomo.studio.trying import Trying


def first(run) -> Table:
    table, _ = run.golden()
    return table.take(np.arange(1))


def test_a_cell_weighs_what_the_answer_loses_without_it(runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "LEAST", 0.0)
    run = runs("clinic")
    row = first(run)
    found = beside.explanation(run, row)
    cells = row.data.to_pylist()[0]
    label = run.predict([cells])[0]["prediction"]
    whole = run.predict([cells])[0]["probabilities"][label]
    alone = {name: whole - run.predict([cells | {name: None}])[0]["probabilities"][label] for name in run.facts["features"]}
    assert found is not None and found["parts"], found
    for part in found["parts"]:
        assert part["change"] == pytest.approx(alone[part["part"]], abs=2e-4)
    assert abs(found["parts"][0]["change"]) == pytest.approx(max(map(abs, alone.values())), abs=2e-4)


def test_parts_of_a_text_keep_their_combining_marks() -> None:
    assert beside.PART.findall("हिन्दी में l'e\u0301te\u0301, 我们 กินน้ำ") == [
        "हिन्दी",
        "में",
        "l'e\u0301te\u0301",
        "我",
        "们",
        *("กิ", "น", "น้", "ำ"),
    ]


def test_the_nearest_were_learned_from(runs) -> None:
    run = runs("clinic")
    row = first(run)
    found = beside.neighbours(run, row)
    assert found is not None and len(found) == beside.NEAREST
    assert [one["distance"] for one in found] == sorted(one["distance"] for one in found)
    assert found[0]["cells"][0]["text"] != str(row.column(row.names[0])[0].as_py()), "a row of the test was not learned from"
    assert all([cell["name"] for cell in one["cells"]][-1] == "diagnosis" for one in found)
    index = beside._INDEXES[run]
    assert len(index.table) <= run.facts["data"]["rows"]["train"]
    assert float((index.features_ND @ index.of(row)[0]).max()) == pytest.approx(1 - found[0]["distance"], abs=1e-3)


def test_rows_are_not_called_alike_by_some_of_their_columns(tmp_path: Path) -> None:
    """A model of several members may have a last layer that sees the cells and not the text: nothing is said then."""
    said = [f"{'bad' if n % 3 else 'fine'} thing {n},{n % 7},{'abc'[n % 3]},{'no' if n % 3 else 'yes'}" for n in range(90)]
    (tmp_path / "things.csv").write_text("\n".join(["text,price,city,label", *said]) + "\n")
    settings = {"data": {"kind": {"text": "text"}}, "train": {"steps": 4, "exact": True}}
    run = duomo.train(str(tmp_path / "things.csv"), settings, target="label", out=tmp_path / "run", model="widetext")
    assert beside.neighbours(run, first(run)) is None
    assert beside._INDEXES[run] is None


def test_what_was_never_learned_from_is_told(tmp_path: Path) -> None:
    """A number far outside of the training rows' and a category that they lack; what is near, or as it was written, is not."""
    said = [f'{n % 50},{"ab"[n % 2]},"{n % 9},5",{n % 50 * 3 + n % 2}' for n in range(150)]
    (tmp_path / "things.csv").write_text("\n".join(["size,city,weight,price", *said]) + "\n")
    run = duomo.train(
        str(tmp_path / "things.csv"), {"train": {"steps": 4, "exact": True}}, target="price", out=tmp_path / "run", model="mlp"
    )
    row = {"size": "20", "city": "a", "weight": "3,5"}
    cells = {"plain": {}, "near": {"size": "52"}, "empty": {"size": None, "city": ""}, "far": {"size": "-400"}}
    cells["both"] = {"size": "9e9", "city": "z"}
    asked = {name: Trying().answer(run.path, row | given)["strange"] for name, given in cells.items()}
    assert asked["plain"] is asked["near"] is asked["empty"] is None
    assert len(asked["far"]) == 1 and "-400 of 'size' lies far outside" in asked["far"][0] and "(0 to 49)" in asked["far"][0]
    assert len(asked["both"]) == 2 and "'z' of 'city' is new" in asked["both"][1]


def test_a_text_that_is_not_read_whole_is_told(runs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = dict.fromkeys(runs("clinic").facts["features"], "15")
    monkeypatch.setattr("duomo.core.contract.Task.too_long", lambda task, table: np.ones(len(table), bool))
    assert "only a part of it counts" in Trying().answer(runs("clinic").path, asked)["strange"][0]


def test_what_is_no_number_is_not_answered(runs) -> None:
    asked = dict.fromkeys(runs("clinic").facts["features"], "1.5")
    assert Trying().answer(runs("clinic").path, asked)["answer"]["prediction"] in ("benign", "malignant")
    with pytest.raises(DataError, match="'much' of 'mean_area'"):
        Trying().answer(runs("clinic").path, asked | {"mean_area": "much"})


def test_pictures_are_told_by_fields_and_writers_say_nothing(runs, monkeypatch: pytest.MonkeyPatch) -> None:
    digits, poems = runs("digits"), runs("poems")
    monkeypatch.setattr(beside, "LEAST", 0.0)
    found = beside.explanation(digits, first(digits))
    assert found is not None and len(found["parts"]) == beside.SHOWN
    assert all(part["part"].startswith("field ") for part in found["parts"])
    assert beside.explanation(poems, first(poems)) is None and beside.neighbours(poems, first(poems)) is None
