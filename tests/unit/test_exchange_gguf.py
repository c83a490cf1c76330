"""GGUF: packed numbers by their definition, models there and back, and llama.cpp's own logits where it is installed."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.find import model_config, model_module
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import ModelConfig
from duomo.exchange import gguf, gguf_models, gguf_text
from duomo.exchange.opening import open_pretrained
from duomo.exchange.quants import BY_NAME

USUAL = {"width": 64, "depth": 2, "heads": 4, "dropout": 0.0}
MAKES = {
    "llama": {"key_heads": 2, "tied": False, "eps": 1e-5, "theta": 1e5, "hidden": 96},
    "llama-stretched": {"key_heads": 2, "theta": 5e5, "hidden": 96, "stretch": (32.0, 1.0, 4.0, 8192.0)},
    "qwen2": {"key_heads": 2, "bias": "qkv", "hidden": 96},
    "qwen3": {"key_heads": 1, "norm_keys": True, "head_width": 32, "hidden": 96},
    "gpt2": {"activation": "gelu_tanh", "positions": "learned", "longest": 64, "norm": "layer", "bias": "all", "eps": 1e-5},
}


def tokenizer() -> dict:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(["the cat sat on the mat, and the dog sat on the log: 猫坐在垫子上"] * 20, trainer)
    return text_kind.given(made.to_str(), {"begin": "<s>", "end": "</s>"}, 0, 64) | {"chat_template": "{{ messages[0].content }}"}


def blank(options: dict, size: int) -> torch.nn.Module:
    config = model_config(ModelConfig("gpt", "base", options=options))
    return model_module("gpt").Model(config, {"text": Field("tokens", (64,), (size,))}, Head(size, "step")).eval()


def pretrained(make: str) -> tuple[Pretrained, torch.nn.Module]:
    text = tokenizer()
    torch.manual_seed(0)
    config = model_config(ModelConfig("gpt", "base", options=USUAL | MAKES[make]))
    model = blank(USUAL | MAKES[make], int(text["size"]))
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    return Pretrained("gpt", dict(vars(config)), model.state_dict(), {"text": text}), model


@pytest.mark.parametrize("make", MAKES)
def test_a_model_there_and_back(make: str, tmp_path: Path) -> None:
    found, _ = pretrained(make)
    gguf_models.write(tmp_path / "m.gguf", found, "f32")
    again = open_pretrained(tmp_path / "m.gguf")
    assert again.tensors.keys() == found.tensors.keys()
    assert all(torch.equal(again.tensors[name], value) for name, value in found.tensors.items())
    assert {name for name, value in again.options.items() if value != found.options[name]} <= {"hidden", "key_heads"}
    before, after = found.learned["text"], again.learned["text"]
    assert {name: after["special"][name] for name in ("begin", "end")} == {"begin": 0, "end": 1}
    words = ["the cat, and 猫 don't", " 1234  \n x"]
    assert [ids.tolist() for ids in text_kind.encode_text(after, words)] == [ids.tolist() for ids in text_kind.encode_text(before, words)]
    assert text_kind.decode_text(after, text_kind.encode_text(after, words)[0]) == words[0]
    assert after["chat_template"] == before["chat_template"]


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_llama_cpp_says_the_same(make: str, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    found, model = pretrained(make)
    gguf_models.write(tmp_path / "m.gguf", found, "f32")
    text = "the cat sat on the mat, and the dog: 猫"
    opened = llama_cpp.Llama(str(tmp_path / "m.gguf"), n_ctx=64, logits_all=True, verbose=False, n_threads=1)
    tokens = opened.tokenize(text.encode(), add_bos=False)
    assert tokens == text_kind.encode_text(found.learned["text"], [text])[0].tolist()
    opened.eval(tokens)
    wanted = model({"text": torch.tensor([tokens])})[0]
    theirs = torch.from_numpy(np.array(opened.scores[: len(tokens)]))
    # llama.cpp keeps keys and values in 16 bits
    assert (wanted - theirs).abs().max() <= 0.02 * wanted.std()
    opened.close()


@pytest.mark.parametrize(("kind", "most"), [("f16", 1e-3), ("bf16", 8e-3), ("q8_0", 1e-2), ("q4_0", 0.15)])
def test_fewer_bits(kind: str, most: float, tmp_path: Path) -> None:
    found, _ = pretrained("llama")
    gguf_models.write(tmp_path / "m.gguf", found, kind)
    again = gguf_models.read(tmp_path / "m.gguf")
    for name, value in found.tensors.items():
        apart = (again.tensors[name] - value).square().mean().sqrt() / value.square().mean().sqrt()
        assert apart <= most, name
    with gguf.opened(tmp_path / "m.gguf") as file:
        assert file.entries["blk.0.ffn_up.weight"].packing.name == kind
        assert file.entries["output.weight"].packing.name == ("q8_0" if kind == "q4_0" else kind)


def q4_1(raw: bytes) -> list[float]:
    d, m = struct.unpack("<2e", raw[:4])
    return [d * (byte & 15) + m for byte in raw[4:]] + [d * (byte >> 4) + m for byte in raw[4:]]


def q4_k(raw: bytes) -> list[float]:
    d, least = struct.unpack("<2e", raw[:4])
    packed, found = raw[4:16], []
    for part in range(8):
        if part < 4:
            s, m = packed[part] & 63, packed[part + 4] & 63
        else:
            s, m = packed[part + 4] & 15 | (packed[part - 4] >> 6) << 4, packed[part + 4] >> 4 | (packed[part] >> 6) << 4
        for byte in raw[16 + part // 2 * 32 : 48 + part // 2 * 32]:
            found.append(d * s * (byte >> 4 if part % 2 else byte & 15) - least * m)
    return found


def q6_k(raw: bytes) -> list[float]:
    low, high, scale, d = raw[:128], raw[128:192], struct.unpack("<16b", raw[192:208]), struct.unpack("<e", raw[208:])[0]
    found = [0.0] * 256
    for half in range(2):
        for place in range(32):
            for quarter in range(4):
                byte = low[64 * half + place + 32 * (quarter % 2)]
                q = (byte >> 4 if quarter > 1 else byte & 15) | (high[32 * half + place] >> 2 * quarter & 3) << 4
                found[128 * half + 32 * quarter + place] = d * scale[8 * half + 2 * quarter + place // 16] * (q - 32)
    return found


@pytest.mark.parametrize(("name", "definition", "floats"), [("q4_1", q4_1, (0, 2)), ("q4_k", q4_k, (0, 2)), ("q6_k", q6_k, (208,))])
def test_packed_numbers_by_their_definition(name: str, definition, floats: tuple[int, ...]) -> None:
    packing, draw = BY_NAME[name], np.random.default_rng(0)
    blocks = draw.integers(0, 256, (7, packing.size), np.uint8)
    for place in floats:
        blocks[:, place : place + 2] = draw.normal(size=(7, 1)).astype("<f2").view(np.uint8)
    wanted = np.array([definition(block.tobytes()) for block in blocks], np.float32)
    np.testing.assert_allclose(packing.unpack(blocks), wanted, rtol=1e-5, atol=1e-6)


def test_packing_is_undone_by_unpacking() -> None:
    values = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    values[3] = 0
    for name, most in (("q8_0", 1 / 127), ("q4_0", 1 / 8)):
        packing = BY_NAME[name]
        back = packing.unpack(packing.pack(values))
        assert np.all(np.abs(back - values) <= np.abs(values).max(1, keepdims=True) * most * 1.01)
        np.testing.assert_array_equal(packing.unpack(packing.pack(back)), back)
    assert BY_NAME["bf16"].unpack(BY_NAME["bf16"].pack(values)).tolist() == torch.tensor(values).bfloat16().float().tolist()


def test_pieces_with_scores() -> None:
    """A SentencePiece vocabulary: the best score joins first, a space begins the text, bytes stand in for what is unknown."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "c", "▁a", "ab", "bc", "▁ab"]
    scores = np.array([0.0] * 259 + [-9, -9, -9, -9, -3, -2, -1, -2.5], np.float32)
    kinds = np.array([2, 3, 3] + [6] * 256 + [1] * 8, np.int32)
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": scores,
                "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}  # fmt: skip
    state = gguf_text.read(metadata, 267, 64, Path("x"))
    read = [tokens[number] for number in text_kind.encode_text(state, ["abc ab猫"])[0]]
    assert read == ["▁a", "bc", "▁ab", "<0xE7>", "<0x8C>", "<0xAB>"]
    assert text_kind.decode_text(state, text_kind.encode_text(state, ["abc ab猫"])[0]) == "abc ab猫"
    assert text_kind.framed(state, np.array([5], np.int16)).tolist() == [1, 5]


