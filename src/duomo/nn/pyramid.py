"""Maps of several scales from any picture model: the last one that it makes at each scale, joined from coarse to fine.

Legend: B rows, C channels, H height, W width, P channels of the pyramid.
Source: Lin et al. 2017, "Feature Pyramid Networks for Object Detection", arXiv:1612.03144, figure 3.
"""

from functools import partial
from threading import get_ident

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch


class Maps(nn.Module):
    """The trunk's maps at the strides asked for, read off while it computes: it keeps its own file and the names of its weights.

    With `narrow` the last of those with the fewest channels at each scale: where a trunk widens and narrows, what it holds on to.
    """

    def __init__(self, trunk: nn.Module, name: str, shape: tuple[int, ...], strides: tuple[int, ...], narrow: bool = False):
        super().__init__()
        self.trunk, self.name, self.narrow = trunk, name, narrow
        self._kept: dict[tuple[int, str], Tensor] = {}
        """By thread: the parts of a batch are computed side by side."""
        last = self._trial(shape)
        sides = {stride: (-(-shape[1] // stride), -(-shape[2] // stride)) for stride in strides}
        missing = [stride for stride, side in sides.items() if side not in last]
        if missing:
            raise ConfigError("A trunk must make maps at a 1/{stride} of the picture's side; this one does not at {side} pixels. "
                              "Choose another trunk or a larger picture.", stride=missing[0], side=shape[1])  # fmt: skip
        self.sources = [last[side][0] for side in sides.values()]
        self.channels = [last[side][1] for side in sides.values()]
        for source in self.sources:
            trunk.get_submodule(source).register_forward_hook(partial(self._keep, source))
        self._still(shape)

    def _keep(self, source: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._kept[get_ident(), source] = output

    @torch.no_grad()
    def _trial(self, shape: tuple[int, ...]) -> dict[tuple[int, int], tuple[str, int]]:
        """(H, W) -> name of the module that makes the last map of that size, and its channels."""
        last: dict[tuple[int, int], tuple[str, int]] = {}
        hooks = []
        for source, module in self.trunk.named_modules():

            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: object, source: str = source) -> None:
                if isinstance(output, Tensor) and output.dim() == 4 and not (self.narrow and _wider(output, last)):
                    last[output.shape[2], output.shape[3]] = (source, output.shape[1])

            hooks.append(module.register_forward_hook(hook))
        before = self.trunk.training
        self.trunk.eval()({self.name: torch.zeros(1, *shape)})
        self.trunk.train(before)
        for handle in hooks:
            handle.remove()
        return last

    def _still(self, shape: tuple[int, ...]) -> None:
        """Weights behind the last map (the trunk's own head) take no part and are not learned."""
        weights = [weight for weight in self.trunk.parameters() if weight.requires_grad]
        if torch.is_inference_mode_enabled():
            return
        before = self.trunk.training
        self.trunk.eval()
        with torch.enable_grad():
            total = sum(value.sum() for value in self({self.name: torch.zeros(1, *shape)}))
        self.trunk.train(before)
        for weight, gradient in zip(weights, torch.autograd.grad(total, weights, allow_unused=True), strict=True):
            weight.requires_grad_(gradient is not None)

    def forward(self, batch: Batch) -> list[Tensor]:
        """Maps (B, C, H, W), the finest first."""
        self.trunk(batch)
        return [self._kept.pop((get_ident(), source)) for source in self.sources]


def _wider(map_BCHW: Tensor, last: dict[tuple[int, int], tuple[str, int]]) -> bool:
    """Whether a map of its size with fewer channels was seen before."""
    before = last.get((map_BCHW.shape[2], map_BCHW.shape[3]))
    return before is not None and before[1] < map_BCHW.shape[1]


class Pyramid(nn.Module):
    """Maps of any channels -> maps of P channels, each with what the coarser ones know."""

    def __init__(self, channels: list[int], width: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        found: list[Tensor] = []
        for level in reversed(range(len(maps))):
            x = self.lateral[level](maps[level])
            if found:
                x = x + F.interpolate(found[0], size=x.shape[2:], mode="nearest")
            found.insert(0, x)
        return [smooth(x) for smooth, x in zip(self.smooth, found, strict=True)]
