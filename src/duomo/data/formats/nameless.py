"""What a file holds whose name does not say it: told from its first bytes and lines."""

import json
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path

from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.data.folders.listed import are_classes
from duomo.data.formats import conll, inline_spans
from duomo.data.formats.dialogues import has_turns
from duomo.data.formats.fasttext import is_marked
from duomo.data.formats.messengers import is_chat
from duomo.data.formats.series import is_sparse
from duomo.data.formats.space_delimited import numeric, width
from duomo.data.formats.text_encoding import cut, detect, open_text

HEAD, LINES, FEWEST, REGULAR = 1 << 14, 40, 5, 0.95
"""Bytes and lines that are looked at; lines at least of which a table shows itself, and the share of them that have as many cells."""
LOOKED_AT = 2000
"""Lines of a text that tell what it holds beside prose."""
DELIMITERS = "\t,;|"
ALLOWED = b"\t\n\r\f\x0b\x1b"
"""Control characters that texts hold."""

MAKES = {
    "text": "plain text",
    "delimited": "a table",
    "jsonl": "JSON Lines",
    "json": "JSON",
    "conll": "CoNLL",
    "slashed": "words with their tags",
    "segmented": "words between spaces",
    "marked": "lines with their classes",
    "turns": "questions and answers",
    "chat": "a chat",
    "trees": "trees of sentences",
    "sparse": "sparse rows",
    "inlaid": "texts with entities between marks",
    "aspects": "sentences with their aspects",
    "placed": "texts with the places of entities",
}
"""What a file can turn out to be, in words."""


def is_plain(path: Path) -> bool:
    """Whether the file looks like text in some encoding: no control characters, but in UTF-16 and UTF-32."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return False
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\0\0\xfe\xff")) or b"\0" in head:
        try:
            return detect(path).name.startswith(("utf-16", "utf-32"))
        except DataError:
            return False
    return not any(byte < 32 and byte not in ALLOWED for byte in head)


def make_of(path: Path, wanted: str = "") -> str:
    """How such a file is read: jsonl, json, conll, slashed, marked, delimited or text; empty where it is no text."""
    if not is_plain(path):
        return ""
    lines = _lines(path, wanted)
    first = lines[0].strip() if lines else ""
    with suppress(*JSON_FAULTS):
        return "jsonl" if isinstance(json.loads(first), dict) else "json" if first[0] == "[" else _by_lines(path, lines, wanted)
    return "json" if first in ("{", "[") or first.startswith("[{") else _by_lines(path, lines, wanted)


def in_plain(path: Path, wanted: str = "") -> str:
    """What a text file holds beside prose: lines with their classes ("marked"), a "chat", questions and answers ("turns"), "sparse" rows of
    a table, what `inline_spans.make` and `conll.make` tell, or "" for none of them."""
    with open_text(path, detect(path, wanted)) as text:
        lines = [line.strip() for line in islice(text, LOOKED_AT)]
    if is_chat(lines):
        return "chat"
    if is_marked([line for line in lines if line]):
        return "marked"
    if has_turns(lines):
        return "turns"
    return "sparse" if is_sparse(lines) else inline_spans.make(lines) or conll.make(lines)


def is_table(path: Path, wanted: str = "") -> bool:
    """Whether the lines of a file of texts are those of a table: all cut into as many cells, by tabs nearly all, or with numbers or classes
    in one column, or with numbers in half of them where spaces cut."""
    lines = _lines(path, wanted)
    (tabs, count), *_ = Counter(line.strip().count("\t") for line in lines).most_common(1) or [(0, 0)]
    marked = (_tells(_divided(lines, mark)) for mark in DELIMITERS)
    return (tabs > 0 and count >= max(FEWEST, REGULAR * len(lines))) or bool(width(lines, 0.5)) or any(marked)


def _tells(rows: list[list[str]]) -> bool:
    """Whether a column of the rows holds numbers or classes."""
    return bool(rows) and (bool(numeric(rows)) or any(map(are_classes, zip(*rows, strict=True))))


def _lines(path: Path, wanted: str) -> list[str]:
    with open_text(path, detect(path, wanted)) as file:
        return [line for line in islice(file, LINES) if line.strip()]


def _by_lines(path: Path, lines: list[str], wanted: str) -> str:
    lines = lines[:-1] or lines
    return in_plain(path, wanted) or ("delimited" if any(_divided(lines, mark) for mark in DELIMITERS) or width(lines) else "text")


def _divided(lines: list[str], mark: str) -> list[list[str]]:
    """The lines as rows of the same number of cells, two at least; none where some are of another, or of more than two cells many."""
    rows = list(cut(lines, delimiter=mark))
    (usual, count), *others = Counter(map(len, rows)).most_common() or [(0, 0)]
    fits = len(lines) >= FEWEST and usual > 1 and (not others or (usual > 2 and count >= REGULAR * len(lines)))
    return [row for row in rows if len(row) == usual] if fits else []
