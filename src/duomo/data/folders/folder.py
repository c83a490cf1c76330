"""Folders as tables: class folders of pictures, sounds, films, texts; media listed by a metadata file; recordings with transcripts."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS, UNREADABLE
from duomo.core.kinds import image
from duomo.core.kinds.video import moves
from duomo.core.messages import together, tr
from duomo.core.table import MEDIA, Table
from duomo.data import spill as caches
from duomo.data.folders.catalogues import read_catalogues
from duomo.data.folders.classes import beds, classes, has_classes, kinds_of, known_classes, labels_of, within
from duomo.data.folders.companions import above_classes, cards, companions
from duomo.data.folders.dubbed import are_captions, read_dubbed
from duomo.data.folders.files import Folder, Reader, kind_of, listing
from duomo.data.folders.illustrated import is_illustrated
from duomo.data.folders.joined import joined
from duomo.data.folders.lined import read_lined
from duomo.data.folders.listed import GROUP, LOOKED_AT, alongside, are_classes, described, drawn, known, names_files, once, parts
from duomo.data.folders.listed_folders import explains, of_folders, of_scans
from duomo.data.folders.misnamed import misnamed
from duomo.data.folders.part_lists import divided, marked
from duomo.data.folders.part_tables import SUBMISSION, of_parts
from duomo.data.folders.prose import alike, media_beside, passed_by, passed_over, tables_beside, writing
from duomo.data.folders.records import read_records
from duomo.data.folders.scans import nameless
from duomo.data.folders.text_tables import rows_of, tables_of
from duomo.data.folders.transcripts import read_classes, read_spoken, read_timed, refuse_elsewhere
from duomo.data.formats.aligned import read_sides, sides
from duomo.data.formats.arrays import is_array, read_arrays
from duomo.data.formats.documents import block_size, blocks
from duomo.data.formats.foreign import refuse_any
from duomo.data.formats.frames import from_rows
from duomo.data.formats.frames import plain as as_plain
from duomo.data.formats.pages import plain, unread
from duomo.data.formats.standoff import read_standoff
from duomo.data.formats.text_encoding import Encoding, detect, open_text
from duomo.data.partition import PARTS, SPLIT
from duomo.data.scenes.forms import read_scenes, refuse_without_pictures
from duomo.data.scenes.masks import apart, of_regions
from duomo.data.split_sizes import TRAIN

STRAY = 20
"""Texts for each picture, sound or film, at least, beside which these are no data."""
STILL, MOVING = ".gif", (".webp", ".png")
"""The ending that films share with pictures: most of a folder's move, or none is a film; and such as are no films here."""
LISTS = ("metadata", "index", "labels", "transcripts", "annotations", "_annotations", "_classes")
"""What a file that describes the others is called."""
BESIDE = {"label": (".cls",), "text": (".txt", ".text", ".caption", ".cap"), "json": (".json",)}
"""Endings of files that say something of the one that is called as they are, and what: a class, a text, several things."""
RUN = ("run.json", "recipe.toml")
"""Files that every folder of a run has."""


