"""Texts as other tools keep them: spans beside them, classes within their lines, one question a row, pictures between them."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.recipe import DataConfig
from duomo.core.table import Table
from duomo.data import audit, sources, spill
from duomo.data.formats import documents
from duomo.data.formats.documents import of_lines
from duomo.data.targets import balance_of
from duomo.plan import choose
from duomo.tasks.tag.tokens import written_spans


def put(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


def plan(table: Table) -> tuple[str, tuple[str, ...]]:
    found = choose(kinds.infer(table, {}), DataConfig())[0]
    return found.task, found.target


NOTE = "James lives in Rome.\nHis left\nand right arm hurt.\n\nHe is ill.\n"
ANN = (
    "T1\tPER 0 5\tJames\nT2\tLOC 15 19\tRome\nT3\tPart 25 29;40 43\tleft arm\nT4\tPart 34 39;40 43\tright arm\nT5\tPER 0 4\tJim\n"
    "R1\tIn Arg1:T1 Arg2:T2\nE1\tPER:T1\n#1\tAnnotatorNotes T1\tsure\n"
)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_spans_of_brat(tmp_path: Path, ends: str) -> None:
    """Places count characters, a line's end as one; what lies in pieces is several spans; what says something else is left out."""
    files = {f"{part}/{number}.{ending}": text for part in ("test", "train") for number in range(4)
             for ending, text in (("txt", NOTE.replace("\n", ends)), ("ann", ANN))}  # fmt: skip
    table = sources.read(put(tmp_path / "brat", files | {"annotation.conf": "[entities]\nPER\n", "readme.txt": "About."}))
    assert table.names == ["text", "entities", "document"] and len(table) == 8 * 4 and plan(table) == ("tag", ("entities",))
    rows = [(text, [(text[a:b], kind) for a, b, kind in written_spans(cell) or ()])
            for text, cell in zip(*(table.column(name).to_pylist()[:4] for name in ("text", "entities")), strict=True)]  # fmt: skip
    assert rows == [
        ("James lives in Rome.", [("James", "PER"), ("Rome", "LOC")]), ("His left", [("left", "Part")]),
        ("and right arm hurt.", [("right arm", "Part"), ("arm", "Part")]), ("He is ill.", []),
    ]  # fmt: skip
    assert audit.propose(table, "entities")[0].how == "folders"
    flat = {name.replace("/", ""): text for name, text in files.items()}
    proposal = audit.propose(sources.read(put(tmp_path / "flat", flat)), "entities")[0]
    assert (proposal.how, proposal.group) == ("group", "document")
    said = " ".join(table.problems)
    assert (
        "32 spans" in said
        and "24 lines of relations" in said
        and "8 spans lie in several pieces" in said
        and "8 spans were left out" in said
    )
    for name in ("0.txt", "0.ann"):
        alone = sources.read(tmp_path / "brat/train" / name)
        assert alone.column("text").to_pylist() == [text for text, _ in rows] and plan(alone)[0] == "tag"


