"""OpenAI's own client against our routes: what programs that know it will do."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.serve.harness import Server

from duomo.core.errors import ConfigError
from duomo.core.kinds import text as text_kind
from duomo.serve import limits, openai_fields

ASK = [{"role": "system", "content": "短"}, {"role": "user", "content": "春眠不觉晓"}]


@pytest.fixture(scope="module")
def ai(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=60)


def test_models(ai: openai.OpenAI) -> None:
    assert {"clinic", "poems"} <= {model.id for model in ai.models.list()}
    assert ai.models.retrieve("poems").owned_by == "duomo"
    with pytest.raises(openai.NotFoundError, match="Did you mean 'poems'"):
        ai.models.retrieve("poem")


def test_chat_whole_and_streamed(ai: openai.OpenAI) -> None:
    settings = {"model": "poems", "messages": ASK, "max_completion_tokens": 9, "seed": 4}
    whole = ai.chat.completions.create(**settings)
    events = list(ai.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
    said = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert said == whole.choices[0].message.content
    assert events[-1].usage == whole.usage and whole.usage.completion_tokens <= 9
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.choices[0].finish_reason in ("length", "stop")
    assert [event.choices[0].finish_reason for event in events if event.choices][-1] == whole.choices[0].finish_reason


def test_a_seed_settles_the_answer_whoever_asks_beside(ai: openai.OpenAI) -> None:
    def ask(seed: int) -> list[str]:
        answer = ai.completions.create(model="poems", prompt=["春", "白日"], n=2, seed=seed, max_tokens=8, temperature=1.2)
        return [choice.text for choice in answer.choices]

    assert ask(3) == ask(3) != ask(4)
    assert len(ask(3)) == 4


def test_logprobs(ai: openai.OpenAI) -> None:
    chat = ai.chat.completions.create(model="poems", messages=ASK, max_tokens=5, logprobs=True, top_logprobs=3, temperature=0)
    tokens = chat.choices[0].logprobs.content
    assert tokens and all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in tokens)
    assert tokens[0].logprob == max(one.logprob for one in tokens[0].top_logprobs)
    text = ai.completions.create(model="poems", prompt="春", max_tokens=5, logprobs=2, temperature=0)
    found = text.choices[0].logprobs
    assert len(found.tokens) == len(found.token_logprobs) == len(found.text_offset)


@pytest.mark.parametrize("stream", [False, True])
def test_what_ends_an_answer_is_none_of_its_tokens(ai: openai.OpenAI, runs: Any, stream: bool) -> None:
    end = str(text_kind.special(runs("poems").task.tokenizer, "end"))
    asked: Any = {"model": "poems", "messages": ASK, "logprobs": True, "logit_bias": {end: 100}, "seed": 1}
    if stream:
        *events, usage = ai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        told, usage = [one for event in events if event.choices[0].logprobs for one in event.choices[0].logprobs.content], usage.usage
    else:
        whole = ai.chat.completions.create(**asked)
        told, usage = whole.choices[0].logprobs.content, whole.usage
    assert len(told) == usage.completion_tokens == 0


@pytest.mark.parametrize("echo", [False, True])
def test_tokens_begin_at_the_same_places_streamed_or_not(ai: openai.OpenAI, echo: bool) -> None:
    """Also where several tokens make a character, and where a stop text is waited for."""
    for seed in range(4):
        settings = {
            "model": "poems",
            "prompt": "春眠",
            "max_tokens": 12,
            "logprobs": 1,
            "seed": seed,
            "temperature": 2,
            "stop": ["。，"],
            "echo": echo,
        }
        whole = ai.completions.create(**settings).choices[0]
        parts = [event.choices[0].logprobs for event in ai.completions.create(**settings, stream=True)]
        streamed = [place for part in parts if part for place in part.text_offset]
        starts = whole.logprobs.text_offset
        assert streamed == starts == sorted(starts) and starts[-1] <= len(whole.text), seed


def test_stop_texts(ai: openai.OpenAI) -> None:
    free = ai.completions.create(model="poems", prompt="春", max_tokens=12, seed=2).choices[0].text
    stop = next(letter for letter in free if letter != "\ufffd")
    held = ai.completions.create(model="poems", prompt="春", max_tokens=12, seed=2, stop=stop).choices[0]
    assert held.text == free[: free.index(stop)] and held.finish_reason == "stop"


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, openai.BadRequestError, "messages"),
        ({"model": "nobody"}, openai.NotFoundError, "model"),
        ({"model": "clinic"}, openai.NotFoundError, "model"),
        ({"temperature": 2.1}, openai.BadRequestError, "temperature"),
        ({"top_p": -0.1}, openai.BadRequestError, "top_p"),
        ({"n": limits.MOST_CHOICES + 1}, openai.BadRequestError, "n"),
        ({"stop": ["x"] * (limits.MOST_STOPS + 1)}, openai.BadRequestError, "stop"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, openai.BadRequestError, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 3}]}, openai.BadRequestError, "messages.0.content"),
        ({"extra_body": {"temprature": 1}}, openai.BadRequestError, "temprature"),
        ({"frequency_penalty": 2.1}, openai.BadRequestError, "frequency_penalty"),
        ({"logit_bias": {"5": 101}}, openai.BadRequestError, "logit_bias"),
        ({"logit_bias": {"x": 1}}, openai.BadRequestError, "logit_bias"),
        ({"extra_body": {"echo": True}}, openai.BadRequestError, "echo"),
        ({"response_format": {"type": "picture"}}, openai.BadRequestError, "response_format"),
    ],
)
def test_bad_requests_in_openais_form(ai: openai.OpenAI, fields: dict, kind: type, param: str) -> None:
    with pytest.raises(kind) as raised:
        ai.chat.completions.create(**({"model": "poems", "messages": ASK, "max_tokens": 4} | fields))
    assert raised.value.body["param"] == param and raised.value.body["id"]


def test_biases_and_penalties(ai: openai.OpenAI) -> None:
    calm = {"model": "poems", "prompt": "春", "max_tokens": 12, "temperature": 0}
    only = ai.completions.create(**calm, logit_bias={"40": 100}, extra_body={"store": False, "metadata": {"for": "a test"}}).choices[0].text
    assert len(set(only)) == 1 and len(only) == 12
    fresh = ai.completions.create(**calm, logit_bias={"40": 100}, frequency_penalty=2).choices[0].text
    assert fresh == only  # two for each time is little against a hundred
    fresh = ai.completions.create(**calm, logit_bias={"40": 20, "41": 19.5}, presence_penalty=2).choices[0].text
    assert len(set(fresh)) > 1
    with pytest.raises(openai.BadRequestError, match="Tokens must lie between"):
        ai.completions.create(**calm, logit_bias={"999999": 1})


def test_an_answer_by_schema(ai: openai.OpenAI) -> None:
    mood = {"type": "object", "properties": {"mood": {"enum": ["glad", "sad"]}}, "required": ["mood"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "mood", "schema": mood}}
    for seed in range(3):
        answer = ai.chat.completions.create(model="poems", messages=ASK, max_tokens=40, response_format=form, seed=seed, temperature=1)
        assert json.loads(answer.choices[0].message.content)["mood"] in ("glad", "sad") and answer.choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError):
        wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
        ai.chat.completions.create(model="poems", messages=ASK, response_format=wrong)


def test_a_client_that_hangs_up(ai: openai.OpenAI, server: Server) -> None:
    with ai.chat.completions.create(model="poems", messages=ASK, max_tokens=200, stream=True) as events:
        next(iter(events))
    assert ai.completions.create(model="poems", prompt="春", max_tokens=2).choices


def test_what_nobody_can_do(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        ai.audio.speech.create(model="poems", input="x", voice="alloy")
    with pytest.raises(openai.NotFoundError):
        ai.embeddings.create(model="poems", input="x")
    with pytest.raises(openai.NotFoundError):
        ai.audio.transcriptions.create(model="clinic", file=("a.wav", b"RIFF"))


def test_transcriptions(runs, tmp_path: Path) -> None:
    sound = next(runs.source("words").rglob("*.ogg"))
    made = Server([runs("words").path], "--quiet", log=tmp_path / "log")
    try:
        ai = openai.OpenAI(base_url=made.url + "/v1", api_key="none", max_retries=0)
        expected = runs("words").predict([{"audio": sound.read_bytes()}])[0]["prediction"]
        assert ai.audio.transcriptions.create(model="words", file=sound).text == expected
        assert ai.audio.transcriptions.create(model="words", file=sound, response_format="text").strip() == expected
        with pytest.raises(openai.BadRequestError) as raised:
            ai.audio.transcriptions.create(model="words", file=("a.wav", b"no sound"))
        assert raised.value.param == "file" and raised.value.type == "invalid_request_error"
        told = ai.audio.transcriptions.create(
            model="words", file=sound, response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
        assert told.text == expected and " ".join(one.word for one in told.words) == expected
        assert " ".join(one.text for one in told.segments) == expected
        assert all(0 <= one.start < one.end <= told.duration for one in (*told.words, *told.segments))
        for form, head in (("srt", ""), ("vtt", "WEBVTT")):
            text = ai.audio.transcriptions.create(model="words", file=sound, response_format=form)
            assert text.startswith(head) and text.count("-->") == len(told.segments)
            runs("words").predict_file(str(sound), str(tmp_path / "new" / f"said.{form}"))
            assert (tmp_path / "new" / f"said.{form}").read_text(encoding="utf-8") + "\n" == text
        with pytest.raises(ConfigError, match="one recording"):
            runs("words").predict_file([str(sound), str(sound)], str(tmp_path / "said.srt"))
        with pytest.raises(openai.BadRequestError):
            ai.audio.transcriptions.create(model="words", file=sound, response_format="diarized_json")
    finally:
        made.stop()


@pytest.mark.parametrize("route", openai_fields.ROUTES)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"model": 3}', b"\xff", b"[" * 99])
@pytest.mark.parametrize("upload", [False, True])
def test_whatever_is_wrong_is_said_as_openai_says_it(client: httpx.Client, route: str, body: bytes, upload: bool) -> None:
    kind = "multipart/form-data; boundary=x" if upload else "application/json"
    answer = client.post(route, content=body, headers={"content-type": kind})
    assert answer.status_code == (400 if upload == (openai_fields.ROUTES[route][2] != "application/json") else 415)
    error = answer.json()["error"]
    assert set(error) == {"id", "message", "type", "param", "code"} and error["type"] == "invalid_request_error" and error["message"]


@pytest.mark.parametrize(("route", "field"), [("chat/completions", "messages"), ("completions", "prompt"), ("completions", "stop")])
def test_half_a_character(client: httpx.Client, route: str, field: str) -> None:
    """JSON can write half of a surrogate pair; no tokenizer reads one."""
    half = r'{"role": "user", "content": "\ud800"}' if field == "messages" else r'"\ud800"'
    body = '{"model": "poems", "prompt": "x", ' if field == "stop" else '{"model": "poems", '
    answer = client.post(f"/v1/{route}", content=f'{body}"{field}": {"[" + half + "]"}}}', headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == field, answer.text


def test_by_curl(server: Server) -> None:
    body = json.dumps({"model": "poems", "messages": ASK, "max_tokens": 3, "stream": True})
    command = ["curl", "-sN", f"{server.url}/v1/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip().split("\n\n")
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
    assert json.loads(lines[0][6:])["object"] == "chat.completion.chunk"


def test_the_document_names_what_can_be_asked(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    chat = paths["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert chat["properties"]["model"]["enum"] == ["poems"] and chat["required"] == ["model", "messages"]
    assert {name: chat["properties"][name]["maxItems"] for name in ("messages", "tools", "stop")} == {
        "messages": limits.MOST_MESSAGES, "tools": limits.MOST_TOOLS, "stop": limits.MOST_STOPS}  # fmt: skip
    assert "/v1/embeddings" not in paths


@pytest.mark.parametrize(("name", "rule"), [(n, r) for n, r in openai_fields.CHAT.items() if "number" in r.types or "integer" in r.types])
def test_numbers_at_their_edge(name: str, rule: openai_fields.Rule) -> None:
    base = {"model": "m", "messages": ASK}
    assert rule.low is not None and rule.high is not None
    for value in (rule.low, rule.high):
        assert openai_fields.checked({**base, name: int(value) if "integer" in rule.types else value}, openai_fields.CHAT)[name] == value
    for value in (rule.low - 1, rule.high + 1):
        with pytest.raises(openai_fields.Unfit):
            openai_fields.checked({**base, name: int(value) if "integer" in rule.types else value}, openai_fields.CHAT)
