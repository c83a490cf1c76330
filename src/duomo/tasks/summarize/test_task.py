"""Summaries: where the model loses to how a text begins, the beginning is answered, and it is said."""

import numpy as np

import duomo
from duomo.core.reporter import Silent
from duomo.decode.threshold import NEVER
from duomo.tasks.summarize.baselines import lead
from duomo.tasks.summarize.fallback import Fallback


def test_the_better_answer_alone_or_by_doubt_where_that_is_no_chance() -> None:
    rng = np.random.default_rng(0)
    doubt, noise = rng.random(100), rng.random(100) * 0.1
    sure = doubt < 0.5
    for own, first, expected in (
        (noise + 0.1, noise + 0.4, "always"), (noise + 0.4, noise + 0.1, "never"), (np.where(sure, 0.8, 0.1) + noise, noise + 0.4, "half"),
    ):  # fmt: skip
        fallback = Fallback()
        fallback.choose(own, {1: first, 3: first - 0.05}, doubt)
        assert fallback.doubt is not None and fallback.sentences == 1 and fallback.told is not None
        assert {"always": fallback.doubt == 0, "never": fallback.doubt == NEVER, "half": 0.45 < fallback.doubt < 0.55}[expected]
        assert fallback.told[2] >= max(fallback.told[:2])
        again = Fallback()
        again.restore(fallback.state())
        assert again == fallback
    assert fallback.answered("x", 0.9, "One. Two. Three.") == ("One.", True)
    assert fallback.answered("x", 0.1, "One.") == ("x", False) and fallback.answered("x", 0.9, " ") == ("x", False)
    few, old, some = Fallback(), Fallback(), Fallback()
    few.choose(noise[:4], {1: noise[:4] + 1}, doubt[:4])
    some.choose(noise[:8], {1: noise[:8] + 0.2}, doubt[:8])
    assert some.doubt == 0
    some.choose(noise[:8], {1: noise[:8] + np.array([0.5, -0.4] * 4)}, doubt[:8])  # by chance
    assert some.doubt == NEVER
    old.restore({})  # a run of before
    assert few.doubt == old.doubt == NEVER and not few.words({"lead": np.ones(5, bool)})


def test_a_model_that_lost_answers_with_the_beginning_after_loading_too(tmp_path) -> None:
    words = ["mill", "river", "stone", "field", "road", "cloud", "apple", "wheel", "house", "bird", "lamp"]
    texts = [f"The {a} of {b} {n}. It is old." for n, (a, b) in enumerate((a, b) for a in words for b in words if a != b)]
    rows = [{"text": text + " Nobody knows why that is so, and few have asked.", "summary": lead(text, 1)} for text in texts]
    settings = {"task": {"beam": 1}, "train": {"steps": 4, "batch_size": 8}}
    settings |= {"data": {"task": "summarize", "valid_share": 0.25}}
    run = duomo.train(rows, settings, target="summary", out=str(tmp_path / "run"), reporter=Silent())
    best, first = run.scorecard["results"][:2]
    assert best["metrics"]["rouge_l"]["value"] == first["metrics"]["rouge_l"]["value"] == 1
    assert any("100% of the answers are not written" in view["note"] for view in run.scorecard["views"])
    (answer,) = duomo.load(tmp_path / "run").predict([{"text": "A new lamp shines. It is old."}])
    assert answer["prediction"] == "A new lamp shines." and answer["lead"] is True and 0 <= answer["confidence"] <= 1


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def test_of_long_texts_the_beginning_is_read_and_that_is_said(tmp_path) -> None:
    long = " ".join(f"The road is long and has {n} stones." for n in range(9))
    rows = [{"text": f"Mill {n} is old. {long * (n % 2)}", "summary": f"Mill {n}"} for n in range(60)]
    settings = {"task": {"beam": 1}, "train": {"steps": 2, "batch_size": 8}, "data": {"task": "summarize"}, "encode": {"longest_text": 48}}
    heard = Heard()
    run = duomo.train(rows, settings, target="summary", out=str(tmp_path / "run"), reporter=heard)
    said = [line for line in heard.said if "have more than 48 tokens" in line]
    assert len(said) == 1 and "column 'text'" in said[0] and said[0] in run.scorecard["facts"]["problems"]
    whole, part = run.predict(rows[:2])
    assert whole["read"] == 1 and 0.1 < part["read"] < 0.9
    run.predict_file(rows[:2], str(tmp_path / "told.csv"), reporter=heard)
    assert any("1 of 2 texts" in line for line in heard.said)