def test_spans_over_line_ends_and_texts_without_any(tmp_path: Path) -> None:
    long = "The dose was low. " * 40
    files = {"a.txt": "New\nYork is big.\n", "a.a1": "T1\tLOC 0 3;4 8\tNew York\n", "b.txt": "Nothing.\n", "c.txt": long,
             "c.ann": "T1\tX 4 8\tdose"}  # fmt: skip
    table = sources.read(put(tmp_path, files))
    rows = table.data.to_pylist()
    assert rows[0] == {"text": "New\nYork is big.", "entities": '[[0, 8, "LOC"]]', "document": "a.txt"}
    assert rows[1] == {"text": "Nothing.", "entities": None, "document": "b.txt"} and any("1 of 3 texts" in said for said in table.problems)
    pieces = [row["text"] for row in rows[2:]]
    assert len(pieces) > 1 and " ".join(pieces) == long.strip() and all(piece.endswith(".") for piece in pieces)
    (tmp_path / "gbk").mkdir()
    for name, text in {"a.txt": "李红在北京工作，住了很久。\n" * 20, "a.ann": "T1\t人名 0 2\t李红\n"}.items():
        (tmp_path / "gbk" / name).write_text(text, encoding="gbk")
    table = sources.read(tmp_path / "gbk")
    assert (
        table.column("entities")[0].as_py() == '[[0, 2, "人名"]]'
        and "1 span was read" in table.problems[0]
        and "gb18030" in table.problems[1]
    )
    apart = put(tmp_path / "apart", {"txt/a.txt": "James is here.\n", "ann/a.ann": "T1\tPER 0 5\tJames\n"})
    assert sources.read(apart).data.to_pylist() == [{"text": "James is here.", "entities": '[[0, 5, "PER"]]', "document": "txt/a.txt"}]
    other = put(tmp_path / "other", {"a.txt": "Some prose.\n", "a.ann": "who knows\n", "b.txt": "More prose.\n"})
    assert sources.read(other).names == ["text", "file"]


def test_lines_with_classes_as_fasttext_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"__label__{'good' if row % 2 else 'bad'} text number {row}, and words" for row in range(40)]
    for name in ("reviews.txt", "train.txt", "cooking.train", "cooking.valid", "reviews"):
        table = sources.read(put(tmp_path, {name: "\n".join(lines) + "\n\n"}) / name)
        assert table.names == ["text", "label"] and len(table) == 40 and plan(table) == ("classify", ("label",))
        assert table.data.slice(1, 1).to_pylist() == [{"text": "text number 1, and words", "label": "good"}]
    several = [line.replace(" text", " __label__odd text") if row % 4 else line for row, line in enumerate(lines)] + ["no class here"]
    table = sources.read(put(tmp_path, {"tags.txt": "\n".join(several)}) / "tags.txt")
    assert table.column("label").to_pylist()[:2] == ['["bad"]', '["good", "odd"]'] and table.column("label")[40].as_py() is None
    assert "lines 41" in table.problems[0] and plan(table) == ("classify", ("label",))
    monkeypatch.setattr(spill, "LARGE", 100)
    streamed = sources.read(put(tmp_path, {"large.txt": "\n".join(several)}) / "large.txt", cache=tmp_path / "cache")
    assert streamed.data.equals(table.data) and list((tmp_path / "cache").iterdir())
    one = put(tmp_path / "one", {"cooking.train": "\n".join(lines), "readme.txt": "About cooking."})
    assert sources.read(one).names == ["text", "label"]
    prose = put(tmp_path / "prose", {"about.txt": "A line of fastText begins with __label__x and goes on.\n" + "It learns fast.\n" * 30})
    assert sources.read(prose / "about.txt").names == ["text", "part"]


def test_lines_that_begin_with_codes(tmp_path: Path) -> None:
    words = ["a fine film", "so dull that one sleeps", "it is what it is, no more", "never again"]
    for codes in (("+1", "-1"), ("0", "1", "2"), ("DESC:manner", "NUM:date", "HUM:ind")):
        lines = [f"{codes[row * row % 7 % len(codes)]} {words[row % 4]} {row}x" for row in range(80)]
        table = sources.read(put(tmp_path, {"rated.txt": "\n".join(lines)}) / "rated.txt")
        assert plan(table) == ("classify", ("label",)) and table.column("text")[1].as_py() == "so dull that one sleeps 1x"
        assert set(table.column("label").to_pylist()) == set(codes) and f"one of {len(codes)} codes" in table.problems[0]
    for name, lines in {
        "verses": [f"{1 + row % 8} And so it {'was ' * (row % 5)}said" for row in range(80)],
        "recipes": [f"{(1, 2, 3, 4)[row * row % 7 % 4]} cups of {'very ' * (row % 5)}fine flour" for row in range(80)],
        "quantities": [f"{(1, 2, 4, 12)[row * row % 7 % 4]} cups of {'very ' * (row % 5)}fine flour" for row in range(80)],
    }.items():
        assert sources.read(put(tmp_path, {f"{name}.txt": "\n".join(lines)}) / f"{name}.txt").names == ["text", "part"], name


