"""The training engine on scikit-learn's digits: schedules, optimizers, exactness, guards, probing."""

import copy
import json
import math
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import duomo
from duomo import samples
from duomo.core.device import Execution, Shared, candidates
from duomo.core.errors import ConfigError, DataError
from duomo.core.recipe import TrainConfig
from duomo.core.reporter import Silent
from duomo.core.run import RunFolder
from duomo.core.table import Table
from duomo.train import checkpoint, loop, optim, preflight, probe, reproducibility
from duomo.train.gradient import Gradient
from duomo.train.guard import SpikeDetector
from duomo.train.loop import train
from duomo.train.prefetch import size, split
from duomo.train.schedule import Budget, Plan, factor

sys.path.insert(0, str(Path(__file__).parents[1] / "crash"))
import toy


@pytest.fixture(autouse=True)
def one_thread():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


# -- schedule
def test_schedule_rises_then_falls():
    values = [factor((step + 0.5) / 100, 0.1, "cosine") for step in range(100)]
    assert values[:10] == sorted(values[:10]) and values[10:] == sorted(values[10:], reverse=True)
    assert 0 < values[-1] < 0.001 and factor(0.55, 0.1, "linear") == pytest.approx(0.5) and factor(0.7, 0, "constant") == 1


def test_plan_stays_continuous_and_is_replayed():
    plan = Plan(1000)
    plan.change(3, 50)
    plan.change(20, 40)
    progress = [plan.progress(step) for step in range(41)]
    assert progress == sorted(progress) and progress[0] == 0 and progress[40] == 1
    again = Plan.restore(json.loads(json.dumps(plan.state())))
    assert [again.progress(step) for step in range(41)] == progress


def test_budget_leaves_room_for_evaluations():
    budget = Budget(100.0, 0.0)
    assert budget.total(10, 10.0, step_seconds=0.1, evaluations_seconds=18.0) == 10 + 715
    assert budget.total(10, 10.0, step_seconds=0.1, evaluations_seconds=500.0) == 10 + 447
    assert budget.over(99.5, 0.1, 1.0) and not budget.over(90.0, 0.1, 1.0)


# -- optimizers
def groups(weights: list[torch.Tensor]) -> list[dict[str, Any]]:
    return [{"params": [weights[0]], "weight_decay": 0.1}, {"params": [weights[1]], "weight_decay": 0.0}]


OWN = {
    "adamw": lambda w: torch.optim.AdamW(groups(w), 0.01, fused=True),
    "adam": lambda w: torch.optim.Adam(groups(w), 0.01, fused=True),
    "sgd": lambda w: torch.optim.SGD(w, 0.01, 0.9, nesterov=True),
    "rmsprop": lambda w: torch.optim.RMSprop(w, 0.01, momentum=0.9),
    "adafactor": lambda w: torch.optim.Adafactor(groups(w), 0.01),
}


