"""Files of every format become tables; what is wrong with them is said."""

import datetime
import io
import json
import sqlite3
import zipfile
from importlib import resources
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from duomo import plan
from duomo.core.errors import DataError
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import objects, spill
from duomo.data.sources import read


@pytest.fixture(scope="module")
def wine() -> pd.DataFrame:
    frame = load_wine(as_frame=True).frame
    return frame.assign(name=[f"wine «{number}», red" for number in range(len(frame))])


def digits(root: Path, number: int = 40) -> Path:
    images, labels = load_digits(return_X_y=True)
    for place in range(number):
        folder = root / str(labels[place])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((images[place].reshape(8, 8) * 15).astype(np.uint8)).save(folder / f"{place}.png")
    return root


@pytest.mark.parametrize(
    "ending", ["csv", "tsv", "scsv.csv", "jsonl", "json", "columns.json", "data.json", "parquet", "feather", "db", "zip"]
)
def test_every_format_gives_the_same_cells(wine: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"wine.{ending}"
    match ending:
        case "csv":
            wine.to_csv(path, index=False)
        case "tsv":
            wine.to_csv(path, index=False, sep="\t")
        case "scsv.csv":
            wine.to_csv(path, index=False, sep=";")
        case "jsonl":
            wine.to_json(path, orient="records", lines=True, force_ascii=False)
        case "json":
            wine.to_json(path, orient="records")
        case "columns.json":
            path.write_text(json.dumps(wine.to_dict("list")))
        case "data.json":
            path.write_text(json.dumps({"data": wine.to_dict("records")}))
        case "parquet":
            wine.to_parquet(path)
        case "feather":
            pyarrow.feather.write_feather(pa.Table.from_pandas(wine), str(path))
        case "db":
            with sqlite3.connect(path) as base:
                wine.to_sql("wine", base, index=False)
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("folder/wine.csv", wine.to_csv(index=False))
    table = read(path, cache=tmp_path / "cache")
    assert table.names == list(wine.columns)
    assert table.problems == ()
    assert table.data.column("name").to_pylist() == wine["name"].tolist()
    assert np.allclose([float(cell) for cell in table.data.column("alcohol").to_pylist()], wine["alcohol"])


def test_memory(wine: pd.DataFrame) -> None:
    sources = {
        "pandas": wine, "polars": pl.from_pandas(wine), "datasets": datasets.Dataset.from_pandas(wine), "arrow": pa.Table.from_pandas(wine),
        "rows": wine.to_dict("records"), "columns": wine.to_dict("list"),
    }  # fmt: skip
    for name, source in sources.items():
        table = read(source)
        assert table.names[: wine.shape[1]] == list(wine.columns), name
        assert table.data.column("name").to_pylist() == wine["name"].tolist(), name
        assert np.allclose(table.data.column("alcohol").to_numpy(), wine["alcohol"]), name
    array = read(load_breast_cancer().data)
    assert array.names == [f"x{place}" for place in range(30)]
    series = read(np.zeros((5, 7, 3)))
    assert len(series) == 5
    assert len(series.data.column("x0")[0].as_py()) == 7
    mixed = read(pd.DataFrame({"a": [1, "x", None], "b": [[1, 2], [3], None]}))
    assert mixed.data.column("a").to_pylist() == ["1", "x", None]
    assert mixed.data.column("b").to_pylist() == [[1, 2], [3], None]
    with pytest.raises(DataError, match="Convert it"):
        read(object())


def test_csv_bad_rows_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b,b,\n1,"x\ny",2,3\n1,2\n4,5,6,7\n1,2,3,4,5\n8,,9,10\n')
    table = read(path)
    assert table.names == ["a", "b", "b_2", "c3"]
    assert table.data.column("b").to_pylist() == ["x\ny", "5", None]
    assert "rows 3, 5" in " ".join(table.problems)
    assert "b_2, c3" in " ".join(table.problems)


def test_cells_parted_by_full_width_commas_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("姓名，年龄，城市\n" + "王芳，35，北京\n" * 5, encoding="utf-8")
    assert any("3 columns" in problem for problem in read(path).problems)
    path.write_text("text\n" + "秦川雄帝宅，函谷壯皇居。\n" * 5, encoding="utf-8")
    assert not read(path).problems


def test_csv_header_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,2.9,virginica\n")
    assert read(path).names == ["c0", "c1", "c2"]
    assert len(read(path)) == 3
    path.write_text("name,2019,2020\nx,1,2\ny,3,4\n")
    assert read(path).names == ["name", "2019", "2020"]
    path.write_text('"","1","2"\n"1",50,19\n"2",16,40\n')
    assert read(path).names == ["index", "1", "2"] and len(read(path)) == 2
    path.write_text('"1","2"\n"50","19"\n"16","40"\n')
    assert read(path).names == ["c0", "c1"] and len(read(path)) == 3
    path.write_text('a,b,c\n1,"u,3\n2,v,4\n3,"w,5\n4,x,6\n')
    table = read(path)
    assert len(table) == 4
    assert "quotes" in " ".join(table.problems)


def test_lines_above_the_names_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{number},x{number}\n" for number in range(20))
    for title in ("Report 2024\nby me\n\n", "Report 2024,\nby me,\n", "# Report\n"):
        path.write_text(f"{title}a;b\n{rows}1;2;3\n".replace(",", ";"))
        table = read(path)
        assert (table.names, len(table)) == (["a", "b"], 20)
        assert "Report" in table.problems[0]
        bad = [line for line in title.splitlines() if line]
        assert f"rows {len(bad) + 22}." in table.problems[1]
    path.write_text("name,,\nAlice,3,4\nBob,5,6\n")
    assert read(path).names == ["name", "c1", "c2"]
    path.write_text("5,,\nAlice,b,c\nBob,d,e\n")
    assert (read(path).names, len(read(path))) == (["c0", "c1", "c2"], 3)


def test_large_csv_is_streamed_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wine: pd.DataFrame) -> None:
    path = tmp_path / "wine.csv"
    text = wine.to_csv(index=False)
    path.write_text(text + "1,2,3\n")
    whole = read(path)
    monkeypatch.setattr(spill, "LARGE", 1000)
    streamed = read(path, cache=tmp_path / "cache")
    assert streamed.data.equals(whole.data)
    assert streamed.problems == whole.problems != ()
    again = read(path, cache=tmp_path / "cache")
    assert again.data.equals(whole.data)
    assert again.problems == whole.problems
    assert list((tmp_path / "cache" / "tables").glob("*.columns/*.arrow"))


