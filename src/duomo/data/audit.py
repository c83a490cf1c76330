"""What is in a table, what is wrong with it, what would be learned from it: `audit(table)`.

The table's kinds must be set (core.kinds.infer). Counts are exact; spreads, near-duplicates and leaks are judged by a
sample of large tables, and the audit says so. Legend: N rows.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.files import UNREADABLE
from duomo.core.kinds import number
from duomo.core.kinds.cells import is_text, text_of
from duomo.core.messages import flagged, listed, tr
from duomo.core.recipe import DataConfig
from duomo.core.table import MEDIA, Table, evenly
from duomo.data import crossed, dated, longform, neighbours
from duomo.data.cleaning import shares
from duomo.data.digests import MISSING, cell_digests, mix, row_digests
from duomo.data.encode import broken, named
from duomo.data.findings import Audit, ColumnAudit, Finding, Proposal
from duomo.data.leaks import gathered, group_columns, leak_scores, suspects, time_columns
from duomo.data.near_duplicates import near_numbers, near_texts
from duomo.data.partition import folders, told
from duomo.data.profile import profile
from duomo.data.split import REPEATING, content_columns, repeats_by_nature
from duomo.data.targets import balance_of, guess_target

SAMPLE = 100_000
JUDGED = 20_000
"""Rows that near-duplicates and leaks are looked for in."""
CELLS = 4 * 10**6
"""Cells in which training looks for leaks, those looked at for each of several targets."""
TELLING = 100
"""Rows, at least, in which it looks: fewer would tell nothing."""
OPENED = 400
"""Pictures, sounds and films that are opened; the others' headers are believed until training reads them."""
FEW = 100
FEW_BYTES = 100_000
RARE = 0.01
FIRST = 5
OF_SPLITS = ("groups", "few_groups", "gathered", "pairs", "times", "long")
"""Findings that also a column tells that is not learned from."""
__all__ = ["Audit", "ColumnAudit", "Finding", "Proposal", "audit", "leaking", "near_rows", "propose"]
_SEVERITY = {"error": 0, "warning": 1, "note": 2}


def audit(
    table: Table,
    target: str = "",
    *,
    test: Table | None = None,
    guess: bool = True,
    ignore: Sequence[str] = (),
    asked: Proposal | None = None,
) -> Audit:
    """Everything that can be said about the table before training; an empty target is guessed, unless the task is known to have none.

    `test` is a second table to compare with. Of the columns in `ignore` nothing is found; `asked` is the split that is settled.
    """
    if target:
        table.column(target)
    chosen, reason = (target, tr("set by you")) if target else guess_target(table) if guess else ("", "")
    if not len(table):
        raise DataError("A table must have rows; {file} is empty. Give a file with data.", file=table.name)
    sample = evenly(len(table), SAMPLE)
    columns: list[ColumnAudit] = []
    findings: list[Finding] = []
    for name in table.names:
        column, about = profile(table, name, sample)
        columns.append(column)
        findings += about if name != chosen else [finding for finding in about if finding.code != "missing"]
    inputs = content_columns(table, ((chosen,) if chosen else ()) + tuple(ignore))
    digests = row_digests(table, inputs)
    findings += _files(table) + _size(table) + _languages(table) + _repeated(table, chosen, inputs, digests)
    judged = evenly(len(table), JUDGED)
    part = _as_numbers(table if len(judged) == len(table) else table.take(judged))
    findings += _near(part, judged, digests[judged], inputs) + _leaks(part, chosen, digests[judged])
    balance, about_target = balance_of(table, chosen)
    proposal, about_split = propose(table, chosen, asked)
    findings += about_target + about_split + ([] if test is None else _shared(test, inputs, digests))
    told_by = told(table, (chosen,))  # is no input anyway
    places = {(name,) for name in ("part", "file") if "text" in table.names and table.kinds.get(name) == "id"}  # of a text, as it was read
    findings = [finding for finding in findings if finding.code not in ("id", "constant") or finding.columns not in {(told_by,), *places}]
    divided = (proposal.group, *dated.named(table, proposal.time))  # nor are these
    findings = [finding for finding in findings if finding.code != "leak" or finding.columns[0] not in divided]
    findings = [finding for finding in findings if finding.code in OF_SPLITS or not set(finding.columns[:1]) & set(ignore)]
    findings = sorted(findings, key=lambda finding: _SEVERITY[finding.severity])
    return Audit(table.name, len(table), len(sample), tuple(columns), tuple(findings), chosen, reason, balance, proposal, table.problems)


