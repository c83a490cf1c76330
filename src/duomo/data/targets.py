"""The column to predict: which one it probably is, how its classes are balanced, what is wrong with it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.errors import ConfigError
from duomo.core.kinds import number
from duomo.core.kinds.cells import is_text, text_of, values_of, written
from duomo.core.messages import flagged, tr
from duomo.core.recipe import DataConfig
from duomo.core.steps import counted
from duomo.core.table import MEDIA, Table
from duomo.data import dated
from duomo.data.findings import Finding
from duomo.data.folders.listed import NAMELESS
from duomo.data.leaks import time_columns
from duomo.data.partition import told
from duomo.data.profile import words
from duomo.data.spoken_column import uttered

LOOKED_AT = 100_000
MANY_NUMBERS, FEW_VALUES = 16, 20
FINDINGS = 5
"""Columns of yes and no beside pictures from which on any of them may be meant."""
SURELY_CLASSES, ROWS_EACH = 5, 5
TAIL, TAIL_ROWS = 8.0, 100
"""How many times the median the hundredth part of a number must begin at to be a long tail, and rows to tell it by."""
_CHINESE = (
    "标签 类别 目标 诊断 分类 情感 结果 结局 流失 违约 逾期 欺诈 患病 存活 生存 购买 "
    "离职 疾病 主题 质量 等级 星级 评分 得分 分数 房价 总价 价格 销量 答案 状态 类型"
)
_TARGETS = (
    *("label", "labels", "target", "targets", "class", "y", "diagnosis", "outcome", "category", "sentiment", "species", "income", "churn"),
    *("survived", "spam", "fraud", "default", "quality", "grade", "rating", "score", "price", "stars", "topic", "disease", "result"),
    *("churned", "exited", "attrition", "cancelled", "canceled", "converted", "clicked", "purchased", "defaulted", "approved", "severity"),
    *("dx", "stage", "status", "type", *_CHINESE.split()),
)
_OFTEN_ELSE = {"status", "type", "状态", "类型"}
"""Names that a format gives too, the same word in every row."""
_TELLING = {"label", "labels", "target", "class", "diagnosis", "outcome"}
_ENDINGS = ("标签", "诊断", "诊断结果", "结局")
"""Chinese puts no spaces between words: 疾病诊断."""
_SELDOM = {"id", "index", "part", "year", "month", "day", "年", "月", "日", "年份", "月份"}
"""Words in the names of columns that are predicted only where somebody asks for it."""
COMMAS = (",", "，")
SEPARATORS, LISTED, INSIDE = (";", "|", "；", "、", *COMMAS, "/"), "[]", (*COMMAS, "/")
"""Signs between the labels of a cell; what stands for cells that are written as JSON lists; signs that stand inside of names as well, and
divide where the parts are met in many combinations or, of commas, each alone too."""
CODE = re.compile(r"[A-Za-z]{0,5}[-_ #]?\d+")
TRANSCRIPTS = ("transcript", "transcription", "text", "sentence", "caption", "文本", "转写", "句子")


def called(table: Table, data: DataConfig) -> DataConfig:
    """The settings with the columns' whole names (`Table.called`)."""
    target, ignore = (tuple(map(table.called, names)) for names in (data.target, data.ignore))
    group = table.called(data.group) if data.group else ""
    time = ",".join(map(table.called, dated.named(table, data.time))) if data.time else ""
    return replace(data, target=target, ignore=ignore, group=group, time=time)


def is_named(name: str) -> bool:
    """Whether a column is called as nothing is but what is predicted: a label, not a price."""
    plain = words(name)
    return plain in ("labels", "targets", "y") or bool(_TELLING & {*plain.split()}) or plain.endswith(_ENDINGS)


