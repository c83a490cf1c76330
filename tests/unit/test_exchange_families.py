"""Random models of every family, made by `transformers`, give the same numbers when read here; and the other way round."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.find import model_config, model_module
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import ModelConfig
from duomo.exchange import hf, naming
from duomo.models import seq2seq

transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 99, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80}
T5 = {"vocab_size": 99, "d_model": 48, "d_ff": 80, "num_layers": 2}
MODERN = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
CASES = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"vocab_size": 99, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "gpt2-relu-untied": ("GPT2LMHeadModel", "GPT2Config",
                         {"vocab_size": 99, "n_embd": 48, "n_layer": 1, "n_head": 2, "n_positions": 32, "n_inner": 56,
                          "activation_function": "relu", "tie_word_embeddings": False}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", MODERN),
    "llama3-stretched": ("LlamaForCausalLM", "LlamaConfig", MODERN | {"rope_scaling": LLAMA3, "rope_theta": 5e5, "rms_norm_eps": 1e-5}),
    "smollm2": ("LlamaForCausalLM", "LlamaConfig", MODERN | {"tie_word_embeddings": True, "rope_theta": 1e5}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", MODERN | {"rope_theta": 1e6}),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", MODERN | {"head_dim": 20}),
    "bert-fill": ("BertForMaskedLM", "BertConfig", SMALL),
    "bert-label": ("BertForSequenceClassification", "BertConfig", SMALL | {"num_labels": 5}),
    "bert-tokens": ("BertForTokenClassification", "BertConfig", SMALL | {"id2label": dict(enumerate("ABCD"))}),
    "roberta-tokens": ("RobertaForTokenClassification", "RobertaConfig",
                       SMALL | {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1, "num_labels": 5}),
    "roberta-fill": ("RobertaForMaskedLM", "RobertaConfig",
                     SMALL | {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5 | {"d_kv": 12, "num_heads": 3}),
    "t5-v1.1": ("T5ForConditionalGeneration", "T5Config",
                T5 | {"d_kv": 10, "num_decoder_layers": 1, "num_heads": 4, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
                      "relative_attention_max_distance": 20}),
}  # fmt: skip


def reference(case: str) -> torch.nn.Module:
    kind, config, settings = CASES[case]
    torch.manual_seed(1)
    made = getattr(transformers, kind)(getattr(transformers, config)(**settings, attn_implementation="eager")).eval()
    with torch.no_grad():
        for value in made.parameters():  # as published, norms and biases are all alike: nothing would be mixed up visibly
            value.add_(torch.randn_like(value) * 0.05)
    return made


def ours(found: Pretrained, size: int = 99) -> torch.nn.Module:
    names = ("source", "target") if found.model == "seq2seq" else ("text",)
    headed = "head.weight" in found.tensors and found.model == "bert"
    head = Head(len(found.tensors["head.weight"]) if headed else size, "row" if headed and found.facts.get("task") != "tag" else "step")
    config = model_config(ModelConfig(found.model, "base", options=found.options))
    made = model_module(found.model).Model(config, {name: Field("tokens", (24,), (size,)) for name in names}, head).eval()
    made.load_state_dict(found.tensors)
    return made


@torch.no_grad()
def difference(theirs: torch.nn.Module, mine: torch.nn.Module) -> float:
    """The largest difference of logits at true positions, over rows of unlike lengths."""
    torch.manual_seed(2)
    tokens, length = torch.randint(3, 99, (3, 24)), torch.tensor([24, 9, 17])
    inside = torch.arange(24) < length.unsqueeze(1)
    tokens = torch.where(inside, tokens, getattr(theirs.config, "pad_token_id", 0) or 0)
    if theirs.config.is_encoder_decoder:
        target = torch.randint(3, 99, (3, 7))
        wanted = theirs(input_ids=tokens, attention_mask=inside.long(), decoder_input_ids=target).logits
        found = mine({"source": tokens, "source.length": length, "target": target, "target.length": torch.full((3,), 7)})
        return float((wanted - found).abs().max())
    wanted = theirs(input_ids=tokens, attention_mask=inside.long()).logits
    found = mine({"text": tokens, "text.length": length})
    assert wanted.shape == found.shape
    apart = (wanted - found).abs()
    return float(apart[inside].max() if apart.ndim == 3 else apart.max())


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(case: str, tmp_path: Path) -> None:
    theirs = reference(case)
    theirs.save_pretrained(tmp_path / "theirs")
    found = hf.read(tmp_path / "theirs")
    mine = ours(found)
    assert difference(theirs, mine) <= 1e-4
    # and back: what we write opens there, and says the same
    assert hf.write(tmp_path / "ours", found) == []
    again, info = type(theirs).from_pretrained(tmp_path / "ours", attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert difference(again.eval(), mine) <= 1e-4
    twice = hf.read(tmp_path / "ours")
    assert (
        twice.facts["labels"] == found.facts["labels"] and twice.options == found.options and twice.tensors.keys() == found.tensors.keys()
    )
    assert all(torch.equal(value, found.tensors[name]) for name, value in twice.tensors.items())


def folder(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    reference("llama").save_pretrained(tmp_path)
    return tmp_path, load_file(tmp_path / "model.safetensors")


def test_missing_and_unknown_weights_are_named(tmp_path: Path) -> None:
    path, tensors = folder(tmp_path)
    tensors["model.layers.7.mystery.weight"] = tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"missing: layers\.1\.mlp\.up_proj\.weight; unknown: layers\.7\.mystery"):
        hf.read(path)


def test_weights_that_do_not_fit_are_named_as_the_file_has_them(tmp_path: Path) -> None:
    path, tensors = folder(tmp_path)
    for change, said in (
        (torch.zeros(48, 96), r"layers\.1\.mlp\.down_proj\.weight has \(48, 96\)"),
        (torch.full((48, 80), torch.nan), "NaN.*down_proj"),
    ):
        save_file(tensors | {"model.layers.1.mlp.down_proj.weight": change}, path / "model.safetensors")
        with pytest.raises(ConfigError, match=said):
            hf.read(path)


def test_of_weights_that_lie_in_two_files_the_index_says_which_count(tmp_path: Path) -> None:
    path, tensors = folder(tmp_path)
    (path / "model.safetensors").unlink()
    names = sorted(tensors)
    save_file({name: tensors[name] for name in names[:9]}, path / "a.safetensors")
    save_file({name: tensors[name] for name in names[9:]} | {names[0]: torch.zeros_like(tensors[names[0]])}, path / "b.safetensors")
    places = {name: "a.safetensors" if place < 9 else "b.safetensors" for place, name in enumerate(names)}
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert all(value.any() for value in hf.read(path).tensors.values())
    index.write_text(json.dumps({"weight_map": [*places]}))
    with pytest.raises(ConfigError, match="weight_map"):
        hf.read(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "lama"}, "llama"),
        ({"hidden_size": 96}, "shapes"),
        ({"hidden_size": -1}, "-1"),
        ({"num_hidden_layers": 10**7}, "1,000"),
        ({"hidden_act": "mish"}, "mish"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "yarn"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor of a model must be a number from 0"),
        ({"rope_scaling": "linear"}, "rope_scaling of a model must be an object"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps of a model must be a number from 0"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps of a model must be a number from 0"),
        ({"attention_dropout": 2}, "from 0 to 1; received 2"),
    ],
)
def test_settings_that_do_not_fit(change: dict, said: str, tmp_path: Path) -> None:
    path, _ = folder(tmp_path)
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(settings | change))
    with pytest.raises(ConfigError, match=said):
        hf.read(path)


def test_pickles_stay_shut(tmp_path: Path) -> None:
    path, _ = folder(tmp_path)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="never opened"):
        hf.read(path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    path, _ = folder(tmp_path)
    (path / "tokenizer.json").write_text("")
    with pytest.raises(ConfigError, match="cannot be read"):
        hf.read(path)
    words = {f"w{number}": number for number in range(120)} | {"[UNK]": 120}
    Tokenizer(WordLevel(words, "[UNK]")).save(str(path / "tokenizer.json"))
    with pytest.raises(ConfigError, match="121 tokens, the model 99"):
        hf.read(path)


def test_tokenizers_are_kept(tmp_path: Path) -> None:
    """Old vocabulary files read as the tokenizer that they belong to, and a written folder opens with its template and special tokens."""
    path, _ = folder(tmp_path)
    tokens = ["<s>", "</s>", *(chr(code) for code in range(33, 100)), "Ġ", "ab", "Ġab"]
    (path / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(dict.fromkeys(tokens))}))
    (path / "merges.txt").write_text("#version: 0.2\na b\nĠ ab\n")
    names = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ messages[0].content }}"}
    (path / "tokenizer_config.json").write_text(json.dumps(names))
    found = hf.read(path)
    text = found.learned["text"]
    assert text["special"]["begin"] == 0 and text["special"]["end"] == 1 and text["chat_template"] == names["chat_template"]
    assert text["longest"] == 64
    hf.write(tmp_path / "out", found, "bf16")
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert opened("ab ab").input_ids == text_kind.encode_text(text, ["ab ab"])[0].tolist()
    assert opened.eos_token == "</s>" and opened.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False) == "ab"
    again = hf.read(tmp_path / "out")
    assert again.learned == found.learned
    assert torch.equal(again.tensors["embedding.weight"], found.tensors["embedding.weight"].bfloat16().float())


def test_a_tokenizer_that_fills_up_and_cuts_does_neither_here(tmp_path: Path) -> None:
    """Sentence encoders are published with a tokenizer.json that pads every text to 128 tokens."""
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "cat": 4, "mat": 5}
    made = Tokenizer(WordLevel(words, "[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_padding(length=128)
    made.enable_truncation(4)
    state = text_kind.given(made.to_str())
    assert state["frame"] == [[2], [3]]
    assert text_kind.framed(state, text_kind.encode_text(state, ["cat mat cat cat cat"])[0]).tolist() == [2, 4, 5, 4, 4, 4, 3]


def test_a_copying_transformer_is_refused_with_what_makes_it_a_t5() -> None:
    """T5 cannot point at the source: written without its copier the model would say something else."""
    options = {**asdict(seq2seq.T5), "heads": 8}
    assert naming.family_of("seq2seq", options).name == "t5"
    with pytest.raises(ConfigError, match=r"model\.options\.copies=false$"):
        naming.family_of("seq2seq", {**options, "copies": True})
