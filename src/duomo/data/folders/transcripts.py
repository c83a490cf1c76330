"""Recordings with their transcripts: lists with a recording a line, Kaldi's folders, a file of words beside each recording.

A list is known by what it holds, not by its name: its lines begin with names of recordings. So LibriSpeech's `*.trans.txt`, AISHELL's
transcript in a folder apart, Kaldi's `text` with `wav.scp`, VoxForge's PROMPTS, `name|text`, `name: text` and the like are one thing.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.files import JSON_FAULTS
from duomo.core.kinds import audio
from duomo.core.kinds.media import decode_all
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.core.word_patterns import CJK, SOUTHEAST, runs_of
from duomo.data.folders.files import Folder, by_ends, kind_of
from duomo.data.folders.listed import are_classes, known
from duomo.data.folders.timed import LATE
from duomo.data.formats import subtitles
from duomo.data.formats.cues import READERS, Cue, read_cues, sentences
from duomo.data.formats.frames import plain
from duomo.data.formats.text_encoding import read_text
from duomo.data.partition import first_part

LISTS = frozenset(("", ".txt", ".text", ".lst", ".list", ".data", ".prompts", ".trans", ".tra"))
"""Endings of files that may be lists."""
OTHER = frozenset(("wav.scp", "segments", "utt2spk", "spk2utt", "utt2dur", "utt2num_frames", "spk2gender", "reco2dur", "utt2lang"))
"""Files of a Kaldi folder that begin with names of recordings but hold no words."""
MARKS = ("\t", "|", "：", ":", ",", None)
"""What may stand between a name and its words; None is any white space."""
CELLS = ("\t", "|")
"""Marks between which a line may have further cells, such as a speaker: the words are the longest of them."""
WORDS = (".lab", ".trn", ".wrd", ".cls", ".srt", ".vtt")
"""Endings of files of words beside a recording, apart from .txt."""
WHOLE = (*WORDS, ".json")
"""Those whose times are passed over where the recording is short."""
UNREAD = (".stm", ".ctm", ".trs")
"""Endings of transcripts by time that are not read."""
LARGEST = 1 << 26
"""Bytes of a file that may be a list: it is read whole."""
SPEAKERS, SHARED = 5, 0.5
"""Folders from which they are taken for the speakers'; of words that are said again, so many are in other folders too."""
WORD = re.compile(f"[{CJK}{SOUTHEAST}]|" + runs_of(r"[^\W_]"))
SAMPLES = 2000
"""A lone sentence that ends so late is told in samples, not seconds."""
LONGEST = 30.0
"""Seconds of a recording whose subtitles are read as words of the whole."""
_UNSAID, MOST = (re.compile(r"^\d+ \d+ (?=\D)"), re.compile(rf"(?<=[{CJK}]) [a-zü:]+\d(?: (?=[{CJK}])|$)"), re.compile(r"#\d")), 0.9
"""What corpora write into what is said, and the share of the texts that have it: the first and the last sample (TIMIT), how each character
sounds (AISHELL-3), where the voice rests (Biaobei)."""
_NUMBERS = re.compile(r"[\d\s.,:;+-]*")
_QUOTED = re.compile(r'^\(\s*(\S+)\s+"(.*)"\s*\)$')


def read_spoken(folder: Folder) -> Table | None:
    """The recordings of a folder with their words; None where fewer than half of them have any."""
    root, files, sounds, wanted = folder.root, folder.files, folder.shown, folder.encoding
    words = _beside(root, files, sounds, wanted)
    words = words if len(words) == len(sounds) else max(words, _listed(root, files, sounds, wanted), key=len)
    if len(words) < 0.5 * len(sounds):
        _refuse_times(root, files, sounds)
        return None
    for unsaid in _UNSAID:
        if sum(unsaid.search(text) is not None for text in words.values()) >= MOST * len(words):
            words = {sound: unsaid.sub("", text) for sound, text in words.items()}
    places = pa.array(sounds, pa.large_string())
    name = "label" if are_classes(words.values()) else "text"
    columns = {"audio": places, name: pa.array([words.get(file) for file in sounds], pa.large_string()), "file": places}
    if speakers := _speakers(root, files, sounds, wanted) or _apart(sounds, words):
        columns["speaker"] = pa.array([speakers.get(file) for file in sounds], pa.large_string())
    return folder.table(columns, known(columns))


