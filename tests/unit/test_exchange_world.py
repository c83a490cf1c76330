"""Folders as the world has them: adapters, vocabularies of before tokenizer.json, families that are built like others."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.test_exchange_families import MODERN, SMALL, T5, difference, ours
from tokenizers import Tokenizer

from duomo.core.errors import ConfigError
from duomo.core.kinds import text as text_kind
from duomo.exchange import hf, pieces, vocabularies
from duomo.exchange.opening import go_on_from

transformers = pytest.importorskip("transformers")

ROBERTA = SMALL | {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
ALIKE = {
    "xlm-roberta": ("XLMRobertaForMaskedLM", "XLMRobertaConfig", ROBERTA),
    "mistral": ("MistralForCausalLM", "MistralConfig", MODERN | {"sliding_window": None}),
    "mt5": ("MT5ForConditionalGeneration", "MT5Config", T5 | {"d_kv": 12, "num_heads": 4}),
}


WORDS = {word: place for place, word in enumerate(("?", "a", "b", "c", "d", "e", "f"))}
ENDS = [{"id": WORDS[word], "content": word, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        for word in "ef"]  # fmt: skip
PLAIN = json.dumps({"version": "1.0", "added_tokens": ENDS, "pre_tokenizer": {"type": "WhitespaceSplit"},
                    "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "?"}})  # fmt: skip


def made(kind: str, config: str, settings: dict) -> torch.nn.Module:
    torch.manual_seed(3)
    return getattr(transformers, kind)(getattr(transformers, config)(**settings, attn_implementation="eager")).eval()


@pytest.mark.parametrize("name", ALIKE)
def test_families_that_are_built_like_others(name: str, tmp_path: Path) -> None:
    theirs = made(*ALIKE[name])
    theirs.save_pretrained(tmp_path)
    assert difference(theirs, ours(hf.read(tmp_path))) <= 1e-4


def test_a_window_that_slides_is_refused(tmp_path: Path) -> None:
    made("MistralForCausalLM", "MistralConfig", MODERN | {"sliding_window": 16}).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="sliding_window"):
        hf.read(tmp_path)


# -- what ends a text
def test_all_that_ends_a_text_does(tmp_path: Path) -> None:
    """A list in generation_config.json, as Llama 3 and Qwen have it; and none, which a family's own number must not stand in for."""
    made("LlamaForCausalLM", "LlamaConfig", MODERN).save_pretrained(tmp_path / "a")
    text = Tokenizer.from_str(PLAIN)
    text.save(str(tmp_path / "a" / "tokenizer.json"))
    (tmp_path / "a" / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 6, 2, 5000]}))
    found = hf.read(tmp_path / "a")
    assert text_kind.ends(found.learned["text"]) == {5, 6}
    hf.write(tmp_path / "b", found)
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "b").generation_config.eos_token_id == [6, 5]
    for name in ("config.json", "generation_config.json"):
        told = json.loads((tmp_path / "a" / name).read_text())
        (tmp_path / "a" / name).write_text(json.dumps(told | {"eos_token_id": None}))
    hf.write(tmp_path / "c", hf.read(tmp_path / "a"))
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "c").generation_config.eos_token_id is None


