"""Operations of a forward pass, counted by torch's own formulas; its FlopCounterMode would import torch's compiler, which takes seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Counter(TorchDispatchMode):
    """`with Counter() as counter: model(batch)` leaves the operations of all products and convolutions in `counter.total`."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0


def _counted(self: Counter, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
    given = kwargs or {}
    if func is not torch.ops.prim.device.default:
        with self:
            parts = func.decompose(*args, **given)
        if parts is not NotImplemented:
            return parts
    found = func(*args, **given)
    formula = flop_registry.get(func._overloadpacket)
    self.total += formula(*args, **given, out_val=found) if formula else 0
    return found


# set behind the class, for what stands in its body is wrapped by the compiler
Counter.__torch_dispatch__ = _counted  # type: ignore[assignment,method-assign]
