"""What is left out of texts before anything is learned from them: other languages, repeats, too short or long, turning in circles.

Nothing is left out unless a setting asks for it; whatever is, is counted and shown by example. Legend: N rows, L letters of a text.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds.cells import sample, text_of
from duomo.core.messages import nearest, together, tr
from duomo.core.recipe import CleanConfig
from duomo.core.table import Table
from duomo.data import spill
from duomo.data.digests import row_digests
from duomo.data.near_duplicates import near_texts

READ = 2000
"""Characters of a text that its language is told from."""
SURE = 0.5
"""Below this confidence a text's language counts as unknown, and the text stays."""
RUN = 10
"""Characters of a run that counts as repeated where it occurred before in the same text."""
JUDGED = 20_000
SAMPLE = 300
EXAMPLE = 60
HAN, KANA = re.compile(r"[㐀-鿿]"), re.compile(r"[぀-ヿ가-힯]")
SINITIC = ("zh", "yue", "wuu")
LETTER = re.compile(r"\w")


class Left(NamedTuple):
    """Rows that one rule leaves out: which, and in words why with an example."""

    rows: np.ndarray
    sentence: str


def clean(table: Table, config: CleanConfig, ignore: Sequence[str] = ()) -> tuple[Table, list[str]]:
    """The table without what `config` leaves out, and one sentence with count and example for each rule; rules act in this order.

    ConfigError for a language that is not known or a table without text, DataError where nothing is left.
    """
    if config == CleanConfig():
        return table, []
    texts = [name for name in table.names if table.kinds.get(name) == "text" and name not in ignore]
    if not texts:
        raise ConfigError("Cleaning is for texts; none of the columns is one ({columns}).", columns=", ".join(table.names[:30]))
    name = max(texts, key=lambda text: table.column(text).nbytes)
    sentences = []
    for rule in (_lengths, _repetition, _languages, _duplicates):
        for left in rule(table, name, config):
            if len(left.rows):
                sentences.append(left.sentence)
                table = spill.part(table, np.setdiff1d(np.arange(len(table)), left.rows))
    if not len(table):
        raise DataError("Cleaning must leave something to learn from; it left nothing: {why}", why=together(sentences))
    return table, sentences


def _left(table: Table, name: str, rows: np.ndarray, why: str) -> Left:
    """A rule's rows with their count and the first of them as an example."""
    example = str(table.column(name)[int(rows[0])].as_py() or "").strip().replace("\n", " ") if len(rows) else ""
    short = example[:EXAMPLE] + ("…" if len(example) > EXAMPLE else "")
    return Left(rows, tr("{count:,} of {rows:,} texts are left out: {why}; the first: «{example}»",
                         count=len(rows), rows=len(table), why=why, example=short))  # fmt: skip


def _lengths(table: Table, name: str, config: CleanConfig) -> list[Left]:
    least, most = config.fewest_characters, config.most_characters or np.inf
    length_N = pc.fill_null(pc.utf8_length(text_of(table.column(name))), 0).to_numpy()
    short, long = np.flatnonzero(length_N < least), np.flatnonzero(length_N > most)
    lefts = (_left(table, name, short, tr("shorter than {least:,} characters", least=least)),
             _left(table, name, long, tr("longer than {most:,} characters", most=most)))  # fmt: skip
    return [Left(np.union1d(short, long), together(left.sentence for left in lefts if len(left.rows)))]


def _repetition(table: Table, name: str, config: CleanConfig) -> list[Left]:
    if not config.repetition:
        return []
    rows = [row for row, text in enumerate(text_of(table.column(name)).to_pylist()) if repeated(text or "") > config.repetition]
    why = tr("over {share:.0%} of the text repeats what stood before in it", share=config.repetition)
    return [_left(table, name, np.array(rows, np.int64), why)]


def repeated(text: str) -> float:
    """Share of the runs of ten letters that occurred before in the text (after Rae et al. 2021, arXiv:2112.11446, table A1)."""
    letters_L = np.frombuffer(text[:JUDGED].encode("utf-32-le", "replace"), np.uint32)
    if len(letters_L) < 2 * RUN:
        return 0.0
    runs = np.lib.stride_tricks.sliding_window_view(letters_L.astype(np.uint64), RUN)
    with np.errstate(over="ignore"):
        keys = runs @ (np.uint64(0x9E3779B97F4A7C15) ** np.arange(1, RUN + 1, dtype=np.uint64))
    return 1 - len(np.unique(keys)) / len(keys)


def _languages(table: Table, name: str, config: CleanConfig) -> list[Left]:
    if not config.languages:
        return []
    known = {*_identifier().labels, "zh"}
    for language in config.languages:
        if language not in known:
            raise ConfigError("A language must be an ISO 639-1 code such as zh or en; received {language!r}.{hint}",
                              language=language, hint=nearest(language, known))  # fmt: skip
    found = [language_of(text) for text in text_of(table.column(name)).to_pylist()]
    rows = np.array([row for row, language in enumerate(found) if language and language not in config.languages], np.int64)
    counts = ", ".join(f"{language} {count}" for language, count in Counter(found[row] for row in rows).most_common(5))
    return [_left(table, name, rows, tr("in other languages ({counts})", counts=counts))]


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_of(text: str | None) -> str:
    """ISO 639-1 code of a text's language; empty where it cannot be told. Han characters without kana or hangul are Chinese, old or new."""
    some = (text or "")[:READ]
    letters = len(LETTER.findall(some))
    if letters and len(HAN.findall(some)) > 0.5 * letters and not KANA.search(some):
        return "zh"
    language, confidence = _identifier().classify(some) if letters else ("", 0.0)
    return "" if confidence < SURE else "zh" if language in SINITIC else str(language)


def shares(cells: pa.ChunkedArray) -> dict[str, float]:
    """Language -> share of up to SAMPLE texts spread over the cells, the most frequent first; '' where it cannot be told."""
    known = pc.drop_null(text_of(cells))
    some = sample(known, SAMPLE)
    counts = Counter(language_of(text) for text in some.to_pylist())
    return {language: count / max(1, len(some)) for language, count in counts.most_common()}


def _duplicates(table: Table, name: str, config: CleanConfig) -> list[Left]:
    if not config.duplicates:
        return []
    digests = row_digests(replace(table, kinds={}), [name])
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    again = first[inverse] != np.arange(len(table))
    exact = _left(table, name, np.flatnonzero(again), tr("the same as an earlier one"))
    if config.duplicates == "exact":
        return [exact]
    kept = np.flatnonzero(~again)
    pairs = near_texts(text_of(table.column(name).take(pa.array(kept))), most=None)
    near = _left(table, name, kept[_later(pairs, len(kept))], tr("nearly the same as an earlier one"))
    both = np.union1d(exact.rows, near.rows)
    return [Left(both, together(left.sentence for left in (exact, near) if len(left.rows)))]


def _later(pairs: np.ndarray, rows: int) -> np.ndarray:
    """All rows but the first of each group that pairs (P, 2) tie together, directly or through others."""
    root = np.arange(rows)

    def first(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]  # the way is halved for who comes next
            row = int(root[row])
        return row

    for pair in pairs.tolist():
        one, other = map(first, pair)
        root[max(one, other)] = min(one, other)
    return np.flatnonzero(root != np.arange(rows))
