"""The straight line over the letters of texts (nn/letter_features.py, train/linear.py)."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge

import duomo
from duomo import samples
from duomo.core.contract import Field, Goal
from duomo.core.kinds import text
from duomo.core.kinds.base import Cells
from duomo.core.recipe import EncodeConfig
from duomo.core.reporter import Silent
from duomo.nn.council import Council
from duomo.nn.letter_features import ORDERS, Letters
from duomo.train.holdout import Rows, loss
from duomo.train.lbfgs import Weights, descend
from duomo.train.learners import Line
from duomo.train.linear import GAIN, Seen, _apart, fit, read

TEXTS = ["The heart of the sea", "An old sea-bird, at rest", "HEARTS  and\ttides", "a", "", "Über Straße 中文", "tide after tide"]


def encoded(tokenizer: str) -> tuple[Field, torch.Tensor]:
    cells = Cells(pa.chunked_array([pa.array(TEXTS * 40)]), None)
    state = text.KIND.fit(cells, EncodeConfig(tokenizer=tokenizer, longest_text=40))
    rows = [torch.from_numpy(text.framed(state, ids).astype(np.int64)) for ids in text.encode_text(state, TEXTS)]
    return text.KIND.field(state), torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


@pytest.mark.parametrize("tokenizer", ["characters", "bpe", "unigram", "wordpiece"])
def test_n_grams_are_those_within_words(tokenizer: str) -> None:
    field, tokens_BT = encoded(tokenizer)
    letters = Letters(2)
    letters.put(spelled_VL=torch.from_numpy(text.spelling(field.facts["json"], field.vocabulary[0])))
    ours = (letters.where(tokens_BT)[1] > 0).sum(1)
    theirs = CountVectorizer(analyzer="char_wb", ngram_range=(ORDERS[0], ORDERS[-1]))
    for row in {"characters": (0, 1, 5, 6), "wordpiece": (0, 6)}.get(tokenizer, (0, 1, 6)):  # bytes are no letters; hyphens divide pieces
        assert int(ours[row]) == len(theirs.build_analyzer()(TEXTS[row])), TEXTS[row]


@pytest.mark.parametrize("tokenizer", ["bpe", "unigram"])
def test_words_and_pairs_are_counted_and_ideographs_are_words(tokenizer: str) -> None:
    field, tokens_BT = encoded(tokenizer)
    letters = Letters(2)
    letters.put(spelled_VL=torch.from_numpy(text.spelling(field.facts["json"], field.vocabulary[0])))
    place_BG = letters.where(tokens_BT)[0]
    ours = (place_BG > 0).sum(1)
    theirs = CountVectorizer(ngram_range=(1, 2), token_pattern=r"[a-z0-9]+")
    for row in (0, 1, 2, 3, 4, 6):
        assert int(ours[row]) == len(theirs.build_analyzer()(TEXTS[row])), TEXTS[row]
    at_0, at_6 = (set(place_BG[row][place_BG[row] > 0].tolist()) for row in (0, 6))
    assert len(at_0) == 8 and len(at_6) == 4  # "the" twice; "tide" twice, before and behind another
    signs = Letters(2)
    signs.put(spelled_VL=torch.tensor([[0], *([ord(sign)] for sign in "中文 a")], dtype=torch.int32))
    assert [int((signs.where(torch.tensor([row]))[0] > 0).sum()) for row in ([1, 2], [1, 3, 2], [1, 4, 4], [4, 3, 4])] == [3, 3, 3, 3]


@pytest.mark.parametrize("kind", ["class", "label", "mean"])
def test_the_descent_over_all_rows_ends_where_a_solver_does(kind: str) -> None:
    rng = np.random.default_rng(0)
    x_NX = sparse.random(300, 40, 0.2, "csr", rng=rng).astype(np.float32)
    score = x_NX @ rng.normal(size=(40, 3))
    values = {"class": score.argmax(1), "label": (score[:, 0] > 0).astype(np.int64), "mean": score[:, 0] + 2}[kind]
    size = 3 if kind == "class" else 1
    goal = Goal("mean" if kind == "mean" else "class", values, np.ones(300, bool), 0, size, np.ones(300))
    rows = np.arange(300)
    line = Line(goal)
    line.fit(x_NX.toarray(), rows, 0.3)
    nothing = Weights(np.zeros((10, size)), np.zeros((30, size)), np.zeros(size))
    seen = list[float]()

    def judge(now: Weights) -> float:
        weight_XP = np.concatenate([now.cells_FP, now.wide_GP])
        half = 0.5 if kind == "mean" else 1.0
        seen.append(half * 300 * loss(goal, x_NX @ weight_XP + now.bias_P, rows) + 0.15 * float(np.square(weight_XP).sum()))
        return seen[-1]

    found, led = descend(goal, x_NX, rows, nothing, [0.3], judge, time.monotonic() + 60)
    assert led == 0.3
    assert judge(found) == min(seen) < 1.01 * judge(Weights(line.weight_FP[:10], line.weight_FP[10:], line.bias_P)) < 0.9 * seen[0]
    assert descend(goal, x_NX, rows, nothing, [0.3], judge, 0.0) == (nothing, 0.3)
    assert judge(descend(goal, x_NX, rows, nothing, [0.3], None, time.monotonic() + 60)[0]) < 1.01 * min(seen)


def test_an_answer_does_not_depend_on_the_company() -> None:
    field, tokens_BT = encoded("bpe")
    letters = Letters(2)
    letters.put(spelled_VL=torch.from_numpy(text.spelling(field.facts["json"], field.vocabulary[0])))
    letters.put(idf_P=torch.rand(letters.places + 1).index_fill(0, torch.tensor(0), 0.0), weight_PS=torch.rand(letters.places + 1, 2))
    assert torch.allclose(letters(torch.nn.functional.pad(tokens_BT, (0, 30))), letters(tokens_BT), atol=1e-5)
    assert letters(torch.full_like(tokens_BT, 10**6)).isfinite().all()  # a token that the vocabulary does not have


def test_what_is_learned_of_coordinates_is_ridge_regression_on_n_grams() -> None:
    field, tokens_BT = encoded("bpe")
    council = Council({"text": field}, 1)
    batch = {"text": tokens_BT}
    read(council, {"text": field}, batch, 5)
    seen, values = Seen(council, batch, np.arange(5), 5, True), np.array([0.0, 1.0, 3.0, -1.0, 2.0, 0.0, 0.0])
    goal = Goal("mean", values, np.ones(7, bool), 0, 1, np.ones(7))
    line = Line(goal)
    line.fit(seen.of(np.arange(5)), np.arange(5), 0.5)
    seen.write([seen.weights(line)])
    council.put(share_3=torch.tensor([0.0, 0.0, 1.0]))
    place_BG, value_BG = (one.numpy() for one in council.texts()[0][1].weighed(tokens_BT))
    x_BP = np.zeros((7, council.texts()[0][1].places + 1))
    np.add.at(x_BP, (np.arange(7)[:, None], place_BG), GAIN * value_BG)
    theirs = Ridge(alpha=0.5).fit(x_BP[:5], values[:5]).predict(x_BP)
    assert np.allclose(seen.logits(line, np.arange(5, 7))[:, 0], theirs[5:], atol=1e-5)
    assert np.allclose(council(batch, torch.zeros(7, 1))[:, 0].numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("apart", [False, True])
def test_trees_are_not_told_what_a_line_learned_by_heart(apart: bool) -> None:
    """Labels that no text explains: what is said of a row to learn from comes from a line that did not see it."""
    rng = np.random.default_rng(0)
    lines = [" ".join("".join(rng.choice(list("abcdefgh"), 4)) for _ in range(6)) for _ in range(300)]
    state = text.KIND.fit(cells := Cells(pa.chunked_array([pa.array(lines)]), None), EncodeConfig(tokenizer="bpe"))
    fields = {"text": text.KIND.field(state), "numbers": Field("numbers", (1,), (), {"bins": [[0.0]]})}
    rows = [torch.from_numpy(text.framed(state, ids).astype(np.int64)) for ids in text.encode_text(state, cells.data.to_pylist())]
    batch = {"text": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), "numbers": torch.zeros(300, 1)}
    goal = Goal("class", wanted := rng.integers(0, 2, 300), np.ones(300, bool), 0, 2, np.ones(300))
    council = Council(fields, 2)
    voice = fit(
        council,
        fields,
        Rows(240, batch, torch.zeros(60, 2), [goal], apart, time.monotonic() + 60, (0.4, 0.1, 0.5), 1.0),
        time.monotonic() + 60,
        time.monotonic() + 60,
    )
    assert voice is not None and len(voice.told) == 1
    told_NS, again_NS = voice.told[0], council.said(batch)[0]
    assert torch.equal(told_NS[240:], again_NS[240:]) and told_NS.std() > 0
    right, by_heart = ((one[:240].argmax(1).numpy() == wanted[:240]).mean() for one in (told_NS, again_NS))
    assert by_heart > 0.8 and right < 0.6, (by_heart, right)


def test_many_texts_are_all_learned_from_in_the_end(tmp_path: Path) -> None:
    """With those that chose the penalty: what is said of others, which were never seen, becomes better."""
    frame = pd.read_csv(samples.write("reviews", tmp_path))
    state = text.KIND.fit(cells := Cells(pa.chunked_array([pa.array(frame.text)]), None), EncodeConfig(tokenizer="bpe", longest_text=60))
    rows = [torch.from_numpy(text.framed(state, ids).astype(np.int64)) for ids in text.encode_text(state, cells.data.to_pylist())]
    fields, tokens = {"text": text.KIND.field(state)}, torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    values = pd.factorize(frame.department)[0]
    known, weight = np.ones(3200, bool), np.ones(3200)
    goal = Goal("class", values[:3200], known, 0, values.max() + 1, weight)
    council = Council(fields, goal.size)
    given = Rows(2000, {"text": tokens[:3200]}, torch.zeros(1200, goal.size), [goal], False, time.monotonic() + 200, (0.4, 0.1, 0.5), 1.0)
    voice = fit(council, fields, given, time.monotonic() + 100, time.monotonic() + 100)
    assert voice is not None
    others, before = {"text": tokens[3200:]}, council.said({"text": tokens[3200:]})[0] + council.bias_S
    voice.onward(given)
    after, wanted = council.said(others)[0] + council.bias_S, torch.from_numpy(values[3200:])
    losses = [float(torch.nn.functional.cross_entropy(one, wanted)) for one in (before, after)]
    assert losses[1] < 0.99 * losses[0], losses


@pytest.mark.parametrize("prose", [False, True])
def test_among_names_letters_count_and_words_do_not(prose: bool) -> None:
    """Where most words stand in one row only, for then they tell a row from all others; in prose they count."""
    lines = ["the old sea", "the sea", "an old sea", "the old"] if prose else ["anna", "annabel", "bella", "isabel", "anna"]
    state = text.KIND.fit(Cells(pa.chunked_array([pa.array(lines * 20)]), None), EncodeConfig(tokenizer="characters"))
    rows = [torch.from_numpy(text.framed(state, ids).astype(np.int64)) for ids in text.encode_text(state, lines)]
    council, tokens_BT = Council({"text": text.KIND.field(state)}, 2), torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    read(council, {"text": text.KIND.field(state)}, {"text": tokens_BT}, len(lines))
    ((_, letters),) = council.texts()
    words_BG, grams_BG = letters.where(tokens_BT)
    place_BG, value_BG = letters.weighed(tokens_BT)
    assert torch.equal(place_BG, torch.cat([words_BG, grams_BG], 1) if prose else grams_BG)
    assert torch.equal(value_BG > 0, place_BG > 0)


def test_trees_are_not_told_of_a_group_by_a_line_that_saw_it() -> None:
    group_N = np.random.default_rng(1).integers(-1, 40, 300)
    rows = Rows(300, {}, torch.zeros(0, 2), [], True, 0.0, (0.4, 0.1, 0.5), 1.0, group_N)
    parts = _apart(rows)
    assert len(parts) > 2 and sorted(np.concatenate(parts)) == list(range(300))
    assert sum(len(np.unique(group_N[part])) for part in parts) == len(np.unique(group_N))  # none is in two of them
    assert [len(part) for part in _apart(replace(rows, groups=np.zeros(300, np.int64)))] == [300]


def test_a_text_that_means_the_opposite_in_another_row_is_understood(tmp_path: Path) -> None:
    """What the line says of the words must be read beside the cell, which turns it round."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("bcdfglmnprst"), 5)) for _ in range(900)]
    noun, sign = rng.integers(0, 2, 900), rng.choice(["plus", "minus", "zero"], 900, p=[0.6, 0.2, 0.2])
    frame = pd.DataFrame(
        {"text": [word + ("ation" if one else "eable") + " was said" for word, one in zip(words, noun, strict=True)], "sign": sign}
    )
    frame["y"] = np.where(sign == "zero", rng.normal(size=900) * 0.1, np.where(sign == "plus", 1.0, -1.0) * (2.0 * noun - 0.7))
    settings = {"train": {"epochs": 1.0, "learn_all": False}, "data": {"kind": {"text": "text"}, "target": ("y",)}}
    run = duomo.train(frame[:600], settings, out=tmp_path / "run", reporter=Silent())
    found = duomo.load(tmp_path / "run").predict(frame[600:])["prediction"].to_numpy()
    assert np.sqrt(np.mean((found - frame.y[600:]) ** 2)) < 0.35 * frame.y[600:].std()
    assert run.scorecard["facts"]["voices"]["trees"] > 0.3


