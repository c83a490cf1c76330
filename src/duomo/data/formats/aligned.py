"""Translations line by line, as machine translation keeps them: train.en beside train.fr (Moses, OPUS), en.txt beside zh.txt, src-train.txt
beside tgt-train.txt (OpenNMT), or `a ||| b` in one file.
"""

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, zip_longest
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data import spill as caches
from duomo.data.folders.files import Folder
from duomo.data.formats.conll import are_tags
from duomo.data.formats.cues import CAPTIONS
from duomo.data.formats.rows import of_texts
from duomo.data.formats.text_encoding import Encoding, detect, open_text
from duomo.data.partition import PARTS, SPLIT, first_part

_CODES = """
    af am ar as az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu ha he hi hr hu hy id ig is it ja ka kk km kn ko ky lo
    lt lv mg mk ml mn mr ms mt my nb ne nl nn no or pa pl ps pt ro ru rw sd si sk sl sq sr sv sw ta te tg th tk tl tr tt ug uk ur uz vi wo
    xh yi yo zh zu"""
LANGUAGES = frozenset(_CODES.split())
"""Codes of ISO 639-1 in which corpora are found; a region may stand behind (`zh_CN`, `pt-BR`)."""
REGION = re.compile(r"([-_]([A-Za-z]{2,4}|\d{3}))*")
NAMED = (
    r"arabic|chinese|english|french|german|italian|japanese|korean|portuguese|russian|spanish|turkish|vietnamese"
    r"|[中英日韩法德俄]文|[汉英日韩法德俄泰]语|西班牙语|葡萄牙语|意大利语|阿拉伯语|越南语|原文|译文"
)
"""Languages, and sides of a translation, by name."""
ROLES = {"src": "source", "source": "source", "tgt": "target", "trg": "target", "target": "target"}
"""What says which side a file is, whatever its language."""
SIDE = re.compile(rf"(?P<code>[a-z]{{2}}){REGION.pattern}|{NAMED}|{'|'.join(ROLES)}", re.IGNORECASE)
FEWEST, TOGETHER, COMPARED = 20, 0.3, 2000
"""Lines that tell whether texts are translations by their lengths, how closely these go together, and how many are looked at."""
ABOUT = re.compile(r"(readme|licen[cs]e|copying|notice|authors|changelog|makefile)", re.IGNORECASE)
"""Beginnings of names of files that are about the others."""
PROGRAMS = frozenset(("cs", "pl"))
"""Languages whose endings are those of source texts too."""
BAR, LOOKED_AT, AT_ONCE = "|||", 100, 10_000
SIGNS, MARKS = re.compile(r"[!-/:-@\[-`{-~]{2,}"), frozenset(":|#$&@;~^+%_")
"""Signs that stand together; those that divide read the same from both ends and hold one of the others."""
NAMES = ("source", "target")
Sides = dict[str, dict[str, str]]
"""Of each text the file of each language."""


def language_of(file: str) -> str:
    """`fr` of train.fr or train.fr.txt, `pt-BR` of a.pt-BR; empty where the ending names no language."""
    endings = [ending.removeprefix(".") for ending in PurePosixPath(file).suffixes]
    if endings and endings[-1].lower() == "txt":
        endings.pop()
    code = re.split("[-_]", endings[-1])[0] if endings else ""
    return endings[-1] if code.lower() in LANGUAGES and REGION.fullmatch(endings[-1][len(code) :]) else ""


def _stem_and_side(file: str) -> tuple[str, str]:
    """What a file is called but for its side, and the side: its ending or, of a .txt, its whole name, its first or its last word, or the
    folder that train.txt and the like lie in; empty where none is one."""
    path = PurePosixPath(file)
    if path.suffix.lower() in CAPTIONS:
        path, file = path.with_suffix(".txt"), str(path.with_suffix(".txt"))
    if language := language_of(file):
        return file[: file.rindex(f".{language}")], language
    if path.suffix.lower() != ".txt":
        role = ROLES.get(path.suffix[1:].lower(), "")
        return (str(path.with_suffix("")), role) if role else ("", "")
    last, first = re.search(r"(?<=.)[-_.]([^\W_]+)$", path.stem), re.match(r"([^\W_]+)[-_.](?=.)", path.stem)
    cuts = [("", path.stem), *((path.stem[: cut.start()] + path.stem[cut.end() :], cut[1]) for cut in (last, first) if cut)]
    found = [(str(path.parent / rest), side) for rest, word in cuts if (side := side_of(word))]
    if not found and path.stem.lower() in PARTS and (side := side_of(path.parent.name)):
        return str(path.parent.parent / path.stem), side
    return found[0] if found else ("", "")


