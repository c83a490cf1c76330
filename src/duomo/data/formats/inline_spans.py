"""Texts with what is said of them laid into them: trees of syntax or sentiment, entities within marks, aspects or places on lines of their
own.

(3 (2 Not) (3 (3 bad) (2 .)))           text "Not bad .", label 3           Stanford's treebank of sentiment: a tree with numbers
(S (NP (PRP He)) (VP (VBZ sleeps)))     tokens ["He", "sleeps"], tags ["PRP", "VBZ"]                 the Penn Treebank
<PER>Li</PER> is in {{city:Rome}}.      text "Li is in Rome.", entities [[0, 2, "PER"], [9, 13, "city"]]; also [Li](PER), [@Li#PER*]
The $T$ is good. / soup / 1             text "The soup is good.", aspect "soup", label 1, three lines a row (SemEval 2014)
7|t|Aspirin. / 7|a|It helps. / 7  0  7  Aspirin  Chemical  D1        text "Aspirin. It helps.", entities [[0, 7, "Chemical"]] (PubTator)
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from duomo.core.messages import listed, tr
from duomo.data.formats.rows import as_json, of_texts
from duomo.data.formats.text_encoding import detect, open_text

LEAF = re.compile(r"\(([^\s()]+)\s+([^\s()]+)\)")
FRAME = re.compile(r"(?:\s|\)|\([^\s()]*)*")
"""What trees consist of beside their leaves: brackets, each with a name behind it or none."""
SIGN = re.compile(r"\(([^\s()]*)|\)|[^\s()]+")
BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
EMPTY = "-NONE-"
"""The tag of what is not written: traces of what was moved."""
MARK = re.compile(
    r"<(?P<open>[^\W\d][\w.-]*)(?:\s+\w+\s*=\s*[\"'](?P<kind>[^\"']*)[\"'])?>|</(?P<close>[\w.-]+)>|\{\{(?P<curly>[\w.-]+)[:：](?P<held>[^{}]*)\}\}"
    r"|(?<![A-Za-z0-9_])\[(?P<said>[^\[\]]+)\]\((?P<round>[\w-]+)\)|\[@(?P<at>[^\[\]]*?)#(?P<hash>[\w-]+)\*\]"
)
"""Marks of entities: pairs of tags, and those that hold name and text."""
MARKUP = re.compile("a|abbr|b|big|br|cite|code|div|em|font|h[1-6]|i|img|li|mark|[ou]l|p|pre|s|small|span|strong|su[bp]|table|t[dhrt]|u")
"""Names of HTML's tags that stand within texts as those of entities do."""
FEWEST, SHARE, EACH, MOST_INSIDE = 20, 0.3, 5, 0.5
"""Marks or rows at least; share of lines with marks; marks of a name on average; share of the letters that lie within them, at most."""
ASPECT = "$T$"
"""What stands for an aspect in its sentence."""
PART, PLACE = re.compile(r"(\w+)\|[ta]\|(.*)"), re.compile(r"(\w+)\t(\d+)\t(\d+)\t([^\t]*)\t([^\t\n]+)")
"""A title or an abstract, and a place in both together, a space between them; each behind the number of its document."""
Span = tuple[int, int, str]


def make(lines: Sequence[str]) -> str:
    """ "trees", "inlaid", "aspects" or "placed" by the first lines of a text; "" for none of them."""
    lines = [line for line in lines if line]
    if len(lines) >= FEWEST and PART.match(lines[0]) and PART.match(lines[1]) and all(PART.match(one) or "\t" in one for one in lines):
        return "placed"
    if lines and lines[0].startswith("(") and _are_trees("\n".join(lines)):
        return "trees"
    if len(lines) >= FEWEST and all(ASPECT in line for line in lines[::3]) and len({*lines[2::3]}) <= len(lines) / (3 * EACH):
        return "aspects"
    read = [_inlaid(line) for line in lines if MARK.search(line)]
    found = [span for one in read if one for span in one[1]]
    names, letters = Counter(kind for *_, kind in found), sum(len(one[0]) for one in read if one)
    if len(found) < FEWEST or len(read) < SHARE * len(lines) or read.count(None) > 0.02 * len(read):
        return ""
    if any(MARKUP.fullmatch(name.lower()) for name in names):
        return ""
    return "inlaid" if EACH * len(names) <= len(found) and sum(b - a for a, b, _ in found) <= MOST_INSIDE * letters else ""


def _are_trees(text: str) -> bool:
    leaves = LEAF.findall(text)
    return len(leaves) >= FEWEST and FRAME.fullmatch(LEAF.sub("", text)) is not None


