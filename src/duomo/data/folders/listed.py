"""Files that a table lists: found by the names in a metadata file, with what it says of them."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core import scans
from duomo.core.errors import DataError
from duomo.core.kinds.cells import is_text
from duomo.core.messages import flagged, tr
from duomo.core.table import MEDIA, Table
from duomo.data.folders.files import LONGEST_NAME, Folder, Reader, by_ends, kind_of, listing
from duomo.data.folders.one_hot import exclusive
from duomo.data.partition import SPLIT, meant, part_of
from duomo.data.scenes.tables import listed_scenes, lists_boxes
from duomo.data.scenes.tools import places

LOOKED_AT = 20
LONGEST_CLASS, MANY_EACH = 60, 5
NAMELESS = re.compile(r"c\d+")
"""What columns without a name are called."""
FEWEST_FILMS = 5
MOST_DRAWN = 0.8
"""Of pictures and sounds so many, more than, are called alike where the ones are drawn from the others."""
_CUT = re.compile(
    r"^(?P<film>.*?)(_c\d+|[ _.-](clip|part|scene|shot|seg|segment|chunk|cut|片段)[ _.-]?\d+([ _.-]\d+)?|[ _-]\d{6}[ _-]\d{6})$",
    re.IGNORECASE,
)
"""Names of clips that were cut from one film: game_clip3, talk-part-02, v_Run_g04_c01 (UCF-101), id_000010_000020 (Kinetics)."""
NAMING = (
    "file", "file_name", "filename", "path", "filepath", "image", "audio", "picture", "sound", "wav", "clip", "video", "film",
    "文件", "文件名", "图片", "音频", "视频", "影片",
)  # fmt: skip
PEOPLE = re.compile(r"(actor|id|operator|patient|person|singer|speaker|subject|user|writer|患者)s?[-_ ]?([a-z]|\d+)?", re.IGNORECASE)
"""Folders that are called by whom the files are of."""
GROUP = "group"
"""The column of outer folders that are not the classes."""
FEW = 0.5
"""Rows of another list than the longest, as a share of its rows, up to which that one tells of some files more, not all."""
SAME = 0.95
"""Of the files that two lists name, so many are the same at least."""
SOURCE = "source"
"""The column that says which film a clip was cut from."""


def sources(files: list[str]) -> list[str] | None:
    """The film that each clip was cut from, told from the names; None unless most say so and two share one.

    Clips of one film may lie in the folders of several classes, so folders do not count, unless the names alone tell too few films apart.
    """
    stems = [os.path.splitext(file)[0] for file in files]
    found = [_CUT.match(stem) for stem in stems]
    if sum(cut is not None for cut in found) < 0.5 * len(files):
        return None
    whole = [cut["film"] if cut is not None else stem for cut, stem in zip(found, stems, strict=True)]
    short = [os.path.basename(film) for film in whole]
    named = short if len(set(short)) >= FEWEST_FILMS else whole
    return named if len(set(named)) < len(named) else None


def known(columns: Iterable[str]) -> dict[str, str]:
    """Kinds that follow from how the folder is laid out: a file's name is no input, a class folder's name is a class."""
    return {
        name: kind
        for name, kind in (("file", "id"), ("label", "category"), ("part", "id"), ("speaker", "id"), (SOURCE, "id"), ("video", "video"))
        if name in set(columns)
    }


def described(folder: Folder, listed: Table, part: int | None = None) -> Table:
    """The metadata's rows, their file column turned into an `image`, `audio` or `video` column of paths below the folder. Of files of one
    name those count that lie in folders of the part of the data that a row is of, or else the list: `part`, or what it is called after."""
    files, part = [file for file in folder.files if kind_of(file) in MEDIA], part_of([listed.name]) if part is None else part
    told, whole = listed.data.column(SPLIT).to_pylist() if SPLIT in listed.names else [], by_ends(files)
    parts = {one: place for one in {*told} if (place := meant(str(one))) is not None}
    own = {
        one: whole | by_ends(file for file in files if part_of(file.split("/")[:-1]) == one is not None) for one in {part, *parts.values()}
    }
    index = {name: file for one in own.values() for name, file in one.items()}
    listed = _headed(folder.root, listed, index)
    name = _naming_column(listed, index)
    cells = [None if cell is None else str(cell) for cell in listed.data.column(name).to_pylist()]
    found = _of_parts(folder.root, cells, [parts.get(one, part) for one in told] or [part] * len(cells), own)
    missing = [place for place, file in enumerate(found) if file is None]
    if len(missing) == len(found):
        raise DataError(
            "The files that a metadata file names must exist; of column {name!r} none is in {folder} (first: {first!r}). Fix the paths.",
            name=name, folder=folder.root.name, first=cells[0],
        )  # fmt: skip
    ((media, _),) = Counter(kind_of(file) for file in found if file is not None).most_common(1)
    columns: dict[str, pa.ChunkedArray | pa.Array] = {media: pa.array(found, pa.large_string())}
    columns |= {other: listed.data.column(other) for other in listed.names if other not in (name, media, "file")}
    cut = sources([file or "" for file in found]) if media == "video" else None
    if cut is not None and SOURCE not in columns:
        columns[SOURCE] = pa.array(cut, pa.large_string())
    others = [other for other in columns if other not in (media, SOURCE)]
    if len(others) == 1 and NAMELESS.fullmatch(others[0]) and are_classes(columns[others[0]].cast(pa.large_string()).to_pylist()):
        columns["label"] = columns.pop(others[0])
    flat = [cells for other, cells in columns.items() if other not in (media, SOURCE) and not pa.types.is_nested(cells.type)]
    if GROUP not in columns and (owners := _owners(found, [cells.cast(pa.large_string()).to_pylist() for cells in flat])):
        columns[GROUP] = pa.array(owners, pa.large_string())
    columns["file"] = columns[media]
    note: tuple[str, ...] = ()
    if missing:
        told = {"count": len(missing), "first": cells[missing[0]], "row": missing[0] + 1}
        note = (tr("{count} files that the metadata names are missing; the first: {first!r} (row {row}).", **told),)
    own_ids = ("file", *([GROUP] if GROUP in columns and GROUP not in others else []), *([SOURCE] if cut is not None else []))
    known = dict.fromkeys(own_ids, "id") | ({media: media} if media == "video" else {})
    known |= {other: "id" for other in columns if listed.kinds.get(other) == "id"}
    aside, said = _aside(columns, [other for other in others if other in columns], found)
    note, known = (*note, *said), known | dict.fromkeys(aside, "id")
    table = replace(folder.table(columns, known, *listed.problems, *note), asked=listed.asked)
    rest = _untold(folder, media, {file for file in found if file})
    table = listed_scenes(table, folder.files, rest) or table
    if not rest or rest[0] in table.column(media).to_pylist():
        return table
    lost = tr("{count:,} files beside those listed are in no list and are not read; the first: {first}.", count=len(rest), first=rest[0])
    return replace(table, problems=(*table.problems, lost))


def _untold(folder: Folder, media: str, listed: Collection[str]) -> list[str]:
    """Files of the folders that listed ones lie in which no table names."""
    places = {*map(os.path.dirname, listed)}
    rest = [file for file in folder.of_kind(media) if file not in listed and os.path.dirname(file) in places]
    index = by_ends(rest)
    for file in folder.of_kind("table")[:LOOKED_AT] if rest else []:
        try:
            table = folder.read(file)
        except DataError:
            continue
        texts = [table.data.column(name).to_pylist() for name in table.names if is_text(table.data.column(name).type)]
        named = {index.get(cell) for cells in texts for cell in cells if cell}
        rest = [file for file in rest if file not in named]
    return rest


def _aside(
    columns: Mapping[str, pa.ChunkedArray | pa.Array], others: Sequence[str], files: Sequence[str | None]
) -> tuple[list[str], list[str]]:
    """Columns of numbers that tell no more than the names of files, or than words beside them, and what is said of it."""
    numbers, said = [other for other in others if _numbers_of_names(columns[other], files)], list[str]()
    numbers = numbers if len(numbers) < len(others) else []
    if numbers:
        said.append(tr("Numbers that stand in the names of the files are not learned from: {names}. To learn one: --kind {first}=number",
                       names=", ".join(numbers), first=flagged(numbers[0])))  # fmt: skip
    if codes := _codes(columns, others):
        names = ", ".join(f"{code} = {word}" for code, word in codes.items())
        said.append(tr("Numbers that say the same as words beside them are not learned from: {names}.", names=names))
    return [*numbers, *codes], said


def _owners(files: Sequence[str | None], told: Sequence[Sequence[str | None]]) -> list[str | None]:
    """Of each file the folder that is called by whom it is of (patient00001 of CheXpert); none where some lie in no such folder, each is of
    another, or a column says the same: that may be what is to be learned."""
    steps = [[step for step in (file or "").split("/")[:-1] if PEOPLE.fullmatch(step)] for file in files]
    if not any(steps) or not all(own or file is None for own, file in zip(steps, files, strict=True)):
        return []
    shared = set[str].intersection(*({*own} for own in steps if own))  # subjects/subject_01
    owners = [next((step for step in own if step not in shared), None) for own in steps]
    count = len({*owners} - {None})
    same = any(len({*cells}) == count == len({*zip(owners, cells, strict=True)}) for cells in told)
    return owners if 1 < count < len(files) and not same else []


def _numbers_of_names(column: pa.ChunkedArray | pa.Array, files: Sequence[str | None]) -> bool:
    """Whether whole numbers, each of one or two rows, stand in the names of their own files beside other signs (src_file of ESC-50): they
    number recordings. An age is of more rows, and what is to be read on a picture is its whole name."""
    if not (pa.types.is_integer(column.type) or is_text(column.type)):
        return False
    pairs = [(str(cell), file) for cell, file in zip(column.to_pylist(), files, strict=True) if file is not None]
    few = 2 * len({cell for cell, _ in pairs}) >= len(pairs) > 0
    stems = [PurePosixPath(file).stem for _, file in pairs]
    return few and all(cell != stem and cell in re.findall(r"\d+", stem) for (cell, _), stem in zip(pairs, stems, strict=True))


def _codes(columns: Mapping[str, pa.ChunkedArray | pa.Array], names: Sequence[str]) -> dict[str, str]:
    """Columns of numbers that stand for the classes of another one, each for one (target and category of ESC-50), and those columns."""
    cells = {name: columns[name].cast(pa.large_string()).to_pylist() for name in names if not pa.types.is_nested(columns[name].type)}
    classed = {name: len({*held}) for name, held in cells.items() if 1 < len({*held}) <= len(held) / MANY_EACH}
    number = {name: all(cell is not None and cell.lstrip("-").isdigit() for cell in cells[name]) for name in classed}
    pairs = [(code, word) for code in classed for word in classed if number[code] and not number[word] and classed[code] == classed[word]]
    return {code: word for code, word in pairs if len({*zip(cells[code], cells[word], strict=True)}) == classed[code]}


def once(folder: Folder, lists: list[str]) -> Table | None:
    """Of several lists those that name each of their files once and have the same columns, one above the other (set_a.csv, set_b.csv);
    None where these are none, not of one kind, or several name a file: they need not say the same of it."""
    index, tables = by_ends(file for file in folder.files if kind_of(file) in MEDIA), {file: folder.read(file) for file in lists}
    named = {file: table.data.column(_naming_column(table, index)) for file, table in tables.items()}
    whole = [file for file, cells in named.items() if len(pc.unique(cells)) == len(cells)]
    most = max(whole, key=lambda file: len(tables[file]), default="")
    whole = [file for file in whole if {*tables[file].names} == {*tables[most].names} or len(tables[file]) > FEW * len(tables[most])]
    read = [file for file in _places(folder.root, [str(cell) for file in whole for cell in named[file].to_pylist()], index) if file]
    if len({frozenset(tables[file].names) for file in whole}) != 1 or len({*read}) < len(read):
        return None
    first, *_ = above = [tables[file] for file in whole]
    data = _above([table.data.select(first.names) for table in above])
    rest = [file for file in lists if file not in whole]
    lost = sorted({*index.values()}.difference(read))
    said = [tr("{count:,} files that no list names are not read; the first: {first}.", count=len(lost), first=lost[0])] if lost else []
    said += [tr("{count} other tables of the folder are not read: {names}.", count=len(rest), names=", ".join(rest))] if rest else []
    problems = dict.fromkeys(problem for table in above for problem in table.problems)
    return replace(folder, problems=(*said, *problems)).table(data, first.kinds)


def alongside(folder: Folder, lists: list[str]) -> Table | None:
    """Two lists that name the same files, each once, and say unlike things of them (truth and metadata of ISIC), as one; else None."""
    try:
        first, other = (exclusive(described(folder, folder.read(file))) for file in lists)
    except DataError:  # it names none
        return None
    media = next((name for name in MEDIA if name in first.names and name in other.names), "")
    own, others = (table.column(media).drop_null() if media else pa.chunked_array([[]], pa.large_string()) for table in (first, other))
    both = len({*own.to_pylist()} & {*others.to_pylist()})
    added = [name for name in other.names if name not in (media, "file")]
    if both < SAME * max(len(own), len(others)) or both < len(pc.unique(own)) * SAME or {*added} & {*first.names} or not both:
        return None
    rows = pc.index_in(first.column(media), value_set=other.column(media))
    data = first.data
    for name in added:
        data = data.append_column(name, other.column(name).take(rows))
    said = tr("{files} name the same files: what both say of them is one table.", files=", ".join(lists))
    problems = dict.fromkeys((*first.problems, *other.problems))
    return replace(first, data=data, kinds={**other.kinds, **first.kinds}, problems=(*problems, said))


def _above(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables one above the other; what is text in one of them and numbers in another is text."""
    texts = {field.name for table in tables for field in table.schema if is_text(field.type)}
    alike = [pa.table({name: column.cast(pa.large_string()) if name in texts and not pa.types.is_nested(column.type) else column
                       for name, column in zip(table.column_names, table.columns, strict=True)}) for table in tables]  # fmt: skip
    return pa.concat_tables(alike, promote_options="permissive")


