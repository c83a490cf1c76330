"""Files of translations: TMX (translation memories), PO and MO (messages of programs). Each pair of texts becomes a row.

XML is read by expat, piece by piece; a file that declares entities is refused, so that none can grow without bound or reach outside.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat
from xml.parsers.expat import ExpatError

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.data.text_encoding import detect, open_text

LARGEST = 1 << 30
PIECE = 1 << 20
LONGEST = 1_000_000
CODES = ("bpt", "ept", "ph", "it", "ut")
"""Elements of a segment that hold mark-up of the original, not text."""
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
Found = tuple[pa.Table, tuple[str, ...]]


def _small(path: Path) -> None:
    if path.stat().st_size > LARGEST:
        raise DataError("A file of translations is read whole and may have at most {most} bytes; {file} is larger. Divide it.",
                        most=LARGEST, file=path.name)  # fmt: skip


class _Tmx:
    """Handlers of the parser: `units` fills with {language: text}."""

    def __init__(self, name: str):
        self.name, self.units = name, list[dict[str, str]]()
        self._language, self._parts, self._inside, self._codes, self._size = "", list[str](), False, 0, 0

    def open(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "tu":
            self.units.append({})
        elif tag == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang", "")
        elif tag == "seg":
            self._parts, self._inside, self._codes, self._size = [], True, 0, 0
        elif tag in CODES:
            self._codes += 1

    def close(self, tag: str) -> None:
        if tag == "seg" and self.units and self._language:
            self.units[-1].setdefault(self._language, "".join(self._parts))
            self._inside = False
        elif tag in CODES:
            self._codes -= 1

    def text(self, data: str) -> None:
        if not self._inside or self._codes:
            return
        self._size += len(data)
        if self._size > LONGEST:
            raise DataError(
                "A text of a TMX file may have at most {most:,} characters; {file} has a longer one.", most=LONGEST, file=self.name
            )
        self._parts.append(data)

    def entity(self, *declared: object) -> None:
        raise DataError("A TMX file may not declare entities; {file} does. Write them out.", file=self.name)


def read_tmx(path: Path) -> Found:
    """A column for each language (`en`, `zh`; with the region where a language has several)."""
    _small(path)
    found = _Tmx(path.name)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = found.open, found.close, found.text
    parser.EntityDeclHandler = found.entity
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                parser.Parse(piece, False)
            parser.Parse(b"", True)
    except ExpatError as error:
        raise DataError("A TMX file must be whole XML; {file} is not: {why}. Mend it.", file=path.name, why=str(error)) from None
    languages = sorted({language for unit in found.units for language in unit})
    if len(languages) < 2:
        raise DataError("A TMX file must hold texts in two languages; {file} has {count}.", file=path.name, count=len(languages))
    short = [re.split("[-_]", language.lower())[0] for language in languages]
    names = {language: name if short.count(name) == 1 else language for language, name in zip(languages, short, strict=True)}
    columns = {name: pa.array([unit.get(language) for unit in found.units], pa.large_string()) for language, name in names.items()}
    return pa.table(columns), ()


def read_po(path: Path, wanted: str = "") -> Found:
    """Columns `source` and `target`; fuzzy and obsolete messages are left out and counted, those without translation stay empty."""
    _small(path)
    encoding = detect(path, wanted)
    pairs, fuzzy = [], 0
    with open_text(path, encoding) as file:
        for entry, unsure in _entries(file):
            fuzzy += unsure
            if not unsure and entry.get("msgid"):
                pairs.append((entry["msgid"], entry.get("msgstr") or entry.get("msgstr[0]") or None))
                if entry.get("msgid_plural"):
                    forms = [text for key, text in entry.items() if key.startswith("msgstr[")]
                    pairs.append((entry["msgid_plural"], (forms[-1] if forms else "") or None))
    if not pairs:
        raise DataError("A PO file must hold messages; {file} has none.", file=path.name)
    columns = {name: pa.array(cells, pa.large_string()) for name, cells in zip(("source", "target"), zip(*pairs, strict=True), strict=True)}
    note = (tr("{count} messages are marked as fuzzy and were left out.", count=fuzzy),) if fuzzy else ()
    return pa.table(columns), encoding.problems + note


def read_mo(path: Path) -> Found:
    """Columns `source` and `target` of a compiled catalogue (GNU gettext manual, section 10.3); every place is checked against the file."""
    _small(path)
    data = path.read_bytes()
    order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(data[:4])
    try:
        count, *starts = struct.unpack_from(f"{order or '<'}3I", data, 8)
        if order is None or max(starts) + 8 * count > len(data):
            raise ValueError("its tables lie outside")
        tables = [struct.unpack_from(f"{order}{2 * count}I", data, start) for start in starts]
        if any(size + place > len(data) for table in tables for size, place in zip(table[::2], table[1::2], strict=True)):
            raise ValueError("its texts lie outside")
        texts = [[data[place : place + size].decode() for size, place in zip(table[::2], table[1::2], strict=True)] for table in tables]
    except (ValueError, struct.error) as error:
        raise DataError("An MO file must be a whole gettext catalogue in UTF-8; {file} is not ({why}). Make it again, or give its PO file.",
                        file=path.name, why=str(error)[:80]) from None  # fmt: skip
    pairs = []
    for source, target in zip(*texts, strict=True):
        sources, targets = source.split("\4")[-1].split("\0"), target.split("\0")
        pairs += [(sources[0], targets[0])] if sources[0] else []
        pairs += [(sources[1], targets[-1])] if len(sources) > 1 and sources[0] else []
    if not pairs:
        raise DataError("A PO file must hold messages; {file} has none.", file=path.name)
    return pa.table({name: pa.array(cells, pa.large_string())
                     for name, cells in zip(("source", "target"), zip(*pairs, strict=True), strict=True)}), ()  # fmt: skip


def _entries(lines: Iterator[str]) -> Iterator[tuple[dict[str, str], bool]]:
    """(keyword -> text, whether it is fuzzy) of each message."""
    entry: dict[str, str] = {}
    key, fuzzy = "", False
    for line in [*lines, ""]:
        line = line.strip()
        starts = line.startswith(("msgid ", "msgctxt "))
        if (not line or line.startswith("#") or starts) and "msgid" in entry and any(name.startswith("msgstr") for name in entry):
            yield entry, fuzzy
            entry, fuzzy, key = {}, False, ""
        if line.startswith("#"):
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        word, _, rest = line.partition(" ")
        if word.startswith("msg"):
            key, line = word, rest
            entry[key] = ""
        if key and line.startswith('"'):
            entry[key] += "".join(_unescaped(part) for part in STRING.findall(line))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), text)
