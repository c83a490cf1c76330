"""Decoding: the same text alone and in company, streamed and whole; sampling against its definition; requests that come, go and fail."""

import threading

import pyarrow as pa
import pytest
import torch

from duomo.core.contract import Field, Head
from duomo.core.device import Execution, bf16_on_cpu
from duomo.core.errors import ConfigError, DataError, ResourceError
from duomo.core.kinds import text as text_kind
from duomo.core.recipe import EncodeConfig
from duomo.decode.detokenize import Pieces
from duomo.decode.engine import Engine, running, write
from duomo.decode.loop import BLOCK, Batcher, Language, Piece, heights
from duomo.decode.sampling import Sampler, Sampling, choose
from duomo.decode.uncached import Reread
from duomo.decode.whole_characters import WholeCharacters
from duomo.models import gpt
from duomo.serve.generation import _Form

TEXT = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune must be in want of a wife. 枯藤老树昏鸦 😀 "
]
CONTEXT = 160
GREEDY = Sampling(temperature=0, new_tokens=24)
CONFIGS = {
    "rotary": gpt.Config(width=64, depth=2, heads=4),
    "grouped": gpt.Config(width=64, depth=2, heads=4, key_heads=2, norm_keys=True),
    "gpt2": gpt.Config(width=64, depth=2, heads=4, positions="learned", norm="layer", bias="all", activation="gelu", longest=CONTEXT),
}


@pytest.fixture(scope="module")
def tokenizer() -> dict:
    return text_kind.learn(pa.chunked_array([TEXT * 20]), EncodeConfig(tokenizer="bpe", vocabulary=300))


def model_of(config: gpt.Config, size: int, spread: float = 0.4) -> torch.nn.Module:
    """Weights wide enough that greedy text does not repeat itself at once."""
    torch.manual_seed(1)
    model = gpt.Model(config, {"tokens": Field("tokens", (CONTEXT,), (size,))}, Head(size, "step")).eval()
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=spread * weight.shape[1] ** -0.5 * 4)
    return model


@pytest.fixture(scope="module")
def model(tokenizer) -> torch.nn.Module:
    return model_of(CONFIGS["rotary"], tokenizer["size"])


@pytest.fixture(scope="module")
def language(tokenizer) -> Language:
    return Language.of(tokenizer)


def prompts(size: int, count: int = 11) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    lengths = [1, 3, BLOCK, BLOCK + 1, 2, 100, 17, 2 * BLOCK, 40, 5, 130][:count]
    return [torch.randint(2, size, (length,), generator=generator).tolist() for length in lengths]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("precision", ["float32", "medium", "bf16"])
def test_alone_and_in_company_to_the_last_bit(name: str, precision: str, language: Language) -> None:
    """Same tokens and same log-probabilities, greedy and drawn, whatever else is being written; batches of mixed lengths and settings."""
    if precision == "bf16" and not bf16_on_cpu():
        pytest.skip("this chip has no bf16")
    size = int(language.tokenizer["size"])
    model = model_of(CONFIGS[name], size)
    execution = Execution(precision="bf16" if precision == "bf16" else "float32", matmul="highest" if precision == "float32" else "medium")
    asked = [Sampling(temperature=0.9 * (n % 2), top_k=20 * (n % 3), seed=n, new_tokens=10 + n, logprobs=-1) for n in range(11)]

    def run(numbers: list[int]) -> list[list[Piece]]:
        batch = Batcher(model, language, CONTEXT)
        parts: list[list[Piece]] = [[] for _ in numbers]
        for part, number in zip(parts, numbers, strict=True):
            batch.add(batch.request(prompts(size)[number], asked[number], part.append))
        while batch.busy():
            batch.step()
        return parts

    with running(execution):
        alone = [run([number])[0] for number in range(11)]
        together = run(list(range(11)))
    assert together == alone
    assert len({piece.token for part in alone for piece in part}) > 20


