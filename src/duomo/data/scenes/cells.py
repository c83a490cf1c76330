"""Boxes in the cells of a table of pictures, as the datasets library has them, become a column of boxes.

image  objects.bbox            objects.category          image  boxes
…      [[4, 5, 20, 30], …]     ["cat", …]           ->   …      [{"label": "cat", "box": [4, 5, 24, 35]}, …]
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from duomo.core.kinds import boxes, image, media
from duomo.core.kinds.base import Cells
from duomo.core.kinds.cells import is_bytes, written
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.scenes.forms import sound
from duomo.data.scenes.rows import Row, Sizes, placed
from duomo.data.scenes.shared import FAULTS, Faults, Scene
from duomo.data.scenes.tools import CLASSES

BOX = ("bbox", "bboxes", "boxes", "box")
"""What the list of boxes is called, last of all."""
KINDS = (*CLASSES, "categories", "labels", "classes", "names")


def boxed(table: Table) -> Table:
    """The table with `boxes` in place of the columns of lists that tell them beside pictures at hand; any other as it is."""
    shown = next((name for name in table.names if is_bytes(table.column(name).type)), "")
    column = next((name for name in table.names if name.lower().rpartition(".")[2] in BOX and shown), "")
    if not column:
        return table
    above = column.rpartition(".")[0]
    beside = [name for name in table.names if name != column and name.rpartition(".")[0] == above and (above or _listed(table, name))]
    label = next((name for kind in KINDS for name in beside if name.lower().rpartition(".")[2] == kind), "")
    if not label:
        return table
    faults, cells, kinds = Faults(), table.column(column).to_pylist(), table.column(label).to_pylist()
    try:
        told = {str(row): _rows(cell, kind) for row, (cell, kind) in enumerate(zip(cells, kinds, strict=True))}
    except FAULTS:
        return table
    found = media.decode_all(media.sources(Cells(table.column(shown), table.root)), image.upright)
    sizes: Sizes = {str(row): size for row, size in enumerate(found)}
    scenes = {scene.file: sound(scene, faults) for scene in placed(sizes, told, "extents", faults)}
    rows = [boxes.write(scenes.get(name, Scene(name, 0, 0, [])).boxes) for name in told]
    gone = [column, *(beside if above else [label])]
    said = tr("The boxes of each picture are read from {column!r} and {label!r}.", column=column, label=label)
    data = table.data.drop_columns(gone).append_column("boxes", pa.array(rows, pa.large_string()))
    kinds_of = {name: kind for name, kind in table.kinds.items() if name not in gone} | {"boxes": "boxes"}
    return replace(table, data=data, kinds=kinds_of, problems=(*table.problems, said, *faults.sentences()))


def _listed(table: Table, name: str) -> bool:
    return any(isinstance(_plain(cell), list) for cell in table.column(name).slice(0, 1).to_pylist())


def _plain(cell: Any) -> Any:
    return written(cell) if isinstance(cell, str) and cell[:1] == "[" else cell


def _rows(cell: Any, kinds: Any) -> list[Row]:
    """The boxes of a cell; one of FAULTS where they are none, or not as many as classes."""
    told: Sequence[Any] = _plain(cell) or []
    labels: Sequence[Any] = _plain(kinds) or []
    return [Row(str(label), (float(a), float(b), float(c), float(d))) for (a, b, c, d), label in zip(told, labels, strict=True)]
