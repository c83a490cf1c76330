"""The model card (Mitchell et al., 2019, arXiv:1810.03993) in Markdown, from the scorecard."""

import re
from collections.abc import Mapping
from typing import Any

from duomo.core.messages import tr
from duomo.evaluate.progress import since
from duomo.evaluate.scorecard import caution, cells, pretty, sentence, weak_spots


def model_card(card: Mapping[str, Any], path: str = "") -> str:
    """Markdown: intended use, data, figures with intervals, limits, how to run; `path` is the run folder as a user types it."""
    facts = card["facts"]
    parts = [
        f"# {safe(card['name'])}",
        tr("A model for the task *{task}*, trained and tested by Duomo.", task=safe(card["task"])),
        *_use(card),
        *_data(card),
        *_figures(card),
        *_limits(card),
        f"## {tr('How to run')}",
        "```\n{lines}\n```".format(lines="\n".join(f"duomo {verb} {path or 'runs/NAME'}{rest}" for verb, rest in COMMANDS)),
    ]
    if facts.get("versions"):
        versions = ", ".join(f"{safe(name)} {safe(version)}" for name, version in facts["versions"].items())
        parts += [f"## {tr('Provenance')}", tr("Versions: {versions}.", versions=versions)]
        if facts.get("data_hash"):
            parts.append(tr("Hash of the data: {hash}.", hash=f"`{safe(facts['data_hash'])}`"))
    return "\n\n".join(parts) + "\n"


COMMANDS = (("predict", " new.csv -o out.csv"), ("evaluate", " test.csv"), ("serve", ""))


def safe(value: Any) -> str:
    """User text that can neither break a table nor become HTML or a link."""
    text = re.sub(r"\s+", " ", str(value)).strip()
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text)


def _parameters(facts: Mapping[str, Any]) -> int:
    return int(facts.get("parameters") or 0)


def _use(card: Mapping[str, Any]) -> list[str]:
    facts = card["facts"]
    found = [f"## {tr('Intended use')}"]
    found.append(tr("Use it on data like those it was trained on: same columns, same origin. Elsewhere its figures do not hold."))
    if facts.get("model"):
        parameters = facts.get("parameters")
        size = tr(" with {count} parameters", count=f"{parameters:,}") if parameters is not None else ""
        found.append(tr("Architecture: {model}{size}.", model=safe(facts["model"]), size=size))
    if facts.get("trained", _parameters(facts)) != _parameters(facts):
        found.append(tr("Trained from it: {count} parameters, {share:.2%}; the others are as they were given.",
                        count=f"{facts['trained']:,}", share=facts["trained"] / max(1, _parameters(facts))))  # fmt: skip
    if facts.get("voices"):
        shares = ", ".join(f"{tr(name)} {share:.0%}" for name, share in facts["voices"].items())
        found.append(tr("Simpler models of the same rows answer with it. Weights, chosen on held-out rows: {shares}.", shares=shares))
    if facts.get("reason"):
        found.append(safe(facts["reason"]))
    return found


def _data(card: Mapping[str, Any]) -> list[str]:
    facts, rows = card["facts"], card["facts"].get("rows") or {}
    found = [f"## {tr('Data')}"]
    if rows:
        found.append(tr("Rows: {rows}.", rows=", ".join(f"{safe(tr(name))} {count:,}" for name, count in rows.items())))
    if facts.get("split"):
        found.append(tr("Split: {split}", split=safe(facts["split"])))
    found += since(facts)
    found += [f"- {safe(problem)}" for problem in facts.get("problems") or []]
    return found if len(found) > 1 else []


def _figures(card: Mapping[str, Any]) -> list[str]:
    shown = [result for result in card["results"] if result["metrics"]]
    head = [tr("metric"), *[safe(tr(result["name"])) for result in shown]]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for metric in shown[0]["metrics"]:
        lines.append(f"| {' | '.join([safe(pretty(metric)), *cells(shown, metric, ' ({} – {})')])} |")
    note = tr(
        "On {rows} test rows that training and model choice never saw; in brackets the 95 % bootstrap interval.",
        rows=f"{card['test']['rows']:,}",
    )
    return [f"## {tr('Figures')}", safe(sentence(card["verdict"])), "\n".join(lines), note]


def _limits(card: Mapping[str, Any]) -> list[str]:
    found = [tr("The figures hold for rows drawn like the test rows. Fairness, safety and drift were not measured.")]
    if caution(card):
        found.append(caution(card))
    found += weak_spots(card, 5, safe)
    return [f"## {tr('Limits')}", "\n".join(f"- {line}" for line in found)]
