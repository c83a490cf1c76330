"""Initialisation schemes by name."""

from torch import nn

from duomo.core.errors import ConfigError
from duomo.core.messages import nearest

SCHEMES = ("published", "xavier", "kaiming", "normal", "orthogonal")


def initialise(model: nn.Module, scheme: str) -> None:
    """Draw the weights anew: xavier (Glorot and Bengio 2010), kaiming (He et al. 2015), normal (0.02), orthogonal (Saxe et al. 2013).

    `published` leaves what the model's own file set. Biases become zero; norms and one-dimensional weights stay.
    """
    if scheme not in SCHEMES:
        raise ConfigError("model.init must be one of {known}; received {name!r}.{hint}",
                          known=", ".join(SCHEMES), name=scheme, hint=nearest(scheme, SCHEMES))  # fmt: skip
    if scheme == "published":
        return
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            if name.rpartition(".")[2].startswith("bias"):
                nn.init.zeros_(weight)
        elif scheme == "xavier":
            nn.init.xavier_uniform_(weight)
        elif scheme == "kaiming":
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        elif scheme == "normal":
            nn.init.normal_(weight, std=0.02)
        else:
            nn.init.orthogonal_(weight)
