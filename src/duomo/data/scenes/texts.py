"""Pictures with boxes in texts of numbers, each for many pictures, as benchmarks have them.

A line that names a picture, how many boxes it has, and a line for each (WIDER FACE; RetinaFace puts # before the name); all boxes of one in
its line, cut by commas (Keras' YOLO), or behind their number (OpenCV's cascades). A text for a film whose frames lie in a folder: frame,
thing, box, whether it counts, class (MOTChallenge, VisDrone).
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from duomo.core.kinds.image import SUFFIXES
from duomo.core.messages import tr
from duomo.data.partition import part_of
from duomo.data.scenes.rows import BOX, Row, Told, called, placed, sizes_of, tailed
from duomo.data.scenes.shared import FAULTS, ONLY_CLASS, Faults, Pictures, Scene
from duomo.data.scenes.yolo import class_names

TEXTS, MOST_TEXTS, LARGEST_TEXT = (".txt", ".text", ".dat", ".lst", ".idx", ".info"), 1000, 1 << 28
NAME = re.compile(rf"#?\s*(.*?(?:{'|'.join(map(re.escape, SUFFIXES))}))(?:[\s,]+(.*))?", re.IGNORECASE)
NUMBER = r"-?[\d.]+(?:[eE][-+]?\d+)?"
NUMBERS, BLANKS = re.compile(rf"{NUMBER}(?:[\s,]+{NUMBER})*[\s,]*"), re.compile(r"[\s,]+")
LOOKED_AT, FRAMES = 100, 0.9
"""Lines by which a text shows what it is; of the frames that it tells, so many are there."""
WIDTHS = range(8, 11)
"""Numbers of a line that tells a thing in a film."""
PARTS = ("train", "val", "test")


def read_lists(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What texts for many pictures say; None where there is none."""
    names, words, found = Pictures(pictures), class_names(root, files), list[Scene]()
    for file in _texts(root, files):
        told, form = _list(root / file, file, names, words)
        if told:
            part = part_of([PurePosixPath(file).stem])
            scenes = placed(sizes_of(root, told), told, form, faults)
            found += [scene._replace(part="" if part is None else PARTS[part]) for scene in scenes]
    return _whole(found, pictures, faults)


