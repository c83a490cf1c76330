"""Tasks and models by name: a folder under `duomo/tasks`, a file under `duomo/models`. The only place where the two meet."""

import dataclasses
import importlib
import pkgutil
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from torch import nn

import duomo.models
import duomo.tasks
from duomo.core.config import build, hints, merge
from duomo.core.contract import Decoder, EncoderDecoder, Field, Head, Task
from duomo.core.errors import ConfigError
from duomo.core.messages import nearest
from duomo.core.recipe import ModelConfig, Recipe

Made = TypeVar("Made")
LAYERS, MOST_LAYERS = ("depth", "decoder_depth", "layers", "blocks"), 1000
"""Settings that count layers, and how many there may be: each is built before weights are looked at, those of a stranger's run too."""


def task_names() -> list[str]:
    return sorted(found.name for found in pkgutil.iter_modules(duomo.tasks.__path__) if found.ispkg)


def model_names() -> list[str]:
    return sorted(found.name for found in pkgutil.iter_modules(duomo.models.__path__))


PLAIN_SIZES = ("tiny", "small", "base", "large")
FORETOLD = re.compile(r"(?i).*(fore.?cast|time.?series|预测)")
"""What people call tasks that are none here: to tell what comes from what was."""
OTHER_NAMES = {"googlenet": "inceptionv1"}


