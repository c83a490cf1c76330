"""Bar D1: files in many encodings, no silent mojibake, bad lines numbered."""

import itertools
from pathlib import Path

import pytest

import duomo
from duomo.core.errors import DataError
from duomo.data.formats.text_encoding import detect
from duomo.data.sources import read

POEMS = """床前明月光,疑是地上霜。举头望明月,低头思故乡。
春眠不觉晓,处处闻啼鸟。夜来风雨声,花落知多少。
这家酒店的服务很好,房间也很干净,早餐丰富,下次还会再来。
质量太差了,用了两天就坏了,客服也不理人,大家不要买。
我们去年在北京住了三年,那里的冬天很冷,但是人们都很热情。"""
TRADITIONAL = """床前明月光,疑是地上霜。舉頭望明月,低頭思故鄉。
這家酒店的服務很好,房間也很乾淨,早餐豐富,下次還會再來。
質量太差了,用了兩天就壞了,客服也不理人,大家不要買。
我們去年在臺北住了三年,那裡的冬天很冷,但是人們都很熱情。"""
ENGLISH = "the room was clean,good\nnever again,bad\nan honest place,good\nlovely view of the sea,good\n"
CASES = {
    "zh": ("text,rest\n" + POEMS + "\n", ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk", "gb18030", "gb2312", "utf-32")),
    "hant": ("text,rest\n" + TRADITIONAL + "\n", ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "big5")),
    "en": ("text,rest\n" + ENGLISH, ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "ascii", "gb18030", "big5")),
}


