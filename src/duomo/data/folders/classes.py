"""Class folders: which of the folders that files lie in name their class, and which what the files of several classes came from."""

import re
from collections import Counter
from collections.abc import Collection
from itertools import combinations, takewhile
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.kinds import audio, media
from duomo.core.messages import listed, tr
from duomo.core.table import Table
from duomo.data.folders.files import Folder, kind_of
from duomo.data.folders.listed import GROUP, PEOPLE, SOURCE, known, sources
from duomo.data.folders.whose import CROSSED, NUMBERED
from duomo.data.partition import PARTS, beside_part, part_of
from duomo.data.split_sizes import TEST, TRAIN, VALID

_OUTER = re.compile(
    r"(^|[^a-z])(all|archive|audio|class(es)?|classification|clips|corpus|data|datasets?|files|films|folders|images?|imgs?|jpe?gs?|photos?"
    r"|pics|pictures?|png|raw|recordings|samples|sets?|sounds|test|train(ing)?|val(id(ation)?)?|videos|wavs?)([^a-z]|$)"
    r"|(data|dataset|images|photos|pictures)$|数据|图片|图像|照片|音频|视频|样本",
    re.IGNORECASE,
)
"""What folders are called that hold data, whatever their classes."""
FIRST = "field_1"
"""The first field of files' names; folders that say no more than a later one may not be what is to be learned (01/7_01_0.wav)."""
REPEATED = 0.5
"""Where inner folders repeat, so many of them do, and of all pairs of an outer and an inner one so many are there, at least."""
FEWEST_INSIDE = 3
"""Folders of files within the only one, from which on they are the classes, whatever it is called."""
FEWEST = 5
"""Files of a class to test on, on average, at least, where one that has none is no class."""
FIELDS, MOST_CODES = 3, 60
"""Fields of a file's name at least; values of a field at most."""
FEW_BEDS, LONG_BEDS = 5, 10.0
"""How many times as many recordings a usual class has at least, and how many times as long those are that noise is cut from."""
MOST_INSIDE = 0.8
"""Of files that mostly lie in folders of classes, so many do, at least; the others have no class."""
NAMED, SIGN = 0.5, 4
"""Of the files so many are called so, at least, where the words are classes; letters at most of what a camera calls its pictures (DSC)."""
_ORIGINS = re.compile(
    r"((actor|batch|cam(era)?|cent(er|re)|clinic|day|device|domain|fold|group|hospital|id|img|image|lab|location|machine|operator|part|patient"
    r"|person|photo|place|plant|region|round|run|scanner|sequence|singer|session|set|shift|site|speaker|station|subject|user|view|video|week"
    r"|writer|year|批次|医院|地点|工厂|患者|相机)s?[-_ ]?([a-z]|\d+)?|front|back|left|right|top|bottom|side|night|raw"
    r"|(19|20)\d\d([-_]?\d\d){0,2})",
    re.IGNORECASE,
)
"""What folders are called by where, when, or of whom the files were made, and how they lie."""
_SORTED = re.compile(
    r"(class|categor(y|ie)|grade|kind|label|level|score|stage|type|类别?|等?级)(e?s)?[-_ ]?\d+|\d+[-_ ]?(类|级)", re.IGNORECASE
)
"""What numbered classes are called."""


class Classed(NamedTuple):
    """Of each file the folder that is its class and, where that is the inner one, the outer one; and what is to be said."""

    labels: list[str]
    groups: list[str] | None = None
    said: tuple[str, ...] = ()


def labels_of(root: Path, files: list[str]) -> Classed | None:
    """The first folder of each path where all lie in folders, else None; below the folders of splits, the second, and so where the second
    ones repeat in first ones that are called after places and the like, or are fewer."""
    if not files or not all("/" in file for file in files):
        return None
    folders = _forked(root.name, [file.split("/")[:-1] for file in files])
    labels = [names[0] for names in folders]
    deep = all(len(names) > 1 for names in folders)
    parts = {label: part_of([label]) for label in set(labels)}
    inner = [names[1 + (names[1:2] == names[:1]) :] for names in folders]  # test_set/test_set/cat
    taught, judged = ({names[0] for names, label in zip(inner, labels, strict=True) if names and parts[label] in held}
                      for held in ((TRAIN,), (VALID, TEST)))  # fmt: skip
    divided = len({*parts.values()}) > 1 and TRAIN in parts.values() and None not in parts.values()
    if deep and taught & judged and not divided:  # others beside are neither to learn nor to test (seg_pred, ground_truth)
        inner = [[""] if parts[label] is None else names for names, label in zip(inner, labels, strict=True)]
        divided = True
    learned, asked = ({beside_part(label) for label in parts if parts[label] in held} for held in ((TRAIN,), (VALID, TEST)))
    bare = not deep and bool(learned & asked)  # bounding_box_train, bounding_box_test, query
    if divided or bare or (len(set(labels)) > 1 and {label.lower() for label in labels} <= PARTS.keys()):
        if all(inner):
            return _of_parts(labels, [names[0] for names in inner])
        first, *_, last = sorted(set(labels), key=lambda label: ("train" not in label.lower(), "test" in label.lower()))
        raise DataError(
            "The folders of {folder} are splits without folders of classes in them: {labels}. Put the files into a folder for each class, "
            "or train on {first} and give {last} as the test.",
            folder=root.name, labels=", ".join(sorted(set(labels))), first=f"{root.name}/{first}", last=f"--test {root.name}/{last}",
        )  # fmt: skip
    return _of_two(labels, [names[1] for names in folders]) if deep else Classed(labels)


