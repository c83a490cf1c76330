"""The gate of every conversion: golden prompts, the logits that a model gives for them, and how far those may move.

Distance: root mean square of the difference of logits, in standard deviations of the logits; 0 is the same model, 1.4 an unrelated one.

Legend: P prompts, V answers of the head.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.device import at_hand
from duomo.core.errors import RunError
from duomo.core.kinds import text as text_kind
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import ModelConfig
from duomo.core.template import render
from duomo.core.tensors import Batch

PROMPTS = (
    "The capital of France is", "Once upon a time there was a small house by the sea, and in it lived", "def add(a, b):\n    return",
    "床前明月光，疑是地上霜。", "In 1969 two people walked on the moon; 3 + 4 =", "Dear Sir or Madam,\n\nI am writing to",
)  # fmt: skip
CHAT = ({"role": "user", "content": "What is the capital of France?"}, {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And of Italy?"})  # fmt: skip
LONGEST = 24
STORED = 64
TOLERANCE = {"f32": 1e-4, "f16": 5e-3, "bf16": 5e-2, "q8_0": 5e-2, "q4_0": 0.5}
"""Largest distance by the type that the weights are written in."""
WEIGHTS = {"f32": 0.0, "f16": 1e-3, "bf16": 5e-3, "q8_0": 2e-2, "q4_0": 0.25}
"""The same for each weight by itself: what has hardly been trained says nothing of its attention in its logits."""


def prompts(text: Mapping[str, Any], size: int, longest: int) -> list[list[int]]:
    """Golden prompts as token numbers; without a tokenizer, numbers spread over the vocabulary."""
    longest = min(longest, LONGEST)
    if text:
        found = [[int(number) for number in ids[:longest]] for ids in text_kind.encode_text(text, list(PROMPTS))]
        return [ids for ids in found if ids] or [[1]]
    return [[(2654435761 * (row + 1) * (place + 1) >> 7) % size for place in range(min(8 + row, longest))] for row in range(len(PROMPTS))]


@torch.inference_mode()
def logits(model: nn.Module, names: Sequence[str], tokens: Sequence[Sequence[int]]) -> Tensor:
    """(P, V) what `model` (reading the inputs `names`) answers to each prompt, at its last position where it answers for each."""
    found = []
    kept = model.training
    model.eval()
    for ids in tokens:
        batch: Batch = {}
        for name in names:
            batch |= {name: torch.tensor([list(ids)]), f"{name}.length": torch.tensor([len(ids)])}
        output = model(at_hand(model, batch))[0].float().cpu()
        found.append(output[-1] if output.ndim == 2 else output)
    model.train(kept)
    return torch.stack(found)


def distance(wanted: Tensor, found: Tensor) -> float:
    """How far (P, V) logits moved, in standard deviations of the wanted ones."""
    return float((wanted - found).square().mean().sqrt() / wanted.std().clamp(min=1e-12))


def rebuilt(pretrained: Pretrained, *, bare: bool = False) -> tuple[nn.Module, list[str]]:
    """The model in memory and the names of its inputs; `bare` without a head, for what has none of its own."""
    names = ["source", "target"] if pretrained.model == "seq2seq" else ["text"]
    size = len(pretrained.tensors["embedding.weight"])
    encoder = pretrained.model == "bert"
    head = Head(size, "step") if not encoder or "fill.bias" in pretrained.tensors else Head(0)
    if encoder and pretrained.facts.get("task") == "tag" and "head.weight" in pretrained.tensors:
        head = Head(len(pretrained.tensors["head.weight"]), "step")
    head = Head(0) if bare and pretrained.model != "seq2seq" else head
    config = find.model_config(ModelConfig(pretrained.model, "base", options=pretrained.options))
    with torch.device("meta"):
        made = find.model_module(pretrained.model).Model(config, {name: Field("tokens", (8,), (size,)) for name in names}, head)
    wanted = made.state_dict()
    own = {name: value for name, value in pretrained.tensors.items() if name in wanted}
    missing = sorted(set(wanted) - set(own))
    if missing:
        raise RunError("A converted model must hold all weights; {names} of {source} are missing.",
                       names=", ".join(missing[:5]), source=pretrained.source)  # fmt: skip
    made.load_state_dict(own, assign=True)
    for name, value in made.named_buffers():
        if value.is_meta and value.numel():  # derived from the settings: built anew
            fresh = find.model_module(pretrained.model).Model(config, {n: Field("tokens", (8,), (2,)) for n in names}, head)
            owner, _, last = name.rpartition(".")
            made.get_submodule(owner).register_buffer(last, dict(fresh.named_buffers())[name], persistent=False)
    return made.eval(), names


def record(model: nn.Module, names: Sequence[str], size: int, longest: int) -> dict[str, Any]:
    """What a run keeps in golden.json: prompts of token numbers, and part of the logits for each."""
    tokens = prompts({}, size, longest)
    found = logits(model, names, tokens)
    step = max(1, found.shape[1] // STORED)
    return {"tokens": tokens, "step": step, "logits": [[round(value, 5) for value in row] for row in found[:, ::step].tolist()]}


def check_record(model: nn.Module, names: Sequence[str], kept: Mapping[str, Any], source: str) -> float:
    """How far a run's model is from what it said when it was trained; RunError where that is more than rounding."""
    found = logits(model, names, kept["tokens"])[:, :: kept["step"]]
    apart = distance(torch.tensor(kept["logits"]), found)
    if not apart <= 10 * TOLERANCE["f32"]:
        raise RunError("A run must say what it said when it was trained; {source} is {apart:.2g} away. Restore it from a copy.",
                       source=source, apart=apart)  # fmt: skip
    return apart


