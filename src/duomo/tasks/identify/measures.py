"""How well strangers are told apart: every pair of pictures as a question, and every picture as the only one known of its person.

Legend: N pictures, U different pictures of a resample, P people, E enrolment pictures, M pairs.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from duomo.core.contract import CLUSTER, Evidence

FALSE_ACCEPTS = (("tpr_1", 0.01), ("tpr_01", 0.001))
"""Metric and the share of strangers' pairs that are taken for the same person."""
MOST = 3000
"""Pictures compared with one another: more of them say little more, and cost their square."""
POINTS = 200
ENROLLED = 12
SUREST = 0.99
"""A cosine that pictures of one person still reach."""


class Compared(NamedTuple):
    """Different pictures, how often each was drawn, whose they are, and how near each is to each."""

    count_U: np.ndarray
    person_U: np.ndarray
    near_UU: np.ndarray


def near_of(evidence: Evidence) -> np.ndarray:
    """(N, N) cosines of all pictures."""
    return evidence["near"] if "near" in evidence else evidence["vector"] @ evidence["vector"].T


def compared(evidence: Evidence) -> Compared:
    """Each picture once: a resample that holds one twice says nothing about pairs of them."""
    row_N = evidence.get("row", np.arange(len(evidence[CLUSTER])))
    row_U, first, count_U = np.unique(row_N, return_index=True, return_counts=True)
    near = near_of(evidence)
    near_UU = near[first][:, row_U] if "near" in evidence else near[first][:, first]
    return Compared(count_U, evidence[CLUSTER][first], near_UU)


def pairs(found: Compared) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) similarity of each pair, whether both are of one person, and its weight: a person drawn twice counts twice."""
    one, two = np.triu_indices(len(found.count_U), 1)
    same_M = found.person_U[one] == found.person_U[two]
    weight_M = np.where(same_M, np.minimum(found.count_U[one], found.count_U[two]), found.count_U[one] * found.count_U[two])
    return found.near_UU[one, two], same_M, weight_M


def threshold(similarity_M: np.ndarray, weight_M: np.ndarray, share: float) -> float:
    """The similarity that at most `share` of these (strangers') pairs exceed."""
    order = np.argsort(-similarity_M, kind="stable")
    passed = np.cumsum(weight_M[order])
    return float(similarity_M[order][min(int(np.searchsorted(passed, share * passed[-1], "right")), len(order) - 1)])


def cautious(similarity_M: np.ndarray, weight_M: np.ndarray, share: float) -> float:
    """The same; of pairs too few to hold one so rare the tail of a normal distribution, so that not everybody is taken for somebody."""
    seen = threshold(similarity_M, weight_M, share)
    if len(similarity_M) * share >= 1:
        return seen
    mean, variance = _moments(similarity_M, weight_M)
    return max(seen, min(SUREST, mean + NormalDist().inv_cdf(1 - max(share, 1e-6)) * variance**0.5))


def roc(found: Compared) -> tuple[np.ndarray, np.ndarray]:
    """(POINTS,) share of strangers' pairs accepted, on a scale of powers of ten, and the share of true pairs accepted there."""
    similarity_M, same_M, weight_M = pairs(found)
    shares = np.geomspace(1e-3, 1, POINTS)
    if not same_M.any() or same_M.all():
        return shares, np.zeros(POINTS)
    levels = [threshold(similarity_M[~same_M], weight_M[~same_M], share) for share in shares]
    true = [float(weight_M[same_M][similarity_M[same_M] > level].sum() / weight_M[same_M].sum()) for level in levels]
    return shares, np.array(true)


def hits(found: Compared) -> np.ndarray:
    """(U,) chance that the picture finds its person among all, one picture known of each, whichever that is; NaN where it is the only one.

    Over all choices at once: for each picture that may be known of the own person, the product over the others of the share of their
    pictures that are less similar.
    """
    people, place_U = np.unique(found.person_U, return_inverse=True)
    total = len(found.person_U)
    own_UE = np.full((total, ENROLLED), np.nan)
    for place in range(len(people)):
        members = np.flatnonzero(place_U == place)
        for row in members:
            others = members[members != row][:ENROLLED]
            own_UE[row, : len(others)] = found.near_UU[row, others]
    log_UE = np.zeros(own_UE.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        for place in range(len(people)):
            members, stranger_U = np.flatnonzero(place_U == place), place_U != place
            less_UE = (found.near_UU[:, members, None] < own_UE[:, None, :]).mean(1)
            log_UE += np.where(stranger_U[:, None], found.count_U[members].mean() * np.log(less_UE), 0)
    chance_UE = np.where(np.isnan(own_UE), np.nan, np.exp(log_UE))
    known_U = np.isfinite(chance_UE).any(1)
    return np.where(known_U, np.nansum(chance_UE, 1) / np.maximum(np.isfinite(chance_UE).sum(1), 1), np.nan)


def measure(evidence: Evidence) -> dict[str, float]:
    """Area under the ROC curve, true accepts at 1 % and 0.1 % false ones, rank 1 with one known picture; NaN where nothing tells.

    `d_prime`: how many deviations lie between the similarities of true and of strangers' pairs (Green and Swets 1966); it still
    tells models apart where the few people of a validation are all known again.
    """
    found = compared(evidence)
    similarity_M, same_M, weight_M = pairs(found)
    hit_U = hits(found)
    known_U = np.isfinite(hit_U)
    figures = {"rank_1": float(np.average(hit_U[known_U], weights=found.count_U[known_U])) if known_U.any() else float("nan")}
    if not same_M.any() or same_M.all():
        return figures | {name: float("nan") for name in ("auc", "d_prime", *(name for name, _ in FALSE_ACCEPTS))}
    true, own = similarity_M[same_M], weight_M[same_M]
    order = np.argsort(similarity_M[~same_M], kind="stable")
    false, other = similarity_M[~same_M][order], np.concatenate([[0.0], np.cumsum(weight_M[~same_M][order])])
    below = (other[np.searchsorted(false, true, "left")] + other[np.searchsorted(false, true, "right")]) / 2
    figures["auc"] = float((below * own).sum() / (own.sum() * other[-1]))
    means, spreads = zip(*(_moments(similarity_M[which], weight_M[which]) for which in (same_M, ~same_M)), strict=True)
    figures["d_prime"] = float((means[0] - means[1]) / np.sqrt(max(1e-12, sum(spreads) / 2)))
    for name, share in FALSE_ACCEPTS:
        level = threshold(false, weight_M[~same_M][order], share)
        figures[name] = float(own[true > level].sum() / own.sum())
    return figures


def _moments(similarity_M: np.ndarray, weight_M: np.ndarray) -> tuple[float, float]:
    """Mean and variance."""
    mean = float(np.average(similarity_M, weights=weight_M))
    return mean, float(np.average((similarity_M - mean) ** 2, weights=weight_M))