def _squeezed(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def model_aliases() -> dict[str, tuple[str, str]]:
    """Name with a size -> architecture and size, from the sizes that carry a published name: resnet18, vit-b16."""
    found = {}
    for name in model_names():
        for size in model_module(name).SIZES:
            if size not in PLAIN_SIZES or (size == "tiny" and name == "convnext"):
                found[f"{name}{size}" if size[0].isdigit() else f"{name}-{size}"] = (name, size)
    return found


def resolve(choice: ModelConfig) -> ModelConfig:
    """The choice with architecture and size apart: resnet18 is resnet in size 18. ConfigError for a name that is neither."""
    if not choice.name or choice.name in model_names():
        return choice
    aliases = model_aliases()
    wanted = OTHER_NAMES.get(_squeezed(choice.name), _squeezed(choice.name))
    alias = next((alias for alias in aliases if _squeezed(alias) == wanted), "")
    if not alias:
        raise ConfigError(
            "A model must be one of {known}; received {name!r}.{hint}",
            known=", ".join(model_names()), name=choice.name, hint=nearest(choice.name, [*model_names(), *aliases]),
        )  # fmt: skip
    name, size = aliases[alias]
    if choice.size not in ("", size):
        raise ConfigError("{alias} is {name} in the size {size}; received the size {other!r} too. Leave one of them out.",
                          alias=alias, name=name, size=size, other=choice.size)  # fmt: skip
    return dataclasses.replace(choice, name=name, size=size)


def checked(settings: Mapping[str, Any]) -> tuple[Recipe, Mapping[str, Any]]:
    """The recipe, and the settings with architecture and size apart. ConfigError names every mistake at once, of model and task too."""
    problems: list[str] = []
    recipe = _tried(lambda: build(Recipe, settings), problems)
    model, task = (_texts(settings, section) for section in ("model", "data"))
    options = settings.get("model", {}).get("options", {}) if isinstance(settings.get("model"), Mapping) else {}
    options = options if isinstance(options, Mapping) else {}
    chosen = _tried(lambda: resolve(ModelConfig(model.get("name", ""), model.get("size", ""), options=options)), problems)
    if chosen and chosen.name:
        _tried(lambda: model_config(chosen), problems)
    main = _tried(lambda: task_module(task["task"]), problems) if task.get("task") else None
    if main and isinstance(settings.get("task", {}), Mapping):
        _tried(lambda: build(main.Config, settings.get("task", {}), "task"), problems)
    if problems:
        raise ConfigError("{problems}", problems="\n".join(problems))
    assert recipe is not None and chosen is not None
    if model and not all(model.values()):  # an empty name or size is as good as none: the recipe says it
        said = {key: value for key, value in settings["model"].items() if key not in ("name", "size") or value}
        settings = {**settings, "model": said}
    if not chosen.name:
        return recipe, settings
    size = {"size": chosen.size} if chosen.size else {}  # a name alone leaves the size to the recipe
    return recipe, merge(settings, {"model": {"name": chosen.name, **size}})


def _tried(what: Callable[[], Made], problems: list[str]) -> Made | None:
    try:
        return what()
    except ConfigError as error:
        problems.append(str(error))
        return None


def _texts(settings: Mapping[str, Any], section: str) -> dict[str, str]:
    """What of a section may be read though other settings are wrong."""
    values = settings.get(section, {})
    return {name: value for name, value in values.items() if isinstance(value, str)} if isinstance(values, Mapping) else {}


def task_module(name: str) -> ModuleType:
    if FORETOLD.match(name):
        raise ConfigError("There is no task {name!r}. A dated number is foretold from its earlier values: --target VALUE --ahead STEPS; a "
                          "class or a number is learned of whole series: --task classify or regress (docs/guide.md)",
                          name=name)  # fmt: skip
    if name not in task_names():
        raise ConfigError(
            "A task must be one of {known}; received {name!r}.{hint}",
            known=", ".join(task_names()), name=name, hint=nearest(name, task_names()),
        )  # fmt: skip
    return importlib.import_module(f"duomo.tasks.{name}.task")


def model_module(name: str) -> ModuleType:
    if name not in model_names():
        raise ConfigError(
            "A model must be one of {known}; received {name!r}.{hint}",
            known=", ".join(model_names()), name=name, hint=nearest(name, model_names()),
        )  # fmt: skip
    return importlib.import_module(f"duomo.models.{name}")


def make_task(name: str, options: Any) -> Task:
    """The task with its own config built from the recipe's [task] table."""
    module = task_module(name)
    if isinstance(options, Mapping) and options.get("source") and "source" not in hints(module.Config):
        raise ConfigError("The task {task} reads every column but its target; --source is for translate, summarize, tag and embed. "
                          "Leave it out, and name columns that must not be seen with --ignore.", task=name)  # fmt: skip
    made: Task = module.Main(build(module.Config, options, "task"))
    return made


def task_recipes(name: str) -> dict[str, Any]:
    """The named recipes of a task's recipes.toml."""
    module = task_module(name)
    return tomllib.loads(Path(str(module.__file__)).with_name("recipes.toml").read_text(encoding="utf-8"))


def model_config(choice: ModelConfig) -> Any:
    """The architecture's own config: its named size, the options laid over it."""
    module = model_module(choice.name)
    size = choice.size or "base"
    if size not in module.SIZES:
        raise ConfigError(
            "The size of {name} must be one of {known}; received {size!r}.{hint}",
            name=choice.name, known=", ".join(module.SIZES), size=size, hint=nearest(size, module.SIZES),
        )  # fmt: skip
    base = dataclasses.asdict(module.SIZES[size])
    made = build(module.Config, base | dict(choice.options), "model.options")
    asked = [value for name in LAYERS for value in np.atleast_1d(getattr(made, name, 0)).tolist()]
    layers = sum(value if isinstance(value, int) else 1 for value in asked)
    if layers > MOST_LAYERS:
        raise ConfigError("A model may have at most {most:,} layers; received {count:,}. Ask for fewer.", most=MOST_LAYERS, count=layers)
    return made


def trunk(config: Any, inputs: Mapping[str, Field], head: Head) -> nn.Module:
    """The model that another one is built on: its config says which by `trunk`, `size` and `options`."""
    choice = ModelConfig(config.trunk, config.size, options=config.options)
    own = model_config(choice)
    if "advice" in {field.name for field in dataclasses.fields(own)}:
        own = dataclasses.replace(own, advice=False)
    made: nn.Module = model_module(config.trunk).Model(own, inputs, head)
    return made


def check_sides(name: str, task: Task) -> None:
    """ConfigError where a model of texts would see what the task has it foretell, or not see all that the task lets it read."""
    if task.reads == "any":
        return
    made = {one: module.Model for one in model_names() if "tokens" in (module := model_module(one)).FORMS}
    if name not in made or issubclass(made[name], Decoder) == (task.reads == "before"):
        return
    if task.reads == "both":
        raise ConfigError("The task {task} reads both sides of a gap; the model {model} reads only what stands before it. Choose bert.",
                          task=task.name, model=name)  # fmt: skip
    fitting = [one for one, model in made.items() if issubclass(model, Decoder) and issubclass(model, EncoderDecoder) != task.writes]
    raise ConfigError(
        "The task {task} foretells each token from those before it; the model {model} reads both sides and would see what it has to "
        "foretell. Choose {fitting}; models that read both sides suit the task fill.",
        task=task.name, model=name, fitting=" | ".join(fitting),
    )  # fmt: skip


def make_model(choice: ModelConfig, task: Task) -> nn.Module:
    """The model for a fitted task; ConfigError when it does not take the task's inputs."""
    module = model_module(choice.name)
    refused = sorted({field.form for field in task.inputs.values()} - set(module.FORMS))
    if refused:
        fitting = [name for name in model_names() if {field.form for field in task.inputs.values()} <= set(model_module(name).FORMS)]
        raise ConfigError(
            "The model {name} takes {forms}; these data also have {refused}. Models that fit: {fitting}.",
            name=choice.name, forms=", ".join(sorted(module.FORMS)), refused=", ".join(refused), fitting=", ".join(fitting),
        )  # fmt: skip
    made: nn.Module = module.Model(model_config(choice), task.inputs, task.head)
    return made
