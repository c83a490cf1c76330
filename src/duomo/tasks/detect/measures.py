"""Average precision by COCO's rules, from facts of each picture, so that resampling pictures resamples the metric.

Legend: N pictures, D detections of a picture (padded), G things of a picture, S classes, R ranges of area, T thresholds of overlap.
Source: Lin et al. 2014, "Microsoft COCO", arXiv:1405.0312, and the published evaluation: 101 points of recall, 100 detections,
crowds and things outside of a range of area neither help nor hurt. Compared with pycocotools in the tests.
"""

import numpy as np

from duomo.core.contract import Evidence

THRESHOLDS_T = np.linspace(0.5, 0.95, 10)
RANGES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
POINTS = np.linspace(0.0, 1.0, 101)
MOST_D = 100
ALIKE, HELD = 0.75, 0.8
"""Overlap from which boxes of two classes are one thing in an answer: people on horses overlap less; and share of the smaller of two boxes
from which it lies in the other."""


def areas(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[..., 2] - boxes[..., 0], 0, None) * np.clip(boxes[..., 3] - boxes[..., 1], 0, None)


def overlaps(found_D4: np.ndarray, true_G4: np.ndarray, crowd_G: np.ndarray) -> np.ndarray:
    """(D, G) intersection over union; over the detection's own area where the thing is a crowd."""
    low = np.maximum(found_D4[:, None, :2], true_G4[None, :, :2])
    high = np.minimum(found_D4[:, None, 2:], true_G4[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    own, other = areas(found_D4)[:, None], areas(true_G4)[None]
    return shared / np.maximum(np.where(crowd_G[None], own, own + other - shared), 1e-9)


def held(boxes_D4: np.ndarray, class_D: np.ndarray) -> np.ndarray:
    """(D, D) bool: which boxes of a class lie in one another, whichever in which."""
    share_DD = overlaps(boxes_D4, boxes_D4, np.ones(len(boxes_D4), bool))
    return (np.maximum(share_DD, share_DD.T) > HELD) & (class_D[:, None] == class_D[None])


def again(boxes_D4: np.ndarray, class_D: np.ndarray, alone: bool) -> np.ndarray:
    """(D,) bool: whether a surer box that stays, of whatever class, lies where this one does, so that it would name the same thing a second
    time; where things of a class lie each `alone`, also one of its class that it lies in, or that lies in it."""
    near_DD = overlaps(boxes_D4, boxes_D4, np.zeros(len(boxes_D4), bool)) > ALIKE
    near_DD |= held(boxes_D4, class_D) if alone else False
    found = np.zeros(len(boxes_D4), bool)
    for row in range(1, len(boxes_D4)):
        found[row] = (near_DD[row, :row] & ~found[:row]).any()
    return found


def judge(found: tuple[np.ndarray, np.ndarray], true: tuple[np.ndarray, np.ndarray, np.ndarray], classes: int) -> dict[str, np.ndarray]:
    """One picture's facts. `found`: boxes (D, 4) in pixels, classes (D,), the surest first; `true`: boxes (G, 4), classes (G,), crowd (G,).

    hit, skip (D, R) uint16: bit t tells whether a detection is right, or counts neither way, at threshold t. things (S, R): how many count.
    """
    boxes_D4, class_D = found
    true_G4, class_G, crowd_G = true
    hit, skip = np.zeros((len(boxes_D4), len(RANGES)), np.uint16), np.zeros((len(boxes_D4), len(RANGES)), np.uint16)
    things = np.zeros((classes, len(RANGES)), np.int32)
    area_D, area_G = areas(boxes_D4), areas(true_G4)
    for kind in np.union1d(class_D, class_G).astype(int):
        mine, theirs = np.flatnonzero(class_D == kind), np.flatnonzero(class_G == kind)
        fit_DG = overlaps(boxes_D4[mine], true_G4[theirs], crowd_G[theirs])
        for place, (low, high) in enumerate(RANGES.values()):
            out_G = crowd_G[theirs] | (area_G[theirs] < low) | (area_G[theirs] > high)
            things[kind, place] = int((~out_G).sum())
            order = np.argsort(out_G, kind="stable")
            for bit, threshold in enumerate(THRESHOLDS_T):
                right, passed = _match(fit_DG[:, order], out_G[order], crowd_G[theirs][order], threshold)
                passed |= ~right & ((area_D[mine] < low) | (area_D[mine] > high))
                hit[mine, place] |= (right & ~passed).astype(np.uint16) << np.uint16(bit)
                skip[mine, place] |= passed.astype(np.uint16) << np.uint16(bit)
    return {"hit": hit, "skip": skip, "things": things}


def _match(fit_DG: np.ndarray, out_G: np.ndarray, crowd_G: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(D,) matched, (D,) matched to what does not count: each detection takes the best thing left, one that counts before others."""
    right, passed = np.zeros(len(fit_DG), bool), np.zeros(len(fit_DG), bool)
    taken = np.zeros(len(out_G), bool)
    for row, fit_G in enumerate(fit_DG):
        best, most = -1, min(threshold, 1 - 1e-10)
        for place in range(len(fit_G)):
            if taken[place] and not crowd_G[place]:
                continue
            if best >= 0 and not out_G[best] and out_G[place]:
                break
            if fit_G[place] >= most:
                best, most = place, fit_G[place]
        if best >= 0:
            taken[best] = right[row] = True
            passed[row] = out_G[best]
    return right, passed


def precision(evidence: Evidence, place: int = 0) -> np.ndarray:
    """(S, T) average precision of each class at each threshold in one range of area; NaN for a class without a thing."""
    things_S = evidence["things"][:, :, place].sum(0)
    score, kind = evidence["score"].reshape(-1), evidence["class"].reshape(-1)
    hit, skip = evidence["hit"][:, :, place].reshape(-1), evidence["skip"][:, :, place].reshape(-1)
    order = np.argsort(-score, kind="stable")
    order = order[kind[order] >= 0]
    found = np.full((len(things_S), len(THRESHOLDS_T)), np.nan)
    bits = np.arange(len(THRESHOLDS_T), dtype=np.uint16)
    for label in np.flatnonzero(things_S > 0):
        mine = order[kind[order] == label]
        right = (hit[mine, None] >> bits & 1).astype(np.float64)
        wrong = ((hit[mine, None] | skip[mine, None]) >> bits & 1) == 0
        right_DT, wrong_DT = right.cumsum(0), wrong.cumsum(0)
        recall_DT, share_DT = right_DT / things_S[label], right_DT / np.maximum(right_DT + wrong_DT, 1e-12)
        share_DT = np.maximum.accumulate(share_DT[::-1], 0)[::-1]
        for bit in range(len(THRESHOLDS_T)):
            places = np.searchsorted(recall_DT[:, bit], POINTS, "left")
            found[label, bit] = (
                np.where(places < len(mine), share_DT[np.minimum(places, len(mine) - 1), bit], 0).mean() if len(mine) else 0.0
            )
    return found


def measure(evidence: Evidence) -> dict[str, float]:
    """mAP over thresholds 0.50 to 0.95, mAP at 0.5, and mAP by size where there are things of that size."""
    whole = precision(evidence)
    if not np.isfinite(whole).any():
        return {"map": 0.0, "map50": 0.0}
    found = {"map": float(np.nanmean(whole)), "map50": float(np.nanmean(whole[:, 0]))}
    for place, name in enumerate(RANGES):
        sized = precision(evidence, place) if place else whole
        if place and np.isfinite(sized).any():
            found[f"map_{name}"] = float(np.nanmean(sized))
    return found
