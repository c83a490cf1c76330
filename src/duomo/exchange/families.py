"""Whose names and settings are whose: what other makers call the weights and settings that Duomo's models have.

A `Rule` says under which names a weight of ours lies elsewhere: one after the other along its rows where there are several, turned
where the other side keeps inputs before outputs. A `Family` has the rules of one make and turns its settings into ours and back.
Names were read from published checkpoints; no code of theirs is used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from duomo.exchange.settings import Settings, chosen, depth, inner, only, real, size

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """One weight of ours, and the names that it has elsewhere."""

    ours: str
    theirs: tuple[str, ...]
    turned: bool = False
    needed: bool = True
    """Whether a checkpoint without it is incomplete; heads differ from one checkpoint to the next."""
    parts: tuple[int, ...] = ()
    """Rows of each of `theirs`; equal when empty."""


@dataclass(frozen=True)
class Family:
    """One make of model."""

    name: str
    model: str
    """The architecture that takes it: a file of duomo/models."""
    prefix: str
    """What the trunk's names may begin with, depending on the head."""
    options: Callable[[Settings], dict[str, Any]]
    rules: Callable[[Options], list[Rule]]
    settings: Callable[[Options, int, int], dict[str, Any]]
    """Our options, the size of the vocabulary and the longest context -> their config.json."""
    fits: Callable[[Options], bool]
    """Whether a model with these options can be written as this family."""
    architecture: Callable[[set[str]], str]
    """Names of our weights -> the class that has such a head elsewhere."""
    unused: tuple[str, ...] = ()
    """Endings of names that checkpoints also hold and that are no weights, or a copy of one."""


ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu", "gelu_fast": "gelu_tanh"}
NAMES = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}


def linear(ours: str, *theirs: str, bias: bool = True, **how: Any) -> list[Rule]:
    """Weight and, where there is one, bias of a linear layer."""
    turned = bool(how.pop("turned", False))
    rules = [Rule(f"{ours}.weight", tuple(f"{name}.weight" for name in theirs), turned, **how)]
    return rules + ([Rule(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs), **how)] if bias else [])


def layers(rules: list[Rule], count: int) -> list[Rule]:
    """The rules of one layer for each of `count` layers: {n} becomes its number."""
    found = []
    for n in map(str, range(count)):
        for rule in rules:
            theirs = tuple(name.replace("{n}", n) for name in rule.theirs)
            found.append(replace(rule, ours=rule.ours.replace("{n}", n), theirs=theirs))
    return found


# -- GPT-2
def _gpt2_options(settings: Settings) -> dict[str, Any]:
    for name, fine in {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False}.items():
        only(settings, name, fine)
    width = size(settings, "n_embd", 768)
    return {
        "width": width, "depth": depth(settings, "n_layer", 12), "heads": size(settings, "n_head", 12), "key_heads": 0,
        "activation": chosen(settings, "activation_function", ACTIVATIONS), "norm_keys": False,
        "dropout": real(settings, "resid_pdrop", 0.1, 1), "tied": bool(settings.get("tie_word_embeddings", True)),
        "head_width": 0, "hidden": size(settings, "n_inner", 4 * width), "positions": "learned", "theta": 10000.0, "stretch": (),
        "longest": size(settings, "n_positions", 1024), "norm": "layer", "place": "before",
        "eps": real(settings, "layer_norm_epsilon", 1e-5), "bias": "all",
    }  # fmt: skip


def _gpt2_rules(options: Options) -> list[Rule]:
    block = [
        *linear("blocks.{n}.first", "h.{n}.ln_1"),
        *linear("blocks.{n}.attention.qkv", "h.{n}.attn.c_attn", turned=True),
        *linear("blocks.{n}.attention.out", "h.{n}.attn.c_proj", turned=True),
        *linear("blocks.{n}.second", "h.{n}.ln_2"),
        *linear("blocks.{n}.rise", "h.{n}.mlp.c_fc", turned=True),
        *linear("blocks.{n}.fall", "h.{n}.mlp.c_proj", turned=True),
    ]
    ends = [Rule("embedding.weight", ("wte.weight",)), Rule("places.weight", ("wpe.weight",)), *linear("norm", "ln_f")]
    return [*ends, *layers(block, options["depth"]), Rule("head.weight", ("lm_head.weight",), needed=False)]