def drawn(files: Sequence[str]) -> bool:
    """Whether the pictures are drawn from the sounds (spectrograms): most are called as one of these, in folders of their own."""
    named = {kind: {_bare(file) for file in files if kind_of(file) == kind} for kind in ("image", "audio")}
    folders = {kind: {os.path.dirname(file) for file in files if kind_of(file) == kind} for kind in ("image", "audio")}
    both = named["image"] & named["audio"]
    return len(both) > MOST_DRAWN * max(map(len, named.values())) and folders["image"].isdisjoint(folders["audio"])


def _bare(file: str) -> str:
    """A file's name without its ending and signs."""
    return re.sub(r"[\W_]", "", PurePosixPath(file).stem.lower())


def parts(folder: Folder, lists: list[str]) -> Table:
    """train/metadata.csv and test/metadata.csv: the rows of all, their files named from the root, so that folders tell the parts."""
    found, problems = list[pa.Table](), list[str]()
    for file in lists:
        part = str(PurePosixPath(file).parent)
        inside = [name[len(part) + 1 :] for name in folder.files if name.startswith(f"{part}/")]
        table = described(replace(folder, root=folder.root / part, files=inside, problems=()), folder.read(file))
        names = [name for name in table.names if name in (*MEDIA, "file")]
        before = pa.scalar(f"{part}/", pa.large_string())
        cells = {name: pc.binary_join_element_wise(before, table.data.column(name), pa.scalar("", pa.large_string())) for name in names}
        found.append(pa.table({name: cells.get(name, table.data.column(name)) for name in table.names}))
        problems += table.problems
    known = {name: kind for name, kind in table.kinds.items() if kind in ("id", "boxes") or name == folder.media}
    return folder.table(_above(found), known, *problems)