@pytest.mark.parametrize("name", list(OWN))
def test_optimizers_agree_with_torch(name: str):
    torch.manual_seed(0)
    ours = torch.nn.Linear(6, 5)
    theirs = [value.detach().clone().requires_grad_() for value in ours.parameters()]
    decay = 0.1 if name in ("adamw", "adam", "adafactor") else 0.0
    optimizer = optim.build(ours, TrainConfig(optimizer=name, learning_rate=0.01, weight_decay=decay))
    reference = OWN[name](theirs)
    for _ in range(8):
        for mine, other in zip(ours.parameters(), theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        optimizer.step(0.01)
        reference.step()
    for mine, other in zip(ours.parameters(), theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_lion_follows_its_paper():
    weight = torch.nn.Linear(1, 1, bias=False)
    start = weight.weight.item()
    optimizer = optim.build(weight, TrainConfig(optimizer="lion", weight_decay=0.1))
    weight.weight.grad = torch.full((1, 1), 3.0)
    optimizer.step(0.01)
    assert weight.weight.item() == pytest.approx(start * (1 - 0.001) - 0.01, abs=1e-7)
    assert optimizer.kept["momentum"][0].item() == pytest.approx(0.03)


def test_muon_is_torchs_within_the_layers_and_adamw_around_them():
    torch.manual_seed(0)
    ours = torch.nn.ModuleDict({"embedding": torch.nn.Embedding(7, 6), "blocks": torch.nn.ModuleList([torch.nn.Linear(6, 9)]),
                                "head": torch.nn.Linear(9, 7)})  # fmt: skip
    theirs = copy.deepcopy(ours)
    optimizer = optim.build(ours, TrainConfig(optimizer="muon", weight_decay=0.1, exact=True))
    matrix = theirs["blocks"][0].weight
    flat = [value for value in theirs.parameters() if value.ndim < 2]
    adam = [{"params": [theirs["embedding"].weight, theirs["head"].weight], "weight_decay": 0.1}, {"params": flat, "weight_decay": 0.0}]
    references = [
        torch.optim.Muon([matrix], 0.01, 0.1, adjust_lr_fn="match_rms_adamw"), torch.optim.AdamW(adam, 0.01, (0.9, 0.99))
    ]  # fmt: skip
    for _ in range(4):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        optimizer.step(0.01)
        for reference in references:
            reference.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        # torch's iteration is in bf16, ours in float32 where every bit is to be kept
        torch.testing.assert_close(mine, other, rtol=0, atol=2e-3 if other is matrix else 1e-6, msg=name)
    assert [tuple(value.shape) for value in optimizer.kept["exp_avg_sq"]] == [(7, 6), (), (9,), (7, 9), (7,)]


def test_muon_takes_a_filter_for_a_row_and_leaves_those_of_one_channel():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last), torch.nn.Conv2d(8, 8, 3, groups=8), torch.nn.Linear(36, 8)]
    model = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList(layers)})
    assert optim.inner_matrices(model) == [0, 4]
    with torch.no_grad():
        layers[2].weight.copy_(layers[0].weight.flatten(1))
    optimizer = optim.build(model, TrainConfig(optimizer="muon", weight_decay=0.1, exact=True))
    for _ in range(3):
        layers[0].weight.grad = torch.randn_like(layers[0].weight)
        layers[2].weight.grad = layers[0].weight.grad.flatten(1).contiguous()
        optimizer.step(0.01)
    torch.testing.assert_close(layers[0].weight.flatten(1), layers[2].weight, rtol=0, atol=1e-6)


def test_muon_makes_orthogonal():
    torch.manual_seed(0)
    for shape in ((12, 40), (40, 12)):
        for dtype in (torch.float32, torch.bfloat16):
            values = torch.linalg.svdvals(optim.orthogonal(torch.randn(shape), dtype))
            assert values.min() > 0.6 and values.max() < 1.3


def test_a_wrong_optimizer_is_named():
    with pytest.raises(ConfigError, match="adamw"):
        optim.build(torch.nn.Linear(1, 1), TrainConfig(optimizer="adamv"))


def test_state_keeps_the_layout_of_channels_last(tmp_path: Path):
    model = torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    optimizer = optim.build(model, TrainConfig())
    model(torch.ones(1, 4, 5, 5)).sum().backward()
    optimizer.step(0.1)
    again = optim.build(model, TrainConfig())
    again.restore(1, {name: value.contiguous() for name, value in optimizer.tensors().items()})
    assert again.kept["exp_avg"][0].stride() == model.weight.stride()
    assert torch.equal(again.kept["exp_avg"][0], optimizer.kept["exp_avg"][0])


# -- the loop
def test_learns_and_keeps_the_best(tmp_path: Path):
    job = toy.job(tmp_path, toy.config(steps=150, evaluate_steps=30, ema=0.9, checkpoint_steps=0))
    outcome = train(job, Silent())
    assert outcome.best and outcome.best > 0.85 and outcome.steps == 150
    pieces = [job.task.evidence(job.model(batch), batch) for batch in job.valid()]
    assert np.concatenate([piece["right"] for piece in pieces]).mean() == outcome.best
    found = lines(tmp_path)
    assert [line["step"] for line in found if "loss" in line] == list(range(1, 151))
    assert [line["step"] for line in found if "valid" in line] == [30, 60, 90, 120, 150]
    assert list((tmp_path / "tensorboard").iterdir()) and outcome.disk_bytes and outcome.memory_bytes


