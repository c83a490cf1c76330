"""Folders as tables: class folders of pictures, sounds, films, texts; media listed by a metadata file; recordings with transcripts."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa

from duomo.core import films, scans
from duomo.core.errors import DataError
from duomo.core.kinds.video import moves
from duomo.core.messages import tr
from duomo.core.table import MEDIA, Table
from duomo.data import spill as caches
from duomo.data.documents import block_size, blocks
from duomo.data.scenes import read_scenes, refuse_without_pictures
from duomo.data.text_encoding import Encoding, detect, open_text

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"))
SOUNDS = frozenset((".wav", ".ogg", ".oga", ".flac", ".mp3", ".opus", ".aiff", ".aif", ".au"))
FILMS = frozenset(films.SUFFIXES) - PICTURES
STILL = ".gif"
"""The ending that films share with pictures: most of a folder's move, or none is a film."""
LOOKED_AT = 20
FEWEST_FILMS = 5
_CUT = re.compile(
    r"^(?P<film>.*?)(_c\d+|[ _.-](clip|part|scene|shot|seg|segment|chunk|cut|片段)[ _.-]?\d+([ _.-]\d+)?|[ _-]\d{6}[ _-]\d{6})$",
    re.IGNORECASE,
)
"""Names of clips that were cut from one film: game_clip3, talk-part-02, v_Run_g04_c01 (UCF-101), id_000010_000020 (Kinetics)."""
TEXTS = frozenset((".txt", ".text"))
TABLES = frozenset((".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".feather", ".arrow", ".xlsx", ".xls"))
NAMING = (
    "file",
    "file_name",
    "filename",
    "path",
    "filepath",
    "image",
    "audio",
    "picture",
    "sound",
    "wav",
    "clip",
    "video",
    "film",
    "文件",
    "文件名",
    "图片",
    "音频",
    "视频",
    "影片",
)
SPLITS = frozenset(("train", "training", "test", "testing", "valid", "val", "validation", "dev"))
Reader = Callable[[Path], Table]
SOURCE = "source"
"""The column that says which film a clip was cut from."""

MOVES_FAULTS = (OSError, ValueError)


def read_folder(root: Path, read_file: Reader, cache: Path | None, wanted: str = "") -> Table:
    """The folder's one meaning as a table; raises DataError where it has none, or several."""
    files, problems = _listing(root)
    kinds = Counter(_kind(file) for file in files)
    if not any(kinds[kind] for kind in MEDIA) and (nameless := [file for file in files if not _kind(file) and scans.is_dicom(root / file)]):
        return _classes(root, nameless, "image", problems)
    stills = [file for file in files if file.lower().endswith(STILL)]
    if stills and len(stills) == kinds["image"] and _moving(root, stills):
        kinds["video"] += kinds.pop("image")
    media = max(("image", "audio", "video"), key=lambda kind: kinds[kind])
    tables = [file for file in files if _kind(file) == "table"]
    if not files:
        raise DataError("A folder must hold data; {folder} is empty. Put files into it, or name another.", folder=root.name)
    if tables and not kinds[media]:
        refuse_without_pictures(root, tables)
    if kinds["image"] and (scenes := read_scenes(root, files, [file for file in files if _kind(file) == "image"], problems)) is not None:
        return scenes
    if kinds[media]:
        described = [file for file in tables if "/" not in file]
        named = [
            file for file in described if PurePosixPath(file).stem.lower() in ("metadata", "index", "labels", "transcripts")
        ] or described
        if len(named) == 1:
            return _described(root, read_file(root / named[0]), files, media, problems)
        if kinds["text"] >= 0.5 * kinds[media] and (paired := _paired(root, files, media, problems, wanted)) is not None:
            return paired
        moving = media == "video" and not kinds["image"]
        return _classes(root, [file for file in files if _kind(file) == media or (moving and file in set(stills))], media, problems)
    if kinds["text"] and kinds["text"] >= sum("/" not in file for file in tables):
        return _texts(root, [file for file in files if _kind(file) == "text"], cache, problems, wanted)
    if len(tables) == 1:
        return read_file(root / tables[0])
    if tables:
        raise DataError(
            "A folder with several tables needs a choice; {folder} holds {files}. Give one of these files.",
            folder=root.name,
            files=", ".join(tables[:10]),
        )
    raise DataError(
        "A folder must hold pictures, sounds, films, texts or a table; {folder} holds {count} files of other kinds ({examples}). "
        "Name another folder.",
        folder=root.name,
        count=len(files),
        examples=", ".join(files[:3]),
    )


def _listing(root: Path) -> tuple[list[str], tuple[str, ...]]:
    """Relative paths of all files, sorted; hidden files and folders are passed over."""
    found: list[str] = []
    linked = 0
    for place, folders, files in os.walk(root):
        linked += sum(os.path.islink(os.path.join(place, name)) for name in folders)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        base = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if base == "." else f"{base}/"
        found += [prefix + name for name in files if not name.startswith(".") and name not in ("Thumbs.db", "desktop.ini")]
    note = (tr("{count} links to folders were not followed.", count=linked),) if linked else ()
    return sorted(found), note


def _kind(file: str) -> str:
    ending = os.path.splitext(file)[1].lower()
    if ending in PICTURES or file.lower().endswith(scans.ENDINGS):
        return "image"
    if ending in SOUNDS:
        return "audio"
    if ending in FILMS:
        return "video"
    return "text" if ending in TEXTS else "table" if ending in TABLES else ""


def _moving(root: Path, files: list[str]) -> bool:
    """Whether most of the first GIF files have several pictures."""
    found = []
    for file in files[:LOOKED_AT]:
        try:
            found.append(moves(root / file))
        except MOVES_FAULTS:
            continue
    return sum(found) > 0.5 * len(found)


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


def _labels(root: Path, files: list[str]) -> list[str] | None:
    """The first folder of each path where all lie in folders of at least two names, else None."""
    if not all("/" in file for file in files):
        return None
    labels = [file.split("/", 1)[0] for file in files]
    if len(set(labels)) > 1 and {label.lower() for label in labels} <= SPLITS:
        first, *_, last = sorted(set(labels), key=lambda label: ("train" not in label.lower(), "test" in label.lower()))
        raise DataError(
            "The folders of {folder} are splits, not classes: {labels}. Train on {first} and give {last} as the test.",
            folder=root.name,
            labels=", ".join(sorted(set(labels))),
            first=f"{root.name}/{first}",
            last=f"--test {root.name}/{last}",
        )
    return labels


def _classes(root: Path, files: list[str], media: str, problems: tuple[str, ...]) -> Table:
    labels = _labels(root, files)
    columns = {media: pa.array(files, pa.large_string())}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.large_string())
    cut = sources(files) if media == "video" else None
    if cut is not None:
        columns[SOURCE] = pa.array(cut, pa.large_string())
    columns["file"] = columns[media]
    return Table(pa.table(columns), _known(columns), root=root, name=root.name, problems=problems)


def _texts(root: Path, files: list[str], cache: Path | None, problems: tuple[str, ...], wanted: str) -> Table:
    """One row per file, with its class folder as label; a few long works are cut into documents."""
    labels = _labels(root, files)
    sizes = [(root / file).stat().st_size for file in files]
    works = labels is None and len(files) < 50 and sum(sizes) > 16_000 * len(files)
    notes: list[str] = []
    names = ["text", *(["label"] if labels else []), *(["part"] if works else []), "file"]
    types = {"text": pa.large_string(), "label": pa.large_string(), "part": pa.int64(), "file": pa.large_string()}
    schema = pa.schema([(name, types[name]) for name in names])

    def batches() -> Iterator[pa.RecordBatch]:
        held: list[dict[str, object]] = []
        for place, file in enumerate(files):
            held += _text_rows(root, file, labels[place] if labels else None, works, wanted, notes)
            if len(held) >= 1000:
                yield pa.RecordBatch.from_pylist(held, schema)
                held = []
        if held:
            yield pa.RecordBatch.from_pylist(held, schema)

    if sum(sizes) > caches.LARGE:
        table = caches.store(cache, _folder_key(root, files, sizes), schema, batches())
    else:
        table = pa.Table.from_batches(list(batches()), schema)
    return Table(table, _known(table.column_names), root=root, name=root.name, problems=problems + _summary(root, files, notes))


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
            count=len(notes),
            total=len(files),
            first=notes[0].rstrip("."),
        ),
    )