def side_of(word: str) -> str:
    """The language or the side (`source`, `target`) that a word names; empty where it names none."""
    found = SIDE.fullmatch(word)
    if not found or (found["code"] and found["code"].lower() not in LANGUAGES):
        return ""
    return ROLES.get(word.lower(), word)


def sides(root: Path, files: list[str]) -> tuple[Sides, tuple[str, ...]]:
    """The texts that lie there in the same two languages or more, and what is to be said of them; none where few files are of one text,
    or all were texts before and have unlike numbers of lines.
    """
    files = [file for file in files if not ABOUT.match(PurePosixPath(file).name)]
    found: Sides = defaultdict(dict)
    for file in files:
        stem, language = _stem_and_side(file)
        if language:
            found[stem][language] = file
    several = {stem: one for stem, one in found.items() if len(one) > 1}
    common = sorted(set.intersection(*map(set, several.values()))) if several else []
    texts = {stem: {language: one[language] for language in common} for stem, one in several.items()}
    read = {file for one in texts.values() for file in one.values()}
    rest = [file for file in files if file not in read]
    if len(common) < 2 or len(read) < len(rest) or {language.lower() for language in common} <= PROGRAMS:
        return {}, ()
    for one in texts.values() if all(file.endswith(".txt") for file in read) else ():
        if len({_lines(root / file) for file in one.values()}) > 1 or not _alike(root, list(one.values())):
            told = tr("{names} have unlike numbers of lines, or long lines beside short ones, so they are read as texts and not as "
                      "translations of one another.", names=", ".join(one.values()))  # fmt: skip
            return {}, (told,)
    told = tr("{count} files beside the translations are not read: {names}.", count=len(rest), names=", ".join(rest[:3]))
    return texts, (told,) if rest else ()


def _lines(path: Path) -> int:
    """Line ends up to the last line that is not blank."""
    return path.read_bytes().rstrip().count(b"\n")


def _alike(root: Path, files: list[str]) -> bool:
    """Whether the lines of every file are long where those of the first are."""
    sizes = []
    for file in files:
        with (root / file).open("rb") as lines:
            sizes.append([len(line.strip()) for line in islice(lines, COMPARED)])
    return all(as_long(list(zip(sizes[0], other, strict=False))) for other in sizes[1:])


def as_long(lengths: list[tuple[int, int]]) -> bool:
    """Whether longer texts stand beside longer ones, as translations do, where there are enough to tell."""
    known = np.array([pair for pair in lengths if all(pair)], np.float64)
    return len(known) < FEWEST or not known.std(axis=0).all() or bool(np.corrcoef(np.log(known.T))[0, 1] > TOGETHER)


def read_sides(folder: Folder, texts: Sides) -> Table:
    """A column for each language, a row for each line; `split` where names tell train, valid, test. DataError where lines are missing."""
    root, wanted, languages, several = folder.root, folder.encoding, list(next(iter(texts.values()))), len(texts) > 1
    encodings = {file: detect(root / file, wanted) for files in texts.values() for file in files.values()}
    parts = {stem: first_part(stem) for stem in texts}
    beside = SPLIT if all(parts.values()) and "train" in parts.values() and len(set(parts.values())) > 1 else "file"
    schema = pa.schema([(name, pa.large_string()) for name in (*languages, *((beside,) if several else ()))])

    def batches() -> Iterator[pa.RecordBatch]:
        for stem, files in texts.items():
            for lines in _together(root, {file: encodings[file] for file in files.values()}):
                cells = list(zip(*lines, strict=True))
                told = [[parts[stem] if beside == SPLIT else stem] * len(lines)] if several else []
                yield pa.record_batch([pa.array(column, pa.large_string()) for column in (*cells, *told)], schema=schema)

    stats = {file: (root / file).stat() for file in encodings}
    marks = [f"{root / file}\0{stat.st_size}\0{stat.st_mtime_ns}" for file, stat in stats.items()]
    size = sum(stat.st_size for stat in stats.values())
    table = caches.as_table(size, folder.cache, lambda: caches.text_digest(*marks, wanted) + "-aligned", schema, batches())
    known = dict.fromkeys(languages, "text") | ({"file": "id"} if several and beside == "file" else {})
    notes = [f"{file}: {problem}" for file, encoding in encodings.items() for problem in encoding.problems]
    return folder.table(table, known, *notes)