def test_a_weight_that_two_layers_share_is_kept_averaged(tmp_path: Path, stopped: Any):
    """By either name, and after a resume."""
    jobs = [toy.job(tmp_path / str(number), toy.config(steps=12, evaluate_steps=12, ema=0.9)) for number in range(3)]
    for job in jobs:
        job.model = _Shared()
    judged = train(jobs[0], Silent()).best
    with stopped(7):
        train(jobs[1], Silent())
    jobs[2].folder = jobs[1].folder
    train(jobs[2], Silent())
    assert same(jobs[2].model, jobs[0].model)
    right = [jobs[0].task.evidence(jobs[0].model(batch), batch)["right"] for batch in jobs[0].valid()]
    assert jobs[0].model.last.weight is jobs[0].model.first.weight and np.concatenate(right).mean() == judged


class _Shared(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
        self.last.weight = self.first.weight

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.last(self.first(batch["pixels"].flatten(1)).relu())[:, :10]


def test_same_seed_same_bits_other_seed_others(tmp_path: Path):
    jobs = [toy.job(tmp_path / str(number), toy.config(steps=12, seed=seed)) for number, seed in enumerate((0, 0, 1))]
    for job in jobs:
        train(job, Silent())
    assert same(jobs[0].model, jobs[1].model) and not same(jobs[0].model, jobs[2].model)
    assert (tmp_path / "0/log.jsonl").read_bytes() == (tmp_path / "1/log.jsonl").read_bytes()


def test_resume_from_every_step_repeats_the_rows(tmp_path: Path, stopped: Any):
    setting = toy.config(steps=16, evaluate_steps=4, accumulate=2, patience=9)
    whole = toy.job(tmp_path / "whole", setting)
    train(whole, Silent())
    for step in range(1, 16):
        first, second = toy.job(tmp_path / str(step), setting), toy.job(tmp_path / str(step), setting)
        with stopped(step):
            train(first, Silent())
        train(second, Silent())
        assert first.stream.seen + second.stream.seen == whole.stream.seen
        assert same(second.model, whole.model)
        assert (tmp_path / str(step) / "log.jsonl").read_bytes() == (tmp_path / "whole/log.jsonl").read_bytes()


def test_accumulation_is_exact(tmp_path: Path):
    gradients = []
    for parts in (1, 3):
        job = toy.job(tmp_path / str(parts), toy.config(accumulate=parts))
        job.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).double()
        torch.nn.init.constant_(job.model[1].weight, 0.01)
        torch.nn.init.zeros_(job.model[1].bias)
        plain = job.model
        job.model = _Pixels(plain)
        training = loop._Training(job, Silent(), loop.guard.Signals())
        training.gradient(job.stream.batch(0))
        gradients.append(plain[1].weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-8)


