"""gpt, bert and seq2seq: published sizes, padding that is never read, writing token by token."""

import pytest
import torch
from torch import nn

from duomo.core.contract import EncoderDecoder, Field, Head
from duomo.core.errors import ConfigError
from duomo.models import bert, gpt, rnn, seq2seq


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
    seq2seq.Config(32, 2, heads=4, copies=True),
    seq2seq.Config(32, 2, 0, 4, 12, 48, "geglu", "relative", 8, 6, "rms", bias=False, scaled=False),
]


@pytest.mark.parametrize("config", STYLES, ids=["before", "after", "copies", "t5"])
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


@pytest.mark.parametrize("config", STYLES, ids=["before", "after", "copies", "t5"])
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


def decoder(size: str, vocabulary: int) -> nn.Module:
    return gpt.Model(gpt.SIZES[size], {"text": Field("tokens", (8,), (vocabulary,))}, Head(vocabulary, "step"))


EXACT = {
    ("gpt1", 40_478): 116_534_784,
    ("gpt2", 50_257): 124_439_808,
    ("gpt2-medium", 50_257): 354_823_168,
    ("gpt2-large", 50_257): 774_030_080,
    ("gpt2-xl", 50_257): 1_557_611_200,
    ("smollm2-135m", 49_152): 134_515_008,
    ("smollm2-360m", 49_152): 361_821_120,
    ("smollm2-1.7b", 49_152): 1_711_376_384,
    ("llama2-7b", 32_000): 6_738_415_616,
    ("llama3-8b", 128_256): 8_030_261_248,
    ("qwen2-0.5b", 151_936): 494_032_768,
    ("qwen2-7b", 152_064): 7_615_616_512,
    ("qwen3-0.6b", 151_936): 596_049_920,
    ("qwen3-8b", 151_936): 8_190_735_360,
}
GPT3 = {"125m": 125e6, "350m": 350e6, "760m": 760e6, "1.3b": 1.3e9, "2.7b": 2.7e9, "6.7b": 6.7e9, "13b": 13e9, "175b": 175e9}


def test_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        assert {key: count(decoder(*key)) for key in EXACT} == EXACT
        for size, weights in {"bert-base": 109_482_240, "bert-large": 335_141_888}.items():
            read = bert.Model(bert.SIZES[size], {"text": Field("tokens", (8,), (30_522,))}, Head(1))
            assert count(read) == weights + read.config.width + 1
        read = bert.Model(bert.SIZES["roberta-base"], {"text": Field("tokens", (8,), (50_265,))}, Head(1))
        assert count(read) == 124_645_632 + 768 + 1
        for size, published in GPT3.items():
            assert count(decoder(f"gpt3-{size}", 50_257)) == pytest.approx(published, rel=0.025), size
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


TEXT = {"text": Field("tokens", (16,), (50,))}
DECODERS = [
    gpt.Config(32, 2, 4, activation="gelu_tanh", positions="learned", longest=20, norm="layer", bias="all"),
    gpt.Config(32, 2, 4, activation="gelu", positions="learned", norm="layer", place="after", bias="all"),
    gpt.Config(32, 2, 4, 2, bias="qkv", norm_keys=True, head_width=10, hidden=40, theta=5e5, stretch=(8.0, 1.0, 4.0, 16.0)),
]


