"""Numbers: read from cells of any writing, standardised with the training data's mean and spread.

Legend: N rows, F features of one column (the value, and a flag where training has missing cells).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.contract import Field
from duomo.core.kinds import units
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import MISSING, is_number, is_text, narrow, number_codes, numbers_things, text_of, without
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

WORDS = (*MISSING, "-", "--", "—", "——", "–", "/", ".", "*", "**", "\\", "\\n", "none", "nil", "missing", "unknown", "n.a.", "n.a", "n.d.",
         "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!", "not available", "不适用", "保密", "未提供",
         "k.a.", "k. a.", "n.v.", "keine angabe", "unbekannt",
         "缺失", "缺", "无", "空", "暂无", "未知", "不详", "未填", "未填写", "无数据", "未检出", "未测", "未查")  # fmt: skip
PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
DOT_GROUPS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$"
COMMA_DECIMAL = r"^[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+$"
SWAPPED = r"^[+-]?([1-9]\d{0,2}(\.\d{3})+,\d{1,2}|\d+,\d{2})$"
"""What means one thing alone in a column that writes others the other way round: 5.781,38 and 12,50 beside 95,588.62."""
CURRENCY = rf"(?i)^([+-]?)\s*(?:{units.SIGNS})\s*|\s*(?:{units.SIGNS})$"
CLOCK = r"^(?P<hours>\d{1,3}):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:\.\d+)?))?(?:\s*(?P<half>[aApP])\.?[mM]\.?)?$"
LAP = r"^(?P<hours>)(?P<minutes>\d{1,3}):(?P<seconds>[0-5]\d\.\d+)$"
"""A time of the day, or how long something took: hours."""
SECONDS = r"\s*(?:(?P<seconds>\d{1,2}(?:\.\d+)?) ?(?:秒|s|sec))?$"
HOURS = r"^(?P<hours>\d{1,4}) ?(?:小时|h|hours?|hrs?)\s*(?:(?P<minutes>\d{1,2}) ?(?:分钟?|m|min|mins|minutes?))?" + SECONDS
MINUTES = r"^(?P<hours>)(?P<minutes>\d{1,4}) ?(?:分钟?|mins?|minutes?)" + SECONDS
"""1小时30分 and 45分钟 in one column."""
DEGREES = (
    r"^(?P<hours>\d{1,3}(?:\.\d+)?)\s*°\s*(?:(?P<minutes>\d{1,2}(?:\.\d+)?)\s*['′’]\s*"
    r"(?:(?P<seconds>\d{1,2}(?:\.\d+)?)\s*(?:[\"″”]|''))?)?\s*(?P<side>[NSEW])?$"
)
"""Where something is on the globe; south and west are below zero."""
SCALES = {"百": 1e2, "千": 1e3, "万": 1e4, "亿": 1e8, "k": 1e3, "K": 1e3, "M": 1e6}
SCALED = r"^(?P<number>.*\d)\s*(?P<scale>[百千万亿]{1,3}|[kKM])$"
"""How many times a number is meant: 1.2万 is 12,000. Letters are units where a column has but one of them and no bare number."""
BOUND, FEW_BOUNDS = r"^[<>≤≥]=?\s*", 0.3
"""Where more cells than this share begin so, they are ranges and no numbers: <=50K."""
ABOUT, FLAGS = r"(?i)^(?:~|≈|约|大约|ca\.?|circa|approx\.?|about|around|rund|etwa|env\.?|environ)\s*(\d)", r"(\d)\s*[↑↓*†‡]+$"
"""What says that a number is no exact one, or high or low for its kind; the number is meant."""
FRACTION = r"^(?P<sign>[+-]?)(?:(?P<whole>\d+)(?: +|-))?(?P<part>\d{1,2})/(?P<of>2|3|4|5|8|16|32|64)$"
"""12 1/2, and what stands beside it: 7/8."""
AT_LEAST = r"(\d\d|[百千万亿kKM])\+$"
AMOUNT = r"^[+-]?\d[\d.,]*\s*(?:[百千]?[万亿]+|[百千]?元?$)?"
"""A number and how many times: a unit stands behind it. 千 before another word is the unit's own: 千克."""
PRICE = rf"(?i)^[+-]?\s*(?:{units.SIGNS})\s*\d[\d.,]*\s*((?:an?|per) .*|/.*)$"
"""An amount of money for each of something: $20 an hour, €3.50/kg."""
UNIT = r"[^\W\d_eE%°]{1,2}(?:[^\W\d_]|[/²³.]){0,6}|°[CF]?|[㎡㎥]|[^\W\d_]?/[^\W\d_]{1,6}"
LONG_UNIT, UNITED = r"[^\W\d_][^。！？!?]{0,7}|[A-Za-z][ -~]{0,15}|[^\W\d_]{9,15}|[/×][^\s]{1,9}", 0.95
"""What a unit looks like, what else may stand behind the numbers of a column without any alone (von 5; /10; ×10^9/L), and in which share of
the cells with more than digits it must be the same."""
ROWS = 1_000_000
DISTINCT, REPEATS = 256, 8
OFTEN, SPIKES = 0.03, 4