def _of_parts(outer: list[str], labels: list[str]) -> Classed:
    """Classes within parts; empty where they are none: of a part whose only folder is met in no other (test/images), and a folder of many
    files that is there to learn from but not to test on (unsup, beside pos and neg)."""
    pairs = Counter(zip(map(str.lower, outer), labels, strict=True))
    inside = {part: {label for one, label in pairs if one == part} for part, _ in pairs}
    trained = {part for part in inside if part_of([part]) == TRAIN}
    taught = {label for part in trained for label in inside[part]}
    strange = {
        (part, label) for part in inside if part not in trained and len(inside[part]) == 1 < len(taught) for label in inside[part] - taught
    }
    tested = {label for part, label in pairs if part not in trained} - {label for _, label in strange}
    least = min((pairs[part, label] for part in trained for label in tested if pairs[part, label]), default=0)
    tests = sum(count for (part, label), count in pairs.items() if part not in trained and label in tested)
    alone = {label for label in taught - tested if len(tested) > 1 and tests >= FEWEST * (len(tested) + 1)
             and sum(pairs[part, label] for part in trained) >= least}  # fmt: skip
    whole = alone if len(tested) == len(taught - alone) else set()
    return Classed(["" if (part.lower(), label) in strange or label in whole else label for part, label in zip(outer, labels, strict=True)])


def within(files: list[str]) -> list[str]:
    """The files that lie as deep as most do in folders of parts, where few lie otherwise (urls.txt in train/, beside pos/ and neg/); else
    all of them."""
    (depth, count), *_ = Counter(file.count("/") for file in files).most_common(1)
    found = [file for file in files if file.count("/") == depth]
    parts = {part_of(file.split("/")[:1]) for file in found}
    return found if depth > 1 and count >= MOST_INSIDE * len(files) and TRAIN in parts and len(parts) > 1 and None not in parts else files


def known_classes(files: list[str], classed: Classed) -> tuple[list[str], Classed]:
    """The files whose folders are classes, and these; how many are left out is said."""
    lost = [file for file, label in zip(files, classed.labels, strict=True) if not label]
    if not lost:
        return files, classed
    names = dict.fromkeys(file.rpartition("/")[0] for file in lost)
    said = tr("{count:,} files are left out, for their folders ({names}) are no classes both to learn and to test. What is to be answered: "
              "duomo predict RUN FOLDER", count=len(lost), names=listed([*names], 5))  # fmt: skip
    kept = [place for place, label in enumerate(classed.labels) if label]
    groups = [classed.groups[place] for place in kept] if classed.groups else None
    return [files[place] for place in kept], Classed([classed.labels[place] for place in kept], groups, (*classed.said, said))


def _forked(root: str, folders: list[list[str]]) -> list[list[str]]:
    """Folders without the outer ones that all share and that name no class (`dataset/cat`, `data/train/dog`), where the classes lie below;
    else as they are: of one class alone (`cat/indoors`, `cat/outdoors`) the outer one is the class."""
    seconds, alone = Counter(names[1] if len(names) > 1 else "" for names in folders), len({names[0] for names in folders}) == 1
    parts = {part_of([name]) for name in seconds}
    parted = TRAIN in parts and bool(parts & {VALID, TEST}) and all(len(names) > 2 for names in folders)
    many = "" not in seconds and len(seconds) >= FEWEST_INSIDE and min(seconds.values()) >= FEWEST and not _origins(seconds)
    around = all(len(names) > 2 for names in folders) and _origins(seconds)  # of one machine alone: fan/id_00/normal
    if alone and (parted or around or (many and None in parts)):
        return _forked(root, [names[1:] for names in folders])
    first, last = min(folders), max(folders)
    shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1] and _is_outer(pair[0], root), zip(first, last, strict=False))]
    inner = [names[len(shared) :] for names in folders]
    if not shared or not any(inner):
        return [names[1:] for names in folders] if len(shared) > 1 and shared[0].lower() in PARTS else folders
    firsts = {names[0] for names in inner if names}
    parted = {name.lower() for name in firsts} <= PARTS.keys() and any(len(names) < 2 for names in inner)
    return folders if not all(inner) or parted or _origins(firsts) else inner