def beside(listed: Table, read_file: Reader) -> Table:
    """A list of boxes, or of files that lie not beside it but in folders there: as what it lists. Any other table as it is."""
    if listed.root is None:
        return listed
    boxed = lists_boxes(listed)
    lost = [name for name in listed.names if not boxed and _lost(listed, name)]
    if not boxed and not lost:
        return listed
    folder = Folder(listed.root, listing(listed.root)[0], read_file)
    index = by_ends(file for file in folder.files if kind_of(file) in MEDIA)
    if boxed:
        return described(folder, listed) if names_files(listed, folder.files) else listed
    cells = [str(cell) for cell in listed.data.column(lost[0]).slice(0, LOOKED_AT).to_pylist() if cell]
    found = sum(_called(cell, index) is not None for cell in cells)
    return described(folder, listed) if found > 0.5 * len(cells) else listed


def _lost(listed: Table, name: str) -> bool:
    """Whether a column's first cells are names of media, most of which are not there, or of scans, which are rows of slices each."""
    column = listed.data.column(name).slice(0, LOOKED_AT)
    cells = [cell for cell in column.to_pylist() if isinstance(cell, str) and len(cell) < LONGEST_NAME and kind_of(cell) in MEDIA]
    there = sum((listed.root or Path()).joinpath(cell).is_file() for cell in cells)
    scanned = all(cell.lower().endswith(scans.ENDINGS) for cell in cells)
    return len(cells) > 0.5 * len(column) and (there < 0.5 * len(cells) or scanned)


