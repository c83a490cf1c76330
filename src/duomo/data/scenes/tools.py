"""Annotated pictures in JSON as tools for annotating export them: LabelMe, CreateML, VIA (VGG Image Annotator 1 to 3), Label Studio.

LabelMe writes a file for each picture, the others one for many. CreateML tells a box by its centre, Label Studio in hundredths.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from duomo.core.kinds.image import LARGEST
from duomo.core.messages import tr
from duomo.data.scenes.shared import FAULTS, ONLY_CLASS, Faults, Pictures, Scene, Sides, Thing, Told, around, gather, number

CLASSES = ("class", "label", "name", "category", "type", "class_name", "classname", "label_name", "labelname", "category_name")
"""What a column or an attribute that names the class is called, in lower case."""
AREAS = ("polygon", "rectangle", "circle", "mask")
"""Shapes of LabelMe that surround something; lines and points do not."""
STILL = 2
"""VIA 3's number of files that are pictures."""
SHAPES = {1: "point", 2: "rectangle", 3: "circle", 4: "ellipse", 5: "line", 6: "polyline", 7: "polygon", 8: "polygon"}
"""VIA 3's; the last is a rectangle by four points on its sides."""
UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio writes before the name of a file that it was given."""


class Form(NamedTuple):
    """How a tool writes: its name, whether a file's content is of this form, and the scenes in it."""

    name: str
    fits: Callable[[Any], bool]
    scenes: Callable[[str, Any, Pictures, Faults], Iterator[Scene]]


def _dicts(told: Any) -> list[dict[str, Any]]:
    """The objects of a list, or of an object's values; none where it holds anything else."""
    found = list(told.values()) if isinstance(told, dict) else told if isinstance(told, list) else []
    return found if all(isinstance(one, dict) for one in found) else []


# -- LabelMe
def _is_labelme(told: Any) -> bool:
    return isinstance(told, dict) and "imagePath" in told and isinstance(told.get("shapes"), list)


def _labelme(file: str, told: Any, names: Pictures, faults: Faults) -> Iterator[Scene]:
    def picture(sheet: Mapping[str, Any]) -> Told:
        return Told(str(sheet["imagePath"]), number(sheet.get("imageWidth")), number(sheet.get("imageHeight")), sheet["shapes"])

    return gather(file, [told], (picture, _labelme_thing), names, faults)


def _labelme_thing(shape: Mapping[str, Any], _: Told) -> Thing:
    label, kind = str(shape.get("label") or "").strip(), str(shape.get("shape_type") or "polygon")
    if kind != "circle":
        sides = around(shape["points"])
        return label, kind, sides if kind in AREAS else None
    (x, y), (other_x, other_y) = shape["points"]
    return label, kind, ellipse(x, y, math.hypot(other_x - x, other_y - y))


def ellipse(x: Any, y: Any, across: Any, down: Any = None) -> Sides:
    """Around an upright ellipse, or a circle, with these radii."""
    x, y, across, down = (float(value) for value in (x, y, across, across if down is None else down))
    return x - across, y - down, x + across, y + down


# -- CreateML
def _is_createml(told: Any) -> bool:
    things = [thing for one in _dicts(told) for thing in _dicts(_things(one))] if isinstance(told, list) else []
    return any("coordinates" in thing for thing in things) and any(_name(one) for one in told)


def _name(sheet: Mapping[str, Any]) -> str:
    return str(sheet.get("image") or sheet.get("imagefilename") or "")


def _things(sheet: Mapping[str, Any]) -> Any:
    return sheet.get("annotations", sheet.get("annotation", []))