def read_films(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What texts say of the frames that lie in a folder; None where there is none."""
    folders: dict[PurePosixPath, dict[int, str]] = {}
    for file in pictures:
        if number := re.search(r"\d+$", PurePosixPath(file).stem):
            folders.setdefault(PurePosixPath(file).parent, {})[int(number[0])] = file
    words, found, seen = class_names(root, files), dict[PurePosixPath, Told](), dict[bytes, PurePosixPath]()
    for file in _texts(root, files) if folders else []:
        film_NC = _film(root / file)
        folder = None if film_NC is None else _folder(PurePosixPath(file), {*film_NC[:, 0].astype(int).tolist()}, folders)
        if film_NC is None or folder is None or folder in found:
            continue
        twin = seen.setdefault(film_NC.tobytes(), folder)
        if twin != folder and _same(root, folders[twin], folders[folder]):
            faults.add(tr("a film lies there several times and is taken once"), str(folder))
            found[folder] = {}
            continue
        found[folder] = {picture: [] for picture in folders[folder].values()}
        for number, row in zip(film_NC[:, 0].astype(int).tolist(), tailed(film_NC[:, 2:], words), strict=True):
            if (picture := folders[folder].get(number)) is not None:
                found[folder][picture].append(row)
    again = {file for folder, told in found.items() if not told for file in folders[folder].values()}
    scenes = [scene for told in found.values() if told for scene in placed(sizes_of(root, told), told, "extents", faults)]
    return _whole(scenes, [file for file in pictures if file not in again], faults)


def _whole(found: list[Scene], pictures: list[str], faults: Faults) -> list[Scene] | None:
    for picture in sorted({*pictures} - {scene.file for scene in found}) if found else ():
        faults.add(tr("a picture was left out because it has no annotation"), picture)
    return found or None


def _texts(root: Path, files: list[str]) -> list[str]:
    found = [file for file in files if file.lower().endswith(TEXTS) and (root / file).stat().st_size <= LARGEST_TEXT]
    return found if len(found) <= MOST_TEXTS else []


def _list(path: Path, file: str, names: Pictures, words: Mapping[int, str]) -> tuple[Told, str]:
    """Rows of each picture that the text names, and how such boxes are usually meant; none where it is of no such form, or most of the
    pictures are not there."""
    told, rows, lost, boxes, form = Told(), list[Row](), 0, 0, "extents"
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for count, line in enumerate((line.strip() for line in lines), 1):
            named = NAME.fullmatch(line)
            own = _of_line(line, named[2] if named else None, words)
            if own is None or (count > LOOKED_AT and not boxes):
                return {}, form
            if named is not None:
                form = "corners" if "," in (named[2] or "") else form
                picture = names.find(named[1], file)
                lost += picture is None
                rows = told.setdefault(picture, []) if picture is not None else []
            rows += own
            boxes += len(own)
    return (told if boxes and len(told) > lost else {}), form


def _of_line(line: str, behind: str | None, words: Mapping[int, str]) -> list[Row] | None:
    """The boxes of a line, `behind` the name of a picture where it names one; None where it is of no form."""
    try:
        if behind is None and (not line or NUMBERS.fullmatch(line) is None):
            return [] if not line or NAME.fullmatch(line) or line.startswith("#") else None
        pieces = [piece.split(",") for piece in (behind or "").split()]
        if behind is not None and all(len(piece) == BOX + 1 for piece in pieces):
            return [Row(called(float(word), words) if word.isdecimal() else word, (float(a), float(b), float(c), float(d)))
                    for a, b, c, d, word in pieces]  # fmt: skip
        numbers = [float(word) for word in BLANKS.split((line if behind is None else behind).strip(" ,\t"))]
    except FAULTS:
        return None
    if behind is None:
        made = tailed(np.array([numbers if len(numbers) == BOX + 1 else numbers[:BOX]]), words) if len(numbers) >= BOX else []
        return made if len(numbers) >= BOX or len(numbers) == 1 else None
    if len(numbers) != 1 + BOX * numbers[0]:
        return None
    return [Row(ONLY_CLASS, (a, b, c, d)) for a, b, c, d in zip(*(numbers[1 + side :: BOX] for side in range(BOX)), strict=True)]


# -- films
def _film(path: Path) -> np.ndarray | None:
    """(N, 8 to 10) numbers: frame, thing, box, more; None where the text is of no such form, or tells what was found, not what is there."""
    rows = list[list[float]]()
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for line in (line.strip() for line in lines):
            words = BLANKS.split(line.strip(" ,"))
            if line and (len(words) not in WIDTHS or (rows and len(words) != len(rows[0])) or not NUMBERS.fullmatch(line)):
                return None
            try:
                rows += [[float(word) for word in words]] if line else []
            except FAULTS:
                return None
    film_NC = np.array(rows, np.float64).reshape(len(rows), -1)
    names_NC = film_NC[:, :2]
    whole = len(film_NC) > 0 and (names_NC == np.round(names_NC)).all() and (names_NC >= 0).all()
    return film_NC if whole and len(np.unique(film_NC[:, 1])) < len(film_NC) else None


def _folder(text: PurePosixPath, frames: set[int], folders: Mapping[PurePosixPath, dict[int, str]]) -> PurePosixPath | None:
    """The folder whose pictures are a text's frames: called as the text is, beside it, or beside the folder that it lies in."""
    places = (text.parent, text.parent.parent)
    found = [(one.name == text.stem, len(frames & folders[one].keys()), one) for one in folders
             if one.name == text.stem or one in places or one.parent in places]  # fmt: skip
    found = [one for one in found if one[1] >= FRAMES * len(frames)]
    best = max(found, key=lambda one: one[:2], default=None)
    return best[2] if best is not None and sum(one[:2] == best[:2] for one in found) == 1 else None


def _same(root: Path, one: Mapping[int, str], other: Mapping[int, str]) -> bool:
    """Whether two films begin with the same picture, byte by byte."""
    return (root / one[min(one)]).read_bytes() == (root / other[min(other)]).read_bytes()
