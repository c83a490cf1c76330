"""Files as strangers have them: compressed, in NumPy's formats, in parts, series in their collections' formats or as columns."""

import bz2
import errno
import gzip
import lzma
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.datasets import load_iris

import duomo
from duomo import cli
from duomo.core import kinds, steps
from duomo.core.errors import DataError, ResourceError
from duomo.data import audit, sources
from duomo.data.folders import files
from duomo.data.formats import archive as archive_module
from duomo.data.formats import compressed
from duomo.data.targets import guess_target


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))


def iris() -> pd.DataFrame:
    return load_iris(as_frame=True).frame


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_a_compressed_table_is_the_table(tmp_path: Path, ending: str, pack) -> None:
    body = iris().to_csv(index=False).encode()
    (tmp_path / "iris.csv").write_bytes(body)
    plain = sources.read(tmp_path / "iris.csv")
    place = tmp_path / f"iris.csv{ending}"
    place.write_bytes(pack(body))
    for _ in range(2):  # the second time from the cache
        found = sources.read(place)
        assert found.data.equals(plain.data) and (found.name, found.root) == ("iris", tmp_path)
    place.write_bytes(pack(body)[:-30])
    with pytest.raises(DataError, match="must be whole"):
        sources.read(place)
    place.write_bytes(b"no such thing" * 20)
    with pytest.raises(DataError, match=r"must be whole|by its content|what its ending"):
        sources.read(place)


def test_zstandard_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pa.OSFile(str(tmp_path / "rows.jsonl.zst"), "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write(iris().to_json(orient="records", lines=True).encode())
    assert len(sources.read(tmp_path / "rows.jsonl.zst")) == 150
    monkeypatch.setattr(compressed, "FREE_BYTES", 1 << 20)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"0" * (8 << 20)))
    with pytest.raises(DataError, match="may unpack to at most"):
        sources.read(tmp_path / "bomb.csv.gz")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size > 1 << 19]
    greedy = lzma.compress(b"a,b\n1,2\n", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}])
    (tmp_path / "greedy.csv.xz").write_bytes(greedy)
    with pytest.raises(DataError, match="must be whole"):
        sources.read(tmp_path / "greedy.csv.xz")


def test_arrays_of_numpy(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    assert sources.read(tmp_path / "x.npy").data.column("x2").to_pylist() == x[:, 2].tolist()
    np.savez_compressed(tmp_path / "both.npz", X=x, y=y)
    found = sources.read(tmp_path / "both.npz")
    assert found.names == ["x0", "x1", "x2", "x3", "y"] and found.column("y").to_pylist() == y.tolist()
    np.savez(tmp_path / "more.npz", waves=np.zeros((150, 20, 2)), age=x[:, 0], classes=np.array(["a", "b", "c"]))
    found = sources.read(tmp_path / "more.npz")
    assert found.names == ["waves", "age"] and "classes" in found.problems[0]
    assert kinds.infer(found, {}).kinds == {"waves": "series", "age": "number"}


def test_arrays_that_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1000, 4)))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match="cut off"):
        sources.read(tmp_path / "x.npy")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="objects of Python"):
        sources.read(tmp_path / "objects.npy")
    head = (tmp_path / "x.npy").read_bytes()[:128].replace(b"(1000, 4)", b"(10**9, )")
    (tmp_path / "x.npy").write_bytes(head)
    with pytest.raises(DataError, match="must be whole"):
        sources.read(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "evil.npz", "w") as archive:
        archive.writestr("../x.npy", b"\x93NUMPY")
    with pytest.raises(DataError, match="outside"):
        sources.read(tmp_path / "evil.npz")


def test_a_table_in_parts(tmp_path: Path) -> None:
    frame = iris().assign(kind=lambda frame: frame["target"].map({0: "a b", 1: "c", 2: "d"}))
    pa.parquet.write_to_dataset(pa.Table.from_pandas(frame), tmp_path / "flowers", partition_cols=["kind"])
    found = sources.read(tmp_path / "flowers")
    assert len(found) == 150 and set(found.column("kind").to_pylist()) == {"a b", "c", "d"}
    for number in range(3):
        (tmp_path / "csv").mkdir(exist_ok=True)
        frame[number::3].to_csv(tmp_path / "csv" / f"part-0000{number}.csv", index=False)
    assert len(sources.read(tmp_path / "csv")) == 150
    frame[:9].drop(columns="kind").to_csv(tmp_path / "csv" / "part-00001.csv", index=False)
    with pytest.raises(DataError, match="the same columns"):
        sources.read(tmp_path / "csv")
    (tmp_path / "csv" / "part-00001.csv").rename(tmp_path / "csv" / "other.csv")
    with pytest.raises(DataError, match="needs a choice"):
        sources.read(tmp_path / "csv")


