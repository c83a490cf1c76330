"""The settings of a run: what the user said, above the recipe that the task suggests, above what weights ask for that exist."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from duomo.core import find
from duomo.core.config import build, merge
from duomo.core.contract import Decoder, EncoderDecoder
from duomo.core.errors import ConfigError
from duomo.core.messages import tr
from duomo.core.pretrained import Pretrained
from duomo.core.recipe import AdaptConfig, DataConfig, Recipe, TrainConfig
from duomo.exchange.trunks import carries, within
from duomo.train import adapt

SUPERVISED = ("classify", "regress")
"""Tasks that learn a column from the others."""
FEWEST_STEPS = 170
"""Where rows are few, a recipe's epochs are too few steps to learn anything: these tasks get as many epochs as make so many steps."""
PASSES = 10**6
"""Rows that may be read where a task asks for more epochs than its recipe has, all epochs counted."""
SMALL_NETS = {"optimizer": "muon", "learning_rate": 8e-3, "weight_decay": 0.1}
"""What the small forms of networks for pictures learn by from nothing; the large dense layers of published ones take too long by it."""


def started(settings: Mapping[str, Any], said: Recipe, pretrained: Pretrained) -> dict[str, Any]:
    """The settings with the architecture that the weights belong to; only what leaves their shapes alone may be set beside."""
    if carries(said.model.name) and said.model.name != pretrained.model:
        return dict(settings)
    if said.model.name not in ("", pretrained.model):
        raise ConfigError("The weights of {source} belong to the model {own}; received model {name}. Leave it out.",
                          source=pretrained.source, own=pretrained.model, name=said.model.name)  # fmt: skip
    if pretrained.learned.get("text") and (said.encode.tokenizer or said.encode.vocabulary):
        raise ConfigError("The tokenizer belongs to the weights of {source}; received {name!r}. Leave --tokenizer and --vocabulary out.",
                          source=pretrained.source, name=said.encode.tokenizer or said.encode.vocabulary)  # fmt: skip
    options = {**pretrained.options, **said.model.options}
    return merge(dict(settings), {"model": {"name": pretrained.model, "size": "base", "options": options}})


def learned(pretrained: Pretrained) -> Mapping[str, Mapping[str, Any]]:
    """What the task takes over, and whether its model only writes on."""
    model = find.model_module(pretrained.model).Model
    writes = issubclass(model, Decoder) and not issubclass(model, EncoderDecoder)
    return {**pretrained.learned, "decoder": {}} if writes and "text" in pretrained.learned else pretrained.learned


def carried(
    settings: Mapping[str, Any], said: Recipe, data: DataConfig, named: str, pretrained: Pretrained
) -> tuple[Mapping[str, Any], Pretrained]:
    """Where the task's model is built on a net such as these weights': that model, with the weights in its trunk."""
    suggested = find.task_recipes(data.task)[named].get("model", {})
    name, size = said.model.name or suggested.get("name", ""), said.model.size or suggested.get("size", "")
    if name == pretrained.model or not carries(name):
        return settings, pretrained
    found = within(pretrained, name, size)
    options = {**found.options, **said.model.options}
    rest = {key: value for key, value in settings.items() if key != "model"}
    kept = {key: value for key, value in settings.get("model", {}).items() if key != "options"}
    return merge(rest, {"model": {**kept, "name": name, "size": size, "options": options}}), found


def tuning(recipe: Recipe) -> str:
    """How fine-tuning will go, in words: the settings that matter most, each to be overridden by its flag."""
    train, adapt_ = recipe.train, recipe.adapt
    length = tr("{epochs:g} epochs", epochs=train.epochs) if train.epochs and not train.steps else tr("{steps:,} steps", steps=train.steps)
    how = tr("low-rank changes of rank {rank}", rank=adapt_.lora_rank) if adapt_.lora else tr("all weights")
    return tr("Fine-tuning {how}: learning rate {rate:g}, {length} of {rows} rows a step, warm-up {warmup:.0%}, decay {decay:g}.", how=how,
              rate=train.learning_rate, length=length, rows=train.batch_size, warmup=train.warmup, decay=train.weight_decay)  # fmt: skip


def resolve(settings: Mapping[str, Any], data: DataConfig, named: str, part: bool = False) -> Recipe:
    """Defaults, below the task's named recipe, below what the user said; `part`: weights are given for the trunk alone."""
    suggested = dict(find.task_recipes(data.task)[named])
    chosen, started = settings.get("model", {}).get("name"), settings.get("adapt", {}).get("start")
    if chosen and chosen != suggested.get("model", {}).get("name"):
        suggested = {name: part for name, part in suggested.items() if name != "encode"} | {"model": {"size": "small"}}
        module = find.model_module(chosen)
        small = module.FORMS == ("pixels",) and not settings["model"].get("size") and not started
        suggested = merge(suggested, {"train": {"optimizer": TrainConfig.optimizer, **module.TRAIN, **(SMALL_NETS if small else {})}})
    elif settings.get("model", {}).get("size"):  # a size that was asked for is that size: what the recipe says of its own is left out
        suggested["model"] = {"name": suggested["model"]["name"], "options": {} if started else _of_any_size(suggested["model"])}
    said = build(AdaptConfig, settings.get("adapt", {}), "adapt")
    if said.start and chosen:
        own = adapt.lessons(find.model_module(chosen).TRAIN, suggested.get("train", {}))
        going_on = {"optimizer": TrainConfig.optimizer, **adapt.defaults(chosen, own, said, part)}
        suggested = merge(suggested, {"train": going_on, "adapt": adapt.PART if part else {}})
        if not said.lora:  # what this task found to suit weights that exist
            suggested = merge(suggested, find.task_recipes(data.task).get(f"{named}-from", {}))
    wanted = settings.get("train", {}).get("optimizer")
    if not said.start and wanted and wanted != suggested.get("train", {}).get("optimizer", wanted):  # a recipe's rate is for its optimizer
        name = chosen or suggested["model"]["name"]
        suggested = merge(suggested, {"train": {"learning_rate": find.model_module(name).TRAIN["learning_rate"]}})
    recipe = build(Recipe, merge(suggested, settings))
    model = recipe.model if recipe.model.size else dataclasses.replace(recipe.model, size="base")
    return dataclasses.replace(recipe, data=data, model=model)


def _of_any_size(model: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's options of the model in which its named sizes do not differ: how it is built, not how large."""
    first, *others = find.model_module(model["name"]).SIZES.values()
    options = model.get("options", {}).items()
    return {name: value for name, value in options if all(getattr(size, name) == getattr(first, name) for size in others)}


def enough(recipe: Recipe, said: TrainConfig, rows: int, longer: float) -> Recipe:
    """The recipe with epochs for `FEWEST_STEPS`, and `longer` while that is within `PASSES`, where it learns from nothing and nobody said
    how long."""
    train = recipe.train
    if said.epochs or said.steps or said.minutes or recipe.adapt.start or recipe.data.task not in SUPERVISED or not train.batch_size:
        return recipe
    least = math.ceil(FEWEST_STEPS / math.ceil(rows / train.batch_size))
    more = max(1.0, min(longer, PASSES / max(1.0, rows * train.epochs)))
    return dataclasses.replace(recipe, train=dataclasses.replace(train, epochs=max(float(round(more * train.epochs)), float(least))))
