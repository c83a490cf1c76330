"""Language data under other endings and in other layouts than the plainest: what they hold is seen, and which task they are for."""

import gettext
import json
import struct

import numpy as np
import pytest

from duomo import pipeline
from duomo.core import kinds
from duomo.core.errors import ConfigError, DataError
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.data import sources
from duomo.data.audit import audit
from duomo.plan import choose, read

CATALOGUE = {"": "Content-Type: text/plain; charset=UTF-8\n", "Open": "打开", "menu\4Save": "保存", "%d file\0%d files": "%d 个文件"}


def catalogue(order: str = "<", **changed: int) -> bytes:
    keys = sorted(CATALOGUE)
    texts = [[key.encode() for key in keys], [CATALOGUE[key].encode() for key in keys]]
    place, tables, body = 28 + 16 * len(keys), [], b""
    for column in texts:
        for text in column:
            tables += [len(text), place + len(body)]
            body += text + b"\0"
    head = {"magic": 0x950412DE, "revision": 0, "count": len(keys), "one": 28, "two": 28 + 8 * len(keys), "size": 0, "hash": 0} | changed
    return struct.pack(f"{order}7I", *head.values()) + struct.pack(f"{order}{len(tables)}I", *tables) + body


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_compiled_catalogue(tmp_path, order) -> None:
    (tmp_path / "zh.mo").write_bytes(catalogue(order))
    with (tmp_path / "zh.mo").open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("Open") == "打开"
    table = sources.read(tmp_path / "zh.mo")
    pairs = list(zip(table.column("source").to_pylist(), table.column("target").to_pylist(), strict=True))
    assert pairs == [("%d file", "%d 个文件"), ("%d files", "%d 个文件"), ("Open", "打开"), ("Save", "保存")]
    assert plan(table).task == "translate"


@pytest.mark.parametrize("changed", [{"count": 1 << 31}, {"one": 1 << 31}, {"two": 30}, {"magic": 1}])
def test_a_lying_catalogue(tmp_path, changed) -> None:
    (tmp_path / "zh.mo").write_bytes(catalogue(**changed))
    with pytest.raises(DataError, match="gettext"):
        sources.read(tmp_path / "zh.mo")


def plan(table) -> DataConfig:
    return choose(kinds.infer(table, {}), DataConfig())[0]


SENTENCES = [(["王", "明", "在", "北", "京"], ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]), (["他", "说"], ["O", "O"])] * 8
WORDS = "[中央/n 电台/n]nt 在/p 北京/ns 报道/v\n他/r 说/v 好/a\n"


