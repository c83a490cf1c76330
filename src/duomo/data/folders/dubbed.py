"""Subtitles of one film in several languages as translations: what is shown at the same time says the same.

show.en.srt  00:01,0 --> 00:03,0  Where is he?      en            zh            file
show.zh.srt  00:01,2 --> 00:03,1  他在哪儿？    ->   Where is he?  他在哪儿？     show
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.folders.files import Folder
from duomo.data.formats.aligned import Sides, as_long
from duomo.data.formats.cues import CAPTIONS, Cue, read_cues
from duomo.data.formats.rows import of_texts
from duomo.data.formats.text_encoding import detect

SHARED, TOGETHER, SURELY = 0.5, 0.5, 0.9
"""Of the shorter of two cues the share that both are shown; of all cues those that must have others beside them, at least, where longer
texts stand beside longer ones, and where nothing is known of these: another version of the film is out of step."""
Group = dict[str, list[str]]
"""Of each language what is shown together."""


def are_captions(texts: Sides) -> bool:
    return all(PurePosixPath(file).suffix.lower() in CAPTIONS for files in texts.values() for file in files.values())


def read_dubbed(folder: Folder, texts: Sides) -> Table | None:
    """A column for each language, a row for what is shown together; None where the times do not fit."""
    languages, rows, cues = list(next(iter(texts.values()))), list[tuple[str, ...]](), 0
    files = [file for one in texts.values() for file in one.values()]
    notes = [f"{file}: {problem}" for file in files for problem in detect(folder.root / file, folder.encoding).problems]
    lost = 0
    for stem, one in texts.items():
        told = {language: read_cues(folder.root / file, folder.encoding) for language, file in one.items()}
        groups = _together(told)
        cues += sum(map(len, told.values()))
        lost += sum(map(len, (said for group in groups if len(group) < len(languages) for said in group.values())))
        rows += [(*(" ".join(group[language]) for language in languages), stem) for group in groups if len(group) == len(languages)]
    alike = all(as_long([(len(row[0]), len(row[place])) for row in rows]) for place in range(1, len(languages)))
    if not rows or cues - lost < (TOGETHER if alike else SURELY) * cues:
        return None
    names = [*languages, *(("file",) if len(texts) > 1 else ())]
    said = [tr("Subtitles in several languages: {count:,} rows of what is shown at the same time.", count=len(rows))]
    said += [tr("{count:,} cues of one language alone were left out.", count=lost)] if lost else []
    known = {name: "id" if name == "file" else "text" for name in names}
    return folder.table(of_texts(names, [row[: len(names)] for row in rows]), known, *said, *notes[:3])


def _together(told: Mapping[str, Sequence[Cue]]) -> list[Group]:
    """The cues of all languages in groups of those that are shown together, in order."""
    line = sorted((cue.begin, cue.end, language, cue.text) for language, cues in told.items() for cue in cues)
    groups, shown = list[Group](), list[tuple[float, float, str, Group]]()
    for begin, end, language, text in line:
        shown = [one for one in shown if one[1] > begin]
        mates = [group for start, stop, other, group in shown if other != language and _share(start, stop, begin, end) >= SHARED]
        if not mates:
            groups.append({})
        group = mates[0] if mates else groups[-1]
        group.setdefault(language, []).append(text)
        shown.append((begin, end, language, group))
    return groups


def _share(start: float, stop: float, begin: float, end: float) -> float:
    """Of the shorter one's time what both have."""
    return (min(stop, end) - max(start, begin)) / min(stop - start, end - begin)
