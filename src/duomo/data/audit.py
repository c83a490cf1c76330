"""What is in a table, what is wrong with it, what would be learned from it: `audit(table)`.

The table's kinds must be set (core.kinds.infer). Counts are exact; spreads, near-duplicates and leaks are judged by a
sample of large tables, and the audit says so. Legend: N rows.
"""

import os
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import DataError
from duomo.core.kinds import number
from duomo.core.kinds.cells import is_text, text_of, values_of
from duomo.core.messages import tr
from duomo.core.table import MEDIA, Table
from duomo.data.digests import MISSING, cell_digests, mix, row_digests
from duomo.data.findings import Audit, ColumnAudit, Finding, Proposal
from duomo.data.leaks import group_columns, leak_scores, suspects, time_columns
from duomo.data.near import near_numbers, near_texts
from duomo.data.profile import profile, words
from duomo.data.split import content_columns

SAMPLE = 100_000
JUDGED = 20_000
"""Rows that near-duplicates and leaks are looked for in."""
FEW = 100
FIRST = 5
_TARGETS = (
    "label", "labels", "target", "targets", "class", "y", "diagnosis", "outcome", "category", "sentiment", "species", "income", "churn", "survived",
    "spam", "fraud", "default", "quality", "grade", "rating", "score", "price", "stars", "topic", "disease", "result", "status", "type",
    "标签", "类别", "目标", "诊断", "分类", "情感", "结果", "评分", "价格", "答案",
)  # fmt: skip
_TRANSCRIPTS = ("transcript", "transcription", "text", "sentence", "caption", "文本", "转写", "句子")
_SEVERITY = {"error": 0, "warning": 1, "note": 2}


def guess_target(table: Table) -> tuple[str, str]:
    """The column that is most likely to be predicted, and why; ("", why) where there is none."""
    usable = [name for name in table.names if table.kinds.get(name) in ("category", "number", "text")]
    by_words = {words(name): name for name in reversed(usable)}
    if table.of_kind("audio"):
        for wanted in _TRANSCRIPTS:
            if wanted in by_words and table.kinds[by_words[wanted]] in ("text", "category"):
                return by_words[wanted], tr("it is the text of the recordings")
    for wanted in _TARGETS:
        if wanted in by_words and table.kinds[by_words[wanted]] != "text":
            return by_words[wanted], tr("its name says so")
    for plain, name in by_words.items():
        if table.kinds[name] != "text" and {"label", "target", "class", "diagnosis", "outcome"} & set(plain.split()):
            return name, tr("its name says so")
    categories = [name for name in table.of_kind("category") if len(pc.unique(values_of(table.column(name).slice(0, SAMPLE))).drop_null()) > 1]
    if categories and len(usable) + len(table.of_kind(*MEDIA, "series")) > 1:
        return categories[-1], tr("it is the last column of categories")
    numbers = [name for name in table.of_kind("number") if words(name) != "part"]
    if numbers and len(usable) > 1 and not table.of_kind("text"):
        return numbers[-1], tr("it is the last column of numbers")
    return "", tr("no column looks like a target")


def audit(table: Table, target: str = "", *, test: Table | None = None, digests: np.ndarray | None = None) -> Audit:
    """Everything that can be said about the table before training; an empty target is guessed.

    `test` is a second table to compare with; `digests` (N,) are those of `split.content_columns` where known.
    """
    if target:
        table.column(target)
    chosen, reason = (target, tr("set by you")) if target else guess_target(table)
    if not len(table):
        raise DataError("A table must have rows; {file} is empty. Give a file with data.", file=table.name)
    sample = _sample(len(table), SAMPLE)
    columns: list[ColumnAudit] = []
    findings: list[Finding] = []
    for name in table.names:
        column, about = profile(table, name, sample)
        columns.append(column)
        findings += about if name != chosen else [finding for finding in about if finding.code != "missing"]
    inputs = content_columns(table, (chosen,) if chosen else ())
    digests = row_digests(table, inputs) if digests is None else digests
    findings += _files(table) + _size(table) + _repeated(table, chosen, inputs, digests)
    judged = _sample(len(table), JUDGED)
    part = table if len(judged) == len(table) else table.take(judged)
    findings += _near(part, judged, digests[judged], inputs) + _leaks(part, chosen, digests[judged])
    balance, about_target = _balance(table, chosen)
    proposal, about_split = propose(table, chosen)
    findings += about_target + about_split + ([] if test is None else _shared(test, inputs, digests))
    findings = sorted(findings, key=lambda finding: _SEVERITY[finding.severity])
    return Audit(table.name, len(table), len(sample), tuple(columns), tuple(findings), chosen, reason, balance, proposal, table.problems)


