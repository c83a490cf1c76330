"""Pages and documents as their text: HTML, Word (.docx), OpenDocument (.odt), EPUB, subtitles. The text lies in the cache as a plain file,
and is read from there as any other.
"""

import html.parser
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final
from xml.parsers import expat

from duomo.core.errors import DataError
from duomo.core.messages import listed, tr
from duomo.data import spill as caches
from duomo.data.formats.archive import FAULTS, checked
from duomo.data.formats.subtitles import SUBTITLES, words
from duomo.data.formats.text_encoding import Encoding, detect, open_text

PAGE_FAULTS = (*FAULTS, expat.ExpatError)
PAGES = frozenset((".html", ".htm", ".xhtml", ".docx", ".odt", ".epub")) | SUBTITLES
UNREAD = {".pdf": "pdftotext", **dict.fromkeys((".doc", ".rtf", ".ppt", ".pptx", ".odp"), "soffice --convert-to txt")}
"""Documents that are not read, and the program that writes them as text."""
LARGEST = 1 << 26
"""Bytes of a page, or of the text's part of a document."""
MEMBERS = {".docx": re.compile(r"word/document\d*\.xml"), ".odt": re.compile(r"content\.xml"), ".epub": re.compile(r".+\.x?html?", re.I)}
PARAGRAPHS = frozenset((
    "address", "article", "aside", "blockquote", "br", "caption", "dd", "div", "dl", "dt", "figcaption", "footer", "form", "h1", "h2", "h3",
    "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre", "section", "table", "td", "th", "title", "tr", "ul",
))  # fmt: skip
"""Elements of HTML before and behind which a line ends."""
HIDDEN = frozenset(("script", "style", "template", "noscript", "svg", "math"))
CHARSET = re.compile(rb"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)


def plain(path: Path, cache: Path | None = None, wanted: str = "") -> Path:
    """The file itself, or the text of a page or document as a file in the cache. DataError for one that is damaged or too large."""
    ending = path.suffix.lower()
    if ending not in PAGES:
        return path
    into = caches.folder(cache) / "pages" / caches.file_digest(path, "text", ending, wanted) / f"{path.stem}.txt"
    if into.is_file():
        return into
    read = words if ending in SUBTITLES else _markup
    text = read(_decoded(path, wanted)) if ending not in MEMBERS else _packed(path, ending)
    into.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.NamedTemporaryFile(prefix=caches.UNFINISHED, dir=into.parents[1], delete=False) as file:
            file.write(text.encode())
        Path(file.name).rename(into)
    except OSError as error:
        caches.refuse_full(error, into.parent)
        raise
    return into


def unread(files: Sequence[str]) -> tuple[str, ...]:
    """A sentence on documents among the files that are not read."""
    found = [file for file in files if Path(file).suffix.lower() in UNREAD]
    programs = sorted({UNREAD[Path(file).suffix.lower()] for file in found})
    return (tr("{count} documents are not read ({names}). Write texts of them with {programs}.", count=len(found),
               names=", ".join(found[:3]), programs=listed(programs)),) if found else ()  # fmt: skip


def _decoded(path: Path, wanted: str) -> str:
    if path.stat().st_size > LARGEST:
        raise DataError("A page may have at most {most:,} bytes; {file} is larger. Divide it.", most=LARGEST, file=path.name)
    with open_text(path, _encoding(path, wanted)) as file:
        return file.read()


def _encoding(path: Path, wanted: str) -> Encoding:
    """As it was wanted, or found from the bytes; where these do not tell, as the page says of itself."""
    try:
        return detect(path, wanted)
    except DataError:
        with path.open("rb") as file:
            told = CHARSET.search(file.read(4096))
        if wanted or not told:
            raise
        return detect(path, told[1].decode("ascii"))


def _packed(path: Path, ending: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in checked(archive, path) if MEMBERS[ending].fullmatch(member.filename)]
            if sum(member.file_size for member in members) > LARGEST:
                raise DataError("A page may have at most {most:,} bytes; {file} is larger. Divide it.", most=LARGEST, file=path.name)
            bodies = [archive.read(member) for member in members]
        if not bodies:
            raise zipfile.BadZipFile(f"no {MEMBERS[ending].pattern}")
        read: Callable[[bytes], str] = _markup_of if ending == ".epub" else _paragraphs
        return "\n\n".join(text for body in bodies if (text := read(body)))
    except PAGE_FAULTS as error:
        raise DataError("A document must be whole; {file} is not: {why}. Save it again.", file=path.name, why=str(error)[:200]) from None


def _markup_of(body: bytes) -> str:
    return _markup(body.decode("utf-8", "replace"))


def _markup(text: str) -> str:
    reader = _Markup()
    reader.feed(text)
    reader.close()
    return reader.lines.text()


@final
class Lines:
    """Words put together into lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._held: list[str] = []

    def add(self, text: str) -> None:
        self._held.append(text)

    def end(self, *, kept: bool = False) -> None:
        """End a line; blanks are `kept` as they are, or each run of them becomes a space."""
        line = "".join(self._held)
        line = line.strip("\n") if kept else " ".join(line.split())
        self._held = []
        if line:
            self._lines.append(line)

    def text(self) -> str:
        """All lines so far."""
        self.end()
        return "\n".join([*self._lines, ""]) if self._lines else ""


@final
class _Markup(html.parser.HTMLParser):
    """What a reader of the page sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines, self._hidden, self._pre = Lines(), 0, 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._break(tag)
        self._hidden += tag in HIDDEN
        self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._break(tag)
        self._hidden = max(0, self._hidden - (tag in HIDDEN))
        self._pre = max(0, self._pre - (tag == "pre"))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.lines.add(data)

    def _break(self, tag: str) -> None:
        if tag in PARAGRAPHS:
            self.lines.end(kept=self._pre > 0)


def _paragraphs(body: bytes) -> str:
    """The paragraphs of Word's and OpenDocument's XML."""
    lines, inside = Lines(), 0

    def opened(name: str, _: dict[str, str]) -> None:
        nonlocal inside
        tag = name.rpartition(":")[2]
        inside += tag in ("t", "p", "h") and (tag != "p" or not name.startswith("w:"))
        if tag in ("tab", "s"):
            lines.add(" ")
        elif tag in ("br", "line-break"):
            lines.end()

    def closed(name: str) -> None:
        nonlocal inside
        tag = name.rpartition(":")[2]
        inside -= tag in ("t", "p", "h") and (tag != "p" or not name.startswith("w:"))
        if tag in ("p", "h"):
            lines.end()

    def refuse(*_: object) -> None:
        raise zipfile.BadZipFile("entities are declared")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.EntityDeclHandler = opened, closed, refuse
    parser.CharacterDataHandler = lambda text: lines.add(text) if inside else None
    parser.Parse(body, True)
    return lines.text()
