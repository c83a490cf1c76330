"""What `duomo inspect` shows of an audit: one HTML page in the scorecard's look, and a terminal summary.

The audit is a dict of JSON values:
    name, rows, sampled
    columns   [{name, kind, reason, missing, distinct, chart {kind: histogram, edges, values} or {kind: bars, labels, values}}]
    findings  [{severity error|warning|note, sentence, rows [number from 0, …], remedy}]
    target, target_reason, balance {class: rows}
    proposal  {task, target, split, recipe, reason, notes [sentence, …], …}: shown as they are
    example   {title, parts [[text, learned], …]} of a task that shows what the model would read, or missing
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from duomo.core.files import write_atomically
from duomo.core.messages import folded, together, tr
from duomo.core.reporter import Reporter
from duomo.evaluate.report.html import flat, page
from duomo.evaluate.report.plots import bars, figure, histogram, short

MOST_COLUMNS = 200
MOST_LINES, LINES = 80, 40
"""Columns that a terminal shows all of, and the first of more, with the target."""
MOST_ROWS = 12
LEVELS = " ▁▂▃▄▅▆▇█"
NARROW = 16
"""Characters of a histogram in the terminal."""
FIRST = ("problem", "task", "target", "model", "recipe", "reason", "how", "group", "time")
NAMES = {"how": "split", "group": "grouped by", "time": "ordered by"}
TONES = {"error": "error", "warning": "warning", "note": "info"}
MARKS = {"error": "✗", "warning": "!", "note": "·"}


def render(audit: Mapping[str, Any]) -> str:
    """The page of an audit."""
    findings, proposal = _sorted(audit), audit.get("proposal") or {}
    columns = list(audit["columns"])
    more = len(columns) - MOST_COLUMNS
    name = str(audit.get("name", "data"))
    return page(
        "inspect.html.jinja",
        {
            "title": tr("{name}: what is in it", name=name), "eyebrow": tr("Duomo inspect"), "heading": name, "subtitle": _size(audit),
            "tone": TONES.get(findings[0]["severity"], "info") if findings and findings[0]["severity"] != "note" else "ok",
            "summary": {
                "headline": _headline(findings),
                "lines": [str(finding["sentence"]) for finding in findings if finding["severity"] == "error"][:3],
            },
            "proposal": _proposal(proposal), "example": audit.get("example"),
            "findings": [_finding(finding) for finding in findings],
            "columns": [_column(column, _targets(audit)) for column in columns[:MOST_COLUMNS]],
            "left_out": tr("{count} more columns are not drawn.", count=more) if more > 0 else "",
        },
    )  # fmt: skip


def write(audit: Mapping[str, Any], path: Path) -> None:
    """Write the page of an audit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(audit).encode())


def show(audit: Mapping[str, Any], reporter: Reporter) -> None:
    """The audit for a terminal: a line per column with a small histogram, the findings, the proposal."""
    columns = list(audit["columns"])
    targets = _targets(audit)
    shown = (
        columns if len(columns) <= MOST_LINES else [one for place, one in enumerate(columns) if place < LINES or one["name"] in targets[:1]]
    )
    rows = [
        [str(one["name"]), tr(str(one["kind"])), sketch(one), _missing(one, audit), _distinct(one), str(one.get("reason") or "")]
        for one in shown
    ]
    title = tr(
        "{name}: {rows} rows, {columns} columns", name=audit.get("name", "data"), rows=f"{audit.get('rows', 0):,}", columns=len(columns)
    )
    reporter.table(title, [tr("column"), tr("kind"), tr("distribution"), tr("missing"), tr("distinct"), tr("why")], rows)
    if len(shown) < len(columns):
        reporter.say(tr("{count} more columns are not shown.", count=len(columns) - len(shown)))
    sentences = []
    for finding in _sorted(audit):
        mark = MARKS.get(str(finding["severity"]), "·")
        told = _finding(finding)
        some = told["rows"] if finding.get("code") != "missing" else []
        where = tr("For example rows {rows}, counted from 1.", rows=some) if some else ""
        sentences.append(f"{mark} {together([told['sentence'], where, told['remedy']])}")
    for sentence in folded(sentences):
        reporter.say(sentence)
    for name, value in _proposal(audit.get("proposal") or {}):
        reporter.say(tr("{name}: {value}", name=name, value=value))


