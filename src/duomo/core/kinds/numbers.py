"""Several numbers in a cell, between the same signs in every row: 120/80, (41.7, -87.5), 18 x 63 cm, 10–20. Each is standardised by itself.

Legend: N rows, C numbers of a cell.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.contract import Field
from duomo.core.kinds import number
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import is_text, narrow, sample, text_of, without
from duomo.core.kinds.id import NAMED
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

POWER = r"(?:[eE][-+]?\d+)?"
FORMS = (
    rf"(?:(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?|\.\d+){POWER}",
    rf"(?:\d+(?:\.\d+)?|\.\d+){POWER}",
    r"(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?",
)
"""How a number is written: 1,234.5 or 1234.5, the latter alone (commas stand between numbers), or 1.234,5; a power of ten may follow."""
MOST, LONGEST, LOOKED = 16, 48, 1000
"""Numbers and letters of a cell at most (a longer one is a sentence), and cells that tell the signs."""
SAME, FEW = 0.95, 20
"""Share of the cells that must have the same signs, and so many different ones that a category holds them as well."""
CODED, DIGITS, PHONE = 0.02, 5, 9
"""Share of cells with a leading zero from which they are codes; digits that codes with hyphens have at least; a telephone number's."""
HYPHENS, LETTERS = ("", *"-/_#"), re.compile(r"(?<=.)\([^()]*\)|([^\W\d_]{2,})")
"""Signs between codes; a remark in brackets behind numbers, or a word."""


class Style(NamedTuple):
    """How a column writes its numbers."""

    form: int = 0
    signs: Sequence[str] = ()
    """What stands before, between and behind the numbers, without spaces."""

    def told(self) -> str:
        """In words, beside a cell that is not written like that."""
        return tr(" (as in {form})", form=self.shown())

    def shown(self) -> str:
        return "…".join([self.signs[0], *(sign or " " for sign in self.signs[1:-1]), self.signs[-1]])

    def pattern(self) -> str:
        """A regular expression with a group for each number."""
        first, *between, last = (r"\s*".join(map(re.escape, sign)) for sign in self.signs)
        groups = [rf"(?P<n{place}>[-+]?(?:{FORMS[self.form]}))" for place in range(len(between) + 1)]
        parts = [rf"\s*{sign}\s*{group}" if sign else rf"\s+{group}" for sign, group in zip(between, groups[1:], strict=True)]
        return rf"^{first}\s*{groups[0]}{''.join(parts)}\s*{last}$"


def style_of(column: pa.ChunkedArray) -> Style:
    """The signs that nearly all cells share; no style where there are none."""
    return _style(sample(_written(column), LOOKED)) if is_text(column.type) or pa.types.is_nested(column.type) else Style()


def _written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = without(narrow(text_of(column)), number.WORDS)
    empty = pc.match_substring_regex(text, r"^\[\s*\]$")
    return pc.replace_substring(pc.if_else(empty, pa.scalar(None, text.type), text), "\u2212", "-")


def _style(text: pa.ChunkedArray) -> Style:
    cells = pc.drop_null(text)
    if not len(cells) or pc.mean(pc.cast(pc.match_substring_regex(cells, rf"^.{{0,{LONGEST}}}$"), pa.int8())).as_py() < SAME:
        return Style()
    found: list[Style] = []
    for form, written in enumerate(FORMS):
        one = re.compile(rf"(?:(?<![\w.)\]])[-+])?(?<![\d.])(?:{written})")
        counted = Counter(tuple("".join(sign.split()) for sign in one.split(cell)) for cell in cells.to_pylist())
        signs, count = counted.most_common(1)[0]
        if count < SAME * len(cells) or not 2 < len(signs) <= MOST + 1 or re.search(r"\d|[=+^]", "".join(signs)):
            continue
        if np.median([sum(map(bool, LETTERS.findall(one.sub(" ", cell)))) for cell in cells.to_pylist()]) < len(signs):  # else a sentence
            found.append(Style(form, signs))
    return min(found, key=lambda style: len(style.signs), default=Style())


