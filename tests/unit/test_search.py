"""Pairs that learn to meet, and search over a folder."""

import json

import numpy as np
import pytest

import duomo
from duomo import passages
from duomo.cli import main
from duomo.core.errors import ConfigError, DataError, Interrupted
from duomo.core.reporter import Silent
from duomo.train import loop
from duomo.train.guard import Stop


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed")
    capitals = {"France": "Paris", "Norway": "Oslo", "Italy": "Rome", "Japan": "Tokyo", "Egypt": "Cairo", "Peru": "Lima"}
    asked = ("What is the capital of {}?", "Which town governs {}?", "Where does the state of {} have its seat?", "{}: its capital?")
    told = ("{} is the seat of government.", "They rule from {}.", "The capital is {}.")
    lines = [f"{a.format(land)}\t{b.format(town)}" for land, town in capitals.items() for a in asked for b in told]
    (folder / "pairs.tsv").write_text("question\tanswer\n" + "\n".join(lines) + "\n")
    settings = {"data": {"task": "embed"}, "encode": {"vocabulary": 400, "tokenizer": "bpe"}, "model": {"name": "bert", "size": "small"}}
    settings |= {"train": {"steps": 120, "batch_size": 16, "learning_rate": 2e-3, "evaluate_steps": 60, "exact": True}}
    return duomo.train(folder / "pairs.tsv", settings, out=folder / "run")


def test_pairs_learn_to_meet(run):
    model, chance, words, letters = (result["metrics"]["mrr"]["value"] for result in run.scorecard["results"])
    assert model > chance and 0 < words <= 1 and 0 < letters <= 1
    (answer,) = run.predict(["What is the capital of Peru?"])
    assert np.linalg.norm(answer["prediction"]) == pytest.approx(1, abs=1e-3)


