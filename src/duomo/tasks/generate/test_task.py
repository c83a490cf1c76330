"""generate: streams and windows, documents kept apart, tokens and bytes counted right."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from duomo import samples
from duomo.core import find
from duomo.core.errors import DataError
from duomo.core.recipe import EncodeConfig, ModelConfig
from duomo.core.table import Table
from duomo.data import cache
from duomo.data.loader import finish
from duomo.tasks.generate.task import Config, Main


@pytest.fixture(scope="module")
def poems(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    text = Path(samples.write("poems", tmp_path_factory.mktemp("poems"))).read_text(encoding="utf-8")
    return [poem for poem in text.split("\n\n") if len(poem) > 20][:300]


def table(texts: list[str | None]) -> Table:
    return Table(pa.table({"text": pa.array(texts, pa.large_string())}), {"text": "text"})


def fitted(texts: list[str], **settings: object) -> Main:
    task = Main(Config(encode=EncodeConfig(tokenizer="characters", longest_text=64), **settings))  # type: ignore[arg-type]
    task.fit(table(texts))
    return task


def test_the_stream_holds_every_document_and_its_end(poems: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = fitted(poems)
    stream = task.stream(table([*poems[:5], None, *poems[5:]])).numpy()
    assert (stream == task.end).sum() == len(poems)
    assert len(stream) == sum(map(len, poems)) + len(poems)
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "IN_MEMORY", 1000)
    monkeypatch.setattr("duomo.data.corpus.SLICE", 50)
    mapped = task.stream(table(poems))
    assert list(tmp_path.glob("columns/*.values"))
    assert np.array_equal(mapped.numpy(), task.stream(table(poems)).numpy())
    assert np.array_equal(mapped.numpy(), stream)


@pytest.mark.parametrize("across", [False, True])
def test_a_document_is_not_read_with_another(poems: list[str], across: bool) -> None:
    """What comes before the border changes nothing after it, unless reading across was asked for."""
    task = fitted(poems, across=across)
    torch.manual_seed(0)
    model = find.make_model(ModelConfig("gpt", "nano"), task).eval()
    batch = finish(task.encode(table(poems), target=True).batch(np.arange(8)), task.inputs)
    ends = (batch["tokens"] == task.end).int()
    row = int(ends[:, 8:-8].any(1).float().argmax())
    place = 8 + int(ends[row, 8:-8].argmax())
    other = {name: value.clone() for name, value in batch.items()}
    other["tokens"][row, :place] = other["tokens"][row, :place].flip(0)
    with torch.no_grad():
        difference = (model(batch)[row] - model(other)[row]).abs().amax(-1)
    assert difference[: place - 1].max() > 1e-3
    assert bool((difference[place + 1 :] == 0).all()) is not across


def test_an_unseen_letter_is_no_border(poems: list[str]) -> None:
    """The number of the unknown is that of the end in a learned vocabulary: borders are kept apart from tokens."""
    task = fitted(poems)
    strange = [poem.replace(poem[3], "𠀀") for poem in poems]
    batch = task.encode(table(strange), target=True).batch(np.arange(4))
    whole = task.encode(table(poems), target=True).batch(np.arange(4))
    assert (batch["tokens"] == task.end).sum() > (whole["tokens"] == task.end).sum()
    assert torch.equal(batch["tokens.document"], whole["tokens.document"])


def test_a_long_document_is_left_whole(poems: list[str]) -> None:
    task = fitted(["".join(poems)])
    assert "tokens.document" not in task.encode(table(["".join(poems)]), target=True).batch(np.arange(2))


def test_bytes_are_those_of_the_text(poems: list[str]) -> None:
    """Bits per byte rest on the bytes of UTF-8, whatever the tokenizer."""
    for tokenizer in ("characters", "bpe"):
        task = Main(Config(encode=EncodeConfig(tokenizer=tokenizer, vocabulary=600 if tokenizer == "bpe" else 8000)))
        task.fit(table(poems))
        stream = task.stream(table(poems)).numpy()
        assert task._token_bytes()[stream].sum() == sum(len(poem.encode()) for poem in poems) + len(poems)


def test_too_little_text_is_refused() -> None:
    with pytest.raises(DataError, match="at least 64 tokens"):
        fitted(["a few words"])


@pytest.mark.parametrize("name", ["generate", "fill"])
def test_of_several_texts_the_longest_is_read_and_that_is_said(name):
    texts = {"title": ["Soft", None] * 40, "body": [f"It fits well, and the {row}th wash left it as it was." for row in range(80)]}
    rows = Table(pa.table(texts), {"title": "text", "body": "text"})
    task = find.make_task(name, {})
    mask, told = task.usable(rows)
    task.fit(rows)
    assert mask.all() and task.columns == ["body"] and "not from title: --set task.column=title" in told[0]
    task = find.make_task(name, {"ignore": ("body",)})
    mask, told = task.usable(rows)
    assert mask.sum() == 40 and not told
