"""What several kinds ask of a column: its cells as text, a sample of them, which are missing."""

import ast
import json
import re
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.files import JSON_FAULTS

SAMPLE = 5000
MISSING = ("", "na", "n/a", "#n/a", "#na", "<na>", "nan", "null", "?")
"""Words that mean «no value» in a column of any kind, in lower case."""

THINGS, MOST_THINGS = re.compile(r"(?i)(^|[_\s.-])ids?$|(?-i:[a-z]I[dD]$)|编号$|[工学]号$"), 1000
"""Names of columns that hold the numbers of things, and how many things have a place of their own as categories."""

CLOCK = r"^([01]\d|2[0-4])[0-5]\d$"
CODED, PADDED, SHORTEST_CODE = 0.01, 0.9, 3
"""Share of cells with a leading zero from which numbers are codes, and from which they are filled up; digits of codes of one width."""

LONGEST_LITERAL = 10_000
"""Letters of a list or an object that Python wrote."""

CAST_FAULTS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)
"""What Arrow raises for cells that cannot be had in another type."""


def sample(column: pa.ChunkedArray, rows: int = SAMPLE) -> pa.ChunkedArray:
    """At most `rows` cells spread evenly over the column, so that a sorted file shows all of itself."""
    if len(column) <= rows:
        return column
    index = np.linspace(0, len(column) - 1, rows).astype(np.int64)
    if column.num_chunks == 1:
        return pa.chunked_array([column.chunk(0).take(pa.array(index))])
    return pa.chunked_array([pa.concat_arrays([column.chunk(i).take(pa.array(part)) for i, part in _split(column, index)])])


def _split(column: pa.ChunkedArray, index: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Sorted row numbers as (chunk, rows within it): taking chunk by chunk never joins a large column."""
    starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
    found = []
    for number in range(column.num_chunks):
        inside = index[(index >= starts[number]) & (index < starts[number + 1])] - starts[number]
        if len(inside):
            found.append((number, inside))
    return found


def text_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as trimmed large_string, null where missing; whole floats are written like integers (3.0 -> 3)."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
        text = pc.cast(column, pa.large_string())
        return pc.replace_substring_regex(text, r"\.0+$", "")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind):
        return pa.chunked_array([pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.large_string())])
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.utf8_trim_whitespace(pc.cast(column, pa.large_string()))
    return pc.cast(column, pa.large_string())


def narrow(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text cells with full-width digits and signs (１２％) as plain ones, and spaces that do not break a line as spaces."""
    if not pc.any(pc.invert(pc.string_is_ascii(text))).as_py():
        return text
    wide = pc.match_substring_regex(text, r"[\x{FF01}-\x{FF5E}\x{FFE0}-\x{FFE6}]")
    text = pc.if_else(wide, pc.utf8_normalize(text, "NFKC"), text) if pc.any(wide).as_py() else text
    text = pc.replace_substring(text, "℃", "°C")
    return pc.replace_substring_regex(text, r"[\x{00A0}\x{2009}\x{202F}\x{3000}]", " ")


def without(text: pa.ChunkedArray, words: tuple[str, ...]) -> pa.ChunkedArray:
    """Text cells with these words (in lower case) turned to null."""
    short = pc.less_equal(pc.utf8_length(text), max(map(len, words)))
    if not pc.any(short).as_py():
        return text
    known = pc.is_in(pc.utf8_lower(text), pa.array(words, pa.large_string()))
    return pc.if_else(known, pa.scalar(None, pa.large_string()), text)


def values_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`text_of` with the words for «no value» as null."""
    return without(text_of(column), MISSING)


def codes_of(cells: pa.ChunkedArray) -> np.ndarray:
    """(N,) int64: numbers of the values in the order in which they are met; -1 where there is none."""
    indices = pc.dictionary_encode(cells.combine_chunks()).indices
    return np.asarray(pc.fill_null(indices, -1).to_numpy(zero_copy_only=False), np.int64)


def numbers_things(name: str, column: pa.ChunkedArray) -> bool:
    """Whether whole numbers are the names of few things that come again (user_id, 店铺编号): the number itself says nothing."""
    if not pa.types.is_integer(column.type) or not THINGS.search(name):
        return False
    distinct = pc.count_distinct(column).as_py()
    return 1 < distinct <= min(MOST_THINGS, 0.5 * len(column))


def number_codes(text: pa.ChunkedArray) -> bool:
    """Whether whole numbers have zeros before them and come again, as postal codes and numbers of branches do: 02134 is no quantity.

    What is merely filled up to one width begins with zeros nearly everywhere; 0930 beside 1455 is a time of day.
    """
    text = pc.drop_null(text)
    zeros = pc.sum(pc.match_substring_regex(text, r"^0\d+$")).as_py() or 0
    if not CODED * len(text) < zeros or not pc.all(pc.match_substring_regex(text, r"^\d{2,}$")).as_py():
        return False
    if pc.all(pc.match_substring_regex(text, CLOCK)).as_py():
        return False
    widths = pc.min_max(pc.utf8_length(text)).as_py()
    padded = widths["min"] == widths["max"] and (widths["max"] < SHORTEST_CODE or zeros > PADDED * len(text))
    return not padded and pc.count_distinct(text).as_py() <= 0.5 * len(text)


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of this Arrow type are strings."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether cells of this Arrow type are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether cells of this Arrow type are numbers (booleans are not)."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def whole(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair: JSON and a terminal can give one, no text in UTF-8 holds one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def written(cell: str) -> Any:
    """What a cell holds as JSON or Python writes it; None where it holds neither."""
    try:
        return json.loads(cell)
    except JSON_FAULTS:
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(cell) if len(cell) <= LONGEST_LITERAL else None
    return None
