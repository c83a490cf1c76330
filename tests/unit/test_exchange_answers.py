"""What transformers answers from a converted run is what the run answers: gaps, labels and their probabilities, tags, vectors."""

import contextlib
import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets

import duomo
from duomo.core.reporter import Silent
from duomo.exchange.convert import convert

transformers = pytest.importorskip("transformers")
TEXT = datasets.load_wine().DESCR + datasets.load_breast_cancer().DESCR + datasets.load_diabetes().DESCR
SENTENCES = [found.strip() for found in TEXT.replace("\n", " ").split(".") if len(found.split()) > 4]
DIGIT = re.compile(r"\d")
SETTINGS = {"exact": True, "batch_size": 8}


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> duomo.Run:
    folder = tmp_path_factory.mktemp("trunk")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    options = {"width": 32, "depth": 1, "heads": 2, "place": "after", "types": 1, "pool": "first", "near": 0}
    settings = {"data": {"task": "fill"}, "encode": {"longest_text": 48, "vocabulary": 400},
                "model": {"name": "bert", "size": "small", "options": options},
                "train": {"steps": 10, "optimizer": "adamw", "learning_rate": 2e-3, **SETTINGS}}  # fmt: skip
    return duomo.train(folder / "text.txt", settings, out=folder / "fill")


def taught(trunk: duomo.Run, rows: list[dict], task: str, steps: int, target: str = "", **more: object) -> duomo.Run:
    settings = {"data": {"task": task}, "adapt": {"start": str(trunk.path), "new_rate": 20.0}, "train": {"steps": steps, **SETTINGS}}
    return duomo.train(
        rows, settings | more, target=target or (), out=trunk.path.parent / f"{task}{len(list(trunk.path.parent.iterdir()))}"
    )


def test_gaps(trunk: duomo.Run) -> None:
    place = trunk.path.parent / "fill-hf"
    assert convert(trunk.path, "hf", place)["notes"] == []
    asked = "The number of <mask> is 178"
    filler = transformers.pipeline("fill-mask", model=str(place), top_k=3)
    told = filler(asked.replace("<mask>", filler.tokenizer.mask_token))
    alone = duomo.load(trunk.path)
    alone.model.sides.clear()  # counts stay behind
    own = alone.predict([asked])[0]["gaps"][0][:3]
    assert [one["token_str"].strip() for one in told] == [one["token"] for one in own]
    assert np.allclose([one["score"] for one in told], [one["probability"] for one in own], rtol=0.02)  # special tokens fill no gap of ours


def test_labels_and_their_probabilities(trunk: duomo.Run) -> None:
    rows = [{"text": text, "label": "digits" if DIGIT.search(text) else "letters"} for text in SENTENCES]
    run = taught(trunk, rows, "classify", 40, "label", model={"options": {"advice": False}})
    run.task.temperatures = [1.7]
    run.folder.write_json("task.json", run.task.state())
    run.folder.seal()
    run, place = duomo.load(run.path), trunk.path.parent / "labels-hf"
    (note,) = convert(run.path, "hf", place)["notes"]
    assert "1.7" in note and note in (place / "README.md").read_text(encoding="utf-8")
    asked = [text[:120] for text in SENTENCES[:12]]
    told = transformers.pipeline("text-classification", model=str(place), truncation=True)(asked)
    own = run.predict(asked)
    assert [one["label"] for one in told] == [one["prediction"] for one in own]
    assert np.allclose([one["score"] for one in told], [one["confidence"] for one in own], atol=2e-4)
    back = convert(place, "hf", trunk.path.parent / "labels-again")
    assert back["notes"] == [] and back["distance"] == 0


def test_a_line_beside_the_network_stays_behind(trunk: duomo.Run) -> None:
    rows = [{"text": text, "label": "digits" if DIGIT.search(text) else "letters"} for text in SENTENCES]
    run, place = taught(trunk, rows, "classify", 2, "label", encode={}), trunk.path.parent / "alone-hf"
    assert run.scorecard["facts"]["voices"]["line"] > 0.3
    said = Silent()
    convert(run.path, "hf", place, reporter=said)
    assert any("the network alone" in sentence for sentence in said.said)
    asked = [text[:120] for text in SENTENCES[:12]]
    told = transformers.pipeline("text-classification", model=str(place), truncation=True)(asked)
    alone = duomo.load(run.path)
    alone.model.council.clear()
    alone.task.temperatures = [1.0]
    own = alone.predict(asked)
    assert [one["label"] for one in told] == [one["prediction"] for one in own]
    assert np.allclose([one["score"] for one in told], [one["confidence"] for one in own], atol=2e-4)


