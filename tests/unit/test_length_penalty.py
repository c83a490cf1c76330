"""The length penalty of a search: one search for several, chosen on validation only where that is no chance."""

import numpy as np
import pytest
import torch

from duomo.core.find import make_model, make_task
from duomo.core.recipe import ModelConfig
from duomo.data import sources
from duomo.data.loader import finish
from duomo.decode.beam import Beam, search
from duomo.decode.length_penalty import FEWEST, PENALTIES, USUAL, Penalty
from duomo.decode.rewriting import written
from duomo.plan import telling

ROWS = {"text": ["one two three", "four five", "six seven eight nine"] * 10, "translation": ["eins zwei drei", "vier fünf", "sechs"] * 10}


def test_few_rows_are_enough_to_choose_by() -> None:
    table = sources.read({"text": ["a text"] * 2000})
    assert len(telling(table, 0, 0)) == 2000 and len(telling(table, 100, 0)) < 20
    assert len(telling(table, 10**6, 0)) == 300


def facts(right: np.ndarray, rows: int) -> dict[str, np.ndarray]:
    return {"right": right[:rows].astype(float)}


def mean(evidence: dict[str, np.ndarray]) -> float:
    return float(evidence["right"].mean())


def test_another_penalty_only_where_rows_agree() -> None:
    rng = np.random.default_rng(1)
    usual = rng.random(400) < 0.5
    better, alike = usual | (rng.random(400) < 0.2), rng.random(400) < 0.52
    for rows, other, expected in ((400, better, 0.6), (400, alike, USUAL), (FEWEST - 1, ~usual | usual, USUAL), (0, better, USUAL)):
        penalty = Penalty(-1.0)
        evidence = penalty.beside([facts(usual, rows), facts(other, rows), facts(usual & False, rows)])
        if rows:
            assert mean(penalty.choose(evidence, ["right"], mean)) == mean(facts(other if expected == 0.6 else usual, rows))
        else:
            penalty.choose(evidence, ["right"], lambda _: 0.0)
        assert penalty.chosen == penalty.value == expected and penalty.tried == (expected,)
        again = Penalty(-1.0)
        again.restore(penalty.state())
        assert again == penalty and "0.6" in again.words("x")
    assert Penalty(0.3).tried == (0.3,) and Penalty(-1.0).tried == PENALTIES
    old = Penalty(-1.0)
    old.restore({})
    assert old.tried == (USUAL,)


@pytest.mark.parametrize("name", ["translate", "summarize"])
def test_one_search_finds_what_each_penalty_would(name: str) -> None:
    torch.manual_seed(0)
    table = sources.read(ROWS)
    task = make_task(name, {"target": ["translation"], "source": "text"})
    task.fit(table)
    model = make_model(ModelConfig("seq2seq", "small", {"width": 32, "depth": 1, "heads": 2}), task).eval()
    batch = finish(task.encode(table, target=True).batch(np.arange(3)), task.inputs)
    start, end = task.pairs.start, task.pairs.end
    banned = [token for token in range(task.head.size) if token not in (end, 7, 8, 9)]  # else every text is as long as it may be
    several = (*PENALTIES, 4.0)
    found = written(model, batch, Beam(4, new_tokens=12), several, start, end, banned)
    for penalty, texts in zip(several, found, strict=True):
        beam = Beam(4, 12)
        for row, size in enumerate(batch["source.length"].tolist()):
            one = {key: batch[key][row : row + 1] for key in ("source", "source.length")}
            (alone,) = search(model, [start], [end], beam, min(12, 3 * size + 16) + 1, (penalty,), batch=one, banned=banned)
            assert alone.tokens == texts[row][0]
    assert len({len(texts[row][0]) for texts in found for row in range(3)}) > 1
    (least,) = written(model, batch, Beam(4, new_tokens=12, least=2), (USUAL,), start, end, banned)
    assert min(len(tokens) for tokens, _ in least) >= 2 > min(len(tokens) for tokens, _ in found[0])
    evidence = task.judge(model, batch)
    assert {key for key in evidence if " at 0.6" in key}
    task.calibrate({key: np.repeat(value, 10, axis=0) for key, value in evidence.items()})
    assert task.penalty.chosen in PENALTIES and not {key for key in task.judge(model, batch) if " at " in key}
    assert f"{task.penalty.chosen:g}" in task.views(task.judge(model, batch))[0].note
