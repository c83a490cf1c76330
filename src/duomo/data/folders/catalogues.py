"""Messages of programs by their keys, a file a language: Android's values/strings.xml beside values-zh/strings.xml, en.json beside zh.json,
messages.properties beside messages_zh.properties, en.lproj beside zh.lproj of Apple, .arb, .resx. A row is what all say under one key.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from duomo.core.files import JSON_FAULTS
from duomo.core.messages import listed, tr
from duomo.core.table import Table
from duomo.data.folders.files import Folder, kind_of
from duomo.data.formats.aligned import LANGUAGES, REGION
from duomo.data.formats.rows import of_texts
from duomo.data.formats.text_encoding import read_text
from duomo.data.scenes.voc import read_tree

LARGEST, FEWEST, SHARED, TEXTS = 1 << 26, 5, 0.3, 0.9
"""Bytes of a file; keys that two languages must share, as a number and of those that the smaller has; and entries of a file
that must be messages."""
SOURCE = "source"
"""What the language is called that no name tells: the one that a program was written in."""
FOLDER = re.compile(r"(?P<android>values)(-(b\+)?(?P<code>[a-z]{2,3}(-r[A-Z]{2}|\+\w+)*))?|(?P<apple>[\w-]+)\.lproj")
"""Folders of one language, as Android and Apple call them."""
PROPERTY = re.compile(r"\s*((?:\\.|[^\\:=\s])+)\s*[:=\s]\s*(.*)")
QUOTED = re.compile(
    r'(?:"((?:[^"\\]|\\.)*)"|(?<![\w.$-])([\w.$-]+))\s*=\s*"((?:[^"\\]|\\.)*)"\s*;(?:[ \t]*//.*?$)?', re.DOTALL | re.MULTILINE
)
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{4})|(.))", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
Texts = dict[str, str]
"""Of each key what is said."""


def read_catalogues(folder: Folder) -> Table | None:
    """A column for each language, a row for each key that two of them have; None for a folder of other files. What a language repeats as
    another has it is not translated."""
    sets = defaultdict[str, dict[str, str]](dict)
    for file in folder.files:
        if PurePosixPath(file).suffix.lower() in READERS and folder.size(file) <= LARGEST:
            stem, language = _named(file)
            sets[stem].setdefault(language, file)
    several = {stem: one for stem, one in sets.items() if len(one) > 1 and any(one)}
    read, rows, told, notes = set[str](), list[Texts](), list[Texts](), list[str]()
    for files in several.values():
        found = {language or SOURCE: _texts(folder, file, notes) for language, file in sorted(files.items())}
        found = {language: texts for language, texts in found.items() if texts}
        if len(found) > 1 and _together(found):
            rows += _rows(found)
            told += found.values()
            read |= {file for language, file in files.items() if (language or SOURCE) in found}
    names = sorted({name for row in rows for name in row}, key=lambda name: (name != SOURCE, name))
    others = [file for file in folder.files if file not in read and kind_of(file) in ("table", "text")]
    keys = {key for texts in told for key in texts}
    if len(names) < 2 or len(others) > len(read) or (len(keys) < len(told) and READERS[PurePosixPath(min(read)).suffix.lower()] is _json):
        return None  # or a record each, of countries (de.json, fr.json)
    whole = sum(map(len, rows))
    rows = [{said: name for name, said in reversed(row.items())} for row in rows]  # the first language that says so
    same = whole - sum(map(len, rows))
    rows = [{name: said for said, name in row.items()} for row in rows if len(row) > 1]
    if not rows:
        return None
    said = [tr("The files hold what a program says, by keys, in several languages ({names}): {count:,} keys are the rows.",
               names=listed(names, 5), count=len(rows))]  # fmt: skip
    if same:
        said.append(tr("{count:,} texts are the same as in another language, so not translated, and were left out.", count=same))
    if rest := [file for file in folder.files if file not in read]:
        said.append(tr("{count} files beside the translations are not read: {names}.", count=len(rest), names=", ".join(rest[:3])))
    data = of_texts(names, [[row.get(name) for name in names] for row in rows])
    return folder.table(data, dict.fromkeys(names, "text"), *said, *notes[:3])


def _named(file: str) -> tuple[str, str]:
    """What a file is called but for its language, and this; empty where none is told."""
    path = PurePosixPath(file)
    steps = [*path.parts[:-1]]
    for place, step in enumerate(steps):
        told = FOLDER.fullmatch(step)
        if told or _is_language(step):
            language = (told["code"] or told["apple"] or "").replace("-r", "-").replace("+", "-") if told else step
            steps[place] = "values" if told and told["android"] else "*"
            return "/".join([*steps, path.name]), "" if language == "Base" else language
    for start in (0, *(sign.end() for sign in re.finditer("(?<=.)[-_.]", path.stem))):
        if _is_language(path.stem[start:]):
            return "/".join([*steps, path.stem[: max(0, start - 1)] + path.suffix]), path.stem[start:]
    return file, ""


def _is_language(word: str) -> bool:
    code = re.split("[-_]", word)[0]
    return code.lower() in LANGUAGES and REGION.fullmatch(word[len(code) :]) is not None


def _together(found: Mapping[str, Texts]) -> bool:
    """Whether the languages share many keys."""
    first, *others = sorted(found.values(), key=len, reverse=True)
    return all(len(first.keys() & one.keys()) >= max(FEWEST, SHARED * len(one)) for one in others)


def _rows(found: Mapping[str, Texts]) -> Iterator[Texts]:
    for key in dict.fromkeys(key for texts in found.values() for key in texts):
        row = {language: texts[key] for language, texts in found.items() if texts.get(key, "").strip()}
        if len(row) > 1:
            yield row


def _texts(folder: Folder, file: str, notes: list[str]) -> Texts:
    """The texts of a file by their keys; none where it holds anything else, but for a few entries."""
    path = folder.root / file
    reader = READERS[path.suffix.lower()]
    if reader in (_android, _resx):
        return reader(path, [])
    text, problems = read_text(path, folder.encoding)
    odd = list[str]()
    texts = reader(text, odd)
    notes += [f"{file}: {problem}" for problem in problems]
    if len(odd) > max(1, (1 - TEXTS) * (len(texts) + len(odd))):
        return {}
    if odd:
        notes.append(tr("{count} entries of {file} are no messages and were left out: {names}.", count=len(odd), file=file,
                        names=listed([repr(one) for one in odd], 3)))  # fmt: skip
    return texts


def _plain(text: str) -> str:
    """With what stands behind backslashes as it is meant."""
    return _whole(ESCAPE.sub(lambda one: chr(int(one[1] or one[2], 16)) if one[1] or one[2] else ESCAPES.get(one[3], one[3]), text))


def _whole(text: str) -> str:
    """Halves of a sign that follow one another, as the sign; one alone as the mark of what cannot be read."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _android(path: Path, _: list[str]) -> Texts:
    tree = read_tree(path, ("resources",), LARGEST)
    return {} if tree is None else dict(_resources(tree))


