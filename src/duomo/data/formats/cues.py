"""What is said or heard from one moment of a recording to another, as subtitles, Praat, ELAN, Audacity and Raven write it down; and what
a model heard, as subtitles.

Words that follow one another are one sentence, up to a pause; classes (call, noise) stay as they were marked.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from duomo.core.files import JSON_FAULTS
from duomo.core.word_patterns import CJK
from duomo.data.formats.text_encoding import read_text
from duomo.data.scenes.voc import read_tree

PAUSE, LONGEST = 0.25, 15.0
"""Seconds of silence at which a sentence ends, and that it lasts at most where words are joined to one."""
BESIDE = 0.2
"""Of a tier's time the share that another may take as well: one that says the same again (phones below words) is not read."""
LARGEST = 1 << 26
"""Bytes of a file that is read."""
CAPTIONS = (".srt", ".vtt")
"""Endings of subtitles that are written."""
_CUE = re.compile(r"\s*(?:(\d+):)?(\d\d?):(\d\d)[.,](\d+)\s+-->\s+(?:(\d+):)?(\d\d?):(\d\d)[.,](\d+)")
_MARKUP = re.compile(r"<[^>]*>|\{[^}]*\}")
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[.])(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w\]])')
_MARK = re.compile(r"\s*(\d+(?:[.,]\d+)?)[\t ]+(\d+(?:[.,]\d+)?)[\t ]+(\S.*)")
_SILENT = re.compile(r"(?i)[\W_]*(?:sil|sp|spn|eps|pause|silence)?[\W_]*")
_APART = re.compile(rf"(?<=[{CJK}]) (?=[{CJK}])")


class Cue(NamedTuple):
    """Words or a class, from second to second."""

    begin: float
    end: float
    text: str
    who: str = ""


def read_cues(path: Path, wanted: str = "") -> list[Cue]:
    """The cues of one file in order, by its ending; none where it holds no such thing."""
    if path.stat().st_size > LARGEST:
        return []
    cues = READERS[path.suffix.lower()](path, wanted)
    return sorted(cue for cue in cues if cue.end > cue.begin >= 0 and not _SILENT.fullmatch(cue.text))


def sentences(cues: Sequence[Cue]) -> list[Cue]:
    """Words that follow one another as one cue, until somebody pauses, another speaks, or it is long."""
    found: list[Cue] = []
    for cue in sorted(cues, key=lambda cue: (cue.who, cue.begin)):
        last = found[-1] if found else None
        if last and last.who == cue.who and cue.begin - last.end < PAUSE and cue.end - last.begin <= LONGEST:
            found[-1] = Cue(last.begin, cue.end, _APART.sub("", f"{last.text} {cue.text}"), cue.who)
        else:
            found.append(cue)
    return sorted(found)


def heard(words: Sequence[Mapping[str, Any]]) -> list[Cue]:
    """Words as a transcriber answers with them (`word`, `start`, `end`), as sentences."""
    return sentences([Cue(one["start"], one["end"], one["word"]) for one in words])


def subtitled(cues: Sequence[Cue], ending: str) -> str:
    """Cues as SubRip (`.srt`) or WebVTT (`.vtt`) has them."""
    blocks = [f"{_clock(cue.begin)} --> {_clock(cue.end)}\n{cue.text}\n" for cue in cues]
    if ending == ".vtt":
        return "\n".join(["WEBVTT\n", *blocks])
    return "\n".join(f"{number}\n{block.replace('.', ',', 2)}" for number, block in enumerate(blocks, 1))


def _clock(seconds: float) -> str:
    thousandths = round(1000 * seconds)
    return f"{thousandths // 3_600_000:02}:{thousandths // 60_000 % 60:02}:{thousandths // 1000 % 60:02}.{thousandths % 1000:03}"


def _subtitles(path: Path, wanted: str) -> Iterator[Cue]:
    for block in re.split(r"\n[ \t]*\n", read_text(path, wanted)[0]):
        lines = block.split("\n")
        place = next((place for place, line in enumerate(lines) if _CUE.match(line)), None)
        if place is not None and (found := _CUE.match(lines[place])):
            said = " ".join(_MARKUP.sub("", line).strip() for line in lines[place + 1 :])
            yield Cue(_moment(found.groups()[:4]), _moment(found.groups()[4:]), said.strip())


