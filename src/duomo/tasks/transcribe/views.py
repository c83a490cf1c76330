"""What the scorecard shows of a transcriber."""

import numpy as np

from duomo.core.contract import Evidence, View
from duomo.core.messages import tr

EXAMPLES = 12
BINS = 6


def draw(evidence: Evidence) -> list[View]:
    """References against answers, from the best row to the worst, and the error rate by length."""
    found = [_by_length(evidence)] if len(evidence["edits"]) else []
    if "truth" in evidence and len(evidence["edits"]):
        found.insert(0, _examples(evidence))
    return found


def _examples(evidence: Evidence) -> View:
    rates = evidence["edits"] / np.maximum(1, evidence["characters"])
    order = np.argsort(rates, kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, min(EXAMPLES, len(order))).round().astype(int))]
    items = []
    for row in rows:
        answer = tr("{answer} (CER {rate:.0%})", answer=evidence["prediction"][row] or "—", rate=float(rates[row]))
        items.append({"title": str(evidence["truth"][row]) or "—", "text": answer})
    return View("texts", tr("Reference and answer"), {"items": items}, tr("From the best row to the worst, evenly spaced."))


def _by_length(evidence: Evidence) -> View:
    lengths, edits = evidence["characters"], evidence["edits"]
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, BINS + 1)).astype(np.int64))
    place = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, max(0, len(edges) - 2))
    labels, values = [], []
    for number in np.unique(place):
        inside = place == number
        labels.append(f"{lengths[inside].min()}–{lengths[inside].max()}")
        values.append(round(float(edits[inside].sum() / max(1, lengths[inside].sum())), 4))
    data = {"labels": labels, "values": values}
    return View("bars", tr("Character error rate by length"), data, tr("Characters of the reference, in groups of about as many rows."))