def _as_numbers(table: Table) -> Table:
    """The table with its columns of numbers read: each is looked at several times."""
    columns = [
        pa.chunked_array([pa.array(number.parse(column)[0], from_pandas=True)]) if table.kinds.get(name) == "number" else column
        for name, column in zip(table.names, table.data.columns, strict=True)
    ]
    return dataclasses.replace(table, data=pa.table(columns, names=table.names))


def _firsts(rows: np.ndarray) -> tuple[int, ...]:
    return tuple(int(row) for row in rows[:FIRST])


def _size(table: Table) -> list[Finding]:
    """Of a text that was cut into parts, its length counts, not theirs."""
    cut = set(table.names) <= {"text", "part", "file"} and "part" in table.names
    if len(table) >= FEW or (cut and table.column("text").nbytes >= FEW_BYTES):
        return []
    said = tr("{rows} rows are very few: every figure will be uncertain.", rows=len(table))
    return [Finding("warning", "few_rows", said, remedy=tr("Collect more."))]


def _languages(table: Table) -> list[Finding]:
    """In which languages each text column is, told from some of its texts."""
    found = []
    for name in table.of_kind("text"):
        languages = {language: share for language, share in shares(table.column(name)).items() if share >= RARE}
        if not any(languages) or languages.get("", 0.0) > 0.5:  # names and numbers are of no language
            continue
        told = ", ".join(f"{language or '?'} {share:.0%}" for language, share in languages.items())
        known = [language for language in languages if language]
        hint = tr("Keep some of them only: --languages {first}", first=known[0]) if len(known) > 1 else ""
        found.append(Finding("note", "languages", tr("The texts of {name!r} are in: {told}.", name=name, told=told), (name,), (), hint))
    return found


def _files(table: Table) -> list[Finding]:
    """Media cells whose file is missing or empty; and of `OPENED` others, spread over the table, those that cannot be read."""
    found = []
    for name in table.of_kind(*MEDIA):
        column = table.column(name)
        lost_N = np.zeros(len(table), bool)
        if is_text(column.type) and table.root is not None:
            lost_N = np.array([cell is not None and not _has_bytes(os.path.join(table.root, cell)) for cell in column.to_pylist()], bool)
        if lost_N.any():
            names = listed(column.take(pa.array(np.flatnonzero(lost_N)[:FIRST])).to_pylist())
            said = tr("{count} files of column {name!r} are missing or empty: {names}.", count=int(lost_N.sum()), name=name, names=names)
            remedy = tr("Put them back, or take the rows out.")
            found.append(Finding("warning", "missing_files", said, (name,), _firsts(np.flatnonzero(lost_N)), remedy))
        there = np.flatnonzero(~lost_N & np.asarray(pc.is_valid(column).to_numpy(), bool))
        rows = there[evenly(len(there), OPENED)]
        if bad := broken(table.take(rows), [name]):
            told = {"count": len(bad), "rows": len(rows), "name": name, "names": named(bad, FIRST)}
            said = tr("{count} of {rows} files of column {name!r} that were opened cannot be read: {names}.", **told)
            remedy = tr("They are left out of training; fix or replace them.")
            found.append(Finding("warning", "broken_files", said, (name,), _firsts(rows[[one.row for one in bad]]), remedy))
    return found


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except UNREADABLE:  # ValueError: a name with a zero byte
        return False


def _repeated(table: Table, target: str, inputs: list[str], digests: np.ndarray) -> list[Finding]:
    """Exact duplicates, and equal inputs with different targets."""
    whole = digests
    if target and target not in inputs:
        with np.errstate(over="ignore"):
            whole = mix(digests * np.uint64(3) + cell_digests(table, target))
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(whole)))
    found, nature = [], repeats_by_nature(table, inputs, digests)
    if len(again):
        remedy = REPEATING if nature else "Equal rows always fall into the same part of the split; take them out if they are mistakes."
        said = tr("{count} rows repeat an earlier row ({share:.1%}).", count=len(again), share=len(again) / len(table))
        found.append(Finding("note" if nature else "warning", "duplicates", said, (), _firsts(again), tr(remedy)))
    if not target or target in inputs:
        return found
    kinds_of_target = np.unique(np.stack([digests, whole], axis=1), axis=0)
    keys, counts = np.unique(kinds_of_target[:, 0], return_counts=True)
    clash = np.flatnonzero(np.isin(digests, keys[counts > 1]))
    if len(clash):
        order = clash[np.argsort(digests[clash], kind="stable")]
        said = tr("{count} rows have the same inputs as another row and a different {target!r}.", count=len(clash), target=target)
        remedy = tr("No model can be right about all of them; check the labels.")
        found.append(Finding("warning", "conflicts", said, (target,), _firsts(order), remedy))
    return found


