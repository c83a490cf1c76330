"""`duomo convert`: the gate lets through what says the same and nothing else; runs come out of other forms."""

import json
from pathlib import Path

import pytest
import torch
from sklearn import datasets
from torch import nn

import duomo
from duomo.cli import main
from duomo.core.errors import ConfigError, DataError, RunError
from duomo.core.pretrained import Pretrained
from duomo.data import sources
from duomo.exchange import gguf_models, hf, parity, runs
from duomo.exchange.convert import convert
from duomo.exchange.opening import open_pretrained

RECIPE = {"encode": {"longest_text": 32, "vocabulary": 300}, "task": {"sampling": {"new_tokens": 6}},
          "model": {"name": "gpt", "size": "nano", "options": {"width": 32, "depth": 1, "heads": 2}},
          "train": {"steps": 3, "batch_size": 8, "exact": True}}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.txt").write_text(datasets.load_wine().DESCR + datasets.load_breast_cancer().DESCR, encoding="utf-8")
    return duomo.train(folder / "text.txt", RECIPE, out=folder / "run").path


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_a_run_there_and_back(run: Path, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, back = tmp_path / "new" / f"model.{to}", tmp_path / "back"
    assert main(["convert", str(run), "--to", to, "--type", "f32", "-o", str(there)]) == 0
    assert "standard deviations" in capsys.readouterr().err
    assert convert(there, "duomo", back)["distance"] == 0
    kept = duomo.load(run).model.state_dict()  # the counts beside the network stay behind
    assert all(torch.equal(value, kept[name]) for name, value in duomo.load(back).model.state_dict().items())
    assert len(duomo.load(back).predict(["The wine", "猫坐"])) == 2
    again = duomo.train(run.parent / "text.txt", {"adapt": {"start": str(there)}, "train": RECIPE["train"]}, out=tmp_path / "again")
    assert again.summary()["task"] == "generate"


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0"])
def test_fewer_bits_pass_within_their_tolerance(run: Path, kind: str, tmp_path: Path) -> None:
    found = convert(run, "gguf", tmp_path / "m.gguf", kind)
    assert 0 < found["distance"] <= parity.TOLERANCE[kind]


def test_what_says_something_else_is_not_kept(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Controls: halves of a head in the other order, a tokenizer that splits differently, a template that renders differently."""
    monkeypatch.setattr(gguf_models, "_paired", lambda value, *rest: value)
    with pytest.raises(RunError, match=r"attention\.qkv\.weight is further"):
        convert(run, "gguf", tmp_path / "m.gguf")
    monkeypatch.setattr(parity, "check_weights", lambda *rest: None)
    monkeypatch.setattr(gguf_models, "_paired", lambda value, *rest: value.flip(-1))
    with pytest.raises(RunError, match="what the model said"):
        convert(run, "gguf", tmp_path / "m.gguf")
    monkeypatch.undo()
    real = hf.read

    def lower(path: Path) -> Pretrained:
        found = real(path)
        text = dict(found.learned["text"])
        made = json.loads(text["json"])
        made["normalizer"] = {"type": "Lowercase"}
        return Pretrained(found.model, found.options, found.tensors, {"text": text | {"json": json.dumps(made)}}, found.facts, found.source)

    monkeypatch.setattr("duomo.exchange.opening.OPENERS", ((runs.knows, runs.read), (hf.knows, lower)))
    with pytest.raises(RunError, match="capital of France"):
        convert(run, "hf", tmp_path / "hf")
    assert not list(tmp_path.iterdir())
    one = {**runs.read(run).learned["text"], "chat_template": "{{ messages[0].content }}"}
    with pytest.raises(RunError, match="template"):
        parity.check_text(one, one | {"chat_template": "{{ messages[1].content }}"})


def test_a_run_whose_weights_moved_is_not_converted(run: Path) -> None:
    kept = json.loads((run / "golden.json").read_text())["parity"]
    model = duomo.load(run).model
    assert parity.check_record(model, ["tokens"], kept, "run") < 1e-4
    with torch.no_grad():
        nn.init.normal_(model.blocks[0].fall.weight, std=0.05)
    with pytest.raises(RunError, match="when it was trained"):
        parity.check_record(model, ["tokens"], kept, "run")


def test_wrong_wishes(run: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    for to, out, kind, said in [("gguff", "a", "", "gguf"), ("gguf", "there", "", "exists"), ("gguf", "a", "q8", "q8_0"),
                                ("hf", "a", "q8_0", "f16"), ("duomo", "a", "f16", "--type")]:  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            convert(run, to, tmp_path / out, kind)
    with pytest.raises(ConfigError, match="none of them"):
        open_pretrained(tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_an_output_that_has_no_place(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="Choose another with -o"):
        convert(run, "hf", tmp_path / "file" / "model")
    with pytest.raises(ConfigError, match="must exist to be opened"):
        convert(tmp_path / "none", "hf", tmp_path / "new" / "model")
    assert not (tmp_path / "new").exists()


LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
         "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 16,
         "rms_norm_eps": 1e-5, "hidden_act": "silu"}  # fmt: skip
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 269060552\n"


@pytest.mark.parametrize(
    ("files", "named", "said"),
    [
        ({"config.json": "{}", "model.safetensors": POINTER}, "", "git lfs pull"),
        ({"model.gguf": POINTER}, "model.gguf", "git lfs pull"),
        ({"config.json": "{}", ".cache/x.safetensors.incomplete": "half"}, "", r"not finished: \.cache/x\.safetensors\.incomplete"),
        ({"config.json": "{}", "pytorch_model.bin": "PK"}, "", r"pytorch_model\.bin are pickles"),
        ({"config.json": "{}"}, "", "Copy or download them too"),
        ({"config.json": "{}", "model.safetensors": "cut off"}, "", "download it again"),
        ({"Q4.gguf": "GGUF"}, "", "Did you mean .*Q4.gguf"),
        ({"snapshots/1/config.json": "{}"}, "", "Did you mean .*snapshots/1"),
        ({"config.json": "{}", "notes.txt": "words"}, "notes.txt", "Did you mean .*model'"),
        ({}, "org/name", "nothing is downloaded"),
    ],
)
def test_what_is_no_whole_model_is_told_with_what_mends_it(files: dict[str, str], named: str, said: str, tmp_path: Path) -> None:
    """Folders as half a download, a clone without its large files or a cache leaves them."""
    for name, text in files.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(text)
    if "config.json" in files:
        (tmp_path / "model" / "config.json").write_text(json.dumps(LLAMA))
    with pytest.raises(ConfigError, match=said):
        open_pretrained(tmp_path / "model" / named)


def test_a_model_of_other_tools_is_no_run_and_data_may_be_pointers(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"duomo convert .*hf --to duomo -o runs/hf"):
        duomo.load(tmp_path / "hf")
    (tmp_path / "rows.csv").write_text(POINTER)
    with pytest.raises(DataError, match="git lfs pull"):
        sources.read(tmp_path / "rows.csv")
