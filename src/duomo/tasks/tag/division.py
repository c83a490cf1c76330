"""Texts that are longer than what is learned from at once, as several rows: cut behind sentences, and within no span.

Legend: T tokens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.table import Table
from duomo.data.formats.rows import as_json
from duomo.tasks.tag import tokens as cells
from duomo.tasks.tag.labels import spans_of

AT_ONCE = 256
"""Tokens of a row from which on it is divided; weights that read pieces of words have room for twice as many."""
ENDS = re.compile(r"[.!?。！？…；;।]+[\"'”’»）)]*")
"""Tokens behind which a sentence ends."""


def divided(table: Table, source: str, target: str, cut: Mapping[str, Any]) -> Table:
    """The table with a row for each piece of its long rows; their tags are known."""
    rows, found = list[int](), list[tuple[Any, Any]]()
    for row, (cell, told) in enumerate(zip(table.column(source).to_pylist(), table.column(target).to_pylist(), strict=True)):
        pieces = list(_pieces(cell, told, cut)) or [(cell, told)]
        rows += [row] * len(pieces)
        found += pieces
    if len(rows) == len(table):
        return table
    spread = table.take(np.array(rows))
    for name, column in zip((source, target), zip(*found, strict=True), strict=True):
        kind = spread.column(name).type
        kept = column if pa.types.is_list(kind) or pa.types.is_large_list(kind) else [_written(cell) for cell in column]
        spread = replace(spread, data=spread.data.set_column(spread.names.index(name), name, pa.array(kept, kind)))
    return spread


def _written(cell: Any) -> Any:
    return as_json(cell) if isinstance(cell, list) else cell


def _pieces(cell: Any, told: Any, cut: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The pieces of a long row with what is told of each; none of a short one. Places are of tokens in lists, else of characters."""
    listed, written = cells.tokens_of(cell), cells.parsed(told)
    row, tags = cells.lesson(cell, told, {**cut, "spelled": ""} if listed else cut, {})
    most = AT_ONCE // 2 if listed and cut.get("spelled") else AT_ONCE  # words that are learned as their characters
    if tags is None or len(tags) <= most:
        return
    spans = None if isinstance(written, str) else cells.written_spans(written)
    more = cut.get("counted", 0) if listed else 0
    for start, stop in _edges(row.tokens, tags, most):
        first, last = (start, stop) if listed else (row.starts[start], row.stops[stop - 1])
        piece = listed[start:stop] if listed else row.text[first:last]
        inside = [[max(a, first) - first, min(b, last) - first, kind] for a, b, kind in spans or () if a < last and b + more > first]
        yield piece, inside if spans is not None else written[start:stop] if isinstance(written, list) else tags[start:stop]


def _edges(tokens: Sequence[str], tags: Sequence[str], most: int) -> Iterator[tuple[int, int]]:
    """Where pieces begin and end: behind the last sentence that fits, else where no span goes on."""
    inside = {place for span in spans_of(tags) for place in range(span.start + 1, span.stop)}
    start, size = 0, len(tokens)
    while size - start > most:
        free = [place for place in range(start + most // 4, start + most + 1) if place not in inside]
        ends = [place for place in free if ENDS.fullmatch(tokens[place - 1])]
        stop = (ends or free or [start + most])[-1]
        yield start, stop
        start = stop
    yield start, size
