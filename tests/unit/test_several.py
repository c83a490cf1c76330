"""Cells that list texts: translations of one sentence, sentences of one text."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import sacrebleu
from rouge_score import rouge_scorer

from duomo.core.find import make_task
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.data import text_metrics
from duomo.data.several import OR, any_of, as_one
from duomo.plan import make

TOLD = ["the cat sat on the mat", "he has gone", "a b c d e", "nothing alike"]
WANTED = [
    ["a cat sat on a mat", "the cat was on the mat"],
    ["he left", "he is gone"],
    ["a b c d e"],
    ["other words here", "and more of them"],
]


def told(table: Table) -> list[str]:
    task = make_task("translate", {"source": "en", "target": ("zh",)})
    return task.usable(table)[1]


def test_each_of_several_translations_is_learned_and_all_judge(tmp_path: Path):
    """A sentence lies on one side of the split with all of its translations, and the memory shows it none of them."""
    rows = [{"en": f"Insert text table {n}", "zh": [f"插入文本表格{n}", f"插入文本表格{n}。", f"插入文本表格{n}"]} for n in range(60)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    plan = make(tmp_path / "pairs.jsonl", {"data": {"task": "translate"}}, Silent())
    assert "Each cell of zh lists several answers; each of them is learned." in plan.notes
    learned = plan.train.column("en").to_pylist()
    assert len(learned) == 2 * len({*learned})
    held = {*plan.valid.column("en").to_pylist(), *plan.test.column("en").to_pylist()}
    assert not held & {*learned} and len(held) + len({*learned}) == 60
    plan.task.fit(plan.train)
    _, truths = plan.task.pairs.texts(plan.test)
    assert any_of(truths[0])[1] == any_of(truths[0])[0] + "。"
    places, _ = plan.task.pairs.retrieved(*plan.task.pairs.texts(plan.train))
    kept = plan.task.pairs.kept[0]
    assert all(kept[place] != source for place, source in zip(places.tolist(), learned, strict=True) if place >= 0)
    examples = plan.task.encode(plan.test, target=True).batch([0])
    assert plan.task.pairs.truths(examples)[0] == truths[0]


def test_figures_of_several_references_are_those_of_sacrebleu_and_rouge_score():
    truth = [OR.join(texts) for texts in WANTED]
    columns = [[texts[min(place, len(texts) - 1)] for texts in WANTED] for place in range(2)]
    bleu = sacrebleu.corpus_bleu(TOLD, columns, tokenize="13a").score
    assert text_metrics.bleu(text_metrics.bleu_counts(TOLD, truth, "13a")) == pytest.approx(bleu)
    assert text_metrics.chrf(text_metrics.chrf_counts(TOLD, truth)) == pytest.approx(sacrebleu.corpus_chrf(TOLD, columns).score)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for row, one, texts in zip(text_metrics.rouge_rows(TOLD, truth, False), TOLD, WANTED, strict=True):
        assert row.tolist() == pytest.approx([score.fmeasure for score in scorer.score_multi(texts, one).values()])


def test_several_sources_are_one():
    cells = [json.dumps([f"Insert text table {n}", f"Insert a text table {n}"]) for n in range(20)]
    table = Table(pa.table({"en": cells, "zh": [f"插入文本表格{n}" for n in range(20)]}), {"en": "text", "zh": "text"})
    assert told(table) == ["Each cell of en lists several texts that say the same; the first is read."]
    task = make_task("translate", {"source": "en", "target": ("zh",)})
    task.fit(table)
    assert task.pairs.texts(table)[0][3] == "Insert text table 3"


def test_sentences_of_one_text_are_joined():
    cells = [["The cat slept all day.", "Nobody came to the door."], ["Rain fell over the hills.", "A dog barked twice."], []]
    assert as_one([json.dumps(one) if one else "" for one in cells]) == ["\n".join(one) for one in cells]
    plain = ["[1] A note.", '["one", "two"]']  # one cell is no list
    assert as_one(plain) == plain