def test_equals_the_full_forward_pass(model, language: Language) -> None:
    prompt = prompts(int(language.tokenizer["size"]))[5]
    answer = write(model, language, [prompt], [GREEDY], CONTEXT)[0]
    tokens, whole = list(prompt), WholeCharacters(language.tokenizer, prompt)
    for expected in answer.tokens:
        with torch.inference_mode():
            logits = model({"tokens": torch.tensor([tokens])})[0, -1]
        logits = logits if (mask := whole.mask()) is None else logits.masked_fill(~mask, -torch.inf)
        whole.add(expected)
        assert float(logits[1:].max() - logits[expected]) < 1e-4
        tokens.append(expected)


def test_a_prompt_that_was_read_before_is_reused(model, language: Language) -> None:
    """Whole blocks of it; the answers stay the same to the bit."""
    long = prompts(int(language.tokenizer["size"]))[10]
    fresh = write(model, language, [long[:129]], [GREEDY], CONTEXT)[0]
    engine = Engine(model, language, CONTEXT, slots=3)
    assert engine.submit(long, GREEDY).text()
    again = engine.submit(long[:129], GREEDY)
    assert again.text() == fresh.text and again.reused_tokens == 2 * BLOCK
    streams = [engine.submit(long[:129], GREEDY) for _ in range(3)]
    assert [stream.text() for stream in streams] == [fresh.text] * 3
    engine.close()


def test_rolls_on_when_the_context_is_full(model, language: Language) -> None:
    prompt = prompts(int(language.tokenizer["size"]))[5]
    asked = Sampling(temperature=0, new_tokens=200)
    short = write(model, language, [prompt], [asked], CONTEXT)[0]
    rolled = write(model, language, [prompt, prompt[:3]], [asked, asked], CONTEXT, roll=True)
    assert short.finish_reason == "length" and len(short.tokens) == CONTEXT - len(prompt) + 1
    assert len(rolled[0].tokens) == 200 and rolled[0].tokens[: len(short.tokens)] == short.tokens
    assert rolled[0] == write(model, language, [prompt], [asked], CONTEXT, roll=True)[0]


def test_any_model_decodes(model, language: Language) -> None:
    """One without a cache is read anew for each token."""

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, batch):
            return self.inner(batch)

    some = prompts(int(language.tokenizer["size"]), 3)
    assert isinstance(Batcher(Plain(), language, CONTEXT).model, Reread)
    assert [a.tokens[:8] for a in write(Plain(), language, some, [GREEDY] * 3, CONTEXT)] == [
        a.tokens[:8] for a in write(model, language, some, [GREEDY] * 3, CONTEXT)
    ]


# -- text
def test_nothing_is_shown_that_may_change(tokenizer) -> None:
    text = "a single man 枯藤老树 😀 in possession"
    tokens = text_kind.encode_text(tokenizer, [text])[0].tolist()
    pieces = Pieces(tokenizer)
    parts = [pieces.add(token) for token in tokens]
    assert "".join(parts) + pieces.end() == text and not any("\ufffd" in part for part in parts)
    assert "".join(map(Pieces(tokenizer).add, tokens[:-5])) == text_kind.decode_text(tokenizer, tokens[:-5]).rstrip("\ufffd")


@pytest.mark.parametrize("stop", [("possession",), ("single man", "man 枯"), ("n 枯藤",), ("树 😀 i",), ("sion",)])
def test_stop_texts_across_tokens(stop: tuple[str, ...], tokenizer) -> None:
    text = "a single man 枯藤老树 😀 in possession"
    pieces, shown = Pieces(tokenizer, stop), ""
    for token in text_kind.encode_text(tokenizer, [text])[0].tolist():
        shown += pieces.add(token)
        assert not any(word in shown for word in stop)
        if pieces.stopped:
            break
    assert pieces.stopped and shown == text[: min(text.find(word) for word in stop if word in text)]


def test_what_only_looked_like_a_stop_text_comes(tokenizer) -> None:
    pieces = Pieces(tokenizer, ("man in black", "single woman"))
    tokens = text_kind.encode_text(tokenizer, ["a single man in"])[0].tolist()
    shown = "".join(pieces.add(token) for token in tokens)
    assert shown == "a single " and pieces.end() == "man in" and not pieces.stopped


