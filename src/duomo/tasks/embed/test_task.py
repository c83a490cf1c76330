"""Ranks, the loss against its definition, pairs in turn."""

import numpy as np
import pytest
import torch

from duomo.core.errors import ConfigError, DataError
from duomo.core.find import make_task
from duomo.data import sources
from duomo.tasks.embed.ranking import figures, ranks


def test_ranks_are_places_among_all_targets():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(2, 30, 8))
    near = source @ target.T
    assert ranks(source, target).tolist() == [1 + sorted(row, reverse=True).index(row[place]) for place, row in enumerate(near)]
    assert (ranks(source, np.repeat(target[:1], 30, 0)) == 15.5).all()  # all equal: the middle, or empty vectors would win
    found = figures(np.array([1, 2, 20]))
    assert found == pytest.approx({"mrr": (1 + 1 / 2 + 1 / 20) / 3, "recall_1": 1 / 3, "recall_10": 2 / 3})


def test_the_loss_is_the_share_of_the_own_partner():
    task = make_task("embed", {"target": ["b"], "source": "a", "temperature": 0.1})
    vectors = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    batch = {"same": torch.tensor([1, 2, 3, 1])}
    total, count = task.loss(vectors, batch)
    sides = torch.nn.functional.normalize(vectors, dim=1)
    near = ((sides[0::2] @ sides[1::2].T) / 0.1).exp()
    near[0, 3] = near[3, 0] = 0  # the same partner
    share = near.diagonal().log() * 2 - near.sum(0).log() - near.sum(1).log()
    assert float(total) == pytest.approx(float(-share.sum() / 2), rel=1e-5) and float(count) == 4
    with pytest.raises(ConfigError):
        task.loss(torch.zeros(8, 0), batch)


def test_of_lists_of_partners_the_first_is_taken():
    pos = [["eins", "1"], ["zwei"], [], ["vier", "4"]]
    table = sources.read({"query": ["one", "two", "three", "four"], "pos": pos, "neg": [["x"]] * 4})
    task = make_task("embed", {"target": ["pos"], "encode": {"tokenizer": "characters"}})
    mask, told = task.usable(table)
    assert mask.tolist() == [True, True, False, True] and "2 of 4" in told[1] and "'neg' is not read" in told[2]
    task.fit(table)
    assert task.texts(table)[1] == ["eins", "zwei", "", "vier"]
    assert task.encode(table, target=True).batch(np.array([0]))["text.length"].tolist() == [3, 4]


def test_both_sides_stand_in_turn():
    table = sources.read({"a": ["one", "two words", "three"], "b": ["eins", "zwei", "drei"]})
    task = make_task("embed", {"target": ["b"], "source": "a", "encode": {"tokenizer": "characters"}})
    task.fit(table)
    batch = task.encode(table, target=True).batch(np.array([2, 0]))
    alone = task.encode(table, target=False).batch(np.array([2, 0]))
    assert batch["text"].shape[0] == 4 and batch["text.length"].tolist() == [5, 4, 3, 4]
    assert torch.equal(batch["text"][0::2], alone["text"])


@pytest.mark.parametrize(("name", "values", "kept"), [
    ("label", [0, 1, 1, 0], [False, True, True, False]), ("is_duplicate", ["False", "true", "true", "true"], [False, True, True, True]),
    ("score", [0.4, 4.8, 2.4, 2.6], [False, True, False, True]), ("similarity", [0.9, 0.8, None, 0.3], [True, True, True, False]),
    ("score", [-0.5, 0.1, 0.9, 0.2], [False, True, True, True]), ("label", [0, 1, 2, 1], [True] * 4), ("note", [0, 1, 0, 1], [True] * 4),
])  # fmt: skip
def test_texts_that_are_labelled_as_unlike_are_no_partners(name, values, kept):
    table = sources.read({"sentence1": ["a b", "c d", "e f", "g h"], "sentence2": ["i j", "k l", "m n", "o p"], name: values})
    mask, told = make_task("embed", {"target": ["sentence2"]}).usable(table)
    assert mask.tolist() == kept and bool(told) == (not all(kept))
    assert make_task("embed", {"target": ["sentence2"], "ignore": [name]}).usable(table)[0].all()


def test_pairs_of_which_none_belongs_together_are_refused():
    table = sources.read({"sentence1": ["a b", "c d"], "sentence2": ["i j", "k l"], "label": [0, 0]})
    with pytest.raises(DataError, match="'label' none of the 2 rows"):
        make_task("embed", {"target": ["sentence2"]}).usable(table)


def test_of_long_texts_the_beginning_is_read_and_that_is_said():
    rows = {"a": ["one", "two", *["long " * 9] * 8], "b": ["eins"] * 10}
    table = sources.read(rows)
    task = make_task("embed", {"target": ["b"], "source": "a", "encode": {"tokenizer": "characters", "longest_text": 20}})
    task.fit(table)
    (said,) = task.half_read(table, task.encode(table, target=True))
    assert "8 of 10 texts have more than 20 tokens in column 'a'" in said and task.too_long(table).sum() == 8
