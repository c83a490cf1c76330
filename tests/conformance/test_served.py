"""Whatever a task reads and answers goes over the wire unchanged, alone and in company."""

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tests.conformance.test_tasks import fitted, model_for

from duomo.core.device import Execution
from duomo.core.table import Table
from duomo.data.predictor import Predictor
from duomo.serve.batching import BatchHandler, Question, asked_of
from duomo.serve.rows import Rows


@dataclass
class Ready:
    """A run without a folder."""

    predictor: Predictor
    facts: dict[str, Any]
    path: Path = Path("ready")

    @property
    def task(self) -> Any:
        return self.predictor.task

    @property
    def model(self) -> Any:
        return self.predictor.model

    def told(self, table: Table) -> Table:
        return table

    @property
    def execution(self) -> Execution:
        return self.predictor.execution

    def answers(self, table: Table) -> dict[str, list[Any]]:
        return self.predictor.answers(table)


def wire(cell: Any) -> Any:
    return {"base64": base64.b64encode(cell).decode()} if isinstance(cell, bytes) else cell


def test_served_as_predicted(toy) -> None:
    task, table = fitted(toy)
    run = Ready(Predictor(task, model_for(task), Execution()), {"kinds": dict(table.kinds), "features": task.columns, "task": task.name})
    handler, few = BatchHandler(run), table.take(np.arange(min(3, len(table))))
    if task.too_long(few).any():  # which would be refused
        name = task.columns[0]
        short = pa.array([cell[:5] for cell in few.column(name).to_pylist()])
        few = replace(few, data=few.data.set_column(few.names.index(name), name, short))
    if toy.task == "fill":  # a text without a gap would be refused
        name = task.columns[0]
        gaps = pa.array([f"[MASK]{cell}" for cell in few.column(name).to_pylist()])
        few = replace(few, data=few.data.set_column(few.names.index(name), name, gaps))
    rows = few.data.select(task.columns).to_pylist()
    answers = run.answers(few)
    expected = json.loads(json.dumps([dict(zip(answers, row, strict=True)) for row in zip(*answers.values(), strict=True)]))
    questions = [
        Question(n, "predict", json.dumps({"rows": [{k: wire(c) for k, c in row.items()}]}).encode()) for n, row in enumerate(rows)
    ]
    group = [(question, asked_of(handler, question)) for question in questions]
    assert all(isinstance(rows, Rows) for _, rows in group), group
    together = dict(handler.answer(group))
    assert [json.loads(together[n].body)["answers"][0] for n in range(len(rows))] == expected
    assert json.loads(dict(handler.answer(group[-1:]))[len(rows) - 1].body)["answers"] == expected[-1:]


def test_a_text_that_would_be_cut_is_refused_as_predict_refuses_it(toy) -> None:
    task, table = fitted(toy)
    name = next((name for name in task.columns if table.kinds[name] == "text"), "")
    if not name:
        return
    one = table.take(np.arange(1))
    cell = (one.column(name)[0].as_py() * 400)[:20_000]
    one = replace(one, data=one.data.set_column(one.names.index(name), name, pa.array([cell])))
    handler = BatchHandler(
        Ready(Predictor(task, model_for(task), Execution()), {"kinds": dict(table.kinds), "features": task.columns, "task": task.name})
    )
    if task.too_long(one)[0] and not task.cuts:
        question = Question(0, "predict", json.dumps({"rows": one.data.select(task.columns).to_pylist()}).encode())
        assert [reply.status for _, reply in handler.answer([(question, asked_of(handler, question))])] == [422]