def _of_parts(
    root: Path, cells: Sequence[str | None], parts: Sequence[int | None], own: Mapping[int | None, dict[str, str]]
) -> list[str | None]:
    """The files that the cells name, each in its part."""
    found: list[str | None] = [None] * len(cells)
    for part, index in own.items():
        rows = [row for row, one in enumerate(parts) if one == part]
        for row, file in zip(rows, _places(root, [cells[row] for row in rows], index), strict=True):
            found[row] = file
    return found


def _places(root: Path, cells: list[str | None], index: dict[str, str]) -> list[str | None]:
    """The files that the cells name. Where several cells that name folders would have one file (dog/1.jpg is missing, cat/1.jpg is there),
    it is that of the one which names its whole path, or of none."""
    found = [_place(root, cell, index) for cell in cells]
    named: dict[str, set[str]] = {}
    for cell, file in zip(cells, found, strict=True):
        if file is not None and cell and "/" in (path := cell.replace("\\", "/")):
            named.setdefault(file, set()).add(os.path.normpath(path))
    torn = {file: paths for file, paths in named.items() if len(paths) > 1}
    return [
        None if file in torn and cell and "/" in cell.replace("\\", "/") and not _is_whole(root, cell, file) else file
        for cell, file in zip(cells, found, strict=True)
    ]


