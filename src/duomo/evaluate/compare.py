"""Two runs on the same test rows: their paired difference, so that noise in the rows cancels."""

from collections.abc import Mapping
from typing import Any

from duomo.core.contract import Evidence, Task
from duomo.core.errors import RunError
from duomo.core.messages import tr
from duomo.evaluate.bootstrap import difference, interval, resample, row_count
from duomo.evaluate.scorecard import number, outcome, plain, pretty, signed


def compare(card_a: Mapping[str, Any], card_b: Mapping[str, Any], evidence_a: Evidence, evidence_b: Evidence, task: Task) -> dict[str, Any]:
    """Judge run b against run a on the rows that both met; RunError where the tests differ.

    Returns JSON values: per metric both figures and b - a with its 95 % interval, and the verdict on the deciding metric.
    """
    same = card_a["test"]["digest"] == card_b["test"]["digest"] and row_count(evidence_a) == row_count(evidence_b)
    if not same:
        raise RunError(
            "Two runs can be compared on the same test rows only; {a} was tested on {rows_a} rows and {b} on {rows_b} other ones. "
            "Evaluate both on one file: `duomo evaluate RUN test.csv`.",
            a=card_a["name"], rows_a=card_a["test"]["rows"], b=card_b["name"], rows_b=card_b["test"]["rows"],
        )  # fmt: skip
    judged = resample(task.measure, {"a": evidence_a, "b": evidence_b})
    a, b = judged["a"], judged["b"]
    main, higher = task.metric.name, task.metric.higher_is_better
    metrics = {
        name: {"a": vars(interval(a, name)), "b": vars(interval(b, name)), "difference": vars(difference(b, a, name))}
        for name in dict.fromkeys((main, *a.figures))
        if name == main or name in b.figures
    }
    found: dict[str, Any] = plain(
        {
            "a": card_a["name"], "b": card_b["name"], "rows": a.rows, "metric": {"name": main, "higher_is_better": higher},
            "metrics": metrics, "outcome": outcome(difference(b, a, main), higher),
        }
    )  # fmt: skip
    return found


def sentence(found: Mapping[str, Any]) -> str:
    """What the comparison says, in the reader's language."""
    main = found["metric"]["name"]
    shown = found["metrics"][main]
    apart = shown["difference"]
    values = {
        "better": found["a"] if found["outcome"] == "lost" else found["b"], "a": found["a"], "b": found["b"], "metric": pretty(main),
        "of_a": number(shown["a"]["value"]), "of_b": number(shown["b"]["value"]), "apart": signed(apart["value"]),
        "low": signed(apart["low"]), "high": signed(apart["high"]), "rows": f"{found['rows']:,}",
    }  # fmt: skip
    if apart["low"] is None:
        return tr(
            "{a} and {b} cannot be told apart: {rows} to test on are too few, or too much alike, for an interval of {metric}.", **values
        )
    if found["outcome"] == "unclear":
        return tr(
            "{a} and {b} cannot be told apart on {rows} test rows: {metric} {of_a} and {of_b}; "
            "the difference of {apart} (95 % interval {low} to {high}) includes zero.",
            **values,
        )
    return tr(
        "{better} is better: {metric} {of_a} for {a}, {of_b} for {b}; "
        "the difference of {apart} (95 % interval {low} to {high}) excludes zero.",
        **values,
    )
