"""A list that names folders in place of files (a patient's, a subject's, a specimen's): its row holds for every file in the folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.listed import Reader, known, names_files

SHARE = 0.5
"""Of the list's rows, so many at least must name a folder."""


def of_folders(root: Path, tables: Sequence[str], read_file: Reader, inside: tuple[list[str], str, tuple[str, ...]]) -> Table | None:
    """The files as rows with the columns of the list that names their folders; None where none does, or one names files.

    `inside`: the files, their kind, and what is to be said.
    """
    files, media, problems = inside
    folders = _folders(files)
    for file in (file for file in tables if "/" not in file) if folders else ():
        try:
            listed = read_file(root / file)
        except DataError:  # whoever is to read it says why
            continue
        counts = {name: sum(cell in folders for cell in _cells(listed, name)) for name in listed.names}
        name = max(counts, key=lambda name: counts[name], default="")
        again = counts[name] - len({*_cells(listed, name)} & folders.keys()) if name else 0
        if name and counts[name] >= max(2, SHARE * len(listed)) and again < SHARE * counts[name] and not names_files(listed, files):
            found = _told(replace(listed, name=file), name, folders, files, media)
            return replace(found, root=root, name=root.name, problems=(*problems, *listed.problems, *found.problems))
    return None


def _cells(listed: Table, name: str) -> list[str]:
    return ["" if cell is None else str(cell).strip().replace("\\", "/").strip("/") for cell in listed.data.column(name).to_pylist()]


def _folders(files: Sequence[str]) -> dict[str, str]:
    """Folders by path, and by name where only one is called so."""
    paths = {str(parent) for file in files for parent in PurePosixPath(file).parents if str(parent) != "."}
    counts = Counter(PurePosixPath(path).name for path in paths)
    return {PurePosixPath(path).name: path for path in paths if counts[PurePosixPath(path).name] == 1} | {path: path for path in paths}


def _told(listed: Table, name: str, folders: dict[str, str], files: Sequence[str], media: str) -> Table:
    rows: dict[str, int] = {}
    again, lost = 0, list[str]()
    for row, cell in enumerate(_cells(listed, name)):
        if cell not in folders:
            lost.append(cell)
        elif folders[cell] in rows:
            again += 1
        else:
            rows[folders[cell]] = row
    owners = [next((str(parent) for parent in PurePosixPath(file).parents if str(parent) in rows), "") for file in files]
    kept = [place for place, owner in enumerate(owners) if owner]
    notes = [tr("{file} names folders in column {name!r}: what it says of one holds for the {count:,} files in them.",
                file=listed.name, name=name, count=len(kept))]  # fmt: skip
    if lost:
        notes.append(
            tr("Of the list's rows {count:,} name no folder with such files; the first: {first!r}.", count=len(lost), first=lost[0])
        )
    if again:
        notes.append(tr("Of the list's rows {count:,} name a folder again; the first row of each counts.", count=again))
    if len(kept) < len(files):
        first = files[owners.index("")]
        notes.append(tr("Left out because the list names none of their folders: {count:,} files; the first: {first}.",
                        count=len(files) - len(kept), first=first))  # fmt: skip
    found = pa.array([files[place] for place in kept], pa.large_string())
    index = pa.array(np.array([rows[owners[place]] for place in kept], np.int64))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {media: found}
    columns |= {one: listed.data.column(one).take(index) for one in listed.names if one not in (media, "file")}
    columns["file"] = found
    kinds = {one: kind for one, kind in known(columns).items() if one in (media, "file")} | {name: "id"}
    return Table(pa.table(columns), kinds, problems=tuple(notes))
