"""Figures are sacreBLEU's and rouge-score's, pairs and their files, the memory, the search, a task learned by heart."""

import json
import random
import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sacrebleu
import torch
from rouge_score import rouge_scorer
from torch.nn import functional

import duomo
from duomo import plan
from duomo.core.errors import ConfigError, DataError
from duomo.core.find import make_model, make_task
from duomo.core.recipe import DataConfig, EncodeConfig, ModelConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import pairs, sources, text_metrics
from duomo.data.baselines.memory import Memory
from duomo.data.loader import finish
from duomo.samples import write
from duomo.tasks.summarize.baselines import lead


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> tuple[list[str], list[str]]:
    folder = tmp_path_factory.mktemp("texts")
    found = [sources.read(write(name, folder)).column("text").to_pylist()[:60] for name in ("pinglun", "reviews")]
    return found[0], found[1]


def spoiled(some: list[str], seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(sign for sign in text if rng.random() < 0.9) + rng.choice(["", ' "so", 3.5%']) for text in some[:-1]] + [""]


@pytest.mark.parametrize(("which", "how"), [(0, "zh"), (1, "13a")])
def test_figures_are_those_of_sacrebleu(texts, which, how):
    truth = texts[which]
    assert text_metrics.tokenisation(truth) == how
    for told in (spoiled(truth), truth[1:] + truth[:1], truth):
        assert text_metrics.bleu(text_metrics.bleu_counts(told, truth, how)) == pytest.approx(
            sacrebleu.corpus_bleu(told, [truth], tokenize=how).score
        )
        assert text_metrics.chrf(text_metrics.chrf_counts(told, truth)) == pytest.approx(sacrebleu.corpus_chrf(told, [truth]).score)


@pytest.mark.parametrize("truth", [
    ["แมวนั่งบนเสื่อ สีแดง", "สุนัขกินข้าวแล้ว (2 ครั้ง)"], ["ແມວນັ່ງຢູ່ເທິງເສື່ອ", "ໝາກິນເຂົ້າ"], ["ឆ្មាអង្គុយលើកន្ទេល។", "ឆ្កែស៊ីបាយ"],
    ["ကြောင်သည် ဖျာပေါ်တွင်ထိုင်သည်။", "ခွေးက ထမင်းစားသည်"], ["猫がマットの上に座った。", "犬はごはんを食べた。"],
])  # fmt: skip
def test_scripts_without_spaces_are_judged_by_characters(truth):
    assert text_metrics.tokenisation(truth) == "char"
    told = [truth[0][:-3], truth[1] + truth[0][:2]]
    assert 0 < text_metrics.bleu(text_metrics.bleu_counts(told, truth, "char")) < 100
    assert text_metrics.bleu(text_metrics.bleu_counts(told, truth, "char")) == pytest.approx(
        sacrebleu.corpus_bleu(told, [truth], tokenize="char").score
    )


def test_words_of_rouge_keep_their_marks():
    told, truth = ["लड़की गई", "e\u0301te\u0301"], ["लड़का गई", "e\u0301ta\u0301"]
    assert text_metrics.rouge_rows(told, truth, False)[:, 0].tolist() == [0.5, 0.0]