def test_tags_in_plain_text(tmp_path) -> None:
    rows = "\n\n".join("\n".join(" ".join(pair) for pair in zip(*sentence, strict=True)) for sentence in SENTENCES)
    (tmp_path / "train.txt").write_text(f"-DOCSTART- O\n\n{rows}\n", encoding="utf-8")
    table = sources.read(tmp_path / "train.txt")
    assert [json.loads(cell) for cell in table.column("tags").to_pylist()] == [tags for _, tags in SENTENCES] and plan(table).task == "tag"
    (tmp_path / "under.txt").write_text(rows.replace("B-", "B_").replace("I-", "I_"), encoding="utf-8")
    assert plan(sources.read(tmp_path / "under.txt")).task == "tag"
    first = "\n\n".join("\n".join(f"{tag}\t{word}" for word, tag in zip(*sentence, strict=True)) for sentence in SENTENCES)
    (tmp_path / "first.conll").write_text(first, encoding="utf-8")
    assert sources.read(tmp_path / "first.conll").data.select(["tokens", "tags"]) == table.data.select(["tokens", "tags"])
    rows = "\n\n".join(
        "\n".join(f"{word}\t{tag}\t{n}\t0.9{n}" for n, (word, tag) in enumerate(zip(*one, strict=True))) for one in SENTENCES
    )
    (tmp_path / "sure.conll").write_text(rows, encoding="utf-8")  # where each token is and how sure its tag stand behind it
    assert sources.read(tmp_path / "sure.conll").data.select(["tokens", "tags"]) == table.data.select(["tokens", "tags"])
    (tmp_path / "people.txt").write_text(WORDS * 5, encoding="utf-8")
    table = sources.read(tmp_path / "people.txt")
    assert json.loads(table.column("tokens")[0].as_py()) == ["中央", "电台", "在", "北京", "报道"] and plan(table).task == "tag"
    brown = "The/at jury's/nn$ ``/`` top/jj-tl vote/nn ''/'' isn't/bez* 1/2/cd --/-- ,/, won't/md* ./.\n\n\nI'd/ppss+hv gone/vbn ./.\n" * 6
    (tmp_path / "ca01").write_text(brown)
    table = sources.read(tmp_path / "ca01")
    assert json.loads(table.column("tags")[1].as_py()) == ["ppss+hv", "vbn", "."] and "1/2" in table.column("tokens")[0].as_py()
    assert plan(table).task == "tag" and len(table.problems) == 1
    (tmp_path / "paths.txt").write_text("src/main\nsrc/test\nbin/ls\n" * 20)
    assert sources.read(tmp_path / "paths.txt").names[0] == "text"
    prose = "I/O and and/or are words. Nothing else is here, BIO or O.\n\nO\n" * 40
    (tmp_path / "prose.txt").write_text(prose, encoding="utf-8")
    assert sources.read(tmp_path / "prose.txt").kinds["text"] == "text"


def test_words_between_spaces_are_a_lesson_in_segmentation(tmp_path) -> None:
    lines = "共同  创造  美好  的  新  世纪\n１２月  ３１日  ，  总书记  发表  讲话  。\n" * 10
    for name in ("training.utf8", "words.txt", "words"):
        (tmp_path / name).write_text(lines, encoding="utf-8")
        table = sources.read(tmp_path / name)
        assert table.names == ["text", "tokens", "tags"] and table.column("text")[0].as_py() == "共同创造美好的新世纪"
        assert json.loads(table.column("tags")[0].as_py()) == list("BEBEBESSBE") and plan(table).task == "tag"
        assert any("where a word begins" in problem for problem in table.problems)
    for other in (
        "山有木兮木有枝 心悦君兮君不知\n" * 20,
        "我 们 在 北 京\n" * 20,
        "저는 학교에 갑니다 오늘도\n" * 20,
        "在 Linux 上 使用 git 命令\n" * 5,
    ):
        (tmp_path / "other.txt").write_text(other, encoding="utf-8")
        assert sources.read(tmp_path / "other.txt").names[0] == "text" and len(sources.read(tmp_path / "other.txt").names) == 2


def test_odd_columns(tmp_path) -> None:
    def tokens(text: str, name: str = "odd.conll") -> list[list[str]]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return [json.loads(cell) for cell in sources.read(tmp_path / name).column("tokens").to_pylist()]

    assert tokens("# id 3 x\n#now O\nin O\n# O\n1 O\nRome B-LOC\n\n#so O\nit O\nis O\n") == [
        ["#now", "in", "#", "1", "Rome"],
        ["#so", "it", "is"],
    ]
    assert tokens("# id 5-b\tdomain=x\nAnn _ _ B-PER\nsings _ _ O\n\n# id 6\tdomain=x\nBo _ _ B-PER\n") == [["Ann", "sings"], ["Bo"]]
    assert tokens("#\tO\n1\tO\nRome\tB-LOC\n") == [["#", "1", "Rome"]]
    assert tokens("1\tAnn\tO\tB-PER\n2\tsings\tO\tO\n\n1\tBo\tO\tB-PER\n") == [["Ann", "sings"], ["Bo"]]
    assert tokens("token\tlabel\nAnn\tB-PER\n\nBo\tB-PER\n") == [["Ann"], ["Bo"]]
    alone = "Ann B-PER\nsings O\n. O\nBo B-PER\nsits O\n! O\n" * 40
    assert tokens(alone) == tokens(alone, "odd.txt") == [["Ann", "sings", "."], ["Bo", "sits", "!"]] * 40
    assert "80 sentences" in sources.read(tmp_path / "odd.txt").problems[0]
    commas = 'token,label\nAnn,B-PER\nsings,O\n",",O\n\nBo,B-PER\nsits,O\n\n'
    assert tokens(commas + commas.partition("\n")[2] * 9, "odd.csv") == [["Ann", "sings", ","], ["Bo", "sits"]] * 10
    (tmp_path / "table.csv").write_text("a,b\n" + "1,x\n2,y\n\n3,x\n" * 20)
    assert sources.read(tmp_path / "table.csv").names == ["a", "b"]


