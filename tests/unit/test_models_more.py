"""linear, mlp, tabular, resnet, conformer and fusion: shapes, determinism, padding, counts, and that they learn real data."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head, Steps
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.nn.audio import LogMel, mel_filters, spec_augment
from duomo.nn.numeric import Categories, FourierFeatures, Piecewise

NAMES = ("linear", "mlp", "tabular", "resnet", "conformer", "fusion")
FIELDS = {
    "numbers": Field("numbers", (3,), facts={"bins": [[-1.0, 0.0, 1.0], [-2.0, 2.0], [0.0]]}),
    "categories": Field("categories", (2,), (4, 7)),
    "tokens": Field("tokens", (40,), (50,)),
    "pixels": Field("pixels", (3, 28, 28)),
    "waveform": Field("waveform", (4000,), facts={"rate": 8000}),
    "frames": Field("frames", (30, 4)),
}


def module(name: str) -> Any:
    return importlib.import_module(f"duomo.models.{name}")


def ragged(name: str, values: Tensor, lengths: list[int]) -> Batch:
    length = torch.tensor(lengths)
    inside = torch.arange(values.shape[1]) < length.unsqueeze(1)
    values = values * inside.view(*inside.shape, *[1] * (values.dim() - 2)).to(values.dtype)
    return {name: values, f"{name}.length": length}


def rows(lengths: list[float], seed: int = 0) -> Batch:
    """A batch of one row per length; a length is the part of the longest."""
    chosen, count = torch.Generator().manual_seed(seed), len(lengths)
    longest = max(*lengths, 0.0)
    span = {"tokens": 40, "waveform": 4000, "frames": 30}
    size = {name: max(1, int(top * longest)) for name, top in span.items()}
    each = {name: [int(top * part) for part in lengths] for name, top in span.items()}
    batch: Batch = {
        "numbers": torch.randn(count, 3, generator=chosen),
        "categories": torch.stack([torch.randint(0, 4, (count,), generator=chosen), torch.randint(0, 7, (count,), generator=chosen)], 1),
        "pixels": torch.randn(count, 3, 28, 28, generator=chosen),
    }
    batch |= ragged("tokens", torch.randint(1, 50, (count, size["tokens"]), generator=chosen), each["tokens"])
    batch |= ragged("waveform", torch.rand(count, size["waveform"], generator=chosen) * 2 - 1, each["waveform"])
    return batch | ragged("frames", torch.randn(count, size["frames"], 4, generator=chosen), each["frames"])


def inputs_of(name: str) -> dict[str, Field]:
    forms = module(name).FORMS
    return {key: field for key, field in FIELDS.items() if field.form in forms}


def build(name: str, size: str = "small", head: Head | None = None, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    found = module(name)
    return found.Model(found.SIZES[size], inputs_of(name), head or Head(5, parts=(3, 2)))


def shaken(model: nn.Module) -> nn.Module:
    """Weights that start at zero hide mistakes: move them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_sizes_build_and_are_deterministic(name: str) -> None:
    assert {"small", "base", "large"} <= set(module(name).SIZES)
    one, two = build(name), build(name)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    batch = rows([1.0, 0.5])
    torch.manual_seed(1)
    first = one.train()(batch)
    torch.manual_seed(1)
    assert torch.equal(first, two.train()(batch))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lengths", [[1.0, 0.4, 0.7], [1.0], [0.0], [0.0, 1.0], [1e-9, 1e-9]])
def test_rows_do_not_depend_on_their_batch_mates(name: str, lengths: list[float]) -> None:
    model = shaken(build(name))
    batch = rows(lengths)
    with torch.no_grad():
        together = model(batch)
    assert together.shape == (len(lengths), 5)
    assert together.isfinite().all()
    for i in range(len(lengths)):
        alone = {key: value[i : i + 1] for key, value in batch.items()}
        for key in ("tokens", "waveform", "frames"):
            alone[key] = alone[key][:, : max(1, int(alone[f"{key}.length"]))]
        with torch.no_grad():
            torch.testing.assert_close(model(alone)[0], together[i], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gets_a_gradient(name: str) -> None:
    model = build(name).train()
    for module_ in model.modules():
        if isinstance(module_, nn.BatchNorm2d):
            nn.init.ones_(module_.weight)
    output = model(rows([1.0, 0.5, 0.8, 0.0]))
    output.square().mean().add(output.mean()).backward()
    still = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()]
    assert not still


@pytest.mark.parametrize("name", NAMES)
def test_wrong_inputs_are_refused(name: str) -> None:
    found = module(name)
    with pytest.raises(ConfigError):
        found.Model(found.Config(), {}, Head(2))
    if name != "conformer":
        with pytest.raises(ConfigError):
            found.Model(found.Config(), inputs_of(name), Head(2, per="step"))


