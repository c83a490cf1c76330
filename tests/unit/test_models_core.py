"""cnn, rnn, transformer and gpt, and the layers and executions that they stand on."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from duomo.core.contract import Field, Head
from duomo.core.device import Execution, candidates, machine_facts
from duomo.core.errors import ConfigError, ResourceError
from duomo.core.kernels import set_attention_kernel
from duomo.models import cnn, gpt, rnn, transformer
from duomo.nn.attention import ScaledDotProduct
from duomo.nn.dropout import Dropout
from duomo.nn.init import SCHEMES, initialise
from duomo.nn.norm import RMSNorm
from duomo.nn.pooled import convolve_and_pool, pool_and_relu
from duomo.nn.recurrent import layer, reverse

PICTURE = {"image": Field("pixels", (1, 28, 28))}
TEXT = {"text": Field("tokens", (40,), (50,))}
SERIES = {"series": Field("frames", (40, 5))}
CELLS = {"age": Field("numbers", (3,)), "place": Field("categories", (2,), (4, 6))}


def trainable(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters() if value.requires_grad)


def ragged(lengths: list[int], longest: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    length = torch.tensor(lengths)
    text, series = torch.randint(1, 50, (len(lengths), longest)), torch.randn(len(lengths), longest, 5)
    outside = torch.arange(longest) >= length.unsqueeze(1)
    text[outside], series[outside] = 0, 0
    return {"text": text, "text.length": length, "series": series, "series.length": length}


def test_published_sizes() -> None:
    assert trainable(cnn.Model(cnn.SIZES["base"], PICTURE, Head(10))) == 225_034
    assert trainable(rnn.Model(rnn.SIZES["base"], {"x": Field("frames", (100, 32))}, Head(10))) == 346_890
    assert trainable(rnn.Model(rnn.SIZES["base"], {"x": Field("tokens", (100,), (1000,))}, Head(2))) == 97_154
    published = transformer.Config(norm="after", activation="relu")
    assert trainable(transformer.Model(published, {"x": Field("tokens", (100,), (1000,))}, Head(2))) == 1_861_634


def test_cnn_agrees_with_relu_before_pooling() -> None:
    model = cnn.Model(cnn.Config(), PICTURE, Head(10)).eval()
    x = torch.randn(4, 1, 28, 28)
    first, second = (block.convolution for block in model.blocks)
    y = F.max_pool2d(F.relu(second(F.max_pool2d(F.relu(first(x)), 2))), 2).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(model({"image": x}), model.head(F.relu(model.dense(y))))
    torch.testing.assert_close(model.train()({"image": x}), model.eval()({"image": x}))


@pytest.mark.parametrize(("shape", "side"), [((1, 28, 28), 3), ((3, 17, 20), 3), ((2, 9, 9), 5)])
def test_the_matrix_form_of_the_first_layer(shape: tuple[int, ...], side: int) -> None:
    """Output and gradients of torch's own convolution and pooling, flat regions (ties) included."""
    x = torch.randn(4, *shape).contiguous(memory_format=torch.channels_last)
    x[0] = 0
    weight, bias = torch.randn(8, shape[0], side, side, requires_grad=True), torch.randn(8, requires_grad=True)
    expected = F.relu(F.max_pool2d(F.conv2d(x, weight, bias), 2))
    found = convolve_and_pool(x, weight, bias)
    torch.testing.assert_close(found, expected)
    passed = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, (weight, bias), passed), torch.autograd.grad(expected, (weight, bias), passed), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(8, 32, 48, 64), (16, 8, 65, 67)])
def test_pooling_by_bits(shape: tuple[int, ...], kind: torch.dtype) -> None:
    """Output and gradient of torch's own pooling to the last bit; of equal ones the first, and an odd row or column is in no window."""
    x = torch.randn(shape).to(kind).contiguous(memory_format=torch.channels_last)
    x[0, :, :4] = 1
    x.requires_grad_()
    expected, found = F.relu(F.max_pool2d(x, 2)), pool_and_relu(x)
    assert "_Pool" in str(found.grad_fn)
    assert torch.equal(found, expected)
    passed = torch.randn_like(expected)
    assert torch.equal(torch.autograd.grad(found, x, passed)[0], torch.autograd.grad(expected, x, passed)[0])


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 5), (3, 32, 32), (3, 64, 48), (2, 96, 130)])
@pytest.mark.parametrize("size", sorted(cnn.SIZES))
def test_cnn_takes_any_picture(shape: tuple[int, ...], size: str) -> None:
    model = cnn.Model(cnn.SIZES[size], {"image": Field("pixels", shape)}, Head(3))
    assert model({"image": torch.randn(2, *shape)}).shape == (2, 3)