def test_the_first_sheet_with_rows_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["A report of flowers"])
    sheet = book.create_sheet("Data")
    for row in [list(iris().columns), *iris().to_numpy().tolist()]:
        sheet.append(row)
    book.save(tmp_path / "book.xlsx")
    found = sources.read(tmp_path / "book.xlsx")
    assert len(found) == 150 and "'Data' was read" in found.problems[0] and "book.xlsx::Sheet" in found.problems[0]
    with zipfile.ZipFile(tmp_path / "book.xlsx") as book_file, zipfile.ZipFile(tmp_path / "none.xlsx", "w") as none:
        for name in book_file.namelist():
            body = book_file.read(name)
            none.writestr(name, re.sub(rb"<sheets>.*</sheets>", b"<sheets></sheets>", body) if name == "xl/workbook.xml" else body)
    with pytest.raises(DataError, match="none below its header"):
        sources.read(tmp_path / "none.xlsx")


TS = """# a comment
@problemName tiny
@timeStamps false
@univariate {uni}
@classLabel {label}
@data
"""


def test_series_of_collections(tmp_path: Path) -> None:
    (tmp_path / "one.ts").write_text(TS.format(uni="true", label="true up down") + "1,2,?,4:up\n3,2,1:down\n")
    found = sources.read(tmp_path / "one.ts")
    assert found.column("series").to_pylist() == [[1, 2, None, 4], [3, 2, 1]] and found.column("label").to_pylist() == ["up", "down"]
    (tmp_path / "two.ts").write_text(TS.format(uni="false", label="true a b") + "1,2,3:4,5,6:a\n1,2:4,5:b\n")
    assert sources.read(tmp_path / "two.ts").column("series").to_pylist()[1] == [[1, 4], [2, 5]]
    (tmp_path / "number.ts").write_text(TS.format(uni="true", label="false").replace("@data", "@targetlabel true\n@data") + "1,2,3:0.5\n")
    assert sources.read(tmp_path / "number.ts").column("target").to_pylist() == [0.5]
    (tmp_path / "bad.ts").write_text(TS.format(uni="true", label="true a") + "1,2,3:a\n1,x,3:a\n")
    with pytest.raises(DataError, match=r"line 8 of bad\.ts"):
        sources.read(tmp_path / "bad.ts")
    (tmp_path / "film.ts").write_bytes(b"G@\x00\x10" + bytes(500))
    with pytest.raises(DataError, match="ending of a file"):
        sources.read(tmp_path / "film.ts")


def test_tables_and_series_of_weka(tmp_path: Path) -> None:
    (tmp_path / "weather.arff").write_text(
        "% old\n@relation weather\n@attribute 'out look' {sunny, 'very rainy'}\n@attribute temperature numeric\n"
        "@attribute play {yes,no}\n@data\nsunny, 21.5, yes\n'very rainy', ?, no\n{1 7, 2 no}\n"
    )
    found = sources.read(tmp_path / "weather.arff")
    assert found.column("out look").to_pylist() == ["sunny", "very rainy", "sunny"]  # a sparse row leaves out the first value
    assert found.column("temperature").to_pylist() == [21.5, None, 7] and found.column("play").to_pylist() == ["yes", "no", "no"]
    (tmp_path / "moves.arff").write_text(
        "@relation moves\n@attribute watch relational\n@attribute w1 numeric\n@attribute w2 numeric\n@end watch\n"
        "@attribute kind {run,rest}\n@data\n'1,2\\n3,4',run\n'5,6\\n7,8',rest\n"
    )
    found = sources.read(tmp_path / "moves.arff")
    assert found.column("watch").to_pylist() == [[[1, 3], [2, 4]], [[5, 7], [6, 8]]] and found.column("kind").to_pylist() == ["run", "rest"]