def read_timed(folder: Folder) -> Table | None:
    """What is said or heard in recordings by time (subtitles, TextGrid, .eaf, Audacity's labels, Kaldi's segments), a row for each piece;
    None where fewer than half of them have such a file. Subtitles of short recordings are words of the whole."""
    root, files, sounds, wanted = folder.root, folder.files, folder.shown, folder.encoding
    names, cues = by_ends(sounds), _segments(root, files, sounds, wanted)
    for file in files:
        stem, ending = os.path.splitext(file)
        if ending.lower() in READERS and (sound := _found(stem, "", names) or _found(stem.rpartition(".")[0] or stem, "", names)):
            found = read_cues(root / file, wanted)
            if found and not (ending.lower() in WHOLE and found[-1].end <= LONGEST):
                cues.setdefault(sound, found)
    if len(cues) < 0.5 * len(sounds):
        return None
    if all(len(found) == 1 and found[0].end >= SAMPLES and found[0].end.is_integer() for found in cues.values()):
        return None
    inside = {sound: _inside(root / sound, found) for sound, found in cues.items()}
    if not any(inside.values()):
        first = next(iter(cues))
        raise DataError("What is said of a recording by time must lie within it; of {sound} it goes to {end:g} s, behind its end. Put the "
                        "texts beside their own recordings.", sound=first, end=cues[first][-1].end)  # fmt: skip
    if left := sum(map(len, cues.values())) - sum(map(len, inside.values())):
        folder = folder.noting(tr("{count:,} pieces are left out because their times lie behind the end of their recordings.", count=left))
    cues = inside
    classes = are_classes(cue.text for found in cues.values() for cue in found)
    rows = [(sound, cue) for sound, found in sorted(cues.items()) for cue in (found if classes else sentences(found))]
    said = "label" if classes else "text"
    columns = pa.table([*zip(*((sound, cue.text, sound, cue.begin, cue.end, cue.who) for sound, cue in rows), strict=True)],
                       names=["audio", said, "file", "start", "end", "speaker"])  # fmt: skip
    if not 1 < len({cue.who for _, cue in rows}) < len(rows):
        columns = columns.drop_columns("speaker")
    kinds = known(columns.column_names) | {"start": "id", "end": "id"}
    return folder.table(plain(columns), kinds)


def _inside(path: Path, cues: list[Cue]) -> list[Cue]:
    """The cues that lie within the recording; none of one that cannot be read."""
    look = decode_all([path], audio.look)[0]
    return [cue for cue in cues if cue.end <= look.frames / look.rate + LATE] if isinstance(look, audio.Look) else []


def _segments(root: Path, files: Sequence[str], sounds: list[str], wanted: str) -> dict[str, list[Cue]]:
    """Recording -> its sentences, as Kaldi's `segments` and `text` tell them."""
    lines = [line.split() for line in _every_line(root, files, "segments", wanted)]
    names = _uttered(root, files, sounds, wanted) if lines else {}
    said = dict(line.split(maxsplit=1) for line in _every_line(root, files, "text", wanted) if " " in line) if lines else {}
    found: dict[str, list[Cue]] = {}
    for name, recording, begin, end in (line for line in lines if len(line) == 4):
        if (sound := _found(recording, "", names)) and name in said:
            found.setdefault(sound, []).append(Cue(float(begin), float(end), said[name]))
    return found


def read_classes(folder: Folder) -> Table | None:
    """Pictures or films of one folder with the classes that a list names (`a.png dog`); None where there is no such list."""
    shown = folder.shown
    if len({os.path.dirname(file) for file in shown}) > 1:
        return None
    classes = _listed(folder.root, folder.files, shown, folder.encoding)
    if len(classes) < 0.5 * len(shown) or not are_classes(classes.values()):
        return None
    places = pa.array(shown, pa.large_string())
    columns = {folder.media: places, "label": pa.array([classes.get(file) for file in shown], pa.large_string()), "file": places}
    return folder.table(columns, known(columns))