@pytest.mark.parametrize(
    ("size", "count"), [("base", 11_689_512), ("34", 21_797_672), ("large", 25_557_032), ("101", 44_549_160), ("152", 60_192_808)]
)
def test_resnet_has_the_papers_parameters(size: str, count: int) -> None:
    found = module("resnet")
    with torch.device("meta"):
        model = found.Model(found.SIZES[size], {"picture": Field("pixels", (3, 224, 224))}, Head(1000))
    assert sum(weight.numel() for weight in model.parameters()) == count
    names = dict(model.named_parameters())
    assert {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight", "fc.bias"} <= set(names)


def test_resnet_trains_on_one_tiny_picture() -> None:
    found = module("resnet")
    model = found.Model(found.SIZES["base"], {"picture": Field("pixels", (1, 8, 8))}, Head(2)).train()
    assert model({"picture": torch.randn(1, 1, 8, 8)}).isfinite().all()


def test_tabular_trains_members_apart_and_answers_with_their_mean() -> None:
    found = module("tabular")
    model = found.Model(found.Config(members=8, dropout=0.0), inputs_of("tabular"), Head(3))
    batch = rows([1.0] * 4)
    members = model.train()(batch)
    assert members.shape == (4, 8, 3)
    assert members.std(1).min() > 0
    torch.testing.assert_close(members.mean(1), model.eval()(batch))


def test_piecewise_pieces() -> None:
    pieces = Piecewise([[-1.0, 0.0, 2.0], [0.0, 1.0], [5.0]], 4).pieces(torch.tensor([[1.0, 3.0, 2.0], [-2.0, -1.0, 9.0]]))
    expected = torch.tensor([[[1.0, 0.5], [1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(pieces, expected)


def test_a_vector_of_piecewise_acts_at_its_edge_alone() -> None:
    embed = Piecewise([[0.0, 1.0, 2.0, 3.0]], 2, pace=4.0)
    x = torch.tensor([[0.0], [1.0], [1.5], [2.0], [3.0]])
    before = embed(x)
    with torch.no_grad():
        embed.edge_NPD[0, 0] = 1.0
    torch.testing.assert_close((embed(x) - before)[:, 0, 0], torch.tensor([0.0, 4.0, 2.0, 0.0, 0.0]))


def test_pair_waves_start_with_two_columns_each() -> None:
    waves = FourierFeatures(4, 40, 0.5)
    assert ((waves.direction_FN != 0).sum(1) == 2).all()
    x = torch.randn(3, 4)
    angle = 2 * torch.pi * x @ waves.direction_FN.T
    torch.testing.assert_close(waves(x)[:, ::2], angle.cos())
    torch.testing.assert_close(waves(x)[:, 1::2], angle.sin())


def test_categories_out_of_the_vocabulary_count_as_unseen() -> None:
    embed = Categories((3, 5), 4)
    torch.testing.assert_close(embed(torch.tensor([[9, -1]])), torch.zeros(1, 2, 4))
    assert embed(torch.tensor([[2, 4]])).abs().sum() > 0


def test_loud_and_quiet_sounds_are_heard_alike():
    """Where the floor follows the sound; rows do not depend on one another."""
    wave = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0)).cumsum(1) / 200
    length = torch.tensor([8000, 4000])
    wave[1, 4000:] = 0
    mel = LogMel(8000, 40, faint=1e-2).eval()
    loud, quiet = mel(wave, length)[0], mel(wave * torch.tensor([[0.01], [1.0]]), length)[0]
    assert torch.allclose(loud, quiet, atol=1e-3) and not mel(torch.zeros(1, 800), torch.tensor([800]))[0].any()
    assert not torch.allclose(LogMel(8000, 40).eval()(wave * 0.01, length)[0], LogMel(8000, 40).eval()(wave, length)[0], atol=0.5)


def test_mel_filters_cover_and_find_a_tone() -> None:
    for rate in (8000, 16000, 44100):
        assert (mel_filters(rate, 2048 if rate > 20480 else 512, 80).sum(0) > 0.99).all()
    time = torch.arange(8000) / 8000
    wave = torch.stack([torch.sin(2 * torch.pi * 300 * time), torch.sin(2 * torch.pi * 2000 * time)])
    features, frames = LogMel(8000, 40, "level").eval()(wave, torch.tensor([8000, 4000]))
    assert frames.tolist() == [101, 51]
    loudest = features[:, 20].argmax(1)
    assert loudest[0] < loudest[1]
    assert features[1, 51:].abs().sum() == 0


def test_spec_augment_hides_parts_only() -> None:
    torch.manual_seed(0)
    x = torch.ones(8, 100, 40)
    hidden = 1 - spec_augment(x, torch.full((8,), 100))
    assert 0.02 < hidden.mean() < 0.6
    assert set(hidden.unique().tolist()) <= {0.0, 1.0}


def test_conformer_steps_and_ctc() -> None:
    """Sixteen tone sequences are written down exactly: the shape contract, the lengths and the learning together."""
    found = module("conformer")
    torch.manual_seed(0)
    tones = [torch.randint(1, 4, (int(n),)) for n in torch.randint(2, 5, (16,))]
    time = torch.arange(1600) / 8000
    waves = [torch.cat([torch.sin(2 * torch.pi * 400 * 2 ** int(tone) * time) for tone in row]) for row in tones]
    length = torch.tensor([len(wave) for wave in waves])
    batch = {"sound": nn.utils.rnn.pad_sequence(waves, batch_first=True), "sound.length": length}
    field = {"sound": Field("waveform", (8000,), facts={"rate": 8000})}
    model = found.Model(found.Config(width=32, depth=1, heads=2, channels=8, bands=40, dropout=0.0), field, Head(4, per="step"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    sizes = torch.tensor([len(row) for row in tones])
    for _ in range(80):
        logits, steps = model(batch)
        loss = F.ctc_loss(logits.log_softmax(2).transpose(0, 1), torch.cat(tones), steps, sizes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    output = model.eval()(batch)
    assert isinstance(output, Steps)
    assert output.lengths.max() == output.logits.shape[1]
    written = [torch.unique_consecutive(row[:n]) for row, n in zip(output.logits.argmax(2), output.lengths, strict=True)]
    wanted = [row.tolist() for row in tones]
    assert sum([tone for tone in row.tolist() if tone] == want for row, want in zip(written, wanted, strict=True)) >= 13


def test_conformer_steps_do_not_depend_on_padding() -> None:
    model = shaken(build("conformer", head=Head(7, per="step")))
    batch = rows([1.0, 0.3])
    n = int(batch["waveform.length"][1])
    with torch.no_grad():
        logits, lengths = model(batch)
        alone, steps = model({"waveform": batch["waveform"][1:, :n], "waveform.length": batch["waveform.length"][1:]})
    assert int(steps[0]) == int(lengths[1])
    torch.testing.assert_close(alone[0, : steps[0]], logits[1, : steps[0]], rtol=1e-4, atol=2e-5)


def fitted(model: nn.Module, batch: Batch, target: Tensor, steps: int, lr: float) -> nn.Module:
    """AdamW with a linear decay on random batches of 64; members' losses are averaged."""
    chosen = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        index = torch.randint(0, len(target), (64,), generator=chosen)
        output = model({name: values[index] for name, values in batch.items()})
        wanted = target[index] if output.dim() == 2 else target[index].repeat_interleave(output.shape[1])
        loss = F.cross_entropy(output.flatten(0, -2), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@pytest.mark.parametrize(
    ("name", "steps", "lr"), [("linear", 150, 0.02), ("mlp", 120, 3e-3), ("tabular", 100, 3e-3), ("fusion", 100, 2e-3)]
)
def test_tables_are_learnt(name: str, steps: int, lr: float) -> None:
    data, target = load_breast_cancer(return_X_y=True)
    train = np.random.default_rng(0).permutation(len(target)) < 400
    data = (data - data[train].mean(0)) / data[train].std(0)
    bins = [np.unique(np.quantile(column, np.linspace(0, 1, 17))).tolist() for column in data[train].T]
    torch.manual_seed(0)
    found = module(name)
    model = found.Model(found.SIZES["small"], {"cells": Field("numbers", (30,), facts={"bins": bins})}, Head(2))
    fitted(model, {"cells": torch.from_numpy(data[train]).float()}, torch.from_numpy(target[train]), steps, lr)
    with torch.no_grad():
        logits = model({"cells": torch.from_numpy(data[~train]).float()})
    assert roc_auc_score(target[~train], logits[:, 1] - logits[:, 0]) >= 0.985


@pytest.mark.parametrize(("name", "floor"), [("linear", 0.85), ("mlp", 0.93), ("resnet", 0.94)])
def test_pictures_are_learnt(name: str, floor: float) -> None:
    pictures, target = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(target))
    x = torch.from_numpy(pictures[order]).float().view(-1, 1, 8, 8) / 8 - 1
    y = torch.from_numpy(target[order])
    torch.manual_seed(0)
    found = module(name)
    config = found.Config(blocks=(1, 1), width=16) if name == "resnet" else found.SIZES["small"]
    model = found.Model(config, {"picture": Field("pixels", (1, 8, 8))}, Head(10))
    fitted(model, {"picture": x[:1400]}, y[:1400], 150, {"linear": 0.1, "mlp": 3e-3, "resnet": 1e-2}[name])
    with torch.no_grad():
        assert (model({"picture": x[1400:]}).argmax(1) == y[1400:]).float().mean() >= floor