def _is_outer(name: str, root: str) -> bool:
    """Whether a folder is called after a part of the data, after data, or as the one that it lies in (as in archives)."""
    return name.lower() in PARTS or name == root or _OUTER.search(name) is not None


def _of_two(outer: list[str], inner: list[str]) -> Classed:
    pairs, outers, inners = set(zip(outer, inner, strict=True)), sorted(set(outer)), sorted(set(inner))
    often = sum(count > 1 for count in Counter(name for _, name in pairs).values())
    repeat = len(inners) > 1 and often >= REPEATED * len(inners) and len(pairs) >= REPEATED * len(outers) * len(inners)
    if not repeat or {name.lower() for name in inners} & PARTS.keys():
        return Classed(outer)
    told = {"inner": listed(inners, 5), "outer": listed(outers, 5)}
    numbered = len({re.sub(r"\d+", "", name) for name in inners}) == 1 and not all(_SORTED.fullmatch(name) for name in inners)
    if not _origins(inners) and (_origins(outers) or (len(inners) > len(outers) and not numbered)):
        said = tr(
            "The inner folders repeat in several outer ones: they are the classes ({inner}), and the outer ones groups ({outer}).", **told
        )
        return Classed(inner, outer, (said,))
    said = tr("The outer folders are the classes ({outer}); the inner ones, which repeat in them, are not learned ({inner}). To learn the "
              "inner ones, put them outside.", **told)  # fmt: skip
    return Classed(outer, None, (said,))


def _origins(names: Collection[str]) -> bool:
    return all(_ORIGINS.fullmatch(name) for name in names)


def are_people(names: Collection[object]) -> bool:
    """Whether folders are called by whom the files are of, not by where or when these were made."""
    return all(PEOPLE.fullmatch(str(name)) for name in names)


def has_classes(root: Path, files: list[str], media: str) -> bool:
    """Whether the media lie in folders of several classes, or of parts without any."""
    try:
        found = labels_of(root, [file for file in files if kind_of(file) == media])
    except DataError:
        return True
    return found is not None and len({*found.labels}) > 1


def classes(folder: Folder, files: list[str]) -> Table:
    """The files with their class; a few that lie beside the folders of several classes have none."""
    inside = [file for file in files if "/" in file]
    few = len(inside) < len(files) <= len(inside) / MOST_INSIDE and len({file.split("/")[0] for file in inside}) > 1
    found = _labels(folder.root, inside if few else files)
    if found is not None and not few:
        files, found = known_classes(files, found)
        inside = files
    if found is not None and (len({*found.labels}) == 1 or _counted(found.labels)) and _is_outer(found.labels[0], folder.root.name):
        found = None
    columns = {folder.media: pa.array(files, pa.large_string())}
    fields, folders = _fields(files), [file.split("/")[-2] for file in files] if all("/" in file for file in files) else []
    told = next((name for name, cells in fields.items() if (found is None or found.labels == folders) and _repeats(folders, cells)), "")
    second = found is not None and any(cells == folders for name, cells in fields.items() if name != FIRST)
    alone = found is not None and len({*found.labels}) == 1
    fields, found = (fields, Classed([], folders)) if told else (fields if found is None or alone or second else {}, found)
    columns |= {name: pa.array(cells, pa.large_string()) for name, cells in fields.items()}
    folder = folder.noting(*_shown(fields, told, folders))
    if (found is None or alone) and not fields and (words := _words(files)):
        counts = [f"{word} {count:,}" for word, count in Counter(filter(None, words)).most_common()]
        folder = folder.noting(tr("The names of the files are a word and a number each: the words are their classes ({words}).",
                                  words=listed(counts, 5)))  # fmt: skip
        inside, found = files, Classed(words)
    if found is not None and found.labels:
        labels = dict(zip(inside, found.labels, strict=True))
        columns["label"] = pa.array([labels.get(file) or None for file in files], pa.large_string())
        folder = folder.noting(*found.said)
    if found is not None and found.groups is not None:
        groups = dict(zip(files if told else inside, found.groups, strict=True))
        columns[GROUP] = pa.array([groups.get(file) for file in files], pa.large_string())
    cut = sources(files) if folder.media == "video" else None
    if cut is not None:
        columns[SOURCE] = pa.array(cut, pa.large_string())
    columns["file"] = columns[folder.media]
    return folder.table(columns, kinds_of(columns) | dict.fromkeys(fields, "id"))


