"""Annotated pictures in YOLO's form: a text beside each picture, a box or an outline a line, and a data.yaml with names and parts.

As docs.ultralytics.com/datasets describes them: `class x y width height` in shares of the picture; `class x1 y1 x2 y2 x3 y3 …` of
an outline; a box with key points behind it, where data.yaml says `kpt_shape`; a box with a confidence.
"""

import os
import re
from pathlib import Path, PurePosixPath

from duomo.core.errors import DataError
from duomo.core.kinds import image
from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.data.scenes.rows import beside as of_rows
from duomo.data.scenes.shared import WORDS, Faults, Pictures, Scene, around, parted

LARGEST_TEXT, LARGEST_LIST = 1 << 20, 1 << 26
NAMES = re.compile(r"((.*[-_. ])?(classes|class(es)?[-_ ]?names)|class)\.txt|(names|labels)\.txt|.+\.names|_darknet\.labels", re.IGNORECASE)
"""What lists of classes are called: _classes.txt, coco_classes.txt, obj.names."""
OWN = ("classes.txt", "_classes.txt", "obj.names", "names.txt", "labels.txt", "_darknet.labels")
"""Those of the data themselves; others beside may be of what a model learned before (coco.names)."""
LINE = re.compile(r"\s*\d+(\.0+)?(\s+-?[\d.]+([eE][-+]?\d+)?){4,}\s*")
DECIMAL = re.compile(r"(?<=\d),(?=\d)")
MOST_CLASSES = 1_000_000
WIDEST = 2.0
"""A share beyond that is none."""
BOX, FEWEST = 4, 6
"""Numbers of a box and, at least, of an outline."""
TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[\[\]{},:]|[^'"\[\]{},:]+|['"]""")