def guess_target(table: Table) -> tuple[str, str]:
    """The column that is most likely to be predicted, and why; ("", why) where there is none."""
    table = table.without(table.headers)
    usable = [name for name in table.names if table.kinds.get(name) in ("category", "number", "numbers", "text")]
    by_words = {words(name).removeprefix("是否"): name for name in reversed(usable)}
    labelled = any(wanted in by_words and table.kinds[by_words[wanted]] == "category" for wanted in _TARGETS)
    if table.of_kind("audio") and not labelled and (spoken := _spoken(table, by_words)):
        return spoken, tr("it is the text of the recordings")
    named = [by_words[wanted] for wanted in _TARGETS if wanted in by_words]
    named = [name for name in named if words(name).removeprefix("是否") not in _OFTEN_ELSE or _varies(table, name)]
    named += [name for plain, name in by_words.items() if _TELLING & set(plain.split()) or plain.endswith(_ENDINGS)]
    named = [name for name in named if table.kinds[name] != "text" or _in_lists(table, name)]
    if named:  # where none has two values, the first of them: that is what must be told
        return next((name for name in named if _varies(table, name)), named[0]), tr("its name says so")
    if table.of_kind(*MEDIA) and sum(_is_mark(table, name) for name in usable) >= FINDINGS:
        return "", tr("no column looks like a target")  # CheXpert's: which of many findings is meant nobody but its owner knows
    others = [name for name in table.names if table.kinds.get(name) not in ("date", "id")]
    worded = table.of_kind("text", *MEDIA)
    if others and not worded and _measure(table, others[-1]) and time_columns(table, others[-1], 2):
        return others[-1], tr("rows are dated, and it is the last column and a number")
    categories = [name for name in table.of_kind("category") if _varies(table, name)]
    if categories and len(usable) + len(table.of_kind(*MEDIA, "series")) > 1:
        return _likely(categories, table)[-1], tr("it is the last column of categories")
    if lone := _beside(table, usable):
        return lone, tr("it is the only column beside many that are counted on")
    lone = _lone(table)
    if lone:
        return lone, tr("it is the only one of many columns of numbers that has few different values")
    numbers = _likely([name for name in table.of_kind("number") if words(name) != "part" and _varies(table, name)])
    if numbers and len(usable) + len(table.of_kind("date", *MEDIA, "series")) > 1 and not table.of_kind("text"):
        return numbers[-1], tr("it is the last column of numbers")
    few = _few(table, [name for name in numbers if NAMELESS.fullmatch(name)]) if table.of_kind("text") else []
    if len(few) == 1:
        return few[0], tr("it is the only one beside texts that has few different numbers")
    return "", tr("no column looks like a target")


def marks(table: Table) -> tuple[str, ...]:
    """Columns of zeros and ones, two at least, that are all that is told of pictures, sounds or films: each row has any number of them."""
    if not table.of_kind(*MEDIA):
        return ()
    parts = told(table)
    names = [name for name in table.inputs() if table.kinds.get(name) not in (*MEDIA, "boxes") and name != parts]
    if len(names) < 2 or {words(name) for name in names} & {*_TARGETS}:
        return ()
    found = [number.parse(table.column(name))[0] for name in names if table.kinds.get(name) in ("number", "category")]
    return tuple(names) if len(found) == len(names) and all(np.isin(values, (0, 1)).all() for values in found) else ()


def _is_mark(table: Table, name: str) -> bool:
    """Whether a column says yes, no or unclear (1, 0, -1) of a row, or nothing."""
    if table.kinds.get(name) not in ("number", "category"):
        return False
    values = number.parse(table.column(name))[0]
    empty = np.asarray(pc.is_null(values_of(table.column(name))).to_numpy(), bool)
    return bool((np.isin(values, (-1, 0, 1)) | empty).all() and not empty.all())


def unnamed(table: Table) -> ConfigError:
    """What is said where nobody names a target and no column looks like one."""
    if {table.kinds.get(name) for name in table.names} <= {*MEDIA, "id"}:
        if fields := [name for name in table.names if name.startswith("field_")]:
            return ConfigError(
                "Pictures, sounds and films need something to be learned of them; the names of the files of {name} have several fields "
                "({fields}). Say which is to be learned: --target {first}", name=table.name, fields=", ".join(fields), first=fields[0],
            )  # fmt: skip
        return ConfigError(
            "Pictures, sounds and films need something to be learned of them; {name} has {count} that lie in no folders of classes and no "
            "list tells more of. Put them into a folder for each class, or write metadata.csv with the columns file and label beside them.",
            name=table.name, count=len(table),
        )  # fmt: skip
    if len(table.of_kind("text")) > 1:
        return ConfigError(
            "A task or a target must be named: the columns are texts ({columns}). Where one is written from another, say the task and the "
            "columns: --task translate (or summarize, chat, embed) --source {first} --target {last}. Where one holds classes, say which "
            "with --target.",
            columns=", ".join(table.names[:30]), first=flagged(table.of_kind("text")[0]), last=flagged(table.of_kind("text")[-1]),
        )  # fmt: skip
    return ConfigError(
        "A target must be named: none of the columns looks like one ({columns}). Say which with --target.",
        columns=", ".join(table.names[:30]),
    )


