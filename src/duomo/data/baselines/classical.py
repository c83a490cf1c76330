"""Tables as scikit-learn matrices, for the classical baselines.

    kind            for trees (dense)                  for linear models (stacked side by side)
    number          as it is, NaN where missing        standardised, missing = mean and a column that says so
    category        code by frequency, NaN if unseen   one column for each value
    date, numbers   the encoder's numbers              the encoder's numbers
    text            -                                  TF-IDF: words 1-2, or characters 1-3 for Chinese, Japanese, Korean,
                                                       or letters 2-5 within words where most words stand in one text only, as names do
    image           -                                  pixels, averaged down to at most 32 x 32, or histograms of gradients
    video           -                                  pixels of the mean frame, or of a middle frame, as of pictures
    audio           -                                  mean, deviation, change of 40 log-mel bands, and the length
    series          -                                  mean, deviation, least, most, first, last, slope, change, length

scikit-learn is imported when it is first needed: training and serving do without it.
Legend: N rows, F features, C channels, T steps.
"""

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch
from torch.nn import functional

from duomo.core.kinds import number
from duomo.core.recipe import EncodeConfig
from duomo.core.table import FLAT, Table, evenly
from duomo.core.tensors import Choices, Column, Dense, Ragged
from duomo.core.word_patterns import WORD
from duomo.data.baselines.hog import histograms
from duomo.data.encode import InputEncoder
from duomo.data.supervised import is_unspaced, numbers, texts

TEXT_FEATURES = 200_000
PIXELS = 32
MELS = 40
MOST_TREE_CATEGORIES = 250
MANY, EACH = 32, 50
"""A category of more values than this, with fewer rows for each on average, is divided like a number, by how frequent its values are: among
all ways to divide hundreds of names one fits whatever was learned from."""
PROSE = 60
"""Characters of a cell on average, above which it is no name."""
SOON, LOOKED, LOOKS = 1000, 2000, (1, 2, 4)
"""Columns times classes up to which a round of trees takes no time to speak of, and of which one is timed where there are more; rounds
grown to time one: what comes first is more than a round."""


def is_flat(names: Sequence[str], kinds: Mapping[str, str]) -> bool:
    """Whether trees can take all of these columns as they are."""
    return all(kinds.get(name) in FLAT for name in names)


def in_subsets(values: int, rows: int) -> bool:
    """Whether trees divide a category of so many values by subsets of them."""
    return values <= MANY or rows >= EACH * values


