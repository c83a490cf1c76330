"""What stands between the two products of a feed-forward layer.

Legend: `...` leading sizes, F hidden size.
GELU: Hendrycks and Gimpel 2016, arXiv:1606.08415 (exact, and its tanh form as in GPT-2); gated: Shazeer 2020, arXiv:2002.05202.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional as F

from duomo.core.errors import ConfigError
from duomo.core.messages import nearest

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh"), "relu": F.relu}
GATED: dict[str, Callable[[Tensor], Tensor]] = {"swiglu": F.silu, "geglu": partial(F.gelu, approximate="tanh")}


def activate(name: str, inner: Tensor) -> Tensor:
    """(..., F) -> (..., F); a gated one takes (..., 2 F), the gate first."""
    if name in PLAIN:
        return PLAIN[name](inner)
    gate, value = inner.chunk(2, -1)
    return GATED[name](gate) * value


def check_choice(setting: str, value: str, known: tuple[str, ...]) -> None:
    """ConfigError for a name that a setting does not know."""
    if value not in known:
        raise ConfigError(
            "The setting {name} must be one of {known}; received {value!r}.{hint}",
            name=setting, known=", ".join(known), value=value, hint=nearest(value, known),
        )  # fmt: skip


def check_activation(value: str) -> None:
    check_choice("activation", value, (*GATED, *PLAIN))
