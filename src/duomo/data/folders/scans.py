"""Medical scans of a folder as rows: a slice each, as a PNG in the cache, with what its header tells; a volume's slices stay together."""

import io
import os
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from duomo.core import scans
from duomo.core.errors import DataError
from duomo.core.files import digest
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data import cache
from duomo.data.folders.files import kind_of

MEASURED = ("age", "pixel_mm", "slice", "slice_mm")
"""Columns that are told otherwise than by a header's word; all are numbers."""
MARK = re.compile(r"(?<=[/_. -])")
"""Behind the signs that divide the name of a file."""
FEWEST_PERSONS, MOST_EACH = 5, 0.25
"""Beginnings of names that may be persons: so many at least, with at most that share of the files each."""
LEAST_SPREAD = 2.0
"""Deviation of the grey values below which a slice of a volume shows nothing."""


def unfolded(table: Table) -> Table:
    """The table with every cell of `image` that names a scan as rows of its slices; unchanged where there is none."""
    root = table.root
    cells = table.data.column("image").to_pylist() if "image" in table.data.column_names and root else []
    if root is None or not any(isinstance(cell, str) and cell and _is_scan(root / cell) for cell in cells):
        return table
    rows, told = list[int](), list[dict[str, Any]]()
    refused = list[tuple[str, str]]()
    for row, cell in enumerate(cells):
        try:
            found = _slices(root, cell) if cell else [{"image": None}]
        except ValueError as error:
            refused.append((cell, str(error)))
            continue
        rows += [row] * len(found)
        told += found
    masks = list(dict.fromkeys(cells[row] for row, one in zip(rows, told, strict=True) if one.get("mask")))
    masks = masks if len(masks) < len(set(rows)) else []
    several = list(dict.fromkeys(cells[row] for row, one in zip(rows, told, strict=True) if one.pop("volumes", 1) > 1))
    shown, marks = [one.pop("shows", True) for one in told], [one.pop("mask", False) and bool(masks) for one in told]
    kept = [place for place, shows in enumerate(shown) if shows and not marks[place]]
    if not kept:
        file, reason = [*refused, (cells[0], tr("its slices show nothing"))][0]
        raise DataError("No scan could be read; the first, {file}: {reason}.", file=file, reason=reason)
    notes = _notes(refused, sum(not (shows or mark) for shows, mark in zip(shown, marks, strict=True)), masks, several)
    rows, told = [rows[place] for place in kept], [told[place] for place in kept]
    labels = table.data.column("label").to_pylist() if "label" in table.names else [None] * len(cells)
    _own(told, [cells[row] for row in rows], [labels[row] for row in rows])
    return _joined(_unmasked(table, root, notes), rows, told, notes)


def _own(told: list[dict[str, Any]], files: list[Any], labels: list[Any]) -> None:
    """Whose each row is, as `patient`: the header's patient, or its study where it names none or all name one; else as files are called."""
    one_for_all = len({one.get("patient") for one in told} - {None}) < 2
    for one in told:
        study, patient = one.pop("study", None), one.get("patient")
        one["patient"] = (study or patient) if one_for_all else (patient or study)
    starts = _starts({file: label for one, file, label in zip(told, files, labels, strict=True) if file and not one["patient"]})
    for one, file in zip(told, files, strict=True):
        one["patient"] = one["patient"] or starts.get(file)


def _starts(files: Mapping[str, Any]) -> dict[str, str]:
    """Of files and their classes: the beginning of each one's path up to the first sign by which many are told apart, where several begin
    alike (sub-01 of sub-01_T1w and sub-01_T2w); else the file. The folder of its class tells no file apart."""
    steps = {file: MARK.split(_stem(file)) for file in files}
    inside = {file: len(MARK.split(label)) if label and file.startswith(f"{label}/") else 0 for file, label in files.items()}
    for count in range(1, max(map(len, steps.values()), default=0)):
        starts = ["".join(parts[: count + inside[file]]) for file, parts in steps.items()]
        sizes = Counter(starts)
        if len(sizes) >= FEWEST_PERSONS and max(sizes.values()) <= MOST_EACH * len(starts):
            alike = len(sizes) < len(starts)
            return {file: start.rstrip("/_. -") if alike else file for file, start in zip(files, starts, strict=True)}
    return {file: file for file in files}


def _stem(file: str) -> str:
    ending = next((ending for ending in scans.ENDINGS if file.lower().endswith(ending)), "")
    return file[: len(file) - len(ending)]


def _unmasked(table: Table, root: Path, notes: list[str]) -> Table:
    """The table without columns that name masks of its scans."""
    for name in (name for name in table.names if name not in ("image", "file")):
        first = next((cell for cell in table.column(name).to_pylist() if cell), None)
        if isinstance(first, str) and scans.is_scan(Path(first)) and (root / first).is_file() and _slices(root, first)[0].get("mask"):
            notes.append(tr("Column {name!r} names masks; regions are not learned, and it is left out.", name=name))
            table = table.without([name])
    return table


