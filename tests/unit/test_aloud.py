"""What a model says along the way takes a small share of limited time."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from duomo.aloud import SHORTEST, Aloud, limited
from duomo.core.device import Execution
from duomo.core.find import make_task
from duomo.core.reporter import Silent
from duomo.core.table import Table


@pytest.mark.parametrize(
    ("token_seconds", "asked", "tokens", "kept"), [(0.0001, 20, 0, 8), (0.01, 12, 0, 4), (0.05, 4, 79, 1), (5.0, 1, SHORTEST, 0)]
)
def test_fewer_and_shorter_answers_where_they_take_long(
    token_seconds: float, asked: int, tokens: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("chat", {})
    given: list[tuple[int, int]] = []

    def answers(self: Aloud, rows: Table, tokens: int = 0) -> list[str]:
        given.append((len(rows), tokens))
        return ["yes"] * len(rows)

    def timed(self: Aloud, rows: Table) -> float:
        self.token_seconds = token_seconds
        return self.token_seconds * self.most

    monkeypatch.setattr(Aloud, "answers", answers)
    monkeypatch.setattr(Aloud, "timed", timed)
    task.shape = type(task.shape)("pairs", ("question", "answer"))
    aloud = Aloud(task, nn.Linear(1, 1), 1.0)
    probes = task.probes()
    assert probes is not None
    aloud.before(probes, Silent())
    assert given == [(asked, tokens)] and aloud.tokens == tokens and aloud.affordable(8) == kept
    assert bool(aloud.sample(probes)) == (token_seconds * aloud.most < 1.2)
    free = Aloud(task, nn.Linear(1, 1), 0.0)
    assert free.before(probes, Silent()) == ["yes"] * 20 and given[-1] == (20, 0) and free.affordable(8) == 8 and free.room(12) == 0


def test_an_answer_is_cut_for_as_long_as_it_is_asked() -> None:
    task = make_task("chat", {})
    with pytest.raises(ZeroDivisionError), limited(task, 5):
        assert task.sampling.new_tokens == 5
        raise ZeroDivisionError
    assert task.sampling.new_tokens == 128
    with limited(task, 0):
        assert task.sampling.new_tokens == 128


def test_it_answers_where_its_weights_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever device is offered by now: a run that began on a CPU may go on beside a GPU. Products are true float32 on a GPU."""
    ways: list[Execution] = []

    def predictor(task: object, model: object, execution: Execution) -> SimpleNamespace:
        ways.append(execution)
        return SimpleNamespace(answers=lambda rows: {"prediction": ["yes"] * len(rows)})

    monkeypatch.setattr("duomo.aloud.Predictor", predictor)
    monkeypatch.setattr("duomo.core.device._cpu_lines", lambda: ["vendor_id : AuthenticAMD"])
    task = make_task("chat", {})
    task.shape = type(task.shape)("pairs", ("question", "answer"))
    probes = task.probes()
    assert probes is not None and Aloud(task, nn.Linear(1, 1), 0.0).answers(probes)
    monkeypatch.setattr(torch.Tensor, "device", property(lambda _: torch.device("cuda:1")), raising=False)
    assert Aloud(task, nn.Linear(1, 1), 0.0).answers(probes)
    assert [(way.device, way.matmul) for way in ways] == [("cpu", "medium"), ("cuda:1", "highest")]
