"""Columns that give the target away, and columns that should steer the split.

Legend: N rows (of a sample), C classes.
"""

import re
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.kinds import date, number
from duomo.core.kinds.cells import codes_of, is_text, sample, text_of, values_of, written
from duomo.core.messages import tr
from duomo.core.table import MEDIA, Table
from duomo.data import dated
from duomo.data.digests import cell_digests
from duomo.data.folders.listed import SOURCE
from duomo.data.partition import folds
from duomo.data.profile import NO, YES, words

NEAR_PERFECT = 0.98
BINS = 64
LOOKED_AT = 100_000
OFTEN, MANY = 2, 8
"""Rows of a numbered thing, on average, and things of a class, from which they are measured several times; classes from which on
what several of them share is no chance."""
WHOLE = 1.1
"""Classes of a numbered recording or the like, on average, at most: a few hold several."""
REPEATS = 10
"""Rows, at least, that would lie in the fold of an earlier row of the same value by chance."""
LISTS, FEWEST_LISTS = 2000, 15
"""Cells that are looked at, whether they are lists of classes, and that tell it at least."""
_GROUP = re.compile(
    r"\b(subject|patient|user|customer|client|speaker|session|person|player|student|participant|household|family|group|site|hospital|author"
    r"|device|machine|sensor|account|member|visitor|owner|rider|driver|animal|donor|volunteer|reader|writer|singer|doc(ument)?)s?"
    r"( (id|no|nr|number|name|code|key|index|num|uuid))?$"
    r"|^(id|((case|series|trial|sample|record)( id)?))$|(患者|病人|用户|客户|被试|受试者|学生|说话人|会员|录音人|家庭)(id|编号|号|名)?$"
)
_NUMBERED = re.compile(
    r"\b(id|no|nr|number|key|code|uuid|(window|segment|run|sequence|seq|recording|record|trip|ride|flight|experiment|exp|cycle|batch|block"
    r"|chunk|document|doc|article|page|event|game|match|plot|tree|cell|well|wafer|unit|sample|specimen"
    r"|series|trial)s?( (no|nr|number|index|num))?)$"
    r"|(编号|序号|窗口|片段|批次|场次)$"
)
"""Columns that may number what was measured several times."""
_FILM = re.compile(
    r"\b(source|film|movie|video|episode|recording|match|scene|youtube)s?( (id|no|nr|number|name|code|key|index))?$|来源|影片|视频"
)
"""What clips are cut from, where the rows are films."""
_SORTS = re.compile(r"\w group$")
FEWEST_GROUPS, POPULAR, ALIKE = 30, 0.3, 5
_TIME = re.compile(r"\b(date|time|timestamp|datetime|day|week|month|quarter|created|updated|ts|when)\b|日期|时间|日$|月份|季度")
_NOT_TIME = re.compile(r"\b(birth|born|dob|birthday|naissance|nacimiento|nascita|geburtsdatum|geboren)\b|出生|生日")
LIFETIME = 40 * 365 * 86_400
"""Seconds over which dates in no order are spread where they tell what a thing is (born, built, released), not when its row was."""


def of_whom(name: str) -> bool:
    """Whether a column is called after who or what rows are of."""
    return _GROUP.search(words(name)) is not None


def leak_scores(table: Table, target: str, digests: np.ndarray) -> dict[str, float]:
    """How well each column alone predicts the target on the half of the rows that it was not fitted on.

    0 is what the majority class (the mean) reaches, 1 is perfect. `digests` (N,) keep equal rows in one half; all of a person lie in one,
    for whatever tells persons apart (an age) tells what is true of each.
    """
    owners = group_columns(table, target)
    half = (digests >> np.uint64(17)) & np.uint64(1) == 0
    if owners:  # of few owners half lie on either side, too
        half = np.unique(cell_digests(table, owners[0][0]), return_inverse=True)[1] % 2 == 0
    kind = table.kinds.get(target)
    found: dict[str, float] = {}
    if kind == "number":
        values, _ = number.parse(table.column(target))
        known = np.isfinite(values)
    else:
        codes = codes_of(values_of(table.column(target)))
        known = codes >= 0
        if len(np.unique(codes)) > 1000:
            return {}
    fit, check = half & known, ~half & known
    if fit.sum() < 15 or check.sum() < 15:
        return {}
    for name in table.names:
        cells = None if name == target else _cells(table, name, fit)
        if cells is not None:
            found[name] = _explained(cells, values, fit, check) if kind == "number" else _accuracy(cells, codes, fit, check)
    return found