def _near(part: Table, rows: np.ndarray, digests: np.ndarray, inputs: list[str]) -> list[Finding]:
    """Near-duplicates by the longest text column, or by the numbers."""
    _, unlike = np.unique(digests, return_index=True)
    part, rows = (part, rows) if len(unlike) == len(rows) else (part.take(np.sort(unlike)), rows[np.sort(unlike)])
    texts = [name for name in inputs if part.kinds.get(name) == "text"]
    if texts:
        name = (
            "tokens" if "tokens" in texts else max(texts, key=lambda text: pc.sum(pc.utf8_length(text_of(part.column(text)))).as_py() or 0)
        )
        pairs = near_texts(text_of(part.column(name)))
    else:
        name, pairs = "", near_rows(part, inputs)
    if not len(pairs):
        return []
    said = tr("{count} of {rows} rows are nearly the same as another row.", count=len(np.unique(pairs)), rows=len(part))
    first, remedy = rows[pairs[:3].ravel()].tolist(), tr("If they are the same case, split by group so that they stay together.")
    return [Finding("warning", "near_duplicates", said, (name,) if name else (), tuple(first), remedy)]


def near_rows(table: Table, inputs: list[str]) -> np.ndarray:
    """Pairs (P, 2) of rows that differ by a rounding of their numbers only."""
    numbers = [name for name in inputs if table.kinds.get(name) == "number"]
    others = [name for name in inputs if table.kinds.get(name) in ("category", "date", "numbers")]
    if not numbers or len(numbers) + len(others) < len(inputs):
        return np.zeros((0, 2), np.int64)
    values_ND = np.stack([number.parse(table.column(name))[0] for name in numbers], axis=1)
    codes_NM = np.stack([cell_digests(table, name) for name in others], axis=1) if others else np.zeros((len(table), 0), np.uint64)
    return near_numbers(values_ND, codes_NM)


def _leaks(part: Table, target: str, digests: np.ndarray) -> list[Finding]:
    if not target or part.kinds.get(target) not in ("category", "number"):
        return []
    scores, found = leak_scores(part, target, digests), []
    for name in suspects(scores):
        said = tr("Column {name!r} alone gives {target!r} away (it explains {score:.1%} of it on rows held back).",
                  name=name, target=target, score=scores[name])  # fmt: skip
        remedy = tr("Leave it out if it is only known afterwards: --ignore {name}", name=flagged(name))
        found.append(Finding("error", "leak", said, (name, target), remedy=remedy))
    return found


