"""A finished run as something to go on from, and a model from elsewhere as a run that answers."""

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import nn

from duomo.core import dialogue, find
from duomo.core.config import build, read_toml, to_toml
from duomo.core.contract import Field
from duomo.core.device import Execution, answering, machine_facts
from duomo.core.errors import ConfigError
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import DataConfig, ModelConfig, Recipe
from duomo.core.run import RunFolder
from duomo.core.table import Table
from duomo.data.predictor import block_of
from duomo.exchange import parity

SHARED = ("text", "image", "video")
"""Kinds whose state belongs to the weights: a tokenizer, the size and normalisation of pictures and films."""


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
    state = folder.read_json("task.json")
    tensors, learned = folder.read_tensors("model.safetensors"), _learned(state)
    options = dataclasses.asdict(find.model_config(recipe.model))
    if "places.weight" in tensors and not options.get("longest", 1):  # as many as the context then had
        options["longest"] = len(tensors["places.weight"])
        room = options["longest"] - int(options.get("offset", 0))
        learned["text"] = {**learned["text"], "longest": min(room, int(learned["text"]["longest"]))}
    told = {"task": facts["task"], "labels": _labels(state), **_beyond(state)}
    return Pretrained(recipe.model.name, options, tensors, learned, told, str(path))


def prove(path: Path) -> None:
    """Compare a run with the golden logits that it kept when it was trained; RunError where it says something else."""
    folder = RunFolder(path)
    kept = folder.read_json("golden.json").get("parity") if (path / "golden.json").is_file() else None
    if kept:
        recipe, facts = build(Recipe, read_toml(folder.path / "recipe.toml")), folder.read_json("run.json")
        named = {"target": recipe.data.target, "ignore": recipe.data.ignore, "encode": recipe.encode}
        task = find.make_task(facts["task"], named | dict(recipe.task))
        task.restore(folder.read_json("task.json"))
        made = find.make_model(recipe.model, task)
        made.load_state_dict(folder.read_tensors("model.safetensors"))
        parity.check_record(made, list(task.inputs), kept, str(path))


def golden(model: nn.Module, inputs: Mapping[str, Field]) -> dict[str, Any]:
    """What a run that reads one text, or writes another from it, keeps for `prove`; nothing for other inputs."""
    fields = list(inputs.values())
    if any(field.form != "tokens" for field in fields) or (len(fields) > 1 and set(inputs) != {"source", "target"}):
        return {}
    size, longest = min(field.vocabulary[0] for field in fields), min(field.shape[0] for field in fields)
    return {"parity": parity.record(model, list(inputs), size, longest)}


def _labels(state: Mapping[str, Any]) -> dict[str, str]:
    """Place -> label, as others keep them; none where there are several targets. A detector's are a list."""
    labels = state.get("labels", {})
    known = labels.get("classes", []) if isinstance(labels, Mapping) else [labels]
    return {str(place): str(label) for place, label in enumerate(known[0])} if len(known) == 1 else {}


def _beyond(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a run makes of its logits: of one target divided by a temperature, of tags searched through by `transitions`."""
    temperatures = state.get("temperatures", [])
    found: dict[str, Any] = {"temperature": float(temperatures[0])} if len(temperatures) == 1 else {}
    return found | ({"transitions": state["search"]} if state.get("search") else {})


def _learned(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer of a task that is all text, else the first column of each kind whose state belongs to the weights."""
    if "tokenizer" in state:
        return {"text": state["tokenizer"]}
    columns = state.get("encoder", {}).get("columns", [])
    return {kind: one["state"] for kind in SHARED for one in reversed(columns) if one["kind"] == kind}


CONTEXT = 2048
COLUMN = "text"


def write(path: Path, model: Pretrained) -> list[str]:
    """A run folder that predict, serve and `train --from` open: a decoder writes on, or chats if it has a template, an encoder fills gaps,
    and one made for it gives vectors (sentence-transformers), which `duomo search` compares.

    It has no scorecard, since nothing here has judged it. Returns the weights that such a run has no use for. ConfigError for a model
    without a head or a tokenizer.
    """
    text = model.learned.get("text")
    speaks = bool(text and text.get("chat_template"))
    encodes = "fill" if "fill.bias" in model.tensors else "embed" if model.facts.get("task") == "embed" else ""
    name = {"gpt": "chat" if speaks else "generate", "bert": encodes}.get(model.model, "")
    if not name or not text:
        raise ConfigError(
            "A run answers; {source} is a {model} without the head or the tokenizer for that. Teach it: duomo train DATA --from {source}",
            source=model.source, model=model.model,
        )  # fmt: skip
    context = min(int(text["longest"]), CONTEXT)
    recipe = Recipe(DataConfig(source=model.source, task=name), model=ModelConfig(model.model, "base", options=dict(model.options)))
    task = find.make_task(name, {})
    asked = [COLUMN, "answer"]
    shape = {"name": "pairs", "columns": asked, "system": ""}
    states: dict[str, dict[str, Any]] = {"embed": {"columns": asked}, "chat": {"shape": shape}}
    task.restore(
        {"tokenizer": dialogue.speaking(text) if speaks else dict(text), "context": context, **states.get(name, {"column": COLUMN})}
    )
    made = find.make_model(recipe.model, task)
    left = sorted(set(model.tensors) - set(made.state_dict())) if name == "embed" else []  # what answers for a row with classes
    made.load_state_dict({key: value for key, value in model.tensors.items() if key not in left})
    folder = RunFolder(path)
    folder.create()
    folder.write_text("recipe.toml", to_toml(recipe))
    folder.write_json("task.json", task.state())
    folder.write_tensors("model.safetensors", made.state_dict())
    folder.write_json("golden.json", {"inputs": {COLUMN: []}, "media": [], "answers": {}, **golden(made, task.inputs)})
    folder.write_text("MODEL_CARD.md", f"# {path.name}\n\nConverted from {model.source}; not judged here.\n\n{dict(model.facts)}\n")
    versions = {name: version(name) for name in ("duomo", "torch", "numpy", "pyarrow", "tokenizers")} | {
        "python": platform.python_version()
    }
    row = Table(pa.table({COLUMN: ["one text"]}), {COLUMN: "text"})
    block = 1 if task.writes else dataclasses.astuple(block_of(task, made.eval(), row))
    folder.write_opening({
        "format": 1, "task": name, "own_model": False, "kinds": {COLUMN: "text"}, "features": [COLUMN], "execution": Execution().to_dict(),
        "inference": answering(made).to_dict(), "block": block, "data": {}, "split": "", "machine": machine_facts(),
        "versions": versions,
    })  # fmt: skip
    folder.seal()
    return left