def test_files_whose_lines_are_rows(tmp_path: Path) -> None:
    lines = {kind: "".join(f"It is {kind}, number {row}.\n" for row in range(30)) for kind in ("good", "bad", "so so")}
    for number, names in enumerate((("pos.txt", "neg.txt"), ("rt-polarity.pos", "rt-polarity.neg"), ("正面.txt", "负面.txt"))):
        table = sources.read(put(tmp_path / str(number), {names[0]: lines["good"], names[1]: lines["bad"], "readme.txt": "About."}))
        assert len(table) == 60 and plan(table) == ("classify", ("label",)) and len(set(table.column("label").to_pylist())) == 2
    parts = {f"{part}_{kind}.txt": lines["good" if kind == "pos" else "bad"] for part in ("train", "test") for kind in ("pos", "neg")}
    table = sources.read(put(tmp_path / "parts", parts))
    assert table.names == ["text", "label", "split"] and plan(table) == ("classify", ("label",))
    parts = {f"{part}/{kind}.txt": lines["good" if kind == "pos" else "bad"] for part in ("train", "test") for kind in ("pos", "neg")}
    assert set(sources.read(put(tmp_path / "folders", parts)).column("split").to_pylist()) == {"train", "test"}
    table = sources.read(put(tmp_path / "xy", {"text.txt": lines["good"], "labels.txt": "yes\nno\n" * 15}))
    assert table.names == ["text", "label"] and table.data.slice(1, 1).to_pylist() == [{"text": "It is good, number 1.", "label": "no"}]
    for number, texts in enumerate((
        {"pos.txt": "Short.\n", "neg.txt": "Too.\n"}, {"a.txt": lines["good"], "b.txt": lines["bad"]},
        {"bad_boy.txt": lines["good"], "real_life.txt": lines["bad"]},
    )):  # fmt: skip
        assert sources.read(put(tmp_path / f"texts{number}", texts)).names == ["text", "file"]


def test_sentences_below_one_name(tmp_path: Path) -> None:
    lines = ["A, b and c.", "No, d, e.", "Well f.", "Yes, g, h, i.", '"Quoted", said one.']
    for name in ("one.csv", "one.tsv"):
        table = sources.read(put(tmp_path, {name: "text\n" + "\n".join(lines) + "\n"}) / name)
        assert table.names == ["text"] and table.column("text").to_pylist()[:4] == lines[:4] and "only column" in table.problems[0]
    with pytest.raises(DataError, match="must name its columns"):
        sources.read(put(tmp_path, {"titled.csv": "A title\n" + "1,2,3\n" * 9}) / "titled.csv")
    with pytest.raises(DataError, match="same number of fields"):
        sources.read(put(tmp_path, {"ragged.csv": "x\n" + "1,2,3\n4,5\n6\n" * 9}) / "ragged.csv")
    assert not of_lines(sources.read(put(tmp_path, {"a.txt": "One line.\n"}) / "a.txt"))
    (said,) = of_lines(sources.read(put(tmp_path, {"a.txt": "One line.\nAnother one.\n"}) / "a.txt"))
    assert "2 lines of plain text were read as 1" in said


