"""Beam search against trying everything, answers by a schema, smaller weights, llama.cpp beside the model, talking in the terminal."""

import dataclasses
import importlib.util
import itertools
import json
import queue
import random
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch

import duomo
from duomo import conversation, writing
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError, DataError, ResourceError
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import EncodeConfig
from duomo.decode.beam import Beam, search
from duomo.decode.engine import Engine, Stream, write
from duomo.decode.fastest import agreement, fastest, tokens_of
from duomo.decode.loop import Batcher, Language, Piece
from duomo.decode.quantize import Int8Linear, quantize
from duomo.decode.sampling import Sampling
from duomo.exchange import runs
from duomo.models import gpt, seq2seq
from duomo.serve import generation

GREEDY = Sampling(temperature=0, new_tokens=16)


def lively(model: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(2)
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=1.6 * weight.shape[1] ** -0.5)
    return model.eval()


def decoder(size: int, context: int = 64, **options: object) -> torch.nn.Module:
    config = gpt.Config(width=32, depth=2, heads=2, **options)  # type: ignore[arg-type]
    return lively(gpt.Model(config, {"tokens": Field("tokens", (context,), (size,))}, Head(size, "step")))


# -- beams
def every_text(model, prompt: list[int], end: int, size: int, longest: int, alpha: float, batch=None):
    """The best text by trying all; those that do not end count only where none that ends is better."""
    best = (-float("inf"), [])
    for length in range(longest + 1):
        for text in itertools.product([t for t in range(size) if t != end], repeat=length):
            tokens = [*prompt, *text, end][: len(prompt) + longest]
            inputs = {"tokens": torch.tensor([tokens])} if batch is None else batch | {"target": torch.tensor([tokens[:-1] or tokens])}
            logits = model(inputs)
            share = torch.log_softmax(logits[0].float(), -1)
            wanted = tokens[len(prompt) :]
            score = sum(float(share[len(prompt) - 1 + at, token]) for at, token in enumerate(wanted)) / ((5 + len(wanted)) / 6) ** alpha
            if wanted[-1] == end and score > best[0]:
                best = (score, list(text))
    return best


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_wide_beam_finds_what_trying_everything_finds(alpha: float) -> None:
    model, size = decoder(5), 5
    with torch.inference_mode():
        score, text = every_text(model, [2], 1, size, 4, alpha)
        found = search(model, [2], [1], Beam(beams=64, new_tokens=4), 64, (alpha,))[0]
    assert found.tokens == text and found.score == pytest.approx(score, abs=1e-4)


def test_one_beam_is_greedy_and_more_are_no_worse() -> None:
    model = decoder(40)
    greedy = search(model, [2, 7], [1], Beam(beams=1, new_tokens=12), 64, (0,))[0]
    wide = search(model, [2, 7], [1], Beam(beams=8, new_tokens=12), 64, (0,))[0]
    tokens = [2, 7]
    for token in greedy.tokens:
        with torch.inference_mode():
            assert int(model({"tokens": torch.tensor([tokens])})[0, -1].argmax()) == token
        tokens.append(token)
    assert wide.score >= greedy.score - 1e-6


def test_encoder_decoders_are_searched_too() -> None:
    size = 5
    fields = {"source": Field("tokens", (8,), (size,)), "target": Field("tokens", (8,), (size,))}
    model = lively(seq2seq.Model(seq2seq.Config(width=32, depth=1, heads=2), fields, Head(size, "step")))
    batch = {"source": torch.tensor([[3, 4, 2]]), "source.length": torch.tensor([3])}
    with torch.inference_mode():
        score, text = every_text(model, [2], 1, size, 3, 0.6, batch | {"target.length": torch.tensor([1])})
        found = search(model, [2], [1], Beam(beams=64, new_tokens=3), 8, (0.6,), batch=batch)[0]
    assert found.tokens == text and found.score == pytest.approx(score, abs=1e-4)


def test_a_search_has_beams() -> None:
    with pytest.raises(ConfigError):
        Beam(beams=0)