def test_figures_are_those_of_rouge_score(texts):
    truth, told = texts[1], spoiled(texts[1])
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    expected = [[scorer.score(a, b)[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")] for a, b in zip(truth, told, strict=True)]
    assert np.allclose(text_metrics.rouge_rows(told, truth, False), expected)


def test_first_sentences():
    assert lead("One is 1.5. Two! Three? Four.", 3) == "One is 1.5. Two! Three?"
    assert lead("第一句。第二句！第三句？第四句。", 2) == "第一句。第二句！"
    assert lead("वह आया। वह गया॥ क्यों?", 2) == "वह आया। वह गया॥"
    assert lead("أين هو؟ هنا.", 1) == "أين هو؟" and lead("وہ آیا۔ وہ گیا۔", 1) == "وہ آیا۔"
    assert lead("no end", 3) == "no end"
    assert lead("Mr. and Mrs. J. Lee of the U.S. are here. They stay.", 1) == "Mr. and Mrs. J. Lee of the U.S. are here."
    full = "Title without a stop\nEmma Woodhouse, handsome, clever, and rich, with a\ncomfortable home, lived well. She was 21.\n\nMore."
    assert lead(full, 2).splitlines()[1] == "Emma Woodhouse, handsome, clever, and rich, with a comfortable home, lived well."
    assert lead("标题\n" + "一" * 45 + "\n" + "二" * 9 + "。三。", 2) == "标题\n" + "一" * 45 + "二" * 9 + "。"
    assert lead("Name J.\n\nHe came. He went.", 2) == "Name J.\n\nHe came."
    letters = "a. " * 300_000  # as long as a text may be, and none of its stops an end: read through once, not from each stop
    assert lead(letters, 1) == letters.strip()


TMX = """<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx version="1.4"><header/><body>
<tu><tuv xml:lang="en-US"><seg>Press <bpt i="1">&lt;b&gt;</bpt>OK<ept i="1">&lt;/b&gt;</ept>.</seg></tuv>
<tuv xml:lang="zh-CN"><seg>按确定。</seg></tuv></tu>
<tu><tuv xml:lang="en-US"><seg>Alone</seg></tuv></tu></body></tmx>"""
PO = """msgid ""
msgstr "Language: de\\n"

#, fuzzy
msgid "Old"
msgstr "Alt?"

msgctxt "menu"
msgid "Save "
"as \\"x\\"\\n"
msgstr "Speichern"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] "%d Dateien"

msgid "Open"
msgstr ""

#~ msgid "Gone"
#~ msgstr "Weg"
"""


BROKEN = """msgid "sound"
msgstr "heil"

msgid "unclosed
msgstr "swallowed?"

msgid "bare"
msgstr un deux

msgid "without"
#, fuzzy
msgid "unsure"
msgstr "unsicher"

msgid "escaped"
msgstr "trois\\"

msgid"near"
msgstr"nah"
"""


def test_broken_messages_are_counted_by_line(tmp_path):
    (tmp_path / "de.po").write_text(BROKEN, encoding="utf-8")
    table = sources.read(tmp_path / "de.po")
    assert table.column("source").to_pylist() == ["sound", "near"] and table.column("target").to_pylist() == ["heil", "nah"]
    assert "4 messages" in (said := " ".join(table.problems)) and "lines 4, 7, 10, 15." in said and "1 message" in said


def test_the_charset_that_a_catalogue_declares_is_read(tmp_path):
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=CP932\\n"\n\n'
    (tmp_path / "ja.po").write_bytes((header + 'msgid "find"\nmsgstr "検索"\n').encode("cp932"))
    assert sources.read(tmp_path / "ja.po").column("target").to_pylist() == ["検索"]
    texts = [b"", b"find", b"Content-Type: text/plain; charset=cp932\n", "検索".encode("cp932")]
    places = [value for place, text in enumerate(texts) for value in (len(text), 60 + sum(map(len, texts[:place])))]
    (tmp_path / "ja.mo").write_bytes(struct.pack("<15I", 0x950412DE, 0, 2, 28, 44, 0, 0, *places) + b"".join(texts))
    assert sources.read(tmp_path / "ja.mo").column("target").to_pylist() == ["検索"]


def test_files(tmp_path):
    (tmp_path / "help.tmx").write_text(TMX, encoding="utf-8")
    table = sources.read(tmp_path / "help.tmx")
    assert table.names == ["en", "zh"] and table.data.to_pylist() == [{"en": "Press OK.", "zh": "按确定。"}, {"en": "Alone", "zh": None}]
    bomb = '<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><tmx><body><tu><tuv xml:lang="en"><seg>&b;</seg></tuv></tu></body></tmx>'
    reach = '<!DOCTYPE t [<!ENTITY a SYSTEM "file:///etc/passwd">]><tmx><body><tu><tuv xml:lang="en"><seg>&a;</seg></tuv></tu></body></tmx>'
    for place, text in enumerate((bomb, reach, "<tmx><body>")):
        (tmp_path / f"{place}.tmx").write_text(text)
        with pytest.raises(DataError):
            sources.read(tmp_path / f"{place}.tmx")
    (tmp_path / "de.po").write_text(PO, encoding="utf-8")
    table = sources.read(tmp_path / "de.po")
    assert table.column("source").to_pylist() == ['Save as "x"\n', "%d file", "%d files", "Open"]
    assert table.column("target").to_pylist() == ["Speichern", "%d Datei", "%d Dateien", None]
    assert "1 message is" in table.problems[0]


WRITTEN = {"UTF-16": "utf-16", "utf-16": "utf-8", "utf-16be": "utf-16-be", "GBK": "gbk", "Shift_JIS": "shift_jis", "no-such": "utf-8-sig",
           "windows-1252": "cp1252"}  # fmt: skip


@pytest.mark.parametrize(("declared", "written"), WRITTEN.items())
def test_tmx_in_the_encodings_of_other_tools(tmp_path, declared, written):
    """What expat knows no encoding of, and files that are not what they declare."""
    text = "café" if written == "cp1252" else "番号"
    head = f'<?xml version="1.0" encoding="{declared}"?><tmx version="1.1"><header/><body>'
    unit = f'<tu><tuv lang="EN"><seg>a number</seg></tuv><tuv lang="XX"><seg>{text}</seg></tuv></tu></body></tmx>'
    (tmp_path / "a.tmx").write_bytes((head + unit).encode(written))
    assert sources.read(tmp_path / "a.tmx").data.to_pylist() == [{"en": "a number", "xx": text}]


def test_tmx_languages_written_in_several_ways(tmp_path):
    def read(*pairs):
        units = "".join(
            f'<tu><tuv xml:lang="{one}"><seg>a</seg></tuv><tuv xml:lang="{other}"><seg>b</seg></tuv></tu>' for one, other in pairs
        )
        (tmp_path / "a.tmx").write_text(f'<tmx version="1.4"><header/><body>{units}</body></tmx>')
        return sources.read(tmp_path / "a.tmx").names

    assert read(("EN-US", "fr"), ("en-us", "FR-fr"), ("en_US", "fr-FR"), ("en", "fr")) == ["en", "fr"]
    assert read(("en-US", "fr"), ("en-GB", "fr"), ("EN-us", "FR")) == ["EN-us", "en-GB", "fr"]


def test_quotes_between_tabs_are_letters(tmp_path):
    """A cell that begins with a quote swallows no rows, in the first line or later."""
    rows = [f'"Word {n}.\t« Mot {n}. »\n' if n % 9 == 0 else f"Word {n}!\tMot {n} !\n" for n in range(100)]
    (tmp_path / "a.tsv").write_text("".join(rows), encoding="utf-8")
    table = sources.read(tmp_path / "a.tsv")  # a sentence above sentences names no column
    assert len(table) == 100 and table.column("c0")[0].as_py() == '"Word 0.'
    (tmp_path / "b.tsv").write_text('en\tfr\n"one\ttwo\n"three\tfour\n')
    assert sources.read(tmp_path / "b.tsv").data.to_pylist() == [{"en": '"one', "fr": "two"}, {"en": '"three', "fr": "four"}]


def test_pairs_between_tabs_in_a_text_file(tmp_path):
    """As decks of flash cards are: no names, a third column that says from where."""
    (tmp_path / "fra.txt").write_text("".join(f"Word {n}.\tMot {n} !\tCC-BY #{n} (me)\n" for n in range(20)), encoding="utf-8")
    table = sources.read(tmp_path / "fra.txt")
    assert len(table) == 20 and table.names == ["c0", "c1", "c2"] and table.column("c1")[0].as_py() == "Mot 0 !"
    (tmp_path / "prose.txt").write_text("\n".join(f"\tIt was day {n}, and raining.\tStill." if n % 7 else "A title" for n in range(20)))
    assert sources.read(tmp_path / "prose.txt").names[0] == "text"


def test_an_empty_side_is_counted():
    rows = {"en": ["one", "", "three", "four"], "zh": ["一", "二", " ", None]}
    table = sources.read(rows)
    mask, said = make_task("translate", {"target": ["zh"], "source": "en"}).usable(table)
    assert mask.tolist() == [True, False, False, False] and "1 of 4" in said[0] and "2 of 4" in said[1]
    with pytest.raises(DataError, match="both"):
        make_task("translate", {"target": ["zh"], "source": "en"}).usable(sources.read({"en": ["one"] * 3, "zh": [None, "", " "]}))


def test_what_is_read_is_not_what_is_written():
    task = make_task("translate", {"source": "en", "target": ["en"]})
    with pytest.raises(ConfigError, match="two columns; received 'en' for both"):
        task.usable(sources.read([{"en": "one", "th": "หนึ่ง"}]))


def chosen(rows: list[dict[str, Any]], **said: Any) -> tuple[Table, DataConfig]:
    table = plan.read(rows, DataConfig(), Silent())
    return table, plan.choose(table, DataConfig(**said))[0]


def test_translations_in_a_dictionary_are_known_by_their_languages():
    rows = [{"id": str(row), "translation": {"en": f"number {row} of them", "th": f"ลำดับที่ {row}"}} for row in range(40)]
    table, found = chosen(rows)
    assert (found.task, found.target) == ("translate", ("translation.th",))
    _, found = chosen(rows, target=("en",), task="translate")
    assert found.target == ("translation.en",)
    asked = pairs.Asked("th", found.target, (), EncodeConfig(), ())
    assert pairs.choose_columns(asked, table) == ("translation.th", "translation.en")
    with pytest.raises(DataError, match="no column 'de'"):
        chosen(rows, target=("de",))
    several = sources.read([{"a": {"en": "x"}, "b": {"en": "y"}}])
    with pytest.raises(DataError, match="no column 'en'"):
        several.called("en")


def test_languages_written_beside_the_sides():
    rows = [
        {"source_lang": "en", "target_lang": ("de", "ja")[row % 2], "source": f"number {row}", "target": f"and also {row}"}
        for row in range(40)
    ]
    table, found = chosen(rows)
    assert (found.task, found.target) == ("translate", ("target",))
    (said,) = make_task("translate", {"target": found.target}).usable(table)[1]
    assert "2 languages to write (de, ja)" in said
    assert not make_task("translate", {"target": found.target}).usable(table.take(np.arange(0, 40, 2)))[1]


def test_memory_finds_the_nearest():
    known = ["Click OK to close the dialog.", "Choose a font size.", "Choose a font.", "点击确定关闭对话框。"]
    memory = Memory(known)
    places, scores = memory.nearest(["Choose a font!", "点击确定。", "Click OK to close the window.", "zzz"])
    assert places.tolist() == [2, 3, 0, -1] and (scores[:3] > 0.3).all() and scores[3] == 0
    assert memory.nearest(known)[1] == pytest.approx(1)
    places, _ = memory.nearest(["Choose a font."], [np.array([2])])
    assert places.tolist() == [1]


def test_learns_by_heart_and_answers_alone_as_together(tmp_path):
    words = {"red": "红", "blue": "蓝", "old": "旧", "new": "新"}
    things = {"book": "书", "car": "车", "house": "房子", "pen": "笔", "dog": "狗", "cat": "猫"}
    rows = [(f"a {a} {b} {c}", f"{words[a]}{words[b]}{things[c]}") for a in words for b in words for c in things]
    (tmp_path / "pairs.tsv").write_text("en\tzh\n" + "\n".join(f"{a}\t{b}" for a, b in rows) + "\n", encoding="utf-8")
    settings = {"data": {"task": "translate"}, "task": {"source": "en", "beam": 2}, "encode": {"vocabulary": 300}}
    settings |= {"train": {"steps": 150, "batch_size": 16, "evaluate_steps": 75, "learning_rate": 4e-3, "exact": True}}
    run = duomo.train(tmp_path / "pairs.tsv", settings, target="zh", out=tmp_path / "run")
    chrf = run.scorecard["results"][0]["metrics"]["chrf"]["value"]
    assert chrf > 45 > run.scorecard["results"][1]["metrics"]["chrf"]["value"], chrf
    loaded = duomo.load(tmp_path / "run")
    some = [a for a, _ in rows[:20]]
    together = loaded.predict(some)
    assert [loaded.predict([text])[0] for text in some[:3]] == together[:3]
    assert sum(answer["prediction"] == truth for answer, (_, truth) in zip(together, rows[:20], strict=True)) >= 5
    json.dumps(together)
    assert loaded.predict(["", " "]) == [{"prediction": "", "confidence": 1.0, "memory": None}] * 2
    with pytest.raises(DataError, match="must fit into what the model reads"):
        loaded.predict([" ".join(some)])
    told = loaded.predict(pd.DataFrame({"en": [some[0], " ".join(some)]}))  # of a file the beginning is read
    assert told["prediction"][0] == together[0]["prediction"]
    loaded.task.trust, texts = 0.5, [f"{text}!" for text in some]
    loaded.task.pairs.kept = (loaded.task.pairs.kept[0], ["如是"] * len(loaded.task.pairs.kept[0]))
    for answer in loaded.predict(texts):
        assert answer["prediction"] == "如是" and answer["confidence"] == answer["memory"]["similarity"] < 1


def test_the_memory_is_trusted_from_where_it_is_better() -> None:
    truth = ["点击确定", "打开文件", "保存文档", "关闭窗口"]
    told, kept = ["点击取消", "打开文件", "保存文档", "关门"], ["点击确定", "打开窗口", "", "关闭窗口"]
    similar = np.array([0.9, 0.5, 0.0, 0.8])
    task = make_task("translate", {"target": ["zh"], "source": "en"})
    task.tokenisation = "zh"

    def beside(kept: list[str]) -> dict[str, np.ndarray]:
        return {f"memory.{name}": value for name, value in task._facts(kept, truth).items()}

    evidence = {**task._facts(told, truth), **beside(kept), "similarity": similar}
    task.calibrate(evidence)
    assert task.trust == 0.8
    task.pairs.kept = (["Click OK"], ["点击确定"])
    assert [task._trusted("文", row) for row in ((0, 8100), (0, 7900), (-1, 0))] == ["点击确定", "文", "文"]
    task.calibrate(evidence | beside(["x"] * 4))
    assert task.trust > 1 and task._trusted("文", (0, 10000)) == "文"


def test_a_model_that_only_reads_is_refused():
    table = sources.read({"text": ["one two", "three four"] * 10, "translation": ["eins zwei", "drei vier"] * 10})
    task = make_task("translate", {"target": ["translation"], "source": "text"})
    task.fit(table)
    with pytest.raises(ConfigError):
        make_model(ModelConfig("transformer", "small"), task)
    batch = finish(task.encode(table, target=False).batch(np.arange(2)), task.inputs)
    with pytest.raises(ConfigError, match="seq2seq"):
        task.answer(torch.nn.Linear(2, 2), batch)


def test_a_text_foretold_without_its_end_is_not_whole():
    """Otherwise a model that never stops would look perfect behind every true beginning."""
    cells = {"source": ["one two three"] * 4, "target": ["eins zwei drei"] * 4}
    table = Table(pa.table(cells), dict.fromkeys(cells, "text"))
    task = make_task("translate", {"target": ("target",), "similarity": 2.0})
    task.fit(table)
    batch = task.encode(table, target=True).batch(np.arange(4))
    labels_BT = task.pairs.labels(batch).clamp(min=0)
    whole = functional.one_hot(labels_BT, task.head.size).float()
    endless = whole.masked_fill((labels_BT == task.pairs.end).unsqueeze(-1), 0.0)
    endless[..., labels_BT[0, 0]] += (labels_BT == task.pairs.end).float()
    assert task.measure(task.evidence(whole, batch))["chrf"] == 100 > task.measure(task.evidence(endless, batch))["chrf"]


def test_who_says_how_much_is_read_has_all_read_up_to_that():
    """Without, one in two hundred may be longer than what is read."""
    table = sources.read({"source": [*["one two"] * 399, "long " * 30], "target": [*["eins zwei"] * 399, "lang " * 30]})
    for longest, said in ((0, 2), (500, 0)):
        task = make_task("translate", {"target": ["target"], "encode": {"tokenizer": "characters", "longest_text": longest}})
        task.fit(table)
        assert len(task.half_read(table, task.encode(table, target=True))) == said
