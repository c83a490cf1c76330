"""The scorecard: what the model is worth on rows it never saw, beside simple models, with intervals; pure JSON values."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from duomo.core.contract import CLUSTER, Evidence, Task, View
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.core.retranslated import retell
from duomo.core.table import Table
from duomo.evaluate.baselines import Rival, run_rivals
from duomo.evaluate.bootstrap import LEVEL, Interval, Resampled, difference, interval, paired, resample, row_count, witnessed
from duomo.evaluate.slices import label, worst_slices
from duomo.evaluate.worst_errors import Answer, beside, confused, worst_errors

FORMAT = 1
SENTENCES, FACTS = ("note", "title", "x_label", "y_label"), ("reason", "split", "problems")
"""What was said in the language of who trained, and facts that were."""
MOST_FIGURES, FIGURES = 60, 30
"""Figures that a terminal shows all of, and the first of more."""
FEW_ROWS = 50
"""With fewer test rows the scorecard warns that little can be told."""


@dataclass(frozen=True)
class ScorecardInputs:
    """Everything that judging needs; only the first four have no default."""

    task: Task
    evidence: Evidence
    """The model's evidence on the untouched test, one row per test row where the task keeps them (N, ...)."""
    test: Table
    train: Table
    targets: Sequence[str] = ()
    """Columns of the truth; they are slices too, but not cells of the worst errors."""
    group: str = ""
    """The column whose groups stay on one side of the split: they are the witnesses, not their rows."""
    answer: Answer | None = None
    """The model's answers (`prediction`, `confidence`, …) for a few rows of the test, asked for the worst errors only."""
    valid: Mapping[str, float] = field(default_factory=dict)
    """Metrics on validation at the kept checkpoint."""
    history: Sequence[Mapping[str, Any]] = ()
    """[{"step": int, "loss": float | None, "valid": {metric: value}}, ...]: loss and metrics on validation, where it was evaluated."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Shown as they are, in this order; the page knows these keys: name, model, size, parameters, trained, reason, split (a sentence),
    recipe (nested), rows {train, valid, test}, seconds {training, …}, memory_mb, data_hash, versions {…}, machine, seed,
    preflight {seconds | memory_bytes | disk_bytes: {predicted, actual, ratio}}, execution [{…}, …], problems [sentence, …]."""
    views: Sequence[View] = ()
    """Pictures besides those that the task draws from its evidence."""
    baseline_seconds: float = 60.0
    """Time that fitting one classical baseline may take."""
    bootstrap_seconds: float = 1.5
    seed: int = 0


def build(inputs: ScorecardInputs) -> dict[str, Any]:
    """Judge the model and its baselines on the test; the result holds JSON values only (no NaN)."""
    rivals = run_rivals(inputs.task, inputs.train, inputs.test, inputs.baseline_seconds, inputs.seed)
    competitors = {"model": inputs.evidence} | {
        f"baseline {place}": rival.evidence for place, rival in enumerate(rivals) if rival.evidence is not None
    }
    competitors = {name: witnessed(evidence, inputs.test, inputs.group) for name, evidence in competitors.items()}
    judged = resample(inputs.task.measure, competitors, inputs.seed, inputs.bootstrap_seconds)
    model, units = judged["model"], _units(inputs.task, competitors["model"])
    results = [_result("model", str(inputs.facts.get("model", "model")), model, None)]
    verdicts = []
    for place, rival in enumerate(rivals):
        found = judged.get(f"baseline {place}")
        spent = {name: getattr(rival, name) for name in ("fit_seconds", "judge_seconds", "fitted_rows", "note")}
        results.append(_result(rival.kind, rival.name, found, model) | spent)
        if found is not None:
            verdicts.append(_verdict(inputs.task, rival, model, found) | {"units": units})
    views = [*_confused(inputs), *inputs.task.views(inputs.evidence), *inputs.views]
    card = {
        "format": FORMAT, "name": str(inputs.facts.get("name", inputs.test.name)), "task": inputs.task.name,
        "metric": vars(inputs.task.metric), "chosen_by": vars(inputs.task.chosen_by or inputs.task.metric),
        "test": {"rows": len(inputs.test), "digest": test_digest(inputs.test, inputs.targets)},
        "bootstrap": {
            "draws": max((len(values) for values in model.draws.values()), default=0), "rows": model.rows, "units": units,
            "rows_per_draw": model.rows_per_draw, "seed": inputs.seed, "level": LEVEL,
        },
        "results": results, "verdict": _overall(verdicts, inputs.task.metric.higher_is_better), "verdicts": verdicts,
        "valid": dict(inputs.valid),
        "views": [{"kind": view.kind, "title": view.title, "data": dict(view.data), "note": view.note} for view in views], "slices": {},
        "errors": {}, "history": [dict(point) for point in inputs.history], "facts": dict(inputs.facts),
    }  # fmt: skip
    cleaned: dict[str, Any] = plain(card | _looks(inputs))
    return cleaned


