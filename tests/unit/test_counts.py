"""Counts beside a language model: they say what Kneser–Ney says, add up to one, and answer alike however they are asked."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import duomo
from duomo import samples
from duomo.core.contract import Field, Head
from duomo.core.device import PRODUCTS, Execution
from duomo.core.kinds import text as text_kind
from duomo.core.recipe import EncodeConfig
from duomo.core.reporter import Silent
from duomo.core.run import RunFolder
from duomo.data.baselines.ngram import KneserNey
from duomo.decode.beam import Beam, search
from duomo.decode.engine import running
from duomo.decode.loop import Batcher, Language, Piece
from duomo.decode.quantize import quantize
from duomo.decode.sampling import Sampling
from duomo.exchange import convert
from duomo.models import gpt
from duomo.nn.counts import FEATURES, HIDDEN, ORDER, VOICES, Counts, before
from duomo.train import counts as beside

SIZE, LONGEST = 40, 160
CONFIG = gpt.Config(width=32, depth=2, heads=4, dropout=0.0)


def stream(length: int = 3000, seed: int = 0) -> np.ndarray:
    """Tokens of which each depends on the one before it and now and then on more."""
    rng, found = np.random.default_rng(seed), [1, 2]
    for chosen, other in zip(rng.random(length), rng.integers(0, SIZE - 2, length), strict=True):  # the last two are never met
        found.append(int((3 * found[-1] + found[-2]) % (SIZE - 2) if chosen < 0.6 else other))
    return np.array(found, np.int64)


def fit(counts: Counts, seed: int = 0) -> None:
    """Tables of the stream, and a gate of random numbers."""
    assert beside.count(counts, torch.from_numpy(stream()))
    torch.manual_seed(seed)
    level_2F = torch.stack([torch.rand(FEATURES), torch.rand(FEATURES) + 1])
    counts.gate.put(level_2F=level_2F, rise_HF=torch.randn(HIDDEN, FEATURES) / 4, rise_H=torch.randn(HIDDEN),
                    fall_WH=torch.randn(VOICES, HIDDEN) / 4, fall_W=torch.randn(VOICES))  # fmt: skip


def decoder(fitted: bool = True) -> gpt.Model:
    torch.manual_seed(1)
    model = gpt.Model(CONFIG, {"tokens": Field("tokens", (LONGEST,), (SIZE,))}, Head(SIZE, "step")).eval()
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=1.6 * weight.shape[1] ** -0.5)
    if fitted:
        assert model.counts is not None
        fit(model.counts)
    return model


def windows(rows: int, length: int) -> Tensor:
    return torch.from_numpy(stream(rows * length, 5)[: rows * length]).view(rows, length)


def test_tables_say_what_kneser_ney_says() -> None:
    counts, model, new = Counts(SIZE), KneserNey(ORDER, SIZE), stream(500, 7)
    fit(counts)
    model.fit(stream())
    context_NK = before(torch.from_numpy(new).unsqueeze(0))[0, :-1]
    found = counts.contexts(context_NK)
    said_N = (found.weight_NW[:, 1:].exp() * counts.at(found, torch.from_numpy(new[1:]))).sum(1)
    np.testing.assert_allclose(said_N.log(), model.log_probability(new)[1:], atol=1e-5)


@pytest.mark.parametrize("most", [10**6, 6000, 3000])
def test_a_mixture_of_all_adds_up_to_one_and_is_what_the_voices_say(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where grams that were met once are left out."""
    monkeypatch.setattr(beside, "GRAMS", most)
    counts = Counts(SIZE)
    fit(counts)
    assert sum(len(one.key_G) for one in counts.tables()) <= most
    context_NK, logits_NV = before(windows(4, 50)).flatten(0, 1), torch.randn(200, SIZE) * 3
    mixed_NV = counts(context_NK, logits_NV)
    torch.testing.assert_close(mixed_NV.exp().sum(1), torch.ones(200), atol=1e-5, rtol=0)
    found, network_NV = counts.contexts(context_NK), logits_NV.log_softmax(1)
    weight_NW = counts.weights(found, counts.features(found, network_NV))
    for token in (0, 3, SIZE - 1):
        token_N = torch.full((200,), token)
        said_NW = torch.cat([network_NV[:, token : token + 1].exp(), counts.at(found, token_N)], 1)
        torch.testing.assert_close((weight_NW * said_NW).sum(1).log(), mixed_NV[:, token], atol=1e-4, rtol=1e-4)


