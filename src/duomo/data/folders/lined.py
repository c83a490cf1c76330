"""Folders whose texts are rows, line by line: pos.txt beside neg.txt (their names are classes), text.txt beside labels.txt or tags.txt."""

import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import PurePosixPath

import pyarrow as pa

from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.folders.companions import is_named
from duomo.data.folders.files import Folder
from duomo.data.folders.listed import are_classes, known
from duomo.data.formats.conll import are_tags
from duomo.data.formats.nameless import is_plain
from duomo.data.formats.text_encoding import detect, open_text
from duomo.data.partition import NAMES, SPLIT, first_part, meant

CLASSES = frozenset((
    "pos", "neg", "positive", "negative", "neutral", "good", "bad", "spam", "ham", "fake", "real", "toxic", "objective", "subjective",
    "正面", "负面", "中性", "正向", "负向", "积极", "消极", "好评", "差评", "中评", "正例", "负例",
))  # fmt: skip
"""Words that are classes of texts and name nothing else that a file of texts would be called after."""
FEWEST, LARGEST, LOOKED_AT, MOST_BESIDE = 20, 1 << 30, 500, 4
"""Lines of a file that are rows, at least; bytes that are read whole; first lines by which classes are told; files whose lines stand side
by side, at most."""
Found = dict[str, tuple[str, str]]
"""Of each file its class and what else it is called."""


def read_lined(folder: Folder) -> Table | None:
    """Columns `text` and `label` (and `split` where the names tell parts); None for a folder of other files."""
    files = [file for file in folder.files if not is_named(file)]
    if len(files) < 2 or sum(map(folder.size, files)) > LARGEST:
        return None
    classed = {file: _class_of(PurePosixPath(file)) for file in files}
    if len({label for label, _ in classed.values()} - {""}) > 1 and all(label for label, _ in classed.values()) and _alike(classed):
        return _by_names(folder, classed)
    return _by_lines(folder, files) if len(files) <= MOST_BESIDE * (1 + len(NAMES)) else None


def _alike(classed: Found) -> bool:
    """Whether the files of all classes are called alike but for these, and for numbers: bad_boy.txt and real_life.txt are two books."""
    others: dict[str, set[str]] = {}
    for label, rest in classed.values():
        others.setdefault(label, set()).add(re.sub(r"\d+k?", "", rest.replace(label, "")))
    return len({*map(frozenset, others.values())}) == 1


def _class_of(file: PurePosixPath) -> tuple[str, str]:
    """The only word of a text's name that is a class, and the others with the folder."""
    words = re.split(r"[-_. ]", (file.stem if file.suffix.lower() == ".txt" else file.name).lower())
    found = [word for word in words if word in CLASSES]
    ends = file.suffix.lower() == ".txt" or file.suffix[1:].lower() in CLASSES
    if len(found) != 1 or not ends:
        return "", ""
    return found[0], str(file.parent / "-".join(word for word in words if word != found[0]))


def _by_names(folder: Folder, classed: Found) -> Table | None:
    lines = {file: [line for line in _lines(folder, file) if line] for file in classed}
    if min(map(len, lines.values())) < FEWEST:
        return None
    parts = {file: first_part(rest) for file, (_, rest) in classed.items()}
    rows = [(text, classed[file][0], parts[file]) for file, texts in lines.items() for text in texts]
    names = ("text", "label", SPLIT)[: 3 if all(parts.values()) and len({*parts.values()}) > 1 else 2]
    said = tr("The lines of {files} are the rows, and the names of the files their classes.", files=", ".join([*classed][:4]))
    return _table(folder.noting(said), dict(zip(names, zip(*rows, strict=True), strict=False)))


def _by_lines(folder: Folder, files: Sequence[str]) -> Table | None:
    """Texts in one file and, on the same lines of others, their classes or a tag for each of their words (`seq.in`, `seq.out`, `label`); so
    in each part of the data, where names tell parts."""
    parts = _parts(files)
    roles = sorted({role for one in parts.values() for role in one})
    if not 1 < len(roles) <= MOST_BESIDE or any(len(one) < len(roles) or not all(is_plain(folder.root / file) for file in one.values())
                                                for one in parts.values()):  # fmt: skip
        return None
    first = next(iter(parts.values()))
    heads = {role: _lines(folder, file, LOOKED_AT) for role, file in first.items()}
    text = next((role for role in roles if all(_tells(heads[role], heads[other]) for other in roles if other != role)), None)
    if text is None:
        return None
    read = {part: {role: _lines(folder, file) for role, file in one.items()} for part, one in parts.items()}
    if any(len({len(lines) for lines in one.values()}) > 1 for one in read.values()):
        return None
    whole = {role: [line for one in read.values() for line in one[role]] for role in roles}
    told = [(_tells(whole[text], whole[role]), role) for role in roles if role != text]
    told.sort(reverse=True)  # tags before classes
    if len(whole[text]) < FEWEST or not all(name for name, _ in told):
        return None
    tagged = told[0][0] == "tags"
    columns = {"tokens" if tagged else "text": whole[text]}
    for name, role in told:
        columns[name if name not in columns else " ".join(role)] = whole[role]
    if len(parts) > 1:
        columns[SPLIT] = [part for part, one in read.items() for _ in one[text]]
    lists = {name for name, (how, _) in zip([*columns][1:], told, strict=False) if how == "tags"} | ({"tokens"} if tagged else set())
    kept = [place for place, line in enumerate(whole[text]) if line]
    cells: dict[str, Sequence[str | None]] = {}
    for name, lines in columns.items():
        cells[name] = [json.dumps(lines[place].split(), ensure_ascii=False) if name in lists else lines[place] or None for place in kept]
    said = tr("The lines of {texts} are the rows, and those of {labels} their classes or tags.",
              texts=first[text], labels=", ".join(first[role] for _, role in told))  # fmt: skip
    return _table(folder.noting(said), cells)


def _parts(files: Sequence[str]) -> dict[str, dict[tuple[str, ...], str]]:
    """Of each part of the data its files by what else they are called; without parts, all of them under no name."""
    found: dict[str, dict[tuple[str, ...], str]] = {}
    for file in files:
        words = tuple(word for word in re.split("[-_./]", file.lower()) if meant(word) is None)
        found.setdefault(first_part(file), {})[words] = file
    return {part: one for part, one in sorted(found.items(), key=lambda pair: pair[0] != "train") if part or len(found) == 1}


def _tells(texts: Sequence[str], others: Sequence[str]) -> str:
    """What others tell of texts on the same lines: their class ("label"), a tag for each word ("tags"), or nothing."""
    if are_classes(texts):
        return ""
    return "label" if are_classes(others) else "tags" if are_tags(texts, others) else ""


def _lines(folder: Folder, file: str, most: int | None = None) -> list[str]:
    path = folder.root / file
    with open_text(path, detect(path, folder.encoding)) as text:
        return [line.strip() for line in (text.read().rstrip().split("\n") if most is None else islice(text, most))]


def _table(folder: Folder, columns: dict[str, Sequence[str | None]]) -> Table:
    data = pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()})
    texts = {name: kind for name, kind in (*dict.fromkeys(("text", "tokens", "tags"), "text").items(), (SPLIT, "id")) if name in columns}
    return folder.table(data, texts | known(columns))