def read_yolo(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What the texts beside the pictures say of them; None where these are no lists of boxes."""
    texts = {file for file in files if file.lower().endswith(".txt") and not NAMES.fullmatch(PurePosixPath(file).name)}
    beside = {picture: label for picture in pictures if (label := _file(picture, texts)) is not None}
    beside = beside or _mirrored(root, texts, pictures)
    read = {label: _lines(root, label) for label in beside.values()}
    lines = {label: rows for label, (rows, _) in read.items()}
    if not any(lines.values()) or sum(found is None for found in lines.values()) > 0.1 * len(lines):
        return None
    for rows, bad in read.values():
        if rows is None:
            faults.add(tr("a picture was left out because its annotation is no list of boxes"), bad[0])
        for place in bad if rows is not None else ():
            faults.add(tr("a line was left out because it is no box or outline"), place)
    sheet = _yaml(root, files)
    points, numbers = re.search(r"(?m)^kpt_shape:", sheet) is not None, {int(row[0]) for rows in lines.values() for row in rows or ()}
    lists = _class_lists(root, files, numbers, faults)
    told = {picture: rows for picture in pictures if (rows := lines[beside[picture]] if picture in beside else []) is not None}
    if found := _in_pixels(root, told, beside, next(iter(lists.values())), faults):
        return parted(found, _parts(root, sheet, files, pictures), faults)
    for picture, rows in told.items():
        try:
            shape = image.upright(root / picture)
        except ValueError as error:
            faults.add(tr("a picture was left out because it cannot be read"), f"{picture} ({error})")
            continue
        names = _nearest(lists, beside.get(picture, picture))
        things = [_box([*row[:5]] if points else row, *shape, names, (picture, faults)) for row in rows]
        found.append(Scene(picture, *shape, [box for box in things if box is not None]))
    return parted(found, _parts(root, sheet, files, pictures), faults)


def class_names(root: Path, files: list[str]) -> dict[int, str]:
    """Names of the numbered classes, from classes.txt and the like, or from the `names` of a YAML file; none where there are neither."""
    return next(iter(_lists(root, files).values()), {})


def _lists(root: Path, files: list[str]) -> dict[str, dict[int, str]]:
    """The names of each list by the folder that it lies in; of a YAML file, in the outermost one, where no list is the data's own."""
    found: dict[str, dict[int, str]] = {}
    lists = [file for file in files if NAMES.fullmatch(PurePosixPath(file).name)]
    own, words = [file for file in lists if PurePosixPath(file).name.lower() in OWN], _entries(_yaml(root, files), "names")
    for file in own or (lists if not words else ()):
        lines = (root / file).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        found.setdefault(str(PurePosixPath(file).parent), dict(enumerate(line.strip() for line in lines if line.strip())))
    return found or {".": {int(key) if key.isdecimal() else place: word for place, (key, word) in enumerate(words)}}


def _class_lists(root: Path, files: list[str], numbers: set[int], faults: Faults) -> dict[str, dict[int, str]]:
    """As `_lists`; where the numbers are those from 1 to as many as there are names, and never 0, the first name is that of 1."""
    found = _lists(root, files)
    first, *others = found.values()
    if not others and first and 0 not in numbers and len(first) in numbers and sorted(first) == [*range(len(first))]:
        faults.add(tr("the classes of a list are counted from 1, for there is no 0 among the boxes"), next(iter(found)))
        return {folder: {number + 1: name for number, name in names.items()} for folder, names in found.items()}
    return found


def _nearest(lists: dict[str, dict[int, str]], file: str) -> dict[int, str]:
    """The list in the file's folder, or in the nearest one around it; else the first."""
    around_file = (str(folder) for folder in PurePosixPath(file).parents)
    return next((lists[folder] for folder in around_file if folder in lists), next(iter(lists.values())))


def _in_pixels(
    root: Path, rows: dict[str, list[list[float]]], beside: dict[str, str], words: dict[int, str], faults: Faults
) -> list[Scene]:
    """What the texts say where most boxes are told in pixels; none where they are not. DataError where it is unclear how they are meant."""
    flat = [(picture, row) for picture, found in rows.items() for row in found if len(row) > BOX]
    pixels = [(picture, row) for picture, row in flat if max(row[1 : BOX + 1]) > WIDEST]
    if len(pixels) <= 0.5 * len(flat):
        return []
    if scenes := of_rows(root, rows, words, faults):
        return scenes
    picture, row = pixels[0]
    raise DataError(
        "Boxes of YOLO must be told in shares of the picture, from 0 to 1; {file} tells {numbers}. Divide x and width by the "
        "picture's width, y and height by its height.",
        file=beside[picture], numbers=row[1 : BOX + 1],
    )  # fmt: skip


def _file(picture: str, texts: set[str]) -> str | None:
    stem = os.path.splitext(picture)[0]
    parts = stem.split("/")
    apart = ["/".join([*parts[:place], "labels", *parts[place + 1 :]]) for place, part in enumerate(parts[:-1]) if part == "images"]
    return next((name for name in (f"{one}.txt" for one in (stem, *reversed(apart))) if name in texts), None)


def _mirrored(root: Path, texts: set[str], pictures: list[str]) -> dict[str, str]:
    """The text of each picture in folders called otherwise: pictures/train/1.jpg and boxes/train/1.txt."""

    def places(file: str) -> set[tuple[int, str]]:
        """The file without its ending and without one of its folders, or with all of them."""
        steps = os.path.splitext(file)[0].split("/")
        without = {(place, "/".join([*steps[:place], *steps[place + 1 :]])) for place in range(len(steps) - 1)}
        return without | {(place, "/".join(steps)) for place in range(len(steps))}

    by_place: dict[tuple[int, str], list[str]] = {}
    for text in sorted(texts):
        for place in places(text):
            by_place.setdefault(place, []).append(text)
    found = {}
    for picture in pictures:
        near = {text for place in places(picture) for text in by_place.get(place, [])}
        near = {text for text in near if _lines(root, text)[0] is not None} if len(near) > 1 else near
        if len(near) == 1:
            found[picture] = near.pop()
    return found


def _lines(root: Path, label: str) -> tuple[list[list[float]] | None, list[str]]:
    """Each line's numbers, and the lines that are no box by file and number; None where most are such: the file is no list of boxes."""
    if (root / label).stat().st_size > LARGEST_TEXT:
        return None, [label]
    rows, bad = list[list[float]](), list[str]()
    for number, line in enumerate((root / label).read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        # between digits of numbers that blanks divide a comma stands for a point, else it divides them itself
        row = _numbers((DECIMAL.sub(".", line) if len(line.split()) > BOX else line).replace(",", " "))
        if row is not None:
            rows.append(row)
        elif line.strip():
            bad.append(f"{label}:{number} ({line.strip()[:40]!r})")
    return (rows if len(bad) <= len(rows) else None), bad


def _numbers(line: str) -> list[float] | None:
    try:
        row = [float(word) for word in line.split()] if LINE.fullmatch(line) else None
    except ValueError:
        return None
    return row if row is not None and row[0] < MOST_CLASSES else None


def _box(row: list[float], width: int, height: int, names: dict[int, str], place: tuple[str, Faults]) -> Box | None:
    """Class and centre, width, height in shares of the picture; six numbers or more, an even count, are the corners of an outline."""
    number, shares = int(row[0]), row[1:]
    if names and number not in names:
        place[1].add(tr("a box was left out because its class is not named"), f"{place[0]}, {number}")
        return None
    label = names.get(number, str(number))
    if len(shares) >= FEWEST and len(shares) % 2 == 0:
        left, top, right, bottom = around(shares)
        return Box(label, left * width, top * height, right * width, bottom * height)
    x, y, w, h = shares[:BOX]
    return Box(label, (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)


# -- data.yaml
def _yaml(root: Path, files: list[str]) -> str:
    """The first YAML file that names classes or parts; empty where there is none."""
    for file in files:
        if file.lower().endswith((".yaml", ".yml")) and (root / file).stat().st_size <= LARGEST_TEXT:
            text = re.sub(r"(?m)(^|[ \t])#.*", "", (root / file).read_text(encoding="utf-8", errors="replace"))
            if re.search(r"(?m)^(names|train):", text):
                return text
    return ""


def _entries(text: str, key: str) -> list[tuple[str, str]]:
    """What a key of the outermost level holds, a word, a list or a dictionary, in a line or below it: names ("" in a list) and words."""
    told = re.search(rf"(?m)^{key}:[ \t]*(\S.*)?$", text)
    if told is None:
        return []
    rest = text[told.start(1) :] if told[1] else ""
    if rest[:1] in ("[", "{"):
        found = _inline(rest)
    elif rest:
        found = [("", told[1])]
    else:
        block = re.match(r"[ \t]*\n((?:[ \t]*(?:-|\w+:)[ \t]+\S.*(?:\n|$))*)", text[told.end() :])
        found = re.findall(r"(?m)^[ \t]*(?:-|(\w+):)[ \t]+(\S.*)$", block[1]) if block else []
    return [(name, word.strip().strip("'\"")) for name, word in found if word.strip()]


def _inline(text: str) -> list[tuple[str, str]]:
    """Names and words of [a, b] or {0: a, 1: b}, up to the bracket that closes it."""
    found = [("", "")]
    for token in TOKEN.findall(text[1:]):
        name, word = found[-1]
        if token in ("]", "}"):
            break
        if token == ",":
            found.append(("", ""))
        elif token == ":" and text[0] == "{" and not name:
            found[-1] = (word.strip(), "")
        else:
            found[-1] = (name, word + token)
    return found


def _parts(root: Path, sheet: str, files: list[str], pictures: list[str]) -> list[tuple[str, set[str]]]:
    """Part and its pictures, as `train`, `val`, `test` of data.yaml name folders or lists of pictures; what is not there is passed over."""
    found, known = [], Pictures(pictures)
    for key, part in WORDS.items():
        for _, told in _entries(sheet, key):
            steps = [step for step in told.replace("\\", "/").split("/") if step not in ("", ".", "..")]
            places = ["/".join(steps[start:]) for start in range(len(steps))]  # as it may start from any folder above, on any machine
            for place in places:
                inside = {picture for picture in pictures if picture.startswith(f"{place}/")}
                if place in files and place.lower().endswith(".txt") and (root / place).stat().st_size <= LARGEST_LIST:
                    lines = (root / place).read_text(encoding="utf-8", errors="replace").splitlines()
                    inside = {one for line in lines if line.strip() and (one := known.find(line.strip(), place)) is not None}
                if inside:
                    found.append((part, inside))
                    break
    return found