def suspects(scores: dict[str, float]) -> list[str]:
    """Columns that are near-perfect alone while most others are not."""
    perfect = [name for name, score in scores.items() if score >= NEAR_PERFECT]
    others = [score for score in scores.values() if score < NEAR_PERFECT]
    return perfect if len(perfect) <= max(1, len(others)) else []


def _cells(table: Table, name: str, fit: np.ndarray) -> np.ndarray | None:
    """The column as codes (N,) from 0, or None where one column alone cannot be judged so."""
    kind, column = table.kinds.get(name), table.column(name)
    if kind in ("number", "date"):
        if kind == "date":
            moments, _ = date.parse(column)
            values = np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(np.float64))
        else:
            values, _ = number.parse(column)
        edges = np.unique(values[fit & np.isfinite(values)])
        if len(edges) > 2 * BINS:
            edges = np.unique(np.quantile(edges, np.linspace(0, 1, BINS + 1)))
        above = len(edges) - 1  # what is larger than all that was fitted is like the largest
        return np.where(np.isnan(values), 0, np.minimum(np.searchsorted(edges, values), above) + 1)
    if kind in ("category", "text"):
        codes = codes_of(values_of(column)) + 1
        return codes if len(np.unique(codes)) <= 0.5 * len(codes) else None
    return None


def _accuracy(cells: np.ndarray, codes: np.ndarray, fit: np.ndarray, check: np.ndarray) -> float:
    classes = int(codes.max()) + 1
    counts = np.bincount(codes[fit], minlength=classes)
    common = int(counts.argmax())
    base = float((codes[check] == common).mean())
    if (codes[check] != common).sum() < 5:
        return 0.0
    keys, place = np.unique(cells, return_inverse=True)
    if len(keys) * classes > 50_000_000:
        return 0.0
    joint = np.bincount(place[fit] * classes + codes[fit], minlength=len(keys) * classes).reshape(len(keys), classes)
    guess = np.where(joint.sum(axis=1) > 0, joint.argmax(axis=1), common)
    return (float((guess[place[check]] == codes[check]).mean()) - base) / (1 - base)


def _explained(cells: np.ndarray, values: np.ndarray, fit: np.ndarray, check: np.ndarray) -> float:
    from scipy.stats import rankdata

    keys, place = np.unique(cells, return_inverse=True)
    target = rankdata(np.where(np.isfinite(values), values, 0))  # equal ones have one rank: the order of the rows is no target
    counts = np.bincount(place[fit], minlength=len(keys))
    means = np.bincount(place[fit], weights=target[fit], minlength=len(keys)) / np.maximum(counts, 1)
    mean = target[fit].mean()
    guess = np.where(counts > 0, means, mean)[place[check]]
    rest, total = ((target[check] - guess) ** 2).sum(), ((target[check] - mean) ** 2).sum()
    return float(1 - rest / total) if total > 0 else 0.0


def group_columns(table: Table, target: str, least: int = 5) -> list[tuple[str, int]]:
    """Columns that by name are a person or a thing seen repeatedly, and how many different ones there are: `least` or more.

    First those of persons; behind them numbers of what was measured several times. Of pictures, sounds and films none of a person may lie
    on both sides, be it but the second: a table's rows have to repeat on average. Whoever divided the rows into folds knew what belongs
    together.
    """
    if kept := _kept(table, target, least):
        return [kept]
    found = []
    clips, most = bool(table.of_kind("video")), len(table) - 1 if table.of_kind(*MEDIA) else len(table) / 1.5
    for name in table.names:
        if name == target or table.kinds.get(name) not in ("category", "number", "id", "text"):
            continue
        plain = words(name)
        cut = name == SOURCE and table.kinds[name] == "id"  # pieces of recordings
        filmed, person = cut or (clips and name != "file" and _FILM.search(plain) is not None), _GROUP.search(plain) is not None
        if not (filmed or person or (_NUMBERED.search(plain) and _measured(table, name, target))):
            continue
        different = pc.unique(text_of(table.column(name)).drop_null())
        distinct = len(different)
        few = filmed and 3 <= distinct < len(table)
        if few or (least <= distinct <= most and not _told_otherwise(table, name, different)):
            found.append((not (filmed or person), name, distinct))
    return [(name, distinct) for _, name, distinct in sorted(found, key=lambda item: (item[0], -item[2]))]


