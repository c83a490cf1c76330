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
AT_ONCE = 1000
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_ODD = mix(np.arange(1, 9, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


def near_texts(cells: pa.ChunkedArray, most: int | None = MOST_LETTERS) -> np.ndarray:
    """Pairs (P, 2) of row numbers whose texts differ only a little (case and punctuation do not count).

    Looked for among the first texts, `most` letters in all; among all of them, a part at a time, where `most` is None.
    """
    lengths = np.minimum(pc.fill_null(pc.utf8_length(cells), 0).to_numpy().astype(np.int64), LONGEST)
    ends = np.cumsum(lengths)
    rows = len(lengths) if most is None else int(np.searchsorted(ends, most, "right"))
    parts, used, start = [], [], 0
    while start < rows:
        stop = min(rows, max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + MOST_LETTERS, "right"))))
        letters, sizes = _letters(cells.slice(start, stop - start))
        long = sizes >= SHORTEST
        letters = letters[np.repeat(long, sizes)]
        if len(letters):
            hashes, owner = _shingles(letters, sizes[long])
            parts.append(_signatures(hashes, owner, int(long.sum())).astype(np.uint32))
            used.append(start + np.flatnonzero(long))
        start = stop
    if not parts:
        return np.zeros((0, 2), np.int64)
    found = np.concatenate(used)[_candidates(np.concatenate(parts), None if most is None else MOST_PAIRS)]
    sets = _sets(cells, np.unique(found))
    return found[np.array([_jaccard(sets[one], sets[other]) >= ALIKE for one, other in found.tolist()], bool)].reshape(-1, 2)


def _letters(cells: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Code points of letters and digits of all rows end to end (uint64), and how many each row has."""
    cut = pc.utf8_lower(pc.utf8_slice_codeunits(cells, 0, LONGEST))
    text = pc.fill_null(pc.replace_substring_regex(cut, r"[^\p{L}\p{N}]+", ""), "")
    letters = np.frombuffer("".join(text.to_pylist()).encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    return letters, pc.utf8_length(text).to_numpy().astype(np.int64)


def _shingles(letters: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of letters within rows (of three in Chinese and the like, else of five), and the row of each."""
    wide = np.add.reduceat(letters > 0x2E80, np.cumsum(lengths) - lengths) > 0.3 * lengths
    if wide.any() and not wide.all():
        inside = np.repeat(wide, lengths)
        parts = [(rows, _shingles(letters[mask], lengths[rows])) for rows, mask in ((wide, inside), (~wide, ~inside))]
        hashes = np.concatenate([found for _, (found, _) in parts])
        owner = np.concatenate([np.flatnonzero(rows)[place] for rows, (_, place) in parts])
        return hashes, owner
    size = 3 if wide.all() else 5
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


def _candidates(signature_NK: np.ndarray, most: int | None) -> np.ndarray:
    """Pairs that share a band of the signature and a third of all its bins; the `most` that share most."""
    width = BINS_K // BANDS
    found = []
    for band in range(BANDS):
        part = signature_NK[:, band * width : (band + 1) * width]
        with np.errstate(over="ignore"):
            key = mix((part.astype(np.uint64) * _ODD[:width]).sum(axis=1, dtype=np.uint64))
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
    return pairs[order[alike[order] > 0.33][:most]]


def _sets(cells: pa.ChunkedArray, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Of each of these rows the different hashes; many at once, for reading the pattern of `_letters` takes milliseconds."""
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        hashes, owner = _shingles(*_letters(cells.take(pa.array(some))))
        ends = np.bincount(owner, minlength=len(some)).cumsum()
        parts = np.split(hashes[np.argsort(owner, kind="stable")], ends[:-1])
        found.update((row, np.unique(part)) for row, part in zip(some.tolist(), parts, strict=True))
    return found


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


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
    chance = rows * rows
    for start in range(0, scaled.shape[1], 8):  # a few columns tell enough where there are thousands
        some = scaled[:, start : start + 8]
        chance *= np.prod(np.maximum((np.abs(some[one[apart]] - some[other[apart]]) < 0.02).mean(axis=0), 1e-4))
        if chance <= 0.01 * rows:
            return _close_pairs(scaled, codes_N, generator)
    return nothing


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
