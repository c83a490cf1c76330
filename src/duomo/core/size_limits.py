"""A model's tensors are counted before they are made: a settings file that asks for more than its weights hold must not fill the memory."""

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from duomo.core.errors import RunError

TIMES, BESIDE = 4, 2**26
"""Numbers that may be made for each one of the file (the file's may be halves, and some are made twice), and beside: what is not stored."""

MAKERS = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange, torch.linspace)
"""What makes tensors out of nothing; their sizes are all the whole numbers that they are given."""


class Bounded(TorchFunctionMode):
    """`with Bounded(weights):` RunError as soon as the tensors that are made out of nothing hold more numbers than the file allows."""

    def __init__(self, weights: Path):
        super().__init__()
        self.path, self.made = weights, 0
        self.most = TIMES * weights.stat().st_size // 2 + BESIDE

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func in MAKERS:
            given = [*args, named.get("size")]
            sizes = [size for one in given for size in (one if isinstance(one, list | tuple) else [one]) if isinstance(size, int)]
            self.made += prod(size for size in sizes if size > 1)
            if self.made > self.most:
                raise RunError("The weights of a run say how large its model is, at most {most:,} numbers; {path} asks for more. "
                               "Restore it from a copy, or train again.", most=self.most, path=self.path.parent)  # fmt: skip
        return func(*args, **named)