def beds(root: Path, files: list[str]) -> list[str]:
    """Recordings that are no class but noise to be cut and mixed in: few in a folder of their own, each of them many times as long as
    all others (`_background_noise_` of Speech Commands)."""
    inside: dict[str, list[str]] = {}
    for file in files:
        inside.setdefault(file.rpartition("/")[0], []).append(file)
    if len(inside) < FEWEST_INSIDE:
        return []
    some = {folder: media.decode_all([root / file for file in own[:FEWEST]], audio.look) for folder, own in inside.items()}
    seconds = {folder: [one.frames / one.rate for one in looks if isinstance(one, audio.Look)] for folder, looks in some.items()}
    longest, *_ = sorted(seconds, key=lambda folder: -min(seconds[folder], default=0.0))
    others = [value for folder, values in seconds.items() if folder != longest for value in values]
    few = FEW_BEDS * len(inside[longest]) <= sorted(map(len, inside.values()))[len(inside) // 2]
    return inside[longest] if few and min(seconds[longest], default=0.0) >= LONG_BEDS * max(others, default=0.0) > 0 else []


def _labels(root: Path, files: list[str]) -> Classed | None:
    """As `labels_of`; where there are parts without folders of classes none, if the files' names tell by words what they are."""
    try:
        return labels_of(root, files)
    except DataError:
        if _words(files) or any(not cell.isdecimal() for cells in _fields(files).values() for cell in cells):
            return None
        raise


def _counted(labels: Collection[str]) -> bool:
    """Whether folders are called alike but for a number, and not as classes are (images_001, images_002)."""
    return len({re.sub(r"\d+", "", label) for label in labels}) == 1 and not all(map(_SORTED.fullmatch, {*labels}))


def _words(files: list[str]) -> list[str]:
    """The word that each file's name is before a number, empty for others; none where these are no classes: few, each of several files, and
    no word for pictures and the like."""
    found = [NUMBERED.fullmatch(file.rpartition("/")[2].rpartition(".")[0]) for file in files]
    words = [one["word"] if one else "" for one in found]
    counts = Counter(filter(None, words))
    several = len(counts) > 1 and counts.total() >= max(NAMED * len(files), FEWEST * len(counts))
    return words if several and not any(_is_outer(word, "") or (word.isupper() and len(word) <= SIGN) for word in counts) else []


def kinds_of(columns: Collection[str]) -> dict[str, str]:
    """Kinds that follow from how class folders are laid out."""
    return known(columns) | ({GROUP: "id"} if GROUP in columns else {})


def _fields(files: list[str]) -> dict[str, list[str]]:
    """What the names of files tell by fields between the same signs (03-01-06-01-02-01-12.wav), a column for each that has several values;
    nothing where names have not as many fields each, or no two of them are crossed, as those of a plan are."""
    cells = [re.split("[-_]", file.rpartition("/")[2].rpartition(".")[0]) for file in files]
    if not cells or len(cells[0]) < FIELDS or len({*map(len, cells)}) > 1:
        return {}
    columns = {f"field_{place}": list(column) for place, column in enumerate(zip(*cells, strict=True), 1)}
    found = {name: column for name, column in columns.items() if 1 < len({*column}) <= min(MOST_CODES, len(files) / FEWEST)}
    pairs = ((one, other) for one, other in combinations(found.values(), 2))
    return found if any(len({*zip(one, other, strict=True)}) >= CROSSED * len({*one}) * len({*other}) for one, other in pairs) else {}


def _repeats(folders: list[str], cells: list[str]) -> bool:
    """Whether folders that are called by whom the files are of say the same as a field of their names, in other words: files are named
    after their class too (left/left_01_2.png)."""
    pairs = {*zip(folders, cells, strict=True)} if folders else set()
    apart = len(pairs) == len({*folders}) == len({*cells}) > 1 and not any(folder.lower() == cell.lower() for folder, cell in pairs)
    return apart and _origins({*folders})


def _shown(fields: dict[str, list[str]], repeated: str, folders: list[str]) -> list[str]:
    """What fields there are, in words."""
    if not fields:
        return []
    values = "; ".join(f"{name}: {listed(sorted({*cells}), 8)}" for name, cells in fields.items())
    told = {"fields": values, "first": next(iter(fields)), "folders": listed(sorted({*folders}), 3), "name": repeated}
    said = [tr("The names of the files have fields ({fields}). To learn one of them: --target {first}", **told)]
    return [*said, tr("The folders ({folders}) say the same as {name}: they are groups, not classes.", **told)] if repeated else said
