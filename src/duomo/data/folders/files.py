"""The files of a folder: of what kind each is by its ending, and by which ends of its path it is known."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from duomo.core import films, scans
from duomo.core.errors import DataError
from duomo.core.kinds import audio, image
from duomo.core.kinds.cells import whole
from duomo.core.messages import tr
from duomo.core.table import Table

PICTURES = frozenset((*image.SUFFIXES, *image.UNREAD)) - {*scans.ENDINGS}
SOUNDS = frozenset((*audio.SUFFIXES, *audio.UNREAD))
FILMS = frozenset(films.SUFFIXES) - PICTURES
TEXTS = frozenset((".txt", ".text", ".tokens"))
TABLES = frozenset((".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".feather", ".arrow", ".xlsx", ".xls"))
LONGEST_NAME = 255
MOST_FILES = 2_000_000
Reader = Callable[[Path], Table]
Columns = Mapping[str, pa.Array | pa.ChunkedArray]


@dataclass(frozen=True)
class Folder:
    """A folder on its way to a table."""

    root: Path
    files: list[str]
    """What lies in it, by paths below the root, sorted."""
    read_file: Reader
    """How one file alone becomes a table."""
    cache: Path | None = None
    encoding: str = ""
    """Of its texts, where that was said."""
    problems: tuple[str, ...] = ()
    """What was noticed so far."""
    media: str = ""
    """What it shows, where it shows anything: image, audio or video."""

    def of_kind(self, kind: str) -> list[str]:
        return [file for file in self.files if kind_of(file) == kind]

    @property
    def shown(self) -> list[str]:
        """The pictures, sounds or films that it is a folder of."""
        return self.of_kind(self.media)

    def read(self, file: str) -> Table:
        return self.read_file(self.root / file)

    def size(self, file: str) -> int:
        """Bytes of a file."""
        return (self.root / file).stat().st_size

    def noting(self, *said: str) -> "Folder":
        return replace(self, problems=(*self.problems, *said))

    def table(self, columns: pa.Table | Columns, kinds: Mapping[str, str], *said: str) -> Table:
        """The columns as the table that the folder is; `said`: what is to be noticed beside what was."""
        data = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
        return Table(data, kinds, root=self.root, name=self.root.name, problems=(*self.problems, *said))


def check_names(names: Sequence[str]) -> None:
    """DataError for a name that is no UTF-8, as archives from elsewhere leave them: neither a cell nor a recipe could hold it."""
    odd = next((name for name in names if not name.isascii() and whole(name) != name), None)
    if odd is not None:
        raise DataError("Names of files must be in UTF-8; {name!r} is not. Rename it. Names in GBK, of a folder: "
                        "convmv -r -f gbk -t utf-8 --notest FOLDER", name=whole(odd))  # fmt: skip


def listing(root: Path) -> tuple[list[str], tuple[str, ...]]:
    """Relative paths of all files, sorted; hidden files and folders are passed over. DataError for a whole disk, or what is as large."""
    found: list[str] = []
    if root.resolve() == Path(root.resolve().anchor):
        raise DataError("A folder must hold data and little else; {folder} is the whole disk. Name the folder with the data.", folder=root)
    linked = 0
    for place, folders, files in os.walk(root):
        linked += sum(os.path.islink(os.path.join(place, name)) for name in folders)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        base = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if base == "." else f"{base}/"
        found += [prefix + name for name in files if not name.startswith(".") and name not in ("Thumbs.db", "desktop.ini")]
        if len(found) > MOST_FILES:
            raise DataError(
                "A folder must hold data and little else, {most:,} files at most; {folder} holds more. Name the folder with the data.",
                most=MOST_FILES, folder=root,
            )  # fmt: skip
    check_names(found)
    note = (tr("{count} links to folders were not followed.", count=linked),) if linked else ()
    return sorted(found), note


def kind_of(file: str) -> str:
    ending = os.path.splitext(file)[1].lower()
    if ending in PICTURES or file.lower().endswith(scans.ENDINGS):
        return "image"
    if ending in SOUNDS:
        return "audio"
    if ending in FILMS:
        return "video"
    return "text" if ending in TEXTS else "table" if ending in TABLES else ""


def by_ends(files: Iterable[str]) -> dict[str, str]:
    """Files by their paths, and by each end of these that no other one has, with its ending and without; a whole path is nobody's end."""
    files, found, shared = [*files], dict[str, str](), set[str]()
    for file in files:
        folders = file.split("/")
        for place in range(len(folders)):
            end = "/".join(folders[place:])
            shared.update(name for name in {end, os.path.splitext(end)[0]} if found.setdefault(name, file) != file)
    stems = Counter(os.path.splitext(file)[0] for file in files)
    whole = {stem: file for file in files if stems[stem := os.path.splitext(file)[0]] == 1} | {file: file for file in files}
    return {name: file for name, file in found.items() if name not in shared} | whole
