"""A finished run as something to go on from."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from duomo.core import find
from duomo.core.config import build, read_toml
from duomo.core.errors import ConfigError
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import Recipe
from duomo.core.run import RunFolder

SHARED = ("text", "image")
"""Kinds whose state belongs to the weights: a tokenizer, the size and normalisation of pictures."""


def knows(path: Path) -> bool:
    return RunFolder(path).exists()


def read(path: Path) -> Pretrained:
    """The model of a run folder, every byte checked; ConfigError for a run of a module of the user's own."""
    folder = RunFolder(path)
    folder.verify()
    facts = folder.read_json("run.json")
    if facts["own_model"]:
        raise ConfigError("Training goes on from architectures that Duomo knows; {path} holds a module of your own.", path=path)
    recipe = build(Recipe, read_toml(folder.path / "recipe.toml"))
    return Pretrained(
        recipe.model.name,
        dataclasses.asdict(find.model_config(recipe.model)),
        folder.read_tensors("model.safetensors"),
        _learned(folder.read_json("task.json")),
        {"task": facts["task"]},
        str(path),
    )


def _learned(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer of a task that is all text, else the first column of each kind whose state belongs to the weights."""
    if "tokenizer" in state:
        return {"text": state["tokenizer"]}
    columns = state.get("encoder", {}).get("columns", [])
    return {kind: one["state"] for kind in SHARED for one in reversed(columns) if one["kind"] == kind}