def gate(before: Pretrained, after: Pretrained, kind: str, left: Sequence[str] = ()) -> float:
    """The distance between a model and its converted form; RunError where it is beyond the tolerance, or texts are read differently.

    `left` names weights that the other form has no place for: then what stands before the head is compared.
    """
    check_weights(before, after, kind, left)
    one, names = rebuilt(before, bare=bool(left))
    other, _ = rebuilt(after, bare=bool(left))
    text = before.learned.get("text", {})
    longest = int(before.options.get("longest") or LONGEST) - int(before.options.get("offset", 0))
    tokens = prompts(text, len(before.tensors["embedding.weight"]), longest)
    apart = distance(logits(one, names, tokens), logits(other, names, tokens))
    if not apart <= TOLERANCE[kind]:
        raise RunError(
            "A converted model must say what the model said: as {kind} it may be {most} away, it is {apart:.2g}. Nothing was kept.",
            kind=kind, most=TOLERANCE[kind], apart=apart,
        )  # fmt: skip
    check_text(text, after.learned.get("text", {}))
    return apart


def check_weights(before: Pretrained, after: Pretrained, kind: str, left: Sequence[str]) -> None:
    """RunError where a weight is missing or further away than its type rounds."""
    for name, wanted in before.tensors.items():
        found = after.tensors.get(name)
        if name not in left and (found is None or not _away(wanted, found) <= WEIGHTS[kind]):
            raise RunError(
                "A converted model must hold the same weights: as {kind} each may be {most} away, {name} is further. Nothing was kept.",
                kind=kind, most=WEIGHTS[kind], name=name,
            )  # fmt: skip


def _away(wanted: Tensor, found: Tensor) -> float:
    if wanted.shape != found.shape:
        return float("inf")
    return float((wanted.float() - found).square().mean().sqrt() / wanted.float().square().mean().sqrt().clamp(min=1e-6))


def check_text(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """RunError where the converted tokenizer or chat template reads the golden prompts differently."""
    if not before:
        return
    pairs = zip(PROMPTS, text_kind.encode_text(before, list(PROMPTS)), text_kind.encode_text(after, list(PROMPTS)), strict=True)
    for prompt, wanted, found in pairs:
        if wanted.tolist() != found.tolist():
            raise RunError("A converted tokenizer must read {text!r} as before; it does not. Nothing was kept.", text=prompt)
    if before.get("chat_template"):
        forms = [render(str(one.get("chat_template", "")), CHAT, one.get("names"), add_generation_prompt=True) for one in (before, after)]
        if forms[0] != forms[1]:
            raise RunError("A converted chat template must render as before; it gives {text!r}. Nothing was kept.", text=forms[1][:80])
