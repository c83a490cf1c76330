"""Counts on both sides of a gap: they say what Kneser–Ney says in either direction, add up to one, and answer alike in any company."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

import duomo
from duomo import samples
from duomo.core.contract import Field, Head
from duomo.core.reporter import Silent
from duomo.core.run import RunFolder
from duomo.data.baselines.ngram import KneserNey
from duomo.exchange import convert
from duomo.models import bert
from duomo.nn.sides import FEATURES, ORDER, VOICES, Sides, around
from duomo.train import counts
from duomo.train import sides as beside

SIZE, MASK, LONGEST = 40, 39, 32
CONFIG = bert.Config(width=32, depth=1, heads=4, dropout=0.0, near=1)


def stream(length: int = 3000, seed: int = 0) -> np.ndarray:
    """Tokens of which each depends on the one before it, now and then on nothing; never the mask."""
    rng, found = np.random.default_rng(seed), [1]
    for chosen, other in zip(rng.random(length), rng.integers(0, SIZE - 2, length), strict=True):
        found.append(int((3 * found[-1] + 1) % (SIZE - 2) if chosen < 0.7 else other))
    return np.array(found, np.int64)


def fit(sides: Sides) -> None:
    """Tables of the stream, and powers of random numbers."""
    tokens = torch.from_numpy(stream())
    assert counts.count(sides.left, tokens) and counts.count(sides.right, tokens.flip(0))
    torch.manual_seed(0)
    level_2F = torch.stack([torch.rand(FEATURES), torch.rand(FEATURES) + 1])
    line_4F, base_4 = torch.randn(VOICES, FEATURES) / 9, torch.tensor([0.5, 0.6, 0.7, -0.4])
    sides.powers.put(level_2F=level_2F, line_4F=line_4F, base_4=base_4, mask=torch.tensor([MASK]))


def encoder(fitted: bool = True) -> bert.Model:
    torch.manual_seed(1)
    model = bert.Model(CONFIG, {"tokens": Field("tokens", (LONGEST,), (SIZE,))}, Head(SIZE, "step")).eval()
    if fitted:
        assert model.sides is not None
        fit(model.sides)
    return model


def texts(rows: int = 3, length: int = 20) -> tuple[Tensor, Tensor]:
    """Rows with gaps, and where these are."""
    tokens_BT = torch.from_numpy(stream(rows * length, 5)[: rows * length]).view(rows, length).clone()
    gap_BT = torch.rand(rows, length, generator=torch.Generator().manual_seed(3)) < 0.3
    gap_BT[:, 0] = gap_BT[:, -1] = True
    return tokens_BT.masked_fill(gap_BT, MASK), gap_BT


def test_either_side_says_what_kneser_ney_says() -> None:
    sides, new = Sides(SIZE), stream(300, 7)
    fit(sides)
    said_4NV, _ = sides.said(around(torch.from_numpy(new).unsqueeze(0))[:, 0], torch.zeros(len(new), SIZE))
    at = torch.from_numpy(new).unsqueeze(1)
    for tables, tokens, learned in ((said_4NV[1], new, stream()), (said_4NV[2].flip(0), new[::-1], stream()[::-1])):
        model = KneserNey(ORDER, SIZE)
        model.fit(learned.copy())
        expected = model.log_probability(tokens.copy())
        found = tables.gather(1, at if tokens is new else at.flip(0)).squeeze(1)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    torch.testing.assert_close(said_4NV[1:].exp().sum(2), torch.ones(VOICES - 1, len(new)), atol=1e-5, rtol=0)


def test_a_hidden_neighbour_and_the_end_of_a_row_say_nothing() -> None:
    left_TK, right_TK = around(torch.tensor([[7, -1, 8]]))[:, 0].tolist()
    assert left_TK == [[-1, -1], [-1, 7], [7, -1]]
    assert right_TK == [[8, -1], [-1, 8], [-1, -1]]


def test_gaps_get_log_probabilities_and_the_rest_stays() -> None:
    tokens_BT, gap_BT = texts()
    network_BTV, told_BTV = encoder(False)({"tokens": tokens_BT}), encoder()({"tokens": tokens_BT})
    assert torch.equal(told_BTV[~gap_BT], network_BTV[~gap_BT])
    torch.testing.assert_close(told_BTV[gap_BT].exp().sum(1), torch.ones(int(gap_BT.sum())), atol=1e-5, rtol=0)
    assert not torch.allclose(told_BTV[gap_BT], network_BTV[gap_BT].log_softmax(1), atol=0.1)
    wanted_BT = gap_BT | (torch.arange(20) % 7 == 1)
    told_GV = encoder()({"tokens": tokens_BT, "tokens.wanted": wanted_BT})
    torch.testing.assert_close(told_GV, told_BTV[wanted_BT], atol=1e-5, rtol=1e-5)


def test_what_pads_a_row_is_no_neighbour() -> None:
    tokens_BT, _ = texts(1, 12)
    padded_BT, length_B = functional.pad(tokens_BT, (0, 6)), torch.tensor([12])
    padded_BTV = encoder()({"tokens": padded_BT, "tokens.length": length_B})
    alone_BTV = encoder()({"tokens": tokens_BT, "tokens.length": length_B})
    torch.testing.assert_close(padded_BTV[:, :12], alone_BTV, atol=1e-5, rtol=1e-5)


def test_a_gap_gets_the_same_bits_in_every_company(monkeypatch: pytest.MonkeyPatch) -> None:
    sides, (tokens_BT, _) = Sides(SIZE), texts(8)
    fit(sides)
    logits_BTV = torch.randn(8, 20, SIZE)
    whole_BTV = sides(tokens_BT, None, None, logits_BTV.clone())
    alone = [sides(row, None, None, logits.clone()) for row, logits in zip(tokens_BT.split(1), logits_BTV.split(1), strict=True)]
    assert torch.equal(torch.cat(alone), whole_BTV)
    monkeypatch.setattr("duomo.nn.sides.AT_ONCE", 3 * SIZE)
    assert torch.equal(sides(tokens_BT, None, None, logits_BTV.clone()), whole_BTV)


def test_the_slope_of_the_search_is_that_of_what_is_sought() -> None:
    sides, (tokens_BT, gap_BT) = Sides(SIZE), texts()
    fit(sides)
    known_BT = torch.where(gap_BT, -1, tokens_BT)
    said_4NV, told_NF = sides.said(around(known_BT)[:, gap_BT], torch.randn(int(gap_BT.sum()), SIZE).log_softmax(1))
    gaps = beside.Gaps(said_4NV, told_NF, torch.arange(len(told_NF)) % SIZE)
    powers_N4 = sides.powers(told_NF).requires_grad_()
    log_NV = torch.einsum("nw,wnv->nv", powers_N4, said_4NV).log_softmax(1)
    loss = -log_NV.gather(1, gaps.token_N.unsqueeze(1)).sum()
    loss.backward()
    nats, slope_N4 = beside._nats(dict(sides.powers.named_buffers()), gaps)
    assert nats == pytest.approx(float(loss.detach()), rel=1e-5) and powers_N4.grad is not None
    torch.testing.assert_close(slope_N4, powers_N4.grad, atol=1e-4, rtol=1e-4)


def test_what_is_not_fitted_is_in_no_file_and_what_is_comes_back() -> None:
    bare, full, tokens_BT = encoder(False), encoder(), texts()[0]
    assert not [name for name in bare.state_dict() if name.startswith("sides")]
    again = encoder(False)
    again.load_state_dict(full.state_dict())
    assert torch.equal(again({"tokens": tokens_BT}), full({"tokens": tokens_BT}))
    assert torch.equal(full.train()({"tokens": tokens_BT}), bare.train()({"tokens": tokens_BT}))  # they learn nothing together
    assert again.sides is not None
    again.sides.clear()
    assert torch.equal(again.eval()({"tokens": tokens_BT}), bare.eval()({"tokens": tokens_BT}))
    assert bert.Model(CONFIG, {"tokens": Field("tokens", (LONGEST,), (SIZE,))}, Head(3, "row")).sides is None


QUICK = {
    "data": {"task": "fill"}, "model": {"options": {"width": 32, "depth": 1, "heads": 2}}, "train": {"steps": 6},
    "encode": {"longest_text": 64, "vocabulary": 400},
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run that hardly learned, on a text from which counts learn much; and what was said."""
    folder, reporter = tmp_path_factory.mktemp("sides"), Silent()
    text = Path(samples.write("novel", folder)).read_text(encoding="utf-8")[:60_000]
    (folder / "text.txt").write_text(text, encoding="utf-8")
    duomo.train(str(folder / "text.txt"), QUICK, out=folder / "run", reporter=reporter)
    return folder, reporter.said