def test_what_llama_cpp_cannot_hold(tmp_path: Path) -> None:
    found, _ = pretrained("llama")
    words = text_kind.given(Tokenizer(models.WordLevel({"a": 0}, "a")).to_str())
    with pytest.raises(ConfigError, match="bpe"):
        gguf_models.write(tmp_path / "m.gguf", Pretrained("gpt", found.options, found.tensors, {"text": words}))
    with pytest.raises(ConfigError, match="q8_0"):
        gguf_models.write(tmp_path / "m.gguf", found, "q80")
    with pytest.raises(ConfigError, match="built like one of"):
        gguf_models.write(tmp_path / "m.gguf", Pretrained("gpt", {**found.options, "activation": "geglu"}, found.tensors, found.learned))
    assert not list(tmp_path.iterdir())


LIES = ("x", ["x"], np.zeros(3, np.float32), -1, 2**32 - 1, 1.5)


def test_settings_of_other_types_cost_a_sentence(tmp_path: Path) -> None:
    found, _ = pretrained("llama")
    gguf_models.write(tmp_path / "m.gguf", found, "f32")
    with gguf.opened(tmp_path / "m.gguf") as file:
        told = file.metadata | {"llama.rope.scaling.type": "none"}
        tensors = {name: file.tensor(name) for name in file.entries}
    for name in ("general.alignment", "llama.block_count", "llama.attention.head_count_kv", "llama.rope.scaling.type"):
        for lie in LIES[1:3]:
            gguf.write(tmp_path / "m.gguf", told | {name: lie}, tensors, dict.fromkeys(tensors, BY_NAME["f32"]))
            with pytest.raises(ConfigError):
                gguf_models.read(tmp_path / "m.gguf")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_tokenizers_of_other_types(kind: str, tmp_path: Path) -> None:
    """An entry may hold anything: the tokenizer is read without what it should say, or the file refused."""
    text = tokenizer()
    told = gguf_text.write(text, int(text["size"])) | {"tokenizer.ggml.model": kind, "tokenizer.ggml.unknown_token_id": 0}
    for name in (*told, "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.scores"):
        for lie in LIES:
            try:
                gguf_text.read(told | {name: lie}, int(text["size"]), 64, tmp_path)
            except ConfigError:
                assert name in ("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens")


def test_ends_are_among_the_tokens_and_several_are_kept(tmp_path: Path) -> None:
    text = tokenizer() | {"ends": [7, 9]}
    told, size = gguf_text.write(text, int(text["size"])), int(text["size"])
    assert text_kind.ends(gguf_text.read(told, size, 64, tmp_path)) == {7, 9, text_kind.special(text, "end")}
    for name in ("bos", "eos", "eot"):
        with pytest.raises(ConfigError, match=f"{name}_token_id of .* is token 70,000"):
            gguf_text.read(told | {f"tokenizer.ggml.{name}_token_id": 70_000}, size, 64, tmp_path)
    lost = gguf_text.read(told | {"tokenizer.ggml.padding_token_id": size}, size, 64, tmp_path)  # as Llama 2 with padding cut off
    assert text_kind.special(lost, "padding") < 0


def test_why_a_file_is_not_whole_is_told_in_one_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "m.gguf").write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 9, 9))
    monkeypatch.setenv("DUOMO_LANG", "zh")
    with pytest.raises(ConfigError, match="声明了 9 个张量，只剩 8 字节"), gguf.opened(tmp_path / "m.gguf"):
        pass