def nameless(root: Path, files: list[str], media: int) -> list[str]:
    """Scans of a folder that has more of them without an ending than pictures of other kinds, as what a hospital's archive or viewer writes
    has; none where all are told by their endings."""
    others, ended = [file for file in files if not kind_of(file)], [file for file in files if file.lower().endswith(scans.ENDINGS)]
    if not others or len(others) + 2 * len(ended) <= media:
        return []
    pairs = [file for file in others if scans.is_pair(root / file)]
    found = [*pairs, *(file for file in others if scans.is_dicom(root / file))]
    return sorted([*found, *ended]) if found and len(found) + len(pairs) + 2 * len(ended) > media else []


def completed(table: Table, wanted: Sequence[str]) -> Table:
    """Scans with an empty column for each of `wanted` that headers may tell and none of these does; other tables as they are."""
    first = table.data.column("image").slice(0, 1).to_pylist() if "image" in table.names else []
    if not (first and isinstance(first[0], str) and first[0].startswith(str(_place()))):
        return table
    data = table.data
    for name in wanted:
        if name in (*scans.TOLD, *MEASURED) and name not in data.column_names:
            number = name in scans.NUMBERS or name in MEASURED
            data = data.append_column(name, pa.nulls(len(data), pa.float64() if number else pa.large_string()))
    return replace(table, data=data)


def _place() -> Path:
    return cache.folder().with_name("scans")


def _is_scan(path: Path) -> bool:
    """By its ending, or of a file without one by what it holds."""
    return scans.is_scan(path) or (not path.suffix[1:].isalpha() and scans.is_dicom(path))


def _slices(root: Path, cell: str) -> list[dict[str, Any]]:
    """A row for each slice of the file; of an ordinary picture the picture itself."""
    path = root / cell
    if not _is_scan(path):
        return [{"image": cell}]
    if scans.voxels(path).stat().st_size > scans.LARGEST:
        raise ValueError(tr("it is larger than {most} MB", most=scans.LARGEST // 10**6))
    key = digest(scans.voxels(path))
    scan = scans.read(path)
    many, facts = len(scan.slices) > 1, dict(scan.facts)
    found = []
    for number, pixels in enumerate(scan.slices):
        shown = zlib.crc32(pixels.tobytes())  # what was kept by an earlier version may look otherwise
        target = _place() / key[:2] / f"{key[:24]}-{number}-{shown:08x}.png"
        shows = not many or float(pixels.std()) >= LEAST_SPREAD
        if shows and not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{os.getpid()}-{target.name}")
            draft.write_bytes(_png(pixels))
            draft.replace(target)
        position = scan.positions[number] if number < len(scan.positions) else None
        found.append({"image": str(target), "shows": shows, "mask": scan.mask, "volumes": scan.volumes, **facts,
                      "slice": number if many else None, "slice_mm": position})  # fmt: skip
    return found


def _png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def _joined(table: Table, rows: list[int], told: list[dict[str, Any]], notes: list[str]) -> Table:
    """The rows of the files repeated for their slices, the header's columns beside; a column of the user's own wins over the header's."""
    data = table.data.take(pa.array(rows, pa.int64()))
    names = list(dict.fromkeys(name for one in told for name in one))
    for name in names:
        cells = [one.get(name) for one in told]
        if name == "image":
            data = data.set_column(data.column_names.index("image"), "image", pa.array(cells, pa.large_string()))
        elif name not in data.column_names and any(cell is not None for cell in cells):
            kind = pa.large_string() if any(isinstance(cell, str) for cell in cells) else pa.float64()
            data = data.append_column(name, pa.array(cells, kind))
    known = {"patient": "id"} | {name: "category" for name in scans.TOLD if name not in scans.NUMBERS}
    own = {name: kind for name, kind in known.items() if name in data.column_names and name not in table.names}
    headers = tuple(name for name in data.column_names if name not in table.names)
    return replace(table, data=data, kinds={**table.kinds, **own}, problems=(*table.problems, *notes), headers=headers)


def _notes(refused: list[tuple[str, str]], blank: int, masks: list[str], several: list[str]) -> list[str]:
    found = [tr("Names, dates and numbers of patients in the scans' headers are not read; patients are told apart by a digest (column "
                "patient). Burnt-in writing stays in the pixels.")]  # fmt: skip
    first = {reason: file for file, reason in reversed(refused)}
    for reason, count in Counter(reason for _, reason in refused).most_common(8):
        found.append(tr("{count:,} scans are left out ({file}): {reason}.", count=count, file=first[reason], reason=reason))
    if blank:
        found.append(tr("{count:,} slices that show nothing are left out.", count=blank))
    if masks:
        found.append(tr("{count:,} scans mark regions, which are not learned, and are left out ({file}).", count=len(masks), file=masks[0]))
    if several:
        found.append(tr("{count:,} scans hold several volumes ({file}): of each the first is read.", count=len(several), file=several[0]))
    return found
