"""Pictures are decoded once and files read once: told by what they hold, wherever they lie and whenever they were written."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from duomo.core.errors import DataError
from duomo.core.kinds import image
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Dense
from duomo.data import cache, file_index
from duomo.data.digests import cell_digests
from duomo.data.encode import InputEncoder, broken

COUNT = 12


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_index, "FEW", 1)
    monkeypatch.setattr(file_index, "SETTLED", 0)
    monkeypatch.setattr(cache, "DEAR", 1)
    random = np.random.default_rng(0)
    for number in range(COUNT):
        (tmp_path / "photos" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "photos" / "a" / f"{number:02}.bmp")
    return tmp_path / "photos"


def table(root: Path) -> Table:
    names = sorted(str(file.relative_to(root)) for file in root.rglob("*.bmp"))
    return Table(pa.table({"photo": names}), {"photo": "image"}, root=root)


def pixels(root: Path) -> np.ndarray:
    encoder = InputEncoder(EncodeConfig())
    state = {"size": [3, 8, 8], "fit": "exact", "fill": 0, "white": 255.0, "mean": [0.5] * 3, "std": [0.2] * 3}
    encoder.restore({"columns": [{"column": "photo", "kind": "image", "state": state}]})
    column = encoder.encode(table(root), kept=True)["image:photo"]
    assert isinstance(column, Dense)
    return column.values.numpy()


def columns(root: Path) -> set[str]:
    return {file.name for file in (root.parent / "cache" / "columns").glob("*.values")}


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[object]:
    """What `module.name` is called with from now on."""
    calls: list[object] = []
    real = getattr(module, name)

    def noted(first: object, *rest: object) -> object:
        calls.append(first)
        return real(first, *rest)

    monkeypatch.setattr(module, name, noted)
    return calls


def test_a_copy_a_move_and_a_touch_hit_the_cache(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, kept = pixels(photos), columns(photos)
    assert len(kept) == 1
    copy = photos.parent / "elsewhere" / "again"
    shutil.copytree(photos, copy)
    for file in photos.rglob("*.bmp"):
        os.utime(file, (1, 1))
    (photos / "a").rename(photos / "b")  # other names, the same pictures in the same order
    for root in (copy, photos):
        assert np.array_equal(pixels(root), before)
        assert columns(photos) == kept


def test_other_pixels_under_the_same_name_size_and_time_are_seen(photos: Path) -> None:
    before = pixels(photos)
    file = photos / "a" / "03.bmp"
    about, written = file.stat(), file.read_bytes()
    file.write_bytes(written[:-9] + bytes(9))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (about.st_size, about.st_mtime_ns)
    after = pixels(photos)
    assert not np.array_equal(after[3], before[3]) and np.array_equal(np.delete(after, 3, 0), np.delete(before, 3, 0))


def test_one_picture_of_many_that_changed_is_decoded_alone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pixels(photos)
    Image.fromarray(before[0].transpose(1, 2, 0)).save(photos / "a" / "other.bmp")
    part = photos.parent / "part"  # decoded since, and holds one of them
    part.mkdir()
    (photos / "a" / "other.bmp").rename(part / "other.bmp")
    pixels(part)
    calls = counted(monkeypatch, image, "decode")
    changed, gone = photos / "a" / "05.bmp", photos / "a" / "02.bmp"
    Image.fromarray(255 - before[5].transpose(1, 2, 0)).save(changed)
    gone.unlink()
    Image.fromarray(255 - before[2].transpose(1, 2, 0)).save(photos / "a" / "zz.bmp")
    after = pixels(photos)
    assert sorted(Path(str(path)).name for path in calls) == ["05.bmp", "zz.bmp"]
    wanted = np.concatenate([before[[row for row in range(COUNT) if row != 2]], 255 - before[2:3]])
    wanted[4] = 255 - before[5]
    assert np.array_equal(after, wanted) and np.array_equal(pixels(photos), wanted) and len(calls) == 2
    changed.write_bytes(changed.read_bytes()[:80])
    with pytest.raises(DataError, match=r"row 5 \(.*05.bmp\)"):
        pixels(photos)
    for file in (photos.parent / "cache" / "columns").glob("*.rows"):
        file.write_bytes(file.read_bytes()[:-3])  # torn: everything is decoded
    changed.unlink()
    assert np.array_equal(pixels(photos), np.delete(wanted, 4, 0)) and len(calls) > COUNT


def test_files_are_read_and_tried_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "a" / "05.bmp").write_bytes((photos / "a" / "05.bmp").read_bytes()[:100])
    reads, trials = counted(monkeypatch, file_index, "_content"), counted(monkeypatch, image, "trial")
    found = cell_digests(table(photos), "photo"), broken(table(photos), ["photo"])
    assert len(reads) == len(trials) == COUNT and [one.row for one in found[1]] == [5]
    again = cell_digests(table(photos), "photo"), broken(table(photos), ["photo"])
    assert np.array_equal(found[0], again[0]) and found[1] == again[1]
    assert len(reads) == COUNT and len(trials) == COUNT + 1  # what is broken is tried again: it is named with the reason
    (photos / "a" / "07.bmp").write_bytes(b"BM no more")
    assert [one.row for one in broken(table(photos), ["photo"])] == [5, 7]
    assert (cell_digests(table(photos), "photo") != found[0]).nonzero()[0].tolist() == [7] and len(reads) == COUNT + 1


def test_what_changed_just_now_is_not_remembered(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_index, "SETTLED", 60 * 10**9)
    cell_digests(table(photos), "photo")
    assert not (photos.parent / "cache" / "files").exists()


def test_a_damaged_index_and_a_cache_that_cannot_be_written_cost_time_alone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = cell_digests(table(photos), "photo")
    (index,) = (photos.parent / "cache" / "files").iterdir()
    for damage in (b"", index.read_bytes()[:-8], np.roll(np.fromfile(index, np.uint64).reshape(-1, 7), 1, 0).tobytes()):
        index.write_bytes(damage)
        assert np.array_equal(cell_digests(table(photos), "photo"), right)
    (photos.parent / "plain").write_bytes(b"")
    before = pixels(photos)
    monkeypatch.setenv("DUOMO_CACHE", str(photos.parent / "plain"))
    assert np.array_equal(cell_digests(table(photos), "photo"), right) and np.array_equal(pixels(photos), before)


def test_indexes_that_were_unused_for_longest_go_first(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell_digests(table(photos), "photo")
    (first,) = (photos.parent / "cache" / "files").iterdir()
    os.utime(first, (1, 1))
    monkeypatch.setattr(file_index, "KEPT", first.stat().st_size)
    copy = shutil.copytree(photos, photos.parent / "copy")
    cell_digests(table(copy), "photo")
    assert [file != first for file in (photos.parent / "cache" / "files").iterdir()] == [True]


def test_a_film_where_pictures_were_learned_from_is_told(photos: Path) -> None:
    encoder = InputEncoder(EncodeConfig())
    encoder.restore({"columns": [{"column": "photo", "kind": "image", "state": {"size": [3, 8, 8]}}]})
    with pytest.raises(DataError, match=r"learned from, image; these data hold video. Give files"):
        encoder.encode(Table(pa.table({"video": ["a.mp4"]}), {"video": "video"}, root=photos))