# -- schemas
SCHEMAS = [
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
     "required": ["name", "age"], "additionalProperties": False},
    {"type": "array", "items": {"enum": ["red", "绿", None, 1.5]}, "minItems": 1, "maxItems": 3},
    {"anyOf": [{"type": "boolean"}, {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "number"}, "maxItems": 2}},
                                     "required": ["x"], "additionalProperties": False}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def spelling() -> dict:
    text = json.dumps(SCHEMAS, ensure_ascii=False) + ' {"name": "Ann", "age": 41} 树'
    return text_kind.learn(pa.chunked_array([[text] * 20]), EncodeConfig(tokenizer="bpe", vocabulary=330))


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_every_answer_follows_its_schema(number: int, spelling) -> None:
    """Random weights, hot sampling: only the mask can be the reason that each answer parses and validates."""
    grammar = pytest.importorskip("duomo.decode.grammar")
    pytest.importorskip("llguidance")
    jsonschema = pytest.importorskip("jsonschema")
    model, language = decoder(spelling["size"], 256), Language.of(spelling)
    batch = Batcher(model, language, 256)
    parts: list[list[Piece]] = [[] for _ in range(12)]
    for seed, part in enumerate(parts):
        asked = Sampling(temperature=5.0, top_k=0, top_p=1.0, seed=seed, new_tokens=200)
        batch.add(batch.request([5, 6], asked, part.append, grammar.JsonSchema(SCHEMAS[number], spelling)))
    with torch.inference_mode():
        while batch.busy():
            batch.step()
    texts = ["".join(piece.text for piece in part) for part in parts if part[-1].finish_reason == "stop"]
    for text in texts:
        jsonschema.validate(json.loads(text), SCHEMAS[number])
    assert len(texts) >= 6 and len(set(texts)) > 1


def test_a_schema_that_cannot_be_followed_ends_its_own_answer_alone(spelling) -> None:
    """An object within an object without end passes every check before writing and fails at the first brace."""
    grammar = pytest.importorskip("duomo.decode.grammar")
    pytest.importorskip("llguidance")
    inner = {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["x"], "additionalProperties": False}
    endless = {"$ref": "#/$defs/a", "$defs": {"a": inner}}
    engine = Engine(decoder(spelling["size"], 256), Language.of(spelling), 256)
    asked = Sampling(temperature=0, new_tokens=120)
    alone = engine.submit([7, 8], asked).text()
    neighbour = engine.submit([7, 8], asked)
    wrong = engine.submit([5, 6], GREEDY, grammar.JsonSchema(endless, spelling))
    with pytest.raises(DataError, match="schema"):
        wrong.text()
    assert wrong.finish_reason == "error" and neighbour.text() == alone == engine.submit([7, 8], asked).text()
    engine.close()


def test_an_answer_by_a_schema_ends_without_an_end_token(spelling) -> None:
    grammar = pytest.importorskip("duomo.decode.grammar")
    pytest.importorskip("llguidance")
    endless = spelling | {"special": {}}
    engine = Engine(decoder(spelling["size"], 256), Language.of(endless), 256)
    stream = engine.submit([5, 6], GREEDY, grammar.JsonSchema({"const": [1]}, endless))
    assert json.loads(stream.text()) == [1] and stream.finish_reason == "stop"
    engine.close()


def test_schemas_that_are_none(spelling) -> None:
    grammar = pytest.importorskip("duomo.decode.grammar")
    pytest.importorskip("llguidance")
    for wrong in ("{", '{"type": "nothing"}', "a" * 100_000):
        with pytest.raises(DataError):
            grammar.JsonSchema(wrong, spelling)


