"""What texts beside media say of them, a file a line: which part of the data it is of (testing_list.txt), or marks of all (CelebA)."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa

from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.listed import by_ends, kind_of
from duomo.data.partition import SPLIT, first_part
from duomo.data.text_encoding import detect, open_text

LISTS, LARGEST, SHARE = 50, 1 << 26, 0.5
"""Texts that may be lists, at most, and bytes of one; of its lines, or of the files, so many are named at least."""


def divided(table: Table, root: Path, files: Sequence[str], media: str, wanted: str) -> Table:
    """The table with the part that a list called after it names each file in; unchanged without such lists, or with two of one part."""
    shown = [str(file) for file in table.column(media).to_pylist()]
    names, parts = by_ends(shown), dict[str, dict[str, None]]()
    for file in _texts(root, files):
        words = first_part(PurePosixPath(file).stem.replace("trainval", "train"))
        found = [names.get(cells[0]) for cells in _lines(root / file, wanted)] if words else []
        if len(found) > 1 and found.count(None) <= (1 - SHARE) * len(found):
            if words in parts:
                return table
            parts[words] = dict.fromkeys(name for name in found if name)
    listed = {name for one in parts.values() for name in one}
    if "train" not in parts and parts and len(listed) < len(shown):
        parts["train"] = dict.fromkeys(name for name in shown if name not in listed)
    if not {"train", "test"} <= {*parts} or SPLIT in table.names:
        return table
    told = {name: part for part, one in parts.items() for name in one}
    said = tr("Lists beside the files name their parts ({parts}): they are divided so.",
              parts=", ".join(f"{part} {len(one):,}" for part, one in parts.items()))  # fmt: skip
    data = table.data.append_column(SPLIT, pa.array([told.get(name, "train") for name in shown], pa.large_string()))
    return replace(table, data=data, kinds={**table.kinds, SPLIT: "id"}, problems=(*table.problems, said))


def marked(root: Path, files: Sequence[str], media: str, wanted: str) -> Table | None:
    """The list of media as a table, its columns called as the line above the first file says, or c1 and so on; None where no text is."""
    names = by_ends(file for file in files if kind_of(file) == media)
    for file in _texts(root, files):
        lines = _lines(root / file, wanted)
        rows = [cells for cells in lines if cells[0] in names and len(cells) > 1]
        if len(rows) < SHARE * len({*names.values()}) or len({len(cells) for cells in rows}) > 1:
            continue
        above = lines[lines.index(rows[0]) - 1] if lines[0] != rows[0] else []
        width = len(rows[0]) - 1
        named = len(above) in (width, width + 1) and not above[0].startswith("#")
        head = above[-width:] if named else [f"c{place}" for place in range(1, width + 1)]
        if {cell for cells in rows for cell in cells[1:]} == {"-1", "1"}:  # CelebA's marks
            rows = [[cells[0], *(str(int(cell == "1")) for cell in cells[1:])] for cells in rows]
        columns = dict(zip(("file", *head), zip(*rows, strict=True), strict=True))
        return Table(pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()}), root=root, name=root.name)
    return None


def _texts(root: Path, files: Sequence[str]) -> list[str]:
    found = [file for file in files if kind_of(file) == "text" and (root / file).stat().st_size <= LARGEST]
    return found if len(found) <= LISTS else []


def _lines(path: Path, wanted: str) -> list[list[str]]:
    with open_text(path, detect(path, wanted)) as text:
        return [re.split(r"[\s,]+", line.strip()) for line in text if line.strip()]