def test_tasks_told_by_their_columns() -> None:
    text = [f"words of text number {number}" for number in range(30)]
    for names, task, target in [
        (("de", "en"), "translate", ("en",)), (("zh-CN", "ja"), "translate", ("ja",)),
        (("anchor", "positive", "negative"), "embed", ("positive",)), (("src", "tgt"), "translate", ("tgt",)),
        (("text_en", "text_fr"), "translate", ("text_fr",)), (("en_text", "fr_text"), "translate", ("fr_text",)),
        (("instruction", "input", "output"), "chat", ()), (("text", "摘要"), "summarize", ("摘要",)),
    ]:  # fmt: skip
        found = plan(sources.read({name: [f"{cell} {name}" * (3 if name == "text" else 1) for cell in text] for name in names}))
        assert (found.task, found.target) == (task, target)
    long = [f"A long text, number {number}. " * 9 for number in range(30)]
    heads = [f"Number {number}" for number in range(30)]
    chinese = [f"{number}是这个句子的号码，写成中文。" for number in range(30)]
    lists = [json.dumps([f"right {number}", "also right"]) for number in range(30)]
    reverse, notes = [cell[::-1] for cell in text], [f"CC-BY 2.0 {number}" for number in range(30)]
    for columns, task, target in [
        ({"content": long, "title": heads}, "summarize", "title"), ({"正文": long, "标题": heads}, "summarize", "标题"),
        ({"query": text, "pos": lists, "neg": lists}, "embed", "pos"), ({"query": text, "positive": long}, "embed", "positive"),
        ({"c0": text, "c1": chinese}, "translate", "c1"), ({"c0": chinese, "c1": reverse, "c2": notes}, "translate", "c1"),
    ]:  # fmt: skip
        found = plan(sources.read(columns))
        assert (found.task, found.target) == (task, (target,))
    with pytest.raises(ConfigError, match=r"--task translate .* --source c0 --target c1"):
        plan(sources.read({"c0": text, "c1": long}))
    assert plan(sources.read({"text": text, "label": ["猫", "狗"] * 15})).task == "classify"
    comments = {
        "c0": [cell * (1 + row % 5) for row, cell in enumerate(chinese)],
        "c1": [f"user {row * row % 7 * '_'}" for row in range(30)],
    }
    with pytest.raises(ConfigError, match="--task translate"):
        plan(sources.read(comments | {"c1": [f"{cell}{row}" for row, cell in enumerate(comments["c1"])]}))
    speech = {"query": text, "pos": ["noun", "verb"] * 15, "intent": ["buy", "ask", "ask"] * 10}
    assert plan(sources.read(speech)).target == ("intent",)
    table = kinds.infer(sources.read({"de": text, "en": [cell[::-1] for cell in text]}), {})
    assert [choose(table, DataConfig(target=(name,)))[0].task for name in ("en", "de")] == ["translate", "classify"]
    spans = [json.dumps([{"start": 0, "end": 5, "label": "X"}] if number % 2 else []) for number in range(30)]
    found = plan(sources.read({"text": text, "entities": spans}))
    assert (found.task, found.target) == ("tag", ("entities",))


