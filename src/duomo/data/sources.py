"""Any source as a table: `read("reviews.csv")`, a folder, a zip, `shop.db::orders`, a frame, an array, a list of rows."""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.files import is_pointer
from duomo.core.kinds import audio, image
from duomo.core.kinds.cells import is_text
from duomo.core.messages import nearest, together, tr
from duomo.core.scans import is_dicom, is_scan
from duomo.core.table import MEDIA, Table
from duomo.data.folders.files import FILMS, LONGEST_NAME, PICTURES, SOUNDS, Folder, Reader, check_names, kind_of, listing
from duomo.data.folders.folder import read_folder
from duomo.data.folders.listed import beside
from duomo.data.folders.misnamed import misnamed
from duomo.data.folders.one_hot import exclusive
from duomo.data.folders.part_tables import like
from duomo.data.folders.prose import CODE
from duomo.data.folders.scans import unfolded
from duomo.data.folders.serial import cut, forms, sourced
from duomo.data.folders.timed import pieces
from duomo.data.formats import foreign
from duomo.data.formats.aligned import bar_of, read_barred
from duomo.data.formats.archive import unpack
from duomo.data.formats.arrays import read_numpy
from duomo.data.formats.bilingual import is_qt, read_mo, read_po, read_tmx, read_xliff
from duomo.data.formats.compressed import inside, unpacked
from duomo.data.formats.conll import mark_of, read_conll, read_slashed
from duomo.data.formats.delimited import read_delimited, real_format
from duomo.data.formats.dialogues import in_turns, read_turns
from duomo.data.formats.documents import read_text_file
from duomo.data.formats.fasttext import loose, read_marked
from duomo.data.formats.frames import from_memory, plain
from duomo.data.formats.inline_spans import read_aspects, read_inlaid, read_placed, read_trees
from duomo.data.formats.label_studio import kept
from duomo.data.formats.logged import logged
from duomo.data.formats.messengers import read_chat
from duomo.data.formats.nameless import MAKES, in_plain, is_table, make_of
from duomo.data.formats.pages import PAGES, unread
from duomo.data.formats.pages import plain as page
from duomo.data.formats.segmented import read_segmented
from duomo.data.formats.series import is_ts, read_arff, read_sparse, read_ts, read_tsf
from duomo.data.formats.standoff import beside_of, read_standoff
from duomo.data.formats.tar import unpack_tar
from duomo.data.formats.typed import read_excel, read_feather, read_json, read_json_lines, read_orc, read_parquet, read_sqlite
from duomo.data.formats.uie import prompted
from duomo.data.formats.word_rows import gathered
from duomo.data.partition import PARTS, SPLIT
from duomo.data.scenes.cells import boxed
from duomo.data.scenes.forms import is_annotation, read_scenes, refuse_without_pictures
from duomo.data.scenes.masks import unmasked
from duomo.data.scenes.runs import named_apart

_FORMATS = {
    "delimited": ".csv .tsv .tab .psv",
    "jsonl": ".jsonl .ndjson .jsonlines",
    "json": ".json .geojson",
    "parquet": ".parquet .pq",
    "feather": ".feather .arrow .ipc",
    "excel": ".xlsx .xlsm .xlsb .xls .ods",
    "sqlite": ".db .sqlite .sqlite3",
    "zip": ".zip",
    "tar": ".tar",
    "orc": ".orc",
    "page": " ".join(sorted(PAGES)),
    "text": ".txt .text .utf8 .md .rst .log .tokens .pubtator",
    "sparse": ".libsvm .svmlight .svm",
    "conll": ".conll .conllu .bio .iob .iob2 .bioes .bmes",
    "tmx": ".tmx",
    "xliff": ".xlf .xliff .sdlxliff .mxliff .mqxliff",
    "po": ".po .pot",
    "mo": ".mo .gmo",
    "numpy": ".npy .npz",
    "arff": ".arff",
    "ts": ".ts",
    "tsf": ".tsf",
}
ENDINGS = {ending: kind for kind, endings in _FORMATS.items() for ending in endings.split()} | dict.fromkeys(sorted(CODE), "text")
READ = (PICTURES | SOUNDS | FILMS) - {*image.UNREAD, *audio.UNREAD}
NAMELESS = ("", ".data", ".dat", *(f".{part}" for part in PARTS))
"""Endings that say nothing of what a file holds."""
_BYTES = {"parquet": ("parquet",), "feather": ("feather",), "excel": ("zip", "xls"), "sqlite": ("sqlite",), "zip": ("zip",),
          "orc": ("orc",), "page": ("", "zip"), "numpy": ("npy", "zip")}  # fmt: skip
