"""Pretraining, fine-tuning and chat as a user types them, on little models; and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer, load_wine

Command = Callable[..., Any]
QUICK = ("--steps", "6", "--batch-size", "8", "--exact")


@pytest.fixture
def stories(tmp_path: Path) -> str:
    text = load_breast_cancer().DESCR + load_wine().DESCR
    (tmp_path / "stories.txt").write_text(text * 2)
    return "stories.txt"


@pytest.fixture
def chats(tmp_path: Path) -> str:
    sums = [(a, b) for a in range(8) for b in range(8)]
    rows = [[{"role": "user", "content": f"What is {a} plus {b}?"}, {"role": "assistant", "content": f"{a + b}."}] for a, b in sums]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return "chats.jsonl"


def test_what_was_pretrained_is_fine_tuned(command: Command, stories: str, tmp_path: Path) -> None:
    small = ("--model", "bert", "--size", "small", "--longest-text", "32")
    assert command("train", stories, "--task", "fill", *small, *QUICK, "--out", "runs/fill").code == 0
    said = command("predict", "runs/fill", "--text", "The <mask> of the data.", "--json")
    answer = json.loads(said.out)
    assert len(answer["gaps"]) == 1 and len(answer["gaps"][0]) == 5 and answer["prediction"].endswith("of the data.")
    lines = [line for line in load_breast_cancer().DESCR.splitlines() if len(line) > 20][:40]
    rows = "".join(f'"{line.replace(chr(34), "")}",{"long" if len(line) > 50 else "short"}\n' for line in lines)
    (tmp_path / "lines.csv").write_text("line,label\n" + rows)
    tune = ("train", "lines.csv", "--target", "label", "--from", "runs/fill", *QUICK, "--set", "data.kind={line='text'}")
    found = command(*tune, "--out", "runs/tuned")
    assert found.code == 0 and "Fine-tuning all weights" in found.err and "new: head.weight, head.bias" in found.err, found.err
    found = command(*tune, "--out", "runs/lora", "--lora", "--freeze", "places")
    assert found.code == 0 and "low-rank changes of rank 8" in found.err
    cases = {"Leave --tokenizer": ("--tokenizer", "bpe"), "Leave it out": ("--model", "mlp"),
             "Did you mean 'blocks'": ("--freeze", "bloks"), "Did you mean 'qkv'": ("--lora", "--lora-targets", "qvk")}  # fmt: skip
    for answer, words in cases.items():
        refused = command(*tune, "--out", "runs/refused", *words)
        assert refused.code == 2 and answer in refused.err, refused.err


def test_chat_from_nothing_and_from_a_run(command: Command, chats: str, stories: str) -> None:
    nano = ("--model", "gpt", "--size", "nano", *QUICK, "--set", "task.sampling.new_tokens=4")
    found = command("train", chats, *nano, "--out", "runs/chat")
    assert found.code == 0 and "Task: chat" in found.err and "⟦1.<|im_end|>⟧" in found.err, found.err
    assert isinstance(json.loads(command("predict", "runs/chat", "--text", "What is 1 plus 1?", "--json").out)["prediction"], str)
    asked = json.dumps({"messages": [{"role": "user", "content": "What is 1 plus 1?"}]})
    assert command("predict", "runs/chat", "--row", asked).code == 0
    assert command("train", stories, "--task", "generate", *nano, "--longest-text", "128", "--out", "runs/base").code == 0
    tune = ("train", chats, "--from", "runs/base", *QUICK, "--set", "task.sampling.new_tokens=4")
    found = command(*tune, "--lora", "--out", "runs/tuned")
    assert found.code == 0 and "Assistant: ⟦" in found.err, found.err
    card = json.loads(Path("runs/tuned/scorecard.json").read_text())
    shown = [view for view in card["views"] if view["kind"] == "texts"]
    assert len(shown[0]["data"]["items"]) == 20 and card["facts"]["trained"] < 0.1 * card["facts"]["parameters"]
    refused = command(*tune, "--longest-text", "500", "--out", "runs/refused")
    assert refused.code == 2 and "128" in refused.err


def test_what_is_refused(command: Command, chats: str, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a")
    for task in ("fill", "generate", "chat"):
        said = command("train", "one.txt", "--task", task)
        assert said.code == 3 and len(said.err.strip().splitlines()[-1]) < 250, said.err
    rows = Path(chats).read_text().splitlines()
    Path("wrong.jsonl").write_text("\n".join([*rows[:4], json.dumps({"messages": [{"content": "Hi"}]}), *rows[4:]]))
    said = command("train", "wrong.jsonl")
    assert said.code == 3 and "message 1 of row 5" in said.err
    said = command("train", chats, "--lora")
    assert said.code == 2 and "--from" in said.err
