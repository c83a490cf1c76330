"""What a scorecard says of more time and more data."""

import dataclasses

import pytest

from duomo.core.recipe import DataConfig
from duomo.data import sources
from duomo.data.split import split
from duomo.evaluate.progress import sentences


def card(values: list[float], **data: object) -> dict:
    history = [{"step": 10 * place, "loss": 1.0, "valid": {"f1": value}} for place, value in enumerate(values)]
    recipe = {"data": dataclasses.asdict(DataConfig(**data))}
    return {"metric": {"name": "f1", "higher_is_better": True}, "history": history, "facts": {"recipe": recipe}}


@pytest.mark.parametrize(("values", "said"), [
    ([0.1, 0.3, 0.4, 0.5, 0.6, 0.7], "from 0.400 to 0.700"),
    ([0.1, 0.3, 0.7, 0.6, 0.6, 0.5], "best (0.700) at step 20 of 50"),
    ([0.1, 0.5, 0.7, 0.7, 0.7, 0.705], "hardly anything"),
])  # fmt: skip
def test_time(values: list[float], said: str) -> None:
    time, data = sentences(card(values))
    assert said in time and "--valid-share 0.5," in data
    lower = card([1 - value for value in values])
    lower["metric"]["higher_is_better"] = False
    assert (sentences(lower)[0].split("(")[0] == time.split("(")[0]) == ("from" not in said)


def test_data() -> None:
    assert sentences(card([0.1, 0.2, 0.3])) == []
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert "--valid-share 0.57," in sentences(card(values, test="test.csv", valid_share=0.15))[1]
    assert len(sentences(card(values, valid="valid.csv", test="test.csv"))) == len(sentences(card(values, split="time"))) == 1


def test_half_of_the_data_is_judged_on_the_same_test() -> None:
    table = sources.read({"text": [f"row {number}" for number in range(400)], "label": ["a", "b"] * 200})
    whole, half = (split(table, DataConfig(valid_share=share), 0, ["label"]) for share in (0.15, 0.5))
    assert whole.test.tolist() == half.test.tolist() and len(half.train) == pytest.approx(len(whole.train) / 2, rel=0.15)


def test_time_is_told_by_what_chose_the_checkpoint() -> None:
    """A metric that only jumps while the loss falls says nothing of it."""
    told = card([0.0, 0.15, 0.08, 0.06, 0.06, 0.06]) | {"chosen_by": {"name": "loss", "higher_is_better": False}}
    told["history"] = [point | {"loss": 7 - place} for place, point in enumerate(told["history"])]
    assert "loss on validation went from 5.000 to 2.000" in sentences(told)[0]
