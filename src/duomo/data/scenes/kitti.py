"""Annotated pictures in KITTI's form: a text for each, a thing a line: class, three words of how it stands, its box in pixels, more. And in
DOTA's (Xia et al. 2018), of pictures from above: four corners, the class, whether it is difficult; headings such as `gsd:0.15` before.

Geiger et al. 2012, "Are we ready for Autonomous Driving?"; the benchmark's devkit names fifteen columns, a score behind them in answers.
`label_2/000001.txt` speaks of `image_2/000001.png` in the same folder, `x.txt` of the picture beside it.
"""

import re
from pathlib import Path, PurePosixPath

from duomo.core.kinds.boxes import Box
from duomo.core.messages import tr
from duomo.data.scenes.shared import Faults, Pictures, Scene, around

LARGEST_TEXT = 1 << 20
NUMBER = r"-?\d+(\.\d+)?([eE][-+]?\d+)?"
LINE = re.compile(rf"\s*[^\W\d][\w./-]*(\s+{NUMBER}){{14,15}}\s*")
CORNERED = re.compile(rf"\s*({NUMBER}\s+){{8}}[^\W\d][\w./-]*(\s+[01])?\s*")
HEADING = re.compile(r"\s*\w+:\S*\s*")
BOX = slice(4, 8)
"""Where left, top, right, bottom stand in a line."""
UNTOLD = "dontcare"
"""What regions are called in which nobody looked."""


def read_kitti(root: Path, files: list[str], pictures: list[str], faults: Faults) -> list[Scene] | None:
    """What the texts say of the pictures; None where none of them is such a list, or most with a picture are not."""
    names, found = Pictures(pictures), list[tuple[str, str]]()
    for file in (file for file in files if file.lower().endswith(".txt")):
        if (picture := _picture(file, names)) is not None:
            found.append((file, picture))
    lines = {file: _lines(root / file) for file, _ in found}
    if not any(lines.values()) or sum(told is None for told in lines.values()) > 0.1 * len(lines):
        return None
    scenes = []
    for file, picture in found:
        if lines[file] is None:
            faults.add(tr("a picture was left out because its annotation is no list of boxes"), file)
            continue
        words = [line.split() for line in lines[file] or ()]
        for _ in (one for one in words if one[0].lower() == UNTOLD):
            faults.add(tr("a region marked DontCare was left out"), file)
        things = [_box(one) for one in words if one[0].lower() != UNTOLD]
        for _ in (one for one in things if one.crowd):
            faults.add(tr("a box is marked as difficult: it is neither learned nor judged"), file)
        scenes.append(Scene(picture, 0, 0, things))
    for picture in sorted(set(pictures) - {scene.file for scene in scenes}):
        faults.add(tr("a picture was left out because it has no annotation"), picture)
    return scenes


def _picture(file: str, names: Pictures) -> str | None:
    path = PurePosixPath(file)
    twin = path.parent.parent / path.parent.name.replace("label", "image")
    same = names.by_stem.get(path.stem, [])
    near = [one for one in same if PurePosixPath(one).parent in (path.parent, twin, PurePosixPath(f"{twin}s"))]
    return near[0] if near else names.beside(file)


def _box(words: list[str]) -> Box:
    if words[0][0].isalpha() or words[0][0] == "_":
        left, top, right, bottom = map(float, words[BOX])
        return Box(words[0], left, top, right, bottom)
    return Box(words[8], *around(words[:8]), words[9:] == ["1"])


def _lines(path: Path) -> list[str] | None:
    """The lines; None where one of them is of another form."""
    if path.stat().st_size > LARGEST_TEXT:
        return None
    lines = [
        line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip() and not HEADING.fullmatch(line)
    ]
    return lines if all(LINE.fullmatch(line) or CORNERED.fullmatch(line) for line in lines) else None
