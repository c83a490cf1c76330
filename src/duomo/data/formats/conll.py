"""CoNLL files: one token a line, its tags in further columns, a blank line after each sentence.

Columns are divided by tabs, or else by spaces; by commas, semicolons or bars where the last cells are tags. The first holds the token
(the second, where the first numbers them) and the last the tag; CoNLL-U's ten columns are known by their numbers. A sentence becomes a
row: `tokens` and `tags` (and columns between as `column 2` ...) as JSON lists. In place of a blank line may stand a word that stands alone
nowhere else (EOS). Plain text may hold the same: columns under the ending .txt, words with their tags behind a
stroke (新华社/nt 北京/ns 电/n), or words of Chinese between spaces; `make` tells.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.data.formats.rows import as_json
from duomo.data.formats.segmented import is_segmented
from duomo.data.formats.space_delimited import NUMBER
from duomo.data.formats.text_encoding import cut, detect, numbered, open_text
from duomo.data.formats.word_rows import TAGS, WORDS

LARGEST = 1 << 30
"""Bytes of a file that is read whole."""
LONGEST = 100_000
"""Tokens of a sentence: a file without blank lines is refused early."""
DOCUMENT = re.compile(r"-DOCSTART-|#\s*newdoc\b")
UNIVERSAL = ("tokens", "lemmas", "tags", "xpos", "features", "head", "relation")
"""Columns 2 to 8 of CoNLL-U (Nivre et al. 2016)."""

ENDS = re.compile(r"[.!?。！？…]+")
"""Tokens behind which a sentence ends, where no blank line says it."""
LONG = 200
"""Tokens of a lone sentence that is divided there."""
SPAN_TAG = re.compile(r"O|[BIESLUMW][-_]\S+|[BMESIO]")
TAG = r"[A-Za-z]{1,6}\d?(?:[-+*$][A-Za-z]{0,6}\d?)*|-[LR][RSC]B-|[^\w\s\[\]/]{1,3}"
"""As the People's Daily, the Penn Treebank and Brown's corpus write them: n, PRP$, NNP, np-tl, ppss+hv, and a mark for a mark."""
SLASHED = re.compile(rf"\[?(\S+)/({TAG})(?:\][A-Za-z]{{1,6}}\d?)?")
"""A word and its tag; brackets hold several words together, and their own tag is not read."""
WORDS_A_LINE = 2
"""On average, at least, where words have tags: one a line are paths."""
SHORTEST = 2.0
"""Rows between blank lines on average, at least, where these divide sentences."""
LOOKED_AT, FEWEST, MOST_PLAIN, KINDS = 2000, 20, 0.02, 0.25
"""Lines of a text that tell what it holds; tagged ones at least; share of others at most; kinds of tags for each kind of word at most."""

NUMBERED = "#FORMAT=WebAnno TSV"
MARKS = {".tsv": "\t", ".tab": "\t", ".csv": ","}
"""What divides the cells of tables in which sentences may stand; elsewhere any sign may."""
Lines = list[list[str]]


def read_conll(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `tokens`, `tags`, and `document` (from 0) where the file marks its documents; DataError for a file of another make."""
    if path.stat().st_size > LARGEST:
        raise DataError("A CoNLL file is read whole and may have at most {most} bytes; {file} is larger. Divide it.",
                        most=LARGEST, file=path.name)  # fmt: skip
    encoding, mark = detect(path, wanted), mark_of(path, wanted)
    with open_text(path, encoding) as file:
        lines = [*islice(file, LOOKED_AT)]
    end = _end_of(lines)
    if any(line.startswith(NUMBERED) for line in lines[:1]):
        raise DataError("Sentences are read from CoNLL files; {file} is a TSV of WebAnno or INCEpTION, which numbers its spans. Export it "
                        "as CoNLL 2002 or CoNLL 2003.", file=path.name)  # fmt: skip
    with open_text(path, encoding) as file:
        documents, sentences = [], []
        rows = ("" if end and line.strip() == end else line for line in file)
        for document, sentence in _sentences(rows, path.name, "" if mark == "\t" else mark):
            documents.append(document)
            sentences.append(sentence)
    if not sentences:
        raise DataError("A CoNLL file must hold sentences; {file} has none. Write one token a line, its tag behind it.", file=path.name)
    sentences, told = _divided(sentences, path.name)
    documents = documents if len(documents) == len(sentences) else [0] * len(sentences)
    width = _width(sentences)
    whole = [all(len(line) == width for line in sentence) for sentence in sentences]
    if width < 2 or sum(whole) < len(whole) / 2:
        raise DataError(
            "Each line of a CoNLL file must hold a token and its tag, divided by a tab or a space; {file} does not look like one. "
            "A blank line divides sentences.", file=path.name,
        )  # fmt: skip
    kept = [place for place, fits in enumerate(whole) if fits]
    names = _names([sentences[row] for row in kept[:100]], width)
    cells = {name: [as_json([line[place] for line in sentences[row]]) for row in kept] for name, place in names.items()}
    columns = {name: pa.array(column, pa.large_string()) for name, column in cells.items()}
    if documents[-1] > 0:
        columns["document"] = pa.array([str(documents[row]) for row in kept], pa.large_string())
    return pa.table(columns), encoding.problems + told + _left_out([row for row, fits in enumerate(whole, 1) if not fits])


