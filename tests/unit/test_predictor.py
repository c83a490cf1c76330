"""How many rows are computed at once: as many as keep the cores busy, always the same for the same row."""

import csv
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import duomo
from duomo import samples
from duomo.core.device import PRODUCTS, Execution
from duomo.core.flops import Counter
from duomo.data.predictor import Block, Predictor

BRIEF = {"train": {"steps": 1, "batch_size": 4, "exact": True, "evaluate_steps": 10**6}, "data": {"kind": {"text": "text"}}}


def test_height_follows_from_the_width_alone():
    block = Block(16, 100)
    assert [block.height(positions) for positions in (1, 16, 32, 64, 512)] == [16, 4, 2, 1, 1]
    assert Block.of(16) == Block(16) and Block.of([16, 100]) == block and Block(16).height(10**6) == 16


def test_operations_are_counted_as_torch_counts_them():
    """A convolution, a product, and what is made of several: attention in one call, a feed-forward."""
    attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).requires_grad_(False)
    model = nn.Sequential(nn.Conv2d(3, 16, 3).requires_grad_(False), nn.Flatten(2), nn.Linear(36, 8).requires_grad_(False)).eval()
    for part, x in ((model, torch.rand(2, 3, 8, 8)), (attention, torch.rand(2, 5, 16))):
        with torch.inference_mode(), Counter() as ours:
            part(x)
        with torch.inference_mode(), FlopCounterMode(display=False) as theirs:
            part(x)
        assert ours.total == theirs.get_total_flops() > 0


@pytest.mark.parametrize("width, alone", [(32, False), (768, True)])
def test_a_long_text_of_a_heavy_model_is_computed_alone(tmp_path, width, alone):
    with samples.write("reviews", tmp_path).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:80]
    rows = [{"text": " ".join([row["text"]] * (1 + n % 3)), "label": row["label"]} for n, row in enumerate(rows)]
    options = {"width": width, "depth": 4, "heads": 4}
    settings = BRIEF | {"model": {"name": "bert", "size": "base", "options": options}, "task": {"encode": {"longest_text": 64}}}
    run = duomo.train(rows, settings, target="label", out=tmp_path / "run")
    block = Block.of(run.facts["block"])
    assert (block.height(64) == 1) is alone and block.rows == 16
    again = duomo.load(run.path)
    together = again.predict([row["text"] for row in rows[:8]])
    assert together == [again.predict([row["text"]])[0] for row in rows[:8]]
    assert again.predictor.block == block and again.execution == Execution.from_dict(run.facts["inference"])


class _Slow(Predictor):
    """Answers when it is told to."""

    def __init__(self, threads: int):
        self.execution, self.begun, self.told = Execution(threads=threads), threading.Event(), threading.Event()

    def _whole(self, table):
        self.begun.set()
        assert self.told.wait(10)
        return {}


def test_threads_that_answer_at_once_give_back_what_was_there():
    before, left = torch.get_num_threads(), list[int]()
    several = [_Slow(before + 1) for _ in range(2)]
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        asked = []
        for pool, slow in zip((first, second), several, strict=True):  # the second begins while the first answers
            asked.append(pool.submit(slow.answers, None))
            assert slow.begun.wait(10)
        for slow, one in zip(several, asked, strict=True):
            slow.told.set()
            one.result()
        left += [pool.submit(torch.get_num_threads).result() for pool in (first, second)]
    with ThreadPoolExecutor(1) as fresh:
        left.append(fresh.submit(torch.get_num_threads).result())
    torch.set_num_threads(before)
    assert left == [before] * 3


def test_products_are_as_asked_until_the_last_who_wants_them_so_is_done():
    """A training nearby has set them otherwise, and finds them as they were; who wants them otherwise waits."""
    torch.set_float32_matmul_precision("high")
    told, inside = list[str](), threading.Event()

    def otherwise() -> None:
        with PRODUCTS.at("medium"):
            inside.set()
            told.append(torch.get_float32_matmul_precision())

    first, second, other = ExitStack(), ExitStack(), threading.Thread(target=otherwise)
    for one in (first, second):
        one.enter_context(PRODUCTS.at("highest"))
    other.start()
    first.close()
    assert torch.get_float32_matmul_precision() == "highest" and not inside.wait(0.1)
    second.close()
    other.join(10)
    told.append(torch.get_float32_matmul_precision())
    torch.set_float32_matmul_precision("highest")
    assert told == ["medium", "high"]