def _in_lists(table: Table, name: str) -> bool:
    """Whether cells, though most are unlike, hold several of few labels each."""
    labels = _labels(values_of(table.column(name).slice(0, LOOKED_AT)))
    return labels is not None and len(labels) >= ROWS_EACH * len(pc.unique(labels))


def _varies(table: Table, name: str) -> bool:
    return len(pc.unique(values_of(table.column(name).slice(0, LOOKED_AT))).drop_null()) > 1


def _measure(table: Table, name: str) -> bool:
    """Whether a column is a number of many values that may be what is to be known of a day."""
    if table.kinds.get(name) != "number" or _SELDOM & set(words(name).split()):
        return False
    return len(np.unique(number.parse(table.column(name).slice(0, LOOKED_AT))[0])) > FEW_VALUES


def _beside(table: Table, usable: Sequence[str]) -> str:
    """The only column that is none of a run of numbers with one name (gene_1, gene_2 …), wherever it stands."""
    run = set(counted(table.of_kind("number")))
    left = [name for name in usable if name not in run]
    return left[0] if run and len(left) == 1 and _varies(table, left[0]) else ""


def _lone(table: Table) -> str:
    """Among many columns of numbers, the only one that holds classes: collections of series name no column."""
    names = table.of_kind("number")
    if len(names) < MANY_NUMBERS or len(names) < len(table.names):
        return ""
    few = _few(table, names)
    return few[0] if len(few) == 1 else ""


def _few(table: Table, names: Sequence[str]) -> list[str]:
    """Those that hold few different whole numbers."""
    few = []
    for name in names:
        values = np.unique(number.parse(table.column(name).slice(0, LOOKED_AT))[0])
        values = values[np.isfinite(values)]
        if 1 < len(values) <= FEW_VALUES and (values == np.round(values)).all():
            few.append(name)
    return few


def _spoken(table: Table, by_words: Mapping[str, str]) -> str:
    """The column of transcripts beside sounds: by its name, the last of texts that have nothing but sounds and names beside them, or one
    whose texts are as long as the sounds."""
    named = [by_words[wanted] for wanted in TRANSCRIPTS if wanted in by_words and table.kinds[by_words[wanted]] in ("text", "category")]
    if not named and {table.kinds[name] for name in table.names} <= {"audio", "text", "id"}:
        named = table.of_kind("text")[-1:]
    return named[0] if named else uttered(table)


def _likely(names: list[str], table: Table | None = None) -> list[str]:
    """Without those that are seldom predicted by their names, of whose cells most are codes (C0012), or that have hardly more rows than
    values, where others are left."""
    named = [name for name in names if not _SELDOM & set(words(name).split())] or names
    if table is None:
        return named
    cells = {name: values_of(table.column(name).slice(0, LOOKED_AT)) for name in named}
    named = [name for name in named if not _coded(cells[name])] or named
    return [name for name in named if (len(cells[name]) - cells[name].null_count) >= ROWS_EACH * len(pc.unique(cells[name]))] or named


def _coded(cells: pa.ChunkedArray) -> bool:
    """Whether many different values are a few letters with a number behind."""
    values = [str(value) for value in pc.unique(cells).drop_null().to_pylist()]
    return len(values) > FEW_VALUES and sum(CODE.fullmatch(value) is not None for value in values) > 0.9 * len(values)


def task_of(table: Table, target: Sequence[str]) -> tuple[str, str]:
    """Whether the target's cells are numbers or classes, and why; DataError where some targets are the one and some the other."""
    found = {name: _task_of(table, name) for name in target}
    if numbers := [name for name in target if found[name][0] == "regress"]:
        classes = [name for name in target if table.kinds.get(name) != "number"]
        if classes:
            told = {"number": numbers[0], "kind": classes[0], "numbers": flagged(",".join(numbers)), "classes": flagged(",".join(classes))}
            raise ConfigError(
                "The targets of one run must all be numbers or all be classes; {number} is a number, {kind} is none. Train two runs, "
                "each of which must not see what the other predicts: --target {numbers} --ignore {classes}, "
                "and --target {classes} --ignore {numbers}.",
                **told,
            )  # fmt: skip
        return found[numbers[0]]
    return found[target[0]]


