"""Series: steps of one or more channels, standardised per channel.

Legend: N rows, T steps, C channels.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.contract import Field
from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.core.kinds import numbers
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import is_number, is_text, sample, text_of
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
LEAST, MOST = 8, 2048
"""Numbers in every cell from which they are a series without brackets: fewer are a date, a place, a version. Steps of a series at most: of
longer ones so many neighbours become one, their mean."""
BARE = rf"^{NUMBER}(?:(?:\s+|\s*[;,|]\s*){NUMBER}){{{LEAST - 1},}}$"
NUMBERS, DIVIDED = re.compile(rf"{NUMBER}(?:(?:\s+|\s*[;,|]\s*){NUMBER})+"), re.compile(r"\s*[;,|]\s*|\s+")
ARRAY_FAULTS = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)
"""What Arrow raises for lists that are not of numbers, or of such as float64 does not hold."""


@final
class Series(Kind):
    """Measurements over time."""

    name: ClassVar[str] = "series"
    form: ClassVar[str | None] = "frames"

    def recognise(self, name: str, cells: Cells) -> str | None:
        kind = cells.data.type
        if _is_list(kind):
            if not _is_list(kind.value_type) and _side_by_side(name, cells, cells.data):
                return None
            inner = kind.value_type.value_type if _is_list(kind.value_type) else kind.value_type
            return tr("the cells are lists of numbers") if is_number(inner) or pa.types.is_null(inner) else None
        if not is_text(kind):
            return None
        text = pc.drop_null(text_of(sample(cells.data, 200)))
        bare = len(text) > 0 and pc.all(pc.match_substring_regex(text, BARE)).as_py()
        if not bare and (not len(text) or not pc.all(pc.match_substring_regex(text, r"^\[[-+\d\s.,eE\[\]naulN]*\]$")).as_py()):
            return None
        try:
            parse(text)
        except DataError:
            return None
        if not bare and _side_by_side(name, cells, pa.chunked_array([_from_json(text)])):
            return None
        return (
            tr("the cells are numbers divided by spaces, semicolons or commas")
            if bare
            else tr("the cells are lists of numbers, written as JSON")
        )

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """State: per channel `centre` and `scale`; `longest` steps kept, each the mean of `every` steps; whether lengths are `unlike`."""
        steps_TC, lengths = parse(sample(cells.data, 100_000))
        channels = steps_TC.shape[1]
        steps_TC = np.where(np.isfinite(steps_TC), steps_TC, np.nan)
        seen = np.isfinite(steps_TC).any(axis=0) if len(steps_TC) else np.zeros(channels, bool)
        centre, scale = np.zeros(channels), np.ones(channels)
        if seen.any():
            centre[seen] = np.nanmean(steps_TC[:, seen], axis=0, dtype=np.float64)
            scale[seen] = np.nanstd(steps_TC[:, seen], axis=0, dtype=np.float64)
        scale[scale < 1e-12 * np.maximum(1, np.abs(centre))] = 1.0
        every = 1 if config.longest_series else max(1, -(-int(lengths.max(initial=1)) // MOST))
        kept = -(-lengths[lengths > 0] // every)
        longest = config.longest_series or int(kept.max(initial=1))
        unlike = bool(np.ptp(np.minimum(kept, longest))) if len(kept) else False
        return {"centre": centre.tolist(), "scale": scale.tolist(), "longest": longest, "every": every, "unlike": unlike}

    def field(self, state: Mapping[str, Any]) -> Field:
        return Field("frames", (int(state["longest"]), len(state["centre"])), facts={"unlike": state.get("unlike", False)})

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        steps_TC, lengths = parse(cells.data, len(state["centre"]))
        steps_TC, lengths = thinned(steps_TC, lengths, state.get("every", 1))
        kept = np.minimum(lengths, state["longest"])
        starts = np.cumsum(lengths) - lengths
        inside = np.arange(len(steps_TC)) - np.repeat(starts, lengths) < np.repeat(kept, lengths)
        scaled_TC = (steps_TC[inside] - np.array(state["centre"])) / np.array(state["scale"])
        scaled_TC = np.clip(np.where(np.isfinite(scaled_TC), scaled_TC, 0.0), -20, 20).astype(np.float32)
        if (kept == 0).any():
            places = (np.cumsum(kept) - kept)[kept == 0]
            scaled_TC, kept = np.insert(scaled_TC, places, 0.0, axis=0), np.maximum(kept, 1)
        return Block(scaled_TC, kept)


def _side_by_side(name: str, cells: Cells, lists: pa.ChunkedArray) -> bool:
    """Whether every list has two numbers, which are a place, a size or a range: [41.7, -87.5]."""
    lengths = pc.unique(pc.drop_null(pc.list_value_length(lists))).to_pylist()
    return lengths == [2] and numbers.KIND.recognise(name, cells) is not None


def thinned(steps_TC: np.ndarray, lengths: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of so many neighbours of a series, each time; missing ones left out."""
    if every == 1 or not len(steps_TC):
        return steps_TC, lengths
    fewer = -(-lengths // every)
    place = np.arange(fewer.sum()) - np.repeat(np.cumsum(fewer) - fewer, fewer)
    first = np.repeat(np.cumsum(lengths) - lengths, fewer) + place * every
    there_TC = np.isfinite(steps_TC)
    sums_TC, count_TC = np.add.reduceat(np.where(there_TC, steps_TC, 0.0), first), np.add.reduceat(there_TC.astype(np.int64), first)
    return np.divide(sums_TC, count_TC, out=np.full_like(sums_TC, np.nan), where=count_TC > 0), fewer


def parse(column: pa.ChunkedArray, channels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Steps end to end (total, C) float64 with nan where missing, and the steps of each cell (N,); a missing cell has none.

    A cell with another number of channels, or one that is no list of numbers, raises DataError naming the row.
    """
    cells = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(cells, pa.ChunkedArray):
        cells = pa.concat_arrays(cells.chunks) if cells.num_chunks else pa.array([], column.type)
    if not _is_list(cells.type):
        cells = _from_json(text_of(column))
    lengths = np.array(pc.fill_null(pc.list_value_length(cells), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    steps = pc.list_flatten(cells)
    if not _is_list(steps.type):
        values = np.array(pc.cast(steps, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        steps_TC = values[:, None]
    else:
        widths = np.array(pc.fill_null(pc.list_value_length(steps), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
        width = int(channels or next((one for one in widths if one), 1))
        if (widths != width).any():
            _refuse(int(np.repeat(np.arange(len(lengths)), lengths)[np.argmax(widths != width)]), width, int(widths[widths != width][0]))
        flat = pc.cast(pc.list_flatten(steps), pa.float64(), safe=False)
        steps_TC = np.array(flat.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(-1, width)
    if channels is not None and steps_TC.shape[1] != channels and len(steps_TC):
        _refuse(int(np.argmax(lengths > 0)), channels, steps_TC.shape[1])
    return steps_TC if channels is None or len(steps_TC) else np.zeros((0, channels)), lengths


def _refuse(row: int, expected: int, width: int) -> None:
    raise DataError(
        "Every step of a series must have the same number of channels; row {row} has {width}, expected {expected}. Fix or remove the row.",
        row=row + 1, width=width, expected=expected,
    )  # fmt: skip


def _from_json(text: pa.ChunkedArray) -> pa.Array:
    """Cells written as JSON lists, as an Arrow array of lists (of lists)."""
    found: list[Any] = []
    for row, cell in enumerate(text.to_pylist()):
        if cell and NUMBERS.fullmatch(cell):
            cell = f"[{','.join(str(float(part)) for part in DIVIDED.split(cell))}]"
        try:
            found.append(json.loads(cell) if cell else None)
        except JSON_FAULTS as error:
            raise _unreadable(row, cell) from error
    deep = any(isinstance(cell, list) and cell and isinstance(cell[0], list) for cell in found)
    kind = pa.large_list(pa.large_list(pa.float64())) if deep else pa.large_list(pa.float64())
    for row, cell in enumerate(found):
        if cell is not None and not isinstance(cell, list):
            raise _unreadable(row, str(cell))
    try:
        return pa.array(found, kind)
    except ARRAY_FAULTS as error:
        raise _unreadable(_first_wrong(found, kind), "") from error


def _first_wrong(found: list[Any], kind: pa.DataType) -> int:
    """The first row that is no list of numbers."""
    for row, cell in enumerate(found):
        try:
            pa.array([cell], kind)
        except ARRAY_FAULTS:
            return row
    return 0


def _unreadable(row: int, cell: str) -> DataError:
    return DataError(
        "A series must be a list of numbers such as [1, 2.5, 3]; row {row} holds {cell!r}. Fix or remove the row.",
        row=row + 1,
        cell=cell[:60],
    )


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


KIND = Series()