def test_labels_from_the_mean(trunk: duomo.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": text, "label": "digits" if DIGIT.search(text) else "letters"} for text in SENTENCES]
    run = taught(trunk, rows, "classify", 40, "label", model={"options": {"pool": "mean", "advice": False}})
    place = trunk.path.parent / "mean-hf"
    assert any("mean over all tokens" in note for note in convert(run.path, "hf", place)["notes"])
    space = ran(place, monkeypatch, lambda code: code.replace('["a text"]', "texts"), texts=[text[:120] for text in SENTENCES[:12]])
    own = run.predict(space["texts"])
    shares = space["logits"].softmax(1).detach().numpy()
    labels = run.task.labels.classes[0]
    assert [labels[place] for place in shares.argmax(1)] == [one["prediction"] for one in own]
    assert np.allclose(shares.max(1), [one["confidence"] for one in own], atol=2e-4)


def test_tags(trunk: duomo.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"tokens": (words := text.split()), "tags": tagged(words)} for text in SENTENCES]
    run = taught(trunk, rows, "tag", 60, "tags")
    place = trunk.path.parent / "tags-hf"
    assert "transitions.json" in convert(run.path, "hf", place)["notes"][0]
    asked = [row["tokens"][:6] for row in rows[:30]]
    own = [one["tags"] for one in run.predict([{"tokens": words} for words in asked])]
    space = ran(place, monkeypatch, lambda code: code)
    found = [space["classes"](" ".join(words), np.cumsum([0, *(len(word) + 1 for word in words[:-1])])) for words in asked]
    assert [written(row) for row in found] == own
    assert len({tag for row in own for tag in row}) > 1, "nothing was learned"
    alone = transformers.AutoModelForTokenClassification.from_pretrained(place)
    assert set(alone.config.id2label.values()) == {name for row in [space["told"]["labels"]] for name in row}


def tagged(words: list[str]) -> list[str]:
    """Numbers with the word behind them."""
    number = [bool(DIGIT.search(word)) for word in words]
    return ["B-X" if here else "I-X" if at and number[at - 1] else "O" for at, here in enumerate(number)]


def written(classes: list[str]) -> list[str]:
    """BIOES as the training data wrote it, BIO."""
    return [name.replace("S-", "B-").replace("E-", "I-") for name in classes]


def test_vectors(trunk: duomo.Run) -> None:
    rows = [{"question": one, "answer": two} for one, two in pairwise(SENTENCES)]
    for pool in ("mean", "first"):
        run = taught(trunk, rows, "embed", 5, **({"model": {"options": {"pool": pool}}} if pool == "mean" else {}))
        place = trunk.path.parent / f"vectors-{pool}"
        assert convert(run.path, "hf", place)["notes"] == [] and (place / "modules.json").is_file()
        tokenizer, model = transformers.AutoTokenizer.from_pretrained(place), transformers.AutoModel.from_pretrained(place).eval()
        read = tokenizer([text[:100] for text in SENTENCES[:8]], return_tensors="pt", padding=True, truncation=True)
        with torch.inference_mode():
            states_BTD, inside_BT1 = model(**read).last_hidden_state, read["attention_mask"].unsqueeze(2)
        mode = "mean" if '"pooling_mode_mean_tokens": true' in (place / "1_Pooling" / "config.json").read_text() else "first"
        vectors = states_BTD[:, 0] if mode == "first" else (states_BTD * inside_BT1).sum(1) / inside_BT1.sum(1)
        own = torch.tensor([one["prediction"] for one in run.predict([text[:100] for text in SENTENCES[:8]])])
        assert mode == pool and torch.allclose(torch.nn.functional.normalize(vectors), own, atol=2e-5)
        convert(place, "duomo", trunk.path.parent / f"again-{pool}")  # vectors without training anew
        again = duomo.load(trunk.path.parent / f"again-{pool}").predict([text[:100] for text in SENTENCES[:8]])
        assert torch.allclose(torch.tensor([one["prediction"] for one in again]), own, atol=2e-5)


def ran(place: Path, monkeypatch: pytest.MonkeyPatch, change, **space: object) -> dict:
    """What the lines of a README leave behind when they are run in their folder."""
    (code,) = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(place)
    with contextlib.redirect_stdout(open(os.devnull, "w")):
        exec(compile(change(code), "README.md", "exec"), space)
    return space
