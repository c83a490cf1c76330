"""Ratings and the like: rows that are pairs of names, told from panels, plans and measurements."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import duomo
from duomo.core.kinds import infer
from duomo.core.recipe import DataConfig, EncodeConfig
from duomo.core.reporter import Silent
from duomo.data import crossed
from duomo.data.audit import propose
from duomo.data.baselines.classical import LinearMatrix
from duomo.data.sources import read

RNG = np.random.default_rng(0)


def ratings(users: int = 90, items: int = 120, share: float = 0.25, seed: int = 1) -> pd.DataFrame:
    """Every user rates some items, popular ones more often; what is rated follows from tastes."""
    rng = np.random.default_rng(seed)
    popular = rng.gamma(1.5, size=items)
    met = rng.random((users, items)) < np.minimum(1, share * popular / popular.mean())
    user, item = met.nonzero()
    taste = rng.normal(size=(users, 2)) @ rng.normal(size=(2, items)) + rng.normal(size=(users, 1)) + rng.normal(size=items)
    stars = np.clip(np.round(3 + taste[user, item] * 0.8 + rng.normal(size=len(user)) * 0.4), 1, 5).astype(int)
    frame = pd.DataFrame({"user_id": user + 1, "item": (item * 7919) % 100_003, "stars": stars})
    return frame.sample(frac=1, random_state=seed, ignore_index=True)


def found(frame: pd.DataFrame, target: str) -> tuple[str, str] | None:
    return crossed.pair(infer(read(frame), {}), target)


def test_ratings_are_pairs_whatever_names_look_like() -> None:
    frame = ratings()
    assert found(frame, "stars") == ("user_id", "item")
    assert found(frame.sort_values(["user_id", "item"]).rename(columns={"item": "movieId"}), "stars") == ("user_id", "movieId")
    assert found(frame.assign(item="B" + frame["item"].astype(str)), "stars") == ("user_id", "item")
    assert found(frame.assign(user_id="u" + frame["user_id"].astype(str)), "stars") == ("user_id", "item")


def test_panels_plans_and_measurements_are_none() -> None:
    frame = ratings()
    again = pd.concat([frame, frame.sample(frac=0.5, random_state=0)])
    assert found(again, "stars") is None, "pairs that come again"
    whom = frame.groupby("user_id")["stars"].transform("first")
    assert found(frame.assign(stars=whom), "stars") is None, "what is told is the user's"
    plan = pd.DataFrame(
        [(user, item, RNG.integers(1, 6)) for user in range(40) for item in range(40)], columns=["user_id", "item", "stars"]
    )
    assert found(plan, "stars") is None, "everyone rated everything"
    visits = frame.sort_values("user_id").assign(item=lambda one: one.groupby("user_id").cumcount())
    assert found(visits, "stars") is None, "counted"
    grown = visits.assign(item=lambda one: np.minimum(400, one["item"] * 4 + RNG.integers(0, 4, len(one))))
    assert found(grown, "stars") is None, "grows"
    assert found(frame.assign(item=RNG.integers(0, 120, len(frame))), "stars") is None, "measured"
    assert found(frame.rename(columns={"user_id": "height"}), "stars") is None, "nobody is named"


def test_ratings_are_learned_by_name(tmp_path: Path) -> None:
    frame = ratings(160, 150, 0.3)
    frame.to_csv(tmp_path / "ratings.csv", index=False)
    proposal, findings = propose(crossed.settle(infer(read(frame), {}), duomo_data("stars")), "stars")
    assert proposal.how in ("random", "stratified") and [one for one in findings if one.code == "pairs"]
    reporter = Silent()
    settings = {"data": {"task": "regress"}, "train": {"epochs": 4.0}}
    run = duomo.train(tmp_path / "ratings.csv", settings, target="stars", out=tmp_path / "run", reporter=reporter)
    assert [one for one in reporter.said if "--group user_id" in one]
    assert run.facts["kinds"]["user_id"] == run.facts["kinds"]["item"] == "category"
    figures = {one["name"]: one["metrics"]["rmse"]["value"] for one in run.scorecard["results"]}
    assert figures[next(iter(figures))] < 0.85 * figures["mean"]
    apart = duomo.train(tmp_path / "ratings.csv", settings | {"data": {"task": "regress", "group": "user_id"}}, target="stars",
                        out=tmp_path / "apart", reporter=Silent())  # fmt: skip
    assert "user_id" in apart.recipe.data.ignore


def duomo_data(target: str) -> DataConfig:
    return DataConfig(target=(target,), task="regress")


def test_the_straight_line_to_beat_knows_as_many_names_as_the_model() -> None:
    table = infer(read(ratings(1500, 60, 0.2)), {"user_id": "category", "item": "category"})
    line = LinearMatrix(["user_id", "item"], table.kinds, EncodeConfig(categories=1500))
    line.fit(table)
    assert line.transform(table).shape[1] > 1500


def test_names_beyond_the_usual_number_have_places() -> None:
    table, data = infer(read(ratings(1500, 60, 0.2)), {}), duomo_data("stars")
    assert crossed.laid({}, table, data)["encode"]["categories"] == pytest.approx(1500, abs=9)
    assert crossed.laid({"encode": {"categories": 9}}, table, data)["encode"]["categories"] == 9
