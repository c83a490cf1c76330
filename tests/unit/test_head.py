"""A new last layer is fitted before everything learns: to the least loss, only where it is the last, and once for a resumed run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import duomo
from duomo import samples
from duomo.core import find, kinds
from duomo.core.recipe import ModelConfig
from duomo.data import sources
from duomo.data.loader import batches
from duomo.train import head


def digits(tmp_path: Path, rows: int = 200) -> tuple[Any, Any]:
    table = kinds.infer(sources.read(samples.write("digits", tmp_path)), {})
    table = table.take(np.random.default_rng(0).permutation(len(table))[:rows])
    task = find.make_task("classify", {"target": ("label",)})
    task.fit(table)
    return task, task.encode(table, target=True)


@pytest.mark.parametrize("penalty", [10.0, 30.0])
def test_the_fitted_layer_has_the_least_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, penalty: float) -> None:
    monkeypatch.setattr(head, "PENALTIES", (penalty,))
    task, examples = digits(tmp_path)
    torch.manual_seed(0)
    model = find.make_model(ModelConfig("resnet", "tiny"), task)
    layer = head.last(model, ["fc.bias", "fc.weight", "bn1.num_batches_tracked"])
    assert layer is model.fc
    kept = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("fc")}
    assert head.fit(model, task, examples, layer) == len(examples) and model.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in kept.items())
    features: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    batch = next(iter(batches(examples, task.inputs, len(examples))))[1]
    with torch.no_grad():
        found = model.eval()(batch).softmax(1)
    x, y = features[0].numpy(), batch["target.value"].numpy()
    spread = np.maximum(x.std(0), 1e-3)
    peer = LogisticRegression(C=1 / penalty, max_iter=2000, tol=1e-6).fit((x - x.mean(0)) / spread, y)
    assert np.abs(peer.predict_proba((x - x.mean(0)) / spread) - found.numpy()).max() < 5e-3
    assert (found.argmax(1).numpy() == y).mean() > 0.5


class Twice(nn.Module):
    """A linear layer whose output is not the model's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(784, 10)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return 2 * self.inner(batch["image:image"].flatten(1))


def test_what_is_not_the_last_layer_stays_as_it_is(tmp_path: Path) -> None:
    task, examples = digits(tmp_path, 40)
    model = Twice()
    before = model.inner.weight.clone()
    assert head.fit(model, task, examples, model.inner) == 0 and torch.equal(model.inner.weight, before)
    assert head.last(model, []) is None and head.last(nn.Sequential(model, nn.Linear(10, 3)), ["0.inner.weight", "1.weight"]) is None


def some(folder: Path, labels: str, each: int) -> Path:
    """The sample's pictures of these digits."""
    found = folder / labels
    for label in labels:
        (found / label).mkdir(parents=True)
        for path in sorted((folder / "digits" / label).glob("*.png"))[:each]:
            shutil.copy(path, found / label)
    return found


def test_a_resumed_run_has_the_same_fitted_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: Any) -> None:
    monkeypatch.setattr("duomo.core.device.cores", lambda: 1)
    samples.write("digits", tmp_path)
    quick = {"steps": 2, "batch_size": 16, "exact": True, "checkpoint_steps": 1}
    first = duomo.train(some(tmp_path, "0123", 12), {"train": quick, "model": {"name": "resnet", "size": "tiny"}}, out=tmp_path / "first")
    other, settings = some(tmp_path, "147", 16), {"adapt": {"start": str(first.path)}, "train": quick}
    whole = duomo.train(other, settings, out=tmp_path / "whole")
    assert not (whole.path / "head.safetensors").exists()

    with stopped(1):
        duomo.train(other, settings, out=tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints")
    assert (tmp_path / "cut" / "head.safetensors").exists()
    again = duomo.resume(tmp_path / "cut").folder.read_tensors("model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in whole.folder.read_tensors("model.safetensors").items())


def test_the_penalty_is_the_one_that_fits_rows_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, examples = digits(tmp_path)
    torch.manual_seed(0)
    model = find.make_model(ModelConfig("resnet", "tiny"), task)
    layer, found = head.last(model, ["fc.bias", "fc.weight"]), []
    assert layer is not None
    for penalties in ((1e-4,), (100.0,), (1e6,), (1e-4, 100.0, 1e6)):
        monkeypatch.setattr(head, "PENALTIES", penalties)
        head.fit(model, task, examples, layer)
        found.append(layer.weight.clone())
    assert torch.equal(found[3], found[1]) and not torch.equal(found[3], found[0])