def read_folder(root: Path, read_file: Reader, cache: Path | None, wanted: str = "") -> Table:
    """The folder's one meaning as a table; raises DataError where it has none, or several."""
    _refuse_run(root)
    files, problems, marks = apart(root, *listing(root))
    outer = {file.partition("/")[0] for file in files}
    if len(outer) == 1 and any(kind_of(file) == "table" and file.count("/") == 1 for file in files):
        return replace(read_folder(root / outer.pop(), read_file, cache, wanted), name=root.name)
    folder = Folder(root, files, read_file, cache, wanted, problems)
    kinds, tables = Counter(kind_of(file) for file in files), folder.of_kind("table")
    if scanned := nameless(root, files, sum(kinds[kind] for kind in MEDIA)):
        return of_scans(folder, scanned, tables)
    silent = not any(kinds[kind] for kind in MEDIA)
    if silent and len(tables) < 2 and (arrays := [file for file in files if is_array(root / file)]):
        beside = folder.read(tables[0]) if tables else None
        if beside is None or len(arrays) == 1:
            return read_arrays(root, arrays, beside)
    stills = [file for file in files if file.lower().endswith(STILL)]
    if _moving(root, still := [file for file in files if file.lower().endswith(MOVING)]):
        folder = folder.noting(
            tr("{count:,} pictures ({first} and others) seem to move; of each the first frame alone is learned from. To learn from all "
               "frames make them GIF, for example: magick IN OUT.gif", count=len(still), first=still[0])
        )  # fmt: skip
    if stills and len(stills) == kinds["image"] and _moving(root, stills):
        kinds["video"] += kinds.pop("image")
    media = "audio" if drawn(files) else max(("image", "audio", "video"), key=lambda kind: kinds[kind])
    if not files:
        raise DataError("A folder must hold data; {folder} is empty. Put files into it, or name another.", folder=root.name)
    if not kinds[media]:
        _refuse_lists_alone(root, files, tables)
    folder = replace(folder, media=media).noting(*misnamed(root, files, bool(kinds[media] or kinds["text"] or tables)))
    pictures = [file for file in folder.of_kind("image") if not file.lower().endswith(image.UNREAD)]
    if pictures and (found := read_scenes(root, files, pictures, folder.problems)) is not None:
        return found
    if (found := of_regions(root, pictures, tables, marks, folder.problems)) is not None:
        return found
    strays = _strays(folder)
    if strays and not any(_stem(file) in LISTS and _lists(replace(folder, files=[*strays]), file) for file in tables):
        said = tr("{count} pictures, sounds or films ({names}) are not learned from: the texts are the data. For these, name their folder.",
                  count=len(strays), names=", ".join(sorted(strays)[:3]))  # fmt: skip
        folder, kinds[media] = replace(folder, files=[file for file in files if file not in strays]).noting(said), 0
    elif media == "image" and not {*map(_stem, tables)} & {*LISTS} and is_illustrated(root, files, pictures):
        said = tr("{count} pictures that the texts show are not learned from: the texts are the data. For the pictures, name their folder.",
                  count=len(pictures))  # fmt: skip
        return _written(replace(folder, files=[file for file in files if writing(root, file) != "code"]).noting(said))
    return _of_media(folder, tables, stills if not kinds["image"] else []) if kinds[media] else _of_words(folder, tables)


def _of_media(folder: Folder, tables: list[str], moving: list[str]) -> Table:
    """A folder of media; `moving`: pictures that are films."""
    if (found := of_folders(folder, folder.shown, tables)) is not None:
        return found
    if (found := _listed(folder, tables)) is not None:
        return divided(folder, found)
    for made in (read_timed, read_spoken, _paired) if folder.media == "audio" else (_paired, read_classes):
        if (found := made(folder)) is not None:
            return found
    if not has_classes(folder.root, folder.files, folder.media) and (told := marked(folder)) is not None:
        return described(folder, told)
    if folder.media == "audio" and (noise := beds(folder.root, folder.shown)):
        said = tr("{count} recordings ({first} and others), many times as long as all others, are noise to be mixed in and no class: they "
                  "are not learned from.", count=len(noise), first=noise[0])  # fmt: skip
        folder = replace(folder, files=[file for file in folder.files if file not in noise]).noting(said)
    shown = sorted({*folder.shown, *(moving if folder.media == "video" else [])})
    if lists := [file for file in tables[:LOOKED_AT] if _lists(folder, file)]:
        folder = folder.noting(tr("{count} lists that name these files are not read: {names}. To learn what one says, put it beside the "
                                  "folders of the files.", count=len(lists), names=", ".join(lists[:3])))  # fmt: skip
    return divided(folder, classes(folder.noting(*passed_by(folder.files), *media_beside(folder.files, shown)), shown))


