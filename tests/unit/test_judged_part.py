"""Limited time, of which judging takes its part: some rows of the test, and the same ones when runs are compared."""

import random
from pathlib import Path

import pytest

import duomo
from duomo import pipeline
from duomo.train import preflight


def test_limited_time_judges_a_part_and_compares_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "JUDGING", 1e-6)
    draw = random.Random(0)
    words = ["the", "a", "cat", "dog", "sees", "runs", "red", "blue", "house", "tree"]
    texts = [" ".join(draw.choices(words, k=8)) for _ in range(300)]
    (tmp_path / "t.tsv").write_text("en\txx\n" + "".join(f"{x}\t{x[::-1]}\n" for x in texts))
    run = duomo.train(
        "t.tsv",
        {
            "data": {"task": "translate", "test_share": 0.2},
            "task": {"source": "en", "target": "xx"},
            "train": {"minutes": 0.01, "exact": True},
            "model": {"options": {"width": 32, "heads": 2, "depth": 1}},
        },
    )
    assert run.scorecard["test"]["rows"] == preflight.FEWEST_ROWS == run.scorecard["facts"]["rows"]["test"]
    found = pipeline.compare(run.path, run.path)
    assert found["rows"] == preflight.FEWEST_ROWS and found["metrics"]["chrf"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
