"""Which encoding a text file is written in, decided without guessing in silence.

Order: byte-order mark, UTF-16 by its pattern of NUL bytes, strict UTF-8, then GB18030 and Big5 by how well they read.
What stays ambiguous is asked; lines that do not fit are numbered.
"""

import codecs
import csv
import io
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from duomo.core.errors import DataError
from duomo.core.messages import nearest, tr

CODEC_FAULTS = (LookupError, TypeError, ValueError)
CHUNK = 1 << 22
LONGEST_LINE = 1 << 26
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_COMMON = frozenset(
    "的一是不了在人有我他这中大来上个国和地到以说们为子要你会着那得于自下而过天去能对小多然心学么之都好看起发成只作当想用"
    "無这個來國說們為麼時會對學過沒還後發從當與種開現點無風山月春花日雲水年生行時分家可出也就很再给让房间酒店服务早餐前"
    "間服務後裡樣經動實長見關頭問東車買賣書電話請謝裏還嗎吗没还"
)
OTHERS = ("big5", "cp932", "euc_jp", "cp949", "cp1251", "cp1252", "cp1250")
"""What else a file that is asked about may be in: offered where it reads as a text."""
MOST_ASKED = 4
FEWEST_WIDE = 20
"""Characters of Chinese by which UTF-16 is told."""
SYLLABLES = {"cp932": ("\u3040", "\u30ff"), "euc_jp": ("\u3040", "\u30ff"), "cp949": ("\uac00", "\ud7a3")}
WORD = re.compile(r"[^\W\d_]+")
_PUNCTUATION = frozenset("，。！？…：；（）“”‘’、《》·—　「」『』％～")


SPACES = b"\t\n\v\f\r\x1a\x1b"
"""Control characters that texts have; others, but for a stray one, are no text's."""


@dataclass(frozen=True)
class Encoding:
    """How to turn a file's bytes into text."""

    name: str
    skip: int = 0
    """Bytes of the byte-order mark."""
    problems: tuple[str, ...] = ()
    """What a person should know: numbered bad lines, an encoding other than UTF-8."""


def detect(path: Path, wanted: str = "") -> Encoding:
    """The file's encoding; `wanted` overrides. Raises DataError where two readings are possible or none fits."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if wanted:
        return _as_told(path, head, wanted)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return _marked(path, name, len(mark))
    wide = _wide(head)
    if wide and fits(path, wide):
        return Encoding(wide, 0, (_read_as(wide),))
    if fits(path, "utf-8"):
        return Encoding("utf-8")
    return _by_lines(path)


def fits(path: Path, name: str, skip: int = 0) -> bool:
    """Whether the whole file decodes strictly."""
    decoder = codecs.getincrementaldecoder(name)("strict")
    plain = name == "utf-8"
    pending = False
    try:
        with path.open("rb") as file:
            file.seek(skip)
            while chunk := file.read(CHUNK):
                if plain and not pending and chunk.isascii():
                    continue
                decoder.decode(chunk)
                pending = decoder.getstate()[0] != b""
            decoder.decode(b"", True)
    except UnicodeError:  # not only of a byte: UTF-16 must begin with a mark
        return False
    return True


class Pieces(io.RawIOBase):
    """Bytes that come in pieces of any size, as a file."""

    _ready = b""

    @abstractmethod
    def piece(self, size: int) -> bytes:
        """The next bytes, about so many; none at the end."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        self._ready = self._ready or self.piece(size)
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


class DecodedFile(Pieces):
    """A file of any encoding, read as UTF-8 bytes chunk by chunk."""

    def __init__(self, path: Path, encoding: Encoding):
        self._file = path.open("rb")
        self._file.seek(encoding.skip)
        self._plain = encoding.name == "utf-8" and not encoding.problems
        self._decoder = codecs.getincrementaldecoder(encoding.name)("replace")

    def piece(self, size: int) -> bytes:
        if self._plain:
            return self._file.read(size)
        while chunk := self._file.read(max(size, 1 << 16)):
            if found := self._decoder.decode(chunk).encode():
                return found
        return self._decoder.decode(b"", True).encode()

    def close(self) -> None:
        self._file.close()
        super().close()