def sample_rows(rows: int, most: int) -> np.ndarray:
    """At most `most` row numbers, always the same ones, in order."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def at_rows(features: Any, rows: np.ndarray) -> Any:
    """These rows of a matrix; all of them without a copy, which of many texts would take a hundred megabytes and more."""
    return features if len(rows) == features.shape[0] else features[rows]


def in_time(ends: float) -> None:
    """TimeoutError where it is later, by `time.perf_counter()`."""
    if time.perf_counter() > ends:
        raise TimeoutError


def grown(trees: Any, features: np.ndarray, target: np.ndarray, classes: int, ends: float) -> Any:
    """scikit-learn's trees, fitted; TimeoutError where there is no time for as many rounds as they want. What a round takes is seen on some
    of the columns: one alone of thousands of columns and many classes may take longer than there is."""
    most, columns = trees.max_iter, features.shape[1]
    if ends < np.inf and columns * classes > SOON:
        some = evenly(columns, max(1, LOOKED // classes))
        each = _round_seconds(trees, features[:, some], target, some) * columns / len(some)
        rounds = (ends - time.perf_counter()) / each
        if rounds < (trees.n_iter_no_change if trees.early_stopping else most):
            raise TimeoutError
        trees.set_params(max_iter=int(min(most, rounds)))
    trees.fit(features, target)
    if trees.n_iter_ == trees.max_iter < most:
        raise TimeoutError
    return trees


def _round_seconds(trees: Any, features: np.ndarray, target: np.ndarray, columns: np.ndarray) -> float:
    """What a round takes on these columns, whose numbers are `columns`."""
    from sklearn.base import clone

    is_code = trees.categorical_features
    trial, took = clone(trees).set_params(early_stopping=False, warm_start=True), list[float]()
    trial.set_params(categorical_features=None if is_code is None or not is_code[columns].any() else is_code[columns])
    for rounds in LOOKS:
        started = time.perf_counter()
        trial.set_params(max_iter=rounds).fit(features, target)
        took.append(time.perf_counter() - started)
    return max(took[2] - took[1], 1e-6)


@final
class TreeMatrix:
    """Columns of numbers, categories and dates as (N, F) float64 with NaN; `categorical` (F,) says which are codes."""

    def __init__(self, names: Sequence[str], kinds: Mapping[str, str], config: EncodeConfig):
        self.names, self.kinds, self.config = list(names), dict(kinds), config
        self.categorical = self._empty = np.zeros(0, bool)
        self._values: dict[str, dict[str, int]] = {}
        self._dates: dict[str, InputEncoder] = {}
        self._styles: dict[str, number.Style] = {}

    def fit(self, table: Table) -> None:
        for name in self.names:
            if self.kinds[name] == "category":
                self._values[name] = _frequent(texts(table.column(name)), MOST_TREE_CATEGORIES)
            elif self.kinds[name] in ("date", "numbers"):
                self._dates[name] = InputEncoder(self.config)
                self._dates[name].fit(table.with_kinds(self.kinds, {}), [name])
            else:
                self._styles[name] = number.style_of(table.column(name))
        blocks = self._blocks(table)
        divided = {name for name, known in self._values.items() if in_subsets(len(known), len(table))}
        self.categorical = np.concatenate([np.full(block.shape[1], name in divided) for name, block in blocks])
        self._empty = np.concatenate([np.isnan(block).all(axis=0) for _, block in blocks])

    def transform(self, table: Table) -> np.ndarray:
        found = np.concatenate([block for _, block in self._blocks(table)], axis=1)
        found[:, self._empty] = 0.0  # scikit-learn's trees cannot bin a column without a value
        return found

    def _blocks(self, table: Table) -> list[tuple[str, np.ndarray]]:
        found = []
        for name in self.names:
            if name in self._values:
                known = self._values[name]
                block = np.array([known.get(cell, np.nan) for cell in texts(table.column(name))], np.float64)[:, None]
            elif name in self._dates:
                block = np.concatenate(_dense(self._dates[name].encode(table)), axis=1)
            else:
                block = numbers(table.column(name), self._styles[name])[:, None]
            found.append((name, np.where(np.isfinite(block), block, np.nan)))
        return found


@final
class LinearMatrix:
    """Columns of every kind side by side, (N, F) float: CSR where there is text or category, else dense."""

    def __init__(self, names: Sequence[str], kinds: Mapping[str, str], config: EncodeConfig, gradients: bool = False):
        self.names, self.kinds, self.config, self.gradients = list(names), dict(kinds), config, gradients
        self._vectorizers: dict[str, Any] = {}
        self._values: dict[str, dict[str, int]] = {}
        self._encoders: dict[str, InputEncoder] = {}
        self._scales: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._styles: dict[str, number.Style] = {}

    def fit(self, table: Table) -> None:
        for name in self.names:
            kind = self.kinds.get(name, "text")
            if kind == "text":
                cells = texts(table.column(name))
                self._vectorizers[name] = (tfidf_letters if _are_names(cells) else tfidf)(cells)
            elif kind == "category":
                self._values[name] = _frequent(texts(table.column(name)), self.config.categories)
            else:
                if kind != "number":
                    self._encoders[name] = InputEncoder(self.config)
                    self._encoders[name].fit(table.with_kinds(self.kinds, {}), [name])
                else:
                    self._styles[name] = number.style_of(table.column(name))
                raw = self._raw(name, table)
                mean = np.nan_to_num(np.nanmean(np.where(np.isnan(raw).all(axis=0), 0.0, raw), axis=0))
                spread = np.nan_to_num(np.nanstd(np.where(np.isnan(raw).all(axis=0), 0.0, raw), axis=0))
                if kind in ("image", "video"):
                    spread = np.full_like(spread, max(float(spread.mean()), 1e-6))
                self._scales[name] = mean, np.where(spread > 1e-9, spread, 1.0)

    def transform(self, table: Table) -> Any:
        from scipy import sparse

        blocks: list[Any] = []
        for name in self.names:
            if name in self._vectorizers:
                blocks.append(self._vectorizers[name].transform(texts(table.column(name))))
            elif name in self._values:
                blocks.append(_one_hot(texts(table.column(name)), self._values[name]))
            else:
                mean, spread = self._scales[name]
                raw = self._raw(name, table)
                scaled = np.clip((raw - mean) / spread, -20, 20)
                missing = np.isnan(raw).any(axis=1, keepdims=True).astype(np.float64)
                blocks.append(np.concatenate([np.nan_to_num(scaled), missing], axis=1))
        if any(sparse.issparse(block) for block in blocks):
            return sparse.hstack([sparse.csr_matrix(block) for block in blocks], format="csr")
        return np.concatenate(blocks, axis=1)

    def _raw(self, name: str, table: Table) -> np.ndarray:
        """(N, F) float64 before standardising."""
        kind = self.kinds[name]
        if kind == "number":
            raw = numbers(table.column(name), self._styles[name])[:, None]
            return np.where(np.isfinite(raw), raw, np.nan)
        columns = self._encoders[name].encode(table, kept=True)
        if kind == "image":
            describe_picture = histograms if self.gradients else _pixels
            return np.concatenate([describe_picture(column) for column in columns.values() if isinstance(column, Dense)], axis=1)
        if kind == "video":
            describe_picture = histograms if self.gradients else _pixels
            found = [_frame(column, self.gradients) for column in columns.values() if isinstance(column, Choices)]
            return np.concatenate([describe_picture(frame) for frame in found], axis=1)
        if kind in ("audio", "series"):
            describe = _describe_sound if kind == "audio" else _describe_series
            return np.concatenate([_each(column, describe) for column in columns.values()], axis=1)
        return np.concatenate(_dense(columns), axis=1)


def _frequent(cells: Sequence[str], most: int) -> dict[str, int]:
    """The most frequent values and their codes."""
    values, counts = np.unique(np.array(cells, dtype=object), return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:most]
    return {str(values[place]): code for code, place in enumerate(kept)}


def _one_hot(cells: Sequence[str], known: Mapping[str, int]) -> Any:
    from scipy import sparse

    code = np.array([known.get(cell, -1) for cell in cells], np.int64)
    rows = np.flatnonzero(code >= 0)
    return sparse.csr_matrix((np.ones(len(rows)), (rows, code[rows])), shape=(len(cells), len(known)))


def _are_names(cells: Sequence[str]) -> bool:
    """Whether most words stand in one cell only: then none of them is known when a new cell comes, but their letters are."""
    some = [cells[row] for row in sample_rows(len(cells), 2000)]
    if is_unspaced(some) or sum(map(len, some)) > PROSE * len(some):
        return False
    held = Counter(word for cell in cells for word in set(re.findall(WORD, cell.lower())))
    return 2 * sum(count == 1 for count in held.values()) > held.total()


def tfidf(cells: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    least = 2 if len(cells) > 200 else 1
    shared = {"sublinear_tf": True, "min_df": least, "max_features": TEXT_FEATURES, "dtype": np.float64}
    by_character = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), **shared)
    if is_unspaced(cells[:2000]):
        return _fit_text(by_character, cells)
    try:
        return TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, **shared).fit(cells)
    except ValueError:  # no cell has a word
        return _fit_text(by_character, cells)


def tfidf_letters(cells: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    shared = {"sublinear_tf": True, "max_features": TEXT_FEATURES, "dtype": np.float64}
    return _fit_text(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared), cells)


def _fit_text(vectorizer: Any, cells: Sequence[str]) -> Any:
    try:
        return vectorizer.fit(cells)
    except ValueError:  # no cell has a character that occurs twice
        return vectorizer.set_params(min_df=1).fit([*cells, "empty"])


def _dense(columns: Mapping[str, Column]) -> list[np.ndarray]:
    return [np.asarray(column.values, np.float64).reshape(len(column), -1) for column in columns.values() if isinstance(column, Dense)]


def _pixels(column: Dense) -> np.ndarray:
    """(N, C * 32 * 32 at most) float64."""
    found = []
    for start in range(0, len(column), 512):
        block = column.values[start : start + 512].float()
        side = min(PIXELS, block.shape[-1]), min(PIXELS, block.shape[-2])
        if block.shape[-1] > PIXELS or block.shape[-2] > PIXELS:
            block = functional.adaptive_avg_pool2d(block, (side[1], side[0]))
        found.append(block.flatten(1).numpy())
    return np.concatenate(found).astype(np.float64) if found else np.zeros((0, 1))


def _frame(column: Choices, middle: bool) -> Dense:
    """One picture (N, C, H, W) of each film (N, K, T, C, H, W): the middle frame of its middle clip, or the mean of all its frames."""
    clips, frames = column.values.shape[1:3]
    if middle:
        return Dense(column.values[:, clips // 2, frames // 2])
    blocks = [column.values[start : start + 64].float().mean((1, 2)) for start in range(0, len(column), 64)]
    return Dense(torch.cat(blocks) if blocks else column.values[:, 0, 0].float())


def _each(column: Column, describe: Any) -> np.ndarray:
    """`describe` of every row of a ragged column: (N, F)."""
    if isinstance(column, Dense):
        return np.stack([describe(row.numpy().astype(np.float64)) for row in column.values])
    assert isinstance(column, Ragged)
    values, offsets = column.values.numpy(), column.offsets.numpy()
    rows = [describe(values[start:stop].astype(np.float64)) for start, stop in pairwise(offsets)]
    return np.stack(rows) if rows else np.zeros((0, 1))


def mel_filters(bins: int, highest: float, count: int) -> np.ndarray:
    """(bins, count) triangles, evenly spaced on the mel scale from 0 to the highest frequency in Hz."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + highest / 700), count + 2) / 2595) - 1)
    place = np.linspace(0, highest, bins)[:, None]
    rising = (place - edges[:-2]) / np.maximum(edges[1:-1] - edges[:-2], 1e-9)
    falling = (edges[2:] - place) / np.maximum(edges[2:] - edges[1:-1], 1e-9)
    return np.clip(np.minimum(rising, falling), 0, None)


