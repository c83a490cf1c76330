"""Texts with pictures in them: notes and saved pages whose pictures lie beside them are texts, and no collection of pictures."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from duomo.data.folders.companions import is_named
from duomo.data.folders.listed import LOOKED_AT

SHOWING = frozenset((".md", ".rst", ".html", ".htm", ".xhtml"))
"""Endings of texts that name the pictures which they show."""
MOST, SHARE = 1 << 26, 0.5
"""Bytes of the texts that are looked into; share of the pictures, at least, that they show."""
EACH, LETTERS = 4, 40
"""Pictures of a page, at most, or letters beside each, at least: a gallery or preview shows many with hardly a word."""
_MARKUP = re.compile(rb"(?is)<(script|style)\b.*?</\1>|<[^>]*>|!?\[[^\]]*\]\([^)]*\)|\s+")


def is_illustrated(root: Path, files: Sequence[str], pictures: Sequence[str]) -> bool:
    """Whether most pictures are shown in texts: in several, or in one that all of them lie in one folder for; pages of hardly more than
    pictures are no texts."""
    pages = [file for file in files if PurePosixPath(file).suffix.lower() in SHOWING and not is_named(file)]
    if not pages or not pictures or (len(pages) == 1 and len({PurePosixPath(file).parent for file in pictures}) > 1):
        return False
    written, size = list[bytes](), 0
    for page in pages:
        size += (root / page).stat().st_size
        if size > MOST:
            break
        written.append((root / page).read_bytes())
    if len(pictures) > EACH * len(pages) and sum(len(_MARKUP.sub(b"", page)) for page in written) < LETTERS * len(pictures):
        return False
    some = pictures[:: max(1, len(pictures) // LOOKED_AT)]
    shown = sum(any(name in page for page in written for name in _names(file)) for file in some)
    return shown > SHARE * len(some)


def _names(file: str) -> tuple[bytes, bytes]:
    """A picture's name as it is and as links have it."""
    name = PurePosixPath(file).name
    return name.encode(), quote(name).encode()
