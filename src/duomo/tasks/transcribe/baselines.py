"""What a transcriber must beat: the most frequent transcript, and the transcript of the training clip that sounds most alike.

Legend: N training clips, S samples, T frames, W samples of a window, Q bins, M mel bands, C cepstra, P places of a clip's outline.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table
from duomo.core.tensors import Ragged
from duomo.data.baselines.classical import mel_filters
from duomo.tasks.transcribe.transcripts import facts

Sounds = Callable[[Table], tuple[Ragged, int]]
"""The clips of a table and their rate in Hz."""
Texts = Callable[[Table], list[str]]
MELS, CEPSTRA, PLACES = 26, 13, 32
SHORTLIST = 64
"""Clips of the nearest outline, place by place, that are warped onto the new one."""


@final
class Frequent(Baseline):
    """Always the transcript that most training clips have."""

    name = "most frequent transcript"

    def __init__(self, texts: Texts):
        self._texts, self._answer = texts, ""

    def fit(self, train: Table) -> None:
        counts = Counter(text for text in self._texts(train) if text)
        self._answer = min(counts, key=lambda text: (-counts[text], text), default="")

    def evidence(self, test: Table) -> Evidence:
        truth = self._texts(test)
        return facts(truth, [self._answer] * len(truth))


@final
class Nearest(Baseline):
    """The transcript of the nearest training clip by dynamic time warping of cepstra (Sakoe and Chiba, 1978)."""

    name = "nearest clip (DTW on MFCC)"

    def __init__(self, texts: Texts, sounds: Sounds):
        self._texts, self._sounds = texts, sounds
        self._answers: list[str] = []
        self._outlines_NPC = np.zeros((0, PLACES, CEPSTRA + 1), np.float32)

    def fit(self, train: Table) -> None:
        self._answers, self._outlines_NPC = self._texts(train), self._outlines(train)

    def _outlines(self, table: Table) -> np.ndarray:
        sounds, rate = self._sounds(table)
        values, offsets = sounds.values.numpy(), sounds.offsets.tolist()
        rows = [outline(values[start:stop], rate) for start, stop in pairwise(offsets)]
        return np.stack(rows) if rows else self._outlines_NPC[:0]

    def evidence(self, test: Table) -> Evidence:
        found = [self._answers[self._nearest(one_PC)] for one_PC in self._outlines(test)]
        return facts(self._texts(test), found)

    def _nearest(self, one_PC: np.ndarray) -> int:
        apart_N = np.square(self._outlines_NPC - one_PC).sum(axis=(1, 2))
        near = np.argsort(apart_N, kind="stable")[:SHORTLIST]
        return int(near[np.argmin(warped(one_PC, self._outlines_NPC[near]))])


def outline(wave_S: np.ndarray, rate: int) -> np.ndarray:
    """(P, C + 1) float32: the cepstra of a clip, without their mean and of equal spread, at P places from its beginning to its end,
    and the log of its length, which weighs as much as one cepstrum."""
    width, hop = max(2, rate // 40), max(1, rate // 100)
    wave = np.pad(wave_S.astype(np.float32) / 32768, (0, max(0, width - len(wave_S))))
    frames_TW = np.lib.stride_tricks.sliding_window_view(wave, width)[::hop] * np.hanning(width).astype(np.float32)
    size = 2 ** int(np.ceil(np.log2(width)))
    power_TM = np.square(np.abs(np.fft.rfft(frames_TW, size))) @ mel_filters(size // 2 + 1, rate / 2, MELS)
    cepstra_TC = np.log(power_TM + 1e-4 * max(float(power_TM.mean()), 1e-9)) @ _cosines()
    cepstra_TC = (cepstra_TC - cepstra_TC.mean(axis=0)) / (cepstra_TC.std(axis=0) + 1e-3)
    place_P = np.linspace(0, len(cepstra_TC) - 1, PLACES)
    low_P = place_P.astype(np.int64)
    high_P, share_P1 = np.minimum(low_P + 1, len(cepstra_TC) - 1), (place_P - low_P)[:, None]
    found_PC = cepstra_TC[low_P] * (1 - share_P1) + cepstra_TC[high_P] * share_P1
    length = np.full((PLACES, 1), 2 * np.log(len(wave) / rate))
    return np.concatenate([found_PC, length], axis=1).astype(np.float32)


def _cosines() -> np.ndarray:
    """(M, C): the discrete cosine transform, without the level."""
    return np.cos(np.pi * np.outer(np.arange(MELS) + 0.5, np.arange(1, CEPSTRA + 1)) / MELS)


def warped(one_PC: np.ndarray, others_NPC: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """(N,) cost of the cheapest monotone path through the distances between one clip's places and those of each other."""
    others = np.asarray(others_NPC)
    cost_NPP = np.sqrt(np.square(one_PC[None, :, None] - others[:, None]).sum(axis=3))
    before = np.cumsum(cost_NPP[:, 0], axis=1)
    for row in range(1, cost_NPP.shape[1]):
        now = np.empty_like(before)
        now[:, 0] = before[:, 0] + cost_NPP[:, row, 0]
        best = np.minimum(before[:, 1:], before[:, :-1])
        for column in range(1, before.shape[1]):
            now[:, column] = np.minimum(best[:, column - 1], now[:, column - 1]) + cost_NPP[:, row, column]
        before = now
    return before[:, -1]
