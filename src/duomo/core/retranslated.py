"""What a run keeps in the language of who trained it, in that of who reads: a sentence that `tr` said is found again by its template.

Values stand as they were written then; those that are sentences of ours are retold too.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from typing import Any

from duomo.core.messages import COUNTED, OF_ONE, chinese, language, one_of, singular

PLACE = re.compile(r"\{(\w+(?:!r)?)(?:!s)?(?::[^{}]*)?\}")
WRITTEN = r"(?=['\"\[{(\d-]|None|True|False)"
"""How what stands in a text by its `repr` begins."""
VARIED = re.compile(rf"\b(?:{COUNTED}|{'|'.join(OF_ONE)})\b")
"""Words of an English template that are others where there is one of a thing."""
TELLING = {"en": 4, "zh": 3}
"""Letters in a row, of the language that is left, by which a template is looked for."""
LONG, MOST = 12, 16
"""A value shorter than this is a name or a number, never a sentence; more sentences than this are no text of ours."""
ENDS = re.compile(r"(?<=[.!?:]) +|(?<=[。！？])")


def retold(text: str) -> str:
    """In the reader's language where it is a sentence, or several, of ours in the other one; else as it is."""
    return _retold(text, language())


def retell(value: Any, keys: Collection[str], within: bool = False) -> Any:
    """JSON values with the texts under these keys retold."""
    if isinstance(value, dict):
        return {name: retell(part, keys, name in keys) for name, part in value.items()}
    if isinstance(value, list):
        return [retell(part, keys, within) for part in value]
    return retold(value) if within and isinstance(value, str) else value


@lru_cache(4096)
def _retold(text: str, reader: str) -> str:
    pieces, said, ours = ENDS.split(text), list[str](), False
    if len(pieces) > MOST:
        return text
    while pieces:
        for count in range(len(pieces), 0, -1):
            whole = "".join(piece if piece.endswith(("。", "！", "？")) else f"{piece} " for piece in pieces[:count]).rstrip(" ")
            found = _sentence(whole, reader)
            if found is not None or count == 1:
                said.append(whole if found is None else found)
                ours |= found is not None
                del pieces[:count]
                break
    return ("" if reader == "zh" else " ").join(said) if ours else text


def _sentence(text: str, reader: str) -> str | None:
    """The text by the template that it fits with the fewest letters left to values; None where it fits none."""
    best, most = None, 0
    for anchor, told, other, own in _templates(reader):
        if anchor in text and own > most and (found := _pattern(told).fullmatch(text)):
            values = found.groupdict()
            if own >= LONG or not any(" " in value for value in values.values()):  # few letters tell only what is hardly more
                best, most = (other, values), own
    if best is None:
        return None
    values = {name: _retold(value, reader) if len(value) >= LONG else value for name, value in best[1].items()}
    template = singular(best[0], {name: 1 for name, value in values.items() if value == "1"}) if reader == "en" else best[0]
    return PLACE.sub(lambda place: values.get(place[1].removesuffix("!r"), ""), _bare(template))


@cache
def _templates(reader: str) -> list[tuple[str, str, str, int]]:
    """What a text must hold to fit a template of the other language, that template, the reader's own, and how many letters are fixed."""
    pairs = [(english, other) if reader == "zh" else (other, english) for english, other in chinese().items()]
    fixed = [list(_fixed(told)) for told, _ in pairs]
    least = TELLING["en" if reader == "zh" else "zh"]
    return [(anchor, *pair, sum(map(len, parts))) for pair, parts in zip(pairs, fixed, strict=True)
            if len(anchor := max(parts, key=len)) >= least]  # fmt: skip


def _fixed(template: str) -> Iterator[str]:
    """What stands in every text of the template."""
    for part in map(_bare, PLACE.split(template)[::2]):
        place = 0
        for word in VARIED.finditer(part):  # of a noun its singular stands in both
            yield part[place : word.start()] + ("" if word[0] in OF_ONE else one_of(word[0]))
            place = word.end()
        yield part[place:]


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """A value ends where what follows it first stands; groups that are not gone back into keep that quick."""
    literals, names = PLACE.split(template)[::2], PLACE.findall(template)
    found = _literal(literals[0])
    for place, (name, literal) in enumerate(zip(names, literals[1:], strict=True)):
        bare = name.removesuffix("!r")
        value = f"{WRITTEN if bare != name else ''}(?P<{bare}>.*?)" if name not in names[:place] else f"(?P={bare})"
        found += f"{value}{_literal(literal)}" if place == len(names) - 1 else f"(?>{value}{_literal(literal)})"
    return re.compile(found, re.DOTALL)


def _literal(text: str) -> str:
    found, place, text = "", 0, _bare(text)
    for word in VARIED.finditer(text):
        found += f"{re.escape(text[place : word.start()])}(?:{word[0]}|{OF_ONE.get(word[0]) or one_of(word[0])})"
        place = word.end()
    return found + re.escape(text[place:])


def _bare(text: str) -> str:
    """A part of a template as `format` leaves it."""
    return text.replace("{{", "{").replace("}}", "}")
