"""From the columns of a table to the inputs of a model: learned from training rows, applied alike ever after.

Legend: N rows, F number features, M category columns.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from duomo.core.contract import Field
from duomo.core.errors import DataError
from duomo.core.kinds import KINDS, audio, image, infer, media, number, video
from duomo.core.kinds.base import Block, Cells
from duomo.core.kinds.cells import is_bytes
from duomo.core.messages import listed, nearest, tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import MEDIA, Table
from duomo.core.tensors import Choices, Column, Dense
from duomo.data import cache, spill
from duomo.data.digests import cell_digests, files

CHUNK = {"numbers": 65536, "categories": 65536, "tokens": 8192, "frames": 8192, "pixels": 1024, "waveform": 256, "clips": 64}
"""Rows that are encoded at a time, by form."""
STACKED = ("numbers", "categories")


class Learned(NamedTuple):
    """One input column: its name, kind, and what was learned."""

    column: str
    kind: str
    state: dict[str, Any]


class Broken(NamedTuple):
    """A media cell that cannot be read: row number from 0, column, and a sentence with the file and the reason."""

    row: int
    column: str
    reason: str


class InputEncoder:
    """Turns feature columns into input columns: all numbers and dates as `numbers`, all categories as `categories`,
    every other column as `kind:column`. Ids are left out.
    """

    def __init__(self, config: EncodeConfig):
        self.config = config
        self.given: Mapping[str, Mapping[str, Any]] = {}
        """Kind -> what a model trained before encodes it with."""
        self.learned: list[Learned] = []
        self._fields: dict[str, Field] = {}

    def fit(self, table: Table, features: list[str]) -> None:
        """Learn from training rows; DataError where nothing can be learned from."""
        if not table.kinds:
            table = infer(table, {})
        self.learned, self._fields = [], {}
        for name in features:
            cells, kind = Cells(table.column(name), table.root), table.kinds[name]
            if KINDS[kind].form is not None:
                spill.release()
                one = KINDS[kind]
                state = one.adopt(self.given[kind], cells, self.config) if kind in self.given else one.fit(cells, self.config)
                self.learned.append(Learned(name, kind, state))
        if not self.learned:
            raise DataError(
                "At least one column must be left to learn from; received {features}. Set a kind with --kind, or ignore fewer.",
                features=", ".join(f"{name} ({table.kinds[name]})" for name in features) or "-",
            )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        return {"columns": [{"column": one.column, "kind": one.kind, "state": one.state} for one in self.learned]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state()` gave."""
        self.learned, self._fields = [Learned(one["column"], one["kind"], dict(one["state"])) for one in state["columns"]], {}

    @property
    def columns(self) -> list[str]:
        """The columns that are read, in order."""
        return [one.column for one in self.learned]

    def groups(self) -> dict[str, list[Learned]]:
        """Input name -> the columns that it is made from."""
        found: dict[str, list[Learned]] = {}
        for one in self.learned:
            form = KINDS[one.kind].form
            found.setdefault(form if form in STACKED and form is not None else f"{one.kind}:{one.column}", []).append(one)
        return found

    def fields(self) -> dict[str, Field]:
        """Input name -> what a model will see; facts name the column of each feature."""
        if not self._fields:
            self._fields = {name: _field(group) for name, group in self.groups().items()}
        return dict(self._fields)

    def encode(self, table: Table, *, kept: bool = False) -> dict[str, Column]:
        """Every input as a column of N rows; columns in another order or more of them are fine, missing ones raise DataError.

        `kept`: rows that will be asked for again, now or at a later start, so that pictures and films once decoded are worth a file.
        """
        self._demand(table)
        found: dict[str, Column] = {}
        for name, group in self.groups().items():
            form = KINDS[group[0].kind].form or ""
            columns = [one.column for one in group]
            blocks, key = partial(_blocks, table, group, CHUNK[form]), _key(table, columns, group)
            if size := _bytes(group[0]) * len(table) if kept else 0:
                column = _kept(table, group[0], CHUNK[form], key, size)
            else:
                column = cache.collect(blocks(), len(table), key)
            found[name] = Choices(column.values) if form == "clips" and isinstance(column, Dense) else column
        return found

    def _demand(self, table: Table) -> None:
        names = set(table.names)
        missing = [name for name in self.columns if name not in names]
        kinds = {one.column: one.kind for one in self.learned}
        held = {kind for name in table.names if (kind := table.kinds.get(name, name)) in MEDIA}
        if missing and held and kinds[missing[0]] in MEDIA and kinds[missing[0]] not in held:
            raise DataError("What is answered must be what was learned from, {wanted}; these data hold {given}. Give files of that kind.",
                            wanted=tr(kinds[missing[0]]), given=", ".join(tr(kind) for kind in sorted(held)))  # fmt: skip
        if missing:
            raise DataError(
                "Every column that the model learned from must be there; missing: {missing}.{hint} Add it; cells may be empty.",
                missing=listed(missing), hint=nearest(missing[0], names - set(self.columns)),
            )  # fmt: skip