def test_text_file_appends_change_the_last_part_only(tmp_path: Path) -> None:
    path = tmp_path / "novel.txt"
    paragraph = "It was a bright cold day in spring, and the clocks of the town were late again. " * 5
    path.write_text("\n\n".join(f"{number} {paragraph}" for number in range(600)))
    before = read(path).data.column("text").to_pylist()
    assert "".join(before) == path.read_text()
    assert 7000 < np.mean([len(part) for part in before[:-1]]) < 12000
    with path.open("a") as file:
        file.write("\n\nAnd then it ended. " * 30)
    after = read(path).data.column("text").to_pylist()
    assert after[: len(before) - 1] == before[:-1]


def test_folders(tmp_path: Path) -> None:
    table = read(digits(tmp_path / "photos"))
    assert table.names == ["image", "label", "file"]
    assert len(table) == 40
    assert (table.root / table.data.column("image")[0].as_py()).exists()
    for label, text in (("spam", "buy now"), ("ham", "see you at noon")):
        (tmp_path / "mails" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "mails" / label / f"{number}.txt").write_text(text)
    assert read(tmp_path / "mails").data.column("label").to_pylist() == ["ham"] * 3 + ["spam"] * 3
    clips = tmp_path / "clips"
    digits(clips / "pictures")
    names = [file.name for file in sorted(clips.rglob("*.png"))]
    (clips / "metadata.csv").write_text("file_name,text\n" + "\n".join(f"{name},number {name}" for name in names) + "\nno.png,x\n")
    table = read(clips)
    assert table.names == ["image", "text", "file"]
    assert "no.png" in " ".join(table.problems)
    assert table.data.column("image").null_count == 1
    (clips / "metadata.csv").write_text("file_name,text\n../../etc/passwd,x\n")
    with pytest.raises(DataError, match="must lie in its folder"):
        read(clips)
    for part in ("train", "test"):
        (tmp_path / "both" / part).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "both" / part / "1.png")
    with pytest.raises(DataError, match="--test"):
        read(tmp_path / "both")


