"""widetext: padding, mixed columns, counting of n-grams, and that mixed text tables are given to it."""

import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.table import Table
from duomo.core.tensors import Batch
from duomo.data.supervised import MANY_TEXTS, suggest_recipe
from duomo.models import widetext
from duomo.models.widetext import Config, Model, Wide, n_grams

TEXT = Field("tokens", (12,), (50,))
INPUTS = {"text:title": TEXT, "text:body": TEXT, "numbers": Field("numbers", (2,)), "categories": Field("categories", (1,), (5,))}
SMALL = Config(places=4096, buckets=512)


def texts(rows: int, seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    batch: Batch = {"numbers": torch.randn(rows, 2), "categories": torch.randint(0, 5, (rows, 1))}
    for name in ("text:title", "text:body"):
        length = torch.randint(1, 13, (rows,))
        batch[name] = torch.randint(1, 50, (rows, 12)).masked_fill(torch.arange(12) >= length.unsqueeze(1), 0)
        batch[f"{name}.length"] = length
    return batch


def counted(config: Config = SMALL) -> tuple[Model, Batch]:
    """A model that has seen a batch and whose wide weights are no longer zero."""
    torch.manual_seed(1)
    model, batch = Model(config, INPUTS, Head(3)), texts(20)
    model.train()(batch)
    for wide in model.wide:
        torch.nn.init.normal_(wide.weight_PS)
    return model.eval(), batch


def test_padding_and_neighbours_change_nothing() -> None:
    model, batch = counted()
    padded = {name: F.pad(value, (0, 5)) if name.startswith("text") and value.ndim == 2 else value for name, value in batch.items()}
    torch.testing.assert_close(model(padded), model(batch))
    one = {name: value[3:4] for name, value in batch.items()}
    torch.testing.assert_close(model(one), model(batch)[3:4])


@pytest.mark.parametrize("left_out", sorted(INPUTS))
def test_every_column_counts(left_out: str) -> None:
    model, batch = counted()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "cells" in name:
                value.add_(torch.randn_like(value))
    other = dict(batch)
    other[left_out] = batch[left_out].roll(1, 0)
    if f"{left_out}.length" in batch:
        other[f"{left_out}.length"] = batch[f"{left_out}.length"].roll(1, 0)
    assert not torch.allclose(model(other), model(batch))


def test_members_learn_apart_and_answer_together() -> None:
    model, batch = counted()
    assert model(batch).shape == (20, 3) and model.train()(batch).shape == (20, 1 + SMALL.members, 3)
    alone = Model(Config(places=4096, members=0), INPUTS, Head(3))
    assert alone.train()(batch).shape == alone.eval()(batch).shape == (20, 3)


def test_n_grams_never_reach_into_padding() -> None:
    found = n_grams(torch.tensor([[7, 8, 9, 0, 0]]), 3)
    assert [(code >= 0).sum().item() for code in found] == [3, 2, 1]
    assert torch.equal(n_grams(torch.tensor([[1, 7, 8]]), 2)[1][:, 1:2], found[1][:, :1])  # the same pair, the same number


def test_wide_input_is_tf_idf_of_length_one() -> None:
    """By hand: idf² sqrt(share) / |idf| for each n-gram, with the shares counted in training and in training alone."""
    torch.manual_seed(0)
    wide = Wide(2, Config(orders=1, places=2**16, gain=1.0, wide_forget=0.0))
    torch.nn.init.normal_(wide.weight_PS)
    tokens = torch.tensor([[3, 4, 0], [3, 0, 0], [3, 5, 6]])
    wide.train()(n_grams(tokens, 1))
    held = wide.seen_P.clone()
    found = wide.eval()(n_grams(torch.tensor([[3, 5]]), 1))
    assert torch.equal(held, wide.seen_P) and wide.rows == 3 and sorted(held[1:][held[1:] > 0].tolist()) == [1, 1, 1, 3]
    share = torch.tensor([3.5 / 4, 1.5 / 4])
    idf = 1 - share.log()
    weights = torch.stack([wide.weight_PS[(token * widetext.SPREAD) % widetext.MODULUS % wide.places + 1] for token in (3, 5)])
    torch.testing.assert_close(found[0], (idf.square() * share.sqrt() / idf.norm()) @ weights)


def test_many_classes_get_a_smaller_table() -> None:
    assert Wide(5000, Config()).weight_PS.numel() < 1.1 * widetext.MOST_WIDE


@pytest.mark.parametrize(("rows", "recipe"), [(40, "text-small"), (MANY_TEXTS, "text")])
def test_texts_with_cells_are_read_by_it(rows: int, recipe: str) -> None:
    columns = pa.table({"review": ["soft and warm"] * rows, "age": [31.0] * rows, "department": ["Tops"] * rows})
    kinds = {"review": "text", "age": "number", "department": "category"}
    assert suggest_recipe(Table(columns, kinds), list(kinds)).recipe == recipe
    assert suggest_recipe(Table(columns, kinds | {"department": "image"}), list(kinds)).recipe == "mixed"
