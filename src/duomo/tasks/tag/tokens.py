"""Cells as tokens with their places in a text: lists of tokens as they are, texts cut as the training texts were.

Legend: T tokens of a row.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from duomo.core.files import JSON_FAULTS
from duomo.core.word_patterns import CJK, COMBINING, SOUTHEAST, runs_of
from duomo.tasks.tag.labels import Scheme, Span, spans_of

MARKS = rf"(?:[^\W\d_][{COMBINING}]*\.){{2,}}|\d+(?:[.,:]\d+)*"
RUN, LETTERS, NAME = runs_of(r"[^\W_]"), runs_of(r"[^\W\d_]"), runs_of(r"\w")
WORD = rf"{RUN}(?:-{RUN})*|\.{{2,}}|\S[{COMBINING}]*"
ENGLISH = rf"[^\W_]+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|{WORD}"
PATTERNS = {
    "characters": re.compile(r"\S"),
    "signs": re.compile(r"[A-Za-z0-9]+|\S"),
    "spaces": re.compile(r"\S+"),
    "words": re.compile(rf"{MARKS}|{ENGLISH}"),
    "posts": re.compile(rf"https?://\S+|[@#]{NAME}|{MARKS}|{ENGLISH}"),
    "apostrophes": re.compile(rf"{MARKS}|{RUN}(?:['’-]{RUN})+|{WORD}"),
    "elisions": re.compile(rf"{MARKS}|{LETTERS}['’](?=\s?\w)|{WORD}"),
}
"""How a text is cut: into characters; into characters but for Latin words and numbers; at spaces; into words and marks as in English
(does n't), with names and links whole (@duomo #now), with apostrophes inside of words (Ankara'da), or as in French (l' homme)."""
LETTERED = ("words", "posts", "apostrophes", "elisions")
WIDE = re.compile(f"[{CJK}{SOUTHEAST}]{{2,}}")
AGREE = 0.8
LONGEST_WORD = 8
_PLACE = "(char)?(offset|idx|index|pos|position|char|characteroffset)?"
STARTS, STOPS = (re.compile(f"({names}){_PLACE}|{_PLACE}({names})") for names in ("start|begin|from", "end|stop|to"))
LABELS = (
    re.compile("label"),
    re.compile("labels|(entity|ner|label)(type|label|group|tag|class|category)"),
    re.compile("type|tag|category|class"),
)
SAID = re.compile("text|word|mention|surface|entity(word|mention|text|value|name|surface)?")
"""Names under which tools keep the ends of a span, its label and its text, in small letters and without what stands between words."""
ASIDE = ("relation", "choices", "rating", "textarea")
"""What Label Studio keeps among spans."""


class Row(NamedTuple):
    """A text, and where its tokens begin and end in it."""

    text: str
    starts: list[int]
    stops: list[int]

    @property
    def tokens(self) -> list[str]:
        return [self.text[a:b] for a, b in zip(self.starts, self.stops, strict=True)]


def parsed(cell: Any) -> Any:
    """A cell as the list or object that it is or is written as, else as text."""
    if isinstance(cell, list | Mapping):
        return cell
    text = "" if cell is None else str(cell)
    if text.startswith(("[", "{")):
        try:
            found = json.loads(text)
        except JSON_FAULTS:
            return text
        return found if isinstance(found, list | dict) else text
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
    if spans is None or isinstance(found, str) or any(stop > len(row.text) for _, stop, _ in spans):
        return None
    return bio(on_tokens(row, [span for span in spans if span[0] < span[1]]), size)


def counted(rows: Sequence[Sequence[str] | None], targets: Sequence[Any]) -> int | None:
    """What is added to the ends of spans that count the tokens of lists: 1 where they name the last one (GLiNER), 0 where that behind it
    (SpERT); None where they count characters, as most do."""
    pairs = [(len(row), span) for row, cell in zip(rows, targets, strict=True) if row for span in written_spans(cell) or ()]
    more = int(any(start == stop for _, (start, stop, _) in pairs))
    return more if pairs and all(stop + more <= size for size, (_, stop, _) in pairs) else None


def of_counted(size: int, cell: Any, more: int) -> list[str] | None:
    """The tags of so many tokens that such spans say; of two that share a token the first stays."""
    spans, found = written_spans(cell), list[Span]()
    for start, stop, label in spans or ():
        if stop + more <= size and (not found or start >= found[-1].stop):
            found.append(Span(start, stop + more, label))
    return None if spans is None else bio(found, size)


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


def how_cut(rows: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> dict[str, Any]:
    """State: the pattern that cuts most training sentences as they were cut.

    `spelled` where their tokens are words of a script without spaces: nothing cuts a text like that, so they are learned as characters
    with the spans of the words ("tags"), or of what the tags call spans ("spans").
    """
    rows = [row for row in rows[:2000] if row]
    best, share = "words", 0.0
    for name in ("characters", "signs"):
        agree = sum(PATTERNS[name].findall("".join(row)) == [token for token in row if token.strip()] for row in rows) / max(1, len(rows))
        if agree > share:
            best, share = name, agree
    joined = sum(bool(WIDE.fullmatch(token)) for row in rows for token in row) > 0.2 * sum(map(len, rows))
    if share >= AGREE:
        return {"how": best}
    if joined:
        return {"how": "signs", "spelled": "spans" if Scheme.find(tags).written else "tags"}
    return {"how": max(LETTERED, key=lambda name: sum(PATTERNS[name].findall(" ".join(row)) == list(row) for row in rows))}


def row_of(cell: Any, state: Mapping[str, Any], known: Mapping[str, int]) -> Row:
    """A cell cut into tokens."""
    listed = tokens_of(cell)
    if listed is None:
        return cut_text("" if cell is None else str(cell), state, known)
    return spelled(listed, None, state)[0] if state.get("spelled") else joined(listed, state)


def lesson(cell: Any, target: Any, state: Mapping[str, Any], known: Mapping[str, int]) -> tuple[Row, list[str] | None]:
    """A cell cut into tokens, and their tags; None where these do not fit."""
    listed = tokens_of(cell)
    if listed is not None and "counted" in state:
        target = of_counted(len(listed), target, state["counted"])
    if listed is not None and state.get("spelled"):
        return spelled(listed, next((tags for tags in _written(parsed(target)) if len(tags) == len(listed)), None), state)
    row = row_of(cell, state, known)
    return row, tags_of(target, row)


def spelled(words: Sequence[str], tags: Sequence[str] | None, state: Mapping[str, Any]) -> tuple[Row, list[str] | None]:
    """Words as their characters, their tags as spans over these."""
    places = [[match.span() for match in PATTERNS[state["how"]].finditer(word)] for word in words]
    offsets = [0, *accumulate(map(len, words))]
    starts = [offset + start for offset, found in zip(offsets, places, strict=False) for start, _ in found]
    stops = [offset + stop for offset, found in zip(offsets, places, strict=False) for _, stop in found]
    row = Row("".join(words), starts, stops)
    if tags is None:
        return row, None
    spans = spans_of(tags) if state["spelled"] == "spans" else [Span(place, place + 1, tag) for place, tag in enumerate(tags)]
    edges = [0, *accumulate(map(len, places))]
    found = [Span(edges[span.start], edges[span.stop], span.type) for span in spans]
    return row, bio([span for span in found if span.start < span.stop], len(starts))


def joined(tokens: Sequence[str], state: Mapping[str, Any]) -> Row:
    """Tokens as a text: with spaces between, but none where the training texts have none."""
    gap = 0 if state["how"] not in ("spaces", *LETTERED) else 1
    ends = list(accumulate(len(token) + gap for token in tokens))
    starts = [end - len(token) - gap for end, token in zip(ends, tokens, strict=True)]
    return Row((" " if gap else "").join(tokens), starts, [start + len(token) for start, token in zip(starts, tokens, strict=True)])


def cut_text(text: str, state: Mapping[str, Any], known: Mapping[str, int]) -> Row:
    """A text cut as training texts were; `known` are the words that runs of before cut by (the longest first)."""
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
    """Spans of characters in a cell, in the forms that tools of annotation write; None where it holds something else.

    [start, stop, label]; objects with a start, an end and a label under their usual names, the ends within another object or not
    (Label Studio: also within `result`); by label and text as CLUENER has them: {"name": {"Lee": [[0, 2]]}}.
    """
    found = parsed(cell)
    if isinstance(found, Mapping):
        found = _by_label(found)
    if not isinstance(found, list):
        return [] if found == "" else None
    if found and isinstance(found[0], Mapping) and isinstance(results := found[0].get("result"), list):
        found = [one for one in results if not isinstance(one, Mapping) or one.get("type") not in ASIDE]
    spans = []
    for one in found:
        parts = _parts(one) if isinstance(one, Mapping) else list(one) if isinstance(one, list) and len(one) == 3 else [None] * 3
        start, stop, label = parts
        if not (isinstance(start, int) and isinstance(stop, int) and isinstance(label, str) and 0 <= start <= stop):
            return None
        spans.append((start, stop, label))
    return sorted({*spans})


def _parts(one: Mapping[str, Any]) -> list[Any]:
    """Start, stop and label of an object; where the text says so, its end is its last character and not the one behind."""
    nested = {name: value for inner in one.values() if isinstance(inner, Mapping) for name, value in inner.items()}
    flat = {re.sub(r"[\W_]", "", name.lower()): value for name, value in (*nested.items(), *one.items())}
    start, stop, label, said = (_first(flat, names) for names in ((STARTS,), (STOPS,), LABELS, (SAID,)))
    label = label[0] if isinstance(label, list) and label else label
    if isinstance(start, int) and isinstance(stop, int) and isinstance(said, str) and len(said) == len(said.strip()) == stop - start + 1:
        stop += 1
    return [start, stop, label]


def _first(flat: Mapping[str, Any], kinds: Sequence[re.Pattern[str]]) -> Any:
    """What stands under a name of these kinds, of the first of them, and of several under the shortest."""
    return next((flat[name] for names in kinds for name in sorted(flat, key=len) if names.fullmatch(name)), None)


def _by_label(found: Mapping[str, Any]) -> list[Any] | None:
    """Spans of {label: {text: [[first, last], …]}}, last characters included where the text says so; None of another object."""
    spans: list[Any] = []
    for label, texts in found.items():
        for text, places in texts.items() if isinstance(texts, Mapping) else [("", None)]:
            if not isinstance(places, list) or not all(isinstance(place, list) and len(place) == 2 for place in places):
                return None
            spans += [{"start": start, "end": stop, "label": label, "text": text} for start, stop in places]
    return spans


def hold_spans(column: Sequence[Any]) -> bool:
    """Whether cells are lists of spans, some of them with spans in them."""
    found = [written_spans(cell) for cell in column if cell not in (None, "")]
    return any(found) and all(spans is not None for spans in found)


def on_tokens(row: Row, spans: Sequence[tuple[int, int, str]]) -> list[Span]:
    """Spans of characters as spans of the tokens that they touch; of those that share a token the longest stays, or the first."""
    found: list[Span] = []
    for span in sorted(_touching(row, spans), key=lambda one: one.start - one.stop):
        if all(span.stop <= one.start or span.start >= one.stop for one in found):
            found.append(span)
    return sorted(found)


def _touching(row: Row, spans: Sequence[tuple[int, int, str]]) -> list[Span]:
    found = [Span(bisect_right(row.stops, start), bisect_left(row.starts, stop), label) for start, stop, label in spans]
    return [span for span in found if span.start < span.stop]


def sharing(cell: Any, row: Row) -> int:
    """How many spans of a cell are left out because a longer one holds some of their tokens."""
    found = parsed(cell)
    spans = None if isinstance(found, str) else written_spans(found)
    return len(_touching(row, spans)) - len(on_tokens(row, spans)) if spans else 0


def bio(spans: Sequence[Span], length: int) -> list[str]:
    """Spans of tokens as BIO tags."""
    found = ["O"] * length
    for start, stop, kind in spans:
        found[start:stop] = [f"B-{kind}", *[f"I-{kind}"] * (stop - start - 1)]
    return found
