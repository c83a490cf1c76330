"""Every model meets the same questions, on small real columns of every form that it takes."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from duomo.core.contract import Field, Head, Stream, Task
from duomo.core.device import Execution
from duomo.core.errors import ConfigError
from duomo.core.find import make_model, make_task, model_config, model_module, model_names
from duomo.core.recipe import AugmentConfig, ModelConfig, TrainConfig
from duomo.core.reporter import Silent
from duomo.core.tensors import Batch
from duomo.data.loader import TableStream, batches, finish
from duomo.train.job import Job
from duomo.train.loop import train

CLASSES = 3
PER_STEP = ("conformer", "detector", "embedder", "seq2seq", "tagger")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "model_form" in metafunc.fixturenames:
        found = [(name, form) for name in model_names() if name not in PER_STEP for form in model_module(name).FORMS]
        metafunc.parametrize("model_form", found, ids=[f"{name}-{form}" for name, form in found])
    if "model_name" in metafunc.fixturenames:
        metafunc.parametrize("model_name", model_names())


def fitted(forms, form: str) -> tuple[Task, Batch]:
    table = forms[form]()
    task = make_task("classify", {"target": ["target"], "ignore": ["amount"]})
    task.fit(table)
    examples = task.encode(table, target=True)
    return task, finish(examples.batch(np.arange(len(examples))), task.inputs)


def build(name: str, task: Task, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make_model(ModelConfig(name, "small"), task)


def logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(dict(batch))


def some(batch: Batch, rows: slice) -> Batch:
    return {name: value[rows] for name, value in batch.items()}


def test_shape_and_determinism(model_form, forms):
    name, form = model_form
    task, batch = fitted(forms, form)
    first, again = build(name, task), build(name, task)
    output = logits(first, batch)
    assert output.shape == (len(batch["target.value"]), CLASSES) and bool(output.isfinite().all())
    assert torch.equal(output, logits(again, batch)) and torch.equal(output, logits(first, batch))


def test_saved_and_loaded(model_form, forms):
    name, form = model_form
    task, batch = fitted(forms, form)
    one, two = build(name, task, 0), build(name, task, 1)
    two.load_state_dict(load(save({key: value.contiguous().clone() for key, value in one.state_dict().items()})))
    assert torch.equal(logits(one, batch), logits(two, batch))


def test_one_row_and_its_neighbours(model_form, forms):
    """A row's answer does not depend on the rows beside it, nor on how far they make it be padded."""
    name, form = model_form
    task, batch = fitted(forms, form)
    model = build(name, task)
    together = logits(model, batch)[:2]
    one = some(batch, slice(0, 1))
    (field_name,) = task.inputs
    if f"{field_name}.length" in one:
        one[field_name] = one[field_name][:, : max(1, int(one[f"{field_name}.length"][0]))]
    assert torch.allclose(logits(model, one)[0], together[0], atol=2e-4, rtol=1e-3)


def test_learns_and_every_weight_takes_part(model_form, forms):
    name, form = model_form
    task, batch = fitted(forms, form)
    model = build(name, task).train()
    # without warm-up five times the rate that they are trained at is too much for attention
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3 if name in ("bert", "fusion", "gpt", "vit") else 5e-3)
    losses: list[float] = []
    for step in range(60):
        torch.manual_seed(step)
        total, count = task.loss(model(dict(batch)), batch)
        (total / count).backward()
        if not losses:
            idle = [key for key, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
            assert not idle, f"without a gradient: {idle}"
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(total.detach() / count))
        if losses[-1] < 0.6 * losses[0]:
            return
    # a linear model on a few pixels or bands learns slowly from zero; all others fit fifty rows
    assert losses[-1] < (0.97 if name == "linear" else 0.6) * losses[0], losses[::10]


def test_refuses_what_it_cannot_take(model_name, forms, monkeypatch):
    module = model_module(model_name)
    missing = sorted({"numbers", "categories", "tokens", "pixels", "waveform", "frames", "clips"} - set(module.FORMS))
    texts = []
    for language in ("en", "zh"):
        monkeypatch.setenv("DUOMO_LANG", language)
        with pytest.raises(ConfigError) as caught:
            if missing:
                module.Model(model_config(ModelConfig(model_name, "small")), {"x": Field(missing[0], (3,), (5,))}, Head(2))
            else:
                module.Model(model_config(ModelConfig(model_name, "small")), {}, Head(2))
        texts.append(str(caught.value))
    assert texts[0] != texts[1]


def test_sizes(model_name):
    module = model_module(model_name)
    assert {"small", "base", "large"} <= set(module.SIZES)
    with pytest.raises(ConfigError, match="small"):
        model_config(ModelConfig(model_name, "smal"))


class _Cut(Stream):
    """A stream that ends the process's patience at one step, once."""

    def __init__(self, inner: Stream, at: int):
        self.inner, self.at, self.steps_per_epoch = inner, at, inner.steps_per_epoch

    def rows(self, step: int) -> np.ndarray:
        return self.inner.rows(step)

    def batch(self, step: int) -> Batch:
        if step == self.at:
            self.at = -1
            raise KeyboardInterrupt
        return self.inner.batch(step)


def trained(name: str, form: str, forms, folder: Path, cut: int) -> dict[str, torch.Tensor]:
    """Weights after six steps; with `cut`, cut off there and taken up again by a fresh model from the folder."""
    folder.mkdir()
    table = forms[form]()
    task = make_task("classify", {"target": ["target"], "ignore": ["amount"]})
    task.fit(table)
    examples = task.encode(table, target=True)
    config = TrainConfig(
        steps=6, batch_size=16, learning_rate=1e-3, weight_decay=0.01, ema=0.9, checkpoint_steps=2, evaluate_steps=3, exact=True
    )

    def valid() -> Iterator[Batch]:
        return (batch for _, batch in batches(examples, task.inputs, 16))

    for sitting in range(2):
        stream = TableStream(examples, task.inputs, 16, 0, AugmentConfig())
        job = Job(task, build(name, task), _Cut(stream, cut if sitting == 0 else -1), valid, config, Execution(), folder)
        try:
            outcome = train(job, Silent())
        except KeyboardInterrupt:
            continue
        assert outcome.steps == 6 and math.isfinite(outcome.history[-1]["loss"])
        return {key: value.clone() for key, value in job.model.state_dict().items()}
    raise AssertionError("cut off twice")


@pytest.mark.parametrize("name", [name for name in model_names() if name not in PER_STEP])
def test_resumes_bitwise(name, forms, tmp_path):
    form = model_module(name).FORMS[0]
    whole = trained(name, form, forms, tmp_path / "whole", -1)
    resumed = trained(name, form, forms, tmp_path / "cut", 5)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