def test_questions_and_answers_in_plain_text(tmp_path: Path) -> None:
    def talks(text: str) -> list[list[tuple[str, str]]]:
        table = sources.read(put(tmp_path, {"faq.txt": text}) / "faq.txt")
        assert plan(table) == ("chat", ()) and "conversations" in table.problems[-1]
        return [[(one["role"], one["content"]) for one in json.loads(cell)] for cell in table.column("messages").to_pylist()]

    found = talks("".join(f"问：第{row}题？\n答：第{row}条。\n还有一行。\n\n" for row in range(20)))
    assert len(found) == 20 and found[1] == [("user", "第1题？"), ("assistant", "第1条。\n还有一行。")]
    found = talks("\n\n".join(f"Q{row}: Why {row}?\n\nA{row}: Because." for row in range(20)))
    assert len(found) == 20 and found[3] == [("user", "Why 3?"), ("assistant", "Because.")]
    found = talks("User: Hi\nAssistant: Hello!\nUser: Bye\nAssistant: See you.\n\n" * 10)
    assert len(found) == 10 and [role for role, _ in found[0]] == ["user", "assistant"] * 2
    for text in ("Q: Which?\nA: one\nB: two\nAnswer: A\n\n" * 20, "A: is a letter\nand so is the other.\n" * 20, "Q: Why?\nA: So.\n"):
        assert sources.read(put(tmp_path, {"other.txt": text}) / "other.txt").names == ["text", "part"]


def test_a_tag_for_each_word(tmp_path: Path) -> None:
    rows = [f"James {number} waits in Rome ." for number in range(30)]
    tags = ["B-PER I-PER O O B-LOC O"] * 30
    table = sources.read(put(tmp_path / "sides", {"source.txt": "\n".join(rows), "target.txt": "\n".join(tags)}))
    assert plan(table) == ("tag", ("tags",))
    assert plan(sources.read({"sentence": rows, "word_labels": [cell.replace(" ", ",") for cell in tags]})) == ("tag", ("word_labels",))
    assert plan(sources.read({"source": rows, "target": [row[::-1] for row in rows]}))[0] == "translate"
    assert plan(sources.read({"c0": [1 + row % 4 for row in range(30)], "c1": rows, "c2": [row * 3 for row in rows]})) == (
        "classify",
        ("c0",),
    )


