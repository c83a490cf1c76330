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
from duomo.data.folders.classes import GROUP, classes, has_classes, kinds_of, known_classes, labels_of, within
from duomo.data.folders.companions import above_classes, cards, companions
from duomo.data.folders.illustrated import is_illustrated
from duomo.data.folders.joined import joined
from duomo.data.folders.lined import read_lined
from duomo.data.folders.listed import LOOKED_AT, Reader, are_classes, described, drawn, kind_of, known, listing, names_files, once, parts
from duomo.data.folders.lone import rows_of, tables_of
from duomo.data.folders.misnamed import misnamed
from duomo.data.folders.owned import explains, of_folders, of_scans
from duomo.data.folders.parted import SUBMISSION, of_parts
from duomo.data.folders.portioned import divided, marked
from duomo.data.folders.prose import alike, media_beside, passed_by, passed_over, tables_beside, writing
from duomo.data.folders.records import read_records
from duomo.data.folders.scans import nameless
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
from duomo.data.partition import PARTS
from duomo.data.scenes.forms import read_scenes, refuse_without_pictures
from duomo.data.scenes.masks import apart, of_regions

STRAY = 20
"""Texts for each picture, sound or film, at least, beside which these are no data."""
STILL = ".gif"
"""The ending that films share with pictures: most of a folder's move, or none is a film."""
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
    kinds, tables = Counter(kind_of(file) for file in files), [file for file in files if kind_of(file) == "table"]
    if scanned := nameless(root, files, sum(kinds[kind] for kind in MEDIA)):
        return of_scans(root, scanned, tables, read_file, problems)
    silent = not any(kinds[kind] for kind in MEDIA)
    if silent and len(tables) < 2 and (arrays := [file for file in files if is_array(root / file)]):
        beside = read_file(root / tables[0]) if tables else None
        if beside is None or len(arrays) == 1:
            return read_arrays(root, arrays, beside)
    stills = [file for file in files if file.lower().endswith(STILL)]
    if stills and len(stills) == kinds["image"] and _moving(root, stills):
        kinds["video"] += kinds.pop("image")
    media = "audio" if drawn(files) else max(("image", "audio", "video"), key=lambda kind: kinds[kind])
    if not files:
        raise DataError("A folder must hold data; {folder} is empty. Put files into it, or name another.", folder=root.name)
    if not kinds[media]:
        _refuse_lists_alone(root, files, tables)
    problems = (*problems, *misnamed(root, files, bool(kinds[media] or kinds["text"] or tables)))
    pictures = [file for file in files if kind_of(file) == "image" and not file.lower().endswith(image.UNREAD)]
    for found in (read_scenes(root, files, pictures, problems) if pictures else None, of_regions(root, pictures, tables, marks, problems)):
        if found is not None:
            return found
    strays = _strays(files, kinds["text"])
    if strays and not any(_stem(file) in LISTS and _lists(root / file, read_file, [*strays]) for file in tables):
        files, kinds[media] = [file for file in files if file not in strays], 0
        said = tr("{count} pictures, sounds or films ({names}) are not learned from: the texts are the data. For these, name their folder.",
                  count=len(strays), names=", ".join(sorted(strays)[:3]))  # fmt: skip
        problems = (*problems, said)
    elif media == "image" and not {*map(_stem, tables)} & {*LISTS} and is_illustrated(root, files, pictures):
        said = tr("{count} pictures that the texts show are not learned from: the texts are the data. For the pictures, name their folder.",
                  count=len(pictures))  # fmt: skip
        return _written(root, [file for file in files if writing(root, file) != "code"], cache, (*problems, said), wanted)
    if kinds[media]:
        return _shown(root, files, tables, read_file, (media, stills if not kinds["image"] else [], problems), wanted)
    for made in (read_standoff, read_records):
        if (annotated := made(root, files, problems, wanted)) is not None:
            return annotated
    if not tables and (lined := read_lined(root, files, problems, wanted)) is not None:
        return lined
    if not tables and (aligned := _side_by_side(root, files, cache, problems, wanted)) is not None:
        return aligned
    return _silent(root, files, tables, kinds["text"], read_file, cache, problems, wanted)


def _shown(
    root: Path, files: list[str], tables: list[str], read_file: Reader, inside: tuple[str, list[str], tuple[str, ...]], wanted: str
) -> Table:
    """A folder of media: `inside` are their kind, pictures that are films, and what is to be said."""
    media, moving, problems = inside
    shown = [file for file in files if kind_of(file) == media]
    if (found := of_folders(root, tables, read_file, (shown, media, problems))) is not None:
        return found
    if (found := _listed(root, tables, read_file, (files, media, problems))) is not None:
        return found
    for made in (read_timed, read_spoken, _paired) if media == "audio" else (_paired, read_classes):
        if (found := made(root, files, media, problems, wanted)) is not None:
            return found
    if not has_classes(root, files, media) and (told := marked(root, files, media, wanted)) is not None:
        return described(root, told, files, media, problems)
    shown = sorted({*shown, *(moving if media == "video" else [])})
    return divided(classes(root, shown, media, (*problems, *passed_by(files), *media_beside(files, shown))), root, files, media, wanted)