def _confused(inputs: ScorecardInputs) -> list[View]:
    if row_count(inputs.evidence) != len(inputs.test) or not len(inputs.test):
        return []
    groups = inputs.task.side_by_side(inputs.evidence)
    if groups or inputs.task.apart:
        found = beside(inputs.test, groups)
    else:
        found = confused(inputs.test, inputs.task.errors(inputs.evidence), inputs.targets, inputs.answer)
    return [found] if found else []


def _looks(inputs: ScorecardInputs) -> dict[str, Any]:
    """Worst slices and worst errors, where evidence rows are test rows."""
    if row_count(inputs.evidence) != len(inputs.test) or not len(inputs.test):
        note = tr("The task judges pieces that are not rows of the table, so that rows cannot be pointed at.")
        return {"slices": {"tested": 0, "worst": [], "note": note}, "errors": {"items": [], "note": note}}
    errors = inputs.task.errors(inputs.evidence)
    columns = [name for name in inputs.test.names if inputs.test.kinds.get(name) != "id"]
    return {
        "slices": worst_slices(inputs.test, errors, columns) | {"note": ""},
        "errors": worst_errors(inputs.test, errors, list(inputs.targets), inputs.answer),
    }


def _result(kind: str, name: str, found: Resampled | None, model: Resampled | None) -> dict[str, Any]:
    if found is None:
        return {"kind": kind, "name": name, "metrics": {}, "difference": {}}
    metrics = {metric: vars(interval(found, metric)) for metric in found.figures}
    apart = {} if model is None else {metric: vars(difference(model, found, metric)) for metric in found.figures if metric in model.figures}
    return {"kind": kind, "name": name, "metrics": metrics, "difference": apart}


def _units(task: Task, evidence: Evidence) -> str:
    """What is drawn again for the intervals: where people or groups stay on one side of the split, they are."""
    return "people" if task.apart else "groups" if CLUSTER in evidence else "rows"


def _counted(units: Mapping[str, Any]) -> str:
    """How many the test has, with what they are."""
    if units.get("units") == "people":
        return tr("{count:,} people in the test", count=units["rows"])
    if units.get("units") == "groups":
        return tr("{count:,} groups in the test", count=units["rows"])
    return tr("{count:,} test rows", count=units["rows"])


def _verdict(task: Task, rival: Rival, model: Resampled, found: Resampled) -> dict[str, Any]:
    name, higher = task.metric.name, task.metric.higher_is_better
    apart = difference(model, found, name)
    return {
        "outcome": outcome(apart, higher), "metric": name, "baseline": rival.name, "kind": rival.kind,
        "model_value": model.figures.get(name, np.nan), "baseline_value": found.figures.get(name, np.nan), **vars(apart),
        "rows": model.rows, "paired": paired(model, found), "note": rival.note,
    }  # fmt: skip


def outcome(apart: Interval, higher_is_better: bool) -> str:
    """won, lost or unclear: whether the interval of model - other lies on one side of zero."""
    if not apart.excludes_zero():
        return "unclear"
    return "won" if (apart.low > 0) == higher_is_better else "lost"


def _overall(verdicts: list[dict[str, Any]], higher: bool) -> dict[str, Any]:
    """The verdict against the strongest baseline; a lost comparison with any of them weighs most."""
    if not verdicts:
        return {"outcome": "alone"}
    strongest = max(verdicts, key=lambda item: (item["outcome"] == "lost", _rank(item["baseline_value"], higher)))
    return dict(strongest)


def _rank(value: float, higher: bool) -> float:
    if not np.isfinite(value):
        return -np.inf
    return value if higher else -value


def sentence(verdict: Mapping[str, Any]) -> str:
    """What the comparison says, plainly, in the reader's language."""
    if verdict["outcome"] == "alone":
        return tr("No baseline could be computed, so there is nothing to compare these figures with.")
    values = {
        "baseline": tr(verdict["baseline"]), "metric": pretty(verdict["metric"]), "mine": number(verdict["model_value"]),
        "theirs": number(verdict["baseline_value"]), "apart": signed(verdict["value"]), "low": signed(verdict["low"]),
        "high": signed(verdict["high"]), "rows": _counted(verdict),
    }  # fmt: skip
    if verdict["low"] is None or not np.isfinite(verdict["low"]):
        return tr(
            "The test cannot tell the model and {baseline} apart: {metric} {mine} against {theirs}; {rows} are too few, "
            "or too much alike, for an interval. Test on more.",
            **values,
        )
    if verdict["outcome"] == "won":
        return tr(
            "The model beats {baseline}: {metric} {mine} against {theirs}. "
            "The difference of {apart} (95 % interval {low} to {high}) excludes zero.",
            **values,
        )
    if verdict["outcome"] == "lost":
        return tr(
            "The simple model wins: {baseline} reaches {metric} {theirs}, the trained model {mine}. The difference of {apart} "
            "(95 % interval {low} to {high}) excludes zero: use the simple model, or give this one more data or time.",
            **values,
        )
    return tr(
        "The test cannot tell the model and {baseline} apart: {metric} {mine} against {theirs}. The difference of {apart} "
        "(95 % interval {low} to {high}) includes zero on {rows}; the simpler one is the safer choice.",
        **values,
    )