def _task_of(table: Table, name: str) -> tuple[str, str]:
    cells = table.column(name)
    if table.kinds.get(name) == "number":
        values, _ = number.parse(cells)
        values = values[np.isfinite(values)]
        distinct = len(np.unique(values))
        scarce = distinct > SURELY_CLASSES and len(values) < ROWS_EACH * distinct
        if distinct > FEW_VALUES or scarce or (values != np.round(values)).any():
            return "regress", tr("Task: regress, because {target} is a number with {distinct:,} values.", target=name, distinct=distinct)
        if distinct > SURELY_CLASSES:
            said = tr("Task: classify, because {target} has {distinct:,} different whole numbers; --task regress tells how much.",
                      target=name, distinct=distinct)  # fmt: skip
            return "classify", said
    else:
        distinct = pc.count_distinct(values_of(cells)).as_py()
    return "classify", tr("Task: classify, because {target} has {distinct:,} different values.", target=name, distinct=distinct)


def balance_of(table: Table, target: str) -> tuple[Mapping[str, int], list[Finding]]:
    """Rows of each class, and what is wrong with the target."""
    if not target:
        return {}, []
    cells = values_of(table.column(target))
    found = []
    lacking, labels = np.asarray(pc.is_null(cells).to_numpy(), dtype=bool), _labels(cells)
    if labels is not None and table.kinds.get(target) == "text" and not _in_lists(table, target):
        labels = None
    if labels is not None and (bare := _bare(table, target, cells)).any():
        said = tr("{count} of {rows} rows have none of the labels of {target!r}: their cells are empty. Write NA where labels are unknown.",
                  count=int(bare.sum()), rows=len(table), target=target)  # fmt: skip
        found.append(Finding("note", "bare", said, (target,), tuple(np.flatnonzero(bare)[:5].tolist())))
        lacking &= ~bare
    if table.kinds.get(target) == "number":
        values = number.parse(table.column(target))[0]
        lacking = np.isnan(values)
        found += _tail(values[~lacking], target)
    if lacking.any():
        said = tr("{count} of {rows} rows have no {target!r}.", count=int(lacking.sum()), rows=len(table), target=target)
        first, remedy = (
            np.flatnonzero(lacking)[:5].tolist(),
            tr("Rows without a target cannot be learned from; fill them or take them out."),
        )
        found.append(Finding("error" if lacking.all() else "warning", "target_missing", said, (target,), tuple(first), remedy))
    if labels is None and (table.kinds.get(target) != "category" or _nested(cells)):
        return {}, found
    if labels is not None:
        said = tr("The cells of {target!r} hold any number of labels each, of {count}.", target=target, count=len(pc.unique(labels)))
        found.append(Finding("note", "labels", said, (target,)))
    counted = pc.value_counts(pc.drop_null(cells) if labels is None else labels)
    counts = counted.field("counts").to_numpy()
    order = np.argsort(-counts, kind="stable")
    balance = {
        str(value): int(count)
        for value, count in zip(counted.field("values").take(pa.array(order)).to_pylist(), counts[order], strict=True)
    }
    return balance, found + _classes(balance, target)


def _bare(table: Table, target: str, cells: pa.ChunkedArray) -> np.ndarray:
    """(N,) bool: rows with an empty cell where others write several labels into one."""
    if not is_text(cells.type) or separator_of(cells) == LISTED:
        return np.zeros(len(table), bool)
    return np.asarray(pc.fill_null(pc.equal(text_of(table.column(target)), ""), True).to_numpy(), dtype=bool)


def _tail(values: np.ndarray, target: str) -> list[Finding]:
    """Whether few rows are so much larger than the others that errors of these are nearly all that counts."""
    if len(values) < TAIL_ROWS or values.min() <= 0 or np.percentile(values, 99) < TAIL * np.median(values):
        return []
    said = tr("The largest hundredth of {target!r} begins at {times:.0f} times its median: what is learned is mostly the few largest.",
              target=target, times=np.percentile(values, 99) / np.median(values))  # fmt: skip
    remedy = tr("Where errors count in percent, learn its logarithm: --set task.log=true")
    return [Finding("note", "tail", said, (target,), remedy=remedy)]