def broken(table: Table, columns: list[str]) -> list[Broken]:
    """Every cell of the picture, sound and film columns among `columns` that cannot be read, in the order of rows."""
    checks = {"image": image.KIND.check, "audio": audio.KIND.check, "video": video.KIND.check}
    found: list[Broken] = []
    for name in columns:
        kind = table.kinds.get(name)
        if kind in checks:
            found += [Broken(row, name, reason) for row, reason in _tried(Cells(table.column(name), table.root), kind, checks[kind])]
    return sorted(found)


def named(found: Sequence[Broken], most: int) -> str:
    """The first `most` of them by name, those together that share a reason."""
    by_reason: dict[str, list[str]] = {}
    for one in found[:most]:
        name, _, reason = one.reason.partition(": ")
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def _tried(cells: Cells, kind: str, check: Callable[[Cells], media.Broken]) -> media.Broken:
    """The cells that cannot be read; a file that opened before and has not changed since is not tried again."""
    if cells.root is None or is_bytes(cells.data.type):
        return check(cells)
    named, places = files(cells.data, cells.root)
    opens = np.append(named.opens(kind), False)[places]
    rows = np.flatnonzero(~opens)
    bad = [(int(rows[place]), reason) for place, reason in check(Cells(cells.data.take(pa.array(rows)), cells.root))]
    good = np.setdiff1d(places[rows], [*places[[row for row, _ in bad]], len(named.names)])
    if len(good):
        named.opened(kind, good)
    return bad


def _field(group: list[Learned]) -> Field:
    """The field of one input; stacked ones carry the bins and names of all their features."""
    parts = [KINDS[one.kind].field(one.state) for one in group]
    if parts[0].form not in STACKED:
        return parts[0]
    names = [one.column for one, part in zip(group, parts, strict=True) for _ in range(part.shape[0])]
    facts: dict[str, Any] = {"columns": names}
    if parts[0].form == "categories":
        facts["known"] = {one.column: one.state for one in group}
    if parts[0].form == "numbers":
        facts["bins"] = [bins for part in parts for bins in part.facts["bins"]]
        facts["spread"] = [spread for part in parts for spread in part.facts.get("spread", [[0.0, 1.0, 0.0]] * part.shape[0])]
        facts["styles"] = {
            one.column: (one.kind, part.facts["style"]) for one, part in zip(group, parts, strict=True) if "style" in part.facts
        }
    return Field(parts[0].form, (len(names),), tuple(size for part in parts for size in part.vocabulary), facts)


def _blocks(table: Table, group: list[Learned], rows: int) -> Iterator[Block]:
    """The input's blocks of at most `rows` rows; one empty block for a table without rows."""
    types, states = dict(zip(table.names, table.data.schema.types, strict=True)), [one.state for one in group]
    plain = len(table) > 0 and all(
        one.kind == "number" and types[one.column] == pa.float64() and not number.Style(*one.state["style"]).always for one in group
    )
    for start in range(0, max(1, len(table)), rows):
        spill.release()
        if plain:
            cells = table.data.select([one.column for one in group]).slice(start, rows)
            yield Block(number.matrix(cells.to_batches(), states))
            continue
        parts = [_encode(Cells(table.column(one.column).slice(start, rows), table.root), one, start) for one in group]
        if parts[0].lengths is not None or KINDS[group[0].kind].form not in STACKED:
            yield parts[0]
        else:
            columns = [part.values[:, None] if part.values.ndim == 1 else part.values for part in parts]
            yield Block(np.concatenate(columns, axis=1) if len(columns) > 1 else columns[0])


def _kept(table: Table, one: Learned, chunk: int, key: Callable[[], str], size: int) -> Column:
    """Pictures or films, those taken over that were decoded alike at an earlier start."""
    column = table.column(one.column)

    def make(start: int, rows: np.ndarray | None) -> np.ndarray:
        whole = column.slice(start, chunk)
        try:
            if rows is not None:
                return KINDS[one.kind].encode(Cells(whole.take(pa.array(rows)), table.root), one.state).values
        except DataError:  # told below, in rows of the table
            pass
        found = _encode(Cells(whole, table.root), one, start).values
        return found if rows is None else found[rows]

    reused = cache.Reused(spill.text_digest(one.kind, json.dumps(_seen(one), sort_keys=True)), lambda: cell_digests(table, one.column))
    return cache.kept(lambda: reused.blocks(make, chunk), len(table), key, size, reused)


def _seen(one: Learned) -> dict[str, Any]:
    """What decoding follows from: the level of pictures is taken off later."""
    return {name: value for name, value in one.state.items() if one.kind not in ("image", "video") or name not in ("mean", "std")}


def _bytes(one: Learned) -> int:
    """Bytes of an encoded picture or film; 0 for what is cheap to encode or differs in size."""
    state = one.state
    return math.prod([*state["size"], state.get("clips", 1), state.get("frames", 1)]) if one.kind in ("image", "video") else 0


def _encode(cells: Cells, one: Learned, start: int) -> Block:
    """One column's cells; an error that names a row is told in rows of the whole table."""
    try:
        return KINDS[one.kind].encode(cells, one.state)
    except DataError as error:
        row = error.values.get("row")
        if start and isinstance(row, int):
            raise DataError(error.template, **(error.values | {"row": row + start})) from error
        raise


def _key(table: Table, columns: list[str], group: list[Learned]) -> Callable[[], str]:
    return lambda: cache.key_of(table, columns, [[one.column, one.kind, _seen(one)] for one in group])
