"""Tokenizers in GGUF files: byte-level pairs with the splitting rule that llama.cpp knows under a name, and pieces with scores.

Only the rule's name lies in a file; what it stands for is written here in the terms of the `tokenizers` library.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from duomo.core.errors import ConfigError
from duomo.core.kinds import text as text_kind
from duomo.exchange.pieces import BYTES, CONTROL, NORMAL, OWN, RULES, UNUSED, by_pairs, whole
from duomo.exchange.vocabularies import check_size

USES = {"begin": "bos", "end": "eos", "padding": "padding", "unknown": "unknown", "mask": "mask"}
ENDS = ("eot", "eom")
"""What ends a turn, or a message, beside the end of a text."""
NONE, IDLE = (-1, 2**32 - 1), ("padding", "unknown", "mask")
"""How a file says that there is no such token; and those that no text needs: some files name padding that was cut from their tokens."""
SAME = {"gpt2": "gpt-2", "phi-2": "gpt-2", "llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2"}


def read(metadata: Mapping[str, Any], size: int, longest: int, path: Path) -> dict[str, Any]:
    """The tokenizer's state for an embedding of `size` rows; empty where the file holds none, ConfigError where its make is unknown."""
    kind, tokens = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.tokens")
    if kind is None or not isinstance(tokens, list):
        return {}
    kind, rule = str(kind), str(metadata.get("tokenizer.ggml.pre", "gpt-2"))
    rule = SAME.get(rule, rule)
    if kind == "gpt2" and rule in RULES:
        made = _pairs(metadata, tokens, rule)
    elif kind == "llama":
        made = _pieces(metadata, tokens)
    else:
        raise ConfigError("The tokenizer of a GGUF file must be one of {known}; {path} has {name!r}.",
                          known=", ".join((*RULES, "llama")), path=path, name=f"{kind} {rule}"[:80])  # fmt: skip
    numbers = {use: _number(metadata, name, len(tokens), path) for use, name in USES.items()}
    special = {use: tokens[number] for use, number in numbers.items() if number is not None}
    # what a file does not name has no use: a name that looks like one may be an ordinary token
    state = text_kind.given(json.dumps(made, ensure_ascii=False), special, size, longest)
    check_size(state, size, path)
    begins = _flag(metadata, "tokenizer.ggml.add_bos_token", kind == "llama") and "begin" in special
    state["frame"] = [[state["special"]["begin"]] if begins else [], []]
    state["ends"] = [number for name in ENDS if (number := _number(metadata, name, len(tokens), path)) is not None]
    template = metadata.get("tokenizer.chat_template")
    names = {f"{name}_token": special[use] for use, name in (("begin", "bos"), ("end", "eos")) if use in special}
    return state | {"names": names} | ({"chat_template": template} if isinstance(template, str) else {})


def _number(metadata: Mapping[str, Any], name: str, size: int, path: Path) -> int | None:
    """Of a special token, None where the file names none; ConfigError where there is no token of that number."""
    number = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if not isinstance(number, int) or number in NONE or (name in IDLE and not 0 <= number < size):
        return None
    if not 0 <= number < size:
        raise ConfigError("A special token must be one of the {size:,} tokens of a GGUF file; {name} of {path} is token {number:,}. The "
                          "file is damaged or badly converted: download or convert it again.",
                          size=size, name=f"{name}_token_id", path=path, number=number)  # fmt: skip
    return number


def _flag(metadata: Mapping[str, Any], name: str, other: bool) -> bool:
    found = metadata.get(name)
    return bool(found) if isinstance(found, int) else other


def _kinds(metadata: Mapping[str, Any], tokens: Sequence[str]) -> list[int]:
    kinds = metadata.get("tokenizer.ggml.token_type")
    return kinds.tolist() if isinstance(kinds, np.ndarray) and len(kinds) == len(tokens) else [NORMAL] * len(tokens)


def _pairs(metadata: Mapping[str, Any], tokens: list[str], rule: str) -> dict[str, Any]:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    lines = metadata.get("tokenizer.ggml.merges")
    merges = [pair for pair in (line.split(" ") for line in lines) if len(pair) == 2] if isinstance(lines, list) else []
    fitting = [pair for pair in merges if pair[0] in vocabulary and pair[1] in vocabulary and "".join(pair) in vocabulary]
    model = {"type": "BPE", "vocab": vocabulary, "merges": fitting, "ignore_merges": rule == "llama-bpe"}
    normalizer = {"type": "NFC"} if rule == "qwen2" else None
    return whole(tokens, _kinds(metadata, tokens), normalizer=normalizer, pre_tokenizer=RULES[rule], decoder=BYTES, model=model)


def _pieces(metadata: Mapping[str, Any], tokens: list[str]) -> dict[str, Any]:
    """Pieces with scores."""
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray) or len(scores) != len(tokens):
        scores = -np.arange(len(tokens), dtype=np.float32)
    place = metadata.get("tokenizer.ggml.unknown_token_id")
    unknown = place if isinstance(place, int) and 0 <= place < len(tokens) else 0
    parts = by_pairs(tokens, scores.tolist(), unknown, _flag(metadata, "tokenizer.ggml.add_space_prefix", True))
    return whole(tokens, _kinds(metadata, tokens), **parts)


# -- writing
def write(state: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Metadata for a tokenizer of byte-level pairs; ConfigError where llama.cpp has no name for the way it splits."""
    made = json.loads(state["json"])
    rule = _rule(made)
    model = made.get("model") or {}
    if model.get("type") != "BPE" or not rule:
        raise ConfigError(
            "A GGUF file can hold a tokenizer of byte-level pairs that splits like {known}; this one does not."
            " Train with --tokenizer bpe, or write a Hugging Face folder.",
            known=", ".join(RULES),
        )
    tokens, kinds = [f"[PAD{number}]" for number in range(size)], np.full(size, UNUSED, np.int32)
    for token, number in model["vocab"].items():
        tokens[number], kinds[number] = token, NORMAL
    for added in made.get("added_tokens", []):
        tokens[added["id"]], kinds[added["id"]] = added["content"], CONTROL if added.get("special") else OWN
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    found: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": rule, "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": merges,
    }  # fmt: skip
    numbers = {name: text_kind.special(state, use) for use, name in USES.items()}
    found |= {f"tokenizer.ggml.{name}_token_id": number for name, number in numbers.items() if number >= 0}
    others = [number for number in dict.fromkeys(state.get("ends", ())) if number != numbers["eos"]]
    found |= {f"tokenizer.ggml.{name}_token_id": number for name, number in zip(ENDS, others, strict=False)}
    before = list(state.get("frame", [[], []])[0])
    found["tokenizer.ggml.add_bos_token"] = bool(before) and before == [numbers["bos"]]
    if state.get("chat_template"):
        found["tokenizer.chat_template"] = state["chat_template"]
    return found


def _rule(made: Mapping[str, Any]) -> str:
    """The name that llama.cpp has for the way a tokenizer splits; empty where it has none."""
    splits = _plain(made.get("pre_tokenizer"))
    return next((name for name, known in RULES.items() if _plain(known) == splits), "")


def _plain(part: Any) -> Any:
    """A description without what makes no difference to the pieces."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: _plain(value) for key, value in part.items() if key not in ("trim_offsets", "invert")}
