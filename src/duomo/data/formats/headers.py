"""Which line of a table names its columns, what stands above it, and names that are filled and unlike one another."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from duomo.core.kinds import date
from duomo.core.kinds.number import WORDS
from duomo.core.messages import tr
from duomo.data.formats.space_delimited import NUMBER

SENTENCE, CLOSING = ".!?…。！？", " \t\u00a0\u202f\"'»”’）)」』"
"""What sentences end with, and what may stand behind that."""
PHRASE = 4
"""Words that a name seldom has."""
MOST_ABOVE = 20
"""Lines that may stand above the names."""
INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls an index without a name in a Parquet file."""


def lead(rows: Sequence[Sequence[str]]) -> tuple[int, tuple[str, ...]]:
    """Rows above the column names (a title, a date, an empty line) and the note about them.

    They fill a quarter of the cells at most, with no number alone; beneath them come names and rows that are all as wide.
    """
    width = Counter(len(row) for row in rows[:200]).most_common(1)[0][0]
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows[: MOST_ABOVE + 1]]
    count = next((place for place, cells in enumerate(filled) if cells > max(1, width // 4)), 0)
    names, body = rows[count], rows[count + 1 : count + 200]
    names = names[:-1] if ends_open(names, body) else names
    alike = sum(len(row) == len(names) for row in body) >= 0.9 * len(body) > 0
    whole = filled[count] >= len(names) - 1 and not any(NUMBER.fullmatch(cell) for row in rows[:count] for cell in row)
    if not (count and alike and whole and has_header(names, body)):
        return 0, ()
    lines = "; ".join(
        " ".join(cell for cell in row if cell.strip())[:40] for row, cells in zip(rows[:count], filled, strict=False) if cells
    )
    return count, (tr("{count} lines above the column names were left out: {lines}.", count=count, lines=lines[:200]),)


def ends_open(names: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether a delimiter ends the line of names and no row."""
    return len(names) > 2 and not names[-1].strip() and len(body) > 0 and all(len(row) == len(names) - 1 for row in body)


def quoted_alone(head: str, delimiter: str, skipped: int) -> bool:
    """Whether the first line has all its cells in quotation marks and those below have some without: names, though they may be numbers."""
    lines = [line for line in head.splitlines() if line][skipped : skipped + 20]
    bare = [any(cell.strip()[:1] != '"' for cell in line.split(delimiter)) for line in lines]
    return len(lines) > 1 and not bare[0] and all(bare[1:])


def has_header(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """No header: the first row is numbers only, repeats itself, or looks like the rows below it (a sentence above sentences does)."""
    filled = [cell for cell in first if cell.strip()]
    numeric = [bool(NUMBER.fullmatch(cell)) for cell in filled]
    if _counts(first) and not any(map(_counts, body[:3])):
        return True
    if filled and all(numeric):
        return False
    body = [row for row in body if len(row) == len(first)]
    if not body:
        return True
    for place in range(len(first)):
        cells = [row[place] for row in body if row[place].strip()]
        if cells and sum(bool(NUMBER.fullmatch(cell)) for cell in cells) >= 0.9 * len(cells) and not NUMBER.fullmatch(first[place]):
            return True
    if _above_dates(first, body):
        return True
    if any(numeric) and not _is_years(filled):
        return False
    if sum(_is_sentence(first[place], [row[place] for row in body]) for place in range(len(first))) > 1:
        return False
    if in_two_scripts(first, body) and any(len(name.split()) >= PHRASE for name in first):
        return False
    repeats = [first[place] in {row[place] for row in body} for place in range(len(first)) if first[place].strip()]
    return not any(repeats)


def _above_dates(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether a word stands above a column of dates that is met nowhere among them and does not say that one is missing."""
    for place, name in enumerate(first):
        cells = [row[place] for row in body if row[place].strip()]
        known = ~np.isnat(date.parse(pa.chunked_array([pa.array([name, *cells])]))[0])
        word = name.strip().lower() not in WORDS and name not in cells and not NUMBER.fullmatch(name)
        if word and cells and not known[0] and known[1:].mean() >= 0.9:
            return True
    return False


def _counts(row: Sequence[str]) -> bool:
    """Whether its numbers count from 0 or 1, as frames and matrices call columns that have no name."""
    numbers = [cell for cell in row if NUMBER.fullmatch(cell)]
    return len(numbers) > 3 and any(numbers == [str(place + start) for place in range(len(numbers))] for start in (0, 1))


def _is_sentence(name: str, cells: list[str]) -> bool:
    """Whether it ends as sentences do, and half of the cells below too; a question may stand above answers, but not above questions."""
    ends = "?？" if name.rstrip(CLOSING).endswith(("?", "？")) else SENTENCE
    alike = [cell.rstrip(CLOSING).endswith(tuple(ends)) for cell in (name, *cells)]
    return alike[0] and 2 * sum(alike[1:]) >= len(cells)


def in_two_scripts(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether a row of two cells is written as those below it: one in Latin letters or the like, the other in another script."""
    body = [row for row in body if len(row) == len(first) and all(cell.strip() for cell in row)]
    scripts = [script_of(cell) for cell in first]
    alike = [sum(script_of(row[place]) == script for row in body) >= 0.9 * len(body) for place, script in enumerate(scripts)]
    return len(scripts) == 2 and "" not in scripts and scripts[0] != scripts[1] and len(body) > 1 and all(alike)


def script_of(text: str) -> str:
    """The script of most letters, of those that are not Latin where there are any: names and units stand in any text."""
    found = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in text[:200] if letter.isalpha())
    japanese = found.pop("HIRAGANA", 0) + found.pop("KATAKANA", 0)
    found["CJK"] += japanese
    others = {script: count for script, count in found.items() if count and script != "LATIN"}
    return max(others, key=lambda script: others[script]) if others else "LATIN" if found["LATIN"] else ""


def _is_years(cells: list[str]) -> bool:
    numbers = [int(cell) for cell in cells if cell.strip().isdigit()]
    return len(numbers) > 1 and all(1900 <= a < b <= 2100 for a, b in pairwise(numbers))


def repaired(names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Column names that are filled and unlike one another, and what was changed; a first column without one is where rows are named."""
    found: dict[str, None] = {}
    changed: list[str] = []
    first = "index" if len(names) > 1 and "index" not in names else "c0"
    for place, name in enumerate(names):
        clean = str(name).strip().replace("\0", "") or (f"c{place}" if place else first)
        clean = "index" if INDEX.fullmatch(clean) and "index" not in names else clean
        unlike, copy = clean, 2
        while unlike in found:
            unlike, copy = f"{clean}_{copy}", copy + 1
        if unlike != str(name).strip():
            changed.append(unlike)
        found[unlike] = None
    if not changed:
        return list(found), ()
    return list(found), (tr("Empty or repeated column names were fixed: {names}.", names=", ".join(changed[:10])),)
