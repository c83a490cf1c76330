"""Rows that are almost the same: texts by MinHash, tables of numbers by sorted projections.

Texts: shingles of letters, one-permutation hashing (Li, Owen, Zhang 2012) with rotation densification
(arXiv:1406.4784), bands, then the exact Jaccard index. Legend: N rows, K bins of a signature, P pairs.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.data.digests import mix

BINS_K = 128
BANDS = 32
ALIKE = 0.6
"""Jaccard index from which two texts are near-duplicates."""
SHORTEST = 20
LONGEST = 2000
MOST_LETTERS = 12_000_000
MOST_PAIRS = 40_000
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_ODD = mix(np.arange(1, 9, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


def near_texts(cells: pa.ChunkedArray) -> np.ndarray:
    """Pairs (P, 2) of row numbers whose texts differ only a little (case and punctuation do not count)."""
    text = pc.replace_substring_regex(pc.utf8_lower(pc.utf8_slice_codeunits(cells, 0, LONGEST)), r"[^\p{L}\p{N}]+", "")
    text = pc.fill_null(text, "")
    lengths = pc.utf8_length(text).to_numpy().astype(np.int64)
    rows = np.flatnonzero(lengths >= SHORTEST)
    if not len(rows):
        return np.zeros((0, 2), np.int64)
    rows = rows[np.cumsum(lengths[rows]) <= MOST_LETTERS]
    letters = np.frombuffer("".join(text.take(pa.array(rows)).to_pylist()).encode("utf-32-le"), np.uint32).astype(np.uint64)
    lengths = lengths[rows]
    wide = float((letters > 0x2E80).mean()) > 0.3
    hashes, owner = _shingles(letters, lengths, 3 if wide else 5)
    signature_NK = _signatures(hashes, owner, len(rows))
    pairs = _candidates(signature_NK)
    first = np.searchsorted(owner, np.arange(len(rows) + 1))
    sets: dict[int, np.ndarray] = {}
    kept = [pair for pair in pairs if _jaccard(hashes, first, sets, int(pair[0]), int(pair[1])) >= ALIKE]
    return rows[np.array(kept, np.int64).reshape(-1, 2)]


def _shingles(letters: np.ndarray, lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of `size` letters within rows, and the row of each."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    count = len(letters) - size + 1
    with np.errstate(over="ignore"):
        total = np.zeros(count, np.uint64)
        for place in range(size):
            total += letters[place : place + count] * _ODD[place]
    inside = owner[:count] == owner[size - 1 :]
    return mix(total[inside]), owner[:count][inside]


def _signatures(hashes: np.ndarray, owner: np.ndarray, rows: int) -> np.ndarray:
    signature_NK = np.full((rows, BINS_K), _EMPTY, np.uint64)
    place = owner * BINS_K + (hashes >> np.uint64(57)).astype(np.int64)
    np.minimum.at(signature_NK.reshape(-1), place, hashes & np.uint64((1 << 57) - 1))
    for step in range(2 * BINS_K):
        here, following = (-step - 1) % BINS_K, (-step) % BINS_K
        empty = signature_NK[:, here] == _EMPTY
        borrowed = signature_NK[empty, following]
        with np.errstate(over="ignore"):
            signature_NK[empty, here] = np.where(borrowed == _EMPTY, _EMPTY, mix(borrowed + np.uint64(1)))
    return signature_NK


def _candidates(signature_NK: np.ndarray) -> np.ndarray:
    """Pairs that share a band of the signature and a third of all its bins."""
    width = BINS_K // BANDS
    found = []
    for band in range(BANDS):
        part = signature_NK[:, band * width : (band + 1) * width]
        with np.errstate(over="ignore"):
            key = mix((part * _ODD[:width]).sum(axis=1, dtype=np.uint64))
        order = np.argsort(key, kind="stable")
        for gap in (1, 2, 3):
            same = key[order[gap:]] == key[order[:-gap]]
            found.append(np.stack([order[:-gap][same], order[gap:][same]], axis=1))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    alike = np.zeros(len(pairs))
    for start in range(0, len(pairs), 100_000):
        some = pairs[start : start + 100_000]
        alike[start : start + 100_000] = (signature_NK[some[:, 0]] == signature_NK[some[:, 1]]).mean(axis=1)
    order = np.argsort(-alike, kind="stable")
    return pairs[order[alike[order] > 0.33][:MOST_PAIRS]]


def _jaccard(hashes: np.ndarray, first: np.ndarray, sets: dict[int, np.ndarray], one: int, other: int) -> float:
    for row in (one, other):
        if row not in sets:
            sets[row] = np.unique(hashes[first[row] : first[row + 1]])
    shared = len(np.intersect1d(sets[one], sets[other], assume_unique=True))
    return shared / max(1, len(sets[one]) + len(sets[other]) - shared)


def near_numbers(values_ND: np.ndarray, codes_NM: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) of rows whose categories are equal and whose numbers differ by less than 1 % of a column's spread.

    Found only where chance would hardly bring two rows so close: otherwise (P = 0).
    """
    rows = len(values_ND)
    nothing = np.zeros((0, 2), np.int64)
    if rows < 4 or not values_ND.shape[1]:
        return nothing
    known = np.nan_to_num(values_ND, nan=0.0)
    low, high = np.percentile(known, [25, 75], axis=0)
    spread = np.where(high > low, (high - low) / 1.349, known.std(axis=0))
    used = spread > 0
    if not used.any():
        return nothing
    scaled = np.concatenate([known[:, used] / spread[used], np.isnan(values_ND[:, used]) * 9.0], axis=1)
    codes_N = mix(np.zeros(rows, np.uint64))
    with np.errstate(over="ignore"):
        for column in codes_NM.T:
            codes_N = mix(codes_N * np.uint64(3) + column.astype(np.uint64))
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, rows, (2, 20_000))
    apart = one != other
    close = (np.abs(scaled[one[apart]] - scaled[other[apart]]) < 0.02).mean(axis=0)
    if np.prod(np.maximum(close, 1e-4)) * rows * rows > 0.01 * rows:
        return nothing
    return _close_pairs(scaled, codes_N, generator)


def _close_pairs(scaled: np.ndarray, codes_N: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    found = []
    clipped = np.clip(scaled, -1e3, 1e3)
    for _ in range(4):
        line = clipped @ generator.normal(size=scaled.shape[1])
        order = np.lexsort((line, codes_N))
        for gap in range(1, 9):
            one, other = order[:-gap], order[gap:]
            same = (codes_N[one] == codes_N[other]) & (np.abs(line[one] - line[other]) < 0.05)
            one, other = one[same], other[same]
            near = (np.abs(scaled[one] - scaled[other]) < 0.01).all(axis=1)
            found.append(np.stack([one[near], other[near]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
