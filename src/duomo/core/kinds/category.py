"""Categories: few different values; each frequent one gets a place, the rest share place 0.

Where cells hold lists ("Drama, Crime"; "red|blue"), whether a frequent part is among them is a category too: a list that is new, or met
only once, is still made of parts that are known.
Legend: N rows, K parts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.contract import Field
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import is_text, numbers_things, values_of
from duomo.core.kinds.number import parse
from duomo.core.kinds.text import NAMED as WRITTEN
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

TRUTH = {"true", "false"}
WORDED = "words"
"""In place of a separator: each word is a part."""
SEPARATORS = (";", "|", ",", "/", "；", "，", "、", WORDED)
AROUND, STOPS = " \t[](){}\"'", ",;:.!?，、；"
"""What stands around parts of lists, and behind words."""
LISTS, LOOKED, LISTED, PARTS = 20, 20_000, 0.1, 32
"""With fewer different values than that, or separators in a smaller share of the cells, no parts are looked for; most frequent values that
are looked at; most parts."""
OFTEN, SELDOM = 0.01, 5
"""Share of the cells, and number, in which a part must be among others (and as many in which it is not)."""
CLOSED = 0.8
"""Words are the parts where so large a share of them are frequent ones (of names few are), and between signs there stand several mostly."""
PHRASES, RARE, WORDS = 100, 0.2, 3
"""Different values, share of the cells with one that is met seldom, and words of these on average, from which a category is text."""


@final
class Category(Kind):
    """One of few values."""

    name: ClassVar[str] = "category"
    form: ClassVar[str | None] = "categories"

    def recognise(self, name: str, cells: Cells) -> str | None:
        kind = cells.data.type
        if pa.types.is_boolean(kind):
            return tr("the cells are true or false")
        if not is_text(kind) and not pa.types.is_null(kind) and not numbers_things(name, cells.data):
            return None
        text = pc.drop_null(values_of(cells.data))
        if not len(text):
            return tr("every cell is empty")
        distinct = len(pc.unique(text))
        long = (pc.mean(pc.utf8_length(text)).as_py() or 0) > 40
        written = name.strip().lower() in WRITTEN and distinct > 30
        limit = 0.2 if long or written else 0.5
        if limit == 0.5 and not pc.any(pc.match_substring_regex(text, r"\s")).as_py():  # of few single words more are met once by chance
            limit += min(0.3, len(text) ** -0.5)
        if distinct <= limit * len(text) or (distinct == 1 and not long):
            counted = _counted(text)
            if lists := _parts(counted):
                return tr("{distinct} different values in {rows} cells, lists of {count} parts such as {parts}", distinct=distinct,
                          rows=len(text), count=len(lists["parts"]), parts=", ".join(lists["parts"][:3]))  # fmt: skip
            return None if _phrases(counted) else tr("{distinct} different values in {rows} cells", distinct=distinct, rows=len(text))
        return None

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """State: `values` in order of frequency (place 1 first), `numeric` where 1, 1.0 and "01" are the same value, `folded` where Yes and
        YES are, as no two of the values differ in nothing else.

        In 100 rows or more a value seen once shares place 0, so that the place of the unseen is trained too.
        """
        text = pc.drop_null(values_of(cells.data))
        order = _counted(text)
        rare = 1 if len(text) >= 100 else 0
        kept = [value for value, count in order[: max(1, config.categories)] if count > rare]
        numbers, _ = parse(pa.chunked_array([pa.array(kept, pa.large_string())]))
        numeric = bool(len(kept)) and not np.isnan(numbers).any() and len(np.unique(numbers)) == len(kept)
        folded = len(pc.unique(_folded(pa.array(kept, pa.large_string())))) == len(kept)
        return {"values": kept, "numeric": numeric, "folded": folded} | _parts(order)

    def field(self, state: Mapping[str, Any]) -> Field:
        parts = len(state.get("parts", ()))
        return Field("categories", (1 + parts,), vocabulary=(len(state["values"]) + 1, *[3] * parts))

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        text = values_of(cells.data)
        known = pa.array(state["values"], pa.large_string())
        place_N = np.array(pc.fill_null(pc.index_in(text, known), -1).to_numpy(), dtype=np.int64) + 1
        if (state.get("folded") or {value.lower() for value in state["values"]} <= TRUTH) and (place_N == 0).any():
            open_ = place_N == 0
            lower = pc.index_in(_folded(pc.filter(text, pa.array(open_))), _folded(known))
            place_N[open_] = np.array(pc.fill_null(lower, -1).to_numpy(), dtype=np.int64) + 1
        if state["numeric"] and (place_N == 0).any():
            open_ = place_N == 0
            place_N[open_] = _by_number(pc.filter(text, pa.array(open_)), known)
        if not state.get("parts"):
            return Block(place_N)
        return Block(np.concatenate([place_N[:, None], _among(text, state["parts"], state["separator"])], 1))

    def filled(self, cells: Cells) -> np.ndarray:
        """bool (N,): which cells have a value."""
        return np.asarray(pc.is_valid(values_of(cells.data)).to_numpy(), bool)

    def met(self, cells: Cells, state: Mapping[str, Any]) -> np.ndarray:
        """bool (N,): which cells have a value, or hold a part, that was learned."""
        values = self.encode(cells, state).values.reshape(len(cells.data), -1)
        return (values[:, 0] > 0) | (values[:, 1:] == 2).any(axis=1)


def _folded(text: Any) -> Any:
    """Without what small and large letters, wide ones and composed ones differ in."""
    return pc.utf8_lower(pc.utf8_normalize(text, form="NFKC"))


def _counted(text: pa.ChunkedArray) -> list[tuple[str, int]]:
    """Each different value and its count, the most frequent first."""
    counted = pc.value_counts(text.combine_chunks())
    values, counts = (counted.field(name).to_pylist() for name in ("values", "counts"))
    return sorted(zip(values, counts, strict=True), key=lambda item: (-item[1], item[0]))


def _split(value: str, separator: str) -> set[str]:
    """The parts of a list, also of one that is written as JSON or Python."""
    if separator == WORDED:
        return {part for one in value.lower().split() if (part := one.strip(AROUND + STOPS))}
    return {part for one in value.split(separator) if (part := one.strip(AROUND))}


def _parts(values: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The separator of lists and their frequent parts, by what is found in most cells; nothing where cells hold no lists.

    `values`: each different one and its count, the most frequent first. A part that is always alone, or always with the same others, tells
    nothing new.
    """
    values = values[:LOOKED]
    cells = sum(count for _, count in values)
    best: tuple[int, dict[str, Any]] = (0, {})
    single = 0.0
    for separator in SEPARATORS if len(values) >= LISTS else ():
        sign = " " if separator == WORDED else separator
        if sum(count for value, count in values if sign in value) < LISTED * cells:
            continue
        rows, lists = Counter[str](), Counter[str]()
        for value, count in values:
            found = _split(value, separator)
            rows.update(dict.fromkeys(found, count))
            lists.update(found)
        least = max(SELDOM, OFTEN * cells)
        kept = [part for part, count in sorted(rows.items(), key=lambda one: (-one[1], one[0])) if least <= count <= cells - least]
        kept = [part for part in kept if lists[part] > 1][:PARTS]
        met = sum(rows[part] for part in kept)
        open_ = separator == WORDED and (2 * single > 1 or met < CLOSED * sum(count for count in rows.values() if count <= cells - least))
        if len(kept) > 1 and met > best[0] and not open_:
            best = met, {"separator": separator, "parts": kept}
            single = sum(count for part, count in rows.items() if " " not in part) / rows.total()
    return best[1]