def refuse_elsewhere(root: Path, files: Sequence[str]) -> None:
    """DataError for a Kaldi folder without its recordings."""
    if any(PurePosixPath(file).name == "wav.scp" for file in files):
        raise DataError("The recordings that a wav.scp names must lie in the folder that is given; {folder} holds none. "
                        "Put the list into the folder of the recordings, and give that one.", folder=root.name)  # fmt: skip


def _listed(root: Path, files: Sequence[str], sounds: list[str], wanted: str) -> dict[str, str]:
    """Recording -> words, of all files that are lists; where several name it, of the one whose words are the least alike. Numbers beside
    words (lengths, sizes) are none."""
    names = _uttered(root, files, sounds, wanted)
    texts = [file for file in files if os.path.splitext(file)[1].lower() in LISTS and (root / file).stat().st_size <= LARGEST]
    found = [_rows(_lines(root / file, wanted), str(PurePosixPath(file).parent), names, len(sounds))
             for file in texts if PurePosixPath(file).name not in OTHER]  # fmt: skip
    said = {sound for rows in found if not _counts(rows) for sound in rows}
    found = [rows for rows in found if not _counts(rows) or said.isdisjoint(rows)]
    return {sound: text for rows in sorted(found, key=lambda rows: len({*rows.values()})) for sound, text in rows.items()}


def _counts(rows: dict[str, str]) -> bool:
    return all(_NUMBERS.fullmatch(text) for text in rows.values())


def _uttered(root: Path, files: Sequence[str], sounds: list[str], wanted: str) -> dict[str, str]:
    """Recordings by their names, and by those that Kaldi's lists give them."""
    names = by_ends(sounds)
    for line in _every_line(root, files, "wav.scp", wanted):
        name, *rest = line.split()
        paths = [word for word in rest if kind_of(word) == "audio"]
        if paths and (found := _found(paths[-1], "", names)):
            names[name] = found
    return names


def _every_line(root: Path, files: Sequence[str], name: str, wanted: str) -> list[str]:
    return [line for file in files if PurePosixPath(file).name == name for line in _lines(root / file, wanted)]


def _speakers(root: Path, files: Sequence[str], sounds: list[str], wanted: str) -> dict[str, str]:
    """Recording -> who speaks, as Kaldi's utt2spk says."""
    pairs = [line.split() for line in _every_line(root, files, "utt2spk", wanted)]
    names = _uttered(root, files, sounds, wanted) if pairs else {}
    return {sound: pair[1] for pair in pairs if len(pair) == 2 and (sound := _found(pair[0], "", names))}


def _apart(sounds: list[str], words: dict[str, str]) -> dict[str, str]:
    """Recording -> the outermost folder that has at least `SPEAKERS` beside it and is a speaker's, as in LibriSpeech, AISHELL, VCTK."""
    folders = {sound: sound.split("/")[:-1] for sound in sounds}
    for depth in range(min(map(len, folders.values()), default=0)):
        names = {sound: parts[depth] for sound, parts in folders.items()}
        several = SPEAKERS <= len({*names.values()}) <= len(sounds) / 2
        if several and not all(map(first_part, {*names.values()})) and _alike(names, words):
            return names
    return {}


def _alike(names: dict[str, str], words: dict[str, str]) -> bool:
    """Whether much the same words are said in all folders, as by speakers; those of languages, or of words, have words of their own."""
    said = {sound: [*dict.fromkeys(WORD.findall(text.lower()))] for sound, text in words.items()}
    often = Counter(word for found in said.values() for word in found)
    inside = Counter((names[sound], word) for sound, found in said.items() for word in found)
    again = [(names[sound], word) for sound, found in said.items() for word in found if often[word] > 1]
    return sum(often[word] > inside[name, word] for name, word in again) >= SHARED * len(again)