def gathered(table: Table, target: str) -> list[tuple[str, int]]:
    """Columns called after what is numbered whose equal cells stand together in the file, and how many there are: rows were gathered
    one number after the other (a query and what it found), so that those of one are alike in what no column tells."""
    found = []
    for name in table.of_kind("category", "number"):
        if name != target and _NUMBERED.search(words(name)):
            codes = codes_of(text_of(table.column(name)))
            distinct = len(np.unique(codes))
            if FEWEST_GROUPS <= distinct <= len(table) / ALIKE and (codes[1:] != codes[:-1]).sum() == distinct - 1:
                found.append((name, distinct))
    return found


def _kept(table: Table, target: str, least: int) -> tuple[str, int] | None:
    """The column of fewest values each of which lies in one fold of a cross-validation, where some repeat (fsID of UrbanSound8K); of
    pictures, sounds and films else the folds; and how many values there are."""
    if not (fold := folds(table, (target,))):
        return None
    fold_N, found = codes_of(text_of(table.column(fold))), list[tuple[int, str]]()
    for name in (name for name in table.of_kind("category", "number", "id", "text") if name not in (fold, target)):
        thing_N = codes_of(text_of(table.column(name)))
        known = (thing_N >= 0) & (fold_N >= 0)
        things, parts = len(np.unique(thing_N[known])), len(np.unique(fold_N[known]))
        pairs = len(np.unique(thing_N[known] * (fold_N.max(initial=0) + 1) + fold_N[known]))
        if pairs == things > parts > 1 and things + REPEATS <= known.sum():
            found.append((things, name))
    if not found and table.of_kind(*MEDIA):
        found.append((len(np.unique(fold_N[fold_N >= 0])), fold))
    things, name = min(found, default=(0, ""))
    return (name, things) if things >= least else None


def twins(table: Table, target: Sequence[str], wanted: Collection[str]) -> tuple[list[str], list[str]]:
    """Columns that follow from the target: what several people answered (`_votes`), and beside texts and media a class's number beside
    its name, or (beside media) what several of `MANY` classes are together; but for the `wanted` ones. And in words that they are not
    learned from."""
    if len(target) != 1 or table.kinds.get(target[0]) not in ("category", "number"):
        return [], []
    others = [name for name in table.names if name not in (*target, *wanted)]
    found = [name for name in others if _votes(table.column(name), table.column(target[0]))]
    near = table.of_kind("category", "number") if table.of_kind(*MEDIA, "text") else []
    beside = [name for name in near if name in others and name not in found]
    target_N = codes_of(values_of(table.column(target[0]))) if beside else np.zeros(0)
    classes = len(np.unique(target_N))
    fewest = 2 if classes >= MANY and table.of_kind(*MEDIA) else classes
    for name in beside if classes <= len(table) / OFTEN else ():
        own_N = codes_of(values_of(table.column(name)))
        if fewest <= len(np.unique(own_N)) <= classes > 1 and np.unique(np.stack([target_N, own_N]), axis=1).shape[1] == classes:
            found.append(name)
    return found, [tr("Column {name!r} tells {target!r} under other names and is not learned from; --kind {name}={kind} makes it an input.",
                      name=name, target=target[0], kind=table.kinds[name]) for name in found]  # fmt: skip


