"""What the scorecard shows of a classifier.

Legend: N rows, C classes.
"""

import numpy as np

from duomo.core.contract import View
from duomo.core.messages import tr
from duomo.tasks.classify.labels import Labels
from duomo.tasks.classify.measures import f1

MATRIX_CLASSES = 30
BAR_CLASSES = 40
POINTS = 200
BINS = 10


def draw(labels: Labels, p_NC: np.ndarray, target: np.ndarray, of: str, place: int = 0) -> list[View]:
    """All views of one head; `of` is its target's name where there are several."""
    names = [str(label) for label in labels.classes[place]]
    suffix = f" ({of})" if of else ""
    if labels.lists:
        known = (target >= 0).all(axis=1)
        p_NC, target_NC = p_NC[known], target[known] == 1
        if not len(p_NC):
            return []
        hits = (target_NC & (p_NC >= 0.5)).sum(axis=0)
        possible = target_NC.sum(axis=0) + (p_NC >= 0.5).sum(axis=0)
        scores = np.divide(2 * hits, possible, out=np.zeros(len(names)), where=possible > 0)
        return [_bars(names, scores, target_NC.sum(axis=0), suffix), _reliability(p_NC.ravel(), target_NC.ravel(), suffix)]
    known = target >= 0
    p_NC, target = p_NC[known], target[known]
    if not len(p_NC):
        return []
    chosen = p_NC.argmax(axis=1)
    counts = np.bincount(target, minlength=len(names))
    found = [_confusion(names, target, chosen, counts, suffix), _reliability(p_NC.max(axis=1), chosen == target, suffix)]
    if len(names) == 2 and 0 < counts[1] < len(target):
        found += _threshold_curves(p_NC[:, 1], target == 1, names[1], suffix)
    found.append(_bars(names, np.nan_to_num(f1(target, chosen, len(names))), counts, suffix))
    return found


def _confusion(names: list[str], target: np.ndarray, chosen: np.ndarray, counts: np.ndarray, suffix: str) -> View:
    classes = len(names)
    matrix = np.bincount(target * classes + chosen, minlength=classes * classes).reshape(classes, classes)
    note = tr("Rows are true classes, columns are predictions.")
    if classes > MATRIX_CLASSES:
        kept = np.sort(np.argsort(-counts, kind="stable")[:MATRIX_CLASSES])
        matrix, names = matrix[np.ix_(kept, kept)], [names[c] for c in kept]
        note += " " + tr("The {kept} most frequent of {classes} classes.", kept=MATRIX_CLASSES, classes=classes)
    return View("matrix", tr("Confusion") + suffix, {"rows": names, "columns": names, "values": matrix.tolist()}, note)


def _reliability(confidence: np.ndarray, right: np.ndarray, suffix: str) -> View:
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    kept = rows > 0
    x = np.bincount(place, weights=confidence, minlength=BINS)[kept] / rows[kept]
    y = np.bincount(place, weights=right, minlength=BINS)[kept] / rows[kept]
    data = {
        "x": np.round(x, 4).tolist(), "lines": {tr("model"): np.round(y, 4).tolist()},
        "x_label": tr("confidence"), "y_label": tr("share that was right"), "diagonal": True,
    }  # fmt: skip
    return View(
        "curve", tr("Reliability") + suffix, data, tr("An honest model lies on the diagonal: of answers given with 80 %, 80 % are right.")
    )


def _thin(values: np.ndarray) -> np.ndarray:
    """At most POINTS places, the first and the last among them."""
    return np.unique(np.linspace(0, len(values) - 1, min(POINTS, len(values))).round().astype(np.int64))


def _threshold_curves(scores: np.ndarray, positive: np.ndarray, name: str, suffix: str) -> list[View]:
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[last]
    recall, false = hits / hits[-1], (last + 1 - hits) / max(1, (~positive).sum())
    precision = hits / (last + 1)
    kept = _thin(last)
    roc = {
        "x": [0.0, *np.round(false[kept], 4).tolist()], "lines": {tr("model"): [0.0, *np.round(recall[kept], 4).tolist()]},
        "x_label": tr("false positive rate"), "y_label": tr("true positive rate"), "diagonal": True,
    }  # fmt: skip
    pr = {
        "x": np.round(recall[kept], 4).tolist(), "lines": {tr("model"): np.round(precision[kept], 4).tolist()},
        "x_label": tr("recall"), "y_label": tr("precision"), "diagonal": False,
    }  # fmt: skip
    note = tr("Positive class: {name}.", name=name)
    return [View("curve", tr("ROC curve") + suffix, roc, note), View("curve", tr("Precision and recall") + suffix, pr, note)]


def _bars(names: list[str], scores: np.ndarray, counts: np.ndarray, suffix: str) -> View:
    """F1 of each class; with very many, the worst."""
    kept = np.arange(len(names))
    note = ""
    if len(names) > BAR_CLASSES:
        kept = np.argsort(scores, kind="stable")[:BAR_CLASSES]
        note = tr("The {kept} worst of {classes} classes.", kept=BAR_CLASSES, classes=len(names))
    labels = [f"{names[c]} ({int(counts[c])})" for c in kept]
    return View("bars", tr("F1 by class") + suffix, {"labels": labels, "values": np.round(scores[kept], 4).tolist()}, note)