def _inlaid(line: str) -> tuple[str, list[Span]] | None:
    """The line without its marks and the spans that these held; None where a tag is not closed, or closes what is not open."""
    text, spans, opened, place = "", list[Span](), list[tuple[str, str, int]](), 0
    for found in MARK.finditer(line):
        text += line[place : found.start()]
        place = found.end()
        inside, kind = (found["held"] or found["said"] or found["at"] or ""), found["curly"] or found["round"] or found["hash"]
        if found["open"]:
            opened.append((found["open"], found["kind"] or found["open"], len(text)))
        elif found["close"]:
            if not opened or opened[-1][0] != found["close"]:
                return None
            _, kind, start = opened.pop()
            spans += [(start, len(text), kind)] if start < len(text) else []
        else:
            spans += [(len(text), len(text) + len(inside), kind)] if inside else []
            text += inside
    return None if opened else (text + line[place:], sorted(spans))


def read_inlaid(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` and `entities`, a row a line; lines whose marks do not close are left out and counted."""
    encoding, rows, lost = detect(path, wanted), list[tuple[str, str]](), 0
    with open_text(path, encoding) as file:
        for line in (line.strip() for line in file if line.strip()):
            found = _inlaid(line)
            rows += [(found[0], as_json(found[1]))] if found else []
            lost += found is None
    said = [tr("{file} holds texts with entities between marks; they were read as spans.", file=path.name)]
    said += [tr("{count} lines have marks that do not close, and were left out.", count=lost)] if lost else []
    return of_texts(("text", "entities"), rows), (*encoding.problems, *said)


def read_placed(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` and `entities`, a row a document; places where the text says something else are left out and counted."""
    encoding, lost, others = detect(path, wanted), 0, 0
    texts, spans = defaultdict[str, list[str]](list), defaultdict[str, list[Span]](list)
    with open_text(path, encoding) as file:
        for line in file:
            if part := PART.match(line.rstrip("\r\n")):
                texts[part[1]].append(part[2])
            elif place := PLACE.match(line):
                start, stop = int(place[2]), int(place[3])
                fits = " ".join(texts.get(place[1], ()))[start:stop] == place[4]
                spans[place[1]] += [(start, stop, place[5])] if fits else []
                lost += not fits
            else:
                others += bool(line.strip())
    rows = [(" ".join(parts), as_json(sorted({*spans[name]}))) for name, parts in texts.items()]
    said = [tr("{file} holds titles and abstracts with the places of entities (PubTator); they were read as spans.", file=path.name)]
    said += [tr("{count:,} spans were left out, for the text says something else there than they do.", count=lost)] if lost else []
    if others:
        said.append(tr("{count:,} lines of relations, events, attributes and notes are not read: spans alone are learned.", count=others))
    return of_texts(("text", "entities"), rows), (*encoding.problems, *said)


def read_aspects(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text`, `aspect` and `label`, three lines a row."""
    encoding = detect(path, wanted)
    with open_text(path, encoding) as file:
        lines = [line.strip() for line in file if line.strip()]
    rows = [
        (text.replace(ASPECT, aspect), aspect, label) for text, aspect, label in zip(*(lines[place::3] for place in range(3)), strict=False)
    ]
    said = tr("{file} holds sentences with an aspect and what is said of it, on three lines each.", file=path.name)
    return of_texts(("text", "aspect", "label"), rows), (*encoding.problems, said)


def read_trees(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` and `label`, the number at the root, where trees have numbers; else `tokens` and `tags`, leaves with their names."""
    encoding = detect(path, wanted)
    with open_text(path, encoding) as file:
        trees = list(_trees(file.read()))
    if trees and all(root.isdigit() for root, _ in trees):
        rows = [(" ".join(word for _, word in leaves), root) for root, leaves in trees]
        said = tr("{file} holds trees; of each the sentence and the number at its root are read, not those of its phrases.", file=path.name)
        return of_texts(("text", "label"), rows), (*encoding.problems, said)
    rows = [(as_json([word for _, word in leaves]), as_json([tag for tag, _ in leaves])) for _, leaves in trees]
    kinds = Counter(tag for _, leaves in trees for tag, _ in leaves)
    said = tr("{file} holds trees; of each the words and their tags ({names}) are read, not its phrases.", file=path.name,
              names=listed([tag for tag, _ in kinds.most_common()], 5))  # fmt: skip
    return of_texts(("tokens", "tags"), rows), (*encoding.problems, said)


def _trees(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The name at the root, and the leaves with theirs, of each tree that has any."""
    names, root, leaves = list[str](), "", list[tuple[str, str]]()
    for found in SIGN.finditer(text):
        if found[0].startswith("("):
            root = root if names else found[1]
            names.append(found[1])
        elif found[0] != ")":
            leaves += [(names[-1], BRACKETS.get(found[0], found[0]))] if names and names[-1] != EMPTY else []
        elif names:
            names.pop()
        if not names and leaves:
            yield root, leaves
            leaves = []