def test_questions_of_a_text_are_gathered(tmp_path: Path) -> None:
    rows = []
    for number in range(20):
        text = f"李红{number}在北京工作"
        end = 2 + len(str(number))
        rows += [
            {"content": text, "result_list": [{"text": text[:end], "start": 0, "end": end}], "prompt": "人名"},
            {"content": text, "result_list": [{"text": "北京", "start": end + 1, "end": end + 3}], "prompt": "地名"},
            {"content": text, "result_list": [{"text": "北京", "start": end + 1, "end": end + 3}], "prompt": f"{text[:end]}的工作地"},
            {"content": text, "result_list": [{"text": "正向", "start": -7, "end": -5}], "prompt": "情感[正向，负向]"},
            {"content": text, "result_list": [], "prompt": "时间"},
        ]
    for name, text in (("a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)), ("a.json", json.dumps(rows))):
        table = sources.read(put(tmp_path, {name: text}) / name)
        assert len(table) == 20 and plan(table) == ("tag", ("entities",))
        assert table.data.slice(0, 1).to_pylist() == [{"text": "李红0在北京工作", "entities": '[[0, 3, "人名"], [4, 6, "地名"]]'}]
        assert "40 rows ask for relations" in table.problems[1]


def test_texts_beside_what_is_said_of_them(tmp_path: Path) -> None:
    """As spaCy's older examples are kept."""
    rows = [[f"James {number} is here.", {"entities": [[0, 5, "PER"]] if number % 3 else []}] for number in range(30)]
    for name, text in (("a.json", json.dumps(rows)), ("a.jsonl", "\n".join(map(json.dumps, rows)))):
        table = sources.read(put(tmp_path, {name: text}) / name)
        assert table.names == ["text", "entities"] and len(table) == 30 and plan(table) == ("tag", ("entities",))


def pictures(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 9, 9)).save(root / name)
    return root


def test_texts_that_a_table_lists_are_not_cut(tmp_path: Path) -> None:
    listed = {"file": [f"{row}.ogg" for row in range(6)], "text": ["A frog. " * 2000, *["A dog."] * 5]}
    assert len(documents.cut(sources.read(listed))) == 6
    read = sources.read(put(tmp_path, {f"{row}.txt": text for row, text in enumerate(listed["text"])}))
    assert len(documents.cut(read)) > 6


def test_a_stray_picture_among_many_texts_is_no_data(tmp_path: Path) -> None:
    texts = {f"{number % 3}/{number}.txt": f"Day {number}. It rained." for number in range(40)}
    table = sources.read(put(pictures(tmp_path / "notes", ["scan.png", "0/plan.jpg"]), texts))
    assert "text" in table.names and len(table) == 40 and "2 pictures, sounds or films (0/plan.jpg, scan.png)" in table.problems[0]
    named = sources.read(put(pictures(tmp_path / "named", ["1.png", "0/plan.jpg"]), texts))  # a picture and its caption
    assert len(named) == 2
    listed = put(
        pictures(tmp_path / "listed", ["scan.png", "0/plan.jpg"]), texts | {"metadata.csv": "file,label\nscan.png,a\n0/plan.jpg,b\n"}
    )
    assert sources.read(listed).column("label").to_pylist() == ["a", "b"]  # a list says that they are


def test_notes_with_pictures_are_texts(tmp_path: Path) -> None:
    shots = [f"assets/my shot {number}.png" for number in range(6)]
    notes = {f"note{number}.md": f"# Day {number}\n\nIt rained.\n\n![a](assets/my%20shot%20{number}.png)\n" for number in range(5)}
    table = sources.read(
        put(pictures(tmp_path / "notes", shots), notes | {"sums.csv": "a,b\n1,2\n" * 9, "page_files/a.js": "x", "page_files/b.js": "y"})
    )
    assert table.names == ["text", "file"] and len(table) == 5 and "6 pictures that the texts show" in table.problems[0]
    classed = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(6)]
    gallery = {"gallery.html": "".join(f"<img src='{name}'>" for name in classed)}
    table = sources.read(put(pictures(tmp_path / "classed", classed), gallery))
    assert table.names == ["image", "label", "file"] and "gallery.html" in table.problems[0]
    table = sources.read(put(pictures(tmp_path / "plain", classed), {"README.md": "![](cat/0.png)"}))
    assert table.names == ["image", "label", "file"] and not table.problems
    described = {f"{number}.txt": f"A cat, number {number}." for number in range(30)}
    previews = {f"{name}.html": "<style>p {margin: 0}</style>" + "".join(f"<img src='{n}.png'>{n}" for n in range(30)) for name in "ab"}
    root = put(pictures(tmp_path / "described", [f"{number}.png" for number in range(30)]), described | previews)
    assert sources.read(root).names == ["image", "text", "file"]


@pytest.mark.parametrize("sign", ["、", "，", ",", "；"])
def test_labels_of_which_nearly_every_cell_holds_others(sign: str) -> None:
    names = ["体育", "财经", "科技", "娱乐", "教育", "健康", "旅游", "汽车"]
    cells = [sign.join(name for place, name in enumerate(names) if (row * 37 + 11) % 256 >> place & 1) or "体育" for row in range(200)]
    table = sources.read({"内容": [f"第{row}条新闻说了些什么。" for row in range(200)], "标签": cells})
    assert len(set(cells)) > 150 and plan(table) == ("classify", ("标签",))
    (found,) = [found for found in balance_of(kinds.infer(table, {}), "标签")[1] if found.code == "labels"]
    assert "8" in found.sentence
    given = {"text": [f"text {row}" for row in range(60)], "label": (["a,b", "a", "", "b", "NA", "b,a"] * 10)}
    codes = {found.code: found.sentence for found in balance_of(kinds.infer(sources.read(given), {}), "label")[1]}
    assert "10 of 60 rows have none" in codes["bare"] and "10 of 60 rows have no 'label'" in codes["target_missing"]
    partners = {"query": given["text"], "pos": [json.dumps([f"text {row}"]) for row in range(60)]}
    assert balance_of(kinds.infer(sources.read(partners), {}), "pos") == ({}, [])