def _gpt2_settings(options: Options, vocabulary: int, longest: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary, "n_positions": longest, "n_ctx": longest, "n_embd": options["width"], "n_layer": options["depth"],
        "n_head": options["heads"], "n_inner": options["hidden"], "activation_function": NAMES[options["activation"]],
        "layer_norm_epsilon": options["eps"], "tie_word_embeddings": options["tied"],
        "resid_pdrop": options["dropout"], "embd_pdrop": options["dropout"], "attn_pdrop": options["dropout"],
    }  # fmt: skip


# -- Llama, SmolLM2, Qwen2, Qwen3
def _stretch(settings: Settings) -> tuple[float, ...]:
    scaling = inner(settings, "rope_scaling") or inner(settings, "rope_parameters")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    only({"rope_scaling": kind}, "rope_scaling", "default", "linear", "llama3")
    if kind == "llama3":
        return tuple(real(scaling, key) for key in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"))
    return (real(scaling, "factor"),) if kind == "linear" else ()


def _llama_options(settings: Settings, bias: str = "none", norm_keys: bool = False, head_width: int = 0) -> dict[str, Any]:
    for name, fine in {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "use_sliding_window": False}.items():
        only(settings, name, fine)
    width, heads = size(settings, "hidden_size"), size(settings, "num_attention_heads")
    one = size(settings, "head_dim", head_width or max(1, width // heads))
    theta = real(settings if "rope_theta" in settings else inner(settings, "rope_parameters"), "rope_theta", 10000.0)
    return {
        "width": width, "depth": depth(settings, "num_hidden_layers"), "heads": heads,
        "key_heads": size(settings, "num_key_value_heads", heads), "activation": "swiglu", "norm_keys": norm_keys,
        "dropout": real(settings, "attention_dropout", 0.0, 1), "tied": bool(settings.get("tie_word_embeddings", False)),
        "head_width": 0 if one * heads == width else one, "hidden": size(settings, "intermediate_size"),
        "positions": "rotary", "theta": theta, "stretch": _stretch(settings), "longest": 0, "norm": "rms",
        "place": "before", "eps": real(settings, "rms_norm_eps", 1e-6), "bias": bias,
    }  # fmt: skip


def head_width(options: Options) -> int:
    """Size of one head, said or derived."""
    return int(options.get("head_width") or options["width"] // options["heads"])


def qkv_widths(options: Options) -> tuple[int, int, int]:
    """Rows of queries, keys and values in the one matrix that makes them."""
    one, key_heads = head_width(options), options["key_heads"] or options["heads"]
    return options["heads"] * one, key_heads * one, key_heads * one


def _llama_rules(options: Options) -> list[Rule]:
    parts = qkv_widths(options)
    names = [f"layers.{{n}}.self_attn.{kind}_proj" for kind in "qkv"]
    block = [
        Rule("blocks.{n}.first.weight", ("layers.{n}.input_layernorm.weight",)),
        *linear("blocks.{n}.attention.qkv", *names, bias=options["bias"] != "none", parts=parts),
        *linear("blocks.{n}.attention.out", "layers.{n}.self_attn.o_proj", bias=False),
        Rule("blocks.{n}.second.weight", ("layers.{n}.post_attention_layernorm.weight",)),
        *linear("blocks.{n}.rise", "layers.{n}.mlp.gate_proj", "layers.{n}.mlp.up_proj", bias=False),
        *linear("blocks.{n}.fall", "layers.{n}.mlp.down_proj", bias=False),
    ]
    if options["norm_keys"]:
        block += [Rule(f"blocks.{{n}}.attention.{x}_norm.weight", (f"layers.{{n}}.self_attn.{x}_norm.weight",)) for x in "qk"]
    ends = [Rule("embedding.weight", ("embed_tokens.weight",)), Rule("norm.weight", ("norm.weight",))]
    return [*ends, *layers(block, options["depth"]), Rule("head.weight", ("lm_head.weight",), needed=not options["tied"])]


def _llama_settings(options: Options, vocabulary: int, longest: int) -> dict[str, Any]:
    stretch = tuple(options["stretch"])
    named = dict(zip(("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"), stretch, strict=False))
    if len(stretch) == 4:
        named["original_max_position_embeddings"] = int(stretch[3])
    scaling = {"rope_type": "llama3" if len(stretch) == 4 else "linear", **named} if stretch else None
    return {
        "vocab_size": vocabulary, "max_position_embeddings": longest, "hidden_size": options["width"],
        "num_hidden_layers": options["depth"], "num_attention_heads": options["heads"],
        "num_key_value_heads": options["key_heads"] or options["heads"], "head_dim": head_width(options),
        "intermediate_size": options["hidden"], "hidden_act": "silu", "rms_norm_eps": options["eps"],
        "rope_theta": options["theta"], "rope_scaling": scaling, "tie_word_embeddings": options["tied"],
        "attention_dropout": options["dropout"],
    }  # fmt: skip


def _modern(options: Options, bias: str, norm_keys: bool) -> bool:
    wanted = {"activation": "swiglu", "positions": "rotary", "norm": "rms", "place": "before", "bias": bias, "norm_keys": norm_keys}
    return all(options[name] == value for name, value in wanted.items())


# -- BERT, RoBERTa
def _bert_options(settings: Settings, offset: int = 0) -> dict[str, Any]:
    only(settings, "position_embedding_type", "absolute")
    only(settings, "is_decoder", False)
    acts = {"gelu": "gelu", **ACTIVATIONS}
    return {
        "width": size(settings, "hidden_size", 768), "depth": depth(settings, "num_hidden_layers", 12),
        "heads": size(settings, "num_attention_heads", 12), "hidden": size(settings, "intermediate_size", 3072),
        "activation": chosen(settings, "hidden_act", acts), "place": "after", "eps": real(settings, "layer_norm_eps", 1e-12),
        "types": size(settings, "type_vocab_size", 2), "longest": size(settings, "max_position_embeddings", 512), "offset": offset,
        "pool": "first", "dropout": real(settings, "hidden_dropout_prob", 0.1, 1),
        "tied": bool(settings.get("tie_word_embeddings", True)),
    }  # fmt: skip


def _bert_trunk(options: Options) -> list[Rule]:
    at = "encoder.layer.{n}."
    block = [
        *linear("blocks.{n}.attention.qkv", *(f"{at}attention.self.{name}" for name in ("query", "key", "value"))),
        *linear("blocks.{n}.attention.out", f"{at}attention.output.dense"),
        *linear("blocks.{n}.first", f"{at}attention.output.LayerNorm"),
        *linear("blocks.{n}.rise", f"{at}intermediate.dense"),
        *linear("blocks.{n}.fall", f"{at}output.dense"),
        *linear("blocks.{n}.second", f"{at}output.LayerNorm"),
    ]
    names = {"embedding": "word", "places": "position", "types": "token_type"}
    ends = [Rule(f"{ours}.weight", (f"embeddings.{name}_embeddings.weight",)) for ours, name in names.items()]
    return [*ends, *linear("enter", "embeddings.LayerNorm"), *layers(block, options["depth"])]


def _bert_rules(options: Options) -> list[Rule]:
    heads = [
        *linear("pooler", "pooler.dense", needed=False),
        *linear("fill.dense", "cls.predictions.transform.dense", needed=False),
        *linear("fill.norm", "cls.predictions.transform.LayerNorm", needed=False),
        Rule("fill.bias", ("cls.predictions.bias",), needed=False),
        Rule("fill.out.weight", ("cls.predictions.decoder.weight",), needed=False),
        *linear("head", "classifier", needed=False),
    ]
    return [*_bert_trunk(options), *heads]


def _roberta_rules(options: Options) -> list[Rule]:
    heads = [
        *linear("pooler", "classifier.dense", needed=False),
        *linear("head", "classifier.out_proj", needed=False),
        *linear("fill.dense", "lm_head.dense", needed=False),
        *linear("fill.norm", "lm_head.layer_norm", needed=False),
        Rule("fill.bias", ("lm_head.bias",), needed=False),
        Rule("fill.out.weight", ("lm_head.decoder.weight",), needed=False),
    ]
    return [*_bert_trunk(options), *heads]


def _bert_settings(options: Options, vocabulary: int, longest: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary, "hidden_size": options["width"], "num_hidden_layers": options["depth"],
        "num_attention_heads": options["heads"], "intermediate_size": options["hidden"], "hidden_act": NAMES[options["activation"]],
        "layer_norm_eps": options["eps"], "type_vocab_size": options["types"], "max_position_embeddings": options["longest"] or longest,
        "hidden_dropout_prob": options["dropout"], "attention_probs_dropout_prob": options["dropout"],
        "tie_word_embeddings": options["tied"], "position_embedding_type": "absolute",
    } | ({"pad_token_id": options["offset"] - 1} if options["offset"] else {})  # fmt: skip


# -- T5
def _t5_options(settings: Settings) -> dict[str, Any]:
    feeds = {"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu", "gelu": "gelu_tanh"}
    activation = chosen(settings, "feed_forward_proj", feeds)
    layered = depth(settings, "num_layers", 6)
    return {
        "width": size(settings, "d_model", 512), "depth": layered, "decoder_depth": depth(settings, "num_decoder_layers", layered),
        "heads": size(settings, "num_heads", 8), "head_width": size(settings, "d_kv", 64), "hidden": size(settings, "d_ff", 2048),
        "activation": activation, "positions": "relative", "buckets": size(settings, "relative_attention_num_buckets", 32),
        "reach": size(settings, "relative_attention_max_distance", 128), "norm": "rms", "place": "before",
        "eps": real(settings, "layer_norm_epsilon", 1e-6), "bias": False, "scaled": False,
        "dropout": real(settings, "dropout_rate", 0.1, 1), "shared": True, "tied": bool(settings.get("tie_word_embeddings", True)),
        "shrunk": bool(settings.get("scale_decoder_outputs", settings.get("tie_word_embeddings", True))),
    }  # fmt: skip


def _t5_rules(options: Options) -> list[Rule]:
    rise = ("wi_0", "wi_1") if options["activation"] in ("geglu", "swiglu") else ("wi",)
    rules = [Rule("embedding.weight", ("shared.weight",))]
    for part, branches in {"encoder": ("attention",), "decoder": ("attention", "across")}.items():
        at, block = f"{part}.block.{{n}}.layer", []
        for place, branch in enumerate(branches):
            name = f"{at}.{place}.{'EncDecAttention' if place else 'SelfAttention'}"
            block += linear(f"{part}.{{n}}.{branch}.q", f"{name}.q", bias=False)
            block += linear(f"{part}.{{n}}.{branch}.kv", f"{name}.k", f"{name}.v", bias=False)
            block += linear(f"{part}.{{n}}.{branch}.out", f"{name}.o", bias=False)
        last = len(branches)
        block += linear(f"{part}.{{n}}.rise", *(f"{at}.{last}.DenseReluDense.{name}" for name in rise), bias=False)
        block += linear(f"{part}.{{n}}.fall", f"{at}.{last}.DenseReluDense.wo", bias=False)
        block += [Rule(f"{part}.{{n}}.norms.{place}.weight", (f"{at}.{place}.layer_norm.weight",)) for place in range(last + 1)]
        count = options["decoder_depth"] or options["depth"] if part == "decoder" else options["depth"]
        bias = f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        rules += [
            *layers(block, count),
            Rule(f"{part}_bias.weight", (bias,)),
            *linear(f"{part}_norm", f"{part}.final_layer_norm", bias=False),
        ]
    return [*rules, Rule("head.weight", ("lm_head.weight",), needed=not options["tied"])]


def _t5_settings(options: Options, vocabulary: int, longest: int) -> dict[str, Any]:
    feeds = {"relu": "relu", "geglu": "gated-gelu", "swiglu": "gated-silu", "gelu_tanh": "gelu"}
    return {
        "vocab_size": vocabulary, "n_positions": longest, "d_model": options["width"], "d_kv": head_width(options),
        "d_ff": options["hidden"], "num_layers": options["depth"], "num_decoder_layers": options["decoder_depth"] or options["depth"],
        "num_heads": options["heads"], "relative_attention_num_buckets": options["buckets"],
        "relative_attention_max_distance": options["reach"], "feed_forward_proj": feeds[options["activation"]],
        "layer_norm_epsilon": options["eps"], "dropout_rate": options["dropout"],
        "tie_word_embeddings": options["tied"] and options["shrunk"], "scale_decoder_outputs": options["tied"] and options["shrunk"],
        "is_encoder_decoder": True, "decoder_start_token_id": 0,
    }  # fmt: skip


def _class(stem: str, names: set[str]) -> str:
    """The class of an encoder that has the heads of these weights of ours."""
    if "fill.bias" in names:
        return f"{stem}ForMaskedLM"
    if "head.weight" in names and "pooler.weight" in names:
        return f"{stem}ForSequenceClassification"
    return f"{stem}Model"


def _encoder(options: Options, offset: int) -> bool:
    published = _published(options, place="after", offset=offset) and not options.get("near") and not options.get("hashed")
    return published and options["types"] > 0 and options["activation"] in NAMES


def _published(options: Options, **wanted: Any) -> bool:
    return all(options[name] == value for name, value in wanted.items())


FAMILIES = {
    "gpt2": Family(
        "gpt2", "gpt", "transformer.", _gpt2_options, _gpt2_rules, _gpt2_settings,
        lambda o: _published(o, positions="learned", norm="layer", place="before", bias="all", norm_keys=False)
        and o["activation"] in NAMES and o["key_heads"] in (0, o["heads"]) and head_width(o) * o["heads"] == o["width"],
        lambda names: "GPT2LMHeadModel", (".attn.bias", ".attn.masked_bias"),
    ),
    "llama": Family(
        "llama", "gpt", "model.", _llama_options, _llama_rules, _llama_settings,
        lambda o: _modern(o, "none", False), lambda names: "LlamaForCausalLM", (".rotary_emb.inv_freq",),
    ),
    "qwen2": Family(
        "qwen2", "gpt", "model.", partial(_llama_options, bias="qkv"), _llama_rules, _llama_settings,
        lambda o: _modern(o, "qkv", False) and head_width(o) * o["heads"] == o["width"],
        lambda names: "Qwen2ForCausalLM", (".rotary_emb.inv_freq",),
    ),
    "qwen3": Family(
        "qwen3", "gpt", "model.", partial(_llama_options, norm_keys=True, head_width=128), _llama_rules, _llama_settings,
        lambda o: _modern(o, "none", True), lambda names: "Qwen3ForCausalLM",
    ),
    "bert": Family(
        "bert", "bert", "bert.", _bert_options, _bert_rules, _bert_settings,
        lambda o: _encoder(o, 0), partial(_class, "Bert"),
        ("position_ids", "cls.predictions.decoder.bias", "cls.seq_relationship.weight", "cls.seq_relationship.bias"),
    ),
    "roberta": Family(
        "roberta", "bert", "roberta.", partial(_bert_options, offset=2), _roberta_rules, _bert_settings,
        lambda o: _encoder(o, 2), partial(_class, "Roberta"),
        ("position_ids", "lm_head.decoder.bias", "pooler.dense.weight", "pooler.dense.bias"),
    ),
    "t5": Family(
        "t5", "seq2seq", "", _t5_options, _t5_rules, _t5_settings,
        lambda o: _published(o, positions="relative", norm="rms", place="before", bias=False, scaled=False) and o["shared"]
        and o["activation"] != "gelu" and not o.get("copies"), lambda names: "T5ForConditionalGeneration",
        ("coder.embed_tokens.weight", "layer.1.EncDecAttention.relative_attention_bias.weight"),
    ),
}  # fmt: skip
"""By the `model_type` of a config.json. SmolLM2 is a Llama."""