def test_a_run_fills_better_than_bigrams_and_answers_alike(told: tuple[Path, list[str]]) -> None:
    run = duomo.load(told[0] / "run")
    assert [sentence for sentence in told[1] if "both sides of a gap" in sentence]
    voices = run.scorecard["facts"]["voices"]
    assert set(voices) == {"network", "counts"} and sum(voices.values()) == pytest.approx(1, abs=1e-3)
    figures = {result["name"]: result["metrics"] for result in run.scorecard["results"]}
    own, bigrams = next(iter(figures.values())), figures["bigrams of both sides"]
    assert own["pseudo_perplexity"]["value"] < bigrams["pseudo_perplexity"]["value"]
    assert own["accuracy"]["value"] > figures["most frequent token"]["accuracy"]["value"]
    table, answers = run.golden()
    assert run.answers(table) == answers and run.model.sides.fitted
    gap = run.predict_one("She was [MASK] to see [MASK] again.")["gaps"]
    assert len(gap) == 2 and all(0 < choice["probability"] <= 1 for one in gap for choice in one)


def test_windows_longer_than_what_is_looked_at_at_once(
    told: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "AT_ONCE", 1000)
    run = duomo.train(str(told[0] / "text.txt"), QUICK | {"train": {"steps": 1}}, out=tmp_path / "run")
    assert run.model.sides.fitted