def test_zip_of_pictures_and_hostile_zips(tmp_path: Path) -> None:
    root = digits(tmp_path / "photos")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in root.rglob("*.png"):
            archive.write(file, f"photos/{file.relative_to(root)}")
    table = read(tmp_path / "photos.zip", cache=tmp_path / "cache")
    assert table.names == ["image", "label", "file"]
    link = zipfile.ZipInfo("link.csv")
    link.external_attr = 0o120777 << 16
    for name in ("../evil.csv", "/evil.csv", "a\\..\\b.csv", "C:x.csv", link):
        path = tmp_path / "evil.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "a,b\n1,2\n")
        with pytest.raises(DataError, match="plain files only"):
            read(path, cache=tmp_path / "cache")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w", force_zip64=True) as sink:
        for _ in range(300):
            sink.write(bytes(1 << 20))
    with pytest.raises(DataError, match="at most 200 times"):
        read(tmp_path / "bomb.zip", cache=tmp_path / "cache")
    assert not list(tmp_path.rglob("evil.csv"))


def test_a_parquet_bomb_is_refused(tmp_path: Path) -> None:
    indices = pa.array(np.zeros(20_000, np.int32))
    table = pa.table({"a": pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 1_000_000]))})
    pyarrow.parquet.write_table(table, tmp_path / "bomb.parquet", store_schema=False)
    with pytest.raises(DataError, match="far more than its own size"):
        read(tmp_path / "bomb.parquet")


def test_errors_are_clear(tmp_path: Path, wine: pd.DataFrame) -> None:
    (tmp_path / "reviews.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "blank.csv").write_text("\n\n")
    (tmp_path / "header.csv").write_text("a,b\n")
    (tmp_path / "a.xyz").write_text("a")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1" + bytes(100))
    (tmp_path / "text.parquet").write_text("hello there")
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "torn.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "torn.json").write_text('[{"a": 1}, {')
    (tmp_path / "nothing").mkdir()
    wine.to_parquet(tmp_path / "real.csv")
    with sqlite3.connect(tmp_path / "shop.db") as base:
        wine.to_sql("orders", base, index=False)
        wine.to_sql("users", base, index=False)
    cases = {
        "review.csv": "Did you mean 'reviews.csv'", "empty.csv": "is empty", "blank.csv": "is empty", "header.csv": "none below its header",
        "a.xyz": "ending", "torn.parquet": "Parquet", "text.parquet": "not a parquet", "torn.zip": "zip", "torn.xlsx": "Excel",
        "torn.json": "whole", "nothing": "is empty", "real.csv": "is a parquet file",
        "shop.db": "orders, users", "shop.db::order": "Did you mean 'orders'",
    }  # fmt: skip
    for name, words in cases.items():
        with pytest.raises(DataError, match=words):
            read(str(tmp_path / name), cache=tmp_path / "cache")
    assert len(read(f"{tmp_path}/shop.db::orders")) == len(wine)


def test_cells_of_a_large_database_that_are_no_text_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "LARGE", 0)
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute("CREATE TABLE a (b TEXT)")
        base.executemany("INSERT INTO a VALUES (CAST(? AS TEXT))", [(b"caf\xe9",), (b"tea",)])
    assert read(tmp_path / "a.db", cache=tmp_path / "cache").problems[0].startswith("1 cell holds bytes")


def test_json_lines_that_are_none_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "s": [1, 2.5]}\nnot json\n{"a": "x", "b": true, "s": null}\n{"a": 3}\n')
    table = read(path)
    assert table.data.column("a").to_pylist() == ["1", "x", "3"]
    assert table.data.column("s").to_pylist() == [[1, 2.5], None, None]
    assert "lines 2" in " ".join(table.problems)