def _sample(rows: int, most: int) -> np.ndarray:
    """All rows, or `most` of them spread evenly."""
    return np.arange(rows) if rows <= most else np.unique(np.linspace(0, rows - 1, most).astype(np.int64))


def _firsts(rows: np.ndarray) -> tuple[int, ...]:
    return tuple(int(row) for row in rows[:FIRST])


def _size(table: Table) -> list[Finding]:
    if len(table) >= FEW:
        return []
    return [Finding("warning", "few_rows", tr("{rows} rows are very few: every figure will be uncertain.", rows=len(table)), (), (), tr("Collect more."))]


def _files(table: Table) -> list[Finding]:
    """Media cells whose file is missing or empty."""
    found = []
    for name in table.of_kind(*MEDIA):
        column = table.column(name)
        if not is_text(column.type) or table.root is None:
            continue
        broken = np.array([cell is not None and not _has_bytes(os.path.join(table.root, cell)) for cell in column.to_pylist()], bool)
        if broken.any():
            found.append(Finding("warning", "missing_files", tr("{count} files of column {name!r} are missing or empty.", count=int(broken.sum()), name=name),
                                 (name,), _firsts(np.flatnonzero(broken)), tr("Put them back, or take the rows out.")))  # fmt: skip
    return found


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except (OSError, ValueError):
        return False


def _repeated(table: Table, target: str, inputs: list[str], digests: np.ndarray) -> list[Finding]:
    """Exact duplicates, and equal inputs with different targets."""
    whole = digests
    if target and target not in inputs:
        with np.errstate(over="ignore"):
            whole = mix(digests * np.uint64(3) + cell_digests(table, target))
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(whole)))
    found = []
    if len(again):
        found.append(Finding("warning", "duplicates", tr("{count} rows repeat an earlier row ({share:.1%}).", count=len(again), share=len(again) / len(table)),
                             (), _firsts(again), tr("Equal rows always fall into the same part of the split; take them out if they are mistakes.")))  # fmt: skip
    if not target or target in inputs:
        return found
    kinds_of_target = np.unique(np.stack([digests, whole], axis=1), axis=0)
    keys, counts = np.unique(kinds_of_target[:, 0], return_counts=True)
    clash = np.flatnonzero(np.isin(digests, keys[counts > 1]))
    if len(clash):
        order = clash[np.argsort(digests[clash], kind="stable")]
        found.append(Finding("warning", "conflicts", tr("{count} rows have the same inputs as another row and a different {target!r}.", count=len(clash), target=target),
                             (target,), _firsts(order), tr("No model can be right about all of them; check the labels.")))  # fmt: skip
    return found


def _near(part: Table, rows: np.ndarray, digests: np.ndarray, inputs: list[str]) -> list[Finding]:
    """Near-duplicates by the longest text column, or by the numbers."""
    texts = [name for name in inputs if part.kinds.get(name) == "text"]
    if texts:
        name = max(texts, key=lambda text: pc.sum(pc.utf8_length(text_of(part.column(text)))).as_py() or 0)
        pairs, columns = near_texts(text_of(part.column(name))), (name,)
    else:
        pairs, columns = near_rows(part, inputs), ()
    pairs = pairs[digests[pairs[:, 0]] != digests[pairs[:, 1]]]
    if not len(pairs):
        return []
    several = len(np.unique(pairs))
    return [Finding("warning", "near_duplicates", tr("{count} of {rows} rows are nearly the same as another row.", count=several, rows=len(part)), columns,
                    tuple(int(rows[row]) for pair in pairs[:3] for row in pair), tr("If they are the same case, split by group so that they stay together."))]  # fmt: skip


def near_rows(table: Table, inputs: list[str]) -> np.ndarray:
    """Pairs (P, 2) of rows that differ by a rounding of their numbers only."""
    numbers = [name for name in inputs if table.kinds.get(name) == "number"]
    others = [name for name in inputs if table.kinds.get(name) in ("category", "date")]
    if not numbers or len(numbers) + len(others) < len(inputs):
        return np.zeros((0, 2), np.int64)
    values_ND = np.stack([number.parse(table.column(name))[0] for name in numbers], axis=1)
    codes_NM = np.stack([cell_digests(table, name) for name in others], axis=1) if others else np.zeros((len(table), 0), np.uint64)
    return near_numbers(values_ND, codes_NM)


