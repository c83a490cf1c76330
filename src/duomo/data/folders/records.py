"""Folders of records, a file each: JSON objects in files of any ending that texts have become the rows of one table.

sport/1.json   {"title": "Cup", "text": "They won."}   ->   title   text        label   file
money/1.json   {"title": "Oil", "text": "It rose."}         Cup     They won.   sport   sport/1.json
"""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.core.messages import listed, tr
from duomo.core.table import Table
from duomo.data.folders.classes import kinds_of, labels_of
from duomo.data.folders.companions import cards, is_named
from duomo.data.folders.files import Folder
from duomo.data.folders.listed import GROUP
from duomo.data.formats.frames import from_rows
from duomo.data.formats.frames import plain as as_plain
from duomo.data.formats.text_encoding import read_text
from duomo.data.formats.typed import MOST_JSON, is_conversation

ENDINGS = (".json", ".txt", "")
FEWEST, LOOKED_AT = 5, 20
"""Files that make a table, at least; those that are looked at first."""
MOST, SHARED = 0.9, 0.5
"""Of those so many are records, and of the fields of each so many are in all."""


def read_records(folder: Folder) -> Table | None:
    """The records of most files with what they are called and the folders of classes; None for a folder of other files."""
    root, files, wanted = folder.root, folder.files, folder.encoding
    aside = cards(files)
    found = [file for file in files if _ending(file) in ENDINGS and not is_named(file) and file not in aside]
    ending = Counter(map(_ending, found)).most_common(1)[0][0] if found else ""
    found = [file for file in found if _ending(file) == ending]
    if len(found) < max(FEWEST, len(files) / 2) or not _are_records(root, found, wanted):
        return None
    if sum(map(folder.size, found)) > MOST_JSON:
        raise DataError("Records in files of their own are read whole and may have at most {most} bytes together; those of {folder} have "
                        "more. Save them as JSON Lines (.jsonl).", most=MOST_JSON, folder=root.name)  # fmt: skip
    records, notes = dict[str, dict[str, Any]](), list[str]()
    for file in found:
        if (record := _record(root / file, wanted, file, notes)) is not None:
            records[file] = record
    lost = [file for file in files if file not in records and file not in aside]
    said = [tr("{count} files are no records as the others and are not read: {names}.", count=len(lost), names=listed(lost, 3))]
    schema, batches = from_rows(lambda: list(records.values()))
    data = as_plain(pa.Table.from_batches(list(batches), schema))
    facts, told = _folders(root, list(records), data.column_names)
    for name, cells in (facts | {"file": list(records)}).items():
        data = (data.drop_columns([name]) if name in data.column_names else data).append_column(name, pa.array(cells, pa.large_string()))
    words = tr("{count:,} files hold a record each and are the rows of one table.", count=len(records))
    return folder.table(data, kinds_of(["file", *facts]), words, *told, *(said if lost else ()), *notes[:3])


def _ending(file: str) -> str:
    return PurePosixPath(file).suffix.lower()


def _are_records(root: Path, files: Sequence[str], wanted: str) -> bool:
    """Whether some of the files are objects of fields that most have, and at least one of which is no list: columns are none."""
    some = [files[place] for place in np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).astype(int))]
    found = [record for file in some if (record := _record(root / file, wanted, file, [])) is not None]
    if len(found) < MOST * len(some):
        return False
    shared = set.intersection(*map(set, found))
    plain = any(not isinstance(record[name], list | dict) for record in found for name in shared)
    return plain and len(shared) >= SHARED * max(map(len, found))


def _record(path: Path, wanted: str, name: str, notes: list[str]) -> dict[str, Any] | None:
    """The object that a file holds, unless that holds a table of its own."""
    with path.open("rb") as file:
        if b"{" not in file.read(64):
            return None
    with suppress(DataError, *JSON_FAULTS):
        text, problems = read_text(path, wanted)
        found = json.loads(text)
        notes += [f"{name}: {problem}" for problem in problems]
        return found if isinstance(found, dict) and not any(map(_is_table, found.values())) else None
    return None


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value) and not is_conversation(value)


def _folders(root: Path, files: list[str], names: Sequence[str]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The class folders of the files as columns, where no field is called so, and what is to be said."""
    try:
        classed = None if "label" in names else labels_of(root, files)
    except DataError:  # parts of the data without classes: `file` tells them
        classed = None
    if classed is None or len({*classed.labels}) < 2 or "" in classed.labels:
        return {}, ()
    return {"label": classed.labels} | ({GROUP: classed.groups} if classed.groups else {}), classed.said
