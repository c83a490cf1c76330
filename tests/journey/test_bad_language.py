"""Bad input of language models, at the command line: one clear sentence each, nothing lost."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from duomo.core.contract import Field, Head
from duomo.core.find import model_config, model_module
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import ModelConfig
from duomo.exchange import gguf_models, hf

QUICK = ("--steps", "2", "--exact", "--out", "out")
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TEXT = "\n\n".join(f"This is the paragraph number {n}, and it speaks of the weather on day {n * 7}." for n in range(200))
TALKS = [{"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": f"{n} it is"}]} for n in range(30)]
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small Llama, as Hugging Face folder `hf` and as model.gguf, with a context of 64 tokens."""
    folder = tmp_path_factory.mktemp("checkpoint")
    signs = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({sign: number for number, sign in enumerate(signs)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = text_kind.given(made.to_str(), {"begin": "<s>", "end": "</s>"}, 0, 64)
    torch.manual_seed(0)
    options = {"width": 32, "depth": 1, "heads": 2, "hidden": 32, "dropout": 0.0}
    config, size = model_config(ModelConfig("gpt", "base", options=options)), int(text["size"])
    model = model_module("gpt").Model(config, {"text": Field("tokens", (64,), (size,))}, Head(size, "step"))
    found = Pretrained("gpt", dict(vars(config)), model.state_dict(), {"text": text})
    gguf_models.write(folder / "model.gguf", found, "f32")
    hf.write(folder / "hf", found)
    return folder


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return apply


def more_words(folder: Path) -> None:
    found = json.loads((folder / "tokenizer.json").read_text())
    found["model"]["vocab"] |= {f"word{number}": 1000 + number for number in range(9)}
    (folder / "tokenizer.json").write_text(json.dumps(found))


def template(folder: Path) -> None:
    found = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(found | {"chat_template": ENDLESS}))


CASES = {
    "a tokenizer of another model": (more_words, "generate", (), 2, "that of hf has 267 tokens, the model 258"),
    "a missing tensor": (
        weights(lambda tensors: tensors.pop("model.layers.0.mlp.up_proj.weight")), "generate", (), 2,
        "missing: layers.0.mlp.up_proj.weight",
    ),
    "an extra tensor": (
        weights(lambda tensors: tensors.update({"model.layers.7.odd.weight": torch.zeros(2, 2)})), "generate", (), 2,
        "unknown: layers.7.odd.weight",
    ),
    "a template without end": (template, "chat", (), 3, "A chat template must be rendered within"),
    "a decoder for gaps": (lambda folder: None, "fill", (), 2, "reads both sides of a gap; the model gpt reads only what stands before it"),
    **{
        f"a context beyond the model's, {task}": (
            lambda folder: None, task, ("--longest-text", "4096"), 2,
            "The context may not be longer than the model's, 64 tokens; received 4096",
        )
        for task in ("generate", "chat", "classify")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_checkpoints_that_do_not_fit(command: Command, checkpoint: Path, case: str) -> None:
    change, task, flags, code, words = CASES[case]
    shutil.copytree(checkpoint / "hf", "hf")
    change(Path("hf"))
    Path("data.txt").write_text(TEXT)
    Path("data.jsonl").write_text("\n".join(map(json.dumps, TALKS)))
    Path("data.csv").write_text("text,label\n" + "".join(f"so it was on day {n},{'ab'[n % 2]}\n" for n in range(60)))
    source = {"chat": "data.jsonl", "classify": "data.csv"}.get(task, "data.txt")
    said = command("train", source, "--task", task, "--from", "hf", *flags, *QUICK, *(("--target", "label") if task == "classify" else ()))
    refused(said, code, words)


def refused(said: Any, code: int, words: str) -> None:
    """One sentence of duomo's own, and no run that looks finished."""
    assert (said.code, words in said.err) == (code, True), said
    assert said.err.count("duomo: ") == 1 and "Traceback" not in said.err
    assert not Path("out/run.json").exists()


@pytest.mark.parametrize(
    ("lie", "words"),
    [("count", "1,099,511,627,776"), ("size", "'token_embd.weight' of 1,134,695,999,864,832 bytes"), ("end", "does not lie in the file")],
)
def test_a_gguf_with_lying_sizes(command: Command, checkpoint: Path, lie: str, words: str) -> None:
    raw = bytearray((checkpoint / "model.gguf").read_bytes())
    if lie == "end":
        raw = raw[:-1000]
    else:
        at = 8 if lie == "count" else raw.find(b"token_embd.weight") + len(b"token_embd.weight") + 4
        raw[at : at + 8] = struct.pack("<Q", 2**40)
    Path("lying.gguf").write_bytes(raw)
    Path("text.txt").write_text(TEXT)
    refused(command("train", "text.txt", "--task", "generate", "--from", "lying.gguf", *QUICK), 2, words)
    refused(command("convert", "lying.gguf", "--to", "hf", "--out", "out"), 2, words)


def test_texts_that_hold_too_little(command: Command) -> None:
    talks = json.loads(json.dumps(TALKS))
    del talks[17]["messages"][1]["role"]
    Path("chats.jsonl").write_text("\n".join(map(json.dumps, talks)))
    Path("empty.tsv").write_text("en\tzh\n" + "\n".join(f"the number {n}\t" for n in range(60)))
    Path("one.txt").write_text("a")
    Path("wide.txt").write_text("好")
    for words, code, answer in (
        (("chats.jsonl", "--task", "chat", *QUICK), 3, "A message needs a role; message 2 of row 18 has none"),
        (("empty.tsv", "--task", "translate", "--source", "en", "--target", "zh", *QUICK), 3, "Pairs need a text on both sides"),
        (("one.txt",), 3, "longer text"),
        (("wide.txt",), 3, "longer text"),
        (("one.txt", "--task", "fill"), 3, "longer text"),
        (("one.txt", "--languages", "zh", "en"), 2, "joined by commas (zh,en)"),
    ):
        refused(command("train", *words), code, answer)


def test_questions_that_cannot_be_answered(command: Command, runs) -> None:
    """A prompt that fills the context, and a text without a gap where gaps are filled."""
    Path("text.txt").write_text(TEXT)
    tiny = ("--longest-text", "32", "--set", "model.options={width=32,depth=1,heads=2}", *QUICK)
    assert command("train", "text.txt", "--task", "fill", *tiny).code == 0
    for run, words, answer in (
        (runs("poems").path, "春" * 900, "A text must fit into what the model reads, 256 tokens"),
        ("out", "the weather on day 7", "A text to fill must have a gap; that of row 0 has none. Write [MASK]"),
    ):
        said = command("predict", run, "--text", words)
        assert (said.code, answer in said.err, said.out) == (3, True, ""), said
    assert "gaps: [[{" in command("predict", "out", "--text", "the [MASK] on day 7").out