@pytest.mark.parametrize(("cell", "both", "pool"), itertools.product(["rnn", "lstm", "gru"], [False, True], ["last", "mean", "max"]))
def test_rnn_never_reads_padding(cell: str, both: bool, pool: str) -> None:
    torch.manual_seed(0)
    model = rnn.Model(rnn.Config(cell=cell, both=both, pool=pool, hidden=(8, 6)), TEXT, Head(2)).eval()
    short, padded = ragged([5, 9, 3], 9), ragged([5, 9, 3], 9)
    padded["text"] = F.pad(padded["text"], (0, 11), value=4)
    torch.testing.assert_close(model(short), model(padded))
    alone = {"text": short["text"][:1, :5], "text.length": short["text.length"][:1]}
    torch.testing.assert_close(model(short)[:1], model(alone))


def test_rnn_agrees_with_packed_lstm() -> None:
    torch.manual_seed(0)
    model = rnn.Model(rnn.Config(hidden=(8,), both=True), SERIES, Head(2)).eval()
    whole = nn.LSTM(5, 8, batch_first=True, bidirectional=True)
    ahead, back = model.recurrent.onward[0], model.recurrent.backward_[0]
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(whole, name).copy_(getattr(ahead, name))
            getattr(whole, name + "_reverse").copy_(getattr(back, name))
    batch = ragged([5, 9, 3], 9)
    packed = nn.utils.rnn.pack_padded_sequence(batch["series"], batch["series.length"], batch_first=True, enforce_sorted=False)
    _, (state, _) = whole(packed)
    torch.testing.assert_close(model(batch), model.head(torch.cat([state[0], state[1]], 1)))


def test_rnn_second_bias_is_not_learned() -> None:
    model = layer("lstm", 3, 4)
    model(torch.randn(2, 5, 3))[0].sum().backward()
    assert model.bias_hh_l0.grad is None and model.bias_ih_l0.grad is not None
    x = torch.randn(2, 4, 3)
    assert torch.equal(reverse(reverse(x, torch.tensor([2, 4])), torch.tensor([2, 4])), x)


@pytest.mark.parametrize("pool", ["mean", "first"])
@pytest.mark.parametrize("norm", ["before", "after"])
def test_transformer_never_reads_padding(pool: str, norm: str) -> None:
    torch.manual_seed(0)
    config = transformer.Config(width=16, heads=2, pool=pool, norm=norm)
    for inputs in (TEXT, SERIES):
        name = next(iter(inputs))
        model = transformer.Model(config, inputs, Head(2)).eval()
        batch = ragged([5, 9, 3, 0], 9)
        padded = dict(batch)
        padded[name] = torch.cat([batch[name], torch.ones_like(batch[name])], 1)
        torch.testing.assert_close(model(batch), model(padded))
        assert model(batch).isfinite().all()
        steps = transformer.Model(config, inputs, Head(4, "step"))
        assert steps(batch).shape == (4, 9, 4)


def test_transformer_reads_cells() -> None:
    model = transformer.Model(transformer.SIZES["small"], CELLS, Head(2))
    assert model({"age": torch.randn(3, 3), "place": torch.randint(0, 4, (3, 2))}).shape == (3, 2)


@pytest.mark.parametrize("config", [gpt.Config(32, 2, 4), gpt.Config(32, 2, 4, key_heads=2, norm_keys=True, activation="gelu", tied=False)])
def test_gpt_token_by_token_equals_the_whole(config: gpt.Config) -> None:
    torch.manual_seed(0)
    model = gpt.Model(config, TEXT, Head(50, "step")).eval()
    tokens = torch.randint(0, 50, (3, 12))
    whole = model({"text": tokens})
    cache = model.start(3, 12)
    parts = [model.forward_cached(tokens[:, :5], cache), model.forward_cached(tokens[:, 5:8], cache)]
    parts += [model.forward_cached(tokens[:, place : place + 1], cache) for place in range(8, 12)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
    with pytest.raises(ResourceError, match="received 13"):
        model.forward_cached(tokens[:, :1], cache)
    changed = tokens.clone()
    changed[:, 7:] = 0
    torch.testing.assert_close(model({"text": changed})[:, :7], whole[:, :7])


@pytest.mark.parametrize("causal", [False, True])
def test_kernels_agree(causal: bool) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 6, 8), torch.randn(2, 2, 6, 8)
    both = [ScaledDotProduct(kernel=kernel)(q, k, v, causal=causal) for kernel in ("bmm", "sdpa")]
    torch.testing.assert_close(*both)
    model = gpt.Model(gpt.Config(32, 2, 4), TEXT, Head(50, "step"))
    set_attention_kernel(model, "sdpa")
    assert {module.kernel for module in model.modules() if isinstance(module, ScaledDotProduct)} == {"sdpa"}
    with pytest.raises(ConfigError, match="received 'flash'"):
        set_attention_kernel(model, "flash")