def _createml(file: str, told: Any, names: Pictures, faults: Faults) -> Iterator[Scene]:
    def thing(one: Mapping[str, Any], _: Told) -> Thing:
        x, y, width, height = (float(one["coordinates"][side]) for side in ("x", "y", "width", "height"))
        return str(one.get("label") or "").strip(), "box", (x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    return gather(file, told, (lambda sheet: Told(_name(sheet), 0, 0, list(_things(sheet))), thing), names, faults)


# -- VIA
def _via_sheets(told: Any) -> list[dict[str, Any]]:
    whole = told.get("_via_img_metadata", told) if isinstance(told, dict) else None
    found = _dicts(whole) if isinstance(whole, dict) else []
    return found if all("filename" in one and "regions" in one for one in found) else []


def _via(file: str, told: Any, names: Pictures, faults: Faults) -> Iterator[Scene]:
    sheets = _via_sheets(told)
    regions = {id(sheet): _dicts(sheet["regions"]) for sheet in sheets}
    named = via_attribute([region.get("region_attributes") for found in regions.values() for region in found], faults)

    def thing(region: Mapping[str, Any], _: Told) -> Thing:
        return via_thing(region["shape_attributes"], region.get("region_attributes"), named)

    return gather(file, sheets, (lambda sheet: Told(str(sheet["filename"]), 0, 0, regions[id(sheet)]), thing), names, faults)


def via_attribute(attributes: Sequence[Any], faults: Faults) -> str:
    """The attribute of regions that names their class: by its name, else the one that is told most often; "" where there is none."""
    told = Counter(name for one in attributes if isinstance(one, dict) for name, value in one.items() if value)
    if not told and attributes:
        faults.add(tr("a box whose class nothing names is called {label}", label=ONLY_CLASS), "VIA")
    by_name = {name.lower(): name for name in told}
    return next((by_name[name] for name in CLASSES if name in by_name), told.most_common(1)[0][0] if told else "")


def via_thing(shape: Mapping[str, Any], attributes: Any, named: str) -> Thing:
    """A region: the name of its shape, how large it is, and its attributes: a word, or {"cat": true} of boxes that were ticked."""
    told = (attributes or {}).get(named) if named else ONLY_CLASS
    label = (
        next((str(name) for name, on in told.items() if on), "") if isinstance(told, dict) else str("" if told is None else told).strip()
    )
    kind = str(shape["name"])
    if kind == "rect":
        left, top, width, height = (float(shape[side]) for side in ("x", "y", "width", "height"))
        return label, kind, (left, top, left + width, top + height)
    if kind == "polygon":
        return label, kind, around(list(zip(shape["all_points_x"], shape["all_points_y"], strict=True)))
    if kind in ("circle", "ellipse"):
        return label, kind, ellipse(shape["cx"], shape["cy"], shape.get("r", shape.get("rx")), shape.get("ry"))
    return label, kind, None


# -- VIA 3
def _is_via3(told: Any) -> bool:
    return (
        isinstance(told, dict)
        and {"file", "view", "metadata", "attribute"} <= set(told)
        and any("xy" in one for one in _dicts(told["metadata"]))
    )


def _via3(file: str, told: Any, names: Pictures, faults: Faults) -> Iterator[Scene]:
    """A project: files, views that show them, attributes, and marks that lie in a view, each with a shape and what its attributes say."""
    marks: dict[str, list[tuple[Any, dict[str, str]]]] = {}
    for one in (one for one in _dicts(told["metadata"]) if one.get("xy")):
        shown = told["view"][str(one["vid"])]["fid_list"]
        marks.setdefault(str(shown[0]), []).append((one["xy"], _words(one.get("av") or {}, told["attribute"])))
    named = via_attribute([words for found in marks.values() for _, words in found], faults)
    sheets = [one for one in _dicts(told["file"]) if one.get("type", STILL) == STILL]
    for one in (one for one in _dicts(told["file"]) if one not in sheets and str(one["fid"]) in marks):
        faults.add(tr("a sheet for films was passed over: export it as pictures"), str(one.get("fname")))

    def picture(sheet: Mapping[str, Any]) -> Told:
        return Told(str(sheet["fname"]), 0, 0, marks.get(str(sheet["fid"]), []))

    def thing(mark: tuple[Any, dict[str, str]], _: Told) -> Thing:
        (number_of, *numbers), words = mark
        kind = SHAPES[int(number_of)]
        label = words.get(named, "") if named else ONLY_CLASS
        if kind == "rectangle":
            left, top, width, height = map(float, numbers)
            return label, kind, (left, top, left + width, top + height)
        if kind in ("circle", "ellipse"):
            return label, kind, ellipse(*numbers)
        return label, kind, around(numbers) if kind == "polygon" else None

    return gather(file, sheets, (picture, thing), names, faults)


def _words(told: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, str]:
    """What the attributes of a mark say, by their names; of options that were chosen by number, the first one's word."""
    found = {}
    for key, value in told.items():
        about = attributes.get(key) or {}
        options = about.get("options") or {}
        first = str(value).partition(",")[0]
        found[str(about.get("aname", key))] = str(options.get(first, value) if isinstance(options, dict) else value).strip()
    return found


# -- Label Studio
def _results(sheet: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was drawn into a picture: of its first annotation that was not given up; or, in the short form, the list in one of its keys."""
    for answer in _dicts(sheet.get("annotations", sheet.get("completions"))):
        if not answer.get("was_cancelled") and _dicts(answer.get("result")):
            drawn = _dicts(answer["result"])
            return [{**one, **one["value"]} for one in drawn if isinstance(one.get("value"), dict)]
    return next((found for value in sheet.values() if (found := [one for one in _dicts(value) if "original_width" in one])), [])


def _is_label_studio(told: Any) -> bool:
    return isinstance(told, list) and any({"x", "points", "rle"} & set(one) for sheet in _dicts(told) for one in _results(sheet))


def label_studio(file: str, told: Any, names: Pictures, faults: Faults) -> Iterator[Scene]:
    def picture(sheet: Mapping[str, Any]) -> Told:
        words = [value for value in (sheet.get("data") or sheet).values() if isinstance(value, str)]
        known = [place for word in words for place in places(word)]
        results = _results(sheet)
        width, height = (number(results[0].get(side)) if results else 0.0 for side in ("original_width", "original_height"))
        things = [one for one in results if "choices" not in one and "text" not in one]
        return Told(next((place for place in known if names.find(place, file)), known[0]), width, height, things)

    return gather(file, told, (picture, _label_studio_thing), names, faults)


def places(word: str) -> list[str]:
    """What the file at an address may be called: a path on the tool's machine, or a name with what the tool writes before it."""
    path = unquote(word.partition("?d=")[2] or word.partition("?")[0])
    folder, _, name = path.rpartition("/")
    return [path, UPLOADED.sub("", name)] if folder else [path]


def _label_studio_thing(one: Mapping[str, Any], told: Told) -> Thing:
    kind = next((key.removesuffix("labels") for key in one if key.endswith("labels") and isinstance(one[key], list)), "")
    label = str(next(iter(one.get(f"{kind}labels") or []), "")).strip()
    across, down = told.width / 100, told.height / 100
    if not across or not down:
        raise ValueError
    if "rle" in one:
        return label, kind, around_brush(bytes(one["rle"]), round(told.width), round(told.height))
    if "points" in one:
        return label, kind, around([(float(x) * across, float(y) * down) for x, y in one["points"]])
    if "radiusX" in one:
        return label, kind, ellipse(one["x"] * across, one["y"] * down, one["radiusX"] * across, one["radiusY"] * down)
    if "width" not in one or kind == "keypoint":
        return label, kind or "shape", None
    left, top, width, height = (
        float(one[side]) * unit for side, unit in zip(("x", "y", "width", "height"), (across, down) * 2, strict=True)
    )
    turn = math.radians(number(one.get("rotation")))  # about the upper left corner, clockwise
    corners = [(x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)) for x in (0, width) for y in (0, height)]
    return label, kind, around([(left + x, top + y) for x, y in corners])


def around_brush(packed: bytes, width: int, height: int) -> Sides:
    """The box of a brush's mask, four bytes a pixel of which the last is how opaque it is; ValueError if broken.

    Bits: 32 of how many bytes follow, 5 of the bits of one less one, four times 4 of the bits of a length less one; then pieces, each with
    a bit whether it repeats one byte or lists several, two bits of which width its length has, the length less one, and the bytes.
    """
    bits, place = "".join(f"{byte:08b}" for byte in packed), 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        if place > len(bits):
            raise ValueError
        return int(bits[place - count : place], 2)

    size, word = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    if size != 4 * width * height or size > 4 * LARGEST:
        raise ValueError
    flat, start = np.zeros(size, np.uint8), 0
    while start < size:
        repeats, stop = read(1), start + 1 + read(widths[read(2)])
        if stop > size:
            raise ValueError
        flat[start:stop] = min(255, read(word)) if repeats else [min(255, read(word)) for _ in range(start, stop)]
        start = stop
    down, across = np.nonzero(flat.reshape(height, width, 4)[..., 3])
    if not len(down):
        raise ValueError
    return float(across.min()), float(down.min()), float(across.max() + 1), float(down.max() + 1)


FORMS = (
    Form("CreateML", _is_createml, _createml),
    Form("VIA", lambda told: any(_dicts(one["regions"]) for one in _via_sheets(told)), _via),
    Form("VIA 3", _is_via3, _via3),
    Form("Label Studio", _is_label_studio, label_studio),
    Form("LabelMe", _is_labelme, _labelme),
)


def form_of(told: Any) -> Form | None:
    """The tool that a JSON file's content is from; None for any other."""
    try:
        return next((form for form in FORMS if form.fits(told)), None)
    except FAULTS:
        return None
