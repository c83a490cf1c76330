"""LoRA, freezing, rates by layer: on every model, merged without a difference, resumable to the bit, and small on the disk."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import duomo
from duomo import samples
from duomo.core import device
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.find import model_config, model_module, model_names
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import AdaptConfig, ModelConfig, TrainConfig
from duomo.core.reporter import Silent
from duomo.train import adapt, loop, lora, optim
from duomo.train.checkpoint import Checkpoints

sys.path.insert(0, str(Path(__file__).parents[1] / "crash"))
import toy

FIELDS = {
    "numbers": Field("numbers", (3,), facts={"bins": [[-1.0, 0.0, 1.0]] * 3}),
    "categories": Field("categories", (2,), (4, 5)),
    "tokens": Field("tokens", (8,), (11,)),
    "pixels": Field("pixels", (3, 64, 64), facts={"mean": [0.5] * 3, "std": [0.5] * 3}),
    "waveform": Field("waveform", (4000,), facts={"rate": 16000}),
    "frames": Field("frames", (6, 4)),
    "clips": Field("clips", (4, 3, 32, 32), facts={"mean": [0.5] * 3, "std": [0.5] * 3}),
}
PER = {"conformer": "step", "seq2seq": "step", "tagger": "step", "detector": "place", "embedder": "vector"}


def batch_of(form: str, name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    field, rows = FIELDS[form], 2
    if form in ("tokens", "categories"):
        values = torch.stack([torch.randint(1, size, (rows,)) for size in field.vocabulary * (8 if form == "tokens" else 1)], 1)
    else:
        values = torch.randn(rows, *([1] if form == "clips" else []), *field.shape)
    return {name: values, f"{name}.length": torch.full((rows,), values.shape[1])}


def built(name: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    module = model_module(name)
    names = ("source", "target") if name == "seq2seq" else ("x",)
    form = module.FORMS[0]
    model = module.Model(model_config(ModelConfig(name, "small")), dict.fromkeys(names, FIELDS[form]), Head(3, PER.get(name, "row")))
    return model.eval(), {key: value for one in names for key, value in batch_of(form, one).items()}


def output(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        found = model(dict(batch))
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", model_names())
def test_low_rank_changes_of_every_model(name: str) -> None:
    model, batch = built(name)
    names = list(lora.layers(model))
    if not names:
        pytest.skip("no linear layer")
    before, shapes = output(model, batch), {key: value.shape for key, value in model.state_dict().items()}
    lora.swap(model, names, 2, 4.0)
    assert torch.equal(output(model, batch), before)
    for key, weight in model.named_parameters():
        if key.endswith("lora_b"):
            torch.nn.init.normal_(weight, std=0.1)
    changed = output(model, batch)
    assert not torch.equal(changed, before)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    assert lora.merge(model) == len(names)
    merged = {key: value.clone() for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in merged.items()} == shapes
    assert torch.allclose(output(model, batch), changed, atol=1e-4, rtol=1e-3)
    again, _ = built(name)
    lora.swap(again, names, 2, 4.0)
    again.load_state_dict(state)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    lora.merge(again)
    torch.set_num_threads(threads)
    assert all(torch.equal(value, merged[key]) for key, value in again.state_dict().items())


def test_under_autocast_fixed_weights_are_converted_once_until_they_change() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(4, 3))
    lora.swap(layer, ["0"], 2, 4.0)
    changed, x = layer[0], torch.ones(2, 4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = layer(x)
        kept = changed._quick[1]
        assert torch.equal(layer(x), before) and changed._quick[1] is kept and kept.dtype == torch.bfloat16
        changed.weight.copy_(changed.weight + 1)
        assert torch.allclose(layer(x), before + 4, atol=0.1) and changed._quick[1] is not kept


def test_what_learns_and_how_fast() -> None:
    model, _ = built("transformer")
    rates = adapt.prepare(model, AdaptConfig(start="x", layer_decay=0.5, freeze=("place_TD",)), ["head.weight"], Head(3))
    assert rates["head.weight"] == adapt.NEW
    blocks = sorted({rate for name, rate in rates.items() if "blocks" in name})
    assert len(blocks) == 2 and blocks[1] == 2 * blocks[0]
    assert [name for name, weight in model.named_parameters() if not weight.requires_grad] == ["read.place_TD"]
    optimizer = optim.build(model, TrainConfig(optimizer="sgd", momentum=0.0), {"head.weight": 3.0})
    head, other = model.head.weight, model.head.bias
    before = head.detach().clone(), other.detach().clone()
    head.grad, other.grad = torch.ones_like(head), torch.ones_like(other)
    optimizer.step(0.1)
    assert torch.allclose(before[0] - head, torch.full_like(head, 0.3)) and torch.allclose(before[1] - other, torch.full_like(other, 0.1))


def test_patterns_that_fit_nothing_are_named() -> None:
    model, _ = built("transformer")
    with pytest.raises(ConfigError, match="blocks"):
        adapt.prepare(model, AdaptConfig(freeze=("bloks",)), [], Head(3))
    with pytest.raises(ConfigError, match="qkv"):
        adapt.prepare(model, AdaptConfig(lora=True, lora_targets=("qvk",)), [], Head(3))
    with pytest.raises(ConfigError, match="--lora"):
        adapt.prepare(torch.nn.Embedding(3, 3), AdaptConfig(lora=True), [], Head(3))


def changed_job(folder: Path, setting: TrainConfig) -> Any:
    job = toy.job(folder, setting)
    lora.swap(job.model, ["layers.6"], 4, 8.0)
    for name, weight in job.model.named_parameters():
        weight.requires_grad_("lora" in name or name.startswith("layers.8"))
    return job


def test_resumes_bitwise_and_writes_the_base_once(tmp_path: Path, stopped: Any) -> None:
    setting = toy.config(steps=12, evaluate_steps=4, checkpoint_steps=2, ema=0.9)
    whole = changed_job(tmp_path / "whole", setting)
    fixed = whole.model.layers[6].weight.clone()
    loop.train(whole, Silent())
    assert torch.equal(whole.model.layers[6].weight, fixed)
    for step in (1, 5, 9):
        folder = tmp_path / str(step)
        with stopped(step):
            loop.train(changed_job(folder, setting), Silent())
        base = folder / "checkpoints" / "base.safetensors"
        written = base.stat().st_mtime_ns
        second = changed_job(folder, setting)
        torch.nn.init.zeros_(second.model.layers[6].weight)  # a resumed model takes the base from the disk
        loop.train(second, Silent())
        assert base.stat().st_mtime_ns == written
        assert all(torch.equal(value, whole.model.state_dict()[name]) for name, value in second.model.state_dict().items())
        assert (folder / "log.jsonl").read_bytes() == (tmp_path / "whole/log.jsonl").read_bytes()
    found = Checkpoints(tmp_path / "1", print).load()
    assert found is not None and "layers.6.weight" in found.tensors["base"] and "layers.6.weight" not in found.tensors["model"]
    data = bytearray(base.read_bytes())
    data[-1] ^= 1
    base.write_bytes(data)
    said: list[str] = []
    assert Checkpoints(folder, said.append).load() is None and "base.safetensors" in said[0]


QUICK = {
    "encode": {"longest_text": 24},
    "train": {"steps": 12, "batch_size": 16, "exact": True},
    "model": {"name": "transformer", "size": "small"},
}


def test_low_rank_changes_of_a_model_whose_only_linear_layer_is_its_head_are_refused() -> None:
    """A recurrent writer, whose head is its embedding: nothing would learn."""
    model = model_module("rnn").Model(model_config(ModelConfig("rnn")), {"tokens": Field("tokens", (32,), (500,))}, Head(500, "step"))
    with pytest.raises(ConfigError, match="--lora"):
        adapt.prepare(model, AdaptConfig(start="run", lora=True), [], Head(500, "step"))


def test_a_run_goes_on_with_low_rank_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: Any) -> None:
    monkeypatch.setattr(device, "cores", lambda: 1)  # one way of execution, so that two runs can be compared
    path = samples.write("reviews", tmp_path)
    table = path.read_text().splitlines()[:121]
    path.write_text("\n".join(table) + "\n")
    first = duomo.train(path, {**QUICK, "data": {"ignore": ["age", "department"]}}, target="label", out=tmp_path / "first")
    settings = {"adapt": {"start": str(first.path), "lora": True, "lora_rank": 2}, "data": {"ignore": ["age", "department"]},
                "train": {"steps": 6, "batch_size": 16, "exact": True, "checkpoint_steps": 1}}  # fmt: skip
    told = Silent()
    second = duomo.train(path, settings, target="label", out=tmp_path / "second", reporter=told)
    said = " ".join(told.said)
    assert "Weights taken from" in said and "rank 2" in said and "weights learn" in said
    facts = second.scorecard["facts"]
    assert 0 < facts["trained"] < 0.1 * facts["parameters"]
    tensors = second.folder.read_tensors("model.safetensors")
    assert tensors.keys() == first.folder.read_tensors("model.safetensors").keys()
    golden = json.loads((second.path / "golden.json").read_text())
    rows = [dict(zip(golden["inputs"], row, strict=True)) for row in zip(*golden["inputs"].values(), strict=True)]
    assert [answer["prediction"] for answer in duomo.load(second.path).predict(rows)] == golden["answers"]["prediction"]
    with stopped(3):
        duomo.train(path, settings, target="label", out=tmp_path / "third")
    shutil.rmtree(tmp_path / "third" / "checkpoints")  # without one, a resumed run starts from the given weights again
    again = duomo.resume(tmp_path / "third").folder.read_tensors("model.safetensors")
    assert all(torch.equal(value, again[key]) for key, value in tensors.items())


def test_weights_of_another_size_are_refused_with_the_remedy() -> None:
    given = Pretrained("mlp", {}, {"weight": torch.zeros(4, 3), "bias": torch.zeros(4)}, source="a run")
    with pytest.raises(ConfigError, match=r"weight is 4 × 3 there and 4 × 8 here.*leave --picture-size"):
        adapt.load(nn.Linear(8, 4), given)


def test_what_a_recipe_says_of_its_optimizer_is_for_learning_from_nothing() -> None:
    own = {"learning_rate": 1e-3, "weight_decay": 0.01, "epochs": 5.0}
    assert adapt.lessons(own, {"epochs": 9.0, "learning_rate": 2e-3}) == own | {"epochs": 9.0, "learning_rate": 2e-3}
    assert adapt.lessons(own, {"epochs": 9.0, "optimizer": "muon", "learning_rate": 6e-3, "weight_decay": 0.1}) == own | {"epochs": 9.0}
