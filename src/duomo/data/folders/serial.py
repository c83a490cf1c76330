"""Pictures that were taken one after the other (frames of a film, shots of one sign), told by their names and by how alike they are; and
rows of a table that tell of pieces which are counted in their names."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from duomo.core.kinds import depths, image, media
from duomo.core.kinds.cells import is_text
from duomo.core.messages import listed, tr
from duomo.core.table import MEDIA, Table
from duomo.data.folders.files import kind_of
from duomo.data.folders.listed import SOURCE
from duomo.data.formats.space_delimited import NUMBER

NUMBERED = re.compile(r"(.*?)\d+")
"""A name that ends in a number, and what stands before it: 00012_00003, img1/000001."""
FEWEST, MOST_STARTS, SHARE = 3, 0.5, 0.8
"""Beginnings of names at least, their number as a share of the files at most, and the share of files of which several begin alike."""
PAIRS, FEWEST_PAIRS, ALIKE = 40, 8, 0.5
"""Neighbours that are compared, and strangers; how far apart neighbours are at most, where strangers are 1."""
PIECE = re.compile(r"(.*\d)[._ -](\d{1,4})")
"""The name of a piece: what it is of, which is numbered too, and which one it is."""
FEWEST_CUT, MOST_CUT, LEFT = 20, 60, 0.8
"""Things that were cut at least, pieces of one on average at most, and the share of these that are there at least."""
OWNERS = ("patient", "group")
"""Columns that tell what belongs together already."""
LOOK, SIDE = {"fit": "crop", "fill": 0}, 16


def sourced(table: Table) -> Table:
    """The table with what each picture is one of several of, as `source`, where names that begin alike end in numbers and neighbours by
    these numbers are far more alike than others of their class."""
    if not {"image", "file"} <= {*table.names} or {SOURCE, *OWNERS} & {*table.names} or table.root is None:
        return table
    files = [str(file) for file in table.column("file").to_pylist()]
    starts = [_start(file) for file in files]
    counts = Counter(starts)
    if not FEWEST <= len(counts) <= MOST_STARTS * len(files) or sum(n for n in counts.values() if n > 1) < SHARE * len(files):
        return table
    if not _alike(table.root, files, starts, _classes(table, files)):
        return table
    said = tr("Pictures that follow one another by their names are nearly alike, as frames of a film are ({first} and others): {count:,} "
              "such rows of pictures are kept together.", first=files[0], count=len(counts))  # fmt: skip
    data = table.data.append_column(SOURCE, pa.array(starts, pa.large_string()))
    return replace(table, data=data, kinds={**table.kinds, SOURCE: "id"}, problems=(*table.problems, said))


def forms(table: Table) -> Table:
    """The table with a group for each picture, where the outer folders hold the same pictures in other forms (in colour, grey, cut out, as
    PlantVillage has them): those called alike in several are far more alike than others of their class."""
    if not {"image", "file", "label", "group"} <= {*table.names} or table.root is None:
        return table
    files, labels, outer = ([str(cell) for cell in table.column(name).to_pylist()] for name in ("file", "label", "group"))
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    known = {*zip(labels, stems, strict=True)}
    starts = [
        next((stem[:sign] for sign in _signs(stem) if (label, stem[:sign]) in known), stem)
        for label, stem in zip(labels, stems, strict=True)
    ]
    keys = [f"{label}/{start}" for label, start in zip(labels, starts, strict=True)]
    places = defaultdict[str, set[str]](set)
    for key, folder in zip(keys, outer, strict=True):
        places[key].add(folder)
    order = sorted((row for row in range(len(files)) if len(places[keys[row]]) > 1), key=lambda row: (keys[row], row))
    pairs = [row for place, row in enumerate(order) if place < 2 or keys[order[place - 2]] != keys[row]]  # two forms tell enough
    told = ([cells[row] for row in pairs] for cells in (files, keys, labels))
    if len(order) < SHARE * len(files) or not _alike(table.root, *told, grey=True):
        return table
    said = tr("The outer folders ({folders}) hold the same pictures in several forms: the forms of each are kept together.",
              folders=listed(sorted({*outer}), 5))  # fmt: skip
    data = table.data.set_column(table.names.index("group"), "group", pa.array(keys, pa.large_string()))
    return replace(table, data=data, problems=(*table.problems, said))


def _signs(stem: str) -> list[int]:
    return [sign.start() for sign in re.finditer("(?<=.)[-_. ]", stem)]


def cut(table: Table) -> Table:
    """The table with what each row is a piece of, as `source`, where a column names files by the number of a thing and of its pieces, which
    are counted from 0 or 1 on (blues.00003.0.wav, blues.00003.1.wav); any other as it is."""
    if {SOURCE, *OWNERS} & {*table.names}:
        return table
    for name in (name for name in table.names if is_text(table.column(name).type)):
        column = table.column(name)
        if not all(isinstance(cell, str) and kind_of(cell) in MEDIA for cell in column.slice(0, FEWEST_CUT).to_pylist()):
            continue
        found = [PIECE.fullmatch(os.path.splitext(str(cell))[0]) for cell in column.to_pylist()]
        pieces = defaultdict[str, list[int]](list)
        for one in found:
            pieces[one[1] if one else ""].append(int(one[2]) if one else -1)
        if (
            FEWEST_CUT <= len(pieces) <= MOST_STARTS * len(found)
            and len(found) <= MOST_CUT * len(pieces)
            and all(map(_counts, pieces.values()))
            and not _are_classes([one and one[1] for one in found], table)
        ):
            said = tr("The names in column {name!r} end in numbers that count pieces of one thing each: the rows of each of {count:,} "
                      "things are kept together.", name=name, count=len(pieces))  # fmt: skip
            data = table.data.append_column(SOURCE, pa.array([one and one[1] for one in found], pa.large_string()))
            return replace(table, data=data, kinds={**table.kinds, SOURCE: "id"}, problems=(*table.problems, said))
    return table


def _are_classes(things: Sequence[str | None], table: Table) -> bool:
    """Whether the things are what the rows are to be sorted into (img001-055.png): no column tells several things alike, and the pieces of
    each, but one that names each thing, or counts them. Other numbers measure it (an age)."""
    told = [{*zip(things, map(str, cells.to_pylist()), strict=True)} for cells in table.data.columns]
    kinds = [kind for pairs in told if len(pairs) == len({*things}) and len(kind := {cell for _, cell in pairs}) > 1]
    numbers = [kind for kind in kinds if all(map(NUMBER.fullmatch, kind))]
    if not all(all(map(str.isdecimal, kind)) and _counts([*map(int, kind)]) for kind in numbers):
        return False
    return min(map(len, kinds), default=0) > MOST_STARTS * len({*things})


def _counts(numbers: list[int]) -> bool:
    """Whether these are all numbers from 0 or 1 on, but for a few."""
    numbers = sorted(numbers)
    return numbers[0] in (0, 1) and len({*numbers}) == len(numbers) >= LEFT * (numbers[-1] - numbers[0] + 1)


def _start(file: str) -> str:
    """The path up to the number at its end; all of it where it has none."""
    stem = os.path.splitext(file)[0]
    found = NUMBERED.fullmatch(os.path.basename(stem))
    return f"{os.path.dirname(stem)}/{found[1]}" if found else stem


def _classes(table: Table, files: Sequence[str]) -> list[str]:
    """Of each file what a stranger to compare it with must share: the class, or else the folder; nothing where things are sought in all."""
    if "label" in table.names:
        return [str(label) for label in table.column("label").to_pylist()]
    return [""] * len(files) if "boxes" in table.names else [os.path.dirname(file) for file in files]


def _alike(root: Path, files: Sequence[str], starts: Sequence[str], classes: Sequence[str], *, grey: bool = False) -> bool:
    inside = defaultdict[str, list[int]](list)
    for place, name in enumerate(classes):
        inside[name].append(place)
    pairs, random = list[tuple[int, int, int]](), np.random.default_rng(0)
    for place in random.permutation(len(files) - 1)[: 4 * PAIRS].tolist():
        others = [one for one in random.permutation(inside[classes[place]])[:PAIRS].tolist() if starts[one] != starts[place]]
        if starts[place + 1] == starts[place] and others and len(pairs) < PAIRS:
            pairs.append((place, place + 1, others[0]))
    if len(pairs) < FEWEST_PAIRS:
        return False
    paths = [root / files[place] for pair in pairs for place in pair]
    looks = [one for one in media.decode_all(paths, image.look) if isinstance(one, image.Look)]
    white, black = depths.levels(max((one.deep for one in looks), default=0.0), min((one.low for one in looks), default=0.0))
    how = LOOK | {"size": [1 if grey else 3, SIDE, SIDE], "white": white, "black": black}
    shown = media.decode_all(paths, lambda source: image.decode(source, how))
    near, far = list[float](), list[float]()
    for place in range(0, len(shown), 3):
        one, neighbour, stranger = shown[place : place + 3]
        if isinstance(one, np.ndarray) and isinstance(neighbour, np.ndarray) and isinstance(stranger, np.ndarray):
            near.append(float(np.abs(one.astype(np.float32) - neighbour).mean()))
            far.append(float(np.abs(one.astype(np.float32) - stranger).mean()))
    return len(near) >= FEWEST_PAIRS and float(np.median(near)) < ALIKE * float(np.median(far))
