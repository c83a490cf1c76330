"""Steps: pure functions of their number, every row once an epoch, fast."""

import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from duomo.core.contract import Field
from duomo.core.recipe import AugmentConfig
from duomo.core.tensors import Batch, Dense, Examples, Ragged, Windows
from duomo.data import loader
from duomo.data.loader import TableStream, batches, finish, mixed

PIXELS = {"image:digit": Field("pixels", (1, 8, 8), facts={"mean": [0.3], "std": [0.4]})}
TOKENS = {"text:note": Field("tokens", (40,), (100,))}
VARIED = AugmentConfig(crop=0.2, rotate=15, scale=0.1, flip=True, colour=0.2, erase=0.3, mixup=0.4)


def digits(rows: int = 1000) -> Examples:
    data = load_digits()
    pixels = torch.from_numpy((data.images[:rows] * 15).astype(np.uint8)).unsqueeze(1)
    return Examples({"image:digit": Dense(pixels), "target": Dense(torch.from_numpy(data.target[:rows]))})


def notes(rows: int = 500) -> Examples:
    lengths = np.random.default_rng(0).integers(1, 40, rows)
    return Examples({"text:note": Ragged.of([np.full(n, n, np.int16) for n in lengths], np.zeros(0, np.int16))})


def same(one: Batch, two: Batch) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("config", [AugmentConfig(), VARIED])
def test_a_step_depends_on_its_number_only(config: AugmentConfig) -> None:
    examples = digits()
    first = TableStream(examples, PIXELS, 32, 7, config)
    wanted = {step: first.batch(step) for step in range(70)}
    for step in (69, 3, 40, 0, 41, 33, 3):
        assert same(TableStream(examples, PIXELS, 32, 7, config).batch(step), wanted[step])
        assert same(first.batch(step), wanted[step])
    assert not same(TableStream(examples, PIXELS, 32, 8, config).batch(0), wanted[0])
    assert not torch.equal(wanted[0]["image:digit"], wanted[1]["image:digit"])


@pytest.mark.parametrize(("rows", "size"), [(1000, 50), (1000, 32), (7, 32), (1, 4)])
@pytest.mark.parametrize("kind", ["digits", "notes"])
def test_every_row_in_every_epoch(rows: int, size: int, kind: str) -> None:
    examples, fields = (digits(rows), PIXELS) if kind == "digits" else (notes(rows), TOKENS)
    stream = TableStream(examples, fields, size, 0, AugmentConfig())
    for epoch in range(3):
        steps = range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch)
        found = [stream.rows(step) for step in steps]
        assert all(len(part) == min(size, rows) for part in found)
        counts = np.bincount(np.concatenate(found), minlength=rows)
        assert counts.min() == 1 and counts.sum() - rows == len(found) * min(size, rows) - rows < size
    if rows > 7:
        first = [stream.rows(step) for step in range(stream.steps_per_epoch)]
        assert not np.array_equal(np.concatenate(first), np.concatenate(found))


def test_targets_travel_with_their_rows() -> None:
    examples = digits()
    stream = TableStream(examples, PIXELS, 32, 0, AugmentConfig())
    for step in (0, 5, 31, 32):
        batch, rows = stream.batch(step), torch.from_numpy(stream.rows(step).copy())
        assert torch.equal(batch["target"], examples.batch(rows)["target"])
        expected = finish({"image:digit": examples.batch(rows)["image:digit"]}, PIXELS)["image:digit"]
        assert torch.equal(batch["image:digit"], expected) and batch["image:digit"].dtype == torch.float32


def test_ragged_rows_meet_rows_of_like_length() -> None:
    examples = notes(2000)
    stream = TableStream(examples, TOKENS, 20, 0, AugmentConfig())
    spread = []
    for step in range(stream.steps_per_epoch):
        batch = stream.batch(step)
        tokens, length = batch["text:note"], batch["text:note.length"]
        assert tokens.dtype == torch.int64 and tokens.shape[1] == length.max()
        assert torch.equal((tokens > 0).sum(1), length) and torch.equal(tokens[:, 0], length)
        spread.append(int(length.max() - length.min()))
    assert np.mean(spread) < 4


