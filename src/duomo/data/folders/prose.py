"""Which files of a folder are written in words, and which of them are learned from together: texts, pages, code."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from duomo.core.messages import tr
from duomo.core.table import MEDIA
from duomo.data.folders.classes import labels_of
from duomo.data.folders.companions import cards, is_named
from duomo.data.folders.files import kind_of
from duomo.data.formats.nameless import is_plain
from duomo.data.formats.pages import PAGES

CODE = frozenset((".c", ".cc", ".cpp", ".cs", ".css", ".go", ".h", ".hpp", ".java", ".js", ".kt", ".lua", ".php", ".pl", ".py",
                  ".r", ".rb", ".rs", ".sh", ".sql", ".swift", ".tex", ".vue"))  # fmt: skip
"""Endings of source texts: read where a folder holds nothing else to learn from."""
OTHERS = 0.2
"""Of the files that are read, so many of another kind at least are worth a sentence."""
PROSE = frozenset((".md", ".rst")) | PAGES
"""Endings of pages: read as texts are, but where they only accompany other files."""


def writing(root: Path, file: str) -> str:
    """What kind of text a file is by its name: text, prose, code; nameless where it has no ending and is text; else nothing."""
    ending = os.path.splitext(file)[1].lower()
    named = {"prose": ending in PROSE, "code": ending in CODE, "text": kind_of(file) == "text"}
    return next((kind for kind, fits in named.items() if fits), "nameless" if not ending and is_plain(root / file) else "")


def alike(root: Path, kinds: dict[str, str]) -> list[str]:
    """Texts with unlike endings: of the kind that most are of; of texts and pages both, but for those about the others, and but for the
    fewer words beside folders of classes."""
    counts = Counter(kind for kind in kinds.values() if kind)
    most = max(counts, key=lambda kind: (counts[kind], kind == "text"))
    chosen = [file for file, kind in kinds.items() if kind == most]
    if most in ("code", "nameless"):
        return chosen
    both = [file for file, kind in kinds.items() if kind == most or (kind in ("text", "prose") and not is_named(file))]
    classes = labels_of(root, chosen)
    if classes is None or len({*classes.labels}) < 2 or labels_of(root, both) is not None:
        return both
    inside, whole = (sum((root / file).stat().st_size for file in files) for files in (chosen, both))
    return chosen if 2 * inside > whole else both


def passed_over(about: Sequence[str]) -> list[str]:
    """A sentence on texts that are about the data."""
    return [tr("Texts that are about the data are not learned from: {names}.", names=", ".join(about[:5]))] if about else []


def passed_by(files: Sequence[str]) -> list[str]:
    """A sentence on texts that are neither about the data nor say anything of them that is read."""
    found = [file for file in files if (kind_of(file) == "text" or os.path.splitext(file)[1].lower() in PROSE) and not is_named(file)]
    return [tr("{count} texts that lie beside are not learned from: {names}. To learn from the texts, put them into a folder of their "
               "own.", count=len(found), names=", ".join(found[:3]))] if found else []  # fmt: skip


def tables_beside(files: Sequence[str]) -> list[str]:
    """The same on tables beside texts."""
    tables = [file for file in files if kind_of(file) == "table"]
    found = [file for file in tables if not is_named(file) and file not in cards(tables)]
    return [tr("{count} tables beside the texts are not read: {names}. To learn from one, give it alone.",
               count=len(found), names=", ".join(found[:3]))] if found else []  # fmt: skip


def media_beside(files: Sequence[str], shown: Collection[str]) -> list[str]:
    """The same on sounds in folders of their own, where pictures are read, or the like."""
    found = sorted({file for file in files if kind_of(file) in MEDIA}.difference(shown))
    return [tr("{count} files of another kind are not learned from: {names}. To learn from them, give the folder that they lie in.",
               count=len(found), names=", ".join(found[:3]))] if len(found) > OTHERS * len(shown) else []  # fmt: skip