def make(lines: Sequence[str]) -> str:
    """What lines of a text hold: columns of tokens and span tags ("conll"), "slashed" words with their tags, words between spaces where the
    script has none ("segmented"), or "" for none of them."""
    end = _end_of(lines)
    cells = [line.split() for line in lines if line not in ("", end) and not DOCUMENT.match(line)]
    tags = {line[-1] for line in cells if len(line) > 1}
    told = [line for line in cells if len(line) > 1 or line[0] not in tags]  # alone a tag stands behind a blank token
    spans = [len(line) > 1 and bool(SPAN_TAG.fullmatch(line[-1])) for line in told]
    if sum(spans) >= max(FEWEST, (1 - MOST_PLAIN) * len(spans)) and len({len(line) for line in cells}) <= 2:
        return "conll"
    words = [bool(SLASHED.fullmatch(word)) for line in cells for word in line]
    tagged = sum(words) >= max(FEWEST, (1 - MOST_PLAIN) * len(words)) and len(words) >= WORDS_A_LINE * len(cells)
    return "slashed" if tagged else "segmented" if is_segmented(cells) else ""


def _end_of(lines: Sequence[str]) -> str:
    """What ends sentences on a line of its own (EOS, as MeCab writes it): the only word that stands alone, and often; else empty, as where
    it is a tag, which stands alone behind a blank token."""
    words = [line.split() for line in lines]
    alone, tags = [one[0] for one in words if len(one) == 1], {one[-1] for one in words if len(one) > 1}
    return alone[0] if 2 * len(alone) >= FEWEST and len({*alone}) == 1 and alone[0] not in tags else ""


def mark_of(path: Path, wanted: str = "") -> str:
    """The sign that divides cells whose rows stand in sentences; empty where none does."""
    return next((mark for mark in MARKS.get(path.suffix.lower(), ",;|") if in_sentences(path, wanted, mark)), "")


def in_sentences(path: Path, wanted: str = "", mark: str = "\t") -> bool:
    """Whether a file of cells divided by tabs has blank lines after every few rows, as sentences have and tables have not; where other
    signs divide, the last cells must be tags of spans as well."""
    with open_text(path, detect(path, wanted)) as text:
        lines = [line.rstrip("\r\n") for line in islice(text, LOOKED_AT)]
    rows = [_cut(line, mark) for line in lines if line.strip() and not DOCUMENT.match(line)]
    if mark != "\t" and sum(bool(SPAN_TAG.fullmatch(row[-1])) for row in rows) < max(FEWEST, (1 - MOST_PLAIN) * len(rows)):
        return False
    widths = {len(row) for row in rows}
    blank = sum(not line.strip() and bool(before.strip()) for before, line in pairwise(lines))
    return FEWEST <= 2 * blank <= 2 * len(rows) / SHORTEST and widths <= {1, max(widths, default=0)} and 2 <= max(widths) <= 10


def are_tags(texts: Sequence[str], others: Sequence[str]) -> bool:
    """Whether lines hold a tag for each word of other lines: as many words on nearly each, of few kinds beside those."""
    pairs = [(one.split(), other.split()) for one, other in zip(texts, others, strict=False) if one.strip()]
    if sum(len(one) == len(other) for one, other in pairs) < (1 - MOST_PLAIN) * max(FEWEST, len(pairs)):
        return False
    words, tags = ({word for pair in pairs for word in pair[place]} for place in (0, 1))
    return len(tags) <= KINDS * len(words) and sum(len(one) for one, _ in pairs) >= WORDS_A_LINE * len(pairs)