def _of_words(folder: Folder, tables: list[str]) -> Table:
    """A folder without media: its annotated texts, messages of a program, records or rows of texts, its tables, or its texts."""
    for made in (read_standoff, read_catalogues, read_records, *(() if tables else (read_lined, _side_by_side))):
        if (found := made(folder)) is not None:
            return found
    root, files, texts, listed = folder.root, folder.files, len(folder.of_kind("text")), cards(tables)
    tables = [file for file in tables if file not in listed]
    about = companions(root, files, tables) if tables else []
    if not tables and (lone := rows_of(root, files, folder.encoding)):
        tables, about = lone, [file for file in files if file not in lone]
    elif (texts > len(about) and texts - len(about) >= sum("/" not in file for file in tables)) or _settings(folder, tables):
        return _written(folder)
    if tables:
        whole = folder.read(tables[0]) if len(tables) == 1 else joined(folder, tables)
        beside = passed_by([file for file in files if file not in about and file not in tables])
        return replace(whole, problems=(*folder.problems, *passed_over([*about, *listed]), *beside, *whole.problems))
    if any(writing(root, file) for file in files):
        return _written(folder)
    raise _refusal(root, files)


def _settings(folder: Folder, tables: list[str]) -> bool:
    """Whether the only tables are JSON that holds none, beside more files of code: package.json, tsconfig.json."""
    code = sum(writing(folder.root, file) == "code" for file in folder.files)
    if not 0 < len(tables) < code or not all(file.lower().endswith(".json") for file in tables):
        return False
    for file in tables:
        try:
            folder.read(file)
        except DataError:
            continue
        return False
    return True


def _side_by_side(folder: Folder) -> Table | None:
    """Translations line by line, or texts that only seemed to be; None where nothing looks like them."""
    texts, said = sides(folder.root, folder.files)
    if texts and are_captions(texts):
        out = tr("The subtitles are not shown at the same times, so they are read as texts and not as translations of one another.")
        return read_dubbed(folder.noting(*said), texts) or _written(folder.noting(out))
    if texts:
        return read_sides(folder.noting(*said), texts)
    return _written(folder.noting(*said)) if said else None


def _refuse_lists_alone(root: Path, files: list[str], tables: list[str]) -> None:
    """DataError for lists of recordings or pictures that lie elsewhere."""
    refuse_elsewhere(root, files)
    if tables:
        refuse_without_pictures(root, tables)


def _refusal(root: Path, files: list[str]) -> DataError:
    if said := unread(files):
        return DataError("{problems}", problems=together(said))
    refuse_any(root, files)
    if len(several := tables_of(root, files)) > 1:
        raise DataError("A folder with several tables needs a choice; {folder} holds {files}. Give one of these files.",
                        folder=root.name, files=", ".join(several[:10]), choices=several[:50])  # fmt: skip
    if all(file.lower().endswith((".tar", ".zip")) for file in files):
        raise DataError(
            "Archives are not opened within a folder; {folder} holds {count}. Unpack them into one folder, and give that: "
            'mkdir ALL; for one in {folder}/*.tar; do tar -xf "$one" -C ALL; done', folder=root.name, count=len(files),
        )  # fmt: skip
    return DataError(
        "A folder must hold pictures, sounds, films, texts or a table; {folder} holds {count} files of other kinds ({examples}). "
        "Name another folder.",
        folder=root.name, count=len(files), examples=", ".join(files[:3]),
    )  # fmt: skip


def _written(folder: Folder) -> Table:
    """The texts of the folder; how many others there are is said."""
    root, files = folder.root, folder.files
    kinds = {file: writing(root, file) for file in files}
    chosen = alike(root, kinds)
    other = sorted({file for file, kind in kinds.items() if kind}.difference(chosen))
    if other:
        said = tr("{count} texts of other endings than most are not read: {names}.", count=len(other), names=", ".join(other[:3]))
        folder = folder.noting(said)
    about = above_classes(chosen)
    folder = folder.noting(*passed_over(about), *tables_beside(files), *unread(files))
    kept = within([file for file in chosen if file not in about])
    return _texts(replace(folder, files=kept), labelled=kinds[chosen[0]] != "code")


def _refuse_run(root: Path) -> None:
    if all((root / name).is_file() for name in RUN):
        raise DataError("What is learned from must be data; {folder} is the folder of a run. To go on with it: duomo resume {path}; "
                        "to begin from its weights: duomo train DATA --from {path}", folder=root.name, path=root)  # fmt: skip


