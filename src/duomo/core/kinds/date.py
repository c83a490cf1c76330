"""Dates and times: read from the usual writings, turned into numbers that carry trend and season.

Legend: N rows, F features: trend, how far the year has gone, the same as sin and cos, weekday (sin, cos), hour (sin, cos) where training
has times, and a flag where training has missing cells.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.contract import Field
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import is_number, is_text, narrow, sample, text_of, without
from duomo.core.kinds.number import WORDS, learn, stack
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

NAMED = re.compile(r"(?i)(date|time|day|year|month|created|updated|日期|时间|年|月|日|dt$|_at$|^ts$)")
CLOCK = r"(?:[T\s,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::?(?P<second>\d{2})(?P<part>\.\d+)?)?\s*(?P<half>[aApP]\.?[mM]\.?)?)?"
ZONES = {"Z": 0, "UTC": 0, "GMT": 0, "CET": 1, "MEZ": 1, "CEST": 2, "MESZ": 2, "BST": 1, "JST": 9, "EST": -5, "EDT": -4, "MST": -7,
         "MDT": -6, "PST": -8, "PDT": -7}  # fmt: skip
"""Hours east; CST is in America or in China and is not read."""
ZONE = rf"\s*(?P<zone>{'|'.join(ZONES)}|[+-]\d{{2}}:?\d{{2}})?$"
YEAR_FIRST = r"^(?P<year>\d{4})\s*[-/.]\s*(?P<month>\d{1,2})(?:\s*[-/.]\s*(?P<day>\d{1,2}))?" + CLOCK + ZONE
CHINESE = (
    r"\s*(?P<month>\d{1,2})(?:\s*[-/.月]\s*(?P<day>\d{1,2})\s*[日号]?|\s*月)(?:\s*\(?(?:星期|周|礼拜)[一二三四五六日天]\)?)?"
    r"(?:[\s,]*(?P<half>凌晨|清晨|早上|上午|下午|傍晚|晚上|[aApP][mM])?\s*(?P<hour>\d{1,2})\s*[:时点]整?"
    r"(?:\s*(?P<minute>\d{1,2})(?:\s*分|\s*[:分]\s*(?P<second>\d{1,2})(?P<part>\.\d+)?秒?)?)?)?"
)
LONG, SHORT = r"^(?P<year>\d{4})\s*[-/.年]" + CHINESE + ZONE, r"^(?P<year>\d{2})\s*年" + CHINESE + ZONE
"""2024年3月5日（星期二）下午2点30分, and what of it may stand behind 2024-03-05."""
EIGHT = r"^(?P<year>[12]\d{3})(?P<month>\d{2})(?P<day>\d{2})" + CLOCK + ZONE
YEAR_LAST = r"^(?P<first>\d{1,2})[-/.](?P<next>\d{1,2})[-/.](?P<year>\d{4}|\d{2})" + CLOCK + ZONE
WEEKDAY, MONTH = r"^(?:\p{L}{2,10}[.,]{0,2}\s+)?", r"(?P<name>\p{L}{3,10})"
DAY_NAMED = (
    WEEKDAY
    + r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.)?(?:[-\s]+|\s+de\s+)"
    + MONTH
    + (r"\.?,?(?:[-\s]+|\s+de[l]?\s+)(?P<year>\d{4}|\d{2})" + CLOCK + ZONE)
)
MONTH_NAMED = WEEKDAY + MONTH + r"\.?\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<year>\d{4})" + CLOCK + ZONE
NAMES = (
    r"(?P<name>(?i:jan(?:uary?|vier)?|feb(?:ruary?)?|fév(?:rier)?|mar(?:ch|s)?|märz|apr(?:il)?|avril|may|mai|june?|juni|juin|july?|juli|juillet"
    r"|aug(?:ust)?|août|sept?(?:ember|embre)?|oct(?:ober|obre)?|okt(?:ober)?|nov(?:ember|embre)?|dec(?:ember)?|dez(?:ember)?|déc(?:embre)?"
    r"|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre))"
)
MONTH_FIRST, PADDED = r"^0{0,2}(?P<month>\d{1,2})[-/.](?P<year>(?:19|20)\d{2})$", r"^0?(?:0[1-9]|1[0-2])[-/.](?:19|20)\d{2}$"
"""03/2024, and 003.2024 as periods of accounts are written; a column of such is told from numbers and parts by the zeros before them."""
YEAR_MONTH, MONTH_YEAR = r"^(?P<year>\d{4})[-\s./]*" + NAMES + r"\.?$", "^" + NAMES + r"(?:\.?,?[-\s./]*(?P<year>\d{4})|-(?P<short>\d{2}))$"
QUARTER, QUARTER_FIRST = r"^(?P<year>\d{4})\s*[-./]?\s*[qQ](?P<quarter>[1-4])$", r"^[qQ](?P<quarter>[1-4])\s*[-./']?\s*(?P<year>\d{4})$"
QUARTER_CHINESE = r"^(?P<year>\d{4})\s*年?\s*第?(?P<quarter>[1-4一二三四])\s*季度?$"
WEEK = r"^(?P<year>\d{4})\s*-?\s*[wW](?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?$"
"""Months (2020 Jan, Dec-11), quarters (2020 Q1, 2024年一季度) and weeks as ISO 8601 numbers them: their first day."""
WITHOUT_DAY = (MONTH_FIRST, YEAR_MONTH, MONTH_YEAR, QUARTER, QUARTER_FIRST, QUARTER_CHINESE, WEEK)
EPOCH = r"^\d{9,19}(\.\d+)?$"
SINCE, UNTIL = 631_152_000, 2_208_988_800
"""Seconds since 1970 (or thousandths, millionths, billionths of them) are read as a moment from 1990 to 2040, where the column's name says
that it is one."""
EPOCHS_NAMED = re.compile(
    r"(?i)timestamp|epoch|unix|(^|[\W_])(ts|dt|at|dates?|datetime|times?|created|updated|modified)$|(?-i:[a-z](Time|Date|At))$|时间戳?$|日期$"
)
"""Stricter than of other dates: the time that something took is a number, however large."""
DAYS, FEWEST_DAYS = r"^(?:19|20)\d{6}$", 10
"""Eight digits that are days whatever the column is called, where all are and there are so many: of other numbers every thirtieth is."""
LARGE = 10_000_000.0
"""Floats are looked at as dates where nearly all are larger: 20240305."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ELSEWHERE = {
    "jän": 1, "ene": 1, "gen": 1, "fev": 2, "fév": 2, "mär": 3, "mrz": 3, "abr": 4, "avr": 4, "mai": 5, "mag": 5, "juin": 6, "giu": 6,
    "juil": 7, "lug": 7, "ago": 8, "aoû": 8, "aou": 8, "set": 9, "okt": 10, "ott": 10, "out": 10, "dez": 12, "dic": 12, "déc": 12,
}  # fmt: skip
FOREIGN = 200
"""Beginnings of months in German, French, Spanish, Italian and Portuguese that are unlike the English ones; numbered from here
on, for the year must have four digits: «3 out 10» is no date."""
NONE = np.iinfo(np.int64).min


