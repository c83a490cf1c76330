"""fill: what is hidden, that it is the same gaps for all, and that a text is learnt and filled."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from duomo.core.errors import DataError
from duomo.core.find import make_task
from duomo.core.kinds import text as text_kind
from duomo.core.table import Table
from duomo.tasks.fill.baselines import Neighbours


def table() -> Table:
    return Table(pa.table({"text": [load_breast_cancer().DESCR[:6000]]}), {"text": "text"})


def fitted(**options):
    task = make_task("fill", {"encode": {"longest_text": 32}, **options})
    task.fit(table())
    return task


def test_fifteen_percent_eighty_ten_ten():
    task = fitted(hidden=0.15)
    examples = task.encode(table(), target=True)
    column, rows = examples.columns["tokens"], torch.arange(len(examples)).repeat(200)
    batch = column.gather("tokens", rows, torch.Generator().manual_seed(1))
    wanted, same = batch["tokens.wanted"], batch["tokens"] == batch["target"]
    masked = batch["tokens"] == column.hiding.mask
    assert wanted.float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert same[~wanted].all()
    assert masked[wanted].float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert same[wanted].float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert not column.hiding.fixed_V[batch["target"][wanted]].any()
    again = column.gather("tokens", rows, torch.Generator().manual_seed(1))
    other = column.gather("tokens", rows, torch.Generator().manual_seed(2))
    assert torch.equal(again["tokens"], batch["tokens"]) and not torch.equal(other["tokens"], batch["tokens"])


def test_judging_asks_the_same_gaps_one_by_one_and_together():
    examples = fitted().encode(table(), target=True)
    whole = examples.batch(np.arange(len(examples)))
    for row in range(len(examples)):
        one = examples.batch([row])
        assert all(torch.equal(one[name][0], whole[name][row]) for name in one)
    assert (whole["tokens"][whole["tokens.wanted"]] == 1).all() and whole["tokens.wanted"].any(1).all()


def test_whole_words_are_hidden_as_a_whole():
    task = fitted(whole_words=True)
    column = task.encode(table(), target=True).columns["tokens"]
    batch = column.gather("tokens", torch.arange(len(column)), torch.Generator().manual_seed(1))
    word = column.hiding.begins_V[batch["target"]].long().cumsum(1)
    fixed = column.hiding.fixed_V[batch["target"]]
    some = 0
    for row in range(len(column)):
        for number in word[row].unique():
            inside = (word[row] == number) & ~fixed[row]
            hidden = batch["tokens.wanted"][row][inside]
            assert hidden.all() or not hidden.any()
            some += int(len(hidden) > 1 and hidden.all())
    assert some


def test_neighbours_know_both_sides():
    stream = np.array([2, 3, 4, 2, 5, 6] * 50)
    model = Neighbours(8, lambda _: stream, lambda _: (np.array([[2, 1, 4], [2, 1, 6]]), np.array([[False, True, False]] * 2),
                       np.array([[2, 3, 4], [2, 5, 6]])), lambda gap, nats, right: {"nats": nats, "right": right})  # fmt: skip
    model.fit(table())
    found = model.evidence(table())
    assert found["right"].all() and (found["nats"] < 0.2).all()


class Knows(torch.nn.Module):
    """Puts the token after the one before the gap: enough to see what goes in and comes out."""

    def __init__(self, size: int, wanted: int):
        super().__init__()
        self.size, self.wanted = size, wanted

    def forward(self, batch):
        return torch.nn.functional.one_hot(torch.full_like(batch["tokens"], self.wanted), self.size).float() * 9


def test_gaps_are_filled():
    task = fitted()
    wanted = int(text_kind.encode_text(task.tokenizer, [" data"])[0][0])
    word = text_kind.decode_text(task.tokenizer, [wanted])
    asked = Table(pa.table({"text": ["The <mask> is a [MASK].", "No gap.", None]}), {"text": "text"})
    examples = task.encode(asked, target=False)
    found = task.answer(Knows(int(task.tokenizer["size"]), wanted), examples.batch(np.arange(3)))
    assert found["prediction"][0] == f"The{word} is a{word}." and found["prediction"][1] == "No gap."
    assert [len(gaps) for gaps in found["gaps"]] == [2, 0, 0] or found["prediction"][2]
    assert found["gaps"][0][0][0]["token"] == word.strip() and found["gaps"][0][0][0]["probability"] > 0.5


def test_too_little_text_and_a_tokenizer_without_a_mask_are_refused():
    with pytest.raises(DataError, match="64"):
        make_task("fill", {}).fit(Table(pa.table({"text": ["a"]}), {"text": "text"}))
    task = make_task("fill", {})
    state = text_kind.learn(pa.chunked_array([["some words and some more"]]), task.config.encode)
    task.adopt({"text": text_kind.given(state["json"], {"mask": "[NONE]"})})
    with pytest.raises(DataError, match="mask"):
        task.fit(table())


def test_of_a_long_text_the_part_around_its_gap_is_read_and_that_is_told():
    task = fitted()
    cells = ["a short [MASK]", "many words before it " * 40 + "the [MASK] one", "one [MASK] here" + " and more behind" * 40]
    asked = Table(pa.table({"text": cells}), {"text": "text"})
    assert task.too_long(asked).tolist() == [False, True, True]
    batch = task.encode(asked, target=False).batch(np.arange(3))
    assert ((batch["tokens"] == text_kind.special(task.tokenizer, "mask")).sum(1) == 1).all() and batch["tokens"].shape[1] <= task.context
