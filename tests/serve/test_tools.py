"""Prompts as tokens, prompts said back with their probabilities, and calls of tools: by OpenAI's own client, and in the small."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import torch
from tests.serve.harness import Server

import duomo
from duomo.core.kinds import text as text_kind
from duomo.core.run import RunFolder
from duomo.decode.engine import Engines, Stream
from duomo.decode.loop import Piece
from duomo.serve import openai_fields, tools
from duomo.serve.batching import Question, Reply
from duomo.serve.generation import GenerationHandler

TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool.function.name | tojson }}\n{% endfor %}{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "What the sky does.",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"],
                   "additionalProperties": False},
}}  # fmt: skip
ASK: list[Any] = [{"role": "user", "content": "Rome?"}]


@pytest.fixture(scope="module")
def caller(runs: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """The poems, and beside them a copy whose chat template shows tools."""
    folder = tmp_path_factory.mktemp("tools") / "caller"
    shutil.copytree(runs("poems").path, folder)
    run = RunFolder(folder)
    state = run.read_json("task.json")
    state["tokenizer"] |= {"chat_template": TEMPLATE, "names": {}}
    run.write_json("task.json", state)
    run.seal()
    pairs = [{"query": f"what is {n}", "passage": f"it is the number {n}"} for n in range(60)]
    tiny = {"data": {"task": "embed"}, "model": {"name": "bert", "size": "small"}, "train": {"steps": 2, "exact": True}}
    near = duomo.train(pairs, tiny, target="passage", out=folder.parent / "near")
    server = Server([runs("poems").path, folder, near.path], "--quiet", log=folder.parent / "log")
    yield openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=60)
    server.stop()


def test_tokens_in_place_of_texts(caller: openai.OpenAI, runs: Any) -> None:
    state = runs("poems").task.tokenizer
    texts = ["春眠不覺曉", "白日"]
    lists = [tokens.tolist() for tokens in text_kind.encode_text(state, texts)]
    calm: dict[str, Any] = {"model": "poems", "max_tokens": 8, "temperature": 0}
    said = [caller.completions.create(prompt=text, **calm).choices[0].text for text in texts]
    assert [choice.text for choice in caller.completions.create(prompt=lists, **calm).choices] == said
    assert caller.completions.create(prompt=lists[0], **calm).choices[0].text == said[0]
    with pytest.raises(openai.BadRequestError, match="Tokens must lie between 0 and"):
        caller.completions.create(prompt=[10**9], **calm)


@pytest.mark.parametrize("wrong", [[1, "a"], [[1], "a"], [[]], [[1], []], [-1], [[1.5]], [True], [], [[[1]]]])
def test_what_is_no_prompt(wrong: Any) -> None:
    with pytest.raises(openai_fields.Unfit):
        openai_fields.prompts("prompt", wrong, 64)
    with pytest.raises(openai_fields.Unfit):
        openai_fields.prompts("prompt", [[1]] * 65, 64)


def test_embeddings(caller: openai.OpenAI) -> None:
    text = "what is the number 7"
    (given,) = caller.embeddings.create(model="near", input=text, encoding_format="float").data
    packed = caller.embeddings.create(model="near", input=[text, "it is"], dimensions=8)  # the client asks for base64 and unpacks it
    assert packed.data[0].embedding == pytest.approx(given.embedding[:8], abs=1e-6) and len(packed.data) == 2
    models = {model.id: model for model in caller.models.list()}
    assert models["near"].task == "embed"  # type: ignore[attr-defined]
    once = caller.embeddings.create(model="near", input=text).usage
    assert 0 < once.prompt_tokens < packed.usage.prompt_tokens == packed.usage.total_tokens
    with pytest.raises(openai.BadRequestError, match="Ask for fewer") as raised:
        caller.embeddings.create(model="near", input=text, dimensions=len(given.embedding) + 1)
    assert raised.value.body["param"] == "dimensions"  # type: ignore[index]
    with pytest.raises(openai.BadRequestError, match="Tokens must lie between 0 and") as raised:
        caller.embeddings.create(model="near", input=[[1, 10**6]])
    assert raised.value.body["param"] == "input"  # type: ignore[index]


def test_embeddings_of_tokens(caller: openai.OpenAI, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = duomo.load(next(tmp_path_factory.getbasetemp().glob("tools*/near")))
    tokens = [ids.tolist() for ids in text_kind.encode_text(run.task.tokenizer, ["what is 5", "it is the number 9"])]
    found = [one.embedding for one in caller.embeddings.create(model="near", input=tokens, encoding_format="float").data]
    expected = [row["prediction"] for row in run.predict(["what is 5", "it is the number 9"])]
    assert found == expected


def test_echo_with_the_probabilities_of_the_prompt(caller: openai.OpenAI, runs: Any) -> None:
    prompt = "春眠不覺曉，處處聞啼鳥" * 8  # more than one block of 64 tokens
    calm: dict[str, Any] = {"model": "poems", "prompt": prompt, "max_tokens": 5, "temperature": 0}
    plain = caller.completions.create(**calm).choices[0].text
    back = caller.completions.create(**calm, echo=True, logprobs=2).choices[0]
    assert back.text == prompt + plain
    streamed = caller.completions.create(**calm, echo=True, stream=True)
    assert "".join(event.choices[0].text for event in streamed) == back.text
    alone = caller.completions.create(**calm | {"max_tokens": 0}, echo=True, logprobs=2)
    assert alone.choices[0].text == prompt and alone.usage.completion_tokens == 0
    assert alone.choices[0].logprobs.token_logprobs == back.logprobs.token_logprobs[: len(alone.choices[0].logprobs.tokens)]
    found, model, tokens = back.logprobs, runs("poems").model, text_kind.encode_text(runs("poems").task.tokenizer, [prompt])[0].tolist()
    assert found.token_logprobs[0] is None and found.top_logprobs[0] is None
    assert len(found.tokens) == len(found.token_logprobs) >= len(tokens) + 5
    with torch.inference_mode():
        cache = model.start(1, len(tokens))
        logs_TV = model.forward_cached(torch.tensor([tokens]), cache)[0].float().log_softmax(-1)
    expected = [float(logs_TV[place - 1, token]) for place, token in enumerate(tokens) if place]
    assert found.token_logprobs[1 : len(tokens)] == pytest.approx(expected, abs=1e-4)
    assert all(
        max(top.values()) >= value - 1e-6 for top, value in zip(found.top_logprobs[1:], found.token_logprobs[1:], strict=True) if top
    )


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_that_must_be(caller: openai.OpenAI, choice: Any) -> None:
    settings: dict[str, Any] = {"model": "caller", "messages": ASK, "tools": [WEATHER], "tool_choice": choice, "max_tokens": 90, "seed": 1}
    whole = caller.chat.completions.create(**settings).choices[0]
    call = whole.message.tool_calls[0]
    assert whole.finish_reason == "tool_calls" and whole.message.content is None and call.id
    assert call.function.name == "weather" and json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    events = list(caller.chat.completions.create(**settings, stream=True))
    last = events[-1].choices[0]
    assert last.finish_reason == "tool_calls" and last.delta.tool_calls[0].index == 0
    assert last.delta.tool_calls[0].function.arguments == call.function.arguments
    assert not any(event.choices[0].delta.content for event in events)
    answered = [*ASK, whole.message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "Sun."}]
    assert caller.chat.completions.create(model="caller", messages=answered, tools=[WEATHER], max_tokens=3).choices[0].message
    assert caller.chat.completions.create(**settings | {"tool_choice": "none", "max_tokens": 3}).choices[0].message.tool_calls is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "poems", "tools": [WEATHER]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools.0"),
        ({"tools": [{"type": "function", "function": {"name": "two words"}}]}, "tools.0"),
        ({"tools": []}, "tools"),
        ({"tools": [WEATHER] * 129}, "tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "whether"}}}, "tool_choice"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"messages": [*ASK, {"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages.1.tool_calls"),
    ],
)
def test_tools_that_cannot_be(caller: openai.OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        caller.chat.completions.create(**({"model": "caller", "messages": ASK, "max_tokens": 3} | fields))
    assert raised.value.body["param"] == param  # type: ignore[index]


# -- in the small: what comes of a text that a model wrote
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


class Said(Engines):
    """An engine that says a text letter by letter."""

    def __init__(self, text: str):
        self.text = text

    def submit(self, prompt: Any, sampling: Any, grammar: Any = None) -> Stream:
        stream = Stream(len(prompt))
        for letter in self.text:
            stream.put(Piece(letter, 5))
        stream.put(Piece("", finish_reason="stop"))
        return stream

    def close(self) -> None:
        return None


def answer(runs: Any, text: str, stream: bool) -> list[Any]:
    """What a chat about the weather gets when the model says this."""
    run, sent = runs("poems"), []
    generation = GenerationHandler(run, lambda number, reply: sent.append(reply), Said(text))
    generation._state |= {"chat_template": TEMPLATE, "names": {}}
    fields = openai_fields.checked({"model": "m", "messages": ASK, "tools": [WEATHER], "stream": stream}, openai_fields.CHAT)
    fields |= tools.checked(fields["tools"], fields["tool_choice"]) | {"schema": "", "stop": None}
    generation._answer(Question(1, "chat", asked=fields))
    found: list[Reply] = sent
    if not stream:
        return [json.loads(found[0].body)["choices"][0]]
    return [json.loads(reply.body[6:])["choices"][0] for reply in found[:-1]]


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ("Just words, 3 < 4 <tool", "Just words, 3 < 4 <tool", 0),
        (CALL, "", 1),
        (f"Let me see. {CALL}\n{CALL}", "Let me see.", 2),
        ("<tool_call>{broken</tool_call>", "<tool_call>{broken</tool_call>", 0),
        ('<tool_call>["no", "object"]</tool_call>', '<tool_call>["no", "object"]</tool_call>', 0),
        ('<tool_call>{"name": "weather", "parameters": {"city": "</tool_call>"}}', "", 1),
    ],
)
def test_calls_in_what_was_written(runs: Any, text: str, said: str, calls: int) -> None:
    (whole,) = answer(runs, text, stream=False)
    assert (whole["message"]["content"] or "") == said
    assert len(whole["message"].get("tool_calls", [])) == calls
    assert whole["finish_reason"] == ("tool_calls" if calls else "stop")
    events = answer(runs, text, stream=True)
    streamed = "".join(event["delta"].get("content", "") for event in events)
    assert streamed.strip() == said and events[-1]["finish_reason"] == whole["finish_reason"]
    assert [call["function"] for call in events[-1]["delta"].get("tool_calls", [])] == [
        call["function"] for call in whole["message"].get("tool_calls", [])
    ]