# -- smaller weights
def test_int8_is_close_and_says_how_close() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(96, 64), torch.randn(20, 96)
    with torch.inference_mode():
        small = Int8Linear(layer.weight, layer.bias)
        assert (small(x) - layer(x)).abs().max() < 0.03 and torch.equal(small(x), torch.cat([small(row[None]) for row in x]))
        model, tokens = decoder(300, norm_keys=True), torch.randint(2, 300, (4, 40))
        plain = torch.log_softmax(model({"tokens": tokens}), -1)
        for precision, most in (("bf16", 0.02), ("f16", 1e-4), ("int8", 0.03)):
            found = torch.log_softmax(quantize(model, precision)({"tokens": tokens}).float(), -1)
            assert float((plain.exp() * (plain - found)).sum(-1).mean()) < most
    with pytest.raises(ConfigError, match="int8"):
        quantize(model, "int4")
    assert quantize(model, "float32") is model
    with pytest.raises(ConfigError, match="--device cpu"):  # as on a GPU, where no such engine is
        quantize(model.to("meta"), "int8")


def test_the_fastest_that_agrees_is_taken(spelling) -> None:
    model, language = decoder(spelling["size"]), Language.of(spelling)
    other = decoder(spelling["size"])
    torch.nn.init.normal_(other.embedding.weight, std=1.0)
    prompts = [[5, 6, 7], [9]]

    def missing() -> Engine:
        raise ConfigError("llama.cpp is not installed. Install it with: pip install 'duomo[llamacpp]'")

    makers = {"own": lambda: Engine(model, language, 64), "wrong": lambda: Engine(other, language, 64), "missing": missing}
    name, figures = fastest(makers, prompts)
    assert name == "own" and figures["own"].agreement == 1 and figures["wrong"].note and figures["missing"].note


class Failing:
    """A grammar that cannot be followed beyond the second token."""

    def __init__(self, size: int):
        self.size, self.left = size, 2

    def mask(self) -> torch.Tensor:
        return torch.ones(self.size, dtype=torch.bool)

    def accept(self, token: int) -> None:
        self.left -= 1
        if not self.left:
            raise DataError("no further")


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_llama_cpp_writes_the_same(kind: str, tmp_path, spelling) -> None:
    """A model through its own GGUF export: the same greedy text, the same log-probabilities nearly."""
    pytest.importorskip("llama_cpp")
    models = pytest.importorskip("duomo.exchange.gguf_models")
    llama = pytest.importorskip("duomo.decode.llama")
    pretrained = pytest.importorskip("duomo.core.pretrained")
    config = gpt.Config(width=64, depth=2, heads=2, tied=False, eps=1e-5, hidden=96)
    model = lively(gpt.Model(config, {"tokens": Field("tokens", (64,), (spelling["size"],))}, Head(spelling["size"], "step")))
    models.write(tmp_path / "m.gguf", pretrained.Pretrained("gpt", config.__dict__, model.state_dict(), {"text": spelling}), kind)
    language = Language.of(spelling)
    own, theirs = Engine(model, language, 64), llama.LlamaEngine(tmp_path / "m.gguf", language, 64, threads=1)
    generator = random.Random(0)
    prompts = [[generator.randrange(2, spelling["size"]) for _ in range(6)] for _ in range(4)]
    answers = [tokens_of(own, prompt) for prompt in prompts]
    assert agreement(answers, theirs, prompts) > (0.97 if kind == "f16" else 0.8)
    greedy = Sampling(temperature=0, new_tokens=24)
    alone = [theirs.submit(prompt, greedy).text() for prompt in prompts]
    company = [theirs.submit(prompt, greedy) for prompt in prompts * 2]
    assert sum(a.text() == b for a, b in zip(company, alone * 2, strict=True)) >= 6
    assert company[-1].prompt_tokens == 6 and company[-1].written_tokens == 24 and company[-1].reused_tokens == 5
    beside = theirs.submit(prompts[1], greedy)
    with pytest.raises(DataError, match="no further"):
        theirs.submit(prompts[0], greedy, Failing(spelling["size"])).text()
    assert beside.text() == alone[1]  # one whose grammar fails leaves its neighbours alone
    theirs._language = dataclasses.replace(language, banned=())  # as of a model whose padding is its end
    biased = dataclasses.replace(greedy, biases=((5, 100.0),))
    assert theirs.submit(prompts[0], biased).text() == own.submit(prompts[0], biased).text() != alone[0]
    left = theirs.submit(prompts[2], greedy)
    left.cancel()
    assert not left.text() or left.written_tokens < 24
    assert left.finish_reason == "cancelled"
    stopped = theirs.submit(prompts[0], Sampling(temperature=0.9, seed=3, new_tokens=40))
    assert stopped.text() and stopped.finish_reason in ("length", "stop")
    own.close()
    theirs.close()
    with pytest.raises(ConfigError):
        llama.LlamaEngine(tmp_path / "none.gguf", language, 64)


