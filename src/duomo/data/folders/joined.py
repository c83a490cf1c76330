"""Folders of tables that are one together: series that lie in folders of their classes, and the parts of a table."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.kinds.cells import CAST_FAULTS
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.folders.classes import kinds_of, labels_of
from duomo.data.folders.files import Folder
from duomo.data.folders.listed import GROUP
from duomo.data.folders.part_tables import of_parts
from duomo.data.partition import PARTS

FEWEST_SERIES = 5
"""Tables in each class folder from which on a table is taken for one series."""
LARGEST_SERIES = 1 << 29
"""Bytes of such tables together, which are held in memory."""
YEAR = re.compile(r"^(19|20)\d\d([-_]?\d\d){0,2}/")
"""Folders that part a table by time."""
SHARD = re.compile(r"^(part|chunk|shard|data)?[-_.]?\d+.*\.(parquet|csv|jsonl|feather|arrow)$", re.IGNORECASE)
"""How the parts of one table are called by what writes it in parts."""


def joined(folder: Folder, tables: list[str]) -> Table:
    """Tables that are one together; DataError for others."""
    for made in (_recordings, of_parts, _sharded):
        if (whole := made(folder, tables)) is not None:
            return whole
    raise DataError(
        "A folder with several tables needs a choice; {folder} holds {files}. Give one of these files.",
        folder=folder.root.name, files=", ".join(tables[:10]), choices=tables[:50],
    )  # fmt: skip


def _recordings(folder: Folder, tables: list[str]) -> Table | None:
    """Class folders of tables of numbers, all of the same columns: each is a series. None where they are something else."""
    parted = any("=" in file or YEAR.match(file) for file in tables)
    if parted or ({file.split("/")[0].lower() for file in tables} <= PARTS.keys() and any(file.count("/") < 2 for file in tables)):
        return None
    classed = labels_of(folder.root, tables)
    size = sum(map(folder.size, tables))
    if classed is None or min(Counter(classed.labels).values()) < FEWEST_SERIES or size > LARGEST_SERIES:
        return None
    steps, names = list[np.ndarray](), list[str]()
    for file in tables:
        data = folder.read(file).data
        names = names or data.column_names
        try:
            columns = [pc.cast(column, pa.float64()).to_numpy() for column in data.columns]
        except CAST_FAULTS:
            return None
        if data.column_names != names:
            return None
        steps.append(np.stack(columns, 1))
    values, lengths = np.concatenate(steps), [len(one) for one in steps]
    rows = pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1) * len(names), pa.int32()), pa.array(values.reshape(-1)))
    cells = pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int32()), rows)
    found = {"series": cells, "label": pa.array(classed.labels, pa.large_string()), "file": pa.array(tables, pa.large_string())}
    found |= {GROUP: pa.array(classed.groups, pa.large_string())} if classed.groups else {}
    words = tr(
        "{count} tables of the columns {columns} are a series each, their folders the classes.",
        count=len(tables),
        columns=", ".join(names[:8]),
    )
    return replace(folder, problems=(words, *classed.said)).table(found, kinds_of(found))


def _sharded(folder: Folder, tables: list[str]) -> Table | None:
    """The one table whose parts these files are, by names (part-0.parquet) or folders (year=2021/), whose values become columns."""
    keys = [[word.partition("=") for word in file.split("/")[:-1] if "=" in word] for file in tables]
    named = all(keys) or all(SHARD.match(PurePosixPath(file).name) for file in tables)
    if not named or len({PurePosixPath(file).suffix for file in tables}) > 1:
        return None
    read, problems = list[pa.Table](), list[str]()
    for file, words in zip(tables, keys, strict=True):
        found = folder.read(file)
        data = found.data
        for key, _, value in words:
            if key not in data.column_names:
                data = data.append_column(key, pa.array([unquote(value)] * len(data), pa.large_string()))
        if read and set(data.column_names) != set(read[0].column_names):
            raise DataError("The parts of a table must have the same columns; {first} and {other} of {folder} have not. Fix them.",
                            first=tables[0], other=file, folder=folder.root.name)  # fmt: skip
        read.append(data if not read else data.select(read[0].column_names))
        problems += [problem for problem in found.problems if problem not in problems]
    data = pa.concat_tables(read, promote_options="permissive")
    return replace(folder, problems=tuple(problems)).table(data, {})
