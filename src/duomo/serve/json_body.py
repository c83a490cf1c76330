"""JSON from strangers."""

import json
from typing import Any

from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.serve.limits import DEEPEST, MOST_LISTS


def read_json(body: bytes) -> Any:
    """The value of a JSON text in UTF-8; DataError where it is none, or nested deeper than a request has reason to be."""
    opened = body.count(b"[") + body.count(b"{")
    if opened > MOST_LISTS:
        raise DataError("A request may hold {most:,} lists and objects at most; received {count:,}.", most=MOST_LISTS, count=opened)
    try:
        value = json.loads(body.decode("utf-8"))
    except JSON_FAULTS as error:
        raise DataError("The body must be JSON in UTF-8; it is not: {reason}.", reason=str(error)[:80]) from None
    level, inside = 1, [value] if opened > DEEPEST else []
    while inside := [
        part for one in inside for part in (one.values() if isinstance(one, dict) else one) if isinstance(part, (dict, list))
    ]:  # fmt: skip
        level += 1
        if level > DEEPEST:
            raise DataError("A request may nest lists and objects {most} deep at most.", most=DEEPEST)
    return value