def waves(rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    place = random.integers(0, 40, (rows, 1)) + np.arange(90)
    kind = random.integers(0, 2, rows)
    return np.where(kind[:, None] == 0, np.sin(place / 6), 2 * np.abs((place / 20) % 2 - 1) - 1) + random.normal(0, 0.05, (rows, 90)), kind


def test_columns_that_are_steps_are_a_series(tmp_path: Path) -> None:
    values, kind = waves(200)
    frame = pd.DataFrame(np.c_[kind, values])
    frame.astype({0: int}).to_csv(tmp_path / "waves.tsv", sep="\t", header=False, index=False)
    table = kinds.infer(sources.read(tmp_path / "waves.tsv"), {})
    assert guess_target(table)[0] == "c0"
    assert steps.steps_of(table, table.names[1:]) == [f"c{place}" for place in range(1, 91)]
    run = duomo.train(tmp_path / "waves.tsv", out=tmp_path / "run")
    assert (run.recipe.model.name, run.recipe.data.target) == ("rocket", ("c0",))
    assert run.scorecard["results"][0]["metrics"]["accuracy"]["value"] > 0.9
    row = {f"c{place + 1}": float(value) for place, value in enumerate(values[0])}
    assert str(run.predict([row])[0]["prediction"]) == str(kind[0])
    shuffled = frame.iloc[:, [0, *(1 + np.random.default_rng(1).permutation(90))]]
    mixed = kinds.infer(sources.read(shuffled.set_axis([f"g{place}" for place in range(91)], axis=1)), {})
    assert not steps.steps_of(mixed, mixed.names[1:]), "columns in no order, as genes or answers are"
    assert not steps.counted([f"p{place}" for place in range(784)]), "a picture of 28 × 28"
    assert not steps.counted([f"q{place}" for place in range(10)]) and steps.counted(["b", *(f"t_{place}" for place in range(5, 40))])


def test_a_long_table_is_divided_by_its_series() -> None:
    values, kind = waves(20)
    rows = [{"id": row, "time": step, "value": values[row, step], "label": "ab"[kind[row]]} for row in range(20) for step in range(90)]
    proposal = audit.propose(kinds.infer(sources.read(rows), {}), "label")[0]
    assert (proposal.how, proposal.group) == ("group", "id")


def test_a_disk_that_fills_up_while_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room was there when it was looked for: another program was quicker."""
    rows = iris().to_csv(index=False).encode()
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.csv", rows)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(rows))
    full = lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))  # noqa: E731
    monkeypatch.setattr(archive_module, "_write", full)
    monkeypatch.setattr(compressed, "_opened", full)
    for name in ("rows.zip", "rows.csv.gz"):
        with pytest.raises(ResourceError, match="is full"):
            sources.read(tmp_path / name)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_file_that_is_larger_than_the_room_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(iris().to_csv(index=False).encode()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 20, 1 << 20, 1000))
    with pytest.raises(ResourceError, match="more than is free"):
        sources.read(tmp_path / "rows.csv.gz")


def test_a_whole_disk_is_no_folder_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="the whole disk"):
        sources.read("/")
    monkeypatch.setattr(files, "MOST_FILES", 20)
    for number in range(21):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match="20 files at most"):
        sources.read(tmp_path)


def test_folders_of_tables_that_are_a_series_each(tmp_path: Path) -> None:
    """A recording a file, its class the folder: not the parts of one table, whose folder would be lost."""
    draw = np.random.default_rng(0)
    for name in ("walk", "run"):
        for number in range(6):
            path = tmp_path / "moves" / name / f"{number}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(draw.normal(size=(30 + number, 2)), columns=["x", "y"]).to_csv(path, index=False)
    found = kinds.infer(sources.read(tmp_path / "moves"), {})
    assert (found.kinds["series"], found.kinds["label"], len(found)) == ("series", "category", 12)
    assert found.column("label").to_pylist() == ["run"] * 6 + ["walk"] * 6 and "x, y" in found.problems[0]
    first = pd.read_csv(tmp_path / "moves" / "run" / "3.csv")
    np.testing.assert_allclose(np.array(found.column("series")[3].as_py()), first.to_numpy(), rtol=1e-6)
    for path in (tmp_path / "moves").rglob("*.csv"):
        path.write_text(path.read_text().replace("x,y", "x,town").replace(",", ",Ulm ").replace("x,Ulm town", "x,town"))
    assert len(sources.read(tmp_path / "moves")) == 2 * sum(range(30, 36))
    for name, other in (("walk", "train"), ("run", "test")):
        (tmp_path / "moves" / name).rename(tmp_path / "moves" / other)
    assert len(sources.read(tmp_path / "moves")) == 2 * sum(range(30, 36))


def test_codes_are_not_what_is_guessed(tmp_path: Path) -> None:
    frame = iris().assign(ok=["yes", "no"] * 75, client=[f"C{place // 5:03}" for place in range(150)]).drop(columns="target")
    assert guess_target(kinds.infer(sources.read(frame), {}))[0] == "ok"
    assert guess_target(kinds.infer(sources.read(frame.drop(columns="ok")), {}))[0] == "client"


def test_what_stands_beside_a_run_of_numbered_columns_is_the_target() -> None:
    """Also in front of them; a column of categories with hardly more rows than values is none where others are."""
    bits = pd.DataFrame(np.random.default_rng(0).integers(0, 2, (60, 40)), columns=[f"bit_{place:03}" for place in range(40)])
    bits.insert(0, "yield", np.linspace(0.5, 9.5, 60))
    assert guess_target(kinds.infer(sources.read(bits), {}))[0] == "yield"
    works = iris().assign(sort=["etching", "print"] * 75, medium=[f"oil {place} on {place % 7}" for place in range(50)] * 3)
    table = kinds.infer(sources.read(works.drop(columns="target")), {"medium": "category"})
    assert guess_target(table)[0] == "sort"


def test_a_column_that_is_filled_for_one_class_only() -> None:
    frame = iris().assign(target=["yes", "no"] * 75, paid=["2024-01-05", ""] * 75).rename(columns={"paid": "paid on"})
    found = audit.audit(kinds.infer(sources.read(frame), {}), target="target").findings
    told = {finding.code: (finding.sentence, finding.remedy) for finding in found if "paid on" in finding.columns}
    assert told["leak"][1].endswith('--ignore "paid on"') and "whether its cell is empty" in told["constant"][0]


def test_the_number_beside_a_date_is_the_target() -> None:
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    assert guess_target(kinds.infer(sources.read(pd.DataFrame({"day": days, "sales": np.arange(60) * 1.5})), {}))[0] == "sales"
    shops = pd.DataFrame({"day": days, "store": list("abcd") * 15, "sales": np.arange(60) * 1.5})
    assert guess_target(kinds.infer(sources.read(shops), {}))[0] == "sales"
    assert guess_target(kinds.infer(sources.read(shops.assign(month=[2, 3] * 30)), {}))[0] == "store"


def test_an_object_that_is_no_table_tells_its_parts(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text('{"width": 2, "values": [1, 2, 3]}')
    with pytest.raises(DataError, match="an object of width, values"):
        sources.read(tmp_path / "grid.json")


def test_a_text_in_place_of_a_path_is_told() -> None:
    with pytest.raises(DataError, match="there is no file or folder 'a long review a long"):
        sources.read("a long review " * 100)


def test_columns_that_are_counted_are_named(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5)).round(2)
    pd.DataFrame(rows).assign(y=["a", "b"] * 20).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(rows).to_csv(tmp_path / "b.csv", index=False)
    pd.DataFrame(np.arange(40)[:, None] + np.arange(5)).to_csv(tmp_path / "c.csv", index=False, header=False)
    assert list(sources.read(tmp_path / "a.csv").names) == ["0", "1", "2", "3", "4", "y"]
    assert [len(sources.read(tmp_path / name)) for name in ("a.csv", "b.csv", "c.csv")] == [40, 40, 40]


def test_names_that_are_no_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GBK names that were unpacked on another system."""
    odd = tmp_path / os.fsdecode("照片".encode("gbk"))
    odd.mkdir()
    load_iris(as_frame=True).frame.to_csv(odd / "iris.csv", index=False)
    for source in (odd, odd / "iris.csv", tmp_path):
        with pytest.raises(DataError, match=r"must be in UTF-8; .*\ufffd.* is not"):
            sources.read(source)
    monkeypatch.chdir(odd)
    assert len(sources.read("iris.csv")) == 150
    with pytest.raises(DataError, match="must be in UTF-8"):
        duomo.train("iris.csv", target="target", out=tmp_path / "run")


def test_addresses_of_files_and_a_locale_without_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a terminal is given by dragging a file into it; and names in Chinese where nothing says how letters are written."""
    load_iris(as_frame=True).frame.to_csv(tmp_path / "鸢尾 1.csv", index=False)
    assert cli.main(["inspect", (tmp_path / "鸢尾 1.csv").as_uri(), "-o", str(tmp_path / "page.html")]) == 0
    begun = list[list[str]]()
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    monkeypatch.setattr(sys, "argv", ["duomo", "--version"])
    monkeypatch.setattr(os, "execv", lambda _, words: begun.append(words))
    assert cli.main() == 0 and begun[0][:3] == [sys.executable, "-X", "utf8"]