def variants():
    """Each text in each encoding, whole and in rotations of its lines."""
    for name, (text, encodings) in CASES.items():
        head, *lines = text.strip().split("\n")
        for encoding, turn in itertools.product(encodings, range(len(lines) * 3)):
            kept = lines[turn % len(lines) :] + lines[: turn % len(lines)]
            yield name, encoding, turn, head + "\n" + "\n".join(kept * (1 + turn // len(lines))) + "\n"


def test_no_file_becomes_mojibake_in_silence(tmp_path: Path) -> None:
    tried = asked = 0
    for name, encoding, turn, text in variants():
        path = tmp_path / f"{name}-{encoding}-{turn}.txt"
        path.write_bytes(text.encode(encoding))
        tried += 1
        try:
            found = "".join(read(path).data.column("text").to_pylist())
        except DataError as error:
            asked += 1
            assert "--encoding" in str(error)
            continue
        assert found == text, (name, encoding, turn)
    assert tried >= 200
    assert asked <= 0.1 * tried


def test_bad_lines_are_numbered(tmp_path: Path) -> None:
    lines = [f"第{number}行的内容很好".encode() for number in range(1, 101)]
    lines[41] += b"\xff\xfe"
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    table = read(tmp_path / "a.txt")
    assert any("42" in problem for problem in table.problems)
    assert "".join(table.data.column("text").to_pylist()).count("\ufffd") == 2


def test_a_mixed_file_is_refused_with_its_lines(tmp_path: Path) -> None:
    lines = [line.encode("gbk" if number % 2 else "utf-8") for number, line in enumerate(POEMS.split("\n") * 4)]
    (tmp_path / "mixed.csv").write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match="lines 2, 4"):
        read(tmp_path / "mixed.csv")


@pytest.mark.parametrize("every", [3, 8, 20, 60])
def test_few_lines_of_utf8_among_gbk_are_numbered(tmp_path: Path, every: int) -> None:
    lines = [line.encode("utf-8" if number % every == 1 else "gbk") for number, line in enumerate(["text,rest", *POEMS.split("\n") * 24])]
    path = tmp_path / "mixed.txt"
    path.write_bytes(b"\n".join(lines))
    first = 2 if every == 3 else f"2, {2 + every}"
    with pytest.raises(DataError, match=f"one encoding.*lines {first}|one encoding.*lines 3, 4"):
        read(path)
    try:
        problems = " ".join(read(path, encoding="gb18030").problems)
    except DataError as error:
        problems = str(error)
    assert f"lines 2, {2 + every}" in problems


def test_what_fits_twice_is_asked_with_samples(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("café crème\nélan vital\nnaïveté\n".encode("cp1252"))
    with pytest.raises(DataError, match="cp1252"):
        read(path)
    assert "café" in read(path, encoding="cp1252").data.column("text")[0].as_py()
    path.write_bytes("价格".encode("gbk"))
    with pytest.raises(DataError, match=r"--encoding") as caught:
        read(path)
    assert "big5" in str(caught.value)
    assert "gb18030" in str(caught.value)


WRITTEN = {
    "cp932": "これは文章です。とても短いですが、読むことができます。", "euc_jp": "これは文章です。とても短いですが、読むことができます。",
    "cp949": "이것은 문장입니다. 아주 짧지만 읽을 수 있습니다.", "cp1251": "Это предложение. Оно короткое, но его можно прочитать.",
    "cp1250": "Źdźbło trawy, łąka i świerszcz. Zażółć gęślą jaźń.",
}  # fmt: skip


@pytest.mark.parametrize(("encoding", "text"), WRITTEN.items())
def test_what_reads_as_a_text_is_offered(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "a.txt").write_bytes("\n".join([text] * 12).encode(encoding))
    with pytest.raises(DataError, match=f"could be .*{encoding}: “{text[:5]}") as caught:
        read(tmp_path / "a.txt")
    assert f"--encoding {encoding}" in str(caught.value)


def test_a_told_encoding_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(("a,b\n" + POEMS).encode("utf-8"))
    with pytest.raises(DataError, match="Did you mean"):
        read(path, encoding="utf-9")
    with pytest.raises(DataError, match="lines"):
        read(path, encoding="ascii")
    with pytest.raises(DataError, match="is not utf-16"):  # without a mark
        read(path, encoding="utf-16")
    for name in ("hex", "zlib", "uu", "rot13", "idna", "undefined", "a\0b"):
        with pytest.raises(DataError, match="one that Python knows"):
            read(path, encoding=name)
    assert detect(path).name == "utf-8"


def test_wide_csv_keeps_nul_cells(tmp_path: Path) -> None:
    path = tmp_path / "nul.csv"
    path.write_bytes(b"a,b\n1,x\0y\n2,z\n")
    assert read(path).data.column("b").to_pylist() == ["x\0y", "z"]


def test_the_encoding_that_was_named_for_training_serves_the_files_to_answer(tmp_path: Path) -> None:
    rows = [f"{town};{size};{place}" for size in range(15) for town, place in (("Köln", "west"), ("Zürich", "süd"), ("Łódź", "ost"))]
    for name, code in (("train", "cp1250"), ("new", "cp1250"), ("wide", "utf-8")):
        (tmp_path / f"{name}.csv").write_bytes("\n".join(["town;größe;place", *rows]).encode(code))
    settings = {"data": {"encoding": "cp1250"}, "train": {"epochs": 1.0}, "model": {"name": "linear"}}
    run = duomo.train(tmp_path / "train.csv", settings, target="place", out=tmp_path / "run")
    found = run.table(tmp_path / "new.csv")
    assert found.column("town")[2].as_py() == "Łódź" and "cp1250" in found.problems[0]
    assert run.table(tmp_path / "wide.csv").column("town")[2].as_py() == "Łódź", "what tells its encoding is read by it"
    assert run.predict(tmp_path / "new.csv") == run.predict(tmp_path / "wide.csv")
    with pytest.raises(DataError):
        run.table(tmp_path / "new.csv", "shift_jis")


def test_the_columns_of_a_run_tell_the_encoding(tmp_path: Path) -> None:
    """A few rows in GBK could be Big5 as well; only one of them has the columns that the model learned from."""
    rows = [f"{40 + row % 90}.5,{['北京', '上海', '广州'][row % 3]},{row % 90 * 3 + row % 3}" for row in range(120)]
    (tmp_path / "all.csv").write_text("\n".join(["面积,城市,价格", *rows]), encoding="gb18030")
    (tmp_path / "few.csv").write_text("\n".join(["面积,城市", "143.5,广州"]), encoding="gb18030")
    with pytest.raises(DataError, match="big5"):
        read(str(tmp_path / "few.csv"))
    settings = {"data": {"target": ("价格",)}, "train": {"epochs": 1.0}, "model": {"name": "linear"}}
    run = duomo.train(str(tmp_path / "all.csv"), settings, out=tmp_path / "run")
    assert run.predict(str(tmp_path / "few.csv")) == run.predict([{"面积": 143.5, "城市": "广州"}])
    assert "gb18030" in run.table(str(tmp_path / "few.csv")).problems[0]


@pytest.mark.parametrize("source", ["-", "https://example.org/a.csv", "s3://bucket/a.csv"])
def test_what_is_no_path(source: str) -> None:
    with pytest.raises(DataError, match="Save what it holds to a file"):
        read(source)