class Style(NamedTuple):
    """How a column writes its numbers."""

    comma: bool = False
    """3,5 means three and a half."""
    percent: bool = False
    """Cells end in %: 12% is 0.12."""
    unit: str = ""
    """What stands behind each number: kg."""
    bounded: bool = False
    """Some cells tell a bound, as laboratories do: <0.01 is 0.01."""
    always: bool = False
    """Every number ends in %: 50 alone may be half or fifty times, so it is none."""

    def to_list(self) -> list[Any]:
        """As a run folder holds it; the last two only where they hold, so that an older Duomo reads all other runs."""
        return list(self if self.always else self[:4] if self.bounded else self[:3])

    def told(self) -> str:
        """In words, beside a cell that is not written like that."""
        return tr(" (3,5 is three and a half)") if self.comma else tr(" (with %, as in 50%)") if self.always else ""


def style_of(column: pa.ChunkedArray) -> Style:
    """The one writing that fits the whole column; what contradicts itself is read as 1,234.5 without percent."""
    if not is_text(column.type):
        return Style()
    text, plain = _written(column)
    return Style() if plain is None else _style(text, plain)


def _written(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """The cells as text, and which are digits with a dot at most; None where all that are there are."""
    text = text_of(column)
    plain = pc.match_substring_regex(text, PLAIN)
    if pc.all(plain).as_py():
        return text, None
    text = without(narrow(text), WORDS)
    if pc.any(signs := pc.match_substring_regex(text, "[¼-¾⅐-⅞]")).as_py():  # 12½
        apart = pc.utf8_normalize(pc.replace_substring_regex(text, "([¼-¾⅐-⅞])", r" \1"), "NFKC")
        text = pc.if_else(signs, pc.utf8_trim_whitespace(pc.replace_substring(apart, "\u2044", "/")), text)
    text = pc.replace_substring_regex(pc.replace_substring_regex(text, ABOUT, r"\1"), FLAGS, r"\1")
    return text, pc.match_substring_regex(text, PLAIN)


def _style(text: pa.ChunkedArray, plain: pa.ChunkedArray) -> Style:
    odd = pc.drop_null(pc.filter(text, pc.invert(plain)))
    if not len(odd):
        return Style()
    known = len(text) - text.null_count
    bounded = 0 < int(pc.sum(pc.match_substring_regex(odd, BOUND)).as_py()) <= FEW_BOUNDS * known
    odd = pc.replace_substring_regex(odd, BOUND, "") if bounded else odd
    percent = int(pc.sum(pc.ends_with(odd, "%")).as_py() or 0) > 0.5 * known
    unit = _unit(odd, bool(pc.any(plain).as_py()))
    bare, _ = _bare(odd, unit)
    groups, comma = pc.match_substring_regex(bare, DOT_GROUPS), pc.match_substring_regex(bare, COMMA_DECIMAL)
    only_comma = pc.any(pc.and_(comma, pc.invert(groups))).as_py()
    only_dot = pc.any(pc.and_(groups, pc.or_(pc.match_substring(bare, "."), pc.match_substring_regex(bare, ",.*,")))).as_py()
    fraction = pc.and_(pc.match_substring_regex(text, r"\d\.\d"), pc.invert(pc.match_substring_regex(text, r"\.\d{3}(\D|$)")))
    comma = bool(only_comma and not only_dot and not pc.any(fraction).as_py())
    return Style(comma, percent, unit, bounded, percent and not pc.any(plain).as_py())


def _unit(odd: pa.ChunkedArray, bare: bool) -> str:
    """The one unit behind nearly all numbers that have more than digits, or the most frequent of one dimension; empty where there is none.
    `bare`: other cells have none."""
    behind = pc.replace_substring_regex(pc.replace_substring_regex(odd, PRICE, r"\1"), AMOUNT, "")
    counted = pc.value_counts(behind)
    counts, words = counted.field("counts").to_numpy(), counted.field("values").to_pylist()
    unit = str(words[int(counts.argmax())])
    if unit in SCALES and ((bare and unit != "M") or len(SCALES.keys() & words) > 1):
        return ""  # 800 beside 1.2k
    if counts.max() >= UNITED * len(odd) and re.fullmatch(UNIT if bare else f"{UNIT}|{LONG_UNIT}", unit):
        return unit
    return "" if bare else units.common([str(word) for word in words], counts, UNITED * len(odd))


def _bare(text: pa.ChunkedArray, unit: str = "") -> tuple[pa.ChunkedArray, np.ndarray]:
    """Cells without unit, currency, percent sign and spaces between digits, brackets as minus; and how many times each is meant."""
    text, times = units.bare(text, unit) if unit else (text, np.ones(len(text)))
    text = pc.replace_substring(text, "\u2212", "-")
    text = pc.replace_substring_regex(text, r"^\((.*)\)$|^(\d.*\d|\d) ?-$", r"-\1\2")
    text = pc.replace_substring_regex(text, CURRENCY, r"\1")
    text = pc.replace_substring_regex(text, r"\s*%$", "")
    if pc.any(pc.match_substring_regex(text, r"[百千万亿kKM+]$")).as_py():
        text = pc.replace_substring_regex(text, AT_LEAST, r"\1")
        found = pc.extract_regex(text, SCALED)
        words = pc.struct_field(found, "scale")
        for word in pc.unique(pc.drop_null(words)).to_pylist():
            times[np.asarray(pc.fill_null(pc.equal(words, word), False))] *= math.prod(SCALES[sign] for sign in word)
        text = pc.coalesce(pc.struct_field(found, "number"), text)
    spaced = pc.match_substring_regex(text, r"^[+-]?\d{1,3}([ '’]\d{3})+([.,]\d+)?$")
    return pc.if_else(spaced, pc.replace_substring_regex(text, r"[ '’]", ""), text), times


def parse(column: pa.ChunkedArray, style: Style | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cells as numbers: values (N,) float64 with nan where there is none, bad (N,) bool where a cell is not missing
    and yet no finite number. `style` is found from the column when None: pass the training column's for a few rows.
    """
    if is_number(column.type) or pa.types.is_boolean(column.type):
        numbers = pc.cast(column, pa.float64(), safe=False) if not pa.types.is_boolean(column.type) else column.cast(pa.int8())
        values = np.array(pc.cast(numbers, pa.float64()).to_numpy(), dtype=np.float64)
        bad = ~np.isnan(values) if style and style.always else np.isinf(values)
        values[bad] = np.nan
        return values, bad
    text, plain = _written(column)
    if plain is None and not (style and (style.comma or style.always)):
        values = np.array(pc.cast(text, pa.float64()).to_numpy(), dtype=np.float64)
        return np.where(np.isinf(values), np.nan, values), np.isinf(values)
    plain = pc.match_substring_regex(text, PLAIN) if plain is None else plain
    numbers = pc.cast(pc.if_else(plain, text, pa.scalar(None, pa.large_string())), pa.float64())
    values = np.array(numbers.to_numpy(), dtype=np.float64)
    style = _style(text, plain) if style is None else style
    odd = np.asarray(pc.fill_null(pc.invert(plain), False).to_numpy(), dtype=bool)
    bad = np.zeros(len(values), bool)
    if style.comma:
        odd |= np.asarray(pc.fill_null(pc.match_substring(text, "."), False).to_numpy(), dtype=bool)
    if odd.any():
        values[odd], bad[odd] = _odd(pc.filter(text, pa.array(odd)), style)
    if style.always:
        bad |= (values != 0) & ~np.isnan(values) & ~odd  # 0 is 0 %
    bad |= np.isinf(values)
    values[bad] = np.nan
    return values, bad


def _odd(text: pa.ChunkedArray, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Cells with more than digits: values and which are no numbers."""
    text = pc.replace_substring_regex(text, BOUND, "") if style.bounded else text
    percent = np.asarray(pc.ends_with(text, "%").to_numpy(), dtype=bool)
    bare, times = _bare(text, style.unit)
    if style.comma:
        right = pc.match_substring_regex(bare, r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?$")
        bare = pc.replace_substring(pc.replace_substring(bare, ".", ""), ",", ".")
    else:
        swapped = pc.match_substring_regex(bare, SWAPPED)
        bare = pc.if_else(swapped, pc.replace_substring(pc.replace_substring(bare, ".", ""), ",", "."), bare)
        right = pc.or_(pc.match_substring_regex(bare, PLAIN), pc.match_substring_regex(bare, DOT_GROUPS))
        bare = pc.replace_substring(bare, ",", "")
    numbers = pc.cast(pc.if_else(right, bare, pa.scalar(None, bare.type)), pa.float64())
    values = np.array(numbers.to_numpy(), dtype=np.float64) * times
    values[percent] /= 100.0
    for written in (CLOCK,) if style.unit else (CLOCK, LAP, HOURS, MINUTES, DEGREES):
        if not np.isnan(values).any():
            break
        found = pc.extract_regex(text, written)
        if found.null_count < len(found):
            parts = [pc.struct_field(found, name) for name in ("hours", "minutes", "seconds")]
            hours, minutes, seconds = (pc.cast(pc.if_else(pc.equal(part, ""), "0", part), pa.float64()).to_numpy() for part in parts)
            if written == CLOCK:
                hours = np.where(_is(found, "half", "apAP"), hours % 12 + 12 * _is(found, "half", "pP"), hours)
            sign = 1 - 2 * _is(found, "side", "SW") if written == DEGREES else 1
            values = np.where(np.isnan(hours), values, sign * (hours + minutes / 60 + seconds / 3600))
    values = np.where(np.isnan(values), _fractions(bare) * times, values)
    bad = np.isnan(values) | (percent & (not style.percent))
    return np.where(bad, np.nan, values), bad


def _fractions(text: pa.ChunkedArray) -> np.ndarray:
    """(N,) float64: 12 1/2 as 12.5; nan of what is not written so, and of a part that is no part (5/4)."""
    found = pc.extract_regex(text, FRACTION)
    if found.null_count == len(found):
        return np.full(len(text), np.nan)
    whole, part, of = (
        pc.cast(pc.if_else(pc.equal(one, ""), "0", one), pa.float64()).to_numpy()
        for one in (pc.struct_field(found, name) for name in ("whole", "part", "of"))
    )
    return np.where(part < of, (1 - 2 * _is(found, "sign", "-")) * (whole + part / of), np.nan)


def _is(found: pa.ChunkedArray, name: str, letters: str) -> np.ndarray:
    """(N,) bool: whether that group is one of the letters."""
    return np.asarray(pc.fill_null(pc.is_in(pc.struct_field(found, name), pa.array([*letters], pa.large_string())), False), bool)


@final
class Number(Kind):
    """A quantity."""

    name: ClassVar[str] = "number"
    form: ClassVar[str | None] = "numbers"

    def recognise(self, name: str, cells: Cells) -> str | None:
        if numbers_things(name, cells.data):
            return None
        if is_number(cells.data.type):
            return tr("the cells are numbers")
        if not is_text(cells.data.type):
            return None
        if number_codes(without(text_of(cells.data), WORDS)):
            return None
        values, bad = parse(cells.data)
        found = int(np.isfinite(values).sum())
        if not found or bad.sum() > 0.05 * (found + bad.sum()):
            return None
        if met := units.others(text_of(cells.data), style_of(cells.data).unit):
            return tr("numbers in several units ({units}), read as {unit}", units=", ".join(met), unit=met[0])
        return tr("{share:.0%} of the cells that have a value are numbers", share=found / (found + int(bad.sum())))

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        style = style_of(pa.chunked_array(cells.data.chunks[:1], cells.data.type) if len(cells.data) > ROWS else cells.data)
        parts = [parse(cells.data.slice(start, ROWS), style)[0] for start in range(0, len(cells.data), ROWS)]
        values = np.concatenate(parts) if parts else np.zeros(0)
        known = values[np.isfinite(values)]
        flagged = len(known) < len(values)
        known = known[:: max(1, len(known) // ROWS)]
        return {"style": style.to_list(), "flag": bool(flagged), **learn(known, config.bins)}

    def field(self, state: Mapping[str, Any]) -> Field:
        bins = [list(state["bins"])] + ([[0.0, 1.0]] if state["flag"] else [])
        spread = [spread_of(state)] + ([[0.0, 1.0, 0.0]] if state["flag"] else [])
        return Field("numbers", (len(bins),), facts={"bins": bins, "spread": spread, "style": list(state["style"])})

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        values, _ = parse(cells.data, Style(*state["style"]))
        return Block(stack(values, state))


def learn(known: np.ndarray, bins: int) -> dict[str, Any]:
    """Centre, scale and quantile bins (of standardised values) of finite numbers (N,).

    With heavy tails the median and the interquartile range / 1.349 stand for mean and standard deviation, so that one typing error does not
    flatten a column, and what lies far out (inverse hyperbolic sine) is told by its logarithm: such columns hold sums of money and counts
    whose largest values tell most. Other values are clipped 20 deviations away.
    """
    if not len(known):
        return {"centre": 0.0, "scale": 1.0, "low": -20.0, "high": 20.0, "bins": [0.0, 1.0]}
    low, centre, high = np.percentile(known, [25, 50, 75])
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(known.mean()), float(known.std())
    robust = (high - low) / 1.349
    heavy = not (np.isfinite(mean) and np.isfinite(deviation)) or bool(robust > 0 and deviation > 5 * robust)
    if heavy:
        mean, deviation = float(centre), float(robust)
    tiny = 1e-12 * max(1.0, abs(mean))
    scale = deviation if np.isfinite(deviation) and deviation > tiny else 1.0
    state = {"centre": float(mean), "scale": float(scale), "low": -20.0, "high": 20.0, "heavy": heavy}
    return state | {"bins": edges(standardise(known, state), bins)}


def spread_of(state: Mapping[str, Any]) -> list[float]:
    """Centre, scale, and 1 where what remained is told by its inverse hyperbolic sine."""
    return [state["centre"], state["scale"], float(state.get("heavy", False))]


def edges(values: np.ndarray, bins: int) -> list[float]:
    """Rising edges of bins of values (N,), at least two: each value of a discrete column, else quantiles of the values.

    Discrete is a column of at most `DISTINCT` values, each of them met `REPEATS` times on average: a rare one may decide
    (a capital gain of 5,178 and not of 5,013). Else quantiles of the distinct values join those of the values, so that a
    column that is mostly zero keeps bins for the rest; and each of the `SPIKES` values that `OFTEN` of the cells hold (none,
    not yet, unlimited) has its neighbours as edges too, so that it can be told from them: at most 2 `bins` + 2 + 3 `SPIKES` edges.
    """
    values = values.astype(np.float32)
    distinct, counts = np.unique(values, return_counts=True)
    if not len(distinct) <= min(DISTINCT, len(values) // REPEATS):
        often = np.argsort(-counts, kind="stable")[:SPIKES]
        often = often[counts[often] >= OFTEN * len(values)]
        around = distinct[np.clip(np.concatenate([often - 1, often, often + 1]), 0, len(distinct) - 1)]
        shares = np.linspace(0, 1, max(2, bins + 1))
        spread = np.concatenate([np.quantile(values, shares), np.quantile(distinct, shares)]).astype(np.float32)
        distinct = np.unique(np.concatenate([spread, around]))
    return [float(edge) for edge in distinct] if len(distinct) > 1 else [float(distinct[0]), float(distinct[0]) + 1.0]


def standardise(values: np.ndarray, state: Mapping[str, Any]) -> np.ndarray:
    """(N,) float64 -> (N,) float32 around zero; nan stays nan."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (values - state["centre"]) / state["scale"]
        if np.any(heavy := state.get("heavy", False)):  # a run of before clips what lies far out
            scaled = np.where(heavy, np.arcsinh(scaled), scaled)
        return np.clip(scaled, state["low"], state["high"]).astype(np.float32)


def stack(values: np.ndarray, state: Mapping[str, Any]) -> np.ndarray:
    """(N,) with nan -> (N, 1), or (N, 2) with a flag for missing: nan becomes 0."""
    scaled_N = standardise(values, state)
    missing_N = np.isnan(scaled_N)
    scaled_N[missing_N] = 0.0
    return np.stack([scaled_N, missing_N.astype(np.float32)], axis=1) if state["flag"] else scaled_N[:, None]


def matrix(batches: Sequence[pa.RecordBatch], states: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N, F) of columns that hold float64 already: what `Number.encode` gives for each, side by side, in one pass over all of them."""
    parts = [batch.to_tensor(null_to_nan=True).to_numpy() for batch in batches]
    values_NC = parts[0] if len(parts) == 1 else np.concatenate(parts)
    values_NC = np.where(np.isinf(values_NC), np.nan, values_NC)
    learned = {name: np.array([state.get(name, False) for state in states]) for name in ("centre", "scale", "low", "high", "heavy")}
    scaled_NC = standardise(values_NC, learned)
    missing_NC = np.isnan(scaled_NC)
    scaled_NC[missing_NC] = 0.0
    flagged = [place for place, state in enumerate(states) if state["flag"]]
    if not flagged:
        return scaled_NC
    order = np.argsort([*range(len(states)), *flagged], kind="stable")
    return np.concatenate([scaled_NC, missing_NC[:, flagged].astype(np.float32)], axis=1)[:, order]


KIND = Number()
