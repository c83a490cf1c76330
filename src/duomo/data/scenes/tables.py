"""Annotated pictures in a table: a box a row, or a picture a row with its `objects`.

A box a row: its class and sides by any of the names in SIDES or EXTENTS, in pixels or (OpenImages) in shares of the picture; a cell
`bbox` of [x, y, width, height]; without names RetinaNet's file, x1, y1, x2, y2, class; or VIA's regions. A picture a row is what Hugging
Face's imagefolder has in metadata.jsonl: {"bbox": [[x, y, width, height], …], "categories": […]}, or a list of {"bbox": …, "category": …}.
Or a mask a row, as run lengths (runs.py).
Classes by name, or by number where a classes.txt or data.yaml names them.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from duomo.core.kinds import image
from duomo.core.kinds.boxes import Box
from duomo.core.kinds.cells import is_text
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.formats.text_encoding import cut
from duomo.data.partition import told
from duomo.data.scenes.forms import as_table, centred
from duomo.data.scenes.runs import EMPTY, runs_of, scenes_of
from duomo.data.scenes.shared import FAULTS, ONLY_CLASS, Faults, Pictures, Scene, boxed
from duomo.data.scenes.tools import CLASSES, label_studio, via_attribute, via_thing
from duomo.data.scenes.yolo import class_names

SIDES = (("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"),
         ("left", "top", "right", "bottom"))  # fmt: skip
EXTENTS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"),
           ("bbox_x", "bbox_y", "bbox_width", "bbox_height"))  # fmt: skip
CENTRES = tuple(
    (*centre, *extent)
    for centre in (("x_center", "y_center"), ("x_centre", "y_centre"), ("center_x", "center_y"), ("cx", "cy"), ("xc", "yc"))
    for extent in (("width", "height"), ("w", "h"))
)
"""Names of left, top, right, bottom; of left, top, width, height; of the centre, width, height. The latter two only beside a class."""
NUMBERED = ("class_id", "label_id", "category_id", "classid", "target")
"""Columns whose numbers tell the class where no other column does."""
GROUP, REGIONS = "isgroupof", "region_shape_attributes"
OBJECTS, BOX, KINDS = "objects", "bbox", ("categories", "category", "labels", "label", "classes", "class", "names", "name")
BARE = 5
"""Columns of a list without names, beside the file's: four sides and the class."""
CODES = "class-descriptions"
"""OpenImages' file with the names of its classes, a code and a name a line."""
CELL = re.compile(r"[\[(]?\s*" + r"[\s,]+".join([r"([-\d.eE+]+)"] * 4) + r"\s*[\])]?")
DRAWN = "original_width"
"""What Label Studio says of all that is drawn into a picture."""
LOOKED_AT = 200
ROUNDING = 0.001
"""How far shares of a picture may lie outside of it."""


