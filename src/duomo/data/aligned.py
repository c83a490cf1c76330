"""Translations line by line, as machine translation keeps them: train.en beside train.fr (Moses, OPUS), or `a ||| b` in one file."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path, PurePosixPath

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.table import Table
from duomo.data import spill as caches
from duomo.data.split import FOLDERS
from duomo.data.text_encoding import detect, open_text

_CODES = """
    af am ar as az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu ha he hi hr hu hy id ig is it ja ka kk km kn ko ky lo
    lt lv mg mk ml mn mr ms mt my nb ne nl nn no or pa pl ps pt ro ru rw sd si sk sl sq sr sv sw ta te tg th tk tl tr tt ug uk ur uz vi wo
    xh yi yo zh zu"""
LANGUAGES = frozenset(_CODES.split())
"""Codes of ISO 639-1 in which corpora are found; a region may stand behind (`zh_CN`, `pt-BR`)."""
BAR, LOOKED_AT, AT_ONCE = "|||", 100, 10_000
NAMES = ("source", "target")
Sides = dict[str, dict[str, str]]
"""Of each text the file of each language."""


def language_of(file: str) -> str:
    """`fr` of train.fr or train.fr.txt, `pt-BR` of a.pt-BR; empty where the ending names no language."""
    endings = [ending.removeprefix(".") for ending in PurePosixPath(file).suffixes]
    if endings and endings[-1].lower() == "txt":
        endings.pop()
    return endings[-1] if endings and re.split("[-_]", endings[-1])[0].lower() in LANGUAGES else ""


def sides(files: list[str]) -> Sides:
    """The texts that lie there in the same two languages or more; nothing where no two files are of one text."""
    found: Sides = defaultdict(dict)
    for file in files:
        if language := language_of(file):
            found[file[: file.rindex(f".{language}")]][language] = file
    several = {stem: sorted(one) for stem, one in found.items() if len(one) > 1}
    common = set.intersection(*map(set, several.values())) if several else set()
    if len(common) < 2:
        return {}
    return {stem: {language: found[stem][language] for language in sorted(common)} for stem in several}


def read_sides(root: Path, texts: Sides, problems: tuple[str, ...], cache: Path | None, wanted: str) -> Table:
    """A column for each language, a row for each line; `split` where names tell train, valid, test. DataError where lines are missing."""
    languages, notes = list(next(iter(texts.values()))), list[str]()
    parts = {stem: _part(stem) for stem in texts}
    beside = "split" if all(parts.values()) and "train" in parts.values() and len(set(parts.values())) > 1 else "file"
    schema = pa.schema([(name, pa.large_string()) for name in (*languages, *((beside,) if len(texts) > 1 else ()))])

    def batches() -> Iterator[pa.RecordBatch]:
        for stem, files in texts.items():
            for lines in _together(root, files, wanted, notes):
                cells = list(zip(*lines, strict=True))
                told = [[parts[stem] if beside == "split" else stem] * len(lines)] if len(texts) > 1 else []
                yield pa.record_batch([pa.array(column, pa.large_string()) for column in (*cells, *told)], schema=schema)

    paths = [root / file for files in texts.values() for file in files.values()]
    if sum(path.stat().st_size for path in paths) > caches.LARGE:
        key = caches.text_digest(*(f"{path}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}" for path in paths), wanted)
        table = caches.store(cache, f"{key}-aligned", schema, batches())
    else:
        table = pa.Table.from_batches(list(batches()), schema)
    known = dict.fromkeys(languages, "text") | ({"file": "id"} if beside in schema.names and beside == "file" else {})
    return Table(table, known, root=root, name=root.name, problems=(*problems, *dict.fromkeys(notes)))


def _part(stem: str) -> str:
    """train of `opus.train`, valid of `dev/news`; empty where no word of the name is that of a part."""
    words = [word.rstrip("0123456789").lower() for word in re.split(r"[-_./]", stem)]
    words = ["test" if word.endswith("test") else "dev" if word.endswith("dev") else word for word in words]  # newstest2014, newsdev
    return next((("train", "valid", "test")[FOLDERS[word]] for word in words if word in FOLDERS), "")


def _together(root: Path, files: dict[str, str], wanted: str, notes: list[str]) -> Iterator[list[tuple[str | None, ...]]]:
    """Lines of all files side by side, some thousand at a time; none where all are empty, None for one that is."""
    encodings = {file: detect(root / file, wanted) for file in files.values()}
    notes += [f"{file}: {problem}" for file, encoding in encodings.items() for problem in encoding.problems]
    opened, held, ended = (
        [open_text(root / file, encoding) for file, encoding in encodings.items()],
        list[tuple[str | None, ...]](),
        object(),
    )
    try:
        for number, lines in enumerate(zip_longest(*opened, fillvalue=ended), 1):
            if ended in lines:
                raise DataError(
                    "Texts side by side must have as many lines; {short} ends before line {number}, {long} goes on. Mend them.",
                    short=list(encodings)[lines.index(ended)], number=number,
                    long=next(file for file, line in zip(encodings, lines, strict=True) if line is not ended),
                )  # fmt: skip
            cells = tuple(str(line).strip() or None for line in lines)
            held += [cells] if any(cells) else []
            if len(held) >= AT_ONCE:
                yield held
                held = []
    finally:
        for file in opened:
            file.close()
    if held:
        yield held


def is_barred(path: Path, wanted: str) -> bool:
    """Whether the lines of a text are `a ||| b`, all of as many parts."""
    with path.open("rb") as file:
        if BAR.encode() not in file.read(1 << 16):
            return False
    with open_text(path, detect(path, wanted)) as text:
        counts = {line.count(BAR) for _, line in zip(range(LOOKED_AT), text, strict=False) if line.strip()}
    return len(counts) == 1 and 0 not in counts


def read_barred(path: Path, wanted: str) -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `source` and `target`, then `part 3` and so on; DataError for a line of another number of parts."""
    encoding, rows = detect(path, wanted), list[list[str | None]]()
    with open_text(path, encoding) as text:
        for number, line in enumerate(text, 1):
            cells = [cell.strip() or None for cell in line.split(BAR)]
            if rows and len(cells) != len(rows[0]) and any(cells):
                raise DataError(
                    "The lines of such a file must have as many parts between |||; line {number} of {file} has {count}, the first has "
                    "{expected}. Mend it.", number=number, file=path.name, count=len(cells), expected=len(rows[0]),
                )  # fmt: skip
            rows += [cells] if any(cells) else []
    names = [*NAMES, *(f"part {place}" for place in range(3, 1 + max(map(len, rows), default=2)))]
    columns = [pa.array(column, pa.large_string()) for column in zip(*rows, strict=True)]
    return pa.table(dict(zip(names, columns, strict=False))), encoding.problems