class Style(NamedTuple):
    """How a column writes its dates."""

    day_first: bool = False
    """3/4/2020 is the third of April."""

    def told(self) -> str:
        """In words, beside a cell that is not written like that."""
        return tr(" (3/4/2020 is the third of April)") if self.day_first else ""


def style_of(column: pa.ChunkedArray) -> Style:
    """Day first where some cell can be read in no other way, or where dots separate (as in German)."""
    if not is_text(column.type):
        return Style()
    found = _fields(sample(narrow(text_of(column))), YEAR_LAST)
    first, following = found.get("first"), found.get("next")
    if first is None or following is None:
        return Style()
    over, under = int((first > 12).sum()), int((following > 12).sum())
    if over or under:
        return Style(over > under)
    return Style(bool(pc.any(pc.match_substring_regex(sample(text_of(column)), r"^\d{1,2}\.\d{1,2}\.\d")).as_py()))


def parse(column: pa.ChunkedArray, style: Style | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cells as moments in UTC (a zone in the cell is applied): values (N,) datetime64[s] with NaT where there is none,
    bad (N,) bool where a cell is not missing and yet no date.
    """
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type) and not pa.types.is_duration(column.type):
        values = np.array(pc.cast(column, pa.timestamp("s"), safe=False).to_numpy()).astype("datetime64[s]")
        return values, np.zeros(len(values), bool)
    if is_number(column.type):
        values = np.array(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)
        seconds = _epochs(values)
        open_ = np.isfinite(values) & (seconds == NONE)
        if open_.any():  # 20240305
            seconds[open_], open_[open_] = _written(text_of(column.filter(pa.array(open_))), Style())
    else:
        text = without(narrow(text_of(column)), WORDS)
        seconds, open_ = _written(text, style_of(column) if style is None else style)
    return seconds.view("datetime64[s]"), open_


def _written(text: pa.ChunkedArray, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since 1970 (N,) of what is written, NONE where nothing is or where it is no date; and which of the two it is no date in."""
    seconds = np.full(len(text), NONE, np.int64)
    open_ = np.asarray(pc.is_valid(text).to_numpy(), dtype=bool)
    long = pc.match_substring_regex(text, EPOCH)
    if pc.any(long).as_py():
        counted = pc.cast(pc.if_else(long, text, pa.scalar(None, pa.large_string())), pa.float64())
        seconds = _epochs(np.array(counted.to_numpy(), dtype=np.float64))
        open_ &= seconds == NONE
    digits = np.asarray(pc.fill_null(pc.match_substring_regex(text, r"\d"), False).to_numpy(), dtype=bool)
    for pattern in (YEAR_FIRST, LONG, SHORT, EIGHT, YEAR_LAST, DAY_NAMED, MONTH_NAMED, *WITHOUT_DAY):
        if not (tried := open_ & digits).any():  # no date is without
            break
        found = _moments(_fields(pc.filter(text, pa.array(tried)), pattern), style)
        if found is not None:
            seconds[tried] = found
            open_ &= seconds == NONE
    return seconds, open_


def _epochs(values: np.ndarray) -> np.ndarray:
    """(N,) float64 -> (N,) int64: seconds since 1970 of moments written so, or in a smaller unit; NONE for other numbers."""
    seconds = np.full(len(values), NONE, np.int64)
    for unit in (1.0, 1e3, 1e6, 1e9):
        with np.errstate(invalid="ignore"):
            meant = (values >= SINCE * unit) & (values < UNTIL * unit)
        seconds[meant] = np.floor(values[meant] / unit).astype(np.int64)
    return seconds


def _fields(text: pa.ChunkedArray, pattern: str) -> dict[str, np.ndarray]:
    """The named groups of a pattern as int64 (N,), -1 where absent; empty when no cell matches."""
    parts = pc.extract_regex(text, pattern)
    if isinstance(parts, pa.ChunkedArray):
        parts = parts.combine_chunks()
    hit = np.asarray(pc.is_valid(parts).to_numpy(zero_copy_only=False), dtype=bool)
    if not hit.any():
        return {}
    found = {"hit": hit}
    for number, item in enumerate(parts.type):
        cells = pc.if_else(pa.array(hit), parts.field(number), pa.scalar("", parts.field(number).type))
        found[item.name] = _integers(item.name, cells)
    return found


def _integers(name: str, cells: pa.Array) -> np.ndarray:
    """Groups of digits, month names (1..12), am/pm (0, 12) and zones (seconds east) as int64, -1 where empty."""
    if name in ("name", "half", "zone", "quarter"):
        codes = pc.dictionary_encode(cells)
        table = np.array([_word(name, word) for word in codes.dictionary.to_pylist()], np.int64)
        return table[codes.indices.to_numpy()]
    if name == "part":
        return np.full(len(cells), -1, np.int64)
    filled = pc.if_else(pc.equal(cells, ""), pa.scalar("-1", cells.type), cells)
    return np.array(pc.cast(filled, pa.int64()).to_numpy())


def _word(name: str, word: str) -> int:
    """One month name, half of the day or zone as a number."""
    short = word.lower()[:3]
    if name == "name":
        foreign = ELSEWHERE.get(word.lower()[:4], ELSEWHERE.get(short, 0))
        return MONTHS.index(short) + 1 if short in MONTHS else FOREIGN + foreign if foreign else 99 if word else -1
    if name == "quarter":
        return ("1234".find(word) if word.isascii() else "一二三四".find(word)) + 1
    if name == "half":
        return -1 if not word else 12 if short.startswith(("p", "下", "傍", "晚")) else 0
    if not word or word in ZONES:
        return 3600 * ZONES.get(word, 0)
    digits = word[1:].replace(":", "")
    return (-1 if word[0] == "-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def _moments(found: dict[str, np.ndarray], style: Style) -> np.ndarray | None:
    """Seconds since 1970 (N,), NONE where the fields are no date; None when nothing matched."""
    if not found:
        return None
    none = np.full_like(found["year"], -1)
    year, named = np.where(found["year"] < 0, found.get("short", none), found["year"]), found.get("name", none)
    named = np.where((named > FOREIGN) & (year >= 100), named - FOREIGN, named)
    year = np.where((year >= 0) & (year < 100), year + np.where(year < 70, 2000, 1900), year)
    if "first" in found:
        month, day = (found["next"], found["first"]) if style.day_first else (found["first"], found["next"])
    else:
        month, day = named if "name" in found else found.get("month", found.get("quarter", none) * 3 - 2), found.get("day", none)
    month = np.where(found["hit"], 1, month) if "week" in found else month
    day = np.where((day < 0) & found["hit"], 1, day)
    hour, minute, second = (np.maximum(found.get(name, none), 0) for name in ("hour", "minute", "second"))
    half = found.get("half", none)
    hour = np.where(half < 0, hour, hour % 12 + np.maximum(half, 0))
    good = found["hit"] & (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second <= 60)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    last = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    good &= day <= last - first
    if "week" in found:  # the first week is that of the fourth of January; day 0, the first of 1970, was a Thursday
        first += 3 - (first + 6) % 7 + 7 * (found["week"] - 1) + np.maximum(found["weekday"], 1) - 1
        good &= (found["week"] >= 1) & (found["week"] <= 53)
    seconds = (first + day - 1) * 86400 + hour * 3600 + minute * 60 + second - found.get("zone", none * 0)
    return np.where(good, seconds, NONE)


@final
class Date(Kind):
    """A moment or a day."""

    name: ClassVar[str] = "date"
    form: ClassVar[str | None] = "numbers"

    def recognise(self, name: str, cells: Cells) -> str | None:
        kind = cells.data.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return tr("the cells are dates")
        named = NAMED.search(name) is not None
        if not (is_text(kind) or (is_number(kind) and (named or _in_range(cells.data)))):
            return None
        if pa.types.is_floating(kind):
            known = pc.drop_null(cells.data).to_numpy()
            known = known[np.isfinite(known)]
            if not len(known) or (known > LARGE).mean() < 0.9:
                return None
        first = text_of(pc.drop_null(cells.data).slice(0, 100))
        if _numbers(first, 3 if named else 5) and not _months(first):
            return None
        text = without(narrow(text_of(cells.data)), WORDS)
        total = len(text) - text.null_count
        if not total:
            return None
        eight = pc.sum(pc.match_substring_regex(text, r"^\d{8}$")).as_py() or 0
        plain = pc.sum(pc.match_substring_regex(text, r"^(\d{4}[./]\d{1,2}|\d{1,2}[-/.]\d{4})$")).as_py() or 0
        counted = pc.sum(pc.match_substring_regex(text, EPOCH)).as_py() or 0
        days = pc.sum(pc.match_substring_regex(text, DAYS)).as_py() or 0
        if (
            (plain and not (named or _months(pc.drop_null(text))))
            or (eight and not named and days < total)
            or (counted and not EPOCHS_NAMED.search(name))
        ):
            return None
        _, bad = parse(cells.data)
        if eight and not named and (bad.any() or pc.count_distinct(text).as_py() < FEWEST_DAYS):
            return None
        return (
            tr("{share:.0%} of the cells that have a value are dates", share=1 - bad.sum() / total) if bad.sum() <= 0.05 * total else None
        )

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        style = style_of(cells.data)
        values, _ = parse(cells.data, style)
        known = values[~np.isnat(values)]
        clock = bool((known.astype(np.int64) % 86400 != 0).any())
        learned = learn(known.astype(np.int64) / 86400.0, config.bins)
        return {"style": list(style), "clock": clock, "year": True, "flag": len(known) < len(values), "count": config.bins, **learned}

    def field(self, state: Mapping[str, Any]) -> Field:
        circle, months = ([float(edge) for edge in np.linspace(low, 1, count)] for low, count in ((-1, 9), (0, 13)))
        bins = (
            [list(state["bins"])]
            + [months] * ("year" in state)
            + [circle] * (6 if state["clock"] else 4)
            + ([[0.0, 1.0]] if state["flag"] else [])
        )
        return Field("numbers", (len(bins),), facts={"bins": bins, "style": list(state["style"])})

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        moments, _ = parse(cells.data, Style(*state["style"]))
        missing_N = np.isnat(moments)
        seconds = np.where(missing_N, 0, moments.astype(np.int64))
        trend_NF = stack(np.where(missing_N, np.nan, seconds / 86400.0), state)
        months = moments.astype("datetime64[M]")
        days = np.where(missing_N, 0, (moments.astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64))
        told = "year" in state  # a run of before knows the month alone
        year = np.where(missing_N, 0, months.astype(np.int64) % 12 + told * days / 31) / 12
        turns = [year, ((seconds // 86400 + 3) % 7) / 7] + ([(seconds % 86400) / 86400] if state["clock"] else [])
        waves = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
        waves_NF = np.where(missing_N[:, None], 0.0, np.stack(waves, axis=1)).astype(np.float32)
        year_NF = year[:, None].astype(np.float32)[:, : int(told)]
        return Block(np.concatenate([trend_NF[:, :1], year_NF, waves_NF, trend_NF[:, 1:]], axis=1))


def _in_range(column: pa.ChunkedArray) -> bool:
    """Whether whole numbers may all be days of this century or the last: 20240305."""
    if not pa.types.is_integer(column.type):
        return False
    ends = pc.min_max(column).as_py()
    return ends["min"] is not None and ends["min"] >= 19_000_101 and ends["max"] <= 20_991_231


def _months(text: pa.ChunkedArray) -> bool:
    """Whether these cells are months before years, with zeros before them."""
    return bool(pc.all(pc.match_substring_regex(text, PADDED)).as_py() and pc.any(pc.starts_with(text, "0")).as_py())


def _numbers(text: pa.ChunkedArray, digits: int) -> bool:
    """Whether these cells are numbers that no date is written as (thousands of genes are named like `1007_s_at`): told without trying every
    way of writing dates.
    """
    return len(text) > 0 and bool(pc.all(pc.match_substring_regex(text, rf"^[+-]?\d{{1,{digits}}}(\.\d+)?$")).as_py())


KIND = Date()
