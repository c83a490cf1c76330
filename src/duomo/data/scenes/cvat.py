"""Annotated pictures in one XML sheet for all: CVAT's (`annotations`, its version 1.1 for images and for films) and dlib's (`dataset`, by
imglab).

The sheet for a film holds tracks, a thing through its frames, each frame by its number; the pictures beside it are called by it
(frame_000012.png). Between two frames that are told, a thing moves evenly from the one to the other.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from duomo.core.messages import tr
from duomo.data.scenes.shared import ONLY_CLASS, WORDS, Faults, Pictures, Scene, Thing, Told, around, gather, number
from duomo.data.scenes.tools import ellipse
from duomo.data.scenes.voc import read_tree

LARGEST = 1 << 28
ABOUT = ("tag", "attribute")
"""What CVAT says of a whole picture, not of a thing in it."""
DIGITS = 9
"""Of the number of a frame."""


def read_cvat(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What the sheets say of the pictures; None where there is none of these forms."""
    found, names, told = list[Scene](), Pictures(pictures), False
    for file in (file for file in files if file.lower().endswith(".xml")):
        tree = read_tree(root / file, tuple(READINGS), LARGEST)
        sheets = list(tree.iter("image")) if tree is not None else []
        if tree is not None and tree.find("track") is not None:
            sheets += list(_frames(tree, _of_film(file, pictures), file, faults))
        if tree is not None and sheets:
            told, found = True, [*found, *gather(file, sheets, READINGS[tree.tag], names, faults)]
    if told and not ("train" in (parts := {scene.part for scene in found}) and len(parts - {""}) > 1):
        found = [scene._replace(part="") for scene in found]
    return found if told else None


def _picture(sheet: Element) -> Told:
    things = [thing for thing in sheet if thing.tag not in ABOUT]
    part = WORDS.get(sheet.get("subset", "").lower(), "")
    return Told(sheet.get("name", ""), number(sheet.get("width")), number(sheet.get("height")), things, part)


def _sides(thing: Element, *names: str) -> list[float]:
    return [float(thing.attrib[name]) for name in names]


def _thing(thing: Element, _: Told) -> Thing:
    label = thing.get("label", "").strip()
    if thing.tag == "box":
        left, top, right, bottom = _sides(thing, "xtl", "ytl", "xbr", "ybr")
        return label, thing.tag, (left, top, right, bottom)
    if thing.tag == "polygon":
        return label, thing.tag, around([pair.split(",") for pair in thing.attrib["points"].split(";") if pair])
    if thing.tag == "ellipse":
        return label, thing.tag, ellipse(*_sides(thing, "cx", "cy", "rx", "ry"))
    if thing.tag == "mask":
        left, top, width, height = _sides(thing, "left", "top", "width", "height")
        return label, thing.tag, (left, top, left + width, top + height)
    return label, thing.tag, None


# -- films
def _of_film(sheet: str, pictures: list[str]) -> list[str]:
    """The pictures that may be frames of the sheet's film: in a folder called as the sheet is, else in the sheet's, else all."""
    path = PurePosixPath(sheet)
    called = [file for file in pictures if path.stem in PurePosixPath(file).parts[:-1]]
    return called or [file for file in pictures if path.parent in PurePosixPath(file).parents] or pictures


def _frames(tree: Element, pictures: list[str], sheet: str, faults: Faults) -> Iterator[Element]:
    """A sheet as for images for each frame of the film that is here as a picture, with what the tracks hold then."""
    numbers = [(int(told[-1][:DIGITS]), file) for file in pictures if (told := re.findall(r"\d+", PurePosixPath(file).stem))]
    by_number = dict(numbers)
    if not numbers:
        faults.add(tr("a sheet for films was passed over, for no picture here is called by a frame's number"), sheet)
    if len(by_number) < len(numbers):
        faults.add(
            tr("a sheet for films was passed over, for frames of several films have its numbers: put them beside their sheets"), sheet
        )
        return
    here, found = sorted(by_number), dict[int, list[Element]]()
    for track in tree.iter("track"):
        for place, thing in _moments([thing for thing in track if thing.get("frame", "").isdecimal()], here):
            found.setdefault(place, []).append(Element(thing.tag, {**thing.attrib, "label": track.get("label", "")}))
    size = {side: tree.findtext(f".//original_size/{side}") or "0" for side in ("width", "height")}
    for place, file in by_number.items():
        frame = Element("image", {"name": file, **size})
        frame.extend(found.get(place, []))
        yield frame


def _moments(things: list[Element], here: list[int]) -> Iterator[tuple[int, Element]]:
    """The frames among those that are here in which a thing is seen: told, or between two that are."""
    things = sorted(things, key=lambda thing: int(thing.attrib["frame"][:DIGITS]))
    for thing, after in zip(things, [*things[1:], None], strict=True):
        first = int(thing.attrib["frame"][:DIGITS])
        last = first + 1 if after is None else int(after.attrib["frame"][:DIGITS])
        for place in here[bisect_left(here, first) : bisect_left(here, last)] if thing.get("outside") != "1" else ():
            yield place, thing if after is None or place == first else _between(thing, after, (place - first) / (last - first))


def _between(thing: Element, after: Element, share: float) -> Element:
    """A box on its way to the next one, which may say that the thing is gone; any other shape stays until then."""
    sides = ("xtl", "ytl", "xbr", "ybr")
    if after.get("outside") == "1" or not set(sides) <= set(thing.attrib) & set(after.attrib):
        return thing
    moved = {side: str((1 - share) * number(thing.get(side)) + share * number(after.get(side))) for side in sides}
    return Element(thing.tag, {**thing.attrib, **moved})


# -- dlib
def _dlib_picture(sheet: Element) -> Told:
    return Told(sheet.attrib["file"], number(sheet.get("width")), number(sheet.get("height")), list(sheet.iter("box")))


def _dlib_thing(thing: Element, _: Told) -> Thing:
    left, top, width, height = _sides(thing, "left", "top", "width", "height")
    return (thing.findtext("label") or ONLY_CLASS).strip(), "box", (left, top, left + width, top + height)


READINGS = {"annotations": (_picture, _thing), "dataset": (_dlib_picture, _dlib_thing)}
"""By the outermost tag."""