"""What the first bytes of each binary format say; text formats say nothing."""
LESSONS = {
    "conll": read_conll, "slashed": read_slashed, "segmented": read_segmented, "po": read_po, "mo": read_mo, "tmx": read_tmx,
    "xliff": read_xliff, "barred": read_barred, "turns": read_turns, "trees": read_trees, "inlaid": read_inlaid, "aspects": read_aspects,
    "placed": read_placed, "chat": read_chat,
}  # fmt: skip
"""What reads files that were made to teach language from."""
Wanted = Collection[str]


def read(source: Any, *, cache: Path | None = None, encoding: str = "", wanted: Wanted = ()) -> Table:
    """The source as a Table without kinds: paths (see ENDINGS), folders, or data in memory.

    `cache` is where large files are streamed to (default: DUOMO_CACHE or ~/.cache/duomo); `wanted`: columns that are
    asked for as they stand. Raises DataError with the reason and the remedy for whatever cannot be read; what was noticed on the way is
    in `Table.problems`.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str | Path):
        return _path(str(source), cache, encoding, wanted)
    table = from_memory(source)
    if table is None:
        raise DataError(
            "Data must be a path, a frame, an array, a dict of columns or a list of rows; received a {kind}. Convert it.",
            kind=type(source).__name__,
        )
    if not len(table) or not table.num_columns:
        raise DataError(
            "A table must have rows and columns; received {rows} rows and {columns} columns. Give data.",
            rows=table.num_rows,
            columns=table.num_columns,
        )
    return replace(boxed(pieces(Table(table, root=Path.cwd()))), root=None)


def _path(source: str, cache: Path | None, encoding: str, wanted: Wanted) -> Table:
    path, part = Path(source).expanduser(), ""
    if not os.path.exists(path) and "::" in source:
        file, part = source.rsplit("::", 1)
        path = Path(file).expanduser()
    path = path if path.name or not source else path.absolute()  # where one stands has a name of its own
    check_names([str(path)])
    if "\0" in source or not source or not os.path.exists(path):  # False, too, of a text that is longer than any name
        _missing(path, source)
    if path.is_dir():
        return _folder(path, cache, encoding, wanted)
    read_file = partial(_file, cache=cache, encoding=encoding, wanted=wanted)
    return _annotation(path) or _spans(path, read_file, encoding) or _arranged(beside(read_file(path, part=part), read_file), wanted)


def _folder(root: Path, cache: Path | None, encoding: str, wanted: Wanted) -> Table:
    read_file = partial(_file, cache=cache, encoding=encoding, wanted=wanted)
    return sourced(forms(_arranged(read_folder(root, read_file, cache, encoding), wanted)))


def _arranged(table: Table, wanted: Wanted) -> Table:
    """The table without masks, with a row for each slice of a scan and each piece of a recording, and marks of classes as a class."""
    return exclusive(pieces(unfolded(unmasked(table, wanted)), wanted))


def _annotation(path: Path) -> Table | None:
    """The pictures beside a file that says what is in them, and nothing else of the folder; None where the file says no such thing."""
    if not is_annotation(path):
        return None
    files, problems = listing(path.parent)
    pictures = [file for file in files if kind_of(file) == "image" and not file.lower().endswith(image.UNREAD)]
    if not pictures:
        refuse_without_pictures(path.parent, [path.name])
    return read_scenes(path.parent, [path.name], pictures, problems)


def _spans(path: Path, read_file: Reader, encoding: str) -> Table | None:
    """The spans of one text; None where no file beside it says any."""
    found = read_standoff(Folder(path.parent, files, read_file, encoding=encoding)) if (files := beside_of(path)) else None
    return found and replace(found, name=path.stem)


def _missing(path: Path, source: str) -> None:
    if source == "-" or "://" in source:
        raise DataError("A source must be a file or folder of this machine; received {source!r}. Save what it holds to a file and "
                        "name that.", source=source[:LONGEST_NAME])  # fmt: skip
    if os.path.islink(path):
        raise DataError("A source must exist; {source!r} is a link to {to}, which is not there. Check where it leads.",
                        source=source[:LONGEST_NAME], to=os.readlink(path))  # fmt: skip
    folder = path.parent
    try:
        known = [entry.name for entry in folder.iterdir()][:10_000] if source and "\0" not in source and folder.is_dir() else []
    except OSError:
        known = []
    hint = nearest(path.name, known) if known else ""
    raise DataError(
        "A source must exist; there is no file or folder {source!r}.{hint} Check the path.", source=source[:LONGEST_NAME], hint=hint
    )


def _looked_into(path: Path) -> str:
    """What a file's first bytes say that it is, empty for text; DataError for what is no file with something in it."""
    try:
        size = path.stat().st_size
        real = real_format(path) if path.is_file() else ""
    except OSError as error:
        raise DataError(
            "A file must be readable; {file} is not: {why}. Check its rights.", file=path.name, why=str(error.strerror)
        ) from None
    if not path.is_file():
        raise DataError(
            "A source must be a file or a folder; {file} is neither. Write what is piped in into a file first: COMMAND > rows.csv",
            file=path.name,
        )
    if not size:
        raise DataError("A table must have rows; {file} is empty. Give a file with data.", file=path.name)
    if is_pointer(path):
        raise DataError("A file must be there itself; {file} only stands for one that Git LFS has not fetched. In its folder: git lfs pull",
                        file=path.name)  # fmt: skip
    return real


