"""Answers over many rows: written in parts, continued after a kill, equal to those of an undisturbed start, in every format."""

import errno
import fcntl
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import duomo
from duomo import cli
from duomo.core.errors import ConfigError, DataError
from duomo.core.table import Table
from duomo.data import outputs

SMALL = 1024


@pytest.fixture(scope="module")
def many(runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of the sample again and again, 5,120 of them, each with a number of its own."""
    rows = pyarrow.csv.read_csv(runs.source("clinic"))
    repeated = pa.concat_tables([rows] * 10).slice(0, 5 * SMALL)
    path = tmp_path_factory.mktemp("many") / "many.parquet"
    pq.write_table(repeated.append_column("number", pa.array(range(5 * SMALL))), path)
    return path


@pytest.mark.parametrize("suffix", outputs.OUTPUTS)
def test_parts_equal_the_whole(runs, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    run = runs("clinic")
    run.predict_file(many, str(tmp_path / f"whole{suffix}"))
    monkeypatch.setattr(outputs, "PART", SMALL)
    found = run.predict_file(many, str(tmp_path / f"parts{suffix}"))
    assert found is not None and found["rows"] == 5 * SMALL
    if suffix == ".parquet":
        assert pq.read_table(tmp_path / "whole.parquet").equals(pq.read_table(tmp_path / "parts.parquet"))
    else:
        assert (tmp_path / f"whole{suffix}").read_bytes() == (tmp_path / f"parts{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"parts{suffix}", f"whole{suffix}"]


def test_a_killed_start_is_continued(runs, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
import os, signal, sys, duomo
from duomo.data import outputs
outputs.PART, asked, answers = {SMALL}, [], duomo.Run.answers

def dying(self, table):
    asked.append(len(table))
    if len(asked) > 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return answers(self, table)

duomo.Run.answers = dying
duomo.load(sys.argv[1]).predict_file(sys.argv[2], sys.argv[3])
"""
    out, run = tmp_path / "out.csv", runs("clinic")
    killed = subprocess.run([sys.executable, "-c", code, str(run.path), str(many), str(out)], timeout=120)
    parts = tmp_path / ".out.csv.parts"
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists() and parts.is_dir(), "it was killed on the way"
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.csv")}
    monkeypatch.setattr(outputs, "PART", SMALL)
    asked = []
    monkeypatch.setattr(duomo.Run, "answers", lambda self, table: asked.append(len(table)) or self.predictor.answers(table))
    run.predict_file(many, str(out))
    assert len(kept) >= 1 and sum(asked) == 5 * SMALL - SMALL * len(kept)
    run.predict_file(many, str(tmp_path / "whole.csv"))
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_full_disk_is_named_and_left_as_empty_as_it_was(runs, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *rest: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out.csv"
    for part in (SMALL, outputs.PART):
        with monkeypatch.context() as within, pytest.raises(OSError, match="No space left") as raised:
            within.setattr(outputs, "PART", part)
            within.setattr(outputs, "_write_part", full)
            runs("clinic").predict_file(many, str(out))
        assert raised.value.filename == str(out)
    with monkeypatch.context() as within, pytest.raises(OSError, match=r"^image file is truncated$"):  # a library's own, of no file
        within.setattr(outputs, "_write_part", lambda *_: (_ for _ in ()).throw(OSError("image file is truncated")))
        runs("clinic").predict_file(many, str(out))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["key"]


def test_a_second_start_does_not_write_into_the_parts_of_the_first(runs, many: Path, tmp_path: Path) -> None:
    """A nightly start that comes before the last one has ended; what a killed one leaves does not stop it."""
    out, run = tmp_path / "out.csv", runs("clinic")
    with (tmp_path / ".out.csv.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another one writes"):
            run.predict_file(many, str(out))
        assert not out.exists()
    run.predict_file(many, str(out))
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_other_rows_begin_anew(runs, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "PART", SMALL)
    run, out = runs("clinic"), tmp_path / "out.jsonl"
    parts = tmp_path / ".out.jsonl.parts"
    parts.mkdir()
    (parts / "key").write_text("of other rows")
    (parts / f"{0:012}.jsonl").write_text("wrong\n")
    run.predict_file(many, str(out))
    assert not out.read_text(encoding="utf-8").startswith("wrong") and not parts.exists()
    shutil.rmtree(parts, ignore_errors=True)


@pytest.mark.parametrize("part", [4, 1])
def test_lists_that_begin_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """Nothing found in the first pictures does not say what a later find looks like."""
    monkeypatch.setattr(outputs, "PART", part)
    found: list[list[dict[str, object]]] = [[], [{"label": "a", "box": [1.0, 2.0]}], []]

    def answering(table: Table, start: int) -> Iterator[dict[str, list[object]]]:
        for row in range(start, start + len(table)):
            yield {"x": [row], "prediction": [found[row]]}

    for name in ("a.parquet", "b.parquet"):
        outputs.write(tmp_path / name, Table(pa.table({"x": [0, 1, 2]}), {}), answering, lambda: "k")
        assert pq.read_table(tmp_path / name).column("prediction").to_pylist() == found
        found[1] = []


def test_the_columns_of_a_test_are_told_once() -> None:
    with pytest.raises(DataError, match="The columns are: y, x, prediction"):
        outputs.picked({"x": [1], "y": [0], "prediction": [1]}, ["z"], ["y"], [1])


def test_answers_in_the_place_of_a_column_have_a_type_of_their_own(tmp_path: Path) -> None:
    """A target that was read as whole numbers, or as text, and is answered by others."""
    for told in ([40, 230], ["40", "230"]):
        given, out = Table(pa.table({"id": [1, 2], "price": told}), {"id": "id", "price": "number"}), tmp_path / "out.parquet"
        outputs.write(out, given, lambda table, start: iter([{"id": [1, 2], "price": [42.5, 231.25]}]), lambda: "key", ["price"])
        assert pq.read_table(out).column("price").to_pylist() == [42.5, 231.25]


def test_a_wrong_column_is_refused_before_the_rows_are_answered(runs, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    answers = duomo.Run.answers
    monkeypatch.setattr(duomo.Run, "answers", lambda run, table: (asked.append(len(table)), answers(run, table))[1])
    with pytest.raises(DataError, match="no 'confidense'"):
        runs("clinic").predict_file(many, str(tmp_path / "a.csv"), columns=("number", "confidense"))
    assert asked == [1] and not list(tmp_path.iterdir())
    runs("clinic").predict_file(many, str(tmp_path / "a.csv"), columns=("number", "confidence", "diagnosis"))
    assert (tmp_path / "a.csv").read_text().startswith("number,confidence,diagnosis\n")


def test_columns_of_answers_may_be_asked_where_the_first_row_does_not_open(runs, tmp_path: Path) -> None:
    picture = next(runs.source("digits").glob("*/*.png"))
    (tmp_path / "rows.csv").write_text(f"image\nnone.png\n{picture}\n")
    runs("digits").predict_file(tmp_path / "rows.csv", str(tmp_path / "a.csv"), columns=("image", "confidence"))
    head, first, second = (tmp_path / "a.csv").read_text().splitlines()
    assert head == "image,confidence" and first == "none.png," and float(second.rpartition(",")[2]) > 0


def test_who_reads_only_the_first_answers_ends_it_as_other_tools_end(runs, many: Path) -> None:
    """`duomo predict … | head -1`: no word, and the status that a shell knows; little that is said at the very end counts too."""
    for words in (["predict", str(runs("clinic").path), str(many)], ["list", "tasks"]):
        process = subprocess.Popen([sys.executable, "-m", "duomo", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 128 + signal.SIGPIPE and "rror" not in said and "Exception" not in said


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_are_not_written_beside_answers(kind: pa.DataType) -> None:
    table = Table(pa.table({"image": pa.array([b"\x89PNG"], kind), "name": ["a"]}))
    assert outputs.shown(table, joined=False) == ["name"] and outputs.shown(table, joined=True) == ["image", "name"]


def test_several_sources_are_answered_together(runs, tmp_path: Path) -> None:
    """As a shell writes out *.csv and *.png: rows below one another, pictures by the names under which they were given."""
    clinic, digits = runs("clinic"), runs("digits")
    head, *rows = runs.source("clinic").read_text().splitlines()
    for name, some in (("a.csv", rows[:3]), ("b.csv", rows[3:5])):
        (tmp_path / name).write_text("\n".join([head, *some]) + "\n")
    both = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    clinic.predict_file(both, str(tmp_path / "answers.csv"))
    assert [line.rsplit(",", 2)[0] for line in (tmp_path / "answers.csv").read_text().splitlines()[1:]] == rows[:5]
    assert clinic.predict(both) == clinic.predict(both[0]) + clinic.predict(both[1])
    with pytest.raises(ConfigError, match="a file of their own"):
        clinic.predict_file(both, both[1])
    assert cli.main(["predict", str(clinic.path), "-o", str(tmp_path / "behind.csv"), *both]) == 0  # files behind a flag
    assert (tmp_path / "behind.csv").read_text() == (tmp_path / "answers.csv").read_text()
    pictures = sorted(map(str, runs.source("digits").glob("*/*.png")))[:3]
    folder = str(Path(pictures[0]).parent)
    digits.predict_file(pictures, str(tmp_path / "answers.csv"), columns=("image", "confidence"))
    assert [line.split(",")[0] for line in (tmp_path / "answers.csv").read_text().splitlines()[1:]] == pictures
    digits.predict_file([folder, pictures[0]], str(tmp_path / "answers.csv"), columns=("file", "confidence"))
    found = [line.split(",")[0] for line in (tmp_path / "answers.csv").read_text().splitlines()[1:]]
    assert found[-1] == pictures[0] and found.count(pictures[0]) == 2 and len(found) == len(list(Path(folder).iterdir())) + 1
