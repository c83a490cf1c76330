"""Cells that list texts: translations of one sentence, sentences of one text."""

import json

import pyarrow as pa

from duomo.core.find import make_task
from duomo.core.table import Table
from duomo.data.several import as_one


def told(table: Table) -> list[str]:
    task = make_task("translate", {"source": "en", "target": ("zh",)})
    return task.usable(table)[1]


def test_of_several_translations_the_first_is_learned_and_that_is_said():
    cells = [json.dumps([f"插入文本表格{n}", f"插入文本表格{n}。"], ensure_ascii=False) for n in range(20)]
    table = Table(pa.table({"en": [f"Insert text table {n}" for n in range(20)], "zh": cells}), {"en": "text", "zh": "text"})
    assert told(table) == ["Each cell of zh lists several answers; the first is learned."]
    task = make_task("translate", {"source": "en", "target": ("zh",)})
    task.fit(table)
    assert task.pairs.texts(table)[1][3] == "插入文本表格3"


def test_sentences_of_one_text_are_joined():
    cells = [["The cat slept all day.", "Nobody came to the door."], ["Rain fell over the hills.", "A dog barked twice."], []]
    assert as_one([json.dumps(one) if one else "" for one in cells]) == ["\n".join(one) for one in cells]
    plain = ["[1] A note.", '["one", "two"]']  # one cell is no list
    assert as_one(plain) == plain