def _file(path: Path, cache: Path | None, encoding: str, wanted: Wanted, part: str = "") -> Table:
    real = _looked_into(path)
    if path.suffix.lower() in PAGES and real in ("", "zip"):
        note = tr("{file} was read as its text, without markup.", file=path.name)
        told = _file(page(path, cache, encoding), cache, "", wanted, part)
        return replace(told, root=path.parent, problems=(note, *told.problems))
    if inside(path) and Path(inside(path)).suffix.lower() in ENDINGS and not is_scan(path):
        return replace(_file(unpacked(path, cache), cache, encoding, wanted, part), root=path.parent)
    nameless = not real and path.suffix.lower() in NAMELESS and not is_dicom(path) and make_of(path, encoding)
    kind = nameless or _format(path, real)
    if kind == "text" and path.suffix.lower() not in CODE and (kind := _of_text(path, encoding)) == "delimited":
        nameless = kind
    if kind == "delimited" and mark_of(path, encoding):
        kind = "conll"
    if part and kind not in ("excel", "sqlite", "json"):
        raise DataError(
            "Only a database, an Excel book or a JSON file has parts (`file::part`); received {source!r}. Leave `::{part}` out.",
            source=f"{path.name}::{part}",
            part=part,
        )
    if kind in ("zip", "tar"):
        return _archive(path, unpack_tar(path, cache) if kind == "tar" else unpack(path, cache), cache, encoding, wanted)
    if kind in MEDIA:
        names = pa.array([path.name], pa.large_string())
        return unfolded(Table(pa.table({kind: names, "file": names}), {kind: kind, "file": "id"}, root=path.parent, name=path.stem))
    data, problems, known = _table(kind, path, part, cache, encoding)
    if not data.num_rows or not data.num_columns:
        raise DataError("A table must have rows; {file} is empty. Give a file with data.", file=path.name)
    if kind in ("delimited", "excel", "parquet", "feather", "orc", "jsonl", "json"):
        data, words, about = _gathered(data, wanted)
        problems, known = (*words, *problems), known | about
    if nameless:
        problems = (
            tr("The name of {file} does not say what it holds; it was read as {kind}.", file=path.name, kind=tr(MAKES[nameless])),
            *problems,
        )
    return cut(boxed(Table(plain(data), known, root=path.parent, name=part or path.stem, problems=problems)))


