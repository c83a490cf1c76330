"""Annotated pictures in Pascal VOC's form (Everingham et al. 2010): an XML sheet for each, and lists of the parts in ImageSets."""

import math
import re
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import ParseError

from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.data.scenes.shared import Faults, Pictures, Scene, number, parted

LARGEST_XML, LARGEST_LIST = 1 << 20, 1 << 26
XML_FAULTS = (ParseError, LookupError, ValueError)
DECLARED = re.compile(rb"^(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
LISTS = ("ImageSets/Main", "ImageSets")
"""Folders that hold lists of the parts: those for boxes, else those without a purpose."""
PARTS = {"train": "train", "val": "val", "trainval": "train", "test": "test"}
"""Lists, and the part that they name: who stands in several belongs to the first."""


def read_voc(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What the XML sheets say of the pictures; None where there is none of this form."""
    sheets = [file for file in files if file.lower().endswith(".xml")]
    trees = [(file, tree) for file in sheets if (tree := read_tree(root / file, ("annotation",))) is not None]
    if not trees:
        return None
    names = Pictures(pictures)
    found, used = [], set()
    for file, tree in trees:
        picture = names.of_sheet(tree.findtext("filename") or "", file, faults)
        if picture is None:
            faults.add(tr("a picture was left out because its file is not there"), file)
            continue
        used.add(picture)
        width, height = (number(tree.findtext(f"size/{side}")) for side in ("width", "height"))
        things = [box for thing in tree.iter("object") if (box := _box(thing, file, faults)) is not None]
        found.append(Scene(picture, width, height, things))
    lists = _lists(root, files)
    for picture in sorted(set(pictures) - used) if not lists else ():
        faults.add(tr("a picture was left out because it has no annotation"), picture)
    stems = {PurePosixPath(scene.file).stem: scene.file for scene in found}
    return parted(found, [(part, {stems[name] for name in names if name in stems}) for part, names in lists], faults)


def _lists(root: Path, files: list[str]) -> list[tuple[str, list[str]]]:
    """Part and names of pictures as train.txt, val.txt, test.txt and trainval.txt in ImageSets have them; none without lists."""
    for place in LISTS:
        found: list[tuple[str, list[str]]] = []
        for word, part in PARTS.items():
            for file in (
                file for file in files if f"/{file}".endswith(f"/{place}/{word}.txt") and (root / file).stat().st_size <= LARGEST_LIST
            ):
                lines = (root / file).read_text(encoding="utf-8", errors="replace").splitlines()
                known = {name for _, names in found for name in names} if word == "trainval" else set()
                found.append((part, [name for line in lines if line.strip() and (name := line.split()[0]) not in known]))
        if found:
            return found
    return []


def read_tree(path: Path, tags: tuple[str, ...], largest: int = LARGEST_XML) -> ElementTree.Element | None:
    """The tree of an XML file whose outermost tag is one of these; None for any other, a larger or a broken one."""
    if path.stat().st_size > largest:
        return None
    written = path.read_bytes()
    if not any(f"<{tag}".encode() in written for tag in tags):
        return None
    # The parser knows few encodings: the text is decoded before, and what it says of its own encoding left out.
    declared = DECLARED.match(written)
    try:
        text = written.decode(declared[1].decode() if declared else "utf-8-sig")
        if "<!ENTITY" in text:  # entities may unfold without end; annotations need none
            return None
        tree = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text.removeprefix("\ufeff")))
    except XML_FAULTS:
        return None
    return tree if tree.tag in tags else None


def _turned(thing: ElementTree.Element) -> list[float]:
    """Around a box that is told by its centre, its extents and how far it is turned, in radians (roLabelImg); none for others."""
    if thing.find("robndbox") is None:
        return []
    x, y, width, height, turn = (float(thing.findtext(f"robndbox/{name}") or "") for name in ("cx", "cy", "w", "h", "angle"))
    across = (abs(width * math.cos(turn)) + abs(height * math.sin(turn))) / 2
    down = (abs(width * math.sin(turn)) + abs(height * math.cos(turn))) / 2
    return [x - across + 1, y - down + 1, x + across, y + down]


def _box(thing: ElementTree.Element, file: str, faults: Faults) -> Box | None:
    label = (thing.findtext("name") or "").strip()
    if not label:
        faults.add(tr("a box was left out because its class is not named"), file)
        return None
    try:
        sides = _turned(thing) or [float(thing.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError:
        faults.add(tr("a box was left out because its sides are no numbers"), file)
        return None
    hard = (thing.findtext("difficult") or "").strip() == "1"
    if hard:
        faults.add(tr("a box is marked as difficult: it is neither learned nor judged"), file)
    return Box(label, sides[0] - 1, sides[1] - 1, sides[2], sides[3], hard)  # VOC counts pixels from 1, both ends included
