"""Identifiers: name a row and say nothing about it; never an input."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.contract import Field
from duomo.core.errors import DataError
from duomo.core.kinds import number
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import THINGS, is_text, values_of
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig

NAMED = re.compile(
    r"(?i)(^|[_\s.-])(id|ids|uuid|guid|key|index|idx|rowid|row|no|nr|serial|code|hash|sha1|md5|filename|unnamed: 0"
    r"|uid|ssn|phone|mobile|telephone|(phone|mobile|telephone)[ _.-]?number)$"
    r"|(?-i:[a-z]I[dD]$)|[编序学工单证卡]号|流水号|手机号?(码|$)|[帐账]号|病[历案]号|住院号|门诊号|订单号|身份证|电话(号码)?$"
)
ROWS = re.compile(r"(?i)^(index|row[ _.]?names?|unnamed: 0|__index_level_0__)?$")
"""What R, pandas and we call the column in which rows are named: a name may be several words there."""
MEASURED = r"^[-+.,\d%$€£¥eE]+$|^\d{1,4}([/:]\d{1,4}){1,3}$"
"""Ranges, pairs and times (120/80, 14:35) say something of a row, though each may be met once."""
NUMBERED = r"^\d+[Xx]?$"
"""Also the number of a Chinese identity card, whose last digit may be an X."""
LONGEST_NAME = 64
UUID = r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
WIDE = r"[\x{2E80}-\x{9FFF}\x{AC00}-\x{D7AF}\x{F900}-\x{FAFF}]"


@final
class Id(Kind):
    """A name of the row."""

    name: ClassVar[str] = "id"
    form: ClassVar[str | None] = None

    def recognise(self, name: str, cells: Cells) -> str | None:
        whole = pa.types.is_integer(cells.data.type) or (THINGS.search(name) is not None and _is_whole(cells.data))
        if not whole and not is_text(cells.data.type):
            return None
        text = pc.drop_null(values_of(cells.data))
        if len(text) < 5 or len(pc.unique(text)) < 0.98 * len(text):
            return None
        named = bool(NAMED.search(name)) or name == ""
        if whole or _all(text, NUMBERED):
            return tr("nearly every cell is a different whole number, and the name says id") if named else None
        if _all(text, UUID):
            return tr("nearly every cell is a different UUID")
        if ROWS.search(name) and _names(text):
            return tr("every cell is a different name, where names of rows stand")
        if _any(text, r"\s") or _any(text, WIDE) or (not named and _all(text, MEASURED)) or number.KIND.recognise(name, cells) is not None:
            return None
        if named:
            return tr("nearly every cell is a different code, and the name says id")
        coded = len(text) >= 10 and _all(text, r"\d") and pc.max(pc.utf8_length(text)).as_py() <= 64
        many = len(text) >= 100 and _all(text, r"^[\w./:@+-]{3,64}$") and len(pc.unique(text)) == len(text)
        return tr("nearly every cell is a different code without spaces") if coded or many else None

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        raise DataError("An id column names rows and is never an input. Give it another kind (--kind COLUMN=category) to learn from it.")

    def field(self, state: Mapping[str, Any]) -> Field:
        raise DataError("An id column names rows and is never an input. Give it another kind (--kind COLUMN=category) to learn from it.")

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        return Block(np.zeros((len(cells.data), 0), np.float32))


def _is_whole(column: pa.ChunkedArray) -> bool:
    """Whether floats are whole numbers all: those that were read beside missing cells."""
    if not pa.types.is_floating(column.type):
        return False
    known = pc.drop_null(column)
    return bool(len(known) and pc.all(pc.equal(known, pc.floor(known))).as_py())


def _names(text: pa.ChunkedArray) -> bool:
    """Unlike one another, short, and no numbers."""
    unlike = len(pc.unique(text)) == len(text) and pc.max(pc.utf8_length(text)).as_py() <= LONGEST_NAME
    return unlike and not _any(text, r"^[-+.,\d%$€£¥eE\s]+$")


def _all(text: pa.ChunkedArray, pattern: str) -> bool:
    return float(pc.mean(pc.cast(pc.match_substring_regex(text, pattern), pa.int8())).as_py() or 0.0) > 0.98


def _any(text: pa.ChunkedArray, pattern: str) -> bool:
    return float(pc.mean(pc.cast(pc.match_substring_regex(text, pattern), pa.int8())).as_py() or 0.0) > 0.02


KIND = Id()