def _gathered(data: pa.Table, wanted: Wanted) -> tuple[pa.Table, tuple[str, ...], dict[str, str]]:
    """The table as it is learned from, what was done, and the kinds that follow."""
    data, words = gathered(named_apart(data))
    data, more = prompted(data)
    data, chats = in_turns(*logged(data)) if {*wanted}.isdisjoint(data.column_names) else (data, ())
    told = dict.fromkeys(data.column_names, "text") if words or more or chats else {}
    data, about = kept(data)
    return data, (*chats, *more, *words), told | about


def _of_text(path: Path, encoding: str) -> str:
    """How to read a file that ends as a text does."""
    kind = in_plain(path, encoding) or "text"
    if kind == "text" and path.suffix.lower() == ".txt" and is_table(path, encoding):
        return "delimited"
    return "barred" if kind == "text" and bar_of(path, encoding) else kind


def _table(kind: str, path: Path, part: str, cache: Path | None, encoding: str) -> tuple[pa.Table, tuple[str, ...], dict[str, str]]:
    """Data, problems, and the kinds that are known from the format alone."""
    known: dict[str, str] = {}
    match kind:
        case "delimited":
            data, problems = _delimited(path, cache, encoding)
        case "jsonl":
            data, problems = read_json_lines(path, cache, encoding)
        case "json":
            data, problems = read_json(path, cache, encoding, part)
        case "parquet":
            data, problems = read_parquet(path, cache)
        case "feather" | "orc":
            data, problems = {"feather": read_feather, "orc": read_orc}[kind](path)
        case _ if kind in LESSONS:
            data, problems, known = _lessons(kind, path, encoding)
        case "marked":
            (data, problems), known = read_marked(path, cache, encoding), {"text": "text", "label": "category"}
        case "numpy":
            data, problems = read_numpy(path)
            known = dict.fromkeys({SPLIT} & {*data.column_names}, "id")
        case "arff" | "ts" | "tsf" | "sparse":
            data, problems = {"arff": read_arff, "ts": read_ts, "tsf": read_tsf, "sparse": read_sparse}[kind](path, encoding)
        case "excel":
            data, problems = read_excel(path, part)
        case "sqlite":
            data, problems = read_sqlite(path, part, cache)
        case _:
            data, problems = read_text_file(path, cache, encoding)
            known = {"text": "text", "part": "id"}
    return data, problems, known


def _delimited(path: Path, cache: Path | None, encoding: str) -> tuple[pa.Table, tuple[str, ...]]:
    """A table with delimiters; also one of texts and classes whose texts hold its delimiter."""
    try:
        data, problems = read_delimited(path, cache, encoding)
    except DataError:
        if not (called := loose(path, encoding)):
            raise
    else:
        if not problems or len(data.column_names) != 2 or not (called := loose(path, encoding)):
            return data, problems
    data, problems = read_marked(path, cache, encoding)
    return data.rename_columns([called[name] for name in data.column_names]), problems


