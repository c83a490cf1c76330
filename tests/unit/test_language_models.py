"""gpt, bert and seq2seq: published sizes, padding that is never read, writing token by token."""

import pytest
import torch
from torch import nn

from duomo.core.contract import EncoderDecoder, Field, Head
from duomo.core.errors import ConfigError
from duomo.models import seq2seq


def pair(vocabulary: int, longest: int = 512) -> dict[str, Field]:
    return {name: Field("tokens", (longest,), (vocabulary,)) for name in ("source", "target")}


def count(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


def sentences() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    source, target = torch.randint(1, 50, (4, 9)), torch.randint(1, 50, (4, 7))
    return {"source": source, "source.length": torch.tensor([9, 4, 1, 0]), "target": target, "target.length": torch.tensor([7, 7, 3, 1])}


STYLES = [
    seq2seq.Config(32, 2, heads=4),
    seq2seq.Config(32, 2, 1, heads=4, place="after", shared=False, tied=False),
    seq2seq.Config(32, 2, 0, 4, 12, 48, "geglu", "relative", 8, 6, "rms", bias=False, scaled=False),
]


@pytest.mark.parametrize("config", STYLES, ids=["before", "after", "t5"])
def test_seq2seq_writes_as_it_was_taught(config: seq2seq.Config) -> None:
    torch.manual_seed(0)
    model = seq2seq.Model(config, pair(50, 8), Head(50, "step")).eval()
    assert isinstance(model, EncoderDecoder)
    batch = sentences()
    whole = model(batch)
    assert whole.shape == (4, 7, 50) and whole.isfinite().all()
    memory = model.encode(batch)
    order = torch.tensor([2, 0, 1, 3, 0])
    cache = model.start(5, 7, memory.select(order))
    tokens = batch["target"][order]
    parts = [model.forward_cached(tokens[:, :3], cache)] + [model.forward_cached(tokens[:, at : at + 1], cache) for at in range(3, 7)]
    torch.testing.assert_close(torch.cat(parts, 1), whole[order], atol=1e-5, rtol=1e-5)
    padded = batch | {"source": torch.cat([batch["source"], torch.ones(4, 5, dtype=torch.int64)], 1)}
    torch.testing.assert_close(model(padded), whole, atol=1e-5, rtol=1e-5)
    later = batch | {"target": torch.cat([batch["target"][:, :4], batch["target"][:, :3]], 1)}
    torch.testing.assert_close(model(later)[:, :4], whole[:, :4])


@pytest.mark.parametrize("config", STYLES, ids=["before", "after", "t5"])
def test_seq2seq_learns_to_turn_a_row_round(config: seq2seq.Config) -> None:
    torch.manual_seed(0)
    model = seq2seq.Model(config, pair(12), Head(12, "step")).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        source = torch.randint(2, 12, (32, 5))
        wanted = source.flip(1)
        target = torch.cat([torch.ones(32, 1, dtype=torch.int64), wanted[:, :-1]], 1)
        length = torch.full((32,), 5)
        output = model({"source": source, "source.length": length, "target": target, "target.length": length})
        loss = nn.functional.cross_entropy(output.flatten(0, 1), wanted.flatten())
        loss.backward()
        assert losses or all(value.grad is not None for value in model.parameters())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0], losses[::10]


def test_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        assert count(seq2seq.Model(seq2seq.SIZES["t5-small"], pair(32128), Head(32128, "step"))) == 60_506_624
        assert count(seq2seq.Model(seq2seq.SIZES["t5-base"], pair(32128), Head(32128, "step"))) == 222_903_552
        # "65 million" and "213 million" in table 3, with a vocabulary of about 37,000
        assert count(seq2seq.Model(seq2seq.SIZES["transformer"], pair(37000), Head(37000, "step"))) == pytest.approx(65e6, rel=0.04)
        assert count(seq2seq.Model(seq2seq.SIZES["transformer-big"], pair(37000), Head(37000, "step"))) == pytest.approx(213e6, rel=0.04)


def test_seq2seq_refuses_one_text() -> None:
    with pytest.raises(ConfigError, match="translate"):
        seq2seq.Model(seq2seq.Config(), {"text": Field("tokens", (8,), (50,))}, Head(50, "step"))
    with pytest.raises(ConfigError, match="relative"):
        seq2seq.Model(seq2seq.Config(positions="relativ"), pair(50), Head(50, "step"))