def _phrases(values: Sequence[tuple[str, int]]) -> bool:
    """Whether so many cells hold phrases met seldom, of words met in other phrases (oil and gouache on paper), that words tell more.

    `values`: each different one and its count.
    """
    seldom = [value.lower().split() for value, count in values if count < SELDOM]
    held = sum(count for _, count in values if count < SELDOM)
    if len(values) < PHRASES or held < RARE * sum(count for _, count in values) or sum(map(len, seldom)) < WORDS * len(seldom):
        return False
    met = Counter(word for value, _ in values for word in {*value.lower().split()})
    return sum(met[word] >= SELDOM for words in seldom for word in words) >= CLOSED * sum(map(len, seldom))


def _among(text: pa.ChunkedArray, parts: Sequence[str], separator: str) -> np.ndarray:
    """int64 (N, K): 2 where the part is in the list, 1 where it is not, 0 where the cell is missing."""
    coded = text.combine_chunks().dictionary_encode()
    known = {part: place for place, part in enumerate(parts)}
    each_VK = np.ones((len(coded.dictionary) + 1, len(parts)), np.int64)
    for row, value in enumerate(coded.dictionary.to_pylist()):
        each_VK[row, [known[part] for part in _split(value, separator) if part in known]] = 2
    each_VK[-1] = 0
    return each_VK[np.asarray(pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False), np.int64)]


def _by_number(text: pa.ChunkedArray, known: pa.Array) -> np.ndarray:
    """Places (n,) of cells that equal a known value as numbers: 1.0 finds 1."""
    values, _ = parse(text)
    table, _ = parse(pa.chunked_array([known]))
    order = np.argsort(table)
    spot = np.clip(np.searchsorted(table[order], values), 0, len(order) - 1)
    return np.where(table[order][spot] == values, order[spot] + 1, 0)


KIND = Category()
