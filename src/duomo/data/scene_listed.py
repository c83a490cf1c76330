"""Annotated pictures in a table: a box a row (file, class, xmin, ymin, xmax, ymax), or a picture a row with its `objects`.

The second is what Hugging Face's imagefolder has in metadata.jsonl: {"bbox": [[x, y, width, height], …], "categories": […]}, or a list of
{"bbox": [x, y, width, height], "category": …}; classes by name, or by number where a classes.txt or data.yaml names them.
"""

import json
from collections.abc import Iterator
from typing import Any

from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.annotated import FAULTS, Faults, Scene
from duomo.data.scene_yolo import class_names
from duomo.data.scenes import as_table
from duomo.data.split import told

SIDES, CLASSES = ("xmin", "ymin", "xmax", "ymax"), ("class", "label", "name", "category")
OBJECTS, BOX, KINDS = "objects", "bbox", ("categories", "category", "labels", "label", "classes", "class", "names", "name")


def listed_scenes(listed: Table, files: list[str]) -> Table | None:
    """The list as a row for each picture; None where it lists no boxes. Pictures whose file is missing were counted before."""
    if "image" not in listed.names or listed.root is None:
        return None
    names = {name.lower(): name for name in reversed(listed.names)}
    faults = Faults()
    label = next((names[name] for name in CLASSES if name in names), "")
    if label and {*SIDES} <= set(names):
        columns = [listed.data.column(name).to_pylist() for name in (label, *(names[side] for side in SIDES))]
        found = _rows(listed.data.column("image").to_pylist(), columns, faults)
    else:
        parts = {name[len(OBJECTS) + 1 :]: names[name] for name in names if name == OBJECTS or name.startswith(f"{OBJECTS}.")}
        if not ("" in parts and "bbox" in str(listed.data.column(parts[""]).slice(0, 200).to_pylist())) and BOX not in parts:
            return None
        cells = {part: listed.data.column(name).to_pylist() for part, name in parts.items()}
        found = list(_objects(listed.data.column("image").to_pylist(), cells, class_names(listed.root, files), faults))
    if part := told(listed):
        of_picture = dict(zip(listed.data.column("image").to_pylist(), listed.data.column(part).to_pylist(), strict=True))
        found = [scene._replace(part=str(of_picture[scene.file])) for scene in found]
    return as_table(listed.root, found, faults, listed.problems)


def _rows(pictures: list[str | None], columns: list[list[Any]], faults: Faults) -> list[Scene]:
    """A box a row: class, left, top, right, bottom; a row without sides is a picture, or one more mention of it."""
    found: dict[str, list[Box]] = {}
    for picture, kind, *sides in zip(pictures, *columns, strict=True):
        if picture is None:
            continue
        things = found.setdefault(picture, [])
        try:
            if any(side not in (None, "") for side in sides):
                left, top, right, bottom = (float(side) for side in sides)
                things.append(Box(str(kind), left, top, right, bottom))
        except FAULTS:
            faults.add(tr("a box was left out because its sides are no numbers"), picture)
    return [Scene(picture, 0, 0, things) for picture, things in found.items()]


def _objects(pictures: list[str | None], cells: dict[str, list[Any]], names: dict[int, str], faults: Faults) -> Iterator[Scene]:
    for row, picture in enumerate(pictures):
        if picture is None:
            continue
        try:
            told_row = _plain({part: _plain(column[row]) for part, column in cells.items()})
            kinds: list[Any] = next((told_row[kind] for kind in KINDS if told_row.get(kind) is not None), [])
            bare = list(zip(kinds, told_row.get(BOX) or [], strict=True))
        except FAULTS:
            faults.add(tr("a picture was left out because its boxes and classes do not fit together"), picture)
            continue
        things = []
        for kind, sides in bare:
            try:
                left, top, width, height = (float(side) for side in sides)
                things.append(Box(_name(kind, names), left, top, left + width, top + height))
            except FAULTS:
                faults.add(tr("a box was left out because its sides are no numbers"), picture)
        yield Scene(picture, 0, 0, things)


def _plain(cell: Any) -> Any:
    """What a cell holds, be it written as JSON; `objects` that are a list of things, or a cell of their own, as lists by name."""
    if isinstance(cell, str):
        return json.loads(cell) if cell.strip() else None
    if isinstance(cell, dict) and "" in cell:
        return _plain(cell[""] or {})
    if isinstance(cell, list) and cell and all(isinstance(one, dict) for one in cell):
        return {name: [one.get(name) for one in cell] for name in {name for one in cell for name in one}}
    return cell


def _name(kind: Any, names: dict[int, str]) -> str:
    """The name of a class that is told by name or by number."""
    whole = isinstance(kind, (int, float)) and not isinstance(kind, bool) and float(kind).is_integer()
    if kind is None or kind == "":
        raise ValueError
    return names.get(int(kind), str(int(kind))) if whole else str(kind)
