"""Rows that were learned from are known again, whatever their order, and said so."""

import csv
from pathlib import Path

import numpy as np

import duomo
from duomo.core.reporter import Silent


def write(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["age", "place", "kind"], *rows])
    return path


def test_rows_that_were_learned_from_are_counted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows: list[list[object]] = [[round(float(random.normal()), 6), "ab"[row % 2], "yes" if row % 3 else "no"] for row in range(90)]
    settings = {"train": {"steps": 3, "exact": True}, "model": {"name": "linear"}}
    run = duomo.train(write(tmp_path / "all.csv", rows), settings, target="kind", out=tmp_path / "run")
    learned = 90 - run.scorecard["test"]["rows"]
    heard = Silent()
    shuffled = [rows[place] for place in random.permutation(90)]
    assert run.evaluate(write(tmp_path / "again.csv", shuffled), reporter=heard)["learned"] == learned
    assert any(f"learned from {learned} of these 90 rows" in said for said in heard.said)
    new: list[list[object]] = [[cell + 0.5, place, kind] for cell, place, kind in rows]
    heard = Silent()
    assert run.evaluate(write(tmp_path / "new.csv", [*new, *rows]), reporter=heard)["learned"] == learned
    assert run.evaluate(write(tmp_path / "new.csv", new), reporter=heard)["learned"] == 0
    assert sum("flatter" in said for said in heard.said) == 1
    assert "learned.safetensors" in run.folder.read_json("manifest.json")["sha256"]


def test_answers_that_repeat_by_nature_are_no_copies(tmp_path: Path) -> None:
    rows: list[list[object]] = [[row % 3, "ab"[row % 2], "yes" if row % 5 else "no"] for row in range(200)]
    settings = {"train": {"steps": 3, "exact": True}, "model": {"name": "linear"}}
    run = duomo.train(write(tmp_path / "all.csv", rows), settings, target="kind", out=tmp_path / "run")
    assert run.evaluate(tmp_path / "all.csv")["learned"] == 0
