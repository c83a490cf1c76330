"""From the steps of a CTC model to text: the best path, and prefix beam search with a character language model.

Sources: Graves et al. 2006, "Connectionist Temporal Classification" (the collapsing map B, section 3.1; forward variables,
section 4.1); Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent
DNNs", arXiv:1408.2873, algorithm 1:

    score(prefix) = log P(prefix | sound) + weight * log P(prefix | language) + bonus * characters

Character 0 of the model is the blank. Legend: T steps, V characters and the blank, K characters kept of a step.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from duomo.data.baselines.ngram import KneserNey

KEPT = 12
"""Likeliest characters of a step that are looked at."""
FLOOR = 1e-3
"""A character less likely than this in a step is not looked at there."""
CERTAIN = 0.999
"""A blank likelier than this prolongs every prefix and starts none."""
UNSEEN = 1e-9
"""What a character that is not kept of a step is taken to be worth, where a text is laid over the steps."""
LONGEST_CACHE = 200_000


class Lattice(NamedTuple):
    """What is kept of one row's steps: the likeliest characters (T, K) and their probabilities, and the blank's (T,)."""

    characters_TK: np.ndarray
    p_TK: np.ndarray
    blank_T: np.ndarray


class Found(NamedTuple):
    """A transcript, and the log of its probability given the sound alone."""

    text: str
    log_probability: float


def lattices(logits_BTV: Tensor, length_B: Tensor) -> list[Lattice]:
    """The likeliest characters of every step of every row."""
    p_BTV = logits_BTV.float().softmax(-1).cpu()
    best = p_BTV[:, :, 1:].topk(min(KEPT, p_BTV.shape[2] - 1), dim=2)
    chosen, p_BTK, blank_BT = (best.indices + 1).numpy().astype(np.int32), best.values.numpy(), p_BTV[:, :, 0].numpy()
    return [Lattice(chosen[row, :size], p_BTK[row, :size], blank_BT[row, :size]) for row, size in enumerate(length_B.tolist())]


def best_path(lattice: Lattice, alphabet: Sequence[str]) -> Found:
    """The likeliest character of each step, repeats and blanks removed; the probability is that of the one path."""
    if not len(lattice.blank_T) or not lattice.p_TK.shape[1]:
        return Found("", 0.0)
    top_T = lattice.p_TK[:, 0]
    chosen_T = np.where(top_T > lattice.blank_T, lattice.characters_TK[:, 0], 0)
    kept_T = (chosen_T != 0) & (chosen_T != np.concatenate([[0], chosen_T[:-1]]))
    likely = float(np.log(np.maximum(np.maximum(top_T, lattice.blank_T), 1e-30)).sum())
    return Found("".join(alphabet[c - 1] for c in chosen_T[kept_T]), likely)


def aligned(lattice: Lattice, text: str, alphabet: Sequence[str]) -> np.ndarray:
    """(L, 2) the first step of each character of a text, and the one behind its last, on the likeliest path that says it (Viterbi 1967).

    Places of the path are P = 2 L + 1: a blank before each character and behind the last.
    """
    number = {character: place for place, character in enumerate(alphabet, 1)}
    state_P = np.zeros(2 * len(text) + 1, np.int64)
    state_P[1::2] = [number[character] for character in text]
    p_TV = np.full((len(lattice.blank_T), len(alphabet) + 1), UNSEEN)
    np.put_along_axis(p_TV, lattice.characters_TK.astype(np.int64), np.maximum(lattice.p_TK, UNSEEN), axis=1)
    p_TV[:, 0] = np.maximum(lattice.blank_T, UNSEEN)
    logs_TP = np.log(p_TV)[:, state_P]
    leap_P = np.full(len(state_P), -np.inf)  # over a blank, between two characters that are not the same
    leap_P[3::2] = np.where(state_P[3::2] != state_P[1:-2:2], 0.0, -np.inf)
    best = np.full(len(state_P) + 2, -np.inf)
    best[2] = 0.0
    move_TP = np.zeros(logs_TP.shape, np.int8)
    for step, logs_P in enumerate(logs_TP):
        stay_P, next_P, over_P = best[2:], best[1:-1], best[:-2] + leap_P
        near_P = np.maximum(stay_P, next_P)
        move_TP[step] = np.where(over_P > near_P, 2, next_P > stay_P)
        best[2:] = np.maximum(near_P, over_P) + logs_P
    place = len(state_P) - 1 - int(best[-2] > best[-1] and len(text) > 0)
    path_T = np.zeros(len(logs_TP), np.int64)
    for step in range(len(logs_TP) - 1, -1, -1):
        path_T[step] = place
        place -= move_TP[step, place]
    own_L = 2 * np.arange(len(text)) + 1
    return np.stack([np.searchsorted(path_T, own_L), np.searchsorted(path_T, own_L, side="right")], axis=1)


class Language:
    """A Kneser–Ney model of characters, as factors for whole alphabets, remembered by context.

    Transcripts stand in the stream apart from each other by order - 1 boundaries (token 0), so that each begins alike.
    """

    def __init__(self, alphabet: Sequence[str], order: int, texts: Sequence[str]):
        self.alphabet, self.order = list(alphabet), max(2, order)
        self._number = {character: place for place, character in enumerate(alphabet, 1)}
        self._model = KneserNey(self.order, len(alphabet) + 1)
        gap = [0] * (self.order - 1)
        stream = [token for text in texts for token in (*gap, *(self._number[c] for c in text if c in self._number))]
        self._model.fit(np.array([*stream, *gap, 0], np.int64))
        self._known: dict[str, np.ndarray] = {}

    def context(self, prefix: str) -> str:
        """What of a prefix the next character depends on."""
        return prefix[1 - self.order :]

    def prepare(self, prefixes: Sequence[str]) -> None:
        """Look all unknown contexts up in one call: for each of them a stretch of `order` tokens for each next token."""
        wanted = [context for context in dict.fromkeys(map(self.context, prefixes)) if context not in self._known]
        if not wanted:
            return
        if len(self._known) > LONGEST_CACHE:
            self._known.clear()
            wanted = list(dict.fromkeys(map(self.context, prefixes)))
        size, width = len(self.alphabet) + 1, self.order - 1
        history = np.zeros((len(wanted), width), np.int64)
        for row, context in enumerate(wanted):
            numbers = [self._number[c] for c in context]
            history[row, width - len(numbers) :] = numbers
        stretch = np.empty((len(wanted), size, self.order), np.int64)
        stretch[:, :, :-1] = history[:, None]
        stretch[:, :, -1] = np.arange(size)
        found = self._model.log_probability(stretch.reshape(-1)).reshape(stretch.shape)[:, :, -1]
        self._known.update(zip(wanted, found, strict=True))

    def next(self, prefix: str) -> np.ndarray:
        """(V,) log-probabilities of the next character, 0 the end; `prepare` must have seen the prefix."""
        return self._known[self.context(prefix)]


Prefixes = dict[str, list[float]]
"""Prefix -> [probability of all paths that end in a blank, of those that end in its last character (scaled alike), the language's log]."""


class Search(NamedTuple):
    """How prefixes are weighed."""

    beam: int
    weight: float
    bonus: float


def search(lattice: Lattice, alphabet: Sequence[str], language: Language | None, how: Search) -> Found:
    """Prefix beam search; probabilities are rescaled at every step, so that long rows do not underflow."""
    beams: Prefixes = {"": [1.0, 0.0, 0.0]}
    scale = 0.0
    use = language if how.weight else None
    for characters_K, p_K, blank in zip(lattice.characters_TK.tolist(), lattice.p_TK.tolist(), lattice.blank_T.tolist(), strict=True):
        step = {alphabet[c - 1]: (c, p) for c, p in zip(characters_K, p_K, strict=True)}
        likely = [] if blank > CERTAIN else [(sign, *found) for sign, found in step.items() if found[1] > FLOOR]
        if use is not None and likely:
            use.prepare(list(beams))
        beams = _extend(beams, likely, {sign: found[1] for sign, found in step.items()} | {"": blank}, use)
        beams = _kept(beams, how)
        most = max(entry[0] + entry[1] for entry in beams.values())
        scale += math.log(most)
        for entry in beams.values():
            entry[0] /= most
            entry[1] /= most
    return _finish(beams, scale, use, how)


def _extend(beams: Prefixes, likely: list[tuple[str, int, float]], step: Mapping[str, float], language: Language | None) -> Prefixes:
    """Every prefix prolonged by the blank ("" in `step`), by its last character, and by each likely one."""
    found: Prefixes = {}
    blank = step[""]
    for text, (ends, holds, spoken) in beams.items():
        total, last = ends + holds, text[-1:]
        entry = found.setdefault(text, [0.0, 0.0, spoken])
        entry[0] += total * blank
        if last:
            entry[1] += holds * step.get(last, 0.0)
        log_V = language.next(text) if language is not None and likely else None
        for sign, number, p in likely:
            mass = (ends if sign == last else total) * p
            if mass <= 0.0:
                continue
            grown = found.get(text + sign)
            if grown is None:
                found[text + sign] = [0.0, mass, spoken + float(log_V[number]) if log_V is not None else 0.0]
            else:
                grown[1] += mass
    return found


def _score(text: str, entry: Sequence[float], how: Search) -> float:
    return math.log(max(entry[0] + entry[1], 1e-300)) + how.weight * entry[2] + how.bonus * len(text)


def _kept(beams: Prefixes, how: Search) -> Prefixes:
    """The best prefixes; equal scores in the order of the alphabet."""
    if len(beams) <= how.beam:
        return beams
    ranked = heapq.nsmallest(how.beam, [(-_score(text, entry, how), text) for text, entry in beams.items()])
    return {text: beams[text] for _, text in ranked}


def _finish(beams: Prefixes, scale: float, language: Language | None, how: Search) -> Found:
    """The best prefix, the language's end of text counted."""
    if language is not None:
        language.prepare(list(beams))
        beams = {text: [*entry[:2], entry[2] + float(language.next(text)[0])] for text, entry in beams.items()}
    text = min(beams, key=lambda text: (-_score(text, beams[text], how), text))
    mass = beams[text][0] + beams[text][1]
    return Found(text, scale + math.log(max(mass, 1e-300)))