def open_text(path: Path, encoding: Encoding, newline: str | None = None) -> io.TextIOWrapper:
    """The file as text, streamed; newlines are made equal, or only `newline` ends a line."""
    return io.TextIOWrapper(io.BufferedReader(DecodedFile(path, encoding), CHUNK), encoding="utf-8", newline=newline)


def cut(lines: Iterable[str], **how: Any) -> Iterator[list[str]]:
    """Rows of delimited text, as `csv.reader` cuts them, but a cell may hold a book."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))  # the standard library's limit, of the whole process, is 128 KiB
    return csv.reader(lines, **how)


def read_text(path: Path, wanted: str = "") -> tuple[str, tuple[str, ...]]:
    """The whole text and what was noticed about its encoding."""
    encoding = detect(path, wanted)
    with open_text(path, encoding) as file:
        return file.read(), encoding.problems


def numbered(numbers: list[int] | tuple[int, ...], count: int | None = None) -> str:
    """The first ten numbers and how many more there are: `3, 7, 9 …`."""
    total = len(numbers) if count is None else count
    shown = ", ".join(str(number) for number in numbers[:10])
    return shown + (" …" if total > 10 else "")


def _read_as(name: str) -> str:
    return tr("The file was read as {name}; another encoding can be given with --encoding.", name=name)


def _marked(path: Path, name: str, skip: int) -> Encoding:
    if fits(path, name, skip):
        return Encoding(name, skip)
    if name == "utf-8":
        bad = [number for number, line in _lines(path) if not _decodes(line, name)]
        return Encoding(name, skip, (_bad_lines(bad, name),))
    raise DataError(
        "A text file must be readable from end to end; {file} begins as {name} but holds bytes that are not. Save it again as UTF-8.",
        file=path.name,
        name=name,
    )


def _as_told(path: Path, head: bytes, wanted: str) -> Encoding:
    try:
        name = codecs.lookup(wanted).name
        letter = "a".encode(name)  # a LookupError of what turns no text into bytes: hex, zlib
        codecs.getincrementaldecoder(name)("replace").decode(letter)
    except CODEC_FAULTS:
        raise DataError(
            "An encoding must be one that Python knows; received {wanted!r}.{hint} Use utf-8, gb18030, big5, utf-16 or cp1252.",
            wanted=wanted,
            hint=nearest(wanted, ("utf-8", "gb18030", "gbk", "big5", "utf-16", "cp1252", "latin-1")),
        ) from None
    name = {"utf_8_sig": "utf-8", "utf-8-sig": "utf-8"}.get(name, name)
    skip = next((len(mark) for mark, marked in _MARKS if marked == name and head.startswith(mark)), 0)
    wide = name.startswith(("utf-16", "utf-32"))
    if fits(path, name, skip) and (wide or name == "utf-8" or not any(_surely_utf8(line) for _, line in _lines(path))):
        return Encoding(name, skip)
    if wide:
        raise DataError(
            "The encoding must fit the file; {file} is not {name}. Leave --encoding out to let it be found.", file=path.name, name=name
        )
    bad = [number for number, line in _lines(path) if not _decodes(line, name) or (name != "utf-8" and _surely_utf8(line))]
    total = sum(1 for _, line in _lines(path) if not line.isascii())
    if len(bad) > 0.2 * total and len(bad) > 1:
        _refuse_mixed(path, name, bad)
    return Encoding(name, skip, (_bad_lines(bad, name),))


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: ASCII characters leave a NUL in every other byte, on one side only; Chinese alone has everyday ones."""
    return _spaced_by_nul(head) or next((name for name in ("utf-16-le", "utf-16-be") if _is_chinese(head[: len(head) // 2 * 2], name)), "")


def _is_chinese(head: bytes, name: str) -> bool:
    """Whether nearly all of it is Chinese, everyday characters among them, as bytes of another encoding become by no accident."""
    text = head.decode(name, "replace")
    common = sum(letter in _COMMON for letter in text)
    plain = sum("\u4e00" <= letter <= "\u9fff" or letter in _PUNCTUATION or letter in "\r\n\t " for letter in text)
    return not head.isascii() and len(text) >= FEWEST_WIDE and plain >= 0.95 * len(text) and common >= 0.1 * len(text)


def _spaced_by_nul(head: bytes) -> str:
    """UTF-16 by its NULs; empty where these do not lie so."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    most, least, half = max(even, odd), min(even, odd), max(1, len(head) // 2)
    if len(head) < 4 or most < 2 or least > 0.1 * most:
        return ""
    try:
        head.decode("utf-8")
        needed = 0.2
    except UnicodeDecodeError as error:
        needed = 0.2 if error.start > len(head) - 4 else 0.005
    if most / half < needed:
        return ""
    name = "utf-16-be" if even > odd else "utf-16-le"
    text = head[: len(head) // 2 * 2].decode(name, "ignore")
    odd_ones = sum(1 for letter in text if (letter < " " and letter not in "\t\r\n\0") or "\ue000" <= letter <= "\uf8ff")
    return name if odd_ones <= 0.01 * len(text) else ""


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, from 1, as bytes."""
    with path.open("rb") as file:
        number = 1
        while line := file.readline(LONGEST_LINE):
            yield number, line
            number += line.endswith(b"\n")


def _decodes(line: bytes, name: str) -> bool:
    try:
        line.decode(name)
    except UnicodeError:
        return False
    return True


def _bad_lines(bad: list[int], name: str) -> str:
    return tr(
        "{count} lines hold bytes that are not {name}; each such byte became \ufffd: lines {lines}.",
        count=len(bad), name=name, lines=numbered(bad),
    )  # fmt: skip


def _refuse_mixed(path: Path, name: str, bad: list[int]) -> NoReturn:
    raise DataError(
        "A text file must be written in one encoding; in {file} {count} lines are not {name}: lines {lines}. "
        "Save it again as UTF-8, or name its encoding with --encoding.",
        file=path.name, count=len(bad), name=name, lines=numbered(bad),
    )  # fmt: skip


def _surely_utf8(line: bytes) -> bool:
    """Valid UTF-8 with several characters of three bytes: bytes of another encoding fall into that pattern by no accident."""
    try:
        return sum(letter >= "\u0800" for letter in line.decode("utf-8")) >= 3
    except UnicodeDecodeError:
        return False


def _by_lines(path: Path) -> Encoding:
    """Not UTF-8 throughout: judge by the lines that are not ASCII."""
    names = ("utf-8", "gb18030", "big5")
    bad: dict[str, list[int]] = {name: [] for name in names}
    strangers: list[int] = []
    sample, total = b"", 0
    for number, line in _lines(path):
        if line.isascii():
            continue
        total += 1
        for name in names:
            if not _decodes(line, name):
                bad[name].append(number)
        if _surely_utf8(line):
            strangers.append(number)
        elif len(sample) < 1 << 16:
            sample += line[: 1 << 14]
    unfit = len(bad["utf-8"]) / total
    if unfit <= 0.1 or (total < 10 and unfit < 0.5):
        return Encoding("utf-8", 0, (_bad_lines(bad["utf-8"], "utf-8"),))
    if unfit < 0.8:
        _refuse_mixed(path, "utf-8", bad["utf-8"])
    if strangers:  # most of them would read as other characters without a complaint
        _refuse_mixed(path, "gb18030" if len(bad["gb18030"]) <= len(bad["big5"]) else "big5", strangers)
    candidates = [name for name in ("gb18030", "big5") if len(bad[name]) <= 0.02 * total]
    name = _choose(path, candidates, sample)
    problems = (_read_as(name),) + ((_bad_lines(bad[name], name),) if bad[name] else ())
    return Encoding(name, 0, problems)


def _choose(path: Path, candidates: list[str], sample: bytes) -> str:
    score = {name: _reads_well(sample, name) for name in candidates}
    ranked = sorted(score, key=lambda name: -score[name])
    if ranked and score[ranked[0]] >= 0.55 and (len(ranked) == 1 or score[ranked[0]] - score[ranked[1]] >= 0.25):
        return ranked[0]
    if sum(byte < 32 and byte not in SPACES for byte in sample) > 0.02 * len(sample):
        raise DataError("A text file must hold text; {file} holds bytes of another kind. Give it its true ending, or save the data as CSV.",
                        file=path.name)  # fmt: skip
    others = [name for name in OTHERS if name not in ranked and _sensible(sample, name)]
    shown = ([*ranked, *others] if ranked and score[ranked[0]] >= 0.55 else [*others, *ranked])[:MOST_ASKED] or ["cp1252"]
    samples = "; ".join(f"{name}: “{_excerpt(sample, name)}”" for name in shown)
    raise DataError(
        "A text file must say which encoding it is in when that is not plain; {file} could be {samples}. Choose with --encoding {first}, "
        "or name another that Python knows (cp1250, cp1251, shift_jis, euc_jp, euc_kr).",
        file=path.name, samples=samples, first=" | --encoding ".join(shown), encodings=shown,
    )  # fmt: skip


def _sensible(sample: bytes, name: str) -> bool:
    """Whether what is not ASCII reads as a text of languages that are written so: whole words of one alphabet, kana, Korean syllables."""
    text = sample.decode(name, "replace")
    letters = [letter for letter in text if letter > "\x7f" and not letter.isspace()]
    if name == "big5":
        fitting = len(letters) if _reads_well(sample, name) >= 0.55 else 0
    elif name in SYLLABLES:
        first, last = SYLLABLES[name]
        fitting = sum(first <= letter <= last for letter in letters) * (1 if name == "cp949" else 2)  # a text in kana is half of it Chinese
    else:
        words = [word for word in WORD.findall(text) if not word.isascii()]
        fitting = sum(len(word) - len(re.findall("[a-zA-Z]", word)) for word in words if _is_word(word, name))
    return text.count("\ufffd") <= 0.02 * len(letters) and fitting >= 0.9 * len(letters)


def _is_word(word: str, name: str) -> bool:
    """Whether a word is written as words are: no capital inside, and Russian without Latin letters."""
    return (word.islower() or word.isupper() or word[1:].islower()) and (name != "cp1251" or not re.search("[a-zA-Z]", word))


def _excerpt(sample: bytes, name: str) -> str:
    text = " ".join(sample[:400].decode(name, "replace").split())
    first = next((place for place, letter in enumerate(text) if ord(letter) > 127), 0)
    return text[max(0, first - 10) : first + 30]


def _reads_well(sample: bytes, name: str) -> float:
    """0 … 1: how much of the text lies in the encoding's everyday characters (GB 2312 and Big5, level 1)."""
    letters = [letter for letter in sample.decode(name, "ignore") if ord(letter) > 127]
    if not letters:
        return 0.0
    low, high = (0xB0, 0xD7) if name == "gb18030" else (0xA4, 0xC6)
    everyday = common = chinese = 0
    for letter in letters:
        raw = letter.encode(name, "ignore")
        level_1 = len(raw) == 2 and low <= raw[0] <= high and (name == "big5" or raw[1] >= 0xA1)
        everyday += level_1 or letter in _PUNCTUATION or "\uff00" < letter < "\uff60"
        chinese += "\u4e00" <= letter <= "\u9fff"
        common += letter in _COMMON
    share = common / max(1, chinese)
    if chinese >= 200 and share < 0.06:
        return 0.5 * everyday / len(letters)
    return 0.6 * everyday / len(letters) + 0.4 * min(1.0, share / 0.12)
