"""Which box of a frame is which of the frames before: tracks by overlap and steady motion.

Sure boxes are matched first, then the tracks that are left with the less sure ones: a thing that is half hidden keeps its number.
Source: Zhang et al. 2022, "ByteTrack", arXiv:2110.06864, algorithm 1; the motion model with the noise of Wojke et al. 2017,
arXiv:1703.07402. Each side of the state moves on its own, so that the Kalman filter is one of two numbers, four times.
Legend: T tracks, D detections of a frame, 4 = centre x, centre y, width, height.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np

PLACE_NOISE, SPEED_NOISE = 1 / 20, 1 / 160
"""Standard deviations of a place and of its change from frame to frame, as shares of the box's size."""
FIRST, SECOND, NEW = 0.8, 0.5, 0.7
"""Greatest cost (1 less overlap) of a match of a sure box, of an unsure one, and of a track that was seen once."""
OTHER_LABEL = 0.15
"""What it costs to match a box of another label: labels flicker, boxes do not jump."""
LOW = 0.3
"""Share of the confidence from which a box is an answer that an unsure one must have."""
DOUBLE = 0.75
"""Overlap from which two boxes of a frame are the same thing, whatever they are called."""
KEPT = 1.0
"""Seconds that a lost track is looked for."""


class Detection(NamedTuple):
    """A box of a frame: left, top, right, bottom in pixels."""

    label: str
    score: float
    box: tuple[float, ...]


class Sighting(NamedTuple):
    """Where a numbered thing is in a frame, and how sure the box was."""

    track: int
    label: str
    score: float
    box: tuple[float, ...]


@dataclass
class _Track:
    """One thing: where it is expected, how fast it moves, how uncertain both are."""

    place_4: np.ndarray
    speed_4: np.ndarray
    pp_4: np.ndarray
    pv_4: np.ndarray
    vv_4: np.ndarray
    number: int = 0
    """0 until it was seen twice (or in the first frame)."""
    seen: int = 0
    """Frame of the last match."""
    when: float = 0.0
    """Its time in seconds."""
    votes: dict[str, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, z_4: np.ndarray) -> "_Track":
        size_4 = np.tile(z_4[2:], 2)
        return cls(z_4, np.zeros(4), (2 * PLACE_NOISE * size_4) ** 2, np.zeros(4), (10 * SPEED_NOISE * size_4) ** 2)

    def predict(self) -> None:
        size_4 = np.tile(np.maximum(self.place_4[2:], 1.0), 2)
        self.place_4 = self.place_4 + self.speed_4
        self.place_4[2:] = np.maximum(self.place_4[2:], 1.0)
        self.pp_4 = self.pp_4 + 2 * self.pv_4 + self.vv_4 + (PLACE_NOISE * size_4) ** 2
        self.pv_4 = self.pv_4 + self.vv_4
        self.vv_4 = self.vv_4 + (SPEED_NOISE * size_4) ** 2

    def correct(self, z_4: np.ndarray) -> None:
        noise_4 = self.pp_4 + (PLACE_NOISE * np.tile(z_4[2:], 2)) ** 2
        gain_4, speed_gain_4, wrong_4 = self.pp_4 / noise_4, self.pv_4 / noise_4, z_4 - self.place_4
        self.place_4, self.speed_4 = self.place_4 + gain_4 * wrong_4, self.speed_4 + speed_gain_4 * wrong_4
        self.vv_4 = self.vv_4 - speed_gain_4 * self.pv_4
        self.pp_4, self.pv_4 = (1 - gain_4) * self.pp_4, (1 - gain_4) * self.pv_4

    @property
    def label(self) -> str:
        """What it was called most often and most surely."""
        return max(self.votes, key=lambda label: self.votes[label])

    @property
    def box(self) -> tuple[float, ...]:
        x, y, w, h = self.place_4.tolist()
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2