def _is_whole(root: Path, cell: str, file: str) -> bool:
    """Whether a cell names all of a file's path, with its ending or without, maybe with more before it."""
    path = os.path.normpath(cell.replace("\\", "/"))
    path = os.path.relpath(path, root.resolve()).replace(os.sep, "/") if path.startswith("/") else path
    names = (file, os.path.splitext(file)[0])
    return path in names or ("/" in file and path.endswith(tuple(f"/{name}" for name in names)))


def _place(root: Path, cell: str | None, index: dict[str, str]) -> str | None:
    """The listed file that the cell names; a path that leads out of the folder is refused."""
    if not cell:
        return None
    path = PurePosixPath(cell.replace("\\", "/"))
    if path.is_absolute():
        inside = os.path.relpath(str(path), root.resolve()).replace(os.sep, "/")
        path = PurePosixPath(*path.parts[1:]) if inside.startswith("..") else PurePosixPath(inside)
    elif ".." in path.parts:
        raise DataError("The files that a metadata file names must lie in its folder; received {path!r}. Move them there.", path=cell)
    tails = ["/".join(path.parts[start:]) for start in range(len(path.parts))]  # its folders may lie in others on the list's machine
    return next((index[tail] for tail in (*tails, os.path.splitext(path.name)[0]) if tail in index), None) or _called(cell, index)


