"""A list that names folders in place of files (a patient's, a subject's, a specimen's), what headers of scans call them by, or what their
names begin with: its row holds for all of these files."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from duomo.core import scans
from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.folders.classes import classes
from duomo.data.folders.files import Folder
from duomo.data.folders.listed import NAMING, known, names_files
from duomo.data.scenes.tables import lists_boxes

SHARE = 0.5
"""Of what a list names, or of the files, so many at least must belong together."""
MARK = re.compile(r"[_. -]")


def of_folders(folder: Folder, files: list[str], tables: Sequence[str]) -> Table | None:
    """The files as rows with the columns of the list that names their folders, what their headers call them by, or what their names begin
    with; None where none does, or one names files.
    """
    lists = list[Table]()
    for file in (file for file in tables if "/" not in file):
        try:
            listed = folder.read(file)
        except DataError:  # whoever is to read it says why
            continue
        if not names_files(listed, files) and not explains(listed):
            lists.append(replace(listed, name=file))
        elif lists_boxes(listed):  # what is in each picture is more than what is said of many
            return None
    for keys_of in (_folders, partial(_headers, folder.root), _beginnings) if lists else ():
        keys = keys_of(files)
        known = {key for own in keys for key in own}
        for listed in lists:
            cells = {name: {*_cells(listed, name)} - {""} for name in listed.names}
            name = max(cells, key=lambda name: len(cells[name] & known), default="")
            here = cells[name] & known if name else set[str]()
            named = sum(cell in here for cell in _cells(listed, name)) if here else 0
            enough = len(here) >= SHARE * len(cells[name]) or sum(not here.isdisjoint(own) for own in keys) >= SHARE * len(files)
            if len(here) > 1 and enough and named - len(here) < SHARE * named:
                return _told(folder.noting(*listed.problems), listed, name, keys, files)
    return None


def of_scans(folder: Folder, files: list[str], lists: list[str]) -> Table:
    """Scans with what a list says of them, or by class folders."""
    folder = replace(folder, media="image")
    if found := of_folders(folder, files, lists):
        return found
    said = [tr("Lists that name none of the files are not read: {names}.", names=", ".join(lists[:3]))] if lists else []
    return classes(folder.noting(*said), files)


def explains(listed: Table) -> bool:
    """Whether a list only explains names: a word of its own, or the next number, beside each; none that names files does."""
    if len(listed) < 2 or {name.lower() for name in listed.names} & {*NAMING}:
        return False
    for name in listed.names:
        cells = [cell for cell in _cells(listed, name) if cell]
        numbers = sorted(int(cell) for cell in cells if cell.isdecimal())
        counted = len(numbers) == len(cells) and numbers == [*range(numbers[0], numbers[0] + len(numbers))] if numbers else False
        if len(set(cells)) < len(cells) or (not counted and all(cell.replace(".", "", 1).isdecimal() for cell in cells)):
            return False
    return True


def _cells(listed: Table, name: str) -> list[str]:
    return ["" if cell is None else str(cell).strip().replace("\\", "/").strip("/") for cell in listed.data.column(name).to_pylist()]


def _folders(files: Sequence[str]) -> list[list[str]]:
    """Of each file its folders by path, and by name where only one is called so."""
    above = [[parent for parent in PurePosixPath(file).parents if str(parent) != "."] for file in files]
    counts = Counter(path.name for path in {path for paths in above for path in paths})
    return [[key for path in paths for key in (str(path), path.name) if key == str(path) or counts[path.name] == 1] for paths in above]


def _headers(root: Path, files: Sequence[str]) -> list[list[str]]:
    """Of each file what its header calls it by, of one of DICOM."""
    return [scans.called(root / file) if scans.is_dicom(root / file) else [] for file in files]


def _beginnings(files: Sequence[str]) -> list[list[str]]:
    """Of each file its path, its name, and what that begins with up to each sign that divides it, the longest first."""
    names = [PurePosixPath(file).name for file in files]
    starts = [[name[: sign.start()] for sign in MARK.finditer(name) if sign.start()] for name in names]
    return [[file, name, *reversed(own)] for file, name, own in zip(files, names, starts, strict=True)]


def _told(folder: Folder, listed: Table, name: str, keys: list[list[str]], files: Sequence[str]) -> Table:
    there, rows = {key for own in keys for key in own}, dict[str, int]()
    again, lost = 0, list[str]()
    for row, cell in enumerate(_cells(listed, name)):
        if cell not in there:
            lost.append(cell)
        elif cell in rows:
            again += 1
        else:
            rows[cell] = row
    owners = [next((key for key in own if key in rows), "") for own in keys]
    kept = [place for place, owner in enumerate(owners) if owner]
    notes = [tr("{file} tells in column {name!r} which files it speaks of: what it says of one folder, header or name holds for all of "
                "them ({count:,} files).", file=listed.name, name=name, count=len(kept))]  # fmt: skip
    if lost:
        notes.append(tr("Of the list's rows {count:,} have no such files; the first: {first!r}.", count=len(lost), first=lost[0]))
    if again:
        notes.append(tr("Of the list's rows {count:,} tell of the same files again; the first row of each counts.", count=again))
    if len(kept) < len(files):
        first = files[owners.index("")]
        notes.append(tr("Left out because the list tells nothing of them: {count:,} files; the first: {first}.",
                        count=len(files) - len(kept), first=first))  # fmt: skip
    found = pa.array([files[place] for place in kept], pa.large_string())
    index = pa.array(np.array([rows[owners[place]] for place in kept], np.int64))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {folder.media: found}
    columns |= {one: listed.data.column(one).take(index) for one in listed.names if one not in (folder.media, "file")}
    columns["file"] = found
    kinds = {one: kind for one, kind in known(columns).items() if one in (folder.media, "file")} | {name: "id"}
    return folder.table(columns, kinds, *notes)
