"""Initial weights by name.

published   what each model's file chose, after its paper: nothing is touched
xavier      Glorot and Bengio 2010, eq. 16           kaiming      He et al. 2015, arXiv:1502.01852, eq. 10
normal      N(0, 0.02²), as GPT-2                    orthogonal   Saxe et al. 2014, arXiv:1312.6120
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from duomo.core.errors import ConfigError

SCHEMES: dict[str, Callable[[Tensor], Tensor] | None] = {
    "published": None,
    "xavier": nn.init.xavier_uniform_,
    "kaiming": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "normal": partial(nn.init.normal_, std=0.02),
    "orthogonal": nn.init.orthogonal_,
}
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def initialise(model: nn.Module, scheme: str) -> None:
    """Draw the weights of linear, convolution and recurrent layers anew and set their biases to zero; follows torch.manual_seed.

    Norms, embeddings and free parameters keep what their model gave them. ConfigError for an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ConfigError("An initialisation must be one of {known}; received {name!r}.", known=", ".join(SCHEMES), name=scheme)
    draw = SCHEMES[scheme]
    if draw is None:
        return
    for module in model.modules():
        if isinstance(module, LAYERS):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.RNNBase):
            for value in module.parameters(recurse=False):
                if value.ndim < 2:
                    nn.init.zeros_(value)
                    continue
                for gate in value.data.split(module.hidden_size):
                    draw(gate)