def test_excel(tmp_path: Path) -> None:
    """A minimal book, written by hand: calamine reads, nothing here writes."""
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1" t="inlineStr"><is><t>Report</t></is></c></row>'
        '<row r="3"><c r="A3" t="inlineStr"><is><t>a</t></is></c><c r="B3" t="inlineStr"><is><t>b</t></is></c></row>'
        '<row r="4"><c r="A4"><v>1</v></c><c r="B4" t="inlineStr"><is><t>x</t></is></c></row>'
        '<row r="5"><c r="A5"><v>2.5</v></c></row></sheetData></worksheet>'
    )
    main = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    links = f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{main}/'
    types = f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
    parts = {
        "[Content_Types].xml": types,
        "_rels/.rels": links + 'officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
        f'xmlns:r="{main}"><sheets><sheet name="First" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": links + 'worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": sheet,
    }
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    path = tmp_path / "book.xlsx"
    path.write_bytes(found.getvalue())
    table = read(f"{path}::First")
    assert "1 line above the column names was left out: Report." in table.problems
    assert table.data.to_pydict() == {"a": [1.0, 2.5], "b": ["x", None]}
    with pytest.raises(DataError, match="Did you mean 'First'"):
        read(f"{path}::Frist")


def test_a_delimiter_may_end_the_line_of_names_alone(tmp_path: Path) -> None:
    """As the Bureau of Labor Statistics writes its series, facts above the names."""
    file = tmp_path / "unemployment.csv"
    file.write_text(
        "Series Id:           LNS14000000Q\n\nType of data:  Percent\n\nId,Year,Value,\nL1,1959,5.8\nL1,1960,5.1\nL1,1961,6.2\n"
    )
    table = read(file)
    assert table.names == ["Id", "Year", "Value"] and table.column("Value").to_pylist() == ["5.8", "5.1", "6.2"]
    file.write_text("a,b,c,\n1,2,x,\n2,3,y,\n")
    assert len(read(file)) == 2
    file.write_text("a,b,c,\n1,2,x\n2,3,y\n")
    assert read(file).names == ["a", "b", "c"]


def test_half_a_character_becomes_a_replacement(tmp_path: Path) -> None:
    """JSON can write half of a surrogate pair; scraped texts hold some. A whole pair stays one character."""
    (tmp_path / "x.jsonl").write_text('{"text": "a\\ud800b", "n": 1}\n{"text": "\\ud83d\\ude00", "n": 2}\n')
    assert read(tmp_path / "x.jsonl").column("text").to_pylist() == ["a\ufffdb", "😀"]
    assert read(["caf\udce9"]).column("text").to_pylist() == ["caf\ufffd"]
    assert read({"text": ["caf\udce9", "x"]}).column("text").to_pylist() == ["caf\ufffd", "x"]


def test_objects_become_a_column_for_each_field(tmp_path: Path) -> None:
    rows = [
        {"user": {"age": 30 + place, "home": {"city": "Ulm"}}, "tags": ["a"], "open": {str(place): 1}, "y": place} for place in range(80)
    ]
    rows[3]["user"] = None
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    pyarrow.parquet.write_table(
        pa.Table.from_pylist([{name: row[name] for name in ("user", "y")} for row in rows]), tmp_path / "events.parquet"
    )
    for source in (path, rows):
        table = read(source)
        assert table.names == ["user.age", "user.home.city", "tags", "open", "y"]
        assert table.column("user.age").to_pylist()[2:5] == [32, None, 34]
        assert table.column("open")[0].as_py() == '{"0": 1}'  # as many fields as rows: no columns
    assert read(tmp_path / "events.parquet").names == ["user.age", "user.home.city", "y"]


@pytest.mark.parametrize(("row", "names"), [('"{0}",{1},"b"', ["index", "age", "city"]), ("{1},b,", ["age", "city", "c2"])])
def test_a_header_that_is_one_name_short(tmp_path: Path, row: str, names: list[str]) -> None:
    (tmp_path / "r.csv").write_text("age,city\n" + "".join(row.format(place, 20 + place % 7) + "\n" for place in range(30)))
    table = read(tmp_path / "r.csv")
    assert table.names == names and len(table) == 30
    assert table.column("age").to_pylist()[:3] == ["20", "21", "22"]