def sketch(column: Mapping[str, Any]) -> str:
    """A histogram or bars in one line of block characters; bars are followed by the most frequent value."""
    chart = column.get("chart") or {}
    if not chart.get("values"):
        return ""
    drawn = blocks(chart["values"])
    if chart["kind"] == "histogram":
        return drawn
    share = chart["values"][0] / (sum(chart["values"]) or 1)
    return f"{drawn} {short(chart['labels'][0], 12)} {share:.0%}"


def blocks(counts: Sequence[float]) -> str:
    """Counts as at most 16 block characters; neighbours are added up where there are more."""
    size = max(1, -(-len(counts) // NARROW))
    summed = [sum(counts[start : start + size]) for start in range(0, len(counts), size)]
    top = max(summed, default=0) or 1
    return "".join(LEVELS[0 if not count else max(1, round(count / top * (len(LEVELS) - 1)))] for count in summed)


def _size(audit: Mapping[str, Any]) -> str:
    rows, sampled = audit.get("rows") or 0, audit.get("sampled")
    found = tr("{rows} rows, {columns} columns", rows=f"{rows:,}", columns=len(audit["columns"]))
    if sampled is not None and sampled < rows:
        found += tr("; distributions come from {sampled} of them", sampled=f"{sampled:,}")
    return found


def _sorted(audit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    order = list(TONES)
    return sorted(
        audit.get("findings") or [], key=lambda finding: order.index(finding["severity"]) if finding["severity"] in order else len(order)
    )


def _headline(findings: Sequence[Mapping[str, Any]]) -> str:
    errors = sum(finding["severity"] == "error" for finding in findings)
    warnings = sum(finding["severity"] == "warning" for finding in findings)
    if errors:
        return tr("{count} things must be fixed first", count=errors) if errors > 1 else tr("One thing must be fixed first")
    if warnings:
        return tr("Usable, with {count} things to look at", count=warnings) if warnings > 1 else tr("Usable, with one thing to look at")
    return tr("Ready to be learned from")


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    rows = list(finding.get("rows") or [])
    shown = ", ".join(str(row + 1) for row in rows[:MOST_ROWS]) + (" …" if len(rows) > MOST_ROWS else "")
    severity = str(finding["severity"])
    return {
        "tone": TONES.get(severity, "info"), "severity": tr(severity), "sentence": str(finding["sentence"]), "rows": shown,
        "remedy": str(finding.get("remedy") or ""),
    }  # fmt: skip


def _proposal(proposal: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What would be trained, the choice of task and model first."""
    names = dict.fromkeys([*(name for name in FIRST if name in proposal), *proposal])
    said = {**proposal, "how": tr(str(proposal.get("how") or ""))}
    known = [(NAMES.get(name, name), said[name]) for name in names if proposal[name] not in (None, "", [], {}, ())]
    return [(tr(str(name).replace("_", " ")), together(value) if name == "notes" else flat(value)) for name, value in known]


def _targets(audit: Mapping[str, Any]) -> list[str]:
    """The target of the proposal, or else of the audit."""
    found = (audit.get("proposal") or {}).get("target") or audit.get("target") or []
    return [found] if isinstance(found, str) else list(found)


def _column(column: Mapping[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    name = str(column["name"])
    counts = [tr("missing: {count}", count=figure(column.get("missing") or 0))]
    counts += [tr("distinct: {count}", count=figure(column["distinct"]))] if column.get("distinct") is not None else []
    return {
        "name": name, "kind": tr(str(column["kind"])), "target": name in targets, "reason": str(column.get("reason") or ""),
        "picture": _picture(column), "counts": " · ".join(counts),
    }  # fmt: skip


def _picture(column: Mapping[str, Any]) -> Markup:
    chart = column.get("chart") or {}
    if not chart.get("values"):
        return Markup()
    if chart["kind"] == "histogram":
        return histogram(chart["values"], chart["edges"], str(column["name"]), chart.get("labels"))
    return bars({"labels": chart["labels"][:8], "values": chart["values"][:8]}, str(column["name"]), 300)


def _missing(column: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    missing, rows = column.get("missing") or 0, audit.get("rows") or 0
    return "" if not missing else f"{missing:,} ({missing / rows:.1%})" if rows else f"{missing:,}"


def _distinct(column: Mapping[str, Any]) -> str:
    return "" if column.get("distinct") is None else f"{column['distinct']:,}"