def test_of_grams_that_were_met_once_those_stay_that_say_most() -> None:
    """As many as there is room for, and the text that is left is foretold better than without any of them."""
    whole, some, none = (KneserNey(3, SIZE) for _ in range(3))
    for model in (whole, some, none):
        model.fit(stream(600))
    size = sum(len(order.keys) for order in whole.orders)
    once = int((whole.orders[2].counts == 1).sum())
    assert some.thin(size - once // 2) and none.thin(size - once)
    assert [sum(len(order.keys) for order in one.orders) for one in (some, none)] == [size - once // 2, size - once]
    new = stream(400, 7)
    said = [one.log_probability(new).mean() for one in (whole, some, none)]
    assert said[0] >= said[1] > said[2]
    sums = np.logaddexp.reduce([some.log_probability(np.append(new[:5], token))[-1] for token in range(SIZE)])
    assert sums == pytest.approx(0, abs=1e-5)


def test_too_many_grams_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "GRAMS", 100)
    assert not beside.count(Counts(SIZE), torch.from_numpy(stream()))


def test_a_row_gets_the_same_bits_in_every_company() -> None:
    counts = Counts(SIZE)
    fit(counts)
    context_NK, logits_NV = before(windows(3, 60)).flatten(0, 1), torch.randn(180, SIZE)
    whole_NV = counts(context_NK, logits_NV)
    for height in (1, 2, 3, 7, 64):
        parts = zip(context_NK.split(height), logits_NV.split(height), strict=True)
        assert torch.equal(torch.cat([counts(*part) for part in parts]), whole_NV)


def test_reading_on_from_a_cache_is_reading_the_whole() -> None:
    model, tokens_BT = decoder(), windows(3, 20)
    whole_BTV = model({"tokens": tokens_BT})
    with torch.inference_mode():
        assert not torch.allclose(whole_BTV, decoder(False)({"tokens": tokens_BT}).log_softmax(-1), atol=0.1)
        cache = model.start(3, 20)
        steps = [(0, 5), (5, 7), *((at, at + 1) for at in range(7, 20))]
        parts = [model.forward_cached(tokens_BT[:, start:end], cache) for start, end in steps]
        torch.testing.assert_close(torch.cat(parts, 1), whole_BTV, atol=1e-4, rtol=1e-4)
        cache.select(torch.tensor([2, 0, 0]))
        cache.used = 19
        last_BTV = model.forward_cached(tokens_BT[[2, 0, 0], 19:], cache)
    torch.testing.assert_close(last_BTV[:, 0], whole_BTV[[2, 0, 0], 19], atol=1e-4, rtol=1e-4)


def test_no_document_reads_another_and_only_what_is_wanted_is_told() -> None:
    model, tokens_BT = decoder(), windows(1, 12)
    document_BT = torch.tensor([[0] * 5 + [1] * 7])
    packed_BTV = model({"tokens": tokens_BT, "tokens.document": document_BT})
    torch.testing.assert_close(packed_BTV[:, 5:], model({"tokens": tokens_BT[:, 5:]}), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(packed_BTV[:, :5], model({"tokens": tokens_BT[:, :5]}), atol=1e-4, rtol=1e-4)
    wanted_BT = torch.arange(12).unsqueeze(0) % 3 == 1
    told_GV = model({"tokens": tokens_BT, "tokens.document": document_BT, "tokens.wanted": wanted_BT})
    torch.testing.assert_close(told_GV, packed_BTV[wanted_BT], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("products", ["highest", "medium"])
@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_alone_and_in_company_to_the_last_bit(precision: str, products: str) -> None:
    """Also where another kernel computes the products of attention of one row (with `medium`, of a head as narrow as this)."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"  # two tokens more are for what is not known, and for padding
    language = Language.of(text_kind.learn(pa.chunked_array([[letters]]), EncodeConfig(tokenizer="characters")))
    model = quantize(decoder(), precision)
    assert isinstance(model, gpt.Model) and model.counts is not None
    assert all(torch.equal(one.share_G, other.share_G)
               for one, other in zip(model.counts.tables(), decoder().counts.tables(), strict=True))  # fmt: skip
    prompts = [windows(1, length)[0].tolist() for length in (1, 2, 3, 70, 130, 9)]
    asked = [Sampling(temperature=0.9 * (n % 2), seed=n, new_tokens=9 + 2 * n, logprobs=-1) for n in range(6)]

    def run(numbers: list[int]) -> list[list[Piece]]:
        batch = Batcher(model, language, LONGEST, slots=4)
        parts: list[list[Piece]] = [[] for _ in numbers]
        for part, number in zip(parts, numbers, strict=True):
            batch.add(batch.request(prompts[number], asked[number], part.append))
        while batch.busy():
            batch.step()
        return parts

    with running(Execution()), PRODUCTS.at(products):
        assert run(list(range(6))) == [run([number])[0] for number in range(6)]


def test_beams_go_on_from_one_another() -> None:
    """A search finds what reading every text anew finds."""
    model, prompt = decoder(), windows(1, 6)[0].tolist()
    found = search(model, prompt, [0], Beam(beams=3, new_tokens=6, least=6), LONGEST, (0,))[0]
    tokens = [*prompt, *found.tokens]
    with torch.inference_mode():
        log_TV = model({"tokens": torch.tensor([tokens])})[0].log_softmax(-1)
    score = sum(float(log_TV[place - 1, tokens[place]]) for place in range(len(prompt), len(tokens)))
    assert len(found.tokens) == 6 and found.score == pytest.approx(score, abs=1e-3)


def test_what_is_not_fitted_is_in_no_file_and_what_is_comes_back() -> None:
    bare, full, tokens_BT = decoder(False), decoder(), windows(2, 9)
    assert not [name for name in bare.state_dict() if name.startswith("counts")]
    again = decoder(False)
    again.load_state_dict(full.state_dict())
    assert torch.equal(again({"tokens": tokens_BT}), full({"tokens": tokens_BT}))
    again = decoder(False)
    again.load_state_dict(bare.state_dict())
    assert torch.equal(again({"tokens": tokens_BT}), bare({"tokens": tokens_BT}))
    full.train()
    assert torch.equal(full({"tokens": tokens_BT}), bare.train()({"tokens": tokens_BT}))  # they learn nothing together
    none = gpt.Model(gpt.Config(width=32, depth=1, heads=4, advice=False), {"tokens": Field("tokens", (9,), (SIZE,))}, Head(SIZE, "step"))
    assert none.counts is None


QUICK = {
    "data": {"task": "generate"}, "model": {"options": {"width": 32, "depth": 1, "heads": 2}}, "train": {"steps": 6},
    "encode": {"longest_text": 64, "vocabulary": 300},
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run that hardly learned, on a text from which counts learn much; and what was said."""
    folder, reporter = tmp_path_factory.mktemp("counts"), Silent()
    text = Path(samples.write("novel", folder)).read_text(encoding="utf-8")[:40_000]
    (folder / "text.txt").write_text(text, encoding="utf-8")
    duomo.train(str(folder / "text.txt"), QUICK, out=folder / "run", reporter=reporter)
    return folder, reporter.said


def test_a_run_keeps_its_counts_and_answers_with_them(told: tuple[Path, list[str]]) -> None:
    folder, said = told
    run = duomo.load(folder / "run")
    assert [sentence for sentence in said if "Counts of what followed what" in sentence]
    facts = run.scorecard["facts"]["voices"]
    assert set(facts) == {"network", "counts"} and sum(facts.values()) == pytest.approx(1, abs=1e-3)
    figures = {result["name"]: result["metrics"]["bits_per_byte"]["value"] for result in run.scorecard["results"]}
    assert next(iter(figures.values())) < figures["token frequency"]
    table, answers = run.golden()
    assert run.answers(table) == answers
    assert run.model.counts.fitted


def test_a_run_from_before_there_were_counts_opens(told: tuple[Path, list[str]], tmp_path: Path) -> None:
    shutil.copytree(told[0] / "run", tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    tensors = folder.read_tensors("model.safetensors")
    folder.write_tensors("model.safetensors", {name: value for name, value in tensors.items() if not name.startswith("counts.")})
    folder.seal()
    run = duomo.load(tmp_path / "run")
    assert not run.model.counts.fitted and run.predict_one("The ")["prediction"]


def test_others_get_the_network_alone(told: tuple[Path, list[str]]) -> None:
    folder, reporter = told[0], Silent()
    convert.convert(folder / "run", "hf", folder / "hf", reporter=reporter)
    assert [sentence for sentence in reporter.said if "the network alone" in sentence]
    assert not [name for name in load_file(folder / "hf" / "model.safetensors") if "counts" in name]


def test_going_on_from_a_run_counts_anew(told: tuple[Path, list[str]]) -> None:
    folder, reporter = told[0], Silent()
    (folder / "other.txt").write_text((folder / "novel.txt").read_text(encoding="utf-8")[60_000:90_000], encoding="utf-8")
    settings = {"data": {"task": "generate"}, "train": {"steps": 2}, "adapt": {"start": str(folder / "run"), "lora": True}}
    run = duomo.train(str(folder / "other.txt"), settings, out=folder / "on", reporter=reporter)
    assert [sentence for sentence in reporter.said if "stay behind" in sentence]
    assert run.model.counts.fitted and duomo.load(folder / "on").model.counts.fitted