def _lessons(kind: str, path: Path, encoding: str) -> tuple[pa.Table, tuple[str, ...], dict[str, str]]:
    """Files made to teach language from: data, problems, and the kinds that follow from their make."""
    data, problems = LESSONS[kind](path, encoding)
    usual = {"document": "id", "label": "category", "sender": "category", "time": "date"}
    kinds = {name: usual.get(name, "text") for name in data.column_names}
    return data, problems, {} if kind == "barred" and "c0" in kinds else kinds


def _format(path: Path, real: str) -> str:
    """How to read the file: by its ending, once its first bytes agree."""
    ending = path.suffix.lower()
    if ending == ".ts" and not is_ts(path):
        ending = ".xliff" if is_qt(path) else ""
    kind = "image" if is_scan(path) or (not ENDINGS.get(ending) and is_dicom(path)) else ENDINGS.get(ending, "")
    if kind == "image":
        return kind
    if not kind and real in ("parquet", "feather", "orc", "sqlite"):
        return real
    if not kind:
        if ending in PICTURES | SOUNDS | FILMS:
            return "image" if ending in PICTURES else "audio" if ending in SOUNDS else "video"
        if said := (*unread([path.name]), *misnamed(path.parent, [path.name])):
            raise DataError("{problems}", problems=together(said))
        foreign.refuse(path)
        known = sorted(set(ENDINGS) - CODE)
        raise DataError(
            "The ending of a file must be one of {known}, or of a picture, sound or film ({media}); received {file}.{hint} "
            "Rename or convert it.",
            known=" ".join(known), media=" ".join(sorted(READ)), file=path.name,
            hint=nearest(ending, [*known, *READ], 0.7) if ending else "",
        )  # fmt: skip
    expected = _BYTES.get(kind, ("",))
    if real in expected:
        return kind
    if real:
        raise DataError(
            "A file must be what its ending says; {file} is a {real} file by its content. Rename it to end in .{real}.",
            file=path.name,
            real=real,
        )
    raise DataError(
        "A file must be what its ending says; {file} is not a {kind} file. Give it its true ending, or download it again.",
        file=path.name,
        kind=kind,
    )


def _archive(path: Path, root: Path, cache: Path | None, encoding: str, wanted: Wanted) -> Table:
    """The archive as the folder that it holds; a single outer folder is entered."""
    while True:
        inside = list(root.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            break
        root = inside[0]
    if len(inside) == 1 and inside[0].suffix.lower() in (".zip", ".tar"):
        raise DataError("An archive may not hold another archive; {file} does. Unpack it yourself.", file=path.name)
    if len(inside) == 1 and inside[0].suffix.lower() in ENDINGS:
        return replace(_file(inside[0], cache, encoding, wanted), name=path.stem)
    return replace(_folder(root, cache, encoding, wanted), name=path.stem)


def is_row(source: str) -> bool:
    """Whether a file is a picture, a sound or a film and nothing else: one row."""
    return kind_of(source) in MEDIA and not is_scan(Path(source)) and not os.path.isdir(source)


def joined(tables: Sequence[Table]) -> Table:
    """Tables of several sources as one, their rows below one another; files are named as they lie from where one stands."""
    found = [_named_whole(table) for table in tables]
    first, *others = found
    data = pa.concat_tables([first.data, *(like(first.data, other, other.names) for other in others)], promote_options="permissive")
    problems = tuple(dict.fromkeys(problem for table in tables for problem in table.problems))
    return replace(first, data=data, root=Path.cwd(), problems=problems)


def _named_whole(table: Table) -> Table:
    data = table.data
    for name in (name for name in table.names if table.kinds.get(name) in MEDIA or name in (*MEDIA, "file")):
        if table.root is not None and is_text(data.schema.field(name).type):
            cells = [cell and os.path.join(table.root, cell) for cell in table.column(name).to_pylist()]
            data = data.set_column(table.names.index(name), name, pa.array(cells, pa.large_string()))
    return replace(table, data=data)