def _called(cell: str, index: dict[str, str]) -> str | None:
    """The file by the last part of its path or address, without what a tool wrote before it."""
    names = [PurePosixPath(name).name for name in (cell.replace("\\", "/"), *places(cell))]
    return next((index[name] for name in names if name in index), None)


def are_classes(cells: Iterable[str | None]) -> bool:
    """Whether what stands beside files is a class: one short word, each such word beside several files."""
    counts = Counter(cell.strip() for cell in cells if cell)
    return len(counts) > 1 and counts.total() >= MANY_EACH * len(counts) and not any(
        len(cell) > LONGEST_CLASS or len(cell.split()) > 1 for cell in counts
    )  # fmt: skip


def _headed(root: Path, listed: Table, index: dict[str, str]) -> Table:
    """The list; where its first line names a file of the folder (as LJSpeech's does), that is a row, and the columns are c0, c1 …"""
    if {name.lower() for name in listed.names} & {*NAMING} or any(pa.types.is_nested(kind) for kind in listed.data.schema.types):
        return listed
    if not any(_place(root, name, index) for name in listed.names):
        return listed
    first = [re.sub(r"_\d+$", "", name) if re.sub(r"_\d+$", "", name) in listed.names else name for name in listed.names]
    names = [f"c{place}" for place in range(len(first))]
    first = ["" if cell == f"c{place}" else cell for place, cell in enumerate(first)]  # what an empty cell was called
    columns = [pa.chunked_array([[cell], *listed.data.column(name).cast(pa.large_string()).chunks], pa.large_string())
               for cell, name in zip(first, listed.names, strict=True)]  # fmt: skip
    said = tr("The file has no line of column names; the columns are called {first} … {last}.", first=names[0], last=names[-1])
    return Table(pa.table(columns, names), root=listed.root, name=listed.name, problems=(said,))


def names_files(listed: Table, files: list[str]) -> bool:
    """Whether one of the columns has names of these files in its first rows."""
    media = [PurePosixPath(file) for file in files if kind_of(file) in MEDIA]
    called = {file.name for file in media} | {file.stem for file in media}
    own = listed.data.select([name for name in listed.names if name != SOURCE])  # what a row is a piece of is not its file
    rows = [listed.names, *(list(row.values()) for row in own.slice(0, LOOKED_AT).to_pylist())]
    return any(isinstance(cell, str) and PurePosixPath(cell.replace("\\", "/")).name in called for row in rows for cell in row)


def _naming_column(listed: Table, index: dict[str, str]) -> str:
    by_name = {name.lower(): name for name in listed.names}
    for wanted in NAMING:
        if wanted in by_name:
            return by_name[wanted]
    for name in listed.names:
        cells = [str(cell) for cell in listed.data.column(name).slice(0, 50).to_pylist() if cell is not None]
        if cells and sum(cell in index or _called(cell, index) is not None for cell in cells) > 0.5 * len(cells):
            return name
    raise DataError(
        "A metadata file must name the files in a column such as {wanted}; its columns are {names}. Rename one.",
        wanted="file, image, audio or video",
        names=", ".join(listed.names[:20]),
    )