def test_a_part_of_a_character_is_told_by_its_bytes(tokenizer) -> None:
    form = _Form("run", True, {"stream_options": None, "n": 1, "logprobs": True}, tokenizer)
    tokens = text_kind.encode_text(tokenizer, ["a 😀 é 春"])[0].tolist()
    told = [form._spelled(token, 0.0) for token in tokens]
    assert any("\ufffd" in one["token"] for one in told)
    assert bytes(byte for one in told for byte in one["bytes"]).decode() == "a 😀 é 春"


# -- sampling
def share(logits: torch.Tensor, **settings: float) -> torch.Tensor:
    """How often each token is drawn in 3,000 trials."""
    samplers = [Sampler.of(Sampling(seed=seed, **settings), [2], len(logits)) for seed in range(3000)]  # type: ignore[arg-type]
    drawn = [chosen.token for chosen in choose(logits.repeat(3000, 1), samplers)]
    return torch.bincount(torch.tensor(drawn), minlength=len(logits)) / 3000


LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def test_draws_what_the_definition_says() -> None:
    open_ = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    p = torch.softmax(LOGITS, 0)
    assert torch.allclose(share(LOGITS, **open_), p, atol=0.03)
    assert torch.allclose(share(LOGITS, **open_ | {"temperature": 0.5}), torch.softmax(LOGITS * 2, 0), atol=0.03)
    assert torch.allclose(share(LOGITS, **open_ | {"top_k": 2})[:2], torch.softmax(LOGITS[:2], 0), atol=0.03)
    for cold in (1e-7, 1e-45, 1e-300):
        assert share(LOGITS, **open_ | {"temperature": cold})[0] == 1 == share(LOGITS, temperature=cold)[0]
    kept = share(LOGITS, **open_ | {"top_p": 0.75})
    assert int((kept > 0).sum()) == int((p.cumsum(0) - p <= 0.75).sum())
    kept = share(LOGITS, **open_ | {"min_p": 0.2})
    assert torch.equal(kept > 0, p >= 0.2 * p[0])
    many = torch.cat([LOGITS, torch.full((3000,), -2.0)])
    assert int((share(many, **open_ | {"top_p": 0.999}) > 0).sum()) > 1000


def test_a_draw_from_all_tokens_does_not_depend_on_what_its_neighbours_ask_for() -> None:
    logits, open_ = torch.randn(2, 40, generator=torch.Generator().manual_seed(0)), {"temperature": 1.0, "top_k": 0}
    for seed in range(20):
        both = [Sampler.of(Sampling(**open_, top_p=top_p, seed=seed), [], 40) for top_p in (1.0, 0.9)]
        alone = Sampler.of(Sampling(**open_, top_p=1.0, seed=seed), [], 40)
        assert choose(logits.clone(), both)[0] == choose(logits[:1].clone(), [alone])[0]


def test_repetition_penalty_and_bans() -> None:
    sampler = Sampler.of(Sampling(temperature=0, repetition_penalty=3.0), [0], 6)
    assert [choose(LOGITS[None].clone(), [sampler], banned=[3])[0].token for _ in range(3)] == [1, 0, 0]
    assert choose(torch.zeros(1, 6), [Sampler.of(Sampling(temperature=0), [], 6)], banned=[0])[0].token == 1


def test_penalties_for_what_was_written_and_biases() -> None:
    asked = Sampling(temperature=0, frequency_penalty=0.5, presence_penalty=1.0, biases=((2, 3.0), (4, -100.0)))
    sampler, logits = Sampler.of(asked, [1, 1, 1], 5), torch.tensor([[0.0, 2.9, 1.0, 2.6, 50.0]])
    # 4.0 for 2 by its bias, then 2.5 and 2.0 ..., so 1 (2.9), 3 (2.6), 2 (2.5) follow, 2 again at 2.0, before 1 is left with 1.4
    assert [choose(logits.clone(), [sampler])[0].token for _ in range(5)] == [2, 1, 3, 2, 2]


