"""Folders whose texts are rows, line by line: pos.txt beside neg.txt (the names are the classes), text.txt beside labels.txt."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import pyarrow as pa

from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.aligned import part_of
from duomo.data.companions import is_named
from duomo.data.listed import are_classes, kind_of, known
from duomo.data.text_encoding import detect, open_text

CLASSES = frozenset((
    "pos", "neg", "positive", "negative", "neutral", "good", "bad", "spam", "ham", "fake", "real", "toxic", "objective", "subjective",
    "正面", "负面", "中性", "正向", "负向", "积极", "消极", "好评", "差评", "中评", "正例", "负例",
))  # fmt: skip
"""Words that are classes of texts and name nothing else that a file of texts would be called after."""
FEWEST, LARGEST, LOOKED_AT = 20, 1 << 30, 500
"""Lines of a file that are rows, at least; bytes that are read whole; first lines by which classes are told."""
Found = dict[str, tuple[str, str]]
"""Of each file its class and what else it is called."""


def read_lined(root: Path, files: Sequence[str], problems: tuple[str, ...], wanted: str) -> Table | None:
    """Columns `text` and `label` (and `split` where the names tell parts); None for a folder of other files."""
    files = [file for file in files if not is_named(file)]
    if len(files) < 2 or sum((root / file).stat().st_size for file in files) > LARGEST:
        return None
    classed = {file: _class_of(PurePosixPath(file)) for file in files}
    if len({label for label, _ in classed.values()} - {""}) > 1 and all(label for label, _ in classed.values()) and _alike(classed):
        return _by_names(root, classed, problems, wanted)
    plain = len(files) == 2 and all(kind_of(file) == "text" for file in files)
    return _by_lines(root, files, problems, wanted) if plain else None


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


def _by_names(root: Path, classed: Found, problems: tuple[str, ...], wanted: str) -> Table | None:
    lines = {file: [line.strip() for line in _lines(root / file, wanted) if line.strip()] for file in classed}
    if min(map(len, lines.values())) < FEWEST:
        return None
    parts = {file: part_of(rest) for file, (_, rest) in classed.items()}
    rows = [(text, classed[file][0], parts[file]) for file, texts in lines.items() for text in texts]
    names = ("text", "label", "split")[: 3 if all(parts.values()) and len({*parts.values()}) > 1 else 2]
    said = tr("The lines of {files} are the rows, and the names of the files their classes.", files=", ".join([*classed][:4]))
    return _table(root, dict(zip(names, zip(*rows, strict=True), strict=False)), (*problems, said))


def _by_lines(root: Path, files: Sequence[str], problems: tuple[str, ...], wanted: str) -> Table | None:
    """Texts in one file and, on the same lines of the other, their classes."""
    if sum(are_classes(map(str.strip, _lines(root / file, wanted, LOOKED_AT))) for file in files) != 1:
        return None
    both = [[line.strip() for line in _lines(root / file, wanted)] for file in files]
    told = [are_classes(lines) for lines in both]
    if len(both[0]) != len(both[1]) or len(both[0]) < FEWEST or sum(told) != 1:
        return None
    labels, texts = both[told.index(True)], both[told.index(False)]
    kept = [(text, label or None) for text, label in zip(texts, labels, strict=True) if text]
    said = tr("The lines of {texts} are the rows, and those of {labels} their classes.",
              texts=files[told.index(False)], labels=files[told.index(True)])  # fmt: skip
    return _table(root, dict(zip(("text", "label"), zip(*kept, strict=True), strict=True)), (*problems, said))


def _lines(path: Path, wanted: str, most: int | None = None) -> list[str]:
    with open_text(path, detect(path, wanted)) as text:
        return text.read().rstrip().split("\n") if most is None else list(islice(text, most))


def _table(root: Path, columns: dict[str, Sequence[str | None]], problems: tuple[str, ...]) -> Table:
    data = pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()})
    return Table(data, {"text": "text", **known(columns)}, root=root, name=root.name, problems=problems)