def _votes(column: pa.ChunkedArray, truth: pa.ChunkedArray) -> bool:
    """Whether cells are lists of classes in nearly all of which the row's own is more than half: annotators' answers, not alternatives."""
    if not is_text(column.type) or not pc.all(pc.starts_with(cells := text_of(column.slice(0, LISTS)), "[")).as_py():
        return False
    classes = text_of(truth.slice(0, LISTS)).to_pylist()
    said = [(own, written(cell)) for own, cell in zip(classes, cells.to_pylist(), strict=True) if own and cell]
    lists = [(own, [*map(str, held)]) for own, held in said if isinstance(held, list)]
    among = sum(2 * held.count(own) > len(held) for own, held in lists)
    return (
        len(lists) >= FEWEST_LISTS and {word for _, held in lists for word in held} <= {*classes, ""} and among >= NEAR_PERFECT * len(lists)
    )


def _measured(table: Table, name: str, target: str) -> bool:
    """Whether the column numbers things of which each has several rows and one target: far more of them than there are classes."""
    if target not in table.names:
        return False
    thing_N, target_N = codes_of(text_of(table.column(name))), codes_of(values_of(table.column(target)))
    known = (thing_N >= 0) & (target_N >= 0)
    things, pairs = len(np.unique(thing_N[known])), len(np.unique(thing_N[known] * (target_N.max(initial=0) + 1) + target_N[known]))
    unlike = table.kinds.get(target) == "number" or things >= OFTEN * len(np.unique(target_N[known]))
    if table.of_kind(*MEDIA):
        return pairs <= WHOLE * things and unlike and known.sum() > things
    return pairs == things and unlike and known.sum() >= OFTEN * things


def _told_otherwise(table: Table, name: str, different: pa.Array) -> bool:
    """Whether what the cells hold refutes a name of persons or things: how many there are (num_accounts), whether one is (volunteer: 0, 1),
    of which sort (payor_group: seven), or a first name that thousands bear."""
    plain = words(name)
    if len(different) == 2 and {str(value).lower() for value in different.to_pylist()} <= YES | NO:
        return True
    if table.kinds.get(name) == "number" and plain.endswith("s") and not plain.endswith("series"):
        return True
    if _SORTS.search(plain) and len(different) < FEWEST_GROUPS:
        return True
    return plain.endswith(" name") and _popular(table, name)


def _popular(table: Table, name: str) -> bool:
    """Whether rows of one name are hardly more alike than any two: pets called Bella are not one pet. As many names are met once."""
    codes = codes_of(values_of(table.column(name)))
    sizes = np.bincount(codes[codes >= 0])
    together = _pairs(sizes)
    if (sizes == 1).mean() < 0.25 or not together:
        return False
    excess = []
    for other in table.names:
        if other == name or table.kinds.get(other) not in ("category", "number", "date", "text"):
            continue
        values = codes_of(values_of(table.column(other)))
        known = (codes >= 0) & (values >= 0)
        counts, both = np.bincount(values[known]), np.unique(np.stack([codes[known], values[known]]), axis=1, return_counts=True)[1]
        any_two = _pairs(counts) / max(1, _pairs(np.array([known.sum()])))
        if 1 < len(counts) <= len(codes) / 20 and any_two < 1:
            alike = _pairs(both) / max(1, _pairs(np.bincount(codes[known])))
            excess.append((alike - any_two) / (1 - any_two))
    return len(excess) > 1 and max(excess) < POPULAR


def _pairs(sizes: np.ndarray) -> float:
    return float((sizes.astype(np.float64) * (sizes - 1)).sum())


def time_columns(table: Table, target: str, least: int = 10) -> list[str]:
    """Date columns that say when the row was made, at `least` so many moments, or else the columns of the parts of one date, between
    commas."""
    found = []
    for name in table.of_kind("date"):
        plain = words(name)
        if name == target or _NOT_TIME.search(plain):
            continue
        moments, _ = date.parse(sample(table.column(name), LOOKED_AT))
        known = moments[~np.isnat(moments)]
        if len(np.unique(known)) < least:
            continue
        steps = np.diff(known.astype(np.int64))
        ordered = (steps >= 0).mean() > 0.99 or (steps <= 0).mean() > 0.99
        wide = np.ptp(np.percentile(known.astype(np.int64), [1, 99])) > LIFETIME
        if ordered or (_TIME.search(plain) and not wide):
            found.append(name)
    parts = "" if found else dated.in_parts(table, target)
    return [parts] if parts and len(np.unique(dated.moments(table, parts)[0])) >= least else found