def _open(path: Path, encoding: Encoding) -> io.TextIOWrapper:
    """A text whose lines end with the newline alone: a carriage return within a line must not shift what stands beside it."""
    with open_text(path, encoding, "") as text:
        return open_text(path, encoding, "\n" if "\n" in text.read(1 << 16) else None)


def _together(root: Path, encodings: dict[str, Encoding]) -> Iterator[list[tuple[str | None, ...]]]:
    """Lines of all files side by side, some thousand at a time; none where all are empty, None for one that is."""
    opened, held, ended = [_open(root / file, encoding) for file, encoding in encodings.items()], list[tuple[str | None, ...]](), object()
    try:
        for number, lines in enumerate(zip_longest(*opened, fillvalue=ended), 1):
            cells = tuple(None if line is ended else str(line).strip() or None for line in lines)
            if ended in lines and any(cells):
                raise DataError(
                    "Texts side by side must have as many lines; {short} ends before line {number}, {long} goes on. Fix them.",
                    short=list(encodings)[lines.index(ended)], number=number,
                    long=next(file for file, line in zip(encodings, lines, strict=True) if line is not ended),
                )  # fmt: skip
            held += [cells] if any(cells) else []
            if len(held) >= AT_ONCE:
                yield held
                held = []
    finally:
        for file in opened:
            file.close()
    if held:
        yield held


def bar_of(path: Path, wanted: str) -> str:
    """What divides the lines of a text, two of them at least or of three parts, into as many parts: `|||`, or signs that stand together on
    each of many lines and neither begin nor end one (`1::1193::5`, `id_!_title`); empty where nothing does."""
    with _open(path, detect(path, wanted)) as text:
        lines = [line.strip() for _, line in zip(range(LOOKED_AT), text, strict=False) if line.strip()]
    for bar in dict.fromkeys((BAR, *(sign for sign in SIGNS.findall(lines[0] if lines else "") if sign == sign[::-1] and MARKS & {*sign}))):
        counts = {line.count(bar) for line in lines}
        inner = bar == BAR or (len(lines) >= FEWEST and not any(line.startswith(bar) or line.endswith(bar) for line in lines))
        if len(counts) == 1 and 0 not in counts and len(lines) + max(counts) > 2 and inner:
            return bar
    return ""


def read_barred(path: Path, wanted: str) -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `source` and `target` beside |||, then `part 3` and so on, or `tokens` and `tags` where the second part tags the words of the
    first; beside other signs c0 and so on. DataError for a line of another number of parts."""
    encoding, rows, bar = detect(path, wanted), list[list[str | None]](), bar_of(path, wanted)
    with _open(path, encoding) as text:
        for number, line in enumerate(text, 1):
            cells = [cell.strip() or None for cell in line.split(bar)]
            if rows and len(cells) != len(rows[0]) and any(cells):
                raise DataError(
                    "The lines of such a file must have as many parts between {bar}; line {number} of {file} has {count}, the first has "
                    "{expected}. Fix it.", bar=bar, number=number, file=path.name, count=len(cells), expected=len(rows[0]),
                )  # fmt: skip
            rows += [cells] if any(cells) else []
    count = max(map(len, rows), default=2)
    names = [*NAMES, *(f"part {place}" for place in range(3, 1 + count))] if bar == BAR else [f"c{place}" for place in range(count)]
    if names == [*NAMES] and are_tags(*([cells[place] or "" for cells in rows] for place in range(len(NAMES)))):
        names, rows = ["tokens", "tags"], [[json.dumps((cell or "").split(), ensure_ascii=False) for cell in cells] for cells in rows]
    return of_texts(names, rows), encoding.problems