HEADLINES = {
    "won": "The model beats the simple ones",
    "lost": "The simple model wins",
    "unclear": "Too close to call",
    "alone": "Nothing to compare with",
}


def headline(verdict: Mapping[str, Any]) -> str:
    return tr(HEADLINES[verdict["outcome"]])


def caution(card: Mapping[str, Any]) -> str:
    """A warning where the test is too small to lean on; else empty."""
    rows, units = card["bootstrap"]["rows"], card["bootstrap"].get("units")
    if rows >= FEW_ROWS:
        return ""
    if units == "groups":
        return tr("The test has only {rows} groups: read every figure through its interval.", rows=rows)
    if units == "people":
        return tr("The test has only {rows} people: read every figure through its interval.", rows=rows)
    return tr("The test has only {rows} rows: read every figure through its interval.", rows=card["test"]["rows"])


def pretty(metric: str) -> str:
    """A metric's name as a person reads it."""
    of, dot, name = metric.rpartition(".")  # of several targets each has its own: price.rmse
    return f"{of}{dot}{tr(name.replace('_', ' '))}"


def number(value: float | None, width: float | None = None) -> str:
    """Four figures or so; with the width of an interval, as many decimals as it gives meaning to."""
    if value is None or not np.isfinite(value):
        return "—"
    size = abs(value)
    decimals = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    if width and np.isfinite(width):
        decimals = max(decimals, min(6, int(np.ceil(-np.log10(width))) + 1)) if size < 10 else decimals
    if size and size < 5e-4 and not width:
        return f"{value:.2g}"
    return f"{value:,.{decimals}f}"


def signed(value: float | None) -> str:
    text = number(value)
    return text.replace("-", "−") if text.startswith(("-", "—")) else f"+{text}"


def test_digest(test: Table, targets: Sequence[str]) -> str:
    """SHA-256 of the truth columns (or of the first), so that two runs can tell whether they met the same test."""
    names = [name for name in targets if name in test.names] or test.names[:1]
    sink = pa.BufferOutputStream()
    chosen = test.data.select(names).combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, chosen.schema) as writer:
        writer.write_table(chosen)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def plain(value: Any) -> Any:
    """JSON values only: arrays become lists, NaN and infinities None, other objects their text."""
    if isinstance(value, torch.Tensor):
        return plain(value.detach().cpu().tolist())
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def told(card: Mapping[str, Any]) -> dict[str, Any]:
    """The scorecard with the sentences that it keeps in the reader's language."""
    found: dict[str, Any] = retell(dict(card), SENTENCES)
    return found | {"facts": {name: retell(value, (), name in FACTS) for name, value in found["facts"].items()}}


def show(card: Mapping[str, Any], reporter: Reporter) -> None:
    """The scorecard for a terminal: one table, the verdict, and what else must not be missed."""
    card = told(card)
    shown = [result for result in card["results"] if result["metrics"]]
    metrics = list(dict.fromkeys([card["metric"]["name"], *shown[0]["metrics"]]))
    rows = [[pretty(metric), *cells(shown, metric)] for metric in (metrics if len(metrics) <= MOST_FIGURES else metrics[:FIGURES])]
    title = tr("Scorecard of {name}: {rows} untouched test rows", name=card["name"], rows=f"{card['test']['rows']:,}")
    reporter.table(title, [tr("metric"), *[tr(result["name"]) for result in shown]], rows)
    if len(rows) < len(metrics):
        reporter.say(tr("{count} more figures are on the scorecard's page.", count=len(metrics) - len(rows)))
    for result in card["results"]:
        if result.get("note"):
            reporter.say(f"{tr(result['name'])}: {result['note']}")
    for line in (sentence(card["verdict"]), caution(card), *weak_spots(card, 3)):
        if line:
            reporter.say(line)


def ranged(found: Mapping[str, Any], form: str = " [{}, {}]") -> tuple[str, str]:
    """A figure as text, and its interval in this form, empty where there is none."""
    if found["low"] is None or found["high"] is None:
        return number(found["value"]), ""
    width = found["high"] - found["low"]
    return number(found["value"], width), form.format(number(found["low"], width), number(found["high"], width))


def cells(results: Sequence[Mapping[str, Any]], metric: str, form: str = " [{}, {}]") -> list[str]:
    """One metric of each competitor with its interval."""
    return ["".join(ranged(result["metrics"][metric], form)) if metric in result["metrics"] else "—" for result in results]


def weak_spots(card: Mapping[str, Any], most: int, safe: Callable[[str], str] = str) -> list[str]:
    """Slices that stand out, in words; what is the user's goes through `safe`."""
    return [
        tr("Weak spot: where {slice}, the error is {times} times that of the other rows on average ({rows} rows).",
           slice=safe(label(item)), times=f"{min(item['error'] / max(item['rest'], 1e-12), 999):.3g}", rows=item["rows"])
        for item in [item for item in card["slices"].get("worst", []) if item["stands_out"]][:most]
    ]  # fmt: skip