def _folder_key(root: Path, files: list[str], sizes: list[int]) -> str:
    digest = caches.text_digest(*(f"{file}\0{size}\0{(root / file).stat().st_mtime_ns}" for file, size in zip(files, sizes, strict=True)))
    return f"{digest}-texts"


def _unclear() -> str:
    return tr("its encoding is not clear; bytes that are not UTF-8 became \ufffd")


def _text_rows(root: Path, file: str, label: str | None, works: bool, wanted: str, notes: list[str]) -> Iterator[dict[str, object]]:
    path = root / file
    try:
        encoding = detect(path, wanted)
    except DataError:
        if wanted:
            raise
        encoding = Encoding("utf-8", 0, (_unclear(),))
    notes += [f"{file}: {problem}" for problem in encoding.problems]
    with open_text(path, encoding) as text:
        pieces = blocks(text, block_size(path.stat().st_size)) if works else iter([text.read()])
        for part, piece in enumerate(pieces):
            yield {"text": piece, "label": label, "part": part, "file": file}


def _paired(root: Path, files: list[str], media: str, problems: tuple[str, ...], wanted: str) -> Table | None:
    """clip.wav beside clip.txt: the text is the transcript or caption; None where too few files have one."""
    texts = {os.path.splitext(file)[0]: file for file in files if _kind(file) == "text"}
    found = [file for file in files if _kind(file) == media]
    if sum(os.path.splitext(file)[0] in texts for file in found) < 0.5 * len(found):
        return None
    notes: list[str] = []
    cells = []
    for file in found:
        beside = texts.get(os.path.splitext(file)[0])
        rows = [] if beside is None else list(_text_rows(root, beside, None, False, wanted, notes))
        cells.append(str(rows[0]["text"]).strip() if rows else None)
    columns = {
        media: pa.array(found, pa.large_string()),
        "text": pa.array(cells, pa.large_string()),
        "file": pa.array(found, pa.large_string()),
    }
    return Table(pa.table(columns), _known(columns), root=root, name=root.name, problems=(*problems, *notes))