def test_finish_brings_every_form() -> None:
    fields = {
        "image:p": Field("pixels", (3, 2, 2), facts={"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 1.0]}),
        "audio:c": Field("waveform", (5,), facts={"rate": 16000}),
        "numbers": Field("numbers", (2,)),
        "categories": Field("categories", (1,), (3,)),
    }
    pixels = torch.randint(0, 256, (4, 3, 2, 2), dtype=torch.uint8)
    stored = {
        "image:p": pixels, "audio:c": torch.tensor([[-32768, 16384]], dtype=torch.int16),
        "numbers": torch.ones(1, 2), "categories": torch.ones(1, 1, dtype=torch.int32),
    }  # fmt: skip
    done = finish(dict(stored), fields)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.25, 1.0]).view(3, 1, 1)
    torch.testing.assert_close(done["image:p"], (pixels / 255 - mean) / std)
    assert done["audio:c"].tolist() == [[-1.0, 0.5]] and done["categories"].dtype == torch.int64
    assert torch.equal(done["numbers"], torch.ones(1, 2)) and stored["image:p"].dtype == torch.uint8


def test_evaluation_is_in_order_and_whole() -> None:
    examples = digits(103)
    found = list(batches(examples, PIXELS, 50))
    assert [len(rows) for rows, _ in found] == [50, 50, 3]
    assert np.concatenate([rows for rows, _ in found]).tolist() == list(range(103))
    assert torch.equal(torch.cat([batch["target"] for _, batch in found]), examples.batch(np.arange(103))["target"])
    assert not list(batches(digits(0), PIXELS, 50))


def test_windows_of_a_long_text_move_in_training() -> None:
    examples = Examples({"tokens": Windows(torch.arange(10_000), 64)})
    stream = TableStream(examples, {"tokens": Field("tokens", (64,), (10_000,))}, 8, 0, AugmentConfig())
    found = stream.batch(3)
    batch = found["tokens"]
    assert batch.shape == (8, 64) and (batch[:, 1:] - batch[:, :-1] == 1).all() and torch.equal(found["tokens.next"], batch + 1)
    hiding = TableStream(examples, stream.fields, 8, 0, AugmentConfig(drop_tokens=0.5)).batch(3)
    assert torch.equal(hiding["tokens.next"], found["tokens.next"]) and (hiding["tokens"] == 1).float().mean() > 0.3
    start = torch.from_numpy(stream.rows(3) * 64)
    assert (batch[:, 0] != start).any() and (batch[:, 0] - start).abs().max() <= 64


def test_seeds_do_not_collide() -> None:
    assert len({mixed(seed, kind, step) for seed in range(20) for kind in (1, 2) for step in range(500)}) == 20_000
    assert 0 <= mixed(-1, 2**70) < 2**63


def test_speed_of_a_step() -> None:
    """32 pictures of 28x28: well under 100 µs plain and 300 µs cropped and turned on a quiet machine; bounds here are loose."""
    pixels = torch.randint(0, 256, (4000, 1, 28, 28), dtype=torch.uint8)
    examples = Examples({"image:digit": Dense(pixels), "target": Dense(torch.zeros(4000, dtype=torch.int64))})
    fields = {"image:digit": Field("pixels", (1, 28, 28), facts={"mean": [0.3], "std": [0.4]})}
    for config, bound in ((AugmentConfig(), 400e-6), (AugmentConfig(crop=0.1, rotate=10), 1200e-6)):
        stream = TableStream(examples, fields, 32, 0, config)
        stream.batch(0)
        times = []
        for start in range(4, 204, 20):
            begun = time.perf_counter()
            for step in range(start, start + 20):
                stream.batch(step)
            times.append((time.perf_counter() - begun) / 20)
        assert min(times) < bound


def test_large_data_are_shuffled_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "LARGE", 1000)
    monkeypatch.setattr(loader, "STRETCH", 40)
    monkeypatch.setattr(loader, "WINDOW", 400)
    generator = torch.Generator().manual_seed(0)
    order = loader.shuffled(1003, 4.0, generator)
    assert sorted(order) == list(range(1003))
    windows = [order[start : start + 100] for start in range(0, 1003, 100)]
    assert all(len({row // 10 for row in window}) <= 12 for window in windows), "a window holds ten whole stretches"
    assert np.mean([np.ptp(window) for window in windows]) > 600 and not (np.diff(order[:100]) == 1).sum() > 20
    values = Examples({"numbers": Dense(torch.arange(1003.0).unsqueeze(1))})
    stream = loader.TableStream(values, {"numbers": Field("numbers", (1,))}, 32, 0, AugmentConfig())
    again = loader.TableStream(values, {"numbers": Field("numbers", (1,))}, 32, 0, AugmentConfig())
    assert set(np.concatenate([stream.rows(step) for step in range(stream.steps_per_epoch)])) == set(range(1003))
    assert all((stream.rows(step) == again.rows(step)).all() for step in (40, 3, 71))
