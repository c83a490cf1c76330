"""Subtitles and lyrics by time as the words in them: SubRip, WebVTT, SubStation Alpha, LRC, YouTube's SBV. A cue becomes a line."""

import re
from collections.abc import Iterator

SUBTITLES = frozenset((".srt", ".vtt", ".ass", ".ssa", ".lrc", ".sbv"))
_TIMES = re.compile(r"\s*(?:\d+:)?\d+:\d\d[.,]\d+\s*(?:-->|,)\s*(?:\d+:)?\d+:\d\d[.,]\d+")
_LYRIC = re.compile(r"(?:\[\d+:\d+(?:[.:]\d+)?\])+(.*)")
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}|\{[^{}]*\\[^{}]*\}")
_BREAK = re.compile(r"\\[Nnh]")
DIALOGUE, BEFORE = "Dialogue:", 9
"""What begins a line of SubStation Alpha with words, and the commas before these."""


def words(text: str) -> str:
    """The words of all cues, a line each, without times, numbers, styles and marks; what a cue repeats of the one before is said once."""
    found = list[str]()
    for cue in _cues(text.replace("\r\n", "\n").lstrip("\ufeff")):
        lines = [" ".join(_BREAK.sub(" ", _MARKUP.sub("", line)).split()) for line in cue]
        while lines and found and lines[0] in (found[-1], ""):
            lines.pop(0)
        found += [" ".join(filter(None, lines))] if any(lines) else []
    return "\n".join(found)


def _cues(text: str) -> Iterator[list[str]]:
    """The lines of each cue."""
    lyrics = [line[1] for line in map(_LYRIC.fullmatch, text.split("\n")) if line]
    spoken = [line.split(",", BEFORE)[-1] for line in text.split("\n") if line.startswith(DIALOGUE)]
    if lyrics or spoken:
        yield from ([line] for line in lyrics or spoken)
        return
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.split("\n")
        place = next((place for place, line in enumerate(lines) if _TIMES.match(line)), None)
        if place is not None:
            yield lines[place + 1 :]