class _Pixels(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.inner(batch["pixels"].double())


def test_pairs_stay_together_in_parts_of_a_batch():
    """Of a column with two texts for each row a part takes both."""
    rows, same_N = torch.arange(20.0).view(10, 2), torch.arange(5)
    parts = split({"text": rows, "same": same_N}, 2)
    assert [(len(part["text"]), len(part["same"])) for part in parts] == [(4, 2), (6, 3)]
    assert torch.equal(torch.cat([part["text"] for part in parts]), rows) and size({"text": rows, "same": same_N}) == 5


def test_a_loss_is_computed_in_float32_whatever_the_model_ran_in():
    """Products of its own too."""

    class Near(toy.Digits):
        def loss(self, output: torch.Tensor, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
            assert (output @ output.T).dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
            return super().loss(output, batch)

    batch = {name: values[:32] for name, values in toy.digits(slice(0, 32)).batch(torch.arange(32)).items()}
    for way in ({}, {"parts": 2}):
        net = plain_net().train()
        step = Gradient(Near(), net, optim.trainable(net), replace(toy.EXECUTION, precision="bf16", **way), accumulate=1 if way else 2)
        assert torch.isfinite(step(batch))
        step.close()


def test_of_equals_the_latest_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    judged = iter([0.5, 0.8, 0.7, 0.8, 0.8, 0.6])
    monkeypatch.setattr(loop._Training, "_judge", lambda self: {"accuracy": next(judged)})
    outcome = train(toy.job(tmp_path, toy.config(steps=12, evaluate_steps=2, patience=9)), Silent())
    assert (outcome.best, outcome.best_step) == (0.8, 10)


def test_the_loss_chooses_where_validation_cannot_tell_the_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    judged = iter([None, None, None, 0.2, 0.3, 0.1])
    losses = iter([0.9, 0.5, 0.7, 0.6, 0.6, 0.6])
    monkeypatch.setattr(loop._Training, "_judge", lambda self: {"loss": next(losses), "accuracy": next(judged)})
    reporter = Silent()
    outcome = train(toy.job(tmp_path / "one", toy.config(steps=6, evaluate_steps=2, patience=0)), reporter)
    assert (outcome.best, outcome.best_step) == (0.5, 4) and sum("cannot tell accuracy" in line for line in reporter.said) == 1
    judged = iter([None, 0.2, 0.3, 0.1])
    losses = iter([0.1, 0.5, 0.7, 0.6])
    outcome = train(toy.job(tmp_path / "two", toy.config(steps=8, evaluate_steps=2, patience=0)), Silent())
    assert (outcome.best, outcome.best_step) == (0.3, 6)  # what can be told after all chooses again


def test_patience_stops_early(tmp_path: Path):
    """Not before half of the steps are done: of few rows an epoch is a handful, and what is learned first shows late."""
    outcome = train(toy.job(tmp_path, toy.config(steps=100, evaluate_steps=2, patience=2, learning_rate=1e-9)), Silent())
    assert 50 <= outcome.steps < 60 and lines(tmp_path)[-1]["event"] == "early stop"


def test_a_time_budget_ends_on_time_with_the_schedule_finished(tmp_path: Path):
    job = toy.job(tmp_path, toy.config(steps=0, minutes=2.5 / 60, evaluate_steps=0, checkpoint_steps=0))
    outcome = train(job, Silent())
    assert 1.2 < outcome.seconds < 3.5
    rates = [line["lr"] for line in lines(tmp_path) if "lr" in line]
    assert rates[-1] < 0.2 * max(rates) and max(rates) > 0.9 * job.config.learning_rate


# -- guards
@pytest.mark.parametrize("trap", ["nan", "inf"])
def test_bad_data_stop_before_the_update(tmp_path: Path, trap: str):
    job = toy.job(tmp_path, toy.config(), trap)
    with pytest.raises(DataError) as caught:
        train(job, Silent())
    row = job.stream.rows(17)[3 if trap == "nan" else 5]
    assert caught.value.values["step"] == 18 and caught.value.values["rows"] == str(row) and caught.value.values["column"] == "pixels"
    saved = checkpoint.Checkpoints(tmp_path, print).load()
    assert saved and saved.step == 17
    assert all(torch.equal(value, saved.tensors["model"][name]) for name, value in job.model.state_dict().items())


def test_an_infinite_loss_names_the_remedy(tmp_path: Path):
    job = toy.job(tmp_path, toy.config(), "loss")
    with pytest.raises(DataError, match="learning_rate"):
        train(job, Silent())
    saved = checkpoint.Checkpoints(tmp_path, print).load()
    assert saved and saved.step == 17 and all(bool(torch.isfinite(value).all()) for value in saved.tensors["model"].values())


def test_a_planted_spike_is_flagged(tmp_path: Path):
    outcome = train(toy.job(tmp_path, toy.config(steps=40), "spike"), Silent())
    assert [spike["step"] for spike in outcome.spikes][:1] == [18]
    assert any(line.get("event") == "spike" and line["step"] == 18 for line in lines(tmp_path))
    quiet = SpikeDetector()
    assert not any(quiet.add(step, 2.0 + 0.1 * math.sin(step)) for step in range(500))


# -- execution
def test_probing_takes_the_fastest_that_agrees(tmp_path: Path):
    job = toy.job(tmp_path, toy.config())
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    plain = Execution(threads=1)
    ways = [plain, replace(plain, channels_last=True), replace(plain, precision="bf16"), replace(plain, compile=True)]
    chosen, timings = probe.choose(probe.Trial(job.task, job.model, job.stream, job.config), ways, Silent(), 1.0)
    assert chosen == min((timing for timing in timings if not timing.note), key=lambda timing: timing.seconds).execution
    assert "compiling" in timings[3].note and timings[0].times and abs(timings[0].loss - timings[2].loss) < 0.05
    assert all(torch.equal(value, before[name]) for name, value in job.model.state_dict().items())
    said = preflight.predict(job.model, job.config, 37, 597, timings[0].seconds)
    assert said.seconds > 0 and said.memory_bytes > 1e7 and said.disk_bytes > 1e4
    assert said.against(1.0, 10, 10)["seconds"]["actual"] == 1.0


def test_a_plain_reference_that_would_take_the_time_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of a large model its few steps took longer than the training that was asked for."""

    class Slow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = plain_net()

        def forward(self, batch: Any) -> torch.Tensor:
            time.sleep(0.0 if torch.is_autocast_enabled("cpu") else 0.1)
            return self.net(batch)

    plain = Execution(threads=1)
    ways = [plain, replace(plain, precision="bf16")]
    for config, timed in ((toy.config(), True), (replace(toy.config(), steps=0, epochs=0.0, minutes=1.0), False)):
        job = toy.job(tmp_path, config)
        chosen, timings = probe.choose(probe.Trial(job.task, Slow(), job.stream, job.config), ways, Silent(), 0.05)
        assert bool(timings[0].times) == timed and bool(timings[0].note) != timed
        assert timings[1].times and chosen == ways[1] and timings[0].loss > 0
    job = toy.job(tmp_path, replace(toy.config(), steps=0, epochs=0.0, minutes=0.01))  # a loss alone takes a tenth of it: no step is tried
    chosen, timings = probe.choose(probe.Trial(job.task, Slow(), job.stream, job.config), ways, Silent(), 0.05)
    assert chosen == ways[1] and not timings[1].times and timings[1].guess >= 0.25 and not timings[1].note
    exact = [Execution(threads=2), Execution(threads=1)]
    for given, expected in ((1.0, exact[0]), (0.2, exact[1])):  # one thread only where others keep the machine busy
        monkeypatch.setattr(probe, "given", lambda _, given=given: given)
        assert probe.choose(probe.Trial(job.task, Slow(), job.stream, job.config), exact, Silent(), 0.05)[0] == expected


def test_bf16_with_channels_last_learns(tmp_path: Path):
    job = toy.job(tmp_path, toy.config(steps=100, evaluate_steps=50))
    job = replace(job, execution=Execution(precision="bf16", channels_last=True, threads=1))
    outcome = train(job, Silent())
    assert outcome.best and outcome.best > 0.8


def plain_net(norm: bool = False, dropout: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(3)
    net = toy.Net(norm=norm)
    net.layers[5].p = dropout
    return net


def test_parts_side_by_side_give_the_gradients_of_the_whole(tmp_path: Path):
    job = toy.job(tmp_path, toy.config())
    found = []
    for parts in (1, 2, 2, 3):
        net = plain_net().train()
        weights = optim.trainable(net)
        step = Gradient(job.task, net, weights, replace(toy.EXECUTION, parts=parts))
        loss = step(job.stream.batch(0))
        step.close()
        found.append([loss, *(weight.grad for weight in weights)])
    for parts in (1, 3):
        for one, other in zip(found[0], found[parts], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(one, other) for one, other in zip(found[1], found[2], strict=True))


def test_weights_that_are_added_to_one_another_learn_alike_in_parts(tmp_path: Path):
    class Added(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (torch.nn.Parameter(torch.full((10, 64), value)) for value in (0.1, -0.2))

        def forward(self, batch: Any) -> torch.Tensor:
            return batch["pixels"].flatten(1) @ (self.first + self.second).T

    job, found = toy.job(tmp_path, toy.config()), []
    for parts in (1, 2):
        net = Added()
        step = Gradient(job.task, net, optim.trainable(net), replace(toy.EXECUTION, parts=parts))
        step(job.stream.batch(0))
        step.close()
        found.append((net.first.grad, net.second.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_parts_are_for_models_whose_rows_stand_alone(tmp_path: Path):
    job = toy.job(tmp_path, toy.config())
    ways = [Execution(threads=1), Execution(threads=1, parts=2)]
    hooked = plain_net()
    hooked.layers[0].register_forward_hook(lambda module, inputs, output: None)
    for net, stands in ((plain_net(), True), (plain_net(norm=True), False), (plain_net(dropout=0.2), False), (hooked, False)):
        _, timings = probe.choose(probe.Trial(job.task, net, job.stream, job.config), ways, Silent(), 0.2)
        assert bool(timings[1].times) == stands and bool(timings[1].note) != stands
    task = copy.copy(job.task)
    task.loss = lambda output, batch: (output.view(toy.config().batch_size, -1).sum(), torch.tensor(1.0))
    _, timings = probe.choose(probe.Trial(task, plain_net(), job.stream, job.config), ways, Silent(), 0.2)
    assert "depend on one another" in timings[1].note  # and no word of torch's


def test_parts_resume_to_the_last_bit(tmp_path: Path, stopped: Any):
    def job(name: str) -> Any:
        made = toy.job(tmp_path / name, toy.config(), trap="plain")
        return replace(made, model=plain_net(), execution=replace(toy.EXECUTION, parts=2))

    whole, cut = job("whole"), job("cut")
    train(whole, Silent())
    with stopped(23):
        train(cut, Silent())
    again = job("cut")
    train(again, Silent())
    assert same(whole.model, again.model) and lines(whole.folder) == lines(cut.folder)


def test_the_log_ends_with_the_last_step(tmp_path: Path, stopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a line sums up several, of an interrupted run as of a whole one."""
    monkeypatch.setattr(sys.modules["duomo.train.log"], "width", lambda step: 10)
    config = toy.config(steps=25, evaluate_steps=25)
    train(toy.job(tmp_path / "whole", config), Silent())
    with stopped(17):
        train(toy.job(tmp_path / "cut", config), Silent())
    assert [line["step"] for line in lines(tmp_path / "cut") if "lr" in line] == [10]
    train(toy.job(tmp_path / "cut", config), Silent())
    train(toy.job(tmp_path / "cut", config), Silent())  # as where it was killed while it was judged
    assert [line["step"] for line in lines(tmp_path / "whole") if "lr" in line] == [10, 20, 25]
    assert (tmp_path / "whole/log.jsonl").read_bytes() == (tmp_path / "cut/log.jsonl").read_bytes()


def test_other_code_is_told_of_when_a_run_goes_on(tmp_path: Path, stopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Silent()
    for name, later in (("same", ""), ("other", "0123456789ab")):
        with stopped(3):
            train(toy.job(tmp_path / name, toy.config(steps=5)), Silent())
        with monkeypatch.context() as patch:
            if later:
                patch.setattr(reproducibility, "code", lambda later=later: later)
            train(toy.job(tmp_path / name, toy.config(steps=5)), heard)
        assert any(f"duomo: {reproducibility.code()} -> {later}" in sentence for sentence in heard.said) == bool(later)


def test_what_will_take_long_or_not_fit_is_foretold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints larger than the disk."""
    heard = Silent()
    for free in (10**9, 10**7):
        monkeypatch.setattr("shutil.disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        preflight.Preflight(60.0, 10**9, 85_000_000).say(heard, tmp_path)
    assert len(heard.said) == 3 and "10 MB left" in heard.said[2] and "--out" in heard.said[2]


def test_limited_time_chooses_by_what_it_can() -> None:
    config = TrainConfig(minutes=1.0, batch_size=8)
    assert preflight.enough(config, 5000, 0.125) == 960 and preflight.enough(config, 500, 0.1) == 500
    assert preflight.enough(config, 500, 60.0) == 8 and preflight.enough(TrainConfig(epochs=1.0, batch_size=8), 5000, 60.0) == 5000
    assert len(preflight.some(500, 32, 0)) == 32 and np.array_equal(preflight.some(5, 9, 0), np.arange(5))


@pytest.mark.parametrize(("seconds", "rows"), [(0.0, 500), (0.05, 500), (0.1, 256), (0.9, 32), (2.0, 8), (60.0, 8)])
def test_limited_time_judges_what_it_can(seconds: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a minute for 500 rows that take `seconds` each: some of them, drawn by chance, and said so; of other tasks all."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def judge(table: Table) -> None:
        clock[0] += seconds * len(table)

    table, config = Table(pa.table({"n": list(range(500))}), {"n": "number"}), TrainConfig(minutes=1.0)
    found, told = preflight.judgeable(SimpleNamespace(writes=True, judged_bytes=0), table, judge, config)  # type: ignore[arg-type]
    again = preflight.judgeable(SimpleNamespace(writes=False, judged_bytes=9), table, judge, config)[0]  # type: ignore[arg-type]
    numbers = found.column("n").to_pylist()
    assert len(found) == rows == len(set(numbers)) and numbers == sorted(numbers) == again.column("n").to_pylist()
    assert bool(told) == (rows < 500) and all(f"Of 500 rows {rows} are judged" in one for one in told)
    least = preflight.judgeable(SimpleNamespace(writes=True, judged_bytes=0), table, judge, config, 32)[0]  # type: ignore[arg-type]
    assert len(least) == max(32, rows)
    assert len(preflight.judgeable(SimpleNamespace(writes=False, judged_bytes=0), table, judge, config)[0]) == 500  # type: ignore[arg-type]
    assert len(preflight.judgeable(SimpleNamespace(writes=True, judged_bytes=0), table, judge, TrainConfig())[0]) == 500  # type: ignore[arg-type]


def test_what_began_on_a_gpu_goes_on_without_it(tmp_path: Path, stopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Heard(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    said: list[str] = []
    source = samples.write("clinic", tmp_path)
    with stopped(1):
        duomo.train(source, {"train": {"steps": 2, "exact": True, "device": "cpu"}}, target="diagnosis", out=tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    facts = {name: value for name, value in folder.read_opening().items() if name != "sum"}
    folder.write_opening(facts | {"execution": facts["execution"] | {"device": "cuda:7"}})
    run = duomo.resume(tmp_path / "run", reporter=Heard())
    assert run.folder.finished() and any("began on cuda:7" in sentence for sentence in said)
    monkeypatch.setenv("DUOMO_DEVICE", "cuda:7")
    for asked in (lambda: duomo.load(run.path), lambda: duomo.train(source, {}, target="diagnosis", out=tmp_path / "other")):
        with pytest.raises(ConfigError, match="none of that name"):
            asked()


def test_a_gpu_with_a_number_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Linear(1, 1)
    monkeypatch.setattr(torch.Tensor, "device", property(lambda _: torch.device("cuda:1")), raising=False)
    assert {way.device for way in candidates(layer, exact=False, long_run=False)} == {"cuda:1"}
    assert Execution("cuda:1").autocast().device == "cuda"


def test_what_goes_on_is_judged_by_the_same_rows(tmp_path: Path, stopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of limited time an evaluation has a share: a resumed run compares what was best with figures of no other rows."""
    real, wanted = preflight.some, list[int]()
    monkeypatch.setattr(preflight, "enough", lambda *_: 5)
    monkeypatch.setattr(preflight, "some", lambda rows, most, seed: wanted.append(most) or real(rows, most, seed))
    with stopped(2):
        duomo.train(
            samples.write("clinic", tmp_path),
            {"train": {"steps": 4, "evaluate_steps": 1, "exact": True}, "model": {"options": {"advice": False}}},
            target="diagnosis",
            out=tmp_path / "run",
        )
    before = len(wanted)
    duomo.resume(tmp_path / "run")
    assert before and len(wanted) > before and set(wanted) == {5}


def test_a_setting_that_others_hold_in_turns_comes_to_whoever_wants_another() -> None:
    """Two that always find each other inside let a third in all the same; what was there before is put back."""
    held, ends, seen = ["plain"], threading.Event(), list[str]()
    setting = Shared(lambda: held[0], lambda value: held.__setitem__(0, value))

    def go_on() -> None:
        while not ends.is_set():
            with setting.at("fast"):
                time.sleep(0.01)

    def other() -> None:
        with setting.at("exact"):
            seen.append(held[0])

    busy = [threading.Thread(target=go_on, daemon=True) for _ in range(3)]
    for one in busy:
        one.start()
        time.sleep(0.003)
    third = threading.Thread(target=other, daemon=True)
    third.start()
    third.join(2.0)
    came = not third.is_alive()
    ends.set()
    for one in busy:
        one.join()
    assert came and seen == ["exact"] and held == ["plain"]