def test_texts_in_one_folder_alone_are_written_on(tmp_path) -> None:
    """As in an unpacked book (OEBPS/ch1.xhtml): one folder tells nothing apart, two are classes."""
    for place, ending in (("book/OEBPS", "xhtml"), ("novel/chapters", "txt")):
        (tmp_path / place).mkdir(parents=True)
        for n in range(8):
            (tmp_path / place / f"ch{n}.{ending}").write_text(f"<p>The mill of day {n} was old.</p>")
    for name in ("book", "novel"):
        assert choose(kinds.infer(sources.read(tmp_path / name), {}), DataConfig())[0].task == "generate"
    (tmp_path / "novel" / "notes").mkdir()
    (tmp_path / "novel/notes/a.txt").write_text("A note.")
    assert choose(kinds.infer(sources.read(tmp_path / "novel"), {}), DataConfig())[0].task == "classify"


def test_source_texts_of_a_folder(tmp_path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("one.py", "two.c", "inner/three.rs"):
        (tmp_path / name).write_text(f"# {name}\n\n    kept as it is\n")
    (tmp_path / "data.bin").write_bytes(b"\0\1")
    table = sources.read(tmp_path)
    assert table.names == ["text", "file"] and len(table) == 3 and "\n\n    kept" in table.column("text")[0].as_py()
    assert sources.read(tmp_path / "one.py").column("text")[0].as_py().startswith("# one.py")


def test_tagged_sentences_in_tables(tmp_path) -> None:
    """Tokens and tags divided by tabs with blank lines, whatever the tags; a word a row, its sentence named once or always."""
    sentences = [
        [(f"word{row}{place}", "NN" if place % 2 else "VBZ", "B-x" if place == 2 else "O") for place in range(5)] for row in range(30)
    ]
    for width in (2, 3):
        rows = ["".join("\t".join([*cells[: width - 1], cells[1]]) + "\n" for cells in sentence) for sentence in sentences]
        (tmp_path / "train.tsv").write_text("\n".join(rows))
        table = sources.read(tmp_path / "train.tsv")
        assert len(table) == 30 and plan(table).task == "tag" and json.loads(table.column("tags")[0].as_py())[0] == "VBZ"
    for always in (True, False):
        names = [[f"Sentence: {row}" if always or not place else "" for place in range(5)] for row in range(30)]
        rows = [
            ",".join((name, *cells))
            for some, sentence in zip(names, sentences, strict=True)
            for name, cells in zip(some, sentence, strict=True)
        ]
        (tmp_path / "ner.csv").write_text("\n".join(["Sentence #,Word,POS,Tag", *rows]))
        table = sources.read(tmp_path / "ner.csv")
        assert table.names == ["tokens", "POS", "tags"] and len(table) == 30 and plan(table).task == "tag"
        assert json.loads(table.column("tags")[3].as_py()) == ["O", "O", "B-x", "O", "O"]
    table = sources.read({"tokens": [["a", "b"]] * 30, "ner_tags": [[0, 3]] * 30})
    assert plan(table).target == ("ner_tags",)
    said = {
        "sentence": ["these are several words in one"] * 20,
        "word": ["are"] * 20,
        "label": ["x"] * 20,
        "more": [str(n) for n in range(20)],
    }
    (tmp_path / "senses.csv").write_text("\n".join([",".join(said), *map(",".join, zip(*said.values(), strict=True))]))
    assert len(sources.read(tmp_path / "senses.csv")) == 20


def test_names_that_do_not_say_what_a_file_holds(tmp_path) -> None:
    """Text is text, whatever it is called; what is none is refused as before."""
    rows = "".join(f"{number},{number * 7 % 5},x\n" for number in range(9))
    columns = "\n".join("EU B-ORG\nsays O\n" for _ in range(30))
    for content, names, said in [
        ("It is written, as prose is,\nin lines; more or less.\n" * 40, ["text", "part"], "plain text"),
        ("a,b,c\n" + rows, ["a", "b", "c"], "a table"), ('{"a": "1"}\n{"a": "2"}\n', ["a"], "JSON Lines"),
        ('[\n{"a": "1"}]', ["a"], "JSON"), (columns, ["tokens", "tags"], "CoNLL"),
    ]:  # fmt: skip
        for name, encoding in (("given", "utf-8"), ("given.data", "utf-16")):
            (tmp_path / name).write_text(content, encoding=encoding)
            table = sources.read(tmp_path / name)
            assert table.names == names and any(said in problem for problem in table.problems)
    (tmp_path / "given").write_text("各种文字都一样。\n第二行，也是如此。\n" * 30, encoding="gb18030")
    assert "第二行" in sources.read(tmp_path / "given").column("text")[0].as_py()
    for content in (bytes(range(256)) * 9, b"\x7fELF\2\1\1\0\0\0\0", b"%PDF-1.7\n"):
        (tmp_path / "given").write_bytes(content)
        with pytest.raises(DataError, match="ending of a file must be"):
            sources.read(tmp_path / "given")


def test_folders_of_pages_and_of_files_without_endings(tmp_path) -> None:
    for number in range(4):
        for label in ("sci.space", "rec.autos"):
            (tmp_path / "news" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "news" / label / str(50 + number)).write_text(f"Mail {number} of {label}\n")
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / f"page{number}.md").write_text(f"# Page {number}\n")
    (tmp_path / "docs" / "requirements.txt").write_text("numpy\n")
    (tmp_path / "news" / "rec.autos" / "tool").write_bytes(b"\x7fELF\0\0\0")
    table = sources.read(tmp_path / "news")
    assert table.names == ["text", "label", "file"] and len(table) == 8
    table = sources.read(tmp_path / "docs")
    assert table.names == ["text", "file"] and len(table) == 4 and "requirements.txt" in table.problems[0]


