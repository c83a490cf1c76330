"""Files of translations: TMX (translation memories), XLIFF, Qt's TS, PO and MO (messages of programs). Each pair of texts becomes a row.

XML is read by expat, piece by piece; a file that declares entities is refused, so that none can grow without bound or reach outside.
"""

import codecs
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from xml.parsers import expat
from xml.parsers.expat import ExpatError

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.data.formats.rows import of_texts
from duomo.data.formats.text_encoding import Encoding, detect, fits, numbered, open_text

DECODE_FAULTS = (LookupError, UnicodeError)
CATALOG_FAULTS = (ValueError, LookupError, struct.error)
LARGEST = 1 << 30
PIECE = 1 << 20
LONGEST = 1_000_000
CODES = ("bpt", "ept", "ph", "it", "ut")
"""Elements of a segment that hold mark-up of the original, not text."""
UNITS, TEXTS, ASIDE = ("tu", "trans-unit", "segment", "message"), ("seg", "source", "target"), ("alt-trans", "mtc:matches", "matches")
"""Elements that hold a text in two languages; the texts; and what has such texts, but for another purpose."""
OPEN = re.compile(r"new|initial|needs-(translation|adaptation|l10n)|unfinished|vanished|obsolete")
"""What a translation is called that is none yet, or none any more, by its state (XLIFF) or type (Qt)."""
DOUBTED = "doubted"
"""What such a translation is called here."""
FORMS = "numerusform"
"""Qt's element of a translation that has one for each number."""
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
DECLARED = re.compile(rb"<\?xml[^>]*encoding\s*=\s*[\"']([\w.:-]+)")
CHARSET = re.compile(rb"Content-Type:[^\n]*charset=([\w.:-]+)", re.IGNORECASE)
KEYWORD = re.compile(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)(?![\w\[])\s*(.*)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
SIDES = ("source", "target")
Found = tuple[pa.Table, tuple[str, ...]]


def _small(path: Path) -> None:
    if path.stat().st_size > LARGEST:
        raise DataError("A file of translations is read whole and may have at most {most} bytes; {file} is larger. Divide it.",
                        most=LARGEST, file=path.name)  # fmt: skip


class _Segments:
    """Handlers of the parser: `units` fills with {language: text}, or {"source": text, "target": text} in XLIFF."""

    def __init__(self, name: str, kind: str):
        self.name, self.kind, self.units = name, kind, list[dict[str, str]]()
        self._language, self._parts, self._inside, self._codes, self._size = "", list[str](), "", 0, 0
        self._aside = 0
        """Elements of XLIFF around that hold what others proposed."""
        self._open = False

    def open(self, tag: str, attributes: dict[str, str]) -> None:
        tag = "target" if tag == "translation" else tag
        state = attributes.get("state") or attributes.get("type") or ""
        if tag in UNITS:
            self.units.append({})
            self._open = OPEN.fullmatch(state) is not None
        elif tag == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang", "")
        elif tag in ASIDE:
            self._aside += 1
        elif tag in TEXTS and not self._aside:
            self._parts, self._inside, self._codes, self._size = [], tag, 0, 0
            self._open = self._open or (tag == "target" and OPEN.fullmatch(state) is not None)
        elif tag == FORMS:
            self._parts = []  # the last one, of many, is that of the source
        elif tag in CODES:
            self._codes += 1

    def close(self, tag: str) -> None:
        tag = "target" if tag == "translation" else tag
        if tag == self._inside and self.units:
            name = self._language if tag == "seg" else DOUBTED if tag == "target" and self._open else tag
            self.units[-1] |= {name: self.units[-1].get(name, "".join(self._parts))} if name else {}
            self._inside = ""
        elif tag in ASIDE:
            self._aside -= 1
        elif tag in CODES:
            self._codes -= 1

    def text(self, data: str) -> None:
        if not self._inside or self._codes:
            return
        self._size += len(data)
        if self._size > LONGEST:
            raise DataError("A text of a {kind} file may have at most {most:,} characters; {file} has a longer one.",
                            kind=self.kind, most=LONGEST, file=self.name)  # fmt: skip
        self._parts.append(data)

    def entity(self, *declared: object) -> None:
        raise DataError("A {kind} file may not declare entities; {file} does. Write them out.", kind=self.kind, file=self.name)


def _segments(path: Path, wanted: str, kind: str) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """The units of an XML file, and what was noticed about its encoding."""
    _small(path)
    encoding = _encoding(path, wanted, DECLARED)
    found = _Segments(path.name, kind)
    parser = expat.ParserCreate("utf-8")  # what it is given; expat itself knows few of the encodings that files are declared in
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = found.open, found.close, found.text
    parser.EntityDeclHandler = found.entity
    try:
        with open_text(path, encoding) as file:
            while piece := file.read(PIECE):
                parser.Parse(piece, False)
            parser.Parse("", True)
    except ExpatError as error:
        raise DataError("A {kind} file must be whole XML; {file} is not: {why}. Fix it.",
                        kind=kind, file=path.name, why=str(error)) from None  # fmt: skip
    return found.units, encoding.problems


def is_qt(path: Path) -> bool:
    """Whether a file begins as Qt's translations do: films, series and programs have their ending, too."""
    with path.open("rb") as file:
        return re.search(rb"<(!DOCTYPE )?TS[\s>]", file.read(1 << 12)) is not None


def read_xliff(path: Path, wanted: str = "") -> Found:
    """Columns `source` and `target`; what is not translated yet stays empty there. Where all translations are marked so, the mark says
    nothing: not all programs move it on."""
    kind = "TS" if path.suffix.lower() == ".ts" else "XLIFF"
    units, problems = _segments(path, wanted, kind)
    units = [unit for unit in units if unit.get("source", "").strip()]
    if not units:
        raise DataError("A file of {kind} must hold segments with a source; {file} has none.", kind=kind, file=path.name)
    done = any(unit.get("target", "").strip() for unit in units)
    if not done:
        units = [unit | {"target": said if (said := unit.get(DOUBTED, "")) != unit["source"] else ""} for unit in units]
    elif count := sum(bool(unit.get(DOUBTED, "").strip()) for unit in units):
        problems += (tr("{count} translations are marked as not done yet, or as out of use, and were left out.", count=count),)
    return of_texts(SIDES, [(unit["source"], unit.get("target", "").strip() or None) for unit in units]), problems


def read_tmx(path: Path, wanted: str = "") -> Found:
    """A column for each language (`en`, `zh`; with the region where a language has several)."""
    units, problems = _segments(path, wanted, "TMX")
    names = _called({language for unit in units for language in unit})
    columns = {name: pa.array([_of(unit, names, name) for unit in units], pa.large_string()) for name in sorted({*names.values()})}
    if len(columns) < 2:
        raise DataError("A TMX file must hold texts in two languages; {file} has {count}.", file=path.name, count=len(columns))
    return pa.table(columns), problems


def _encoding(path: Path, wanted: str, declared: re.Pattern[bytes]) -> Encoding:
    """What the file is written in: its marks tell, else what it declares where that reads it; many declare UTF-16 and are not."""
    with path.open("rb") as file:
        name = _codec(file.read(1 << 12), declared)
    return detect(path, wanted) if wanted or not name or not fits(path, name) else Encoding(name)


def _codec(head: bytes, declared: re.Pattern[bytes]) -> str:
    """The declared encoding by Python's name; empty for Unicode, which is known by itself, and where it is none of texts."""
    found = declared.search(head)
    try:
        name = codecs.lookup(found[1].decode()).name if found else "ascii"
        b"a".decode(name)
    except DECODE_FAULTS:
        return ""
    return "" if name.startswith(("utf", "ascii", "idna", "punycode")) else name


def _called(languages: Collection[str]) -> dict[str, str]:
    """The column of each language as it is written: `en_US`, `EN-us` and `en` are one where no other region of it is told apart."""
    plain = {language: language.strip().lower().replace("_", "-") for language in languages}
    regions: dict[str, set[str]] = {}
    for code in plain.values():
        regions.setdefault(code.split("-")[0], set()).add(code)
    several = {short for short, codes in regions.items() if len(codes - {short}) > 1}
    told = {code: min(language for language in languages if plain[language] == code) for code in plain.values()}
    return {language: told[code] if code.split("-")[0] in several else code.split("-")[0] for language, code in plain.items()}


def _of(unit: Mapping[str, str], names: Mapping[str, str], name: str) -> str | None:
    """The unit's first text in a language."""
    return next((text for language, text in unit.items() if names[language] == name), None)


def read_po(path: Path, wanted: str = "") -> Found:
    """Columns `source` and `target`; messages that are fuzzy, obsolete or broken are left out and counted, those without translation stay
    empty."""
    _small(path)
    encoding = _encoding(path, wanted, CHARSET)
    pairs, fuzzy, broken = [], 0, list[int]()
    with open_text(path, encoding) as file:
        for entry, unsure, fault in _entries(file):
            broken += [fault] if fault else []
            fuzzy += unsure and not fault
            if not (unsure or fault) and entry.get("msgid"):
                pairs.append((entry["msgid"], entry.get("msgstr") or entry.get("msgstr[0]") or None))
                if entry.get("msgid_plural"):
                    forms = [text for key, text in entry.items() if key.startswith("msgstr[")]
                    pairs.append((entry["msgid_plural"], (forms[-1] if forms else "") or None))
    if not pairs:
        raise DataError("A PO file must hold messages; {file} has none.", file=path.name)
    notes = [tr("{count} messages are marked as fuzzy and were left out.", count=fuzzy)] if fuzzy else []
    if broken:
        notes.append(tr("{count} messages are broken (a text that is not closed or quoted, or no msgstr) and were left out: those that "
                        "begin on lines {lines}.", count=len(broken), lines=numbered(broken)))  # fmt: skip
    return of_texts(SIDES, pairs), (*encoding.problems, *notes)


def read_mo(path: Path, wanted: str = "") -> Found:
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
        name = wanted or _codec(data, CHARSET) or "utf-8"
        texts = [[data[place : place + size].decode(name) for size, place in zip(table[::2], table[1::2], strict=True)] for table in tables]
    except CATALOG_FAULTS as error:
        raise DataError("An MO file must be a whole gettext catalogue in the charset that it declares; {file} is not ({why}). Make it "
                        "again, or give its PO file.",
                        file=path.name, why=str(error)[:80]) from None  # fmt: skip
    pairs = []
    for source, target in zip(*texts, strict=True):
        sources, targets = source.split("\4")[-1].split("\0"), target.split("\0")
        pairs += [(sources[0], targets[0])] if sources[0] else []
        pairs += [(sources[1], targets[-1])] if len(sources) > 1 and sources[0] else []
    if not pairs:
        raise DataError("An MO file must hold messages; {file} has none.", file=path.name)
    return of_texts(SIDES, pairs), ()


def _entries(lines: Iterator[str]) -> Iterator[tuple[dict[str, str], bool, int]]:
    """(keyword -> text, whether it is fuzzy, the line that it begins on where it is broken, else 0) of each message."""
    entry: dict[str, str] = {}
    key, fuzzy, begun, broken = "", False, 0, False
    for number, line in enumerate([*lines, "", "msgid"], start=1):
        line = line.strip()
        found = KEYWORD.match(line)
        whole = "msgid" in entry and any(name.startswith("msgstr") for name in entry)
        begins = line.startswith("#") or (found and found[1] in ("msgid", "msgctxt"))
        if "msgid" in entry and (begins or (whole and not line)):
            yield entry, fuzzy, 0 if whole and not broken else begun
            entry, fuzzy, key, broken = {}, False, "", False
        if line.startswith("#"):
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        if found:
            begun = begun if entry else number
            key, line = found[1], found[2]
            entry[key] = ""
        if key and line:
            broken = broken or STRING.fullmatch(line) is None
            entry[key] += re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), "".join(STRING.findall(line)))