TEXTS = ["Well, it is a fine film", "I left; too long, too loud", "Not bad, not bad at all | see it", "It rained"]


@pytest.mark.parametrize("form", ["{label},{text}", "{label}\t{text}\tetc", "{text};{label}", "{label} | {text}"])
@pytest.mark.parametrize("headed", [False, True])
def test_classes_at_the_edge_of_lines(tmp_path: Path, form: str, headed: bool) -> None:
    """The sign that divides them stands in the texts as well, so that no table has as many cells in each line."""
    rows = [(f"Number {n}. {TEXTS[n % 4]}", ("good", "bad", "so-so")[n % 3]) for n in range(60)]
    lines = [form.replace("\tetc", "\tetc" * (n % 2)).format(text=text, label=label) for n, (text, label) in enumerate(rows)]
    head = [form.format(text="a text", label="label")] if headed else []
    table = sources.read(put(tmp_path, {"reviews.txt": "\n".join([*head, *lines])}) / "reviews.txt")
    assert table.column("label").to_pylist() == [label for _, label in rows] and plan(table) == ("classify", ("label",))
    assert [text.removesuffix("\tetc") for text in table.column("text").to_pylist()] == [text for text, _ in rows]


def test_numbers_whose_comma_divides_cells_are_no_classes(tmp_path: Path) -> None:
    """Ratings of 4 and 4,5 without quotes: rows with half a number more are left out, not read as rated by that half."""
    lines = [f"It was the film {n} of all,{n % 3}{',5' if n % 4 == 1 else ''}" for n in range(60)]
    table = sources.read(put(tmp_path, {"reviews.csv": "\n".join(["text,rating", *lines])}) / "reviews.csv")
    assert len(table) == 45 and {*table.column("rating").to_pylist()} == {"0", "1", "2"} and "left out" in " ".join(table.problems)


@pytest.mark.parametrize("place", [20, 50])
@pytest.mark.parametrize("sign", "\t;,")
@pytest.mark.parametrize("ending", ["txt", "data"])
def test_a_table_with_a_row_too_wide_is_no_lines_with_classes(tmp_path: Path, place: int, sign: str, ending: str) -> None:
    lines = [sign.join([("pos", "neg")[n % 2], str(n), f"it is a fine film and is{' not' * (n % 3)}"]) for n in range(60)]
    lines[place] += f"{sign}too much"
    table = sources.read(
        put(tmp_path, {f"reviews.{ending}": "\n".join([sign.join(["label", "number", "text"]), *lines])}) / f"reviews.{ending}"
    )
    assert (
        table.names == ["label", "number", "text"]
        and len(table) == 59
        and any("another number" in one or "left out" in one for one in table.problems)
    )


@pytest.mark.parametrize("often", [2, 1])
@pytest.mark.parametrize("last", [True, False])
def test_texts_of_a_table_that_hold_its_delimiter_without_quotes(tmp_path: Path, often: int, last: bool) -> None:
    """No row is left out where the classes at the edge of the lines tell where each text ends; of other tables such rows are."""
    rows = [
        ("So it is" + ", well" * (1 + n % 3) * (n % often == 0) + ", a fine film" * (often == 1), ("good", "bad")[n % 2]) for n in range(60)
    ]
    lines = [",".join(row if last else row[::-1]) for row in [("review", "mood"), *rows]]
    table = sources.read(put(tmp_path, {"reviews.csv": "\n".join(lines)}) / "reviews.csv")
    assert list(zip(table.column("review").to_pylist(), table.column("mood").to_pylist(), strict=True)) == rows
    for size in (str, lambda n: ("big", "small")[n % 2]):
        lines = ["name,size", *(f"a thing of a long name,{size(n)}{', x' * (n == 7)}" for n in range(60))]
        table = sources.read(put(tmp_path, {"things.csv": "\n".join(lines)}) / "things.csv")
        assert table.names == ["name", "size"] and len(table) == 59