def _found(name: str, folder: str, names: dict[str, str]) -> str | None:
    """The recording of that name, first beside the list."""
    name = name.strip().strip("\"'<>").replace("\\", "/").removeprefix("./")
    base = PurePosixPath(name).name
    return names.get(f"{folder}/{name}") or names.get(name) or names.get(base) or names.get(os.path.splitext(base)[0])


def _rows(lines: list[str], folder: str, names: dict[str, str], sounds: int) -> dict[str, str]:
    """Recording -> words by the mark that divides most lines; nothing where the lines are no list."""
    best: dict[str, str] = {}
    for mark in MARKS:
        divided = [(sound, cells) for cells in _cells(lines, mark) if (sound := _found(cells[0], folder, names))]
        if len({sound for sound, _ in divided}) > len(best):
            width = min(len(cells) for _, cells in divided)
            sizes = [sum(len(cells[place]) for _, cells in divided) for place in range(1, width)]
            place = 1 + max(range(len(sizes)), key=lambda number: (sizes[number], number))
            best = {sound: cells[place].strip() for sound, cells in divided if cells[place].strip()}
    return best if len(best) >= 0.5 * min(len(lines), sounds) else {}


def _cells(lines: list[str], mark: str | None) -> Iterator[list[str]]:
    """The cells of each line, the recording's name first; a line may be an object of JSON, as WeNet has them."""
    for line in lines:
        if mark == MARKS[0] and line.startswith("{"):
            with suppress(*JSON_FAULTS):
                told = ["" if cell is None else str(cell) for cell in json.loads(line).values()]
                name, *rest = sorted(told, key=lambda cell: kind_of(cell) != "audio")
                if len(rest) > 1 and (stem := PurePosixPath(name).stem) in rest:
                    rest[rest.index(stem)] = ""  # the recording's name again
                if rest:
                    yield [name, *rest]
            continue
        quoted = _QUOTED.match(line)
        cells = list(quoted.groups()) if quoted else line.split(mark) if mark in CELLS else line.split(mark, 1)
        if len(cells) > 1:
            yield cells


def _text(path: Path, wanted: str) -> str:
    """What a file says; nothing where it is no text."""
    try:
        return read_text(path, wanted)[0]
    except DataError:
        return ""


def _filled(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _lines(path: Path, wanted: str) -> list[str]:
    return _filled(_text(path, wanted))


def _beside(root: Path, files: Sequence[str], sounds: list[str], wanted: str) -> dict[str, str]:
    """Recording -> words of the file of its name, beside it (clip.lab, clip.wav.trn) or in a folder apart (wav/clip.wav, txt/clip.txt)."""
    names, found = by_ends(sounds), dict[str, str]()
    for file in files:
        stem, ending = os.path.splitext(file)
        written, timed = kind_of(file) == "text", ending.lower() in subtitles.SUBTITLES
        if not written and ending.lower() not in WORDS:
            continue
        if sound := _found(stem, "", names) or _found(stem.rpartition(".")[0] or stem, "", names):
            text = _text(root / file, wanted)
            lines = _filled(subtitles.words(text) if timed else text)
            said = " ".join(lines if written or timed else lines[:1])
            if said:
                found.setdefault(sound, said)
    return found


def _refuse_times(root: Path, files: Sequence[str], sounds: list[str]) -> None:
    """DataError where transcripts are there, but by time."""
    stems = {os.path.splitext(file)[0] for file in sounds}
    timed = [file for file in files if os.path.splitext(file)[1].lower() in UNREAD and os.path.splitext(file)[0] in stems]
    cut = [file for file in files if PurePosixPath(file).name == "segments"]
    if cut or len(timed) >= 0.5 * len(sounds):
        raise DataError("Transcripts must say what is in a whole recording; {file} of {folder} divides recordings by time. Cut them at "
                        "these times into a file for each sentence, with its words in a .txt of the same name.",
                        file=(cut or timed)[0], folder=root.name)  # fmt: skip