def test_a_run_is_written_by_what_measured_fastest(tmp_path, spelling, monkeypatch) -> None:
    """Measured once and kept beside the run; a wish wins; what predict says is the same through each engine that is exact enough."""
    model = lively(decoder(spelling["size"]))
    runs.write(tmp_path / "run", Pretrained("gpt", model.config.__dict__, model.state_dict(), {"text": spelling | {"longest": 64}}))
    choice = writing.Choice(duomo.load(tmp_path / "run"), 2)
    assert choice.name() == "own" and not choice.folder.exists()
    monkeypatch.setattr(writing, "WORTH", 1)
    taken = choice.name()
    kept = json.loads((choice.folder / "2.json").read_text())
    assert kept["taken"] == taken and kept["figures"][taken]["agreement"] >= 0.95 and kept["figures"]["own"]["agreement"] == 1
    monkeypatch.setattr(writing, "fastest", lambda *_, **__: pytest.fail("measured again"))
    assert choice.name() == taken and choice.name("int8") == "int8"
    with pytest.raises(ConfigError, match="int8"):
        choice.name("int9")
    texts = {}
    for name in ("own", "f16", "llama-f16") if importlib.util.find_spec("llama_cpp") else ("own", "f16"):
        run = duomo.load(tmp_path / "run")
        monkeypatch.setattr(run.task, "config", dataclasses.replace(run.task.config, sampling=GREEDY))
        texts[name] = writing.equipped(run, name).predict(["ab", "hello"])
    assert len({json.dumps(answers) for answers in texts.values()}) == 1


# -- the terminal
class Talker:
    """A task that a person can talk to."""

    context = 64

    def __init__(self, language: Language):
        self.language, self.sampling = language, GREEDY
        self.heard: list[list[dict]] = []

    def conversation(self, messages) -> list[int]:
        self.heard.append(list(messages))
        return [5, 6, 7 + len(messages)]


def test_a_conversation(spelling, capsys, monkeypatch) -> None:
    model, language = decoder(spelling["size"]), Language.of(spelling)
    engine, task = Engine(model, language, 64), Talker(Language.of(spelling))
    bound = list[str]()
    monkeypatch.setitem(sys.modules, "readline", SimpleNamespace(parse_and_bind=bound.append))
    conversation.edit_lines()
    assert bound == ["set enable-bracketed-paste on"]
    talk = conversation.Conversation(engine, task, GREEDY, "Be kind.")
    assert talk.take("／system 你是客服。") and talk.system == "你是客服。" and talk.take("/system Be kind.")
    assert talk.take("Hello") and talk.take("And?")
    expected = write(model, language, [[5, 6, 9], [5, 6, 11]], [GREEDY] * 2, 64)
    assert [message["content"] for message in talk.messages] == ["Hello", expected[0].text, "And?", expected[1].text]
    assert task.heard[-1][0] == {"role": "system", "content": "Be kind."} and len(task.heard[-1]) == 4
    shown = capsys.readouterr().out
    assert shown.count("\n") >= 2 and "\x1b" not in shown
    assert talk.take("/reset") and not talk.messages
    assert talk.take("/system Be brief.") and talk.system == "Be brief."
    assert talk.take("/nothing") and "/reset" in capsys.readouterr().err
    assert not talk.take("/quit")
    engine.close()