def test_plain_dates_and_a_wrapped_list_of_objects(tmp_path: Path) -> None:
    days = [datetime.date(2024, 1, day) for day in range(1, 10)]
    assert read([{"day": day, "x": 1} for day in days]).column("day")[2].as_py() == datetime.datetime(2024, 1, 3)
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "tags": ["a"], "rows": [{"x": 1, "y": "b"}, {"x": 2, "y": "c"}]}))
    assert read(tmp_path / "a.json").names == ["x", "y"]
    (tmp_path / "a.json").write_text(json.dumps({"x": [{"deep": 1}, {"deep": 2}], "y": [3, 4]}))
    assert read(tmp_path / "a.json").names == ["x", "y"]  # as many of each: columns


def test_json_of_texts_and_of_entries(tmp_path: Path) -> None:
    path = tmp_path / "sentences.json"
    path.write_text(json.dumps(["一係唔敢寫", "好嘅", "a third, with a comma"]), encoding="utf-8")
    assert read(path).column("text").to_pylist() == ["一係唔敢寫", "好嘅", "a third, with a comma"]
    entries = {f"word {number}": f"mot {number}" for number in range(25)}
    path.write_text(json.dumps(entries))
    table = read(path)
    assert dict(zip(table.column("key").to_pylist(), table.column("value").to_pylist(), strict=True)) == entries
    path.write_text(json.dumps({"name": "a", "version": "1"}))
    with pytest.raises(DataError, match="holds an object of name, version"):
        read(path)


def test_rows_and_their_target_as_scikit_learn_takes_them(wine: pd.DataFrame) -> None:
    x, y = wine.drop(columns="target"), wine["target"]
    for given in ((x.to_numpy(), y.to_numpy()), (x, y), (pl.from_pandas(x), y.to_numpy()[:, None])):
        table = read(given)
        assert table.names[-1] == "y" and (len(table), len(table.names)) == (len(wine), x.shape[1] + 1)
        assert table.column("y").to_pylist() == y.tolist()
    assert read((np.zeros((5, 8, 3)), np.arange(5))).names == ["x0", "y"]
    assert read(([1, 2], [3, 4])).names == ["x0", "x1"]


def test_names_that_are_numbers_beside_a_word_above_dates(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ts,00,10,11\n" + "".join(f"2019-08-{day:02},{day}.5,{2 * day},7\n" for day in range(1, 20)))
    assert read(tmp_path / "a.csv").names == ["ts", "00", "10", "11"]
    (tmp_path / "b.csv").write_text("".join(f"2019-08-{day:02},{day}.5,{2 * day},7\n" for day in range(1, 20)))
    assert len(read(tmp_path / "b.csv")) == 19
    for first in ("unknown", "n/a", "later"):  # a cell without a date is no name
        (tmp_path / "c.csv").write_text(f"{first},7,x\n" + "".join(f"2019-08-{day:02},{day},y\n" for day in range(1, 29)) + "later,8,x\n")
        assert len(read(tmp_path / "c.csv")) == 30, first


def test_a_line_of_names_longer_than_what_is_looked_at_first(tmp_path: Path) -> None:
    names = [f"expression_of_gene_{number:05d}" for number in range(7000)]
    path = tmp_path / "genes.csv"
    path.write_text("\n".join([",".join(names), *(",".join([f"{row}.5"] * len(names)) for row in range(5))]), encoding="utf-8")
    table = read(path)
    assert table.names == names and len(table) == 5 and table.problems == ()


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_cell_may_hold_a_book(tmp_path: Path, mark: str) -> None:
    """Longer than the 128 KiB that Python's csv module allows, in tables and in a text that is a single line."""
    book = zipfile.ZipFile(io.BytesIO(resources.files("duomo.samples").joinpath("data/novel.zip").read_bytes()))
    prose = " ".join(book.read(book.namelist()[0]).decode("utf-8").split())
    cells = [prose[1000 * row :][: 200_000 if row % 3 == 0 else 300] for row in range(12)]
    path = tmp_path / ("novels.tsv" if mark == "\t" else "novels.csv")
    pd.DataFrame({"text": cells, "kind": ["a", "b"] * 6}).to_csv(path, sep=mark, index=False)
    assert read(path).column("text").to_pylist() == cells
    one = tmp_path / "one.txt"
    one.write_text(prose[:400_000] if mark != "\t" else "的一是了我" * 60_000, encoding="utf-8")
    assert "text" in read(one).names


def test_texts_that_are_parts_of_a_table_are_no_prose(tmp_path: Path) -> None:
    sample = zipfile.ZipFile(io.BytesIO(resources.files("duomo.samples").joinpath("data/pinglun.zip").read_bytes()))
    table = pd.read_csv(io.BytesIO(sample.read(sample.namelist()[0]))).head(60)
    for name in ("train", "test"):
        table.to_csv(tmp_path / f"{name}.txt", sep="\t", header=False, index=False)
    (tmp_path / "class.txt").write_text("negative\npositive\n")
    found = read(tmp_path)
    assert found.names == ["c0", "c1", "split"] and found.column("split").to_pylist() == ["train"] * 60 + ["test"] * 60
    (tmp_path / "train.txt").write_text("\n".join(table.iloc[:, 0]), encoding="utf-8")
    assert read(tmp_path).names == ["text", "file"]


def test_a_list_of_the_data_sets_of_a_folder_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps([{"instruction": "Hi", "output": "Hello!"}] * 3))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"own": {"file_name": "own.json"}}))
    found = read(tmp_path)
    assert found.names == ["instruction", "output"] and "dataset_info.json" in found.problems[0]