def listed_scenes(listed: Table, files: list[str], rest: Sequence[str]) -> Table | None:
    """The list as a row for each picture; None where it lists no boxes. Pictures whose file is missing were counted before. Masks by run
    lengths, of which none is empty, are those of all pictures: on the `rest`, that no list names, is nothing."""
    if "image" not in listed.names or listed.root is None:
        return None
    names = {name.lower(): name for name in reversed(listed.names)}
    faults, cells = Faults(), {lower: listed.data.column(name) for lower, name in names.items()}
    pictures = listed.data.column("image").to_pylist()
    layout, said = sides_of(listed), tuple[str, ...]()
    masks = "" if layout or REGIONS in names else runs_of(listed)
    if drawn := _drawn(listed):
        sheets = [{"image": picture, drawn: _json(cell)}
                  for picture, cell in zip(pictures, listed.column(drawn).to_pylist(), strict=True) if picture]  # fmt: skip
        found = [*label_studio(listed.name, sheets, Pictures(files), faults)]
    elif REGIONS in names:
        found = _regions(pictures, cells[REGIONS].to_pylist(), cells["region_attributes"].to_pylist(), faults)
    elif layout is not None:
        sides, wide, label = layout
        kinds = cells[label].to_pylist() if label else [ONLY_CLASS] * len(pictures)
        at_centre = sides in CENTRES
        boxes = [_cell(cell) for cell in cells[sides[0]].to_pylist()] if len(sides) == 1 else list(
            zip(*(cells[side].to_pylist() for side in sides), strict=True))  # fmt: skip
        crowds = [str(cell) == "1" for cell in cells[GROUP].to_pylist()] if GROUP in cells else [False] * len(pictures)
        if not label:
            faults.add(tr("a box whose class nothing names is called {label}", label=ONLY_CLASS), listed.name)
        found = _rows(zip(pictures, kinds, boxes, crowds, strict=True), wide, _words(listed.root, files), faults)
        found = _pixels(listed.root, found, wide)
        found = [scene._replace(boxes=[centred(box) for box in scene.boxes]) for scene in found] if at_centre else found
    elif masks:
        label, words, told_cells = _label(names), _words(listed.root, files), cells[masks.lower()].to_pylist()
        kinds = [words.get(str(kind), str(kind)) for kind in cells[label].to_pylist()] if label else [ONLY_CLASS] * len(pictures)
        found = scenes_of(listed.root, zip(pictures, kinds, told_cells, strict=True), faults)
        said = (tr("What the masks of column {name!r} mark is read as boxes.", name=masks),)
        if rest and None not in told_cells and not {*told_cells} & {*EMPTY}:
            found += [Scene(file, 0, 0, []) for file in rest]
            said += (tr("No mask is of {count:,} pictures beside, the first {first}: there is nothing on them.",
                        count=len(rest), first=rest[0]),)  # fmt: skip
    else:
        parts = {name[len(OBJECTS) + 1 :]: names[name] for name in names if name == OBJECTS or name.startswith(f"{OBJECTS}.")}
        if not ("" in parts and "bbox" in str(listed.data.column(parts[""]).slice(0, LOOKED_AT).to_pylist())) and BOX not in parts:
            return None
        of_parts = {part: listed.data.column(name).to_pylist() for part, name in parts.items()}
        found = list(_objects(pictures, of_parts, class_names(listed.root, files), faults))
    if part := told(listed):
        of_picture = dict(zip(pictures, listed.data.column(part).to_pylist(), strict=True))
        found = [scene._replace(part=str(of_picture[scene.file])) for scene in found]
    extents = REGIONS not in names and not masks and not drawn and (layout is None or layout[0] == (BOX,) or layout[0] in EXTENTS)
    return as_table(listed.root, found, faults, (*listed.problems, *said), extents=extents)


def lists_boxes(listed: Table) -> bool:
    return REGIONS in {name.lower() for name in listed.names} or sides_of(listed) is not None or bool(runs_of(listed) or _drawn(listed))


def _drawn(listed: Table) -> str:
    """The column whose cells are what Label Studio's short form has: lists of what was drawn; empty where none is."""
    for name in (name for name in listed.names if is_text(listed.column(name).type)):
        cells = [_json(cell) for cell in listed.column(name).slice(0, LOOKED_AT).to_pylist() if cell and DRAWN in cell]
        if any(isinstance(cell, list) and cell and isinstance(cell[0], dict) and DRAWN in cell[0] for cell in cells):
            return name
    return ""


def _label(names: Collection[str]) -> str:
    """The column of classes, of names in lower case; empty without one."""
    return next((name for name in (*CLASSES, *NUMBERED) if name in names), "")


def sides_of(listed: Table) -> tuple[tuple[str, ...], bool, str] | None:
    """The columns of a box's sides in lower case (or the one that holds all four), whether the last two are width and height, and the
    class's column, "" without one; None where the table has no boxes in its rows."""
    names = [name.lower() for name in listed.names]
    label = _label(names)
    for sides in (*SIDES, *((*EXTENTS, *CENTRES) if label else ())):
        if {*sides} <= {*names} and all(_numeric(listed, side) for side in sides):
            return sides, sides in (*EXTENTS, *CENTRES), label
    if BOX in names and all(_cell(cell) for cell in _some(listed, BOX)):
        return (BOX,), True, label
    bare = [name for name in names if re.fullmatch(r"c\d+", name)]
    if len(bare) in (BARE, BARE + 1) and all(_numeric(listed, name) for name in bare[-BARE:-1]) and not _numeric(listed, bare[-1]):
        return tuple(bare[-BARE:-1]), False, bare[-1]
    return None


def _some(listed: Table, lower: str) -> list[Any]:
    name = next(name for name in listed.names if name.lower() == lower)
    return [cell for cell in listed.data.column(name).slice(0, LOOKED_AT).to_pylist() if cell not in (None, "")]