def _describe_sound(wave_S: np.ndarray) -> np.ndarray:
    """(3 * MELS + 1,): log-mel means, deviations, mean absolute changes, log of the length; frames of 400 samples every 160 of 16 kHz."""
    wave = np.pad(wave_S, (0, max(0, 400 - len(wave_S))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160] * np.hanning(400)
    energy = np.abs(np.fft.rfft(frames, 512)) ** 2 @ mel_filters(257, 8000, MELS)
    mel_TM = np.log(energy + 1e-6 * max(float(energy.mean()), 1e-9))
    change = np.abs(np.diff(mel_TM, axis=0)).mean(axis=0) if len(mel_TM) > 1 else np.zeros(MELS)
    return np.concatenate([mel_TM.mean(axis=0), mel_TM.std(axis=0), change, [np.log1p(len(wave_S))]])


def _describe_series(series_TC: np.ndarray) -> np.ndarray:
    """(8 * C + 1,) statistics of each channel and the log of the length."""
    series = np.nan_to_num(series_TC.reshape(len(series_TC), -1))
    if not len(series):
        series = np.zeros((1, series.shape[1] or 1))
    centred = np.arange(len(series)) - (len(series) - 1) / 2
    slope = centred @ series / max(float(centred @ centred), 1.0)
    change = np.abs(np.diff(series, axis=0)).mean(axis=0) if len(series) > 1 else np.zeros(series.shape[1])
    facts = [series.mean(axis=0), series.std(axis=0), series.min(axis=0), series.max(axis=0), series[0], series[-1], slope, change]
    return np.concatenate([*facts, [np.log1p(len(series_TC))]])
