"""Conversations as people hand them to a run of chat: from Python, as a row, as a file with other columns than those learned from."""

import json
import math
import shutil
from types import SimpleNamespace

import pytest

import duomo
from duomo.core.contract import Head
from duomo.core.errors import DataError
from duomo.core.reporter import Silent
from duomo.core.run import RunFolder
from duomo.work import Work

TALK = [{"role": "user", "content": "Where is the mill?"}, {"role": "assistant", "content": "By the river."}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    rows = [json.dumps({"messages": [{"role": "user", "content": f"Where is {n}?"}, TALK[1]]}) for n in range(40)]
    (folder / "talk.jsonl").write_text("\n".join(rows))
    tiny = {"name": "gpt", "options": {"depth": 1, "width": 32, "heads": 2, "key_heads": 2}}
    settings = {"model": tiny, "train": {"steps": 60, "batch_size": 8, "learning_rate": 0.01}} | {
        "data": {"task": "chat"},
        "encode": {"vocabulary": 300, "longest_text": 600},
        "task": {"sampling": {"new_tokens": 8}},
    }
    return duomo.train(str(folder / "talk.jsonl"), settings, out=str(folder / "run"), reporter=Silent())


def test_a_conversation_may_be_handed_over_as_it_is(run, tmp_path) -> None:
    whole = run.predict([{"messages": TALK[:1]}])
    assert whole == [{"prediction": "By the river."}]
    assert run.predict([TALK[:1]]) == run.predict([{"prompt": TALK[0]["content"]}]) == run.predict([TALK[0]["content"]]) == whole
    assert [
        run.predict_one(row=json.dumps(row)) for row in (TALK[:1], {"messages": TALK[:1]}, {"question": TALK[0]["content"]})
    ] == 3 * whole
    (tmp_path / "ask.csv").write_text("id,instruction\n7,Where is the mill?\n")
    (tmp_path / "pairs.csv").write_text("question,answer\n" + "Where is 3?,By the river.\n" * 30)
    run.predict_file(tmp_path / "ask.csv", str(tmp_path / "out.jsonl"), reporter=Silent())
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"id": "7", "instruction": TALK[0]["content"], **whole[0]}
    assert run.evaluate(tmp_path / "pairs.csv")["metrics"]["perplexity"]["value"] > 1
    longer = [
        *TALK,
        {"role": "user", "content": "And the river? " * 300},
        TALK[1],
    ]  # than the context, whose 600 tokens no block is as wide as
    assert run.evaluate([{"messages": longer}])["rows"] == 1
    with pytest.raises(DataError, match="or messages as this run learned from; the columns are a, b"):
        run.predict([{"a": "x", "b": "y"}])


def test_a_model_that_only_writes_on_learns_to_summarize(run, tmp_path) -> None:
    """Asked by its chat template, judged by ROUGE beside the first sentences, as any summary is."""
    about = [
        {"long": f"Of mill number {n} much is told. " + "It turns all day. " * (n % 5 + 1), "short": "A mill turns."} for n in range(40)
    ]
    given = {"start": str(run.path)}
    settings = {"data": {"task": "summarize"}, "adapt": given, "train": {"steps": 120, "batch_size": 8, "learning_rate": 0.01}}
    made = duomo.train(about, settings, out=str(tmp_path / "run"), reporter=Silent())
    card = made.scorecard
    assert card["results"][0]["metrics"]["rouge_l"]["value"] == 1.0
    assert [one["name"] for one in card["results"][1:]] == ["first sentence", "lead-3 (first three sentences)"]
    again = duomo.load(tmp_path / "run")
    answers = again.predict(
        [{"long": "Of mill number 7 much is told. It turns all day. "}, {"long": "Of mill number 99 all is told. " * 40}]
    )
    assert answers[0]["prediction"] == "A mill turns." and 0.5 < answers[0]["confidence"] <= 1 and answers[1]["prediction"]
    assert (again.path / "recipe.toml").read_text().count('name = "gpt"') == 1


def test_a_model_that_only_writes_on_learns_to_translate(run, tmp_path) -> None:
    pairs = [{"en": f"Mill {n}", "de": "Die Mühle"} for n in range(40)]
    settings = {
        "data": {"task": "translate"},
        "adapt": {"start": str(run.path)},
        "train": {"steps": 120, "batch_size": 8, "learning_rate": 0.01},
    }
    made = duomo.train(pairs, settings, out=str(tmp_path / "run"), reporter=Silent())
    assert made.scorecard["results"][0]["metrics"]["chrf"]["value"] > 90
    (answer,) = duomo.load(tmp_path / "run").predict([{"en": "Mill 7"}])
    assert answer["prediction"].startswith("Die M") and answer["memory"] is None
    assert "from en to de" in json.loads((tmp_path / "run" / "task.json").read_text())["request"]


def test_general_answers_that_changed_are_told(run, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of limited time a share goes to the questions: at least the first ones are asked."""
    told: list[str] = []
    monkeypatch.setattr("duomo.aloud.SHARE", 9.0)  # however busy the machine is
    monkeypatch.setattr(Silent, "say", lambda self, sentence: told.append(sentence))
    rows = [
        {"messages": json.dumps([{"role": "user", "content": f"Where is {n}?"}, {**TALK[1], "content": "Up hill."}])} for n in range(40)
    ]
    settings = {"data": {"task": "chat"}, "adapt": {"start": str(run.folder.path)}, "task": {"sampling": {"new_tokens": 8}},
                "train": {"minutes": 0.02, "learning_rate": 0.01}}  # fmt: skip
    taught = duomo.train(rows, settings, out=str(tmp_path / "run"), reporter=Silent())
    card = json.loads((taught.folder.path / "scorecard.json").read_text())
    asked = next(len(view["data"]["items"]) for view in card["views"] if view["kind"] == "texts" and "General" in view["title"])
    said = " ".join(told)
    assert 4 <= asked <= 20 and f"{asked} general questions were answered in" in said and f"of {asked} general questions are now" in said


def test_a_run_whose_answers_took_too_long_to_keep_any_opens_and_answers(run, tmp_path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    told = json.loads((run.path / "golden.json").read_text())
    golden = told | {"inputs": {name: [] for name in told["inputs"]}, "answers": {}}
    RunFolder(tmp_path / "run").write_json("golden.json", golden)
    RunFolder(tmp_path / "run").seal()
    again = duomo.load(tmp_path / "run")
    assert len(again.golden()[0]) == 0 and again.predict([{"messages": TALK[:1]}]) == [{"prediction": "By the river."}]


def test_weights_that_foretell_worse_than_chance_are_told() -> None:
    """As with a tokenizer that is not theirs, though of the same size."""
    heard = Silent()
    for loss, told in ((math.log(100), 0), (6.0, 1)):
        Work._judged_first(SimpleNamespace(task=SimpleNamespace(head=Head(100, "step")), reporter=heard), {"loss": loss})  # type: ignore[arg-type]
        assert len(heard.said) == told
    assert "perplexity 403 with 100 tokens" in heard.said[0]
