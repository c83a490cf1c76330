"""What more time or more data would bring, as far as a run can tell: what its evaluations say, and how to ask the rest."""

from collections.abc import Mapping
from typing import Any

from duomo.core.messages import listed, tr
from duomo.evaluate.scorecard import number, pretty

FEWEST = 4
"""Evaluations below which nothing is told."""
STILL, FLAT = 0.8, 0.02
"""The best came in this part of the steps: still learning. The second half brought less than this share of all: hardly anything."""


def sentences(card: Mapping[str, Any]) -> list[str]:
    """What was learned since the test; at most two sentences on time and on data, none where validation was asked too seldom."""
    return [*since(card["facts"]), *_more(card)]


def since(facts: Mapping[str, Any]) -> list[str]:
    """That those who answer beside the network have learned from all rows since they were judged."""
    if not facts.get("learned_all"):
        return []
    voices = listed([tr(name) for name in facts["learned_all"]])
    return [tr("Since the test these have learned once more, from all {rows:,} rows: {voices}. What is served knows more than what was "
               "judged; --set train.learn_all=false leaves it as it was.", voices=voices, rows=sum(facts["rows"].values()))]  # fmt: skip


def _more(card: Mapping[str, Any]) -> list[str]:
    chooser = card.get("chosen_by") or card["metric"]
    metric, higher = chooser["name"], chooser["higher_is_better"]
    valid = [(point["step"], {"loss": point.get("loss"), **(point.get("valid") or {})}) for point in card["history"]]
    told = [(step, figures[metric]) for step, figures in valid if figures.get(metric) is not None]
    steps = [step for step, _ in told if step]
    if len(steps) < FEWEST:
        return []
    sign, last = (1 if higher else -1), steps[-1]
    best = max(told, key=lambda pair: sign * pair[1])
    half = max((pair for pair in told if pair[0] <= last / 2), key=lambda pair: sign * pair[1], default=told[0])
    gained, everything = sign * (best[1] - half[1]), sign * (best[1] - told[0][1])
    values = {"metric": pretty(metric), "half": number(half[1]), "best": number(best[1]), "step": f"{best[0]:,}", "last": f"{last:,}"}
    if best[0] < STILL * last:
        time = tr(
            "Time: {metric} on validation reached its best ({best}) at step {step} of {last}; what came after brought nothing.", **values
        )
    elif gained < FLAT * everything:
        time = tr("Time: the second half of the steps brought hardly anything ({metric} on validation {half}, then {best}).", **values)
    else:
        time = tr("Time: in the second half of the steps {metric} on validation went from {half} to {best}, and the best came near the "
                  "end: more epochs may bring more.", **values)  # fmt: skip
    return [time, *_data(card["facts"].get("recipe") or {})]


def _data(recipe: Mapping[str, Any]) -> list[str]:
    """How to learn what twice the data brought: validation takes half of the training rows, the test stays the same."""
    data = recipe.get("data") or {}
    if not data or data.get("valid") or data.get("split") in ("time", "folders"):
        return []
    valid, test = float(data["valid_share"]), 0.0 if data.get("test") else float(data["test_share"])
    share = valid + (1 - valid - test) / 2
    return [tr("Data: whether more rows would help is seen from a second run on half of them, judged on the same test: "
               "--valid-share {share:.2g}, then duomo compare.", share=share)]  # fmt: skip
