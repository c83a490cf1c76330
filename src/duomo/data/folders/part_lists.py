"""What texts beside media say of them, a file a line: which part of the data it is of (testing_list.txt), or marks of all (CelebA)."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.folders.files import Folder, by_ends
from duomo.data.formats.text_encoding import detect, open_text
from duomo.data.partition import NAMES, SPLIT, meant, told

LISTS, MOST, LARGEST, SHARE = 50, 1000, 1 << 26, 0.5
"""Texts that may be lists, at most, and such as are called after parts; bytes of one; of its lines, or of the files, so many are named."""
CODES = {"0": "", "1": "train", "2": "test"}
"""What a number behind a file's name says of its part; 0 is the test where there is no 2 (CUB-200), else no part (HMDB51)."""


def divided(folder: Folder, table: Table) -> Table:
    """The table with the part that lists called after the parts name each file in, of several divisions (trainlist01, trainlist02) in the
    first; unchanged without such lists, with two of one part, or where a column says it."""
    if folder.media not in table.names or SPLIT in table.names or told(table):
        return table
    shown = [str(file) for file in table.column(folder.media).to_pylist()]
    turns = _turns(folder, by_ends(shown))
    whole = [turn for turn in sorted(turns, key=lambda turn: (len(turn), turn)) if {"train", "test"} <= {*turns[turn]}]
    lists = [turns[whole[0]]] if whole else [*turns.values()]
    parts = {part: names for one in lists for part, names in one.items()}
    if sum(map(len, lists)) > len(parts) or not all(parts.values()):
        return table
    parted = {name: part for part, names in parts.items() for name in names}
    if "train" not in parts and parts and len(parted) < len(shown):
        parted |= {name: "train" for name in shown if name not in parted}
    if not {"train", "test"} <= {*parted.values()}:
        return table
    counts = Counter(parted[name] for name in shown if name in parted)
    said = [tr("Lists beside the files name their parts ({parts}): they are divided so.",
               parts=", ".join(f"{part} {count:,}" for part, count in counts.items()))]  # fmt: skip
    said += [tr("The lists divide the files in {count} ways, of which the first is taken.", count=len(whole))] if len(whole) > 1 else []
    if lost := [name for name in shown if name not in parted]:
        said.append(
            tr("{count:,} files are left out, for no list of a part names them; the first: {first}.", count=len(lost), first=lost[0])
        )
    data = table.data.append_column(SPLIT, pa.array([parted.get(name) for name in shown], pa.large_string()))
    data = data.filter(pc.is_valid(data.column(SPLIT)))
    return replace(table, data=data, kinds={**table.kinds, SPLIT: "id"}, problems=(*table.problems, *said))


def _turns(folder: Folder, names: Mapping[str, str]) -> dict[str, dict[str, dict[str, None]]]:
    """Division -> part -> the files that its list names, none where there are two of them; a number behind the list's name tells the
    division, and one behind the name of each file in it may tell the part."""
    lists = {file: words for file in folder.of_kind("text") if (words := _words(file))}
    trained, found = any(words == ["train"] for words in lists.values()), dict[str, dict[str, dict[str, None]]]()
    ids = dict[str, str]()
    for file in _small(folder, [*lists], MOST):
        lines, stem = _lines(folder, file), PurePosixPath(file).stem
        own = found.setdefault(_turn(stem), {})
        coded = len(lists[file]) > 1 or ("split" in stem and not trained)
        if coded and {len(cells) for cells in lines} == {2} and (codes := {cells[1] for cells in lines}) <= {*CODES}:
            ids = ids or _numbered(folder, names)
            for name, code in lines:
                if (media := ids.get(name) or names.get(name)) and (part := CODES[code] or ("test" if "2" not in codes else "")):
                    own.setdefault(part, {})[media] = None
            continue
        named = [names.get(cells[0]) for cells in lines]
        if len(named) > 1 and named.count(None) <= (1 - SHARE) * len(named):
            part = lists[file][0]
            own[part] = {} if part in own else dict.fromkeys(name for name in named if name)
    return {turn: parts for turn, parts in found.items() if parts}


def _turn(stem: str) -> str:
    """The number that a name ends in, without the zeros before it; empty where there is none."""
    found = re.search(r"0*(\d*)$", stem)
    return found[1] if found else ""


def _words(file: str) -> list[str]:
    """The parts that the name of a list speaks of: train and test of train_test_split, train of trainlist01."""
    stem = PurePosixPath(file).stem.lower().replace("trainval", "train").replace("list", "")
    return [*dict.fromkeys(NAMES[part] for word in re.split(r"[-_. ]", stem) if (part := meant(word)) is not None)]


def _numbered(folder: Folder, names: Mapping[str, str]) -> dict[str, str]:
    """Number -> file, as a list of the files tells (images.txt of CUB-200)."""
    for file in _small(folder, folder.of_kind("text"), LISTS):
        lines = _lines(folder, file)
        found = {cells[0]: names.get(cells[-1], "") for cells in lines if len(cells) == 2 and cells[0].isdecimal()}
        if lines and all(found.values()) and len({*found.values()}) == len(lines):
            return found
    return {}


def marked(folder: Folder) -> Table | None:
    """The list of media as a table, its columns called as the line above the first file says, or c1 and so on; None where no text is."""
    names = by_ends(folder.shown)
    for file in _small(folder, folder.of_kind("text"), LISTS):
        lines = _lines(folder, file)
        rows = [cells for cells in lines if cells[0] in names and len(cells) > 1]
        if len(rows) < SHARE * len({*names.values()}) or len({len(cells) for cells in rows}) > 1:
            continue
        above = lines[lines.index(rows[0]) - 1] if lines[0] != rows[0] else []
        width = len(rows[0]) - 1
        named = len(above) in (width, width + 1) and not above[0].startswith("#")
        head = above[-width:] if named else [f"c{place}" for place in range(1, width + 1)]
        if {cell for cells in rows for cell in cells[1:]} == {"-1", "1"}:  # CelebA's marks
            rows = [[cells[0], *(str(int(cell == "1")) for cell in cells[1:])] for cells in rows]
        columns = dict(zip(("file", *head), zip(*rows, strict=True), strict=True))
        return Table(pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()}))
    return None


def _small(folder: Folder, texts: Sequence[str], most: int) -> list[str]:
    """Those that are small enough to be lists; none where they are more than `most`."""
    found = [file for file in texts if folder.size(file) <= LARGEST]
    return found if len(found) <= most else []


def _lines(folder: Folder, file: str) -> list[list[str]]:
    path = folder.root / file
    with open_text(path, detect(path, folder.encoding)) as text:
        return [re.split(r"[\s,]+", line.strip()) for line in text if line.strip()]
