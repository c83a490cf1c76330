"""Label Studio's answers that are a choice, a rating or a text: a column for each question beside what was asked about.

{"data": {"text": "Soft."}, "annotations": [{"result": [{"from_name": "mood", "value": {"choices": ["glad"]}}]}]}
->  text   mood
    Soft.  glad
Outlines and spans are read as they are, by those who learn from them. In its tables the columns that tell who answered when are no inputs.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from duomo.core.files import JSON_FAULTS
from duomo.core.kinds.cells import is_text
from duomo.core.messages import tr

ANSWERS = ("annotations", "completions")
VALUES = ("choices", "rating", "text", "number", "taxonomy", "datetime")
"""What an answer that says something of the whole has in its value, and nothing else."""
TOOLS = frozenset(("annotation_id", "annotator", "lead_time"))
"""Columns that are in each of its tables."""
ABOUT = TOOLS | {"id", "created_at", "updated_at", "completed_by", "inner_id", "cancelled_annotations", "total_annotations"}
Rows = Sequence[Mapping[str, Any]]


def answered(found: Any) -> tuple[Any, tuple[str, ...]]:
    """Its export in JSON as rows of what was asked about with the answers beside, and what is to be said; anything else as it was."""
    if not (isinstance(found, list) and found and all(is_task(one) for one in found)):
        return found, ()
    told = [[_of(answer) for answer in _answers(one) if not answer.get("was_cancelled")] for one in found]
    if not any(any(one) for one in told) or any(answer is None for one in told for answer in one):
        return found, ()
    names = list(dict.fromkeys(name for one in told for answer in one if answer for name in answer))
    lists = {name for name in names if any(len(answer.get(name, ())) > 1 for one in told for answer in one if answer)}
    rows, unlike = [], 0
    for task, one in zip(found, told, strict=True):
        row = dict(task["data"])
        for name in names:
            counts = Counter(json.dumps(answer[name]) for answer in one if answer and name in answer)
            unlike += len(counts) > 1
            values = json.loads(counts.most_common(1)[0][0]) if counts else None
            row[name] = None if values is None else json.dumps(values, ensure_ascii=False) if name in lists else values[0]
        rows.append(row)
    said = (tr("{count:,} answers are unlike those of others to the same; what most answered counts.", count=unlike),) if unlike else ()
    return rows, said


def is_task(one: Any) -> bool:
    """Whether it is what was asked about with the answers to it."""
    return isinstance(one, dict) and isinstance(one.get("data"), dict) and any(isinstance(one.get(name), list) for name in ANSWERS)


def _answers(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for name in ANSWERS for one in task.get(name) or () if isinstance(one, dict)]


def _of(answer: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Question -> what was answered; None where something was outlined or marked."""
    found: dict[str, list[Any]] = {}
    for one in answer.get("result") or ():
        value = one.get("value") if isinstance(one, dict) else None
        key = next(iter(value), "") if isinstance(value, dict) and len(value) == 1 else ""
        if not isinstance(value, dict) or key not in VALUES:
            return None
        held = value[key] if isinstance(value[key], list) else [value[key]]
        held = [" / ".join(map(str, one)) if isinstance(one, list) else one for one in held]
        found[str(one.get("from_name", key))] = [" ".join(map(str, held))] if key == "text" else held
    return {name: values for name, values in found.items() if values}


def kept(data: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """Its export as a table, with several choices of a cell as a list, and the kinds of columns that are about the answering."""
    if not {*data.column_names} >= TOOLS:
        return data, {}
    for place, name in enumerate(data.column_names):
        column = data.column(name)
        if is_text(column.type) and pc.any(pc.starts_with(column, '{"choices"')).as_py():
            cells = [_listed(cell) for cell in column.to_pylist()]
            data = data.set_column(place, name, pa.array(cells, pa.large_string()))
    return data, {name: "id" for name in data.column_names if name in ABOUT}


def _listed(cell: str | None) -> str | None:
    """One choice or several as a list."""
    try:
        found = json.loads(cell) if cell and cell.startswith("{") else [cell]
    except JSON_FAULTS:
        return cell
    return None if cell is None else json.dumps(found["choices"] if isinstance(found, dict) else found, ensure_ascii=False)
