"""Every sentence that a person reads, in English or Chinese: `tr("… {name} …", name=value)`.

The English template is the key; the files of `zh/` beside this one map it to Chinese. A test holds the two together.
"""

import difflib
import json
import os
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache
from pathlib import Path

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
    chosen = chinese().get(template, template) if language() == "zh" else template
    return chosen.format(**values) if values else chosen


def nearest(wrong: str, known: Iterable[str]) -> str:
    """The known name closest to a wrong one, ready to stand in a sentence; empty when nothing is close."""
    names = {str(name).lower(): str(name) for name in known}
    found = difflib.get_close_matches(str(wrong).lower(), names, n=1, cutoff=0.5)
    return tr(" Did you mean {name!r}?", name=names[found[0]]) if found else ""
