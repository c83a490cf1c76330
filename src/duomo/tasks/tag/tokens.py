"""Cells as tokens with their places in a text: lists of tokens as they are, texts cut as the training texts were.

Legend: T tokens of a row.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from duomo.core.files import JSON_FAULTS
from duomo.tasks.tag.labels import Span

PATTERNS = {
    "characters": re.compile(r"\S"),
    "signs": re.compile(r"[A-Za-z0-9]+|\S"),
    "spaces": re.compile(r"\S+"),
    "words": re.compile(r"(?:[^\W\d_]\.){2,}|\d+(?:[.,:]\d+)*|[^\W_]+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|[^\W_]+(?:-[^\W_]+)*|\.{2,}|\S"),
}
"""How a text is cut: into characters; into characters but for Latin words and numbers; at spaces; into words and marks."""
WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")
AGREE = 0.8
LONGEST_WORD = 8


class Row(NamedTuple):
    """A text, and where its tokens begin and end in it."""

    text: str
    starts: list[int]
    stops: list[int]

    @property
    def tokens(self) -> list[str]:
        return [self.text[a:b] for a, b in zip(self.starts, self.stops, strict=True)]


def parsed(cell: Any) -> Any:
    """A cell as the list that it is or is written as, else as text."""
    if isinstance(cell, list):
        return cell
    text = "" if cell is None else str(cell)
    if text.startswith("["):
        try:
            found = json.loads(text)
        except JSON_FAULTS:
            return text
        return found if isinstance(found, list) else text
    return text


def tokens_of(cell: Any) -> list[str] | None:
    """The tokens of a cell that is a list of them; None for a text."""
    found = parsed(cell)
    if isinstance(found, list) and set(map(type, found)) == {str}:
        return found
    if isinstance(found, list) and not any(isinstance(part, (list, dict)) for part in found):
        return [str(part) for part in found]
    return None


def tags_of(cell: Any, row: Row) -> list[str] | None:
    """The tags of a row: a list, words (or with commas between), or spans of its text."""
    found, size = parsed(cell), len(row.starts)
    for tags in _written(found):
        if len(tags) == size:
            return tags
    spans = written_spans(found)
    if spans is None or not isinstance(found, list) or any(stop > len(row.text) for _, stop, _ in spans):
        return None
    return bio(on_tokens(row, spans), size)


def _written(found: Any) -> list[list[str]]:
    """A list of tags; or a text as it may hold them, with spaces or commas between."""
    if isinstance(found, str):
        return [found.split(), [tag.strip() for tag in found.split(",")]]
    tags = tokens_of(found)
    return [] if tags is None else [tags]


def as_spaced(texts: Sequence[Any], tags: Sequence[Any]) -> bool:
    """Whether texts have as many words between spaces as tags."""
    pairs = [(str(text).split(), _written(parsed(cell))) for text, cell in zip(texts, tags, strict=True) if text and cell]
    return sum(any(len(tags) == len(words) for tags in cells) for words, cells in pairs) > AGREE * max(1, len(pairs))


def how_cut(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """State: the pattern that cuts most training sentences as they were cut; words of a text without spaces are learned by heart."""
    rows = [row for row in rows[:2000] if row]
    best, share = "words", 0.0
    for name in ("characters", "signs"):
        agree = sum(PATTERNS[name].findall("".join(row)) == [token for token in row if token.strip()] for row in rows) / max(1, len(rows))
        if agree > share:
            best, share = name, agree
    joined = sum(bool(WIDE.fullmatch(token)) for row in rows for token in row) > 0.2 * sum(map(len, rows))
    if share < AGREE:
        best = "dictionary" if joined else "words"
    return {"how": best}


def joined(tokens: Sequence[str], state: Mapping[str, Any]) -> Row:
    """Tokens as a text: with spaces between, but none where the training texts have none."""
    gap = 0 if state["how"] not in ("words", "spaces") else 1
    ends = list(accumulate(len(token) + gap for token in tokens))
    starts = [end - len(token) - gap for end, token in zip(ends, tokens, strict=True)]
    return Row((" " if gap else "").join(tokens), starts, [start + len(token) for start, token in zip(starts, tokens, strict=True)])


def cut_text(text: str, state: Mapping[str, Any], known: Mapping[str, int]) -> Row:
    """A text cut as training texts were; `known` are the words that a dictionary cuts by (the longest first)."""
    how = state["how"]
    places = [match.span() for match in PATTERNS["words" if how == "dictionary" else how].finditer(text)]
    if how == "dictionary":
        places = [place for start, stop in places for place in _longest(text, start, stop, known)]
    return Row(text, [start for start, _ in places], [stop for _, stop in places])


def _longest(text: str, start: int, stop: int, known: Mapping[str, int]) -> list[tuple[int, int]]:
    """Forward maximum matching: the longest known word from each place on, else one character."""
    if not WIDE.search(text[start:stop]):
        return [(start, stop)]
    found = []
    while start < stop:
        size = next((size for size in range(min(LONGEST_WORD, stop - start), 1, -1) if text[start : start + size] in known), 1)
        found.append((start, start + size))
        start += size
    return found


def written_spans(cell: Any) -> list[tuple[int, int, str]] | None:
    """Spans of characters in a cell, as [start, stop, label] or {"start", "end", "label"}; None where it holds something else."""
    found = parsed(cell)
    if not isinstance(found, list):
        return [] if found == "" else None
    spans = []
    for one in found:
        if isinstance(one, Mapping):
            parts = [next((one[name] for name in names if name in one), None) for names in (("start",), ("end", "stop"), ("label", "type"))]
        else:
            parts = list(one) if isinstance(one, list) and len(one) == 3 else [None] * 3
        start, stop, label = parts
        if not (isinstance(start, int) and isinstance(stop, int) and isinstance(label, str) and 0 <= start < stop):
            return None
        spans.append((start, stop, label))
    return sorted(spans)


def hold_spans(column: Sequence[Any]) -> bool:
    """Whether cells are lists of spans, some of them with spans in them."""
    found = [written_spans(cell) for cell in column if cell not in (None, "")]
    return any(found) and all(spans is not None for spans in found)


def on_tokens(row: Row, spans: Sequence[tuple[int, int, str]]) -> list[Span]:
    """Spans of characters as spans of the tokens that they touch; of two that share a token the first stays."""
    found: list[Span] = []
    for start, stop, label in spans:
        touched = [place for place, (a, b) in enumerate(zip(row.starts, row.stops, strict=True)) if a < stop and b > start]
        if touched and (not found or touched[0] >= found[-1].stop):
            found.append(Span(touched[0], touched[-1] + 1, label))
    return found


def bio(spans: Sequence[Span], length: int) -> list[str]:
    """Spans of tokens as BIO tags."""
    found = ["O"] * length
    for start, stop, kind in spans:
        found[start:stop] = [f"B-{kind}", *[f"I-{kind}"] * (stop - start - 1)]
    return found
