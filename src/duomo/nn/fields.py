"""What every model asks about its inputs before it builds itself."""

from collections.abc import Mapping

import torch
from torch import Tensor

from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch


def of_forms(inputs: Mapping[str, Field], *forms: str) -> list[str]:
    """Names of the fields of these forms, in the order of `inputs`."""
    return [name for name, field in inputs.items() if field.form in forms]


def check_forms(model: str, inputs: Mapping[str, Field], forms: tuple[str, ...]) -> None:
    """Raises ConfigError where there is no input, or one of a form that the model does not take."""
    if not inputs:
        raise ConfigError("A model needs at least one input column; the model {model!r} received none.", model=model)
    for name, field in inputs.items():
        if field.form not in forms:
            raise ConfigError(
                "The model {model!r} takes {forms}; the input {name!r} is {form}. Choose another model or leave that column out.",
                model=model, forms=", ".join(forms), name=name, form=field.form,
            )  # fmt: skip


def check_per(model: str, head: Head, own: str = "row") -> None:
    """Raises ConfigError where the task wants answers for other things (`Head.per`) than the model gives them for."""
    if head.per != own:
        raise ConfigError("The model {model!r} gives one answer per {own}; the task asks for one per {per}. Choose another model.",
                          model=model, own=own, per=head.per)  # fmt: skip


def single(model: str, inputs: Mapping[str, Field], forms: tuple[str, ...], head: Head | None = None) -> tuple[str, Field]:
    """Name and field of the only input; ConfigError where there are several, it has another form, or a `head` asks for more than rows."""
    if head is not None:
        check_per(model, head)
    check_forms(model, inputs, forms)
    if len(inputs) > 1:
        raise ConfigError(
            "The model {model!r} takes one input column; received {names}. Leave columns out or choose the model fusion.",
            model=model, names=", ".join(inputs),
        )  # fmt: skip
    return next(iter(inputs.items()))


def within(length_B: Tensor, steps: int) -> Tensor:
    """bool (B, T): the steps before each row's length."""
    return torch.arange(steps, device=length_B.device) < length_B.unsqueeze(1)


def inside(batch: Batch, name: str) -> Tensor:
    """bool (B, T): the positions of the ragged field `name` that are not padding."""
    return within(batch[f"{name}.length"], batch[name].shape[1])


def masked_mean(x_BTD: Tensor, inside_BT: Tensor) -> Tensor:
    """(B, D) mean over the true positions; zero for a row that has none."""
    weight_BT1 = inside_BT.unsqueeze(-1).to(x_BTD.dtype)
    return (x_BTD * weight_BT1).sum(1) / weight_BT1.sum(1).clamp(min=1)


def wanted(x_BTD: Tensor, batch: Batch, name: str) -> Tensor:
    """(G, D), only the positions that `<name>.wanted` (B, T) asks for, in order; all of them, (B, T, D), where the batch has none."""
    places = batch.get(f"{name}.wanted")
    return x_BTD if places is None else x_BTD[places]