def _leaks(part: Table, target: str, digests: np.ndarray) -> list[Finding]:
    if not target or part.kinds.get(target) not in ("category", "number"):
        return []
    scores = leak_scores(part, target, digests)
    return [
        Finding("error", "leak", tr("Column {name!r} alone gives {target!r} away (it explains {score:.1%} of it on rows held back).",
                                    name=name, target=target, score=scores[name]), (name, target), (),
                tr("Leave it out if it is only known afterwards: --ignore {name}", name=name))
        for name in suspects(scores)
    ]  # fmt: skip


def _balance(table: Table, target: str) -> tuple[Mapping[str, int], list[Finding]]:
    """Rows of each class, and what is wrong with the target."""
    if not target:
        return {}, []
    cells = values_of(table.column(target))
    found = []
    lacking = np.asarray(pc.is_null(cells).to_numpy(), dtype=bool)
    if table.kinds.get(target) == "number":
        lacking = np.isnan(number.parse(table.column(target))[0])
    if lacking.any():
        found.append(Finding("error" if lacking.all() else "warning", "target_missing", tr("{count} of {rows} rows have no {target!r}.", count=int(lacking.sum()), rows=len(table), target=target),
                             (target,), _firsts(np.flatnonzero(lacking)), tr("Rows without a target cannot be learned from; fill them or take them out.")))  # fmt: skip
    if table.kinds.get(target) != "category":
        return {}, found
    counted = pc.value_counts(pc.drop_null(cells))
    counts = counted.field("counts").to_numpy()
    order = np.argsort(-counts, kind="stable")
    balance = {str(value): int(count) for value, count in zip(counted.field("values").take(pa.array(order)).to_pylist(), counts[order], strict=True)}
    return balance, found + _classes(balance, target)


def _classes(balance: Mapping[str, int], target: str) -> list[Finding]:
    if len(balance) < 2:
        return [Finding("error", "one_class", tr("Column {target!r} has {count} class: there is nothing to tell apart.", target=target, count=len(balance)),
                        (target,), (), tr("Give rows of another class, or choose another target."))]  # fmt: skip
    found = []
    rare = [name for name, count in balance.items() if count < 5]
    if rare:
        found.append(Finding("warning", "rare_classes", tr("{count} classes of {target!r} have fewer than 5 rows: {names}.", count=len(rare), target=target, names=", ".join(rare[:5])),
                             (target,), (), tr("They can hardly be learned or tested; join them or collect more.")))  # fmt: skip
    most, least = max(balance.values()), min(balance.values())
    if most > 10 * least:
        found.append(Finding("note", "imbalance", tr("The classes of {target!r} are uneven: the largest has {most} rows, the smallest {least}.", target=target, most=most, least=least),
                             (target,), (), tr("Judge by F1 or balanced accuracy, not by accuracy.")))  # fmt: skip
    return found


def propose(table: Table, target: str) -> tuple[Proposal, list[Finding]]:
    """The split that keeps what belongs together on one side."""
    findings = []
    groups, times = group_columns(table, target), time_columns(table, target)
    for name, count in groups:
        findings.append(Finding("warning", "groups", tr("Column {name!r} repeats ({count} different values in {rows} rows): a random split would test on ones already seen.",
                                                        name=name, count=count, rows=len(table)), (name,), (), tr("Split by group: --group {name}", name=name)))  # fmt: skip
    for name in times:
        findings.append(Finding("note", "times", tr("Rows are dated by {name!r}: a random split would learn from the future of its test.", name=name), (name,), (),
                                tr("Split by time: --time {name}", name=name)))  # fmt: skip
    if groups:
        return Proposal("group", group=groups[0][0], reason=tr("{name!r} repeats, and the model will meet new ones", name=groups[0][0])), findings
    if times:
        return Proposal("time", time=times[0], reason=tr("rows are dated by {name!r}, and the model will meet later ones", name=times[0])), findings
    if table.kinds.get(target) == "category":
        return Proposal("stratified", reason=tr("every class is in every part")), findings
    return Proposal("random", reason=tr("nothing ties the rows together")), findings


def _shared(test: Table, inputs: list[str], digests: np.ndarray) -> list[Finding]:
    """Rows of the test that training has too."""
    if any(name not in test.names for name in inputs):
        return []
    others = row_digests(test, inputs)
    both = np.flatnonzero(np.isin(others, digests) & (others != MISSING))
    if not len(both):
        return []
    return [Finding("error", "shared_rows", tr("{count} of {rows} test rows are in the training data too ({share:.1%}).", count=len(both), rows=len(test), share=len(both) / len(test)),
                    (), _firsts(both), tr("Take them out of one of the two: the test would be too kind."))]  # fmt: skip
