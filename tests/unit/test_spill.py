"""Tables larger than memory is meant to be: parts of them lie on the disk and hold the same rows."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from duomo import samples
from duomo.core.table import Table
from duomo.data import sources, spill


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """The houses in several batches, and every file counted as large."""
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(spill, "LARGE", 10_000)
    return sources.read(samples.write("houses", tmp_path))


def test_take_equals_arrow_in_any_order(large: Table) -> None:
    data = pa.concat_tables([large.data.slice(0, 1700), large.data.slice(1700, 9), large.data.slice(1709)])
    random = np.random.default_rng(0)
    for rows in (random.integers(0, len(large), 500), np.arange(0, len(large), 7), np.array([4, 4, 3]), np.zeros(0, np.int64)):
        assert Table(data).take(rows).data.equals(data.take(pa.array(rows, pa.int64())))
    with pytest.raises(pa.ArrowIndexError):
        Table(data).take(np.array([len(large)]))


def test_part_lies_on_the_disk_and_leaves_nothing_behind(large: Table, tmp_path: Path) -> None:
    rows = np.flatnonzero(np.random.default_rng(1).random(len(large)) < 0.7)
    before = pa.total_allocated_bytes()
    found = spill.part(large, rows)
    assert pa.total_allocated_bytes() - before < found.data.nbytes / 2
    assert found.data.equals(large.data.take(pa.array(rows)))
    assert not list((tmp_path / "cache" / "tables").glob(".unfinished-*"))
    spill.release()
    assert found.data.column(0).to_pylist() == large.data.column(0).take(pa.array(rows)).to_pylist()


def test_small_parts_stay_in_memory(large: Table, tmp_path: Path) -> None:
    assert len(spill.part(large, np.arange(5))) == 5
    assert spill.part(large, np.array([3, 1, 2])).data.equals(large.data.take(pa.array([3, 1, 2])))


def test_more_columns_than_files(large: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spill, "MOST_FILES", 4)
    found = spill.store(None, "wide", large.data.schema, large.data.to_batches())
    assert len(list((tmp_path / "cache" / "tables" / "wide.columns").iterdir())) <= 4 < large.data.num_columns
    assert found.equals(large.data)


def test_what_killed_processes_left_unfinished_goes(tmp_path: Path) -> None:
    """Once nobody has written to it for long: files, and folders by what is in them."""
    (tmp_path / "columns").mkdir()
    (tmp_path / "archives" / f"{spill.UNFINISHED}old" / "deep").mkdir(parents=True)
    (tmp_path / "archives" / f"{spill.UNFINISHED}new" / "deep").mkdir(parents=True)
    names = ["columns/kept.values", "columns/.git", f"columns/{spill.UNFINISHED}old", f"columns/{spill.UNFINISHED}new",
             f"archives/{spill.UNFINISHED}old/deep/a", f"archives/{spill.UNFINISHED}new/deep/a"]  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    for path in tmp_path.rglob("*"):
        if path.name != "a" or "old" in str(path):
            os.utime(path, (0, 0) if not path.name.endswith("new") or path.is_dir() else None)
    spill.folder(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(name for name in names if "old" not in name)
