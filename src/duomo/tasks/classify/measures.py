"""Metrics of classification, written for the bootstrap: every one is a few vectorised passes over the rows.

Legend: N rows, C classes. target (N,) class number, UNSEEN where training never saw the class; p_NC probabilities.
"""

import numpy as np

from duomo.tasks.classify.labels import MISSING

BINS = 15
FLOOR = 1e-7
"""Least probability that the log-loss believes, so that one unseen class costs 16 nats and not infinity."""
MOST_CLASSES_AUC = 50


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the share of pairs in the right order, ties counted half; NaN without both classes."""
    above, below = scores[positive], np.sort(scores[~positive])
    if not len(above) or not len(below):
        return float("nan")
    less, not_more = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    return float((less.mean() + not_more.mean()) / (2 * len(below)))


def macro_auc(p_NC: np.ndarray, target: np.ndarray) -> float:
    """The mean over classes of one against the rest, over the classes that occur."""
    found = [auc(p_NC[:, place], target == place) for place in range(p_NC.shape[1])]
    known = [value for value in found if value == value]
    return float(np.mean(known)) if known else float("nan")


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Sum of precision times the step in recall, ties taken together; NaN without a positive."""
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def f1(target: np.ndarray, chosen: np.ndarray, classes: int) -> np.ndarray:
    """(C,) F1 of each class; NaN for a class that neither occurs nor is chosen."""
    right = np.bincount(chosen[chosen == target], minlength=classes)
    possible = np.bincount(target[target >= 0], minlength=classes) + np.bincount(chosen, minlength=classes)
    return np.divide(2 * right, possible, out=np.full(classes, np.nan), where=possible > 0)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over 15 equal bins of confidence (Naeini et al. 2015)."""
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(place, weights=confidence, minlength=BINS) - np.bincount(place, weights=right, minlength=BINS)
    return float(np.abs(gap).sum() / max(1, len(confidence)))


def one_target(p_NC: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """accuracy, macro_f1, log_loss, auc, ece and, from six classes on, top_5."""
    kept = target != MISSING
    if not kept.all():
        p_NC, target = p_NC[kept], target[kept]
    rows, classes = p_NC.shape
    if not rows:
        return {}
    chosen = p_NC.argmax(axis=1)
    right = chosen == target
    believed = np.where(target >= 0, p_NC[np.arange(rows), np.maximum(target, 0)], 0.0)
    found = {"accuracy": float(right.mean()), "macro_f1": float(np.nanmean(f1(target, chosen, classes)))}
    if classes == 2:
        found["auc"] = auc(p_NC[:, 1], target == 1)
    elif classes <= MOST_CLASSES_AUC:
        found["auc"] = macro_auc(p_NC, target)
    if classes >= 6:
        found["top_5"] = float((((p_NC > believed[:, None]).sum(axis=1) < 5) & (target >= 0)).mean())
    found["log_loss"] = float(-np.log(np.clip(believed, FLOOR, 1.0), dtype=np.float64).mean())
    found["ece"] = calibration_error(p_NC[np.arange(rows), chosen].astype(np.float64), right)
    return {name: value for name, value in found.items() if value == value}


def lists(p_NC: np.ndarray, target_NC: np.ndarray, unseen: np.ndarray) -> dict[str, float]:
    """micro_f1, macro_f1, subset_accuracy, mean_ap, log_loss; an unseen label of a row counts as missed."""
    known = target_NC >= 0
    true, chosen = (target_NC == 1), (p_NC >= 0.5) & known
    hits = (true & chosen).sum(axis=0)
    possible = true.sum(axis=0) + chosen.sum(axis=0)
    per_class = np.divide(2 * hits, possible, out=np.full(len(hits), np.nan), where=possible > 0)
    everything = possible.sum() + unseen.sum()
    precisions = [average_precision(p_NC[known[:, c], c], true[known[:, c], c]) for c in range(p_NC.shape[1])]
    occurring = [value for value in precisions if value == value]
    believed = np.clip(np.where(true, p_NC, 1 - p_NC), FLOOR, 1.0)[known]
    return {
        "micro_f1": float(2 * hits.sum() / everything) if everything else 0.0,
        "macro_f1": float(np.nanmean(per_class)) if (possible > 0).any() else 0.0,
        "subset_accuracy": float((((true == chosen) | ~known).all(axis=1) & (unseen == 0)).mean()),
        "mean_ap": float(np.mean(occurring)) if occurring else 0.0,
        "log_loss": float(-np.log(believed, dtype=np.float64).mean()) if believed.size else 0.0,
    }


def log_odds(p: np.ndarray) -> np.ndarray:
    """log p, kept finite."""
    return np.log(np.maximum(p.astype(np.float64), 1e-30))


SURE, FIRM = 0.3, 4.0
"""Mean of log T before validation has spoken, and how firmly it is held; chosen on R's small tables (docs/experiments.md)."""


def fit_temperature(p_NC: np.ndarray, target: np.ndarray, several: bool) -> float:
    """The T that makes softmax(log p / T) (or its sigmoid form with `several`) least surprised by the targets.

    Guo et al. 2017, eq. 9, found by golden section over log T in [-2, 2] with the prior of `FIRM` rows or so that answers are somewhat
    too sure: a handful of rows, or rows that are all right, cannot claim certainty. Never changes which class is the most probable.
    """
    if several:
        kept = target >= 0
        odds = (log_odds(p_NC) - log_odds(1 - p_NC))[kept]
        sign = np.where(target[kept] == 1, 1.0, -1.0)
    else:
        kept = target >= 0
        odds, truth = log_odds(p_NC[kept]), target[kept]
    if not kept.any():
        return 1.0

    def surprise(log_t: float) -> float:
        scaled = odds / np.exp(log_t)
        if several:
            return float(np.logaddexp(0.0, -sign * scaled).sum()) + FIRM * (log_t - SURE) ** 2
        top = scaled.max(axis=1)
        norm = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((norm - scaled[np.arange(len(truth)), truth]).sum()) + FIRM * (log_t - SURE) ** 2

    low, high, golden = -2.0, 2.0, (np.sqrt(5.0) - 1) / 2
    for _ in range(30):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if surprise(left) < surprise(right) else (left, high)
    return float(np.exp((low + high) / 2))