def parse(column: pa.ChunkedArray, style: Style | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Values (N, C) float64 with nan where there are none, and bad (N,) bool where a cell is there and is not written like that."""
    text, style = _written(column), style_of(column) if style is None else style
    if len(style.signs) < 3:
        return np.full((len(text), 1), np.nan), np.asarray(pc.is_valid(text).to_numpy(), bool)
    found = pc.extract_regex(text, style.pattern())
    bad = np.asarray(pc.and_(pc.is_valid(text), pc.is_null(found)).to_numpy(), bool)
    values = []
    for place in range(len(style.signs) - 1):
        part = pc.replace_substring(pc.struct_field(found, f"n{place}"), "." if style.form == 2 else ",", "")
        part = pc.replace_substring(part, ",", ".") if style.form == 2 else part
        values.append(np.array(pc.cast(pc.replace_substring_regex(part, r"^\+", ""), pa.float64()).to_numpy(), np.float64))
    values_NC = np.stack(values, axis=1)
    bad |= np.isinf(values_NC).any(axis=1)
    return np.where(bad[:, None], np.nan, values_NC), bad


def _are_codes(name: str, text: pa.ChunkedArray, signs: Sequence[str], values_NC: np.ndarray) -> bool:
    """Whether the numbers name things: a telephone, a part, a receipt. They have leading zeros, letters before them, or hyphens between
    numbers that are neither a range nor met again."""
    distinct = pc.count_distinct(text).as_py() / len(text)
    if _often(text, r"^[^\d\s]*\pL[-_/#:]*\d") or "_" in "".join(signs) or (distinct > 1 - CODED and NAMED.search(name)):
        return True
    constant = np.ptp(values_NC, axis=0) == 0
    if any(map(str.isalpha, "".join(signs))) and (~constant).sum() < 2:
        return True
    widths_NC = np.floor(np.log10(np.maximum(np.abs(values_NC), 1))) + 1
    even = bool((np.ptp(widths_NC, axis=0) == 0).all()) and bool((values_NC == np.round(values_NC)).all())
    if even and len(signs) > 3 and "-" in "".join(signs[1:-1]) and widths_NC[0].sum() >= PHONE and distinct > 0.5:
        return True
    if not all(sign in HYPHENS for sign in signs[1:-1]) or (values_NC != np.round(values_NC)).any():
        return False
    if _often(text, r"(^|[^\d.,])0\d"):
        return True
    hyphens = set(signs[1:-1]) != {"/"}
    if hyphens and (len(signs) > 3 or bool(constant.any())):
        return True
    if not hyphens or widths_NC.sum(axis=1).max() < DIGITS:
        return False
    rising = bool((values_NC[:, 1] >= values_NC[:, 0]).mean() >= SAME)
    if (np.ptp(widths_NC, axis=0) == 0).all():
        return not rising or bool(widths_NC[0, 0] != widths_NC[0, 1])
    return not rising and distinct > 0.5


def _often(text: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.mean(pc.cast(pc.match_substring_regex(text, pattern), pa.int8())).as_py() > CODED)


@final
class Numbers(Kind):
    """Several quantities side by side."""

    name: ClassVar[str] = "numbers"
    form: ClassVar[str | None] = "numbers"

    def recognise(self, name: str, cells: Cells) -> str | None:
        if not (is_text(cells.data.type) or pa.types.is_nested(cells.data.type)):
            return None
        text = pc.drop_null(_written(cells.data))
        if not len(text) or pc.count_distinct(text).as_py() <= min(FEW, 0.5 * len(text)):
            return None
        style = _style(sample(text, LOOKED))
        if len(style.signs) < 3 or number.KIND.recognise(name, cells) is not None:
            return None
        values_NC, bad = parse(text, style)
        if bad.mean() > 1 - SAME or _are_codes(name, text.filter(pa.array(~bad)), style.signs, values_NC[~bad]):
            return None
        return tr("each cell holds {count} numbers: {form}", count=values_NC.shape[1], form=style.shown())

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        style = style_of(cells.data)
        values_NC, _ = parse(cells.data, style)
        known_NC = values_NC[np.isfinite(values_NC).all(axis=1)]
        parts = [number.learn(known_NC[:, place], config.bins) for place in range(values_NC.shape[1])]
        return {"style": [style.form, list(style.signs)], "flag": len(known_NC) < len(values_NC), "parts": parts}

    def field(self, state: Mapping[str, Any]) -> Field:
        flag = bool(state["flag"])
        bins = [list(part["bins"]) for part in state["parts"]] + [[0.0, 1.0]] * flag
        spread = [number.spread_of(part) for part in state["parts"]] + [[0.0, 1.0, 0.0]] * flag
        return Field("numbers", (len(bins),), facts={"bins": bins, "spread": spread, "style": list(state["style"])})

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        values_NC, _ = parse(cells.data, Style(*state["style"]))
        scaled = [number.standardise(values_NC[:, place], part) for place, part in enumerate(state["parts"])]
        scaled_NC = np.stack(scaled, axis=1)
        missing_N = np.isnan(scaled_NC).any(axis=1)
        scaled_NC[missing_N] = 0.0
        return Block(np.concatenate([scaled_NC, missing_N[:, None].astype(np.float32)], 1) if state["flag"] else scaled_NC)


KIND = Numbers()