def test_objects_in_cells_become_columns(tmp_path: Path) -> None:
    cells = [{"colour": "red", "size": {"w": 3}}, {"colour": "blue"}, None, {"size": {"w": 4}}]
    head, path = "id,meta,said,price\n", tmp_path / "shop.csv"
    rows = [[str(row), "" if cell is None else json.dumps(cell), str({"a": [1, 2], "b": row}), "5"] for row, cell in enumerate(cells)]
    path.write_text(head + "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows))
    assert read(path).names == ["id", "meta", "said", "price"]
    table = _planned(path)
    assert table.names == ["id", "meta.colour", "meta.size.w", "said.a", "said.b", "price"]
    assert table.column("meta.colour").to_pylist() == ["red", "blue", None, None] and table.column("said.b").to_pylist() == [0, 1, 2, 3]
    kept, known = [json.dumps(cell) for cell in cells if cell], ["meta.colour", "meta.size.w", "price"]
    assert _planned({"meta": kept}).names == ["meta"]  # to be written on
    assert _planned({"meta": kept}, target=("meta.colour",)).names == known[:2] == objects.again(read({"meta": kept}), known).names
    assert objects.again(read({"meta": kept}), ["meta", "price"]).names == ["meta"]  # as a run knows it that learned from the texts
    for held in ([*cells[:2], "no object"], [{str(key): 1} for key in range(100)], [[1], [2]]):  # one is none, too many fields, lists
        assert _planned({"meta": [cell if isinstance(cell, str) else json.dumps(cell) for cell in held]}).names == ["meta"]
    asked = objects.filled(read({"meta.colour": ["red"], "price": ["1"]}), ["meta.size.w", "meta.colour", "said.b"])
    assert asked.names == ["meta.colour", "price", "meta.size.w"] and asked.column("meta.size.w").to_pylist() == [None]


def _planned(source: object, **data: object) -> Table:
    return plan.read(source, DataConfig(**data), Silent())  # type: ignore[arg-type]


def test_objects_that_are_written_or_named_stay_texts(tmp_path: Path) -> None:
    people = [(f"Ann, {row} years of age, moved to town {row % 7} last year", json.dumps({"name": "Ann", "age": row})) for row in range(40)]
    for asked, answer in (("instruction", "output"), ("prompt", "completion"), ("source", "target")):
        table = _planned({asked: [text for text, _ in people], answer: [cell for _, cell in people]})
        assert table.names == [asked, answer], asked
    pairs = {"said": [text for text, _ in people], "facts": [cell for _, cell in people]}
    assert _planned(pairs).names == ["said", "facts"]  # which of them is to be told from the other nobody said
    assert _planned(pairs, target=("facts.age",)).names == ["said", "facts.name", "facts.age"]
    assert _planned(pairs | {"price": [*range(40)]}).names == ["said", "facts.name", "facts.age", "price"]
    for told in ({"target": ("facts",)}, {"kind": {"facts": "text"}}, {"ignore": ("facts",)}, {"task": "translate"}):
        assert _planned(pairs, **told).names == ["said", "facts"]