def _listed(folder: Folder, tables: list[str]) -> Table | None:
    """The media that a table of the folder lists, or one in each folder of a part; None where no table does."""
    own = [file for file in tables if "/" not in file]
    lists = [file for file in tables if _stem(file) in LISTS and "/" in file]
    inner = [file for file in lists if _lists(folder, file)]
    lists = inner if len(inner) > 1 else [file for file in lists if file.split("/")[0].lower() in PARTS]
    if not own and not lists and len(tables) <= LOOKED_AT and not has_classes(folder.root, folder.files, folder.media):
        own = [file for file in tables if _lists(folder, file)]  # audio/1.wav beside meta/list.csv
    named = [file for file in own if _stem(file) in LISTS and (len(own) == 1 or _lists(folder, file))] or own
    named = [file for file in named if _lists(folder, file)] if len(named) > 1 else named
    named = [file for file in named if _lists(folder, file) or not explains(folder.read(file))]
    if len(named) == 1:
        return described(folder, folder.read(named[0]))
    if (parted := of_parts(folder, named)) is not None:
        return described(folder, parted, None if SPLIT in parted.names else TRAIN)
    if len(named) == 2 and (both := alongside(folder, named)) is not None:
        return both
    if {word for file in named for word in re.split("[-_.]", _stem(file))} & PARTS.keys():
        first, last = (min(named, key=lambda file: (word not in _stem(file), file)) for word in ("train", "test"))
        raise DataError(
            "A folder with several lists of its files needs a choice; {folder} holds {files}. Train on {first}, and give {last}.",
            folder=folder.root.name, files=", ".join(named[:10]), first=f"{folder.root.name}/{first}",
            last=f"--test {folder.root.name}/{last}",
            choices=named[:50],
        )  # fmt: skip
    several = [file for file in named if not SUBMISSION.search(_stem(file))] if len(named) > 1 else []
    if several and (chosen := once(folder, several)) is not None:
        return described(folder, chosen)
    return parts(folder, lists) if lists and not named else None


def _lists(folder: Folder, table: str) -> bool:
    """Whether a table names files of the folder; one that cannot be read does not."""
    try:
        return names_files(folder.read(table), folder.files)
    except DataError:
        return False


def _strays(folder: Folder) -> set[str]:
    """The pictures, sounds and films of a folder of texts: so few beside them, and none of them goes with one by its name."""
    found, texts = {file for file in folder.files if kind_of(file) in MEDIA}, folder.of_kind("text")
    named = {PurePosixPath(file).stem for file in texts}
    return found if found and len(found) * STRAY <= len(texts) and not named & {PurePosixPath(file).stem for file in found} else set()


def _stem(file: str) -> str:
    return PurePosixPath(file).stem.lower()


def _moving(root: Path, files: list[str]) -> bool:
    """Whether most of the first pictures are several."""
    found = []
    for file in files[:LOOKED_AT]:
        try:
            found.append(moves(root / file))
        except UNREADABLE:
            continue
    return sum(found) > 0.5 * len(found)


def _texts(folder: Folder, *, labelled: bool) -> Table:
    """One row per file, with its class folder as label; a few long works are cut into documents."""
    root, files = folder.root, folder.files
    classed = labels_of(root, files) if labelled else None
    files, classed = known_classes(files, classed) if classed else (files, classed)
    folders = {} if classed is None else {"label": classed.labels} | ({GROUP: classed.groups} if classed.groups else {})
    sizes = [*map(folder.size, files)]
    works = classed is None and len(files) < 50 and sum(sizes) > 16_000 * len(files)
    notes: list[str] = []
    names = ["text", *folders, *(["part"] if works else []), "file"]
    schema = pa.schema([(name, pa.int64() if name == "part" else pa.large_string()) for name in names])

    def batches() -> Iterator[pa.RecordBatch]:
        held: list[dict[str, object]] = []
        for place, file in enumerate(files):
            facts = {name: values[place] for name, values in folders.items()}
            held += ({**row, **facts} for row in _text_rows(folder, file, works, notes))
            if len(held) >= 1000:
                yield pa.RecordBatch.from_pylist(held, schema)
                held = []
        if held:
            yield pa.RecordBatch.from_pylist(held, schema)

    if sum(sizes) > caches.LARGE:
        table = caches.store(folder.cache, _folder_key(root, files, sizes) + GROUP * (GROUP in names), schema, batches())
    else:
        table = pa.Table.from_batches(list(batches()), schema)
    return folder.table(table, kinds_of(table.column_names), *(classed.said if classed else ()), *_summary(root, files, notes))