def test_logprobs() -> None:
    sampler = Sampler.of(Sampling(temperature=0, logprobs=2), [], 6)
    chosen = choose(LOGITS[None].clone(), [sampler])[0]
    expected = torch.log_softmax(LOGITS, 0)
    assert chosen.logprob == pytest.approx(float(expected[0])) and [token for token, _ in chosen.top] == [0, 1]


def test_settings_are_checked() -> None:
    for wrong in ({"temperature": -1.0}, {"top_p": 2.0}, {"temperature": float("nan")}, {"stop": ("",)}, {"new_tokens": 0}):
        with pytest.raises(ConfigError):
            Sampling(**wrong)  # type: ignore[arg-type]


# -- the engine
def test_many_threads_get_their_own_answers(model, language: Language) -> None:
    some = prompts(int(language.tokenizer["size"]))
    expected = [answer.text for answer in write(model, language, some, [GREEDY] * len(some), CONTEXT)]
    engine = Engine(model, language, CONTEXT, slots=4)
    found: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: found.setdefault(n, engine.submit(some[n], GREEDY).text())) for n in range(len(some))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [found[n] for n in range(len(some))] == expected and engine.load == (0, 0)
    engine.close()


def test_a_client_that_leaves_makes_room(model, language: Language) -> None:
    engine = Engine(model, language, CONTEXT, slots=1, waiting=1, roll=True)
    endless = Sampling(temperature=0, new_tokens=1 << 20)
    first, second = engine.submit([5], endless), engine.submit([6], endless)
    with pytest.raises(ResourceError, match="Too many"):
        engine.submit([7], GREEDY)
    first.get(10)
    second.cancel()  # who only waits leaves at once, though nobody is done
    assert second.get(10).finish_reason == "cancelled"
    second = engine.submit([6], endless)
    first.cancel()
    assert [piece.finish_reason for piece in first][-1] == "cancelled"
    second.cancel()
    assert second.text() is not None and second.finish_reason == "cancelled"
    assert engine.submit([7], GREEDY).text() is not None
    last = engine.submit([8], endless)
    engine.close()
    with pytest.raises(ResourceError, match="closed"):
        last.text()
    with pytest.raises(ResourceError):
        engine.submit([7], GREEDY)


def test_a_model_that_fails_ends_every_stream(language: Language) -> None:
    class Broken(torch.nn.Module):
        def forward(self, batch):
            raise RuntimeError("no such kernel")

    engine = Engine(Broken(), language, CONTEXT)
    for _ in range(2):
        with pytest.raises(ResourceError, match="no such kernel"):
            engine.submit([5], GREEDY).text()
    engine.close()


def test_after_a_step_that_failed_answers_are_what_they_were(model, language: Language, monkeypatch) -> None:
    engine = Engine(model, language, CONTEXT)
    wanted = engine.submit([5, 6, 7], GREEDY).text()
    step, left = engine._batch.model.forward_cached, [2]

    def failing(tokens, cache):
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("out of memory")
        return step(tokens, cache)

    monkeypatch.setattr(engine._batch.model, "forward_cached", failing)
    with pytest.raises(ResourceError, match="out of memory"):
        engine.submit([5, 6, 7], GREEDY).text()
    assert engine.submit([5, 6, 7], GREEDY).text() == wanted and engine.load == (0, 0)
    engine.close()


def test_prompts_that_do_not_fit(model, language: Language) -> None:
    batch = Batcher(model, language, CONTEXT)
    for wrong in ([], [1] * CONTEXT, [10**6], [-1]):
        with pytest.raises(DataError):
            batch.request(wrong, GREEDY, lambda piece: None)


@pytest.mark.parametrize("places", [16, 64, 128])
def test_a_model_of_few_learned_places_writes(places: int) -> None:
    """The heights of a step are tried out within them."""
    config = gpt.Config(width=32, depth=1, heads=2, positions="learned", longest=places)
    model = gpt.Model(config, {"tokens": Field("tokens", (places,), (50,))}, Head(50, "step")).eval()
    assert heights(model, model, 4, places)[-1] == 4
