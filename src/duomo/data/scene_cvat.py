"""Annotated pictures in one XML sheet for all: CVAT's (`annotations`, its version 1.1 for images) and dlib's (`dataset`, by imglab)."""

from pathlib import Path
from xml.etree.ElementTree import Element

from duomo.core.messages import tr
from duomo.data.annotated import ONLY_CLASS, Faults, Pictures, Scene, Thing, Told, around, gather, number
from duomo.data.scene_tools import ellipse
from duomo.data.scene_voc import read_tree

LARGEST = 1 << 28
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
ABOUT = ("tag", "attribute")
"""What CVAT says of a whole picture, not of a thing in it."""


def read_cvat(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What the sheets say of the pictures; None where there is none of these forms."""
    found, names, told = list[Scene](), Pictures(pictures), False
    for file in (file for file in files if file.lower().endswith(".xml")):
        tree = read_tree(root / file, tuple(READINGS), LARGEST)
        sheets = list(tree.iter("image")) if tree is not None else []
        if tree is not None and tree.find("track") is not None:
            faults.add(tr("a sheet for films was passed over: export it as pictures"), file)
        if tree is not None and sheets:
            told, found = True, [*found, *gather(file, sheets, READINGS[tree.tag], names, faults)]
    if told and not ("train" in (parts := {scene.part for scene in found}) and len(parts - {""}) > 1):
        found = [scene._replace(part="") for scene in found]
    return found if told else None


def _picture(sheet: Element) -> Told:
    things = [thing for thing in sheet if thing.tag not in ABOUT]
    part = PARTS.get(sheet.get("subset", "").lower(), "")
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


def _dlib_picture(sheet: Element) -> Told:
    return Told(sheet.attrib["file"], number(sheet.get("width")), number(sheet.get("height")), list(sheet.iter("box")))


def _dlib_thing(thing: Element, _: Told) -> Thing:
    left, top, width, height = _sides(thing, "left", "top", "width", "height")
    return (thing.findtext("label") or ONLY_CLASS).strip(), "box", (left, top, left + width, top + height)


READINGS = {"annotations": (_picture, _thing), "dataset": (_dlib_picture, _dlib_thing)}
"""By the outermost tag."""
