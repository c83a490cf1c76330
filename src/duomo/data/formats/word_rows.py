"""Tables that hold a word a row, with the sentence it belongs to: gathered into a sentence a row, as lists.

Sentence #    Word     POS   Tag            tokens                   POS             tags
Sentence: 1   London   NNP   B-geo     ->   ["London", "waits"]      ["NNP", "VBZ"]  ["B-geo", "O"]
              waits    VBZ   O
"""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.messages import tr

SENTENCES = ("sentence #", "sentence_id", "sentence id", "sentence", "sent_id", "sentence_idx", "sentence_num", "句子")
WORDS = ("word", "token", "words", "tokens", "字", "词")
TAGS = ("tag", "ner", "ner_tag", "label", "labels", "bio", "entity", "tags", "pos", "标签", "标注")
FEWEST = 1.5
"""Words a sentence, at least, on average."""


def gathered(data: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """The table with a sentence a row and what was done, or as it was where it is no such table."""
    known = {str(name).lower(): place for place, name in enumerate(data.column_names)}
    sentence, word, tag = (next((known[name] for name in names if name in known), None) for names in (SENTENCES, WORDS, TAGS))
    if sentence is None or word is None or tag is None or len({sentence, word, tag}) < 3 or not len(data):
        return data, ()
    cells = data.column(sentence).cast(pa.large_string()).combine_chunks()  # named in the first row of a sentence, or in all
    codes = np.asarray(pc.fill_null(pc.fill_null_forward(cells.dictionary_encode().indices), -1).to_numpy(zero_copy_only=False))
    first = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    other = _share(data.column(word), r"\S\s+\S|^\[") + _share(cells, r"(\S+\s+){3}")  # no single words, or the sentences themselves
    if len(data) < FEWEST * len(first) or len(np.unique(codes)) < 2 or other > 0.01:
        return data, ()
    names = {word: "tokens", tag: "tags"}
    kept = [word, *(place for place in range(data.num_columns) if place not in (sentence, word, tag)), tag]
    columns = {names.get(place, data.column_names[place]): _lists(data.column(place), [*first.tolist(), len(data)]) for place in kept}
    said = tr(
        "{rows:,} rows of a word each were read as {count:,} sentences, with columns tokens and tags.", rows=len(data), count=len(first)
    )
    return pa.table(columns), (said,)


def _share(cells: Any, pattern: str) -> float:
    """Share of the cells in which the pattern is found."""
    found = pc.sum(pc.fill_null(pc.match_substring_regex(cells.cast(pa.large_string()), pattern), False)).as_py() or 0
    return found / max(1, len(cells))


def _lists(cells: Any, borders: list[int]) -> pa.Array:
    values = ["" if cell is None else str(cell) for cell in cells.to_pylist()]
    return pa.array([json.dumps(values[start:stop], ensure_ascii=False) for start, stop in pairwise(borders)], pa.large_string())