@pytest.mark.parametrize(("steps", "documents"), [(1, False), (7, True), (128, False), (129, True), (300, True)])
def test_causal_attention_by_blocks_has_the_fused_kernels_gradients(steps: int, documents: bool) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, heads, steps, 8, requires_grad=True) for heads in (4, 2, 2)]
    document = torch.randint(0, 3, (2, steps)).cumsum(1)
    allowed = (document.unsqueeze(2) == document.unsqueeze(1)).unsqueeze(1) if documents else None
    answers = [ScaledDotProduct(kernel=kernel)(*inputs, allowed, causal=True) for kernel in ("bmm", "sdpa")]
    gradients = [torch.autograd.grad(answer.square().sum(), inputs) for answer in answers]
    torch.testing.assert_close(answers[0], answers[1])
    torch.testing.assert_close(*gradients, atol=2e-5, rtol=1e-4)


def test_causal_attention_drops_shares_alike_forward_and_backward() -> None:
    """With dropout the answer is linear in the values: its gradient gives the answer back."""
    q, k, v = (torch.randn(2, 3, 200, 8, requires_grad=True) for _ in range(3))
    attend = ScaledDotProduct(0.5)
    torch.manual_seed(1)
    answer = attend(q, k, v, causal=True)
    weight = torch.randn_like(answer)
    (of_v,) = torch.autograd.grad((answer * weight).sum(), v, retain_graph=True)
    torch.testing.assert_close((of_v * v).sum(), (answer * weight).sum(), atol=1e-3, rtol=1e-4)
    with torch.no_grad():
        assert not torch.equal(answer, attend.eval()(q, k, v, causal=True))
    # and in q: a small step changes the answer as the gradient says, the same shares being dropped
    (of_q,) = torch.autograd.grad((answer * weight).sum(), q)
    step = 1e-2 * of_q / of_q.norm()
    torch.manual_seed(1)
    moved = attend.train()(q + step, k, v, causal=True)
    assert float(((moved - answer) * weight).detach().sum()) == pytest.approx(float((of_q * step).sum()), rel=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_dropout(rate: float, kind: torch.dtype) -> None:
    module, x = Dropout(rate), torch.ones(1_000_003, dtype=kind)
    torch.manual_seed(3)
    first = module(x)
    torch.manual_seed(3)
    assert torch.equal(first, module(x)) and not torch.equal(first, module(x))
    kept = (first != 0).double().mean().item()
    assert abs(kept - (1 - rate)) < 4 * (rate * (1 - rate) / 1e6) ** 0.5
    scale = 65_536 / (65_536 - module.dropped)
    assert set(first.unique().tolist()) == {0.0, torch.tensor(scale).to(kind).item()}
    assert module.eval()(x) is x
    y = torch.randn(500, requires_grad=True)
    z = module.train()(y)
    z.sum().backward()
    torch.testing.assert_close(y.grad, torch.where(z == 0, 0.0, scale))


def test_rms_norm() -> None:
    x = torch.randn(3, 8)
    torch.testing.assert_close(RMSNorm(8)(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())
    assert RMSNorm(8)(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_initialise(scheme: str) -> None:
    model = rnn.Model(rnn.Config(hidden=(8,)), SERIES, Head(3))
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    initialise(model, scheme)
    changed = not torch.equal(before["head.weight"], model.head.weight)
    assert changed == (scheme != "published")
    if scheme == "orthogonal":
        gate = model.recurrent.onward[0].weight_hh_l0[:8]
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="received 'xavir'"):
        initialise(model, "xavir")


def test_executions_keep_the_mathematics() -> None:
    before = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    torch.manual_seed(0)
    cases = [(cnn.Model(cnn.Config(), PICTURE, Head(10)), {"image": torch.randn(4, 1, 28, 28)})]
    cases += [(transformer.Model(transformer.Config(width=32), TEXT, Head(2)), ragged([5, 9, 3], 9))]
    cases += [(rnn.Model(rnn.Config(), SERIES, Head(2)), ragged([5, 9, 3], 9))]
    for model, batch in cases:
        model.eval()
        torch.set_float32_matmul_precision("highest")
        whole = model(batch).detach()
        found = candidates(model, exact=False, long_run=False)
        assert found[0].precision == "float32" and found[0].matmul == "highest" and len(found) <= 6
        for execution in found:
            assert Execution.from_dict(execution.to_dict()) == execution and str(execution)
            runner = execution.apply(copy.deepcopy(model))
            with execution.autocast():
                tolerance = 0.06 if execution.precision == "bf16" else 1e-4
                torch.testing.assert_close(runner(batch).float(), whole, atol=tolerance, rtol=tolerance)
        assert all(one.precision == "float32" and not one.compile for one in candidates(model, exact=True, long_run=True))
    torch.set_num_threads(before[0])
    torch.set_float32_matmul_precision(before[1])
    with pytest.raises(ConfigError, match="speed"):
        Execution.from_dict({"speed": 1})
    assert machine_facts()["cores"] >= 1
