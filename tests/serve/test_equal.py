"""Served answers equal predict for every task that the tests train, alone and in company, to the last digit."""

import base64
import json
from typing import Any

import pytest
from tests.conftest import QUICK

from duomo.core.table import MEDIA
from duomo.serve.batching import BatchHandler, Question, asked_of

ROWS = 5


def wire(cell: Any) -> Any:
    return {"base64": base64.b64encode(cell).decode()} if isinstance(cell, bytes) else cell


def asked_rows(run, source) -> list[dict[str, Any]]:
    """The first rows as a client would send them: features alone, files as their bytes."""
    table = run.table(source)
    rows = table.data.slice(0, ROWS).select([name for name in run.facts["features"] if name in table.names]).to_pylist()
    for row in rows:
        for name in row:
            if table.kinds[name] in MEDIA and isinstance(row[name], str):
                row[name] = (table.root / row[name]).read_bytes()
            elif run.task.writes and isinstance(row[name], str):
                row[name] = row[name][:40]  # what does not fit into the context is refused
    return rows


@pytest.mark.parametrize("name", sorted(QUICK))
def test_served_equals_predicted(runs, name: str) -> None:
    run = runs(name)
    rows = asked_rows(run, runs.source(name))
    expected = json.loads(json.dumps(run.predict(rows)))
    handler = BatchHandler(run)
    questions = [Question(number, "predict", json.dumps({"rows": [{key: wire(cell) for key, cell in row.items()}]}).encode())
                 for number, row in enumerate(rows)]  # fmt: skip
    group = [(question, asked_of(handler, question)) for question in questions]
    together = dict(handler.answer(group))
    assert [json.loads(together[number].body)["answers"][0] for number in range(len(rows))] == expected
    number, reply = next(iter(handler.answer(group[-1:])))
    assert json.loads(reply.body)["answers"] == expected[number:]
