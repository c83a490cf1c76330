"""A module of the user's own: what it must take and give, tried on a few rows before anything long begins."""

import torch
from torch import Tensor, nn

from duomo.core.contract import Places, Steps, Task, Vectors
from duomo.core.errors import ConfigError
from duomo.core.messages import tr
from duomo.core.tensors import Examples
from duomo.data.loader import finish

MODULE_FAULTS = (RuntimeError, TypeError, ValueError, AttributeError)


def own_module(model: object) -> nn.Module | None:
    """The module, or None for an architecture's name; ConfigError for anything else."""
    if model is None or isinstance(model, str):
        return None
    if isinstance(model, nn.Module):
        return model
    raise ConfigError(
        "A model is an architecture's name or an nn.Module; received {value!r}. Give an instance, such as model=MyModel().",
        value=model,
    )  # fmt: skip


def check(model: nn.Module, task: Task, examples: Examples) -> None:
    """Two rows through the module: it must know the inputs by name and put out `head.size` logits for each row."""
    batch = finish(examples.batch(torch.arange(min(2, len(examples)))), task.inputs)
    was_training = model.training
    known = ", ".join(f"{name} {tuple(value.shape)}" for name, value in batch.items() if not name.startswith("target"))
    try:
        with torch.no_grad():
            output = model.eval()(batch)
    except KeyError as error:
        raise ConfigError(
            "A module of your own reads its inputs from the batch by name; there is no input {name}. The inputs are: {known}.",
            name=str(error), known=known,
        ) from None  # fmt: skip
    except MODULE_FAULTS as error:  # the module's own, with what it was given
        error.add_note(tr("A module of your own is called with a dict of the inputs: {known}.", known=known))
        raise
    finally:
        model.train(was_training)
    if isinstance(output, (Steps, Places, Vectors)):
        return
    if not isinstance(output, Tensor) or output.ndim < 2 or output.shape[-1] != task.head.size:
        told = f"{type(output).__name__} {tuple(output.shape) if isinstance(output, Tensor) else ''}".strip()
        raise ConfigError(
            "A module of your own must put out {size} logits for each row; received {output}. Change its last layer.",
            size=task.head.size, output=told,
        )  # fmt: skip