@final
class Tracker:
    """`update` once for each frame; numbers count from 1 in the order in which things are sure to be there."""

    def __init__(self, sure: float, rate: float = 25.0):
        """`sure`: the confidence from which a box is an answer; `rate`: frames a second, where no times are told."""
        self.sure, self.low, self._rate = sure, LOW * sure, rate
        self._tracks: list[_Track] = []
        self._frame = self._count = 0
        self._time = 0.0

    def update(self, found: Sequence[Detection], time: float | None = None) -> list[Sighting]:
        """The things that are in this frame, seen at `time`, from its detections down to `low` confidence."""
        self._frame += 1
        self._time = self._frame / self._rate if time is None else time
        self._tracks = [track for track in self._tracks if self._looked_for(track)]
        found = _single(found)
        high = [one for one in found if one.score >= self.sure]
        weak = [one for one in found if self.low <= one.score < self.sure]
        for track in self._tracks:
            track.predict()
        known = [track for track in self._tracks if track.number]
        rest, high, sightings = self._match(known, high, FIRST)
        fresh = [track for track in rest if track.seen == self._frame - 1]
        _, _, more = self._match(fresh, weak, SECOND)
        once = [track for track in self._tracks if not track.number]
        _, high, confirmed = self._match(once, high, NEW)
        self._tracks = [track for track in self._tracks if track.number or track.seen == self._frame]
        begun = [self._begin(one) for one in high]
        first = [self._sighting(track, one) for track, one in zip(begun, high, strict=True) if self._frame == 1]
        return sorted([*sightings, *more, *confirmed, *first])

    def _looked_for(self, track: _Track) -> bool:
        return self._frame - track.seen == 1 or self._time - track.when <= KEPT + 1e-6

    def _begin(self, one: Detection) -> _Track:
        track = _Track.begin(_centred([one])[0])
        track.votes[one.label], track.seen, track.when = one.score, self._frame, self._time
        self._tracks.append(track)
        return track

    def _sighting(self, track: _Track, one: Detection) -> Sighting:
        if not track.number:
            self._count += 1
            track.number = self._count
        return Sighting(track.number, track.label, one.score, track.box)

    def _match(self, tracks: list[_Track], found: list[Detection], most: float) -> tuple[list[_Track], list[Detection], list[Sighting]]:
        """The cheapest one-to-one matching: the tracks and detections that are left, and what was sighted."""
        from scipy.optimize import linear_sum_assignment

        if not tracks or not found:
            return tracks, found, []
        fit_TD = _overlaps(_corners(np.stack([track.place_4 for track in tracks])), np.array([one.box for one in found]))
        foreign_TD = np.array([[track.label != one.label for one in found] for track in tracks])
        cost_TD = 1 - fit_TD + OTHER_LABEL * foreign_TD
        rows, columns = linear_sum_assignment(np.where(cost_TD > most, 10.0, cost_TD))
        pairs = [(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True) if cost_TD[row, column] <= most]
        sightings = []
        for row, column in pairs:
            track, one = tracks[row], found[column]
            track.correct(_centred([one])[0])
            track.votes[one.label] = track.votes.get(one.label, 0.0) + one.score
            track.seen, track.when = self._frame, self._time
            sightings.append(self._sighting(track, one))
        taken, used = {row for row, _ in pairs}, {column for _, column in pairs}
        left = [track for row, track in enumerate(tracks) if row not in taken]
        return left, [one for column, one in enumerate(found) if column not in used], sightings


def _single(found: Sequence[Detection]) -> list[Detection]:
    """Without those that a surer one covers: the same thing under another label."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda one: -one.score):
        if not kept or _overlaps(np.array([one.box]), np.array([other.box for other in kept])).max() <= DOUBLE:
            kept.append(one)
    return kept


def _centred(found: Sequence[Detection]) -> np.ndarray:
    """(D, 4) centre and size, no side below a pixel."""
    box_D4 = np.array([one.box for one in found], np.float64).reshape(-1, 4)
    return np.concatenate([(box_D4[:, :2] + box_D4[:, 2:]) / 2, np.maximum(box_D4[:, 2:] - box_D4[:, :2], 1.0)], 1)


def _corners(place_T4: np.ndarray) -> np.ndarray:
    half_T2 = place_T4[:, 2:] / 2
    return np.concatenate([place_T4[:, :2] - half_T2, place_T4[:, :2] + half_T2], 1)


def _overlaps(one_T4: np.ndarray, other_D4: np.ndarray) -> np.ndarray:
    """(T, D) intersection over union."""
    low, high = np.maximum(one_T4[:, None, :2], other_D4[None, :, :2]), np.minimum(one_T4[:, None, 2:], other_D4[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_T, area_D = ((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1) for boxes in (one_T4, other_D4))
    overlap: np.ndarray = shared / np.maximum(area_T[:, None] + area_D[None] - shared, 1e-9)
    return overlap