def _resources(tree: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for one in tree:
        inner = [one] if one.tag == "string" else one.findall("item") if one.tag in ("plurals", "string-array") else []
        for place, element in enumerate([] if one.get("translatable") == "false" else inner):
            said = " ".join("".join(element.itertext()).split())
            key = f"{one.get('name')}/{element.get('quantity') or place}" if element is not one else str(one.get("name"))
            if said and not re.match(r"@\w+/", said):
                yield key, _plain(said[1:-1] if len(said) > 1 and said[0] == said[-1] == '"' else said)


def _resx(path: Path, _: list[str]) -> Texts:
    tree = read_tree(path, ("root",), LARGEST)
    found = [] if tree is None else [one for one in tree.findall("data") if one.get("name") and not one.get("type")]
    return {str(one.get("name")): str(one.findtext("value") or "") for one in found}


def _properties(text: str, odd: list[str]) -> Texts:
    lines = [line for line in re.sub(r"\\\n[ \t]*", "", text).split("\n") if line.strip() and line.lstrip()[0] not in "#!"]
    found = {line: PROPERTY.fullmatch(line) for line in lines}
    odd += [line.strip() for line, one in found.items() if not one]
    return {_plain(one[1]): _plain(one[2].strip()) for one in found.values() if one}


def _strings(text: str, odd: list[str]) -> Texts:
    text = re.sub(r"/\*.*?\*/|^\s*//.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    odd += [line.strip() for line in QUOTED.sub("", text).splitlines() if line.strip()]
    return {_plain(key or bare): _plain(said) for key, bare, said in QUOTED.findall(text)}


def _json(text: str, odd: list[str]) -> Texts:
    try:
        told = dict(_leaves(json.loads(text)))
    except JSON_FAULTS:
        return {}
    odd += [key for key, value in told.items() if not isinstance(value, str)]
    return {_whole(key): _whole(value) for key, value in told.items() if isinstance(value, str)}


def _leaves(told: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """What objects within objects hold; of a list nothing is a text of a program."""
    if not isinstance(told, dict):
        yield key, told
        return
    for name, value in told.items():
        if not name.startswith("@"):  # about a message, in .arb
            yield from _leaves(value, f"{key}.{name}" if key else name)


READERS: dict[str, Callable[[Any, list[str]], Texts]] = {
    ".xml": _android, ".resx": _resx, ".properties": _properties, ".strings": _strings, ".json": _json, ".arb": _json,
}  # fmt: skip