def _silent(
    root: Path,
    files: list[str],
    tables: list[str],
    texts: int,
    read_file: Reader,
    cache: Path | None,
    problems: tuple[str, ...],
    wanted: str,
) -> Table:
    """A folder without media: its tables, or what is written in its texts."""
    listed = cards(tables)
    tables = [file for file in tables if file not in listed]
    about = companions(root, files, tables) if tables else []
    if not tables and (lone := rows_of(root, files, wanted)):
        tables, about = lone, [file for file in files if file not in lone]
    elif (texts > len(about) and texts - len(about) >= sum("/" not in file for file in tables)) or _settings(
        root, files, tables, read_file
    ):
        return _written(root, files, cache, problems, wanted)
    if tables:
        found = read_file(root / tables[0]) if len(tables) == 1 else joined(root, tables, read_file)
        beside = passed_by([file for file in files if file not in about and file not in tables])
        return replace(found, problems=(*problems, *passed_over([*about, *listed]), *beside, *found.problems))
    if any(writing(root, file) for file in files):
        return _written(root, files, cache, problems, wanted)
    raise _refusal(root, files)


def _settings(root: Path, files: list[str], tables: list[str], read_file: Reader) -> bool:
    """Whether the only tables are JSON that holds none, beside more files of code: package.json, tsconfig.json."""
    code = sum(writing(root, file) == "code" for file in files)
    if not 0 < len(tables) < code or not all(file.lower().endswith(".json") for file in tables):
        return False
    for file in tables:
        try:
            read_file(root / file)
        except DataError:
            continue
        return False
    return True


def _side_by_side(root: Path, files: list[str], cache: Path | None, problems: tuple[str, ...], wanted: str) -> Table | None:
    """Translations line by line, or texts that only seemed to be; None where nothing looks like them."""
    texts, said = sides(root, files)
    if texts:
        return read_sides(root, texts, (*problems, *said), cache, wanted)
    return _written(root, files, cache, (*problems, *said), wanted) if said else None


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


def _written(root: Path, files: list[str], cache: Path | None, problems: tuple[str, ...], wanted: str) -> Table:
    """The texts of the folder; how many others there are is said."""
    kinds = {file: writing(root, file) for file in files}
    chosen = alike(root, kinds)
    other = sorted({file for file, kind in kinds.items() if kind}.difference(chosen))
    if other:
        said = tr("{count} texts of other endings than most are not read: {names}.", count=len(other), names=", ".join(other[:3]))
        problems = (*problems, said)
    about = above_classes(chosen)
    problems = (*problems, *passed_over(about), *tables_beside(files), *unread(files))
    labelled = kinds[chosen[0]] != "code"
    return _texts(root, within([file for file in chosen if file not in about]), cache, problems, wanted, labelled=labelled)


def _refuse_run(root: Path) -> None:
    if all((root / name).is_file() for name in RUN):
        raise DataError("What is learned from must be data; {folder} is the folder of a run. To go on with it: duomo resume {path}; "
                        "to begin from its weights: duomo train DATA --from {path}", folder=root.name, path=root)  # fmt: skip


def _listed(root: Path, tables: list[str], read_file: Reader, inside: tuple[list[str], str, tuple[str, ...]]) -> Table | None:
    """The media that a table of the folder lists, or one in each folder of a part; None where no table does."""
    files, media, problems = inside
    own = [file for file in tables if "/" not in file]
    lists = [file for file in tables if _stem(file) in LISTS and "/" in file]
    inner = [file for file in lists if _lists(root / file, read_file, files)]
    lists = inner if len(inner) > 1 else [file for file in lists if file.split("/")[0].lower() in PARTS]
    if not own and not lists and len(tables) <= LOOKED_AT and not has_classes(root, files, media):  # audio/1.wav beside meta/list.csv
        own = [file for file in tables if _lists(root / file, read_file, files)]
    named = [file for file in own if _stem(file) in LISTS] or own
    named = [file for file in named if _lists(root / file, read_file, files)] if len(named) > 1 else named
    named = [file for file in named if _lists(root / file, read_file, files) or not explains(read_file(root / file))]
    if len(named) == 1:
        return described(root, read_file(root / named[0]), files, media, problems)
    if (parted := of_parts(root, named, read_file)) is not None:
        return described(root, parted, files, media, problems)
    if {word for file in named for word in re.split("[-_.]", _stem(file))} & PARTS.keys():
        first, last = (min(named, key=lambda file: (word not in _stem(file), file)) for word in ("train", "test"))
        raise DataError(
            "A folder with several lists of its files needs a choice; {folder} holds {files}. Train on {first}, and give {last}.",
            folder=root.name, files=", ".join(named[:10]), first=f"{root.name}/{first}", last=f"--test {root.name}/{last}",
            choices=named[:50],
        )  # fmt: skip
    several = [file for file in named if not SUBMISSION.search(_stem(file))] if len(named) > 1 else []
    if several and (chosen := once(root, several, read_file, files)) is not None:
        return described(root, chosen, files, media, problems)
    return parts(root, lists, read_file, inside) if lists and not named else None