# -- adapters
def adapter(path: Path, names: dict[str, tuple[int, int]], **settings: object) -> dict[str, torch.Tensor]:
    """An adapter folder as PEFT writes it; {name: change} that it stands for, unscaled."""
    path.mkdir()
    torch.manual_seed(4)
    tensors, changes = {}, {}
    for name, (inside, out) in names.items():
        a, b = torch.randn(2, inside) * 0.1, torch.randn(out, 2) * 0.1
        tensors |= {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
        changes[name] = b @ a
    save_file(tensors, path / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "base_model_name_or_path": "base", "fan_in_fan_out": False} | settings
    (path / "adapter_config.json").write_text(json.dumps(told))
    return changes


def test_an_adapter_is_merged_into_the_model_beside_it(tmp_path: Path) -> None:
    theirs = made("LlamaForCausalLM", "LlamaConfig", MODERN)
    theirs.save_pretrained(tmp_path / "base")
    names = {"model.layers.0.self_attn.q_proj": (48, 48), "model.layers.1.mlp.down_proj": (80, 48)}
    changes = adapter(tmp_path / "lora", names, base_model_name_or_path="someone/base", alpha_pattern={"down_proj": 4})
    for (name, change), scale in zip(changes.items(), (3.0, 2.0), strict=True):
        theirs.get_submodule(name).weight.data += scale * change
    assert difference(theirs, ours(hf.read(tmp_path / "lora"))) <= 1e-4


def test_an_adapter_for_weights_that_lie_turned(tmp_path: Path) -> None:
    theirs = made("GPT2LMHeadModel", "GPT2Config", {"vocab_size": 99, "n_embd": 48, "n_layer": 1, "n_head": 4, "n_positions": 64})
    theirs.save_pretrained(tmp_path / "base")
    names = {"transformer.h.0.attn.c_attn": (48, 144), "transformer.h.0.attn.c_proj": (48, 48)}
    for name, change in adapter(tmp_path / "lora", names, fan_in_fan_out=True, use_rslora=True).items():
        theirs.get_submodule(name).weight.data += 6 / 2**0.5 * change.t()
    assert difference(theirs, ours(hf.read(tmp_path / "lora"))) <= 1e-4


def test_adapters_that_cannot_be_merged_are_told(tmp_path: Path) -> None:
    adapter(tmp_path / "alone", {"model.layers.0.self_attn.q_proj": (48, 48)}, base_model_name_or_path="meta/Llama")
    with pytest.raises(ConfigError, match="'meta/Llama', which is not there"):
        hf.read(tmp_path / "alone")
    made("LlamaForCausalLM", "LlamaConfig", MODERN).save_pretrained(tmp_path / "base")
    adapter(tmp_path / "other", {"model.layers.7.self_attn.q_proj": (48, 48)})
    with pytest.raises(ConfigError, match=r"layers\.7\.self_attn"):
        hf.read(tmp_path / "other")
    adapter(tmp_path / "dora", {"model.layers.0.self_attn.q_proj": (48, 48)}, use_dora=True)
    with pytest.raises(ConfigError, match="use_dora"):
        hf.read(tmp_path / "dora")


# -- vocabularies
def field(number: int, value: int | float | bytes | str) -> bytes:
    """One field of a message of Protocol Buffers."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    body = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    value %= 1 << 64
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def sentencepiece(make: int, normal: bytes = b"") -> bytes:
    shares = {"▁the": -2.0, "▁": -3.0, "cat": -3.5, "s": -4.0, "▁cat": -3.0, "t": -5.0, "h": -5.1, "e": -5.2, "c": -6.0, "a": -6.1}
    pairs = {"▁c": 0.0, "at": -1.0, "▁cat": -2.0, "▁": -3.0, "c": -4.0, "a": -5.0, "t": -6.0, "s": -7.0}
    special = {"<unk>": 2, "<s>": 3, "</s>": 3}
    body = b"".join(field(1, field(1, name) + field(2, 0.0) + field(3, kind)) for name, kind in special.items())
    body += b"".join(field(1, field(1, name) + field(2, score)) for name, score in (shares if make == 1 else pairs).items())
    return body + field(2, field(3, make) + field(43, -1) + field(35, 0)) + field(3, normal)


def read(path: Path, size: int = 99, **settings: object) -> dict:
    return vocabularies.read(path, size, 64, settings)


def spelled(state: dict, text: str) -> list[str]:
    tokenizer = text_kind.tokenizer_of(state)
    return [tokenizer.id_to_token(number) for number in text_kind.encode_text(state, [text])[0].tolist()]


def test_pieces_of_a_spiece_model(tmp_path: Path) -> None:
    """A T5 of before: the likeliest pieces, single blanks, and an end behind each text."""
    (tmp_path / "spiece.model").write_bytes(sentencepiece(1))
    state = read(tmp_path, model_type="t5")
    assert spelled(state, " the  cats ") == ["▁the", "▁cat", "s"] and state["frame"] == [[], [2]]
    assert text_kind.decode_text(state, text_kind.encode_text(state, ["the cats"])[0]) == "the cats"
    assert text_kind.special(state, "unknown") == 0 and text_kind.special(state, "end") == 2


def test_pieces_of_a_tokenizer_model(tmp_path: Path) -> None:
    """A Llama 2 of before: neighbours join by score, blanks stay, and a beginning before each text; tokens that came later."""
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece(2, field(4, 0)))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": 12, "<mask>": 11}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}))
    state = read(tmp_path, model_type="llama")
    assert spelled(state, "cat  cats") == ["▁cat", "▁", "▁cat", "s"] and state["frame"] == [[1], []]
    assert text_kind.special(state, "padding") == 12 and state["size"] == 99
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": 40}))
    with pytest.raises(ConfigError, match="'<pad>' would be 11 and not 40"):
        read(tmp_path, model_type="llama")


def test_damaged_pieces_and_other_makes_are_told(tmp_path: Path) -> None:
    body = sentencepiece(1)
    for place in range(0, len(body), 7):
        (tmp_path / "spiece.model").write_bytes(body[:place] + b"\xff" + body[place + 1 :])
        try:
            read(tmp_path, model_type="t5")
        except ConfigError:
            continue
    (tmp_path / "spiece.model").write_bytes(body + field(2, field(3, 4)))
    with pytest.raises(ConfigError, match="another make"):
        read(tmp_path, model_type="t5")
    with pytest.raises(ConfigError, match="save_pretrained"):
        read(tmp_path, model_type="xlm-roberta")


def test_words_are_made_small_where_the_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nniño\nnino\nNiño\n", encoding="utf-8")
    for said, wanted in (({"do_lower_case": True}, "nino"), ({"do_lower_case": False}, "Niño"),
                         ({"do_lower_case": True, "strip_accents": False}, "niño")):  # fmt: skip
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
        assert spelled(read(tmp_path), "Niño") == [wanted]


def test_a_qwen_of_before_splits_as_a_qwen(tmp_path: Path) -> None:
    """GPT-2 keeps a run of digits together, Qwen takes them one by one."""
    (tmp_path / "vocab.json").write_text(json.dumps({"1": 0, "2": 1, "12": 2, "a": 3}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n1 2\n")
    later = {"4": {"content": "<|im_end|>", "special": True}, "5": {"content": "<tool>", "special": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": later}))
    assert spelled(read(tmp_path, model_type="gpt2"), "12a") == ["12", "a"]
    state = read(tmp_path, model_type="qwen2")
    assert spelled(state, "12a<tool>") == ["1", "2", "a", "<tool>"]
    assert Tokenizer.from_str(state["json"]).token_to_id("<|im_end|>") == 4


def test_numbers_of_a_message() -> None:
    assert pieces._number(pieces._fields(field(43, -1)), 43, 0) == -1


def test_weights_without_their_tokenizer_are_not_taught(tmp_path: Path) -> None:
    made("BertForMaskedLM", "BertConfig", SMALL).save_pretrained(tmp_path)
    assert hf.read(tmp_path).learned == {}
    with pytest.raises(ConfigError, match=r"Copy its tokenizer\.json"):
        go_on_from(tmp_path)
