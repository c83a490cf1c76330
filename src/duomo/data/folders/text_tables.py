"""Texts of a folder that are its table, whatever their names end in: parts of one (train.txt, news.dev), or one beside texts about it."""

from pathlib import Path, PurePosixPath

from duomo.data.folders.companions import is_named
from duomo.data.folders.prose import writing
from duomo.data.formats.aligned import bar_of
from duomo.data.formats.nameless import in_plain, is_plain, is_table
from duomo.data.partition import PARTS

DATA = (".data", ".dat")
MOST = 50
"""Texts of a folder of which one may be a table."""


def rows_of(root: Path, files: list[str], wanted: str) -> list[str]:
    """The texts with cells, tags or classes in each line: all that are called after parts, where none of these is prose, or the only one,
    which is larger than the others together; else none."""
    found = [file for file in files if _part_of(PurePosixPath(file.lower()))]
    if found and all(_has_rows(root / file, wanted) for file in found):
        return found
    lone = [file for file in tables_of(root, files, wanted) if file not in found]
    sizes = [(root / file).stat().st_size for file in files]
    return lone if len(lone) == 1 and 2 * (root / lone[0]).stat().st_size > sum(sizes) else []


def tables_of(root: Path, files: list[str], wanted: str = "") -> list[str]:
    """The texts of a folder of few files that have cells, tags or classes in each line."""
    texts = [file for file in files if PurePosixPath(file).suffix.lower() in DATA or writing(root, file) in ("text", "nameless")]
    return [file for file in texts if not is_named(file) and _has_rows(root / file, wanted)] if len(files) <= MOST else []


def _has_rows(path: Path, wanted: str) -> bool:
    return is_plain(path) and bool(is_table(path, wanted) or in_plain(path, wanted) or bar_of(path, wanted))


def _part_of(file: PurePosixPath) -> bool:
    named = file.stem in PARTS or PurePosixPath(file.stem).suffix[1:] in PARTS
    return file.suffix[1:] in PARTS or (file.suffix in (".txt", "") and named)