def _lists(path: Path, read_file: Reader, files: list[str]) -> bool:
    """Whether a table names files of the folder; one that cannot be read does not."""
    try:
        return names_files(read_file(path), files)
    except DataError:
        return False


def _strays(files: list[str], texts: int) -> set[str]:
    """The pictures, sounds and films of a folder of texts: so few beside them, and none of them goes with one by its name."""
    found = {file for file in files if kind_of(file) in MEDIA}
    named = {PurePosixPath(file).stem for file in files if kind_of(file) == "text"}
    return found if found and len(found) * STRAY <= texts and not named & {PurePosixPath(file).stem for file in found} else set()


def _stem(file: str) -> str:
    return PurePosixPath(file).stem.lower()


def _moving(root: Path, files: list[str]) -> bool:
    """Whether most of the first GIF files have several pictures."""
    found = []
    for file in files[:LOOKED_AT]:
        try:
            found.append(moves(root / file))
        except UNREADABLE:
            continue
    return sum(found) > 0.5 * len(found)


def _texts(root: Path, files: list[str], cache: Path | None, problems: tuple[str, ...], wanted: str, *, labelled: bool = True) -> Table:
    """One row per file, with its class folder as label; a few long works are cut into documents."""
    classed = labels_of(root, files) if labelled else None
    files, classed = known_classes(files, classed) if classed else (files, classed)
    folders = {} if classed is None else {"label": classed.labels} | ({GROUP: classed.groups} if classed.groups else {})
    sizes = [(root / file).stat().st_size for file in files]
    works = classed is None and len(files) < 50 and sum(sizes) > 16_000 * len(files)
    notes: list[str] = []
    names = ["text", *folders, *(["part"] if works else []), "file"]
    schema = pa.schema([(name, pa.int64() if name == "part" else pa.large_string()) for name in names])

    def batches() -> Iterator[pa.RecordBatch]:
        held: list[dict[str, object]] = []
        for place, file in enumerate(files):
            facts = {name: values[place] for name, values in folders.items()}
            held += ({**row, **facts} for row in _text_rows(root, file, works, (cache, wanted), notes))
            if len(held) >= 1000:
                yield pa.RecordBatch.from_pylist(held, schema)
                held = []
        if held:
            yield pa.RecordBatch.from_pylist(held, schema)

    if sum(sizes) > caches.LARGE:
        table = caches.store(cache, _folder_key(root, files, sizes) + GROUP * (GROUP in names), schema, batches())
    else:
        table = pa.Table.from_batches(list(batches()), schema)
    problems = (*problems, *(classed.said if classed else ()), *_summary(root, files, notes))
    return Table(table, kinds_of(table.column_names), root=root, name=root.name, problems=problems)


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


def _text_rows(root: Path, file: str, works: bool, how: tuple[Path | None, str], notes: list[str]) -> Iterator[dict[str, object]]:
    cache, wanted = how
    path = plain(root / file, cache, wanted)
    try:
        encoding = detect(path, wanted if path == root / file else "")
    except DataError:
        if wanted:
            raise
        encoding = Encoding("utf-8", 0, (_unclear(),))
    notes += [f"{file}: {problem}" for problem in encoding.problems]
    with open_text(path, encoding) as text:
        pieces = blocks(text, block_size(path.stat().st_size)) if works else iter([text.read()])
        for part, piece in enumerate(pieces):
            yield {"text": piece, "part": part, "file": file}


def _paired(root: Path, files: list[str], media: str, problems: tuple[str, ...], wanted: str) -> Table | None:
    """clip.mp4 beside clip.txt: the text is the caption, or a class, as in 7.cls; of 7.json beside 7.jpg, which lie in one folder and have
    no other text, the fields are columns. None where too few files have one."""
    found = [file for file in files if kind_of(file) == media]
    notes: list[str] = []
    columns: dict[str, Any] = {media: pa.array(found, pa.large_string())}
    for name, endings in BESIDE.items():
        texts = {os.path.splitext(file)[0]: file for file in files if os.path.splitext(file)[1].lower() in endings}
        beside = [texts.get(os.path.splitext(file)[0]) for file in found]
        if sum(file is not None for file in beside) < 0.5 * len(found) or (name == "json" and len(columns) > 1):
            continue
        cells = [_said(root, file, wanted, notes) for file in beside]
        if name == "json":
            columns |= _fields(cells) if len({*map(os.path.dirname, found)}) == 1 else {}
        else:
            columns["label" if are_classes(cells) else name] = pa.array(cells, pa.large_string())
    if len(columns) < 2:
        return None
    columns["file"] = columns[media]
    return Table(pa.table(columns), known(columns), root=root, name=root.name, problems=(*problems, *notes))


def _said(root: Path, file: str | None, wanted: str, notes: list[str]) -> str | None:
    rows = [] if file is None else list(_text_rows(root, file, False, (None, wanted), notes))
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
