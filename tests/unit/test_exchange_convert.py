"""`duomo convert`: the gate lets through what says the same and nothing else; runs come out of other forms."""

import json
from pathlib import Path

import pytest
import torch
from sklearn import datasets
from torch import nn

import duomo
from duomo.cli import main
from duomo.core.errors import ConfigError, RunError
from duomo.core.pretrained import Pretrained
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