def _labels(cells: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Every label of every cell, where cells hold lists of labels or several between signs; None where a cell is one label."""
    if pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type):
        labels = pc.list_flatten(cells)
        return pc.cast(labels, pa.large_string()) if is_text(labels.type) else None
    sign = separator_of(cells)
    if not sign:
        return None
    if sign == LISTED:
        found = [str(label) for cell in cells.to_pylist() if cell for label in listed(cell) or ()]
        return pa.chunked_array([pa.array(found, pa.large_string())])
    labels = pc.utf8_trim_whitespace(pc.list_flatten(pc.split_pattern(pc.drop_null(cells), sign)))
    return labels.filter(pc.not_equal(pc.utf8_length(labels), 0))


def _classes(balance: Mapping[str, int], target: str) -> list[Finding]:
    if len(balance) < 2:
        said = tr("Column {target!r} has {count} class: there is nothing to tell apart.", target=target, count=len(balance))
        return [Finding("error", "one_class", said, (target,), remedy=tr("Give rows of another class, or choose another target."))]
    found = []
    rare = [name for name, count in balance.items() if count < 5]
    if rare:
        told = {"count": len(rare), "target": target, "names": ", ".join(rare[:5])}
        said = tr("{count} classes of {target!r} have fewer than 5 rows: {names}.", **told)
        remedy = tr("They can hardly be learned or tested; join them or collect more.")
        found.append(Finding("warning", "rare_classes", said, (target,), remedy=remedy))
    most, least = max(balance.values()), min(balance.values())
    if most > 10 * least:
        said = tr("The classes of {target!r} are uneven: the largest has {most} rows, the smallest {least}.",
                  target=target, most=most, least=least)  # fmt: skip
        found.append(Finding("note", "imbalance", said, (target,), remedy=tr("Judge by F1 or balanced accuracy, not by accuracy.")))
    return found


def separator_of(cells: pa.ChunkedArray) -> str:
    """The sign between the labels of a cell if the cells look like lists of few labels; LISTED for JSON lists; else empty."""
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
        return ""
    sample = [cell for cell in cells.slice(0, 2000).to_pylist() if cell]
    if sample and all(listed(cell) is not None for cell in sample):
        return LISTED
    for sign in SEPARATORS:
        lists = [cell for cell in sample if sign in cell]
        parts = Counter(part.strip() for cell in sample for part in cell.split(sign) if part.strip())
        short = all(len(part) <= 40 for part in parts)
        if len(lists) >= max(2, 0.05 * len(sample)) and short and sum(parts.values()) >= 3 * len(parts):
            alone = sign in COMMAS and {*parts} <= {cell.strip() for cell in sample} and not all(map(str.isdigit, parts))
            return sign if sign not in INSIDE or alone or (_mixed(lists, sign) and not (sign == "/" and _paired(lists, parts))) else ""
    return ""


def listed(cell: str) -> list[Any] | None:
    """The labels of a cell that is a list written as JSON or as Python writes it; None where it is none."""
    found = written(cell) if cell.startswith("[") and cell.endswith("]") else None
    return None if found is None or any(isinstance(part, list | dict | tuple | set) for part in found) else found


def _nested(cells: pa.ChunkedArray) -> bool:
    """Whether cells are lists of lists or objects written as JSON, as spans of texts are: no classes."""
    sample = [cell for cell in cells.slice(0, 200).to_pylist() if cell not in (None, "", "[]", "{}")] if is_text(cells.type) else []
    return bool(sample) and all(cell.startswith(("[[", "[{", "{")) and cell.endswith(("]", "}")) for cell in sample)


def _paired(lists: Sequence[str], parts: Mapping[str, int]) -> bool:
    """Whether what stands on either side of a slash is more than a set: results (2/1), portions (3/4), genotypes (A/A)."""
    cells = [[part.strip() for part in cell.split("/")] for cell in lists]
    numbers = sum(count for part, count in parts.items() if part.isdigit())
    same = len({len(cell) for cell in cells}) == 1 and sum(parts.values()) == sum(map(len, cells))
    return 2 * numbers > sum(parts.values()) or same or any(len(set(cell)) < len(cell) for cell in cells)


def _mixed(lists: Sequence[str], sign: str) -> bool:
    """Whether the parts of cells with such signs are met in many combinations: «Portland, OR» is a name with a comma inside."""
    cells = {tuple(part.strip() for part in cell.split(sign)) for cell in lists}
    pairs = {frozenset(cell) for cell in cells}
    parts = set().union(*cells)
    alone = {cell[0] for cell in cells} & {cell[-1] for cell in cells}
    return len(pairs) > len(parts) and len(alone) > 0.3 * len(parts)
