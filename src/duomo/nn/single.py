"""For models that read one column."""

from collections.abc import Mapping

from duomo.core.contract import Field
from duomo.core.errors import ConfigError
from duomo.nn.fields import check_forms


def single(model: str, inputs: Mapping[str, Field], forms: tuple[str, ...]) -> tuple[str, Field]:
    """Name and field of the only input; ConfigError where there are several or it has another form."""
    check_forms(model, inputs, forms)
    if len(inputs) > 1:
        raise ConfigError(
            "The model {model!r} takes one input column; received {names}. Leave columns out or choose the model fusion.",
            model=model, names=", ".join(inputs),
        )  # fmt: skip
    return next(iter(inputs.items()))
