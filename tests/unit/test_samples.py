"""The samples in the package: complete, small, licensed, written whole or not at all."""

import csv
import io
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from duomo import samples
from duomo.core.errors import DataError

HERE = Path(samples.__file__).parent


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_all_samples_fit_in_ten_megabytes_and_each_has_its_data_and_its_licence() -> None:
    archives = {path.stem: path for path in (HERE / "data").glob("*.zip")}
    assert set(archives) == set(samples.SAMPLES)
    assert sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts) <= 10_000_000
    stated = (HERE / "LICENCES.md").read_text(encoding="utf-8")
    for name, sample in samples.SAMPLES.items():
        assert name == sample.name and f"| `{name}` |" in stated and sample.licence and sample.source
        assert re.search(r"[\u4e00-\u9fff]", sample.title_zh) and sample.command.startswith(f"duomo train {sample.file}")
    assert "GNU GENERAL PUBLIC LICENSE" in (HERE / "GPL-2.txt").read_text()


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_archive_members_stay_inside_the_sample(name: str) -> None:
    with zipfile.ZipFile(HERE / "data" / f"{name}.zip") as archive:
        assert archive.testzip() is None
        for entry in archive.namelist():
            path = PurePosixPath(entry)
            assert path.parts[0] == samples.SAMPLES[name].file and ".." not in path.parts and not path.is_absolute()


@pytest.mark.parametrize("name", ["clinic", "reviews", "pinglun", "houses"])
def test_tables_hold_what_the_catalogue_says(name: str, tmp_path: Path) -> None:
    sample = samples.SAMPLES[name]
    rows = read_csv(samples.write(name, tmp_path))
    assert len(rows) == sample.rows and sample.target in rows[0]
    assert all(row[sample.target] for row in rows)
    if "text" in rows[0]:
        assert len({row["text"] for row in rows}) == len(rows)
        assert Counter(row["label"] for row in rows) == {"positive": 2000, "negative": 2000}
        assert not any(re.search(r"@|https?:|www\.|\d{7}", row["text"]) for row in rows)


def test_digits_are_pictures_in_class_folders(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = samples.write("digits", tmp_path)
    paths = sorted(folder.glob("*/*.png"))
    assert Counter(path.parent.name for path in paths) == dict.fromkeys("0123456789", 250)
    assert len({path.read_bytes() for path in paths}) == len(paths) == samples.SAMPLES["digits"].rows
    with image.open(paths[1234]) as picture:
        assert picture.size == (28, 28) and picture.mode == "L"


def test_words_are_speech_with_sentences(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    folder = samples.write("words", tmp_path)
    rows = read_csv(folder / "metadata.csv")
    assert len(rows) == samples.SAMPLES["words"].rows >= 300
    assert {row["file"] for row in rows} | {"metadata.csv"} == {path.name for path in folder.iterdir()}
    assert not any(re.search(r"\d", row["text"]) for row in rows)
    for row in rows[::40]:
        signal, _ = soundfile.read(folder / row["file"])
        info = soundfile.info(folder / row["file"])
        assert info.channels == 1 and info.samplerate == 16_000 and 0.4 <= info.duration <= 6.1 and abs(signal).max() > 0.01


def test_watch_is_a_series_with_ten_subjects(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in samples.write("watch", tmp_path).read_text().splitlines()]
    assert len(rows) == samples.SAMPLES["watch"].rows
    assert {(len(row["signal"]), len(row["signal"][0])) for row in rows} == {(100, 6)}
    assert len({row["subject"] for row in rows}) == 10 and len({row["exercise"] for row in rows}) == 7


def test_texts_are_whole(tmp_path: Path) -> None:
    novel = samples.write("novel", tmp_path).read_text(encoding="utf-8")
    assert "It is a truth universally acknowledged" in novel and novel.count("Chapter ") >= 61
    poems = samples.write("poems", tmp_path).read_text(encoding="utf-8").strip().split("\n\n")
    assert len(poems) == samples.SAMPLES["poems"].rows and all(len(poem.splitlines()) >= 2 for poem in poems)


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"received 'reveiws'\. Did you mean 'reviews'\?"):
        samples.write("reveiws", tmp_path)


def test_writing_twice_changes_nothing_and_other_data_are_never_overwritten(tmp_path: Path) -> None:
    first = samples.write("clinic", tmp_path)
    changed = first.stat().st_mtime_ns
    assert samples.write("clinic", tmp_path) == first and first.stat().st_mtime_ns == changed
    first.write_text("mine")
    with pytest.raises(DataError, match="never overwrites"):
        samples.write("clinic", tmp_path)
    assert first.read_text() == "mine"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "own.ogg").write_bytes(b"mine")
    with pytest.raises(DataError, match="never overwrites"):
        samples.write("words", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["words", "own.ogg"]
    folder = samples.write("words", tmp_path / "new")
    (folder / ".DS_Store").touch()
    assert samples.write("words", tmp_path / "new") == folder


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="must be writable"):
        samples.write("clinic", tmp_path / "file")


def test_the_module_loads_nothing_heavy() -> None:
    code = "import sys, duomo.samples; print([n for n in ('numpy', 'pandas', 'pyarrow', 'torch', 'PIL', 'soundfile') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