def test_many_short_pages_do_not_put_the_long_texts_aside(tmp_path) -> None:
    for number in range(12):
        for folder in ("help", "more"):
            (tmp_path / "one" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "one" / folder / f"page{number}.md").write_text(f"# Page {number} of {folder}\n")
    (tmp_path / "one" / "novel.txt").write_text("It was a long day. " * 200)
    (tmp_path / "two" / "news").mkdir(parents=True)
    (tmp_path / "one" / "help").rename(tmp_path / "two" / "help")
    (tmp_path / "two" / "news" / "first.txt").write_text("It rained.")
    (tmp_path / "two" / "last.txt").write_text("It snowed.")
    assert len(sources.read(tmp_path / "two")) == 14  # pages in one folder are no classes
    (tmp_path / "two" / "help").rename(tmp_path / "one" / "help")
    assert len(sources.read(tmp_path / "one")) == 25
    (tmp_path / "one" / "novel.txt").write_text("Read me.")
    table = sources.read(tmp_path / "one")
    assert table.names == ["text", "label", "file"] and len(table) == 24 and "novel.txt" in table.problems[0]


def test_a_long_text_is_not_called_few_rows(tmp_path) -> None:
    for size, few in ((300_000, False), (9_000, True)):
        (tmp_path / "books").mkdir(exist_ok=True)
        (tmp_path / "books" / "a.txt").write_text("A sentence of a long book stands here.\n\n" * (size // 40))
        found = audit(kinds.infer(sources.read(tmp_path / "books"), {}), guess=False).findings
        assert {finding.code for finding in found} & {"few_rows", "constant", "id"} == ({"few_rows"} if few else set())


def test_a_few_short_texts_are_cut_to_learn_from(tmp_path) -> None:
    """Three pages are enough text for a model, but three rows could not be divided; to be answered they stay whole."""
    texts = {f"{number}.txt": "".join(f"Line {line} of text {number}.\n" for line in range(90)) for number in range(3)}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    table = read(tmp_path, DataConfig(), Silent())
    assert len(sources.read(tmp_path)) == 3 and len(table) > 20 and table.names == ["text", "part", "file"]
    whole = dict.fromkeys(texts, "")
    for text, _, name in zip(*(table.column(name).to_pylist() for name in table.names), strict=True):
        whole[name] += text
    assert whole == texts and plan(table).task == "generate"


def test_texts_and_pages_of_a_folder_are_learned_from_together(tmp_path) -> None:
    """Documents come as they were written: none is left out for its ending but those about the others, and those beside code or classes."""
    files = {f"a/{number}.html": f"<p>page {number}</p>" for number in range(30)} | {"b/1.txt": "plain\n", "b/2.md": "marked\n"}
    code = {"src/a.py": "import os", "src/b.py": "import re", "requirements.txt": "numpy", "docs.md": "words"}
    classes = {f"{name}/{number}.txt": name for name in ("good", "bad") for number in range(3)} | {"plan.md": "notes"}
    cases = {
        "documents": (files | {"README.txt": "about"}, {*files}),
        "code": (code, {"src/a.py", "src/b.py"}),
        "classes": (classes, {*classes} - {"plan.md"}),
    }
    for name, (written, wanted) in cases.items():
        for file, text in written.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        table = sources.read(tmp_path / name)
        assert set(table.column("file").to_pylist()) == wanted
        assert any(str(len(written) - len(wanted)) in problem for problem in table.problems)


def test_one_text_much_longer_than_the_others_is_cut_to_learn_from(tmp_path) -> None:
    """Whole, it would be most of one part of the split; a folder of classes keeps it, unless text is what is learned."""
    for number in range(60):
        (tmp_path / "all" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / "ab"[number % 2] / f"{number}.txt").write_text(f"第{number}篇短文。\n" * 20, encoding="utf-8")
    long = "".join(f"第{line}行写在很长的一本书里，一页又一页。\n" for line in range(3000))
    (tmp_path / "all" / "a" / "book.txt").write_text(long, encoding="utf-8")
    table = read(tmp_path / "all", DataConfig(task="generate"), Silent())
    book = [text for text, file in zip(*(table.column(name).to_pylist() for name in ("text", "file")), strict=True) if file == "a/book.txt"]
    assert "".join(book) == long and max(map(len, book)) < len(long) / 15 and len(table) == 60 + len(book)
    assert set(table.column("label").to_pylist()) == {"a", "b"} and len(read(tmp_path / "all", DataConfig(), Silent())) == 61


def test_inspect_does_not_advise_against_what_the_model_reads(tmp_path):
    """A system prompt is the same in all rows, an input may be empty in all; to leave them out would lose the one."""
    rows = [
        {"instruction": f"How much is {n} and {n}?", "input": "", "output": f"It is {n + n}.", "system": "Be kind.", "kind": "sum"}
        for n in range(40)
    ]
    (tmp_path / "sums.json").write_text(json.dumps(rows))
    found = pipeline.inspect(tmp_path / "sums.json", {"data": {"task": "chat"}})
    assert [one["columns"] for one in found["findings"] if one["code"] in ("constant", "all_missing")] == [["kind"]]


def test_inspect_shows_a_conversation_and_guesses_no_target(tmp_path) -> None:
    """Columns that are asked and answered are no classes, and the first example is rendered."""
    rows = [{"ask": f"question {number % 5}", "reply": f"This is what answers {number}, and more."} for number in range(40)]
    (tmp_path / "talks.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    found = pipeline.inspect(tmp_path / "talks.jsonl", {"data": {"task": "chat"}}, html=str(tmp_path / "page.html"))
    assert not found["target"] and not {"classes", "conflicts", "imbalance"} & {one["code"] for one in found["findings"]}
    assert [text for text, learned in found["example"]["parts"] if learned] == ["This is what answers 0, and more.<|im_end|>"]
    assert "<mark>This is what" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_lists_of_what_was_said_in_turn(tmp_path):
    """LCCC: conversations as lists of texts, of unlike lengths; lists of words are none."""
    talks = [["今天天气怎么样", "挺好的，出太阳了", "那出去走走吧"], ["你 吃饭 了 吗", "还 没有 呢"]] * 12
    (tmp_path / "talks.json").write_text(json.dumps(talks, ensure_ascii=False), encoding="utf-8")
    table = kinds.infer(sources.read(tmp_path / "talks.json"), {})
    assert table.names == ["conversation"] and len(table) == 24 and choose(table, DataConfig())[0].task == "chat"
    (tmp_path / "words.json").write_text(json.dumps([["We", "like", "it"], ["No", "thanks"]] * 12))
    with pytest.raises(DataError, match="list of objects"):
        sources.read(tmp_path / "words.json")


def test_rows_are_alike_by_their_tokens() -> None:
    rng = np.random.default_rng(0)
    tokens = [[f"w{number}" for number in rng.integers(0, 5000, 12)] for _ in range(60)]
    cells = {"tokens": [json.dumps(row) for row in tokens], "features": [json.dumps(["Gender=Masc|Number=Sing"] * 12)] * 60,
             "tags": [json.dumps(["N", "V"] * 6)] * 60}  # fmt: skip
    table = kinds.infer(sources.read(cells), dict.fromkeys(cells, "text"))
    assert not [finding for finding in audit(table, "tags").findings if finding.code == "near_duplicates"]


def test_a_first_pair_in_two_scripts_is_no_line_of_names(tmp_path):
    """A pair of single words could be either: what was taken is told."""
    rows = [("Good night", "晚安"), ("I am tired", "我累了"), ("Where are you", "你在哪里"), ("OK", "OK 好")]
    for first, names, told in (
        (("How do I get there", "怎么去"), ["c0", "c1"], "no line of column names"),
        (("Hello", "你好"), ["Hello", "你好"], "The first line was taken as column names: Hello, 你好"),
        (("source", "target"), ["source", "target"], ""),
    ):
        (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in (first, *rows)), encoding="utf-8")
        table = sources.read(tmp_path / "pairs.tsv")
        assert table.names == names and len(table) == 5 - (names[0] != "c0") and told in " ".join(table.problems)
        assert bool(told) == bool(table.problems)


@pytest.mark.parametrize(
    ("name", "between", "end"),
    [("a.txt", ",", ""), ("a.txt", "|", ""), ("a.txt", ";", ""), ("a.conll", ",", ""), ("a.txt", " ", "EOS"), ("a.bio", "\t", "EOS")],
)
def test_sentences_of_tags_behind_other_signs(tmp_path, name, between, end) -> None:
    rows = [[f"{word}{between}{tag}" for word, tag in zip(*sentence, strict=True)] for sentence in SENTENCES * 3]
    (tmp_path / name).write_text("".join("\n".join([*lines, end]) + "\n" for lines in rows), "utf-8")
    table = sources.read(tmp_path / name)
    assert len(table) == 48 and table.column("tokens")[0].as_py() == json.dumps(SENTENCES[0][0], ensure_ascii=False)
    assert plan(table).task == "tag"


def test_tokens_numbered_anew_are_sentences(tmp_path) -> None:
    lines = [
        f"{place}\t{word}\t{tag}" for words, tags in SENTENCES * 8 for place, (word, tag) in enumerate(zip(words, tags, strict=True), 1)
    ]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n", "utf-8")
    table = sources.read(tmp_path / "a.txt")
    assert table.names == ["tokens", "tags"] and len(table) == 128


@pytest.mark.parametrize("line", [" O", "\u3000\tO", "  \tO"])
def test_a_token_that_is_a_space_ends_no_sentence(tmp_path, line) -> None:
    """Though its tag then stands alone, as EOS does."""
    mark = "\t" if "\t" in line else " "
    lines = [f"李{mark}B-PER", f"明{mark}I-PER", line, f"去{mark}O", f"北{mark}B-LOC", f"京{mark}I-LOC", ""]
    (tmp_path / "a.txt").write_text("\n".join(lines * 40))
    table = sources.read(tmp_path / "a.txt")
    assert len(table) == 40 and not table.problems
    assert json.loads(table.column("tokens")[0].as_py()) == [*"李明去北京"]
    assert json.loads(table.column("tags")[0].as_py()) == ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]