def test_search(run, tmp_path, capsys):
    for town in ("Lima", "Oslo", "Rome"):
        (tmp_path / f"{town}.md").write_text(f"# {town}\n\nThe capital is {town}.\n")
    (tmp_path / "drawn.txt").write_bytes(bytes(range(255, 127, -1)) * 20)  # no text: left out, and told
    found = passages.search(run, tmp_path, "Which town governs Peru?", 2)
    assert found[0]["file"] == "Lima.md" and "Lima" in found[0]["passage"] and found[0]["score"] >= found[1]["score"]
    (tmp_path / "again.md").write_text("# Lima\n\nThe capital is Lima.\n")  # what several files hold is told once
    again = passages.search(run, tmp_path, "Which town governs Peru?", 2)
    assert [one["passage"] for one in again] == [one["passage"] for one in found]
    (tmp_path / "again.md").write_bytes(b"Universit\xe9 de Lima, \x93so named\x94.\n")
    told = passages.search(run, tmp_path, "Which town governs Peru?", 99, encoding="cp1252")
    assert any("Université" in one["passage"] for one in told)
    (tmp_path / "again.md").unlink()
    kept = list(run.path.with_name("run.index").iterdir())
    assert passages.search(run, tmp_path, "Which town governs Peru?", 2) == found
    assert list(run.path.with_name("run.index").iterdir()) == kept
    capsys.readouterr()
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.4")
    assert main(["search", str(run.path), str(tmp_path), "x"]) == 0
    said = capsys.readouterr().err
    assert "drawn.txt is left out" in said and "scan.pdf" in said and "pdftotext" in said
    assert main(["search", str(run.path), str(tmp_path), "Italy: its capital?", "--count", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == passages.search(run, tmp_path, "Italy: its capital?", 1)
    with pytest.raises(DataError):
        passages.search(run, tmp_path / "none", "x")
    with pytest.raises(ConfigError):
        passages.search(run, tmp_path, "  ")


def test_a_heading_stands_with_what_it_is_about(tmp_path):
    text = "# Guide\n\n## Install it\n\nWith pip.\n\n## Resume\n\n```sh\n# a remark\nduomo resume\n```\n"
    (tmp_path / "a.md").write_text(text)
    found = list(passages._passages(tmp_path / "a.md", Silent(), ""))
    assert found == ["# Guide\n\n## Install it\n\nWith pip.", "## Resume\n\n```sh\n# a remark\nduomo resume\n```"]


def test_only_new_words_are_read_again(run, tmp_path, monkeypatch):
    for town in ("Lima", "Oslo", "Rome"):
        (tmp_path / f"{town}.md").write_text(f"The capital is {town}.\n")
    before = passages.search(run, tmp_path, "Which town governs Peru?", 3)
    asked = []
    predict = type(run).predict
    monkeypatch.setattr(type(run), "predict", lambda self, rows: asked.append(list(rows)) or predict(self, rows))
    (tmp_path / "Oslo.md").write_text("They rule from Oslo.\n")
    (tmp_path / "copy.md").write_text("The capital is Rome.\n")
    after = passages.search(run, tmp_path, "Which town governs Peru?", 3)
    assert asked == [["They rule from Oslo."], ["Which town governs Peru?"]]
    assert {one["passage"]: one["score"] for one in before}.items() & {one["passage"]: one["score"] for one in after}.items() >= {
        (one["passage"], one["score"]) for one in before if "Oslo" not in one["passage"]
    }


def test_what_is_indexed_stays_where_somebody_interrupts(run, tmp_path, monkeypatch):
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text(f"Number {number} is here.\n")
    asked, predict = [], type(run).predict

    def stopped(self, rows):
        asked.append(len(rows))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return predict(self, rows)

    monkeypatch.setattr(type(run), "predict", stopped)
    with pytest.raises(KeyboardInterrupt):
        passages.search(run, tmp_path, "7?", 3)
    assert len(passages.search(run, tmp_path, "7?", 3)) == 3 and asked == [256, 44, 44, 1]


def test_passages_are_no_longer_than_what_is_read(run, tmp_path):
    """It learned from short texts: what stands at the end of a passage is found as well."""
    (tmp_path / "long.txt").write_text(
        " ".join(f"Nothing of town {number} is told here." for number in range(9)) + " They rule from Lima.\n"
    )
    (whole,) = passages._passages(tmp_path / "long.txt", Silent(), "")
    found = list(passages._whole([whole], run.task.tokenizer))
    assert "".join("".join(found).split()) == "".join(whole.split()) and len(found) > 3 and max(map(len, found)) <= 1.5 * passages.SHORTEST
    assert {one["passage"] for one in passages.search(run, tmp_path, "Lima", 9)} == {*found}
    assert list(passages._whole([whole, ""], {**run.task.tokenizer, "longest": 999})) == [whole, ""]


def test_weights_that_learning_makes_worse_are_kept_as_they_were(run, tmp_path, monkeypatch):
    """Without new weights nothing needs to be learned first: the weights given are judged before the first step, of a resumed run too."""
    settings = {"data": {"task": "embed"}, "adapt": {"start": str(run.path)}}
    settings |= {"train": {"steps": 4, "batch_size": 16, "learning_rate": 1.0, "optimizer": "sgd", "evaluate_steps": 2}}

    def stop(self):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "_judge", stop)
        with pytest.raises(Interrupted):
            duomo.train(run.path.parent / "pairs.tsv", settings, out=tmp_path / "run")
    told = duomo.resume(tmp_path / "run")
    history = told.scorecard["history"]
    assert [entry["step"] for entry in history] == [0, 2, 4] and history[0]["valid"]["mrr"] > history[-1]["valid"]["mrr"]
    before, after = (one.folder.read_tensors("model.safetensors") for one in (run, told))
    assert all((value == before[name]).all() for name, value in after.items())


def test_weights_that_do_not_suit_the_task_are_told(run, tmp_path):
    mixed = [{"text": f"Mr Smith {number}", "age": number * 0.7, "label": "ab"[number % 2]} for number in range(40)]
    settings = {"data": {"target": ["label"], "kind": {"text": "text"}}, "adapt": {"start": str(run.path)}}
    with pytest.raises(ConfigError, match="are of the model bert"):
        duomo.train(mixed, settings, out=tmp_path / "run")


def test_words_are_tagged_from_weights_that_read_fewer_places(run, tmp_path):
    rows = [{"text": f"Mr Smith {number} lives in a house by the sea", "spans": [[3, 8, "PER"]]} for number in range(20)]
    tagger = duomo.train(rows, {"data": {"task": "tag"}, "train": {"steps": 2}, "adapt": {"start": str(run.path)}}, out=tmp_path / "run")
    assert next(iter(tagger.task.inputs.values())).shape[0] <= 10
    assert len(tagger.predict([rows[0]["text"]])) == 1
