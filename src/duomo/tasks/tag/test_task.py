"""Spans by seqeval's rules, schemes, texts cut as training texts were, files of every make, answers with places."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

import duomo
from duomo.core import kinds
from duomo.core.errors import ConfigError, DataError
from duomo.core.find import make_model, make_task
from duomo.core.kinds import text as text_kind
from duomo.core.recipe import ModelConfig
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.targets import balance_of
from duomo.tasks.tag import tokens as cells
from duomo.tasks.tag.labels import Scheme, Span, spans_of, transitions, viterbi
from duomo.tasks.tag.measures import counted, figures
from duomo.tasks.tag.task import Main


def some_tags(letters: str, count: int, seed: int = 0) -> list[list[str]]:
    rng = random.Random(seed)
    tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC"))]
    return [[rng.choice(tags) for _ in range(rng.randint(1, 12))] for _ in range(count)]


def test_spans_are_those_of_seqeval():
    for row in some_tags("BIES", 2000):
        assert [(span.type, span.start, span.stop - 1) for span in spans_of(row)] == get_entities(row), row


def test_figures_are_those_of_seqeval():
    truth, told = some_tags("BI", 300), some_tags("BI", 300)
    rng = random.Random(1)
    told = [[tag if rng.random() < 0.7 else rng.choice(["O", "B-PER", "I-LOC"]) for tag in row] for row in told]
    scheme = Scheme.find(truth)
    found = figures(counted(scheme, [scheme.encode(row) for row in truth], [scheme.encode(row) for row in told]), True)
    assert found["f1"] == pytest.approx(f1_score(truth, told))
    assert found["precision"] == pytest.approx(precision_score(truth, told)) and found["recall"] == pytest.approx(recall_score(truth, told))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, told, average="macro"))


@pytest.mark.parametrize("tags", [
    ["B-PER", "I-PER", "B-PER", "O", "B-LOC"], ["I-PER", "I-PER", "B-PER", "O", "I-LOC"], ["B-PER", "E-PER", "S-PER", "O", "S-LOC"],
    ["B-PER", "L-PER", "U-PER", "O", "U-LOC"], ["B", "M", "E", "S", "B", "E"], ["NN", "VB", "O", "NN"],
])  # fmt: skip
def test_answers_are_written_as_training_was(tags):
    scheme = Scheme.find([tags])
    assert scheme.tags(scheme.encode(tags)) == tags


def test_unseen_types_count_against_the_model():
    scheme = Scheme.find([["B-PER", "I-PER", "O"]])
    truth = scheme.encode(["B-ORG", "I-ORG", "O", "B-PER"])
    found = figures(counted(scheme, [truth], [scheme.encode(["O", "O", "O", "B-PER"])]), True)
    assert found["recall"] == 0.5 and found["precision"] == 1.0


def test_decoding_makes_sense_and_is_the_best():
    rows = [["B-PER", "I-PER", "O", "O"], ["B-LOC", "O", "B-PER", "I-PER"]]
    scheme = Scheme.find(rows)
    moves = transitions([scheme.encode(row) for row in rows], scheme)
    scores = np.random.default_rng(0).normal(size=(5, 4, len(scheme.classes)))
    length = np.array([4, 3, 2, 1, 4])
    found = viterbi(scores, length, moves, {"starts": np.where(scheme.starts, 0, -1e4), "stops": np.where(scheme.stops, 0, -1e4)})
    for row, size in enumerate(length):
        places = np.indices([len(scheme.classes)] * int(size)).reshape(size, -1).T
        fits = scheme.starts[places[:, 0]] & scheme.stops[places[:, -1]]
        total = scores[row, np.arange(size), places].sum(1) + moves[places[:, :-1], places[:, 1:]].sum(1)
        assert (found[row, :size] == places[np.argmax(np.where(fits, total, -np.inf))]).all()


def test_texts_are_cut_as_the_training_texts():
    assert cells.how_cut([list("我在北京工作。"), list("他很好！")], []) == {"how": "characters"}
    assert cells.how_cut([["我", "用", "GPT", "写", "100", "行"]] * 3, []) == {"how": "signs"}
    assert cells.how_cut([["He", "lives", "in", "U.S.", "cities", "."]] * 3, []) == {"how": "words"}
    assert cells.how_cut([["Ankara'da", "güneş", "var", "."]] * 3, []) == {"how": "apostrophes"}
    assert cells.how_cut([["L'", "homme", "parle", "."]] * 3, []) == {"how": "elisions"}
    assert cells.how_cut([["@ann", "does", "n't", "read", "http://a.b/c?d", "#now"]] * 3, []) == {"how": "posts"}
    cut = cells.cut_text("我们在北京工作", {"how": "dictionary"}, {"我们": 2, "北京": 3})
    assert cut.tokens == ["我们", "在", "北京", "工", "作"]
    row = cells.cut_text("Dr. O'Neil doesn't live at 3.14, U.S.", {"how": "words"}, {})
    assert row.tokens == ["Dr", ".", "O", "'", "Neil", "does", "n't", "live", "at", "3.14", ",", "U.S."]
    assert row.text[row.starts[-1] : row.stops[-1]] == "U.S."


@pytest.mark.parametrize("sentence", [
    "राहुल शर्मा नई दिल्ली में रहते हैं ।", "சென்னை நகரம் அழகு .", "مُحَمَّد عَلِي يَعِيش ، و می\u200cخواهم", "Zoe\u0301 a\u0300-demi lit", "ক্ষ\u200cণিক ।",
])  # fmt: skip
def test_combining_marks_belong_to_their_word(sentence):
    words = sentence.split()
    cut = cells.how_cut([words] * 3, [])
    assert cut == {"how": "words"} and cells.cut_text(sentence, cut, {}).tokens == words
    assert cells.cut_text(f"({sentence.replace(' ।', '।')}", cut, {}).tokens == ["(", *words]
    post = cells.how_cut([["@राहुल_शर्मा", *words]] * 3, [])
    assert post == {"how": "posts"} and cells.cut_text("@राहुल_शर्मा दिल्ली", post, {}).tokens == ["@राहुल_शर्मा", "दिल्ली"]
    assert cells.cut_text("l'e\u0301te\u0301 ❤\ufe0f", {"how": "elisions"}, {}).tokens == ["l'", "e\u0301te\u0301", "❤\ufe0f"]


def test_words_of_a_script_without_spaces_are_learned_as_spans_of_characters():
    words, tags = ["我们", "用", "GPT", "在", "北京", "工作"], ["r", "p", "nx", "p", "ns", "v"]
    cut = cells.how_cut([words] * 3, [tags] * 3)
    assert cut == {"how": "signs", "spelled": "tags"}
    row, found = cells.lesson(json.dumps(words), json.dumps(tags), cut, {})
    assert row.tokens == ["我", "们", "用", "GPT", "在", "北", "京", "工", "作"]
    assert found == ["B-r", "I-r", "B-p", "B-nx", "B-p", "B-ns", "I-ns", "B-v", "I-v"]
    spans = ["O", "O", "O", "O", "B-LOC", "I-LOC"]  # one entity of two words
    cut = cells.how_cut([words] * 3, [spans] * 3)
    assert cells.lesson(words, spans, cut, {})[1] == ["O"] * 5 + ["B-LOC"] + ["I-LOC"] * 3
    assert cells.lesson(words, spans[1:], cut, {})[1] is None  # not one tag for each word
    assert cells.row_of("我们在北京", cut, {}).tokens == list("我们在北京")
    assert cells.how_cut([["ฉัน", "กิน", "ข้าว"]] * 3, [["PRON", "VERB", "NOUN"]] * 3) == {"how": "signs", "spelled": "tags"}


def test_spans_of_characters_become_tags():
    task = make_task("tag", {"target": ["spans"]})
    rows = {"text": ["Ann Lee lives in Oslo", "Nobody here", "x"],
            "spans": [[[0, 7, "PER"], [17, 21, "LOC"]], [], [[0, 90, "PER"]]]}  # fmt: skip
    table = sources.read([dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)])
    mask, said = task.usable(table)
    assert mask.tolist() == [True, True, False] and "1 of 3" in said[0]
    assert task.read(table).tags[:2] == [["B-PER", "I-PER", "O", "O", "B-LOC"], ["O", "O"]]


CONLL = (
    "-DOCSTART- -X- O\n\nAnn NNP B-PER\nsings VBZ O\n\nOslo NNP B-LOC\n. . O\n\n-DOCSTART- -X- O\n\nBo NNP B-PER\nsits VBZ O\n\nbad line\n"
)


def test_files(tmp_path):
    (tmp_path / "news.conll").write_text(CONLL)
    table = sources.read(tmp_path / "news.conll")
    assert table.names == ["tokens", "column 2", "tags", "document"] and table.column("document").to_pylist() == ["0", "0", "1"]
    assert json.loads(table.column("tags")[1].as_py()) == ["B-LOC", "O"] and "1 sentence has" in table.problems[0]
    line = "{0}\t{1}\t_\t{2}\tX\t_\t0\troot\t_\t_\n"
    (tmp_path / "tree.conllu").write_text("# text = Ann sings\n" + line.format(1, "Ann", "PROPN") + line.format(2, "sings", "VERB") + "\n")
    table = sources.read(tmp_path / "tree.conllu")
    assert json.loads(table.column("tokens")[0].as_py()) == ["Ann", "sings"]
    assert json.loads(table.column("tags")[0].as_py()) == ["PROPN", "VERB"]
    (tmp_path / "plain.bio").write_text("this is no such file\nbut two lines\n")
    with pytest.raises(DataError):
        sources.read(tmp_path / "plain.bio")


def test_what_stands_beside_tags_and_tokens(tmp_path):
    """Who annotated behind the tags (UNER), tokens as objects and what was rejected (Prodigy), spaCy's documents and its JSON of old."""
    lines = "1\tAnn\tB-PER\t-\tkim\n2\tsings\tO\t-\tkim\n"
    (tmp_path / "a.iob2").write_text("\n".join(f"# sent_id = {n}\n{lines}" for n in range(30)))
    table = sources.read(tmp_path / "a.iob2")
    assert json.loads(table.column("tags")[0].as_py()) == ["B-PER", "O"] and json.loads(table.column("tokens")[0].as_py()) == [
        "Ann",
        "sings",
    ]
    places = [{"text": "Ann", "start": 0, "end": 3, "id": 0}, {"text": "sings", "start": 4, "end": 9, "id": 1}]
    for name in ("spans", "ents"):
        rows = [
            {"text": f"Ann sings {n}", "tokens": places, name: [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"}
            for n in range(40)
        ]
        (tmp_path / "b.jsonl").write_text(
            "".join(json.dumps(row | {"answer": "reject" if n < 9 else "accept"}) + "\n" for n, row in enumerate(rows))
        )
        table = kinds.infer(sources.read(tmp_path / "b.jsonl"), {})
        task = make_task("tag", {"target": Main.find_target(table)})
        kept, said = task.usable(table)
        task.fit(table)
        assert Main.suits(table) and task.column == "text" and task.read(table).tags[0] == ["B-PER", "O", "O"]
        assert kept.sum() == 31 and "9 of 40 rows were rejected" in said[0]
    tokens = [{"id": 0, "orth": "Ann", "tag": "NNP", "ner": "U-PER"}, {"id": 1, "orth": "sings", "tag": "VBZ", "ner": "O"}]
    old = [{"id": n, "paragraphs": [{"raw": "Ann sings", "sentences": [{"tokens": tokens, "brackets": []}] * 2}]} for n in range(20)]
    (tmp_path / "c.json").write_text(json.dumps(old))
    table = sources.read(tmp_path / "c.json")
    assert (
        json.loads(table.column("tags")[1].as_py()) == ["U-PER", "O"] and len(table) == 40 and table.column("document")[39].as_py() == "19"
    )
    lines = "".join(f"#Text=Ann sings\n{n}-1\t0-3\tAnn\tPER\t\n{n}-2\t4-9\tsings\t_\t\n\n" for n in range(30))
    (tmp_path / "webanno.tsv").write_text(f"#FORMAT=WebAnno TSV 3.3\n#T_SP=NamedEntity|value\n\n{lines}")
    with pytest.raises(DataError, match="Export it as CoNLL"):
        sources.read(tmp_path / "webanno.tsv")
    (tmp_path / "d.json").write_text(json.dumps([{"id": n, "paragraphs": [{"x": 1}]} for n in range(20)]))
    assert sources.read(tmp_path / "d.json").names == ["id", "paragraphs"]


def test_long_texts_are_answered_in_windows():
    rows = [{"tokens": list("我在北京工作"), "tags": ["O", "O", "B-LOC", "I-LOC", "O", "O"]}] * 6
    table = sources.read(rows)
    task = make_task("tag", {"target": ["tags"]})
    task.fit(table)
    torch.manual_seed(0)
    model = make_model(ModelConfig("tagger", "small"), task).eval()
    examples = task.encode(Table(table.data.slice(0, 1).set_column(0, "tokens", [["在北京" * 500]])), target=False)
    batch = {name: value.long() for name, value in examples.batch(np.arange(1)).items()}
    with torch.inference_mode():
        whole, windows = model(batch), task._logits(model, batch)
        assert whole.shape == windows.shape and torch.allclose(whole, windows, atol=0.02)
        (answer,) = task.answer(model, batch)["tags"]
    assert len(answer) == 1500


def test_train_and_ask(tmp_path):
    rng = random.Random(0)
    names, places = ["王小明", "李红", "赵大伟"], ["北京", "上海", "南京市"]
    lines = []
    for _ in range(240):
        who, where = rng.choice(names), rng.choice(places)
        tags = [*"BI"[: len(who)], *"I" * (len(who) - 2)], [*"BI"[: len(where)], *"I" * (len(where) - 2)]
        marked = [
            *zip(who, (f"{t}-PER" for t in tags[0]), strict=True),
            ("住", "O"),
            ("在", "O"),
            *zip(where, (f"{t}-LOC" for t in tags[1]), strict=True),
        ]
        lines.append("\n".join(f"{sign}\t{tag}" for sign, tag in [*marked, (rng.choice("。！"), "O")]))
    (tmp_path / "people.conll").write_text("\n\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
    run = duomo.train(tmp_path / "people.conll", {"train": {"steps": 60, "exact": True}}, out=tmp_path / "run")
    assert run.scorecard["task"] == "tag"
    (answer,) = duomo.load(tmp_path / "run").predict(["李红住在南京市！"])
    assert answer["prediction"] == [
        {"text": "李红", "label": "PER", "start": 0, "end": 2},
        {"text": "南京市", "label": "LOC", "start": 4, "end": 7},
    ]
    assert answer["tags"][:3] == ["B-PER", "I-PER", "O"] and answer["tokens"] == list("李红住在南京市！")
    assert Span(0, 2, "PER") in run.task.scheme.spans(run.task.scheme.encode(answer["tags"]))


def test_lists_of_tags_are_known_though_all_are_alike():
    rows = [{"tokens": ["Mr", f"Smith {number}"], "tags": ["O", "B-PER"]} for number in range(40)]
    table = kinds.infer(sources.read(rows), {})
    assert table.kinds["tags"] == "category" and Main.suits(table)
    plain = kinds.infer(sources.read([{"tokens": f"Mr Smith {number}", "tags": "red"} for number in range(40)]), {})
    assert not Main.suits(plain)


def test_tags_that_are_numbers_stay_whole(tmp_path):
    rows = [
        {"tokens": ["Ann", "Lee", "sings"], "ner_tags": [1, 2, 0]},
        {"tokens": ["Rain"], "ner_tags": [0]},
        {"tokens": [], "ner_tags": []},
    ]
    (tmp_path / "ids.json").write_text(json.dumps(rows))
    for table in (
        sources.read(rows),
        sources.read(tmp_path / "ids.json"),
        sources.read([row | {"ner_tags": np.array(row["ner_tags"], int)} for row in rows]),
    ):
        assert table.column("ner_tags").to_pylist() == [[1, 2, 0], [0], []] and pa.types.is_integer(
            table.column("ner_tags").type.value_type
        )
        task = make_task("tag", {"target": ["ner_tags"]})
        task.fit(table)
        assert task.scheme.types == ["0", "1", "2"]
    assert sources.read([{"x": [1, 2]}, {"x": [0.5]}]).column("x").to_pylist() == [[1, 2], [0.5]]
    assert Scheme(["0.0", "1.0"], "").encode(["1", "0.0", "2"]).tolist() == [1, 0, 2]  # a run of before


def test_a_target_needs_two_tags():
    task = make_task("tag", {"target": ["tags"]})
    with pytest.raises(DataError, match="every token of 'tags' has 'O'"):
        task.fit(sources.read([{"tokens": ["Ann", "sings"], "tags": ["O", "O"]}] * 20))


def test_weights_that_read_pieces_answer_for_words(tmp_path):
    words = ["Rotterdam", "unbelievably", "of", "Smith's", "🙂", "x"]
    rows = [[words[(place + row) % 6] for place in range(1 + row % 7)] for row in range(40)]
    (tmp_path / "texts.txt").write_text("\n\n".join(" ".join(row) * 3 for row in rows), "utf-8")
    encoder = duomo.train(tmp_path / "texts.txt", {"data": {"task": "fill"}, "encode": {"tokenizer": "bpe", "longest_text": 32},
                          "model": {"size": "small"}, "train": {"steps": 2, "exact": True}}, out=tmp_path / "encoder")  # fmt: skip
    data = [{"tokens": row, "tags": ["LONG" if len(word) > 5 else "O" for word in row]} for row in rows]
    settings = {"adapt": {"start": str(encoder.path)}, "train": {"steps": 60, "learning_rate": 3e-3, "exact": True}}
    run = duomo.train(data, settings, target="tags", out=tmp_path / "tags")
    columns = run.task.encode(kinds.infer(sources.read(data), {}), target=True).batch(torch.arange(len(rows)))
    for row, whole in enumerate(rows):
        at = columns["text.places"][row, : len(whole)].tolist()
        shown = [text_kind.decode_text(run.task.tokenizer, columns["pieces"][row, place : place + 1].tolist()) for place in at]
        assert at == sorted(set(at)) and all(word.startswith(part.strip()) for word, part in zip(whole, shown, strict=True))
    assert run.predict([{"tokens": ["of", "Rotterdam"]}])[0]["tags"] == ["O", "LONG"]
    long = duomo.load(run.path).predict([{"tokens": ["x", "Rotterdam"] * 60}, {"tokens": ["x"]}])  # more than the weights have places for
    assert long[0]["tags"] == ["O", "LONG"] * 60 and long[1]["tags"] == ["O"]


def test_what_has_no_use_is_refused() -> None:
    """A tokenizer without weights that read with it, and a column of tokens named as the tags."""
    rows = [{"tokens": [f"w{row}{place}" for place in range(6)], "tags": ["O", "B-X", "I-X", "O", "O", "O"]} for row in range(20)]
    table = Table(pa.table({name: [json.dumps(row[name]) for row in rows] for name in rows[0]}), {"tokens": "text", "tags": "text"})
    for options, said in [({"target": ("tags",), "encode": {"tokenizer": "bpe"}}, "received 'bpe'"),
                          ({"target": ("tokens",)}, "'tokens' has 120 different ones for 3")]:  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            make_task("tag", options).fit(table)


def test_texts_that_are_cut_at_spaces_and_tags_with_commas() -> None:
    cell = {"sentence": "我 在 U.S. 北京(BJ) 等", "labels": "O,O,B-LOC,I-LOC,O"}
    table = Table(pa.table({name: [text] * 5 for name, text in cell.items()}), dict.fromkeys(cell, "text"))
    task = make_task("tag", {"target": ("labels",)})
    assert task.usable(table)[0].all()
    task.fit(table)
    assert task.cut == {"how": "spaces"} and task.read(table).rows[0].tokens[3] == "北京(BJ)"
    assert task.read(table).tags[0] == ["O", "O", "B-LOC", "I-LOC", "O"]


@pytest.mark.parametrize(
    "cell",
    [
        {"entities": [{"id": 1, "label": "PER", "start_offset": 0, "end_offset": 2}, {"label": "LOC", "start_offset": 3, "end_offset": 5}]},
        {"entities": [{"start_idx": 0, "end_idx": 1, "type": "PER", "entity": "李红"},
                      {"start_idx": 3, "end_idx": 4, "type": "LOC", "entity": "北京"}]},
        {"entity_list": [{"entity_index": {"begin": 0, "end": 2}, "entity_type": "PER", "entity": "李红"},
                         {"entity_index": {"begin": 3, "end": 5}, "entity_type": "LOC", "entity": "北京"}]},
        {"label": [{"start": 0, "end": 2, "text": "李红", "labels": ["PER"]}, {"start": 3, "end": 5, "text": "北京", "labels": ["LOC"]}]},
        {"annotations": [{"id": 7, "result": [{"type": "labels", "value": {"start": 0, "end": 2, "text": "李红", "labels": ["PER"]}},
                                              {"type": "labels", "value": {"start": 3, "end": 5, "text": "北京", "labels": ["LOC"]}},
                                              {"type": "relation", "from_id": "a", "to_id": "b"}]}]},
        {"label": json.dumps({"PER": {"李红": [[0, 1]]}, "LOC": {"北京": [[3, 4]]}})},
        {"label": {"PER": {"李红": [[0, 1]]}, "LOC": {"北京": [[3, 4]]}}},
        {"spans": [{"start": 0, "end": 2, "label": "PER", "text": "李红 ", "meta": {"label": "by hand", "start": 1}},
                   {"start": 3, "end": 5, "label": "LOC", "text": "北京"}]},
        {"entities": [{"label_type": "PER", "overlap": 0, "start_pos": 0, "end_pos": 2},
                      {"label_type": "LOC", "start_pos": 3, "end_pos": 5}]},
        {"spans": [{"entityType": "PER", "entity_value": "李红", "startPosition": 0, "endPosition": 2},
                   {"entityType": "LOC", "entity_value": "北京", "startPosition": 3, "endPosition": 5}]},
    ],
    ids=["doccano", "inclusive", "nested", "label studio, short", "label studio", "by label", "cluener", "with notes", "ccks", "presidio"],
)  # fmt: skip
def test_spans_in_the_forms_of_tools(tmp_path, cell):
    rows = [{"text": "李红在北京" + "住了很久" * number, **cell} for number in range(1, 40)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    table = kinds.infer(sources.read(tmp_path / "a.json"), {})
    (name,) = Main.find_target(table)
    assert Main.suits(table) and name in cell and not balance_of(table, name)[0]
    task = make_task("tag", {"target": [name]})
    task.fit(table)
    assert task.read(table).tags[0][:6] == ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"]


def test_of_spans_that_share_tokens_the_longest_is_learned_and_the_others_are_counted():
    text = "新华社北京分社记者"
    nested = json.dumps([[0, 3, "ORG"], [3, 5, "LOC"], [0, 7, "ORG"], [0, 7, "ORG"], [7, 9, "JOB"]])
    table = Table(pa.table({"text": [text] * 3, "label": [nested] * 3}), {"text": "text", "label": "text"})
    task = make_task("tag", {"target": ("label",)})
    kept, told = task.usable(table)
    assert kept.all() and "6 spans share tokens with a longer one" in told[0]
    assert cells.lesson(text, nested, {"how": "characters"}, {})[1] == ["B-ORG", *["I-ORG"] * 6, "B-JOB", "I-JOB"]


PLACE = (["Ann", "lives", "in", "New", "York", "."], ["O", "O", "O", "B-LOC", "I-LOC", "O"], [[12, 20, "LOC"]])


@pytest.mark.parametrize("how", ["lists", "spans", "words", "last", "behind"])
def test_long_rows_are_learned_and_judged_in_pieces(how):
    """Of tokens and tags, of a text and spans of its characters, tags between spaces, spans that count tokens of a list."""
    words, tags, spans = PLACE
    size = len(" ".join(words)) + 1
    text, places = " ".join(words * 200), [[a + n * size, b + n * size, kind] for n in range(200) for a, b, kind in spans]
    counted = [[6 * n + 3, 6 * n + (4 if how == "last" else 5), "LOC"] for n in range(200)]
    cells_of = {"lists": (words * 200, tags * 200), "spans": (text, places), "words": (text, " ".join(tags * 200))}
    source, target = cells_of.get(how, (words * 200, counted))
    short = {"lists": (words, tags), "spans": (" ".join(words), spans), "words": (" ".join(words), " ".join(tags))}
    few = short.get(how, (words, [[0, 0, "PER"], *counted[:1]]) if how == "last" else ([*words, "!"], counted[:1]))
    table = kinds.infer(sources.read([{"tokens": a, "tags": b} for a, b in [(source, target), few] * 3]), {})
    task = make_task("tag", {"target": ("tags",), "source": "tokens"})
    kept, told = task.usable(table)
    assert kept.all() and "3 of 6 rows have more than 256 tokens" in told[-1]
    parts = task.divided(table)
    task.fit(parts)
    read = task.read(parts)
    assert len(parts) == 3 * (-(-1200 // 252) + 1) and max(read.lengths) == 252 and all(row.tokens[-1] in ".!" for row in read.rows)
    assert sum(read.lengths) == 3 * (1200 + len(few[0].split() if isinstance(few[0], str) else few[0]))
    assert [tag for one in read.tags[:5] for tag in one] == tags * 200
    assert len(task.divided(parts)) == len(parts) and task.encode(parts, target=True).batch([0])["target.class"].shape == (1, 252)


def test_long_rows_of_words_that_are_spelled_and_numbers_as_tags():
    words, tags = ["我们", "在", "北京", "工作", "。"], ["r", "p", "ns", "v", "w"]
    for told in (tags, [1, 2, 3, 4, 5]):
        rows = [{"tokens": words * 100, "ner_tags": told * 100}] * 2
        task, table = make_task("tag", {"target": ("ner_tags",)}), kinds.infer(sources.read(rows), {})
        parts = task.divided(table)
        task.fit(parts)
        assert len(parts) == 2 * 4 and task.cut["spelled"] == "tags" and task.read(parts).lengths[0] == 25 * 8
        assert all(task.read(parts).tags) and parts.data.schema.equals(table.data.schema)


def test_no_span_is_cut_and_one_that_is_too_long_is_read_to_its_middle():
    tags = ["B-X", *["I-X"] * 899]
    table = sources.read([{"tokens": ["x"] * 900, "tags": tags}, {"tokens": ["a"] * 3, "tags": ["O", "B-Y", "O"]}])
    task = make_task("tag", {"target": ("tags",)})
    parts = task.divided(table)
    task.fit(parts)
    assert task.read(parts).lengths == [256, 256, 256, 132, 3]


def test_the_last_column_holds_the_tags_though_another_holds_spans(tmp_path):
    """Of a chunk before a part of speech, or a name without B- and I-; only what is the same through each sentence stands aside."""
    for tags in (["PRP", "VBZ", "NNP"], ["O", "O", "LOC"]):
        lines = [
            f"{word}\t{chunk}\t{tag}\n" for word, chunk, tag in zip(["He", "sees", "Rome"], ["B-NP", "B-VP", "B-NP"], tags, strict=True)
        ]
        (tmp_path / "a.conll").write_text("\n".join(["".join(lines)] * 30))
        assert json.loads(sources.read(tmp_path / "a.conll").column("tags")[0].as_py()) == tags
