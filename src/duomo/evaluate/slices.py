"""Where a model errs most: slices of the test rows, judged with the number of slices looked at in mind.

Legend: N test rows, S slices.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.files import JSON_FAULTS
from duomo.core.kinds import date, number, series
from duomo.core.kinds.cells import is_text, values_of
from duomo.core.messages import tr
from duomo.core.table import Table, evenly

FEWEST_ROWS = 8
"""A slice of fewer rows says nothing."""
MOST_VALUES = 24
"""Values of a category column that become slices of their own; the most frequent ones."""
FEW_NUMBERS = 12
"""A number column of no more values is cut by value."""
FAMILY_ERROR = 0.05
"""Chance that any slice at all is named although none differs (Bonferroni)."""
SHOWN = 10
LOOKED_AT = 1000
"""Columns of a kind that are cut; of more these, from all over them: what stands out among so many slices is chance."""


@dataclass(frozen=True)
class Slice:
    """Rows that share something: `inside` (N,) bool."""

    column: str
    template: str
    values: Mapping[str, Any]
    inside: np.ndarray


def worst_slices(test: Table, errors: np.ndarray, columns: Sequence[str]) -> dict[str, Any]:
    """The slices of `columns` whose mean error lies furthest above that of the other rows, as JSON values.

    `errors` (N,) belong to the rows of `test`. Slices of the same rows are told once, by the first column. A slice stands out when Welch's
    test against the other rows stays significant at 5 % after dividing by the number of slices looked at.
    """
    errors = np.nan_to_num(np.asarray(errors, np.float64), nan=0.0)
    unlike = dict[bytes, Slice]()
    for name in _some(test, columns):
        for cut in _cuts(test, name):
            unlike.setdefault(cut.inside.tobytes(), cut)
    found = [cut for cut in unlike.values() if FEWEST_ROWS <= int(cut.inside.sum()) <= len(errors) - FEWEST_ROWS]
    judged = [_judge(cut, errors, len(found)) for cut in found]
    judged.sort(key=lambda item: (not item["stands_out"], -item["score"]))
    worst = [item for item in judged if item["error"] > item["rest"]][:SHOWN]
    return {
        "tested": len(found), "level": FAMILY_ERROR / len(found) if found else FAMILY_ERROR,
        "overall": float(errors.mean()) if len(errors) else None, "worst": worst,
        "standing_out": sum(item["stands_out"] for item in judged),
    }  # fmt: skip


def _some(test: Table, columns: Sequence[str]) -> list[str]:
    by_kind: dict[str, list[str]] = {}
    for name in columns:
        by_kind.setdefault(test.kinds.get(name, ""), []).append(name)
    kept = {names[place] for names in by_kind.values() for place in evenly(len(names), LOOKED_AT)}
    return [name for name in columns if name in kept]


def _judge(cut: Slice, errors: np.ndarray, tested: int) -> dict[str, Any]:
    inside, rest = errors[cut.inside], errors[~cut.inside]
    deviation = float(inside.std(ddof=1) / np.sqrt(len(inside)))
    spread = float(np.hypot(deviation, rest.std(ddof=1) / np.sqrt(len(rest))))
    above = float(inside.mean() - rest.mean())
    score = above / spread if spread > 0 else (np.inf if above > 0 else 0.0)
    limit = NormalDist().inv_cdf(1 - FAMILY_ERROR / max(1, tested) / 2)
    return {
        "column": cut.column, "template": cut.template, "values": dict(cut.values), "rows": int(cut.inside.sum()),
        "error": float(inside.mean()), "low": float(inside.mean() - 1.96 * deviation), "high": float(inside.mean() + 1.96 * deviation),
        "rest": float(rest.mean()), "score": float(min(score, 1e6)), "stands_out": bool(score > limit),
    }  # fmt: skip


def noted(found: Mapping[str, Any]) -> str:
    """How seriously the worst slices are to be taken, in the reader's language."""
    none = "{count} slices were looked at; none errs more than chance among so many would explain."
    some = "{count} slices were looked at; those marked err more than the other rows even after allowing for that many looks (5 % in all)."
    return str(found.get("note") or tr(some if found.get("standing_out") else none, count=found["tested"]))


def label(item: Mapping[str, Any]) -> str:
    """What the rows of a slice share, in the reader's language."""
    return f"{item['column']} {tr(item['template'], **item['values'])}"


def _cuts(test: Table, name: str) -> Iterator[Slice]:
    kind, column = test.kinds.get(name, "text"), test.column(name)
    cells = values_of(column) if is_text(column.type) else column
    missing = np.asarray(pc.is_null(cells).to_numpy(), bool)
    if missing.any() and not missing.all():
        yield Slice(name, "is missing", {}, missing)
    if kind == "category" and not pa.types.is_nested(column.type):
        yield from _values(name, values_of(column).combine_chunks())
    elif kind == "number":
        values = number.parse(column)[0]
        distinct = np.unique(values[np.isfinite(values)])
        if len(distinct) > FEW_NUMBERS:
            yield from _bins(name, values, "from {low} to {high}")
        else:
            yield from (Slice(name, "is {value}", {"value": f"{value:.6g}"}, values == value) for value in distinct)
    elif kind == "date":
        moments = date.parse(column)[0]
        seconds = np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(np.float64))
        yield from _bins(name, seconds, "from {low} to {high}", lambda value: str(np.datetime64(int(value), "s"))[:10])
    elif kind == "text" and is_text(column.type):
        if (entries := _entries(cells)) is not None:
            yield from _bins(name, entries, "of {low} to {high} entries")
            return
        lengths = pc.fill_null(pc.cast(pc.utf8_length(cells), pa.float64()), np.nan)
        yield from _bins(name, np.asarray(lengths.to_numpy()), "of {low} to {high} characters")
    elif kind == "series":
        yield from _bins(name, series.parse(column)[1].astype(np.float64), "of {low} to {high} steps")


def _entries(cells: pa.Array) -> np.ndarray | None:
    """(N,) how many entries each cell has where all are lists (tokens, messages); None for other texts."""
    found = list[float]()
    for cell in cells.to_pylist():
        if cell is not None and not cell.startswith("["):
            return None
        try:
            read = json.loads(cell) if cell is not None else None
        except JSON_FAULTS:
            return None
        found.append(np.nan if read is None else len(read))
    return np.array(found, np.float64)


def _values(name: str, cells: pa.Array) -> Iterator[Slice]:
    coded = cells.dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes[codes >= 0], minlength=len(coded.dictionary))
    for code in np.argsort(-counts, kind="stable")[:MOST_VALUES]:
        yield Slice(name, "is {value}", {"value": str(coded.dictionary[int(code)].as_py())[:60]}, codes == code)


def _bins(name: str, values: np.ndarray, template: str, write: Callable[[float], str] = "{:.6g}".format) -> Iterator[Slice]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    edges = np.unique(np.quantile(finite, [0, 0.25, 0.5, 0.75, 1]))
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        last = place == len(edges) - 2
        inside = (values >= low) & ((values <= high) if last else (values < high))
        yield Slice(name, template, {"low": write(low), "high": write(high)}, inside)
