"""Named sizes of language models: counted and planned without memory for their weights, up to 175 billion."""

import torch

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.messages import tr
from duomo.core.recipe import ModelConfig

VOCABULARY = {
    "gpt1": 40_478, "gpt2": 50_257, "gpt3": 50_257, "smollm2": 49_152, "llama2": 32_000, "llama3": 128_256, "qwen2-0.5b": 151_936,
    "qwen2-7b": 152_064, "qwen3": 151_936, "bert": 30_522, "minilm": 30_522, "roberta": 50_265, "transformer": 37_000, "t5": 32_128,
}  # fmt: skip
"""Tokens of the published tokenizers, by how a size's name begins."""
LANGUAGE = ("bert", "gpt", "seq2seq")
STATE = 16
"""Bytes that training holds for each weight: itself, its gradient and two moments of AdamW, float32."""


def vocabulary_of(size: str) -> int:
    """Tokens of the tokenizer that a published size was trained with; 0 for a size of our own."""
    return next((count for start, count in VOCABULARY.items() if size.startswith(start)), 0)


def count(model: str, size: str, vocabulary: int) -> int:
    """Weights of a named size, built on no device; an encoder without a head."""
    names = ("source", "target") if model == "seq2seq" else ("text",)
    config, head = find.model_config(ModelConfig(model, size)), Head(0) if model == "bert" else Head(vocabulary, "step")
    fields = {name: Field("tokens", (8,), (vocabulary,)) for name in names}
    with torch.device("meta"):
        made = find.model_module(model).Model(config, fields, head)
    return sum(value.numel() for value in made.parameters())


def sizes() -> dict[str, str]:
    """Name -> weights, memory to hold and to train them, and work for each token learned from (6 operations a weight)."""
    found = {}
    for model in LANGUAGE:
        for size in find.model_module(model).SIZES:
            if vocabulary := vocabulary_of(size):
                weights = count(model, size, vocabulary)
                found[f"{model} {size}"] = tr(
                    "{weights:,} weights, {held:,.1f} GB as bf16; to train: {trained:,.1f} GB, {work:,.1f} GFLOP a token",
                    weights=weights, held=2 * weights / 1e9, trained=STATE * weights / 1e9, work=6 * weights / 1e9,
                )  # fmt: skip
    return found