def _summary(root: Path, files: list[str], notes: list[str]) -> tuple[str, ...]:
    """What the encodings were, in a few sentences; where a third of the files is unclear, the first one asks."""
    unclear = [note.split(": ")[0] for note in notes if note.endswith(_unclear())]
    if len(unclear) > len(files) / 3:
        detect(root / unclear[0])
    if len(notes) <= 3:
        return tuple(notes)
    return (
        tr(
            "{count} of {total} files are not plain UTF-8; the first: {first}.",
            count=len(notes), total=len(files), first=notes[0].rstrip(".。"),
        ),
    )  # fmt: skip


def _folder_key(root: Path, files: list[str], sizes: list[int]) -> str:
    digest = caches.text_digest(*(f"{file}\0{size}\0{(root / file).stat().st_mtime_ns}" for file, size in zip(files, sizes, strict=True)))
    return f"{digest}-texts"


def _unclear() -> str:
    return tr("its encoding is not clear; bytes that are not UTF-8 became \ufffd")


def _text_rows(folder: Folder, file: str, works: bool, notes: list[str]) -> Iterator[dict[str, object]]:
    path = plain(folder.root / file, folder.cache, folder.encoding)
    try:
        encoding = detect(path, folder.encoding if path == folder.root / file else "")
    except DataError:
        if folder.encoding:
            raise
        encoding = Encoding("utf-8", 0, (_unclear(),))
    notes += [f"{file}: {problem}" for problem in encoding.problems]
    with open_text(path, encoding) as text:
        pieces = blocks(text, block_size(path.stat().st_size)) if works else iter([text.read()])
        for part, piece in enumerate(pieces):
            yield {"text": piece, "part": part, "file": file}


def _paired(folder: Folder) -> Table | None:
    """clip.mp4 beside clip.txt: the text is the caption, or a class, as in 7.cls; of 7.json beside 7.jpg, which lie in one folder and have
    no other text, the fields are columns. None where too few files have one."""
    files, found = folder.files, folder.shown
    notes: list[str] = []
    columns: dict[str, Any] = {folder.media: pa.array(found, pa.large_string())}
    for name, endings in BESIDE.items():
        texts = {os.path.splitext(file)[0]: file for file in files if os.path.splitext(file)[1].lower() in endings}
        beside = [texts.get(os.path.splitext(file)[0]) for file in found]
        if sum(file is not None for file in beside) < 0.5 * len(found) or (name == "json" and len(columns) > 1):
            continue
        cells = [_said(folder, file, notes) for file in beside]
        if name == "json":
            columns |= _fields(cells) if len({*map(os.path.dirname, found)}) == 1 else {}
        else:
            columns["label" if are_classes(cells) else name] = pa.array(cells, pa.large_string())
    if len(columns) < 2:
        return None
    columns["file"] = columns[folder.media]
    return folder.table(columns, known(columns), *notes)


def _said(folder: Folder, file: str | None, notes: list[str]) -> str | None:
    rows = [] if file is None else list(_text_rows(folder, file, False, notes))
    return str(rows[0]["text"]).strip() if rows else None


def _fields(cells: Sequence[str | None]) -> dict[str, pa.ChunkedArray]:
    """The fields of objects as columns, but for those of which a file is the name; none where some cell is no object."""
    try:
        rows = [{} if cell is None else json.loads(cell) for cell in cells]
    except JSON_FAULTS:
        return {}
    if not all(isinstance(row, dict) for row in rows):
        return {}
    schema, batches = from_rows(lambda: rows)
    table = as_plain(pa.Table.from_batches(list(batches), schema))
    return {name: table.column(name) for name in table.column_names if name not in (*MEDIA, "file")}