def read_slashed(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `tokens` and `tags`, a row a line; words without a tag are left out and counted."""
    encoding, lost = detect(path, wanted), 0
    columns: dict[str, list[str]] = {"tokens": [], "tags": []}
    with open_text(path, encoding) as file:
        for line in file:
            cells = line.split()
            pairs = [found.groups() for word in cells if (found := SLASHED.fullmatch(word))]
            lost += len(cells) - len(pairs)
            for name, place in (("tokens", 0), ("tags", 1)) if pairs else ():
                columns[name].append(as_json([pair[place] for pair in pairs]))
    note = (tr("{count} words have no tag behind a stroke and were left out.", count=lost),) if lost else ()
    return pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()}), encoding.problems + note


def _cut(text: str, mark: str = "") -> list[str]:
    """A line as its cells: divided by the mark, or by tabs where it has any, or by spaces."""
    if mark in (",", ";", "|"):
        return next(cut([text], delimiter=mark))
    return [cell.strip() for cell in text.split("\t")] if mark or "\t" in text else text.split()


def _sentences(lines: Iterable[str], name: str, mark: str) -> Iterator[tuple[int, Lines]]:
    """(number of the document, lines cut into columns) of each sentence."""
    document, sentence, seen, last = 0, list[list[str]](), False, list[str]()
    for line in lines:
        text = line.rstrip("\r\n")
        marks = bool(DOCUMENT.match(text))
        if text.strip() and not marks and not _is_comment(text, last, bool(sentence)):
            cells = _cut(text, mark)
            if _is_blank(text, cells, last[1:]):
                continue
            last = [text, *cells]
            if not re.fullmatch(r"\d+[-.]\d+", cells[0]) or len(cells) != 10:  # CoNLL-U: words that were taken apart, and empty ones
                sentence.append(cells)
            if len(sentence) > LONGEST:
                raise DataError("A sentence may have at most {most:,} tokens; {file} has a longer one. Divide sentences by blank lines.",
                                most=LONGEST, file=name)  # fmt: skip
            continue
        if sentence:
            yield document, sentence
            sentence, seen = [], True
        document += marks and seen
    if sentence:
        yield document, sentence


def _is_blank(text: str, cells: list[str], before: list[str]) -> bool:
    """Whether the token of a line is a space, by the cells of the line before."""
    return bool(before and before[0]) and text[0].isspace() and (not cells[0] or len(cells) == len(before) - 1)


def _is_comment(text: str, last: list[str], inside: bool) -> bool:
    """Whether the line is a remark such as "# sent_id = 7", and not a token that is or begins with this sign.

    `last` is the line of a token before it and its cells, `inside` whether that belongs to the same sentence.
    """
    if not text.startswith("#") or " " not in text.partition("\t")[0]:
        return False
    if "\t" in text:  # the sign alone would be a token
        return not inside
    if last and "\t" in last[0]:
        return True
    cells = text.split()
    return len(cells) != (len(last) - 1 if last else 2) or not (inside or SPAN_TAG.fullmatch(cells[-1]))


def _divided(sentences: list[Lines], name: str) -> tuple[list[Lines], tuple[str, ...]]:
    """Without a line of column names; a lone long sentence cut behind its marks, and that said."""
    head = [cell.lower() for cell in sentences[0][0]]
    if head[0] in WORDS and head[-1] in TAGS:
        sentences = [part for part in (sentences[0][1:], *sentences[1:]) if part]
    if len(sentences) > 1 or not sentences or len(sentences[0]) < LONG:
        return sentences, ()
    if all(line[0].isdigit() for line in sentences[0]):  # tokens that are numbered anew in each sentence
        starts = [place for place, line in enumerate(sentences[0]) if line[0] == sentences[0][0][0]]
        return [sentences[0][start:stop] for start, stop in pairwise([*starts, len(sentences[0])])], ()
    edges = [place for place, line in enumerate(sentences[0], 1) if ENDS.fullmatch(line[0])]
    if len(edges) < 2:
        return sentences, ()
    parts = [sentences[0][start:stop] for start, stop in pairwise([0, *edges, len(sentences[0])]) if start < stop]
    return parts, (tr("{file} has no blank lines; its {count:,} sentences were divided behind their marks.", file=name, count=len(parts)),)


def _width(sentences: list[Lines]) -> int:
    """How many columns most lines have."""
    counts: dict[int, int] = {}
    for sentence in sentences[:1000]:
        for line in sentence:
            counts[len(line)] = counts.get(len(line), 0) + 1
    return max(counts, key=lambda width: (counts[width], width))


def _names(sentences: list[Lines], width: int) -> dict[str, int]:
    """Name -> place of the columns that are kept."""
    first = int(width > 2 and all([line[0] for line in lines] in _counted(len(lines)) for lines in sentences))
    if width == 10 and first:
        return dict(zip(UNIVERSAL, range(1, 8), strict=True))
    if width == 2 and _tagged(sentences, 0) and not _tagged(sentences, 1):
        return {"tokens": 1, "tags": 0}
    # who annotated each sentence, or numbers of each token (where it ends, how sure its tag is), may stand behind the tags
    once = [
        place
        for place in range(width)
        if all(len({line[place] for line in lines}) == 1 for lines in sentences)
        or all(NUMBER.fullmatch(line[place]) for lines in sentences for line in lines)
    ]
    last = next(place for place in range(width - 1, -1, -1) if place not in once or not place)
    last = last if last > first and _tagged(sentences, last) else width - 1
    return {"tokens": first, **{f"column {place + 1}": place for place in range(first + 1, width) if place != last}, "tags": last}


def _tagged(sentences: list[Lines], place: int) -> bool:
    return all(SPAN_TAG.fullmatch(line[place]) for lines in sentences for line in lines)


def _counted(length: int) -> tuple[list[str], list[str]]:
    """The numbers of so many tokens, from 0 and from 1."""
    return [str(place) for place in range(length)], [str(place) for place in range(1, length + 1)]


def _left_out(bad: list[int]) -> tuple[str, ...]:
    if not bad:
        return ()
    return (tr("{count} sentences have lines with too few or too many columns and were left out: sentences {numbers}.",
               count=len(bad), numbers=numbered(bad)),)  # fmt: skip