def _moment(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, part = parts
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(f"{seconds}.{part}")


def _praat(path: Path, wanted: str) -> list[Cue]:
    """A TextGrid, long or short: both are the same words and numbers in the same order."""
    tokens = iter([found[0] if found[0] or not found[1] else float(found[1]) for found in _TOKEN.findall(read_text(path, wanted)[0])])
    tiers: dict[str, list[Cue]] = {}
    for token in tokens:
        if token in ("IntervalTier", "TextTier"):
            name, _, _, count = (next(tokens, 0.0) for _ in range(4))
            size = 3 if token == "IntervalTier" else 2
            read = [[next(tokens, 0.0) for _ in range(size)] for _ in range(int(count) if isinstance(count, float) else 0)]
            spans = [one for one in read if size == 3 and isinstance(one[0], float) and isinstance(one[1], float)]
            tiers[str(name)] = [Cue(one[0], one[1], str(one[2]).replace('""', '"'), str(name)) for one in spans]  # type: ignore[arg-type]
    return _told_once(tiers)


def _elan(path: Path, wanted: str) -> list[Cue]:
    """The annotations of an .eaf that have times of their own; what hangs on others (a gloss, a translation) has none."""
    tree = read_tree(path, ("ANNOTATION_DOCUMENT",), LARGEST)
    if tree is None:
        return []
    slots = {slot.get("TIME_SLOT_ID", ""): float(slot.get("TIME_VALUE") or "nan") / 1000 for slot in tree.iter("TIME_SLOT")}
    tiers: dict[str, list[Cue]] = {}
    for tier in tree.iter("TIER"):
        name = tier.get("TIER_ID", "")
        who = tier.get("PARTICIPANT", "") or name
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            begin, end = (slots.get(one.get(f"TIME_SLOT_REF{number}", ""), float("nan")) for number in (1, 2))
            tiers.setdefault(name, []).append(Cue(begin, end, (one.findtext("ANNOTATION_VALUE") or "").strip(), who))
    return _told_once(tiers)


def _segments(path: Path, wanted: str) -> Iterator[Cue]:
    """The segments of a transcription as Whisper writes it, a file a recording."""
    with suppress(*JSON_FAULTS, LookupError, TypeError):
        told = json.loads(read_text(path, wanted)[0])
        for one in (told.get("segments") or ()) if isinstance(told, dict) else ():
            yield Cue(float(one["start"]), float(one["end"]), str(one["text"] or "").strip())


def _told_once(tiers: Mapping[str, list[Cue]]) -> list[Cue]:
    """The tiers that do not say again what another says, those of the longest pieces first: sentences before words before sounds."""
    full = {name: [cue for cue in cues if cue.end > cue.begin and not _SILENT.fullmatch(cue.text)] for name, cues in tiers.items()}
    found: list[Cue] = []
    for name in sorted((name for name in full if full[name]), key=lambda name: -_lasting(full[name]) / len(full[name])):
        both = sum(max(0.0, min(one.end, other.end) - max(one.begin, other.begin)) for one in full[name] for other in found)
        if both <= BESIDE * _lasting(full[name]):
            found += full[name]
    return found


def _lasting(cues: Sequence[Cue]) -> float:
    return sum(cue.end - cue.begin for cue in cues)


def _marks(path: Path, wanted: str) -> Iterator[Cue]:
    """Audacity's labels: begin, end and label in each line; lines of frequencies begin with a backslash."""
    lines = [line for line in read_text(path, wanted)[0].splitlines() if line.strip() and not line.startswith("\\")]
    found = [_MARK.fullmatch(line) for line in lines]
    for mark in found if all(found) else ():
        if mark:
            yield Cue(float(mark[1].replace(",", ".")), float(mark[2].replace(",", ".")), mark[3].strip())


READERS: dict[str, Callable[[Path, str], Iterator[Cue] | list[Cue]]] = {
    ".srt": _subtitles, ".vtt": _subtitles, ".json": _segments, ".textgrid": _praat, ".eaf": _elan, ".txt": _marks,
}  # fmt: skip