def _described(root: Path, listed: Table, files: list[str], media: str, problems: tuple[str, ...]) -> Table:
    """The metadata's rows, their file column turned into an `image`, `audio` or `video` column of paths below the folder."""
    index = _index([file for file in files if _kind(file) in MEDIA])
    name = _naming_column(listed, index)
    cells = [None if cell is None else str(cell) for cell in listed.data.column(name).to_pylist()]
    found = [_place(root, cell, index) for cell in cells]
    missing = [place for place, file in enumerate(found) if file is None]
    if len(missing) == len(found):
        raise DataError(
            "The files that a metadata file names must exist; of column {name!r} none is in {folder} (first: {first!r}). Mend the paths.",
            name=name,
            folder=root.name,
            first=cells[0],
        )
    kinds = Counter(_kind(file) for file in found if file is not None)
    media = kinds.most_common(1)[0][0] if kinds else media
    columns: dict[str, pa.ChunkedArray | pa.Array] = {media: pa.array(found, pa.large_string())}
    columns |= {other: listed.data.column(other) for other in listed.names if other not in (name, media, "file")}
    cut = sources([file or "" for file in found]) if media == "video" else None
    if cut is not None and SOURCE not in columns:
        columns[SOURCE] = pa.array(cut, pa.large_string())
    columns["file"] = columns[media]
    note = (
        (
            tr(
                "{count} files that the metadata names are missing; the first: {first!r} (row {row}).",
                count=len(missing),
                first=cells[missing[0]],
                row=missing[0] + 1,
            ),
        )
        if missing
        else ()
    )
    known = {"file": "id"} | ({SOURCE: "id"} if cut is not None else {}) | ({media: media} if media == "video" else {})
    return Table(pa.table(columns), known, root=root, name=root.name, problems=problems + listed.problems + note)


def _index(files: list[str]) -> dict[str, str]:
    """Media by path, by name and by name without ending; what several files share finds none of them."""
    found = {file: file for file in files}
    for shorten in (os.path.basename, lambda file: os.path.splitext(file)[0], lambda file: os.path.splitext(os.path.basename(file))[0]):
        counts = Counter(shorten(file) for file in files)
        for file in files:
            if counts[shorten(file)] == 1:
                found.setdefault(shorten(file), file)
    return found


def _place(root: Path, cell: str | None, index: dict[str, str]) -> str | None:
    """The listed file that the cell names; a path that leads out of the folder is refused."""
    if not cell:
        return None
    path = PurePosixPath(cell.replace("\\", "/"))
    if path.is_absolute():
        inside = os.path.relpath(str(path), root.resolve()).replace(os.sep, "/")
        path = PurePosixPath(path.name if inside.startswith("..") else inside)
    elif ".." in path.parts:
        raise DataError("The files that a metadata file names must lie in its folder; received {path!r}. Move them there.", path=cell)
    key = str(path)
    return index.get(key) or index.get(path.name) or index.get(os.path.splitext(path.name)[0])


def _naming_column(listed: Table, index: dict[str, str]) -> str:
    by_name = {name.lower(): name for name in listed.names}
    for wanted in NAMING:
        if wanted in by_name:
            return by_name[wanted]
    for name in listed.names:
        cells = [str(cell) for cell in listed.data.column(name).slice(0, 50).to_pylist() if cell is not None]
        if cells and sum(PurePosixPath(cell.replace("\\", "/")).name in index for cell in cells) > 0.5 * len(cells):
            return name
    raise DataError(
        "A metadata file must name the files in a column such as {wanted}; its columns are {names}. Rename one.",
        wanted="file, image, audio or video",
        names=", ".join(listed.names[:20]),
    )


def _known(columns: Iterable[str]) -> dict[str, str]:
    """Kinds that follow from how the folder is laid out: a file's name is no input, a class folder's name is a class."""
    return {
        name: kind
        for name, kind in (("file", "id"), ("label", "category"), ("part", "id"), (SOURCE, "id"), ("video", "video"))
        if name in set(columns)
    }