def leaking(table: Table, data: DataConfig) -> list[str]:
    """In words, what gives a target away and is learned from, looked for in some of the rows.

    Of too many columns some are looked at: those of the kinds that fewest are of, and of one kind the first of the file.
    """
    aside = {*data.target, *data.ignore, *dated.named(table, data.time)}
    inputs = [name for name in content_columns(table, (*data.target, *data.ignore)) if name not in aside]
    if not inputs or not data.target or data.ahead:  # earlier values tell much, and rightly so
        return []
    many = Counter(table.kinds.get(name) for name in inputs)
    looked = sorted(inputs, key=lambda name: many[table.kinds.get(name)])[: max(1, CELLS // TELLING // len(data.target))]
    rows = evenly(len(table), min(JUDGED, CELLS // (len(looked) * len(data.target))))
    part = _as_numbers(table.without({*table.names} - {*looked, *data.target}).take(rows))
    digests = row_digests(part, looked)
    found = [one for target in data.target for one in _leaks(part.without({*data.target} - {target}), target, digests)]
    said = [tr("Warning: {what}", what=f"{one.sentence} {one.remedy}") for one in found]
    if len(looked) < len(inputs):
        said.append(tr("Whether a column gives a target away was looked at for {count:,} of {all:,} columns: those of rarer kinds, then "
                       "the first of the file.", count=len(looked), all=len(inputs)))  # fmt: skip
    return said


def propose(table: Table, target: str, asked: Proposal | None = None) -> tuple[Proposal, list[Finding]]:
    """The split that is asked for or that the files' folders say, or else the one that keeps what belongs together on one side."""
    findings: list[Finding] = []
    if asked is None and folders(table, (target,)) is not None:
        named = told(table, (target,))
        reason = tr("the column {name!r} says so", name=named) if named else tr("the files lie in folders of the parts")
        return Proposal("folders", reason=reason), findings
    groups, times = group_columns(table, target), time_columns(table, target)
    pairs = None if asked and asked.how == "group" else crossed.pair(table, target)
    if pairs:
        later = [name for name in times if crossed.known_later(table, pairs, name)]
        findings.append(_pairs(*pairs, "" if later else next(iter(times), "")))
        groups, times = [], later
    followed = next(iter([name for name, _ in groups] or times), "") if asked is None else asked.group or asked.time
    kept = tr("Duomo splits by it unless another split is asked for." if asked is None else "It is split by it.")
    for name, count in groups:
        said = tr("Column {name!r} repeats ({count} different values in {rows} rows): a random split would test on ones already seen.",
                  name=name, count=count, rows=len(table))  # fmt: skip
        remedy = kept if name == followed else tr("Split by group: --group {name}", name=flagged(name))
        findings.append(Finding("warning", "groups", said, (name,), remedy=remedy))
    for name, count in [] if groups or pairs else group_columns(table, target, 2):
        said = tr("Column {name!r} repeats, and its {count} different values are too few to keep them apart: the test will show more of "
                  "what was learned from.", name=name, count=count)  # fmt: skip
        findings.append(Finding("warning", "few_groups", said, (name,), (), tr("Collect more of them, or give a test of new ones: --test")))
    for name, count in [] if groups or times or pairs else gathered(table, target):
        said = tr("Rows of one {name!r} stand together ({count} different values in {rows} rows): if they are alike in more than the "
                  "columns tell and the model will meet new ones, a random split tests too kindly.",
                  name=name, count=count, rows=len(table))  # fmt: skip
        findings.append(Finding("note", "gathered", said, (name,), (), tr("Split by group: --group {name}", name=flagged(name))))
    for name in times:
        said = tr("Rows are dated by {name!r}: a random split would learn from the future of its test.", name=name)
        remedy = kept if name == followed else tr("Split by time: --time {name}", name=flagged(name))
        findings.append(Finding("note", "times", said, (name,), remedy=remedy))
    if not pairs:
        findings += _long(table, target, [name for name, _ in groups], [name for name in times if name in table.names])
    return asked or _safest(table, target, groups, times, bool(pairs)), findings


def _safest(table: Table, target: str, groups: list[tuple[str, int]], times: list[str], pairs: bool) -> Proposal:
    if groups:
        return Proposal("group", group=groups[0][0], reason=tr("{name!r} repeats, and the model will meet new ones", name=groups[0][0]))
    if times:
        reason = tr("rows are dated by {name!r}, and the model will meet later ones", name=times[0])
        return Proposal("time", time=times[0], reason=reason)
    alike, looked = (0, 0) if pairs else neighbours.following(table, target)
    if alike:
        reason = tr("the next row is much like the one before it in {alike} of {looked} columns, as if they followed one another in time",
                    alike=alike, looked=looked)  # fmt: skip
        return Proposal("blocks", reason=reason)
    if table.kinds.get(target) == "category":
        return Proposal("stratified", reason=tr("every class is in every part"))
    return Proposal("random", reason=tr("nothing ties the rows together"))


def _pairs(who: str, what: str, time: str) -> Finding:
    """`time`: what dates rows of which later ones are mostly of new names."""
    said = tr("Rows are pairs of {who!r} and {what!r}, each met once: the test is of new pairs, not of new names.", who=who, what=what)
    remedy = tr("For a test of new ones: --group {name}", name=flagged(who))
    return Finding("note", "pairs", said, (who, what), (), f"{remedy}, --time {flagged(time)}" if time else remedy)


def _long(table: Table, target: str, groups: list[str], times: list[str]) -> list[Finding]:
    """Rows that may be the steps of series (data/longform.py)."""
    long = None if table.of_kind(*MEDIA) else longform.recognised(table, target, groups, times)
    if long is None:
        return []
    said = tr("Each {by!r} has several rows in order of {order!r} and one {target!r}: they may be measurements of one thing over time, "
              "which are learned from as series.", by=long[0], order=long[1], target=target)  # fmt: skip
    return [Finding("note", "long", said, long, (), tr("Join them: --join {by},{order}", by=long[0], order=long[1]))]


def _shared(test: Table, inputs: list[str], digests: np.ndarray) -> list[Finding]:
    """Rows of the test that training has too."""
    if any(name not in test.names for name in inputs):
        return []
    others = row_digests(test, inputs)
    both = np.flatnonzero(np.isin(others, digests) & (others != MISSING))
    if not len(both):
        return []
    told = {"count": len(both), "rows": len(test), "share": len(both) / len(test)}
    said = tr("{count} of {rows} test rows are in the training data too ({share:.1%}).", **told)
    return [Finding("error", "shared_rows", said, (), _firsts(both), tr("Take them out of one of the two: the test would be too kind."))]
