"""Every sentence that a person reads, in English or Chinese: `tr("… {name} …", name=value)`.

The English template is the key; the files of `zh/` beside this one map it to Chinese, one for each package
that says it; what settings and metrics are called stands in `names.json`. A test holds the two together.
"""

import difflib
import errno
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from pathlib import Path

COUNTED = (
    "answers|arrays|backgrounds|blocks|boxes|bytes|cells|channels|characters|classes|codes|columns|conversations|cues|cut-outs|days"
    "|digits|dimensions|documents|elements|entries|epochs|features|figures|files|films|frames|groups|hours|keys|languages|layers|lines"
    "|links|logits|messages|minutes|moments|months|numbers|pairs|parameters|parts|passages|pickles|pictures|pieces|pixels|places"
    "|processes|questions|recordings|resamples|rows|scans|scenes|seconds|sentences|slices|sounds|spans|steps|subtitles|tables"
    "|targets|texts|things|threads|tokens|tools|translations|values|ways|weights|words"
)
OF_ONE = {
    "are": "is", "were": "was", "have": "has", "hold": "holds", "repeat": "repeats", "say": "says", "do": "does", "lie": "lies",
    "ask": "asks", "count as": "counts as", "they": "it", "them": "it", "their": "its",
}  # fmt: skip
VERBS = re.compile(rf"(?<!s that )(?<!would )(?<! not )(?<!}} of )\b(?:their [a-z]+ [a-z]+|{'|'.join(OF_ONE)})\b")
"""What is said otherwise of one thing, but not what is said of others: "bytes that are", "their times lie"."""
THEY = re.compile(r"\b(?:they (?:are|were|have)|they(?= cannot)|them|their)\b")
NONE = re.compile(r"\bare no ((?:JSON )?[a-z]+s)\b")

REASONS = frozenset(os.strerror(number) for number in errno.errorcode) | {
    "Name or service not known",
    "No address associated with hostname",
    "File is not a zip file",
    "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.",
}
"""What the machine says when a file or an address cannot be had."""
PLACED = re.compile(r"(.+): line (\d+) column (\d+) \(char \d+\)")
"""What is said of JSON that is none."""

VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|(?<=--)\w+ [!-~]+|[!-~]*\d[!-~]*")
"""In sentences that are alike: names in quotes and behind flags, and numbers."""
ALIKE = 5
"""Of so many sentences that are alike each is told."""

_spoken: ContextVar[str] = ContextVar("language", default="")


def speak(chosen: str) -> None:
    """`zh` or `en` for what is said from here on in this thread or request; empty: as the machine is set up."""
    _spoken.set(chosen)


def language() -> str:
    """`zh` or `en`: what was asked by `speak`, DUOMO_LANG, then the locale as POSIX orders it."""
    if _spoken.get():
        return _spoken.get()
    for name in ("DUOMO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


@cache
def chinese() -> dict[str, str]:
    """English template -> Chinese, of all files of `zh/`."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).with_name("zh").glob("*.json")):
        found |= json.loads(path.read_text(encoding="utf-8"))
    return found


def tr(template: str, **values: object) -> str:
    """The template in the reader's language, its places filled."""
    if language() == "zh":
        chosen, values = chinese().get(template, template), {name: _reason(value) for name, value in values.items()}
    else:
        chosen = singular(template, values)
    return chosen.format(**values) if values else chosen


def _reason(value: object) -> object:
    """What the machine says of a failure in the reader's language; other values as they are, whatever they say."""
    if isinstance(value, str | ValueError) and (found := PLACED.fullmatch(str(value))) and found[1] in chinese():
        return f"第 {found[2]} 行第 {found[3]} 个字符处：{chinese()[found[1]]}"
    return chinese().get(value, value) if isinstance(value, str) and value in REASONS else value


def singular(template: str, values: Mapping[str, object]) -> str:
    """The English template with what is counted in the singular where there is one of it; what begins a sentence takes its verbs along."""
    for name in [name for name, value in values.items() if isinstance(value, int) and not isinstance(value, bool) and value == 1]:
        template = re.sub(
            rf"(\{{{name}(?::[^}}]*)?\}}(?: [a-z]+)?) ({COUNTED})\b", lambda found: f"{found[1]} {one_of(found[2])}", template
        )
        subject = rf"(?:^|(?<=\. ))(\{{{name}(?::[^}}]*)?\}} (?:[^.;:{{]|\{{[^}}]*\}})*)((?:[^.{{]|\{{[^}}]*\}})*)"
        template = re.sub(subject, lambda found: VERBS.sub(_of_one, NONE.sub(_is_none, found[1])) + THEY.sub(_of_one, found[2]), template)
    return template


def _of_one(found: re.Match[str]) -> str:
    first, *rest = found[0].split(" ")
    return OF_ONE.get(found[0]) or " ".join([OF_ONE[first], *(rest if first == "their" else (OF_ONE[word] for word in rest))])


def _is_none(found: re.Match[str]) -> str:
    return f"is no {one_of(found[1])}"


def one_of(nouns: str) -> str:
    """Of the words in `COUNTED`."""
    return f"{nouns[:-3]}y" if nouns.endswith("ies") else nouns[:-2] if nouns.endswith(("sses", "xes")) else nouns[:-1]


def listed(names: Sequence[str], most: int = 20) -> str:
    """The first names, and how many more there are."""
    more = tr(" and {count} more", count=len(names) - most) if len(names) > most else ""
    return ", ".join(names[:most]) + more


def folded(sentences: Iterable[str], most: int = ALIKE) -> list[str]:
    """Of sentences that differ by names and numbers alone the first few, and behind them how many more there are."""
    found: dict[str, list[str]] = {}
    for sentence in sentences:
        found.setdefault(" ".join(VARYING.sub("", sentence).split()), []).append(sentence)
    told = list[str]()
    for alike in found.values():
        more = len(alike) - most
        told += alike[:most] + ([tr("… and {count} more like these.", count=more)] if more > 1 else alike[most:])
    return told


def flagged(name: str) -> str:
    """A column's name as it stands behind a flag: in quotes where a shell would divide it."""
    return name if re.fullmatch(r"[\w.,:@%/+-]+", name) else f'"{name}"' if not set('"$`\\') & set(name) else shlex.quote(name)


def together(sentences: Iterable[str]) -> str:
    """Sentences behind one another, as the reader's language sets them."""
    return ("" if language() == "zh" else " ").join(sentence for sentence in sentences if sentence)


def _bare(name: object) -> str:
    """A name without what shells and hands put around it."""
    return str(name).strip(" \t\n'\"`“”‘’").lower()


def few(names: Sequence[str], most: int) -> str:
    """The first few names, and how many more there are; the word for none."""
    return ", ".join(names[:most]) + (f" (+{len(names) - most})" if len(names) > most else "") or tr("none")


def _in_chinese(names: Iterable[str]) -> dict[str, str]:
    """What is shown in Chinese for settings, tasks and kinds, to what they are called: 学习率 to learning_rate."""
    keys = {key: name for name in names for key in (name, "--" + name.replace("_", "-")) if key in chinese()}
    return {chinese()[key]: name for key, name in keys.items()}


def nearest(wrong: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """The known name closest to a wrong one, ready to stand in a sentence; empty when nothing is close."""
    names = {_bare(name): str(name) for name in known}
    if language() == "zh":
        names = _in_chinese(names.values()) | names
    found = difflib.get_close_matches(_bare(wrong), names, n=1, cutoff=cutoff)
    return tr(" Did you mean {name!r}?", name=names[found[0]]) if found else ""