def test_a_run_from_before_there_were_counts_opens(told: tuple[Path, list[str]], tmp_path: Path) -> None:
    shutil.copytree(told[0] / "run", tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    tensors = folder.read_tensors("model.safetensors")
    folder.write_tensors("model.safetensors", {name: value for name, value in tensors.items() if not name.startswith("sides.")})
    folder.seal()
    run = duomo.load(tmp_path / "run")
    assert not run.model.sides.fitted and run.predict_one("The [MASK]")["prediction"]


def test_others_get_the_network_alone(told: tuple[Path, list[str]]) -> None:
    reporter = Silent()
    settings = QUICK | {"model": {"options": {"width": 32, "depth": 1, "heads": 2, "near": 0, "place": "after", "types": 2}}}
    duomo.train(str(told[0] / "text.txt"), settings, out=told[0] / "plain")
    convert.convert(told[0] / "plain", "hf", told[0] / "hf", reporter=reporter)
    assert [sentence for sentence in reporter.said if "the network alone" in sentence]
    assert not [name for name in load_file(told[0] / "hf" / "model.safetensors") if "sides" in name]


def test_going_on_from_a_run_counts_anew_or_leaves_them(told: tuple[Path, list[str]]) -> None:
    folder, reporter = told[0], Silent()
    (folder / "other.txt").write_text((folder / "novel.txt").read_text(encoding="utf-8")[60_000:90_000], encoding="utf-8")
    settings = {"data": {"task": "fill"}, "train": {"steps": 2}, "adapt": {"start": str(folder / "run")}}
    run = duomo.train(str(folder / "other.txt"), settings, out=folder / "on", reporter=reporter)
    assert [sentence for sentence in reporter.said if "stay behind" in sentence]
    assert run.model.sides.fitted and duomo.load(folder / "on").model.sides.fitted


def test_in_little_time_a_part_of_the_text_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was none of it where the whole took too long."""
    monkeypatch.setattr(counts, "TOKENS_A_SECOND", 100)
    tokens = torch.from_numpy(stream())
    assert torch.equal(counts.affordable(tokens, 20.0, 2), tokens[:1000]) and len(counts.affordable(tokens, -1.0)) == 0
    sides = Sides(SIZE)
    assert beside._count(sides, counts.affordable(tokens, 20.0, 2)) and not beside._count(sides, tokens[:0])