def _numeric(listed: Table, lower: str) -> bool:
    """Whether half or more of the first cells that are filled are numbers, and some are filled."""
    cells = _some(listed, lower)
    return bool(cells) and sum(_is_number(cell) for cell in cells) >= 0.5 * len(cells)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except FAULTS:
        return False
    return True


def _cell(cell: Any) -> tuple[Any, ...]:
    """The four numbers of a cell such as [834.0, 222.0, 56.0, 36.0]; none where it holds anything else."""
    if isinstance(cell, str):
        told = CELL.fullmatch(cell.strip())
        return told.groups() if told else ()
    return tuple(cell) if isinstance(cell, list) and len(cell) == len(SIDES[0]) else ()


def _words(root: Path, files: list[str]) -> dict[str, str]:
    """Names of the classes that the rows tell by a number or a code."""
    found = {str(number): word for number, word in class_names(root, files).items()}
    for file in (file for file in files if CODES in file.lower() and file.lower().endswith(".csv")):
        with (root / file).open(encoding="utf-8", errors="replace", newline="") as lines:
            found |= {row[0]: row[1] for row in cut(lines) if len(row) > 1}
    return found


def _rows(rows: Iterator[tuple[Any, Any, Any, bool]], wide: bool, words: dict[str, str], faults: Faults) -> list[Scene]:
    """A box a row: picture, class, four sides, whether it is a crowd; a row without sides is a picture, or one more mention of it."""
    found: dict[str, list[Box]] = {}
    for picture, kind, sides, crowd in rows:
        if picture is None:
            continue
        things = found.setdefault(picture, [])
        try:
            if any(side not in (None, "") for side in sides):
                left, top, right, bottom = (float(side) for side in sides)
                right, bottom = (left + right, top + bottom) if wide else (right, bottom)
                if kind in (None, ""):
                    faults.add(tr("a box was left out because its class is not named"), picture)
                elif left == left:  # no number where a table says that the picture has no such thing
                    things.append(Box(words.get(str(kind), str(kind)), left, top, right, bottom, crowd))
        except FAULTS:
            faults.add(tr("a box was left out because its sides are no numbers"), picture)
    return [Scene(picture, 0, 0, things) for picture, things in found.items()]


def _pixels(root: Path, scenes: list[Scene], wide: bool) -> list[Scene]:
    """The scenes in pixels, where all their boxes are told in shares of the picture; `wide`: as a place, width and height, of which none
    is above 1, though their sum may be where a box crosses the edge."""
    boxes = [box for scene in scenes for box in scene.boxes]
    if wide:
        boxes = [box._replace(right=box.right - box.left, bottom=box.bottom - box.top) for box in boxes]
    sides = [side for box in boxes for side in box[1:5]]
    if not sides or max(sides) > 1 + ROUNDING or min(sides) < -ROUNDING:
        return scenes
    found = []
    for scene in scenes:
        try:
            width, height = image.upright(root / scene.file)
        except ValueError:  # named where all pictures are looked at
            continue
        boxes = [box._replace(left=box.left * width, top=box.top * height, right=box.right * width, bottom=box.bottom * height)
                 for box in scene.boxes]  # fmt: skip
        found.append(scene._replace(boxes=boxes))
    return found


def _regions(pictures: list[str | None], shapes: list[Any], attributes: list[Any], faults: Faults) -> list[Scene]:
    """VIA's list: a region a row, its shape and attributes as JSON."""
    found: dict[str, list[Box]] = {}
    told = [_json(cell) for cell in attributes]
    named = via_attribute([one for one, shape in zip(told, shapes, strict=True) if _json(shape)], faults)
    for picture, shape, about in zip(pictures, shapes, told, strict=True):
        if picture is None:
            continue
        things = found.setdefault(picture, [])
        outline = _json(shape)
        if outline and (box := boxed(partial(via_thing, outline, about, named), picture, shape, faults)) is not None:
            things.append(box)
    return [Scene(picture, 0, 0, things) for picture, things in found.items()]


def _json(cell: Any) -> Any:
    """What a cell holds as JSON; an unlike word where it is broken."""
    try:
        return json.loads(cell) if isinstance(cell, str) and cell.strip() else None
    except FAULTS:
        return cell


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