def test_few_texts_are_told_by_their_letters(tmp_path: Path) -> None:
    """The word is never the same twice, its ending is: nothing that a vocabulary of words could learn."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("bcdfglmnprst"), 5)) for _ in range(240)]
    frame = pd.DataFrame({"text": [word + ("ation" if row % 2 else "eable") + " is what was said here" for row, word in enumerate(words)]})
    frame["y"] = ["noun" if row % 2 else "adjective" for row in range(240)]
    settings = {"train": {"epochs": 1.0}, "data": {"kind": {"text": "text"}, "target": ("y",)}}
    run = duomo.train(frame[:120], settings, out=tmp_path / "run", reporter=Silent())
    assert run.scorecard["facts"]["voices"]["line"] > 0.3
    again = duomo.load(tmp_path / "run").predict(frame[120:])
    assert (again["prediction"].to_numpy() == frame.y[120:].to_numpy()).mean() > 0.95


@pytest.mark.parametrize("name", ["bert", "gpt"])
def test_a_pretrained_reader_is_advised_too(name: str, tmp_path: Path) -> None:
    """Beside a network that hardly learned, alone and with words that say it all; from its weights another begins without the line."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"text": [" ".join(rng.choice(list("abcdefgh"), 6)) + (" plum" if row % 2 else " pear") for row in range(160)]})
    frame["y"] = ["plum" if row % 2 else "pear" for row in range(160)]
    model = {"name": name, "size": "small", "options": {"width": 16, "depth": 1, "heads": 2}}
    data = {"kind": {"text": "text"}, "target": ("y",)}
    run = duomo.train(frame[:120], {"data": data, "model": model, "train": {"steps": 1}}, out=tmp_path / "run", reporter=Silent())
    assert run.scorecard["facts"]["voices"]["line"] > 0.3
    assert (duomo.load(tmp_path / "run").predict(frame[120:])["prediction"].to_numpy() == frame.y[120:].to_numpy()).mean() > 0.95
    settings = {"data": data, "adapt": {"start": str(tmp_path / "run")}, "train": {"steps": 1}, "model": {"options": {"advice": False}}}
    without = {key: value for key, value in run.model.state_dict().items() if not key.startswith("council.")}
    for fitted in (run.model.council, *(letters for _, letters in run.model.council.texts())):
        fitted.clear()
    run.model.load_state_dict(without)  # a checkpoint of before there was a council
    run.model.council.put(bias_S=torch.zeros(2))
    with pytest.raises(RuntimeError, match="bias_S"):
        run.model.load_state_dict(without)
    again = duomo.train(frame[:120], settings, out=tmp_path / "again", reporter=Silent())
    assert again.model.council is None and again.scorecard["facts"]["voices"] == {}
