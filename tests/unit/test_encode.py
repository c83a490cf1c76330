"""Tables to inputs: one vectorised call, the same after restoring, in memory or in a file."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits

from duomo.core.errors import DataError
from duomo.core.kinds import infer
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Column, Dense, Ragged
from duomo.data import cache
from duomo.data.encode import InputEncoder, broken


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """120 rows with a column of every kind; the pictures are real digits."""
    root = tmp_path_factory.mktemp("mixed")
    digits, cancer = load_digits(), load_breast_cancer()
    rows = 120
    for row in range(rows):
        Image.fromarray((digits.images[row] * 15).astype(np.uint8)).save(root / f"{row}.png")
        wave = np.repeat(digits.images[row].reshape(-1) / 16 - 0.5, 10 + row % 7)
        soundfile.write(root / f"{row}.wav", wave, 8000)
    data = {
        "key": [f"{row:05d}" for row in range(rows)],
        "radius": [str(value) for value in cancer.data[:rows, 0]],
        "texture": ["" if row % 10 == 0 else str(value) for row, value in enumerate(cancer.data[:rows, 1])],
        "seen": [f"2021-{row % 12 + 1:02d}-{row % 28 + 1:02d}" for row in range(rows)],
        "site": [["left", "right", "both"][row % 3] for row in range(rows)],
        "side": [row % 2 == 0 for row in range(rows)],
        "note": [f"the patient came back after {row} days and felt {'well' if row % 2 else 'ill'}" for row in range(rows)],
        "photo": [f"{row}.png" for row in range(rows)],
        "clip": [f"{row}.wav" for row in range(rows)],
        "pulse": [[float(value) for value in digits.images[row].reshape(-1)[: 3 + row % 5]] for row in range(rows)],
    }
    return infer(Table(pa.table(data), root=root), {})


FEATURES = ["key", "radius", "texture", "seen", "site", "side", "note", "photo", "clip", "pulse"]


def fitted(table: Table) -> InputEncoder:
    encoder = InputEncoder(EncodeConfig())
    encoder.fit(table, FEATURES)
    return encoder


def equal(one: Column, two: Column) -> bool:
    if isinstance(one, Ragged) and isinstance(two, Ragged):
        return torch.equal(one.values, two.values) and torch.equal(one.offsets, two.offsets)
    assert isinstance(one, Dense) and isinstance(two, Dense)
    return torch.equal(one.values, two.values)


def test_fields_are_made_once_and_anew_after_another_fit() -> None:
    first, other = (Table(pa.table({name: np.arange(9.0)}), {name: "number"}) for name in ("a", "b"))
    encoder = InputEncoder(EncodeConfig())
    encoder.fit(first, ["a"])
    kept = encoder.fields()["numbers"]
    assert encoder.fields()["numbers"] is kept and kept.facts["columns"] == ["a"]
    state = encoder.state()
    encoder.fit(other, ["b"])
    assert encoder.fields()["numbers"].facts["columns"] == ["b"]
    encoder.restore(state)
    assert encoder.fields()["numbers"].facts["columns"] == ["a"]


def test_all_kinds_at_once(mixed: Table) -> None:
    encoder = fitted(mixed)
    fields, columns = encoder.fields(), encoder.encode(mixed)
    assert list(fields) == ["numbers", "categories", "text:note", "image:photo", "audio:clip", "series:pulse"] == list(columns)
    assert fields["numbers"].shape == (9,) and fields["numbers"].facts["columns"][:3] == ["radius", "texture", "texture"]
    assert len(fields["numbers"].facts["bins"]) == 9
    assert fields["categories"].vocabulary == (4, 3) and fields["image:photo"].shape == (1, 8, 8)
    assert all(len(column) == 120 for column in columns.values())
    digits = load_digits().images[:120]
    np.testing.assert_array_equal(columns["image:photo"].values[:, 0].numpy(), (digits * 15).astype(np.uint8))


def test_restored_reordered_and_single_rows_encode_alike(mixed: Table) -> None:
    encoder = fitted(mixed)
    again = InputEncoder(EncodeConfig())
    again.restore(json.loads(json.dumps(encoder.state())))
    assert again.fields() == encoder.fields()
    order = ["extra", *reversed(FEATURES)]
    other = Table(mixed.data.append_column("extra", pa.array(["x"] * 120)).select(order), root=mixed.root)
    whole, moved = encoder.encode(mixed), again.encode(other)
    assert all(equal(whole[name], moved[name]) for name in whole)
    one = again.encode(other.take(np.array([17])))
    rows = torch.tensor([17])
    for name in whole:
        expected, found = whole[name].gather(name, rows, None), one[name].gather(name, torch.tensor([0]), None)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert all(len(column) == 0 for column in again.encode(other.take(np.array([], np.int64))).values())


def test_missing_columns_and_broken_files_are_named(mixed: Table, tmp_path: Path) -> None:
    encoder = fitted(mixed)
    renamed = Table(mixed.data.rename_columns(["notes" if name == "note" else name for name in mixed.names]), root=mixed.root)
    with pytest.raises(DataError, match=r"missing: note\..*'notes'"):
        encoder.encode(renamed)
    with pytest.raises(DataError, match="bytes"):
        encoder.encode(Table(mixed.data))
    photos = ["5.png", "half.png", "gone.png"]
    for name in ("5.png",):
        data = (mixed.root or tmp_path).joinpath(name).read_bytes()
        (tmp_path / name).write_bytes(data)
        (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    table = Table(pa.table({"photo": photos}), {"photo": "image"}, root=tmp_path)
    assert [(one.row, one.column) for one in broken(table, ["photo"])] == [(1, "photo"), (2, "photo")]
    alone = InputEncoder(EncodeConfig())
    alone.fit(table, ["photo"])
    with pytest.raises(DataError, match=r"row 2 \(half.png\)"):
        alone.encode(table)


def test_rows_of_later_chunks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(pa.table({"s": ["[1]"] * 10 + ["[1"] + ["[2]"] * 5}), {"s": "series"})
    encoder = InputEncoder(EncodeConfig())
    encoder.fit(table.take(np.arange(10)), ["s"])
    monkeypatch.setitem(__import__("duomo.data.encode", fromlist=["CHUNK"]).CHUNK, "frames", 4)
    with pytest.raises(DataError, match="row 11 "):
        encoder.encode(table)


def test_nothing_to_learn_from_is_said() -> None:
    table = Table(pa.table({"key": ["a1", "b2"]}), {"key": "id"})
    with pytest.raises(DataError, match="At least one column"):
        InputEncoder(EncodeConfig()).fit(table, ["key"])


def test_large_columns_go_to_a_file_once(mixed: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path))
    encoder = fitted(mixed)
    held = encoder.encode(mixed)
    monkeypatch.setattr(cache, "IN_MEMORY", 64)
    mapped = encoder.encode(mixed)
    written = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "columns").glob("*.values"))
    assert len(written) == 6 and all(equal(held[name], mapped[name]) for name in held)
    encoder.encode(mixed)
    assert written == sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "columns").glob("*.values"))
    largest = max((tmp_path / "columns").glob("*.values"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    assert all(equal(held[name], column) for name, column in encoder.encode(mixed).items())
    (tmp_path / "columns" / "gone.json").symlink_to("nowhere")  # as where another process prunes meanwhile
    cache.prune(tmp_path / "columns", 0)
    (tmp_path / "columns" / "gone.json").unlink()
    assert not list((tmp_path / "columns").iterdir())


def test_another_state_or_file_is_another_key(mixed: Table, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    table = Table(pa.table({"photo": ["a.png"]}), {"photo": "image"}, root=tmp_path)
    first = cache.key_of(table, ["photo"], {"size": 1})
    assert first == cache.key_of(table, ["photo"], {"size": 1}) != cache.key_of(table, ["photo"], {"size": 2})
    (tmp_path / "a.png").write_bytes(b"other")
    assert first != cache.key_of(table, ["photo"], {"size": 1})