@pytest.mark.parametrize("config", DECODERS, ids=["gpt2", "gpt1", "modern"])
def test_gpt_of_every_make(config: gpt.Config) -> None:
    torch.manual_seed(0)
    model = gpt.Model(config, TEXT, Head(50, "step")).eval()
    tokens = torch.randint(0, 50, (3, 12))
    whole, cache = model({"text": tokens}), model.start(3, 12)
    parts = [model.forward_cached(tokens[:, :5], cache)] + [model.forward_cached(tokens[:, at : at + 1], cache) for at in range(5, 12)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_gpt_reads_no_other_document() -> None:
    torch.manual_seed(0)
    model = gpt.Model(gpt.Config(32, 2, 4), TEXT, Head(50, "step")).eval()
    tokens, document = torch.randint(0, 50, (1, 10)), torch.tensor([[0] * 4 + [1] * 6])
    packed = model({"text": tokens, "text.document": document})
    torch.testing.assert_close(packed[:, :4], model({"text": tokens[:, :4]}), atol=1e-5, rtol=1e-5)
    # rotary positions are relative: the second document reads as if it began the text
    torch.testing.assert_close(packed[:, 4:], model({"text": tokens[:, 4:]}), atol=1e-5, rtol=1e-5)


def test_gpt_refuses_more_than_it_has_places() -> None:
    with pytest.raises(ConfigError, match="at most 8"):
        gpt.Model(gpt.Config(32, 2, 4, positions="learned", longest=8), TEXT, Head(50, "step"))
    model = gpt.Model(gpt.Config(32, 2, 4, positions="learned"), TEXT, Head(50, "step"))
    with pytest.raises(ConfigError, match="received 17"):
        model({"text": torch.zeros(1, 17, dtype=torch.int64)})
    with pytest.raises(ConfigError, match="swiglu"):
        gpt.Model(gpt.Config(activation="swigl"), TEXT, Head(50, "step"))


READERS = [bert.Config(32, 2), bert.Config(32, 2, place="after", types=2, longest=20, offset=2, pool="first", tied=False),
           bert.Config(32, 2, near=2)]  # fmt: skip


@pytest.mark.parametrize("head", [Head(3), Head(0), Head(50, "step"), Head(7, "step")], ids=["row", "vector", "fill", "tag"])
@pytest.mark.parametrize("config", READERS, ids=["before", "roberta", "near"])
def test_bert_never_reads_padding(config: bert.Config, head: Head) -> None:
    torch.manual_seed(0)
    model = bert.Model(config, TEXT, head).eval()
    tokens, length = torch.randint(0, 50, (4, 9)), torch.tensor([9, 4, 1, 0])
    found = model({"text": tokens, "text.length": length})
    assert found.shape == (4, *((9,) if head.per == "step" else ()), head.size or 32) and found.isfinite().all()
    longer = model({"text": torch.cat([tokens, torch.ones(4, 4, dtype=torch.int64)], 1), "text.length": length})
    longer = longer[:, :9] if head.per == "step" else longer
    for row, true in enumerate(length.tolist()[:3]):
        here = slice(0, true) if head.per == "step" else slice(None)
        torch.testing.assert_close(longer[row][here], found[row][here], atol=1e-5, rtol=1e-5)


def test_bert_adds_what_stands_near() -> None:
    torch.manual_seed(0)
    model = bert.Model(bert.Config(32, 0, near=2), TEXT, Head(7, "step")).eval()
    tokens = torch.randint(0, 50, (1, 9))
    found = model({"text": tokens})
    tokens[0, 4] += 1
    changed = (model({"text": tokens}) != found).any(-1)[0]
    assert changed.tolist() == [2 <= place <= 6 for place in range(9)]


def test_bert_learns_to_fill_a_gap() -> None:
    torch.manual_seed(0)
    model = bert.Model(bert.Config(32, 1), {"text": Field("tokens", (8,), (12,))}, Head(12, "step")).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(50):
        wanted = torch.randint(2, 12, (64, 1)).expand(64, 6)
        tokens = wanted.clone()
        tokens[:, 2] = 1
        loss = nn.functional.cross_entropy(model({"text": tokens, "text.length": torch.full((64,), 6)})[:, 2], wanted[:, 2])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses[::10]


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_rnn_as_a_language_model(cell: str) -> None:
    torch.manual_seed(0)
    model = rnn.Model(rnn.Config(cell, (24, 16), 16, both=True), TEXT, Head(50, "step")).eval()
    assert not model.both and model.head.weight is model.embedding.weight
    tokens = torch.randint(0, 50, (3, 12))
    whole, cache = model({"text": tokens}), model.start(3, 12)
    first = model.forward_cached(tokens[:, :5], cache)
    order = torch.tensor([2, 0, 0])
    cache.select(order)
    rest = model.forward_cached(tokens[order, 5:], cache)
    torch.testing.assert_close(first, whole[:, :5], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rest[:2], whole[order[:2], 5:], atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="next token"):
        rnn.Model(rnn.Config(), TEXT, Head(3)).start(1, 8)


def test_published_sizes_are_planned() -> None:
    from duomo.sizes import sizes

    found = sizes()
    assert found["gpt gpt2"].startswith("124,439,808 weights, 0.2 GB as bf16; to train: 2.0 GB")
    assert found["gpt gpt3-175b"].startswith("174,") and "bert minilm-l6" in found and "seq2seq t5-large" in found