def test_what_is_no_utf8_is_said_with_replacements(spelling, monkeypatch) -> None:
    """A terminal of another encoding gives halves of surrogate pairs, which no tokenizer reads."""
    talk = conversation.Conversation(Engine(decoder(spelling["size"]), Language.of(spelling), 64), Talker(Language.of(spelling)), GREEDY)
    lines = iter(["caf\udce9 😀", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    talk.run()
    assert talk.messages[0]["content"] == "caf\ufffd 😀"
    talk.engine.close()


def test_ctrl_c_stops_an_answer_and_a_second_one_leaves(spelling, monkeypatch) -> None:
    model, language = decoder(spelling["size"]), Language.of(spelling)
    endless = Sampling(temperature=0, new_tokens=1 << 20)
    engine, task = Engine(model, language, 64, roll=True), Talker(language)
    talk, presses = conversation.Conversation(engine, task, endless), [1]
    plain = Stream.get

    def pressed(stream: Stream, timeout=None):
        if presses and not presses.pop():
            pass
        elif presses == []:
            presses.append(0)
            raise KeyboardInterrupt
        return plain(stream, timeout)

    monkeypatch.setattr(Stream, "get", pressed)
    assert talk.take("Go on") and talk.messages[-1]["role"] == "assistant"
    monkeypatch.setattr(Stream, "get", lambda stream, timeout=None: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not talk.take("Go on")
    monkeypatch.undo()
    engine.close()


def test_only_what_writes_can_be_talked_to(monkeypatch) -> None:
    monkeypatch.setattr(conversation.Run, "open", lambda path: SimpleNamespace(task=SimpleNamespace(name="classify")))
    with pytest.raises(ConfigError, match="classify"):
        conversation.chat("runs/clinic")


# -- the server
def test_who_leaves_while_the_prompt_is_prepared_is_not_written_for(spelling, monkeypatch) -> None:
    task = SimpleNamespace(tokenizer=spelling, name="generate", context=64, config=SimpleNamespace(sampling=GREEDY))
    run = SimpleNamespace(task=task, path=Path("poems"), model=decoder(spelling["size"]), execution=None)
    replies: queue.Queue[generation.Reply] = queue.Queue()
    made, going = generation.GenerationHandler(run, lambda number, reply: replies.put(reply)), threading.Event()
    monkeypatch.setattr(made, "_prompts", lambda asked, chat: [[5, 6, 7]] if going.wait(20) else [])
    asked = dict.fromkeys(("temperature", "top_k", "top_p", "min_p", "stop", "schema", "logprobs", "stream", "seed"))
    made.begin(SimpleNamespace(id=3, verb="complete", asked=asked | {"n": 1, "max_tokens": 50}))
    assert made.cancel(3) and not made.cancel(4)
    going.set()
    reply = replies.get(timeout=20)
    assert json.loads(reply.body)["choices"][0]["finish_reason"] == "cancelled" and reply.facts["written"] <= 1
    made._engine.close()


def test_who_asks_while_the_engine_closes_is_told(monkeypatch: pytest.MonkeyPatch, spelling) -> None:
    """What comes while it closes ends too; closing twice is closing once."""
    llama, closed, said, begun = pytest.importorskip("duomo.decode.llama"), list[int](), list[str](), threading.Event()
    monkeypatch.setattr(llama, "Core", lambda *_: SimpleNamespace(close=lambda: closed.append(1), forget=lambda slot, kept: None))
    engine = llama.LlamaEngine(Path(), Language.of(spelling), 64)
    put = engine._queue.put_nowait
    monkeypatch.setattr(engine._queue, "put_nowait", lambda row: (begun.set(), time.sleep(0.2), put(row)))
    monkeypatch.setattr(engine, "_step", lambda: time.sleep(0.01))

    def ask() -> None:
        with pytest.raises(ResourceError) as error:
            engine.submit([3], Sampling()).text()
        said.append(str(error.value))

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    begun.wait(5)
    engine.close()
    engine.close()
    asker.join(5)
    assert len(said) == len(closed) == 1
