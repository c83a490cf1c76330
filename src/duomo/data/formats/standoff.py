"""Texts with what is annotated in them in a file beside: note.txt with note.ann as brat keeps them, or with .a1 and .a2 (BioNLP).

T1<tab>PER 0 5<tab>James            characters 0 to 5 of the text are a PER
T2<tab>Illness 4 8;19 25<tab>...    a span in several pieces: each is read as one, but those are joined that only blanks part
R1 E1 A1 #1 * N1                    relations, events, attributes, notes: not read
A row is a line of the text, or as many as a span goes over: `text`, `entities` ([[start, stop, type], …]) and `document`, whose
lines stay on one side of the split.
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.folders.companions import is_named
from duomo.data.folders.files import Folder, kind_of
from duomo.data.formats.text_encoding import detect, open_text

BESIDE = (".ann", ".a1", ".a2")
SPAN = re.compile(r"T\S*\t(\S+)\s(\d+ \d+(?:;\d+ \d+)*)(?:\t(.*))?")
OTHER = re.compile(r"[A-SU-Z*#]\S*\t")
LONGEST = 400
"""Characters of a line from which on it is cut behind its sentences."""
ENDS = re.compile(r"(?<=[。！？；])|(?<=[.!?])\s+")
Span = tuple[int, int, str]
SCHEMA = pa.schema([(name, pa.large_string()) for name in ("text", "entities", "document")])


def read_standoff(folder: Folder) -> Table | None:
    """The lines of the texts with their spans; None unless most texts have a file of annotations beside them and some has a span."""
    texts = [file for file in folder.of_kind("text") if not is_named(file)]
    beside = _beside(texts, [file for file in folder.files if os.path.splitext(file)[1].lower() in BESIDE])
    annotated = [file for file in texts if beside[file]]
    if 2 * len(annotated) < len(texts) or not any(
        _has_spans(folder.root / one, folder.encoding) for file in annotated for one in beside[file]
    ):
        return None
    rows, told = list[dict[str, str | None]](), _Told()
    for file in texts:
        text, spans = _read(folder, file, beside[file], told)
        for piece, inside in _lines(text, spans):
            rows.append({"text": piece, "entities": json.dumps(inside, ensure_ascii=False) if beside[file] else None, "document": file})
    if not rows:
        raise DataError("A text must have words; {file} is empty. Give a file with text.", file=texts[0])
    data = pa.Table.from_pylist(rows, SCHEMA)
    kinds = {"text": "text", "entities": "text", "document": "id"}
    return folder.table(data, kinds, *told.sentences(len(annotated), len(texts)))


def _beside(texts: Sequence[str], annotations: Sequence[str]) -> dict[str, list[str]]:
    """Of each text the annotations that are called as it is: in its folder, or in another where only one text is called so."""
    near, far = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for one in annotations:
        near[os.path.splitext(one)[0]].append(one)
        far[PurePosixPath(one).stem].append(one)
    names = Counter(PurePosixPath(file).stem for file in texts)
    return {
        file: near.get(os.path.splitext(file)[0]) or (far[name] if names[name := PurePosixPath(file).stem] == 1 else []) for file in texts
    }


def beside_of(path: Path) -> list[str]:
    """The text and the annotations of it that lie in its folder, where the path is that of either; none where it has no such company."""
    text = next((one for ending in (".txt", ".text") if (one := path.with_suffix(ending)).is_file()), path)
    found = [one.name for ending in BESIDE if (one := path.with_suffix(ending)).is_file()]
    return [text.name, *found] if found and kind_of(text.name) == "text" and path.suffix.lower() in (*BESIDE, text.suffix) else []


class _Told:
    """What is to be said of what was read."""

    def __init__(self) -> None:
        self.spans, self.others, self.pieces, self.wrong = 0, 0, 0, list[str]()
        self.encodings = dict[str, str]()
        """What is said of the encoding of texts, with the first of which it is said."""

    def sentences(self, annotated: int, texts: int) -> Iterator[str]:
        yield tr("{count:,} spans were read from the annotations beside {texts:,} texts; a line of a text is a row.",
                 count=self.spans, texts=annotated)  # fmt: skip
        if self.others:
            yield tr("{count:,} lines of relations, events, attributes and notes are not read: spans alone are learned.", count=self.others)
        if self.pieces:
            yield tr("{count:,} spans lie in several pieces; each piece was read as a span.", count=self.pieces)
        if self.wrong:
            yield tr("{count:,} spans were left out, for the text says something else there than they do; the first: {first}.",
                     count=len(self.wrong), first=self.wrong[0])  # fmt: skip
        yield from (f"{file}: {problem}" for problem, file in self.encodings.items())
        if annotated < texts:
            yield tr("{count:,} of {texts:,} texts have no annotations beside them and are not learned from.",
                     count=texts - annotated, texts=texts)  # fmt: skip


def _has_spans(path: Path, wanted: str) -> bool:
    with open_text(path, detect(path, wanted)) as lines:
        return any(SPAN.match(line) for line in lines)


def _read(folder: Folder, file: str, beside: Sequence[str], told: _Told) -> tuple[str, list[Span]]:
    """The text and its spans, sorted. Places count the characters as they are or, if more spans agree with that, line ends as one."""
    root, wanted = folder.root, folder.encoding
    encoding = detect(root / file, wanted)
    told.encodings |= {problem: told.encodings.get(problem, file) for problem in encoding.problems}
    with open_text(root / file, encoding, "") as opened:
        raw = opened.read()
    found = list[tuple[str, list[tuple[int, int]], str | None]]()
    for one in beside:
        with open_text(root / one, detect(root / one, wanted)) as lines:
            for line in lines:
                told.others += bool(OTHER.match(line))
                if span := SPAN.match(line.rstrip("\n")):
                    kind, places, said = span.groups()
                    found.append((kind, [(int(a), int(b)) for a, b in (piece.split() for piece in places.split(";"))], said))
    plain = raw.replace("\r\n", "\n")
    text = max((raw, plain), key=lambda text: sum(_agrees(text, pieces, said) for _, pieces, said in found))
    spans = list[Span]()
    for kind, pieces, said in found:
        if not _agrees(text, pieces, said):
            told.wrong.append(f"{file}, {pieces[0][0]}: {(said or kind)[:40]}")
            continue
        whole = _joined(text, pieces)
        told.spans, told.pieces = told.spans + 1, told.pieces + (len(whole) > 1)
        spans += [(start, stop, kind) for start, stop in whole]
    return text, sorted({*spans})


def _agrees(text: str, pieces: Sequence[tuple[int, int]], said: str | None) -> bool:
    """Whether the places lie in the text and hold what the annotation says they do, blanks aside."""
    held = " ".join(text[start:stop] for start, stop in pieces)
    inside = all(start < stop <= len(text) for start, stop in pieces)
    return inside and (not said or held.split() == said.split() or "".join(held.split()) == "".join(said.split()))


def _joined(text: str, pieces: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pieces of a span; those are one between which only blanks lie, as where a line ends within it."""
    found = [sorted(pieces)[0]]
    for start, stop in sorted(pieces)[1:]:
        if text[found[-1][1] : start].strip():
            found.append((start, stop))
        else:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
    return found


def _lines(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, list[Span]]]:
    """Lines that hold more than blanks, long ones cut behind sentences, no span cut; each with its spans, counted from its beginning."""
    ends = [end for line in re.finditer(r"[^\n]*\n?", text) for end in _edges(line.group(), line.start())]
    inside = {place for start, stop, _ in spans for place in range(start + 1, stop)}
    edges = [0, *(end for end in dict.fromkeys(ends) if 0 < end < len(text) and end not in inside), len(text)]
    for start, stop in pairwise(edges):
        piece = text[start:stop].rstrip()
        first = start + len(piece) - len(piece.lstrip())
        if piece.strip():
            yield piece.lstrip(), [(a - first, min(b, stop) - first, kind) for a, b, kind in spans if first <= a < start + len(piece)]


def _edges(line: str, offset: int) -> list[int]:
    """Where a line is cut: at its end, and if it is long, behind sentences, so that no piece is much longer than LONGEST."""
    found, last = list[int](), 0
    for end in [one.end() for one in ENDS.finditer(line)] if len(line) > LONGEST else ():
        if end - last >= LONGEST // 2:
            found.append(offset + end)
            last = end
    return [*found, offset + len(line)]
